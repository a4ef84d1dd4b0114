package tasks

import (
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// Needs are what a runtime must offer to work for the job: words that only runtimes give a meaning, such as
// "ROOT=6.40.00". The protocol compares them, see Offer.
func (j *Job) Needs() []string { return j.Work.Needs }

// Offer is what one runtime of a node offers, in the words that jobs need.
type Offer []string

// Met reports whether any of a node's runtimes can work for a job with these needs. Where nothing is needed every node
// can, also one without a runtime that says what it offers.
func Met(needs []string, offers []Offer) bool {
	return len(needs) == 0 || mutant.On(mutant.AnyRuntime) ||
		slices.ContainsFunc(offers, func(o Offer) bool { return o.Meets(needs) })
}

// Meets reports whether a runtime with this offer can work for a job with these needs.
func (o Offer) Meets(needs []string) bool {
	for _, n := range needs {
		if !slices.Contains(o, n) {
			return false
		}
	}
	return true
}
