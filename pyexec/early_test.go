package pyexec

import (
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// dones is a sink of what becomes of packets.
type dones struct {
	t    *testing.T
	done chan exec.Done
}

func (d dones) PacketDone(done exec.Done) { d.done <- done }
func (d dones) Failed(f *exec.Failure)    { d.t.Errorf("failed: %v", f) }
func (d dones) Output(string)             {}

// TestEarlyValues runs items that refer to each other, and is told their values with the packet: small ones in the
// frame, large ones in the file in which the process holds them, also what a call has raised, with the item as the code
// shows it.
func TestEarlyValues(t *testing.T) {
	rt := openRuntime(t)
	d, err := describe(t, rt, writeFile(t, "code.py", []byte(`
ITEMS, MODE = "blob", "values"

def process(item, blob, at):
    if bytes(item) == b"big":
        return b"x" * 300000
    if bytes(item) == b"bad":
        raise ValueError("no")
    return (bytes(item), bytes(blob[0]), at, len(blob))

def show(item, blob, at):
    return f"number {at} of {bytes(blob[0])}"
`)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Program.Release()
	blob, err := exec.PackItems([][]byte{[]byte("a"), []byte("bad"), []byte("b"), []byte("big"), []byte("c")})
	if err != nil {
		t.Fatal(err)
	}
	sink := dones{t, make(chan exec.Done, 1)}
	g, err := d.Program.Start(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()}, sink)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	items := writeFile(t, "items", blob)
	for first, want := range map[int64]string{
		0: `(b'a', b'a', 0, 5); ValueError: no in number 1 of b'a'; (b'b', b'a', 2, 5); 300000 bytes; (b'c', b'a', 4, 5)`,
		2: `(b'b', b'a', 2, 5); 300000 bytes; (b'c', b'a', 4, 5)`,
		4: `(b'c', b'a', 4, 5)`,
	} {
		if err := g.Lease(exec.Packet{ID: uint64(first), Items: items, First: first, Last: 5, Entries: 5}); err != nil {
			t.Fatal(err)
		}
		done := <-sink.done
		if done.Held != nil {
			for i := range done.Held.Len() {
				v, err := done.Held.Value(i)
				if err != nil {
					t.Fatal(err)
				}
				done.Early = append(done.Early, v)
			}
		}
		if got := readValues(t, done.Early); done.Last != 5 || got != want {
			t.Errorf("from %d on: %s, want %s", first, got, want)
		}
	}
}

// readValues has Python read values.
func readValues(t *testing.T, values [][]byte) string {
	t.Helper()
	var args []string
	for _, v := range values {
		args = append(args, writeFile(t, "value", v))
	}
	args = append([]string{"-c", `
import pickle, sys
out = []
for v in (open(path, "rb").read() for path in sys.argv[1:]):
    got = pickle.loads(v[1:])
    if isinstance(got, bytes):
        got = f"{len(got)} bytes"
    out.append(str(got) if v[0] == 0 else f"{got[1]} in {got[3]}")
print("; ".join(out))`}, args...)
	out, err := osexec.CommandContext(t.Context(), "python3", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
