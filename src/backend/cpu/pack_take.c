/* pack_take.c: takes rows of file types that are not woven straight apart: codes and scales in the order of the packed planes.
 * Layouts: GGUF specification, "ggml_type"; ours: linear.h. Load: as pack.c. */
#include "backend/cpu/pack.h"
#include "base/cpu.h"
#include "tensor/quant.h"
#include <math.h>
#include <string.h>

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
