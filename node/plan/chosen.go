package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// A request may name objects in files in place of files: chains and collections of files, which Expand replaces by what
// they name, and lists of entries, which Select applies to the files that were planned. Both are read on the host of
// who submits, before anything runs.

// Expand returns a request in which the objects in files that it names as inputs are replaced by the files that they
// name. What else a chain holds, friends and aliases, goes into the request too.
func (pl *Planner) Expand(ctx context.Context, rt exec.Runtime, req api.JobRequest) (api.JobRequest, error) {
	names := func(f api.InputFile) bool { return f.Object != "" }
	if !slices.ContainsFunc(req.Files, names) {
		return req, nil
	}
	var files []api.InputFile
	for _, f := range req.Files {
		if f.Object == "" {
			files = append(files, f)
			continue
		}
		l, err := pl.list(ctx, rt, api.ObjectRef{URL: f.URL, Object: f.Object}, req)
		if err != nil {
			return req, err
		}
		if len(l.Inputs) == 0 {
			return req, refused(fmt.Sprintf("could not use %s:%s as input: it is a %s that names no files", f.URL, f.Object,
				l.Class), "--files takes a TChain, or a TFileCollection; a list of entries goes with --entry-list")
		}
		for _, in := range l.Inputs {
			files = append(files, api.InputFile{URL: absolute(in.File, req.Dir, f.URL), Part: cmp.Or(in.Part, f.Part)})
		}
		for _, fr := range l.Friends {
			ref, err := friendOf(fr, f, l, req.Dir)
			if err != nil {
				return req, err
			}
			req.Friends = append(req.Friends, ref)
		}
		for _, a := range l.Aliases {
			req.Aliases = append(req.Aliases, api.Alias(a))
		}
	}
	req.Files = files
	return req, namedTwice(req)
}

// friendOf is a friend that a chain has, as a user would have asked for it. Of a friend that is a chain itself ROOT
// keeps no files, but it may lie beside the chain, under its own name.
func friendOf(fr exec.Friend, in api.InputFile, l exec.Listing, dir string) (api.FriendRef, error) {
	ref := api.FriendRef{Alias: fr.Alias, Part: fr.Part, Key: fr.Key}
	for _, f := range fr.Files {
		ref.Files = append(ref.Files, api.InputFile{URL: absolute(f.File, dir, in.URL), Part: cmp.Or(f.Part, fr.Part)})
	}
	if len(ref.Files) == 0 {
		return ref, refused(fmt.Sprintf("could not use %s:%s as input: its friend %q has no files there, since ROOT writes "+
			"none of a friend that is a chain", in.URL, l.Object, cmp.Or(fr.Alias, fr.Part)),
			fmt.Sprintf("write that chain into the same file under the name %q, or name its files with --friend", fr.Part))
	}
	return ref, nil
}

// namedTwice is the error for files that objects name twice, unless the user means it.
func namedTwice(req api.JobRequest) error {
	if req.Duplicates {
		return nil
	}
	seen := map[api.InputFile]bool{}
	for _, f := range req.Files {
		f.Part, f.Unseen = path.Join("/", PartOf(req, f)), false
		if seen[f] {
			return refused(fmt.Sprintf("could not use input files: %q is named twice, so it would be counted twice", f.URL),
				"name each once, or say --allow-duplicates if you mean it")
		}
		seen[f] = true
	}
	return nil
}

func refused(message, hint string) error {
	return &api.Error{Status: http.StatusUnprocessableEntity, Message: message, Hint: hint}
}

// list reads an object that names inputs or entries.
func (pl *Planner) list(
	ctx context.Context, rt exec.Runtime, ref api.ObjectRef, req api.JobRequest,
) (exec.Listing, error) {
	lister, ok := rt.(exec.Lister)
	if !ok {
		return exec.Listing{}, refused(fmt.Sprintf("could not read %s: jobs of the kind %s have no such lists", ref,
			rt.Info().Kind), "")
	}
	within := cmp.Or(time.Duration(req.Open*float64(time.Second)), pl.Open)
	l, err := lister.List(ctx, ref.URL, ref.Object, within)
	var f *exec.Failure
	if errors.As(err, &f) {
		return l, refused(fmt.Sprintf("could not read %s: %s", ref, f.Msg),
			"lists and chains are read on the host that you submit from")
	}
	return l, err
}

