package node

import (
	"context"
	"errors"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/backlog"
	"github.com/dtpnode/dtpnode/node/control"
	"github.com/dtpnode/dtpnode/node/jobs"
)

// What the control interface asks of a daemon (control.Books). Each type here answers for one of its interfaces, with
// the daemon's own words where there is no more to it.

// books are all of them.
func (d *Daemon) books() control.Books {
	return control.Books{
		Node:       nodeBook{d},
		Members:    memberBook{d},
		Founder:    founderBook{d},
		Jobs:       jobBook{d},
		Growth:     growthBook{d},
		Recoveries: recoveryBook{d},
		Outputs:    outputBook{d},
		Datasets:   datasetBook{d},
	}
}

// serveControl begins to serve the control interface.
func (d *Daemon) serveControl() (*control.Server, error) {
	return control.Serve(d.ctx, d.cfg.StateDir, d.books(), d.log)
}

type nodeBook struct{ d *Daemon }

func (b nodeBook) Status() api.NodeStatus { return b.d.nodeStatus() }
func (b nodeBook) Shutdown()              { b.d.askQuit() }

// Leave ends the daemon, and its membership once it has handed its work back.
func (b nodeBook) Leave() error {
	if err := b.d.net.MayDepart(); err != nil {
		return err
	}
	b.d.leaving.forGood.Store(true)
	b.d.askQuit()
	return nil
}

type memberBook struct{ d *Daemon }

func (b memberBook) Members() []api.Member                            { return b.d.members() }
func (b memberBook) Links(ctx context.Context) api.Links              { return b.d.cluster.Links(ctx) }
func (b memberBook) Invite(req api.InviteRequest) (api.Invite, error) { return b.d.invite(req) }
func (b memberBook) Rename(name string) error                         { return b.d.rename(name) }

func (b memberBook) Join(ctx context.Context, req api.JoinRequest) (api.NodeStatus, error) {
	return b.d.join(ctx, req)
}

func (b memberBook) Revoke(ctx context.Context, req api.RevokeRequest) (api.Revoked, error) {
	return b.d.putOut(ctx, req, b.d.net.Revoke)
}

func (b memberBook) Forget(ctx context.Context, req api.RevokeRequest) (api.Revoked, error) {
	return b.d.putOut(ctx, req, b.d.forgetMember)
}

type founderBook struct{ d *Daemon }

func (b founderBook) Handover(id string) error  { return b.d.byNames(advised(b.d.net.Handover(id))) }
func (b founderBook) TakeBack(key string) error { return b.d.net.TakeBack(key) }

func (b founderBook) NewRecoveryKey() (string, error) {
	key, err := b.d.net.NewRecoveryKey()
	return key, advised(err)
}

type jobBook struct{ d *Daemon }

func (b jobBook) Submit(req api.JobRequest) (api.JobStatus, error) {
	return b.described(b.d.jobs.Submit(req))
}
func (b jobBook) List(ctx context.Context) []api.JobStatus { return b.d.jobs.AllJobs(ctx) }
func (b jobBook) Stop(ctx context.Context, name string) error {
	return b.d.jobs.Order(ctx, name, "stop")
}
func (b jobBook) Finish(ctx context.Context, name string) error {
	return b.d.jobs.Order(ctx, name, "finish")
}

func (b jobBook) Status(ctx context.Context, name string) (api.JobStatus, error) {
	return b.d.jobs.JobStatus(ctx, name)
}

func (b jobBook) Cancel(ctx context.Context, name string) (api.Cancellation, error) {
	return b.d.jobs.CancelFor(ctx, name)
}

func (b jobBook) Retry(ctx context.Context, name string, req api.RetryRequest) (api.JobStatus, error) {
	return b.described(b.d.jobs.Retry(ctx, name, req))
}

// described describes a job that was just accepted.
func (b jobBook) described(j *jobs.Job, err error) (api.JobStatus, error) {
	if err != nil {
		return api.JobStatus{}, err
	}
	return b.d.jobs.StatusOf(j), nil
}

