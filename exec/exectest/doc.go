// Package exectest is what every runtime of package exec must be able to do, as tests: Run plays them all against one.
// It knows the contract alone. A runtime that passes can be given to a node.
//
//	suite.go     what a runtime's own tests say of it
//	cases.go     the tests, in the order of a job's life
//	failures.go  the tests of what goes wrong
//	values.go    the tests of values of single units, and of items, for kinds that have them
//	job.go       a program, its session and generations, as the tests handle them
//	leaks.go     what a runtime leaves behind
package exectest
