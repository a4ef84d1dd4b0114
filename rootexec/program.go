package rootexec

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// The blobs of a job. The library spares hosts of the same platform the compiler.
const (
	sourcesBlob = "sources"
	libraryBlob = "library"
	inputBlob   = tasks.InputShip // the objects of files that the user gives, if there are any
	// librariesBlob has the user's own libraries.
	librariesBlob = tasks.LibrariesShip
)

// program is a loaded selector with what one job wants of it beside its class. It is an exec.Program.
type program struct {
	*Selector
	work   work
	key    string
	chosen string // path of the job's selection on this host, empty if it has none
	given  givenBlob
	in     inputs
}

func newProgram(s *Selector, lib Library, w work, given givenBlob) *program {
	key := fmt.Sprintf("%s %s %q %v", lib.Key, w.Class, w.Option, w.Lax)
	if w.Whole {
		key += " whole"
	}
	if len(w.Env) > 0 {
		key += fmt.Sprintf(" %q", w.Env)
	}
	return &program{Selector: s, work: w, key: key, given: given}
}

// choose puts the selection of the program's job where its generations find it. Programs with other selections have
// other keys.
func (p *program) choose(scratch string, selection []byte) error {
	if len(selection) == 0 {
		return nil
	}
	f, err := os.CreateTemp(scratch, "selection-")
	if err == nil {
		_, err = f.Write(selection)
		err = errors.Join(err, f.Close())
		p.chosen = f.Name()
	}
	if err != nil {
		return &exec.Failure{
			Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: "could not write the selection: " + err.Error(),
		}
	}
	p.key += fmt.Sprintf(" %x", sha256.Sum256(selection))
	return nil
}

// Release gives the program back, and removes its selection and what it has of its input.
func (p *program) Release() {
	p.in.release()
	p.given.remove()
	if p.chosen != "" {
		_ = os.Remove(p.chosen)
	}
	p.Selector.Release()
}

// Info is the ROOT that runs.
func (e *Executor) Info() exec.Info { return infoOf(e.cfg.Root) }

// Complaint tells the errors and warnings that ROOT prints by how they begin.
func (e *Executor) Complaint(line string) bool {
	return strings.HasPrefix(line, "Error in <") || strings.HasPrefix(line, "Warning in <")
}

// ready is code that was made ready to run.
type ready struct {
	src   Source // as it runs: interpreted or not
	lib   Library
	sel   *Selector
	notes []string // for the user
}

// Describe compiles the selector that the user named, or that of an earlier job, and loads it.
func (e *Executor) Describe(ctx context.Context, r exec.Request) (out exec.Description, err error) {
	spec, err := ParseSpec(r.Spec)
	if err != nil {
		return out, err
	}
	src, w, err := e.wanted(ctx, spec, r)
	if err != nil {
		return out, err
	}
	code, err := e.madeReady(ctx, src, w, spec.Interpret, r.Tell)
	if err != nil {
		return out, err
	}
	w.Platform, w.Main = code.lib.Platform, code.src.Main
	text, err := wire.Marshal(&w)
	if err != nil {
		code.sel.Release()
		return out, err
	}
	given, err := e.collected(ctx, code.sel, spec, r)
	if err != nil {
		code.sel.Release()
		return out, err
	}
	p := newProgram(code.sel, code.lib, w, given)
	if err := p.choose(e.cfg.Scratch, r.Selection); err != nil {
		p.Release()
		return out, err
	}
	if out.Blobs, err = code.blobs(); err != nil {
		p.Release()
		return out, err
	}
	out.Program, out.Whole = p, whyWhole(spec, w, code.src)
	out.Work = tasks.Work{Kind: Kind, Needs: code.src.needs(e.cfg.Root), Spec: text}
	out.Params, out.Items = w.Params, spec.Cycles
	out.Notes = slices.Concat(code.notes, unseeded(code.src, w), aboutNamed(spec))
	if given.path != "" {
		out.Blobs = append(out.Blobs, exec.Blob{Name: inputBlob, Keep: true, File: given.path})
	}
	if r.Selection != nil {
		out.Work.Needs = append(out.Work.Needs, exec.SelectionNeed)
		out.Blobs = append(out.Blobs, exec.Blob{
			Name: exec.SelectionBlob, Keep: true, Pack: func() ([]byte, error) { return r.Selection, nil },
		})
	}
	return out, nil
}

// madeReady builds, compiles and loads code. Code that does not compile is interpreted if it may be.
func (e *Executor) madeReady(
	ctx context.Context, src Source, w work, interpret bool, tell func(string),
) (out ready, err error) {
	if err := errors.Join(src.validate(), checkLibraries(src, e.cfg.Root)); err != nil {
		return out, err
	}
	if err := e.BuildPackages(ctx, src, tell); err != nil {
		return out, err
	}
	out.src = src
	out.lib, out.sel, err = e.compiledAndLoaded(ctx, src, w, tell)
	f := asFailure(err)
	if f == nil || f.Kind != exec.KindCode || !interpret || src.Main == "" {
		return out, err
	}
	out.src.Interpreted = true
	tell("interpreting " + src.title())
	if out.lib, out.sel, err = e.compiledAndLoaded(ctx, out.src, w, tell); err != nil {
		return out, notInterpreted(f, err) // the compiler's message says more
	}
	out.notes = []string{interpretedNote(src, f)}
	return out, nil
}

