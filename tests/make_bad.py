#!/usr/bin/env python3
"""make_bad.py: writes the files of tests/bad/ (each wrong in one way), tests/data/gguf/ (small right ones) and the seeds of
tests/fuzz/corpus/ (what has a number for a name there, libFuzzer found and its coverage keeps). Needs nothing but Python;
run it in any place, it writes beside itself. What each bad file must be
answered with stands in tests/unit/test_gguf.c, test_safetensors.c and test_checkpoint.c."""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FORM = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
TENSOR_F32, TENSOR_F16, TENSOR_Q4_0, TENSOR_Q8_0, TENSOR_F64 = 0, 1, 2, 8, 28
BLOCK = {TENSOR_F32: (1, 4), TENSOR_F16: (1, 2), TENSOR_Q4_0: (32, 18), TENSOR_Q8_0: (32, 34), TENSOR_F64: (1, 8)}


def u32(n): return struct.pack("<I", n)
def u64(n): return struct.pack("<Q", n)
def text(s): s = s if isinstance(s, bytes) else s.encode(); return u64(len(s)) + s


def value(kind, v):
    if kind == STR: return text(v)
    if kind == ARR: return u32(v[0]) + u64(len(v[1])) + b"".join(value(v[0], x) for x in v[1])
    return struct.pack("<" + FORM[kind], v)


def key(name, kind, v): return text(name) + u32(kind) + value(kind, v)


def tensor(name, shape, kind=TENSOR_F32, offset=None):
    """shape as GGUF has it, fastest first; offset None: behind the one before."""
    return dict(name=name, shape=shape, kind=kind, offset=offset)


def size_of(t):
    n = 1
    for d in t["shape"]: n *= d
    block, size = BLOCK.get(t["kind"], (1, 4))
    return n // block * size


def fill(n, seed):
    """Bytes that are plausible weights in every type: halves and floats near 0.01, codes that vary."""
    return bytes((seed * 31 + i * 7) % 32 for i in range(n))


def gguf(keys=(), tensors=(), magic=b"GGUF", version=3, n_key=None, n_tensor=None, align=32, cut=None, tail=b""):
    """keys are ready bytes; tensors' data is made up."""
    head = magic + u32(version) + u64(len(tensors) if n_tensor is None else n_tensor) + u64(len(keys) if n_key is None else n_key)
    head += b"".join(keys)
    at, data = 0, b""
    for i, t in enumerate(tensors):
        offset = at if t["offset"] is None else t["offset"]
        head += text(t["name"]) + u32(len(t["shape"])) + b"".join(u64(d) for d in t["shape"])
        head += u32(t["kind"]) + u64(offset)
        if size_of(t) < 1 << 20:
            data += fill(size_of(t), i)
            data += bytes(-len(data) % align)
            at = len(data)
    if tensors: head += bytes(-len(head) % align)
    out = head + data + tail
    return out[:cut] if cut else out


ARCH = key("general.architecture", STR, "llama")
TWO = [tensor("a", [32, 2]), tensor("b", [32])]


