//go:build !liars

package node

import (
	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// lying is what a daemon needs to lie: nothing, in this build. See liars_on.go.
type lying struct{} //nolint:unused // builds that lie have another one

// beginLying does nothing in this build.
func (*Daemon) beginLying() {}

// tricks are none in this build (jobs.Tricks).
type tricks struct{ _ *Daemon }

// Named is what this node's user names a job: in this build, as it is to be.
func (tricks) Named(nonce []byte) []byte { return nonce }

// NamesAny reports whether this node minds no names of jobs.
func (tricks) NamesAny() bool { return false }

// Boasts reports whether this daemon says that it keeps blobs which it does not.
func (tricks) Boasts() bool { return false }

// said is what becomes of a message to another member: in this build, itself.
func (*Daemon) said(m engine.Message) (engine.Message, bool) { return m, true }

// hears reports whether a message is taken at all.
func (*Daemon) hears(tasks.PeerID, engine.Message) bool { return true }

// answers is what becomes of the answer to a request: in this build, itself.
func (*Daemon) answers(_, _ string, b []byte, err error) ([]byte, error) { return b, err }

// blobStore is where others fetch blobs.
func (d *Daemon) blobStore() p2p.BlobStore { return d.blobs }
