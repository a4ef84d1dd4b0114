package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"
	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/node/api"
)

// fakeNode is a daemon of the executor that needs no ROOT, a cluster of its own at first.
func fakeNode(t testing.TB, name string, args ...string) *node {
	t.Helper()
	n, err := launchNode(t.TempDir(), nodeSpec{name: name, binary: fakeBinary(t), args: args})
	check(t, err)
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
	check(t, n.waitReady())
	return n
}

// fakeNodes are members of the cluster of the first.
func fakeNodes(t testing.TB, names ...string) []*node {
	t.Helper()
	var all []*node
	for _, name := range names {
		all = append(all, fakeNode(t, name))
	}
	for _, n := range all[1:] {
		if r := n.join(t, all[0].invite(t)); r.code != 0 {
			t.Fatalf("%s could not join: %+v", n.name, r)
		}
	}
	for _, n := range all {
		check(t, poll(settleLimit, func() (bool, error) { st, err := n.status(); return st.Up == len(all), err }))
	}
	return all
}

// says polls until a command prints all of that.
func (n *node) says(t testing.TB, args []string, all ...string) result {
	t.Helper()
	var r result
	err := poll(settleLimit, func() (bool, error) {
		r = n.dtpnode(t, t.TempDir(), args...)
		for _, s := range all {
			if !strings.Contains(r.stdout+r.stderr, s) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		t.Errorf("dtpnode %s on %s does not say %q: %+v", strings.Join(args, " "), n.name, all, r)
	}
	return r
}

// row is the line of `members` about one of them, in words.
func (n *node) row(t testing.TB, name string) []string {
	t.Helper()
	for line := range strings.Lines(n.dtpnode(t, t.TempDir(), "members").stdout) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == name {
			return f
		}
	}
	return nil
}

// again starts a daemon that has ended on its state folder, whatever it is a member of then.
func (n *node) again(t testing.TB) {
	t.Helper()
	n.client.Close()
	_ = n.stdin.Close()
	<-n.ended
	next, err := launchNode(n.dir, nodeSpec{name: n.name, binary: n.bin, state: n.state})
	check(t, err)
	*n = *next
	check(t, poll(settleLimit, func() (bool, error) { _, err := n.status(); return err == nil, nil }))
}

// TestMembersComeAndGo tells who left from who is lost, and forgets one that is gone; when it comes back after all it
// knows that, says so, and can be invited again.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	all := fakeNodes(t, "alice", "bob", "carol")
	alice, bob, carol := all[0], all[1], all[2]
	check(t, bob.stop())
	kill(t, carol.pid(t))
	<-carol.ended
	wantState := func(name, state string) {
		t.Helper()
		err := poll(settleLimit, func() (bool, error) { f := alice.row(t, name); return len(f) > 3 && f[2] == state, nil })
		if err != nil {
			t.Errorf("%s is shown as %q, want %s", name, alice.row(t, name), state)
		}
	}
	wantState("bob", "left")
	wantState("carol", "lost")
	alice.says(t, []string{"members"}, "carol: could not connect to 127.0.0.1:", "connection refused")
	alice.again(t)
	wantState("bob", "left")
	wantState("carol", "lost")

	alice.dtpnode(t, t.TempDir(), "forget", "alice").wantRefused(t, "this host", "down --leave")
	bob.again(t)
	check(t, poll(settleLimit, func() (bool, error) { st, err := alice.status(); return st.Up == 2, err }))
	alice.dtpnode(t, t.TempDir(), "forget", "bob").wantRefused(t, "it is up", "dtpnode revoke")
	bob.dtpnode(t, t.TempDir(), "forget", "carol").wantRefused(t, "could not forget carol: ", "right", "marks as founder")
	bob.dtpnode(t, t.TempDir(), "revoke", "carol").wantRefused(t, "could not revoke carol: ", "right", "marks as founder")
	bob.dtpnode(t, t.TempDir(), "rename", "alice").wantRefused(t, `another member is called "alice" already`)
	for _, args := range [][]string{{"forget", "bob"}, {"rename", "bob"}} {
		if r := alice.dtpnode(t, t.TempDir(), args...); r.code == 0 || strings.Contains(r.stderr, "12D3KooW") {
			t.Errorf("%q: want a refusal without ids: %+v", args, r)
		}
	}
	bob.dtpnode(t, t.TempDir(), "invite").wantRefused(t, "could not invite", "a member with the right inviter")
	if r := alice.dtpnode(t, t.TempDir(), "forget", "carol"); r.code != 0 ||
		!strings.Contains(r.stdout, "needs a new invitation") {
		t.Errorf("%+v", r)
	}
	if f := alice.row(t, "carol"); f != nil {
		t.Errorf("a forgotten member is listed: %q", f)
	}
	carol.again(t)
	carol.says(t, []string{"status"}, "forgotten", "by alice", "dtpnode join TOKEN")
	if r := carol.join(t, alice.invite(t)); r.code != 0 {
		t.Errorf("could not come back: %+v", r)
	}
	wantState("carol", "up")
}

