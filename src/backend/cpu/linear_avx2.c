/* linear_avx2.c: the kernels for AVX2 with FMA and F16C; empty elsewhere.
 * maddubs adds two products of unsigned and signed bytes to an int16 that saturates. Codes of 4 bits (0..15) are safe: all 16
 * such products of a lane's share of a chunk come to 16 * 15 * 127 = 30480. Other codes c are taken as |c| times the activation
 * with c's sign: 2 * 128 * 127 = 32512 at most, exact for -128 too, since activations are within +-127.
 * Load: see linear.c. A tile is 16 outputs x 3 rows (floats: 6). */
#include "backend/cpu/linear.h"
#if defined(__x86_64__)
#include "backend/cpu/ahead.h"
#include "backend/cpu/unroll.h"
#include "base/cpu.h"
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define AVX2_PART AVX2 __attribute__((always_inline)) static inline

AVX2_PART __m256i load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
AVX2_PART __m128i load_half(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
AVX2_PART __m128i load_8(const void *p) { return _mm_loadl_epi64((const __m128i *)p); }

/* ---- activations ---- */

AVX2_PART __m256i magnitude(__m256 x) { return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff)); }

AVX2 static void round_avx2(const float *x, int64_t n_chunk, wk_act *a) {
    const __m256 magic = _mm256_set1_ps(12582912.0f);  /* as in linear_c.c */
    for (; n_chunk > 0; n_chunk--, a++, x += WK_CHUNK) {
        __m256 v[4];
        __m256i q[4];
        UNROLL for (int i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
        __m256i m = _mm256_max_epu32(_mm256_max_epu32(magnitude(v[0]), magnitude(v[1])),
                                     _mm256_max_epu32(magnitude(v[2]), magnitude(v[3])));
        __m128i h = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
        h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0x4e));
        h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0xb1));
        float most = _mm_cvtss_f32(_mm_castsi128_ps(h));
        bool tiny = most < 1e-36f;
        __m256 inverse = _mm256_set1_ps(tiny ? 0 : 127 / most);
        UNROLL for (int i = 0; i < 4; i++)  /* the low byte, its sign extended */
            q[i] = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_castps_si256(_mm256_add_ps(_mm256_mul_ps(v[i], inverse), magic)), 24),
                                     24);
        __m256i low = _mm256_add_epi32(q[0], q[1]), all = _mm256_add_epi32(low, _mm256_add_epi32(q[2], q[3]));
        __m256i sums = _mm256_hadd_epi32(low, all);  /* low low all all, twice */
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        s = _mm_hadd_epi32(s, s);
        int32_t sum_low = _mm_cvtsi128_si32(s), sum = _mm_extract_epi32(s, 1);
        __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *)(void *)a->q, bytes);
        a->d = tiny ? 0 : most / 127;
        a->sum = a->d * (float)sum;
        a->seed = -128 * sum;
        a->seed_low = -128 * sum_low;
        a->sum_low = a->d * (float)sum_low;
    }
}

/* ---- expanding ---- */

/* 8 scales or minima of 16, half h; i counts the plane's groups of 16 rows. */
AVX2_PART __m256 load_scales(wk_scale kind, const uint8_t *plane, int64_t i, int h) {
    switch (kind) {
    case WK_SCALE_F16:
        return _mm256_cvtph_ps(load_half(plane + 32 * i + 16 * h));
    case WK_SCALE_BF16:
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_half(plane + 32 * i + 16 * h)), 16));
    case WK_SCALE_E8M0: {
        __m256i e = _mm256_cvtepu8_epi32(load_8(plane + 16 * i + 8 * h)),
                normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
        __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
        return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
    }
    default:
        return _mm256_loadu_ps((const float *)(const void *)(plane + 64 * i + 32 * h));
    }
}
/* Scales of group g, less the integers where they go into sums; minima; super: the number of the super scales above. */
AVX2_PART __m256 scales_of(const wk_packed *w, const wk_layout l, int64_t g, int64_t super, int h) {
    if (!wk_has_super(&l)) return load_scales(l.scale, w->scale, g, h);
    __m256 d = load_scales(WK_SCALE_F16, w->super, super, h);
    if (wk_scales_codes(&l)) return d;
    return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8(w->scale + 16 * g + 8 * h))));
}
AVX2_PART __m256 minima_of(const wk_packed *w, const wk_layout l, int64_t g, int64_t super, int h) {
    if (l.zero == WK_ZERO_U8) {
        __m256i less = _mm256_sub_epi32(_mm256_set1_epi32(128), _mm256_cvtepu8_epi32(load_8(w->zero + 16 * g + 8 * h)));
        return _mm256_mul_ps(load_scales(l.scale, w->scale, g, h), _mm256_cvtepi32_ps(less));
    }
    if (!wk_has_super(&l)) return load_scales(l.scale, w->zero, g, h);
    const bool nibble = l.scale == WK_SCALE_NIBBLE;
    __m256i m = _mm256_cvtepu8_epi32(load_8((nibble ? w->scale : w->zero) + 16 * g + 8 * h));
    if (nibble) m = _mm256_srli_epi32(m, 4);
    return _mm256_xor_ps(_mm256_mul_ps(load_scales(WK_SCALE_F16, w->super_min, super, h), _mm256_cvtepi32_ps(m)),
                         _mm256_set1_ps(-0.0f));
}

