/* simd.h: vectors of float32 under one set of names, so that a kernel is written once and compiled per instruction set.
 * A file says which set before it includes this (WK_SIMD_AVX512, WK_SIMD_AVX2, WK_SIMD_NEON, or none: plain C of four
 * lanes) and ends with WK_SIMD_END. Functions here carry their target with them: no compiler flags are needed.
 * exp: Cody & Waite 1980, chapter 6 (two-part ln 2), with polynomials fitted here by minimax over the reduced range. */
#ifndef WK_SIMD_H
#define WK_SIMD_H
#include "backend/cpu/unroll.h"
#include "tensor/dtype.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(WK_SIMD_AVX512) || defined(WK_SIMD_AVX2)
#include <immintrin.h>
#elif defined(WK_SIMD_NEON)
#include <arm_neon.h>
#endif

#define WK_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define WK_TARGET(names) WK_PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#else
#define WK_TARGET(names) WK_PRAGMA(GCC push_options) WK_PRAGMA(GCC target(names))
#endif

#if defined(WK_SIMD_AVX512) && defined(WK_SIMD_BF16)
WK_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
enum { VW = 16, TILE_M = 6, TILE_N = 4 };
#elif defined(WK_SIMD_AVX512)
WK_TARGET("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
enum { VW = 16, TILE_M = 6, TILE_N = 4 };  /* lanes; rows and vectors of a register tile */
#elif defined(WK_SIMD_AVX2)
WK_TARGET("avx2,fma,f16c")
enum { VW = 8, TILE_M = 6, TILE_N = 2 };
#elif defined(WK_SIMD_NEON)
enum { VW = 4, TILE_M = 6, TILE_N = 4 };
#else
enum { VW = 4, TILE_M = 4, TILE_N = 2 };
#endif
#if defined(__clang__) && (defined(WK_SIMD_AVX512) || defined(WK_SIMD_AVX2))
#define WK_SIMD_END _Pragma("clang attribute pop")
#elif defined(WK_SIMD_AVX512) || defined(WK_SIMD_AVX2)
#define WK_SIMD_END _Pragma("GCC pop_options")
#else
#define WK_SIMD_END
#endif

#define INLINE static inline __attribute__((always_inline, unused))
typedef float vf __attribute__((vector_size(VW * 4)));
typedef int32_t vi __attribute__((vector_size(VW * 4)));
typedef uint32_t vu __attribute__((vector_size(VW * 4)));

INLINE vf vf_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf vf_set(float x) { return x - (vf){ 0 }; }
INLINE vf vf_zero(void) { return (vf){ 0 }; }
/* The first n floats, zeros after them. */
INLINE vf vf_load_n(const float *p, int64_t n) {
    float t[VW] = { 0 };
    memcpy(t, p, (size_t)n * sizeof *t);
    return vf_load(t);
}
INLINE void vf_store_n(float *p, vf v, int64_t n) {
    float t[VW];
    vf_store(t, v);
    memcpy(p, t, (size_t)n * sizeof *t);
}
/* The same, and whole vectors at once. */
INLINE vf get(const float *p, int64_t n) { return n < VW ? vf_load_n(p, n) : vf_load(p); }
INLINE void put(float *p, vf v, int64_t n) {
    if (n < VW) vf_store_n(p, v, n);
    else vf_store(p, v);
}
/* Lane by lane: where m is all ones a, where it is zero b. */
INLINE vf vf_select(vi m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }

/* The lanes of a's and b's first halves in turn, and of their second halves. */
#if defined(WK_SIMD_AVX512)
INLINE vf vf_zip_low(vf a, vf b) { return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23); }
INLINE vf vf_zip_high(vf a, vf b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#elif defined(WK_SIMD_AVX2)
INLINE vf vf_zip_low(vf a, vf b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
INLINE vf vf_zip_high(vf a, vf b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
INLINE vf vf_zip_low(vf a, vf b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
INLINE vf vf_zip_high(vf a, vf b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }
#endif

#if defined(WK_SIMD_AVX512)
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
/* max and min give b where either is NaN */
INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
/* n numbers of the cache's types; _all: one number in every lane */
INLINE vf vf_from_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
INLINE vf vf_f16_all(uint16_t h) { return _mm512_cvtph_ps(_mm256_set1_epi16((short)h)); }
INLINE void vf_to_f16(uint16_t *p, vf v) { _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, 0)); }
INLINE vf vf_from_i8(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p))); }
#elif defined(WK_SIMD_AVX2)
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf vf_from_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INLINE vf vf_f16_all(uint16_t h) { return _mm256_cvtph_ps(_mm_set1_epi16((short)h)); }
INLINE void vf_to_f16(uint16_t *p, vf v) { _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(v, 0)); }
INLINE vf vf_from_i8(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p))); }
#else
#if defined(WK_SIMD_NEON)
INLINE vf vf_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
#endif
INLINE vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
INLINE vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }
INLINE vf vf_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }
/* A float16's exponent and fraction, moved into place, are its value times 2^-112; infinities and NaNs get the rest. */
INLINE vf vf_from_f16(const uint16_t *p) {
    vu h = { p[0], p[1], p[2], p[3] }, sign = (h & 0x8000u) << 16, mag = (h & 0x7fffu) << 13;
    vf x = (vf)mag * 0x1p112f;
    vi top = (vi)mag >= (0x7c00 << 13);
    return (vf)((vu)x | sign | ((vu)top & 0x7f800000u));
}
INLINE vf vf_f16_all(uint16_t h) {
    uint16_t t[VW] = { h, h, h, h };
    return vf_from_f16(t);
}
INLINE void vf_to_f16(uint16_t *p, vf v) {
    for (int i = 0; i < VW; i++) p[i] = wk_f32_to_f16(v[i]);
}
INLINE vf vf_from_i8(const int8_t *p) { return (vf){ p[0], p[1], p[2], p[3] }; }
#endif

