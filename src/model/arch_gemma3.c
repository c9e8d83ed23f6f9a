/* arch_gemma3.c: Gemma 3 (text): Gemma 2 without the caps, with a norm on q and k, five windowed layers with their own rope base
 * to one that sees everything. Gemma 3 report, section 2. The defaults are transformers' Gemma3TextConfig's. */
#include "model/arch.h"

static const wk_arch_default defaults[] = {
    { "attn_logit_softcapping", 0, 0 },
    { "final_logit_softcapping", 0, 0 },
    { "sliding_window", 4096, 0 },
    { "rope_theta", 1e6, 0 },
    { "rope_local_base_freq", 10000, 10000 },
    { "num_attention_heads", 8, 0 },
    { "num_key_value_heads", 4, 0 },
    { "max_position_embeddings", 131072, 0 },
    { "rms_norm_eps", 1e-6, 0 },
    { "vocab_size", 262208, 0 },
    { NULL, 0, 0 },
};

extern const wk_arch wk_arch_gemma2, wk_arch_gemma3;
const wk_arch wk_arch_gemma3 = {
    .base = &wk_arch_gemma2, .name = "gemma3", .hf = "Gemma3ForCausalLM", .hf_type = "gemma3_text",
    .hf_wrapper = "Gemma3ForConditionalGeneration", .features = WK_QK_NORM,
    .window_pattern = 6, .defaults = defaults, .layers_scaled_by_embd = 62,
};
