/* linear_avx512.c: the kernels for AVX-512 with VNNI; empty elsewhere.
 * dpbusd adds four products of unsigned and signed bytes to each int32: weights are held plus 128, so unsigned, and sums start
 * from -128 * sum(activations), which is exact. Panels hold a chunk's codes as the packed planes do, [8][16 rows][4].
 * Load: see linear.c. A tile of 32 outputs x 6 rows keeps its 12 integer and 12 float sums in registers. On Zen 4 products of
 * bytes, mul and fma share two ports: of 10 such instructions a chunk and row 8 are products, so 80 % of the peak is the most. */
#include "backend/cpu/linear.h"
#if defined(__x86_64__)
#include "backend/cpu/ahead.h"
#include "backend/cpu/unroll.h"
#include "base/cpu.h"
#include <immintrin.h>
#include <string.h>

#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#define VNNI_PART VNNI __attribute__((always_inline)) static inline

/* ---- activations ---- */

VNNI static void round_avx512(const float *x, int64_t n_chunk, wk_act *a) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512 magic = _mm512_set1_ps(12582912.0f);  /* as in linear_c.c */
    for (; n_chunk > 0; n_chunk--, a++, x += WK_CHUNK) {
        __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
        union { uint32_t u; float f; } most;
        most.u = _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(x0), magnitude),
                                                          _mm512_and_si512(_mm512_castps_si512(x1), magnitude)));
        bool tiny = most.f < 1e-36f;
        float inverse = tiny ? 0 : 127 / most.f;
        __m512 inv = _mm512_set1_ps(inverse);
        __m128i q0 = _mm512_cvtepi32_epi8(_mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(x0, inv), magic)));
        __m128i q1 = _mm512_cvtepi32_epi8(_mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(x1, inv), magic)));
        _mm_storeu_si128((__m128i *)(void *)a->q, q0);
        _mm_storeu_si128((__m128i *)(void *)(a->q + 16), q1);
        __m128i low = _mm_dpbusd_epi32(_mm_setzero_si128(), _mm_set1_epi8(1), q0);
        __m128i all = _mm_dpbusd_epi32(low, _mm_set1_epi8(1), q1);
        __m128i both = _mm_add_epi32(_mm_unpacklo_epi32(low, all), _mm_unpackhi_epi32(low, all));
        both = _mm_add_epi32(both, _mm_shuffle_epi32(both, 0x4e));  /* lane 0: low, 1: all */
        int32_t sum_low = _mm_cvtsi128_si32(both), sum = _mm_extract_epi32(both, 1);
        a->d = tiny ? 0 : most.f / 127;
        a->sum = a->d * (float)sum;
        a->seed = -128 * sum;
        a->seed_low = -128 * sum_low;
        a->sum_low = a->d * (float)sum_low;
    }
}

/* ---- expanding ---- */

/* 16 scales or minima; i counts the plane's groups of 16 rows. */
VNNI_PART __m512 load_scales(wk_scale kind, const uint8_t *plane, int64_t i) {
    switch (kind) {
    case WK_SCALE_F16:
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(plane + 32 * i)));
    case WK_SCALE_BF16:
        return _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(plane + 32 * i))), 16));
    case WK_SCALE_E8M0: {
        __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(plane + 16 * i)));
        __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23),
                small = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
        return _mm512_castsi512_ps(_mm512_mask_blend_epi32(_mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2)), normal, small));
    }
    default:
        return _mm512_loadu_ps((const float *)(const void *)(plane + 64 * i));
    }
}
/* 16 integers of a group; i as above. */
VNNI_PART __m512i load_signed(const void *plane, int64_t i) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)plane + i));
}
VNNI_PART __m512i load_unsigned(const void *plane, int64_t i) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)plane + i));
}

/* What load_codes() adds to a code less its zero. */
VNNI_PART int code_offset(const wk_layout l, const bool raw) {
    return !raw || l.map || l.bits == 8 || l.zero == WK_ZERO_U8 ? 128 : l.zero == WK_ZERO_MID ? 1 << (l.bits - 1) : 0;
}
/* The eight vectors of a chunk. i: the chunk's number, g: its group's. raw: codes of fewer than 8 bits may stay as they are. */
VNNI_PART void load_codes(const wk_packed *w, const wk_layout l, const bool raw, int64_t i, int64_t g, __m512i v[8]) {
    const __m512i nibble = _mm512_set1_epi8(15);
    if (l.bits == 8) {
        const uint8_t *p = w->code + i * 512;
        UNROLL for (int s = 0; s < 8; s++) v[s] = _mm512_load_si512(p + 64 * s);
        if (wk_has_middle(&l)) return;
    } else if (l.bits < 4) {
        const __m512i pair = _mm512_set1_epi8(3);
        UNROLL for (int h = 0; h < 2; h++) {
            __m512i b = _mm512_load_si512(w->code + i * 128 + 64 * h);
            v[h] = _mm512_and_si512(b, pair);
            v[h + 2] = _mm512_and_si512(_mm512_srli_epi16(b, 2), pair);
            v[h + 4] = _mm512_and_si512(_mm512_srli_epi16(b, 4), pair);
            v[h + 6] = _mm512_and_si512(_mm512_srli_epi16(b, 6), pair);
        }
    } else {
        const uint8_t *p = w->code + i * 256;
        UNROLL for (int s = 0; s < 4; s++) {
            __m512i b = _mm512_load_si512(p + 64 * s);
            v[s] = _mm512_and_si512(b, nibble);
            v[s + 4] = _mm512_and_si512(_mm512_srli_epi16(b, 4), nibble);
        }
    }
    if (l.bits == 6) {
        const __m512i top = _mm512_set1_epi8(0x30);
        UNROLL for (int h = 0; h < 2; h++) {
            __m512i b = _mm512_load_si512(w->high + i * 128 + 64 * h);
            v[h] = _mm512_or_si512(v[h], _mm512_and_si512(_mm512_slli_epi16(b, 4), top));
            v[h + 2] = _mm512_or_si512(v[h + 2], _mm512_and_si512(_mm512_slli_epi16(b, 2), top));
            v[h + 4] = _mm512_or_si512(v[h + 4], _mm512_and_si512(b, top));
            v[h + 6] = _mm512_or_si512(v[h + 6], _mm512_and_si512(_mm512_srli_epi16(b, 2), top));
        }
    }
    if (l.bits == 3 || l.bits == 5) {
        const __m512i top = _mm512_set1_epi8((char)(1 << (l.bits - 1)));
        __m512i b = _mm512_load_si512(w->high + i * 64);
        UNROLL for (int s = 0; s < 8; s++)
            v[s] = _mm512_mask_add_epi8(v[s], _mm512_test_epi8_mask(b, _mm512_set1_epi8((char)(1 << s))), v[s], top);
    }
    if (l.map) {
        __m512i map = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)l.map));
        map = _mm512_xor_si512(map, _mm512_set1_epi8(-128));
        UNROLL for (int s = 0; s < 8; s++) v[s] = _mm512_shuffle_epi8(map, v[s]);
        return;
    }
    if (code_offset(l, raw) != 128) return;
    __m512i offset = _mm512_set1_epi8((char)(l.zero == WK_ZERO_MID ? 128 - (1 << (l.bits - 1)) : 128));
    if (l.zero == WK_ZERO_U8)
        offset = _mm512_sub_epi8(
            offset, _mm512_mullo_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(w->zero + g * 16))),
                                       _mm512_set1_epi32(0x01010101)));
    UNROLL for (int s = 0; s < 8; s++) v[s] = _mm512_add_epi8(v[s], offset);
}