/* The integers of 256 inputs' groups as bytes: where scales have 6 bits, once for all. */
typedef struct integers { _Alignas(32) int8_t of[16][16]; } integers;
AVX2_PART void load_integers(const wk_packed *w, const wk_layout l, int64_t super, integers *t) {
    if (l.scale != WK_SCALE_SIX) return;
    const uint8_t *six = w->scale + super * 16 * WK_SIX_BYTES;
    const __m256i nibble = _mm256_set1_epi8(15), pair = _mm256_set1_epi8(0x30), middle = _mm256_set1_epi8(32);
    UNROLL for (int h = 0; h < 2; h++) {  /* groups 4 k + 2 h and the next */
        __m256i a = load(six + 32 * h), b = load(six + 64 + 32 * h), high = load(six + 128 + 32 * h), v[4];
        v[0] = _mm256_or_si256(_mm256_and_si256(a, nibble), _mm256_and_si256(_mm256_slli_epi16(high, 4), pair));
        v[1] = _mm256_or_si256(_mm256_and_si256(b, nibble), _mm256_and_si256(_mm256_slli_epi16(high, 2), pair));
        v[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 4), nibble), _mm256_and_si256(high, pair));
        v[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(b, 4), nibble),
                               _mm256_and_si256(_mm256_srli_epi16(high, 2), pair));
        UNROLL for (int k = 0; k < 4; k++)
            _mm256_store_si256((__m256i *)(void *)t->of[4 * k + 2 * h], _mm256_sub_epi8(v[k], middle));
    }
}
/* Half h of those of chunk c (of all), of the first or second group of it, whose number is g: each twice, as 16 bits. */
AVX2_PART __m256i integers_of(const wk_packed *w, const wk_layout l, const integers *t, int64_t c, int64_t g, int second, int h) {
    __m256i s;
    if (l.scale == WK_SCALE_SIX) s = _mm256_cvtepi8_epi32(load_8(t->of[c % (WK_SUPER / WK_CHUNK) * 2 + second] + 8 * h));
    else s = _mm256_and_si256(_mm256_cvtepu8_epi32(load_8(w->scale + 16 * (g + second) + 8 * h)), _mm256_set1_epi32(15));
    return _mm256_blend_epi16(s, _mm256_slli_epi32(s, 16), 0xaa);
}

/* May a layout's codes stay as they are, 0..15? Their zero is then taken off the sum. */
AVX2_PART bool has_nibbles(const wk_layout l) { return l.bits == 4 && !l.map && l.zero != WK_ZERO_U8; }
/* The same before they are multiplied with integers. */
AVX2_PART bool stays_raw(const wk_layout l) { return has_nibbles(l) || wk_scales_codes(&l); }
AVX2_PART int code_offset(const wk_layout l) { return stays_raw(l) && l.zero == WK_ZERO_MID ? 1 << (l.bits - 1) : 0; }

