package datasets

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// pool is some members, each with a room, which ask each other without a network.
type pool struct {
	rooms map[tasks.PeerID]*Room
	names map[tasks.PeerID]string
	// lies answers a request in place of a member, if it is not nil; ok says that it does.
	lies  func(to tasks.PeerID, kind, arg string) (answer []byte, ok bool)
	mu    sync.Mutex     // of asked
	asked map[string]int // requests, by member and kind
}

// member is one of a pool (Members).
type member struct {
	pool *pool
	key  *p2p.Node
}

func (m member) ID() tasks.PeerID                           { return m.key.ID() }
func (m member) Name() string                               { return m.pool.names[m.key.ID()] }
func (m member) Names() map[tasks.PeerID]string             { return maps.Clone(m.pool.names) }
func (m member) HasRight(id tasks.PeerID, _ p2p.Right) bool { return m.pool.names[id] != "" }
func (m member) Sign(text []byte) []byte                    { return m.key.Sign(text) }

func (m member) Up() (ids []tasks.PeerID) {
	for id := range m.pool.rooms {
		if id != m.ID() {
			ids = append(ids, id)
		}
	}
	return ids
}

func (m member) Request(ctx context.Context, to tasks.PeerID, kind string, payload []byte) (answer []byte, err error) {
	arg := string(payload)
	m.pool.mu.Lock()
	m.pool.asked[m.pool.names[to]+" "+kind]++
	m.pool.mu.Unlock()
	if m.pool.lies != nil {
		if answer, ok := m.pool.lies(to, kind, arg); ok {
			return answer, nil
		}
	}
	switch kind {
	case "datasets":
		answer, err = m.pool.rooms[to].ServeHeads(arg)
	case "dataset":
		answer, err = m.pool.rooms[to].ServeRecord(arg)
	case "dataset-new":
		answer, err = m.pool.rooms[to].ServeNew(ctx, m.ID(), arg)
	}
	if len(answer) > p2p.MaxRequest {
		return nil, p2p.ErrTooLarge
	}
	return answer, err
}

