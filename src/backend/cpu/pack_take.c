/* pack_take.c: takes rows of file types that are not woven straight apart: codes and scales in the order of the packed planes.
 * Layouts: GGUF specification, "ggml_type"; ours: linear.h. Load: as pack.c. */
#include "backend/cpu/pack.h"
#include "base/cpu.h"
#include "tensor/quant.h"
#include <math.h>
#include <string.h>

/* F32, F16, BF16: as they are. */
void wk_take_plain(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) { memcpy(p->code, src, (size_t)(n * d->bytes)); }
/* A float16's bits 13 places up are a float32, 2^112 times too small, of subnormal ones too. */
static inline __attribute__((always_inline)) uint32_t widen(uint32_t up, bool finite) {
    union { uint32_t u; float f; } x = { up };
    x.f *= 0x1p112f;
    return x.u | (finite ? 0 : 0x7f800000);  /* infinities and NaN */
}
static inline __attribute__((always_inline)) bool narrow(const uint8_t *restrict src, int n_pair, uint8_t *restrict to) {
    uint32_t cut = 0;
    for (int i = 0; i < n_pair; i++) {
        uint32_t pair = wk_get_u32(src + 4 * i);
        uint32_t a = widen((pair & 0x7fff) << 13, (pair & 0x7c00) != 0x7c00);
        uint32_t b = widen(pair >> 3 & 0x0fffe000, (pair & 0x7c000000) != 0x7c000000);
        cut |= (a | b) & 0xffff;
        pair = (pair & 0x80008000) | a >> 16 | b;
        memcpy(to + 4 * i, &pair, sizeof pair);
    }
    return cut == 0;
}
static bool narrow_c(const uint8_t *src, int n_pair, uint8_t *to) { return narrow(src, n_pair, to); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static bool narrow_avx2(const uint8_t *src, int n, uint8_t *to) { return narrow(src, n, to); }
#else
#define narrow_avx2 narrow_c
#endif
bool wk_narrow(const uint8_t *src, int n_pair, uint8_t *to) {
    return (wk_cpu_features() & WK_CPU_AVX2 ? narrow_avx2 : narrow_c)(src, n_pair, to);
}

/* F16 as bfloat16 */
void wk_take_narrow(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    uint8_t pairs[2 * WK_SUPER];
    (void)d;
    memset(pairs + n / 2 * 4, 0, (size_t)(n % 2 * 4));
    memcpy(pairs, src, 2 * (size_t)n);
    p->lost = !wk_narrow(pairs, (n + 1) / 2, p->code);
}
/* F32 as bfloat16, to nearest even; what is no number stays so. */
static inline __attribute__((always_inline)) uint32_t nearest(uint32_t u) {
    uint32_t near = (u + 0x7fff + (u >> 16 & 1)) >> 16, same = u >> 16 | 64;
    return (u & 0x7fffffff) > 0x7f800000 ? same : near;
}
static inline __attribute__((always_inline)) void halve(const uint8_t *restrict src, int n, uint8_t *restrict to) {
    for (int i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, src + 4 * i, sizeof u);
        uint16_t half = (uint16_t)nearest(u);
        memcpy(to + 2 * i, &half, sizeof half);
    }
}
static inline __attribute__((always_inline)) void halve_pairs(const uint8_t *restrict src, int n_pair, uint8_t *restrict to) {
    for (int p = 0; p < n_pair; p++)
        for (int r = 0; r < 16; r++) {
            uint32_t u, v;
            memcpy(&u, src + 128 * p + 4 * r, sizeof u);
            memcpy(&v, src + 128 * p + 64 + 4 * r, sizeof v);
            u = nearest(u) | nearest(v) << 16;
            memcpy(to + 64 * p + 4 * r, &u, sizeof u);
        }
}
static void halve_c(const uint8_t *src, int n, uint8_t *to) { halve(src, n, to); }
static void halve_pairs_c(const uint8_t *src, int n, uint8_t *to) { halve_pairs(src, n, to); }
#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))
AVX2 static void halve_avx2(const uint8_t *src, int n, uint8_t *to) { halve(src, n, to); }
AVX2 static void halve_pairs_avx2(const uint8_t *src, int n, uint8_t *to) { halve_pairs(src, n, to); }
#else
#define halve_avx2 halve_c
#define halve_pairs_avx2 halve_pairs_c
#endif
void wk_round_pairs(const uint8_t *src, int n_pair, uint8_t *to) {
    (wk_cpu_features() & WK_CPU_AVX2 ? halve_pairs_avx2 : halve_pairs_c)(src, n_pair, to);
}
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
