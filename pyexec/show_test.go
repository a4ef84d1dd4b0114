package pyexec

import (
	"encoding/hex"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestShower: values are shown as Python writes them, and nothing of what a value holds is run.
func TestShower(t *testing.T) {
	python, err := osexec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	touched := filepath.Join(t.TempDir(), "touched")
	make := osexec.CommandContext(t.Context(), python, "-c", `
import collections, pickle, sys
class Bad:
    def __reduce__(self):
        return (open, (sys.argv[1], "w"))
class Thing:
    def __init__(self): self.x = 1
class L(list): pass
for v in (1, "a\nb", {"x": [1.5, None]}, {1, 2}, Bad(), Thing(), L([1, 2]), b"x" * 10000):
    print((b"\0" + pickle.dumps(v, 5)).hex())
print((b"\1" + pickle.dumps((None, "ValueError: no", "trace", "'it'"), 5)).hex())
print(b"\0no pickle".hex())
`, touched)
	out, err := make.Output()
	if err != nil {
		t.Fatal(saidIn(err, ""))
	}
	s, err := NewShower(t.Context(), python)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := []string{"1", `'a\nb'`, "{'x': [1.5, None]}", "{1, 2}", "<io.open>", "<__main__.Thing>", "<__main__.L>",
		"b'xxxx", "raised ValueError: no: the item is 'it'", "a value of 10 bytes that cannot be shown"}
	for i, line := range strings.Fields(string(out)) {
		value, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		text, raised := s.Text(value)
		if !strings.HasPrefix(text, want[i]) || len(text) > 5000 || raised != (i == 8) {
			t.Errorf("value %d is shown as %.60q, %v, want %q", i, text, raised, want[i])
		}
	}
	if files, _ := filepath.Glob(touched); len(files) > 0 {
		t.Error("a value has made a file")
	}
}
