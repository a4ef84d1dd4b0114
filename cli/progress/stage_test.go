package progress

import (
	"bytes"
	"testing"
)

// TestStage: a stage is printed once; on a terminal it fits into its line and is removed at the end.
func TestStage(t *testing.T) {
	for name, tc := range map[string]struct {
		width func() int
		want  string
	}{
		"lines": {nil, "checking  compiling A.C on a\nchecking  running Begin\n"},
		"terminal": {func() int {
			return 80
		}, erase + "checking  compiling A.C on a" + erase + "checking  running Begin" + erase},
		"narrow": {func() int { return 16 }, erase + "checking  comp~" + erase + "checking  runn~" + erase},
		"of unknown width": {func() int {
			return 0
		}, erase + "checking  compiling A.C on a" + erase + "checking  running Begin" + erase},
	} {
		t.Run(name, func(t *testing.T) {
			var w bytes.Buffer
			s := Stage{W: &w, What: "checking", Width: tc.width}
			for _, text := range []string{"compiling A.C on a", "compiling A.C on a", "running Begin"} {
				s.Show(text)
			}
			s.Close()
			if w.String() != tc.want {
				t.Errorf("got %q, want %q", w.String(), tc.want)
			}
		})
	}
}
