package units

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// stream sends the results of one job's units to one user. Units that were sent are in told, so that each is sent only
// once, however often the partials that have it are merged, or run again, meanwhile.
type stream struct {
	room    *Room
	name    string
	asked   tasks.Cover // one range
	bounded bool        // the user has named its end
	follow  bool
	early   bool // values are asked for before they are committed
	files   bool // and with the file that has them, where there is one
	// listening is called once there is an ear, and is nil then, or if nobody waits for that
	listening func()
	send      func(api.UnitsEvent) error

	ear    *ear            // what is told before it is committed; nil until the job is found
	hasty  tasks.Cover     // units whose values were sent, and that were not told as committed yet
	known  bool            // the job was found
	told   tasks.Cover     // units that were sent
	begun  bool            // something was sent
	ended  bool            // and the last line was made
	gone   error           // the error of send, after which nobody listens any more
	none   bool            // the job's partials have no values
	batch  []api.UnitValue // values that are to be sent in one line
	weight int             // bytes of the values in batch
}

// Bounds of one line. A single value may be larger than maxWeight, and then has a line of its own.
const (
	maxBatch  = 1000    // values
	maxWeight = 1 << 20 // bytes of values
)

// run sends results until all that was asked for is sent, or nobody listens any more. It returns an error if the
// results could not be read.
func (s *stream) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of what was begun for this stream
	var src Source
	var failing time.Time // since when looks have failed
	defer s.deaf()
	for {
		l, err := s.look(ctx, &src)
		if s.gone != nil || ctx.Err() != nil {
			return nil
		}
		if err == nil {
			failing = time.Time{}
			if !s.follow || s.over(l) {
				s.ended = true
				return s.emit(s.end(l))
			}
		} else {
			src = nil // it may be found elsewhere
			if failing.IsZero() {
				failing = time.Now()
			}
			late := s.follow && !waits(err) && time.Since(failing) > s.room.Patience
			if late || !s.follow && time.Since(failing) > s.room.Once || definite(err, s.known) {
				return err
			}
		}
		if !s.await(ctx) {
			return nil
		}
	}
}

// await returns when it is time for the next look, and meanwhile sends what comes early. It reports false if nobody
// listens any more.
func (s *stream) await(ctx context.Context) bool {
	var wake <-chan struct{}
	if s.ear != nil {
		wake = s.ear.wake
	}
	late := time.NewTimer(s.room.Every)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-late.C:
			return true
		case <-wake:
		}
		values, committed := s.ear.take()
		if s.hurry(values) != nil {
			return false
		}
		if committed {
			return true
		}
	}
}

// deaf ends listening to what comes early.
func (s *stream) deaf() {
	if s.ear != nil {
		s.ear.close()
		s.ear = nil
	}
}

// hurry sends values that are not committed yet, if they were asked for, in batches.
func (s *stream) hurry(runs []run) error {
	if !s.early {
		return nil
	}
	batch := earlyBatch{send: s.emit}
	for _, r := range runs {
		if err := s.hurryRun(r, &batch); err != nil {
			return err
		}
	}
	return batch.flush()
}

