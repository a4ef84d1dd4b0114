package values

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

const (
	theJob     = tasks.JobID("a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90")
	earlierJob = tasks.JobID("b1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90")
)

// folderJob is a job with a folder and no items.
type folderJob struct{ dir string }

func (j folderJob) Dir() string { return j.dir }
func (j folderJob) Item(_ context.Context, unit int64) (string, int64, error) {
	if unit == 7 {
		return "blob", 3, nil
	}
	return "", 0, errors.New("there is no such unit")
}

// cluster is the stores of nodes that reach each other.
type cluster struct {
	mu     sync.Mutex
	stores map[tasks.PeerID]*Store
	asked  int
	spoil  func(answer []byte) []byte // what becomes of answers on their way; nil for nothing
	spent  tasks.Cover
	ran    map[tasks.PeerID]tasks.Cover // units that nodes may have run; nil where that is not known
}

// seen is the cluster as one of its nodes sees it.
type seen struct {
	*cluster
	self    tasks.PeerID
	earlier string // the folder of the earlier job
}

func (c seen) Workers() (ids []tasks.PeerID) {
	for id := range c.stores {
		if id != c.self {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c seen) AskValues(_ context.Context, id tasks.PeerID, request []byte) ([]byte, error) {
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	answer, err := c.stores[id].Serve(request)
	if err == nil && c.spoil != nil {
		answer = c.spoil(answer)
	}
	return answer, err
}

func (c seen) Spent(context.Context, tasks.JobID) (tasks.Cover, error) { return c.spent, nil }

// Within knows the node's own job and an earlier one.
func (c seen) Within(name string, do func(tasks.JobID, Job)) error {
	switch name {
	case "earlier":
		do(earlierJob, folderJob{c.earlier})
	case "own":
		do(theJob, folderJob{}) // which is kept already, with another folder
	default:
		return errors.New("no such job is known")
	}
	return nil
}

func (c seen) Makers(
	_ context.Context, _ tasks.JobID, units tasks.Cover,
) (of map[tasks.PeerID]tasks.Cover, known tasks.Cover, err error) {
	if c.ran != nil {
		known = units
	}
	return c.ran, known, nil
}

// child is a process of a job on a node.
type child struct {
	t    *testing.T
	conn net.Conn
	dir  string
}

// node adds a node to the cluster, with a child of the job.
func (c *cluster) node(t *testing.T, id tasks.PeerID) child {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	spawn := func(f func()) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f()
		}()
	}
	earlier := filepath.Join(t.TempDir(), "earlier")
	s := New(ctx, seen{c, id, earlier}, spawn, slog.New(slog.DiscardHandler))
	c.stores[id] = s
	dir := filepath.Join(t.TempDir(), "job")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path, err := s.Socket(theJob, folderJob{dir})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Drop(theJob)
		s.Drop(earlierJob)
		cancel()
		wg.Wait()
		if _, err := os.Stat(path); err == nil {
			t.Error("the socket is left")
		}
	})
	return child{t, conn, dir}
}

func newCluster(t *testing.T) *cluster {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	return &cluster{stores: map[tasks.PeerID]*Store{}}
}

// answer is any answer to a child.
type answer struct {
	Op     string   `msgpack:"op"`
	Why    string   `msgpack:"why"`
	Path   string   `msgpack:"path"`
	At     int64    `msgpack:"at"`
	Over   bool     `msgpack:"over"`
	Values []*place `msgpack:"values"`
}

