/* archs.c: the list of families that wick runs. A new one is a file like arch_qwen3.c beside this, and a line here. */
#include "model/arch.h"

extern const wk_arch wk_arch_llama, wk_arch_mistral, wk_arch_mixtral, wk_arch_qwen2, wk_arch_qwen3, wk_arch_qwen3_moe,
    wk_arch_gemma2, wk_arch_gemma3, wk_arch_phi3, wk_arch_olmo2, wk_arch_gpt_oss;

const wk_arch *const wk_archs[] = {
    &wk_arch_llama, &wk_arch_mistral, &wk_arch_mixtral, &wk_arch_qwen2, &wk_arch_qwen3, &wk_arch_qwen3_moe,
    &wk_arch_gemma2, &wk_arch_gemma3, &wk_arch_phi3, &wk_arch_olmo2, &wk_arch_gpt_oss, NULL,
};
