package node

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job belongs to its submitter, the member whose node signed it. What others may ask of it stands in one table,
// requests; the same rules hold for the commands of this node's own user, on whichever node the job is led.

// request is one that other members may make.
type request struct {
	access members.Access
	// answer answers the request. j is the job that the argument names if the request needs access to one, otherwise nil.
	answer func(ctx context.Context, d *Daemon, from tasks.PeerID, j *jobs.Job, arg string) ([]byte, error)
	// owner finds the submitter of the job that arg names, and the job itself if this node knows more of it.
	owner func(d *Daemon, arg string) (*jobs.Job, tasks.PeerID, error)
	// costly says that this node reads logs of ledgers for the request, which counts against the share of the member that
	// asks even if it is refused.
	costly bool
}

// byJobs makes an owner function from one of the room of jobs.
func byJobs(
	owner func(*jobs.Room, string) (*jobs.Job, tasks.PeerID, error),
) func(*Daemon, string) (*jobs.Job, tasks.PeerID, error) {
	return func(d *Daemon, arg string) (*jobs.Job, tasks.PeerID, error) { return owner(d.jobs, arg) }
}

// requests are all that other members may ask, by kind. The payload is a job's name or the beginning of it, if
// nothing else is said:
//
//	signature  job id -> store.Signature, msgpack: who signed the job, and how large its description is
//	plan       planAsk, JSON -> []plan.Answer, JSON: what this host reads of input files, for members that may submit
//	glob       []string, JSON -> []string, JSON: the files that match globs on this host, for members that may submit
//	jobs       -      -> []api.JobStatus, JSON: the jobs that this node describes, cut by jobs.Listed and Cluster.CutFor
//	lacks      ids, JSON -> members.Lacks, JSON: to whom this node has no link; ids are those to whom the asker has none
//	status            -> api.JobStatus, JSON, cut by Cluster.CutFor
//	lead              -> leadProof, msgpack: the proof that this node leads the job
//	end               -> jobs.EndProof, msgpack: the proof that the job has ended, and how
//	stop              -> empty
//	cancel            -> empty
//	finish            -> empty: a job that could not be finished is tried again
//	copy              -> copyReport, JSON: this node's copy of the job's ledger
//	recover    name, newline, quorum.Link as JSON -> empty: the job goes on from this node's copy of its ledger alone
//	superseded        -> []copyReport, JSON: copies of the job's ledger that were put aside here
//	recover-superseded name, newline, asideOrder as JSON -> empty: the job goes on from one of these
//	partials   name and mark -> handedOut, JSON: what is committed, asked for until it is there
//	items      itemsAsk, JSON -> itemsTold, JSON: a blob of items is kept with the copy of a job's ledger
//	units             -> units.Listing, msgpack: which units are committed, and in which partials
//	values     ask, msgpack -> told, msgpack (node/values): what units of a job that ran on this node made for others
//	makers     makersAsk, msgpack -> makersTold, msgpack: which members may have run units of a job that is led here
//	spent      job id -> spentTold, msgpack: units of a job that is led here whose values none needs any more
//	early      earlyValues, msgpack -> empty: values of units that the asker has run, before they are committed
//	note       nodeNote, msgpack -> empty: what the asker, which works for a job, has to say to the job's user
//	watch      watchAsk, JSON -> api.Snapshot, JSON: named objects of the output so far; empty if there is nothing newer
//	share      shareAsk, JSON -> shareTold, msgpack: what this node has of them, for the job's home
//	logs              -> text that the job's children printed here
//	result            -> hash of the result, a blob
//	parts             -> handle of store.MadeOf, JSON: what a job's partial result was made of
//	datasets   owner, slash, name, or empty -> heads of datasets, JSON: which lists of files are kept here under which
//	           names, as many as fit of those behind that one
//	dataset    owner, slash, name -> datasets.Signed, JSON: one of them
//	dataset-new owner, slash, name -> hash: the asker has registered or removed it, and it is fetched from there
//	fetched           -> empty: the job's submitter, or an admin, has the result
var requests = map[string]request{
	"signature": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeSignature(tasks.JobID(arg))
		},
	},
	"plan": {
		access: members.ForAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.planner.ServePlans(ctx, from, arg)
		},
	},
	"glob": {
		access: members.ForAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.planner.ServeGlobs(ctx, from, arg)
		},
	},
	"jobs": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, _ string) ([]byte, error) {
			return json.Marshal(jobs.Listed(d.jobs.JobsFor(from), jobs.MaxJobsAnswer))
		},
	},
	"lacks": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.cluster.ServeLacks(arg)
		},
	},
	"status": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			j, err := d.jobs.Book().Told(arg)
			if err != nil {
				if st, waits := d.jobs.WaitsUnled(arg); waits {
					return json.Marshal(d.cluster.CutFor(from, st))
				}
				return nil, err
			}
			return json.Marshal(d.cluster.CutFor(from, d.jobs.StatusOf(j)))
		},
	},
	"lead": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeLead(arg)
		},
	},
	"end": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeEnd(from, arg)
		},
	},
	"stop": {
		access: members.ForRule,
		owner:  byJobs((*jobs.Room).LedOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *jobs.Job, _ string) ([]byte, error) {
			return nil, d.jobs.Steer(d.ctx, j, "stop")
		},
	},
	"cancel": {
		access: members.ForRule,
		owner:  byJobs((*jobs.Room).LedOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *jobs.Job, _ string) ([]byte, error) {
			return nil, d.jobs.Steer(d.ctx, j, "cancel")
		},
	},
	"finish": {
		access: members.ForRule,
		owner:  byJobs((*jobs.Room).LedOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *jobs.Job, _ string) ([]byte, error) {
			return nil, d.jobs.Steer(d.ctx, j, "finish")
		},
	},
	"copy": {
		access: members.ForRule,
		costly: true,
		owner:  (*Daemon).copyOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
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
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return nil, d.recoverOrdered(arg)
		},
	},
	"superseded": {
		access: members.ForRule,
		costly: true,
		owner:  (*Daemon).asideOwner,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
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
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return nil, d.supersededOrdered(arg)
		},
	},
	"partials": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).HandoutOwner),
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.SharePartials(from, arg)
		},
	},
	"items": {
		access: members.ForAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeItems(ctx, from, arg)
		},
	},
	"units": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).KeptOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeUnits(arg)
		},
	},
	"backlog": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).KnownOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *jobs.Job, _ string) ([]byte, error) {
			return d.jobs.ServeKept(j.Name)
		},
	},
	"hear": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).HearOwner),
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, j *jobs.Job, arg string) ([]byte, error) {
			return nil, d.jobs.ServeHear(from, j, arg)
		},
	},
	"early": {
		access: members.ForAll, // what is said counts only of units that the asker was given
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return nil, d.jobs.ServeEarly(from, arg)
		},
	},
	"values": {
		access: members.ForAll, // that may work, of any job: who works for it is known to nobody for sure
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeValues(from, arg)
		},
	},
	"makers": {
		access: members.ForAll, // that may work, as of values
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeMakers(from, arg)
		},
	},
	"spent": {
		access: members.ForAll, // that may work, as of values
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeSpent(from, arg)
		},
	},
	"release": {
		access: members.ForAll, // counts only of whoever has submitted the job
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return nil, d.jobs.ServeRelease(from, arg)
		},
	},
	"note": {
		access: members.ForAll, // what is said counts only of jobs of this node's user, one note of each worker
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return nil, d.jobs.ServeNote(from, arg)
		},
	},
	"watch": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).WatchOwner),
		answer: func(ctx context.Context, d *Daemon, _ tasks.PeerID, j *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeWatch(ctx, j, arg)
		},
	},
	"share": {
		access: members.ForAll, // the home may ask, too, and is known only where the job is
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.ServeShare(ctx, from, arg)
		},
	},
	"logs": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).KnownOwner),
		answer: func(_ context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.jobs.LogsFor(from, arg), nil
		},
	},
	"result": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).LedOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *jobs.Job, _ string) ([]byte, error) {
			return d.jobs.ShareResult(j)
		},
	},
	"parts": {
		access: members.ForLook,
		owner:  byJobs((*jobs.Room).LedOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, j *jobs.Job, _ string) ([]byte, error) {
			return d.jobs.ServeParts(j.Name)
		},
	},
	"datasets": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.datasets.ServeHeads(arg)
		},
	},
	"dataset": {
		access: members.ForAll,
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.datasets.ServeRecord(arg)
		},
	},
	"dataset-new": {
		access: members.ForAll,
		answer: func(ctx context.Context, d *Daemon, from tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			return d.datasets.ServeNew(ctx, from, arg)
		},
	},
	"fetched": {
		access: members.ForRule,
		owner:  byJobs((*jobs.Room).KeptOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			d.jobs.HeardFetched(arg)
			return nil, nil
		},
	},
	"taken": {
		access: members.ForRule,
		owner:  byJobs((*jobs.Room).KeptOwner),
		answer: func(_ context.Context, d *Daemon, _ tasks.PeerID, _ *jobs.Job, arg string) ([]byte, error) {
			d.jobs.HeardTaken(arg)
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
	err, tell := jobs.ErrOver, false // of this daemon
	d.loop.Ask(func(p *engine.Peer) { tell, err = p.Pay(from) })
	if tell {
		d.cluster.Violated(from, "", engine.TooMuch, "asks for "+kind)
	}
	return err
}
