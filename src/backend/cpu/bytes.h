/* bytes.h: weights of a tile of 32 outputs x 32 inputs rounded to 8 bits, for gradients: what the instruction sets' turn_bytes()
 * have in common. The largest weight becomes 127. A row's weights are least + step * n, where n = 0..255 is its code less its
 * lowest; both are taken to fixed point once, and integers of 16 bits do the rest. */
#ifndef WK_BYTES_H
#define WK_BYTES_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* 16 rows' lowest codes, steps and least weights. */
typedef struct wk_steps { uint8_t low[16]; float step[16], least[16]; } wk_steps;

/* The largest magnitude so far; they order as integers do, NaN above all. */
typedef union wk_largest { float f; uint32_t u; } wk_largest;
static inline void wk_raise(wk_largest *most, float x) {
    wk_largest v = { x };
    v.u &= 0x7fffffff;
    if (v.u > most->u) most->u = v.u;
}

/* Can weights be rounded of which this is the largest? If not, they are none, or not finite. */
static inline bool wk_can_round(float most) { return most >= 1e-36f && most <= 3e38f; }

/* A tile that cannot: of zeros, or of something not finite, so that gradients are not either. Returns its scale. */
static inline float wk_fill_bytes(float most, uint8_t *out, int64_t apart) {
    bool zero = most < 1e-36f;
    for (int h = 0; h < 2; h++) memset(out + h * apart, zero ? 128 : 129, 512);
    return zero ? 0 : most;
}

/* Steps are held in 2^-(8 + bits), so that they have 16 bits, and what they add up to, less than 255, in 2^-bits. */
static inline int wk_bits_behind(float widest) {
    int e;
    (void)frexpf(widest, &e);  /* widest < 2^e */
    return e < 1 ? 7 : e > 8 ? 0 : 8 - e;
}
static inline uint32_t wk_fixed_step(float step, float inverse, int bits) {
    float v = nearbyintf(step * inverse * (float)(256 << bits));
    return v < 65535 ? (uint32_t)v : 65535;
}
/* Plus 128, and the half that rounds to the nearest. */
static inline uint32_t wk_fixed_least(float least, float inverse, int bits) {
    return (uint32_t)nearbyintf(fmaf(least, inverse, 128) * (float)(1 << bits)) + (1u << bits >> 1);
}

#endif
