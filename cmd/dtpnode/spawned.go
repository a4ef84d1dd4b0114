package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"syscall"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node"
	"github.com/dtpnode/dtpnode/node/api"
)

// spawned is what a daemon knows of the process that has started it and holds it by its standard input, maybe from
// another host: with --join that has written a token as the first line, so that it shows in no list of processes. Where
// the last thing that it writes is the line "now", nobody takes over what the daemon has, which ends at once then; it
// hands back its work first where its input just ends.
type spawned struct {
	g      *globals
	input  *bufio.Reader
	token  string
	end    context.CancelCauseFunc
	now    context.CancelFunc // cuts the leaving short
	client *api.Client
}

// lastWord is what is written before the input ends if the daemon is to end at once.
const lastWord = "now\n"

// newSpawned reads the token, and has the daemon listen where the inviter, and others that reach that, can reach it.
func newSpawned(g *globals, o *upOptions) (*spawned, error) {
	s := &spawned{g: g, input: bufio.NewReader(g.stdin)}
	if !o.join {
		return s, nil
	}
	// What it says may go to a connection that breaks, on which it ends by its input, in order.
	signal.Ignore(syscall.SIGPIPE)
	var err error
	if s.token, err = readToken(s.input, "-"); err != nil {
		return nil, err
	}
	facing, err := node.Facing(s.token)
	if err != nil {
		return nil, fmt.Errorf("could not join: %w", err)
	}
	if facing != "" {
		o.listen, o.face = []string{net.JoinHostPort(node.Auto, "0")}, facing
	}
	return s, nil
}

// hold ends ctx with the input, at the latest with this process, and hurry before it if the input says so.
func (s *spawned) hold(ctx context.Context, paths local.Paths) (held, hurry context.Context, end func()) {
	hurry, s.now = context.WithCancel(context.WithoutCancel(ctx))
	ctx, s.end = context.WithCancelCause(ctx)
	s.client = paths.Client()
	go func() {
		said, _ := io.ReadAll(io.LimitReader(s.input, int64(len(lastWord))))
		_, _ = io.Copy(io.Discard, s.input)
		if string(said) == lastWord {
			s.now()
		}
		s.end(nil)
	}()
	return ctx, hurry, func() {
		s.end(nil)
		s.now()
	}
}

// opened joins, and says so on standard output, or why not in the error of failed.
func (s *spawned) opened(ctx context.Context) {
	if s.token == "" {
		return
	}
	go func() {
		st, err := s.client.Join(ctx, api.JoinRequest{Token: s.token, Ephemeral: true})
		if err != nil {
			s.end(err)
			return
		}
		fmt.Fprintf(s.g.stdout, "joined as %s\n", progress.Clean(st.Name))
	}()
}

// failed is why the daemon has ended, if that was not by its input.
func (s *spawned) failed(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
