/* arch_phi3.c: Phi-3, Phi-3.5 and Phi-4: LLaMA whose files keep q, k, v and gate, up in one tensor each, with a window on all
 * layers where the configuration has one. Phi-3 report, section 2; longrope: Ding et al. 2024. */
#include "model/arch.h"

extern const wk_arch wk_arch_llama, wk_arch_phi3;
const wk_arch wk_arch_phi3 = {
    .base = &wk_arch_llama, .name = "phi3", .hf = "Phi3ForCausalLM", .without = WK_GGUF_PERMUTED, .window_pattern = WK_WINDOW_ALL,
    .fused = true,
};
