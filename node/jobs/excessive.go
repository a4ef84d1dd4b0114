package jobs

import (
	"fmt"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job may have a bounded number of files and objects. Each partial may stay below it, and all together be above: one
// member that makes up names keeps the job from ending so.

// claimed is a partial, and what it claims of one kind.
type claimed struct {
	id    merge.ID
	units int64
	names []uint64
}

// noticed is the share of what a job may have, above which it is looked before the result is made whether one member
// has made them up: all files would come to the user's folder.
const noticed = 10

// excessive are partials because of which a job has more files or objects than a share of what it may, each with the
// reason.
func (r *copies) excessive(j *Job, parts []merge.Partial, share int) map[merge.ID]string {
	_, desc := j.Prepared()
	if desc == nil {
		return nil
	}
	kinds := map[string][]claimed{}
	most := map[string]int{}
	for _, p := range parts {
		path, err := r.ledgers.CheckKept(p.Job, p)
		if err != nil {
			continue
		}
		claims, err := r.runtimes.Claims(desc.Work.Kind, path)
		if err != nil {
			return nil
		}
		for _, c := range claims {
			kinds[c.What] = append(kinds[c.What], claimed{p.ID, p.Units, c.Names})
			most[c.What] = c.Most / share
		}
	}
	bad := map[merge.ID]string{}
	for what, all := range kinds {
		for _, id := range tooMany(all, most[what], r.net.ID()) {
			bad[id] = fmt.Sprintf("more than %d %s, of names that no other gives", most[what], what)
		}
	}
	return bad
}

// muchMore is how many times as many names for each unit as any other member one claims that is to blame for their
// number. Code may give each output another name, and then all claim alike.
const muchMore = 4

// tooMany are the partials of the member because of which there are more than most names: without it there are not, and
// for each unit it alone claims many times what any other claims alone. There are none if there is no such member, or
// it is this one.
func tooMany(all []claimed, most int, self tasks.PeerID) (ids []merge.ID) {
	const several = "\x00" // members
	by := map[uint64]tasks.PeerID{}
	units := map[tasks.PeerID]int64{}
	for _, c := range all {
		units[c.id.Node] += c.units
		for _, n := range c.names {
			if who, known := by[n]; known && who != c.id.Node {
				by[n] = several
			} else {
				by[n] = c.id.Node
			}
		}
	}
	if len(by) <= most {
		return nil
	}
	alone := map[tasks.PeerID]int{}
	for _, who := range by {
		alone[who]++
	}
	rate := func(id tasks.PeerID) float64 { return float64(alone[id]) / float64(max(units[id], 1)) }
	var worst tasks.PeerID
	for id := range units {
		if worst == "" || rate(id) > rate(worst) {
			worst = id
		}
	}
	for id := range units {
		if id != worst && rate(worst) < muchMore*rate(id) {
			return nil
		}
	}
	if worst == self || len(by)-alone[worst] > most {
		return nil
	}
	for _, c := range all {
		if c.id.Node == worst && len(c.names) > 0 {
			ids = append(ids, c.id)
		}
	}
	return ids
}
