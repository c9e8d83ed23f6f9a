/* quant_k.c: the K types: 256 elements in groups of 16 or 32, each with a small integer scale (and minimum) under an f16.
 * Layouts: GGUF specification, "ggml_type", as its Python reference (gguf.quants) reads them.
 * Load: rows of whole models for the types without a packing of their own, single rows for embeddings. */
#include "tensor/quant.h"

/* 2-bit codes: byte 32 h + j holds elements 128 h + 32 k + j at bit 2 k. */
static int code2(const uint8_t *q, int i) { return q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }
/* 4-bit codes of Q4_K and Q5_K: byte 32 k + j holds elements 64 k + j and, in the high nibble, 64 k + 32 + j. */
static int code4(const uint8_t *q, int i) { return q[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15; }

/* 16 bytes of 4-bit scale and minimum, 64 of codes, f16 d, f16 dmin; groups of 16: code (d scale) - dmin min */
void wk_decode_q2_k(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 84, out += 256) {
        float d = wk_get_f16(raw + 80), dmin = wk_get_f16(raw + 82);
        for (int i = 0; i < 256; i++)
            out[i] = d * (float)(raw[i / 16] & 15) * (float)code2(raw + 16, i) - dmin * (float)(raw[i / 16] >> 4);
    }
}

/* 32 bytes of third bits, 64 of codes, 12 of 6-bit scales, f16 d; groups of 16: (code - 4 + 4 third) d (scale - 32).
 * Scale g: its low 4 bits are nibbles of bytes 0..7, its high 2 are at bit 2 (g / 4) of byte 8 + g % 4. */
void wk_decode_q3_k(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 110, out += 256) {
        const uint8_t *s = raw + 96;
        float d = wk_get_f16(raw + 108), scale[16];
        for (int g = 0; g < 16; g++)
            scale[g] = d * (float)(((s[g % 8] >> (g / 8 * 4) & 15) | (s[8 + g % 4] >> (g / 4 * 2) & 3) << 4) - 32);
        for (int i = 0; i < 256; i++) {
            int third = raw[i % 32] >> (i / 32) & 1;
            out[i] = scale[i / 16] * (float)(code2(raw + 32, i) + 4 * third - 4);
        }
    }
}

/* Q4_K's and Q5_K's 8 scales and minima of 6 bits in 12 bytes: groups 0..3 whole in bytes 0..3 and 4..7; groups 4..7
 * low nibbles in bytes 8..11 (the minimum's high in the byte), top 2 bits above the first eight. */
static void scales_6_bits(const uint8_t *s, float d, float dmin, float scale[8], float min[8]) {
    for (int g = 0; g < 4; g++) {
        scale[g] = d * (float)(s[g] & 63);
        min[g] = dmin * (float)(s[g + 4] & 63);
        scale[g + 4] = d * (float)((s[g + 8] & 15) | s[g] >> 6 << 4);
        min[g + 4] = dmin * (float)(s[g + 8] >> 4 | s[g + 4] >> 6 << 4);
    }
}

/* f16 d, f16 dmin, 12 bytes of scales, 128 of codes; groups of 32: code (d scale) - dmin min */
void wk_decode_q4_k(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 144, out += 256) {
        float scale[8], min[8];
        scales_6_bits(raw + 4, wk_get_f16(raw), wk_get_f16(raw + 2), scale, min);
        for (int i = 0; i < 256; i++) out[i] = scale[i / 32] * (float)code4(raw + 16, i) - min[i / 32];
    }
}

/* As Q4_K with 32 bytes of fifth bits (bit g of byte j: element 32 g + j) between scales and codes. */
void wk_decode_q5_k(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 176, out += 256) {
        float scale[8], min[8];
        scales_6_bits(raw + 4, wk_get_f16(raw), wk_get_f16(raw + 2), scale, min);
        for (int i = 0; i < 256; i++)
            out[i] = scale[i / 32] * (float)(code4(raw + 48, i) | (raw[16 + i % 32] >> (i / 32) & 1) << 4) - min[i / 32];
    }
}

/* 128 bytes of low nibbles, 64 of top 2 bits, 16 int8 scales, f16 d; groups of 16: (code - 32) (d scale).
 * In each half of 128: nibbles of byte j are elements j and 64 + j; top bits of byte j serve elements 32 k + j at bit 2 k. */
void wk_decode_q6_k(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 210, out += 256) {
        float d = wk_get_f16(raw + 208);
        for (int i = 0; i < 256; i++) {
            int low = raw[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15, high = code2(raw + 128, i);
            out[i] = d * (float)(int8_t)raw[192 + i / 16] * (float)((low | high << 4) - 32);
        }
    }
}

