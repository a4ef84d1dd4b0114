package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// slots is the number of slots that the figures are stated for, whatever the machine has.
const slots = 2

// withCluster runs f with a running daemon. Without a binary f gets nil and measures only references.
func (s *suite) withCluster(ctx context.Context, f func(*cluster) error) (err error) {
	if s.Binary == "" {
		return f(nil)
	}
	c, err := s.startCluster(ctx, 1, slots)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	return f(c)
}

// warm runs every selector once, so that it is compiled and has a zygote.
func (c *cluster) warm(ctx context.Context, files []string) error {
	for _, class := range []string{"DiMuon", "DiMuonOld"} {
		if _, err := c.run(ctx, class, files, -1); err != nil {
			return err
		}
	}
	return nil
}

// steady measures warm jobs against the limit, in pairs one right after the other.
func steady(ctx context.Context, s *suite) ([]Result, error) {
	var results []Result
	err := s.withCluster(ctx, func(c *cluster) error {
		if c != nil {
			if err := c.warm(ctx, s.small); err != nil {
				return err
			}
		}
		for _, class := range []string{"DiMuon", "DiMuonOld"} {
			for _, size := range []struct {
				name  string
				files []string
			}{{"4M", s.small}, {"16M", s.large}} {
				r, err := s.steadyPairs(ctx, c, class, size.name, size.files)
				if err != nil {
					return err
				}
				results = append(results, r)
			}
		}
		return nil
	})
	return results, err
}

func (s *suite) steadyPairs(ctx context.Context, c *cluster, class, size string, files []string) (r Result, err error) {
	bound, err := s.startLimit(ctx, class, files, slots)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, bound.close()) }()
	var measured, reference []float64
	for range s.Pairs {
		if c != nil {
			t, err := c.run(ctx, class, files, -1)
			if err != nil {
				return r, err
			}
			measured = append(measured, t)
		}
		t, err := bound.pass()
		if err != nil {
			return r, err
		}
		reference = append(reference, t)
		s.Logger.Info("pair", "class", class, "size", size, "limit", t, "dtpnode", last(measured))
	}
	return compare(fmt.Sprintf("steady %s %s vs 2 bare ROOT processes", class, size), "s", measured, reference, 1.03), nil
}

func last(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[len(v)-1]
}

// treeProcessorMP measures whole jobs against the whole process of ROOT's own parallel processor.
func treeProcessorMP(ctx context.Context, s *suite) ([]Result, error) {
	var results []Result
	err := s.withCluster(ctx, func(c *cluster) error {
		if c != nil {
			if err := c.warm(ctx, s.small); err != nil {
				return err
			}
		}
		for _, class := range []string{"DiMuon", "DiMuonOld"} {
			var measured, reference []float64
			if _, err := s.runMP(ctx, class); err != nil { // fills the file cache
				return err
			}
			for range s.Pairs {
				if c != nil {
					t, err := c.run(ctx, class, s.small, -1)
					if err != nil {
						return err
					}
					measured = append(measured, t)
				}
				t, err := s.runMP(ctx, class)
				if err != nil {
					return err
				}
				reference = append(reference, t)
			}
			results = append(results, compare("whole "+class+" 4M vs TTreeProcessorMP", "s", measured, reference, 0.9))
		}
		return nil
	})
	return results, err
}

func (s *suite) commandMP(ctx context.Context, class string) (*exec.Cmd, error) {
	program, err := s.program(ctx, "treeprocessormp")
	if err != nil {
		return nil, err
	}
	out := filepath.Join(s.work, "mp.root")
	return exec.CommandContext(ctx, program,
		append([]string{s.library(class), class, "Events", fmt.Sprint(slots), out}, s.small...)...), nil
}

func (s *suite) runMP(ctx context.Context, class string) (float64, error) {
	cmd, err := s.commandMP(ctx, class)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("could not run TTreeProcessorMP: %w: %s", err, text)
	}
	return time.Since(start).Seconds(), nil
}

// latency measures the time of a job of 1,000 entries with warm daemons.
func latency(ctx context.Context, s *suite) ([]Result, error) {
	var values []float64
	err := s.withCluster(ctx, func(c *cluster) error {
		if c == nil {
			return nil
		}
		if err := c.warm(ctx, s.small); err != nil {
			return err
		}
		for range 4 * s.Pairs {
			t, err := c.run(ctx, "DiMuon", s.small, 1000)
			if err != nil {
				return err
			}
			values = append(values, t*1e3)
		}
		return nil
	})
	return []Result{figure("job of 1,000 entries", "ms", 80, values...)}, err
}

