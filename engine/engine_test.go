package engine

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

const units = 1000

func testJob(t interface{ Fatal(...any) }) *tasks.Job {
	data, err := tasks.NewDataset([]tasks.File{{URL: "a", Entries: 400}, {URL: "b", Entries: 600}})
	if err != nil {
		t.Fatal(err)
	}
	return &tasks.Job{Protocol: tasks.Protocol, Submitter: "h", Data: *data, Want: data.Space()}
}

// open is how h, the job's submitter, or who has taken its place, announces the job.
func open(home tasks.PeerID, term uint64) Message {
	return Message{Job: jobID, Term: term, Open: &Open{Home: home, Proof: mandate(home, term)}}
}

// founders are the job's first voters in these tests, and then its replicas.
var (
	founders = []quorum.Voter{quorum.NewVoter("h", 1)}
	replicas = []quorum.Voter{founders[0], quorum.NewVoter("r", 1), quorum.NewVoter("s", 1)}
)

// mandate proves that a peer leads the job in a term: h as its founder, and others as voted for by h, r and s.
func mandate(home tasks.PeerID, term uint64) *quorum.Mandate {
	if home == "h" && term <= 1 {
		m := quorum.SoleMandate(modelkeys.Keys(home), GroupName(jobID), founders[0])
		return &m
	}
	conf := quorum.Conf{Seq: 1, Term: 1, Voters: slices.Clone(replicas)}
	m := &quorum.Mandate{Term: term, Leader: quorum.NewVoter(home, 1).ID, Chain: quorum.Chain{Founders: founders}}
	if conf.Voters[1].Peer != home && home != "h" {
		conf.Voters[1] = quorum.NewVoter(home, 1)
	}
	m.Chain.Links = []quorum.Link{
		{
			Conf: conf,
			Sigs: []quorum.Signature{{By: "h", Sig: modelkeys.Keys("h").Sign(quorum.ConfText(GroupName(jobID), conf))}},
		},
	}
	for _, v := range conf.Voters[:2] {
		m.Votes = append(
			m.Votes,
			quorum.Signature{
				By:  v.Peer,
				Sig: modelkeys.Keys(v.Peer).Sign(quorum.VoteText(GroupName(jobID), term, m.Leader, v.ID)),
			},
		)
	}
	return m
}

// ended is the job's end as these peers have signed it, of whom h is the only founder.
func ended(result *ledger.Result, by ...tasks.PeerID) *Ended {
	e := &Ended{Sum: result.Sum(), Units: units, Result: result}
	e.Seal = &quorum.Seal{Chain: quorum.Chain{Founders: founders}}
	for _, p := range by {
		e.Seal.Sigs = append(
			e.Seal.Sigs,
			quorum.Signature{By: p, Sig: modelkeys.Keys(p).Sign(quorum.SealText(GroupName(jobID), e.Text()))},
		)
	}
	return e
}

// rig drives one peer: its children and blobs are modelled, and do everything at once.
type rig struct {
	t    interface{ Fatal(...any) }
	peer *Peer
	now  time.Duration
	sent []Send
	gens map[steal.GenID]*ran
	done *FinishJob
	fail *FailJob
	// foreign says what is counted in a blob fetched from another node.
	foreign func(merge.Partial) (Stored, bool)
	// runs and seals say how a packet, and an order to seal, goes; nil, or its nil, for well.
	runs  func(LeasePacket) Event
	seals func(SealGen) Event
}

type ran struct {
	units  int64
	canary uint64
}

func newRig(t interface{ Fatal(...any) }, self tasks.PeerID) *rig {
	p, err := New(Config{Boot: 1, Keys: modelkeys.Keys(self), Steal: steal.Config{Self: self, Slots: 1, Seed: 7}})
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, peer: p, gens: map[steal.GenID]*ran{}}
}

// step feeds ev and all that follows from it on this node; packets run when pass is called.
func (r *rig) step(ev Event) (all []Effect) {
	for queue := []Event{ev}; len(queue) > 0; queue = queue[1:] {
		effects := r.peer.Step(r.now, queue[0])
		all = append(all, effects...)
		for _, e := range effects {
			if answer := r.obey(e); answer != nil {
				queue = append(queue, answer)
			}
		}
	}
	return all
}

