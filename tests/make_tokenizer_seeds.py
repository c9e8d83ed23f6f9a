#!/usr/bin/env python3
"""Make seeds for the fuzz targets of tokenizers: small files of each kind of model, from nothing.

    make_tokenizer_seeds.py CORPUS       (writes CORPUS/tokenizer_json/made-* and CORPUS/tokenizer_gguf/made-*)

A JSON seed is a tokenizer.json, a NUL and a text for it. Python's own library suffices."""
import base64, json, os, struct, sys

MARK = "\u2581"
TABLE = struct.pack("<256I", *[{97: 97 | 0x100 | 1 << 10, 96: 1 << 31, 98: 98}.get(i, 0) for i in range(256)])
CHARSMAP = struct.pack("<I", len(TABLE)) + TABLE + "\u00e9\0".encode()  # "a" becomes "é"
TEXT = "\0<s>abc Ab \u00e9\u4f60 ab <u>zz, c\u0301!</s>"


def unigram(**more):
    vocab = [["<unk>", 0], ["<s>", 0], [MARK, -2.5], ["a", -3], ["b", -3.5], [MARK + "ab", -4], ["\u00e9", -5], ["bc", -6]]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocab, **more}


def wordpiece(**more):
    return {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9,
            "vocab": {s: i for i, s in enumerate(["[UNK]", "[CLS]", "[SEP]", "ab", "##c", "a", "##b", "!", ","])}, **more}


def bpe(entries, merges, **more):
    return {"type": "BPE", "unk_token": "<unk>", "vocab": {s: i for i, s in enumerate(["<unk>"] + entries)}, "merges": merges, **more}


def added(*tokens):
    return [{"id": i, "content": s, "special": special, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False} for i, s, special in tokens]


META = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": True}
BYTES = [[f"<0x{b:02X}>", -20] for b in range(256)]
BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
PROCESSOR = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"[CLS]": {"ids": [1]}}}
JSON = {
    "unigram": {"model": unigram(), "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(CHARSMAP).decode()},
                "pre_tokenizer": META, "decoder": META, "added_tokens": added((1, "<s>", True), (8, "<u>", False))},
    "bytes": {"model": unigram(byte_fallback=True, vocab=unigram()["vocab"] + BYTES), "normalizer": {"type": "Nmt"},
              "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, META]}},
    "wordpiece": {"model": wordpiece(), "normalizer": BERT, "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": PROCESSOR,
                  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}, "added_tokens": added((1, "[CLS]", True), (2, "[SEP]", True))},
    "ended": {"model": bpe(["a", "b", "c", "a</w>", "b</w>", "c</w>", "ab</w>", "ca"], ["a b</w>", "c a"], end_of_word_suffix="</w>"),
              "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": {"type": "BPEDecoder", "suffix": "</w>"}},
    "inside": {"model": bpe(["a", "b", "c", "##a", "##b", "##c", "ab", "##ca"], ["a ##b", "##c ##a"], continuing_subword_prefix="##", fuse_unk=True),
               "normalizer": {"type": "Replace", "pattern": {"String": "z"}, "content": "aaaa"},
               "decoder": {"type": "CTC", "pad_token": "<unk>", "word_delimiter_token": "#", "cleanup": True}},
    "wordlevel": {"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "ab": 1}}, "normalizer": {"type": "ByteLevel"},
                  "pre_tokenizer": {"type": "FixedLength", "length": 2}},
}


def text(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def value(v):
    if isinstance(v, bool): return struct.pack("<I?", 7, v)
    if isinstance(v, int): return struct.pack("<II", 4, v)
    if isinstance(v, str): return struct.pack("<I", 8) + text(v)
    if isinstance(v, bytes): return struct.pack("<IIQ", 9, 0, len(v)) + v
    if isinstance(v[0], str): return struct.pack("<IIQ", 9, 8, len(v)) + b"".join(map(text, v))
    code, kind = ("f", 6) if isinstance(v[0], float) else ("i", 5)
    return struct.pack(f"<IIQ{len(v)}{code}", 9, kind, len(v), *v)


def gguf(**keys):
    pairs = [text("tokenizer.ggml." + k) + value(v) for k, v in keys.items()]
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(pairs)) + b"".join(pairs)


GGUF = {
    "t5": gguf(model="t5", tokens=["<unk>", "</s>", MARK, "a", "b", MARK + "ab", "<u>"], token_type=[2, 3, 1, 1, 1, 1, 4],
               scores=[0.0, 0.0, -2.0, -3.0, -3.5, -4.0, -1.0], precompiled_charsmap=CHARSMAP, add_space_prefix=True,
               remove_extra_whitespaces=True, eos_token_id=1, unknown_token_id=0),
    "bert": gguf(model="bert", tokens=["[UNK]", "[CLS]", "[SEP]", MARK + "ab", "c", MARK, MARK + "a", "b"], token_type=[3, 3, 3, 1, 1, 1, 1, 1],
                 unknown_token_id=0, cls_token_id=1, seperator_token_id=2),
    "gemma4": gguf(model="gemma4", tokens=["<unk>", "<s>", MARK, "a", "b", "ab", MARK + "ab", "\n"], token_type=[2, 3, 1, 1, 1, 1, 1, 1],
                   merges=["a b", MARK + " ab"], bos_token_id=1, unknown_token_id=0),
}
for name, j in JSON.items():
    with open(os.path.join(sys.argv[1], "tokenizer_json", "made-" + name), "w", encoding="utf-8") as f: f.write(json.dumps(j, ensure_ascii=False) + TEXT)
for name, b in GGUF.items():
    with open(os.path.join(sys.argv[1], "tokenizer_gguf", "made-" + name), "wb") as f: f.write(b)
