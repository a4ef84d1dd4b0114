package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/pyexec"
)

// pythonLong is what the help of run says of jobs in Python.
const pythonLong = `A file that ends in .py is code in Python: its function process(item) is called for each item of
--items, each once, and what it returns is printed at the end, a line an item; with a function reduce(a, b) the sum of
all is. --items N are the numbers from 0 to N-1, --items FILE the lines of a file as bytes, - of standard input; with
--open they may come by ` + "`dtpnode append JOB --items FILE`" + `. An item at which process raises has that as its
result. What nodes lack goes along: --env, an environment; --modules, which the code imports; --files FILE or NAME=FILE,
which stand in the working folder of each process. Functions of a notebook, objects as items and results, and coffea
go through the Python package, dtpnode.Client().`

// withPackage is the advice for what the command cannot do.
const withPackage = "functions and objects go through the Python package: dtpnode.Client()"

// pythonFlags are the flags of run that code in Python takes too.
var pythonFlags = []string{
	"items", "memory", "stall", "max-cpu", "max-processes", "max-file-size", "max-scratch", "open", "detach", "slots",
	"seed-local", "env", "modules", "files",
}

// isPython reports whether the arguments of run name code in Python.
func isPython(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool { return strings.HasSuffix(arg, ".py") })
}

// executePython runs the command with code in Python.
func (o *runOptions) executePython(cmd *cobra.Command, g *globals, args []string) error {
	if len(args) > 1 {
		return usagef("could not run %q: of code in Python want one file alone, and what it runs over by --items; %s",
			strings.Join(args, " "), withPackage)
	}
	if err := onlyPythonFlags(cmd.Flags(), cmd.InheritedFlags()); err != nil {
		return err
	}
	if o.items == "" && !o.open {
		return usagef("could not run %q: over what? --items N calls process with the numbers from 0 to N-1, --items FILE "+
			"with each line of a file; %s", args[0], withPackage)
	}
	if err := checkNotZero(cmd.Flags(), "stall", "max-processes", "slots"); err != nil {
		return err
	}
	return o.runPython(cmd.Context(), g, args[0])
}

// onlyPythonFlags refuses flags that mean something for selectors alone; global are those of all commands.
func onlyPythonFlags(flags, global *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if err != nil || slices.Contains(pythonFlags, f.Name) || global.Lookup(f.Name) != nil {
			return
		}
		switch f.Name {
		case "tree", "dataset":
			err = usagef("could not use --%s with code in Python, which runs over items: have each file be one, --items "+
				"LIST with a name a line, and open it in process(item); %s", f.Name, withPackage)
		case "out":
			err = usagef("could not use -o with code in Python: what it returns is printed, > FILE keeps that; %s", withPackage)
		default:
			err = usagef("could not use --%s with code in Python: it is for selectors of ROOT; %s", f.Name, withPackage)
		}
	})
	return err
}

// pythonRequest makes the request for the daemon, and the items that are appended to the job afterwards.
// done is to be called when that is done with the job's code.
func (o *runOptions) pythonRequest(
	ctx context.Context, g *globals, path string,
) (req api.JobRequest, items [][]byte, done func(), err error) {
	req, items, err = o.pythonLimits(g)
	if err != nil {
		return req, nil, nil, err
	}
	spec := pyexec.Spec{}
	if spec.Code, err = filepath.Abs(path); err != nil {
		return req, nil, nil, fmt.Errorf("could not make %q absolute: %w", path, err)
	}
	if _, err = os.Stat(path); err != nil {
		return req, nil, nil, fmt.Errorf("could not read the code: %w", err)
	}
	if items == nil && o.items != "" {
		spec.Items, _ = strconv.ParseInt(o.items, 10, 64) // pythonLimits has checked it
	}
	if req.Dir, err = os.Getwd(); err != nil {
		return req, nil, nil, fmt.Errorf("could not find the working folder: %w", err)
	}
	if req.Needs, done, err = o.setAlong(ctx, g, &spec); err != nil {
		return req, nil, nil, err
	}
	req.Kind, req.Title, req.Spec, req.N = pyexec.Kind, path, spec.JSON(), -1
	req.StaysOpen, req.SeedLocal = o.open || len(items) > 0, o.seedLocal
	return req, items, done, nil
}

// pythonLimits reads the limits of a job, and its items but for those that are only numbers.
func (o *runOptions) pythonLimits(g *globals) (req api.JobRequest, items [][]byte, err error) {
	if err = checkTime("stall", o.stall); err != nil {
		return req, nil, err
	}
	if req.Memory, err = inputs.Memory(o.memory); err != nil {
		return req, nil, usageError{err}
	}
	if req.FileSize, req.Scratch, err = o.limits.sizes(); err != nil {
		return req, nil, err
	}
	req.EntryCPU, req.Processes, req.Stall = o.limits.cpu.Seconds(), o.limits.processes, o.stall.Seconds()
	n, bad := strconv.ParseInt(o.items, 10, 64)
	switch {
	case o.items == "":
	case bad != nil:
		if items, err = readItems(o.items, g.stdin); err != nil {
			return req, nil, err
		}
	case n < 1:
		return req, nil, usagef("could not use --items %s: want at least 1, or a file of which each line is an item", o.items)
	}
	return req, items, nil
}

