/* parts.c: rows of weights whose codes, zeros and scales lie apart, as float32: what their formats define, plainly.
 * Load: the reference backend, and layers that cannot be packed from their arrays; rows of GPTQ and AWQ walk the file's columns. */
#include "tensor/parts.h"

/* A code's value before scaling; E2M1's values are held doubled. */
static float value_of(const wk_parts *p, wk_dtype dtype, int64_t o, int64_t g, int64_t i) {
    uint8_t code = (uint8_t)wk_parts_code(p, o, i);
    float v;
    switch (p->order) {
    case WK_CODES_FP4:   return (float)wk_fp4_values[code] * 0.5f;
    case WK_CODES_BYTES: wk_dtypes[dtype].decode(&code, &v, 1); return v;
    default:             return (float)(code - wk_parts_zero(p, o, g));
    }
}

void wk_parts_row(const wk_parts *p, wk_dtype dtype, int64_t o, float *out) {
    o = wk_parts_output(p, o);
    if (p->order == WK_CODES_FLOATS) {
        const wk_dtype_info *d = &wk_dtypes[dtype];
        for (int64_t i = 0; i < p->n_in; i++) d->decode(p->codes + (i * p->n_out + o) * d->bytes, out + i, 1);
        return;
    }
    for (int64_t i = 0; i < p->n_in; i++) {
        int64_t g = p->g_idx ? (int64_t)wk_get_u32(p->g_idx + 4 * i) : i / p->group;
        out[i] = value_of(p, dtype, o, g, i) * wk_parts_scale(p, o, g);
    }
}
