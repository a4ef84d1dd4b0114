package bench

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/examples/dimuon"
	"github.com/dtpnode/dtpnode/rootexec/roottest/rootcxx"
)

//go:embed cxx
var programs embed.FS

// prepare makes the data, the selectors, with libraries if a case needs them, and this run's scratch directory.
func (s *suite) prepare(ctx context.Context, out io.Writer) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("could not create work directory %q: %w", s.Dir, err)
	}
	fmt.Fprintf(out, "# data in %s\n", s.Data)
	var err error
	if s.small, err = dimuon.Generate(ctx, s.ROOT, dimuon.Options{Dir: s.Data}, nil); err != nil {
		return err
	}
	if s.large, err = s.repeat(s.small, 4); err != nil {
		return err
	}
	if err := dimuon.WriteSelectors(s.Dir); err != nil {
		return err
	}
	if slices.ContainsFunc(s.chosen(), func(c benchCase) bool { return c.bare }) {
		for _, class := range []string{"DiMuon", "DiMuonOld"} {
			if err := s.compile(ctx, class); err != nil {
				return err
			}
		}
	}
	if s.work, err = os.MkdirTemp(s.Dir, "run-"); err != nil {
		return fmt.Errorf("could not create scratch directory: %w", err)
	}
	return nil
}

// repeat gives the files n names each, by hard links, so that a large set takes no more disk or page cache than a small
// one. ROOT sees different names; run has to be told that the duplicates are intended.
func (s *suite) repeat(files []string, n int) ([]string, error) {
	dir := filepath.Join(s.Data, "repeated")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("could not create data directory %q: %w", dir, err)
	}
	var out []string
	for k := range n {
		for i, f := range files {
			link := filepath.Join(dir, fmt.Sprintf("events_%d_%d.root", k, i))
			if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
				return nil, fmt.Errorf("could not replace %q: %w", link, err)
			}
			if err := os.Link(f, link); err != nil {
				return nil, fmt.Errorf("could not link %q: %w", f, err)
			}
			out = append(out, link)
		}
	}
	return out, nil
}

// selector and library are the paths of a class's source and of the library that ACLiC makes of it.
func (s *suite) selector(class string) string { return filepath.Join(s.Dir, class+".C") }
func (s *suite) library(class string) string  { return filepath.Join(s.Dir, class+"_C.so") }

// compile runs ACLiC as `.L Class.C+` does; it does nothing if the library is up to date.
func (s *suite) compile(ctx context.Context, class string) error {
	statement := fmt.Sprintf(`gSystem->Exit(!gSystem->CompileMacro("%s.C", "k"))`, class)
	cmd := exec.CommandContext(ctx, filepath.Join(s.ROOT, "bin", "root.exe"), "-b", "-l", "-q", "-n", "-e", statement)
	cmd.Dir = s.Dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("could not compile %q: %w: %s", class+".C", err, strings.TrimSpace(string(text)))
	}
	return nil
}

// program builds one of the reference programs.
func (s *suite) program(ctx context.Context, name string) (string, error) {
	source, err := programs.ReadFile("cxx/" + name + ".cxx")
	if err != nil {
		return "", fmt.Errorf("could not read embedded %q: %w", name, err)
	}
	return rootcxx.Build(ctx, s.ROOT, filepath.Join(s.Dir, "programs"), name, source)
}
