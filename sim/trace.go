package sim

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// tracer hashes every effect, so that two runs can be compared, and prints them on request.
type tracer struct {
	sum hash.Hash64
	buf [25]byte
	out io.Writer // nil for none
}

func newTracer(out io.Writer) *tracer { return &tracer{sum: fnv.New64a(), out: out} }

// effect notes an effect of node n at the time now.
func (t *tracer) effect(now time.Duration, n *node, e engine.Effect) {
	code, a, b := describe(e)
	binary.LittleEndian.PutUint64(t.buf[0:], uint64(now))
	binary.LittleEndian.PutUint64(t.buf[8:], uint64(a)^uint64(n.num)<<48)
	binary.LittleEndian.PutUint64(t.buf[16:], uint64(b))
	t.buf[24] = code
	t.sum.Write(t.buf[:])
	if t.out != nil {
		if s := sentence(e); s != "" {
			t.printf(now, n, "%s", s)
		}
	}
}

// printf prints one line of the readable trace.
func (t *tracer) printf(now time.Duration, n *node, format string, args ...any) {
	if t.out != nil {
		mark := ""
		if n.copy {
			mark = "'"
		}
		fmt.Fprintf(t.out, "%10.6f n%03d%s %s\n", now.Seconds(), n.num, mark, fmt.Sprintf(format, args...))
	}
}

// status prints the state of the job, twice a second of virtual time.
func (w *world) status() {
	if n := w.leader(); n != nil && !w.over {
		v, _ := n.peer.View(w.id)
		var held tasks.Cover
		var left time.Duration
		for _, r := range v.Nodes {
			held, left = held.Union(r.Held), max(left, r.Left)
		}
		up, gens := 0, 0
		for _, n := range w.nodes {
			if n.up && n.paused <= w.now {
				up, gens = up+1, gens+len(n.gens)
			}
		}
		open := tasks.CoverOf(w.job.Want).Minus(v.Committed)
		w.trace.printf(w.now, n, "STATUS committed %d, open %d of which held %d, run %d in all; nodes up %d, generations "+
			"%d; longest %v; %d parts; replicas %v; %+v",
			v.Committed.Len(), open.Len(), open.Intersect(held).Len(), w.ran, up, gens, left, v.Parts, v.Replicas, v.Counts)
	}
	w.after(500*time.Millisecond, w.status)
}

// describe turns an effect into numbers, by which different runs can be distinguished.
func describe(e engine.Effect) (code byte, a, b int64) {
	switch e := e.(type) {
	case engine.Send:
		return kindOf(e.Msg), hashText(e.To), 0
	case engine.Announce:
		return 101, 0, 0
	case engine.Prepare:
		return 102, 0, 0
	case engine.StartGen:
		return 103, int64(e.Gen), 0
	case engine.LeasePacket:
		return 104, int64(e.Gen), e.Packet.First<<20 ^ e.Packet.Last
	case engine.PreemptGen:
		return 105, int64(e.Gen), 0
	case engine.SealGen:
		return 106, int64(e.Gen), int64(e.Canary)
	case engine.KillGen:
		return 107, int64(e.Gen), 0
	case engine.MergeBlobs:
		return 108, int64(e.ID.Seq), int64(len(e.Inputs))
	case engine.FetchBlob:
		return 109, int64(e.Partial.ID.Seq), hashText(e.Partial.ID.Node)
	case engine.ForgetBlob:
		return 110, int64(e.ID.Seq), hashText(e.ID.Node)
	case engine.FinishJob:
		return 111, e.Units, int64(e.Canary)
	case engine.FailJob:
		return 112, 0, 0
	case engine.JobOver:
		return 113, 0, 0
	case engine.Stolen:
		return 114, int64(e.Wait), 0
	}
	return describeLedger(e)
}

