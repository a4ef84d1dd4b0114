package rootexec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

func TestPlan(t *testing.T) {
	e := executor(t)
	file := makeData(t, "f.root", 1000, 0, "tree", "dir", "cluster", "300")
	p, err := e.Plan(t.Context(), file, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%s %d %d", p.Part, p.Entries, p.Clusters) != "dir 1000 [0 300 600 900]" || p.Bytes <= 0 {
		t.Errorf("%+v", p)
	}
	empty := makeData(t, "e.root", 0, 0)
	if p, err := e.Plan(t.Context(), empty, "T", 0); err != nil || p.Entries != 0 || len(p.Clusters) != 0 {
		t.Errorf("empty tree: %+v, %v", p, err)
	}
}

func TestPlanManyAtOnce(t *testing.T) {
	e := executor(t)
	file := makeData(t, "f.root", 100, 0)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if p, err := e.Plan(t.Context(), file, "T", 0); err != nil || p.Entries != 100 {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	wg.Wait()
}

// damage copies file and changes the copy.
func damage(t *testing.T, file string, change func([]byte) []byte) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "damaged.root")
	if err := os.WriteFile(out, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPlanBadFiles(t *testing.T) {
	e := executor(t)
	good := makeData(t, "good.root", 1000, 0)
	truncated := damage(t, good, func(b []byte) []byte { return b[:len(b)*2/3] })
	noRoot := damage(t, good, func([]byte) []byte { return []byte("not at all a ROOT file, whatever its name says") })
	empty := damage(t, good, func([]byte) []byte { return nil })
	two := makeData(t, "two.root", 10, 0, "second", "V")
	for _, c := range []struct {
		name, file, tree string
		kind             exec.Kind
		msg              string
	}{
		{"missing", good + ".no", "T", exec.KindOpen, "No such file"},
		{"folder", filepath.Dir(good), "T", exec.KindOpen, "directory"},
		{"truncated", truncated, "T", exec.KindOpen, "truncated"},
		{"no ROOT file", noRoot, "T", exec.KindOpen, "not a ROOT file"},
		{"empty", empty, "T", exec.KindOpen, "empty"},
		{"missing tree", good, "U", exec.KindSchema, "there is: T"},
		{"one of two trees", two, "", exec.KindAmbiguous, "name one of: T, V"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := e.Plan(t.Context(), c.file, c.tree, 0)
			f := asFailure(err)
			if f == nil || f.Kind != c.kind || f.File != c.file || !strings.Contains(f.Msg, c.msg) {
				t.Errorf("%v; want kind %s of %s with %q", err, c.kind, c.file, c.msg)
			}
		})
	}
}

// The codecs that have a checksum: what zstd stores uncompressed can change unnoticed by ROOT.
func TestReadErrorsDoNotPass(t *testing.T) {
	for _, class := range []string{"Hists", "HistsOld"} {
		for _, codec := range []string{"101", "207", "404"} {
			t.Run(class+codec, func(t *testing.T) { testReadError(t, class, codec) })
		}
	}
}

