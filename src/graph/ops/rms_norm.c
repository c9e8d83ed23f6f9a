/* rms_norm.c: y = x / sqrt(mean(x^2) + eps) * w over runs of `group` columns (the whole row, or a head's), and its gradient.
 * Zhang & Sennrich 2019, equation 4. x [R, n * group], w [group]; saved: 1/rms [R, n]. */
#include "graph/ops/ops.h"
#include <math.h>

static int64_t group_of(const wk_node *n, int64_t cols) { return n->attr.group ? n->attr.group : cols; }

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0), w = wk_in_shape(g, n, 1);
    int64_t group = group_of(n, x.cols);
    if (x.cols % group || w.cols != group)
        return wk_op_misfit(n, "%lld columns in groups of %lld, a weight of %lld", (long long)x.cols, (long long)group,
                            (long long)w.cols);
    out[0] = x;
    out[1] = (wk_shape){ x.kind, x.n, x.cols / group, false };
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    int64_t cols = c->in[0].cols, group = group_of(c->node, cols), n = cols / group;
    for (int64_t r = 0; r < c->out[0].rows * n; r++) {
        const double *x = c->in[0].f + r * group;
        double sum = 0;
        for (int64_t i = 0; i < group; i++) sum += x[i] * x[i];
        double rstd = 1 / sqrt(sum / (double)group + (double)c->node->attr.eps);
        for (int64_t i = 0; i < group; i++) c->out[0].f[r * group + i] = x[i] * rstd * c->in[1].f[i];
        if (c->node->n_out > 1) c->out[1].f[r] = rstd;
    }
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    wk_val dx = wk_graph_op(g, WK_OP_RMS_NORM_GRAD, (wk_val[]){ g_out[0], n->in[0], n->in[1], n->out[1] }, 4, &n->attr,
                            "rms_norm_grad");
    if (want[0]) g_in[0] = dx;
    if (want[1]) g_in[1] = wk_graph_out(g, dx, 1);
    return g->status;
}

const wk_op_info wk_op_rms_norm = {
    .name = "rms_norm", .n_in = 2, .n_out = 1, .n_save = 1, .cheap = true, .tol = 1e-5, .shape = shape, .reference = reference,
    .grad = grad,
};

/* Inputs g, x, w, rstd; outputs dx [as x], dw [1, group]. With h = g * w and y' = x * rstd:
 * dx = rstd * (h - y' * mean(h * y')), dw = sum over rows and groups of g * y'. */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 1);
    out[1] = (wk_shape){ WK_ROWS_FIXED, 1, wk_in_shape(g, n, 2).cols, false };
    return wk_in_shape(g, n, 0).cols == out[0].cols ? WICK_OK : wk_op_misfit(n, "gradient and input differ in columns");
}

static void grad_reference(const wk_ref_call *c) {
    int64_t group = c->in[2].cols, n = c->in[1].cols / group;
    for (int64_t i = 0; i < group; i++) c->out[1].f[i] = 0;
    for (int64_t r = 0; r < c->in[1].rows * n; r++) {
        const double *g = c->in[0].f + r * group, *x = c->in[1].f + r * group, *w = c->in[2].f;
        double rstd = c->in[3].f[r], mean = 0;
        for (int64_t i = 0; i < group; i++) mean += g[i] * w[i] * x[i] * rstd / (double)group;
        for (int64_t i = 0; i < group; i++) {
            c->out[0].f[r * group + i] = rstd * (g[i] * w[i] - x[i] * rstd * mean);
            c->out[1].f[i] += g[i] * x[i] * rstd;
        }
    }
}

const wk_op_info wk_op_rms_norm_grad = {
    .name = "rms_norm_grad", .n_in = 4, .n_out = 2, .tol = 1e-5, .shape = grad_shape, .reference = grad_reference,
};
