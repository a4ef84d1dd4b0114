package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
)

// reader reads the units of a job from one daemon, on and on through its deaths.
type reader struct {
	name   string
	client *api.Client // of its own, since the node gets another one with each life
	id     string

	mu     sync.Mutex
	values map[int64]string
	lost   map[int64]string // why
	news   chan struct{}    // of room for one
}

func newReader(n *node, id string) *reader {
	return &reader{
		name:   n.name,
		client: api.NewClient(api.SocketPath(n.state)),
		id:     id,
		values: map[int64]string{},
		lost:   map[int64]string{},
		news:   make(chan struct{}, 1),
	}
}

// take takes a line of a stream, which must tell of each unit once; before are those that streams before it told of.
func (r *reader) take(ev api.UnitsEvent, told map[int64]bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	values := map[int64]string{}
	for _, v := range ev.Values {
		values[v.Unit] = string(v.Value)
	}
	for _, u := range ev.Units {
		for unit := u[0]; unit < u[1]; unit++ {
			value, ok := values[unit]
			if before, again := r.values[unit]; told[unit] || !ok || again && before != value {
				return fmt.Errorf("unit %d is told twice, or as %q after %q", unit, value, before)
			}
			told[unit], r.values[unit] = true, value
			delete(values, unit)
		}
	}
	if len(values) > 0 {
		return fmt.Errorf("values of units that are not committed: %v", values)
	}
	for _, m := range ev.Lost {
		for unit := m.Units[0]; unit < m.Units[1]; unit++ {
			if told[unit] {
				return fmt.Errorf("unit %d is told, and then lost", unit)
			}
			told[unit], r.lost[unit] = true, m.Reason
		}
	}
	select {
	case r.news <- struct{}{}:
	default:
	}
	return nil
}

// errWrong is the error of a stream that tells what it must not.
var errWrong = errors.New("wrong")