/* The number of the group that holds a chunk's first input. */
VNNI_PART int64_t group_of(const wk_packed *w, const wk_layout l, int64_t block, int64_t chunk) {
    return block * w->n_group + (l.group <= WK_CHUNK ? chunk * (WK_CHUNK / l.group) : chunk / (l.group / WK_CHUNK));
}
/* Scales of group g (+ 1: of the second half), less the integers where they go into sums; minima; super: the number of the super
 * scales above. */
VNNI_PART __m512 scales_of(const wk_packed *w, const wk_layout l, int64_t g, int64_t super) {
    if (!wk_has_super(&l)) return load_scales(l.scale, w->scale, g);
    __m512 d = load_scales(WK_SCALE_F16, w->super, super);
    return wk_scales_codes(&l) ? d : _mm512_mul_ps(d, _mm512_cvtepi32_ps(load_signed(w->scale, g)));
}
VNNI_PART __m512 minima_of(const wk_packed *w, const wk_layout l, int64_t g, int64_t super) {
    if (l.zero == WK_ZERO_U8)
        return _mm512_mul_ps(load_scales(l.scale, w->scale, g),
                             _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_set1_epi32(128), load_unsigned(w->zero, g))));
    if (!wk_has_super(&l)) return load_scales(l.scale, w->zero, g);
    __m512i m = l.scale == WK_SCALE_NIBBLE ? _mm512_srli_epi32(load_unsigned(w->scale, g), 4) : load_unsigned(w->zero, g);
    m = _mm512_castps_si512(_mm512_mul_ps(load_scales(WK_SCALE_F16, w->super_min, super), _mm512_cvtepi32_ps(m)));
    return _mm512_castsi512_ps(_mm512_xor_si512(m, _mm512_set1_epi32(INT32_MIN)));
}

/* The integers of 256 inputs' groups as bytes: where scales have 6 bits, once for all. */
typedef struct integers { _Alignas(64) int8_t of[16][16]; } integers;
VNNI_PART void load_integers(const wk_packed *w, const wk_layout l, int64_t super, integers *t) {
    if (l.scale != WK_SCALE_SIX) return;
    const uint8_t *six = w->scale + super * 16 * WK_SIX_BYTES;
    const __m512i nibble = _mm512_set1_epi8(15), pair = _mm512_set1_epi8(0x30), middle = _mm512_set1_epi8(32);
    __m512i high = _mm512_load_si512(six + 128), v[4];
    UNROLL for (int k = 0; k < 2; k++) {
        __m512i b = _mm512_load_si512(six + 64 * k);
        v[k] = _mm512_and_si512(b, nibble);
        v[k + 2] = _mm512_and_si512(_mm512_srli_epi16(b, 4), nibble);
    }
    v[0] = _mm512_or_si512(v[0], _mm512_and_si512(_mm512_slli_epi16(high, 4), pair));
    v[1] = _mm512_or_si512(v[1], _mm512_and_si512(_mm512_slli_epi16(high, 2), pair));
    v[2] = _mm512_or_si512(v[2], _mm512_and_si512(high, pair));
    v[3] = _mm512_or_si512(v[3], _mm512_and_si512(_mm512_srli_epi16(high, 2), pair));
    UNROLL for (int k = 0; k < 4; k++) _mm512_store_si512(t->of[4 * k], _mm512_sub_epi8(v[k], middle));
}
/* Those of the groups of chunk c (of all), whose first is g. */
VNNI_PART void integers_of(const wk_packed *w, const wk_layout l, const integers *t, int64_t c, int64_t g, __m512i s[2]) {
    UNROLL for (int h = 0; h < 2; h++)
        s[h] = l.scale == WK_SCALE_SIX ? load_signed(t, c % (WK_SUPER / WK_CHUNK) * 2 + h)
                                       : _mm512_and_si512(load_unsigned(w->scale, g + h), _mm512_set1_epi32(15));
}
/* Raw codes less their zero, times minus their integers, plus 128: the low bytes of products of 16 bits. */
VNNI_PART void scale_codes(const wk_layout l, const __m512i integer[2], __m512i v[8]) {
    const __m512i odd = _mm512_set1_epi16(-256);
    const int zero = code_offset(l, true);
    UNROLL for (int h = 0; h < 2; h++) {
        __m512i s = _mm512_mullo_epi32(_mm512_and_si512(integer[h], _mm512_set1_epi32(255)), _mm512_set1_epi32(0x01010101));
        __m512i base = _mm512_add_epi8(_mm512_set1_epi8(-128), _mm512_mullo_epi16(s, _mm512_set1_epi16((short)zero)));
        s = _mm512_and_si512(s, _mm512_set1_epi16(255));
        base = _mm512_or_si512(_mm512_and_si512(base, _mm512_set1_epi16(255)), _mm512_slli_epi16(base, 8));
        UNROLL for (int k = 4 * h; k < 4 * h + 4; k++) {
            __m512i high = _mm512_mullo_epi16(_mm512_and_si512(v[k], odd), s);
            v[k] = _mm512_sub_epi8(base, _mm512_or_si512(_mm512_andnot_si512(odd, _mm512_mullo_epi16(v[k], s)), high));
        }
    }
}

