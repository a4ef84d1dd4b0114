package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/quorum"
)

var head = journal.Head{Job: []byte("the job"), Self: quorum.NewVoter("a", 1),
	Voters: []quorum.Voter{quorum.NewVoter("a", 1), quorum.NewVoter("b", 1), quorum.NewVoter("c", 1)}}

func entry(index, term uint64, size int) quorum.Entry {
	data, rnd := make([]byte, size), rand.New(rand.NewPCG(index, term))
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	return quorum.Entry{Index: index, Term: term, Kind: uint8(index % 3), Data: data}
}

func snapshot(index, base, size int) *quorum.Snapshot {
	s := &quorum.Snapshot{Index: uint64(index), Term: 3, Base: uint64(base), BaseTerm: 2}
	if size > 0 {
		s.Data = entry(uint64(index), uint64(base), size).Data
	}
	return s
}

// appended returns the log after a write.
func appended(log quorum.Log, hard quorum.Hard, entries ...quorum.Entry) quorum.Log {
	log.Hard = hard
	if len(entries) > 0 {
		log.Entries = append(append([]quorum.Entry(nil), log.Entries[:entries[0].Index-1]...), entries...)
	}
	return log
}

func begun() quorum.Log { return quorum.Log{Self: head.Self, Voters: head.Voters} }

