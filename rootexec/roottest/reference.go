package roottest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/gofrs/flock"
)

// Job is what Reference runs: the same words as dtpnode's own jobs.
type Job struct {
	Selector string // path of the source, without "+"
	Tree     string
	Files    []string
	First    int64 // first entry of the chain
	N        int64 // number of entries, 0 for all
	Option   string
	Params   map[string]string // TNamed objects in fInput
	// EntryList is FILE:NAME, a TEntryList or TEventList, empty for none; Friends are TREE=FILE[,FILE]... or with an index
	// TREE[MAJOR,MINOR]=FILE[,FILE]...
	EntryList string
	Friends   []string
	NoInput   bool   // fInput is null, as in a plain TChain::Process; PROOF always gave a list
	Dir       string // working directory, default a temporary one
}

// Reference runs ROOT's own single-process TChain::Process of job and writes the output list, a key for
// each object, to out. It returns what the process printed.
func (r *ROOT) Reference(t testing.TB, job Job, out string) string {
	t.Helper()
	text, err := r.TryReference(t, job, out)
	if err != nil {
		t.Fatalf("reference of %s: %v\n%s", job.Selector, err, text)
	}
	return text
}

// TryReference is Reference for selectors that may fail.
func (r *ROOT) TryReference(t testing.TB, job Job, out string) (string, error) {
	t.Helper()
	build := filepath.Join(r.cache, "aclic")
	if err := os.MkdirAll(build, 0o755); err != nil {
		t.Fatalf("could not create build directory %q: %v", build, err)
	}
	args := []string{"--selector", job.Selector, "--tree", job.Tree, "--out", out, "--build", build,
		"--first", strconv.FormatInt(job.First, 10), "--option", job.Option}
	if job.N > 0 {
		args = append(args, "--n", strconv.FormatInt(job.N, 10))
	}
	if job.NoInput {
		args = append(args, "--no-input")
	}
	if job.EntryList != "" {
		args = append(args, "--entry-list", job.EntryList)
	}
	for _, f := range job.Friends {
		args = append(args, "--friend", f)
	}
	for _, name := range sortedKeys(job.Params) {
		args = append(args, "--param", name+"="+job.Params[name])
	}
	dir := job.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	// ACLiC in two processes at once, of two test packages, would spoil each other's library.
	lock := flock.New(filepath.Join(build, fmt.Sprintf("%x.lock", sha256.Sum256([]byte(job.Selector)))))
	if err := lock.Lock(); err != nil {
		t.Fatalf("could not lock the reference's library: %v", err)
	}
	defer lock.Unlock() //nolint:errcheck // ends with the process at the latest
	text, _, err := r.run(t, "reference", dir, append(args, job.Files...), true)
	return text, err
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Compare compares the ROOT file got with want object by object and fails the test at any difference:
// integers exactly, sums of floats to 1e-12 relative.
func (r *ROOT) Compare(t testing.TB, got, want string) {
	t.Helper()
	differences, err := r.Differences(t, got, want)
	if err != nil {
		t.Fatal(err)
	}
	if differences != "" {
		t.Errorf("%s differs from %s:\n%s", got, want, differences)
	}
}

// Differences returns a line for every difference between two ROOT files, empty if there is none.
func (r *ROOT) Differences(t testing.TB, got, want string) (string, error) {
	t.Helper()
	text, errs, err := r.run(t, "compare", "", []string{got, want}, false)
	if err == nil {
		return "", nil
	}
	if how := ended(0); errors.As(err, &how) && how.status() == 1 {
		return text, nil
	}
	return "", fmt.Errorf("could not compare %q with %q: %w\n%s%s", got, want, err, text, errs)
}

// Library is the shared library that ROOT compiled of a selector for Reference, which must have run.
func (r *ROOT) Library(t testing.TB, selector string) string {
	t.Helper()
	base := filepath.Base(selector)
	name := strings.TrimSuffix(base, filepath.Ext(base)) + "_" + strings.TrimPrefix(filepath.Ext(base), ".") + ".so"
	path := filepath.Join(r.cache, "aclic", filepath.Dir(selector), name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no library of %s: %v", selector, err)
	}
	return path
}
