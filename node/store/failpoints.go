package store

import (
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/wire"
)

// atFold is a step at which tests end the process (package failpoint), if what is written to a log has the entry of a
// fold.
func atFold(w quorum.Write, step failpoint.Step) {
	if !failpoint.Enabled {
		return
	}
	for _, e := range w.Entries {
		var entry ledger.Entry
		if wire.Unmarshal(e.Data, &entry) == nil && entry.Fold != nil {
			failpoint.Hit(step)
		}
	}
}