// keyOf is a new key, of a member or not.
func keyOf(t testing.TB) *p2p.Node {
	t.Helper()
	n, err := p2p.Open(t.Context(), p2p.Config{Dir: t.TempDir(), Name: "key", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func newPool() *pool {
	return &pool{rooms: map[tasks.PeerID]*Room{}, names: map[tasks.PeerID]string{}, asked: map[string]int{}}
}

// join adds a member.
func (p *pool) join(t testing.TB, name string) *Room {
	t.Helper()
	s, err := Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m := member{p, keyOf(t)}
	r := New(s, m)
	p.rooms[m.ID()], p.names[m.ID()] = r, name
	return r
}

// has registers names on a room alone, which tells nobody.
func (r *Room) has(t testing.TB, m member, names ...string) {
	t.Helper()
	for i, name := range names {
		s := signedBy(t, m, Record{Owner: m.ID(), OwnerName: m.Name(), Name: name, At: time.Unix(int64(i), 0)})
		if _, err := r.Put(s, m.ID(), name); err != nil {
			t.Fatal(err)
		}
	}
}

func signedBy(t testing.TB, m member, rec Record) Signed {
	t.Helper()
	s, err := sign(rec, m.Sign)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func zipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%05d", prefix, i))
	}
	return names
}

// TestRecordOfEmptyFiles: a record of a few kB that becomes gigabytes in memory is refused before it does, and what is
// not signed by its owner is not even unpacked.
func TestRecordOfEmptyFiles(t *testing.T) {
	p := newPool()
	r := p.join(t, "a")
	self := r.Members.(member)
	head := fmt.Sprintf(`{"owner":%q,"name":"x","at":"2026-01-01T00:00:00Z","files":[`, self.ID())
	body := zipped(t, []byte(head+strings.Repeat("{},", 20_000_000)+"{}]}"))
	if len(body) > MaxRecord {
		t.Fatalf("a bomb of %d bytes", len(body))
	}
	var before, after runtime.MemStats
	for what, s := range map[string]Signed{
		"its owner's":     {Body: body, Sig: self.Sign(signedText(body))},
		"somebody else's": {Body: body, Sig: keyOf(t).Sign(signedText(body))},
	} {
		runtime.ReadMemStats(&before)
		_, err := r.Put(s, self.ID(), "x")
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		if err == nil || used > 400<<20 || what != "its owner's" && used > 1<<20 {
			t.Errorf("%s: %v, and %d MB of memory", what, err, used>>20)
		}
	}
}

// TestRecordsTakeBoundedRoomUnpacked: what a daemon has to unpack when it starts is bounded, though packed it is
// nothing.
func TestRecordsTakeBoundedRoomUnpacked(t *testing.T) {
	p := newPool()
	r := p.join(t, "a")
	r.mostPlain = 4 << 20
	self := r.Members.(member)
	kept := 0
	for _, name := range numbered("x", 10) {
		plain := fmt.Appendf(nil, `{"owner":%q,"name":%q,"at":"2026-01-01T00:00:00Z","kind":%q}`, self.ID(), name,
			strings.Repeat("a", 1<<20-200))
		body := zipped(t, plain)
		if _, err := r.Put(Signed{Body: body, Sig: self.Sign(signedText(body))}, self.ID(), name); err == nil {
			kept++
		}
	}
	if kept != 4 {
		t.Errorf("%d records of 1 MB are kept", kept)
	}
}

// TestOwnerWithTooManyKeepsNothingBack: one owner has given two members each as many records as they take, others to
// each. What a third has registered reaches one from the other all the same.
func TestOwnerWithTooManyKeepsNothingBack(t *testing.T) {
	p := newPool()
	a, b := p.join(t, "a"), p.join(t, "b")
	a.most, b.most = 30, 30
	liar, honest := member{p, keyOf(t)}, member{p, keyOf(t)}
	p.names[liar.ID()], p.names[honest.ID()] = "liar", "honest"
	a.has(t, liar, numbered("0a", a.most)...)
	b.has(t, liar, numbered("0b", b.most)...)
	a.has(t, honest, "zz")
	if set, err := b.Get(t.Context(), "honest/zz"); err != nil {
		t.Errorf("what another has registered: %+v, %v", set, err)
	}
	if n := p.asked["a dataset"]; n > 1+mostVain {
		t.Errorf("%d records were asked for", n)
	}
}

// TestLyingHeads: a member tells of records without end that it does not have. It is asked for a few, and then for no
// more.
func TestLyingHeads(t *testing.T) {
	p := newPool()
	a, liar, honest := p.join(t, "a"), p.join(t, "liar"), p.join(t, "honest")
	honest.has(t, honest.Members.(member), "x")
	old, err := honest.ServeRecord(honest.Members.ID() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		p.names[fmt.Sprintf("12D3KooWsomebody%03d", i)] = fmt.Sprint("somebody", i)
	}
	p.lies = func(to tasks.PeerID, kind, arg string) ([]byte, bool) {
		if to != liar.Members.ID() {
			return nil, false
		}
		if kind == "dataset" {
			return old, true // what was replaced long ago
		}
		owner, name, _ := strings.Cut(arg, "/")
		var heads []head
		for id := range p.names {
			for _, n := range numbered("x", 90) {
				heads = append(heads, head{id, n, time.Now(), strings.Repeat("f", 64)})
			}
		}
		heads = slices.DeleteFunc(heads, func(h head) bool { return h.place() <= owner+"/"+name })
		slices.SortFunc(heads, func(a, b head) int { return strings.Compare(a.place(), b.place()) })
		b, _ := json.Marshal(heads)
		return b, true
	}
	for range 5 {
		if got := a.List(t.Context()); len(got) != 1 || got[0].Name != "honest/x" {
			t.Errorf("it has %+v", got)
		}
	}
	if n, m := p.asked["liar dataset"], p.asked["liar datasets"]; n > mostLies+1 || m > 2 {
		t.Errorf("the liar was asked for %d records and %d lists", n, m)
	}
}

// TestOwnersNames: a member says in its records that it is called as another is, or has a name that would control a
// terminal. Its records are not taken for the other's.
func TestOwnersNames(t *testing.T) {
	p := newPool()
	a, alice, liar := p.join(t, "a"), p.join(t, "alice"), p.join(t, "mallory")
	alice.has(t, alice.Members.(member), "hers")
	m := liar.Members.(member)
	for name, called := range map[string]string{"x": "alice", "y": "alice", "z": "\x1b[2Jalice"} {
		s := signedBy(t, m, Record{Owner: m.ID(), OwnerName: called, Name: name, At: time.Unix(1, 0)})
		if _, err := a.Put(s, m.ID(), name); (err != nil) != (name == "z") {
			t.Errorf("an owner called %q: %v", called, err)
		}
	}
	names := func() (out []string) {
		for _, set := range a.List(t.Context()) {
			out = append(out, set.Name)
		}
		return out
	}
	if got := names(); !slices.Equal(got, []string{"alice/hers", "mallory/x", "mallory/y"}) {
		t.Errorf("the list has %q", got)
	}
	refused := func(name string) {
		t.Helper()
		var e *api.Error
		if set, err := a.Get(t.Context(), name); !errors.As(err, &e) || e.Status != 404 {
			t.Errorf("%s is %+v, %v", name, set, err)
		}
	}
	refused("alice/x")
	if set, err := a.Get(t.Context(), "/default/alice/hers"); err != nil || set.Owner != alice.Members.ID() {
		t.Errorf("hers: %+v, %v", set, err)
	}
	// It takes her name, or leaves.
	for _, called := range []string{"alice", ""} {
		p.names[m.ID()] = called
		refused("alice/x")
		refused("alice/hers")
		for _, id := range []string{alice.Members.ID(), strings.TrimPrefix(alice.Members.ID(), api.SameInAll)[:20]} {
			if set, err := a.Get(t.Context(), id+"/hers"); err != nil || set.Owner != alice.Members.ID() {
				t.Errorf("hers by her id: %+v, %v", set, err)
			}
		}
		got := names()
		if len(got) != 3 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, "alice (") }) {
			t.Errorf("the list has %q", got)
		} else if set, err := a.Get(t.Context(), got[0]); err != nil || set.Name != got[0] {
			t.Errorf("%s is %+v, %v", got[0], set, err)
		}
	}
}

