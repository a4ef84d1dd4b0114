package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// A file and a link to it would be counted twice. Members therefore report, for files that the submitting host does not
// see, the paths with all links followed. A member may lie in both directions: it can make two files one, or hide a
// link. So three members are asked, and the majority decides.

const (
	linkChunk  = 128 // files in one request for their paths
	linkAsked  = 3   // how many members should have reported the path of each file
	linkAtMost = 16  // members asked
)

// links is what members, or this host, have reported of the paths of a job's local files.
type links struct {
	self  tasks.PeerID
	files []api.InputFile           // with their parts
	real  map[tasks.PeerID][]string // by who reports them: a path for each of files, empty where it is not known
}

// one is a pair of files, given by their places in links.files, that may be one file.
type one struct{ first, second int }

// tell notes the path that a member reports for the i-th file. It ignores URLs, which have no links to follow.
func (l *links) tell(by tasks.PeerID, i int, real string) {
	if l.real[by] == nil {
		l.real[by] = make([]string, len(l.files))
	}
	if filepath.IsAbs(real) && len(real) <= maxPath && localPath(l.files[i].URL) != "" {
		l.real[by][i] = real
	}
}

// known is how many members have reported the path of the i-th file.
func (l *links) known(i int) (n int) {
	for _, real := range l.real {
		if real[i] != "" {
			n++
		}
	}
	return n
}

// suspects are the pairs that may be one file: one member reports the same path for both, or two members report the
// same path for one of them each, since a path stands for the same file on all hosts.
func (l *links) suspects() (out []one) {
	type named struct {
		by         tasks.PeerID
		path, part string
	}
	first, seen := map[named]int{}, map[one]bool{}
	find := func(key named, i int) {
		at, known := first[key]
		if !known {
			first[key] = i
		} else if pair := (one{at, i}); l.files[at].URL != l.files[i].URL && !seen[pair] {
			seen[pair] = true
			out = append(out, pair)
		}
	}
	for i, f := range l.files {
		for by, real := range l.real {
			if real[i] != "" {
				find(named{by, real[i], f.Part}, i)
				find(named{"", real[i], f.Part}, i)
			}
		}
	}
	slices.SortFunc(out, func(a, b one) int { return a.second - b.second })
	return out
}

// votes are the members that say that a pair is one file, and those that say that it is not. If this host sees both
// files, only its own vote counts.
func (l *links) votes(p one) (same, differ []tasks.PeerID) {
	for by, real := range l.real {
		a, b := real[p.first], real[p.second]
		switch {
		case a == "" || b == "":
		case by == l.self && a == b:
			return []tasks.PeerID{by}, nil
		case by == l.self:
			return nil, []tasks.PeerID{by}
		case a == b:
			same = append(same, by)
		default:
			differ = append(differ, by)
		}
	}
	slices.Sort(same)
	slices.Sort(differ)
	return same, differ
}

// twice is the error for two names of one file, nil if there are none. If as many members say that two names are one
// file as say that they are not, they count as one, because then the user is told.
func (l *links) twice(names Names) error {
	for _, p := range l.suspects() {
		same, differ := l.votes(p)
		if len(same) < len(differ) {
			continue
		}
		text := fmt.Sprintf("could not use input files: two names of one file, which would be counted twice: %q is %q",
			l.files[p.second].URL, l.files[p.first].URL)
		if len(same) > 0 {
			text += ", as " + strings.Join(names.Of(same), ", ") + " can tell"
		}
		if len(differ) > 0 {
			text += ", but not to " + strings.Join(names.Of(differ), ", ")
		}
		return &api.Error{Message: text,
			Hint: "one is a link to the other, where they were planned: name only one of them, or say --allow-duplicates if " +
				"you mean it"}
	}
	return nil
}

// asked are the members to be asked next, which are the first ones after those asked before; none if enough is known.
func (l *links) asked(members []tasks.PeerID, before int) []tasks.PeerID {
	rest := members[min(before, len(members), linkAtMost):min(len(members), linkAtMost)]
	for i := range l.files {
		if path := localPath(l.files[i].URL); path != "" && l.known(i) < linkAsked {
			return rest[:min(len(rest), linkAsked)]
		}
	}
	return nil
}

