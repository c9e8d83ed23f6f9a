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
    for (int64_t i = 0; i < n; i++) c->out[0].f[i] = act(c->node->attr.act, c->in[0].f[i]) * factor(c->node->attr.act, c->in[1].f[i]);
}

const wk_op_info wk_op_glu = { .name = "glu", .n_in = 2, .n_out = 1, .tol = 1e-5, .shape = shape, .reference = reference };
