package pyexec

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// A call can kill the processes that it was forked from, by accident or not, and then kills all that runs beside it.
// What has run then is tried again alone (exec.GenSpec.Alone), in processes of its own from the interpreter on. So
// others lose nothing by what it kills, and it is clear who did that. It takes a start of the interpreter and the
// user's imports, and so is done only for programs to which it has happened on this host.

// mostKilled bounds of how many programs that is remembered. Of others it is found out anew.
const mostKilled = 1000

// mourn notes if a process with code is killed. It returns when the process has ended.
func (r *Runtime) mourn(key string, l *loaded) {
	<-l.zygote.Gone()
	if l.closed.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed == nil || len(r.killed) >= mostKilled {
		r.killed = map[string]bool{}
	}
	r.killed[key] = true
}

// wasKilled reports whether a process with the code of the program was killed.
func (p *program) wasKilled() bool {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	return p.r.killed[p.key] || p.loaded != nil && !p.loaded.zygote.Alive()
}

// apart are processes of a program that share none with others.
type apart struct {
	ctx    context.Context // ends with the program
	cancel context.CancelFunc
	tasks  sync.WaitGroup // each ends with its process, or with ctx
}

// close ends the processes.
func (a *apart) close() {
	a.cancel()
	a.tasks.Wait()
}

// forkApart makes a process for a generation, in an interpreter of its own, which ends with it.
func (p *program) forkApart(ctx context.Context) (*child.Process, error) {
	if p.apart.ctx.Err() != nil {
		return nil, exec.ErrGone
	}
	code, err := os.ReadFile(filepath.Join(p.folder, codeFile))
	if err != nil {
		return nil, ofDisk("load", err)
	}
	base, err := p.place.base.Another(ctx)
	if err != nil {
		return nil, err
	}
	l, _, err := p.loadOn(ctx, base, code)
	if err != nil {
		base.Close()
		return nil, err
	}
	proc, err := l.zygote.Fork(ctx, generation)
	end := func() {
		l.close()
		base.Close()
	}
	if err != nil {
		end()
		return nil, err
	}
	p.r.mu.Lock()
	released := p.released
	if !released {
		p.users++
		p.apart.tasks.Go(func() {
			select {
			case <-proc.Exited():
			case <-p.apart.ctx.Done():
			}
			end()
			p.unused()
		})
	}
	p.r.mu.Unlock()
	if released {
		proc.Close()
		end()
		return nil, exec.ErrGone
	}
	return proc, nil
}