/* Rows 8 h .. 8 h + 7 of a chunk's eight vectors, signed or raw. i: the chunk's number, g: its group's. */
AVX2_PART void load_codes(const wk_packed *w, const wk_layout l, int64_t i, int64_t g, int h, __m256i v[8]) {
    const __m256i nibble = _mm256_set1_epi8(15), top = _mm256_set1_epi8(0x30);
    if (l.bits == 8) {
        UNROLL for (int s = 0; s < 8; s++) v[s] = load(w->code + i * 512 + 64 * s + 32 * h);
    } else if (l.bits < 4) {
        const __m256i pair = _mm256_set1_epi8(3);
        UNROLL for (int k = 0; k < 2; k++) {
            __m256i b = load(w->code + i * 128 + 64 * k + 32 * h);
            v[k] = _mm256_and_si256(b, pair);
            v[k + 2] = _mm256_and_si256(_mm256_srli_epi16(b, 2), pair);
            v[k + 4] = _mm256_and_si256(_mm256_srli_epi16(b, 4), pair);
            v[k + 6] = _mm256_and_si256(_mm256_srli_epi16(b, 6), pair);
        }
    } else {
        UNROLL for (int s = 0; s < 4; s++) {
            __m256i b = load(w->code + i * 256 + 64 * s + 32 * h);
            v[s] = _mm256_and_si256(b, nibble);
            v[s + 4] = _mm256_and_si256(_mm256_srli_epi16(b, 4), nibble);
        }
    }
    if (l.bits == 6) {
        UNROLL for (int k = 0; k < 2; k++) {
            __m256i b = load(w->high + i * 128 + 64 * k + 32 * h);
            v[k] = _mm256_or_si256(v[k], _mm256_and_si256(_mm256_slli_epi16(b, 4), top));
            v[k + 2] = _mm256_or_si256(v[k + 2], _mm256_and_si256(_mm256_slli_epi16(b, 2), top));
            v[k + 4] = _mm256_or_si256(v[k + 4], _mm256_and_si256(b, top));
            v[k + 6] = _mm256_or_si256(v[k + 6], _mm256_and_si256(_mm256_srli_epi16(b, 2), top));
        }
    }
    if (l.bits == 3 || l.bits == 5) {
        const __m256i one = _mm256_set1_epi8((char)(1 << (l.bits - 1)));
        __m256i b = load(w->high + i * 64 + 32 * h);
        UNROLL for (int s = 0; s < 8; s++) {
            __m256i bit = _mm256_set1_epi8((char)(1 << s));
            v[s] = _mm256_or_si256(v[s], _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(b, bit), bit), one));
        }
    }
    if (l.map) {
        __m256i map = _mm256_broadcastsi128_si256(load_half(l.map));
        UNROLL for (int s = 0; s < 8; s++) v[s] = _mm256_shuffle_epi8(map, v[s]);
    } else if (!stays_raw(l) && (l.zero == WK_ZERO_MID || l.zero == WK_ZERO_U8)) {
        __m256i zero = _mm256_set1_epi8((char)(1 << (l.bits - 1)));
        if (!wk_has_middle(&l))
            zero = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(load_8(w->zero + g * 16 + 8 * h)), _mm256_set1_epi32(0x01010101));
        UNROLL for (int s = 0; s < 8; s++) v[s] = _mm256_sub_epi8(v[s], zero);
    }
}

/* The number of the group that holds a chunk's first input. */
AVX2_PART int64_t group_of(const wk_packed *w, const wk_layout l, int64_t block, int64_t chunk) {
    return block * w->n_group + (l.group <= WK_CHUNK ? chunk * (WK_CHUNK / l.group) : chunk / (l.group / WK_CHUNK));
}

/* Raw codes less their zero, times minus their integers: the low bytes of products of 16 bits. */
AVX2_PART void scale_codes(const wk_layout l, const __m256i integer[2], __m256i v[8]) {
    const __m256i even = _mm256_set1_epi16(255);
    UNROLL for (int g = 0; g < 2; g++) {
        __m256i base = _mm256_and_si256(_mm256_mullo_epi16(integer[g], _mm256_set1_epi16((short)code_offset(l))), even);
        base = _mm256_or_si256(base, _mm256_slli_epi16(base, 8));
        UNROLL for (int k = 4 * g; k < 4 * g + 4; k++) {
            __m256i low = _mm256_mullo_epi16(v[k], integer[g]),
                    high = _mm256_mullo_epi16(_mm256_andnot_si256(even, v[k]), integer[g]);
            v[k] = _mm256_sub_epi8(base, _mm256_or_si256(_mm256_and_si256(low, even), high));
        }
    }
}

/* What four vectors of codes, half a chunk's, are below zero, by outputs. */
AVX2_PART __m256i sum_below(const __m256i v[4]) {
    __m256i s = _mm256_setzero_si256();
    UNROLL for (int k = 0; k < 4; k++) {
        __m256i below = _mm256_and_si256(_mm256_abs_epi8(v[k]), _mm256_cmpgt_epi8(_mm256_setzero_si256(), v[k]));
        s = _mm256_add_epi16(s, _mm256_maddubs_epi16(below, _mm256_set1_epi8(1)));
    }
    return _mm256_madd_epi16(s, _mm256_set1_epi16(1));
}

