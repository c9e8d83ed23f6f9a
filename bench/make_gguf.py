#!/usr/bin/env python3
"""make_gguf.py FOLDER [qwen|llama-1b]: writes models with random weights, for measurements only.
qwen, without a word: Qwen2.5-0.5B's shape as qwen-f16.gguf, qwen-f16-bf16.gguf, qwen-q8_0.gguf, qwen-q4_0.gguf and the folder
qwen-f16/ (config.json, model.safetensors) with the bits of the first; 3.8 GB. llama-1b: Llama-3.2-1B's shape as
llama-1b-f16-bf16.gguf; 2.5 GB. Needs the packages numpy and gguf. Weights are N(0, 0.02) rounded to float16; in the files named
bf16 to numbers that bfloat16 has too, as those of models trained in bfloat16 are. They have no tokenizer."""
import collections, json, os, struct, sys
import gguf
import numpy as np

Shape = collections.namedtuple("Shape", "name arch layers embd ff heads kv_heads head_dim vocab rope_base eps ctx qkv_bias")
QWEN = Shape("Qwen2.5-0.5B", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, 1e6, 1e-6, 32768, True)
LLAMA_1B = Shape("Llama-3.2-1B", "llama", 16, 2048, 8192, 32, 8, 64, 128256, 5e5, 1e-5, 131072, False)


def of_bfloat16(x):
    """Rounded to the numbers that float16 and bfloat16 have in common."""
    u = x.astype(np.float32).view(np.uint32)
    y = ((u + 0x7FFF + ((u >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float16)
    y[(y.astype(np.float32).view(np.uint32) & 0xFFFF) != 0] = 0  # too small for float16 to have all their bits
    return y


BLOCK = (np.random.default_rng(1).standard_normal(1 << 23, dtype=np.float32) * 0.02).astype(np.float16)
BLOCK_BF16 = of_bfloat16(BLOCK)


def tensors(s, block=BLOCK):
    """(GGUF name, Hugging Face name, float16 array); matrices are [out, in], as in both formats."""
    at = 0

    def rand(*shape):
        nonlocal at
        at = (at + 104729) % block.size  # each tensor starts elsewhere in the block
        return np.resize(np.roll(block, -at), int(np.prod(shape))).reshape(shape)

    one = np.ones(s.embd, np.float16)
    yield "token_embd.weight", "model.embed_tokens.weight", rand(s.vocab, s.embd)
    yield "output_norm.weight", "model.norm.weight", one
    for i in range(s.layers):
        g, h = f"blk.{i}.", f"model.layers.{i}."
        yield g + "attn_norm.weight", h + "input_layernorm.weight", one
        for name, heads in (("q", s.heads), ("k", s.kv_heads), ("v", s.kv_heads)):
            yield f"{g}attn_{name}.weight", f"{h}self_attn.{name}_proj.weight", rand(heads * s.head_dim, s.embd)
            if s.qkv_bias:
                yield f"{g}attn_{name}.bias", f"{h}self_attn.{name}_proj.bias", rand(heads * s.head_dim)
        yield g + "attn_output.weight", h + "self_attn.o_proj.weight", rand(s.embd, s.heads * s.head_dim)
        yield g + "ffn_norm.weight", h + "post_attention_layernorm.weight", one
        yield g + "ffn_gate.weight", h + "mlp.gate_proj.weight", rand(s.ff, s.embd)
        yield g + "ffn_up.weight", h + "mlp.up_proj.weight", rand(s.ff, s.embd)
        yield g + "ffn_down.weight", h + "mlp.down_proj.weight", rand(s.embd, s.ff)


def write_gguf(path, s, kind):
    w = gguf.GGUFWriter(path + ".part", s.arch)
    w.add_name(f"{s.name}'s shape, random weights")
    w.add_context_length(s.ctx)
    w.add_embedding_length(s.embd)
    w.add_block_count(s.layers)
    w.add_feed_forward_length(s.ff)
    w.add_head_count(s.heads)
    w.add_head_count_kv(s.kv_heads)
    w.add_rope_freq_base(s.rope_base)
    w.add_layer_norm_rms_eps(s.eps)
    w.add_vocab_size(s.vocab)
    w.add_tokenizer_model("no_vocab")
    for name, _, x in tensors(s, BLOCK_BF16 if kind == "F16-BF16" else BLOCK):
        if x.ndim == 1:
            w.add_tensor(name, x.astype(np.float32))
        elif kind.startswith("F16"):
            w.add_tensor(name, x)
        else:
            qtype = gguf.GGMLQuantizationType[kind]
            w.add_tensor(name, gguf.quants.quantize(x.astype(np.float32), qtype), raw_dtype=qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.replace(path + ".part", path)


def write_folder(folder, s):
    os.makedirs(folder, exist_ok=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": s.embd,
        "intermediate_size": s.ff, "num_hidden_layers": s.layers, "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads, "max_position_embeddings": s.ctx, "rms_norm_eps": s.eps, "rope_theta": s.rope_base,
        "tie_word_embeddings": True, "torch_dtype": "float16", "use_sliding_window": False, "vocab_size": s.vocab,
    }
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
    header, at = {}, 0
    for _, name, x in tensors(s):
        header[name] = {"dtype": "F16", "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(folder, "model.safetensors")
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, x in tensors(s):
            f.write(x.tobytes())
    os.replace(path + ".part", path)


def write_missing(path, write, *more):
    if not os.path.exists(path):
        print(f"writing {path}", flush=True)
        write(path, *more)


def main():
    out, shape = sys.argv[1], (sys.argv + ["qwen"])[2]
    if shape == "llama-1b":
        return write_missing(os.path.join(out, "llama-1b-f16-bf16.gguf"), write_gguf, LLAMA_1B, "F16-BF16")
    for kind in ("F16", "F16-BF16", "Q8_0", "Q4_0"):
        write_missing(os.path.join(out, f"qwen-{kind.lower()}.gguf"), write_gguf, QWEN, kind)
    if not os.path.exists(os.path.join(out, "qwen-f16", "model.safetensors")):
        print("writing qwen-f16/", flush=True)
        write_folder(os.path.join(out, "qwen-f16"), QWEN)


main()
