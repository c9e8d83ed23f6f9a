/* arch_mistral.c: Mistral: LLaMA with a sliding window in its configuration. Jiang et al. 2023, section 2. GGUF files of it say
 * "llama". */
#include "model/arch.h"

extern const wk_arch wk_arch_llama, wk_arch_mistral;
const wk_arch wk_arch_mistral = {
    .base = &wk_arch_llama, .name = "mistral", .gguf = "llama", .hf = "MistralForCausalLM", .window_pattern = WK_WINDOW_ALL
};
