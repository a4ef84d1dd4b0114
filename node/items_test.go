package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestItemsAreKeptForTheJobsOwn: a copy of a ledger takes items for who submitted the job, and from nobody else who is
// not its home; they are on disk beside it, whole, and bounded.
func TestItemsAreKeptForTheJobsOwn(t *testing.T) {
	d := openWithout(t, "replica")
	defer d.Close()
	other := admit(t, d, "other", p2p.Submitter, p2p.Worker)
	defer other.Close()
	source, err := d.blobs.Ship([]byte("sources"))
	if err != nil {
		t.Fatal(err)
	}
	id := keepLedger(t, d, 1, source)
	blob, err := exec.PackItems([][]byte{[]byte("one"), []byte("two")})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := d.blobs.Ship(blob)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(from tasks.PeerID, hash string, size int64) error {
		arg := fmt.Sprintf(`{"job": %q, "sha256": %q, "size": %d}`, id, hash, size)
		answer, err := d.serve(t.Context(), from, "items", []byte(arg))
		if err == nil && string(answer) != `{"kept":true}` {
			err = errors.New(string(answer))
		}
		return err
	}
	size := int64(len(blob))
	var refused *api.Error
	if err := ask(other.net.ID(), hash, size); !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		t.Errorf("another member has items kept: %v", err)
	}
	for what, err := range map[string]error{
		"no hash":   ask(d.net.ID(), "../../x", size),
		"no size":   ask(d.net.ID(), hash, 0),
		"too large": ask(d.net.ID(), hash, tasks.MaxItems+1),
	} {
		if err == nil {
			t.Errorf("items of %s are kept", what)
		}
	}
	if _, err := d.serve(t.Context(), d.net.ID(), "items", []byte(`{"job": "none"}`)); err == nil {
		t.Error("items are kept of a job that is not known")
	}
	for range 2 {
		if err := ask(d.net.ID(), hash, size); err != nil {
			t.Error(err)
		}
	}
	c := d.ledgers.Of(id)
	if got, err := os.ReadFile(c.ShipPath(hash)); err != nil || store.HashOf(got) != hash {
		t.Errorf("on disk are %d bytes: %v", len(got), err)
	}
	if c.RoomForItems(strings.Repeat("ab", 32), tasks.MaxAllItems-size+1) ||
		!c.RoomForItems(strings.Repeat("cd", 32), tasks.MaxAllItems-size) {
		t.Error("the room for items is not what it should be")
	}
	if err := ask(d.net.ID(), strings.Repeat("ef", 32), 1); err == nil {
		t.Error("more items are kept than there is room for")
	}
	answer, err := d.serve(t.Context(), other.net.ID(), "items", fmt.Appendf(nil, `{"job": %q}`, id))
	if err != nil || !json.Valid(answer) {
		t.Errorf("a member that may become a replica asks what there is: %q: %v", answer, err)
	}
}
