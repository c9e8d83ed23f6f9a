/* plan.c: which tensors the other format has, of which type and shape, and where their numbers come from. Everything follows from
 * the tables of roles and families: a name, whether rows are interleaved, whether norms are kept less one, whether experts lie
 * apart. Roles that share a name are parts of one tensor, one below the other.
 *
 * Types of a GGUF file are those of llama.cpp's converter: vectors, norms, biases and routers are F32; every matrix is of the type
 * asked for, embedding and output too; rows that are no multiple of a block are F16. Q4_0, which that converter does not write,
 * keeps the embedding and the output in Q8_0. In a folder vectors and routers have the matrices' type where that keeps every bit,
 * else F32. What was trained is F32 in either. Load: up to 100,000 tensors. */
#include "convert/conversion.h"
#include <stdio.h>
#include <string.h>

static wick_status add(wk_conversion *c, const char *name, const wk_tensor *t, const wk_origin *o) {
    size_t row, bytes;
    if (!wk_grow((void **)&c->t, &c->cap, c->n + 1, sizeof *c->t) ||
        !wk_grow((void **)&c->origin, &c->cap_origin, c->n + 1, sizeof *c->origin))
        return wk_fail_memory(c->n * sizeof *c->t, "a list of tensors");
    wk_tensor *to = &c->t[c->n];
    *to = *t;
    for (int i = t->n_dim; i < 4; i++) to->shape[i] = 1;
    char *own = wk_arena_str(&c->own, name, strlen(name));
    if (!own) return wk_fail_memory(strlen(name), "a tensor's name");
    to->name = (wk_str){ own, strlen(name) };
    if (!wk_row_bytes(t->dtype, wk_tensor_cols(t), &row) || !wk_mul_size(row, (size_t)wk_tensor_rows(t), &bytes))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: tensor \"%s\" does not divide into %s blocks", c->from, name,
                       wk_dtypes[t->dtype].name);
    to->n_bytes = bytes;
    to->data = NULL;
    c->origin[c->n++] = *o;
    c->total += bytes;
    return WICK_OK;
}

static bool is_float(wk_dtype t) { return t == WK_F32 || t == WK_F16 || t == WK_BF16; }

/* A matrix's type in GGUF. */
static wk_dtype gguf_type(const wk_conversion *c, bool outer, int64_t cols) {
    wk_dtype t = c->type == WK_Q4_0 && outer ? WK_Q8_0 : c->type;
    return cols % wk_dtypes[t].block ? WK_F16 : t;
}

/* From GGUF to GGUF with adapters: what they change becomes what was asked for, floats stay what they are, quantised ones F16; the
 * rest stays. */
static wk_dtype merged_type(const wk_conversion *c, const wk_origin *o, bool outer) {
    wk_dtype own = o->piece[0]->base.dtype;
    int64_t cols = o->piece[0]->base.n_col;
    if (!o->merged) return c->typed && is_float(own) ? gguf_type(c, outer, cols) : own;
    return c->typed ? gguf_type(c, outer, cols) : is_float(own) ? own : WK_F16;
}

static wick_status choose_type(const wk_conversion *c, wk_role role, bool small, const wk_origin *o, wk_dtype *out) {
    const wk_found *f = o->piece[0];
    small = small || role == WK_T_ROUTER;
    if (o->trained[0]) {
        *out = WK_F32;
        return WICK_OK;
    }
    if (c->to_gguf && (c->merge || c->n_trained) && wk_checkpoint_gguf(c->m->ckpt)) {
        *out = small && !o->merged ? f->base.dtype : merged_type(c, o, role == WK_T_EMBED || role == WK_T_OUTPUT);
        return WICK_OK;
    }
    if (c->to_gguf) {
        *out = small ? WK_F32 : gguf_type(c, role == WK_T_EMBED || role == WK_T_OUTPUT, f->base.n_col);
        return WICK_OK;
    }
    *out = !c->typed && is_float(f->base.dtype) && !small ? f->base.dtype : c->type;
    bool exact = true;
    wick_status st = small ? wk_origin_is_exact(o, *out, &exact) : WICK_OK;
    if (!exact) *out = WK_F32;
    return st;
}

