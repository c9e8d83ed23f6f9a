/* reading.c: an adapter's tensors held against the model, and copied to the host where all of them fit.
 * Load: 2 to 14 tensors a layer, ranks 4 to 256, 1 to 500 MB. The file is a stranger's: shape, type and number are checked. */
#include "adapter/reading.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* No exponent is full. Without a branch, so that compilers look at many at a time. */
bool wk_lora_finite(const void *x, int64_t n) {
    const uint8_t *at = x;
    uint32_t full = 0, u;
    for (int64_t i = 0; i < n; i++) {
        memcpy(&u, at + 4 * i, sizeof u);
        full |= (u & 0x7f800000) == 0x7f800000;
    }
    return !full;
}

/* The same of a tensor; of Q8_0 the numbers that its blocks begin with. */
static bool all_finite(const wk_tensor *t) {
    if (t->dtype == WK_F32) return wk_lora_finite(t->data, (int64_t)(t->n_bytes / sizeof(float)));
    uint32_t full = 0;
    uint16_t exponent = t->dtype == WK_BF16 ? 0x7f80 : 0x7c00;
    size_t step = t->dtype == WK_Q8_0 ? (size_t)wk_dtypes[WK_Q8_0].bytes : sizeof exponent;
    for (size_t at = 0; at < t->n_bytes; at += step) {
        uint16_t x;
        memcpy(&x, t->data + at, sizeof x);
        full |= (x & exponent) == exponent;
    }
    return !full;
}

/* Which number of a tensor is none. */
static wick_status tell_number(wk_reading *r, const wk_tensor *t) {
    int64_t rows = wk_tensor_rows(t), cols = wk_tensor_cols(t);
    float *row = wk_alloc_array((size_t)cols, sizeof *row);
    if (!row) return wk_fail_memory((size_t)cols * sizeof *row, "an adapter");
    for (int64_t k = 0, left = 1; k < rows && left; k++) {
        wk_tensor_row(t, k, row);
        for (int64_t i = 0; i < cols && left; i++)
            if (!isfinite(row[i])) {
                wk_reading_problem(r, true, t->name, "has %g at [%lld, %lld], which is no number to compute with", (double)row[i],
                                   (long long)k, (long long)i);
                left = 0;
            }
    }
    wk_free(row);
    return WICK_OK;
}

static void put_shape(const wk_tensor *t, char out[100]) {
    *out = 0;
    for (int i = 0, n = 0; i < t->n_dim && n < 80; i++)
        n += snprintf(out + n, (size_t)(100 - n), "%s%lld", i ? ", " : "", (long long)t->shape[i]);
}

/* A half's type and shape ([cols] alone where rows is 0). what: where the expected shape comes from. */
static void check_half(wk_reading *r, const wk_tensor *t, int64_t rows, int64_t cols, const char *what) {
    if (t->dtype != WK_F32 && t->dtype != WK_F16 && t->dtype != WK_BF16 && t->dtype != WK_Q8_0) {
        wk_reading_problem(r, false, t->name, "is of type %s, not F32, F16, BF16 or Q8_0", wk_dtypes[t->dtype].name);
        return;
    }
    bool fits = rows ? t->n_dim == 2 && t->shape[0] == rows && t->shape[1] == cols : t->n_dim == 1 && t->shape[0] == cols;
    if (fits) return;
    char found[100], want[60];
    put_shape(t, found);
    if (rows) snprintf(want, sizeof want, "%lld, %lld", (long long)rows, (long long)cols);
    else snprintf(want, sizeof want, "%lld", (long long)cols);
    wk_reading_problem(r, true, t->name, "has shape [%s], %s need%s [%s]", found, what, strstr(what, " and ") ? "" : "s", want);
}

void wk_reading_need_magnitudes(wk_reading *r, bool dora, const char *end) {
    for (int i = 0; dora && i < r->n_slot; i++)
        if (r->slot[i].half[WK_HALF_A] && !r->slot[i].half[WK_HALF_MAGNITUDE])
            wk_reading_problem(r, true, r->slot[i].half[WK_HALF_A]->name, "has no %s beside it", end + 1);
}

