/* cpu.c: the CPU backend: weights packed or as float32 vectors, the paged KV cache, and access to values.
 * plan.h says how it runs a graph. */
#include "backend/cpu/plan.h"
#include "base/clock.h"
#include "base/cpu.h"
#include <string.h>

typedef struct cpu_backend {
    wk_backend base;
    wk_packing later;    /* weights that wait for others */
    double later_bytes;  /* of the file: so many are packed at one go */
} cpu_backend;

/* Threads wait for each other after each go, and whoever looks on hears nothing during one, so it takes what a tenth of a second
 * is enough for: much of a file in the cache, little of one that a slow disk reads. */
enum { LATER_LEAST = 16 << 20, LATER_FIRST = 128 << 20, LATER_MOST = 256 << 20 };

static wick_status pack_later(cpu_backend *be) {
    double n = (double)be->later.n_bytes, at = wk_now();
    wick_status st = wk_packing_run(&be->later);
    double tenth = n / (wk_now() - at + 1e-9) / 10;
    be->later_bytes = tenth < LATER_LEAST ? LATER_LEAST : tenth > LATER_MOST ? LATER_MOST : tenth;
    return st;
}

static void weight_free(wk_backend *be, wk_weight *weight) {
    wk_cpu_weight *w = (wk_cpu_weight *)weight;
    (void)be;
    if (!w) return;
    for (int64_t m = 0; w->mat && m < w->base.n_mat; m++) wk_packed_free(w->mat[m]);
    wk_free(w->mat);
    wk_free_aligned(w->vec);
    wk_free(w);
}

/* A vector: all of the tensors' numbers in a row; row_from then picks elements. */
static wick_status read_vector(wk_cpu_weight *w, const wk_weight_source *s) {
    const wk_tensor *t = s->tensor[0];
    int64_t cols = wk_tensor_cols(t), rows = wk_tensor_rows(t), n = cols * rows * s->n_tensor;
    float *raw = wk_alloc_array((size_t)n, sizeof *raw);
    w->base = (wk_weight){ t->dtype, 1, 1, n, (size_t)n * sizeof *raw };
    w->vec = wk_alloc_aligned((size_t)n * sizeof *raw);
    if (!raw || !w->vec) {
        wk_free(raw);
        return wk_fail_memory((size_t)n * sizeof *raw, "a weight");
    }
    for (int64_t k = 0; k < s->n_tensor; k++)
        for (int64_t r = 0; r < rows; r++) wk_tensor_row(s->tensor[k], r, raw + (k * rows + r) * cols);
    for (int64_t i = 0; i < n; i++) w->vec[i] = raw[s->row_from ? s->row_from[i] : i] + s->add;
    wk_free(raw);
    return WICK_OK;
}

/* Puts a weight's matrices on the list. */
static wick_status add_matrices(wk_packing *p, wk_cpu_weight *w, const wk_weight_source *s, int64_t each) {
    wick_status st = WICK_OK;
    for (int64_t m = 0; !st && m < w->base.n_mat; m++) {
        if (s->bf16) st = wk_pack_bf16(p->pool, s->tensor[0], &w->mat[m]);
        else st = wk_packing_add(p, s->tensor[m / each], m % each, s->row_from, s->release, &w->mat[m]);
        if (!st && (wk_packed_n_out(w->mat[m]) != w->base.n_row || wk_packed_n_in(w->mat[m]) != w->base.n_col))
            st = wk_fail(WICK_E_FORMAT, "%.*s: stacked with tensors of another shape", (int)s->tensor[m / each]->name.len,
                         s->tensor[m / each]->name.ptr);
        if (!st) w->base.n_bytes += wk_packed_bytes(w->mat[m]);
    }
    return st;
}

/* What may wait goes on the backend's list, which the one that opens a model fills; what may not (an adapter's, which threads make
 * at the same time) on one of its own. */
