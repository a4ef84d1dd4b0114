package engine

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// This host may not see files that other hosts see, for want of a mount, a right, a route or a plugin. If a generation
// finds that out, all that it has done is lost. So a node looks at local files before generations open them: at those
// of which it holds work, and at one of each folder. When one file turns out not to be seen, others are presumed not to
// be:
//
//   - of local files none is presumed; all of them are looked at, which is cheap;
//   - of a server that could not be reached, or refused, for two files: all its files;
//   - of a protocol that the runtime does not know: all files of that protocol;
//   - of a folder on a server of which two files could not be had: all its files, until each has been looked at.
//
// Files that are not seen are looked at again from time to time, since mounts and servers come back.

// Causes that concern a whole server, or a protocol, and not one file. The words are those of exec.Cause, which this
// package may not import.
const (
	causeUnreachable  = "unreachable"
	causeProtocol     = "protocol"
	causeUnauthorised = "unauthorised"
)

// causeDiffers concerns one file: what has its name on this host is not the file that was planned.
const causeDiffers = "differs"

const (
	lookAtOnce  = 256              // most files in one Look
	lookSamples = 16               // how many of the files that are not seen are looked at again at a time
	lookFirst   = 2 * time.Second  // how soon that happens the first time; the wait doubles each time
	lookMax     = time.Minute      // the longest that the wait becomes
	lookLost    = 10 * time.Minute // when a Look that is not answered is given up
	// doubt is how long a Look that sees a file is not believed after a generation could not open the file. It doubles
	// with each such failure.
	doubt = 5 * time.Second
)

// Glance is how one file looks from this host.
type Glance struct {
	File   int    // index in the job's dataset
	Cause  string // an exec.Cause: why the file is not seen; empty if it is seen
	Reason string // what the system or the runtime said, for the user; empty if it is seen
}

// unread is a file that this host does not see.
type unread struct {
	Glance
	presumed bool          // neither the file nor its server has been tried: it is not seen for what others showed
	fails    int           // how many generations could not open it
	doubted  time.Duration // a Look that sees the file is not believed before this time
}

// sight is what this host does not see of one job's files. At most one Look is out at a time; the files in todo wait
// for the next one.
type sight struct {
	files  map[int]*unread // that are not seen, by index in the dataset
	todo   []int           // to be looked at
	ahead  []bool          // by index: the file was looked at, or left out, before any generation came to it
	asked  tasks.Moment    // when the Look that is out was emitted; never if none is
	next   time.Duration   // when to look again at some of files
	wait   time.Duration   // how long it was until next
	swept  bool            // all local files have been looked at, or are in todo, since a file was last found missing
	sample int             // where among files the next samples begin
}

// due is when lookAgain must be called; -1 for never.
func (s *sight) due() time.Duration {
	if len(s.files) == 0 || !s.asked.Never() {
		return -1
	}
	return s.next
}

// cannotRead notes that a generation could not open a file since this host does not see it.
func (p *Peer) cannotRead(j *jobState, f ledger.Failure) {
	if !j.loaded {
		return
	}
	file, _ := j.data().Locate(f.Blame.First)
	s := &j.sight
	if s.files == nil {
		s.files = map[int]*unread{}
	}
	u := s.files[file]
	if u == nil {
		u = &unread{}
		s.files[file] = u
	}
	f = f.Cut()
	u.Glance, u.presumed = Glance{file, f.Host, f.Reason}, false
	u.doubted = p.now + doubt<<min(u.fails, 6)
	u.fails++
	s.wait, s.next = lookFirst, p.now+lookFirst
	s.presume(j.data(), u)
	j.reports.news, j.reports.urgent = true, true
	p.look(j)
}

