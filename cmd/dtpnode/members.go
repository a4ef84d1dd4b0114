package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newMembers(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the cluster's members",
		Long: `members lists the hosts of the cluster: what they may do, whether they answer, and what is wrong
with those that have another version or ROOT.

Exit status: 0 listed, 1 error, 2 wrong usage.`,
		Example: "  dtpnode members\n  dtpnode members --output json",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runMembers(ctx, g)
		},
	}
}

func runMembers(ctx context.Context, g *globals) error {
	client, err := g.client()
	if err != nil {
		return err
	}
	members, err := client.Members(ctx)
	if err != nil {
		return err
	}
	if members == nil {
		members = []api.Member{}
	}
	return g.show(members, func(w io.Writer) { printMembers(w, members) })
}

func printMembers(w io.Writer, members []api.Member) {
	tw := progress.Table(w)
	fmt.Fprintln(tw, "NAME\tID\tRIGHTS\tSTATE\tRTT\tSLOTS\tROOT\tVERSION\tADDRESS\tNOTE\t")
	for _, m := range members {
		state, rtt := "down", "-"
		switch {
		case m.Self:
			state = "self"
		case m.Up:
			state, rtt = "up", fmt.Sprintf("%.1f ms", m.RTT)
		}
		if m.Founder {
			m.Rights = append([]string{"founder"}, m.Rights...)
		}
		if m.Ephemeral {
			m.Rights = append(m.Rights, "ephemeral")
		}
		addr := ""
		if len(m.Addrs) > 0 {
			addr = m.Addrs[0]
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t\n", progress.Clean(m.Name), progress.Clean(m.ID),
			progress.Clean(strings.Join(m.Rights, ",")), state, rtt, m.Slots, progress.Clean(m.ROOT),
			progress.Clean(m.Version), progress.Clean(addr), progress.Clean(m.Note))
	}
	tw.Flush()
}