def bad_gguf():
    t = tensor
    yield "empty", b""
    yield "other-magic", gguf(magic=b"GGML")
    yield "only-magic", b"GGUF"
    yield "cut-header", gguf()[:20]
    yield "version-1", gguf(version=1)
    yield "version-9", gguf(version=9)
    yield "big-endian", gguf(version=3 << 24)
    yield "key-count-huge", gguf([ARCH], n_key=(1 << 63) - 1)
    yield "key-count-beyond", gguf([ARCH], n_key=6)
    yield "key-count-one-more", gguf([ARCH], n_key=2, tail=bytes(1))
    yield "tensor-count-huge", gguf([ARCH], TWO, n_tensor=1 << 63)
    yield "tensor-count-beyond", gguf([ARCH], [], n_tensor=1)
    yield "key-length-huge", gguf([u64(1 << 63) + b"general.architecture" + u32(U8) + b"\1"])
    yield "key-length-limit", gguf([u64(65536) + b"general.architecture" + u32(U8) + b"\1"])
    yield "key-length-beyond", gguf([u64(1000) + b"general.architecture" + u32(U8) + b"\1"])
    yield "key-cut-before-type", gguf([text("general.architecture")])
    yield "key-type-13", gguf([text("k") + u32(13) + u64(0)])
    yield "key-type-huge", gguf([text("k") + u32(0xFFFFFFFF) + u64(0)])
    yield "key-value-cut", gguf([text("k") + u32(U64) + b"\1\2"])
    yield "key-control-characters", gguf([text("k\x1b[31m\n\xff") + u32(13) + u64(0)])
    yield "string-length-huge", gguf([text("k") + u32(STR) + u64((1 << 64) - 1) + b"abc"])
    yield "string-length-beyond", gguf([text("k") + u32(STR) + u64(4) + b"abc"])
    yield "element-type-99", gguf([text("k") + u32(ARR) + u32(99) + u64(0)])
    yield "array-length-huge", gguf([text("k") + u32(ARR) + u32(U64) + u64((1 << 63) + 1) + bytes(64)])
    yield "array-length-wraps", gguf([text("k") + u32(ARR) + u32(F32) + u64((1 << 62) + 1) + bytes(64)])
    yield "array-length-beyond", gguf([text("k") + u32(ARR) + u32(F32) + u64(17) + bytes(64)])
    yield "array-length-cut", gguf([text("k") + u32(ARR) + u32(F32) + bytes(3)])
    yield "array-strings-beyond", gguf([text("k") + u32(ARR) + u32(STR) + u64(9) + bytes(64)])
    yield "array-string-length-huge", gguf([text("k") + u32(ARR) + u32(STR) + u64(2) + text("x") + u64((1 << 64) - 4) + bytes(16)])
    yield "array-string-cut", gguf([text("k") + u32(ARR) + u32(STR) + u64(2) + text("0123456789") + bytes(7)])
    yield "array-of-arrays", gguf([key("k", ARR, (ARR, [(U8, [1]), (U8, [2])]))])
    yield "bool-7", gguf([text("k") + u32(BOOL) + b"\7"])
    yield "bool-array-2", gguf([key("k", ARR, (BOOL, [0, 1, 2]))])
    yield "key-twice", gguf([ARCH, key("k", U8, 1), ARCH])
    for a in (0, 24, 1 << 31):
        yield f"alignment-{a}", gguf([ARCH, key("general.alignment", U32, a)], TWO)
    yield "alignment-string", gguf([ARCH, key("general.alignment", STR, "32")], TWO)
    yield "alignment-negative", gguf([ARCH, key("general.alignment", I32, -32)], TWO)
    yield "tensor-twice", gguf([ARCH], [t("a", [32]), t("b", [32]), t("a", [32])])
    yield "tensor-name-huge", gguf([ARCH], n_tensor=1, tail=u64(1 << 62) + bytes(40))
    yield "tensor-name-beyond", gguf([ARCH], n_tensor=1, tail=u64(41) + bytes(40))
    yield "dimensions-5", gguf([ARCH], [t("a", [2, 2, 2, 2, 2])])
    yield "dimensions-huge", gguf([ARCH], n_tensor=1, tail=text("a") + u32(0xFFFFFFFF) + bytes(64))
    yield "dimension-0", gguf([ARCH], [t("a", [32, 0])])
    yield "dimension-huge", gguf([ARCH], [t("a", [32, 1 << 63])])
    yield "dimensions-wrap", gguf([ARCH], [t("a", [1 << 32, 1 << 32])])
    yield "dimensions-wrap-to-small", gguf([ARCH], [t("a", [1 << 32, 1 << 31, 2, 1])])
    yield "dimensions-wrap-bytes", gguf([ARCH], [t("a", [1 << 61], TENSOR_F64)])
    yield "dimensions-many", gguf([ARCH], [t("a", [1 << 40, 1 << 20])])
    yield "tensor-cut-in-dimensions", gguf([ARCH], n_tensor=1, tail=text("a") + u32(2) + u64(32) + bytes(4))
    yield "tensor-type-31", gguf([ARCH], [t("a", [32], 31)])
    yield "tensor-type-huge", gguf([ARCH], [t("a", [32], 0xFFFFFFFF)])
    yield "row-not-whole-blocks", gguf([ARCH], [t("a", [33, 4], TENSOR_Q4_0)])
    yield "offset-unaligned", gguf([ARCH], [t("a", [32]), t("b", [32], offset=132)])
    yield "offset-beyond", gguf([ARCH], [t("a", [32]), t("b", [32], offset=1 << 20)])
    yield "offset-huge", gguf([ARCH], [t("a", [32]), t("b", [32], offset=(1 << 64) - 32)])
    yield "data-cut", gguf([ARCH], TWO)[:-4]
    yield "data-missing", gguf([ARCH], TWO)[:-(256 + 128)]
    yield "padding-missing", gguf([ARCH, key("pad", STR, "x" * 17)], TWO)[:-(256 + 128 + 6)]
    yield "tensors-overlap", gguf([ARCH], [t("a", [32, 2]), t("b", [32], offset=32)])
    yield "tensors-same-place", gguf([ARCH], [t("a", [32], offset=0), t("b", [32], offset=0)])
    yield "tensors-overlap-unordered", gguf([ARCH], [t("a", [32], offset=128), t("b", [32, 2], offset=32)])


def split(no, count, tensors, total=None):
    k = [ARCH, key("split.no", U16, no), key("split.count", U16, count)]
    return gguf(k + ([key("split.tensors.count", I32, total)] if total is not None else []), tensors)


def bad_splits():
    """Whole names: the name is part of the matter."""
    a, b = [tensor("a", [32])], [tensor("b", [32])]
    yield "missing-00001-of-00002.gguf", split(0, 2, a, 2)
    yield "unnamed.gguf", split(0, 2, a, 2)
    yield "second-00002-of-00002.gguf", split(1, 2, b, 2)
    yield "other-count-00001-of-00002.gguf", split(0, 3, a, 2)
    yield "part-number-00001-of-00002.gguf", split(0, 2, a, 2)
    yield "part-number-00002-of-00002.gguf", split(0, 2, b, 2)
    yield "total-00001-of-00002.gguf", split(0, 2, a, 5)
    yield "total-00002-of-00002.gguf", split(1, 2, b, 5)
    yield "twice-00001-of-00002.gguf", split(0, 2, a, 2)
    yield "twice-00002-of-00002.gguf", split(1, 2, a, 2)
    yield "count-huge-00001-of-60000.gguf", split(0, 60000, a, 2)
    name = [key("general.name", STR, "other")]
    yield "other-model-00001-of-00002.gguf", gguf([ARCH, key("general.name", STR, "one"), key("split.no", U16, 0),
                                                   key("split.count", U16, 2)], a)
    yield "other-model-00002-of-00002.gguf", gguf(name + [key("split.no", U16, 1), key("split.count", U16, 2)], b)
    yield "other-architecture-00001-of-00002.gguf", split(0, 2, a, 2)
    yield "other-architecture-00002-of-00002.gguf", gguf([key("general.architecture", STR, "qwen2"), key("split.no", U16, 1),
                                                          key("split.count", U16, 2)], b)
    yield "no-split-keys-00001-of-00002.gguf", split(0, 2, a, 2)
    yield "no-split-keys-00002-of-00002.gguf", gguf([ARCH], b)[:-4]
    yield "count-negative-00001-of-00002.gguf", gguf([ARCH, key("split.no", U16, 0), key("split.count", I16, -2)], a)
    yield "count-string-00001-of-00002.gguf", gguf([ARCH, key("split.count", STR, "2")], a)
    yield "part-cut-00001-of-00002.gguf", split(0, 2, a, 2)
    yield "part-cut-00002-of-00002.gguf", split(1, 2, b, 2)[:-100]


# ---- safetensors ----

def st(header, data=b"", length=None):
    h = json.dumps(header, separators=(",", ":")) if isinstance(header, dict) else header
    h = h if isinstance(h, bytes) else h.encode()
    return u64(len(h) if length is None else length) + h + data


