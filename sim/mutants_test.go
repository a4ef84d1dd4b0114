package sim

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// TestMutantsAreCaught plants each bug and plays the seed that docs/mutants.md names; if that does not fail any more,
// it plays up to 1,000 seeds.
func TestMutantsAreCaught(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine each; runs without the race detector")
	}
	bin := filepath.Join(t.TempDir(), "mutants")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "mutants", "-o", bin,
		"./mutants").CombinedOutput(); err != nil {
		t.Fatalf("could not build the mutants: %v\n%s", err, out)
	}
	known := catches(t)
	for _, b := range mutant.Bugs() {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			n, ok := known[b]
			if ok {
				if c := hunt(t, bin, b, n-1, 1); c.Caught {
					t.Logf("seed %d: %s", c.Seed, c.Seen)
					return
				}
			}
			c := hunt(t, bin, b, 0, 1000)
			if !c.Caught {
				t.Fatalf("1,000 seeds do not find that %s", b.Breaks())
			}
			t.Logf("seed %d finds it, and the table is out of date (make mutants): %s", c.Seed, c.Seen)
		})
	}
}

func hunt(t *testing.T, bin string, b mutant.Bug, first, seeds int) (c Catch) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, "-hunt", "-first", strconv.Itoa(first), "-seeds", strconv.Itoa(seeds))
	cmd.Env = append(os.Environ(), "DTPNODE_MUTANT="+string(b))
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &c)
	}
	if err != nil {
		t.Fatalf("could not hunt %q: %v", b, err)
	}
	return c
}

// catches reads the table: after how many seeds each bug was found.
func catches(t *testing.T) map[mutant.Bug]int {
	text, err := os.ReadFile(filepath.Join("..", "docs", "mutants.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[mutant.Bug]int{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 4 {
			if n, err := strconv.Atoi(strings.TrimSpace(cells[3])); err == nil {
				out[mutant.Bug(strings.TrimSpace(cells[1]))] = n
			}
		}
	}
	return out
}

// TestNoBugWithoutTheTag checks that this build has no planted bug.
func TestNoBugWithoutTheTag(t *testing.T) {
	if len(mutant.Bugs()) < 12 {
		t.Errorf("only %d bugs are planted", len(mutant.Bugs()))
	}
	for _, b := range mutant.Bugs() {
		if mutant.On(b) {
			t.Errorf("%s is on", b)
		}
		if strings.HasPrefix(b.Breaks(), "nothing") {
			t.Errorf("%s says not what it breaks", b)
		}
	}
}