AVX2 static void expand_avx2(const wk_packed *w, int64_t block, int64_t chunk, int n, wk_panel *p) {
    const wk_layout l = w->l;
    integers t;
    p->nibbles = has_nibbles(l);
    p->offset = p->nibbles ? code_offset(l) : 0;
    for (int c = 0; c < n; c++) {
        int64_t k = chunk + c, g = group_of(w, l, block, k), super = block * w->n_super + k / (WK_SUPER / WK_CHUNK);
        if (wk_scales_codes(&l) && (c == 0 || k % (WK_SUPER / WK_CHUNK) == 0)) load_integers(w, l, super, &t);
        for (int h = 0; h < 2; h++) {
            __m256i v[8];
            __m256 scale = scales_of(w, l, g, super, h);
            load_codes(w, l, block * w->n_chunk + k, g, h, v);
            if (wk_scales_codes(&l)) {
                scale_codes(l, (__m256i[]){ integers_of(w, l, &t, k, g, 0, h), integers_of(w, l, &t, k, g, 1, h) }, v);
                scale = _mm256_xor_ps(scale, _mm256_set1_ps(-0.0f));
            }
            UNROLL for (int s = 0; s < 8; s++) _mm256_storeu_si256((__m256i *)(void *)(p->code[c] + 64 * s + 32 * h), v[s]);
            for (int half = 0; half < 2 && !p->nibbles; half++)
                _mm256_storeu_si256((__m256i *)(void *)(p->below[c][half] + 8 * h), sum_below(v + 4 * half));
            _mm256_storeu_ps(p->scale[c][0] + 8 * h, scale);
            if (wk_has_halves(&l)) _mm256_storeu_ps(p->scale[c][1] + 8 * h, scales_of(w, l, g + 1, super, h));
            if (!wk_has_min(&l)) continue;
            __m256 min = minima_of(w, l, g, super, h), second = wk_has_min_low(&l) ? minima_of(w, l, g + 1, super, h) : min;
            _mm256_storeu_ps(p->min[c] + 8 * h, second);
            if (wk_has_min_low(&l)) _mm256_storeu_ps(p->min_low[c] + 8 * h, _mm256_sub_ps(min, second));
        }
    }
}

/* ---- products of codes ---- */

