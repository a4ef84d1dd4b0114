// Package packaging has what an administrator installs beside the binary: units for systemd and settings. Its tests put
// dtpnode on this host for real, and take it off again.
package packaging