// localPath is the path of a local file; empty for a URL.
func localPath(url string) string {
	if path := strings.TrimPrefix(url, "file://"); !IsURL(path) {
		return path
	}
	return ""
}

// realPath is a local path with all links followed; empty for a URL, or if it cannot be determined.
func realPath(url string) string {
	path := localPath(url)
	if path == "" {
		return ""
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	return real
}

// linksOf collects what this host knows of the paths of files, and what members reported when they planned files.
func linksOf(u *unseenHere, self tasks.PeerID) *links {
	l := &links{self: self, real: map[tasks.PeerID][]string{}}
	for i := range u.req.Files {
		l.files = append(l.files, u.file(i))
	}
	for i, words := range u.words {
		if len(words) == 0 && u.bad[i] == nil {
			l.tell(self, i, realPath(l.files[i].URL))
		}
		for _, w := range words {
			if w.bad == nil {
				l.tell(w.by, i, w.real)
			}
		}
	}
	return l
}

// compareLinks asks members which names are one file, and returns an error if a file is named twice.
func (pl *Planner) compareLinks(ctx context.Context, u *unseenHere, members []tasks.PeerID) error {
	told := func(words []word) bool { return slices.ContainsFunc(words, func(w word) bool { return w.real != "" }) }
	if u.req.Duplicates || !slices.ContainsFunc(u.words, told) {
		return nil // the command run has compared the files that this host sees
	}
	l := linksOf(u, pl.Members.ID())
	planned := map[tasks.PeerID]int{}
	for _, words := range u.words {
		for _, w := range words {
			if w.bad == nil {
				planned[w.by]++
			}
		}
	}
	members = slices.Clone(members)
	slices.SortStableFunc(members, func(a, b tasks.PeerID) int { return planned[b] - planned[a] })
	for n := 0; ; {
		next := l.asked(members, n)
		if len(next) == 0 || ctx.Err() != nil {
			break
		}
		n += len(next)
		pl.askLinks(ctx, l, next, u)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.twice(pl.Members.Names())
}

// askLinks asks members for the paths of all local files.
func (pl *Planner) askLinks(ctx context.Context, l *links, members []tasks.PeerID, u *unseenHere) {
	var local []int
	var files []api.InputFile
	for i, f := range l.files {
		if localPath(f.URL) != "" {
			local, files = append(local, i), append(files, f)
		}
	}
	told := make([][]Answer, len(members))
	var wg sync.WaitGroup
	for k, m := range members {
		wg.Go(func() {
			for chunk := range slices.Chunk(files, linkChunk) {
				out, err := pl.askMember(ctx, m, planAsk{Files: chunk, Within: u.limit.Seconds(), Links: true}, u.limit)
				if err != nil || len(out) != len(chunk) {
					pl.Log.Warn("a member did not tell the paths of files", "member", m, "files", len(chunk), "err", err)
					return
				}
				told[k] = append(told[k], out...)
			}
		})
	}
	wg.Wait()
	for k, m := range members {
		for i, p := range told[k] {
			l.tell(m, local[i], p.Real)
		}
	}
}

// serveLinks answers a request for the paths of files with all links followed.
func (pl *Planner) serveLinks(ctx context.Context, from tasks.PeerID, files []api.InputFile) ([]byte, error) {
	done := pl.turn(ctx, from)
	if done == nil {
		return nil, ctx.Err()
	}
	answer := make(chan []Answer, 1)
	go func() { // it may hang in the kernel longer than anybody waits, and keeps its place until then
		defer done()
		out := make([]Answer, len(files))
		for i, f := range files {
			if ctx.Err() != nil {
				return
			}
			if out[i].Real = realPath(f.URL); out[i].Real == "" {
				out[i].Kind = exec.KindOpen
			}
		}
		answer <- out
	}()
	select {
	case out := <-answer:
		return json.Marshal(out)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
