package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

type runOptions struct {
	tree       string
	files      []string
	datasets   []string
	ofDatasets []api.InputFile // the files of these
	used       []api.UsedDataset
	entryLists []string
	friends    []string
	aliases    []string
	duplicates bool
	n, first   int64
	option     string
	params     []string
	inputs     []string
	whole      bool
	code       codeFlags
	along      alongFlags
	memory     string
	stall      time.Duration
	missingOK  bool
	copies     bool
	skip       bool
	seedLocal  bool
	session    bool
	items      string // of code in Python
	out        string
	outputDir  string
	open       bool
	detach     bool
	running    bool // a daemon runs, or it is an error
	check      bool
	root       string
	version    string
	slots      int
	install    bool
	limits     limitFlags
	world      worldFlags
	watch      watchFlags
	watched    string
	spares     []string // further files that are written, and must be none that the job reads
}

const runLong = `run submits a TSelector over a chain of TTrees and waits for the merged output.

` + codeLong + `

` + pythonLong + `

--files names the chain, in order; repeat it as you like:
  data/a.root            a file
  'data/*.root'          a glob, its matches sorted; one that matches nothing is an error
  data/a.root/dir/tree   a file or glob with the path of its tree, instead of --tree; data/a.root?#dir/tree and
                         data/a.root#dir/tree are the same
  chains.root:name       a TChain or TFileCollection in a ROOT file: the files that it names, with the friends and
                         aliases of a chain; relative names are looked up in the working folder, then beside that file
  root://host//a.root    a URL, with or without a tree
  @list.txt              a list of these, one a line; lines from # are comments; relative paths are
                         looked up in the list's folder, then in the working folder
An absolute path that this host does not see is planned and read by members that do. One that nobody sees is an
error, or with --skip-missing is missing in the result, as a file that cannot be read is; -n and --first then count the
entries of the other files, as a TChain does, which a note says. A glob stands for the names
that this host sees, links to what is not here among them: if more files match it on a member, that is said, and they
are not read. Names are taken as they are, whatever characters they have in them.
A host on which a file is not the one that was planned, by its number of entries or by the UUID that ROOT gave it when
it was written, which cp keeps, leaves it to others: --allow-copies compares the number of entries alone.
A file named twice, be it through a link or another spelling of its tree, is an error, since its entries
would be counted twice: --allow-duplicates.

--dataset NAME runs over the files that are registered under a name (` + "`dtpnode dataset`" + `), after those of
--files. Several, divided by commas or |, follow each other; NAME#TREE, or --tree, reads another tree of the files, and
NAME<<FILE:LIST, or NAME?enl=FILE:LIST, is NAME with --entry-list FILE:LIST.

--entry-list FILE:NAME has only the listed entries run. A TEntryList names files and trees, which are compared as
TChain::SetEntryList does it, relative names made absolute and links followed; one that names no file of the job is an
error. A TEventList counts entries over all files. All numbers of entries, those of -n and --first, of progress and of
what is missing, then count the listed ones. Clusters without any are not read.

--friend TREE=FILES reads the entries of another tree beside those of --tree, as TChain::AddFriend does it: entry n of
all its files together beside entry n of all --files; ALIAS:TREE=FILES gives it another name. With
TREE[MAJOR,MINOR]=FILES, or TREE[MAJOR]=FILES, the entry is read in which these expressions have the values that they
have in the job's entry. An index that is stored in a friend of one file is used. Files of friends are compared with
what was planned as those of --files are. Friends that trees have stored, or
that Init() adds, are found too; those that Init() adds with a relative name must be named by their whole path.

Begin() and Terminate() run here, in the working folder; what they print goes to standard output, progress to standard
error; with -o - all but the output file goes to standard error. If this node is away at the end, or cannot run it,
Terminate() runs on another, after Begin() once more, in a folder of its own there, which the summary names with the
files that are left in it. Where no daemon runs, run starts a node for the time of the job.

fInput begins with what is given: the parameters, in the order of their names, then the objects of the --input files.
Begin sees them too, and what it makes of fInput reaches every process, up to 1 GiB, once for each node. A --param
that is a number is found by a dynamic_cast to a TParameter of Double_t, Float_t, Long64_t, Long_t, Int_t or Bool_t that
can hold it, and to a TNamed with the number as its title. A selector that casts in the style of C gets a
TParameter<Long64_t> of 20 and a TParameter<Double_t> of 0.5: for another, give the type, name:double=20. All else is
a TNamed. --input FILE:NAME,DIR/NAME takes some objects of a file alone, and must where the file has trees too.

A selector that calls Abort(kAbortFile) is called for no entry of that file behind that one; the others all count, also
those before it. For that its files are not divided between processes: each is read by one, in order, if the sources
name kAbortFile outside of comments, or with --whole-files. Code without its sources that calls it ends a job without
--whole-files. In Init or Notify one entry of the file is still run, as by ROOT. What is left out counts as done, and
the exit status stays 0; the summary says where, why and how much. Abort(kAbortProcess) ends the job.

With --cycles N there are no files and no tree: Process(0) to Process(N-1) are called, each once, by all nodes
together, as TProof::Process(selector, N) did it. Init and Notify are not called.

Each process draws other numbers from gRandom, and from rand() and drand48(). With --seed N the numbers from gRandom
depend on N and on the entry alone, so that the output is the same however many nodes there are and whatever they
steal: each entry has a stream of its own, and so have Begin, SlaveBegin, Terminate, and Init of each file. What code
draws from generators of its own, such as TRandom3(0), cannot be the same.

Files that the selector writes, by a TProofOutputFile or with TFile::Open in its working folder, are merged and go to
the working folder of run. With --output-dir they go to that folder, which is made if it is not there, and absolute
names that lead below it are followed; others keep their base names alone, since names come from the nodes that worked.

With --save-canvases all canvases that are there after Terminate are saved where Terminate ran, as CANVAS.pdf or in
the formats that are given; characters other than letters, digits and ._- become _, a second canvas of a name gets _2,
and a file of that name is replaced, unless it is the selector or something else that the job reads: the canvas is saved
as CANVAS-canvas.pdf then.

With --open the job runs over what ` + "`dtpnode append`" +
	` adds too, from another shell, and ends when it is closed, by
` + "`dtpnode close`" + `, and done; there need be no --files yet, but a daemon must run.

With --check the first 1,000 entries of the first file that can be read here are run, by the same steps: compiling,
Begin, two processes, merge, Terminate; these work in folders of their own, with copies of the small files of the
working folder. It says what is in the output list, what the whole is likely to take, and what to look after. No
output is written and nothing is kept; exit status 0 says that it went well, 1 that it did not, 3 that no entry was
there to try.

Ctrl-C on a terminal asks whether to stop with a partial result, cancel, detach or continue; twice cancels, and so
does stopping a job that has not begun. Elsewhere SIGINT cancels, and SIGTERM does everywhere. If run itself is
killed, or its terminal closed, the job goes on as if detached.
A node that run starts has the settings of this host (` + "`dtpnode config show`" + `) except listen, needs -o, and
ends with run. If its job cannot be finished, its output not be written, that node or run be killed, the terminal
closed or run ended by SIGTERM, all that is committed is kept below the state folder, in kept/JOB, and the commands
that take a JOB work on it: finish, which goes on from there, attach, get, status, cancel.

Exit status: 0 done, or with --detach accepted; 1 error; 2 wrong usage; 3 partial result (what is missing is listed),
or a check without an entry; 130 interrupted: cancelled, or detached by Ctrl-C, or asked to cancel a job that cannot
be cancelled yet, since most of the nodes that keep its ledger cannot be reached: the last line says which.`

