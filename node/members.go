package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
)

// memberRoutes are the control requests about who is a member.
func (d *Daemon) memberRoutes(handle func(pattern string, f func(r *http.Request) (any, error))) {
	handle("GET /v1/members", func(*http.Request) (any, error) { return d.members(), nil })
	handle("GET /v1/links", func(r *http.Request) (any, error) { return d.links(r.Context()), nil })
	handle("POST /v1/invites", d.handleInvite)
	handle("POST /v1/join", d.handleJoin)
	handle("POST /v1/revoke", func(r *http.Request) (any, error) { return d.putOut(r, d.net.Revoke) })
	handle("POST /v1/forget", func(r *http.Request) (any, error) { return d.putOut(r, d.forgetMember) })
	handle("POST /v1/rename", d.handleRename)
	handle("POST /v1/handover", func(r *http.Request) (any, error) {
		var req api.HandoverRequest
		if err := readJSON(r, &req); err != nil {
			return nil, err
		}
		return struct{}{}, d.byNames(advised(d.net.Handover(req.ID)))
	})
	handle("POST /v1/recovery-key", func(*http.Request) (any, error) {
		key, err := d.net.NewRecoveryKey()
		return api.RecoveryKey{Key: key}, advised(err)
	})
	handle("POST /v1/take-back", func(r *http.Request) (any, error) {
		var req api.TakeBackRequest
		if err := readJSON(r, &req); err != nil {
			return nil, err
		}
		return struct{}{}, d.net.TakeBack(req.Key)
	})
	handle("POST /v1/leave", func(*http.Request) (any, error) {
		if err := d.net.MayDepart(); err != nil {
			return nil, err
		}
		d.forGood.Store(true)
		d.askQuit()
		return struct{}{}, nil
	})
}

// forgetMember ends the membership of a member that is gone: that is up neither here nor, as they say, for others.
func (d *Daemon) forgetMember(ctx context.Context, id p2p.PeerID) error {
	for _, p := range d.links(ctx).Pairs {
		if len(p.Via) > 0 && (p.A.ID == id && p.B.Self || p.B.ID == id && p.A.Self) {
			return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("could not forget %s: %s says that it is up, though this node has no link to it", d.nameOf(id), p.Via[0]),
				Hint: "dtpnode revoke puts out a member that is up; dtpnode status says why there is no link"}
		}
	}
	return d.net.Forget(ctx, id)
}

// handleRename changes what this node is called. Names need not differ, but a user who gives one means it to.
func (d *Daemon) handleRename(r *http.Request) (any, error) {
	var req api.RenameRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	for _, m := range d.net.Members() {
		if m.Name == req.Name && !m.Self {
			return nil, &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("could not rename this node: another member is called %q already", req.Name),
				Hint: "choose another name"}
		}
	}
	if err := d.net.Rename(req.Name); err != nil {
		return nil, &api.Error{Status: http.StatusBadRequest, Message: err.Error(), Hint: "a name has at most 64 bytes of printable characters", Err: err}
	}
	d.log.Info("renamed", "name", req.Name)
	return struct{}{}, nil
}

// expelled tells how this node's membership ended; nil while it is a member.
func (d *Daemon) expelled() *api.Expulsion {
	out, is := d.net.Expelled()
	if !is {
		return nil
	}
	return &api.Expulsion{By: out.By, ByName: out.ByName, Revoked: out.Revoked, Since: out.Since}
}

// warnExpelled says once, in the log, that this node is no member any more.
func (d *Daemon) warnExpelled() {
	out := d.expelled()
	if told := d.expulsionTold.Swap(out != nil); out != nil && !told {
		d.log.Warn(out.String(), "hint", api.ExpelledHint)
	}
}

// byNames is an error of package p2p in words of the user, who knows members by their names. Who lacks a right is told where
// to look for one who has it.
func (d *Daemon) byNames(err error) error {
	if err == nil {
		return nil
	}
	e := *asError(err)
	e.Err = err
	if e.Hint == "" && errors.Is(err, p2p.ErrNoRight) {
		e.Status, e.Hint = http.StatusForbidden, "run it on the host that invited that member, or on the one that `dtpnode members` marks as founder"
	}
	for _, m := range d.net.Members() {
		e.Message = strings.ReplaceAll(e.Message, m.ID, d.nameOf(m.ID))
	}
	return &e
}

// advised says where the founder's commands work.
func advised(err error) error {
	if !errors.Is(err, p2p.ErrNotFounder) {
		return err
	}
	return &api.Error{Status: 403, Message: err.Error(), Hint: "run it on the host that `dtpnode members` marks as founder", Err: err}
}

// sayGoodbye ends the links: for good, if the user wants to leave the cluster.
func (d *Daemon) sayGoodbye(ctx context.Context) error {
	if d.forGood.Load() {
		return d.net.Depart(ctx)
	}
	return d.net.Leave(ctx)
}