func create(t testing.TB, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Create(path, head)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func write(t testing.TB, j *journal.Journal, hard quorum.Hard, entries ...quorum.Entry) {
	t.Helper()
	if err := j.Write(quorum.Write{Hard: hard, Entries: entries}); err != nil {
		t.Fatal(err)
	}
}

// same compares two logs, and computes a readable difference only if they differ.
func same(t interface {
	Helper()
	Fatalf(string, ...any)
}, what string, h journal.Head, got, want quorum.Log) {
	t.Helper()
	equal := reflect.DeepEqual(h, head) && got.Hard == want.Hard && got.Self == want.Self &&
		slices.Equal(got.Voters, want.Voters) &&
		reflect.DeepEqual(got.Snapshot, want.Snapshot) &&
		slices.EqualFunc(got.Entries, want.Entries, func(a, b quorum.Entry) bool {
			return a.Index == b.Index && a.Term == b.Term && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
		})
	if !equal {
		t.Fatalf("%s: read as another: %s", what, cmp.Diff(head, h)+cmp.Diff(want, got, cmpopts.EquateEmpty()))
	}
}

// holds opens the journal and compares its content.
func holds(t testing.TB, path string, want quorum.Log) {
	t.Helper()
	j, h, got, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	same(t, path, h, got, want)
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, fmt.Sprintf("%x", rand.Uint64()))
		j, err := journal.Create(path, head)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(j.Close(), os.Remove(path)); err != nil {
				t.Error(err)
			}
		}()
		want := begun()
		for range rapid.IntRange(0, 20).Draw(t, "writes") {
			hard := quorum.Hard{
				Term:   rapid.Uint64().Draw(t, "term"),
				Vote:   rapid.Uint64().Draw(t, "vote"),
				Commit: rapid.Uint64().Draw(t, "commit"),
				Lead:   rapid.Uint64().Draw(t, "lead"),
			}
			var es []quorum.Entry
			base := 0
			if want.Snapshot != nil {
				base = int(want.Snapshot.Base)
			}
			w := quorum.Write{Hard: hard}
			first := base + rapid.IntRange(1, len(want.Entries)+1).Draw(t, "first")
			switch kind := rapid.IntRange(0, 3).Draw(t, "snapshot"); {
			case kind == 0 && len(want.Entries) > 0:
				index := base + rapid.IntRange(1, len(want.Entries)).Draw(t, "index")
				w.Snapshot = snapshot(index, rapid.IntRange(base, index).Draw(t, "base"),
					rapid.SampledFrom([]int{0, 1, 3840, 3841, 100_000}).Draw(t, "bytes"))
				first = base + len(want.Entries) + 1
			case kind == 1:
				index := base + rapid.IntRange(1, 100).Draw(t, "index")
				w.Snapshot, w.Reset, first = snapshot(index, index, 5000), true, index+1
			}
			for i := range rapid.SampledFrom([]int{0, 1, 1, 3, 40}).Draw(t, "entries") {
				es = append(es,
					entry(uint64(first+i), rapid.Uint64().Draw(t, "of term"),
						rapid.SampledFrom([]int{0, 20, 300, 9000}).Draw(t, "size")))
			}
			w.Entries = es
			if err := j.Write(w); err != nil {
				t.Fatal(err)
			}
			want.Keep(w)
			if rapid.Bool().Draw(t, "again") {
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				var got quorum.Log
				var h journal.Head
				if j, h, got, err = journal.Open(path); err != nil {
					t.Fatal(err)
				}
				same(t, path, h, got, want)
			}
		}
	})
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(path+".new", []byte("left behind by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := create(t, path)
	if _, err := journal.Create(path, head); !errors.Is(err, fs.ErrExist) {
		t.Error("a second journal in its place:", err)
	}
	if _, _, _, err := journal.Open(path); err == nil || errors.As(err, new(*journal.Damaged)) {
		t.Error("opened twice:", err)
	}
	write(t, j, quorum.Hard{Term: 1})
	for _, wrong := range [][]quorum.Entry{{entry(2, 1, 1)}, {entry(0, 1, 1)}, {entry(1, 1, 1), entry(3, 1, 1)}} {
		k := create(t, path+"k")
		if err := k.Write(quorum.Write{Hard: quorum.Hard{}, Entries: wrong}); err == nil {
			t.Error("a log with a hole is taken")
		}
		if err := k.Write(quorum.Write{Hard: quorum.Hard{}, Entries: nil}); err == nil {
			t.Error("written after a failure")
		}
		if err := errors.Join(k.Close(), os.Remove(path+"k")); err != nil {
			t.Error(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if err := j.Write(quorum.Write{Hard: quorum.Hard{}, Entries: nil}); err == nil {
		t.Error("written after Close")
	}
	holds(t, path, quorum.Log{Self: head.Self, Voters: head.Voters, Hard: quorum.Hard{Term: 1}})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 64<<10 {
		t.Error("mode or size:", info, err)
	}
	if _, _, _, err := journal.Open(path + "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a journal that is not there:", err)
	}
	if left, _ := filepath.Glob(path + "?*"); len(left) > 0 {
		t.Error("left behind:", left)
	}
}

// written makes a file with entries in several leaves, free pages, and records that were replaced.
func written(t testing.TB, path string) (file []byte, log quorum.Log) {
	j := create(t, path)
	log = begun()
	put := func(hard quorum.Hard, es ...quorum.Entry) {
		write(t, j, hard, es...)
		log = appended(log, hard, es...)
	}
	for i := uint64(1); i <= 14; i++ {
		put(quorum.Hard{Term: 2, Commit: i - 1}, entry(i, 2, 300))
	}
	put(quorum.Hard{Term: 3, Vote: 7, Commit: 12}, entry(13, 3, 300), entry(14, 3, 300), entry(15, 3, 5000))
	put(quorum.Hard{Term: 3, Vote: 7, Commit: 15})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file, log
}

// compacted makes a file with two snapshots, one after the other, and entries from before and after the second.
func compacted(t testing.TB, path string) (file []byte, log quorum.Log) {
	_, log = written(t, path)
	j, _, _, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []quorum.Write{
		{Hard: quorum.Hard{Term: 3, Commit: 15}, Snapshot: snapshot(8, 6, 9000)},
		{Hard: quorum.Hard{Term: 3, Commit: 15}, Entries: []quorum.Entry{entry(16, 3, 300), entry(17, 3, 300)}},
		{Hard: quorum.Hard{Term: 3, Commit: 17}, Snapshot: snapshot(16, 13, 7000)},
		{Hard: quorum.Hard{Term: 3, Commit: 17}, Entries: []quorum.Entry{entry(18, 3, 300)}},
	} {
		if err := j.Write(w); err != nil {
			t.Fatal(err)
		}
		log.Keep(w)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return file, log
}

// exactOrDamaged checks that a changed file is either read as it was written or reported as damaged.
func exactOrDamaged(t testing.TB, path, what string, file []byte, want quorum.Log) (damaged bool) {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return opens(t, path, what, want)
}

func opens(t testing.TB, path, what string, want quorum.Log) (damaged bool) {
	t.Helper()
	j, h, got, err := journal.Open(path)
	if err != nil {
		d := (*journal.Damaged)(nil)
		if !errors.As(err, &d) || d.Path != path || d.Record == "" || d.Reason == "" {
			t.Fatalf("%s: %v", what, err)
		}
		return true
	}
	defer j.Close()
	same(t, what, h, got, want)
	return false
}

func TestFlippedBit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	file, want := written(t, path)
	flipBits(t, path, file, want)
}

func TestFlippedBitWithSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	file, want := compacted(t, path)
	flipBits(t, path, file, want)
}

func flipBits(t *testing.T, path string, file []byte, want quorum.Log) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rnd, found := rand.New(rand.NewPCG(1, 2)), 0
	flip := func(at int, bit byte) {
		f.WriteAt([]byte{file[at] ^ bit}, int64(at))
		if opens(t, path, fmt.Sprintf("bit %08b of byte %d of page %d flipped", bit, at%4096, at/4096), want) {
			found++
		}
		f.WriteAt(file[at:at+1], int64(at))
	}
	step := 16 // make soak takes every byte
	if os.Getenv("JOURNAL_TEST_ALL") != "" {
		step = 1
	}
	for at := 0; at < len(file); at += step {
		flip(at, 1<<rnd.IntN(8))
	}
	for page := 0; page < len(file); page += 4096 { // the structure: every bit
		for at := 0; at < 48; at++ {
			for bit := range 8 {
				flip(page+at, 1<<bit)
			}
		}
	}
	if live := len(want.Entries) * 300 / step; found < live {
		t.Errorf("%d flips found, but %d were in what the file holds", found, live)
	}
	t.Logf("file of %d bytes, %d flips found", len(file), found)
}

func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	for i, make := range []func(testing.TB, string) ([]byte, quorum.Log){written, compacted} {
		file, want := make(t, filepath.Join(dir, fmt.Sprint("j", i)))
		tear(t, filepath.Join(dir, "k"), file, want)
	}
}

