package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// fileKey tells one state of a local file from another.
type fileKey struct {
	path, tree   string
	dev, ino     uint64
	size, mtime  int64
	changedNanos int64
}

// planKey tells what one runtime has read of one state of a local file.
type planKey struct {
	kind, version string
	file          fileKey
}

// planCache remembers what planning and probing found of files that have not changed since.
type planCache struct {
	mu     sync.Mutex
	plans  map[planKey]exec.Plan
	probed map[string]bool
}

// maxPlans bounds the cache; it is emptied when full.
const maxPlans = 20_000

func newPlanCache() *planCache {
	return &planCache{plans: map[planKey]exec.Plan{}, probed: map[string]bool{}}
}

func (c *planCache) get(k planKey) (exec.Plan, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.plans[k]
	return p, ok
}

func (c *planCache) put(k planKey, p exec.Plan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.plans) >= maxPlans {
		clear(c.plans)
	}
	c.plans[k] = p
}

// wasProbed reports whether key was marked with setProbed.
func (c *planCache) wasProbed(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.probed[key]
}

func (c *planCache) setProbed(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.probed) >= maxPlans {
		clear(c.probed)
	}
	c.probed[key] = true
}

func isURL(s string) bool { return strings.Contains(s, "://") }

// keyOf stats a local file; ok is false for a URL, and for items, which have no file. A file that is not there is an error.
func keyOf(url, tree string) (k fileKey, ok bool, err error) {
	if isURL(url) || url == "" {
		return fileKey{}, false, nil
	}
	info, err := os.Stat(url)
	if err != nil {
		return fileKey{}, false, err
	}
	if info.IsDir() {
		return fileKey{}, false, fmt.Errorf("%s is a folder", url)
	}
	k = fileKey{path: url, tree: tree, size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, isUnix := info.Sys().(*syscall.Stat_t); isUnix {
		k.dev, k.ino, k.changedNanos = uint64(st.Dev), st.Ino, st.Ctim.Nano() //nolint:unconvert // 32 bits elsewhere
	}
	return k, true, nil
}

// readFiles are what planning has found.
type readFiles struct {
	files []tasks.File
	bad   []tasks.Lost // there, and not to be read
	notes []string     // what the job's user is told of them
}

// planFiles reads entries and clusters of all files, many at once; what this host does not see, by members that do.
// Files that are there and cannot be read are returned apart; a file, or a tree in it, that is not there ends the
// planning. tell is called about once a second with what is being done.
func (d *Daemon) planFiles(ctx context.Context, rt exec.Runtime, req api.JobRequest, tell func(text string)) (out readFiles, err error) {
	plans := make([]exec.Plan, len(req.Files))
	bad := make([]*exec.Failure, len(req.Files))
	progress := newPlanning(len(req.Files), d.cfg.workerLimits().For(limitsOf(req)).Open)
	stop := make(chan struct{})
	defer close(stop)
	go progress.show(stop, tell)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, f := range req.Files {
		g.Go(func() error {
			var ok bool
			if bad[i], ok = progress.begin(f.URL, time.Now()); !ok {
				return nil
			}
			var err error
			plans[i], err = d.planFile(gctx, rt, f.URL, treeOf(req, f), progress.limit)
			if errors.As(err, &bad[i]) && !namedWrongly(bad[i]) {
				err = nil
			}
			progress.end(f.URL, bad[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return out, err
	}
	damaged := map[int]string{}
	for i, f := range bad {
		if damagedHere(f) {
			damaged[i] = f.Msg
		}
	}
	u := &unseenHere{req: req, kind: rt.Info().Kind, needs: rt.Info().Needs(), plans: plans, bad: bad, limit: progress.limit}
	if err := d.planUnseen(ctx, u, tell); err != nil {
		return out, err
	}
	for i, p := range plans {
		if f := bad[i]; f != nil {
			asked := u.asked(i)
			out.bad = append(out.bad, tasks.Lost{File: req.Files[i].URL, Tree: treeOf(req, req.Files[i]), Last: -1, Kind: string(f.Kind), Reason: f.Msg,
				Nodes: append([]tasks.PeerID{d.net.ID()}, asked...), Tries: 1 + len(asked), Stack: f.Stack, Tail: f.Tail})
			continue
		}
		out.files = append(out.files, plannedFile(req, req.Files[i].URL, p))
	}
	if i := slices.IndexFunc(bad, hasNoTree); len(out.files) == 0 && i >= 0 { // no file has it: it was named wrongly
		return out, bad[i]
	}
	if len(out.files) == 0 && len(out.bad) > 0 {
		if len(out.bad) == 1 {
			return out, fmt.Errorf("could not read %s: %s", out.bad[0].File, out.bad[0].Reason)
		}
		return out, fmt.Errorf("could not read any of the %d files; the first: %s: %s", len(out.bad), out.bad[0].File, out.bad[0].Reason)
	}
	out.notes = append(u.doubts(d.memberNames()), damagedNotes(u, damaged)...)
	return out, nil
}

// damagedNotes tell of files that cannot be read here and are whole elsewhere: this host's copies want to be mended.
func damagedNotes(u *unseenHere, damaged map[int]string) []string {
	first, n := -1, 0
	for i := range u.bad {
		if damaged[i] == "" || u.bad[i] != nil {
			continue
		}
		if n++; first < 0 {
			first = i
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("1 file cannot be read on this host, and others run it: %s: %s", u.req.Files[first].URL, damaged[first])}
	}
	return []string{fmt.Sprintf("%d files cannot be read on this host, and others run them; the first: %s: %s", n, u.req.Files[first].URL, damaged[first])}
}

// plannedFile is a file as others will read it.
func plannedFile(req api.JobRequest, url string, p exec.Plan) tasks.File {
	f := tasks.File{URL: url, Tree: p.Tree, Entries: p.Entries, Clusters: p.Clusters, Bytes: p.Bytes, UUID: p.UUID}
	if req.AllowCopies {
		f.UUID = ""
	}
	return f
}

// treeOf is the tree that is read of a file.
func treeOf(req api.JobRequest, f api.InputFile) string { return cmp.Or(f.Tree, req.Tree) }

// namedWrongly tells what the user must say otherwise, before anything runs, from what one file of many lacks.
func namedWrongly(f *exec.Failure) bool { return f.Kind == exec.KindInternal || f.Ambiguous() }

// hasNoTree reports whether a file has not the tree that is asked for, or none.
func hasNoTree(f *exec.Failure) bool { return f != nil && f.Kind == exec.KindSchema }

// unreadable tells a file that is there and broken from one that has not what is asked for.
func unreadable(k exec.Kind) bool { return k != exec.KindSchema && k != exec.KindInternal }

func (d *Daemon) planFile(ctx context.Context, rt exec.Runtime, url, tree string, within time.Duration) (exec.Plan, error) {
	key, local, err := keyOf(url, tree)
	if cause := exec.CauseOf(err); cause != "" {
		return exec.Plan{}, &exec.Failure{Kind: exec.KindOpen, Host: cause, Op: "open", File: url, Entry: -1,
			Msg: plainReason(err)}
	}
	if err != nil {
		return exec.Plan{}, fmt.Errorf("could not open input file %q: %w", url, err)
	}
	info := rt.Info()
	known := planKey{info.Kind, info.Version, key}
	if local {
		if p, ok := d.plans.get(known); ok {
			return p, nil
		}
	}
	p, err := rt.Plan(ctx, url, tree, within)
	if err != nil {
		return p, err
	}
	if local {
		d.plans.put(known, p)
	}
	return p, nil
}
