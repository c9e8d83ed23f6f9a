#!/usr/bin/env python3
"""Remake the table of src/text/scripts.c: which script the `tokenizers` package's UnicodeScripts takes a character for.

    make_scripts_table.py src/text/scripts.c       (needs tokenizers; the table in the tree was made with 0.23; ten seconds)

Found by asking: two characters that stay together are of one script, and one that stays with a Latin and with a Cyrillic letter
is of any. So the table has the package's version of Unicode and its exceptions, whatever they are."""
import sys
from tokenizers import pre_tokenizers

step = pre_tokenizers.UnicodeScripts()


def together(a, b):
    return len(step.pre_tokenize_str(a + b)) == 1


def classes():
    """0: any; else 1 and up, in order of first appearance."""
    first, before, script = [], None, 0
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            yield 0
            continue
        ch = chr(c)
        if together("a", ch) and together("\u0431", ch): script = 0
        elif not (script and together(before, ch)):
            script = next((i + 1 for i, r in enumerate(first) if together(r, ch)), 0)
            if not script:
                first.append(ch)
                script = len(first)
        before = ch
        yield script


runs, last = [], None
for c, k in enumerate(classes()):
    if k != last: runs.append(f"0x{c << 8 | k:08X}")
    last = k
lines = ["    " + ", ".join(runs[i:i + 10]) + "," for i in range(0, len(runs), 10)]
begin, end = "static const uint32_t table[] = {\n", "};\n"
text = open(sys.argv[1]).read()
head, rest = text.split(begin)
open(sys.argv[1], "w").write(head + begin + "\n".join(lines) + "\n" + rest[rest.index(end):])
print(len(runs), "runs")
