package p2p

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// roster is the set of signed records that make up a cluster, and what they mean. It is a value: no
// lock, clock or network.
//
// Meaning: the founder is a member with all rights, whatever is said about it. Inviters are found
// outwards from it, in levels: those whom the inviters found so far admit, by their latest statement,
// with the inviter right. A later level never has a say about an earlier one, so nobody can vote out
// those its own authority rests on. About everybody else the latest statement of any inviter holds.
// Statements of a revoked inviter count for nothing: a stolen old key admits nobody.
type roster struct {
	cluster    peer.ID
	statements map[pair]held // latest of each issuer about each peer
	addresses  map[peer.ID]place
	members    map[peer.ID]statement // settled: who is a member, by which statement
	sum        [sha256.Size]byte     // settled: equal for equal sets of records
}

type pair struct{ peer, issuer peer.ID }

type held struct {
	st  statement
	raw signed
}

type place struct {
	seq   uint64
	addrs []ma.Multiaddr
	raw   signed
}

// exchange is what one node tells another of its roster: all of it.
type exchange struct {
	Statements []signed
	Addresses  []signed
}

func newRoster(cluster peer.ID) *roster {
	r := &roster{cluster: cluster, statements: map[pair]held{}, addresses: map[peer.ID]place{}}
	r.settle()
	return r
}

// merge adds the records of x and reports whether the set changed. One bad record refuses all of x:
// an honest peer sends none.
func (r *roster) merge(x exchange) (changed bool, err error) {
	if len(x.Statements) > 8*MaxPeers || len(x.Addresses) > MaxPeers {
		return false, fmt.Errorf("could not merge a roster of %d statements and %d addresses: %w", len(x.Statements), len(x.Addresses), ErrTooLarge)
	}
	x = r.news(x)
	if len(x.Statements)+len(x.Addresses) == 0 {
		return false, nil
	}
	before := r.sum
	next := &roster{cluster: r.cluster, statements: maps.Clone(r.statements), addresses: maps.Clone(r.addresses)}
	for _, s := range x.Statements {
		if err := next.addStatement(s); err != nil {
			return false, err
		}
	}
	for _, s := range x.Addresses {
		if err := next.addAddresses(s); err != nil {
			return false, err
		}
	}
	next.settle()
	if len(next.members) > MaxPeers {
		return false, fmt.Errorf("could not merge a roster of %d members: %w", len(next.members), ErrTooLarge)
	}
	*r = *next
	return r.sum != before, nil
}

// news is x without what r holds, byte by byte: that need not be verified again, and in a large cluster it
// is nearly all of x.
func (r *roster) news(x exchange) exchange {
	known := make(map[string]bool, len(r.statements)+len(r.addresses))
	for _, h := range r.statements {
		known[h.raw.bytes()] = true
	}
	for _, p := range r.addresses {
		known[p.raw.bytes()] = true
	}
	isKnown := func(s signed) bool { return known[s.bytes()] }
	return exchange{Statements: slices.DeleteFunc(slices.Clone(x.Statements), isKnown),
		Addresses: slices.DeleteFunc(slices.Clone(x.Addresses), isKnown)}
}

func (r *roster) addStatement(s signed) error {
	st, err := openStatement(r.cluster, s)
	if err != nil {
		return err
	}
	key := pair{must(st.Peer), must(st.Issuer)}
	if old, ok := r.statements[key]; !ok || newer(old, held{st, s}) {
		r.statements[key] = held{st, s}
	}
	return nil
}

func (r *roster) addAddresses(s signed) error {
	a, addrs, err := openAddresses(r.cluster, s)
	if err != nil {
		return err
	}
	id := must(a.Peer)
	old, ok := r.addresses[id]
	if !ok || a.Seq > old.seq || a.Seq == old.seq && bytes.Compare(s.Body, old.raw.Body) > 0 {
		r.addresses[id] = place{a.Seq, addrs, s}
	}
	return nil
}

// must reads a peer id that was checked when its record was opened.
func must(s string) peer.ID {
	id, err := peer.Decode(s)
	if err != nil {
		return ""
	}
	return id
}

// newer orders two statements about one peer: by epoch, a revocation before an admission, then by
// bytes so that the order is total.
func newer(a, b held) bool {
	if a.st.Epoch != b.st.Epoch {
		return b.st.Epoch > a.st.Epoch
	}
	if a.st.Revoked != b.st.Revoked {
		return b.st.Revoked
	}
	return bytes.Compare(b.raw.Body, a.raw.Body) > 0
}

