package node

import (
	"testing"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestKeysKnowWhatTheyHaveMade: a signature that was just made is known, and nothing else passes for one: neither
// another text, nor another signature, nor another's name under it, nor a boundary moved between text and signature.
func TestKeysKnowWhatTheyHaveMade(t *testing.T) {
	d := openWithout(t, "keys")
	defer d.Close()
	k := netKeys{d.net, new(madeLately)}
	text := []byte("an append")
	sig := k.Sign(text)
	for range 2 * len(k.made.made) { // what was made long ago is forgotten, and checked
		if !k.Verify(d.net.ID(), text, sig) {
			t.Fatal("an own signature is refused")
		}
		k.Sign([]byte("others"))
	}
	sig = k.Sign(text)
	bad := append([]byte{}, sig...)
	bad[3] ^= 1
	moved := append([]byte{text[len(text)-1]}, sig...)
	for name, ok := range map[string]bool{
		"another text":      k.Verify(d.net.ID(), []byte("an Append"), sig),
		"another signature": k.Verify(d.net.ID(), text, bad),
		"another signer":    k.Verify(tasks.PeerID("12D3KooWBTNYfMcr8XnjSwr32vK1eVRqd4wpyv4THQCvGHMDg4gV"), text, sig),
		"a moved boundary":  k.Verify(d.net.ID(), text[:len(text)-1], moved),
	} {
		if ok {
			t.Errorf("%s passes", name)
		}
	}
}
