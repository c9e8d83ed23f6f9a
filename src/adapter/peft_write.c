/* peft_write.c: writes an adapter as PEFT saves it: the layout is in peft.c.
 * Modules are listed by the end of their name ("q_proj") where the adapter has it in every layer, else each by its whole name,
 * which PEFT takes too. r and alpha are those that most modules have, the others stand in the patterns. */
#include "adapter/reading.h"
#include "adapter/writing.h"
#include "base/json.h"
#include <math.h>
#include <string.h>

static const char *last_part(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* alpha of an entry, for the scale that the whole adapter is read with. */
static double alpha_of(const wk_lora_data *d, const wk_lora_entry *e) {
    double alpha = e->scale * (d->rslora ? sqrt((double)e->rank) : (double)e->rank), whole = round(alpha);
    return fabs(alpha - whole) < 1e-9 * fabs(alpha) ? whole : alpha;  /* 16, not 15.999999999999998 */
}

/* The entry whose rank and alpha most others have. */
static const wk_lora_entry *usual(const wk_lora_data *d, const wk_lora_entries *l) {
    size_t best = 0, most = 0;
    for (size_t i = 0; i < l->n && most <= l->n / 2; i++) {
        size_t n = 0;
        for (size_t k = 0; k < l->n; k++)
            n += l->e[k].rank == l->e[i].rank && alpha_of(d, &l->e[k]) == alpha_of(d, &l->e[i]);
        if (n > most) {
            most = n;
            best = i;
        }
    }
    return l->n ? &l->e[best] : NULL;
}

/* Has every layer that has this matrix an entry for it, and is no other entry of that name? */
static bool in_every_layer(const wk_model *m, const wk_lora_entries *l, const wk_lora_entry *e) {
    const char *part = last_part(e->name);
    int64_t n_in, n_out;
    for (int layer = 0; layer < m->hp.n_layer; layer++) {
        bool has = false;
        for (size_t k = 0; k < l->n && !has; k++) has = l->e[k].layer == layer && !strcmp(last_part(l->e[k].name), part);
        if (!has && wk_lora_sizes(m, layer, e->role, &n_in, &n_out)) return false;
    }
    return e->layer >= 0;
}

static void put_item(wk_buf *b, const char *text) {
    wk_buf_str(b, b->len ? ", " : "[");
    wk_json_put_str(b, text, strlen(text));
}

static void put_targets(wk_buf *b, const wk_model *m, const wk_lora_entries *l) {
    wk_buf list = { 0 };
    bool by_end = true;
    for (size_t i = 0; i < l->n && by_end; i++) by_end = in_every_layer(m, l, &l->e[i]) || l->e[i].layer < 0;
    for (size_t i = 0; i < l->n; i++) {
        const char *name = by_end ? last_part(l->e[i].name) : l->e[i].name;
        bool before = false;
        for (size_t k = 0; by_end && k < i && !before; k++) before = !strcmp(last_part(l->e[k].name), name);
        if (!before) put_item(&list, name);
    }
    wk_buf_str(&list, list.len ? "]" : "[]");
    if (list.failed) b->failed = true;
    else wk_config_raw(b, "target_modules", list.ptr);
    wk_buf_free(&list);
}

/* Entries whose rank (or alpha) is not the usual one. */
static void put_pattern(wk_buf *b, const wk_lora_data *d, const wk_lora_entries *l, const wk_lora_entry *most, bool rank) {
    wk_buf list = { 0 };
    for (size_t i = 0; i < l->n; i++) {
        double v = rank ? (double)l->e[i].rank : alpha_of(d, &l->e[i]), u = rank ? (double)most->rank : alpha_of(d, most);
        if (v == u) continue;
        wk_buf_str(&list, list.len ? ", " : "{");
        wk_json_put_str(&list, l->e[i].name, strlen(l->e[i].name));
        wk_buf_str(&list, ": ");
        wk_json_put_num(&list, v);
    }
    wk_buf_str(&list, list.len ? "}" : "{}");
    if (list.failed) b->failed = true;
    else wk_config_raw(b, rank ? "rank_pattern" : "alpha_pattern", list.ptr);
    wk_buf_free(&list);
}

static void put_saved(wk_buf *b, const wk_lora_data *d, const wk_model *m) {
    wk_buf list = { 0 };
    for (size_t i = 0; i < d->n_saved; i++) {
        char name[160] = "";
        wk_lora_name(m, -1, d->saved[i].role, false, name, sizeof name);
        put_item(&list, last_part(name));
    }
    wk_buf_str(&list, list.len ? "]" : "null");
    if (list.failed) b->failed = true;
    else wk_config_raw(b, "modules_to_save", list.ptr);
    wk_buf_free(&list);
}

static void put_config(wk_buf *b, const wk_model *m, const wk_lora_data *d, const wk_lora_entries *l, bool dora) {
    const wk_lora_entry *most = usual(d, l);
    wk_config_text(b, "base_model_name_or_path", d->base_model);
    wk_config_text(b, "bias", "none");
    wk_config_truth(b, "fan_in_fan_out", false);
    wk_config_truth(b, "inference_mode", true);
    wk_config_number(b, "lora_alpha", most ? alpha_of(d, most) : 1);
    wk_config_number(b, "lora_dropout", d->dropout);
    put_saved(b, d, m);
    wk_config_text(b, "peft_type", "LORA");
    wk_config_number(b, "r", most ? (double)most->rank : 1);
    put_pattern(b, d, l, most, true);
    put_pattern(b, d, l, most, false);
    put_targets(b, m, l);
    wk_config_text(b, "task_type", d->task_type ? d->task_type : m->hp.classify ? "SEQ_CLS" : "CAUSAL_LM");
    wk_config_truth(b, "use_dora", dora);
    wk_config_truth(b, "use_rslora", d->rslora);
    wk_config_end(b);
}

/* DoRA is a matter of the whole adapter, there. */
static wick_status check_dora(const wk_lora_entries *l, bool *dora) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) n += l->e[i].magnitude != NULL;
    *dora = n != 0;
    if (!n || n == l->n) return WICK_OK;
    return wk_fail(WICK_E_UNSUPPORTED, "%zu of %zu modules have DoRA's magnitudes: PEFT keeps them for all or none", n, l->n);
}

