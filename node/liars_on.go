//go:build liars

package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/engine/liar"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A daemon of a binary that is built with the tag "liars" lies, over its real links and with its real key, for the
// tests of what honest members are promised (package engine/liar, and ARCHITECTURE.md, "Who dies or lies"). It is in no
// released binary. $DTPNODE_LIAR is the seed that decides its lies, without it the daemon is honest; $DTPNODE_LIAR_ROLE
// is its part in the job of another member that it lies about, the first that it hears of:
//
//	worker    it works for the job, and takes no copy of the ledger
//	follower  it is one of three replicas of the ledger, and does not lead; it is honest until then
//	home      it leads a job of its own beside it; it is honest until then
//	answers   its messages are true, and its answers to requests are lies: about the job's state, end and result
//	planner   it tells lies about files that it is asked to plan, and else the truth
//	drip, forge, size, blink, sees, name, poison
//	          it tells one lie about its work or its jobs, always, and else the truth (liartricks_on.go)
//
// Liars of the first three roles lie in their answers now and then, and ask others for what is not theirs to ask. A
// line with lieLogged in the log says when they begin, one with lieObeyed that another member did as it must not have.
const (
	envLiar     = "DTPNODE_LIAR"
	envLiarRole = "DTPNODE_LIAR_ROLE"

	roleWorker   = "worker"
	roleFollower = "follower"
	roleHome     = "home"
	roleAnswers  = "answers"
	rolePlanner  = "planner"

	lieLogged = "lies from now on"
	lieObeyed = "was obeyed, though it had no right"
)

// lookPause is how long a liar waits until it looks again whether it may begin.
const lookPause = 20 * time.Millisecond

// lying is what a lying daemon knows. mu is held for a moment only.
type lying struct {
	role string // empty: it is honest

	mu      sync.Mutex
	rng     *rand.Rand
	liar    *liar.Liar
	poison  func(merge.Partial) merge.Partial // of role poison
	began   bool
	scene   liar.Scene
	desc    *tasks.Job             // of the job, which may be over
	terms   map[tasks.JobID]uint64 // the highest that somebody has announced that it leads a job in
	forged  map[merge.ID]bool      // partials of others that are forged already
	seq     uint64                 // of what it makes up
	blinked time.Time              // when it last claimed nothing
}

// beginLying has this daemon lie, if it is to.
func (d *Daemon) beginLying() {
	seed, err := strconv.ParseUint(os.Getenv(envLiar), 10, 64)
	if err != nil {
		return
	}
	l := &d.lying
	l.mu.Lock()
	l.role, l.terms = os.Getenv(envLiarRole), map[tasks.JobID]uint64{}
	l.poison = tricks{d}.poisoned
	l.rng = rand.New(rand.NewPCG(seed, 0x11a5))
	var more []liar.Lie
	if l.role == roleHome {
		more = []liar.Lie{liar.Rules, liar.Rules, liar.Rules, liar.Rules}
	}
	l.liar = liar.New(l.rng, d.net.ID(), netKeys{d.net, new(madeLately)}, true, more...)
	l.liar.Every /= 4 // tests wait in real time until it is found out
	l.mu.Unlock()
	switch {
	case l.tricky():
		d.spawn(d.trickOften)
	case !l.answersAlone():
		d.spawn(d.lieOften)
		d.spawn(d.pryOften)
	}
}

// said is what a liar makes of a message that its own protocol would send; false if it sends none.
func (d *Daemon) said(m engine.Message) (engine.Message, bool) {
	l := &d.lying
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tricky() {
		return l.trick(m), true
	}
	if !l.began {
		return m, true
	}
	return l.liar.Said(l.scene, m)
}

// hears remembers what others say, and reports whether the protocol of this node is to know of it.
func (d *Daemon) hears(from tasks.PeerID, m engine.Message) bool {
	l := &d.lying
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.liar == nil {
		return true
	}
	if l.tricky() {
		return !d.takes(from, m)
	}
	l.liar.Hear(m)
	if m.Open != nil && m.Open.Home == from {
		l.terms[m.Job] = max(l.terms[m.Job], m.Term)
	}
	return m.Enlist == nil || l.role != roleWorker
}

