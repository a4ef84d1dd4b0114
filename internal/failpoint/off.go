//go:build !failpoints

package failpoint

// Enabled is whether Hit can kill the process.
const Enabled = false

// Number returns def in this build.
func Number(_ string, def int) int { return def }

// Hit does nothing in this build.
func Hit(Step) {}