// TestManyDatasets has a new member hear of many names of eleven owners at once, in several answers, and find them all
// again after a restart.
func TestManyDatasets(t *testing.T) {
	const each = 30
	p := newPool()
	a, b := p.join(t, "a"), p.join(t, "b")
	a.page, b.page = 70, 70
	for i := range 11 {
		m := member{p, keyOf(t)}
		p.names[m.ID()] = fmt.Sprint("owner", i)
		a.has(t, m, numbered("run", each)...)
	}
	if got := b.List(t.Context()); len(got) != 11*each {
		t.Errorf("%d names", len(got))
	}
	if set, err := b.Get(t.Context(), "owner7/run00020"); err != nil || set.Name != "owner7/run00020" {
		t.Errorf("one of them: %+v, %v", set, err)
	}
	again, err := Open(b.dir, slog.New(slog.DiscardHandler))
	if err != nil || len(again.all) != 11*each {
		t.Errorf("%d names after a restart, %v", len(again.all), err)
	}
}

// FuzzRecord reads whatever an owner may have signed: nothing panics, and what is kept is named as names may be.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"owner":"a","owner_name":"b","name":"x","at":"2026-01-01T00:00:00Z","files":[{"url":"u"}]}`))
	f.Add([]byte(`{"name":"../x","at":"9999-12-31T23:59:59.999999999Z","files":[{},{},{}]}`))
	f.Fuzz(func(t *testing.T, plain []byte) {
		s := Signed{Body: zipped(t, plain)}
		r, size, err := s.open()
		if err != nil {
			return
		}
		if size != int64(len(plain)) || CheckName(r.Name) != nil || 2*len(r.Files) > mostValues(len(plain)) {
			t.Fatalf("%d bytes, %q, %d files", size, r.Name, len(r.Files))
		}
		if text, err := json.Marshal(s); err != nil {
			t.Fatal(err)
		} else if _, err := Decode(text); err != nil {
			t.Fatal(err)
		}
	})
}
