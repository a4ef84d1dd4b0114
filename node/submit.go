package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Bounds of what a job may ship.
const (
	maxSourceFile = 16 << 20
	maxSources    = 64 << 20
	maxLibrary    = 64 << 20
)

// submit accepts a job to lead. What it lacks comes to light in lead, and in the job's status.
func (d *Daemon) submit(req api.JobRequest) (*job, error) {
	return d.accept(req, len(req.Files), d.lead)
}

// accept makes a job known that this node's user wants, and has it led.
func (d *Daemon) accept(req api.JobRequest, files int, lead func(j *job, nonce []byte) error) (*job, error) {
	if out := d.expelled(); out != nil {
		return nil, &api.Error{Status: 403, Message: "could not submit: " + out.String(), Hint: api.ExpelledHint}
	}
	if !d.net.HasRight(d.net.ID(), p2p.Submitter) {
		return nil, &api.Error{Status: 403, Message: "could not submit: this node has no right to submit jobs in its cluster",
			Hint: "ask for an invitation with the right: dtpnode invite --rights submitter,worker"}
	}
	if err := checkLimits(req); err != nil {
		return nil, err
	}
	var salt tasks.NonceSalt
	if _, err := rand.Read(salt[:]); err != nil {
		return nil, fmt.Errorf("could not name the job: %w", err)
	}
	nonce := d.named(tasks.NonceOf(d.net.ID(), salt))
	j := newJob(d.ctx, hex.EncodeToString(nonce))
	j.home, j.led, j.mine, j.req = d.net.ID(), true, true, req
	j.status = api.JobStatus{ID: j.name, Selector: filepath.Base(req.Selector), Home: j.home, HomeName: d.net.Name(),
		State: api.Preparing, Phase: "starting", Submitted: time.Now(), Files: files, Output: req.Output}
	d.mu.Lock()
	d.byName[j.name] = j
	d.mu.Unlock()
	d.saveStatus(j)
	d.spawn(func() {
		if err := lead(j, nonce); err != nil {
			d.failPreparing(j, err)
		}
	})
	return j, nil
}

