#!/usr/bin/env python3
"""Makes tests/data/models/NAME for families that tests/data/README.md lists as made here: a tiny checkpoint with random weights
and what transformers computes from it.

    make_model_refs.py [OUT_DIR] [NAME ...]

A family is one entry of MODELS: a configuration, what of config.json transformers 4 spelled otherwise, and, where the plain
initialisation will not do, how to fill a parameter. Needs torch, transformers 5 and safetensors. Float32 on the CPU, eager, from
a fixed seed.
"""
import json
import os
import shutil
import sys

import torch
import transformers as T
from safetensors.torch import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "models")
VOCAB = 320


def common(**k):
    return {**dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                   num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
                   pad_token_id=0), **k}


def wide(name, p, config):
    """Sinks as large as scores are, and biases and experts' products that reach beyond the clipped activation's limits."""
    if "sinks" in name:
        torch.nn.init.normal_(p, std=1.0)
    elif "experts" in name or "bias" in name:
        torch.nn.init.normal_(p, std=2.0 if "gate_up" in name else 0.2)
    else:
        fill(name, p, config)


MODELS = {
    # biases wherever LLaMA may have them; GGUF interleaves those of q and k as their rows
    "llama-bias": {"config": lambda: T.LlamaConfig(**common(attention_bias=True, mlp_bias=True, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0}))},
    "olmo2": {"config": lambda: T.Olmo2Config(**common(rope_parameters={"rope_type": "default", "rope_theta": 500000.0}))},
    # tied head, rope stretched on the layers that see everything, a window of 8 on the others
    "gemma3-linear": {"config": lambda: T.Gemma3TextConfig(**common(
        head_dim=8, num_hidden_layers=4, sliding_window=8, query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
        rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}})),
        "v4": {"sliding_window_pattern": 2}},
    # window of 8 on every other layer, yarn over an original context of 16; gate and up rows in turn, experts input by input
    "gpt-oss": {"config": lambda: T.GptOssConfig(**common(
        head_dim=8, num_hidden_layers=2, num_local_experts=4, num_experts_per_tok=2, sliding_window=8, attention_bias=True,
        layer_types=["sliding_attention", "full_attention"], intermediate_size=32, rope_parameters={
            "rope_type": "yarn", "rope_theta": 150000.0, "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
            "original_max_position_embeddings": 32})), "fill": wide},
    "phi3-partial": {"config": lambda: T.Phi3Config(**common(sliding_window=8, rope_parameters={
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}))},
    # the greedy tokens cross the original context of 32
    "phi3-crossing": {"adapter": True, "config": lambda: T.Phi3Config(**common(
        max_position_embeddings=128, original_max_position_embeddings=32, rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 1.0, "original_max_position_embeddings": 32,
            "short_factor": [1.0, 1.05, 1.1, 1.2], "long_factor": [1.0, 2.0, 3.0, 4.5]}))},
}


def fill(name, p, config):
    """Wide enough that errors show."""
    gemma = "gemma" in type(config).__name__.lower()
    if p.dim() > 1:
        torch.nn.init.normal_(p, std=0.08)
    elif "norm" in name:
        torch.nn.init.normal_(p, mean=0.0 if gemma else 1.0, std=0.1)
    else:
        torch.nn.init.normal_(p, std=0.05)


def fresh(config, fill_one):
    torch.manual_seed(0)
    m = T.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    for name, p in m.named_parameters():
        fill_one(name, p, config)
    if getattr(m.config, "tie_word_embeddings", False):
        m.tie_weights()
    return m