// TestRevokedKnows: a node that was revoked, while it was up or away, says so, by whom, and what to do.
func TestRevokedKnows(t *testing.T) {
	t.Parallel()
	all := fakeNodes(t, "alice", "bob", "carol")
	alice := all[0]
	check(t, all[2].stop())
	for _, n := range all[1:] {
		if r := alice.dtpnode(t, t.TempDir(), "revoke", n.name); r.code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	j := paceOf(1, time.Second)
	for _, n := range all[1:] {
		if n == all[2] { // as a user starts it
			r := n.dtpnode(t, t.TempDir(), "up", "--detach", "--name", n.name, "--slots", "1")
			if r.code != 0 || !strings.Contains(r.stdout, "revoked by alice") ||
				!strings.Contains(r.stdout, "dtpnode join TOKEN") {
				t.Errorf("up: %+v", r)
			}
		}
		for _, args := range [][]string{{"status"}, {"members"}, {"doctor", "--root", suite.root}} {
			n.says(t, args, "revoked by alice", "dtpnode join TOKEN", "dtpnode down --leave")
		}
		run := []string{"run", j.request(t).Title, "--tree", "T", "--files", j.request(t).Files[0].URL, "-o",
			filepath.Join(t.TempDir(), "o")}
		n.dtpnode(t, t.TempDir(), run...).wantRefused(t, "could not submit", "revoked by alice", "dtpnode join TOKEN")
		n.dtpnode(t, t.TempDir(), "invite").wantRefused(t, "revoked by alice")
		var st api.NodeStatus
		check(t, json.Unmarshal([]byte(n.dtpnode(t, t.TempDir(), "status", "--output", "json").stdout), &st))
		if st.Expelled == nil || st.Expelled.ByName != "alice" || !st.Expelled.Revoked {
			t.Errorf("%s tells %+v", n.name, st.Expelled)
		}
	}
	if log := all[1].logTail(0); !strings.Contains(log, "revoked by alice") {
		t.Errorf("the log does not say it:\n%s", log)
	}
	if r := all[1].join(t, alice.invite(t)); r.code != 0 {
		t.Errorf("could not come back: %+v", r)
	}
	all[1].says(t, []string{"status"}, "2 members, 2 up")
	if r := all[2].dtpnode(t, t.TempDir(), "down", "--leave"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if r := all[2].dtpnode(t, t.TempDir(), "up", "--detach"); r.code != 0 || !strings.Contains(r.stdout, "1 member, ") ||
		strings.Contains(r.stdout, "revoked") {
		t.Errorf("it does not begin anew: %+v", r)
	}
	if r := all[2].dtpnode(t, t.TempDir(), "down"); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// TestRename gives nodes long names, in scripts with wide characters too: all hear of them at once, the table of
// members keeps its width and order, and the next start knows them.
func TestRename(t *testing.T) {
	t.Parallel()
	all := fakeNodes(t, "alice", "bob", "carol")
	alice, bob := all[0], all[1]
	wide := "計算ノード・東京・第三計算機棟三階"
	for _, k := range []struct {
		code int
		name string
		says string
	}{
		{1, "alice", "called \"alice\" already"},
		{2, "", "empty"},
		{2, strings.Repeat("x", 65), "may have 64"},
		{2, "a\x1b[2Jb", "cannot be printed"},
		{0, wide, "is called " + wide + " now"},
	} {
		if r := bob.dtpnode(t, t.TempDir(), "rename", k.name); r.code != k.code ||
			!strings.Contains(r.stdout+r.stderr, k.says) {
			t.Errorf("rename %q: %+v", k.name, r)
		}
	}
	if r := all[2].dtpnode(t, t.TempDir(), "rename", strings.Repeat("long-", 12)); r.code != 0 {
		t.Errorf("%+v", r)
	}
	r := alice.says(t, []string{"members"}, "計算", "long-")
	for line := range strings.Lines(r.stdout) {
		if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); w > 100 {
			t.Errorf("%d places: %s", w, line)
		}
	}
	if lines := strings.Split(r.stdout, "\n"); !strings.HasPrefix(lines[1], "alice") ||
		!strings.HasPrefix(lines[2], "long-") {
		t.Errorf("the members are not in the order of their names:\n%s", r.stdout)
	}
	alice.says(t, []string{"members", "--output", "json"}, `"name": "`+wide+`"`)
	id := bob.submit(t, paceOf(3, time.Second).request(t)).ID
	bob.until(t, id, "it is done", func(st api.JobStatus) bool { return st.State == api.Done })
	for _, width := range []int{80, 120} {
		alice.wantTable(t, width, "NAME  RIGHTS ADDRESS", 3, "members")
		bob.wantTable(t, width, "JOB SUBMITTER LED AGE", 1, "ps")
		bob.wantTable(t, width, "NODE EVENTS FAILURES", 3, "status", id)
	}
	bob.says(t, []string{"ps", "--output", "json"}, `"submitter_name": "`+wide+`"`)
	bob.says(t, []string{"status", id, "--output", "json"}, `"name": "`+wide+`"`)
	bob.says(t, []string{"config", "show"}, wide)
	check(t, bob.stop())
	if r := bob.dtpnode(t, t.TempDir(), "rename", "bob-2"); r.code != 0 || !strings.Contains(r.stdout, "next start") {
		t.Errorf("%+v", r)
	}
	if r := bob.dtpnode(t, t.TempDir(), "up", "--detach"); r.code != 0 || !strings.Contains(r.stdout, "bob-2") {
		t.Errorf("the next start does not know the name: %+v", r)
	}
	alice.says(t, []string{"members"}, "bob-2")
	if r := bob.dtpnode(t, t.TempDir(), "down"); r.code != 0 {
		t.Errorf("%+v", r)
	}
}

// versioned builds the binary of the executor that needs no ROOT as another version of dtpnode.
func versioned(t testing.TB, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dtpnode-"+version)
	stamp := "-X github.com/dtpnode/dtpnode/internal/version.stamp=" + version
	if out, err := exec.Command("go", "build", "-tags", "fakeexec", "-ldflags", stamp, "-o", path,
		"../cmd/dtpnode").CombinedOutput(); err != nil {
		t.Fatalf("could not build as version %s: %v\n%s", version, err, out)
	}
	return path
}

// TestOtherVersion has a daemon of another version, which speaks the same protocol, join and work, without a complaint;
// `members` shows the versions as soon as there are two.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all []*node
	for name, binary := range map[string]string{"here": fakeBinary(t), "newer": versioned(t, "v9.9.9")} {
		n, err := launchNode(dir, nodeSpec{name: name, binary: binary})
		check(t, err)
		t.Cleanup(func() { check(t, n.stop()) })
		check(t, n.waitReady())
		all = append(all, n)
	}
	if r := all[0].dtpnode(t, dir, "members"); strings.Contains(r.stdout, "protocol") {
		t.Errorf("one version, and it is shown: %+v", r)
	}
	r := all[1].join(t, all[0].invite(t))
	if r.code != 0 || strings.Contains(r.stdout, "problem") {
		t.Errorf("the join of another version: %+v", r)
	}
	for _, n := range all {
		n.says(t, []string{"members"}, "dtpnode v9.9.9, protocol 4: newer", "protocol 4: here",
			"these versions work together")
	}
	j := paceOf(2, time.Second)
	c := &cluster{nodes: all}
	on, st := c.waitFinal(t, all[0].submit(t, j.request(t)).ID, settleLimit)
	j.wantCounted(t, on, st)
	for _, w := range st.Nodes {
		if w.Units == 0 {
			t.Errorf("%s has not worked: %+v", w.Name, st.Nodes)
		}
	}
	all[0].says(t, []string{"version"}, "protocol 4")
}

// TestPairsWithoutALink has two hosts join that listen on loopback, so that each reaches the first host alone. All
// three say which pair has no link, with the addresses that were tried and what came of it, those of others as their
// word.
func TestPairsWithoutALink(t *testing.T) {
	t.Parallel()
	h := makeHosts(t, 3)
	c := &cluster{}
	for i, name := range []string{"alice", "bob", "carol"} {
		spec := nodeSpec{
			name:   name,
			binary: fakeBinary(t),
			wrap:   []string{"ip", "netns", "exec", h.names[i]},
			args:   []string{"--listen", "127.0.0.1:0"},
		}
		if i == 0 {
			spec.args = []string{"--listen", h.addrs[0] + ":0"}
		}
		n, err := launchNode(t.TempDir(), spec)
		check(t, err)
		t.Cleanup(func() { check(t, n.stop()) })
		check(t, n.waitReady())
		if i > 0 {
			if r := n.join(t, c.nodes[0].invite(t)); r.code != 0 {
				t.Fatalf("%+v", r)
			}
		}
		c.nodes = append(c.nodes, n)
	}
	c.wantUp(t, c.nodes[0], 3)
	addr := func(n *node) string {
		st, err := n.status()
		check(t, err)
		return st.Addrs[0]
	}
	alice, bob, carol := c.nodes[0], c.nodes[1], c.nodes[2]
	toBob := "could not connect to " + addr(bob) + ": connect: connection refused"
	toCarol := "could not connect to " + addr(carol) + ": connect: connection refused"
	for _, args := range [][]string{{"status"}, {"members"}} {
		alice.says(t, args, "no link between bob and carol", "bob says: "+toCarol, "carol says: "+toBob)
		// whom it cannot ask itself
		bob.says(t, args, "no link between this node and carol", "\n  "+toCarol, "alice says that it has a link to carol")
	}
	alice.says(t, []string{"doctor", "--root", suite.root}, "warn  links          no link between bob and carol",
		"dtpnode up --listen")
	var members []struct {
		api.Member
		NoLinkTo []api.NoLinkEnd `json:"no_link_to"`
	}
	check(t, json.Unmarshal([]byte(bob.dtpnode(t, t.TempDir(), "members", "--output", "json").stdout), &members))
	for _, m := range members {
		if m.Name == "carol" && (m.State != api.MemberNoLink || len(m.NoLinkTo) != 1 || m.NoLinkTo[0].Name != "bob") {
			t.Errorf("bob sees carol as %+v", m)
		}
	}
	bob.dtpnode(t, t.TempDir(), "forget", "carol").wantRefused(t, "alice says that it is up")
	var st struct{ Links api.Links }
	check(t, json.Unmarshal([]byte(alice.dtpnode(t, t.TempDir(), "status", "--output", "json").stdout), &st))
	if len(st.Links.Pairs) != 1 || st.Links.Pairs[0].A.Name != "bob" || st.Links.Pairs[0].B.Says != toBob {
		t.Errorf("%+v", st.Links)
	}
	h.cut(t, 2)
	alice.says(t, []string{"members"}, "carol", "lost")
	if r := alice.dtpnode(t, t.TempDir(), "status"); strings.Contains(r.stdout, "no link") {
		t.Errorf("a host that is down for all has no link to anybody: %+v", r)
	}
}

// TestLookalikeNames: of members whose names look alike each is told by its id too, wherever it is named.
func TestLookalikeNames(t *testing.T) {
	t.Parallel()
	all := fakeNodes(t, "alice", "\u0430lice", "bob") // the second begins with a Cyrillic letter
	st, err := all[1].status()
	check(t, err)
	kill(t, all[1].pid(t))
	<-all[1].ended
	short := api.ShortIDs([]string{st.ID})[st.ID]
	r := all[0].says(t, []string{"members"}, "\u0430lice ("+short[:6], "connection refused")
	if strings.Contains(r.stdout, "bob (") {
		t.Errorf("bob is like nobody: %+v", r)
	}
	for _, wrong := range []string{"http://192.0.2.1:4001", "192.0.2.1:4001", "root://h//a.root"} {
		if r := all[2].join(t, wrong); r.code != 2 || !strings.Contains(r.stderr, "takes a token") ||
			strings.Contains(r.stderr, "damaged") {
			t.Errorf("join %s: %+v", wrong, r)
		}
	}
}

// wantTable has a command print on a terminal of a width: the table that begins with these headings must have them all,
// and no line of it be wider.
func (n *node) wantTable(t *testing.T, width int, headings string, rows int, args ...string) {
	t.Helper()
	tty := openTerminal(t)
	check(t, unix.IoctlSetWinsize(int(tty.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: uint16(width)}))
	cmd := n.onTerminal(t, tty, []string{"TERM=xterm"}, args...)
	_ = cmd.Wait()
	<-tty.done
	all := strings.Split(strings.ReplaceAll(tty.text(), "\r", ""), "\n")
	want := strings.Fields(headings)
	at := slices.IndexFunc(all, func(l string) bool { return strings.HasPrefix(l, want[0]+" ") })
	if at < 0 || len(all) < at+1+rows {
		t.Fatalf("%v printed no table of %d rows: %q", args, rows, all)
	}
	for _, h := range want {
		if !slices.Contains(strings.Fields(all[at]), h) {
			t.Errorf("%v at %d places: no column %s: %q", args, width, h, all[at])
		}
	}
	for _, l := range all[at : at+1+rows] {
		if w := runewidth.StringWidth(l); w > width {
			t.Errorf("%v: %d places of %d: %s", args, w, width, l)
		}
	}
}

// TestJoinIsSettled: when a join returns, the members are shown as they are, and who has a name that another has is
// told so.
func TestJoinIsSettled(t *testing.T) {
	t.Parallel()
	alice, bob, other := fakeNode(t, "alice"), fakeNode(t, "bob"), fakeNode(t, "bob")
	for _, n := range []*node{bob, other} {
		r := n.join(t, alice.invite(t))
		if told := strings.Contains(r.stderr, "another member has the name bob"); r.code != 0 || told != (n == other) {
			t.Errorf("%+v", r)
		}
		for _, m := range n.membersNow(t) {
			if !m.Self && (!m.Up || m.Slots == 0) {
				t.Errorf("just after the join %s is shown as %+v", m.Name, m)
			}
		}
	}
}

// membersNow lists the members as a node knows them.
func (n *node) membersNow(t *testing.T) (all []api.Member) {
	t.Helper()
	r := n.dtpnode(t, t.TempDir(), "members", "--output", "json")
	check(t, json.Unmarshal([]byte(r.stdout), &all))
	return all
}

// TestJobsKeepUpWithNames: a host that was renamed has its new name as who submitted a job and as who led it, and says
// at its end which job waits there for nobody else.
func TestJobsKeepUpWithNames(t *testing.T) {
	t.Parallel()
	n, _ := alone(t, fakeBinary(t))
	if r := n.dtpnode(t, t.TempDir(), "up", "--detach", "--name", "alice"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	defer func() { n.dtpnode(t, t.TempDir(), "down") }()
	req := paceOf(1, time.Minute).request(t)
	r := n.dtpnode(t, t.TempDir(), "run", req.Title, "--tree", req.Part, "--files", req.Files[0].URL, "--detach")
	id := strings.TrimSpace(r.stdout)
	if r.code != 0 || len(id) != 32 {
		t.Fatalf("%+v", r)
	}
	n.says(t, []string{"rename", "anna"}, "anna")
	n.says(t, []string{"status", id}, "submitted by anna", "led by anna")
	n.says(t, []string{"down"}, "no other host is up that could go on with it: job "+id[:12])
}
