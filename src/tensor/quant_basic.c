/* quant_basic.c: block types of 32 elements with one scale, and the ternary types.
 * Layouts: GGUF specification, "ggml_type", as its Python reference (gguf.quants) reads them; MXFP4: OCP Microscaling
 * Formats 1.0. Load: rows of whole models when a type has no packing of its own, single rows for embeddings.
 * A half block's codes are the low nibbles, the other half's the high ones: element j and j + 16 share a byte. */
#include "tensor/quant.h"

const int8_t wk_iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
const int8_t wk_fp4_values[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

/* f16 d, 16 bytes of codes: (code - 8) d */
void wk_decode_q4_0(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 32, raw += 18, out += 32) {
        float d = wk_get_f16(raw);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)((raw[2 + j] & 15) - 8);
            out[j + 16] = d * (float)((raw[2 + j] >> 4) - 8);
        }
    }
}

/* f16 d, f16 m, codes: code d + m */
void wk_decode_q4_1(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 32, raw += 20, out += 32) {
        float d = wk_get_f16(raw), m = wk_get_f16(raw + 2);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)(raw[4 + j] & 15) + m;
            out[j + 16] = d * (float)(raw[4 + j] >> 4) + m;
        }
    }
}

/* f16 d, u32 fifth bits (bit j of element j), codes: (code - 16) d */
void wk_decode_q5_0(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 32, raw += 22, out += 32) {
        float d = wk_get_f16(raw);
        uint32_t high = wk_get_u32(raw + 2);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)((int)((raw[6 + j] & 15) | (high >> j & 1) << 4) - 16);
            out[j + 16] = d * (float)((int)((raw[6 + j] >> 4) | (high >> (j + 16) & 1) << 4) - 16);
        }
    }
}

/* f16 d, f16 m, u32 fifth bits, codes: code d + m */
void wk_decode_q5_1(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 32, raw += 24, out += 32) {
        float d = wk_get_f16(raw), m = wk_get_f16(raw + 2);
        uint32_t high = wk_get_u32(raw + 4);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)((raw[8 + j] & 15) | (high >> j & 1) << 4) + m;
            out[j + 16] = d * (float)((raw[8 + j] >> 4) | (high >> (j + 16) & 1) << 4) + m;
        }
    }
}

/* f16 d, 32 int8 */
void wk_decode_q8_0(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 32, raw += 34, out += 32) {
        float d = wk_get_f16(raw);
        for (int j = 0; j < 32; j++) out[j] = d * (float)(int8_t)raw[2 + j];
    }
}

/* f16 d, codes: values[code] d */
void wk_decode_iq4_nl(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 32, raw += 18, out += 32) {
        float d = wk_get_f16(raw);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)wk_iq4_values[raw[2 + j] & 15];
            out[j + 16] = d * (float)wk_iq4_values[raw[2 + j] >> 4];
        }
    }
}

/* 2^(e - 128): half of what E8M0 says, because wk_fp4_values are doubled. 2^-128 and 2^-127 are subnormal. */
static float half_e8m0(uint8_t e) {
    union { uint32_t u; float f; } x = { e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23 };
    return x.f;
}

/* u8 exponent, codes: values[code] 2^(e - 128) */
void wk_decode_mxfp4(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 32, raw += 17, out += 32) {
        float d = half_e8m0(raw[0]);
        for (int j = 0; j < 16; j++) {
            out[j] = d * (float)wk_fp4_values[raw[1 + j] & 15];
            out[j + 16] = d * (float)wk_fp4_values[raw[1 + j] >> 4];
        }
    }
}

/* The digit of weight 3^-(k+1) of a byte that holds a ternary fraction: multiplying by 3^k, modulo 256, brings it to the top. */
static float trit(uint8_t b, int k) {
    static const uint8_t pow3[5] = { 1, 3, 9, 27, 81 };
    uint8_t q = (uint8_t)(b * pow3[k]);
    return (float)((q * 3 >> 8) - 1);
}

/* 256 elements: 48 bytes of 5 digits (32 bytes: element 32 k + j; 16 bytes: 160 + 16 k + j), 4 bytes of 4 digits, f16 d */
void wk_decode_tq1_0(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 54, out += 256) {
        float d = wk_get_f16(raw + 52);
        for (int k = 0; k < 5; k++) for (int j = 0; j < 32; j++) out[32 * k + j] = d * trit(raw[j], k);
        for (int k = 0; k < 5; k++) for (int j = 0; j < 16; j++) out[160 + 16 * k + j] = d * trit(raw[32 + j], k);
        for (int k = 0; k < 4; k++) for (int j = 0; j < 4; j++) out[240 + 4 * k + j] = d * trit(raw[48 + j], k);
    }
}

/* 256 elements: 64 bytes of 4 2-bit codes, f16 d: (code - 1) d. Byte 32 h + j holds elements 128 h + 32 k + j. */
void wk_decode_tq2_0(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 66, out += 256) {
        float d = wk_get_f16(raw + 64);
        for (int i = 0; i < 256; i++) out[i] = d * (float)((raw[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) - 1);
    }
}

/* ---- encoders: round to nearest, with the scale that the largest element asks for ---- */

