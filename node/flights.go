package node

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
)

// flights are the blobs that are on their way to files of ledgers here. A home asks again for what it has not heard of, and
// may give up what it asked for: one file is brought once at a time, and not at all once it is let go.
type flights struct {
	group singleflight.Group

	mu sync.Mutex
	of map[string]context.CancelFunc // by path
}

// bring brings a file, unless that is under way: then it waits for the outcome.
func (f *flights) bring(ctx context.Context, path string, do func(context.Context) error) error {
	_, err, _ := f.group.Do(path, func() (any, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		f.set(path, cancel)
		defer f.set(path, nil)
		return nil, do(ctx)
	})
	return err
}

func (f *flights) set(path string, cancel context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[string]context.CancelFunc{}
	}
	if cancel == nil {
		delete(f.of, path)
	} else {
		f.of[path] = cancel
	}
}

// flying reports whether a file is on its way.
func (f *flights) flying(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[path] != nil
}

// end stops what is on its way to a file, or to files of a folder if the path ends in a slash.
func (f *flights) end(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, cancel := range f.of {
		if p == path || strings.HasSuffix(path, "/") && strings.HasPrefix(p, path) {
			cancel()
		}
	}
}
