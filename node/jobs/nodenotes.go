package jobs

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// What a node has to say of a job to its user, such as that a module is missing here, it tells the node that has
// submitted the job, which adds it to the job's notes. A note that is lost is told by nobody else: nothing depends on
// it.

// nodeNote is the request "note".
type nodeNote struct {
	Job  tasks.JobID `msgpack:"j"`
	Text string      `msgpack:"t"`
	// Out says that the node takes no part in the job until it is told of another one.
	Out bool `msgpack:"o,omitempty"`
}

const (
	maxNodeNote  = 600 // bytes of the text of a note
	maxNodeNotes = 16  // notes of other nodes on one job, one of each
)

// tellNote tells the user of a job something about this node.
func (r *base) tellNote(id tasks.JobID, submitter tasks.PeerID, text string, out bool) {
	payload, err := wire.Marshal(&nodeNote{Job: id, Text: clipText(text, maxNodeNote), Out: out})
	if err != nil || submitter == r.net.ID() {
		return // what concerns this node itself was noted where the job was described
	}
	r.spawn(func() {
		if _, err := r.cluster.Ask(r.ctx, submitter, "note", string(payload)); err != nil {
			r.log.Debug("could not tell a job's user of this node", "job", id.Short(), "note", text, "reason", err)
		}
	})
}

// tellPrepared tells the user of a job what is to be known of its program here.
func (r *base) tellPrepared(id tasks.JobID, submitter tasks.PeerID, p exec.Program) {
	if n, ok := p.(exec.Noted); ok && len(n.Notes()) > 0 {
		r.tellNote(id, submitter, strings.Join(n.Notes(), "; "), false) // since one note of each node counts
	}
}

// tellNotPrepared tells the user of a job that its code does not load here, where it does on the user's own node, or
// that what it runs in cannot be made here.
func (r *base) tellNotPrepared(id tasks.JobID, submitter tasks.PeerID, fail *exec.Failure) {
	switch line, _, _ := strings.Cut(fail.Msg, "\n"); fail.Kind {
	case exec.KindCode:
		r.tellNote(id, submitter, "it takes no part, since the code does not load there: "+line, true)
	case exec.KindLacks:
		r.tellNote(id, submitter, "it takes no part: "+strings.Join(strings.Fields(fail.Msg), " "), true)
	}
}

// ServeNote takes a note on a job of this node's user from a member that may work for it. Of each member one counts.
func (r *Room) ServeNote(from tasks.PeerID, arg string) error {
	var n nodeNote
	if err := wire.Unmarshal([]byte(arg), &n); err != nil {
		return err
	}
	text := strings.TrimSpace(n.Text)
	if text == "" || len(text) > maxNodeNote+len("…") || strings.ContainsFunc(text, func(c rune) bool {
		return !unicode.IsPrint(c)
	}) {
		return errors.New("this is no note")
	}
	j := r.book.ByID(n.Job)
	if j == nil || !j.isOwn() || j.Final() || !r.net.HasRight(from, p2p.Worker) {
		return nil // which may be news to an honest member
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if n.Out && j.s.LeadOnly {
		if j.s.Out == nil {
			j.s.Out = map[tasks.PeerID]string{}
		}
		j.s.Out[from] = text
		defer r.spawn(func() { r.endLeft(j) })
	}
	if j.s.NodeNotes[from] || len(j.s.NodeNotes) >= maxNodeNotes {
		return nil
	}
	if j.s.NodeNotes == nil {
		j.s.NodeNotes = map[tasks.PeerID]bool{}
	}
	j.s.NodeNotes[from] = true
	j.s.Status.Notes = append(j.s.Status.Notes, fmt.Sprintf("node %s: %s", r.cluster.NameOf(from), text))
	return nil
}
