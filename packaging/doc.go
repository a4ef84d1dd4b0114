// Package packaging has what an administrator installs besides the binary: systemd units and settings. Its tests
// install dtpnode on this host for real, and remove it again.
package packaging
