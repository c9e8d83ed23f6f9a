/* linear_c.c: the kernels in plain C: what any machine runs, and what the others are checked against.
 * Products of codes use fma as the vector sets do, and give their bits; float weights are multiplied and added in two steps.
 * Load: machines without AVX2 or NEON; tests. */
#include "backend/cpu/bytes.h"
#include "backend/cpu/linear.h"
#include <math.h>
#include <string.h>

/* 127 / max|x|, and d = max|x| / 127; a row's NaN or infinity makes d NaN or infinite, and so the outputs. */
static void round_c(const float *x, int64_t n_chunk, wk_act *a) {
    union { float f; uint32_t u; } v;
    for (; n_chunk > 0; n_chunk--, a++, x += WK_CHUNK) {
        wk_largest most = { 0 };
        for (int i = 0; i < WK_CHUNK; i++) wk_raise(&most, x[i]);
        bool tiny = most.f < 1e-36f;  /* 127 / max would overflow */
        float inverse = tiny ? 0 : 127 / most.f;
        int32_t low = 0, all = 0;
        a->d = tiny ? 0 : most.f / 127;
        for (int i = 0; i < WK_CHUNK; i++) {
            v.f = x[i] * inverse + 12582912.0f;  /* 1.5 * 2^23: the sum's lowest bits are the nearest integer */
            a->q[i] = (int8_t)(v.u & 0xff);
            all += a->q[i];
            if (i == WK_CHUNK / 2 - 1) low = all;
        }
        a->sum = a->d * (float)all;
        a->seed = -128 * all;
        a->seed_low = -128 * low;
        a->sum_low = a->d * (float)low;
    }
}

static void expand_c(const wk_packed *w, int64_t block, int64_t chunk, int n, wk_panel *p) {
    p->offset = 0;
    for (int c = 0; c < n; c++) {
        int64_t i = (chunk + c) * WK_CHUNK;
        for (int r = 0; r < 16; r++) {
            for (int k = 0; k < WK_CHUNK; k++) {
                int code = wk_code_at(w, block, i + k, r), times = wk_scales_codes(&w->l) ? -wk_times_at(w, block, i + k, r) : 1;
                p->code[c][k / 4 * 64 + r * 4 + k % 4] = (uint8_t)(int8_t)(code * times);
            }
            p->scale[c][0][r] = wk_scales_codes(&w->l) ? -wk_super_at(w, block, i, r) : wk_scale_at(w, block, i, r);
            if (wk_has_halves(&w->l)) p->scale[c][1][r] = wk_scale_at(w, block, i + 16, r);
            if (wk_has_min(&w->l)) p->min[c][r] = wk_min_at(w, block, i + 16, r);
            if (wk_has_min_low(&w->l)) p->min_low[c][r] = wk_min_at(w, block, i, r) - p->min[c][r];
        }
    }
}

/* Products of 16 inputs with 16 outputs. */
static void dots_16(const uint8_t *w, const int8_t *a, int32_t s[16]) {
    for (int r = 0; r < 16; r++) s[r] = 0;
    for (int k = 0; k < 4; k++)
        for (int r = 0; r < 16; r++)
            for (int i = 0; i < 4; i++) s[r] += (int8_t)w[64 * k + 4 * r + i] * a[4 * k + i];
}

/* One row with one panel. */
static void row_c(const wk_tile *t, const wk_panel *p, const wk_act *a, float y[16]) {
    for (int c = 0; c < t->n_k; c++) {
        int32_t low[16], high[16];
        dots_16(p->code[c], a[c].q, low);
        dots_16(p->code[c] + 256, a[c].q + 16, high);
        for (int r = 0; r < 16; r++) {
            float v = t->halves ? fmaf((float)high[r], p->scale[c][1][r], (float)low[r] * p->scale[c][0][r])
                                : (float)(low[r] + high[r]) * p->scale[c][0][r];
            y[r] = fmaf(v, a[c].d, y[r]);
            if (t->min) y[r] = fmaf(p->min[c][r], a[c].sum, y[r]);
            if (t->min_low) y[r] = fmaf(p->min_low[c][r], a[c].sum_low, y[r]);
        }
    }
}

static void mul_c(const wk_tile *t) {
    for (int64_t r = 0; r < t->n_row; r++)
        for (int b = 0; b * 16 < t->n_col; b++) {
            int n = t->n_col - b * 16 < 16 ? t->n_col - b * 16 : 16;
            float *y = t->y + r * t->ldy + b * 16, s[16] = { 0 };
            if (!t->first) memcpy(s, y, (size_t)n * sizeof *s);
            row_c(t, t->panel[b], t->act + r * t->act_ld, s);
            for (int o = 0; o < n; o++) y[o] = t->bias ? s[o] + t->bias[b * 16 + o] : s[o];
        }
}

static void widen_c(const wk_packed *w, int64_t block, int64_t k, int n, float *out) {
    for (int i = 0; i < n; i++)
        for (int r = 0; r < 16; r++) out[i * 16 + r] = wk_weight_at(w, block, k + i, r);
}

static void mul_float_c(const wk_tile *t) {
    for (int64_t r = 0; r < t->n_row; r++)
        for (int b = 0; b * 16 < t->n_col; b++) {
            int n = t->n_col - b * 16 < 16 ? t->n_col - b * 16 : 16;
            float *y = t->y + r * t->ldy + b * 16, s[16] = { 0 };
            if (!t->first) memcpy(s, y, (size_t)n * sizeof *s);
            for (int k = 0; k < t->n_k; k++)
                for (int o = 0; o < 16; o++) s[o] += t->x[r * t->act_ld + k] * t->weight[b][k * 16 + o];
            for (int o = 0; o < n; o++) y[o] = t->bias ? s[o] + t->bias[b * 16 + o] : s[o];
        }
}

/* ---- 8-bit floats, gradients ---- */

#include "backend/cpu/simd.h"
#include "backend/cpu/widen_body.h"
#include "backend/cpu/grad_body.h"
WK_SIMD_END

const wk_linear_set wk_linear_c = {
    .need = 0,
    .name = "c",
    .round = round_c,
    .expand = expand_c,
    .mul = mul_c,
    .widen = widen_c,
    .widen_f8 = widen_f8,
    .mul_float = mul_float_c,
    .grad = grad_rows, .grad_thin = grad_thin,
    .turn_bytes = turn_bytes, .turn_floats = turn_floats,
};
