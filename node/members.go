package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/p2p"
)

// forgetMember ends the membership of a member that has gone. It is refused if the member has a link to this node, or
// if another member says that it has one to it.
func (d *Daemon) forgetMember(ctx context.Context, id p2p.PeerID) error {
	for _, p := range d.cluster.Links(ctx).Pairs {
		if len(p.Via) > 0 && (p.A.ID == id && p.B.Self || p.B.ID == id && p.A.Self) {
			return &api.Error{
				Status: http.StatusConflict,
				Message: fmt.Sprintf("could not forget %s: %s says that it is up, though this node has no link to it",
					d.cluster.NameOf(id),
					p.Via[0]),
				Hint: "dtpnode revoke puts out a member that is up; dtpnode status says why there is no link",
			}
		}
	}
	return d.net.Forget(ctx, id)
}

// rename changes what this node is called. The network allows two members of one name; a user who chooses a name does
// not want that, and so a name that another member has is refused.
func (d *Daemon) rename(name string) error {
	for _, m := range d.net.Members() {
		if m.Name == name && !m.Self {
			return &api.Error{
				Status:  http.StatusConflict,
				Message: fmt.Sprintf("could not rename this node: another member is called %q already", name),
				Hint:    "choose another name",
			}
		}
	}
	if err := d.net.Rename(name); err != nil {
		return &api.Error{
			Status:  http.StatusBadRequest,
			Message: err.Error(),
			Hint:    "a name has at most 64 bytes of printable characters",
			Err:     err,
		}
	}
	d.log.Info("renamed", "name", name)
	return nil
}

// warnExpelled says once, in the log, that this node is no member any more.
func (d *Daemon) warnExpelled() {
	out := d.cluster.Expelled()
	if told := d.leaving.expulsionTold.Swap(out != nil); out != nil && !told {
		d.log.Warn(out.String(), "hint", api.ExpelledHint)
	}
}

// byNames is an error of package p2p in words of the user, who knows members by their names. Who lacks a right is told
// where to look for one who has it.
func (d *Daemon) byNames(err error) error {
	if err == nil {
		return nil
	}
	e := *api.AsError(err)
	e.Err = err
	if e.Hint == "" && errors.Is(err, p2p.ErrNoRight) {
		e.Status, e.Hint = http.StatusForbidden, "run it on the host that invited that member, or on the one that `dtpnode "+
			"members` marks as founder"
	}
	for _, m := range d.net.Members() {
		e.Message = strings.ReplaceAll(e.Message, m.ID, d.cluster.NameOf(m.ID))
	}
	return &e
}

// advised says where the founder's commands work.
func advised(err error) error {
	if !errors.Is(err, p2p.ErrNotFounder) {
		return err
	}
	return &api.Error{
		Status:  403,
		Message: err.Error(),
		Hint:    "run it on the host that `dtpnode members` marks as founder",
		Err:     err,
	}
}

// sayGoodbye tells the other members that this node leaves: for now, or for good if the user wants it out of the
// cluster.
func (d *Daemon) sayGoodbye(ctx context.Context) error {
	if d.leaving.forGood.Load() {
		return d.net.Depart(ctx)
	}
	return d.net.Leave(ctx)
}

// invite makes a token with which somebody may join.
func (d *Daemon) invite(req api.InviteRequest) (inv api.Invite, err error) {
	if out := d.cluster.Expelled(); out != nil {
		return inv, &api.Error{Status: 403, Message: "could not invite: " + out.String(), Hint: api.ExpelledHint}
	}
	var rights []p2p.Right
	for _, s := range req.Rights {
		rights = append(rights, p2p.Right(s))
	}
	invite := d.net.Invite
	if req.Ephemeral {
		invite = d.net.InviteEphemeral
	}
	token, expires, err := invite(rights, time.Duration(req.TTL*float64(time.Second)))
	if errors.Is(err, p2p.ErrNoRight) {
		return inv, &api.Error{
			Status:  http.StatusForbidden,
			Message: err.Error(),
			Hint: "ask for it on a member with the right inviter, and with those that are to be given: `dtpnode members` " +
				"shows who has them",
			Err: err,
		}
	}
	if err != nil {
		return inv, err
	}
	inv = api.Invite{Token: token, Expires: expires, Rights: req.Rights, Note: api.LostHost(len(d.net.Members()) + 1)}
	if onlyLoopback(d.net.Addrs()) {
		inv.Warning = "this node listens on loopback only, so the token works on this host alone: start it with --listen " +
			"HOST:PORT to be reachable"
	}
	return inv, nil
}

