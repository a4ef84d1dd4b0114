package exec

import (
	"errors"

	"golang.org/x/sys/unix"
)

// CauseOf says why this host does not see a local file that it could not open, or stat; it is empty if the error is
// none of the host's.
func CauseOf(err error) Cause {
	var no unix.Errno
	if !errors.As(err, &no) {
		return ""
	}
	switch no {
	case unix.ENOENT, unix.ENOTDIR:
		return CauseMissing
	case unix.EACCES, unix.EPERM:
		return CauseDenied
	case unix.ESTALE, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENOTCONN, unix.ENODEV, unix.ENXIO,
		unix.EREMOTEIO, unix.ECONNREFUSED, unix.ETIMEDOUT: // a network mount that is gone, or half gone
		return CauseUnreachable
	}
	return ""
}
