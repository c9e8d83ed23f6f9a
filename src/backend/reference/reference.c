/* reference.c: the backend that runs the ops' own kernels: double throughout, one thread, one value after the other.
 * Slow and plain on purpose: it is what the other backends are held against, and what finite differences are taken on. */
#include "backend/backend.h"
#include "base/mem.h"
#include "graph/op.h"
#include <string.h>

typedef struct ref_backend { wk_backend base; bool round; } ref_backend;
typedef struct ref_weight {
    wk_weight base;
    double *data;  /* [n_mat * n_row, n_col] */
    bool *bf16;    /* [n_mat] */
} ref_weight;
typedef struct ref_kv { wk_kv base; double *k, *v; } ref_kv;                     /* [layer][page][page_len][n_head_kv * head_dim] */
typedef struct ref_plan {
    wk_plan base;
    wk_ref_array *value;  /* [n_value], memory for max_rows */
    wk_ref_lora *lora;    /* [MAX_TERMS], the running node's */
    const wk_ref_lora **adapter;  /* [MAX_ADAPTERS], each one's first */
} ref_plan;
enum { MAX_ADAPTERS = 256, MAX_TERMS = 1024 };

static void weight_free(wk_backend *be, wk_weight *w) {
    (void)be;
    if (w) {
        wk_free(((ref_weight *)w)->data);
        wk_free(((ref_weight *)w)->bf16);
    }
    wk_free(w);
}

static float to_bf16(float x) { return wk_bf16_to_f32(wk_f32_to_bf16(x)); }

/* Does bfloat16 hold a row's numbers unchanged? */
static bool fits_bf16(const float *x, int64_t n) {
    uint32_t below = 0, u;
    for (int64_t i = 0; i < n; i++) {
        memcpy(&u, &x[i], sizeof u);
        below |= u & 0xffff;
    }
    return !below;
}

static wick_status weight_new(wk_backend *be, const wk_weight_source *s, wk_weight **out) {
    const wk_tensor *t = s->tensor[0];
    int64_t cols = wk_tensor_cols(t), rows = wk_tensor_rows(t), n_row = t->n_dim == 3 ? t->shape[1] : rows;
    size_t n;
    ref_weight *w = wk_alloc(sizeof *w);
    float *row = wk_alloc_array((size_t)cols, sizeof *row);
    *out = NULL;
    if (w && wk_mul_size((size_t)rows * (size_t)s->n_tensor, (size_t)cols, &n)) w->data = wk_alloc_array(n, sizeof *w->data);
    if (w) w->bf16 = wk_alloc_array((size_t)(rows / n_row * s->n_tensor), sizeof *w->bf16);
    if (!w || !row || !w->data || !w->bf16) {
        weight_free(be, w ? &w->base : NULL);
        wk_free(row);
        return wk_fail_memory((size_t)rows * (size_t)cols * sizeof(double), "a weight");
    }
    w->base = (wk_weight){ t->dtype, s->vector ? 1 : rows / n_row * s->n_tensor, n_row, cols, n * sizeof(double) };
    if (s->bf16) w->base.dtype = WK_BF16;
    for (int64_t m = 0; m < rows / n_row * s->n_tensor; m++) w->bf16[m] = w->base.dtype == WK_BF16 || t->dtype == WK_F16;
    for (int64_t k = 0; k < s->n_tensor; k++)
        for (int64_t r = 0; r < rows; r++) {
            bool *bf16 = &w->bf16[(k * rows + r) / n_row];
            const int32_t *element = s->vector ? s->row_from : NULL;
            int64_t from = s->row_from && !s->vector ? r / n_row * n_row + s->row_from[r % n_row] : r;
            wk_tensor_row(s->tensor[k], from, row);
            for (int64_t i = 0; s->bf16 && i < cols; i++) row[i] = to_bf16(row[i]);
            *bf16 = *bf16 && fits_bf16(row, cols);
            for (int64_t i = 0; i < cols; i++)
                w->data[(k * rows + r) * cols + i] = (double)(row[element ? element[i] : i] + s->add);
        }
    wk_free(row);
    if (s->vector) w->base.n_row = 1, w->base.n_col = rows * cols * s->n_tensor;
    *out = &w->base;
    return WICK_OK;
}

static wick_status weight_write(wk_backend *be, wk_weight *w, int64_t row, int64_t n, const float *in) {
    double *to = ((ref_weight *)w)->data + row * w->n_col;
    (void)be;
    if (w->dtype != WK_F32 && w->dtype != WK_BF16)
        return wk_fail(WICK_E_UNSUPPORTED, "a weight of %s cannot be written over", wk_dtypes[w->dtype].name);
    for (int64_t i = 0; i < n * w->n_col; i++) to[i] = (double)(w->dtype == WK_BF16 ? to_bf16(in[i]) : in[i]);
    return WICK_OK;
}

