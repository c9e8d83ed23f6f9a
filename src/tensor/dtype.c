/* dtype.c: the table of number types, and the float types' own decoders and encoders.
 * Block sizes: GGUF specification, "ggml_type"; safetensors' names: its README, "Format".
 * Load: looked up once a tensor; F16 and BF16 rows of whole models are decoded here while packing. */
#include "tensor/dtype.h"
#include "tensor/quant.h"
#include <strings.h>

float wk_f16_to_f32(uint16_t h) {
    /* The 15 bits in a float's place are a number 2^112 too small, subnormals included. */
    union { uint32_t u; float f; } x = { (uint32_t)(h & 0x7FFF) << 13 };
    x.f *= 0x1p112f;
    if ((h & 0x7C00) == 0x7C00) x.u |= 0x7F800000;  /* infinity, NaN */
    x.u |= (uint32_t)(h & 0x8000) << 16;
    return x.f;
}

uint16_t wk_f32_to_f16(float f) {
    union { float f; uint32_t u; } x = { f };
    uint32_t sign = x.u >> 16 & 0x8000, a = x.u & 0x7FFFFFFF;
    if (a > 0x7F800000) return (uint16_t)(sign | 0x7E00);   /* NaN */
    if (a >= 0x477FF000) return (uint16_t)(sign | 0x7C00);  /* 65520 and above round to infinity */
    if (a < 0x38800000) {  /* below 2^-14: beside 0.5 a float's last bit is 2^-24, as a subnormal's */
        x.u = a;
        x.f += 0.5f;
        return (uint16_t)(sign | (x.u - 0x3F000000));
    }
    a += 0xFFF + (a >> 13 & 1);
    return (uint16_t)(sign | (a - 0x38000000) >> 13);
}

uint16_t wk_f32_to_bf16(float f) {
    union { float f; uint32_t u; } x = { f };
    if ((x.u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(x.u >> 16 | 64);  /* stays NaN */
    return (uint16_t)((x.u + 0x7FFF + (x.u >> 16 & 1)) >> 16);
}

static void decode_f32(const uint8_t *raw, float *out, int64_t n) { memcpy(out, raw, (size_t)n * 4); }
static void encode_f32(const float *in, uint8_t *raw, int64_t n) { memcpy(raw, in, (size_t)n * 4); }

static void decode_f16(const uint8_t *raw, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = wk_get_f16(raw + 2 * i);
}
static void encode_f16(const float *in, uint8_t *raw, int64_t n) {
    for (int64_t i = 0; i < n; i++) wk_put_f16(raw + 2 * i, in[i]);
}

static void decode_bf16(const uint8_t *raw, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = wk_bf16_to_f32(wk_get_u16(raw + 2 * i));
}
static void encode_bf16(const float *in, uint8_t *raw, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = wk_f32_to_bf16(in[i]);
        memcpy(raw + 2 * i, &h, 2);
    }
}

static void decode_f64(const uint8_t *raw, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double d;
        memcpy(&d, raw + 8 * i, 8);
        out[i] = (float)d;
    }
}
static void encode_f64(const float *in, uint8_t *raw, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double d = (double)in[i];
        memcpy(raw + 8 * i, &d, 8);
    }
}

/* OCP 8-bit Floating Point Specification 1.0: E5M2 is the top byte of a float16; E4M3 has a bias of 7, no infinity and one NaN. */
float wk_e4m3_to_f32(uint8_t b) {
    union { uint32_t u; float f; } x = { (uint32_t)(b & 0x7F) << 20 };  /* 2^120 too small, subnormals included */
    x.f *= 0x1p120f;
    if ((b & 0x7F) == 0x7F) x.u = 0x7FC00000;
    x.u |= (uint32_t)(b & 0x80) << 24;
    return x.f;
}
static void decode_e4m3(const uint8_t *raw, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = wk_e4m3_to_f32(raw[i]);
}
static void decode_e5m2(const uint8_t *raw, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = wk_f16_to_f32((uint16_t)(raw[i] << 8));
}
/* OCP Microscaling Formats 1.0: 2^(byte - 127); 255 is NaN. */
static void decode_e8m0(const uint8_t *raw, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        union { uint32_t u; float f; } x = { raw[i] == 255 ? 0x7FC00000 : raw[i] ? (uint32_t)raw[i] << 23 : 0x00400000 };
        out[i] = x.f;
    }
}

