package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec"
)

// suite is what all tests share; TestMain sets it.
var suite struct {
	binary string
	root   string // ROOT's folder
	cache  string // the user's: what is built there is built once
	dir    string // files of this run, removed at its end
}

func TestMain(m *testing.M) {
	if ossignal.Ignored(syscall.SIGHUP) { // under nohup: what is started here would ignore it too, which is tested
		ossignal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	if suite.dir, err = os.MkdirTemp("", "dtpnode-e2e-"); err != nil {
		return 1, fmt.Errorf("could not make a folder for the tests: %w", err)
	}
	defer os.RemoveAll(suite.dir)
	suite.binary = filepath.Join(suite.dir, "dtpnode")
	if out, err := exec.Command("go", "build", "-o", suite.binary, "../cmd/dtpnode").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("could not build the binary: %w\n%s", err, out)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return 1, err
	}
	suite.cache = filepath.Join(base, "dtpnode")
	if suite.root, err = findROOT(context.Background()); err != nil {
		return 1, err
	}
	if err := os.Setenv("DTPNODE_ROOT", suite.root); err != nil { // for package roottest: the same
		return 1, err
	}
	defer func() { err = errors.Join(err, threeNodes.close()) }()
	return m.Run(), nil
}

// findROOT takes $DTPNODE_ROOT, else what a daemon would take, else installs the pinned one.
func findROOT(ctx context.Context) (string, error) {
	root, err := rootexec.Find(ctx, rootexec.FindOptions{Prefix: os.Getenv("DTPNODE_ROOT"), Cache: suite.cache})
	if errors.Is(err, rootexec.ErrNoROOT) && os.Getenv("DTPNODE_ROOT") == "" {
		root, err = rootexec.Install(ctx, suite.cache, func(step string) { fmt.Fprintln(os.Stderr, step) })
	}
	if err != nil {
		return "", err
	}
	return root.Dir, nil
}
