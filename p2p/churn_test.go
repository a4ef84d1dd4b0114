package p2p

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// moves makes a member's address record with a number.
func (n *tnode) moves(w who, seq uint64) signed {
	n.t.Helper()
	s, err := sign(w.key, forAddresses, &addresses{Cluster: n.Cluster(), Peer: w.id.String(), Seq: seq})
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// throttled merges the records that throttle lets through at a time.
func (n *tnode) throttled(at time.Time, records ...signed) (taken int, again bool, flapping []peer.ID, err error) {
	n.Node.mu.Lock()
	defer n.Node.mu.Unlock()
	x, err := n.roster.fresh(exchange{Addresses: records})
	if err != nil {
		return 0, false, nil, err
	}
	x, again, flapping = n.throttle(x, at)
	_, err = n.roster.add(x)
	return len(x.Addresses), again, flapping, err
}

// TestAddressesAreTakenAtAMeasure: few changes are taken of a member that keeps signing new addresses, and it is
// reported. All changes of a member that moves often, at plausible intervals, are taken at once.
func TestAddressesAreTakenAtAMeasure(t *testing.T) {
	a, liar, twins := open(t, config(t, "a")), someone(t), someone(t)
	a.admitAll([]who{liar, twins}, Worker)
	a.mergeFrom(a.id, exchange{Addresses: []signed{a.moves(liar, 1), a.moves(twins, 1)}})
	const took = 2 * time.Minute
	begin, taken, told := time.Now(), map[peer.ID]int{}, map[peer.ID]int{}
	take := func(w who, at time.Duration, seq uint64) (all bool) {
		n, again, flapping, err := a.throttled(begin.Add(at), a.moves(w, seq))
		if err != nil {
			t.Fatal(err)
		}
		taken[w.id] += n
		for _, id := range flapping {
			told[id]++
		}
		return !again
	}
	for i := range uint64(took / (100 * time.Millisecond)) {
		take(liar, time.Duration(i)*100*time.Millisecond, i+2)
	}
	if most := addressBurst + int(took/addressEvery) + 1; taken[liar.id] > most || taken[liar.id] < most/2 {
		t.Errorf("of a member that never rests %d records were taken, at most %d may", taken[liar.id], most)
	}
	if n := told[liar.id]; n < 3 || n > int(took/churnFor) {
		t.Errorf("a member that never rests is told of %d times", n)
	}
	for i := range uint64(20) { // two nodes with the same key
		if !take(twins, took+time.Minute+time.Duration(i)*ownEvery/2, i+2) {
			t.Errorf("change %d of a member that runs twice is put off", i)
		}
	}
	if told[twins.id] > 0 {
		t.Error("a member that runs twice is told of")
	}
}

// TestForgedAddressesChargeNobody: a record that a member has not signed does not count towards its rate, and
// signatures of non-members are not even verified.
func TestForgedAddressesChargeNobody(t *testing.T) {
	a, w, stranger := open(t, config(t, "a")), someone(t), someone(t)
	a.enrolled(w, Worker)
	a.mergeFrom(a.id, exchange{Addresses: []signed{a.moves(w, 1)}})
	for i := range uint64(3 * addressBurst) {
		forged := a.moves(w, i+2)
		forged.Sig = a.moves(stranger, 1).Sig
		if _, again, _, err := a.throttled(time.Now(), forged, a.moves(stranger, i)); err == nil || again {
			t.Fatalf("a forged record is taken: %v, or put off: %v", err, again)
		}
	}
	if n, _, _, err := a.throttled(time.Now(), a.moves(stranger, 1), a.moves(w, 2)); n != 1 || err != nil {
		t.Errorf("of a record of a stranger and one of a member %d are taken: %v", n, err)
	}
}

// TestWhatIsPutOffIsTakenLater: a change that exceeds the rate is taken in the end, though nobody announces it again.
func TestWhatIsPutOffIsTakenLater(t *testing.T) {
	a, b := couple(t)
	a.Node.mu.Lock()
	a.pace.churnOf(b.id).room.AllowN(time.Now(), addressBurst)
	a.Node.mu.Unlock()
	b.Node.mu.Lock()
	seq := b.roster.addresses[b.id].seq + 1
	own, err := b.signAddresses(b.roster.cluster, seq)
	if err == nil {
		_, err = b.roster.merge(exchange{Addresses: []signed{own}})
	}
	b.Node.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	b.reconcileRosters()
	known := func(Event) bool {
		a.Node.mu.Lock()
		defer a.Node.mu.Unlock()
		return a.roster.addresses[b.id].seq == seq
	}
	a.wait(0, "the change is known", known)
}

// TestRosterIsServedAtAMeasure: a member that keeps pulling the roster gets it at a bounded rate.
func TestRosterIsServedAtAMeasure(t *testing.T) {
	a, b := couple(t)
	b.Node.mu.Lock()
	l := b.links[a.id]
	b.Node.mu.Unlock()
	begin, given := time.Now(), 0
	const asked = 4 * serveBurst
	for range asked {
		if _, err := b.fetchRoster(l); err == nil {
			given++
		}
	}
	if most := serveBurst + int(time.Since(begin)/serveEvery) + 1; given > most || given < serveBurst-pullBurst {
		t.Errorf("of %d times the roster was given %d times, at most %d may", asked, given, most)
	}
}
