/* conversion.h: what the files of this folder share. Reading order: convert.c (the call), collect.c (a model's weights by role, as
 * their files have them), plan.c (the tensors to write), rows.c (their bytes), then what lies around them: to_gguf.c and
 * to_folder.c (keys and configuration), vocab_gguf.c and vocab_json.c (the tokenizer). */
#ifndef WK_CONVERSION_H
#define WK_CONVERSION_H
#include "format/gguf_write.h"
#include "format/names.h"
#include "convert/trained.h"
#include "model/model.h"

/* A weight as the binder found it: rows of these tensors, in wick's own order. */
typedef struct wk_found {
    wk_weight base;           /* n_mat, n_row, n_col; dtype of the first tensor */
    wk_tensor *tensor;        /* [n_tensor] */
    wk_parts *parts;          /* [n_tensor] where codes and scales lie apart, or NULL */
    int n_tensor;
    int32_t *row_from;        /* [n_row], of a vector its elements: [n_col]; or NULL */
    float add;
} wk_found;

/* Where a tensor to write comes from: matrices of found weights, one weight after the other. */
enum { WK_MAX_PIECE = 3 };
typedef struct wk_origin {
    const wk_found *piece[WK_MAX_PIECE]; int n_piece;
    int64_t layer; wk_role role[WK_MAX_PIECE];  /* whose they are */
    bool merged;              /* adapters change some of it */
    const float *trained[WK_MAX_PIECE];  /* numbers in a piece's place (trained.h), or NULL */
    int64_t mat;              /* -1: all matrices; else this one (an expert apart) */
    bool turned;              /* experts as [inputs, outputs], the pieces' outputs (their biases too) in turn */
    int64_t head;             /* > 0: rows of heads of so many are interleaved, as GGUF has them */
    float add;                /* to every element */
    const wk_tensor *plain;   /* a tensor of the source in place of pieces */
    const float *made;        /* ... or numbers of our own, float32 */
} wk_origin;

typedef struct wk_merge wk_merge;
typedef struct wk_lora_data wk_lora_data;

typedef struct wk_conversion {
    const char *from, *to;
    const wick_convert_options *o;
    bool to_gguf;
    wk_model *m;              /* its weights are wk_found; without hyperparameters and weights for a vocabulary alone */
    bool vocab_only;
    wk_dtype type;            /* of matrices */
    bool typed;               /* the caller chose it */
    wk_tensor *t; wk_origin *origin; size_t n, cap, cap_origin;  /* to write; data is NULL */
    uint64_t done, total;     /* bytes written, of all tensors */
    bool quantised;           /* some weights were: they are decoded */
    wk_merge *merge;          /* adapters, or NULL */
    bool untied;              /* they change the embedding or the head, which are one matrix: both are written */
    const wk_trained_weight *trained; size_t n_trained;  /* weights with new numbers */
    wk_arena own;             /* names, numbers */
    wk_buf notes;             /* lines for the caller */
} wk_conversion;

/* ---- collect.c ---- */

/* Row r of a found weight, all its matrices counted through: which tensor and which of its rows. */
const wk_tensor *wk_found_row(const wk_found *f, int64_t r, int64_t *row);
/* A backend that computes nothing: its weights are wk_found. */
wick_status wk_collector_new(wk_backend **out);

/* ---- plan.c ---- */

/* Fills c->t and c->origin with every tensor of the other format. Errors  WICK_E_UNSUPPORTED, WICK_E_MEMORY. */
wick_status wk_plan_model(wk_conversion *c);
/* The same with adapters from one GGUF to another: also the tensors that the model does not name (rope_freqs). */
wick_status wk_plan_rest(wk_conversion *c);
/* From one GGUF to another without them: names stay. */
wick_status wk_plan_gguf(wk_conversion *c, const wk_checkpoint *source);

/* ---- merge.c: c->o's adapters ---- */

/* Reads them into c->merge. Errors  as wk_lora_read(); WICK_E_UNSUPPORTED: what cannot be merged. */
wick_status wk_merge_new(wk_conversion *c);
void wk_merge_free(wk_merge *m);
/* Do they change this weight? m may be NULL. */
bool wk_merge_touches(const wk_merge *m, int64_t layer, wk_role role);
/* Row r of a weight [.., cols], changed; room [2 * cols]. */
void wk_merge_row(const wk_merge *m, int64_t layer, wk_role role, int64_t r, int64_t cols, float *row, float *room);

/* ---- adapter_files.c ---- */

/* A model's sizes and an adapter for it. Errors  as wk_model_load() and wk_lora_read(); both are NULL then. */
wick_status wk_adapter_file_open(const char *model, const char *adapter, wk_model **m, wk_lora_data **d);

/* ---- rows.c ---- */

/* A wk_fill_fn; user is the wk_conversion. */
wick_status wk_convert_fill(const wk_tensor *t, wk_out *out, void *user);
/* Does every number of a tensor's origin survive in this type? */
wick_status wk_origin_is_exact(const wk_origin *o, wk_dtype type, bool *exact);
int64_t wk_origin_rows(const wk_origin *o);

/* ---- to_gguf.c, to_folder.c: write c->to ---- */

wick_status wk_write_gguf(wk_conversion *c, const wk_gguf *copy);  /* copy: its keys are taken over; NULL: from the model */
wick_status wk_write_folder(wk_conversion *c);
/* May a folder be written from this one, whose configuration stays? Errors  WICK_E_UNSUPPORTED. */
wick_status wk_check_folder_copy(const wk_conversion *c);
/* May it be replaced as a whole? Errors  WICK_E_IO: a mounted file system, or the working directory. */
wick_status wk_check_folder_name(const char *to);
wick_status wk_check_space(const wk_conversion *c, uint64_t need);

/* ---- vocab_gguf.c, vocab_json.c ---- */

/* tokenizer.ggml.* from tokenizer.json, n_vocab entries at least. */
wick_status wk_put_vocabulary(wk_conversion *c, wk_gguf_keys *k);
/* tokenizer.json from tokenizer.ggml.*. */
wick_status wk_put_tokenizer_json(const wk_conversion *c, wk_buf *b);
/* Are BOS and EOS (-1: the model has none) what the tokenizer puts around a text? Errors  WICK_E_UNSUPPORTED: something else is. */
wick_status wk_tokenizer_adds(const wk_conversion *c, int32_t bos_id, int32_t eos_id, bool *bos, bool *eos);

#endif