// follow reads until all is told.
func (r *reader) follow(ctx context.Context) error {
	defer r.client.Close()
	for {
		told := map[int64]bool{}
		over := false
		err := r.client.Units(ctx, r.id, api.UnitsRequest{Follow: true}, func(ev api.UnitsEvent) error {
			if err := r.take(ev, told); err != nil {
				return fmt.Errorf("%w: %w", errWrong, err)
			}
			over = over || ev.Over != nil
			return nil
		})
		if over || ctx.Err() != nil || errors.Is(err, errWrong) {
			return err
		}
		select { // the daemon is dead, or does not know the job yet
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// until waits until so many units are told.
func (r *reader) until(t testing.TB, n int) {
	t.Helper()
	late := time.After(commandLimit)
	for {
		r.mu.Lock()
		got := len(r.values) + len(r.lost)
		r.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-r.news:
		case <-late:
			t.Fatalf("%s has told of %d units, want %d", r.name, got, n)
		}
	}
}

// want compares all that was told with what it must be.
func (r *reader) want(t testing.TB, values map[int64]string, lost ...int64) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for unit, want := range values {
		if got := r.values[unit]; got != want {
			t.Errorf("%s tells of unit %d the value %q, want %q", r.name, unit, got, want)
			return
		}
	}
	if len(r.values) != len(values) || len(r.lost) != len(lost) {
		t.Errorf("%s tells of %d values and %v, want %d, and %v lost", r.name, len(r.values), r.lost, len(values), lost)
	}
	for _, unit := range lost {
		if !strings.Contains(r.lost[unit], "failed on order") {
			t.Errorf("%s tells of the lost unit %d: %q", r.name, unit, r.lost[unit])
		}
	}
}

// begin follows in the background; the error comes over the channel.
func (r *reader) begin(ctx context.Context) <-chan error {
	end := make(chan error, 1)
	go func() { end <- r.follow(ctx) }()
	return end
}

// valuesOf are what the units from first on are to have as values.
func valuesOf(into map[int64]string, first, last int64, item func(int64) []byte) {
	for u := first; u < last; u++ {
		into[u] = string(fakeexec.Value(u, item(u)))
	}
}

func noItem(int64) []byte { return nil }

// TestUnitsAsTheyCome: the values of an open job's units come to whoever reads them while it runs, on the node that
// submitted it and on others, each once and as it must be, while a worker and the job's home are killed; and they are
// there when the job has ended.
func TestUnitsAsTheyCome(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 5)
	c := ownCluster(t, specs...)
	g := &growing{t: t, fakeJob: fakeJob{
		Spec: fakeexec.Spec{
			Entry:  "500us",
			Bins:   97,
			Values: true,
			Fail:   map[int64]exec.Kind{1234: exec.KindException},
		},
		files:    1,
		clusters: 10,
		entries:  1000,
	}}
	req := g.request(t)
	req.StaysOpen = true
	at := c.nodes[1]
	g.id = at.submit(t, req).ID
	want := map[int64]string{}
	valuesOf(want, 0, 6000, noItem)
	delete(want, 1234)

	readers := []*reader{newReader(at, g.id), newReader(c.nodes[0], g.id), newReader(c.nodes[4], g.id)}
	var ends []<-chan error
	for _, r := range readers {
		ends = append(ends, r.begin(t.Context()))
	}
	readers[0].until(t, 1000) // the job goes on, and its results are here
	g.append(c, at, 1)
	g.append(c, at, 2)
	for _, r := range readers {
		r.until(t, 1500)
	}
	kill(t, c.nodes[3].cmd.Process.Pid)
	<-c.nodes[3].ended
	g.append(c, at, 3)
	c.nodes[3].relaunch(t, specs[3])
	check(t, c.nodes[3].waitReady())
	kill(t, at.cmd.Process.Pid) // it led the job
	<-at.ended
	readers[2].until(t, 2500)
	at.relaunch(t, specs[1])
	check(t, at.waitReady())
	for seq := uint64(3); seq <= 5; seq++ {
		g.append(c, at, seq)
	}
	if r := at.dtpnode(t, t.TempDir(), "close", g.id); r.code != 0 {
		t.Fatalf("could not close: %+v", r)
	}
	for i, end := range ends {
		if err := <-end; err != nil {
			t.Errorf("%s: %v", readers[i].name, err)
		}
		readers[i].want(t, want, 1234)
	}
	_, st := c.waitFinal(t, g.id, commandLimit)
	if st.State != api.Partial || len(st.Missing) != 1 || st.Missing[0].Units != [2]int64{1234, 1235} {
		t.Errorf("ended as %s, missing %+v", st.State, st.Missing)
	}
	for _, n := range c.nodes { // who took no part in the end, too
		check(t, n.waitReady())
		c.wantUp(t, n, len(c.nodes))
		r := newReader(n, g.id)
		check(t, r.follow(t.Context()))
		r.want(t, want, 1234)
	}
	wantUnitsCommand(t, c.nodes[2], g.id)
	at.restart(t, specs[1])
	r := newReader(at, g.id)
	check(t, r.follow(t.Context()))
	r.want(t, want, 1234)
}

