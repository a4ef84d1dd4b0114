package inputs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestDataNamed finds the data files that a selector opens by relative names, and none that it writes, names in a
// comment, or includes.
func TestDataNamed(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("MY_CALIB", "v2")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"cal.root", "good.txt", "runs/run1.txt", "runs/run22.txt", "runs/other", "cfg/a", "cfg/b/c", "cuts.C",
		"old.root", "commented", "Sel.h", "new.txt", "weights.xml", "plots.pdf", "../outside",
	} {
		write(name, "data")
	}
	write("big.root", "")
	if err := os.Truncate("big.root", maxNamedFile+1); err != nil {
		t.Fatal(err)
	}
	write("Sel.C", `#include "Sel.h"
// TFile::Open("commented")
/* "commented"
   "commented" */ const char q = '"';
void f() {
  auto c = TFile::Open("cal.root"); std::ifstream in("./good.txt"); g(Form("runs/run%d.txt", run)); // "commented"
  TString dir = "cfg/"; gROOT->ProcessLine(".x cuts.C(3)"); gROOT->LoadMacro("cuts.C+"); TFile::Open("big.root");
  new TFile("old.root", "RECREATE"); std::ofstream out("new.txt"); canvas->Print("plots.pdf"); h("%d");
  h("../outside"); h("\"");
  gSystem->Getenv("MY_CALIB"); getenv("MY_NOTHING"); getenv("HOME"); h("nosuch"); h("Sel.C");
}`)
	got, err := DataNamed([]string{"Sel.C"}, []string{"runs/other"}, []string{"weights=weights.xml;mode=x", "cal.root"})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Env) != 1 || got.Env["MY_CALIB"] != "v2" {
		t.Errorf("environment: %q", got.Env)
	}
	slices.Sort(got.Files)
	want := []string{
		"cal.root", "cfg/a", "cfg/b/c", "cuts.C", "good.txt", "runs/run1.txt", "runs/run22.txt", "weights.xml",
	}
	if !slices.Equal(got.Files, want) || !slices.Equal(got.Left, []string{"big.root", "../outside"}) {
		t.Errorf("got %+v, want %q", got, want)
	}
}
