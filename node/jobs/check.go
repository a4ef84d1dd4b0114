package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/tasks"
)

// A check runs the first entries of a job on this host, by the steps of a real run and through the same children, and
// leaves nothing: two generations of half of the entries each, so that their outputs are merged, and Finish over
// both. No ledger, no other member and no file of the user is touched.

// checkerNeeds is the advice for a user whose job cannot be checked since this host lacks its runtime.
const checkerNeeds = "this node needs what the job runs with, to check it: see dtpnode doctor"

// checkEntries is how many entries a check runs.
const checkEntries = 1000

// warmEntries is how many entries are run first without being timed, since they also open the file and fill caches.
const warmEntries = 50

// Bounds of what a check copies of the working folder, and of what it tells.
const (
	maxCheckFile  = 1 << 20
	maxCheckFiles = 16 << 20
	maxWarnings   = 20
)

// Check tries a job that its user has not submitted yet, and tells meanwhile what it does.
func (r *Room) Check(ctx context.Context, req api.JobRequest, tell func(text string)) (out api.Check, err error) {
	if err := checkLimits(req); err != nil {
		return out, err
	}
	j := r.book.New(strings.Repeat("0", nameLen))
	j.s.Req, j.Tell = req, news(tell)
	defer j.Release()
	stop := context.AfterFunc(ctx, j.cancel)
	defer stop()
	h, err := r.runtimes.Choose(req.Kind, req.Version)
	rt, err := r.chosen(j, h, err)
	if err != nil {
		return out, withHint(err, checkerNeeds)
	}
	read, err := r.readForCheck(rt, j)
	if err != nil {
		return out, checkFailure(err)
	}
	if j.s.Items > 0 {
		read.Files = []tasks.File{{Entries: j.s.Items}}
	}
	desc, err := r.describeCheck(j, read.Files, read.Bad)
	if err != nil {
		return out, err
	}
	c := &checking{room: r, j: j, rt: rt, desc: desc, out: &out}
	c.tell(read)
	if c.dir, err = os.MkdirTemp(r.cfg.ScratchDir, "check-"); err != nil {
		return out, fmt.Errorf("could not make a folder for the check: %w", err)
	}
	defer os.RemoveAll(c.dir)
	if err := c.run(); err != nil {
		return out, checkFailure(err)
	}
	c.estimate()
	return out, nil
}

// readForCheck has the program of a job described, and its files planned.
func (r *Room) readForCheck(rt exec.Runtime, j *Job) (read plan.Read, err error) {
	if err := r.expand(rt, j); err != nil {
		return read, err
	}
	req, some := j.s.Req, chooses(j.s.Req)
	if !some {
		if err := r.describe(j.ctx, rt, j, nil, nil); err != nil {
			return read, err
		}
	}
	j.phase(api.Preparing, "reading the files")
	if read, err = r.planner.Files(j.ctx, rt, req, r.openLimit(req), j.Tell); err != nil || !some {
		return read, err
	}
	return read, r.selectAndDescribe(rt, j, &read, j.Tell)
}

// news calls its function with a phase only if that differs from the one before.
func news(tell func(text string)) func(text string) {
	var mu sync.Mutex
	last := ""
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if text != last {
			last = text
			tell(text)
		}
	}
}

// describeCheck is a description of what is wanted, without what only others need.
func (r *Room) describeCheck(j *Job, files []tasks.File, bad []tasks.Lost) (*tasks.Job, error) {
	data, err := tasks.NewDataset(files)
	if err != nil {
		return nil, err
	}
	data.Whole = j.whole() != "" && !hasItems(files)
	want, err := wanted(j.s.Req, data)
	return &tasks.Job{Work: j.ownWork(), Data: *data, Want: want, Bad: bad, Limits: limitsOf(j.s.Req)}, err
}

// checkFailure describes a failure to the user, with its stack and the last lines of output, since a check has no log
// in which the user could look them up.
func checkFailure(err error) error {
	var f *exec.Failure
	if !errors.As(err, &f) {
		return err
	}
	msg := f.Error()
	for _, more := range []string{f.Stack, f.Tail} {
		if more = strings.TrimSpace(more); more != "" {
			msg += "\n" + more
		}
	}
	return &api.Error{
		Status:  422,
		Message: msg,
		Hint:    "nothing was kept or written; the same would happen in the run",
		Err:     err,
	}
}

