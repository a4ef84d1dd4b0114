package rootexec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// asksPROOF prints what a process on a worker's side sees of PROOF, as selectors asked for it.
const asksPROOF = `#include <TDSet.h>
#include <TH1D.h>
#include <TParameter.h>
#include <TProof.h>
#include <TProofServ.h>
#include <TSelector.h>
#include <cstdio>

class Asks : public TSelector {
 public:
  void Begin(TTree *) override {
    std::printf("Begin %d %d\n", gProofServ != nullptr, gProof != nullptr);
    gProof->SetParameter("cut", 0.5);
    gProof->AddInput(new TNamed("given", "by Begin"));
    std::printf("input %d %d output %d lite %d\n", fInput->FindObject("cut") == gProof->GetParameter("cut"),
                gProof->GetInputList() == fInput, gProof->GetOutputList() != nullptr, gProof->IsLite());
    if (gProof->Load("other.C") == 0) std::printf("too late, and no word\n");
  }
  void Terminate() override {
    std::printf("Terminate %d output %d\n", gProofServ != nullptr, gProof->GetOutputList() == fOutput);
    std::printf("entries %g cut %d\n", dynamic_cast<TH1 *>(gProof->GetOutput("h"))->GetEntries(),
                gProof->GetParameter("cut") != nullptr);
  }
  void SlaveBegin(TTree *) override {
    fOutput->Add(fCount = new TH1D("h", "", 1, 0, 1));
    std::printf("given %d %d\n", fInput->FindObject("given") != nullptr, fInput->FindObject("cut") != nullptr);
    const TString ord(gProofServ->GetOrdinal());
    std::printf("worker %d master %d group %s\n", gProof == nullptr, gProofServ->IsMaster(), gProofServ->GetGroup());
    std::printf("ordinal %d %d\n", ord.BeginsWith("0."),
                !strcmp(fInput->FindObject("PROOF_Ordinal")->GetTitle(), ord));
    std::printf("folder %d\n", !strcmp(gProofServ->GetWorkDir(), gSystem->WorkingDirectory()));
    Int_t number = 0;
    const Int_t found = TProof::GetParameter(fInput, "PROOF_QuerySeqNum", number);
    std::printf("query %d %d after %s\n", found, number, fInput->First()->GetName());
    TString name("<ord>.<workdir>");
    TProofServ::ResolveKeywords(name);
    std::printf("keywords %d\n", name == ord + "." + gSystem->WorkingDirectory());
    gProofServ->SendAsynMessage("asynchronous");
  }
  Bool_t Process(Long64_t entry) override {
    fCount->Fill(0.5);
    if (entry % 100) return kTRUE;
    auto *pair = dynamic_cast<TPair *>(fInput->FindObject("PROOF_CurrentElement"));
    auto *e = dynamic_cast<TDSetElement *>(pair->Value());
    std::printf("entry %lld of %s%s in %s, %lld from %lld, offset %lld, %s\n", entry, e->GetDirectory(),
                 e->GetObjName(),
                TString(e->GetFileName()).Data() + TString(e->GetFileName()).Last('/') + 1, e->GetNum(), e->GetFirst(),
                e->GetTDSetOffset(), e->TestBit(TDSetElement::kNewRun) ? "new" : "as before");
    return kTRUE;
  }
  Int_t Version() const override { return 2; }

 private:
  TH1 *fCount = nullptr;
  ClassDefOverride(Asks, 0);
};
`

// TestProofWorker: selectors see on the workers' side what PROOF gave them there, and its headers and library are
// found.
func TestProofWorker(t *testing.T) {
	e, r := rootexec.SharedExecutor(t), roottest.Find(t)
	dir := t.TempDir()
	files := r.MakeEvents(t,
		roottest.EventFile{Path: filepath.Join(dir, "a.root"), Tree: "in/Events", Index: 1, Entries: 200, Cluster: 100},
		roottest.EventFile{Path: filepath.Join(dir, "b.root"), Tree: "in/Events", Index: 2, Entries: 100, Cluster: 100})
	lib, err := e.Compile(t.Context(), rootexec.Source{
		Main: "Asks.C", Files: map[string][]byte{"Asks.C": []byte(asksPROOF)},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(t.Context(), lib, "Asks")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var lines []string
	c, err := s.StartClient(t.Context(), rootexec.ClientSpec{Dir: t.TempDir()}, func(l string) {
		lines = append(lines, l)
	})
	if err != nil {
		t.Fatal(err)
	}
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(input)

	k := &sink{done: make(chan struct{}, 2), fails: make(chan *exec.Failure, 1)}
	g, err := s.Start(t.Context(), exec.GenSpec{Job: 7, Input: input, Dir: t.TempDir()}, rootexec.Told{}, k)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range []exec.Packet{
		{File: files[0], Part: "in/Events", Last: 100, Entries: 200},
		{File: files[0], Part: "in/Events", First: 100, Last: 200, Entries: 200},
		{File: files[1], Part: "in/Events", Last: 100, Base: 200, Entries: 100},
	} {
		p.ID = uint64(i + 1)
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
		k.wait(t)
	}
	partial := filepath.Join(t.TempDir(), "partial")
	if _, err := g.Seal(t.Context(), partial); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(t.Context(), []string{partial}, filepath.Join(t.TempDir(), "out.root")); err != nil {
		t.Fatal(err)
	}
	c.Close()
	told(t, "the submitting side", lines, `
		Begin 0 1
		input 1 1 output 0 lite 1
		Error in <TProof::Load>: this job has its code already: give `+"`dtpnode run` the flag --source FILE or --lib FILE"+`
		Terminate 0 output 1
		entries 300 cut 1`)
	<-g.Done() // what it printed may come later than its answer
	out := strings.Split(strings.TrimSpace(g.Output()), "\n")
	told(t, "the worker", out, `
		given 1 1
		worker 1 master 0 group default
		ordinal 1 1
		folder 1
		query 0 1 after PROOF_QueryTag
		keywords 1
		asynchronous
		entry 0 of /in/Events in a.root, 100 from 0, offset 0, new
		entry 100 of /in/Events in a.root, 100 from 100, offset 0, as before
		entry 0 of /in/Events in b.root, 100 from 0, offset 200, new`)
}

// TestProofLibrary: the library is built once, all of it, and code that does not name PROOF does without.
func TestProofLibrary(t *testing.T) {
	p, err := rootexec.ProofLibrary(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libProof.so", "libProof_rdict.pcm", "libProof.rootmap", "libProofPlayer.so"} {
		if _, err := os.Stat(filepath.Join(p.Lib, name)); err != nil {
			t.Error(err)
		}
	}
	if so, err := rootexec.ProofOfSuite(t); so != "" || err != nil {
		t.Errorf("selectors that do not name PROOF would load %q, %v", so, err)
	}
	for text, want := range map[string]bool{
		"#include <TProof.h>\n":                       true,
		"# include \"TDSet.h\" // sets":               true,
		"#include <TChain.h>\n#include \"TTree.h\"\n": false,
		"// #include <TProof.h>\n":                    false,
	} {
		if got := rootexec.IncludesProof(text); got != want {
			t.Errorf("%s: got %v", strings.TrimSpace(text), got)
		}
	}
}