VNNI static void expand_avx512(const wk_packed *w, int64_t block, int64_t chunk, int n, wk_panel *p) {
    const wk_layout l = w->l;
    integers t;
    p->offset = 128;
    for (int c = 0; c < n; c++) {
        int64_t k = chunk + c, g = group_of(w, l, block, k), super = block * w->n_super + k / (WK_SUPER / WK_CHUNK);
        __m512i v[8];
        __m512 scale = scales_of(w, l, g, super);
        load_codes(w, l, wk_scales_codes(&l), block * w->n_chunk + k, g, v);
        if (wk_scales_codes(&l)) {
            __m512i s[2];
            if (c == 0 || k % (WK_SUPER / WK_CHUNK) == 0) load_integers(w, l, super, &t);
            integers_of(w, l, &t, k, g, s);
            scale_codes(l, s, v);
            scale = _mm512_xor_ps(scale, _mm512_set1_ps(-0.0f));
        }
        UNROLL for (int s = 0; s < 8; s++) _mm512_store_si512(p->code[c] + 64 * s, v[s]);
        _mm512_store_ps(p->scale[c][0], scale);
        if (wk_has_halves(&l)) _mm512_store_ps(p->scale[c][1], scales_of(w, l, g + 1, super));
        if (!wk_has_min(&l)) continue;
        __m512 min = minima_of(w, l, g, super), second = wk_has_min_low(&l) ? minima_of(w, l, g + 1, super) : min;
        _mm512_store_ps(p->min[c], second);
        if (wk_has_min_low(&l)) _mm512_store_ps(p->min_low[c], _mm512_sub_ps(min, second));
    }
}

/* ---- products of codes ---- */

VNNI_PART __m512i broadcast_4(const int8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}
VNNI_PART __mmask16 mask_of(int n) { return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1); }

/* Each chunk's turn in a tile (each fourth input's) asks for a little of what the next panels are made from. Codes come during the
 * last rows: hundreds of rows' activations would push them out of L2 again. Few rows have to ask for more at a time. */
enum { FETCH = 192, FETCH_MANY = 64 };
/* Where row r begins, if rows ask for so many bytes each. */
VNNI_PART int64_t fetch_from(const wk_tile *t, int64_t r, int64_t per_row) {
    int64_t spare = t->n_row * per_row - 2 * t->n_next;
    return r * per_row - (spare > 0 ? spare : 0);
}
VNNI_PART void fetch_plane(const uint8_t *const plane[2], int64_t n_plane, int64_t at, const int n) {
    if ((uint64_t)at < (uint64_t)n_plane)
        UNROLL for (int b = 0; b < 2; b++)
            UNROLL for (int i = 0; i < n; i += 64) _mm_prefetch((const char *)plane[b] + at + i, _MM_HINT_T1);
}

/* A chunk of a tile's rows and of those that come after: three rows to a pointer, as an address has room for a distance and its
 * double. */
typedef struct near_rows { const char *at[4]; int64_t apart; } near_rows;
VNNI_PART near_rows rows_from(const wk_tile *t, int64_t r) {
    near_rows x = { .apart = t->act_ld * (int64_t)sizeof(wk_act) };
    UNROLL for (int k = 0; k < 4; k++) x.at[k] = (const char *)(t->act + r * t->act_ld) + 3 * k * x.apart;
    return x;
}
VNNI_PART const wk_act *row(const near_rows *x, int i) { return (const wk_act *)(const void *)(x->at[i / 3] + i % 3 * x->apart); }
/* The same rows' next chunk. The empty asm keeps GCC from holding twelve pointers, half of them on the stack. */
VNNI_PART void next_chunk(near_rows *x, const int n_row) {
    UNROLL for (int k = 0; k < (n_row + 2) / 3; k++) {
        x->at[k] += sizeof(wk_act);
        __asm__("" : "+r"(x->at[k]));
    }
}

/* Products of 16 inputs of a chunk, from vector k on. */
VNNI_PART void add_products(const uint8_t *const code[2], const near_rows *x, const int k, const int NB, const int NT,
                            __m512i s[6][2]) {
    UNROLL for (int j = k; j < k + 4; j++) {
        __m512i w[2];
        UNROLL for (int b = 0; b < NB; b++) w[b] = _mm512_load_si512(code[b] + 64 * j);
        UNROLL for (int i = 0; i < NT; i++) {
            __m512i q = broadcast_4(row(x, i)->q + 4 * j);
            UNROLL for (int b = 0; b < NB; b++) s[i][b] = _mm512_dpbusd_epi32(s[i][b], w[b], q);
        }
    }
}

