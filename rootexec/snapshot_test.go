package rootexec

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// snapshotOf asks a generation for named objects, and waits for them.
func snapshotOf(t *testing.T, g *Generation, path string, most int64, names ...string) exec.Snapshot {
	t.Helper()
	type answer struct {
		s   exec.Snapshot
		err error
	}
	got := make(chan answer, 1)
	err := g.Snapshot(exec.SnapshotAsk{Names: names, Most: most, Path: path}, func(s exec.Snapshot, err error) {
		got <- answer{s, err}
	})
	if err != nil {
		t.Fatal(err)
	}
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.s
}

// entriesOf finds how many entries a picture tells.
func entriesOf(s exec.Snapshot, name string) float64 {
	i := slices.IndexFunc(s.Pictures, func(p exec.Picture) bool { return p.Name == name })
	if i < 0 {
		return -2
	}
	return s.Pictures[i].Entries
}

// TestSnapshots: between two packets a generation writes what its output has of some names, and goes on; merged with a
// partial of another generation it is, in numbers and in the file, what one process would have of these entries.
func TestSnapshots(t *testing.T) {
	file, dir := makeData(t, "snap.root", 1000, 0), t.TempDir()
	s := load(t, "Hists")
	input, _ := mustBegin(t, "Hists", nil)
	var id uint64
	packets := cut(file, 1000, 250, 0, &id)
	first := runPackets(t, s, exec.GenSpec{Input: input}, packets[:1])

	r := newRecorder()
	g, err := s.Start(t.Context(), exec.GenSpec{Input: input, Dir: t.TempDir()}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	shot := filepath.Join(dir, "shot")
	for i, p := range packets[1:3] {
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
		if got := snapshotOf(t, g, shot, 1<<20, "hx", "h*", "count"); got.Units != int64(250*(i+1)) || len(got.Left) > 0 {
			t.Errorf("after %d packets: %+v", i+1, got)
		}
		r.wait(t)
	}
	small := snapshotOf(t, g, filepath.Join(dir, "small"), 300, "hx", "count")
	if small.Units != 500 || !slices.Equal(small.Left, []string{"hx"}) {
		t.Errorf("with a bound: %+v", small)
	}

	v, err := s.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ask := exec.SnapshotAsk{Names: []string{"hx", "count"}, Most: 1 << 20, Path: filepath.Join(dir, "picked")}
	picked, err := v.Pick(t.Context(), []string{first.Path, shot}, ask)
	if err != nil || picked.Units != 750 {
		t.Fatalf("picked %+v, %v", picked, err)
	}
	if _, err := v.Pick(t.Context(), []string{filepath.Join(dir, "none")}, ask); err == nil {
		t.Error("a file that is not there is merged")
	}
	ask.Path = filepath.Join(dir, "shown.root")
	shown, err := v.Show(t.Context(), []string{filepath.Join(dir, "picked")}, ask) // after a failure it goes on
	if err != nil || shown.Units != 750 || len(shown.Pictures) != 2 {
		t.Fatalf("shown %+v, %v", shown, err)
	}
	whole := runPackets(t, s, exec.GenSpec{Input: input}, packets[:3])
	ask.Path = filepath.Join(dir, "want.root")
	want, err := v.Show(t.Context(), []string{whole.Path}, ask)
	if err != nil {
		t.Fatal(err)
	}
	if got := entriesOf(shown, "hx"); got <= 0 || got != entriesOf(want, "hx") {
		t.Errorf("hx has %v entries, want %v", got, entriesOf(want, "hx"))
	}
	if i := slices.IndexFunc(shown.Pictures, func(p exec.Picture) bool { return p.Name == "hx" }); i >= 0 {
		sum := shown.Pictures[i].Under + shown.Pictures[i].Over
		for _, v := range shown.Pictures[i].Values {
			sum += v
		}
		if sum != shown.Pictures[i].Entries {
			t.Errorf("the bins of hx sum up to %v: %+v", sum, shown.Pictures[i])
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	if err := g.Lease(packets[3]); err != nil { // the generation goes on, and its partial is whole
		t.Fatal(err)
	}
	r.wait(t)
	sealed, err := g.Seal(t.Context(), filepath.Join(dir, "partial"))
	if err != nil || sealed.Units != 750 {
		t.Errorf("sealed %+v, %v", sealed, err)
	}
	err = g.Snapshot(exec.SnapshotAsk{Path: shot}, func(exec.Snapshot, error) {})
	if !errors.Is(err, exec.ErrEnded) {
		t.Errorf("a snapshot after the end: %v", err)
	}
	if _, err := os.Stat(shot); err != nil {
		t.Error(err)
	}
}
