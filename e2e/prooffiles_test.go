package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// madeMacro makes files by queries of a session, and says what became of them: data sets that selectors have
// registered, files that are named to workers, and what is shown of a query that runs.
const madeMacro = `int shown = 0;
void look(TList *objects) { if (objects->FindObject("count")) ++shown; }
void made() {
  TProof *p = TProof::Open("");
  if (!p) return;
  p->Process("Made.C+", 1000, "R");
  printf("registered %d, %lld entries\n", p->ExistsDataSet("numbers"),
         p->GetDataSet("numbers")->GetTotalEntries("/made"));
  p->Process("Made.C+", 500, "R"); // its own files, which are not what they were
  printf("again %lld\n", p->GetDataSet("numbers")->GetTotalEntries("/made"));
  TFileCollection other("other");
  gSystem->CopyFile("numbers-1.root", "copy.root");
  other.Add(new TFileInfo(TString(gSystem->WorkingDirectory()) + "/copy.root"));
  p->RegisterDataSet("/default/me/numbers", &other, "O");
  p->Process("Made.C+", 300, "R");
  printf("kept %lld\n", p->GetDataSet("numbers")->GetTotalEntries("/made"));
  other.Add(new TFileInfo(TString(gSystem->WorkingDirectory()) + "/numbers-1.root"));
  p->RegisterDataSet("numbers", &other, "U");
  printf("united %lld\n", p->GetDataSet("numbers")->GetTotalEntries("/made"));

  p->Process("Made.C+", 200, "ds=kept;tree"); // all of the output, without a selector's doing
  auto *kept = dynamic_cast<TFileCollection *>(p->GetOutput("kept"));
  printf("of the output %d %lld\n", p->ExistsDataSet("kept"), kept ? kept->GetTotalEntries("/made") : -1);

  TMap files;
  files.SetName("PROOF_FilesToProcess");
  for (const char *host : {"here", "elsewhere"}) {
    auto *list = new THashList;
    for (int i = 0; i < 3; ++i)
      list->Add(new TObjString(TString::Format("%s_%d.root", host, i)));
    files.Add(new TObjString(host), list);
  }
  p->AddInput(&files);
  p->SetParameter("PROOF_Packetizer", "TPacketizerFile");
  p->Process("Made.C+", 1);
  p->ShowLog();
  p->DeleteParameters("PROOF_Packetizer");
  p->GetInputList()->Remove(&files);
  TChain chain("made");
  TIter next(p->GetOutputList());
  while (TObject *o = next())
    if (auto *list = dynamic_cast<TList *>(o)) {
      TIter each(list);
      while (TObject *file = each())
        chain.Add(file->GetName());
    }
  printf("made %d files, %lld entries up to %g\n", chain.GetListOfFiles()->GetEntries(), chain.GetEntries(),
         chain.GetMaximum("number"));
  const TString one = chain.GetListOfFiles()->First()->GetTitle();
  p->ClearData(TProof::kUnregistered | TProof::kForceClear);
  printf("gone %d\n", gSystem->AccessPathName(one));

  p->AddFeedback("count");
  p->AddFeedback("PROOF_EventsHist");
  TDrawFeedback draw(p);
  p->Connect("Feedback(TList*)", nullptr, nullptr, "look(TList*)");
  p->SetParameter("PROOF_FeedbackPeriod", 1000);
  p->Process("Made.C+", 6000, "ASYN;slow");
  auto *canvas = dynamic_cast<TVirtualPad *>(gROOT->GetListOfCanvases()->FindObject("count_canvas"));
  auto *drawn = canvas ? dynamic_cast<TH1 *>(canvas->GetListOfPrimitives()->FindObject("count_copy")) : nullptr;
  auto *events = dynamic_cast<TVirtualPad *>(gROOT->GetListOfCanvases()->FindObject("PROOF_EventsHist_canvas"));
  printf("shown %d, drawn %d, spread %d\n", shown > 0, drawn && drawn->GetEntries() > 0, events != nullptr);
  printf("idle %d queries %d\n", p->IsIdle(), p->GetNumberOfQueries());
  p->Close();
}
`

// TestProofFiles runs selectors of a session that write files: data sets which they register, files in the data folders
// of workers, and shows what a query has while it runs. A job without a session does the same for its user.
func TestProofFiles(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "made.C"), []byte(madeMacro), 0o600); err != nil {
		t.Fatal(err)
	}
	selector := copySelector(t, dir, "Made.C") + "+"
	c := ownCluster(t, nodeSpec{name: "alice", slots: 2})
	alice := c.nodes[0]
	res := alice.dtpnode(t, dir, "root", "-l", "-b", "-q", "made.C")
	for _, text := range []string{
		"registered 1, 1000 entries", "again 500", "kept 500", "united 800", "of the output 1 200",
		"numbers-1.root: not registered: could not register \"numbers\": this node has a dataset of that name: the option O",
		"made 6 files, 600 entries up to 599", "gone 1", "stay on", "shown 1, drawn 1, spread 1", "idle 1 queries 6",
		"the query runs now", "terminated with 1000 entries, 1", "terminated with 6 entries, 1",
	} {
		if !strings.Contains(res.stdout+res.stderr, text) {
			t.Errorf("does not say %q", text)
		}
	}
	if t.Failed() {
		t.Fatalf("exit %d\n%s%s", res.code, res.stdout, res.stderr)
	}

	o := alice.run(t, job{
		Job:  roottest.Job{Selector: strings.TrimSuffix(selector, "+"), Option: "RO", Dir: t.TempDir()},
		args: []string{"--cycles", "400"},
	})
	o.wantDone(t)
	if f := o.st.OutputFiles; len(f) != 1 || !f[0].Registered || f[0].Dataset != "numbers" || f[0].Note != "" {
		t.Errorf("told of %+v", f)
	}
	if show := alice.dtpnode(t, dir, "dataset", "show", "numbers", "--output", "json"); show.code != 0 ||
		!strings.Contains(show.stdout, `"entries": 400,`) {
		t.Errorf("%+v", show)
	}
}
