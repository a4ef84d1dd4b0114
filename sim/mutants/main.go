// Command mutants plants one bug after the other in the protocol (package internal/mutant) and runs the simulator's
// seeds until one of them fails. It writes docs/mutants.md:
//
//	go run ./sim/mutants [-seeds 1000] [-o docs/mutants.md] [BUG ...]
//
// A process has the same bug for its whole life, and only in a binary built with the tag "mutants". So the command
// builds itself with that tag, and runs the result once for each bug.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/sim"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	seeds := flags.Int("seeds", 1000, "seeds to run at most")
	first := flags.Uint64("first", 0, "the first of them")
	file := flags.String("o", filepath.Join("docs", "mutants.md"), "the table to write")
	hunt := flags.Bool("hunt", false, "look for the bug in $DTPNODE_MUTANT, in a binary that may have it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *hunt {
		return json.NewEncoder(out).Encode(sim.Hunt(*first, *seeds))
	}
	bugs := mutant.Bugs()
	if flags.NArg() > 0 {
		bugs = nil
		for _, a := range flags.Args() {
			bugs = append(bugs, mutant.Bug(a))
		}
	}
	found, err := huntAll(ctx, bugs, *seeds)
	if err != nil {
		return err
	}
	text := table(bugs, found)
	fmt.Fprint(out, text)
	if flags.NArg() > 0 {
		return nil // not all bugs were run, so the table is not written
	}
	return os.WriteFile(*file, []byte(text), 0o644)
}

// huntAll hunts each bug in a process of its own, as many at once as there are processors.
func huntAll(ctx context.Context, bugs []mutant.Bug, seeds int) ([]sim.Catch, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "mutants")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "mutants", "-o", bin,
		"github.com/dtpnode/dtpnode/sim/mutants")
	if msg, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("could not build the mutants: %w\n%s", err, msg)
	}
	found := make([]sim.Catch, len(bugs))
	errs := make([]error, len(bugs))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, b := range bugs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cmd := exec.CommandContext(ctx, bin, "-hunt", "-seeds", fmt.Sprint(seeds))
			cmd.Env = append(os.Environ(), "DTPNODE_MUTANT="+string(b), "GOMAXPROCS=1", "GOGC=600")
			answer, err := cmd.Output()
			if err == nil {
				err = json.Unmarshal(answer, &found[i])
			}
			if err != nil {
				errs[i] = fmt.Errorf("could not hunt %q: %w", b, err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// table is the page for docs/.
func table(bugs []mutant.Bug, found []sim.Catch) string {
	var b strings.Builder
	b.WriteString(`# Planted bugs, and how soon the simulator finds them

Each bug is planted in the protocol's own code where it would naturally be (package internal/mutant, build tag
"mutants"). The simulator then plays its seeds, 0 and up, until a run is not as it must be. Without a bug all of
them pass. The table is made by ` + "`make mutants`" + `; a test plays the seeds in it.

| bug | what is broken | seeds to catch | what was seen |
| --- | --- | --- | --- |
`)
	for i, bug := range bugs {
		seeds := fmt.Sprint(found[i].Seed + 1)
		if !found[i].Caught {
			seeds = "not caught"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", bug, bug.Breaks(), seeds,
			strings.ReplaceAll(first(found[i].Seen, 160), "|", "/"))
	}
	caught := slices.ContainsFunc(found, func(c sim.Catch) bool { return !c.Caught })
	if caught {
		b.WriteString("\nNot all are caught: that is a hole in the simulator.\n")
	}
	return b.String()
}

func first(s string, n int) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > n {
		return s[:n] + " …"
	}
	return s
}
