package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// besideJob is a job over the chain that MakeChains has made in dir, or over other files.
func besideJob(t testing.TB, dir, option string, files ...string) job {
	t.Helper()
	if len(files) == 0 {
		files = []string{"m0.root", "m1.root", "m2.root"}
	}
	for i, f := range files {
		files[i] = filepath.Join(dir, f)
	}
	return job{Job: roottest.Job{
		Selector: roottest.Selector(t, "Beside.C"), Tree: "ev", Files: files, Option: option, Dir: dir,
	}}
}

// TestChains runs a chain with lists of entries and with friends, given, stored and added in Init, and compares each
// with what one process of ROOT makes of it.
func TestChains(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roottest.Find(t).MakeChains(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	hidden := at("hidden") // from bob
	check(t, os.Mkdir(hidden, 0o755))
	check(t, copyFriends(hidden, dir))
	c := ownCluster(t, nodeSpec{name: "alice", slots: 2}, blindHost(t, "bob", hidden))
	alice, bob := c.nodes[0], c.nodes[1]
	lists := at("lists.root")
	for name, change := range map[string]func(j *job){
		"entry list":     func(j *job) { j.EntryList = lists + ":el" },
		"event list":     func(j *job) { j.EntryList = lists + ":ev2" },
		"part of a list": func(j *job) { j.EntryList, j.First, j.N = lists+":el", 33, 100 },
		"friend in two files": func(j *job) {
			j.Friends, j.Option = []string{"fr=" + at("f0.root") + "," + at("f1.root")}, "x"
		},
		"friend by a reader": func(j *job) {
			j.Friends, j.Option = []string{"fr=" + at("f0.root") + "," + at("f1.root")}, "reader x"
		},
		"friend and list": func(j *job) {
			j.Friends, j.Option = []string{"fr=" + at("f0.root") + "," + at("f1.root")}, "reader x"
			j.EntryList = lists + ":el"
		},
		"shorter friend":         func(j *job) { j.Friends, j.Option = []string{"sh=" + at("short.root")}, "z" },
		"stored index":           func(j *job) { j.Friends, j.Option = []string{"ix=" + at("index.root")}, "y" },
		"index by a reader":      func(j *job) { j.Friends, j.Option = []string{"ix=" + at("index.root")}, "reader y" },
		"index made":             func(j *job) { j.Friends, j.Option = []string{"ix[run,sub]=" + at("index.root")}, "y" },
		"index with gaps":        func(j *job) { j.Friends, j.Option = []string{"ix=" + at("gaps.root")}, "y" },
		"friend added":           func(j *job) { j.Option = "x add=" + at("fr.root") },
		"added for a reader":     func(j *job) { j.Option = "reader x add=" + at("fr.root") },
		"clone and friend added": func(j *job) { j.Option = "x skim add=" + at("fr.root") },
		"formula and clone beside a chain added": func(j *job) {
			j.Option = "x formula notify skim add=" + at("f0.root") + "+" + at("f1.root")
		},
		"friend stored": func(j *job) {
			j.Files, j.Option = []string{at("stored.root")}, "x"
		},
	} {
		t.Run(name, func(t *testing.T) {
			roottest.LongBut(t, name, "entry list", "part of a list", "friend and list", "index by a reader", "friend added",
				"formula and clone beside a chain added", "friend stored")
			j := besideJob(t, dir, "")
			change(&j)
			exact(t, alice, j)
		})
	}

	// As PROOF's workers had it, and not as one process of ROOT has it: what Init is given is the tree of one file.
	for _, f := range []string{"m0.root", "m1.root", "m2.root"} {
		b, err := os.ReadFile(at(f))
		check(t, err)
		check(t, os.WriteFile(at("own-"+f), b, 0o600))
	}
	for name, tc := range map[string]struct{ friend, option, like string }{
		"number in the tree":         {"fr=" + at("fr.root"), "x chain", "x"},
		"friend of each file, added": {"", "reader own", "self"},
		"and known by its alias":     {"", "alias own", "self"},
		"formula made in Init alone": {"fr=" + at("f0.root") + "," + at("f1.root"), "formula x", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			roottest.LongBut(t, name, "friend of each file, added", "formula made in Init alone")
			j := besideJob(t, dir, tc.option)
			want := besideJob(t, dir, tc.like)
			if tc.friend != "" {
				j.Friends, want.Friends = []string{tc.friend}, []string{tc.friend}
			}
			o := alice.run(t, j)
			o.wantDone(t)
			o.equals(t, want)
		})
	}

	t.Run("friends with different numbers", func(t *testing.T) {
		j := besideJob(t, dir, "alias own")
		j.Friends = []string{"fr=" + at("fr.root")}
		alice.run(t, j).wantError(t, "Init() adds a friend", "--friend")
	})
	t.Run("list that a job has made", func(t *testing.T) {
		roottest.Long(t)
		made := alice.run(t, besideJob(t, dir, "pick"))
		made.wantDone(t)
		j := besideJob(t, dir, "")
		j.EntryList = made.out + ":picked"
		o := exact(t, alice, j)
		if o.st.Units != 656 { // of 3,277 entries those with event % 5 == 1
			t.Errorf("%d entries were run, want 656: %s", o.st.Units, o.describe())
		}
	})
	t.Run("chain in a file", func(t *testing.T) {
		want := besideJob(t, dir, "z")
		want.Friends = []string{"sh=" + at("short.root")}
		j := besideJob(t, dir, "z", "lists.root:chain")
		o := alice.run(t, j)
		o.wantDone(t)
		o.equals(t, want)
	})
	t.Run("collection of files", func(t *testing.T) {
		roottest.Long(t)
		j := besideJob(t, dir, "", "lists.root:coll")
		o := alice.run(t, j)
		o.wantDone(t)
		o.equals(t, besideJob(t, dir, ""))
	})
	t.Run("list of other files", func(t *testing.T) {
		j := besideJob(t, dir, "")
		j.EntryList = lists + ":far"
		alice.run(t, j).wantError(t, "has no list for any file of the job", "/nowhere/else.root")
	})
	t.Run("no such list", func(t *testing.T) {
		j := besideJob(t, dir, "")
		j.EntryList = lists + ":none"
		alice.run(t, j).wantError(t, "no object", "el (TEntryList)")
	})
	t.Run("friend that the submitter lacks", func(t *testing.T) {
		j := besideJob(t, dir, "reader x")
		j.Friends = []string{"fr=" + filepath.Join(hidden, "f0.root") + "," + filepath.Join(hidden, "f1.root")}
		if o := exact(t, bob, j); o.work(t, "bob").Units > 0 {
			t.Errorf("bob has run what it cannot: %s", o.describe())
		}
	})
	t.Run("friend that is gone", func(t *testing.T) {
		if err := os.Rename(at("fr.root"), at("gone.root")); err != nil {
			t.Fatal(err)
		}
		j := besideJob(t, dir, "x", "stored.root")
		o := alice.run(t, j)
		o.wantError(t, "has the friend fr in fr.root")
	})
}

// copyFriends copies the friend in two files.
func copyFriends(to, from string) error {
	for _, name := range []string{"f0.root", "f1.root"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
