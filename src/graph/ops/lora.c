/* lora.c: y = base + s * B(A x) by each row's adapter; a row without one keeps base. Never merged, so that rows of
 * different adapters share a batch. Hu et al. 2021, section 4.1. base [R, n_out], x [R, n_in]. */
#include "graph/ops/ops.h"
#include "graph/ops/product.h"
#include <string.h>

enum { MAX_RANK = 1024 };  /* held by the adapter loader */

static wick_status shape(const wk_graph *g, const wk_node *n, wk_shape *out) {
    wk_shape base = wk_in_shape(g, n, 0), x = wk_in_shape(g, n, 1);
    if (base.kind != x.kind || base.n != x.n) return wk_op_misfit(n, "base and input differ in rows");
    if (base.kind != WK_ROWS_T || base.n != 1) return wk_op_misfit(n, "needs one row per token");
    out[0] = base;
    return WICK_OK;
}

static void reference(const wk_ref_call *c) {
    const wk_ref_array *base = &c->in[0], *x = &c->in[1];
    double mid[MAX_RANK];
    memcpy(c->out[0].f, base->f, (size_t)(c->out[0].rows * base->cols) * sizeof(double));
    if (!c->lora || !c->batch->adapter) return;
    for (int64_t r = 0; r < c->out[0].rows; r++) {
        int32_t k = c->batch->adapter[r];
        if (k < 0 || !c->lora[k].there) continue;
        const wk_ref_lora *l = &c->lora[k];
        wk_ref_product(l->a.f, x->f + r * x->cols, l->a.rows, l->a.cols, NULL, false, mid);
        for (int64_t o = 0; o < base->cols; o++) {
            double sum = 0;
            for (int64_t j = 0; j < l->b.cols; j++) sum += l->b.f[o * l->b.cols + j] * mid[j];
            c->out[0].f[r * base->cols + o] += l->scale * sum;
        }
    }
}

const wk_op_info wk_op_lora = { .name = "lora", .n_in = 2, .n_out = 1, .tol = 1e-5, .shape = shape, .reference = reference };
