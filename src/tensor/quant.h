/* quant.h: decoders and encoders behind the table in dtype.c, and the few reads that they share. */
#ifndef WK_QUANT_H
#define WK_QUANT_H
#include "tensor/dtype.h"
#include <math.h>
#include <string.h>

typedef void wk_decode_fn(const uint8_t *raw, float *out, int64_t n);
typedef void wk_encode_fn(const float *in, uint8_t *raw, int64_t n);

/* quant_basic.c: blocks of 32, and the ternary types. */
wk_decode_fn wk_decode_q4_0, wk_decode_q4_1, wk_decode_q5_0, wk_decode_q5_1, wk_decode_q8_0, wk_decode_iq4_nl, wk_decode_mxfp4,
    wk_decode_tq1_0, wk_decode_tq2_0;
wk_encode_fn wk_encode_q4_0, wk_encode_q4_1, wk_encode_q5_0, wk_encode_q5_1, wk_encode_q8_0, wk_encode_iq4_nl, wk_encode_mxfp4;
/* quant_k.c: blocks of 256 with scales under a scale. */
wk_decode_fn wk_decode_q2_k, wk_decode_q3_k, wk_decode_q4_k, wk_decode_q5_k, wk_decode_q6_k;
wk_encode_fn wk_encode_q4_k, wk_encode_q5_k, wk_encode_q6_k;
/* quant_iq.c: blocks of 256 whose codes are rows of a code book. */
wk_decode_fn wk_decode_iq1_s, wk_decode_iq1_m, wk_decode_iq2_xxs, wk_decode_iq2_xs, wk_decode_iq2_s, wk_decode_iq3_xxs,
    wk_decode_iq3_s, wk_decode_iq4_xs;

/* The 16 values of IQ4_NL and IQ4_XS codes, and MXFP4's (e2m1, doubled). */
extern const int8_t wk_iq4_values[16], wk_fp4_values[16];

/* File bytes may be unaligned. */
static inline uint16_t wk_get_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t wk_get_u32(const uint8_t *p) { return wk_get_u16(p) | (uint32_t)wk_get_u16(p + 2) << 16; }
static inline float wk_get_f16(const uint8_t *p) { return wk_f16_to_f32(wk_get_u16(p)); }
static inline void wk_put_f16(uint8_t *p, float f) {
    uint16_t h = wk_f32_to_f16(f);
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}
/* v cut to an integer in lo..hi; NaN gives lo. */
static inline int wk_clamp_int(float v, int lo, int hi) { return v > (float)lo ? v < (float)hi ? (int)v : hi : lo; }

#endif
