package pyexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInterpreterThatDoesNotAnswer is ended with all that it has started, once nobody waits for it, and holds up none
// of those of other environments.
func TestInterpreterThatDoesNotAnswer(t *testing.T) {
	// All that the interpreter starts has the pipe open: its end says that the last of them has ended.
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	exe := script(t, "python", fmt.Sprintf("exec 9>%s; sleep 1000 & echo started >&9; wait", pipe))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		f, err := os.Open(pipe) // once it has been started
		if err == nil {
			_, err = io.ReadFull(f, make([]byte, len("started\n")))
			cancel()
			_, more := io.Copy(io.Discard, f)
			err = errors.Join(err, more, f.Close())
		}
		ended <- err
	}()
	if _, err := look(ctx, exe); err == nil {
		t.Error("it has answered")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r := &Runtime{places: places{opening: map[string]*opening{}}}
	done := r.openingOf("silent")
	r.openingOf("another")()
	done()
	if len(r.places.opening) > 0 {
		t.Error("what nobody waits for is kept")
	}
}
