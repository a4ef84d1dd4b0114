package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// sessionMacro is a session as macros for PROOF had it, without any include: a chain, a part of it, a set, files under
// a name, a list of files, and one more time here, without the pool.
const sessionMacro = `void session(const char *selector, const char *dir) {
  TProof *p = TProof::Open("");
  if (!p || !p->IsValid()) return;
  TChain *chain = new TChain("ev");
  TFileCollection *files = new TFileCollection("evs");
  TDSet *set = new TDSet("TTree", "ev");
  for (int i = 0; i < 3; ++i) {
    const TString file = TString::Format("%s/m%d.root", dir, i);
    chain->Add(file);
    files->Add(new TFileInfo(file));
    set->Add(file);
  }
  files->SetDefaultTreeName("/ev");
  chain->SetProof();
  chain->Process(selector, "of=chain.root");
  chain->Process(selector, "of=part.root", 1000, 77);
  printf("entries %lld\n", gProof->GetQueryResult()->GetEntries());
  gProof->Process(set, selector, "of=set.root");
  gProof->Process(files, selector, "of=files.root");
  gProof->RegisterDataSet("evs", files);
  printf("dataset %d with %lld entries\n", gProof->ExistsDataSet("evs"),
         gProof->GetDataSet("evs")->GetTotalEntries("/ev"));
  gProof->Process("evs", selector, "of=name.root");
  printf("queries %d, sets %d\n", gProof->GetNumberOfQueries(), gProof->GetDataSets()->GetSize());
  gProof->Process("NoSuch.C+", 10LL);
  gProof->Close();
  printf("closed %d\n", gProof == nullptr);
}
`

// sessionSource is compiled by ACLiC, names no header of PROOF but TProof.h, and hands a selector over as an object.
// Its chain was counted before the session, by which ROOT has a player for it that knows no pool.
const sessionSource = `#include "TChain.h"
#include "TProof.h"
#include "TSelector.h"
void compiled(const char *selector, const char *dir) {
  TChain chain("ev");
  for (int i = 0; i < 3; ++i)
    chain.Add(TString::Format("%s/m%d.root", dir, i));
  printf("before %lld\n", chain.GetEntries("Entry$ < 5"));
  if (!TProof::Open("")) return;
  chain.SetProof(kTRUE, kTRUE);
  chain.Process(TSelector::GetSelector(selector), "of=object.root");
  printf("queries %d\n", gProof->GetNumberOfQueries());
  chain.SetProof(0);
  printf("here %d\n", chain.GetTimerInterval());
}
`

// sessionScript is the same from Python.
const sessionScript = `import sys
import ROOT
p = ROOT.TProof.Open("")
chain = ROOT.TChain("ev")
for i in range(3):
    chain.Add("%s/m%d.root" % (sys.argv[2], i))
chain.SetProof()
chain.Process(sys.argv[1], "of=python.root")
print("objects", p.GetOutputList().GetSize() > 0)
p.Close()
`

// TestProofSession runs sessions that were written for PROOF, unmodified, interpreted, compiled and in Python, over two
// nodes, and compares what comes of each query with what one process of ROOT makes of it.
func TestProofSession(t *testing.T) {
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	r := roottest.Find(t)
	r.MakeChains(t, data)
	c := ownCluster(t, nodeSpec{name: "alice", slots: 2}, nodeSpec{name: "bob", slots: 2})
	alice := c.nodes[0]
	for name, text := range map[string]string{
		"session.C": sessionMacro, "compiled.C": sessionSource, "script.py": sessionScript,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	selector := copySelector(t, dir, "Beside.C") + "+"
	want := besideJob(t, data, "")
	whole, part := filepath.Join(dir, "want.root"), filepath.Join(dir, "wantpart.root")
	r.Reference(t, want.Job, whole)
	want.First, want.N = 77, 1000
	r.Reference(t, want.Job, part)

	call := fmt.Sprintf("(%q, %q)", selector, data)
	for _, s := range []struct {
		args  []string
		says  []string
		files []string
	}{
		{
			[]string{"root", "-l", "-b", "-q", "session.C" + call},
			[]string{"on 2 nodes with 4 processes", "entries 1000", "dataset 1 with 3277 entries", "queries 5, sets 1",
				"could not find the selector NoSuch.C+", "closed 1"},
			[]string{"chain.root", "part.root", "set.root", "files.root", "name.root"},
		},
		{
			[]string{"root", "-l", "-b", "-q", "compiled.C+" + call},
			[]string{"before 5", "queries 1", "here 0"},
			[]string{"object.root"},
		},
		{
			[]string{"root", "script.py", selector, data},
			[]string{"objects True"},
			[]string{"python.root"},
		},
	} {
		if s.files[0] == "object.root" && !roottest.Everything() {
			continue
		}
		res := alice.dtpnode(t, dir, s.args...)
		for _, text := range s.says {
			if !strings.Contains(res.stdout+res.stderr, text) {
				t.Errorf("%v does not say %q", s.args, text)
			}
		}
		for _, f := range s.files {
			reference := whole
			if f == "part.root" {
				reference = part
			}
			r.Compare(t, filepath.Join(dir, f), reference)
		}
		if t.Failed() {
			t.Fatalf("exit %d\n%s%s", res.code, res.stdout, res.stderr)
		}
	}
}

// copySelector puts a selector of the tests, with its header, into a folder, where ACLiC may write beside it.
func copySelector(t *testing.T, dir, name string) string {
	t.Helper()
	from := roottest.Selector(t, name)
	base := strings.TrimSuffix(from, filepath.Ext(from))
	for _, file := range []string{from, base + ".h"} {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, name)
}
