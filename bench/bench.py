#!/usr/bin/env python3
"""bench.py [--short] [--rounds N] [SECTION...]: measures wick beside its peers and writes tables into docs/benchmarks.md.

Sections: speed, avx2, packing, long, formats, memory, first-token, tokenizer, streaming, guessing, adapters, training, perplexity;
without any, all. Each table stands between its own marks in the document, so one section can be measured again alone. --short
goes through the motions quickly and writes nothing. Peers and their data go into the cache (see scripts/fetch.py) and stay there.
wick and a peer take turns, in rounds, with the same model file and the same number of threads (WICK_BENCH_THREADS, else all cores);
tables show medians over rounds and the median of the rounds' ratios."""
import argparse, datetime, glob, json, math, os, platform, re, shutil, statistics, struct, subprocess, sys, tempfile, time
import bars

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build/release"))
WICK = os.path.join(BUILD, "wick")
PAGE = os.path.join(ROOT, "docs", "benchmarks.md")
ROUNDS = 5  # of speed, avx2, packing and training, unless --rounds says otherwise; long has three at most
THREADS = int(os.environ.get("WICK_BENCH_THREADS") or os.cpu_count())
PACKAGES = {"numpy": "2.4.6", "gguf": "0.19.0", "tokenizers": "0.23.3"}
# What each section brings along: (megabytes to download, megabytes of disk, what).
NEEDS = {
    "smollm2": (93, 99, "SmolLM2-135M Q4_1"),
    "minilm": (84, 92, "all-MiniLM-L6-v2, for its vocabulary"),
    "llama.cpp": (77, 450, "llama.cpp's source and its native build (about 10 minutes, once)"),
    "llama.cpp-avx2": (77, 450, "llama.cpp's source and a build of it that goes no further than AVX2 (about 10 minutes, once)"),
    "llama.cpp-src": (77, 250, "llama.cpp's source, for text to tokenize"),
    "venv": (35, 160, "a virtual environment: " + ", ".join(PACKAGES)),
    "qwen": (0, 3770, "random weights in Qwen2.5-0.5B's shape: F16, F16 of bfloat16 numbers, Q8_0, Q4_0, safetensors"),
    "quantised": (0, 8900, "llama.cpp's tool's Q4_K_M of that shape; random weights in Llama-3.2-1B's: F16, Q2_K to Q8_0"),
    "peft": (3000, 6200, "a virtual environment with torch, transformers and PEFT (or name a Python that has them: PEERS=...)"),
}
SECTIONS = {
    "speed": ("smollm2", "llama.cpp", "venv", "qwen", "quantised"),
    "avx2": ("smollm2", "llama.cpp-avx2", "venv", "qwen", "quantised"),
    "packing": ("smollm2", "llama.cpp", "venv", "qwen", "quantised"),
    "long": ("llama.cpp", "venv", "qwen"),
    "formats": ("venv", "qwen"),
    "memory": ("smollm2", "venv", "qwen"),
    "first-token": ("smollm2",),
    "tokenizer": ("smollm2", "minilm", "llama.cpp-src", "venv"),
    "streaming": ("smollm2",),
    "guessing": ("smollm2",),
    "adapters": ("venv", "qwen"),
    "training": ("smollm2", "peft", "venv", "qwen"),
    "perplexity": ("smollm2", "llama.cpp"),
}


def say(text=""):
    print(text, flush=True)


def run(command, **more):
    """stdout of a command; its stderr is shown when it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"bench.py: {' '.join(map(str, command))} failed ({done.returncode}):\n{done.stderr[-4000:]}")
    return done.stdout


def fetch(what):
    done = subprocess.run([os.path.join(ROOT, "scripts", "fetch.py"), what], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip()


# ---- peers and data, made once ----

CACHE = fetch("cache")


def make_venv():
    folder = os.path.join(CACHE, "bench-venv")
    python = os.path.join(folder, "bin", "python")
    mark = os.path.join(folder, "packages.json")
    if not os.path.exists(mark) or json.load(open(mark)) != PACKAGES:
        say("Making a virtual environment for the peers")
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder])
        wanted = [f"{p}=={v}" for p, v in PACKAGES.items()]
        run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted])
        with open(mark, "w") as f:
            json.dump(PACKAGES, f)
    return python


def build_llama_cpp(folder, programs, flags, *options):
    """Folder of llama.cpp's programs, built with these compiler flags and CMake options."""
    source, build = fetch("llama.cpp"), os.path.join(CACHE, folder)
    bin_folder = os.path.join(build, "bin")
    if not all(os.path.exists(os.path.join(bin_folder, p)) for p in programs):
        say(f"Building llama.cpp ({' '.join(options)}): about 10 minutes, once")
        run(["cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options,
             f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}",
             "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF",
             "-DLLAMA_BUILD_MTMD=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF"])
        if subprocess.run(["ninja", "-C", build, *programs]).returncode:
            sys.exit("bench.py: llama.cpp did not build")
    return bin_folder


def make_llama_cpp():
    """llama-bench, built for this machine with all its instruction sets, and how in words. Where its AMX kernels crash (seen
    on a virtual Sapphire Rapids), they are left out, since a peer that runs is the only one to compare with."""
    native, how, programs = "-DGGML_NATIVE=ON", "GGML_NATIVE=ON", ["llama-bench", "llama-quantize", "llama-perplexity"]
    program = os.path.join(build_llama_cpp("llama.cpp-build", programs, "", native), "llama-bench")
    trial = [program, "-m", fetch("smollm2"), "-p", "8", "-n", "1", "-t", str(THREADS), "-r", "1"]
    if subprocess.run(trial, capture_output=True).returncode >= 0:
        return program, how
    say("llama.cpp crashes as it was built; building it once more without AMX")
    no_amx = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    bin_folder = build_llama_cpp("llama.cpp-build-no-amx", programs, no_amx, native)
    return os.path.join(bin_folder, "llama-bench"), how + " without AMX (its AMX kernels crash here)"


