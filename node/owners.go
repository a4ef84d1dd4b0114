package node

import (
	"github.com/dtpnode/dtpnode/node/members"

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

// request is one that other members may make.
type request struct {
	access members.Access
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
//	units             -> units.Listing, msgpack: which units are committed, and in which partials
//	logs              -> text that the job's children printed here
//	result            -> hash of the result, a blob
//	parts             -> handle of store.MadeOf, JSON: what a job's partial result was made of
//	fetched           -> empty: the job's submitter, or an admin, has the result
var requests = map[string]request{
	"signature": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveSignature(tasks.JobID(arg))
		},
	},
	"plan": {
		access: members.ForAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.planner.ServePlans(ctx, from, arg)
		},
	},
	"glob": {
		access: members.ForAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.planner.ServeGlobs(ctx, from, arg)
		},
	},
	"jobs": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, _ string) ([]byte, error) {
			return json.Marshal(listed(d.jobsFor(from), maxJobsAnswer))
		},
	},
	"lacks": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.cluster.ServeLacks(arg)
		},
	},
	"status": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			j, err := d.book.Told(arg)
			if err != nil {
				if st, waits := d.waitsUnled(arg); waits {
					return json.Marshal(d.cluster.CutFor(from, st))
				}
				return nil, err
			}
			return json.Marshal(d.cluster.CutFor(from, d.statusOf(j)))
		},
	},
	"lead": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveLead(arg)
		},
	},
	"end": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveEnd(from, arg)
		},
	},
	"stop": {
		access: members.ForRule,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return nil, d.steer(d.ctx, j, "stop")
		},
	},
	"cancel": {
		access: members.ForRule,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return nil, d.steer(d.ctx, j, "cancel")
		},
	},
	"finish": {
		access: members.ForRule,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return nil, d.steer(d.ctx, j, "finish")
		},
	},
	"copy": {
		access: members.ForRule,
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
		access: members.ForRule,
		costly: true,
		owner:  (*Daemon).copyOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return nil, d.recoverOrdered(arg)
		},
	},
	"superseded": {
		access: members.ForRule,
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
		access: members.ForRule,
		costly: true,
		owner:  (*Daemon).asideOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return nil, d.supersededOrdered(arg)
		},
	},
	"partials": {
		access: members.ForLook,
		owner:  (*Daemon).handoutOwner,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.sharePartials(from, arg)
		},
	},
	"units": {
		access: members.ForLook,
		owner:  (*Daemon).keptOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.serveUnits(arg)
		},
	},
	"logs": {
		access: members.ForLook,
		owner:  (*Daemon).knownOwner,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *job, arg string) ([]byte, error) {
			return d.logsFor(from, arg), nil
		},
	},
	"result": {
		access: members.ForLook,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return d.shareResult(j)
		},
	},
	"parts": {
		access: members.ForLook,
		owner:  (*Daemon).ledOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *job, _ string) ([]byte, error) {
			return d.serveParts(j.name)
		},
	},
	"fetched": {
		access: members.ForRule,
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
	if r.access == members.ForAll {
		return r.answer(ctx, d, from, nil, arg)
	}
	j, submitter, err := r.owner(d, arg)
	if err != nil {
		return nil, err
	}
	if !d.cluster.May(from, submitter, r.access) {
		d.log.Warn("refused a request for another's job", "from", from, "request", kind, "job", api.Short(arg))
		return nil, d.cluster.Refusal(arg, submitter, r.access)
	}
	return r.answer(ctx, d, from, j, arg)
}

// paid has a member pay for a costly request, and refuses it if that member has asked for too much of late.
func (d *Daemon) paid(from p2p.PeerID, kind string) error {
	err, tell := errOver, false // of this daemon
	d.ask(func(p *engine.Peer) { tell, err = p.Pay(from) })
	if tell {
		d.cluster.Violated(from, "", engine.TooMuch, "asks for "+kind)
	}
	return err
}

// ledOwner finds a job that this node tells of.
func (d *Daemon) ledOwner(name string) (*job, tasks.PeerID, error) {
	j, err := d.book.Told(name)
	if err != nil {
		return nil, "", err
	}
	return j, j.submitter(), nil
}

// knownOwner finds a job that this node has any part in.
func (d *Daemon) knownOwner(name string) (*job, tasks.PeerID, error) {
	found := d.book.Find(name)
	if len(found) == 0 {
		return nil, "", noJob(name)
	}
	owner := found[0].submitter()
	for _, j := range found[1:] {
		if j.submitter() != owner {
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
	j := d.book.Named(name)
	var owner tasks.PeerID
	for _, c := range d.ledgers.All() {
		if c.Name() == name {
			owner = c.Job.Submitter
		}
	}
	switch {
	case j != nil:
		return j, j.submitter(), nil
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

// granted finds a job that this node's user has access to, as lookup does, and describes it.
func (d *Daemon) granted(
	ctx context.Context, name string, a members.Access,
) (j *job, at tasks.PeerID, st api.JobStatus, err error) {
	if j, at, st, err = d.lookup(ctx, name); err == nil {
		err = d.cluster.Permit(st, a)
	}
	return j, at, st, err
}