func newRun(g *globals) *cobra.Command {
	var opts runOptions
	cmd := &cobra.Command{
		Use:   "run SELECTOR --tree TREE --files FILES [-o OUT]",
		Short: "Run a TSelector over files and wait for the output",
		Long:  runLong,
		Example: `  dtpnode run DiMuon.C+ --tree Events --files 'data/*.root' -o dimuon.root
  dtpnode run DiMuon.C+ --tree Events --files @run2.txt --param ptcut=20 -n 100000 --detach
  dtpnode run DiMuon.C+ --tree Events --files 'data/*.root' --check
  dtpnode run job.py --items 1000`,
		RunE: func(cmd *cobra.Command, args []string) error { return opts.execute(cmd, g, args) },
	}
	f := cmd.Flags()
	f.StringVar(&opts.tree, "tree", "", "path of the tree in the files")
	f.StringArrayVar(&opts.files, "files", nil, "file, glob, URL or @list; repeatable; of code in Python FILE or "+
		"NAME=FILE, to stand in its working folder")
	opts.readFlags(f)
	f.BoolVar(&opts.duplicates, "allow-duplicates", false, "count a file that is named twice twice")
	f.Int64VarP(&opts.n, "entries", "n", -1, "number of entries, over all files; -1 for all")
	f.Int64Var(&opts.first, "first", 0, "first entry, counted over all files")
	f.StringVar(&opts.option, "option", "", "what the selector's GetOption() returns")
	f.StringArrayVar(&opts.params, "param", nil, paramUsage)
	f.StringArrayVar(&opts.inputs, "input", nil, inputUsage)
	f.BoolVar(&opts.whole, "whole-files", false,
		"let each file be read by one process, in order, as for code that names kAbortFile")
	opts.code.add(f)
	f.StringVar(&opts.items, "items", "",
		"of code in Python: how many, which are the numbers from 0, or a `FILE` of which each line is one, or -")
	opts.along.add(f)
	f.StringVar(&opts.memory, "memory", "", "memory a child may use, e.g. 2G (default the node's)")
	f.DurationVar(&opts.stall, "stall", 0, "time that one entry may take, e.g. 15m (default 5m)")
	opts.limits.add(f)
	opts.world.add(f)
	f.BoolVar(&opts.missingOK, "allow-missing-branches", false, "let files lack branches that others have")
	f.BoolVar(&opts.copies, "allow-copies", false,
		"read a file that was written anew on another host, with as many entries, as if it were the same")
	f.BoolVar(&opts.skip, "skip-missing", false,
		"run over the other files where one is nowhere, and name it as missing in the result (exit status 3)")
	f.BoolVar(&opts.session, "session", false,
		"leave Begin and Terminate to the caller, a PROOF session, which gives fInput by --input and reads the output")
	cobra.CheckErr(f.MarkHidden("session"))
	f.BoolVar(&opts.running, "running", false, "have no daemon started: a program asks for a job of the one that it knows")
	cobra.CheckErr(f.MarkHidden("running"))
	f.BoolVar(&opts.seedLocal, "seed-local", false, "give all work to this node first; others steal it")
	opts.outFlags(f)
	f.StringVar(&opts.watched, "watch", "",
		"`names` of output objects, such as h1,h2, to show while the job runs (see dtpnode watch)")
	opts.watch.add(f, "watch-file", "watch-every")
	f.BoolVar(&opts.open, "open", false,
		"keep the job open: it runs over what dtpnode append adds too, until dtpnode close")
	f.BoolVar(&opts.check, "check", false,
		"run the first 1,000 entries only, here, say what came of them, and keep nothing")
	f.BoolVar(&opts.detach, "detach", false, "return when the job goes on without this host, and print its name")
	opts.rootFlags(f)
	return cmd
}

