package rootexec

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// blobReader is a process that reads blobs with the child's BlobReader, compiled with sanitizers.
type blobReader struct {
	in      io.WriteCloser
	out     *bufio.Reader
	errors  *bytes.Buffer
	version uint32 // of ROOT, which a blob must have been written by
}

// buildBlobReader compiles testdata/blobreader.cc, once for each version of the sources, into the user's cache.
func buildBlobReader(tb testing.TB) string {
	tb.Helper()
	cache, err := testCache()
	if err != nil {
		tb.Fatal(err)
	}
	root, err := Find(tb.Context(), FindOptions{Prefix: os.Getenv("DTPNODE_ROOT"), Cache: cache})
	if err != nil {
		tb.Fatal(err)
	}
	key, err := childKey(root)
	if err != nil {
		tb.Fatal(err)
	}
	source, err := os.ReadFile("testdata/blobreader.cc")
	if err != nil {
		tb.Fatal(err)
	}
	exe := filepath.Join(cache, "roottest", fmt.Sprintf("blobreader-%s-%x", key, sha256.Sum256(source)))
	if err := os.MkdirAll(filepath.Dir(exe), 0o700); err != nil {
		tb.Fatal(err)
	}
	err = withLock(tb.Context(), exe+".lock", func() error {
		if exists(exe) {
			return nil
		}
		dir := tb.TempDir()
		if _, err := unpackSources(dir); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "blobreader.cc"), source, 0o600); err != nil {
			return err
		}
		args := []string{"-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer",
			"-std=" + root.Std, "-pthread", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-isystem", root.Include,
			"-Wl,--allow-shlib-undefined", "-Wl,-rpath," + root.Lib, "blobreader.cc", "-L" + root.Lib, "-lCore", "-lRIO"}
		if err := compiler(tb.Context(), root, dir, append(args, "-o", exe+".new")...); err != nil {
			return err
		}
		return os.Rename(exe+".new", exe)
	})
	if err != nil && (strings.Contains(err.Error(), "asan") || strings.Contains(err.Error(), "ubsan")) {
		tb.Skipf("this compiler has no sanitizers: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return exe
}

// blobReaderCommand is the reader with args. ROOT's interpreter leaves memory unfreed, as it means to.
func blobReaderCommand(exe string, args ...string) *osexec.Cmd {
	cmd := osexec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "ASAN_OPTIONS=detect_leaks=0")
	return cmd
}

// startBlobReader starts a reader of blobs, which ends with the test. Each process of a fuzzing run has its own.
func startBlobReader(f *testing.F) *blobReader {
	f.Helper()
	b := &blobReader{errors: new(bytes.Buffer)}
	cmd := blobReaderCommand(buildBlobReader(f))
	cmd.Stderr = b.errors
	in, err := cmd.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	b.in = in
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		b.in.Close()
		_ = cmd.Wait() // what went wrong has been told where it did
	})
	b.out = bufio.NewReader(out)
	line, err := b.out.ReadString('\n')
	if err != nil {
		f.Fatalf("the reader of blobs did not start: %v\n%s", err, b.errors)
	}
	version, err := strconv.ParseUint(strings.TrimSpace(line), 10, 32)
	if err != nil {
		f.Fatal(err)
	}
	b.version = uint32(version)
	return b
}

// read returns how many records the child's reader finds in a blob, and false if it takes it for none.
func (b *blobReader) read(t *testing.T, blob []byte) (records int, ok bool) {
	t.Helper()
	_, err := b.in.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(blob))), blob...))
	line := ""
	if err == nil {
		line, err = b.out.ReadString('\n')
	}
	if err != nil {
		t.Fatalf("the reader of blobs is gone: %v\n%s", err, b.errors)
	}
	_, err = fmt.Sscanf(line, "ok %d", &records)
	return records, err == nil
}

