package steal

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

const jobID = tasks.JobID("job")

func dataset(t interface{ Fatal(...any) }, files ...int64) *tasks.Dataset {
	var fs []tasks.File
	for i, n := range files {
		fs = append(fs, tasks.File{URL: fmt.Sprint("f", i), Entries: n})
	}
	d, err := tasks.NewDataset(fs)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// one is a scheduler with a job, and the peers v and w, of which v has shown before that it does what it takes.
func one(t *testing.T, slots int, rate float64, files ...int64) *Scheduler {
	s, err := New(Config{Self: "s", Slots: slots, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.Step(0, PeerUp{ID: "v", Slots: 64})
	s.Step(0, PeerUp{ID: "w", Slots: 64})
	s.Step(0, Open{Job: jobID, Home: "s", Data: dataset(t, files...), Rate: rate})
	s.job(jobID).creditOf("v").size = math.MaxInt64 / 4
	return s
}

func grants(effects []Effect) (out []Grant) {
	for _, e := range effects {
		if m, ok := e.(Send); ok && m.Msg.Grant != nil {
			out = append(out, *m.Msg.Grant)
		}
	}
	return out
}

func ask(s *Scheduler, now time.Duration, rate float64, slots int) []Grant {
	return grants(
		s.Step(
			now,
			Recv{
				From: "v",
				Msg:  Message{Request: &Request{ID: 5, Slots: slots, Jobs: []tasks.JobID{jobID}, Rates: []float64{rate}}},
			},
		),
	)
}

// TestThiefKnowsHowFarAJobHasGrown: of an open job it asks for what it knows of and nothing else, and a victim that
// knows more gives no more than that; once it is closed nothing is said of it.
func TestThiefKnowsHowFarAJobHasGrown(t *testing.T) {
	thief, err := New(Config{Self: "v", Slots: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	data := dataset(t, 100)
	thief.Step(0, PeerUp{ID: "s", Slots: 1})
	first := thief.Step(0, Open{Job: jobID, Home: "s", Data: data, Open: true})
	if err := data.Append([]tasks.File{{URL: "more", Entries: 900}}); err != nil {
		t.Fatal(err)
	}
	victim := one(t, 1, 0, 100, 900)
	victim.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 1000))})
	request := func(effects []Effect) *Request {
		for _, e := range effects {
			if m, ok := e.(Send); ok && m.Msg.Request != nil {
				return m.Msg.Request
			}
		}
		t.Fatalf("it asks for nothing: %+v", effects)
		return nil
	}
	got := grants(victim.Step(0, Recv{From: "v", Msg: Message{Request: request(first)}}))
	if len(got) != 1 || !got[0].Ranges.Valid(tasks.R(0, 100)) {
		t.Fatalf("it is given %+v", got)
	}
	refuse := &Refuse{Request: request(first).ID}
	thief.Step(0, Recv{From: "s", Msg: Message{Refuse: refuse}})
	later := thief.Step(time.Second, Grow{Job: jobID, Want: data.Space()})
	if q := request(later); len(q.Blind) != 0 {
		t.Errorf("the job is closed, and it does not ask for %v", q.Blind)
	}
	got = grants(victim.Step(time.Second, Recv{From: "v", Msg: Message{Request: request(later)}}))
	beyond := func(g Grant) bool { return g.Request == request(later).ID && !g.Ranges.Valid(tasks.R(0, 100)) }
	if !slices.ContainsFunc(got, beyond) {
		t.Errorf("then it is given %+v", got)
	}
}

// TestShareByRates gives a thief what lets both end at one time.
func TestShareByRates(t *testing.T) {
	for _, c := range []struct {
		name         string
		mine, theirs float64 // units/s of the whole node
		want         float64 // share of the waiting units
	}{
		{"equal", 1000, 1000, 0.5},
		{"thief five times faster", 1000, 5000, 5. / 6},
		{"thief five times slower", 5000, 1000, 1. / 6},
		{"unknown counts as equal slots", 1000, 0, 0.5},
		{"not a number", 1000, math.NaN(), 0.5},
		{"infinite", 1000, math.Inf(1), 0.5},
		{"negative", 1000, -3, 0.5},
	} {
		s := one(t, 1, c.mine, 1_000_000)
		s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 1_000_000))})
		got := ask(s, 0, c.theirs, 1)
		if len(got) != 1 {
			t.Fatalf("%s: %d grants", c.name, len(got))
		}
		if share := float64(got[0].Ranges.Len()) / 1e6; math.Abs(share-c.want) > 0.02 {
			t.Errorf("%s: %.3f of the work, want %.3f", c.name, share, c.want)
		}
	}
}

