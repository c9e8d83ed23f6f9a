/* ops.h: the entries of the op table, one file each beside this. */
#ifndef WK_OPS_H
#define WK_OPS_H
#include "graph/op.h"

extern const wk_op_info wk_op_embed, wk_op_rms_norm, wk_op_linear, wk_op_lora, wk_op_rope, wk_op_attention, wk_op_glu, wk_op_add,
    wk_op_softcap, wk_op_select_rows, wk_op_route, wk_op_expert_linear, wk_op_combine, wk_op_cross_entropy, wk_op_dropout,
    wk_op_gain,
    wk_op_gain_grad, wk_op_rms_norm_grad, wk_op_linear_input_grad, wk_op_linear_weight_grad, wk_op_linear_bias_grad,
    wk_op_embed_grad, wk_op_lora_grad, wk_op_attention_grad, wk_op_glu_grad, wk_op_softcap_grad, wk_op_select_rows_grad,
    wk_op_cross_entropy_grad, wk_op_cross_entropy_weight_grad, wk_op_route_grad, wk_op_expert_input_grad, wk_op_expert_weight_grad,
    wk_op_expert_bias_grad, wk_op_combine_grad, wk_op_sinks_grad;

#endif
