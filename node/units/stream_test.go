package units

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// cluster plays the jobs, the sources and the values of a job whose partials come, are folded, are lost and run again
// while a stream reads them. It is all of the room's interfaces.
type cluster struct {
	draw   func(n int, what string) int // a number below n
	list   Listing
	seq    uint64
	early  *Early
	none   bool     // its partials have no values
	steady bool     // nothing fails, and nothing changes
	turns  int      // times that something could happen: after some hundred the job goes on to its end
	file   *os.File // with the values of the first hundred units; nil for none
	closed *os.File // as that of a generation which is over
}

// calm is after how many turns nothing fails any more, and the job goes on to its end.
const calm = 300

func (c *cluster) Job() string { return "job" }

func (c *cluster) Source(context.Context, string) (Source, error) {
	if c.fails() {
		return nil, &api.Error{Status: http.StatusServiceUnavailable, Message: "no home"}
	}
	return c, nil
}

func (c *cluster) fails() bool {
	c.turns++
	return !c.steady && c.turns < calm && c.draw(8, "fails") == 0
}

var errGone = errors.New("gone")

// List tells what is committed, after something has changed.
func (c *cluster) List(context.Context) (Listing, error) {
	if c.fails() {
		return Listing{}, errGone
	}
	if !c.steady && !c.list.Ended {
		c.change()
		c.hurry()
	}
	out := c.list
	out.Parts, out.Lost = slices.Clone(c.list.Parts), slices.Clone(c.list.Lost)
	return out, nil
}

// rest are the units that are neither committed nor lost.
func (c *cluster) rest() tasks.Cover {
	rest := tasks.CoverOf(c.list.Units)
	for _, p := range c.list.Parts {
		rest = rest.Minus(p.Cover)
	}
	for _, m := range c.list.Lost {
		rest = rest.Minus(tasks.CoverOf(tasks.R(m.Units[0], m.Units[1])))
	}
	return rest
}

// change is a commit, a fold, a loss, an append, or the end.
func (c *cluster) change() {
	l := &c.list
	some := func() tasks.Cover {
		first := int64(c.draw(int(l.Units.Last), "first"))
		return c.rest().Intersect(tasks.CoverOf(tasks.R(first, first+1+int64(c.draw(20, "many")))))
	}
	what := 5
	if c.turns < calm {
		what = c.draw(6, "change")
	}
	switch what {
	case 0, 1:
		if cover := some(); !cover.Empty() {
			l.Parts = append(l.Parts, c.partial(cover))
		}
	case 2:
		if n := len(l.Parts); n >= 2 {
			l.Parts = append(l.Parts[:n-2:n-2], c.partial(l.Parts[n-1].Cover.Union(l.Parts[n-2].Cover)))
		}
	case 3:
		if n := len(l.Parts); n > 0 { // whose blob is lost: its units run again
			l.Parts = l.Parts[:n-1]
		}
	case 4:
		if cover := some(); !cover.Empty() && c.draw(3, "is lost") == 0 {
			l.Lost = append(l.Lost, api.Missing{Units: [2]int64{cover[0].First, cover[0].Last}, First: 7, Reason: "bad"})
		}
	case 5:
		switch rest := c.rest(); {
		case l.Open && l.Units.Last < 100:
			l.Units.Last += 10
			l.Open = l.Units.Last < 100
		case !l.Open && rest.Empty():
			l.Ended = true
		case !rest.Empty():
			l.Parts = append(l.Parts, c.partial(rest))
		}
	}
}

// hurry tells values of some units that are there, committed or not, before anything is told of their partials.
func (c *cluster) hurry() {
	if c.draw(3, "hurries") > 0 {
		return
	}
	first := int64(c.draw(int(c.list.Units.Last), "early"))
	var values exec.EarlyList
	for u := first; u < min(first+4, c.list.Units.Last); u++ {
		values = append(values, []byte(fmt.Sprint("value of ", u)))
	}
	var early exec.Early = values
	if c.file != nil && len(values) > 0 && c.draw(2, "held") == 0 {
		early = c.held(first, values)
	}
	c.early.Tell("other", first, values)
	c.early.Tell("job", first, early)
	if c.draw(2, "settled") == 0 {
		c.early.Committed("job")
	}
}

