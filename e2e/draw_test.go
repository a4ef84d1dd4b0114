package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// drawn is a call of draw, of one pass over the data.
type drawn struct {
	option   string
	flags    []string
	drawings []roottest.Drawing
}

var drawCalls = []drawn{
	{drawings: []roottest.Drawing{
		{Expression: "Muon_pt[0]>>h1(100,0,200)", Selection: "nMuon>1"},
		{Expression: "Muon_pt>>h2"},
		{Expression: "Muon_pt >> h3(50)", Selection: "Muon_eta>0"}, // a selection of each element
		{Expression: "nMuon>>h4"},                                  // limits of integers
		{Expression: "Muon_eta:Muon_pt>>h5"},
		{Expression: "Muon_eta:Muon_pt>>h6(20,0,100,10,-3,3)", Selection: "nMuon==2"},
		{Expression: "Muon_phi:Muon_eta:Muon_pt>>h7(5,0,100,6,-3,3,7,-4,4)"},
		{Expression: "Muon_phi:Muon_eta:Muon_pt>>h8", Selection: "nMuon>1"},
		{Expression: "Muon_pt>>h9(50,0,100)", Selection: "(nMuon>1)*0.5"}, // a weight
		{Expression: "Sum$(Muon_pt)>>h10"},
		{Expression: "sqrt(Muon_pt*Muon_pt+Muon_mass*Muon_mass)>>h11"},
		{Expression: "Length$(Jet_pt)>>h12"},
		{Expression: "nMuon>1 ? Muon_pt[0] : -1>>h13(20,-10,90)"},
		{Expression: "MET_pt:Jet_pt>>h14(10,0,200)"}, // limits of one axis alone
		{Expression: "Muon_pt[nMuon-1]-Muon_pt[0]>>h15", Selection: "Muon_pt[0]>20 && Jet_pt[0]>0"},
		{Expression: "Muon_eta>>h17(40,-4,4)", Selection: "Muon_pt>1e9"}, // nothing
		{Expression: "nJet>>h16(5,0,5)"},
		{Expression: "nMuon>>+h16", Selection: "nMuon>0"},
		{Expression: ">>list", Selection: "nMuon>2"},
		{Expression: "MET_pt"},
		{Expression: "Entry$>>e1"}, // over all files
		{Expression: "Muon_pt+Entry$/Entries$>>e2(50,0,100)", Selection: "Entry$>6000 || Entry$%3==0"},
		{Expression: "LocalEntry$:Entry$>>e3", Selection: "Entry$>=Entries$-3000 && LocalEntry$%11==0"}, // few rows
		{Expression: "number>>e4", Selection: "number%2"},
		{Expression: "LocalEntries$:Entries$:MET_pt>>e5", Selection: "rest<700"},
	}, flags: []string{"--alias", "number=Entry$", "--alias", "rest=Entries$-Entry$"}},
	{option: "prof", drawings: []roottest.Drawing{
		{Expression: "MET_pt:nJet>>p1"},
		{Expression: "MET_pt:Muon_pt>>p2(20,0,100)", Selection: "Muon_eta>0"},
		{Expression: "MET_pt:Muon_eta:Muon_pt>>p3(5,0,100,6,-3,3)"},
		{Expression: "MET_pt:Muon_eta:Entry$>>p5", Selection: "Entry$%40==0"},
	}},
	{option: "profs", drawings: []roottest.Drawing{{Expression: "MET_pt:nJet>>p4(10,0,10)"}}},
	{option: "e", flags: []string{"--estimate", "1000"}, drawings: []roottest.Drawing{ // two passes
		{Expression: "Muon_pt>>h20"},
		{Expression: "nJet>>h21"},
		{Expression: "Muon_eta:Muon_pt>>h22"},
		{Expression: "MET_pt>>h23(10,0,100)"},
	}},
}

// textDrawings are of text: with limits, where ROOT gives each text a bin of its own in two and three dimensions, too.
// Numbers beside it are the centres of their bins, from which the sum of the products of both is made.
var textDrawings = []drawn{
	{drawings: []roottest.Drawing{
		{Expression: "word>>t1"}, {Expression: "name>>t2", Selection: "x>3"}, {Expression: "word>>t3(3,0,3)"},
		{Expression: "word:name>>t4(5,0,5,6,0,6)"}, {Expression: "n:word>>t5(3,0,3,7,-0.5,6.5)"},
		{Expression: "word:n>>t6(7,-0.5,6.5,3,0,3)", Selection: "n*0.5"},
		{Expression: "n:word:name>>t7(5,0,5,6,0,6,7,-0.5,6.5)"},
		{Expression: "word>>t9"}, {Expression: "name>>+t9"},
	}},
	{option: "prof", drawings: []roottest.Drawing{
		{Expression: "x:name>>p1"}, {Expression: "x:n:word>>p2(6,0,6,7,-0.5,6.5)", Selection: "n*0.5"},
	}},
}

