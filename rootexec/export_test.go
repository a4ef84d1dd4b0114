package rootexec

import "testing"

// SharedExecutor is the shared executor, for the tests outside of the package.
func SharedExecutor(t testing.TB) *Executor { return executor(t) }
