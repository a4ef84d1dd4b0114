package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// offers is what a shell would offer after these words, each with its description behind a tab.
func (n *node) offers(t testing.TB, words ...string) []string {
	t.Helper()
	r := n.dtpnode(t, t.TempDir(), append([]string{"__complete"}, words...)...)
	if r.code != 0 || !strings.HasPrefix(r.stderr, "Completion ended with directive:") {
		t.Errorf("completion of %q: %+v", words, r)
	}
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	return lines[:len(lines)-1] // the last one is the directive
}

// wantOffers fails the test unless that is offered, in this order; each begins so.
func (n *node) wantOffers(t testing.TB, words []string, want ...string) {
	t.Helper()
	got := n.offers(t, words...)
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("after %q are offered %q, want %q", words, got, want)
	}
}

// TestCompletion asks a real daemon for the names of jobs and members, each where it fits, and flags for their values.
func TestCompletion(t *testing.T) {
	t.Parallel()
	all := fakeNodes(t, "alice", "bob", "carol")
	alice, bob, carol := all[0], all[1], all[2]
	c := &cluster{nodes: all[:1]} // that is told all of its job
	short := paceOf(1, 100*time.Millisecond)
	_, done := c.waitFinal(t, alice.submit(t, short.request(t)).ID, settleLimit)
	long := paceOf(3, time.Minute)
	runs := alice.submit(t, long.request(t))
	alice.when(t, runs.ID, "it runs", func(st api.JobStatus) bool { return st.State == api.Running })
	newer, older := runs.ID[:12]+"\trunning ", done.ID[:12]+"\tdone, count.json, of alice, "
	alice.wantOffers(t, []string{"status", ""}, newer, older)
	alice.wantOffers(t, []string{"logs", "-f", ""}, newer, older)
	alice.wantOffers(t, []string{"cancel", ""}, newer)
	alice.wantOffers(t, []string{"finish", ""})
	alice.wantOffers(t, []string{"cancel", runs.ID, ""})
	alice.wantOffers(t, []string{"status", done.ID[:5]}, done.ID[:12])
	alice.wantOffers(t, []string{"status", done.ID[:20]}, done.ID[:20])
	bob.wantOffers(t, []string{"cancel", ""}, runs.ID[:12]+"\trunning, of alice, ") // of another's job no more is told

	alice.wantOffers(t, []string{"revoke", ""}, "bob\tup, 1 slot, worker,submitter", "carol\tup")
	alice.wantOffers(t, []string{"forget", ""})
	bob.wantOffers(t, []string{"revoke", "c"}, "carol\t")
	bob.wantOffers(t, []string{"handover", ""}, "carol\t")

	for _, k := range []struct {
		words []string
		want  []string
	}{
		{[]string{"ps", "--only", ""}, hyphenated()},
		{[]string{"ps", "--only", "running,wait"}, []string{"running,waiting"}},
		{
			[]string{"invite", "--rights", "worker,"},
			[]string{"worker,submitter", "worker,inviter", "worker,admin", "worker,read"},
		},
		{[]string{"members", "--output", ""}, []string{"text\t", "json\t"}},
		{[]string{"up", "--log-level", ""}, []string{"debug", "info", "warn", "error"}},
		{[]string{"config", "set", "log-l"}, []string{"log-level\t"}},
		{[]string{"config", "set", "log-level", ""}, []string{"debug", "info", "warn", "error"}},
		{[]string{"config", "set", "install-root", ""}, []string{"true", "false"}},
		{[]string{"run", ""}, []string{"C", "cxx", "cc", "cpp", "py"}}, // kinds of files
		{[]string{"help", "doc"}, []string{"doctor\t"}},
		{[]string{"ps", ""}, nil},
	} {
		alice.wantOffers(t, k.words, k.want...)
	}
	alice.completesInBash(t, "status "+done.ID[:5], done.ID[:12])
	alice.completesInBash(t, "run Su", "Sum.C", "Sum two.cxx")
	alice.completesInBash(t, "run s", "sub")
	alice.completesInBash(t, "run x.C --memory 25", "256M")

	alice.completesInFish(t, "status ", newer, older)
	alice.completesInFish(t, "revoke ", "bob\tup, 1 slot,", "carol\tup")
	alice.completesInFish(t, "sta", "status\tShow the daemon, or one job")
	alice.completesInFish(t, "run x.C --memory ", "256M", "1G", "2G", "4G", "8G")

	signal(t, syscall.SIGSTOP, carol.pid(t)) // it is up for some seconds still
	t.Cleanup(func() { signal(t, syscall.SIGCONT, carol.cmd.Process.Pid) })
	alice.wantOffers(t, []string{"status", ""}, newer, older)
	if r := alice.dtpnode(t, t.TempDir(), "cancel", runs.ID); r.code != 0 && r.code != 4 {
		t.Errorf("%+v", r)
	}
}

