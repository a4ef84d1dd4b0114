package p2p

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dtpnode/dtpnode/wire"
)

// tokenPrefix begins every token; it names the program and the format.
const tokenPrefix = "dtp1."

const (
	secretSize   = 16
	checksumSize = 4
	maxToken     = 4096
)

// token is an invitation as the joining host gets it. Its text is the prefix and then, as base64url without padding,
// the msgpack of tokenBody and the first 4 bytes of its SHA-256.
type token struct {
	cluster, inviter peer.ID
	addrs            []ma.Multiaddr
	secret           []byte
	expires          time.Time // by the inviter's clock; shown, never compared
}

type tokenBody struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // read by the msgpack library
	Inviter  []byte
	Cluster  []byte // empty if the inviter is the founder
	Secret   []byte
	Expires  int64
	Addrs    [][]byte
}

func (t token) String() string {
	body := tokenBody{Inviter: []byte(t.inviter), Secret: t.secret, Expires: t.expires.Unix(), Addrs: encodeAddrs(t.addrs)}
	if t.cluster != t.inviter {
		body.Cluster = []byte(t.cluster)
	}
	raw, err := wire.Marshal(&body)
	if err != nil {
		return "" // bytes and numbers can always be encoded
	}
	sum := sha256.Sum256(raw)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(raw, sum[:checksumSize]...))
}

// parseToken decodes a token; every failure is ErrTokenDamaged. White space is dropped, since terminals and mail
// programs break long lines.
func parseToken(s string) (token, error) {
	s = strings.Join(strings.Fields(s), "")
	text, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok || len(text) > maxToken {
		return token{}, fmt.Errorf("%w: it does not begin with %q or is too long", ErrTokenDamaged, tokenPrefix)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < checksumSize {
		return token{}, ErrTokenDamaged
	}
	raw, sum := raw[:len(raw)-checksumSize], raw[len(raw)-checksumSize:]
	if want := sha256.Sum256(raw); string(want[:checksumSize]) != string(sum) {
		return token{}, ErrTokenDamaged
	}
	var body tokenBody
	if err := wire.Unmarshal(raw, &body); err != nil {
		return token{}, fmt.Errorf("%w: %w", ErrTokenDamaged, err)
	}
	t, err := body.token()
	if err != nil {
		return token{}, fmt.Errorf("%w: %w", ErrTokenDamaged, err)
	}
	return t, nil
}

func (b tokenBody) token() (token, error) {
	if len(b.Secret) != secretSize {
		return token{}, fmt.Errorf("secret of %d bytes", len(b.Secret))
	}
	if len(b.Cluster) == 0 {
		b.Cluster = b.Inviter
	}
	inviter, err := peer.IDFromBytes(b.Inviter)
	if err != nil {
		return token{}, fmt.Errorf("inviter: %w", err)
	}
	cluster, err := peer.IDFromBytes(b.Cluster)
	if err != nil {
		return token{}, fmt.Errorf("cluster: %w", err)
	}
	addrs, err := decodeAddrs(b.Addrs)
	if err != nil {
		return token{}, err
	}
	return token{cluster: cluster, inviter: inviter, addrs: addrs, secret: b.Secret, expires: time.Unix(b.Expires, 0)}, nil
}
