package api

import "strings"

// CrashAdvice says what mostly is the matter with a selector that dies of a signal in Process at each entry that it is
// given, by the reason of the failure; it is empty for other failures. One process of ROOT runs such code.
func CrashAdvice(reason string) string {
	if !strings.HasPrefix(reason, "Process: killed by signal 11") {
		return ""
	}
	return "if Process() uses what Begin() makes, histograms or files: Begin() runs only where you submit, so make them " +
		"in SlaveBegin() and add them to fOutput, as for PROOF; if Version() returns 0, as it does where a selector has " +
		"none, it is SlaveBegin() that runs nowhere: have it return 2"
}
