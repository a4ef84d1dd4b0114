package pyexec

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// tarball makes a tar of members.
func tarball(t *testing.T, members ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		content := strings.Repeat("x", int(h.Size))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack unpacks a tarball beside a file that it must not touch.
func unpack(t *testing.T, content []byte, most int64) (dir string, out unpacked, err error) {
	t.Helper()
	around := t.TempDir()
	sum := sha256.Sum256(content)
	dir = filepath.Join(around, "env")
	out, err = untar(t.Context(), writeFile(t, "env.tar", content), hex.EncodeToString(sum[:]), dir, most)
	found, bad := os.ReadDir(around)
	if bad != nil || len(found) > 1 {
		t.Errorf("beside the folder there is %v: %v", found, bad)
	}
	return dir, out, err
}

func TestTarballsThatAreRefused(t *testing.T) {
	link := func(name, to string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	for name, members := range map[string][]*tar.Header{
		"an absolute name":   {{Name: "/etc/passwd", Size: 3}},
		"a name that climbs": {{Name: "lib/../../evil", Size: 3}},
		"a link to a root":   {link("lib/x", "/etc/passwd")},
		"a link that climbs": {link("lib/x", "../../evil")},
		"a link over a link": {
			{Name: "a/b/c", Size: 1}, link("a/up", "b/.."), link("d", "a/up/../.."), {Name: "d/evil", Size: 1},
		},
		"links that lead out":   {{Name: "a/b", Size: 1}, link("here", "a/.."), link("out", "here/../../x")},
		"a hard link that does": {{Typeflag: tar.TypeLink, Name: "x", Linkname: "../evil"}},
		"a hard link to a root": {{Typeflag: tar.TypeLink, Name: "x", Linkname: "/etc/passwd"}},
		"a device":              {{Typeflag: tar.TypeChar, Name: "dev/null", Devmajor: 1, Devminor: 3}},
		"a pipe":                {{Typeflag: tar.TypeFifo, Name: "pipe"}},
		"setuid":                {{Name: "bin/su", Mode: 0o4755, Size: 1}},
		"setgid":                {{Name: "bin/su", Mode: 0o2755, Size: 1}},
		"nothing":               {},
	} {
		if _, _, err := unpack(t, tarball(t, members...), 1000); !errors.Is(err, errTarball) {
			t.Errorf("with %s: %v", name, err)
		}
	}
	large := tarball(t, &tar.Header{Name: "a", Size: 600}, &tar.Header{Name: "b", Size: 600})
	if _, _, err := unpack(t, large, 1000); !errors.Is(err, errNoRoom) {
		t.Errorf("too much: %v", err)
	}
	whole := tarball(t, &tar.Header{Name: "bin/python", Size: 100_000, Mode: 0o755})
	if _, _, err := unpack(t, whole[:50_000], 1<<20); !errors.Is(err, errTarball) {
		t.Errorf("cut: %v", err)
	}
	other := strings.Repeat("0", 64)
	_, err := untar(t.Context(), writeFile(t, "env.tar", whole), other, t.TempDir(), 1<<20)
	if !errors.Is(err, errTarball) {
		t.Errorf("with another hash: %v", err)
	}
}

// TestTarballs unpacks one in each form. The interpreter of a virtual environment, which lies elsewhere, is left out.
func TestTarballs(t *testing.T) {
	plain := tarball(t, &tar.Header{Typeflag: tar.TypeDir, Name: "./we/", Mode: 0o755},
		&tar.Header{Name: "./we/bin/tool", Mode: 0o755, Size: 10},
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "./we/bin/python3", Linkname: "python"},
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "./we/bin/python", Linkname: "/usr/bin/python3.11"},
		&tar.Header{Typeflag: tar.TypeLink, Name: "./we/tool", Linkname: "./we/bin/tool"})
	pack := func(make func(io.Writer) (io.WriteCloser, error)) []byte {
		var b bytes.Buffer
		w, err := make(&b)
		if err == nil {
			_, err = w.Write(plain)
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	alone := pack(func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	path := os.Getenv("PATH")
	for name, content := range map[string][]byte{
		"tar": plain, "xz without its program": alone,
		"gz":  pack(func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"xz":  alone,
		"zst": pack(func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
	} {
		t.Setenv("PATH", path)
		if strings.HasPrefix(name, "xz without") {
			t.Setenv("PATH", "")
		}
		dir, out, err := unpack(t, content, 1<<20)
		if err != nil || out.bytes != 10 || len(out.python) != 1 || out.python[0] != "we/bin/python" {
			t.Errorf("%s: %+v, %v", name, out, err)
			continue
		}
		info, err := os.Stat(filepath.Join(dir, "we", "tool"))
		if err != nil || info.Size() != 10 || info.Mode()&0o100 == 0 {
			t.Errorf("%s: the link is %v, %v", name, info, err)
		}
		if prefix, err := prefixIn(dir, out.python); err != nil || prefix != filepath.Join(dir, "we") {
			t.Errorf("%s: the environment is %q, %v", name, prefix, err)
		}
	}
	t.Setenv("PATH", path)
	if _, _, err := unpack(t, alone[:len(alone)-20], 1<<20); !errors.Is(err, errTarball) {
		t.Errorf("one that is cut off: %v", err)
	}
}
