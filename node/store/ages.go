package store

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// lastDay is how long a file that seems too old is still kept after that was first noticed.
const lastDay = 24 * time.Hour

// agedMark ends the name of a file beside another one. Its time is when the other one was first found to be too old.
const agedMark = ".old"

// Ages determines how long results and unfinished jobs have been kept, counted from when this node first saw them by
// its own clock. The times in a job's status, description or ledger come from the clocks of other nodes, which may be
// days off. This node's own clock may have been wrong and was corrected since. So what seems too old when the daemon
// starts is kept for one more day.
type Ages struct {
	KeepFor time.Duration // how long something is kept
	Log     *slog.Logger
}

// Since is when this node wrote the file at path, from which on something is to be kept for KeepFor. If that seems to
// be longer ago Since returns a later time, such that one day is left from the first call that found this. That call is
// remembered in a file beside the first one.
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

// timeOf is when a file was written. It is now if that is not known, or lies in the future.
func timeOf(path string, now time.Time) time.Time {
	info, err := os.Stat(path)
	if err != nil || info.ModTime().After(now) {
		return now
	}
	return info.ModTime()
}
