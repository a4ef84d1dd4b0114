package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// errChanged says that files of a dataset are not what they were when they were registered.
var errChanged = errors.New("not all files are as they were registered")

func newDataset(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dataset",
		Short: "Register, list, show, verify and remove lists of files by name",
		Long: `dataset keeps lists of files under names, which ` + "`dtpnode run --dataset NAME`" + ` runs over. Each name is
signed by the node on which it was registered. All members that were up then keep it, and others get it as soon as
anybody asks on them: so it outlives that node. Every member of the cluster sees all datasets, their files' names among
them.

  add NAME FILES...   reads the files, as run does, and registers them with their trees, entries and sizes, if all can
                      be read; FILES are as of run's --files
  ls [PATTERN]        lists the datasets of all members that answer
  show NAME           lists the files of one
  verify NAME         opens each file again, here or on members that see it: is it missing, changed, corrupted?
  rm NAME             takes a name back, on the node that registered it; the files stay

A name has letters, digits and characters of _.+:@-. Two members may have the same: then OWNER/NAME says whose is meant,
by the owner's name or the beginning of its id; without an owner the own one goes first. /GROUP/OWNER/NAME, as PROOF
wrote it, is understood, and the group not looked at. Only the node that registered a name can replace or remove it.

Exit status: 0 done, 1 error, 2 wrong usage, 3 verify found files that are not as they were registered.`,
		Example: "  dtpnode dataset add run2 --tree Events '/data/run2/*.root'\n  dtpnode dataset ls\n" +
			"  dtpnode run DiMuon.C+ --dataset run2 -o dimuon.root",
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDatasetAdd(g), newDatasetLs(g), newDatasetShow(g), newDatasetVerify(g), newDatasetRm(g))
	return cmd
}

func newDatasetAdd(g *globals) *cobra.Command {
	var tree string
	var replace, duplicates bool
	cmd := &cobra.Command{
		Use:   "add NAME FILES... [--tree TREE]",
		Short: "Register files under a name",
		Long: `add reads the files, which are named as for run's --files, on this host or on members that see them, and
registers them under a name with their trees, entries, sizes and UUIDs. If one cannot be read nothing is registered. A
name that this node has is an error, unless --replace puts the files in its place.

` + exitPlain,
		Example: "  dtpnode dataset add run2 --tree Events '/data/run2/*.root'\n" +
			"  dtpnode dataset add run2 @files.txt --replace",
		Args: atLeast("NAME", "FILES..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			files, _, err := inputs.Files(args[1:], tree, duplicates)
			if err != nil {
				return err
			}
			client, err := g.client()
			if err != nil {
				return err
			}
			set, err := client.AddDataset(ctx, api.DatasetRequest{Name: args[0], Part: tree, Files: files, Replace: replace})
			if err != nil {
				return err
			}
			return g.show(set, func(w io.Writer) {
				fmt.Fprintf(w, "registered %s: %s, %s entries; it is on %s\n", oneLine(set.Name),
					progress.Plural(set.Count, "file"), progress.Count(set.Entries), progress.Plural(set.KeptBy, "member"))
			})
		},
	}
	cmd.Flags().StringVar(&tree, "tree", "", "path of the tree in files that name none")
	cmd.Flags().BoolVar(&replace, "replace", false, "put these files in place of those that the name has")
	cmd.Flags().BoolVar(&duplicates, "allow-duplicates", false, "count a file that is named twice twice")
	return cmd
}

// dataset is a command about one dataset, whose answer show prints.
func dataset[Answer any](
	g *globals, use, short, long, example string, ask func(context.Context, *api.Client, string) (Answer, error),
	show func(io.Writer, Answer), end func(Answer) error,
) *cobra.Command {
	return &cobra.Command{
		Use: use + " NAME", Short: short, Long: long, Example: example, Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			client, err := g.client()
			if err != nil {
				return err
			}
			out, err := ask(ctx, client, args[0])
			if err != nil {
				return err
			}
			if err := g.show(out, func(w io.Writer) { show(w, out) }); err != nil {
				return err
			}
			return end(out)
		},
	}
}

func fine[Answer any](Answer) error { return nil }

func newDatasetShow(g *globals) *cobra.Command {
	return dataset(g, "show", "List the files of a dataset",
		`show lists the files of a dataset with their trees and entries, and with how much the trees take there,
compressed, as they were when they were registered. The files are larger by what else is in them.

`+exitPlain, "  dtpnode dataset show run2",
		func(ctx context.Context, c *api.Client, name string) (api.Dataset, error) {
			return c.Dataset(ctx, name)
		},
		showDataset, fine)
}

// showDataset prints a dataset and its files, a line each.
func showDataset(w io.Writer, set api.Dataset) {
	head(w, []api.Dataset{set})
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nFILE\tTREE\tENTRIES\tTREE SIZE")
	for _, f := range set.Files {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", oneLine(f.URL), oneLine(f.Part), progress.Count(f.Entries),
			progress.Bytes(float64(f.Bytes)))
	}
	_ = tw.Flush()
}

