package child_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// defect is a change of testdata/zygote.py that makes it break the contract, and the case of the suite that finds it.
type defect struct{ name, old, new, found string }

var defects = []defect{
	{"a wrong number of entries", `"planned", "entries": read_input(r["file"])`,
		`"planned", "entries": read_input(r["file"]) + 1`, "Plan"},
	{"a missing file told without a cause", `raise Failed("open", e.strerror, errno=e.errno, file=path)`,
		`raise Failed("open", e.strerror, errno=-1, file=path)`, "PlanOfBadInputs"},
	{"a file told without its name", `"not a file of the tests", file=path`, `"not a file of the tests"`,
		"RefusedInputs"},
	{"an entry counted twice", `self.units += at - p["first"]`, `self.units += at - p["first"] + 1`,
		"PacketsInAnyOrder"},
	{"a packet without a canary", `self.canary = (self.canary + canary(self.job`,
		`self.canary = (self.canary + 0 * canary(self.job`, "PacketsInAnyOrder"},
	{"an entry run in place of a packet's last", `self.call("process", p["base"] + at)`,
		`self.call("process", p["base"] + min(at, p["last"] - 2))`, "TreeOfMergesIsOnePass"},
	{"another entry given to the code", `self.call("process", p["base"] + at)`,
		`self.call("process", p["base"] + at + 1)`, "FailedAtAnEntry/throw"},
	{"a packet that is not cut", `and self.page.stop() < p["seq"]`, ``, "Preempted"},
	{"an input that is not looked at again", `opened = p["file"] != self.file`, `opened = self.file is None`,
		"RefusedInputs"},
	{"another file of the same name", `p["total"] > 0 and p["total"] != entries`, `False`, "RefusedInputs"},
	{"an input that ends the generation", `"op": "refused", "id": p["id"], "what"`, `"op": "failed", "what"`,
		"RefusedInputs"},
	{"a generation without the session's input", `self.call("start", given)`,
		`self.call("start", b"")`, "PacketsInAnyOrder"},
	{"a partial that loses the counts", `"counts": dict(self.counts)}`, `"counts": {}}`, "Preempted"},
	{"a partial left out of a merge", `for path in paths:`, `for path in paths[:1]:`, "SealedEmpty"},
	{"a merge that takes its inputs", `out["units"] += p["units"]`, `out["units"] += p["units"]; os.unlink(path)`,
		"TreeOfMergesIsOnePass"},
	{"a merge that overwrites", `out["counts"].get(k, 0) + n`, `n`, "TreeOfMergesIsOnePass"},
	{"a merge of what is not there", "    for path in paths:\n        with open",
		"    for path in filter(os.path.exists, paths):\n        with open", "MergeRefuses"},
	{"a session that skips the user's end", `        if r["user"]:`, `        if False:`, "FailedSteps"},
	{"a saved output that runs the user's end", `        if r["user"]:`, `        if True:`, "FailedSteps"},
	{"an output that nobody asked for", `        if r["path"]:`, `        if True:
            r["path"] = r["path"] or os.path.abspath("output")`, "Session"},
	{"an output that is written before the user's end", `        if r["user"]:`, `        if r["path"]:
            self.write(r["path"], out)
        if r["user"]:`, "FailedSteps"},
	{"an exit without its status", `exit=e.code or 0`, `exit=0`, "FailedAtAnEntry/exit"},
	{"an exception told as another failure", `CODE_PHASES else "exception"`, `CODE_PHASES else "exit"`,
		"FailedAtAnEntry/throw"},
	{"a failure without its entry", `"entry": self.page.entry, "msg": msg`, `"entry": -1, "msg": msg`,
		"FailedAtAnEntry/throw"},
	{"lines that go nowhere", `            os.dup2(log, 1)`, `            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)`,
		"Session"},
}

// TestSuiteFindsDefects breaks the program of the tests in ways in which a runtime may be wrong, one at a time, and
// wants the conformance suite to fail at the case that is about it.
func TestSuiteFindsDefects(t *testing.T) {
	if os.Getenv(zygoteVariable) != "" {
		t.Skip("this is a broken program under test")
	}
	source, err := os.ReadFile("testdata/zygote.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range defects {
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if n := strings.Count(string(source), d.old); n != 1 {
				t.Fatalf("%q stands %d times in the program", d.old, n)
			}
			path := filepath.Join(t.TempDir(), "zygote.py")
			broken := strings.Replace(string(source), d.old, d.new, 1)
			if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.count=1", "-test.timeout=3m",
				"-rapid.shrinktime=1ms", "-test.run=^TestPythonConforms$/^"+strings.ReplaceAll(d.found, "/", "$/^")+"$")
			cmd.Env = append(os.Environ(), zygoteVariable+"="+path)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestPythonConforms/"+d.found) {
				t.Errorf("the suite does not find it: %v\n%s", err, out)
			}
		})
	}
}