/* Rows of a tile: two scales a chunk need more registers. */
VNNI_PART int most_rows(const bool halves) { return halves ? 4 : 6; }
/* NB blocks of 16 outputs, NT rows from r on. n_fetch: bytes that a chunk asks for. */
VNNI_PART void tile_codes(const wk_tile *t, int64_t r, const int NB, const int NT, const bool halves, const bool min,
                          const bool min_low, const int n_fetch) {
    const bool ahead = NT >= 4;
    near_rows x = rows_from(t, r);
    const uint8_t *code[2];
    const float *scale[2];
    __m512 y[6][2];
    UNROLL for (int b = 0; b < NB; b++) {
        code[b] = t->panel[b]->code[0];
        scale[b] = t->panel[b]->scale[0][0];
        UNROLL for (int i = 0; i < NT; i++)
            y[i][b] = t->first ? _mm512_setzero_ps()
                               : _mm512_maskz_loadu_ps(mask_of(t->n_col - 16 * b), t->y + (r + i) * t->ldy + 16 * b);
    }
    int64_t at = fetch_from(t, r, t->n_k * (n_fetch / most_rows(halves)));
    for (int c = 0; c < t->n_k; c++, at += n_fetch) {
        __m512i s[6][2];
        __m512 v[6][2];
        fetch_plane(t->next, t->n_next, at, n_fetch);
        fetch_plane(t->next_high, t->n_next_high, at, n_fetch);
        if (ahead) {
            UNROLL for (int i = 0; i < NT; i++) __builtin_prefetch(row(&x, NT + i));
            wk_ahead_sums(t, r, c, NT, 0, 2);
        }
        UNROLL for (int i = 0; i < NT; i++)
            UNROLL for (int b = 0; b < NB; b++) s[i][b] = _mm512_set1_epi32(halves ? row(&x, i)->seed_low : row(&x, i)->seed);
        add_products(code, &x, 0, NB, NT, s);
        if (halves)
            UNROLL for (int i = 0; i < NT; i++)
                UNROLL for (int b = 0; b < NB; b++) {
                    v[i][b] = _mm512_mul_ps(_mm512_cvtepi32_ps(s[i][b]), _mm512_load_ps(scale[b]));
                    s[i][b] = _mm512_set1_epi32(row(&x, i)->seed - row(&x, i)->seed_low);
                }
        add_products(code, &x, 4, NB, NT, s);
        UNROLL for (int i = 0; i < NT; i++)
            UNROLL for (int b = 0; b < NB; b++) {
                __m512 n = _mm512_cvtepi32_ps(s[i][b]);
                if (halves) v[i][b] = _mm512_fmadd_ps(n, _mm512_load_ps(scale[b] + 16), v[i][b]);
                else v[i][b] = _mm512_mul_ps(n, _mm512_load_ps(scale[b]));
                y[i][b] = _mm512_fmadd_ps(v[i][b], _mm512_set1_ps(row(&x, i)->d), y[i][b]);
                const wk_panel *p = t->panel[b];
                if (min) y[i][b] = _mm512_fmadd_ps(_mm512_load_ps(p->min[c]), _mm512_set1_ps(row(&x, i)->sum), y[i][b]);
                if (min_low) y[i][b] = _mm512_fmadd_ps(_mm512_load_ps(p->min_low[c]), _mm512_set1_ps(row(&x, i)->sum_low), y[i][b]);
            }
        next_chunk(&x, ahead ? 2 * NT : NT);
        UNROLL for (int b = 0; b < NB; b++) code[b] += sizeof t->panel[b]->code[0], scale[b] += 32;
    }
    UNROLL for (int i = 0; i < NT; i++)
        UNROLL for (int b = 0; b < NB; b++) {
            __mmask16 m = mask_of(t->n_col - 16 * b);
            if (t->bias) y[i][b] = _mm512_add_ps(y[i][b], _mm512_maskz_loadu_ps(m, t->bias + 16 * b));
            _mm512_mask_storeu_ps(t->y + (r + i) * t->ldy + 16 * b, m, y[i][b]);
        }
}

/* All rows, so many at a time as the registers hold. */
VNNI_PART void rows_codes(const wk_tile *t, const int NB, const bool halves, const bool min, const bool min_low) {
    const int most = most_rows(halves);
    int64_t r = 0, n = t->n_row;
    if (n * t->n_k * FETCH_MANY >= most * t->n_next)
        for (; n - r >= most; r += most) tile_codes(t, r, NB, most, halves, min, min_low, FETCH_MANY);
    for (; n - r >= most; r += most) tile_codes(t, r, NB, most, halves, min, min_low, FETCH);
    if (n - r >= 4) tile_codes(t, r, NB, 4, halves, min, min_low, FETCH), r += 4;
    if (n - r >= 2) tile_codes(t, r, NB, 2, halves, min, min_low, FETCH), r += 2;
    if (n - r >= 1) tile_codes(t, r, NB, 1, halves, min, min_low, FETCH);
}
VNNI static void rows_plain_2(const wk_tile *t) { rows_codes(t, 2, false, false, false); }
VNNI static void rows_plain_1(const wk_tile *t) { rows_codes(t, 1, false, false, false); }
VNNI static void rows_min_2(const wk_tile *t) { rows_codes(t, 2, false, true, false); }
VNNI static void rows_min_1(const wk_tile *t) { rows_codes(t, 1, false, true, false); }
VNNI static void rows_minima_2(const wk_tile *t) { rows_codes(t, 2, false, true, true); }
VNNI static void rows_minima_1(const wk_tile *t) { rows_codes(t, 1, false, true, true); }
VNNI static void rows_halves_2(const wk_tile *t) { rows_codes(t, 2, true, false, false); }
VNNI static void rows_halves_1(const wk_tile *t) { rows_codes(t, 1, true, false, false); }