func describeLedger(e engine.Effect) (code byte, a, b int64) {
	switch e := e.(type) {
	case engine.KeepBlob:
		return 116, int64(e.Partial.ID.Seq), hashText(e.Partial.ID.Node)
	case engine.KeepResult:
		return 117, hashText(e.Result.SHA256), 0
	case engine.FoundLedger:
		return 118, int64(e.Log.Self.ID), 0
	case engine.WriteLedger:
		hard := int64(e.Hard.Term)<<48 ^ int64(e.Hard.Vote) ^ int64(e.Hard.Commit)
		return 119, int64(e.Seq)<<32 ^ int64(len(e.Entries)), hard
	case engine.DropLedger:
		return 120, hashText(e.Reason), 0
	case engine.HomeIs:
		return 121, hashText(e.Home), int64(e.Term)
	case engine.JobEnded:
		return 122, hashText(e.Result.SHA256), 0
	case engine.Look:
		return 123, int64(len(e.Files)), int64(e.Files[0])
	case engine.Grown:
		return 124, e.Units.First, e.Units.Last
	case engine.ReadLinks:
		return 126, int64(e.Append.Seq), 0
	case engine.Appended:
		return 125, int64(e.Seq), hashText(e.Reason)
	}
	return 115, 0, 0
}

func hashText(s string) int64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return int64(h)
}

// These are the kinds of message, for counting.
const (
	kRequest byte = iota
	kWait
	kGrant
	kPush
	kAck
	kRefuse
	kOpen
	kReport
	kReportAck
	kOffer
	kNote
	kGather
	kGathered
	kAccept
	kReject
	kReduce
	kDrop
	kTry
	kOrder
	kYield
	kRefuseReduce
	kMoved
	kEnlist
	kEnlisted
	kResign
	kResigned
	kFrame
	kKeep
	kKept
	kEnded
	kAppend
	kNotAppended
	kGrow
	kinds
)

var kindNames = [kinds]string{"request", "wait", "grant", "push", "ack", "refuse", "open", "report", "reportAck",
	"offer", "note", "gather", "gathered", "accept", "reject", "reduce", "drop", "try", "order",
	"yield", "refuse to reduce", "moved", "enlist", "enlisted", "resign", "resigned", "frame", "keep", "kept", "ended",
	"append", "not appended", "grow"}

func kindOf(m engine.Message) byte {
	switch {
	case m.Steal != nil:
		return stealKind(*m.Steal)
	case m.Open != nil:
		return kOpen
	case m.Report != nil:
		return kReport
	case m.Ack != nil:
		return kReportAck
	case m.Offer != nil:
		return kOffer
	case m.Gather != nil:
		return kGather
	case m.Gathered != nil:
		return kGathered
	case m.Answer != nil && m.Answer.Accept:
		return kAccept
	case m.Answer != nil && m.Answer.Note:
		return kNote
	case m.Answer != nil:
		return kReject
	case m.Reduce != nil:
		return kReduce
	case m.Drop != nil:
		return kDrop
	case m.Try != nil:
		return kTry
	case m.Yield != nil:
		return kYield
	case m.Refuse != nil:
		return kRefuseReduce
	}
	return kindOfReplicas(m)
}

func kindOfReplicas(m engine.Message) byte {
	switch {
	case m.Moved != nil:
		return kMoved
	case m.Enlist != nil:
		return kEnlist
	case m.Enlisted != nil:
		return kEnlisted
	case m.Resign != nil:
		return kResign
	case m.Resigned != nil:
		return kResigned
	case m.Frame != nil:
		return kFrame
	case m.Keep != nil:
		return kKeep
	case m.Kept != nil:
		return kKept
	case m.Ended != nil:
		return kEnded
	case m.Append != nil:
		return kAppend
	case m.NotAppended != nil:
		return kNotAppended
	case m.Grow != nil:
		return kGrow
	}
	return kOrder
}

func stealKind(m steal.Message) byte {
	switch {
	case m.Request != nil && m.Request.Wait:
		return kWait
	case m.Request != nil:
		return kRequest
	case m.Grant != nil && m.Grant.Request == 0:
		return kPush
	case m.Grant != nil:
		return kGrant
	case m.Ack != nil:
		return kAck
	}
	return kRefuse
}

