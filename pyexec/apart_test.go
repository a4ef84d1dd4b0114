package pyexec

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/exec"
)

// killed is a sink of generations that are killed.
type killed struct{ dones }

func (killed) Failed(*exec.Failure) {}

// TestAloneAfterAKill: once the process with a program's code was killed, what runs alone shares no process with
// others, not even the interpreter, and its processes end with the program.
func TestAloneAfterAKill(t *testing.T) {
	rt := openRuntime(t)
	d, err := describe(t, rt, writeFile(t, "code.py", []byte(`
import os
MODE = "values"

def process(item):
    with open(f"/proc/{os.getppid()}/stat") as f:
        return os.getppid(), int(f.read().rpartition(")")[2].split()[1])
`)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Program.Release()
	p := d.Program.(*program)
	sink := killed{dones{t, make(chan exec.Done, 1)}}
	forkedFrom := func() (loader, interpreter int) {
		g, err := p.Start(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir(), Alone: true}, sink)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Lease(exec.Packet{ID: 1, Last: 1, Entries: 1}); err != nil {
			t.Fatal(err)
		}
		done := <-sink.done
		if _, err := fmt.Sscanf(readValues(t, done.Early), "(%d, %d)", &loader, &interpreter); err != nil {
			t.Fatal(err)
		}
		return loader, interpreter
	}
	loader, interpreter := forkedFrom()
	if loader != p.loaded.proc.PID() || interpreter != p.place.base.PID() {
		t.Errorf("it was forked from %d, of %d, though nothing was killed", loader, interpreter)
	}
	if err := unix.Kill(loader, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.loaded.zygote.Gone()
	seen := map[int]bool{loader: true, interpreter: true}
	for range 2 { // both are there at the end
		one, other := forkedFrom()
		if seen[one] || seen[other] {
			t.Errorf("it was forked from %d, of %d, with others: %v", one, other, seen)
		}
		seen[one], seen[other] = true, true
	}
}
