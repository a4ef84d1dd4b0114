package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// nobody is a network in which no member has anything.
type nobody struct{}

func (nobody) ID() tasks.PeerID { return "self" }
func (nobody) Fetch(context.Context, tasks.PeerID, string, int64, io.Writer) (int64, error) {
	return 0, errors.New("no such member")
}

// folders are the folders of a node that has started once or more.
type folders struct {
	state, scratch string

	mu      sync.Mutex
	written map[tasks.JobID][]uint64 // what the logs of copies have written, by sequence number
}

// start is the store of the node's next life, and what ends that.
func (f *folders) start(t *testing.T) (l *Ledgers, end func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	blobs := NewBlobs(f.scratch, log)
	dir := filepath.Join(f.state, "ledgers")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l = NewLedgers(ctx, LedgersConfig{
		Dir:   dir,
		Blobs: blobs,
		Asides: &Asides{
			Dir:       filepath.Join(f.state, "superseded"),
			Blobs:     blobs,
			KeepFor:   time.Hour,
			KeepBytes: 1 << 30,
			Log:       log,
		},
		Fetcher: nobody{},
		Log:     log,
		Written: func(id tasks.JobID, seq uint64, err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.written == nil {
				f.written = map[tasks.JobID][]uint64{}
			}
			if err == nil {
				f.written[id] = append(f.written[id], seq)
			}
		},
	})
	return l, func() {
		cancel()
		l.Wait()
	}
}

func newFolders(t *testing.T) *folders {
	return &folders{state: t.TempDir(), scratch: t.TempDir()}
}

// signerOnce is a member that signs jobs. It is closed: a key is all that it needs for that.
var signerOnce = sync.OnceValues(func() (*p2p.Node, error) {
	dir, err := os.MkdirTemp("", "dtpnode-signer-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	n, err := p2p.Open(context.Background(), p2p.Config{Dir: dir, Listen: []string{"127.0.0.1:0"}, Name: "signer"})
	if err != nil {
		return nil, err
	}
	return n, n.Close()
})

// described is a job that somebody has signed: its id, encoded description and signature.
func described(t *testing.T, nonce byte, source string) (tasks.JobID, []byte, Signature) {
	t.Helper()
	signer, err := signerOnce()
	if err != nil {
		t.Fatal(err)
	}
	data, err := tasks.NewDataset([]tasks.File{{URL: "f", Part: "T", Entries: 100, Clusters: []int64{0}}})
	if err != nil {
		t.Fatal(err)
	}
	desc := &tasks.Job{
		Protocol:  tasks.Protocol,
		Submitter: signer.ID(),
		Nonce:     tasks.NonceOf(signer.ID(), tasks.NonceSalt{nonce}),
		Work:      tasks.Work{Kind: "ROOT", Ships: []tasks.Ship{{Name: "sources", SHA256: source, Size: 7, Keep: true}}},
		Data:      *data,
		Want:      tasks.R(0, 100),
	}
	body, err := wire.Marshal(desc)
	if err != nil {
		t.Fatal(err)
	}
	id := tasks.NameOf(body)
	s := Signature{Signer: signer.ID(), Size: int64(len(body))}
	s.Sig = signer.Sign(SignedText(id, s.Size))
	return id, body, s
}

// keep makes a copy of a new job's ledger, one of three, with a partial that is kept for it.
func keep(t *testing.T, l *Ledgers, nonce byte) (c *Copy, part merge.Partial) {
	t.Helper()
	source := []byte("sources")
	id, body, sig := described(t, nonce, HashOf(source))
	c, err := l.MakeFolder(id)
	if err != nil {
		t.Fatal(err)
	}
	c.Signature = sig
	if c.Job, err = sig.OpenJob(id, body); err != nil {
		t.Fatal(err)
	}
	part = merge.Partial{ID: merge.ID{Node: "n", Seq: 1}, Job: id, SHA256: HashOf([]byte("partial")), Size: 7}
	for path, b := range map[string][]byte{
		c.BodyPath():               body,
		c.ShipPath(HashOf(source)): source,
		l.KeptPath(id, part):       []byte("partial"),
	} {
		if err := durable.Write(path, b); err != nil {
			t.Fatal(err)
		}
	}
	self := quorum.NewVoter("self", uint64(nonce)+1)
	log := quorum.Log{
		Self:   self,
		Voters: []quorum.Voter{self, quorum.NewVoter("other", 1), quorum.NewVoter("third", 1)},
	}
	if err := l.Begin(c, log); err != nil {
		t.Fatal(err)
	}
	return c, part
}

// recoveryNo is the n-th recovery of a job's ledger, from the copy of another member.
func recoveryNo(t *testing.T, n int) (l quorum.Link) {
	t.Helper()
	var term uint64
	for range n {
		c, err := quorum.NextRecovery(quorum.NewVoter("other", uint64(100+n)), term)
		if err != nil {
			t.Fatal(err)
		}
		l, term = quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: "admin"}}}, c.Term
	}
	return l
}