// tricks are what a liar does otherwise with jobs (jobs.Tricks).
type tricks struct{ d *Daemon }

// Boasts reports whether this daemon says that it keeps blobs which it does not.
func (t tricks) Boasts() bool {
	l := &t.d.lying
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began && l.liar.Boasts
}

// lieOften tells one lie after the other, once there is something to lie about.
func (d *Daemon) lieOften() {
	l := &d.lying
	for pause := lookPause; d.sleeps(pause); {
		s, ok := d.overlook()
		if !ok {
			continue
		}
		l.mu.Lock()
		if !l.began {
			d.log.Warn(lieLogged, "role", l.role, "job", s.Job, "habits", l.liar.Habits)
		}
		l.began, l.scene = true, s // it goes on when the job is over
		to, m, ok := l.liar.Speak(s)
		gossip := l.rng.IntN(20) == 0
		pause = l.liar.Pause()
		l.mu.Unlock()
		b, err := wire.Marshal(&m)
		switch {
		case !ok || err != nil:
		case gossip:
			_ = d.net.Publish(jobsTopic, b)
		default:
			_ = d.net.Send(to, b) // nobody need hear every lie
		}
	}
}

// sleeps waits; false if the daemon ends.
func (d *Daemon) sleeps(pause time.Duration) bool {
	select {
	case <-d.ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// overlook finds out what there is to know of the job that this node lies about; false if the node has not the part in
// it that it is to have.
func (d *Daemon) overlook() (s liar.Scene, ok bool) {
	var desc *tasks.Job
	s.Job, s.Own, desc = d.targets()
	l := &d.lying
	if desc == nil || l.role == roleHome && s.Own == "" {
		return s, false
	}
	l.mu.Lock()
	began := l.began
	l.desc = desc
	s.Want, s.Term, s.OwnTerm = desc.Want, max(l.terms[s.Job], 1), 1
	l.mu.Unlock()
	for _, m := range d.net.Members() {
		s.Peers = append(s.Peers, m.ID)
	}
	d.loop.Ask(func(p *engine.Peer) {
		s.Home = p.Jobs()[s.Job]
		if v, has := p.Ledger(s.Job); has {
			s.Term, s.Voters, ok = max(s.Term, v.Term), v.Voters, len(v.Voters) > 2 && !v.Changing && v.Home != d.net.ID()
		}
		if v, has := p.Ledger(s.Own); has {
			s.OwnTerm = v.Term
		}
	})
	return s, ok || began || l.role != roleFollower
}

// targets are the job of another member that this node lies about, with its description, which is nil while there is
// none, and one of its own.
func (d *Daemon) targets() (job, own tasks.JobID, desc *tasks.Job) {
	l := &d.lying
	l.mu.Lock()
	if l.began {
		job, desc = l.scene.Job, l.desc
	}
	l.mu.Unlock()
	for id, j := range d.jobs.Book().IDs() {
		switch _, known := j.Prepared(); {
		case known == nil:
		case known.Submitter == d.net.ID():
			own = id
		case job == "":
			job, desc = id, known
		}
	}
	return job, own, desc
}

// pryOften asks other members, past this node's own checks, for all that can be asked of the job.
func (d *Daemon) pryOften() {
	l := &d.lying
	var kinds []string
	for kind := range requests {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for d.sleeps(5 * lookPause) {
		l.mu.Lock()
		if !l.began || len(l.scene.Peers) == 0 {
			l.mu.Unlock()
			continue
		}
		kind, to := kinds[l.rng.IntN(len(kinds))], l.scene.Peers[l.rng.IntN(len(l.scene.Peers))]
		name := store.NameOf(l.desc)
		arg := name
		if l.rng.IntN(3) == 0 {
			arg = arg[:4+l.rng.IntN(len(arg)-4)]
		}
		if kind == "recover" {
			link, _ := json.Marshal(quorum.Link{Conf: quorum.Conf{
				Seq:    1 << 20,
				Voters: []quorum.Voter{quorum.NewVoter(d.net.ID(), 1)},
			}})
			arg = name + "\n" + string(link)
		}
		l.mu.Unlock()
		if to == d.net.ID() {
			continue
		}
		if b, err := d.cluster.Ask(d.ctx, to, kind, arg); err == nil && requests[kind].access != members.ForAll {
			d.log.Error(lieObeyed, "request", kind, "by", to, "answer", len(b))
		}
	}
}

// answersAlone reports whether the liar lies to who asks, and says nothing else that is not true. The caller holds
// l.mu, or is the first to use l.
func (l *lying) answersAlone() bool {
	return l.role == roleAnswers || l.role == rolePlanner || l.tricky()
}

// answers is what a liar makes of its answer to a request.
func (d *Daemon) answers(kind, arg string, b []byte, err error) ([]byte, error) {
	l := &d.lying
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.liar == nil, !l.began && !l.answersAlone(), !l.answersAlone() && l.rng.IntN(2) == 0:
		return b, err
	case l.role == rolePoison && kind == "share" && err == nil:
		return d.poisonShare(b)
	case l.role == rolePlanner && kind != "plan", l.tricky():
		return b, err
	}
	switch kind {
	case "result":
		return d.forgeResult(arg)
	case "status":
		return l.forgeStatus(b, err)
	case "end":
		return l.forgeEnd(b, err)
	case "plan":
		return l.forgePlans(b, err)
	}
	return b, err
}

// forgeResult has another file fetched in place of a job's result.
func (d *Daemon) forgeResult(arg string) ([]byte, error) {
	body := []byte("the result of " + arg + ", says the liar")
	sum := sha256.Sum256(body)
	path, hash := filepath.Join(d.cfg.ScratchDir, "forged"), hex.EncodeToString(sum[:])
	if err := durable.Write(path, body); err != nil {
		return nil, err
	}
	d.blobs.Add(hash, path)
	return []byte(hash), nil
}

// forgeStatus tells something else of a job that this node knows, or nothing.
func (l *lying) forgeStatus(b []byte, err error) ([]byte, error) {
	var st api.JobStatus
	if err != nil || json.Unmarshal(b, &st) != nil {
		return b, err
	}
	switch l.rng.IntN(4) {
	case 0:
		st.State = api.Done
		st.SHA256 = hex.EncodeToString(make([]byte, sha256.Size))
	case 1:
		st.State = api.Cancelled
	case 2:
		st.Private = "says the liar"
	}
	return json.Marshal(st)
}

// forgeEnd changes the proof of a job's end, or leaves out what it proves.
func (l *lying) forgeEnd(b []byte, err error) ([]byte, error) {
	var p jobs.EndProof
	if err != nil || wire.Unmarshal(b, &p) != nil {
		return b, err
	}
	switch l.rng.IntN(4) {
	case 0:
		p.End.Ended.Result = nil
	case 1:
		p.Submitter = ""
	case 2:
		p.End.Ended.Units++
	}
	return wire.Marshal(&p)
}

// forgePlans says of each file that it is empty, broken, or another.
func (l *lying) forgePlans(b []byte, err error) ([]byte, error) {
	var out []plan.Answer
	if err != nil || json.Unmarshal(b, &out) != nil {
		return b, err
	}
	for i := range out {
		switch l.rng.IntN(4) {
		case 0:
			out[i] = plan.Answer{Kind: exec.KindSchema, Msg: "no tree, says the liar"}
		case 1:
			out[i] = plan.Answer{Kind: exec.KindOpen, Msg: "broken, says the liar"}
		default:
			out[i].Entries, out[i].Clusters, out[i].Kind, out[i].Real = 0, nil, "", "/of/the/liar"
		}
	}
	return json.Marshal(out)
}