// blobs are the blobs from which other nodes make the code ready.
func (c ready) blobs() ([]exec.Blob, error) {
	packed, err := packSource(c.src)
	if err != nil {
		return nil, err
	}
	out := []exec.Blob{{Name: sourcesBlob, Keep: true, Pack: func() ([]byte, error) { return packed, nil }}}
	if src := c.src; len(src.Libs) > 0 {
		out = append(out, exec.Blob{
			Name: librariesBlob, Keep: true, Key: librariesKey(src), Pack: func() ([]byte, error) { return packLibraries(src) },
		})
	}
	if c.src.compiled() {
		out = append(out, exec.Blob{Name: libraryBlob, Key: c.lib.Key, Pack: c.lib.Pack})
	}
	return out, nil
}

// compiledAndLoaded compiles a source, unless that was done before, and loads its class.
func (e *Executor) compiledAndLoaded(
	ctx context.Context, src Source, w work, tell func(string),
) (lib Library, sel *Selector, err error) {
	lib, ok := e.Compiled(src)
	if !ok {
		if src.compiled() {
			tell("compiling " + src.title())
		}
		if lib, err = e.Compile(ctx, src); err != nil {
			return lib, nil, err
		}
		tell("loading " + src.title())
	}
	lib.Proof = w.Session
	sel, err = e.Load(ctx, lib, w.Class)
	return lib, sel, err
}

// notInterpreted adds to the failure to compile a source why it is not interpreted either, unless it is for want of a
// header, which the failure says.
func notInterpreted(f *exec.Failure, err error) error {
	why := asFailure(err)
	if why == nil {
		return err
	}
	if !lacksHeader(f) {
		f.Msg += "; nor is it interpreted: " + withoutPayload(why.Msg)
	}
	return f
}

// interpretedNote tells the user that a selector runs, and at what price.
func interpretedNote(src Source, why *exec.Failure) string {
	first, _, _ := strings.Cut(cmp.Or(why.Tail, why.Msg), "\n")
	return fmt.Sprintf("%s is interpreted by ROOT on every node, as it is named without + and does not compile (%s); "+
		"compiled it would run faster, and stacks of its crashes would name its functions",
		src.title(), strings.TrimSpace(first))
}

// wanted reads the sources of a request, and what it wants of them.
func (e *Executor) wanted(ctx context.Context, spec Spec, r exec.Request) (src Source, w work, err error) {
	var old Source
	if r.Earlier != nil {
		if w, err = readWork(r.Earlier.Work); err != nil {
			return src, w, err
		}
		packed, err := r.Earlier.Fetch(ctx, sourcesBlob)
		if err != nil {
			return src, w, fmt.Errorf("could not get the sources of the earlier job: %w", err)
		}
		libraries := func() ([]byte, error) { return r.Earlier.Fetch(ctx, librariesBlob) }
		if old, err = unpackSource(packed, libraries); err != nil {
			return src, w, err
		}
	} else {
		w.Option, w.Lax, w.Seed, w.Canvases = spec.Option, spec.AllowMissingBranches, spec.Seed, spec.Canvases
		w.Dir, w.Session = r.Dir, spec.Session
	}
	w.Params, w.Env = merged(w.Params, spec.Params), merged(w.Env, spec.Env)
	w.Whole = w.Whole || spec.WholeFiles
	if r.Earlier != nil && !spec.hasCode() {
		w.Casts = castsOf(old)
		return old, w, nil
	}
	if src, err = readSources(spec, r.Dir); err != nil {
		return src, w, err
	}
	for name, text := range old.Files { // data files go along where none of that name is given
		if _, given := src.Files[name]; !given && isData(name) {
			src.Files[name] = text
		}
	}
	w.Casts = castsOf(src)
	w.Main, w.Class, w.Whole = src.Main, spec.className(), w.Whole || mayAbortFiles(src) || addsPerFile(src)
	return src, w, nil
}

// Prepare loads a job's selector: from what was compiled here, or the submitter's library if it is of this platform, or
// by compiling the sources.
func (e *Executor) Prepare(ctx context.Context, o exec.Order) (exec.Program, error) {
	w, err := readWork(o.Work)
	if err != nil {
		return nil, err
	}
	packed, err := o.Fetch(ctx, sourcesBlob)
	if err != nil {
		return nil, err
	}
	src, err := unpackSource(packed, func() ([]byte, error) { return o.Fetch(ctx, librariesBlob) })
	if err != nil {
		return nil, err
	}
	if err := checkLibraries(src, e.cfg.Root); err != nil {
		return nil, err
	}
	if err := e.BuildPackages(ctx, src, nil); err != nil {
		return nil, err
	}
	lib, ok := e.Compiled(src)
	if !ok {
		if lib, err = e.libraryFrom(ctx, o, w, src); err != nil {
			return nil, err
		}
	}
	lib.Proof = w.Session
	var given givenBlob
	if _, ok := o.Work.Ship(inputBlob); ok {
		if given.path, err = o.FetchFile(ctx, inputBlob); err != nil {
			return nil, err
		}
	}
	sel, err := e.Load(ctx, lib, w.Class)
	if err != nil {
		return nil, err
	}
	p := newProgram(sel, lib, w, given)
	if _, ok := o.Work.Ship(exec.SelectionBlob); ok {
		var selection []byte
		if selection, err = o.Fetch(ctx, exec.SelectionBlob); err == nil {
			err = p.choose(e.cfg.Scratch, selection)
		}
		if err != nil {
			p.Release()
			return nil, err
		}
	}
	return p, nil
}

