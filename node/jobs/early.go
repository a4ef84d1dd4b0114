package jobs

import (
	"errors"
	"sync"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/units"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Values of units that have just run are told, before any partial with them is committed, to those that follow their
// job on the node that has submitted it, which hands them on to others where somebody follows it (hear.go). Other nodes
// send theirs there. All of it is at most once and as far as there is room: what is not told early is told from a
// partial soon.

// earlyValues is the request "early".
type earlyValues struct {
	Job    tasks.JobID `msgpack:"j"`
	First  int64       `msgpack:"f"` // unit
	Values [][]byte    `msgpack:"v"` // of the units from there on
	// Name is that of the job where its submitter hands them on to a node that has asked, which need not know the job.
	Name string `msgpack:"n,omitempty"`
}

// early hands on what generations tell early.
type early struct {
	units.Early

	mu      sync.Mutex
	waiting map[tasks.PeerID]*sendingEarly // by the member that they go to
}

// sendingEarly is what waits for one member. One goroutine sends it.
type sendingEarly struct {
	values []earlyValues
	weight int // bytes of values
}

// maxEarly bounds the values that wait to be sent to one member, in bytes.
const maxEarly = 16 << 20

// tellEarly hands on values of a job's units, from first on. It does not wait for whoever gets them.
func (r *programs) tellEarly(j *Job, first int64, values exec.Early) {
	j.mu.Lock()
	desc, id, own := j.s.Desc, j.s.ID, j.own()
	j.mu.Unlock()
	switch {
	case desc == nil || !desc.Open: // nobody waits for single values
	case own:
		if held, ok := values.(*exec.Held); ok && r.early.Heard(j.Name) {
			j.taken.told(first, held)
		}
		r.early.Tell(j.Name, first, values)
		r.relayEarly(j, first, values)
	default: // large ones come with their partial, so that they go over the network once
		if list, ok := values.(exec.EarlyList); ok {
			r.sendEarly(desc.Submitter, earlyValues{Job: id, First: first, Values: list})
		}
	}
}

// sendEarly sends values to a member after those that wait, unless too much waits already.
func (r *programs) sendEarly(to tasks.PeerID, e earlyValues) {
	weight := 0
	for _, v := range e.Values {
		weight += len(v)
	}
	r.early.mu.Lock()
	defer r.early.mu.Unlock()
	s := r.early.waiting[to]
	if s != nil && s.weight+weight > maxEarly {
		return
	}
	if s == nil {
		s = &sendingEarly{}
		if r.early.waiting == nil {
			r.early.waiting = map[tasks.PeerID]*sendingEarly{}
		}
		r.early.waiting[to] = s
		r.spawn(func() { r.sendAllEarly(to, s) })
	}
	s.values, s.weight = append(s.values, e), s.weight+weight
}

// sendAllEarly sends what waits for a member until nothing does.
func (r *programs) sendAllEarly(to tasks.PeerID, s *sendingEarly) {
	for {
		r.early.mu.Lock()
		all := s.values
		s.values, s.weight = nil, 0
		if len(all) == 0 {
			delete(r.early.waiting, to)
		}
		r.early.mu.Unlock()
		if len(all) == 0 {
			return
		}
		for i := range all {
			if payload, err := wire.Marshal(&all[i]); err == nil {
				_, _ = r.cluster.Ask(r.ctx, to, "early", string(payload)) // a value that is lost comes with its partial
			}
		}
	}
}

// ServeEarly takes values of units that a member has run for a job of this node's user. It must have been given them.
// Of a job that is followed here it takes those that the job's submitter hands on.
func (r *collector) ServeEarly(from tasks.PeerID, arg string) error {
	var e earlyValues
	if err := wire.Unmarshal([]byte(arg), &e); err != nil {
		return err
	}
	n := int64(len(e.Values))
	if e.First < 0 || e.First > tasks.MaxUnits || n == 0 {
		return errors.New("these are values of no units")
	}
	if e.Name != "" {
		if r.hearing.takes(e.Name, from) {
			r.early.Tell(e.Name, e.First, exec.EarlyList(e.Values))
		}
		return nil
	}
	j, entrusted := r.book.ByID(e.Job), false
	r.loop.Ask(func(p *engine.Peer) { entrusted = p.Entrusted(e.Job, from, tasks.R(e.First, e.First+n)) })
	if j == nil || !j.isOwn() || !entrusted {
		return nil // which may be news to an honest member
	}
	r.early.Tell(j.Name, e.First, exec.EarlyList(e.Values))
	r.relayEarly(j, e.First, exec.EarlyList(e.Values))
	return nil
}
