/* mlx.c: reads and writes adapters as mlx-lm saves them.
 * Layout: adapter_config.json ("fine_tune_type", "num_layers", "lora_parameters": rank, scale, keys), adapters.safetensors with
 *   <module>.lora_a [n_in, r], <module>.lora_b [r, n_out], and with DoRA <module>.m [n_out].
 * The scale is used as it is. There is one rank and one scale: what has less is padded with zeros, what has another is folded into
 * its B. Names and meaning: mlx_lm/tuner/lora.py, dora.py, utils.py. */
#include "adapter/reading.h"
#include "adapter/writing.h"
#include "base/file.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct mlx_config { double scale; bool dora; } mlx_config;

static wick_status read_config(const wk_lora_folder *f, mlx_config *c, wk_lora_data *d) {
    json_t *lora = json_object_get(f->config, "lora_parameters");
    const char *type = json_string_value(json_object_get(f->config, "fine_tune_type"));
    wick_status st = WICK_OK;
    c->dora = type && !strcmp(type, "dora");
    if (type && strcmp(type, "lora") && !c->dora)
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: \"fine_tune_type\" is \"%.40s\", \"lora\" and \"dora\" can be loaded", f->config_path,
                     type);
    if (!st) st = wk_config_read_number(f, lora, "scale", -1e6, 1e6, &c->scale);
    if (!st) st = wk_config_read_text(f, "model", &d->base_model);
    d->dropout = json_number_value(json_object_get(lora, "dropout"));
    return st;
}

static wick_status rank_of(const wk_reading *r, wk_str module, int64_t found, int64_t *rank, double *alpha) {
    (void)module;
    *rank = found;
    *alpha = ((const mlx_config *)r->user)->scale * (double)found;
    return WICK_OK;
}

static void place_all(wk_reading *r, const wk_safetensors *file, bool dora) {
    for (size_t i = 0; i < wk_safetensors_n_tensor(file); i++) {
        const wk_tensor *t = wk_safetensors_tensor(file, i);
        wk_str module = t->name;
        if (wk_cut_end(&module, ".lora_a")) wk_reading_place(r, t, module, WK_HALF_A, false);
        else if (wk_cut_end(&module, ".lora_b")) wk_reading_place(r, t, module, WK_HALF_B, false);
        else if (dora && wk_cut_end(&module, ".m")) wk_reading_place(r, t, module, WK_HALF_MAGNITUDE, false);
        else wk_reading_problem(r, false, t->name, "is neither a lora_a nor a lora_b of a linear layer");
    }
    wk_reading_need_magnitudes(r, dora, ".m");
}

wick_status wk_mlx_read(const wk_model *m, const wk_lora_folder *f, wk_lora_data *d) {
    mlx_config c = { 0 };
    wk_reading r = { 0 };
    char *name = f->file ? wk_strdup(f->file) : wk_path_join(f->folder, "adapters.safetensors");
    wick_status st = name ? read_config(f, &c, d) : wk_fail_memory(strlen(f->folder), "a path");
    if (!st) st = wk_safetensors_open(name, &d->tensors);
    if (!st) st = wk_read_base_weights(d);
    if (!st) st = wk_reading_new(&r, m, name);
    if (!st) {
        r.turned = true;
        r.rank = rank_of;
        r.user = &c;
        place_all(&r, d->tensors, c.dora);
        st = wk_reading_finish(&r, d);
    }
    wk_reading_free(&r);
    wk_free(name);
    return st;
}

/* ---- writing ---- */

/* A [rank, n_in] as [n_in, to], and B [n_out, rank] as [to, n_out] with each number times f. */
static void add_entry(wk_writing *w, const wk_lora_entry *e, double f, int64_t to) {
    float *a = wk_arena_alloc(&w->own, (size_t)(e->n_in * to) * sizeof *a),
          *b = wk_arena_alloc(&w->own, (size_t)(e->n_out * to) * sizeof *b);
    for (int64_t k = 0; a && b && k < e->rank; k++) {
        for (int64_t i = 0; i < e->n_in; i++) a[i * to + k] = e->a[k * e->n_in + i];
        for (int64_t o = 0; o < e->n_out; o++) b[k * e->n_out + o] = (float)(f * (double)e->b[o * e->rank + k]);
    }
    if (a && b) {
        wk_writing_look(w, e->name, b, e->n_out * to);
        wk_writing_add(w, e->name, ".lora_a", a, e->n_in, to);
        wk_writing_add(w, e->name, ".lora_b", b, to, e->n_out);
    } else w->failed = true;
    if (e->magnitude) wk_writing_add(w, e->name, ".m", e->magnitude, 0, e->n_out);
}

