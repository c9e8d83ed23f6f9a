#!/bin/bash
# install.sh BUILD: installs BUILD under DESTDIR and uses it as a stranger would: the program, then a small program built by
# pkg-config (shared and static) and by find_package(Wick).
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
DESTDIR=$stage cmake --install "$build" --prefix /usr >/dev/null
prefix=$stage/usr
find "$stage" ! -type d -printf '  /%P\n' | sort

cat >"$stage/ask.c" <<'C'
/* ask.c: uses enough of the library to need all of it at link time. */
#include <stdio.h>
#include <wick.h>
int main(void) {
    wick_model *m = NULL;
    if (wick_model_open("/nonexistent.gguf", NULL, &m) == WICK_OK) return 1;
    printf("wick %s: %s\n", wick_version(), wick_last_error());
    return wick_last_error()[0] == 0;
}
C
pc=$(dirname "$(find "$prefix" -name wick.pc)")
export PKG_CONFIG_PATH=$pc
lib=$(pkg-config --variable=libdir wick)

echo "pkg-config, shared:"
# shellcheck disable=SC2046 # words on purpose
cc "$stage/ask.c" -o "$stage/ask" $(pkg-config --cflags --libs wick)
LD_LIBRARY_PATH=$lib "$stage/ask"
echo "pkg-config, static:"
# shellcheck disable=SC2046
cc "$stage/ask.c" -o "$stage/ask-static" $(pkg-config --cflags wick) "$lib/libwick.a" \
    $(pkg-config --libs --static wick | sed 's/-lwick//')
"$stage/ask-static"

cat >"$stage/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(ask LANGUAGES C)
find_package(Wick 0.1 REQUIRED)
add_executable(ask ask.c)
target_link_libraries(ask PRIVATE Wick::wick)
add_executable(ask-static ask.c)
target_link_libraries(ask-static PRIVATE Wick::static)
CMAKE
echo "find_package(Wick):"
cmake -S "$stage" -B "$stage/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" --log-level=WARNING
ninja -C "$stage/build" --quiet
"$stage/build/ask"
"$stage/build/ask-static"

program=$prefix/bin/wick
[ ! -x "$program" ] || "$program" --version
for page in "$prefix"/share/man/man1/wick*.1; do
    [ ! -e "$page" ] || ! command -v man >/dev/null || man --warnings -l "$page" >/dev/null
done
completion=$prefix/share/bash-completion/completions/wick
[ ! -e "$completion" ] || bash -n "$completion"
