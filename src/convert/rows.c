/* rows.c: the bytes of the tensors to write, made row by row: copied where nothing changes, else decoded to float32 and encoded.
 * Load: every byte of a model once, 0.1 to 100 GB, in blocks of some megabytes; pages of the source are let go. */
#include "convert/conversion.h"
#include "base/file.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 4 << 20 };

/* Where rows of GGUF's interleaved heads come from: the halves of a head lie in turn (transformers' order to llama.cpp's). */
static int64_t interleaved(int64_t r, int64_t head) { return r / head * head + r % 2 * (head / 2) + r % head / 2; }

int64_t wk_origin_rows(const wk_origin *o) {
    int64_t n = 0;
    if (o->plain) return wk_tensor_rows(o->plain);
    for (int i = 0; i < o->n_piece; i++) n += o->piece[i]->base.n_row * (o->mat < 0 ? o->piece[i]->base.n_mat : 1);
    return o->made ? 1 : n;
}

/* in: which row of the piece it is; trained: its numbers, where they are not the tensor's */
typedef struct source { const wk_tensor *t; int64_t row; int piece; int64_t in; const float *trained; } source;

/* The source of row r. Stacked matrices of several pieces: matrix by matrix, the pieces' rows one below the other. */
static source source_row(const wk_origin *o, int64_t r) {
    int64_t per = 0, mat = o->mat;
    int i = 0;
    source s = { .t = o->plain, .row = r };
    if (o->plain) return s;
    for (int k = 0; k < o->n_piece; k++) per += o->piece[k]->base.n_row;
    if (mat < 0) {
        mat = r / per;
        r %= per;
    }
    while (r >= o->piece[i]->base.n_row) r -= o->piece[i++]->base.n_row;
    if (o->head) r = interleaved(r, o->head);
    s.piece = i;
    s.in = r;
    r += mat * o->piece[i]->base.n_row;
    s.t = wk_found_row(o->piece[i], r, &s.row);
    if (o->trained[i]) s.trained = o->trained[i] + r * o->piece[i]->base.n_col;
    return s;
}

/* Are a vector's elements in another order? Those of q's and k's biases are, as the rows that they belong to. */
static bool reordered(const wk_origin *o) {
    return o->n_piece && o->piece[0]->base.n_row == 1 && (o->head || o->piece[0]->row_from);
}

/* Row r as float32 into out [2 cols], whose second half is scratch. */
static void read_row(const wk_origin *o, int64_t r, int64_t cols, float *out) {
    if (o->made) {
        memcpy(out, o->made, (size_t)cols * sizeof *out);
        return;
    }
    source s = source_row(o, r);
    float *raw = reordered(o) ? out + cols : out;
    const int32_t *order = o->n_piece && !s.trained ? o->piece[0]->row_from : NULL;
    if (s.trained) memcpy(raw, s.trained, (size_t)cols * sizeof *raw);
    else wk_tensor_row(s.t, s.row, raw);
    for (int64_t i = 0; reordered(o) && i < cols; i++) {
        int64_t k = o->head ? interleaved(i, o->head) : i;
        out[i] = raw[order ? order[k] : k];
    }
    for (int64_t i = 0; o->add != 0 && i < cols; i++) out[i] += o->add;
}

/* float16 ends at 65504: a larger number would become infinite. */
static wick_status check_range(const wk_conversion *c, const wk_tensor *t, const float *x, int64_t n) {
    if (t->dtype != WK_F16) return WICK_OK;
    for (int64_t i = 0; i < n; i++)
        if (fabsf(x[i]) >= 65520 && !isinf(x[i]))
            return wk_fail(WICK_E_UNSUPPORTED, "%s: tensor \"%.*s\" holds %g, too large for F16: choose the type bf16 or f32",
                           c->from,
                           (int)t->name.len, t->name.ptr, (double)x[i]);
    return WICK_OK;
}

static wick_status progress(wk_conversion *c, uint64_t n) {
    c->done += n;
    if (!c->o->progress || c->o->progress("converting", c->done, c->total, c->o->progress_user)) return WICK_OK;
    return wk_fail(WICK_E_CANCELLED, "the conversion was stopped");
}

/* Rows [r, r + n) into raw. */
static wick_status make_rows(const wk_conversion *c, const wk_tensor *t, const wk_origin *o, int64_t r, int64_t n, float *row,
                             uint8_t *raw) {
    int64_t cols = wk_tensor_cols(t);
    size_t bytes;
    wick_status st = WICK_OK;
    wk_row_bytes(t->dtype, cols, &bytes);
    for (int64_t i = 0; !st && i < n; i++) {
        source s = o->made ? (source){ 0 } : source_row(o, r + i);
        bool merged = o->merged && wk_merge_touches(c->merge, o->layer, o->role[s.piece]);
        if (s.t && s.t->dtype == t->dtype && !s.t->parts && o->add == 0 && !merged && !s.trained && !reordered(o)) {
            memcpy(raw + (size_t)i * bytes, s.t->data + (size_t)s.row * bytes, bytes);
            continue;
        }
        read_row(o, r + i, cols, row);
        if (merged) wk_merge_row(c->merge, o->layer, o->role[s.piece], s.in, cols, row, row + cols);
        st = check_range(c, t, row, cols);
        if (!st) wk_dtypes[t->dtype].encode(row, raw + (size_t)i * bytes, cols);
    }
    return st;
}

