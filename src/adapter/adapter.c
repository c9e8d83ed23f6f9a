/* adapter.c: an adapter's matrices in a model's backend, beside its weights. */
#include "adapter/lora_data.h"
#include <string.h>

/* A float32 matrix. Adapters are small, and nothing of them is rounded. */
static wick_status upload(wk_backend *be, const float *data, int64_t rows, int64_t cols, const wk_weight **out) {
    wk_tensor t = { WK_STR("adapter"), WK_F32, 2, { rows, cols, 1, 1 }, (const uint8_t *)data,
                    (uint64_t)rows * (uint64_t)cols * sizeof *data, NULL };
    wk_weight *w = NULL;
    wick_status st = be->ops->weight_new(be, &(wk_weight_source){ .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1 }, &w);
    *out = w;
    return st;
}

static wick_status adapter_new(wk_model *m, wick_adapter **out) {
    int n = wk_model_n_slot(m);
    wick_adapter *a = *out = wk_alloc(sizeof *a);
    if (a) a->term = wk_alloc_array((size_t)n, sizeof *a->term);
    if (!a || !a->term) return wk_fail_memory((size_t)n * sizeof *a->term, "an adapter");
    a->model = m;
    a->set = (wk_lora_set){ a->term, n, 1 };
    return WICK_OK;
}

void wk_adapter_free(wick_adapter *a) {
    if (!a) return;
    for (int i = 0; a->term && i < a->set.n_slot; i++) {
        const wk_backend_ops *ops = a->model->backend->ops;
        ops->weight_free(a->model->backend, (wk_weight *)a->term[i].a);
        ops->weight_free(a->model->backend, (wk_weight *)a->term[i].b);
    }
    wk_free(a->term);
    wk_free(a);
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

static wick_status add_module(wick_adapter *a, const wk_lora_data *d, const wk_lora_module *x) {
    wk_model *m = a->model;
    wick_status st = check_module(m, x);
    if (!st && (x->magnitude || x->layer < 0)) st = wk_fail(WICK_E_UNSUPPORTED, "DoRA, embeddings and heads cannot be applied");
    if (st) return st;
    wk_lora_term *t = &a->term[wk_model_slot(m, x->layer, x->role)];
    t->scale = (float)wk_lora_scale(d, x);
    st = upload(m->backend, x->a, x->rank, x->n_in, &t->a);
    if (!st) st = upload(m->backend, x->b, x->n_out, x->rank, &t->b);
    return st;
}

wick_status wk_adapter_from_data(wk_model *m, const wk_lora_data *d, wick_adapter **out) {
    wick_adapter *a = NULL;
    *out = NULL;
    wick_status st = adapter_new(m, &a);
    for (size_t i = 0; !st && i < d->n_module; i++) st = add_module(a, d, &d->module[i]);
    if (!st && d->n_saved) st = wk_fail(WICK_E_UNSUPPORTED, "saved modules cannot be applied");
    if (st) wk_adapter_free(a);
    else *out = a;
    return st;
}

wick_status wk_adapter_load(wk_model *m, const char *path, wick_adapter **out) {
    wk_lora_data *d = NULL;
    *out = NULL;
    wick_status st = wk_lora_read(m, path, &d);
    if (!st) st = wk_adapter_from_data(m, d, out);
    wk_lora_data_free(d);
    return st;
}