def entry(shape, frm, to, dtype="F32"): return {"dtype": dtype, "shape": shape, "data_offsets": [frm, to]}


def bad_safetensors():
    d = bytes(16)
    yield "empty", b""
    yield "four-bytes", b"\1\0\0\0"
    yield "header-length-huge", st({}, length=(1 << 63) - 1)
    yield "header-length-limit", st({}, length=100000001)
    yield "header-length-beyond", st({}, length=1000)
    yield "header-not-json", st('{"a":')
    yield "header-empty", st("")
    yield "header-array", st("[]")
    yield "header-trailing", st("{} x")
    yield "header-nul-padding", st(b"{}\0\0\0\0\0\0")
    yield "header-deep", st("[" * 3000)
    yield "header-deep-metadata", st('{"__metadata__":' + "[" * 3000)
    yield "invalid-utf8-name", st(b'{"a\xff":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', d)
    yield "invalid-utf8-surrogate", st(b'{"a\xed\xa0\x80":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', d)
    yield "name-with-nul", st('{"a\\u0000b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', d)
    one = '"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
    yield "name-twice", st("{" + one + "," + one + "}", d)
    yield "tensor-not-object", st({"a": [1]}, d)
    yield "dtype-missing", st({"a": {"shape": [4], "data_offsets": [0, 16]}}, d)
    yield "dtype-number", st({"a": entry([4], 0, 16, 7)}, d)
    yield "dtype-unknown", st({"a": entry([16], 0, 16, "C64")}, d)
    yield "shape-missing", st({"a": {"dtype": "F32", "data_offsets": [0, 16]}}, d)
    yield "shape-string", st({"a": entry("4", 0, 16)}, d)
    yield "shape-negative", st({"a": entry([-4], 0, 16)}, d)
    yield "shape-real", st({"a": entry([4.0], 0, 16)}, d)
    yield "shape-huge", st({"a": entry([1 << 64], 0, 16)}, d)
    yield "shape-wraps", st({"a": entry([1 << 32, 1 << 32], 0, 16)}, d)
    yield "shape-wraps-with-zero", st({"a": entry([0, 1 << 62, 1 << 62], 0, 0)})
    yield "shape-five", st({"a": entry([1, 1, 1, 1, 4], 0, 16)}, d)
    yield "offsets-missing", st({"a": {"dtype": "F32", "shape": [4]}}, d)
    yield "offsets-three", st({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8, 16]}}, d)
    yield "offsets-string", st({"a": entry([4], "0", 16)}, d)
    yield "offsets-negative", st({"a": entry([4], -16, 0)}, d)
    yield "offsets-backwards", st({"a": entry([4], 16, 0)}, d)
    yield "offsets-beyond", st({"a": entry([8], 0, 32)}, d)
    yield "offsets-huge", st({"a": entry([4], (1 << 63) - 17, (1 << 63) - 1)}, d)
    yield "shape-and-offsets-differ", st({"a": entry([3], 0, 16)}, d)
    yield "gap-first", st({"a": entry([3], 4, 16)}, d)
    yield "gap-between", st({"a": entry([1], 0, 4), "b": entry([2], 8, 16)}, d)
    yield "gap-last", st({"a": entry([3], 0, 12)}, d)
    yield "overlap", st({"a": entry([3], 0, 12), "b": entry([2], 8, 16)}, d)
    yield "same-place", st({"a": entry([4], 0, 16), "b": entry([4], 0, 16)}, d)
    yield "data-cut", st({"a": entry([4], 0, 16)}, d[:9])
    yield "no-tensors-but-data", st({}, d)
    yield "metadata-not-object", st({"__metadata__": "pt"})
    yield "metadata-number", st({"__metadata__": {"format": 1}})


# ---- folders ----

CONFIG = json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": False, "checkpoint_format": "gptq"}


def pack(arrays):
    """{name: (dtype, shape)} as a safetensors file of zeros, or of the bytes given third."""
    size = {"I32": 4, "F32": 4, "F16": 2, "BF16": 2}
    header, data = {}, b""
    for name, (dtype, shape, *given) in arrays.items():
        n = size[dtype]
        for d in shape: n *= d
        header[name] = entry(shape, len(data), len(data) + n, dtype)
        data += given[0] if given else bytes(n)
    return st(header, data)


def gptq_folder(config=None, drop=(), **change):
    """A layer of 64 inputs and 16 outputs in groups of 32."""
    a = {"m.qweight": ("I32", [8, 16]), "m.qzeros": ("I32", [2, 2]), "m.scales": ("F16", [2, 16]), "m.bias": ("F32", [16])}
    for name, v in change.items(): a["m." + name] = v
    for name in drop: del a["m." + name]
    cfg = json.loads(CONFIG)
    cfg["quantization_config"] = {**GPTQ, **(config or {})}
    return {"config.json": json.dumps(cfg), "model.safetensors": pack(a)}


def index(weight_map): return json.dumps({"metadata": {}, "weight_map": weight_map})


