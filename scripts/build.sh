#!/bin/sh
# build.sh [TARGET...]: configures BUILD (build/release) and builds. CMAKE_FLAGS adds options, as -DWICK_WERROR=ON.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
for tool in cmake ninja pkg-config cc; do
    command -v "$tool" >/dev/null && continue
    echo "build.sh: there is no $tool. \`make demo\` and \`make test\` install what is missing; or as root:" >&2
    echo "  apt-get update && apt-get install gcc libc6-dev cmake ninja-build pkg-config libpcre2-dev libutf8proc-dev \\" >&2
    echo "  libjansson-dev libyaml-dev libsqlite3-dev libedit-dev" >&2
    exit 1
done
# shellcheck disable=SC2086 # words on purpose
cmake -S . -B "$build" -G Ninja ${CMAKE_FLAGS:-} >/dev/null  # what is missing comes on stderr
# Minutes without a word would look like a standstill: a terminal sees ninja's line, a log what goes wrong alone.
[ -t 1 ] && quiet='' || quiet=--quiet
# shellcheck disable=SC2086 # nothing, or one word
ninja -C "$build" $quiet "$@"
