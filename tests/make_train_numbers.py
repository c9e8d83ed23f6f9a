#!/usr/bin/env python3
"""make_train_numbers.py: makes tests/data/train/steps.safetensors (torch 2.15): weights after each of some updates by torch's
optimisers, from random weights and gradients. For each case: <case>.w [n] before, <case>.g [steps, n], <case>.after [steps, n],
<case>.constants (beta1, beta2, eps, momentum, weight_decay, rate, largest norm or 0). Lion is algorithm 2 of Chen et al. 2023."""
import os
import torch
from safetensors.torch import save_file

N, STEPS = 37, 6
CASES = {
    "adamw": ("adamw", 0.9, 0.999, 1e-8, 0, 0.01, 2e-3, 0),
    "adamw-clipped": ("adamw", 0.8, 0.95, 1e-6, 0, 0.1, 1e-2, 1.0),
    "sgd": ("sgd", 0, 0, 0, 0, 0, 0.1, 0),
    "sgd-momentum-decay": ("sgd", 0, 0, 0, 0.9, 0.05, 0.1, 0),
    "lion": ("lion", 0.9, 0.99, 0, 0, 0.1, 1e-3, 0),
}


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = (b1 * m + (1 - b1) * p.grad).sign()
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)
                m.mul_(b2).add_((1 - b2) * p.grad)


def main():
    torch.manual_seed(7)
    out = {}
    for name, (kind, b1, b2, eps, momentum, decay, rate, norm) in CASES.items():
        w = torch.nn.Parameter(torch.randn(N, dtype=torch.float64))
        g = torch.randn(STEPS, N, dtype=torch.float64)
        g[:, 0] = 0  # Lion's sign of nothing
        w.data, g = w.data.float().double(), g.float().double()
        out[name + ".w"] = w.data.float().clone()
        out[name + ".g"] = g.float()
        out[name + ".constants"] = torch.tensor([b1, b2, eps, momentum, decay, rate, norm])
        if kind == "adamw":
            opt = torch.optim.AdamW([w], rate, (b1, b2), eps, decay)
        elif kind == "sgd":
            opt = torch.optim.SGD([w], rate, momentum)
        else:
            opt = Lion([w], rate, (b1, b2), decay)
        after = []
        for k in range(STEPS):
            w.grad = g[k].clone()
            if norm:
                torch.nn.utils.clip_grad_norm_([w], norm)
            if kind == "sgd":
                w.data.mul_(1 - rate * decay)
            opt.step()
            after.append(w.data.float().clone())
        out[name + ".after"] = torch.stack(after)
    save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "data/train/steps.safetensors"))


main()
