// Package inputs turns what the user wrote on the command line into what a job needs: the files of the chain, the
// sources to ship, parameters and sizes. It asks no daemon, so that a wrong name is reported before anything starts.
package inputs

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/dtpnode/dtpnode/node/api"
)

// Files expands the values of --files, in their order, relative to the working folder:
//
//	data/a.root            a file
//	'data/*.root'          a glob, its matches in lexical order
//	data/a.root/dir/tree   a file or glob with the path of the tree inside
//	data/a.root?#dir/tree  the same as TChain::Add has it, also with # alone
//	chains.root:name       a TChain or a TFileCollection in a file, which stands for the files that it names
//	root://host//a.root    a URL, with or without a tree; not looked up, no globs
//	@list.txt              a list of the above, one a line; blank lines and lines from # are skipped;
//	                       relative paths are looked up in the list's folder, then in the working folder
//
// An absolute path that is not on this host may be on others: it is marked Unseen (see NotHere).
//
// A file without a tree uses the tree of --tree. A file with the same tree named twice, even through a symbolic or hard
// link or another spelling of the tree, would be counted twice: that is an error, unless duplicates is true.
//
// Files also returns the globs that it expanded, as absolute paths.
func Files(specs []string, tree string, duplicates bool) (files []api.InputFile, globs []string, err error) {
	e := expansion{tree: tree}
	for _, spec := range specs {
		if list, ok := strings.CutPrefix(spec, "@"); ok {
			if err := e.list(list); err != nil {
				return nil, nil, err
			}
			continue
		}
		if err := e.add(spec, ""); err != nil {
			return nil, nil, err
		}
	}
	if err := e.problem(duplicates); err != nil {
		return nil, nil, err
	}
	if len(e.files) == 0 {
		return nil, nil, fmt.Errorf("could not find input files: %s names none", strings.Join(specs, " "))
	}
	return e.files, e.globs, nil
}

// expansion collects files and problems with them, so that one message names all problems.
type expansion struct {
	tree    string // tree of files that name none
	files   []api.InputFile
	globs   []string // globs that match files, as absolute paths
	missing []string
	folders []string
}

