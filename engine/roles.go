package engine

import (
	"math"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Sender says who may send a kind of message. A message from anybody else changes nothing.
type Sender string

// Senders.
const (
	AnyMember  Sender = "any member"               // which speaks of itself alone
	TheHome    Sender = "the job's home"           // the one that leads in the term that this node follows
	AReplica   Sender = "a replica of the ledger"  // one that the log names here
	WhoWasSent Sender = "whom this node has asked" // the one from whom an answer is due
)

// Wrong is a kind of message that no honest node sends, in words for the user of the node that got it (Violation).
type Wrong string

// Wrongs. There are few, so that they can be counted by kind.
const (
	Malformed    Wrong = "malformed message"                      // not exactly one field is set, or a value is impossible
	NotItsOwn    Wrong = "speaks of another's partial as its own" // or names another node where it must name itself
	OutsideJob   Wrong = "units that are not of the job"
	FalsePartial Wrong = "a partial that is not what was offered"
	Impossible   Wrong = "offers units that it cannot have run"
	Unproven     Wrong = "claims what it cannot prove" // that it leads a job, or that a job has ended
	FalseProof   Wrong = "a proof or a word of a replica that is none"
	Hoards       Wrong = "has more blobs kept for a job than can be on their way to be committed"
	TooMuch      Wrong = "goes on asking for more than its share of this node's time"
)

// Rule is one line of the table of messages: who may send a message, and what is checked before it has any effect. A
// message from a sender who may not send it is dropped. One that fails its check is reported as a Violation: no honest
// node sends such a message, however late, lost or repeated its messages are.
type Rule struct {
	Field  string // of Message
	Sender Sender
	Checks string // what check does, in words

	in    func(m *Message) bool
	check func(p *Peer, j *jobState, from tasks.PeerID, m *Message) Wrong
}

// Rules is the table, one line for each field of Message that says something.
func Rules() []Rule { return rules }

var rules = []Rule{
	{
		"Steal",
		AnyMember,
		"one of request, grant, acknowledgement and refusal; at most MaxJobs jobs asked for; granted units are of the job; " +
			"dealt ones come from its submitter, or from whom that has put above this node; an acknowledgement is of a grant " +
			"to its sender",
		func(m *Message) bool { return m.Steal != nil },
		checkSteal,
	},
	{"Open", TheHome, "it names its sender as the home, a time between reports that can be, and the proof; see heed",
		func(m *Message) bool { return m.Open != nil }, checkOpen},
	{
		"Report",
		AnyMember,
		"what it holds is of the job, in maxRanges pieces at most; its failures blame units of the job",
		func(m *Message) bool { return m.Report != nil },
		checkReport,
	},
	{
		"Ack",
		TheHome,
		"as many times as names; few losses, of units of the job",
		func(m *Message) bool { return m.Ack != nil },
		checkAck,
	},
	{
		"Offer",
		AnyMember,
		"the partial is of this job, made and held by its sender, covers units of the job, and as many as it counts",
		func(m *Message) bool { return m.Offer != nil },
		checkOwn(func(m *Message) *merge.Partial { return m.Offer }),
	},
	{
		"Append",
		AnyMember,
		"it comes from the job's submitter, in bounds; it has no effect without the submitter's signature, see ledger.Signed",
		func(m *Message) bool { return m.Append != nil },
		checkAppend,
	},
	{
		"NotAppended",
		TheHome,
		"the number and signature of an append",
		func(m *Message) bool { return m.NotAppended != nil },
		checkNotAppended,
	},
	{
		"Grow",
		TheHome,
		"appends in bounds; the job's submitter has signed them",
		func(m *Message) bool { return m.Grow != nil },
		checkGrow,
	},
	{
		"Answer",
		TheHome,
		"the partial that it names is offered here",
		func(m *Message) bool { return m.Answer != nil },
		fine,
	},
	{
		"Gather",
		AnyMember,
		"as Offer",
		func(m *Message) bool { return m.Gather != nil },
		checkOwn(func(m *Message) *merge.Partial { return m.Gather }),
	},
	{
		"Gathered",
		WhoWasSent,
		"a known word, from the node to which the partial was offered",
		func(m *Message) bool { return m.Gathered != nil },
		checkGathered,
	},
	{
		"Reduce",
		TheHome,
		"the partials are of this job, disjoint, and those of this node as they lie here",
		func(m *Message) bool { return m.Reduce != nil },
		checkReduce,
	},
	{
		"Drop",
		TheHome,
		"units of the job",
		func(m *Message) bool { return m.Drop != nil },
		checkUnits(func(m *Message) tasks.Cover { return m.Drop }),
	},
	{
		"Undone",
		TheHome,
		"units of the job",
		func(m *Message) bool { return m.Undone != nil },
		checkUnits(func(m *Message) tasks.Cover { return m.Undone }),
	},
	{
		"Yield",
		TheHome,
		"units of the job",
		func(m *Message) bool { return m.Yield != nil },
		checkUnits(func(m *Message) tasks.Cover { return m.Yield }),
	},
	{
		"Refuse",
		WhoWasSent,
		"the merge was ordered of its sender",
		func(m *Message) bool { return m.Refuse != nil },
		checkRefuse,
	},
	{
		"Try",
		TheHome,
		"units of the job",
		func(m *Message) bool { return m.Try != nil },
		checkUnits(func(m *Message) tasks.Cover { return tasks.Cover{*m.Try} }),
	},
	{"Order", TheHome, "a known word", func(m *Message) bool { return m.Order != NoOrder }, checkOrder},
	{
		"Moved",
		AnyMember,
		"a term that can be; what it tells counts if it is proven. That there is no such job counts from its " +
			"submitter, for a copy of the ledger without a seat",
		func(m *Message) bool { return m.Moved != nil },
		checkMoved,
	},
	{
		"Enlist",
		TheHome,
		"it names the log's first voters, and the proof; see heed",
		func(m *Message) bool { return m.Enlist != nil },
		checkEnlist,
	},
	{
		"Enlisted",
		WhoWasSent,
		"it names its sender, and answers what it was asked with",
		func(m *Message) bool { return m.Enlisted != nil },
		checkEnlisted,
	},
	{"Resign", AnyMember, "nothing: the answer is the log's", func(m *Message) bool { return m.Resign != nil }, fine},
	{"Resigned", AReplica, "it answers what this node asked", func(m *Message) bool { return m.Resigned != nil }, fine},
	{"Frame", AReplica, "by package quorum", func(m *Message) bool { return len(m.Frame) > 0 }, fine},
	{"Keep", TheHome, "a partial of this job, or a result", func(m *Message) bool { return m.Keep != nil }, checkKeep},
	{
		"Kept",
		AReplica,
		"it was asked for; a partial's by a voter that the log names",
		func(m *Message) bool { return m.Kept != nil },
		fine,
	},
	{
		"Recovery",
		AnyMember,
		"it is signed by the job's submitter, or by a member with the right admin",
		func(m *Message) bool { return m.Recovery != nil },
		checkRecovery,
	},
	{
		"Ended",
		AnyMember,
		"a majority of the ledger's voters have signed it",
		func(m *Message) bool { return m.Ended != nil },
		checkEnded,
	},
}

// wrong says what is wrong with a message, or is empty if an honest node may have sent it. It does not judge whether
// the sender is the job's home.
func (p *Peer) wrong(from tasks.PeerID, j *jobState, m *Message) Wrong {
	var rule *Rule
	for i := range rules {
		switch {
		case !rules[i].in(m):
		case rule != nil:
			return Malformed
		default:
			rule = &rules[i]
		}
	}
	if rule == nil || m.Term > maxTerm {
		return Malformed
	}
	return rule.check(p, j, from, m)
}

// violated reports a member that sent what no honest node sends.
func (p *Peer) violated(from tasks.PeerID, job tasks.JobID, what Wrong) {
	if from != p.self {
		p.emit(Violation{From: from, Job: job, What: what})
	}
}

const (
	maxTerm     = 1 << 62 // of a log: no honest one comes near it
	maxNamed    = 1 << 10 // partials, or peers, in one message
	maxHash     = 128     // characters of a hash, hex
	maxFounders = 16      // voters with whom a log began
	// maxRanges bounds the ranges in which a report says what its sender holds. The most torn that honest nodes hold,
	// where many entries fail, come to hundreds of ranges.
	maxRanges = 1 << 14
)

// space is the range in which all units of a job lie, as far as this node can tell: no bound is known before the
// description is, nor for an open job, which may have grown without this node knowing.
func (j *jobState) space() tasks.Range {
	switch {
	case j == nil || j.desc == nil:
		return tasks.R(0, math.MaxInt64)
	case j.desc.Open:
		return tasks.R(j.desc.Want.First, math.MaxInt64)
	}
	return j.desc.Want
}

// knownOf is the part of c that consists of units which this node knows: the home of an open job may speak of more.
func (j *jobState) knownOf(c tasks.Cover) tasks.Cover { return c.Intersect(tasks.CoverOf(j.want())) }

// fine is the check of messages that need none.
func fine(*Peer, *jobState, tasks.PeerID, *Message) Wrong { return "" }

// outside says whether covers name units that the job cannot have.
func outside(j *jobState, covers ...tasks.Cover) Wrong {
	for _, c := range covers {
		if !c.Valid(j.space()) {
			return OutsideJob
		}
	}
	return ""
}

func checkUnits(of func(*Message) tasks.Cover) func(*Peer, *jobState, tasks.PeerID, *Message) Wrong {
	return func(_ *Peer, j *jobState, _ tasks.PeerID, m *Message) Wrong { return outside(j, of(m)) }
}

func checkSteal(p *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	s, said := m.Steal, 0
	for _, in := range []bool{s.Request != nil, s.Grant != nil, s.Ack != nil, s.Refuse != nil} {
		if in {
			said++
		}
	}
	switch {
	case said != 1:
		return Malformed
	case s.Request != nil && (len(s.Request.Jobs) > steal.MaxJobs || len(s.Request.Rates) != len(s.Request.Jobs)):
		return Malformed
	case s.Grant != nil && s.Grant.Ranges.Empty():
		return Malformed
	case s.Grant != nil:
		return outside(p.job(s.Grant.Job), s.Grant.Ranges)
	}
	return ""
}

func checkOpen(_ *Peer, _ *jobState, from tasks.PeerID, m *Message) Wrong {
	switch {
	case m.Open.Home != from:
		return NotItsOwn
	case m.Open.Every < 0 || m.Open.Every > maxEvery:
		return Malformed
	}
	return checkProof(from, m.Term, m.Open.Proof)
}

// checkProof reports a mandate that is not for the home and the term that the message names. Its signatures are checked
// later, by heed.
func checkProof(home tasks.PeerID, term uint64, proof *quorum.Mandate) Wrong {
	if proof == nil || proof.Term != term || proof.LeaderPeer() != home {
		return Unproven
	}
	return ""
}

func checkReport(_ *Peer, j *jobState, _ tasks.PeerID, m *Message) Wrong {
	for _, f := range m.Report.Failures {
		if !f.Blame.Empty() && f.Blame.Intersect(j.space()) != f.Blame {
			return OutsideJob
		}
	}
	if len(m.Report.Held) > maxRanges || len(m.Report.Also) > maxRanges || len(m.Report.Gave) > ledger.MaxGifts ||
		giftPieces(m.Report.Gave) > maxRanges {
		return Malformed
	}
	for _, g := range m.Report.Gave {
		if why := outside(j, g.Ranges); why != "" {
			return why
		}
	}
	return outside(j, m.Report.Held, m.Report.Also)
}

func checkAck(_ *Peer, j *jobState, _ tasks.PeerID, m *Message) Wrong {
	if len(m.Ack.Busy) > maxNamed || len(m.Ack.Busy) != len(m.Ack.Left) || m.Ack.Every < 0 || m.Ack.Every > maxEvery {
		return Malformed
	}
	if len(m.Ack.Losers) > maxLosers || len(m.Ack.Lost) > maxLosses {
		return Malformed
	}
	for _, l := range m.Ack.Lost {
		if len(l.Ranges) > maxLostRanges || l.Ago < 0 {
			return Malformed
		}
		if wrong := outside(j, l.Ranges); wrong != "" {
			return wrong
		}
	}
	return ""
}

// checkOwn checks a partial that its sender must have made and hold itself.
func checkOwn(of func(*Message) *merge.Partial) func(*Peer, *jobState, tasks.PeerID, *Message) Wrong {
	return func(_ *Peer, j *jobState, from tasks.PeerID, m *Message) Wrong {
		part := of(m)
		if part.Holder != from || part.ID.Node != from || part.Job != m.Job {
			return NotItsOwn
		}
		return checkPartial(j, m.Job, part)
	}
}

// checkPartial checks what can be seen of any partial without its blob.
func checkPartial(j *jobState, job tasks.JobID, part *merge.Partial) Wrong {
	switch {
	case part.Job != job || part.Size < 0 || part.Climb < 0 || part.Cover.Empty():
		return Malformed
	case len(part.Kids) > maxNamed || len(part.SHA256) > maxHash:
		return Malformed
	case !part.Cover.Valid(j.space()):
		return OutsideJob
	case part.Units != part.Cover.Len():
		return FalsePartial
	}
	return ""
}

func checkGathered(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	if m.Gathered.Word < merge.Noted || m.Gathered.Word > merge.Released {
		return Malformed
	}
	return ""
}

func checkReduce(_ *Peer, j *jobState, _ tasks.PeerID, m *Message) Wrong {
	for i := range m.Reduce.Inputs {
		if why := checkPartial(j, m.Job, &m.Reduce.Inputs[i]); why != "" {
			return why
		}
	}
	return ""
}

func checkRefuse(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	if len(m.Refuse) > maxNamed {
		return Malformed
	}
	return ""
}

func checkOrder(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	if m.Order < OrderStop || m.Order > OrderRest {
		return Malformed
	}
	return ""
}

func checkMoved(_ *Peer, _ *jobState, from tasks.PeerID, m *Message) Wrong {
	switch {
	case m.Moved.Term > maxTerm:
		return Malformed
	case m.Moved.Voters != nil && !votes(m.Moved.Voters.Conf(), from): // others have nothing to show
		return Malformed
	case m.Moved.Proof != nil:
		return checkProof(m.Moved.Home, m.Moved.Term, m.Moved.Proof)
	}
	return ""
}

func checkEnlist(_ *Peer, _ *jobState, from tasks.PeerID, m *Message) Wrong {
	if n := len(m.Enlist.Voters); n == 0 || n > maxFounders {
		return Malformed
	}
	return checkProof(from, m.Term, m.Enlist.Proof)
}

func checkEnded(_ *Peer, _ *jobState, _ tasks.PeerID, m *Message) Wrong {
	e := m.Ended
	if e.Seal == nil || len(e.Sum) > maxHash || (e.Result != nil && len(e.Result.Status) > ledger.MaxStatus) {
		return Malformed
	}
	return ""
}

func checkEnlisted(_ *Peer, _ *jobState, from tasks.PeerID, m *Message) Wrong {
	if m.Enlisted.Voter.Peer != from {
		return NotItsOwn
	}
	return ""
}

func checkKeep(_ *Peer, j *jobState, _ tasks.PeerID, m *Message) Wrong {
	switch k := m.Keep; {
	case (k.Partial == nil) == (k.Result == nil) || len(k.Sources) > maxNamed:
		return Malformed
	case k.Free: // the name of the partial is enough for this node to free it
	case k.Partial != nil:
		return checkPartial(j, m.Job, k.Partial)
	case k.Result.Size < 0 || len(k.Result.SHA256) > maxHash:
		return Malformed
	}
	return ""
}
