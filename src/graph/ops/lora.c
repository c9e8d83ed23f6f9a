/* lora.c: y = base + s * B(A x) by each row's adapter; a row without one keeps base. Never merged, so that rows of
 * different adapters share a batch. Hu et al. 2021, section 4.1. base [R, n_out], x [R, n_in]; x left out: it is the row's token,
 * of which A and w have a row each. DoRA's gain and the bias it leaves alone: graph.h.
 * Where A and B are bfloat16, x and s A x are rounded to it, as for any product with such weights.
 * For training A [r, n_in] and B [n_out, r] are inputs, s is attr.scale, the batch's adapters do not act, and x may lose elements
 * by dropout first; saved: A x [R, r]. Where x is left out, A is [n_vocab, r], and saved is s times the token's row. Without
 * dropout the sums, and so the bits, are those of the same adapter when served. */
#include "graph/dropout.h"
#include "graph/ops/ops.h"
#include "graph/ops/product.h"
#include <string.h>

enum { MAX_RANK = 1024 };  /* held by the adapter loader */

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape base = wk_in_shape(g, n, 0), x = wk_in_shape(g, n, 1), a = wk_in_shape(g, n, 2), b = wk_in_shape(g, n, 3);
    if (n->in[1] >= 0 && (base.kind != x.kind || base.n != x.n)) return wk_op_misfit(n, "base and input differ in rows");
    if (base.kind == WK_ROWS_FIXED || base.n != 1) return wk_op_misfit(n, "needs one row per token");
    if ((n->in[2] < 0) != (n->in[3] < 0)) return wk_op_misfit(n, "A and B come together");
    bool by_token = n->in[1] < 0;
    int64_t rank = by_token ? a.cols : a.n;
    if (n->in[2] >= 0 && ((!by_token && a.cols != x.cols) || b.n != base.cols || rank != b.cols))
        return wk_op_misfit(n, "A [%lld, %lld] and B [%lld, %lld] between %lld and %lld columns", (long long)a.n, (long long)a.cols,
                            (long long)b.n, (long long)b.cols, (long long)x.cols, (long long)base.cols);
    if (rank > MAX_RANK) return wk_op_misfit(n, "rank %lld, at most %d", (long long)rank, MAX_RANK);
    if (n->in[2] >= 0 && by_token && base.kind != WK_ROWS_T) return wk_op_misfit(n, "rows of tokens are all rows");
    if (!(n->attr.dropout >= 0 && n->attr.dropout < 1)) return wk_op_misfit(n, "a dropout of %g", (double)n->attr.dropout);
    out[0] = base;
    out[1] = (wk_shape){ base.kind, 1, rank, false };
    return WICK_OK;
}

/* y += gain * B (scale * mid), mid [r] rounded as B has it, gain [n_out] or NULL. */
static void add_b(const wk_ref_call *c, const wk_ref_array *b, const double *gain, double scale, const double *mid, double *y) {
    double scaled[MAX_RANK], sum;
    for (int64_t j = 0; j < b->cols; j++) scaled[j] = scale * mid[j];
    for (int64_t o = 0; o < b->rows; o++) {
        wk_ref_product(b->f + o * b->cols, scaled, 1, b->cols, NULL, wk_rounding_of(c, b, 0), &sum);
        y[o] += gain ? gain[o] * sum : sum;
    }
}

/* A row's share of x = NULL: its token's. */
static void add_sum(const wk_ref_call *c, const wk_ref_lora *l, const double *x, int32_t token, double *y) {
    double mid[MAX_RANK];
    if (x) wk_ref_product(l->a.f, x, l->a.rows, l->a.cols, NULL, wk_rounding_of(c, &l->a, 0), mid);
    else memcpy(mid, l->a.f + token * l->a.cols, (size_t)l->a.cols * sizeof *mid);
    add_b(c, &l->b, l->gain.f, l->scale, mid, y);
}