/* Does A lie as [n_in, rank]? */
static bool a_turned(const wk_reading *r, const wk_lora_found *f) { return r->turned || (r->by_token && f->role == WK_T_EMBED); }

/* Everything that was found for one place. */
static wick_status check_found(wk_reading *r, wk_lora_found *f) {
    const wk_tensor *a = f->half[WK_HALF_A], *b = f->half[WK_HALF_B], *mag = f->half[WK_HALF_MAGNITUDE],
                    *saved = f->half[WK_HALF_SAVED], *base = f->half[WK_HALF_BASE];
    bool embed = f->role == WK_T_EMBED;
    if (base && !a && !b) wk_reading_problem(r, true, base->name, "has no lora_A and lora_B beside it");
    if (base) check_half(r, base, embed ? f->n_in : f->n_whole, embed ? f->n_out : f->n_in, "the model");
    if (saved) check_half(r, saved, embed ? f->n_in : f->n_out, embed ? f->n_out : f->n_in, "the model");
    if (!(a || b || mag)) return WICK_OK;
    if (!a || !b) {
        wk_reading_problem(r, true, (a ? a : b ? b : mag)->name, "has no lora_%s beside it", a ? "B" : "A");
        return WICK_OK;
    }
    if (a->n_dim != 2 || b->n_dim != 2 || (a_turned(r, f) ? a->shape[1] : a->shape[0]) < 1) {
        const wk_tensor *t = a->n_dim == 2 && b->n_dim != 2 ? b : a;
        char found[100];
        put_shape(t, found);
        wk_reading_problem(r, true, t->name, "has shape [%s], a matrix of rank 1 or more is needed", found);
        return WICK_OK;
    }
    wick_status st = r->rank(r, f->module, a_turned(r, f) ? a->shape[1] : a->shape[0], &f->rank, &f->alpha);
    if (st) return st;
    if (f->rank > WK_LORA_MAX_RANK) {
        wk_reading_problem(r, false, a->name, "has rank %lld, at most %d can be applied", (long long)f->rank, WK_LORA_MAX_RANK);
        return WICK_OK;
    }
    if (a_turned(r, f)) check_half(r, a, f->n_in, f->rank, "the model and the rank");
    else check_half(r, a, f->rank, f->n_in, "the model and r");
    if (r->turned) check_half(r, b, f->rank, f->n_whole, "the model and the rank");
    else check_half(r, b, f->n_whole, f->rank, "the model and r");
    if (mag && f->role == WK_T_EMBED) wk_reading_problem(r, false, mag->name, "is DoRA of an embedding");
    else if (mag) check_half(r, mag, 0, f->n_whole, "the model");
    return WICK_OK;
}

/* Every number is one: a thread looks at the tensors of some slots. */
static void look_at_numbers(const wk_team *t, void *arg) {
    wk_reading *r = arg;
    for (int i = t->i; i < r->n_slot; i += t->n)
        for (int k = 0; k < WK_N_HALF; k++)
            if (r->slot[i].half[k]) r->slot[i].odd[k] = !all_finite(r->slot[i].half[k]);
}

static wick_status check_numbers(wk_reading *r) {
    wick_status st = WICK_OK;
    wk_share_out(r->m->backend ? r->m->backend->pool : NULL, look_at_numbers, r);
    for (int i = 0; !st && i < r->n_slot; i++)
        for (int k = 0; !st && k < WK_N_HALF; k++) if (r->slot[i].odd[k]) st = tell_number(r, r->slot[i].half[k]);
    return st;
}

/* All of a tensor as float32, or its transpose; NULL: no memory. */
static float *decode(const wk_tensor *t, bool turned) {
    int64_t rows = wk_tensor_rows(t), cols = wk_tensor_cols(t);
    size_t n;
    float *all = wk_mul_size((size_t)rows, (size_t)cols, &n) ? wk_alloc_array(n, sizeof *all) : NULL;
    float *row = turned ? wk_alloc_array((size_t)cols, sizeof *row) : NULL;
    for (int64_t r = 0; all && (!turned || row) && r < rows; r++) {
        wk_tensor_row(t, r, turned ? row : all + r * cols);
        for (int64_t i = 0; turned && i < cols; i++) all[i * rows + r] = row[i];
    }
    if (turned && !row) {
        wk_free(all);
        all = NULL;
    }
    wk_free(row);
    return all;
}

