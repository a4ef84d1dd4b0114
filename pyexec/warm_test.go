package pyexec

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// importing is a runtime whose interpreter finds modules that say when they are imported.
type importing struct {
	*Runtime
	t      *testing.T
	folder string // of the modules
	said   string // file in which they say so
}

func openImporting(t *testing.T) *importing {
	dir := t.TempDir()
	t.Setenv("PYTHONPATH", dir)
	r := &importing{t: t, folder: dir, said: filepath.Join(t.TempDir(), "imported")}
	r.write("inner", "VALUE = 1")
	r.write("outer", "import inner")
	r.write("looks", "try:\n    import added\nexcept ImportError:\n    added = None")
	r.Runtime = openRuntime(t)
	return r
}

// module is the source of a module that says when it is imported.
func (r *importing) module(name, text string) []byte {
	return []byte("open(" + `"` + r.said + `", "a").write("` + name + ` ")` + "\n" + text + "\n")
}

func (r *importing) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.folder, name+".py"), r.module(name, text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// load loads code that names modules to be imported, and brings others, and returns which were imported for that.
func (r *importing) load(code, imports string, brought map[string][]byte) (exec.Program, string) {
	r.t.Helper()
	members := map[string][]byte{
		"code.py":      []byte(code + "\ndef process(x): return x\n"),
		"imports.json": []byte(imports),
	}
	maps.Copy(members, brought)
	d, err := describe(r.t, r.Runtime, archive(r.t, members))
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := os.ReadFile(r.said)
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	_ = os.Remove(r.said) // there may be none
	return d.Program, strings.TrimSpace(string(text))
}

// TestImportsAreKept: modules are imported once for all programs that name them, as long as they are what each would
// import by itself.
func TestImportsAreKept(t *testing.T) {
	r := openImporting(t)
	const one = "import inner; assert inner.VALUE == 1"
	lib := func(name, text string) map[string][]byte {
		return map[string][]byte{"lib/" + name + ".py": r.module(name, text)}
	}
	for _, s := range []struct {
		what, code, imports string
		brought             map[string][]byte
		want                string
	}{
		{"first", one, `["inner"]`, nil, "inner"},
		{"again", one, `["inner"]`, nil, ""},
		{"by another list", "import outer", `["outer"]`, nil, "outer inner"},
		{"that one again", "import outer", `["outer"]`, nil, ""},
		{"of which it brings a part", "import outer; assert outer.inner.VALUE == 9", `["outer"]`,
			lib("inner", "VALUE = 9"), "outer inner"},
		{"of which it brings the same", "import outer", `["outer"]`, lib("inner", "VALUE = 1"), ""},
		{"which it brings", "import inner; assert inner.VALUE == 9", `["inner"]`, lib("inner", "VALUE = 9"), "inner"},
		{"that look for another", "import looks; assert not looks.added", `["looks"]`, nil, "looks"},
		{"for one that it brings", "import looks; assert looks.added", `["looks"]`, lib("added", ""), "looks added"},
		{"whose version it brings", "import looks", `["looks"]`,
			map[string][]byte{"lib/added-1.dist-info/METADATA": nil}, "looks"},
		{"that are not there", one, `["nosuch"]`, nil, "inner"},
		{"that are no names", one, `["inner; import os"]`, nil, "inner"},
		{"without a list", one, `{`, nil, "inner"},
	} {
		p, imported := r.load(s.code, s.imports, s.brought)
		p.Release()
		if imported != s.want {
			t.Errorf("%s: %q was imported, want %q", s.what, imported, s.want)
		}
	}

	r.write("inner", "VALUE = 22")
	p, imported := r.load("import inner; assert inner.VALUE == 22", `["inner"]`, nil)
	defer p.Release()
	if imported != "inner" {
		t.Errorf("of a module that was changed %q was imported", imported)
	}
	r.write("added", "")
	q, imported := r.load("import looks; assert looks.added", `["looks"]`, nil)
	defer q.Release()
	if imported != "looks added" {
		t.Errorf("after a module was added %q was imported", imported)
	}
}

// TestImportsLeave: processes that have modules imported stay as long as they are used, are few when they are not, go
// after a while, and are replaced if somebody kills them.
func TestImportsLeave(t *testing.T) {
	r := openImporting(t)
	w := r.own.warm
	w.most = 1
	names := func() []string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Sorted(maps.Keys(w.byName))
	}
	inner, _ := r.load("import inner", `["inner"]`, nil)
	outer, _ := r.load("import outer", `["outer"]`, nil)
	if got := names(); !slices.Equal(got, []string{"inner", "outer"}) {
		t.Errorf("while both are used there are %q", got)
	}
	inner.Release()
	outer.Release()
	if got := names(); !slices.Equal(got, []string{"outer"}) {
		t.Errorf("of what nobody uses there is %q", got)
	}
	i := w.byName["outer"]
	if err := syscall.Kill(i.proc.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-i.proc.Exited()
	p, _ := r.load("import outer", `["outer"]`, nil)
	q, imported := r.load("import outer", `["outer"]`, nil)
	if imported != "" {
		t.Errorf("after one was killed, and another made, %q was imported", imported)
	}
	p.Release()
	q.Release()
	i = w.byName["outer"]
	w.leave(i, i.used-1)
	if got := names(); len(got) != 1 {
		t.Errorf("one that was used meanwhile has left")
	}
	w.leave(i, i.used)
	<-i.proc.Exited()
	if got := names(); len(got) != 0 {
		t.Errorf("after a while there are %q", got)
	}
	w.keep = time.Nanosecond
	p, _ = r.load("import inner", `["inner"]`, nil)
	i = w.byName["inner"]
	p.Release()
	<-i.proc.Exited()
}
