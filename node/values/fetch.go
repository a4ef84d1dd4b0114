package values

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

const (
	askedAtOnce = 8                // members that are asked at a time
	askWait     = 20 * time.Second // for one answer, which may have maxAnswer bytes
	learnWait   = 30 * time.Second // in which another home may have come to lead
	learnAgain  = 200 * time.Millisecond
	maxAnswer   = 4 << 20  // bytes of values in an answer; of a value that is larger there are several
	maxAsked    = 4096     // values in one request
	maxTold     = 4096     // ranges of units that an answer tells
	maxShared   = 64 << 10 // bytes of a value that shares a pack with others here
	maxForeign  = 64 << 20 // bytes of such a pack
)

// ask is the request that members make of each other. Of a value of which a part is here already, From says where the
// next one begins; there is no other value in the request then.
type ask struct {
	Job  tasks.JobID `msgpack:"j"`
	Want [][2]int64  `msgpack:"w"` // unit and slot
	From int64       `msgpack:"f,omitempty"`
}

// told is its answer: values, as many as there was room for, and all units of which there are some.
type told struct {
	Values []toldValue `msgpack:"v"`
	Has    tasks.Cover `msgpack:"h"`
}

// toldValue is one value, or a part of it.
type toldValue struct {
	Of   uint32 `msgpack:"o"` // its index in what was asked for
	Size int64  `msgpack:"n"` // of the whole value
	Sum  []byte `msgpack:"s"` // SHA-256 of the whole value
	Data []byte `msgpack:"d"`
}

// Serve answers a member's request. Who may ask is up to the caller.
func (s *Store) Serve(request []byte) ([]byte, error) {
	var a ask
	if err := wire.Unmarshal(request, &a); err != nil {
		return nil, err
	}
	if len(a.Want) > maxAsked || a.From < 0 || (a.From > 0 && len(a.Want) != 1) {
		return nil, fmt.Errorf("%d values from byte %d on are asked for, want up to %d", len(a.Want), a.From, maxAsked)
	}
	k := s.of(a.Job)
	if k == nil {
		return wire.Marshal(&told{})
	}
	found := make([]*slot, len(a.Want))
	k.here(a.Want, found)
	var t told
	room := int64(maxAnswer)
	for i, v := range found {
		if v == nil || room <= 0 || a.From > v.size {
			continue
		}
		data, err := v.read(a.From, room)
		if err != nil {
			s.log.Warn("could not read a value of a job", "job", a.Job.Short(), "unit", a.Want[i][0], "reason", err)
			continue
		}
		t.Values = append(t.Values, toldValue{Of: uint32(i), Size: v.size, Sum: v.sum[:], Data: data})
		room -= int64(len(data)) + 64
	}
	k.mu.Lock()
	t.Has = k.cover[:min(len(k.cover), maxTold)]
	k.mu.Unlock()
	return wire.Marshal(&t)
}

// get finds values, and fetches those that are not here. What nobody has stays nil.
func (s *Store) get(ctx context.Context, k *kept, want [][2]int64) []*slot {
	found := make([]*slot, len(want))
	for k.here(want, found) > 0 {
		mine, others := k.board(want, found)
		if len(mine) > 0 {
			s.fetch(ctx, k, mine)
			k.land(mine)
			k.here(want, found)
		}
		if len(others) == 0 {
			break
		}
		for _, landed := range others { // another process waits for the same
			select {
			case <-landed:
			case <-ctx.Done():
				return found
			}
		}
	}
	return found
}

// board picks, among what is not here, what the caller is to fetch. Units that somebody else fetches just now are to be
// waited for.
func (k *kept) board(want [][2]int64, found []*slot) (mine [][2]int64, others []chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	own := map[int64]bool{}
	for i, w := range want {
		if found[i] != nil {
			continue
		}
		if flight := k.flights[w[0]]; flight != nil && !own[w[0]] {
			others = append(others, flight)
			continue
		}
		if !own[w[0]] {
			own[w[0]], k.flights[w[0]] = true, make(chan struct{})
		}
		mine = append(mine, w)
	}
	return mine, others
}

// land lets those go on who wait for what was fetched.
func (k *kept) land(mine [][2]int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range mine {
		if flight := k.flights[w[0]]; flight != nil {
			close(flight)
			delete(k.flights, w[0])
		}
	}
}

// fetch brings values here: first from members that have said that they have them, then from any that may have run
// their units. Otherwise a member that lies could give values of the units of everybody.
func (s *Store) fetch(ctx context.Context, k *kept, want [][2]int64) {
	workers := s.peers.Workers()
	if !s.learn(ctx, k, want) {
		return
	}
	k.mu.Lock()
	others := maps.Clone(k.others) // what they tell meanwhile is for others to use: each is asked once for a value
	k.mu.Unlock()
	for _, told := range []bool{true, false} {
		var g errgroup.Group
		g.SetLimit(askedAtOnce)
		for _, id := range workers {
			var some [][2]int64
			k.mu.Lock()
			for _, w := range want {
				may := !k.known.Has(w[0]) || k.makers[id].Has(w[0])
				if may && !k.hasSlot(w) && others[id].Has(w[0]) == told {
					some = append(some, w)
				}
			}
			k.mu.Unlock()
			if len(some) == 0 {
				continue
			}
			g.Go(func() error {
				if err := s.fetchFrom(ctx, k, id, some); err != nil {
					s.log.Debug("a member has not given its values of a job", "job", k.id.Short(), "node", id, "reason", err)
				}
				return nil
			})
		}
		_ = g.Wait()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range want { // Of what nobody has, more may be known another time.
		if !k.hasSlot(w) && k.known.Has(w[0]) {
			k.known = k.known.Minus(tasks.CoverOf(tasks.R(w[0], w[0]+1)))
		}
	}
}

// learn asks who may have run units, and reports whether an answer came.
func (s *Store) learn(ctx context.Context, k *kept, want [][2]int64) bool {
	units := make([]tasks.Range, 0, len(want))
	for _, w := range want {
		units = append(units, tasks.R(w[0], w[0]+1))
	}
	all := tasks.CoverOf(units...)
	k.mu.Lock()
	unknown := all.Minus(k.known)
	k.mu.Unlock()
	if unknown.Empty() {
		return true
	}
	for began := time.Now(); ; {
		of, known, err := s.peers.Makers(ctx, k.id, unknown)
		if err == nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			for id, c := range of {
				k.makers[id] = k.makers[id].Union(c)
			}
			k.known = k.known.Union(known)
			return true
		}
		if time.Since(began) > learnWait { // What cannot be trusted is made again here.
			s.log.Warn("could not learn who has run units of a job: what they have made is made again", "job", k.id.Short(),
				"reason", err)
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(learnAgain):
		}
	}
}

