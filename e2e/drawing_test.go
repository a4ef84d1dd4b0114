package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// drawScript draws in Python, where the chain's call for PROOF is a method.
const drawScript = `import sys
import ROOT
p = ROOT.TProof.Open("")
chain = ROOT.TChain("ev")
for i in range(3):
    chain.Add("%s/m%d.root" % (sys.argv[1], i))
chain.SetProof()
n = chain.Draw("event>>hp(50,0,3277)", "sub<5", "goff")
print("python", n, ROOT.gDirectory.Get("hp").GetEntries(), chain.GetHistogram().GetNbinsX())
chain.SetWeight(0.25, "global")
m = chain.Draw("event>>hw(50,0,3277)", "sub<5", "goff")
print("weighted", m, ROOT.gDirectory.Get("hw").GetSumOfWeights())
print("list", chain.Draw(">>el", "sub==7", "entrylist"), ROOT.gDirectory.Get("el").GetN())
`

// drawMacro is interpreted. The histogram that it has made is drawn, deleted by the user, and made anew.
const drawMacro = `void drawn(const char *dir) {
  TProof::Open("");
  TChain *c = new TChain("ev");
  for (int i = 0; i < 3; ++i) c->Add(TString::Format("%s/m%d.root", dir, i));
  c->SetProof();
  printf("interpreted %lld", c->Draw("sub>>h(10,0,10)", "event<1000"));
  delete gDirectory->Get("h");
  printf(" %lld", c->Draw("sub", TCut("event<500") && "sub>4"));
  printf(" %d\n", gPad->GetListOfPrimitives()->FindObject("htemp") != nullptr);
}
`

const argsSetup = `#include "TEnv.h"
#include "TList.h"
#include "TObjString.h"
#include "TParameter.h"
int SETUP(TList *args) {
  auto *one = dynamic_cast<TNamed *>(args->FindObject("Test.One"));
  auto *equals = dynamic_cast<TNamed *>(args->FindObject("Test.Equals"));
  auto *half = dynamic_cast<TParameter<double> *>(args->FindObject("half"));
  int seen = dynamic_cast<TObjString *>(args->FindObject("x=y")) != nullptr;
  seen += one && !strcmp(one->GetTitle(), "2.");
  seen += equals && !strcmp(equals->GetTitle(), "a=b");
  seen += half && half->GetVal() == 0.5;
  gEnv->SetValue("Test.Seen", seen);
  return args->GetSize() == 4 ? 0 : -1;
}
`

// TestDrawingInSessions draws in sessions, compiled, interpreted and in Python, and compares with what ROOT draws in
// the same process; and enables a package with a list of objects.
func TestDrawingInSessions(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	dir, data := t.TempDir(), t.TempDir()
	roottest.Find(t).MakeChains(t, data)
	alice := ownCluster(t, abc[:2]...).nodes[0]
	for _, name := range []string{"Drawing.C", "Args.C"} { // ACLiC writes beside them
		text, err := os.ReadFile(filepath.Join("testdata", name))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	check(t, os.WriteFile(filepath.Join(dir, "drawn.C"), []byte(drawMacro), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "drawn.py"), []byte(drawScript), 0o600))
	inf := filepath.Join(dir, "args", "PROOF-INF")
	check(t, os.MkdirAll(inf, 0o700))
	check(t, os.WriteFile(filepath.Join(inf, "SETUP.C"), []byte(argsSetup), 0o600))
	tar := exec.Command("tar", "czf", "args.par", "args")
	tar.Dir = dir
	if text, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	quoted := strconv.Quote(data)
	for _, c := range []struct {
		args []string
		says []string
	}{
		{
			[]string{"root", "-l", "-b", "-q", "-e", ".L Drawing.C+", "-e", "drawing(" + quoted + ")"},
			[]string{
				"drawn 25, equal 25", "rows 1, values 0", "nothing -1", "there is no branch nosuch", "counted 13 of 13, bad -1",
				"more than three columns: that shows single rows",
			},
		},
		{
			[]string{"root", "-l", "-b", "-q", "-e", ".L Drawing.C+", "-e", `package("args.par", "Args.C+")`},
			[]string{"enabled 1", "seen 4, listed 100 and 100"},
		},
		{[]string{"root", "-l", "-b", "-q", "drawn.C(" + quoted + ")"}, []string{"interpreted 1000 250 1"}},
		{[]string{"root", "drawn.py", data}, []string{"python 1640 1640.0 50", "weighted 1640 410.0", "list 327 327"}},
	} {
		got := alice.dtpnode(t, dir, c.args...)
		for _, text := range c.says {
			if !strings.Contains(got.stdout+got.stderr, text) {
				t.Errorf("%v does not say %q", c.args, text)
			}
		}
		if t.Failed() {
			t.Fatalf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
		}
	}
}