// presume notes which other files are most likely not seen, now that u is not, and which have to be looked at to tell.
func (s *sight) presume(d *tasks.Dataset, u *unread) {
	url := d.Files[u.File].URL
	if !remote(url) {
		s.sweep(d, u)
		return
	}
	key, whole := keyFor(url, u.Cause)
	if u.Cause != causeProtocol && !s.twice(d, u, key) {
		return
	}
	for i := range d.Files {
		if k, _ := keyFor(d.Files[i].URL, u.Cause); k != key || s.files[i] != nil {
			continue
		}
		o := &unread{Glance: Glance{i, u.Cause, u.Reason}, presumed: !whole}
		if u.Cause == causeDiffers {
			o.Reason = inCommon(u.Cause)
		}
		s.files[i] = o
		if !whole {
			s.todo = append(s.todo, i)
		}
	}
}

// sweep has all local files looked at that are not known to be missing. Those behind u come first, since generations
// come to them next.
func (s *sight) sweep(d *tasks.Dataset, u *unread) {
	if s.swept || remote(d.Files[u.File].URL) {
		return
	}
	s.swept = true
	s.todo = slices.DeleteFunc(s.todo, func(i int) bool { return !remote(d.Files[i].URL) })
	for i := range d.Files {
		if o := (u.File + 1 + i) % len(d.Files); s.files[o] == nil && !remote(d.Files[o].URL) {
			s.todo = append(s.todo, o)
		}
	}
}

// twice reports whether generations have failed at another file for the same cause as at u, in the same folder or on
// the same server, which key names.
func (s *sight) twice(d *tasks.Dataset, u *unread, key string) bool {
	for i, o := range s.files {
		if k, _ := keyFor(d.Files[i].URL, o.Cause); i != u.File && o.fails > 0 && k == key && o.Cause == u.Cause {
			return true
		}
	}
	return false
}

// remote reports whether a file cannot be looked at on this host: it is on a server, or it is a blob of items, which
// has no URL.
func remote(url string) bool {
	return url == "" || strings.Contains(url, "://") && !strings.HasPrefix(url, "file:")
}

// keyFor names what a cause usually makes fail together: all files of a protocol, of a server or of a folder. whole
// says that the cause concerns all of them by its nature, so that none needs to be tried by itself.
func keyFor(url, cause string) (key string, whole bool) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return folder(url), false
	}
	host, _, _ := strings.Cut(rest, "/")
	switch cause {
	case causeProtocol:
		return scheme + "://", true
	case causeUnreachable, causeUnauthorised:
		return scheme + "://" + host + "/", true
	}
	return folder(url), false
}

// folder is a path or URL up to its last slash.
func folder(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url[:strings.LastIndexByte(url, '/')+1]
}

// look emits the next Look, of files in todo, unless one is out.
func (p *Peer) look(j *jobState) {
	s := &j.sight
	if !s.asked.Never() || len(s.todo) == 0 || j.shut {
		return
	}
	n := min(len(s.todo), lookAtOnce)
	p.emit(Look{ID: j.id, Files: slices.Clone(s.todo[:n])})
	s.todo = s.todo[n:]
	s.asked = tasks.At(p.now)
}

// looked takes the answer to a Look.
func (p *Peer) looked(ev Looked) {
	j := p.job(ev.ID)
	if j == nil || !j.loaded || j.shut {
		return
	}
	s := &j.sight
	s.asked = tasks.Moment{}
	if s.files == nil {
		s.files = map[int]*unread{}
	}
	changed := false
	for _, g := range ev.Files {
		u := s.files[g.File]
		changed = changed || u != nil || g.Cause != ""
		switch {
		case g.File < 0 || g.File >= len(j.data().Files):
		case g.Cause == "" && u != nil && p.now >= u.doubted:
			s.seen(j.data(), u)
			s.wait, s.next = lookFirst, p.now+lookFirst
		case g.Cause != "" && u == nil:
			u = &unread{Glance: g}
			s.files[g.File] = u
			s.sweep(j.data(), u)
		case g.Cause != "":
			u.Glance, u.presumed = g, false
		}
	}
	p.look(j)
	if s.asked.Never() {
		s.swept = false
	}
	if changed {
		p.blindNow(j)
	}
}

