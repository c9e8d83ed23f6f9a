#!/usr/bin/env python3
"""Makes data/tokenizers/bytes-320.json: a tokenizer.json of one token for each byte and no merges, with <s> put in front,
for the classifiers of data/models, whose vocabulary of 320 has no tokenizer. Python's own library suffices."""
import json, os

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "tokenizers", "bytes-320.json")


def byte_alphabet():
    """GPT-2's characters for bytes: themselves where they can be seen, else from U+0100 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(b) if b in seen else chr(next(hidden)) for b in range(256)]


special = ["<pad>", "<s>", "</s>", "<unk>"]
tokens = special + byte_alphabet() + [f"<extra_{i}>" for i in range(320 - 4 - 256)]
json.dump({
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                     for i, t in enumerate(special)],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": {"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                {"Sequence": {"id": "B", "type_id": 1}}],
                       "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
              "fuse_unk": False, "byte_fallback": False, "vocab": {t: i for i, t in enumerate(tokens)}, "merges": []},
}, open(OUT, "w", encoding="utf-8"), ensure_ascii=True, separators=(",", ":"))
