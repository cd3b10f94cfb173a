#!/bin/sh
# Builds the packages, looks them over, and installs one into a clean Debian
# that is booted for it. Needs root, and debootstrap, lintian, file and
# systemd-nspawn; takes about two minutes.
set -eu
cd "$(dirname "$0")/.."
say() { printf -- '-- %s\n' "$*"; }

tmp=$(mktemp -d)
root=$tmp/root

# From where this machine has its own packages; by default, from Debian.
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $suite" 'Label: Debian' | head -n 1)
unshare --mount --fork --kill-child debootstrap --variant=minbase --include=systemd,ca-certificates,curl \
	"$suite" "$root" ${mirror:+"$mirror"} >"$tmp/debootstrap.log" 2>&1 &
clean=$!
trap 'kill $clean 2>/dev/null || true; wait; rm -rf --one-file-system "$tmp"' EXIT

say "make deb"
make clean deb

say "the same commit gives the same bytes"
sha256sum dist/*.deb >"$tmp/sums"
make -s clean deb
sha256sum -c "$tmp/sums"

for arch in amd64:x86-64 arm64:aarch64; do
	deb=$(echo dist/mailbox_*_"${arch%:*}".deb)
	say "$deb"
	test "$(dpkg-deb -f "$deb" Architecture)" = "${arch%:*}"
	dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/bin/mailbox >"$tmp/mailbox"
	file -b "$tmp/mailbox" | grep "${arch#*:}.*statically linked.*stripped"
	lintian --allow-root --fail-on error,warning "$deb"
done

say "a clean Debian"
if ! wait "$clean"; then
	tail -n 20 "$tmp/debootstrap.log"
	exit 1
fi
cp dist/mailbox_*_"$(dpkg --print-architecture)".deb "$root/mailbox.deb"
cp packaging/test-installed.sh "$root/test.sh"

# It boots in order to run this script, whose status is the container's. The
# network is one of its own, with nothing in it but loopback.
timeout -k 10 300 systemd-nspawn --quiet --directory "$root" --register=no --keep-unit --private-network \
	--resolv-conf=off --boot -- systemd.run=/test.sh systemd.show_status=no </dev/null
say "the package is good"
