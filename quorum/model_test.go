package quorum_test

import (
	"container/heap"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

var (
	seeds = flag.Int("seeds", 100, "how many seeds the model runs")
	first = flag.Uint64("seed", 1, "the first of them")
)

// model is a group in virtual time: its replicas, their disks, and the network between them, all from one seed.
// Its checks hold at every step: one log, one leader a term, nothing applied is lost, no replica breaks.
type model struct {
	rnd   *rand.Rand
	now   time.Duration
	queue events
	order uint64
	sum   interface {
		Write([]byte) (int, error)
		Sum64() uint64
	}
	trace func(string, ...any) // prints a seed's trace when it is being debugged

	founders []quorum.Voter
	nodes    []*node // every incarnation that ever was
	cut      map[[2]tasks.PeerID]bool
	loss     float64
	slow     time.Duration

	log             map[uint64]quorum.Apply // by index: as the first replica applied it
	last            uint64
	leaders         map[uint64]uint64 // by term
	said            int
	lives           uint64
	cfg             quorum.Config
	sums            map[uint64]uint64 // by index: the state after it
	taken, restored int
	shown           quorum.Conf // the newest set of voters in a mandate
	shownTerm       uint64      // and the term of the last one
	shows           int
	liar            tasks.PeerID // who lies, if anybody does
	named           int          // how often somebody named it
	wrong           []string
}

type node struct {
	self    quorum.Voter
	r       *quorum.Replica
	disk    quorum.Log
	lost    bool // its disk is lost
	life    int
	wake    time.Duration
	applied uint64
	state   uint64 // a checksum of all that is applied
	leading bool
	removed bool
}

type event struct {
	at    time.Duration
	order uint64
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || (e[i].at == e[j].at && e[i].order < e[j].order)
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newModel(seed uint64, voters int) *model {
	m := &model{
		rnd:     rand.New(rand.NewPCG(seed, 0)),
		sum:     fnv.New64a(),
		cut:     map[[2]tasks.PeerID]bool{},
		slow:    5 * time.Millisecond,
		log:     map[uint64]quorum.Apply{},
		leaders: map[uint64]uint64{},
		sums:    map[uint64]uint64{},
		trace:   func(string, ...any) {},
	}
	m.cfg.CheckState = func(state []byte) error {
		if len(state) < 8 {
			return fmt.Errorf("a state of %d bytes", len(state))
		}
		return nil
	}
	for i := range voters {
		m.founders = append(m.founders, quorum.NewVoter(fmt.Sprint("p", i), 0))
	}
	for _, f := range m.founders {
		m.add(f)
	}
	m.step(m.nodes[0], quorum.Campaign{})
	return m
}

// suspect notes which peer a replica names; it must be the liar, or nobody if there is none.
func (m *model) suspect(n *node, e quorum.Suspect) {
	if e.From != m.liar {
		m.fail("%x suspects %s, who does not lie: %s", n.self.ID, e.From, e.What)
	}
	m.named++
}

func (m *model) fail(format string, a ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf("at %v: ", m.now)+fmt.Sprintf(format, a...))
}

func (m *model) after(d time.Duration, do func()) {
	m.order++
	heap.Push(&m.queue, event{m.now + d, m.order, do})
}

func (m *model) run(d time.Duration) {
	end := m.now + d
	for len(m.queue) > 0 && m.queue[0].at <= end && len(m.wrong) == 0 {
		e := heap.Pop(&m.queue).(event)
		m.now = e.at
		e.do()
	}
	m.now = end
}

func (m *model) upTo(d time.Duration) time.Duration {
	return time.Duration(m.rnd.Int64N(int64(d))) + 1
}

// add makes an incarnation of a peer as a voter that joins later, with an empty log.
func (m *model) add(self quorum.Voter) *node {
	n := &node{self: self, disk: quorum.Log{Self: self, Voters: m.founders}}
	m.nodes = append(m.nodes, n)
	m.start(n)
	return n
}

func (m *model) start(n *node) {
	m.lives++
	r, err := quorum.New(m.now, m.config(n), n.disk)
	if err != nil {
		m.fail("%v", err)
		return
	}
	m.trace("%v start %x", m.now, n.self.ID)
	n.r, n.applied, n.state, n.wake, n.leading = r, 0, 0, 0, false
	n.life++
	m.step(n, quorum.Tick{})
}

func (m *model) config(n *node) quorum.Config {
	cfg := m.cfg
	cfg.Keys, cfg.Group = keys(n.self.Peer), group
	cfg.Seed = m.lives
	return cfg
}

// takeSnapshot answers with the state. In some groups it needs many pieces, and in some an owner does not always
// answer.
func (m *model) takeSnapshot(n *node, index uint64) {
	if n.applied > index {
		m.fail("%x is asked for its state as of entry %d, having applied entry %d", n.self.ID, index, n.applied)
	}
	if m.rnd.IntN(10) == 0 {
		return
	}
	m.taken++
	state := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, n.state), n.applied)
	state = append(state, make([]byte, m.cfg.SnapshotTail*9000)...)
	m.step(n, quorum.Snapshotted{Index: index, State: state})
}

