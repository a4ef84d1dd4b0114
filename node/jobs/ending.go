package jobs

import (
	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
)

// Ending is how a job ends, from the first attempt on. While Concluding an end is on its way to the ledger; if it is on
// its way from here it is End. The job's state is final when the ledger has it, and not before.
type Ending struct {
	Concluding bool
	End        *engine.Finished
	Early      string         // what its user is told if it is cancelled before it has begun, beside that it was
	MadeOf     string         // the sum of what its result is made of (store.MadeOf), once that is known
	Valued     bool           // that keeps values of single units
	Skipped    exec.Finished  // what its program left out, once its partials are merged
	EndedIn    *api.Elsewhere // where Terminate ran, if that was not where the job was submitted
	Stuck      sighting       // of the attempt after which it could not be finished
}
