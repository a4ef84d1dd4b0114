//go:build mutant_r2

package merge

const (
	ruleMergeDisjoint = false
	ruleCommitOnce    = true
)