def old_spelling(config, extra):
    """The same configuration in transformers 4's words."""
    c = {**config, "transformers_version": "4.51.0", "torch_dtype": config["dtype"], **extra}
    rope = c.pop("rope_parameters")
    for key in ("dtype", "layer_types", "_sliding_window_pattern"):
        c.pop(key, None)
    if "full_attention" in rope:
        c["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    c["rope_theta"] = rope["rope_theta"]
    if rope.get("partial_rotary_factor", 1) != 1:
        c["partial_rotary_factor"] = rope["partial_rotary_factor"]
    if rope["rope_type"] != "default":
        c["rope_scaling"] = {k: v for k, v in rope.items() if k != "rope_theta"}
    return c


def make(folder, entry):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    fresh(entry["config"](), entry.get("fill", fill)).save_pretrained(folder)
    m = T.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    ids = torch.randint(3, VOCAB, (2, 48), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        out = m(ids, output_hidden_states=True)
        greedy = m.generate(ids[:1, :16], max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)
    ref = {"input_ids": ids, "logits": out.logits, "hidden_after_layer_0": out.hidden_states[1], "greedy_ids": greedy}
    save_file({k: v.detach().contiguous() for k, v in ref.items()}, os.path.join(folder, "reference.safetensors"))
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    with open(os.path.join(folder, "config.v4.json"), "w") as f:
        json.dump(old_spelling(config, entry.get("v4", {})), f, indent=2)
        f.write("\n")
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)
    print(os.path.basename(folder), sum(p.numel() for p in m.parameters()))


SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = [  # model, adapter, LoraConfig
    ("phi3-crossing", "r4-fused", dict(target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])),
    ("phi3-crossing", "r2-fused-dora", dict(r=2, use_dora=True, target_modules=["qkv_proj", "gate_up_proj"])),
    ("llama", "r4-embed-head", dict(target_modules=["embed_tokens", "lm_head", "v_proj"])),
    ("llama", "saved-head", dict(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])),
    ("llama", "r2-dora-all", dict(r=2, use_dora=True, use_rslora=True, target_modules=SEVEN + ["lm_head"])),
    ("qwen2-tied", "r2-outer", dict(r=2, target_modules=["embed_tokens", "lm_head", "v_proj"])),
    ("gemma3", "r2-embed", dict(r=2, target_modules=["embed_tokens", "o_proj"])),
    ("qwen3-moe", "r4-attention", dict(target_modules=SEVEN[:4])),
    ("mixtral", "r2-attention", dict(r=2, target_modules=SEVEN[:4])),
]


def adapter(model, name, config, out):
    """A PEFT adapter, and logits with it on and off (tests/data/adapters)."""
    from peft import LoraConfig, get_peft_model
    folder = os.path.join(out, "..", "adapters", model, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    m = T.AutoModelForCausalLM.from_pretrained(os.path.join(out, model), attn_implementation="eager", dtype=torch.float32)
    p = get_peft_model(m, LoraConfig(**{"r": 4, "lora_alpha": 8, **config}))
    g = torch.Generator().manual_seed(7)
    for name, w in p.named_parameters():
        if "lora_magnitude" in name:
            w.data *= 1 + torch.randn(w.shape, generator=g) * 0.1
        elif "lora_" in name:
            w.data = torch.randn(w.shape, generator=g) * 0.1
        elif "modules_to_save" in name:
            w.data += torch.randn(w.shape, generator=g) * 0.02
    p.eval()
    ids = torch.randint(3, VOCAB, (2, 32), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        on = p(ids).logits
        with p.disable_adapter():
            off = p(ids).logits
    p.peft_config["default"].base_model_name_or_path = model
    p.save_pretrained(folder)
    save_file({"input_ids": ids, "logits": on, "logits_adapter_off": off}, os.path.join(folder, "reference.safetensors"))
    readme = os.path.join(folder, "README.md")
    if os.path.exists(readme):
        os.remove(readme)


def main():
    torch.set_num_threads(2)
    out = sys.argv[1] if len(sys.argv) > 1 and "/" in sys.argv[1] else HERE
    names = [a for a in sys.argv[1:] if "/" not in a] or list(MODELS)
    for name in names:
        make(os.path.join(out, name), MODELS[name])
        for model, adapter_name, config in ADAPTERS:
            if model == name:
                adapter(model, adapter_name, config, out)


main()
