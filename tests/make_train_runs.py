#!/usr/bin/env python3
"""make_train_runs.py [NAME]: makes tests/data/training/qwen2-tied-dora, a DoRA run of a model whose projections have biases,
llama-embed-head, with the embedding and the head among the adapted, and mixtral-attention and qwen3-moe-attention, of the
attention of models of experts (peft 0.21, transformers 5.23, torch 2.15), in the layout of the runs beside them."""
import json, os, shutil, sys
import torch, transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, B, S, RATE = 10, 2, 24, 5e-3
RUNS = {"qwen2-tied-dora": ("qwen2-tied", dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], use_dora=True)),
        "llama-embed-head": ("llama", dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "q_proj", "lm_head"])),
        "mixtral-attention": ("mixtral", dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])),
        "qwen3-moe-attention": ("qwen3-moe", dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))}


def make(name, model_name, lora):
    out = os.path.join(HERE, "data/training", name)
    shutil.rmtree(out, ignore_errors=True)
    base = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(HERE, "data/models", model_name), dtype=torch.float32,
                                                             attn_implementation="eager")
    model = get_peft_model(base, LoraConfig(**lora))
    gen = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for part, p in model.named_parameters():
            if "lora_B" in part or "lora_embedding_A" in part:
                p.copy_(torch.randn(p.shape, generator=gen) * 0.05)
            elif "lora_magnitude" in part:
                p.mul_(1 + 0.1 * torch.randn(p.shape, generator=gen))
    model.save_pretrained(out + "/initial", save_embedding_layers=False)
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(params, lr=RATE, weight_decay=0.01)
    ids = torch.randint(3, base.config.vocab_size, (STEPS, 1, B, S), generator=gen)
    losses, norms = [], []
    for k in range(STEPS):
        logits = model(ids[k, 0]).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[k, 0][:, 1:].reshape(-1))
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params, 1.0).item())
        opt.step()
        opt.zero_grad()
        losses.append(loss.item())
    model.save_pretrained(out + "/final", save_embedding_layers=False)
    save_file({"input_ids": ids, "loss_mask": torch.ones_like(ids), "loss": torch.tensor(losses), "grad_norm": torch.tensor(norms),
               "learning_rate": torch.full((STEPS,), RATE)}, out + "/reference.safetensors")
    json.dump(dict(base=model_name, lora=lora, steps=STEPS, accumulation=1, label_smoothing=0.0, batch=B, sequence=S,
                   learning_rate=RATE, schedule="constant", clip_grad_norm=1.0,
                   optimizer="AdamW betas 0.9 0.999 eps 1e-8 weight_decay 0.01 (decoupled)"), open(out + "/run.json", "w"), indent=1)
    for part in "initial", "final":
        os.remove(f"{out}/{part}/README.md")
        path = f"{out}/{part}/adapter_config.json"
        config = {**json.load(open(path)), "base_model_name_or_path": model_name}
        json.dump(config, open(path, "w"), indent=2, sort_keys=True)
    print(name, losses, norms)


for name in sys.argv[1:] or RUNS:
    make(name, *RUNS[name])