// hurryRun sends the values of a run that were not sent yet.
func (s *stream) hurryRun(r run, batch *earlyBatch) error {
	file := s.file(r.values)
	if file != nil {
		defer file.Close() // it was only read
	}
	all := tasks.CoverOf(tasks.R(r.first, r.first+int64(r.values.Len())))
	for _, part := range s.fresh(all).Minus(s.hasty) {
		var err error
		if file != nil {
			s.hasty = s.hasty.Add(part)
			err = errors.Join(batch.flush(), s.emit(api.UnitsEvent{Held: heldPart(r, file, part)}))
		} else {
			err = s.hurryPart(r, part, batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file is the file that has values, if it is asked for and has all of them: how long it is, a process says. It has a
// descriptor of its own, since the generation may end meanwhile, which closes its own. The caller closes it.
func (s *stream) file(values exec.Early) *os.File {
	held, ok := values.(*exec.Held)
	if !ok || !s.files || held.Len() == 0 {
		return nil
	}
	file, ok := held.File.(*os.File)
	if !ok {
		return nil
	}
	again := dup(file)
	if again == nil {
		return nil
	}
	info, err := again.Stat()
	if err != nil || info.Size() < held.At+int64(held.Ends[held.Len()-1]) {
		_ = again.Close() // it was only read
		return nil
	}
	return again
}

// dup is a file with another descriptor; nil if the file is closed.
func dup(file *os.File) *os.File {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil
	}
	again := -1
	err = raw.Control(func(fd uintptr) { // it is not closed meanwhile
		if n, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			again = n
		}
	})
	if err != nil || again < 0 {
		return nil
	}
	return os.NewFile(uintptr(again), file.Name())
}

// heldPart is some of the values of a run that lie in a file.
func heldPart(r run, file *os.File, part tasks.Range) *api.HeldValues {
	held, skip := r.values.(*exec.Held), part.First-r.first
	before := uint64(0)
	if skip > 0 {
		before = held.Ends[skip-1]
	}
	out := &api.HeldValues{First: part.First, At: held.At + int64(before), File: file}
	for _, end := range held.Ends[skip : skip+part.Len()] {
		out.Ends = append(out.Ends, end-before)
	}
	return out
}

// hurryPart sends some of the values of a run.
func (s *stream) hurryPart(r run, part tasks.Range, batch *earlyBatch) error {
	for unit := part.First; unit < part.Last; unit++ {
		v, err := r.values.Value(int(unit - r.first))
		if err != nil {
			continue
		}
		s.hasty = s.hasty.Add(tasks.R(unit, unit+1))
		if err := batch.add(api.UnitValue{Unit: unit, Value: v}); err != nil {
			return err
		}
	}
	return nil
}

// earlyBatch is values that are told early in one line.
type earlyBatch struct {
	send   func(api.UnitsEvent) error
	values []api.UnitValue
	weight int // bytes of values
}

func (b *earlyBatch) add(v api.UnitValue) error {
	b.values, b.weight = append(b.values, v), b.weight+len(v.Value)
	if len(b.values) < maxBatch && b.weight < maxWeight {
		return nil
	}
	return b.flush()
}

func (b *earlyBatch) flush() error {
	if len(b.values) == 0 {
		return nil
	}
	values := b.values
	b.values, b.weight = nil, 0
	return b.send(api.UnitsEvent{Early: values})
}

// look sends what is new since the last look. src is the job's source, which is looked for first if it is nil.
func (s *stream) look(ctx context.Context, src *Source) (l Listing, err error) {
	if *src == nil {
		if *src, err = s.room.Jobs.Source(ctx, s.name); err != nil {
			return l, err
		}
		if s.follow && s.ear == nil {
			s.ear = s.room.Early.listen((*src).Job())
			if s.early && s.room.Hear != nil {
				s.room.Hear(ctx, (*src).Job())
			}
			if s.listening != nil {
				s.listening()
				s.listening = nil
			}
		}
	}
	if l, err = (*src).List(ctx); err != nil {
		return l, err
	}
	if err := l.Check(); err != nil {
		return l, fmt.Errorf("could not read what is committed of the job: %w", err)
	}
	if !s.known {
		if err := s.inside(l); err != nil {
			return l, err
		}
		s.known = true
	}
	for _, m := range l.Lost {
		if err := s.lost(m); err != nil {
			return l, err
		}
	}
	for _, p := range l.Parts {
		if err := s.part(ctx, *src, l.Kind, p); err != nil {
			return l, err
		}
	}
	return l, nil
}

// inside returns an error if the user has asked for units that the job does not have and will never have.
func (s *stream) inside(l Listing) error {
	asked := s.asked[0]
	switch {
	case l.Open && !l.Ended:
		return nil
	case !s.bounded && (asked.First == 0 || asked.First < l.Units.Last):
		return nil
	case s.bounded && l.Units.First <= asked.First && asked.Last <= l.Units.Last:
		return nil
	}
	what := fmt.Sprintf("units from %d on are asked for", asked.First)
	if s.bounded {
		what = fmt.Sprintf("the units %d to %d are asked for", asked.First, asked.Last-1)
	}
	return badRange(fmt.Sprintf("%s, and the job has %d, from %d on", what, l.Units.Len(), l.Units.First))
}

// fresh are the units of a cover that are asked for and were not sent yet.
func (s *stream) fresh(c tasks.Cover) tasks.Cover { return c.Intersect(s.asked).Minus(s.told) }

// lost sends that units were given up.
func (s *stream) lost(m api.Missing) error {
	units := s.fresh(tasks.CoverOf(tasks.R(m.Units[0], m.Units[1])))
	if units.Empty() {
		return nil
	}
	ev := api.UnitsEvent{}
	for _, r := range units {
		one := m
		one.First, one.Last = m.First+r.First-m.Units[0], m.First+r.Last-m.Units[0]
		one.Units = [2]int64{r.First, r.Last}
		ev.Lost = append(ev.Lost, one)
	}
	return s.tell(units, ev)
}

// part sends the units of a partial that are new, with their values if there are any.
func (s *stream) part(ctx context.Context, src Source, kind string, p merge.Partial) error {
	units := s.fresh(p.Cover)
	if units.Empty() {
		return nil
	}
	if sent := units.Intersect(s.hasty); !sent.Empty() {
		if err := s.tell(sent, api.UnitsEvent{Units: rangesOf(sent)}); err != nil {
			return err
		}
		if s.hasty, units = s.hasty.Minus(sent), units.Minus(sent); units.Empty() {
			return nil
		}
	}
	if !s.none && s.room.Values.HasValues(kind) {
		err := s.values(ctx, src, kind, p, units)
		if !errors.Is(err, exec.ErrNoValues) {
			return err
		}
	}
	ev := api.UnitsEvent{Units: rangesOf(units)}
	if !s.none {
		ev.NoValues = fmt.Sprintf("jobs of the kind %s have no values of single units", kind)
		if s.room.Values.HasValues(kind) {
			ev.NoValues = "this job keeps no values of single units"
		}
	}
	s.none = true
	return s.tell(units, ev)
}

// values reads the values of units from a partial, and sends them in batches; or sends the partial's file with them.
func (s *stream) values(ctx context.Context, src Source, kind string, p merge.Partial, units tasks.Cover) error {
	path, done, err := src.Blob(ctx, p)
	if err != nil {
		return fmt.Errorf("could not read the values of the units %v: %w", units, err)
	}
	defer done()
	if s.files {
		if err := s.located(ctx, kind, path, units); err != nil {
			return err
		}
		if units = s.fresh(units); units.Empty() {
			return nil
		}
	}
	s.batch, s.weight = nil, 0
	err = s.room.Values.Values(ctx, kind, path, units, func(unit int64, value []byte) error {
		s.batch = append(s.batch, api.UnitValue{Unit: unit, Value: bytes.Clone(value)})
		s.weight += len(value)
		if len(s.batch) < maxBatch && s.weight < maxWeight {
			return nil
		}
		return s.flush()
	})
	if err == nil {
		err = s.flush()
	}
	if err != nil {
		return err
	}
	if rest := s.fresh(units); !rest.Empty() { // the user's code has kept no values of these
		return s.tell(rest, api.UnitsEvent{Units: rangesOf(rest)})
	}
	return nil
}

// located sends the file of a partial for those values of units in it that are large together. They are in the memory
// of this process at no time, and stay to be read when the partial is removed.
func (s *stream) located(ctx context.Context, kind, path string, units tasks.Cover) error {
	var file *os.File
	defer func() {
		if file != nil {
			_ = file.Close() // it was only read
		}
	}()
	return s.room.Values.Locate(ctx, kind, path, units, func(first, at int64, ends []uint64) (err error) {
		if ends[len(ends)-1] <= maxWeight {
			return nil
		}
		if file == nil {
			if file, err = os.Open(path); err != nil {
				return fmt.Errorf("could not open a partial: %w", err)
			}
		}
		run := tasks.R(first, first+int64(len(ends)))
		held := &api.HeldValues{First: first, At: at, Ends: ends, File: file}
		return s.tell(tasks.CoverOf(run), api.UnitsEvent{Units: rangesOf(tasks.CoverOf(run)), Held: held})
	})
}

// flush sends the values of the batch as one line.
func (s *stream) flush() error {
	if len(s.batch) == 0 {
		return nil
	}
	var units tasks.Cover
	for _, v := range s.batch {
		units = units.Add(tasks.R(v.Unit, v.Unit+1))
	}
	ev := api.UnitsEvent{Units: rangesOf(units), Values: s.batch}
	s.batch, s.weight = nil, 0
	return s.tell(units, ev)
}

// tell sends a line about units, and notes that they were sent.
func (s *stream) tell(units tasks.Cover, ev api.UnitsEvent) error {
	if err := s.emit(ev); err != nil {
		return err
	}
	s.told = s.told.Union(units)
	return nil
}

func (s *stream) emit(ev api.UnitsEvent) error {
	s.gone, s.begun = s.send(ev), true
	return s.gone
}

// over reports whether nothing more is to be sent.
func (s *stream) over(l Listing) bool {
	due := s.asked
	if !l.Open {
		due = due.Intersect(tasks.CoverOf(l.Units))
	}
	return l.Ended || s.told.Covers(due)
}

// left reports whether nobody listens any more, and all that was asked for was sent before: what is sent early may be
// on its way to disks for minutes, which nobody waits for who has it.
func (s *stream) left(ctx context.Context) bool {
	if s.ended || s.none {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.room.Once)
	defer cancel()
	src, err := s.room.Jobs.Source(ctx, s.name)
	if err != nil {
		return false
	}
	l, err := src.List(ctx)
	due := s.asked.Intersect(tasks.CoverOf(l.Units))
	return err == nil && l.Check() == nil && !l.Open && s.told.Union(s.hasty).Covers(due)
}

// end is the last line, which says what is left.
func (s *stream) end(l Listing) api.UnitsEvent {
	left := s.asked.Minus(s.told)
	if !s.bounded {
		left = left.Intersect(tasks.CoverOf(l.Units))
	}
	return api.UnitsEvent{Over: &api.UnitsEnd{
		Units: l.Units.Len(),
		Open:  l.Open && !l.Ended,
		Left:  rangesOf(left),
	}}
}

func rangesOf(c tasks.Cover) (out [][2]int64) {
	for _, r := range c {
		out = append(out, [2]int64{r.First, r.Last})
	}
	return out
}
