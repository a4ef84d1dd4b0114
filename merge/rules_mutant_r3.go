//go:build mutant_r3

package merge

const (
	ruleMergeDisjoint = true
	ruleCommitOnce    = false
)