static void kv_free(wk_backend *be, wk_kv *kv) {
    (void)be;
    if (kv) {
        wk_free(((ref_kv *)kv)->k);
        wk_free(((ref_kv *)kv)->v);
    }
    wk_free(kv);
}

static wick_status kv_new(wk_backend *be, const wk_kv_shape *s, wk_kv **out) {
    size_t n = (size_t)s->n_layer * (size_t)s->n_page * (size_t)s->page_len * (size_t)s->n_head_kv * (size_t)s->head_dim;
    *out = NULL;
    if (s->dtype == WK_Q8_0 && s->head_dim % 32)
        return wk_fail(WICK_E_UNSUPPORTED, "a q8_0 KV cache needs heads of a multiple of 32, this model's have %d: use f16",
                       s->head_dim);
    ref_kv *kv = wk_alloc(sizeof *kv);
    if (kv) {
        *kv = (ref_kv){ { *s, n * 2 * sizeof(double) }, wk_alloc_array(n, sizeof(double)), wk_alloc_array(n, sizeof(double)) };
        if (kv->k && kv->v) {
            *out = &kv->base;
            return WICK_OK;
        }
    }
    kv_free(be, kv ? &kv->base : NULL);
    return wk_fail_memory(n * 2 * sizeof(double), "the KV cache");
}

static void plan_free(wk_plan *p) {
    ref_plan *r = (ref_plan *)p;
    if (!r) return;
    for (size_t v = 0; r->value && v < p->graph->n_value; v++) {
        if (p->graph->value[v].kind == WK_VALUE_PARAM) continue;  /* the weight's own */
        wk_free(r->value[v].f);
        wk_free(r->value[v].i);
    }
    wk_free(r->value);
    wk_free(r->lora);
    wk_free(r->adapter);
    wk_free(r);
}

/* Memory of one value, or the weight's. */
static bool value_new(const wk_value *x, int max_rows, wk_ref_array *a, size_t *n_bytes) {
    *a = (wk_ref_array){ .cols = x->shape.cols, .n_mat = x->n_mat, .dtype = WK_F32 };
    if (x->kind == WK_VALUE_PARAM) {
        a->f = ((const ref_weight *)x->weight)->data;
        a->bf16 = ((const ref_weight *)x->weight)->bf16;
        a->rows = x->shape.n;
        a->dtype = x->weight->dtype;
        return true;
    }
    size_t n = (size_t)wk_shape_rows(x->shape, max_rows, max_rows) * (size_t)x->shape.cols;
    if (x->shape.ids) a->i = wk_alloc_array(n ? n : 1, sizeof *a->i);
    else a->f = wk_alloc_array(n ? n : 1, sizeof *a->f);
    *n_bytes += n * sizeof(double);
    return a->i || a->f;
}

static wick_status plan_new(wk_backend *be, const wk_graph *g, int max_rows, wk_plan **out) {
    ref_plan *p = wk_alloc(sizeof *p);
    bool ok = p != NULL;
    *out = NULL;
    if (ok) {
        p->base = (wk_plan){ g, max_rows, 0, be };
        p->value = wk_alloc_array(g->n_value, sizeof *p->value);
        p->lora = wk_alloc_array(MAX_TERMS, sizeof *p->lora);
        p->adapter = wk_alloc_array(MAX_ADAPTERS, sizeof *p->adapter);
        ok = p->value && p->lora && p->adapter;
    }
    for (size_t v = 0; ok && v < g->n_value; v++) ok = value_new(&g->value[v], max_rows, &p->value[v], &p->base.n_bytes);
    if (!ok) {
        plan_free(p ? &p->base : NULL);
        return wk_fail_memory(g->n_value * sizeof *p->value, "a plan");
    }
    *out = &p->base;
    return WICK_OK;
}

static wk_ref_array as_array(const wk_weight *w) {
    if (!w) return (wk_ref_array){ 0 };
    const ref_weight *r = (const ref_weight *)w;
    return (wk_ref_array){ r->data, NULL, w->n_mat * w->n_row, w->n_col, w->n_mat, w->dtype, r->bf16 };
}

/* The adapters' terms at one slot. */
static wick_status gather_lora(ref_plan *p, const wk_batch *b, int slot) {
    int n = 0;
    for (int k = 0; k < b->n_adapter; k++) {
        const wk_ref_lora **next = &p->adapter[k];
        *next = NULL;
        for (const wk_lora_set *s = b->adapters[k]; s; s = s->also) {
            const wk_lora_term *t = slot < s->n_slot ? &s->slot[slot] : NULL;
            if (!t || !(t->a || t->w) || s->scale == 0) continue;
            if (n == MAX_TERMS) return wk_fail(WICK_E_ARG, "more than %d adapters in a batch, stacked ones counted", MAX_TERMS);
            wk_ref_lora *l = &p->lora[n++];
            *l = (wk_ref_lora){ as_array(t->a), as_array(t->b), as_array(t->gain), as_array(t->bias), as_array(t->w),
                                (double)t->scale * (double)s->scale, (double)s->scale, NULL };
            *next = l;
            next = &l->also;
        }
    }
    return WICK_OK;
}

