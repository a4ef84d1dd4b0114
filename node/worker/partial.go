package worker

import (
	"encoding/hex"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Partial is what the engine is told of an output that was made on this node under the name id: of these inputs or,
// without any, by a generation. Its cover is not set, since the engine alone knows which units went in.
func Partial(job tasks.JobID, id merge.ID, inputs []merge.Partial, s exec.Partial) merge.Partial {
	return merge.Partial{
		ID:     id,
		Job:    job,
		Units:  s.Units,
		Canary: s.Canary,
		SHA256: hex.EncodeToString(s.SHA256[:]),
		Size:   s.Size,
		Kids:   merge.IDs(inputs),
		Holder: id.Node,
	}
}
