/* linear.c: y[R,o] = sum_i W[o,i] x[R,i] + bias[o], and its gradients. Where W is quantised, x is rounded to int8 by
 * groups of 32 first, where W is bfloat16, to that; in a gradient that rounding counts as the identity, and W's values are used
 * as they are. */
#include "graph/ops/ops.h"
#include "graph/ops/product.h"
#include <string.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0), w = wk_in_shape(g, n, 1);
    if (x.cols != w.cols) return wk_op_misfit(n, "input of %lld columns, a weight for %lld", (long long)x.cols, (long long)w.cols);
    if (g->value[n->in[1]].n_mat != 1) return wk_op_misfit(n, "stacked weights need expert_linear");
    if (n->in[2] >= 0 && wk_in_shape(g, n, 2).cols != w.n) return wk_op_misfit(n, "bias and weight differ in rows");
    out[0] = (wk_shape){ x.kind, x.n, w.n, false };
    return WICK_OK;
}

void wk_ref_product(const double *w, const double *x, int64_t n_out, int64_t n_in, const double *bias, wk_rounding round,
                    double *y) {
    double r[32];
    for (int64_t o = 0; o < n_out; o++) y[o] = bias ? bias[o] : 0;
    for (int64_t g = 0; g < n_in; g += 32) {  /* a group at a time, so that rounding needs no copy of the row */
        int64_t n = n_in - g < 32 ? n_in - g : 32;
        memcpy(r, x + g, (size_t)n * sizeof *r);
        if (round == WK_ROUND_INT8) wk_round_act(r, n);
        if (round == WK_ROUND_BF16) wk_round_kv(r, n, WK_BF16);
        for (int64_t o = 0; o < n_out; o++)
            for (int64_t i = 0; i < n; i++) y[o] += w[o * n_in + g + i] * r[i];
    }
}

static void reference(const wk_ref_call *c) {
    const wk_ref_array *x = &c->in[0], *w = &c->in[1];
    wk_rounding round = wk_rounding_of(c, w, 0);
    for (int64_t r = 0; r < c->out[0].rows; r++)
        wk_ref_product(w->f, x->f + r * x->cols, w->rows, w->cols, c->in[2].f, round, c->out[0].f + r * w->rows);
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    if (want[0]) g_in[0] = wk_graph_op(g, WK_OP_LINEAR_INPUT_GRAD, (wk_val[]){ g_out[0], n->in[1] }, 2, NULL, "linear_input_grad");
    if (want[1])
        g_in[1] = wk_graph_op(g, WK_OP_LINEAR_WEIGHT_GRAD, (wk_val[]){ g_out[0], n->in[0] }, 2, NULL, "linear_weight_grad");
    if (want[2]) g_in[2] = wk_graph_op(g, WK_OP_LINEAR_BIAS_GRAD, (wk_val[]){ g_out[0] }, 1, NULL, "linear_bias_grad");
    return g->status;
}

const wk_op_info wk_op_linear = {
    .name = "linear", .n_in = 3, .n_optional = 1, .n_out = 1, .tol = 1e-5, .shape = shape, .reference = reference, .grad = grad,
};

/* dx[R,i] = sum_o g[R,o] W[o,i]. Inputs g, W. */
static wick_status input_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape d = wk_in_shape(g, n, 0), w = wk_in_shape(g, n, 1);
    if (d.cols != w.n) return wk_op_misfit(n, "gradient of %lld columns, a weight of %lld rows", (long long)d.cols, (long long)w.n);
    out[0] = (wk_shape){ d.kind, d.n, w.cols, false };
    return WICK_OK;
}

static void input_grad_reference(const wk_ref_call *c) {
    const wk_ref_array *g = &c->in[0], *w = &c->in[1];
    memset(c->out[0].f, 0, (size_t)(c->out[0].rows * w->cols) * sizeof(double));
    for (int64_t r = 0; r < c->out[0].rows; r++)
        for (int64_t o = 0; o < w->rows; o++)
            for (int64_t i = 0; i < w->cols; i++)
                c->out[0].f[r * w->cols + i] += g->f[r * w->rows + o] * w->f[o * w->cols + i];
}

const wk_op_info wk_op_linear_input_grad = {
    .name = "linear_input_grad", .n_in = 2, .n_out = 1, .tol = 1e-5, .shape = input_grad_shape, .reference = input_grad_reference,
};

/* dW[o,i] = sum_r g[r,o] x[r,i]. Inputs g, x. */
static wick_status weight_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape d = wk_in_shape(g, n, 0), x = wk_in_shape(g, n, 1);
    if (d.kind != x.kind || d.n != x.n) return wk_op_misfit(n, "gradient and input differ in rows");
    out[0] = (wk_shape){ WK_ROWS_FIXED, d.cols, x.cols, false };
    return WICK_OK;
}

static void weight_grad_reference(const wk_ref_call *c) {
    const wk_ref_array *g = &c->in[0], *x = &c->in[1];
    for (int64_t o = 0; o < g->cols; o++)
        for (int64_t i = 0; i < x->cols; i++) {
            double sum = 0;
            for (int64_t r = 0; r < x->rows; r++) sum += g->f[r * g->cols + o] * x->f[r * x->cols + i];
            c->out[0].f[o * x->cols + i] = sum;
        }
}

const wk_op_info wk_op_linear_weight_grad = {
    .name = "linear_weight_grad",
    .n_in = 2,
    .n_out = 1,
    .tol = 1e-5,
    .shape = weight_grad_shape,
    .reference = weight_grad_reference,
};

/* dbias[1,o] = sum_r g[r,o]. */
static wick_status bias_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = (wk_shape){ WK_ROWS_FIXED, 1, wk_in_shape(g, n, 0).cols, false };
    return WICK_OK;
}

static void bias_grad_reference(const wk_ref_call *c) {
    const wk_ref_array *g = &c->in[0];
    for (int64_t o = 0; o < g->cols; o++) {
        c->out[0].f[o] = 0;
        for (int64_t r = 0; r < g->rows; r++) c->out[0].f[o] += g->f[r * g->cols + o];
    }
}

const wk_op_info wk_op_linear_bias_grad = {
    .name = "linear_bias_grad", .n_in = 1, .n_out = 1, .tol = 1e-5, .shape = bias_grad_shape, .reference = bias_grad_reference,
};