/* Rows [first, first + rows) of a half that has cols numbers in each. interleaved: head > 0, and a head's rows lie in turn, of the
 * first half row j as the file's 2j, of the second as its 2j + 1. */
static wick_status copy(const wk_tensor *t, bool turned, int64_t first, int64_t rows, int64_t cols, int64_t head, float **out) {
    size_t n_bytes = (size_t)rows * (size_t)cols * sizeof(float);
    bool whole = !first && !head && rows * cols == wk_tensor_rows(t) * wk_tensor_cols(t);
    float *all = decode(t, turned);
    *out = whole ? all : all ? wk_alloc(n_bytes) : NULL;
    for (int64_t k = 0; *out && !whole && k < rows; k++) {
        int64_t from = head ? k / head * head + k % (head / 2) * 2 + k % head / (head / 2) : k;
        memcpy(*out + k * cols, all + (first + from) * cols, (size_t)cols * sizeof **out);
    }
    if (*out != all) wk_free(all);
    return *out ? WICK_OK : wk_fail_memory(n_bytes, "an adapter");
}

/* The same, or (lend) where the numbers lie in the file, if they do so as they are wanted. */
static wick_status copy_or_lend(const wk_tensor *t, bool turned, int64_t first, int64_t rows, int64_t cols, int64_t head,
                                bool lend, float **out, bool *lent) {
    *lent = lend && t->dtype == WK_F32 && !turned && !head && (uintptr_t)t->data % sizeof(float) == 0;
    if (!*lent) return copy(t, turned, first, rows, cols, head, out);
    *out = (float *)(uintptr_t)t->data + first * cols;
    return WICK_OK;
}

/* Is there nothing but zeros in columns [from, to) of x [rows, cols]? */
static bool all_zero(const float *x, int64_t rows, int64_t cols, int64_t from, int64_t to) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = from; c < to; c++) if (x[r * cols + c] != 0) return false;
    return true;
}

/* Of a fused matrix's part: the ranks [*from, *to) that it has numbers for in its rows of B, b. Parts that were trained with an A
 * each lie side by side in one, zeros beside them (naming.c): without those a part is what it was, and no longer than it needs to
 * be. None, where other parts have some: it is not adapted. */
static wick_status find_ranks(const wk_reading *r, const wk_lora_found *f, const float *b, int64_t *from, int64_t *to) {
    const wk_tensor *t = f->half[WK_HALF_B];
    *from = 0;
    *to = f->rank;
    if (f->n_out == f->n_whole || !all_finite(f->half[WK_HALF_A]) || !all_finite(t)) return WICK_OK;
    while (*to > 0 && all_zero(b, f->n_out, f->rank, *to - 1, *to)) --*to;
    while (*from < *to && all_zero(b, f->n_out, f->rank, *from, *from + 1)) ++*from;
    if (*to > 0) return WICK_OK;
    float *whole = decode(t, r->turned);
    if (!whole) return wk_fail_memory((size_t)(f->n_whole * f->rank) * sizeof *whole, "an adapter");
    if (f->half[WK_HALF_MAGNITUDE] || all_zero(whole, f->n_whole, f->rank, 0, f->rank)) *to = f->rank;
    wk_free(whole);
    return WICK_OK;
}

/* B's columns [from, to) alone; alpha so that the scale stays. */
static void keep_ranks(wk_lora_module *x, int64_t from, int64_t to, bool rslora) {
    int64_t rank = to - from;
    if (rank == x->rank) return;
    for (int64_t o = 0; o < x->n_out; o++) memmove(x->b + o * rank, x->b + o * x->rank + from, (size_t)rank * sizeof *x->b);
    x->alpha *= rslora ? sqrt((double)rank / (double)x->rank) : (double)rank / (double)x->rank;
    x->rank = rank;
}

