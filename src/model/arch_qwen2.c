/* arch_qwen2.c: Qwen2 and Qwen2.5: LLaMA with biases on q, k and v. Qwen2 report, section 2.2. */
#include "model/arch.h"

extern const wk_arch wk_arch_llama, wk_arch_qwen2;
const wk_arch wk_arch_qwen2 = {
    .base = &wk_arch_llama, .name = "qwen2", .hf = "Qwen2ForCausalLM", .hf_classify = "Qwen2ForSequenceClassification",
    .features = WK_QKV_BIAS, .without = WK_GGUF_PERMUTED,
};
