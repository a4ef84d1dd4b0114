// Package datasets keeps lists of files under names. A list is a record that its owner, a member, has signed; each
// member keeps the records that it has heard of, and gives them to others, so that they outlive the node on which they
// were made. It owns the folder of records. It plans no files and runs no jobs.
//
//	store.go   records, on disk and by their names
//	spread.go  how members give each other records
package datasets

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Bounds of what one owner may have kept by others.
const (
	MaxRecord  = 4 << 20  // bytes of a record as it travels, compressed
	maxPlain   = 64 << 20 // bytes of it as it is read
	maxFiles   = 500_000  // of one record
	maxRecords = 1000     // of one owner, removed ones among them
	maxOwned   = 64 << 20 // bytes of all records of one owner, compressed
)

// Record is what an owner says of one name. The newest counts.
type Record struct {
	Owner     tasks.PeerID      `json:"owner"`
	OwnerName string            `json:"owner_name"`
	Name      string            `json:"name"`
	At        time.Time         `json:"at"` // by the owner's clock; of two records the later counts
	Removed   bool              `json:"removed,omitempty"`
	Kind      string            `json:"kind,omitempty"`
	Files     []api.DatasetFile `json:"files,omitempty"`
}

// Signed is a record with its signature, as it is kept and sent, in JSON.
type Signed struct {
	Body []byte `json:"body"` // the record as JSON, by gzip
	Sig  []byte `json:"sig"`  // of the owner, over signedText of the body
}

// Decode reads a record as it is kept and sent. It is not known to be its owner's before Open.
func Decode(text []byte) (s Signed, err error) {
	const most = 1 // values: nothing but texts is in it
	if err = wire.ReadJSON(text, most, &s); err != nil {
		return s, fmt.Errorf("could not read a dataset: %w", err)
	}
	return s, nil
}

// signedText is what an owner signs: nothing else that members sign begins so.
func signedText(body []byte) []byte {
	sum := sha256.Sum256(body)
	return fmt.Appendf(nil, "dataset %x", sum)
}

// Hash names what was signed.
func (s Signed) Hash() string {
	sum := sha256.Sum256(s.Body)
	return hex.EncodeToString(sum[:])
}