// outFlags adds the flags that say where what comes out goes.
func (o *runOptions) outFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.out, "out", "o", "",
		"result file, or - for standard output (default: kept by the daemon for dtpnode get)")
	f.StringVar(&o.outputDir, "output-dir", "",
		"`folder` for the files that the selector writes, also by absolute names below it (default the working folder)")
}

// rootFlags adds the flags that choose a ROOT, and those of a node that run starts.
func (o *runOptions) rootFlags(f *pflag.FlagSet) {
	f.StringVar(&o.root, "root", "", "ROOT's folder, where run starts a node of its own (default that of the settings)")
	f.StringVar(&o.version, "root-version", "",
		"`version` of ROOT to run the job with, e.g. 6.40.00, where nodes have several (default the first of this node)")
	f.BoolVar(&o.install, "install-root", false,
		"install ROOT into the cache if none is found, where run starts a node of its own")
	f.IntVar(&o.slots, "slots", 0,
		"slots, where run starts a node of its own (default those of the settings, else all cores)")
}

// execute runs the command with its arguments.
func (o *runOptions) execute(cmd *cobra.Command, g *globals, args []string) error {
	switch {
	case isPython(args):
		return o.executePython(cmd, g, args)
	case o.items != "":
		return usagef("could not use --items with a selector, which runs over entries: it is for code in Python, JOB.py; " +
			"--cycles N calls a selector N times without files")
	}
	if err := o.along.refuse(); err != nil {
		return err
	}
	selector, files, err := selectorAndFiles(args, o.files)
	if err != nil {
		return err
	}
	o.files = files
	if err := o.given(g, cmd.Flags()); err != nil {
		return err
	}
	if err := o.inDatasets(cmd.Context(), g); err != nil {
		return err
	}
	return runRun(cmd.Context(), g, selector, *o)
}

