#!/usr/bin/env bash
# Makes the archives and packages of a release, and their checksums: packaging/release.sh DIST STAMP
# DIST is emptied first. STAMP is the version as git describes it. The result is the same, byte by byte, wherever it is
# made from the same commit with the same version of Go.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=$1 stamp=$2
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2 # the newest version whose modules are all available
go=${GO:-go}
arches=${ARCHES:-amd64 arm64}

version=$(packaging/version.sh "$stamp")

umask 022
export LC_ALL=C TZ=UTC
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build ARCH: builds the binary for an architecture.
build() {
	CGO_ENABLED=0 GOOS=linux GOARCH=$1 "$go" build -trimpath -buildvcs=false \
		-ldflags "-s -w -X github.com/dtpnode/dtpnode/internal/version.stamp=$stamp" -o "$work/dtpnode-$1" ./cmd/dtpnode
}

# stage ARCH PREFIX DIR: installs with `make install` below DIR. The manual and the completions come from the binary for
# this host, since the other one may not run here.
stage() {
	make -s install BIN="$work/dtpnode-$host" INSTALL_BIN="$work/dtpnode-$1" PREFIX="$2" DESTDIR="$3" SYSCONFDIR=/etc \
		>"$work/install.log"
}

# archive ARCH: makes an archive of what is installed below /usr/local, with etc beside it.
archive() {
	local name=dtpnode-$version-linux-$1
	stage "$1" /usr/local "$work/$name.stage"
	mkdir "$work/$name"
	mv "$work/$name.stage/usr/local"/* "$work/$name.stage/etc" "$work/$name"
	tar -C "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -c "$name" |
		gzip -9n >"$dist/$name.tar.gz"
}

# package ARCH KIND: makes a .deb or .rpm with the same files, below /usr.
package() {
	local root=$work/$2-$1
	stage "$1" /usr "$root"
	if [ "$2" = deb ]; then # Debian's zsh looks for the completions of packages there
		mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
	fi
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	(
		sed "s,@VERSION@,$version,; s,@ARCH@,$1," packaging/nfpm.yaml.in
		cd "$root"
		find . -type f -printf '%P\n' | sort | while read -r file; do
			echo "  - src: $root/$file"
			echo "    dst: /$file"
			case $file in etc/*) echo "    type: config|noreplace" ;; esac
		done
	) >"$work/nfpm.yaml"
	"$go" run "$nfpm" package -f "$work/nfpm.yaml" -p "$2" -t "$dist" >"$work/nfpm.log" || {
		cat "$work/nfpm.log" >&2
		return 1
	}
}

rm -rf "$dist"
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
host=$("$go" env GOHOSTARCH)
build "$host"
for arch in $arches; do
	if [ "$arch" != "$host" ]; then build "$arch"; fi
	archive "$arch"
	package "$arch" deb
	package "$arch" rpm
done
cd "$dist"
sha256sum -- * >SHA256SUMS
cat SHA256SUMS