// TestItemsAppended: an open job grows by items, each of which is run once, with its own bytes, while workers, the home
// and all nodes at once are killed; and their values come as they are done.
func TestItemsAppended(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 4)
	c := ownCluster(t, specs...)
	j := fakeJob{Spec: fakeexec.Spec{Entry: "2ms", Bins: 97, Values: true}}
	req := j.request(t)
	req.StaysOpen = true
	at := c.nodes[1]
	id := at.submit(t, req).ID
	g := &growing{t: t, id: id}
	const batch = 200
	item := func(u int64) []byte { return fmt.Appendf(nil, "item %d\x00%s", u, strings.Repeat("x", int(u%50))) }
	want := map[int64]string{}
	grow := func(seq uint64) {
		first := int64(seq-1) * batch
		req := api.AppendRequest{Seq: seq}
		for u := first; u < first+batch; u++ {
			req.Data = append(req.Data, item(u))
		}
		g.appendRequest(c, at, req)
		valuesOf(want, first, first+batch, item)
	}
	readers := []*reader{newReader(at, id), newReader(c.nodes[3], id)}
	var ends []<-chan error
	for _, r := range readers {
		ends = append(ends, r.begin(t.Context()))
	}
	grow(1)
	readers[1].until(t, batch)
	grow(2)
	grow(2) // its answer was lost, say
	kill(t, c.nodes[2].cmd.Process.Pid)
	<-c.nodes[2].ended
	grow(3)
	c.nodes[2].relaunch(t, specs[2])
	check(t, c.nodes[2].waitReady())
	kill(t, at.cmd.Process.Pid)
	<-at.ended
	readers[1].until(t, 3*batch) // another home has the items of the one that was killed
	at.relaunch(t, specs[1])
	check(t, at.waitReady())
	grow(4)
	for _, n := range c.nodes { // the power is cut
		kill(t, n.cmd.Process.Pid)
		<-n.ended
	}
	for i, n := range c.nodes {
		n.relaunch(t, specs[i])
	}
	check(t, at.waitReady())
	grow(5)
	file := filepath.Join(t.TempDir(), "items")
	check(t, os.WriteFile(file, []byte("one\n\nthree"), 0o600))
	for u, text := range map[int64]string{5 * batch: "one", 5*batch + 1: "", 5*batch + 2: "three"} {
		want[u] = string(fakeexec.Value(u, []byte(text)))
	}
	if r := at.dtpnode(t, t.TempDir(), "append", id, "--items", file, "--last", "--seq", "6"); r.code != 0 {
		t.Fatalf("could not append lines: %+v", r)
	}
	for i, end := range ends {
		if err := <-end; err != nil {
			t.Errorf("%s: %v", readers[i].name, err)
		}
		readers[i].want(t, want)
	}
	_, st := c.waitFinal(t, id, commandLimit)
	if st.State != api.Done || st.Units != int64(len(want)) {
		t.Errorf("ended as %s with %d units: %s", st.State, st.Units, st.Error)
	}
	c.wantSettled(t, id)
}

// TestRetryGrown: what is missing in the result of a job that grew, by files and by items, runs again with mended code,
// and the values of all its units are there.
func TestRetryGrown(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 3)
	c := ownCluster(t, specs...)
	j := fakeJob{
		Spec: fakeexec.Spec{
			Entry:  "100us",
			Bins:   97,
			Values: true,
			Fail:   map[int64]exec.Kind{150: exec.KindException, 310: exec.KindSignal},
		},
		files:    1,
		clusters: 1,
		entries:  100,
	}
	req := j.request(t)
	req.StaysOpen = true
	at := c.nodes[1]
	g := &growing{t: t, fakeJob: j, id: at.submit(t, req).ID}
	g.append(c, at, 1) // 100 to 199
	item := func(u int64) []byte { return fmt.Append(nil, "item ", u) }
	more := api.AppendRequest{Seq: 2, Close: true}
	for u := int64(200); u < 400; u++ {
		more.Data = append(more.Data, item(u))
	}
	g.appendRequest(c, at, more)
	want := map[int64]string{}
	valuesOf(want, 0, 200, noItem)
	valuesOf(want, 200, 400, item)
	_, st := c.waitFinal(t, g.id, commandLimit)
	if st.State != api.Partial || st.Committed != 398 {
		t.Fatalf("ended as %s with %d units: %s", st.State, st.Committed, st.Error)
	}
	for _, n := range c.nodes { // what was kept of it outlives the daemons
		kill(t, n.cmd.Process.Pid)
		<-n.ended
	}
	for i, n := range c.nodes {
		n.relaunch(t, specs[i])
	}
	for _, n := range c.nodes {
		check(t, n.waitReady())
		c.wantUp(t, n, len(c.nodes))
	}
	j.Fail = nil
	mended := j.request(t)
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	again, err := at.client.Retry(ctx, g.id, api.RetryRequest{Spec: mended.Spec, Title: mended.Title, Dir: t.TempDir()})
	check(t, err)
	_, st = c.waitFinal(t, again.ID, commandLimit)
	if st.State != api.Done || st.Units != 400 || st.Before != 398 || st.Open {
		t.Fatalf("the retry ended as %s with %d units, %d from before: %s", st.State, st.Units, st.Before, st.Error)
	}
	for _, n := range c.nodes {
		r := newReader(n, again.ID)
		check(t, r.follow(ctx))
		r.want(t, want)
	}
}

