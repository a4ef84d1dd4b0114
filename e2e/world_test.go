package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// world is a job of selector World without files.
func world(t testing.TB, option string, args ...string) job {
	t.Helper()
	return job{Job: roottest.Job{Selector: roottest.Selector(t, "World.C"), Option: option}, args: args}
}

// TestCycles runs a selector without files on all nodes, with stealing. With a seed the output is the same from
// whichever node the job comes, and whatever was stolen; fStatus and the canvases are those of the whole.
func TestCycles(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	const cycles = 6_000_000
	first := wide(t, c.nodes[0], world(t, "toss", "--cycles", fmt.Sprint(cycles), "--seed", "7", "--seed-local"), 3)
	first.wantDone(t)
	if first.st.Units != cycles || first.st.Steals == 0 {
		t.Errorf("%d cycles, %d steals: %s", first.st.Units, first.st.Steals, first.describe())
	}
	second := c.nodes[1].run(t, world(t, "toss", "--cycles", fmt.Sprint(cycles), "--seed", "7"))
	second.wantDone(t)
	roottest.Find(t).Compare(t, second.out, first.out)

	j := world(t, "", "--cycles", "5000", "--save-canvases=png", "--include", "c.png")
	j.Dir = t.TempDir()
	check(t, os.WriteFile(filepath.Join(j.Dir, "c.png"), []byte("read by the job"), 0o600))
	drawn := c.nodes[2].run(t, j)
	drawn.wantDone(t)
	if !slices.ContainsFunc(drawn.lines, func(l string) bool { return strings.HasSuffix(l, "status 5005") }) {
		t.Errorf("fStatus is not that of all: %q", drawn.lines)
	}
	if want := []string{"c-canvas.png", "a_b_c.png", "a_b_c_2.png"}; !slices.Equal(drawn.st.Canvases, want) {
		t.Errorf("saved %q, want %q; not saved: %q", drawn.st.Canvases, want, drawn.st.Unsaved)
	}
	for _, name := range drawn.st.Canvases {
		if text, err := os.ReadFile(filepath.Join(j.Dir, name)); err != nil || !strings.HasPrefix(string(text), "\x89PNG") {
			t.Errorf("%s: %v, %d bytes", name, err, len(text))
		}
	}

	if text, err := os.ReadFile(filepath.Join(j.Dir, "c.png")); err != nil || string(text) != "read by the job" {
		t.Errorf("a canvas took the place of what the job reads: %q, %v", text, err)
	}

	for args, says := range map[string]string{
		"--cycles 0":                     "want at least 1",
		"--cycles 5 --files none.root":   "could not use --cycles with --files",
		"--cycles 5 --open":              "could not use --cycles with --open",
		"--cycles 5 --save-canvases=bmp": "ROOT saves canvases as pdf, png",
	} {
		r := c.nodes[0].dtpnode(t, t.TempDir(), append([]string{"run", j.Selector}, strings.Fields(args)...)...)
		if r.code != 2 || !strings.Contains(r.stderr, says) {
			t.Errorf("%s: %+v, want usage that says %q", args, r, says)
		}
	}
	if r := c.nodes[0].dtpnode(t, t.TempDir(), "run", j.Selector, "--cycles", "20000", "--check"); r.code != 0 ||
		!strings.Contains(r.stdout, "checked with 1,000 of 20,000 cycles") {
		t.Errorf("a check: %+v", r)
	}
}

// TestCanvasesElsewhere: where Terminate runs on another node, the canvases are saved there, and it is said where.
func TestCanvasesElsewhere(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	c := ownCluster(t, abc...)
	d := c.nodes[0].detach(t, world(t, "slow", "--cycles", "20000", "--save-canvases=pdf")) // 7 s of three slots
	c.nodes[0].crash(t)
	_, st := c.waitFinal(t, d.id, commandLimit)
	e := st.EndedIn
	if st.State != api.Done || e == nil || !slices.Equal(st.Canvases, []string{"c.pdf", "a_b_c.pdf", "a_b_c_2.pdf"}) {
		t.Fatalf("the job ended as %+v", st)
	}
	for _, name := range st.Canvases {
		if !slices.Contains(e.Files, name) || !fileExists(filepath.Join(e.Folder, name)) {
			t.Errorf("%s is not in %s on %s, which has %q", name, e.Folder, e.Node, e.Files)
		}
	}
}

// TestBranchStyles reads branches of all kinds, split and unsplit, of classes of the user's own, of ROOT and of the
// standard library, in the ways in which selectors do, from trees in a folder of the files: each as ROOT's own process.
func TestBranchStyles(t *testing.T) {
	t.Parallel()
	c, r := threeNodes.get(t), roottest.Find(t)
	files := r.MakeStyles(t, t.TempDir())
	for _, option := range []string{"", "reader"} {
		if option == "reader" && !roottest.Everything() {
			continue
		}
		exact(t, c.nodes[0], job{Job: roottest.Job{
			Selector: roottest.Selector(t, "Styles.C"), Tree: "deep/styles", Files: files, Option: option,
		}})
	}
}

// TestMakeProxy runs what TTree::MakeProxy generates around a user's functions. The histogram that it makes by itself
// is in the output too, and Terminate finds it as in one process, with the same bins.
func TestMakeProxy(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	c, r := threeNodes.get(t), roottest.Find(t)
	dir, files := t.TempDir(), fourFiles(t)
	for name, text := range map[string]string{
		"script.h": "#include <TH1D.h>\n#include <TNamed.h>\n",
		"cut.C":    "double cut() { return nMuon > 0; }\n",
		"script.C": `double script() { return MET_pt; }
TH1D *pt = nullptr;
void script_SlaveBegin(TTree *) { fOutput->Add(pt = new TH1D("pt", "", 50, 0, 200)); }
bool script_Process(Long64_t) { for (UInt_t i = 0; i < nMuon; ++i) pt->Fill(Muon_pt[i]); return true; }
void script_Terminate() {
  printf("found %s\n", htemp ? htemp->GetName() : "none");
  while (TObject *o = fOutput->FindObject("htemp")) fOutput->Remove(o); // the reference does not have it there
  if (htemp) fOutput->Add(htemp->Clone("copy"));
}
`,
		"generate.C": fmt.Sprintf(`void generate() {
  TFile f(%q);
  f.Get<TTree>("Events")->MakeProxy("Proxy", "script.C", "cut.C");
}
`, files[0]),
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	r.Macro(t, dir, nil, "generate.C")
	o := exact(t, c.nodes[0], job{Job: roottest.Job{
		Selector: filepath.Join(dir, "Proxy.h"), Tree: "Events", Files: files,
	}})
	if !slices.Contains(o.lines, "found htemp") {
		t.Errorf("Terminate does not find the histogram: %q", o.lines)
	}
}
