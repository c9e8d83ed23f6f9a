/* arch_qwen3.c: Qwen3: LLaMA plus a norm on each head's q and k. Qwen3 report, section 2. */
#include "model/arch.h"

extern const wk_arch wk_arch_llama, wk_arch_qwen3;
const wk_arch wk_arch_qwen3 = {
    .base = &wk_arch_llama, .name = "qwen3", .hf = "Qwen3ForCausalLM", .features = WK_QK_NORM, .without = WK_GGUF_PERMUTED,
};