func (m *model) restore(n *node, e quorum.Restore) {
	m.restored++
	if n.leading || e.Index <= n.applied {
		m.fail("%x restores a snapshot of entry %d, having applied entry %d, leading %v", n.self.ID, e.Index, n.applied,
			n.leading)
	}
	n.state, n.applied = binary.BigEndian.Uint64(e.State), e.Index
	if last := binary.BigEndian.Uint64(e.State[8:]); n.state != m.sums[last] {
		m.fail("%x restores a snapshot of entry %d which is not what was applied", n.self.ID, e.Index)
	} else {
		for i := last + 1; i <= e.Index; i++ {
			if _, ok := m.log[i]; ok {
				m.fail("%x restores a snapshot of entry %d without entry %d", n.self.ID, e.Index, i)
			}
		}
	}
}

func (m *model) crash(n *node) {
	m.trace("%v crash %x", m.now, n.self.ID)
	n.r, n.leading = nil, false
	n.life++
}

func (m *model) step(n *node, ev quorum.Event) {
	if n.r == nil {
		return
	}
	for _, e := range n.r.Step(m.now, ev) {
		fmt.Fprintf(m.sum, "%d %x %T %s\n", m.now, n.self.ID, e, e) // %s, as data are long
		m.carry(n, e)
	}
	m.prove(n)
	if w := max(n.r.Wake(), m.now); w != n.wake {
		n.wake = w
		life := n.life
		m.after(w-m.now, func() {
			if n.life == life && n.wake == m.now {
				n.wake = 0
				m.step(n, quorum.Tick{})
			}
		})
	}
}

// prove checks that a leader's mandate is valid, also for those who know the newest one.
func (m *model) prove(n *node) {
	p, ok := n.r.Mandate()
	if !ok || p.Term <= m.shownTerm {
		return
	}
	m.shows++
	peers := make([]tasks.PeerID, 0, len(m.founders))
	for _, f := range m.founders {
		peers = append(peers, f.Peer)
	}
	if err := quorum.CheckMandate(trust(peers...), p); err != nil {
		m.fail("%x shows a mandate for term %d that does not hold: %v", n.self.ID, p.Term, err)
	}
	if p.LeaderPeer() != n.self.Peer || p.Leader != n.self.ID {
		m.fail("%x shows a mandate of %x", n.self.ID, p.Leader)
	}
	if !m.shown.Admits(p) {
		m.fail("%x shows a mandate of voters %d in term %d, after one of voters %d", n.self.ID, p.Chain.Conf().Seq, p.Term,
			m.shown.Seq)
	}
	if c := p.Chain.Conf(); c.Seq >= m.shown.Seq {
		m.shown = c
	}
	m.shownTerm = p.Term
}

func (m *model) carry(n *node, e quorum.Effect) {
	switch e := e.(type) {
	case quorum.Send:
		m.send(n, e)
	case quorum.Write:
		life := n.life
		m.after(m.upTo(m.slow), func() {
			// A write under way when the process dies may be on disk all the same.
			if n.life == life || (n.life == life+1 && m.rnd.IntN(3) == 0) {
				n.disk.Keep(e)
			}
			if n.life == life {
				m.step(n, quorum.Written{Seq: e.Seq})
			}
		})
	case quorum.Apply:
		m.apply(n, e)
	case quorum.TakeSnapshot:
		m.takeSnapshot(n, e.Index)
	case quorum.Restore:
		m.restore(n, e)
	case quorum.Role:
		m.trace("%v %x: %+v", m.now, n.self.ID, e)
		n.leading = e.Leading
		if !e.Leading {
			return
		}
		if was, ok := m.leaders[e.Term]; ok && was != n.self.ID {
			m.fail("%x and %x both lead in term %d", was, n.self.ID, e.Term)
		}
		m.leaders[e.Term] = n.self.ID
		if n.applied < m.last {
			m.fail("%x leads in term %d having applied entry %d, but %d was applied before", n.self.ID, e.Term, n.applied,
				m.last)
		}
	case quorum.Removed:
		n.removed = true
		life := n.life
		m.after(10*time.Second, func() {
			if n.life == life {
				m.crash(n)
			}
		})
	case quorum.Suspect:
		m.suspect(n, e)
	case quorum.Broken:
		m.fail("%x is broken: %s", n.self.ID, e.Reason)
	}
}

