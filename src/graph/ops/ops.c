/* ops.c: the table of ops, and what their reference kernels share: rounding. */
#include "graph/ops/ops.h"
#include <math.h>

const wk_op_info *const wk_ops[WK_OP_COUNT] = {
    [WK_OP_EMBED] = &wk_op_embed,
    [WK_OP_RMS_NORM] = &wk_op_rms_norm,
    [WK_OP_LINEAR] = &wk_op_linear,
    [WK_OP_LORA] = &wk_op_lora,
    [WK_OP_ROPE] = &wk_op_rope,
    [WK_OP_ATTENTION] = &wk_op_attention,
    [WK_OP_GLU] = &wk_op_glu,
    [WK_OP_ADD] = &wk_op_add,
    [WK_OP_SOFTCAP] = &wk_op_softcap,
    [WK_OP_SELECT_ROWS] = &wk_op_select_rows,
    [WK_OP_ROUTE] = &wk_op_route,
    [WK_OP_EXPERT_LINEAR] = &wk_op_expert_linear,
    [WK_OP_COMBINE] = &wk_op_combine,
    [WK_OP_CROSS_ENTROPY] = &wk_op_cross_entropy,
    [WK_OP_DROPOUT] = &wk_op_dropout,
    [WK_OP_RMS_NORM_GRAD] = &wk_op_rms_norm_grad,
    [WK_OP_LINEAR_INPUT_GRAD] = &wk_op_linear_input_grad,
    [WK_OP_LINEAR_WEIGHT_GRAD] = &wk_op_linear_weight_grad,
    [WK_OP_LINEAR_BIAS_GRAD] = &wk_op_linear_bias_grad,
    [WK_OP_GAIN] = &wk_op_gain,
    [WK_OP_GAIN_GRAD] = &wk_op_gain_grad,
    [WK_OP_EMBED_GRAD] = &wk_op_embed_grad,
    [WK_OP_LORA_GRAD] = &wk_op_lora_grad,
    [WK_OP_ATTENTION_GRAD] = &wk_op_attention_grad,
    [WK_OP_SINKS_GRAD] = &wk_op_sinks_grad,
    [WK_OP_GLU_GRAD] = &wk_op_glu_grad,
    [WK_OP_SOFTCAP_GRAD] = &wk_op_softcap_grad,
    [WK_OP_SELECT_ROWS_GRAD] = &wk_op_select_rows_grad,
    [WK_OP_CROSS_ENTROPY_GRAD] = &wk_op_cross_entropy_grad,
    [WK_OP_CROSS_ENTROPY_WEIGHT_GRAD] = &wk_op_cross_entropy_weight_grad,
    [WK_OP_ROUTE_GRAD] = &wk_op_route_grad,
    [WK_OP_EXPERT_INPUT_GRAD] = &wk_op_expert_input_grad,
    [WK_OP_EXPERT_WEIGHT_GRAD] = &wk_op_expert_weight_grad,
    [WK_OP_EXPERT_BIAS_GRAD] = &wk_op_expert_bias_grad,
    [WK_OP_COMBINE_GRAD] = &wk_op_combine_grad,
};

wk_rounding wk_rounding_of(const wk_ref_call *c, const wk_ref_array *w, int64_t m) {
    if (!c->round) return WK_ROUND_NONE;
    return wk_dtypes[w->dtype].quantised ? WK_ROUND_INT8 : w->bf16 && w->bf16[m] ? WK_ROUND_BF16 : WK_ROUND_NONE;
}

/* Groups below it are zeros, as the backends have it: what numbers are divided by to become codes is beyond float32. */
#define NOTHING 1e-36f

void wk_round_act(double *x, int64_t n) {
    for (int64_t g = 0; g < n; g += 32) {
        int64_t end = g + 32 < n ? g + 32 : n;
        float max = 0;
        for (int64_t i = g; i < end; i++) max = fmaxf(max, fabsf((float)x[i]));
        bool tiny = max < NOTHING;
        float scale = tiny ? 0 : max / 127.0f, inverse = tiny ? 0 : 127.0f / max;
        for (int64_t i = g; i < end; i++) x[i] = (double)scale * (double)rintf((float)x[i] * inverse);
    }
}

/* Blocks of 32 int8 under a float16 scale, as GGUF's Q8_0. */
static void round_q8_0(double *x, int64_t n) {
    for (int64_t g = 0; g < n; g += 32) {
        float max = 0;
        for (int64_t i = g; i < g + 32; i++) max = fmaxf(max, fabsf((float)x[i]));
        float scale = max / 127.0f, inverse = max < NOTHING ? 0 : 1.0f / scale;
        float kept = wk_f16_to_f32(wk_f32_to_f16(scale));
        for (int64_t i = g; i < g + 32; i++) x[i] = (double)kept * (double)roundf((float)x[i] * inverse);
    }
}

void wk_round_kv(double *x, int64_t n, wk_dtype type) {
    if (type == WK_Q8_0) round_q8_0(x, n);
    for (int64_t i = 0; i < n; i++) {
        if (type == WK_F16) x[i] = (double)wk_f16_to_f32(wk_f32_to_f16((float)x[i]));
        else if (type == WK_BF16) x[i] = (double)wk_bf16_to_f32(wk_f32_to_bf16((float)x[i]));
        else if (type == WK_F32) x[i] = (double)(float)x[i];
    }
}
