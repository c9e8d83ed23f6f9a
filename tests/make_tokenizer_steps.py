#!/usr/bin/env python3
"""Make data/tokenizers/steps.json: small tokenizers, one for each normaliser, pre-tokeniser, decoder, post-processor and flag that
wick knows, with what the `tokenizers` package gives for them.

    make_tokenizer_steps.py OUT_FILE [N [SEED]]       (needs tokenizers; the file in the tree was made with 0.23)

With N, random texts, N for each tokenizer, in place of those below: test_tokenizer reads such a file where WICK_TEST_STEPS names it.

The file: {"models": {name: model}, "tokenizers": [{"name", "model", "flags", "normalizer", "pre_tokenizer", "post_processor",
"decoder", "added_tokens", "cases": [{"text", "ids", "ids_with_added", "decoded"}]}]}. A model is trained on the texts below without
any pre-tokeniser, so that a cut at the wrong place shows in the ids."""
import base64, json, random, struct, sys
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

TEXTS = ["", " ", "  ", "a", "Hello world", " Hello", "Hello  world ", "tab\tand\nnew\r\nline", "it's 12 o'clock, isn't it? 3.14 and 2024-12-18!",
         "a1b22c333 \u00b2\u00bd \u0663", "x--y...z  (q) [r] {s} <t>", "caf\u00e9 cafe\u0301 \u00c9COLE \ufb01 \u212b \u0130", "\u4f60\u597d\uff0c\u4e16\u754c! \u3053\u3093",
         "\U0001F600 e\u200d\U0001F468\u200d\U0001F469 \u0928\u092e\u0938\u094d\u0924\u0947", "foo_bar__baz \u24b6\u24b7 a\u00a0b\u2003c\u3000d", "the the the  the\n\nthe", "  lead and trail  ",
         "<tok> x<tok>y <tok>  <T> Tok tok <nt>N<nt> <ws> a<ws> <ws>b", "aaaa bbbb abab", "-a-b--c-", "\u2581x \u2581\u2581y", "12345678 9"]
MARK = "\u2581"
TRAIN = list(TEXTS)
CHARS = ["abcdehlost ", "  \t\n\r", "\u00a0\u2003\u3000\u2028\u0085\u200b\ufeff", "ABCXYZ\u00c9\u0130\u1e9e\u03a3", "0123456789\u0663\u00b2\u2163", ".,!?'-_()[]{}<>$+=^`|~#&*/\\\"@%:;",
         "\u00e9\u00fc\u00f1\u01c5\u1ebf", "\u0301\u0308\u20dd\u0903\u094d\u200d\u200c", "\u4f60\u597d\u4e16\u754c\u3400\uf900\U00020000", "\u3053\u3093\u30ab\u30ac\uff76\uff9e\uac00\u1112\u1161",
         "\u05e9\u05dc\u05d5\u05dd\u0645\u0631\u062d\u0628\u0627\ufdfa", "\U0001F600\U0001F468\u200d\U0001F469\U0001F3FD\U0001F1E9\U0001F1EA\u2764\ufe0f", "\x00\x01\x1b\x7f\u0080\u009f\u202e\ufffd\ue000",
         "\ufb01\u212b\u2460\u33a5\uff21\u2026", "\u2581", "\u0928\u092e\u0938\u0e01\u0e33"]
BITS = ["<tok>", "<nt>", "Tok", "the the", "the ", "<T>", "<unk>", "[UNK]", "[CLS]", "##", "hello", " don't", "  ", "\r\n", "<0x41>", "a" * 130, "e\u0301" * 60]


def random_text(r):
    out = []
    for _ in range(r.choice([1, 2, 3, 5, 8, 13, 30])):
        k = r.random()
        if k < 0.15: out.append(r.choice(BITS[:-2] if r.random() < 0.95 else BITS))
        elif k < 0.3: out.append(r.choice(TRAIN))
        else: out.append("".join(r.choice(r.choice(CHARS) if r.random() < 0.3 else CHARS[0]) for _ in range(r.randint(1, 6))))
    return "".join(out)


def texts_for(number):
    if len(sys.argv) < 3: return TEXTS
    r = random.Random(f"{sys.argv[3] if len(sys.argv) > 3 else 0}-{number}")
    return [random_text(r) for _ in range(int(sys.argv[2]))]


