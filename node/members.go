package node

import (
	"context"
	"errors"
	"net/http"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
)

// memberRoutes are the control requests about who is a member.
func (d *Daemon) memberRoutes(handle func(pattern string, f func(r *http.Request) (any, error))) {
	handle("GET /v1/members", func(*http.Request) (any, error) { return d.members(), nil })
	handle("POST /v1/invites", d.handleInvite)
	handle("POST /v1/join", d.handleJoin)
	handle("POST /v1/revoke", d.handleRevoke)
	handle("POST /v1/handover", func(r *http.Request) (any, error) {
		var req api.HandoverRequest
		if err := readJSON(r, &req); err != nil {
			return nil, err
		}
		return struct{}{}, advised(d.net.Handover(req.ID))
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
