/* collect.c: a backend whose weights are no more than where their numbers lie. The binder (model/bind.c) then finds a model's
 * tensors by role, checks their shapes, undoes what a format does to them, and refuses what it does not know, for a conversion
 * as for running. Load: 100 to 100,000 weights of which nothing is read. */
#include "convert/conversion.h"
#include <string.h>

static void weight_free(wk_backend *be, wk_weight *w) {
    (void)be;
    if (!w) return;
    wk_free(((wk_found *)w)->tensor);
    wk_free(((wk_found *)w)->parts);
    wk_free(((wk_found *)w)->row_from);
    wk_free(w);
}

static wick_status weight_new(wk_backend *be, const wk_weight_source *s, wk_weight **out) {
    const wk_tensor *t = s->tensor[0];
    int64_t rows = wk_tensor_rows(t), n_row = t->n_dim == 3 ? t->shape[1] : rows, n_order = s->vector ? wk_tensor_cols(t) : n_row;
    wk_found *f = wk_alloc(sizeof *f);
    *out = NULL;
    if (!f) return wk_fail_memory(sizeof *f, "a weight");
    f->base = (wk_weight){ t->dtype, s->vector ? s->n_tensor : rows / n_row * s->n_tensor, s->vector ? 1 : n_row,
                           wk_tensor_cols(t), 0 };
    f->n_tensor = s->n_tensor;
    f->add = s->add;
    f->tensor = wk_alloc_array((size_t)s->n_tensor, sizeof *f->tensor);  /* copies: slices of fused tensors do not last */
    if (s->row_from) f->row_from = wk_alloc_array((size_t)n_order, sizeof *f->row_from);
    if (t->parts) f->parts = wk_alloc_array((size_t)s->n_tensor, sizeof *f->parts);
    if (!f->tensor || (s->row_from && !f->row_from) || (t->parts && !f->parts)) {
        weight_free(be, &f->base);
        return wk_fail_memory((size_t)n_order * sizeof *f->row_from, "a weight");
    }
    for (int i = 0; i < s->n_tensor; i++) {
        f->tensor[i] = *s->tensor[i];
        if (f->parts && f->tensor[i].parts) {
            f->parts[i] = *f->tensor[i].parts;
            f->tensor[i].parts = &f->parts[i];
        }
    }
    if (s->row_from) memcpy(f->row_from, s->row_from, (size_t)n_order * sizeof *f->row_from);
    *out = &f->base;
    return WICK_OK;
}

const wk_tensor *wk_found_row(const wk_found *f, int64_t r, int64_t *row) {
    int64_t mat = r / f->base.n_row, in = r % f->base.n_row, per = f->base.n_mat / f->n_tensor;
    *row = mat % per * f->base.n_row + (f->row_from && f->base.n_row > 1 ? f->row_from[in] : in);
    return &f->tensor[mat / per];
}

/* Of matrices; vectors are not asked for. */
static void weight_row(wk_backend *be, const wk_weight *w, int64_t r, float *out) {
    int64_t row;
    const wk_tensor *t = wk_found_row((const wk_found *)w, r, &row);
    (void)be;
    wk_tensor_row(t, row, out);
}

static void collector_free(wk_backend *be) { wk_free(be); }

static const wk_backend_ops ops = {
    .name = "collector", .free = collector_free, .weight_new = weight_new, .weight_free = weight_free,
    .weight_row = weight_row,
};

wick_status wk_collector_new(wk_backend **out) {
    *out = wk_alloc(sizeof **out);
    if (!*out) return wk_fail_memory(sizeof **out, "a backend");
    (*out)->ops = &ops;
    return WICK_OK;
}