// TestRateIsMeasured tells of no rate but one that was measured here, whatever a job with the same code did before.
func TestRateIsMeasured(t *testing.T) {
	for _, guess := range []float64{0, 10, 500, 400_000} {
		for _, real := range []float64{500, 20_000} {
			s := one(t, 1, guess, 1_000_000)
			if got := s.Rate(jobID); got != 0 {
				t.Errorf("%g units/s before anything has run", got)
			}
			j := s.job(jobID)
			for i := range 100 {
				n := max(j.units(100*time.Millisecond), 1)
				n = min(n, int64(real)) // a packet that takes too long is cut
				j.measure(n, time.Duration(float64(n)/real*float64(time.Second)), false)
				if got := s.Rate(jobID); math.Abs(got/real-1) > 0.2 {
					t.Errorf("guess %g: %g units/s after %d packets, want about %g", guess, got, i+1, real)
				}
			}
		}
	}
}

// TestWholeFilesFirst cuts at a file's end where one is near.
func TestWholeFilesFirst(t *testing.T) {
	s := one(t, 1, 1000, 60_000, 40_000)
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 100_000))})
	if got := ask(s, 0, 1000, 1); len(got) != 1 || !got[0].Ranges.Equal(tasks.CoverOf(tasks.R(60_000, 100_000))) {
		t.Errorf("%v, want the second file", got)
	}
}

// TestTooLittleIsNotStolen: never less than two of the smallest packets, and nothing that is done here
// before it could be there.
func TestTooLittleIsNotStolen(t *testing.T) {
	const rate = 10_000 // 80 units in 8 ms
	for _, c := range []struct{ waiting, least, most int64 }{
		{10, 0, 0}, {100, 0, 0}, {400, 160, 400}, {10_000, 160, 10_000},
	} {
		s := one(t, 1, rate, 1_000_000)
		s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 8000))})
		j := s.job(jobID)
		j.pool, j.gens[0].task = tasks.CoverOf(tasks.R(900_000, 900_000+c.waiting)), tasks.Range{}
		j.gens[0].leases = nil
		var n int64
		for _, g := range ask(s, 0, rate, 1) {
			n += g.Ranges.Len()
		}
		if n < c.least || n > c.most {
			t.Errorf("%d units waiting: %d were given, want %d to %d", c.waiting, n, c.least, c.most)
		}
	}
}

// TestGrantIsRepeatedUntilAnswered holds the units meanwhile, and takes them back from one who never
// answers.
func TestGrantIsRepeatedUntilAnswered(t *testing.T) {
	s := one(t, 1, 1000, 100_000)
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 100_000))})
	first := ask(s, 0, 1000, 1)[0]
	if again := grants(s.Step(time.Second, Tick{})); len(again) != 1 || again[0].ID != first.ID ||
		!again[0].Ranges.Equal(first.Ranges) {
		t.Fatalf("repeated: %v", again)
	}
	if s.Held(jobID).Len() != 100_000 {
		t.Fatal("what was granted is not held until it is acknowledged")
	}
	s.Step(2*time.Second, Recv{From: "w", Msg: Message{Ack: &Ack{ID: first.ID, Job: jobID, OK: true}}})
	if s.Held(jobID).Len() != 100_000 {
		t.Fatal("an acknowledgement of a stranger was believed")
	}
	s.Step(time.Minute, Tick{})
	if again := grants(s.Step(time.Hour, Tick{})); len(again) > 0 || s.Held(jobID).Len() != 100_000 {
		t.Fatalf("after an hour: %v, holds %d", again, s.Held(jobID).Len())
	}
}

