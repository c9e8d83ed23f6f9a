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

const wk_op_info wk_op_softcap = { .name = "softcap", .n_in = 1, .n_out = 1, .tol = 1e-5, .shape = shape, .reference = reference };
