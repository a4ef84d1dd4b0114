package node

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/datasets"
	"github.com/dtpnode/dtpnode/p2p"
)

// register makes a dataset of one file known as d's user would, without reading the file.
func (d *Daemon) register(t *testing.T, name string, entries int64) int {
	t.Helper()
	n, err := d.datasets.Publish(t.Context(), datasets.Record{Name: name, Files: []api.DatasetFile{
		{URL: "/data/a.root", Part: "T", Entries: entries},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (d *Daemon) named(t *testing.T) (names []string) {
	t.Helper()
	for _, s := range d.datasets.List(t.Context()) {
		names = append(names, s.Name)
	}
	return names
}

// TestDatasetsAreOnAllMembers registers a name on one member and removes it: others see that, also when the first is
// gone, nobody else can change it, and two members may have the same name.
func TestDatasetsAreOnAllMembers(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	a, worker := admit(t, d, "a", p2p.Submitter), admit(t, d, "worker", p2p.Worker)
	defer worker.Close()
	until(t, "all are linked", func() bool { return len(a.cluster.Up()) == 2 && len(worker.cluster.Up()) == 2 })
	if n := a.register(t, "x", 10); n != 3 {
		t.Errorf("%d members have what was registered, want 3", n)
	}
	d.register(t, "x", 20)
	if got := worker.named(t); !slices.Equal(got, []string{"a/x", "home/x"}) {
		t.Errorf("a member sees %v", got)
	}
	var e *api.Error
	if _, err := worker.datasets.Get(t.Context(), "x"); !errors.As(err, &e) || e.Status != http.StatusConflict {
		t.Errorf("a name that two members have: %v", err)
	}
	if set, err := worker.datasets.Get(t.Context(), "/group/a/x"); err != nil || set.Entries != 10 || len(set.Files) != 1 {
		t.Errorf("one of them, by its owner: %+v, %v", set, err)
	}
	if set, err := d.datasets.Get(t.Context(), "x"); err != nil || set.Entries != 20 {
		t.Errorf("the own one goes first: %+v, %v", set, err)
	}
	if _, err := worker.datasets.Remove(t.Context(), "a/x"); !errors.As(err, &e) || e.Status != http.StatusForbidden {
		t.Errorf("somebody else removes it: %v", err)
	}
	// A record that is not its owner's is not kept, whoever tells of it.
	if _, err := worker.datasets.Publish(t.Context(), datasets.Record{Name: "y"}); err != nil {
		t.Fatal(err)
	}
	if got := d.named(t); slices.Contains(got, "worker/y") {
		t.Errorf("what a member registered without the right to submit is kept by others: %v", got)
	}
	a.register(t, "x", 11)
	if set, err := d.datasets.Get(t.Context(), "a/x"); err != nil || set.Entries != 11 {
		t.Errorf("replaced by its owner: %+v, %v", set, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	late := admit(t, d, "late", p2p.Worker)
	defer late.Close()
	until(t, "the new member is linked", func() bool { return len(late.cluster.Up()) > 0 })
	if got := late.named(t); !slices.Equal(got, []string{"a/x", "home/x"}) {
		t.Errorf("a member that came when the owner was gone sees %v", got)
	}
	if _, err := d.datasets.Remove(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if got := late.named(t); !slices.Equal(got, []string{"a/x"}) {
		t.Errorf("after a name was removed: %v", got)
	}
}

// TestOneDatasetKeepsNoOtherBack: a member has a record that is damaged on its disk. Another gets those behind it
// nevertheless.
func TestOneDatasetKeepsNoOtherBack(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	for _, name := range []string{"a", "b"} {
		d.register(t, name, 10)
	}
	files, err := filepath.Glob(filepath.Join(d.cfg.StateDir, "datasets", "*.json"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := datasets.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := signed.Open(); err != nil {
			t.Fatal(err)
		} else if r.Name != "a" {
			continue
		}
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := admit(t, d, "other", p2p.Worker)
	defer other.Close()
	until(t, "the new member is linked", func() bool { return len(other.cluster.Up()) > 0 })
	if got := other.named(t); !slices.Equal(got, []string{"home/b"}) {
		t.Errorf("it sees %v", got)
	}
}

// TestDatasetsOfOthersAreProven sees that a record whose signature or owner was changed is refused.
func TestDatasetsOfOthersAreProven(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	d.register(t, "x", 10)
	answer, err := d.datasets.ServeRecord(d.net.ID() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	good, err := datasets.Decode(answer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := good.Open(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for name, spoil := range map[string]func(s *datasets.Signed){
		"signature": func(s *datasets.Signed) { s.Sig[3]++ },
		"body":      func(s *datasets.Signed) { s.Body[len(s.Body)/2]++ },
	} {
		bad := datasets.Signed{Body: slices.Clone(good.Body), Sig: slices.Clone(good.Sig)}
		spoil(&bad)
		if _, err := bad.Open(); err == nil {
			t.Errorf("another %s was accepted", name)
		}
	}
}
