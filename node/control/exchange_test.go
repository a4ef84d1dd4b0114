package control_test

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/wire"
)

// exchanging begins an exchange with a job, and returns the status of the answer, and the connection if that is 101.
func exchanging(t *testing.T, socket, path, headers string) (status int, conn net.Conn, in *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: dtpnode\r\n%s\r\n", path, headers)
	in = bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols { // what follows that is no body
		_ = answer.Body.Close()
	}
	return answer.StatusCode, conn, in
}

// TestExchange appends over one connection, and is told of units over it.
func TestExchange(t *testing.T) {
	f := &fake{hold: make(chan struct{})}
	c, _, socket := servingAt(t, f)
	const upgrade = "Connection: Upgrade\r\nUpgrade: dtpnode-exchange\r\n"
	if status, _, _ := exchanging(t, socket, "/v1/jobs/one/exchange", ""); status != http.StatusUpgradeRequired {
		t.Errorf("status %d for a plain request", status)
	}
	status, _, _ := exchanging(t, socket, "/v1/jobs/one/exchange?first=x", upgrade)
	if status != http.StatusBadRequest {
		t.Errorf("status %d for a bad range", status)
	}
	status, conn, in := exchanging(t, socket, "/v1/jobs/one/exchange?first=3&appends=1", upgrade)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", status)
	}
	say := func(a api.ExchangeAppend) {
		b, err := wire.Marshal(&a)
		if err == nil {
			err = wire.WriteFrame(conn, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var heard []api.ExchangeAnswer
	hear := func() error {
		b, err := wire.ReadFrame(in, 1<<20)
		var a api.ExchangeAnswer
		if err == nil {
			err = wire.Unmarshal(b, &a)
		}
		if err == nil {
			heard = append(heard, a)
		}
		return err
	}
	if err := hear(); err != nil || heard[0].Kept == nil || *heard[0].Kept != 7 {
		t.Fatalf("told at first: %+v, %v; want which calls are kept", heard, err)
	}
	say(api.ExchangeAppend{Keep: &api.ExchangeKeep{First: 7, Ends: make([]byte, 8)}})
	if err := hear(); err != nil || heard[1].Kept == nil || *heard[1].Kept != 9 {
		t.Fatalf("told of calls that were handed over: %+v, %v", heard, err)
	}
	heard = nil
	say(api.ExchangeAppend{Seq: 1, Data: [][]byte{[]byte("a"), []byte("b")}})
	say(api.ExchangeAppend{Seq: 2, Close: true})
	for range 2 {
		if err := hear(); err != nil {
			t.Fatal(err)
		}
	}
	if heard[0].Seq != 1 || heard[1].Seq != 2 || len(heard[1].Failed) > 0 {
		t.Errorf("appends are answered by %+v", heard)
	}
	close(f.hold)
	heard = nil
	var err error
	for err == nil {
		err = hear()
	}
	if !errors.Is(err, io.EOF) || len(heard) != 3 || heard[0].Early[0].First != 4 || len(heard[0].Early[0].Values) != 2 ||
		string(heard[1].Values[0].Values[0]) != "v" || !strings.Contains(string(heard[2].Rest), `"over"`) {
		t.Errorf("told %+v, %v", heard, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.asked, "attend one") {
		t.Errorf("nobody was told that a program is connected that appends: %q", f.asked)
	}
	c.Close()
}

// TestExchangeRefuses: a refusal is told, and nothing is appended after it.
func TestExchangeRefuses(t *testing.T) {
	f := &fake{hold: make(chan struct{})}
	_, _, socket := servingAt(t, f)
	_, conn, in := exchanging(t, socket, "/v1/jobs/none/exchange",
		"Connection: Upgrade\r\nUpgrade: dtpnode-exchange\r\n")
	for seq := range uint64(2) {
		b, err := wire.Marshal(&api.ExchangeAppend{Seq: seq + 1})
		if err != nil {
			t.Fatal(err)
		}
		_ = wire.WriteFrame(conn, b) // it may have been refused by now, and the connection closed
	}
	var all []string
	status := 0
	for {
		b, err := wire.ReadFrame(in, 1<<20)
		if err != nil {
			break
		}
		all = append(all, string(b))
		var a api.ExchangeAnswer
		if err := wire.Unmarshal(b, &a); err != nil {
			t.Fatal(err)
		}
		status = cmp.Or(status, a.Status)
	}
	if status != errNone.Status {
		t.Errorf("told the status %d", status)
	}
	if len(all) == 0 || !strings.Contains(strings.Join(all, ""), errNone.Message) {
		t.Errorf("told %q", all)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	appends := 0
	for _, what := range f.asked {
		if strings.HasPrefix(what, "append") {
			appends++
		}
	}
	if appends > 1 {
		t.Errorf("appended after a refusal: %q", f.asked)
	}
}

// TestExchangeOfFiles: values that lie in a file come as its descriptor, with the frame that says where they are, to
// whom asks for that.
func TestExchangeOfFiles(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "values"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("..abcd"); err != nil {
		t.Fatal(err)
	}
	f := &fake{hold: make(chan struct{}), held: file}
	_, _, socket := servingAt(t, f)
	const upgrade = "Connection: Upgrade\r\nUpgrade: dtpnode-exchange\r\n"
	close(f.hold)
	for query, want := range map[string]int{"?held=1": 4, "": 3} {
		_, conn, in := exchanging(t, socket, "/v1/jobs/one/exchange"+query, upgrade)
		if query != "" { // the other side may be over by now
			sayNothing(t, conn)
		}
		got := framesOf(t, in, conn.(*net.UnixConn))
		if len(got) != want {
			t.Fatalf("%q: %d frames", query, len(got))
		}
		held := got[1].held
		if query == "" {
			if held != nil {
				t.Error("a file comes to who has not asked for any")
			}
			continue
		}
		var content [4]byte
		if _, err := got[1].file.ReadAt(content[:], held.At); err != nil || string(content[:]) != "abcd" || held.First != 6 {
			t.Errorf("the file has %q, %v; told %+v", content, err, held)
		}
		if info, err := got[1].file.Stat(); err != nil || info.Sys().(*syscall.Stat_t).Ino != held.Inode {
			t.Errorf("it is another file: %v", err)
		}
	}
}

// sayNothing says that descriptors are taken.
func sayNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	b, err := wire.Marshal(&api.ExchangeAppend{})
	if err == nil {
		err = wire.WriteFrame(conn, b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// frameOf is a frame, and the file that has come with it.
type frameOf struct {
	held *api.HeldRun
	file *os.File
}

// framesOf reads frames up to the end, of which in has some already.
func framesOf(t *testing.T, in *bufio.Reader, conn *net.UnixConn) (all []frameOf) {
	t.Helper()
	data := make([]byte, in.Buffered())
	if _, err := io.ReadFull(in, data); err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for {
		b, oob := make([]byte, 1<<16), make([]byte, 1<<10)
		n, m, _, _, err := conn.ReadMsgUnix(b, oob)
		if n == 0 || err != nil {
			break
		}
		data = append(data, b[:n]...)
		said, err := syscall.ParseSocketControlMessage(oob[:m])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range said {
			fds, err := syscall.ParseUnixRights(&s)
			if err != nil {
				t.Fatal(err)
			}
			for _, fd := range fds {
				file := os.NewFile(uintptr(fd), "values")
				t.Cleanup(func() { _ = file.Close() })
				files = append(files, file)
			}
		}
	}
	for r := bytes.NewReader(data); ; {
		b, err := wire.ReadFrame(r, 1<<20)
		if err != nil {
			return all
		}
		var a api.ExchangeAnswer
		if err := wire.Unmarshal(b, &a); err != nil {
			t.Fatal(err)
		}
		frame := frameOf{held: a.Held}
		if a.Held != nil {
			if len(files) == 0 {
				t.Fatal("no file comes with its values")
			}
			frame.file, files = files[0], files[1:]
		}
		all = append(all, frame)
	}
}
