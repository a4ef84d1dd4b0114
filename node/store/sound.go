package store

import (
	"golang.org/x/sys/unix"
)

// fileState is what tells the content of a file from that which it had before: any write changes the last of them.
type fileState struct {
	dev, ino         uint64
	size             int64
	modified, change unix.Timespec
}

// stateOf is the state of the file at a path.
func stateOf(path string) (s fileState, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return s, err
	}
	return fileState{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}, nil //nolint:unconvert // of other types elsewhere
}

// Sound reports whether the file at path is what its hash says. It is read, unless that was done before and nobody
// has touched it since. One that is damaged, or gone, is no longer known: its bytes are to be taken from elsewhere.
func (b *Blobs) Sound(hash, path string) bool {
	state, err := stateOf(path)
	if err == nil {
		b.mu.Lock()
		known, seen := b.sound[path]
		b.mu.Unlock()
		if seen && known == state {
			return true
		}
		err = Verify(path, hash)
	}
	if err != nil {
		b.doubt(hash, path, err)
		return false
	}
	b.noteSound(path, state)
	return true
}

// IsSound says that a file which is known is what its hash says, since it was just compared.
func (b *Blobs) IsSound(path string) {
	if state, err := stateOf(path); err == nil {
		b.noteSound(path, state)
	}
}

func (b *Blobs) noteSound(path string, state fileState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hashes[path] != "" { // else nobody says when it is forgotten
		b.sound[path] = state
	}
}