// checking is one check under way.
type checking struct {
	room  *Room
	j     *Job
	rt    exec.Runtime
	desc  *tasks.Job
	input string // path of what Begin has made; empty for nothing
	dir   string
	out   *api.Check
	// shift is added to the numbers of units, so that what is tried can be merged with what has run.
	shift int64
}

// tell notes how much there is, and what could not be read.
func (c *checking) tell(read plan.Read) {
	c.out.Units, c.out.Files = c.desc.Want.Len(), len(c.desc.Data.Files)+len(read.Bad)
	for _, l := range read.Bad {
		c.warn(fmt.Sprintf("%s cannot be read: %s", l.File, l.Reason))
	}
	for _, note := range read.Notes {
		c.warn(note)
	}
}

func (c *checking) warn(text string) {
	if len(c.out.Warnings) < maxWarnings && !slices.Contains(c.out.Warnings, text) {
		c.out.Warnings = append(c.out.Warnings, text)
	}
}

// run does Begin, the entries, the merge and Finish.
func (c *checking) run() error {
	work := filepath.Join(c.dir, "work")
	if err := copySmall(c.j.s.Req.Dir, work); err != nil {
		return fmt.Errorf("could not copy the working folder: %w", err)
	}
	var session exec.Session
	err := c.room.use(c.j.ctx, c.j, func(p exec.Program, _ *tasks.Job) (err error) {
		session, err = p.Session(c.j.ctx, exec.SessionSpec{Dir: work, Env: c.j.s.Req.Env, Out: c.j.clientLine})
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		session.Close()
		c.out.Stdout = strings.Join(c.j.linesFrom(0), "\n")
	}()
	c.j.phase(api.Preparing, "running Begin")
	if c.input, err = session.Begin(c.j.ctx); err != nil {
		return err
	}
	if c.input != "" {
		defer os.Remove(c.input)
	}
	var partials []string
	halves := c.halves()
	c.j.phase(api.Running, fmt.Sprintf("running %d entries of %d", c.out.Entries, c.out.Units))
	for i, half := range halves {
		path, err := c.generation(i, half)
		if err != nil {
			return err
		}
		partials = append(partials, path)
	}
	c.j.phase(api.Merging, "merging and running Terminate")
	fin, err := session.Finish(c.j.ctx, partials, "")
	if err != nil {
		return err
	}
	c.out.Apart = fin.Apart
	for _, name := range fin.Apart {
		c.warn(fmt.Sprintf("%s cannot be merged: the output will hold one for each process", name))
	}
	for _, o := range fin.Objects {
		c.out.Objects = append(c.out.Objects, api.CheckObject(o))
	}
	for _, note := range fin.Notes {
		c.warn(note)
	}
	return nil
}

// halves returns the first entries of the first file that can be read here, in two parts. Without any entry it returns
// one empty range, for a generation without a packet.
func (c *checking) halves() (out []tasks.Range) {
	for i, f := range c.desc.Data.Files {
		units := c.desc.Data.Units(i).Intersect(c.desc.Want)
		if units.Empty() {
			continue
		}
		if _, _, err := plan.KeyOf(f.URL, f.Part); err != nil {
			c.warn(fmt.Sprintf("%s cannot be read here: %s", f.URL, plan.Reason(err)))
			continue
		}
		n := min(units.Len(), checkEntries)
		if c.desc.Data.Whole {
			c.out.File, c.out.Entries = f.URL, n
			return append(out, tasks.R(units.First, units.First+n))
		}
		c.out.File, c.out.Entries = f.URL, n
		out = append(out, tasks.R(units.First, units.First+n-n/2))
		if n > 1 {
			out = append(out, tasks.R(units.First+n-n/2, units.First+n))
		}
		return out
	}
	return []tasks.Range{{}}
}

// warming is the part of a range that is run first, and says nothing of how fast the code is. Where files are not
// divided, it is all.
func (c *checking) warming(r tasks.Range) tasks.Range {
	if c.desc.Data.Whole {
		return r
	}
	return tasks.R(r.First, r.First+min(r.Len(), warmEntries))
}

// generation runs a range in a process of its own, and returns where its output is.
func (c *checking) generation(number int, r tasks.Range) (string, error) {
	dir := filepath.Join(c.dir, fmt.Sprint("gen-", number))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("could not make a folder for the check: %w", err)
	}
	sink := &checkSink{rt: c.rt, done: make(chan exec.Done, 2), failed: make(chan *exec.Failure, 1)}
	defer func() {
		for _, line := range sink.said() {
			c.warn(line)
		}
	}()
	var g exec.Generation
	err := c.room.use(c.j.ctx, c.j, func(p exec.Program, _ *tasks.Job) (err error) {
		g, err = p.Start(c.j.ctx, c.room.workers.Limits.Spec(c.desc, c.input, 1, dir), sink)
		return err
	})
	if err != nil {
		return "", err
	}
	defer g.Kill()
	warm := c.warming(r)
	for _, part := range []tasks.Range{warm, tasks.R(warm.Last, r.Last)} {
		if part.Empty() {
			continue
		}
		i, first := c.desc.Data.Locate(part.First)
		f := c.desc.Data.Files[i]
		packet := exec.Packet{
			ID:      uint64(part.First),
			File:    f.URL,
			Part:    f.Part,
			First:   first,
			Last:    first + part.Len(),
			Base:    part.First - first + c.shift,
			Start:   c.desc.Data.Start(i),
			Entries: f.Total(),
		}
		if packet.Small = f.Data; f.Items != "" && len(f.Data) == 0 {
			if packet.Items, err = c.room.itemsPath(c.j.ctx, c.j, f); err != nil {
				return "", err
			}
		}
		err := g.Lease(packet)
		if err != nil && !errors.Is(err, exec.ErrEnded) {
			return "", err
		}
		select {
		case done := <-sink.done:
			if part != warm || part == r {
				c.out.Timed += part.Len()
				c.out.Seconds += done.Elapsed.Seconds()
			}
		case f := <-sink.failed:
			return "", f
		case <-c.j.ctx.Done():
			return "", c.j.ctx.Err()
		}
	}
	sealed, err := g.Seal(c.j.ctx, filepath.Join(c.dir, fmt.Sprint("partial-", number)))
	return sealed.Path, err
}