VNNI static void mul_avx512(const wk_tile *t) {
    static void (*const rows[4][2])(const wk_tile *) = { { rows_plain_1, rows_plain_2 }, { rows_min_1, rows_min_2 },
                                                         { rows_minima_1, rows_minima_2 }, { rows_halves_1, rows_halves_2 } };
    rows[t->halves ? 3 : t->min + t->min_low][t->panel[1] != NULL](t);
}

/* ---- few rows: codes go from memory to the product without a panel ---- */

enum { AHEAD = 4096 };  /* bytes that are fetched before they are needed */

VNNI_PART void store_block(float *y, __m512 v, int n_col, const float *bias) {
    __mmask16 m = mask_of(n_col);
    if (bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(m, bias));
    _mm512_mask_storeu_ps(y, m, v);
}

/* A chunk's codes. Those that few instructions take apart wait for memory: they come into L2, as L1 has few places for lines on
 * their way. */
VNNI_PART void fetch_codes(const wk_layout l, const char *at) {
    for (int i = 0; i < wk_code_bytes(&l); i += 64) {
        if (l.bits == 8 || l.bits == 4) _mm_prefetch(at + i, _MM_HINT_T1);
        else _mm_prefetch(at + i, _MM_HINT_T0);
    }
}

/* A block's products with NT rows; the layout is a constant for the common ones. */
VNNI_PART void block_rows(const wk_packed *w, const wk_layout l, const wk_act *a, const int NT, int64_t block, float *y,
                          int64_t ldy, int n_col, const float *bias) {
    const int offset = code_offset(l, true);
    const bool halves = l.group < WK_CHUNK, min_low = wk_has_min_low(&l);
    integers t;
    __m512 sum[4];
    UNROLL for (int r = 0; r < NT; r++) sum[r] = _mm512_setzero_ps();
    for (int64_t c = 0; c < w->n_chunk; c++, a++) {
        int64_t i = block * w->n_chunk + c, g = group_of(w, l, block, c), super = block * w->n_super + c / (WK_SUPER / WK_CHUNK);
        fetch_codes(l, (const char *)w->code + i * wk_code_bytes(&l) + AHEAD);
        __m512i v[8];
        load_codes(w, l, true, i, g, v);
        __m512 scale = scales_of(w, l, g, super), scale2 = wk_has_halves(&l) ? scales_of(w, l, g + 1, super) : scale;
        __m512 first = wk_has_min(&l) ? minima_of(w, l, g, super) : scale, min = min_low ? minima_of(w, l, g + 1, super) : first;
        __m512i integer[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };
        if (wk_scales_codes(&l)) {
            if (c % (WK_SUPER / WK_CHUNK) == 0) load_integers(w, l, super, &t);
            integers_of(w, l, &t, c, g, integer);
        }
        UNROLL for (int r = 0; r < NT; r++) {
            const wk_act *x = a + r * w->n_chunk;
            int32_t seed = (x->seed >> 7) * offset, seed_low = (x->seed_low >> 7) * offset;
            __m512i low = _mm512_set1_epi32(halves ? seed_low : seed), high = _mm512_set1_epi32(halves ? seed - seed_low : 0);
            UNROLL for (int s = 0; s < 4; s++) {
                low = _mm512_dpbusd_epi32(low, v[s], broadcast_4(x->q + 4 * s));
                high = _mm512_dpbusd_epi32(high, v[s + 4], broadcast_4(x->q + 16 + 4 * s));
            }
            if (wk_scales_codes(&l)) low = _mm512_mullo_epi32(low, integer[0]), high = _mm512_mullo_epi32(high, integer[1]);
            if (!wk_has_halves(&l)) low = _mm512_add_epi32(low, high);
            __m512 f = _mm512_mul_ps(_mm512_cvtepi32_ps(low), scale);
            if (wk_has_halves(&l)) f = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high), scale2, f);
            sum[r] = _mm512_fmadd_ps(f, _mm512_set1_ps(x->d), sum[r]);
            if (wk_has_min(&l)) sum[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(x->sum), sum[r]);
            if (min_low) sum[r] = _mm512_fmadd_ps(_mm512_sub_ps(first, min), _mm512_set1_ps(x->sum_low), sum[r]);
        }
    }
    UNROLL for (int r = 0; r < NT; r++) store_block(y + r * ldy, sum[r], n_col, bias);
}

typedef void few_fn(const wk_packed *w, const void *act, int64_t n_row, int64_t block, float *y, int64_t ldy, int n_col,
                    const float *bias);
#define FEW_OF_CODES(name, layout) \
    VNNI static void name(const wk_packed *w, const void *act, int64_t n_row, int64_t block, float *y, int64_t ldy, int n_col, \
                          const float *bias) { \
        const wk_act *a = act; \
        int64_t r = 0; \
        for (; r + 4 <= n_row; r += 4) block_rows(w, layout, a + r * w->n_chunk, 4, block, y + r * ldy, ldy, n_col, bias); \
        for (; r < n_row; r++) block_rows(w, layout, a + r * w->n_chunk, 1, block, y + r * ldy, ldy, n_col, bias); \
    }