def charsmap(pairs):
    """SentencePiece's table for {text: replacement}: a trie as a double array of XORs, children of a node in one block of 256 units."""
    text, at = b"", {}
    for to in pairs.values():
        if to not in at: at[to] = len(text); text += to.encode() + b"\0"
    trie = {}
    for key, to in pairs.items():
        node = trie
        for b in key.encode(): node = node.setdefault(b, {})
        node[0] = at[to]
    units, used, bases = [0] * 256, {0}, set()  # two nodes with one base would share their children

    def place(node, u):
        base = next(k for k in range(1 << 20) if k not in bases and all((k ^ b) not in used for b in node))
        while len(units) <= (base | 255): units.append(0)
        bases.add(base)
        used.update(base ^ b for b in node)
        offset = u ^ base
        units[u] |= offset << 10 | (256 if 0 in node else 0)
        for b, child in node.items():
            if b: units[base ^ b] = b
            else: units[base] = 1 << 31 | child
        for b, child in node.items():
            if b: place(child, base ^ b)

    place(trie, 0)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + text


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


def unigram_model():
    """Scores from how often the model over characters has each entry; byte tokens at the end."""
    words = [s for s in MODELS["chars"]["vocab"] if s not in ("<unk>", "\U0001F600", "\u3053", "\u00e9")]
    joined = "".join(PLAIN).replace(" ", MARK)
    vocab = [["<unk>", 0.0]] + [[s, round(-12.0 + 0.5 * len(s) + joined.count(s) ** 0.5 / 4 - 0.001 * i, 4)] for i, s in enumerate(words)]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocab}


def wordpiece_model():
    pieces = sorted({p for s in PLAIN for w in s.lower().split() for p in (w[:3], w[:1], "##" + w[1:3], "##" + w[2:], "##" + w[-1:], w)} - {"", "##"})
    letters = [c for c in "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"]
    vocab = dict.fromkeys(["[UNK]", "[CLS]", "[SEP]"] + letters + ["##" + c for c in letters] + pieces)
    return {"type": "WordPiece", "vocab": {s: i for i, s in enumerate(vocab)}, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}


MODELS["unigram"] = unigram_model()
MODELS["unigram bytes"] = {**MODELS["unigram"], "vocab": MODELS["unigram"]["vocab"] + [[f"<0x{b:02X}>", -30.0] for b in range(256)]}
MODELS["wordpiece"] = wordpiece_model()
MODELS["words"] = {"type": "WordLevel", "unk_token": "<unk>", "vocab": {s: i for i, s in enumerate(dict.fromkeys(["<unk>"] + [w for s in PLAIN for w in s.split()]))}}
TABLE = {"\u00a0": " ", "\u3000": " ", "\t": " ", "\n": " ", "\r": " ", "\ufb01": "fi", "\u212b": "\u00c5", "e\u0301": "\u00e9", "\uff76\uff9e": "\u30ac", "\uff76": "\u30ab", "\u00bd": "1/2", "\u2026": "...", "\u200b": "",
         "\u24b6": "A", "\u2460": "1", "\u2163": "IV", "\u0e33": "\u0e4d\u0e32", "X": "Y", "\U0001F600": ":)"}
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


def ids_of(model):
    v = MODELS[model]["vocab"]
    return v if isinstance(v, dict) else {s: i for i, (s, _) in enumerate(v)}


