package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/picture"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/draw"
)

// drawOptions are what is drawn, and of what.
type drawOptions struct {
	run         runOptions // files, node and output
	expressions []string
	option      string
	picture     string
	estimate    int64
	booked      string
	session     bool
	counts      bool
	points      bool
	bins        []string
	drawings    []drawing
}

// drawing is an expression with its selection.
type drawing struct{ expression, selection, limits string }

const drawLong = `draw fills histograms as TTree::Draw does, on all nodes of the cluster:

  EXPRESSION  x, y:x or z:y:x of branches and functions of them, as TTree::Draw takes it: arrays are looped over, x[0]
              is one element, aliases and friends of the tree are known. >>h(100,0,200) names the histogram and its
              bins; >>+h adds to one of an earlier expression, or of the file of -o; >>list alone, with a selection,
              makes a TEntryList. Text is drawn by its labels, on any axis, in the order in which they come. Entry$
              and Entries$ are of all files, whatever --first, --entries and lists leave out, LocalEntry$ and
              LocalEntries$ of the one read
  SELECTION   a cut, whose value is the weight
  OPTION      prof, profs, profi, profg: a profile; e: with the sum of squares of weights; others are for the picture

-e draws a further expression in the same pass over the data; it has the SELECTION too, unless it has one of its own
after a semicolon: -e 'Jet_pt>>j(50,0,500);nJet>2'.

Bins and contents are those of TTree::Draw with the option goff. Where no limits are given they are found from all
values: up to a million are kept for that, as in ROOT, and if there are more a second pass over the data fills them
(ROOT takes limits from the first million and doubles them as needed). So are limits of numbers beside text: there each
text has a bin of its own, where TTree::Draw without limits puts neighbours into one. An expression that the tree does
not have is refused before the job starts. One histogram without a name is called htemp.

With --booked FILE a histogram that is in FILE under the name behind >>, without bins, gives its class, bins and axes,
as TTree::Draw fills a histogram that there is already; >>+h adds to what it holds. One of another dimension is made
anew, with a warning. --dataset, --entry-list, --friend and --alias are those of run, and so are --lib, --source,
--include and --package for branches of classes of one's own.

On a terminal the histograms are drawn with characters, and --picture saves them as ROOT draws them, in the format that
the file's name ends in: png, pdf, svg, C. They are in the file of -o; it is written anew.

Exit status: 0 done; 1 error; 2 wrong usage; 3 partial result (what is missing is listed); 130 interrupted.`