/* ---- encoders: round to nearest, each group's range as it is ---- */

/* Finds per group of 32 a scale and minimum in 6 bits, writes d, dmin and the 12 bytes, and gives back what they decode to. */
static void put_scales(const float *in, int most_code, uint8_t *raw, float scale[8], float min[8]) {
    float range[8], low[8], d = 0, dmin = 0;
    for (int g = 0; g < 8; g++) {
        float lo = 0, hi = in[32 * g];
        for (int j = 0; j < 32; j++) {
            float v = in[32 * g + j];
            lo = v < lo ? v : lo;  /* a minimum above 0 cannot be stored */
            hi = v > hi ? v : hi;
        }
        range[g] = (hi - lo) / (float)most_code;
        low[g] = -lo;
        d = range[g] > d ? range[g] : d;
        dmin = low[g] > dmin ? low[g] : dmin;
    }
    wk_put_f16(raw, d / 63);
    wk_put_f16(raw + 2, dmin / 63);
    d = wk_get_f16(raw);
    dmin = wk_get_f16(raw + 2);
    uint8_t *s = raw + 4;
    memset(s, 0, 12);
    for (int g = 0; g < 8; g++) {
        int a = d > 0 ? wk_clamp_int(roundf(range[g] / d), 0, 63) : 0,
            b = dmin > 0 ? wk_clamp_int(roundf(low[g] / dmin), 0, 63) : 0;
        if (g < 4) {
            s[g] = (uint8_t)a;
            s[g + 4] = (uint8_t)b;
        } else {
            s[g + 4] = (uint8_t)((a & 15) | (b & 15) << 4);
            s[g - 4] = (uint8_t)(s[g - 4] | a >> 4 << 6);
            s[g] = (uint8_t)(s[g] | b >> 4 << 6);
        }
    }
    scales_6_bits(s, d, dmin, scale, min);
}

/* The code of element i under its group's scale. */
static int code_of(float v, float scale, float min, int most_code) {
    return scale > 0 ? wk_clamp_int((v + min) / scale + 0.5f, 0, most_code) : 0;
}

void wk_encode_q4_k(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 256, raw += 144, in += 256) {
        float scale[8], min[8];
        put_scales(in, 15, raw, scale, min);
        memset(raw + 16, 0, 128);
        for (int i = 0; i < 256; i++) {
            uint8_t *q = &raw[16 + i / 64 * 32 + i % 32];
            *q = (uint8_t)(*q | code_of(in[i], scale[i / 32], min[i / 32], 15) << (i % 64 / 32 * 4));
        }
    }
}

void wk_encode_q5_k(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 256, raw += 176, in += 256) {
        float scale[8], min[8];
        put_scales(in, 31, raw, scale, min);
        memset(raw + 16, 0, 160);
        for (int i = 0; i < 256; i++) {
            int c = code_of(in[i], scale[i / 32], min[i / 32], 31);
            uint8_t *q = &raw[48 + i / 64 * 32 + i % 32], *h = &raw[16 + i % 32];
            *q = (uint8_t)(*q | (c & 15) << (i % 64 / 32 * 4));
            *h = (uint8_t)(*h | c >> 4 << (i / 32));
        }
    }
}

void wk_encode_q6_k(const float *in, uint8_t *raw, int64_t n) {
    for (; n > 0; n -= 256, raw += 210, in += 256) {
        float want[16], d = 0;
        for (int g = 0; g < 16; g++) {
            float best = 0;  /* becomes code -32, which has no opposite */
            for (int j = 0; j < 16; j++) if (fabsf(in[16 * g + j]) > fabsf(best)) best = in[16 * g + j];
            want[g] = best / -32;
            if (fabsf(want[g]) > fabsf(d)) d = want[g];
        }
        memset(raw, 0, 192);
        wk_put_f16(raw + 208, d / -128);
        d = wk_get_f16(raw + 208);
        for (int g = 0; g < 16; g++) {
            int s = d != 0 ? wk_clamp_int(roundf(want[g] / d), -128, 127) : 0;
            raw[192 + g] = (uint8_t)(int8_t)s;
            for (int i = 16 * g; i < 16 * g + 16; i++) {
                int c = s ? wk_clamp_int(in[i] / (d * (float)s) + 32.5f, 0, 63) : 32;
                uint8_t *low = &raw[i / 128 * 64 + i % 64], *high = &raw[128 + i / 128 * 32 + i % 32];
                *low = (uint8_t)(*low | (c & 15) << (i % 128 / 64 * 4));
                *high = (uint8_t)(*high | c >> 4 << (i % 128 / 32 * 2));
            }
        }
    }
}
