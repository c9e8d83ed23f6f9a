/* adapter.c: an adapter's matrices in a model's backend, beside its weights.
 * Load: tens to hundreds of matrices, 1 to 500 MB; DoRA reads every adapted weight once, for the lengths of its rows. So modules
 * are shared out between the threads, each whole: waking them for every small matrix took longer than packing it. */
#include "adapter/lora_data.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* A matrix, of float32 or bf16, or with rows 0 a vector. */
static wick_status upload_as(wk_backend *be, bool bf16, const float *data, int64_t rows, int64_t cols, const wk_weight **out) {
    wk_tensor t = { WK_STR("adapter"), WK_F32, rows ? 2 : 1, { rows ? rows : cols, rows ? cols : 1, 1, 1 },
                    (const uint8_t *)data, (uint64_t)(rows ? rows : 1) * (uint64_t)cols * sizeof *data, NULL };
    wk_weight *w = NULL;
    wk_weight_source source = { .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1, .vector = !rows, .bf16 = bf16,
                                .alone = true };
    wick_status st = be->ops->weight_new(be, &source, &w);
    *out = w;
    return st;
}

static wick_status upload(wk_backend *be, const float *data, int64_t rows, int64_t cols, const wk_weight **out) {
    return upload_as(be, false, data, rows, cols, out);
}

/* x [rows, cols] as [cols, rows]; NULL: no memory. */
static float *transpose(const float *x, int64_t rows, int64_t cols) {
    float *t = wk_alloc_array((size_t)(rows * cols), sizeof *t);
    for (int64_t r = 0; t && r < rows; r++)
        for (int64_t c = 0; c < cols; c++) t[c * rows + r] = x[r * cols + c];
    return t;
}

double wk_lora_embed_scale(const wk_model *m) {
    return m->hp.features & WK_EMBED_SCALE ? (double)(float)sqrt((double)m->hp.n_embd) : 1;
}

static wick_status adapter_new(wk_model *m, wick_adapter **out) {
    int n = wk_model_n_slot(m);
    wick_adapter *a = *out = wk_alloc(sizeof *a);
    if (!a) return wk_fail_memory(sizeof *a, "an adapter");
    a->model = m;
    atomic_init(&a->n_ref, 1);
    a->term = wk_alloc_array((size_t)n, sizeof *a->term);
    a->set = (wk_lora_set){ a->term, n, 1, NULL };
    return a->term ? WICK_OK : wk_fail_memory((size_t)n * sizeof *a->term, "an adapter");
}

static void adapter_free(wick_adapter *a) {
    if (!a) return;
    wk_backend *be = a->model->backend;
    for (int i = 0; a->term && i < a->set.n_slot; i++) {
        const wk_lora_term *t = &a->term[i];
        const wk_weight *all[] = { t->a, t->b, t->gain, t->w };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) be->ops->weight_free(be, (wk_weight *)all[k]);
    }
    wk_free(a->term);
    wk_free(a->path);
    wk_free(a->base_model);
    wk_free(a);
}

wick_adapter *wk_adapter_hold(wick_adapter *a) {
    atomic_fetch_add_explicit(&a->n_ref, 1, memory_order_relaxed);
    return a;
}

void wk_adapter_drop(wick_adapter *a) {
    if (a && atomic_fetch_sub_explicit(&a->n_ref, 1, memory_order_acq_rel) == 1) adapter_free(a);
}

/* A module that was read fits; one that a program made might not. */
static wick_status check_module(const wk_model *m, const wk_lora_module *x) {
    int64_t n_in, n_out;
    const char *name = wk_arch_tensor(m->hp.arch, x->role, false);
    if (!wk_lora_sizes(m, x->layer, x->role, &n_in, &n_out))
        return wk_fail(WICK_E_ARG, "an adapter of %s in layer %d: this model has none to adapt", name ? name : "nothing", x->layer);
    if (x->n_in != n_in || x->n_out != n_out || x->rank < 1 || x->rank > WK_LORA_MAX_RANK)
        return wk_fail(WICK_E_ARG,
                       "an adapter of %s in layer %d: %lld to %lld by rank %lld, the model has %lld to %lld, ranks 1 to %d", name,
                       x->layer, (long long)x->n_in, (long long)x->n_out, (long long)x->rank, (long long)n_in, (long long)n_out,
                       WK_LORA_MAX_RANK);
    return WICK_OK;
}

