#!/usr/bin/env python3
"""test_program.py: the program's behaviour where exact output is not the point: results against the references, JSON that
parses, Ctrl-C, closed pipes, the environment, colours, every example of the manual, completion and manual syntax, and a
conversation on a pseudo-terminal. Runs in tests/, standard library only; each test is a function that asserts."""
import array, contextlib, json, math, os, pty, re, select, shlex, shutil, signal, stat, struct, subprocess, sys, tempfile, time
import traceback

PROGRAM = os.path.abspath(os.environ.get("WICK_TEST_PROGRAM", "../build/release/wick"))
CHAT = "data/models/llama-chat"
VERBS = ["run", "chat", "inspect", "tokenize", "logits", "eval", "bench", "train", "runs"]


def environment(**more):
    keep = {k: v for k, v in os.environ.items() if not k.startswith("WICK_") or k == "WICK_CPU"}
    keep.pop("NO_COLOR", None)
    return {**keep, "LC_ALL": "C.UTF-8", "TERM": "xterm", **more}


def wick(*args, stdin=b"", code=0, env=None, cwd=None):
    done = subprocess.run([PROGRAM, *args], input=stdin, capture_output=True, env=environment(**(env or {})), cwd=cwd, timeout=120)
    assert done.returncode == code, f"wick {shlex.join(args)}: exit {done.returncode}, not {code}\n{done.stderr.decode()}"
    return done.stdout, done.stderr


def wick_json(*args, **more):
    return json.loads(wick(*args, "-o", "json", **more)[0])


# ---- safetensors, as far as tests need it ----

def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name == "__metadata__" or t["dtype"] not in ("F32", "I64"):
            continue
        a = array.array({"F32": "f", "I64": "q"}[t["dtype"]])
        a.frombytes(data[8 + n + t["data_offsets"][0]:8 + n + t["data_offsets"][1]])
        out[name] = (t["shape"], a)
    return out


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, (shape, a) in tensors.items():
        raw = a.tobytes()
        dtype = {"f": "F32", "q": "I64", "i": "I32"}[a.typecode]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def difference(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b)) / sum(y * y for y in b))


# ---- results ----

def test_run_matches_reference(tmp):
    with open(f"{CHAT}/reference.json", encoding="utf-8") as f:
        cases = json.load(f)
    for case in cases:
        messages = {m["role"]: m["content"] for m in case["messages"]}
        args = ["run", CHAT, "--temp", "0", "-n", str(len(case["greedy_ids"])), "-p", messages["user"]]
        if "system" in messages:
            args += ["--system", messages["system"]]
        got = wick_json(*args)
        assert got["ids"] == case["greedy_ids"], got
        assert got["prompt_tokens"] == len(case["ids"]), got
        assert got["finish_reason"] == ("stop" if case["stopped"] else "length"), got
        assert set(got["timings"]) >= {"prompt_n", "prompt_ms", "predicted_n", "predicted_ms", "predicted_per_second"}
        lines = [json.loads(l) for l in wick(*args, "-o", "jsonl", "--logprobs", "2")[0].splitlines()]
        assert [l["id"] for l in lines] == case["greedy_ids"] and "".join(l["text"] for l in lines) == got["text"]
        assert [l["index"] for l in lines] == list(range(len(lines)))
        for l in lines:
            assert set(l) == {"id", "text", "logit", "prob", "logprob", "index", "is_eos", "finish_reason", "top_logprobs"}, l
            assert l["top_logprobs"][0]["id"] == l["id"] and abs(math.exp(l["logprob"]) - l["prob"]) < 1e-4, l
        assert lines[-1]["finish_reason"] == got["finish_reason"] and lines[-1]["is_eos"] == case["stopped"]


def test_seeds(tmp):
    def ids(*more):
        return wick_json("run", CHAT, "-n", "12", "--temp", "2", "--top-k", "0", "Hello", *more)["ids"]
    assert ids("-s", "5") == ids("-s", "5")
    assert ids("-s", "5") != ids("-s", "6")
    first, second = (wick_json("run", CHAT, "-n", "12", "--temp", "2", "Hello") for _ in range(2))
    assert first["seed"] != second["seed"]
    assert wick_json("run", CHAT, "-n", "12", "--temp", "2", "Hello", "-s", str(first["seed"]))["ids"] == first["ids"]


