#!/bin/sh
# arm64-root.sh DIR: unpacks the arm64 packages that a cross build of wick and its tests links with into DIR. apt works on
# lists and a cache of its own under DIR: nothing is installed, and the system's architectures and packages stay as they are
# (-dev packages of two architectures do not always go together). Fails with a line that says why.
set -eu
want="libpcre2-dev libpcre2-8-0 libutf8proc-dev libutf8proc2 libjansson-dev libjansson4 libyaml-dev libyaml-0-2"
want="$want libsqlite3-dev libsqlite3-0 libcmocka-dev libcmocka0"
[ ! -e "$1/done" ] || exit 0
give_up() {
    echo "arm64-root.sh: $1" >&2
    exit 1
}
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "not a Debian system"
[ -z "${WICK_NO_INSTALL:-}" ] || give_up "WICK_NO_INSTALL is set, and $want of arm64 are missing"
rm -rf "$1"
mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial" "$1/apt/deb"
root=$(cd "$1" && pwd)
arm_apt() {
    apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root -o Dir::State="$root/apt" \
        -o Dir::State::status=/dev/null -o Dir::Cache="$root/apt/cache" "$@"
}
arm_apt update >"$root/apt/log" 2>&1 || true  # a source without arm64 is no matter, as long as one has the packages
cd "$root/apt/deb"
# shellcheck disable=SC2086 # words on purpose
arm_apt download $want >>"$root/apt/log" 2>&1 || give_up "the arm64 packages cannot be fetched: $(tail -n 1 "$root/apt/log")"
for deb in *.deb; do dpkg-deb -x "$deb" "$root"; done
rm -rf "$root/apt"
touch "$root/done"
