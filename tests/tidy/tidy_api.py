#!/usr/bin/env python3
"""tidy_api.py: holds include/wick.h and libwick.so together: each public name has a comment directly before it, each call
that returns a status says its errors, the header compiles alone in C99 and C++, and the shared library exports exactly what
the header declares. WICK_TEST_BUILD names the build folder. Each rule first has to object to a bad sample."""
import os, re, shutil, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(ROOT, "include", "wick.h")


def declarations(text):
    """(line number, name, what, the comment directly before or None) of each public declaration in file order."""
    lines, out, i = text.split("\n"), [], 0
    while i < len(lines):
        l = lines[i]
        m = re.match(r"(WICK_API\b)|(typedef\b)|(enum\b)|#\s*define\s+(WICK_\w+)", l)
        if not m or "WICK_H" in l or re.match(r"#\s*define\s+WICK_API", l):
            i += 1
            continue
        start, depth, body = i, 0, ""
        while True:  # to the declaration's end: its semicolon outside braces, or the macro's line
            body += lines[i] + "\n"
            depth += lines[i].count("{") - lines[i].count("}")
            if m.group(4) and not lines[i].endswith("\\") or not m.group(4) and depth == 0 and ";" in lines[i]:
                break
            i += 1
        i += 1
        bare = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        if m.group(1):
            what, name = "function", re.search(r"(wick_\w+)\s*\(", bare).group(1)
        elif m.group(2):
            pointer = re.search(r"\(\*(\w+)\)", bare)
            what, name = "type", pointer.group(1) if pointer else re.search(r"(\w+)\s*;\s*$", bare).group(1)
        else:
            what, name = ("macro", m.group(4)) if m.group(4) else ("enum", re.search(r"WICK_\w+", bare).group(0))
        comment = None
        if start and lines[start - 1].rstrip().endswith("*/"):
            k = start - 1
            while "/*" not in lines[k]:
                k -= 1
            if lines[k].lstrip().startswith("/*"):
                comment = "\n".join(lines[k:start])
        if what == "macro" and comment is None and out and out[-1][2] == "macro" and out[-1][4] == start - 1:
            comment = out[-1][3]  # macros in one block share the comment above it
        out.append((start + 1, name, what, comment, i - 1, bare))
    return out


def undocumented(text):
    for line, name, what, comment, _, bare in declarations(text):
        if comment is None or re.fullmatch(r"/\* -+.*-+ \*/", comment.strip()):
            yield f"include/wick.h:{line}: {name} has no comment directly before it"
        elif what == "function" and re.match(r"WICK_API wick_status wick_", bare) and "Error" not in comment:
            yield f"include/wick.h:{line}: {name} returns a status, but its comment names no errors"


def functions(text):
    return {name for _, name, what, _, _, _ in declarations(text) if what == "function"}


def export_differences(exported, declared):
    yield from (f"libwick.so exports {s}, which wick.h does not declare" for s in sorted(exported - declared))
    yield from (f"wick.h declares {s}, which libwick.so does not export" for s in sorted(declared - exported))


def compiles_alone(text, compiler, flags):
    done = subprocess.run([compiler, *flags, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-"],
                          input=text + "\nint wick_header_is_whole;\n", capture_output=True, text=True)
    return [] if done.returncode == 0 else [f"include/wick.h does not compile with {compiler} {' '.join(flags)}:\n{done.stderr}"]


def self_test():
    bad = """/* Fine. */
WICK_API int wick_a(void);
WICK_API int wick_b(void);

/* ---- part ---- */
typedef struct wick_t wick_t;
/* Says nothing of what can go wrong. */
WICK_API wick_status wick_c(int a,
                            int b);
/* A number. */
#define WICK_N 3
"""
    assert [m.split(": ")[1].split()[0] for m in undocumented(bad)] == ["wick_b", "wick_t", "wick_c"], list(undocumented(bad))
    assert functions(bad) == {"wick_a", "wick_b", "wick_c"}
    assert len(list(export_differences({"wick_a", "wk_leak"}, {"wick_a", "wick_b"}))) == 2


def main():
    self_test()
    with open(HEADER, encoding="utf-8") as f:
        text = f.read()
    problems = list(undocumented(text))
    if shutil.which("cc"):
        assert compiles_alone("size_t no_such_type;", "cc", ["-std=c99", "-xc"])
        problems += compiles_alone(text, "cc", ["-std=c99", "-pedantic", "-xc"])
    if shutil.which("c++"):
        problems += compiles_alone(text, "c++", ["-std=c++11", "-xc++"])
    library = os.path.join(os.environ.get("WICK_TEST_BUILD", os.path.join(ROOT, "build", "release")), "libwick.so")
    if os.path.exists(library) and shutil.which("nm"):
        nm = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
        problems += export_differences({l.split()[-1] for l in nm.splitlines()}, functions(text))
    else:
        print(f"exports not checked: no {library}, or no nm")
    print("\n".join(problems + [f"{len(declarations(text))} public names, {len(problems)} objections"]))
    sys.exit(1 if problems else 0)


main()
