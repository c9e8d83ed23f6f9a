/* linear_neon.c: the kernels for NEON as every aarch64 has it; empty elsewhere. linear_dotprod.c and linear_i8mm.c have better
 * products. Codes are held signed, as all three multiply them. A vector is 4 output rows of 4 inputs; a tile is 16 outputs x 2 rows
 * (floats: 4). Load: see linear.c. */
#include "backend/cpu/linear.h"
#if defined(__aarch64__)
#include "backend/cpu/unroll.h"
#include "base/cpu.h"
#include <arm_neon.h>
#include <string.h>

#define NEON  /* needs no target: every aarch64 has it */
#define NEON_PART __attribute__((always_inline)) static inline

/* ---- activations ---- */

static void round_neon(const float *x, int64_t n_chunk, wk_act *a) {
    const float32x4_t magic = vdupq_n_f32(12582912.0f);  /* as in linear_c.c */
    for (; n_chunk > 0; n_chunk--, a++, x += WK_CHUNK) {
        uint32x4_t m = vdupq_n_u32(0);
        UNROLL
        for (int i = 0; i < 8; i++)
            m = vmaxq_u32(m, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + 4 * i)), vdupq_n_u32(0x7fffffff)));
        union { uint32_t u; float f; } most = { vmaxvq_u32(m) };
        bool tiny = most.f < 1e-36f;
        float32x4_t inverse = vdupq_n_f32(tiny ? 0 : 127 / most.f);
        int16x4_t q[8];
        UNROLL for (int i = 0; i < 8; i++)
            q[i] = vmovn_s32(vreinterpretq_s32_f32(vaddq_f32(vmulq_f32(vld1q_f32(x + 4 * i), inverse), magic)));
        UNROLL for (int i = 0; i < 4; i++) vst1_s8(a->q + 8 * i, vmovn_s16(vcombine_s16(q[2 * i], q[2 * i + 1])));
        int32_t low = vaddlvq_s8(vld1q_s8(a->q)), all = low + vaddlvq_s8(vld1q_s8(a->q + 16));
        a->d = tiny ? 0 : most.f / 127;
        a->sum = a->d * (float)all;
        a->seed = -128 * all;
        a->seed_low = -128 * low;
        a->sum_low = a->d * (float)low;
    }
}

/* ---- expanding ---- */

NEON_PART void widen_halves(const uint8_t *p, bool bf16, float out[16]) {
    UNROLL for (int j = 0; j < 4; j++) {
        uint16x4_t v = vld1_u16((const uint16_t *)(const void *)p + 4 * j);
        vst1q_f32(out + 4 * j, bf16 ? vreinterpretq_f32_u32(vshll_n_u16(v, 16)) : vcvt_f32_f16(vreinterpret_f16_u16(v)));
    }
}

/* A chunk's codes of rows 4 j .. 4 j + 3 times minus their integers. */
static void scale_codes(const wk_packed *w, int64_t block, int64_t p, int j, int8x16_t v[8]) {
    for (int h = 0; h < 2; h++) {
        int8_t times[16];
        for (int b = 0; b < 16; b++) times[b] = (int8_t)-wk_times_at(w, block, p + 16 * h, 4 * j + b / 4);
        int8x16_t t = vld1q_s8(times);
        UNROLL for (int s = 4 * h; s < 4 * h + 4; s++) v[s] = vmulq_s8(v[s], t);
    }
}

/* Scales of a chunk's half, or its minima. */
static void scales_of(const wk_packed *w, int64_t block, int64_t p, float out[16]) {
    int64_t g = block * w->n_group + p / w->l.group;
    if (w->l.scale == WK_SCALE_F16 || w->l.scale == WK_SCALE_BF16)
        widen_halves(w->scale + 32 * g, w->l.scale == WK_SCALE_BF16, out);
    else if (wk_scales_codes(&w->l)) for (int r = 0; r < 16; r++) out[r] = -wk_super_at(w, block, p, r);
    else for (int r = 0; r < 16; r++) out[r] = wk_scale_at(w, block, p, r);
}
static void minima_of(const wk_packed *w, int64_t block, int64_t p, float out[16]) {
    int64_t g = block * w->n_group + p / w->l.group;
    if (w->l.zero == WK_ZERO_MIN && (w->l.scale == WK_SCALE_F16 || w->l.scale == WK_SCALE_BF16))
        widen_halves(w->zero + 32 * g, w->l.scale == WK_SCALE_BF16, out);
    else for (int r = 0; r < 16; r++) out[r] = wk_min_at(w, block, p, r);
}

