#!/bin/sh
# examples.sh NAME [BUILD]: runs an example on a model of tests/data and looks at its exit codes and what it prints.
# NAME: generate, stream_callback, stream_pull, classify, adapter_swap or train. BUILD: the build folder (build/release).
set -eu
cd "$(dirname "$0")"
name=$1
program=${2:-${WICK_TEST_BUILD:-../build/release}}/examples/$name
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() {
    echo "example $name: $1" >&2
    cat "$tmp/out" "$tmp/err" >&2
    exit 1
}
# expect CODE ARGUMENT...: runs the example and holds its exit code against CODE.
expect() {
    want=$1
    shift
    code=0
    "$program" "$@" >"$tmp/out" 2>"$tmp/err" || code=$?
    [ "$code" -eq "$want" ] || fail "exit code $code instead of $want"
}
printed() { grep -q -- "$1" "$tmp/out" || fail "\"$1\" was not printed"; }

expect 2
grep -q "usage:" "$tmp/err" || fail "no usage line"
expect 1 data/no-such-model text
grep -q "no-such-model" "$tmp/err" || fail "the message does not name the file"

model=data/models/llama-chat
case $name in
generate)
    expect 0 $model "12345 "
    printed "^12345 "
    printed "[0-9]* tokens of prompt, [0-9]* generated, \(stop\|length\)"
    expect 1 data/models/llama  # no tokenizer
    ;;
stream_callback)
    expect 0 $model "It is"
    printed "^  0  id "
    printed "tokens/s"
    ;;
stream_pull)
    expect 0 $model "It is"
    printed "^It is"
    printed "[0-9]* tokens, ended: \(stop\|length\)"
    ;;
classify)
    # The classifiers of tests/data have no tokenizer: one of a token for each byte is put beside one of them.
    mkdir "$tmp/model"
    ln -s "$PWD"/data/models/llama-classify/config.json "$PWD"/data/models/llama-classify/model.safetensors "$tmp/model"
    ln -s "$PWD"/data/tokenizers/bytes-320.json "$tmp/model/tokenizer.json"
    expect 0 "$tmp/model" "one text" "and another"
    printed "^LABEL_[0-4] .*one text"
    printed "^LABEL_[0-4] .*and another"
    expect 1 $model "not a classifier"
    ;;
adapter_swap)
    mkdir "$tmp/model"
    ln -s "$PWD"/data/models/llama/config.json "$PWD"/data/models/llama/model.safetensors "$tmp/model"
    ln -s "$PWD"/data/tokenizers/bytes-320.json "$tmp/model/tokenizer.json"
    expect 0 "$tmp/model" data/adapters/llama/r2-dora-all data/adapters/llama/saved-head "some text"
    printed "^with the first:"
    printed "without an adapter the same as before: yes"
    expect 1 "$tmp/model" data/adapters/gemma3/r4-all
    ;;
train)
    mkdir "$tmp/data"
    for i in 1 2 3 4 5; do echo "{\"prompt\":\"Say $i.\",\"completion\":\"It is $i.\"}"; done >"$tmp/data/train.jsonl"
    head -n 2 "$tmp/data/train.jsonl" >"$tmp/data/valid.jsonl"
    expect 0 $model "$tmp/data" "$tmp/adapter" "Say 3."
    printed "numbers are trained on 5 samples"
    printed "^iteration   20  loss [0-9.]*  [0-9]* tokens/s  validation loss "
    printed "^after: "
    expect 0 $model "$tmp/data" "$tmp/adapter"  # it is over: nothing is trained again
    printed "^after: "
    expect 1 $model "$tmp/nowhere" "$tmp/other"
    grep -q "is no folder; data names" "$tmp/err" || fail "the message does not say what data is"
    ;;
*) echo "there is no example $name" >&2; exit 2 ;;
esac
