#!/usr/bin/env python3
"""wrap.py [FILE...]: wraps C lines over 132 columns and leaves all others as they are. A comment at the end of a line that
is too long goes on lines of its own above; what is still too long is wrapped by clang-format (.clang-format). Without files:
all that git knows. Look at the difference afterwards: a person may break a line better."""
import os, re, subprocess, sys, textwrap

LIMIT = 132
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def comment_above(line):
    """A line with its end comment moved above it, if that is what makes it too long and it stands outside of strings."""
    m = re.fullmatch(r"(\s*)(\S.*?)\s*/\* (.*?) \*/", line)
    code = m.group(2) if m else ""
    if len(line) <= LIMIT or not m or "/*" in code or code.startswith(("/", "*", "#", "}")) or code.endswith("\\"):
        return [line]
    indent, code, comment = m.groups()
    words = textwrap.wrap(comment, LIMIT - len(indent) - 6, break_long_words=False, break_on_hyphens=False)
    words[0] = "/* " + words[0]
    words[-1] += " */"
    return [indent + (" * " if i else "") + w for i, w in enumerate(words)] + [indent + code]


def wrap(path):
    with open(path, encoding="utf-8") as f:
        old = f.read()
    new = "\n".join(l for line in old.split("\n") for l in comment_above(line))
    ranges = [f"--lines={i}:{i}" for i, l in enumerate(new.split("\n"), 1) if len(l) > LIMIT]
    if ranges:
        new = subprocess.run(["clang-format", "--style=file", f"--assume-filename={path}", *ranges], input=new,
                             capture_output=True, text=True, check=True).stdout
    if new != old:
        with open(path, "w", encoding="utf-8") as f:
            f.write(new)
        print(path)


def main():
    files = sys.argv[1:]
    if not files:
        git = subprocess.run(["git", "ls-files", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True)
        files = [os.path.join(ROOT, f) for f in git.stdout.split()]
    for f in files:
        wrap(f)


main()
