/* rope.c: rotary position embedding. In each head, the pair (x[j], x[j + rot_dim/2]) turns by position * freq[j];
 * cos and sin are scaled by mscale (yarn). Columns of a head from rot_dim on stay. Su et al. 2021, section 3.4.2, with
 * the halves' pairing of GPT-NeoX. x [T, n_head * head_dim], freq [1, n_set * rot_dim / 2]: a row's batch.rope says which set
 * turns it (longrope has one for short sequences and one for long ones). x may be the wanted rows' alone. The gradient turns
 * back: the same op, inverse. */
#include "graph/ops/ops.h"
#include <math.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0), f = wk_in_shape(g, n, 1);
    const wk_attr *a = &n->attr;
    if (x.kind == WK_ROWS_FIXED || x.n != 1) return wk_op_misfit(n, "needs one row per token");
    if (a->n_head <= 0 || x.cols % a->n_head) return wk_op_misfit(n, "%lld columns for %d heads", (long long)x.cols, a->n_head);
    if (a->rot_dim <= 0 || a->rot_dim % 2 || a->rot_dim > x.cols / a->n_head || !f.cols || f.cols % (a->rot_dim / 2))
        return wk_op_misfit(n, "%d rotating dimensions of %lld, %lld frequencies", a->rot_dim, (long long)(x.cols / a->n_head),
                            (long long)f.cols);
    out[0] = x;
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    const wk_attr *a = &c->node->attr;
    int64_t cols = c->in[0].cols, hd = cols / a->n_head, half = a->rot_dim / 2;
    for (int64_t i = 0; i < c->out[0].rows; i++)
        for (int64_t h = 0, t = wk_batch_row(c->batch, c->rows, i); h < a->n_head; h++) {
            const double *x = c->in[0].f + i * cols + h * hd;
            double *y = c->out[0].f + i * cols + h * hd;
            const double *freq = c->in[1].f + (c->batch->rope && c->in[1].cols > half ? c->batch->rope[t] * half : 0);
            for (int64_t j = a->rot_dim; j < hd; j++) y[j] = x[j];
            for (int64_t j = 0; j < half; j++) {
                double angle = c->batch->pos[t] * freq[j];
                double cs = cos(angle) * (double)a->mscale, sn = sin(a->inverse ? -angle : angle) * (double)a->mscale;
                y[j] = x[j] * cs - x[j + half] * sn;
                y[j + half] = x[j + half] * cs + x[j] * sn;
            }
        }
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    wk_attr back = n->attr;
    back.inverse = !back.inverse;
    if (want[1]) return wk_fail(WICK_E_UNSUPPORTED, "op rope: frequencies have no gradient");
    g_in[0] = wk_graph_op(g, WK_OP_ROPE, (wk_val[]){ g_out[0], n->in[1] }, 2, &back, "rope_grad");
    return g->status;
}

const wk_op_info wk_op_rope = {
    .name = "rope", .n_in = 2, .n_out = 1, .in_place = true, .tol = 1e-5, .shape = shape, .reference = reference, .grad = grad,
};
