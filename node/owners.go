package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job belongs to its submitter, the member whose node signed it. What others may ask of it stands in one table,
// requests; the same rules hold for the commands of this node's own user, on whichever node the job is led.

// access is what a request needs of who asks.
type access int

// The kinds of access, each including the ones before.
const (
	forAll  access = iota // any member: it is told no more than that the job exists, and what it costs itself
	forLook               // the job's submitter, and members with the right admin or read
	forRule               // the job's submitter, and members with the right admin
)

// needs names the rights that give an access to jobs of others.
func (a access) needs() string {
	switch a {
	case forAll:
		return "none"
	case forLook:
		return "read or admin"
	}
	return "admin"
}

// may reports whether a member has access to the jobs of a submitter.
func (d *Daemon) may(who, submitter tasks.PeerID, a access) bool {
	switch {
	case a == forAll, who != "" && who == submitter, d.net.HasRight(who, p2p.Admin):
		return true
	case a == forLook:
		return d.net.HasRight(who, p2p.Read)
	}
	return false
}

// request is one that other members may make.
type request struct {
	access access
	// answer gets the job that the argument names where access is asked for; else j is nil.
	answer func(ctx context.Context, d *Daemon, from tasks.PeerID, j *job, arg string) ([]byte, error)
	// owner finds the submitter of the job that arg names, and the job if it is one that this node tells of.
	owner func(d *Daemon, arg string) (*job, tasks.PeerID, error)
	// costly requests have this node read logs of ledgers: who asks pays for them, be it refused or not.
	costly bool
}

// requests are all that other members may ask, by kind. The payload is a job's name or the beginning of it, if
// nothing else is said:
//
//	signature  job id -> store.Signature, msgpack: who signed the job, and how large its description is
//	plan       planAsk, JSON -> []plan.Answer, JSON: what this host reads of input files, for members that may submit
//	glob       []string, JSON -> []string, JSON: the files that match globs on this host, for members that may submit
//	jobs       -      -> []api.JobStatus told of here, JSON, as listed cuts them, and cutFor for who asks
//	lacks      ids, JSON -> lacks, JSON: whom this node has no link to; asked after are those that who asks has none to
//	status            -> api.JobStatus, JSON, as cutFor cuts it for who asks
//	lead              -> leadProof, msgpack: that this node leads the job
//	end               -> endProof, msgpack: how the job ended, and that it has
//	stop              -> empty
//	cancel            -> empty
//	finish            -> empty: a job that could not be finished is tried again
//	copy              -> copyReport, JSON: this node's copy of the job's ledger
//	recover    name, newline, quorum.Link as JSON -> empty: the job goes on from this node's copy of its ledger alone
//	superseded        -> []copyReport, JSON: copies of the job's ledger that were put aside here
//	recover-superseded name, newline, asideOrder as JSON -> empty: the job goes on from one of these
//	partials   name and mark -> handedOut, JSON: what is committed, asked for until it is there
//	logs              -> text that the job's children printed here
//	result            -> hash of the result, a blob
//	parts             -> handle of store.MadeOf, JSON: what a job's partial result was made of
//	fetched           -> empty: the job's submitter, or an admin, has the result
var requests = map[string]request{
	"signature": {
		access: forAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveSignature(tasks.JobID(arg))
		},
	},
	"plan": {
		access: forAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.planner.ServePlans(ctx, from, arg)
		},
	},
	"glob": {
		access: forAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.planner.ServeGlobs(ctx, from, arg)
		},
	},
	"jobs": {
		access: forAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, _ string) ([]byte, error) {
			return json.Marshal(listed(d.jobsFor(from), maxJobsAnswer))
		},
	},
	"lacks": {
		access: forAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveLacks(arg)
		},
	},
	"status": {
		access: forAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			j, err := d.led(arg)
			if err != nil {
				if st, waits := d.waitsUnled(arg); waits {
					return json.Marshal(d.cutFor(from, st))
				}
				return nil, err
			}
			return json.Marshal(d.cutFor(from, d.statusOf(j)))
		},
	},
	"lead": {
		access: forAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveLead(arg)
		},
	},
	"end": {
		access: forAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveEnd(from, arg)
		},
	},
	"stop": {
		access: forRule,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return nil, d.steer(d.ctx, j, "stop")
		},
	},
	"cancel": {
		access: forRule,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return nil, d.steer(d.ctx, j, "cancel")
		},
	},
	"finish": {
		access: forRule,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return nil, d.steer(d.ctx, j, "finish")
		},
	},
	"copy": {
		access: forRule,
		costly: true,
		owner:  (*Daemon).copyOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			r, err := d.reportCopy(arg)
			if err != nil {
				return nil, err
			}
			return json.Marshal(r)
		},
	},
	"recover": {
		access: forRule,
		costly: true,
		owner:  (*Daemon).copyOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return nil, d.recoverOrdered(arg)
		},
	},
	"superseded": {
		access: forRule,
		costly: true,
		owner:  (*Daemon).asideOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			r, err := d.reportAside(arg)
			if err != nil {
				return nil, err
			}
			return json.Marshal(r)
		},
	},
	"recover-superseded": {
		access: forRule,
		costly: true,
		owner:  (*Daemon).asideOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return nil, d.supersededOrdered(arg)
		},
	},
	"partials": {
		access: forLook,
		owner:  (*Daemon).handoutOwner,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.sharePartials(from, arg)
		},
	},
	"logs": {
		access: forLook,
		owner:  (*Daemon).knownOwner,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.logsFor(from, arg), nil
		},
	},
	"result": {
		access: forLook,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return d.shareResult(j)
		},
	},
	"parts": {
		access: forLook,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return d.serveParts(j.name)
		},
	},
	"fetched": {
		access: forRule,
		owner:  (*Daemon).keptOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			d.heardFetched(arg)
			return nil, nil
		},
	},
}

