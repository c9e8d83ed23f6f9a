/* tensor.h: a named array in somebody's bytes: what the formats give and what backends pack. */
#ifndef WK_TENSOR_H
#define WK_TENSOR_H
#include "tensor/dtype.h"

/* A GPTQ linear layer's arrays (AutoGPTQ checkpoint layout), for dtype WK_GPTQ; the tensor's shape is [n_out, n_in].
 * The code of (o, i) is bits of qweight[i * bits / 32][o]; its group is g_idx[i], or i / group without g_idx.
 * weight = (code - zero) * scale, where zero = stored + 1 for checkpoint_format "gptq" (v1), stored for "gptq_v2". */
typedef struct wk_gptq {
    int bits;                /* 4 or 8 */
    int group;               /* inputs of a group */
    bool v2;                 /* zeros are stored as they are */
    int64_t n_group;
    const uint8_t *qweight;  /* int32 [n_in * bits / 32, n_out]; may be unaligned, as all of these */
    const uint8_t *qzeros;   /* int32 [n_group, n_out * bits / 32] */
    const uint8_t *scales;   /* [n_group, n_out] of scale_type */
    wk_dtype scale_type;     /* WK_F16, WK_BF16 or WK_F32 */
    const uint8_t *g_idx;    /* int32 [n_in], or NULL; each checked to be in 0..n_group-1 */
} wk_gptq;

typedef struct wk_tensor {
    wk_str name;
    wk_dtype dtype;
    int n_dim;               /* 0..4 */
    int64_t shape[4];        /* slowest first (row-major): a linear weight is [n_out, n_in], stacked experts
                              * [n_expert, n_out, n_in]; unused: 1 */
    const uint8_t *data;     /* borrowed from the file's map; may be unaligned */
    uint64_t n_bytes;
    const wk_gptq *gptq;     /* for WK_GPTQ, else NULL */
} wk_tensor;

/* Elements of the last dimension, and rows: the product of the others. */
int64_t wk_tensor_cols(const wk_tensor *t);
int64_t wk_tensor_rows(const wk_tensor *t);
/* Row r as float32: out [cols]. Works for every dtype that has a decoder, and for WK_GPTQ. */
void wk_tensor_row(const wk_tensor *t, int64_t r, float *out);

#endif