// absolute is a name of a file in an object as a name that all hosts understand. A relative one is looked up in the
// user's working folder, as ROOT does it, then beside the file that the object is in.
func absolute(name, dir, beside string) string {
	if rest, ok := strings.CutPrefix(name, "file:"); ok {
		name = "/" + strings.TrimLeft(rest, "/")
		if !strings.HasPrefix(rest, "/") {
			name = rest
		}
	}
	if IsURL(name) || filepath.IsAbs(name) {
		return name
	}
	first, second := filepath.Join(dir, name), filepath.Join(filepath.Dir(beside), name)
	if !IsURL(beside) && realPath(first) == "" && realPath(second) != "" {
		return second
	}
	return first
}

// Select chooses what a job reads of the files that were planned, and beside them. It sets how many of a file's entries
// are run, and returns the blob that says which, nil if that is all of them and nothing beside. Friends are planned as
// the files themselves are, each within limit.
func (pl *Planner) Select(
	ctx context.Context, rt exec.Runtime, req api.JobRequest, read *Read, limit time.Duration, tell func(string),
) ([]byte, error) {
	var s exec.Selection
	for _, a := range req.Aliases {
		s.Aliases = append(s.Aliases, tasks.Param(a))
	}
	for _, ref := range req.Friends {
		fr, notes, err := pl.friend(ctx, rt, req, ref, limit, tell)
		if err != nil {
			return nil, err
		}
		s.Friends, read.Notes = append(s.Friends, fr), append(read.Notes, notes...)
	}
	if err := aligned(s.Friends, read.Bad); err != nil {
		return nil, err
	}
	read.Notes = append(read.Notes, unevenNotes(s.Friends, read.Files)...)
	if len(req.EntryLists) > 0 {
		tell("reading lists of entries")
		if err := pl.choose(ctx, rt, req, read, &s); err != nil {
			return nil, err
		}
	}
	if s.Empty() {
		return nil, nil
	}
	return s.Pack()
}

// aligned is the error for friends that go by the number of the entry, where it is not known which numbers the entries
// of some files have.
func aligned(friends []exec.Friend, bad []tasks.Lost) error {
	byNumber := func(f exec.Friend) bool { return len(f.Key) == 0 }
	if len(bad) == 0 || !slices.ContainsFunc(friends, byNumber) {
		return nil
	}
	return refused(fmt.Sprintf("could not tell which entries of the friends stand beside those of the files: %s cannot "+
		"be read (%s), so it is not known how many entries it has", bad[0].File, bad[0].Reason),
		"mend it, or leave it out of --files, and its entries out of the friends; friends with a key need no numbers")
}

// unevenNotes tell which friends have not as many entries as the files beside which they are read.
func unevenNotes(friends []exec.Friend, files []tasks.File) (notes []string) {
	var all int64
	for _, f := range files {
		all += f.Total()
	}
	for _, fr := range friends {
		var n int64
		for _, f := range fr.Files {
			n += f.Entries
		}
		if len(fr.Key) > 0 || n == all {
			continue
		}
		text := fmt.Sprintf("the friend %q has %d entries, and the files have %d", cmp.Or(fr.Alias, fr.Part), n, all)
		if n < all {
			text += ": beside the last ones a TTreeReader finds none, and what SetBranchAddress has set keeps its last value"
		}
		notes = append(notes, text+" (unless a stored index pairs them)")
	}
	return notes
}

