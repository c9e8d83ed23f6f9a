#!/bin/sh
# check-kernels.sh: kernels against the reference on fresh random input. SET (c, avx2, avx512, neon, ...) lowers the instruction
# sets in use; SEED repeats a run: each prints its own.
set -eu
cd "$(dirname "$0")/.."
WICK_TEST_SEED=${SEED:-$(date +%s)}
export WICK_TEST_SEED
if [ -n "${SET:-}" ]; then
    export WICK_CPU="$SET"
fi
echo "make check-kernels${SET:+ SET=$SET} SEED=$WICK_TEST_SEED"
exec ctest --test-dir "${BUILD:-build/release}" -R 'test_(cpu|linear|cpu_ops|same_bits|gradients)$' --output-on-failure