float wk_dora_length(float *row, const float *a, const float *b, int64_t rank, int64_t n_in, float s) {
    double sum = 0;
    for (int64_t k = 0; k < rank; k++) {
        float f = s * b[k];
        for (int64_t i = 0; i < n_in; i++) row[i] += f * a[k * n_in + i];
    }
    for (int64_t i = 0; i < n_in; i++) sum += (double)row[i] * (double)row[i];
    return (float)sqrt(sum);
}

/* gain = m / |W + s B A| by output row. */
static wick_status weigh_rows(const wk_model *m, const wk_lora_module *x, float s, const wk_weight *w, float *gain) {
    wk_backend *be = m->backend;
    float *row = wk_alloc_array((size_t)x->n_in, sizeof *row);
    if (!row) return wk_fail_memory((size_t)x->n_in * sizeof *row, "an adapter");
    wick_status st = WICK_OK;
    for (int64_t o = 0; !st && o < x->n_out; o++) {
        be->ops->weight_row(be, w, o, row);
        float length = wk_dora_length(row, x->a, x->b + o * x->rank, x->rank, x->n_in, s);
        if (!(length > 0) || !isfinite(length))
            st = wk_fail(WICK_E_FORMAT, "\"%s\": row %lld of the adapted weight has length %g, DoRA divides by it",
                         x->module ? x->module : "a module", (long long)o, (double)length);
        gain[o] = x->magnitude[o] / length;
    }
    wk_free(row);
    return st;
}

static wick_status add_gain(wk_model *m, const wk_lora_module *x, wk_lora_term *t) {
    const wk_layer *l = x->layer < 0 ? &m->top : &m->layer[x->layer];
    const wk_weight *w = l->w[x->role] ? l->w[x->role] : l->w[WK_T_EMBED];
    float *gain = wk_alloc_array((size_t)x->n_out, sizeof *gain);
    wick_status st = gain ? weigh_rows(m, x, t->scale, w, gain)
                          : wk_fail_memory((size_t)x->n_out * sizeof *gain, "an adapter");
    if (!st) st = upload(m->backend, gain, 0, x->n_out, &t->gain);
    t->bias = l->bias[x->role];
    wk_free(gain);
    return st;
}

/* At the embedding A has a row for each token. */
static wick_status upload_a(wk_model *m, const wk_lora_module *x, wk_lora_term *t) {
    if (x->role != WK_T_EMBED)
        return upload_as(m->backend, wk_lora_bf16(m, x->layer, x->role), x->a, x->rank, x->n_in, &t->a);
    float *a = transpose(x->a, x->rank, x->n_in);
    wick_status st = a ? upload(m->backend, a, x->n_in, x->rank, &t->a)
                       : wk_fail_memory((size_t)(x->rank * x->n_in) * sizeof *a, "an adapter");
    wk_free(a);
    return st;
}

/* Mixes n bytes into h, eight at a time, in four chains that run side by side. */
static uint64_t mix(uint64_t h, const void *p, size_t n) {
    const uint64_t k = 0x9E3779B97F4A7C15u;
    uint64_t lane[4] = { h, h ^ 1, h ^ 2, h ^ 3 }, w;
    const uint8_t *at = p;
    for (; n >= 32; n -= 32, at += 32)
        for (int i = 0; i < 4; i++) {
            memcpy(&w, at + 8 * i, 8);
            lane[i] = (lane[i] ^ w) * k;
            lane[i] ^= lane[i] >> 32;
        }
    for (int i = 0; n; i = (i + 1) % 4) {
        size_t part = n < 8 ? n : 8;
        w = 0;
        memcpy(&w, at, part);
        lane[i] = (lane[i] ^ w ^ part) * k;
        lane[i] ^= lane[i] >> 32;
        at += part;
        n -= part;
    }
    for (int i = 1; i < 4; i++) lane[0] = ((lane[0] ^ lane[i]) * k) ^ lane[i] >> 29;
    return lane[0];
}

/* n numbers' bits: 32 chains side by side, each taking another word to another state, then mixed. *full: a number with all bits
 * of its exponent set was among them. Numbers are met once for both: each has to come from memory. */