// drawTexts draws text, whose labels stand in the order in which one process meets them.
func drawTexts(t *testing.T, n *node, root *roottest.ROOT, dir string) {
	t.Helper()
	root.Macro(t, dir, []string{filepath.Join("testdata", "MakeTexts.C")}, "MakeTexts.C")
	files := []string{filepath.Join(dir, "texts_0.root"), filepath.Join(dir, "texts_1.root")}
	base := []string{"draw", "--tree", "Events", "--files", files[0], "--files", files[1], "-o", "texts.root"}
	for _, call := range textDrawings {
		args := base
		for _, d := range call.drawings {
			args = append(args, "-e", d.Expression+";"+d.Selection)
		}
		if call.option != "" {
			args = append(args, "", "", call.option)
		}
		if got := n.dtpnode(t, dir, args...); got.code != 0 || strings.Contains(got.stderr, "second pass") {
			t.Fatalf("%q: %+v", call.option, got)
		}
		want := filepath.Join(dir, "texts_want.root")
		root.Draw(t, "Events", files, call.option, call.drawings, want)
		root.Compare(t, filepath.Join(dir, "texts.root"), want)
	}
	// Without limits ROOT's own have neighbours in one bin; here each text has its own, as with limits that fit.
	for _, c := range []struct{ expression, with string }{{"word:name", "(5,0,5,6,0,6)"}} {
		if got := n.dtpnode(t, dir, append(base, c.expression+">>free")...); got.code != 0 {
			t.Errorf("%s: %+v", c.expression, got)
		}
		want := filepath.Join(dir, "texts_want.root")
		root.Draw(t, "Events", files, "", []roottest.Drawing{{Expression: c.expression + ">>free" + c.with}}, want)
		root.Compare(t, filepath.Join(dir, "texts.root"), want)
	}
	got := n.dtpnode(t, dir, append(base, "x:word>>mixed")...)
	if got.code != 0 || !strings.Contains(got.stderr, "second pass") || !strings.Contains(got.stdout, "2000 entries") {
		t.Errorf("limits beside labels: %+v", got)
	}
	got = n.dtpnode(t, dir, append(base, "word:x>>mean", "", "prof")...)
	if got.code != 1 || !strings.Contains(got.stderr, `"word" is text, which has no mean`) {
		t.Errorf("a mean of text: %+v", got)
	}
}

// TestDraw draws on two nodes what TTree::Draw draws in one process, of files with different clusters, and is equal bin
// for bin; with and without limits, which take a second pass where there are many values.
func TestDraw(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	n, root, files := c.nodes[0], roottest.Find(t), unevenFiles(t)
	dir := t.TempDir()
	base := []string{"draw", "--tree", "Events"}
	for _, f := range files {
		base = append(base, "--files", f)
	}
	for _, call := range drawCalls {
		args := append(append([]string{}, base...), call.flags...)
		args = append(args, "-o", "got.root", "--picture", "got.png")
		for _, d := range call.drawings {
			args = append(args, "-e", d.Expression+";"+d.Selection)
		}
		if call.option != "" {
			args = append(args, "", "", call.option)
		}
		got := n.dtpnode(t, dir, args...)
		if got.code != 0 || !strings.Contains(got.stdout, "└──") {
			t.Fatalf("%q: %+v", call.option, got)
		}
		if two := strings.Contains(got.stderr, "second pass"); two != (call.option == "e") {
			t.Errorf("%q: a second pass: %v", call.option, two)
		}
		want := filepath.Join(dir, "want.root")
		root.Draw(t, "Events", files, call.option, call.drawings, want)
		root.Compare(t, filepath.Join(dir, "got.root"), want)
		if info, err := os.Stat(filepath.Join(dir, "got.png")); err != nil || info.Size() == 0 {
			t.Errorf("no picture: %v", err)
		}
	}
	drawTexts(t, n, root, dir)
	for i, entries := range []string{"19001", "38002"} { // the second adds to what the first has left in the file
		got := n.dtpnode(t, dir, append(append([]string{}, base...), "nJet>>+again", "-o", "again.root")...)
		if got.code != 0 || !strings.Contains(got.stdout, "again  "+entries+" entries") {
			t.Errorf("run %d: %+v", i+1, got)
		}
	}
	shown := n.dtpnode(t, dir, append(append([]string{}, base...), "nJet>>shown")...)
	if shown.code != 0 || strings.Contains(shown.stdout+shown.stderr, "Output:") {
		t.Errorf("not of a file, but: %+v", shown)
	}
	_, rest, _ := strings.Cut(shown.stdout+shown.stderr, "The output is kept: dtpnode get ")
	id, _, _ := strings.Cut(rest, " ")
	if got := n.dtpnode(t, dir, "get", id, "-o", "kept.root"); got.code != 0 {
		t.Errorf("what is said to be kept: %+v", got)
	}
	for _, bad := range []struct{ expression, says string }{
		{"Muon_ptt>>h", "there is no branch Muon_ptt; there is Muon_pt"},
		{"Muon_pt+>>h", `could not use "Muon_pt+"`},
		{"nMuon:nJet:MET_pt:run>>h", "at most 3 can be drawn"},
		{"nMuon>>h(abc)", `"abc" is no number`},
	} {
		got := n.dtpnode(t, dir, append(append([]string{}, base...), bad.expression)...)
		if got.code != 1 || !strings.Contains(got.stderr, bad.says) || strings.Contains(got.stderr, "running  ") {
			t.Errorf("%s: %+v", bad.expression, got)
		}
	}
}