func (c child) ask(r request) (a answer) {
	c.t.Helper()
	b, err := wire.Marshal(&r)
	if err == nil {
		err = wire.WriteFrame(c.conn, b)
	}
	if err == nil {
		b, err = wire.ReadFrame(c.conn, 64<<20)
	}
	if err == nil {
		err = wire.Unmarshal(b, &a)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// keep writes a file with values of a unit, and hands it over.
func (c child) keep(unit int64, values ...[]byte) {
	c.t.Helper()
	c.keepFor("", unit, values...)
}

// keepFor does so for a unit of a job, which is the child's own where it has no name.
func (c child) keepFor(job string, unit int64, values ...[]byte) {
	c.t.Helper()
	path := filepath.Join(c.dir, fmt.Sprintf("made-%d", unit))
	r := request{Op: "keep", Job: job, Unit: unit, Path: path, Hold: unit >= 100}
	var all []byte
	for _, v := range values {
		sum := sha256.Sum256(v)
		r.Values = append(r.Values, keptValue{At: int64(len(all)), Size: int64(len(v)), Sum: sum[:]})
		all = append(all, v...)
	}
	if err := os.WriteFile(path, all, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if a := c.ask(r); a.Op != "kept" {
		c.t.Fatal(a)
	}
	if err := os.Remove(path); err != nil { // as when the process has ended
		c.t.Fatal(err)
	}
}

// get reads values.
func (c child) get(want ...[2]int64) (values [][]byte) {
	c.t.Helper()
	a := c.ask(request{Op: "get", Want: want})
	if a.Op != "got" || len(a.Values) != len(want) {
		c.t.Fatal(a)
	}
	for _, p := range a.Values {
		if p == nil {
			values = append(values, nil)
			continue
		}
		all, err := os.ReadFile(p.Path)
		if err != nil {
			c.t.Fatal(err)
		}
		values = append(values, all[p.At:p.At+p.Size])
	}
	return values
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestValuesGoToWhereTheyAreNeeded(t *testing.T) {
	c := newCluster(t)
	one, two := c.node(t, "one"), c.node(t, "two")
	c.node(t, "three")
	large := noise(2*maxAnswer + 12345)
	one.keep(4, []byte("four"), nil, large)
	one.keep(5, []byte("five"))
	got := two.get([2]int64{4, 0}, [2]int64{5, 0}, [2]int64{4, 2}, [2]int64{6, 0}, [2]int64{4, 3}, [2]int64{4, 1})
	want := [][]byte{[]byte("four"), []byte("five"), large, nil, nil, {}}
	for i := range want {
		if (got[i] == nil) != (want[i] == nil) || !bytes.Equal(got[i], want[i]) {
			t.Errorf("value %d has %d bytes, want %d", i, len(got[i]), len(want[i]))
		}
	}
	was := c.asked
	if again := two.get([2]int64{4, 2}, [2]int64{5, 0}); !bytes.Equal(again[0], large) || c.asked != was {
		t.Errorf("what is here was asked for %d times", c.asked-was)
	}
	one.keep(8, []byte("eight"))
	two.get([2]int64{8, 0}) // which tells what the first node has
	was = c.asked
	one.keep(9, []byte("nine"))
	if got := two.get([2]int64{9, 0}); string(got[0]) != "nine" || c.asked > was+2 {
		t.Errorf("%q after %d requests", got, c.asked-was)
	}
}

// A member is asked for all that it may have, also for what it has told of only when it was asked for the rest.
func TestMemberHasMoreThanItHasTold(t *testing.T) {
	c := newCluster(t)
	one, two := c.node(t, "one"), c.node(t, "two")
	one.keep(1, []byte("one"))
	two.get([2]int64{1, 0})
	one.keep(2, []byte("two"))
	one.keep(1, []byte("one"), []byte("and more"))
	if got := two.get([2]int64{1, 1}, [2]int64{2, 0}); string(got[0]) != "and more" || string(got[1]) != "two" {
		t.Errorf("%q", got)
	}
}

// What is persisted stays with the job that has made it, and is taken by units of later ones.
func TestValuesOfAnEarlierJob(t *testing.T) {
	c := newCluster(t)
	one, two := c.node(t, "one"), c.node(t, "two")
	path := filepath.Join(one.dir, "made")
	if err := os.WriteFile(path, []byte("seven"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("seven"))
	kept := request{
		Op: "keep", Job: "earlier", Unit: 7, Path: path, Hold: true,
		Values: []keptValue{{Size: 5, Sum: sum[:]}},
	}
	if a := one.ask(kept); a.Op != "kept" {
		t.Fatal(a)
	}
	_ = os.Remove(path)
	want := request{Op: "get", Job: "earlier", Want: [][2]int64{{7, 0}}}
	for _, n := range []child{one, two} {
		a := n.ask(want)
		if a.Op != "got" || a.Values[0] == nil {
			t.Fatal(a)
		}
		if b, err := os.ReadFile(a.Values[0].Path); err != nil || string(b[a.Values[0].At:]) != "seven" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if got := two.get([2]int64{7, 0}); got[0] != nil {
		t.Errorf("a unit of the job itself has a value of the earlier one's: %q", got[0])
	}
	if a := one.ask(request{Op: "item", Job: "earlier", Unit: 7}); a.Path != "blob" || a.At != 3 {
		t.Error(a)
	}
	a := one.ask(request{Op: "get", Job: "another", Want: [][2]int64{{7, 0}}})
	if a.Op != "failed" || !a.Over {
		t.Error(a)
	}
	if a := one.ask(request{Op: "item", Job: "earlier", Unit: 8}); a.Op != "failed" || a.Over {
		t.Error(a)
	}
}

// What is released is on no disk any more, though it was held.
func TestReleased(t *testing.T) {
	c := newCluster(t)
	one, two := c.node(t, "one"), c.node(t, "two")
	one.keep(100, []byte("held"))
	one.keep(101, []byte("held, too"))
	two.get([2]int64{100, 0})
	for id, s := range c.stores {
		for _, name := range []string{"own", "earlier"} { // of which nothing is kept
			if err := s.Release(name, tasks.CoverOf(tasks.R(100, 101))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Release("another", tasks.CoverOf(tasks.R(100, 101))); err == nil {
			t.Error("values of a job that is not known are released")
		}
		n := map[tasks.PeerID]child{"one": one, "two": two}[id]
		if left, err := filepath.Glob(filepath.Join(n.dir, "values", "*")); err != nil || id == "one" && len(left) != 1 {
			t.Errorf("%s: %v, %v", id, left, err)
		}
	}
	got := two.get([2]int64{100, 0}, [2]int64{101, 0})
	if got[0] != nil || string(got[1]) != "held, too" {
		t.Errorf("%q", got)
	}
}

// What was released, and is made again on the way to something else, is spent, also on a node that had nothing of it.
func TestReleasedIsMadeAgain(t *testing.T) {
	c := newCluster(t)
	one := c.node(t, "one")
	for _, name := range []string{"own", "earlier"} {
		if err := c.stores["one"].Release(name, tasks.CoverOf(tasks.R(100, 101))); err != nil {
			t.Fatal(err)
		}
	}
	for id, name := range map[tasks.JobID]string{theJob: "", earlierJob: "earlier"} {
		for unit := range int64(2) {
			one.keepFor(name, 100+unit, []byte("made again"))
		}
		want := request{Op: "get", Job: name, Want: [][2]int64{{100, 0}, {101, 0}}}
		if got := one.ask(want).Values; got[0] == nil || got[1] == nil {
			t.Error("what is made again is not there")
		}
		if err := c.stores["one"].trim(t.Context(), c.stores["one"].of(id)); err != nil {
			t.Fatal(err)
		}
		if got := one.ask(want).Values; got[0] != nil || got[1] == nil {
			t.Error("what was released stays, or what was not does not")
		}
	}
}

func TestSocketThatIsRemoved(t *testing.T) {
	c := newCluster(t)
	one := c.node(t, "one")
	one.keep(1, []byte("one"))
	s := c.stores["one"]
	was, err := s.Socket(theJob, folderJob{one.dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(was); err != nil {
		t.Fatal(err)
	}
	is, err := s.Socket(theJob, folderJob{one.dir})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", is)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := (child{t, conn, one.dir}).get([2]int64{1, 0}); string(got[0]) != "one" {
		t.Errorf("%q", got)
	}
}

// A folder of the node's may have a longer name than the address of a socket.
func TestLongPaths(t *testing.T) {
	c := newCluster(t)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	one := c.node(t, "one")
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 25), "job")
	path, err := c.stores["one"].Socket("another", folderJob{long})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil || len(path) > maxSocketPath {
		t.Errorf("%s: %v", path, err)
	}
	c.stores["one"].Drop("another")
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("the folder is left")
	}
	one.keep(1, []byte("one")) // of the other job
}

func TestWhatIsSpentIsRemoved(t *testing.T) {
	c := newCluster(t)
	one, two := c.node(t, "one"), c.node(t, "two")
	files := func(of child) (names []string) {
		found, err := filepath.Glob(filepath.Join(of.dir, "values", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	large := noise(maxShared + 1)
	one.keep(100, []byte("held"))
	for unit := range int64(4) {
		one.keep(unit, large, []byte("small"))
	}
	if got := two.get([2]int64{1, 0}, [2]int64{2, 0}, [2]int64{1, 1}); !bytes.Equal(got[0], large) {
		t.Fatal("it is another value")
	}
	open := one.ask(request{Op: "get", Want: [][2]int64{{1, 0}}}).Values[0]
	f, err := os.Open(open.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.spent = tasks.CoverOf(tasks.R(0, 2), tasks.R(7, 120))
	for id, s := range c.stores {
		if err := s.trim(t.Context(), s.of(theJob)); err != nil {
			t.Fatal(id, err)
		}
	}
	if of, at := files(one), files(two); len(of) != 3 || len(at) != 2 { // and the shared one
		t.Errorf("left: %q and %q", of, at)
	}
	if got := one.get([2]int64{0, 0}, [2]int64{1, 1}, [2]int64{2, 0}); got[0] != nil || got[1] != nil || got[2] == nil {
		t.Error("what is spent is there, or something else is not")
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got[open.At:open.At+open.Size], large) {
		t.Errorf("who has opened it reads something else: %v", err)
	}
	if k := c.stores["one"].of(theJob); k.bytes != 2*int64(len(large)+5)+4 {
		t.Errorf("%d bytes are counted", k.bytes)
	}
	one.keep(1, []byte("made again"))
	if got := two.get([2]int64{1, 0}); string(got[0]) != "made again" {
		t.Errorf("%q", got)
	}
}

func TestManyAskForTheSame(t *testing.T) {
	c := newCluster(t)
	one, two := c.node(t, "one"), c.node(t, "two")
	one.keep(1, noise(3<<20))
	k := c.stores["two"].of(theJob)
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if got := c.stores["two"].get(t.Context(), k, [][2]int64{{1, 0}}); got[0] == nil {
				t.Error("it is not found")
			}
		}()
	}
	wg.Wait()
	if c.asked != 1 {
		t.Errorf("it was asked for %d times", c.asked)
	}
	if got := two.get([2]int64{1, 0}); !bytes.Equal(got[0], noise(3<<20)) {
		t.Error("it is another value")
	}
}

// A member that was not given a unit is not believed to have its value.
func TestValuesOfOthersAreNotTaken(t *testing.T) {
	c := newCluster(t)
	one, two, three := c.node(t, "one"), c.node(t, "two"), c.node(t, "three")
	c.ran = map[tasks.PeerID]tasks.Cover{"one": tasks.CoverOf(tasks.R(0, 1)), "two": tasks.CoverOf(tasks.R(1, 9))}
	two.keep(0, []byte("false"))
	two.keep(1, []byte("true"))
	if got := three.get([2]int64{0, 0}, [2]int64{1, 0}); got[0] != nil || string(got[1]) != "true" {
		t.Errorf("%q", got)
	}
	one.keep(0, []byte("right"))
	if got := three.get([2]int64{0, 0}); string(got[0]) != "right" {
		t.Errorf("%q", got)
	}
}

func TestDamagedValuesAreNotTaken(t *testing.T) {
	c := newCluster(t)
	one, two := c.node(t, "one"), c.node(t, "two")
	one.keep(1, []byte("the value of a unit"))
	c.spoil = func(answer []byte) []byte { return bytes.Replace(answer, []byte("value"), []byte("vague"), 1) }
	if got := two.get([2]int64{1, 0}); got[0] != nil {
		t.Errorf("taken: %q", got[0])
	}
	c.spoil = nil
	if got := two.get([2]int64{1, 0}); string(got[0]) != "the value of a unit" {
		t.Errorf("%q", got)
	}
}

func TestWhatCannotBeKept(t *testing.T) {
	c := newCluster(t)
	one := c.node(t, "one")
	outside := filepath.Join(t.TempDir(), "outside")
	inside := filepath.Join(one.dir, "inside")
	for _, path := range []string{outside, inside} {
		if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(one.dir, "link")); err != nil {
		t.Fatal(err)
	}
	sum := make([]byte, sha256.Size)
	for name, r := range map[string]request{
		"is no file below": {Op: "keep", Unit: 1, Path: outside},
		"is no file":       {Op: "keep", Unit: 1, Path: filepath.Join(one.dir, "link")},
		"no such file":     {Op: "keep", Unit: 1, Path: filepath.Join(one.dir, "gone")},
		"of 10 bytes":      {Op: "keep", Unit: 1, Path: inside, Values: []keptValue{{At: 5, Size: 6, Sum: sum}}},
		"in a file of 10":  {Op: "keep", Unit: 1, Path: inside, Values: []keptValue{{At: -1, Size: 6, Sum: sum}}},
		"hash of 3 bytes":  {Op: "keep", Unit: 1, Path: inside, Values: []keptValue{{Size: 6, Sum: sum[:3]}}},
		"the unit -1 has":  {Op: "keep", Unit: -1, Path: inside},
		"no request is":    {Op: "forget"},
		"no such unit":     {Op: "item", Unit: 8},
	} {
		a := one.ask(r)
		if a.Op != "failed" || !strings.Contains(a.Why, name) && name != "of 10 bytes" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if a := one.ask(request{Op: "item", Unit: 7}); a.Op != "item" || a.Path != "blob" || a.At != 3 {
		t.Error(a)
	}
	if got := one.get([2]int64{1, 0}, [2]int64{1, -1}); got[0] != nil || got[1] != nil {
		t.Errorf("%q", got)
	}
}

// FuzzServe has no request of a member do harm.
func FuzzServe(f *testing.F) {
	b, err := wire.Marshal(&ask{Job: theJob, Want: [][2]int64{{1, 0}, {-1, 1 << 60}}, From: 0})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	s := New(f.Context(), seen{&cluster{}, "one", ""}, func(f func()) { go f() }, slog.New(slog.DiscardHandler))
	dir := filepath.Join(f.TempDir(), "job")
	if err := os.Mkdir(dir, 0o700); err != nil {
		f.Fatal(err)
	}
	if _, err := s.Socket(theJob, folderJob{dir}); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "made")
	if err := os.WriteFile(path, noise(100), 0o600); err != nil {
		f.Fatal(err)
	}
	if err := s.of(theJob).keep(1, path, dir, []slot{{size: 100}}, false); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, request []byte) { _, _ = s.Serve(request) })
}
