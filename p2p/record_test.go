package p2p

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
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

func say(t fataler, cluster, issuer, about who, epoch uint64, revoked bool, rights ...Right) signed {
	t.Helper()
	s, err := sign(issuer.key, forStatement, &statement{Cluster: cluster.id.String(), Peer: about.id.String(),
		Issuer: issuer.id.String(), Epoch: epoch, Revoked: revoked, Rights: rights})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func merged(t fataler, cluster who, s ...signed) *roster {
	t.Helper()
	r := newRoster(cluster.id)
	if _, err := r.merge(exchange{Statements: s}); err != nil {
		t.Fatal(err)
	}
	return r
}

func in(r *roster, w who) bool { _, ok := r.members[w.id]; return ok }

func TestRosterMeaning(t *testing.T) {
	p := people(t, 5)
	f, a, b, c, x := p[0], p[1], p[2], p[3], p[4]
	admitA := say(t, f, f, a, 1, false, Worker, Inviter)
	admitB := say(t, f, f, b, 1, false, Inviter)
	aAdmitsC := say(t, f, a, c, 1, false, Worker)
	for name, k := range map[string]struct {
		said     []signed
		in, out  []who
		inviters []who
	}{
		"founder alone":            {nil, []who{f}, []who{a}, []who{f}},
		"chain":                    {[]signed{aAdmitsC, admitA}, []who{f, a, c}, []who{b}, []who{f, a}},
		"issuer without right":     {[]signed{say(t, f, f, a, 1, false, Worker), aAdmitsC}, []who{f, a}, []who{c}, nil},
		"issuer unknown":           {[]signed{aAdmitsC}, []who{f}, []who{a, c}, nil},
		"revoked":                  {[]signed{admitA, say(t, f, f, a, 2, true)}, []who{f}, []who{a}, nil},
		"revoked issuer":           {[]signed{admitA, aAdmitsC, say(t, f, f, a, 2, true)}, []who{f}, []who{a, c}, nil},
		"old record again":         {[]signed{say(t, f, f, a, 2, true), admitA}, []who{f}, []who{a}, nil},
		"same epoch revoked":       {[]signed{admitB, say(t, f, f, c, 3, false, Worker), say(t, f, b, c, 3, true)}, []who{f, b}, []who{c}, nil},
		"admitted again":           {[]signed{admitA, say(t, f, f, a, 2, true), say(t, f, f, a, 3, false, Worker)}, []who{a}, nil, []who{f}},
		"founder is beyond it":     {[]signed{admitA, say(t, f, a, f, 9, true)}, []who{f, a}, nil, []who{f, a}},
		"peers cannot vote out":    {[]signed{admitA, admitB, say(t, f, a, b, 9, true), say(t, f, b, a, 9, true)}, []who{a, b}, nil, []who{a, b}},
		"inviter out by elder":     {[]signed{admitA, say(t, f, a, c, 1, false, Inviter), say(t, f, f, c, 2, true)}, []who{a}, []who{c}, nil},
		"self-made cannot mend":    {[]signed{admitA, say(t, f, f, a, 2, true), say(t, f, a, a, 3, false, Inviter), say(t, f, a, x, 1, false, Worker)}, []who{f}, []who{a, x}, nil},
		"loop without the founder": {[]signed{say(t, f, a, b, 1, false, Inviter), say(t, f, b, a, 1, false, Inviter)}, []who{f}, []who{a, b}, nil},
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
			for _, w := range k.inviters {
				if !r.has(w.id, Inviter) {
					t.Errorf("%s is no inviter", w.id)
				}
			}
		})
	}
}

