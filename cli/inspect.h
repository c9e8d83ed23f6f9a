/* inspect.h: what wick inspect found out, and its lists. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H
#include "flags.h"
#include "model/model.h"

typedef struct facts {
    wk_checkpoint *ckpt;
    wk_model model;            /* hp and ckpt only: what the model functions that need no weights read */
    bool runs;                 /* has weights of an architecture that wick knows */
    size_t n_tensor;
    uint64_t n_params, n_bytes;
    wk_dtype main_type;        /* most bytes */
    wk_buf types;
    wk_tokenizer *tokenizer;   /* NULL: none, or tokenizer_error says why */
    const char *template; wk_buf template_text;
    char hp_error[1024], tokenizer_error[1024], template_error[1024];
    int64_t n_ctx; wk_dtype kv_type;
    uint64_t kv_bytes, buffer_bytes;
} facts;

/* inspect_list.c: append to *b, as lines or as "keys":{...} and "tensors":[...]. */
void list_keys(wk_buf *b, const wk_checkpoint *c, bool json);
void list_tensors(wk_buf *b, const wk_checkpoint *c, bool json);
/* --prompt: the text's tokens, on alternating backgrounds where there are colours; returns an exit code. */
int show_tokens(const opts *o, bool json);

#endif
