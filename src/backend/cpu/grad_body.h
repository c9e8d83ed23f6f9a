/* grad_body.h: gradients with respect to inputs, compiled once per instruction set: linear_*.c includes it after simd.h.
 * Load: W^T g of every frozen weight a training step. Codes are turned and rounded once for all rows, for the products of codes to
 * go on with; floats are unpacked 64 outputs x 64 inputs at a time, and stay in L1 while the rows' gradients go by. */
#include "backend/cpu/bytes.h"

#ifndef WK_SIMD_AVX512  /* which has its own */

/* ---- 32 x 32 weights rounded to 8 bits: see bytes.h ---- */

/* Code of input i, row r of a panel's first chunk, plus 128, turned round where its scale is below zero. */
static uint8_t code_up(const wk_panel *p, int i, int r, bool flip) {
    uint8_t c = (uint8_t)(p->code[0][i / 4 * 64 + 4 * r + i % 4] + 128 - p->offset);
    return flip ? (uint8_t)~c : c;
}

static void find_steps(const wk_panel *p, const wk_layout *l, int half, wk_steps *s, wk_largest *most) {
    for (int r = 0; r < 16; r++) {
        float scale = p->scale[0][half && wk_has_halves(l)][r], min = wk_has_min(l) ? p->min[0][r] : 0;
        if (!half && wk_has_min_low(l)) min += p->min_low[0][r];
        int low = 255, high = 0;
        for (int i = 16 * half; i < 16 * half + 16; i++) {
            int c = code_up(p, i, r, scale < 0);
            low = c < low ? c : low;
            high = c > high ? c : high;
        }
        s->low[r] = (uint8_t)low;
        s->step[r] = high > low ? fabsf(scale) : 0;
        s->least[r] = fmaf(scale, (float)((scale < 0 ? 255 - low : low) - 128), min);
        wk_raise(most, s->least[r]);
        wk_raise(most, fmaf(s->step[r], (float)(high - low), s->least[r]));
    }
}

static float turn_bytes(const wk_panel p[2], const wk_layout *l, uint8_t *out, int64_t apart) {
    wk_largest most = { 0 };
    wk_steps steps[2][2];
    float widest = 0;
    for (int k = 0; k < 4; k++) find_steps(&p[k / 2], l, k % 2, &steps[k / 2][k % 2], &most);
    if (!wk_can_round(most.f)) return wk_fill_bytes(most.f, out, apart);
    float inverse = 127 / most.f;
    for (int i = 0; i < 64; i++) widest = fmaxf(widest, steps[i / 32][i / 16 % 2].step[i % 16]);
    int bits = wk_bits_behind(widest * inverse);
    for (int k = 0; k < 64; k++) {
        int b = k / 32, half = k / 16 % 2, r = k % 16;
        const wk_steps *s = &steps[b][half];
        uint32_t step = wk_fixed_step(s->step[r], inverse, bits), least = wk_fixed_least(s->least[r], inverse, bits);
        uint8_t *to = out + half * apart + (4 * b + r / 4) * 64 + r % 4;
        bool flip = p[b].scale[0][half && wk_has_halves(l)][r] < 0;
        for (int i = 0; i < 16; i++) {
            uint32_t n = (uint32_t)(code_up(&p[b], 16 * half + i, r, flip) - s->low[r]);
            to[4 * i] = (uint8_t)(((n * step >> 8) + least) >> bits);
        }
    }
    return most.f / 127;
}

/* The same of floats. */
static float turn_floats(const float *w, uint8_t *out, int64_t apart) {
    wk_largest most = { 0 };
    for (int k = 0; k < 2 * 32 * 16; k++) wk_raise(&most, w[k]);
    if (!wk_can_round(most.f)) return wk_fill_bytes(most.f, out, apart);
    float inverse = 127 / most.f;
    for (int k = 0; k < 64; k++) {
        int b = k / 32, half = k / 16 % 2, i = k % 16;
        for (int r = 0; r < 16; r++)
            out[half * apart + (4 * b + r / 4) * 64 + 4 * i + r % 4] = (uint8_t)(nearbyintf(w[k * 16 + r] * inverse) + 128);
    }
    return most.f / 127;
}

#endif