#if defined(WK_SIMD_BF16)
/* bfloat16, rounded to the nearest; of a lane's pair the even number is in the lower half */
INLINE vu vu_load(const uint32_t *p) { return (vu)_mm512_loadu_si512(p); }
INLINE vu vu_all(const uint32_t *p) { return (vu)_mm512_set1_epi32((int32_t)*p); }
INLINE void vu_store(uint32_t *p, vu v) { _mm512_storeu_si512(p, (__m512i)v); }
INLINE void vf_to_bf16(uint16_t *p, vf v) { _mm256_storeu_si256((__m256i *)(void *)p, (__m256i)_mm512_cvtneps_pbh(v)); }
INLINE vu vu_pairs(vf even, vf odd) {
    static const uint16_t from[32] = { 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };
    return (vu)_mm512_permutexvar_epi16(_mm512_loadu_si512(from), (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}
INLINE vf vf_dot_pairs(vu a, vu b, vf c) { return _mm512_dpbf16_ps(c, (__m512bh)b, (__m512bh)a); }
#endif

/* 8-bit floats: fraction and exponent moved into place are 2^-120 (e4m3) or 2^-112 times their value; what is no number gets
 * the rest. */
#if defined(WK_SIMD_AVX512)
INLINE vu vu_from_u8(const uint8_t *p) { return (vu)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)); }
#elif defined(WK_SIMD_AVX2)
INLINE vu vu_from_u8(const uint8_t *p) { return (vu)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)); }
#else
INLINE vu vu_from_u8(const uint8_t *p) { return (vu){ p[0], p[1], p[2], p[3] }; }
#endif
INLINE vf vf_from_e4m3(const uint8_t *p) {
    vu b = vu_from_u8(p), mag = b & 0x7fu;
    vf x = (vf)(mag << 20) * 0x1p120f;
    vi nan = (vi)mag == 0x7f;
    return (vf)((vu)x | ((b & 0x80u) << 24) | ((vu)nan & 0x7fc00000u));
}
INLINE vf vf_from_e5m2(const uint8_t *p) {
    vu b = vu_from_u8(p), mag = b & 0x7fu;
    vf x = (vf)(mag << 21) * 0x1p112f;
    vi top = (vi)mag >= 0x7c;
    return (vf)((vu)x | ((b & 0x80u) << 24) | ((vu)top & 0x7f800000u));
}

