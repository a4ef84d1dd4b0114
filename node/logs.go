package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// logEvery is how often a follower of a job's output is told what is new on the nodes.
const logEvery = time.Second

// handleLogs writes what a job's children printed on all nodes; with ?follow until the job ends.
func (d *Daemon) handleLogs(w http.ResponseWriter, r *http.Request) {
	ctx, name := r.Context(), r.PathValue("id")
	j, home, _, err := d.granted(ctx, name, forLook)
	if err != nil {
		writeError(w, err)
		return
	}
	follow := r.URL.Query().Get("follow") != ""
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flush := http.NewResponseController(w)
	out := &logWriter{w: w, told: map[tasks.PeerID]string{}}
	for {
		st, err := d.statusFrom(ctx, j, home, name)
		over := err != nil || st.State.Final() // asked first, so that the last lines are told
		if err == nil {
			name = st.ID
		}
		if d.tellLogs(ctx, out, name) != nil || flush.Flush() != nil || over || !follow {
			return
		}
		if j != nil {
			waitFinal(ctx, j, logEvery)
		} else {
			sleep(ctx, logEvery)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// tellLogs writes what is new on this node and on those that answer.
func (d *Daemon) tellLogs(ctx context.Context, out *logWriter, name string) error {
	if err := out.tell(d.net.ID(), d.net.Name(), string(d.logsFor(d.net.ID(), name))); err != nil {
		return err
	}
	names := d.memberNames()
	for _, id := range d.upPeers() {
		text, err := d.askPeer(ctx, id, "logs", name)
		if err != nil {
			continue // it will answer the next time, or is gone
		}
		if err := out.tell(id, names[id].name, string(text)); err != nil {
			return err
		}
	}
	return nil
}

// logsFor is what a job's children printed on this node, for a member that may look at it.
func (d *Daemon) logsFor(who tasks.PeerID, name string) []byte {
	var b strings.Builder
	for _, j := range d.find(name) {
		if !d.may(who, d.submitterOf(j), forLook) {
			continue
		}
		lines, _ := j.logFrom(0)
		for _, l := range lines {
			if b.Len()+len(l) > maxLogAnswer {
				break
			}
			b.WriteString(l + "\n")
		}
	}
	return []byte(b.String())
}

// logWriter writes the growing logs of several nodes, each part under its node's name.
type logWriter struct {
	w    io.Writer
	told map[tasks.PeerID]string // the log as it was when last told
	last tasks.PeerID
}

// tell writes what text, a node's whole log, has beyond what was told.
func (l *logWriter) tell(id tasks.PeerID, name, text string) error {
	more := beyond(l.told[id], text)
	l.told[id] = text
	if more == "" {
		return nil
	}
	if l.last != id {
		l.last = id
		more = fmt.Sprintf("== %s\n%s", name, more)
	}
	_, err := io.WriteString(l.w, more)
	return err
}

// beyond is what text adds to old. Both are the ends of one log, of which the oldest lines may have gone.
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