func (m *model) apply(n *node, e quorum.Apply) {
	if e.Index <= n.applied {
		m.fail("%x applies entry %d after entry %d", n.self.ID, e.Index, n.applied)
	}
	for i := n.applied + 1; i < e.Index; i++ {
		if _, ok := m.log[i]; ok {
			m.fail("%x passes over entry %d", n.self.ID, i)
		}
	}
	n.applied = e.Index
	h := fnv.New64a()
	fmt.Fprint(h, n.state, e.Index, string(e.Data))
	n.state = h.Sum64()
	if was, ok := m.sums[e.Index]; ok && was != n.state {
		m.fail("the state of %x after entry %d is another than that of others", n.self.ID, e.Index)
	}
	m.sums[e.Index] = n.state
	if was, ok := m.log[e.Index]; ok && (was.Term != e.Term || string(was.Data) != string(e.Data)) {
		m.fail("%x applies %q of term %d as entry %d, but it was %q of term %d", n.self.ID, e.Data, e.Term, e.Index, was.Data,
			was.Term)
	} else if !ok && e.Index <= m.last {
		m.fail("%x applies entry %d, which was none before entry %d", n.self.ID, e.Index, m.last)
	}
	m.log[e.Index], m.last = e, max(m.last, e.Index)
}

func (m *model) send(from *node, s quorum.Send) {
	if len(s.Frame) > quorum.MaxFrame {
		m.fail("%x sends a frame of %d bytes", from.self.ID, len(s.Frame))
	}
	copies := 1
	if m.loss > 0 && m.rnd.IntN(10) == 0 {
		copies = 2
	}
	for range copies {
		if m.rnd.Float64() < m.loss || m.cut[[2]tasks.PeerID{from.self.Peer, s.To}] {
			continue
		}
		delay := m.upTo(10 * time.Millisecond)
		if m.loss > 0 && m.rnd.IntN(20) == 0 {
			delay = m.upTo(3 * time.Second)
		}
		m.after(delay, func() {
			for _, n := range m.nodes {
				if n.self.Peer == s.To {
					m.step(n, quorum.Recv{From: from.self.Peer, Frame: s.Frame})
				}
			}
		})
	}
}

func (m *model) leader() *node {
	for _, n := range m.nodes {
		if n.r != nil && n.r.Leading() {
			return n
		}
	}
	return nil
}

func (m *model) propose() {
	if n := m.leader(); n != nil {
		m.said++
		m.step(n, quorum.Propose{Data: fmt.Appendf(nil, "proposal %d", m.said)})
	}
}

// change replaces a voter by a new voter, preferably one whose disk is lost, or changes the number of voters.
func (m *model) change() {
	n := m.leader()
	if n == nil || m.pending() {
		return
	}
	voters := slices.DeleteFunc(n.r.Voters(), func(x quorum.Voter) bool { return x == n.self })
	if len(voters) == 0 {
		return
	}
	out := voters[m.rnd.IntN(len(voters))]
	for _, x := range voters {
		if m.node(x.ID).lost {
			out = x
		}
	}
	in := m.add(quorum.NewVoter(fmt.Sprint("p", m.rnd.IntN(7)), uint64(len(m.nodes))))
	m.trace("%v %x replaces %x by %x", m.now, n.self.ID, out.ID, in.self.ID)
	switch kind := m.rnd.IntN(4); {
	case kind == 0 && len(voters) < 4 && !m.node(out.ID).lost:
		m.step(n, quorum.Change{Add: []quorum.Voter{in.self}})
	case kind == 1 && len(voters) > 2:
		m.step(n, quorum.Change{Remove: []uint64{out.ID}})
	default:
		m.step(n, quorum.Change{Add: []quorum.Voter{in.self}, Remove: []uint64{out.ID}})
	}
	if m.rnd.IntN(3) == 0 { // and hands over to the new one, in the middle of the change
		m.after(m.upTo(60*time.Millisecond), func() { m.step(n, quorum.Transfer{To: in.self.ID}) })
	}
}

// pending reports whether some replica knows of a change that not all know of: then no disk may be lost.
func (m *model) pending() bool {
	lead := m.leader()
	if lead == nil {
		return true
	}
	for _, x := range lead.r.Voters() {
		n := m.node(x.ID)
		if !n.lost && (n.r == nil || !slices.Equal(n.r.Voters(), lead.r.Voters())) {
			return true
		}
	}
	return false
}

func (m *model) node(id uint64) *node {
	return m.nodes[slices.IndexFunc(m.nodes, func(n *node) bool { return n.self.ID == id })]
}

