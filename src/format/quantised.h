/* quantised.h: the quantised weights of a Hugging Face folder: what config.json's quantization_config says of them, and the arrays
 * that each one lies in, put together as one tensor with parts. */
#ifndef WK_QUANTISED_H
#define WK_QUANTISED_H
#include "base/json.h"
#include "format/names.h"
#include "tensor/tensor.h"

/* A folder's tensors, before and after. */
typedef struct wk_tensor_list {
    const char *path;   /* the folder, for errors */
    wk_tensor *tensor;  /* [n_tensor] */
    size_t n_tensor;
    const wk_names *names;  /* finds them by name */
    wk_arena *own;          /* takes descriptions and names */
} wk_tensor_list;

/* Puts together what quantization_config q describes; *list gets shorter, so that its names have to be indexed again:
 *   gptq    <m>.qweight, qzeros, scales, g_idx      "<m>.weight" of WK_GPTQ
 *   awq     <m>.qweight, qzeros, scales             "<m>.weight" of WK_AWQ
 *   fp8, fbgemm_fp8, compressed-tensors (float-quantized)
 *           <m>.weight of 8-bit floats, weight_scale_inv or weight_scale      "<m>.weight" with parts
 *   mxfp4   <m>_blocks, <m>_scales                  "<m>" of WK_MXFP4, [n_expert, n_out, n_in]
 * Other tensors stay as they are. Shapes are held against each other, groups and scales are in range afterwards.
 * Errors  WICK_E_UNSUPPORTED (another method or form of one), WICK_E_FORMAT, WICK_E_MEMORY. */
wick_status wk_quantised_group(wk_tensor_list *list, const json_t *q);

#endif