// serve answers the requests of other members.
func (d *Daemon) serve(ctx context.Context, from p2p.PeerID, kind string, payload []byte) ([]byte, error) {
	r, known := requests[kind]
	if !known {
		return nil, fmt.Errorf("unknown request %q", kind)
	}
	if r.costly {
		if err := d.paid(from, kind); err != nil {
			return nil, err
		}
	}
	arg := string(payload)
	if r.access == forAll {
		return r.answer(ctx, d, from, nil, arg)
	}
	j, submitter, err := r.owner(d, arg)
	if err != nil {
		return nil, err
	}
	if !d.may(from, submitter, r.access) {
		d.log.Warn("refused a request for another's job", "from", from, "request", kind, "job", api.Short(arg))
		return nil, d.refusal(arg, submitter, r.access)
	}
	return r.answer(ctx, d, from, j, arg)
}

// paid has a member pay for a costly request, and refuses it if that member has asked for too much of late.
func (d *Daemon) paid(from p2p.PeerID, kind string) error {
	err, tell := errOver, false // of this daemon
	d.ask(func(p *engine.Peer) { tell, err = p.Pay(from) })
	if tell {
		d.violated(from, "", engine.TooMuch, "asks for "+kind)
	}
	return err
}

// refusal says whose a job is, and which right is needed.
func (d *Daemon) refusal(name string, submitter tasks.PeerID, a access) *api.Error {
	whose := cmp.Or(d.memberNames()[submitter].name, submitter, "another member")
	what := "see more of it"
	if a == forRule {
		what = "stop it"
	}
	return &api.Error{Status: http.StatusForbidden,
		Message: fmt.Sprintf("job %s is %s's: only its submitter, and members with the right %s, may %s", api.Short(name),
			whose, a.needs(), what),
		Hint: "ask " + whose + ", or who invites members for the right: dtpnode invite --rights " + map[bool]string{
			true:  "admin",
			false: "read",
		}[a == forRule]}
}

