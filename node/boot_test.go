package node

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/store"
)

// The daemon uses the count.
func TestADaemonsLivesAreCounted(t *testing.T) {
	d := openWithout(t, "node")
	cfg := d.cfg
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(24 * time.Hour) // the clock was wrong, and is right now
	want, err := store.NextBoot(cfg.StateDir, future)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.boot != want+1 {
		t.Errorf("life %d after %d", again.boot, want)
	}
}
