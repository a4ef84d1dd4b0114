package pyexec

import (
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// childVariable is an environment variable of this test binary: a folder with code in the place of the child's.
const childVariable = "DTPNODE_TEST_CHILD"

// defect is a change of a file of child/ that makes it break the contract, and the case of the suite that finds it.
type defect struct{ name, file, old, new, found string }

var defects = []defect{
	{"a missing file told without a cause", "workers.py",
		`raise Failed("open", os.strerror(e.errno or 0), errno=e.errno or 0, file=path)`,
		`raise Failed("open", os.strerror(e.errno or 0), errno=-1, file=path)`, "RefusedInputs"},
	{"a file told without its name", "workers.py", `raise Failed("open", str(e), errno=-1, file=path)`,
		`raise Failed("open", str(e), errno=-1)`, "RefusedInputs"},
	{"an entry counted twice", "workers.py", `self.units += at - p["first"]`, `self.units += at - p["first"] + 1`,
		"PacketsInAnyOrder"},
	{"a packet without a canary", "workers.py", `self.checks = (self.checks + partial.canary(`,
		`self.checks = (self.checks + 0 * partial.canary(`, "PacketsInAnyOrder"},
	{"an entry run in place of a packet's last", "workers.py", `            item = self.item(p, items, at)
            try:`, `            item = self.item(p, items, min(at, p["last"] - 2))
            try:`, "TreeOfMergesIsOnePass"},
	{"another entry given to the code", "workers.py", `return bytes(items[at])`, `return bytes(items[max(at - 1, 0)])`,
		"FailedAtAnEntry/throw"},
	{"a packet that is not cut", "workers.py", `while at < last and page.stop() < seq:
            page.entry = at
            item = self`, `while at < last:
            page.entry = at
            item = self`, "Preempted"},
	{"an input that is not looked at again", "workers.py", `self.blob[0] == blob:`, `True:`, "RefusedInputs"},
	{"another file of the same name", "workers.py", `p["total"] > 0 and p["total"] != items.n`, `False`, "RefusedInputs"},
	{"an input that ends the generation", "workers.py", `"op": "refused", "id": p["id"], "what"`,
		`"op": "failed", "what"`, "RefusedInputs"},
	{"a generation without the session's input", "workers.py", `self.code.start(given(r.get("input")))`,
		`self.code.start(None)`, "PacketsInAnyOrder"},
	{"a partial that loses the sum", "workers.py", `self.place(r["path"], self.units, self.checks, self.total)`,
		`self.place(r["path"], self.units, self.checks, self.total and (0,))`, "Preempted"},
	{"a partial left out of a merge", "workers.py", `for path in paths:`, `for path in paths[:1]:`, "SealedEmpty"},
	{"a merge that takes its inputs", "workers.py", `n, c, some = partial.read_sum(f, path)`,
		`n, c, some = partial.read_sum(f, path); os.unlink(path)`, "TreeOfMergesIsOnePass"},
	{"a merge that overwrites", "workers.py",
		`total = self.add(total, value)`, `total = (value,)`,
		"TreeOfMergesIsOnePass"},
	{"a merge of what is not there", "workers.py", `for path in paths:`, `for path in filter(os.path.exists, paths):`,
		"MergeRefuses"},
	{"a session that skips the user's end", "workers.py", `if r["user"] and self.code.finish is not None:`, `if False:`,
		"FailedSteps"},
	{"a saved output that runs the user's end", "workers.py", `if r["user"] and self.code.finish is not None:`,
		`if True:`, "FailedSteps"},
	{"an exit without its status", "workers.py", `exit=status_of(e.code))`, `exit=0)`, "FailedAtAnEntry/exit"},
	{"an exception told as another failure", "workers.py", `raise Failed("exception", f"{described(e)}; the item`,
		`raise Failed("exit", f"{described(e)}; the item`, "FailedAtAnEntry/throw"},
	{"a failure without its entry", "workers.py", `"entry": self.page.entry, "msg": msg`, `"entry": -1, "msg": msg`,
		"FailedAtAnEntry/throw"},
	{"an output that nobody asked for", "workers.py", `        if r["path"]:
            self.place`, `        if True:
            r["path"] = r["path"] or os.path.abspath("output")
            self.place`, "Session"},
	{"lines that go nowhere", "zygote.py", `            os.dup2(log, 1)`,
		`            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)`, "Session"},
}

// TestSuiteFindsDefects breaks the child in ways in which a program that package exec/child drives may be wrong, one at
// a time, and wants the conformance suite to fail at the case that is about it.
func TestSuiteFindsDefects(t *testing.T) {
	for _, d := range defects {
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.count=1", "-test.timeout=3m",
				"-rapid.shrinktime=1ms", "-test.run=^TestConforms$/^"+strings.ReplaceAll(d.found, "/", "$/^")+"$")
			cmd.Env = append(os.Environ(), childVariable+"="+d.broken(t))
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestConforms/"+d.found) {
				t.Errorf("the suite does not find it: %v\n%s", err, out)
			}
		})
	}
}

// broken is a folder with the child that has the defect.
func (d defect) broken(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	names, err := fs.Glob(childFiles, "child/*.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		source, err := childFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(source)
		if filepath.Base(name) == d.file {
			if n := strings.Count(text, d.old); n != 1 {
				t.Fatalf("%q stands %d times in %s", d.old, n, name)
			}
			text = strings.Replace(text, d.old, d.new, 1)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