// lead plans, compiles, runs Begin and hands the complete description to the engine.
func (d *Daemon) lead(j *job, nonce []byte) error {
	ex, err := d.executorFor(j)
	if err != nil {
		return withHint(err, "this node needs a ROOT to lead a job: see dtpnode doctor")
	}
	src, err := readSources(j.req)
	if err != nil {
		return err
	}
	var read readFiles
	var lib rootexec.Library
	g, ctx := errgroup.WithContext(j.ctx)
	g.Go(func() (err error) {
		read, err = d.planFiles(ctx, ex, j.req, func(text string) { j.phase(api.Preparing, text) })
		j.note(read.notes...)
		return err
	})
	g.Go(func() error {
		d.noteGlobs(ctx, j)
		return nil
	})
	g.Go(func() (err error) {
		lib, err = d.library(ctx, ex, j, src)
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	desc, err := d.compose(j, nonce, src, lib, read.files, read.bad)
	if err != nil {
		return err
	}
	j.phase(api.Preparing, "running Begin")
	if err := d.begin(j, desc); err != nil {
		return err
	}
	if err := d.probe(j, desc, lib); err != nil {
		return err
	}
	return d.publish(j, desc, nil)
}

// library compiles the sources and loads the selector.
func (d *Daemon) library(ctx context.Context, ex Executor, j *job, src rootexec.Source) (rootexec.Library, error) {
	lib, ok := ex.Compiled(src)
	if !ok {
		done := j.lasting("compiling " + path.Base(src.Main) + " on " + d.net.Name())
		var err error
		lib, err = ex.Compile(ctx, src)
		if done(); err != nil {
			return lib, err
		}
		j.phase(api.Preparing, "loading "+path.Base(src.Main))
	}
	sel, err := ex.Load(ctx, lib, className(j.req))
	if err != nil {
		return lib, err
	}
	j.mu.Lock()
	j.sel, j.lib, j.codeKey = sel, lib, lib.Key
	j.mu.Unlock()
	return lib, nil
}

// className is the class the user named, else the one that ROOT would look for.
func className(req api.JobRequest) string {
	if req.Class != "" {
		return req.Class
	}
	base := filepath.Base(req.Selector)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// readSources reads the selector and what goes with it. Names are relative to the selector's folder, or to
// one above it, so far up that "../common/cuts.h" is found where the selector looks for it.
func readSources(req api.JobRequest) (rootexec.Source, error) {
	dir := filepath.Dir(req.Selector)
	above := ""
	names := make([]string, len(req.Includes))
	for i, p := range req.Includes {
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return rootexec.Source{}, fmt.Errorf("could not ship %q: %w", p, err)
		}
		names[i] = filepath.ToSlash(rel)
		if up := aboveFor(dir, names[i]); len(up) > len(above) {
			above = up
		}
	}
	r := sourceReader{files: map[string][]byte{}}
	main := path.Join(above, filepath.Base(req.Selector))
	err := r.read(main, req.Selector)
	for i, p := range req.Includes {
		err = errors.Join(err, r.read(path.Join(above, names[i]), p))
	}
	// What --include names may be included by its base name alone.
	for i, p := range req.Includes {
		if base := path.Join(above, path.Base(names[i])); !filepath.IsLocal(names[i]) && r.files[base] == nil {
			err = errors.Join(err, r.read(base, p))
		}
	}
	for _, p := range req.Data {
		err = errors.Join(err, r.read(path.Join(rootexec.DataDir, dataName(req.Dir, p)), p))
	}
	return rootexec.Source{Main: main, Files: r.files, Options: req.Options}, err
}

// aboveFor is the end of the path dir that name, relative to dir, climbs with "../".
func aboveFor(dir, name string) string {
	above := ""
	for ; strings.HasPrefix(name, "../"); name = name[len("../"):] {
		above, dir = path.Join(filepath.Base(dir), above), filepath.Dir(dir)
	}
	return above
}

// dataName is the name of a data file in the working folder of a child: the one it has in the user's.
func dataName(dir, p string) string {
	if rel, err := filepath.Rel(dir, p); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return filepath.Base(p)
}

type sourceReader struct {
	files map[string][]byte
	total int
}

func (r *sourceReader) read(name, file string) error {
	if _, taken := r.files[name]; taken {
		return fmt.Errorf("could not ship %q: another file goes by the name %q", file, name)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("could not read source %q: %w", file, err)
	}
	if info.Size() > maxSourceFile {
		return fmt.Errorf("could not ship %q: it has %d bytes, the limit is %d", file, info.Size(), maxSourceFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("could not read source %q: %w", file, err)
	}
	if r.total += len(data); r.total > maxSources {
		return fmt.Errorf("could not ship %q: all files together exceed %d bytes", file, maxSources)
	}
	r.files[name] = data
	return nil
}

// packedSource is a Source on its way to other nodes: a blob.
type packedSource struct {
	Main    string       `msgpack:"m"`
	Files   []packedFile `msgpack:"f"` // sorted by name
	Options string       `msgpack:"o,omitempty"`
}

type packedFile struct {
	Name string `msgpack:"n"`
	Data []byte `msgpack:"d"`
}

func packSource(src rootexec.Source) ([]byte, error) {
	p := packedSource{Main: src.Main, Options: src.Options}
	for name, data := range src.Files {
		p.Files = append(p.Files, packedFile{name, data})
	}
	slices.SortFunc(p.Files, func(a, b packedFile) int { return strings.Compare(a.Name, b.Name) })
	return wire.Marshal(&p)
}

func unpackSource(b []byte) (rootexec.Source, error) {
	var p packedSource
	if err := wire.Unmarshal(b, &p); err != nil {
		return rootexec.Source{}, fmt.Errorf("could not read packed sources: %w", err)
	}
	src := rootexec.Source{Main: p.Main, Files: map[string][]byte{}, Options: p.Options}
	for _, f := range p.Files {
		src.Files[f.Name] = f.Data
	}
	return src, nil
}

// compose makes the job's description, all but what Begin adds.
func (d *Daemon) compose(j *job, nonce []byte, src rootexec.Source, lib rootexec.Library, files []tasks.File, bad []tasks.Lost) (*tasks.Job, error) {
	data, err := tasks.NewDataset(files)
	if err != nil {
		return nil, err
	}
	want, err := wanted(j.req, data)
	if err != nil {
		return nil, err
	}
	packed, err := packSource(src)
	if err != nil {
		return nil, err
	}
	srcHash, err := d.ship(j, packed)
	if err != nil {
		return nil, err
	}
	libHash, err := d.packLibrary(j, lib)
	if err != nil {
		return nil, err
	}
	return &tasks.Job{
		Protocol: tasks.Protocol, Submitter: d.net.ID(), Nonce: nonce,
		Code: tasks.Code{Source: srcHash, Main: src.Main, Class: className(j.req), Library: libHash, Platform: lib.Platform},
		Data: *data, Want: want, Option: j.req.Option, SeedLocal: j.req.SeedLocal, Bad: bad, Ask: askOf(j.req),
		Limits: limitsOf(j.req),
	}, nil
}

// wanted are the units that a request is for.
func wanted(req api.JobRequest, data *tasks.Dataset) (tasks.Range, error) {
	space := data.Space()
	if req.First > space.Last {
		return tasks.Range{}, fmt.Errorf("could not begin at entry %d: the files have %d entries", req.First, space.Last)
	}
	want := tasks.R(req.First, space.Last)
	if req.N >= 0 && req.N < want.Len() {
		want.Last = want.First + req.N
	}
	return want, nil
}

// checkLimits refuses limits that no child can work with, before anything is done for the job.
func checkLimits(req api.JobRequest) error {
	if err := limitsOf(req).Check(); err != nil {
		return &api.Error{Status: http.StatusBadRequest, Message: "could not submit: " + err.Error(), Err: err}
	}
	return nil
}

// limitsOf are the limits that a job's user has set. A time that is too long for its type is as long as that can be.
func limitsOf(req api.JobRequest) tasks.Limits {
	seconds := func(s float64) time.Duration {
		if s >= math.MaxInt64/float64(time.Second) {
			return math.MaxInt64
		}
		return time.Duration(math.Round(s * float64(time.Second)))
	}
	return tasks.Limits{Memory: req.Memory, Stall: seconds(req.Stall), Open: seconds(req.Open), EntryCPU: seconds(req.EntryCPU),
		Processes: req.Processes, FileSize: req.FileSize, Scratch: req.Scratch, AllowMissingBranches: req.AllowMissingBranches}
}

// ship has bytes here that other nodes fetch to take part in a job, as long as the job lasts.
func (d *Daemon) ship(j *job, data []byte) (hash string, err error) {
	if hash, err = d.blobs.Ship(data); err == nil {
		j.holds(hash, func() { d.blobs.Unship(hash) })
	}
	return hash, err
}

// packLibrary makes a library ready for others, once while there are jobs with it.
func (d *Daemon) packLibrary(j *job, lib rootexec.Library) (string, error) {
	d.mu.Lock()
	hash, ok := d.packed[lib.Key]
	d.mu.Unlock()
	if ok && d.blobs.ShipAgain(hash) {
		j.holds(hash, func() { d.blobs.Unship(hash) })
		return hash, nil
	}
	b, err := lib.Pack()
	if err != nil {
		return "", fmt.Errorf("could not pack library %q: %w", lib.So, err)
	}
	if hash, err = d.ship(j, b); err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.packed[lib.Key] = hash
	return hash, nil
}

// begin runs the submitting side's Begin, whose input list goes to every generation.
func (d *Daemon) begin(j *job, desc *tasks.Job) (err error) {
	desc.Input, err = d.startClient(j)
	return err
}

// startClient starts the submitting side's process, in place of an earlier one, and runs Begin in it.
func (d *Daemon) startClient(j *job) (input []byte, err error) {
	sel, _, err := d.selector(j.ctx, j)
	if err != nil {
		return nil, err
	}
	dir, env := d.surroundings(j)
	if dir == "" {
		dir = d.elsewhere(j)
	}
	client, err := sel.StartClient(j.ctx, rootexec.ClientSpec{Option: j.req.Option, Params: j.req.Params, Dir: dir, Env: env}, j.clientLine)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	old, over := j.client, j.resources
	if !over {
		j.client = client
	}
	j.mu.Unlock()
	if over {
		old = client
	}
	if old != nil {
		old.Close()
	}
	if over {
		return nil, errOver
	}
	return client.Begin(j.ctx)
}

// probe runs the first entry in a process that is thrown away: what fails everywhere fails here, by
// name, before any worker starts. A selector that passed with the same file is not probed again.
func (d *Daemon) probe(j *job, desc *tasks.Job, lib rootexec.Library) error {
	if desc.Want.Empty() {
		return nil
	}
	f, key, local, ok := firstSeen(desc)
	if !ok {
		return nil // no file is to be seen from here: the first node that opens one will tell
	}
	mark := fmt.Sprintf("%s %s %+v %q %v", lib.Key, desc.Code.Class, key, desc.Option, desc.Limits.AllowMissingBranches)
	if local && d.plans.wasProbed(mark) {
		return nil
	}
	j.phase(api.Preparing, "trying the first entry")
	sel, _, err := d.selector(j.ctx, j)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(d.cfg.ScratchDir, "probe-")
	if err != nil {
		return fmt.Errorf("could not make a folder for trying the first entry: %w", err)
	}
	defer os.RemoveAll(dir)
	err = sel.Probe(j.ctx, d.genSpec(desc, 1, dir), f.URL, f.Tree)
	var fail *exec.Failure
	if errors.As(err, &fail) && (!everywhere(fail) || hostsOwn(fail) && len(d.upPeers()) > 0) {
		return nil // this entry or file is bad, or this host; the job will tell
	}
	if err == nil {
		d.plans.setProbed(mark)
	}
	return err
}

// firstSeen is the first file of those wanted that this host sees, as far as a look tells.
func firstSeen(desc *tasks.Job) (f tasks.File, key fileKey, local, ok bool) {
	i, _ := desc.Data.Locate(desc.Want.First)
	for ; i < len(desc.Data.Files) && desc.Data.Units(i).First < desc.Want.Last; i++ {
		f = desc.Data.Files[i]
		if f.Entries == 0 {
			continue
		}
		var err error
		if key, local, err = keyOf(f.URL, f.Tree); err == nil {
			return f, key, local, true
		}
	}
	return f, key, local, false
}

// everywhere reports whether a failure of the first entry is one of all entries.
func everywhere(f *exec.Failure) bool {
	switch f.Kind {
	case exec.KindSchema, exec.KindCode:
		return true
	}
	return f.Op == slaveBegin || f.Op == "Init" || f.Op == "Notify"
}

// hostsOwn reports whether a failure may be of this host alone: the selector aborts before any entry.
func hostsOwn(f *exec.Failure) bool { return f.Kind == exec.KindAbort && f.Op == slaveBegin }

// publish signs the description, keeps it for others and gives it to the engine, with what the job begins with.
func (d *Daemon) publish(j *job, desc *tasks.Job, base []baseBlob) error {
	begun := time.Now()
	submitted, _ := j.ledSince()
	desc.Ask.Submitted, desc.Ask.Begun = submitted.Round(0), begun.Round(0)
	body, err := wire.Marshal(desc)
	if err != nil {
		return err
	}
	if len(body) > store.MaxDescription {
		return fmt.Errorf("could not submit: the description of %d files has %d bytes, the limit is %d", len(desc.Data.Files), len(body), store.MaxDescription)
	}
	id := tasks.NameOf(body)
	if _, err := d.blobs.Put(d.blobs.JobDir(id), body); err != nil { // goes with the job
		return err
	}
	parts, err := d.placeBase(id, base)
	if err != nil {
		return err
	}
	d.noteHeavy(j, weightOf(body))
	j.mu.Lock()
	j.id, j.desc, j.running = id, desc, begun
	j.status.Units = desc.Want.Len()
	key := j.codeKey
	j.mu.Unlock()
	d.mu.Lock()
	d.jobs[id] = j
	rate := d.rates[key]
	d.mu.Unlock()
	if j.ctx.Err() != nil { // cancelled while it had no name for the engine
		d.mu.Lock()
		delete(d.jobs, id)
		d.mu.Unlock()
		d.blobs.ForgetFolder(d.blobs.JobDir(id))
		_ = os.RemoveAll(d.blobs.JobDir(id))
		return j.ctx.Err()
	}
	j.phase(api.Running, "")
	d.saveStatus(j)
	d.hand(j, engine.Submit{ID: id, Job: desc, Rate: rate, Base: parts})
	return nil
}

// hand gives a job to the engine. What a cancel has posted before that had no effect, and is posted again.
func (d *Daemon) hand(j *job, s engine.Submit) {
	d.post(s)
	j.mu.Lock()
	end := j.end
	j.mu.Unlock()
	if j.ctx.Err() != nil {
		d.post(engine.CancelJob{ID: s.ID})
	}
	if end != nil {
		d.post(*end)
	}
}

// withHint adds advice to an error.
func withHint(err error, hint string) error {
	var e *api.Error
	if errors.As(err, &e) {
		return err
	}
	return &api.Error{Message: err.Error(), Hint: hint, Err: err}
}
