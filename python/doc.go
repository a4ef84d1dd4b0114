// Package python has the Python package dtpnode, which is no Go. Its tests are run by those of this package, with the
// binary as it is now.
package python
