package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

func newForget(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "forget MEMBER",
		Short: "Drop a member that is gone",
		Long: `forget ends the membership of a host that is gone and does not come back, named by its name, its id or the
beginning of its id. It is then in no list any more, and jobs that it has submitted are stopped on all nodes. Should
it come back after all it is told so, and needs a new invitation; what it keeps of jobs is of no use any more. A
member that is up is not forgotten: that is ` + "`dtpnode revoke`" + `, which also keeps it out.

As with revoke, the node that invited a member may forget it, and any nearer to the founder. Without it members are
forgotten by themselves after a time (` + "`dtpnode up --forget-after`" + `).

Exit status: 0 forgotten, 1 error, 2 wrong usage.`,
		Example: "  dtpnode forget node7",
		Args:    exactly("MEMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runForget(ctx, g, args[0])
		},
	}
}

func runForget(ctx context.Context, g *globals, name string) error {
	client, m, err := g.forMember(ctx, name)
	if err != nil {
		return err
	}
	if m.Self {
		return &api.Error{
			Message: "could not forget " + m.Name + ": it is this host",
			Hint:    "dtpnode down --leave ends its own membership",
		}
	}
	done, err := client.Forget(ctx, api.RevokeRequest{ID: m.ID})
	if err != nil {
		return err
	}
	return g.show(revoked{m, done}, func(w io.Writer) {
		fmt.Fprintf(w, "forgot %s (%s): it is no member any more, and needs a new invitation should it come back\n",
			progress.Clean(m.Name), m.ID)
		printStopped(w, done)
	})
}
