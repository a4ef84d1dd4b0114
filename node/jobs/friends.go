package jobs

import (
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// friendsAgain is what an earlier job has chosen of its files, and beside them, for a job that retries it. As with the
// files of the job itself (compareFiles), a friend's file that was written anew since is the one that hosts must have
// now. It fails if one has other entries than were planned. One that cannot be read here is left as it was planned.
func (r *Room) friendsAgain(j *Job, rt exec.Runtime, desc *tasks.Job, chosen []byte) ([]byte, error) {
	if len(chosen) == 0 {
		return chosen, nil
	}
	s, err := exec.UnpackSelection(chosen)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var anew []string
	g, ctx := errgroup.WithContext(j.ctx)
	g.SetLimit(16)
	limit := r.workers.Limits.For(desc.Limits).Open
	for _, fr := range s.Friends {
		for i, f := range fr.Files {
			if f.UUID == "" {
				continue
			}
			g.Go(func() error {
				p, err := r.planner.File(ctx, rt, f.File, f.Part, limit)
				if err != nil {
					return ctx.Err()
				}
				if p.Entries != f.Entries {
					return &api.Error{
						Message: fmt.Sprintf("the friend's file %s has changed: it had %d entries when the job was submitted, and has "+
							"%d now; the result holds entries that were read beside the file as it was", f.File, f.Entries, p.Entries),
						Hint: "run the job anew with `dtpnode run`",
					}
				}
				if p.UUID != f.UUID {
					mu.Lock()
					defer mu.Unlock()
					anew = append(anew, f.File)
				}
				fr.Files[i].UUID = p.UUID
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(anew) > 0 {
		j.note(fmt.Sprintf("of friends %d files were written anew since the job was submitted, %s first: what was missing "+
			"is read beside them as they are now", len(anew), slices.Min(anew)))
	}
	return s.Pack()
}