func (r *rig) obey(e Effect) Event {
	switch e := e.(type) {
	case Send:
		r.sent = append(r.sent, e)
	case StartGen:
		r.gens[e.Gen] = &ran{}
	case LeasePacket:
		if r.runs != nil {
			if ev := r.runs(e); ev != nil {
				return ev
			}
		}
		g := r.gens[e.Gen]
		g.units += e.Packet.Len()
		g.canary += tasks.Canary(jobID.Seed(), e.Packet)
		return PacketDone{Gen: e.Gen, Packet: e.Packet, Last: e.Packet.Last, Elapsed: 10 * time.Millisecond}
	case SealGen:
		if r.seals != nil {
			if ev := r.seals(e); ev != nil {
				return ev
			}
		}
		g := r.gens[e.Gen]
		return GenSealed{Gen: e.Gen, Partial: merge.Partial{ID: e.ID, Units: g.units, Canary: g.canary, Size: g.units}}
	case MergeBlobs:
		return Merged{Partial: merge.Sum(e.ID, e.Inputs)}
	case FetchBlob:
		return r.fetch(e)
	case FinishJob:
		if r.done != nil {
			r.t.Fatal("a job finished twice")
		}
		r.done = &e
	case FailJob:
		r.fail = &e
	}
	return nil
}

func (r *rig) fetch(e FetchBlob) Event {
	p := e.Partial
	if p.Holder == r.peer.self {
		return Stored{Partial: p, Units: p.Units, Canary: p.Canary, Seq: e.Seq}
	}
	if r.foreign != nil {
		if s, ok := r.foreign(p); ok {
			s.Seq = e.Seq
			return s
		}
	}
	return NotStored{Partial: p, Seq: e.Seq}
}

func (r *rig) pass(d time.Duration) {
	for end := r.now + d; r.now < end; r.now += 100 * time.Millisecond {
		r.step(Tick{})
	}
}

var jobID = tasks.NameOf([]byte("job"))

// member is a peer that takes part in a job of home "h", with work and a partial.
func member(t *testing.T) *rig {
	r := newRig(t, "m")
	for _, id := range []tasks.PeerID{"h", "x"} {
		r.step(PeerUp{ID: id, Slots: 1})
	}
	r.step(Recv{From: "h", Msg: open("h", 1)})
	r.step(Prepared{ID: jobID, Job: testJob(t)})
	r.step(Recv{
		From: "h",
		Msg:  Message{Steal: &steal.Message{Grant: &steal.Grant{ID: 9, Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 50))}}},
	})
	r.pass(time.Second)
	return r
}

func TestOnlyTheHomeIsObeyed(t *testing.T) {
	seen := tasks.R(70, 80)
	for name, m := range map[string]Message{
		"answer": {Answer: &Answer{ID: merge.ID{}, Accept: true}},
		"reject": {Answer: &Answer{}},
		"try":    {Try: &seen},
		"stop":   {Order: OrderStop},
		"shun":   {Order: OrderShun},
	} {
		m.Job, m.Term = jobID, 1
		home, other := member(t), member(t)
		if m.Answer != nil {
			m.Answer.ID = offered(t, home)
		}
		before := other.peer.held(other.peer.jobs[0])
		var extra []Effect
		for _, e := range other.step(Recv{From: "x", Msg: m}) {
			if _, ok := e.(Send); !ok {
				extra = append(extra, e)
			}
		}
		if len(extra) > 0 || len(other.peer.Jobs()) != 1 || !other.peer.held(other.peer.jobs[0]).Equal(before) {
			t.Errorf("%s from a stranger was obeyed: %v", name, extra)
		}
		state := home.state()
		home.step(Recv{From: "h", Msg: m})
		if home.state() == state && name != "shun" {
			t.Errorf("%s from the home was not obeyed", name)
		}
	}
}