/* The element of largest magnitude, with its sign. */
static float signed_max(const float *x, int n) {
    float best = 0;
    for (int i = 0; i < n; i++) if (fabsf(x[i]) > fabsf(best)) best = x[i];
    return best;
}

static void range_of(const float *x, int n, float *lo, float *hi) {
    *lo = *hi = x[0];
    for (int i = 1; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

/* A product and 8.5 rounded once, as llama.cpp built with fma and gguf-py have it: the file's bytes are theirs. */
static int code_q4_0(float x, float inv) { return wk_clamp_int((float)((double)x * (double)inv + 8.5), 0, 15); }

/* The largest element becomes -8 d, the one code that has no opposite. */
void wk_encode_q4_0(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 32, raw += 18, in += 32) {
        float d = signed_max(in, 32) / -8, inv = d != 0 ? 1 / d : 0;
        wk_put_f16(raw, d);
        for (int j = 0; j < 16; j++) raw[2 + j] = (uint8_t)(code_q4_0(in[j], inv) | code_q4_0(in[j + 16], inv) << 4);
    }
}

void wk_encode_q4_1(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 32, raw += 20, in += 32) {
        float lo, hi;
        range_of(in, 32, &lo, &hi);
        float d = (hi - lo) / 15, inv = d != 0 ? 1 / d : 0;
        wk_put_f16(raw, d);
        wk_put_f16(raw + 2, lo);
        for (int j = 0; j < 16; j++)
            raw[4 + j] = (uint8_t)(wk_clamp_int((in[j] - lo) * inv + 0.5f, 0, 15) |
                                   wk_clamp_int((in[j + 16] - lo) * inv + 0.5f, 0, 15) << 4);
    }
}

/* 32 codes of 5 bits as u32 fifth bits and 16 bytes of nibbles. */
static void put_5_bits(const int *code, uint8_t *raw) {
    uint32_t high = 0;
    for (int j = 0; j < 32; j++) high |= (uint32_t)(code[j] >> 4) << j;
    memcpy(raw, &high, 4);
    for (int j = 0; j < 16; j++) raw[4 + j] = (uint8_t)((code[j] & 15) | (code[j + 16] & 15) << 4);
}

void wk_encode_q5_0(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 32, raw += 22, in += 32) {
        int code[32];
        float d = signed_max(in, 32) / -16, inv = d != 0 ? 1 / d : 0;
        for (int j = 0; j < 32; j++) code[j] = wk_clamp_int(in[j] * inv + 16.5f, 0, 31);
        wk_put_f16(raw, d);
        put_5_bits(code, raw + 2);
    }
}

void wk_encode_q5_1(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 32, raw += 24, in += 32) {
        int code[32];
        float lo, hi;
        range_of(in, 32, &lo, &hi);
        float d = (hi - lo) / 31, inv = d != 0 ? 1 / d : 0;
        for (int j = 0; j < 32; j++) code[j] = wk_clamp_int((in[j] - lo) * inv + 0.5f, 0, 31);
        wk_put_f16(raw, d);
        wk_put_f16(raw + 2, lo);
        put_5_bits(code, raw + 4);
    }
}

void wk_encode_q8_0(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 32, raw += 34, in += 32) {
        float d = fabsf(signed_max(in, 32)) / 127, inv = d != 0 ? 1 / d : 0;
        wk_put_f16(raw, d);
        for (int j = 0; j < 32; j++) raw[2 + j] = (uint8_t)(int8_t)wk_clamp_int(roundf(in[j] * inv), -127, 127);
    }
}

/* The code whose value is nearest to v; the first of equals. */
static int nearest(const int8_t values[16], float v) {
    int best = 0;
    for (int c = 1; c < 16; c++) if (fabsf(v - (float)values[c]) < fabsf(v - (float)values[best])) best = c;
    return best;
}

/* The largest element becomes the value of largest magnitude, -127 d. */
void wk_encode_iq4_nl(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 32, raw += 18, in += 32) {
        float d = signed_max(in, 32) / -127, inv = d != 0 ? 1 / d : 0;
        wk_put_f16(raw, d);
        for (int j = 0; j < 16; j++)
            raw[2 + j] = (uint8_t)(nearest(wk_iq4_values, in[j] * inv) | nearest(wk_iq4_values, in[j + 16] * inv) << 4);
    }
}

/* OCP MX 1.0, section 6.3: the shared exponent is that of the largest element less e2m1's largest (2). */
void wk_encode_mxfp4(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 32, raw += 17, in += 32) {
        int e = 0;
        float most = fabsf(signed_max(in, 32));
        if (most > 0 && most <= 3.4e38f) {
            frexpf(most, &e);  /* most = m 2^e, m in [0.5, 1) */
            e = e - 1 - 2 + 127;
            e = e < 0 ? 0 : e;
        }
        raw[0] = (uint8_t)e;
        float inv = 1 / half_e8m0(raw[0]);
        for (int j = 0; j < 16; j++)
            raw[1 + j] = (uint8_t)(nearest(wk_fp4_values, in[j] * inv) | nearest(wk_fp4_values, in[j + 16] * inv) << 4);
    }
}
