// Package plan finds out what a job's files hold before it runs: how many entries, where they are best cut, and whether
// two names are one file. It asks other members about files that this host does not see, and does not believe a single
// member that a file is empty, broken or a link. It owns what it remembers of files, and the places in which it plans
// for others. It knows a job only by its request, starts no generation, and decides nothing about files that could be
// read.
//
//	plan.go      files that this host sees
//	progress.go  what the user is told meanwhile, and servers that do not answer
//	members.go   files that it does not see, and those of others that it does
//	words.go     whose word counts of a file
//	links.go     two names of one file
//	globs.go     which files match on other hosts; match.go: here, for others
package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/turns"
	"github.com/dtpnode/dtpnode/tasks"
)

// Member is a member that plans for others.
type Member struct {
	ID   tasks.PeerID
	Name string
}

// Names are the names of members in texts for users.
type Names map[tasks.PeerID]string

// One is the name of a member, or its id if no name is known.
func (n Names) One(id tasks.PeerID) string { return cmp.Or(n[id], id) }

// Of is One for several.
func (n Names) Of(ids []tasks.PeerID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = n.One(id)
	}
	return out
}

// Members is the cluster as far as planning needs it.
type Members interface {
	// ID is this node.
	ID() tasks.PeerID
	Names() Names
	// Planners are the other members that work, and whose runtimes offer what is needed.
	Planners(needs []string) []Member
	// Request sends a member a request and returns the answer.
	Request(ctx context.Context, to tasks.PeerID, kind string, payload []byte) ([]byte, error)
	// PlansFor reports whether this node plans for a member: that one may submit jobs, and this one works.
	PlansFor(who tasks.PeerID) bool
}

// Config is what a Planner is made of.
type Config struct {
	Members Members
	// Runtime waits for the runtime of a kind on this host that offers what is needed.
	Runtime func(ctx context.Context, kind string, needs []string) (exec.Runtime, error)
	Open    time.Duration // how long a file may take to be opened here; zero is exec.DefaultOpen
	Log     *slog.Logger
}

// Planner plans files, for this node's jobs and for other members. Its methods may be called from any goroutine.
type Planner struct {
	Config
	cache  *planCache
	places chan struct{} // places in which files are planned here for other members
	turns  *turns.Turns  // how many of the places each member may have
}

// New makes a planner that remembers no file.
func New(cfg Config) *Planner {
	all, each := planShares()
	return &Planner{Config: cfg, cache: newPlanCache(), places: make(chan struct{}, all), turns: turns.New(each)}
}

// Probed reports whether SetProbed was called with a mark. The caller's mark stands for some state of code and files.
// Marks are forgotten when there are too many, and when the daemon ends.
func (pl *Planner) Probed(mark string) bool { return pl.cache.wasProbed(mark) }

// SetProbed remembers a mark for Probed.
func (pl *Planner) SetProbed(mark string) { pl.cache.setProbed(mark) }

// FileKey identifies one state of a local file: a file that is replaced or changed gets another key.
type FileKey struct {
	path, part   string
	dev, ino     uint64
	size, mtime  int64
	changedNanos int64
}