// TestReportsFitInAMessage has more to tell of failures than one message takes; all are told, once.
func TestReportsFitInAMessage(t *testing.T) {
	r := member(t)
	j := r.peer.jobs[0]
	const failures = 50
	for i := range int64(failures) {
		r.peer.book(j, ledger.Failure{Blame: tasks.R(i, i+1), Kind: "signal", Stack: strings.Repeat("f", 64<<10)})
	}
	told := map[uint64]bool{}
	for range 100 {
		r.sent = nil
		r.pass(100 * time.Millisecond)
		for _, s := range r.sent {
			if s.Msg.Report == nil {
				continue
			}
			b, err := wire.Marshal(&s.Msg)
			if err != nil || len(b) > 1<<20 {
				t.Fatalf("a report of %d bytes, error %v", len(b), err)
			}
			ack := &ReportAck{Seq: s.Msg.Report.Seq}
			for _, f := range s.Msg.Report.Failures {
				told[f.Seq], ack.Failures = true, f.Seq
			}
			r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Ack: ack}})
		}
	}
	if len(told) != failures || len(j.work.failures) != 0 {
		t.Fatalf("%d of %d failures were told, %d wait", len(told), failures, len(j.work.failures))
	}
}

// TestBlobIsKeptWhileItIsFetched has a home fetch a partial to commit it of which it also holds a copy, for
// a merge that fails meanwhile.
func TestBlobIsKeptWhileItIsFetched(t *testing.T) {
	r := newRig(t, "h")
	r.step(PeerUp{ID: "x", Slots: 1})
	r.peer.Step(r.now, Submit{ID: jobID, Job: testJob(t)})
	j := r.peer.job(jobID)
	stolen := r.steals("x")
	if stolen.Empty() {
		t.Fatal("nothing could be stolen")
	}
	his := merge.Partial{ID: merge.ID{Node: "x", Seq: 1}, Job: jobID, Cover: stolen, Units: stolen.Len(), Holder: "x"}
	own := merge.Partial{
		ID:     merge.ID{Node: "h", Seq: 500},
		Job:    jobID,
		Cover:  tasks.CoverOf(tasks.R(0, 10)),
		Units:  10,
		Holder: "h",
	}
	j.work.parts.Add(r.now, own)
	j.work.parts.Flush(r.now, r.peer.nextID)
	j.work.parts.Reduce(r.now, r.peer.nextID(), []merge.Partial{own, his})
	is := func(e Effect) bool { f, ok := e.(FetchBlob); return ok && f.Partial.ID == his.ID }
	if !slices.ContainsFunc(r.peer.Step(r.now, Recv{From: "x", Msg: Message{Job: jobID, Offer: &his}}), is) {
		t.Fatal("the offer is not fetched")
	}
	for _, e := range r.peer.Step(r.now, NotMerged{Job: jobID, Kids: []merge.ID{own.ID, his.ID}}) {
		if f, ok := e.(ForgetBlob); ok && f.ID == his.ID {
			t.Error("the blob is forgotten")
		}
	}
}

// steals has a peer steal from this one.
func (r *rig) steals(by tasks.PeerID) (got tasks.Cover) {
	ask := &steal.Request{ID: 1, Slots: 1, Jobs: []tasks.JobID{jobID}, Rates: []float64{1000}}
	for _, e := range r.peer.Step(r.now, Recv{From: by, Msg: Message{Steal: &steal.Message{Request: ask}}}) {
		if s, ok := e.(Send); ok && s.To == by && s.Msg.Steal != nil && s.Msg.Steal.Grant != nil {
			got = s.Msg.Steal.Grant.Ranges
		}
	}
	return got
}

