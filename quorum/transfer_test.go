package quorum_test

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/quorum"
)

// TestTransfer transfers the leadership at once, without waiting for an election timeout.
func TestTransfer(t *testing.T) {
	m := newModel(1, 3)
	m.run(time.Second)
	lead := m.nodes[0]
	if !lead.leading {
		t.Fatal("the founder does not lead")
	}
	m.step(lead, quorum.Transfer{To: m.nodes[1].self.ID})
	m.run(300 * time.Millisecond)
	if lead.leading || !m.nodes[1].leading || len(m.wrong) > 0 {
		t.Error("the lead was not handed over", m.wrong)
	}
}
