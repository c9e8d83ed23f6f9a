/* pack.h: which samples come in which micro-batch, and how they lie there as rows. */
#ifndef WK_TRAIN_PACK_H
#define WK_TRAIN_PACK_H
#include "train/data.h"

/* The rows of a micro-batch: samples side by side, positions from 0 in each, so that none sees another. label is what the row has
 * to predict: the next row's token, or for a classifier the class, at the sample's last row. Rows after a sample's last label
 * are left out: nothing depends on them. */
typedef struct wk_micro {
    int32_t *token, *pos, *seq, *label;  /* [n_row] */
    int n_row, n_seq, n_label;
    size_t cap;
} wk_micro;
void wk_micro_free(wk_micro *b);

/* Where a run is in its data. next counts samples since the beginning of the run; next / n is the epoch. It and the options are
 * all that a resumed run needs. */
typedef struct wk_order {
    const wk_dataset *data;
    uint64_t seed, next;
    bool shuffle;      /* each epoch its own order, a function of (seed, epoch); else the file's */
    bool packing;      /* as many samples in a micro-batch as fit; else batch_size of them */
    bool once;         /* no micro-batch goes on into the next epoch, as for evaluation */
    int batch_size, max_seq_length;
    uint32_t *perm;    /* [n] the present epoch's order */
    uint64_t epoch;    /* the one that perm is of; UINT64_MAX: none yet */
} wk_order;
/* Most rows that a micro-batch has. */
int wk_order_max_rows(const wk_order *o);
/* The next micro-batch. Errors  WICK_E_MEMORY. */
wick_status wk_order_next(wk_order *o, wk_micro *out);
/* The sample at a place of the run, 0 being its first. Errors  WICK_E_MEMORY. */
wick_status wk_order_sample(wk_order *o, uint64_t at, const wk_sample **out);
void wk_order_free(wk_order *o);

#endif
