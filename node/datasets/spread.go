package datasets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A member asks the others for their records whenever its user asks for one: so it knows all that any member has which
// answers, and keeps it. Whoever registers or removes a name tells the others at once, and they fetch it. So a record
// is on all members that were up then, and reaches the rest as soon as they are asked for any.

// Members is the cluster as far as datasets need it.
type Members interface {
	ID() tasks.PeerID
	Name() string
	// Up are the other members that are up.
	Up() []tasks.PeerID
	// HasRight reports whether a member has a right; false if it is none.
	HasRight(id tasks.PeerID, right p2p.Right) bool
	Sign(text []byte) []byte
	Request(ctx context.Context, to tasks.PeerID, kind string, payload []byte) ([]byte, error)
}

const (
	askWait  = 3 * time.Second // for a list of heads
	loadWait = time.Minute     // for one record
	maxHeads = 1 << 16         // values in an answer

	maxFailed = 8 // records of a member that cannot be had, before it is asked for no more of them
)

// head is what is told of a record before it is fetched.
type head struct {
	Owner tasks.PeerID `json:"owner"`
	Name  string       `json:"name"`
	At    time.Time    `json:"at"`
	Hash  string       `json:"hash"`
}

// Room is what a node knows of datasets. Its methods may be called from any goroutine.
type Room struct {
	*Store
	Members Members
}

// New makes the room of a store.
func New(s *Store, m Members) *Room {
	return &Room{Store: s, Members: m}
}

// ServeHeads answers the request "datasets": what is kept here.
func (r *Room) ServeHeads() ([]byte, error) {
	out := []head{}
	for _, k := range r.list() {
		out = append(out, head{k.Owner, k.Name, k.At, k.hash})
	}
	return json.Marshal(out)
}

// ServeRecord answers the request "dataset": one record, by owner and name with a slash between them.
func (r *Room) ServeRecord(arg string) ([]byte, error) {
	owner, name, _ := strings.Cut(arg, "/")
	s, _, err := r.read(key{owner, name})
	if err != nil {
		return nil, &api.Error{Status: http.StatusNotFound, Message: "no such dataset is kept here"}
	}
	return json.Marshal(s)
}

// pull fetches from a member what it has that is newer than what is here.
func (r *Room) pull(ctx context.Context, from tasks.PeerID) error {
	asking, cancel := context.WithTimeout(ctx, askWait)
	answer, err := r.Members.Request(asking, from, "datasets", nil)
	cancel()
	if err != nil {
		return err
	}
	heads, err := wire.ReadJSONList[head](answer, maxHeads, maxHeads)
	if err != nil {
		return err
	}
	// One that cannot be had, or is none, keeps nobody from the others.
	var failed error
	for n := 0; len(heads) > 0 && n < maxFailed && ctx.Err() == nil; heads = heads[1:] {
		if h := heads[0]; r.wants(h) {
			if err := r.fetch(ctx, from, h); err != nil {
				failed, n = errors.Join(failed, fmt.Errorf("dataset %s: %w", h.Name, err)), n+1
			}
		}
	}
	return failed
}

// wants reports whether a record should be kept here: it is new, and of a member that may submit.
func (r *Room) wants(h head) bool {
	if !r.Members.HasRight(h.Owner, p2p.Submitter) || CheckName(h.Name) != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, known := r.all[key{h.Owner, h.Name}]
	return !known || newer(h.At, h.Hash, old)
}

func (r *Room) fetch(ctx context.Context, from tasks.PeerID, h head) error {
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	answer, err := r.Members.Request(ctx, from, "dataset", []byte(h.Owner+"/"+h.Name))
	if err != nil {
		return err
	}
	s, err := Decode(answer)
	if err != nil {
		return err
	}
	rec, err := s.Open()
	if err != nil {
		return err
	}
	if rec.Owner != h.Owner || rec.Name != h.Name {
		return errors.New("another one was sent in its place")
	}
	_, err = r.Put(s)
	return err
}

// Refresh asks all members that are up for what they have.
func (r *Room) Refresh(ctx context.Context) {
	var wg sync.WaitGroup
	for _, m := range r.Members.Up() {
		wg.Go(func() {
			if err := r.pull(ctx, m); err != nil && ctx.Err() == nil {
				r.log.Debug("a member did not tell of its datasets", "member", m, "reason", err)
			}
		})
	}
	wg.Wait()
}

