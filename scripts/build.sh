#!/bin/sh
# build.sh [TARGET...]: configures BUILD (build/release) and builds. CMAKE_FLAGS adds options, as -DWICK_WERROR=ON.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
# shellcheck disable=SC2086 # words on purpose
cmake -S . -B "$build" -G Ninja ${CMAKE_FLAGS:-} >/dev/null  # what is missing comes on stderr
ninja -C "$build" --quiet "$@"
