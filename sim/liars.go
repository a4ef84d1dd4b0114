package sim

import (
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/modelkeys"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Role is the part that a lying member has in the job.
type Role string

// Roles. A liar speaks under its own identity, and has no right and no role beside this one.
const (
	LyingWorker   Role = "worker"   // it works for the job, and is never a replica
	LyingFollower Role = "follower" // it is one of the replicas, and does not lead
	LyingHome     Role = "home"     // the job's submitter
)

// LiarAllowance is Allowance where members lie. Beside the usual time-outs these must pass, perhaps one after the other:
// a merge that was ordered and is never offered is given up (2 min), and what is held and makes no progress runs
// elsewhere (1 min).
const LiarAllowance = 4 * time.Minute

// shunAfter is how many messages that no honest node sends a node takes from a peer before it closes the link, and
// shunFor how long it refuses the peer then. The daemon does the same.
const (
	shunAfter = 5
	shunFor   = 60 * time.Second
)

// maxHeard bounds what a liar remembers of the traffic that it sees.
const maxHeard = 256

// liar is what a lying member does beside, or instead of, following the protocol.
type liar struct {
	since  time.Duration
	heard  []engine.Message // real traffic, to be sent on as it is or changed
	every  time.Duration    // between lies, at least
	hog    bool             // it never finishes a packet
	greedy bool             // it claims to hold all units, for ever
	empty  bool             // it claims to hold nothing
	lazy   bool             // it never offers a merge that was ordered or gathered
	mute   float64          // share of what it ought to send that it does not
	twist  float64          // share of what it sends that is changed
	keeps  bool             // it says that it keeps what it was asked to, and does not
	lies   []func(*world, *node) (engine.Message, bool)
	seq    uint64
}

// Lying is a run in which some members lie, in a way that the seed decides.
func Lying(seed uint64) Config {
	c := Config{Seed: seed, Nodes: 10 + int(seed%3)*6, Slots: 1 + int(seed%2), Units: 12_000 + int64(seed%7)*1_000, Files: 10, Replicas: 3,
		Packet: 200 * time.Millisecond, UnitTime: 5 * time.Millisecond, Latency: time.Duration(1+seed%3) * time.Millisecond,
		Calm: 2 * time.Second, Deal: seed%2 == 0, Liars: 1, Blob: time.Duration(seed%3) * 5 * time.Millisecond}
	c.Liar = LyingWorker
	if seed%4 == 2 && c.Liar != LyingHome {
		c.Drop, c.Repeat, c.Delay = 0.03, 0.03, 0.02
	}
	if seed%7 == 5 && c.Liar == LyingWorker {
		c.Crashes = 2
	}
	if seed%6 == 1 {
		c.Poison = []int64{17, 3_456}
	}
	return c
}

// Usurping is a run in which members lie about who they are in the job, too, and send anything.
func Usurping(seed uint64) Config {
	c := Lying(seed)
	c.Usurp = true
	switch seed % 5 {
	case 3:
		c.Liar, c.Liars = LyingFollower, 1
	case 4:
		c.Liar, c.Liars = LyingHome, 1
		if seed%10 == 9 { // of a job beside the one that is looked at
			c.Liar, c.Second = LyingWorker, true
		}
	}
	return c
}

// planLiars chooses who lies, and from when on.
func (w *world) planLiars() {
	switch w.cfg.Liar {
	case LyingWorker:
		for i := range min(w.cfg.Liars, w.cfg.Nodes-4) {
			n := w.nodes[w.cfg.Nodes-1-i]
			n.honest = false
			w.after(w.random(w.cfg.Calm), func() { w.turn(n) })
		}
	case LyingHome:
		n := w.nodes[home]
		n.honest = false
		w.after(w.between(300*time.Millisecond, w.cfg.Calm), func() { w.turn(n) })
	case LyingFollower:
		w.after(w.between(time.Second, w.cfg.Calm), w.turnFollower)
	}
}

// turnFollower lets a replica that does not lead lie, as soon as there are three.
func (w *world) turnFollower() {
	if w.ended {
		return
	}
	if lead := w.leader(); lead != nil {
		v, _ := lead.peer.Ledger(w.id)
		var followers []*node
		for _, m := range v.Voters {
			if n := w.nodes[w.index[m.Peer]]; n != lead {
				followers = append(followers, n)
			}
		}
		if len(v.Voters) == 3 && !v.Changing {
			n := followers[w.rng.IntN(2)]
			n.honest = false
			w.turn(n)
			return
		}
	}
	w.after(100*time.Millisecond, w.turnFollower)
}

// turn makes a liar of a node.
func (w *world) turn(n *node) {
	coin := func(one int) bool { return w.rng.IntN(one) == 0 }
	l := &liar{since: w.now, every: w.between(3*time.Millisecond, 200*time.Millisecond), seq: 1 << 40,
		hog: coin(3), greedy: coin(4), empty: coin(6), lazy: coin(3), keeps: coin(2)}
	if coin(3) {
		l.mute = w.rng.Float64()
	}
	if coin(3) && w.cfg.Usurp {
		l.twist = w.rng.Float64()
	}
	all := []func(*world, *node) (engine.Message, bool){(*world).blame, (*world).blame, (*world).offerNothing, (*world).claim, (*world).steals, (*world).answers}
	if w.cfg.Usurp {
		all = append(all, (*world).parrot, (*world).parrot, (*world).babble, (*world).usurp, (*world).usurp, (*world).end, (*world).frames, (*world).flood, (*world).enlists, (*world).rafts, (*world).rafts, (*world).rules)
	}
	for _, lie := range all {
		if coin(2) {
			l.lies = append(l.lies, lie)
		}
	}
	n.liar = l
	w.submitSecond(n)
	w.trace.printf(w.now, n, "LIES: %+v", *l)
	w.settle(w.now)
	w.lie(n)
}

// lie sends one lie, to whom it may hurt, and comes back for the next.
func (w *world) lie(n *node) {
	l := n.liar
	if w.over {
		return
	}
	if n.up && len(l.lies) > 0 {
		if m, ok := l.lies[w.rng.IntN(len(l.lies))](w, n); ok {
			if m.Job == "" {
				m.Job = w.id
			}
			to := w.nodes[w.rng.IntN(len(w.nodes))]
			if lead := w.leader(); lead != nil && w.rng.IntN(3) == 0 {
				to = lead
			}
			if to != n {
				w.res.Faults.Lies++
				w.post(n, to.id, m)
			}
		}
	}
	w.after(l.every+w.random(l.every), func() { w.lie(n) })
}

// said is what a liar makes of what its own protocol would send.
func (w *world) said(n *node, m engine.Message) (engine.Message, bool) {
	l := n.liar
	l.hear(m)
	switch {
	case l.mute > 0 && w.rng.Float64() < l.mute, l.lazy && m.Offer != nil && len(m.Offer.Kids) > 0:
		return m, false
	case m.Report != nil && (l.greedy || l.empty):
		r := *m.Report
		r.Held, r.Also, r.Left = nil, nil, time.Hour
		if l.greedy {
			r.Held = tasks.CoverOf(w.job.Want)
		}
		m.Report = &r
	case l.twist > 0 && w.rng.Float64() < l.twist:
		m = w.changed(m)
	}
	return m, true
}

func (l *liar) hear(m engine.Message) {
	if len(l.heard) >= maxHeard {
		l.heard = l.heard[1:]
	}
	l.heard = append(l.heard, m)
}

// numbers that hurt.
func (w *world) number() int64 {
	at := w.rng.Int64N(w.job.Want.Len())
	return []int64{0, 1, 2, -1, at, w.job.Want.Last, w.job.Want.Last + 1, 1 << 40, 1 << 62, math.MaxInt64, math.MinInt64}[w.rng.IntN(11)]
}

func (w *world) anybody() tasks.PeerID {
	if w.rng.IntN(12) == 0 {
		return []tasks.PeerID{"", "nobody"}[w.rng.IntN(2)]
	}
	return w.nodes[w.rng.IntN(len(w.nodes))].id
}

// term is one that this liar may claim to speak in.
func (w *world) term() uint64 {
	top := uint64(1)
	for t := range w.homes {
		top = max(top, t)
	}
	return []uint64{0, 1, top, top + 1, top + 2, 1 << 40, 1 << 61, 1 << 62}[w.rng.IntN(8)]
}

func (w *world) units() tasks.Cover {
	a := w.rng.Int64N(w.job.Want.Len())
	if w.rng.IntN(3) == 0 {
		return tasks.CoverOf(w.job.Want)
	}
	return tasks.CoverOf(tasks.R(a, min(a+1+w.rng.Int64N(500), w.job.Want.Last)))
}

// parrot sends real traffic again, as it was or changed.
func (w *world) parrot(n *node) (engine.Message, bool) {
	l := n.liar
	if len(l.heard) == 0 {
		return engine.Message{}, false
	}
	m := l.heard[w.rng.IntN(len(l.heard))]
	if w.rng.IntN(3) > 0 {
		m = w.changed(m)
	}
	return m, true
}

// babble is any message at all.
func (w *world) babble(*node) (m engine.Message, ok bool) {
	v := reflect.ValueOf(&m).Elem()
	i := 2 + w.rng.IntN(v.NumField()-2)
	w.fill(v.Field(i), 0)
	m.Job, m.Term = w.id, w.term()
	return m, true
}

// usurp speaks as the job's home.
func (w *world) usurp(n *node) (engine.Message, bool) {
	m := engine.Message{Term: w.term()}
	switch w.rng.IntN(8) {
	case 0:
		m.Open = &engine.Open{Home: n.id, Every: time.Second, Proof: w.forged(n, n.id, m.Term)}
	case 1:
		m.Moved = &engine.Moved{Home: w.anybody(), Term: w.term()}
		m.Moved.Proof = w.forged(n, m.Moved.Home, m.Moved.Term)
	case 2:
		m.Drop = w.units()
	case 3:
		m.Undone = w.units()
	case 4:
		m.Yield = w.units()
	case 5:
		m.Ack = &engine.ReportAck{Seq: 1 << 40, Failures: math.MaxUint64, Every: time.Hour, Above: n.id}
	default:
		m.Order = engine.Order(1 + w.rng.IntN(3))
	}
	return m, true
}

// end tells that the job is over.
func (w *world) end(n *node) (engine.Message, bool) {
	r := ledger.Result{SHA256: "forged", Size: 1, Status: []byte("all is well")}
	m := engine.Message{Term: w.term(), Ended: &engine.Ended{Result: &r, Sum: r.Sum(), Units: w.job.Want.Len()}}
	if w.rng.IntN(3) == 0 {
		m.Ended.Result = nil
	}
	chain := quorum.Chain{Founders: []quorum.Member{quorum.NewMember(w.anybody(), 0)}}
	if p := n.liar.mandate(); p != nil { // with the true voters, of whom the liar signs alone
		chain = p.Chain
	}
	m.Ended.Seal = &quorum.Seal{Chain: chain, Sigs: w.signed(n, chain.Conf(), func(quorum.Member) []byte {
		return quorum.SealText("job "+string(w.id), m.Ended.Text())
	})}
	return m, true
}

// mandate is a true one that the liar has seen.
func (l *liar) mandate() *quorum.Mandate {
	for i := len(l.heard) - 1; i >= 0; i-- {
		switch m := l.heard[i]; {
		case m.Open != nil && m.Open.Proof != nil:
			return m.Open.Proof
		case m.Enlist != nil && m.Enlist.Proof != nil:
			return m.Enlist.Proof
		case m.Moved != nil && m.Moved.Proof != nil:
			return m.Moved.Proof
		}
	}
	return nil
}

// signed are signatures in the names of all voters, of which the liar's own is true.
func (w *world) signed(n *node, c quorum.Conf, text func(quorum.Member) []byte) (sigs []quorum.Signature) {
	for _, v := range c.Voters {
		sigs = append(sigs, quorum.Signature{By: v.Peer, Sig: modelkeys.Keys(n.id).Sign(text(v))})
	}
	return sigs
}

// forged is a mandate of a peer in a term, made of a true one where there is one: with the votes of another term or
// leader, with a set of voters that nobody has signed, or from other founders.
func (w *world) forged(n *node, home tasks.PeerID, term uint64) *quorum.Mandate {
	group, self := "job "+string(w.id), quorum.NewMember(home, 0)
	m := quorum.Mandate{Term: term, Leader: self.ID, Chain: quorum.Chain{Founders: []quorum.Member{self}}}
	if p := n.liar.mandate(); p != nil && w.rng.IntN(4) > 0 {
		m.Chain, m.Leader, m.Votes = p.Chain, p.Leader, slices.Clone(p.Votes)
		if seats := p.Chain.Conf().Voters; w.rng.IntN(2) == 0 && slices.ContainsFunc(seats, func(v quorum.Member) bool { return v.Peer == home }) {
			m.Leader = seats[slices.IndexFunc(seats, func(v quorum.Member) bool { return v.Peer == home })].ID
		}
		if w.rng.IntN(2) == 0 {
			c := p.Chain.Conf()
			c.Seq, c.Term, c.Prior, c.Voters = c.Seq+1, min(c.Term, term), c.Seq, []quorum.Member{self}
			m.Leader = self.ID
			m.Chain.Links = append(slices.Clone(p.Chain.Links), quorum.Link{Conf: c, Sigs: w.signed(n, p.Chain.Conf(), func(quorum.Member) []byte { return quorum.ConfText(group, c) })})
		}
		if w.rng.IntN(3) == 0 {
			return &m // its votes are those for another
		}
	}
	m.Votes = w.signed(n, m.Chain.Conf(), func(v quorum.Member) []byte { return quorum.VoteText(group, term, m.Leader, v.ID) })
	return &m
}

// blame reports failures of all units, or of some.
func (w *world) blame(n *node) (engine.Message, bool) {
	l := n.liar
	r := &ledger.Report{Ready: true}
	for range 1 + w.rng.IntN(20) {
		l.seq++
		f := ledger.Failure{Seq: l.seq, Kind: "signal", Reason: "slander", Fatal: w.rng.IntN(8) == 0, Here: w.rng.IntN(2) == 0, Data: w.rng.IntN(2) == 0}
		if w.rng.IntN(5) > 0 {
			f.Blame = w.units()[0]
		}
		r.Failures = append(r.Failures, f)
	}
	l.seq++
	r.Seq = l.seq
	return engine.Message{Report: r}, true
}

// offerNothing offers a partial whose blob is not there, or is another.
func (w *world) offerNothing(n *node) (engine.Message, bool) {
	n.liar.seq++
	c := w.units()
	p := merge.Partial{ID: merge.ID{Node: n.id, Seq: n.liar.seq}, Job: w.id, Cover: c, Units: c.Len(), Canary: w.rng.Uint64(), SHA256: "none", Holder: n.id}
	if w.rng.IntN(2) == 0 { // a blob there is, but with other units
		p.SHA256 = w.sha()
		n.blobs[p.ID] = blob{sha: p.SHA256, lie: true, packets: w.units(), canary: p.Canary + uint64(w.rng.IntN(2))}
		if n.blobs[p.ID].units() == p.Units {
			n.blobs[p.ID] = blob{sha: p.SHA256, lie: true, canary: p.Canary}
		}
	}
	m := engine.Message{Offer: &p}
	if w.rng.IntN(3) == 0 {
		m.Offer, m.Gather = nil, &p
	}
	return m, true
}

// claim offers, in a way that nobody can find fault with, units that the liar has not run. That is the one lie which
// is believed: what a worker says that it has computed is not checked.
func (w *world) claim(n *node) (engine.Message, bool) {
	n.liar.seq++
	a := w.rng.Int64N(w.job.Want.Len())
	r := tasks.R(a, min(a+1+w.rng.Int64N(50), w.job.Want.Last))
	for _, u := range w.cfg.Poison {
		if r.Contains(u) {
			return engine.Message{}, false
		}
	}
	b := blob{sha: w.sha(), packets: []tasks.Range{r}, canary: tasks.Canary(w.id.Seed(), r)}
	p := merge.Partial{ID: merge.ID{Node: n.id, Seq: n.liar.seq}, Job: w.id, Cover: tasks.CoverOf(r), Units: r.Len(), Canary: b.canary, SHA256: b.sha, Size: 1, Holder: n.id}
	n.blobs[p.ID] = b
	w.res.Claimed += r.Len()
	return engine.Message{Offer: &p}, true
}

// steals sends what schedulers send each other.
func (w *world) steals(n *node) (engine.Message, bool) {
	n.liar.seq++
	s := &steal.Message{}
	switch w.rng.IntN(5) {
	case 0, 1:
		s.Request = &steal.Request{ID: n.liar.seq, Slots: 1 << 10, Jobs: []tasks.JobID{w.id}, Rates: []float64{1e11}, Wait: w.rng.IntN(2) == 0}
	case 2:
		s.Grant = &steal.Grant{ID: n.liar.seq, Job: w.id, Ranges: w.units(), Left: time.Hour, Dealt: w.rng.IntN(2) == 0, Above: w.anybody()}
		for range w.rng.IntN(20) {
			s.Grant.Others = append(s.Grant.Others, steal.Share{ID: w.anybody(), Slots: int(w.number())})
		}
	case 3:
		s.Ack = &steal.Ack{ID: uint64(w.number()), Job: w.id, OK: true}
	default:
		s.Refuse = &steal.Refuse{Request: uint64(w.number())}
	}
	return engine.Message{Steal: s}, true
}

// frames sends what replicas send each other.
func (w *world) frames(n *node) (m engine.Message, ok bool) {
	for _, h := range n.liar.heard {
		if len(h.Frame) > 0 && (m.Frame == nil || w.rng.IntN(3) == 0) {
			m.Frame = slices.Clone(h.Frame)
		}
	}
	if m.Frame == nil {
		m.Frame = []byte{byte(w.rng.IntN(3)), 8, byte(w.rng.IntN(20)), 0x10, 1, 0x18, 2, 0x20, 3}
	}
	for range w.rng.IntN(4) {
		m.Frame[w.rng.IntN(len(m.Frame))] = byte(w.rng.IntN(256))
	}
	return m, true
}

// flood opens jobs that there are not.
func (w *world) flood(n *node) (engine.Message, bool) {
	n.liar.seq++
	term := w.term()
	return engine.Message{Job: tasks.NameOf(binarySeq(n.liar.seq)), Term: term, Open: &engine.Open{Home: n.id, Proof: w.forged(n, n.id, term)}}, true
}

func binarySeq(s uint64) []byte {
	return []byte{byte(s), byte(s >> 8), byte(s >> 16), byte(s >> 24), 'x'}
}

// enlists orders a copy of the ledger that begins with the liar, or answers such an order.
func (w *world) enlists(n *node) (engine.Message, bool) {
	self := quorum.NewMember(n.id, uint64(w.rng.IntN(3)))
	m := engine.Message{Term: w.term()}
	switch w.rng.IntN(4) {
	case 0:
		m.Enlist = &engine.Enlist{Nonce: w.rng.Uint64(), Voters: []quorum.Member{self}, Not: uint64(w.number()), Proof: w.forged(n, n.id, m.Term)}
	case 1:
		m.Enlisted = &engine.Enlisted{Nonce: uint64(w.rng.IntN(1 << 30)), Member: self, OK: true}
	case 2:
		m.Resign = &engine.Resign{Member: uint64(w.number())}
	default:
		m.Resigned = &engine.Resign{Member: uint64(w.number())}
	}
	return m, true
}

// answers gives answers that nobody waits for, about partials that others have named.
func (w *world) answers(n *node) (engine.Message, bool) {
	id, sha := merge.ID{Node: w.anybody(), Seq: uint64(w.rng.IntN(100))}, ""
	for _, h := range n.liar.heard {
		if h.Offer != nil && w.rng.IntN(3) == 0 {
			id, sha = h.Offer.ID, h.Offer.SHA256
		}
		if h.Keep != nil && h.Keep.Partial != nil && w.rng.IntN(3) == 0 {
			id, sha = h.Keep.Partial.ID, h.Keep.Partial.SHA256
		}
	}
	m := engine.Message{}
	kinds := 4
	if w.cfg.Usurp {
		kinds, m.Term = 5, w.term()
	}
	switch w.rng.IntN(kinds) {
	case 0:
		m.Kept = &engine.Kept{ID: id, SHA256: sha, OK: w.rng.IntN(2) == 0, Full: w.rng.IntN(2) == 0}
	case 1:
		m.Told = &engine.Told{ID: id, Word: merge.Accepted}
	case 2:
		m.Refuse = []merge.ID{id}
	case 4:
		m.Answer = &engine.Answer{ID: id, Accept: w.rng.IntN(2) == 0}
	default:
		m.Told = &engine.Told{ID: id, Word: merge.Word(w.rng.IntN(3))}
	}
	return m, true
}

// changed is a copy of m with some of it altered.
func (w *world) changed(m engine.Message) (out engine.Message) {
	b, err := wire.Marshal(&m)
	if err != nil || wire.Unmarshal(b, &out) != nil {
		return m
	}
	for range 1 + w.rng.IntN(2) {
		var leaves []reflect.Value
		collect(reflect.ValueOf(&out).Elem(), &leaves)
		w.fill(leaves[w.rng.IntN(len(leaves))], 0)
	}
	return out
}

// collect lists what can be altered in v.
func collect(v reflect.Value, leaves *[]reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			collect(v.Elem(), leaves)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				collect(v.Field(i), leaves)
			}
		}
	case reflect.Slice:
		if v.Len() > 0 {
			*leaves = append(*leaves, v)
		}
		for i := range min(v.Len(), 4) {
			collect(v.Index(i), leaves)
		}
	default:
		*leaves = append(*leaves, v)
	}
}

