package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Work says what is to be done with the units of a job. The protocol looks at no more of it than Needs; the rest is for
// runtimes of the kind.
type Work struct {
	Kind  string   `msgpack:"k"` // which runtimes know what Spec says: "ROOT"
	Needs []string `msgpack:"n"` // words that a runtime must offer to work for the job, all of them; see Offer
	Spec  []byte   `msgpack:"s"` // opaque: decoded by runtimes of the kind alone
	Ships []Ship   `msgpack:"b"` // what a runtime fetches beside the description
}

// Ship is a blob that belongs to a job's description, by its content.
type Ship struct {
	Name   string `msgpack:"n"` // what the runtime calls it
	SHA256 string `msgpack:"h"` // hex
	Size   int64  `msgpack:"z"` // bytes
	Keep   bool   `msgpack:"k"` // every copy of the job's ledger has it on disk: whoever leads the job on needs it
}

// Bounds of a Work, which comes from whoever may submit.
const (
	MaxKind    = 16          // bytes of a kind
	MaxNeeds   = 16          // words
	MaxNeed    = 128         // bytes of a word
	MaxSpec    = 1 << 20     // bytes
	MaxShips   = 64          // blobs
	MaxShip    = 72 << 20    // bytes of one, and of all together that copies of the ledger keep
	MaxFreight = 2 * MaxShip // bytes of all
)

// Blobs of these names may be larger than others, and do not count towards the bounds of those: what a user gives a job
// as its input, MaxInput bytes; the libraries that its code needs, MaxLibraries bytes; the environment that it runs in,
// MaxEnvironment bytes; and files for its working folders (FileShip), MaxInput bytes each.
const (
	InputShip       = "input"
	MaxInput        = 1 << 30
	LibrariesShip   = "libraries"
	MaxLibraries    = 512 << 20
	EnvironmentShip = "environment"
	MaxEnvironment  = 4 << 30
)

// FileShip is the name of the blob that is a file for working folders, by the file's number.
func FileShip(number int) string { return fmt.Sprintf("%s%d", filePrefix, number) }

const filePrefix = "file-"

// MostOf is how many bytes a blob of that name may have.
func MostOf(name string) int64 {
	switch name {
	case InputShip:
		return MaxInput
	case LibrariesShip:
		return MaxLibraries
	case EnvironmentShip:
		return MaxEnvironment
	}
	if strings.HasPrefix(name, filePrefix) {
		return MaxInput
	}
	return MaxShip
}

// Check refuses work that no node takes.
func (w Work) Check() error {
	if w.Kind == "" || len(w.Kind) > MaxKind {
		return fmt.Errorf("its kind has %d bytes, want 1 to %d", len(w.Kind), MaxKind)
	}
	if len(w.Needs) > MaxNeeds || len(w.Spec) > MaxSpec || len(w.Ships) > MaxShips {
		return fmt.Errorf("its work has %d needs, %d bytes and %d blobs, want at most %d, %d and %d",
			len(w.Needs), len(w.Spec), len(w.Ships), MaxNeeds, MaxSpec, MaxShips)
	}
	for _, n := range w.Needs {
		if n == "" || len(n) > MaxNeed {
			return fmt.Errorf("one of its needs has %d bytes, want 1 to %d", len(n), MaxNeed)
		}
	}
	var all, kept int64
	names := map[string]bool{}
	for _, s := range w.Ships {
		switch {
		case s.Name == "" || len(s.Name) > MaxNeed || names[s.Name]:
			return errors.New("its blobs have no names, or not one each")
		case !JobID(s.SHA256).Valid():
			return fmt.Errorf("the blob %q has no SHA-256", s.Name)
		case s.Size < 0 || s.Size > MostOf(s.Name):
			return fmt.Errorf("the blob %q has %d bytes, want at most %d", s.Name, s.Size, MostOf(s.Name))
		}
		if names[s.Name] = true; MostOf(s.Name) != MaxShip {
			continue
		}
		if all += s.Size; s.Keep {
			kept += s.Size
		}
	}
	if all > MaxFreight || kept > MaxShip {
		return fmt.Errorf("its blobs have %d bytes, of which %d are to be kept: want at most %d and %d", all, kept,
			MaxFreight, MaxShip)
	}
	return nil
}

// Ship finds a blob by its name.
func (w Work) Ship(name string) (Ship, bool) {
	for _, s := range w.Ships {
		if s.Name == name {
			return s, true
		}
	}
	return Ship{}, false
}

// Kept are the blobs that go with every copy of the job's ledger.
func (w Work) Kept() (kept []Ship) {
	for _, s := range w.Ships {
		if s.Keep {
			kept = append(kept, s)
		}
	}
	return kept
}

// Code is a hex SHA-256 that tells one code from another: that of the one kept blob, where there is one, as of a
// sources, else one over all that are kept, or over the spec.
func (w Work) Code() string {
	kept := w.Kept()
	if len(kept) == 1 {
		return kept[0].SHA256
	}
	h := sha256.New()
	for _, s := range kept {
		h.Write([]byte(s.SHA256))
	}
	if len(kept) == 0 {
		h.Write(w.Spec)
	}
	return hex.EncodeToString(h.Sum(nil))
}