static void add_tensors(wk_writing *w, const wk_model *m, const wk_lora_data *d, const wk_lora_entries *l) {
    char name[200];
    for (size_t i = 0; i < l->n; i++) {
        const wk_lora_entry *e = &l->e[i];
        bool embed = e->role == WK_T_EMBED;
        snprintf(name, sizeof name, "base_model.model.%s", e->name);
        wk_writing_add(w, name, embed ? ".lora_embedding_A" : ".lora_A.weight", e->a, e->rank, e->n_in);
        wk_writing_add(w, name, embed ? ".lora_embedding_B" : ".lora_B.weight", e->b, e->n_out, e->rank);
        if (e->magnitude) wk_writing_add(w, name, ".lora_magnitude_vector", e->magnitude, 0, e->n_out);
    }
    for (size_t i = 0; i < d->n_saved; i++) {
        const wk_lora_saved *s = &d->saved[i];
        char own[160] = "";
        wk_lora_name(m, -1, s->role, false, own, sizeof own);
        snprintf(name, sizeof name, "base_model.model.%s", own);
        wk_writing_add(w, name, ".weight", s->w, s->n_row, s->n_col);
    }
}

wick_status wk_peft_write(const wk_model *m, const wk_lora_data *d, const char *path) {
    wk_lora_entries l;
    wk_writing w = { .base_weights = d->base_weights };
    wk_buf config = { 0 };
    bool dora = false;
    wick_status st = wk_lora_entries_new(m, d, false, &l);
    if (!st) st = check_dora(&l, &dora);
    if (!st) {
        add_tensors(&w, m, d, &l);
        put_config(&config, m, d, &l, dora);
        st = wk_writing_status(&w);
    }
    if (!st) st = wk_writing_folder(&w, path, "adapter_model.safetensors", &config);
    wk_buf_free(&config);
    wk_writing_free(&w);
    wk_lora_entries_free(&l);
    return st;
}
