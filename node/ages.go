package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
)

// How long results and unfinished jobs are kept is counted from when this node first saw them, by its own clock: those of
// other nodes may be days off, and so may times be that are told by them, in a job's status, description or ledger. This
// node's own clock may have been wrong, too, and was put right since. So what seems old when a daemon starts does not go
// before it has been seen to be old for lastDay.

// lastDay is how long what seems too old is kept from when that is first seen in a file.
const lastDay = 24 * time.Hour

// agedMark is the end of the name of a file whose time says when another was first seen to be too old.
const agedMark = ".old"

// keptSince is when this node wrote a file that tells of something to be kept for KeepFor.
func (d *Daemon) keptSince(path string) time.Time {
	now := time.Now()
	at := timeOf(path, now)
	if now.Sub(at) <= d.cfg.KeepFor {
		return at
	}
	mark := path + agedMark
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		err = durable.Write(mark, nil)
		d.log.Info("what a file tells of is kept for a day more, since it has not been looked at for long", "file", path, "written", at, "error", err)
	}
	return timeOf(mark, now).Add(min(lastDay, d.cfg.KeepFor) - d.cfg.KeepFor)
}

// timeOf is when a file was written, at the latest now, and now if that is not known.
func timeOf(path string, now time.Time) time.Time {
	info, err := os.Stat(path)
	if err != nil || info.ModTime().After(now) {
		return now
	}
	return info.ModTime()
}

// stuckFile keeps, in the folder of a ledger, which attempt to finish its job this node saw as the last one; its time is when.
const stuckFile = "stuck"

// stuckSince is when this node first saw, as the home of a job, that it cannot be finished, last being the last attempt. The
// attempt's own time is that of whoever tried.
func (d *Daemon) stuckSince(j *job, last ledger.Attempt) time.Time {
	attempt := fmt.Sprintf("%d %d %s", last.Round, last.At, last.Node)
	j.mu.Lock()
	seen := j.stuck
	j.mu.Unlock()
	if seen.attempt == attempt {
		return seen.since
	}
	seen = sighting{attempt, time.Now()}
	if c := d.ledgerOf(j.known()); c != nil {
		path := filepath.Join(c.dir, stuckFile)
		if was, err := os.ReadFile(path); err != nil || string(was) != attempt {
			_ = os.Remove(path + agedMark)
			if err := durable.Write(path, []byte(attempt)); err != nil {
				d.log.Warn("could not note since when a job cannot be finished: it counts anew when this node is started again", "job", api.Short(j.name), "reason", err)
			}
		}
		seen.since = d.keptSince(path)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stuck = seen
	return seen.since
}

// sighting is when this node first saw an attempt as the last one to finish a job.
type sighting struct {
	attempt string
	since   time.Time
}
