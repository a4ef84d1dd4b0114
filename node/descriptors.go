package node

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/node/api"
)

// What a daemon has open at once: measured with ROOT it was 20 files at rest, and 10 more for each slot while every
// slot's child is replaced many times a second.
const (
	filesAtRest  = 64 // its log, socket, ledgers, and room for the merges and transfers of a moment
	filesPerSlot = 10 // sockets, pipes and files of the children that run, start and end

	roomForMembers = 1024 // that should be there beside them
)

// checkDescriptors refuses more slots than a process that may open so many files can serve, and says for how many
// members there is room beside them: each is one connection.
func checkDescriptors(limit uint64, slots int) (members int, err error) {
	const most = 1 << 20 // beyond which nobody counts
	open := int(min(limit, most))
	if need := filesAtRest + filesPerSlot*slots; open < need {
		e := &api.Error{
			Message: fmt.Sprintf("could not start with %d slots: this process may open %d files at once (ulimit -n), and "+
				"needs %d", slots, open, need),
			Hint: fmt.Sprintf("raise the limit: `ulimit -n %d`, as root, or LimitNOFILE=%[1]d in systemd's unit",
				max(4096, need+roomForMembers)),
		}
		if fit := (open - filesAtRest) / filesPerSlot; fit > 0 {
			e.Hint += fmt.Sprintf(", or use at most --slots %d", fit)
		}
		return 0, e
	}
	return open - filesAtRest - filesPerSlot*slots, nil
}

// checkDescriptors is that for this process. Go has raised the soft limit to the hard one before.
func (d *Daemon) checkDescriptors() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return nil //nolint:nilerr // a host that does not tell has no limit to hold to
	}
	members, err := checkDescriptors(l.Cur, d.cfg.Slots)
	if err == nil && members < roomForMembers {
		d.log.Info("few files may be open at once (ulimit -n)", "limit", l.Cur, "room for members", members)
	}
	return err
}
