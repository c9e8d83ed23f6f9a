#!/usr/bin/env python3
"""Build tokenizer.json files from GGUF vocabularies that others wrote, so that the tests can hold both readers against each other.

    make_tokenizer_json.py CACHE

Reads CACHE/SmolLM2-135M-Instruct.Q4_1.gguf, CACHE/models/ggml-vocab-llama-spm.gguf and data/tokenizers/unigram-nfkc.gguf beside this
script; writes CACHE/tokenizers/smollm2-json/, llama-2-json/ and unigram-nfkc-json/ (tokenizer.json and tokenizer_config.json). What is there already is left alone. A source that is
missing is named, and the exit status is then 1. Python's own library suffices."""
import base64, json, mmap, os, struct, sys

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def gguf_keys(path, wanted):
    """The keys of a GGUF file (versions 2 and 3) whose names are wanted; strings decoded, arrays as lists."""
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m:
        at = 0

        def number(code):
            nonlocal at
            v = struct.unpack_from("<" + code, m, at)[0]
            at += struct.calcsize("<" + code)
            return v

        def text():
            nonlocal at
            n = number("Q")
            at += n
            return m[at - n:at].decode("utf-8")

        def value(kind):
            if kind == 8: return text()
            if kind == 9:
                element, n = number("I"), number("Q")
                return [value(element) for _ in range(n)]
            return number(SCALARS[kind])

        if m[:4] != b"GGUF": raise SystemExit(f"{path}: not a GGUF file")
        at = 4
        number("I"), number("Q")
        keys = {}
        for _ in range(number("Q")):
            name = text()
            v = value(number("I"))
            if name in wanted: keys[name] = v
        return keys


def added(tokens, ids):
    return [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i in ids]


def whole(normalizer, pre_tokenizer, decoder, tokens, special, **model):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(tokens, special), "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
            "post_processor": None, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "ignore_merges": False,
                      "vocab": {s: i for i, s in enumerate(tokens)}, **model}}


def smollm2(k):
    """Digits one by one, then GPT-2's pattern, byte-level BPE; control tokens (type 3) as special added tokens."""
    tokens, types = k["tokenizer.ggml.tokens"], k["tokenizer.ggml.token_type"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    pre = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}
    return whole(None, pre, {**byte_level, "add_prefix_space": True}, tokens, [i for i, t in enumerate(types) if t == 3],
                 unk_token=None, fuse_unk=False, byte_fallback=False, merges=[m.split(" ", 1) for m in k["tokenizer.ggml.merges"]])


def llama_2(k):
    """BPE over characters with byte fallback; U+2581 in front and for spaces; a merge for every way to put a token together, best score first."""
    tokens, types, scores = k["tokenizer.ggml.tokens"], k["tokenizer.ggml.token_type"], k["tokenizer.ggml.scores"]
    ids = {s: i for i, s in enumerate(tokens)}
    merges = [(-scores[i], ids[s[:j]], ids[s[j:]], s[:j], s[j:]) for s, i in ids.items() if types[i] == 1
              for j in range(1, len(s)) if s[:j] in ids and s[j:] in ids]
    mark, space = {"String": "\u2581"}, {"String": " "}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": space, "content": "\u2581"}]}
    decoder = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": mark, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return whole(normalizer, None, decoder, tokens, [ids[s] for s in ("<unk>", "<s>", "</s>")],
                 unk_token="<unk>", fuse_unk=True, byte_fallback=True, merges=[f"{a} {b}" for *_, a, b in sorted(merges, key=lambda m: m[:3])])


def unigram(k):
    """As XLM-RoBERTa's: the table of replacements, runs of spaces made one, U+2581 in front of every word; [spelling, score] by id."""
    tokens, types = k["tokenizer.ggml.tokens"], k["tokenizer.ggml.token_type"]
    table = base64.b64encode(bytes(k["tokenizer.ggml.precompiled_charsmap"])).decode()
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": table},
                                                      {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    t = whole(normalizer, metaspace, metaspace, tokens, [i for i, kind in enumerate(types) if kind != 1])
    t["model"] = {"type": "Unigram", "unk_id": 2, "byte_fallback": False,
                  "vocab": [[s, x] for s, x in zip(tokens, k["tokenizer.ggml.scores"])]}
    return t


HERE = os.path.dirname(os.path.abspath(__file__))
SETS = [
    ("smollm2-json", "SmolLM2-135M-Instruct.Q4_1.gguf", smollm2, {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 8192}),
    ("llama-2-json", "models/ggml-vocab-llama-spm.gguf", llama_2, {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}),
    ("unigram-nfkc-json", os.path.join(HERE, "data/tokenizers/unigram-nfkc.gguf"), unigram, {"tokenizer_class": "XLMRobertaTokenizer"}),
]


def main(cache):
    wanted = {"tokenizer.ggml." + s for s in ("tokens", "token_type", "scores", "merges", "precompiled_charsmap")}
    missing = 0
    for name, source, build, config in SETS:
        folder, path = os.path.join(cache, "tokenizers", name), os.path.join(cache, source)
        if os.path.exists(folder + "/tokenizer.json") and os.path.exists(folder + "/tokenizer_config.json"): continue
        if not os.path.exists(path):
            print(f"{name}: {path} is missing", file=sys.stderr)
            missing = 1
            continue
        os.makedirs(folder, exist_ok=True)
        for file, content in (("tokenizer_config.json", config), ("tokenizer.json", build(gguf_keys(path, wanted)))):
            with open(f"{folder}/{file}.part", "w", encoding="utf-8") as f: json.dump(content, f, ensure_ascii=False, separators=(",", ":"))
            os.replace(f"{folder}/{file}.part", f"{folder}/{file}")
        print(f"{folder}: made")
    return missing


if __name__ == "__main__":
    if len(sys.argv) != 2: raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1]))
