/* gguf_adapter.c: reads and writes LoRA adapters as llama.cpp has them.
 * Layout: a GGUF file with general.type "adapter", adapter.type "lora", adapter.lora.alpha (0: B A is added as it is), and for
 * each adapted tensor <name>.lora_a [r, n_in] and <name>.lora_b [n_out, r]; of the embedding .lora_a has a row for each token.
 * There is one alpha: other scales are folded into B. Rows of q and k lie as the model's own do in such files. DoRA and saved
 * modules have no place. Names and meaning: llama.cpp's llama-adapter.cpp and convert_lora_to_gguf.py, which writes the same
 * tensors (tests/peers/adapter_peers.py). Where the head is tied to the embedding, llama.cpp takes the embedding's pair for the
 * head too, whose A and B lie the other way round, and aborts; no file can tell it otherwise. */
#include "adapter/reading.h"
#include "adapter/writing.h"
#include "format/gguf_write.h"
#include <math.h>
#include <string.h>

static wick_status key_is(const wk_gguf *g, const char *key, const char *want, const char *what) {
    wk_str v = { "", 0 };
    bool found;
    wick_status st = wk_gguf_str(g, key, &v, &found);
    if (st || (found && wk_str_eq(v, want))) return st;
    if (!found) return wk_fail(WICK_E_FORMAT, "%s: the key \"%s\" is missing: %s", wk_gguf_path(g), key, what);
    return wk_fail(WICK_E_FORMAT, "%s: \"%s\" is \"%s\", expected \"%s\": %s", wk_gguf_path(g), key, wk_show(v).text, want, what);
}

static wick_status rank_of(const wk_reading *r, wk_str module, int64_t found, int64_t *rank, double *alpha) {
    double file = *(const double *)r->user;
    (void)module;
    *rank = found;
    *alpha = file != 0 ? file : (double)found;
    return WICK_OK;
}

static void place_all(wk_reading *r, const wk_gguf *g) {
    for (size_t i = 0; i < wk_gguf_n_tensor(g); i++) {
        const wk_tensor *t = wk_gguf_tensor(g, i);
        wk_str module = t->name;
        if (wk_cut_end(&module, ".weight.lora_a")) wk_reading_place(r, t, module, WK_HALF_A, true);
        else if (wk_cut_end(&module, ".weight.lora_b")) wk_reading_place(r, t, module, WK_HALF_B, true);
        else wk_reading_problem(r, false, t->name, "is neither a lora_a nor a lora_b of a weight");
    }
}

static wick_status read_base(const wk_gguf *g, wk_lora_data *d) {
    wk_str base = wk_gguf_hub_name(g, "general.base_model.0.repo_url");  /* the other programs' name for it, where there is one */
    wick_status st = base.ptr ? WICK_OK : wk_gguf_str(g, "general.base_model.0.name", &base, NULL);
    wk_str weights = { NULL, 0 };
    if (!st) st = wk_copy_text(base, &d->base_model);
    if (!st) st = wk_gguf_str(g, WK_LORA_BASE_WEIGHTS, &weights, NULL);
    return st ? st : wk_copy_text(weights, &d->base_weights);
}

wick_status wk_gguf_adapter_read(const wk_model *m, const char *path, wk_lora_data *d) {
    wk_reading r = { 0 };
    double alpha = 0;
    bool found = false;
    wick_status st = wk_gguf_open(path, &d->gguf);
    const wk_gguf *g = d->gguf;
    if (!st) st = key_is(g, "general.type", "adapter", "this is no adapter");
    if (!st) st = key_is(g, "adapter.type", "lora", "only LoRA adapters can be loaded");
    if (!st) st = key_is(g, "general.architecture", wk_arch_gguf_name(m->hp.arch), "it was made for another kind of model");
    if (!st) st = wk_gguf_real(g, "adapter.lora.alpha", &alpha, &found);
    if (!st && !(fabs(alpha) <= 1e6))
        st = wk_fail(WICK_E_FORMAT, "%s: \"adapter.lora.alpha\" is %g, it must be from -1e6 to 1e6", path, alpha);
    if (!st && wk_gguf_has(g, "adapter.alora.invocation_tokens"))
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: wick cannot apply activated LoRA (\"adapter.alora.invocation_tokens\")", path);
    if (!st) st = read_base(g, d);
    if (!st) st = wk_reading_new(&r, m, path);
    if (!st) {
        r.by_token = true;
        r.interleaved = (wk_arch_features(m->hp.arch) & WK_GGUF_PERMUTED) != 0;
        r.rank = rank_of;
        r.user = &alpha;
        place_all(&r, g);
        st = wk_reading_finish(&r, d);
    }
    wk_reading_free(&r);
    return st;
}