// friend plans the files of a friend. notes tell what of it is not read.
func (pl *Planner) friend(
	ctx context.Context, rt exec.Runtime, req api.JobRequest, ref api.FriendRef, limit time.Duration, tell func(string),
) (fr exec.Friend, notes []string, err error) {
	name := cmp.Or(ref.Alias, ref.Part)
	ask := api.JobRequest{Kind: req.Kind, Version: req.Version, Part: ref.Part, Files: ref.Files, Open: req.Open,
		Dir: req.Dir, AllowCopies: req.AllowCopies}
	if ask, err = pl.Expand(ctx, rt, ask); err != nil {
		return fr, nil, err
	}
	for _, own := range ask.Friends {
		notes = append(notes, fmt.Sprintf("the friend %q has the friend %q itself, which is not read: name it with "+
			"--friend, too", name, cmp.Or(own.Alias, own.Part)))
	}
	read, err := pl.Files(ctx, rt, ask, limit, func(text string) { tell("friend " + name + ": " + text) })
	if err != nil {
		return fr, nil, fmt.Errorf("could not read the friend %q: %w", name, err)
	}
	if len(read.Bad) > 0 {
		return fr, nil, refused(fmt.Sprintf("could not read the friend %q: %s: %s", name, read.Bad[0].File,
			read.Bad[0].Reason), "mend the file, or leave the friend out")
	}
	fr = exec.Friend{Alias: ref.Alias, Part: ref.Part, Key: ref.Key}
	for _, f := range read.Files {
		fr.Files = append(fr.Files, exec.FriendFile{File: f.URL, Part: f.Part, Entries: f.Entries, UUID: f.UUID})
	}
	if fr.Part == "" && len(fr.Files) > 0 {
		fr.Part = fr.Files[0].Part
	}
	return fr, notes, nil
}

// choose reads lists of entries and applies them to the files.
func (pl *Planner) choose(
	ctx context.Context, rt exec.Runtime, req api.JobRequest, read *Read, s *exec.Selection,
) error {
	c := newChooser(req, read)
	for _, ref := range req.EntryLists {
		l, err := pl.list(ctx, rt, ref, req)
		if err != nil {
			return err
		}
		if l.Global {
			err = c.global(ref, l)
		} else {
			err = c.named(ref, l)
		}
		if err != nil {
			return err
		}
	}
	return c.apply(s)
}

// chooser applies lists to files as TChain::SetEntryList does it: by the names of file and tree.
type chooser struct {
	req   api.JobRequest
	read  *Read
	runs  []exec.Runs // of each planned file, and then of each that cannot be read
	names []exec.Input
	real  map[string]string // paths with all links followed
}

func newChooser(req api.JobRequest, read *Read) *chooser {
	c := &chooser{req: req, read: read, real: map[string]string{}}
	for _, f := range read.Files {
		c.names = append(c.names, exec.Input{File: f.URL, Part: f.Part})
	}
	for _, l := range read.Bad {
		c.names = append(c.names, exec.Input{File: l.File, Part: l.Part})
	}
	c.runs = make([]exec.Runs, len(c.names))
	return c
}

// global applies a list that counts entries over all files.
func (c *chooser) global(ref api.ObjectRef, l exec.Listing) error {
	if len(c.read.Bad) > 0 {
		return refused(fmt.Sprintf("could not use %s: it counts entries over all files, and %s cannot be read (%s)", ref,
			c.read.Bad[0].File, c.read.Bad[0].Reason), "mend the file, or use a TEntryList, which names files")
	}
	for _, list := range l.Chosen {
		start := int64(0)
		for i, f := range c.read.Files {
			part, err := list.Runs.Clip(start, start+f.Entries)
			if err != nil {
				return err
			}
			if c.runs[i], err = c.runs[i].Union(part); err != nil {
				return err
			}
			start += f.Entries
		}
		_, end, err := list.Runs.Len()
		if err != nil {
			return err
		}
		if end > start {
			return refused(fmt.Sprintf("could not use %s: it lists entry %d, and the files have %d entries", ref, end-1, start),
				"it was made of other files: name those that it was made of")
		}
	}
	return nil
}

// named applies lists that name files.
func (c *chooser) named(ref api.ObjectRef, l exec.Listing) error {
	matched, lost, lostEntries := 0, 0, int64(0)
	var example exec.List
	for _, list := range l.Chosen {
		hit, name := false, absolute(list.File, c.req.Dir, ref.URL)
		for i, in := range c.names {
			if !c.matches(list, name, in, len(l.Chosen)) {
				continue
			}
			hit = true
			var err error
			if c.runs[i], err = c.runs[i].Union(list.Runs); err != nil {
				return err
			}
		}
		if hit {
			matched++
			continue
		}
		n, _, err := list.Runs.Len()
		if err != nil {
			return err
		}
		if lost++; lost == 1 {
			example = list
		}
		lostEntries += n
	}
	if matched == 0 {
		return c.noneMatches(ref, l, example)
	}
	if lost > 0 {
		c.read.Notes = append(c.read.Notes, fmt.Sprintf("%s also lists entries of %s that the job does not read, %d in all; "+
			"the first is tree %q of %s", ref, counted(lost, "file"), lostEntries, example.Part, example.File))
	}
	return nil
}