def bad_folders():
    one = pack({"a": ("F32", [4])})
    base = {"config.json": CONFIG}
    sharded = {**base, "model-00001-of-00001.safetensors": one}
    name, idx = "model-00001-of-00001.safetensors", "model.safetensors.index.json"
    yield "no-config", {"model.safetensors": one}
    yield "config-not-json", {"config.json": '{"model_type": llama}', "model.safetensors": one}
    yield "config-array", {"config.json": "[1]", "model.safetensors": one}
    yield "config-invalid-utf8", {"config.json": b'{"model_type": "\xff"}', "model.safetensors": one}
    yield "config-deep", {"config.json": '{"a":' * 2100, "model.safetensors": one}
    yield "no-weights", base
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"
    yield "pointer-weights", {**base, "model.safetensors": pointer}
    yield "pointer-tokenizer", {**base, "model.safetensors": one, "tokenizer.json": pointer}
    yield "pickle", {**base, "pytorch_model.bin": b"\x80\x02}q\x00."}
    yield "gguf-inside", {"model.gguf": gguf()}
    yield "tokenizer-model", {**base, "model.safetensors": one, "tokenizer.model": b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02"}
    yield "index-array", {**sharded, idx: "[]"}
    yield "index-no-map", {**sharded, idx: "{}"}
    yield "index-map-array", {**sharded, idx: '{"weight_map":["a"]}'}
    yield "index-number", {**sharded, idx: index({"a": 1})}
    yield "index-missing-shard", {**sharded, idx: index({"a": name, "b": "model-00002-of-00002.safetensors"})}
    yield "index-missing-tensor", {**sharded, idx: index({"a": name, "b": name})}
    yield "index-dotdot", {**sharded, idx: index({"a": "../no-config/model.safetensors"})}
    yield "index-absolute", {**sharded, idx: index({"a": "/etc/passwd"})}
    yield "index-nul", {**sharded, idx: index({"a": name + "\0x"})}
    yield "index-folder", {**sharded, idx: index({"a": ".."})}
    yield "index-empty-name", {**sharded, idx: index({"a": ""})}
    second = {**sharded, "model-00002-of-00002.safetensors": pack({"b": ("F32", [4])})}
    yield "index-tensor-twice", {**second, idx: '{"weight_map":{"a":"%s","b":"x","a":"%s"}}' % (name, name)}
    yield "index-shards-swapped", {**second, idx: index({"a": "model-00002-of-00002.safetensors", "b": name})}
    yield "shard-twice", {**sharded, "copy.safetensors": one, idx: index({"a": name, "b": "copy.safetensors"})}
    yield "shards-share-tensor", {**sharded, "other.safetensors": pack({"a": ("F32", [4]), "b": ("F32", [1])}),
                                  idx: index({"a": name, "b": "other.safetensors"})}
    yield "config-key-twice", {"config.json": CONFIG[:-1] + ', "model_type": "qwen2"}', "model.safetensors": one}
    yield "config-number-huge", {"config.json": '{"rms_norm_eps": 1e999}', "model.safetensors": one}
    yield "config-nan", {"config.json": '{"rms_norm_eps": NaN}', "model.safetensors": one}
    yield "config-empty", {"config.json": "", "model.safetensors": one}
    yield "quant-config-text", {"config.json": CONFIG[:-1] + ', "quantization_config": "fp8"}', "model.safetensors": one}
    yield "config-cut", {"config.json": CONFIG[:-5], "model.safetensors": one}
    yield "generation-array", {**base, "model.safetensors": one, "generation_config.json": "[1]"}
    yield "tokenizer-config-string", {**base, "model.safetensors": one, "tokenizer_config.json": '"x"'}
    yield "tokenizer-not-object", {**base, "model.safetensors": one, "tokenizer.json": "[]"}
    for kind, v in ("number", "7"), ("object", "{}"), ("list", '["x"]'), ("entry", '[{"name":"default","template":1}]'):
        yield f"template-{kind}", {**base, "model.safetensors": one, "tokenizer_config.json": '{"chat_template":%s}' % v}
    yield "shard-cut", {**base, name: one[:-3], idx: index({"a": name})}
    yield "template-nul", {**base, "model.safetensors": one, "tokenizer_config.json": '{"chat_template":"a\\u0000b"}'}
    yield "quant-method-unknown", gptq_folder({"quant_method": "bitsandbytes"})
    yield "quant-method-missing", gptq_folder({"quant_method": None})
    yield "gptq-3-bits", gptq_folder({"bits": 3})
    yield "gptq-bits-string", gptq_folder({"bits": "4"})
    yield "gptq-group-0", gptq_folder({"group_size": 0})
    yield "gptq-marlin", gptq_folder({"checkpoint_format": "marlin"})
    yield "gptq-no-scales", gptq_folder(drop=["scales"])
    yield "gptq-no-qzeros", gptq_folder(drop=["qzeros"])
    yield "gptq-desc-act-no-g_idx", gptq_folder({"desc_act": True})
    yield "gptq-scales-shape", gptq_folder(scales=("F16", [3, 16]))
    yield "gptq-scales-type", gptq_folder(scales=("I32", [2, 16]))
    yield "gptq-qzeros-shape", gptq_folder(qzeros=("I32", [2, 16]))
    yield "gptq-qweight-type", gptq_folder(qweight=("F32", [8, 16]))
    yield "gptq-qweight-odd", gptq_folder(qweight=("I32", [8, 15]))
    yield "gptq-qweight-dimensions", gptq_folder(qweight=("I32", [8, 16, 1]))
    yield "gptq-g_idx-shape", gptq_folder(g_idx=("I32", [63]))
    yield "gptq-g_idx-range", gptq_folder(g_idx=("I32", [64], struct.pack("<64i", *([0] * 63 + [2]))))
    yield "gptq-g_idx-negative", gptq_folder(g_idx=("I32", [64], struct.pack("<64i", *([0] * 63 + [-1]))))
    yield "gptq-and-weight", gptq_folder(weight=("F32", [16, 64]))


# ---- a small model, right and wrong: for the readers of keys and vocabularies ----

TOKENS = ["<|end|>", "a", "b", "c", "d", "e", "Ġ", "Ċ", "ab", "abc", "de", "Ġa", "<|im_start|>", "<|im_end|>", "f", "g"]
TYPES = [3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 1, 1]
MERGES = ["a b", "ab c", "d e", "Ġ a"]
SPM = ["<unk>", "<s>", "</s>", "<0x0A>", "<0x20>", "<0x61>", "▁", "a", "b", "c", "ab", "▁a", "abc", "d", "e", "f"]
SPM_TYPES = [2, 3, 3, 6, 6, 6] + [1] * 10


def model_values(spm=False, **change):
    """name with '__' for '.', value (type, value), or None to leave the key out."""
    k = {
        "general.architecture": (STR, "llama"), "general.name": (STR, "tiny"),
        "llama.block_count": (U32, 1), "llama.context_length": (U32, 64), "llama.embedding_length": (U32, 32),
        "llama.feed_forward_length": (U32, 64), "llama.attention.head_count": (U32, 2), "llama.attention.head_count_kv": (U32, 1),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5), "llama.rope.freq_base": (F32, 10000.0),
        "llama.vocab_size": (U32, 16),
        "tokenizer.ggml.model": (STR, "gpt2"), "tokenizer.ggml.pre": (STR, "gpt-2"), "tokenizer.ggml.tokens": (ARR, (STR, TOKENS)),
        "tokenizer.ggml.token_type": (ARR, (I32, TYPES)), "tokenizer.ggml.merges": (ARR, (STR, MERGES)),
        "tokenizer.ggml.bos_token_id": (U32, 0), "tokenizer.ggml.eos_token_id": (U32, 0), "tokenizer.ggml.add_bos_token": (BOOL, 0),
    }
    if spm:
        k["tokenizer.ggml.model"] = (STR, "llama")
        k["tokenizer.ggml.tokens"] = (ARR, (STR, SPM))
        k["tokenizer.ggml.token_type"] = (ARR, (I32, SPM_TYPES))
        k["tokenizer.ggml.scores"] = (ARR, (F32, [0.0] * 6 + [-float(i) for i in range(10)]))
        k["tokenizer.ggml.bos_token_id"], k["tokenizer.ggml.eos_token_id"] = (U32, 1), (U32, 2)
        del k["tokenizer.ggml.pre"], k["tokenizer.ggml.merges"]
    for name, v in change.items():
        name = name.replace("__", ".")
        if v is None: k.pop(name)
        else: k[name] = v
    return k


