package sim

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// blob is the modelled output of generations.
type blob struct {
	sha     string // its name
	job     tasks.JobID
	packets []tasks.Range
	canary  uint64
	depth   int           // depth of merges
	lie     bool          // it, or an input of it, is not what its maker says
	claimed []tasks.Range // units in packets that a liar has made up
}

func (b blob) units() (n int64) {
	for _, p := range b.packets {
		n += p.Len()
	}
	return n
}

// sha makes the name of a new blob; no two blobs are alike.
func (w *world) sha() string {
	w.shas++
	return strconv.FormatUint(w.shas, 16)
}

// disk is what a node keeps when it crashes.
type disk struct {
	log     *quorum.Log // the copy of the job's ledger, nil for none
	kept    map[merge.ID]blob
	word    map[merge.ID]uint64 // term of the last home that was told that the blob is kept
	bytes   int64               // bytes of the kept blobs
	refused bool                // a write of the log failed, so the log is given up
	results []string            // names of the results that it keeps
	end     *engine.EndSealed   // how the job ended, with the proof
	writes  []*write            // writes under way, in order
	free    time.Duration
}

// write is a write that is under way.
type write struct {
	apply func() // makes the content durable
	void  bool
	snap  bool // it writes a snapshot of the log
}

// syncTime is how long a write takes to be on disk, which is longer now and then.
func (w *world) syncTime() time.Duration {
	d := w.between(200*time.Microsecond, 2*time.Millisecond)
	if w.hostile() && w.rng.IntN(100) == 0 {
		w.res.Faults.Stalls++
		d += w.between(20*time.Millisecond, 300*time.Millisecond)
	}
	return d
}

// write writes something to disk: apply is called when it is on disk, then done. After a crash in between, apply may
// not be called, or apply without done.
func (w *world) write(n *node, apply, done func()) { w.writeOne(n, &write{apply: apply}, done) }

func (w *world) writeOne(n *node, op *write, done func()) {
	d := n.disk
	d.free = max(d.free, w.now) + w.syncTime()
	d.writes = append(d.writes, op)
	boot := n.boot
	w.after(d.free-w.now, func() {
		if op.void {
			return
		}
		op.apply()
		d.writes = d.writes[1:]
		if n.boot == boot {
			done()
		}
	})
	if n.armed && (op.snap || !n.waits) {
		n.armed = false
		w.after(w.random(d.free-w.now), func() {
			if n.boot == boot {
				w.crash(n)
			}
		})
	}
}

// tear ends the writes under way at a crash: the first ones may have reached the disk without anybody knowing.
func (w *world) tear(d *disk) {
	for i, op := range d.writes {
		op.void = true
		if i == 0 && w.rng.IntN(2) == 0 {
			op.apply()
		} else {
			w.res.Faults.Torn++
			if op.snap {
				w.res.Faults.TornSnapshots++
			}
		}
	}
	d.writes, d.free = nil, 0
}

// broken decides whether a write fails.
func (w *world) broken() bool {
	if w.now >= w.cfg.Calm || w.cfg.DiskErrors == 0 || w.rng.Float64() >= w.cfg.DiskErrors {
		return false
	}
	w.res.Faults.DiskErrors++
	return true
}

const diskFull = "no space left on device"

// foundLedger creates a copy of the ledger, with the job's description from another node.
func (w *world) foundLedger(n *node, e engine.FoundLedger) {
	no := func(why string) { w.step(n, engine.Founded{ID: e.ID, Voter: e.Log.Self.ID, Reason: why}) }
	begin := func() {
		if e.From != "" && !w.reaches(n, w.at(e.From)) {
			no("could not fetch the description")
			return
		}
		if e.From != "" && w.broken() {
			no(diskFull)
			return
		}
		d, log := n.disk, e.Log
		w.write(n, func() { d.log, d.refused = &log, false }, func() {
			w.founded = true
			w.step(n, engine.Founded{ID: e.ID, Voter: log.Self.ID, Job: w.client.desc})
		})
	}
	if e.From == "" {
		begin()
		return
	}
	boot := n.boot
	w.after(2*w.cfg.Latency, func() {
		if n.boot == boot {
			begin()
		}
	})
}

func (w *world) writeLedger(n *node, e engine.WriteLedger) {
	w.proposed(n, e)
	d := n.disk
	log := d.log
	if log == nil {
		w.fail("%s writes a ledger that it has not", n.id)
		return
	}
	if w.hostile() && w.mayLose(n) && w.broken() {
		w.res.Faults.LedgerErrors++
		w.excused(n)
		w.step(n, engine.Written{ID: e.ID, Seq: e.Seq, Reason: diskFull})
		return
	}
	w.writeOne(n, &write{snap: e.Snapshot != nil, apply: func() {
		log.Keep(e.Write)
		w.compacted(n, log, e.Write)
	}}, func() { w.step(n, engine.Written{ID: e.ID, Seq: e.Seq}) })
}

