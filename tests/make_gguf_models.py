#!/usr/bin/env python3
"""Writes GGUF files of the tiny models in tests/data/models, so that both ways into wick can be compared to the byte; and folders
of the same weights in the other spellings that folders have: projections fused or apart, experts stacked, inside a wrapper.

    make_gguf_models.py OUT_DIR [--type F32|F16]

Standard library only. The layout is the GGUF specification's, version 3; names, keys, and the interleaving of q and k rows
of LLaMA are what llama.cpp's converter gives such models.
"""
import json, math, os, struct, sys

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "models")
MODELS = {"llama": "llama", "llama-bias": "llama", "llama-mha-linear-rope": "llama", "llama3-rope": "llama", "llama-yarn": "llama",
          "qwen2-tied": "qwen2", "qwen3": "qwen3", "qwen3-moe": "qwen3moe", "mixtral": "llama", "gemma2": "gemma2",
          "gemma3": "gemma3", "gemma3-linear": "gemma3", "phi3": "phi3", "phi3-partial": "phi3", "phi3-longrope": "phi3", "phi3-crossing": "phi3",
          "olmo2": "olmo2", "gpt-oss": "gpt-oss", "gpt-oss-mxfp4": "gpt-oss"}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
LAYER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
         "block_sparse_moe.gate": "ffn_gate_inp", "mlp.router": "ffn_gate_inp"}
POST_NORMS = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
              "post_feedforward_layernorm": "post_ffw_norm"}
EXPERT = {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "w1": "ffn_gate", "w3": "ffn_up", "w2": "ffn_down"}
U32, F32, STR = 4, 6, 8
MXFP4 = 39


def read_safetensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    return {k: (v["shape"], raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]])
            for k, v in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}


