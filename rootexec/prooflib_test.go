package rootexec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// TestProofLibrary: a selector that names PROOF finds its headers and its library, and one that does not name it loads
// nothing.
func TestProofLibrary(t *testing.T) {
	src := Source{Main: "Asks.C", Files: map[string][]byte{"Asks.C": []byte(`#include <TProofServ.h>
#include <TClass.h>
#include <TProofDebug.h>
#include <TSelector.h>
#include <cstdio>
class Asks : public TSelector {
 public:
  void SlaveBegin(TTree *) override {
    std::printf("dictionary %d level %d\n", TClass::GetClass("TProofServ")->IsLoaded(), gProofDebugLevel);
    std::fflush(stdout);
  }
  ClassDefOverride(Asks, 0);
};
`)}}
	if !src.needsProof() {
		t.Error("the source does not seem to include a header of PROOF")
	}
	e := executor(t)
	lib, err := e.Compile(t.Context(), src)
	if err != nil {
		t.Fatal(explain(err))
	}
	s, err := e.Load(t.Context(), lib, "Asks")
	if err != nil {
		t.Fatal(explain(err))
	}
	defer s.Release()
	g, err := s.Start(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, newRecorder())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p")); err != nil {
		t.Fatal(explain(err))
	}
	<-g.Done() // what it printed may come later than its answer
	if !strings.Contains(g.Output(), "dictionary 1 level 0") {
		t.Errorf("it printed %q", g.Output())
	}

	p, err := BuildProof(t.Context(), e.cfg.Root, e.cfg.Cache, func(step string) { t.Errorf("built twice: %s", step) })
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libProof.so", "libProof_rdict.pcm", "libProof.rootmap", "libProofPlayer.so"} {
		if _, err := os.Stat(filepath.Join(p.Lib, name)); err != nil {
			t.Error(err)
		}
	}
	if so, err := e.proofFor(t.Context(), suite.lib); so != "" || err != nil {
		t.Errorf("selectors that do not name PROOF would load %q, %v", so, err)
	}
}