// lookAhead has this host look at the local files of which this node holds work and, the first time, at one file of
// each folder, before generations come to them: a generation that comes to a file that is not there has worked in vain.
func (p *Peer) lookAhead(j *jobState, held tasks.Cover) {
	s, d := &j.sight, j.data()
	first := s.ahead == nil
	s.ahead = append(s.ahead, make([]bool, len(d.Files)-len(s.ahead))...) // an open job may have grown
	for _, r := range held {
		for i, _ := d.Locate(r.First); i < len(d.Files) && d.Units(i).First < r.Last; i++ {
			if !s.ahead[i] && !remote(d.Files[i].URL) {
				s.todo = append(s.todo, i)
			}
			s.ahead[i] = true
		}
	}
	if first {
		s.lookIntoFolders(d)
	}
	p.look(j)
}

// grew has a host that does not see all files look at those that were appended, from the index from on, since it may
// not see them either.
func (p *Peer) grew(j *jobState, from int) {
	if s, d := &j.sight, j.data(); len(s.files) > 0 {
		for i := from; i < len(d.Files); i++ {
			if !remote(d.Files[i].URL) {
				s.todo = append(s.todo, i)
			}
		}
		p.look(j)
	}
}

// lookIntoFolders has one local file of each folder looked at, so that a missing mount is known before work in it is
// stolen.
func (s *sight) lookIntoFolders(d *tasks.Dataset) {
	known := map[string]bool{}
	for i := range d.Files {
		if url := d.Files[i].URL; !remote(url) && !known[folder(url)] {
			known[folder(url)] = true
			if !s.ahead[i] {
				s.ahead[i] = true
				s.todo = append(s.todo, i)
			}
		}
	}
}

// seen notes that u is seen again. Files that were not seen for the same cause are looked at too, or, if the cause was
// the server's and they were never tried, count as seen.
func (s *sight) seen(d *tasks.Dataset, u *unread) {
	key, whole := keyFor(d.Files[u.File].URL, u.Cause)
	delete(s.files, u.File)
	for _, i := range slices.Sorted(maps.Keys(s.files)) {
		o := s.files[i]
		if k, _ := keyFor(d.Files[i].URL, o.Cause); k != key {
			continue
		}
		if whole && o.fails == 0 {
			delete(s.files, i)
		} else if !slices.Contains(s.todo, i) {
			s.todo = append(s.todo, i)
		}
	}
}

// lookAgain looks at some of the files that are not seen, when that is due.
func (p *Peer) lookAgain(j *jobState) {
	s := &j.sight
	if s.asked.Past(lookLost, p.now) {
		s.asked = tasks.Moment{}
	}
	if due := s.due(); due < 0 || p.now < due {
		return
	}
	s.wait = min(max(2*s.wait, lookFirst), lookMax)
	s.next = p.now + s.wait
	all := slices.Sorted(maps.Keys(s.files))
	for i := range min(lookSamples, len(all)) {
		if f := all[(s.sample+i*max(len(all)/lookSamples, 1))%len(all)]; !slices.Contains(s.todo, f) {
			s.todo = append(s.todo, f)
		}
	}
	s.sample++
	p.look(j)
}

// blindNow tells the scheduler at once, and the home with the next report, what this host does not see now.
func (p *Peer) blindNow(j *jobState) {
	p.schedule(steal.Blind{Job: j.id, Cover: j.sight.cover(j.data(), j.want(), false)})
	j.reports.news, j.reports.urgent = true, true
}

// cover is the units of all files that are not seen or, with presumed, of those among them that have not been tried.
func (s *sight) cover(d *tasks.Dataset, want tasks.Range, presumed bool) tasks.Cover {
	var rs []tasks.Range
	for i, u := range s.files {
		if !presumed || u.presumed {
			rs = append(rs, d.Units(i).Intersect(want))
		}
	}
	return tasks.CoverOf(rs...)
}

// maxUnseenRanges bounds the ranges with which a report says what is not seen.
const maxUnseenRanges = 4096

