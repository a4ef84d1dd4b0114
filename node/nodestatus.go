package node

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// blindMembers says of members, this node among them, what they do not see of the jobs that run, as far as this node
// knows: of itself, and of all in jobs that it leads.
func (d *Daemon) blindMembers() map[tasks.PeerID]string {
	out, alone := map[tasks.PeerID]string{}, len(d.net.Members()) == 1
	say := func(id tasks.PeerID, us []ledger.Unseen) {
		if len(us) > 0 && out[id] == "" {
			u := us[0]
			out[id] = fmt.Sprintf("does not see %s (%s)", u.Where, u.Reason)
			if !alone {
				out[id] += fmt.Sprintf(": %d files left to others", u.Files)
			}
		}
	}
	d.loop.Ask(func(p *engine.Peer) {
		say(d.net.ID(), p.Unseen())
		for job := range p.Jobs() {
			if v, ok := p.View(job); ok {
				for id, us := range v.Unseen {
					say(id, us)
				}
			}
		}
	})
	return out
}

// membersThatLose are those that took work of a job led here and did not do it, and how many entries.
func (d *Daemon) membersThatLose() map[tasks.PeerID]int64 {
	out := map[tasks.PeerID]int64{}
	d.loop.Ask(func(p *engine.Peer) {
		for job := range p.Jobs() {
			if v, ok := p.View(job); ok {
				for _, l := range v.Losers {
					out[l.ID] += l.Lost
				}
			}
		}
	})
	return out
}

// storage fills in what is kept here for jobs.
func (d *Daemon) storage(st *api.NodeStatus) {
	var open int64
	d.loop.Ask(func(p *engine.Peer) { open = p.Kept() })
	st.KeptOpen = open
	st.Kept = open + store.FolderBytes(d.ledgersDir()) + store.FolderBytes(d.results.Dir) + store.FolderBytes(d.asides.Dir)
	st.KeptMax = d.cfg.KeepBytes
	st.Ledgers = len(d.ledgers.All())
}

// nodeStatus describes the daemon.
func (d *Daemon) nodeStatus() api.NodeStatus {
	st := api.NodeStatus{
		ID:       d.net.ID(),
		Name:     d.net.Name(),
		Version:  d.cfg.Version,
		Protocol: d.net.Speaks(),
		PID:      os.Getpid(),
		Addrs:    d.net.Addrs(),
		Cluster:  d.net.Cluster(),
		Slots:    d.cfg.Slots,
		RSS:      rss(),
		Uptime:   time.Since(d.start).Seconds(),
		StateDir: d.cfg.StateDir,
		Steal:    d.steals.Summary(),
		Packet:   d.jobs.Workers().Latencies(),
	}
	for _, m := range d.net.Members() {
		st.Members++
		if m.Up || m.Self {
			st.Up++
		}
	}
	d.loop.Ask(func(p *engine.Peer) {
		st.Busy = p.Busy()
		st.Unseen = jobs.UnseenOf(p.Unseen())
	})
	st.Wrongs = d.cluster.Wrongs()
	d.storage(&st)
	st.Runtimes, st.Problem = d.ownRuntimes()
	if first := d.runtimes.First(); st.Problem == "" && first != nil && !first.IsSettled() {
		st.Starting = first.Info.Kind
	}
	if lost, follows := d.net.StaleListeners(); len(lost) > 0 && st.Problem == "" {
		st.Problem = adrift(lost, follows)
	}
	if st.Expelled = d.cluster.Expelled(); st.Expelled != nil {
		st.Problem = st.Expelled.String() + "; " + api.ExpelledHint
	}
	return st
}

// adrift says that this node listens on addresses that its host has lost.
func adrift(lost []string, follows bool) string {
	text := "this host does not have the address of " + strings.Join(lost, ", ") +
		" any more, so that nobody can connect to this node there: "
	if follows {
		return text + "it listens anew as soon as the host has another"
	}
	return text + "restart it where the host has one, `dtpnode down`, `dtpnode up --listen auto:0 --detach`"
}

func runtimesOf(told []runtimes.Told) (out []api.Runtime) {
	for _, t := range told {
		out = append(out, api.Runtime{
			Kind: t.Kind, Version: t.Version, Environment: t.Environment(), Dir: t.Dir, Problem: t.Problem,
		})
	}
	return out
}

