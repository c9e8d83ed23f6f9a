/* dropout.c: y = x with elements left out and the others made up for it, where the batch drops (graph/dropout.h); else y = x.
 * What is left out is a function of the row and the column, so the gradient is the same op on the gradient. Srivastava et al.
 * 2014. */
#include "graph/dropout.h"
#include "graph/ops/ops.h"

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    if (!(n->attr.dropout >= 0 && n->attr.dropout < 1)) return wk_op_misfit(n, "a dropout of %g", (double)n->attr.dropout);
    out[0] = wk_in_shape(g, n, 0);
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    const wk_ref_array *x = &c->in[0];
    const wk_batch *b = c->batch;
    wk_dropout d = wk_dropout_new(b->drop_seed, b->drop_step, c->node->attr.slot, c->node->attr.dropout);
    for (int64_t r = 0; r < c->out[0].rows; r++)
        for (int64_t i = 0; i < x->cols; i++)
            c->out[0].f[r * x->cols + i] =
                x->f[r * x->cols + i] * (b->drop ? (double)wk_dropout_at(&d, wk_dropout_row(&d, r), (uint32_t)i) : 1);
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    (void)want;
    g_in[0] = wk_graph_op(g, WK_OP_DROPOUT, g_out, 1, &n->attr, "dropout_grad");
    return g->status;
}

const wk_op_info wk_op_dropout = {
    .name = "dropout", .n_in = 1, .n_out = 1, .tol = 1e-6, .shape = shape, .reference = reference, .grad = grad,
};