// unseen is what a report says of files that are not seen: groups of them by folder or server, cause and reason, and
// the units of those that have not been tried.
func (s *sight) unseen(d *tasks.Dataset, want tasks.Range) (out []ledger.Unseen, presumed tasks.Cover) {
	if len(s.files) == 0 {
		return nil, nil
	}
	g := groups{at: map[kindred]int{}, apart: map[kindred]int{}, ranges: make([][]tasks.Range, ledger.MaxUnseen)}
	for _, i := range slices.Sorted(maps.Keys(s.files)) {
		if r := d.Units(i).Intersect(want); !r.Empty() {
			g.add(d.Files[i].URL, s.files[i], r)
		}
	}
	left := maxUnseenRanges
	for k := range g.out {
		c := tasks.CoverOf(g.ranges[k]...)
		g.out[k].Cover = c[:min(len(c), left)]
		left -= len(g.out[k].Cover)
		g.out[k] = g.out[k].Cut()
	}
	presumed = s.cover(d, want, true)
	if len(presumed) > maxUnseenRanges { // one range around them says too much, which is harmless of what is a guess
		presumed = tasks.CoverOf(tasks.R(presumed[0].First, presumed[len(presumed)-1].Last))
	}
	return g.out, presumed
}

// kindred is what the files of one group have in common: the folder or server, the cause and, if each file has a reason
// of its own, the reason.
type kindred struct{ key, cause, reason string }

// groups collects the groups of a report.
type groups struct {
	out    []ledger.Unseen // the groups so far, at most ledger.MaxUnseen
	at     map[kindred]int // index in out
	apart  map[kindred]int // how many reasons a folder or server and a cause have groups of their own for
	ranges [][]tasks.Range // of the files of each group, by index in out
}

const (
	otherPlaces = "other places" // name of the group that takes the rest when there are ledger.MaxUnseen groups
	mostApart   = 3              // how many reasons of one folder and cause get a group of their own
)

// add puts a file, with the range of its units, into the group that it belongs to.
func (g *groups) add(url string, u *unread, r tasks.Range) {
	key, _ := keyFor(url, u.Cause)
	of := kindred{key: key, cause: u.Cause}
	if u.Cause == causeDiffers { // the reason names numbers that hold for this file alone
		of.reason = u.Reason
		if _, known := g.at[of]; !known && g.apart[kindred{key: key, cause: u.Cause}] == mostApart {
			of.reason = ""
		}
	}
	k, known := g.at[of]
	switch {
	case known && g.out[k].Where != otherPlaces:
		g.out[k].Where = key
	case known:
	case len(g.out) < ledger.MaxUnseen:
		k = len(g.out)
		g.at[of] = k
		if of.reason != "" {
			g.apart[kindred{key: key, cause: u.Cause}]++
		}
		g.out = append(g.out, ledger.Unseen{Where: url, Cause: u.Cause, Reason: u.Reason})
	default:
		k = ledger.MaxUnseen - 1
		g.out[k].Where = otherPlaces
	}
	o := &g.out[k]
	if o.Cause != u.Cause {
		o.Reason = "they cannot be read, for several reasons"
	} else if o.Reason != u.Reason {
		o.Reason = inCommon(u.Cause)
	}
	o.Files++
	g.ranges[k] = append(g.ranges[k], r)
}

// inCommon is the reason that is given for several files that are not seen for one cause, where what was said of each
// differs.
func inCommon(cause string) string {
	switch cause {
	case "missing":
		return "No such file or directory"
	case "denied":
		return "Permission denied"
	case causeDiffers:
		return "the tree has another number of entries here, or the file another UUID, than where it was planned"
	case causeUnreachable:
		return "they cannot be reached"
	case causeUnauthorised:
		return "other credentials are wanted"
	case causeProtocol:
		return "no plugin for the protocol"
	}
	return "they cannot be read, for several reasons"
}

// Unseen is what this host does not see of the files of all jobs that this peer takes part in.
func (p *Peer) Unseen() (out []ledger.Unseen) {
	for _, j := range p.jobs {
		if !j.shut && j.loaded {
			mine, _ := j.sight.unseen(j.data(), j.want())
			out = append(out, mine...)
		}
	}
	return out
}
