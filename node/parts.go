package node

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// What a partial result was made of outlives the job's ledger on the nodes that had a copy of that, for as long as the
// result: the committed partials, as output lists were before Terminate, and the job's description and sources. `dtpnode
// retry` submits a job that begins with them (retry.go). They lie beside the result, in the folder parts, each under its
// hash, as files of the ledger's folder under another name: keeping them costs no copy.

// partsFolder is in a job's folder, and partsIndex in that, encoded keptParts.
const (
	partsFolder = "parts"
	partsIndex  = "index"
)

// maxIndex bounds an encoded keptParts.
const maxIndex = 64 << 20

// keptParts says what is kept of a job.
type keptParts struct {
	Job       tasks.JobID     `msgpack:"j"` // whose name is the hash of its description
	Signature store.Signature `msgpack:"b"`
	Parts     []merge.Partial `msgpack:"p"`
}

func (d *Daemon) partsDir(name string) string {
	return filepath.Join(d.jobsDir(), name, partsFolder)
}

// keepParts keeps what a job's partial result was made of, unless it is larger than what may be kept uncommitted: it is
// as superfluous as that for most users.
func (d *Daemon) keepParts(name string, c *store.Copy, parts []merge.Partial) {
	var size int64
	for _, p := range parts {
		size += p.Size
	}
	if size > d.cfg.KeepBytes {
		d.log.Warn("what a partial result was made of is not kept for a retry: it is too large", "job", api.Short(name), "bytes", size, "limit", d.cfg.KeepBytes)
		return
	}
	if err := d.linkParts(name, c, parts); err != nil {
		d.log.Warn("could not keep what a partial result was made of; it cannot be retried with this node alone", "job", api.Short(name), "reason", err)
		return
	}
	d.shareParts(name)
}

// linkParts makes the folder of what is kept, which is there whole or not at all. A daemon that is started again before
// its job's ledger is closed learns of the end anew: then the folder is there, and may be in use by a retry.
func (d *Daemon) linkParts(name string, c *store.Copy, parts []merge.Partial) error {
	from := map[string]string{string(c.ID): c.BodyPath(), c.Job.Code.Source: c.SourcePath()}
	for _, p := range parts {
		from[p.SHA256] = d.ledgers.KeptPath(c.ID, p)
	}
	dir := d.partsDir(name)
	if keepsAll(dir, sumOfParts(c.ID, parts), from) {
		return nil
	}
	index, err := wire.Marshal(&keptParts{Job: c.ID, Signature: c.Signature, Parts: parts})
	if err != nil {
		return err
	}
	temp := dir + ".new"
	if err := errors.Join(os.RemoveAll(temp), os.MkdirAll(temp, 0o700)); err != nil {
		return err
	}
	for hash, path := range from {
		err = errors.Join(err, os.Link(path, filepath.Join(temp, hash)))
	}
	if err == nil {
		err = durable.Write(filepath.Join(temp, partsIndex), index)
	}
	if err == nil {
		d.blobs.ForgetFolder(dir)
		err = errors.Join(os.RemoveAll(dir), os.Rename(temp, dir))
	}
	if err != nil {
		_ = os.RemoveAll(temp)
	}
	return err
}

// keepsAll reports whether a folder of what is kept tells of the partials with that sum (sumOfParts), and has the files with
// those hashes.
func keepsAll(dir, sum string, files map[string]string) bool {
	var there keptParts
	index, err := os.ReadFile(filepath.Join(dir, partsIndex))
	if err != nil || wire.Unmarshal(index, &there) != nil || sumOfParts(there.Job, there.Parts) != sum {
		return false
	}
	for hash := range files {
		if store.SizeOf(filepath.Join(dir, hash)) < 0 {
			return false
		}
	}
	return true
}

// shareParts lets other members fetch what is kept here of a job, if something is.
func (d *Daemon) shareParts(name string) {
	dir := d.partsDir(name)
	files, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, f := range files {
		if store.IsHash(f.Name()) {
			d.blobs.AddUnread(f.Name(), filepath.Join(dir, f.Name()))
		}
	}
	if index, err := os.ReadFile(filepath.Join(dir, partsIndex)); err == nil {
		d.blobs.AddUnread(store.HashOf(index), filepath.Join(dir, partsIndex))
	}
}