// submitterOf is the member that a job belongs to, empty if that is not known.
func (d *Daemon) submitterOf(j *job) tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return d.submitterHeld(j)
}

// submitterHeld is submitterOf where j.mu is held.
func (d *Daemon) submitterHeld(j *job) tasks.PeerID {
	switch {
	case j.desc != nil && j.desc.Submitter != "":
		return j.desc.Submitter
	case j.submittedHere:
		return d.net.ID()
	}
	return j.status.Submitter
}

// ledOwner finds a job that this node tells of.
func (d *Daemon) ledOwner(name string) (*job, tasks.PeerID, error) {
	j, err := d.led(name)
	if err != nil {
		return nil, "", err
	}
	return j, d.submitterOf(j), nil
}

// knownOwner finds a job that this node has any part in.
func (d *Daemon) knownOwner(name string) (*job, tasks.PeerID, error) {
	found := d.find(name)
	if len(found) == 0 {
		return nil, "", noJob(name)
	}
	owner := d.submitterOf(found[0])
	for _, j := range found[1:] {
		if d.submitterOf(j) != owner {
			owner = "" // of several: whose it is must not be guessed
		}
	}
	return found[0], owner, nil
}

// keptOwner finds a job by its whole name, of which this node may have no more than a copy of the ledger.
func (d *Daemon) keptOwner(name string) (*job, tasks.PeerID, error) {
	nonce, err := hex.DecodeString(name)
	if err != nil || len(nonce) != tasks.NonceSize {
		return nil, "", fmt.Errorf("%q is no name of a job", name)
	}
	d.mu.Lock()
	j := d.byName[name]
	var owner tasks.PeerID
	for _, c := range d.ledgers.All() {
		if c.Name() == name {
			owner = c.Job.Submitter
		}
	}
	d.mu.Unlock()
	switch {
	case j != nil:
		return j, d.submitterOf(j), nil
	case owner != "":
		return nil, owner, nil
	}
	return nil, "", noJob(name)
}

func noJob(name string) *api.Error {
	return &api.Error{
		Status:  http.StatusNotFound,
		Message: fmt.Sprintf("no job %q here", name),
		Hint:    "dtpnode ps lists the jobs",
	}
}

// cutFor is what a member is told of a job: all, or that it exists, whose it is and what it costs that member.
func (d *Daemon) cutFor(who tasks.PeerID, st api.JobStatus) api.JobStatus {
	if d.may(who, st.Submitter, forLook) {
		return st
	}
	cut := api.JobStatus{ID: api.Short(st.ID), Submitter: st.Submitter, SubmitterName: st.SubmitterName, Home: st.Home,
		HomeName: st.HomeName, State: st.State, Submitted: st.Submitted, Seconds: st.Seconds, Nodes: []api.NodeWork{},
		Private: "the rest is for its submitter, and for members with the right " + forLook.needs()}
	for _, n := range st.Nodes {
		if n.ID == who {
			n.Problem = ""
			cut.Nodes = append(cut.Nodes, n)
		}
	}
	if who == d.net.ID() {
		cut.Kept = st.Kept
	}
	return cut
}

// permit says, of a job that this node or another has described, why this node's user has no such access to it.
func (d *Daemon) permit(st api.JobStatus, a access) error {
	if d.may(d.net.ID(), st.Submitter, a) && (a == forAll || st.Private == "") {
		return nil
	}
	return d.refusal(st.ID, st.Submitter, a)
}

// granted finds a job that this node's user has access to, as lookup does, and describes it.
func (d *Daemon) granted(
	ctx context.Context, name string, a access,
) (j *job, at tasks.PeerID, st api.JobStatus, err error) {
	if j, at, st, err = d.lookup(ctx, name); err == nil {
		err = d.permit(st, a)
	}
	return j, at, st, err
}