// given refuses flags that are given with the zero value, which otherwise means "not given".
func (o runOptions) given(g *globals, flags *pflag.FlagSet) error {
	if o.out == toStdout && o.detach {
		return usagef("could not use -o - with --detach: run does not wait for the output; name a file, or `dtpnode get " +
			"JOB -o -` later")
	}
	if err := g.checkOut(flags, o.out); err != nil {
		return err
	}
	if flags.Changed("root-version") && versionOf(o.version) == "" {
		return usagef("could not use --root-version %q: want a version such as 6.40.00", o.version)
	}
	if err := o.checkWatch(flags); err != nil {
		return err
	}
	return checkNotZero(flags, "stall", "open-timeout", "max-processes", "slots")
}

// checkWatch refuses what cannot be watched before the job begins.
func (o runOptions) checkWatch(flags *pflag.FlagSet) error {
	names := watchNames(o.watched)
	switch {
	case len(names) == 0 && (flags.Changed("watch") || flags.Changed("watch-file") || flags.Changed("watch-every")):
		return usagef("could not watch the job: name the objects with --watch, such as --watch h1,h2")
	case len(names) > 0 && (o.detach || o.check):
		return usagef("could not use --watch with --detach or --check: `dtpnode watch JOB NAMES` watches a job that runs")
	case len(names) == 0:
		return nil
	}
	o.watch.names = names
	_, err := o.watch.request()
	return err
}

// versionOf is the version in what a user wrote, who may have copied it from where it stands as ROOT 6.40.00.
func versionOf(text string) string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), rootexec.Kind))
}

func runRun(ctx context.Context, g *globals, selector string, opts runOptions) error {
	if opts.check {
		return runCheck(ctx, g, selector, opts)
	}
	req, err := opts.request(g, selector)
	if err != nil {
		return err
	}
	early, interrupts, stop := untilFollowed(ctx)
	defer stop()
	client, own, err := daemonFor(early, g, opts, req.Files)
	if err != nil {
		return err
	}
	st, err := submit.Submitted(early, func(ctx context.Context) (api.JobStatus, error) { return client.Submit(ctx, req) })
	if err != nil {
		if own != nil {
			_ = own.Close()
		}
		return err
	}
	if opts.detach {
		if st, err = untilSafe(early, client, st.ID); err != nil {
			return err
		}
		return g.showSubmitted(st)
	}
	if opts.open && !g.json() {
		fmt.Fprintf(g.stderr, "job %[1]s is open: `dtpnode append %[1]s FILES...` adds to it, `dtpnode close %[1]s` lets it "+
			"end\n", progress.Short(st.ID))
	}
	id := st.ID
	out := output{written: req.Output, watch: opts.watch}
	out.watch.names = watchNames(opts.watched)
	if opts.out == toStdout {
		out.fetch = toStdout
	}
	if own != nil {
		own.Note(st)
		out.noted = own.Note
	}
	st, err = follow(ctx, g, client, id, out, interrupts(), own == nil)
	if own != nil {
		st.ID = id // nothing may have been received if the node was killed early
		return closeOwn(g, own, st, err)
	}
	return err
}