// runPython submits the job, and prints what comes of it unless it goes on without this command.
func (o *runOptions) runPython(ctx context.Context, g *globals, path string) error {
	req, items, done, err := o.pythonRequest(ctx, g, path)
	if err != nil {
		return err
	}
	defer done()
	early, interrupts, stop := untilFollowed(ctx)
	defer stop()
	wants := *o
	wants.out = toStdout // where the results are printed
	client, own, err := daemonFor(early, g, wants, nil)
	if err != nil {
		return err
	}
	st, err := submit.Submitted(early, func(ctx context.Context) (api.JobStatus, error) { return client.Submit(ctx, req) })
	if err == nil {
		err = appendAll(early, client, st.ID, items, !o.open)
	}
	if err != nil {
		if own != nil {
			_ = own.Close()
		}
		return err
	}
	if o.detach {
		if st, err = untilSafe(early, client, st.ID); err != nil {
			return err
		}
		return g.showSubmitted(st)
	}
	id := st.ID
	out := output{shown: true}
	if own != nil {
		own.Note(st)
		out.noted = own.Note
	}
	st, err = follow(ctx, g, client, id, out, interrupts(), own == nil)
	var shown error
	if st.State == api.Done || st.State == api.Partial {
		shown = g.showPython(ctx, client, st)
	}
	if own != nil {
		st.ID = id // nothing may have been received if the node was killed early
		err = closeOwn(g, own, st, err)
	}
	return cmp.Or(err, shown)
}

// mostAppended is how many items an append of this command has: some MB of usual lines.
const mostAppended = 10_000

// appendAll appends items to a job that is open for them, and closes it. A job that does not get all its items is
// cancelled.
func appendAll(ctx context.Context, client *api.Client, id string, items [][]byte, last bool) error {
	if len(items) == 0 {
		return nil
	}
	seq := uint64(0)
	for part := range slices.Chunk(items, mostAppended) {
		seq++
		req := api.AppendRequest{Seq: seq, Data: part, Close: last && int(seq)*mostAppended >= len(items)}
		if _, err := client.Append(ctx, id, req); err != nil {
			_, _ = client.Cancel(context.WithoutCancel(ctx), id)
			return err
		}
	}
	return nil
}

// mostSorted is how many values are put in order, and so are in memory, at a time.
const mostSorted = 10_000

// showPython prints the results of a job in Python that has ended, in the order of its items.
func (g *globals) showPython(ctx context.Context, client *api.Client, st api.JobStatus) error {
	if g.json() {
		return nil // the last status says what there is, `units` and `get` give it
	}
	show, err := g.pythonValues(ctx)
	if err != nil {
		return err
	}
	defer show.Close()
	p := unitPrinter{g: g, out: bufio.NewWriter(g.stdout), show: show}
	for first := int64(0); first < st.Units; first += mostSorted {
		var all api.UnitsEvent
		ask := api.UnitsRequest{First: first, Last: min(first+mostSorted, st.Units)}
		err := client.Units(ctx, st.ID, ask, func(ev api.UnitsEvent) error {
			all.Values, all.Lost = append(all.Values, ev.Values...), append(all.Lost, ev.Lost...)
			return nil
		})
		var refused *api.Error
		if errors.As(err, &refused) && refused.Status == http.StatusConflict { // it has one result of all its items
			return g.showSum(ctx, client, st.ID, show)
		}
		if err != nil {
			return err
		}
		slices.SortFunc(all.Values, func(a, b api.UnitValue) int { return cmp.Compare(a.Unit, b.Unit) })
		if err := p.print(all); err != nil {
			return err
		}
	}
	return p.raisedError()
}

// showSum prints the sum that a job has for its result.
func (g *globals) showSum(ctx context.Context, client *api.Client, id string, show *pyexec.Shower) error {
	value, err := pythonSum(ctx, client, id)
	if err != nil {
		return err
	}
	text, _ := show.Text(value)
	fmt.Fprintln(g.stdout, progress.Clean(text))
	return nil
}

// pythonSum fetches the sum that a job has for its result.
func pythonSum(ctx context.Context, client *api.Client, id string) ([]byte, error) {
	f, err := os.CreateTemp("", "dtpnode-sum-")
	if err != nil {
		return nil, fmt.Errorf("could not fetch the result: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = client.Result(ctx, id, f)
	if bad := f.Close(); err == nil {
		err = bad
	}
	if err != nil {
		return nil, err
	}
	return pyexec.Sum(f.Name())
}

// pythonValues starts what shows values of Python, with the interpreter of the settings.
func (g *globals) pythonValues(ctx context.Context) (*pyexec.Shower, error) {
	exe, err := g.python(ctx)
	if err != nil {
		return nil, &api.Error{
			Message: fmt.Sprintf("could not show values of Python: %v", err),
			Hint:    "`dtpnode units JOB --output json` has them as they are, pickled",
		}
	}
	return pyexec.NewShower(ctx, exe)
}

// python is the interpreter of the settings.
func (g *globals) python(ctx context.Context) (exe string, err error) {
	f, own := daemonSettings()
	_, _ = f.find(g, own) // what is wrong with others of them is of no interest here
	finder := &pyexec.Finder{Interpreters: slices.DeleteFunc(f.python, func(s string) bool { return s == noneOfIt })}
	infos, err := finder.Find(ctx)
	if len(infos) == 0 {
		return "", err
	}
	return infos[0].Dir, nil
}
