package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// packageSelector calls a function of a package's library, on both sides. It takes what Begin adds by its place in the
// input list, as selectors for PROOF did, where it was the second; else the sum is not right.
const packageSelector = `#include "shapes.h"
#include <TParameter.h>
#include <TSelector.h>

class Uses : public TSelector {
 public:
  TParameter<Long64_t> *fSum = nullptr; //!
  Int_t Version() const override { return 2; }
  void Begin(TTree *) override { fInput->Add(new TNamed("0", "nothing")); }
  void SlaveBegin(TTree *) override {
    fOutput->Add(fSum = new TParameter<Long64_t>("sum", strcmp(fInput->At(1)->GetName(), "0"), '+'));
  }
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

// packageProgram is a program with a session of its own.
const packageProgram = `#include "TApplication.h"
#include "TMap.h"
#include "TProofChain.h"
#include "uses.C"
int main() {
  TApplication app("uses", nullptr, nullptr);
  uses();
  TChain files("ev");
  files.Add("none.root/ev");
  TProofChain chain(&files);
  printf("%d file, interval %d\n", chain.GetNtrees(), chain.GetTimerInterval());
}
`

// TestPackageOutlivesItsSession: a package is built for the user's process once for all sessions, at a place that
// stays: what ACLiC compiles in one session is loaded in the next one with the libraries that it was linked with. The
// last session is that of a program, which a compiler finds all for in the environment.
func TestPackageOutlivesItsSession(t *testing.T) {
	roottest.Long(t)
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
	env := n.dtpnode(t, dir, "root", "--env").stdout
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
	root, err := rootexec.Find(t.Context(), rootexec.FindOptions{Prefix: roottest.Find(t).Dir})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "program.cc"), []byte(packageProgram), 0o600))
	build := fmt.Sprintf("%s -std=%s program.cc -o program -I'%[3]s' -L'%[4]s' -Wl,-rpath,'%[4]s' -lCore -lRIO -lTree "+
		"-lProof -Wl,--allow-shlib-undefined", root.CXX, root.Std, root.Include, root.Lib)
	build += ` && test -e "${CMAKE_LIBRARY_PATH%%:*}/libProof.so"` // where CMake looks for ROOT's component Proof
	cmd := exec.CommandContext(t.Context(), "sh", "-c", env+build+" && PATH='"+root.Bin+"':$PATH ./program")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DTPNODE_STATE="+n.state, "DTPNODE_CACHE="+suite.cache)
	text, err := cmd.CombinedOutput()
	for _, want := range []string{"sum 3500 of 4", "1 file, interval 333"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("the program: %v, lacks %q\n%s", err, want, text)
		}
	}
}