func TestRosterRefusesForgery(t *testing.T) {
	p := people(t, 3)
	f, a, other := p[0], p[1], p[2]
	good := say(t, f, f, a, 1, false, Worker)
	bent := signed{Body: slices.Clone(good.Body), Sig: slices.Clone(good.Sig)}
	bent.Sig[0] ^= 1
	forged := say(t, f, f, a, 1, false, Worker)
	forged.Sig = say(t, f, a, a, 1, false, Worker).Sig
	addr, err := sign(a.key, forStatement, &addresses{Cluster: f.id.String(), Peer: a.id.String(), Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]exchange{
		"signature": {Statements: []signed{bent}}, "issuer": {Statements: []signed{forged}},
		"cluster": {Statements: []signed{say(t, other, other, a, 1, false, Worker)}},
		"epoch 0": {Statements: []signed{say(t, f, f, a, 0, false, Worker)}}, "huge epoch": {Statements: []signed{say(t, f, f, a, maxEpoch+1, false)}},
		"purpose": {Addresses: []signed{addr}}, "empty": {Statements: []signed{{}}},
		"many rights": {Statements: []signed{say(t, f, f, a, 1, false, slices.Repeat([]Right{Worker}, 17)...)}},
	} {
		r := newRoster(f.id)
		before := r.sum
		if changed, err := r.merge(x); err == nil || changed || r.sum != before {
			t.Errorf("%s: accepted, changed %v", name, changed)
		}
	}
}

// Whatever is said in whatever order and portions, nodes that exchanged all agree.
func TestRostersConverge(t *testing.T) {
	p := people(t, 5)
	rapid.Check(t, func(t *rapid.T) {
		one, two := newRoster(p[0].id), newRoster(p[0].id)
		for range rapid.IntRange(1, 12).Draw(t, "statements") {
			rights := []Right{Worker}
			if rapid.Bool().Draw(t, "inviter") {
				rights = append(rights, Inviter)
			}
			s := say(t, p[0], p[rapid.IntRange(0, 4).Draw(t, "issuer")], p[rapid.IntRange(0, 4).Draw(t, "about")],
				uint64(rapid.IntRange(1, 4).Draw(t, "epoch")), rapid.Bool().Draw(t, "revoked"), rights...)
			r := one
			if rapid.Bool().Draw(t, "at two") {
				r = two
			}
			if _, err := r.merge(exchange{Statements: []signed{s}}); err != nil {
				t.Fatal(err)
			}
		}
		for range 12 { // each round is both pulling from each other, as on a link
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

func TestRevokeKeepsWhomTheRevokedAdmitted(t *testing.T) {
	p := people(t, 4)
	f, a, b, c := p[0], p[1], p[2], p[3]
	r := merged(t, f, say(t, f, f, a, 1, false, Inviter), say(t, f, a, b, 1, false, Worker), say(t, f, f, c, 1, false, Worker), say(t, f, a, c, 2, true))
	words := r.lastWords(a.id)
	if len(words) != 2 {
		t.Fatalf("got %+v", words)
	}
	for _, st := range words {
		if b.id.String() == st.Peer == st.Revoked {
			t.Errorf("got %+v", st)
		}
	}
}

func TestTokenRoundTrip(t *testing.T) {
	p := people(t, 2)
	addr := ma.StringCast("/ip4/192.0.2.1/tcp/4001")
	for _, cluster := range p {
		in := token{cluster: cluster.id, inviter: p[0].id, addrs: []ma.Multiaddr{addr}, secret: bytes.Repeat([]byte{1}, secretSize), expires: time.Unix(1e9, 0)}
		text := in.String()
		out, err := parseToken(text[:30] + "\n  " + text[30:] + "\n")
		if err != nil || out.String() != text || out.cluster != in.cluster || out.inviter != in.inviter || !out.expires.Equal(in.expires) {
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
		if again, err := parseToken(tok.String()); err != nil || again.inviter != tok.inviter || again.cluster != tok.cluster {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// The decoders behind the checksum of a token, and of all that peers send.
func FuzzDecoders(f *testing.F) {
	p := someone(f)
	st := say(f, p, p, p, 1, false, Worker)
	ad, err := sign(p.key, forAddresses, &addresses{Cluster: p.id.String(), Peer: p.id.String(), Seq: 1, Addrs: [][]byte{ma.StringCast("/ip4/127.0.0.1/tcp/1").Bytes()}})
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range []any{&exchange{[]signed{st}, []signed{ad}}, &tokenBody{Inviter: []byte(p.id), Secret: make([]byte, secretSize)},
		&hello{Protocol: 1, Info: Info{Name: "n"}}, &welcome{}, &joinRequest{Proof: []byte("x")}, &joinReply{Roster: exchange{Statements: []signed{st}}},
		&saved{Cluster: p.id.String(), Invites: []invite{{Secret: []byte("s")}}}, &request{Kind: "k"}, &reply{}, &blobRequest{"h"}, &blobReply{}} {
		b, err := wire.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(st.Body)
	f.Add(ad.Body)
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(hello), new(welcome), new(joinRequest), new(joinReply), new(request), new(reply), new(blobRequest), new(blobReply)} {
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
		// As if correctly signed: what a hostile member can have the others decode.
		sig, err := p.key.Sign(append([]byte(forStatement), b...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newRoster(p.id).merge(exchange{Statements: []signed{{b, sig}}}); err == nil {
			if st, err := openStatement(p.id, signed{b, sig}); err != nil || must(st.Peer) == "" {
				t.Fatalf("merged but not opened: %v", err)
			}
		}
		if sig, err = p.key.Sign(append([]byte(forAddresses), b...)); err != nil {
			t.Fatal(err)
		}
		_, _ = newRoster(p.id).merge(exchange{Addresses: []signed{{b, sig}}})
		_, _ = decodeMembership(b)
	})
}

func FuzzLinkFrame(f *testing.F) {
	for kind := range 8 {
		f.Add(append([]byte{byte(kind)}, make([]byte, 8)...))
	}
	f.Add([]byte{})
	f.Add([]byte{byte(frameRoster), 0xdd, 0xff, 0xff, 0xff, 0xff, 1})
	p := someone(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		n := &Node{events: make(chan Event, 1), log: Config{}.withDefaults().Log, roster: newRoster(p.id), started: time.Now()}
		l := &link{id: p.id, ready: make(chan struct{}, 1)}
		n.ctx, n.cancel = t.Context(), func() {}
		_ = n.take(l, b)
		if got := len(l.take()); got > 1 {
			t.Fatalf("%d frames in answer to one", got)
		}
	})
}
