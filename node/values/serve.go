package values

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// maxSocketPath is what fits into the address of a Unix socket.
const maxSocketPath = 107

// maxRequest bounds a request of a child, in bytes.
const maxRequest = 64 << 20

// request is what a child asks. Job is the name of that of the values, or of the unit; empty for the child's own.
type request struct {
	Op     string      `msgpack:"op"`
	Job    string      `msgpack:"job"`
	Unit   int64       `msgpack:"unit"`
	Path   string      `msgpack:"path"`
	Values []keptValue `msgpack:"values"`
	Hold   bool        `msgpack:"hold"`
	Want   [][2]int64  `msgpack:"want"`
}

// keptValue is where a value is in the file that a child has written.
type keptValue struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // the library looks at it

	At, Size int64
	Sum      []byte
}

// place is where a value is on this host.
type place struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // the library looks at it

	Path     string
	At, Size int64
}

type keptAnswer struct {
	Op string `msgpack:"op"`
}

type gotAnswer struct {
	Op     string   `msgpack:"op"`
	Values []*place `msgpack:"values"`
}

type itemAnswer struct {
	Op   string `msgpack:"op"`
	Path string `msgpack:"path"`
	At   int64  `msgpack:"at"`
}

type failedAnswer struct {
	Op   string `msgpack:"op"`
	Why  string `msgpack:"why"`
	Over bool   `msgpack:"over"`
}

// overError says that the values of a job are asked for which is over, or of which this node does not know.
type overError struct{ error }

// Socket is the path at which children of a job reach the store. It is made with the first call, and again where
// something has removed it since.
func (s *Store) Socket(id tasks.JobID, job Job) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return "", s.ctx.Err()
	}
	k := s.begin(id, job)
	if _, err := os.Lstat(k.socket); k.listening != nil && err == nil {
		return k.socket, nil
	}
	if err := s.open(k); err != nil {
		return "", fmt.Errorf("could not listen for children of the job %s: %w", id.Short(), err)
	}
	return k.socket, nil
}

// open begins to listen at a new socket. Children that are connected stay so.
func (s *Store) open(k *kept) error {
	own := filepath.Dir(k.job.Dir())
	path, err := socketPath(own, k.id)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(k.ctx, "unix", path)
	if err != nil {
		return err
	}
	if k.listening != nil {
		k.listening.(*net.UnixListener).SetUnlinkOnClose(false) //nolint:forcetypeassert // it listens at no other address
		_ = k.listening.Close()
	}
	k.socket, k.listening = path, l
	context.AfterFunc(k.ctx, func() { _ = l.Close() })
	s.spawn(func() {
		s.listen(k.ctx, k, l)
		if k.ctx.Err() != nil {
			k.remove(l, path)
		}
	})
	return nil
}

// remove ends a listener, and removes its socket with the folder that was made for it.
func (k *kept) remove(l net.Listener, path string) {
	_ = l.Close()
	if made := filepath.Dir(path); made != filepath.Dir(k.job.Dir()) {
		_ = os.Remove(made)
	}
}

// socketPath is where the socket of a job is: in the node's own folder or, where the path would be too long for a
// socket, in a new folder that is this user's alone.
func socketPath(own string, id tasks.JobID) (path string, err error) {
	if path = filepath.Join(own, id.Short()+".sock"); len(path) <= maxSocketPath {
		return path, os.MkdirAll(own, 0o700)
	}
	for _, in := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		const longest = len("/dtpnode-4294967295/123456789012.sock")
		if !filepath.IsAbs(in) || len(in)+longest > maxSocketPath {
			continue
		}
		var dir string
		if dir, err = os.MkdirTemp(in, "dtpnode-"); err == nil {
			return filepath.Join(dir, id.Short()+".sock"), nil
		}
	}
	return "", err
}

// listen serves the children of a job until it is dropped.
func (s *Store) listen(ctx context.Context, k *kept, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				s.log.Warn("children of a job cannot hand values over any more", "job", k.id.Short(), "reason", err)
			}
			return
		}
		s.spawn(func() { s.serve(ctx, k, c) })
	}
}

// serve answers the requests of one child.
func (s *Store) serve(ctx context.Context, k *kept, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	defer c.Close()
	for {
		b, err := wire.ReadFrame(c, maxRequest)
		if err != nil {
			return // the child has ended
		}
		var r request
		var answer any
		if err = wire.Unmarshal(b, &r); err == nil {
			answer, err = s.answer(ctx, k, &r)
		}
		if err != nil {
			var over *overError
			answer = &failedAnswer{"failed", err.Error(), errors.As(err, &over)}
		}
		out, err := wire.Marshal(answer)
		if err == nil {
			err = wire.WriteFrame(c, out)
		}
		if err != nil {
			return
		}
	}
}

func (s *Store) answer(ctx context.Context, own *kept, r *request) (any, error) {
	k := own
	if r.Job != "" {
		var err error
		if k, err = s.earlier(r.Job); err != nil {
			return nil, &overError{err}
		}
	}
	switch r.Op {
	case "keep":
		values := make([]slot, len(r.Values))
		for i, v := range r.Values {
			if len(v.Sum) != sha256.Size {
				return nil, fmt.Errorf("value %d of the unit %d has a hash of %d bytes, want a SHA-256", i, r.Unit, len(v.Sum))
			}
			values[i] = slot{at: v.At, size: v.Size, sum: [sha256.Size]byte(v.Sum)}
		}
		if err := k.keep(r.Unit, r.Path, own.job.Dir(), values, r.Hold); err != nil {
			return nil, fmt.Errorf("could not keep the values of the unit %d: %w", r.Unit, err)
		}
		return &keptAnswer{"kept"}, nil
	case "get":
		found := s.get(ctx, k, r.Want)
		out := &gotAnswer{"got", make([]*place, len(found))}
		for i, v := range found {
			if v != nil {
				out.Values[i] = &place{Path: v.in.path, At: v.at, Size: v.size}
			}
		}
		return out, nil
	case "item":
		path, at, err := k.job.Item(ctx, r.Unit)
		if err != nil {
			return nil, fmt.Errorf("could not find the item of the unit %d: %w", r.Unit, err)
		}
		return &itemAnswer{"item", path, at}, nil
	}
	return nil, fmt.Errorf("no request is called %q", r.Op)
}
