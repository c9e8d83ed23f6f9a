/* pack_take.c: takes rows of file types that are not woven straight apart: codes and scales in the order of the packed planes.
 * Layouts: GGUF specification, "ggml_type"; ours: linear.h. Load: as pack.c. */
#include "backend/cpu/pack.h"
#include "tensor/quant.h"
#include <math.h>
#include <string.h>

/* F32, F16, BF16: as they are. */
void wk_take_plain(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) { memcpy(p->code, src, (size_t)(n * d->bytes)); }
/* F16 as bfloat16 */
void wk_take_narrow(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    p->lost = false;
    for (int i = 0; i < n; i++) {
        union { float f; uint32_t u; } x = { wk_f16_to_f32(wk_get_u16(src + 2 * i)) };
        uint16_t half = (uint16_t)(x.u >> 16);
        memcpy(p->code + 2 * i, &half, sizeof half);
        p->lost = p->lost || x.u & 0xffff;
    }
}
/* F32 as bfloat16, to nearest even */
void wk_take_bf16(const wk_dtype_info *d, const uint8_t *src, int n, wk_part *p) {
    (void)d;
    for (int i = 0; i < n; i++) {
        float x;
        memcpy(&x, src + 4 * i, sizeof x);
        uint16_t half = wk_f32_to_bf16(x);
        memcpy(p->code + 2 * i, &half, sizeof half);
    }
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
        p->scale[c] = scale;
        for (int i = 0; i < WK_CHUNK; i++)
            p->code[32 * c + i] = (uint8_t)(wk_clamp_int(rintf(x[32 * c + i] * inverse), -127, 127) + 128);
    }
}
