package rootexec

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// sealed is a library of which only the files matter, in a cache.
func sealed(t *testing.T, cache, key, so string) Library {
	t.Helper()
	dir := libDir(cache, key)
	if err := writeSources(Source{Files: map[string][]byte{
		"A.C":       []byte("source"),
		"A_C.so":    []byte(so),
		"sub/x.pcm": []byte("dictionary"),
	}}, dir); err != nil {
		t.Fatal(err)
	}
	if err := seal(dir, meta{Key: key, Main: "A.C", So: "A_C.so", Platform: "p"}); err != nil {
		t.Fatal(err)
	}
	lib, ok := cachedLibrary(cache, key)
	if !ok {
		t.Fatal("what was written is not found")
	}
	return lib
}

// A library that a loss of power has cut short, or that is not what it was in any of its files, is not used.
func TestDamagedLibraryIsNotUsed(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"cut short": func(dir string) error { return os.Truncate(filepath.Join(dir, "A_C.so"), 3) },
		"empty":     func(dir string) error { return os.Truncate(filepath.Join(dir, "A_C.so"), 0) },
		"zeros": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "A_C.so"), make([]byte, 7), 0o600)
		},
		"dictionary gone": func(dir string) error { return os.Remove(filepath.Join(dir, "sub/x.pcm")) },
		"source changed":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "A.C"), []byte("sourcE"), 0o600) },
		"not sealed":      func(dir string) error { return os.Remove(filepath.Join(dir, libMeta)) },
		"seal cut short":  func(dir string) error { return os.Truncate(filepath.Join(dir, libMeta), 20) },
		"of an old build": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, libMeta), []byte(`{"key":"k","main":"A.C","so":"A_C.so"}`), 0o600)
		},
	} {
		cache := t.TempDir()
		lib := sealed(t, cache, "k", "library")
		if err := lib.Check(); err != nil {
			t.Fatal(err)
		}
		if err := damage(lib.Dir); err != nil {
			t.Fatal(err)
		}
		if _, ok := cachedLibrary(cache, "k"); ok {
			t.Errorf("%s: used", name)
		}
		if err := lib.Check(); name != "of an old build" && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A binary from a member is for its own jobs: neither others that send the same sources get it, nor does it pass for
// one that was compiled here, nor another binary of the same member for the one that it has signed; and it can be
// dropped.
func TestForeignLibraryIsForItsSubmitter(t *testing.T) {
	src := Source{Main: "A.C", Files: map[string][]byte{"A.C": []byte("source")}}
	e := &Executor{cfg: Config{Cache: t.TempDir(), Root: &Root{Platform: "p"}}}
	e.selectors.init(1)
	key := LibraryKey(src, "p")
	packed, err := sealed(t, t.TempDir(), key, "evil").Pack()
	if err != nil {
		t.Fatal(err)
	}
	from := originOf(packed)
	lib, err := Unpack(t.Context(), e.cfg.Cache, key, from, packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(lib.So); err != nil || string(b) != "evil" || lib.Key == key {
		t.Errorf("%q, %v as %s", b, err, lib.Key)
	}
	if _, ok := e.Compiled(src); ok {
		t.Error("passes for compiled here")
	}
	if again, ok := e.Unpacked(src, from); !ok || !reflect.DeepEqual(again, lib) {
		t.Error("its submitter does not get it")
	}
	for name, o := range map[string]Origin{
		"another submitter": {"other", from.SHA256},
		"another library":   {from.Submitter, key},
		"nobody":            {},
	} {
		if _, ok := e.Unpacked(src, o); ok {
			t.Errorf("%s gets it", name)
		}
	}
	otherHash := Origin{from.Submitter, key}
	if _, err := Unpack(t.Context(), e.cfg.Cache, key, otherHash, packed, nil); !errors.Is(err, ErrPack) {
		t.Errorf("unpacked what was not signed: %v", err)
	}
	other := Origin{"other", from.SHA256}
	if _, err := Unpack(t.Context(), e.cfg.Cache, key, other, packed, nil); err != nil {
		t.Fatal(err)
	}
	if err := e.Forget(from.Submitter); err != nil {
		t.Fatal(err)
	}
	if _, ok := e.Unpacked(src, from); ok {
		t.Error("is still there")
	}
	if _, ok := e.Unpacked(src, other); !ok {
		t.Error("another's is gone too")
	}
}

// With ROOT: a library that was cut short is compiled again and works, one of another member is not run in its place.
func TestCutLibraryIsCompiledAgain(t *testing.T) {
	e := executor(t)
	src := Source{Main: "Cut.C", Files: map[string][]byte{"Cut.C": []byte(`#include <TSelector.h>
class Cut : public TSelector { public: Int_t Version() const override { return 2; } ClassDefOverride(Cut, 0); };
`)}}
	key := LibraryKey(src, e.cfg.Root.Platform)
	packed, err := sealed(t, t.TempDir(), key, "no library at all").Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(t.Context(), e.cfg.Cache, key, originOf(packed), packed, nil); err != nil {
		t.Fatal(err)
	}
	lib, err := e.Compile(t.Context(), src)
	if err != nil {
		t.Fatal(explain(err))
	}
	info, err := os.Stat(lib.So)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(lib.So, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Load(t.Context(), lib, "Cut"); !errors.Is(err, ErrDamaged) {
		t.Errorf("loaded half a library: %v", err)
	}
	if _, ok := e.Compiled(src); ok {
		t.Error("half a library counts as whole")
	}
	if lib, err = e.Compile(t.Context(), src); err != nil {
		t.Fatal(explain(err))
	}
	s, err := e.Load(t.Context(), lib, "Cut")
	if err != nil {
		t.Fatal(explain(err))
	}
	s.Release()
}
