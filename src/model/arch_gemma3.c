/* arch_gemma3.c: Gemma 3 (text): norms before and after each block, a norm on q and k, five windowed layers with their own rope
 * base to one that sees everything. Gemma 3 report, section 2. */
#include "model/arch.h"

static const wk_arch_name names[] = {
    { WK_T_POST_ATTN_NORM, "post_attention_layernorm", NULL },
    { WK_T_FFN_NORM, "pre_feedforward_layernorm", NULL },
    { WK_T_POST_FFN_NORM, "post_feedforward_layernorm", NULL },
    { 0, NULL, NULL },
};

extern const wk_arch wk_arch_llama, wk_arch_gemma3;
const wk_arch wk_arch_gemma3 = {
    .base = &wk_arch_llama, .name = "gemma3", .hf = "Gemma3ForCausalLM",
    .features = WK_QK_NORM | WK_POST_NORMS | WK_NORM_PLUS_ONE | WK_EMBED_SCALE | WK_TIED, .without = WK_GGUF_PERMUTED,
    .act = WK_ACT_GELU_TANH, .window_pattern = 6, .names = names,
};