/* Each adds its share of the change that it makes to W x. */
static void adapt(const wk_ref_call *c, const wk_ref_lora *first, const double *x, int32_t token, double *y) {
    int64_t n_out = c->out[0].cols;
    const wk_ref_lora *whole = first;
    while (whole && !whole->w.f) whole = whole->also;
    if (whole && x) wk_ref_product(whole->w.f, x, n_out, whole->w.cols, NULL, WK_ROUND_NONE, y);
    else if (whole) memcpy(y, whole->w.f + token * n_out, (size_t)n_out * sizeof *y);
    for (int64_t o = 0; o < n_out; o++) {
        double gain = 1, bias = 0;
        for (const wk_ref_lora *l = first; l; l = l->also) {
            if (!l->gain.f) continue;
            gain += l->share * (l->gain.f[o] - 1);
            bias = l->bias.f && !whole ? l->bias.f[o] : 0;
        }
        y[o] = gain * (y[o] - bias) + bias;
    }
    for (const wk_ref_lora *l = first; l; l = l->also) if (l->a.f) add_sum(c, l, x, token, y);
}

/* The factor of element i of the input's row r: 1 without dropout. */
static double kept(const wk_ref_call *c, int64_t r, int64_t i) {
    const wk_batch *b = c->batch;
    if (!b->drop || !(c->node->attr.dropout > 0)) return 1;
    wk_dropout d = wk_dropout_new(b->drop_seed, b->drop_step, c->node->attr.slot, c->node->attr.dropout);
    return (double)wk_dropout_at(&d, wk_dropout_row(&d, r), (uint32_t)i);
}

static void trained_by_token(const wk_ref_call *c) {
    const wk_ref_array *a = &c->in[2], *b = &c->in[3];
    for (int64_t r = 0; r < c->out[0].rows; r++) {
        double mid[MAX_RANK];
        for (int64_t j = 0; j < a->cols; j++) mid[j] = (double)c->node->attr.scale * a->f[c->batch->token[r] * a->cols + j];
        for (int64_t o = 0; o < b->rows; o++)
            for (int64_t j = 0; j < b->cols; j++) c->out[0].f[r * b->rows + o] += b->f[o * b->cols + j] * mid[j];
        if (c->node->n_out > 1) memcpy(c->out[1].f + r * a->cols, mid, (size_t)a->cols * sizeof *mid);
    }
}

static void trained(const wk_ref_call *c) {
    const wk_ref_array *x = &c->in[1], *a = &c->in[2], *b = &c->in[3];
    bool round = wk_rounding_of(c, a, 0) == WK_ROUND_BF16;
    double mid[MAX_RANK];
    for (int64_t r = 0; r < x->rows; r++) {
        for (int64_t j = 0; j < a->rows; j++) mid[j] = 0;
        for (int64_t i = 0; i < x->cols; i++) {
            double v = x->f[r * x->cols + i] * kept(c, r, i);
            if (round) wk_round_kv(&v, 1, WK_BF16);
            for (int64_t j = 0; j < a->rows; j++) mid[j] += a->f[j * a->cols + i] * v;
        }
        add_b(c, b, NULL, (double)c->node->attr.scale, mid, c->out[0].f + r * b->rows);
        if (c->node->n_out > 1) memcpy(c->out[1].f + r * a->rows, mid, (size_t)a->rows * sizeof *mid);
    }
}

static void reference(const wk_ref_call *c) {
    const wk_ref_array *base = &c->in[0], *x = &c->in[1];
    const wk_batch *b = c->batch;
    memcpy(c->out[0].f, base->f, (size_t)(c->out[0].rows * base->cols) * sizeof(double));
    if (c->in[2].f) (x->f ? trained : trained_by_token)(c);
    if (c->in[2].f || !c->lora || !b->adapter) return;
    for (int64_t i = 0; i < c->out[0].rows; i++) {
        int64_t r = wk_batch_row(b, c->rows, i);
        int32_t k = b->adapter[r];
        if (k >= 0 && c->lora[k])
            adapt(c, c->lora[k], x->f ? x->f + i * x->cols : NULL, x->f ? 0 : b->token[r], c->out[0].f + i * base->cols);
    }
}

