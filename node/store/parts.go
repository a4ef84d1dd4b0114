package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// What a partial result was made of, or one with values of single units, outlives the job's ledger on the nodes that
// had a copy of that, for as long as the result: the committed partials, as outputs were before the job's end ran, and
// the job's description, sources and items. `dtpnode retry` submits a job that begins with them. They lie beside the
// result, in the folder parts, each under its hash, as files of the copy's folder under another name: keeping them
// costs no copy.

// partsIndex is, in the folder of what is kept, an encoded MadeOf.
const partsIndex = "index"

// Bounds of a MadeOf that another member tells, in bytes: of its encoded form, and of its memory.
const (
	MaxPartsIndex  = 64 << 20
	MaxPartsMemory = 4 * MaxPartsIndex
)

// MadeOf says of what a job's partial result was made.
type MadeOf struct {
	Job       tasks.JobID     `msgpack:"j"` // whose name is the hash of its description
	Signature Signature       `msgpack:"b"`
	Parts     []merge.Partial `msgpack:"p"`
	// Grown is what an open job has grown by, of which the last append proves all by its signature.
	Grown []tasks.Append `msgpack:"g,omitempty"`
}

// Sum is a hash, hex, over what a job's result was made of: which units each partial accounts for, and which blob. It
// stands in the status that the voters of the job's ledger sign (api.JobStatus.PartsSHA256), so that it does not matter
// who tells of the partials.
func (m MadeOf) Sum() string {
	parts := slices.Clone(m.Parts)
	slices.SortFunc(parts, func(a, b merge.Partial) int {
		firsts := func(a, b tasks.Range) int { return cmp.Compare(a.First, b.First) }
		return cmp.Or(slices.CompareFunc(a.Cover, b.Cover, firsts), cmp.Compare(a.SHA256, b.SHA256))
	})
	h := sha256.New()
	fmt.Fprintf(h, "dtpnode parts of %q, %d\n", m.Job, len(parts))
	for _, p := range parts {
		fmt.Fprintf(h, "%d %x %q %d %d", p.Units, p.Canary, p.SHA256, p.Size, len(p.Cover))
		for _, r := range p.Cover {
			fmt.Fprintf(h, " %d %d", r.First, r.Last)
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (r *Results) partsDir(name string) string { return filepath.Join(r.FolderOf(name), partsFolder) }

// PartPath is where a partial is kept, by its hash, of which the result of the job with that name was made.
func (r *Results) PartPath(name, hash string) string { return filepath.Join(r.partsDir(name), hash) }

// PartsIndex is what is kept of the partial result of the job with that name, an encoded MadeOf.
func (r *Results) PartsIndex(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(r.partsDir(name), partsIndex))
}

// KeepParts keeps what the result of the job with that name was made of: the partials of made, which are kept in the
// folder of a copy, and what the job has grown by. The folder is there whole or not at all. A daemon that is started
// again before its job's ledger is closed learns of the end anew: then the folder is there, and may be in use by a
// retry.
func (r *Results) KeepParts(name string, c *Copy, made MadeOf) error {
	made.Job, made.Signature = c.ID, c.Signature
	from := c.files()
	for _, p := range made.Parts {
		from[p.SHA256] = filepath.Join(c.Dir, keptName(p))
	}
	if r.keepsAll(name, made.Sum(), from) {
		r.ShareParts(name)
		return nil
	}
	index, err := wire.Marshal(&made)
	if err != nil {
		return err
	}
	dir := r.partsDir(name)
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
		r.Blobs.ForgetFolder(dir)
		err = errors.Join(os.RemoveAll(dir), os.Rename(temp, dir))
	}
	if err != nil {
		_ = os.RemoveAll(temp)
		return err
	}
	r.ShareParts(name)
	return nil
}

// keepsAll reports whether the folder of what is kept tells of the partials with that sum, and has the files with those
// hashes.
func (r *Results) keepsAll(name, sum string, files map[string]string) bool {
	var there MadeOf
	index, err := r.PartsIndex(name)
	if err != nil || wire.Unmarshal(index, &there) != nil || there.Sum() != sum {
		return false
	}
	for hash := range files {
		if SizeOf(r.PartPath(name, hash)) < 0 {
			return false
		}
	}
	return true
}

// ShareParts lets other members fetch what is kept here of a job's partial result, if something is.
func (r *Results) ShareParts(name string) {
	files, err := os.ReadDir(r.partsDir(name))
	if err != nil {
		return
	}
	for _, f := range files {
		if IsHash(f.Name()) {
			r.Blobs.AddUnread(f.Name(), r.PartPath(name, f.Name()))
		}
	}
	if index, err := r.PartsIndex(name); err == nil {
		r.Blobs.AddUnread(HashOf(index), r.PartPath(name, partsIndex))
	}
}

// RemoveParts removes what is kept here of a job's partial result.
func (r *Results) RemoveParts(name string) {
	r.Blobs.ForgetFolder(r.partsDir(name))
	if err := os.RemoveAll(r.partsDir(name)); err != nil {
		r.Log.Warn("could not remove what a partial result was made of", "job", api.Short(name), "reason", err)
	}
}
