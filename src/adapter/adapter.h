/* adapter.h: LoRA adapters, loaded into a model's backend beside its weights; never merged, so that rows with different
 * adapters share a batch. Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1. */
#ifndef WK_ADAPTER_H
#define WK_ADAPTER_H
#include "model/model.h"

enum { WK_LORA_MAX_RANK = 1024 };  /* the lora op's limit */

struct wick_adapter {
    wk_model *model;      /* borrowed: its backend holds the weights */
    wk_lora_term *term;   /* [wk_model_n_slot] */
    wk_lora_set set;      /* all of them, at scale 1 */
};

/* peft.c: loads a PEFT folder: adapter_config.json and adapter_model.safetensors. All of it fits or nothing is kept.
 * Errors  WICK_E_FORMAT (each tensor that does not fit, by name and reason), WICK_E_UNSUPPORTED (what this cannot apply, by name),
 *         WICK_E_IO, WICK_E_MEMORY. */
wick_status wk_adapter_load(wk_model *m, const char *path, wick_adapter **out);
void wk_adapter_free(wick_adapter *a);

#endif
