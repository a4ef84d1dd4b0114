//go:build mutants

package mutant

import "os"

// chosen is read once: a process has the same bug for its whole life.
var chosen = Bug(os.Getenv("DTPNODE_MUTANT"))

// On reports whether b is planted.
func On(b Bug) bool { return b == chosen }
