package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/rootexec"
)

// codeFlags name the code of a selector, in run and in retry.
type codeFlags struct {
	class    string
	includes []string
	dirs     []string
	sources  []string
	libs     []string
	packages []string
	lacking  bool
}

// codeLong is what the help of run says about code.
const codeLong = `The selector is the source file of a TSelector, unchanged: .C, .cxx, .cc or .cpp.
Its name may end in +, ++, +O or +g as for ROOT: with g the stacks of crashes have line numbers; what did not change
since the last time is not compiled again, so that + and ++ are the same. A source that is named without + is compiled
too, and interpreted by ROOT, on every node, if it does not compile.
Headers that it includes with quotes, directly or through one another, travel with it; so do those that it finds in
the folders of -I, of $ROOT_INCLUDE_PATH, and of R__ADD_INCLUDE_PATH() in a source. --include adds other headers, and
data files: each process finds them in its working folder, which is empty else, under the names that they have in
yours. A folder there stands for all files in it, and headers are looked up in it. Data files of your working folder
that literals in the code name by a relative path, as TFile::Open("cal.root") does, or as patterns of printf, and those
that --option and --param name, go along unasked, up to 8 MiB each, and so do the values of environment variables that
the code reads by name: a note says which.
--source names further sources, which are compiled, each into its library as by .L X.cxx+, and loaded before the
selector, in the order given.
--lib names shared libraries, which are loaded before the sources. What they need in turn, found here by their run paths
and $LD_LIBRARY_PATH, travels along with the dictionaries beside them, but for what is the system's or ROOT's. So do
libraries that sources load by R__LOAD_LIBRARY() or gSystem->Load(). Where the class is in a library, name the class in
place of the source, or the library, with --class if it has several selectors:
  dtpnode run MySelector --lib libAna.so ...      dtpnode run libAna.so --class MySelector ...
Libraries run on nodes with the same processor and the same ROOT; sources are compiled on each node that needs it.
Each must have all functions that it calls, from itself or what is loaded: --allow-missing-symbols lets it lack some,
whose call ends the process.
--package enables a PAR package, before all else, in the order given: NAME.par, NAME for one that dtpnode package add
has kept, NAME.par:TEXT with an argument for SETUP(). It is built once on each host; see dtpnode package --help.`

func (c *codeFlags) add(f *pflag.FlagSet) {
	f.StringVar(&c.class, "class", "", "the selector's class (default the file's base name)")
	f.StringArrayVar(&c.includes, "include", nil, "further header or data file, or folder of them, to ship; repeatable")
	f.StringArrayVarP(&c.dirs, "include-dir", "I", nil, "`folder` in which headers are looked up; repeatable")
	f.StringArrayVar(&c.sources, "source", nil, "further source, compiled and loaded before the selector; repeatable")
	f.StringArrayVar(&c.libs, "lib", nil, "shared library, loaded before the sources; repeatable")
	f.StringArrayVar(&c.packages, "package", nil, "PAR package to enable, NAME.par[:TEXT for SETUP()]; repeatable")
	f.BoolVar(&c.lacking, "allow-missing-symbols", false, "let libraries lack functions that they call")
}

// given reports whether any of the flags is set.
func (c *codeFlags) given() bool {
	return c.class != "" || c.lacking || len(c.includes)+len(c.dirs)+len(c.sources)+len(c.libs)+len(c.packages) > 0
}

// set fills in the code of a spec. selector is what stands in its place on the command line.
func (c *codeFlags) set(spec *rootexec.Spec, g *globals, selector string) (err error) {
	spec.Class, spec.AllowMissingSymbols = c.class, c.lacking
	named := c.libs
	switch isLib := inputs.IsLibrary(selector) || isCompiledFile(selector); {
	case isLib:
		named = append(slices.Clone(c.libs), selector)
	case inputs.IsClass(selector) && (len(c.libs) > 0 || len(c.packages) > 0 || inputs.LibraryOf(selector) != ""):
		if c.class != "" && c.class != selector {
			return usagef("could not run the class %q as --class %q: name one of them", selector, c.class)
		}
		if spec.Class = selector; len(c.libs)+len(c.packages) == 0 {
			named = []string{inputs.LibraryOf(selector)}
		}
	default:
		if spec.Selector, err = inputs.Selector(selector); err != nil {
			return err
		}
		spec.Options, spec.Interpret = inputs.CompileOptions(selector), inputs.MayInterpret(selector)
	}
	if spec.Sources, err = c.parts(); err != nil {
		return err
	}
	mains := slices.Clone(spec.Sources)
	if spec.Selector != "" {
		mains = append([]string{spec.Selector}, mains...)
	}
	code, err := inputs.Collect(mains, c.includes, c.dirs, nil)
	if err != nil {
		return err
	}
	var folders []string
	for _, main := range mains {
		folders = append(folders, filepath.Dir(main))
	}
	if spec.Libraries, err = inputs.Libraries(named, code.Libraries, folders); err != nil {
		return err
	}
	if code, err = inputs.Collect(mains, c.includes, c.dirs, spec.Libraries); err != nil {
		return err
	}
	spec.Includes, spec.IncludeDirs = code.Files, code.Dirs
	if spec.Packages, err = c.packageSpecs(g); err != nil {
		return err
	}
	data, err := filesOf(c.includes)
	if err != nil {
		return err
	}
	texts := []string{spec.Option}
	for _, text := range spec.Params {
		texts = append(texts, text)
	}
	found, err := inputs.DataNamed(slices.Concat(mains, code.Files), data, texts)
	if err != nil {
		return err
	}
	spec.Named, spec.Unshipped, spec.Env = found.Files, found.Left, found.Env
	spec.Data, err = absolute(append(data, found.Files...))
	return err
}

// parts are the paths of the further sources.
func (c *codeFlags) parts() (out []string, err error) {
	for _, name := range c.sources {
		if isCompiledFile(name) || inputs.IsLibrary(name) {
			return nil, usagef("could not compile %q: it is a library; give it with --lib", name)
		}
		path, err := inputs.Source(name)
		if err != nil {
			return nil, err
		}
		out = append(out, path)
	}
	return out, nil
}

func isCompiledFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular() && inputs.IsCompiled(name)
}

// filesOf are the files that --include names, those in its folders among them.
func filesOf(names []string) (out []string, err error) {
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || !info.IsDir() {
			out = append(out, name)
			continue
		}
		files, err := inputs.FilesIn(name)
		if err != nil {
			return nil, err
		}
		out = append(out, files...)
	}
	return out, nil
}

// packageSpecs are the packages to enable: files, or names of those that were kept.
func (c *codeFlags) packageSpecs(g *globals) (out []rootexec.PackageSpec, err error) {
	for _, text := range c.packages {
		file, arg, has := text, "", false
		if _, err := os.Stat(text); err != nil {
			file, arg, has = strings.Cut(text, ":")
		}
		if file, err = g.packageFile(file); err != nil {
			return nil, err
		}
		spec := rootexec.PackageSpec{File: file}
		if has {
			spec.Args = []string{arg}
		}
		out = append(out, spec)
	}
	return out, nil
}
