package jobs

import "time"

// Output is the state of the job's output on the node on which the job was submitted: the copy of the result that the
// user wants at a path. It is tried until OutDone or OutWaived is set (deliver.go).
type Output struct {
	OutDone   bool      // the output is written
	OutTries  int       // how often writing it has failed
	OutNext   time.Time // when it is tried again
	OutWaived bool      // it is not written any more, since a later job has written to the path
}