// settle finds out what the records mean and drops those that mean nothing.
func (r *roster) settle() {
	about := map[peer.ID][]held{}
	for key, h := range r.statements {
		about[key.peer] = append(about[key.peer], h)
	}
	founder := statement{Cluster: r.cluster.String(), Peer: r.cluster.String(), Issuer: r.cluster.String(), Rights: AllRights()}
	if self, ok := r.statements[pair{r.cluster, r.cluster}]; ok {
		founder.Name, founder.Issued = self.st.Name, self.st.Issued
	}
	inviters := map[peer.ID]statement{r.cluster: founder}
	for level := inviters; len(level) > 0; {
		level = map[peer.ID]statement{}
		for id, said := range about {
			if _, done := inviters[id]; done {
				continue
			}
			if h, ok := latest(said, inviters); ok && h.st.has(Inviter) {
				level[id] = h.st
			}
		}
		maps.Copy(inviters, level)
	}
	r.members = maps.Clone(inviters)
	for id, said := range about {
		if _, done := inviters[id]; done {
			continue
		}
		if h, ok := latest(said, inviters); ok && !h.st.Revoked {
			r.members[id] = h.st
		}
	}
	maps.DeleteFunc(r.statements, func(key pair, _ held) bool { _, ok := inviters[key.issuer]; return !ok })
	maps.DeleteFunc(r.addresses, func(id peer.ID, _ place) bool { _, ok := r.members[id]; return !ok })
	r.sum = r.hash()
}

// latest is the newest of the statements whose issuer is among inviters.
func latest(said []held, inviters map[peer.ID]statement) (best held, ok bool) {
	for _, h := range said {
		if _, may := inviters[must(h.st.Issuer)]; may && (!ok || newer(best, h)) {
			best, ok = h, true
		}
	}
	return best, ok
}

// nextEpoch is the epoch of a new statement about id.
func (r *roster) nextEpoch(id peer.ID) uint64 {
	var top uint64
	for key, h := range r.statements {
		if key.peer == id {
			top = max(top, h.st.Epoch)
		}
	}
	return top + 1
}

func (r *roster) has(id peer.ID, right Right) bool {
	st, ok := r.members[id]
	return ok && st.has(right)
}

// all lists the records in a fixed order.
func (r *roster) all() exchange {
	var x exchange
	for _, h := range r.statements {
		x.Statements = append(x.Statements, h.raw)
	}
	for _, p := range r.addresses {
		x.Addresses = append(x.Addresses, p.raw)
	}
	byBody := func(a, b signed) int { return cmp.Or(bytes.Compare(a.Body, b.Body), bytes.Compare(a.Sig, b.Sig)) }
	slices.SortFunc(x.Statements, byBody)
	slices.SortFunc(x.Addresses, byBody)
	return x
}

func (r *roster) hash() [sha256.Size]byte {
	h := sha256.New()
	x := r.all()
	for _, s := range slices.Concat(x.Statements, x.Addresses) {
		one := s.hash()
		h.Write(one[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// mayRevoke reports why issuer's word against id would not hold, if so: it must not rest on id.
func (r *roster) mayRevoke(issuer, id peer.ID) error {
	if id == r.cluster {
		return ErrFounderRevoked
	}
	if !r.has(issuer, Inviter) {
		return fmt.Errorf("%w: it is no inviter", ErrNoRight)
	}
	if r.has(id, Inviter) && r.level(id) <= r.level(issuer) {
		return fmt.Errorf("%w: %s is an inviter as near to the founder as this node; ask the node that admitted it, or the founder", ErrNoRight, id)
	}
	return nil
}

// level is the number of admissions between the founder and inviter id.
func (r *roster) level(id peer.ID) (n int) {
	for ; id != r.cluster && n <= len(r.members); n++ {
		st, ok := r.members[id]
		if !ok {
			return n
		}
		id = must(st.Issuer)
	}
	return n
}

// lastWords are the statements that hold about others on issuer's word alone, admissions and
// revocations: without it they would be void.
func (r *roster) lastWords(issuer peer.ID) []statement {
	best := map[peer.ID]held{}
	for key, h := range r.statements {
		if old, ok := best[key.peer]; !ok || newer(old, h) {
			best[key.peer] = h
		}
	}
	var out []statement
	for id, h := range best {
		if must(h.st.Issuer) == issuer && id != issuer && id != r.cluster {
			out = append(out, h.st)
		}
	}
	return out
}
