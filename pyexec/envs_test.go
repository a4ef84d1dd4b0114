package pyexec

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

func newEnvs(t *testing.T, most int64) *envs {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "envs")
	t.Cleanup(func() { _ = removeTree(dir) }) // so that a user who is not root can remove the rest
	return &envs{dir: dir, most: most, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// making makes an environment that has so many bytes, and counts how often it does.
func making(size int, n *atomic.Int64) func(context.Context, string, int64) (madeEnv, error) {
	return func(_ context.Context, dir string, _ int64) (madeEnv, error) {
		n.Add(1)
		path := filepath.Join(dir, "bin", "python")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return madeEnv{}, err
		}
		return madeEnv{Python: path, Prefix: dir}, os.WriteFile(path, make([]byte, size), 0o700)
	}
}

// TestOneEnvironmentIsMadeOnce by whoever comes first, of many who want it at the same time.
func TestOneEnvironmentIsMadeOnce(t *testing.T) {
	e := newEnvs(t, 0)
	var n atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			held, err := e.get(t.Context(), "key", making(1000, &n))
			if err != nil {
				t.Error(err)
				return
			}
			info, err := os.Stat(held.Python)
			if err != nil || info.Mode()&0o222 != 0 {
				t.Errorf("it can be written to: %v, %v", info, err)
			}
			held.release()
		})
	}
	all.Wait()
	if n.Load() != 1 {
		t.Errorf("it was made %d times", n.Load())
	}
	held, err := (&envs{dir: e.dir, log: e.log}).get(t.Context(), "key", making(1000, &n)) // after a restart
	if err != nil || n.Load() != 1 {
		t.Errorf("after a restart it was made again: %d, %v", n.Load(), err)
	}
	held.release()
	if err := errors.Join(os.Chmod(filepath.Dir(held.Python), 0o700), os.Remove(held.Python)); err != nil {
		t.Fatal(err)
	}
	if held, err = e.get(t.Context(), "key", making(1000, &n)); err != nil || n.Load() != 2 {
		t.Fatalf("its interpreter is gone, and it was made %d times: %v", n.Load(), err)
	}
	held.release()
}

