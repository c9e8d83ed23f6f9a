#!/usr/bin/env python3
"""adapter_peers.py: do PEFT and llama.cpp read the adapters that wick writes, and wick what llama.cpp's converter writes?
`make check PART=peers` runs it, or by hand, with the packages of convert_peers.py and peft:

    WICK_TEST_PROGRAM=build/release/wick peers/bin/python tests/peers/adapter_peers.py [MODEL/ADAPTER...]

Each adapter of tests/data/adapters goes from PEFT to mlx, to GGUF and back, along every way between two formats. PEFT loads what
comes out as a PEFT folder: its logits are held against reference.safetensors'. llama.cpp loads the GGUF files beside the base model
as wick converts it: its greedy tokens are held against PEFT's. Where llama.cpp's source was fetched (make bench does so), its
convert_lora_to_gguf.py writes the same adapter too: tensors must be equal, and wick must read them, of 8 bits too."""
import glob, itertools, json, os, subprocess, sys, tempfile
from convert_peers import CACHE, HERE, MODELS, NOT_IN_LLAMA_CPP, check, llama_cpp, problems, wick, with_vocabulary

try:
    import numpy as np
    import gguf, peft, torch, transformers
    from safetensors.numpy import load_file
except ImportError as e:
    print(f"peers is skipped: {e.name} is not installed")
    sys.exit(77)
ADAPTERS = os.path.join(HERE, "data", "adapters")
CONVERTER = os.path.join(CACHE, "llama.cpp-src", "convert_lora_to_gguf.py")
N_PROMPT, N_GREEDY = 16, 24
# What a format has no place for: the words of wick's refusal.
NOT_IN_GGUF = {"dora": "DoRA", "saved": "saved module"}
# llama.cpp holds a tied head under the embedding's name and finds the embedding's adapter for it, whose matrices lie the other way
# round: it aborts in ggml_can_mul_mat, with its own converter's file as with wick's.
TIED_EMBEDDING = "llama.cpp applies an embedding's adapter to the head that is tied to it, and aborts"


def peft_model(base, adapter):
    config = json.load(open(base + "/config.json"))
    auto = (transformers.AutoModelForSequenceClassification if "Classification" in config["architectures"][0]
            else transformers.AutoModelForCausalLM)
    m = auto.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    return peft.PeftModel.from_pretrained(m, adapter).eval()


def logits_of(m, ref):
    mask = {"attention_mask": torch.tensor(ref["attention_mask"])} if "attention_mask" in ref else {}
    with torch.no_grad():
        return m(input_ids=torch.tensor(ref["input_ids"]), **mask).logits.numpy()


def greedy(m, prompt):
    """N_GREEDY tokens, but not the vocabulary's last, which with_vocabulary() makes an end and llama.cpp leaves out so."""
    seq = list(prompt)
    with torch.no_grad():
        for _ in range(N_GREEDY):
            seq.append(int(m(input_ids=torch.tensor([seq])).logits[0, -1, :-1].argmax()))
    return seq[len(prompt):]


def refusal(path, *args):
    """What wick says where it cannot write a format; None: it wrote it."""
    try:
        wick("adapters", "convert", *args, "-o", path)
        return None
    except RuntimeError as e:
        return str(e)


def converted(base, source, tmp, name, gguf_lacks):
    """{format: path} of an adapter in each format, made from the PEFT folder."""
    paths = {"peft": source}
    for kind, end in (("mlx", "-mlx"), ("gguf", ".gguf")):
        path = f"{tmp}/adapter{end}"
        why = refusal(path, base, source, "--format", kind)
        if kind == "gguf" and gguf_lacks:
            check(name, "GGUF is refused, and why", why is not None and gguf_lacks in why, why or "")
        elif kind == "mlx" and why:
            print(f"--  {name}: {why.splitlines()[0]}")
        else:
            check(name, f"written as {kind}", why is None, why or "")
        if why is None:
            paths[kind] = path
    return paths


