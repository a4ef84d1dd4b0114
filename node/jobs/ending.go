package jobs

import (
	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
)

// Ending is how a job ends, from the first attempt to make its result on. The job's state becomes final when its ledger
// has the end, and not before.
type Ending struct {
	Concluding bool             // this node has begun to propose an end to the job's ledger
	End        *engine.Finished // the end that this node has proposed, nil before that
	Early      string           // what the user is told besides, if the job is cancelled before it has begun
	MadeOf     string           // the hash of the list of partials in the result (store.MadeOf), once that is known
	Valued     bool             // the partials in the result keep the values of single units
	Skipped    exec.Finished    // what the program left out of its own will, known once the partials are merged
	EndedIn    *api.Elsewhere   // where Terminate ran, if not where the job was submitted
	OddStands  bool             // what is odd of the partials is the code's own doing, and stands apart (exec.ErrOdd)
	Redone     int              // how often partials were run again here, since they could not be merged
	Stuck      sighting         // when the attempt was first seen after which the job could not be finished
}
