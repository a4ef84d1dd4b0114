package pyexec

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// TestSpare: the process of the next generation is there before it is asked for, is not the one that ran before, is
// replaced if somebody kills it, and is gone with the program.
func TestSpare(t *testing.T) {
	rt := openRuntime(t)
	d, err := describe(t, rt, writeFile(t, "code.py", []byte("def process(x): return x\n")))
	if err != nil {
		t.Fatal(err)
	}
	p := d.Program.(*program)
	waiting := func() (pid int) {
		p.spare.tasks.Wait()
		p.spare.mu.Lock()
		defer p.spare.mu.Unlock()
		if p.spare.proc == nil {
			return 0
		}
		return p.spare.proc.PID()
	}
	start := func() {
		t.Helper()
		g, err := p.Start(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()}, dones{t, make(chan exec.Done, 1)})
		if err != nil {
			t.Fatal(err)
		}
		g.Kill()
	}
	start()
	first := waiting()
	start()
	second := waiting()
	if first == 0 || second == 0 || first == second {
		t.Fatalf("processes %d and %d wait", first, second)
	}
	p.spare.mu.Lock()
	proc := p.spare.proc
	p.spare.mu.Unlock()
	proc.Close()
	start() // which finds that it is gone
	if third := waiting(); third == 0 || third == second {
		t.Errorf("process %d waits after %d was killed", third, second)
	}
	p.spare.mu.Lock()
	p.spare.idle.Reset(time.Nanosecond)
	proc = p.spare.proc
	p.spare.mu.Unlock()
	<-proc.Exited()
	start()
	if waiting() == 0 {
		t.Error("none waits after one has waited for too long")
	}
	d.Program.Release()
	if waiting() != 0 {
		t.Error("one waits when the program is gone")
	}
}
