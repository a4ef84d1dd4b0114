package api

import (
	"path/filepath"
	"slices"
)

// LedgersDir is the folder, below a daemon's state folder, of its copies of jobs' ledgers: one folder for each job.
func LedgersDir(stateDir string) string { return filepath.Join(stateDir, "ledgers") }

// JobsDir is the folder, below a daemon's state folder, of jobs that have ended: one folder for each.
func JobsDir(stateDir string) string { return filepath.Join(stateDir, "jobs") }

// ResultFile is the name of a job's output in its folder below JobsDir.
const ResultFile = "result.out"

// Worked names the folder in which a daemon, which need not run, keeps what has been done of a job, below its state
// folder: committed partials beside the copy of the ledger, or the result. It is empty where there is nothing but what
// can be run again.
func Worked(stateDir string) (dir string) {
	partials, _ := filepath.Glob(filepath.Join(LedgersDir(stateDir), "*",
		"[0-9a-f]*-*.????????????????????????????????????????????????????????????????"))
	results, _ := filepath.Glob(filepath.Join(JobsDir(stateDir), "*", ResultFile))
	for _, path := range slices.Concat(partials, results) {
		return filepath.Dir(path)
	}
	return ""
}
