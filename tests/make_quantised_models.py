#!/usr/bin/env python3
"""Writes small quantised checkpoints with random weights into tests/data/models, with what transformers computes in float32 from
the weights that they decode to.

    pip install torch transformers safetensors && make_quantised_models.py [OUT_DIR]

llama-fp8-block    quant_method fp8: E4M3, a scale for each 128 x 128 (with tails), in shards that part weights from their scales
llama-fp8-tensor   compressed-tensors, float-quantized: E4M3, one scale a tensor, scales of inputs (which are not used)
llama-fp8-row      fbgemm_fp8: E4M3, a scale for each output
llama-gptq-v2      4 bits, one group a row, zeros as they are
llama-gptq-8-bit   8 bits, groups of 32 in an order of their own (desc_act), zeros stored less one
llama-awq          4 bits, groups of 32, down_proj left as it is
phi3-awq           the same with fused projections
gpt-oss-mxfp4      experts of E2M1 codes with a power of two for each 32, the rest float32
Layouts: as AutoGPTQ, AutoAWQ ("gemm"), DeepSeek-V3, FBGEMM and compressed-tensors write them; rounding is to nearest.
"""
import json, os, shutil, sys
import torch
import transformers as T
from safetensors.torch import save_file

OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "models")
V = 96
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def fresh(hidden, inner, layers, seed, config=T.LlamaConfig):
    c = config(vocab_size=V, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=4,
               num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
               pad_token_id=0, tie_word_embeddings=False)
    torch.manual_seed(seed)
    m = T.AutoModelForCausalLM.from_config(c, attn_implementation="eager").float().eval()
    for n, p in m.named_parameters():
        torch.nn.init.normal_(p, mean=1.0 if "norm" in n else 0.0, std=0.1)
    return m


