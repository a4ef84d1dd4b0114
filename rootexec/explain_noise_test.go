package rootexec

import "testing"

// TestStacksAreNoise: the stack of a dictionary generator that crashes after a compiler's error tells the user nothing,
// however its numbers are aligned.
func TestStacksAreNoise(t *testing.T) {
	const said = "./S.C:1:10: fatal error: 'TSelSector.h' file not found\n#include \"TSelSector.h\""
	for _, stack := range []string{
		"#0 0x00007f67624ef77b (/opt/root/lib/libCling.so+0x52ef77b)\n#1 0x1",
		" #0 0x00007f67624ef77b llvm::sys::PrintStackTrace()\n#10 0x1",
		"Stack dump:\n0. Program arguments: rootcling",
	} {
		if got := firstErrors(said + "\n" + stack); got != said {
			t.Errorf("%q: %q", stack, got)
		}
	}
}