def case(name, model="chars", flags=UNK, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None, added_tokens=(), decode=True):
    d = {"name": name, "model": model, "flags": flags, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
         "decoder": decoder, "added_tokens": numbered(ids_of(model), added_tokens)}
    t = Tokenizer.from_str(json.dumps({"version": "1.0", "truncation": None, "padding": None, **{k: d[k] for k in list(d)[3:]},
                                       "model": {**MODELS[model], **flags}}))
    d["cases"] = []
    for s in texts_for(len(OUT)):
        ids = t.encode(s, add_special_tokens=False).ids
        decoded = t.decode(ids, skip_special_tokens=False) if decode else None
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
META = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "always", "split": True}
PRECOMPILED = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(TABLE)).decode()}
SQUEEZE = {"type": "Replace", "pattern": R(" {2,}"), "content": " "}
case("Precompiled", normalizer=PRECOMPILED)
case("Nmt", normalizer={"type": "Nmt"})
case("ByteLevel normaliser", model="bytes", flags={}, normalizer={"type": "ByteLevel"}, decoder=BYTE_LEVEL)
case("ByteLevel normaliser, NFC before", model="bytes", flags={}, normalizer=seq("normalizers", {"type": "NFC"}, {"type": "ByteLevel"}), pre_tokenizer=split(R("\u0120?[^\u0120]+"), "Isolated"), decoder=BYTE_LEVEL)
for n in (1, 3): case(f"FixedLength {n}", pre_tokenizer={"type": "FixedLength", "length": n})
UNKNOWN = [added("<unk>", special=True)]  # else the package takes the text "<unk>" for the unknown token
for scheme in ("always", "first", "never"):
    for cut in (True, False):
        case(f"Unigram, Metaspace {scheme} {cut}", model="unigram", flags={}, pre_tokenizer={**META, "prepend_scheme": scheme, "split": cut}, decoder={**META, "prepend_scheme": scheme}, added_tokens=[added("<tok>")] + UNKNOWN)
case("Unigram, whole text", model="unigram", flags={}, added_tokens=UNKNOWN, normalizer={"type": "Replace", "pattern": S(" "), "content": MARK})
case("Unigram, Precompiled", model="unigram", added_tokens=UNKNOWN, flags={}, normalizer=seq("normalizers", PRECOMPILED, SQUEEZE), pre_tokenizer=META, decoder=META)
case("Unigram, T5", model="unigram", added_tokens=UNKNOWN, flags={}, normalizer=seq("normalizers", PRECOMPILED, {"type": "Strip", "strip_left": False, "strip_right": True}, SQUEEZE), pre_tokenizer=seq("pretokenizers", {"type": "WhitespaceSplit"}, META), decoder=META)
case("Unigram, bytes", model="unigram bytes", added_tokens=UNKNOWN, flags={"byte_fallback": True}, normalizer=PRECOMPILED, pre_tokenizer=META, decoder=seq("decoders", {"type": "ByteFallback"}, META))
case("Unigram, byte tokens without fallback", model="unigram bytes", added_tokens=UNKNOWN, flags={"byte_fallback": False}, pre_tokenizer=META)
BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
PIECES = {"type": "WordPiece", "prefix": "##", "cleanup": True}
CLS = [{**added(s, special=True)} for s in ("[UNK]", "[CLS]", "[SEP]")]
case("BertNormalizer over BPE", normalizer=BERT)
for k, v in (("clean_text", False), ("handle_chinese_chars", False), ("strip_accents", False), ("lowercase", False), ("strip_accents", True)):
    case(f"BertNormalizer {k} {v}", normalizer={**BERT, **({"lowercase": False} if v else {}), k: v})
case("BertPreTokenizer over BPE", pre_tokenizer={"type": "BertPreTokenizer"})
for clean in (True, False):
    case(f"WordPiece, BERT, cleanup {clean}", model="wordpiece", flags={}, normalizer=BERT, pre_tokenizer={"type": "BertPreTokenizer"}, decoder={**PIECES, "cleanup": clean}, added_tokens=CLS,
         post_processor={"type": "TemplateProcessing", "single": [T("[CLS]"), A, T("[SEP]")], "pair": [T("[CLS]"), A, T("[SEP]"), {"Sequence": {"id": "B", "type_id": 1}}, T("[SEP]")],
                         "special_tokens": {s: {"id": s, "ids": [i], "tokens": [s]} for s, i in (("[CLS]", 1), ("[SEP]", 2))}})