// valueFile has the values of a hundred units one after the other.
func valueFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "values"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	for u := range 100 {
		if _, err := fmt.Fprint(f, "value of ", u); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// held is values as they lie in the file, or where there are none of them.
func (c *cluster) held(first int64, values exec.EarlyList) *exec.Held {
	h := &exec.Held{File: c.file}
	for u := range first {
		h.At += int64(len(fmt.Sprint("value of ", u)))
	}
	if c.draw(4, "generation over") == 0 {
		h.File = c.closed
	}
	if c.draw(4, "cut off") == 0 {
		h.At += 10_000
	}
	end := uint64(0)
	for _, v := range values {
		end += uint64(len(v))
		h.Ends = append(h.Ends, end)
	}
	return h
}

func (c *cluster) partial(cover tasks.Cover) merge.Partial {
	c.seq++
	return merge.Partial{ID: merge.ID{Node: "n", Seq: c.seq}, Cover: cover, SHA256: fmt.Sprintf("%064x", c.seq)}
}

// Blob names a partial that is still there.
func (c *cluster) Blob(_ context.Context, p merge.Partial) (string, func(), error) {
	there := slices.ContainsFunc(c.list.Parts, func(o merge.Partial) bool { return o.ID == p.ID })
	if !there || c.fails() {
		return "", nil, errGone
	}
	return fmt.Sprint(p.ID.Seq), func() {}, nil
}

func (c *cluster) HasValues(kind string) bool { return kind == "valued" }

// Values tells of a partial, or breaks off.
func (c *cluster) Values(
	_ context.Context, _, path string, units tasks.Cover, each func(unit int64, value []byte) error,
) error {
	if c.none {
		return exec.ErrNoValues
	}
	for _, p := range c.list.Parts {
		if fmt.Sprint(p.ID.Seq) != path {
			continue
		}
		for _, r := range p.Cover.Intersect(units) {
			for u := r.First; u < r.Last; u++ {
				if c.fails() {
					return errGone
				}
				if err := each(u, []byte(fmt.Sprint("value of ", u))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Locate knows no files.
func (c *cluster) Locate(
	context.Context, string, string, tasks.Cover, func(first, at int64, ends []uint64) error,
) error {
	return nil
}

// heard is what a stream has told.
type heard struct {
	values map[int64]string
	early  map[int64]string
	lost   map[int64]bool
	files  int // values that were told early by a file
	events []api.UnitsEvent
	wrong  string
}

// read are the values that an event tells by a file.
func read(held *api.HeldValues) (values []api.UnitValue) {
	if held == nil {
		return nil
	}
	at := uint64(0)
	for i, end := range held.Ends {
		v := make([]byte, end-at)
		if _, err := held.File.ReadAt(v, held.At+int64(at)); err != nil {
			v = []byte(err.Error())
		}
		values, at = append(values, api.UnitValue{Unit: held.First + int64(i), Value: v}), end
	}
	return values
}

func (h *heard) take(ev api.UnitsEvent) error {
	h.events = append(h.events, ev)
	held := read(ev.Held)
	h.files += len(held)
	for _, v := range append(held, ev.Early...) {
		if _, told := h.values[v.Unit]; told || h.early[v.Unit] != "" {
			h.wrong = fmt.Sprintf("unit %d is told early, and was told before", v.Unit)
		}
		h.early[v.Unit] = string(v.Value)
	}
	values := map[int64]string{}
	for _, v := range ev.Values {
		if h.early[v.Unit] != "" {
			h.wrong = fmt.Sprintf("the value of unit %d is sent twice", v.Unit)
		}
		values[v.Unit] = string(v.Value)
	}
	for _, r := range ev.Units {
		for u := r[0]; u < r[1]; u++ {
			if _, again := h.values[u]; again || h.lost[u] {
				h.wrong = fmt.Sprintf("unit %d is told twice", u)
			}
			h.values[u] = cmp.Or(values[u], h.early[u])
		}
	}
	for _, m := range ev.Lost {
		for u := m.Units[0]; u < m.Units[1]; u++ {
			if _, again := h.values[u]; again || h.lost[u] {
				h.wrong = fmt.Sprintf("unit %d is told twice, and lost", u)
			}
			h.lost[u] = true
		}
	}
	return nil
}

func newHeard() *heard {
	return &heard{values: map[int64]string{}, early: map[int64]string{}, lost: map[int64]bool{}}
}

func (c *cluster) room() *Room {
	c.early = &Early{}
	return &Room{Jobs: c, Values: c, Early: c.early, Every: time.Nanosecond, Once: time.Hour, Patience: time.Hour}
}

// TestEachUnitIsToldOnce: whatever happens to partials and sources while a job is followed, each unit that was asked
// for is told once, with its value, or as lost; and no other.
func TestEachUnitIsToldOnce(t *testing.T) {
	file, closed := valueFile(t), valueFile(t)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := &cluster{
			file: file, closed: closed,
			draw: func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(rt, what) },
			list: Listing{Kind: "valued", Units: tasks.R(0, 30), Open: rapid.Bool().Draw(rt, "open")},
		}
		ask := api.UnitsRequest{Follow: true, Early: rapid.Bool().Draw(rt, "early"), Files: rapid.Bool().Draw(rt, "files")}
		last := int64(100)
		if !c.list.Open {
			last = 30
		}
		if rapid.Bool().Draw(rt, "bounded") {
			ask.First = int64(c.draw(20, "from"))
			ask.Last = ask.First + 1 + int64(c.draw(10, "length"))
			last = ask.Last
		}
		h := newHeard()
		if err := c.room().Tell(t.Context(), "job", ask, h.take); err != nil || h.wrong != "" {
			rt.Fatalf("%v, %s", err, h.wrong)
		}
		for u := ask.First; u < last; u++ {
			if want := fmt.Sprint("value of ", u); h.values[u] != want && !h.lost[u] {
				rt.Fatalf("unit %d has the value %q", u, h.values[u])
			}
		}
		if !ask.Files && h.files > 0 {
			rt.Fatalf("%d values are told by a file, which nobody has asked for", h.files)
		}
		if !ask.Early && len(h.early) > 0 {
			rt.Fatalf("told early, which nobody has asked for: %v", h.early)
		}
		end := h.events[len(h.events)-1].Over
		if n := len(h.values) + len(h.lost); int64(n) != last-ask.First || end == nil || len(end.Left) > 0 {
			rt.Fatalf("%d units are told, want %d; at the end %+v", n, last-ask.First, end)
		}
	})
}

// TestTold: what is told in the cases that do not depend on chance.
func TestTold(t *testing.T) {
	part := merge.Partial{Cover: tasks.CoverOf(tasks.R(0, 4), tasks.R(6, 8)), SHA256: fmt.Sprintf("%064x", 0)}
	lost := api.Missing{Units: [2]int64{4, 6}, First: 14, Last: 16, File: "f", Reason: "bad"}
	open := Listing{Kind: "valued", Units: tasks.R(0, 10), Open: true, Parts: []merge.Partial{part},
		Lost: []api.Missing{lost}}
	closed := open
	closed.Open = false
	other := closed
	other.Kind = "other"
	for name, tc := range map[string]struct {
		list   Listing
		none   bool
		ask    api.UnitsRequest
		units  int // told as committed
		values int
		lost   string
		says   string // NoValues
		left   string
		status int // of the error
	}{
		"all so far": {list: open, units: 6, values: 6, lost: "[14 16 [4 6]]", left: "[[8 10]]"},
		"a range": {
			list:   open,
			ask:    api.UnitsRequest{First: 3, Last: 5},
			units:  1,
			values: 1,
			lost:   "[14 15 [4 5]]",
		},
		"one to come":    {list: open, ask: api.UnitsRequest{First: 9, Last: 12}, left: "[[9 12]]"},
		"beyond the end": {list: closed, ask: api.UnitsRequest{First: 9, Last: 12}, status: http.StatusBadRequest},
		"far beyond":     {list: closed, ask: api.UnitsRequest{First: 10}, status: http.StatusBadRequest},
		"to the end":     {list: closed, ask: api.UnitsRequest{First: 7}, units: 1, values: 1, left: "[[8 10]]"},
		"no range":       {list: open, ask: api.UnitsRequest{First: 5, Last: 5}, status: http.StatusBadRequest},
		"below zero":     {list: open, ask: api.UnitsRequest{First: -1}, status: http.StatusBadRequest},
		"too far":        {list: open, ask: api.UnitsRequest{Last: 1 << 60}, status: http.StatusBadRequest},
		"a kind without": {
			list:  other,
			units: 6,
			lost:  "[14 16 [4 6]]",
			says:  "jobs of the kind other have no values of single units",
			left:  "[[8 10]]",
		},
		"code without": {
			list:  closed,
			none:  true,
			units: 6,
			lost:  "[14 16 [4 6]]",
			says:  "this job keeps no values of single units",
			left:  "[[8 10]]",
		},
		"a false listing":  {list: Listing{Units: tasks.R(3, 1)}, status: -1},
		"a false partial":  {list: Listing{Units: tasks.R(0, 3), Parts: []merge.Partial{part}}, status: -1},
		"a followed range": {list: open, ask: api.UnitsRequest{Last: 3, Follow: true}, units: 3, values: 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &cluster{list: tc.list, none: tc.none, steady: true}
			h := newHeard()
			err := (&Room{Jobs: c, Values: c, Early: &Early{}, Every: time.Second, Once: time.Minute, Patience: time.Hour}).
				Tell(t.Context(), "job", tc.ask, h.take)
			var e *api.Error
			if tc.status != 0 {
				if err == nil || errors.As(err, &e) != (tc.status > 0) || e != nil && e.Status != tc.status || len(h.events) > 0 {
					t.Errorf("%s: %v, told %+v", name, err, h.events)
				}
				return
			}
			gone, says, left := "", "", ""
			values := 0
			for _, ev := range h.events {
				values += len(ev.Values)
				for _, m := range ev.Lost {
					gone += fmt.Sprint([]any{m.First, m.Last, m.Units})
				}
				if says += ev.NoValues; ev.Over != nil && len(ev.Over.Left) > 0 {
					left = fmt.Sprint(ev.Over.Left)
				}
			}
			if err != nil || len(h.values) != tc.units || values != tc.values || gone != tc.lost || says != tc.says ||
				left != tc.left {
				t.Errorf("%s: %v, told %+v: %d units, %d values, lost %s, left %s, %q", name, err, h.events, len(h.values),
					values, gone, left, says)
			}
		})
	}
}

// broken is a job of which a few looks go well, and then none.
type broken struct {
	*cluster
	err  error
	good int // looks
}

func (b *broken) Source(context.Context, string) (Source, error) {
	if b.good == 0 {
		return nil, b.err
	}
	return b, nil
}

func (b *broken) List(ctx context.Context) (Listing, error) {
	if b.good == 0 {
		return Listing{}, errGone
	}
	b.good--
	return b.cluster.List(ctx)
}

// TestStreamEnds: a stream that can tell no more says why, after a time that fits the reason.
func TestStreamEnds(t *testing.T) {
	list := Listing{Kind: "valued", Units: tasks.R(0, 10), Open: true}
	for name, tc := range map[string]struct {
		err    error
		follow bool
		good   int
		after  time.Duration // it goes on for so long; 0: it ends at once
		ever   bool          // it never ends by itself
	}{
		"no such job":              {err: &api.Error{Status: http.StatusNotFound}, follow: true},
		"no right":                 {err: &api.Error{Status: http.StatusForbidden}, follow: true},
		"known, and gone":          {err: &api.Error{Status: http.StatusNotFound}, follow: true, good: 1, after: time.Minute},
		"nobody answers":           {err: errGone, follow: true, after: time.Minute},
		"nobody answers, not long": {err: errGone, after: 5 * time.Second},
		"it waits":                 {err: &api.Error{Status: http.StatusServiceUnavailable}, follow: true, ever: true},
		"it waits, not long":       {err: &api.Error{Status: http.StatusServiceUnavailable}, after: 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			b := &broken{cluster: &cluster{list: list, steady: true}, err: tc.err, good: tc.good}
			r := &Room{
				Jobs: b, Values: b, Early: &Early{},
				Every: 200 * time.Millisecond, Once: 5 * time.Second, Patience: time.Minute,
			}
			h, began := newHeard(), time.Now()
			err := r.Tell(ctx, "job", api.UnitsRequest{Follow: tc.follow}, h.take)
			took := time.Since(began)
			switch {
			case tc.ever:
				if err != nil || took != time.Hour {
					t.Errorf("%s: ended after %s: %v", name, took, err)
				}
			case err == nil || took < tc.after || took > tc.after+time.Second:
				t.Errorf("%s: ended after %s: %v", name, took, err)
			}
		})
	}
}

// TestNobodyListens: a stream ends with its reader, and one that has begun says in its last line why it ends.
func TestNobodyListens(t *testing.T) {
	part := merge.Partial{Cover: tasks.CoverOf(tasks.R(0, 4)), SHA256: fmt.Sprintf("%064x", 0)}
	c := &cluster{
		list:   Listing{Kind: "valued", Units: tasks.R(0, 10), Open: true, Parts: []merge.Partial{part}},
		steady: true,
	}
	calls := 0
	err := c.room().Tell(t.Context(), "job", api.UnitsRequest{Follow: true}, func(api.UnitsEvent) error {
		calls++
		return errGone
	})
	if err != nil || calls != 1 {
		t.Errorf("%d lines to who does not listen: %v", calls, err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := &broken{cluster: c, err: &api.Error{Status: http.StatusGone, Message: "expired"}, good: 3}
		r := &Room{Jobs: b, Values: b, Early: &Early{}, Every: time.Second, Once: time.Minute, Patience: time.Minute}
		h := newHeard()
		if err := r.Tell(t.Context(), "job", api.UnitsRequest{Follow: true}, h.take); err != nil {
			t.Error(err)
		}
		if last := h.events[len(h.events)-1]; len(h.values) != 4 || last.Failed == nil || last.Failed.Message != "expired" {
			t.Errorf("told are %+v", h.events)
		}
	})
}

// filed is a cluster with one partial of four units, which is a file. The values of the first two are large.
type filed struct {
	*cluster
	path string
}

func (f filed) Source(context.Context, string) (Source, error) { return f, nil }

func (f filed) Blob(context.Context, merge.Partial) (string, func(), error) {
	return f.path, func() { _ = os.Remove(f.path) }, nil
}

func (f filed) Values(
	ctx context.Context, kind, _ string, units tasks.Cover, each func(unit int64, value []byte) error,
) error {
	return f.cluster.Values(ctx, kind, fmt.Sprint(f.list.Parts[0].ID.Seq), units, each)
}

func (f filed) Locate(
	_ context.Context, _, _ string, units tasks.Cover, each func(first, at int64, ends []uint64) error,
) error {
	for first := range 2 {
		if units.Covers(tasks.CoverOf(tasks.R(int64(2*first), int64(2*first+2)))) {
			if err := each(int64(2*first), 10, [][]uint64{{5, maxWeight + 1}, {5, 10}}[first]); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestLargeValuesAreTheFileOfTheirPartial: they are not read here, and can be read when the partial is gone.
func TestLargeValuesAreTheFileOfTheirPartial(t *testing.T) {
	for _, files := range []bool{true, false} {
		f := filed{&cluster{steady: true, list: Listing{Kind: "valued", Units: tasks.R(0, 4), Ended: true}},
			filepath.Join(t.TempDir(), "partial")}
		f.list.Parts = append(f.list.Parts, f.partial(tasks.CoverOf(tasks.R(0, 4))))
		if err := os.WriteFile(f.path, slices.Repeat([]byte("0123456789"), maxWeight), 0o600); err != nil {
			t.Fatal(err)
		}
		h, want := newHeard(), map[int64]string{}
		room := f.room()
		room.Jobs, room.Values = f, f
		if err := room.Tell(t.Context(), "job", api.UnitsRequest{Files: files}, h.take); err != nil || h.wrong != "" {
			t.Fatalf("%v, %s", err, h.wrong)
		}
		for u := range int64(4) {
			want[u] = fmt.Sprint("value of ", u)
		}
		if files {
			want[0], want[1] = "01234", ("56789" + strings.Repeat("0123456789", maxWeight/10))[:maxWeight-4]
		}
		if !maps.Equal(h.values, want) || h.files != map[bool]int{true: 2}[files] {
			t.Errorf("asked for files %v: %d of a file, %d in all", files, h.files, len(h.values))
		}
	}
}

// TestWhoHasAllMayLeave: whoever leaves a job that takes no more is known to have all of it, however much of that is
// committed, if all values were told, early or not; and only then.
func TestWhoHasAllMayLeave(t *testing.T) {
	for _, told := range []int64{3, 4} {
		for _, open := range []bool{false, true} {
			c := &cluster{steady: true, list: Listing{Kind: "valued", Units: tasks.R(0, 4), Open: open}}
			c.list.Parts = append(c.list.Parts, c.partial(tasks.CoverOf(tasks.R(0, 2))))
			h, whole := newHeard(), false
			room := c.room()
			room.Every = time.Hour
			ctx, leave := context.WithCancel(t.Context())
			ask := api.UnitsRequest{Follow: true, Early: true, Whole: func() { whole = true }, Listening: func() {
				for u := int64(2); u < told; u++ {
					c.early.Tell("job", u, exec.EarlyList{fmt.Append(nil, "value of ", u)})
				}
			}}
			err := room.Tell(ctx, "job", ask, func(ev api.UnitsEvent) error {
				err := h.take(ev)
				if int64(len(h.early)+2) == told {
					leave()
				}
				return err
			})
			if err != nil || h.wrong != "" || whole != (told == 4 && !open) {
				t.Errorf("%d of 4 told, open %v: has all is %v; %v %s", told, open, whole, err, h.wrong)
			}
		}
	}
}
