#!/bin/sh
# check.sh [PART] [-V]: `make check`. Each part is a ctest of its own (tests/check/), so that it is timed, named when it is
# skipped for want of a tool, and counted in one summary at the end.
set -eu
cd "$(dirname "$0")/.."
scripts/deps.sh check
part=
case "${1:-}" in ''|-*) ;; *) part=$1; shift ;; esac
cmake -S tests/check -B build/check -G Ninja >/dev/null
exec ctest --test-dir build/check --output-on-failure ${part:+-R "^$part\$"} "$@"
