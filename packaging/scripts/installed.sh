#!/bin/sh
# After the files are there: systemd reads the units; daemons that run the files of before are started again.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	case "$1" in
	configure) [ -z "$2" ] || systemctl try-restart 'dtpnode@*.service' || true ;; # dpkg: $2 is the version of before
	2) systemctl try-restart 'dtpnode@*.service' || true ;; # rpm: the number of versions that are there
	esac
fi
