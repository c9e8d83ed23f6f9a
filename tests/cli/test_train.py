#!/usr/bin/env python3
"""test_train.py: wick train from end to end on a tiny model: what it writes, that it learns, that an interrupted run which is
resumed ends with the same bytes as one that was not, errors of data and options, runs, and the picture on a terminal. Runs in
tests/, standard library only; each test is a function that asserts."""
import csv, fcntl, glob, json, math, os, pty, random, re, select, shutil, signal, sqlite3, struct, subprocess, sys, tempfile
import termios, time, traceback

PROGRAM = os.path.abspath(os.environ.get("WICK_TEST_PROGRAM", "../build/release/wick"))
MODEL = os.path.abspath("data/models/llama-chat")
CLASSIFIER = os.path.abspath("data/models/qwen2-classify")


def environment(tmp, **more):
    keep = {k: v for k, v in os.environ.items() if not k.startswith("WICK_") or k == "WICK_CPU"}
    return {**keep, "LC_ALL": "C.UTF-8",
            "TERM": "xterm", "NO_COLOR": "", "XDG_DATA_HOME": f"{tmp}/share", **more}


def wick(tmp, *args, code=0, env=None):
    done = subprocess.run([PROGRAM, *args], stdin=subprocess.DEVNULL, capture_output=True, env=environment(tmp, **(env or {})),
                          cwd=tmp, timeout=200)
    assert done.returncode == code, f"wick {args}: exit {done.returncode}, not {code}\n{done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode(), done.stderr.decode()


def write_data(tmp, n=24):
    os.makedirs(f"{tmp}/data", exist_ok=True)
    for name, first, count in (("train", 0, n), ("valid", n, 4)):
        with open(f"{tmp}/data/{name}.jsonl", "w", encoding="utf-8") as f:
            for i in range(first, first + count):
                f.write(json.dumps({"prompt": f"Say {i}.", "completion": f"It is {i}, that is {i}."}) + "\n")


def write_options(tmp, **more):
    options = {"model": MODEL, "data": "data", "adapter_path": "out", "iters": 12, "batch_size": 2, "learning_rate": "5e-3",
               "num_layers": -1, "steps_per_report": 3, "steps_per_eval": 6, "save_every": 4, "samples": 1, **more}
    with open(f"{tmp}/train.yaml", "w", encoding="utf-8") as f:
        f.writelines(f"{k}: {v}\n" for k, v in options.items() if v is not None and not isinstance(v, dict))
        for k, v in options.items():
            if isinstance(v, dict):
                f.write(f"{k}:\n" + "".join(f"  {a}: {b}\n" for a, b in v.items()))


def log_of(tmp, folder="out"):
    with open(f"{tmp}/{folder}/log.jsonl", encoding="utf-8") as f:
        return [json.loads(l) for l in f]


def read(path):
    with open(path, "rb") as f:
        return f.read()


KEYS = ["iteration", "train_loss", "learning_rate", "grad_norm", "tokens_per_second", "trained_tokens", "peak_memory", "val_loss"]


def test_run(tmp):
    write_data(tmp)
    write_options(tmp, report_to="tensorboard", lora_parameters={"rank": 10})
    out, err = wick(tmp, "train", "train.yaml")
    assert re.search(r"^Iter 3/12: train loss \d\.\d{4}, lr 5\.000e-03, grad norm ", out, re.M), out
    assert out.startswith("Iter 0/12: val loss ") and "saved in out" in err
    log = log_of(tmp)
    assert [p["iteration"] for p in log] == [0, 3, 6, 9, 12]
    assert all(list(p) == KEYS for p in log)
    assert log[0]["train_loss"] is None and log[0]["val_loss"] > 0 and log[1]["val_loss"] is None and log[2]["val_loss"] > 0
    assert log[-1]["train_loss"] < log[1]["train_loss"] and log[-1]["val_loss"] < log[0]["val_loss"], log
    with open(f"{tmp}/out/log.csv", encoding="utf-8", newline="") as f:
        rows = list(csv.reader(f))
    assert rows[0] == KEYS and len(rows) == 6
    assert [None if v == "" else float(v) for v in rows[3]] == [log[2][k] for k in KEYS]
    with open(f"{tmp}/out/adapter_config.json", encoding="utf-8") as f:
        config = json.load(f)
    assert config["peft_type"] == "LORA" and repr(config["r"]) == "10"  # 1e+01 would be a float, which is no rank for PEFT
    assert os.path.getsize(f"{tmp}/out/adapter_model.safetensors") > 1000
    assert len(os.listdir(f"{tmp}/out/tensorboard")) == 1
    html = read(f"{tmp}/out/report.html").decode()
    assert "http" not in html and html.count("<svg") > 5 and "Say 24" in html
    assert "base weights  this model's" in wick(tmp, "adapters", "inspect", MODEL, "out")[0]
# The adapter is used by the other verbs, and changes what the model says.
    plain = json.loads(wick(tmp, "run", MODEL, "-p", "Say 3.", "--temp", "0", "-n", "8", "-o", "json", "--logprobs", "1")[0])
    adapted = json.loads(wick(tmp, "run", MODEL, "--lora", "out", "-p", "Say 3.", "--temp", "0", "-n", "8", "-o", "json",
                              "--logprobs", "1")[0])
    assert plain != adapted
    # The list of runs has it.
    runs = json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"]
    assert len(runs) == 1 and runs[0]["status"] == "done" and runs[0]["iteration"] == 12
    assert runs[0]["options"]["learning_rate"] == 5e-3 and abs(runs[0]["train_loss"] - log[-1]["train_loss"]) < 1e-12


def test_wanted(tmp):
    """Of a conversation of several turns the report shows as wanted the one that is answered, not those after it."""
    write_options(tmp, iters=1)
    os.makedirs(f"{tmp}/data")
    with open(f"{tmp}/data/train.jsonl", "w", encoding="utf-8") as f:
        f.write(json.dumps({"messages": [{"role": r, "content": c} for r, c in (
            ("user", "Say 1."), ("assistant", "It is 1."), ("user", "Say 2."), ("assistant", "It is 2."))]}) + "\n")
    wick(tmp, "train", "train.yaml", "--batch-size", "1")
    wanted = re.findall(r'<td data-of="wanted"><pre>(.*?)</pre>', read(f"{tmp}/out/report.html").decode(), re.S)
    assert [w.strip() for w in wanted] == ["It is 1."], wanted


def test_full(tmp):
    """Full fine-tuning leaves a model that runs, as a folder or a GGUF file; where none can be written, that is said at once."""
    write_data(tmp)
    for model, result in ((MODEL, "out/model"), (f"{tmp}/chat.gguf", "out/model.gguf")):
        write_options(tmp, model=model, fine_tune_type="full", iters=4, learning_rate="1e-3")
        if model != MODEL:
            wick(tmp, "convert", MODEL, "--out", model)
        err = wick(tmp, "train", "train.yaml", "--overwrite")[1]
        assert f"try it: wick run {result}\n" in err, err
        ask = ("-p", "Say 3.", "--temp", "0", "-n", "8", "-o", "json", "--logprobs", "1")
        assert wick(tmp, "run", result, *ask)[0] != wick(tmp, "run", MODEL, *ask)[0]
        assert not any(".tmp" in name for name in os.listdir(f"{tmp}/out"))
    err = wick(tmp, "train", "train.yaml", "-m", "out/model", "--overwrite", code=1)[1]
    assert "are the same" in err, err
    os.makedirs(f"{tmp}/far")
    os.symlink("nowhere", f"{tmp}/far/model")  # which the first save would find out
    err = wick(tmp, "train", "train.yaml", "-m", MODEL, "--adapter-path", "far", code=1)[1]
    assert "far/model: is a link to a file that is not there" in err and not os.path.exists(f"{tmp}/far/log.jsonl"), err


