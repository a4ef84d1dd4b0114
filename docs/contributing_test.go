package docs

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// shellBlocks are the fenced blocks of commands in a page.
var shellBlocks = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// attempt returns how a command is tried, and false for one of which nobody has said that. What takes long is tried for
// a moment, or it is seen that its tests are there.
func attempt(command string) (string, bool) {
	for _, a := range []struct{ is, change, to string }{
		{`^make `, `^make `, "make -n "},
		{`^go vet `, `^go vet `, "go list "}, // every change is vetted as a whole
		{`^go test (-tags \S+ )?\./(e2e|cmd/dtpnode) `, `.*\./(\S+) -run '?(\S+?)'?( .*|$)`, declared}, // slow to link
		// every change runs them
		{`^go test .*-run Mutants`, `.*`, "grep -rqE '^func Test.*Mutants' engine"},
		{`^go test \./engine .*-fuzz `, `.*\./(\S+) .*-fuzz '?(\S+?)'?( .*|$)`, declared}, // slow to compile
		{`^go test .*-fuzz `, `-fuzztime \S+`, "-fuzztime 10x"},
		{`^DTPNODE_SEEDS=\d+ go test `, `^DTPNODE_SEEDS=\d+`, "DTPNODE_SEEDS=2"},
		{`^go test `, ``, ""},
	} {
		if regexp.MustCompile(a.is).MatchString(command) {
			return regexp.MustCompile(a.change).ReplaceAllString(command, a.to), true
		}
	}
	return "", false
}

// declared sees that a package has a function for each alternative of a pattern of tests.
const declared = `for t in $$(echo '$2' | tr '|^$$()' ' '); do grep -rqE "^func $$t" $1 || exit 1; done`

// TestContributing tries every command of CONTRIBUTING.md. A page of commands that nobody runs is soon wrong.
func TestContributing(t *testing.T) {
	page, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := shellBlocks.FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Fatal("no commands found")
	}
	for _, block := range blocks {
		for command := range strings.Lines(block[1]) {
			command = strings.TrimSpace(command)
			t.Run(command, func(t *testing.T) {
				try, ok := attempt(command)
				if !ok {
					t.Fatal("no way to try it is known")
				}
				cmd := exec.CommandContext(t.Context(), "bash", "-c", try)
				cmd.Dir = ".."
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v\n%s", try, err, out)
				}
				// A pattern that no test has is no error for go test.
				if strings.Contains(string(out), "no tests to run") || strings.Contains(string(out), "no fuzz tests to fuzz") {
					t.Errorf("%s: there is no such test\n%s", try, out)
				}
			})
		}
	}
}
