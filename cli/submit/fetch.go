package submit

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/dtpnode/dtpnode/node/api"
)

// Results hands out the output of a job; *api.Client does.
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
	temp, err := os.CreateTemp(filepath.Dir(path), ".dtpnode-*.root")
	if err != nil {
		return "", fmt.Errorf("could not write the output beside %q: %w", path, err)
	}
	defer os.Remove(temp.Name()) // gone if renamed
	if _, err := results.Result(ctx, id, temp); err != nil {
		temp.Close()
		return "", fmt.Errorf("could not fetch the output of job %s: %w", id, err)
	}
	if err := publish(temp, path); err != nil {
		return "", fmt.Errorf("could not write the output %q: %w", path, err)
	}
	return path, nil
}

// publish gives a complete file its name.
func publish(temp *os.File, path string) error {
	if err := temp.Chmod(0o644); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Sync(); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// OutputPath makes the path of a result file absolute, and checks that it can be written, so that a
// mistake does not wait for the end of a job. An empty path stays empty.
func OutputPath(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("could not make %q absolute: %w", path, err)
	}
	if !utf8.ValidString(abs) { // the daemon would be told another name
		return "", fmt.Errorf("could not use %q as the result file: its name is not in UTF-8; choose another", path)
	}
	if info, err := os.Stat(abs); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("could not use %q as the result file: it is no regular file", path)
	}
	probe, err := os.CreateTemp(filepath.Dir(abs), ".dtpnode-*")
	if err != nil {
		return "", &api.Error{
			Message: fmt.Sprintf("could not write the result file %q: %v", path, err),
			Hint:    "the folder must exist and be yours to write",
		}
	}
	probe.Close()
	return abs, os.Remove(probe.Name())
}