/* Experts that folders of the family have input by input. */
static bool turned(const wk_conversion *c, wk_role role) {
    return !c->to_gguf && c->m->hp.features & WK_EXPERTS_TURNED && wk_roles[role].n_mat == WK_D_EXPERT;
}

/* The role by whose name it is written: that of several together, where the family's files have them so. */
static wk_role written_as(const wk_conversion *c, wk_role role) {
    bool experts = wk_roles[role].n_mat == WK_D_EXPERT;
    for (const wk_fusion *u = wk_fusions; u->whole; u++)
        for (int i = 0; u->part[i]; i++)
            if (u->part[i] == role && (experts ? turned(c, role) : c->m->hp.arch->fused)) return u->whole;
    return role;
}

/* What follows a role's name: parameters of no module of their own have none in folders. */
static const char *suffix_of(const wk_conversion *c, wk_role role, bool bias) {
    if (turned(c, role)) return bias ? "_bias" : "";
    return bias ? "bias" : role == WK_T_SINKS && !c->to_gguf ? "" : "weight";
}

/* Do adapters change a role, or one that is written with it? */
static bool is_merged(const wk_conversion *c, int64_t layer, wk_role role) {
    bool any = false;
    for (int r = 0; c->merge && r < WK_T_COUNT; r++)
        any = any || ((r == (int)role || written_as(c, (wk_role)r) == written_as(c, role)) &&
                      wk_merge_touches(c->merge, layer, (wk_role)r));
    return any;
}

static const float *trained_of(const wk_conversion *c, int64_t layer, wk_role role, bool bias) {
    for (size_t i = 0; i < c->n_trained; i++) {
        const wk_trained_weight *w = &c->trained[i];
        if (w->layer == layer && w->role == role && w->bias == bias) return w->w;
    }
    return NULL;
}

/* Has each expert a tensor of its own? */
static bool apart(const wk_conversion *c, wk_role role) {
    wk_str name;
    return wk_arch_spelling(wk_arch_tensor(c->m->hp.arch, role, c->to_gguf), 0, &name) && memchr(name.ptr, '*', name.len);
}

/* Puts f below, or in turn with, what the last tensor has already. */
static wick_status add_piece(wk_conversion *c, wk_role role, const wk_found *f, const float *trained, const char *name) {
    wk_tensor *t = &c->t[c->n - 1];
    wk_origin *into = &c->origin[c->n - 1];
    bool in_turn = into->turned;
    if (t->n_dim < 2) return wk_fail(WICK_E_UNSUPPORTED, "%s: vectors of tensor \"%s\" cannot be put together", c->from, name);
    int64_t *grows = &t->shape[t->n_dim - (in_turn ? 1 : 2)], more = in_turn && t->n_dim == 2 ? f->base.n_col : f->base.n_row;
    const wk_found *first = into->piece[0];
    size_t row = 0, bytes = 0;
    if (into->n_piece == WK_MAX_PIECE || into->mat >= 0 || first->base.n_col != f->base.n_col ||
        (in_turn && first->base.n_row != f->base.n_row))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: tensor \"%s\" cannot be put together", c->from, name);
    if (trained) t->dtype = WK_F32;
    into->trained[into->n_piece] = trained;
    into->role[into->n_piece] = role;
    into->piece[into->n_piece++] = f;
    *grows += more;
    c->total -= t->n_bytes;
    if (!wk_row_bytes(t->dtype, wk_tensor_cols(t), &row) || !wk_mul_size(row, (size_t)wk_tensor_rows(t), &bytes))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: tensor \"%s\" cannot be put together", c->from, name);
    t->n_bytes = bytes;
    c->total += bytes;
    return WICK_OK;
}

