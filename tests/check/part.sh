#!/bin/bash
# part.sh PART: one part of `make check`. Exit code 77: a tool is missing, which skips the part and says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
part=$1
case $part in
    # One release build, warnings being errors, for the seven.
    tidy|sets|valgrind|examples|bench|install|peers) build=build/check-gcc ;;
    *) build=build/check-$part ;;
esac
cores=$(nproc)

need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { echo "$part is skipped: $tool is not installed"; exit 77; }
    done
}
configure() {
    cmake -S . -B "$build" -G Ninja -DWICK_WERROR=ON -DWICK_BUILD_BENCH=OFF "$@" >/dev/null
}
build_and_test() {  # CTEST_ARGUMENT...
    ninja -C "$build" --quiet
    rm -f "$build/skipped.txt"
    ctest --test-dir "$build" -j "$cores" --output-on-failure -L 'unit|cli|fuzz|examples' "$@"
}

case $part in
tidy)
    configure
    ninja -C "$build" --quiet
    ctest --test-dir "$build" -L tidy --output-on-failure --no-tests=error ;;
clang)
    need clang
    configure -DCMAKE_C_COMPILER=clang
    build_and_test ;;
asan-gcc)
    configure -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWICK_SANITIZE=address,undefined
    build_and_test ;;
asan-clang)  # fewer random cases: asan-gcc has all of them
    need clang llvm-symbolizer
    configure -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWICK_SANITIZE=address,undefined
    WICK_TEST_FEW=1 build_and_test ;;
tsan)  # what runs steps on several threads: a meeting too few is a race
    need clang llvm-symbolizer
    configure -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWICK_SANITIZE=thread -DWICK_BUILD_EXAMPLES=OFF
    ninja -C "$build" --quiet
    ctest --test-dir "$build" --output-on-failure --no-tests=error -R '^test_(cpu_ops|cpu_plan|same_bits|stream|trainer)$' ;;
fuzz)  # each corpus again, then a short run from it; new inputs stay in build/fuzz/found
    need clang llvm-symbolizer
    configure -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWICK_FUZZ=ON -DWICK_BUILD_TESTS=OFF \
              -DWICK_BUILD_CLI=OFF -DWICK_BUILD_EXAMPLES=OFF -DWICK_BUILD_SHARED=OFF
    ninja -C "$build" --quiet
    ctest --test-dir "$build" -j "$cores" --output-on-failure -L fuzz
    export build seconds="${SECONDS_EACH:-15}"
    fuzz_one() {  # TARGET
        name=${1##*/fuzz_}
        mkdir -p "$build/found/$name"
        echo "fuzz_$name for $seconds s"
        ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=2048 "$1" -max_total_time="$seconds" -timeout=20 \
            -rss_limit_mb=3000 -max_len=65536 -print_final_stats=0 -verbosity=0 -artifact_prefix="$build/found/fuzz_$name-" \
            "$build/found/$name" "tests/fuzz/corpus/$name"
    }
    export -f fuzz_one
    printf '%s\0' "$build"/tests/fuzz_* | xargs -0 -n 1 -P "$cores" bash -c 'fuzz_one "$1"' bash ;;  # each keeps one core
valgrind)  # has no AVX-512, so dispatch falls back; tests/check/valgrind.txt lists the tests
    need valgrind
    configure
    ninja -C "$build" --quiet
    rm -f "$build/skipped.txt"
    WICK_LAUNCH="valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible" \
        ctest --test-dir "$build" -j "$cores" --output-on-failure --timeout 600 \
            -R "^($(paste -sd'|' tests/check/valgrind.txt))\$" ;;
coverage)
    # gcov works out some counts from others and may come below zero, at which gcovr's threads would wait for ever.
    need gcovr
    configure -DCMAKE_BUILD_TYPE=Debug -DWICK_COVERAGE=ON -DWICK_WERROR=OFF -DWICK_BUILD_EXAMPLES=OFF
    find "$build" -name '*.gcda' -delete
    WICK_TEST_FEW=1 build_and_test -E '^test_same_bits$'  # more random cases run the same lines, slowly
    gcovr --root . --filter 'src/' --exclude-unreachable-branches --print-summary --fail-under-line 85 \
          --gcov-ignore-parse-errors --json-summary "$build/coverage.json" --txt - "$build" -j "$cores"
    tests/check/coverage.py "$build/coverage.json" tests/check/parsers.txt ;;
sets)  # what runs kernels, as on lesser machines; not test_linear, test_cpu_ops and others that go through all sets by themselves
    configure
    ninja -C "$build" --quiet
    for set in c avx2 avx512; do
        echo "WICK_CPU=$set"
        WICK_CPU=$set ctest --test-dir "$build" -j "$cores" --output-on-failure --no-tests=error \
            -R '^test_(cpu|models|adapter|generate|api|stream|dump|real|hparams)$'
    done
    echo "1,000 mixtures of each weight type on each set, in two halves"
    halves=()
    for seed in 1 2; do
        WICK_TEST_SEED=$seed WICK_MIXTURES=500 "$build/tests/test_same_bits" & halves+=($!)
    done
    wait "${halves[0]}"
    wait "${halves[1]}" ;;
arm64)  # built for aarch64 and run by qemu as processors without dot products, with them, and with all there is
    need aarch64-linux-gnu-gcc qemu-aarch64 pkg-config
    root=build/arm64-root
    why=$(scripts/arm64-root.sh "$root" 2>&1) || { echo "$part is skipped: $why"; exit 77; }
    cross() {
        configure -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DWICK_ARM64_ROOT="$PWD/$root" "$@"
    }
    if command -v clang >/dev/null; then  # compiled only, without the tests
        build=build/check-arm64-clang
        CC=clang cross -DWICK_BUILD_TESTS=OFF -DWICK_BUILD_EXAMPLES=OFF
        ninja -C "$build" --quiet
        build=build/check-arm64
    fi
    cross
    ninja -C "$build" --quiet
    rm -f "$build/skipped.txt"
    as() {  # CPU TESTS
        echo "$1"
        WICK_TEST_FEW=1 WICK_LAUNCH="qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu $1" \
            ctest --test-dir "$build" -j "$cores" --output-on-failure --no-tests=error --timeout 600 -L unit -R "^($2)\$"
    }
    as cortex-a72 'test_(cpu|linear|cpu_ops|same_bits)'
    as neoverse-n1 'test_(cpu|linear|same_bits)'
    as max "$(paste -sd'|' tests/check/arm64.txt)" ;;
examples)  # each is built from the public header alone; those that run a model run a tiny one
    configure
    ninja -C "$build" --quiet
    ctest --test-dir "$build" -L examples --output-on-failure --no-tests=error ;;
bench)  # the benchmark programs, short, on a tiny model: wrong results fail, times never do
    configure -DWICK_BUILD_BENCH=ON
    ninja -C "$build" --quiet
    "$build/bench/streaming" tests/data/models/llama-chat -n 40 -r 3 ;;
install)
    configure
    ninja -C "$build" --quiet
    tests/check/install.sh "$build" ;;
peers)  # llama.cpp and transformers read what wick wrote; skipped by name where they are not installed. PEERS: their Python
    configure
    ninja -C "$build" --quiet wick-cli
    WICK_TEST_PROGRAM=$build/wick "${PEERS:-python3}" tests/peers/convert_peers.py
    WICK_TEST_PROGRAM=$build/wick "${PEERS:-python3}" tests/peers/adapter_peers.py ;;
*)
    echo "part.sh: no part $part" >&2
    exit 2 ;;
esac
