/* weight.h: what a graph knows of a weight. Backends make them and begin their own structs with this. */
#ifndef WK_WEIGHT_H
#define WK_WEIGHT_H
#include "tensor/dtype.h"

typedef struct wk_weight {
    wk_dtype dtype;              /* the file's */
    int64_t n_mat, n_row, n_col; /* stacked matrices [n_mat, n_row, n_col]; a vector is [1, 1, n] */
    size_t n_bytes;              /* in memory */
} wk_weight;

#endif
