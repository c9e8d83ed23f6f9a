#!/usr/bin/env python3
"""Make data/tokenizers/steps.json: small tokenizers, one for each normaliser, pre-tokeniser, decoder, post-processor and flag that
wick knows, with what the `tokenizers` package gives for them.

    make_tokenizer_steps.py OUT_FILE        (needs tokenizers; the file in the tree was made with 0.23)

The file: {"models": {name: model}, "tokenizers": [{"name", "model", "flags", "normalizer", "pre_tokenizer", "post_processor",
"decoder", "added_tokens", "cases": [{"text", "ids", "ids_with_added", "decoded"}]}]}. A model is trained on the texts below without
any pre-tokeniser, so that a cut at the wrong place shows in the ids."""
import json, sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXTS = ["", " ", "  ", "a", "Hello world", " Hello", "Hello  world ", "tab\tand\nnew\r\nline", "it's 12 o'clock, isn't it? 3.14 and 2024-12-18!",
         "a1b22c333 \u00b2\u00bd \u0663", "x--y...z  (q) [r] {s} <t>", "caf\u00e9 cafe\u0301 \u00c9COLE \ufb01 \u212b \u0130", "\u4f60\u597d\uff0c\u4e16\u754c! \u3053\u3093",
         "\U0001F600 e\u200d\U0001F468\u200d\U0001F469 \u0928\u092e\u0938\u094d\u0924\u0947", "foo_bar__baz \u24b6\u24b7 a\u00a0b\u2003c\u3000d", "the the the  the\n\nthe", "  lead and trail  ",
         "<tok> x<tok>y <tok>  <T> Tok tok <nt>N<nt> <ws> a<ws> <ws>b", "aaaa bbbb abab", "-a-b--c-", "\u2581x \u2581\u2581y", "12345678 9"]
MARK = "\u2581"


def trained(texts, size, **kw):
    t = Tokenizer(models.BPE(**kw))
    t.train_from_iterator(texts * 3, trainers.BpeTrainer(vocab_size=size, show_progress=False, min_frequency=2, special_tokens=["<unk>"]))
    return json.loads(t.to_str())["model"]


def bytes_model():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    to_bytes = lambda s: "".join(p for p, _ in pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(s))
    t = Tokenizer(models.BPE())
    t.train_from_iterator([to_bytes(s) for s in TEXTS] * 3, trainers.BpeTrainer(vocab_size=460, show_progress=False, initial_alphabet=alphabet))
    return json.loads(t.to_str())["model"]


def fallback_model(m):
    """The model over characters without some of them, with byte tokens in their place."""
    gone = set("\u00e9\u4f60\U0001F600\u3053")
    keep = [s for s in m["vocab"] if not set(s) & gone]
    vocab = {s: i for i, s in enumerate([f"<0x{b:02X}>" for b in range(256)] + keep)}
    merges = [p for p in m["merges"] if all(x in vocab for x in (*p, "".join(p)))]
    return {**m, "vocab": vocab, "merges": merges}


PLAIN = [s.replace("<tok>", "").replace("<nt>", "") for s in TEXTS]  # added tokens are no words
MODELS = {"chars": trained(PLAIN + [s.replace(" ", MARK) for s in PLAIN], 420), "bytes": bytes_model()}
MODELS["fallback"] = fallback_model(MODELS["chars"])
UNK = {"unk_token": "<unk>"}


