package jobs

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Values that are told early (early.go) come to the node that has submitted their job. Where somebody follows the job
// on another node, such as who has attached to a session from there, that node asks for them, again and again for as
// long as somebody does: a busy session commits what it has done every half a minute, and nobody is to wait for that.

const (
	hearEvery = time.Second   // between two requests for a job's early values
	hearFor   = 4 * hearEvery // for how long after one they are sent
	maxHeard  = 1 << 20       // bytes of values in a file that are sent together; others come with their partial
	maxHears  = 1 << 10       // of them, likewise
)

// hearing is which early values go to other nodes, and which come from others.
type hearing struct {
	mu   sync.Mutex
	by   map[string]map[tasks.PeerID]time.Time // who wants those of a job, by its name, and until when
	from map[string]*heardJob                  // those that are wanted here, by the job's name
}

// hearAsk is the request "hear" of a member that may see a job.
type hearAsk struct {
	Job    string `json:"job"`              // its whole name
	Begins bool   `json:"begins,omitempty"` // what was told lately is wanted, too
}

// heardJob is a job of another node that is followed here.
type heardJob struct {
	submitter tasks.PeerID
	users     int
}

// want notes that a member wants early values of a job from now on.
func (h *hearing) want(name string, who tasks.PeerID, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(now)
	if h.by == nil {
		h.by = map[string]map[tasks.PeerID]time.Time{}
	}
	if h.by[name] == nil {
		h.by[name] = map[tasks.PeerID]time.Time{}
	}
	h.by[name][who] = now.Add(hearFor)
}

// drop forgets who has not asked for long. The caller holds mu.
func (h *hearing) drop(now time.Time) {
	for name, who := range h.by {
		for id, until := range who {
			if now.After(until) {
				delete(who, id)
			}
		}
		if len(who) == 0 {
			delete(h.by, name)
		}
	}
}

// wanting are the members that want early values of a job.
func (h *hearing) wanting(name string, now time.Time) (who []tasks.PeerID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, until := range h.by[name] {
		if !now.After(until) {
			who = append(who, id)
		}
	}
	return who
}

// begin notes that a job of another member is followed here. The caller calls end.
func (h *hearing) begin(name string, submitter tasks.PeerID) (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.from == nil {
		h.from = map[string]*heardJob{}
	}
	j := h.from[name]
	if j == nil || j.submitter != submitter {
		j = &heardJob{submitter: submitter}
		h.from[name] = j
	}
	j.users++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if j.users--; j.users == 0 && h.from[name] == j {
			delete(h.from, name)
		}
	}
}

// takes reports whether a job that a member has submitted is followed here.
func (h *hearing) takes(name string, from tasks.PeerID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	j := h.from[name]
	return j != nil && j.submitter == from
}

// hear has early values of a job that somebody follows here come from the node that has submitted it, until ctx ends.
// It does not wait.
func (r *collector) hear(ctx context.Context, name string) {
	r.spawn(func() {
		tick := time.NewTicker(hearEvery)
		defer tick.Stop()
		submitter, end, begins := tasks.PeerID(""), func() {}, true
		defer func() { end() }()
		for {
			if submitter == "" {
				_, _, st, err := r.granted(ctx, name, members.ForLook)
				if err == nil && (st.Submitter == r.net.ID() || st.State.Final()) {
					return
				}
				if err == nil && st.Submitter != "" {
					submitter, end = st.Submitter, r.hearing.begin(name, st.Submitter)
				}
			}
			if submitter != "" {
				text, err := json.Marshal(hearAsk{Job: name, Begins: begins})
				if err == nil {
					_, err = r.cluster.Ask(ctx, submitter, "hear", string(text))
				}
				begins = begins && err != nil // without an answer values come when they are committed
			}
			select {
			case <-ctx.Done():
				return
			case <-r.ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// HearOwner finds the job of a request "hear", and its submitter.
func (r *collector) HearOwner(text string) (*Job, tasks.PeerID, error) {
	var ask hearAsk
	if err := wire.ReadJSON([]byte(text), members.MostListed, &ask); err != nil {
		return nil, "", err
	}
	return r.KnownOwner(ask.Job)
}

// ServeHear answers the request "hear" of a member that may see the job.
func (r *collector) ServeHear(from tasks.PeerID, j *Job, text string) error {
	if !j.isOwn() || j.Final() {
		return NoJob(j.Name)
	}
	var ask hearAsk
	if err := wire.ReadJSON([]byte(text), members.MostListed, &ask); err != nil {
		return err
	}
	r.hearing.want(j.Name, from, time.Now())
	if ask.Begins {
		r.early.Recent(j.Name, func(first int64, values exec.EarlyList) {
			r.sendEarly(from, earlyValues{Job: j.ID(), Name: j.Name, First: first, Values: values})
		})
	}
	return nil
}

// relayEarly sends early values of a job that was submitted here to the members that want them. Of values that lie in a
// file it sends those that are small together, as otherwise they would be in memory, and go over the network twice.
func (r *programs) relayEarly(j *Job, first int64, values exec.Early) {
	who := r.hearing.wanting(j.Name, time.Now())
	if len(who) == 0 {
		return
	}
	list, ok := values.(exec.EarlyList)
	if held, lies := values.(*exec.Held); lies {
		list, ok = readHeld(held)
	}
	if !ok {
		return
	}
	for _, to := range who {
		r.sendEarly(to, earlyValues{Job: j.ID(), Name: j.Name, First: first, Values: list})
	}
}

// readHeld reads values that lie in a file, unless they are large together.
func readHeld(held *exec.Held) (list exec.EarlyList, ok bool) {
	if n := held.Len(); n == 0 || n > maxHears || held.Ends[n-1] > maxHeard {
		return nil, false
	}
	for i := range held.Len() {
		v, err := held.Value(i)
		if err != nil {
			return nil, false
		}
		list = append(list, v)
	}
	return list, true
}
