#!/bin/sh
# Before the files go for good, not to make room for others: no daemon is left that runs them, nor starts them again.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl stop 'dtpnode@*.service' || true
	fi
	for unit in /etc/systemd/system/*.wants/dtpnode@*.service; do
		[ ! -h "$unit" ] || rm -f "$unit"
	done
	;;
esac
