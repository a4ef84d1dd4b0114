package child

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/exec"
)

// Whatever is written in whatever pieces, the capture keeps the first and the last bytes.
func TestCaptureKeepsBothEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &capture{lines: make(chan string, lineBuffer), done: make(chan struct{})}
		var all []byte
		for i := range rapid.IntRange(0, 20).Draw(t, "pieces") {
			piece := bytes.Repeat([]byte{byte('a' + i%26), '\n'}, rapid.IntRange(0, 20_000).Draw(t, "size"))
			c.add(piece)
			all = append(all, piece...)
		}
		head, tail := all[:min(len(all), captureHead)], all[len(all)-min(len(all), captureTail):]
		got := c.text()
		if !strings.HasPrefix(got, string(head)) || !strings.HasSuffix(got, string(tail)) {
			t.Fatalf("%d bytes written: the ends are not kept", len(all))
		}
		if len(all) <= captureHead+captureTail && got != string(all) {
			t.Fatalf("%d bytes written: not all kept", len(all))
		}
	})
}

func TestCaptureLines(t *testing.T) {
	c, w, err := newCapture()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 3*maxLine)
	for _, s := range []string{"one\ntw", "o\n", long + "\n", "no end"} {
		if _, err := w.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Close()
	var got []string
	for l := range c.lines {
		got = append(got, l)
	}
	c.close(time.Minute)
	want := []string{"one", "two", long[:maxLine] + " [... 2048 bytes of this line were dropped]", "no end"}
	if !slices.Equal(got, want) {
		t.Errorf("%d lines: %.80q", len(got), got)
	}
}

// TestCaptureCountsWhatItDrops has nobody take the lines: as many come as there is room for, and one that counts the
// others.
func TestCaptureCountsWhatItDrops(t *testing.T) {
	c, w, err := newCapture()
	if err != nil {
		t.Fatal(err)
	}
	const n = 3 * lineBuffer
	if _, err := w.WriteString(strings.Repeat("1234567\n", n)); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	<-c.done
	got, dropped := int64(0), exec.Dropped{}
	for l := range c.lines {
		if d, ok := exec.DroppedIn(l); ok {
			dropped = dropped.Add(d)
		} else if got++; l != "1234567" {
			t.Fatalf("a line is %q", l)
		}
	}
	c.close(time.Minute)
	if dropped.Lines == 0 || got+dropped.Lines != n || 8*got+dropped.Bytes != 8*n {
		t.Errorf("%d lines came, and %+v were dropped, of %d", got, dropped, n)
	}
}