/* Sum and largest of all lanes, halves against each other: an order that is always the same. */
#if defined(WK_SIMD_AVX512) || defined(WK_SIMD_AVX2)
INLINE float half_sum(__m256 v) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
INLINE float half_top(__m256 v) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
#endif
#if defined(WK_SIMD_AVX512)
INLINE float vf_sum(vf v) { return half_sum(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1))); }
INLINE float vf_top(vf v) { return half_top(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1))); }
#elif defined(WK_SIMD_AVX2)
INLINE float vf_sum(vf v) { return half_sum(v); }
INLINE float vf_top(vf v) { return half_top(v); }
#else
INLINE float vf_sum(vf v) { return (v[0] + v[2]) + (v[1] + v[3]); }
INLINE float vf_top(vf v) {
    float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
    return a > b ? a : b;
}
#endif
/* Whether any lane is above x. */
#if defined(WK_SIMD_AVX512)
INLINE bool vf_any_above(vf v, float x) { return _mm512_cmp_ps_mask(v, vf_set(x), _CMP_GT_OQ) != 0; }
#elif defined(WK_SIMD_AVX2)
INLINE bool vf_any_above(vf v, float x) { return _mm256_movemask_ps(_mm256_cmp_ps(v, vf_set(x), _CMP_GT_OQ)) != 0; }
#elif defined(WK_SIMD_NEON)
INLINE bool vf_any_above(vf v, float x) { return vmaxvq_u32((uint32x4_t)(v > x)) != 0; }
#else
INLINE bool vf_any_above(vf v, float x) { return (v[0] > x) | (v[1] > x) | (v[2] > x) | (v[3] > x); }
#endif
/* 0, 1, 2, ... */
INLINE vi vi_count(void) {
    static const int32_t n[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    vi v;
    memcpy(&v, n, sizeof v);
    return v;
}

/* e^x within 2 ulp; below -87.3 it stays at e^-87.3. negative: x is not above 0, else it stays at e^88.3 above that. */
INLINE vf exp_of(vf x, const bool negative) {
    const float magic = 12583039.0f;  /* 1.5 * 2^23 + 127: adding it rounds to an integer, kept with 2^n's bias in the low bits */
    x = vf_max(vf_set(-87.3f), x);
    if (!negative) x = vf_min(vf_set(88.3f), x);
    vf z = vf_fma(x, vf_set(1.44269504f), vf_set(magic)), n = z - magic;
    vf r = vf_fma(n, vf_set(-0.693359375f), x);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_fma(r, vf_set(1.3814320555e-3f), vf_set(8.3688506857e-3f));
    p = vf_fma(p, r, vf_set(4.1668400168e-2f));
    p = vf_fma(p, r, vf_set(1.6666519642e-1f));
    p = vf_fma(p, r, vf_set(4.9999994040e-1f));
    p = vf_fma(p, r, vf_set(1.0f));
    p = vf_fma(p, r, vf_set(1.0f));
    return p * (vf)((vu)z << 23);
}
/* 2^x within 3 ulp for x below 126; below -126 it stays at 2^-126. Half of e^x's work: what is a power of two needs no ln 2
 * in two parts. 2^0 is 1 exactly. */
INLINE vf vf_exp2(vf x) {
    const float magic = 12583039.0f;  /* as above */
    x = vf_max(vf_set(-126.0f), x);
    vf z = x + magic, n = z - magic, r = x - n;
    vf p = vf_fma(r, vf_set(1.3264727247e-3f), vf_set(9.6715126882e-3f));
    p = vf_fma(p, r, vf_set(5.5507337436e-2f));
    p = vf_fma(p, r, vf_set(2.4022242085e-1f));
    p = vf_fma(p, r, vf_set(6.9314697760e-1f));
    p = vf_fma(p, r, vf_set(1.0f));
    return p * (vf)((vu)z << 23);
}
INLINE vf vf_exp(vf x) { return exp_of(x, false); }
INLINE vf vf_exp_negative(vf x) { return exp_of(x, true); }

/* tanh: an odd polynomial near zero, where 1 - 2 / (e^2x + 1) would cancel. */
INLINE vf vf_tanh(vf x) {
    vf s = x * x, far = 1.0f - 2.0f / (vf_exp(x + x) + 1.0f);
    vf p = vf_fma(s, vf_set(-5.6668999605e-3f), vf_set(2.0606109872e-2f));
    p = vf_fma(p, s, vf_set(-5.3729988635e-2f));
    p = vf_fma(p, s, vf_set(1.3331331313e-1f));
    p = vf_fma(p, s, vf_set(-3.3333277702e-1f));
    return vf_select(s < 0.39f, vf_fma(p * s, x, x), far);
}

#endif