// dropLedger removes a copy of the ledger. If the log could not go on, the partials that it keeps stay.
func (w *world) dropLedger(n *node, e engine.DropLedger) {
	w.dropped(n, e)
	d := n.disk
	w.write(n, func() {
		d.log = nil
		if e.Reason == "" {
			d.kept, d.word, d.bytes = nil, nil, 0
		}
	}, func() {})
}

// find looks for a blob on a node.
func (n *node) find(p merge.Partial) (blob, bool) {
	if b, ok := n.disk.kept[p.ID]; ok && b.sha == p.SHA256 {
		return b, true
	}
	if d := n.sides[p.Job]; d != nil {
		if b, ok := d.kept[p.ID]; ok && b.sha == p.SHA256 {
			return b, true
		}
	}
	b, ok := n.blobs[p.ID]
	return b, ok && b.sha == p.SHA256
}

// lookup finds a blob on this node, on its holder or on others, if they are reachable and still have it.
func (w *world) lookup(n *node, p merge.Partial, others ...tasks.PeerID) (blob, bool) {
	if b, ok := n.find(p); ok {
		return b, true
	}
	for _, id := range append([]tasks.PeerID{p.Holder}, others...) {
		o := w.at(id)
		if b, ok := o.find(p); ok && w.reaches(n, o) {
			return b, true
		}
	}
	return blob{}, false
}

// keep fetches a blob to a node's disk and reports the outcome, with the reason if this disk failed.
func (w *world) keep(n *node, p merge.Partial, others []tasks.PeerID, done func(b blob, ok bool, here string)) {
	boot := n.boot
	w.after(2*w.cfg.Latency+w.transfer(n, p), func() {
		if n.boot != boot {
			return
		}
		b, ok := w.lookup(n, p, others...)
		switch {
		case !ok || (p.Holder != n.id && w.unlucky()):
			done(b, false, "")
		case w.broken():
			done(b, false, diskFull)
		default:
			w.moved(n)
			d := n.disk
			w.write(n, func() { d.keep(w, p.ID, b) }, func() { done(b, true, "") })
		}
	})
}

// unlucky decides whether a transfer breaks off.
func (w *world) unlucky() bool { return w.now < w.cfg.Calm && w.rng.Float64() < w.cfg.Drop }

// transfer is how long fetching a blob takes.
func (w *world) transfer(n *node, p merge.Partial) time.Duration {
	if p.Holder == n.id {
		return 0
	}
	return w.cfg.Blob
}

// size is a blob's size: Flat bytes, as with histograms, and PerUnit for each unit, as with trees.
func (w *world) size(b blob) int64 {
	if w.cfg.Flat+w.cfg.PerUnit == 0 {
		return int64(len(b.packets))
	}
	return w.cfg.Flat + w.cfg.PerUnit*b.units()
}

// fold merges blobs that are kept on a node's disk.
func (w *world) fold(n *node, e engine.FoldBlobs) {
	var out blob
	ok := !w.unlucky()
	for _, p := range e.Inputs {
		b, have := n.disk.kept[p.ID]
		if !have {
			w.step(n, engine.BlobDamaged{Job: e.Job, ID: p.ID})
			ok = false
		}
		out.packets = append(out.packets, b.packets...)
		out.claimed = append(out.claimed, b.claimed...)
		out.canary += b.canary
	}
	out.packets = joined(out.packets)
	out.sha = w.sha()
	boot := n.boot
	w.after(5*time.Millisecond+w.cfg.Blob, func() {
		d := n.disk
		switch {
		case n.boot != boot:
		case !ok:
			w.step(n, engine.NotFolded{Job: e.Job, Inputs: merge.IDs(e.Inputs)})
		case w.broken():
			w.step(n, engine.NotFolded{Job: e.Job, Inputs: merge.IDs(e.Inputs), Here: diskFull})
		default:
			w.write(n, func() { d.keep(w, e.ID, out) }, func() {
				w.step(n, engine.Folded{Partial: w.partial(e.Job, e.ID, e.Inputs, out)})
			})
		}
	})
}

// joined merges adjacent packets, to save memory; units that occur twice still do.
func joined(packets []tasks.Range) (out []tasks.Range) {
	slices.SortFunc(packets, func(a, b tasks.Range) int { return cmp.Compare(a.First, b.First) })
	for _, p := range packets {
		if k := len(out); k > 0 && out[k-1].Last == p.First {
			out[k-1].Last = p.Last
		} else {
			out = append(out, p)
		}
	}
	return out
}

