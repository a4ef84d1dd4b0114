package jobs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
)

// logEvery is how often all nodes are asked for new lines while a user follows a job's logs.
const logEvery = time.Second

// SendLogs sends what a job's children printed on all nodes and, with follow, what they print until the job ends. The
// last message names the nodes whose lines may be missing.
func (r *teller) SendLogs(ctx context.Context, name string, follow bool, send func(api.LogPart) error) error {
	j, home, _, err := r.granted(ctx, name, members.ForLook)
	if err != nil {
		return err
	}
	out := &logWriter{part: send, told: map[tasks.PeerID]logText{}}
	var last api.JobStatus
	for {
		st, err := r.statusFrom(ctx, j, home, name)
		over := err != nil || st.State.Final() // asked before the lines are, so that the last lines are not missed
		if err == nil {
			name, last = st.ID, st
		}
		failed, err := r.tellLogs(ctx, out, name)
		if err != nil {
			return err
		}
		if over || !follow {
			return send(api.LogPart{Over: true, Silent: r.silentNodes(last, failed)})
		}
		if j != nil {
			waitFinal(ctx, j, logEvery)
		} else {
			Sleep(ctx, logEvery)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Sleep waits for d or the end of ctx.
func Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// tellLogs sends what is new on this node and on all others that answer. failed has the nodes that are up and did not
// answer, and why.
func (r *teller) tellLogs(ctx context.Context, out *logWriter, name string) (failed map[tasks.PeerID]error, err error) {
	if err := out.tell(r.net.ID(), r.net.Name(), readLog(r.LogsFor(r.net.ID(), name))); err != nil {
		return nil, err
	}
	names, failed := r.cluster.Names(), map[tasks.PeerID]error{}
	for _, id := range r.cluster.Up() {
		text, err := r.cluster.Ask(ctx, id, "logs", name)
		if err != nil {
			failed[id] = err // the next round asks it again
			continue
		}
		if err := out.tell(id, names[id].Name, readLog(text)); err != nil {
			return nil, err
		}
	}
	return failed, nil
}

// silentNodes are the nodes whose lines of a job may be missing: they are not up or did not answer, and they have
// worked for the job, or may have.
func (r *teller) silentNodes(st api.JobStatus, failed map[tasks.PeerID]error) []api.SilentNode {
	states := map[tasks.PeerID]api.Member{}
	for _, m := range r.net.Members() {
		states[m.ID] = api.Member{Name: m.Name, Up: m.Up || m.Self, State: r.cluster.StateOf(m)}
	}
	for id, name := range r.cluster.Names() {
		m := states[id]
		m.Name = name.Name
		states[id] = m
	}
	return silent(st, r.net.ID(), states, failed)
}

// silent picks the nodes whose lines may be missing. If the nodes that are known to have worked for a job account for
// fewer units than are done, any node that cannot be asked may have worked for it, too.
func silent(
	st api.JobStatus, self tasks.PeerID, members map[tasks.PeerID]api.Member, failed map[tasks.PeerID]error,
) (out []api.SilentNode) {
	worked, did := map[tasks.PeerID]string{}, int64(0)
	for _, n := range st.Nodes {
		if did += n.Units; n.Packets+n.Units+n.Failures+n.Generations > 0 {
			worked[n.ID] = n.Name
		}
	}
	ids := slices.AppendSeq(slices.Collect(maps.Keys(worked)), maps.Keys(members))
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		m, member := members[id]
		name, was := worked[id]
		if id == self || !was && did >= st.Done-st.Before {
			continue
		}
		s := api.SilentNode{ID: id, Name: cmp.Or(m.Name, name, id)}
		switch err := failed[id]; {
		case err != nil:
			s.Why = "does not answer: " + err.Error()
		case !member:
			s.Why = "is no member any more"
		case !m.Up:
			s.Why = "is not up: " + string(m.State)
		default:
			continue
		}
		out = append(out, s)
	}
	return out
}

// LogsFor is what a job's children printed on this node, in the form of logText, or nothing if the member may not see
// the job's logs.
func (r *teller) LogsFor(who tasks.PeerID, name string) []byte {
	var out logText
	for _, j := range r.book.Find(name) {
		if !r.cluster.May(who, j.submitter(), members.ForLook) {
			continue
		}
		if l := j.log(); len(out.text)+len(l.text) <= maxLogBytes {
			out.began, out.at, out.text = out.began+l.began, out.at+l.at, out.text+l.text
			out.lost, out.all = out.lost.Add(l.lost), out.all.Add(l.all)
		}
	}
	return out.encode()
}

// logText is a reading of a node's log of a job. Its beginning may have been dropped: at and lost say how much it was.
type logText struct {
	began int64        // tells a log from one that a node has begun after a restart
	at    int64        // bytes of the log before text
	lost  exec.Dropped // what was printed before text
	all   exec.Dropped // what was printed in all
	text  string
}

// logHead begins an encoded logText, and is what no line of a log begins with. A member of an earlier version sends a
// text alone.
const logHead = "\x1elog "

func (l logText) encode() []byte {
	return fmt.Appendf(nil, "%s%d %d %d %d %d %d\n%s", logHead, l.began, l.at, l.lost.Lines, l.lost.Bytes, l.all.Lines,
		l.all.Bytes, l.text)
}

// readLog is encode's other side. What comes from another member may be anything, and is text then.
func readLog(b []byte) logText {
	whole := logText{text: string(b)}
	rest, ok := strings.CutPrefix(whole.text, logHead)
	head, text, ended := strings.Cut(rest, "\n")
	if !ok || !ended {
		return whole
	}
	l := logText{text: text}
	_, err := fmt.Sscanf(head, "%d %d %d %d %d %d", &l.began, &l.at, &l.lost.Lines, &l.lost.Bytes, &l.all.Lines,
		&l.all.Bytes)
	if err != nil || l.at < 0 {
		return whole
	}
	return l
}

// logWriter sends what is new in the logs of several nodes.
type logWriter struct {
	part func(api.LogPart) error
	told map[tasks.PeerID]logText // each node's log as it was the last time
}

// tell sends what a node's log has beyond what was sent before. What was dropped meanwhile is counted in its place.
func (l *logWriter) tell(id tasks.PeerID, name string, now logText) error {
	old, known := l.told[id]
	l.told[id] = now
	more, seen := "", old.at+int64(len(old.text))
	switch {
	case known && (old.began != now.began || now.began == 0), known && seen > now.at+int64(len(now.text)): // another log
		more = beyond(old.text, now.text)
	case now.at > seen:
		more = now.lost.Minus(old.all).Text(name, pastPace) + "\n" + now.text
	default:
		more = now.text[seen-now.at:]
	}
	if more == "" {
		return nil
	}
	return l.part(api.LogPart{Node: id, Name: name, Text: more})
}

// beyond is what text has after old. Both are readings of one log, from whose beginning lines may have been dropped
// between the two.
func beyond(old, text string) string {
	if more, ok := strings.CutPrefix(text, old); ok {
		return more
	}
	const mark = 1 << 10
	end := old[max(0, len(old)-mark):]
	if i := strings.LastIndex(text, end); i >= 0 {
		return text[i+len(end):]
	}
	return text
}
