package store

import "time"

// KeepFetched is how long a result is kept that was fetched: it may be wanted once more. All nodes that keep the result
// are told of it, or know by the job's status, if the output was written before the end.
const KeepFetched = 24 * time.Hour

// Retention says how long what is kept of jobs that have ended stays.
type Retention struct {
	KeepJobs  int           // of the jobs whose result is not kept so many are remembered
	KeepWhole int           // so many whole results are kept that their users have
	KeepFor   time.Duration // a result that nobody fetches is kept for so long
	KeepBytes int64         // bound of whole results that their users have
}

// Finished is what Retention is to know of a job that is over.
type Finished struct {
	Name    string
	Ended   time.Time
	Result  bool      // the output is kept here
	Fetched time.Time // the last time; zero for never
	Owed    bool      // the output is still to be written where its user wants it
	Partial bool      // what the result is made of is kept for a retry
	Bytes   int64     // that are kept of it
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
// users have: those beyond the newest KeepWhole, and what takes more than KeepBytes, go sooner. An output that is still
// to be fetched, or written where its user wants it, and what a retry of a partial one needs, go by their age alone.
func (r Retention) Expired(now time.Time, all []Finished) (forget, drop []Finished) {
	var past, whole int
	var bytes int64
	for _, f := range all {
		switch {
		case f.promised(now, r.KeepFor):
			if f.Partial || f.Owed || f.Fetched.IsZero() {
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