// packets reads the daemons' own histograms after jobs that all started on one of two nodes.
func packets(ctx context.Context, s *suite) (results []Result, err error) {
	if s.Binary == "" {
		return nil, nil
	}
	c, err := s.startCluster(ctx, 2, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	for range s.Pairs {
		args, err := c.runArgs("DiMuon", s.large, -1)
		if err != nil {
			return nil, err
		}
		if _, err := c.command(ctx, c.states[0], append(args, "--seed-local")...); err != nil {
			return nil, err
		}
	}
	home, err := c.status(ctx, 0)
	if err != nil {
		return nil, err
	}
	thief, err := c.status(ctx, 1)
	if err != nil {
		return nil, err
	}
	if thief.Steal.Count == 0 {
		return nil, errors.New("could not measure steals: the second node stole nothing")
	}
	return []Result{
		figure("packet beyond its entries, p50", "ms", 0.3, home.Packet.P50, thief.Packet.P50),
		figure("packet beyond its entries, p99", "ms", 0, home.Packet.P99, thief.Packet.P99),
		figure("steal on loopback, p50", "ms", 5, thief.Steal.P50),
		figure("steal on loopback, p99", "ms", 20, thief.Steal.P99),
		figure("steals in the histogram", "", 0, float64(thief.Steal.Count)),
	}, nil
}

// memory samples the memory of the daemon and all processes of a job while it runs, and of TTreeProcessorMP. The latter
// is measured first: beside a daemon, even an idle one, its PSS would be less, since they share the pages of ROOT's
// libraries.
func memory(ctx context.Context, s *suite) (results []Result, err error) {
	var reference []float64
	for range s.Pairs {
		mp, err := s.commandMP(ctx, "DiMuon")
		if err != nil {
			return nil, err
		}
		all, _, err := peak(ctx, mp, 0)
		if err != nil {
			return nil, err
		}
		reference = append(reference, all)
	}
	err = s.withCluster(ctx, func(c *cluster) error {
		results, err = s.memoryOfJobs(ctx, c, reference)
		return err
	})
	return results, err
}

// memoryOfJobs measures jobs with one selector loaded, as with TTreeProcessorMP, then one with two, since the daemon
// keeps a warm process for each selector that ran lately.
func (s *suite) memoryOfJobs(ctx context.Context, c *cluster, reference []float64) ([]Result, error) {
	const name = "PSS of all processes of a two-slot job vs TTreeProcessorMP, 2 workers"
	if c == nil {
		return []Result{compare(name, "MB", nil, reference, 1)}, nil
	}
	st, err := c.status(ctx, 0)
	if err != nil {
		return nil, err
	}
	idle, running := rss(st.PID), 0.
	if _, err := c.run(ctx, "DiMuon", s.small, -1); err != nil {
		return nil, err
	}
	var one []float64
	for range s.Pairs {
		all, daemon, err := s.jobMemory(ctx, c)
		if err != nil {
			return nil, err
		}
		one, running = append(one, all), max(running, daemon)
	}
	if err := c.warm(ctx, s.small); err != nil {
		return nil, err
	}
	two, _, err := s.jobMemory(ctx, c)
	if err != nil {
		return nil, err
	}
	return []Result{compare(name, "MB", one, reference, 1),
		figure("the same with a second selector loaded", "MB", 600, two),
		figure("RSS of an idle daemon", "MB", 60, idle), figure("RSS of a running daemon", "MB", 100, running)}, nil
}

// jobMemory runs a job and returns the highest PSS of its processes, the command's own included, and the highest RSS of
// the daemon, in MB.
func (s *suite) jobMemory(ctx context.Context, c *cluster) (all, daemon float64, err error) {
	st, err := c.status(ctx, 0)
	if err != nil {
		return 0, 0, err
	}
	args, err := c.runArgs("DiMuon", s.large, -1)
	if err != nil {
		return 0, 0, err
	}
	args = append(args, "--state", c.states[0], "--cache", filepath.Join(s.Dir, "cache"))
	return peak(ctx, exec.CommandContext(ctx, s.Binary, args...), st.PID)
}

// peak runs cmd and returns the highest PSS of all processes below it and below daemon (0: none), and the
// daemon's highest RSS, in MB.
func peak(ctx context.Context, cmd *exec.Cmd, daemon int) (all, daemonRSS float64, err error) {
	if err := cmd.Start(); err != nil {
		return 0, 0, fmt.Errorf("could not start %q: %w", cmd.Path, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends with the process, and is waited for below
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return 0, 0, fmt.Errorf("could not run %q: %w", cmd.Path, err)
			}
			return all, daemonRSS, ctx.Err()
		case <-tick.C:
			pids, err := descendants(cmd.Process.Pid)
			if err != nil {
				continue
			}
			if daemon != 0 {
				more, _ := descendants(daemon)
				pids = append(pids, more...)
				daemonRSS = max(daemonRSS, rss(daemon))
			}
			all = max(all, pss(pids))
		}
	}
}

// scaling measures 1, 2 and 3 daemons of one slot each against the same number of bare ROOT processes.
func scaling(ctx context.Context, s *suite) ([]Result, error) {
	var results []Result
	for n := 1; n <= 3; n++ {
		r, err := s.scalingPairs(ctx, n)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

func (s *suite) scalingPairs(ctx context.Context, n int) (r Result, err error) {
	bound, err := s.startLimit(ctx, "DiMuon", s.small, n)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, bound.close()) }()
	var c *cluster
	if s.Binary != "" {
		if c, err = s.startCluster(ctx, n, 1); err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, c.close(ctx)) }()
		if err := c.warm(ctx, s.small); err != nil {
			return r, err
		}
	}
	var measured, reference []float64
	for range s.Pairs {
		if c != nil {
			t, err := c.run(ctx, "DiMuon", s.small, -1)
			if err != nil {
				return r, err
			}
			measured = append(measured, t)
		}
		t, err := bound.pass()
		if err != nil {
			return r, err
		}
		reference = append(reference, t)
	}
	name := fmt.Sprintf("%d daemons of one slot vs %d bare ROOT processes, %d CPUs", n, n, runtime.NumCPU())
	return compare(name, "s", measured, reference, 0), nil
}
