/* select_rows.c: y[n_out,d] = x[out_row[i]]: only rows whose result is wanted pay for the output projection. */
#include "graph/ops/ops.h"
#include <string.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0);
    if (x.kind != WK_ROWS_T || x.n != 1) return wk_op_misfit(n, "needs one row per token");
    out[0] = (wk_shape){ WK_ROWS_OUT, 1, x.cols, false };
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    int64_t d = c->in[0].cols;
    for (int i = 0; i < c->batch->n_out; i++)
        memcpy(c->out[0].f + i * d, c->in[0].f + c->batch->out_row[i] * d, (size_t)d * sizeof(double));
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    (void)n;
    (void)want;
    g_in[0] = wk_graph_op(g, WK_OP_SELECT_ROWS_GRAD, (wk_val[]){ g_out[0] }, 1, NULL, "select_rows_grad");
    return g->status;
}

const wk_op_info wk_op_select_rows = {
    .name = "select_rows", .n_in = 1, .n_out = 1, .tol = 1e-6, .shape = shape, .reference = reference, .grad = grad,
};

/* Rows back to where they came from; zeros elsewhere. */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape d = wk_in_shape(g, n, 0);
    if (d.kind != WK_ROWS_OUT || d.n != 1) return wk_op_misfit(n, "needs the wanted rows");
    out[0] = (wk_shape){ WK_ROWS_T, 1, d.cols, false };
    return WICK_OK;
}

static void grad_reference(const wk_ref_call *c) {
    int64_t d = c->in[0].cols;
    memset(c->out[0].f, 0, (size_t)(c->out[0].rows * d) * sizeof(double));
    for (int i = 0; i < c->batch->n_out; i++)
        memcpy(c->out[0].f + c->batch->out_row[i] * d, c->in[0].f + i * d, (size_t)d * sizeof(double));
}

const wk_op_info wk_op_select_rows_grad = {
    .name = "select_rows_grad", .n_in = 1, .n_out = 1, .tol = 1e-6, .shape = grad_shape, .reference = grad_reference,
};