AVX2_PART __m256i broadcast_4(const int8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

/* Lanes of the vector half h that hold outputs. */
AVX2_PART __m256i mask_of(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
AVX2_PART void load_y(const wk_tile *t, int b, int64_t r, __m256 y[2]) {
    UNROLL for (int h = 0; h < 2; h++)
        y[h] = t->first ? _mm256_setzero_ps()
                        : _mm256_maskload_ps(t->y + r * t->ldy + 16 * b + 8 * h, mask_of(t->n_col - 16 * b - 8 * h));
}
AVX2_PART void store_y(const wk_tile *t, int b, int64_t r, const __m256 y[2]) {
    UNROLL for (int h = 0; h < 2; h++) {
        __m256i m = mask_of(t->n_col - 16 * b - 8 * h);
        int64_t o = 16 * b + 8 * h;
        _mm256_maskstore_ps(t->y + r * t->ldy + o, m, t->bias ? _mm256_add_ps(y[h], _mm256_maskload_ps(t->bias + o, m)) : y[h]);
    }
}

/* Keeps sums in order: the compiler would rather add products in pairs, and hold all of a chunk's at once, which is in memory. */
AVX2_PART __m256i in_order(__m256i sum) {
    __asm__("" : "+x"(sum));
    return sum;
}

/* Codes 0..15, block b, NT rows from r on: a chunk's products are added up in int16. */
AVX2_PART void tile_nibbles(const wk_tile *t, int b, int64_t r, const int NT, const bool min) {
    const wk_panel *p = t->panel[b];
    const int offset = p->offset;
    __m256 y[3][2];
    UNROLL for (int i = 0; i < NT; i++) load_y(t, b, r + i, y[i]);
    for (int c = 0; c < t->n_k; c++) {
        __m256i s[3][2];
        wk_ahead_codes(t, r, c, NT, 16 * b, 1);
        UNROLL for (int i = 0; i < NT; i++) s[i][0] = s[i][1] = _mm256_setzero_si256();
        UNROLL for (int k = 0; k < 8; k++) {
            __m256i w0 = load(p->code[c] + 64 * k), w1 = load(p->code[c] + 64 * k + 32);
            UNROLL for (int i = 0; i < NT; i++) {
                __m256i q = broadcast_4(t->act[(r + i) * t->act_ld + c].q + 4 * k);
                s[i][0] = in_order(_mm256_add_epi16(s[i][0], _mm256_maddubs_epi16(w0, q)));
                s[i][1] = in_order(_mm256_add_epi16(s[i][1], _mm256_maddubs_epi16(w1, q)));
            }
        }
        UNROLL for (int i = 0; i < NT; i++) {
            const wk_act *a = &t->act[(r + i) * t->act_ld + c];
            __m256i seed = _mm256_set1_epi32((a->seed >> 7) * offset);
            UNROLL for (int h = 0; h < 2; h++) {
                __m256i sum = _mm256_add_epi32(seed, _mm256_madd_epi16(s[i][h], _mm256_set1_epi16(1)));
                __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(p->scale[c][0] + 8 * h));
                y[i][h] = _mm256_fmadd_ps(v, _mm256_set1_ps(a->d), y[i][h]);
                if (min) y[i][h] = _mm256_fmadd_ps(_mm256_loadu_ps(p->min[c] + 8 * h), _mm256_set1_ps(a->sum), y[i][h]);
            }
        }
    }
    UNROLL for (int i = 0; i < NT; i++) store_y(t, b, r + i, y[i]);
}

/* Adds products of signed codes to s, which begins as the codes' `below`: a code below zero meets -1 - a instead of -a, which is
 * one operation on any port, and its size is missing in the product. */
AVX2_PART __m256i add_sized(__m256i s, __m256i size, __m256i sign, __m256i a) {
    __m256i pairs = _mm256_maddubs_epi16(size, _mm256_xor_si256(a, sign));
    return in_order(_mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
/* The same, to sums that begin as zero: for one row. */
AVX2_PART __m256i add_signed(__m256i s, __m256i w, __m256i a) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
    return in_order(_mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
}
/* Sums of half a chunk's products with signed codes. */
AVX2_PART void add_products(const wk_panel *p, int c, int half, const wk_act *const a[4], const int NT, __m256i s[4][2]) {
    UNROLL for (int j = 4 * half; j < 4 * half + 4; j++)
        UNROLL for (int h = 0; h < 2; h++) {
        __m256i w = load(p->code[c] + 64 * j + 32 * h), size = _mm256_abs_epi8(w);
        __m256i sign = _mm256_cmpgt_epi8(_mm256_setzero_si256(), w);
        UNROLL for (int i = 0; i < NT; i++) s[i][h] = add_sized(s[i][h], size, sign, broadcast_4(a[i]->q + 4 * j));
    }
}
/* What sums of a chunk's half begin as; half 2: of all of it. */
AVX2_PART void begin_sums(const wk_panel *p, int c, int half, const int NT, __m256i s[4][2]) {
    UNROLL for (int h = 0; h < 2; h++) {
        __m256i v = load(p->below[c][half % 2] + 8 * h);
        if (half == 2) v = _mm256_add_epi32(v, load(p->below[c][1] + 8 * h));
        UNROLL for (int i = 0; i < NT; i++) s[i][h] = v;
    }
}

/* Signed codes, block b, NT rows from r on. */
AVX2_PART void tile_signed(const wk_tile *t, int b, int64_t r, const int NT, const bool halves, const bool min,
                           const bool min_low) {
    const wk_panel *p = t->panel[b];
    __m256 y[4][2];
    UNROLL for (int i = 0; i < NT; i++) load_y(t, b, r + i, y[i]);
    for (int c = 0; c < t->n_k; c++) {
        const wk_act *a[4];
        __m256i s[4][2];
        __m256 v[4][2];
        wk_ahead_codes(t, r, c, NT, 16 * b, 1);
        UNROLL for (int i = 0; i < NT; i++) a[i] = &t->act[(r + i) * t->act_ld + c];
        begin_sums(p, c, halves ? 0 : 2, NT, s);
        add_products(p, c, 0, a, NT, s);
        if (halves) {
            UNROLL for (int i = 0; i < NT; i++)
                UNROLL for (int h = 0; h < 2; h++)
                v[i][h] = _mm256_mul_ps(_mm256_cvtepi32_ps(s[i][h]), _mm256_loadu_ps(p->scale[c][0] + 8 * h));
            begin_sums(p, c, 1, NT, s);
        }
        add_products(p, c, 1, a, NT, s);
        UNROLL for (int i = 0; i < NT; i++)
            UNROLL for (int h = 0; h < 2; h++) {
            __m256 f = _mm256_cvtepi32_ps(s[i][h]);
            if (halves) v[i][h] = _mm256_fmadd_ps(f, _mm256_loadu_ps(p->scale[c][1] + 8 * h), v[i][h]);
            else v[i][h] = _mm256_mul_ps(f, _mm256_loadu_ps(p->scale[c][0] + 8 * h));
            y[i][h] = _mm256_fmadd_ps(v[i][h], _mm256_set1_ps(a[i]->d), y[i][h]);
            if (min) y[i][h] = _mm256_fmadd_ps(_mm256_loadu_ps(p->min[c] + 8 * h), _mm256_set1_ps(a[i]->sum), y[i][h]);
            if (min_low)
                y[i][h] = _mm256_fmadd_ps(_mm256_loadu_ps(p->min_low[c] + 8 * h), _mm256_set1_ps(a[i]->sum_low), y[i][h]);
        }
    }
    UNROLL for (int i = 0; i < NT; i++) store_y(t, b, r + i, y[i]);
}

AVX2 static void rows_nibbles(const wk_tile *t, int b) {
    int64_t r = 0;
    for (; t->n_row - r >= 3; r += 3) tile_nibbles(t, b, r, 3, false);
    for (; r < t->n_row; r++) tile_nibbles(t, b, r, 1, false);
}
AVX2 static void rows_nibbles_min(const wk_tile *t, int b) {
    int64_t r = 0;
    for (; t->n_row - r >= 3; r += 3) tile_nibbles(t, b, r, 3, true);
    for (; r < t->n_row; r++) tile_nibbles(t, b, r, 1, true);
}
AVX2 static void rows_signed(const wk_tile *t, int b) {
    int64_t r = 0;
    for (; t->n_row - r >= 4; r += 4) tile_signed(t, b, r, 4, false, false, false);
    for (; r < t->n_row; r++) tile_signed(t, b, r, 1, false, false, false);
}
AVX2 static void rows_signed_min(const wk_tile *t, int b) {
    int64_t r = 0;
    for (; t->n_row - r >= 4; r += 4) tile_signed(t, b, r, 4, false, true, false);
    for (; r < t->n_row; r++) tile_signed(t, b, r, 1, false, true, false);
}
AVX2 static void rows_signed_minima(const wk_tile *t, int b) {
    int64_t r = 0;
    for (; t->n_row - r >= 4; r += 4) tile_signed(t, b, r, 4, false, true, true);
    for (; r < t->n_row; r++) tile_signed(t, b, r, 1, false, true, true);
}
AVX2 static void rows_halves(const wk_tile *t, int b) {
    int64_t r = 0;
    for (; t->n_row - r >= 4; r += 4) tile_signed(t, b, r, 4, true, false, false);
    for (; r < t->n_row; r++) tile_signed(t, b, r, 1, true, false, false);
}

AVX2 static void mul_avx2(const wk_tile *t) {
    bool nibbles = t->panel[0]->nibbles;
    void (*rows)(const wk_tile *, int) = nibbles     ? t->min ? rows_nibbles_min : rows_nibbles
                                         : t->halves ? rows_halves
                                         : t->min_low ? rows_signed_minima
                                         : t->min    ? rows_signed_min
                                                     : rows_signed;
    rows(t, 0);
    if (t->panel[1]) rows(t, 1);
}

/* ---- few rows, one by one: codes go from memory to the product without a panel ---- */

enum { AHEAD = 4096 };  /* bytes that are fetched before they are needed */

/* Half a chunk's (8 outputs') products with one row, times their scales. The chunk is a block's c. */
AVX2_PART __m256 half_chunk(const wk_packed *w, const wk_layout l, const integers *t, const wk_act *a, int64_t i, int64_t c,
                            int64_t g, int64_t super, int h) {
    __m256i v[8], low = _mm256_setzero_si256(), high = low;
    load_codes(w, l, i, g, h, v);
    if (wk_scales_codes(&l)) {  /* sums of 16 bits, of which every other takes the zero off */
        const int zero = code_offset(l), all = (a->seed >> 7) * zero, first = (a->seed_low >> 7) * zero;
        low = _mm256_set1_epi32(first & 0xffff);
        high = _mm256_set1_epi32((all - first) & 0xffff);
        UNROLL for (int s = 0; s < 4; s++) {
            low = _mm256_add_epi16(low, _mm256_maddubs_epi16(v[s], broadcast_4(a->q + 4 * s)));
            high = _mm256_add_epi16(high, _mm256_maddubs_epi16(v[s + 4], broadcast_4(a->q + 16 + 4 * s)));
        }
        low = _mm256_madd_epi16(low, integers_of(w, l, t, c, g, 0, h));
        high = _mm256_madd_epi16(high, integers_of(w, l, t, c, g, 1, h));
    } else {
        UNROLL for (int s = 0; s < 4; s++) {
            low = add_signed(low, v[s], broadcast_4(a->q + 4 * s));
            high = add_signed(high, v[s + 4], broadcast_4(a->q + 16 + 4 * s));
        }
    }
    if (!wk_has_halves(&l)) return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(low, high)), scales_of(w, l, g, super, h));
    __m256 f = _mm256_mul_ps(_mm256_cvtepi32_ps(low), scales_of(w, l, g, super, h));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), scales_of(w, l, g + 1, super, h), f);
}