// sumOfParts is a hash, hex, over what a job's result was made of: which units each partial accounts for, and which blob.
// It stands in the status that the voters of the job's ledger sign (api.JobStatus.PartsSHA256), so that it matters to
// nobody who tells of the partials.
func sumOfParts(id tasks.JobID, parts []merge.Partial) string {
	parts = slices.Clone(parts)
	slices.SortFunc(parts, func(a, b merge.Partial) int {
		return cmp.Or(slices.CompareFunc(a.Cover, b.Cover, func(a, b tasks.Range) int { return cmp.Compare(a.First, b.First) }), cmp.Compare(a.SHA256, b.SHA256))
	})
	h := sha256.New()
	fmt.Fprintf(h, "dtpnode parts of %q, %d\n", id, len(parts))
	for _, p := range parts {
		fmt.Fprintf(h, "%d %x %q %d %d", p.Units, p.Canary, p.SHA256, p.Size, len(p.Cover))
		for _, r := range p.Cover {
			fmt.Fprintf(h, " %d %d", r.First, r.Last)
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkParts reports why partials that a member keeps, empty for this node, cannot be taken for what a job's result was
// made of. Ends from before their hash was signed prove nothing of them: of those the submitter's word counts, whose job it is, and
// this node's own.
func checkParts(at tasks.PeerID, f *keptParts, st api.JobStatus) error {
	switch {
	case st.PartsSHA256 == "" && at != "" && at != st.Submitter:
		return errors.New("nothing that was signed at the job's end, by an older dtpnode, says which partial results it was made of, so they are taken from the submitter's own node alone")
	case st.PartsSHA256 != "" && sumOfParts(f.Job, f.Parts) != st.PartsSHA256:
		return errors.New("these are not the partial results of which the job's end, as it was signed, was made")
	}
	return nil
}

// dropParts removes what is kept here of a job beside its result.
func (d *Daemon) dropParts(name string) {
	d.blobs.ForgetFolder(d.partsDir(name))
	if err := os.RemoveAll(d.partsDir(name)); err != nil {
		d.log.Warn("could not remove what a partial result was made of", "job", api.Short(name), "reason", err)
	}
}

// handle names a blob that can be fetched.
type handle struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// serveParts answers the request "parts".
func (d *Daemon) serveParts(name string) ([]byte, error) {
	index, err := os.ReadFile(filepath.Join(d.partsDir(name), partsIndex))
	if err != nil {
		return nil, fmt.Errorf("nothing is kept here of job %s", api.Short(name))
	}
	return json.Marshal(handle{SHA256: store.HashOf(index), Size: int64(len(index))})
}

// foundParts is what is kept of a job, and with whom.
type foundParts struct {
	keptParts
	desc *tasks.Job
	at   tasks.PeerID // empty for this node
}

// findParts looks for what is kept of a job that has ended: here, with the member that tells of it, and with all others.
func (d *Daemon) findParts(ctx context.Context, at tasks.PeerID, st api.JobStatus) (*foundParts, error) {
	index, err := os.ReadFile(filepath.Join(d.partsDir(st.ID), partsIndex))
	if err == nil {
		f, err := d.openParts(ctx, "", index, st)
		if err == nil {
			return f, nil
		}
		d.log.Warn("could not read what is kept of a job here; asking others", "job", api.Short(st.ID), "reason", err)
	}
	var refused error // the last
	asked := map[tasks.PeerID]bool{"": true}
	for _, id := range append([]tasks.PeerID{at}, d.upPeers()...) {
		if asked[id] {
			continue
		}
		asked[id] = true
		index, err := d.fetchIndex(ctx, id, st.ID)
		if err != nil {
			continue
		}
		f, err := d.openParts(ctx, id, index, st)
		if err == nil {
			return f, nil
		}
		refused = fmt.Errorf("%s: %w", d.names([]tasks.PeerID{id})[0], err)
		d.log.Warn("could not use what a member keeps of a job", "job", api.Short(st.ID), "node", id, "reason", err)
	}
	message := fmt.Sprintf("could not retry job %s: no member that can be reached keeps what its result was made of any more", api.Short(st.ID))
	if refused != nil {
		message += "; what was told of it was refused: " + refused.Error()
	}
	return nil, &api.Error{Status: http.StatusGone, Message: message,
		Hint: fmt.Sprintf("that is kept as long as the result, a day after the output was written or fetched; run %s anew with `dtpnode run`, or the missing entries of a file alone: --files FILE --first N -n M; `dtpnode status %s` lists them",
			st.Selector, api.Short(st.ID))}
}

func (d *Daemon) fetchIndex(ctx context.Context, from tasks.PeerID, name string) ([]byte, error) {
	answer, err := d.askPeer(ctx, from, "parts", name)
	if err != nil {
		return nil, err
	}
	var h handle
	if err := decodeAnswer(answer, mostValues, &h); err != nil || h.Size <= 0 || h.Size > maxIndex {
		return nil, fmt.Errorf("could not read what %s keeps: %w", from, errors.Join(err, errors.New("impossible size")))
	}
	return d.fetchWhole(ctx, from, h.SHA256, h.Size)
}

func (d *Daemon) fetchWhole(ctx context.Context, from tasks.PeerID, hash string, limit int64) ([]byte, error) {
	if b, ok := d.blobs.Read(hash); ok {
		return b, nil
	}
	var b bytes.Buffer
	_, err := d.net.Fetch(ctx, from, hash, limit, &b)
	return b.Bytes(), err
}

// openParts checks what is kept of a job: its description is the one that the job's submitter signed, so that no member
// can have others run another code in its name; and the partials are those of which the job's end, as it is proven, was
// made, so that none can have others believe another result.
func (d *Daemon) openParts(ctx context.Context, at tasks.PeerID, index []byte, st api.JobStatus) (*foundParts, error) {
	f := &foundParts{at: at}
	if err := wire.Unmarshal(index, &f.keptParts); err != nil {
		return nil, err
	}
	if err := f.Signature.Check(f.Job); err != nil {
		return nil, err
	}
	if err := checkParts(at, &f.keptParts, st); err != nil {
		return nil, err
	}
	body, err := d.fetchWhole(ctx, at, string(f.Job), f.Signature.Size)
	if err != nil {
		return nil, err
	}
	if f.desc, err = d.checkJob(f.Job, body, f.Signature); err != nil {
		return nil, err
	}
	if store.NameOf(f.desc) != st.ID || f.desc.Submitter != st.Submitter {
		return nil, fmt.Errorf("it is of another job, %s", f.Job.Short())
	}
	_, err = merge.Recommit(f.Parts, f.desc.Want)
	return f, err
}
