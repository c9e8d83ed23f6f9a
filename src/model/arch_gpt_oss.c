/* arch_gpt_oss.c: gpt-oss: routed experts with biases in a clipped gate, a sink in each head's softmax, every other layer windowed.
 * Model card of gpt-oss-120b and gpt-oss-20b, section 2. In folders gate and up rows lie in turn, and float experts input by
 * input. */
#include "model/arch.h"

static const wk_arch_name names[] = {
    { WK_T_FFN_NORM, "post_attention_layernorm", "post_attention_norm" },
    { WK_T_ROUTER, "mlp.router", NULL },
    { WK_T_GATE_EXPS, "mlp.experts.gate_proj", NULL },
    { WK_T_UP_EXPS, "mlp.experts.up_proj", NULL },
    { WK_T_DOWN_EXPS, "mlp.experts.down_proj", NULL },
    { 0, NULL, NULL },
};

static const wk_arch_default defaults[] = {
    { "sliding_window", 128, 128 },
    { "head_dim", 64, 0 },
    { NULL, 0, 0 },
};

extern const wk_arch wk_arch_llama, wk_arch_gpt_oss;
const wk_arch wk_arch_gpt_oss = {
    .base = &wk_arch_llama, .name = "gpt-oss", .hf = "GptOssForCausalLM", .hf_type = "gpt_oss",
    .features = WK_MOE | WK_NORM_TOPK | WK_SINKS | WK_EXPERT_BIAS | WK_EXPERTS_TURNED | WK_YARN_UNROUNDED,
    .without = WK_GGUF_PERMUTED, .act = WK_ACT_SWIGLU_CLIPPED, .window_pattern = 2, .names = names, .defaults = defaults,
};
