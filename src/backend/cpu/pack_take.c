/* pack_take.c: takes rows of each file type apart: codes, scales and minima in the order of the packed planes.
 * Layouts: GGUF specification, "ggml_type"; ours: linear.h. Load: as pack.c. Nibbles of the types of 32 lie as ours do and
 * are copied; K-quants' are turned from (j, j + 32) to (j, j + 16) eight bytes at a time. */
#include "backend/cpu/pack.h"
#include "base/cpu.h"
#include "tensor/quant.h"
#include <math.h>
#include <string.h>

static uint64_t load8(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}
static void store8(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }
#define EACH(b) (0x0101010101010101u * (b))  /* byte b eight times */

/* F32, F16, BF16: as they are. */
void wk_take_plain(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) { memcpy(p->code, src, (size_t)(n * d->bytes)); }
/* n float16 as bfloat16; true: a value is not held unchanged. A float16's bits 13 places up are a float32, 2^112 times too small,
 * of subnormal ones too. */
static inline __attribute__((always_inline)) bool narrow(const uint8_t *src, int n, uint16_t *out) {
    uint32_t cut = 0;
    for (int i = 0; i < n; i++) {
        uint32_t h = wk_get_u16(src + 2 * i);
        union { uint32_t u; float f; } x = { (h & 0x7fff) << 13 };
        x.f *= 0x1p112f;
        x.u |= (h & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;  /* infinities and NaN */
        cut |= x.u & 0xffff;
        out[i] = (uint16_t)((h & 0x8000) | x.u >> 16);
    }
    return cut != 0;
}
static bool narrow_c(const uint8_t *src, int n, uint16_t *out) { return narrow(src, n, out); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static bool narrow_avx2(const uint8_t *src, int n, uint16_t *out) { return narrow(src, n, out); }
#else
#define narrow_avx2 narrow_c
#endif

/* F16 as bfloat16 */
void wk_take_narrow(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    uint16_t out[WK_SUPER];
    (void)d;
    p->lost = (wk_cpu_features() & WK_CPU_AVX2 ? narrow_avx2 : narrow_c)(src, n, out);
    memcpy(p->code, out, (size_t)n * sizeof *out);
}
/* F32 as bfloat16, to nearest even; what is no number stays so. */
static inline __attribute__((always_inline)) void halve(const uint8_t *restrict src, int n, uint8_t *restrict to) {
    for (int i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, src + 4 * i, sizeof u);
        uint32_t near = (u + 0x7fff + (u >> 16 & 1)) >> 16, same = u >> 16 | 64;
        uint16_t half = (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? same : near);
        memcpy(to + 2 * i, &half, sizeof half);
    }
}
static void halve_c(const uint8_t *src, int n, uint8_t *to) { halve(src, n, to); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void halve_avx2(const uint8_t *src, int n, uint8_t *to) { halve(src, n, to); }
#else
#define halve_avx2 halve_c
#endif
void wk_take_bf16(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    (wk_cpu_features() & WK_CPU_AVX2 ? halve_avx2 : halve_c)(src, n, p->code);
}
/* Other numbers: as float32. */
void wk_take_float(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    float x[WK_SUPER];
    d->decode(src, x, n);
    memcpy(p->code, x, (size_t)n * sizeof *x);
}

/* Anything that decodes: rounded to int8, the scale that of the largest of 32. */
void wk_take_rounded(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    float x[WK_SUPER];
    d->decode(src, x, n);
    for (int c = 0; c < n / WK_CHUNK; c++) {
        float most = 0;
        for (int i = 0; i < WK_CHUNK; i++) most = fabsf(x[32 * c + i]) > most ? fabsf(x[32 * c + i]) : most;
        float scale = most / 127, inverse = most > 1e-36f ? 127 / most : 0;
        memcpy(p->scale + 4 * c, &scale, 4);
        for (int i = 0; i < WK_CHUNK; i++)
            p->code[32 * c + i] = (uint8_t)(wk_clamp_int(rintf(x[32 * c + i] * inverse), -127, 127) + 128);
    }
}

/* f16 d, 16 bytes of codes (IQ4_NL too) */
void wk_take_q4_0(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    for (int c = 0; c < n / 32; c++, src += 18) {
        memcpy(p->scale + 2 * c, src, 2);
        memcpy(p->code + 16 * c, src + 2, 16);
    }
}

/* f16 d, f16 m, 16 bytes of codes */
void wk_take_q4_1(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    for (int c = 0; c < n / 32; c++, src += 20) {
        memcpy(p->scale + 2 * c, src, 2);
        memcpy(p->zero + 2 * c, src + 2, 2);
        memcpy(p->code + 16 * c, src + 4, 16);
    }
}

/* f16 d, 32 int8; ours are 128 more */
void wk_take_q8_0(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    for (int c = 0; c < n / 32; c++, src += 34) {
        memcpy(p->scale + 2 * c, src, 2);
        for (int i = 0; i < 32; i += 8) store8(p->code + 32 * c + i, load8(src + 2 + i) ^ EACH(0x80));
    }
}

/* 32 top bits, input i's at bit i, to bit i / 4 of byte i % 4. */
static void turn_bits(const uint8_t *src, uint8_t *out) {
    for (int b = 0; b < 4; b++) {
        uint32_t x = wk_get_u32(src) >> b & 0x11111111;  /* every fourth bit, then closed up */
        x = (x | x >> 3) & 0x03030303;
        x = (x | x >> 6) & 0x000f000f;
        out[b] = (uint8_t)(x | x >> 12);
    }
}

/* The same of a K-quant's chunk g: input j's at bit g of byte j. */
static void gather_bits(const uint8_t *src, int g, uint8_t *out) {
    uint64_t x = 0;  /* words 0 and 1 of each step: inputs 8 s + 0..3 and 8 s + 4..7 */
    for (int s = 0; s < 4; s++) x |= (load8(src + 8 * s) >> g & EACH(1)) << (2 * s);
    uint32_t both = (uint32_t)x | (uint32_t)(x >> 32) << 1;
    for (int b = 0; b < 4; b++) out[b] = (uint8_t)(both >> 8 * b);
}

/* A chunk's pairs of bits, inputs j at bit 2 k of byte j of 32. */
static void gather_pairs(const uint8_t *src, int k, uint8_t *out) {
    uint64_t x = 0;
    for (int i = 0; i < 4; i++) x |= (load8(src + 8 * i) >> (2 * k) & EACH(3)) << (2 * i);
    store8(out, x);
}

/* f16 d, u32 fifth bits, 16 bytes of codes */
void wk_take_q5_0(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    for (int c = 0; c < n / 32; c++, src += 22) {
        memcpy(p->scale + 2 * c, src, 2);
        turn_bits(src + 2, p->high + 4 * c);
        memcpy(p->code + 16 * c, src + 6, 16);
    }
}

/* f16 d, f16 m, u32 fifth bits, 16 bytes of codes */
void wk_take_q5_1(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    for (int c = 0; c < n / 32; c++, src += 24) {
        memcpy(p->scale + 2 * c, src, 2);
        memcpy(p->zero + 2 * c, src + 2, 2);
        turn_bits(src + 4, p->high + 4 * c);
        memcpy(p->code + 16 * c, src + 8, 16);
    }
}

/* 8 scales and 8 minima of 6 bits in 12 bytes (Q4_K, Q5_K): groups 0..3 whole in bytes 0..3 and 4..7, groups 4..7 low
 * nibbles in bytes 8..11, top bits above the first eight. */
static void scales_6(const uint8_t *s, uint8_t *scale, uint8_t *min) {
    for (int g = 0; g < 4; g++) {
        scale[g] = s[g] & 63;
        min[g] = s[g + 4] & 63;
        scale[g + 4] = (uint8_t)((s[g + 8] & 15) | s[g] >> 6 << 4);
        min[g + 4] = (uint8_t)(s[g + 8] >> 4 | s[g + 4] >> 6 << 4);
    }
}

/* Two chunks from the low and high nibbles of 32 bytes. */
static void turn_nibbles(const uint8_t *src, uint8_t *out) {
    for (int i = 0; i < 16; i += 8) {
        uint64_t a = load8(src + i), b = load8(src + 16 + i);
        store8(out + i, (a & EACH(15)) | (b & EACH(15)) << 4);
        store8(out + 16 + i, (a >> 4 & EACH(15)) | (b & EACH(0xf0)));
    }
}

/* f16 d, f16 dmin, 12 bytes of scales, 128 of codes */
void wk_take_q4_k(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d, (void)n;
    memcpy(p->super, src, 2);
    memcpy(p->super_min, src + 2, 2);
    scales_6(src + 4, p->scale, p->zero);
    for (int k = 0; k < 4; k++) turn_nibbles(src + 16 + 32 * k, p->code + 32 * k);
}

/* As Q4_K with 32 bytes of fifth bits (bit g of byte j: input 32 g + j) before the codes. */
void wk_take_q5_k(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d, (void)n;
    memcpy(p->super, src, 2);
    memcpy(p->super_min, src + 2, 2);
    scales_6(src + 4, p->scale, p->zero);
    for (int k = 0; k < 4; k++) turn_nibbles(src + 48 + 32 * k, p->code + 32 * k);
    for (int g = 0; g < 8; g++) gather_bits(src + 16, g, p->high + 4 * g);
}

/* 128 bytes of low nibbles, 64 of top 2 bits, 16 int8 scales, f16 d. In each half of 128: nibbles of byte j are inputs j and
 * 64 + j; top bits of byte j belong to inputs 32 k + j, at bit 2 k. */
void wk_take_q6_k(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d, (void)n;
    memcpy(p->super, src + 208, 2);
    memcpy(p->scale, src + 192, 16);
    for (int h = 0; h < 2; h++) {
        uint8_t turned[64];  /* chunks 0 and 2, then 1 and 3 */
        turn_nibbles(src + 64 * h, turned);
        turn_nibbles(src + 64 * h + 32, turned + 32);
        for (int k = 0; k < 4; k++) {
            memcpy(p->code + 64 * h + 16 * k, turned + 32 * (k % 2) + k / 2 * 16, 16);
            gather_pairs(src + 128 + 32 * h, k, p->high + 32 * h + 8 * k);
        }
    }
}

/* 16 bytes of scales, low, and minima, high, 64 of codes as Q3_K's pairs lie, f16 d, f16 dmin */
void wk_take_q2_k(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d, (void)n;
    memcpy(p->scale, src, 16);
    memcpy(p->super, src + 80, 2);
    memcpy(p->super_min, src + 82, 2);
    for (int g = 0; g < 8; g++) gather_pairs(src + 16 + g / 4 * 32, g % 4, p->code + 8 * g);
}

/* 32 bytes of third bits (bit g of byte j: input 32 g + j; set: 4 more), 64 of 2-bit codes (in each half of 128, byte j has
 * inputs 32 k + j at bit 2 k), 12 of scales, which ours lie as, f16 d. Codes are 4 too many. */
void wk_take_q3_k(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d, (void)n;
    memcpy(p->super, src + 108, 2);
    memcpy(p->scale, src + 96, 12);
    for (int g = 0; g < 8; g++) {
        gather_pairs(src + 32 + g / 4 * 32, g % 4, p->code + 8 * g);
        gather_bits(src, g, p->high + 4 * g);
    }
}

/* f16 d, u16 top 2 bits of scales, 4 bytes of their nibbles (each plus 32), 128 of codes */
void wk_take_iq4_xs(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d, (void)n;
    memcpy(p->super, src, 2);
    for (int g = 0; g < 8; g++)
        p->scale[g] = (uint8_t)(((src[4 + g / 2] >> (g % 2 * 4) & 15) | (wk_get_u16(src + 2) >> (2 * g) & 3) << 4) - 32);
    memcpy(p->code, src + 8, 128);
}

/* u8 exponent, 16 bytes of codes */
void wk_take_mxfp4(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    for (int c = 0; c < n / 32; c++, src += 17) {
        p->scale[c] = src[0];
        memcpy(p->code + 16 * c, src + 1, 16);
    }
}