// planKey identifies what one version of a runtime has read of one state of a local file.
type planKey struct {
	kind, version string
	file          FileKey
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

// wasProbed reports whether setProbed was called with key.
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

// IsURL reports whether s is a URL, and not a path.
func IsURL(s string) bool { return strings.Contains(s, "://") }

// KeyOf returns the key of the present state of a local file. ok is false for a URL, and for items, which have no file.
// It is an error if there is no such file.
func KeyOf(url, part string) (k FileKey, ok bool, err error) {
	if IsURL(url) || url == "" {
		return FileKey{}, false, nil
	}
	info, err := os.Stat(url)
	if err != nil {
		return FileKey{}, false, err
	}
	if info.IsDir() {
		return FileKey{}, false, fmt.Errorf("%s is a folder", url)
	}
	k = FileKey{path: url, part: part, size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, isUnix := info.Sys().(*syscall.Stat_t); isUnix {
		k.dev, k.ino, k.changedNanos = uint64(st.Dev), st.Ino, st.Ctim.Nano() //nolint:unconvert // 32 bits elsewhere
	}
	return k, true, nil
}

// Read is what planning has found of files.
type Read struct {
	Files []tasks.File
	Bad   []tasks.Lost // files that exist and could not be read
	Notes []string     // texts for the job's user
}

// Files reads entries and clusters of all files of a request, many at the same time and each within limit. It asks
// other members for files that this host does not see. Files that exist and cannot be read are returned in Read.Bad; a
// file that does not exist, or that lacks the part which is to be read, is an error. tell is called about once a second
// with a text that says what is being done.
func (pl *Planner) Files(
	ctx context.Context, rt exec.Runtime, req api.JobRequest, limit time.Duration, tell func(string),
) (out Read, err error) {
	plans := make([]exec.Plan, len(req.Files))
	bad := make([]*exec.Failure, len(req.Files))
	progress := newProgress(len(req.Files), limit)
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
			plans[i], err = pl.File(gctx, rt, f.URL, PartOf(req, f), progress.limit)
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
		if DamagedHere(f) {
			damaged[i] = f.Msg
		}
	}
	u := &unseenHere{
		req:   req,
		kind:  rt.Info().Kind,
		needs: rt.Info().Needs(),
		plans: plans,
		bad:   bad,
		limit: progress.limit,
	}
	if err := pl.planUnseen(ctx, u, tell); err != nil {
		return out, err
	}
	if out, err = pl.sorted(u); err != nil {
		return out, err
	}
	out.Notes = slices.Concat(u.doubts(pl.Members.Names()), damagedNotes(u, damaged), datasetNotes(u.req, u.plans, u.bad))
	return out, nil
}

// sorted separates the files that can be read from those that cannot. It is an error if none can, or if all lack the
// part that is to be read, which then must have been named wrongly.
func (pl *Planner) sorted(u *unseenHere) (out Read, err error) {
	for i, p := range u.plans {
		if f := u.bad[i]; f != nil {
			asked := u.asked(i)
			out.Bad = append(out.Bad, tasks.Lost{
				File:   u.req.Files[i].URL,
				Part:   PartOf(u.req, u.req.Files[i]),
				Last:   -1,
				Kind:   string(f.Kind),
				Reason: f.Msg,
				Nodes:  append([]tasks.PeerID{pl.Members.ID()}, asked...),
				Tries:  1 + len(asked),
				Stack:  f.Stack,
				Tail:   f.Tail,
			})
			continue
		}
		out.Files = append(out.Files, Planned(u.req, u.req.Files[i].URL, p))
	}
	if i := slices.IndexFunc(u.bad, hasNoPart); len(out.Files) == 0 && i >= 0 { // no file has the part that is named
		return out, u.bad[i]
	}
	if len(out.Files) == 0 && len(out.Bad) > 0 {
		if len(out.Bad) == 1 {
			return out, fmt.Errorf("could not read %s: %s", out.Bad[0].File, out.Bad[0].Reason)
		}
		return out, fmt.Errorf("could not read any of the %d files; the first: %s: %s", len(out.Bad), out.Bad[0].File,
			out.Bad[0].Reason)
	}
	return out, nil
}

// damagedNotes tell the user which files cannot be read on this host and are whole elsewhere, so that the copies here
// can be replaced.
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
		return []string{fmt.Sprintf("1 file cannot be read on this host, and others run it: %s: %s", u.req.Files[first].URL,
			damaged[first])}
	}
	return []string{fmt.Sprintf("%d files cannot be read on this host, and others run them; the first: %s: %s", n,
		u.req.Files[first].URL, damaged[first])}
}

// Planned is a planned file, as the job's description has it for all nodes.
func Planned(req api.JobRequest, url string, p exec.Plan) tasks.File {
	f := tasks.File{URL: url, Part: p.Part, Entries: p.Entries, Clusters: p.Clusters, Bytes: p.Bytes, UUID: p.UUID}
	if req.AllowCopies {
		f.UUID = ""
	}
	return f
}

// PartOf is the part that is read of a file.
func PartOf(req api.JobRequest, f api.InputFile) string { return cmp.Or(f.Part, req.Part) }

// namedWrongly reports whether a failure means that the user must name something differently, before anything runs. It
// is false if only this file lacks something.
func namedWrongly(f *exec.Failure) bool {
	return f.Kind == exec.KindInternal || f.Kind == exec.KindAmbiguous
}

// hasNoPart reports whether a file lacks the part that is asked for, or has none.
func hasNoPart(f *exec.Failure) bool { return f != nil && f.Kind == exec.KindSchema }

// unreadable reports whether a failure means that the file itself is broken, and not that it lacks what is asked for.
func unreadable(k exec.Kind) bool {
	return k != exec.KindSchema && k != exec.KindAmbiguous && k != exec.KindInternal
}

// File reads entries and clusters of one file that this host sees, or returns what it remembers of the file if that has
// not changed.
func (pl *Planner) File(
	ctx context.Context, rt exec.Runtime, url, part string, within time.Duration,
) (exec.Plan, error) {
	key, local, err := KeyOf(url, part)
	if cause := exec.CauseOf(err); cause != "" {
		return exec.Plan{}, &exec.Failure{Kind: exec.KindOpen, Host: cause, Op: "open", File: url, Entry: -1,
			Msg: Reason(err)}
	}
	if err != nil {
		return exec.Plan{}, fmt.Errorf("could not open input file %q: %w", url, err)
	}
	info := rt.Info()
	known := planKey{info.Kind, info.Version, key}
	if local {
		if p, ok := pl.cache.get(known); ok {
			return p, nil
		}
	}
	p, err := rt.Plan(ctx, url, part, within)
	if err != nil {
		return p, err
	}
	if local {
		pl.cache.put(known, p)
	}
	return p, nil
}

// Reason is the text of a system error without the path, which is shown beside it.
func Reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		text := p.Err.Error()
		return strings.ToUpper(text[:1]) + text[1:] // as strerror says it
	}
	return err.Error()
}
