package p2p

import (
	"errors"
	"testing"
)

func FuzzRecoveryKey(f *testing.F) {
	f.Add("dtpkey1.")
	f.Add("dtpkey1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		key, err := parseRecoveryKey(s)
		if (err == nil) == (key == nil) || err != nil && !errors.Is(err, ErrRecoveryDamaged) {
			t.Fatalf("%v, %v", key, err)
		}
	})
}
