#!/usr/bin/env python3
"""coverage.py SUMMARY PATTERNS: holds every parser, and adapters and training each together, to 95 % of their lines.

SUMMARY is gcovr's --json-summary, PATTERNS is parsers.txt. A pattern without a file is an error, too: the list would rot. Exit
status 1: the files that fall short are named."""
import fnmatch, json, sys

LEAST = 95.0
TOGETHER = ["adapter/", "train/"]
files = {f["filename"].removeprefix("src/"): f for f in json.load(open(sys.argv[1]))["files"]}
patterns = [s for s in open(sys.argv[2]).read().split("\n") if s and not s.startswith("#")]
unmatched = [p for p in patterns if not any(fnmatch.fnmatch(name, p) for name in files)]
parsers = sorted(name for name in files if any(fnmatch.fnmatch(name, p) for p in patterns))
short = [name for name in parsers if files[name]["line_percent"] < LEAST]
covered, total = (sum(files[name][k] for name in parsers) for k in ("line_covered", "line_total"))
for p in unmatched: print(f"{sys.argv[2]}: no file is like {p}")
for name in short:
    f = files[name]
    print(f"src/{name}: {f['line_covered']} of {f['line_total']} lines are tested, {f['line_percent']} %; a parser needs {LEAST} %")
print(f"parsers: {len(parsers)} files, {covered} of {total} lines, {100 * covered / max(total, 1):.1f} %; the least is "
      f"{min((files[name]['line_percent'] for name in parsers), default=0)} %")
for folder in TOGETHER:
    covered, total = (sum(f[k] for name, f in files.items() if name.startswith(folder)) for k in ("line_covered", "line_total"))
    if 100 * covered < LEAST * total or not total: short.append(folder)
    print(f"src/{folder}: {covered} of {total} lines are tested, {100 * covered / max(total, 1):.1f} %; it needs {LEAST} %")
sys.exit(bool(short or unmatched))
