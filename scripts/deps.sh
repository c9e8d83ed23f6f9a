#!/bin/sh
# deps.sh WHAT: installs the Debian packages that WHAT (demo, test, check or bench) needs, only those missing, with sudo
# when not root. With nothing missing it needs no network and changes nothing. For `check` a failure is no error: parts
# whose tools are missing are skipped there by name. WICK_NO_INSTALL=1 forbids installing.
set -eu

build="gcc libc6-dev make cmake ninja-build pkg-config libpcre2-dev libutf8proc-dev libjansson-dev libyaml-dev libsqlite3-dev"
build="$build libedit-dev python3 python3-venv"
case "${1:-}" in
    demo)  want=$build ;;
    test)  want="$build libcmocka-dev" ;;
    check) want="$build libcmocka-dev clang llvm libclang-rt-14-dev valgrind gcovr"
           want="$want gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" ;;
    bench) want="$build g++ bible-kjv bible-kjv-text" ;;
    *) echo "usage: scripts/deps.sh demo|test|check|bench" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "Not a Debian system: please see to it yourself that there is what these packages hold: $want"
    exit 0
fi
missing=
for package in $want; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

give_up() {
    echo "$1 Missing packages:$missing" >&2
    echo "Install them as root: apt-get update && apt-get install --no-install-recommends$missing" >&2
    [ "$what" = check ] && exit 0
    exit 1
}
what=$1
[ -z "${WICK_NO_INSTALL:-}" ] || give_up "WICK_NO_INSTALL is set."
root=env
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || give_up "Not root, and there is no sudo."
    root="sudo env"
fi
echo "Installing Debian packages (a minute or so):$missing"
apt="$root DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
$apt update >"$said" 2>&1 || true  # what was fetched before may do
# shellcheck disable=SC2086 # words on purpose
if ! $apt install -y --no-install-recommends $missing >>"$said" 2>&1; then
    grep '^E:' "$said" | tail -n 2 | cut -c1-200 >&2
    if grep -q 'resolving\|Could not connect\|Failed to fetch' "$said"; then
        give_up "The packages could not be downloaded; is there a network?"
    fi
    give_up "Installing failed."
fi
