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

// progress follows the reading of a job's files: what its user sees of it, and which servers do not answer. A server
// that lets two files wait to the end, and has answered for none, is asked for no others: a list of ten thousand files
// would take hours to say the same.
type progress struct {
	total int
	limit time.Duration // for one file

	mu      sync.Mutex
	done    int
	waiting map[string]time.Time // URLs, since when
	servers map[string]*server
}

// server is the host of URLs.
type server struct {
	answered bool
	silent   int // files that waited in vain
}

// silentFiles is for how many files a server may let us wait in vain.
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

// begin notes that a file is being read now; false, with a failure, if its server is known not to answer.
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

// end notes what came of a file. f is nil if it could be read.
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

// text is what the user is told: how far it is, and which file is waited for, the longest first.
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

// show tells it once a second until stop is closed.
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
