#!/usr/bin/env bash
# Prints the version of a release's archives and packages: packaging/version.sh STAMP, run in the repository. STAMP is
# the version as git describes it. v1.2.3-rc1 becomes 1.2.3~rc1, which sorts before 1.2.3, and v1.2.3-4-gabc becomes
# 1.2.3+4.gabc, which sorts after it. Without a tag it is 0.0.0+20260102150405.abc, with the time of the commit in UTC
# before its hash: package managers take what sorts higher for newer, and hashes have no order.
set -euo pipefail
stamp=$1
case $stamp in
v[0-9]*) sed -E 's/^v//; s/-(alpha|beta|rc)/~\1/; s/-/+/; s/-/./g' <<<"$stamp" ;;
*) echo "0.0.0+$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M%S).${stamp//-/.}" ;;
esac