static uint64_t mix_numbers(uint64_t h, const float *x, int64_t n, bool *full) {
    typedef uint32_t words4 __attribute__((vector_size(16)));
    enum { N = 8 };
    words4 lane[N], seen[N] = { { 0 } };
    int64_t i = 0;
    if (!x) return h * 31;
    for (uint32_t k = 0; k < N; k++) lane[k] = (words4){ 1, 2, 3, 4 } + 4 * k;
    for (; i + 4 * N <= n; i += 4 * N)
        for (int k = 0; k < N; k++) {
            words4 w;
            memcpy(&w, x + i + 4 * k, sizeof w);
            seen[k] |= (words4)((w & 0x7f800000) == 0x7f800000);
            lane[k] += w;
            lane[k] ^= lane[k] << 13;
            lane[k] ^= lane[k] >> 17;
        }
    for (int k = 0; k < N; k++) *full |= seen[k][0] | seen[k][1] | seen[k][2] | seen[k][3];
    *full |= !wk_lora_finite(x + i, n - i);
    return mix(mix(h, lane, sizeof lane), x + i, (size_t)(n - i) * sizeof *x);
}

static wick_status no_number(const char *name) {
    return wk_fail(WICK_E_FORMAT, "\"%s\" has what is no number to compute with", name ? name : "a module");
}

/* Of all that a module's effect follows from, and of nothing else: the same for the same adapter in another format. Looks at its
 * numbers if nobody has. */
static wick_status mix_module(const wk_lora_data *d, const wk_lora_module *x, uint64_t *version) {
    int64_t head[] = { x->layer, x->role, x->rank, x->n_in, x->n_out };
    float scale = (float)wk_lora_scale(d, x);
    bool full = false;
    uint64_t h = mix(mix(0x5749434B, head, sizeof head), &scale, sizeof scale);
    h = mix_numbers(mix_numbers(h, x->a, x->rank * x->n_in, &full), x->b, x->n_out * x->rank, &full);
    *version = mix_numbers(h, x->magnitude, x->n_out, &full);
    return full && d->unseen ? no_number(x->module) : WICK_OK;
}

static wick_status mix_saved(const wk_lora_data *d, const wk_lora_saved *x, uint64_t *version) {
    int64_t head[] = { x->role, x->n_row, x->n_col };
    bool full = false;
    *version = mix_numbers(mix(0x5749434B, head, sizeof head), x->w, x->n_row * x->n_col, &full);
    return full && d->unseen ? no_number(x->module) : WICK_OK;
}

/* Before any is added: each fits, and none is there twice. */
static wick_status check_modules(const wick_adapter *a, const wk_lora_data *d) {
    bool *there = wk_alloc_array((size_t)a->set.n_slot, sizeof *there);
    wick_status st = there ? WICK_OK : wk_fail_memory((size_t)a->set.n_slot, "an adapter");
    for (size_t i = 0; !st && i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        if ((st = check_module(a->model, x))) break;
        bool *seen = &there[wk_model_slot(a->model, x->layer, x->role)];
        if (*seen) st = wk_fail(WICK_E_ARG, "\"%s\" is there twice", x->module ? x->module : "a module");
        else if (x->magnitude && x->role == WK_T_EMBED) st = wk_fail(WICK_E_UNSUPPORTED, "DoRA of an embedding cannot be applied");
        *seen = true;
    }
    wk_free(there);
    return st;
}

static wick_status add_module(wick_adapter *a, const wk_lora_data *d, const wk_lora_module *x) {
    wk_model *m = a->model;
    double s = wk_lora_scale(d, x);
    wk_lora_term *t = &a->term[wk_model_slot(m, x->layer, x->role)];
    t->scale = (float)(x->role == WK_T_EMBED ? s * wk_lora_embed_scale(m) : s);
    wick_status st = upload_a(m, x, t);
    if (!st) st = upload_as(m->backend, wk_lora_bf16(m, x->layer, x->role), x->b, x->n_out, x->rank, &t->b);
    if (!st && x->magnitude) st = add_gain(m, x, t);
    return st;
}

