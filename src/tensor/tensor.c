/* tensor.c: rows of a named array as float32, GPTQ layers too.
 * Load: packing reads every row of a model once; GPTQ rows walk the file's columns, so whole layers are better packed from
 * their arrays directly. */
#include "tensor/tensor.h"
#include "tensor/quant.h"

int64_t wk_tensor_cols(const wk_tensor *t) { return t->n_dim ? t->shape[t->n_dim - 1] : 1; }

int64_t wk_tensor_rows(const wk_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i + 1 < t->n_dim; i++) n *= t->shape[i];
    return n;
}

/* Row o of a GPTQ layer; the layout is told in tensor.h. */
static void gptq_row(const wk_gptq *q, int64_t n_out, int64_t n_in, int64_t o, float *out) {
    int64_t per = 32 / q->bits;  /* codes of an int32 */
    uint32_t mask = (1u << q->bits) - 1;
    int bytes = wk_dtypes[q->scale_type].bytes;
    for (int64_t i = 0; i < n_in; i++) {
        int64_t g = q->g_idx ? (int64_t)wk_get_u32(q->g_idx + 4 * i) : i / q->group;
        uint32_t code = wk_get_u32(q->qweight + 4 * (i / per * n_out + o)) >> (i % per * q->bits) & mask;
        uint32_t zero = (wk_get_u32(q->qzeros + 4 * (g * (n_out / per) + o / per)) >> (o % per * q->bits) & mask) + !q->v2;
        float scale;
        wk_dtypes[q->scale_type].decode(q->scales + (g * n_out + o) * bytes, &scale, 1);
        out[i] = (float)((int)code - (int)zero) * scale;
    }
}

void wk_tensor_row(const wk_tensor *t, int64_t r, float *out) {
    int64_t cols = wk_tensor_cols(t);
    const wk_dtype_info *d = &wk_dtypes[t->dtype];
    if (t->gptq) gptq_row(t->gptq, t->shape[0], t->shape[1], r, out);
    else d->decode(t->data + r * (cols / d->block) * d->bytes, out, cols);
}
