package rootexec

import (
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/proof"
)

// SharedExecutor is the shared executor, for the tests outside of the package.
func SharedExecutor(t testing.TB) *Executor { return executor(t) }

// ProofLibrary builds the library that stands for PROOF for the shared executor's ROOT, if it is not built yet, and
// asks for it once more.
func ProofLibrary(t testing.TB) (ProofLib, error) {
	e := executor(t)
	if _, err := BuildProof(t.Context(), e.cfg.Root, e.cfg.Cache, nil); err != nil {
		return ProofLib{}, err
	}
	return BuildProof(t.Context(), e.cfg.Root, e.cfg.Cache, func(step string) { t.Errorf("built twice: %s", step) })
}

// ProofOfSuite is what the shared executor's own selectors load of it.
func ProofOfSuite(t testing.TB) (string, error) { return executor(t).proofFor(t.Context(), suite.lib) }

// IncludesProof reports whether a source includes a header of it.
func IncludesProof(source string) bool { return proof.Included([]byte(source)) }