/* dx[mr][nv vectors] (+)= the block's sum over o of g[mr][o] w[o]. */
INLINE void grad_tile(const int mr, const int nv, const float *g, int64_t ldg, const float *w, int n_o, bool add, float *dx,
                      int64_t ldx) {
    vf s[TILE_M][TILE_N];
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) s[m][j] = vf_zero();
    }
    for (int o = 0; o < n_o; o++) {
        vf v[TILE_N];
        WK_UNROLL
        for (int j = 0; j < nv; j++) v[j] = vf_load(w + o * WK_GRAD_COLS + j * VW);
        WK_UNROLL
        for (int m = 0; m < mr; m++) {
            WK_UNROLL
            for (int j = 0; j < nv; j++) s[m][j] = vf_fma(v[j], vf_set(g[m * ldg + o]), s[m][j]);
        }
    }
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) {
            float *to = dx + m * ldx + j * VW;
            vf_store(to, add ? vf_load(to) + s[m][j] : s[m][j]);
        }
    }
}

/* Few inputs, as an adapter's B has: outputs lie side by side in the plane w [n_o / 16][n][16] and in g, and so do their products;
 * dx[mr][nk] (+)= the sum of all lanes. */
INLINE void thin_tile(const int mr, const int nk, const float *g, int64_t ldg, const float *w, int n_o, int n, bool add,
                      float *dx, int64_t ldx) {
    vf s[3][8];
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int k = 0; k < nk; k++) s[m][k] = vf_zero();
    }
    for (int o = 0; o < n_o; o += VW) {
        const float *at = w + o / 16 * n * 16 + o % 16;
        vf v[3];
        WK_UNROLL
        for (int m = 0; m < mr; m++) v[m] = n_o - o < VW ? vf_load_n(g + m * ldg + o, n_o - o) : vf_load(g + m * ldg + o);
        WK_UNROLL
        for (int k = 0; k < nk; k++) {
            vf x = vf_load(at + k * 16);
            WK_UNROLL
            for (int m = 0; m < mr; m++) s[m][k] = vf_fma(x, v[m], s[m][k]);
        }
    }
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int k = 0; k < nk; k++) dx[m * ldx + k] = vf_sum(s[m][k]) + (add ? dx[m * ldx + k] : 0);
    }
}

static void grad_thin(const float *g, int64_t ldg, int64_t n_row, const float *w, int n_o, int n, bool add, float *dx,
                      int64_t ldx) {
    enum { M = 3, K = VW == 8 ? 4 : 8 };  /* as many sums as there are registers for */
    for (int64_t r = 0; r < n_row;) {
        const float *gr = g + r * ldg;
        float *to = dx + r * ldx;
        int k = 0;
        if (n_row - r >= M) {
            for (; k + K <= n; k += K) thin_tile(M, K, gr, ldg, w + k * 16, n_o, n, add, to + k, ldx);
            for (; k < n; k++) thin_tile(M, 1, gr, ldg, w + k * 16, n_o, n, add, to + k, ldx);
            r += M;
        } else {
            for (; k + K <= n; k += K) thin_tile(1, K, gr, ldg, w + k * 16, n_o, n, add, to + k, ldx);
            for (; k < n; k++) thin_tile(1, 1, gr, ldg, w + k * 16, n_o, n, add, to + k, ldx);
            r++;
        }
    }
}

/* A strip of nv vectors of columns. */
INLINE void grad_strip(const int nv, const float *g, int64_t ldg, int64_t n_row, const float *w, int n_o, bool add, float *dx,
                       int64_t ldx) {
    int64_t r = 0;
    for (; r + TILE_M <= n_row; r += TILE_M) grad_tile(TILE_M, nv, g + r * ldg, ldg, w, n_o, add, dx + r * ldx, ldx);
    if (r + TILE_M / 2 <= n_row) {
        grad_tile(TILE_M / 2, nv, g + r * ldg, ldg, w, n_o, add, dx + r * ldx, ldx);
        r += TILE_M / 2;
    }
    for (; r < n_row; r++) grad_tile(1, nv, g + r * ldg, ldg, w, n_o, add, dx + r * ldx, ldx);
}

static void grad_rows(const float *g, int64_t ldg, int64_t n_row, const float *w, int n_o, int n_col, bool add, float *dx,
                      int64_t ldx) {
    int c = 0;
    for (; c + TILE_N * VW <= n_col; c += TILE_N * VW) grad_strip(TILE_N, g, ldg, n_row, w + c, n_o, add, dx + c, ldx);
    for (; c < n_col; c += VW) grad_strip(1, g, ldg, n_row, w + c, n_o, add, dx + c, ldx);
}
