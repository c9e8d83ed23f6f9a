#!/usr/bin/env python3
"""convert_peers.py: do llama.cpp and transformers read what `wick convert` writes, and answer the same? `make check PART=peers`
runs it, or by hand:

    python3 -m venv peers && peers/bin/pip install torch transformers gguf safetensors xllamacpp    # 3 GB
    WICK_TEST_PROGRAM=build/release/wick peers/bin/python tests/peers/convert_peers.py [NAME...]

Exit code 77 where a package is missing. Each tiny model of tests/data/models becomes a GGUF file, which llama.cpp (xllamacpp,
the prebuilt one) loads, and a folder again, which transformers loads: greedy tokens are held against reference.safetensors',
logits too; Q8_0 and Q4_0 bytes against gguf-py's. SmolLM2, where it was fetched, goes both ways. Tiny models without a vocabulary
of their own get one of plain words."""
import glob, json, os, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS = os.path.join(HERE, "data", "models")
CACHE = os.environ.get("WICK_TEST_CACHE", os.path.expanduser("~/.cache/wick"))
WICK = os.environ.get("WICK_TEST_PROGRAM", os.path.join(HERE, "..", "build", "release", "wick"))
try:
    import numpy as np
    import gguf, torch, transformers, xllamacpp
    from safetensors.numpy import load_file
except ImportError as e:
    print(f"peers is skipped: {e.name} is not installed")
    sys.exit(77)
transformers.logging.set_verbosity_error()
# What llama.cpp does otherwise, by its own design: it has no window in "llama", and computes Phi-3's without one.
NOT_IN_LLAMA_CPP = {"mistral-window": "llama.cpp's llama has no sliding window",
                    "phi3": "llama.cpp computes phi3 without its window",
                    "phi3-partial": "llama.cpp computes phi3 without its window",
                    "phi3-crossing": "llama.cpp chooses longrope's factors by its context, not by the text's length"}
problems = []


def check(name, what, ok, more=""):
    print(f"{'ok ' if ok else 'BAD'} {name}: {what} {more}".rstrip(), flush=True)
    if not ok:
        problems.append(f"{name}: {what}")


def wick(*args):
    done = subprocess.run([WICK, *args], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"wick {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def llama_cpp(path, prompt, n, adapter=None):
    """n greedy tokens after the prompt's ids."""
    p = xllamacpp.CommonParams()
    if adapter:
        p.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
    p.model.path, p.n_ctx, p.n_parallel, p.warmup = path, 512, 1, False
    p.cpuparams.n_threads = 2
    server = xllamacpp.Server(p)
    done = server.handle_completions({"prompt": prompt, "n_predict": n, "temperature": 0, "logprobs": 1, "ignore_eos": True,
                                      "cache_prompt": False})
    return [t["id"] for t in done["choices"][0]["logprobs"]["content"]]


def transformers_run(folder, ids, prompt, n):
    """Logits of ids [B,S], and n greedy tokens."""
    m = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = None if ids is None else m(torch.tensor(ids)).logits.numpy()
        seq = list(prompt)
        for _ in range(n):
            seq.append(int(m(torch.tensor([seq])).logits[0, -1].argmax()))
    return logits, seq[len(prompt):]


def with_vocabulary(source, to):
    """A copy of a tiny model's folder with a tokenizer of as many entries, plain words, so that a server reports every token."""
    shutil.copytree(source, to, ignore=shutil.ignore_patterns("reference*", "config.v4.json", "*.md"))
    if os.path.exists(to + "/tokenizer.json"):
        return to
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    names = special + [f"t{i}" for i in range(len(special), json.load(open(to + "/config.json"))["vocab_size"])]
    names[-1] = "<|endoftext|>"  # Phi-3 needs it; llama.cpp never answers it, so that no reference may have it
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, t in enumerate(names) if t in special or t == names[-1]]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    with open(to + "/tokenizer.json", "w") as f:
        json.dump({"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
                   "decoder": byte_level, "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(names)}, "merges": []}}, f)
    with open(to + "/tokenizer_config.json", "w") as f:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}, f)
    return to


def quantised_bytes(name, folder, plain, tmp):
    for kind in ("q8_0", "q4_0"):
        path = f"{tmp}/{name}.{kind}.gguf"
        wick("convert", folder, "-o", path, "--type", kind)
        want = {t.name: np.array(t.data, dtype=np.float32) for t in gguf.GGUFReader(plain).tensors}
        bad = [t.name for t in gguf.GGUFReader(path).tensors
               if gguf.quants.quantize(want[t.name], t.tensor_type).tobytes() != t.data.tobytes()]
        check(name, f"{kind} bytes are gguf-py's", not bad, bad[:3] or "")
        os.remove(path)