// sentence describes an effect for the readable trace.
func sentence(e engine.Effect) string {
	switch e := e.(type) {
	case engine.Send:
		return fmt.Sprintf("-> %s %s", e.To, messageText(e.Msg))
	case engine.StartGen:
		return fmt.Sprintf("start gen %d solo %v", e.Gen, e.Solo)
	case engine.LeasePacket:
		return fmt.Sprintf("lease gen %d %v", e.Gen, e.Packet)
	case engine.SealGen:
		return fmt.Sprintf("seal gen %d as %v, %d units", e.Gen, e.ID, e.Units)
	case engine.MergeBlobs:
		ids := make([]string, len(e.Inputs))
		for i, p := range e.Inputs {
			ids[i] = p.ID.String()
		}
		return fmt.Sprintf("merge %s into %v", strings.Join(ids, " "), e.ID)
	case engine.FetchBlob:
		return fmt.Sprintf("fetch %v %v", e.Partial.ID, e.Partial.Cover)
	case engine.ForgetBlob:
		return fmt.Sprintf("forget %v", e.ID)
	case engine.FinishJob:
		return fmt.Sprintf("finish %d parts, %d units, %d lost", len(e.Parts), e.Units, len(e.Lost))
	case engine.Announce:
		return "announce the job"
	case engine.KeepBlob:
		return fmt.Sprintf("keep %v %v for %s", e.Partial.ID, e.Partial.Cover, e.To)
	case engine.FoundLedger:
		return fmt.Sprintf("found ledger as %x", e.Log.Self.ID)
	case engine.WriteLedger:
		if s := e.Snapshot; s != nil {
			return fmt.Sprintf("write a snapshot of entry %d, without those up to %d, reset %v, %d entries, %+v", s.Index,
				s.Base, e.Reset, len(e.Entries), e.Hard)
		}
		return fmt.Sprintf("write %d entries, %+v", len(e.Entries), e.Hard)
	}
	return fmt.Sprintf("%T%+v", e, e)[len("engine."):]
}

func messageText(m engine.Message) string {
	name := kindNames[kindOf(m)]
	switch {
	case m.Steal != nil && m.Steal.Request != nil:
		return fmt.Sprintf("%s %d", name, m.Steal.Request.ID)
	case m.Steal != nil && m.Steal.Grant != nil:
		return fmt.Sprintf("%s %d: %v", name, m.Steal.Grant.ID, m.Steal.Grant.Ranges)
	case m.Steal != nil && m.Steal.Ack != nil:
		return fmt.Sprintf("%s %d ok %v", name, m.Steal.Ack.ID, m.Steal.Ack.OK)
	case m.Report != nil:
		return fmt.Sprintf("report %d holds %v", m.Report.Seq, coverText(m.Report.Held))
	case m.Offer != nil:
		return fmt.Sprintf("offer %v %v", m.Offer.ID, coverText(m.Offer.Cover))
	case m.Gather != nil:
		return fmt.Sprintf("gather %v %v", m.Gather.ID, coverText(m.Gather.Cover))
	case m.Gathered != nil:
		return fmt.Sprintf("gathered %v %d", m.Gathered.ID, m.Gathered.Word)
	case m.Answer != nil:
		return fmt.Sprintf("%s %v", name, m.Answer.ID)
	case m.Reduce != nil:
		return fmt.Sprintf("reduce %d partials", len(m.Reduce.Inputs))
	case m.Drop != nil:
		return fmt.Sprintf("drop %v", coverText(m.Drop))
	case m.Try != nil:
		return fmt.Sprintf("try %v", *m.Try)
	case m.Frame != nil:
		return fmt.Sprintf("frame of %d bytes", len(m.Frame))
	case m.Keep != nil && m.Keep.Partial != nil:
		return fmt.Sprintf("keep %v", m.Keep.Partial.ID)
	case m.Kept != nil:
		return fmt.Sprintf("kept %v %v", m.Kept.ID, m.Kept.OK)
	case m.Moved != nil:
		return fmt.Sprintf("moved to %s term %d", m.Moved.Home, m.Moved.Term)
	case m.Order != engine.NoOrder:
		return fmt.Sprintf("order %d", m.Order)
	}
	return name
}

func coverText(c tasks.Cover) string { return fmt.Sprintf("%d units %v", c.Len(), c) }
