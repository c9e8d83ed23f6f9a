/* linear_avx2.c: the kernels for AVX2 with FMA and F16C; empty elsewhere.
 * maddubs adds two products of unsigned and signed bytes to an int16 that saturates. Codes of 4 bits (0..15) are safe: all 16
 * such products of a lane's share of a chunk come to 16 * 15 * 127 = 30480. Other codes c are taken as |c| times the activation
 * with c's sign: 2 * 128 * 127 = 32512 at most, exact for -128 too, since activations are within +-127.
 * Load: see linear.c. A tile is 16 outputs x 3 rows (floats: 6). */
#include "backend/cpu/linear.h"
#if defined(__x86_64__)
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
        __m256i m = _mm256_max_epu32(_mm256_max_epu32(magnitude(v[0]), magnitude(v[1])), _mm256_max_epu32(magnitude(v[2]), magnitude(v[3])));
        __m128i h = _mm_max_epu32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
        h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0x4e));
        h = _mm_max_epu32(h, _mm_shuffle_epi32(h, 0xb1));
        float most = _mm_cvtss_f32(_mm_castsi128_ps(h));
        bool tiny = most < 1e-36f;
        __m256 inverse = _mm256_set1_ps(tiny ? 0 : 127 / most);
        UNROLL for (int i = 0; i < 4; i++)  /* the low byte, its sign extended */
            q[i] = _mm256_srai_epi32(_mm256_slli_epi32(_mm256_castps_si256(_mm256_add_ps(_mm256_mul_ps(v[i], inverse), magic)), 24), 24);
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
    }
}

/* ---- expanding ---- */