def make_shape(shape):
    """Folder of the models with random weights, those of one shape of bench/make_gguf.py made."""
    folder = os.path.join(CACHE, "bench-models")
    os.makedirs(folder, exist_ok=True)
    written = ("f16-bf16", "f16") if shape == "qwen" else ("f16-bf16",)  # of all bits: what no tool makes of the other
    if not all(os.path.exists(os.path.join(folder, f"{shape}-{kind}.gguf")) for kind in written):
        say(run([make_venv(), os.path.join(ROOT, "bench", "make_gguf.py"), folder, shape]).strip())
    return folder


def make_qwen():
    return make_shape("qwen")


SHAPES = {"qwen": "Qwen2.5-0.5B", "llama-1b": "Llama-3.2-1B"}
KINDS = {"F16": "F16 of all bits (extra)", "F16-BF16": "F16"}  # models trained in bfloat16 are the usual case


def random_model(shape, kind):
    """(name, path) of random weights in a model's shape; types that make_gguf.py does not write come from llama.cpp's tool."""
    folder = make_shape(shape)
    path = os.path.join(folder, f"{shape}-{kind.lower()}.gguf")
    if not os.path.exists(path):
        say(f"Quantising {SHAPES[shape]} to {kind}")
        tool = os.path.join(build_llama_cpp("llama.cpp-build", ["llama-quantize"], "", "-DGGML_NATIVE=ON"), "llama-quantize")
        run([tool, os.path.join(folder, shape + "-f16-bf16.gguf"), path + ".part", kind, THREADS])
        os.replace(path + ".part", path)
    return f"{SHAPES[shape]} {KINDS.get(kind, kind)}", path


def qwen_file(kind):
    return random_model("qwen", kind)


# ---- the page ----

def processor():
    """Its name, with family and model where there are such: virtual ones are called alike, whatever they are."""
    said = dict(re.findall(r"^([\w ]+\w)\s*:\s*(.+)$", open("/proc/cpuinfo").read(), re.M))
    name = said.get("model name", platform.machine())
    if "cpu family" not in said:
        return name
    zen = {25: " (Zen 3 or 4)", 26: " (Zen 5)"}.get(int(said["cpu family"]), "") if "AMD" in name else ""
    return f"{name} family {said['cpu family']} model {said['model']}{zen}"


def machine():
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read()).group(1)) / 1024 / 1024
    system = re.search(r'PRETTY_NAME="?([^"\n]+)', open("/etc/os-release").read()).group(1)
    return f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GB; {system}, Linux {platform.release()}"


def first_line(command):
    return run(command).strip().splitlines()[0]


def write_section(name, title, text, versions, short):
    command = f"make bench SECTION={name}" + (f" (WICK_BENCH_THREADS={THREADS})" if THREADS != os.cpu_count() else "")
    block = (f"<!-- bench:{name} -->\n## {title}\n{text.strip()}\n\n{datetime.date.today()}, `{command}`, {THREADS} threads; "
             f"{machine()}. {'; '.join(v.rstrip('.') for v in versions)}.\n<!-- /bench:{name} -->")
    say("\n" + block)
    if short:
        return
    page = "# Benchmarks\nMade by `make bench`; each section can be made again alone.\n"
    if os.path.exists(PAGE):
        page = open(PAGE).read()
    old = re.compile(rf"<!-- bench:{name} -->.*?<!-- /bench:{name} -->", re.S)
    page = old.sub(lambda m: block, page) if old.search(page) else page.rstrip() + "\n\n" + block + "\n"
    with open(PAGE, "w") as f:
        f.write(page)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows])


def wick_version():
    return first_line([WICK, "--version"])


# ---- sections ----

def wick_speed(model, n_prompt, n_gen, env=None):
    """(prefill, generation) in tokens a second, one repetition in a fresh process."""
    out = json.loads(run([WICK, "bench", model, "-p", n_prompt, "-n", n_gen, "-t", THREADS, "-r", 1, "-o", "json"], env=env))
    by = {bool(r["n_gen"]): r["tokens_per_second"] for r in out["results"]}
    return by[False], by[True]


def llama_speed(program, model, n_prompt, n_gen):
    out = json.loads(run([program, "-m", model, "-p", n_prompt, "-n", n_gen, "-t", THREADS, "-r", 1, "-o", "json"]))
    by = {bool(r["n_gen"]): r["avg_ts"] for r in out}
    return by[False], by[True]


def alternate(rounds, *measures):
    """rounds × [each measure's result]; every other round in the opposite order."""
    results = []
    for i in range(rounds):
        order = list(range(len(measures)))[::-1 if i % 2 else 1]
        at = {k: measures[k]() for k in order}
        results.append([at[k] for k in range(len(measures))])
        if isinstance(at[0], tuple):
            shown = [" ".join(f"{v:.4g}" for v in r if isinstance(v, float)) for r in results[-1]]
            say(f"  round {i + 1} of {rounds}: " + "   ".join(shown))
    return results


def find_peaks():
    """What this machine does at most, now: GB/s of reads, G operations a second by kind of number; 0: not known."""
    return json.loads(run([os.path.join(BUILD, "bench", "linear"), "-t", THREADS, "peaks"]))


def limits(path, n_prompt, peak):
    """Tokens a second that the peaks allow: a prompt's by the operations of the linear layers, a generated one's by the bytes of
    weights that it reads. 0: not known."""
    tensors = json.loads(run([WICK, "inspect", path, "--tensors", "-o", "json"]))["tensors"]
    matrices = {t["name"]: t for t in tensors if len(t["shape"]) == 2}
    head = matrices.get("output.weight", matrices["token_embd.weight"])
    layers = [t for name, t in matrices.items() if name.startswith("blk.")]
    size = lambda t: t["shape"][0] * t["shape"][1]
    # A prompt wants one row: of logits, and of all that comes behind the last layer's keys and values.
    last = f"blk.{max(int(t['name'].split('.')[1]) for t in layers)}."
    behind = tuple(last + part for part in ("attn_q.", "attn_output", "ffn"))
    once = [t for t in layers if t["name"].startswith(behind)] + [head]
    ops = 2 * (sum(map(size, layers + [head])) - sum(map(size, once)) * (1 - 1 / n_prompt))
    number = "fp32" if path.endswith("-f16.gguf") or not peak["bf16"] else "bf16"
    most = peak[number if layers[0]["type"] == "F16" else "int8"]
    return most * 1e9 / ops, peak["read"] * 1e9 / (sum(t["bytes"] for t in layers) + head["bytes"])


