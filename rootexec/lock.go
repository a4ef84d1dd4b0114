package rootexec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// withLock runs f while it alone, of all processes of this host, holds the lock file at path.
func withLock(ctx context.Context, path string, f func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("could not make the cache folder: %w", err)
	}
	l := flock.New(path)
	ok, err := l.TryLockContext(ctx, 50*time.Millisecond)
	if err != nil || !ok {
		return fmt.Errorf("could not lock %q: %w", path, err)
	}
	defer func() { _ = l.Unlock() }() // the kernel unlocks as the file closes
	return f()
}

// exists reports whether there is something at path.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
