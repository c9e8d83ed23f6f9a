/* arch_qwen3_moe.c: Qwen3-MoE: Qwen3 with routed experts in place of the MLP. Qwen3 report, section 2. */
#include "model/arch.h"

extern const wk_arch wk_arch_qwen3, wk_arch_qwen3_moe;
const wk_arch wk_arch_qwen3_moe = {
    .base = &wk_arch_qwen3, .name = "qwen3moe", .hf = "Qwen3MoeForCausalLM", .hf_type = "qwen3_moe", .features = WK_MOE,
};