/* Rows 4 j .. 4 j + 3 of a chunk's eight vectors, signed. i: the chunk's number, g: its group's. */
NEON_PART void load_codes(const wk_packed *w, int64_t i, int64_t g, int j, int8x16_t out[8]) {
    const wk_layout *l = &w->l;
    const uint8x16_t nibble = vdupq_n_u8(15), top = vdupq_n_u8(0x30);
    uint8x16_t v[8];
    if (l->bits == 8) {
        UNROLL for (int s = 0; s < 8; s++) v[s] = vld1q_u8(w->code + i * 512 + 64 * s + 16 * j);
    } else if (l->bits < 4) {
        const uint8x16_t pair = vdupq_n_u8(3);
        UNROLL for (int k = 0; k < 2; k++) {
            uint8x16_t b = vld1q_u8(w->code + i * 128 + 64 * k + 16 * j);
            v[k] = vandq_u8(b, pair);
            v[k + 2] = vandq_u8(vshrq_n_u8(b, 2), pair);
            v[k + 4] = vandq_u8(vshrq_n_u8(b, 4), pair);
            v[k + 6] = vshrq_n_u8(b, 6);
        }
    } else {
        UNROLL for (int s = 0; s < 4; s++) {
            uint8x16_t b = vld1q_u8(w->code + i * 256 + 64 * s + 16 * j);
            v[s] = vandq_u8(b, nibble);
            v[s + 4] = vshrq_n_u8(b, 4);
        }
    }
    if (l->bits == 6) {
        UNROLL for (int k = 0; k < 2; k++) {
            uint8x16_t b = vld1q_u8(w->high + i * 128 + 64 * k + 16 * j);
            v[k] = vorrq_u8(v[k], vandq_u8(vshlq_n_u8(b, 4), top));
            v[k + 2] = vorrq_u8(v[k + 2], vandq_u8(vshlq_n_u8(b, 2), top));
            v[k + 4] = vorrq_u8(v[k + 4], vandq_u8(b, top));
            v[k + 6] = vorrq_u8(v[k + 6], vandq_u8(vshrq_n_u8(b, 2), top));
        }
    }
    if (l->bits == 3 || l->bits == 5) {
        const uint8x16_t one = vdupq_n_u8((uint8_t)(1 << (l->bits - 1)));
        uint8x16_t b = vld1q_u8(w->high + i * 64 + 16 * j);
        UNROLL for (int s = 0; s < 8; s++)
            v[s] = vorrq_u8(v[s], vandq_u8(vtstq_u8(b, vdupq_n_u8((uint8_t)(1 << s))), one));
    }
    if (l->map) {
        int8x16_t map = vld1q_s8(l->map);
        UNROLL for (int s = 0; s < 8; s++) out[s] = vqtbl1q_s8(map, v[s]);
        return;
    }
    uint8x16_t zero = vdupq_n_u8((uint8_t)(wk_has_middle(l) ? 1 << (l->bits - 1) : 0));
    if (l->zero == WK_ZERO_U8 && !wk_has_middle(l)) {
        static const uint8_t each[16] = { 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3 };
        zero = vqtbl1q_u8(vld1q_u8(w->zero + g * 16), vaddq_u8(vld1q_u8(each), vdupq_n_u8((uint8_t)(4 * j))));
    }
    UNROLL for (int s = 0; s < 8; s++) out[s] = vreinterpretq_s8_u8(vsubq_u8(v[s], zero));
}

