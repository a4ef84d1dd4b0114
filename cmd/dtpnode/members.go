package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newMembers(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the cluster's members",
		Long: `members lists the hosts of the cluster by name: what they may do, whether they answer, and what is wrong
with those that have another version or ROOT. Ids are shortened to what tells them apart; --output json has them whole.

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

// printMembers shows the members by name, in a table that fits a terminal; what is wrong with some of them stands below it.
func printMembers(w io.Writer, members []api.Member) {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b api.Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	short := shortIDs(members)
	tw := progress.Table(w)
	fmt.Fprintln(tw, "NAME\tID\tRIGHTS\tSTATE\tRTT\tSLOTS\tROOT\tVERSION\tADDRESS\t")
	for _, m := range members {
		state, rtt := "down", "-"
		switch {
		case m.Self:
			state = "self"
		case m.Up:
			state, rtt = "up", fmt.Sprintf("%.1f ms", m.RTT)
		}
		addr := ""
		if len(m.Addrs) > 0 {
			addr = m.Addrs[0]
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t\n", progress.Clean(m.Name), progress.Clean(short[m.ID]),
			progress.Clean(rightsOf(m)), state, rtt, m.Slots, progress.Clean(m.ROOT), progress.Clean(m.Version), progress.Clean(addr))
	}
	tw.Flush()
	for _, m := range members {
		if m.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", progress.Clean(cmp.Or(m.Name, short[m.ID])), progress.Clean(m.Note))
		}
	}
}

// rightsOf is what a member may do, in few words.
func rightsOf(m api.Member) string {
	words := m.Rights
	if len(words) == len(api.Rights()) {
		words = []string{"all"}
	}
	if m.Founder {
		words = append([]string{"founder"}, slices.DeleteFunc(slices.Clone(words), func(r string) bool { return r == "all" })...)
	}
	if m.Ephemeral {
		words = append(slices.Clone(words), "ephemeral")
	}
	return strings.Join(words, ",")
}

// sameInAll is what the ids of all members begin with: it tells none from another.
const sameInAll = "12D3KooW"

// shortIDs are the shortest parts of the members' ids, behind what all share, that tell them apart; 6 characters at least.
// findMember takes them.
func shortIDs(members []api.Member) map[string]string {
	out := make(map[string]string, len(members))
	for n := 6; len(out) < len(members); n++ {
		clear(out)
		taken := map[string]bool{}
		for _, m := range members {
			id := strings.TrimPrefix(m.ID, sameInAll)
			id = id[:min(n, len(id))]
			if taken[id] && n <= len(m.ID) {
				break
			}
			taken[id] = true
			out[m.ID] = id
		}
	}
	return out
}
