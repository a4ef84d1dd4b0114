package api

import (
	"strings"
	"testing"
)

// The advice is for code that works in one process of ROOT and nowhere else, and for no other crash.
func TestCrashAdvice(t *testing.T) {
	if got := CrashAdvice("Process: killed by signal 11 (SIGSEGV)"); !strings.Contains(got, "SlaveBegin()") {
		t.Errorf("a crash in Process: %q", got)
	}
	for _, other := range []string{"", "Init: killed by signal 11 (SIGSEGV)", "Process: killed by signal 6 (SIGABRT)"} {
		if got := CrashAdvice(other); got != "" {
			t.Errorf("%q got the advice %q", other, got)
		}
	}
}