def test_sampling_flags_reach_the_library(tmp):
    base = ["run", CHAT, "--temp", "0", "-n", "6", "Hello"]
    ids = wick_json(*base)["ids"]
    assert ids[0] not in wick_json(*base, "--logit-bias", f"{ids[0]}=-inf")["ids"]
    assert wick_json(*base, "--logit-bias", "300=1000", "--logit-bias", "301=-5")["ids"] == [300] * 6
    biased = [*base, "--logit-bias", "300=20"]
    assert wick_json(*biased)["ids"] != wick_json(*biased, "--presence-penalty", "50")["ids"]
    assert wick_json(*biased)["ids"] != wick_json(*biased, "--frequency-penalty", "50")["ids"]
    assert wick_json(*biased)["ids"] != wick_json(*biased, "--repeat-penalty", "50")["ids"]
    assert wick_json(*biased)["ids"] == wick_json(*biased, "--repeat-penalty", "50", "--repeat-last-n", "0")["ids"]
    for option in (["--top-k", "1"], ["--top-p", "0.0001"], ["--min-p", "1"]):
        assert wick_json("run", CHAT, "--temp", "5", "-n", "6", "Hello", *option)["ids"] == ids, option
    end = wick_json("run", CHAT, "--temp", "0", "-n", "40", "-p", " What is a <|end|> token? ")
    on = wick_json("run", CHAT, "--temp", "0", "-n", "40", "-p", " What is a <|end|> token? ", "--ignore-eos")
    assert end["finish_reason"] == "stop" and len(on["ids"]) == 40


def test_batches_threads_and_kv(tmp):
    words = "one two three four five six seven eight nine ten " * 3
    args = ["run", CHAT, "--raw", "--temp", "0", "-n", "8", "-p", words]
    want = wick_json(*args)["ids"]
    for more in (["-b", "7"], ["-ub", "1"], ["-b", "64", "-ub", "3"], ["-t", "1"], ["-t", "3"]):
        assert wick_json(*args, *more)["ids"] == want, more
    rounded = wick_json(*args, "-ctk", "q8_0")["ids"]
    assert rounded and rounded == wick_json(*args, "-ctk", "q8_0", "-ctv", "Q8_0")["ids"]  # types in any case of letters


def test_more_threads_than_cores(tmp):
    cores = len(os.sched_getaffinity(0))
    for n, told in ((cores, 0), (cores + 1, 1)):
        err = wick("run", CHAT, "-n", "1", "-t", str(n), "Hello")[1]
        assert err.count(f"wick: {n} threads take turns on {cores} core".encode()) == told, err
    assert b"threads" not in wick("run", CHAT, "-n", "1", "-t", str(cores + 1), "-q", "Hello")[1]
    assert b"threads" not in wick("tokenize", CHAT, "Hello")[1]


def test_context(tmp):
    words = "one two three four five six seven"
    full = wick_json("run", CHAT, "--raw", "--ignore-eos", "-c", "24", "-p", words)
    assert full["finish_reason"] == "length" and full["prompt_tokens"] + len(full["ids"]) in (24, 25), full
    out, err = wick("run", CHAT, "--raw", "--ignore-eos", "-c", "24", "-n", "60", "--context-shift", "-p", words)
    assert b"the oldest" in err, err


