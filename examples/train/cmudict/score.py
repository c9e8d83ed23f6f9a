#!/usr/bin/env python3
"""score.py MODEL [--lora ADAPTER | --few-shot N] [--words N] [--data FOLDER]: the phoneme error rate on test.jsonl: edits
(insertions, deletions, substitutions; Levenshtein 1966) between what `wick run` says at temperature 0 and the dictionary, over
the dictionary's phonemes. --few-shot N puts N words of train.jsonl with their phonemes before the question, as a fair chance
for a model that was not trained. An answer is judged by its first line."""
import argparse, json, os, subprocess, sys

WICK = os.environ.get("WICK", "wick")


def edits(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def read(path):
    with open(path, encoding="utf-8") as f:
        return [[m["content"] for m in json.loads(l)["messages"][1:]] for l in f]


def answer(args, shots, question):
    command = [WICK, "run", args.model, "--temp", "0", "-n", "40", "-o", "json", "-q"]
    if shots:  # a list that goes on, without the chat template: small models copy a list better than they follow a chat
        lines = [f"{q}: {a}" for q, a in shots] + [f"{question}:"]
        command += ["--raw", "-p", "\n".join(lines), "--stop", "\n"]
    else:
        command += ["--system", "Phonemes.", "-p", question]
    if args.lora:
        command += ["--lora", args.lora]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    lines = json.loads(done.stdout)["text"].strip().splitlines()
    return lines[0] if lines else ""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--lora")
    p.add_argument("--few-shot", type=int, default=0)
    p.add_argument("--words", type=int, default=500)
    p.add_argument("--data", default="data")
    args = p.parse_args()
    shots = read(os.path.join(args.data, "train.jsonl"))[:args.few_shot]
    wrong = total = exact = 0
    test = read(os.path.join(args.data, "test.jsonl"))[:args.words]
    for i, (question, want) in enumerate(test):
        got = answer(args, shots, question).split()
        n = edits(got, want.split())
        wrong, total, exact = wrong + n, total + len(want.split()), exact + (n == 0)
        if i < 5:
            print(f"{question}: {' '.join(got)}   (dictionary: {want})")
    print(json.dumps({"words": len(test), "phoneme_error_rate": round(wrong / total, 4),
                      "words_right": round(exact / len(test), 4)}))


main()
