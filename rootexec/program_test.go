package rootexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// described describes a spec, and returns the order by which another node prepares it.
func described(t *testing.T, spec Spec, earlier *exec.Order) (*program, exec.Order) {
	t.Helper()
	e := executor(t)
	d, err := e.Describe(t.Context(), exec.Request{
		Spec:    spec.JSON(),
		Dir:     t.TempDir(),
		Earlier: earlier,
		Tell:    func(string) {},
	})
	if err != nil {
		t.Fatal(explain(err))
	}
	t.Cleanup(d.Program.Release)
	blobs := map[string][]byte{}
	for _, b := range d.Blobs {
		data, err := b.Pack()
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		d.Work.Ships = append(d.Work.Ships, tasks.Ship{
			Name: b.Name, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data)), Keep: b.Keep,
		})
		blobs[b.Name] = data
	}
	if err := d.Work.Check(); err != nil || !e.Info().Offer().Meets(d.Work.Needs) {
		t.Fatalf("described as %+v: %v", d.Work, err)
	}
	return d.Program.(*program), exec.Order{
		Submitter: "s",
		Work:      d.Work,
		Fetch: func(_ context.Context, name string) ([]byte, error) {
			data, ok := blobs[name]
			if !ok {
				return nil, fmt.Errorf("nothing is called %q", name)
			}
			return data, nil
		},
	}
}

// suiteSpec is the spec of a class of the suite.
func suiteSpec(t *testing.T, class string) Spec {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return Spec{Selector: filepath.Join(dir, "Suite.C"), Includes: []string{filepath.Join(dir, "Suite.h")}, Class: class}
}

// TestPreparedIsWhatWasDescribed has a node that comes to a job by its description run it with what was asked for, its
// Begin and Terminate included.
func TestPreparedIsWhatWasDescribed(t *testing.T) {
	spec := suiteSpec(t, "Hists")
	spec.Option, spec.AllowMissingBranches, spec.Params = "absent", true, map[string]string{"first": "yes", "b": "2"}
	first, order := described(t, spec, nil)
	p, err := executor(t).Prepare(t.Context(), order)
	if err != nil {
		t.Fatal(explain(err))
	}
	defer p.Release()
	got := p.(*program)
	if p.Key() != first.Key() || !reflect.DeepEqual(got.told(), Told{
		Option:               "absent",
		AllowMissingBranches: true,
		Whole:                true, // Suite.C names kAbortFile
		Dir:                  first.work.Dir,
	}) || len(got.work.Params) != 2 {
		t.Errorf("prepared %+v, described %+v", got.work, first.work)
	}
	s, err := p.Session(t.Context(), exec.SessionSpec{Dir: t.TempDir(), Out: func(string) {}})
	if err != nil {
		t.Fatal(explain(err))
	}
	defer s.Close()
	input, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(explain(err))
	}
	g, err := p.Start(t.Context(), exec.GenSpec{Job: 1, Input: input, Dir: t.TempDir()}, newRecorder())
	if err != nil {
		t.Fatal(explain(err))
	}
	sealed, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "partial"))
	if err != nil {
		t.Fatal(explain(err))
	}
	blob, err := os.ReadFile(sealed.Path)
	if err != nil || strings.Contains(string(blob), "h2") { // which this option and this parameter take out
		t.Errorf("the generation was told neither option nor parameters: %v", err)
	}
	untold := runTold(t, load(t, "Hists"), exec.GenSpec{Job: 1, Input: input}, Told{}, nil)
	if blob, err := os.ReadFile(untold.Path); err != nil || !strings.Contains(string(blob), "h2") {
		t.Errorf("no output has it, so that this test shows nothing: %v", err)
	}
}

// TestDescribedAgain has a retry run what the earlier job ran, but for what it says otherwise.
func TestDescribedAgain(t *testing.T) {
	spec := suiteSpec(t, "Hists")
	spec.Option, spec.AllowMissingBranches, spec.Params = "calibration", true, map[string]string{"a": "1", "b": "2"}
	data := filepath.Join(t.TempDir(), "w.txt")
	if err := os.WriteFile(data, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec.Data = []string{data}
	_, order := described(t, spec, nil)
	same, again := described(t, Spec{}, &order)
	if again.Work.Code() != order.Work.Code() || string(again.Work.Spec) != string(order.Work.Spec) {
		t.Errorf("the same again is %+v", same.work)
	}
	other, _ := described(t, Spec{Params: map[string]string{"b": "3"}}, &order)
	want := []tasks.Param{{Name: "a", Value: "1"}, {Name: "b", Value: "3"}}
	if len(other.work.Params) != 2 || other.work.Params[1] != want[1] || other.work.Option != "calibration" {
		t.Errorf("with another parameter it is %+v", other.work)
	}
	mended, changed := described(t, suiteSpec(t, "Arrays"), &order)
	if mended.work.Class != "Arrays" || mended.work.Option != "calibration" || !mended.work.Lax ||
		changed.Work.Code() == "" {
		t.Errorf("with other code it is %+v", mended.work)
	}
	packed, err := changed.Fetch(t.Context(), sourcesBlob)
	if err != nil {
		t.Fatal(err)
	}
	if src, err := unpackSource(packed, nil); err != nil || string(src.Files[DataDir+"/w.txt"]) != "weights" {
		t.Errorf("the data file of before does not go along: %v", err)
	}
	for _, text := range []string{"", "{", `{"selectr": "x"}`} {
		if _, err := executor(t).Describe(t.Context(), exec.Request{Spec: []byte(text)}); err == nil {
			t.Errorf("%q is a spec", text)
		}
	}
}