/* Both halves where codes stay nibbles: each is multiplied as soon as it is loaded, as a chunk's eight vectors and activations at
 * once would push sums onto the stack. */
AVX2_PART void chunk_nibbles(const wk_packed *w, const wk_layout l, const wk_act *a, int64_t i, int64_t g, int64_t super,
                             __m256 f[2]) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i seed = _mm256_mullo_epi32(_mm256_srai_epi32(_mm256_set1_epi32(a->seed), 7), _mm256_set1_epi32(code_offset(l)));
    __m256i sum[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
    UNROLL for (int s = 0; s < 4; s++)
        UNROLL for (int h = 0; h < 2; h++) {
        __m256i b = load(w->code + i * 256 + 64 * s + 32 * h), low = _mm256_and_si256(b, nibble),
                high = _mm256_and_si256(_mm256_srli_epi16(b, 4), nibble);
        sum[h] = in_order(_mm256_add_epi16(sum[h], _mm256_maddubs_epi16(low, broadcast_4(a->q + 4 * s))));
        sum[h] = in_order(_mm256_add_epi16(sum[h], _mm256_maddubs_epi16(high, broadcast_4(a->q + 16 + 4 * s))));
    }
    UNROLL for (int h = 0; h < 2; h++) {
        __m256i n = _mm256_add_epi32(_mm256_madd_epi16(sum[h], _mm256_set1_epi16(1)), seed);
        f[h] = _mm256_mul_ps(_mm256_cvtepi32_ps(n), scales_of(w, l, g, super, h));
    }
}