def speed_rows(models, rounds, n_prompt, n_gen, program, env=None):
    """A row of figures per model and kind of work, wick and llama.cpp taking turns."""
    rows = []
    for name, path in models:
        say(f"{name}: prefill and generation, llama.cpp and wick")
        # Peaks beside wick in each round: what the host's other guests leave of reads moves between rounds.
        results = alternate(rounds, lambda: llama_speed(program, path, n_prompt, n_gen),
                            lambda: wick_speed(path, n_prompt, n_gen, env), find_peaks)
        limit = [limits(path, n_prompt, peak) for _, _, peak in results]
        peak = {k: statistics.median(p[k] for _, _, p in results) for k in results[0][2]}
        for k, what in enumerate((f"prefill {n_prompt}", f"generate {n_gen}")):
            wick = statistics.median(w[k] for _, w, _ in results)
            share = statistics.median(w[k] / m[k] if m[k] else 0 for (_, w, _), m in zip(results, limit))
            rows.append({"model": name, "what": what, "wick": wick, "llama.cpp": statistics.median(l[k] for l, _, _ in results),
                         "peak": peak, "ratios": sorted(w[k] / l[k] for l, w, _ in results),
                         "limit": wick / share if share else 0})
    return rows


def speed_table(rows, share):
    """The rows as a table; share: also of the machine's limit."""
    head = ["model", "what", "wick", "llama.cpp", "ratio", "spread"] + ["share of limit"] * share
    lines = []
    for r in rows:
        ratios, of_limit = r["ratios"], f"{100 * r['wick'] / r['limit']:.0f} %" if r["limit"] else "?"
        lines.append((r["model"], r["what"], f"{r['wick']:.1f}", f"{r['llama.cpp']:.1f}", f"{statistics.median(ratios):.2f}",
                      f"{ratios[0]:.2f}..{ratios[-1]:.2f}", *[of_limit] * share))
    return table(head, lines)


def speed(short):
    rounds, n_prompt, n_gen = (1, 64, 8) if short else (ROUNDS, 512, 64)
    program, how = make_llama_cpp()
    models = [("SmolLM2-135M Q4_1", fetch("smollm2")), *(qwen_file(t) for t in ("Q4_0", "Q8_0", "Q4_K_M", "F16-BF16")),
              *(random_model("llama-1b", t) for t in ("Q4_K_M", "Q6_K", "Q8_0")), qwen_file("F16")]
    rows = speed_rows(models, rounds, n_prompt, n_gen, program)
    svg = bars.draw([(what, [(r["model"], r["wick"], r["llama.cpp"], r["limit"]) for r in rows if r["what"] == what])
                     for what in dict.fromkeys(r["what"] for r in rows)])
    if not short:
        with open(os.path.join(ROOT, "docs", "speed.svg"), "w") as f:
            f.write(svg)
    peak = {k: statistics.median(r["peak"][k] for r in rows) for k in rows[0]["peak"]}
    text = ("![Speed of wick and llama.cpp by model, as shares of the machine's limit](speed.svg)\n\n"
            f"Tokens a second, medians of {rounds} rounds; spread: the rounds' smallest and largest ratio. The limit of a prompt "
            "is the operations of its linear layers (behind the last layer's keys and values of one row) at the peak for their "
            "numbers, of a generated token the bytes of weights that it reads at the peak of reads. Peaks were "
            "measured beside wick in each round, and a share is the median of the rounds' shares; "
            f"medians: reads {peak['read']:.1f} GB/s, int8 {peak['int8']:.0f}, bfloat16 {peak['bf16']:.0f}, "
            f"float32 {peak['fp32']:.0f} G operations a second. F16 holds bfloat16's numbers, as models trained so do.\n\n")
    text += speed_table(rows, True)
    peer = f"llama.cpp from llama-cpp-python 0.3.36, {how}"
    write_section("speed", "Speed beside llama.cpp", text, [wick_version(), peer, first_line(["cc", "--version"])], short)


def avx2(short):
    """Both held to AVX2: wick when it runs, llama.cpp when it is built."""
    rounds, n_prompt, n_gen = (1, 64, 8) if short else (ROUNDS, 512, 64)
    options = ["-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON", "-DGGML_AVX512=OFF"]
    program = os.path.join(build_llama_cpp("llama.cpp-build-avx2", ["llama-bench"], "", *options), "llama-bench")
    models = [("SmolLM2-135M Q4_1", fetch("smollm2")), *(qwen_file(t) for t in ("Q4_0", "Q8_0", "Q4_K_M"))]
    rows = speed_rows(models, rounds, n_prompt, n_gen, program, dict(os.environ, WICK_CPU="avx2"))
    text = (f"Tokens a second, medians of {rounds} rounds; spread: the rounds' smallest and largest ratio. wick with "
            "WICK_CPU=avx2, llama.cpp built without AVX-512.\n\n") + speed_table(rows, False)
    peer = f"llama.cpp from llama-cpp-python 0.3.36, {' '.join(o[2:] for o in options)}"
    write_section("avx2", "Speed with AVX2 alone", text, [wick_version(), peer, first_line(["cc", "--version"])], short)


