package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
)

// schemas are those that a binary prints, by their names, made strict: a field that a schema does not know is an error
// here, though users are told to ignore such.
type schemas struct {
	of   map[string]*jsonschema.Schema
	seen map[string]bool // something has been held against it
}

func loadSchemas(t *testing.T, bin string) *schemas {
	t.Helper()
	names, err := osexec.Command(bin, "schema").Output()
	check(t, err)
	s := &schemas{of: map[string]*jsonschema.Schema{}, seen: map[string]bool{}}
	for _, name := range strings.Fields(string(names)) {
		text, err := osexec.Command(bin, "schema", name).Output()
		check(t, err)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		check(t, err)
		closed(doc)
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		check(t, c.AddResource(name+".json", doc))
		if s.of[name], err = c.Compile(name + ".json"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return s
}

// closed lets no object have fields that its schema does not name.
func closed(doc any) {
	switch doc := doc.(type) {
	case map[string]any:
		if doc["properties"] != nil {
			doc["additionalProperties"] = false
		}
		for _, v := range doc {
			closed(v)
		}
	case []any:
		for _, v := range doc {
			closed(v)
		}
	}
}

// hold validates a stream of JSON values against a schema; there must be one at least.
func (s *schemas) hold(t *testing.T, name, text string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	n := 0
	for ; dec.More(); n++ {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			t.Errorf("%s printed no JSON: %v: %s", name, err, text)
			return
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		check(t, err)
		if err := s.of[name].Validate(v); err != nil {
			t.Errorf("%s printed what its schema does not allow: %v\n%s", name, err, raw)
			return
		}
	}
	if n == 0 {
		t.Errorf("%s printed nothing", name)
	}
	s.seen[name] = true
}

// jsonUser runs commands with --output json, and holds what they print against the schemas.
type jsonUser struct {
	*schemas
	t   *testing.T
	dir string // for files
}

// run runs a command that must end with a status, on a node; what it prints must be as the schema says, and so must its
// errors.
func (u jsonUser) run(n *node, want int, schema string, args ...string) string {
	u.t.Helper()
	got := n.dtpnode(u.t, u.dir, append(args, "--output", "json")...)
	if got.code != want {
		u.t.Errorf("%q: exit %d, want %d: %+v", args, got.code, want, got)
		return ""
	}
	if schema != "error" {
		u.hold(u.t, schema, got.stdout)
	} else if got.stdout != "" {
		u.t.Errorf("%q: printed %s", args, got.stdout)
	}
	if want != 0 {
		lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
		u.hold(u.t, "error", lines[len(lines)-1])
		if !strings.Contains(lines[len(lines)-1], fmt.Sprintf(`"exit":%d`, want)) {
			u.t.Errorf("%q: the error does not have the exit status %d: %s", args, want, got.stderr)
		}
	}
	return got.stdout
}

// selector writes a selector for the executor that sleeps and counts, and returns the arguments of a run of it.
func (u jsonUser) selector(name string, spec fakeexec.Spec, entries int) []string {
	u.t.Helper()
	text, err := json.Marshal(spec)
	check(u.t, err)
	check(u.t, os.WriteFile(filepath.Join(u.dir, name+".C"), text, 0o600))
	return []string{"run", name + ".C", "--tree", "T", "--files", fmt.Sprintf("fake://f?entries=%d&clusters=10", entries)}
}

// jobID is the name of the job that run --detach printed.
func jobID(t *testing.T, text string) string {
	t.Helper()
	var st api.JobStatus
	check(t, json.Unmarshal([]byte(text), &st))
	return st.ID
}

// TestJSONSchemas: what every command prints with --output json, on real daemons, is as its schema says; and so are
// errors of each exit status.
func TestJSONSchemas(t *testing.T) {
	t.Parallel()
	bin := fakeBinary(t)
	u := jsonUser{schemas: loadSchemas(t, bin), t: t, dir: t.TempDir()}
	base := t.TempDir()
	daemon := func(name string) *node {
		n := &node{
			name:  name,
			dir:   base,
			state: filepath.Join(base, name),
			log:   filepath.Join(base, name, "dtpnode.log"),
			bin:   bin,
		}
		n.client = api.NewClient(api.SocketPath(n.state))
		t.Cleanup(func() {
			if got, err := n.command(context.Background(), base, "down"); err != nil || got.code != 0 {
				t.Errorf("%s does not end: %v, %+v", name, err, got)
			}
		})
		return n
	}
	a, b, c, d := daemon("a"), daemon("b"), daemon("c"), daemon("d")
	u.withoutDaemon(a)
	u.membership(a, b, c, d)
	u.jobs(a)
	u.jobsThatFail(a)
	u.run(c, 0, "down", "down")
	u.run(c, 0, "down", "down") // nothing runs
	u.founder(a, b, c)
	u.packages(a)
	for _, name := range []string{
		"demo", "bench", "recover", "watch", "draw",
		"dataset-add", "dataset-ls", "dataset-show", "dataset-verify", "dataset-rm",
	} {
		// The first two take ROOT and minutes, and print the types that TestSchemas finds; TestRecoveredEndCounts holds what
		// recover prints, and TestWatch and TestDatasets, whose files are ROOT's, what watch and dataset do; draw prints what
		// run does.
		u.seen[name] = true
	}
	for name := range u.of {
		if !u.seen[name] {
			t.Errorf("no command was held against the schema %s", name)
		}
	}
}

func (u jsonUser) withoutDaemon(n *node) {
	u.t.Helper()
	u.run(n, 0, "version", "version")
	u.run(n, 0, "version", "--version")
	u.run(n, 0, "schema", "schema")
	u.run(n, 0, "schema", "schema", "ps")
	u.run(n, 0, "schema", "schema", "schema")
	u.run(n, 0, "man", "man", "pages")
	u.run(n, 0, "config-set", "config", "set", "slots", "1")
	u.run(n, 0, "config-set", "config", "set", "commit-every", "7s")
	u.run(n, 0, "config-unset", "config", "unset", "commit-every")
	u.run(n, 0, "config-show", "config", "show")
	u.run(n, 0, "down", "down")
	u.run(n, 1, "error", "ps")
	u.run(n, 2, "error", "nonsense")
	u.run(n, 2, "error", "ps", "--nonsense")
	u.run(n, 2, "error", "config", "set", "slots", "many")
	u.run(n, 2, "error", "schema", "completion")
	if got := n.dtpnode(u.t, u.dir, "doctor", "--output", "json"); got.code > 1 { // as this host is
		u.t.Errorf("%+v", got)
	} else {
		u.hold(u.t, "doctor", got.stdout)
	}
}

// packages keeps a PAR package and removes it again, twice.
func (u jsonUser) packages(n *node) {
	u.t.Helper()
	par := filepath.Join(u.dir, "loose.par")
	packPackage(u.t, par)
	u.run(n, 0, "package-add", "package", "add", par)
	u.run(n, 0, "package-ls", "package", "ls")
	u.run(n, 0, "package-rm", "package", "rm", "loose")
	u.run(n, 0, "package-clear", "package", "clear")
}

func (u jsonUser) membership(a, b, c, d *node) {
	u.t.Helper()
	u.run(a, 0, "up", "up", "--detach", "--listen", "127.0.0.1:0", "--name", "a")
	check(u.t, a.settled())
	u.run(a, 1, "error", "up", "--detach")
	u.run(a, 0, "ps", "ps") // none yet
	u.run(a, 0, "recovery-key", "recovery-key", "--file", "a.key")
	u.run(a, 1, "error", "recovery-key") // it is made once
	u.run(a, 0, "rename", "rename", "first")
	for _, n := range []*node{b, c, d} {
		var inv api.Invite
		text := u.run(a, 0, "invite", "invite", "--rights", "worker,submitter,inviter,read,admin")
		check(u.t, json.Unmarshal([]byte(text), &inv))
		u.run(n, 0, "join", "join", inv.Token, "--name", n.name, "--slots", "1")
		check(u.t, n.settled())
	}
	u.run(b, 1, "error", "join", "dtp1.nonsense")
	u.run(a, 0, "members", "members")
	u.run(b, 0, "members", "members")
	u.run(a, 0, "status", "status")
	u.run(a, 1, "error", "revoke", "nobody")
	u.run(a, 0, "revoke", "revoke", "d")
}

// settled polls until the daemon can run jobs.
func (n *node) settled() error {
	return poll(settleLimit, func() (bool, error) {
		st, err := n.status()
		return len(st.Runtimes) > 0 && st.Problem == "", err
	})
}

func (u jsonUser) jobs(n *node) {
	u.t.Helper()
	quick := u.selector("quick", fakeexec.Spec{Entry: "10us", Bins: 10}, 1000)
	u.run(n, 0, "run", append(quick, "-o", "out.root")...)
	u.run(n, 0, "run", append(quick, "--check")...)
	id := jobID(u.t, u.run(n, 0, "run", append(quick, "--detach")...))
	u.run(n, 0, "attach", "attach", id)
	u.run(n, 0, "get", "get", id, "-o", "got.root")
	u.run(n, 1, "error", "close", id) // it was never open
	u.run(n, 0, "status", "status", id)
	slow := u.selector("slow", fakeexec.Spec{Entry: "1ms", Bins: 10}, 1_000_000)
	id = jobID(u.t, u.run(n, 0, "run", append(slow, "--detach")...))
	n.until(u.t, id, "it has done something", func(st api.JobStatus) bool { return st.Done > 0 })
	u.run(n, 0, "ps", "ps")
	u.run(n, 0, "status", "status", id)
	u.run(n, 1, "error", "get", id)
	u.run(n, 1, "error", "finish", id)
	u.run(n, 1, "error", "recover", id, "--yes")
	u.run(n, 0, "cancel", "cancel", id, "--keep")
	u.run(n, 3, "attach", "attach", id)
	u.run(n, 3, "get", "get", id, "-o", "part.root")
	id = jobID(u.t, u.run(n, 0, "run", append(slow, "--detach")...))
	u.run(n, 0, "cancel", "cancel", id)
	u.run(n, 130, "attach", "attach", id)
	id = jobID(u.t, u.run(n, 0, "run", append(quick, "--open", "--detach")...))
	u.run(n, 0, "append", "append", id, "fake://more?entries=100&clusters=1")
	u.run(n, 0, "status", "status", id)
	u.run(n, 0, "close", "close", id)
	valued := u.selector("valued", fakeexec.Spec{Entry: "10us", Bins: 10, Values: true}, 1000)
	id = jobID(u.t, u.run(n, 0, "run", append(valued, "--detach")...))
	u.run(n, 0, "units", "units", id, "--follow")
	u.run(n, 1, "error", "append", id, "fake://late?entries=100&clusters=1")
	u.run(n, 1, "error", "attach", "ffff")
	u.run(n, 1, "error", "logs", "ffff")
}

// jobsThatFail has jobs with entries that nobody can do, with code that fails, and with an end that fails.
func (u jsonUser) jobsThatFail(n *node) {
	u.t.Helper()
	bad := u.selector("bad", fakeexec.Spec{Entry: "10us", Bins: 10, Fail: map[int64]exec.Kind{77: "signal"}}, 1000)
	u.run(n, 3, "run", append(bad, "-o", "bad.root")...)
	var jobs []api.JobStatus
	check(u.t, json.Unmarshal([]byte(u.run(n, 0, "ps", "ps", "--only", "partial", "--last", "1")), &jobs))
	if len(jobs) != 1 {
		u.t.Fatalf("no partial job: %+v", jobs)
	}
	u.run(n, 3, "retry", "retry", jobs[0].ID, "-o", "retried.root")
	u.run(n, 0, "retry", "retry", jobs[0].ID, "-o", "mended.root", "--selector", "quick.C", "--param", "a=b")
	broken := u.selector("broken", fakeexec.Spec{
		Entry: "10us",
		Bins:  10,
		Steps: map[string]exec.Kind{"Begin": "signal"},
	}, 1000)
	u.run(n, 1, "run", append(broken, "-o", "broken.root")...)
	u.run(n, 1, "error", append(broken, "--check")...)
	unfinished := u.selector("unfinished", fakeexec.Spec{
		Entry: "10us",
		Bins:  10,
		Steps: map[string]exec.Kind{"Terminate": "signal"},
	}, 1000)
	text := u.run(n, 1, "run", append(unfinished, "-o", "unfinished.root")...)
	var last api.Event
	lines := strings.Split(strings.TrimSpace(text), "\n")
	check(u.t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	if last.Status == nil || last.Status.State != api.CannotFinish {
		u.t.Fatalf("the job is not one that cannot be finished: %s", text)
	}
	id := last.Status.ID
	u.run(n, 1, "finish", "finish", id)
	u.run(n, 0, "logs", "logs", id)
	u.run(n, 0, "get", "get", "--partials", id, "-o", "parts")
	u.run(n, 0, "get", "get", id, "-o", "sofar.root")
	u.run(n, 0, "cancel", "cancel", id)
	u.run(n, 0, "ps", "ps", "--all")
}

// founder gives the founder's role away, takes it back, and puts members out; c is gone by now.
func (u jsonUser) founder(a, b, c *node) {
	u.t.Helper()
	err := poll(settleLimit, func() (bool, error) {
		members, err := a.client.Members(u.t.Context())
		return slices.ContainsFunc(members, func(m api.Member) bool {
			return m.Name == "c" && m.State == api.MemberLeft
		}), err
	})
	check(u.t, err)
	u.run(a, 0, "members", "members")
	u.run(a, 0, "forget", "forget", "c")
	u.run(a, 0, "handover", "handover", "b")
	key, err := os.ReadFile(filepath.Join(u.dir, "a.key"))
	check(u.t, err)
	u.run(a, 0, "take-back", "take-back", strings.TrimSpace(string(key)))
	u.run(a, 0, "members", "members")
	u.run(b, 0, "status", "status")
	u.run(b, 0, "down", "down")
}