def add_gguf_key(path, out, key, value):
    """path with one more text among its keys; a second, of spaces, keeps the data where they are aligned."""
    def text(k, v):
        return struct.pack("<Q", len(k)) + k + struct.pack("<IQ", 8, len(v)) + v
    old = read(path)
    new = text(key.encode(), value.encode())
    pad = b"pad." + key.encode()
    new += text(pad, b" " * (-(len(new) + len(text(pad, b""))) % 32))
    with open(out, "wb") as f:
        f.write(old[:16] + struct.pack("<Q", struct.unpack_from("<Q", old, 16)[0] + 2) + new + old[24:])


def test_base_model(tmp):
    """What adapter_config.json calls the model: what the options say, else the adapter that was begun from, the GGUF file's source,
    its path."""
    write_data(tmp)
    write_options(tmp, samples=0, iters=1)
    wick(tmp, "convert", MODEL, "--out", f"{tmp}/plain.gguf")
    hub = "https://huggingface.co/"
    for i, (key, value) in enumerate((("general.source.repo_url", hub + "org/name"), ("general.repo_url", hub + "org/other"),
                                      ("general.repo_url", hub + "org/name-GGUF"), ("general.repo_url", hub + "org/name/tree"),
                                      ("general.base_model.0.repo_url", hub + "org/parent"))):
        add_gguf_key(f"{tmp}/plain.gguf", f"{tmp}/k{i}.gguf", key, value)

    def name(model, *args):
        wick(tmp, "train", "train.yaml", "-m", model, "--overwrite", *args)
        with open(f"{tmp}/out/adapter_config.json", encoding="utf-8") as f:
            return json.load(f)["base_model_name_or_path"]

    assert name(MODEL) == MODEL and name("plain.gguf") == "plain.gguf"
    assert name("k0.gguf") == "org/name" and name("k1.gguf") == "org/other"
    assert [name(f"k{i}.gguf") for i in (2, 3, 4)] == ["k2.gguf", "k3.gguf", "k4.gguf"]
    assert name("k0.gguf", "--base-model-name-or-path", "my/model") == "my/model"
    shutil.copytree(f"{tmp}/out", f"{tmp}/first")
    assert name("k0.gguf", "--resume-adapter-file", "first") == "my/model"

    # An adapter without a sample of its base is held against these names.
    whole = read(f"{tmp}/first/adapter_model.safetensors")
    size = struct.unpack_from("<Q", whole)[0]
    header = json.loads(whole[8:8 + size])
    del header["__metadata__"]
    header = json.dumps(header).encode().ljust(size)
    with open(f"{tmp}/first/adapter_model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", size) + header + whole[8 + size:])
    add_gguf_key(f"{tmp}/k0.gguf", f"{tmp}/tuned.gguf", "general.base_model.1.repo_url", hub + "elders/parent")
    with open(f"{tmp}/first/adapter_config.json", encoding="utf-8") as f:
        config = json.load(f)
    for base, model, fits in (("my/model", "plain.gguf", True), ("my/name", "k0.gguf", True), ("my/parent-it", "k0.gguf", False),
                              ("my/parent-it", "tuned.gguf", True)):
        with open(f"{tmp}/first/adapter_config.json", "w", encoding="utf-8") as f:
            json.dump(config | {"base_model_name_or_path": base}, f)
        args = ("run", model, "-p", "Say 3.", "-n", "1", "--lora", "first")
        err = wick(tmp, *args, code=0 if fits else 1)[1]
        assert ('first: was trained on "my/parent-it", and this model is "org/name"' in err) != fits, err
        wick(tmp, *args, "--any-base")


def files(folder):
    return {name: read(f"{folder}/{name}") for name in ("adapter_model.safetensors", "adapter_config.json")}


def test_resume(tmp):
    """Interrupted at each step in turn, by a signal between two reports, and resumed: the same bytes in the end."""
    write_data(tmp)
    write_options(tmp, lora_parameters={"rank": 4, "dropout": 0.1}, grad_accumulation_steps=2, samples=0)
    wick(tmp, "train", "train.yaml", "--adapter-path", "whole")
    want = files(f"{tmp}/whole")
    for stop in (4, 5, 8):
        wick(tmp, "train", "train.yaml", "--adapter-path", f"a{stop}", "--iters", str(stop), "--save-every", "0")
        wick(tmp, "train", "train.yaml", "--adapter-path", f"a{stop}", "--resume")
        got = files(f"{tmp}/a{stop}")
        assert got == want, f"stopped at {stop}"
        assert log_of(tmp, f"a{stop}")[-1]["iteration"] == 12
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "a8", code=1)[1]
    assert "holds a run already" in err, err
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "new", "--resume", code=1)[1]
    assert "there is no run to go on with" in err, err
    for key, value in (("batch-size", "3"), ("grad-accumulation-steps", "1"), ("max-seq-length", "60"), ("packing", None),
                       ("seed", "5"), ("rank", "2"), ("optimizer", "sgd")):
        more = [f"--{key}"] + ([value] if value else [])
        err = wick(tmp, "train", "train.yaml", "--adapter-path", "a8", "--resume", "--iters", "20", *more, code=1)[1]
        assert f"{key.replace('-', '_')} was " in err and "go on with" in err, err
    for value, words in (("--num-layers=1", "num_layers was -1 and is 1 now"), ("--keys=q_proj", "lora_parameters.keys was [] and"),
                         ("--lora-alpha=3", "lora_alpha was not set and is 3 now"),
                         ("--modules-to-save=lm_head", 'modules_to_save was [] and is ["lm_head"] now')):
        err = wick(tmp, "train", "train.yaml", "--adapter-path", "a8", "--resume", "--iters", "20", value, code=1)[1]
        assert words in err and "go on as the run began" in err and "parameters in" not in err, err
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "a8", "--resume", "--iters", "20", "--resume-adapter-file", "whole",
               code=1)[1]
    assert 'resume_adapter_file was not set when the run began and is "whole" now: go on with none' in err, err
    # Another way of saying the same is none.
    wick(tmp, "train", "train.yaml", "--adapter-path", "a8", "--resume", "--iters", "13", "--num-layers", "100",
         "--lora-alpha", "80")
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "a8", "--resume", "--iters", "14", "--learning-rate", "0.5",
               "--warmup", "3")[1]
    assert "learning_rate is 0.5 now; it was " in err and "; lr_schedule.warmup is 3 now; it was 0 before" in err, err
    os.symlink(os.path.abspath(MODEL), f"{tmp}/moved")
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "a8", "--resume", "--iters", "15", "-m", "moved")[1]
    assert 'model is "moved" now; it was ' in err, err
    with open(f"{tmp}/data/train.jsonl", "a", encoding="utf-8") as f:
        f.write('{"text":"more"}\n')
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "a8", "--resume", "--iters", "20", code=1)[1]
    assert "other training data" in err, err