func tear(t *testing.T, path string, file []byte, want quorum.Log) {
	for n := 0; n < len(file); n += 509 {
		exactOrDamaged(t, path, fmt.Sprintf("cut to %d bytes", n), file[:n], want)
		zeroed := append(append([]byte(nil), file[:n]...), make([]byte, len(file)-n)...)
		exactOrDamaged(t, path, fmt.Sprintf("zeroed from byte %d", n), zeroed, want)
	}
	for n := 0; n < len(file); n += 512 { // a sector that was never written, or holds other data
		holed := append([]byte(nil), file...)
		clear(holed[n : n+512])
		exactOrDamaged(t, path, fmt.Sprintf("sector at %d zeroed", n), holed, want)
		copy(holed[n:n+512], file[(n+4096*3)%len(file):])
		exactOrDamaged(t, path, fmt.Sprintf("sector at %d replaced", n), holed, want)
	}
}

// TestStalePages mixes the pages of two moments of one file.
func TestStalePages(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j")
	file, log := written(t, path)
	j, _, _, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	later := log
	for i := range uint64(3) {
		e, hard := entry(12+i, 9, 300), quorum.Hard{Term: 9, Commit: 3}
		write(t, j, hard, e)
		later = appended(later, hard, e)
	}
	j.Close()
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := 0; page+4096 <= min(len(file), len(now)); page += 4096 {
		mixed := append([]byte(nil), now...)
		copy(mixed[page:page+4096], file[page:])
		exactOrDamaged(t, filepath.Join(dir, "k"), fmt.Sprintf("page %d of before", page/4096), mixed, later)
	}
}

// TestStaleSnapshot mixes the pages of a file with older ones, from before its last snapshot.
func TestStaleSnapshot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j")
	file, log := compacted(t, path)
	j, _, _, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for base := range 3 {
		w := quorum.Write{Hard: log.Hard, Snapshot: snapshot(17, 13+base, 7000)}
		log.Keep(w)
		if err := j.Write(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := 0; page+4096 <= min(len(file), len(now)); page += 4096 {
		mixed := append([]byte(nil), now...)
		copy(mixed[page:page+4096], file[page:])
		exactOrDamaged(t, filepath.Join(dir, "k"), fmt.Sprintf("page %d of before", page/4096), mixed, log)
	}
}

// TestBounded writes 100,000 entries with a snapshot now and then: the file stays as small as what it holds.
func TestBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := create(t, path)
	log, largest, half := begun(), int64(0), int64(0)
	const all, each, every, size = 100_000, 250, 2000, 150_000
	for i := uint64(0); i < all; i += each {
		w := quorum.Write{Hard: quorum.Hard{Term: 1, Commit: i}}
		for k := range uint64(each) {
			e := quorum.Entry{Index: i + k + 1, Term: 1, Data: bytes.Repeat([]byte{byte(k)}, 400)}
			w.Entries = append(w.Entries, e)
		}
		if i > 0 && i%every == 0 {
			w.Snapshot = snapshot(int(i), int(i)-100, size)
		}
		if err := j.Write(w); err != nil {
			t.Fatal(err)
		}
		log.Keep(w)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if largest = max(largest, info.Size()); i == all/2 {
			half = largest
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	holds(t, path, log)
	t.Logf("%d entries: the file had %d bytes after half of them, and %d at most", all, half, largest)
	if need := int64((every+each+100)*450 + 2*size); largest > 4*need || largest > half {
		t.Errorf("the file has grown to %d bytes, and to %d in its first half; it holds %d at most", largest, half, need)
	}
}

// TestNamed checks that the error names what is damaged.
func TestNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	file, want := written(t, path)
	for what, content := range map[string][]byte{
		"the head": head.Job,
		"entry 15": want.Entries[14].Data[:100],
		"page 0":   file[16:32],
	} {
		changed := bytes.Clone(file)
		for at := 0; ; at++ { // in the older copies of its page too
			i := bytes.Index(changed[at:], content)
			if i < 0 {
				break
			}
			at += i
			changed[at] ^= 4
		}
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, _, err := journal.Open(path)
		if d := (*journal.Damaged)(nil); !errors.As(err, &d) || d.Record != what {
			t.Errorf("%s changed: %v", what, err)
		}
	}
}

// TestDiskFull writes in a process that may make no large files.
func TestDiskFull(t *testing.T) {
	const limit = 256 << 10
	if path := os.Getenv("JOURNAL_TEST_FULL"); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			t.Fatal(err)
		}
		fill(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "j")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), "JOURNAL_TEST_FULL="+path)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "full after") {
		t.Fatalf("%v: %s", err, out)
	}
}

