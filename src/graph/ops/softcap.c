/* softcap.c: y = cap * tanh(x / cap): logits stay within +-cap. Gemma 2 report, section 2. */
#include "graph/ops/ops.h"
#include <math.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    if (!(n->attr.cap > 0)) return wk_op_misfit(n, "a cap of %g", (double)n->attr.cap);
    out[0] = wk_in_shape(g, n, 0);
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    int64_t n = c->out[0].rows * c->out[0].cols;
    double cap = (double)c->node->attr.cap;
    for (int64_t i = 0; i < n; i++) c->out[0].f[i] = cap * tanh(c->in[0].f[i] / cap);
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    (void)want;
    g_in[0] = wk_graph_op(g, WK_OP_SOFTCAP_GRAD, (wk_val[]){ g_out[0], n->out[0] }, 2, &n->attr, "softcap_grad");
    return g->status;
}

const wk_op_info wk_op_softcap = {
    .name = "softcap", .n_in = 1, .n_out = 1, .tol = 1e-5, .shape = shape, .reference = reference, .grad = grad,
};

/* Inputs g and softcap's output y: dx = g (1 - (y / cap)^2). */
static void grad_reference(const wk_ref_call *c) {
    int64_t n = c->out[0].rows * c->out[0].cols;
    for (int64_t i = 0; i < n; i++) {
        double y = c->in[1].f[i] / (double)c->node->attr.cap;
        c->out[0].f[i] = c->in[0].f[i] * (1 - y * y);
    }
}

const wk_op_info wk_op_softcap_grad = {
    .name = "softcap_grad", .n_in = 2, .n_out = 1, .tol = 1e-5, .shape = shape, .reference = grad_reference,
};