// TestNobodyOffersWhatTheHomeHas has a member offer all of a job: what the home has not given away is nobody else's.
// What that member has stolen is.
func TestNobodyOffersWhatTheHomeHas(t *testing.T) {
	r := newRig(t, "h")
	r.step(PeerUp{ID: "x", Slots: 1})
	r.peer.Step(r.now, Submit{ID: jobID, Job: testJob(t)})
	stolen := r.steals("x")
	if stolen.Empty() {
		t.Fatal("nothing could be stolen")
	}
	for i, c := range []tasks.Cover{tasks.CoverOf(tasks.R(0, units)), stolen} {
		p := merge.Partial{ID: merge.ID{Node: "x", Seq: uint64(1 + i)}, Job: jobID, Cover: c, Units: c.Len(), Holder: "x"}
		fetched := slices.ContainsFunc(
			r.peer.Step(r.now, Recv{From: "x", Msg: Message{Job: jobID, Offer: &p}}),
			func(e Effect) bool {
				f, ok := e.(FetchBlob)
				return ok && f.Partial.ID == p.ID
			},
		)
		if fetched != (i == 1) {
			t.Errorf("an offer of %v, of which %v was stolen: fetched %v", c, stolen, fetched)
		}
	}
}

type state struct {
	jobs, sent int
	units      int64
	stopped    bool
}

// state is what an order changes of a member.
func (r *rig) state() state {
	s := state{jobs: len(r.peer.jobs), sent: len(r.sent)}
	if s.jobs > 0 {
		s.units, s.stopped = r.peer.held(r.peer.jobs[0]).Len(), r.peer.jobs[0].stopped
	}
	return s
}

// offered finds the partial that a member has offered to its home.
func offered(t *testing.T, r *rig) merge.ID {
	for _, s := range slices.Backward(r.sent) {
		if s.Msg.Offer != nil {
			return s.Msg.Offer.ID
		}
	}
	t.Fatal("nothing was offered")
	return merge.ID{}
}

func genInt(t *rapid.T, name string) int64 {
	return rapid.SampledFrom([]int64{
		math.MinInt64, -1, 0, 1, 17, 399, 400, 500, 999, 1000, 1001, 1 << 40, math.MaxInt64 - 1, math.MaxInt64,
	}).
		Draw(t, name)
}

func genCover(t *rapid.T) (c tasks.Cover) {
	if rapid.Bool().Draw(t, "sane") {
		a := rapid.Int64Range(0, units-1).Draw(t, "first")
		return tasks.CoverOf(tasks.R(a, a+rapid.Int64Range(1, units-a).Draw(t, "len")))
	}
	for range rapid.IntRange(0, 3).Draw(t, "ranges") {
		c = append(c, tasks.R(genInt(t, "first"), genInt(t, "last")))
	}
	return c
}

func genPartial(t *rapid.T, ids []merge.ID) merge.Partial {
	p := merge.Partial{
		Job:    rapid.SampledFrom([]tasks.JobID{jobID, jobID, "other", ""}).Draw(t, "pjob"),
		Cover:  genCover(t),
		Canary: rapid.Uint64().Draw(t, "canary"),
		Size:   genInt(t, "size"),
		Holder: rapid.SampledFrom([]tasks.PeerID{"x", "x", "h", "nobody"}).Draw(t, "holder"),
	}
	p.ID = rapid.SampledFrom(append(ids, merge.ID{Node: "x", Seq: 1}, merge.ID{Node: "x", Seq: 2})).Draw(t, "id")
	p.Kids = rapid.SliceOfN(rapid.SampledFrom(append(ids, merge.ID{Node: "x", Seq: 1})), 0, 3).Draw(t, "kids")
	if p.Units = genInt(t, "units"); rapid.Bool().Draw(t, "counts") {
		p.Units = p.Cover.Len()
	}
	return p
}

func genFloat(t *rapid.T) float64 {
	return rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 1e-300, 100, 1e300}).Draw(t, "rate")
}

