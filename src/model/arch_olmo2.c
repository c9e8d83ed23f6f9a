/* arch_olmo2.c: OLMo 2: norms after attention and after the MLP and none before, q and k normalised over all their heads.
 * OLMo 2 report, section 2.1. */
#include "model/arch.h"

static const wk_arch_name names[] = {
    { WK_T_POST_ATTN_NORM, "post_attention_layernorm", NULL },
    { WK_T_POST_FFN_NORM, "post_feedforward_layernorm", NULL },
    { 0, NULL, NULL },
};

extern const wk_arch wk_arch_llama, wk_arch_olmo2;
const wk_arch wk_arch_olmo2 = {
    .base = &wk_arch_llama, .name = "olmo2", .hf = "Olmo2ForCausalLM",
    .features = WK_POST_NORMS | WK_NO_PRE_NORMS | WK_QK_NORM | WK_QK_NORM_ROW, .without = WK_GGUF_PERMUTED, .names = names,
};
