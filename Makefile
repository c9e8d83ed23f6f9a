# Makefile: short names for what scripts/ and CMake do. BUILD is where the release build goes.
BUILD ?= build/release
PREFIX ?= /usr/local
CMAKE_FLAGS ?=
export BUILD CMAKE_FLAGS QUESTION

build:  ## the library, the program, examples and tests in $(BUILD)
	@scripts/build.sh

demo:  ## installs what is missing, builds, fetches a small model, answers QUESTION="..."
	@scripts/demo.sh

test:  ## installs what is missing, builds, fetches test data, runs every test (ctest)
	@scripts/test.sh

check:  ## Clang, sanitizers, fuzz corpora, Valgrind, coverage, tidy, examples, install; PART=name runs one
	@scripts/check.sh $(PART)

bench:  ## speed and memory beside other programs, into docs/benchmarks.md; SECTION="--rounds 3 speed avx2" runs some
	@scripts/deps.sh bench
	@scripts/build.sh
	@python3 bench/bench.py $(SECTION)

coverage:  ## line coverage of src/ (gcovr)
	@scripts/check.sh coverage -V

tidy:  ## include arrows, banned calls, comments, exported names
	@scripts/build.sh && ctest --test-dir $(BUILD) -L tidy --output-on-failure

check-kernels:  ## kernels against the reference on fresh random input; SET=avx2 SEED=7
	@scripts/build.sh && SET="$(SET)" SEED="$(SEED)" scripts/check-kernels.sh

asan:  ## tests under ASan and UBSan
	@scripts/check.sh asan-gcc -V

fuzz:  ## fuzzes each parser for SECONDS (60), from its corpus
	@SECONDS_EACH=$(or $(SECONDS),60) scripts/check.sh fuzz -V

supported:  ## remakes docs/supported.md from what the tests show to work
	@scripts/test.sh -L unit && scripts/supported.py $(BUILD)/tried.txt

golden:  ## remakes the expected outputs of tests/golden from what the program prints now
	@scripts/build.sh && WICK_GOLDEN=write ctest --test-dir $(BUILD) -L cli --output-on-failure

install: build  ## into PREFIX (/usr/local), under DESTDIR
	@cmake --install $(BUILD) --prefix $(PREFIX)
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

clean:  ## removes build/
	rm -rf build

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: build demo test check bench coverage tidy check-kernels asan fuzz supported golden install clean help
.DEFAULT_GOAL := build
