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

// The submitting host may not see files that other members see, or may have a damaged copy. Then other members plan
// these files. What a member says of a file is not proven, but every node that opens the file later compares it with
// the plan (exec.Packet.Entries). Files that nobody would open are the subject of words.go.

const (
	planChunk   = 16               // files in one request
	planWithin  = time.Minute      // longest time for one file that a request may ask for, unless Config.Open is longer
	planGrace   = 10 * time.Second // additional time for sending a request and starting a planner
	maxPlanText = 1 << 10          // bytes of a reason from another member
	maxUUID     = 64               // bytes of a file's UUID, which has 36
	maxPath     = 4 << 10          // bytes of a path; what is longer is none
	maxPlanSize = 6 << 20          // bytes of plans in one answer
	maxTold     = 1 << 44          // entries of a file, ten times what a TTree may have
)

// planAsk is the request "plan", as JSON. It asks for the plans of at most planChunk files, each of which may take
// Within seconds or, with Links, only for the paths of at most linkChunk files.
type planAsk struct {
	Kind   string          `json:"kind,omitempty"` // of the job, and what its runtime must offer, for plans
	Needs  []string        `json:"needs,omitempty"`
	Files  []api.InputFile `json:"files"`
	Within float64         `json:"within"`
	Links  bool            `json:"links,omitempty"`
}

// Answer is the answer for one file: what was read of it, or why it could not be read. A member answers a request with
// one Answer for each file, in the order of the request. It may leave out the last files, but not all.
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

// plan converts a member's answer for a file, which it checks as far as it can: a plan that is impossible becomes a
// failure.
func (p Answer) plan(f api.InputFile) (exec.Plan, *exec.Failure) {
	if p.Kind != "" {
		msg := strings.ToValidUTF8(p.Msg[:min(len(p.Msg), maxPlanText)], "")
		return exec.Plan{}, &exec.Failure{Kind: p.Kind, Host: p.Host, Op: "open", File: f.URL, Entry: -1, Msg: msg}
	}
	if f.Part == "" { // the member must not choose what is read
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

// unseenHere is the planning of files that this host does not see or cannot read. The slices have an element for each
// file of the job, in the job's order, and each element is written by one goroutine at a time.
type unseenHere struct {
	req   api.JobRequest
	kind  string   // of the job
	needs []string // what a member's runtime must offer to plan for it
	plans []exec.Plan
	bad   []*exec.Failure // why the file is not planned; nil once it is
	words [][]word        // what the members say that were asked
	limit time.Duration
}

// file is the i-th file, as other members are asked for it.
func (u *unseenHere) file(i int) api.InputFile {
	return api.InputFile{URL: u.req.Files[i].URL, Part: PartOf(u.req, u.req.Files[i])}
}

// asked are the members that have answered for the i-th file. For a file that is damaged here they are only those that
// see it.
func (u *unseenHere) asked(i int) (out []tasks.PeerID) {
	for _, w := range u.words[i] {
		if w.sees() || !DamagedHere(u.bad[i]) {
			out = append(out, w.by)
		}
	}
	return out
}

// planUnseen has members plan the files that this host does not see. A local file that nobody sees is an error, since
// its name is most likely misspelt, unless the user wants such files to be skipped.
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
		case f.Host == exec.CauseMissing && !IsURL(f.File) && !u.req.SkipMissing:
			return pl.nobodySees(f, u.asked(i))
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return pl.compareLinks(ctx, u, members)
}

// weigh decides what is true of each file according to the words of members.
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

// nobodySees is the error for a file that neither this host nor any member sees.
func (pl *Planner) nobodySees(f *exec.Failure, asked []tasks.PeerID) error {
	where := "on this host, and no member is there to be asked"
	if len(asked) > 0 {
		where = "neither on this host nor on " + strings.Join(pl.Members.Names().Of(asked), ", ")
	}
	return &api.Error{
		Message: fmt.Sprintf("could not open input file %q: no such file %s", f.File, where),
		Err:     errMissing,
	}
}

// errMissing says that nobody sees a file.
var errMissing = errors.New("no such file")

// IsMissing reports whether an error of Files says that nobody sees a file.
func IsMissing(err error) bool { return errors.Is(err, errMissing) }

// asker asks a member to plan files. It returns the answers for the first of the files, at least for one.
type asker func(ctx context.Context, m tasks.PeerID, files []api.InputFile, limit time.Duration) ([]Answer, error)

// gather asks members about the files. In the first round each member is asked for a share of them. In each further
// round other members are asked for the files of which the words so far are not enough.
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

// planShare asks one member for its share of the files, in several requests. It gives up when a request fails.
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

// askPlans returns the asker for the files of a job of a kind.
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

// planShares are how many files are planned here at the same time for all other members, and for one of them. A runtime
// plans twice as many files as there are cores, so half of that is left for jobs that are submitted here. If there are
// several places, no member gets all of them: a file that does not open then delays only the member that asked for it.
func planShares() (all, each int) {
	all = runtime.GOMAXPROCS(0)
	return all, max(all-1, 1)
}

// turn waits for a place in which to plan a file for a member. The caller gives it back with done, which is nil if ctx
// has ended first.
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

// ServePlans answers the request "plan" of a member that may submit: it plans the files as it would for a job that is
// submitted here, for as long as the member waits.
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

// planAsked plans files for another member, and returns the answers for as many of the first ones as there was time
// for.
func (pl *Planner) planAsked(
	ctx context.Context, from tasks.PeerID, rt exec.Runtime, files []api.InputFile, within time.Duration,
) []Answer {
	out, answered := make([]Answer, len(files)), make([]bool, len(files))
	var wg sync.WaitGroup
	_, each := planShares()
	g := make(chan struct{}, each) // begins the files in their order, since only the first ones will be answered
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

// answerPlans encodes as many of the first plans as have room in an answer.
func answerPlans(out []Answer) ([]byte, error) {
	for n := len(out); ; n /= 2 {
		b, err := json.Marshal(out[:max(n, 1)])
		if err != nil || len(b) <= maxPlanSize || n <= 1 {
			return b, err
		}
	}
}

// counted is a number with the word for what is counted, which is given in the singular.
func counted(n int, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}
