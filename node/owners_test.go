package node

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// secret stands in everything that is for a job's submitter alone.
const secret = "hush-hush"

// admit has another daemon join d's cluster with some rights, and returns its id.
func admit(t *testing.T, d *Daemon, name string, rights ...p2p.Right) *Daemon {
	t.Helper()
	return admitAs(t, d, Config{Name: name, Slots: 1}, rights...)
}

// admitAs has a daemon of that configuration join d's cluster with some rights.
func admitAs(t *testing.T, d *Daemon, cfg Config, rights ...p2p.Right) *Daemon {
	t.Helper()
	o := openAs(t, cfg)
	token, _, err := d.net.Invite(rights, time.Minute)
	if err == nil {
		err = o.net.Join(t.Context(), token)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// owned makes a finished job of a member known to d, with a result and a log.
func (d *Daemon) owned(t *testing.T, name string, submitter tasks.PeerID) *jobs.Job {
	t.Helper()
	j := d.jobs.Book().New(strings.Repeat(name, 32))
	j.With(func(s *jobs.State) { s.Desc = &tasks.Job{Submitter: submitter, Ask: tasks.Ask{Title: secret}} })
	if err := durable.Write(d.results.Path(j.Name), []byte(secret)); err != nil {
		t.Fatal(err)
	}
	j.Adopt(api.JobStatus{
		ID:        j.Name,
		Title:     secret + ".C",
		Home:      d.net.ID(),
		State:     api.Partial,
		Submitted: time.Now(),
		SHA256:    store.HashOf([]byte(secret)),
		Error:     secret,
		Hint:      secret,
		Phase:     secret,
		Output:    "/" + secret,
		Stdout:    secret,
		Apart:     []string{secret},
		Replicas:  []string{secret},
		Missing:   []api.Missing{{File: secret}},
		Units:     4711,
		Nodes:     []api.NodeWork{{ID: d.net.ID(), Name: secret}},
	}, false)
	close(j.Done)
	d.results.SaveEnd(j.Name, engine.Remember{
		ID:    tasks.NameOf([]byte(name)),
		Ended: engine.Ended{Seal: &quorum.Seal{}, Result: &ledger.Result{Status: []byte(secret)}},
	})
	j.Printed("here", secret)
	d.jobs.Book().Add(j)
	return j
}

// Whose job it is decides, for each request that there is: one that is not in this table fails.
func TestRequestsAreForWhoMayMakeThem(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	roles := map[string]tasks.PeerID{"stranger": openStranger(t)}
	for name, rights := range map[string][]p2p.Right{
		"owner":     {p2p.Submitter},
		"submitter": {p2p.Submitter},
		"worker":    {p2p.Worker},
		"inviter":   {p2p.Inviter},
		"read":      {p2p.Read},
		"admin":     {p2p.Admin},
	} {
		o := admit(t, d, name, rights...)
		defer o.Close()
		roles[name] = o.net.ID()
	}
	look, rule := []string{"admin", "owner", "read"}, []string{"admin", "owner"}
	all := slices.Sorted(maps.Keys(roles))
	table := map[string]struct {
		may   []string
		short []string // of these, who may see all that there is to see
	}{
		"signature": {all, nil},
		"plan":      {[]string{"owner", "submitter"}, nil},
		"glob":      {[]string{"owner", "submitter"}, nil},
		"jobs":      {all, look},
		"lacks":     {all, nil},
		"status":    {all, look},
		"lead":      {all, nil},
		"end":       {all, look},
		"stop":      {rule, nil},
		"cancel":    {rule, nil},
		"finish":    {rule, nil},
		"copy":      {rule, nil},
		"recover":   {rule, nil},

		"superseded":         {rule, nil},
		"recover-superseded": {rule, nil},
		"partials":           {look, nil},
		"items":              {all, nil}, // it names no job; see TestItemsAreKeptForTheJobsOwn
		"units":              {look, nil},
		"backlog":            {look, nil},
		"hear":               {look, nil},
		"early":              {all, nil}, // it names no job; what comes of units that the asker was not given is dropped
		"values":             {all, nil}, // of members that may work; see TestValuesAreForWorkers
		"spent":              {all, nil}, // likewise
		"makers":             {all, nil}, // likewise
		"release":            {all, nil}, // of a job that the asker has submitted; see ServeRelease
		"note":               {all, nil}, // it names no job; one note of each worker counts, on jobs of this node's user
		"watch":              {look, nil},
		"share":              {all, nil}, // the home may ask, too; a job that is not known here is nobody's
		"logs":               {look, look},
		"result":             {look, nil},
		"parts":              {look, nil},
		"fetched":            {rule, nil},
		"taken":              {rule, nil},
		"datasets":           {all, nil},
		"dataset":            {all, nil},
		"dataset-new":        {nil, nil}, // each for its own names; see TestDatasetsAreOnAllMembers
	}
	for kind := range requests {
		if _, ok := table[kind]; !ok {
			t.Errorf("who may ask for %q is not in the table", kind)
		}
	}
	j := d.owned(t, "a", roles["owner"])
	for kind, want := range table {
		for role, id := range roles {
			arg := []byte(j.Name)
			if kind == "watch" || kind == "share" || kind == "hear" {
				arg = fmt.Appendf(nil, `{"job":%q,"names":["h"]}`, j.Name)
			}
			answer, err := d.serve(t.Context(), id, kind, arg)
			var e *api.Error
			refused := errors.As(err, &e) && e.Status == http.StatusForbidden
			if refused == slices.Contains(want.may, role) {
				t.Errorf("%s asked by %s: %v", kind, role, err)
			}
			if refused && kind != "plan" && kind != "glob" && kind != "dataset-new" &&
				(!strings.Contains(e.Message, "owner's") || !strings.Contains(e.Message, "admin") ||
					!strings.Contains(e.Hint, "--rights")) {
				t.Errorf("%s asked by %s: the refusal does not say whose it is, and what right is needed: %v, %s", kind, role, e,
					e.Hint)
			}
			units := regexp.MustCompile(`\b4711\b`).Match(answer) // and not as part of a time
			if tells := strings.Contains(string(answer), secret) || units; tells != slices.Contains(want.short, role) {
				t.Errorf("%s asked by %s tells %s", kind, role, answer)
			}
			if kind == "status" && !slices.Contains(want.short, role) &&
				(!strings.Contains(string(answer), roles["owner"]) || strings.Contains(string(answer), j.Name)) {
				t.Errorf("whose job it is, and no more of its name: %s", answer)
			}
		}
	}
	if _, err := d.serve(t.Context(), roles["admin"], "everything", nil); err == nil {
		t.Error("an unknown request was answered")
	}
}

// TestLedgersAreReadAtAPrice has a member without any right ask for a job's ledgers without end: it is refused before
// anything is read for it, and the job's submitter is answered.
func TestLedgersAreReadAtAPrice(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	owner, worker := admit(t, d, "owner", p2p.Submitter), admit(t, d, "worker", p2p.Worker)
	defer owner.Close()
	defer worker.Close()
	j := d.owned(t, "a", owner.net.ID())
	for kind, r := range requests {
		if r.costly != strings.Contains("copy superseded recover-superseded", kind) {
			t.Errorf("%q costs its sender: %v", kind, r.costly)
		}
	}
	const most = 400
	for i := 0; ; i++ {
		_, err := d.serve(t.Context(), worker.net.ID(), "superseded", []byte(j.Name))
		if errors.Is(err, engine.ErrAsked) {
			break
		}
		if i == most {
			t.Fatalf("%d requests were looked at: %v", most, err)
		}
	}
	if _, err := d.serve(t.Context(), owner.net.ID(), "superseded", []byte(j.Name)); errors.Is(err, engine.ErrAsked) {
		t.Error("another member pays for it:", err)
	}
	if _, err := d.serve(t.Context(), worker.net.ID(), "jobs", nil); err != nil {
		t.Error("what costs nothing is refused:", err)
	}
}

// openStranger is the id of a node that is no member.
func openStranger(t *testing.T) tasks.PeerID {
	t.Helper()
	o := openWithout(t, "stranger")
	defer o.Close()
	return o.net.ID()
}

// The same holds for a node's own user, though the job is led there.
func TestANodesUserSeesWhatItsMemberMay(t *testing.T) {
	founder := openWithout(t, "founder")
	defer founder.Close()
	for _, tc := range []struct {
		right      p2p.Right
		look, rule bool
	}{{p2p.Worker, false, false}, {p2p.Submitter, false, false}, {p2p.Read, true, false}, {p2p.Admin, true, true}} {
		t.Run(string(tc.right), func(t *testing.T) {
			d := admit(t, founder, "node", tc.right)
			defer d.Close()
			j := d.owned(t, "b", founder.net.ID())
			st, err := d.jobs.JobStatus(t.Context(), j.Name)
			if err != nil || (st.Private == "") != tc.look || st.Submitter != founder.net.ID() ||
				(st.Title != "") != tc.look {
				t.Errorf("status %+v, error %v", st, err)
			}
			list := d.jobs.AllJobs(t.Context())
			if len(list) != 1 || (list[0].Private == "") != tc.look {
				t.Errorf("listed %+v", list)
			}
			_, f, err := d.jobs.FindResult(t.Context(), j.Name)
			if err == nil {
				_ = f.Close()
			}
			forbidden := func(err error) bool {
				var e *api.Error
				return errors.As(err, &e) && e.Status == http.StatusForbidden
			}
			if forbidden(err) == tc.look {
				t.Errorf("result: %v", err)
			}
			if err := d.jobs.Follow(t.Context(), j.Name, func(api.Event) error { return nil }); forbidden(err) == tc.look {
				t.Errorf("events: %v", err)
			}
			if got := string(d.jobs.LogsFor(d.net.ID(), j.Name)); strings.Contains(got, secret) != tc.look {
				t.Errorf("logs: %q", got)
			}
			for _, what := range []string{"stop", "cancel"} {
				if err := d.jobs.Order(t.Context(), j.Name, what); forbidden(err) == tc.rule {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// A member that has one of two jobs whose names begin alike learns nothing of the other one's log.
func TestABeginningOfANameOpensNoOthersLog(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	owner := admit(t, d, "owner", p2p.Submitter)
	defer owner.Close()
	d.owned(t, "c", d.net.ID())
	mine := d.jobs.Book().New("cccc" + strings.Repeat("d", 28))
	mine.With(func(s *jobs.State) { s.Desc = &tasks.Job{Submitter: owner.net.ID()} })
	d.jobs.Book().Add(mine)
	if answer, err := d.serve(t.Context(), owner.net.ID(), "logs", []byte("cccc")); err == nil ||
		strings.Contains(string(answer), secret) {
		t.Errorf("got %q, error %v", answer, err)
	}
	mine.Printed("here", "mine")
	if answer, err := d.serve(t.Context(), owner.net.ID(), "logs", []byte(mine.Name)); err != nil ||
		!strings.HasSuffix(string(answer), "\nmine\n") || strings.Count(string(answer), "\n") != 2 { // behind its head
		t.Errorf("got %q, error %v", answer, err)
	}
}

// Values that units make for others are for members that may run units.
func TestValuesAreForWorkers(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	request, err := wire.Marshal(&struct {
		Job  string     `msgpack:"j"`
		Want [][2]int64 `msgpack:"w"`
	}{"job", [][2]int64{{1, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, right := range []p2p.Right{p2p.Worker, p2p.Submitter, p2p.Read, p2p.Inviter} {
		o := admit(t, d, string(right), right)
		defer o.Close()
		_, err := d.serve(t.Context(), o.net.ID(), "values", request)
		for _, kind := range []string{"spent", "makers"} {
			_, err := d.serve(t.Context(), o.net.ID(), kind, []byte("job"))
			if (right == p2p.Worker) == strings.Contains(err.Error(), "may not") {
				t.Errorf("%v asks for %s: %v", right, kind, err)
			}
		}
		if (right == p2p.Worker) != (err == nil) {
			t.Errorf("%v asks: %v", right, err)
		}
	}
}
