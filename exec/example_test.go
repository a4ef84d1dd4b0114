package exec_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/fakeexec"
)

// Example leads a job from what the user named to its output, as a node does: with the runtime of the tests, whose code
// is a file that says how many bins to count entries in.
func Example() {
	if err := lead(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// planned: 100 entries
	// the packet 1 is done up to the entry 60
	// the packet 2 is done up to the entry 100
	// finished: 100 units
}

func lead(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	code := filepath.Join(dir, "code.json")
	if err := os.WriteFile(code, []byte(`{"entry": "0s", "bins": 10}`), 0o600); err != nil {
		return err
	}
	// A finder lists the runtimes of one kind that there are on this host, and opens one of them.
	var finder exec.Finder = fakeexec.Finder{}
	infos, err := finder.Find(ctx)
	if err != nil {
		return err
	}
	runtime, err := finder.Open(ctx, infos[0], exec.Config{Scratch: dir, Cache: dir})
	if err != nil {
		return err
	}
	defer runtime.Close()
	const input = "fake://events?entries=100"
	plan, err := runtime.Plan(ctx, input, "", 0)
	if err != nil {
		return err
	}
	fmt.Println("planned:", plan.Entries, "entries")
	// Where a job is submitted it is described, and any other node would prepare it from Work and Blobs.
	job, err := runtime.Describe(ctx, exec.Request{
		Spec: fmt.Appendf(nil, `{"selector": %q}`, code),
		Tell: func(string) {},
	})
	if err != nil {
		return err
	}
	defer job.Program.Release()
	return run(ctx, job.Program, input, dir)
}

// run is what the submitting side does, and what a worker does in between.
func run(ctx context.Context, program exec.Program, input, dir string) error {
	session, err := program.Session(ctx, exec.SessionSpec{Out: func(string) {}})
	if err != nil {
		return err
	}
	defer session.Close()
	begun, err := session.Begin(ctx)
	if err != nil {
		return err
	}
	reports := make(printer, 2)
	generation, err := program.Start(ctx, exec.GenSpec{Job: 1, Input: begun, Dir: dir}, reports)
	if err != nil {
		return err
	}
	defer generation.Kill()
	for _, p := range []exec.Packet{{ID: 1, File: input, Last: 60}, {ID: 2, File: input, First: 60, Last: 100}} {
		if err := generation.Lease(p); err != nil {
			return err
		}
	}
	for range 2 {
		d := <-reports
		fmt.Println("the packet", d.ID, "is done up to the entry", d.Last)
	}
	partial, err := generation.Seal(ctx, filepath.Join(dir, "partial"))
	if err != nil {
		return err
	}
	end, err := session.Finish(ctx, []string{partial.Path}, filepath.Join(dir, "output"))
	fmt.Println("finished:", end.Units, "units")
	return err
}

// printer is a sink that hands on the packets that are done.
type printer chan exec.Done

func (p printer) PacketDone(d exec.Done) { p <- d }
func (printer) Failed(f *exec.Failure)   { fmt.Println(f) }
func (printer) Output(string)            {}