/* mid is s A's row: dB = sum over rows of g mid^T; A's row of each token gets s B^T g. */
static wick_status grad_by_token(wk_graph *g, const wk_node *n, wk_val g_out, const bool *want, wk_val *g_in) {
    if (want[2]) {
        wk_val d = wk_graph_op(g, WK_OP_LINEAR_INPUT_GRAD, (wk_val[]){ g_out, n->in[3] }, 2, NULL, "lora_grad");
        g_in[2] = wk_graph_op(g, WK_OP_EMBED_GRAD, (wk_val[]){ d, n->in[2] }, 2, &n->attr, "lora_grad");
    }
    if (want[3]) g_in[3] = wk_graph_op(g, WK_OP_LINEAR_WEIGHT_GRAD, (wk_val[]){ g_out, n->out[1] }, 2, NULL, "lora_grad");
    return g->status;
}

static wick_status grad(wk_graph *g, const wk_node *n, const wk_val *g_out, const bool *want, wk_val *g_in) {
    if (want[0]) g_in[0] = g_out[0];
    if (n->in[2] < 0) {
        if (!want[1]) return g->status;
        return wk_fail(WICK_E_UNSUPPORTED, "op lora: a batch's adapters have no gradient: give A and B as inputs");
    }
    if (n->in[1] < 0) return grad_by_token(g, n, g_out[0], want, g_in);
    wk_val dx = wk_graph_op(g, WK_OP_LORA_GRAD, (wk_val[]){ g_out[0], n->in[1], n->in[2], n->in[3], n->out[1] }, 5, &n->attr,
                            "lora_grad");
    for (int i = 1; i < 4; i++) if (want[i]) g_in[i] = wk_graph_out(g, dx, i - 1);
    return g->status;
}

const wk_op_info wk_op_lora = {
    .name = "lora", .n_in = 4, .n_optional = 3, .n_out = 1, .n_save = 1, .in_place = true, .grad_reads = 1u << 1, .tol = 1e-5,
    .shape = shape, .reference = reference, .grad = grad,
};

/* Inputs g, x, A, B, mid = A x~, where x~ is x after dropout. With d = s * B^T g: dA = sum over rows of d x~^T,
 * dB = s * sum over rows of g mid^T, dx = A^T d by the same elements. */
static wick_status grad_shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    for (int i = 0; i < 3; i++) out[i] = wk_in_shape(g, n, i + 1);
    return WICK_OK;
}

static void grad_reference(const wk_ref_call *c) {
    const wk_ref_array *g = &c->in[0], *x = &c->in[1], *a = &c->in[2], *b = &c->in[3], *mid = &c->in[4];
    double *dx = c->out[0].f, *da = c->out[1].f, *db = c->out[2].f, s = (double)c->node->attr.scale;
    memset(dx, 0, (size_t)(x->rows * x->cols) * sizeof *dx);
    memset(da, 0, (size_t)(a->rows * a->cols) * sizeof *da);
    memset(db, 0, (size_t)(b->rows * b->cols) * sizeof *db);
    for (int64_t r = 0; r < x->rows; r++)
        for (int64_t j = 0; j < a->rows; j++) {
            double d = 0;
            for (int64_t o = 0; o < b->rows; o++) {
                d += s * b->f[o * b->cols + j] * g->f[r * g->cols + o];
                db[o * b->cols + j] += s * g->f[r * g->cols + o] * mid->f[r * mid->cols + j];
            }
            for (int64_t i = 0; i < x->cols; i++) {
                double k = kept(c, r, i);
                da[j * a->cols + i] += d * k * x->f[r * x->cols + i];
                dx[r * x->cols + i] += d * k * a->f[j * a->cols + i];
            }
        }
}

const wk_op_info wk_op_lora_grad = {
    .name = "lora_grad", .n_in = 5, .n_out = 3, .tol = 1e-5, .shape = grad_shape, .reference = grad_reference,
};
