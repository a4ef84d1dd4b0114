package submit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// Results provides the output of a job; *api.Client does.
type Results interface {
	Result(ctx context.Context, id string, w io.Writer) (int64, error)
}

// Fetch writes the output of job id to path and returns path made absolute. The file appears under its
// name only when it is complete.
func Fetch(ctx context.Context, results Results, id, path string) (string, error) {
	path, err := OutputPath(path)
	if err != nil {
		return "", err
	}
	var fetching error
	err = durable.Place(path, func(f *os.File) error {
		if _, err := results.Result(ctx, id, f); err != nil {
			fetching = fmt.Errorf("could not fetch the output of job %s: %w", id, err)
			return fetching
		}
		return publish(f)
	})
	if err != nil {
		return "", cmp.Or(fetching, err)
	}
	return path, nil
}

// publish makes a complete file readable by all, and syncs it before it gets its name.
func publish(f *os.File) error {
	return errors.Join(f.Chmod(0o644), f.Sync())
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