/* A block's products with one row; the layout is a constant for the common ones. */
AVX2_PART void block_row(const wk_packed *w, const wk_layout l, const wk_act *a, int64_t block, __m256 y[2]) {
    integers t;
    y[0] = y[1] = _mm256_setzero_ps();
    for (int64_t c = 0; c < w->n_chunk; c++) {
        int64_t i = block * w->n_chunk + c, g = group_of(w, l, block, c), super = block * w->n_super + c / (WK_SUPER / WK_CHUNK);
        const uint8_t *ahead = w->code + i * wk_code_bytes(&l) + AHEAD;
        UNROLL for (int s = 0; s < 128; s += 64) _mm_prefetch((const char *)ahead + s, _MM_HINT_T0);
        if (l.bits > 3) UNROLL for (int s = 128; s < 256; s += 64) _mm_prefetch((const char *)ahead + s, _MM_HINT_T0);
        if (l.bits == 8) UNROLL for (int s = 256; s < 512; s += 64) _mm_prefetch((const char *)ahead + s, _MM_HINT_T0);
        if (wk_scales_codes(&l) && c % (WK_SUPER / WK_CHUNK) == 0) load_integers(w, l, super, &t);
        __m256 f[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
        if (has_nibbles(l)) chunk_nibbles(w, l, &a[c], i, g, super, f);
        UNROLL for (int h = 0; h < 2; h++) {
            __m256 v = has_nibbles(l) ? f[h] : half_chunk(w, l, &t, &a[c], i, c, g, super, h);
            y[h] = _mm256_fmadd_ps(v, _mm256_set1_ps(a[c].d), y[h]);
            if (!wk_has_min(&l)) continue;
            __m256 min = minima_of(w, l, g, super, h), second = wk_has_min_low(&l) ? minima_of(w, l, g + 1, super, h) : min;
            y[h] = _mm256_fmadd_ps(second, _mm256_set1_ps(a[c].sum), y[h]);
            if (wk_has_min_low(&l)) y[h] = _mm256_fmadd_ps(_mm256_sub_ps(min, second), _mm256_set1_ps(a[c].sum_low), y[h]);
        }
    }
}

typedef void row_fn(const wk_packed *w, const void *act, int64_t row, int64_t block, const wk_tile *t);
#define ROW_OF_CODES(name, layout) \
    AVX2 static void name(const wk_packed *w, const void *act, int64_t row, int64_t block, const wk_tile *t) { \
        __m256 y[2]; \
        block_row(w, layout, (const wk_act *)act + row * w->n_chunk, block, y); \
        store_y(t, 0, row, y); \
    }
ROW_OF_CODES(row_q4_0, WK_LAYOUT_Q4_0)
ROW_OF_CODES(row_q4_1, WK_LAYOUT_Q4_1)
ROW_OF_CODES(row_q5_0, WK_LAYOUT_Q5_0)
ROW_OF_CODES(row_q5_1, WK_LAYOUT_Q5_1)
ROW_OF_CODES(row_q8_0, WK_LAYOUT_Q8_0)
ROW_OF_CODES(row_q2_k, WK_LAYOUT_Q2_K)
ROW_OF_CODES(row_q3_k, WK_LAYOUT_Q3_K)
ROW_OF_CODES(row_q4_k, WK_LAYOUT_Q4_K)
ROW_OF_CODES(row_q5_k, WK_LAYOUT_Q5_K)
ROW_OF_CODES(row_q6_k, WK_LAYOUT_Q6_K)
ROW_OF_CODES(row_codes, w->l)

/* Half h of input i of a block's rows, i counted over the plane. Of a pair of bfloat16 it is one half of each word. */
AVX2_PART __m256 load_float(const wk_packed *w, int64_t i, int h) {
    const uint8_t *p = w->code + i * (w->l.bits * 2) + w->l.bits * h;
    if (w->l.bits == 32) return _mm256_loadu_ps((const float *)(const void *)p);
    if (!w->l.bf16) return load_scales(WK_SCALE_F16, p, 0, 0);
    __m256i pair = _mm256_loadu_si256((const __m256i *)(const void *)(w->code + 64 * (i / 2) + 32 * h));
    return _mm256_castsi256_ps(i % 2 ? _mm256_and_si256(pair, _mm256_set1_epi32(-0x10000)) : _mm256_slli_epi32(pair, 16));
}
AVX2 static void row_floats(const wk_packed *w, const void *act, int64_t row, int64_t block, const wk_tile *t) {
    const float *x = (const float *)act + row * wk_numbers_ld(w->n_in, sizeof(float));
    __m256 y[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    for (int64_t k = 0; k < w->n_in; k++) UNROLL
    for (int h = 0; h < 2; h++) y[h] = _mm256_fmadd_ps(load_float(w, block * w->n_held + k, h), _mm256_set1_ps(x[k]), y[h]);
    store_y(t, 0, row, y);
}

AVX2 static void few_avx2(const wk_packed *w, const void *act, int64_t n_row, int64_t block, int64_t n_block, float *y, int64_t ldy,
                          int n_col, const float *bias) {
    static row_fn *const rows[WK_N_LIKE] = {
        [WK_LIKE_CODES] = row_codes, [WK_LIKE_Q4_0] = row_q4_0, [WK_LIKE_Q4_1] = row_q4_1, [WK_LIKE_Q5_0] = row_q5_0,
        [WK_LIKE_Q5_1] = row_q5_1, [WK_LIKE_Q8_0] = row_q8_0, [WK_LIKE_Q2_K] = row_q2_k, [WK_LIKE_Q3_K] = row_q3_k,
        [WK_LIKE_Q4_K] = row_q4_k, [WK_LIKE_Q5_K] = row_q5_k, [WK_LIKE_Q6_K] = row_q6_k, [WK_LIKE_FLOATS] = row_floats,
    };
    for (int64_t b = 0; b < n_block; b++) {
        wk_tile t = { .y = y + 16 * b, .ldy = ldy, .n_col = n_col - 16 * (int)b, .bias = bias ? bias + 16 * b : NULL };
        for (int64_t r = 0; r < n_row; r++) rows[w->like](w, act, r, block + b, &t);
    }
}

/* ---- products of floats ---- */

AVX2 static void widen_avx2(const wk_packed *w, int64_t block, int64_t k, int n, float *out) {
    for (int i = 0; i < 2 * n; i++) _mm256_storeu_ps(out + 8 * i, load_float(w, block * w->n_held + k + i / 2, i % 2));
}

AVX2_PART void tile_floats(const wk_tile *t, int b, int64_t r, const int NT) {
    const float *x = t->x + r * t->act_ld, *w = t->weight[b];
    __m256 y[6][2];
    UNROLL for (int i = 0; i < NT; i++) load_y(t, b, r + i, y[i]);
    for (int k = 0; k < t->n_k; k++) {
        __m256 w0 = _mm256_loadu_ps(w + 16 * k), w1 = _mm256_loadu_ps(w + 16 * k + 8);
        UNROLL for (int i = 0; i < NT; i++) {
            __m256 v = _mm256_set1_ps(x[i * t->act_ld + k]);
            y[i][0] = _mm256_fmadd_ps(w0, v, y[i][0]);
            y[i][1] = _mm256_fmadd_ps(w1, v, y[i][1]);
        }
    }
    UNROLL for (int i = 0; i < NT; i++) store_y(t, b, r + i, y[i]);
}
AVX2 static void mul_float_avx2(const wk_tile *t) {
    for (int b = 0; b < (t->weight[1] ? 2 : 1); b++) {
        int64_t r = 0;
        for (; t->n_row - r >= 6; r += 6) tile_floats(t, b, r, 6);
        for (; t->n_row - r >= 2; r += 2) tile_floats(t, b, r, 2);
        for (; r < t->n_row; r++) tile_floats(t, b, r, 1);
    }
}

/* ---- 8-bit floats, gradients ---- */

#define WK_SIMD_AVX2
#include "backend/cpu/simd.h"
#include "backend/cpu/widen_body.h"
#include "backend/cpu/grad_body.h"
WK_SIMD_END

const wk_linear_set wk_linear_avx2 = {
    .need = WK_CPU_AVX2, .name = "avx2", .round = round_avx2, .expand = expand_avx2, .mul = mul_avx2, .widen = widen_avx2,
    .widen_f8 = widen_f8, .mul_float = mul_float_avx2, .few = few_avx2,
    .grad = grad_rows, .grad_thin = grad_thin, .turn_bytes = turn_bytes, .turn_floats = turn_floats,
};
#endif
