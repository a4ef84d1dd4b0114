package pyexec

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/exectest"
)

// conforming is what the tests of the contract want of code. A sum is one number that has 32 bits for each class of
// units, so that its pickle is the same wherever it was made, and tells units that are lost or counted twice.
const conforming = `
import ctypes, os, sys, time

HOW, STEP, AT, GO = %q, %q, %d, %q
MODE = %q

def begin():
    print("begins")
    if STEP == "begin":
        misbehave()
    return "input"

def start(given):
    if given != "input":
        raise ValueError(f"begins with {given!r}")
    if STEP == "start":
        misbehave()

def process(item):
    unit = int(item) if item.isdigit() else -1
    if STEP == "" and unit == AT:
        misbehave()
    return item.upper() if MODE == "values" else 1 << 32 * (unit %% 97)

def finish(total):
    if STEP == "finish":
        misbehave()
    return total

def misbehave():
    if HOW:
        print("about to be bad:", HOW)
    if HOW == "escape" and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("escaped", "w").close()
            time.sleep(1000)
        os._exit(0)
    while HOW == "escape" and not os.path.exists("escaped"):
        time.sleep(0.001)
    if HOW in ("crash", "escape"):
        ctypes.string_at(8)
    if HOW == "exit":
        sys.exit(7)
    if HOW == "throw":
        raise ValueError("something is wrong")
    hoard = []
    while HOW == "hoard":
        hoard.append(b"x" * (16 << 20))
    while HOW == "loop":
        pass
    if HOW == "flood":
        for i in range(1 << 16):
            print("x" * 1000)
    while HOW == "hold" and not os.path.exists(GO):
        time.sleep(0.001)
`

// testCache is the cache of the user who runs the tests, so that what the child needs is installed once.
func testCache(t testing.TB) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "dtpnode")
}

// TestConforms has Python do all that a runtime must be able to do.
func TestConforms(t *testing.T) {
	exectest.Run(t, exectest.Suite{
		Finder:  &Finder{child: os.Getenv(childVariable), Spare: -1}, // the tests look for processes that are left
		Cache:   testCache(t),
		Request: conformingRequest,
		Input: func(t testing.TB, name string, entries, base int64) string {
			if entries == 0 { // PackItems makes none that is empty
				return writeFile(t, name, append([]byte("dtpitems"), make([]byte, 8)...))
			}
			var items [][]byte
			for i := range entries {
				items = append(items, strconv.AppendInt(nil, base+i, 10))
			}
			blob, err := exec.PackItems(items)
			if err != nil {
				t.Fatal(err)
			}
			return writeFile(t, name, blob)
		},
		Missing: "/no/such/input",
		Bad:     func(t testing.TB) string { return writeFile(t, "bad", []byte("no blob of items")) },
		Same:    func(_ testing.TB, a, b string) error { return sameSums(a, b) },
		Value: func(_ int64, item []byte) []byte {
			return append([]byte{0}, pickledBytes(bytes.ToUpper(item))...)
		},
	})
}

func conformingRequest(t testing.TB, c exectest.Code) exec.Request {
	t.Helper()
	kind := "sum"
	if c.Values {
		kind = "values"
	}
	source := fmt.Sprintf(conforming, c.How, c.Step, c.At, c.Go, kind)
	if c.Step == exectest.AtBuild {
		source = "def ("
	}
	spec, err := json.Marshal(Spec{Code: writeFile(t, "code.py", []byte(source))})
	if err != nil {
		t.Fatal(err)
	}
	return exec.Request{Spec: spec}
}

func writeFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pickledBytes is the pickle, of protocol 5, of fewer than 256 bytes.
func pickledBytes(b []byte) []byte {
	body := append([]byte{'C', byte(len(b))}, b...)
	body = append(body, 0x94, '.') // MEMOIZE, STOP
	out := []byte{0x80, 5, 0x95}
	out = binary.LittleEndian.AppendUint64(out, uint64(len(body))) // FRAME
	return append(out, body...)
}

// sameSums compares two outputs that hold sums. Their canaries depend on the packets.
func sameSums(a, b string) error {
	x, err := readSum(a)
	if err != nil {
		return err
	}
	y, err := readSum(b)
	if err != nil {
		return err
	}
	if !bytes.Equal(x, y) {
		return fmt.Errorf("the sums differ: %x and %x", x, y)
	}
	pickle, units := x[:len(x)-8], binary.LittleEndian.Uint64(x[len(x)-8:])
	if n := countedIn(pickle); n != units {
		return fmt.Errorf("a sum of %d units counts %d: %x", units, n, pickle)
	}
	return nil
}

// countedIn is how many units the pickle of a sum counts in all classes together.
func countedIn(pickle []byte) (units uint64) {
	body := bytes.TrimSuffix(pickle, []byte("."))
	if len(body) > 11 && body[2] == 0x95 { // PROTO, FRAME
		body = body[11:]
	} else if len(body) > 2 {
		body = body[2:]
	}
	heads := map[byte]int{0x8a: 2, 0x8b: 5, 'K': 1, 'M': 1, 'J': 1} // LONG1 and LONG4 with sizes, BININT1, 2 and 4
	if len(body) == 0 || heads[body[0]] == 0 {
		return 0
	}
	for i, b := range body[heads[body[0]]:] {
		units += uint64(b) << (8 * (i % 4))
	}
	return units
}

// readSum is the pickle in an output, which must hold a sum, with how many units it is of.
func readSum(path string) ([]byte, error) {
	p, err := openPartial(path)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if p.mode != modeSum {
		return nil, fmt.Errorf("%s holds values", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint64(content[partialHead:], uint64(p.units)), nil
}
