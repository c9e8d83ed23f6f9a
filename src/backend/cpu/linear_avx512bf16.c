/* linear_avx512bf16.c: products of bfloat16 with AVX512_BF16; empty elsewhere.
 * dpbf16ps adds two products to each float32: the packed plane's vector of 16 outputs' pairs meets one broadcast pair of
 * activations. Each output is one chain over pairs in order, whatever the tile, so a row's bits do not depend on the others.
 * Load: see linear.c. A tile of 32 outputs x 12 rows keeps its 24 sums in registers; broadcasts come with the products. */
#include "backend/cpu/linear.h"
#if defined(__x86_64__)
#include "backend/cpu/ahead.h"
#include "backend/cpu/unroll.h"
#include "base/cpu.h"
#include <immintrin.h>
#include <string.h>

#define BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define BF16_PART BF16 __attribute__((always_inline)) static inline

BF16_PART __mmask16 mask_of(int64_t n) { return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1); }

BF16 static void round_bf16(const float *x, int64_t n, uint16_t *out) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(void *)(out + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)));
    __m256i rest = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask_of(n - i), x + i));
    _mm256_mask_storeu_epi16(out + i, mask_of(n - i), rest);
}

BF16_PART __m512bh broadcast_pair(const uint16_t *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return (__m512bh)_mm512_set1_epi32(v);
}

enum { AHEAD = 2048, THIN_AHEAD = 4096 };  /* bytes that few rows, which are bound by memory, fetch before they are needed */

/* Each eighth turn asks for a line of each block that the next tiles are made from. */
BF16_PART void fetch_next(const wk_tile *t, int64_t turn) {
    if (turn % 8 || turn * 8 >= t->n_next) return;
    UNROLL for (int b = 0; b < 2; b++) _mm_prefetch((const char *)t->next[b] + turn * 8, _MM_HINT_T1);
}

/* Row r's columns [c, c + 16): what their sums begin with, and where they go. */
BF16_PART __m512 load_sums(const wk_tile *t, int64_t r, int c) {
    return t->first ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask_of(t->n_col - c), t->y + r * t->ldy + c);
}
BF16_PART void store_sums(const wk_tile *t, int64_t r, int c, __m512 v) {
    __mmask16 m = mask_of(t->n_col - c);
    if (t->bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, t->bias + c));
    _mm512_mask_storeu_ps(t->y + r * t->ldy + c, m, v);
}

/* NB blocks of 16 outputs, NT rows from r on; asks: for what the next tiles take. */
BF16_PART void tile_pairs(const wk_tile *t, int64_t r, const int NB, const int NT, const bool asks) {
    const uint16_t *x = t->x16 + r * t->act_ld;
    __m512 y[12][2];
    UNROLL for (int i = 0; i < NT; i++)
        UNROLL for (int b = 0; b < NB; b++) y[i][b] = load_sums(t, r + i, 16 * b);
    int64_t turn = r / 12 * (t->n_k / 2);
    for (int k = 0; k < t->n_k; k += 2) {
        __m512bh w[2];
        if (asks) wk_ahead_numbers(t, x, t->act_ld * 2, r, k / 2, NT), fetch_next(t, turn++);
        UNROLL for (int b = 0; b < NB; b++) {
            if (NT < 4) _mm_prefetch((const char *)(t->pair[b] + 16 * k) + AHEAD, _MM_HINT_T1);
            w[b] = (__m512bh)_mm512_load_si512(t->pair[b] + 16 * k);
        }
        UNROLL for (int i = 0; i < NT; i++) {
            __m512bh v = broadcast_pair(x + i * t->act_ld + k);
            UNROLL for (int b = 0; b < NB; b++) y[i][b] = _mm512_dpbf16_ps(y[i][b], w[b], v);
        }
    }
    UNROLL for (int i = 0; i < NT; i++)
        UNROLL for (int b = 0; b < NB; b++) store_sums(t, r + i, 16 * b, y[i][b]);
}
/* All from r on. */
BF16_PART void rows_pairs(const wk_tile *t, int64_t r, const int NB) {
    int64_t n = t->n_row;
    for (; n - r >= 12; r += 12) tile_pairs(t, r, NB, 12, true);
    for (; n - r >= 4; r += 4) tile_pairs(t, r, NB, 4, false);
    if (n - r >= 2) tile_pairs(t, r, NB, 2, false), r += 2;
    if (n - r >= 1) tile_pairs(t, r, NB, 1, false);
}
BF16 static void mul_bf16(const wk_tile *t) {
    if (t->pair[1]) rows_pairs(t, 0, 2);
    else rows_pairs(t, 0, 1);
}

/* One row with a block of few inputs, from output c on: blocks one by one, so that a matrix is read front to back. */
BF16_PART void thin_block(const wk_tile *t, int c) {
    const uint16_t *w = t->pair[0] + c * t->n_k;
    __m512 y = load_sums(t, 0, c);
    for (int k = 0; k < t->n_k; k += 2) {
        _mm_prefetch((const char *)(w + 16 * k) + THIN_AHEAD, _MM_HINT_T1);  /* into L2: L1 has few places for lines on their way */
        y = _mm512_dpbf16_ps(y, (__m512bh)_mm512_load_si512(w + 16 * k), broadcast_pair(t->x16 + k));
    }
    store_sums(t, 0, c, y);
}
/* Asks for 32 columns of the sums of 12 rows from r on; past the last, for the next columns of the first. */
BF16_PART void fetch_sums(const wk_tile *t, int64_t r) {
    const float *y = r < t->n_row ? t->y + r * t->ldy : t->y + (r - t->n_row) * t->ldy + 32;
    UNROLL for (int i = 0; i < 12; i++)
        UNROLL for (int b = 0; b < 2; b++) _mm_prefetch((const char *)(y + i * t->ldy + 16 * b), _MM_HINT_T0);
}
/* The same for all columns of a matrix whose inputs are so few that calling a tile would take longer than the tile. A tile is also
 * too short to ask for the next one's sums in time: two ahead. */
BF16 static void mul_thin(const wk_tile *t) {
    int c = 0;
    for (; t->n_row == 1 && c < t->n_col; c += 16) thin_block(t, c);
    for (; c < t->n_col; c += 32) {
        int64_t r = 0;
        wk_tile u = { .n_k = t->n_k, .x16 = t->x16, .act_ld = t->act_ld, .n_row = t->n_row, .y = t->y + c, .ldy = t->ldy,
                      .n_col = t->n_col - c < 32 ? t->n_col - c : 32, .first = t->first, .bias = t->bias ? t->bias + c : NULL };
        u.pair[0] = t->pair[0] + c * t->n_k;
        u.pair[1] = u.pair[0] + 16 * t->n_k;
        for (; u.n_col > 16 && u.n_row - r >= 12; r += 12) fetch_sums(&u, r + 24), tile_pairs(&u, r, 2, 12, false);
        if (u.n_col > 16) rows_pairs(&u, r, 2);
        else rows_pairs(&u, r, 1);
    }
}

const wk_linear_set wk_linear_avx512bf16 = {
    .need = WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI | WK_CPU_AVX512_BF16, .name = "avx512-bf16",
    .round_bf16 = round_bf16, .mul_bf16 = mul_bf16, .mul_thin = mul_thin, .pair_inputs = 2048,
    .pairs = { wk_attend_avx512bf16, wk_attend_grad_avx512bf16 },
};
#endif