static wick_status run(wk_plan *plan, const wk_batch *b, wk_kv *kv) {
    ref_plan *p = (ref_plan *)plan;
    const wk_graph *g = plan->graph;
    ref_kv *cache = (ref_kv *)kv;
    if (b->n_row > plan->max_rows) return wk_fail(WICK_E_ARG, "%d rows, the plan is for %d", b->n_row, plan->max_rows);
    if (b->n_adapter > MAX_ADAPTERS) return wk_fail(WICK_E_ARG, "%d adapters in a batch, at most %d", b->n_adapter, MAX_ADAPTERS);
    for (size_t v = 0; v < g->n_value; v++)
        if (g->value[v].kind != WK_VALUE_PARAM) p->value[v].rows = wk_shape_rows(g->value[v].shape, b->n_row, b->n_out);
    for (size_t k = 0; k < g->n_node; k++) {
        const wk_node *n = &g->node[k];
        wk_ref_array in[WK_MAX_IN] = { { 0 } }, o[WK_MAX_OUT] = { { 0 } };
        for (int i = 0; i < n->n_in; i++) if (n->in[i] >= 0) in[i] = p->value[n->in[i]];
        for (int i = 0; i < n->n_out; i++) o[i] = p->value[n->out[i]];
        wk_ref_call c = { .node = n, .in = in, .out = o, .batch = b, .round = ((ref_backend *)plan->backend)->round,
                          .rows = g->value[n->out[0]].shape.kind };
        if (n->op == WK_OP_LORA && b->adapter) {
            wick_status st = gather_lora(p, b, n->attr.slot);
            if (st) return st;
            c.lora = p->adapter;
        }
        if (cache) {
            const wk_kv_shape *s = &kv->shape;
            int64_t layer = (int64_t)n->attr.layer * s->n_page * s->page_len * s->n_head_kv * s->head_dim;
            c.k = cache->k + layer;
            c.v = cache->v + layer;
            c.page_len = s->page_len;
            c.kv_type = s->dtype;
        }
        wk_ops[n->op]->reference(&c);
    }
    return WICK_OK;
}

static bool weight_rounds(wk_backend *be, const wk_weight *w) {
    bool all = true;
    (void)be;
    for (int64_t m = 0; m < w->n_mat; m++) all &= wk_dtypes[w->dtype].quantised || ((const ref_weight *)w)->bf16[m];
    return all;
}

static void weight_row(wk_backend *be, const wk_weight *w, int64_t r, float *out) {
    (void)be;
    for (int64_t i = 0; i < w->n_col; i++) out[i] = (float)((const ref_weight *)w)->data[r * w->n_col + i];
}

static void read_value(wk_plan *p, wk_val v, int64_t row, int64_t n, float *out) {
    const wk_ref_array *a = &((ref_plan *)p)->value[v];
    for (int64_t i = 0; i < n * a->cols; i++) out[i] = a->i ? (float)a->i[row * a->cols + i] : (float)a->f[row * a->cols + i];
}

static void write_value(wk_plan *p, wk_val v, int64_t row, int64_t n, const float *in) {
    const wk_ref_array *a = &((ref_plan *)p)->value[v];
    for (int64_t i = 0; i < n * a->cols; i++) a->f[row * a->cols + i] = (double)in[i];
}

static void backend_free(wk_backend *be) {
    if (be) wk_pool_free(be->pool);
    wk_free(be);
}

wick_status wk_reference_new(bool round, wk_backend **out) {
    static const wk_backend_ops ops = {
        .name = "reference", .free = backend_free, .weight_new = weight_new, .weight_free = weight_free,
        .weight_write = weight_write, .weight_rounds = weight_rounds, .weight_row = weight_row, .kv_new = kv_new,
        .kv_free = kv_free, .plan_new = plan_new, .plan_free = plan_free, .run = run, .read = read_value, .write = write_value,
    };
    ref_backend *be = wk_alloc(sizeof *be);
    *out = NULL;
    if (!be) return wk_fail_memory(sizeof *be, "a backend");
    be->base.ops = &ops;
    be->round = round;
    wick_status st = wk_pool_new(1, &be->base.pool);
    if (st) backend_free(&be->base);
    else *out = &be->base;
    return st;
}
