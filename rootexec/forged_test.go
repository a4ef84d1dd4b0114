package rootexec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// blobRecord is one record of a partial, as child/blob.h describes it.
type blobRecord struct {
	flags, ordinal uint32
	name, class    string
	object         []byte
}

const isFile = 2 // a flag

// readBlob takes a partial apart; rest is what is before the records.
func readBlob(t *testing.T, path string) (rest []byte, records []blobRecord) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rest, b = b[:16], b[16:]
	for len(b) > 0 {
		name, class := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		size := binary.BigEndian.Uint64(b[16:])
		r := blobRecord{flags: binary.BigEndian.Uint32(b), ordinal: binary.BigEndian.Uint32(b[4:])}
		b = b[24:]
		r.name, r.class, r.object = string(b[:name]), string(b[name:name+class]), b[name+class:][:size]
		b = b[uint64(name+class)+size:]
		records = append(records, r)
	}
	return rest, records
}

// writeBlob writes a partial of such records.
func writeBlob(t *testing.T, rest []byte, records []blobRecord) string {
	t.Helper()
	out := bytes.NewBuffer(slices.Clone(rest))
	for _, r := range records {
		for _, n := range []uint32{r.flags, r.ordinal, uint32(len(r.name)), uint32(len(r.class))} {
			out.Write(binary.BigEndian.AppendUint32(nil, n))
		}
		out.Write(binary.BigEndian.AppendUint64(nil, uint64(len(r.object))))
		out.WriteString(r.name + r.class)
		out.Write(r.object)
	}
	path := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestForgedPartials merges an honest partial with one of a member that lies, or whose memory is bad: what cannot be
// merged is refused in a way that tells which partial it is, and never crashes what merges; objects of another class
// than the others' are told.
func TestForgedPartials(t *testing.T) {
	r := roottest.Find(t)
	job := roottest.Job{
		Selector: roottest.Selector(t, "Tally.C"), Tree: "Events", Files: r.MakeChain(t, t.TempDir(), 2, 100),
		Dir: t.TempDir(),
	}
	s := loadJob(t, rootexec.SharedExecutor(t), job.Selector)
	defer s.Release()
	var honest []string
	for _, packets := range dealPackets(t, rootexec.SharedExecutor(t), job) {
		honest = append(honest, runGeneration(t, s, exec.GenSpec{Job: 1, Dir: t.TempDir()}, rootexec.Told{}, packets))
	}
	rest, records := readBlob(t, honest[1])
	var number []byte
	for _, r := range records {
		if r.name == "dtpnode.units" {
			number = r.object
		}
	}
	// changed makes another partial of the second, by a change of each object that is the user's.
	changed := func(change func(r *blobRecord), more ...blobRecord) string {
		all := slices.Clone(records)
		for i := range all {
			if !strings.HasPrefix(all[i].name, "dtpnode.") {
				change(&all[i])
			}
		}
		return writeBlob(t, rest, append(all, more...))
	}
	same := func(*blobRecord) {}
	for what, path := range map[string]string{
		"bytes that are no object": changed(func(r *blobRecord) {
			r.object = bytes.Repeat([]byte{0xa5}, len(r.object))
		}),
		"an object of another name than is said":  changed(func(r *blobRecord) { r.name = "x" + r.name }),
		"an object of another class than is said": changed(func(r *blobRecord) { r.object = number }),
		"a file that is no ROOT file": changed(same,
			blobRecord{flags: isFile, name: "a.root", class: "TFile", object: number}),
	} {
		for _, inputs := range [][]string{{honest[0], path}, {path, path}} {
			var f *exec.Failure
			if p, err := s.Merge(t.Context(), inputs, filepath.Join(t.TempDir(), "out")); !errors.As(err, &f) ||
				f.Kind != exec.KindInternal {
				t.Errorf("%s: %+v, %v", what, p, err)
			}
		}
	}
	other := changed(func(r *blobRecord) { r.class, r.object = "TParameter<Long64_t>", number })
	p, err := s.Merge(t.Context(), []string{honest[0], other}, filepath.Join(t.TempDir(), "out"))
	if err != nil || len(p.Apart) == 0 || !strings.Contains(p.Apart[0], "TParameter<Long64_t>)") {
		t.Errorf("objects of another class: %+v, %v", p, err)
	}
	if _, _, err := rootexec.Counted(changed(same, blobRecord{name: "dtpnode.units", class: "TParameter<Long64_t>",
		object: number})); err == nil {
		t.Error("a partial with two counters is counted")
	}
}
