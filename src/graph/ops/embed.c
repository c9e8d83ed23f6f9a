/* embed.c: y[T,d] = E[token[t]] * scale. E [n_vocab, d]. */
#include "graph/ops/ops.h"

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = (wk_shape){ WK_ROWS_T, 1, wk_in_shape(g, n, 0).cols, false };
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    int64_t d = c->out[0].cols;
    double scale = (double)c->node->attr.scale;
    for (int t = 0; t < c->batch->n_row; t++)
        for (int64_t i = 0; i < d; i++)
            c->out[0].f[t * d + i] = c->in[0].f[c->batch->token[t] * d + i] * scale;
}

const wk_op_info wk_op_embed = { .name = "embed", .n_in = 1, .n_out = 1, .tol = 1e-6, .shape = shape, .reference = reference };
