package jobs

import "time"

// Output is how far a job's output is where its user wants it, which the node owes that the job was submitted on: until
// it is written there, or is waived, writing it is tried again.
type Output struct {
	OutDone   bool      // it is where its user wants it
	OutTries  int       // how often writing it failed
	OutNext   time.Time // when it is tried again
	OutWaived bool      // it is not to be written any more
}
