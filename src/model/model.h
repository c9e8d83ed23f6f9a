/* model.h: a loaded model: hyperparameters, weights in a backend, tokenizer and template; and what runs it. */
#ifndef WK_MODEL_H
#define WK_MODEL_H
#include "backend/backend.h"
#include "model/hparams.h"
#include "text/template.h"
#include "text/tokenizer.h"

typedef struct wk_layer { wk_weight *w[WK_T_COUNT], *bias[WK_T_COUNT]; } wk_layer;  /* by role; NULL: not there */

typedef struct wk_model {
    wk_checkpoint *ckpt;       /* open: the tokenizer and the template borrow from it */
    wk_backend *backend;       /* owned */
    wk_hparams hp;
    wk_layer top;              /* roles before WK_T_FIRST_LAYER */
    wk_layer *layer;           /* [n_layer] */
    wk_weight *freqs, *freqs_local; float mscale, mscale_local;
    wk_tokenizer *tokenizer;   /* NULL: the files have none; wk_model_no_tokenizer() says so */
    wk_template *chat; char *chat_text; /* NULL: none */
    uint64_t n_params, n_bytes_file, n_bytes_weights;
    wk_dtype main_type;        /* the type that most weights have */
    char *types;               /* "Q4_1 210, F32 61" */
    bool any_base;             /* adapters that were trained on other models are taken, too */
} wk_model;

/* backend becomes the model's, also on failure; NULL: vocab_only. chat_template: Jinja text in place of the files', or NULL. */
wick_status wk_model_load(const char *path, wk_backend *backend, bool vocab_only, const char *chat_template,
                          wick_progress_fn progress, void *user, wk_model **out);
void wk_model_free(wk_model *m);
/* How many lora slots the model's graphs have, and the slot of a linear layer (role WK_T_Q..WK_T_DOWN); layer -1: of the embedding
 * (WK_T_EMBED) or the head (WK_T_OUTPUT, WK_T_SCORE). */
int wk_model_n_slot(const wk_model *m);
int wk_model_slot(const wk_model *m, int layer, wk_role role);
/* The model's default KV type: F32 for float32 models, else F16. */
wk_dtype wk_model_kv_type(const wk_model *m);
uint64_t wk_model_kv_bytes(const wk_model *m, int64_t n_ctx, wk_dtype type);

/* The forward graph in a mode. *logits: [n_out, n_vocab or n_label]; keep_layers: each layer's output is kept and named
 * "blk.N.out", the last one's that of the wanted rows. */
wick_status wk_model_graph(const wk_model *m, bool saving, bool keep_layers, wk_graph **out, wk_val *logits);

/* ---- running: a graph planned for n_batch rows, and a paged KV cache of n_ctx positions for n_seq sequences ---- */
typedef struct wk_runner wk_runner;
/* Errors  WICK_E_ARG, WICK_E_UNSUPPORTED (kv type and head size), WICK_E_MEMORY. The model must outlive it. One thread at a time;
 * runners of a model run side by side. */
wick_status wk_runner_new(wk_model *m, int n_ctx, int n_batch, int n_seq, wk_dtype kv_type, wk_runner **out);
void wk_runner_free(wk_runner *r);
int wk_runner_n_ctx(const wk_runner *r);   /* as asked for, positions of one sequence */
int wk_runner_n_batch(const wk_runner *r);
size_t wk_runner_bytes(const wk_runner *r); /* plan and KV */

/* One row of a step: the next position of its sequence. */
/* adapter: index into those set, -1 none; want: its logits */
typedef struct wk_row { int32_t token, seq, adapter; bool want; } wk_row;
/* Appends n rows (at most n_batch) to their sequences and runs them. No allocation.
 * Errors  WICK_E_ARG (token out of range, n), WICK_E_FULL (sequence would pass n_ctx, or no page is left): nothing was appended
 * then. */
wick_status wk_runner_step(wk_runner *r, const wk_row *rows, int n);
/* Logits of the i-th wanted row of the last step: valid until the next step. */
const float *wk_runner_logits(wk_runner *r, int i);
int wk_runner_n_logits(const wk_runner *r); /* n_vocab or n_label */
int wk_runner_len(const wk_runner *r, int seq);
/* Forgets what a sequence holds from position n on (n <= len), and what was expected of it; pages go back. */
void wk_runner_keep(wk_runner *r, int seq, int n);
/* Says how long a sequence is going to be with what is being fed (a prompt in chunks): a model whose rope depends on the length
 * (longrope) then turns all of it alike. Other models do not care. */
void wk_runner_expect(wk_runner *r, int seq, int n);
/* Sequences longer than this turn differently (longrope), shorter ones too once they have been; 0: length does not matter. */
int wk_runner_switch_len(const wk_runner *r);
/* The adapters that rows name by index; borrowed until set again. n = 0: none. */
void wk_runner_adapters(wk_runner *r, const wk_lora_set *const *sets, int n);

#endif
