package datasets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	// Name is what this node is called.
	Name() string
	// Names are what the members are called, this node among them, by their ids; empty where it is not known.
	Names() map[tasks.PeerID]string
	// Up are the other members that are up.
	Up() []tasks.PeerID
	// HasRight reports whether a member has a right; false if it is none.
	HasRight(id tasks.PeerID, right p2p.Right) bool
	Sign(text []byte) []byte
	Request(ctx context.Context, to tasks.PeerID, kind string, payload []byte) ([]byte, error)
}

const (
	askWait  = 3 * time.Second  // for a list of heads
	loadWait = 20 * time.Second // for one record
	maxHeads = 1 << 16          // values in an answer
	maxPage  = 10_000           // heads in an answer
	// A member may tell of records of an owner that it does not give, or that are refused, as after the owner has told
	// others of more than is kept here.
	mostVain = 3
	sulk     = time.Minute // a member that tells of more of them than that is not asked again for so long
	mostLies = 16
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
	page    int // heads in an answer

	sulking struct {
		sync.Mutex
		until map[tasks.PeerID]time.Time
	}
}

// New makes the room of a store.
func New(s *Store, m Members) *Room {
	r := &Room{Store: s, Members: m, page: maxPage}
	r.sulking.until = map[tasks.PeerID]time.Time{}
	return r
}

// ServeHeads answers the request "datasets": what is kept here, in the order of owners and names, as much as fits, of
// what comes after the owner and name that are given with a slash between them.
func (r *Room) ServeHeads(after string) ([]byte, error) {
	out := []head{}
	for _, k := range r.list() {
		out = append(out, head{k.Owner, k.Name, k.At, k.hash})
	}
	slices.SortFunc(out, func(a, b head) int { return strings.Compare(a.place(), b.place()) })
	at, _ := slices.BinarySearchFunc(out, after, func(h head, after string) int {
		if h.place() <= after {
			return -1
		}
		return 1
	})
	out = out[at:]
	return json.Marshal(out[:min(len(out), r.page)])
}

// place is where a head stands among others.
func (h head) place() string { return h.Owner + "/" + h.Name }

// ServeRecord answers the request "dataset": one record, by owner and name with a slash between them.
func (r *Room) ServeRecord(arg string) ([]byte, error) {
	owner, name, _ := strings.Cut(arg, "/")
	text, err := r.signed(key{owner, name})
	if err != nil {
		return nil, &api.Error{Status: http.StatusNotFound, Message: "no such dataset is kept here"}
	}
	return text, nil
}

// pull fetches from a member what it has that is newer than what is here. What cannot be had of one owner keeps nothing
// back of others.
func (r *Room) pull(ctx context.Context, from tasks.PeerID) error {
	if r.sulks(from) {
		return errors.New("it has told of datasets lately that it did not give")
	}
	vain, lies := map[tasks.PeerID]int{}, 0
	for after := ""; ; {
		heads, err := r.heads(ctx, from, after)
		if err != nil || len(heads) == 0 {
			return err
		}
		for _, h := range heads {
			if h.place() <= after {
				return errors.New("its list of datasets has no order")
			}
			after = h.place()
			if vain[h.Owner] >= mostVain || !r.wants(h) {
				continue
			}
			fresh, err := r.fetch(ctx, from, h.Owner, h.Name)
			if fresh {
				continue
			}
			r.log.Debug("a dataset could not be had", "member", from, "owner", h.Owner, "name", h.Name, "reason", err)
			vain[h.Owner]++
			if lies++; lies > mostLies || ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				r.mind(from)
				return errors.Join(errors.New("it tells of datasets that it does not give"), err)
			}
		}
		if len(heads) < r.page {
			return nil
		}
	}
}

// heads asks a member what it has, from one place on.
func (r *Room) heads(ctx context.Context, from tasks.PeerID, after string) ([]head, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	answer, err := r.Members.Request(ctx, from, "datasets", []byte(after))
	if err != nil {
		return nil, err
	}
	return wire.ReadJSONList[head](answer, r.page, maxHeads)
}

// sulks reports whether a member is not to be asked for now.
func (r *Room) sulks(id tasks.PeerID) bool {
	r.sulking.Lock()
	defer r.sulking.Unlock()
	return time.Now().Before(r.sulking.until[id])
}

// mind has a member not asked for a while.
func (r *Room) mind(id tasks.PeerID) {
	r.sulking.Lock()
	defer r.sulking.Unlock()
	for other, until := range r.sulking.until {
		if time.Now().After(until) {
			delete(r.sulking.until, other)
		}
	}
	r.sulking.until[id] = time.Now().Add(sulk)
}

// wants reports whether a record should be kept here: it is new, and of a member that may submit and has room.
func (r *Room) wants(h head) bool {
	if !r.Members.HasRight(h.Owner, p2p.Submitter) || CheckName(h.Name) != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{h.Owner, h.Name}
	if old, known := r.all[k]; known {
		return newer(h.At, h.Hash, old)
	}
	return r.fits(k, 0, 0) == nil
}

// fetch brings one record here, and reports whether it was kept: it is not if a newer one was here.
func (r *Room) fetch(ctx context.Context, from, owner tasks.PeerID, name string) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadWait)
	defer cancel()
	answer, err := r.Members.Request(ctx, from, "dataset", []byte(owner+"/"+name))
	if err != nil {
		return false, err
	}
	s, err := Decode(answer)
	if err != nil {
		return false, err
	}
	return r.Put(s, owner, name)
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
	if _, err := r.Put(s, rec.Owner, rec.Name); err != nil {
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
	if _, err := r.fetch(ctx, from, owner, name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return []byte(r.all[key{owner, name}].hash), nil
}

// List are the datasets that there are, without their files.
func (r *Room) List(ctx context.Context) []api.Dataset {
	r.Refresh(ctx)
	out, called := []api.Dataset{}, r.called()
	for _, k := range r.list() {
		if !k.Removed {
			out = append(out, r.told(k, called))
		}
	}
	return out
}

// Get is one by its name, with its files.
func (r *Room) Get(ctx context.Context, name string) (api.Dataset, error) {
	r.Refresh(ctx)
	k, called, err := r.find(name)
	if err != nil {
		return api.Dataset{}, err
	}
	_, rec, err := r.read(key{k.Owner, k.Name})
	if err != nil {
		return api.Dataset{}, fmt.Errorf("could not read the dataset %s: %w", name, err)
	}
	out := r.told(k, called)
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
	k, called, err := r.find(name)
	if err != nil {
		return api.Dataset{}, err
	}
	if k.Owner != r.Members.ID() {
		return api.Dataset{}, &api.Error{
			Status: http.StatusForbidden,
			Message: fmt.Sprintf("could not remove the dataset %s/%s: it was registered on another member", called[k.Owner],
				k.Name),
			Hint: "remove it there",
		}
	}
	out := r.told(k, called)
	out.KeptBy, err = r.Publish(ctx, Record{Name: k.Name, Removed: true})
	return out, err
}