func genSteal(t *rapid.T) *steal.Message {
	jobs := []tasks.JobID{jobID}
	switch rapid.IntRange(0, 4).Draw(t, "steal") {
	case 0:
		return &steal.Message{
			Request: &steal.Request{ID: uint64(genInt(t, "rid")), Slots: int(genInt(t, "slots")), Jobs: jobs,
				Rates: []float64{genFloat(t)}, Wait: rapid.Bool().Draw(t, "wait")},
		}
	case 1:
		return &steal.Message{
			Grant: &steal.Grant{ID: uint64(genInt(t, "gid")), Request: uint64(genInt(t, "greq")), Job: jobID,
				Ranges: genCover(t), Left: time.Duration(genInt(t, "left")), Dealt: rapid.Bool().Draw(t, "dealt"),
				Others: []steal.Share{
					{ID: "x", Slots: int(genInt(t, "oslots"))},
					{ID: "m", Slots: 1},
				}, Above: rapid.SampledFrom([]tasks.PeerID{"", "x", "m"}).Draw(t, "gabove")},
		}
	case 2:
		return &steal.Message{
			Ack: &steal.Ack{
				ID:  7<<20 + uint64(rapid.IntRange(0, 20).Draw(t, "aid")),
				Job: jobID,
				OK:  rapid.Bool().Draw(t, "ok"),
			},
		}
	case 3:
		return &steal.Message{Refuse: &steal.Refuse{Request: uint64(genInt(t, "refused"))}}
	}
	return &steal.Message{}
}

func genReport(t *rapid.T) *ledger.Report {
	r := &ledger.Report{
		Seq:   rapid.Uint64Range(1, 100).Draw(t, "seq"),
		Ready: rapid.Bool().Draw(t, "ready"),
		Held:  genCover(t),
		Also:  genCover(t),
		Ran:   genInt(t, "ran"),
		Left:  time.Duration(genInt(t, "left")),
		Stats: ledger.Stats{Rate: genFloat(t)},
	}
	if rapid.Bool().Draw(t, "fails") {
		r.Failures = []ledger.Failure{
			{Seq: rapid.Uint64Range(1, 50).Draw(t, "fseq"), Blame: tasks.R(genInt(t, "b0"), genInt(t, "b1")),
				Kind: "signal", Here: rapid.Bool().Draw(t, "here"), Data: rapid.Bool().Draw(t, "data")},
		}
	}
	return r
}

// genMessage is anything a member of the cluster might send, by error or by intent.
func genMessage(t *rapid.T, ids []merge.ID) Message {
	m := Message{Job: rapid.SampledFrom([]tasks.JobID{jobID, jobID, jobID, "unknown", ""}).Draw(t, "job")}
	r := tasks.R(genInt(t, "try0"), genInt(t, "try1"))
	m.Term = rapid.Uint64Range(0, 5).Draw(t, "term")
	switch rapid.IntRange(0, 18).Draw(t, "kind") {
	case 0, 1:
		m.Steal = genSteal(t)
	case 2:
		m.Open = &Open{Home: rapid.SampledFrom([]tasks.PeerID{"x", "h", ""}).Draw(t, "home")}
	case 3:
		m.Report = genReport(t)
	case 4, 5:
		p := genPartial(t, ids)
		m.Offer = &p
	case 6:
		m.Answer = &Answer{ID: genPartial(t, ids).ID, Accept: rapid.Bool().Draw(t, "accept"),
			Note: rapid.Bool().Draw(t, "note"), Known: rapid.Bool().Draw(t, "known")}
	case 7:
		m.Reduce = &Reduce{Inputs: []merge.Partial{genPartial(t, ids), genPartial(t, ids)}}
	case 8:
		m.Drop, m.Yield, m.Undone = genCover(t), genCover(t), genCover(t)
	case 9:
		m.Try = &r
	case 10:
		m.Refuse = genPartial(t, ids).Kids
	case 11:
		m.Ack = &ReportAck{Seq: uint64(genInt(t, "ackseq")), Failures: math.MaxUint64, Busy: []tasks.PeerID{"x"},
			Every: time.Duration(
				genInt(t, "every"),
			), Above: rapid.SampledFrom([]tasks.PeerID{"", "x", "m", "h"}).Draw(t, "above")}
		m.Order = Order(rapid.IntRange(-1, 6).Draw(t, "order"))
	case 12:
		self := quorum.Voter{
			ID:   uint64(genInt(t, "member")),
			Peer: rapid.SampledFrom([]tasks.PeerID{"x", "h", "m"}).Draw(t, "enlist"),
		}
		m.Enlist = &Enlist{
			Nonce:  uint64(genInt(t, "nonce")),
			Voters: []quorum.Voter{{ID: uint64(genInt(t, "voter")), Peer: "x"}},
			Not:    self.ID,
		}
		m.Enlisted = &Enlisted{Nonce: uint64(genInt(t, "answer")), Voter: self, OK: rapid.Bool().Draw(t, "enlisted")}
	case 18:
		a := tasks.Append{
			Seq:   uint64(genInt(t, "append")),
			Files: []tasks.File{{URL: "x", Entries: genInt(t, "entries")}},
			Close: rapid.Bool().Draw(t, "closes"),
		}
		m.Append, m.NotAppended = &a, &NotAppended{Seq: uint64(genInt(t, "refused"))}
		m.Grow = &Grow{Appends: []tasks.Append{a}, Restart: rapid.Bool().Draw(t, "restart")}
	case 17:
		m.Resign = &Resign{Voter: uint64(genInt(t, "resign"))}
		m.Resigned = &Resign{Voter: uint64(genInt(t, "resigned"))}
	case 13:
		m.Frame = rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "frame")
		m.Ended = &Ended{}
	case 14:
		m.Moved = &Moved{Home: "x", Term: uint64(genInt(t, "moved"))}
		p := genPartial(t, ids)
		m.Keep, m.Kept = &Keep{Partial: &p}, &Kept{ID: p.ID, OK: true}
		m.Recovery = &quorum.Link{
			Conf: quorum.Conf{Seq: 1 << 45, Term: 1 << 45, Prior: 1<<45 - 1, Voters: []quorum.Voter{{ID: 5, Peer: "x"}}},
			Sigs: []quorum.Signature{{By: "x", Sig: []byte("forged")}},
		}
	case 15:
		p := genPartial(t, ids)
		m.Gather = &p
	case 16:
		m.Gathered = &Gathered{ID: genPartial(t, ids).ID, Word: merge.Word(rapid.IntRange(-1, 3).Draw(t, "word"))}
	}
	return m
}

