package pyexec

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInterpreterThatDoesNotAnswer is ended with all that it has started, once nobody waits for it, and holds up none
// of those of other environments.
func TestInterpreterThatDoesNotAnswer(t *testing.T) {
	said := filepath.Join(t.TempDir(), "pid")
	exe := script(t, "python", fmt.Sprintf("sleep 1000 & echo $! > %s.new; mv %s.new %s; wait", said, said, said))
	ctx, cancel := context.WithCancel(t.Context())
	var pid string
	go func() {
		defer cancel()
		for pid == "" && t.Context().Err() == nil {
			b, _ := os.ReadFile(said)
			pid = strings.TrimSpace(string(b))
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := look(ctx, exe); err == nil {
		t.Error("it has answered")
	}
	<-ctx.Done()
	for runs(pid) {
		time.Sleep(time.Millisecond)
	}
	r := &Runtime{places: places{opening: map[string]*opening{}}}
	done := r.openingOf("silent")
	r.openingOf("another")()
	done()
	if len(r.places.opening) > 0 {
		t.Error("what nobody waits for is kept")
	}
}

// runs reports whether a process is there that has not ended.
func runs(pid string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	_, state, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(state, "Z")
}