static void expand_neon(const wk_packed *w, int64_t block, int64_t chunk, int n, wk_panel *p) {
    p->offset = 0;
    for (int c = 0; c < n; c++) {
        int64_t k = (chunk + c) * WK_CHUNK;
        for (int j = 0; j < 4; j++) {
            int8x16_t v[8];
            load_codes(w, block * w->n_chunk + chunk + c, block * w->n_group + k / w->l.group, j, v);
            if (wk_scales_codes(&w->l)) scale_codes(w, block, k, j, v);
            UNROLL for (int s = 0; s < 8; s++) vst1q_s8((int8_t *)p->code[c] + 64 * s + 16 * j, v[s]);
        }
        scales_of(w, block, k, p->scale[c][0]);
        if (wk_has_halves(&w->l)) scales_of(w, block, k + 16, p->scale[c][1]);
        if (!wk_has_min(&w->l)) continue;
        minima_of(w, block, k + 16, p->min[c]);
        if (!wk_has_min_low(&w->l)) continue;
        minima_of(w, block, k, p->min_low[c]);
        UNROLL for (int i = 0; i < 16; i++) p->min_low[c][i] -= p->min[c][i];
    }
}

/* ---- products ---- */

/* The products of two registers of bytes fit 16 bits each (127 * 128); two by two they are added as 32. */
NEON_PART void add_products(const int NT, const uint8_t *code, const int8_t *q0, const int8_t *q1, int32x4_t s[2][4]) {
    UNROLL for (int k = 0; k < 4; k++)
        UNROLL for (int i = 0; i < NT; i++) {
            int32_t four;
            memcpy(&four, (i ? q1 : q0) + 4 * k, 4);
            int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(four));
            UNROLL for (int j = 0; j < 4; j++) {
                int8x16_t w = vld1q_s8((const int8_t *)code + 64 * k + 16 * j);
                int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(a))), high = vpaddlq_s16(vmull_high_s8(w, a));
                s[i][j] = vaddq_s32(s[i][j], vpaddq_s32(low, high));
            }
        }
}

#include "backend/cpu/linear_neon_body.h"

static void widen_neon(const wk_packed *w, int64_t block, int64_t k, int n, float *out) {
    for (int i = 0; i < n; i++, k++) {
        const uint8_t *at = w->code + (block * w->n_held + (w->l.bf16 ? k / 2 * 2 : k)) * 32;
        if (!w->l.bf16) widen_halves(at, false, out + 16 * i);
        else UNROLL for (int j = 0; j < 4; j++) {  /* one half of each word */
            uint32x4_t pair = vld1q_u32((const uint32_t *)(const void *)at + 4 * j);
            pair = k % 2 ? vandq_u32(pair, vdupq_n_u32(0xffff0000)) : vshlq_n_u32(pair, 16);
            vst1q_f32(out + 16 * i + 4 * j, vreinterpretq_f32_u32(pair));
        }
    }
}

NEON_PART void tile_floats(const wk_tile *t, int b, int64_t r, const int NT) {
    const float *x = t->x + r * t->act_ld;
    float32x4_t y[4][4];
    UNROLL for (int i = 0; i < NT; i++) load_y(t, b, r + i, y[i]);
    for (int k = 0; k < t->n_k; k++)
        UNROLL for (int j = 0; j < 4; j++) {
            float32x4_t w = vld1q_f32(t->weight[b] + 16 * k + 4 * j);
            UNROLL for (int i = 0; i < NT; i++) y[i][j] = vfmaq_n_f32(y[i][j], w, x[i * t->act_ld + k]);
        }
    UNROLL for (int i = 0; i < NT; i++) store_y(t, b, r + i, y[i]);
}
static void mul_float_neon(const wk_tile *t) {
    for (int b = 0; b < (t->weight[1] ? 2 : 1); b++) {
        int64_t r = 0;
        for (; t->n_row - r >= 4; r += 4) tile_floats(t, b, r, 4);
        for (; r < t->n_row; r++) tile_floats(t, b, r, 1);
    }
}

/* ---- 8-bit floats, gradients ---- */

#define WK_SIMD_NEON
#include "backend/cpu/simd.h"
#include "backend/cpu/widen_body.h"
#include "backend/cpu/grad_body.h"
WK_SIMD_END

const wk_linear_set wk_linear_neon = {
    .need = WK_CPU_NEON, .name = "neon", .round = round_neon, .expand = expand_neon, .mul = mul_codes, .widen = widen_neon,
    .widen_f8 = widen_f8, .mul_float = mul_float_neon,
    .grad = grad_rows, .grad_thin = grad_thin, .turn_bytes = turn_bytes, .turn_floats = turn_floats,
};
#endif