def tiny(name, tmp):
    folder = with_vocabulary(f"{MODELS}/{name}", f"{tmp}/{name}")
    path, back = f"{tmp}/{name}.gguf", f"{tmp}/{name}-back"
    wick("convert", folder, "-o", path)
    wick("convert", path, "-o", back)
    if name == "llama-chat":
        ref = json.load(open(f"{MODELS}/{name}/reference.json"))[1]
        prompt, greedy, ids, want = ref["ids"], ref["greedy_ids"], None, None
    else:
        ref = load_file(f"{MODELS}/{name}/reference.safetensors")
        ids, want = ref.get("input_ids"), ref.get("logits")
        greedy = ref["greedy_ids"][0].tolist() if "greedy_ids" in ref else []
        prompt, greedy = greedy[:16], greedy[16:]
    if greedy:
        got = llama_cpp(path, prompt, len(greedy))
        if name in NOT_IN_LLAMA_CPP:
            print(f"--  {name}: llama.cpp loads it; tokens are not compared: {NOT_IN_LLAMA_CPP[name]}")
        else:
            check(name, "llama.cpp's greedy tokens", got == greedy, "" if got == greedy else f"{got} {greedy}")
    logits, got = transformers_run(back, ids, prompt, len(greedy))
    check(name, "transformers' greedy tokens", got == greedy, "" if got == greedy else f"{got} {greedy}")
    if want is not None:
        error = float(np.linalg.norm(logits - want) / np.linalg.norm(want))
        check(name, "transformers' logits", error < (2e-3 if "gptq" in name else 1e-5), f"({error:.1e})")
    if want is not None and "gptq" not in name:
        quantised_bytes(name, folder, path, tmp)


def smollm2(tmp):
    source = f"{CACHE}/SmolLM2-135M-Instruct.Q4_1.gguf"
    if not os.path.exists(source):
        print("--  SmolLM2: not fetched, left out")
        return
    cases = json.load(open(os.path.join(HERE, "data", "real", "smollm2-135m-q4_1.json")))[:3]
    folder, path = f"{tmp}/smollm2", f"{tmp}/smollm2.gguf"
    wick("convert", source, "-o", folder, "--type", "f32", "--max-shard-size", "200MB")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    wick("convert", folder, "-o", path, "--type", "f16")
    for case in cases:
        n = len(case["ids"])
        check("SmolLM2", "transformers' ids", tokenizer(case["prompt"], add_special_tokens=False)["input_ids"] == case["ids"])
        want = case["greedy_ids"][n:n + 24]
        _, got = transformers_run(folder, None, case["ids"], len(want))
        check("SmolLM2", "transformers' greedy tokens (folder, F32, sharded)", got == want, "" if got == want else f"{got} {want}")
        got = llama_cpp(path, case["ids"], len(want))
        own = json.loads(wick("run", path, "--raw", "-p", case["prompt"], "-n", str(len(want)), "--temp", "0", "--ignore-eos", "-o",
                              "json"))["ids"]
        check("SmolLM2", "llama.cpp's greedy tokens are wick's (GGUF, F16)", got == own, "" if got == own else f"{got} {own}")
    chat = [{"role": "user", "content": "Hi"}]
    rendered = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    with open(f"{tmp}/chat.json", "w") as f:
        json.dump({"messages": chat, "add_generation_prompt": True}, f)
    own = json.loads(wick("tokenize", source, "--render", f"{tmp}/chat.json", "-o", "json"))["text"]
    check("SmolLM2", "transformers renders the chat alike", rendered == own)


def main():
    names = sys.argv[1:] or [os.path.basename(f) for f in sorted(glob.glob(MODELS + "/*")) if os.path.exists(f + "/config.json")
                             and "Classification" not in open(f + "/config.json").read()] + ["SmolLM2"]
    for name in names:
        with tempfile.TemporaryDirectory() as tmp:
            try:
                smollm2(tmp) if name == "SmolLM2" else tiny(name, tmp)
            except Exception as e:  # one peer's trouble should not hide the rest
                check(name, "runs", False, f"{type(e).__name__}: {e}")
    print(f"{len(problems)} problems" + "".join("\n  " + p for p in problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
