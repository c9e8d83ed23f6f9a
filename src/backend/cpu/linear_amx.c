/* linear_amx.c: products of bfloat16 with AMX tiles; empty elsewhere.
 * tdpbf16ps multiplies a tile of up to 16 rows x 32 inputs with one of 32 inputs x 16 outputs (1 KB of the packed plane, as it
 * lies) and adds to a tile of 16 x 16 float32: for each output it sums the even and the odd inputs of the 32 in order, adds
 * the two, and adds that to the tile (Intel's Software Developer's Manual, volume 2). Rows of a tile know nothing of
 * each other, so one row goes the same way as a thousand and has the same bits.
 * Load: see linear.c. Four tiles of sums, two of rows, two of outputs: a load for each product, half of what L1 gives. With one
 * row the weights' tiles still come faster than memory does. */
#include "backend/cpu/linear.h"
#if defined(__x86_64__)
#include "base/cpu.h"
#include <immintrin.h>
#include <string.h>

#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define AMX_PART AMX __attribute__((always_inline)) static inline

/* GCC's intrinsics do not say that loads of tiles and of their shapes read memory: what was put into x has to be there by now. */
#define IS_STORED(x) __asm__ volatile("" : : "m"(x))

/* What ldtilecfg reads: of tile i, bytes of a row and rows. */
typedef struct shapes {
    _Alignas(64) uint8_t palette;
    uint8_t start, zero[14];
    uint16_t row_bytes[16];
    uint8_t n_row[16];
} shapes;

/* Tiles 0 to 3 are sums, 4 and 5 rows of activations, 6 and 7 inputs of 16 outputs. 0, 1 and 4 have n rows; 2, 3 and 5 have m. */
AMX_PART void shape_tiles(int n, int m) {
    shapes s = { .palette = 1 };
    const int rows[8] = { n, n, m, m, n, m, 16, 16 };
    for (int i = 0; i < 8; i++) {
        s.row_bytes[i] = rows[i] ? 64 : 0;
        s.n_row[i] = (uint8_t)rows[i];
    }
    IS_STORED(s);
    _tile_loadconfig(&s);
}

AMX_PART __mmask16 mask_of(int n) { return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1); }

/* Sums go to y by way of a buffer where outputs are left out or a bias is added, which a tile's store cannot. */
typedef struct sums { _Alignas(64) float at[4][16][16]; } sums;

AMX_PART void sums_from_y(const wk_tile *t, int64_t r, int n_row, const int NB, sums *s) {
    for (int i = 0; i < n_row; i++)
        for (int b = 0; b < NB; b++)
            _mm512_store_ps(s->at[i / 16 * 2 + b][i % 16],
                            _mm512_maskz_loadu_ps(mask_of(t->n_col - 16 * b), t->y + (r + i) * t->ldy + 16 * b));
}
AMX_PART void sums_to_y(const wk_tile *t, int64_t r, int n_row, const int NB, const sums *s) {
    for (int i = 0; i < n_row; i++)
        for (int b = 0; b < NB; b++) {
            __mmask16 m = mask_of(t->n_col - 16 * b);
            __m512 y = _mm512_load_ps(s->at[i / 16 * 2 + b][i % 16]);
            if (t->bias) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(m, t->bias + 16 * b));
            _mm512_mask_storeu_ps(t->y + (r + i) * t->ldy + 16 * b, m, y);
        }
}

/* Rows [r, r + n_row) with NB blocks of 16 outputs; two: there are more than 16 rows. */
AMX_PART void tile_pairs(const wk_tile *t, int64_t r, int n_row, const int NB, const bool two) {
    const uint16_t *x = t->x16 + r * t->act_ld;
    size_t ldx = (size_t)t->act_ld * sizeof *x;
    sums s;
    _tile_zero(0);
    if (NB > 1) _tile_zero(1);
    if (two) _tile_zero(2);
    if (two && NB > 1) _tile_zero(3);
    if (!t->first) {
        sums_from_y(t, r, n_row, NB, &s);
        IS_STORED(s);
        _tile_loadd(0, s.at[0], 64);
        if (NB > 1) _tile_loadd(1, s.at[1], 64);
        if (two) _tile_loadd(2, s.at[2], 64);
        if (two && NB > 1) _tile_loadd(3, s.at[3], 64);
    }
    for (int k = 0; k < t->n_k; k += WK_CHUNK) {
        _tile_loadd(4, x + k, ldx);
        _tile_loadd(6, t->pair[0] + 16 * k, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (NB > 1) {
            _tile_loadd(7, t->pair[1] + 16 * k, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two) {
            _tile_loadd(5, x + k + 16 * t->act_ld, ldx);
            _tile_dpbf16ps(2, 5, 6);
            if (NB > 1) _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, s.at[0], 64);
    if (NB > 1) _tile_stored(1, s.at[1], 64);
    if (two) _tile_stored(2, s.at[2], 64);
    if (two && NB > 1) _tile_stored(3, s.at[3], 64);
    sums_to_y(t, r, n_row, NB, &s);
}

AMX_PART void rows_pairs(const wk_tile *t, const int NB) {
    int64_t r = 0, left;
    if (t->n_row >= 32) {
        shape_tiles(16, 16);
        for (; t->n_row - r >= 32; r += 32) tile_pairs(t, r, 32, NB, true);
    }
    if (!(left = t->n_row - r)) return;
    shape_tiles((int)(left < 16 ? left : 16), (int)(left > 16 ? left - 16 : 0));
    if (left > 16) tile_pairs(t, r, (int)left, NB, true);
    else tile_pairs(t, r, (int)left, NB, false);
}
AMX static void mul_bf16(const wk_tile *t) {
    if (t->n_k < WK_CHUNK) {  /* a matrix with fewer inputs than a tile has: an adapter's B */
        wk_linear_avx512bf16.mul_bf16(t);
        return;
    }
    if (t->pair[1]) rows_pairs(t, 2);
    else rows_pairs(t, 1);
    _tile_release();  /* so that the system has no tiles to save */
}

const wk_linear_set wk_linear_amx = {
    .need = WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI | WK_CPU_AVX512_BF16 | WK_CPU_AMX_BF16, .name = "amx-bf16",
    .mul_bf16 = mul_bf16, .pair_inputs = 1024,
};
#endif