FEW_OF_CODES(few_q4_0, WK_LAYOUT_Q4_0)
FEW_OF_CODES(few_q4_1, WK_LAYOUT_Q4_1)
FEW_OF_CODES(few_q5_0, WK_LAYOUT_Q5_0)
FEW_OF_CODES(few_q5_1, WK_LAYOUT_Q5_1)
FEW_OF_CODES(few_q8_0, WK_LAYOUT_Q8_0)
FEW_OF_CODES(few_q2_k, WK_LAYOUT_Q2_K)
FEW_OF_CODES(few_q3_k, WK_LAYOUT_Q3_K)
FEW_OF_CODES(few_q4_k, WK_LAYOUT_Q4_K)
FEW_OF_CODES(few_q5_k, WK_LAYOUT_Q5_K)
FEW_OF_CODES(few_q6_k, WK_LAYOUT_Q6_K)
FEW_OF_CODES(few_codes, w->l)

/* ---- products of floats ---- */

/* Input i of a block's rows, counted over the plane. Of a pair of bfloat16 it is one half of each word. */
VNNI_PART __m512 load_16(const wk_packed *w, int64_t i) {
    if (!w->l.bf16) return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(w->code + 32 * i)));
    __m512i pair = _mm512_load_si512(w->code + 64 * (i / 2));
    return _mm512_castsi512_ps(i % 2 ? _mm512_and_si512(pair, _mm512_set1_epi32(-0x10000)) : _mm512_slli_epi32(pair, 16));
}

VNNI static void widen_avx512(const wk_packed *w, int64_t block, int64_t k, int n, float *out) {
    for (int64_t i = 0; i < n; i++) _mm512_store_ps(out + 16 * i, load_16(w, block * w->n_held + k + i));
}

VNNI_PART void tile_floats(const wk_tile *t, int64_t r, const int NB, const int NT) {
    const float *x = t->x + r * t->act_ld;
    __m512 y[12][2];
    UNROLL for (int i = 0; i < NT; i++)
        UNROLL for (int b = 0; b < NB; b++)
        y[i][b] = t->first ? _mm512_setzero_ps()
                           : _mm512_maskz_loadu_ps(mask_of(t->n_col - 16 * b), t->y + (r + i) * t->ldy + 16 * b);
    int64_t at = r * t->n_k / 4 * (FETCH / 12);
    for (int k = 0; k < t->n_k; k++) {
        __m512 w[2];
        if (k % 4 == 0) fetch_plane(t->next, t->n_next, at, FETCH), at += FETCH;
        if (NT == 12) wk_ahead_numbers(t, x, t->act_ld * 4, r, k, NT);
        UNROLL for (int b = 0; b < NB; b++) w[b] = _mm512_loadu_ps(t->weight[b] + 16 * k);
        UNROLL for (int i = 0; i < NT; i++) {
            __m512 v = _mm512_set1_ps(x[i * t->act_ld + k]);
            UNROLL for (int b = 0; b < NB; b++) y[i][b] = _mm512_fmadd_ps(w[b], v, y[i][b]);
        }
    }
    UNROLL for (int i = 0; i < NT; i++)
        UNROLL for (int b = 0; b < NB; b++) {
            __mmask16 m = mask_of(t->n_col - 16 * b);
            if (t->bias) y[i][b] = _mm512_add_ps(y[i][b], _mm512_maskz_loadu_ps(m, t->bias + 16 * b));
            _mm512_mask_storeu_ps(t->y + (r + i) * t->ldy + 16 * b, m, y[i][b]);
        }
}
VNNI_PART void rows_floats(const wk_tile *t, const int NB) {
    int64_t r = 0, n = t->n_row;
    for (; n - r >= 12; r += 12) tile_floats(t, r, NB, 12);
    for (; n - r >= 4; r += 4) tile_floats(t, r, NB, 4);
    if (n - r >= 2) tile_floats(t, r, NB, 2), r += 2;
    if (n - r >= 1) tile_floats(t, r, NB, 1);
}
VNNI static void mul_float_avx512(const wk_tile *t) {
    if (t->weight[1]) rows_floats(t, 2);
    else rows_floats(t, 1);
}

/* NB blocks of 16 outputs with NT rows, without panels. */
VNNI_PART void blocks_float(const wk_packed *w, const float *x, const int NT, int64_t block, const int NB, float *y, int64_t ldy,
                            int n_col, const float *bias) {
    const bool wide = w->l.bits == 32;
    const int64_t ldx = wk_numbers_ld(w->n_in, sizeof(float));
    __m512 s[4][2];
    UNROLL for (int r = 0; r < NT; r++)
        UNROLL for (int b = 0; b < NB; b++) s[r][b] = _mm512_setzero_ps();
    for (int64_t k = 0; k < w->n_in; k++)
        UNROLL for (int b = 0; b < NB; b++) {
            int64_t i = (block + b) * w->n_held + k;
            __m512 f = wide ? _mm512_load_ps((const float *)(const void *)w->code + 16 * i) : load_16(w, i);
            UNROLL for (int r = 0; r < NT; r++) s[r][b] = _mm512_fmadd_ps(f, _mm512_set1_ps(x[r * ldx + k]), s[r][b]);
        }
    UNROLL for (int r = 0; r < NT; r++)
        UNROLL for (int b = 0; b < NB; b++) store_block(y + r * ldy + 16 * b, s[r][b], n_col - 16 * b, bias ? bias + 16 * b : NULL);
}
/* Two blocks if there are two: a sum is a chain that waits for itself. */
VNNI_PART void rows_of_blocks(const wk_packed *w, const float *x, int64_t n_row, int64_t block, const int NB, float *y, int64_t ldy,
                              int n_col, const float *bias) {
    int64_t r = 0, ldx = wk_numbers_ld(w->n_in, sizeof(float));
    for (; r + 4 <= n_row; r += 4) blocks_float(w, x + r * ldx, 4, block, NB, y + r * ldy, ldy, n_col, bias);
    for (; r < n_row; r++) blocks_float(w, x + r * ldx, 1, block, NB, y + r * ldy, ldy, n_col, bias);
}
VNNI static void few_floats(const wk_packed *w, const float *x, int64_t n_row, int64_t block, int64_t n_block, float *y,
                            int64_t ldy, int n_col, const float *bias) {
    int64_t b = 0;
    for (; b + 1 < n_block; b += 2)
        rows_of_blocks(w, x, n_row, block + b, 2, y + 16 * b, ldy, n_col - 16 * (int)b, bias ? bias + 16 * b : NULL);
    if (b < n_block) rows_of_blocks(w, x, n_row, block + b, 1, y + 16 * b, ldy, n_col - 16 * (int)b, bias ? bias + 16 * b : NULL);
}

