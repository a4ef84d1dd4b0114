package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A glob means what a shell on the submitting host would make of it: the files that match there. If that host sees only
// a part of a folder, other members may see more, and the user is told so. Those files are not added by themselves,
// because what has the same name elsewhere need not be the same data.

// globWait is how long a member may take to answer the request "glob".
const globWait = 3 * time.Second

// Bounds of the request "glob".
const (
	globMost    = 16      // patterns, and members asked
	globPattern = 4 << 10 // bytes of a pattern
	globNames   = 1 << 20 // bytes of names in an answer; what is beyond is left out
	globLook    = 1 << 18 // names looked at for an answer; what is beyond is left out
)

// globMore is the files of one member that match a job's globs and are not among the job's files.
type globMore struct {
	name  string
	files []string
}

// MoreOn asks members whether more files match a request's globs there than the request has. It returns a note for the
// user, empty if there are no such files.
func (pl *Planner) MoreOn(ctx context.Context, req api.JobRequest) (note string) {
	globs := slices.Clone(req.Globs[:min(len(req.Globs), globMost)])
	globs = slices.DeleteFunc(globs, func(g string) bool { return len(g) > globPattern || !filepath.IsAbs(g) })
	if len(globs) == 0 {
		return ""
	}
	have := make(map[string]bool, len(req.Files))
	for _, f := range req.Files {
		have[f.URL] = true
	}
	members := pl.Members.Planners(nil)
	members = members[:min(len(members), globMost)]
	more := make([]globMore, len(members))
	var g errgroup.Group
	for i, m := range members {
		g.Go(func() error {
			names, err := pl.askGlobs(ctx, m.ID, globs)
			if err != nil {
				pl.Log.Debug("could not ask a member which files match", "member", m.ID, "reason", err)
			}
			more[i] = globMore{m.Name, slices.DeleteFunc(names, func(n string) bool { return have[n] })}
			return nil
		})
	}
	_ = g.Wait()
	return notedGlobs(more)
}

// notedGlobs is the note for a job's user about the member that sees most further files; empty if none sees more.
func notedGlobs(more []globMore) string {
	more = slices.DeleteFunc(more, func(m globMore) bool { return len(m.files) == 0 })
	if len(more) == 0 {
		return ""
	}
	most := slices.MaxFunc(more, func(a, b globMore) int { return len(a.files) - len(b.files) })
	files := "1 file more matches"
	if n := len(most.files); n > 1 {
		files = fmt.Sprintf("%d files more match", n)
	}
	return fmt.Sprintf("on %s %s what --files names than on this host, and not read: the first is %s; name files that "+
		"this host does not see one by one, e.g. in a list (--files @LIST)",
		most.name, files, most.files[0])
}

func (pl *Planner) askGlobs(ctx context.Context, m tasks.PeerID, globs []string) (names []string, err error) {
	body, err := json.Marshal(globs)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, globWait)
	defer cancel()
	b, err := pl.Members.Request(ctx, m, "glob", body)
	if err == nil {
		names, err = wire.ReadJSONList[string](b, globNames, globNames)
	}
	return names, err
}

// ServeGlobs answers the request "glob": it lists the files that match globs on this host, for members whose files it
// would also plan.
func (pl *Planner) ServeGlobs(ctx context.Context, from tasks.PeerID, arg string) ([]byte, error) {
	if !pl.Members.PlansFor(from) {
		return nil, &api.Error{Status: http.StatusForbidden,
			Message: "files are looked for by members that work, for members that may submit jobs"}
	}
	var globs []string
	if err := json.Unmarshal([]byte(arg), &globs); err != nil || len(globs) == 0 || len(globs) > globMost {
		return nil, fmt.Errorf("a request for files that match names 1 to %d globs", globMost)
	}
	ctx, cancel := context.WithTimeout(ctx, globWait) // the member that asks waits no longer than this
	defer cancel()
	done := pl.turn(ctx, from)
	if done == nil {
		return nil, ctx.Err()
	}
	answer := make(chan []string, 1)
	go func() { // it may hang in the kernel longer than anybody waits, and keeps its place until then
		defer done()
		answer <- matching(ctx, globs, globNames)
	}()
	select {
	case names := <-answer:
		return json.Marshal(names)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