def model_keys(spm=False, **change): return [key(n, *v) for n, v in model_values(spm, **change).items()]


def model_tensors(**change):
    """name without ".weight" and with '__' for '.', shape, or None to leave it out."""
    b = "blk.0."
    t = {"token_embd": [32, 16], "output_norm": [32], "output": [32, 16], b + "attn_norm": [32], b + "attn_q": [32, 32],
         b + "attn_k": [32, 16], b + "attn_v": [32, 16], b + "attn_output": [32, 32], b + "ffn_norm": [32],
         b + "ffn_gate": [32, 64], b + "ffn_up": [32, 64], b + "ffn_down": [64, 32]}
    for name, v in change.items():
        name = name.replace("__", ".")
        if v is None: t.pop(name)
        else: t[name] = v
    return [tensor(n + ".weight", s, TENSOR_F32 if len(s) == 1 else TENSOR_Q4_0) for n, s in t.items()]


def tiny(spm=False, keys={}, tensors={}): return gguf(model_keys(spm, **keys), model_tensors(**tensors))


def tiny_moe(**change):
    """The tiny model as a Qwen3-MoE of 4 experts."""
    k = {n.replace("llama.", "qwen3moe."): v for n, v in model_values().items()}
    k["general.architecture"] = (STR, "qwen3moe")
    for n, v in change.items():
        if v is not None: k["qwen3moe." + n] = v
    b = "blk.0."
    t = model_tensors(blk__0__ffn_gate=None, blk__0__ffn_up=None, blk__0__ffn_down=None)
    t += [tensor(b + n + ".weight", s, TENSOR_F32 if len(s) == 1 else TENSOR_Q4_0) for n, s in {
        "attn_q_norm": [16], "attn_k_norm": [16], "ffn_gate_inp": [32, 4], "ffn_gate_exps": [32, 32, 4],
        "ffn_up_exps": [32, 32, 4], "ffn_down_exps": [32, 32, 4]}.items()]
    return gguf([key(n, *v) for n, v in k.items()], t)


