#!/usr/bin/env python3
"""make_gguf.py FOLDER: writes a model of Qwen2.5-0.5B's shape with random weights, for measurements only, as
qwen-f16.gguf, qwen-f16-bf16.gguf, qwen-q8_0.gguf, qwen-q4_0.gguf and the folder qwen-f16/ (config.json, model.safetensors)
with the bits of the first. 3.8 GB. Needs the packages numpy and gguf. Weights are N(0, 0.02) rounded to float16; in the second
file to numbers that bfloat16 has too, as those of models trained in bfloat16 are. It has no tokenizer."""
import json, os, struct, sys
import gguf
import numpy as np

N_LAYER, N_EMBD, N_FF, N_HEAD, N_HEAD_KV, HEAD_DIM, N_VOCAB = 24, 896, 4864, 14, 2, 64, 151936
ROPE_BASE, EPS, N_CTX = 1e6, 1e-6, 32768
BLOCK = (np.random.default_rng(1).standard_normal(1 << 23, dtype=np.float32) * 0.02).astype(np.float16)


def of_bfloat16(x):
    """Rounded to the numbers that float16 and bfloat16 have in common."""
    u = x.astype(np.float32).view(np.uint32)
    y = ((u + 0x7FFF + ((u >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float16)
    y[(y.astype(np.float32).view(np.uint32) & 0xFFFF) != 0] = 0  # too small for float16 to have all their bits
    return y


def tensors():
    """(GGUF name, Hugging Face name, float16 array); matrices are [out, in], as in both formats."""
    at = 0

    def rand(*shape):
        nonlocal at
        at = (at + 104729) % BLOCK.size  # each tensor starts elsewhere in the block
        return np.resize(np.roll(BLOCK, -at), int(np.prod(shape))).reshape(shape)

    one = np.ones(N_EMBD, np.float16)
    yield "token_embd.weight", "model.embed_tokens.weight", rand(N_VOCAB, N_EMBD)
    yield "output_norm.weight", "model.norm.weight", one
    for i in range(N_LAYER):
        g, h = f"blk.{i}.", f"model.layers.{i}."
        yield g + "attn_norm.weight", h + "input_layernorm.weight", one
        for name, n_out in (("q", N_HEAD * HEAD_DIM), ("k", N_HEAD_KV * HEAD_DIM), ("v", N_HEAD_KV * HEAD_DIM)):
            yield f"{g}attn_{name}.weight", f"{h}self_attn.{name}_proj.weight", rand(n_out, N_EMBD)
            yield f"{g}attn_{name}.bias", f"{h}self_attn.{name}_proj.bias", rand(n_out)
        yield g + "attn_output.weight", h + "self_attn.o_proj.weight", rand(N_EMBD, N_HEAD * HEAD_DIM)
        yield g + "ffn_norm.weight", h + "post_attention_layernorm.weight", one
        yield g + "ffn_gate.weight", h + "mlp.gate_proj.weight", rand(N_FF, N_EMBD)
        yield g + "ffn_up.weight", h + "mlp.up_proj.weight", rand(N_FF, N_EMBD)
        yield g + "ffn_down.weight", h + "mlp.down_proj.weight", rand(N_EMBD, N_FF)


def write_gguf(path, kind):
    w = gguf.GGUFWriter(path + ".part", "qwen2")
    w.add_name("Qwen2.5-0.5B's shape, random weights")
    w.add_context_length(N_CTX)
    w.add_embedding_length(N_EMBD)
    w.add_block_count(N_LAYER)
    w.add_feed_forward_length(N_FF)
    w.add_head_count(N_HEAD)
    w.add_head_count_kv(N_HEAD_KV)
    w.add_rope_freq_base(ROPE_BASE)
    w.add_layer_norm_rms_eps(EPS)
    w.add_vocab_size(N_VOCAB)
    w.add_tokenizer_model("no_vocab")
    for name, _, x in tensors():
        if x.ndim == 1:
            w.add_tensor(name, x.astype(np.float32))
        elif kind.startswith("F16"):
            w.add_tensor(name, of_bfloat16(x) if kind == "F16-BF16" else x)
        else:
            qtype = gguf.GGMLQuantizationType[kind]
            w.add_tensor(name, gguf.quants.quantize(x.astype(np.float32), qtype), raw_dtype=qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.replace(path + ".part", path)


def write_folder(folder):
    os.makedirs(folder, exist_ok=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": N_EMBD,
        "intermediate_size": N_FF, "num_hidden_layers": N_LAYER, "num_attention_heads": N_HEAD,
        "num_key_value_heads": N_HEAD_KV, "max_position_embeddings": N_CTX, "rms_norm_eps": EPS, "rope_theta": ROPE_BASE,
        "tie_word_embeddings": True, "torch_dtype": "float16", "use_sliding_window": False, "vocab_size": N_VOCAB,
    }
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
    header, at = {}, 0
    for _, name, x in tensors():
        header[name] = {"dtype": "F16", "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = os.path.join(folder, "model.safetensors")
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, x in tensors():
            f.write(x.tobytes())
    os.replace(path + ".part", path)


def main():
    out = sys.argv[1]
    for kind in ("F16", "F16-BF16", "Q8_0", "Q4_0"):
        path = os.path.join(out, f"qwen-{kind.lower()}.gguf")
        if not os.path.exists(path):
            print(f"writing {path}", flush=True)
            write_gguf(path, kind)
    if not os.path.exists(os.path.join(out, "qwen-f16", "model.safetensors")):
        print("writing qwen-f16/", flush=True)
        write_folder(os.path.join(out, "qwen-f16"))


main()
