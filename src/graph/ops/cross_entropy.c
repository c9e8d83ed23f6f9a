/* cross_entropy.c: the loss of a language model (or a classifier), together with the output projection, so that a backend never has
 * to hold all logits: z = W x (capped: cap * tanh(z / cap)), loss = log sum exp z - (1 - e) z[label] - e * mean(z), with label
 * smoothing e. Szegedy et al. 2016, section 7. x [R, d], W [V, d]; loss [R, 1]; saved: log-sum-exp [R, 1]. A row's label
 * is the batch's label of that token row; rows labelled -100 have no loss: leave them out of out_row, and they cost nothing.
 * Where W is quantised, x is rounded as linear rounds it: these logits are those of linear, to the bit.
 * An adapter of the head that is trained is two more inputs, mid [R, r], which is A x, and B [V, r]: z = W x + s B mid, as lora
 * adds it, s being attr.scale. */
#include "graph/ops/ops.h"
#include "graph/ops/product.h"
#include <math.h>
#include <string.h>

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape x = wk_in_shape(g, n, 0), w = wk_in_shape(g, n, 1);
    if (x.cols != w.cols || g->value[n->in[1]].n_mat != 1)
        return wk_op_misfit(n, "input of %lld columns, a weight for %lld", (long long)x.cols, (long long)w.cols);
    if (x.n != 1 || x.kind == WK_ROWS_FIXED) return wk_op_misfit(n, "needs one row per token");
    wk_shape mid = wk_in_shape(g, n, 2), b = wk_in_shape(g, n, 3);
    if ((n->in[2] < 0) != (n->in[3] < 0)) return wk_op_misfit(n, "A x and B come together");
    if (n->in[2] >= 0 && (mid.kind != x.kind || mid.n != 1 || b.n != w.n || b.cols != mid.cols))
        return wk_op_misfit(n, "B [%lld, %lld] from %lld columns to %lld", (long long)b.n, (long long)b.cols, (long long)mid.cols,
                            (long long)w.n);
    if (!(n->attr.smoothing >= 0 && n->attr.smoothing < 1)) return wk_op_misfit(n, "a smoothing of %g", (double)n->attr.smoothing);
    out[0] = out[1] = (wk_shape){ x.kind, 1, 1, false };
    return WICK_OK;
}

/* Logit v of row r; x and W are inputs `first` and on, mid and B inputs `low` and on. */
static double logit(const wk_ref_call *c, int first, int low, int64_t r, int64_t v) {
    const wk_ref_array *x = &c->in[first], *w = &c->in[first + 1], *mid = &c->in[low], *b = &c->in[low + 1];
    double z, cap = (double)c->node->attr.cap, sum = 0;
    wk_ref_product(w->f + v * w->cols, x->f + r * x->cols, 1, w->cols, NULL, wk_rounding_of(c, w, 0), &z);
    for (int64_t j = 0; b->f && j < b->cols; j++) sum += b->f[v * b->cols + j] * mid->f[r * b->cols + j];
    z += (double)c->node->attr.scale * sum;
    return cap > 0 ? cap * tanh(z / cap) : z;
}

/* x has the wanted rows or all of them; if as many are wanted as there are, they are the same. */
static int32_t label_of(const wk_ref_call *c, int64_t n_row, int64_t r) {
    const wk_batch *b = c->batch;
    return b->label ? b->label[n_row == b->n_row ? r : b->out_row[r]] : WK_NO_LABEL;
}

static void reference(const wk_ref_call *c) {
    const wk_ref_array *x = &c->in[0], *w = &c->in[1];
    double smooth = (double)c->node->attr.smoothing;
    for (int64_t r = 0; r < x->rows; r++) {
        int32_t label = label_of(c, x->rows, r);
        double top = -INFINITY, sum = 0, all = 0, own = 0;
        for (int64_t v = 0; v < w->rows; v++) {
            double z = logit(c, 0, 2, r, v), more = fmax(top, z);
            sum = sum * exp(top - more) + exp(z - more);
            top = more;
            all += z;
            if (v == label) own = z;
        }
        double lse = top + log(sum);
        c->out[0].f[r] = label < 0 ? 0 : lse - (1 - smooth) * own - smooth * all / (double)w->rows;
        if (c->node->n_out > 1) c->out[1].f[r] = lse;
    }
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    wk_val in[] = { g_out[0], n->in[0], n->in[1], n->out[1], n->in[2], n->in[3] };
    wk_attr of_b = n->attr;
    of_b.of_b = true;
    if (want[0] || want[2]) g_in[0] = wk_graph_op(g, WK_OP_CROSS_ENTROPY_GRAD, in, 6, &n->attr, "cross_entropy_grad");
    if (want[2]) g_in[2] = wk_graph_out(g, g_in[0], 1);
    if (want[1]) g_in[1] = wk_graph_op(g, WK_OP_CROSS_ENTROPY_WEIGHT_GRAD, in, 6, &n->attr, "cross_entropy_weight_grad");
    if (want[3]) g_in[3] = wk_graph_op(g, WK_OP_CROSS_ENTROPY_WEIGHT_GRAD, in, 6, &of_b, "cross_entropy_weight_grad");
    return g->status;
}