def bad_models():
    """Well-formed files that say impossible things: the formats open them, the tokenizer or the model refuses."""
    a = "llama__attention__"
    yield "block-count-string", tiny(keys={"llama__block_count": (STR, "1")})
    yield "block-count-missing", tiny(keys={"llama__block_count": None})
    yield "block-count-0", tiny(keys={"llama__block_count": (U32, 0)})
    yield "block-count-huge", tiny(keys={"llama__block_count": (U32, 0xFFFFFFFF)})
    yield "block-count-above-tensors", tiny(keys={"llama__block_count": (U32, 2)})
    yield "heads-0", tiny(keys={a + "head_count": (U32, 0)})
    yield "heads-not-dividing", tiny(keys={a + "head_count": (U32, 5)})
    yield "heads-kv-0", tiny(keys={a + "head_count_kv": (U32, 0)})
    yield "heads-kv-above", tiny(keys={a + "head_count_kv": (U32, 3)})
    yield "embedding-0", tiny(keys={"llama__embedding_length": (U32, 0)})
    yield "embedding-differs", tiny(keys={"llama__embedding_length": (U32, 64)})
    yield "feed-forward-differs", tiny(keys={"llama__feed_forward_length": (U32, 96)})
    yield "context-0", tiny(keys={"llama__context_length": (U32, 0)})
    yield "epsilon-string", tiny(keys={a + "layer_norm_rms_epsilon": (STR, "1e-5")})
    yield "epsilon-nan", tiny(keys={a + "layer_norm_rms_epsilon": (F32, float("nan"))})
    yield "experts-without-router", tiny(keys={"llama__expert_count": (U32, 4), "llama__expert_used_count": (U32, 2)})
    yield "experts-used-above", tiny(keys={"llama__expert_count": (U32, 4), "llama__expert_used_count": (U32, 5)})
    yield "longrope-one-list", tiny(tensors={"rope_factors_short": [8]})
    yield "longrope-list-short", tiny(tensors={"rope_factors_short": [8], "rope_factors_long": [4]})
    yield "longrope-original-1", tiny(keys={"llama__rope__scaling__original_context_length": (U32, 1)},
                                      tensors={"rope_factors_short": [8], "rope_factors_long": [8]})
    yield "qkv-shape", tiny(tensors={"blk__0__attn_q": None, "blk__0__attn_k": None, "blk__0__attn_v": None, "blk__0__attn_qkv": [32, 80]})
    yield "rope-base-0", tiny(keys={"llama__rope__freq_base": (F32, 0.0)})
    yield "architecture-missing", tiny(keys={"general__architecture": None})
    yield "architecture-number", tiny(keys={"general__architecture": (U32, 1)})
    yield "architecture-unknown", tiny(keys={"general__architecture": (STR, "frobnicate")})
    yield "tensor-missing", tiny(tensors={"blk__0__attn_k": None})
    yield "tensor-shape", tiny(tensors={"blk__0__attn_q": [32, 64]})
    yield "tensor-dimensions", tiny(tensors={"output_norm": [32, 1]})
    moe = {"expert_count": (U32, 4), "expert_used_count": (U32, 2), "expert_feed_forward_length": (U32, 32)}
    yield "experts-more", tiny_moe(**{**moe, "expert_count": (U32, 8)})
    yield "experts-fewer", tiny_moe(**{**moe, "expert_count": (U32, 2)})
    yield "experts-0", tiny_moe(**{**moe, "expert_count": (U32, 0)})
    yield "experts-huge", tiny_moe(**{**moe, "expert_count": (U32, 1 << 31)})
    yield "experts-used-5", tiny_moe(**{**moe, "expert_used_count": (U32, 5)})
    yield "experts-used-missing", tiny_moe(**{**moe, "expert_used_count": None})
    yield "experts-width-differs", tiny_moe(**{**moe, "expert_feed_forward_length": (U32, 64)})
    yield "embedding-rows-differ", tiny(tensors={"token_embd": [32, 8]})
    t = "tokenizer__ggml__"
    yield "tokens-missing", tiny(keys={t + "tokens": None})
    yield "tokens-numbers", tiny(keys={t + "tokens": (ARR, (U32, list(range(16))))})
    yield "tokens-empty", tiny(keys={t + "tokens": (ARR, (STR, []))})
    yield "tokens-twice", tiny(keys={t + "tokens": (ARR, (STR, TOKENS[:-1] + ["a"]))})
    yield "token-types-short", tiny(keys={t + "token_type": (ARR, (I32, TYPES[:-1]))})
    yield "token-types-strings", tiny(keys={t + "token_type": (ARR, (STR, ["1"] * 16))})
    yield "token-type-9", tiny(keys={t + "token_type": (ARR, (I32, TYPES[:-1] + [9]))})
    yield "merges-missing", tiny(keys={t + "merges": None})
    yield "merges-numbers", tiny(keys={t + "merges": (ARR, (U32, [1, 2]))})
    yield "merge-without-space", tiny(keys={t + "merges": (ARR, (STR, ["ab"]))})
    yield "merge-of-no-token", tiny(keys={t + "merges": (ARR, (STR, ["a g"]))})
    yield "tokenizer-model-unknown", tiny(keys={t + "model": (STR, "frobnicate")})
    yield "tokenizer-pre-unknown", tiny(keys={t + "pre": (STR, "frobnicate")})
    yield "eos-beyond", tiny(keys={t + "eos_token_id": (U32, 16)})
    yield "eos-2-31", tiny(keys={t + "eos_token_id": (U32, 1 << 31)})
    yield "bos-string", tiny(keys={t + "bos_token_id": (STR, "<s>")})
    yield "bos-negative", tiny(keys={t + "bos_token_id": (I32, -7)})
    yield "byte-token-beyond", tiny(True, keys={t + "tokens": (ARR, (STR, SPM[:5] + ["<0x161>"] + SPM[6:]))})
    yield "byte-token-no-hex", tiny(True, keys={t + "tokens": (ARR, (STR, SPM[:5] + ["<0xZZ>"] + SPM[6:]))})
    yield "scores-short", tiny(True, keys={t + "scores": (ARR, (F32, [0.0] * 3))})
    yield "scores-missing", tiny(True, keys={t + "scores": None})
    yield "scores-nan", tiny(True, keys={t + "scores": (ARR, (F32, [float("nan")] * 16))})
    yield "template-broken", tiny(keys={"tokenizer__chat_template": (STR, "{% for m in messages %}{{ m.content }}")})


TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim }}<|im_end|>{% endfor %}"


def good_gguf():
    every = [key("t.u8", U8, 200), key("t.i8", I8, -100), key("t.u16", U16, 60000), key("t.i16", I16, -30000),
             key("t.u32", U32, 4000000000), key("t.i32", I32, -2000000000), key("t.f32", F32, 0.5), key("t.bool", BOOL, 1),
             key("t.str", STR, "häl\0lo"), key("t.u64", U64, (1 << 64) - 1),
             key("t.i64", I64, -(1 << 63)), key("t.f64", F64, 0.1), key("t.inf", F32, float("inf")), key("t.empty", STR, ""),
             key("a.u8", ARR, (U8, [1, 255])), key("a.i16", ARR, (I16, [-1, 2])), key("a.i32", ARR, (I32, [-5, 6, 7])),
             key("a.f32", ARR, (F32, [0.25, -2.0])), key("a.f64", ARR, (F64, [1e300])), key("a.bool", ARR, (BOOL, [0, 1])),
             key("a.str", ARR, (STR, ["", "b", "ccc"])), key("a.none", ARR, (STR, [])),
             key("a.u64", ARR, (U64, [1, 1 << 62]))]
    yield "tiny.gguf", tiny()
    yield "tiny-spm.gguf", tiny(True)
    yield "tiny-moe.gguf", tiny_moe(expert_count=(U32, 4), expert_used_count=(U32, 2), expert_feed_forward_length=(U32, 32))
    yield "tiny-chat.gguf", tiny(keys={"tokenizer__chat_template": (STR, TEMPLATE)})
    yield "vocab.gguf", gguf(model_keys())
    yield "every-type.gguf", gguf(every)
    yield "version-2.gguf", gguf([ARCH], TWO, version=2)
    yield "alignment-64.gguf", gguf([ARCH, key("general.alignment", U32, 64)], TWO, align=64)
    yield "unordered.gguf", gguf([ARCH], [tensor("a", [32], offset=128), tensor("b", [32], offset=0)])
    yield "gap.gguf", gguf([ARCH], [tensor("a", [32]), tensor("b", [32], offset=192)], tail=bytes(64))
    for i, name in enumerate("abc"):
        tensors = [tensor(name, [32]), tensor(name + "2", [32, 2])]
        yield f"split-0000{i + 1}-of-00003.gguf", split(i, 3, tensors, 6 if not i else None)


