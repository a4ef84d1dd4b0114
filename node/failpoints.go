package node

import (
	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/merge"
)

// before and after a message goes out, and before one that came in is acted on, are steps at which the tests
// end the process (package failpoint).
func before(m engine.Message) {
	switch {
	case m.Offer != nil:
		failpoint.Hit(failpoint.OfferBefore)
	case m.Answer != nil && m.Answer.Accept:
		failpoint.Hit(failpoint.CommitBeforeAnswer)
	case m.Steal != nil && m.Steal.Grant != nil:
		failpoint.Hit(failpoint.GrantBefore)
	case m.Steal != nil && m.Steal.Ack != nil && m.Steal.Ack.OK:
		failpoint.Hit(failpoint.GrantBeforeAck)
	}
}

func after(m engine.Message) {
	switch {
	case m.Offer != nil:
		failpoint.Hit(failpoint.OfferAfter)
	case m.Steal != nil && m.Steal.Grant != nil:
		failpoint.Hit(failpoint.GrantAfter)
	}
}

func received(m engine.Message) {
	if m.Kept == nil || !m.Kept.OK {
		return
	}
	if m.Kept.ID == (merge.ID{}) {
		failpoint.Hit(failpoint.ResultAfter)
	} else {
		failpoint.Hit(failpoint.ProposeBefore)
	}
}