// TestRepeatedGrantIsTakenOnce, and answered as it was the first time.
func TestRepeatedGrantIsTakenOnce(t *testing.T) {
	s := one(t, 1, 1000, 100_000)
	g := Recv{From: "v", Msg: Message{Grant: &Grant{ID: 3, Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 10))}}}
	for i := range 3 {
		ok := false
		for _, e := range s.Step(0, g) {
			if m, is := e.(Send); is && m.Msg.Ack != nil {
				ok = m.Msg.Ack.OK
			}
			if l, is := e.(Lease); is {
				s.Step(0, PacketDone{Gen: l.Gen, Packet: l.Packet, Last: l.Packet.Last, Elapsed: time.Millisecond})
			}
		}
		if !ok {
			t.Fatalf("grant %d was not acknowledged", i)
		}
	}
	for _, gen := range s.gens {
		s.Step(time.Second, GenSealed{Gen: gen.id})
	}
	if left := s.Held(jobID); !left.Empty() {
		t.Fatalf("taken again: %v", left)
	}
}

func TestBadGrantsAreRefused(t *testing.T) {
	for _, c := range []tasks.Cover{
		nil, {tasks.R(-1, 5)}, {tasks.R(0, 11)}, {tasks.R(5, 2)}, {tasks.R(4, 6), tasks.R(0, 2)},
		{tasks.R(math.MinInt64, math.MaxInt64)}} {
		s := one(t, 1, 0, 10)
		for _, e := range s.Step(0, Recv{From: "v", Msg: Message{Grant: &Grant{ID: 3, Job: jobID, Ranges: c}}}) {
			if m, is := e.(Send); is && m.Msg.Ack != nil && m.Msg.Ack.OK {
				t.Errorf("accepted %v", c)
			}
		}
		if !s.Held(jobID).Empty() {
			t.Errorf("holds %v after %v", s.Held(jobID), c)
		}
	}
}

// TestKillsWhatIsTainted: a generation that has done committed units is killed, and the rest of its
// units runs again.
func TestKillsWhatIsTainted(t *testing.T) {
	s := one(t, 1, 1000, 1000)
	var lease Lease
	for _, e := range s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 1000))}) {
		if l, ok := e.(Lease); ok && lease.Packet.Empty() {
			lease = l
		}
	}
	s.Step(
		time.Millisecond,
		PacketDone{Gen: lease.Gen, Packet: lease.Packet, Last: lease.Packet.Last, Elapsed: time.Millisecond},
	)
	done := tasks.CoverOf(tasks.R(0, 1))
	killed := false
	for _, e := range s.Step(2*time.Millisecond, Drop{Job: jobID, Cover: done}) {
		k, ok := e.(Kill)
		killed = killed || (ok && k.Gen == lease.Gen)
	}
	if want := tasks.CoverOf(tasks.R(1, 1000)); !killed || !s.Held(jobID).Equal(want) {
		t.Errorf("killed %v, holds %v", killed, s.Held(jobID))
	}
}

// TestOver31Bits seeds, steals and finishes ranges beyond 2^31 and 2^32 units.
func TestOver31Bits(t *testing.T) {
	const n = int64(5) << 31
	s := one(t, 1, 1e6, n, n)
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 2*n))})
	got := ask(s, 0, 1e6, 1)
	if len(got) != 1 || !got[0].Ranges.Equal(tasks.CoverOf(tasks.R(n, 2*n))) {
		t.Fatalf("granted %v", got)
	}
	if s.Held(jobID).Len() != 2*n {
		t.Fatal(s.Held(jobID))
	}
	if left := s.Left(jobID); left < time.Hour {
		t.Fatalf("left %v for %d units", left, n)
	}
}

