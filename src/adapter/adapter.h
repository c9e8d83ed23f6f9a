/* adapter.h: LoRA adapters, loaded into a model's backend beside its weights; never merged, so that rows with different
 * adapters share a batch. Hu et al. 2021, "LoRA: low-rank adaptation of large language models", section 4.1. */
#ifndef WK_ADAPTER_H
#define WK_ADAPTER_H
#include "model/model.h"
#include <stdatomic.h>

enum { WK_LORA_MAX_RANK = 1024 };  /* the lora op's limit */

/* Nothing of it changes once it is made, but the count. */
struct wick_adapter {
    wk_model *model;      /* borrowed: its backend holds the weights */
    wk_lora_term *term;   /* [wk_model_n_slot] */
    wk_lora_set set;      /* all of them, at scale 1 */
    atomic_int n_ref;     /* who holds it: its loader, registries, sessions */
    wick_adapter_info info;
    char *path, *base_model;  /* info's strings; NULL: "" */
};

/* Loads what wk_lora_read() reads. All of it fits or nothing is kept. Errors  as that. */
wick_status wk_adapter_load(wk_model *m, const char *path, wick_adapter **out);
/* One more holder; and one less, which frees it after the last. NULL is fine. */
wick_adapter *wk_adapter_hold(wick_adapter *a);
void wk_adapter_drop(wick_adapter *a);

/* One of a stack. */
enum { WK_MAX_STACK = 16 };
/* Chains n adapters in set [n]. Errors  WICK_E_ARG: too many, another model's, a scale that is no number, or two that bring the
 * same module whole. */
wick_status wk_adapter_stack(const wk_model *m, const wick_adapter_use *use, size_t n, wk_lora_set *set);

#endif
