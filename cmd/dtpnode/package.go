package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

// exitPlain is what the help of commands says that end in no other way.
const exitPlain = "Exit status: 0 done, 1 error, 2 wrong usage."

func newPackage(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "package",
		Short: "Keep, list and clear PAR packages",
		Long: `package is about PAR packages, as PROOF had them: NAME.par is a gzipped tar of one folder NAME, with

  NAME/PROOF-INF/BUILD.sh  a script that builds it, run in the package's folder
  NAME/PROOF-INF/SETUP.C   a macro whose SETUP() loads it into a process: gSystem->Load(), AddIncludePath()
  NAME/PROOF-INF/depends   the names of packages that it needs

each of which may be missing. ` + "`dtpnode run --package NAME.par`" + ` enables one for a job: it travels with the
job, is built once on each host that takes part, for each ROOT, compiler and content, in the cache, where the user's
daemons share it, and is set up in each process before all other code. Packages that others depend on come first; they
have to be given too. SETUP() may take a const char * or a TList *: --package NAME.par:TEXT gives it an argument, and
again another; in a TList * NAME=VALUE is a TNamed, and other texts are TObjString. The package's folder is in the
include path of the interpreter and of the selector's compilation. If SETUP() returns less than 0, or BUILD.sh fails,
the job does not start, and what was printed is shown.

A package is code of the job's submitter: it runs with the rights of the daemon's user, as a selector does.

  add FILE.par     keeps a package on this host, so that --package NAME finds it
  ls               lists what is kept and what is built on this host
  rm NAME          removes one, kept and built
  clear            removes all that is built; what is kept is built again when it is next used

Exit status: 0 done, 1 error, 2 wrong usage.`,
		Example: "  dtpnode package add event.par\n  dtpnode package ls\n" +
			"  dtpnode run Sel.C+ --package event --tree T --files f.root -o out.root",
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPackageAdd(g), newPackageLs(g), newPackageRm(g), newPackageClear(g))
	return cmd
}

// keptPackages is the folder of the PAR files that add has kept.
func (g *globals) keptPackages() (string, error) {
	paths, err := g.paths()
	return filepath.Join(paths.State, "packages"), err
}

// packageFile is the absolute path of a package: a file, or one that was kept under the name.
func (g *globals) packageFile(name string) (string, error) {
	info, err := os.Stat(name)
	there := err == nil && info.Mode().IsRegular()
	if there && filepath.Ext(name) == ".par" {
		return filepath.Abs(name)
	}
	kept, err := g.keptPackages()
	if err != nil {
		return "", err
	}
	file := filepath.Join(kept, rootexec.PackageName(name)+".par")
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && !strings.Contains(name, "/") {
		return file, nil
	}
	if there {
		return "", noPackage(name)
	}
	return "", &api.Error{
		Message: fmt.Sprintf("could not find the package %q: neither is there such a file, nor is one kept under this name",
			name),
		Hint: "name a file NAME.par, or keep it first: dtpnode package add NAME.par",
	}
}

// noPackage is the error for a file that has not the name of a package.
func noPackage(file string) error {
	hint := "a package is a gzipped tar NAME.par of the folder NAME: tar czf NAME.par NAME"
	if inputs.IsSource(file) {
		hint += "; a source is given with --source"
	}
	return &api.Error{
		Message: fmt.Sprintf("could not use %q as a package: its name does not end in .par", file), Hint: hint,
	}
}

func newPackageAdd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "add FILE.par",
		Short: "Keep a PAR package on this host, to be enabled by its name",
		Long: "add keeps a copy of a PAR package in the state folder of this host, in place of one of the same name.\n\n" +
			exitPlain,
		Example: "  dtpnode package add event.par\n  dtpnode run Sel.C+ --package event --tree T --files f.root",
		Args:    exactly("FILE.par"),
		RunE: func(_ *cobra.Command, args []string) error {
			return runPackageAdd(g, args[0])
		},
	}
}