// town is a few schedulers and the messages between them.
type town struct {
	*rapid.T
	now    time.Duration
	nodes  []*citizen
	mail   []letter
	data   *tasks.Dataset
	want   tasks.Cover
	sealed tasks.Cover // in partials
	blamed tasks.Cover
}

type citizen struct {
	id    tasks.PeerID
	s     *Scheduler
	gens  map[GenID]*child
	order []GenID
	left  bool
}

type child struct {
	leases []tasks.Range
	cut    bool
	seal   bool
	cover  tasks.Cover
}

type letter struct {
	from, to int
	msg      Message
}

func newTown(t *rapid.T) *town {
	scale := rapid.SampledFrom([]int64{1, 1 << 31}).Draw(t, "scale")
	w := &town{T: t, data: dataset(t, 500*scale, 300*scale, 200*scale)}
	w.want = tasks.CoverOf(w.data.Space())
	n := rapid.IntRange(2, 4).Draw(t, "nodes")
	for i := range n {
		s, err := New(Config{
			Self:       fmt.Sprint("n", i),
			Slots:      rapid.IntRange(1, 2).Draw(t, "slots"),
			Seed:       uint64(i + 1),
			Generation: 2 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, &citizen{id: fmt.Sprint("n", i), s: s, gens: map[GenID]*child{}})
	}
	for i := range n {
		for j := range n {
			if i != j {
				w.step(i, PeerUp{ID: w.nodes[j].id, Slots: 64})
			}
		}
		w.step(i, Open{Job: jobID, Home: "n0", Data: w.data, Rate: float64(scale) * 500})
	}
	w.step(0, Work{Job: jobID, Ranges: w.want})
	return w
}

// step feeds one event to node i and models what it wants done; children act when told to, by work.
func (w *town) step(i int, ev Event) {
	n := w.nodes[i]
	for _, e := range n.s.Step(w.now, ev) {
		switch e := e.(type) {
		case Send:
			w.mail = append(w.mail, letter{i, int(e.To[1] - '0'), e.Msg})
		case Start:
			n.gens[e.Gen] = &child{}
			n.order = append(n.order, e.Gen)
		case Lease:
			g := n.gens[e.Gen]
			g.leases = append(g.leases, e.Packet)
			if len(g.leases) > 2 {
				w.Fatalf("%d packets leased to one generation", len(g.leases))
			}
		case Preempt:
			n.gens[e.Gen].cut = true
		case Seal:
			if g := n.gens[e.Gen]; len(g.leases) > 0 || !g.cover.Equal(e.Cover) {
				w.Fatalf("seals %v, with %v out; done is %v", e.Cover, g.leases, g.cover)
			}
			n.gens[e.Gen].seal = true
		case Kill:
			n.drop(e.Gen)
		}
	}
}

func (n *citizen) drop(id GenID) {
	delete(n.gens, id)
	n.order = slices.DeleteFunc(n.order, func(o GenID) bool { return o == id })
}

// check is the one invariant: every unit is held by somebody, in a partial, or blamed.
func (w *town) check() {
	have := w.sealed.Union(w.blamed)
	for _, n := range w.nodes {
		have = have.Union(n.s.Held(jobID))
	}
	if lost := w.want.Minus(have); !lost.Empty() {
		w.Fatalf("units %v are lost", lost)
	}
}

// work lets a child of node i finish its packet, whole or cut, or seal; or fail.
func (w *town) work(i int, fail bool) {
	n := w.nodes[i]
	if len(n.order) == 0 {
		return
	}
	id := n.order[int(w.now/time.Millisecond)%len(n.order)]
	g := n.gens[id]
	switch {
	case fail && len(g.leases) > 0:
		blame := tasks.CoverOf(tasks.R(g.leases[0].First, g.leases[0].First+1))
		w.blamed = w.blamed.Union(blame)
		n.drop(id)
		w.step(i, GenFailed{Gen: id, Blame: blame, Pause: 10 * time.Millisecond})
	case g.seal:
		w.sealed = w.sealed.Union(g.cover)
		n.drop(id)
		w.step(i, GenSealed{Gen: id})
	case len(g.leases) > 0:
		p := g.leases[0]
		g.leases = g.leases[1:]
		last := p.Last
		if g.cut {
			last, g.cut = p.First+p.Len()/2, false
		}
		g.cover = g.cover.Add(tasks.R(p.First, last))
		w.step(i, PacketDone{Gen: id, Packet: p, Last: last, Elapsed: 20 * time.Millisecond})
	}
}

func (w *town) deliver(k int) {
	l := w.mail[k]
	w.mail = slices.Delete(w.mail, k, k+1)
	w.step(l.to, Recv{From: w.nodes[l.from].id, Msg: l.msg})
}

// act does one thing by chance.
func (w *town) act() {
	i := rapid.IntRange(0, len(w.nodes)-1).Draw(w.T, "node")
	switch rapid.IntRange(0, 15).Draw(w.T, "act") {
	case 0, 1, 2, 3, 4:
		if len(w.mail) > 0 {
			w.deliver(rapid.IntRange(0, len(w.mail)-1).Draw(w.T, "letter"))
		}
	case 5:
		if len(w.mail) > 0 { // lost
			k := rapid.IntRange(0, len(w.mail)-1).Draw(w.T, "letter")
			w.mail = slices.Delete(w.mail, k, k+1)
		}
	case 6:
		if len(w.mail) > 0 { // twice
			w.mail = append(w.mail, w.mail[rapid.IntRange(0, len(w.mail)-1).Draw(w.T, "letter")])
		}
	case 7, 8, 9, 10:
		w.work(i, false)
	case 11:
		w.work(i, true)
	case 12:
		w.now += time.Duration(rapid.IntRange(1, 900).Draw(w.T, "ms")) * time.Millisecond
		w.step(i, Tick{})
	case 13:
		w.step(i, Drop{Job: jobID, Cover: w.sealed})
	case 14:
		deal := Deal{Job: jobID, To: w.nodes[i].id, Units: rapid.Int64Range(0, 600).Draw(w.T, "units")}
		for _, n := range w.nodes[:rapid.IntRange(0, len(w.nodes)-1).Draw(w.T, "others")] {
			deal.Others = append(deal.Others, Share{ID: n.id, Slots: 1})
		}
		w.step(0, deal)
	case 15:
		w.comeAndGo(i)
	}
}

func (w *town) comeAndGo(i int) {
	j := (i + 1) % len(w.nodes)
	switch {
	case rapid.Bool().Draw(w.T, "down"):
		w.step(j, PeerDown{ID: w.nodes[i].id})
	case rapid.Bool().Draw(w.T, "up"):
		w.step(j, PeerUp{ID: w.nodes[i].id, Slots: 64})
	case i > 0 && !w.nodes[i].left:
		w.nodes[i].left = true
		w.step(i, Leave{})
	}
}

// settle plays on without loss until nobody has anything to do.
func (w *town) settle() bool {
	for i := range w.nodes {
		for j := range w.nodes {
			if i != j {
				w.step(i, PeerUp{ID: w.nodes[j].id, Slots: 64})
			}
		}
	}
	for round := range 5000 {
		for n := len(w.mail); n > 0; n-- {
			w.deliver(0)
		}
		for i := range w.nodes {
			w.step(i, Tick{})
			w.work(i, false)
		}
		w.now += 7 * time.Millisecond
		if round%20 == 0 && !slices.ContainsFunc(w.nodes, func(n *citizen) bool { return !n.s.Idle(jobID) }) {
			return true
		}
	}
	return false
}

// TestNothingIsLost lets schedulers exchange messages that are lost, repeated and late, with children
// that fail, peers that come and go, and ranges beyond 2^31.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTown(t)
		w.check()
		for range rapid.IntRange(1, 120).Draw(t, "acts") {
			w.act()
			w.check()
		}
		if !w.settle() {
			for _, n := range w.nodes {
				t.Logf("%s left %v holds %v, generations %d", n.id, n.left, n.s.Held(jobID), len(n.gens))
			}
			t.Fatal("does not come to an end")
		}
		w.check()
		if open := w.want.Minus(w.sealed).Minus(w.blamed); !open.Empty() {
			t.Fatalf("%v was never done", open)
		}
	})
}

