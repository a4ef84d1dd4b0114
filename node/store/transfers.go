package store

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
)

// transfers are the blobs that are being fetched into files of this node. A job's leader repeats requests that were not
// answered, and may withdraw one. So each file is fetched only once at a time, and a transfer can be stopped. The zero
// value is ready for use.
type transfers struct {
	group singleflight.Group

	mu sync.Mutex
	of map[string]context.CancelFunc // what ends each transfer, by path
}

// bring calls do to fetch the file at path. If that is under way already, it waits for the outcome instead.
func (t *transfers) bring(ctx context.Context, path string, do func(context.Context) error) error {
	_, err, _ := t.group.Do(path, func() (any, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		t.set(path, cancel)
		defer t.set(path, nil)
		return nil, do(ctx)
	})
	return err
}

func (t *transfers) set(path string, cancel context.CancelFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]context.CancelFunc{}
	}
	if cancel == nil {
		delete(t.of, path)
	} else {
		t.of[path] = cancel
	}
}

// running reports whether the file at path is being fetched.
func (t *transfers) running(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of[path] != nil
}

// stop ends the transfer to a file, or those to all files of a folder if the path ends in a slash.
func (t *transfers) stop(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, cancel := range t.of {
		if p == path || strings.HasSuffix(path, "/") && strings.HasPrefix(p, path) {
			cancel()
		}
	}
}