def ceil_div(a, b): return -(-a // b)


def spread(scale, rows, cols, shape):
    """A scale for each block as one for each weight."""
    return scale.repeat_interleave(rows, 0).repeat_interleave(cols, 1)[:shape[0], :shape[1]]


def fp8(w, rows, cols):
    """E4M3 codes, scales [blocks of outputs, blocks of inputs], and what they decode to."""
    o, i = w.shape
    padded = torch.zeros(ceil_div(o, rows) * rows, ceil_div(i, cols) * cols)
    padded[:o, :i] = w
    s = padded.view(ceil_div(o, rows), rows, -1, cols).abs().amax((1, 3)).clamp(min=1e-12) / 448
    each = spread(s, rows, cols, w.shape)
    q = (w / each).to(torch.float8_e4m3fn)
    return q, s, q.float() * each


def rounded(w, bits, group, order, symmetric):
    """Codes [in, out], zeros and scales [group, out], each input's group, and what they decode to."""
    wt, most = w.T.contiguous(), 2 ** bits - 1
    idx = torch.empty(len(wt), dtype=torch.int32)
    idx[order] = (torch.arange(len(wt)) // group).int()
    q, n = torch.empty(wt.shape, dtype=torch.int64), ceil_div(len(wt), group)
    s, z = torch.empty(n, wt.shape[1]), torch.empty(n, wt.shape[1], dtype=torch.int64)
    for g in range(n):
        x = wt[idx == g]
        lo, hi = x.min(0).values.clamp(max=0), x.max(0).values.clamp(min=0)
        if symmetric:
            hi = torch.maximum(-lo, hi)
            lo = -hi
        s[g] = ((hi - lo) / most).clamp(min=1e-6).half().float()
        z[g] = 2 ** (bits - 1) if symmetric else (-lo / s[g]).round().clamp(1, most).long()
        q[idx == g] = ((x / s[g]).round() + z[g]).clamp(0, most).long()
    return q, z, s, idx, ((q - z[idx.long()]) * s[idx.long()]).T.contiguous()


def words(x, order, axis, bits):
    """Codes along an axis as int32: the k-th lowest of a word is element order[k] of its run."""
    x = x.movedim(axis, -1)
    x = x.reshape(*x.shape[:-1], -1, 32 // bits)
    r = sum(x[..., o] << (bits * k) for k, o in enumerate(order))
    return torch.where(r >= 2 ** 31, r - 2 ** 32, r).int().movedim(-1, axis).contiguous()


def as_gptq(base, w, bits, group, v2, act_order, symmetric, seed):
    order = torch.randperm(w.shape[1], generator=torch.Generator().manual_seed(seed)) if act_order else torch.arange(w.shape[1])
    q, z, s, idx, decoded = rounded(w, bits, group if group > 0 else w.shape[1], order, symmetric)
    n = range(32 // bits)
    return {base + "qweight": words(q, n, 0, bits), base + "qzeros": words(z if v2 else z - 1, n, 1, bits),
            base + "scales": s.half(), base + "g_idx": idx}, decoded


def as_awq(base, w, group):
    q, z, s, _, decoded = rounded(w, 4, group, torch.arange(w.shape[1]), False)
    order = (0, 2, 4, 6, 1, 3, 5, 7)
    return {base + "qweight": words(q, order, 1, 4), base + "qzeros": words(z, order, 1, 4), base + "scales": s.half()}, decoded


def as_fp8(base, w, rows, cols, name, extra):
    q, s, decoded = fp8(w, rows or len(w), cols or w.shape[1])
    s = s.reshape(1) if not rows else s
    return {base + "weight": q, base + name: s, **{base + k: v.clone() for k, v in extra.items()}}, decoded


def write(name, m, quantise, config, shards=1):
    """quantise(base, weight): the arrays in a weight's place and what they decode to, or None: it stays."""
    out = {}
    for k, w in m.state_dict().items():
        made = quantise(k[:-len("weight")], w.clone()) if k.endswith(tuple(p + ".weight" for p in PROJECTIONS)) else None
        if k.endswith(("experts.gate_up_proj", "experts.down_proj")):  # [experts, inputs, outputs]
            blocks, scales, decoded = mxfp4(w.transpose(1, 2).contiguous())
            made = {k + "_blocks": blocks, k + "_scales": scales}, decoded.transpose(1, 2).contiguous()
        if made is None:
            out[k] = w.clone()
        else:
            out.update(made[0])
            m.get_parameter(k).data = made[1]
    d = os.path.join(OUT, name)
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    c = m.config.to_dict()
    c.update(architectures=[type(m).__name__], dtype="float32", quantization_config=config)
    with open(os.path.join(d, "config.json"), "w") as f: json.dump(c, f, indent=1)
    if shards == 1:
        save_file(out, os.path.join(d, "model.safetensors"), metadata={"format": "pt"})
    else:
        files = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
        where = {k: files[i % shards] for i, k in enumerate(sorted(out))}
        for f in files: save_file({k: v for k, v in out.items() if where[k] == f}, os.path.join(d, f), metadata={"format": "pt"})
        with open(os.path.join(d, "model.safetensors.index.json"), "w") as f: json.dump({"metadata": {}, "weight_map": where}, f)
    x = torch.randint(3, V, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ids = m.generate(x[:1, :16], max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)
        save_file({"input_ids": x, "logits": m(x).logits.contiguous(), "greedy_ids": ids.contiguous()},
                  os.path.join(d, "reference.safetensors"))
    print(name, sum(os.path.getsize(os.path.join(d, f)) for f in os.listdir(d)))


E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def mxfp4(w):
    """Blocks [..., in / 32, 16], input 2 j of a byte low; scales with bias 127; and what they decode to."""
    x = w.reshape(*w.shape[:-1], -1, 32)
    e = x.abs().amax(-1).clamp(min=2.0 ** -100).log2().floor() - 2
    y = x / 2.0 ** e[..., None]
    code = (y.abs()[..., None] - E2M1).abs().argmin(-1)
    sign = (y < 0).long()
    nibble = code + 8 * sign
    decoded = E2M1[code] * (1 - 2 * sign) * 2.0 ** e[..., None]
    return (nibble[..., 0::2] + 16 * nibble[..., 1::2]).byte(), (e + 127).byte(), decoded.reshape(w.shape)


def gpt_oss():
    torch.manual_seed(9)
    c = T.GptOssConfig(vocab_size=V, hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, head_dim=16,
                       num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=128,
                       sliding_window=8, layer_types=["sliding_attention", "full_attention"], pad_token_id=0, eos_token_id=2,
                       bos_token_id=1)
    m = T.AutoModelForCausalLM.from_config(c, attn_implementation="eager").float().eval()
    for n, p in m.named_parameters():
        torch.nn.init.normal_(p, mean=1.0 if "norm" in n else 0.0, std=1.0 if "sinks" in n else 0.1)
    return m


write("llama-fp8-block", fresh(136, 144, 1, 1), lambda b, w: as_fp8(b, w, 128, 128, "weight_scale_inv", {}),
      {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}, shards=2)
write("llama-fp8-tensor", fresh(72, 88, 2, 2),
      lambda b, w: as_fp8(b, w, 0, 0, "weight_scale", {"input_scale": torch.tensor([0.03])}),
      {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"], "config_groups": {"group_0": {
          "targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True},
          "input_activations": {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False}}}})
write("llama-fp8-row", fresh(72, 88, 2, 3),
      lambda b, w: None if "v_proj" in b else as_fp8(b, w, 1, 0, "weight_scale", {"input_scale_ub": torch.tensor([1200.0])}),
      {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": ["v_proj", "lm_head"]})
write("llama-gptq-v2", fresh(64, 160, 2, 4), lambda b, w: as_gptq(b, w, 4, -1, True, False, False, 0),
      {"quant_method": "gptq", "bits": 4, "group_size": -1, "desc_act": False, "sym": False, "checkpoint_format": "gptq_v2"})
write("llama-gptq-8-bit", fresh(64, 160, 2, 5), lambda b, w: as_gptq(b, w, 8, 32, False, True, True, 6),
      {"quant_method": "gptq", "bits": 8, "group_size": 32, "desc_act": True, "sym": True, "checkpoint_format": "gptq"})
write("llama-awq", fresh(64, 160, 2, 7), lambda b, w: None if "down_proj" in b else as_awq(b, w, 32),
      {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm",
       "modules_to_not_convert": ["down_proj"]})
write("phi3-awq", fresh(64, 96, 2, 8, T.Phi3Config), lambda b, w: as_awq(b, w, 32),
      {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"})
write("gpt-oss-mxfp4", gpt_oss(), lambda b, w: None, {"quant_method": "mxfp4", "modules_to_not_convert": [
    "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]})
