package store

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// lastDay is how long what seems too old is kept from when that is first seen in a file.
const lastDay = 24 * time.Hour

// agedMark is the end of the name of a file whose time says when another was first seen to be too old.
const agedMark = ".old"

// Ages counts how long results and unfinished jobs are kept: from when this node first saw them, by its own clock.
// Those of other nodes may be days off, and so may times be that are told by them, in a job's status, description or
// ledger. This node's own clock may have been wrong, too, and was put right since. So what seems old when a daemon
// starts does not go before it has been seen to be old for a day.
type Ages struct {
	KeepFor time.Duration // how long something is kept
	Log     *slog.Logger
}

// Since is when this node wrote the file at path, which tells of something to be kept for KeepFor. If that seems longer
// ago it is a time that leaves it one day from the first such look, which is remembered beside the file.
func (a *Ages) Since(path string) time.Time {
	now := time.Now()
	at := timeOf(path, now)
	if now.Sub(at) <= a.KeepFor {
		return at
	}
	mark := path + agedMark
	if _, err := os.Stat(mark); errors.Is(err, fs.ErrNotExist) {
		err = durable.Write(mark, nil)
		a.Log.Info("what a file tells of is kept for a day more, since it has not been looked at for long",
			"file", path, "written", at, "error", err)
	}
	return timeOf(mark, now).Add(min(lastDay, a.KeepFor) - a.KeepFor)
}

// timeOf is when a file was written, at the latest now, and now if that is not known.
func timeOf(path string, now time.Time) time.Time {
	info, err := os.Stat(path)
	if err != nil || info.ModTime().After(now) {
		return now
	}
	return info.ModTime()
}
