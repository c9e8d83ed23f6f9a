/* trainer.h: trains a model that is loaded: an adapter beside frozen weights of any type, or copies of the weights themselves.
 * Rows in, loss out, gradients added up; an update makes a step of the optimiser and writes the parameters back to the backend.
 * Knows no files and no text. Same rows, options and backend: same bits, whatever the number of threads. */
#ifndef WK_TRAINER_H
#define WK_TRAINER_H
#include "adapter/lora_data.h"
#include "train/optimizer.h"
#include "train/schedule.h"

typedef enum wk_fine_tune { WK_TUNE_LORA, WK_TUNE_DORA, WK_TUNE_FULL } wk_fine_tune;

/* Weights that are trained whole, as float32 copies; quantised ones cannot be. */
enum {
    WK_WHOLE_EMBED = 1 << 0,  /* the embedding, and with it a tied head */
    WK_WHOLE_HEAD  = 1 << 1,  /* the output projection or the classifier's score */
    WK_WHOLE_NORMS = 1 << 2,  /* of the trained layers, and with all layers the last norm */
    WK_WHOLE_LINEAR = 1 << 3, /* projections and their biases, of the trained layers */
    WK_WHOLE_ALL = 15
};

enum { WK_TRAIN_MAX_ROWS = 1 << 20 };

typedef struct wk_trainer_options {
    wk_fine_tune fine_tune;
    int n_layer;              /* the last so many layers carry what is trained; -1: all */
    uint32_t roles;           /* lora, dora: bits 1 << wk_role, WK_T_Q..WK_T_DOWN, WK_T_EMBED, WK_T_OUTPUT (the last two of lora
                               * alone); 0: all projections that the model's layers have. full: of the
                               * projections trained by WK_WHOLE_LINEAR, which; 0: all */
    int rank;                 /* lora, dora: 1..WK_LORA_MAX_RANK */
    double alpha;             /* B A x counts alpha / rank, or alpha / sqrt(rank) */
    bool rslora;
    double dropout;           /* of an adapter's input, 0 <= p < 1 */
    unsigned whole;           /* WK_WHOLE_*: weights trained besides an adapter; of full fine-tuning: which, 0 being WK_WHOLE_ALL */
    wk_optimizer optimizer;
    double max_grad_norm;     /* 0: not clipped */
    double label_smoothing;   /* 0 <= e < 1 */
    bool checkpoint;          /* keep each layer's input alone and compute its inside again on the way back; same bits */
    int max_row;              /* rows of a micro-batch at most, 1..WK_TRAIN_MAX_ROWS */
    uint64_t seed;            /* of a new adapter's A, and of dropout */
} wk_trainer_options;
/* lora of rank 8, alpha 16, all layers and projections; adamw; no dropout, clipping or smoothing; 512 rows, seed 0. */
wk_trainer_options wk_trainer_defaults(void);

/* A micro-batch. Sequences lie side by side and do not see one another; a sequence's rows come in order, from position 0. */
typedef struct wk_train_rows {
    int n_row, n_seq;
    const int32_t *token, *pos, *seq;  /* [n_row]; seq 0..n_seq-1 */
    const int32_t *label;  /* [n_row] what the row must predict (already shifted), or the class; WK_NO_LABEL: nothing */
} wk_train_rows;

typedef struct wk_trainer wk_trainer;

/* The model must outlive it, and may serve beside it between calls: its weights stay as they are, what is trained whole is a copy.
 * initial: an adapter to begin from, its modules being those trained (roles, n_layer, rank and alpha are then its own), its saved
 * modules too; copied. NULL: a new one, A uniform in +-1/sqrt(n_in) (as PEFT's kaiming_uniform_(a = sqrt 5)), B zero, a
 * magnitude the length of W's row (Liu et al. 2024, section 4.1); of the embedding as PEFT has it A zero and B of variance one.
 * Errors  WICK_E_ARG (an option, rank, roles that the model does not have), WICK_E_UNSUPPORTED (an op without a gradient, or a
 *         weight that cannot be trained whole, by name), WICK_E_MEMORY. */
wick_status wk_trainer_new(wk_model *m, const wk_trainer_options *o, const wk_lora_data *initial, wk_trainer **out);
/* NULL is fine. */
void wk_trainer_free(wk_trainer *t);

