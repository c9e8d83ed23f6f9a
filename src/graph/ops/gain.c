/* gain.c: y = x * w (+ bias), column by column: the magnitude of a layer that DoRA trains, over the length of its weight's rows.
 * Liu et al. 2024, eq. 5. x [R, d], w [d], bias [d]. */
#include "graph/ops/ops.h"
#include <string.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0), w = wk_in_shape(g, n, 1), b = wk_in_shape(g, n, 2);
    if (w.cols != x.cols || w.n != 1 || (n->in[2] >= 0 && b.cols != x.cols))
        return wk_op_misfit(n, "%lld columns, a gain of %lld", (long long)x.cols, (long long)w.cols);
    out[0] = x;
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    int64_t d = c->in[0].cols;
    for (int64_t r = 0; r < c->out[0].rows; r++)
        for (int64_t i = 0; i < d; i++)
            c->out[0].f[r * d + i] = c->in[0].f[r * d + i] * c->in[1].f[i] + (c->in[2].f ? c->in[2].f[i] : 0);
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    if (want[0]) g_in[0] = wk_graph_op(g, WK_OP_GAIN, (wk_val[]){ g_out[0], n->in[1] }, 2, NULL, "gain_input_grad");
    if (want[1]) g_in[1] = wk_graph_op(g, WK_OP_GAIN_GRAD, (wk_val[]){ g_out[0], n->in[0] }, 2, NULL, "gain_grad");
    if (want[2]) g_in[2] = wk_graph_op(g, WK_OP_LINEAR_BIAS_GRAD, (wk_val[]){ g_out[0] }, 1, NULL, "linear_bias_grad");
    return g->status;
}

const wk_op_info wk_op_gain = {
    .name = "gain", .n_in = 3, .n_optional = 1, .n_out = 1, .tol = 1e-6, .shape = shape, .reference = reference, .grad = grad,
};

/* dw[1, d] = sum over rows of g * x. Inputs g, x. */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape d = wk_in_shape(g, n, 0), x = wk_in_shape(g, n, 1);
    if (d.kind != x.kind || d.n != x.n || d.cols != x.cols) return wk_op_misfit(n, "gradient and input differ");
    out[0] = (wk_shape){ WK_ROWS_FIXED, 1, d.cols, false };
    return WICK_OK;
}

static void grad_reference(const wk_ref_call *c) {
    int64_t d = c->in[0].cols;
    memset(c->out[0].f, 0, (size_t)d * sizeof(double));
    for (int64_t r = 0; r < c->in[0].rows; r++)
        for (int64_t i = 0; i < d; i++) c->out[0].f[i] += c->in[0].f[r * d + i] * c->in[1].f[r * d + i];
}

const wk_op_info wk_op_gain_grad = {
    .name = "gain_grad", .n_in = 2, .n_out = 1, .tol = 1e-5, .shape = grad_shape, .reference = grad_reference,
};