def permute(shape, raw, n_head):
    """Row h*hd + 2j + i of the file is row h*hd + i*hd/2 + j of the model."""
    row, hd = len(raw) // shape[0], shape[0] // n_head
    order = [h * hd + i * (hd // 2) + j for h in range(n_head) for j in range(hd // 2) for i in range(2)]
    return b"".join(raw[r * row:(r + 1) * row] for r in order)


def llama3_factors(rope, hd):
    out = []
    for j in range(hd // 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (2 * j / hd)
        ctx, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = (ctx / wave - low) / (high - low)
        out.append(1.0 if wave < ctx / high else rope["factor"] if wave > ctx / low else 1 / ((1 - smooth) / rope["factor"] + smooth))
    return [len(out)], struct.pack(f"<{len(out)}f", *out)


def keys_of(arch, c, rope, hd):
    k = [("general.architecture", STR, arch), ("general.name", STR, "tiny"), ("tokenizer.ggml.model", STR, "no_vocab"),
         (arch + ".vocab_size", U32, c["vocab_size"]), (arch + ".block_count", U32, c["num_hidden_layers"]),
         (arch + ".context_length", U32, c["max_position_embeddings"]), (arch + ".embedding_length", U32, c["hidden_size"]),
         (arch + ".feed_forward_length", U32, c["intermediate_size"]), (arch + ".attention.head_count", U32, c["num_attention_heads"]),
         (arch + ".attention.head_count_kv", U32, c["num_key_value_heads"]),
         (arch + ".attention.layer_norm_rms_epsilon", F32, c["rms_norm_eps"])]
    if arch != "gemma2":
        k.append((arch + ".rope.freq_base", F32, rope["rope_theta"]))
    if arch not in ("phi3", "olmo2"):
        k += [(arch + ".attention.key_length", U32, hd), (arch + ".attention.value_length", U32, hd)]
    if arch == "phi3" or not arch.startswith("gemma"):
        k.append((arch + ".rope.dimension_count", U32, int(hd * rope.get("partial_rotary_factor", 1))))
    if arch == "phi3":  # the window that Phi-3 has not is zero; longrope is told by its tensors
        k += [(arch + ".rope.scaling.original_context_length", U32, c["original_max_position_embeddings"]),
              (arch + ".attention.sliding_window", U32, c["sliding_window"] or 0)]
    if arch.startswith("gemma") or arch == "gpt-oss":
        k.append((arch + ".attention.sliding_window", U32, c["sliding_window"]))
    if arch == "gpt-oss":
        k.append((arch + ".expert_feed_forward_length", U32, c["intermediate_size"]))
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if c.get(name):
            k.append((f"{arch}.{name}", F32, c[name]))
    if rope["rope_type"] == "longrope":
        s = c["max_position_embeddings"] / c["original_max_position_embeddings"]
        k.append((arch + ".rope.scaling.attn_factor", F32, math.sqrt(1 + math.log(s) / math.log(c["original_max_position_embeddings"]))))
    if rope["rope_type"] in ("linear", "yarn"):
        k += [(arch + ".rope.scaling.type", STR, rope["rope_type"]), (arch + ".rope.scaling.factor", F32, rope["factor"])]
    if rope["rope_type"] == "yarn":
        k.append((arch + ".rope.scaling.original_context_length", U32, rope["original_max_position_embeddings"]))
    if "num_local_experts" in c:
        k += [(arch + ".expert_count", U32, c["num_local_experts"]), (arch + ".expert_used_count", U32, c["num_experts_per_tok"])]
    if "moe_intermediate_size" in c:
        k.append((arch + ".expert_feed_forward_length", U32, c["moe_intermediate_size"]))
    if c.get("layer_types", []) == ["sliding_attention", "full_attention"] * 2:  # not the family's pattern
        k.append((arch + ".attention.sliding_window_pattern", U32, 2))
    return k


def plus_one(raw):
    """Gemma's norms are kept less one in folders, whole in GGUF: added as float32, as the converter does."""
    n = len(raw) // 4
    return struct.pack(f"<{n}f", *(v + 1 for v in struct.unpack(f"<{n}f", raw)))


def turned(shape, raw):
    """Float32 [matrices, inputs, outputs] with the last two the other way round."""
    m, i, o = shape
    v = struct.unpack(f"<{m * i * o}f", raw)
    return [m, o, i], struct.pack(f"<{m * i * o}f", *(v[(a * i + c) * o + b] for a in range(m) for b in range(o) for c in range(i)))


def blocks_of(shape, blocks, scales):
    """MXFP4 as GGUF has it: a scale, then 16 bytes with inputs j low and j + 16 high, where folders have 2 j and 2 j + 1."""
    out = bytearray()
    for n in range(len(scales)):
        b = blocks[16 * n:16 * n + 16]
        x = [b[j // 2] >> 4 * (j % 2) & 15 for j in range(32)]
        out += scales[n:n + 1] + bytes(x[j] | x[j + 16] << 4 for j in range(16))
    return shape[:-2] + [shape[-2] * 32], bytes(out)


def in_turn(shape, raw, part, rows):
    """Every second row of the last dimension but one (of biases: number), from `part` on."""
    each = len(raw) // math.prod(shape[:rows + 1])
    return (shape[:rows] + [shape[rows] // 2] + shape[rows + 1:],
            b"".join(raw[k * each:(k + 1) * each] for k in range(part, math.prod(shape[:rows + 1]), 2)))


def gpt_oss_expert(n, part, source, name):
    """A folder's experts under the names that the converter gives them: gate and up apart, outputs by rows."""
    bias, kind = part.endswith("_bias"), 0
    shape, raw = source[name]
    if part.endswith("_blocks"):
        shape, raw = blocks_of(shape, raw, source[name.replace("_blocks", "_scales")][1])
        kind = MXFP4
    elif not bias:
        shape, raw = turned(shape, raw)
    end = "bias" if bias else "weight"
    if part.startswith("down"):
        return [(f"blk.{n}.ffn_down_exps.{end}", shape, raw, kind)]
    return [(f"blk.{n}.ffn_{x}_exps.{end}", *in_turn(shape, raw, i, 1), kind) for i, x in enumerate(("gate", "up"))]


def tensors_of(arch, c, source, rope, hd, old_experts):
    out, experts = [], {}
    post = POST_NORMS if arch in ("gemma2", "gemma3", "olmo2", "gpt-oss") else {}
    for name, (shape, raw) in source.items():
        if arch == "gpt-oss" and ".mlp.experts." in name:
            n, part = name.removeprefix("model.layers.").split(".mlp.experts.")
            if not part.endswith("_scales"):
                out += gpt_oss_expert(n, part, source, name)
            continue
        if name.endswith(".sinks"):
            name = name.replace("self_attn.sinks", "attn_sinks.weight")
            out.append((name.replace("model.layers.", "blk."), shape, raw))
            continue
        base, end = name.rsplit(".", 1)
        if arch.startswith("gemma") and base.endswith("norm"):
            raw = plus_one(raw)
        if base in TOP:
            out.append((f"{TOP[base]}.{end}", shape, raw))
            continue
        n, part = base.removeprefix("model.layers.").split(".", 1)
        if ".experts." in part:
            e, part = part.split(".experts.")[1].split(".", 1)
            experts.setdefault((n, EXPERT[part]), {})[int(e)] = (shape, raw)
            continue
        if arch == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            raw = permute(shape, raw, c["num_attention_heads" if "q_proj" in part else "num_key_value_heads"])
        out.append((f"blk.{n}.{post.get(part) or LAYER[part]}.{end}", shape, raw))
    for (n, name), e in experts.items():
        if old_experts:  # as files of 2023 have them
            out += [(f"blk.{n}.{name}.{i}.weight", *e[i]) for i in range(len(e))]
        else:
            out.append((f"blk.{n}.{name}_exps.weight", [len(e)] + e[0][0], b"".join(e[i][1] for i in range(len(e)))))
    if rope["rope_type"] == "llama3":
        out.append(("rope_freqs.weight", *llama3_factors(rope, hd)))
    if rope["rope_type"] == "longrope":
        out += [(f"rope_factors_{k}.weight", [len(rope[k + "_factor"])], struct.pack(f"<{hd // 2}f", *rope[k + "_factor"]))
                for k in ("long", "short")]
    return out


def fuse_qkv(tensors):
    """q, k and v of each layer in one tensor, as llama.cpp's converter does when asked."""
    by_name = {name: (shape, raw) for name, shape, raw in tensors}
    out = []
    for name, shape, raw in tensors:
        stem, part, end = name.rsplit(".", 2) if name.count(".") >= 2 else ("", "", "")
        if part == "attn_q":
            parts = [by_name[f"{stem}.attn_{x}.{end}"] for x in "qkv"]
            out.append((f"{stem}.attn_qkv.{end}", [sum(s[0] for s, _ in parts)] + shape[1:], b"".join(r for _, r in parts)))
        elif part not in ("attn_k", "attn_v"):
            out.append((name, shape, raw))
    return out


def join(source, parts, whole):
    """Stacks tensors' rows: {names} to one."""
    found = [source.pop(p) for p in parts]
    source[whole] = ([sum(f[0][0] for f in found)] + found[0][0][1:], b"".join(f[1] for f in found))


def split(source, whole, parts, rows):
    (shape, raw), at = source.pop(whole), 0
    row = len(raw) // shape[0]
    for p, n in zip(parts, rows):
        source[p] = ([n] + shape[1:], raw[at * row:(at + n) * row])
        at += n


def respell(name, c, source, hd):
    """Other folders of these weights: {suffix: (config, tensors)}."""
    out, layers, q, kv, ff = {}, range(c["num_hidden_layers"]), c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd, c["intermediate_size"]
    if name in ("llama", "llama-bias", "qwen2-tied"):
        t = dict(source)
        for end in ("weight", "bias"):
            for a in (f"model.layers.{n}.self_attn." for n in layers):
                if f"{a}q_proj.{end}" in t:
                    join(t, [f"{a}{x}_proj.{end}" for x in "qkv"], f"{a}qkv_proj.{end}")
        for m in (f"model.layers.{n}.mlp." for n in layers):
            join(t, [f"{m}{x}_proj.weight" for x in ("gate", "up")], m + "gate_up_proj.weight")
        out["fused"] = (c, t)
    if name == "phi3":
        t = dict(source)
        for p in (f"model.layers.{n}." for n in layers):
            split(t, p + "self_attn.qkv_proj.weight", [f"{p}self_attn.{x}_proj.weight" for x in "qkv"], (q, kv, kv))
            split(t, p + "mlp.gate_up_proj.weight", [f"{p}mlp.{x}_proj.weight" for x in ("gate", "up")], (ff, ff))
        out["apart"] = (c, t)
    if name in ("mixtral", "qwen3-moe"):  # as transformers 5 holds them
        t = dict(source)
        old, (g, u, d) = (".block_sparse_moe.", ("w1", "w3", "w2")) if name == "mixtral" else (".mlp.", ("gate_proj", "up_proj", "down_proj"))
        for n in layers:
            p, to = f"model.layers.{n}{old}", f"model.layers.{n}.mlp."
            e = [f"{p}experts.{i}." for i in range(c["num_local_experts"])]
            t[to + "gate.weight"] = t.pop(p + "gate.weight")
            for whole, parts in (("gate_up_proj", [f"{x}{w}.weight" for x in e for w in (g, u)]), ("down_proj", [f"{x}{d}.weight" for x in e])):
                join(t, parts, f"{to}experts.{whole}")
                shape, raw = t[f"{to}experts.{whole}"]
                t[f"{to}experts.{whole}"] = ([len(e), shape[0] // len(e)] + shape[1:], raw)
        out["stacked"] = (c, t)
    if name == "gemma3":
        left_out = ("num_attention_heads", "attn_logit_softcapping", "final_logit_softcapping", "tie_word_embeddings", "architectures")
        config = {"architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {"hidden_size": 8},
                  "text_config": {k: v for k, v in c.items() if k not in left_out} | {"num_attention_heads": c["num_attention_heads"]}}
        for suffix, root, other in (("wrapped", "language_model.model.", ""), ("wrapped-new", "model.language_model.", "model.")):
            t = {k.replace("model.", root, 1): v for k, v in source.items()}
            for part in ("vision_tower.vision_model.head.weight", "multi_modal_projector.mm_input_projection_weight"):
                t[other + part] = ([2, 2], struct.pack("<4f", 1, 2, 3, 4))
            out[suffix] = (config, t)
    return out


def string(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def as_type(shape, raw, kind):
    if kind == "F32" or len(shape) == 1:
        return 0, raw
    return 1, struct.pack(f"<{len(raw) // 4}e", *struct.unpack(f"<{len(raw) // 4}f", raw))


def write(path, keys, tensors, kind):
    head, data = b"", b""
    for name, t, v in keys:
        head += string(name) + struct.pack("<I", t) + (string(v) if t == STR else struct.pack("<I" if t == U32 else "<f", v))
    for name, shape, raw, *forced in tensors:
        t, raw = (MXFP4, raw) if MXFP4 in forced else as_type(shape, raw, kind)
        data += b"\0" * (-len(data) % 32)
        head += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), t, len(data))
        data += raw
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)) + head
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32) + data)


def write_safetensors(path, tensors, kind):
    head, data = {}, b""
    for name, (shape, raw) in tensors.items():
        t, raw = as_type(shape, raw, kind)
        head[name] = {"dtype": "F16" if t else "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def main():
    out = sys.argv[1]
    kind = sys.argv[sys.argv.index("--type") + 1] if "--type" in sys.argv else "F32"
    for name, arch in MODELS.items():
        c = json.load(open(f"{HERE}/{name}/config.json"))
        if name.endswith("-mxfp4") and kind != "F32":
            continue
        rope = c["rope_parameters"].get("full_attention", c["rope_parameters"])
        hd = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
        source = read_safetensors(f"{HERE}/{name}/model.safetensors")
        keys = keys_of(arch, c, rope, hd)
        write(f"{out}/{name}.gguf", keys, tensors_of(arch, c, source, rope, hd, False), kind)
        if name == "mixtral":
            write(f"{out}/{name}-old.gguf", keys, tensors_of(arch, c, source, rope, hd, True), kind)
        if name in ("llama", "llama-bias", "qwen2-tied"):
            write(f"{out}/{name}-fused.gguf", keys, fuse_qkv(tensors_of(arch, c, source, rope, hd, False)), kind)
        folders = {f"{name}-{k}": v for k, v in respell(name, c, source, hd).items()}
        if kind != "F32":  # the same rounding as a folder
            folders[name] = (c, source)
        for folder, (config, tensors) in folders.items():
            os.makedirs(f"{out}/{folder}", exist_ok=True)
            with open(f"{out}/{folder}/config.json", "w") as f:
                json.dump(config, f)
            write_safetensors(f"{out}/{folder}/model.safetensors", tensors, kind)


main()
