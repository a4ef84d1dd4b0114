#!/bin/sh
# Runs before removal, but does nothing before an upgrade: stops all daemons, and disables their units.
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
