package jobs

import (
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// told is a loop that others than functions of Ask call.
type told struct {
	t      *testing.T
	events []engine.Event
}

func (l *told) Post(ev engine.Event)       { l.events = append(l.events, ev) }
func (l *told) Ask(f func(p *engine.Peer)) { l.t.Error("nothing is to be asked") }
func (l *told) Step(ev engine.Event) {
	l.t.Errorf("the engine is stepped by whoever read a file: %+v", ev)
}

// TestLinksAreHandedToTheLoop: what items depend on is read beside the engine's loop, which alone steps the engine.
func TestLinksAreHandedToTheLoop(t *testing.T) {
	blob, err := exec.PackItems([][]byte{exec.LinkedItem(nil, []byte("a")), exec.LinkedItem([]int64{0}, []byte("b"))})
	if err != nil {
		t.Fatal(err)
	}
	l := &told{t: t}
	r := &copies{base: &base{loop: l}}
	file := tasks.File{Entries: 2, Depends: true, Data: blob}
	r.ReadLinks(engine.ReadLinks{Append: tasks.Append{Seq: 3, Files: []tasks.File{file}}})
	if len(l.events) != 1 {
		t.Fatalf("the engine is told %+v", l.events)
	}
	links, ok := l.events[0].(engine.Links)
	if !ok || links.Links.Seq != 3 || len(links.Links.On) != 1 || links.Links.On[0] != 0 {
		t.Errorf("the engine is told %+v", l.events[0])
	}
}
