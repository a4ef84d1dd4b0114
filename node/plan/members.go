package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/wire"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// The host of who submits may lack files that other members see, or have a damaged copy: then those plan them. What a
// member says of a file is not proven, but whoever opens the file later compares it with the plan
// (exec.Packet.Entries); see planwords.go for files that nobody would open.

const (
	planChunk   = 16               // files in one request
	planWithin  = time.Minute      // bound of what may be asked for one file, if this node's own is not longer
	planGrace   = 10 * time.Second // for the way of a request, and for starting a planner
	maxPlanText = 1 << 10          // bytes of a reason from another member
	maxUUID     = 64               // bytes of a file's UUID, which has 36
	maxPath     = 4 << 10          // bytes of a path; what is longer is none
	maxPlanSize = 6 << 20          // bytes of plans in one answer
	maxTold     = 1 << 44          // entries of a file, ten times what a TTree may have
)

// planAsk is the request "plan", JSON: at most planChunk files, and the seconds that each may take; or for their paths
// alone, of at most linkChunk.
type planAsk struct {
	Kind   string          `json:"kind,omitempty"` // of the job, and what its runtime must offer, for plans
	Needs  []string        `json:"needs,omitempty"`
	Files  []api.InputFile `json:"files"`
	Within float64         `json:"within"`
	Links  bool            `json:"links,omitempty"`
}

// Answer answers for one file, in the order of the request: what was read of it, or why it was not. An answer may be
// cut short, with one file at least.
type Answer struct {
	Part     string     `json:"part,omitempty"`
	Entries  int64      `json:"entries,omitempty"`
	Clusters []int64    `json:"clusters,omitempty"`
	Bytes    int64      `json:"bytes,omitempty"`
	UUID     string     `json:"uuid,omitempty"`
	Real     string     `json:"real,omitempty"` // path of a local file with all links followed, on the host that answers
	Kind     exec.Kind  `json:"kind,omitempty"` // of failure; empty if there was none
	Host     exec.Cause `json:"host,omitempty"`
	Msg      string     `json:"msg,omitempty"`
}

// plan is what a member has answered, checked as far as it can be.
func (p Answer) plan(f api.InputFile) (exec.Plan, *exec.Failure) {
	if p.Kind != "" {
		msg := strings.ToValidUTF8(p.Msg[:min(len(p.Msg), maxPlanText)], "")
		return exec.Plan{}, &exec.Failure{Kind: p.Kind, Host: p.Host, Op: "open", File: f.URL, Entry: -1, Msg: msg}
	}
	if f.Part == "" { // else the member would choose it
		return exec.Plan{}, &exec.Failure{Kind: exec.KindSchema, Op: "open", File: f.URL, Entry: -1,
			Msg: "this host does not see the file, so what is read of it must be named (--tree)"}
	}
	file := tasks.File{
		URL:      f.URL,
		Part:     p.Part,
		Entries:  p.Entries,
		Clusters: p.Clusters,
		Bytes:    max(p.Bytes, 0),
		UUID:     p.UUID,
	}
	if _, err := tasks.NewDataset([]tasks.File{file}); err != nil || p.Entries > maxTold || len(p.UUID) > maxUUID ||
		p.Part == "" || p.Part != f.Part {
		return exec.Plan{}, &exec.Failure{Kind: exec.KindOpen, Op: "open", File: f.URL, Entry: -1,
			Msg: "it was answered with a plan that cannot be"}
	}
	return exec.Plan{
		File:     f.URL,
		Part:     p.Part,
		Entries:  p.Entries,
		Clusters: p.Clusters,
		Bytes:    file.Bytes,
		UUID:     p.UUID,
	}, nil
}

// unseenHere are the files of a job that could not be planned since this host does not see them, or cannot read them,
// by their places in the job's list. Each place is written by one goroutine at a time.
type unseenHere struct {
	req   api.JobRequest
	kind  string   // of the job
	needs []string // what a member's runtime must offer to plan for it
	plans []exec.Plan
	bad   []*exec.Failure // why not; nil once it is planned
	words [][]word        // of members that were asked
	limit time.Duration
}

// file is what another member is asked for.
func (u *unseenHere) file(i int) api.InputFile {
	return api.InputFile{URL: u.req.Files[i].URL, Part: PartOf(u.req, u.req.Files[i])}
}

// asked are the members that have answered for the i-th file; of one that is damaged here, those that have it too.
func (u *unseenHere) asked(i int) (out []tasks.PeerID) {
	for _, w := range u.words[i] {
		if w.sees() || !DamagedHere(u.bad[i]) {
			out = append(out, w.by)
		}
	}
	return out
}

