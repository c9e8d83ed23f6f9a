/* trainer_parts.h: what the trainer's files share: setup (trainer.c), a micro-batch (step.c), an update (update.c), DoRA's lengths
 * (dora.c), the state of a run (state.c). */
#ifndef WK_TRAINER_PARTS_H
#define WK_TRAINER_PARTS_H
#include "model/train_graph.h"
#include "train/trainer.h"

/* A graph and its plan, made when first needed. */
typedef struct wk_train_pass { wk_train_graph t; wk_plan *plan; } wk_train_pass;

/* A trained array besides what the public struct says. Its numbers are those from `at` on in the trainer's w, g, m1 and m2. */
typedef struct wk_trained {
    wk_weight *weight;        /* the backend's copy; of a magnitude: the gain m / |W + s B A| */
    size_t at, n;
    float *length;            /* [n] of a magnitude: |W + s B A| of each row now */
    const wk_weight *base;    /* of a magnitude: W */
} wk_trained;

struct wk_trainer {
    wk_model *m;
    wk_trainer_options o;
    wk_train_param *pub; wk_trained *param; size_t n_param, cap_pub, cap_param;
    size_t n;                 /* numbers in all of them */
    float *w, *g, *m1, *m2;   /* [n] each; m1, m2 NULL where the optimiser has fewer */
    wk_train_slot *slot;      /* [wk_model_n_slot] */
    wk_swap *swap; size_t n_swap, cap_swap;
    const wk_weight **of;     /* [n_param] */
    int first_layer; bool embed;
    wk_train_pass train, eval, logits;
    wk_kv *kv;
    int32_t *page; size_t cap_page;      /* block table of the present micro-batch */
    int32_t *len, *out_row, *rope, *label;  /* [max_row] each */
    float *row;               /* [max_row], and room for the largest parameter */
    double *square;           /* [wk_train_n_square(n)] sums of squares of blocks of g */
    float *dora_row;          /* DoRA: [n_thread][dora_col], a row of the adapted weight for each thread; else NULL */
    size_t dora_col;          /* of the widest such weight */
    uint64_t n_update, n_micro;          /* in all; dropout goes by n_micro */
    uint64_t n_gathered;      /* micro-batches in g */
    wk_lora_data data;        /* what wk_trainer_lora() shows: borrows from w, and from */
    float *embed_a;           /* [rank, n_vocab] the embedding's A as adapters have it, or NULL */
};

/* Makes a pass ready. */
wick_status wk_train_pass_need(wk_trainer *t, wk_train_pass *p);
/* Adds the last pass's gradients to g. */
void wk_train_gather(wk_trainer *t);
/* Drops what is gathered. */
void wk_train_clear(wk_trainer *t);
/* The norm of the gradient as an update would take it, before clipping. Sums of squares are of so many numbers each. */
double wk_train_norm(wk_trainer *t);
enum { WK_TRAIN_SQUARE = 4096 };
static inline size_t wk_train_n_square(size_t n) { return (n + WK_TRAIN_SQUARE - 1) / WK_TRAIN_SQUARE; }
/* Writes a parameter's present numbers to the backend; a magnitude's as gains, by its lengths. */
wick_status wk_trained_write(wk_trainer *t, size_t i);
/* The lengths of W + s B A's rows as they are now, of param[i], a magnitude, which comes after its A and B. Threads share rows.
 * Errors  WICK_E_NUMERIC: a row of length 0 or not finite. */
wick_status wk_dora_lengths(wk_trainer *t, size_t i);

/* A checksum that goes on from h (WK_STATE_SUM to begin with): FNV-1a of 64 bits (Fowler, Noll, Vo). It finds bytes that a crash
 * or a disk lost; whoever makes such files on purpose is not kept out. */
#define WK_STATE_SUM 0xcbf29ce484222325u
uint64_t wk_state_sum(const void *p, size_t n, uint64_t h);

#endif