/* A head that the adapter brings, or an embedding. */
static wick_status add_saved(wick_adapter *a, const wk_lora_saved *x) {
    wk_model *m = a->model;
    int64_t n_in, n_out;
    bool embed = x->role == WK_T_EMBED, known = wk_lora_sizes(m, -1, x->role, &n_in, &n_out);
    if (!known || x->n_row != (embed ? n_in : n_out) || x->n_col != (embed ? n_out : n_in))
        return wk_fail(WICK_E_ARG, "a saved %s of [%lld, %lld] is none of this model", wk_roles[x->role].hf, (long long)x->n_row,
                       (long long)x->n_col);
    wk_lora_term *t = &a->term[wk_model_slot(m, -1, x->role)];
    if (t->w) return wk_fail(WICK_E_ARG, "%s is saved twice", wk_roles[x->role].hf);
    if (!embed || wk_lora_embed_scale(m) == 1) return upload(m->backend, x->w, x->n_row, x->n_col, &t->w);
    float *w = wk_alloc_array((size_t)(x->n_row * x->n_col), sizeof *w);
    for (int64_t i = 0; w && i < x->n_row * x->n_col; i++) w[i] = (float)wk_lora_embed_scale(m) * x->w[i];
    wick_status st = w ? upload(m->backend, w, x->n_row, x->n_col, &t->w)
                       : wk_fail_memory((size_t)(x->n_row * x->n_col) * sizeof *w, "an adapter");
    wk_free(w);
    return st;
}

/* ---- all of it ---- */

/* The adding of all modules, and what the first that failed says. */
typedef struct adding {
    wick_adapter *a;
    const wk_lora_data *d;
    uint64_t *version;  /* [n_module] */
    pthread_mutex_t lock;
    size_t failed_at;
    wick_status status;
    char text[WK_MESSAGE];
} adding;

static void note_failure(adding *g, size_t i, wick_status st) {
    pthread_mutex_lock(&g->lock);
    if (i < g->failed_at) {
        g->failed_at = i;
        g->status = st;
        snprintf(g->text, sizeof g->text, "%s", wick_last_error());
    }
    pthread_mutex_unlock(&g->lock);
}

static void add_share(const wk_team *t, void *arg) {
    adding *g = arg;
    for (size_t i = (size_t)t->i; i < g->d->n_module; i += (size_t)t->n) {
        const wk_lora_module *x = &g->d->module[i];
        wick_status st = mix_module(g->d, x, &g->version[i]);
        if (!st) st = add_module(g->a, g->d, x);
        if (st) note_failure(g, i, st);
    }
}

static wick_status add_modules(wick_adapter *a, const wk_lora_data *d, uint64_t *version) {
    adding g = { .a = a, .d = d, .version = version, .lock = PTHREAD_MUTEX_INITIALIZER, .failed_at = SIZE_MAX };
    wick_status st = check_modules(a, d);
    if (st) return st;
    wk_share_out(a->model->backend->pool, add_share, &g);
    pthread_mutex_destroy(&g.lock);
    return g.status ? wk_fail(g.status, "%s", g.text) : WICK_OK;
}

static wick_status describe(wick_adapter *a, const wk_lora_data *d) {
    wick_adapter_info *info = &a->info;
    *info = (wick_adapter_info){ .size = sizeof *info, .path = "", .base_model = "", .rslora = d->rslora };
    if (d->base_model) info->base_model = a->base_model = wk_strdup(d->base_model);
    if (!info->base_model) return wk_fail_memory(strlen(d->base_model), "an adapter");
    info->n_modules = (int)d->n_module;
    info->n_saved = (int)d->n_saved;
    for (size_t i = 0; i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        if (x->rank > info->rank) info->rank = (int)x->rank;
        info->dora |= x->magnitude != NULL;
        info->n_params += (uint64_t)(x->rank * (x->n_in + x->n_out) + (x->magnitude ? x->n_out : 0));
    }
    for (size_t i = 0; i < d->n_saved; i++) info->n_params += (uint64_t)(d->saved[i].n_row * d->saved[i].n_col);
    for (int i = 0; i < a->set.n_slot; i++) {
        const wk_lora_term *t = &a->term[i];
        const wk_weight *all[] = { t->a, t->b, t->gain, t->w };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) info->n_bytes += all[k] ? all[k]->n_bytes : 0;
    }
    return WICK_OK;
}

wick_status wk_adapter_from_data(wk_model *m, const wk_lora_data *d, wick_adapter **out) {
    wick_adapter *a = NULL;
    *out = NULL;
    size_t n = d->n_module;
    uint64_t *version = wk_alloc_array(n + 1, sizeof *version);
    wick_status st = version ? adapter_new(m, &a) : wk_fail_memory(n * sizeof *version, "an adapter");
    if (!st) st = add_modules(a, d, version);
    uint64_t h = st ? 0 : mix(0x5749434B, version, n * sizeof *version);
    for (size_t i = 0; !st && i < d->n_saved; i++) {
        const wk_lora_saved *x = &d->saved[i];
        st = mix_saved(d, x, &version[n]);
        h = mix(h, &version[n], sizeof version[n]);
        if (!st) st = add_saved(a, x);
    }
    if (!st) st = describe(a, d);
    if (!st) a->info.version = h;
    wk_free(version);
    if (st) adapter_free(a);
    else *out = a;
    return st;
}

