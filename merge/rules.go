//go:build !mutant_r2 && !mutant_r3

package merge

// The two rules that results rest on. The mutant builds take one of them out, so that a test can show
// that the simulator notices.
const (
	ruleMergeDisjoint = true
	ruleCommitOnce    = true
)