VNNI static void few_avx512(const wk_packed *w, const void *act, int64_t n_row, int64_t block, int64_t n_block, float *y,
                            int64_t ldy, int n_col, const float *bias) {
    static few_fn *const few[WK_N_LIKE] = {
        [WK_LIKE_CODES] = few_codes, [WK_LIKE_Q4_0] = few_q4_0, [WK_LIKE_Q4_1] = few_q4_1, [WK_LIKE_Q5_0] = few_q5_0,
        [WK_LIKE_Q5_1] = few_q5_1, [WK_LIKE_Q8_0] = few_q8_0, [WK_LIKE_Q2_K] = few_q2_k, [WK_LIKE_Q3_K] = few_q3_k,
        [WK_LIKE_Q4_K] = few_q4_k, [WK_LIKE_Q5_K] = few_q5_k, [WK_LIKE_Q6_K] = few_q6_k,
    };
    if (w->like == WK_LIKE_FLOATS) {
        few_floats(w, act, n_row, block, n_block, y, ldy, n_col, bias);
        return;
    }
    for (int64_t b = 0; b < n_block; b++)
        few[w->like](w, act, n_row, block + b, y + 16 * b, ldy, n_col - 16 * (int)b, bias ? bias + 16 * b : NULL);
}

/* ---- 8-bit floats, gradients ---- */

#define WK_SIMD_AVX512
#include "backend/cpu/simd.h"
#include "backend/cpu/widen_body.h"
#include "backend/cpu/grad_body.h"
WK_SIMD_END

/* Codes of half a chunk, turned round where their scale is below zero; lowest and highest of each dword. */
VNNI_PART void load_half(const wk_panel *p, int half, __m512 scale, __m512i *low, __m512i *high) {
    __m512i flip = _mm512_srai_epi32(_mm512_castps_si512(scale), 31), c[4];
    UNROLL for (int j = 0; j < 4; j++) c[j] = _mm512_xor_si512(_mm512_load_si512(p->code[0] + 256 * half + 64 * j), flip);
    __m512i a = _mm512_min_epu8(_mm512_min_epu8(c[0], c[1]), _mm512_min_epu8(c[2], c[3])),
            b = _mm512_max_epu8(_mm512_max_epu8(c[0], c[1]), _mm512_max_epu8(c[2], c[3]));
    a = _mm512_min_epu8(a, _mm512_srli_epi32(a, 16)), b = _mm512_max_epu8(b, _mm512_srli_epi32(b, 16));
    a = _mm512_min_epu8(a, _mm512_srli_epi32(a, 8)), b = _mm512_max_epu8(b, _mm512_srli_epi32(b, 8));
    *low = _mm512_and_si512(a, _mm512_set1_epi32(255));
    *high = _mm512_and_si512(b, _mm512_set1_epi32(255));
}
VNNI_PART __m512 half_scale(const wk_panel *p, const wk_layout *l, int half) {
    return _mm512_load_ps(p->scale[0][half && wk_has_halves(l)]);
}

typedef struct half_steps { __m512i low; __m512 step, least; } half_steps;

/* As grad_body.h's find_steps(); the magnitudes that largest ones come from are returned. */
VNNI_PART __m512i steps_of_half(const wk_panel *p, const wk_layout *l, int half, half_steps *s) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512 scale = half_scale(p, l, half), min = wk_has_min(l) ? _mm512_load_ps(p->min[0]) : _mm512_setzero_ps();
    __m512i high;
    if (!half && wk_has_min_low(l)) min = _mm512_add_ps(min, _mm512_load_ps(p->min_low[0]));
    load_half(p, half, scale, &s->low, &high);
    __mmask16 below = _mm512_movepi32_mask(_mm512_castps_si512(scale));
    __m512i lowest = _mm512_mask_sub_epi32(s->low, below, _mm512_set1_epi32(255), s->low);
    s->least = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(_mm512_sub_epi32(lowest, _mm512_set1_epi32(128))), min);
    s->step = _mm512_maskz_and_ps(_mm512_cmpgt_epi32_mask(high, s->low), scale, _mm512_castsi512_ps(magnitude));
    __m512 top = _mm512_fmadd_ps(s->step, _mm512_cvtepi32_ps(_mm512_sub_epi32(high, s->low)), s->least);
    return _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(s->least), magnitude),
                            _mm512_and_si512(_mm512_castps_si512(top), magnitude));
}

/* Four vectors of [4 inputs][4 outputs], a quarter for each four outputs, become four of [16 inputs][4 outputs]. */
VNNI_PART void store_turned(const __m512i v[4], uint8_t *out) {
    __m512i a = _mm512_shuffle_i64x2(v[0], v[1], 0x44), b = _mm512_shuffle_i64x2(v[0], v[1], 0xee),
            c = _mm512_shuffle_i64x2(v[2], v[3], 0x44), d = _mm512_shuffle_i64x2(v[2], v[3], 0xee);
    _mm512_store_si512(out, _mm512_shuffle_i64x2(a, c, 0x88));
    _mm512_store_si512(out + 64, _mm512_shuffle_i64x2(a, c, 0xdd));
    _mm512_store_si512(out + 128, _mm512_shuffle_i64x2(b, d, 0x88));
    _mm512_store_si512(out + 192, _mm512_shuffle_i64x2(b, d, 0xdd));
}