// ids are the partials that r has named so far.
func (r *rig) ids() (ids []merge.ID) {
	if j := r.peer.job(jobID); j != nil && j.leads() {
		for _, p := range j.led.home.Record().Done.Parts() {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// TestHostileMessagesDoNotChangeTheCount lets a member send whatever it likes to a home at work. The
// home must not panic, and its result must account for each unit once, by partials whose blobs it has.
func TestHostileMessagesDoNotChangeTheCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t, "h")
		r.foreign = func(p merge.Partial) (Stored, bool) { // never what was promised
			return Stored{Partial: p, Units: p.Units + 1, Canary: p.Canary}, p.Canary%2 == 0
		}
		r.step(PeerUp{ID: "x", Slots: 1})
		r.step(Submit{ID: jobID, Job: testJob(t)})
		for range rapid.IntRange(1, 25).Draw(t, "messages") {
			m := genMessage(t, r.ids())
			for range rapid.IntRange(1, 2).Draw(t, "copies") {
				r.step(Recv{From: "x", Msg: m})
			}
			r.now += time.Duration(rapid.IntRange(0, 700).Draw(t, "ms")) * time.Millisecond
		}
		r.step(PeerDown{ID: "x"})
		r.pass(30 * time.Second)
		if r.fail != nil {
			return // given up, with a reason; nothing was counted wrongly
		}
		if r.done == nil {
			t.Fatalf(
				"the job did not end; open: %v",
				tasks.CoverOf(tasks.R(0, units)).Minus(r.peer.jobs[0].led.home.Record().Done.Cover()),
			)
		}
		checkCount(t, r.done)
	})
}

func checkCount(t *rapid.T, f *FinishJob) {
	var all tasks.Cover
	var canary uint64
	for _, p := range f.Parts {
		if p.Holder != "h" {
			t.Fatalf("a partial of %s was committed, whose blob was never right", p.Holder)
		}
		if all.Intersects(p.Cover) {
			t.Fatalf("%v is counted twice", all.Intersect(p.Cover))
		}
		all = all.Union(p.Cover)
		canary += p.Canary
	}
	if all.Len() != f.Units || canary != f.Canary {
		t.Fatalf("parts hold %d units, the result says %d", all.Len(), f.Units)
	}
	for _, l := range f.Lost {
		all = all.Union(tasks.CoverOf(l.Range))
	}
	if !all.Equal(tasks.CoverOf(tasks.R(0, units))) {
		t.Fatalf("result and losses cover %v", all)
	}
}

