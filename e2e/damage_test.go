package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// keptFiles are the files of a job's ledger on a node that match a pattern.
func (n *node) keptFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.state, "ledgers", "*", pattern))
	check(t, err)
	return files
}

// wantLogged waits until a daemon has logged all of that since an offset.
func (n *node) wantLogged(t *testing.T, from int64, says ...string) {
	t.Helper()
	err := poll(settleLimit, func() (bool, error) {
		text, err := os.ReadFile(n.log)
		rest := string(text[min(from, int64(len(text))):])
		return !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(rest, s) }), err
	})
	if err != nil {
		t.Errorf("the log of %s does not say %q: %s", n.name, says, n.logTail(from))
	}
}

// TestDamagedPartial flips a bit in what a home keeps of a job: the copy of another node takes its place or, where
// there is none, the work is done again.
func TestDamagedPartial(t *testing.T) {
	t.Parallel()
	for name, nodes := range map[string]int{"three nodes": 3, "one node": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := ownCluster(t, often("a", "b", "c")[:nodes]...)
			d := c.nodes[0].detach(t, paced(t, 140*nodes))
			st := c.nodes[0].committed(t, d.id, 0.25)
			kept := c.nodes[0].keptFiles(t, "*-*")
			if len(kept) == 0 {
				t.Fatal("nothing is kept")
			}
			flip(t, kept[0], 200)
			name := strings.TrimSuffix(filepath.Base(kept[0]), filepath.Ext(kept[0]))
			if own, _ := filepath.Glob(filepath.Join(c.nodes[0].state, "scratch", "*", name)); nodes == 1 && len(own) == 1 {
				flip(t, own[0], 200) // what it was copied from
			}
			end := c.nodes[0].wantEnd(t, d.id)
			c.nodes[0].wantLogged(t, 0, "is damaged", kept[0])
			if again := processed(end.st) - end.st.Units; nodes > 1 && again > 0 {
				t.Errorf("%d entries ran again", again)
			} else if nodes == 1 && (again <= 0 || again > st.Units/2) {
				t.Errorf("%d entries ran again for one partial", again)
			}
		})
	}
}

// TestDamagedAfterPowerCut leaves each committed partial whole on one node alone, while all are down: they mend one
// another's copies, and nothing committed runs again.
func TestDamagedAfterPowerCut(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	specs := often("a", "b", "c")
	c := ownCluster(t, specs...)
	d := c.nodes[0].detach(t, paced(t, 400))
	st := c.nodes[0].committed(t, d.id, 0.2)
	for _, n := range c.nodes {
		n.crash(t)
	}
	whole, cut := map[string]bool{}, 0
	for _, n := range []*node{c.nodes[2], c.nodes[1], c.nodes[0]} {
		for _, file := range n.keptFiles(t, "*-*") {
			if name := filepath.Base(file); !whole[name] {
				whole[name] = true
				continue
			}
			check(t, os.Truncate(file, 100))
			cut++
		}
	}
	if cut == 0 {
		t.Fatal("nothing is kept twice")
	}
	for i, n := range c.nodes {
		n.relaunch(t, specs[i])
	}
	end := c.nodes[0].wantEnd(t, d.id)
	st.Nodes = nil // they count from zero again
	wantKept(t, st, end.st, c.nodes)
}

// damages are what happens to a file.
var damages = map[string]func(t testing.TB, path string){
	"flipped": func(t testing.TB, path string) { flip(t, path, 40) }, // in the first page
	"cut": func(t testing.TB, path string) {
		info, err := os.Stat(path)
		check(t, err)
		check(t, os.Truncate(path, info.Size()/3))
	},
	"emptied": func(t testing.TB, path string) { check(t, os.Truncate(path, 0)) },
}

// TestDamagedJournal damages the log of a replica while it is down. It is told, and comes back as a new member.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			if name != "flipped" {
				roottest.Long(t)
			}
			t.Parallel()
			specs := often("a", "b", "c")
			c := ownCluster(t, specs...)
			d := c.nodes[0].detach(t, paced(t, 800))
			c.nodes[0].committed(t, d.id, 0.05)
			victim := c.nodes[2]
			victim.crash(t)
			journal := victim.keptFiles(t, "journal")
			if len(journal) != 1 {
				t.Fatalf("journals %q", journal)
			}
			damage(t, journal[0])
			from := victim.logSize()
			victim.restart(t, specs[2])
			victim.wantLogged(t, from, "could not read the copy of a job's ledger", journal[0])
			c.nodes[0].when(t, d.id, "its old copy is missed", func(st api.JobStatus) bool { return !st.Safe })
			st := c.nodes[0].when(t, d.id, "it is a replica again", func(st api.JobStatus) bool {
				return st.Safe && len(st.Replicas) == 3 && slices.Contains(st.Replicas, victim.name) &&
					len(victim.keptFiles(t, "journal")) == 1
			})
			c.nodes[0].crash(t)
			_, _ = c.wantHome(t, victim, d.id, c.nodes[0])
			end := victim.wantEnd(t, d.id)
			wantKept(t, st, end.st, c.but(c.nodes[0]))
		})
	}
}

