package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// A member that asks for partials again and again has one bundle here at a time, and all members together a few.
func TestHandoutsAreBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var made sync.WaitGroup
	defer made.Wait()
	defer cancel()
	b := &base{ctx: ctx, book: NewBook(ctx, "keeper", 1, nil, nil), spawn: made.Go}
	r := newCollector(b, nil, nil, nil)
	name := strings.Repeat("ab", 16)
	ask := func(from tasks.PeerID, i int) (*handout, error) {
		return r.handoutFor(from, name+fmt.Sprintf("%08d", i))
	}
	first, err := ask("one", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := ask("one", i); err != nil {
			t.Fatal(err)
		}
	}
	<-first.ctx.Done() // its place was taken by the next
	r.handouts.mu.Lock()
	held := len(r.handouts.of)
	r.handouts.mu.Unlock()
	if held != 1 {
		t.Errorf("one member has %d bundles", held)
	}
	for i := range maxHandouts - 1 {
		if _, err := ask(fmt.Sprint("member", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	var e *api.Error
	if _, err := ask("late", 0); !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
		t.Errorf("one too many is answered with %v", err)
	}
	if again, err := ask("one", 99); err != nil || again.ctx.Err() != nil {
		t.Errorf("the last bundle of the first member is gone: %v", err)
	}
}
