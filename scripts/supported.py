#!/usr/bin/env python3
"""supported.py TRIED [--check]: writes docs/supported.md from what the tests tried (tests/support/tried.h), or with --check
only says whether the page still tells what they showed. Exit codes: 0 done or equal, 1 not."""
import os, sys

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "supported.md")
HEAD = """# What works
Made by `make supported` from the tests that passed, and from nothing else; `make test` fails when the page says something else.
**real**: published weights were run. **random**: small models with random weights, held against what the family's own
implementation (transformers, gguf-py, llama.cpp, tokenizers) computes from the same files. *yes*: there are no weights in it.
"""
TABLES = {
    "family": ("Model families", "family", "Logits within 1e-4 of transformers' in float32 and the same greedy tokens."),
    "checkpoint": ("Checkpoints", "layout", "Folders and files as people download them."),
    "type": ("Weight types", "type", "Decoded: bit for bit what gguf-py makes of the same bytes. Product: the CPU kernels against "
             "the reference's on random input."),
    "tokenizer": ("Tokenizers", "vocabulary", "Token for token what the peer gives on the saved texts."),
}


def render(path):
    seen = {t: {} for t in TABLES}
    with open(path) as f:
        for table, what, how, weights in (line.rstrip("\n").split("\t") for line in f):
            mark = seen[table].setdefault(what, {}).setdefault(how, set())
            mark.add(weights or "yes")
    page = HEAD
    for table, (title, first, words) in TABLES.items():
        rows = seen[table]
        hows = sorted({how for row in rows.values() for how in row})
        page += f"\n## {title}\n{words}\n\n| {first} | " + " | ".join(hows) + " |\n|---" + "|---" * len(hows) + "|\n"
        for what in sorted(rows, key=str.lower):
            cells = (", ".join(sorted(rows[what].get(how, ()), key=lambda m: (m != "real", m))) for how in hows)
            page += f"| {what} | " + " | ".join(cells) + " |\n"
    return page


def main():
    page = render(sys.argv[1])
    if "--check" not in sys.argv[2:]:
        with open(PAGE, "w") as f:
            f.write(page)
        return 0
    if os.path.exists(PAGE) and open(PAGE).read() == page:
        return 0
    print("docs/supported.md is not what the tests showed; make it anew: make supported", file=sys.stderr)
    return 1


sys.exit(main())
