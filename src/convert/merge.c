/* merge.c: adapters worked into the weights on their way to another file: W + s B A row by row, DoRA's rows at their length, saved
 * heads and embeddings in place of the model's. All sums in float32 from the file's own numbers, in the order of the adapters; what
 * an adapter does not touch keeps its bits. Load: a multiplication for each rank and weight, once. */
#include "convert/conversion.h"
#include "adapter/lora_data.h"
#include <math.h>
#include <string.h>

struct wk_merge { wk_lora_data **data; float *scale; size_t n; };

static const wk_lora_module *module_of(const wk_lora_data *d, int64_t layer, wk_role role) {
    for (size_t i = 0; i < d->n_module; i++) if (d->module[i].layer == layer && d->module[i].role == role) return &d->module[i];
    return NULL;
}
static const wk_lora_saved *saved_of(const wk_lora_data *d, int64_t layer, wk_role role) {
    for (size_t i = 0; layer < 0 && i < d->n_saved; i++) if (d->saved[i].role == role) return &d->saved[i];
    return NULL;
}

bool wk_merge_touches(const wk_merge *m, int64_t layer, wk_role role) {
    for (size_t i = 0; m && i < m->n; i++)
        if (m->scale[i] != 0 && (module_of(m->data[i], layer, role) || saved_of(m->data[i], layer, role))) return true;
    return false;
}

/* change += f * (s B A) of row r; the embedding's A has a column for each row. */
static void add_product(const wk_lora_module *x, float f, int64_t r, int64_t cols, float *change) {
    for (int64_t k = 0; k < x->rank; k++) {
        bool embed = x->role == WK_T_EMBED;
        float b = f * (embed ? x->a[k * x->n_in + r] : x->b[r * x->rank + k]);
        for (int64_t i = 0; i < cols; i++) change[i] += b * (embed ? x->b[i * x->rank + k] : x->a[k * x->n_in + i]);
    }
}

/* What one adapter makes of row r of W, less W: to change [cols]. */
static void find_change(const wk_lora_data *d, const wk_lora_module *x, int64_t r, const float *w, int64_t cols, float *change) {
    double sum = 0;
    memset(change, 0, (size_t)cols * sizeof *change);
    add_product(x, (float)wk_lora_scale(d, x), r, cols, change);
    if (!x->magnitude) return;
    for (int64_t i = 0; i < cols; i++) sum += ((double)w[i] + (double)change[i]) * ((double)w[i] + (double)change[i]);
    double gain = sum > 0 ? (double)x->magnitude[r] / sqrt(sum) : 0;
    for (int64_t i = 0; i < cols; i++) change[i] = (float)(gain * ((double)w[i] + (double)change[i]) - (double)w[i]);
}

void wk_merge_row(const wk_merge *m, int64_t layer, wk_role role, int64_t r, int64_t cols, float *row, float *room) {
    float *w = room, *change = room + cols;
    for (size_t i = 0; i < m->n; i++) {
        const wk_lora_saved *s = m->scale[i] != 0 ? saved_of(m->data[i], layer, role) : NULL;
        if (!s) continue;
        memcpy(row, s->w + r * cols, (size_t)cols * sizeof *row);
        break;
    }
    memcpy(w, row, (size_t)cols * sizeof *w);  /* each adapter's change is to the weights as they were */
    for (size_t i = 0; i < m->n; i++) {
        const wk_lora_module *x = m->scale[i] != 0 ? module_of(m->data[i], layer, role) : NULL;
        if (!x) continue;
        find_change(m->data[i], x, r, w, cols, change);
        for (int64_t k = 0; k < cols; k++) row[k] += m->scale[i] * change[k];
    }
}

void wk_merge_free(wk_merge *m) {
    if (!m) return;
    for (size_t i = 0; m->data && i < m->n; i++) wk_lora_data_free(m->data[i]);
    wk_free(m->data);
    wk_free(m->scale);
    wk_free(m);
}

/* A head that is the embedding is written beside it once one of them changes. GGUF files of some families (Gemma) have no head. */
static wick_status untie(wk_conversion *c, const wk_merge *m) {
    bool tied = !c->m->hp.classify && !c->m->top.w[WK_T_OUTPUT];
    if (!tied || !(wk_merge_touches(m, -1, WK_T_EMBED) || wk_merge_touches(m, -1, WK_T_OUTPUT))) return WICK_OK;
    if (c->to_gguf && wk_arch_features(c->m->hp.arch) & WK_TIED)
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: the output projection is the embedding (tied), the adapter changes one of them, and GGUF files of "
                       "architecture %s have no head of their own: merge into a folder, or apply it while running", c->from,
                       c->m->hp.arch->name);
    c->untied = true;
    c->m->hp.features &= ~(unsigned)WK_TIED;
    return WICK_OK;
}

wick_status wk_merge_new(wk_conversion *c) {
    size_t n = c->o->n_adapter;
    wk_merge *m = c->merge = wk_alloc(sizeof *m);
    if (!m) return wk_fail_memory(sizeof *m, "adapters");
    m->data = wk_alloc_array(n, sizeof *m->data);
    m->scale = wk_alloc_array(n, sizeof *m->scale);
    if (!m->data || !m->scale) return wk_fail_memory(n * sizeof *m->data, "adapters");
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < n; i++) {
        const wick_adapter_file *f = &c->o->adapter[i];
        m->scale[i] = f->scale;
        if (!f->path) st = wk_fail(WICK_E_ARG, "wick_convert: adapter %zu has no path", i);
        else if (!(fabsf(f->scale) < 1e6f)) st = wk_fail(WICK_E_ARG, "%s: its scale is %g, it must be a number below 1e6", f->path,
                                                         (double)f->scale);
        if (!st) st = wk_lora_read(c->m, f->path, &m->data[i]);
        if (!st) m->n++;
        if (!st) st = wk_lora_check_base(c->m, m->data[i], f->path);
    }
    return st ? st : untie(c, m);
}