func newDraw(g *globals) *cobra.Command {
	var opts drawOptions
	opts.run.world.add(pflag.NewFlagSet("", pflag.ContinueOnError)) // none of it is for draw
	o := &opts.run
	cmd := &cobra.Command{
		Use:   "draw EXPRESSION [SELECTION [OPTION]] --tree TREE --files FILES [-o OUT]",
		Short: "Draw an expression of a tree's branches, as TTree::Draw",
		Long:  drawLong,
		Example: `  dtpnode draw --tree Events --files 'data/*.root' 'Muon_pt[0]>>h(100,0,200)' 'nMuon>1' -o h.root
  dtpnode draw --tree Events --files 'data/*.root' 'MET_pt:nJet' '' prof --picture met.png
  dtpnode draw --tree Events --files 'data/*.root' -e 'Muon_pt>>pt' -e 'Muon_eta>>eta(50,-3,3)' -o h.root`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opts.parse(args); err != nil {
				return err
			}
			if err := checkNotZero(cmd.Flags(), "stall", "open-timeout", "max-processes", "slots"); err != nil {
				return err
			}
			if err := opts.run.inDatasets(cmd.Context(), g); err != nil {
				return err
			}
			return runDraw(cmd.Context(), g, opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.tree, "tree", "", "path of the tree in the files")
	f.StringArrayVar(&o.files, "files", nil, "file, glob, URL or @list, as of run; repeatable")
	f.BoolVar(&o.skip, "skip-missing", false, "draw the other files where one is nowhere, and name it as missing")
	f.BoolVar(&o.duplicates, "allow-duplicates", false, "count a file that is named twice twice")
	f.Int64VarP(&o.n, "entries", "n", -1, "number of entries, over all files; -1 for all")
	f.Int64Var(&o.first, "first", 0, "first entry, counted over all files")
	f.StringArrayVarP(&opts.expressions, "expression", "e", nil,
		"further `expression`, or EXPRESSION;SELECTION; repeatable")
	o.readFlags(f)
	o.code.add(f)
	f.BoolVar(&o.missingOK, "allow-missing-branches", false, "let files lack branches that others have")
	f.StringVar(&opts.booked, "booked", "",
		"ROOT `file` with histograms: >>h without bins fills one of its name as it is booked there")
	f.BoolVar(&opts.session, "session", false, "keep the number of selected rows in the result, for a PROOF session")
	f.BoolVar(&opts.counts, "count", false, "count the entries that SELECTION leaves, for a PROOF session")
	f.BoolVar(&opts.points, "points", false, "add a graph of the rows of two columns, for a PROOF session")
	f.StringArrayVar(&opts.bins, "bins", nil,
		"`axis=number` of bins, where none is given, e.g. 2D.x=50, for a PROOF session")
	// The last two are for selectors.
	for _, name := range []string{"session", "count", "points", "bins", "class", "allow-missing-symbols"} {
		cobra.CheckErr(f.MarkHidden(name))
	}
	f.StringVar(&opts.picture, "picture", "", "file for a picture, as ROOT draws it: png, pdf, svg, C")
	f.Int64Var(&opts.estimate, "estimate", draw.Most,
		"so many values are kept where no limits are given, as by TTree::SetEstimate")
	f.StringVarP(&o.out, "out", "o", "",
		"ROOT file for the histograms (default: they are shown, and kept where a daemon runs)")
	f.StringVar(&o.memory, "memory", "", "memory a child may use, e.g. 2G (default the node's)")
	f.DurationVar(&o.stall, "stall", 0, "time that one entry may take, e.g. 15m (default 5m)")
	o.limits.add(f)
	f.StringVar(&o.root, "root", "", "ROOT's folder, where draw starts a node of its own (default that of the settings)")
	f.StringVar(&o.version, "root-version", "", "`version` of ROOT to run with, where nodes have several")
	f.BoolVar(&o.install, "install-root", false,
		"install ROOT into the cache if none is found, where draw starts a node of its own")
	f.IntVar(&o.slots, "slots", 0, "slots, where draw starts a node of its own")
	return cmd
}

// parse reads what is to be drawn.
func (o *drawOptions) parse(args []string) error {
	if len(args) > 3 {
		return usagef("draw wants at most EXPRESSION, SELECTION and OPTION, in quotes: what is %q?", args[3])
	}
	args = append(args, "", "", "")
	selection := strings.TrimSpace(args[1])
	o.option, o.drawings = args[2], nil
	if args[0] != "" || o.counts {
		o.drawings = append(o.drawings, drawing{expression: args[0], selection: selection})
	}
	for _, text := range o.expressions {
		d := drawing{expression: text, selection: selection}
		if expression, own, ok := inputs.CutSelection(text); ok {
			d.expression, d.selection = expression, strings.TrimSpace(own)
		}
		if _, more, ok := inputs.CutSelection(d.selection); ok {
			return usagef("could not draw %q: what is %q behind the second semicolon? -e takes EXPRESSION;SELECTION, and "+
				"the option is the third argument of draw", text, strings.TrimSpace(more))
		}
		o.drawings = append(o.drawings, d)
	}
	switch {
	case len(o.drawings) == 0:
		return usagef("draw wants an EXPRESSION, such as 'Muon_pt[0]>>h(100,0,200)'")
	case len(o.run.files)+len(o.run.datasets) == 0:
		return usagef("could not draw: no --files given, nor --dataset")
	case o.estimate < 0:
		return usagef("could not use --estimate %d: want 0 or more", o.estimate)
	case o.run.out == toStdout:
		return usagef("could not use -o - with draw: name a file")
	}
	for _, d := range o.drawings {
		if strings.TrimSpace(d.expression) == "" && !o.counts {
			return usagef("could not draw an empty expression")
		}
		if err := inputs.CheckDrawing(d.expression, o.option); err != nil {
			return err
		}
	}
	if o.session || !strings.Contains(strings.ToLower(o.option), "same") {
		return nil
	}
	return usagef("could not use the option same: there is no picture that it could be added to; -e draws several at once")
}

// parameters tells the selector what to draw. Each value begins with =, so that none is taken for a number.
func (o *drawOptions) parameters(out, picture string) (params []string) {
	add := func(name, value string) { params = append(params, name+"=="+value) }
	add("draw.count", strconv.Itoa(len(o.drawings)))
	add("draw.option", o.option)
	add("draw.out", out)
	add("draw.picture", picture)
	add("draw.estimate", strconv.FormatInt(o.estimate, 10))
	add("draw.booked", o.booked)
	if o.counts {
		add("draw.counts", "1")
	}
	if o.points {
		add("draw.points", "1")
	}
	if o.session {
		add("draw.session", "1")
	}
	for _, b := range o.bins {
		name, n, _ := strings.Cut(b, "=")
		add("draw.bins."+name, n)
	}
	for i, d := range o.drawings {
		prefix := fmt.Sprintf("draw.%d.", i)
		add(prefix+"expression", d.expression)
		add(prefix+"selection", d.selection)
		add(prefix+"limits", d.limits)
	}
	return params
}

// runDraw runs the drawings as a job, and a second one if limits were to be found first.
func runDraw(ctx context.Context, g *globals, o drawOptions) error {
	paths, err := g.paths()
	if err != nil {
		return err
	}
	selector, err := draw.Selector(paths.Cache)
	if err != nil {
		return err
	}
	asked := ""
	if asked, err = submit.OutputPath(o.run.out); err != nil {
		return err
	}
	if end := strings.TrimPrefix(filepath.Ext(o.picture), "."); o.picture != "" &&
		!slices.Contains(rootexec.CanvasFormats, end) {
		return usagef("could not use --picture %q: its name must end in one of %s", o.picture,
			strings.Join(rootexec.CanvasFormats, ", "))
	}
	if o.booked != "" {
		if o.booked, err = filepath.Abs(o.booked); err == nil {
			_, err = os.Stat(o.booked)
		}
		if err != nil {
			return fmt.Errorf("could not read the histograms of --booked: %w", err)
		}
	}
	if o.picture, err = submit.OutputPath(o.picture); err != nil {
		return err
	}
	if o.picture != "" && samePath(o.picture, asked) {
		return usagef("could not use %q for both -o and --picture: name two files", o.run.out)
	}
	if o.picture != "" && o.booked != "" && samePath(o.picture, o.booked) {
		return usagef("could not use %q for both --booked and --picture: name two files", o.picture)
	}
	o.run.params = o.parameters(asked, o.picture)
	o.run.spares = []string{o.picture}
	req, err := o.run.request(g, selector+"+")
	if err != nil {
		return err
	}
	early, interrupts, stop := untilFollowed(ctx)
	defer stop()
	wants := o.run
	wants.out = cmp.Or(asked, toStdout) // the result is at least shown
	client, own, err := daemonFor(early, g, wants, req.Files)
	if err != nil {
		return err
	}
	d := drawer{g: g, o: &o, client: client, own: own, selector: selector + "+", asked: asked}
	return d.passes(ctx, early, interrupts)
}

// drawer runs passes over the data.
type drawer struct {
	g        *globals
	o        *drawOptions
	client   *api.Client
	own      *local.Daemon // nil if a daemon runs
	selector string
	asked    string // the file of -o, empty if there is none

	pictures []api.Picture
	begun    string // what was told of the next picture, which takes several lines
	again    bool   // limits were found, and the values are to be filled
}

// passes runs one, and another if the first has found that there are more values than can be kept.
func (d *drawer) passes(ctx, early context.Context, interrupts func() <-chan os.Signal) (err error) {
	var st api.JobStatus
	for range 2 {
		d.again, d.pictures = false, nil
		if st, err = d.pass(ctx, early, interrupts); err != nil || !d.again {
			break
		}
		early = ctx // which ended when the first job was followed: interrupts are answered by whoever follows
		if !d.g.json() {
			fmt.Fprintf(d.g.stderr, "there are more than %d values without limits, or numbers without limits beside text: "+
				"the limits are found, and the values filled in a second pass\n", d.o.estimate)
		}
	}
	if err == nil && !d.g.json() {
		width := 80
		if w, _, sizeErr := term.GetSize(int(d.g.stdout.Fd())); sizeErr == nil && w > 0 {
			width = w
		}
		for _, p := range d.pictures {
			fmt.Fprintln(d.g.stdout, strings.Join(picture.Draw(p, width), "\n"))
		}
	}
	if d.own != nil {
		return closeOwn(d.g, d.own, st, err)
	}
	return err
}

func (d *drawer) pass(
	ctx, early context.Context, interrupts func() <-chan os.Signal,
) (st api.JobStatus, err error) {
	d.o.run.params = d.o.parameters(d.asked, d.o.picture)
	d.o.run.option = strings.Join(d.o.run.params, "\n") // other drawings are other code, whose first entry is tried
	req, err := d.o.run.request(d.g, d.selector)
	if err != nil {
		return st, err
	}
	req.Title = "draw " + d.o.drawings[0].expression
	if d.o.counts {
		req.Title = "count " + d.o.drawings[0].selection
	}
	st, err = submit.Submitted(early, func(ctx context.Context) (api.JobStatus, error) {
		return d.client.Submit(ctx, req)
	})
	if err != nil {
		return st, err
	}
	id, out := st.ID, output{written: req.Output, takes: d.takes, shown: req.Output == "" && d.own != nil}
	if d.own != nil {
		d.own.Note(st)
		out.noted = d.own.Note
	}
	st, err = follow(ctx, d.g, d.client, id, out, interrupts(), d.own == nil)
	st.ID = id
	return st, err
}

// takes reads what the selector tells dtpnode in its output, and reports whether the line was for that.
func (d *drawer) takes(line string) bool {
	rest, ours := strings.CutPrefix(line, "dtpnode-draw: ")
	if !ours {
		return false
	}
	word, rest, _ := strings.Cut(rest, " ")
	switch word {
	case "part":
		d.begun += rest
	case "picture":
		var p api.Picture
		if json.Unmarshal([]byte(d.begun+rest), &p) == nil {
			d.pictures = append(d.pictures, p)
		}
		d.begun = ""
	case "limits":
		number, limits, _ := strings.Cut(rest, " ")
		if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < len(d.o.drawings) {
			d.o.drawings[i].limits, d.again = strings.TrimSpace(limits), true
		}
	}
	return true
}