// completesInBash has a real shell without the package bash-completion complete a command line, in a folder with
// sources, and fails the test for anything that this prints into that line.
func (n *node) completesInBash(t *testing.T, typed string, want ...string) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		return
	}
	bin, dir := t.TempDir(), t.TempDir()
	check(t, os.Symlink(n.bin, filepath.Join(bin, "dtpnode")))
	check(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	for _, name := range []string{"Sum.C", "Sum two.cxx", "Sum.txt"} {
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	const script = `source <(dtpnode completion bash)
compopt() { :; } # which only the shell's own completion has
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$COMP_LINE"
[[ $COMP_LINE != *' ' ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_dtpnode
printf '%s\n' "${COMPREPLY[@]}"`
	cmd := exec.CommandContext(t.Context(), bash, "--norc", "--noprofile", "-c", script, "bash", "dtpnode "+typed)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "DTPNODE_STATE="+n.state,
		"DTPNODE_CACHE="+suite.cache)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || errs.Len() > 0 || !slices.Equal(got, want) {
		t.Errorf("bash offers %q after %q, want %q: %v %s", got, typed, want, err, &errs)
	}
}

// completesInFish has a real shell complete a command line, where there is one that does so without a terminal.
func (n *node) completesInFish(t *testing.T, typed string, want ...string) {
	t.Helper()
	fish, err := exec.LookPath("fish")
	if err != nil {
		return
	}
	script, err := exec.Command(n.bin, "completion", "fish").Output()
	check(t, err)
	bin := t.TempDir()
	check(t, os.Symlink(n.bin, filepath.Join(bin, "dtpnode")))
	cmd := exec.CommandContext(t.Context(), fish, "--private", "-c", string(script)+"\ncomplete -C 'dtpnode "+typed+"'")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "DTPNODE_STATE="+n.state,
		"DTPNODE_CACHE="+suite.cache)
	out, err := cmd.Output()
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	ok := err == nil && len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("fish offers %q after %q, want %q: %v", got, typed, want, err)
	}
}

func hyphenated() (out []string) {
	for _, s := range api.States() {
		out = append(out, strings.ReplaceAll(string(s), " ", "-"))
	}
	return out
}

// TestCompletionWithoutADaemon is silent, and offers what run has kept in the state folder.
func TestCompletionWithoutADaemon(t *testing.T) {
	t.Parallel()
	n := &node{name: "none", bin: fakeBinary(t), state: filepath.Join(t.TempDir(), "state")}
	for _, words := range [][]string{{"status", ""}, {"cancel", "a"}, {"revoke", ""}, {"forget", ""}, {"recover", ""}} {
		if got := n.offers(t, words...); len(slices.DeleteFunc(got, func(s string) bool {
			return strings.Contains(s, "kept by run")
		})) > 0 {
			t.Errorf("after %q are offered %q", words, got)
		}
	}
}

// TestTwoHosts holds what is said of the loss of one of two hosts: a job goes on without the one that does not lead it,
// and waits for the one that does.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	alice := fakeNode(t, "alice")
	(&cluster{nodes: []*node{alice}}).showLogs(t)
	alice.says(t, []string{"invite"}, "two hosts have no majority", "With a third host any one may be lost")
	bob := fakeNode(t, "bob")
	if r := bob.join(t, alice.invite(t)); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, n := range []*node{alice, bob} {
		n.says(t, []string{"status"}, "2 members, 2 up", "one host lost  two hosts have no majority")
	}
	alice.says(t, []string{"invite"}, "with three hosts or more any one may be lost")
	for _, help := range [][]string{{"help", "up"}, {"help", "invite"}} {
		alice.says(t, help, "f three or more, any one may be lost")
	}

	j := paceOf(2, 4*time.Second)
	id := alice.submit(t, j.request(t)).ID
	alice.when(t, id, "it runs", func(st api.JobStatus) bool { return st.Done > 0 })
	kill(t, bob.pid(t))
	<-bob.ended
	c := &cluster{nodes: []*node{alice}}
	on, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, on, st)

	bob.again(t)
	check(t, poll(settleLimit, func() (bool, error) { st, err := alice.status(); return st.Up == 2, err }))
	id = alice.submit(t, j.request(t)).ID
	alice.when(t, id, "its ledger is on disk", func(st api.JobStatus) bool { return st.Safe })
	check(t, poll(settleLimit, func() (bool, error) { st, err := bob.status(); return st.Busy > 0, err }))
	kill(t, alice.pid(t))
	<-alice.ended
	// whether it is told of as a job of another's, or as one that nobody leads
	bob.says(t, []string{"status", id}, "wait", "alice")
	alice.again(t)
	c = &cluster{nodes: []*node{alice}}
	on, st = c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, on, st)
}