case("WordPiece, short words", model="wordpiece", flags={"max_input_chars_per_word": 5}, normalizer=BERT, pre_tokenizer={"type": "BertPreTokenizer"}, decoder=PIECES,
     post_processor={"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}, added_tokens=CLS)
case("WordPiece, another prefix", model="wordpiece", flags={"continuing_subword_prefix": "e"}, pre_tokenizer={"type": "WhitespaceSplit"}, added_tokens=CLS[:1])
case("WordPiece without a cut", model="wordpiece", flags={}, added_tokens=CLS[:1])
case("WordLevel", model="words", flags={}, pre_tokenizer={"type": "WhitespaceSplit"})
case("WordLevel, Whitespace", model="words", flags={}, pre_tokenizer={"type": "Whitespace"})


def affixed(size, to_words, **affix):
    """BPE whose entries say where in a word they stand: trained on words, since a whole text would be one word."""
    t = Tokenizer(models.BPE(**affix, **({} if to_words else UNK)))
    t.pre_tokenizer = to_words or pre_tokenizers.WhitespaceSplit()
    t.train_from_iterator(PLAIN * 3, trainers.BpeTrainer(vocab_size=size, show_progress=False, min_frequency=2, special_tokens=[] if to_words else ["<unk>"], **affix))
    m = json.loads(t.to_str())["model"]
    return {**m, "unk_token": None}


END, INSIDE = {"end_of_word_suffix": "</w>"}, {"continuing_subword_prefix": "##"}
MODELS["ended"], MODELS["inside"], MODELS["both"] = affixed(360, None, **END), affixed(360, None, **INSIDE), affixed(460, None, **END, **INSIDE)
MODELS["ended bytes"] = affixed(420, pre_tokenizers.ByteLevel(add_prefix_space=False), **END)
SPLIT, BPE_DECODER = {"type": "WhitespaceSplit"}, {"type": "BPEDecoder", "suffix": "</w>"}
case("end_of_word_suffix", model="ended", pre_tokenizer=SPLIT, decoder=BPE_DECODER)
case("end_of_word_suffix, no unknown token", model="ended", flags={}, pre_tokenizer=SPLIT, decoder=BPE_DECODER)
case("end_of_word_suffix, fused unknown", model="ended", flags={**UNK, "fuse_unk": True}, pre_tokenizer={"type": "Whitespace"}, decoder=BPE_DECODER)
case("end_of_word_suffix, whole text", model="ended", decoder=BPE_DECODER, added_tokens=[added("<tok>"), added("<T>", special=True)])
case("end_of_word_suffix, words taken whole", model="ended", flags={**UNK, "ignore_merges": True}, pre_tokenizer=SPLIT)
case("continuing_subword_prefix", model="inside", pre_tokenizer=SPLIT, decoder=PIECES)
case("continuing_subword_prefix, whole text", model="inside", flags={**UNK, "fuse_unk": True})
case("both affixes", model="both", pre_tokenizer=SPLIT, decoder=seq("decoders", BPE_DECODER, {"type": "Fuse"}))
case("CLIP", model="ended bytes", flags={}, normalizer=seq("normalizers", {"type": "NFC"}, {"type": "Replace", "pattern": R(r"\s+"), "content": " "}, {"type": "Lowercase"}),
     pre_tokenizer=seq("pretokenizers", split(R(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "Removed", True), BYTE_LEVEL), decoder=BPE_DECODER)
case("BPEDecoder, a suffix inside tokens", decoder={"type": "BPEDecoder", "suffix": "e"})
for clean in (True, False):
    case(f"CTC {clean}", model="inside", pre_tokenizer=SPLIT, decoder={"type": "CTC", "pad_token": "<tok>", "word_delimiter_token": "#", "cleanup": clean}, added_tokens=[added("<tok>", special=True), added("<nt>")])
SCRIPTS = {"type": "UnicodeScripts"}
case("UnicodeScripts", pre_tokenizer=SCRIPTS)
case("UnicodeScripts, digits and spaces", pre_tokenizer=seq("pretokenizers", SCRIPTS, {"type": "Digits", "individual_digits": True}, SPLIT))
case("UnicodeScripts, bytes", model="bytes", flags={}, pre_tokenizer=seq("pretokenizers", SCRIPTS, BYTE_LEVEL), decoder=BYTE_LEVEL)
case("CTC over characters", model="ended", pre_tokenizer={"type": "FixedLength", "length": 1}, decoder={"type": "CTC", "pad_token": "a", "word_delimiter_token": "-", "cleanup": True})
with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write('{"models":' + json.dumps(MODELS, separators=(",", ":")) + ',\n"tokenizers":[\n' + ",\n".join(json.dumps(d, separators=(",", ":")) for d in OUT) + "\n]}\n")
print(len(OUT), "tokenizers")
