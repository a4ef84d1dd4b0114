#!/bin/sh
# Runs after installation: systemd reads the units, and daemons that run the old version are restarted.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	case "$1" in
	configure) [ -z "$2" ] || systemctl try-restart 'dtpnode@*.service' || true ;; # dpkg: $2 is the old version
	2) systemctl try-restart 'dtpnode@*.service' || true ;; # rpm: $1 is the number of installed versions
	esac
fi
