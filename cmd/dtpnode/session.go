package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

const rootLong = `root starts the ROOT that this host's node uses, with PROOF's session in it:
TProof::Open("") gives a session on the pool, and macros and programs that were written for PROOF run as they are,
interpreted, compiled by ACLiC, or in Python.

  root [] TProof::Open("");                     // or TProof::Open("workers=4"), where no node runs
  root [] chain->SetProof();
  root [] chain->Process("MySelector.C+");      // Begin and Terminate here, the rest on the pool

ARGS are ROOT's own, see ` + "`root --help`" + `. If the first is a Python script, Python runs it.
In a session that finds no running node one is started, which ends with it.

With --env it prints what sets the environment instead, for a shell, a Makefile or a notebook that starts ROOT itself,
or compiles a program that has a session, linked with -lProof beside ROOT's libraries, or by CMake, which then finds
ROOT's component Proof:

  eval "$(dtpnode root --env)"

There, interpreted macros that call chain->SetProof() have to include TProof.h or TChain.h, or to name gProof or TProof
before. Options of dtpnode, such as --cache, go before the word root.

Exit status: 0 if ROOT ended well, else that of ROOT; 1 also if it could not be started.`

func newSession(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "root [ARGS]",
		Short: "Start ROOT with sessions of PROOF that run on the pool",
		Long:  rootLong,
		Example: `  dtpnode root
  dtpnode root -l -b -q 'runAnalysis.C("data.txt")'
  dtpnode root analysis.py
  eval "$(dtpnode root --env)"`,
		DisableFlagParsing: true, // flags are ROOT's
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := g.before(args)
			if err != nil {
				return err
			}
			switch {
			case len(args) > 0 && slices.Contains([]string{"--help", "-h"}, args[0]):
				return cmd.Help()
			case slices.Equal(args, []string{"--env"}):
				return printSessionEnv(cmd.Context(), g)
			}
			return startSession(cmd.Context(), g, args)
		},
	}
}

// before takes the flags of dtpnode itself from the arguments of a command that hands its own on.
func (g *globals) before(args []string) ([]string, error) {
	known := map[string]*string{"--state": &g.state, "--cache": &g.cache, "--output": &g.output}
	for len(args) > 0 {
		name, value, joined := strings.Cut(args[0], "=")
		target, ok := known[name]
		if !ok {
			return args, nil
		}
		args = args[1:]
		if !joined {
			if len(args) == 0 {
				return nil, usagef("could not use %s: it wants a value", name)
			}
			value, args = args[0], args[1:]
		}
		*target = value
	}
	return args, nil
}

// sessionEnv is what a process needs for sessions, and the ROOT that it is to be.
func sessionEnv(ctx context.Context, g *globals) (*rootexec.Root, []string, error) {
	paths, err := g.paths()
	if err != nil {
		return nil, nil, err
	}
	f, flags := daemonSettings()
	if _, err := f.find(g, flags); err != nil {
		return nil, nil, err
	}
	root, err := tools{first(f.root), paths.Cache, noROOTForRun(first(f.root))}.root(ctx)
	if err != nil {
		return nil, nil, err
	}
	p, err := rootexec.BuildProof(ctx, root, paths.Cache, func(step string) { fmt.Fprintln(g.stderr, step) })
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("could not find the path of this command: %w", err)
	}
	env := []string{
		"DTPNODE_EXE=" + self,
		"ROOT_INCLUDE_PATH=" + inFront(p.Include, os.Getenv("ROOT_INCLUDE_PATH")),
		"LD_LIBRARY_PATH=" + inFront(p.Lib, os.Getenv("LD_LIBRARY_PATH")),
		// compilers of programs that have a session, which link with -lProof
		"CPATH=" + inFront(p.Include, os.Getenv("CPATH")),
		"LIBRARY_PATH=" + inFront(p.Lib, os.Getenv("LIBRARY_PATH")),
		// find_package(ROOT COMPONENTS Proof) looks for the library's file
		"CMAKE_LIBRARY_PATH=" + inFront(p.Lib, os.Getenv("CMAKE_LIBRARY_PATH")),
	}
	if g.state != "" {
		env = append(env, "DTPNODE_STATE="+g.state)
	}
	if g.cache != "" {
		env = append(env, "DTPNODE_CACHE="+g.cache)
	}
	return root, env, nil
}

// inFront puts a folder before those of a list.
func inFront(dir, list string) string {
	if list == "" {
		return dir
	}
	return dir + string(os.PathListSeparator) + list
}

func printSessionEnv(ctx context.Context, g *globals) error {
	_, env, err := sessionEnv(ctx, g)
	if err != nil {
		return err
	}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(g.stdout, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return nil
}

// startSession replaces this process by ROOT or Python.
func startSession(ctx context.Context, g *globals, args []string) error {
	root, env, err := sessionEnv(ctx, g)
	if err != nil {
		return err
	}
	exe := filepath.Join(root.Bin, "root")
	argv := append([]string{"root", "-e", `gSystem->Load("libProof");`, "-e", "#include <TProofChainCall.h>"}, args...)
	env = append(env, "PATH="+inFront(root.Bin, os.Getenv("PATH")))
	if len(args) > 0 && strings.HasSuffix(args[0], ".py") {
		if exe, err = pythonOf(root); err != nil {
			return err
		}
		// Python finds its environment by the path that it is called by.
		argv = append([]string{exe}, args...)
		// It is no package of that Python itself.
		if _, err := os.Stat(filepath.Join(root.Lib, "ROOT")); err == nil {
			env = append(env, "PYTHONPATH="+inFront(root.Lib, os.Getenv("PYTHONPATH")))
		}
	}
	err = syscall.Exec(exe, argv, append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	}), env...))
	return fmt.Errorf("could not start %q: %w", exe, err)
}

// pythonOf is the interpreter of the Python environment that a ROOT lies in, else the usual one.
func pythonOf(root *rootexec.Root) (string, error) {
	for dir := root.Dir; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		exe := filepath.Join(dir, "bin", "python3")
		if _, err := os.Stat(exe); err == nil {
			return exe, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	exe, err := osexec.LookPath("python3")
	if err != nil {
		return "", &api.Error{
			Message: "could not start the script: there is no python3", Hint: "install Python 3", Err: err,
		}
	}
	return exe, nil
}