def packing(short):
    """How fast files become packed weights, beside a copy by the same threads, and how much memory that takes."""
    pairs, mb, rows = 1 if short else ROUNDS, 1e6, []
    models = [("SmolLM2-135M Q4_1", fetch("smollm2")), *(qwen_file(t) for t in ("Q4_0", "Q8_0", "Q4_K_M", "F16-BF16", "F16")),
              *(random_model("llama-1b", t) for t in ("Q2_K", "Q3_K_M", "IQ4_XS", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16-BF16"))]
    for name, path in models:
        r = json.loads(run([os.path.join(BUILD, "bench", "packing"), path, pairs, THREADS]))
        size = r["bytes"]
        rates = [[size / seconds / 1e9 for seconds in both] for both in (((a + b) / 2, pack) for a, pack, b in r["counted"])]
        ratios = sorted(pack / copy for copy, pack in rates) or [math.nan]
        copy, pack = (statistics.median(r[k] for r in rates) if rates else math.nan for k in range(2))
        rows.append((name, f"{copy:.1f}", f"{pack:.1f}", f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f}..{ratios[-1]:.2f}",
                     f"{len(rates)} of {r['tried']}", f"{r['peak'] / mb:.0f}", f"{(1.15 * size + 24 * 1024 * 1024) / mb:.0f}"))
        say("  ".join(rows[-1]))
    text = ("GB of a file in the system's cache a second: copied into fresh memory, and packed, by the same number of threads in "
            f"turns. What a shared host grants changes within seconds, so a pack counts only between two copies that agree "
            "within 15 %, and its ratio is to their mean; medians of those that count. Peak: the most memory that the "
            "process held, in MB; the limit is 1.15 x the file + 24 MiB.\n\n")
    text += table(("model", "copied", "packed", "ratio", "spread", "counted", "peak", "limit"), rows)
    write_section("packing", "Packing at load", text, [wick_version()], short)


def write_ids(path, ids):
    """A safetensors file with input_ids [1, S], as `wick logits` reads it."""
    data = struct.pack(f"<{len(ids)}q", *ids)
    header = json.dumps({"input_ids": {"dtype": "I64", "shape": [1, len(ids)], "data_offsets": [0, len(data)]}}).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header + data)


def formats(short):
    rounds, n_prompt, n_gen = (1, 64, 8) if short else (7, 512, 64)
    files = [qwen_file("F16")[1], os.path.join(make_qwen(), "qwen-f16")]
    with tempfile.TemporaryDirectory() as tmp:
        ids = os.path.join(tmp, "ids.safetensors")
        outs = [os.path.join(tmp, f"{i}.safetensors") for i in range(2)]
        write_ids(ids, [(i * 7919 + 1) % 150000 for i in range(32)])
        for file, out in zip(files, outs):
            run([WICK, "logits", file, "--ids", ids, "--out", out, "-t", THREADS])
        same = "the same to the bit" if open(outs[0], "rb").read() == open(outs[1], "rb").read() else "DIFFERENT"
    both = alternate(rounds, *(lambda f=f: wick_speed(f, n_prompt, n_gen) for f in files))
    rows = []
    for k, what in enumerate((f"prefill {n_prompt}", f"generate {n_gen}")):
        a, b = [r[0][k] for r in both], [r[1][k] for r in both]
        ratio = statistics.median(y / x for x, y in zip(a, b))
        rows.append((what, f"{statistics.median(a):.1f}", f"{statistics.median(b):.1f}", f"{ratio:.3f}"))
    text = f"The same float16 weights from both formats; logits of 32 positions are {same}. Tokens a second.\n\n"
    text += table(("what", "GGUF", "safetensors", "ratio"), rows)
    write_section("formats", "GGUF beside safetensors", text, [wick_version()], short)


def peak_rss(command):
    """Peak resident bytes of a command's process, as the kernel counted them."""
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as p:
        error = p.stderr.read()
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        sys.exit(f"bench.py: {' '.join(map(str, command))} failed:\n{error}")
    return usage.ru_maxrss * 1024


def memory(short):
    n_ctx, mb, rows, peak = 512, 1e6, [], {}
    smol_kv, qwen_kv = 30 * 3 * 64, 24 * 2 * 64  # layers × KV heads × head size
    models = [("SmolLM2-135M Q4_1", fetch("smollm2"), smol_kv), *((*qwen_file(t), qwen_kv) for t in ("Q4_0", "Q8_0", "F16")),
              ("Qwen2.5-0.5B F16 safetensors", os.path.join(make_qwen(), "qwen-f16"), qwen_kv)]
    for name, path, kv_values in models:
        files = [path] if os.path.isfile(path) else glob.glob(path + "/*.safetensors")
        size, kv = sum(os.path.getsize(f) for f in files), 2 * 2 * kv_values * n_ctx  # K and V, two bytes each
        command = [WICK, "bench", path, "-p", n_ctx, "-n", 8, "-r", 1, "-t", THREADS]  # needs no tokenizer
        used = statistics.median(peak_rss(command) for _ in range(1 if short else 3))
        limit = 1.15 * size + kv + 24 * 1024 * 1024
        peak[name] = used - kv
        rows.append((name, *(f"{n / mb:.0f}" for n in (size, kv, used, limit)), f"{used / size:.2f}"))
    share = peak["Qwen2.5-0.5B Q4_0"] / peak["Qwen2.5-0.5B F16"]
    text = (f"Peak resident memory in MB of `wick bench` with a context of {n_ctx} tokens (float16 KV)."
            " The limit is 1.15 × the file + the KV "
            f"cache + 24 MiB. Without the KV cache Q4_0 takes {share:.3f} of F16's memory.\n\n")
    text += table(("model", "file", "KV cache", "peak", "limit", "peak / file"), rows)
    write_section("memory", "Memory", text, [wick_version()], short)


def long(short):
    """Prefill of a long prompt beside llama.cpp, and memory by length: the KV cache grows with it and nothing else may. About 12
    minutes."""
    lengths, rounds = ((512, 1024, 2048), 1) if short else ((8192, 16384, 32000), min(ROUNDS, 3))
    (program, how), (name, path) = make_llama_cpp(), qwen_file("Q8_0")
    flags = ["-n", 0, "-r", 1, "-t", THREADS]
    ours = [WICK, "bench", path, "--no-warmup", "-o", "json", *flags]
    theirs = [program, "-m", path, "--no-warmup", "-o", "json", *flags, "-p", lengths[0]]
    say(f"{name}: prefill of {lengths[0]}, wick and llama.cpp")
    both = alternate(rounds, lambda: (json.loads(run([*ours, "-p", lengths[0]]))["results"][0]["tokens_per_second"],),
                     lambda: (json.loads(run(theirs))[0]["avg_ts"],))
    wick, peer = (statistics.median(b[i][0] for b in both) for i in range(2))
    ratio = statistics.median(w[0] / l[0] for w, l in both)
    rows, kv_bytes = [], 24 * 2 * 64 * 2 * 2  # layers × KV heads × head size × K and V × two bytes, of a position
    for n in lengths:
        used, kv = peak_rss([*ours, "-p", n]), kv_bytes * n
        rows.append((n, f"{kv / 1e6:.0f}", f"{used / 1e6:.0f}", f"{(used - kv) / 1e6:.0f}"))
    text = (f"{name}, a prompt of {lengths[0]} tokens in batches of 512, from an empty context: wick {wick:.0f} tokens a second, "
            f"llama.cpp {peer:.0f}, ratio {ratio:.2f} ({f'median of {rounds}' if rounds > 1 else 'one round'}). Peak resident "
            "memory in MB by length of the prompt, whose float16 KV cache is the part that grows:\n\n")
    text += table(("tokens", "KV cache", "peak", "without it"), rows)
    write_section("long", "Long prompts", text, [wick_version(), f"llama.cpp from llama-cpp-python 0.3.36, {how}"], short)


def first_token(short):
    model, times = fetch("smollm2"), []
    for _ in range(4 if short else 21):
        start = time.perf_counter()
        with subprocess.Popen([WICK, "run", model, "-p", "What is gravity?", "-n", "4", "--temp", "0", "-t", str(THREADS)],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as p:
            got = p.stdout.read(1)
            times.append((time.perf_counter() - start) * 1e3)
            p.stdout.read()
        if not got or p.returncode:
            sys.exit("bench.py: wick run printed nothing")
    times = times[1:]  # the first run warmed the file cache
    text = (f"From the start of the process to the first byte on stdout, SmolLM2-135M Q4_1, a short question through the chat "
            f"template, file in the cache: median of {len(times)} runs {statistics.median(times):.0f} ms, fastest "
            f"{min(times):.0f}, slowest {max(times):.0f}.")
    write_section("first-token", "First token", text, [wick_version()], short)


PEER_TOKENIZER = r'''
import json, sys, time, tokenizers
tok = tokenizers.Tokenizer.from_file(sys.argv[1])
tok.no_truncation()  # MiniLM's file cuts at 128 tokens
tok.no_padding()
text = open(sys.argv[2], "rb").read()
blocks, at = [], 0
while at < len(text):  # as bench/tokenize.c cuts
    end = text.find(b"\n", min(at + 4096, len(text)))
    end = end + 1 if end >= 0 else len(text)
    blocks.append(text[at:end].decode())
    at = end
seconds = []
for _ in range(int(sys.argv[3])):
    n = check = spent = 0
    for b in blocks:
        start = time.perf_counter()
        ids = tok.encode(b, add_special_tokens=False).ids
        spent += time.perf_counter() - start
        n += len(ids)
        for i in ids:
            check = (check * 31 + i) % 1000000007
    seconds.append(spent)
print(json.dumps({"bytes": len(text), "seconds": seconds, "ids": n, "checksum": check}))
'''


def gather(pattern, path, limit):
    """Text files of llama.cpp's source that match, whole and valid UTF-8, one after the other up to limit bytes."""
    parts, n = [], 0
    for f in sorted(glob.glob(pattern, recursive=True)):
        text = open(f, "rb").read()
        try:
            text.decode()
        except UnicodeDecodeError:
            continue
        if n + len(text) <= limit:
            parts.append(text)
            n += len(text)
    with open(path, "wb") as f:
        f.write(b"\n".join(parts))


def tokenizer(short):
    source, python, rounds = fetch("llama.cpp"), make_venv(), 1 if short else 7
    fetch("smollm2"), fetch("templates"), fetch("minilm")
    run([sys.executable, os.path.join(ROOT, "tests", "make_tokenizer_json.py"), CACHE])
    rows, remarks = [], []
    with tempfile.TemporaryDirectory() as tmp:
        texts = {"English": os.path.join(tmp, "english.txt"), "C++": os.path.join(tmp, "code.txt")}
        gather(source + "/**/*.md", texts["English"], 1_000_000)
        gather(source + "/src/*.cpp", texts["C++"], 1_000_000)
        for name, folder in (("smollm2 (BPE)", "tokenizers/smollm2-json"), ("llama-2 (BPE)", "tokenizers/llama-2-json"),
                             ("unigram-nfkc (unigram)", "tokenizers/unigram-nfkc-json"),
                             ("all-MiniLM-L6-v2 (WordPiece)", "minilm")):
            folder = os.path.join(CACHE, folder)
            for kind, path in texts.items():
                say(f"{name}, {kind}")
                env = dict(os.environ, TOKENIZERS_PARALLELISM="false")
                wick = [os.path.join(BUILD, "bench", "tokenize"), folder, path, 2]
                peer = [python, "-c", PEER_TOKENIZER, os.path.join(folder, "tokenizer.json"), path, 2]
                both = alternate(rounds, *(lambda c=c: json.loads(run(c, env=env)) for c in (wick, peer)))
                a, b = both[0]
                if (a["ids"], a["checksum"]) != (b["ids"], b["checksum"]):
                    remarks.append(f"{name}, {kind}: the ids differ ({a['ids']} and {b['ids']}).")
                ours, theirs = ([r[k]["bytes"] / min(r[k]["seconds"]) / 1e6 for r in both] for k in range(2))
                ratio = statistics.median(x / y for x, y in zip(ours, theirs))
                rows.append((name, kind, f"{statistics.median(ours):.1f}", f"{statistics.median(theirs):.2f}", f"{ratio:.1f}"))
    text = ("Megabytes a second on one thread, blocks of 4 kB; the text is llama.cpp's documentation and source. "
            + (" ".join(remarks) or "Both give the same ids.") + "\n\n")
    text += table(("vocabulary", "text", "wick", "tokenizers", "ratio"), rows)
    write_section("tokenizer", "Tokenizing beside the tokenizers package", text,
                  [wick_version(), f"tokenizers {PACKAGES['tokenizers']}"], short)


def streaming(short):
    program = os.path.join(BUILD, "bench", "streaming")
    out = json.loads(run([program, fetch("smollm2"), "-n", 16 if short else 96, "-r", 2 if short else 20, "-t", THREADS]))
    pairs = out["callback"]
    inside = statistics.median(p["stream_s"] / p["with_s"] for p in pairs)
    callback = statistics.median(p["with_s"] / p["without_s"] for p in pairs)
    ring = statistics.median(p["ring_s"] / p["callback_s"] for p in out["ring"])
    per_size = {n: statistics.median(r["s"] for r in out["rings"] if r["slots"] == n)
                for n in sorted({r["slots"] for r in out["rings"]})}
    decode, allocated = out["decode"], out["allocations"]
    text = (f"SmolLM2-135M Q4_1, {out['tokens']} tokens, {len(pairs)} rounds of alternating pairs; every way gave the same ids and "
            f"the same text.\n\n| what | measured | aim | limit |\n|---|---:|---:|---:|\n"
            f"| streaming code's share of a run, counted inside the run | {inside * 100:.3f} % | < 1 % | 5 % |\n"
            f"| a run with a callback beside one without | {(callback - 1) * 100:+.2f} % | < 1 % | 5 % |\n"
            f"| pulled from a ring of 64 beside a callback | {(ring - 1) * 100:+.2f} % | 2 % | 10 % |\n"
            f"| allocations between tokens, callback / ring | {allocated['callback']} / {allocated['ring']} | 0 | 0 |\n"
            f"| ids to text as they come, by the table of tokens' bytes | {decode['table_ns']:.0f} ns a token | | |\n"
            f"| the same by decoding the whole text anew for each token | {decode['anew_ns']:.0f} ns a token | | |\n\n"
            "| slots of the ring | " + " | ".join(map(str, per_size)) + " |\n|---|" + "---:|" * len(per_size) + "\n"
            "| tokens/s | " + " | ".join(f"{out['tokens'] / s:.0f}" for s in per_size.values()) + " |")
    write_section("streaming", "Streaming", text, [wick_version()], short)


COPY = """Copy this list of facts exactly:
1. The river Amstel flows through the city of Amsterdam and ends in the bay called IJ.
2. The capital of Australia is Canberra, which lies between Sydney and Melbourne.
3. Copper melts at 1085 degrees Celsius and is a good conductor of electricity.
4. The Great Wall of China was built over many centuries by several dynasties.
5. Water boils at a lower temperature on high mountains because the air pressure is lower.
"""
RENAME = """Rename the variable total to amount in this program and print all of it:
def mean(values):
    total = 0
    for value in values:
        total = total + value
    return total / len(values)

def largest(values):
    best = values[0]
    for value in values:
        if value > best:
            best = value
    return best
"""


def guessing(short):
    """Tokens guessed ahead from the text so far; the answers must be the same."""
    prompts = (("copies a list", COPY), ("repeats a program with changes", RENAME),
               ("tells a story", "Tell a story about a fox who learns to sail."))
    sizes, rounds, rows = (0, 8, 16, 32), 1 if short else 5, []
    for name, prompt in prompts:
        rates, answer, right = {n: [] for n in sizes}, None, 0
        for _ in range(rounds):
            for n in sizes:
                out = json.loads(run([WICK, "run", fetch("smollm2"), "-p", prompt, "--temp", 0, "-n", 128, "-t", THREADS,
                                      "-o", "json", "--draft-max", n]))
                if out["ids"] != (answer := answer or out["ids"]):
                    sys.exit(f"bench.py: with {n} guesses the answer is another")
                rates[n].append(out["timings"]["predicted_per_second"])
                if n == 16 and out["timings"].get("draft_n"):
                    right = out["timings"]["draft_n_accepted"] / out["timings"]["draft_n"]
        medians = {n: statistics.median(r) for n, r in rates.items()}
        faster = " | ".join(f"{medians[n]:.0f} ({medians[n] / medians[0]:.2f} x)" for n in sizes[1:])
        rows.append(f"| {name} | {medians[0]:.0f} | {faster} | {right * 100:.0f} % |")
    text = ("SmolLM2-135M Q4_1, greedy, up to 128 tokens, guesses from the text so far; generated tokens a second, median of "
            f"{rounds} rounds. Every answer is the one without guesses, token by token.\n\n"
            "| the answer | without | --draft-max 8 | 16 | 32 | of 16 right |\n|---|---:|---:|---:|---:|---:|\n" + "\n".join(rows))
    write_section("guessing", "Guessing ahead", text, [wick_version()], short)


def adapters(short):
    """What an adapter costs, and what changing it costs."""
    def measure(kind):
        lines = run([os.path.join(BUILD, "bench", "adapters"), qwen_file(kind)[1], 1 if short else 9]).splitlines()
        return {row["what"]: row for row in map(json.loads, lines)}

    by, bf16 = measure("Q8_0"), measure("F16-BF16")
    swap = by["swap"]
    text = ("Qwen2.5-0.5B's shape in Q8_0 (bfloat16 where said), random adapters on all seven projections unless said; medians.\n\n"
            "| what | measured | aim |\n|---|---:|---:|\n"
            f"| rank 16, generation | {by['generate']['share'] * 100:+.1f} % | 8 % |\n"
            f"| rank 16, a prompt of 512 tokens | {by['prompt']['share'] * 100:+.1f} % | 10 % |\n"
            f"| the same, generation with bfloat16 weights | {bf16['generate']['share'] * 100:+.1f} % | |\n"
            f"| the same, a prompt with bfloat16 weights | {bf16['prompt']['share'] * 100:+.1f} % | 5 % |\n"
            f"| swapping a resident one, of {swap['n']} | {swap['median_us']:.2f} us | 10 us |\n"
            f"| memory that these swaps added; allocations | {swap['grew_mb']:.1f} MB; {swap['allocations']} | 0 |\n"
            f"| loading rank 8 on q and v, warm | {by['load q v']['seconds'] * 1e3:.1f} ms | 5 ms |\n"
            f"| loading rank 8 on all seven, warm | {by['load all']['seconds'] * 1e3:.1f} ms | 5 ms |")
    write_section("adapters", "Adapters", text, [wick_version()], short)


def peft_python():
    """A Python with torch, transformers and PEFT: PEERS, else one made in the cache."""
    if os.environ.get("PEERS"):
        return os.environ["PEERS"]
    folder = os.path.join(CACHE, "peft-venv")
    if not os.path.exists(os.path.join(folder, "packages.json")):
        run([sys.executable, "-m", "venv", folder])
        run([os.path.join(folder, "bin", "python"), "-m", "pip", "install", "-q", "torch==2.15.0", "transformers==5.23.0",
             "peft==0.21.0", "gguf==0.19.0"])
        open(os.path.join(folder, "packages.json"), "w").close()
    return os.path.join(folder, "bin", "python")


def smollm2_bf16():
    """SmolLM2 with its weights in bfloat16."""
    path = os.path.join(CACHE, "bench-models", "smollm2-bf16.gguf")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as tmp:  # a file's quantised weights become floats in a folder
            run([WICK, "convert", fetch("smollm2"), "-o", tmp + "/smollm2", "--type", "bf16"])
            run([WICK, "convert", tmp + "/smollm2", "-o", path, "--type", "bf16"])
    return path


def training(short):
    """Steps of LoRA beside PEFT's, on the same file; and what masked tokens save."""
    steps, rounds = (1, 1) if short else (4, ROUNDS)
    program, model, python = os.path.join(BUILD, "bench", "train"), fetch("smollm2"), peft_python()
    peft, qwen = os.path.join(ROOT, "bench", "peft_train.py"), qwen_file("Q8_0")[1]
    how = ["--steps", steps, "--threads", THREADS]
    half, most = "wick, half of the tokens masked", "wick, Qwen2.5-0.5B Q8_0, 9 in 10 masked"
    ways = {"wick": [program, model, *how, "--no-checkpoint"],
            half: [program, model, *how, "--no-checkpoint", "--masked", 50],
            "wick, activations computed again": [program, model, *how],
            "wick, from bfloat16 weights": [program, smollm2_bf16(), *how, "--no-checkpoint"],
            "PEFT, float32": [python, peft, model, "float32", 512, steps, THREADS],
            "PEFT, bfloat16": [python, peft, model, "bfloat16", 512, steps, THREADS],
            "wick, Qwen2.5-0.5B Q8_0": [program, qwen, *how, "--no-checkpoint"],
            most: [program, qwen, *how, "--no-checkpoint", "--masked", 90]}
    runs = {name: [] for name in ways}
    for _ in range(rounds):
        for name, command in ways.items():
            say(name)
            runs[name].append(json.loads(run(command).strip().splitlines()[-1]))
    speeds = {name: [r["tokens_per_second"] for r in rs] for name, rs in runs.items()}
    best = max((v for name, v in speeds.items() if name.startswith("PEFT")), key=statistics.median)
    rows = []
    for name, v in speeds.items():
        to_peft = "" if "Qwen" in name else f"{statistics.median(a / b for a, b in zip(v, best)):.2f}"
        to_whole = f"{statistics.median(r['of_whole'] for r in runs[name]):.2f}" if "of_whole" in runs[name][0] else ""
        rows.append((name, f"{statistics.median(v):.0f}", to_peft, to_whole, f"{max(r['peak_mb'] for r in runs[name]):.0f}"))
    text = (f"SmolLM2-135M Q4_1 unless said, rank 8 on all seven projections, AdamW, steps of 1 x 512 random tokens, {rounds} "
            f"rounds of {steps} steps; medians, ratios of each round, and of pairs of steps with labels masked and with all.\n\n" +
            table(("what", "tokens/s", "of PEFT's best", "of all labels", "peak MB"), rows))
    write_section("training", "Training beside PEFT", text, [wick_version(), "torch 2.15, transformers 5.23, PEFT 0.21"], short)


BIBLE = "gen1:1-rev22:21"
WINDOWS, WINDOWS_SHORT = 100, 2  # of 512 tokens, each fewer than 2,560 bytes
# llama-quantize's words for each type; all matrices whose rows it divides become it, the others what llama.cpp falls back to.
F16_OF_BF16 = "F16 of bfloat16 numbers"
PERPLEXITY_TYPES = {
    "F16": ("F16",), F16_OF_BF16: ("F16",), "BF16": ("BF16",), "Q8_0": ("Q8_0",), "Q5_1": ("Q5_1",),
    "Q5_0": ("Q5_0",), "Q4_1": ("Q4_1",), "Q4_0": ("Q4_0",), "IQ4_NL": ("IQ4_NL",),
    "MXFP4": ("--token-embedding-type", "mxfp4", "--tensor-type", "attn=mxfp4", "--tensor-type", "ffn=mxfp4", "Q8_0"),
    "Q6_K": ("Q6_K",), "Q5_K": ("Q5_K_S",), "Q4_K": ("Q4_K_S",), "IQ4_XS": ("IQ4_XS",), "Q3_K": ("Q3_K_S",), "Q2_K": ("Q2_K",),
}
PERPLEXITY_SHORT = ("BF16", "Q8_0", "Q4_0", "Q4_K")


def quantize(program, model, out, words):
    run([program, "--allow-requantize", "--pure", *words[:-1], model, out, words[-1], THREADS])
    return out


def llama_perplexity(program, model, text, windows):
    out = run([program, "-m", model, "-f", text, "-c", 512, "--chunks", windows, "-t", THREADS])
    return float(re.search(rf"\[{windows}\]([0-9.]+)", out).group(1))  # the estimate after so many


def wick_perplexity(model, text, windows):
    out = json.loads(run([WICK, "eval", model, "-f", text, "-c", 512, "--chunks", windows, "-t", THREADS, "-o", "json"]))
    assert out["n_chunks"] == windows, out
    return out["perplexity"]


def kept_results(path):
    return json.load(open(path)) if os.path.exists(path) else {}


def perplexity(short):
    """Quality beside llama.cpp: the same files, the same windows. llama.cpp's results take two hours on two cores and never change:
    they are kept in the cache."""
    tools, how = make_llama_cpp()
    tool = {name: os.path.join(os.path.dirname(tools), f"llama-{name}") for name in ("quantize", "perplexity")}
    windows, rows, kept = WINDOWS_SHORT if short else WINDOWS, [], os.path.join(CACHE, "bench-perplexity.json")
    with tempfile.TemporaryDirectory(dir=CACHE) as tmp:
        text, bases = os.path.join(tmp, "bible.txt"), {}
        with open(text, "w") as f:
            f.write(run(["bible", "-f", BIBLE])[:windows * 2560])
        bases["F32"] = quantize(tool["quantize"], fetch("smollm2"), os.path.join(tmp, "f32.gguf"), ("F32",))
        bases["BF16"] = quantize(tool["quantize"], bases["F32"], os.path.join(tmp, "bf16.gguf"), ("BF16",))
        for name in PERPLEXITY_SHORT if short else PERPLEXITY_TYPES:
            words = PERPLEXITY_TYPES[name]
            model = bases.get(name) or quantize(tool["quantize"], bases["BF16" if name == F16_OF_BF16 else "F32"],
                                                os.path.join(tmp, "model.gguf"), words)
            theirs, key = kept_results(kept), f"{' '.join(words)}, {name}, {windows} windows, {how}"
            if key not in theirs:
                theirs[key] = llama_perplexity(tool["perplexity"], model, text, windows)
                with open(kept, "w") as f:
                    json.dump(theirs, f, indent=1)
            ours = wick_perplexity(model, text, windows)
            more = ours / theirs[key] - 1
            say(f"{name}: wick {ours:.4f}, llama.cpp {theirs[key]:.4f}, {more * 100:+.3f} %")
            if abs(more) > 0.02:
                sys.exit(f"bench.py: {name}: wick's perplexity is not llama.cpp's")
            rows.append((name, f"{ours:.3f}", f"{theirs[key]:.3f}", f"{more * 100:+.2f} %"))
    text = ("SmolLM2-135M-Instruct, requantised from its Q4_1 file by llama-quantize (`--pure`; rows of 576 take none of the types "
            "of 256: those are in `ffn_down` alone, the rest is what llama.cpp falls back to), on "
            f"{windows} windows of 512 tokens of the King James Bible (`bible -f {BIBLE}`): perplexity of each "
            "window's second half, KV in float16. The limit is 0.2 % "
            "above llama.cpp.\n\n" + table(("type", "wick", "llama.cpp", "difference"), rows))
    peer = f"llama.cpp from llama-cpp-python 0.3.36, {how}"
    write_section("perplexity", "Quality beside llama.cpp", text, [wick_version(), peer], short)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--short", action="store_true")
    ap.add_argument("--rounds", type=int, default=ROUNDS)
    ap.add_argument("section", nargs="*")
    a = ap.parse_args()
    if a.rounds < 1:
        ap.error("--rounds takes 1 or more")
    globals()["ROUNDS"] = a.rounds
    sections = a.section or list(SECTIONS)
    if unknown := [s for s in sections if s not in SECTIONS]:
        ap.error(f"no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    there = {"smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf", "llama.cpp": "llama.cpp-build/bin/llama-bench",
             "venv": "bench-venv/packages.json", "qwen": "bench-models/qwen-f16-bf16.gguf",
             "quantised": "bench-models/llama-1b-q8_0.gguf", "llama.cpp-avx2": "llama.cpp-build-avx2/bin/llama-bench",
             "peft": "peft-venv/packages.json",
             "llama.cpp-src": "llama.cpp-src", "minilm": "minilm"}
    have_peft = bool(os.environ.get("PEERS"))
    missing = dict.fromkeys(n for s in sections for n in SECTIONS[s]
                            if not (n == "peft" and have_peft) and not os.path.exists(os.path.join(CACHE, there[n])))
    if "llama.cpp" in missing or "llama.cpp-avx2" in missing:
        missing.pop("llama.cpp-src", None)
    if not missing.keys() & {"qwen", "quantised"} and "tokenizer" not in sections:
        missing.pop("venv", None)  # what it would make is there
    if missing:
        download, disk = (sum(NEEDS[n][k] for n in missing) for k in (0, 1))
        say(f"This brings into {CACHE}: {download} MB of downloads, {disk} MB of disk:")
        for n in missing:
            say(f"  {NEEDS[n][0]:4} MB to download, {NEEDS[n][1]:5} MB kept: {NEEDS[n][2]}")
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"Other work is running (load {load:.1f}): the numbers will be worse and shakier than this machine's own.")
    for s in sections:
        say(f"\n== {s}")
        globals()[s.replace("-", "_")](a.short)


main()