// TestHostileMessagesDoNotPanicAMember is the same for a member, whose home may be hostile too.
func TestHostileMessagesDoNotPanicAMember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t, "m")
		r.step(PeerUp{ID: "h", Slots: 1})
		r.step(PeerUp{ID: "x", Slots: 1})
		r.step(Recv{From: "h", Msg: open("h", 1)})
		r.step(Prepared{ID: jobID, Job: testJob(t)})
		for range rapid.IntRange(1, 30).Draw(t, "messages") {
			from := rapid.SampledFrom([]tasks.PeerID{"h", "x", "stranger"}).Draw(t, "from")
			r.step(Recv{From: from, Msg: genMessage(t, []merge.ID{{Node: "m", Seq: 1<<24 + 3}})})
			r.now += time.Duration(rapid.IntRange(0, 700).Draw(t, "ms")) * time.Millisecond
			if j := r.peer.job(jobID); j != nil && !r.peer.sched.Held(jobID).Valid(tasks.R(0, units)) {
				t.Fatalf("the scheduler holds %v", r.peer.sched.Held(jobID))
			}
		}
	})
}

// TestOneFieldAMessage sees to it that the hostile tests know every field of Message.
func TestOneFieldAMessage(t *testing.T) {
	if n := reflect.TypeFor[Message]().NumField(); n != 30 {
		t.Errorf("Message has %d fields: teach genMessage and recv the new one, then this test", n)
	}
}