// wantUnitsCommand asks for units with the command.
func wantUnitsCommand(t *testing.T, n *node, id string) {
	t.Helper()
	r := n.dtpnode(t, t.TempDir(), "units", id, "10-12")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	slices.Sort(lines)
	var want []string
	for u := int64(10); u <= 12; u++ {
		want = append(want, fmt.Sprintf("%d\t%s", u, fakeexec.Value(u, nil)))
	}
	if r.code != 0 || !slices.Equal(lines, want) {
		t.Errorf("units prints %q, want %q: %+v", lines, want, r)
	}
	if r := n.dtpnode(t, t.TempDir(), "units", id, "1234"); r.code != 3 ||
		!strings.Contains(r.stdout, "1234\tmissing: exception: Process: failed on order") {
		t.Errorf("a unit that was set aside: %+v", r)
	}
	if r := n.dtpnode(t, t.TempDir(), "units", id, "5999-6000"); r.code != 1 ||
		!strings.Contains(r.stderr, "the job has 6000, from 0 on") {
		t.Errorf("a unit that there is not: %+v", r)
	}
	if r := n.dtpnode(t, t.TempDir(), "units", id, "7-6"); r.code != 2 {
		t.Errorf("a range that is none: %+v", r)
	}
}

// TestUnitsWithoutValues: of a job that keeps no values its user is told which units are committed, and why they have
// no values; of jobs that failed, or that there are not, why nothing is told.
func TestUnitsWithoutValues(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 3)...)
	j := fakeJob{Spec: fakeexec.Spec{Entry: "100us", Bins: 97}, files: 2, clusters: 10, entries: 2000}
	at := c.nodes[0]
	req := j.request(t)
	req.StaysOpen = true
	id := at.submit(t, req).ID
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	enough, why := errors.New("enough"), ""
	told := map[int64]bool{}
	err := c.nodes[2].client.Units(ctx, id, api.UnitsRequest{Last: 1000, Follow: true}, func(ev api.UnitsEvent) error {
		for _, r := range ev.Units {
			for u := r[0]; u < r[1]; u++ {
				if told[u] || u >= 1000 {
					t.Errorf("unit %d is told twice, or was not asked for", u)
				}
				told[u] = true
			}
		}
		if why += ev.NoValues; ev.Over != nil {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || len(told) != 1000 || !strings.Contains(why, "keeps no values of single units") {
		t.Errorf("told of %d units: %q: %v", len(told), why, err)
	}
	if r := at.dtpnode(t, t.TempDir(), "close", id); r.code != 0 {
		t.Fatalf("could not close: %+v", r)
	}
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
	wantNoUnits(t, at, id, http.StatusConflict, "has no values of single units: all 4000 are in its result")
	wantNoUnits(t, at, strings.Repeat("ab", 16), http.StatusNotFound, "no job")
	bad := fakeJob{Spec: fakeexec.Spec{Entry: "1ms", Bins: 97, Steps: map[string]exec.Kind{"Begin": exec.KindException}},
		files: 1, clusters: 1, entries: 10}
	failed := at.submit(t, bad.request(t)).ID
	c.waitFinal(t, failed, commandLimit)
	wantNoUnits(t, at, failed, http.StatusConflict, "it has failed")
}

// wantNoUnits asks for units of which nothing can be told.
func wantNoUnits(t *testing.T, n *node, id string, status int, says string) {
	t.Helper()
	err := n.client.Units(t.Context(), id, api.UnitsRequest{Follow: true}, func(api.UnitsEvent) error { return nil })
	var e *api.Error
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Message, says) {
		t.Errorf("units of %s: %+v, want %d: %q", id, err, status, says)
	}
}
