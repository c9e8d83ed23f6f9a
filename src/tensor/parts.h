/* parts.h: weights that do not lie in rows: quantised ones whose codes, zeros and scales are arrays of their own, as Hugging Face
 * folders have them, floats that lie input by input, and outputs of either that lie in turn with others'.
 * One description serves all; they differ in where the code of output o and input i lies (wk_codes).
 *
 *   weight = (code - zero) * scale        integers
 *   weight = value of the code * scale    floats of 4 and 8 bits, which have no zero
 *
 * Layouts: AutoGPTQ (Frantar et al. 2022), AutoAWQ's "gemm" (Lin et al. 2023), OCP Microscaling Formats 1.0 for the floats. */
#ifndef WK_PARTS_H
#define WK_PARTS_H
#include "tensor/dtype.h"
#include "tensor/quant.h"

typedef enum wk_codes {
    WK_CODES_GPTQ,  /* int32 [n_in * bits / 32][n_out], first input lowest; zeros int32 [n_group][n_out * bits / 32], first output
                     * lowest */
    WK_CODES_AWQ,   /* int32 [n_in][n_out / 8], a word's nibbles, lowest first, being outputs 0 2 4 6 1 3 5 7 of its eight; zeros
                     * the same, [n_group][n_out / 8] */
    WK_CODES_FP4,   /* bytes [n_out][n_in / 2]: input 2 j low, 2 j + 1 high; of stacked matrices one after the other */
    WK_CODES_BYTES, /* bytes [n_out][n_in]; of stacked matrices one after the other */
    WK_CODES_FLOATS /* numbers of the tensor's own type, [n_in][n_out]; no scales */
} wk_codes;

typedef struct wk_parts {
    wk_codes order;
    int bits;                /* of a code */
    int64_t n_out, n_in;     /* of a matrix, as the arrays have it */
    int64_t first, step;     /* the tensor's output o is the arrays' first + o * max(step, 1): it may be some rows of a fused layer,
                              * one below the other, or in turn with others' */
    int64_t group, rows;     /* inputs, and outputs, that share a scale */
    int64_t n_group;         /* groups of inputs in a row */
    const uint8_t *codes;    /* may be unaligned, as all of these */
    const uint8_t *zeros;    /* NULL: none */
    int zero_more;           /* 1: zeros are stored less one (GPTQ's first version) */
    const uint8_t *scales;   /* of output o and group g: element o / rows * scale_row + g * scale_group */
    wk_dtype scale_type;     /* WK_F32, WK_F16, WK_BF16 or WK_F8_E8M0 */
    int64_t scale_row, scale_group;
    const uint8_t *g_idx;    /* int32 [n_in]: an input's group, each checked to be in 0..n_group-1; NULL: input / group */
} wk_parts;

/* The arrays' output that is the tensor's output o. */
static inline int64_t wk_parts_output(const wk_parts *p, int64_t o) { return p->first + o * (p->step > 1 ? p->step : 1); }

/* How far up its word output o of AWQ lies: the inverse of the order above, times 4. */
static inline int wk_awq_shift(int64_t o) { return (int)(o % 2 * 16 + o % 8 / 2 * 4); }

static inline uint32_t wk_parts_code(const wk_parts *p, int64_t o, int64_t i) {
    int64_t per = 32 / p->bits;
    switch (p->order) {
    case WK_CODES_GPTQ: return wk_get_u32(p->codes + 4 * (i / per * p->n_out + o)) >> (i % per * p->bits) & ((1u << p->bits) - 1);
    case WK_CODES_AWQ:  return wk_get_u32(p->codes + 4 * (i * (p->n_out / 8) + o / 8)) >> wk_awq_shift(o) & 15;
    case WK_CODES_FP4:  return p->codes[o * (p->n_in / 2) + i / 2] >> (i % 2 * 4) & 15;
    default:            return p->codes[o * p->n_in + i];
    }
}

static inline int wk_parts_zero(const wk_parts *p, int64_t o, int64_t g) {
    int64_t per = 32 / p->bits;
    if (!p->zeros) return 0;
    uint32_t word = wk_get_u32(p->zeros + 4 * (g * (p->n_out / per) + o / per));
    if (p->order == WK_CODES_AWQ) return (int)(word >> wk_awq_shift(o) & 15);
    return (int)(word >> (o % per * p->bits) & ((1u << p->bits) - 1)) + p->zero_more;
}

/* Where the scale of output o and group g lies. */
static inline const uint8_t *wk_parts_scale_at(const wk_parts *p, int64_t o, int64_t g) {
    return p->scales + (o / p->rows * p->scale_row + g * p->scale_group) * wk_dtypes[p->scale_type].bytes;
}
static inline float wk_parts_scale(const wk_parts *p, int64_t o, int64_t g) {
    float scale;
    wk_dtypes[p->scale_type].decode(wk_parts_scale_at(p, o, g), &scale, 1);
    return scale;
}

/* The functions above count the arrays' outputs, of stacked matrices through all of them; this one the tensor's.
 * Row o as float32: out [n_in]. dtype: the tensor's, which says what floats' codes are. */
void wk_parts_row(const wk_parts *p, wk_dtype dtype, int64_t o, float *out);

#endif
