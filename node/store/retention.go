package store

import "time"

// KeepFetched is how long a result is kept after it was fetched, in case it is wanted once more. All nodes that keep
// the result are told that it was fetched, or see in the job's status that the output was written before the end.
const KeepFetched = 24 * time.Hour

// Retention says how long what is kept of jobs that have ended stays.
type Retention struct {
	KeepJobs  int           // how many jobs are remembered whose result is not kept
	KeepWhole int           // how many whole results are kept that their users have
	KeepFor   time.Duration // how long a result is kept that nobody fetches
	KeepBytes int64         // how many bytes of whole results are kept that their users have
}

// Finished is what Retention needs to know of a job that has ended.
type Finished struct {
	Name    string
	Ended   time.Time
	Result  bool      // the output is kept here
	Fetched time.Time // when the result was last fetched; zero for never
	Taken   bool      // the user was told the values of all units while the job ran
	Owed    bool      // the output has yet to be written to the path that the user wants
	Partial bool      // the result is partial, so that its partials are kept for a retry
	Bytes   int64     // bytes of all that is kept of the job
}

// promised reports whether a job's result is kept for as long as users are told: a day after it was fetched or written,
// and for keepFor if it never was. No number of other jobs takes that from it.
func (f Finished) promised(now time.Time, keepFor time.Duration) bool {
	if !f.Fetched.IsZero() && f.Result && now.Sub(f.Fetched) <= KeepFetched {
		return true
	}
	return now.Sub(f.Ended) <= keepFor && (f.Owed || f.Result && f.Fetched.IsZero())
}

// Expired are, of all jobs that are over, the newest first, those to be forgotten, and those whose output alone is to
// go.
//
// Forgotten are jobs older than KeepFor, and beyond the newest KeepJobs those that have no output any more. Outputs go
// that were fetched longer than KeepFetched ago. The room is bounded by results whose output is whole and that their
// users have, since they have fetched them or were told all of it: those beyond the newest KeepWhole, and what takes
// more than KeepBytes, go sooner. An output that is still to be fetched, or written where its user wants it,
// and what a retry of a partial one needs, go by their age alone.
func (r Retention) Expired(now time.Time, all []Finished) (forget, drop []Finished) {
	var past, whole int
	var bytes int64
	for _, f := range all {
		switch {
		case f.promised(now, r.KeepFor):
			if f.Partial || f.Owed || f.Fetched.IsZero() && !f.Taken {
				continue
			}
			whole++
			if bytes += f.Bytes; whole > r.KeepWhole || bytes > r.KeepBytes {
				drop = append(drop, f)
			}
		case now.Sub(f.Ended) > r.KeepFor:
			forget = append(forget, f)
		default:
			if past++; past > r.KeepJobs {
				forget = append(forget, f)
			} else if f.Result {
				drop = append(drop, f)
			}
		}
	}
	return forget, drop
}
