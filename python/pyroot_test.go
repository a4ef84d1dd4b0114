package python

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestPyROOT runs the tests of what the Python package does with PyROOT, with the Python that belongs to the ROOT of
// the tests: that of the environment in which it is installed, or else python3.
func TestPyROOT(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	venv := rootEnvironment(t, here)
	// RDataFrames have processes of their own: ROOT is told by them that threads use it, and stays so.
	const frames, booked = "roottests/test_rdf.py", "roottests/test_rdf_booked.py"
	for name, tests := range map[string][]string{
		"objects": {"roottests", "--ignore=" + frames, "--ignore=" + booked}, "frames": {frames}, "booked": {booked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Memory that was given back is overwritten, so that what uses objects of ROOT after their end crashes at once.
			env := []string{"MALLOC_PERTURB_=255", "XDG_STATE_HOME=" + t.TempDir(), "DTPNODE_STATE="}
			if name != "objects" && !roottest.Everything() {
				// Most of their time goes to ROOT's compiler, once for each node, and it need not optimise for so few entries.
				env = append(env, "DTPNODE_TEST_NODES=1", "EXTRA_CLING_ARGS=-O0")
			}
			args := append(slices.Clone(pytest), tests...)
			t.Log(run(t, here, env, filepath.Join(venv, "bin", "python"), args...))
		})
	}
}

// rootEnvironment makes an environment with PyROOT and this package.
func rootEnvironment(t *testing.T, here string) string {
	t.Helper()
	python, packages := pythonOfROOT(t, roottest.Find(t).Dir)
	installed := tools(t, python, filepath.Join(here, "roottests", "requirements.txt"))
	venv := environment(t, python, "", packages, installed, filepath.Join(here, "src"))
	run(t, here, nil, "go", "build", "-o", filepath.Join(venv, "bin", "dtpnode"), "../cmd/dtpnode")
	return venv
}

// pythonOfROOT finds the interpreter for a ROOT in dir, and the folder from which that imports it.
func pythonOfROOT(t *testing.T, dir string) (python, packages string) {
	t.Helper()
	if filepath.Base(filepath.Dir(dir)) != "site-packages" {
		return "python3", filepath.Join(dir, "lib")
	}
	env := filepath.Join(dir, "..", "..", "..", "..")
	return filepath.Join(env, "bin", "python3"), filepath.Dir(dir)
}
