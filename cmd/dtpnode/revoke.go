package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newRevoke(g *globals) *cobra.Command {
	var withInvited bool
	cmd := &cobra.Command{
		Use:   "revoke MEMBER",
		Short: "Put a member out of the cluster",
		Long: `revoke puts a member, named by its name, its id or the beginning of its id, out of the cluster for
good: its connections are closed and its work is done by others. Jobs that it has submitted are stopped at once on all
nodes, and named here.

Whom it has admitted stays, and is named here; --with-invited puts these out too, and whom they have admitted in turn.

Exit status: 0 revoked, 1 error, 2 wrong usage.`,
		Example: "  dtpnode revoke node7\n  dtpnode revoke node7 --with-invited",
		Args:    exactly("MEMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runRevoke(ctx, g, args[0], withInvited)
		},
	}
	cmd.Flags().BoolVar(&withInvited, "with-invited", false, "put out whom it has admitted, too, and whom these have")
	return cmd
}

// revoked is what `revoke` and `forget` print with --output json.
type revoked struct {
	api.Member
	api.Revoked
}

func runRevoke(ctx context.Context, g *globals, name string, withInvited bool) error {
	client, m, err := g.forMember(ctx, name)
	if err != nil {
		return err
	}
	done, err := client.Revoke(ctx, api.RevokeRequest{ID: m.ID, WithInvited: withInvited})
	if err != nil {
		return err
	}
	return g.show(revoked{m, done}, func(w io.Writer) { printRevoked(w, m, done) })
}

func printRevoked(w io.Writer, m api.Member, done api.Revoked) {
	fmt.Fprintf(w, "revoked %s (%s)\n", oneLine(m.Name), oneLine(m.ID))
	var stay []string
	for _, o := range done.Invited {
		switch name := oneLine(cmp.Or(o.Name, o.ID)); {
		case o.Revoked:
			fmt.Fprintf(w, "revoked %s (%s), which it had admitted\n", name, oneLine(o.ID))
		case o.Error != "":
			fmt.Fprintf(w, "%s (%s), which it had admitted, stays a member: %s\n", name, oneLine(o.ID), oneLine(o.Error))
		default:
			fmt.Fprintf(w, "%s (%s), which it had admitted, stays a member\n", name, oneLine(o.ID))
			stay = append(stay, o.ID)
		}
	}
	if len(stay) > 0 {
		fmt.Fprintln(w, "To put them out too:")
		for _, id := range stay {
			fmt.Fprintf(w, "  dtpnode revoke %s\n", id)
		}
	}
	printStopped(w, done)
}

// printStopped names the jobs that ended with their submitter's membership.
func printStopped(w io.Writer, done api.Revoked) {
	whose := "its"
	if slices.ContainsFunc(done.Invited, func(m api.InvitedMember) bool { return m.Revoked }) {
		whose = "their"
	}
	for _, j := range done.Stopped {
		how := "stopped %s job %s\n"
		if !j.Ended {
			how = "%s job %s stops as soon as the nodes that keep its ledger can be reached\n"
		}
		fmt.Fprintf(w, how, whose, progress.Short(j.ID))
	}
}

// forMember finds the one member that name means, by the daemon.
func (g *globals) forMember(ctx context.Context, name string) (*api.Client, api.Member, error) {
	client, err := g.client()
	if err != nil {
		return nil, api.Member{}, err
	}
	members, err := client.Members(ctx)
	if err != nil {
		return nil, api.Member{}, err
	}
	m, err := findMember(members, name)
	return client, m, err
}

// findMember finds the one member that name means.
func findMember(members []api.Member, name string) (api.Member, error) {
	var found []api.Member
	for _, m := range members {
		if m.ID == name {
			return m, nil
		}
		if m.Name == name || strings.HasPrefix(m.ID, name) || name != "" && strings.HasPrefix(m.ID, api.SameInAll+name) {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return api.Member{}, &api.Error{
			Message: fmt.Sprintf("could not find the member %q", name),
			Hint:    "see `dtpnode members`",
		}
	case 1:
		return found[0], nil
	}
	return api.Member{}, &api.Error{
		Message: fmt.Sprintf("could not choose the member %q: %d members have that name or beginning of an id", name,
			len(found)),
		Hint: "name it by its id, which `dtpnode members` shows: " + strings.Join(told(members, found), ", "),
	}
}

// told names some of the members so that they can be distinguished from all others.
func told(members, some []api.Member) (out []string) {
	short := shortIDs(members)
	for _, m := range some {
		out = append(out, fmt.Sprintf("%s (%s, %s)", short[m.ID], oneLine(m.Name), m.State))
	}
	return out
}