// request makes the request for the daemon, and checks all that can be checked here.
func (o runOptions) request(g *globals, selector string) (api.JobRequest, error) {
	var req api.JobRequest
	var err error
	if err = o.world.check(len(o.files)+len(o.datasets) > 0, o.tree, o.open); err != nil {
		return req, err
	}
	switch {
	case o.open && (o.n >= 0 || o.first > 0):
		return req, usagef("could not use --open with -n or --first: how many entries there will be is not known yet")
	case o.open && o.check:
		return req, usagef("could not use --open with --check: a check runs over what is there")
	case len(o.files)+len(o.ofDatasets) == 0 && !o.open && !o.world.inCycles():
		return req, usagef("could not run %q: no --files given, nor --dataset or --cycles", selector)
	case o.n < -1 || o.first < 0:
		return req, usagef("could not use -n %d --first %d: want -n of at least 0, or -1 for all, and --first of at least 0",
			o.n, o.first)
	case o.slots < 0:
		return req, usagef("could not use --slots %d: want at least 1", o.slots)
	}
	if err = o.limitsOf(&req); err != nil {
		return req, err
	}
	spec, err := o.spec(g, selector)
	if err != nil {
		return req, err
	}
	req.Kind, req.Version, req.Title, req.Spec = kindOf(spec.Selector), versionOf(o.version), spec.Title(), spec.JSON()
	req.Duplicates = o.duplicates
	if err = o.beside(&req); err != nil {
		return req, err
	}
	if err = o.inputFiles(&req); err != nil {
		return req, err
	}
	if o.out != toStdout { // this command writes to standard output, not the daemon
		if req.Output, err = submit.OutputPath(o.out); err != nil {
			return req, err
		}
	}
	if req.OutputDir, err = submit.OutputDir(o.outputDir); err != nil {
		return req, err
	}
	if o.watch.file != "" && samePath(o.watch.file, req.Output) {
		return req, usagef("could not use %q for both -o and --watch-file: each snapshot replaces the file of --watch-file",
			o.watch.file)
	}
	for _, path := range append([]string{req.Output, o.watch.file}, o.spares...) {
		if err = sparesInputs(path, req, spec); err != nil {
			return req, err
		}
	}
	if req.Dir, err = os.Getwd(); err != nil {
		return req, fmt.Errorf("could not find the working folder: %w", err)
	}
	// A file that goes along only because the code names it is most likely an output of an earlier run, which the next
	// one finds under another name.
	req.Spares = slices.DeleteFunc(inputsOf(api.JobRequest{}, spec), func(path string) bool {
		return slices.ContainsFunc(spec.Named, func(name string) bool { return filepath.Join(req.Dir, name) == path })
	})
	req.Part, req.N, req.First, req.StaysOpen = o.tree, o.n, o.first, o.open
	req.AllowCopies, req.SeedLocal, req.SkipMissing = o.copies, o.seedLocal, o.skip
	return req, nil
}

// limitsOf adds to a request what its children may use.
func (o runOptions) limitsOf(req *api.JobRequest) (err error) {
	if err = checkTime("stall", o.stall); err != nil {
		return err
	}
	if req.Memory, err = inputs.Memory(o.memory); err != nil {
		return usageError{err}
	}
	req.Open, req.EntryCPU, req.Processes = o.limits.open.Seconds(), o.limits.cpu.Seconds(), o.limits.processes
	req.Stall = o.stall.Seconds()
	req.FileSize, req.Scratch, err = o.limits.sizes()
	return err
}

// inputFiles adds to a request the files that the job runs over.
func (o runOptions) inputFiles(req *api.JobRequest) (err error) {
	if len(o.files) > 0 { // an open job may begin without any
		if req.Files, req.Globs, err = inputs.Files(o.files, o.tree, o.duplicates); err != nil {
			return err
		}
	}
	if len(o.ofDatasets) > 0 {
		req.Files, req.Datasets = append(req.Files, o.ofDatasets...), o.used
		if err := inputs.Once(req.Files, o.tree, o.duplicates); err != nil {
			return err
		}
	}
	for _, f := range req.Files {
		if f.Part == "" && o.tree == "" && f.Object == "" {
			return usagef("could not choose the tree of %q: give --tree, or its path as FILE/TREE", f.URL)
		}
	}
	return nil
}

// readFlags are the flags that say what is read beside --files, and of them.
func (o *runOptions) readFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.datasets, "dataset", nil,
		"`name` of a dataset to run over (dtpnode dataset), several with commas; NAME<<FILE:LIST with a list of entries")
	f.StringArrayVar(&o.entryLists, "entry-list", nil,
		"`file.root:name` of a TEntryList or TEventList: only the entries that it lists are run; repeatable")
	f.StringArrayVar(&o.friends, "friend", nil,
		"`tree=files` that are read beside the files, as alias:tree=files under another name; repeatable")
	f.StringArrayVar(&o.aliases, "alias", nil, "`name=expression` that the trees get as an alias; repeatable")
}

// beside adds to a request what is chosen of the files, and what is read beside them.
func (o runOptions) beside(req *api.JobRequest) (err error) {
	if o.open && len(o.entryLists)+len(o.friends) > 0 {
		return usageError{api.OpenHasNoNumbers()}
	}
	if req.EntryLists, err = inputs.EntryLists(o.entryLists); err != nil {
		return err
	}
	if req.Friends, err = inputs.Friends(o.friends); err != nil {
		return usageError{err}
	}
	if req.Aliases, err = inputs.Aliases(o.aliases); err != nil {
		return usageError{err}
	}
	return nil
}

