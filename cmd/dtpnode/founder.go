package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/node/api"
)

func newHandover(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "handover MEMBER",
		Short: "Give the founder's role to another member",
		Long: `handover gives the founder's role, whose word about who is a member overrides everybody else's, from this
host to a member named by its name, its id or the beginning of its id. This host stays a member with all
rights, on the new founder's word. The cluster keeps its name.

Exit status: 0 handed over, 1 error, 2 wrong usage.`,
		Example: "  dtpnode handover node7",
		Args:    exactly("MEMBER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runHandover(ctx, g, args[0])
		},
	}
}

func runHandover(ctx context.Context, g *globals, name string) error {
	client, m, err := g.forMember(ctx, name)
	if err != nil {
		return err
	}
	if err := client.Handover(ctx, api.HandoverRequest{ID: m.ID}); err != nil {
		return err
	}
	return g.show(m, func(w io.Writer) { fmt.Fprintf(w, "%s (%s) is the founder now\n", m.Name, m.ID) })
}

func newRecoveryKey(g *globals) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "recovery-key",
		Short: "Make the key that can take the founder's role back",
		Long: `recovery-key makes the one key that can take the founder's role if the founder's host is lost or its key
stolen, prints it once, and keeps only its public half. Run it on the founder's host on the first day, and
keep the key off all hosts: whoever has it can take the cluster, and nobody can replace it without it. Until
it is made, whoever steals the founder's key can make one.

Exit status: 0 made, 1 error, 2 wrong usage.`,
		Example: "  dtpnode recovery-key\n  dtpnode recovery-key --file /media/stick/dtpnode.key",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return runRecoveryKey(ctx, g, file)
		},
	}
	cmd.Flags().StringVar(&file, "file", "",
		"write the key to this new file, readable by you alone, instead of printing it")
	return cmd
}

func runRecoveryKey(ctx context.Context, g *globals, file string) (err error) {
	client, err := g.client()
	if err != nil {
		return err
	}
	var out io.Writer
	if file != "" {
		// The file is opened before the key is made, since a key can be made only once.
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("could not make the file for the recovery key: %w", err)
		}
		defer func() {
			err = errors.Join(err, f.Close())
		}()
		out = f
	}
	key, err := client.RecoveryKey(ctx)
	if err != nil {
		if file != "" {
			_ = os.Remove(file)
		}
		return err
	}
	if file == "" {
		err := g.show(key, func(w io.Writer) { fmt.Fprintln(w, key.Key) })
		if lost := cmp.Or(g.stdout.err, err); lost != nil { // it cannot be made again
			return fmt.Errorf("could not print the recovery key, which is %s, on standard output: %w", key.Key, lost)
		}
		return nil
	}
	if _, err := fmt.Fprintln(out, key.Key); err != nil {
		return fmt.Errorf("could not write the recovery key, which is %s: %w", key.Key, err)
	}
	return g.show(keyFile{file}, func(io.Writer) {})
}

// keyFile is what `recovery-key --file FILE --output json` prints.
type keyFile struct {
	File string `json:"file"` // the only one that has the key
}

func newTakeBack(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "take-back KEY",
		Short: "Take the founder's role with the recovery key",
		Long: `take-back gives the founder's role to this host, by the key that ` + "`dtpnode recovery-key`" + ` printed.
All members stay, but for the hosts that had the role since the recovery key was made: they are put out, since the key
of any of them may be the stolen one, and what they sign counts for nothing any more. Invite those back that you
trust. Run it on a member other than the lost one. With - the key is read from standard input, so that it does not
show in the list of processes.

Exit status: 0 taken, 1 error, 2 wrong usage.`,
		Example: "  dtpnode take-back - < /media/stick/dtpnode.key",
		Args:    exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := readToken(g.stdin, args[0])
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			client, err := g.client()
			if err != nil {
				return err
			}
			if err := client.TakeBack(ctx, api.TakeBackRequest{Key: key}); err != nil {
				return err
			}
			st, err := client.Status(ctx)
			if err != nil {
				return err
			}
			return g.show(st, func(w io.Writer) { fmt.Fprintf(w, "%s (%s) is the founder now\n", st.Name, st.ID) })
		},
	}
}
