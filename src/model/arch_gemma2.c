/* arch_gemma2.c: Gemma 2: norms before and after each block, scores and logits kept within caps, every other layer windowed.
 * Gemma 2 report, section 2. The defaults are transformers' Gemma2Config's, and llama.cpp's where a GGUF file leaves them out. */
#include "model/arch.h"

static const wk_arch_name names[] = {
    { WK_T_POST_ATTN_NORM, "post_attention_layernorm", NULL },
    { WK_T_FFN_NORM, "pre_feedforward_layernorm", NULL },
    { WK_T_POST_FFN_NORM, "post_feedforward_layernorm", NULL },
    { 0, NULL, NULL },
};

static const wk_arch_default defaults[] = {
    { "attn_logit_softcapping", 50, 50 },
    { "final_logit_softcapping", 30, 30 },
    { "sliding_window", 4096, 4096 },
    { "query_pre_attn_scalar", 256, 0 },
    { "head_dim", 256, 0 },
    { NULL, 0, 0 },
};

extern const wk_arch wk_arch_llama, wk_arch_gemma2;
const wk_arch wk_arch_gemma2 = {
    .base = &wk_arch_llama, .name = "gemma2", .hf = "Gemma2ForCausalLM",
    .features = WK_POST_NORMS | WK_NORM_PLUS_ONE | WK_EMBED_SCALE | WK_TIED, .without = WK_GGUF_PERMUTED,
    .act = WK_ACT_GELU_TANH, .window_pattern = 2, .names = names, .defaults = defaults, .layers_scaled_by_embd = 46,
};
