package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// cluster is a number of daemons on this host, used through the commands that a user has.
type cluster struct {
	s      *suite
	states []string // state directories; jobs are submitted at the first
}

// startCluster starts n daemons with the given slots each. The second and later join the first.
func (s *suite) startCluster(ctx context.Context, n, slots int) (*cluster, error) {
	c := &cluster{s: s}
	base, err := os.MkdirTemp(s.work, "daemons-")
	if err != nil {
		return nil, fmt.Errorf("could not create state directory: %w", err)
	}
	for i := range n {
		state := filepath.Join(base, fmt.Sprint(i))
		args := []string{"--detach", "--slots", fmt.Sprint(slots), "--root", s.ROOT, "--name", fmt.Sprintf("bench%d", i)}
		if _, err := c.command(ctx, state, append([]string{"up"}, args...)...); err != nil {
			return nil, errors.Join(err, c.close(ctx))
		}
		c.states = append(c.states, state)
		if i > 0 {
			if err := c.join(ctx, state); err != nil {
				return nil, errors.Join(err, c.close(ctx))
			}
		}
	}
	return c, nil
}

func (c *cluster) join(ctx context.Context, state string) error {
	text, err := c.command(ctx, c.states[0], "invite", "--output", "json")
	if err != nil {
		return err
	}
	var invite api.Invite
	if err := json.Unmarshal(text, &invite); err != nil {
		return fmt.Errorf("could not read invitation: %w", err)
	}
	_, err = c.command(ctx, state, "join", invite.Token)
	return err
}

// command runs dtpnode against the daemon of state and returns what it printed on standard output.
func (c *cluster) command(ctx context.Context, state string, args ...string) ([]byte, error) {
	args = append(args, "--state", state, "--cache", filepath.Join(c.s.Dir, "cache"))
	cmd := exec.CommandContext(ctx, c.s.Binary, args...)
	cmd.Dir = c.s.work
	var errs strings.Builder
	cmd.Stderr = &errs
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("could not run dtpnode %s: %w: %s", args[0], err, errs.String())
	}
	return text, nil
}

// runArgs returns the arguments of a whole job, or of its first n entries if n is not negative.
func (c *cluster) runArgs(class string, files []string, n int) ([]string, error) {
	list := filepath.Join(c.s.work, fmt.Sprintf("files_%d.txt", len(files)))
	if err := os.WriteFile(list, []byte(strings.Join(files, "\n")+"\n"), 0o644); err != nil {
		return nil, fmt.Errorf("could not write %q: %w", list, err)
	}
	return []string{"run", c.s.selector(class) + "+", "--tree", "Events", "--files", "@" + list, "-n", fmt.Sprint(n),
		"--allow-duplicates", // the large set is the small one under several names
		"-o", filepath.Join(c.s.work, "out.root"), "--output", "json"}, nil
}

// run submits a job at the first daemon and returns the seconds from the start of the command until the output is
// written. It checks the number of units done.
func (c *cluster) run(ctx context.Context, class string, files []string, n int) (float64, error) {
	args, err := c.runArgs(class, files, n)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	text, err := c.command(ctx, c.states[0], args...)
	elapsed := time.Since(start).Seconds()
	if err != nil {
		return 0, err
	}
	last, err := lastStatus(text)
	if err != nil {
		return 0, err
	}
	if last.State != api.Done || last.Done != last.Units || (n >= 0 && last.Units != int64(n)) {
		return 0, fmt.Errorf("could not use job %s: state %s, %d of %d units", last.ID, last.State, last.Done, last.Units)
	}
	return elapsed, nil
}

// lastStatus finds the last status among the events that run printed, a line each.
func lastStatus(text []byte) (api.JobStatus, error) {
	var last *api.JobStatus
	for line := range strings.Lines(string(text)) {
		var event api.Event
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			return api.JobStatus{}, fmt.Errorf("could not read event %q: %w", line, err)
		}
		if event.Status != nil {
			last = event.Status
		}
	}
	if last == nil {
		return api.JobStatus{}, errors.New("could not find the job's last status: run printed none")
	}
	return *last, nil
}

// status asks the i-th daemon.
func (c *cluster) status(ctx context.Context, i int) (api.NodeStatus, error) {
	var st api.NodeStatus
	text, err := c.command(ctx, c.states[i], "status", "--output", "json")
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(text, &st); err != nil {
		return st, fmt.Errorf("could not read the daemon's status: %w", err)
	}
	return st, nil
}

// close stops the daemons, even if ctx has ended.
func (c *cluster) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var errs []error
	for _, state := range c.states {
		_, err := c.command(ctx, state, "down")
		errs = append(errs, err)
	}
	c.states = nil
	return errors.Join(errs...)
}