def every_way(base, paths, ref, tmp, name):
    """From each format to each, and from there to PEFT, whose logits are the reference's."""
    for a, b in itertools.product(paths, paths):
        between, last = f"{tmp}/{a}-{b}" + (".gguf" if b == "gguf" else ""), f"{tmp}/{a}-{b}-peft"
        wick("adapters", "convert", base, paths[a], "--format", b, "-o", between)
        wick("adapters", "convert", base, between, "--format", "peft", "-o", last)
        error = distance(logits_of(peft_model(base, last), ref), ref["logits"])
        check(name, f"PEFT's logits, {a} to {b} to peft", error < 1e-4, f"({error:.1e})")


def distance(got, want):
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def tensors(path):
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type).reshape(t.data.shape if t.tensor_type < 2 else (t.shape[1], -1))
            for t in gguf.GGUFReader(path).tensors}


def llama_cpps_file(base, source, paths, ref, tmp, name):
    """llama.cpp's converter and wick's agree; its files are read. It takes one alpha for all, and divides it by each rank: so
    only adapters that mean the same have equal numbers."""
    config = json.load(open(source + "/adapter_config.json"))
    plain = not (config["use_rslora"] or config["alpha_pattern"] or config["rank_pattern"])
    for kind in ("f32", "q8_0"):
        path = f"{tmp}/llama.cpp-{kind}.gguf"
        done = subprocess.run([sys.executable, CONVERTER, "--base", base, "--outtype", kind, "--outfile", path, source],
                              capture_output=True, text=True)
        if done.returncode:
            print(f"--  {name}: llama.cpp's converter does not take it: {done.stderr.strip().splitlines()[-1]}")
            return
        if kind == "f32" and plain:
            theirs, ours = tensors(path), tensors(paths["gguf"])
            same = set(theirs) == set(ours) and all(np.array_equal(theirs[n], ours[n]) for n in ours)
            check(name, "the tensors are those of llama.cpp's converter", same)
        back = f"{tmp}/llama.cpp-{kind}-peft"
        wick("adapters", "convert", base, path, "--format", "peft", "-o", back)
        if plain:
            error = distance(logits_of(peft_model(base, back), ref), ref["logits"])
            check(name, f"llama.cpp's {kind} file is read", error < (1e-4 if kind == "f32" else 2e-2), f"({error:.1e})")


def one(name, tmp):
    model = name.split("/")[0]
    base, source = with_vocabulary(f"{MODELS}/{model}", f"{tmp}/{model}"), f"{ADAPTERS}/{name}"
    ref = load_file(source + "/reference.safetensors")
    config = json.load(open(source + "/adapter_config.json"))
    lacks = NOT_IN_GGUF["dora"] if config["use_dora"] else NOT_IN_GGUF["saved"] if config["modules_to_save"] else None
    paths = converted(base, source, tmp, name, lacks)
    every_way(base, paths, ref, tmp, name)
    if "gguf" not in paths:
        return
    if os.path.exists(CONVERTER):
        llama_cpps_file(base, source, paths, ref, tmp, name)
    why = NOT_IN_LLAMA_CPP.get(model)
    if json.load(open(base + "/config.json")).get("tie_word_embeddings") and "embed_tokens" in config["target_modules"]:
        why = TIED_EMBEDDING
    if why:
        print(f"--  {name}: llama.cpp's tokens are not compared: {why}")
        return
    path = f"{tmp}/{model}.gguf"
    wick("convert", base, "-o", path)
    prompt = ref["input_ids"][0, :N_PROMPT].tolist()
    want, got, off = greedy(peft_model(base, source), prompt), llama_cpp(path, prompt, N_GREEDY, paths["gguf"]), None
    if got == want:
        off = llama_cpp(path, prompt, N_GREEDY)
    check(name, "llama.cpp's greedy tokens are PEFT's", got == want, "" if got == want else f"{got} {want}")
    check(name, "and others without the adapter", off != got)


def main():
    names = sys.argv[1:] or [os.path.relpath(os.path.dirname(f), ADAPTERS)
                             for f in sorted(glob.glob(ADAPTERS + "/*/*/adapter_config.json"))]
    for name in names:
        with tempfile.TemporaryDirectory() as tmp:
            try:
                one(name, tmp)
            except Exception as e:  # one adapter's trouble should not hide the rest
                check(name, "runs", False, f"{type(e).__name__}: {e}")
    print(f"{len(problems)} problems" + "".join("\n  " + p for p in problems))
    sys.exit(1 if problems else 0)


main()