// libraryFrom gets a library that was not compiled here: what the submitter has signed, which is for its own jobs
// alone, or else what the sources become here.
func (e *Executor) libraryFrom(ctx context.Context, o exec.Order, w work, src Source) (Library, error) {
	ship, ok := o.Work.Ship(libraryBlob)
	if !ok || w.Platform != e.cfg.Root.Platform {
		return e.Compile(ctx, src)
	}
	from := Origin{Submitter: o.Submitter, SHA256: ship.SHA256}
	if lib, ok := e.Unpacked(src, from); ok {
		return lib, nil
	}
	b, err := o.Fetch(ctx, libraryBlob)
	if err == nil {
		var lib Library
		if lib, err = Unpack(ctx, e.cfg.Cache, LibraryKey(src, e.cfg.Root.Platform), from, b, src.Files); err == nil {
			return lib, nil
		}
	}
	e.cfg.Log.Warn("could not use the submitter's library; compiling", "submitter", o.Submitter, "reason", err)
	return e.Compile(ctx, src)
}

// Key names the library, the class and what the selector is told.
func (p *program) Key() string { return p.key }

func (p *program) told() Told {
	return Told{
		Option: p.work.Option, AllowMissingBranches: p.work.Lax, Seed: p.work.Seed, Selection: p.chosen, Dir: p.work.Dir,
		Whole: p.work.Whole, Given: p.given.path, Env: environment(p.work.Env),
	}
}

func environment(vars []tasks.Param) map[string]string {
	if len(vars) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, v := range vars {
		out[v.Name] = v.Value
	}
	return out
}

// Start begins a generation with the selector's option.
func (p *program) Start(ctx context.Context, spec exec.GenSpec, sink exec.Sink) (exec.Generation, error) {
	shared, err := p.in.shares(ctx, p.Selector, p.given.path, spec.Input)
	if err != nil {
		return nil, err
	}
	if shared == nil {
		g, err := p.Selector.Start(ctx, spec, p.told(), sink)
		if err != nil {
			return nil, err
		}
		return g, nil
	}
	g, err := p.start(ctx, shared.z, spec, p.told(), sink)
	if err != nil {
		shared.letGo()
		return nil, err
	}
	go func() { // ends with the generation, which the caller ends
		<-g.Done()
		shared.letGo()
	}()
	return g, nil
}

// Try runs the first entry of a file: SlaveBegin, Init, Notify, Process.
func (p *program) Try(ctx context.Context, spec exec.GenSpec, file, tree string) error {
	_, err := p.probed(ctx, spec, p.told(), exec.Packet{File: file, Part: tree})
	return err
}

// Foresee tries the first entry of some packets, and looks which limits histograms get from the first entries, and
// whether files may be divided.
func (p *program) Foresee(ctx context.Context, spec exec.GenSpec, ps []exec.Packet) (exec.Foreseen, error) {
	told := p.told()
	told.foresees, told.next = true, ps[1:]
	return p.probed(ctx, spec, told, ps[0])
}

// probed tries the first entry of a packet, with fInput as generations on this host have it.
func (p *program) probed(
	ctx context.Context, spec exec.GenSpec, told Told, pk exec.Packet,
) (exec.Foreseen, error) {
	shared, err := p.in.shares(ctx, p.Selector, p.given.path, spec.Input)
	if err != nil {
		return exec.Foreseen{}, err
	}
	if shared == nil {
		return p.probe(ctx, p.z, spec, told, pk)
	}
	defer shared.letGo()
	return p.probe(ctx, shared.z, spec, told, pk)
}

// Session starts the process that runs Begin and Terminate.
func (p *program) Session(ctx context.Context, spec exec.SessionSpec) (exec.Session, error) {
	env := slices.Clone(spec.Env)
	for _, v := range p.work.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	client := ClientSpec{
		Option: p.work.Option, Params: typed(p.work.Params, p.work.Casts), Given: p.given.path, Dir: spec.Dir,
		Env: env, Seed: p.work.Seed, Canvases: p.work.Canvases, Session: p.work.Session, Away: spec.Away,
		Inputs: spec.Inputs, OutputDir: spec.OutputDir, Mark: spec.Mark, Hints: spec.Hints,
		Odd: spec.Odd,
	}
	c, err := p.StartClient(ctx, client, spec.Out)
	if err != nil {
		return nil, err
	}
	return c, nil
}
