/* quant_iq.c: the IQ types: 256 elements whose codes name rows of a code book (iq_tables.h), with signs and small scales beside.
 * Layouts: GGUF specification, "ggml_type", as its Python reference (gguf.quants) reads them.
 * Load: whole models decoded once while packing; all types but IQ4_XS have no kernel of their own. */
#include "tensor/iq_tables.h"
#include "tensor/quant.h"

/* 8 elements of an IQ2 row: db * value, negative where signs has the element's bit. */
static void put_iq2(float *out, uint16_t row, int signs, float db) {
    static const uint8_t value[4] = { 8, 25, 43, 0 };
    for (int j = 0; j < 8; j++) {
        float v = db * (float)value[row >> (2 * j) & 3];
        out[j] = signs >> j & 1 ? -v : v;
    }
}

/* 4 elements of an IQ3 row. */
static void put_iq3(float *out, uint16_t row, const uint8_t value[8], int signs, float db) {
    for (int j = 0; j < 4; j++) {
        float v = db * (float)value[row >> (3 * j) & 7];
        out[j] = signs >> j & 1 ? -v : v;
    }
}

/* 7 stored sign bits; the eighth makes their number even. */
static int even_signs(uint32_t s7) { return (int)(s7 | (uint32_t)__builtin_parity(s7) << 7); }

/* f16 d, then per 32 elements: 4 row numbers, u32 with 4 x 7 signs and a 4-bit scale on top */
void wk_decode_iq2_xxs(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 66, out += 256) {
        float d = wk_get_f16(raw);
        for (int g = 0; g < 8; g++) {
            const uint8_t *q = raw + 2 + 8 * g;
            uint32_t aux = wk_get_u32(q + 4);
            float db = d * (0.5f + (float)(aux >> 28)) * 0.25f;
            for (int k = 0; k < 4; k++) put_iq2(out + 32 * g + 8 * k, wk_iq2xxs_grid[q[k]], even_signs(aux >> (7 * k) & 127), db);
        }
    }
}

/* f16 d, 32 u16 (9-bit row, 7 signs), 8 bytes of 4-bit scales, one per 16 elements */
void wk_decode_iq2_xs(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 74, out += 256) {
        float d = wk_get_f16(raw);
        for (int k = 0; k < 32; k++) {
            uint16_t q = wk_get_u16(raw + 2 + 2 * k);
            float db = d * (0.5f + (float)(raw[66 + k / 4] >> (k / 2 % 2 * 4) & 15)) * 0.25f;
            put_iq2(out + 8 * k, wk_iq2xs_grid[q & 511], even_signs(q >> 9), db);
        }
    }
}

/* f16 d, 32 low bytes of rows, 32 bytes of signs, 8 bytes of high 2 bits of rows, 8 bytes of 4-bit scales, one per 16 elements */
void wk_decode_iq2_s(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 82, out += 256) {
        float d = wk_get_f16(raw);
        for (int k = 0; k < 32; k++) {
            int row = raw[2 + k] | (raw[66 + k / 4] >> (k % 4 * 2) & 3) << 8;
            float db = d * (0.5f + (float)(raw[74 + k / 4] >> (k / 2 % 2 * 4) & 15)) * 0.25f;
            put_iq2(out + 8 * k, wk_iq2s_grid[row], raw[34 + k], db);
        }
    }
}

/* f16 d, 64 row numbers, 8 u32 with 4 x 7 signs and a 4-bit scale on top */
void wk_decode_iq3_xxs(const uint8_t *raw, float *out, int64_t n) {
    static const uint8_t value[8] = { 4, 12, 20, 28, 36, 44, 52, 62 };
    for (; n > 0; n -= 256, raw += 98, out += 256) {
        float d = wk_get_f16(raw);
        for (int k = 0; k < 64; k++) {
            uint32_t aux = wk_get_u32(raw + 66 + k / 8 * 4);
            float db = d * (0.5f + (float)(aux >> 28)) * 0.5f;
            put_iq3(out + 4 * k, wk_iq3xxs_grid[raw[2 + k]], value, even_signs(aux >> (k / 2 % 4 * 7) & 127) >> (k % 2 * 4), db);
        }
    }
}

