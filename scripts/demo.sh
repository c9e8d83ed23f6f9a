#!/bin/sh
# demo.sh: from nothing to an answer to $QUESTION: packages, build, model, run.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
question=${QUESTION:-"What is gravity? Answer in two sentences."}
scripts/deps.sh demo
echo "Building wick in $build"
scripts/build.sh wick-cli
model=$(scripts/fetch.py smollm2)
echo "$build/wick run \"$model\" -p \"$question\" -n 200"
exec "$build/wick" run "$model" -p "$question" -n 200