/* "self_attn.q_proj" of a layer's module; the whole name of another. */
static const char *key_of(const wk_lora_entry *e) {
    const char *layers = e->layer < 0 ? NULL : strstr(e->name, "layers."), *dot = layers ? strchr(layers + 7, '.') : NULL;
    return dot ? dot + 1 : e->name;
}

static void put_parameters(wk_buf *b, const wk_lora_data *d, const wk_lora_entries *l, int64_t rank, double scale) {
    wk_buf keys = { 0 }, all = { 0 };
    for (size_t i = 0; i < l->n; i++) {
        bool before = false;
        for (size_t k = 0; k < i && !before; k++) before = !strcmp(key_of(&l->e[k]), key_of(&l->e[i]));
        if (before) continue;
        wk_buf_str(&keys, keys.len ? ", " : "");
        wk_json_put_str(&keys, key_of(&l->e[i]), strlen(key_of(&l->e[i])));
    }
    wk_buf_printf(&all, "{\"rank\": %lld, \"scale\": ", (long long)rank);
    wk_json_put_num(&all, scale);
    wk_buf_str(&all, ", \"dropout\": ");
    wk_json_put_num(&all, d->dropout);
    wk_buf_printf(&all, ", \"keys\": [%s]}", keys.len ? keys.ptr : "");
    if (all.failed || keys.failed) b->failed = true;
    else wk_config_raw(b, "lora_parameters", all.ptr);
    wk_buf_free(&keys);
    wk_buf_free(&all);
}

static void put_config(wk_buf *b, const wk_model *m, const wk_lora_data *d, const wk_lora_entries *l, int64_t rank, double scale,
                       bool dora) {
    int first = (int)m->hp.n_layer;
    for (size_t i = 0; i < l->n; i++) if (l->e[i].layer >= 0 && l->e[i].layer < first) first = l->e[i].layer;
    wk_config_text(b, "fine_tune_type", dora ? "dora" : "lora");
    wk_config_number(b, "num_layers", (double)(m->hp.n_layer - first));  /* counted from the end */
    put_parameters(b, d, l, rank, scale);
    if (d->base_model) wk_config_text(b, "model", d->base_model);
    wk_config_end(b);
}

static wick_status check_writable(const wk_lora_data *d, const wk_lora_entries *l, bool *dora) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) n += l->e[i].magnitude != NULL;
    *dora = n != 0;
    if (d->n_saved)
        return wk_fail(WICK_E_UNSUPPORTED, "mlx adapters cannot hold the saved module \"%s\"", wk_roles[d->saved[0].role].hf);
    if (!l->n) return wk_fail(WICK_E_UNSUPPORTED, "the adapter is empty");
    if (n && n < l->n)
        return wk_fail(WICK_E_UNSUPPORTED, "%zu of %zu modules have DoRA's magnitudes: mlx keeps them for all or none", n, l->n);
    return WICK_OK;
}

wick_status wk_mlx_write(const wk_model *m, const wk_lora_data *d, const char *path) {
    wk_lora_entries l;
    wk_writing w = { .base_weights = d->base_weights };
    wk_buf config = { 0 };
    bool dora = false;
    wick_status st = wk_lora_entries_new(m, d, false, &l);
    if (!st) st = check_writable(d, &l, &dora);
    if (!st) {
        double scale = l.e[0].scale != 0 ? l.e[0].scale : 1;
        int64_t rank = 0;
        for (size_t i = 0; i < l.n; i++) if (l.e[i].rank > rank) rank = l.e[i].rank;
        for (size_t i = 0; i < l.n; i++) add_entry(&w, &l.e[i], l.e[i].scale / scale, rank);
        put_config(&config, m, d, &l, rank, scale, dora);
        st = wk_writing_status(&w);
    }
    if (!st) st = wk_writing_folder(&w, path, "adapters.safetensors", &config);
    wk_buf_free(&config);
    wk_writing_free(&w);
    wk_lora_entries_free(&l);
    return st;
}