/* Half a chunk: least + step * n in words of 16 bits; bytes of 4 inputs become bytes of 4 outputs: out [4][16 inputs][4
 * outputs]. */
VNNI_PART void round_half(const wk_panel *p, int half, __m512 scale, const half_steps *s, float inverse, int bits, uint8_t *out) {
    const __m512i turn = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i upper = _mm512_set1_epi16(-256);
    const __m128i n_bits = _mm_cvtsi32_si128(bits);
    __m512 inv = _mm512_set1_ps(inverse);
    __m512i flip = _mm512_srai_epi32(_mm512_castps_si512(scale), 31);
    __m512i low = _mm512_mullo_epi32(s->low, _mm512_set1_epi32(0x01010101));
    __m512i step = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_mul_ps(s->step, inv), _mm512_set1_ps((float)(256 << bits))));
    __m512i least = _mm512_cvtps_epi32(
        _mm512_mul_ps(_mm512_fmadd_ps(s->least, inv, _mm512_set1_ps(128)), _mm512_set1_ps((float)(1 << bits))));
    step = _mm512_min_epu32(step, _mm512_set1_epi32(65535));
    least = _mm512_add_epi32(least, _mm512_set1_epi32(1 << bits >> 1));
    step = _mm512_or_si512(step, _mm512_slli_epi32(step, 16));
    least = _mm512_or_si512(least, _mm512_slli_epi32(least, 16));
    __m512i v[4];
    UNROLL for (int j = 0; j < 4; j++) {
        __m512i c = _mm512_xor_si512(_mm512_load_si512(p->code[0] + 256 * half + 64 * j), flip), n = _mm512_sub_epi8(c, low);
        __m512i even = _mm512_mulhi_epu16(_mm512_slli_epi16(n, 8), step);
        __m512i odd = _mm512_mulhi_epu16(_mm512_and_si512(n, upper), step);
        even = _mm512_srl_epi16(_mm512_add_epi16(even, least), n_bits);
        odd = _mm512_srl_epi16(_mm512_add_epi16(odd, least), n_bits);
        v[j] = _mm512_shuffle_epi8(_mm512_or_si512(even, _mm512_slli_epi16(odd, 8)), turn);
    }
    store_turned(v, out);
}

VNNI static float turn_bytes_avx512(const wk_panel p[2], const wk_layout *l, uint8_t *out, int64_t apart) {
    half_steps s[2][2];
    __m512i most = _mm512_setzero_si512();
    __m512 widest = _mm512_setzero_ps();
    UNROLL for (int k = 0; k < 4; k++) {
        most = _mm512_max_epu32(most, steps_of_half(&p[k / 2], l, k % 2, &s[k / 2][k % 2]));
        widest = _mm512_max_ps(widest, s[k / 2][k % 2].step);
    }
    wk_largest largest = { .u = _mm512_reduce_max_epu32(most) };
    if (!wk_can_round(largest.f)) return wk_fill_bytes(largest.f, out, apart);
    float inverse = 127 / largest.f;
    int bits = wk_bits_behind(_mm512_reduce_max_ps(widest) * inverse);
    UNROLL for (int k = 0; k < 4; k++)
        round_half(&p[k / 2], k % 2, half_scale(&p[k / 2], l, k % 2), &s[k / 2][k % 2], inverse, bits,
                   out + k % 2 * apart + k / 2 * 256);
    return largest.f / 127;
}

/* Half a chunk of a block, 16 inputs of 16 outputs: out as in round_half(). */
VNNI_PART void round_floats(const float *w, float inverse, uint8_t *out) {
    const __m512 inv = _mm512_set1_ps(inverse);
    __m512i v[4];
    UNROLL for (int j = 0; j < 4; j++) {
        __m512i n[4];
        UNROLL for (int i = 0; i < 4; i++) n[i] = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(w + 64 * j + 16 * i), inv));
        v[j] = _mm512_packs_epi16(_mm512_packs_epi32(n[0], n[1]), _mm512_packs_epi32(n[2], n[3]));
        v[j] = _mm512_xor_si512(v[j], _mm512_set1_epi8(-128));
    }
    store_turned(v, out);
}

VNNI static float turn_floats_avx512(const float *w, uint8_t *out, int64_t apart) {
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i most = _mm512_setzero_si512();
    for (int k = 0; k < 2 * 32 * 16; k += 16)
        most = _mm512_max_epu32(most, _mm512_and_si512(_mm512_load_si512(w + k), magnitude));
    wk_largest largest = { .u = _mm512_reduce_max_epu32(most) };
    if (!wk_can_round(largest.f)) return wk_fill_bytes(largest.f, out, apart);
    float inverse = 127 / largest.f;
    UNROLL for (int k = 0; k < 4; k++) round_floats(w + 256 * k, inverse, out + k % 2 * apart + k / 2 * 256);
    return largest.f / 127;
}

const wk_linear_set wk_linear_avx512 = {
    .need = WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI, .name = "avx512-vnni",
    .round = round_avx512, .expand = expand_avx512, .mul = mul_avx512, .widen = widen_avx512, .widen_f8 = widen_f8,
    .mul_float = mul_float_avx512, .few = few_avx512, .grad = grad_rows, .grad_thin = grad_thin, .turn_bytes = turn_bytes_avx512,
    .turn_floats = turn_floats_avx512,
};
#endif