func runPackageAdd(g *globals, file string) error {
	par, err := os.ReadFile(file)
	if err == nil && filepath.Ext(file) != ".par" {
		return noPackage(file)
	}
	if err != nil {
		return fmt.Errorf("could not read the package: %w", err)
	}
	name := rootexec.PackageName(file)
	if err := rootexec.CheckPackage(name, par); err != nil {
		return err
	}
	kept, err := g.keptPackages()
	if err != nil {
		return err
	}
	if err := rootexec.KeepPackage(kept, name, par); err != nil {
		return err
	}
	return g.show(packageAdded{Name: name, File: filepath.Join(kept, name+".par")}, func(w io.Writer) {
		fmt.Fprintf(w, "kept %s: dtpnode run --package %[1]s\n", progress.Clean(name))
	})
}

// packageAdded is the answer of add.
type packageAdded struct {
	Name string `json:"name"`
	File string `json:"file"`
}

func newPackageLs(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the PAR packages of this host",
		Long: "ls lists the packages that are kept on this host, and what is built of those and others, for each ROOT and " +
			"content.\n\n" + exitPlain,
		Example: "  dtpnode package ls",
		Args:    exactly(),
		RunE:    func(*cobra.Command, []string) error { return runPackageLs(g) },
	}
}

// packageList is the answer of ls.
type packageList struct {
	Kept  []string                `json:"kept"`
	Built []rootexec.BuiltPackage `json:"built"`
}

func (g *globals) packages() (out packageList, err error) {
	paths, err := g.paths()
	if err != nil {
		return out, err
	}
	kept, err := filepath.Glob(filepath.Join(paths.State, "packages", "*.par"))
	if err != nil {
		return out, err
	}
	out.Kept = []string{}
	for _, file := range kept {
		out.Kept = append(out.Kept, rootexec.PackageName(file))
	}
	slices.Sort(out.Kept)
	out.Built, err = rootexec.BuiltPackages(paths.Cache)
	if out.Built == nil {
		out.Built = []rootexec.BuiltPackage{}
	}
	return out, err
}

func runPackageLs(g *globals) error {
	list, err := g.packages()
	if err != nil {
		return err
	}
	return g.show(list, func(w io.Writer) {
		for _, name := range list.Kept {
			fmt.Fprintf(w, "%-20s kept\n", progress.Clean(name))
		}
		for _, p := range list.Built {
			fmt.Fprintf(w, "%-20s built %s, %d MiB, %s\n", progress.Clean(p.Name), p.Built.Format(time.DateTime),
				(p.Bytes+1<<20-1)>>20, progress.Clean(p.Dir))
		}
	})
}

func newPackageRm(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a PAR package from this host",
		Long: "rm removes the package that is kept under a name, and what is built of packages of this name.\n\n" +
			exitPlain,
		Example: "  dtpnode package rm event",
		Args:    exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPackageRm(cmd.Context(), g, rootexec.PackageName(args[0]))
		},
	}
}

// packagesRemoved is the answer of rm and clear.
type packagesRemoved struct {
	Kept  int `json:"kept"`
	Built int `json:"built"`
}

func runPackageRm(ctx context.Context, g *globals, name string) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	var gone packagesRemoved
	err = os.Remove(filepath.Join(paths.State, "packages", name+".par"))
	switch {
	case err == nil:
		gone.Kept = 1
	case !os.IsNotExist(err):
		return fmt.Errorf("could not remove the package: %w", err)
	}
	if gone.Built, err = rootexec.RemovePackage(ctx, paths.Cache, name); err != nil {
		return err
	}
	if gone == (packagesRemoved{}) {
		return &api.Error{
			Message: fmt.Sprintf("there is no package %q on this host", name), Hint: "dtpnode package ls lists them",
		}
	}
	return g.show(gone, func(w io.Writer) { fmt.Fprintf(w, "removed %s\n", progress.Clean(name)) })
}

func newPackageClear(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:     "clear",
		Short:   "Remove all that is built of PAR packages on this host",
		Long:    "clear removes what is built of all packages in the cache. Jobs build what they use again.\n\n" + exitPlain,
		Example: "  dtpnode package clear",
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			paths, err := g.paths()
			if err != nil {
				return err
			}
			n, err := rootexec.RemovePackage(cmd.Context(), paths.Cache, "")
			if err != nil {
				return err
			}
			return g.show(packagesRemoved{Built: n}, func(w io.Writer) {
				fmt.Fprintf(w, "removed what was built of %s\n", progress.Plural(n, "package"))
			})
		},
	}
}