// blobOf is a blob of records with these names, classes and objects.
func blobOf(version uint32, records ...[3]string) []byte {
	b := binary.BigEndian.AppendUint32([]byte("DTPBLOB1"), version)
	b = append(b, 0, 0, 0, 0)
	for i, r := range records {
		for _, v := range []int{i % 2, i, len(r[0]), len(r[1]), 0, len(r[2])} {
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		}
		b = append(b, strings.Join(r[:], "")...)
	}
	return b
}

// TestRecordsOfAnySize looks at blobs whose names and objects are as large as they may be, and larger. What would be
// gigabytes is a hole in the file.
func TestRecordsOfAnySize(t *testing.T) {
	exe := buildBlobReader(t)
	out, err := blobReaderCommand(exe).Output()
	if err != nil {
		t.Fatal(err)
	}
	version, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	const maxName, maxObject = 1 << 16, 1<<31 - 1
	for _, c := range []struct {
		flags  uint32
		name   int
		object uint64
		ok     bool
	}{
		{0, maxName, 0, true},
		{0, maxName + 1, 0, false},
		{0, 1, maxObject, true},
		{1, 1, maxObject + 1, false},
		{2, 1, maxObject + 1, true}, // a file
		{3, 1, 5 << 32, true},
		{2, maxName + 1, 1, false},
	} {
		blob := blobOf(uint32(version), [3]string{strings.Repeat("n", c.name), "TH1F", ""})
		size := int64(len(blob)) + int64(c.object)
		binary.BigEndian.PutUint32(blob[16:], c.flags)
		binary.BigEndian.PutUint64(blob[16+16:], c.object)
		path := filepath.Join(t.TempDir(), "blob")
		if err := os.WriteFile(path, blob, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		got, err := blobReaderCommand(exe, path).CombinedOutput()
		if err != nil || strings.HasPrefix(string(got), "ok 1\n") != c.ok {
			t.Errorf("a name of %d and an object of %d bytes: %q, %v", c.name, c.object, got, err)
		}
		// The node's reader reads nothing of what is that large.
		if _, _, err = Counted(path); errors.Is(err, errImpossible) == c.ok {
			t.Errorf("a name of %d and an object of %d bytes: %v", c.name, c.object, err)
		}
	}
}

// FuzzBlobReader gives bytes to both readers of blobs, the child's in C++ and the node's in Go: both take the same for
// blobs, and the child's touches no memory that is not its own.
func FuzzBlobReader(f *testing.F) {
	cpp := startBlobReader(f)
	units := [3]string{"dtpnode.units", "TParameter<Long64_t>", "object\x00\x00\x00\x00\x00\x00\x00\x05"}
	empty := [3]string{}
	f.Add(blobOf(cpp.version))
	f.Add(blobOf(cpp.version, empty, units, empty))
	f.Add(blobOf(cpp.version, units)[:50])
	f.Add(blobOf(cpp.version^1, units))
	f.Add(blobOf(cpp.version, units, units))
	file := blobOf(cpp.version, [3]string{"out.root", "TFile", "root"}, units)
	f.Add(append(file[:16:16], append([]byte{0, 0, 0, 2}, file[20:]...)...))
	for _, length := range []uint64{1<<31 - 1, 1 << 31, 1 << 32, 1 << 63, 1<<64 - 1, 1<<64 - 8} {
		huge := blobOf(cpp.version, units)
		binary.BigEndian.PutUint64(huge[16+16:], length)
		f.Add(huge)
		large := bytes.Clone(huge)
		large[16+3] = 2
		f.Add(large)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := scanCounters(bytes.NewReader(b), int64(len(b)), map[string]uint64{})
		want := err == nil && binary.BigEndian.Uint32(b[8:]) == cpp.version
		if records, ok := cpp.read(t, b); ok != want {
			t.Errorf("%d bytes: a blob of %d records (%t) for the child, and for the node %v", len(b), records, ok, err)
		}
	})
}
