/* arch_llama.c: LLaMA 2 and 3.x: the base that the other decoders differ from. Touvron et al. 2023; Grattafiori et al. 2024. */
#include "model/arch.h"

extern const wk_arch wk_arch_llama;
const wk_arch wk_arch_llama = {
    .name = "llama", .hf = "LlamaForCausalLM", .hf_classify = "LlamaForSequenceClassification",
    .features = WK_GGUF_PERMUTED, .act = WK_ACT_SILU,
};
