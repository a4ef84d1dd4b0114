// Package exec is the contract between a node and what runs user code: in words that fit ROOT, Python and the executor
// of the tests alike. It knows no job, no network and no ROOT.
package exec
