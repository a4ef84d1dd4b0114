package rootexec

import (
	"bufio"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
)

// wheel is the ROOT that Install installs, from the Python package index: ROOT 6.40.
const wheel = "root==0.1a12"

// installDone marks a finished installation: a folder without it is the leftover of one that broke off.
const installDone = ".dtpnode-complete"

func installDir(cache, wheel string) string {
	return filepath.Join(cache, strings.Replace(wheel, "==", "-", 1))
}

// installedDir is the folder of a finished installation, empty if there is none.
func installedDir(cache string) string {
	if dir := installDir(cache, wheel); cache != "" && exists(filepath.Join(dir, installDone)) {
		return dir
	}
	return ""
}

// Install puts a pinned ROOT into a private Python environment in the cache folder, once; parallel
// callers wait for the first. pip's own configuration and environment hold. progress, which may be
// nil, hears of each step.
func Install(ctx context.Context, cache string, progress func(msg string)) (*Root, error) {
	return InstallWheel(ctx, cache, wheel, progress)
}

// InstallWheel is Install for a ROOT of the caller's choice, "root==VERSION" of the Python package index. Find does not
// take it for the one that it installs: it is to be named.
func InstallWheel(ctx context.Context, cache, wheel string, progress func(msg string)) (*Root, error) {
	if progress == nil {
		progress = func(string) {}
	}
	dir := installDir(cache, wheel)
	err := withLock(ctx, dir+".lock", func() error {
		if exists(filepath.Join(dir, installDone)) {
			return nil
		}
		return install(ctx, dir, wheel, progress)
	})
	if err != nil {
		return nil, fmt.Errorf("could not install ROOT: %w", err)
	}
	return rootAt(ctx, dir)
}

// install works in place, since an environment cannot be moved; the marker makes it whole.
func install(ctx context.Context, dir, wheel string, progress func(string)) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	progress("making a Python environment in " + dir)
	if err := runSteps(ctx, progress, "python3", "-m", "venv", dir); err != nil {
		return fmt.Errorf("%w; is python3 there, with venv (Debian: apt install python3-venv)?", err)
	}
	progress("installing " + wheel + " with pip")
	if err := runSteps(ctx, progress, filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--no-input",
		wheel); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, installDone), []byte(wheel+"\n"), 0o600)
}

// runSteps runs a command and hands on its lines; the last ones are in the error.
func runSteps(ctx context.Context, progress func(string), name string, args ...string) error {
	cmd := osexec.CommandContext(ctx, name, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	var last []string
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		progress(lines.Text())
		last = append(last[max(0, len(last)-9):], lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s failed: %w\n%s", strings.Join(append([]string{name}, args...), " "), err,
			strings.Join(last, "\n"))
	}
	return nil
}
