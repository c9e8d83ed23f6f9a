/* lab.c: see lab.h. */
#include "support/lab.h"
#include "graph/op.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

uint64_t lab_next(lab_rng *r) {  /* splitmix64 */
    uint64_t z = r->seed + ++r->n * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
int lab_pick(lab_rng *r, int lo, int hi) { return lo + (int)(lab_next(r) % (uint64_t)(hi - lo + 1)); }
int lab_choose(lab_rng *r, const int *from, int n) { return from[lab_pick(r, 0, n - 1)]; }
float lab_noise(lab_rng *r) {
    uint64_t z = lab_next(r);
    float x = (float)((double)(z >> 11) / 4503599627370496.0 - 1.0);
    return z % 61 == 0 ? x * 1e-6f : z % 67 == 0 ? x * 5 : x;
}

void lab_new(lab *l, wk_backend *be, bool saving, uint64_t seed) {
    *l = (lab){ .be = be, .rng = { seed, 0 } };
    assert_int_equal(wk_graph_new(saving, &l->g), WICK_OK);
}

void lab_free(lab *l) {
    l->be->ops->plan_free(l->plan);
    l->be->ops->kv_free(l->be, l->kv);
    for (int i = 0; i < l->n_weight; i++) l->be->ops->weight_free(l->be, l->weight[i]);
    wk_graph_free(l->g);
    l->be->ops->free(l->be);
}

wk_val lab_input(lab *l, int n, int cols) {
    assert_in_range(l->n_input, 0, LAB_INPUTS - 1);
    return l->input[l->n_input++] = wk_graph_input(l->g, (wk_shape){ WK_ROWS_T, n, cols, false }, "input");
}

static wk_weight *make_weight(lab *l, wk_dtype type, int n_mat, int64_t rows, int64_t cols, bool vector, float around, float size) {
    size_t row = 0;
    assert_true(wk_row_bytes(type, cols, &row));
    uint8_t *raw = calloc((size_t)(n_mat * rows), row);
    float *values = calloc((size_t)cols, sizeof *values);
    for (int64_t r = 0; r < n_mat * rows; r++) {
        for (int64_t i = 0; i < cols; i++) values[i] = around + size * lab_noise(&l->rng);
        wk_dtypes[type].encode(values, raw + (size_t)r * row, cols);
    }
    wk_tensor t = { WK_STR("w"), type, vector ? 1 : n_mat > 1 ? 3 : 2, { 0 }, raw, (uint64_t)(n_mat * rows) * row, NULL };
    int64_t shape[3] = { n_mat, rows, cols };
    for (int i = 0; i < 4; i++) t.shape[i] = i < t.n_dim ? shape[3 - t.n_dim + i] : 1;
    wk_weight_source s = { .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1, .vector = vector };
    assert_in_range(l->n_weight, 0, LAB_WEIGHTS - 1);
    wk_weight *w = NULL;
    assert_int_equal(l->be->ops->weight_new(l->be, &s, &w), WICK_OK);
    l->weight[l->n_weight++] = w;
    free(values);
    free(raw);
    return w;
}

wk_weight *lab_weight(lab *l, wk_dtype type, int n_mat, int rows, int cols) {
    return make_weight(l, type, n_mat, rows, cols, false, 0, 1 / sqrtf((float)cols));
}
wk_val lab_matrix(lab *l, wk_dtype type, int n_mat, int rows, int cols) {
    return wk_graph_param(l->g, lab_weight(l, type, n_mat, rows, cols), "matrix");
}
wk_weight *lab_vector_weight(lab *l, int n, float around) { return make_weight(l, WK_F32, 1, 1, n, true, around, 0.5f); }
wk_val lab_vector(lab *l, int n, float around) { return wk_graph_param(l->g, lab_vector_weight(l, n, around), "vector"); }

wk_val lab_op(lab *l, wk_op op, const wk_attr *a, int n_in, ...) {
    wk_val in[WK_MAX_IN];
    va_list ap;
    va_start(ap, n_in);
    for (int i = 0; i < n_in; i++) in[i] = va_arg(ap, wk_val);
    va_end(ap);
    return wk_graph_op(l->g, op, in, n_in, a, wk_ops[op]->name);
}

void lab_keep_all(lab *l) {
    for (size_t v = 0; v < l->g->n_value; v++) if (l->g->value[v].kind == WK_VALUE_RESULT) wk_graph_keep(l->g, (wk_val)v);
}

void lab_plan(lab *l, int max_rows) {
    if (l->g->status) fail_msg("%s", wick_last_error());
    if (l->be->ops->plan_new(l->be, l->g, max_rows, &l->plan)) fail_msg("%s", wick_last_error());
}

void lab_kv(lab *l, int n_layer, int n_head_kv, int head_dim, int n_page, wk_dtype type) {
    wk_kv_shape s = { n_layer, n_head_kv, head_dim, n_page, WK_PAGE_LEN, type };
    if (l->be->ops->kv_new(l->be, &s, &l->kv)) fail_msg("%s", wick_last_error());
}

void lab_fill(lab *l, lab_rng r, int T) {
    for (int i = 0; i < l->n_input; i++) {
        wk_shape s = l->g->value[l->input[i]].shape;
        int64_t rows = wk_shape_rows(s, T, T);
        float *x = calloc((size_t)(rows * s.cols), sizeof *x);
        for (int64_t j = 0; j < rows * s.cols; j++) x[j] = lab_noise(&r);
        l->be->ops->write(l->plan, l->input[i], 0, rows, x);
        free(x);
    }
}

void lab_rows_new(lab_rows *b, lab_rng *r, int n_seq) {
    *b = (lab_rows){ .n_seq = n_seq };
    int n = n_seq * LAB_PAGES;
    for (int i = 0; i < n; i++) b->page[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = lab_pick(r, 0, i);
        int32_t t = b->page[i];
        b->page[i] = b->page[j];
        b->page[j] = t;
    }
    lab_rows_clear(b);
}

void lab_rows_clear(lab_rows *b) {
    b->batch = (wk_batch){ .token = b->token, .pos = b->pos, .seq = b->seq, .out_row = b->out, .page = b->page,
                           .max_page = LAB_PAGES, .n_seq = b->n_seq };
}

void lab_rows_add(lab_rows *b, int seq, int32_t token) {
    int r = b->batch.n_row++;
    assert_in_range(r, 0, LAB_ROWS - 1);
    assert_in_range(b->len[seq], 0, LAB_PAGES * WK_PAGE_LEN - 1);
    b->token[r] = token;
    b->seq[r] = seq;
    b->pos[r] = b->len[seq]++;
    b->adapter[r] = -1;
    b->out[b->batch.n_out++] = r;
}
