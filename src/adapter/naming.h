/* naming.h: an adapter as files name it: one entry for each matrix that the format keeps, fused where the family's files are. */
#ifndef WK_LORA_NAMING_H
#define WK_LORA_NAMING_H
#include "adapter/lora_data.h"

typedef struct wk_lora_entry {
    const char *name;              /* "model.layers.3.self_attn.q_proj", "blk.3.attn_q" */
    int layer; wk_role role;       /* of its first part */
    int64_t rank, n_in, n_out;
    double scale;                  /* of B A */
    const float *a, *b, *magnitude;
} wk_lora_entry;
typedef struct wk_lora_entries { wk_lora_entry *e; size_t n; wk_arena own; } wk_lora_entries;

/* Entries borrow from d what they need not make. Errors  WICK_E_UNSUPPORTED (DoRA of a part of a fused matrix, or more ranks in one
 * than can be read again), WICK_E_MEMORY. */
wick_status wk_lora_entries_new(const wk_model *m, const wk_lora_data *d, bool gguf, wk_lora_entries *out);
void wk_lora_entries_free(wk_lora_entries *l);
/* Will there be entries for it once it is trained, whatever its numbers are then? Errors  as wk_lora_entries_new(). */
wick_status wk_lora_check_trained(const wk_model *m, const wk_lora_data *d);
/* The name of a layer's matrix or (layer -1) of an embedding or head, as a new folder or GGUF file of this model would have it. */
bool wk_lora_name(const wk_model *m, int layer, wk_role role, bool gguf, char *out, size_t cap);

#endif