/* What did not pack is read once more, with every number looked at: that tells which is none, and where. */
static wick_status tell_more(const wk_model *m, const char *path, wick_status st) {
    wk_lora_data *again = NULL;
    char text[WK_MESSAGE];
    snprintf(text, sizeof text, "%s", wick_last_error());
    wick_status told = wk_lora_read(m, path, &again);
    wk_lora_data_free(again);
    return told ? told : wk_fail(st, "%s", text);
}

/* Room in the backend, got while a file's header is read: what the kernel hands out it clears first, which takes as long as all of
 * the packing. */
typedef struct room { wk_aside aside; wk_backend *be; size_t n_bytes; wk_spare *at; } room;

static wick_status get_room(void *arg) {
    room *r = arg;
    return r->be->ops->spare_new(r->be, r->n_bytes, &r->at);
}

/* Half of an adapter's file, as most have float32 numbers, held in 16 bits. */
static void room_start(room *r, wk_backend *be, const char *path) {
    *r = (room){ .be = be, .n_bytes = (size_t)(wk_lora_file_size(path) / 2) };
    if (be->ops->spare_new && wk_pool_n(be->pool) > 1) wk_aside_start(&r->aside, get_room, r);
}

static wick_status room_join(room *r) { return r->aside.fn ? wk_aside_join(&r->aside) : WICK_OK; }

wick_status wk_adapter_load(wk_model *m, const char *path, wick_adapter **out) {
    wk_lora_data *d = NULL;
    wick_adapter *a = NULL;
    room r;
    *out = NULL;
    room_start(&r, m->backend, path);
    wick_status st = wk_lora_view(m, path, &d), got = room_join(&r);
    if (!st) st = got;
    if (!st) st = wk_lora_check_base(m, d, path);
    if (!st && (st = wk_adapter_from_data(m, d, &a)) == WICK_E_FORMAT) st = tell_more(m, path, st);
    if (r.at) m->backend->ops->spare_free(m->backend, r.at);
    if (!st && !(a->info.path = a->path = wk_strdup(path))) st = wk_fail_memory(strlen(path), "an adapter");
    if (st) adapter_free(a);
    else *out = a;
    wk_lora_data_free(d);
    return st;
}

/* ---- stacks ---- */

/* The first module that two of a stack bring whole; -1: none. */
static int clash(const wick_adapter *a, const wick_adapter *b) {
    for (int i = 0; i < a->set.n_slot; i++) if (a->term[i].w && b->term[i].w) return i;
    return -1;
}

wick_status wk_adapter_stack(const wk_model *m, const wick_adapter_use *use, size_t n, wk_lora_set *set) {
    if (n > WK_MAX_STACK) return wk_fail(WICK_E_ARG, "a stack of %zu adapters: at most %d", n, WK_MAX_STACK);
    for (size_t i = 0; i < n; i++) {
        const wick_adapter *a = use[i].adapter;
        if (!a) return wk_fail(WICK_E_ARG, "adapter %zu is NULL", i);
        if (a->model != m) return wk_fail(WICK_E_ARG, "the adapter was loaded for another model: load it again for this one");
        if (!(use[i].scale > -1e6f && use[i].scale < 1e6f))
            return wk_fail(WICK_E_ARG, "the adapter's scale is %g, it must be a number below 1e6", (double)use[i].scale);
        for (size_t k = 0; k < i; k++)
            if (clash(a, use[k].adapter) >= 0)
                return wk_fail(WICK_E_ARG, "adapters %zu and %zu both bring %s whole: one of them can be applied", k, i,
                               clash(a, use[k].adapter) == wk_model_slot(m, -1, WK_T_EMBED) ? "an embedding" : "a head");
        set[i] = (wk_lora_set){ a->set.slot, a->set.n_slot, use[i].scale, NULL };
        if (i) set[i - 1].also = &set[i];
    }
    return WICK_OK;
}