def added(content, **kw):
    return {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **kw}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def seq(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


S, R = lambda s: {"String": s}, lambda s: {"Regex": s}
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
OUT = []


def numbered(vocab, tokens):
    """Added tokens with the ids that the package gives them whatever the file says: the vocabulary's, else the next free one."""
    new = [a["content"] for a in tokens if a["content"] not in vocab]
    return [{**a, "id": vocab.get(a["content"], len(vocab) + (new.index(a["content"]) if a["content"] in new else 0))} for a in tokens]


def case(name, model="chars", flags=UNK, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None, added_tokens=()):
    d = {"name": name, "model": model, "flags": flags, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
         "decoder": decoder, "added_tokens": numbered(MODELS[model]["vocab"], added_tokens)}
    t = Tokenizer.from_str(json.dumps({"version": "1.0", "truncation": None, "padding": None, **{k: d[k] for k in list(d)[3:]},
                                       "model": {**MODELS[model], **flags}}))
    d["cases"] = []
    for s in TEXTS:
        ids = t.encode(s, add_special_tokens=False).ids
        decoded = t.decode(ids, skip_special_tokens=False)
        if any(a["normalized"] for a in added_tokens): decoded = None  # 0.23 gives the normalised spelling, earlier ones the token's own, as wick does
        d["cases"].append({"text": s, "ids": ids, "ids_with_added": t.encode(s).ids, "decoded": decoded})
    OUT.append(d)


case("nothing")
case("no unknown token", flags={})
case("fused unknown", model="fallback", flags={"unk_token": "<unk>", "fuse_unk": True})
case("unfused unknown", model="fallback")
case("byte fallback", model="fallback", flags={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
     decoder=seq("decoders", {"type": "ByteFallback"}, {"type": "Fuse"}))
for whole in (False, True):
    case(f"words taken whole: {whole}", flags={**UNK, "ignore_merges": whole}, pre_tokenizer={"type": "WhitespaceSplit"})
    case(f"byte words taken whole: {whole}", model="bytes", flags={"ignore_merges": whole}, pre_tokenizer={**BYTE_LEVEL, "use_regex": True}, decoder=BYTE_LEVEL)
for n in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"): case(n, normalizer={"type": n})
for l, r in ((True, True), (True, False), (False, True)): case(f"Strip {l} {r}", normalizer={"type": "Strip", "strip_left": l, "strip_right": r})
case("Prepend", normalizer={"type": "Prepend", "prepend": MARK})
case("Replace", normalizer=seq("normalizers", {"type": "Replace", "pattern": S("the"), "content": "a"}, {"type": "Replace", "pattern": R(r"\s+"), "content": MARK}))
case("NFD, StripAccents, Lowercase", normalizer=seq("normalizers", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}))
for each in (False, True): case(f"Digits {each}", pre_tokenizer={"type": "Digits", "individual_digits": each})
for b in BEHAVIORS: case(f"Punctuation {b}", pre_tokenizer={"type": "Punctuation", "behavior": b})
for n in ("Whitespace", "WhitespaceSplit"): case(n, pre_tokenizer={"type": n})
case("CharDelimiterSplit", pre_tokenizer={"type": "CharDelimiterSplit", "delimiter": "-"})
for scheme in ("always", "first", "never"):
    for cut in (True, False):
        case(f"Metaspace {scheme} {cut}", pre_tokenizer={"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": cut}, added_tokens=[added("<tok>")])
for b in BEHAVIORS:
    for invert in (False, True):
        case(f"Split string {b} {invert}", pre_tokenizer=split(S("-"), b, invert))
        case(f"Split pattern {b} {invert}", pre_tokenizer=split(R(r"\s+|[.,!?]"), b, invert))
case("Split at empty matches", pre_tokenizer=split(R(r"(?=\d)"), "Isolated"))
case("Split at line ends", pre_tokenizer=split(R(r"\s+$|^\w"), "Isolated"))
for prefix in (False, True):
    for cut in (False, True):
        case(f"ByteLevel {prefix} {cut}", model="bytes", flags={}, pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": prefix, "use_regex": cut}, decoder=BYTE_LEVEL)
case("Digits, ByteLevel", model="bytes", flags={}, pre_tokenizer=seq("pretokenizers", {"type": "Digits", "individual_digits": True}, {**BYTE_LEVEL, "add_prefix_space": True, "use_regex": True}), decoder=BYTE_LEVEL)
case("ByteLevel, Digits", model="bytes", flags={}, pre_tokenizer=seq("pretokenizers", BYTE_LEVEL, {"type": "Digits", "individual_digits": True}), decoder=BYTE_LEVEL)
case("Llama 3", model="bytes", flags={}, pre_tokenizer=seq("pretokenizers", split(R(LLAMA3), "Isolated"), BYTE_LEVEL), decoder=BYTE_LEVEL)
case("Llama 3, inverted", model="bytes", flags={}, pre_tokenizer=seq("pretokenizers", split(R(LLAMA3), "Removed", True), BYTE_LEVEL), decoder=BYTE_LEVEL)
case("three cuts", model="bytes", flags={}, pre_tokenizer=seq("pretokenizers", split(R(r"\p{N}{1,3}"), "Isolated"), {"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL), decoder=BYTE_LEVEL)
for kw in ({}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True}, {"special": True}, {"special": True, "lstrip": True, "single_word": True}):
    case(f"added {kw}", added_tokens=[added("<tok>", **kw), added("<T>", **kw), added("Tok", **kw), added("the", **kw), added("the the", **kw)], pre_tokenizer={"type": "WhitespaceSplit"})
case("added, normalised", normalizer={"type": "Lowercase"}, added_tokens=[added("<nt>", normalized=True), added("<tok>"), added("TOK", normalized=True), added("The", normalized=True)])
case("added, prepended", normalizer=seq("normalizers", {"type": "Prepend", "prepend": MARK}, {"type": "Replace", "pattern": S(" "), "content": MARK}), added_tokens=[added("<tok>"), added("<nt>", normalized=True)])
case("llama 2", model="fallback", flags={"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}, normalizer=seq("normalizers", {"type": "Prepend", "prepend": MARK}, {"type": "Replace", "pattern": S(" "), "content": MARK}),
     decoder=seq("decoders", {"type": "Replace", "pattern": S(MARK), "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}))
case("strip each", decoder=seq("decoders", {"type": "Strip", "content": "t", "start": 1, "stop": 0}, {"type": "Fuse"}))
N = len(MODELS["chars"]["vocab"])
A = {"Sequence": {"id": "A", "type_id": 0}}
T = lambda s: {"SpecialToken": {"id": s, "type_id": 0}}
case("TemplateProcessing", added_tokens=[added("<bos>", special=True), added("<eos>", special=True)],
     post_processor={"type": "TemplateProcessing", "single": [T("<bos>"), A, T("<eos>"), T("<eos>")], "pair": [T("<bos>"), A, {"Sequence": {"id": "B", "type_id": 1}}],
                     "special_tokens": {s: {"id": s, "ids": [i], "tokens": [s]} for s, i in (("<bos>", N), ("<eos>", N + 1))}})
case("RobertaProcessing", added_tokens=[added("<s>", special=True), added("</s>", special=True)],
     post_processor=seq("processors", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                        {"type": "RobertaProcessing", "sep": ["</s>", N + 1], "cls": ["<s>", N], "trim_offsets": True, "add_prefix_space": False}))
with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write('{"models":' + json.dumps(MODELS, separators=(",", ":")) + ',\n"tokenizers":[\n' + ",\n".join(json.dumps(d, separators=(",", ":")) for d in OUT) + "\n]}\n")
print(len(OUT), "tokenizers")
