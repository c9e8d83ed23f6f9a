#!/usr/bin/env python3
"""tidy_source.py: holds the tree against the house rules: which folder may include which, calls that are banned, opening
comments, line length, tabs, unfinished marks, dead links in the documentation. `tidy_source.py FILE...` looks at those only.

A rule is a function of (path, text, code) that yields (line, message); code is text with comments and strings blanked out.
Each first has to find the fault in a sample of its own (SAMPLES), so that a rule that sees nothing is noticed."""
import os, re, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Top to bottom, as docs/architecture.md has it: a folder may include itself and what stands before it.
FOLDERS = "base tensor format text graph backend model adapter generate convert train quantize embed hub serve".split()
MAX_LINE = 132


def blank(text):
    """text with the inside of comments and string literals turned to spaces, so that lines and columns stay."""
    def spaces(m):
        s = m.group(0)
        return re.sub(r"[^\n]", " ", s) if s[0] == "/" else s[0] + re.sub(r"[^\n]", " ", s[1:-1]) + s[-1]
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', spaces, text, flags=re.S)


def found(pattern, text):
    for m in re.finditer(pattern, text, re.M):
        yield text.count("\n", 0, m.start()) + 1, m


def is_c(path):
    return path.endswith((".c", ".h", ".inc"))


def include_arrows(path, text, code):
    """src/FOLDER includes only what stands above FOLDER; examples only the public header."""
    if not is_c(path):
        return
    for line, m in found(r'^\s*#\s*include\s+"([^"]+)"', text):
        name = m.group(1)
        if path.startswith("examples/") and name != "wick.h":
            yield line, f'an example includes "{name}"; it may use "wick.h" only'
        if not path.startswith("src/") or name == "wick.h":
            continue
        here, there = path.split("/")[1], name.split("/")[0]
        if "/" not in name or there not in FOLDERS:
            yield line, f'"{name}": includes are written from src/, as "base/mem.h"'
        elif FOLDERS.index(there) > FOLDERS.index(here):
            yield line, f'src/{here}/ includes "{name}", but {there}/ stands below {here}/'


def source_folders(path, text, code):
    """Every source file stands in a known folder of src/."""
    if path.startswith("src/") and (path.count("/") < 2 or path.split("/")[1] not in FOLDERS):
        yield 1, f"{path} is in none of the folders of src/: {' '.join(FOLDERS)}"


# Where (a prefix of the path), which calls, except in which files, why.
BANNED = [
    ("", "strcpy strcat sprintf vsprintf gets strtok alloca tmpnam mktemp", (), "unbounded or not thread-safe"),
    ("src/", "exit _exit abort quick_exit system popen", (), "a library returns a status"),
    ("src/", "malloc calloc realloc reallocarray strdup strndup posix_memalign aligned_alloc free", ("src/base/mem.c",),
     "memory goes through base/mem.h"),
    ("src/", "open openat mmap munmap opendir", ("src/base/",), "files are read through base/file.h"),
    ("src/", "printf puts putchar perror", (), "a library prints nothing"),
    ("src/", "rand srand random drand48", (), "randomness is a counter and a seed"),
    ("src/", "pthread_create", ("src/base/thread.c", "src/generate/stream.c"), "work goes to the thread pool"),
    ("src/", "atoi atof strtod strtof setlocale", ("src/base/",), "depends on the locale or hides errors"),
]


def banned_calls(path, text, code):
    """Calls that have a safer or a single home."""
    if not is_c(path):
        return
    for where, names, home, why in BANNED:
        if path.startswith(where) and not path.startswith(tuple(home) or ("\0",)):
            for line, m in found(r"(?<![\w.>])(" + "|".join(names.split()) + r")\s*\(", code):
                yield line, f"{m.group(1)}(): {why}"
    if path.startswith("src/") and path != "src/backend/dump.c":  # WICK_DUMP asks for it
        for line, m in found(r"\bf(?:printf|puts|write)\s*\([^;]*\bstd(?:out|err)\b", code):
            yield line, "a library prints nothing"
        if not path.startswith("src/base/"):
            for line, m in found(r'\bfopen\s*\([^;]*"r[^;]*;', text):
                yield line, "files are read through base/file.h"


def instruction_sets(path, text, code):
    """Nothing outside src/backend/ and src/base/cpu.* knows an instruction set's name."""
    if path.startswith("src/") and is_c(path) and not path.startswith(("src/backend/", "src/base/cpu.")):
        for line, m in found(r"\b_mm\d*_\w+|immintrin\.h|arm_neon\.h|\bWK_CPU_(?:AVX|NEON|DOTPROD|I8MM)\w*|__AVX\w*", code):
            yield line, f"{m.group(0)} belongs into src/backend/"


def opening_comment(path, text, code):
    """Every file opens by saying what it is; C files and headers by their name."""
    if is_c(path):
        if not text.startswith(f"/* {os.path.basename(path)}: "):
            yield 1, f'the file must open with "/* {os.path.basename(path)}: what it does"'
    elif path.endswith((".py", ".sh", ".cmake", "CMakeLists.txt", "Makefile")):
        head = text.split("\n")
        if not any(l.startswith(("# ", '"""')) for l in head[:2]):
            yield 1, "the file must open with a comment that says what it is"


