package p2p

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/wire"
)

// succeed signs a succession after a reign.
func succeed(t fataler, cluster, by who, a reign, holder, recovery peer.ID) signed {
	t.Helper()
	s := succession{
		Cluster: cluster.id.String(),
		Seq:     a.seq + 1,
		Prev:    a.prev,
		Holder:  holder.String(),
		By:      by.id.String(),
	}
	if recovery != "" {
		s.Recovery = recovery.String()
	}
	out, err := sign(by.key, forSuccession, &s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestStolenFounderKeyIsPowerlessAfterTakeBack(t *testing.T) {
	p := people(t, 6)
	f, a, key, thief, thiefKey, b := p[0], p[1], p[2], p[3], p[4], p[5]
	r := merged(t, f, says(t, f, f, 0, 1, []entry{enter(a, 1, Worker), enter(b, 2, Worker)}))
	put := func(x exchange) {
		t.Helper()
		if _, err := r.merge(x); err != nil {
			t.Fatal(err)
		}
	}
	first := r.reign()
	put(exchange{Successions: []signed{succeed(t, f, f, first, f.id, key.id)}})
	set := r.reign()
	if set.holder != f.id || set.recovery != key.id || !in(r, a) {
		t.Fatalf("after the recovery key was set: %+v, %v", set, r.members)
	}
	// The thief gives the role away; the recovery key takes it back from before that, with a's register.
	put(exchange{Successions: []signed{succeed(t, f, f, set, thief.id, key.id)}})
	if r.reign().holder != thief.id {
		t.Fatal("a holder cannot hand the role over")
	}
	n, ok := r.takeBackAt(key.id)
	if !ok {
		t.Fatal("nothing to take back")
	}
	back := r.reignAt(n)
	put(exchange{Successions: append(r.all().Successions[:n:n], succeed(t, f, key, back, a.id, key.id)),
		Registers: []signed{says(t, f, a, reign{seq: back.seq + 1}.under(), 1, []entry{enter(b, 2, Worker)})}})
	check := func() {
		t.Helper()
		if r.reign().holder != a.id || !in(r, b) || in(r, f) || in(r, thief) {
			t.Fatalf("after the take-back: %+v, %v", r.reign(), r.members)
		}
	}
	check()
	// The founder's key has no effect any more, anywhere in the chain.
	for i := range len(r.chain) + 1 {
		at := r.reignAt(i)
		put(exchange{Successions: append(r.all().Successions[:i:i], succeed(t, f, f, at, thief.id, thiefKey.id))})
		put(exchange{Successions: append(r.all().Successions[:i:i], succeed(t, f, f, at, f.id, at.recovery))})
		put(exchange{Registers: []signed{says(t, f, f, at.under(), maxNumber, []entry{enter(thief, 3, AllRights()...)},
			out{a.id.String(), 0})}})
		check()
	}
	put(exchange{Registers: []signed{says(t, f, f, 0, maxNumber, nil)}})
	check()
}

// The cluster works during a handover, before and after the new holder has published its register.
func TestHandover(t *testing.T) {
	p := people(t, 4)
	f, a, b, c := p[0], p[1], p[2], p[3]
	r := merged(t, f, says(t, f, f, 0, 1, []entry{enter(a, 1, Inviter), enter(c, 3, Worker)}),
		says(t, f, a, 1, 1, []entry{enter(b, 2, Worker)}))
	reg, err := r.draft(f.id)
	if err != nil {
		t.Fatal(err)
	}
	r.adopt(&reg, a.id, 1)
	if _, err := r.merge(exchange{
		Registers:   []signed{says(t, f, f, 0, reg.Version, reg.Entries)},
		Successions: []signed{succeed(t, f, f, r.reign(), a.id, "")},
	}); err != nil {
		t.Fatal(err)
	}
	for _, w := range []who{a, b, c} {
		if !in(r, w) {
			t.Errorf("%s is gone", w.id)
		}
	}
	if reg, err = r.draft(a.id); err != nil {
		t.Fatal(err)
	}
	if _, err := r.merge(exchange{Registers: []signed{says(t, f, a, reg.Under, reg.Version, reg.Entries)}}); err != nil {
		t.Fatal(err)
	}
	for _, w := range p {
		if !in(r, w) {
			t.Errorf("%s is gone after the new register", w.id)
		}
	}
	if err := r.mayRevoke(a.id, f.id); err != nil {
		t.Errorf("the new founder cannot revoke the old one: %v", err)
	}
	if r.mayRevoke(f.id, a.id) == nil {
		t.Error("the old founder can revoke the new one")
	}
}

// Successions in any order and portions end in the same holder, as long as nobody signs two histories with one
// key.
func TestSuccessionsConverge(t *testing.T) {
	p := people(t, 5)
	f, key := p[0], p[4]
	rapid.Check(t, func(t *rapid.T) {
		r := newRoster(f.id)
		holder := f
		var all []signed
		add := func(by, to who, a reign) {
			s := succeed(t, f, by, a, to.id, key.id)
			all = append(all, s)
			if _, err := r.merge(exchange{Successions: all}); err != nil {
				t.Fatal(err)
			}
		}
		add(f, f, r.reign())
		for range rapid.IntRange(0, 6).Draw(t, "steps") {
			to := p[rapid.IntRange(0, 3).Draw(t, "to")]
			if rapid.Bool().Draw(t, "taken back") {
				n, ok := r.takeBackAt(key.id)
				if !ok {
					t.Fatal("no place to take it back")
				}
				add(key, to, r.reignAt(n))
			} else {
				add(holder, to, r.reign())
			}
			if r.reign().holder != to.id {
				t.Fatal("the role was not passed on")
			}
			holder = to
		}
		two := newRoster(f.id)
		for _, i := range rapid.Permutation(index(len(all))).Draw(t, "order") {
			if _, err := two.merge(exchange{Successions: all[i : i+1]}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := two.merge(r.all()); err != nil {
			t.Fatal(err)
		}
		if two.reign().holder != r.reign().holder {
			t.Fatal("they differ")
		}
	})
}

func index(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

// A cluster has batch workers for years: the size of its roster depends on its present members, not on former ones, and
// no old record brings a former member back.
func TestRosterHasNoEnd(t *testing.T) {
	const joins, present, batch = 20_000, 500, 250
	f, inviter := someone(t), someone(t)
	r := merged(t, f, says(t, f, f, 0, 1, []entry{enter(inviter, 1, Inviter, Worker)}))
	apart := newRoster(f.id) // a member that is away, and comes back with what it knew
	most := 0
	for done := 0; done < joins; done += batch {
		by := []who{f, inviter}[done/batch%2]
		reg, err := r.draft(by.id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range batch {
			if over := len(reg.Entries) - present/2; over >= 0 {
				i := 0
				for ; reg.Entries[i].Peer == inviter.id.String(); i++ {
				}
				r.revoke(&reg, must(reg.Entries[i].Peer), false)
			}
			if err := reg.admit(entry{
				Peer:      someID(t, done+i).String(),
				Rights:    []Right{Worker},
				Tenure:    newTenure(),
				Ephemeral: true,
			}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.merge(exchange{Registers: []signed{says(t, f, by, reg.Under, reg.Version, reg.Entries,
			reg.Outs...)}}); err != nil {
			t.Fatal(err)
		}
		if done == joins/2 {
			if _, err := apart.merge(r.all()); err != nil {
				t.Fatal(err)
			}
		}
		size := 0
		for _, s := range r.all().Registers {
			size += len(s.Body)
		}
		most = max(most, size)
	}
	if len(r.members) > present+2 || len(r.members) < present/2 || len(r.registers) != 2 {
		t.Errorf("%d members in %d registers", len(r.members), len(r.registers))
	}
	if most > 400*present {
		t.Errorf("the records took %d bytes", most)
	}
	before := fmt.Sprint(r.sum)
	if _, err := r.merge(apart.all()); err != nil || fmt.Sprint(r.sum) != before {
		t.Errorf("one that was away changed the roster: %v", err)
	}
	if _, err := apart.merge(r.all()); err != nil || apart.sum != r.sum {
		t.Errorf("one that was away does not learn: %v", err)
	}
	t.Logf("%d joins, %d members, at most %d bytes of records", joins, len(r.members), most)
}

// Inviters that fill their registers with anything that is allowed there, and members that fill their address records,
// cannot make the roster larger than its frame: the founder's record that expels them still reaches everybody.
func TestRosterFitsItsFrame(t *testing.T) {
	f, inviters := someone(t), people(t, maxInviters-1)
	var admitted []entry
	var rights []Right
	for i := range maxRights - 1 {
		rights = append(rights, Right(strings.Repeat(string(rune('a'+i)), maxRight)))
	}
	rights = append(rights, Inviter)
	large := func(p peer.ID) entry {
		return entry{
			Peer:   p.String(),
			Name:   strings.Repeat("n", maxName),
			Rights: rights,
			Tenure: newTenure(),
			Joined: 1 << 40,
		}
	}
	for _, w := range inviters {
		admitted = append(admitted, large(w.id))
	}
	r := merged(t, f, says(t, f, f, 0, 1, admitted))
	gone := people(t, 100)
	var registers []signed
	for i, w := range inviters {
		var all []entry
		for k := range MaxPeers {
			e := large(someID(t, i*MaxPeers+k))
			if k < len(gone) {
				e.Peer = gone[k].id.String()
			}
			all = append(all, e)
		}
		for { // as many as one register holds
			s := says(t, f, w, r.inviters[w.id].Tenure, 1, all)
			if len(s.Body) <= maxRegister {
				registers = append(registers, s)
				break
			}
			all = all[:len(all)*9/10]
		}
	}
	if _, err := r.merge(exchange{Registers: registers}); err != nil {
		t.Fatal(err)
	}
	keys := map[string]who{}
	for _, w := range gone {
		keys[w.id.String()] = w
	}
	var departures []signed
	for _, c := range slices.Collect(maps.Values(r.claims)) {
		w, ok := keys[c[0].Peer]
		if !ok {
			continue
		}
		d, err := sign(w.key, forDeparture, &departure{Cluster: f.id.String(), Peer: c[0].Peer, Tenure: c[0].Tenure})
		if err != nil {
			t.Fatal(err)
		}
		departures = append(departures, d)
	}
	if _, err := r.merge(exchange{Departures: departures}); err != nil || len(departures) == 0 {
		t.Fatal(err)
	}
	size := func() int {
		x := r.all()
		b, err := wire.Marshal(&x)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	const addressed = maxAddresses + 100 // bytes of a member's address record with its signature
	if n := size() + len(r.members)*addressed; n > maxRoster || len(r.registers) < 4 {
		t.Errorf("%d registers, and %d bytes to tell them", len(r.registers), n)
	}
	var outs []out
	for _, w := range inviters {
		outs = append(outs, out{Peer: w.id.String()})
	}
	if _, err := r.merge(exchange{Registers: []signed{says(t, f, f, 0, 2, nil, outs...)}}); err != nil {
		t.Fatal(err)
	}
	if len(r.members) != 1 || len(r.registers) != 1 {
		t.Errorf("%d members and %d registers are left", len(r.members), len(r.registers))
	}
}
