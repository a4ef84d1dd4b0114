package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/node"
	"github.com/dtpnode/dtpnode/node/api"
)

func newJoin(g *globals) *cobra.Command {
	var opts nodeFlags
	var ephemeral bool
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Join the cluster that issued a token",
		Long: `join makes this host a member of the cluster whose ` + "`dtpnode invite`" + ` printed the token. Where no
daemon runs it starts one in the background first, with the settings given here. That listens on the address by which
this host reaches the inviter, and later, when its network gives it another, by which it reaches the members, so that
they can connect to it too; --listen chooses another. With - the token is read from standard input, so that it does
not show in the list of processes.

Exit status: 0 joined, 1 error, 2 wrong usage.`,
		Example: `  dtpnode join TOKEN
  dtpnode join TOKEN --listen 192.0.2.8:4001 --slots 16
  ssh first dtpnode invite | dtpnode join -`,
		Args: exactly("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := readToken(g.stdin, args[0])
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runJoin(ctx, g, api.JoinRequest{Token: token, Ephemeral: ephemeral}, &opts, cmd.Flags())
		},
	}
	opts.add(cmd.Flags())
	listen := cmd.Flags().Lookup("listen") // "[]" is not shown as a default
	listen.DefValue, listen.Usage = "[]", listen.Usage+
		" (default that of the settings, else the address by which this host reaches the inviter)"
	cmd.Flags().BoolVar(&ephemeral, "ephemeral", false,
		"be forgotten by the cluster once gone without a word for minutes, as fits a worker in a batch system")
	return cmd
}

func readToken(stdin io.Reader, arg string) (string, error) {
	if arg == "-" {
		text, err := bufio.NewReader(io.LimitReader(stdin, 1<<16)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("could not read the token from standard input: %w", err)
		}
		arg = strings.TrimSpace(text)
	}
	switch host, _, err := net.SplitHostPort(arg); {
	case arg == "":
		return "", usagef("could not join: the token is empty")
	case strings.Contains(arg, "://"), err == nil && host != "": // as one joins elsewhere
		return "", usagef("could not join %s: that is an address, and join takes a token, which begins with dtp1. and "+
			"holds the addresses: `dtpnode invite`, on a member, prints one", arg)
	}
	return arg, nil
}

func runJoin(ctx context.Context, g *globals, req api.JoinRequest, opts *nodeFlags, flags *pflag.FlagSet) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	client, err := running(ctx, paths)
	if err != nil {
		return err
	}
	given := opts.given(flags)
	if client != nil && len(given) > 0 {
		return usagef("could not use %s: a daemon is running already, with the settings of its start; stop it with "+
			"`dtpnode down` first", given[0])
	}
	facing, err := node.Facing(req.Token)
	if err != nil {
		return &api.Error{
			Message: "could not join: " + err.Error(),
			Hint:    "copy the whole token, or ask for another: dtpnode invite",
			Err:     err,
		}
	}
	undo := func() error { return nil }
	if client == nil {
		if client, undo, err = startToJoin(ctx, g, paths, facing, opts, flags); err != nil {
			return err
		}
	}
	st, err := client.Join(ctx, req)
	if err != nil {
		return errors.Join(err, undo())
	}
	members := met(ctx, client)
	for _, m := range members {
		if called := api.Called(members)[m.ID]; m.Self && called != m.Name {
			fmt.Fprintf(g.stderr, "another member has the name %s, or one that looks like it: this one is shown as %s; "+
				"`dtpnode rename` gives it another\n",
				progress.Clean(m.Name), progress.Clean(called))
		}
	}
	if facing != "" && !slices.ContainsFunc(st.Addrs, reachable) {
		fmt.Fprintf(g.stderr, "this host listens on loopback only: members other than the inviter cannot reach it, nor it "+
			"those that listen on loopback; "+
			"`dtpnode down`, then `dtpnode up --listen %s --detach`\n", net.JoinHostPort(node.Auto, "0"))
	}
	return g.show(st, func(w io.Writer) { printNode(w, st) })
}

// met returns the members once each that is up has sent its info, or after a timeout, since members that are away never
// do.
func met(ctx context.Context, client *api.Client) []api.Member {
	late := time.After(meetWait)
	for {
		members, err := client.Members(ctx)
		unmet := func(m api.Member) bool { return !m.Self && (!m.Up || m.Version == "") }
		if err != nil || !slices.ContainsFunc(members, unmet) {
			return members
		}
		select {
		case <-ctx.Done():
			return members
		case <-late:
			return members
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// startToJoin starts the daemon of a host that joins. Unless its user chooses otherwise it listens where others can
// reach it: on the address by which it reaches the inviter. undo stops the daemon again, and forgets that address.
func startToJoin(
	ctx context.Context, g *globals, paths local.Paths, facing string, opts *nodeFlags, flags *pflag.FlagSet,
) (*api.Client, func() error, error) {
	from, err := opts.find(g, flags)
	if err == nil {
		err = opts.checked(flags, from)
	}
	if err != nil {
		return nil, nil, err
	}
	args := opts.given(flags)
	chosen := facing != "" && from["listen"] == "" && !flags.Changed("listen")
	if chosen {
		args = append(args, "--listen="+net.JoinHostPort(node.Auto, "0"), "--face="+facing)
	}
	d, err := local.StartBackground(ctx, paths, args...)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(g.stderr, "started a daemon in the background, logging to %s\n", paths.Log())
	if chosen {
		fmt.Fprintf(g.stderr, "it listens on %s, by which this host reaches the inviter, and when that changes by which it "+
			"reaches the members; --listen chooses another address\n", facing)
	}
	return d.Client, func() error {
		fmt.Fprintln(g.stderr, "stopped that daemon again")
		err := d.Close()
		if chosen {
			err = errors.Join(err, settings.Remember(paths.State, map[string][]string{"listen": nil}, opts.own(flags)))
		}
		return err
	}, nil
}

// reachable reports whether an address, host:port, is one that other hosts can connect to.
func reachable(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (ip == nil || !ip.IsLoopback())
}