// TestDealtWorkIsProven: dealt work is taken from the job's submitter, whoever leads by now, and from whom that has put
// above this node. From another it is refused, and that one is told, and merges nothing of this node's for it, also
// where reports are rare.
func TestDealtWorkIsProven(t *testing.T) {
	others := []steal.Share{{ID: "m", Slots: 1}, {ID: "b", Slots: 1}}
	proof := func(signer, by tasks.PeerID) *steal.DealProof { // of what by passes on to m
		t.Helper()
		s, err := steal.New(steal.Config{Self: by, Slots: 1, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		s.Step(0, steal.PeerUp{ID: "m", Slots: 1})
		s.Step(0, steal.Open{Job: jobID, Home: "h", Data: &testJob(t).Data})
		g := steal.Grant{ID: 1, Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 60)), Dealt: true, Others: others,
			Proof: &steal.DealProof{Sig: modelkeys.Keys(signer).Sign(steal.DealText(jobID, by, others))}}
		for _, e := range s.Step(0, steal.Recv{From: "h", Msg: steal.Message{Grant: &g}}) {
			if m, ok := e.(steal.Send); ok && m.To == "m" && m.Msg.Grant != nil {
				return m.Msg.Grant.Proof
			}
		}
		t.Fatalf("%s passes nothing on", by)
		return nil
	}
	for name, tc := range map[string]struct {
		from   tasks.PeerID
		g      steal.Grant
		moved  bool // another leads the job by now
		taken  bool
		merges tasks.PeerID // what this node makes
	}{
		"by the submitter":                {from: "h", taken: true},
		"by the submitter, late":          {from: "h", moved: true, taken: true, merges: "h"},
		"by the submitter, below another": {from: "h", g: steal.Grant{Above: "x"}, taken: true, merges: "x"},
		"by the submitter, to be passed on": {from: "h", taken: true, g: steal.Grant{
			Others: others[1:],
			Proof:  &steal.DealProof{Sig: modelkeys.Keys("h").Sign(steal.DealText(jobID, "m", others[1:]))},
		}},
		"by the submitter, to be passed on unsigned": {from: "h", g: steal.Grant{Others: others[1:]}},
		"passed on": {from: "x", g: steal.Grant{Proof: proof("h", "x")}, taken: true, merges: "x"},
		"passed on, late": {
			from: "x", g: steal.Grant{Proof: proof("h", "x")}, moved: true, taken: true, merges: "x",
		},
		"by another":                        {from: "x"},
		"by another, to be passed on":       {from: "x", g: steal.Grant{Others: others[1:]}},
		"by another, to be merged by it":    {from: "x", g: steal.Grant{Above: "x"}},
		"by another, with its own word":     {from: "x", g: steal.Grant{Proof: proof("x", "x")}},
		"by another, with a third's proof":  {from: "x", g: steal.Grant{Proof: proof("h", "b")}},
		"passed on, to be merged elsewhere": {from: "x", g: steal.Grant{Proof: proof("h", "x"), Above: "b"}},
		"passed on, with more to pass on":   {from: "x", g: steal.Grant{Proof: proof("h", "x"), Others: others[1:]}},
		"passed on, as another's":           {from: "b", g: steal.Grant{Proof: proof("h", "x")}},
		"no deal, by another":               {from: "x", g: steal.Grant{Request: 77}, taken: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "m")
			for _, id := range []tasks.PeerID{"h", "x", "b"} {
				r.step(PeerUp{ID: id, Slots: 1})
			}
			r.step(Recv{From: "h", Msg: open("h", 1)})
			r.step(Prepared{ID: jobID, Job: testJob(t)})
			if tc.moved {
				r.step(Recv{From: "b", Msg: Message{Job: jobID, Term: 5, Open: &Open{Home: "b", Proof: mandate("b", 5)}}})
			}
			r.peer.job(jobID).reports.every = time.Minute
			g := tc.g
			g.ID, g.Job, g.Ranges, g.Dealt = 1<<40, jobID, tasks.CoverOf(tasks.R(0, 50)), g.Request == 0
			effects := r.step(Recv{From: tc.from, Msg: Message{Steal: &steal.Message{Grant: &g}}})
			acks := 0
			for _, s := range find[Send](effects) {
				if s.Msg.Steal != nil && s.Msg.Steal.Ack != nil {
					if acks++; s.To != tc.from || s.Msg.Steal.Ack.OK != tc.taken {
						t.Errorf("answered %+v to %s", *s.Msg.Steal.Ack, s.To)
					}
				}
			}
			told := find[Violation](effects)
			if acks != 1 || len(told) > 0 == tc.taken || len(told) > 0 && (told[0].From != tc.from || told[0].What != Unproven) {
				t.Errorf("%d answers; told of %+v", acks, told)
			}
			above := tasks.PeerID("")
			for end := r.now + 20*time.Second; r.now < end && above == ""; r.now += 50 * time.Millisecond {
				for _, s := range find[Send](r.step(Tick{})) {
					if s.Msg.Gather != nil {
						above = s.To
					}
				}
			}
			if above != tc.merges {
				t.Errorf("its partials are merged by %q, want %q", above, tc.merges)
			}
		})
	}
}

// TestReportsAreNoDenserThanWithFewNodes: a home that asks for a report each nanosecond gets those that any home gets.
func TestReportsAreNoDenserThanWithFewNodes(t *testing.T) {
	r := newRig(t, "m")
	r.step(PeerUp{ID: "h", Slots: 1})
	first := open("h", 1)
	first.Open.Every = 1
	r.step(Recv{From: "h", Msg: first})
	r.step(Prepared{ID: jobID, Job: testJob(t)})
	if got := r.peer.job(jobID).reports.every; got != r.peer.cfg.Report {
		t.Errorf("reports every %v by the announcement, want %v", got, r.peer.cfg.Report)
	}
	r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Ack: &ReportAck{Every: 1}}})
	if got := r.peer.job(jobID).reports.every; got != r.peer.cfg.Report {
		t.Errorf("reports every %v by the answer, want %v", got, r.peer.cfg.Report)
	}
	r.step(Recv{From: "h", Msg: Message{Job: jobID, Term: 1, Ack: &ReportAck{Every: time.Second}}})
	if got := r.peer.job(jobID).reports.every; got != time.Second {
		t.Errorf("reports every %v, want a second", got)
	}
}