AVX2_PART void store_16(float out[16], __m256 a, __m256 b) {
    _mm256_storeu_ps(out, a);
    _mm256_storeu_ps(out + 8, b);
}
AVX2_PART __m256 bf16_to_f32(__m128i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)); }
AVX2_PART __m256 e8m0_to_f32(__m128i v) {
    __m256i e = _mm256_cvtepu8_epi32(v), normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

/* 16 scales or minima; i counts the plane's groups of 16 rows. */
AVX2_PART void load_scales(wk_scale kind, const uint8_t *plane, int64_t i, float out[16]) {
    switch (kind) {
    case WK_SCALE_F16:
        store_16(out, _mm256_cvtph_ps(load_half(plane + 32 * i)), _mm256_cvtph_ps(load_half(plane + 32 * i + 16)));
        break;
    case WK_SCALE_BF16:
        store_16(out, bf16_to_f32(load_half(plane + 32 * i)), bf16_to_f32(load_half(plane + 32 * i + 16)));
        break;
    case WK_SCALE_E8M0:
        store_16(out, e8m0_to_f32(load_8(plane + 16 * i)), e8m0_to_f32(load_8(plane + 16 * i + 8)));
        break;
    default:
        memcpy(out, plane + 64 * i, 64);
    }
}
/* The same for a super layout: an int8 under a float16; or a uint8, negated. */
AVX2_PART void load_super(bool min, const uint8_t *plane, int64_t i, const uint8_t *super, int64_t s, float out[16]) {
    UNROLL for (int h = 0; h < 2; h++) {
        __m128i b = load_8(plane + 16 * i + 8 * h);
        __m256 f = _mm256_mul_ps(_mm256_cvtph_ps(load_half(super + 32 * s + 16 * h)),
                                 _mm256_cvtepi32_ps(min ? _mm256_cvtepu8_epi32(b) : _mm256_cvtepi8_epi32(b)));
        _mm256_storeu_ps(out + 8 * h, min ? _mm256_xor_ps(f, _mm256_set1_ps(-0.0f)) : f);
    }
}
AVX2_PART void scales_of(const wk_packed *w, int64_t g, int64_t super, float out[16]) {
    if (w->l.scale == WK_SCALE_SUPER) load_super(false, w->scale, g, w->super, super, out);
    else load_scales(w->l.scale, w->scale, g, out);
}
AVX2_PART void minima_of(const wk_packed *w, int64_t g, int64_t super, float out[16]) {
    if (w->l.scale == WK_SCALE_SUPER) load_super(true, w->zero, g, w->super_min, super, out);
    else load_scales(w->l.scale, w->zero, g, out);
}

/* 32 bytes of each of a chunk's vectors, v[s] the half h of vector s: codes as the file has them. */
AVX2_PART void load_codes(const wk_packed *w, int64_t i, int h, __m256i v[8]) {
    const __m256i nibble = _mm256_set1_epi8(15), top = _mm256_set1_epi8(0x30);
    if (w->l.bits == 8) {
        UNROLL for (int s = 0; s < 8; s++) v[s] = load(w->code + i * 512 + 64 * s + 32 * h);
        return;
    }
    UNROLL for (int s = 0; s < 4; s++) {
        __m256i b = load(w->code + i * 256 + 64 * s + 32 * h);
        v[s] = _mm256_and_si256(b, nibble);
        v[s + 4] = _mm256_and_si256(_mm256_srli_epi16(b, 4), nibble);
    }
    if (w->l.bits == 6) {
        UNROLL for (int k = 0; k < 2; k++) {
            __m256i b = load(w->high + i * 128 + 64 * k + 32 * h);
            v[k] = _mm256_or_si256(v[k], _mm256_and_si256(_mm256_slli_epi16(b, 4), top));
            v[k + 2] = _mm256_or_si256(v[k + 2], _mm256_and_si256(_mm256_slli_epi16(b, 2), top));
            v[k + 4] = _mm256_or_si256(v[k + 4], _mm256_and_si256(b, top));
            v[k + 6] = _mm256_or_si256(v[k + 6], _mm256_and_si256(_mm256_srli_epi16(b, 2), top));
        }
    }
}

/* Rows 8 h .. 8 h + 7 of a chunk. */
AVX2_PART void expand_half(const wk_packed *w, int64_t i, int64_t g, int h, wk_panel *p, int c) {
    const wk_layout *l = &w->l;
    __m256i v[8];
    load_codes(w, i, h, v);
    if (l->map) {
        __m256i map = _mm256_broadcastsi128_si256(load_half(l->map));
        UNROLL for (int s = 0; s < 8; s++) v[s] = _mm256_shuffle_epi8(map, v[s]);
    } else if (!p->nibbles && l->zero != WK_ZERO_NONE && l->zero != WK_ZERO_MIN) {
        __m256i zero = _mm256_set1_epi8((char)(1 << (l->bits - 1)));
        if (l->zero == WK_ZERO_U8) zero = _mm256_mullo_epi32(_mm256_cvtepu8_epi32(load_8(w->zero + g * 16 + 8 * h)), _mm256_set1_epi32(0x01010101));
        UNROLL for (int s = 0; s < 8; s++) v[s] = _mm256_sub_epi8(v[s], zero);
    }
    UNROLL for (int s = 0; s < 8; s++) _mm256_storeu_si256((__m256i *)(void *)(p->code[c] + 64 * s + 32 * h), v[s]);
}

AVX2 static void expand_avx2(const wk_packed *w, int64_t block, int64_t chunk, int n, wk_panel *p) {
    const wk_layout *l = &w->l;
    p->nibbles = l->bits == 4 && !l->map && l->zero != WK_ZERO_U8;
    p->offset = p->nibbles && l->zero == WK_ZERO_MID ? 8 : 0;
    for (int c = 0; c < n; c++) {
        int64_t k = chunk + c, super = block * w->n_super + k / (WK_SUPER / WK_CHUNK);
        int64_t g = block * w->n_group + (l->group <= WK_CHUNK ? k * (WK_CHUNK / l->group) : k / (l->group / WK_CHUNK));
        expand_half(w, block * w->n_chunk + k, g, 0, p, c);
        expand_half(w, block * w->n_chunk + k, g, 1, p, c);
        scales_of(w, g, super, p->scale[c][0]);
        if (l->group < WK_CHUNK) scales_of(w, g + 1, super, p->scale[c][1]);
        if (l->zero == WK_ZERO_MIN) minima_of(w, g, super, p->min[c]);
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
        y[h] = t->first ? _mm256_setzero_ps() : _mm256_maskload_ps(t->y + r * t->ldy + 16 * b + 8 * h, mask_of(t->n_col - 16 * b - 8 * h));
}
AVX2_PART void store_y(const wk_tile *t, int b, int64_t r, const __m256 y[2]) {
    UNROLL for (int h = 0; h < 2; h++) {
        __m256i m = mask_of(t->n_col - 16 * b - 8 * h);
        int64_t o = 16 * b + 8 * h;
        _mm256_maskstore_ps(t->y + r * t->ldy + o, m, t->bias ? _mm256_add_ps(y[h], _mm256_maskload_ps(t->bias + o, m)) : y[h]);
    }
}

/* Codes 0..15, block b, NT rows from r on: a chunk's products are added up in int16. */
AVX2_PART void tile_nibbles(const wk_tile *t, int b, int64_t r, const int NT, const bool min) {
    const wk_panel *p = t->panel[b];
    const int offset = p->offset;
    __m256 y[3][2];
    UNROLL for (int i = 0; i < NT; i++) load_y(t, b, r + i, y[i]);
    for (int c = 0; c < t->n_k; c++) {
        __m256i s[3][2];
        UNROLL for (int i = 0; i < NT; i++) s[i][0] = s[i][1] = _mm256_setzero_si256();
        UNROLL for (int k = 0; k < 8; k++) {
            __m256i w0 = load(p->code[c] + 64 * k), w1 = load(p->code[c] + 64 * k + 32);
            UNROLL for (int i = 0; i < NT; i++) {
                __m256i q = broadcast_4(t->act[(r + i) * t->act_ld + c].q + 4 * k);
                s[i][0] = _mm256_add_epi16(s[i][0], _mm256_maddubs_epi16(w0, q));
                s[i][1] = _mm256_add_epi16(s[i][1], _mm256_maddubs_epi16(w1, q));
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

/* Sums of 16 inputs' products with signed codes. */
AVX2_PART void add_products(const uint8_t *code, const int8_t *q, __m256i s[2]) {
    UNROLL for (int k = 0; k < 4; k++) {
        __m256i a = broadcast_4(q + 4 * k);
        UNROLL for (int h = 0; h < 2; h++) {
            __m256i w = load(code + 64 * k + 32 * h);
            __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
            s[h] = _mm256_add_epi32(s[h], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
    }
}

/* Signed codes, block b, NT rows from r on. */
AVX2_PART void tile_signed(const wk_tile *t, int b, int64_t r, const int NT, const bool halves, const bool min) {
    const wk_panel *p = t->panel[b];
    __m256 y[3][2];
    UNROLL for (int i = 0; i < NT; i++) load_y(t, b, r + i, y[i]);
    for (int c = 0; c < t->n_k; c++) {
        UNROLL for (int i = 0; i < NT; i++) {
            const wk_act *a = &t->act[(r + i) * t->act_ld + c];
            __m256i s[2] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
            __m256 v[2];
            add_products(p->code[c], a->q, s);
            if (halves) {
                UNROLL for (int h = 0; h < 2; h++) {
                    v[h] = _mm256_mul_ps(_mm256_cvtepi32_ps(s[h]), _mm256_loadu_ps(p->scale[c][0] + 8 * h));
                    s[h] = _mm256_setzero_si256();
                }
            }
            add_products(p->code[c] + 256, a->q + 16, s);
            UNROLL for (int h = 0; h < 2; h++) {
                __m256 f = _mm256_cvtepi32_ps(s[h]);
                if (halves) v[h] = _mm256_fmadd_ps(f, _mm256_loadu_ps(p->scale[c][1] + 8 * h), v[h]);
                else v[h] = _mm256_mul_ps(f, _mm256_loadu_ps(p->scale[c][0] + 8 * h));
                y[i][h] = _mm256_fmadd_ps(v[h], _mm256_set1_ps(a->d), y[i][h]);
                if (min) y[i][h] = _mm256_fmadd_ps(_mm256_loadu_ps(p->min[c] + 8 * h), _mm256_set1_ps(a->sum), y[i][h]);
            }
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
    for (; t->n_row - r >= 2; r += 2) tile_signed(t, b, r, 2, false, false);
    for (; r < t->n_row; r++) tile_signed(t, b, r, 1, false, false);
}
AVX2 static void rows_signed_min(const wk_tile *t, int b) {
    for (int64_t r = 0; r < t->n_row; r++) tile_signed(t, b, r, 1, false, true);
}
AVX2 static void rows_halves(const wk_tile *t, int b) {
    int64_t r = 0;
    for (; t->n_row - r >= 2; r += 2) tile_signed(t, b, r, 2, true, false);
    for (; r < t->n_row; r++) tile_signed(t, b, r, 1, true, false);
}

AVX2 static void mul_avx2(const wk_tile *t) {
    bool nibbles = t->panel[0]->nibbles;
    void (*rows)(const wk_tile *, int) = nibbles ? t->min ? rows_nibbles_min : rows_nibbles : t->halves ? rows_halves : t->min ? rows_signed_min : rows_signed;
    rows(t, 0);
    if (t->panel[1]) rows(t, 1);
}

/* ---- products of floats ---- */

AVX2 static void widen_avx2(const wk_packed *w, int64_t block, int64_t k, int n, float *out) {
    const uint8_t *p = w->code + (block * w->n_in + k) * 32;
    for (int i = 0; i < 2 * n; i++) _mm256_storeu_ps(out + 8 * i, w->l.bf16 ? bf16_to_f32(load_half(p + 16 * i)) : _mm256_cvtph_ps(load_half(p + 16 * i)));
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

/* ---- gradient ---- */

/* Columns [32 h, 32 h + 32) of NT rows. */
AVX2_PART void rows_grad(const float *g, int64_t ldg, const int NT, int h, const float *w, int n_o, float *acc) {
    __m256 s[3][4];
    UNROLL for (int i = 0; i < NT; i++)
        UNROLL for (int c = 0; c < 4; c++) s[i][c] = _mm256_loadu_ps(acc + 64 * i + 32 * h + 8 * c);
    for (int o = 0; o < n_o; o++)
        UNROLL for (int c = 0; c < 4; c++) {
            __m256 v = _mm256_loadu_ps(w + 64 * o + 32 * h + 8 * c);
            UNROLL for (int i = 0; i < NT; i++) s[i][c] = _mm256_fmadd_ps(v, _mm256_set1_ps(g[i * ldg + o]), s[i][c]);
        }
    UNROLL for (int i = 0; i < NT; i++)
        UNROLL for (int c = 0; c < 4; c++) _mm256_storeu_ps(acc + 64 * i + 32 * h + 8 * c, s[i][c]);
}
AVX2 static void grad_avx2(const float *g, int64_t ldg, int64_t n_row, const float *w, int n_o, float *acc) {
    for (int h = 0; h < 2; h++) {
        int64_t r = 0;
        for (; n_row - r >= 3; r += 3) rows_grad(g + r * ldg, ldg, 3, h, w, n_o, acc + 64 * r);
        for (; r < n_row; r++) rows_grad(g + r * ldg, ldg, 1, h, w, n_o, acc + 64 * r);
    }
}

const wk_linear_set wk_linear_avx2 = {
    .need = WK_CPU_AVX2, .name = "avx2", .round = round_avx2, .expand = expand_avx2, .mul = mul_avx2, .widen = widen_avx2,
    .mul_float = mul_float_avx2, .grad = grad_avx2,
};
#endif