// TestRestBooksNothing: work that was forgotten at what seemed the end of a job can be given out again.
func TestRestBooksNothing(t *testing.T) {
	s := one(t, 1, 1000, 1000)
	work := tasks.CoverOf(tasks.R(0, 1000))
	s.Step(0, Work{Job: jobID, Ranges: work})
	s.Step(time.Millisecond, Rest{Job: jobID})
	if !s.Held(jobID).Empty() || s.Busy() > 0 {
		t.Fatalf("holds %v in %d generations", s.Held(jobID), s.Busy())
	}
	s.Step(time.Second, Work{Job: jobID, Ranges: work})
	if !s.Held(jobID).Equal(work) {
		t.Errorf("holds %v", s.Held(jobID))
	}
}

// TestHandBackIsNotHurried: a home that does not take work back yet is not asked at the pace of the network.
func TestHandBackIsNotHurried(t *testing.T) {
	s, err := New(Config{Self: "s", Slots: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.Step(0, PeerUp{ID: "v", Slots: 64})
	s.Step(0, Open{Job: jobID, Home: "v", Data: dataset(t, 1000), Rate: 1000})
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 1000))})
	out, sent := grants(s.Step(0, Leave{})), 0
	for now := time.Duration(0); now < 10*time.Second; now += time.Millisecond {
		for _, g := range out {
			sent++
			out = grants(s.Step(now, Recv{From: "v", Msg: Message{Ack: &Ack{ID: g.ID, Job: jobID}}}))
		}
		out = append(out, grants(s.Step(now, Tick{}))...)
	}
	if sent < 10 || sent > 40 {
		t.Errorf("handed back %d times in 10 s", sent)
	}
}