// fill sets v to anything.
func (w *world) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		w.fill(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && w.rng.IntN(4) > 0 {
				w.fill(f, depth+1)
			}
		}
	case reflect.Slice:
		n := w.rng.IntN(4)
		s := reflect.MakeSlice(v.Type(), n, n)
		for i := range n {
			if depth < 6 {
				w.fill(s.Index(i), depth+1)
			}
		}
		v.Set(s)
	case reflect.String:
		v.SetString([]string{"", w.anybody(), string(w.id), "x"}[w.rng.IntN(4)])
	case reflect.Bool:
		v.SetBool(w.rng.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat([]float64{0, -1, 1, 1e300, math.NaN(), math.Inf(1)}[w.rng.IntN(6)])
	default:
		if v.CanInt() {
			v.SetInt(w.number())
		} else if v.CanUint() {
			v.SetUint(uint64(w.number()))
		}
	}
}

// violated counts what a node was told of another, and closes the link after a few.
func (w *world) violated(n *node, e engine.Violation) {
	i, ok := w.index[e.From]
	if !ok {
		return
	}
	o := w.nodes[i]
	if o.honest {
		w.fail("%s accuses %s, which is honest: %s", n.id, o.id, e.What)
		return
	}
	w.res.Faults.Violations++
	if n.wrongs == nil {
		n.wrongs, n.shuns = map[int]int{}, map[int]time.Duration{}
	}
	if n.wrongs[i]++; n.wrongs[i] < shunAfter {
		return
	}
	w.res.Faults.Shuns++
	delete(n.wrongs, i)
	n.shuns[i] = w.now + shunFor
	w.notice(n, o, 0)
	w.notice(n, o, shunFor)
}

// shunned reports whether either of two nodes refuses the other.
func (w *world) shunned(a, b *node) bool {
	return (len(a.shuns) > 0 && w.now < a.shuns[b.num]) || (len(b.shuns) > 0 && w.now < b.shuns[a.num])
}