// ownRuntimes are the runtimes of this node, and what keeps it from running jobs with some of them, or with those that
// were named and are not there.
func (d *Daemon) ownRuntimes() (told []api.Runtime, problem string) {
	const cannot = "this node cannot run jobs: "
	if err := d.runtimes.None(); err != nil {
		return nil, cannot + withAdvice(d.runtimes.Advised(err))
	}
	told = runtimesOf(d.runtimes.Told())
	bad := slices.IndexFunc(told, func(r api.Runtime) bool { return r.Problem != "" })
	good := slices.ContainsFunc(told, func(r api.Runtime) bool { return r.Problem == "" })
	switch flaws := d.runtimes.Flaws(); {
	case !good:
		problem = cannot + told[bad].Problem + triedAgain
	case bad >= 0:
		problem = fmt.Sprintf("this node cannot run jobs with %s %s: %s%s", told[bad].Kind, told[bad].Version,
			told[bad].Problem, triedAgain)
	case flaws != nil:
		problem = "not all runtimes that were named are used: " + strings.ReplaceAll(flaws.Error(), "\n", "; ") +
			d.flawsHint()
	}
	return told, problem
}

const (
	// triedAgain is what a node does about a runtime that is broken.
	triedAgain = "; mend it: it is tried again every few minutes, and as soon as a job is submitted here"
	// flawed is what to do about runtimes that were named and are not used, beside others of their kind.
	flawed = "; `dtpnode config show` says where that stands; correct it there, or with `dtpnode config set`, and start " +
		"anew: `dtpnode down`, `dtpnode up --detach`"
)

// flawsHint is what to do about runtimes that were named and are not used.
func (d *Daemon) flawsHint() string {
	for _, kind := range d.runtimes.Unfound() {
		if advice := d.cfg.Lacks[kind]; advice != "" {
			return ". " + advice
		}
	}
	return flawed
}

// withAdvice is an error with what to do about it, as one text.
func withAdvice(err error) string {
	var e *api.Error
	if errors.As(err, &e) && e.Hint != "" {
		return err.Error() + ". " + e.Hint
	}
	return err.Error()
}

// cannotRun reports whether it is settled that this node runs no jobs.
func (d *Daemon) cannotRun() bool {
	return d.runtimes.None() != nil || len(runtimes.Able(d.runtimes.Told())) == 0
}

// members describes the cluster.
func (d *Daemon) members() []api.Member {
	var out []api.Member
	blind, wrong, lost := d.blindMembers(), d.cluster.WrongNotes(), d.membersThatLose()
	for _, m := range d.net.Members() {
		a := api.Member{
			ID:        m.ID,
			Name:      m.Name,
			Addrs:     m.Addrs,
			Joined:    m.Joined,
			Self:      m.Self,
			Up:        m.Up || m.Self,
			RTT:       float64(m.RTT) / float64(time.Millisecond),
			Slots:     m.Slots,
			Runtimes:  runtimesOf(runtimes.Announced(m.Meta)),
			Version:   m.Version,
			Note:      m.Problem,
			Founder:   m.Founder,
			Ephemeral: m.Ephemeral,
			Protocol:  m.Protocol,
			State:     d.cluster.StateOf(m),
		}
		a.ClockAhead = math.Round(10*m.Ahead.Seconds()) / 10
		if !m.Seen.IsZero() && !m.Self {
			a.Seen = &m.Seen
		}
		if m.Left || a.State == api.MemberNone {
			a.Note = "" // that nobody answers there is no news
		}
		for _, r := range m.Rights {
			a.Rights = append(a.Rights, string(r))
		}
		if m.Up && !m.Self && a.Note == "" {
			a.Note = d.mismatch(m.Info)
		}
		if a.Note == "" {
			a.Note = wrong[m.ID]
		}
		if a.Note == "" {
			a.Note = blind[m.ID]
		}
		if a.Note == "" && lost[m.ID] > 0 {
			a.Note = fmt.Sprintf("takes work and does not do it: %d entries ran again on other nodes, and it is given little",
				lost[m.ID])
		}
		out = append(out, a)
	}
	return out
}

// rss is this process's resident memory in bytes, 0 if unknown.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
