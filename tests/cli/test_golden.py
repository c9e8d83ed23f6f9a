#!/usr/bin/env python3
"""test_golden.py: runs the commands of tests/golden/*.txt and holds exit code, standard output and standard error against the
file, byte for byte. `make golden` (WICK_GOLDEN=write) remakes the files; for a new one write its first line and do that.

A file: "$ COMMAND" as a shell takes it, then "[exit N]", and what came out under "--- stdout" and "--- stderr".
Commands run in tests/, with the program as `wick`, $TMP an empty folder, no terminal, no WICK_ variables."""
import difflib, glob, os, subprocess, sys, tempfile

PROGRAM = os.path.abspath(os.environ.get("WICK_TEST_PROGRAM", "../build/release/wick"))
WRITE = os.environ.get("WICK_GOLDEN") == "write"


def environment(tmp):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("WICK_", "LC_", "LANG")) or k == "WICK_CPU"}
    return {**keep, "PATH": os.path.dirname(PROGRAM) + ":" + keep.get("PATH", ""), "LC_ALL": "C.UTF-8", "TERM": "xterm",
            "HOME": tmp, "TMP": tmp, "XDG_STATE_HOME": tmp, "NO_COLOR": ""}


def run(command):
    with tempfile.TemporaryDirectory() as tmp:
        done = subprocess.run(["sh", "-c", command], env=environment(tmp), stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=120)
    out, err = (x.decode("utf-8", "backslashreplace").replace(tmp, "$TMP") for x in (done.stdout, done.stderr))
    return f"$ {command}\n[exit {done.returncode}]\n--- stdout\n{out}--- stderr\n{err}"


def main():
    files, wrong = sorted(glob.glob("golden/*.txt")), 0
    for path in files:
        with open(path, encoding="utf-8", newline="") as f:
            want = f.read()
        command = want.split("\n", 1)[0].removeprefix("$ ")
        got = run(command)
        if got == want:
            continue
        if WRITE:
            with open(path, "w", encoding="utf-8", newline="") as f:
                f.write(got)
            print(f"written: {path}")
            continue
        wrong += 1
        print(f"{path} differs; if the change is meant: make golden")
        sys.stdout.writelines(difflib.unified_diff(want.splitlines(True), got.splitlines(True), "expected", "now"))
    print(f"{len(files)} commands, {wrong} differ")
    sys.exit(1 if wrong or not files else 0)


main()
