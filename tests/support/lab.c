/* lab.c: see lab.h. */
#include "support/lab.h"
#include "graph/op.h"
#include "tensor/parts.h"
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

/* Types that nothing here writes: 8-bit floats of a few exponents, or codes at random, under float16 scales that make values of
 * about `size`. */
static const struct { wk_dtype type; int d, min; float d_size, min_size; } coded[] = {
    { WK_Q2_K, 80, 82, 1.0f / 11, 1.0f / 8 }, { WK_Q3_K, 108, -1, 1.0f / 64, 0 }, { WK_IQ4_XS, 0, -1, 1.0f / 1024, 0 },
    { WK_IQ3_S, 0, -1, 1.0f / 128, 0 },       { WK_TQ2_0, 64, -1, 1, 0 },
};

static void random_codes(lab_rng *r, wk_dtype type, float size, uint8_t *raw, uint64_t n_bytes) {
    size_t k = 0, n = sizeof coded / sizeof *coded;
    for (uint64_t i = 0; type == WK_F8_E4M3 && i < n_bytes; i++)  /* to 0.23 */
        raw[i] = (uint8_t)((lab_next(r) & 0x87) | (uint64_t)lab_pick(r, 1, 4) << 3);
    if (type == WK_F8_E4M3) return;
    while (k < n && coded[k].type != type) k++;
    if (k == n) fail_msg("lab: no weights of %s", wk_dtypes[type].name);
    for (uint64_t i = 0; i < n_bytes; i++) raw[i] = (uint8_t)lab_next(r);
    for (uint8_t *b = raw; b < raw + n_bytes; b += wk_dtypes[type].bytes) {
        wk_put_f16(b + coded[k].d, coded[k].d_size * size * (1 + lab_noise(r) / 8));
        if (coded[k].min >= 0) wk_put_f16(b + coded[k].min, coded[k].min_size * size * (1 + lab_noise(r) / 8));
    }
}

static void fill(lab_rng *r, wk_tensor *t, float around, float size, uint8_t *raw) {
    int64_t cols = t->shape[t->n_dim - 1];
    size_t row = 0;
    assert_true(wk_row_bytes(t->dtype, cols, &row));
    if (!wk_dtypes[t->dtype].encode) {
        random_codes(r, t->dtype, size, raw, t->n_bytes);
        return;
    }
    float *values = calloc((size_t)cols, sizeof *values);
    for (uint8_t *to = raw; to < raw + t->n_bytes; to += row) {
        for (int64_t i = 0; i < cols; i++) values[i] = around + size * lab_noise(r);
        wk_dtypes[t->dtype].encode(values, to, cols);
    }
    free(values);
}

/* Makes a weight of t, whose raw bytes (none of them in t yet) this frees. */
static wk_weight *add_weight(lab *l, const wk_tensor *t, bool vector, uint8_t *raw) {
    wk_weight_source s = { .tensor = (const wk_tensor *[]){ t }, .n_tensor = 1, .vector = vector };
    wk_weight *w = NULL;
    assert_in_range(l->n_weight, 0, LAB_WEIGHTS - 1);
    if (l->be->ops->weight_new(l->be, &s, &w)) fail_msg("%s", wick_last_error());
    free(raw);
    return l->weight[l->n_weight++] = w;
}

static wk_weight *make_weight(lab *l, wk_dtype type, int n_mat, int64_t rows, int64_t cols, bool vector, float around, float size) {
    size_t row = 0;
    assert_true(wk_row_bytes(type, cols, &row));
    uint8_t *raw = calloc((size_t)(n_mat * rows), row);
    wk_tensor t = { WK_STR("w"), type, vector ? 1 : n_mat > 1 ? 3 : 2, { 0 }, raw, (uint64_t)(n_mat * rows) * row, NULL };
    int64_t shape[3] = { n_mat, rows, cols };
    for (int i = 0; i < 4; i++) t.shape[i] = i < t.n_dim ? shape[3 - t.n_dim + i] : 1;
    fill(&l->rng, &t, around, size, raw);
    return add_weight(l, &t, vector, raw);
}

/* GPTQ's and AWQ's arrays: 4 bits, groups of 32, float16 scales; GPTQ's inputs in an order of their own (act-order). */
static wk_weight *make_parts(lab *l, wk_dtype type, int64_t rows, int64_t cols, float size) {
    lab_rng *r = &l->rng;
    int64_t n_group = cols / 32, codes = rows * cols / 2, zeros = rows * n_group / 2, scales = 2 * rows * n_group;
    assert_true(rows % 8 == 0 && cols % 32 == 0);
    uint8_t *raw = calloc(1, (size_t)(codes + zeros + scales + 4 * cols)), *scale = raw + codes + zeros, *g_idx = scale + scales;
    for (int64_t i = 0; i < codes + zeros; i++) raw[i] = (uint8_t)lab_next(r);
    for (int64_t i = 0; i < scales; i += 2) wk_put_f16(scale + i, size / 8 * (1 + lab_noise(r) / 8));
    for (uint32_t i = 0; i < (uint32_t)cols; i++) {
        uint32_t g = i * 5 % (uint32_t)cols / 32;
        memcpy(g_idx + 4 * i, &g, 4);
    }
    wk_parts p = { .order = type == WK_AWQ ? WK_CODES_AWQ : WK_CODES_GPTQ, .bits = 4, .n_out = rows, .n_in = cols, .group = 32,
                   .rows = 1, .n_group = n_group, .codes = raw, .zeros = raw + codes, .scales = scale, .scale_type = WK_F16,
                   .scale_row = 1, .scale_group = rows, .g_idx = type == WK_GPTQ ? g_idx : NULL };
    wk_tensor t = { .name = WK_STR("w"), .dtype = type, .n_dim = 2, .shape = { rows, cols, 1, 1 }, .data = raw, .parts = &p };
    return add_weight(l, &t, false, raw);
}

wk_weight *lab_weight(lab *l, wk_dtype type, int n_mat, int rows, int cols) {
    float size = 1 / sqrtf((float)cols);
    if (type == WK_GPTQ || type == WK_AWQ) return make_parts(l, type, rows, cols, size);
    return make_weight(l, type, n_mat, rows, cols, false, 0, size);
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