// Publish signs a record of this node, keeps it, and tells the members. It returns how many have it, this node among
// them.
func (r *Room) Publish(ctx context.Context, rec Record) (keptBy int, err error) {
	rec.Owner, rec.OwnerName, rec.At = r.Members.ID(), r.Members.Name(), time.Now().UTC()
	r.mu.Lock()
	if old, ok := r.all[key{rec.Owner, rec.Name}]; ok && !rec.At.After(old.At) { // the clock was set back
		rec.At = old.At.Add(time.Nanosecond)
	}
	r.mu.Unlock()
	s, err := sign(rec, r.Members.Sign)
	if err != nil {
		return 0, err
	}
	if _, err := r.Put(s); err != nil {
		return 0, err
	}
	return 1 + r.tell(ctx, key{rec.Owner, rec.Name}, s.Hash()), nil
}

// tell has the members fetch a record, and counts those that have it.
func (r *Room) tell(ctx context.Context, k key, hash string) (n int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, m := range r.Members.Up() {
		wg.Go(func() {
			asking, cancel := context.WithTimeout(ctx, askWait)
			defer cancel()
			answer, err := r.Members.Request(asking, m, "dataset-new", []byte(k.owner+"/"+k.name))
			if err == nil && string(answer) == hash {
				mu.Lock()
				n++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return n
}

// ServeNew answers the request "dataset-new": it fetches a record from the member that tells of it, which must be its
// owner, and says which it has then.
func (r *Room) ServeNew(ctx context.Context, from tasks.PeerID, arg string) ([]byte, error) {
	owner, name, _ := strings.Cut(arg, "/")
	if owner != from || !r.Members.HasRight(from, p2p.Submitter) || CheckName(name) != nil {
		return nil, &api.Error{Status: http.StatusForbidden,
			Message: "datasets are kept for members that may submit jobs, each for its own"}
	}
	if err := r.fetch(ctx, from, head{Owner: owner, Name: name}); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return []byte(r.all[key{owner, name}].hash), nil
}

// told is a record as a user sees it, without its files.
func (r *Room) told(k kept) api.Dataset {
	return api.Dataset{
		Name: k.OwnerName + "/" + k.Name, Owner: k.Owner, OwnerName: k.OwnerName, Registered: k.At, Kind: k.Kind,
		Gone: k.Owner != r.Members.ID() && !r.Members.HasRight(k.Owner, p2p.Submitter), Count: k.files, Entries: k.entries,
		Bytes: k.size,
	}
}

// List are the datasets that there are, without their files.
func (r *Room) List(ctx context.Context) []api.Dataset {
	r.Refresh(ctx)
	out := []api.Dataset{}
	for _, k := range r.list() {
		if !k.Removed {
			out = append(out, r.told(k))
		}
	}
	return out
}

// Get is one by its name, with its files.
func (r *Room) Get(ctx context.Context, name string) (api.Dataset, error) {
	r.Refresh(ctx)
	k, err := r.find(name, r.Members.ID())
	if err != nil {
		return api.Dataset{}, err
	}
	_, rec, err := r.read(key{k.Owner, k.Name})
	if err != nil {
		return api.Dataset{}, fmt.Errorf("could not read the dataset %s: %w", name, err)
	}
	out := r.told(k)
	out.Files = rec.Files
	return out, nil
}

// Own reports whether this node has registered a name.
func (r *Room) Own(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.all[key{r.Members.ID(), name}]
	return ok && !k.Removed
}

// Remove takes a name back. Only its owner can.
func (r *Room) Remove(ctx context.Context, name string) (api.Dataset, error) {
	r.Refresh(ctx)
	k, err := r.find(name, r.Members.ID())
	if err != nil {
		return api.Dataset{}, err
	}
	if k.Owner != r.Members.ID() {
		return api.Dataset{}, &api.Error{
			Status:  http.StatusForbidden,
			Message: fmt.Sprintf("could not remove the dataset %s/%s: it was registered on another member", k.OwnerName, k.Name),
			Hint:    "remove it there",
		}
	}
	out := r.told(k)
	out.KeptBy, err = r.Publish(ctx, Record{Name: k.Name, Removed: true})
	return out, err
}
