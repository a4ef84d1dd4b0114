package members

import (
	"maps"
	"slices"

	"github.com/dtpnode/dtpnode/tasks"
)

// NewlyGone are the members whose code is to be dropped.
func (c *Cluster) NewlyGone(submitters []tasks.PeerID) []tasks.PeerID {
	c.mu.Lock()
	all := append(slices.Collect(maps.Keys(c.called)), submitters...)
	c.mu.Unlock()
	slices.Sort(all)
	out := map[tasks.PeerID]bool{}
	for _, id := range slices.Compact(all) {
		out[id] = c.MayNoMore(id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return firstTime(out, c.codeless, submitters)
}

// firstTime returns, sorted, the members that are out and were not before, and notes them in before. Each member is
// returned once, except for those among submitters: they have a job here, whose code may just have been compiled again.
func firstTime(out, before map[tasks.PeerID]bool, submitters []tasks.PeerID) (gone []tasks.PeerID) {
	for _, id := range slices.Sorted(maps.Keys(out)) {
		switch {
		case !out[id]:
			delete(before, id)
		case !before[id] || slices.Contains(submitters, id):
			before[id] = true
			gone = append(gone, id)
		}
	}
	return gone
}

// CodeIsLeft notes that the code of a member that NewlyGone has named could not be dropped, so that it is named again.
func (c *Cluster) CodeIsLeft(id tasks.PeerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.codeless, id)
}
