/* dtype.h: number types and quantised block types, as one table. A row of a tensor is a whole number of blocks. */
#ifndef WK_DTYPE_H
#define WK_DTYPE_H
#include "base/mem.h"
#include "base/status.h"

typedef enum wk_dtype {
    WK_F32, WK_F16, WK_BF16, WK_F64, WK_I8, WK_I16, WK_I32, WK_I64, WK_U8, WK_BOOL,
    WK_Q4_0, WK_Q4_1, WK_Q5_0, WK_Q5_1, WK_Q8_0,
    WK_Q2_K, WK_Q3_K, WK_Q4_K, WK_Q5_K, WK_Q6_K,
    WK_IQ1_S, WK_IQ1_M, WK_IQ2_XXS, WK_IQ2_XS, WK_IQ2_S, WK_IQ3_XXS, WK_IQ3_S, WK_IQ4_NL, WK_IQ4_XS,
    WK_TQ1_0, WK_TQ2_0, WK_MXFP4,
    WK_F8_E4M3, WK_F8_E5M2, WK_F8_E8M0,  /* E4M3 without infinities ("fn"); E8M0 is a power of two: a scale */
    WK_GPTQ, WK_AWQ,      /* linear layers whose codes and scales lie apart: the tensor's parts say how */
    WK_DTYPE_COUNT
} wk_dtype;

typedef struct wk_dtype_info {
    const char *name;     /* "F16", "Q4_K": as GGUF names it */
    const char *st_name;  /* in safetensors, or NULL */
    int gguf_id;          /* in GGUF, or -1 */
    int block;            /* elements of a block */
    int bytes;            /* of a block */
    bool quantised;
    /* n elements (a multiple of block) from raw bytes to float32. NULL: not numbers that a model computes with. */
    void (*decode)(const uint8_t *raw, float *out, int64_t n);
    /* the way back, round to nearest; NULL: no encoder (yet). */
    void (*encode)(const float *in, uint8_t *raw, int64_t n);
} wk_dtype_info;

extern const wk_dtype_info wk_dtypes[WK_DTYPE_COUNT];

/* By GGUF's number, by safetensors' name, by GGUF's name in any case; WK_DTYPE_COUNT if there is none. */
wk_dtype wk_dtype_of_gguf(uint32_t id);
wk_dtype wk_dtype_of_safetensors(wk_str name);
wk_dtype wk_dtype_of_name(const char *name);

/* Bytes of a row of n elements; false: n is no multiple of the block, or the size wraps. */
bool wk_row_bytes(wk_dtype t, int64_t n, size_t *out);

/* float16 and bfloat16, to nearest even. */
float wk_f16_to_f32(uint16_t h);
uint16_t wk_f32_to_f16(float f);
static inline float wk_bf16_to_f32(uint16_t h) {
    union { uint32_t u; float f; } x = { (uint32_t)h << 16 };
    return x.f;
}
uint16_t wk_f32_to_bf16(float f);
float wk_e4m3_to_f32(uint8_t b);

#endif