/* One micro-batch forth and back: adds the gradient of its mean loss to what is gathered. Rows without any label add nothing, and
 * still count as a micro-batch. loss_sum: over the labels, in nats, with smoothing; n_label: how many (either may be NULL).
 * Errors  WICK_E_ARG (rows that do not fit: which, and why): nothing was added; WICK_E_NUMERIC where the loss is not finite:
 *         nothing was added then either. WICK_E_MEMORY. */
wick_status wk_trainer_backward(wk_trainer *t, const wk_train_rows *r, double *loss_sum, int64_t *n_label);
/* A step: the gathered gradients over the number of micro-batches, clipped, given to the optimiser; then cleared. grad_norm (or
 * NULL): before clipping. Without a micro-batch since the last one: WICK_E_ARG. A norm that is not finite is WICK_E_NUMERIC: the
 * gradients are dropped and no parameter has changed. */
wick_status wk_trainer_update(wk_trainer *t, double rate, double *grad_norm);
/* Would the next update find numbers in its gradient? Where nothing is gathered yet, after a micro-batch of these rows, as if it
 * came next. All is left as it was. Errors  WICK_E_NUMERIC: no; else as wk_trainer_backward(). */
wick_status wk_trainer_try(wk_trainer *t, const wk_train_rows *r);
/* Loss without dropout, smoothing or gradients. */
wick_status wk_trainer_eval(wk_trainer *t, const wk_train_rows *r, double *loss_sum, int64_t *n_label);

/* Logits by the graph that trains, without dropout: out [n wanted, n_vocab or n_label], the rows that have a label. */
wick_status wk_trainer_logits(wk_trainer *t, const wk_train_rows *r, float *out);

/* The adapter as it is now, weights trained whole among its saved modules where an adapter can hold them (embedding, head; where
 * these are one matrix, as both); borrowed until the next call. Full fine-tuning: WICK_E_ARG, see wk_trainer_params(). */
wick_status wk_trainer_lora(wk_trainer *t, const wk_lora_data **out);
/* wk_lora_data's, of the model before any of it was trained; NULL: it has no matrix to sample. */
const char *wk_trainer_base_weights(const wk_trainer *t);

/* One trained array. */
typedef enum wk_param_kind { WK_PARAM_A, WK_PARAM_B, WK_PARAM_MAGNITUDE, WK_PARAM_WEIGHT, WK_PARAM_BIAS } wk_param_kind;
typedef struct wk_train_param {
    wk_param_kind kind;
    int layer;                /* -1: none */
    wk_role role;
    int64_t n_row, n_col;     /* as the model has it, Gemma's norms with the one added; a vector is one row; the embedding's A has a
                               * row for each token */
    const float *w;           /* [n_row, n_col] */
} wk_train_param;
/* All of them, in the order of the model's layers; borrowed until the next call. */
const wk_train_param *wk_trainer_params(const wk_trainer *t, size_t *n);
uint64_t wk_trainer_n_param(const wk_trainer *t);   /* numbers in them */
uint64_t wk_trainer_n_update(const wk_trainer *t);  /* steps made */
/* Bytes that the trainer holds: parameters, gradients, moments, its plans and keys and values. The model's are not counted. */
size_t wk_trainer_bytes(const wk_trainer *t);
/* What a state takes, as a save copies it. */
size_t wk_trainer_state_bytes(const wk_trainer *t);
/* Takes what the trainer otherwise takes when it first needs it: keys and values for micro-batches of n_seq sequences, the plan of
 * evaluation where there is one. Errors  WICK_E_MEMORY. */
wick_status wk_trainer_reserve(wk_trainer *t, int n_seq, bool evaluates);

/* All that going on needs: parameters, moments, gathered gradients, counters of steps and of dropout, and a print of the options
 * and the model's sizes. Appended to out. Errors  WICK_E_MEMORY. */
wick_status wk_trainer_save(const wk_trainer *t, wk_buf *out);
/* Into a trainer made with the same options for the same model. What follows has the bits of a run that was never interrupted.
 * Errors  WICK_E_FORMAT (cut off, damaged), WICK_E_ARG (another model's, or with other options): the trainer is as it was. */
wick_status wk_trainer_restore(wk_trainer *t, const void *bytes, size_t n);

#endif
