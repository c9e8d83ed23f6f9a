/* tensor.c: rows of a named array as float32. Load: packing reads every row of a model once. */
#include "tensor/tensor.h"

int64_t wk_tensor_cols(const wk_tensor *t) { return t->n_dim ? t->shape[t->n_dim - 1] : 1; }

int64_t wk_tensor_rows(const wk_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i + 1 < t->n_dim; i++) n *= t->shape[i];
    return n;
}

void wk_tensor_row(const wk_tensor *t, int64_t r, float *out) {
    int64_t cols = wk_tensor_cols(t);
    const wk_dtype_info *d = &wk_dtypes[t->dtype];
    if (t->parts) wk_parts_row(t->parts, t->dtype, r, out);
    else d->decode(t->data + r * (cols / d->block) * d->bytes, out, cols);
}