// list adds the lines of a list.
func (e *expansion) list(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("could not open the list of files %q: %w", name, err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if before, _, ok := strings.Cut(line, " #"); ok && !isFile(line) && !isFile(filepath.Join(filepath.Dir(name), line)) {
			line = strings.TrimSpace(before)
		}
		if strings.HasPrefix(line, "@") {
			return fmt.Errorf("could not read %s:%d: a list cannot name another list (%q)", name, n, line)
		}
		if err := e.add(line, filepath.Dir(name)); err != nil {
			return fmt.Errorf("could not read %s:%d: %w", name, n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("could not read the list of files %q: %w", name, err)
	}
	return nil
}

// add expands one spec; relative paths are looked up in dir first, if it is not empty.
func (e *expansion) add(spec, dir string) error {
	spec = strings.TrimPrefix(spec, "file://")
	if found, err := e.object(spec, dir); found || err != nil {
		return err
	}
	spec, part := anchored(spec)
	if strings.Contains(spec, "://") {
		return e.url(spec, part)
	}
	bases := []string{""}
	if dir != "" && !filepath.IsAbs(spec) {
		bases = []string{dir, ""}
	}
	for _, base := range bases {
		found, err := e.local(filepath.Join(base, spec), part)
		if err != nil || found {
			return err
		}
	}
	if info, err := os.Stat(spec); err == nil && info.IsDir() {
		e.folders = append(e.folders, spec)
		return nil
	}
	if filepath.IsAbs(spec) && !hasMeta(spec) {
		f := split(filepath.Clean(spec))
		f.Unseen, f.Part = true, cmp.Or(part, f.Part)
		e.files = append(e.files, f)
		return nil
	}
	e.missing = append(e.missing, spec)
	return nil
}

// object adds an object in a file that names others, if spec is FILE:NAME.
func (e *expansion) object(spec, dir string) (found bool, err error) {
	names := []string{spec}
	if dir != "" && !filepath.IsAbs(spec) && !strings.Contains(spec, "://") {
		names = []string{filepath.Join(dir, spec), spec}
	}
	for _, name := range names {
		ref, ok, err := Object(name)
		if err != nil {
			return false, err
		}
		if ok && ref.Object != "" {
			e.files = append(e.files, api.InputFile{URL: ref.URL, Object: ref.Object})
			return true, nil
		}
	}
	return false, nil
}

// anchored divides a name that ends in the tree's as TChain::Add takes it, file.root?#tree or file.root#tree, unless
// there is a file of the whole name. Of a URL only the first form names a tree, and not if there is a = in it, since
// what follows # may be an option of the server.
func anchored(spec string) (file, part string) {
	file, part, ok := strings.Cut(spec, "?#")
	if !ok && !strings.Contains(spec, "://") {
		file, part, ok = strings.Cut(spec, "#")
		ok = ok && strings.Contains(file, ".root")
	}
	if !ok || part == "" || isFile(spec) || strings.Contains(part, "=") {
		return spec, ""
	}
	return file, strings.Trim(part, "/")
}

// NotHere is the error for files that this host does not see, for use when no other host can be asked; nil if it sees
// all.
func NotHere(files []api.InputFile) error {
	var missing []string
	for _, f := range files {
		if f.Unseen {
			missing = append(missing, f.URL)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &api.Error{
		Message: "could not find input files: no such file: " + quoted(missing),
		Hint:    "where a daemon runs that is joined to hosts which have them, those plan and read them: dtpnode up",
	}
}

// local looks for files that match spec or a leading part of it; the rest names a tree, unless part does. A match of a
// glob that this host does not see, such as a link to what is not mounted here, counts as Unseen like a file named
// directly.
func (e *expansion) local(spec, part string) (bool, error) {
	for end := len(spec); end > 0; end = strings.LastIndexByte(spec[:end], '/') {
		matches, err := match(spec[:end])
		if err != nil {
			return false, err
		}
		for _, m := range matches {
			abs, err := filepath.Abs(m.name)
			if err != nil {
				return false, fmt.Errorf("could not make %q absolute: %w", m.name, err)
			}
			e.files = append(e.files, api.InputFile{URL: abs, Part: cmp.Or(part, strings.Trim(spec[end:], "/")),
				Unseen: !m.seen})
		}
		if len(matches) > 0 {
			return true, e.glob(spec[:end])
		}
	}
	return false, nil
}

// glob notes a name that has matched files, if it is a glob.
func (e *expansion) glob(name string) error {
	if isFile(name) {
		return nil
	}
	abs, err := filepath.Abs(name)
	if err == nil && !slices.Contains(e.globs, abs) {
		e.globs = append(e.globs, abs)
	}
	return err
}

// matched is a file that a path or glob matches.
type matched struct {
	name string
	seen bool // visible on this host; false for a link to what is not here, and in a folder that is gone
}

// match returns the files, not folders, that a path or glob names.
func match(pattern string) ([]matched, error) {
	if isFile(pattern) {
		return []matched{{pattern, true}}, nil // a name may contain the characters of a glob
	}
	if !hasMeta(pattern) {
		return nil, nil
	}
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("could not expand the glob %q: %w", pattern, err)
	}
	var g globbing
	var files []matched
	for _, name := range g.names(pattern) {
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			files = append(files, matched{name, err == nil})
		}
	}
	if len(files) == 0 {
		g.dead = nil // these links are probably files, and what follows them in spec names a tree
	}
	if trouble := append(g.trouble, g.dead...); len(trouble) > 0 {
		return nil, &api.Error{
			Message: fmt.Sprintf("could not expand the glob %q: it cannot be told what is in %s", pattern, listed(trouble)),
			Hint:    "mend that, or name the files themselves, e.g. in a list: --files @LIST",
		}
	}
	slices.SortFunc(files, func(a, b matched) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// url adds a URL. What follows the last ".root/" is a tree, unless it is itself a file (split), or part names one.
func (e *expansion) url(spec, part string) error {
	if strings.Contains(spec, "*") {
		return fmt.Errorf("could not expand %q: globs work for local files only; write the URLs into a list and name it as "+
			"@list.txt", spec)
	}
	if scheme, _, _ := strings.Cut(spec, "://"); !slices.Contains(schemes, scheme) && scheme != "fake" {
		return &api.Error{
			Message: fmt.Sprintf("could not use %q as an input file: there is no %s://", spec, scheme),
			Hint: "files are named by their paths, or by " + strings.Join(schemes[:6], "://, ") + "://, or " +
				strings.Join(schemes[6:], "://, ") + ":// where ROOT has the plugin",
		}
	}
	f := split(spec)
	f.Part = cmp.Or(part, f.Part)
	e.files = append(e.files, f)
	return nil
}

// schemes are the schemes of URLs that ROOT opens: first those that every ROOT has, then those that need a plugin. The
// executor of the tests has fake:// too.
var schemes = []string{"root", "roots", "xroot", "xroots", "http", "https", "dav", "davs", "s3", "s3s", "s3http",
	"s3https", "alien", "dcap", "gsidcap", "gfal", "hdfs", "rfio", "castor"}

// split divides a name that cannot be looked up into a file and a tree.
func split(spec string) api.InputFile {
	const ext = ".root/"
	i := strings.LastIndex(spec, ext)
	if i < 0 || strings.HasSuffix(spec, ".root") || strings.Trim(spec[i+len(ext):], "/") == "" {
		return api.InputFile{URL: strings.TrimRight(spec, "/")}
	}
	return api.InputFile{URL: spec[:i+len(ext)-1], Part: strings.Trim(spec[i+len(ext):], "/")}
}

// problem is the error of the whole expansion, if there is one.
func (e *expansion) problem(duplicates bool) error {
	if len(e.missing) > 0 {
		return e.nothingFound()
	}
	if odd := e.notUTF8(); len(odd) > 0 {
		return &api.Error{
			Message: "could not use input files: names that are not in UTF-8: " + quoted(odd),
			Hint:    "rename them, or make links to them with other names",
		}
	}
	if len(e.folders) > 0 {
		return &api.Error{
			Message: "could not use as input files: a folder is no file: " + quoted(e.folders),
			Hint:    fmt.Sprintf("name its files: --files '%s/*.root'", strings.TrimRight(e.folders[0], "/")),
		}
	}
	if duplicates {
		return nil
	}
	if twice := e.twice(); len(twice) > 0 {
		return &api.Error{
			Message: "could not use input files: named twice, so they would be counted twice: " + quoted(twice),
			Hint:    "name each once, or say --allow-duplicates if you mean it",
		}
	}
	if same := e.linked(); len(same) > 0 {
		return &api.Error{
			Message: "could not use input files: two names of one file, which would be counted twice: " + listed(same),
			Hint:    "one is a link to the other: name only one of them, or say --allow-duplicates if you mean it",
		}
	}
	return nil
}

// notUTF8 lists names that are not valid UTF-8, and would become other names on other hosts and in what is printed.
func (e *expansion) notUTF8() (out []string) {
	for _, f := range e.files {
		if !utf8.ValidString(f.URL) || !utf8.ValidString(f.Part) {
			out = append(out, f.URL)
		}
	}
	return out
}

// nothingFound is the error for names and globs that stand for no file.
func (e *expansion) nothingFound() error {
	var names, globs []string
	for _, m := range e.missing {
		if hasMeta(m) {
			globs = append(globs, m)
		} else {
			names = append(names, m)
		}
	}
	var what []string
	hint := "names are relative to the working folder, those in a list to the list's folder first; " +
		"for files that only other hosts of the cluster see, give absolute paths: those are asked for there"
	if len(names) > 0 {
		what = append(what, "no such file: "+quoted(names))
	}
	if len(globs) > 0 {
		what = append(what, "no file matches "+quoted(globs))
		hint = "globs are relative to the working folder; quote them: --files 'data/*.root'. They see the files of this " +
			"host alone: " +
			"name those that other hosts have one by one, e.g. in a list: --files @LIST"
	}
	if slip := slipIn(e.missing); slip != "" {
		hint = slip
	}
	return &api.Error{Message: "could not find input files: " + strings.Join(what, "; "), Hint: hint}
}

// slipIn explains a name that holds what the shell did not expand between quotes; empty if there is none.
func slipIn(missing []string) string {
	for _, m := range missing {
		switch base := filepath.Base(m); {
		case strings.HasPrefix(m, "~"):
			return "between quotes the shell leaves ~ as it is: write $HOME in double quotes, or the whole path"
		case strings.Contains(m, "{") && strings.Contains(m, "}"):
			return "{a,b} is the shell's, not a glob's: leave it without quotes, or repeat --files"
		case strings.Contains(base, ","):
			return "files are not separated by commas: repeat --files for each, or write them into a list: --files @LIST"
		}
	}
	return ""
}

// inode identifies a file and tree independently of the file's names.
type inode struct {
	dev, ino uint64
	tree     string
}

// linked lists pairs of names, quoted, that lead to the same file through symbolic or hard links. Whether two URLs lead
// to the same file cannot be seen from here.
func (e *expansion) linked() (out []string) {
	first := make(map[inode]string, len(e.files))
	for _, f := range e.files {
		info, err := os.Stat(f.URL)
		if err != nil {
			continue // a URL, or a problem that planning will report
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			continue
		}
		key := inode{uint64(st.Dev), st.Ino, e.treeOf(f)} //nolint:unconvert // 32 bits on some platforms
		if name, known := first[key]; known && name != f.URL {
			out = append(out, fmt.Sprintf("%q is %q", f.URL, name))
			continue
		}
		first[key] = f.URL
	}
	return out
}

// treeOf is the name that identifies a file's tree. Cycles, the numbers after a semicolon, are backups of one tree.
func (e *expansion) treeOf(f api.InputFile) string {
	name, _, _ := strings.Cut(cmp.Or(f.Part, e.tree), ";")
	return path.Join("/", name)
}

// twice lists the files that occur more than once.
func (e *expansion) twice() []string {
	seen := make(map[api.InputFile]int, len(e.files))
	var out []string
	for _, f := range e.files {
		f.Part, f.Unseen = e.treeOf(f), false
		if seen[f]++; seen[f] == 2 {
			out = append(out, f.URL)
		}
	}
	return out
}

// quoted lists names for a message, the first ten of them.
func quoted(names []string) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = strconv.Quote(n)
	}
	return listed(all)
}

// listed joins texts for a message, the first ten of them.
func listed(all []string) string {
	const most = 10
	text := strings.Join(all[:min(len(all), most)], ", ")
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return text
}
