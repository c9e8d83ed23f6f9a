/* place.c: which of a model's layers a module's name means.
 * Names are transformers' ("model.layers.3.self_attn.q_proj", with "language_model." where a wrapper for pictures holds the text
 * part) or GGUF's ("blk.3.attn_q"); a fused name means several roles. */
#include "adapter/reading.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool wk_cut_start(wk_str *s, const char *start) {
    size_t n = strlen(start);
    if (s->len < n || memcmp(s->ptr, start, n)) return false;
    *s = (wk_str){ s->ptr + n, s->len - n };
    return true;
}

bool wk_cut_end(wk_str *s, const char *end) {
    size_t n = strlen(end);
    if (s->len < n || memcmp(s->ptr + s->len - n, end, n)) return false;
    s->len -= n;
    return true;
}

const wk_weight *wk_lora_weight(const wk_model *m, int layer, wk_role role) {
    const wk_weight *w = layer >= 0 ? m->layer[layer].w[role] : m->top.w[role];
    return layer < 0 && !w ? m->top.w[WK_T_EMBED] : w;  /* tied */
}

bool wk_lora_bf16(const wk_model *m, int layer, wk_role role) {
    const wk_weight *w = wk_lora_weight(m, layer, role);
    return layer >= 0 && w && m->backend->ops->weight_rounds(m->backend, w);
}

bool wk_lora_sizes(const wk_model *m, int layer, wk_role role, int64_t *n_in, int64_t *n_out) {
    const wk_weight *w;
    if (layer >= 0 && (layer >= m->hp.n_layer || role < WK_T_Q || role > WK_T_DOWN)) return false;
    if (layer < 0 && role != WK_T_EMBED && role != (m->hp.classify ? WK_T_SCORE : WK_T_OUTPUT)) return false;
    w = wk_lora_weight(m, layer, role);
    if (!w || w->n_mat != 1 || w->n_row <= 1) return false;
    *n_in = role == WK_T_EMBED ? w->n_row : w->n_col;
    *n_out = role == WK_T_EMBED ? w->n_col : w->n_row;
    return true;
}

wick_status wk_reading_new(wk_reading *r, const wk_model *m, const char *path) {
    int n = wk_model_n_slot(m);
    *r = (wk_reading){ .m = m, .path = path, .n_slot = n };
    r->slot = wk_alloc_array((size_t)n, sizeof *r->slot);
    return r->slot ? WICK_OK : wk_fail_memory((size_t)n * sizeof *r->slot, "an adapter");
}

void wk_reading_free(wk_reading *r) {
    wk_free(r->slot);
    wk_buf_free(&r->problems);
}

void wk_reading_problem(wk_reading *r, bool wrong, wk_str tensor, const char *fmt, ...) {
    char why[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    wk_buf_printf(&r->problems, "%s\"%s\" %s", r->n_problem++ ? "; " : "", wk_show(tensor).text, why);
    r->wrong |= wrong;
}

/* "3.self_attn.q_proj" to 3 and "self_attn.q_proj". */
static bool cut_layer(const wk_model *m, wk_str *s, int *layer) {
    int64_t n = 0;
    if (!s->len || *s->ptr < '0' || *s->ptr > '9') return false;
    for (; s->len && *s->ptr >= '0' && *s->ptr <= '9' && n < WK_MAX_LAYERS; s->ptr++, s->len--) n = 10 * n + *s->ptr - '0';
    *layer = (int)n;
    return n < m->hp.n_layer && wk_cut_start(s, ".");
}

/* Is this the family's name of a role, the part that all names of layers share left out? */
static bool is_called(const wk_model *m, wk_role role, wk_str module, bool gguf) {
    wk_str name;
    for (int i = 0; wk_arch_spelling(wk_arch_tensor(m->hp.arch, role, gguf), i, &name); i++) {
        if (!gguf) wk_cut_start(&name, WK_ROOT);
        if (name.len == module.len && !memcmp(name.ptr, module.ptr, name.len)) return true;
    }
    return false;
}

static bool find_fused(const wk_model *m, wk_str module, bool gguf, int layer, wk_role *role) {
    int64_t in, out;
    for (const wk_fusion *u = wk_fusions; u->whole; u++) {
        memcpy(role, u->part, sizeof u->part);
        if (is_called(m, u->whole, module, gguf) && wk_lora_sizes(m, layer, role[0], &in, &out)) return true;
    }
    return false;
}

/* Layer and roles (role 0, which is WK_T_EMBED, ends a list that has others); false: the model has no such linear layer. */
static bool find_place(const wk_model *m, wk_str module, bool gguf, int *layer, wk_role *role) {
    static const wk_role tops[] = { WK_T_EMBED, WK_T_OUTPUT, WK_T_SCORE };
    int64_t in, out;
    while (!gguf && (wk_cut_start(&module, WK_ROOT) || wk_cut_start(&module, "language_model."))) continue;
    role[1] = 0;
    *layer = -1;
    if (!wk_cut_start(&module, gguf ? "blk." : "layers.")) {
        for (size_t i = 0; i < sizeof tops / sizeof *tops; i++)
            if (is_called(m, role[0] = tops[i], module, gguf) && wk_lora_sizes(m, -1, tops[i], &in, &out)) return true;
        return false;
    }
    if (!cut_layer(m, &module, layer)) return false;
    if (m->hp.arch->fused && find_fused(m, module, gguf, *layer, role)) return true;  /* GGUF's "ffn_up" is gate and up */
    for (int i = WK_T_Q; i <= WK_T_DOWN; i++)
        if (is_called(m, role[0] = (wk_role)i, module, gguf) && wk_lora_sizes(m, *layer, role[0], &in, &out)) {
            role[1] = 0;
            return true;
        }
    return find_fused(m, module, gguf, *layer, role);
}

void wk_reading_place(wk_reading *r, const wk_tensor *t, wk_str module, wk_half half, bool gguf) {
    int layer, n = 0;
    wk_role role[4];
    int64_t rows = 0;
    if (!find_place(r->m, module, gguf, &layer, role)) {
        wk_reading_problem(r, true, t->name, "belongs to no attention or MLP projection, embedding or head of this model");
        return;
    }
    if (half == WK_HALF_SAVED && layer >= 0) {
        wk_reading_problem(r, false, t->name, "is a saved module that wick cannot exchange: only embeddings and heads");
        return;
    }
    do {
        wk_lora_found *f = &r->slot[wk_model_slot(r->m, layer, role[n])];
        if (f->half[half]) {
            wk_reading_problem(r, true, t->name, "is the second of its kind for one layer");
            return;
        }
        f->half[half] = t;
        f->module = module;
        f->layer = layer;
        f->role = role[n];
        wk_lora_sizes(r->m, layer, role[n], &f->n_in, &f->n_out);
        f->first = rows;
        rows += f->n_out;
    } while (role[++n]);
    for (int i = 0; i < n; i++) r->slot[wk_model_slot(r->m, layer, role[i])].n_whole = rows;
}
