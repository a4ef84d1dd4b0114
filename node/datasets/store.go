// Package datasets keeps lists of files under names. A list is a record that its owner, a member, has signed; each
// member keeps the records that it has heard of, and gives them to others, so that they outlive the node on which they
// were made. It owns the folder of records. It plans no files and runs no jobs.
//
//	store.go   records, on disk and by their names
//	names.go   whose is meant, and what users are told of one
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
	// maxOwnedPlain is of them as they are read, which a daemon does with all of them when it starts: a compressed record
	// can be a thousandth of what it becomes.
	maxOwnedPlain = 256 << 20
	// leastValue is how many bytes each file of a record has at least, for each of its two values (wire.ReadJSON), as it
	// is written here: what has more values than that takes far more memory than bytes.
	leastValue = 20
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
func (s Signed) Open() (Record, error) {
	r, _, err := s.open()
	if err != nil {
		return r, err
	}
	return r, p2p.Verify(r.Owner, signedText(s.Body), s.Sig)
}

// OpenOf is Open for a record that must be of a certain owner. What somebody else has made is not even unpacked.
func (s Signed) OpenOf(owner tasks.PeerID) (r Record, plain int64, err error) {
	if err := p2p.Verify(owner, signedText(s.Body), s.Sig); err != nil {
		return r, 0, err
	}
	if r, plain, err = s.open(); err == nil && r.Owner != owner {
		err = errors.New("could not read a dataset: it is not said to be of who has signed it")
	}
	return r, plain, err
}

// open reads the record, whoever has signed it, and says how many bytes it has unpacked.
func (s Signed) open() (r Record, size int64, err error) {
	if len(s.Body) > MaxRecord {
		return r, 0, fmt.Errorf("a dataset of %d bytes, want at most %d", len(s.Body), MaxRecord)
	}
	z, err := gzip.NewReader(bytes.NewReader(s.Body))
	if err != nil {
		return r, 0, fmt.Errorf("could not read a dataset: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxPlain+1))
	if err != nil || len(plain) > maxPlain {
		return r, 0, errors.Join(errors.New("could not read a dataset: it is damaged, or too large"), err)
	}
	if err := wire.ReadJSON(plain, mostValues(len(plain)), &r); err != nil {
		return r, 0, fmt.Errorf("could not read a dataset: %w", err)
	}
	if r.OwnerName != "" {
		if err := p2p.CheckName(r.OwnerName); err != nil {
			return r, 0, err
		}
	}
	return r, int64(len(plain)), CheckName(r.Name)
}

// mostValues is how many values (wire.ReadJSON) a record of so many bytes may have: of each file an object and an
// element of the list.
func mostValues(bytes int) int { return min(2*maxFiles, bytes/leastValue) + 16 }

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
		return Signed{}, tooLarge(len(r.Files), fmt.Sprintf("the list has %d bytes, and %d compressed; the limits are %d "+
			"and %d", len(plain), b.Len(), maxPlain, MaxRecord))
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
	plain   int64 // bytes of it unpacked
	entries int64
	size    int64 // compressed, of the files' parts
	files   int
}

// Store is the folder of records. Its methods may be called from any goroutine.
type Store struct {
	dir string
	log *slog.Logger

	reading sync.Mutex // held while a record is unpacked

	most      int   // records of one owner
	mostPlain int64 // bytes of them, unpacked

	mu    sync.Mutex
	all   map[key]kept
	owned map[tasks.PeerID]room // what all records of an owner take
}

// room is what records take.
type room struct {
	records      int
	bytes, plain int64 // packed and unpacked
}

// add has a record take room, or with times -1 give it back.
func (s *Store) add(k kept, times int64) {
	r := s.owned[k.Owner]
	s.owned[k.Owner] = room{r.records + int(times), r.bytes + times*k.bytes, r.plain + times*k.plain}
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
	s := &Store{
		dir: dir, log: log, most: maxRecords, mostPlain: maxOwnedPlain,
		all: map[key]kept{}, owned: map[tasks.PeerID]room{},
	}
	for _, name := range names {
		signed, r, plain, err := readFile(name)
		if err != nil {
			log.Warn("a dataset on disk cannot be read", "file", name, "reason", err)
			continue
		}
		k := keptOf(signed, r, plain)
		s.all[key{r.Owner, r.Name}] = k
		s.add(k, 1)
	}
	return s, nil
}

// readFile reads what was found to be its owner's before it was written.
func readFile(name string) (s Signed, r Record, plain int64, err error) {
	text, err := os.ReadFile(name)
	if err == nil {
		s, err = Decode(text)
	}
	if err == nil {
		r, plain, err = s.open()
	}
	if err == nil {
		err = p2p.Verify(r.Owner, signedText(s.Body), s.Sig)
	}
	return s, r, plain, err
}

func keptOf(s Signed, r Record, plain int64) kept {
	k := kept{Record: r, hash: s.Hash(), bytes: int64(len(s.Body)), plain: plain, files: len(r.Files)}
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

// Put keeps a record of an owner, unless there is a newer one, or the owner has too many. fresh says that it was kept.
// Records are read one after the other, since one can be large.
func (s *Store) Put(signed Signed, owner tasks.PeerID, name string) (fresh bool, err error) {
	s.reading.Lock()
	r, plain, err := signed.OpenOf(owner)
	s.reading.Unlock()
	if err == nil && r.Name != name {
		err = fmt.Errorf("could not keep the dataset %s: another one was sent in its place", name)
	}
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
	added := keptOf(signed, r, plain)
	if err := s.fits(k, added.bytes, plain); err != nil {
		return false, err
	}
	text, err := json.Marshal(signed)
	if err != nil {
		return false, err
	}
	if err := durable.Write(s.path(k), text); err != nil {
		return false, err
	}
	if known {
		s.add(old, -1)
	}
	s.all[k] = added
	s.add(added, 1)
	return true, nil
}

// fits is an error if an owner has too much to have a record of that size, packed and unpacked, too. The caller holds
// s.mu.
func (s *Store) fits(k key, bytes, plain int64) error {
	r, old := s.owned[k.owner], s.all[k]
	if _, known := s.all[k]; !known {
		r.records++
	}
	r.bytes, r.plain = r.bytes+bytes-old.bytes, r.plain+plain-old.plain
	if r.records <= s.most && r.bytes <= maxOwned && r.plain <= s.mostPlain {
		return nil
	}
	return &api.Error{
		Status: 422,
		Message: fmt.Sprintf("could not keep the dataset %s: its owner would have %d, of %d bytes, and %d unpacked; the "+
			"limits are %d, %d and %d", k.name, r.records, r.bytes, r.plain, s.most, int64(maxOwned), s.mostPlain),
		Hint: "use names of before again, which takes no further room",
	}
}

// read is a whole record by its key.
func (s *Store) read(k key) (Signed, Record, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	signed, r, _, err := readFile(s.path(k))
	return signed, r, err
}

// signed is a record as it is kept, for others.
func (s *Store) signed(k key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return os.ReadFile(s.path(k))
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
