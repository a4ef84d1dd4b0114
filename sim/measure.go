package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Load is what a run demanded of the network and of the home.
type Load struct {
	In, Out           [kinds]int // messages to and from the home
	InBytes, OutBytes [kinds]int64
	PeakIn, PeakOut   int // messages in the home's busiest second
	Requests, Refused int // steal requests, and those that were refused, on all nodes
	Merges, Depth     int // merges done, and the longest chain of them
	Blobs             int // blobs fetched from another node
	HomeBlobs         int // of these, those fetched by the home

	LastRun time.Duration   // when the last unit was processed
	Busy    []time.Duration // time that all slots were busy, in each 50 ms

	second  int64
	in, out int
}

// measure counts a message.
func (w *world) measure(from *node, to tasks.PeerID, m engine.Message) {
	l := &w.res.Load
	k := kindOf(m)
	switch k {
	case kRequest:
		l.Requests++
	case kRefuse:
		l.Refused++
	}
	toHome := to == w.nodes[home].id
	if !toHome && from.num != home {
		return
	}
	if s := int64(w.now.Seconds()); s != l.second {
		l.second, l.in, l.out = s, 0, 0
	}
	var size int64
	if w.cfg.Bytes {
		b, err := wire.Marshal(&m)
		if err != nil {
			w.res.Err, w.over = err, true
		}
		size = int64(len(b))
	}
	if toHome {
		l.In[k]++
		l.in++
		l.PeakIn, l.InBytes[k] = max(l.PeakIn, l.in), l.InBytes[k]+size
	} else {
		l.Out[k]++
		l.out++
		l.PeakOut, l.OutBytes[k] = max(l.PeakOut, l.out), l.OutBytes[k]+size
	}
}

// String prints the load by kind of message.
func (l *Load) String() string {
	var b strings.Builder
	for k := range kinds {
		if l.In[k]+l.Out[k] > 0 {
			fmt.Fprintf(&b, "%s %d/%d (%d/%d B) ", kindNames[k], l.In[k], l.Out[k], l.InBytes[k], l.OutBytes[k])
		}
	}
	fmt.Fprintf(&b, "peak %d/%d; requests %d refused %d; merges %d depth %d blobs %d (home %d)",
		l.PeakIn, l.PeakOut, l.Requests, l.Refused, l.Merges, l.Depth, l.Blobs, l.HomeBlobs)
	return b.String()
}

// Messages counts the messages to and from the home.
func (l *Load) Messages() (in, out int) {
	for k := range kinds {
		in, out = in+l.In[k], out+l.Out[k]
	}
	return in, out
}

// Bytes counts the bytes of the messages to and from the home; 0 unless Config.Bytes is set.
func (l *Load) Bytes() (n int64) {
	for k := range kinds {
		n += l.InBytes[k] + l.OutBytes[k]
	}
	return n
}

// Efficiency is the share of the nodes' time that went into the job's units.
func (r *Result) Efficiency(c Config) float64 {
	return float64(c.Units) * float64(c.UnitTime) / (r.Speed * float64(c.Slots) * float64(r.Makespan))
}

// moved counts a blob that n fetched.
func (w *world) moved(n *node) {
	w.res.Load.Blobs++
	if n.num == home {
		w.res.Load.HomeBlobs++
	}
}

// busyStep is the width of a bin of Load.Busy.
const busyStep = 50 * time.Millisecond

// worked adds the time that a packet took.
func (w *world) worked(from, to time.Duration) {
	l := &w.res.Load
	l.LastRun = to
	for b := from / busyStep; b <= to/busyStep; b++ {
		for int(b) >= len(l.Busy) {
			l.Busy = append(l.Busy, 0)
		}
		l.Busy[b] += min(to, (b+1)*busyStep) - max(from, b*busyStep)
	}
}
