/* arch_mixtral.c: Mixtral: Mistral with routed experts in place of the MLP, their weights divided by their sum. Jiang et al.
 * 2024, section 2.1. GGUF files of it say "llama" and how many experts there are. */
#include "model/arch.h"

static const wk_arch_name names[] = {
    { WK_T_ROUTER, "block_sparse_moe.gate|mlp.gate", NULL },
    { WK_T_GATE_EXPS, "block_sparse_moe.experts.*.w1", NULL },
    { WK_T_UP_EXPS, "block_sparse_moe.experts.*.w3", NULL },
    { WK_T_DOWN_EXPS, "block_sparse_moe.experts.*.w2|mlp.experts.down_proj", NULL },
    { 0, NULL, NULL },
};

extern const wk_arch wk_arch_mistral, wk_arch_mixtral;
const wk_arch wk_arch_mixtral = {
    .base = &wk_arch_mistral, .name = "mixtral", .gguf = "llama", .hf = "MixtralForCausalLM",
    .features = WK_MOE | WK_NORM_TOPK, .names = names,
};
