package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// packageSelector calls a function of a package's library, on both sides.
const packageSelector = `#include "shapes.h"
#include <TParameter.h>
#include <TSelector.h>

class Uses : public TSelector {
 public:
  TParameter<Long64_t> *fSum = nullptr; //!
  Int_t Version() const override { return 2; }
  void SlaveBegin(TTree *) override { fOutput->Add(fSum = new TParameter<Long64_t>("sum", 0, '+')); }
  Bool_t Process(Long64_t entry) override {
    fSum->SetVal(fSum->GetVal() + corners(entry));
    return kTRUE;
  }
  void Terminate() override {
    auto *sum = static_cast<TParameter<Long64_t> *>(fOutput->FindObject("sum"));
    printf("sum %lld of %d\n", sum ? sum->GetVal() : -1, corners(1));
  }
  ClassDefOverride(Uses, 0);
};
`

const (
	packageBuild  = "#!/bin/sh\necho builds here\nc++ -shared -fPIC -o libshapes.so shapes.cc\n"
	packageSource = "#include \"shapes.h\"\nint corners(long long s) { return s % 2 ? 4 : 3; }\n"
)

// packageMacro relies, as macros did, on what TProof.h leads to, and enables its package twice.
const packageMacro = `#include "TProof.h"
void uses() {
  if (!TProof::Open("")) return;
  TMap tags;
  tags.Add(new TObjString("package"), new TObjString("shapes"));
  gProof->UploadPackage("shapes.par");
  if (gProof->EnablePackage("shapes") != 0 || gProof->EnablePackage(tags.GetValue("package")->GetName()) != 0) return;
  gProof->Process("Uses.C+", 1000LL);
}
`

// TestPackageOutlivesItsSession: a package is built for the user's process once for all sessions, at a place that
// stays: what ACLiC compiles in one session is loaded in the next one with the libraries that it was linked with.
func TestPackageOutlivesItsSession(t *testing.T) {
	t.Parallel()
	n, dir, folder := threeNodes.get(t).nodes[0], t.TempDir(), t.TempDir()
	inf := filepath.Join(folder, "shapes", "PROOF-INF")
	check(t, os.MkdirAll(inf, 0o700))
	for name, text := range map[string]string{
		filepath.Join(inf, "BUILD.sh"):               packageBuild,
		filepath.Join(inf, "SETUP.C"):                "int SETUP() { return gSystem->Load(\"libshapes\") < 0 ? -1 : 0; }\n",
		filepath.Join(folder, "shapes", "shapes.h"):  "int corners(long long shape);\n",
		filepath.Join(folder, "shapes", "shapes.cc"): packageSource,
		filepath.Join(dir, "Uses.C"):                 packageSelector,
		filepath.Join(dir, "uses.C"):                 packageMacro,
	} {
		check(t, os.WriteFile(name, []byte(text), 0o600))
	}
	tar := exec.Command("tar", "czf", filepath.Join(dir, "shapes.par"), "-C", folder, "shapes")
	if text, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	// Nothing of an earlier run of this test is to be found.
	if got := n.dtpnode(t, dir, "package", "rm", "shapes"); got.code > 1 {
		t.Fatalf("%+v", got)
	}
	for i, builds := range []int{1, 0} {
		got := n.dtpnode(t, dir, "root", "-l", "-b", "-q", "uses.C+")
		all := got.stdout + got.stderr
		if got.code != 0 || !strings.Contains(all, "sum 3500 of 4") || strings.Count(all, "builds here") != builds {
			t.Fatalf("session %d: %+v", i, got)
		}
		if n := strings.Count(all, "creating shared library"); (n > 0) != (i == 0) {
			t.Errorf("session %d compiled %d times:\n%s", i, n, all)
		}
	}
}