// Open reads the record, which must be signed by its owner.
func (s Signed) Open() (r Record, err error) {
	if len(s.Body) > MaxRecord {
		return r, fmt.Errorf("a dataset of %d bytes, want at most %d", len(s.Body), MaxRecord)
	}
	z, err := gzip.NewReader(bytes.NewReader(s.Body))
	if err != nil {
		return r, fmt.Errorf("could not read a dataset: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxPlain+1))
	if err != nil || len(plain) > maxPlain {
		return r, errors.Join(errors.New("could not read a dataset: it is damaged, or too large"), err)
	}
	const most = 2*maxFiles + 2 // values: each file is an object, and an element of the list
	if err := wire.ReadJSON(plain, most, &r); err != nil {
		return r, fmt.Errorf("could not read a dataset: %w", err)
	}
	if err := CheckName(r.Name); err != nil {
		return r, err
	}
	return r, p2p.Verify(r.Owner, signedText(s.Body), s.Sig)
}

// sign makes a record that others believe.
func sign(r Record, by func([]byte) []byte) (Signed, error) {
	if len(r.Files) > maxFiles {
		return Signed{}, tooLarge(len(r.Files), fmt.Sprintf("at most %d can be", maxFiles))
	}
	plain, err := json.Marshal(r)
	if err != nil {
		return Signed{}, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err = z.Write(plain)
	if err = errors.Join(err, z.Close()); err != nil {
		return Signed{}, err
	}
	if len(plain) > maxPlain || b.Len() > MaxRecord {
		return Signed{}, tooLarge(len(r.Files), fmt.Sprintf("the list has %d bytes, and %d compressed; the limits are %d and %d",
			len(plain), b.Len(), maxPlain, MaxRecord))
	}
	return Signed{Body: b.Bytes(), Sig: by(signedText(b.Bytes()))}, nil
}

// tooLarge is the error for so many files that no record holds.
func tooLarge(files int, why string) error {
	return &api.Error{
		Status:  http.StatusUnprocessableEntity,
		Message: fmt.Sprintf("could not register %d files under one name: %s", files, why),
		Hint:    "divide them among several names: --dataset A,B runs over several",
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+:@-]{0,127}$`)

// CheckName refuses what is no name of a dataset.
func CheckName(name string) error {
	if nameForm.MatchString(name) {
		return nil
	}
	return &api.Error{
		Status:  http.StatusBadRequest,
		Message: fmt.Sprintf("could not use %q as the name of a dataset", name),
		Hint:    "a name has up to 128 letters, digits and characters of _.+:@-",
	}
}

// key is what a record is kept under.
type key struct {
	owner tasks.PeerID
	name  string
}

// kept is a record in memory; its files are on disk alone.
type kept struct {
	Record
	hash    string
	bytes   int64
	entries int64
	size    int64 // compressed, of the files' parts
	files   int
}

// Store is the folder of records. Its methods may be called from any goroutine.
type Store struct {
	dir string
	log *slog.Logger

	mu  sync.Mutex
	all map[key]kept
}

// Open reads the folder of records, which it makes if there is none. Records that are damaged are left out.
func Open(dir string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("could not make folder %q: %w", dir, err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, log: log, all: map[key]kept{}}
	for _, name := range names {
		signed, r, err := readFile(name)
		if err != nil {
			log.Warn("a dataset on disk cannot be read", "file", name, "reason", err)
			continue
		}
		s.all[key{r.Owner, r.Name}] = keptOf(signed, r)
	}
	return s, nil
}

func readFile(name string) (s Signed, r Record, err error) {
	text, err := os.ReadFile(name)
	if err == nil {
		s, err = Decode(text)
	}
	if err == nil {
		r, err = s.Open()
	}
	return s, r, err
}

func keptOf(s Signed, r Record) kept {
	k := kept{Record: r, hash: s.Hash(), bytes: int64(len(s.Body)), files: len(r.Files)}
	for _, f := range r.Files {
		k.entries, k.size = k.entries+f.Entries, k.size+f.Bytes
	}
	k.Files = nil
	return k
}

func (s *Store) path(k key) string {
	return filepath.Join(s.dir, fmt.Sprintf("%x.json", sha256.Sum256([]byte(k.owner+"/"+k.name))))
}

// newer reports whether a record displaces another.
func newer(at time.Time, hash string, than kept) bool {
	if !at.Equal(than.At) {
		return at.After(than.At)
	}
	return hash > than.hash
}

// Put keeps a record, unless there is a newer one, or its owner has too many. fresh says that it was kept.
func (s *Store) Put(signed Signed) (fresh bool, err error) {
	r, err := signed.Open()
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{r.Owner, r.Name}
	old, known := s.all[k]
	if known && !newer(r.At, signed.Hash(), old) {
		return false, nil
	}
	n, bytes := 1, int64(len(signed.Body))
	for other, has := range s.all {
		if other.owner == r.Owner && other != k {
			n, bytes = n+1, bytes+has.bytes
		}
	}
	if n > maxRecords || bytes > maxOwned {
		return false, &api.Error{
			Status: http.StatusUnprocessableEntity,
			Message: fmt.Sprintf("could not keep the dataset %s: its owner would have %d, of %d bytes; the limits are %d and %d",
				r.Name, n, bytes, maxRecords, int64(maxOwned)),
			Hint: "use names of before again, which takes no further room",
		}
	}
	text, err := json.Marshal(signed)
	if err != nil {
		return false, err
	}
	if err := durable.Write(s.path(k), text); err != nil {
		return false, err
	}
	s.all[k] = keptOf(signed, r)
	return true, nil
}

// read is a whole record by its key.
func (s *Store) read(k key) (Signed, Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return readFile(s.path(k))
}

// list are all records, in the order of their names.
func (s *Store) list() []kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []kept
	for _, k := range s.all {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b kept) int {
		return strings.Compare(a.Name+"/"+a.OwnerName+a.Owner, b.Name+"/"+b.OwnerName+b.Owner)
	})
	return out
}

// find is the record that a user means by a name: NAME, OWNER/NAME, or as PROOF wrote it /GROUP/OWNER/NAME. The own one
// goes before those of others.
func (s *Store) find(name string, self tasks.PeerID) (kept, error) {
	parts := strings.Split(strings.Trim(name, "/"), "/")
	base, owner := parts[len(parts)-1], ""
	if len(parts) > 1 {
		owner = parts[len(parts)-2]
	}
	var found []kept
	for _, k := range s.list() {
		if k.Removed || k.Name != base || owner != "" && k.OwnerName != owner && !strings.HasPrefix(k.Owner, owner) {
			continue
		}
		if owner == "" && k.Owner == self {
			return k, nil
		}
		found = append(found, k)
	}
	switch len(found) {
	case 0:
		return kept{}, &api.Error{
			Status: http.StatusNotFound, Message: fmt.Sprintf("no dataset %q is known on the members that answer", name),
			Hint: "dtpnode dataset ls lists them",
		}
	case 1:
		return found[0], nil
	}
	var owners []string
	for _, k := range found {
		owners = append(owners, k.OwnerName+"/"+k.Name+" ("+k.Owner+")")
	}
	return kept{}, &api.Error{
		Status: http.StatusConflict, Message: fmt.Sprintf("several members have a dataset %q: %s", name, strings.Join(owners, ", ")),
		Hint: "name its owner, by the name or the id: OWNER/NAME",
	}
}
