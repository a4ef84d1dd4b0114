package members

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// Messages that no honest node sends, or that their sender has no right to send, are counted for each member. After a
// few of them within wrongsWithin the link to the member is closed. More are tolerated for want of a right, since a
// member that has just lost a right may not have heard of it.
const (
	wrongsWithin = time.Minute
	maxWrongs    = 5
	maxRightless = 20
	maxWrongly   = 1024 // members remembered
)

// Kinds of wrong messages beside those that the engine names.
const (
	Undecodable engine.Wrong = "message that cannot be read"
	Rightless   engine.Wrong = "message that it has no right to send"
	Restless    engine.Wrong = "goes on changing its addresses"
)

// wrongs is what a member has sent that it should not have.
type wrongs struct {
	counts map[engine.Wrong]int // since this daemon started
	since  time.Time            // of the messages that count towards closing the link
	recent int
	unfit  int // of these, for want of a right
}

// violations are what members have sent against the rules.
type violations struct {
	mu sync.Mutex
	of map[tasks.PeerID]*wrongs
}

// String describes, for the commands members and status, what a member has sent against the rules.
func (w *wrongs) String() string {
	var worst engine.Wrong
	all := 0
	for _, k := range slices.Sorted(maps.Keys(w.counts)) {
		if all += w.counts[k]; worst == "" || w.counts[k] > w.counts[worst] {
			worst = k
		}
	}
	return fmt.Sprintf("sent %d messages that break the rules, most of them: %s", all, worst)
}

// count counts a message of a member that breaks the rules, and reports whether the link is to be closed.
func (v *violations) count(from tasks.PeerID, what engine.Wrong) (enough bool, note string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.of[from]
	if w == nil {
		if len(v.of) >= maxWrongly {
			clear(v.of)
		}
		w = &wrongs{counts: map[engine.Wrong]int{}}
		v.of[from] = w
	}
	if w.counts[what]++; time.Since(w.since) > wrongsWithin {
		w.since, w.recent, w.unfit = time.Now(), 0, 0
	}
	if what == Rightless {
		w.unfit++
	} else {
		w.recent++
	}
	enough = w.recent >= maxWrongs || w.unfit >= maxRightless
	if enough {
		w.recent, w.unfit = 0, 0
	}
	return enough, w.String()
}

// Violated takes note of a member's message that breaks the rules.
func (c *Cluster) Violated(from tasks.PeerID, job tasks.JobID, what engine.Wrong, why string) {
	c.log.Warn("dropped a message that breaks the rules", "from", from, "job", job.Short(), "wrong", what, "reason", why)
	enough, note := c.wrongs.count(from, what)
	if !enough {
		return
	}
	c.spawn(func() {
		if err := c.net.Shun(from, note); err != nil {
			c.log.Warn("could not close the link to a member that breaks the rules", "from", from, "reason", err)
		}
	})
}

// Wrongs are the members that broke the rules since this daemon started, by their ids, and how often by which kinds of
// messages.
func (c *Cluster) Wrongs() []api.Wrongs { return c.wrongs.all(c.Names()) }

// WrongNotes describe in a sentence what members have sent against the rules, for those that have.
func (c *Cluster) WrongNotes() map[tasks.PeerID]string { return c.wrongs.notes() }

// all are what was counted, by the members' ids.
func (v *violations) all(names map[tasks.PeerID]Name) (out []api.Wrongs) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(v.of)) {
		counts := map[string]int{}
		for what, n := range v.of[id].counts {
			counts[string(what)] = n
		}
		out = append(out, api.Wrongs{ID: id, Name: names[id].Name, Counts: counts})
	}
	return out
}

// notes describe what members have sent against the rules, for those that have.
func (v *violations) notes() map[tasks.PeerID]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[tasks.PeerID]string, len(v.of))
	for id, w := range v.of {
		out[id] = w.String()
	}
	return out
}
