#!/usr/bin/env python3
"""peft_train.py MODEL.gguf DTYPE ROWS STEPS THREADS: PEFT's side of bench/train: LoRA of rank 8 on all seven projections, AdamW,
whole steps over rows of random tokens; transformers decodes the GGUF file's weights. The first step is not timed. Prints one
line of JSON. Needs torch, transformers, peft and gguf."""
import json, os, resource, sys, time
import torch, transformers
from peft import LoraConfig, get_peft_model

path, dtype, rows, steps, threads = sys.argv[1], getattr(torch, sys.argv[2]), *map(int, sys.argv[3:6])
torch.set_num_threads(threads)
transformers.logging.set_verbosity_error()
base = transformers.AutoModelForCausalLM.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path), dtype=dtype)
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=targets))
params = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(params, lr=1e-4)
ids = torch.randint(0, base.config.vocab_size, (steps + 1, 1, rows), generator=torch.Generator().manual_seed(1))
began = 0
for k in range(steps + 1):
    if k == 1:
        began = time.perf_counter()
    model(input_ids=ids[k], labels=ids[k]).loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()
    optimizer.zero_grad()
took = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(json.dumps({"tokens_per_second": rows * steps / took, "peak_mb": peak}))
