package node

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/journal"
)

// Each copy of a ledger holds some room on its disk that nothing else can take. When the disk is full, that a job
// cannot be finished for this reason, or is to be tried again, can still be written down: where the copy is the only
// one, all work of the job would be lost with a log that cannot go on.

// reserveFile holds the room, in the copy's folder.
const reserveFile = "reserve"

// reserveBytes is the room that is held, if there is so much: a few entries of the log. leastReserve is the least.
const (
	reserveBytes = 64 << 10
	leastReserve = 8 << 10
)

// reserve takes room for a copy's log, as much as there is up to the bound.
func (c *ledgerCopy) reserve() {
	path := filepath.Join(c.dir, reserveFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // there is none to be had
	}
	defer f.Close()
	for n := int64(reserveBytes); n >= leastReserve; n /= 2 {
		if unix.Fallocate(int(f.Fd()), 0, 0, n) == nil {
			return
		}
	}
	_ = os.Remove(path)
}

// writeIn carries out a write of a copy's log. On a full disk it lets go of the reserve, and tries once more.
func (c *ledgerCopy) writeIn(w engine.WriteLedger) error {
	err := c.journal.Write(w.Write)
	if !errors.Is(err, unix.ENOSPC) || os.Remove(filepath.Join(c.dir, reserveFile)) != nil {
		return err
	}
	if e := c.journal.Close(); e != nil {
		return errors.Join(err, e)
	}
	again, _, _, e := journal.Open(filepath.Join(c.dir, journalFile))
	if e != nil {
		return errors.Join(err, e)
	}
	c.journal = again
	if err = again.Write(w.Write); err == nil {
		c.reserve()
	}
	return err
}