/*                    name       safetensors gguf block bytes quantised decode          encode */
const wk_dtype_info wk_dtypes[WK_DTYPE_COUNT] = {
    [WK_F32]     = { "F32",      "F32",      0,  1,   4,   false, decode_f32,         encode_f32 },
    [WK_F16]     = { "F16",      "F16",      1,  1,   2,   false, decode_f16,         encode_f16 },
    [WK_BF16]    = { "BF16",     "BF16",     30, 1,   2,   false, decode_bf16,        encode_bf16 },
    [WK_F64]     = { "F64",      "F64",      28, 1,   8,   false, decode_f64,         encode_f64 },
    [WK_I8]      = { "I8",       "I8",       24, 1,   1,   false, NULL,               NULL },
    [WK_I16]     = { "I16",      "I16",      25, 1,   2,   false, NULL,               NULL },
    [WK_I32]     = { "I32",      "I32",      26, 1,   4,   false, NULL,               NULL },
    [WK_I64]     = { "I64",      "I64",      27, 1,   8,   false, NULL,               NULL },
    [WK_U8]      = { "U8",       "U8",       -1, 1,   1,   false, NULL,               NULL },
    [WK_BOOL]    = { "BOOL",     "BOOL",     -1, 1,   1,   false, NULL,               NULL },
    [WK_Q4_0]    = { "Q4_0",     NULL,       2,  32,  18,  true,  wk_decode_q4_0,     wk_encode_q4_0 },
    [WK_Q4_1]    = { "Q4_1",     NULL,       3,  32,  20,  true,  wk_decode_q4_1,     wk_encode_q4_1 },
    [WK_Q5_0]    = { "Q5_0",     NULL,       6,  32,  22,  true,  wk_decode_q5_0,     wk_encode_q5_0 },
    [WK_Q5_1]    = { "Q5_1",     NULL,       7,  32,  24,  true,  wk_decode_q5_1,     wk_encode_q5_1 },
    [WK_Q8_0]    = { "Q8_0",     NULL,       8,  32,  34,  true,  wk_decode_q8_0,     wk_encode_q8_0 },
    [WK_Q2_K]    = { "Q2_K",     NULL,       10, 256, 84,  true,  wk_decode_q2_k,     NULL },
    [WK_Q3_K]    = { "Q3_K",     NULL,       11, 256, 110, true,  wk_decode_q3_k,     NULL },
    [WK_Q4_K]    = { "Q4_K",     NULL,       12, 256, 144, true,  wk_decode_q4_k,     wk_encode_q4_k },
    [WK_Q5_K]    = { "Q5_K",     NULL,       13, 256, 176, true,  wk_decode_q5_k,     wk_encode_q5_k },
    [WK_Q6_K]    = { "Q6_K",     NULL,       14, 256, 210, true,  wk_decode_q6_k,     wk_encode_q6_k },
    [WK_IQ1_S]   = { "IQ1_S",    NULL,       19, 256, 50,  true,  wk_decode_iq1_s,    NULL },
    [WK_IQ1_M]   = { "IQ1_M",    NULL,       29, 256, 56,  true,  wk_decode_iq1_m,    NULL },
    [WK_IQ2_XXS] = { "IQ2_XXS",  NULL,       16, 256, 66,  true,  wk_decode_iq2_xxs,  NULL },
    [WK_IQ2_XS]  = { "IQ2_XS",   NULL,       17, 256, 74,  true,  wk_decode_iq2_xs,   NULL },
    [WK_IQ2_S]   = { "IQ2_S",    NULL,       22, 256, 82,  true,  wk_decode_iq2_s,    NULL },
    [WK_IQ3_XXS] = { "IQ3_XXS",  NULL,       18, 256, 98,  true,  wk_decode_iq3_xxs,  NULL },
    [WK_IQ3_S]   = { "IQ3_S",    NULL,       21, 256, 110, true,  wk_decode_iq3_s,    NULL },
    [WK_IQ4_NL]  = { "IQ4_NL",   NULL,       20, 32,  18,  true,  wk_decode_iq4_nl,   wk_encode_iq4_nl },
    [WK_IQ4_XS]  = { "IQ4_XS",   NULL,       23, 256, 136, true,  wk_decode_iq4_xs,   NULL },
    [WK_TQ1_0]   = { "TQ1_0",    NULL,       34, 256, 54,  true,  wk_decode_tq1_0,    NULL },
    [WK_TQ2_0]   = { "TQ2_0",    NULL,       35, 256, 66,  true,  wk_decode_tq2_0,    NULL },
    [WK_MXFP4]   = { "MXFP4",    NULL,       39, 32,  17,  true,  wk_decode_mxfp4,    wk_encode_mxfp4 },
    [WK_F8_E4M3] = { "F8_E4M3",  "F8_E4M3",  -1, 1,   1,   false, decode_e4m3,        NULL },
    [WK_F8_E5M2] = { "F8_E5M2",  "F8_E5M2",  -1, 1,   1,   false, decode_e5m2,        NULL },
    [WK_F8_E8M0] = { "F8_E8M0",  "F8_E8M0",  -1, 1,   1,   false, decode_e8m0,        NULL },
    /* A layer's arrays, not blocks of a row: wk_tensor_row() decodes them. */
    [WK_GPTQ]    = { "GPTQ",     NULL,       -1, 1,   0,   true,  NULL,               NULL },
    [WK_AWQ]     = { "AWQ",      NULL,       -1, 1,   0,   true,  NULL,               NULL },
};

wk_dtype wk_dtype_of_gguf(uint32_t id) {
    int t = 0;
    while (t < WK_DTYPE_COUNT && (wk_dtypes[t].gguf_id < 0 || (uint32_t)wk_dtypes[t].gguf_id != id)) t++;
    return (wk_dtype)t;
}

wk_dtype wk_dtype_of_safetensors(wk_str name) {
    int t = 0;
    while (t < WK_DTYPE_COUNT && !(wk_dtypes[t].st_name && wk_str_eq(name, wk_dtypes[t].st_name))) t++;
    return (wk_dtype)t;
}

wk_dtype wk_dtype_of_name(const char *name) {
    int t = 0;
    while (t < WK_DTYPE_COUNT && strcasecmp(name, wk_dtypes[t].name)) t++;
    return (wk_dtype)t;
}

bool wk_row_bytes(wk_dtype t, int64_t n, size_t *out) {
    const wk_dtype_info *d = &wk_dtypes[t];
    return n >= 0 && n % d->block == 0 && wk_mul_size((size_t)(n / d->block), (size_t)d->bytes, out);
}