/* ---- writing ---- */

/* B with each number times f, its rows as the file has q's and k's heads (head 0: as they are). */
static void add_b(wk_writing *w, const wk_lora_entry *e, double f, int64_t head) {
    float *t = wk_arena_alloc(&w->own, (size_t)(e->n_out * e->rank) * sizeof *t);
    for (int64_t o = 0; t && o < e->n_out; o++) {
        int64_t from = head ? o / head * head + o % 2 * (head / 2) + o % head / 2 : o;
        for (int64_t k = 0; k < e->rank; k++) t[o * e->rank + k] = (float)(f * (double)e->b[from * e->rank + k]);
    }
    if (t) wk_writing_look(w, e->name, t, e->n_out * e->rank);
    if (t) wk_writing_add(w, e->name, ".weight.lora_b", t, e->n_out, e->rank);
    else w->failed = true;
}

static void add_entry(wk_writing *w, const wk_model *m, const wk_lora_entry *e, double alpha) {
    bool heads = (e->role == WK_T_Q || e->role == WK_T_K) && wk_arch_features(m->hp.arch) & WK_GGUF_PERMUTED;
    if (e->role == WK_T_EMBED) wk_writing_add_turned(w, e->name, ".weight.lora_a", e->a, e->rank, e->n_in);
    else wk_writing_add(w, e->name, ".weight.lora_a", e->a, e->rank, e->n_in);
    add_b(w, e, e->scale / (alpha / (double)e->rank), heads ? m->hp.head_dim : 0);
}

static wick_status fill(const wk_tensor *t, wk_out *out, void *user) {
    (void)user;
    return wk_out_write(out, t->data, t->n_bytes);
}

static wick_status check_writable(const wk_lora_data *d, const wk_lora_entries *l) {
    if (d->n_saved)
        return wk_fail(WICK_E_UNSUPPORTED, "GGUF adapters cannot hold the saved module \"%s\"", wk_roles[d->saved[0].role].hf);
    for (size_t i = 0; i < l->n; i++)
        if (l->e[i].magnitude)
            return wk_fail(WICK_E_UNSUPPORTED, "GGUF adapters cannot hold DoRA's magnitudes (%s): merge it instead", l->e[i].name);
    return l->n ? WICK_OK : wk_fail(WICK_E_UNSUPPORTED, "the adapter is empty");
}

wick_status wk_gguf_adapter_write(const wk_model *m, const wk_lora_data *d, const char *path) {
    wk_lora_entries l;
    wk_writing w = { 0 };
    wk_gguf_keys keys = { 0 };
    const char *arch = wk_arch_gguf_name(m->hp.arch);
    wick_status st = wk_lora_entries_new(m, d, true, &l);
    if (!st) st = check_writable(d, &l);
    if (!st) {
        double alpha = l.e[0].scale != 0 ? l.e[0].scale * (double)l.e[0].rank : 1;
        if (fabs(alpha - round(alpha)) < 1e-9 * fabs(alpha)) alpha = round(alpha);
        alpha = (double)(float)alpha;
        for (size_t i = 0; i < l.n; i++) add_entry(&w, m, &l.e[i], alpha);
        wk_gguf_put_str(&keys, "general.type", "adapter", 7);
        wk_gguf_put_str(&keys, "general.architecture", arch, strlen(arch));
        if (d->base_model) wk_gguf_put_str(&keys, "general.base_model.0.name", d->base_model, strlen(d->base_model));
        if (d->base_weights) wk_gguf_put_str(&keys, WK_LORA_BASE_WEIGHTS, d->base_weights, strlen(d->base_weights));
        wk_gguf_put_str(&keys, "adapter.type", "lora", 4);
        wk_gguf_put_f32(&keys, "adapter.lora.alpha", alpha);
        st = wk_writing_status(&w);
        if (!st && keys.text.failed) st = wk_fail_memory(keys.text.len, "an adapter's keys");
    }
    if (!st) st = wk_gguf_put(path, &keys, w.t, w.n, fill, NULL);
    wk_gguf_keys_free(&keys);
    wk_writing_free(&w);
    wk_lora_entries_free(&l);
    return st;
}