// spec returns what the job wants of ROOT.
func (o runOptions) spec(g *globals, selector string) (spec rootexec.Spec, err error) {
	spec = rootexec.Spec{
		Option:               o.option,
		AllowMissingBranches: o.missingOK,
		Session:              o.session,
	}
	spec.WholeFiles = o.whole
	if spec.Params, err = inputs.Params(o.params); err != nil {
		return spec, usageError{err}
	}
	if err = o.world.fill(&spec); err != nil {
		return spec, err
	}
	if spec.Inputs, err = inputs.Objects(o.inputs); err != nil {
		return spec, usageError{err}
	}
	return spec, o.code.set(&spec, g, selector)
}

func absolute(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, fmt.Errorf("could not make %q absolute: %w", name, err)
		}
		if !slices.Contains(out, abs) {
			out = append(out, abs)
		}
	}
	return out, nil
}

// samePath reports whether two names lead to one file, which need not be there yet.
func samePath(a, b string) bool {
	one, errA := submit.OutputPath(a)
	other, errB := submit.OutputPath(b)
	if errA == nil && errB == nil && one == other {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// sparesInputs refuses to write to a path that is the data or the code of a job.
func sparesInputs(path string, req api.JobRequest, spec rootexec.Spec) error {
	out, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // a file that does not exist yet is none of the inputs
	}
	for _, input := range inputsOf(req, spec) {
		if in, err := os.Stat(input); err == nil && os.SameFile(in, out) {
			return &api.Error{
				Message: fmt.Sprintf("could not write to %q: it is an input of this job and would be overwritten", path),
				Hint:    "name another file with -o, --watch-file or --picture",
			}
		}
	}
	return nil
}

// inputsOf are the names of all files that a job reads.
func inputsOf(req api.JobRequest, spec rootexec.Spec) []string {
	all := slices.Concat([]string{spec.Selector}, spec.Includes, spec.Sources, spec.Libraries, spec.Data)
	for _, in := range spec.Inputs {
		all = append(all, in.Path)
	}
	for _, p := range spec.Packages {
		all = append(all, p.File)
	}
	files := slices.Clone(req.Files)
	for _, f := range req.Friends {
		files = append(files, f.Files...)
	}
	for _, f := range files {
		all = append(all, f.URL)
	}
	for _, l := range req.EntryLists {
		all = append(all, l.URL)
	}
	return all
}

// daemonFor connects to the running daemon, or starts one: for this job alone, or to stay with --detach. A daemon of
// its own has no members that could be asked for files that are not on this host.
func daemonFor(
	ctx context.Context, g *globals, opts runOptions, files []api.InputFile,
) (*api.Client, *local.Daemon, error) {
	paths, err := g.paths()
	if err != nil {
		return nil, nil, err
	}
	if client, err := running(ctx, paths); err != nil || client != nil {
		if idle := opts.ofOwnNode(); client != nil && len(idle) > 0 {
			fmt.Fprintf(g.stderr, "dtpnode: of no effect, since a daemon is running already, with the settings of its start: "+
				"%s\n", strings.Join(idle, ", "))
		}
		return client, nil, err
	}
	if opts.running {
		return nil, nil, &api.Error{
			Message: "could not run the job: no dtpnode daemon is running on " + paths.State,
			Hint:    "start it again, `dtpnode up --detach`, or wait until it is back",
		}
	}
	if opts.open && !opts.detach {
		return nil, nil, &api.Error{
			Message: "could not run an open job: no dtpnode daemon is running that `dtpnode append` and `dtpnode close` could " +
				"reach",
			Hint: "start one first, `dtpnode up --detach`, or have this one start it and return, --open --detach",
		}
	}
	if err := inputs.NotHere(files); err != nil {
		return nil, nil, err
	}
	own, err := opts.ownNode(g)
	if err != nil {
		return nil, nil, err
	}
	if own.install {
		if err := installROOT(ctx, g, tools{own.root, paths.Cache, noROOTForRun(own.root)}); err != nil {
			return nil, nil, err
		}
	}
	if opts.detach { // the daemon stays, and reads by itself the settings that are not given here
		d, err := local.StartBackground(ctx, paths, own.given...)
		if err != nil {
			return nil, nil, err
		}
		fmt.Fprintln(g.stderr, "started a daemon in the background; stop it with `dtpnode down`")
		return d.Client, nil, nil
	}
	if opts.out == "" && !opts.check {
		return nil, nil, usagef("could not run without -o: no daemon is running that could keep the output")
	}
	local.SweepTemporary(paths)
	local.SweepKept(paths)
	d, err := local.StartTemporary(ctx, paths.Cache, own.all...)
	if err != nil {
		return nil, nil, err
	}
	return d.Client, d, nil
}

// ofOwnNode returns the given flags that only concern a node that run starts.
func (o runOptions) ofOwnNode() (flags []string) {
	if o.root != "" {
		flags = append(flags, "--root")
	}
	if o.install {
		flags = append(flags, "--install-root")
	}
	if o.slots > 0 {
		flags = append(flags, "--slots")
	}
	return flags
}

// ownNode is how to start a daemon for one job.
type ownNode struct {
	root       string
	install    bool
	given, all []string // arguments of up: those that the user gave to run, and these with the settings of this host
}

// ownNode adds the settings of this host that run has no flags for, or that were not given, as up does. It omits the
// listen addresses, since this daemon has no members and another daemon may listen there.
func (o runOptions) ownNode(g *globals) (ownNode, error) {
	f, flags := daemonSettings()
	var own ownNode
	for name, value := range map[string]string{"root": o.root, "slots": strconv.Itoa(o.slots)} {
		if value != "" && value != "0" {
			if err := flags.Set(name, value); err != nil {
				return own, usageError{err}
			}
		}
	}
	from, err := f.find(g, flags)
	if err != nil {
		return own, usageError{err}
	}
	if err := f.checked(flags, from); err != nil {
		return own, err
	}
	own.root, own.install, own.given = first(f.root), f.install || o.install, f.given(flags)
	flags.VisitAll(func(fl *pflag.Flag) {
		if from[fl.Name] != "" && fl.Name != "listen" && fl.Name != "install-root" {
			for _, value := range settings.Values(fl) {
				own.all = append(own.all, "--"+fl.Name+"="+value)
			}
		}
	})
	own.all = append(own.all, own.given...)
	return own, nil
}

// errSafe ends the following of a job that continues without this host.
var errSafe = errors.New("the job is safe")

// untilSafe waits until as many nodes as intended have the job's ledger, or the job has ended.
func untilSafe(ctx context.Context, client *api.Client, id string) (api.JobStatus, error) {
	var last api.JobStatus
	st, err := client.Follow(ctx, id, func(ev api.Event) error {
		if ev.Status != nil {
			last = *ev.Status
		}
		if last.Safe {
			return errSafe
		}
		return nil
	})
	switch {
	case errors.Is(err, errSafe):
		return last, nil
	case ctx.Err() != nil:
		return last, fmt.Errorf("%w before job %[2]s could go on without this host; it goes on: `dtpnode attach %[2]s` "+
			"follows it, `dtpnode cancel %[2]s` ends it",
			submit.ErrInterrupted, progress.Short(id))
	case err != nil:
		return last, err
	case st.State == api.Failed || st.State == api.Cancelled || st.State == api.CannotFinish:
		return st, submit.Outcome(st)
	}
	return st, nil
}

// showSubmitted prints the job's name on standard output, for scripts, and what to do with it.
func (g *globals) showSubmitted(st api.JobStatus) error {
	if term.IsTerminal(int(g.stderr.Fd())) && !g.json() {
		fmt.Fprintf(g.stderr, "dtpnode status %[1]s, dtpnode logs -f %[1]s, dtpnode get %[1]s\n", progress.Short(st.ID))
	}
	return g.show(st, func(w io.Writer) { fmt.Fprintln(w, st.ID) })
}

// output is where a job's output goes, empty for nowhere.
type output struct {
	written string // the daemon writes it here, before it reports the job's end
	fetch   string // this command writes it here, after the job's end; toStdout for standard output
	owed    bool   // only the daemon knows where the output is to be written
	shown   bool   // it is nowhere, since all of it was shown and the node that made it ends

	noted func(api.JobStatus) // called when more is committed; may be nil
	watch watchFlags          // what is shown of the output meanwhile
	// takes is told each line that Begin or Terminate prints, and reports whether it is not to be printed; it may be nil
	takes func(line string) bool
}

// noting is a printer that also passes a status to noted when it has changed for whoever may continue the job.
type noting struct {
	printer
	noted func(api.JobStatus)
	last  api.JobStatus
}

func (n *noting) Status(st api.JobStatus) {
	if st.State != n.last.State || st.Committed != n.last.Committed {
		n.last = st
		n.noted(st)
	}
	n.printer.Status(st)
}

// follow shows the job until it ends, and how it ended. It also returns the job's last status.
func follow(
	ctx context.Context, g *globals, client *api.Client, id string, out output, interrupts <-chan os.Signal,
	detachable bool,
) (api.JobStatus, error) {
	p := newPrinter(g)
	shown := p
	if out.noted != nil {
		p = &noting{printer: p, noted: out.noted}
	}
	f := submit.Follower{
		Jobs: client, Printer: p, Print: g.printLine(p, out),
		Interrupts: interrupts, Detachable: detachable,
	}
	if !g.json() { // in JSON the statuses have them
		f.Note = func(text string) { fmt.Fprintln(p, "note: "+progress.Clean(text)) }
	}
	if keys := submit.NewTerminal(g.stdin); keys != nil && term.IsTerminal(int(g.stderr.Fd())) && !g.json() {
		f.Keys = keys
	}
	stopWatching := besideRun(ctx, g, client, id, out.watch, shown)
	st, err := f.Follow(ctx, id)
	watched := stopWatching()
	p.Close()
	if errors.Is(err, submit.ErrDetached) {
		return st, fmt.Errorf("%w: dtpnode status %s, dtpnode get %s", err, progress.Short(id), progress.Short(id))
	}
	if err != nil {
		return st, err
	}
	if st.State == api.CannotFinish && len(st.Missing) > 0 && !g.json() {
		progress.Summary(g.beside(out), st) // the summary lists them
	}
	if st.State == api.Failed && detachable && st.Units > 0 { // this command's node reports nothing later
		st.Hint = strings.TrimPrefix(fmt.Sprintf("%s; `dtpnode logs %s` shows what it printed", st.Hint,
			progress.Short(st.ID)), "; ")
	}
	if st.State == api.Failed || st.State == api.Cancelled || st.State == api.CannotFinish {
		return st, submit.Outcome(st)
	}
	if out.fetch != "" {
		if st.Output, err = g.fetch(ctx, client, st.ID, out.fetch); err != nil {
			return st, fetched(st, err)
		}
	}
	if !g.json() { // in JSON the last status event has all of it
		told := st
		if out.written == "" && out.fetch == "" && !out.owed { // the output was written on the submitting host
			told = placed(ctx, client, st)
		}
		tell := progress.Summary
		if out.shown {
			tell = progress.SummaryOfShown
		}
		tell(g.beside(out), told)
		g.tellWatched(out, told, watched)
	}
	if st.Output == "" && (out.written != "" || out.owed && st.OutputError != "") {
		return st, notWritten(st, out.written)
	}
	return st, submit.Outcome(st)
}

// notWritten is the error for a job that ended without its output where it was wanted. path is empty if this command
// does not know it.
func notWritten(st api.JobStatus, path string) error {
	if path != "" {
		path = fmt.Sprintf(" to %q", path)
	}
	return &api.Error{
		Message: fmt.Sprintf("the job is %s, but its output could not be written%s: %s", st.State, path,
			cmp.Or(st.OutputError, "it is not there yet")),
		Hint: fmt.Sprintf("the daemon tries again while it keeps the result; `dtpnode get %s -o FILE` fetches it at once",
			progress.Short(st.ID)),
	}
}

// printer shows a job; package progress has three implementations.
type printer interface {
	submit.Printer
	Close()
}

func newPrinter(g *globals) printer {
	switch {
	case g.json():
		return progress.NewJSON(g.stdout)
	case g.redraws():
		return progress.NewTerminal(g.stderr)
	}
	return progress.NewPlain(g.stderr)
}

// redraws reports whether standard error is a terminal on which lines can be redrawn. Continuous integration often
// provides terminals that cannot do so.
func (g *globals) redraws() bool {
	kind := os.Getenv("TERM")
	return kind != "" && kind != "dumb" && term.IsTerminal(int(g.stderr.Fd()))
}

// printLine returns the function that prints lines of Begin and Terminate: to standard output, or above the bar if that
// is shown.
func (g *globals) printLine(p printer, out output) func(string) {
	print := g.printsLine(p, out)
	if out.takes == nil {
		return print
	}
	return func(text string) { // of a job that has ended before it was followed, all that it printed comes at once
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); !out.takes(line) {
				print(line)
			}
		}
	}
}

func (g *globals) printsLine(p printer, out output) func(string) {
	if g.json() || out.fetch == toStdout || term.IsTerminal(int(g.stdout.Fd())) && g.redraws() {
		return func(line string) { fmt.Fprintln(p, line) }
	}
	return func(line string) { fmt.Fprintln(g.stdout, line) }
}