// planUnseen has members plan what this host does not see. A local file that nobody has is an error, for it was most
// likely named wrongly.
func (pl *Planner) planUnseen(ctx context.Context, u *unseenHere, tell func(text string)) error {
	u.words = make([][]word, len(u.bad))
	var members []tasks.PeerID
	for _, m := range pl.Members.Planners(u.needs) {
		members = append(members, m.ID)
	}
	u.gather(ctx, members, pl.askPlans(u.kind, u.needs), tell)
	u.weigh(pl.Members.Names())
	for i, f := range u.bad {
		switch {
		case f == nil:
		case namedWrongly(f):
			return fmt.Errorf("%w (read on %s)", f, strings.Join(pl.Members.Names().Of(u.asked(i)), ", "))
		case f.Host == exec.CauseMissing && !IsURL(f.File):
			return pl.nobodySees(f, u.asked(i))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return pl.compareLinks(ctx, u, members)
}

// weigh takes what counts of what members have said.
func (u *unseenHere) weigh(names Names) {
	for i, words := range u.words {
		if u.bad[i] == nil || len(words) == 0 {
			continue
		}
		w := weighed(u.bad[i], words)
		u.plans[i], u.bad[i] = w.plan, nil
		if w.bad != nil {
			u.bad[i] = disputed(w, words, names)
		}
	}
}

// nobodySees is the error for a file that is nowhere to be found.
func (pl *Planner) nobodySees(f *exec.Failure, asked []tasks.PeerID) error {
	where := "on this host, and no member is there to be asked"
	if len(asked) > 0 {
		where = "neither on this host nor on " + strings.Join(pl.Members.Names().Of(asked), ", ")
	}
	return &api.Error{Message: fmt.Sprintf("could not open input file %q: no such file %s", f.File, where)}
}

// asker has a member plan files, and returns its answers for the first of them, one at least.
type asker func(ctx context.Context, m tasks.PeerID, files []api.InputFile, limit time.Duration) ([]Answer, error)

// gather asks members: each for a share of the files, then for those of which the word of the one before is not enough.
func (u *unseenHere) gather(ctx context.Context, members []tasks.PeerID, ask asker, tell func(text string)) {
	for round := range members {
		shares := make([][]int, len(members))
		left := 0
		for i := range u.bad {
			if !enough(u.bad[i], u.words[i]) {
				k := (i + round) % len(members)
				shares[k] = append(shares[k], i)
				left++
			}
		}
		if left == 0 {
			return
		}
		tell(fmt.Sprintf("asking %s for %s that this host does not see, or cannot read", counted(len(members), "member"),
			counted(left, "file")))
		var wg sync.WaitGroup
		for k, m := range members {
			wg.Go(func() { u.planShare(ctx, m, shares[k], ask) })
		}
		wg.Wait()
	}
}

// planShare asks one member for some of the files. One that does not answer has said nothing of those that are left.
func (u *unseenHere) planShare(ctx context.Context, m tasks.PeerID, share []int, ask asker) {
	for len(share) > 0 && ctx.Err() == nil {
		var files []api.InputFile
		for _, i := range share[:min(len(share), planChunk)] {
			files = append(files, u.file(i))
		}
		answers, err := ask(ctx, m, files, u.limit)
		if err != nil {
			return
		}
		for k, a := range answers {
			i := share[k]
			w := word{by: m, real: a.Real}
			w.plan, w.bad = a.plan(files[k])
			u.words[i] = append(u.words[i], w)
		}
		share = share[len(answers):]
	}
}

// askPlans has members plan files for a job of a kind.
func (pl *Planner) askPlans(kind string, needs []string) asker {
	return func(ctx context.Context, m tasks.PeerID, files []api.InputFile,
		limit time.Duration) (out []Answer, err error) {
		defer func() {
			if err != nil {
				pl.Log.Warn("a member did not plan files", "member", m, "files", len(files), "err", err)
			}
		}()
		ask := planAsk{Kind: kind, Needs: needs, Files: files, Within: limit.Seconds()}
		if out, err = pl.askMember(ctx, m, ask, limit); err != nil {
			return nil, err
		}
		if len(out) == 0 || len(out) > len(files) {
			return nil, fmt.Errorf("%s has answered for %d of %d files", m, len(out), len(files))
		}
		return out, nil
	}
}

// askMember sends one request.
func (pl *Planner) askMember(
	ctx context.Context, m tasks.PeerID, ask planAsk, limit time.Duration,
) (out []Answer, err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit+planGrace)
	defer cancel()
	b, err := pl.Members.Request(ctx, m, "plan", body)
	if err != nil {
		return nil, err
	}
	if out, err = wire.ReadJSONList[Answer](b, len(ask.Files), len(b)); err != nil {
		return nil, fmt.Errorf("could not read the plans of %s: %w", m, err)
	}
	return out, nil
}

// planShares are how many files are planned here at once for all other members, and for one of them. The executor plans
// twice as many as there are cores: half of that is left for jobs that are submitted here, and where there are two
// places one member has not both, so that a file which does not open holds up whoever asks for it.
func planShares() (all, each int) {
	all = runtime.GOMAXPROCS(0)
	return all, max(all-1, 1)
}

// turn waits for a place to plan a file in for a member; done gives it back. It returns nil if ctx ends before.
func (pl *Planner) turn(ctx context.Context, from tasks.PeerID) (done func()) {
	own, err := pl.turns.Take(ctx, from)
	if err != nil {
		return nil
	}
	select {
	case pl.places <- struct{}{}:
		return func() { <-pl.places; own() }
	case <-ctx.Done():
		own()
		return nil
	}
}

// ServePlans plans files for a member that may submit, as this node would do it for a job of that member, for as long
// as the member waits.
func (pl *Planner) ServePlans(ctx context.Context, from tasks.PeerID, arg string) ([]byte, error) {
	if !pl.Members.PlansFor(from) {
		return nil, &api.Error{Status: http.StatusForbidden,
			Message: "files are planned by members that work, for members that may submit jobs"}
	}
	var ask planAsk
	most := planChunk
	if err := json.Unmarshal([]byte(arg), &ask); err == nil && ask.Links {
		most = linkChunk
	} else if err != nil {
		return nil, fmt.Errorf("could not read a request to plan: %w", err)
	}
	if len(ask.Files) == 0 || len(ask.Files) > most {
		return nil, fmt.Errorf("a request to plan names 1 to %d files", most)
	}
	within := min(time.Duration(max(ask.Within, 1)*float64(time.Second)), max(planWithin, pl.Open))
	ctx, cancel := context.WithTimeout(ctx, within+planGrace/2)
	defer cancel()
	if ask.Links {
		return pl.serveLinks(ctx, from, ask.Files)
	}
	rt, err := pl.Runtime(ctx, ask.Kind, ask.Needs)
	if err != nil {
		return nil, err
	}
	out := pl.planAsked(ctx, from, rt, ask.Files, within)
	if len(out) == 0 {
		return nil, &api.Error{
			Status:  http.StatusServiceUnavailable,
			Message: "too many files are being planned on this host",
			Hint:    "try again",
		}
	}
	return answerPlans(out)
}

// planAsked plans files for another member and returns the first of them, as many as there was time for.
func (pl *Planner) planAsked(
	ctx context.Context, from tasks.PeerID, rt exec.Runtime, files []api.InputFile, within time.Duration,
) []Answer {
	out, answered := make([]Answer, len(files)), make([]bool, len(files))
	var wg sync.WaitGroup
	_, each := planShares()
	g := make(chan struct{}, each) // in their order, for the first ones are answered
	for i, f := range files {
		g <- struct{}{}
		done := pl.turn(ctx, from)
		if done == nil {
			break
		}
		wg.Go(func() {
			out[i] = pl.planFor(ctx, rt, f, within)
			answered[i] = ctx.Err() == nil
			done()
			<-g
		})
	}
	wg.Wait()
	n := slices.Index(answered, false)
	if n < 0 {
		n = len(out)
	}
	return out[:n]
}

// planFor plans one file for another member.
func (pl *Planner) planFor(ctx context.Context, rt exec.Runtime, f api.InputFile, within time.Duration) Answer {
	p, err := pl.File(ctx, rt, f.URL, f.Part, within)
	var fail *exec.Failure
	switch {
	case errors.As(err, &fail):
		return Answer{Kind: fail.Kind, Host: fail.Host, Msg: fail.Msg}
	case err != nil:
		return Answer{Kind: exec.KindOpen, Msg: err.Error()}
	}
	return Answer{
		Part:     p.Part,
		Entries:  p.Entries,
		Clusters: p.Clusters,
		Bytes:    p.Bytes,
		UUID:     p.UUID,
		Real:     realPath(f.URL),
	}
}

// answerPlans encodes as many as an answer holds.
func answerPlans(out []Answer) ([]byte, error) {
	for n := len(out); ; n /= 2 {
		b, err := json.Marshal(out[:max(n, 1)])
		if err != nil || len(b) <= maxPlanSize || n <= 1 {
			return b, err
		}
	}
}

// counted is a number of things, named in the singular.
func counted(n int, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}