func testReadError(t *testing.T, class, codec string) {
	good := makeData(t, "good.root", 3000, 0, "cluster", "500", "codec", codec)
	bad := damage(t, good, func(b []byte) []byte {
		for i := len(b) / 2; i < len(b)/2+200; i++ {
			b[i] ^= 0x55
		}
		return b
	})
	r := newRecorder()
	g, err := load(t, class).Start(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Lease(exec.Packet{ID: 1, File: bad, Part: "T", Last: 3000}); err != nil {
		t.Fatal(err)
	}
	f := r.waitFailure(t)
	if f.Kind != exec.KindData || f.File != bad || f.Blame.Len() != 500 || f.Blame.First%500 != 0 ||
		!f.Blame.Contains(f.Entry) {
		t.Errorf("%v, blames %v for entry %d; want data, and the cluster of 500 with the entry", f, f.Blame, f.Entry)
	}
}

func TestMissingBranch(t *testing.T) {
	file := makeData(t, "f.root", 100, 0)
	for _, class := range []string{"Missing", "MissingOld"} {
		err := load(t, class).Probe(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, file, "T")
		f := asFailure(err)
		if f == nil || f.Kind != exec.KindSchema || f.File != file || !strings.Contains(f.Msg, "nosuchbranch") ||
			!f.Blame.Empty() {
			t.Errorf("%s: %v; want schema, and the branch named", class, err)
		}
	}
	if err := load(t, "MissingOld").Probe(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{AllowMissingBranches: true},
		file, "T"); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if err := load(t, "Hists").Probe(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, file, "T"); err != nil {
		t.Errorf("a good selector: %v", err)
	}
	empty := makeData(t, "e.root", 0, 0)
	if err := load(t, "Hists").Probe(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, empty, "T"); err != nil {
		t.Errorf("an empty tree: %v", err)
	}
}

// TestChangedFile: a file with other entries than were planned is refused. One that has more would give a result that
// lacks them, without a word.
func TestChangedFile(t *testing.T) {
	file := makeData(t, "f.root", 100, 0)
	other, err := executor(t).Plan(t.Context(), makeData(t, "other.root", 100, 0), "T", 0)
	if err != nil || len(other.UUID) != 36 {
		t.Fatalf("planned without a UUID: %+v, %v", other, err)
	}
	for _, c := range []struct {
		packet exec.Packet
		msg    string
	}{
		{exec.Packet{ID: 1, File: file, Part: "T", First: 50, Last: 150}, "100 entries here, but 150"},
		{exec.Packet{ID: 1, File: file, Part: "T", First: 0, Last: 50, Entries: 80}, "100 entries here, but 80"},
		{exec.Packet{
			ID:      1,
			File:    file,
			Part:    "T",
			First:   0,
			Last:    50,
			Entries: 100,
			UUID:    other.UUID,
		}, "written anew, with as many entries"},
	} {
		r := newRecorder()
		g, err := load(t, "Hists").Start(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Kill)
		if err := g.Lease(c.packet); err != nil {
			t.Fatal(err)
		}
		if f := r.waitFailure(t); f.Kind != exec.KindOpen || f.Host != exec.CauseDiffers || !strings.Contains(f.Msg, c.msg) {
			t.Errorf("%v; want %q", f, c.msg)
		}
	}
}

func TestVersionZero(t *testing.T) {
	file := makeData(t, "f.root", 1001, 0)
	sealed := runPackets(t, load(t, "Cutter"), exec.GenSpec{}, []exec.Packet{{ID: 1, File: file, Part: "T", Last: 1001}})
	_, out, _ := finish(t, "Cutter", []string{sealed.Path})
	mustBegin(t, "Expect", map[string]string{"file": out, "count": "501"})
}

// TestRefusedFileKeepsWhatIsDone has a generation come to files that are gone, or others than were planned, between
// those that it can read: the packets in them come back with the reason, and what is done before and after is sealed.
func TestRefusedFileKeepsWhatIsDone(t *testing.T) {
	good, short, next := makeData(t, "good.root", 1000, 0), makeData(t, "short.root", 100, 0), makeData(t, "next.root",
		500, 0)
	r := newRecorder()
	input, _ := mustBegin(t, "Hists", nil)
	g, err := load(t, "Hists").Start(t.Context(), exec.GenSpec{Dir: t.TempDir(), Job: 7, Input: input}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	lease := func(p exec.Packet) {
		t.Helper()
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
	}
	lease(exec.Packet{ID: 1, File: good, Part: "T", Last: 600, Entries: 1000})
	r.wait(t)
	for id := uint64(2); id < 8; id += 2 { // more than files are kept open
		lease(exec.Packet{ID: id, File: short, Part: "T", Last: 50, Entries: 80, Base: 1000})
		if f := r.waitFailure(t); f.Kind != exec.KindOpen || f.Host != exec.CauseDiffers || f.File != short {
			t.Errorf("of a file with other entries: %+v", f)
		}
		lease(exec.Packet{ID: id + 1, File: good + ".gone", Part: "T", Last: 50, Base: 2000})
		if f := r.waitFailure(t); f.Kind != exec.KindOpen || f.Host != exec.CauseMissing {
			t.Errorf("of a file that is gone: %+v", f)
		}
	}
	lease(exec.Packet{ID: 8, File: good, Part: "T", First: 600, Last: 1000, Entries: 1000})
	r.wait(t)
	lease(exec.Packet{ID: 9, File: next, Part: "T", Last: 500, Base: 3000})
	r.wait(t)
	if sealed, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p")); err != nil || sealed.Units != 1500 {
		t.Errorf("%d units, %v; want 1500", sealed.Units, err)
	}
}