def test_logits(tmp):
    out = f"{tmp}/out.safetensors"
    for model, adapter in (("llama", None), ("llama-classify", None), ("qwen2-classify", None), ("llama", "r4-all")):
        folder = f"data/adapters/llama/{adapter}" if adapter else f"data/models/{model}"
        reference = f"{folder}/reference.safetensors"
        wick("logits", f"data/models/{model}", "--ids", reference, "--out", out, "-q", *(["--adapter", folder] if adapter else []))
        (want_shape, want), (shape, got) = read_safetensors(reference)["logits"], read_safetensors(out)["logits"]
        assert shape == want_shape and difference(got, want) < 1e-4, (model, adapter, difference(got, want))
    # int32 ids and a mask: what is masked is zero, what is not is as it was
    shape, ids = read_safetensors("data/models/llama/reference.safetensors")["input_ids"]
    mask = array.array("q", [1 if i % shape[1] < 40 - 10 * (i // shape[1]) else 0 for i in range(len(ids))])
    write_safetensors(f"{tmp}/in.safetensors", {"input_ids": (shape, array.array("i", ids)), "attention_mask": (shape, mask)})
    wick("logits", "data/models/llama", "--ids", f"{tmp}/in.safetensors", "--out", out, "-b", "7", "-t", "1")
    masked, whole = read_safetensors(out)["logits"][1], read_safetensors("data/models/llama/reference.safetensors")["logits"]
    v = whole[0][2]
    for r in range(shape[0]):
        n = 40 - 10 * r
        at = r * shape[1] * v
        assert difference(masked[at:at + n * v], whole[1][at:at + n * v]) < 1e-4
        assert not any(masked[at + n * v:at + shape[1] * v])
    bad = array.array("q", [0, 1] + [1] * (len(mask) - 2))
    write_safetensors(f"{tmp}/in.safetensors", {"input_ids": (shape, ids), "attention_mask": (shape, bad)})
    assert b"gap" in wick("logits", "data/models/llama", "--ids", f"{tmp}/in.safetensors", "--out", out, code=1)[1]
    write_safetensors(f"{tmp}/in.safetensors", {"input_ids": ([1, 2], array.array("q", [3, 1 << 40]))})
    err = wick("logits", "data/models/llama", "--ids", f"{tmp}/in.safetensors", "--out", out, code=1)[1]
    assert b"input_ids[0][1] is 1099511627776" in err, err


def test_perplexity(tmp):
    """eval against its definition, computed here from the logits that `wick logits` writes."""
    text, n_ctx = " ".join(f"{i} and {i * 7 % 13}" for i in range(60)), 32
    with open(f"{tmp}/text.txt", "w", encoding="utf-8") as f:
        f.write(text + "\n")
    ids = wick_json("tokenize", CHAT, text)["ids"]
    n = len(ids) // n_ctx
    write_safetensors(f"{tmp}/in.safetensors", {"input_ids": ([n, n_ctx], array.array("q", ids[:n * n_ctx]))})
    wick("logits", CHAT, "--ids", f"{tmp}/in.safetensors", "--out", f"{tmp}/out.safetensors")
    (_, _, v), logits = read_safetensors(f"{tmp}/out.safetensors")["logits"]
    nll = []
    for w in range(n):
        for i in range(n_ctx // 2, n_ctx - 1):
            row = logits[(w * n_ctx + i) * v:(w * n_ctx + i + 1) * v]
            top = max(row)
            nll.append(math.log(sum(math.exp(x - top) for x in row)) + top - row[ids[w * n_ctx + i + 1]])
    got = wick_json("eval", CHAT, "-f", f"{tmp}/text.txt", "-c", str(n_ctx), "-b", "10")
    assert got["n_chunks"] == n and got["n_scored"] == len(nll) and got["n_tokens"] == len(ids), got
    assert abs(got["nll"] - sum(nll) / len(nll)) < 1e-4 and abs(got["perplexity"] / math.exp(sum(nll) / len(nll)) - 1) < 1e-4, got


def test_bench(tmp):
    got = wick_json("bench", CHAT, "-p", "16,8", "-n", "4", "-t", "2", "-r", "3")
    assert [(r["n_prompt"], r["n_gen"]) for r in got["results"]] == [(16, 0), (8, 0), (0, 4)]
    assert all(r["tokens_per_second"] > 0 and r["stddev"] >= 0 and len(r["samples"]) == 3 for r in got["results"])
    assert got["n_threads"] == 2 and got["machine"]["cores"] > 0 and got["machine"]["features"] and got["build"], got
    lines = [json.loads(l) for l in wick("bench", CHAT, "-p", "8", "-n", "4", "-r", "1", "-o", "jsonl")[0].splitlines()]
    assert [l["n_prompt"] for l in lines] == [8, 0]
    assert wick("bench", CHAT, "-p", "8", "-n", "0", "-r", "1", "-o", "csv")[0].count(b"\n") == 2


def test_inspect_json(tmp):
    got = wick_json("inspect", CHAT, "--keys", "--tensors", "-c", "100")
    assert got["architecture"] == "llama" and got["tokenizer"]["end_of_turn"] == [1, 2, 25] or got["tokenizer"]["end_of_turn"], got
    assert len(got["tensors"]) == got["n_tensors"] and sum(t["bytes"] for t in got["tensors"]) == got["n_bytes_file"]
    assert got["keys"]["model_type"] == "llama" and got["memory"]["n_ctx"] == 100 and not got["problems"]
    got = wick_json("inspect", CHAT, "--prompt", "Hello <|end|>")
    assert "".join(t["text"] for t in got["tokens"]) == "Hello <|end|>"
    broken = f"{tmp}/broken"
    shutil.copytree(CHAT, broken)
    with open(f"{broken}/tokenizer_config.json", "w", encoding="utf-8") as f:
        json.dump({"chat_template": "{% for %}"}, f)
    assert "chat_template" in wick_json("inspect", broken)["problems"]


def test_gguf(tmp):
    """A real GGUF, if it was fetched."""
    path = os.path.join(os.environ.get("WICK_TEST_CACHE", ""), "SmolLM2-135M-Instruct.Q4_1.gguf")
    if not os.path.exists(path):
        print(f"skipped: {path} is not there (scripts/fetch.py smollm2)")
        return
    got = wick_json("inspect", path, "--keys", "--tensors")
    assert got["architecture"] == got["keys"]["general.architecture"] == "llama"
    assert got["keys"]["tokenizer.ggml.tokens"]["length"] == 49152
    assert b"Q4_1" in wick("inspect", path, "--keys", "--tensors")[0]
    got = wick_json("run", path, "--raw", "--temp", "0", "-n", "4", "Gravity is")
    assert len(got["ids"]) == 4 and got["text"].startswith(" "), got


# ---- output that goes away ----

ENDLESS = ["run", CHAT, "--raw", "--ignore-eos", "-n", "100000000", "--context-shift", "-c", "64", "-q", "Hello"]


def start(*args):
    return subprocess.Popen([PROGRAM, *args], bufsize=0, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=environment())


def test_interrupt(tmp):
    for form in ("text", "jsonl"):
        p = start(*ENDLESS, "-o", form)
        first = p.stdout.read(1)  # it is generating
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        assert p.returncode == 130, (p.returncode, err)
        assert b"error" not in err, err
        if form == "text":
            assert out.endswith(b"\n")
        else:
            for line in (first + out).splitlines():
                json.loads(line)


def test_interrupt_while_nobody_reads(tmp):
    p = start(*ENDLESS, "-o", "jsonl")
    p.stdout.read(1)
    while not blocked(p.pid):
        time.sleep(0.01)
    p.send_signal(signal.SIGINT)
    assert p.wait(timeout=60) == 130
    p.communicate()


def blocked(pid):
    """Is the process waiting in a write to a full pipe?"""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as f:
            return f.read().split()[0] == {"x86_64": "1", "aarch64": "64"}[os.uname().machine]
    except (OSError, LookupError):
        return True  # this system does not say: the signal comes while it writes or computes


def test_closed_pipe(tmp):
    for args in (ENDLESS, [*ENDLESS, "-o", "jsonl"]):
        p = start(*args)
        p.stdout.read(1)
        p.stdout.close()
        err = p.stderr.read()
        assert p.wait(timeout=60) == 0 and err == b"", (p.returncode, err)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([PROGRAM, "--man"], stdout=writer, stderr=subprocess.PIPE, env=environment())
    os.close(writer)
    assert done.returncode == 0 and done.stderr == b"", done


def test_full_disk(tmp):
    for args in (["--man"], ["tokenize", CHAT, "Hello"], ["run", CHAT, "-q", "-n", "4", "Hello"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, *args], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
                                  env=environment())
        assert done.returncode == 1 and b"No space left" in done.stderr, (args, done)


def test_output_goes_where_its_name_leads(tmp):
    """A pipe is written to, the file behind a link is replaced, and neither is put away for a plain file of the same name."""
    ids = f"{tmp}/lead-ids.safetensors"
    write_safetensors(ids, {"input_ids": ([1, 3], array.array("q", [1, 2, 3]))})
    command = ["logits", "data/models/llama", "--ids", ids, "--out"]
    wick(*command, f"{tmp}/plain.safetensors")
    with open(f"{tmp}/plain.safetensors", "rb") as f:
        want = f.read()
    pipe, link, target = f"{tmp}/pipe", f"{tmp}/link.safetensors", f"{tmp}/target.safetensors"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    wick(*command, pipe)
    assert reader.communicate(timeout=60)[0] == want and stat.S_ISFIFO(os.stat(pipe).st_mode)
    with open(target, "w") as f:
        f.write("old")
    os.symlink("target.safetensors", link)
    wick(*command, link)
    with open(target, "rb") as f:
        assert f.read() == want and os.path.islink(link)
    os.remove(target)
    assert b"link to a file that is not there" in wick(*command, link, code=1)[1]
    assert b"is a folder" in wick(*command, tmp, code=1)[1]
    with open(ids, "rb") as f:
        before = f.read()
    assert b"same file" in wick(*command, ids, code=2)[1]
    with open(ids, "rb") as f:
        assert f.read() == before


# ---- environment and colours ----

def test_environment(tmp):
    assert len(wick_json("run", CHAT, "--ignore-eos", "Hello", env={"WICK_N_PREDICT": "3"})["ids"]) == 3
    assert len(wick_json("run", CHAT, "--ignore-eos", "Hello", "-n", "2", env={"WICK_N_PREDICT": "3"})["ids"]) == 2
    assert json.loads(wick("tokenize", CHAT, "Hello", env={"WICK_OUTPUT": "json"})[0])["ids"]
    assert json.loads(wick("tokenize", "-p", "Hello", env={"WICK_OUTPUT": "json", "WICK_MODEL": CHAT})[0])["ids"]
    wick("run", CHAT, "Hello", code=2, env={"WICK_TEMP": "warm"})
    wick("run", "--help", env={"WICK_TEMP": "warm"})


def on_terminal(args, **env):
    """Standard output and error of a command that has a terminal for them."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, *args], environment(**env))
    out = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the program is
        while chunk := os.read(fd, 4096):
            out += chunk
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out


def test_colours(tmp):
    args = ["inspect", CHAT, "--prompt", "Hello"]
    assert b"\033[" in on_terminal(args)[1]
    assert b"\033[" in on_terminal(args, NO_COLOR="")[1]
    assert b"\033[" not in on_terminal(args, NO_COLOR="1")[1]
    assert b"\033[" not in on_terminal(args, TERM="dumb")[1]
    assert b"\033[" not in on_terminal([*args, "--color", "never"])[1]
    assert b"\033[" in wick(*args, "--color", "always")[0]
    assert b"\033[" not in wick(*args)[0]


# ---- conversation ----

class Talk:
    """A program on a pseudo-terminal: say what is typed, wait for what appears."""
    def __init__(self, args, **env):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, [PROGRAM, *args], environment(**env))

    def until(self, *wanted):
        """Reads until each of the texts has appeared, in order, and forgets what came before their end."""
        for text in wanted:
            while text not in self.seen:
                assert select.select([self.fd], [], [], 60)[0], f"waited for {text!r}, have {self.seen!r}"
                try:
                    chunk = os.read(self.fd, 4096)
                except OSError:
                    chunk = b""
                assert chunk, f"ended before {text!r}, have {self.seen!r}"
                self.seen += chunk
            self.seen = self.seen.split(text, 1)[1]

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        with contextlib.suppress(OSError):
            while chunk := os.read(self.fd, 4096):
                self.seen += chunk
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def conversation(tmp, **env):
    prompt = b"> " if env else b">\x1b[0m "  # bold where there are colours, and the answer below it is not
    t = Talk(["run", CHAT, "--temp", "0", "--ignore-eos", "-n", "6", "-c", "30000"], XDG_STATE_HOME=tmp, **env)
    t.until(b"Ctrl-D leaves", prompt)
    t.type(b"Hello\n")
    t.until(b"cut off after 6 tokens", prompt)
    t.type(b"/stats\n")
    t.until(b" of them known, the others", b"1 answer, ", prompt)
    t.type(b"\x03")                       # at the prompt: a new one
    t.until(b"or /exit leaves", prompt)
    t.type(b"/set n-predict 100000000\n")
    t.until(b"n-predict is now", prompt)
    t.type(b"Go on\n")
    t.until(b"\n" if env else b"\x1b[?2004l")  # the line is read: an editor may have drawn it more than once
    while not re.sub(rb"\x1b\[[?0-9;]*[a-zA-Z]", b"", t.seen).strip():  # the answer has begun
        t.seen += os.read(t.fd, 4096)
    t.type(b"\x03")
    t.until(b"(stopped)", prompt)
    t.type(b"\x04")
    assert t.end() == 0, t.seen


def test_chat_on_a_terminal(tmp):
    conversation(tmp)
    with open(f"{tmp}/wick/history", "rb") as f:
        assert b"Hello" in f.read()
    assert os.stat(f"{tmp}/wick/history").st_mode & 0o77 == 0  # nobody else reads it


def test_chat_on_a_dumb_terminal(tmp):
    conversation(tmp, TERM="dumb")


def test_chat_multi_line(tmp):
    saved = f"{tmp}/talk.json"
    typed = f'one\\\ntwo\n"""\nthree\n\nfour"""\n"""five"""\n/save {saved}\n/clear\n/load {saved}\n/stats\n/regen\n'
    out = wick("chat", CHAT, "--temp", "0", "-n", "2", "--system", "Be brief.", "--ignore-eos", stdin=typed.encode())[0]
    with open(saved, encoding="utf-8") as f:
        messages = json.load(f)["messages"]
    assert [m["role"] for m in messages] == ["system"] + ["user", "assistant"] * 3
    assert [m["content"] for m in messages if m["role"] == "user"] == ["one\ntwo", "three\n\nfour", "five"], messages
    assert b"Loaded 7 messages" in out and b"7 messages." in out, out


def test_chat_pasted(tmp):
    if b"libedit" not in subprocess.run(["ldd", PROGRAM], capture_output=True).stdout:
        print("skipped: built without libedit")
        return
    t = Talk(["chat", CHAT, "--temp", "0", "-n", "2", "-q"], XDG_STATE_HOME=tmp)
    t.until(b"\033[?2004h")
    t.type(b"\033[200~first\rsecond\033[201~ third\r")
    t.until(b"\033[?2004h", b"\033[?2004h")
    t.type(f"/save {tmp}/talk.json\r".encode())
    t.until(b"Saved", b"\033[?2004h")
    t.type(b"/exit\r")
    assert t.end() == 0
    with open(f"{tmp}/talk.json", encoding="utf-8") as f:
        assert json.load(f)["messages"][0]["content"] == "first\nsecond third"


def test_typing_without_a_locale(tmp):
    """On a bare system, whose locale is C, what is typed still is UTF-8."""
    if b"libedit" not in subprocess.run(["ldd", PROGRAM], capture_output=True).stdout:
        print("skipped: built without libedit")
        return
    t = Talk(["chat", CHAT, "--temp", "0", "-n", "2", "-q"], XDG_STATE_HOME=tmp, LC_ALL="C")
    t.until(b"\033[?2004h")
    t.type("Käse 日本\r".encode())
    t.until(b"\033[?2004h")
    t.type(f"/save {tmp}/plain.json\r".encode())
    t.until(b"Saved", b"\033[?2004h")
    t.type(b"/exit\r")
    assert t.end() == 0
    with open(f"{tmp}/plain.json", encoding="utf-8") as f:
        assert json.load(f)["messages"][0]["content"] == "Käse 日本"


# ---- manual and completion ----

def examples():
    """Every command between .EX and .EE of the manual, roff undone."""
    seen = {}
    for verb in VERBS:
        page = wick("--man", verb)[0].decode()
        for text in re.findall(r"^\.EX\n(.*)\n\.EE$", page, re.M):
            seen[text.replace("\\(aq", "'").replace("\\-", "-").replace("\\e", "\\")] = None
    return list(seen)


def test_every_example(tmp):
    os.symlink(os.path.abspath(CHAT), f"{tmp}/model.gguf")
    chat = '{"messages":[{"role":"user","content":"Hello"}],"add_generation_prompt":true}'
    for name, text in (("notes.txt", "Some notes."), ("text.txt", "one two three four " * 400),
                       ("chat.jinja", "{{ messages[0].content }}"), ("chat.json", chat),
                       ("train.jsonl", '{"prompt":"Say one.","completion":"One."}\n' * 8),
                       ("valid.jsonl", '{"prompt":"Say one.","completion":"One."}\n'),
                       ("test.jsonl", '{"prompt":"Say two.","completion":"Two."}\n'),
                       ("train.yaml", "model: model.gguf\ndata: .\niters: 4\nbatch_size: 2\nsamples: 0\n")):
        with open(f"{tmp}/{name}", "w", encoding="utf-8") as f:
            f.write(text)
    write_safetensors(f"{tmp}/ids.safetensors", {"input_ids": ([1, 4], array.array("q", [5, 6, 7, 8]))})
    os.mkdir(f"{tmp}/adapter")
    with open(f"{tmp}/adapter/adapter_config.json", "w", encoding="utf-8") as f:
        json.dump({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}, f)
    module = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    write_safetensors(f"{tmp}/adapter/adapter_model.safetensors",
                      {module + "A.weight": ([2, 128], array.array("f", [0.01] * 256)),
                       module + "B.weight": ([128, 2], array.array("f", [0.01] * 256))})
    more = {"XDG_DATA_HOME": tmp}
    for _ in range(2):  # two runs to list, show and compare
        wick("train", "train.yaml", "--iters", "2", "--adapter-path", "done", "--overwrite", cwd=tmp, env=more)
    found = examples()
    assert len(found) > 90
    for text in found:
        words = shlex.split(text[text.index("wick "):])[1:]
        if words[0] == "run" and not any(w in words for w in ("-n", "--help")):
            words += ["-n", "16"]  # a random model may never end its turn
        wick(*words, stdin=b"Hello\n" if "-f" in words or words[0] != "chat" else b"", cwd=tmp,
             env=more if words[0] in ("train", "runs") else None)


def test_adapter_in_the_models_place(tmp):
    adapter, converted = "data/adapters/llama/r8-qv", f"{tmp}/a.gguf"
    wick("adapters", "convert", "data/models/llama", adapter, "-o", converted)
    for path in (adapter, converted):
        err = wick("run", path, "Hello", code=1)[1].decode()
        assert f"{path}: holds an adapter, no model" in err and f"--lora {path}" in err, err


def test_folder_behind_a_name(tmp):
    model = os.path.abspath("data/models/llama")
    wick("convert", model, "-o", f"{tmp}/a.gguf")
    os.makedirs(f"{tmp}/far/model")
    os.symlink("far/model", f"{tmp}/link")
    for more in ([], ["--force"]):  # into it, and over what was there
        wick("convert", "a.gguf", "-o", "link", *more, cwd=tmp)
        assert os.path.islink(f"{tmp}/link") and os.listdir(f"{tmp}/far") == ["model"], os.listdir(f"{tmp}/far")
        wick("inspect", f"{tmp}/far/model")
    os.mkdir(f"{tmp}/here")
    err = wick("convert", "../a.gguf", "-o", ".", cwd=f"{tmp}/here", code=1)[1].decode()
    assert "working directory" in err and "name a folder in it" in err and not os.listdir(f"{tmp}/here"), err
    for out in ("nothing", "nothing.gguf"):
        os.symlink("nowhere", f"{tmp}/{out}")
        err = wick("convert", "a.gguf", "-o", out, "--force", cwd=tmp, code=1)[1].decode()
        assert f"{out}: is a link to a file that is not there" in err, err
    assert sorted(os.listdir(tmp)) == ["a.gguf", "far", "here", "link", "nothing", "nothing.gguf"], os.listdir(tmp)


def test_man_pages(tmp):
    pages = [wick("--man")[0]] + [wick("--man", v)[0] for v in VERBS]
    if not shutil.which("groff"):
        print("skipped: no groff to check the manual with")
        return
    for page in pages:
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True)
        assert done.returncode == 0 and done.stderr == b"", done.stderr


def test_completion(tmp):
    for shell in ("bash", "zsh", "fish"):
        path = f"{tmp}/_wick.{shell}"
        with open(path, "wb") as f:
            f.write(wick("--completion", shell)[0])
        if not shutil.which(shell):
            print(f"skipped: no {shell} to check its completion with")
            continue
        done = subprocess.run([shell, "-n", path], capture_output=True)
        assert done.returncode == 0 and done.stderr == b"", done.stderr

    def complete(*words):
        script = f'. {tmp}/_wick.bash; compopt() {{ :; }}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _wick'
        script += '; echo "${COMPREPLY[@]}"'
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    if shutil.which("bash"):
        assert complete("wick", "to") == ["tokenize"]
        assert complete("wick", "run", "--top") == ["--top-k", "--top-p"]
        assert complete("wick", "run", "m", "-o", "js") == ["json", "jsonl"]
        assert complete("wick", "bench", "m", "-o", "c") == ["csv"]


def test_help_names_every_flag_and_verb(tmp):
    overall = wick("--help")[0].decode()
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", overall, re.M)
        assert wick(verb, "--help")[0] == wick("help", verb)[0]
    assert b"wick " in wick("--version")[0]


def main():
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_") and (len(sys.argv) < 2 or n in sys.argv[1:])]
    failed = 0
    for name, test in tests:
        try:
            with tempfile.TemporaryDirectory() as tmp:
                test(tmp)
            print(f"ok      {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests)} tests, {failed} failed")
    sys.exit(1 if failed else 0)


main()
