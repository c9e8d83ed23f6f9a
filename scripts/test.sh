#!/bin/bash
# test.sh: everything that the tests need, then all of them through ctest. Ends with ctest's summary; skipped tests are
# named there, and above it with their reasons. Arguments go to ctest, as -R tokenizer.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
scripts/deps.sh test
scripts/build.sh
cache=$(scripts/fetch.py cache)
if scripts/fetch.py smollm2 templates minilm; then
    python3 tests/make_tokenizer_json.py "$cache"
else
    echo "Tests that need the files that could not be fetched are skipped." >&2
fi
rm -f "$build/skipped.txt" "$build/tried.txt"
export WICK_TRIED="$PWD/$build/tried.txt"
ctest --test-dir "$build" -j "$(nproc)" --output-on-failure "$@" 2>&1 |
    awk -v skipped="$build/skipped.txt" '
        /tests passed, .* tests failed out of/ {
            while ((getline line < skipped) > 0) { if (!n++) print "\nSkipped cases:"; print "  " substr(line, 1, 160) }
            print ""
        }
        { print; fflush() }'
# The table of what works says what the tests showed; when some were skipped or left out, they showed less.
if [ $# -eq 0 ] && [ ! -e "$build/skipped.txt" ]; then scripts/supported.py "$build/tried.txt" --check; fi
