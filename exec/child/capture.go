package child

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

const (
	captureHead = 64 << 10
	captureTail = 64 << 10
	maxTail     = 4 << 10 // Failure.Tail
	maxLine     = 1 << 10
	lineBuffer  = 4096
)

// capture drains what a child prints, however much it is: the first and the last 64 KiB are kept, and
// lines are sent to a channel, unless it is full: a reader that is slow must not hold up the child. For lines that find
// it full one is sent that counts them (exec.Dropped).
type capture struct {
	r     *os.File
	lines chan string
	done  chan struct{} // closed when the pipe is at its end

	mu      sync.Mutex
	head    []byte
	tail    []byte // ring once full
	at      int    // oldest byte of tail once full
	total   int64
	dropped exec.Dropped // what found the channel full since it had room last
	partial []byte
	cut     int64 // bytes of a line that has more than partial may have
}

// newCapture returns a capture and the write end for the child. The reading goroutine ends with the
// last writer, or with close.
func newCapture() (*capture, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("could not make a pipe for a child's output: %w", err)
	}
	c := &capture{r: r, lines: make(chan string, lineBuffer), done: make(chan struct{})}
	go c.drain()
	return c, w, nil
}

func (c *capture) drain() {
	defer close(c.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.r.Read(buf)
		c.add(buf[:n])
		if err != nil {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.partial) > 0 {
		c.offer()
	}
	c.count()
	close(c.lines)
}

func (c *capture) add(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total += int64(len(b))
	c.split(b)
	if room := captureHead - len(c.head); room > 0 {
		n := min(room, len(b))
		c.head = append(c.head, b[:n]...)
		b = b[n:]
	}
	if len(b) > captureTail {
		b = b[len(b)-captureTail:]
	}
	if room := captureTail - len(c.tail); room > 0 {
		n := min(room, len(b))
		c.tail = append(c.tail, b[:n]...)
		b = b[n:]
	}
	for len(b) > 0 {
		n := copy(c.tail[c.at:], b)
		c.at = (c.at + n) % captureTail
		b = b[n:]
	}
}

func (c *capture) split(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			c.begin(b)
			return
		}
		c.begin(b[:i])
		c.offer()
		b = b[i+1:]
	}
}

// begin adds to the line that has not ended.
func (c *capture) begin(b []byte) {
	n := min(len(b), maxLine-len(c.partial))
	c.partial = append(c.partial, b[:n]...)
	c.cut += int64(len(b) - n)
}

// offer ends the line.
func (c *capture) offer() {
	size := int64(len(c.partial)) + c.cut + 1
	switch {
	case len(c.lines) >= cap(c.lines)-2: // room for what counts the dropped ones, and for the last line of all
		c.dropped = c.dropped.Add(exec.Dropped{Lines: 1, Bytes: size})
	default:
		c.count()
		text := string(c.partial)
		if _, ok := exec.DroppedIn(text); ok {
			text = text[1:] // without the separator it stands for itself
		}
		if c.cut > 0 {
			text += fmt.Sprintf(" [... %d bytes of this line were dropped]", c.cut)
		}
		c.lines <- text
	}
	c.partial, c.cut = c.partial[:0], 0
}

// count sends what counts dropped lines, if there are any. It is the only one that sends, and there is room.
func (c *capture) count() {
	if c.dropped.Lines > 0 {
		c.lines <- c.dropped.Line()
		c.dropped = exec.Dropped{}
	}
}

// forget drops what was kept so far, so that text begins with what comes from now on.
func (c *capture) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.tail, c.at, c.total = nil, nil, 0, 0
}

// text is what was kept of the output, with a note where something was left out.
func (c *capture) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := append([]byte(nil), c.head...)
	if left := c.total - int64(len(c.head)) - int64(len(c.tail)); left > 0 {
		out = fmt.Appendf(out, "\n[... %d bytes left out ...]\n", left)
	}
	out = append(out, c.tail[c.at:]...)
	return string(append(out, c.tail[:c.at]...))
}

// last is the end of the text, at most 4 KiB, from the start of a line.
func (c *capture) last() string {
	s := c.text()
	if len(s) <= maxTail {
		return s
	}
	s = s[len(s)-maxTail:]
	if i := bytes.IndexByte([]byte(s), '\n'); i >= 0 && i < len(s)-1 {
		s = s[i+1:]
	}
	return s
}

// close waits for the end of the output, but no longer than patience: a process that the child started may hold the
// pipe open for ever.
func (c *capture) close(patience time.Duration) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c.done:
	case <-t.C:
	}
	_ = c.r.Close() // ends drain
	<-c.done
}