// The copies of earlier lives are there again with all that lies in them, and what was being written or deleted when
// the life before ended is not. One whose log cannot be read is no copy, and the job's user is told why.
func TestCopiesComeBack(t *testing.T) {
	f := newFolders(t)
	l, end := f.start(t)
	whole, part := keep(t, l, 1)
	cut, _ := keep(t, l, 2)
	dropped, _ := keep(t, l, 3)
	failed, kept := keep(t, l, 4)
	l.Write(whole.ID, quorum.Write{Seq: 7})
	l.Drop(dropped.ID)
	l.DropFailed(failed.ID)
	end()
	if f.written[whole.ID] != nil && fmt.Sprint(f.written[whole.ID]) != "[7]" {
		t.Errorf("written is %v", f.written)
	}
	if SizeOf(dropped.Dir) >= 0 {
		t.Error("a copy that was given up is still there")
	}
	if SizeOf(l.KeptPath(failed.ID, kept)) != kept.Size || SizeOf(filepath.Join(failed.Dir, journalFile)) >= 0 {
		t.Error("of a copy that failed the partials stay, and the log does not")
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(cut.Dir, journalFile), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(whole.Dir, durable.TempPrefix+"1"), nil, 0o600),
		os.WriteFile(filepath.Join(whole.Dir, "x"+freedMark), nil, 0o600),
		os.Mkdir(filepath.Join(whole.Dir, HandoutPrefix+"1"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, end = f.start(t)
	defer end()
	back := l.Restore()
	if len(back) != 1 || back[0].ID != whole.ID || back[0].Job.Want.Len() != 100 || len(back[0].Log.Voters) != 3 {
		t.Fatalf("what came back is %+v", back)
	}
	if b, ok := l.Blobs.Read(part.SHA256); !ok || string(b) != "partial" {
		t.Error("others do not get what was kept in an earlier life")
	}
	for _, hash := range []string{string(whole.ID), whole.Job.Work.Ships[0].SHA256} {
		if _, ok := l.Blobs.Read(hash); !ok {
			t.Errorf("others do not get %s", hash)
		}
	}
	if l.Damaged(cut.Name()) == "" || l.Of(cut.ID) != nil || SizeOf(filepath.Join(cut.Dir, journalFile+damagedMark)) != 1 {
		t.Error("the log that cannot be read is not left for people to look at, and told of")
	}
	files, err := os.ReadDir(whole.Dir)
	if err != nil || len(files) > 5 { // journal, body, sources, reserve, partial
		t.Errorf("unfinished files are still there: %v, %v", files, err)
	}
}

// A copy that somebody holds is not removed before it is released.
func TestHeldCopyStays(t *testing.T) {
	l, end := newFolders(t).start(t)
	defer end()
	c, _ := keep(t, l, 1)
	release := c.Hold()
	l.Drop(c.ID)
	if l.Of(c.ID) != nil {
		t.Error("it still counts")
	}
	<-c.done
	if SizeOf(c.BodyPath()) < 0 {
		t.Error("it is gone while it is held")
	}
	release()
	l.Wait()
	if SizeOf(c.Dir) >= 0 {
		t.Error("it is there after its release")
	}
}

// TestSupersededCopyIsPutAside has a copy given up for a recovery: it is there whole, after a restart too, and others
// still get its partials, whatever becomes of the next copy of that ledger in its place.
func TestSupersededCopyIsPutAside(t *testing.T) {
	f := newFolders(t)
	l, end := f.start(t)
	c, part := keep(t, l, 1)
	link := recoveryNo(t, 1)
	if err := l.Supersede(c.ID, link); err != nil {
		t.Fatal(err)
	}
	if l.Of(c.ID) != nil {
		t.Fatal("the copy is still one that counts")
	}
	if SizeOf(filepath.Join(c.Dir, journalFile)) >= 0 {
		t.Fatal("the log that was given up is still in its place")
	}
	l.Remove(c.Dir)
	end()
	l, end = f.start(t)
	defer end()
	l.Asides.Restore()
	all := l.Asides.List(c.Name())
	if len(all) != 1 {
		t.Fatalf("%d copies were put aside", len(all))
	}
	_, desc, log, err := all[0].Read()
	if err != nil || desc.Want.Len() != 100 || len(log.Voters) != 3 || all[0].Link.Conf.Term != link.Conf.Term ||
		all[0].Submitter != c.Job.Submitter {
		t.Fatalf("what was put aside is %+v, %+v of %+v: %v", desc, log, all[0], err)
	}
	if b, ok := l.Blobs.Read(part.SHA256); !ok || string(b) != "partial" || all[0].Lacks(part) {
		t.Error("the partial is there no more")
	}
	again, err := l.RecoverAside(all[0], quorum.Log{
		Self:     quorum.NewVoter("self", 9),
		Voters:   []quorum.Voter{quorum.NewVoter("self", 9)},
		Snapshot: log.Snapshot,
		Hard:     quorum.Hard{Term: 9},
	})
	if err != nil || l.Of(c.ID) != again || SizeOf(l.KeptPath(c.ID, part)) != part.Size {
		t.Errorf("gone on from it: %v, %v", again, err)
	}
}

// TestWhatIsPutAsideIsBounded: by number, time and bytes. What a liar has given up for one recovery after another does
// not push out what was given up first.
func TestWhatIsPutAsideIsBounded(t *testing.T) {
	l, end := newFolders(t).start(t)
	defer end()
	c, _ := keep(t, l, 1)
	s := l.Asides
	for n := 1; n <= 5; n++ {
		if err := s.Put(c, recoveryNo(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, a := range s.List("") {
		left = append(left, fmt.Sprint(quorum.Recoveries(a.Link.Conf.Term)))
	}
	if fmt.Sprint(left) != "[1 2 5]" {
		t.Errorf("of five copies are kept those of the recoveries %v", left)
	}
	s.KeepBytes = FolderBytes(s.List("")[0].dir)
	s.Prune()
	if n := len(s.List("")); n != 1 {
		t.Errorf("%d are kept where one has room", n)
	}
	s.KeepFor = -time.Second
	s.Prune()
	if n := len(s.List("")); n != 0 {
		t.Errorf("%d are kept beyond their time", n)
	}
}

// What this node has seen as the last attempt to finish a job it knows in its next life, and for each attempt anew.
func TestStuckSince(t *testing.T) {
	const fortnight = 15 * 24 * time.Hour
	ages := &Ages{KeepFor: 14 * 24 * time.Hour, Log: slog.New(slog.DiscardHandler)}
	c := &Copy{Dir: t.TempDir()}
	path := filepath.Join(c.Dir, stuckFile)
	backdate := func(ago time.Duration) {
		t.Helper()
		at := time.Now().Add(-ago)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	since := func(attempt string) time.Duration {
		t.Helper()
		at, err := c.StuckSince(attempt, ages)
		if err != nil {
			t.Fatal(err)
		}
		return time.Since(at).Round(time.Hour)
	}
	if got := since("first"); got != 0 {
		t.Errorf("first seen %v ago", got)
	}
	backdate(48 * time.Hour)
	if got := since("first"); got != 48*time.Hour {
		t.Errorf("seen again, %v ago", got)
	}
	backdate(fortnight)
	if got := since("first"); got > ages.KeepFor-lastDay {
		t.Errorf("seen after long, %v ago", got)
	}
	if got := since("second"); got != 0 {
		t.Errorf("another attempt was first seen %v ago", got)
	}
}

// TestRoomForItemsIsBounded: whoever names blobs of items for a copy of a ledger can make room neither by a size below
// zero nor by one that overflows, takes no room by what is no hash, and names no more blobs than a job can have.
func TestRoomForItemsIsBounded(t *testing.T) {
	hash := func(i int) string { return fmt.Sprintf("%064x", i) }
	c := &Copy{Dir: t.TempDir(), Job: &tasks.Job{}}
	for name, size := range map[string]int64{
		"below zero":   -1 << 40,
		"nothing":      0,
		"too large":    tasks.MaxAllItems + 1,
		"overflowing":  math.MaxInt64,
		"least of all": math.MinInt64,
	} {
		if c.RoomForItems(hash(1), size) {
			t.Errorf("%s: there is room for %d bytes", name, size)
		}
	}
	if c.RoomForItems("/../../x", 1) {
		t.Error("there is room for what is no hash")
	}
	if !c.RoomForItems(hash(1), tasks.MaxAllItems-maxItemBlobs) {
		t.Fatal("there is no room")
	}
	for i := range maxItemBlobs {
		if room := c.RoomForItems(hash(2+i), 1); room != (i < maxItemBlobs-1) {
			t.Fatalf("room for %d blobs and one more: %v", i+1, room)
		}
	}
}
