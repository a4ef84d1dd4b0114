package p2p

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/wire"
)

type who struct {
	key crypto.PrivKey
	id  peer.ID
}

func someone(t testing.TB) who {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return who{key, id}
}

func people(t testing.TB, n int) []who {
	out := make([]who, n)
	for i := range out {
		out[i] = someone(t)
	}
	return out
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

// enter is an entry for w in its first stay.
func enter(w who, tenure uint64, rights ...Right) entry {
	return entry{Peer: w.id.String(), Rights: rights, Tenure: tenure}
}

// says signs a register.
func says(t fataler, cluster, issuer who, under, version uint64, entries []entry, outs ...out) signed {
	t.Helper()
	s, err := sign(issuer.key, forRegister, &register{
		Cluster: cluster.id.String(),
		Issuer:  issuer.id.String(),
		Under:   under,
		Version: version,
		Entries: entries,
		Outs:    outs,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func merged(t fataler, cluster who, s ...signed) *roster {
	t.Helper()
	r := newRoster(cluster.id)
	if _, err := r.merge(exchange{Registers: s}); err != nil {
		t.Fatal(err)
	}
	return r
}

func in(r *roster, w who) bool { _, ok := r.members[w.id]; return ok }

func TestRosterMeaning(t *testing.T) {
	p := people(t, 5)
	f, a, b, c, x := p[0], p[1], p[2], p[3], p[4]
	inv := []Right{Worker, Inviter}
	both := []entry{enter(a, 1, inv...), enter(b, 2, inv...)}
	outOf := func(w who, tenure uint64) out { return out{w.id.String(), tenure} }
	for name, k := range map[string]struct {
		said     []signed
		in, out  []who
		inviters []who
	}{
		"founder alone": {nil, []who{f}, []who{a}, []who{f}},
		"chain": {[]signed{says(t, f, a, 1, 1, []entry{enter(c, 9, Worker)}),
			says(t, f, f, 0, 1, both)}, []who{f, a, b, c}, nil, []who{f, a, b}},
		"issuer without right": {[]signed{says(t, f, f, 0, 1, []entry{enter(a, 1, Worker)}),
			says(t, f, a, 1, 1, []entry{enter(c, 9, Worker)})}, []who{a}, []who{c}, nil},
		"issuer unknown": {[]signed{says(t, f, a, 1, 1, []entry{enter(c, 9, Worker)})}, []who{f},
			[]who{a, c}, nil},
		"revoked, the old register again": {[]signed{says(t, f, f, 0, 2, nil), says(t, f, f, 0, 1, both)}, []who{f},
			[]who{a, b}, nil},
		"another stay": {
			[]signed{says(t, f, f, 0, 2, []entry{enter(a, 5, inv...)}), says(t, f, a, 1, 7, []entry{enter(c, 9, Worker)})},
			[]who{a},
			[]who{c},
			[]who{a},
		},
		"founder is beyond it": {[]signed{says(t, f, f, 0, 1, both),
			says(t, f, a, 1, maxNumber, []entry{enter(f, 3)}, outOf(f, 0))}, []who{f, a}, nil, []who{f, a, b}},
		"peers cannot vote out": {[]signed{says(t, f, f, 0, 1, both),
			says(t, f, a, 1, maxNumber, nil, outOf(b, 2), outOf(b, 0)),
			says(t, f, b, 2, maxNumber, nil, outOf(a, 1), outOf(a, 0))}, []who{a, b}, nil, []who{a, b}},
		"inviter out by elder": {[]signed{says(t, f, f, 0, 1, both, outOf(c, 9)),
			says(t, f, a, 1, maxNumber, []entry{enter(c, 9, Inviter)})}, []who{a}, []who{c}, nil},
		"banned by elder, whatever the number": {[]signed{says(t, f, f, 0, 1, both, outOf(c, 0)),
			says(t, f, a, 1, maxNumber, []entry{enter(c, 77, Worker)})}, []who{a}, []who{c}, nil},
		"no right by oneself": {[]signed{says(t, f, f, 0, 1, []entry{enter(a, 1, Inviter)}),
			says(t, f, a, 1, maxNumber, []entry{enter(a, 2, AllRights()...)})}, []who{a}, nil, []who{a}},
		"nearer word holds": {[]signed{says(t, f, f, 0, 1, append(both, enter(c, 3, Worker))),
			says(t, f, a, 1, maxNumber, []entry{enter(c, 4, AllRights()...)})}, []who{c}, nil, []who{f, a, b}},
		"worker out by any inviter": {[]signed{says(t, f, f, 0, 1, append(both, enter(c, 3, Worker))),
			says(t, f, a, 1, 1, nil, outOf(c, 3))}, []who{a}, []who{c}, nil},
		"and in again by the founder": {[]signed{says(t, f, f, 0, 2, append(both, enter(c, 4, Worker))),
			says(t, f, a, 1, maxNumber, nil, outOf(c, 3), outOf(c, 0))}, []who{a, c}, nil, nil},
		"loop without the founder": {[]signed{says(t, f, a, 1, 1, []entry{enter(b, 2, Inviter)}),
			says(t, f, b, 2, 1, []entry{enter(a, 1, Inviter), enter(x, 1)})}, []who{f}, []who{a, b, x}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := merged(t, f, k.said...)
			for _, w := range k.in {
				if !in(r, w) {
					t.Errorf("%s is no member", w.id)
				}
			}
			for _, w := range k.out {
				if in(r, w) {
					t.Errorf("%s is a member", w.id)
				}
			}
			for _, w := range p[1:] {
				if k.inviters != nil && r.has(w.id, Inviter) != slices.ContainsFunc(k.inviters, func(o who) bool {
					return o.id == w.id
				}) {
					t.Errorf("%s as an inviter: %v", w.id, r.has(w.id, Inviter))
				}
			}
		})
	}
}

func TestRosterRefusesForgery(t *testing.T) {
	p := people(t, 3)
	f, a, other := p[0], p[1], p[2]
	good := says(t, f, f, 0, 1, []entry{enter(a, 1, Worker)})
	bent := signed{Body: slices.Clone(good.Body), Sig: slices.Clone(good.Sig)}
	bent.Sig[0] ^= 1
	forged := signed{Body: good.Body, Sig: says(t, f, a, 0, 1, nil).Sig}
	addr, err := sign(a.key, forRegister, &addresses{Cluster: f.id.String(), Peer: a.id.String(), Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := sign(f.key, forDeparture, &departure{Cluster: f.id.String(), Peer: a.id.String(), Tenure: 1})
	if err != nil {
		t.Fatal(err)
	}
	padded := func(purpose string, v any) signed { // with a field that this version does not know
		body, err := wire.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := wire.Unmarshal(body, &fields); err != nil {
			t.Fatal(err)
		}
		fields["Padding"] = strings.Repeat("x", 64<<10)
		s, err := sign(a.key, purpose, fields)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, x := range map[string]exchange{
		"long departure": {Departures: []signed{padded(forDeparture, &departure{
			Cluster: f.id.String(),
			Peer:    a.id.String(),
			Tenure:  1,
		})}},
		"long addresses": {Addresses: []signed{padded(forAddresses, &addresses{
			Cluster: f.id.String(),
			Peer:    a.id.String(),
			Seq:     1,
		})}},
		"long right": {Registers: []signed{says(t, f, f, 0, 1,
			[]entry{enter(a, 1, Right(strings.Repeat("x", 900<<10)))})}},
		"strange right":        {Registers: []signed{says(t, f, f, 0, 1, []entry{enter(a, 1, "\x1b[2J")})}},
		"signature":            {Registers: []signed{bent}},
		"issuer":               {Registers: []signed{forged}},
		"cluster":              {Registers: []signed{says(t, other, other, 0, 1, nil)}},
		"version 0":            {Registers: []signed{says(t, f, f, 0, 0, nil)}},
		"huge version":         {Registers: []signed{says(t, f, f, 0, maxNumber+1, nil)}},
		"purpose":              {Addresses: []signed{addr}},
		"empty":                {Registers: []signed{{}}},
		"departure by another": {Departures: []signed{gone}},
		"many rights": {Registers: []signed{says(t, f, f, 0, 1,
			[]entry{enter(a, 1, slices.Repeat([]Right{Worker}, 17)...)})}},
		"twice":        {Registers: []signed{says(t, f, f, 0, 1, []entry{enter(a, 1), enter(a, 2)})}},
		"many entries": {Registers: []signed{says(t, f, f, 0, 1, slices.Repeat([]entry{enter(a, 1)}, MaxPeers+1))}},
	} {
		r := newRoster(f.id)
		before := r.sum
		if changed, err := r.merge(x); err == nil || changed || r.sum != before {
			t.Errorf("%s: accepted, changed %v", name, changed)
		}
	}
}

// drawRegister draws an arbitrary register by one of p, which may be the founder.
func drawRegister(t *rapid.T, p []who, issuer int) signed {
	var entries []entry
	for i := range p {
		if rapid.Bool().Draw(t, "entry") {
			rights := []Right{Worker}
			if rapid.Bool().Draw(t, "inviter") {
				rights = append(rights, Inviter)
			}
			entries = append(entries, enter(p[i], uint64(rapid.IntRange(1, 2).Draw(t, "tenure")), rights...))
		}
	}
	var outs []out
	for range rapid.IntRange(0, 2).Draw(t, "outs") {
		outs = append(outs,
			out{p[rapid.IntRange(0, len(p)-1).Draw(t, "who")].id.String(), uint64(rapid.IntRange(0, 2).Draw(t, "stay"))})
	}
	under := uint64(rapid.IntRange(1, 2).Draw(t, "under"))
	if issuer == 0 {
		under = 0
	}
	version := rapid.SampledFrom([]uint64{1, 2, 3, maxNumber}).Draw(t, "version")
	return says(t, p[0], p[issuer], under, version, entries, outs...)
}

// Whatever records there are, nodes that receive them in any order and portions agree in the end.
func TestRostersConverge(t *testing.T) {
	p := people(t, 5)
	rapid.Check(t, func(t *rapid.T) {
		one, two := newRoster(p[0].id), newRoster(p[0].id)
		for range rapid.IntRange(1, 12).Draw(t, "registers") {
			s := drawRegister(t, p, rapid.IntRange(0, 4).Draw(t, "issuer"))
			r := one
			if rapid.Bool().Draw(t, "at two") {
				r = two
			}
			if _, err := r.merge(exchange{Registers: []signed{s}}); err != nil {
				t.Fatal(err)
			}
		}
		for range 12 { // in each round both pull from each other, as on a link
			x, y := one.all(), two.all()
			if _, err := one.merge(y); err != nil {
				t.Fatal(err)
			}
			if _, err := two.merge(x); err != nil {
				t.Fatal(err)
			}
		}
		if one.sum != two.sum {
			t.Fatalf("they differ: %d and %d members", len(one.members), len(two.members))
		}
		if _, ok := one.members[p[0].id]; !ok {
			t.Fatal("the founder is gone")
		}
	})
}

// Whatever members sign, at whatever version, before or after: one register of the founder expels any of them, and
// admits it again.
func TestFounderCanAlwaysRevoke(t *testing.T) {
	p := people(t, 5)
	f := p[0]
	rapid.Check(t, func(t *rapid.T) {
		r := merged(t, f,
			says(t, f, f, 0, 1, []entry{enter(p[1], 1, AllRights()...), enter(p[2], 1, Inviter), enter(p[3], 1, Worker)}))
		var lies []signed
		for range rapid.IntRange(0, 8).Draw(t, "lies") {
			lies = append(lies, drawRegister(t, p, rapid.IntRange(1, 4).Draw(t, "liar")))
		}
		early := rapid.IntRange(0, len(lies)).Draw(t, "early")
		merge := func(s ...signed) {
			if _, err := r.merge(exchange{Registers: s}); err != nil {
				t.Fatal(err)
			}
		}
		merge(lies[:early]...)
		victim := p[rapid.IntRange(1, 4).Draw(t, "victim")]
		reg, err := r.draft(f.id)
		if err != nil {
			t.Fatal(err)
		}
		r.revoke(&reg, victim.id, true)
		merge(says(t, f, f, 0, reg.Version, reg.Entries, reg.Outs...))
		merge(lies...)
		if in(r, victim) {
			t.Fatal("a revoked member is in")
		}
		reg, err = r.draft(f.id)
		if err != nil {
			t.Fatal(err)
		}
		if err := reg.admit(enter(victim, 1000, Worker)); err != nil {
			t.Fatal(err)
		}
		merge(says(t, f, f, 0, reg.Version, reg.Entries, reg.Outs...))
		merge(lies...)
		if !in(r, victim) {
			t.Fatal("the founder cannot admit it again")
		}
	})
}

// An inviter that is not the founder can revoke only members further out; those admitted by the revoked one stay.
func TestRevokeKeepsWhomTheRevokedAdmitted(t *testing.T) {
	p := people(t, 4)
	f, a, b, c := p[0], p[1], p[2], p[3]
	r := merged(t, f, says(t, f, f, 0, 1, []entry{enter(a, 1, Inviter)}),
		says(t, f, a, 1, 1, []entry{enter(b, 2, Inviter)}), says(t, f, b, 2, 1, []entry{enter(c, 3, Worker)}))
	if by := r.admittedBy(a.id); len(by) != 1 || by[0] != b.id {
		t.Errorf("by its word are members: %v", by)
	}
	reg, err := r.draft(f.id)
	if err != nil {
		t.Fatal(err)
	}
	r.revoke(&reg, a.id, true)
	if _, err := r.merge(exchange{Registers: []signed{says(t, f, f, 0, reg.Version, reg.Entries,
		reg.Outs...)}}); err != nil {
		t.Fatal(err)
	}
	if in(r, a) || !in(r, b) || !in(r, c) || !r.has(b.id, Inviter) {
		t.Errorf("members: %v", r.members)
	}
}

// old is a statement as membership files of format 1 hold it.
func old(t fataler, cluster, issuer, about who, epoch uint64, revoked bool, rights ...Right) signed {
	t.Helper()
	s, err := sign(issuer.key, forStatement, &statement{Cluster: cluster.id.String(), Peer: about.id.String(),
		Issuer: issuer.id.String(), Epoch: epoch, Revoked: revoked, Rights: rights})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A cluster of the first format goes on: the members count by the old statements until the founder's node has
// made a register of them.
func TestOldMembership(t *testing.T) {
	p := people(t, 4)
	f, a, b, c := p[0], p[1], p[2], p[3]
	statements := []signed{old(t, f, f, a, 1, false, Worker, Inviter), old(t, f, a, b, 1, false, Worker),
		old(t, f, a, c, 1, false, Worker), old(t, f, f, c, 2, true)}
	var rosters []*roster
	for range 2 {
		r := newRoster(f.id)
		var err error
		r.statements = statements
		if r.legacy, err = legacyMembers(f.id, statements); err != nil {
			t.Fatal(err)
		}
		r.settle()
		if !in(r, f) || !in(r, a) || !in(r, b) || in(r, c) {
			t.Errorf("members: %v", r.members)
		}
		rosters = append(rosters, r)
	}
	reg, err := rosters[0].draft(f.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rosters {
		if _, err := r.merge(exchange{Registers: []signed{says(t, f, f, reg.Under, reg.Version, reg.Entries)}}); err != nil {
			t.Fatal(err)
		}
		if !in(r, a) || !in(r, b) || in(r, c) || !r.has(a.id, Inviter) || r.legacy != nil {
			t.Errorf("members: %v", r.members)
		}
	}
}

func TestTokenRoundTrip(t *testing.T) {
	p := people(t, 2)
	addr := ma.StringCast("/ip4/192.0.2.1/tcp/4001")
	for _, cluster := range p {
		in := token{
			cluster: cluster.id,
			inviter: p[0].id,
			addrs:   []ma.Multiaddr{addr},
			secret:  bytes.Repeat([]byte{1}, secretSize),
			expires: time.Unix(1e9, 0),
		}
		text := in.String()
		out, err := parseToken(text[:30] + "\n  " + text[30:] + "\n")
		if err != nil || out.String() != text || out.cluster != in.cluster || out.inviter != in.inviter ||
			!out.expires.Equal(in.expires) {
			t.Errorf("%+v came back as %+v, %v", in, out, err)
		}
		if len(text) > 250 {
			t.Errorf("a token of %d characters", len(text))
		}
		for i := range text {
			for _, c := range []byte{'A', 'z', '.'} {
				if text[i] == c {
					continue
				}
				if _, err := parseToken(text[:i] + string(c) + text[i+1:]); !errors.Is(err, ErrTokenDamaged) {
					t.Fatalf("character %d mistyped as %c: %v", i, c, err)
				}
			}
		}
	}
}

func FuzzToken(f *testing.F) {
	p := someone(f)
	f.Add(token{cluster: p.id, inviter: p.id, secret: make([]byte, secretSize)}.String())
	f.Add("dtp1.")
	f.Add("dtp1.3f____8B")
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := parseToken(s)
		if err != nil {
			if !errors.Is(err, ErrTokenDamaged) {
				t.Fatal(err)
			}
			return
		}
		if again, err := parseToken(tok.String()); err != nil || again.inviter != tok.inviter ||
			again.cluster != tok.cluster {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// FuzzDecoders covers the decoders behind the checksum of a token, and of all that peers send.
func FuzzDecoders(f *testing.F) {
	p := someone(f)
	st := says(f, p, p, 0, 1, []entry{enter(p, 1, Worker)}, out{p.id.String(), 1})
	was := old(f, p, p, p, 1, false, Worker)
	ad, err := sign(p.key, forAddresses, &addresses{
		Cluster: p.id.String(),
		Peer:    p.id.String(),
		Seq:     1,
		Addrs:   [][]byte{ma.StringCast("/ip4/127.0.0.1/tcp/1").Bytes()},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range []any{
		&exchange{Registers: []signed{st}, Addresses: []signed{ad}},
		&departure{Cluster: p.id.String(), Peer: p.id.String(), Tenure: 1},
		&succession{Cluster: p.id.String(), Seq: 1, Holder: p.id.String(), By: p.id.String()},
		&tokenBody{Inviter: []byte(p.id), Secret: make([]byte, secretSize)},
		&hello{Speaks: speaks{Protocol: protocolNumber}, Info: Info{Name: "n"}},
		&welcome{},
		&joinRequest{Proof: []byte("x")},
		&joinReply{Roster: exchange{Registers: []signed{st}}},
		&saved{Cluster: p.id.String(), Invites: []invite{{Secret: []byte("s")}}},
		&request{Kind: "k"},
		&reply{},
		&blobRequest{"h"},
		&blobReply{},
	} {
		b, err := wire.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(st.Body)
	f.Add(was.Body)
	f.Add(ad.Body)
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(hello), new(welcome), new(joinRequest), new(joinReply), new(request), new(reply),
			new(blobRequest), new(blobReply)} {
			if err := wire.Unmarshal(b, v); err != nil && !errors.Is(err, wire.ErrMalformed) {
				t.Fatal(err)
			}
		}
		var body tokenBody
		if wire.Unmarshal(b, &body) == nil {
			_, _ = body.token()
		}
		var x exchange
		if wire.Unmarshal(b, &x) == nil {
			r := newRoster(p.id)
			_, _ = r.merge(x)
		}
		// As if correctly signed, since a hostile member can make others decode that.
		for purpose, put := range map[string]func(signed) exchange{
			forRegister:   func(s signed) exchange { return exchange{Registers: []signed{s}} },
			forDeparture:  func(s signed) exchange { return exchange{Departures: []signed{s}} },
			forSuccession: func(s signed) exchange { return exchange{Successions: []signed{s}} },
			forAddresses:  func(s signed) exchange { return exchange{Addresses: []signed{s}} },
		} {
			sig, err := p.key.Sign(append([]byte(purpose), b...))
			if err != nil {
				t.Fatal(err)
			}
			r := newRoster(p.id)
			_, _ = r.merge(put(signed{b, sig}))
			if len(r.members) > MaxPeers || len(r.registers) > 1 {
				t.Fatalf("%d members", len(r.members))
			}
		}
		if sig, err := p.key.Sign(append([]byte(forStatement), b...)); err == nil {
			_, _ = legacyMembers(p.id, []signed{{b, sig}})
		}
		_, _ = decodeMembership(b)
	})
}

func FuzzLinkFrame(f *testing.F) {
	for kind := range 16 { // the last kinds are unknown
		f.Add(append([]byte{byte(kind)}, make([]byte, 8)...))
	}
	f.Add([]byte{})
	f.Add([]byte{byte(frameRoster), 0xdd, 0xff, 0xff, 0xff, 0xff, 1})
	p, cfg := someone(f), Config{}.withDefaults()
	f.Fuzz(func(t *testing.T, b []byte) {
		n := &Node{
			cfg:     cfg,
			events:  make(chan Event, 1),
			log:     cfg.Log,
			roster:  newRoster(p.id),
			started: time.Now(),
		}
		l := &link{
			id:      p.id,
			ready:   make(chan struct{}, 1),
			names:   rate.NewLimiter(nameRate, nameBurst),
			metas:   rate.NewLimiter(metaRate, metaBurst),
			pulls:   newPullPace(),
			waiting: newBacklog(),
		}
		n.ctx, n.cancel = t.Context(), func() {}
		_ = n.handleFrame(t.Context(), l, b)
		if got := len(l.drain()); got > 1 {
			t.Fatalf("%d frames in answer to one", got)
		}
	})
}

// An inviter cannot grant rights that it does not have itself, neither directly, nor through an inviter that it admits,
// nor through the one that adopts its members when it is expelled.
func TestInviterGivesItsOwnRights(t *testing.T) {
	f, a, b, c, d := someone(t), someone(t), someone(t), someone(t), someone(t)
	r := merged(t, f,
		says(t, f, f, 0, 1, []entry{enter(a, 1, Inviter, Worker), enter(d, 4, AllRights()...)}),
		says(t, f, a, 1, 1, []entry{enter(b, 2, AllRights()...)}),
		says(t, f, b, 2, 1, []entry{enter(c, 3, Admin, Worker, "later")}))
	check := func(when string) {
		t.Helper()
		for _, m := range []struct {
			who  who
			want []Right
		}{{a, []Right{Inviter, Worker}}, {b, []Right{Worker, Inviter}}, {c, []Right{Worker}}, {d, AllRights()}} {
			if in(r, m.who) && !slices.Equal(r.members[m.who.id].Rights, m.want) {
				t.Errorf("%s: a member has %v, want %v", when, r.members[m.who.id].Rights, m.want)
			}
		}
	}
	check("at first")
	reg, err := r.draft(f.id)
	if err != nil {
		t.Fatal(err)
	}
	r.revoke(&reg, a.id, true)
	if _, err := r.merge(exchange{Registers: []signed{says(t, f, f, 0, reg.Version, reg.Entries,
		reg.Outs...)}}); err != nil {
		t.Fatal(err)
	}
	if in(r, a) || !in(r, b) || !in(r, c) {
		t.Errorf("in are a %v, b %v, c %v", in(r, a), in(r, b), in(r, c))
	}
	check("when taken over")
}
