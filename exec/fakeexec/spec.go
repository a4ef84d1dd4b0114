package fakeexec

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/tasks"
)

// Spec is the user's code: the content, as JSON, of the file given to `dtpnode run`.
type Spec struct {
	Entry string `json:"entry"`           // time for an entry, as "200us"
	Begin string `json:"begin,omitempty"` // time for SlaveBegin
	Bins  int    `json:"bins"`            // of the histogram
	Size  int64  `json:"size,omitempty"`  // bytes that a partial has at least
	Print string `json:"print,omitempty"` // a line that each generation prints
	Items int64  `json:"items,omitempty"` // the job runs over so many items, and over no files
	// Values has each unit's Value kept, which can be asked for.
	Values bool `json:"values,omitempty"`
	// Fail names the units at which a generation fails, and how.
	Fail map[int64]exec.Kind `json:"fail,omitempty"`
	// Hold names units at which a generation waits until there is a file, by their paths; Flood those at which it prints
	// lines, and how many.
	Hold  map[int64]string `json:"hold,omitempty"`
	Flood map[int64]int    `json:"flood,omitempty"`
	// HoldSteps names files that the steps "Begin" and "Terminate" wait for.
	HoldSteps map[string]string `json:"hold_steps,omitempty"`
	// Steps names the steps that fail as a whole, and how: "SlaveBegin", "merge", "Begin", "Terminate".
	Steps map[string]exec.Kind `json:"steps,omitempty"`

	entry, begin time.Duration
}

// Bounds of a Spec.
const (
	maxBins = 1 << 20
	maxSize = 1 << 30
)

func parseSpec(text []byte) (s Spec, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return s, fmt.Errorf("error: could not read the code: %w", err)
	}
	for _, d := range []struct {
		text string
		to   *time.Duration
	}{{s.Entry, &s.entry}, {s.Begin, &s.begin}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = time.ParseDuration(d.text); err != nil || *d.to < 0 {
			return s, fmt.Errorf("error: could not use the time %q: %w", d.text, err)
		}
	}
	if s.Bins < 1 || s.Bins > maxBins || s.Size < 0 || s.Size > maxSize || s.Items < 0 {
		return s, fmt.Errorf("error: could not use %d bins and %d bytes: want 1 to %d and at most %d", s.Bins, s.Size,
			maxBins, maxSize)
	}
	return s, nil
}

// Bin is the bin of a unit: neighbours are spread over all of them, so that a range that is lost and another
// of the same length that is counted twice show in different bins.
func Bin(unit int64, bins int) int {
	return int(tasks.Canary(0, tasks.R(unit, unit+1)) % uint64(bins))
}

// Serial counts the units of a range one after the other: what any job over them must result in.
func Serial(r tasks.Range, bins int) []int64 {
	h := make([]int64, bins)
	for u := r.First; u < r.Last; u++ {
		h[Bin(u, bins)]++
	}
	return h
}

// Value is the value of a unit, for a Spec that keeps values: item is what was appended for it, nil for an entry that
// is only a number.
func Value(unit int64, item []byte) []byte {
	sum := sha256.Sum256(item)
	return fmt.Appendf(nil, "unit %d of %x", unit, sum[:8])
}

// dataset is a data file: fake://NAME?entries=N&clusters=M, with &fail=KIND if each packet of it fails.
type dataset struct {
	entries int64
	parts   int64 // clusters
	fail    exec.Kind
}

// maxClusters bounds the clusters of a file.
const maxClusters = 1 << 20

func parseDataset(name string) (dataset, error) {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "fake" {
		return dataset{}, errors.Join(err, fmt.Errorf("could not open %q: want fake://NAME?entries=N&clusters=M", name))
	}
	d := dataset{parts: 1, fail: exec.Kind(u.Query().Get("fail"))}
	for key, to := range map[string]*int64{"entries": &d.entries, "clusters": &d.parts} {
		if v := u.Query().Get(key); v != "" {
			if *to, err = strconv.ParseInt(v, 10, 64); err != nil {
				return d, fmt.Errorf("could not open %q: %w", name, err)
			}
		}
	}
	if d.entries < 0 || d.parts < 1 || d.parts > maxClusters {
		return d, fmt.Errorf("could not open %q: it has %d entries in %d clusters", name, d.entries, d.parts)
	}
	return d, nil
}

// clusters are the first entries of the clusters, all of about one size.
func (d dataset) clusters() []int64 {
	n := min(d.parts, d.entries)
	out := make([]int64, n)
	size, rest := int64(0), int64(0)
	if n > 0 {
		size, rest = d.entries/n, d.entries%n
	}
	for i := range out {
		out[i] = int64(i)*size + min(int64(i), rest)
	}
	return out
}
