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

// This host may lack files that others see: a mount, a right, a route, a plugin. Such a file is learnt of by a
// generation that fails, which costs what the generation has done. So a node looks at the local files of which it
// holds work, and one failure has it look at the others: at all local files, which is cheap; of files on servers, those
// of a server that could not be reached twice and of a protocol that ROOT does not know count as unseen too, and those
// of a folder of which two were not to be had until they have been looked at one by one. What is not seen is looked at
// again from time to time, since mounts come back.

// Causes that are of a server, or of a protocol, and not of a file; the words are those of exec.Cause.
const (
	causeUnreachable  = "unreachable"
	causeProtocol     = "protocol"
	causeUnauthorised = "unauthorised"
)

// causeDiffers is of one file alone: another than the one that was planned has its name here.
const causeDiffers = "differs"

// How this host looks at files again.
const (
	lookAtOnce  = 256              // files in one Look
	lookSamples = 16               // files that stand for all that are not seen
	lookFirst   = 2 * time.Second  // until the first of these, and twice as long until each next
	lookMax     = time.Minute      // but no longer
	lookLost    = 10 * time.Minute // a Look that is not answered by then never is
	doubt       = 5 * time.Second  // a look is not believed so long after a generation failed, twice as long each time
)

// Glance is how one file looks from this host: seen if Cause is empty.
type Glance struct {
	File          int
	Cause, Reason string
}

// unread is a file that this host does not see.
type unread struct {
	Glance
	presumed bool          // it has not been tried, and nor has its server
	fails    int           // of generations
	doubted  time.Duration // looks that say otherwise are not believed before
}

// sight is what a node does not see of one job.
type sight struct {
	files  map[int]*unread // by index
	todo   []int           // to be looked at
	ahead  []bool          // files that were looked at before the first packet in them
	asked  tasks.Moment    // when the Look that is out was emitted
	next   time.Duration   // when to look again
	wait   time.Duration
	swept  bool // all local files have been looked at since the last failure, or are being
	sample int  // where the next samples begin
}

// due is when lookAgain must be called, -1 for never.
func (s *sight) due() time.Duration {
	if len(s.files) == 0 || !s.asked.Never() {
		return -1
	}
	return s.next
}

// cannotRead takes a generation's word that this host does not see a file.
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

// presume adds to s what is most likely not seen either, and what must be looked at for that.
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

// sweep has all local files looked at that are not known to be missing, those behind u first.
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

// twice reports whether another file has failed as u has, in the same folder or on the same server.
func (s *sight) twice(d *tasks.Dataset, u *unread, key string) bool {
	for i, o := range s.files {
		if k, _ := keyFor(d.Files[i].URL, o.Cause); i != u.File && o.fails > 0 && k == key && o.Cause == u.Cause {
			return true
		}
	}
	return false
}

// remote reports whether something is no file of a host: it has a URL, or is a blob of items without one.
func remote(url string) bool {
	return url == "" || strings.Contains(url, "://") && !strings.HasPrefix(url, "file:")
}

// keyFor names what fails together for a cause: a protocol, a server (whole: who could not reach it once need not
// try each file), or a folder.
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

// look emits the next Look, if none is out.
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

// looked takes what a Look has shown.
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

// lookAhead looks at local files of which this node holds work, and into each folder, before its generations come to
// them: one that does to a file that is not there has worked in vain. A file that is missing has all looked at.
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

// grew has a host that does not see some files look at those that were appended, from one on: it may not see them
// either.
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

// lookIntoFolders has one local file of each folder looked at: a mount that lacks is known before work of it is stolen.
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

// seen forgets that a file was not seen, and has all looked at that were not for the same reason.
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

// lookAgain looks at some of the files that are not seen.
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

// blindNow tells the scheduler, and the home, what this host does not see now.
func (p *Peer) blindNow(j *jobState) {
	p.schedule(steal.Blind{Job: j.id, Cover: j.sight.cover(j.data(), j.want(), false)})
	j.reports.news, j.reports.urgent = true, true
}

// cover is all that is not seen, or what of it has not been tried.
func (s *sight) cover(d *tasks.Dataset, want tasks.Range, presumed bool) tasks.Cover {
	var rs []tasks.Range
	for i, u := range s.files {
		if !presumed || u.presumed {
			rs = append(rs, d.Units(i).Intersect(want))
		}
	}
	return tasks.CoverOf(rs...)
}

// maxUnseenRanges bounds the ranges by which a report tells what is not seen.
const maxUnseenRanges = 4096

// unseen tells what is not seen for a report: by folder or server, and by reason.
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
	if len(presumed) > maxUnseenRanges { // told as one: it has not been tried
		presumed = tasks.CoverOf(tasks.R(presumed[0].First, presumed[len(presumed)-1].Last))
	}
	return g.out, presumed
}

// kindred files are told of together: those of a folder or server that are not seen for one cause and, where that is
// told file by file, for one reason.
type kindred struct{ key, cause, reason string }

// groups are what is told of files that are not seen, with their ranges.
type groups struct {
	out    []ledger.Unseen
	at     map[kindred]int
	apart  map[kindred]int // by key and cause: how many reasons are told apart
	ranges [][]tasks.Range
}

// What a group is called that files are added to when there are as many as may be told of, and how many reasons of one
// folder and cause are told apart.
const (
	otherPlaces = "other places"
	mostApart   = 3
)

func (g *groups) add(url string, u *unread, r tasks.Range) {
	key, _ := keyFor(url, u.Cause)
	of := kindred{key: key, cause: u.Cause}
	if u.Cause == causeDiffers { // what is so of one file, its numbers, is not so of the next
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

// inCommon is what is so of all files that are not seen for a cause, whatever was said of each.
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

// Unseen tells what this peer does not see itself, of all jobs that it takes part in.
func (p *Peer) Unseen() (out []ledger.Unseen) {
	for _, j := range p.jobs {
		if !j.shut && j.loaded {
			mine, _ := j.sight.unseen(j.data(), j.want())
			out = append(out, mine...)
		}
	}
	return out
}
