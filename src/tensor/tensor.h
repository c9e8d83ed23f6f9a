/* tensor.h: a named array in somebody's bytes: what the formats give and what backends pack. */
#ifndef WK_TENSOR_H
#define WK_TENSOR_H
#include "tensor/parts.h"

typedef struct wk_tensor {
    wk_str name;
    wk_dtype dtype;
    int n_dim;               /* 0..4 */
    int64_t shape[4];        /* slowest first (row-major): a linear weight is [n_out, n_in], stacked experts
                              * [n_expert, n_out, n_in]; unused: 1 */
    const uint8_t *data;     /* borrowed from the file's map; may be unaligned */
    uint64_t n_bytes;        /* with parts: of all of them, which do not lie together */
    const wk_parts *parts;   /* codes, zeros and scales that lie apart (data: the codes), or NULL: whole blocks in data */
} wk_tensor;

/* Elements of the last dimension, and rows: the product of the others. */
int64_t wk_tensor_cols(const wk_tensor *t);
int64_t wk_tensor_rows(const wk_tensor *t);
/* Row r as float32: out [cols]. Works for every dtype that has a decoder, and with parts. */
void wk_tensor_row(const wk_tensor *t, int64_t r, float *out);

#endif