// hasSlot reports whether a value is here. The caller holds the lock.
func (k *kept) hasSlot(w [2]int64) bool {
	of := k.units[w[0]]
	return w[1] >= 0 && w[1] < int64(len(of)) && of[w[1]].in != nil
}

// fetchFrom brings those of some values here that a member has.
func (s *Store) fetchFrom(ctx context.Context, k *kept, id tasks.PeerID, want [][2]int64) error {
	for len(want) > 0 {
		some := want[:min(len(want), maxAsked)]
		t, err := s.ask(ctx, k, id, ask{Job: k.id, Want: some})
		if err != nil {
			return err
		}
		if len(t.Values) == 0 {
			want = want[len(some):]
			continue
		}
		last := uint32(0)
		for _, v := range t.Values {
			if v.Of < last || int(v.Of) >= len(some) {
				return errors.New("it has told values that nobody asked for")
			}
			last = v.Of
			if err := s.take(ctx, k, id, some[v.Of], v); err != nil {
				return err
			}
		}
		// What comes behind the last one there was no room for, or it has none of it, as the next answer shows.
		want = want[last+1:]
	}
	return nil
}

// ask makes one request of a member, and notes what it has.
func (s *Store) ask(ctx context.Context, k *kept, id tasks.PeerID, a ask) (t told, err error) {
	request, err := wire.Marshal(&a)
	if err != nil {
		return t, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	answer, err := s.peers.AskValues(ctx, id, request)
	if err == nil {
		err = wire.Unmarshal(answer, &t)
	}
	if err == nil && (len(t.Has) > maxTold || !t.Has.Valid(tasks.R(0, tasks.MaxUnits))) {
		err = errors.New("the units that it tells are none")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.others[id] = t.Has; err != nil {
		delete(k.others, id)
	}
	return t, err
}

// take writes a value that a member has told to a file here, fetching what of it was not told yet.
func (s *Store) take(ctx context.Context, k *kept, id tasks.PeerID, of [2]int64, v toldValue) error {
	if v.Size < 0 || v.Size > maxSize || int64(len(v.Data)) > v.Size || len(v.Sum) != sha256.Size {
		return fmt.Errorf("its value of the unit %d is none", of[0])
	}
	in, at, err := k.room(v.Size)
	if err != nil {
		return err
	}
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		in.values--
	}()
	f, err := os.OpenFile(in.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	sum, done := sha256.New(), int64(0)
	for part := v.Data; ; {
		if _, err := f.WriteAt(part, at+done); err != nil {
			return err
		}
		sum.Write(part)
		if done += int64(len(part)); done == v.Size {
			break
		}
		t, err := s.ask(ctx, k, id, ask{Job: k.id, Want: [][2]int64{of}, From: done})
		if err != nil {
			return err
		}
		if len(t.Values) != 1 || len(t.Values[0].Data) == 0 || int64(len(t.Values[0].Data)) > v.Size-done {
			return fmt.Errorf("it has told %d of %d bytes of a value of the unit %d, and no more", done, v.Size, of[0])
		}
		part = t.Values[0].Data
	}
	if got := [sha256.Size]byte(sum.Sum(nil)); got != [sha256.Size]byte(v.Sum) {
		return fmt.Errorf("its value of the unit %d is damaged: it has another SHA-256 than it says", of[0])
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fill(of, slot{in: in, at: at, size: v.Size, sum: [sha256.Size]byte(v.Sum)})
	return nil
}

// fill notes one value that has come from elsewhere. The caller holds the lock.
func (k *kept) fill(of [2]int64, v slot) {
	slots := k.units[of[0]]
	if k.hasSlot(of) {
		return
	}
	if int64(len(slots)) <= of[1] {
		slots = append(slots, make([]slot, of[1]+1-int64(len(slots)))...)
	}
	slots[of[1]] = v
	k.count(v, 1)
	k.units[of[0]] = slots
	// The cover has only what was made here: who looks for the rest of the unit would look here in vain.
}

// room finds where a value from elsewhere is to be written: many small ones share a file. Until it is there, it counts
// as a value of that file, which is not removed then.
func (k *kept) room(size int64) (in *pack, at int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if size <= maxShared && k.foreign != nil && k.foreignEnd < maxForeign {
		at = k.foreignEnd
		k.foreignEnd += size
		k.foreign.values++
		return k.foreign, at, nil
	}
	name, err := k.name()
	if err != nil {
		return nil, 0, err
	}
	in = &pack{path: name, values: 1}
	k.packs = append(k.packs, in)
	if size <= maxShared {
		k.foreign, k.foreignEnd = in, size
	}
	return in, 0, nil
}