/* Experts input by input, and biases, in either the pieces' outputs in turn: a matrix at a time. */
static wick_status fill_turned(wk_conversion *c, const wk_tensor *t, const wk_origin *o, wk_out *out) {
    int64_t cols = wk_tensor_cols(t), n_in = t->n_dim == 3 ? t->shape[1] : 1, n = o->n_piece;
    bool vector = t->n_dim == 2;
    size_t bytes, size;
    wk_row_bytes(t->dtype, cols, &bytes);
    float *m = wk_mul_size((size_t)n_in, (size_t)cols, &size) ? wk_alloc_array(size, sizeof *m) : NULL;
    float *row = wk_alloc_array((size_t)o->piece[0]->base.n_col, sizeof *row);
    uint8_t *raw = wk_alloc_array((size_t)n_in, bytes);
    wick_status st = m && row && raw ? WICK_OK : wk_fail_memory((size_t)n_in * bytes, "a layer's experts");
    for (int64_t mat = 0; !st && mat < t->shape[0]; mat++) {
        for (int64_t k = 0; k < n; k++)
            for (int64_t r = 0; r < o->piece[k]->base.n_row; r++) {
                int64_t from, at = mat * o->piece[k]->base.n_row + r, n_col = o->piece[k]->base.n_col;
                const float *x = o->trained[k] ? o->trained[k] + at * n_col : row;
                const wk_tensor *s = wk_found_row(o->piece[k], at, &from);
                if (!o->trained[k]) wk_tensor_row(s, from, row);
                for (int64_t i = 0; i < n_col; i++) m[vector ? i * n + k : i * cols + r * n + k] = x[i];
            }
        for (int64_t i = 0; !st && i < n_in; i++) {
            st = check_range(c, t, m + i * cols, cols);
            if (!st) wk_dtypes[t->dtype].encode(m + i * cols, raw + (size_t)i * bytes, cols);
        }
        if (!st) st = wk_out_write(out, raw, (size_t)n_in * bytes);
        if (!st) st = progress(c, (uint64_t)n_in * bytes);
    }
    wk_free(m);
    wk_free(row);
    wk_free(raw);
    return st;
}

static void release_tensor(const wk_tensor *t) {
    if (!t->parts) wk_file_release(t->data, t->n_bytes);  /* parts do not lie together */
}

static void release(const wk_origin *o) {
    if (o->plain) release_tensor(o->plain);
    for (int i = 0; i < o->n_piece; i++)
        for (int k = 0; k < o->piece[i]->n_tensor; k++)
            if (o->mat < 0 || o->piece[i]->n_tensor == 1 || k == o->mat) release_tensor(&o->piece[i]->tensor[k]);
}

wick_status wk_convert_fill(const wk_tensor *t, wk_out *out, void *user) {
    wk_conversion *c = user;
    const wk_origin *o = &c->origin[t - c->t];
    int64_t cols = wk_tensor_cols(t), rows = wk_tensor_rows(t);
    size_t bytes;
    if (!t->n_bytes) return WICK_OK;
    if (o->turned) return fill_turned(c, t, o, out);
    wk_row_bytes(t->dtype, cols, &bytes);
    int64_t step = bytes < BLOCK ? BLOCK / (int64_t)bytes : 1;
    if (step > rows) step = rows;
    float *row = wk_alloc_array((size_t)cols * (o->merged ? 3 : 2), sizeof *row);
    uint8_t *raw = wk_alloc_array((size_t)step, bytes);
    wick_status st = row && raw ? WICK_OK : wk_fail_memory((size_t)step * bytes, "rows of a tensor");
    for (int64_t r = 0; !st && r < rows; r += step) {
        int64_t n = rows - r < step ? rows - r : step;
        st = make_rows(c, t, o, r, n, row, raw);
        if (!st) st = wk_out_write(out, raw, (size_t)n * bytes);
        if (!st) st = progress(c, (uint64_t)n * bytes);
    }
    if (!st) release(o);
    wk_free(raw);
    wk_free(row);
    return st;
}

wick_status wk_origin_is_exact(const wk_origin *o, wk_dtype type, bool *exact) {
    int64_t cols = o->piece[0]->base.n_col, rows = wk_origin_rows(o);
    *exact = true;
    if (type == WK_F32) return WICK_OK;
    float *row = wk_alloc_array((size_t)cols * 2, sizeof *row);
    uint8_t *raw = wk_alloc_array((size_t)cols, sizeof(float));
    if (!row || !raw) {
        wk_free(row);
        wk_free(raw);
        return wk_fail_memory((size_t)cols * 3 * sizeof *row, "a row");
    }
    for (int64_t r = 0; *exact && r < rows; r++) {
        read_row(o, r, cols, row);
        wk_dtypes[type].encode(row, raw, cols);
        wk_dtypes[type].decode(raw, row + cols, cols);
        *exact = !memcmp(row, row + cols, (size_t)cols * sizeof *row);
    }
    wk_free(row);
    wk_free(raw);
    return WICK_OK;
}