const wk_op_info wk_op_cross_entropy = {
    .name = "cross_entropy", .n_in = 4, .n_optional = 2, .n_out = 1, .n_save = 1, .tol = 1e-5, .shape = shape,
    .reference = reference, .grad = grad,
};

/* Inputs g [R, 1], x, W, lse, and perhaps mid, B. dz[v] = g * (softmax(z)[v] - (1 - e) [v = label] - e / V) * (1 - (z / cap)^2). */
static double dz(const wk_ref_call *c, int64_t r, int64_t v) {
    const wk_ref_array *x = &c->in[1], *w = &c->in[2];
    int32_t label = label_of(c, x->rows, r);
    double z = logit(c, 1, 4, r, v), cap = (double)c->node->attr.cap, smooth = (double)c->node->attr.smoothing;
    if (label < 0) return 0;
    double d = exp(z - c->in[3].f[r]) - smooth / (double)w->rows - (v == label ? 1 - smooth : 0);
    return c->in[0].f[r] * d * (cap > 0 ? 1 - z / cap * (z / cap) : 1);
}

/* dx = sum over v of dz[v] W[v], dmid = s * sum over v of dz[v] B[v] (a column of zeros where there is no B). */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, 1);
    out[1] = (wk_shape){ out[0].kind, 1, n->in[4] >= 0 ? wk_in_shape(g, n, 4).cols : 1, false };
    return WICK_OK;
}
static void grad_reference(const wk_ref_call *c) {
    const wk_ref_array *x = &c->in[1], *w = &c->in[2], *b = &c->in[5];
    memset(c->out[0].f, 0, (size_t)(x->rows * x->cols) * sizeof(double));
    memset(c->out[1].f, 0, (size_t)(x->rows * c->out[1].cols) * sizeof(double));
    for (int64_t r = 0; r < x->rows; r++)
        for (int64_t v = 0; v < w->rows; v++) {
            double d = dz(c, r, v);
            for (int64_t i = 0; i < x->cols; i++) c->out[0].f[r * x->cols + i] += d * w->f[v * w->cols + i];
            d *= (double)c->node->attr.scale;
            for (int64_t j = 0; b->f && j < b->cols; j++) c->out[1].f[r * b->cols + j] += d * b->f[v * b->cols + j];
        }
}
const wk_op_info wk_op_cross_entropy_grad = {
    .name = "cross_entropy_grad", .n_in = 6, .n_optional = 2, .n_out = 2, .tol = 1e-5, .shape = grad_shape,
    .reference = grad_reference,
};

/* dW[v] = sum over rows of dz[v] x, or dB[v] = s * sum over rows of dz[v] mid. */
static wick_status weight_grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    out[0] = wk_in_shape(g, n, n->attr.of_b ? 5 : 2);
    return WICK_OK;
}
static void weight_grad_reference(const wk_ref_call *c) {
    bool of_b = c->node->attr.of_b;
    const wk_ref_array *x = &c->in[of_b ? 4 : 1], *w = &c->in[of_b ? 5 : 2];
    memset(c->out[0].f, 0, (size_t)(w->rows * w->cols) * sizeof(double));
    for (int64_t v = 0; v < w->rows; v++)
        for (int64_t r = 0; r < x->rows; r++) {
            double d = dz(c, r, v) * (of_b ? (double)c->node->attr.scale : 1);
            for (int64_t i = 0; i < x->cols; i++) c->out[0].f[v * w->cols + i] += d * x->f[r * x->cols + i];
        }
}
const wk_op_info wk_op_cross_entropy_weight_grad = {
    .name = "cross_entropy_weight_grad", .n_in = 6, .n_optional = 2, .n_out = 1, .tol = 1e-5, .shape = weight_grad_shape,
    .reference = weight_grad_reference,
};