// keep puts a blob on the disk.
func (d *disk) keep(w *world, id merge.ID, b blob) {
	if d.kept == nil {
		d.kept = map[merge.ID]blob{}
	}
	d.drop(w, id)
	d.kept[id] = b
	d.bytes += w.size(b)
	w.res.MostBlobs = max(w.res.MostBlobs, len(d.kept))
}

// drop removes a blob from the disk.
func (d *disk) drop(w *world, id merge.ID) {
	if b, ok := d.kept[id]; ok {
		d.bytes -= w.size(b)
		delete(d.kept, id)
	}
}

// promise notes that a home was told that a blob is kept.
func (d *disk) promise(id merge.ID, term uint64) {
	if d.word == nil {
		d.word = map[merge.ID]uint64{}
	}
	d.word[id] = term
}

// takeBack notes that a home no longer counts on a promise. The home has given the blob up, whenever the node learns of
// that; if it wants the blob after all, it asks again and gets a new promise.
func (d *disk) takeBack(m engine.Message) {
	if k := m.Keep; k != nil && k.Free && k.Partial != nil && d.word[k.Partial.ID] <= m.Term {
		delete(d.word, k.Partial.ID)
	}
}

func (w *world) sweep(n *node, e engine.SweepBlobs) {
	for id := range n.disk.kept {
		if !slices.ContainsFunc(e.Keep, func(p merge.Partial) bool { return p.ID == id }) {
			w.mayFree(n, id)
			n.disk.drop(w, id)
		}
	}
}

func (w *world) fetch(n *node, e engine.FetchBlob) {
	p := e.Partial
	w.keep(n, p, e.Sources, func(b blob, ok bool, here string) {
		if !ok {
			w.step(n, engine.NotStored{Partial: p, Here: here, Seq: e.Seq})
			return
		}
		w.step(n, engine.Stored{Partial: p, Units: b.units(), Canary: b.canary, Seq: e.Seq})
	})
}

func (w *world) keepBlob(n *node, e engine.KeepBlob) {
	p := e.Partial
	if n.liar != nil && n.liar.Boasts {
		w.reply(n, w.cfg.Latency, engine.BlobKept{Asked: e, OK: true})
		return
	}
	w.keep(n, p, append([]tasks.PeerID{e.To}, e.Sources...), func(_ blob, ok bool, here string) {
		w.step(n, engine.BlobKept{Asked: e, OK: ok, Full: here != ""})
	})
}

// finish makes the result, unless a blob turns out to be damaged.
func (w *world) finish(n *node, e engine.FinishJob) {
	out := content{lost: e.Lost}
	var bad []merge.ID
	for _, p := range e.Parts {
		b, ok := n.disk.kept[p.ID]
		if !ok || b.sha != p.SHA256 {
			bad = append(bad, p.ID)
		}
		out.packets = append(out.packets, b.packets...)
		out.claimed = append(out.claimed, b.claimed...)
		out.canary += b.canary
	}
	for _, id := range bad {
		w.step(n, engine.BlobDamaged{Job: e.ID, ID: id})
	}
	if len(bad) > 0 {
		return
	}
	if w.cannotEnd(n, e) {
		return
	}
	slices.SortFunc(out.packets, func(a, b tasks.Range) int { return int(min(max(a.First-b.First, -1), 1)) })
	if v, ok := n.peer.View(w.id); ok {
		w.res.Counts = v.Counts
	}
	if out.canary != e.Canary {
		w.fail("the canary of the result is not what the ledger says")
		return
	}
	r := out.result()
	w.results[r.SHA256] = out
	d := n.disk
	w.write(n, func() { d.addResult(r.SHA256) }, func() { w.step(n, engine.Finished{ID: e.ID, Result: r}) })
}

func (d *disk) addResult(sha string) {
	if !slices.Contains(d.results, sha) {
		d.results = append(d.results, sha)
	}
}

// keepResult fetches the result from the home.
func (w *world) keepResult(n *node, e engine.KeepResult) {
	boot := n.boot
	no := func(full bool) {
		w.step(n, engine.ResultKept{Asked: e, Full: full})
	}
	w.after(2*w.cfg.Latency+w.cfg.Blob, func() {
		o := w.at(e.To)
		switch {
		case n.boot != boot:
		case !w.reaches(n, o) || !slices.Contains(o.disk.results, e.Result.SHA256) || w.unlucky():
			no(false)
		case w.broken():
			no(true)
		default:
			d := n.disk
			w.write(n, func() { d.addResult(e.Result.SHA256) }, func() {
				w.step(n, engine.ResultKept{Asked: e, OK: true})
			})
		}
	})
}

// content is the content of a result.
type content struct {
	packets []tasks.Range
	canary  uint64
	lost    []ledger.Lost
	claimed []tasks.Range // units in packets that a liar has made up
}
