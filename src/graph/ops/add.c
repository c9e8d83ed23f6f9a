/* add.c: y = a + b. */
#include "graph/ops/ops.h"

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape a = wk_in_shape(g, n, 0), b = wk_in_shape(g, n, 1);
    if (a.kind != b.kind || a.n != b.n || a.cols != b.cols) return wk_op_misfit(n, "terms differ in shape");
    out[0] = a;
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    int64_t n = c->out[0].rows * c->out[0].cols;
    for (int64_t i = 0; i < n; i++) c->out[0].f[i] = c->in[0].f[i] + c->in[1].f[i];
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    (void)n;
    for (int i = 0; i < 2; i++) if (want[i]) g_in[i] = g_out[0];
    return g->status;
}

const wk_op_info wk_op_add = {
    .name = "add", .n_in = 2, .n_out = 1, .in_place = true, .tol = 1e-6, .shape = shape, .reference = reference, .grad = grad
};
