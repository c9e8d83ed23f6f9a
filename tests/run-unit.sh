#!/bin/sh
# run-unit.sh PROGRAM: runs one cmocka program for ctest. cmocka counts a skipped case as passed; here any skipped case
# makes the exit code 77, which ctest names as skipped, and its reason (what the case printed) goes to skipped.txt in
# WICK_TEST_BUILD, for `make test` to show. A failure stays a failure. WICK_LAUNCH, as "valgrind -q", goes before PROGRAM.
set -eu
name=$(basename "$1")
out=$(mktemp)
trap 'rm -f "$out"' EXIT
code=0
${WICK_LAUNCH:-} "$@" >"$out" 2>&1 || code=$?
cat "$out"
[ "$code" -eq 0 ] || exit "$code"
awk -v name="$name" '
    /^\[ RUN      \]/ { reason = ""; next }
    /^\[  SKIPPED \]/ { if ($4 !~ /^[0-9]/ && !seen[$4]++) print name ": " $4 (reason == "" ? "" : ": " reason); reason = ""; next }
    /^\[/             { reason = ""; next }
                      { reason = reason (reason == "" ? "" : " ") $0 }' "$out" >"$out.skipped"
if [ -s "$out.skipped" ]; then
    [ -z "${WICK_TEST_BUILD:-}" ] || cat "$out.skipped" >>"$WICK_TEST_BUILD/skipped.txt"
    code=77
fi
rm -f "$out.skipped"
exit "$code"