// TestOnlyJournalDamaged damages the only copy of a ledger: the job has failed, by that name.
func TestOnlyJournalDamaged(t *testing.T) {
	t.Parallel()
	specs := often("a")
	c := ownCluster(t, specs...)
	n := c.nodes[0]
	d := n.detach(t, paced(t, 400))
	n.committed(t, d.id, 0.1)
	n.crash(t)
	journal := n.keptFiles(t, "journal")
	check(t, os.Truncate(journal[0], 5000))
	n.restart(t, specs[0])
	st := n.when(t, d.id, "the job has failed", func(st api.JobStatus) bool { return st.State.Final() })
	if st.State != api.Failed || !strings.Contains(st.Error, journal[0]) || !strings.Contains(st.Error, "damaged") ||
		st.Hint == "" {
		t.Errorf("told as %+v", st)
	}
	if fileExists(d.out) {
		t.Error("there is an output")
	}
	n.wantIdle(t)
	n.run(t, paced(t, 30)).wantWhole(t)
}

// TestStateDiskFull fills the disk with the state folder of a replica, or the home, in the middle of a job.
func TestStateDiskFull(t *testing.T) {
	t.Parallel()
	for name, full := range map[string]int{"home": 0, "replica": 1} {
		t.Run(name, func(t *testing.T) {
			if name == "replica" {
				roottest.Long(t)
			}
			t.Parallel()
			specs := often("a", "b", "c")
			small := filepath.Join(t.TempDir(), "small")
			wrap, inside := smallDisk(t, small, "4m")
			s := &specs[full]
			s.wrap, s.inside, s.state = wrap, inside, small
			s.args = append(s.args, "--scratch", t.TempDir())
			c := ownCluster(t, specs...)
			other := c.nodes[2]
			d := c.nodes[0].detach(t, paced(t, 400))
			other.committed(t, d.id, 0.1)
			c.nodes[full].fill(t, small)
			end := other.wantEnd(t, d.id)
			if full == 0 && end.st.HomeName == "a" {
				t.Errorf("the job ended on the full disk: %s", end.describe())
			}
			c.nodes[full].wantLogged(t, 0, "no space left on device")
			if _, err := c.nodes[full].status(); err != nil {
				t.Errorf("the daemon is gone: %v", err)
			}
		})
	}
}

// TestDamagedState damages the files of a daemon that is down, one by one: what is wrong, with which file, and what to
// do is said by the start and by doctor, and with the file mended all is there again.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	n, _ := alone(t, fakeBinary(t))
	do := func(code int, says []string, args ...string) result {
		t.Helper()
		r := n.dtpnode(t, t.TempDir(), args...)
		for _, s := range says {
			if r.code != code || !strings.Contains(r.stdout+r.stderr, s) {
				t.Errorf("%q: want exit %d and %q: %+v", args, code, s, r)
			}
		}
		return r
	}
	req := fakeJob{Spec: fakeexec.Spec{Entry: "10us", Bins: 10}, files: 1, clusters: 10, entries: 1000}.request(t)
	do(0, []string{"pid"}, "up", "--detach")
	defer func() { n.dtpnode(t, t.TempDir(), "down") }()
	do(0, []string{"1,000"}, "run", req.Title, "--tree", req.Part, "--files", req.Files[0].URL)
	dirs, err := filepath.Glob(filepath.Join(n.state, "jobs", "*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%q, %v", dirs, err)
	}
	id := filepath.Base(dirs[0])
	for _, tc := range []struct {
		file, text string // the text that stands there; "-" for no file
		says       []string
		starts     bool
	}{
		{"boot", "", []string{"boot", "the file is empty", "remove that file"}, false},
		{"boot", "12x", []string{"boot", "damaged", "12x", "remove that file"}, false},
		{"p2p/identity.key", "-", []string{"identity.key", "restore the key, or remove", "membership"}, false},
		{"p2p/identity.key", "x", []string{"identity.key", "damaged", "restore the file"}, false},
		{"p2p/membership", "x", []string{"membership", "damaged", "join again with a new token"}, false},
		{"jobs/" + id + "/status.json", "{", []string{id[:12], "status.json", "damaged", api.ResultFile}, true},
		{"jobs/" + id + "/status.json", "-", []string{id[:12], "status.json", api.ResultFile}, true},
	} {
		do(0, nil, "down")
		path := filepath.Join(n.state, tc.file)
		whole, err := os.ReadFile(path)
		check(t, err)
		check(t, os.Remove(path))
		if tc.text != "-" {
			check(t, os.WriteFile(path, []byte(tc.text), 0o600))
		}
		do(1, append([]string{"fail  state"}, tc.says...), "doctor")
		if tc.starts {
			check(t, os.RemoveAll(filepath.Join(n.state, "ledgers"))) // which is dropped some time after the end
			do(0, []string{"pid"}, "up", "--detach")
			do(1, tc.says, "get", id[:8], "-o", "x.root")
			do(1, tc.says, "status", id[:8])
			do(0, nil, "down")
		} else {
			do(1, tc.says, "up", "--detach")
		}
		check(t, os.WriteFile(path, whole, 0o600))
		do(0, []string{"pid"}, "up", "--detach")
		do(0, []string{"1,000 of 1,000"}, "get", id[:8], "-o", "y.root")
	}
}
