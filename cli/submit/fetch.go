package submit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// Results provides the output of a job; *api.Client does.
type Results interface {
	WholeResult(ctx context.Context, id string, w io.Writer) (int64, error)
}

// Fetch writes the output of job id to path and returns path made absolute. What the job's program has written to
// files of its own goes to their names in the same folder first; files that are there with another content are not
// replaced, since their names are not the user's choice. Each file appears under its name only when it is complete.
func Fetch(ctx context.Context, results Results, id, path string) (string, error) {
	path, err := OutputPath(path)
	if err != nil {
		return "", err
	}
	var fetching error
	err = durable.Place(path, func(f *os.File) error {
		size, err := results.WholeResult(ctx, id, f)
		if err != nil {
			fetching = fmt.Errorf("could not fetch the output of job %s: %w", id, err)
			return fetching
		}
		if fetching = split(f, size, id, path); fetching != nil {
			return fetching
		}
		return publish(f)
	})
	if err != nil {
		return "", cmp.Or(fetching, err)
	}
	return path, nil
}

// split takes the files behind the output out of a result, whose file becomes the output alone.
func split(f *os.File, size int64, id, path string) error {
	output, files, err := exec.ReadResult(f, size)
	if err != nil {
		return fmt.Errorf("could not read the result of job %s: %w", id, err)
	}
	dir := filepath.Dir(path)
	for i := 0; i < len(files); {
		if filepath.Join(dir, filepath.FromSlash(files[i].Name)) == path {
			return &api.Error{
				Message: fmt.Sprintf("could not write the output of job %s to %q: that is the name of a file that the job has "+
					"written beside its output", api.Short(id), path),
				Hint: fmt.Sprintf("`dtpnode get %s -o` with another name fetches both", api.Short(id)),
			}
		}
		there, err := os.Open(filepath.Join(dir, filepath.FromSlash(files[i].Name)))
		if errors.Is(err, fs.ErrNotExist) {
			i++
			continue
		}
		if err == nil {
			same, cmpErr := sameContent(there, io.NewSectionReader(f, files[i].Offset, files[i].Size))
			if err = errors.Join(cmpErr, there.Close()); err == nil && same {
				files = slices.Delete(files, i, i+1)
				continue
			}
		}
		return &api.Error{
			Message: fmt.Sprintf("could not write %s, which job %s has written beside its output, to %s: there is another "+
				"file of that name", files[i].Name, api.Short(id), dir),
			Hint: fmt.Sprintf("move that file away, or `dtpnode get %s -o` with a path in another folder", api.Short(id)),
			Err:  err,
		}
	}
	if _, err := exec.PlaceFiles(f, files, dir, exec.OutputMark("", "get", id), nil); err != nil {
		return fmt.Errorf("could not write the files of job %s: %w", id, err)
	}
	return f.Truncate(output)
}

// sameContent reports whether two readers have the same bytes.
func sameContent(a, b io.Reader) (bool, error) {
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		endA := errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF)
		endB := errors.Is(errB, io.EOF) || errors.Is(errB, io.ErrUnexpectedEOF)
		switch {
		case errA != nil && !endA:
			return false, errA
		case errB != nil && !endB:
			return false, errB
		case endA || endB:
			return endA && endB, nil
		}
	}
}

// publish makes a complete file readable by all, and syncs it before it gets its name.
func publish(f *os.File) error {
	return errors.Join(f.Chmod(0o644), f.Sync())
}

// OutputDir is the absolute path of a folder for output files, which it makes if it is not there; an empty one stays
// empty.
func OutputDir(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	abs, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(abs, 0o755)
	}
	if err == nil {
		_, err = OutputPath(filepath.Join(abs, "output")) // its name is in UTF-8, and it can be written to
	}
	if err != nil {
		return "", &api.Error{
			Message: fmt.Sprintf("could not use %q as the folder of output files: %v", dir, err),
			Hint:    "name a folder that is yours to write, or can be made",
			Err:     err,
		}
	}
	return abs, nil
}

// OutputPath makes the path of a result file absolute, and checks that it can be written, so that a mistake is found
// before the job has run. An empty path stays empty.
func OutputPath(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("could not make %q absolute: %w", path, err)
	}
	if !utf8.ValidString(abs) { // JSON would change the name on the way to the daemon
		return "", fmt.Errorf("could not use %q as the result file: its name is not in UTF-8; choose another", path)
	}
	if info, err := os.Stat(abs); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("could not use %q as the result file: it is no regular file", path)
	}
	probe, err := os.CreateTemp(filepath.Dir(abs), durable.TempPrefix+"*")
	if err != nil {
		return "", &api.Error{
			Message: fmt.Sprintf("could not write the result file %q: %v", path, err),
			Hint:    "the folder must exist and be yours to write",
		}
	}
	probe.Close()
	return abs, os.Remove(probe.Name())
}
