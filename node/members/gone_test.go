package members

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// alone is the network of a node whose cluster has no other member.
type alone struct{ Net }

func (alone) ID() tasks.PeerID { return "self" }

func (alone) Members() []p2p.Member {
	m := p2p.Member{ID: "self", Self: true}
	m.Name = "long"
	return []p2p.Member{m}
}

func (alone) Request(context.Context, tasks.PeerID, string, []byte) ([]byte, error) {
	return nil, p2p.ErrRemote
}

// However many members come and go, a bounded number of names is kept.
func TestFormerMembersAreBounded(t *testing.T) {
	c := New(alone{}, func(f func()) { f() }, slog.New(slog.DiscardHandler))
	c.mu.Lock()
	for i := range 2 * maxCalled {
		c.called[fmt.Sprint("former", i)] = "batch"
	}
	c.mu.Unlock()
	c.NoteNames()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, self := c.called[c.net.ID()]; !self || len(c.called) > maxCalled || len(c.codeless) > maxCalled {
		t.Errorf("%c names, %c without code, this node among them: %v", len(c.called), len(c.codeless), self)
	}
}

// The code of a member that has gone is dropped once, and again if it was back, or a job of it is here.
func TestCodeOfFormerMembersIsDroppedOnce(t *testing.T) {
	before := map[tasks.PeerID]bool{}
	for i, step := range []struct {
		out        map[tasks.PeerID]bool
		submitters []tasks.PeerID
		want       []tasks.PeerID
	}{
		{map[tasks.PeerID]bool{"a": true, "b": true, "c": false}, nil, []tasks.PeerID{"a", "b"}},
		{map[tasks.PeerID]bool{"a": true, "b": true, "c": false}, nil, nil},
		{map[tasks.PeerID]bool{"a": true, "b": false, "c": true}, []tasks.PeerID{"a"}, []tasks.PeerID{"a", "c"}},
		{map[tasks.PeerID]bool{"a": true, "b": true, "c": true}, nil, []tasks.PeerID{"b"}},
	} {
		if got := firstTime(step.out, before, step.submitters); !slices.Equal(got, step.want) {
			t.Errorf("step %c: %v, want %v", i, got, step.want)
		}
	}
}