func fill(t *testing.T, path string) {
	j := create(t, path)
	log := begun()
	for i := uint64(1); ; i++ {
		e, hard := entry(i, 1, 3000), quorum.Hard{Term: 1, Commit: i}
		if err := j.Write(quorum.Write{Hard: hard, Entries: []quorum.Entry{e}}); err != nil {
			if !errors.Is(err, syscall.EFBIG) {
				t.Error("the cause is not told:", err)
			}
			t.Log("full after", i, "entries:", err)
			break
		}
		log = appended(log, hard, e)
	}
	if err := j.Write(quorum.Write{Hard: quorum.Hard{}, Entries: nil}); err == nil {
		t.Error("written after a failure")
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	holds(t, path, log)
}

func BenchmarkWrite(b *testing.B) {
	j := create(b, filepath.Join(b.TempDir(), "j"))
	for i := uint64(1); b.Loop(); i++ {
		write(b, j, quorum.Hard{Term: 1, Commit: i - 1}, entry(i, 1, 300))
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "j")
	j := create(b, path)
	for i := uint64(1); i <= 1000; i += 100 {
		var es []quorum.Entry
		for k := range uint64(100) {
			es = append(es, entry(i+k, 1, 300))
		}
		write(b, j, quorum.Hard{Term: 1}, es...)
	}
	j.Close()
	for b.Loop() {
		j, _, _, err := journal.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		j.Close()
	}
}

// TestReplace replaces a log by a recovered one: until the new file is complete the old one is there, and after that
// the new one, with the old one beside it.
func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := create(t, path)
	write(t, j, quorum.Hard{Term: 1, Commit: 1}, entry(1, 1, 100))
	j.Close()
	self := quorum.NewVoter("a", 2)
	begin := quorum.Write{Hard: quorum.Hard{Term: 9, Commit: 5}, Snapshot: snapshot(5, 5, 10_000), Reset: true}
	bad := begin
	bad.Entries = []quorum.Entry{entry(9, 9, 10)}
	if _, err := journal.Replace(path, head, bad); err == nil {
		t.Error("a log with a hole takes the place")
	}
	if _, _, log, err := open(t, path); err != nil || len(log.Entries) != 1 {
		t.Fatalf("the old journal is not there any more: %+v, %v", log, err)
	}
	n, err := journal.Replace(path, journal.Head{Job: head.Job, Self: self, Voters: head.Voters}, begin)
	if err != nil {
		t.Fatal(err)
	}
	write(t, n, quorum.Hard{Term: 9, Commit: 6}, entry(6, 9, 10))
	n.Close()
	_, h, log, err := open(t, path)
	if err != nil || h.Self != self || log.Snapshot == nil || log.Snapshot.Index != 5 || len(log.Entries) != 1 ||
		log.Hard.Term != 9 {
		t.Errorf("read back: %+v, %+v, %v", h, log, err)
	}
	if _, h, _, err := open(t, path+journal.Before); err != nil || h.Self != head.Self {
		t.Errorf("what was before: %+v, %v", h, err)
	}
}

// open reads a journal and closes it.
func open(t testing.TB, path string) (*journal.Journal, journal.Head, quorum.Log, error) {
	t.Helper()
	j, h, log, err := journal.Open(path)
	if err == nil {
		err = j.Close()
	}
	return j, h, log, err
}