// estimate tells how long the whole would take on this host, and on all that could work on it.
func (c *checking) estimate() {
	if c.out.Seconds <= 0 {
		return
	}
	c.out.Rate = float64(c.out.Timed) / c.out.Seconds
	c.out.Slots = c.room.cfg.Slots
	all := c.room.cfg.Slots
	for _, m := range c.room.cluster.Planners(c.desc.Work.Needs) {
		all += m.Slots
	}
	c.out.AllSlots = all
	work := float64(c.out.Units) / c.out.Rate
	c.out.Here = work / float64(max(c.out.Slots, 1))
	c.out.Everywhere = work / float64(max(all, 1))
}

// checkSink takes what a generation reports.
type checkSink struct {
	rt     exec.Runtime
	done   chan exec.Done
	failed chan *exec.Failure

	mu    sync.Mutex
	lines []string
}

func (s *checkSink) PacketDone(d exec.Done) { s.done <- d }
func (s *checkSink) Failed(f *exec.Failure) { s.failed <- f }

// Output keeps what the runtime has complained of.
func (s *checkSink) Output(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) < maxWarnings && s.rt.Complaint(line) {
		s.lines = append(s.lines, line)
	}
}

func (s *checkSink) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// copySmall copies the small files of a folder into a new one, in which Begin and Terminate run: they can read the
// files, and cannot change the user's own.
func copySmall(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil || from == "" {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxCheckFile || total+info.Size() > maxCheckFiles {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), data, 0o600)
		}
		if err != nil {
			return err
		}
		total += info.Size()
	}
	return nil
}
