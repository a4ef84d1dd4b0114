package ledger

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Config sets a home up. Fields that are zero take their defaults.
type Config struct {
	Self      tasks.PeerID
	Submitter tasks.PeerID // of the job

	Audit     time.Duration // between audits; default 500 ms
	AuditWait time.Duration // longest wait of an audit for the word of a silent node; default 3 s
	Audits    int           // audits in a row that must miss a unit before it runs again; default 3
	Report    time.Duration // between a node's reports where there are few nodes; default 400 ms
	Reports   int           // of all nodes together a second, at most; default 250

	Strikes  int           // failures of a range before it is set aside; default 3
	MaxLost  int           // ranges set aside for crashing code before the job is given up; default 20
	GiveUp   time.Duration // how long until what no node can read is set aside; default 5 s
	Return   time.Duration // how long a node that went is waited for, if it alone can read some; default 3 min
	Patience time.Duration // how long units may be held without progress, see patience; default 1 min
	Unsealed time.Duration // how long nodes leave what a process has done unsealed; default 30 s
	StopWait time.Duration // longest wait for partials after Stop; default 10 s

	ReduceWait time.Duration // how long a node may take for a merge that it was ordered to make; default 2 min
	Repeat     time.Duration // between repeats of such an order; default 2 s
	Fetches    int           // blobs fetched at once; default 4
	Propose    time.Duration // after which a proposal that was not applied is made again; default 5 s

	FoldAbove int           // number of committed partials beyond which some are folded; default 32
	MaxBlobs  int           // most committed partials, beyond which commits wait; default MaxBlobs
	FoldFloor int64         // bytes of committed partials up to which only their number counts; default 16 MiB
	FoldWait  time.Duration // how long a fold may take; default 10 min

	Sampling Sampling `json:"-"` // checks what workers compute; nil for no such check
}

// MaxBlobs is how many partials of a job are committed at once at most.
const MaxBlobs = 64

// FoldFloor is how many bytes may be committed of a job, or be on their way to that, however small its partials are.
const FoldFloor = 16 << 20

func (c *Config) defaults() {
	tasks.Default(&c.Audit, 500*time.Millisecond)
	tasks.Default(&c.AuditWait, 3*time.Second)
	tasks.Default(&c.Audits, 3)
	tasks.Default(&c.Report, 400*time.Millisecond)
	tasks.Default(&c.Reports, 250)
	tasks.Default(&c.Strikes, 3)
	tasks.Default(&c.MaxLost, 20)
	tasks.Default(&c.GiveUp, 5*time.Second)
	tasks.Default(&c.Return, 3*time.Minute)
	tasks.Default(&c.Patience, time.Minute)
	tasks.Default(&c.Unsealed, 30*time.Second)
	tasks.Default(&c.StopWait, 10*time.Second)
	tasks.Default(&c.ReduceWait, 2*time.Minute)
	tasks.Default(&c.Repeat, 2*time.Second)
	tasks.Default(&c.Fetches, 4)
	tasks.Default(&c.Propose, 5*time.Second)
	tasks.Default(&c.FoldAbove, 32)
	tasks.Default(&c.MaxBlobs, MaxBlobs)
	tasks.Default(&c.FoldFloor, FoldFloor)
	tasks.Default(&c.FoldWait, 10*time.Minute)
}