def plain_lines(path, text, code):
    """No tabs, no lines over the limit, no white space at line ends, no marks of unfinished work."""
    if path.startswith("tests/make_"):  # hold samples of text as they are
        return
    for i, l in enumerate(text.split("\n"), 1):
        if len(l) > MAX_LINE and not path.endswith(".md"):
            yield i, f"{len(l)} columns, at most {MAX_LINE}"
        if "\t" in l and not path.endswith("Makefile"):
            yield i, "a tab"
        if l != l.rstrip() and not path.endswith(".md"):
            yield i, "white space at the end of the line"
        if re.search(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b", l):
            yield i, "unfinished work is finished or not there"


def links(path, text, code):
    """Links between documents lead somewhere."""
    if path.endswith(".md"):
        for line, m in found(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            to = m.group(1)
            if "://" not in to and not os.path.exists(os.path.join(ROOT, os.path.dirname(path), to)):
                yield line, f"link to {to}, which is not there"


RULES = [include_arrows, source_folders, banned_calls, instruction_sets, opening_comment, plain_lines, links]
# (rule, path, text, does the rule object?)
SAMPLES = [
    (include_arrows, "src/base/x.c", '#include "model/arch.h"\n', True),
    (include_arrows, "src/model/x.c", '#include "base/mem.h"\n#include "model/arch.h"\n#include "wick.h"\n', False),
    (include_arrows, "src/model/x.c", '#include "arch.h"\n', True),
    (include_arrows, "examples/x.c", '#include "base/mem.h"\n', True),
    (source_folders, "src/x.c", "", True),
    (source_folders, "src/misc/x.c", "", True),
    (source_folders, "src/base/x.c", "", False),
    (banned_calls, "cli/x.c", "void f(char *a) { strcpy(a, b); }\n", True),
    (banned_calls, "src/text/x.c", "void f(void) { exit(1); }\n", True),
    (banned_calls, "cli/x.c", "int main(void) { exit(1); }\n", False),
    (banned_calls, "src/text/x.c", "void *f(void) { return malloc(3); }\n", True),
    (banned_calls, "src/base/mem.c", "void *f(void) { return malloc(3); }\n", False),
    (banned_calls, "src/text/x.c", "/* malloc(3) */ void f(void) { wk_free(p); a->free(p); puts_all(\"free(p)\"); }\n", False),
    (banned_calls, "src/text/x.c", 'FILE *f = fopen(path, "rb");\n', True),
    (banned_calls, "src/text/x.c", 'FILE *f = fopen(path, "wb");\n', False),
    (banned_calls, "src/text/x.c", 'fprintf(stderr, "%d", 3);\n', True),
    (banned_calls, "src/text/x.c", "int fd = open(path, 0);\n", True),
    (instruction_sets, "src/model/x.c", "if (f & WK_CPU_AVX2) g();\n", True),
    (instruction_sets, "src/backend/cpu/x.c", "if (f & WK_CPU_AVX2) g();\n", False),
    (opening_comment, "src/base/x.c", "#include <stdio.h>\n", True),
    (opening_comment, "src/base/x.c", "/* y.c: another file's. */\n", True),
    (opening_comment, "src/base/x.c", "/* x.c: does it. */\n", False),
    (opening_comment, "tests/x.py", "import os\n", True),
    (opening_comment, "scripts/x.sh", "#!/bin/sh\n# x.sh: does it.\n", False),
    (plain_lines, "src/base/x.c", "x" * 133 + "\n", True),
    (plain_lines, "src/base/x.c", "\tx\n", True),
    (plain_lines, "src/base/x.c", "x \n", True),
    (plain_lines, "src/base/x.c", "/* TO" + "DO: later */\n", True),
    (plain_lines, "src/base/x.c", "int x;\n", False),
    (links, "docs/x.md", "see [here](no-such-file.md)\n", True),
    (links, "docs/x.md", "see [here](../README.md#build)\n", False),
]


def check(rules, path, text):
    code = blank(text) if is_c(path) else text
    return [(line, message) for rule in rules for line, message in rule(path, text, code)]


def self_test():
    bad = [f"{r.__name__}: {'missed' if want else 'objected to'} {text!r} in {path}"
           for r, path, text, want in SAMPLES if bool(check([r], path, text)) != want]
    unproven = [r.__name__ for r in RULES if not any(s[0] is r and s[3] for s in SAMPLES)]
    if bad or unproven:
        sys.exit("tidy_source.py does not work itself:\n" + "\n".join(bad + unproven))


def tracked_files():
    """What git tracks or would; without git (a source archive), what the source folders hold."""
    try:
        git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
        if git.returncode == 0:
            return [f for f in git.stdout.split("\n") if f and os.path.exists(os.path.join(ROOT, f))]
    except FileNotFoundError:
        pass
    tops = ["include", "src", "cli", "examples", "bench", "scripts", "cmake", "docs", "tests"]
    walked = [(at, f) for top in tops for at, _, files in os.walk(os.path.join(ROOT, top)) for f in files]
    return [os.path.relpath(os.path.join(at, f), ROOT) for at, f in walked] + [
        f for f in os.listdir(ROOT) if os.path.isfile(os.path.join(ROOT, f))]


def main():
    self_test()
    names = (".c", ".h", ".inc", ".py", ".sh", ".cmake", ".md", "CMakeLists.txt", "Makefile")
    # tests/data holds other programs' output and bad samples.
    files = sys.argv[1:] or [f for f in tracked_files() if f.endswith(names) and not f.startswith(("tests/data/", "tests/bad/"))]
    n = 0
    for path in files:
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            for line, message in check(RULES, path, f.read()):
                print(f"{path}:{line}: {message}")
                n += 1
    print(f"{len(files)} files, {n} objections")
    sys.exit(1 if n else 0)


main()