/* One tensor of a role: all matrices, or (mat >= 0) one of them. */
static wick_status add_role(wk_conversion *c, wk_role role, int64_t layer, int64_t mat, bool bias, const wk_found *f) {
    const wk_hparams *hp = &c->m->hp;
    bool vector = wk_roles[role].rows == WK_D_ONE || bias;
    wk_origin o = { .piece = { f }, .n_piece = 1, .mat = mat, .layer = layer, .role = { role }, .turned = turned(c, role),
                    .trained = { trained_of(c, layer, role, bias) } };
    wk_tensor t = { 0 };
    char name[192];
    if (!wk_arch_tensor_name(hp->arch, c->to_gguf ? NULL : WK_ROOT, written_as(c, role), 0, layer, mat < 0 ? 0 : mat,
                             suffix_of(c, role, bias), name, sizeof name))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: %s files of architecture %s have no place for tensor \"%s\"", c->from,
                       c->to_gguf ? "GGUF" : "Hugging Face", hp->arch->name, wk_show(f->tensor[0].name).text);
    o.merged = !vector && is_merged(c, layer, role);
    if (vector && !bias && hp->features & WK_NORM_PLUS_ONE) o.add = (o.trained[0] ? 0 : f->add) - (c->to_gguf ? 0 : 1);
    if (c->to_gguf && hp->features & WK_GGUF_PERMUTED && (role == WK_T_Q || role == WK_T_K)) o.head = hp->head_dim;
    wick_status st = choose_type(c, role, vector, &o, &t.dtype);
    if (st) return st;
    c->quantised = c->quantised || (!is_float(f->base.dtype) && t.dtype != f->tensor[0].dtype);
    if ((f->base.n_mat > 1 || o.turned) && mat < 0) t.shape[t.n_dim++] = f->base.n_mat;
    if (!vector) t.shape[t.n_dim++] = o.turned ? f->base.n_col : f->base.n_row;
    t.shape[t.n_dim++] = o.turned && !vector ? f->base.n_row : f->base.n_col;
    /* The role before may be a part of the same tensor: its rows come first. */
    if (c->n && wk_str_eq(c->t[c->n - 1].name, name)) return add_piece(c, role, f, o.trained[0], name);
    return add(c, name, &t, &o);
}

static wick_status add_weights(wk_conversion *c, const wk_layer *l, int64_t layer, int from, int to) {
    wick_status st = WICK_OK;
    for (int bias = 0; bias < 2; bias++)
        for (int role = from; !st && role < to; role++) {
            const wk_found *f = (const wk_found *)(bias ? l->bias[role] : l->w[role]);
            if (!f) continue;
            bool each = f->base.n_mat > 1 && apart(c, (wk_role)role);
            for (int64_t e = each ? 0 : -1; !st && e < (each ? f->base.n_mat : 0); e++)
                st = add_role(c, (wk_role)role, layer, e, bias, f);
        }
    return st;
}

static wick_status add_factors(wk_conversion *c, const char *name, const float *f) {
    wk_tensor t = { .dtype = WK_F32, .n_dim = 1, .shape = { c->m->hp.rot_dim / 2 } };
    return add(c, name, &t, &(wk_origin){ .made = f });
}

/* GGUF keeps what some ropes divide each frequency by as tensors. */
static wick_status add_rope_factors(wk_conversion *c) {
    const wk_hparams *hp = &c->m->hp;
    wick_status st = WICK_OK;
    if (c->to_gguf && hp->rope.kind == WK_ROPE_LONG) {
        st = add_factors(c, "rope_factors_long.weight", hp->rope_long);
        return st ? st : add_factors(c, "rope_factors_short.weight", hp->rope_short);
    }
    if (!c->to_gguf || hp->rope.kind != WK_ROPE_LLAMA3) return WICK_OK;
    float *f = wk_arena_alloc(&c->own, (size_t)hp->rot_dim / 2 * sizeof *f);
    if (!f) return wk_fail_memory((size_t)hp->rot_dim * sizeof *f, "rope factors");
    wk_rope_llama3_factors(&hp->rope, hp->rot_dim, f);
    return add_factors(c, "rope_freqs.weight", f);
}

