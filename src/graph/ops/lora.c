/* lora.c: y = base + s * B(A x) by each row's adapter; a row without one keeps base. Never merged, so that rows of
 * different adapters share a batch. Hu et al. 2021, section 4.1. base [R, n_out], x [R, n_in]; x left out: it is the row's token,
 * of which A and w have a row each. DoRA's gain and offset (graph.h): Liu et al. 2024, eq. 5. */
#include "graph/ops/ops.h"
#include "graph/ops/product.h"
#include <string.h>

enum { MAX_RANK = 1024 };  /* held by the adapter loader */

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape base = wk_in_shape(g, n, 0), x = wk_in_shape(g, n, 1);
    if (n->in[1] >= 0 && (base.kind != x.kind || base.n != x.n)) return wk_op_misfit(n, "base and input differ in rows");
    if (base.kind == WK_ROWS_FIXED || base.n != 1) return wk_op_misfit(n, "needs one row per token");
    out[0] = base;
    return WICK_OK;
}

/* A row's share of x = NULL: its token's. */
static void add_sum(const wk_ref_lora *l, const double *x, int32_t token, double *y) {
    double mid[MAX_RANK];
    if (x) wk_ref_product(l->a.f, x, l->a.rows, l->a.cols, NULL, WK_ROUND_NONE, mid);
    else memcpy(mid, l->a.f + token * l->a.cols, (size_t)l->a.cols * sizeof *mid);
    for (int64_t o = 0; o < l->b.rows; o++) {
        double sum = 0;
        for (int64_t j = 0; j < l->b.cols; j++) sum += l->b.f[o * l->b.cols + j] * mid[j];
        y[o] += l->scale * sum;
    }
}

static void adapt(const wk_ref_lora *first, const double *x, int32_t token, int64_t n_out, double *y) {
    const wk_ref_lora *whole = first;
    while (whole && !whole->w.f) whole = whole->also;
    if (whole && x) wk_ref_product(whole->w.f, x, n_out, whole->w.cols, NULL, WK_ROUND_NONE, y);
    else if (whole) memcpy(y, whole->w.f + token * n_out, (size_t)n_out * sizeof *y);
    for (int64_t o = 0; o < n_out; o++) {
        double gain = 1, offset = 0;
        for (const wk_ref_lora *l = first; l; l = l->also) {
            if (l->gain.f) gain += l->share * (l->gain.f[o] - 1);
            if (l->offset.f) offset += l->share * l->offset.f[o];
        }
        y[o] = gain * y[o] + offset;
    }
    for (const wk_ref_lora *l = first; l; l = l->also) if (l->a.f) add_sum(l, x, token, y);
}

static void reference(const wk_ref_call *c) {
    const wk_ref_array *base = &c->in[0], *x = &c->in[1];
    const wk_batch *b = c->batch;
    memcpy(c->out[0].f, base->f, (size_t)(c->out[0].rows * base->cols) * sizeof(double));
    if (!c->lora || !b->adapter) return;
    for (int64_t i = 0; i < c->out[0].rows; i++) {
        int64_t r = c->out_rows ? b->out_row[i] : i;
        int32_t k = b->adapter[r];
        if (k >= 0 && c->lora[k])
            adapt(c->lora[k], x->f ? x->f + i * x->cols : NULL, x->f ? 0 : b->token[r], base->cols, c->out[0].f + i * base->cols);
    }
}

const wk_op_info wk_op_lora = {
    .name = "lora", .n_in = 2, .n_optional = 1, .n_out = 1, .in_place = true, .tol = 1e-5, .shape = shape, .reference = reference,
};