// sealsIn runs a scheduler whose slot does a packet each 100 ms, and whose outputs take a time to be sealed, and counts
// the outputs until then.
func sealsIn(t *testing.T, until, sealing time.Duration, full bool) (seals int) {
	s, err := New(Config{Self: "s", Slots: 1, Seed: 1, Generation: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	type due struct {
		at time.Duration
		ev Event
	}
	queue := []due{
		{0, Open{Job: jobID, Home: "s", Data: dataset(t, 1_000_000_000), Rate: 1000}},
		{0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 1_000_000_000))}},
	}
	free := time.Duration(0)
	for len(queue) > 0 && queue[0].at < until {
		d := queue[0]
		queue = queue[1:]
		for _, e := range s.Step(d.at, d.ev) {
			switch e := e.(type) {
			case Start: // the first one begins while there is room
				queue = append(queue, due{d.at, Full{On: full}})
			case Lease:
				free = max(free, d.at) + 100*time.Millisecond
				done := PacketDone{Gen: e.Gen, Packet: e.Packet, Last: e.Packet.Last, Elapsed: 100 * time.Millisecond}
				queue = append(queue, due{free, done})
			case Seal:
				seals++
				queue = append(queue, due{d.at + sealing, GenSealed{Gen: e.Gen}})
			}
		}
		slices.SortStableFunc(queue, func(a, b due) int { return int(a.at - b.at) })
	}
	return seals
}

// TestSealingTakesItsShare lets generations live longer whose outputs take long to be sealed.
func TestSealingTakesItsShare(t *testing.T) {
	for sealing, want := range map[time.Duration][2]int{
		10 * time.Millisecond: {80, 100},
		3 * time.Second:       {9, 13},
		20 * time.Second:      {1, 2},
	} {
		seals := sealsIn(t, 100*time.Second, sealing, false)
		if seals < want[0] || seals > want[1] {
			t.Errorf("sealing takes %s: %d outputs in 100 s, want %v", sealing, seals, want)
		}
	}
}

