package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

type inviteOptions struct {
	rights    []string
	ephemeral bool
	ttl       time.Duration
}

func newInvite(g *globals) *cobra.Command {
	var opts inviteOptions
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make a one-use token that lets another host join",
		Long: `invite prints a token on standard output. It lets one host join, once, until it expires. Treat it
as a password. The daemon must listen on an address that the other host can reach: see ` + "`dtpnode up --listen`" + `.

The rights are independent of each other: a worker runs the jobs of others, a submitter has its own run,
an inviter admits and revokes members, read shows the status, log and result of everybody's jobs, and
admin does so too and stops or cancels them. The founder of a cluster has them all; an inviter gives none
that it has not itself.

Two hosts have no majority: a job goes on without the other host, and waits while the one that leads it, mostly the
one it was submitted on, is away. Of three or more, any one may be lost.

Exit status: 0 printed, 1 error, 2 wrong usage.`,
		Example: `  dtpnode invite                                  # then, on the other host: dtpnode join TOKEN
  dtpnode invite --rights worker --ttl 10m
  dtpnode invite --rights submitter,read         # may look at the jobs of others
  dtpnode invite | ssh other dtpnode join -`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.ttl <= 0 {
				return usagef("could not use --ttl %s: want a time above zero, such as 1h", opts.ttl)
			}
			for _, r := range opts.rights {
				if !slices.Contains(api.Rights(), r) {
					return usagef("could not use --rights %q: want some of %s", r, strings.Join(api.Rights(), ", "))
				}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runInvite(ctx, g, opts)
		},
	}
	cmd.Flags().StringSliceVar(&opts.rights, "rights", []string{"worker", "submitter"},
		"what the host may do, of "+strings.Join(api.Rights(), ", "))
	cmd.Flags().BoolVar(&opts.ephemeral, "ephemeral", false,
		"forget the host once it was gone without a word for minutes, as fits a worker in a batch system")
	cmd.Flags().DurationVar(&opts.ttl, "ttl", time.Hour, "time until the token expires")
	return cmd
}

func runInvite(ctx context.Context, g *globals, opts inviteOptions) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	inv, err := client.Invite(ctx, api.InviteRequest{
		Rights:    opts.rights,
		TTL:       opts.ttl.Seconds(),
		Ephemeral: opts.ephemeral,
	})
	if err != nil {
		return err
	}
	if inv.Warning != "" {
		fmt.Fprintf(g.stderr, "dtpnode: warning: %s\n", progress.Clean(inv.Warning))
	}
	if inv.Note != "" && !g.json() {
		fmt.Fprintf(g.stderr, "%s\n", progress.Clean(inv.Note))
	}
	err = g.show(inv, func(w io.Writer) { fmt.Fprintln(w, inv.Token) })
	if lost := cmp.Or(g.stdout.err, err); lost != nil {
		return &api.Error{
			Message: fmt.Sprintf("could not print the token on standard output: %v; nobody has it, and it expires in %v", lost,
				opts.ttl),
			Hint: "make another with `dtpnode invite` where it can be printed",
			Err:  lost,
		}
	}
	return nil
}