// fault causes one random fault.
func (m *model) fault() {
	n := m.nodes[m.rnd.IntN(len(m.nodes))]
	switch m.rnd.IntN(8) {
	case 0, 1, 2:
		if n.r != nil {
			m.crash(n)
			if !n.removed && !n.lost {
				m.after(m.upTo(4*time.Second), func() { m.restart(n) })
			}
		}
	case 3:
		for _, n := range m.nodes { // all at once, as when the power goes
			if n.r != nil && m.rnd.IntN(4) > 0 {
				m.crash(n)
				m.after(m.upTo(time.Second), func() { m.restart(n) })
			}
		}
	case 4:
		a, b := fmt.Sprint("p", m.rnd.IntN(7)), fmt.Sprint("p", m.rnd.IntN(7))
		m.cut[[2]tasks.PeerID{a, b}] = true // one way
		if m.rnd.IntN(2) == 0 {
			m.cut[[2]tasks.PeerID{b, a}] = true
		}
		m.after(m.upTo(5*time.Second), func() { delete(m.cut, [2]tasks.PeerID{a, b}); delete(m.cut, [2]tasks.PeerID{b, a}) })
	case 5:
		if lead := m.leader(); lead != nil && !m.pending() &&
			!slices.ContainsFunc(lead.r.Voters(), func(x quorum.Voter) bool {
				return m.node(x.ID).lost
			}) {
			if x := lead.r.Voters(); len(x) > 2 {
				n := m.node(x[m.rnd.IntN(len(x))].ID)
				n.lost = true
				m.crash(n)
			}
		}
	default:
		m.change()
	}
}

func (m *model) restart(n *node) {
	if n.r == nil && !n.lost {
		m.start(n)
	}
}

// play runs faults for a while, then none, and checks that the group works again.
func (m *model) play() {
	m.run(2 * time.Second) // a group that never began is up to its founder
	m.loss, m.slow = []float64{0, 0.05, 0.3}[m.rnd.IntN(3)], []time.Duration{time.Millisecond, 30 * time.Millisecond,
		300 * time.Millisecond}[m.rnd.IntN(3)]
	for range 100 {
		m.run(m.upTo(400 * time.Millisecond))
		m.propose()
		if m.rnd.IntN(4) == 0 {
			m.fault()
		}
	}
	m.loss, m.slow = 0, time.Millisecond
	clear(m.cut)
	for _, n := range m.nodes {
		m.restart(n)
	}
	m.run(20 * time.Second)
	m.propose()
	m.run(2 * time.Second)
	m.calm()
}

func (m *model) calm() {
	if len(m.wrong) > 0 {
		return
	}
	lead := m.leader()
	if lead == nil {
		m.fail("nobody leads after 20 s of calm")
		return
	}
	want := fmt.Sprintf("proposal %d", m.said)
	if got := string(m.log[m.last].Data); got != want {
		m.fail("%q is not applied, the last is %q", want, got)
	}
	if _, term := lead.r.Leader(); m.shownTerm != term {
		m.fail("%x has no mandate for term %d", lead.self.ID, term)
	}
	if got := lead.r.Chain().Conf().Voters; !lead.r.Changing() && !slices.Equal(got, lead.r.Voters()) {
		m.fail("%x proves voters %v: they are %v", lead.self.ID, got, lead.r.Voters())
	}
	for _, x := range lead.r.Voters() {
		n := m.node(x.ID)
		if n.lost {
			continue
		}
		if p, _ := n.r.Leader(); p != lead.self.Peer || n.applied != m.last {
			m.fail("%x follows %s and has applied %d: %s leads and %d is the last", x.ID, p, n.applied, lead.self.Peer, m.last)
		}
	}
}

func play(seed uint64) *model {
	m := newModel(seed, 3+int(seed%3))
	m.cfg.SnapshotEntries, m.cfg.SnapshotTail, m.cfg.MaxFrame = []int{0, 4, 8, 30}[seed%4], int(seed%3), []int{0,
		4 << 10}[seed/2%2]
	for _, n := range m.nodes {
		m.crash(n)
		m.start(n)
	}
	m.step(m.nodes[0], quorum.Campaign{})
	m.play()
	return m
}

func TestModel(t *testing.T) {
	var applied, changes, terms, taken, restored int
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		m := play(seed)
		for _, w := range m.wrong {
			t.Fatalf("seed %d (go test ./quorum -run TestModel -seeds 1 -seed %d): %s", seed, seed, w)
		}
		applied, changes, terms = applied+len(m.log), changes+len(m.nodes), terms+len(m.leaders)
		taken, restored = taken+m.taken, restored+m.restored
	}
	t.Logf("%d seeds: %d entries applied, %d voters, %d leaders, %d snapshots taken and %d restored", *seeds, applied,
		changes, terms, taken, restored)
	if *seeds >= 100 && (taken < 500 || restored < 100) {
		t.Error("hardly any snapshots")
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		a, b, c := play(seed), play(seed), play(seed+100)
		if a.sum.Sum64() != b.sum.Sum64() {
			t.Errorf("seed %d has two traces", seed)
		}
		if a.sum.Sum64() == c.sum.Sum64() {
			t.Errorf("seeds %d and %d have one trace", seed, seed+100)
		}
	}
}