// TestEnvironmentsAreBounded: the one that was used longest ago leaves, unless it is in use; and so does what an
// attempt has left.
func TestEnvironmentsAreBounded(t *testing.T) {
	e := newEnvs(t, 250<<10)
	var n atomic.Int64
	use := func(key string) heldEnv {
		t.Helper()
		held, err := e.get(t.Context(), key, making(100<<10, &n))
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	old := time.Now().Add(-time.Hour)
	used := use("used")
	use("idle").release()
	for i, key := range []string{"used", "idle"} {
		at := old.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(e.madePath(key), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(e.dir, "half", "env"), 0o700); err != nil {
		t.Fatal(err)
	}
	use("new").release()
	for key, want := range map[string]bool{"used": true, "idle": false, "new": true, "half": false} {
		if got := exists(e.path(key)); got != want {
			t.Errorf("%s is there: %v", key, got)
		}
	}
	used.release()
	_, err := e.get(t.Context(), "large", making(300<<10, &n))
	if !errors.Is(err, errNoRoom) || exists(e.path("large")) {
		t.Errorf("one that is too large: %v", err)
	}
}

// orderWith is an order for code that needs an environment made of a lock file.
func orderWith(t *testing.T, lock []byte) exec.Order {
	t.Helper()
	spec, err := wire.Marshal(&work{Form: formSource, Name: "code.py", Env: &workEnv{
		Kind: envLock, Name: "requirements.txt", Hash: strings.Repeat("ab", 32),
	}})
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(_ context.Context, name string) ([]byte, error) {
		if name == codeBlob {
			return []byte("def process(x): pass"), nil
		}
		return lock, nil
	}
	return exec.Order{Work: tasks.Work{Kind: Kind, Spec: spec}, Fetch: fetch}
}

// TestEnvironmentThatCannotBeMade fails with what was said at last, for this node alone, and is not tried again at
// once.
func TestEnvironmentThatCannotBeMade(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	uv := script(t, "uv", "echo made >> "+log+"\necho error: no connection to the index >&2\nexit 2")
	t.Setenv("PATH", filepath.Dir(uv)+":"+os.Getenv("PATH"))
	rt := openRuntime(t)
	rt.envs = newEnvs(t, 0)
	o := orderWith(t, []byte("six==1.0 --hash=sha256:00"))
	for i := range 2 {
		_, err := rt.Prepare(t.Context(), o)
		var f *exec.Failure
		if !errors.As(err, &f) || f.Kind != exec.KindLacks || !strings.Contains(f.Msg, "no connection to the index") ||
			!strings.Contains(f.Msg, "venv-pack") || (i == 1) != strings.Contains(f.Msg, "tried again in") {
			t.Errorf("got %v", err)
		}
	}
	if b, err := os.ReadFile(log); err != nil || string(b) != "made\n" {
		t.Errorf("it was tried so often: %q, %v", b, err)
	}
	if found, err := filepath.Glob(filepath.Join(rt.envs.dir, "*", "*")); err != nil || len(found) > 0 {
		t.Errorf("what is left is %v, %v", found, err)
	}
}

func TestLockFilesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"six==1.17.0\n":                              "no hash for six",
		"-r other.txt\n":                             "names another file",
		"-e git+https://there.org/x\n":               "has an editable package",
		"./wheel.whl --hash=sha256:0\n":              "names a file of this host",
		"x @ file:///tmp/x.whl --hash=sha256:0\n":    "names a file of this host",
		"# nothing\n--index-url https://there.org\n": "names no package",
		"lock-version = \"1.0\"\n[[packages\n":       "no valid TOML: line 2",
		"lock-version = \"1.0\"\n[[packages]]\nname = \"own\"\ndirectory = { path = \".\" }\n": "modules=",
	} {
		if err := checkLock("the.lock", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		"not = [toml\n":      "the lock file pylock.toml is no valid TOML: line 1, column 8: ",
		"[project]\na = 1\n": "pylock.toml is no lock file: it has no lock-version",
	} {
		if err := checkLock("pylock.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	good := "--index-url https://there.org\nsix==1.17.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via x\n"
	if err := checkLock("the.lock", []byte(good)); err != nil {
		t.Error(err)
	}
}

// TestPylockForPip turns a lock file into what every pip reads.
func TestPylockForPip(t *testing.T) {
	const lock = `lock-version = "1.0"
created-by = "x"
[[packages]]
name = "six"
version = "1.17.0"
marker = "python_version < '3.13'"
index = "https://there.org/simple"
sdist = { name = "six.tar.gz", hashes = { sha256 = "bb" } }
wheels = [{ name = "six.whl", hashes = { sha256 = "aa" } }]
`
	got, err := requirementsOf([]byte(lock))
	const want = "--extra-index-url https://there.org/simple\n" +
		"six==1.17.0 ; python_version < '3.13' --hash=sha256:aa --hash=sha256:bb\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, more := range []string{
		"[[packages]]\nname = \"a\"\nversion = \"1\"\nvcs = { type = \"git\" }\n",
		"[[packages]]\nname = \"a\"\nversion = \"1\"\nmarker = \"'x' in extras\"\n",
		"[[packages]]\nname = \"a\"\nversion = \"1\"\n",
	} {
		if _, err := requirementsOf([]byte(lock + more)); err == nil {
			t.Errorf("%q is taken", more)
		}
	}
}

// TestNamedEnvironments stand beside the interpreter that is found.
func TestNamedEnvironments(t *testing.T) {
	python := pythonHere(t)
	f := &Finder{Interpreters: []string{"muons=" + python, "muons=/elsewhere/python3", "none=/no/python"}}
	infos, err := f.Find(t.Context())
	if len(infos) != 2 || infos[0].Offer().Meets([]string{needsNamed("muons")}) ||
		!infos[1].Offer().Meets([]string{needsNamed("muons")}) {
		t.Errorf("found is %+v", infos)
	}
	if err == nil || !strings.Contains(err.Error(), "/no/python") {
		t.Errorf("the error is %v", err)
	}
	if got := infos[1].String(); !strings.HasSuffix(got, "(muons)") {
		t.Errorf("it is shown as %q", got)
	}
}

// TestOldChildrenLeave: the code of a version that no daemon has used for long is removed, and no other.
func TestOldChildrenLeave(t *testing.T) {
	cache := t.TempDir()
	dir, err := placeChild(cache)
	if err != nil {
		t.Fatal(err)
	}
	folder := func(name string, age time.Duration) string {
		path := filepath.Join(filepath.Dir(dir), "child-"+name)
		at := time.Now().Add(-age)
		if err := errors.Join(os.Mkdir(path, 0o700), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	used, old, young := folder("used", 2*unusedFor), folder("old", 2*unusedFor), folder("young", time.Hour)
	other, err := holdChild(used)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-2 * unusedFor)
	if err := os.Chtimes(used, at, at); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{used: true, old: false, young: true, dir: true} {
		mine, err := holdChild(dir)
		if err != nil {
			t.Fatal(err)
		}
		if exists(path) != want {
			t.Errorf("%s is there: %v", path, !want)
		}
		if err := mine.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}