// showVerified prints what has become of a dataset's files.
func showVerified(w io.Writer, out api.DatasetCheck) {
	fmt.Fprintf(w, "%s: %d of %d files are as they were registered\n", oneLine(out.Name), out.Whole, out.Checked)
	for _, f := range out.Files {
		fmt.Fprintf(w, "  %s: %s: %s\n", oneLine(f.State), oneLine(f.URL), oneLine(f.Reason))
	}
}

func newDatasetVerify(g *globals) *cobra.Command {
	return dataset(g, "verify", "Open all files of a dataset again",
		`verify opens each file of a dataset, on this host or on members that see it, and compares it with what was
registered: which are missing, which have other entries or were written anew, and which cannot be read.

Exit status: 0 all are as they were, 1 error, 2 wrong usage, 3 some are not.`, "  dtpnode dataset verify run2",
		func(ctx context.Context, c *api.Client, name string) (api.DatasetCheck, error) {
			return c.CheckDataset(ctx, name)
		},
		showVerified,
		func(out api.DatasetCheck) error {
			if len(out.Files) > 0 {
				return fmt.Errorf("%w: %d of %d", errChanged, len(out.Files), out.Checked)
			}
			return nil
		})
}

func newDatasetRm(g *globals) *cobra.Command {
	return dataset(g, "rm", "Take the name of a dataset back", `rm removes a dataset from all members, on the node that
registered it. The files stay. Members that are away now remove it when they come back and are asked.

`+exitPlain, "  dtpnode dataset rm run2",
		func(ctx context.Context, c *api.Client, name string) (api.Dataset, error) {
			return c.RemoveDataset(ctx, name)
		},
		func(w io.Writer, set api.Dataset) {
			fmt.Fprintf(w, "removed %s on %s; its %s stay\n", oneLine(set.Name), progress.Plural(set.KeptBy, "member"),
				progress.Plural(set.Count, "file"))
		}, fine)
}

func newDatasetLs(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List the datasets of all members",
		Long: `ls lists the datasets that this node and the members that answer have, with their files and entries, and with
how much their trees take, compressed, which is less than the files; a pattern as of a glob, such as 'run*' or
'alice/*', selects some of them.

` + exitPlain,
		Example: "  dtpnode dataset ls\n  dtpnode dataset ls 'alice/*'",
		Args:    atMost("PATTERN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			client, err := g.client()
			if err != nil {
				return err
			}
			all, err := client.Datasets(ctx)
			if err != nil {
				return err
			}
			shown := []api.Dataset{}
			for _, set := range all {
				ok := len(args) == 0
				for _, name := range []string{set.Name, path.Base(set.Name)} {
					if hit, err := path.Match(append(args, "")[0], name); err != nil {
						return usagef("could not use the pattern %q: %v", args[0], err)
					} else if hit {
						ok = true
					}
				}
				if ok {
					shown = append(shown, set)
				}
			}
			return g.show(shown, func(w io.Writer) { head(w, shown) })
		},
	}
}

// inDatasets adds the files of the datasets that the user names to what the job reads.
func (o *runOptions) inDatasets(ctx context.Context, g *globals) error {
	refs, err := inputs.Datasets(o.datasets)
	if err != nil || len(refs) == 0 {
		return asUsage(err)
	}
	paths, err := g.paths()
	if err != nil {
		return err
	}
	client, err := running(ctx, paths)
	if err != nil {
		return err
	}
	if client == nil {
		return &api.Error{
			Message: "could not look up datasets: no dtpnode daemon is running, which keeps them",
			Hint:    "start one, `dtpnode up --detach`, or name the files with --files",
		}
	}
	self, err := client.Status(ctx)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if (ref.List == "") != (refs[0].List == "") || ref.List != "" && len(o.files) > 0 {
			return usagef("could not use --dataset: a list of entries is for all that a job reads, and some of it has none; " +
				"make two jobs of it")
		}
		set, err := client.Dataset(ctx, ref.Name)
		if err != nil {
			return err
		}
		// A --tree that a dataset would not heed had the wrong tree run without a word.
		o.ofDatasets = append(o.ofDatasets, inputs.FilesOf(set, cmp.Or(ref.Tree, strings.Trim(o.tree, "/")))...)
		used := api.UsedDataset{Name: set.Name, Files: set.Files}
		if set.Owner != self.ID && !strings.Contains(ref.Name, "/") {
			used.Asked = ref.Name
		}
		o.used = append(o.used, used)
		if ref.List != "" {
			o.entryLists = append(o.entryLists, ref.List)
		}
	}
	return nil
}

// asUsage is a mistake in the command line, nil if there is none.
func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// head prints datasets, a line each.
func head(w io.Writer, sets []api.Dataset) {
	if len(sets) == 0 {
		fmt.Fprintln(w, "no datasets")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "DATASET\tFILES\tENTRIES\tTREE SIZE\tREGISTERED\tNOTE")
	for _, s := range sets {
		note := ""
		if s.Gone {
			note = "its owner is no member any more"
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t%s\n", oneLine(s.Name), s.Count, progress.Count(s.Entries),
			progress.Bytes(float64(s.Bytes)), s.Registered.Local().Format(time.DateTime), note)
	}
	_ = tw.Flush()
}
