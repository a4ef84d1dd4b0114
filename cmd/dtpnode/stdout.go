package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

// toStdout is the name of a result file that stands for standard output.
const toStdout = "-"

// checkOut checks the name that -o gives for the result file of a job that is followed. An empty one is refused: it is
// most likely an unset variable of a script, and if it meant "not given", the script would not find the result.
func (g *globals) checkOut(flags *pflag.FlagSet, out string) error {
	switch {
	case out == "" && flags.Changed("out"):
		return usagef("could not use -o '': the name of the result file is empty")
	case out == toStdout && g.json():
		return usagef("could not use -o - with --output json: both would go to standard output; name a file")
	}
	return nil
}

// fetch writes the output of a job to a file, or to standard output, and returns a name of that place for messages.
func (g *globals) fetch(ctx context.Context, client *api.Client, id, path string) (string, error) {
	if path != toStdout {
		return submit.Fetch(ctx, client, id, path)
	}
	if _, err := client.Result(ctx, id, g.stdout); err != nil {
		return "", fmt.Errorf("could not write the output of job %s to standard output: %w", id, err)
	}
	return "standard output", nil
}

// beside is where text about a job is printed whose output goes to out: not between the bytes of the output.
func (g *globals) beside(out output) io.Writer {
	if out.fetch == toStdout {
		return g.stderr
	}
	return g.stdout
}

// stdout is standard output, and remembers the first write error: a full disk must not look like an answer without
// lines.
type stdout struct {
	file *os.File
	err  error // the first write error
}

// Write writes to standard output.
func (s *stdout) Write(b []byte) (int, error) {
	n, err := s.file.Write(b)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// Fd is the file descriptor, by which callers determine whether it is a terminal.
func (s *stdout) Fd() uintptr { return s.file.Fd() }

// lost is the error if not everything could be printed; nil if it could.
func (s *stdout) lost() error {
	if s.err == nil {
		return nil
	}
	return &api.Error{
		Message: fmt.Sprintf("could not print all of the answer on standard output: %v", s.err),
		Hint:    "is the disk full to which it goes? what the command did is done all the same",
		Err:     s.err,
	}
}