func onlyLoopback(addrs []string) bool {
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err == nil && ip != nil && !ip.IsLoopback() {
			return false
		}
	}
	return true
}

// join makes this node a member of the cluster that a token is of, and describes the node as it is then.
func (d *Daemon) join(ctx context.Context, req api.JoinRequest) (st api.NodeStatus, err error) {
	join := d.net.Join
	if req.Ephemeral {
		join = d.net.JoinEphemeral
	}
	if err := join(ctx, req.Token); err != nil {
		return st, err
	}
	why := d.greeted(ctx)
	st = d.nodeStatus()
	if why != "" && !d.cannotRun() {
		st.Problem = why
	}
	return st, nil
}

// greetWait is how long a join waits for the first peer to tell what it is.
const greetWait = 3 * time.Second

// greeted waits for the first peer after a join and says what is wrong between it and this node.
func (d *Daemon) greeted(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, greetWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, m := range d.net.Members() {
			if m.Up && !m.Self {
				if why := d.mismatch(m.Info); why != "" {
					return m.Name + " " + why
				}
				return ""
			}
		}
		select {
		case <-ctx.Done():
			return "joined, but no member has answered yet: dtpnode members shows who does"
		case <-tick.C:
		}
	}
}

// othersHave says which members that are up have a runtime with which a job with these needs could be submitted there,
// in words that follow advice; nothing if none has.
func (d *Daemon) othersHave(needs []string) string {
	if d.net == nil {
		return ""
	}
	return elsewhereText(d.net.Members(), needs)
}

// othersLack says which members that are up, and may work, have runtimes and none that meets the needs of a job.
func (d *Daemon) othersLack(needs []string) []string {
	if d.net == nil {
		return nil
	}
	return lackingText(d.net.Members(), needs)
}

func lackingText(all []p2p.Member, needs []string) []string {
	const most = 3
	var have []string
	for _, m := range all {
		told := runtimes.Announced(m.Meta)
		if !m.Up || m.Self || len(told) == 0 || !slices.Contains(m.Rights, p2p.Worker) || runtimes.Meet(told, needs) {
			continue
		}
		words := make([]string, len(told))
		for i, t := range told {
			words[i] = t.Info.String()
			if t.Problem != "" {
				words[i] += " (broken: " + t.Problem + ")"
			}
		}
		have = append(have, m.Name+" has "+strings.Join(words, ", "))
	}
	n := len(have)
	if n > most {
		have = append(have[:most], fmt.Sprintf("and %d others", n-most))
	}
	switch n {
	case 0:
		return nil
	case 1:
		return []string{"a member takes no part, since it lacks " + exec.NeedsText(needs) + ": " + have[0]}
	}
	return []string{fmt.Sprintf("%d members take no part, since they lack %s: %s", n, exec.NeedsText(needs),
		strings.Join(have, "; "))}
}

func elsewhereText(all []p2p.Member, needs []string) string {
	const most = 3
	var have []string
	for _, m := range all {
		told := runtimes.Announced(m.Meta)
		if m.Up && !m.Self && runtimes.Meet(told, needs) {
			have = append(have, m.Name+" has "+exec.InfosText(runtimes.Able(told)))
		}
	}
	switch {
	case len(have) == 0:
		return ""
	case len(have) > most:
		have = append(have[:most], fmt.Sprintf("%d others can run it too", len(have)-most))
	}
	return "; or submit it elsewhere: " + strings.Join(have, "; ")
}
