package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// stopped is what `down --output json` prints.
type stopped struct {
	Stopped bool `json:"stopped"`        // false if no daemon was running
	Left    bool `json:"left,omitempty"` // the membership ended too
}

func newDown(g *globals) *cobra.Command {
	var leave bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the daemon of this host",
		Long: `down makes the local daemon hand its work back to the others, leave and stop, and waits for that. It stays a
member, and comes back with ` + "`dtpnode up`" + `. A member that is not seen for long is forgotten
(` + "`up --forget-after`" + `). With --leave it ends its membership at once and for good: only a new invitation
brings it back. The founder must give its role to another member first (` + "`dtpnode handover`" + `).

Exit status: 0 stopped, or nothing ran; 1 error; 2 wrong usage.`,
		Example: "  dtpnode down\n  dtpnode down --leave",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runDown(ctx, g, leave)
		},
	}
	cmd.Flags().BoolVar(&leave, "leave", false, "leave the cluster for good")
	return cmd
}

// waitingHere returns the unfinished jobs that nobody continues once this host's daemon is down, since no other member
// is up.
func (g *globals) waitingHere(ctx context.Context, client *api.Client) (ids []string) {
	st, err := client.Status(ctx)
	if err != nil || st.Up > 1 {
		return nil
	}
	jobs, err := client.Jobs(ctx)
	if err != nil {
		return nil
	}
	for _, j := range jobs {
		if !j.State.Final() {
			ids = append(ids, progress.Short(j.ID))
		}
	}
	return ids
}

func runDown(ctx context.Context, g *globals, leave bool) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	client, err := g.client()
	if err != nil {
		return err
	}
	end := client.Shutdown
	if leave {
		end = client.Leave
	}
	alone := g.waitingHere(ctx, client)
	err = end(ctx)
	if errors.Is(err, api.ErrNoDaemon) && !leave {
		return g.show(stopped{}, func(w io.Writer) { fmt.Fprintln(w, "no daemon was running") })
	}
	if err != nil {
		return err
	}
	for { // the daemon is not a child process, so all that can be seen is that it stops answering
		_, err := client.Status(ctx)
		if errors.Is(err, api.ErrNoDaemon) {
			if err := paths.WaitReleased(ctx); err != nil {
				return err
			}
			return g.show(stopped{Stopped: true, Left: leave}, func(w io.Writer) {
				if !leave && len(alone) > 0 {
					fmt.Fprintf(w, "waiting here, for no other host is up that could go on with it: job %s; `dtpnode up` goes on "+
						"with what is committed\n", strings.Join(alone, ", "))
				}
			})
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("could not wait for the daemon to stop: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}
