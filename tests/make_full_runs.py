#!/usr/bin/env python3
"""make_full_runs.py: makes tests/data/train/full.safetensors (torch 2.15, transformers): full fine-tuning of models of experts in
float32 by plain descent, on one row of tokens. For each model: <model>.tokens [n], <model>.loss [steps] before each update,
<model>.norm [steps] of the gradient over all parameters, <model>.rate. No loss balances the experts, as is the default."""
import os
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

N, STEPS, RATE = 40, 5, 0.02
HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    out = {}
    for name in ("mixtral", "qwen3-moe", "gpt-oss"):
        path = os.path.join(HERE, "data/models", name)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
        model.train()
        torch.manual_seed(11)
        tokens = torch.randint(3, 60, (1, N))
        loss, norm = [], []
        for _ in range(STEPS):
            model.zero_grad()
            y = model(input_ids=tokens, labels=tokens, use_cache=False).loss
            y.backward()
            loss.append(y.item())
            norm.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1e30).item())
            with torch.no_grad():
                for p in model.parameters():
                    if p.grad is not None:
                        p -= RATE * p.grad
        out[name + ".tokens"] = tokens[0].float()
        out[name + ".loss"], out[name + ".norm"] = torch.tensor(loss), torch.tensor(norm)
        out[name + ".rate"] = torch.tensor([RATE])
        print(name, loss, norm)
    save_file(out, os.path.join(HERE, "data/train/full.safetensors"))


main()
