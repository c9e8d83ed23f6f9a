/* archs.c: the list of families that wick runs. A new one is a file like llama.c beside this, and a line here. */
#include "model/arch.h"

extern const wk_arch wk_arch_llama, wk_arch_mistral, wk_arch_qwen2, wk_arch_qwen3, wk_arch_qwen3_moe, wk_arch_gemma3;

const wk_arch *const wk_archs[] = {
    &wk_arch_llama, &wk_arch_mistral, &wk_arch_qwen2, &wk_arch_qwen3, &wk_arch_qwen3_moe, &wk_arch_gemma3, NULL,
};
