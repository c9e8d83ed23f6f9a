/* checkpoint.h: what a path holds, found from its content: a GGUF file (split or not), or a Hugging Face folder
 * (config.json, *.safetensors with or without an index, tokenizer files). Gives named tensors and metadata; knows no model. */
#ifndef WK_CHECKPOINT_H
#define WK_CHECKPOINT_H
#include "base/json.h"
#include "format/gguf.h"
#include "format/safetensors.h"

typedef struct wk_checkpoint wk_checkpoint;
/* vocab_only: a folder needs no weights (nor config.json), only a tokenizer.json.
 * The arrays of a folder's quantised weights (codes, zeros, scales) come as one tensor each: format/quantised.h.
 * Errors  as the formats'; pickle .bin and bare tokenizer.model folders are WICK_E_UNSUPPORTED with the way to convert them. */
wick_status wk_checkpoint_open(const char *path, bool vocab_only, wk_checkpoint **out);
void wk_checkpoint_free(wk_checkpoint *c);
const char *wk_checkpoint_path(const wk_checkpoint *c);
/* "owner/name" on the Hugging Face hub: of the model that a GGUF file was made from, or of a folder in the hub's cache. NULL: it
 * says none. */
wk_str wk_checkpoint_hub_name(const wk_checkpoint *c);

size_t wk_checkpoint_n_tensor(const wk_checkpoint *c);
const wk_tensor *wk_checkpoint_tensor(const wk_checkpoint *c, size_t i);
const wk_tensor *wk_checkpoint_find(const wk_checkpoint *c, const char *name);  /* hashed; NULL: not there */

/* The GGUF, or NULL for a folder. For folders: parsed files, NULL where absent. All borrowed. */
const wk_gguf *wk_checkpoint_gguf(const wk_checkpoint *c);
json_t *wk_checkpoint_config(const wk_checkpoint *c);            /* config.json */
json_t *wk_checkpoint_generation_config(const wk_checkpoint *c); /* generation_config.json */
json_t *wk_checkpoint_tokenizer_json(const wk_checkpoint *c);    /* tokenizer.json */
json_t *wk_checkpoint_tokenizer_config(const wk_checkpoint *c);  /* tokenizer_config.json */
/* The chat template's text: chat_template.jinja, then tokenizer_config.json's (a string, or the one named "default"), then the
 * GGUF's. NULL: none. */
const char *wk_checkpoint_chat_template(const wk_checkpoint *c);

#endif