type growthBook struct{ d *Daemon }

func (b growthBook) Append(ctx context.Context, name string, req api.AppendRequest) (api.Appended, error) {
	return b.d.jobs.AppendTo(ctx, name, req)
}

func (b growthBook) Attend(name string, by backlog.Process) (kept uint64, leave func()) {
	return b.d.jobs.Attend(name, by)
}

func (b growthBook) Keep(name string, k *api.ExchangeKeep) (uint64, error) {
	return b.d.jobs.Keep(name, k)
}

func (b growthBook) CancelKept(name string, req api.CancelKept) (api.KeptCalls, error) {
	return b.d.jobs.CancelKept(name, req)
}

func (b growthBook) MoveKept(name string, req api.MoveKept) (api.KeptCalls, error) {
	return b.d.jobs.MoveKept(name, req)
}

func (b growthBook) Release(ctx context.Context, name string, req api.ReleaseRequest) error {
	return b.d.jobs.ReleaseValues(ctx, name, req.Units)
}

func (b growthBook) Kept(ctx context.Context, name string) (api.KeptCalls, error) {
	return b.d.jobs.Kept(ctx, name)
}

type recoveryBook struct{ d *Daemon }

func (b recoveryBook) Plan(ctx context.Context, name, from string, superseded bool) (api.Recovery, error) {
	plan := b.d.planRecovery
	if superseded {
		plan = b.d.planSuperseded
	}
	p, err := plan(ctx, name, from)
	return p.Recovery, err
}

func (b recoveryBook) Recover(ctx context.Context, name string, agreed api.RecoverRequest) (api.Recovery, error) {
	return b.d.recoverJob(ctx, name, agreed)
}

type outputBook struct{ d *Daemon }

func (b outputBook) Follow(ctx context.Context, name string, send func(api.Event) error) error {
	return b.d.jobs.Follow(ctx, name, send)
}

func (b outputBook) Logs(ctx context.Context, name string, follow bool, send func(api.LogPart) error) error {
	return b.d.jobs.SendLogs(ctx, name, follow, send)
}

// Result opens the output for its user, and tells the other members once that one has it.
func (b outputBook) Result(ctx context.Context, name string) (control.Result, error) {
	st, f, err := b.d.jobs.FindResult(ctx, name)
	if err != nil {
		return control.Result{}, err
	}
	size, err := jobs.OutputSize(f)
	if err != nil {
		return control.Result{}, errors.Join(err, f.Close())
	}
	return control.Result{File: f, Output: size, Fetched: func() { b.d.jobs.Fetched(st.ID, st.Submitter) }}, nil
}

func (b outputBook) Partials(ctx context.Context, name string) (control.Partials, error) {
	p, err := b.d.jobs.Partials(ctx, name)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (b outputBook) Units(
	ctx context.Context, name string, ask api.UnitsRequest, send func(api.UnitsEvent) error,
) error {
	none := false // units have no values
	if ask.Early {
		ask.Whole = func() { b.d.jobs.Taken(name) }
	}
	return b.d.jobs.Units().Tell(ctx, name, ask, func(ev api.UnitsEvent) error {
		err := send(ev)
		none = none || ev.NoValues != ""
		if over := ev.Over; err == nil && ask.Early && !none && over != nil && !over.Open && len(over.Left) == 0 {
			b.d.jobs.Taken(name) // by a program that has followed the job to its end
		}
		return err
	})
}

func (b outputBook) Took(name string, req api.TakenRequest) error {
	return b.d.jobs.Took(name, req.Values)
}

func (b outputBook) Watch(
	ctx context.Context, name string, req api.WatchRequest, send func(api.WatchEvent) error,
) error {
	return b.d.jobs.Watch(ctx, name, req, send)
}

func (b outputBook) Check(ctx context.Context, req api.JobRequest, tell func(string)) (api.Check, error) {
	return b.d.jobs.Check(ctx, req, tell)
}