# ---- templates ----

def nest(before, middle, after, n): return before * n + middle + after * n


def bad_templates():
    """Each asks for too much time, memory, depth or output, looks where it may not, or breaks off. messages has one entry."""
    yield "range-huge", "{% for i in range(10**9) %}{% endfor %}"
    yield "range-list", "{{ range(999999999) | list | length }}"
    yield "range-step-0", "{{ range(1, 9, 0) | list }}"
    yield "loops-nested", nest("{% for i in range(1000) %}", "x", "{% endfor %}", 6)
    yield "loops-empty", nest("{% for i in range(1000) %}", "", "{% endfor %}", 4)
    yield "loop-over-text", "{% set s = 'x' * 1000000 %}{% for a in s %}{% for b in s %}{% endfor %}{% endfor %}"
    yield "class", "{{ ''.__class__.__mro__ }}"
    yield "class-item", "{{ ''['__class__'] + 1 }}"
    yield "class-filter", "{{ ('' | attr('__class__')) + 1 }}"
    yield "class-format", "{{ '{0.__class__.__mro__}'.format(messages) }}"
    yield "class-format-map", "{{ '{a.__init__.__globals__}'.format_map({'a': cycler}) }}"
    yield "class-map", "{{ messages | map(attribute='__class__.__mro__') | list }}"
    yield "globals", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"
    yield "private", "{{ messages[0]._private.x }}"
    yield "mutation", "{{ messages.append(1) }}"
    yield "include", "{% include '/etc/passwd' %}"
    yield "import", "{% import 'os' as os %}{{ os }}"
    yield "extends", "{% extends messages[0].content %}"
    yield "deep-parentheses", "{{ " + nest("(", "1", ")", 300) + " }}"
    yield "deep-lists", "{{ " + nest("[", "", "]", 190) + " }}{{ " + nest("[", "", "]", 300) + " }}"
    yield "deep-dicts", "{{ " + nest("{'a':", "1", "}", 300) + " }}"
    yield "deep-blocks", nest("{% if 1 %}", "x", "{% endif %}", 250)
    yield "deep-not", "{{ " + "not " * 1000 + "1 }}"
    yield "deep-minus", "{{ " + "-" * 3000 + "1 }}"
    yield "deep-conditions", "{{ " + "1 if 0 else " * 400 + "1 }}"
    yield "deep-power", "{{ " + "1**" * 1800 + "1 }}"
    yield "deep-sum", "{{ " + "1+" * 1800 + "1 }}"
    yield "deep-attributes", "{{ messages" + ".a" * 1800 + " }}"
    yield "deep-filters", "{{ 'x'" + "|trim" * 1800 + " }}"
    yield "deep-elif", "{% if 0 %}" + "{% elif 0 %}" * 400 + "{% endif %}"
    yield "deep-values", "{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}"
    yield "deep-tojson", ("{% set ns = namespace(a=1) %}{% for i in range(9999) %}{% set ns.a = {'a': ns.a} %}{% endfor %}"
                          "{{ ns.a | tojson }}")
    yield "deep-equal", ("{% set ns = namespace(a=1, b=1) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}"
                         "{% set ns.b = [ns.b] %}{% endfor %}{{ ns.a == ns.b }}")
    yield "macro-itself", "{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(0) }}"
    yield "macros-each-other", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}"
    yield "macro-caller", "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}"
    yield "macro-twice", "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(150) }}"
    yield "loop-recursive", "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}"
    yield "multiply-text", "{{ 'x' * 10**9 }}"
    yield "multiply-list", "{{ ([0] * 10**9) | length }}"
    yield "multiply-max", "{{ 'xy' * 9223372036854775807 }}"
    yield "double", "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
    yield "double-list", "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"
    yield "output-many", "{% for i in range(99999) %}" + "x" * 1000 + "{% endfor %}"
    yield "join", "{{ (['x' * 10000] * 10000) | join('x' * 10000) }}"
    yield "replace", "{{ ('a' * 10000) | replace('a', 'b' * 10000) }}"
    yield "replace-empty", "{{ ('a' * 100000).replace('', 'b' * 10000) }}"
    yield "quadratic-find", "{% set s = 'a' * 1000000 %}{% for i in range(9999) %}{{ s.count('a' * 500000 ~ 'b') }}{% endfor %}"
    yield "unique", "{{ range(99999) | unique | list | length }}"
    yield "dict-many", ("{% set ns = namespace(d={}) %}{% for i in range(99999) %}{% set ns.d = dict(ns.d, **{i ~ '': 1}) %}"
                        "{% endfor %}")
    yield "center", "{{ 'x' | center(10**9) }}"
    yield "ljust", "{{ 'x'.ljust(9223372036854775807) }}"
    yield "zfill", "{{ '1'.zfill(10**9) }}"
    yield "indent", "{{ 'a\\nb' | indent(10**9) }}"
    yield "expandtabs", "{{ '\\t'.expandtabs(10**9) }}"
    yield "batch", "{{ [1] | batch(10**9, 'x') | list }}"
    yield "slice", "{{ [1] | slice(10**9) | list }}"
    yield "tojson-indent", "{{ messages | tojson(indent=10**9) }}"
    yield "format-width", "{{ '{:999999999}'.format(1) }}"
    yield "format-width-huge", "{{ '{:99999999999999999999}'.format(1) }}"
    yield "format-precision", "{{ '{:.999999999f}'.format(0.1) }}"
    yield "percent-width", "{{ '%999999999d' % 1 }}"
    yield "percent-star", "{{ '%*d' % (10**9, 1) }}"
    yield "percent-precision", "{{ '%.999999999f' % 0.1 }}"
    yield "percent-zeros", "{{ '%.999999999d' % 1 }}"
    yield "format-filter", "{{ '%0999999999d' | format(1) }}"
    yield "namespace-cycle", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns | tojson }}"
    yield "namespace-cycle-list", "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a | tojson }}"
    yield "integer-literal", "{{ 99999999999999999999 }}"
    yield "integer-sum", "{{ 9223372036854775807 + 1 }}"
    yield "integer-product", "{{ 4611686018427387904 * 4 }}"
    yield "integer-power", "{{ 3 ** 10**9 }}"
    yield "integer-negated", "{{ -(-9223372036854775807 - 1) }}"
    yield "integer-divided", "{{ (-9223372036854775807 - 1) // -1 }}"
    yield "integer-abs", "{{ (-9223372036854775807 - 1) | abs }}"
    yield "integer-of-infinity", "{{ 1e308 * 10 }}{{ (1e308 * 10) | round | int + 1 }}"
    yield "power-float", "{{ 10.0 ** 400 }}"
    yield "time-format", "{{ strftime_now('%Y' * 1000000) }}"
    yield "lipsum", "{{ lipsum(n=10**9) }}"
    yield "unclosed-if", "a\n{% if messages %}b"
    yield "unclosed-for", "{% for m in messages %}{{ m.content }}"
    yield "unclosed-macro", "{% macro f() %}x"
    yield "unclosed-output", "a\n\n{{ messages"
    yield "unclosed-tag", "{% if messages"
    yield "unclosed-comment", "x\n{# and on"
    yield "unclosed-raw", "{% raw %}{{ x }}"
    yield "unclosed-text", "{{ 'abc }}"
    yield "unclosed-bracket", "{{ [1, (2] }}"
    yield "end-alone", "{% endfor %}"
    yield "end-of-other", "{% if 1 %}{% endfor %}"
    yield "else-alone", "{% else %}"