static wick_status copy_found(const wk_reading *r, const wk_lora_found *f, wk_lora_data *d) {
    const wk_tensor *saved = f->half[WK_HALF_SAVED], *mag = f->half[WK_HALF_MAGNITUDE];
    int64_t head = r->interleaved && (f->role == WK_T_Q || f->role == WK_T_K) ? r->m->hp.head_dim : 0;
    wick_status st = WICK_OK;
    if (saved) {
        wk_lora_saved *x = &d->saved[d->n_saved++];
        *x = (wk_lora_saved){ .role = f->role, .n_row = wk_tensor_rows(saved), .n_col = wk_tensor_cols(saved) };
        st = wk_copy_text(f->module, &x->module);
        if (!st) st = copy(saved, false, 0, x->n_row, x->n_col, 0, &x->w);
    }
    if (st || !f->half[WK_HALF_A]) return st;
    wk_lora_module *x = &d->module[d->n_module++];
    *x = (wk_lora_module){ .layer = f->layer, .role = f->role, .rank = f->rank, .n_in = f->n_in, .n_out = f->n_out,
                           .alpha = f->alpha };
    int64_t from = 0, to = f->rank;
    bool lend_b = d->lends && f->n_out == f->n_whole;
    st = wk_copy_text(f->module, &x->module);
    if (!st) st = copy_or_lend(f->half[WK_HALF_B], r->turned, f->first, f->n_out, f->rank, head, lend_b, &x->b, &x->lent_b);
    if (!st) st = find_ranks(r, f, x->b, &from, &to);
    if (!st && from == to) {
        wk_free(x->module);
        wk_free(x->b);
        *x = (wk_lora_module){ 0 };
        d->n_module--;
        return WICK_OK;
    }
    if (!st) keep_ranks(x, from, to, d->rslora);
    if (!st) st = copy_or_lend(f->half[WK_HALF_A], a_turned(r, f), from, x->rank, f->n_in, 0, d->lends, &x->a, &x->lent_a);
    if (!st && mag) st = copy(mag, false, f->first, f->n_out, 1, head, &x->magnitude);
    return st;
}

static wick_status tell(const wk_reading *r) {
    if (r->problems.failed) return wk_fail_memory(r->problems.len, "an adapter's problems");
    return wk_fail(r->wrong ? WICK_E_FORMAT : WICK_E_UNSUPPORTED, "%s: %zu %s not fit this model: %s", r->path, r->n_problem,
                   r->n_problem == 1 ? "tensor does" : "tensors do", r->problems.ptr);
}

wick_status wk_reading_finish(wk_reading *r, wk_lora_data *d) {
    wick_status st = WICK_OK;
    size_t n = 0;
    for (int i = 0; !st && i < r->n_slot; i++) {
        bool there = false;
        for (int k = 0; k < WK_N_HALF; k++) there |= r->slot[i].half[k] != NULL;
        if (there) st = check_found(r, &r->slot[i]);
        n += there;
    }
    for (int i = 0; !st && !r->n_problem && i < r->n_slot; i++) {
        const wk_lora_found *f = &r->slot[i];
        if (f->half[WK_HALF_BASE])
            st = wk_reading_compare(r, f->half[WK_HALF_BASE], f, wk_lora_weight(r->m, f->layer, f->role));
    }
    d->unseen = d->lends;
    if (!st && !r->n_problem && !d->unseen) st = check_numbers(r);
    if (!st && (r->n_problem || r->problems.failed)) st = tell(r);
    if (!st && !n) st = wk_fail(WICK_E_FORMAT, "%s: there are no lora_A and lora_B tensors in it", r->path);
    if (st) return st;
    d->module = wk_alloc_array(n, sizeof *d->module);
    d->saved = wk_alloc_array(n, sizeof *d->saved);
    if (!d->module || !d->saved) return wk_fail_memory(n * sizeof *d->module, "an adapter");
    for (int i = 0; !st && i < r->n_slot; i++) st = copy_found(r, &r->slot[i], d);
    return st;
}