/* f16 d, 64 low bytes of rows, 8 bytes of ninth bits, 32 bytes of signs, 4 bytes of 4-bit scales, one per 32 elements */
void wk_decode_iq3_s(const uint8_t *raw, float *out, int64_t n) {
    static const uint8_t value[8] = { 1, 3, 5, 7, 9, 11, 13, 15 };
    for (; n > 0; n -= 256, raw += 110, out += 256) {
        float d = wk_get_f16(raw);
        for (int k = 0; k < 64; k++) {
            int row = raw[2 + k] | (raw[66 + k / 8] >> (k % 8) & 1) << 8;
            float db = d * (float)(1 + 2 * (raw[106 + k / 16] >> (k / 8 % 2 * 4) & 15));
            put_iq3(out + 4 * k, wk_iq3s_grid[row], value, raw[74 + k / 2] >> (k % 2 * 4), db);
        }
    }
}

/* 8 elements of an IQ1 row, all moved up or down by an eighth. */
static void put_iq1(float *out, int row, bool down, float dl) {
    for (int j = 0; j < 8; j++) out[j] = dl * ((float)((wk_iq1_grid[row] >> (2 * j) & 3) - 1) + (down ? -0.125f : 0.125f));
}

/* f16 d, 32 low bytes of rows, 8 u16: 4 x 3 high bits of rows, 3-bit scale, the shift's sign */
void wk_decode_iq1_s(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 50, out += 256) {
        float d = wk_get_f16(raw);
        for (int k = 0; k < 32; k++) {
            uint16_t h = wk_get_u16(raw + 34 + k / 4 * 2);
            put_iq1(out + 8 * k, raw[2 + k] | (h >> (k % 4 * 3) & 7) << 8, h >> 15, d * (float)(2 * (h >> 12 & 7) + 1));
        }
    }
}

/* 32 low bytes of rows, 16 bytes of (3 high bits of a row, shift's sign) x 2, 4 u16 of 4 x 3-bit scales (one per 16
 * elements) whose top nibbles are the f16 d, lowest first */
void wk_decode_iq1_m(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 56, out += 256) {
        const uint8_t *s = raw + 48;
        float d = wk_f16_to_f32((uint16_t)(s[1] >> 4 | (s[3] & 0xF0) | (s[5] & 0xF0) << 4 | (s[7] & 0xF0) << 8));
        for (int k = 0; k < 32; k++) {
            int h = raw[32 + k / 2] >> (k % 2 * 4) & 15, scale = wk_get_u16(s + k / 8 * 2) >> (k / 2 % 4 * 3) & 7;
            put_iq1(out + 8 * k, raw[k] | (h & 7) << 8, h >> 3, d * (float)(2 * scale + 1));
        }
    }
}

/* f16 d, u16 of 8 x 2 high bits and 4 bytes of 8 low nibbles of scales, 128 bytes of codes;
 * groups of 32: values[code] d (scale - 32) */
void wk_decode_iq4_xs(const uint8_t *raw, float *out, int64_t n) {
    for (; n > 0; n -= 256, raw += 136, out += 256) {
        float d = wk_get_f16(raw);
        uint16_t high = wk_get_u16(raw + 2);
        for (int g = 0; g < 8; g++) {
            float dl = d * (float)(((raw[4 + g / 2] >> (g % 2 * 4) & 15) | (high >> (2 * g) & 3) << 4) - 32);
            for (int j = 0; j < 16; j++) {
                out[32 * g + j] = dl * (float)wk_iq4_values[raw[8 + 16 * g + j] & 15];
                out[32 * g + 16 + j] = dl * (float)wk_iq4_values[raw[8 + 16 * g + j] >> 4];
            }
        }
    }
}