def write(path, data):
    path = os.path.join(HERE, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f: f.write(data.encode() if isinstance(data, str) else data)


for name, data in bad_gguf(): write(f"bad/gguf/{name}.gguf", data)
for name, data in bad_splits(): write(f"bad/split/{name}", data)
for name, data in bad_safetensors(): write(f"bad/safetensors/{name}.safetensors", data)
for name, data in bad_models(): write(f"bad/model/{name}.gguf", data)
for name, inside in bad_folders():
    for file, data in inside.items(): write(f"bad/folder/{name}/{file}", data)
for name, data in bad_templates(): write(f"bad/template/{name}.jinja", data)
for name, data in good_gguf():
    write(f"data/gguf/{name}", data)
    if not name.startswith("split"): write(f"fuzz/corpus/gguf/{name}", data)
good_st = {"mixed": pack({"a": ("F32", [2, 3]), "b": ("F16", [4]), "c": ("I32", []), "d": ("BF16", [0])}), "empty": st({}),
           "metadata": st({"__metadata__": {"format": "pt", "x": "y"}, "w": entry([1], 0, 4)}, bytes(4)),
           "padded": st("{}" + " " * 6)}
for name, data in good_st.items(): write(f"fuzz/corpus/safetensors/{name}.safetensors", data)


# ---- seeds of the fuzz targets that take a folder's JSON, a whole model, any JSON ----

SMALL = {"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
         "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "vocab_size": 10, "rms_norm_eps": 1e-5,
         "tie_word_embeddings": False}
ROPES = {"linear": {"rope_type": "linear", "factor": 2.0},
         "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
         "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 16, "rope_theta": 5e5}}


def config_seeds():
    """config.json, NUL, generation_config.json, NUL, tokenizer_config.json."""
    def parts(*dicts): return "\0".join(json.dumps(d) for d in dicts)
    yield "llama", parts(SMALL, {"eos_token_id": [2, 3], "do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.9,
                                 "repetition_penalty": 1.1}, {"chat_template": "{{ messages }}"})
    for name, rope in ROPES.items(): yield f"rope-{name}", parts({**SMALL, "rope_scaling": rope, "rope_theta": 1e4})
    yield "rope-parameters", parts({**SMALL, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}})
    yield "mistral", parts({**SMALL, "architectures": ["MistralForCausalLM"], "sliding_window": 4, "head_dim": 4})
    yield "qwen2", parts({**SMALL, "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True, "max_window_layers": 0,
                          "sliding_window": 4, "tie_word_embeddings": True})
    yield "qwen3", parts({**SMALL, "architectures": ["Qwen3ForCausalLM"], "head_dim": 4, "layer_types": ["full_attention"]})
    yield "qwen3-moe", parts({**SMALL, "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 4, "num_experts_per_tok": 2,
                              "moe_intermediate_size": 16, "decoder_sparse_step": 1, "mlp_only_layers": [0],
                              "norm_topk_prob": True})
    yield "gemma3", parts({**SMALL, "architectures": ["Gemma3ForCausalLM"], "head_dim": 4, "query_pre_attn_scalar": 4,
                           "sliding_window": 8, "sliding_window_pattern": 6, "rope_local_base_freq": 1e4,
                           "final_logit_softcapping": 30.0})
    yield "classify", parts({**SMALL, "architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "no", "1": "yes"},
                             "pad_token_id": 0})
    yield "gptq", parts({**SMALL, "quantization_config": GPTQ})


def json_seeds():
    talk = {"messages": [{"role": "user", "content": "ab <s>"}, {"role": "assistant", "content": None, "n": [1, -2.5e3, True]}]}
    yield "chat", json.dumps({**talk, "tools": [{"type": "function"}], "x": 3, "add_generation_prompt": False})
    yield "parts", json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "\u00e4\u2028\0"}]}], "x": "é"})
    yield "numbers", "[0,-0,1e5,1E-5,0.1,9223372036854775807,-9223372036854775808,18446744073709551616,1.7976931348623157e308,5e-9]"
    yield "strings", '["\\u0000\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\"","ä€😀"]'
    yield "deep", "[" * 40 + '{"a":{"b":[]}}' + "]" * 40
    yield "odd", ' \r\n\t{ "a" : null , "" : [ ] , "true" : true , "x" : false } '
    yield "twice", '{"a":1,"a":2}'


for name, data in config_seeds(): write(f"fuzz/corpus/config/{name}.txt", data)
for name, data in json_seeds(): write(f"fuzz/corpus/json/{name}.json", data)
for name, data in good_gguf():
    if name.startswith("tiny"): write(f"fuzz/corpus/model_gguf/{name}", data)
