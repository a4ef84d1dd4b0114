package node

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/p2p"
)

// TestNobodyTakesAnothersName: what is said of a member that calls itself as another does is told apart from what is
// said of that one.
func TestNobodyTakesAnothersName(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	honest, liar := admit(t, d, "b", p2p.Worker), admit(t, d, "b", p2p.Worker)
	defer honest.Close()
	defer liar.Close()
	until(t, "both are up", func() bool { return len(d.cluster.Up()) == 2 })
	ids := []string{honest.net.ID(), liar.net.ID(), d.net.ID()}
	names := d.cluster.Called(ids)
	if names[0] == names[1] || !strings.HasPrefix(names[0], "b (") || !strings.HasPrefix(names[1], "b (") ||
		names[2] != "home" {
		t.Errorf("they are called %q", names)
	}
	for i, id := range ids {
		if d.cluster.NameOf(id) != names[i] {
			t.Errorf("%s is called %q and %q", id, names[i], d.cluster.NameOf(id))
		}
	}
}