def test_signals(tmp):
    """SIGTERM, SIGINT and SIGHUP save and exit; the run goes on to the same bytes. A kill loses only what came after a save."""
    write_data(tmp)
    write_options(tmp, iters=40, save_every=5, steps_per_report=1, samples=0)
    wick(tmp, "train", "train.yaml", "--adapter-path", "whole")
    want = files(f"{tmp}/whole")
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
        p = subprocess.Popen([PROGRAM, "train", "train.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp),
                             cwd=tmp)
        for line in p.stdout:
            if line.startswith(b"Iter 12/"):
                break
        p.send_signal(sig)
        time.sleep(0.001)
        p.send_signal(sig)  # timeout(1) sends two: one to its child, one to the group
        err = p.communicate(timeout=60)[1].decode()
        if sig != signal.SIGKILL:
            assert p.returncode == 130 and "go on with --resume" in err, (p.returncode, err)
            assert json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"][-1]["status"] == "interrupted"
        with open(f"{tmp}/out/checkpoint.wick.tmp-1", "w", encoding="utf-8"):
            pass  # as a kill in the middle of a save leaves it
        wick(tmp, "train", "train.yaml", "--resume")
        assert files(f"{tmp}/out") == want, sig
        assert not any(".tmp-" in name for name in os.listdir(f"{tmp}/out"))
        assert [p["iteration"] for p in log_of(tmp)] == list(range(41))
        shutil.rmtree(f"{tmp}/out")


def test_show_mask(tmp):
    """The same lines as training takes: a byte order mark and CRLF are no matter, a NUL byte does not end the list unseen."""
    for data, code in ((b'\xef\xbb\xbf{"text":"ab"}\r\n\r\n{"text":"c"}', 0), (b'{"text":"ab"}\n\0\n{"text":"c"}\n', 1)):
        with open(f"{tmp}/mask.jsonl", "wb") as f:
            f.write(data)
        out, err = wick(tmp, "tokenize", MODEL, "--show-mask", "mask.jsonl", code=code)
        assert "-- line 1: " in out and ("line 2: holds a NUL byte" in err if code else "-- line 3: " in out), (out, err)
        assert not out.startswith("["), out  # nothing predicts the first token
    turns = [{"role": r, "content": c, **w} for r, c, w in (("user", "Hi", {}), ("assistant", "One.", {"weight": 0}),
                                                            ("user", "And", {}), ("assistant", "Two.", {"weight": 1}))]
    with open(f"{tmp}/mask.jsonl", "w", encoding="utf-8") as f:
        f.write(json.dumps({"messages": turns}) + "\n")
    out = wick(tmp, "tokenize", MODEL, "--show-mask", "mask.jsonl")[0]
    assert "<|assistant|>One.<|end|>" in out and "<|assistant|>[Two.<|end|>]" in out, out


def test_closed_output(tmp):
    """wick train | head: what was learnt until the pipe closed is kept."""
    write_data(tmp)
    write_options(tmp, iters=100000, save_every=0, steps_per_report=1, samples=0)
    p = subprocess.Popen([PROGRAM, "train", "train.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp),
                         cwd=tmp)
    for line in p.stdout:
        if line.startswith(b"Iter 3/"):
            break
    p.stdout.close()
    err = p.stderr.read().decode()
    assert p.wait(timeout=60) != 0 and "go on with --resume" in err, err
    wick(tmp, "train", "train.yaml", "--resume", "--iters", "3")


def test_two(tmp):
    """Two trainings into one folder at once would mix their files: the second one is refused, and goes ahead after the first."""
    write_data(tmp)
    write_options(tmp, iters=100000, steps_per_report=1, samples=0)
    p = subprocess.Popen([PROGRAM, "train", "train.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp),
                         cwd=tmp)
    for line in p.stdout:
        if line.startswith(b"Iter 2/"):
            break
    for more in ("--overwrite", "--resume"):
        err = wick(tmp, "train", "train.yaml", more, code=1)[1]
        assert "another training writes there at this moment" in err, err
    wick(tmp, "train", "train.yaml", "--dry-run")
    p.send_signal(signal.SIGTERM)
    p.communicate(timeout=60)
    wick(tmp, "train", "train.yaml", "--iters", "2", "--overwrite")


def test_initial(tmp):
    write_data(tmp)
    write_options(tmp, samples=0)
    wick(tmp, "train", "train.yaml")
    again = ("train", "train.yaml", "--resume-adapter-file", "out/adapter_model.safetensors", "--iters", "3")
    err = wick(tmp, *again, "--adapter-path", "next")[1]
    assert "keeps its own" not in err and "stays so" not in err, err
    err = wick(tmp, *again, "--adapter-path", "kind", "--fine-tune-type", "dora")[1]
    assert "is lora and stays so; fine_tune_type is dora" in err, err
    err = wick(tmp, *again, "--adapter-path", "other", "--rank", "4")[1]
    assert "keeps its own rank and scale, in layer 0's " in err and "the options say 4 and " in err, err
    err = wick(tmp, *again, "--adapter-path", "fewer", "--num-layers", "1", "--dry-run")
    assert "keeps its own layers and keys, 21 modules; the options would make 7" in err[1], err
    assert "lora, rank and layers of out/adapter_model.safetensors" in err[0], err
    # Its own rank, scale and layers, interrupted and gone on with: the same bytes, with the same file of options.
    options = {"samples": 0, "resume_adapter_file": "small", "lora_parameters": {"dropout": 0.1}}
    wick(tmp, "train", "train.yaml", "--adapter-path", "small", "--rank", "3", "--scale", "2.5", "--keys", "q_proj,up_proj",
         "--num-layers", "2", "--iters", "3")
    write_options(tmp, **options)
    wick(tmp, "train", "train.yaml", "--adapter-path", "unbroken")
    wick(tmp, "train", "train.yaml", "--adapter-path", "broken", "--iters", "5")
    wick(tmp, "train", "train.yaml", "--adapter-path", "broken", "--resume")
    assert files(f"{tmp}/broken") == files(f"{tmp}/unbroken")
    with open(f"{tmp}/broken/adapter_config.json", encoding="utf-8") as f:
        assert json.load(f)["r"] == 3
    for other, words in ((["--resume-adapter-file", "out"], 'resume_adapter_file was "small" when the run began and is "out" now'),
                         ([], "or from an adapter of other layers, rank or scale")):
        if not other:  # the same name, another adapter
            shutil.rmtree(f"{tmp}/small")
            shutil.copytree(f"{tmp}/out", f"{tmp}/small")
        err = wick(tmp, "train", "train.yaml", "--adapter-path", "broken", "--resume", "--iters", "20", *other, code=1)[1]
        assert words in err, err
    assert log_of(tmp, "next")[0]["val_loss"] < log_of(tmp)[0]["val_loss"]


def test_experts(tmp):
    """An adapter of a model of experts' attention: trained, and served with the loss that training had."""
    model = os.path.abspath("data/models/qwen3-moe")
    rng = random.Random(1)
    os.makedirs(f"{tmp}/data")
    lines = [[rng.randrange(3, 320) for _ in range(24)] for _ in range(2)]
    for name in ("train", "valid"):
        with open(f"{tmp}/data/{name}.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps({"input_ids": ids}) + "\n" for ids in lines)
    write_options(tmp, model=model, samples=0, iters=30, lora_parameters={"keys": "[q_proj, k_proj, v_proj, o_proj]"})
    wick(tmp, "train", "train.yaml")
    log = log_of(tmp)
    assert log[-1]["val_loss"] < 0.5 * log[0]["val_loss"], log
    flat = [i for ids in lines for i in ids]
    head = json.dumps({"input_ids": {"dtype": "I64", "shape": [2, 24], "data_offsets": [0, 8 * len(flat)]}}).encode()
    with open(f"{tmp}/ids.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + struct.pack(f"<{len(flat)}q", *flat))
    for adapter, at in (("out", -1), (None, 0)):
        wick(tmp, "logits", model, "--ids", "ids.safetensors", "--out", "logits.safetensors",
             *(["--adapter", adapter] if adapter else []))
        raw = read(f"{tmp}/logits.safetensors")
        begin = 8 + struct.unpack("<Q", raw[:8])[0]
        z = struct.unpack(f"<{2 * 24 * 320}f", raw[begin:begin + 4 * 2 * 24 * 320])
        loss = 0
        for row in range(48):
            if row % 24 < 23:
                x = z[row * 320:row * 320 + 320]
                loss += math.log(sum(math.exp(v) for v in x)) - x[flat[row + 1]]
        assert abs(loss / 46 - log[at]["val_loss"]) < 1e-5 * loss / 46, (adapter, loss / 46, log[at])


def test_failed_save(tmp):
    """A save that fails ends the run and says what is whole; once there is room again it goes on to the same bytes."""
    write_data(tmp)
    write_options(tmp, iters=100000, save_every=2, steps_per_report=1, samples=0)
    p = subprocess.Popen([PROGRAM, "train", "train.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=environment(tmp), cwd=tmp)
    for line in p.stdout:
        if line.startswith(b"Iter 6/"):
            break
    os.mkdir(f"{tmp}/block")
    while True:  # no file can take a folder's place
        try:
            os.rename(f"{tmp}/out/report.html", f"{tmp}/block/report.html")
            os.mkdir(f"{tmp}/out/report.html")
            break
        except FileExistsError:
            pass
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 1 and re.search(r"the checkpoint of iteration \d+ in out is whole: make room and go on with", err), err
    os.rmdir(f"{tmp}/out/report.html")
    done = log_of(tmp)[-1]["iteration"] + 4
    wick(tmp, "train", "train.yaml", "--resume", "--iters", str(done))
    wick(tmp, "train", "train.yaml", "--adapter-path", "whole", "--iters", str(done))
    assert files(f"{tmp}/out") == files(f"{tmp}/whole")


def another(tmp):
    """A model of the same shapes as MODEL, with half of its weights' signs turned."""
    shutil.copytree(MODEL, f"{tmp}/another", dirs_exist_ok=True)
    sign = random.Random(5)
    for path in glob.glob(f"{tmp}/another/model*.safetensors"):
        b = bytearray(read(path))
        n = 8 + int.from_bytes(b[:8], "little")
        for name, t in json.loads(b[8:n]).items():
            if "_proj" in name:  # bfloat16
                for at in range(n + t["data_offsets"][0] + 1, n + t["data_offsets"][1], 2):
                    b[at] ^= sign.getrandbits(1) << 7
        with open(path, "wb") as f:
            f.write(b)
    return "another"


def test_other_model(tmp):
    """Nothing of a run goes on with another model of the same shapes, whatever it trains; --any-base takes it all the same."""
    write_data(tmp)
    other = another(tmp)
    for more in ({}, {"num_layers": 0, "modules_to_save": "[embed_tokens]"}, {"fine_tune_type": "full"}):
        write_options(tmp, iters=4, samples=0, **more)
        wick(tmp, "train", "train.yaml", "--overwrite")
        before = {name: read(f"{tmp}/out/{name}") for name in os.listdir(f"{tmp}/out") if os.path.isfile(f"{tmp}/out/{name}")}
        resume = ("train", "train.yaml", "--resume", "--iters", "6", "-m", other)
        err = wick(tmp, *resume, code=1)[1]
        assert 'out/checkpoint.wick: was trained on another model than "another": layers.' in err and "--any-base" in err, err
        assert before == {name: read(f"{tmp}/out/{name}") for name in before}
        if "fine_tune_type" not in more:
            err = wick(tmp, "run", other, "--lora", "out", "-n", "1", "x", code=1)[1]
            assert 'than "another": layers.' in err, err
            for model, same in ((MODEL, True), (other, False)):
                assert json.loads(wick(tmp, "adapters", "inspect", model, "out", "-o", "json")[0])["base_weights_match"] == same
            assert "base weights  not this model's" in wick(tmp, "adapters", "inspect", other, "out")[0]
            err = wick(tmp, "train", "train.yaml", "--resume-adapter-file", "out", "--adapter-path", "new", "-m", other, code=1)[1]
            assert 'than "another": layers.' in err and not os.listdir(f"{tmp}/new"), err
        wick(tmp, *resume, "--any-base")


def test_moved(tmp):
    """A folder that is moved away while training: it is made anew, log and all; in another's place nothing is written."""
    write_data(tmp)
    write_options(tmp, iters=400, save_every=150, steps_per_report=40, samples=0, report_to="tensorboard", steps_per_eval=1000)
    wick(tmp, "train", "train.yaml", "--adapter-path", "whole")
    for replaced in (False, True):
        p = subprocess.Popen([PROGRAM, "train", "train.yaml", "--overwrite"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=environment(tmp), cwd=tmp)
        for line in p.stdout:
            if line.startswith(b"Iter 160/"):
                break
        if replaced:
            os.rename(f"{tmp}/whole", f"{tmp}/other")
        os.rename(f"{tmp}/out", f"{tmp}/old{replaced}")
        if replaced:
            os.rename(f"{tmp}/other", f"{tmp}/out")
            before = {name: read(f"{tmp}/out/{name}") for name in os.listdir(f"{tmp}/out") if name != "tensorboard"}
        err = p.communicate(timeout=60)[1].decode()
        if not replaced:
            assert p.returncode == 0 and files(f"{tmp}/out") == files(f"{tmp}/whole"), err
            assert [p["iteration"] for p in log_of(tmp)] == [0] + list(range(40, 401, 40))
            assert len(os.listdir(f"{tmp}/out/tensorboard")) == 1 and os.path.exists(f"{tmp}/out/checkpoint.wick")
        else:
            assert p.returncode == 1 and "out: is another folder than the one that this training began in" in err, err
            assert before == {name: read(f"{tmp}/out/{name}") for name in before}
            assert files(f"{tmp}/oldTrue")


def test_overwritten(tmp):
    """A run that begins anew over another and is killed before its first save does not go on with that one's checkpoint."""
    write_data(tmp)
    write_options(tmp, samples=0, steps_per_report=1)
    wick(tmp, "train", "train.yaml")
    before = files(f"{tmp}/out")
    err = wick(tmp, "train", "train.yaml", "--resume")[1]
    assert "the training is over: 12 of 12 iterations are done; raise iters to go on" in err, err
    assert [r["status"] for r in json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"]] == ["done"]
    shutil.copy(f"{tmp}/out/checkpoint.wick", f"{tmp}/out/checkpoint.wick.mine")
    p = subprocess.Popen([PROGRAM, "train", "train.yaml", "--overwrite", "--iters", "100000", "--save-every", "0"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(tmp), cwd=tmp)
    for line in p.stdout:
        if line.startswith(b"Iter 2/"):
            break
    p.kill()
    p.communicate()
    assert files(f"{tmp}/out") == before
    err = wick(tmp, "train", "train.yaml", "--resume", code=1)[1]
    assert "there is no run to go on with" in err, err
    assert os.path.exists(f"{tmp}/out/checkpoint.wick.mine")  # only what the run itself had written goes
    wick(tmp, "train", "train.yaml")
    assert files(f"{tmp}/out") == before
    # The best adapter of the run before is not taken for the new one's.
    wick(tmp, "train", "train.yaml", "--overwrite", "--early-stopping", "9")
    assert os.path.exists(f"{tmp}/out/best/adapter_model.safetensors")
    wick(tmp, "train", "train.yaml", "--overwrite")
    assert not os.path.exists(f"{tmp}/out/best")
    # What others put beside it stays.
    wick(tmp, "train", "train.yaml", "--overwrite", "--early-stopping", "9", "--fine-tune-type", "full")
    mine = [f"{tmp}/out/best{name}" for name in ("-notes", "/model.gguf.mine", "/adapter_config.json.old", "/model-2/config.json",
                                                 "/model/notes", "/model/my.safetensors", "/checkpoint.wick.tmp-mine")]
    os.mkdir(f"{tmp}/out/best/model-2")
    for name in mine:
        open(name, "w", encoding="utf-8").close()
    wick(tmp, "train", "train.yaml", "--overwrite")
    assert all(map(os.path.exists, mine)) and os.listdir(f"{tmp}/out/best/model-2") == ["config.json"]
    assert sorted(os.listdir(f"{tmp}/out/best/model")) == ["my.safetensors", "notes"]


def test_unfinished(tmp):
    """What a killed run had begun to write goes when the next one starts: whole models too, and what others put there stays."""
    write_data(tmp)
    write_options(tmp, samples=0, iters=4, early_stopping=9, fine_tune_type="full", steps_per_eval=2)
    wick(tmp, "train", "train.yaml")
    mine = ["out/notes.txt", "out/model.tmp", "out/best/notes.txt"]
    for name in mine:
        open(f"{tmp}/{name}", "w", encoding="utf-8").close()
    for name in ["out/checkpoint.wick.tmp-7", "out/best/adapter_model.safetensors.tmp-7", "out/model.tmp-7/model.safetensors",
                 "out/best/model.tmp-7/model.safetensors"]:
        os.makedirs(os.path.dirname(f"{tmp}/{name}"), exist_ok=True)
        open(f"{tmp}/{name}", "w", encoding="utf-8").close()
    wick(tmp, "train", "train.yaml", "--resume", "--iters", "6")
    left = [f"{at}/{name}" for at, folders, names in os.walk(f"{tmp}/out") for name in folders + names]
    assert not [name for name in left if ".tmp-" in name], left
    assert all(os.path.exists(f"{tmp}/{name}") for name in mine) and os.path.exists(f"{tmp}/out/best/model"), left


def test_micro_batches(tmp):
    """Micro-batches that make no update are told of."""
    write_data(tmp)
    write_options(tmp, samples=0, iters=5)
    err = wick(tmp, "train", "train.yaml", "--grad-accumulation-steps", "2", "--adapter-path", "a")[1]
    assert "grad_accumulation_steps is 2: the last 1 of 5 make no update" in err, err
    err = wick(tmp, "train", "train.yaml", "--grad-accumulation-steps", "5", "--adapter-path", "b")[1]
    assert "make no update" not in err, err
    err = wick(tmp, "train", "train.yaml", "--grad-accumulation-steps", "6", "--adapter-path", "c", code=1)[1]
    assert "iters is 5 micro-batches, and an update takes grad_accumulation_steps, 6 of them" in err, err
    # A rate that never gets where it is meant to, and more rows than can be.
    err = wick(tmp, "train", "train.yaml", "--warmup", "100", "--grad-accumulation-steps", "2", "--adapter-path", "d")[1]
    assert "lr_schedule.warmup is 100 updates, and the run makes 2: the rate ends at 5e-05, on its way to 0.005" in err, err
    # Two rates: a constant schedule cannot tell which is meant, others go by their arguments, as in mlx-lm.
    err = wick(tmp, "train", "train.yaml", "--arguments", "1e-4", "--adapter-path", "e", code=1)[1]
    assert "lr_schedule.arguments begin with a rate of 0.0001 and learning_rate is 0.005, and a constant schedule has" in err, err
    rate = ("train", "train.yaml", "--lr-schedule", "cosine_decay", "--arguments", "1e-4,10", "--adapter-path", "f", "--overwrite")
    assert "begin with a rate of 0.0001, and so does training; learning_rate, 0.005, is not used" in wick(tmp, *rate)[1]
    assert "learning_rate, 1e-05, is not used" in wick(tmp, *rate, "--learning-rate", "1e-5")[1]  # which it would be if not said
    assert "is not used" not in wick(tmp, *rate, "--learning-rate", "1e-4")[1] and log_of(tmp, "f")[-1]["learning_rate"] < 1e-4
    write_options(tmp, samples=0, iters=5, learning_rate=None)
    assert "is not used" not in wick(tmp, *rate)[1]
    err = wick(tmp, "train", "train.yaml", "--batch-size", "65536", "--adapter-path", "e", code=1)[1]
    assert "tokens, and 1048576 are the most that can be learnt at once: a smaller batch_size or" in err, err


def test_early_stopping(tmp):
    write_data(tmp)
    write_options(tmp, samples=0, learning_rate=0, steps_per_eval=2, early_stopping=2, iters=40)
    err = wick(tmp, "train", "train.yaml")[1]
    assert "stopped early: 2 evaluations without a better loss; none was better than before training" in err, err
    nothing = "wick: the learning rate is 0 from beginning to end, so nothing will change\n"
    assert err.startswith(nothing), err
    for arguments, told in (("cosine_decay, arguments: [0, 10]", 1), ("linear_schedule, arguments: [0, 1.0e-3, 10]", 0),
                            ("cosine_decay, arguments: [1.0e-3, 10]", 0), ("constant, warmup: 2, warmup_init: 1.0e-3", 0)):
        write_options(tmp, samples=0, learning_rate=0, iters=4, lr_schedule=f"{{name: {arguments}}}")
        assert wick(tmp, "train", "train.yaml", "--dry-run")[1].count(nothing) == told, arguments
    write_options(tmp, samples=0, learning_rate=0, steps_per_eval=2, early_stopping=2, iters=40)
    err = wick(tmp, "train", "train.yaml", "--overwrite", "--learning-rate", "0.02", "--iters", "100000")[1]
    assert "the best adapter is in out/best" in err and os.path.exists(f"{tmp}/out/best/adapter_config.json"), err
    err = wick(tmp, "train", "train.yaml", "--overwrite")[1]
    assert "none was better" in err, err
    assert log_of(tmp)[-1]["iteration"] == 4
    assert json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"][-1]["status"] == "stopped"


def test_dry_run(tmp):
    write_data(tmp)
    write_options(tmp, max_seq_length=16)
    out = wick(tmp, "train", "-c", "train.yaml", "--dry-run", "--iters", "7")[0]
    assert "iterations 1 to 7" in out and "24 samples" in out and "are cut" in out and re.search(r"^memory +\d", out, re.M), out
    assert not os.path.exists(f"{tmp}/out") and not os.path.exists(f"{tmp}/share")


def test_wrong(tmp):
    write_data(tmp)
    write_options(tmp)
    def fails(words, *args, code=1, **env):
        err = wick(tmp, "train", *args, code=code, env=env)[1]
        assert words in err, err
        assert not os.path.exists(f"{tmp}/out/checkpoint.wick")
    fails("train needs a model", code=2)
    fails("No such file", "nothing.yaml")
    fails("lora_parameters.rank is a whole number from 1", "train.yaml", "--rank", "0", code=2)
    fails('there is no "q_prj"; did you mean q_proj', "train.yaml", "--keys", "q_prj")
    fails("is no folder; data names", "train.yaml", "--data", "nowhere")
    # A model in the place of the options, a file that is too long for them, and paths that were meant from where the file lies.
    err = wick(tmp, "train", MODEL, code=2)[1]
    assert f"{MODEL}: is a model, and train takes a file of options (YAML)" in err, err
    shutil.copy(f"{tmp}/data/train.jsonl", f"{tmp}/train.json")
    for data in ("data", "data/train.jsonl", "train.json"):
        fails(f'{data}: is training data, and train takes a file of options (YAML); data is its "data", or --data,', "-c", data,
              code=2)
    os.remove(f"{tmp}/train.json")
    with open(f"{tmp}/train.yaml", encoding="utf-8") as f:
        text = f.read()
    with open(f"{tmp}/train.json", "w", encoding="utf-8") as f:  # JSON is YAML, and so may options be
        json.dump(dict(line.split(": ", 1) for line in text.splitlines()), f)
    wick(tmp, "train", "train.json", "--dry-run")
    with open(f"{tmp}/layers.yaml", "w", encoding="utf-8") as f:
        f.write(text + "lora_layers: 4\n")
    fails('there is no key "lora_layers"; did you mean num_layers?', "layers.yaml")
    with open(f"{tmp}/long.yaml", "wb") as f:
        f.write(b"#" * (1 << 20) + b"\n")
    fails("at most 1048576 are read\n", "long.yaml")
    os.mkdir(f"{tmp}/away")
    shutil.copytree(f"{tmp}/data", f"{tmp}/away/corpus")
    shutil.copy(f"{tmp}/train.yaml", f"{tmp}/away/train.yaml")
    fails("corpus: No such file or directory; there is away/corpus, but paths are relative to the folder that wick is started in: "
          "cd away\n", "away/train.yaml", "--data", "corpus")
    # Of test.jsonl a dry run says whether it is there unasked for.
    assert "4 for validation, none for test\n" in wick(tmp, "train", "train.yaml", "--dry-run")[0]
    shutil.copy(f"{tmp}/data/valid.jsonl", f"{tmp}/data/test.jsonl")
    assert "4 for validation, no test asked for (--test)\n" in wick(tmp, "train", "train.yaml", "--dry-run")[0]
    assert "4 for validation, 4 for test\n" in wick(tmp, "train", "train.yaml", "--dry-run", "--test")[0]
    os.remove(f"{tmp}/data/test.jsonl")
    fails("max_seq_length is 8: raise it, or set long_samples: cut\n", "train.yaml", "--max-seq-length", "8", "--long-samples",
          "refuse")
    fails("so what is", "train.yaml", "other.yaml", code=2)
    fails("adapter_path is empty: give a folder, or leave it out", "train.yaml", "--adapter-path", "")
    fails("data is empty: give a folder", "train.yaml", "--data", "")
    fails("train.yaml: is no folder, and adapter_path is the folder", "train.yaml", "--adapter-path", "train.yaml")
    os.symlink("nowhere", f"{tmp}/link")
    fails("link: is a link to a file that is not there", "train.yaml", "--adapter-path", "link")
    for name in ("checkpoint.wick", "adapter_config.json", "report.html", "best"):  # which the first save would find out
        os.makedirs(f"{tmp}/far", exist_ok=True)
        os.symlink("nowhere", f"{tmp}/far/{name}")
        fails(f"far/{name}: ", "train.yaml", "--adapter-path", "far")
        assert os.listdir(f"{tmp}/far") == [name]
        os.remove(f"{tmp}/far/{name}")
    fails("early_stopping is 2, and there is no validation loss to stop by: val_batches is 0", "train.yaml", "--early-stopping",
          "2", "--val-batches", "0")
    with open(f"{tmp}/bad.yaml", "w", encoding="utf-8") as f:
        f.write("model: x\nlerning_rate: 1\n")
    fails("bad.yaml: line 2: there is no key \"lerning_rate\"; did you mean learning_rate?", "bad.yaml")
    with open(f"{tmp}/data/train.jsonl", "a", encoding="utf-8") as f:
        f.write('{"prompt": "x"\n')
    fails("data/train.jsonl: line 25, column", "train.yaml")
    with open(f"{tmp}/data/train.jsonl", "w", encoding="utf-8") as f:
        f.write('{"input_ids": [1,2,3], "labels": [-100,-100,-100]}\n')
    fails("no label is left in any of its 1 samples", "train.yaml")
    open(f"{tmp}/data/train.jsonl", "w", encoding="utf-8").close()
    fails("data/train.jsonl: is empty", "train.yaml")
    os.remove(f"{tmp}/data/train.jsonl")
    fails("data/train.jsonl: No such file", "train.yaml")


def test_not_finite(tmp):
    """A rate that blows the weights up: the step is named, the last checkpoint and adapter stay."""
    write_data(tmp)
    write_options(tmp, samples=0, iters=200, save_every=0, learning_rate=1e3, optimizer="sgd", lora_parameters={"scale": 1e6})
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "none", code=1)[1]
    assert "no checkpoint had been written" in err, err
    wick(tmp, "train", "train.yaml", "--iters", "2", "--learning-rate", "0")
    before = {**files(f"{tmp}/out"), "checkpoint": read(f"{tmp}/out/checkpoint.wick")}
    err = wick(tmp, "train", "train.yaml", "--resume", code=1)[1]
    assert re.search(r"iteration \d+: the (loss|gradient) is not a finite number", err), err
    assert "the last checkpoint" in err and read(f"{tmp}/out/checkpoint.wick") == before["checkpoint"]
    assert files(f"{tmp}/out") == {k: v for k, v in before.items() if k != "checkpoint"}
    run = json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"][-1]
    assert run["status"] == "failed" and err.endswith(f"wick: error: {run['error']}\n"), (run, err)
    assert f"\nerror      {run['error']}\n" in wick(tmp, "runs", "show", str(run["id"]))[0]
    # Once it is gone on with, it has not failed.
    wick(tmp, "train", "train.yaml", "--resume", "--iters", "3", "--learning-rate", "0")
    assert "error" not in json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"][-1]


def test_far_above(tmp):
    """Weights that are blown up and stay numbers: no error, but told, once, below the report that shows it and in the HTML."""
    write_data(tmp)
    def train(*args, **options):
        write_options(tmp, samples=0, fine_tune_type="full", steps_per_report=2, **options)
        err = wick(tmp, "train", "train.yaml", *args)[1]
        return re.findall(r"^wick: (iteration \d+: a train loss of .* is far above 6\.931, .*)$", err, re.M), \
            re.findall('<p class="warning">(.*?)</p>', read(f"{tmp}/out/report.html").decode())
    told, shown = train(learning_rate=1)
    assert len(told) == 1 and told == shown and told[0].endswith("begin anew with a lower learning_rate or a max_grad_norm"), told
    assert train("--resume", learning_rate=1, iters=16) == ([], shown)
    assert train("--overwrite", learning_rate=1, lr_schedule={"warmup": 11, "warmup_init": 1}) == ([], [])  # it may calm down yet
    assert train("--overwrite", learning_rate="1e-2") == ([], [])


def test_blown_up(tmp):
    """Weights that an update blew up are numbers still and are saved; what follows shows it, and the run goes back a save."""
    write_data(tmp)
    os.remove(f"{tmp}/data/valid.jsonl")
    def write(arguments):
        write_options(tmp, samples=0, save_every=1, steps_per_report=1, optimizer="sgd", learning_rate="1e-3",
                      lr_schedule={"name": "exponential_decay", "arguments": arguments})
    write("[0.001, 1000000]")  # 0.001, 1000, ...
    wick(tmp, "train", "train.yaml", "--adapter-path", "good", "--iters", "1")
    want = files(f"{tmp}/good")
    err = wick(tmp, "train", "train.yaml", code=1)[1]
    assert "iteration 3: the loss is not a finite number" in err and "what was saved at iteration 2 leads there, so " in err, err
    assert "out/checkpoint.wick and what was learnt are those of iteration 1 again: go on from there (--resume);" in err, err
    assert files(f"{tmp}/out") == want and not os.path.exists(f"{tmp}/out/checkpoint.wick.before")
    # A checkpoint behind a link goes back as well.
    wick(tmp, "train", "train.yaml", "--adapter-path", "linked", "--iters", "1")
    os.rename(f"{tmp}/linked/checkpoint.wick", f"{tmp}/far.wick")
    os.symlink(f"{tmp}/far.wick", f"{tmp}/linked/checkpoint.wick")
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "linked", "--resume", code=1)[1]
    assert "are those of iteration 1 again" in err and files(f"{tmp}/linked") == want, err
    # A run that ends with such an update does not save it.
    err = wick(tmp, "train", "train.yaml", "--overwrite", "--iters", "2", code=1)[1]
    assert "iteration 2: the loss or gradient that would follow is not a finite number" in err, err
    assert files(f"{tmp}/out") == want and "the last checkpoint, out/checkpoint.wick, stays as it is" in err, err
    assert json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"][-1]["status"] == "failed"
    # It can be gone on with at other rates, as if it had had no others.
    write("[0.001, 1]")
    wick(tmp, "train", "train.yaml", "--resume")
    wick(tmp, "train", "train.yaml", "--adapter-path", "whole")
    assert files(f"{tmp}/out") == files(f"{tmp}/whole") and "checkpoint.wick.before" not in os.listdir(f"{tmp}/out")
    # Full fine-tuning goes back as well, model and all.
    write("[0.001, 1000000]")
    full = ("train", "train.yaml", "--fine-tune-type", "full")
    wick(tmp, *full, "--adapter-path", "full-good", "--iters", "1")
    err = wick(tmp, *full, "--adapter-path", "full", code=1)[1]
    assert "are those of iteration 1 again" in err, err
    assert sorted(os.listdir(f"{tmp}/full")) == sorted(os.listdir(f"{tmp}/full-good"))
    for name in os.listdir(f"{tmp}/full/model"):
        assert read(f"{tmp}/full/model/{name}") == read(f"{tmp}/full-good/model/{name}"), name
    # What validation finds counts as well, and the last checkpoint stays where it was good.
    shutil.copy(f"{tmp}/data/train.jsonl", f"{tmp}/data/valid.jsonl")
    err = wick(tmp, "train", "train.yaml", "--overwrite", "--steps-per-eval", "1", code=1)[1]
    assert "iteration 2: the validation loss is not a finite number" in err and "stays as it is" in err, err
    assert files(f"{tmp}/out") == want
    # Where nothing had been saved before it, that is said.
    write("[1000, 1]")
    err = wick(tmp, "train", "train.yaml", "--overwrite", code=1)[1]
    assert "what was saved at iteration 1 leads there, and there is no checkpoint before it: begin anew (--overwrite)" in err, err
    # Nor is a second name of the same one, which a kill before the next save's first byte leaves, a way back.
    os.link(f"{tmp}/out/checkpoint.wick", f"{tmp}/out/checkpoint.wick.before")
    err = wick(tmp, "train", "train.yaml", "--resume", code=1)[1]
    assert "there is no checkpoint before it: begin anew" in err, err


def test_disk(tmp):
    """A folder that cannot be written to, and a disk that fills up: clear errors."""
    write_data(tmp)
    write_options(tmp, samples=0)
    err = wick(tmp, "train", "train.yaml", "--adapter-path", "/proc/self/out", code=1)[1]
    assert "/proc/self/out: " in err or "/proc/self: " in err, err
    os.makedirs(f"{tmp}/out")
    err = wick(tmp, "train", "train.yaml", "--runs-db", "/proc/self/runs.db")[1]
    assert "the list of runs is not kept" in err, err
    # Files of at most 2 kB: writing the adapter fails as on a full disk.
    script = f"ulimit -f 4; exec {PROGRAM} train train.yaml --overwrite --runs-db ''"
    before = files(f"{tmp}/out")
    done = subprocess.run(["sh", "-c", script], capture_output=True, env=environment(tmp), cwd=tmp, timeout=100)
    assert done.returncode == 1 and b"could not be written: File too large" in done.stderr, done
    assert files(f"{tmp}/out") == before
    # The last save of all fails just so: it is no success.
    script = f"ulimit -f 64; exec {PROGRAM} train train.yaml --overwrite --runs-db '' --iters 2 --rank 64"
    done = subprocess.run(["sh", "-c", script], capture_output=True, env=environment(tmp), cwd=tmp, timeout=100)
    assert done.returncode == 1 and b"could not be written: File too large" in done.stderr, done
    assert files(f"{tmp}/out") == before


def test_full_disk(tmp):
    """A file system that is full when a run goes on: what it had saved stays, and it goes on once there is room. And one that
    cannot be written to. Where a mount of its own is not allowed, there is nothing to test."""
    write_data(tmp)
    write_options(tmp, samples=0, iters=2)
    def mounted(options, *commands):
        script = " && ".join(["mkdir -p disk", f"mount -t tmpfs -o {options} tmpfs disk || exit 99", *commands])
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, env=environment(tmp), cwd=tmp,
                              timeout=100)
        return done.returncode, done.stderr.decode()
    train = f"{PROGRAM} train train.yaml --runs-db '' --adapter-path disk/a"
    code, err = mounted("size=2m", train, "cp -r disk/a before", "(dd if=/dev/zero of=disk/fill bs=1k || true)",
                        f"! {train} --resume --iters 4", "cmp before/checkpoint.wick disk/a/checkpoint.wick", "rm disk/fill",
                        f"{train} --resume --iters 4")
    if code == 99 or "unshare" in err:
        return
    assert code == 0 and "No space left on device" in err, (code, err)
    code, err = mounted("size=1m", train)  # told of at the start, too
    assert code == 1 and re.search(r"a save takes about \d\.\d MB, and \d\.\d MB are free in disk/a", err), err
    code, err = mounted("ro", train)
    assert code == 1 and "disk/a: Read-only file system" in err, (code, err)


def write_ids(path, rows):
    """Token ids as a safetensors file."""
    shape = [len(rows), len(rows[0])]
    header = json.dumps({"input_ids": {"dtype": "I64", "shape": shape, "data_offsets": [0, 8 * shape[0] * shape[1]]}})
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header.encode() + b"".join(struct.pack("<q", i) for row in rows for i in row))


def test_classifier(tmp):
    """A rule that can be learnt, from texts with the names of their classes: whether the first letter is a, b or c. Of texts that
    it has not seen the adapter, with the head that was trained beside it, gets all right."""
    os.makedirs(f"{tmp}/data")
    os.makedirs(f"{tmp}/model")
    for name in ("config.json", "model.safetensors"):
        os.symlink(f"{CLASSIFIER}/{name}", f"{tmp}/model/{name}")
    os.symlink(os.path.abspath("data/tokenizers/bytes-320.json"), f"{tmp}/model/tokenizer.json")  # a token for each byte
    noise = random.Random(5)
    texts = ["abc"[i % 3] + "".join(noise.choice("defghijklmnopqrstuvwxyz") for _ in range(5)) for i in range(360)]
    train, held_out = texts[:300], [t for t in texts[300:] if t not in texts[:300]]
    assert len(held_out) > 40
    for name, part in (("train", train), ("valid", held_out)):
        with open(f"{tmp}/data/{name}.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps({"text": t, "label": f"LABEL_{'abc'.index(t[0])}"}) + "\n" for t in part)
    write_options(tmp, model="model", iters=150, batch_size=16, learning_rate="1e-3", max_grad_norm=1, steps_per_eval=50)
    wick(tmp, "train", "train.yaml")
    assert log_of(tmp)[-1]["val_loss"] < 0.1 < log_of(tmp)[0]["val_loss"], log_of(tmp)
    ids = json.loads(wick(tmp, "tokenize", "model", "abcdefghijklmnopqrstuvwxyz", "-o", "json")[0])["ids"]
    write_ids(f"{tmp}/ids.safetensors", [[ids[ord(c) - ord("a")] for c in t] for t in held_out])
    for lora, least, most in (([], 0, 0.7), (["--lora", "out"], 1, 1)):
        wick(tmp, "logits", "model", *lora, "--ids", "ids.safetensors", "--out", "logits.safetensors")
        raw = read(f"{tmp}/logits.safetensors")
        z = struct.unpack(f"<{3 * len(held_out)}f", raw[8 + struct.unpack("<Q", raw[:8])[0]:])
        best = [max(range(3), key=lambda c: z[3 * i + c]) for i in range(len(held_out))]
        right = sum("abc"[b] == t[0] for b, t in zip(best, held_out)) / len(held_out)
        assert least <= right <= most, (lora, right)
    # The head is learnt whatever the keys are.
    wick(tmp, "train", "train.yaml", "--keys", "q_proj", "--adapter-path", "narrow", "--iters", "2")
    found = json.loads(wick(tmp, "adapters", "inspect", "model", "narrow", "-o", "json")[0])
    assert "score" in json.dumps(found), found


def test_output(tmp):
    write_data(tmp)
    write_options(tmp, samples=0)
    out, err = wick(tmp, "train", "train.yaml", "-o", "jsonl", "-q")
    assert [json.loads(l)["iteration"] for l in out.splitlines()] == [0, 3, 6, 9, 12] and err == ""
    assert list(json.loads(out.splitlines()[0])) == KEYS
    assert wick(tmp, "train", "train.yaml", "--overwrite", "-q") == ("", "")
    runs = wick(tmp, "runs")[0]
    assert runs.splitlines()[0].split()[:3] == ["run", "started", "(UTC)"] and len(runs.splitlines()) == 3
    shown = wick(tmp, "runs", "show", "2")[0]
    assert "status     done, iteration 12" in shown and "\u2502" in shown and "learning_rate" in shown
    assert re.search(r"^ {9}0 +line: train loss, crosses: validation loss +12$", shown, re.M), shown
    plain = wick(tmp, "runs", "2", env={"LC_ALL": "C"})[0]
    assert re.search(r"^[ 0-9.]{8}\|\+", plain, re.M), plain
    assert re.search(r"^ {9}0 +\* train loss, \+ validation loss +12$", plain, re.M), plain
    # Losses of many digits are told with fewer: a row stays as wide as the others, and the options stand right below.
    db = sqlite3.connect(f"{tmp}/share/wick/runs.db")
    with db:
        db.execute("UPDATE point SET train_loss = train_loss * 1.2345e-5, val_loss = val_loss * 1.2345e-5 WHERE run = 1")
        db.execute("DELETE FROM point WHERE run = 2 AND iteration > 0")
    db.close()
    rows = [line for line in wick(tmp, "runs", "1")[0].splitlines() if "\u2502" in line]
    assert len(rows) == 10 and all(len(row) == 80 and row[8] == "\u2502" for row in rows), rows
    assert "\n\n\n" not in wick(tmp, "runs", "2")[0]
    wick(tmp, "train", "train.yaml", "--overwrite", "-q", "--rank", "2", "--iters", "3")
    compared = wick(tmp, "runs", "compare", "1", "3")[0]
    assert re.search(r"^lora_parameters\.rank +8 +2$", compared, re.M) and re.search(r"^iters +12 +3$", compared, re.M), compared
    assert "learning_rate" not in compared
    assert len(json.loads(wick(tmp, "runs", "compare", "1", "2", "-o", "json")[0])["runs"]) == 2
    # A run is known by its whole path: one that is resumed is not taken for another's of the same name in another folder.
    os.makedirs(f"{tmp}/other")
    share = {"XDG_DATA_HOME": f"{tmp}/share"}
    write_data(f"{tmp}/other")
    write_options(f"{tmp}/other", samples=0)
    wick(f"{tmp}/other", "train", "train.yaml", "-q", "--iters", "3", env=share)
    wick(tmp, "train", "train.yaml", "-q", "--resume", "--rank", "2", "--iters", "6")
    listed = json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"]
    assert [(r["iteration"], r["adapter_path"]) for r in listed[2:]] == \
        [(6, os.path.realpath(f"{tmp}/out")), (3, os.path.realpath(f"{tmp}/other/out"))], listed
    assert re.search(r"^ +4 .* other/out +llama-chat$", wick(tmp, "runs")[0], re.M)
    for words, args in (("there is no run 9", ["show", "9"]), ):
        assert words in wick(tmp, "runs", *args, code=1)[1]
    for words, args in (("a run is a number", ["show", "x"]), ("runs knows list", ["remove"]), ("delete takes", ["delete"]),
                        ("a run is a number", ["delete", "x"]), ("compare takes 2", ["compare", "1"])):
        assert words in wick(tmp, "runs", *args, code=2)[1]
    # What is deleted is gone with its points; where one of several cannot go, none does. Numbers are given again, so no points
    # stay behind when deleting fails halfway.
    db = sqlite3.connect(f"{tmp}/share/wick/runs.db")
    db.executescript("CREATE TRIGGER stuck BEFORE DELETE ON point BEGIN SELECT RAISE(FAIL, 'stuck'); END;")
    assert "stuck" in wick(tmp, "runs", "delete", "2", code=1)[1]
    wick(tmp, "runs", "show", "2")
    db.executescript("DROP TRIGGER stuck;")
    db.close()
    assert "there is no run 9" in wick(tmp, "runs", "delete", "2", "9", code=1)[1]
    wick(tmp, "runs", "delete", "2", "3", "02")  # named twice, it goes once
    listed = json.loads(wick(tmp, "runs", "-o", "json")[0])["runs"]
    assert [r["id"] for r in listed] == [1, 4], listed
    assert "there is no run 2" in wick(tmp, "runs", "show", "2", code=1)[1]
    write_options(tmp, samples=0, iters=100000, steps_per_report=1)
    p = subprocess.Popen([PROGRAM, "train", "train.yaml", "--overwrite"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=environment(tmp), cwd=tmp)
    p.stdout.readline()
    assert "run 5 is going on in " in wick(tmp, "runs", "delete", "5", code=1)[1]
    p.kill()
    p.communicate()
    wick(tmp, "runs", "delete", "5")


def on_terminal(tmp, columns, *args):
    """What the program prints on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    p = subprocess.Popen([PROGRAM, *args], stdin=slave, stdout=slave, stderr=slave, env=environment(tmp), cwd=tmp)
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 100)[0]:
        try:
            more = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not more:
            break
        seen += more
    assert p.wait(timeout=60) == 0
    os.close(master)
    return seen.decode()


def test_terminal(tmp):
    """On a terminal a picture stands below the reports."""
    write_data(tmp)
    write_options(tmp, samples=0, project_name="a\u00e9" * 20)
    text = on_terminal(tmp, 80, "train", "train.yaml")
    # At the end it is drawn and stays, with the line of the step below it wiped out.
    last = text[text.rindex("Iter 12/12"):]
    assert "\u2502" in last and last.count("\x1b[J") == 1 and "A\x1b[J" not in last, last
    assert "\u2502" in text and any("\u2800" < c <= "\u28ff" for c in text), text
    assert "iteration 3 of 12," in text and re.search(r"\riteration 0 of 12\x1b", text) and "\x1b[J" in text
    reports = re.findall(r"Iter \d+/12:[^\r\n]*", text)
    assert len(reports) == 5 and all(len(report) < 80 for report in reports), reports
    assert re.search(r"^Iter 12/12: train loss .* tok/s, val loss", reports[-1]), reports
    # In the list of runs each stays one line, cut where the terminal ends, whole characters though.
    for columns in (80, 81):
        lines = on_terminal(tmp, columns, "runs").splitlines()
        assert len(lines) == 2 and all(70 < len(line.encode()) <= columns for line in lines), lines
    assert "a\u00e9" * 20 + " llama-chat" in wick(tmp, "runs")[0]
    # In a narrow one the line that tells of the step stays one line.
    text = on_terminal(tmp, 20, "train", "train.yaml", "--adapter-path", "narrow")
    # Reports leave out what does not fit, down to the two losses.
    report = re.findall(r"Iter 12/12:[^\r\n]*", text)[0]
    assert re.fullmatch(r"Iter 12/12: train loss \d\.\d{4}, val loss \d\.\d{4}", report), report
    lines = re.findall(r"\riteration[^\x1b]*", text)
    assert lines and all(len(line) <= 20 for line in lines), lines


def main():
    failed, asked = 0, sys.argv[1:]
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where a sync takes no time
    for name, test in list(globals().items()):
        if not name.startswith("test_") or (asked and name not in asked):
            continue
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=memory) as tmp:
            try:
                test(tmp)
                print(f"ok {name} ({time.monotonic() - started:.1f} s)")
            except Exception:  # each test is run
                failed += 1
                print(f"FAILED {name}")
                traceback.print_exc()
    sys.exit(1 if failed else 0)


main()
