package steal

import (
	"slices"

	"github.com/dtpnode/dtpnode/tasks"
)

// Nodes have different runtimes, or none, and can run a job only if one of their runtimes offers all that the job
// needs. Such peers are called able. A node asks only able peers for work of a job, and gives work only to them, since
// others could do nothing but hand it back; but it asks the job's home in any case, which may lead what it cannot run.

// peer is what is known of a connected peer.
type peer struct {
	slots  int           // slots that it is known for
	offers []tasks.Offer // what its runtimes offer
}

// peerUp notes a peer, or the new slots and offers of one that is connected already.
func (s *Scheduler) peerUp(ev PeerUp) {
	if ev.ID == s.cfg.Self {
		return
	}
	s.known[ev.ID] = peer{slots: ev.Slots, offers: ev.Offers}
	for _, j := range s.jobs {
		j.setAble(ev.ID, tasks.Met(j.needs, ev.Offers))
	}
	if i, ok := slices.BinarySearch(s.peers, ev.ID); !ok {
		s.peers = slices.Insert(s.peers, i, ev.ID)
		if len(s.peers) == 1 {
			s.thief.wake(s.now)
		}
	}
}

// findAble makes the list of the peers that can run a job, when the job is opened.
func (s *Scheduler) findAble(j *job) {
	for _, id := range s.peers {
		if tasks.Met(j.needs, s.known[id].offers) {
			j.able = append(j.able, id)
		}
	}
}

// setAble notes whether a peer can run a job.
func (j *job) setAble(id tasks.PeerID, able bool) {
	switch i, is := slices.BinarySearch(j.able, id); {
	case able && !is:
		j.able = slices.Insert(j.able, i, id)
	case !able && is:
		j.able = slices.Delete(j.able, i, i+1)
	}
}

func (j *job) isAble(id tasks.PeerID) bool {
	_, is := slices.BinarySearch(j.able, id)
	return is
}

// victims are the peers that may have work for this node, sorted: those that can run one of the jobs for which it asks.
func (s *Scheduler) victims() []tasks.PeerID {
	var all []tasks.PeerID
	first := true
	for _, j := range s.jobs {
		switch {
		case !s.asksFor(j):
		case first || len(j.able) == len(s.peers):
			all, first = s.sources(j), false
		case len(all) < len(s.peers):
			all = union(all, s.sources(j))
		}
	}
	return all
}

// sources are the peers that may have work of a job, sorted.
func (s *Scheduler) sources(j *job) []tasks.PeerID {
	if !s.isSource(j, j.home) || j.isAble(j.home) {
		return j.able
	}
	return union(j.able, []tasks.PeerID{j.home})
}

// isSource reports whether a connected peer may have work of a job.
func (s *Scheduler) isSource(j *job, id tasks.PeerID) bool {
	return j.isAble(id) || id == j.home && s.connected(id)
}

// union is all that is in one of two sorted lists.
func union(a, b []tasks.PeerID) []tasks.PeerID {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
