package child

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
)

// TestLinesOfFunctions compiles a library whose functions are linked each for itself, as templates and inline functions
// of a selector are, and finds their lines; of one without debug information it finds none.
func TestLinesOfFunctions(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "code.c")
	text := "int second(void);\nint first(int a) {\n  return a * second();\n}\nint second(void) {\n  return 2;\n}\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	build := func(name string, args ...string) string {
		t.Helper()
		lib := filepath.Join(dir, name)
		args = append(args, "-shared", "-fPIC", "-ffunction-sections", "-o", lib, source)
		if out, err := osexec.Command("cc", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return lib
	}
	with, without := build("with.so", "-g", "-O0"), build("without.so")
	l := newLineFinder()
	for _, tc := range []struct {
		lib, symbol, offset string
		back                bool
		want                string
	}{
		{with, "first", "0x0", false, "code.c:2"},
		{with, "second", "0x0", false, "code.c:5"},
		{with, "second", "0x5", false, "code.c:6"},
		{with, "second", "0x4", true, "code.c:5"},
		{with, "third", "0x0", false, ""},
		{with, "first", "nonsense", false, ""},
		{without, "first", "0x0", false, ""},
		{source, "first", "0x0", false, ""},
		{filepath.Join(dir, "none.so"), "first", "0x0", false, ""},
	} {
		if got := l.find(tc.lib, tc.symbol, tc.offset, tc.back); got != tc.want {
			t.Errorf("%s+%s in %s is %q, want %q", tc.symbol, tc.offset, filepath.Base(tc.lib), got, tc.want)
		}
	}
}

// TestNoMemory tells a null pointer from a failed allocation from any other.
func TestNoMemory(t *testing.T) {
	const limit, enomem, eagain = 1 << 30, 12, 11
	for name, tc := range map[string]struct {
		f     fault
		limit int64
		want  bool
	}{
		"failed allocation":       {fault{known: true, errno: enomem}, limit, true},
		"element of large array":  {fault{known: true, errno: enomem, addr: 3 << 30}, limit, true},
		"wild pointer":            {fault{known: true, errno: enomem, addr: 0x7f0000000000}, limit, false},
		"errno overwritten":       {fault{known: true, errno: eagain, addr: 16, data: limit - 1<<20}, limit, true},
		"null pointer of another": {fault{known: true, errno: eagain, addr: 16, data: limit / 2}, limit, false},
		"high address near limit": {fault{known: true, addr: 1 << 20, data: limit}, limit, false},
		"no limit":                {fault{known: true, errno: enomem}, 0, false},
		"sent by somebody":        {fault{errno: enomem, data: limit}, limit, false},
	} {
		if got := tc.f.noMemory(tc.limit); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