static wick_status pack_matrices(wk_backend *be, wk_cpu_weight *w, const wk_weight_source *s) {
    const wk_tensor *t = s->tensor[0];
    int64_t each = t->n_dim == 3 ? t->shape[0] : 1, n_mat = each * s->n_tensor;
    w->base = (wk_weight){ s->bf16 ? WK_BF16 : t->dtype, n_mat, wk_tensor_rows(t) / (each ? each : 1), wk_tensor_cols(t), 0 };
    w->mat = wk_alloc_array((size_t)n_mat, sizeof *w->mat);
    if (!w->mat) return wk_fail_memory((size_t)n_mat * sizeof *w->mat, "a weight");
    cpu_backend *cpu = (cpu_backend *)be;
    wk_packing own = { .pool = s->alone ? NULL : be->pool }, *p = s->later ? &cpu->later : &own;
    size_t n_before = p->n_job;
    wick_status st = add_matrices(p, w, s, each);
    if (st) wk_packing_cut(p, n_before);
    else if (!s->later) st = wk_packing_run(p);
    else if ((double)p->n_bytes >= cpu->later_bytes) st = pack_later(cpu);
    wk_packing_free(&own);
    return st;
}

static wick_status spare_new(wk_backend *be, size_t n_bytes, wk_spare **out) {
    (void)be;
    return wk_spare_new(n_bytes, out);
}
static void spare_free(wk_backend *be, wk_spare *spare) {
    (void)be;
    wk_spare_free(spare);
}

static wick_status weights_ready(wk_backend *be) { return pack_later((cpu_backend *)be); }

static wick_status weight_new(wk_backend *be, const wk_weight_source *s, wk_weight **out) {
    wk_cpu_weight *w = wk_alloc(sizeof *w);
    *out = NULL;
    if (!w) return wk_fail_memory(sizeof *w, "a weight");
    wick_status st = s->vector ? read_vector(w, s) : pack_matrices(be, w, s);
    if (st) weight_free(be, &w->base);
    else *out = &w->base;
    return st;
}

static wick_status weight_write(wk_backend *be, wk_weight *weight, int64_t row, int64_t n, const float *in) {
    wk_cpu_weight *w = (wk_cpu_weight *)weight;
    int64_t each = w->base.n_row, cols = w->base.n_col;
    (void)be;
    if (w->base.dtype != WK_F32 && w->base.dtype != WK_BF16)
        return wk_fail(WICK_E_UNSUPPORTED, "a weight of %s cannot be written over", wk_dtypes[w->base.dtype].name);
    if (w->vec) memcpy(w->vec, in, (size_t)(n * cols) * sizeof *in);
    else for (int64_t i = 0; i < n; i++) wk_packed_write(w->mat[(row + i) / each], (row + i) % each, in + i * cols);
    return WICK_OK;
}

static bool weight_rounds(wk_backend *be, const wk_weight *weight) {
    const wk_cpu_weight *w = (const wk_cpu_weight *)weight;
    bool all = !w->vec;
    (void)be;
    for (int64_t m = 0; w->mat && m < weight->n_mat; m++) all &= wk_packed_rounds(w->mat[m]);
    return all;
}

static void weight_row(wk_backend *be, const wk_weight *weight, int64_t r, float *out) {
    const wk_cpu_weight *w = (const wk_cpu_weight *)weight;
    (void)be;
    if (w->vec) memcpy(out, w->vec, (size_t)weight->n_col * sizeof *out);
    else wk_packed_row(w->mat[r / weight->n_row], r % weight->n_row, out);
}

static void kv_free(wk_backend *be, wk_kv *kv) {
    (void)be;
    if (kv) wk_free_aligned(((wk_cpu_kv *)kv)->mem);
    wk_free(kv);
}

