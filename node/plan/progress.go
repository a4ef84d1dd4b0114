package plan

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// progress follows the reading of a job's files, to tell the user how far it is, and to notice servers that do not
// answer. A server that has not answered for two files within their limit, and has answered for no other, is not asked
// again. Otherwise it would take hours to learn the same of each of ten thousand files.
type progress struct {
	total int
	limit time.Duration // for one file

	mu      sync.Mutex
	done    int
	waiting map[string]time.Time // when each file that is being read was begun, by URL
	servers map[string]*server
}

// server is what is known of the host of URLs.
type server struct {
	answered bool
	silent   int // how many files it did not answer for within their limit
}

// silentFiles is after how many files without an answer a server is not asked any more.
const silentFiles = 2

func newProgress(total int, limit time.Duration) *progress {
	if limit == 0 {
		limit = exec.DefaultOpen
	}
	return &progress{total: total, limit: limit, waiting: map[string]time.Time{}, servers: map[string]*server{}}
}

// serverOf is the scheme and host of a URL, empty for a path.
func serverOf(file string) string {
	u, err := url.Parse(file)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// begin notes that a file is being read now. It returns false, with the file's failure, if the file is not to be read
// since its server does not answer.
func (p *progress) begin(file string, now time.Time) (*exec.Failure, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := serverOf(file)
	if s := p.servers[name]; s != nil && !s.answered && s.silent >= silentFiles {
		p.done++
		return &exec.Failure{Kind: exec.KindOpen, Host: exec.CauseUnreachable, Op: "open", File: file, Entry: -1,
				Msg: fmt.Sprintf("not tried: %s did not answer within %v for %d files (--open-timeout)", name, p.limit, s.silent)},
			false
	}
	p.waiting[file] = now
	return nil, true
}

// end notes that the reading of a file has ended. f is nil if the file could be read.
func (p *progress) end(file string, f *exec.Failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	delete(p.waiting, file)
	name := serverOf(file)
	if name == "" {
		return
	}
	s := p.servers[name]
	if s == nil {
		s = &server{}
		p.servers[name] = s
	}
	switch {
	case f == nil || f.Host != exec.CauseUnreachable:
		s.answered = true
	default:
		s.silent++
	}
}

// slowAfter is how long a file may take to be read before it is named.
const slowAfter = 2 * time.Second

// text says how far the reading is, and names the file that has taken the longest if there is a slow one.
func (p *progress) text(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf("reading file %d of %d", min(p.done+1, p.total), p.total)
	var slow []string
	for file, since := range p.waiting {
		if now.Sub(since) >= slowAfter {
			slow = append(slow, file)
		}
	}
	if len(slow) == 0 {
		return text
	}
	slices.SortFunc(slow, func(a, b string) int {
		if d := p.waiting[a].Compare(p.waiting[b]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	text += fmt.Sprintf("; waiting %.0f s of %.0f s for %s", now.Sub(p.waiting[slow[0]]).Seconds(), p.limit.Seconds(),
		slow[0])
	if n := len(slow) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// show calls tell with the text once a second until stop is closed.
func (p *progress) show(stop <-chan struct{}, tell func(text string)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			tell(p.text(now))
		}
	}
}
