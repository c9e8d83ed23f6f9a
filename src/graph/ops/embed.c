/* embed.c: y[T,d] = E[token[t]] * scale. E [n_vocab, d]. */
#include "graph/ops/ops.h"
#include <string.h>

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

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    (void)want;
    g_in[0] = wk_graph_op(g, WK_OP_EMBED_GRAD, (wk_val[]){ g_out[0], n->in[0] }, 2, &n->attr, "embed_grad");
    return g->status;
}

const wk_op_info wk_op_embed = {
    .name = "embed", .n_in = 1, .n_out = 1, .tol = 1e-6, .shape = shape, .reference = reference, .grad = grad,
};

/* Inputs g, E: dE[v] = scale * sum of g's rows whose token is v, in order. */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 1);
    return wk_in_shape(g, n, 0).cols == out[0].cols ? WICK_OK : wk_op_misfit(n, "gradient and embedding differ in columns");
}

static void grad_reference(const wk_ref_call *c) {
    int64_t d = c->out[0].cols;
    memset(c->out[0].f, 0, (size_t)(c->out[0].rows * d) * sizeof(double));
    for (int t = 0; t < c->batch->n_row; t++)
        for (int64_t i = 0; i < d; i++)
            c->out[0].f[c->batch->token[t] * d + i] += c->in[0].f[t * d + i] * (double)c->node->attr.scale;
}

const wk_op_info wk_op_embed_grad = {
    .name = "embed_grad", .n_in = 2, .n_out = 1, .tol = 1e-5, .shape = grad_shape, .reference = grad_reference,
};