/* Memory is asked for and not touched: pages that no sequence has used yet cost nothing. */
static wick_status kv_new(wk_backend *be, const wk_kv_shape *s, wk_kv **out) {
    *out = NULL;
    if (s->dtype != WK_F32 && s->dtype != WK_F16 && s->dtype != WK_Q8_0)
        return wk_fail(WICK_E_UNSUPPORTED, "a KV cache of %s: f32, f16 and q8_0 are there", wk_dtypes[s->dtype].name);
    if (s->dtype == WK_Q8_0 && s->head_dim % 32)
        return wk_fail(WICK_E_UNSUPPORTED, "a q8_0 KV cache needs heads of a multiple of 32, this model's have %d: use f16",
                       s->head_dim);
    if (s->page_len != WK_PAGE_LEN)
        return wk_fail(WICK_E_ARG, "KV pages of %d positions: this backend has %d", s->page_len, WK_PAGE_LEN);
    wk_cpu_kv *kv = wk_alloc(sizeof *kv);
    if (!kv) return wk_fail_memory(sizeof *kv, "the KV cache");
    size_t elem = s->dtype == WK_F32 ? 4 : s->dtype == WK_F16 ? 2 : 1, codes = wk_bytes3(s->head_dim, WK_PAGE_LEN, (int64_t)elem);
    kv->block = (wk_kv_block){ s->dtype, s->head_dim, codes, codes };
    if (s->dtype == WK_Q8_0) kv->block.n_bytes += wk_bytes3(s->head_dim / 32, WK_PAGE_LEN, 2);
    kv->layer_bytes = wk_bytes3((int64_t)kv->block.n_bytes, s->n_head_kv, 2);
    kv->page_bytes = wk_bytes3((int64_t)kv->layer_bytes, s->n_layer, 1);
    kv->base = (wk_kv){ *s, wk_bytes3((int64_t)kv->page_bytes, s->n_page, 1) };
    kv->mem = wk_alloc_aligned(kv->base.n_bytes);
    if (!kv->mem) {
        wick_status st = wk_fail_memory(kv->base.n_bytes, "the KV cache");
        kv_free(be, &kv->base);
        return st;
    }
    *out = &kv->base;
    return WICK_OK;
}

static const void *value_at(const wk_cpu_plan *p, wk_val v, int64_t row) {
    return p->mem + p->offset[v] + (size_t)(row * p->base.graph->value[v].shape.cols) * sizeof(float);
}

static void read_value(wk_plan *plan, wk_val v, int64_t row, int64_t n, float *out) {
    const wk_value *x = &plan->graph->value[v];
    const void *at = value_at((wk_cpu_plan *)plan, v, row);
    const int32_t *id = at;
    if (!x->shape.ids) memcpy(out, at, (size_t)(n * x->shape.cols) * sizeof *out);
    else for (int64_t i = 0; i < n * x->shape.cols; i++) out[i] = (float)id[i];
}

static void write_value(wk_plan *plan, wk_val v, int64_t row, int64_t n, const float *in) {
    const wk_cpu_plan *p = (const wk_cpu_plan *)plan;
    int64_t cols = plan->graph->value[v].shape.cols;
    memcpy(p->mem + p->offset[v] + (size_t)(row * cols) * sizeof *in, in, (size_t)(n * cols) * sizeof *in);
}

static const float *view_value(wk_plan *plan, wk_val v, int64_t row) { return value_at((wk_cpu_plan *)plan, v, row); }

static void backend_free(wk_backend *be) {
    if (!be) return;
    wk_packing_free(&((cpu_backend *)be)->later);
    wk_pool_free(be->pool);
    wk_free(be);
}

wick_status wk_cpu_new(int n_threads, wk_backend **out) {
    static const wk_backend_ops ops = {
        .name = "cpu",
        .free = backend_free,
        .weight_new = weight_new,
        .weights_ready = weights_ready,
        .weight_free = weight_free,
        .spare_new = spare_new,
        .spare_free = spare_free,
        .weight_write = weight_write,
        .weight_rounds = weight_rounds,
        .weight_row = weight_row,
        .kv_new = kv_new,
        .kv_free = kv_free,
        .plan_new = wk_cpu_plan_new,
        .plan_free = wk_cpu_plan_free,
        .run = wk_cpu_run,
        .read = read_value,
        .write = write_value,
        .view = view_value,
    };
    wick_status st = wk_cpu_check();
    *out = NULL;
    if (st) return st;
    cpu_backend *be = wk_alloc(sizeof *be);
    if (!be) return wk_fail_memory(sizeof *be, "a backend");
    be->base.ops = &ops;
    st = wk_pool_new(n_threads, &be->base.pool);
    be->later.pool = be->base.pool;
    be->later_bytes = LATER_FIRST;
    if (st) backend_free(&be->base);
    else *out = &be->base;
    return st;
}