// TestNoRoomNoSeal has a generation go on, and not wait, where there is no room for its output.
func TestNoRoomNoSeal(t *testing.T) {
	if n := sealsIn(t, 100*time.Second, 10*time.Millisecond, true); n != 0 {
		t.Errorf("%d outputs were to be sealed without room", n)
	}
}

// TestRetiredGenerationIsSealed has a generation run nothing more: what it has done is sealed, and what it has not is
// run by another one, which begins after a pause where the disk takes no more of the output.
func TestRetiredGenerationIsSealed(t *testing.T) {
	for name, retired := range map[string]PacketDone{"full": {Full: true}, "worn": {Worn: true}} {
		t.Run(name, func(t *testing.T) { retire(t, retired) })
	}
}

func retire(t *testing.T, done PacketDone) {
	s := one(t, 1, 1000, 10_000)
	var leased []Lease
	for _, e := range s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 10_000))}) {
		if e, ok := e.(Lease); ok {
			leased = append(leased, e)
		}
	}
	if len(leased) != 2 {
		t.Fatalf("%d packets are out", len(leased))
	}
	var out []Effect
	last := leased[0].Packet.First + 3
	for _, l := range leased {
		done.Gen, done.Packet, done.Last = l.Gen, l.Packet, last
		out = append(out, s.Step(time.Second, done)...)
	}
	i := slices.IndexFunc(out, func(e Effect) bool { _, ok := e.(Seal); return ok })
	if i < 0 || !slices.Equal(out[i].(Seal).Cover, tasks.CoverOf(tasks.R(0, 3))) {
		t.Fatalf("it is not sealed with what it has done: %+v", out)
	}
	starts := func(at time.Duration, ev Event) int {
		return len(slices.DeleteFunc(s.Step(at, ev), func(e Effect) bool { _, ok := e.(Start); return !ok }))
	}
	begun := starts(time.Second, GenSealed{Gen: leased[0].Gen})
	if done.Full {
		if begun != 0 {
			t.Error("another begins at once")
		}
		if held := s.Held(jobID); !slices.Equal(held, tasks.CoverOf(tasks.R(3, 10_000))) {
			t.Errorf("what it has not done is %v", held)
		}
		begun = starts(time.Second+fullPause, Tick{})
	}
	if begun != 1 {
		t.Errorf("%d begin", begun)
	}
	if held := s.Held(jobID); !slices.Equal(held, tasks.CoverOf(tasks.R(3, 10_000))) {
		t.Errorf("what it has not done is %v", held)
	}
}

// TestOneSlotServesAllJobs has three jobs wait for one slot: none of them has it twice before the others had it.
func TestOneSlotServesAllJobs(t *testing.T) {
	s, err := New(Config{Self: "s", Slots: 1, Seed: 1, Generation: time.Second, Packet: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	jobs := []tasks.JobID{"a", "b", "c"}
	var effects []Effect
	for _, id := range jobs {
		s.Step(0, Open{Job: id, Home: "s", Data: dataset(t, 1_000_000), Rate: 1000})
		effects = append(effects, s.Step(0, Work{Job: id, Ranges: tasks.CoverOf(tasks.R(0, 1_000_000))})...)
	}
	var order []tasks.JobID
	for now := time.Duration(0); len(effects) > 0 && len(order) < 9; {
		e := effects[0]
		effects = effects[1:]
		switch e := e.(type) {
		case Start:
			order = append(order, e.Job)
		case Lease:
			now += 100 * time.Millisecond
			done := PacketDone{Gen: e.Gen, Packet: e.Packet, Last: e.Packet.Last, Elapsed: 100 * time.Millisecond}
			effects = append(effects, s.Step(now, done)...)
		case Seal:
			effects = append(effects, s.Step(now, GenSealed{Gen: e.Gen})...)
		}
	}
	if want := []tasks.JobID{"a", "b", "c", "a", "b", "c", "a", "b", "c"}; !slices.Equal(order, want) {
		t.Errorf("the slot served %v, want %v", order, want)
	}
}