wick_status wk_plan_model(wk_conversion *c) {
    const wk_model *m = c->m;
    if (m->hp.classify && c->to_gguf)
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: a GGUF file has no place for the head of a %s: a classifier can stay a folder, "
                       "which wick runs as it is",
                       c->from, m->hp.arch->hf_classify);
    wick_status st = add_weights(c, &m->top, -1, 0, WK_T_FIRST_LAYER);
    if (!st && c->untied) st = add_role(c, WK_T_OUTPUT, -1, -1, false, (const wk_found *)m->top.w[WK_T_EMBED]);
    if (!st) st = add_rope_factors(c);
    for (int64_t l = 0; !st && l < m->hp.n_layer; l++) st = add_weights(c, &m->layer[l], l, WK_T_FIRST_LAYER, WK_T_COUNT);
    return st;
}

/* rope_freqs and the like: of no role's matrix, or not made by the plan. */
static bool is_planned(const wk_conversion *c, wk_str name) {
    for (size_t i = 0; i < c->n; i++)
        if (c->t[i].name.len == name.len && !memcmp(c->t[i].name.ptr, name.ptr, name.len)) return true;
    return name.len < 5 || memcmp(name.ptr, "rope_", 5);
}

wick_status wk_plan_rest(wk_conversion *c) {
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < wk_checkpoint_n_tensor(c->m->ckpt); i++) {
        const wk_tensor *s = wk_checkpoint_tensor(c->m->ckpt, i);
        char name[128];
        if (is_planned(c, s->name)) continue;
        snprintf(name, sizeof name, "%.*s", (int)(s->name.len < 100 ? s->name.len : 100), s->name.ptr);
        st = add(c, name, s, &(wk_origin){ .plain = s });
    }
    return st;
}

/* ---- from GGUF to GGUF ---- */

static bool is_router(wk_str name) {
    const char *router = wk_roles[WK_T_ROUTER].gguf;
    size_t n = strlen(router);
    for (size_t i = 0; i + n < name.len; i++) if (!memcmp(name.ptr + i, router, n) && name.ptr[i + n] == '.') return true;
    return false;
}

static bool is_outer(wk_str name) {
    char text[64];
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s.weight", wk_roles[i ? WK_T_OUTPUT : WK_T_EMBED].gguf);
        if (wk_str_eq(name, text)) return true;
    }
    return false;
}

wick_status wk_plan_gguf(wk_conversion *c, const wk_checkpoint *source) {
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < wk_checkpoint_n_tensor(source); i++) {
        const wk_tensor *s = wk_checkpoint_tensor(source, i);
        wk_tensor t = *s;
        char name[128];
        bool quantised = wk_dtypes[s->dtype].quantised, typed = c->typed && s->n_dim > 1 && (quantised || is_float(s->dtype));
        wk_dtype want = typed ? gguf_type(c, is_outer(s->name), wk_tensor_cols(s)) : s->dtype;
        if (quantised && !is_float(want) && s->dtype != want)
            return wk_fail(WICK_E_UNSUPPORTED,
                           "%s: tensor \"%s\" is %s already: quantising it again would lose more; convert a file with F32, F16 or "
                           "BF16 weights",
                           c->from, wk_show(s->name).text, wk_dtypes[s->dtype].name);
        if (!is_router(s->name)) t.dtype = want;
        c->quantised = c->quantised || (quantised && t.dtype != s->dtype);
        snprintf(name, sizeof name, "%.*s", (int)(s->name.len < 100 ? s->name.len : 100), s->name.ptr);
        st = add(c, name, &t, &(wk_origin){ .plain = s });
    }
    return st;
}
