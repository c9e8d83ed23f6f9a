/* glu.c: y = act(gate) * up. Shazeer 2020. silu(x) = x / (1 + e^-x); gelu: Hendrycks & Gimpel 2016, exact and with tanh.
 * Clipped (gpt-oss' model card, section 2.2): (up + 1) gate / (1 + e^(-1.702 gate)), gate at most 7, up in -7..7. */
#include "graph/ops/ops.h"
#include <math.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape a = wk_in_shape(g, n, 0), b = wk_in_shape(g, n, 1);
    if (a.kind != b.kind || a.n != b.n || a.cols != b.cols) return wk_op_misfit(n, "gate and up differ in shape");
    out[0] = a;
    return WICK_OK;
}

static double act(wk_act kind, double x) {
    switch (kind) {
    case WK_ACT_SILU: return x / (1 + exp(-x));
    case WK_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));  /* sqrt(2/pi) */
    case WK_ACT_GELU: return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case WK_ACT_SWIGLU_CLIPPED: return fmin(x, 7) / (1 + exp(-1.702 * fmin(x, 7)));
    }
    return 0;
}

/* What the activated gate is multiplied by. */
static double factor(wk_act kind, double up) { return kind == WK_ACT_SWIGLU_CLIPPED ? fmax(-7, fmin(up, 7)) + 1 : up; }

static void reference(const wk_ref_call *c) {
    int64_t n = c->out[0].rows * c->out[0].cols;
    wk_act kind = c->node->attr.act;
    for (int64_t i = 0; i < n; i++) c->out[0].f[i] = act(kind, c->in[0].f[i]) * factor(kind, c->in[1].f[i]);
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    wk_val dgate = wk_graph_op(g, WK_OP_GLU_GRAD, (wk_val[]){ g_out[0], n->in[0], n->in[1] }, 3, &n->attr, "glu_grad");
    for (int i = 0; i < 2; i++) if (want[i]) g_in[i] = wk_graph_out(g, dgate, i);
    return g->status;
}

const wk_op_info wk_op_glu = {
    .name = "glu", .n_in = 2, .n_out = 1, .cheap = true, .tol = 1e-5, .shape = shape, .reference = reference,
    .grad = grad,
};

/* act'(x): with s the logistic function, P and p the normal distribution's integral and density,
 * silu: s + x s (1 - s); gelu: P + x p; gelu with tanh u: (1 + tanh u) / 2 + x / 2 (1 - tanh^2 u) u'. */
static double slope(wk_act kind, double x) {
    switch (kind) {
    case WK_ACT_SILU: {
        double s = 1 / (1 + exp(-x));
        return s + x * s * (1 - s);
    }
    case WK_ACT_GELU_TANH: {
        double t = tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.79788456080286535588 * (1 + 3 * 0.044715 * x * x);
    }
    case WK_ACT_SWIGLU_CLIPPED: {
        double s = 1 / (1 + exp(-1.702 * x));
        return x < 7 ? s + 1.702 * x * s * (1 - s) : 0;
    }
    case WK_ACT_GELU: return 0.5 * (1 + erf(x * 0.70710678118654752440)) + x * 0.39894228040143267794 * exp(-0.5 * x * x);
    }
    return 0;
}

/* Inputs g, gate, up: dgate = g act'(gate) up, dup = g act(gate); clipped, up has one added, and beyond the limits nothing
 * changes. */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = out[1] = wk_in_shape(g, n, 1);
    return wk_in_shape(g, n, 0).cols == out[0].cols ? WICK_OK : wk_op_misfit(n, "gradient and input differ in columns");
}

static void grad_reference(const wk_ref_call *c) {
    int64_t n = c->out[0].rows * c->out[0].cols;
    const double *g = c->in[0].f, *gate = c->in[1].f, *up = c->in[2].f;
    for (int64_t i = 0; i < n; i++) {
        bool moves = c->node->attr.act != WK_ACT_SWIGLU_CLIPPED || fabs(up[i]) < 7;
        c->out[0].f[i] = g[i] * slope(c->node->attr.act, gate[i]) * factor(c->node->attr.act, up[i]);
        c->out[1].f[i] = moves ? g[i] * act(c->node->attr.act, gate[i]) : 0;
    }
}

const wk_op_info wk_op_glu_grad = {
    .name = "glu_grad", .n_in = 3, .n_out = 2, .tol = 1e-5, .shape = grad_shape, .reference = grad_reference,
};