func (c *chooser) noneMatches(ref api.ObjectRef, l exec.Listing, example exec.List) error {
	if len(l.Chosen) == 0 {
		return refused(fmt.Sprintf("could not use %s: it lists no entries of any file", ref), "")
	}
	what := fmt.Sprintf("it lists entries of tree %q in %q", example.Part, example.File)
	if example.File == "" {
		what = "it names no file, and the job reads several"
	}
	has := ""
	if len(c.names) > 0 {
		has = fmt.Sprintf("; the job reads tree %q in %q", c.names[0].Part, c.names[0].File)
	}
	return refused(fmt.Sprintf("could not use %s: it has no list for any file of the job: %s%s", ref, what, has),
		"files are compared by their absolute paths, with links followed, and trees by their names")
}

// matches reports whether a list, one of several, is one of entries of an input. name is that of its file, made
// absolute.
func (c *chooser) matches(list exec.List, name string, in exec.Input, lists int) bool {
	if tree := treeName(list.Part); tree != "" && tree != treeName(in.Part) && path.Base(tree) != treeName(in.Part) &&
		tree != path.Base(treeName(in.Part)) {
		return false
	}
	if list.File == "" {
		return lists == 1 && len(c.names) == 1
	}
	if list.File == in.File || name == in.File {
		return true
	}
	return !IsURL(name) && !IsURL(in.File) && c.realOf(name) == c.realOf(in.File)
}

// realOf is a path with all links followed, or as it is if it is not on this host.
func (c *chooser) realOf(name string) string {
	if known, ok := c.real[name]; ok {
		return known
	}
	out := cmp.Or(realPath(name), path.Clean(name))
	c.real[name] = out
	return out
}

// treeName is the path of a tree without its cycle.
func treeName(part string) string {
	name, _, _ := strings.Cut(part, ";")
	return strings.Trim(name, "/")
}

// apply sets how many entries are run of each file, and notes the lists in s.
func (c *chooser) apply(s *exec.Selection) error {
	var chosen, all int64
	empty := 0
	for i, in := range c.names {
		if len(c.runs[i]) > 0 || i < len(c.read.Files) {
			s.Lists = append(s.Lists, exec.List{File: in.File, Part: in.Part, Runs: c.runs[i]})
		}
		if i >= len(c.read.Files) {
			continue
		}
		f := &c.read.Files[i]
		all += f.Entries
		if err := Chosen(f, c.runs[i]); err != nil {
			return err
		}
		if chosen += f.Entries; f.Entries == 0 {
			empty++
		}
	}
	c.read.Notes = append(c.read.Notes, fmt.Sprintf("of %d entries %d are listed and run, in %d of %s; all numbers of "+
		"entries count the listed ones", all, chosen, len(c.read.Files)-empty, counted(len(c.read.Files), "file")))
	return nil
}

// Chosen makes a planned file one of which only the entries in runs are run.
func Chosen(f *tasks.File, runs exec.Runs) error {
	n, end, err := runs.Len()
	if err != nil {
		return err
	}
	if end > f.Entries {
		return refused(fmt.Sprintf("could not choose entries of %s: its list names entry %d, and the tree %q has %d entries",
			f.URL, end-1, f.Part, f.Entries), "the file has changed since the list was made: make it again")
	}
	clusters, err := runs.Clusters(f.Clusters)
	if err != nil {
		return err
	}
	if f.Of = f.Entries; f.Of > 0 { // what is read of a file is less, in proportion, though clusters are read whole
		f.Bytes = int64(float64(f.Bytes) * float64(n) / float64(f.Of))
	}
	f.Entries, f.Clusters = n, clusters
	return nil
}
