package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/local"
	"github.com/dtpnode/dtpnode/node/api"
)

func newJoin(g *globals) *cobra.Command {
	var opts nodeFlags
	var ephemeral bool
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Join the cluster that issued a token",
		Long: `join makes this host a member of the cluster whose ` + "`dtpnode invite`" + ` printed the token. Where no
daemon runs it starts one in the background first, with the settings given here. With - the token is
read from standard input, so that it does not show in the list of processes.

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
			return runJoin(ctx, g, api.JoinRequest{Token: token, Ephemeral: ephemeral}, opts.given(cmd.Flags()))
		},
	}
	opts.add(cmd.Flags())
	cmd.Flags().BoolVar(&ephemeral, "ephemeral", false, "be forgotten by the cluster once gone without a word for minutes, as fits a worker in a batch system")
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
	if arg == "" {
		return "", usagef("could not join: the token is empty")
	}
	return arg, nil
}

func runJoin(ctx context.Context, g *globals, req api.JoinRequest, settings []string) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	client, err := running(ctx, paths)
	if err != nil {
		return err
	}
	if client != nil && len(settings) > 0 {
		return usagef("could not use %s: a daemon is running already, with the settings of its start; stop it with `dtpnode down` first", settings[0])
	}
	undo := func() error { return nil }
	if client == nil {
		d, err := local.StartBackground(ctx, paths, settings...)
		if err != nil {
			return err
		}
		client = d.Client
		undo = func() error {
			fmt.Fprintln(g.stderr, "stopped that daemon again")
			return d.Close()
		}
		fmt.Fprintf(g.stderr, "started a daemon in the background, logging to %s\n", paths.Log())
	}
	st, err := client.Join(ctx, req)
	if err != nil {
		return errors.Join(err, undo())
	}
	return g.show(st, func(w io.Writer) { printNode(w, st) })
}
