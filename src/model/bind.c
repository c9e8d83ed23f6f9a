/* bind.c: finds a model's tensors by role, holds their shapes against the hyperparameters, and hands them to the backend.
 * A tensor that no role takes is an error: the model has a part that wick would silently leave out. */
#include "model/bind.h"
#include "format/names.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MODEL[] = "model.";

typedef struct binder {
    wk_model *m;
    const wk_checkpoint *c;
    bool gguf;
    const char *root;   /* what names of a folder begin with, in place of "model." */
    const wk_tensor **used; size_t n_used, cap_used;
    wick_progress_fn progress; void *user;
    uint64_t done, total;
    int32_t *row_from;  /* scratch for permuted q and k rows and their biases */
    wk_arena own;       /* descriptions of slices of quantised layers */
} binder;

static bool tensor_name(const binder *b, wk_role role, int i, int64_t layer, int64_t expert, const char *suffix, char *out,
                        size_t cap) {
    return wk_arch_tensor_name(b->m->hp.arch, b->gguf ? NULL : b->root, role, i, layer, expert, suffix, out, cap);
}

static wick_status take(binder *b, const wk_tensor *t) {
    if (!wk_grow((void **)&b->used, &b->cap_used, b->n_used + 1, sizeof *b->used))
        return wk_fail_memory(b->n_used * sizeof *b->used, "the list of tensors");
    b->used[b->n_used++] = t;
    return WICK_OK;
}

static wick_status misfit(const binder *b, const wk_tensor *t, int64_t n_mat, int64_t rows, int64_t cols) {
    char found[96] = "", want[96] = "";
    for (int i = 0; i < t->n_dim; i++) {
        size_t n = strlen(found);
        snprintf(found + n, sizeof found - n, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    }
    if (n_mat > 1) snprintf(want, sizeof want, "%lld, %lld, %lld", (long long)n_mat, (long long)rows, (long long)cols);
    else if (rows > 1) snprintf(want, sizeof want, "%lld, %lld", (long long)rows, (long long)cols);
    else snprintf(want, sizeof want, "%lld", (long long)cols);
    return wk_fail(WICK_E_FORMAT, "%s: tensor \"%.*s\" is [%s], the configuration needs [%s]", wk_checkpoint_path(b->c),
                   (int)t->name.len, t->name.ptr, found, want);
}

/* Is it [n_mat, rows, cols] (leading ones may be left out)? */
static bool fits(const wk_tensor *t, int64_t n_mat, int64_t rows, int64_t cols, bool vector) {
    if (wk_tensor_cols(t) != cols || wk_tensor_rows(t) != n_mat * rows) return false;
    return vector      ? t->n_dim == 1
           : n_mat > 1 ? t->n_dim == 3 && t->shape[1] == rows
                       : t->n_dim >= 2 && t->shape[t->n_dim - 2] == rows;
}

static wick_status check_type(const binder *b, const wk_tensor *t) {
    if (t->parts || wk_dtypes[t->dtype].decode) return WICK_OK;
    return wk_fail(WICK_E_UNSUPPORTED, "%s: tensor \"%.*s\" has type %s, which weights cannot have", wk_checkpoint_path(b->c),
                   (int)t->name.len, t->name.ptr, wk_dtypes[t->dtype].name);
}

static wick_status upload(binder *b, wk_weight_source *s, wk_weight **out) {
    wk_model *m = b->m;
    s->later = true;
    for (int i = 0; i < s->n_tensor; i++) {
        b->done += s->tensor[i]->n_bytes;
        m->n_params += (uint64_t)wk_tensor_rows(s->tensor[i]) * (uint64_t)wk_tensor_cols(s->tensor[i]);
    }
    wick_status st = m->backend->ops->weight_new(m->backend, s, out);
    if (!st) m->n_bytes_weights += (*out)->n_bytes;
    if (!st && b->progress && !b->progress("loading", b->done, b->total, b->user))
        st = wk_fail(WICK_E_CANCELLED, "loading was stopped");
    return st;
}

/* GGUF's converter interleaves the halves of each head's rows in q and k: pair (2j, 2j+1) there is (j, j + hd/2) here.
 * Rows go back, so that one rope serves all files, and the same weights give the same bits from either. */
static void unpermute(int64_t n_head, int64_t head_dim, int32_t *row_from) {
    for (int64_t h = 0; h < n_head; h++)
        for (int64_t j = 0; j < head_dim; j++) {
            int64_t half = head_dim / 2, from = j < half ? 2 * j : 2 * (j - half) + 1;
            row_from[h * head_dim + j] = (int32_t)(h * head_dim + from);
        }
}

/* Where a role's rows lie in the file, as scratch; NULL: in their own order. */
static const int32_t *row_order(const binder *b, wk_role role) {
    const wk_hparams *hp = &b->m->hp;
    if (!b->gguf || !(hp->features & WK_GGUF_PERMUTED) || (role != WK_T_Q && role != WK_T_K)) return NULL;
    unpermute(wk_hparams_dim(hp, wk_roles[role].rows) / hp->head_dim, hp->head_dim, b->row_from);
    return b->row_from;
}

/* A role's tensors as a file has them: one, or one per matrix; each matrix may hold other roles' rows around those wanted. */
/* The role's rows are first, first + step, ... of n_row. */
typedef struct found { const wk_tensor **t; int n; int64_t first, step, n_row; } found;

/* The tensors of one spelling, if the file has it. */
static wick_status find_spelling(const binder *b, wk_role role, int i, int64_t layer, const char *suffix, int64_t n_mat, found *f) {
    char name[160];
    wk_str base;
    tensor_name(b, role, i, layer, 0, suffix, name, sizeof name);
    if (!(f->t[0] = wk_checkpoint_find(b->c, name))) return WICK_OK;
    f->n = 1;
    wk_arch_spelling(wk_arch_tensor(b->m->hp.arch, role, b->gguf), i, &base);
    for (int64_t e = 1; memchr(base.ptr, '*', base.len) && e < n_mat; e++) {
        tensor_name(b, role, i, layer, e, suffix, name, sizeof name);
        if (!(f->t[e] = wk_checkpoint_find(b->c, name)))
            return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is missing, the configuration has %lld experts",
                           wk_checkpoint_path(b->c), name, (long long)n_mat);
        f->n = (int)e + 1;
    }
    return WICK_OK;
}

static wick_status find_role(const binder *b, wk_role role, int64_t layer, const char *suffix, found *f) {
    int64_t n_mat = wk_hparams_dim(&b->m->hp, wk_roles[role].n_mat);
    char name[160];
    wick_status st = WICK_OK;
    f->n = 0;
    for (int i = 0; !st && !f->n && tensor_name(b, role, i, layer, 0, suffix, name, sizeof name); i++) {
        st = find_spelling(b, role, i, layer, suffix, n_mat, f);
        if (st || f->n || b->gguf) continue;  /* parameters of no module of their own have their name alone */
        bool bias = !strcmp(suffix, "bias");
        if (wk_roles[role].n_mat != WK_D_ONE || !bias) st = find_spelling(b, role, i, layer, bias ? "_bias" : "", n_mat, f);
    }
    return st;
}

static int64_t rows_of(const binder *b, wk_role role) { return wk_hparams_dim(&b->m->hp, wk_roles[role].rows); }
static int64_t rows_in(const wk_tensor *t) { return t->n_dim >= 2 ? t->shape[t->n_dim - 2] : wk_tensor_cols(t); }

/* A role's tensors, its own or a slice of fused ones. GGUF names gate and up together "ffn_up", as up alone: rows tell. */
static wick_status find(const binder *b, wk_role role, int64_t layer, const char *suffix, found *f) {
    wick_status st = find_role(b, role, layer, suffix, f);
    f->first = 0;
    f->step = 1;
    f->n_row = rows_of(b, role);
    for (const wk_fusion *u = wk_fusions; !st && u->whole; u++) {
        int64_t before = -1, all = 0, index = 0, n_part = 0;
        bool own_name = false, in_turn = !b->gguf && b->m->hp.features & WK_EXPERTS_TURNED && u->whole == WK_T_GATE_UP_EXPS;
        const char *whole = wk_arch_tensor(b->m->hp.arch, u->whole, b->gguf);
        for (int i = 0; u->part[i]; i++) {
            const char *part = wk_arch_tensor(b->m->hp.arch, u->part[i], b->gguf);
            n_part++;
            if (u->part[i] == role) before = all, index = i;
            all += rows_of(b, u->part[i]);
            own_name = own_name || (whole && part && !strcmp(part, whole));
        }
        if (before < 0 || (f->n && !own_name)) continue;
        const wk_tensor *own = f->n ? f->t[0] : NULL;
        int n = f->n;
        st = find_role(b, u->whole, layer, suffix, f);
        bool fused = f->n && !(own && own != f->t[0]) && (!own_name || rows_in(f->t[0]) == all);
        if (fused) f->first = in_turn ? index : before, f->step = in_turn ? n_part : 1, f->n_row = all;
        else f->t[0] = own, f->n = n;
    }
    return st;
}

/* Float experts that lie input by input, [n_mat, n_in, n_out], as the tensor that they are. */
static wick_status turn_over(binder *b, const wk_tensor *t, wk_tensor *out) {
    wk_parts *p = wk_arena_alloc(&b->own, sizeof *p);
    if (!p) return wk_fail_memory(sizeof *p, "a layer's experts");
    *p = (wk_parts){ .order = WK_CODES_FLOATS, .n_in = t->shape[1], .n_out = t->shape[2], .codes = t->data };
    *out = *t;
    out->shape[1] = p->n_out;
    out->shape[2] = p->n_in;
    out->parts = p;
    return WICK_OK;
}

/* Rows first, first + step, ... (n of them) of matrix m of t, as a tensor of its own. */
static wick_status slice(binder *b, const wk_tensor *t, int64_t m, int64_t first, int64_t step, int64_t n, wk_tensor *out) {
    size_t row, at, n_bytes;
    bool vector = t->n_dim < 2;
    *out = *t;
    out->n_dim = vector ? 1 : 2;
    out->shape[0] = n;
    out->shape[1] = vector ? 1 : wk_tensor_cols(t);
    out->shape[2] = out->shape[3] = 1;
    if (t->parts) {
        wk_parts *p = wk_arena_alloc(&b->own, sizeof *p);
        if (!p) return wk_fail_memory(sizeof *p, "a quantised layer");
        *p = *t->parts;
        if (p->order == WK_CODES_FLOATS) {
            p->codes += (size_t)m * (size_t)(p->n_in * p->n_out) * (size_t)wk_dtypes[t->dtype].bytes;
            p->first = first;
        } else p->first += m * rows_in(t) + first;
        p->step = step;
        out->parts = p;
        out->n_bytes = t->n_bytes / (uint64_t)wk_tensor_rows(t) * (uint64_t)n;
        return WICK_OK;
    }
    if (!wk_row_bytes(t->dtype, vector ? 1 : wk_tensor_cols(t), &row) ||
        !wk_mul_size((size_t)(m * rows_in(t) + first), row, &at) || !wk_mul_size((size_t)n, row, &n_bytes) || at > t->n_bytes ||
        n_bytes > t->n_bytes - at)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%.*s\" has %llu bytes, fewer than its shape needs", wk_checkpoint_path(b->c),
                       (int)t->name.len, t->name.ptr, (unsigned long long)t->n_bytes);
    out->data = t->data + at;
    out->n_bytes = n_bytes;
    return WICK_OK;
}

/* Checks what was found, marks it as used, and cuts the role's rows out where they are fused: f->t becomes slices in room
 * [n_mat]. */
static wick_status check_and_cut(binder *b, wk_role role, bool vector, found *f, wk_tensor *room) {
    const wk_role_info *info = &wk_roles[role];
    int64_t n_mat = wk_hparams_dim(&b->m->hp, info->n_mat), n_row = rows_of(b, role), each = f->n ? n_mat / f->n : 0;
    bool turned = !b->gguf && b->m->hp.features & WK_EXPERTS_TURNED && info->n_mat == WK_D_EXPERT && f->n == 1 && !f->t[0]->parts;
    wk_tensor over;
    bool bias = vector && info->rows != WK_D_ONE;
    int64_t cols = bias ? f->n_row : wk_hparams_dim(&b->m->hp, info->cols);
    wick_status st = WICK_OK;
    for (int i = 0; !st && i < f->n; i++) {
        if (turned && !(f->t[i]->n_dim == 3 && fits(f->t[i], each, cols, f->n_row, false)))
            st = misfit(b, f->t[i], each, cols, f->n_row);
        if (!turned && !fits(f->t[i], each, vector ? 1 : f->n_row, cols, vector))
            st = misfit(b, f->t[i], each, vector ? 1 : f->n_row, cols);
        if (!st) st = check_type(b, f->t[i]);
        if (!st) st = take(b, f->t[i]);
        if (!st && turned) st = turn_over(b, f->t[i], &over);
        if (!st && turned) f->t[i] = &over;
    }
    if (st || (f->n_row == n_row && !turned)) return st;
    for (int64_t m = n_mat - 1; !st && m >= 0; m--) st = slice(b, f->t[m / each], m % each, f->first, f->step, n_row, &room[m]);
    for (int64_t m = 0; m < n_mat; m++) f->t[m] = &room[m];
    f->n = (int)n_mat;
    return st;
}

static wick_status missing(const binder *b, wk_role role, int64_t layer, const char *suffix) {
    char name[160] = "";
    tensor_name(b, role, 0, layer, 0, suffix, name, sizeof name);
    return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is missing", wk_checkpoint_path(b->c), name);
}

static wick_status bind_weight(binder *b, wk_role role, int64_t layer, found *f, wk_tensor *room, wk_layer *into) {
    const wk_hparams *hp = &b->m->hp;
    bool vector = wk_roles[role].rows == WK_D_ONE;
    wick_status st = find(b, role, layer, "weight", f);
    if (!st && !f->n) st = missing(b, role, layer, "weight");
    if (!st) st = check_and_cut(b, role, vector, f, room);
    wk_weight_source s = { .tensor = f->t, .n_tensor = f->n, .row_from = row_order(b, role), .vector = vector, .release = true,
                           .add = vector && !b->gguf && hp->features & WK_NORM_PLUS_ONE ? 1 : 0 };
    return st ? st : upload(b, &s, &into->w[role]);
}

static wick_status bind_bias(binder *b, wk_role role, int64_t layer, found *f, wk_tensor *room, wk_layer *into) {
    const wk_hparams *hp = &b->m->hp;
    bool qkv = role == WK_T_Q || role == WK_T_K || role == WK_T_V, mlp = role == WK_T_GATE || role == WK_T_UP || role == WK_T_DOWN;
    wk_bias said = qkv || role == WK_T_O ? hp->attn_bias : mlp ? hp->mlp_bias : WK_BIAS_UNSAID;
    wick_status st = find(b, role, layer, "bias", f);
    if (role == WK_T_ROUTER && hp->features & WK_EXPERT_BIAS) said = WK_BIAS_ALL;
    if (!st && !f->n && (said == WK_BIAS_ALL || (qkv && hp->features & WK_QKV_BIAS))) st = missing(b, role, layer, "bias");
    if (st || !f->n) return st;
    if (said == WK_BIAS_NONE)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is there, but \"%s\" is false in config.json", wk_checkpoint_path(b->c),
                       wk_show(f->t[0]->name).text, mlp ? "mlp_bias" : "attention_bias");
    st = check_and_cut(b, role, true, f, room);
    wk_weight_source s = { .tensor = f->t, .n_tensor = 1, .row_from = row_order(b, role), .vector = true };
    return st ? st : upload(b, &s, &into->bias[role]);
}

/* Biases of experts, [n_mat, n_row]: a vector of each expert's, one after the other. */
static wick_status bind_expert_bias(binder *b, wk_role role, int64_t layer, found *f, wk_tensor *room, wk_layer *into) {
    int64_t n_mat = wk_hparams_dim(&b->m->hp, wk_roles[role].n_mat), n_row = rows_of(b, role);
    bool there = b->m->hp.features & WK_EXPERT_BIAS;
    wick_status st = there ? find(b, role, layer, "bias", f) : WICK_OK;
    if (st || !there) return st;
    if (!f->n) return missing(b, role, layer, "bias");
    const wk_tensor *t = f->t[0];
    size_t size = (size_t)wk_dtypes[t->dtype].bytes;
    st = check_type(b, t);
    bool fit = t->n_dim <= 2 && wk_tensor_rows(t) == n_mat && wk_tensor_cols(t) == f->n_row;  /* GGUF leaves a leading 1 out */
    if (!st && (!fit || t->parts || wk_dtypes[t->dtype].block > 1))
        st = misfit(b, t, 1, n_mat, f->n_row);
    if (!st) st = take(b, t);
    for (int64_t m = 0; !st && m < n_mat; m++) {  /* one expert's: a row, or every step-th number of one */
        room[m] = (wk_tensor){ t->name, t->dtype, 1, { n_row, 1, 1, 1 }, t->data + (size_t)(m * f->n_row) * size,
                               (uint64_t)n_row * size, NULL };
        wk_parts *p = f->step > 1 ? wk_arena_alloc(&b->own, sizeof *p) : NULL;
        if (f->step > 1 && !p) st = wk_fail_memory(sizeof *p, "an expert's biases");
        if (p) *p = (wk_parts){ .order = WK_CODES_FLOATS, .n_in = n_row, .n_out = f->step, .first = f->first,
                                .codes = room[m].data };
        else room[m].data += (size_t)f->first * size;
        room[m].parts = p;
    }
    for (int64_t m = 0; m < n_mat; m++) f->t[m] = &room[m];
    wk_weight_source s = { .tensor = f->t, .n_tensor = (int)n_mat, .vector = true };
    return st ? st : upload(b, &s, &into->bias[role]);
}

/* Binds a role's weight (and its bias where there is one). */
static wick_status bind(binder *b, wk_role role, int64_t layer, wk_layer *into) {
    const wk_role_info *info = &wk_roles[role];
    size_t n_mat = (size_t)wk_hparams_dim(&b->m->hp, info->n_mat);
    found f = { .t = wk_alloc_array(n_mat, sizeof *f.t) };
    wk_tensor *room = wk_alloc_array(n_mat, sizeof *room);
    wick_status st = f.t && room ? WICK_OK : wk_fail_memory(n_mat * sizeof *room, "a list of experts");
    if (!st) st = bind_weight(b, role, layer, &f, room, into);
    if (!st && info->rows != WK_D_ONE)
        st = info->n_mat == WK_D_ONE ? bind_bias(b, role, layer, &f, room, into) : bind_expert_bias(b, role, layer, &f, room, into);
    wk_free(f.t);
    wk_free(room);
    return st;
}

static wick_status bind_layer(binder *b, int64_t l) {
    const wk_hparams *hp = &b->m->hp;
    wk_layer *into = &b->m->layer[l];
    bool moe = hp->features & WK_MOE && !hp->dense[l], post = hp->features & WK_POST_NORMS,
         pre = !(hp->features & WK_NO_PRE_NORMS);
    const struct { wk_role role; bool there; } all[] = {
        { WK_T_ATTN_NORM, pre }, { WK_T_Q, true }, { WK_T_K, true }, { WK_T_V, true }, { WK_T_O, true },
        { WK_T_Q_NORM, hp->features & WK_QK_NORM }, { WK_T_K_NORM, hp->features & WK_QK_NORM },
        { WK_T_SINKS, hp->features & WK_SINKS },
        { WK_T_POST_ATTN_NORM, post }, { WK_T_FFN_NORM, pre }, { WK_T_POST_FFN_NORM, post },
        { WK_T_GATE, !moe }, { WK_T_UP, !moe }, { WK_T_DOWN, !moe },
        { WK_T_ROUTER, moe }, { WK_T_GATE_EXPS, moe }, { WK_T_UP_EXPS, moe }, { WK_T_DOWN_EXPS, moe },
    };
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < sizeof all / sizeof *all; i++) if (all[i].there) st = bind(b, all[i].role, l, into);
    return st;
}

static int by_address(const void *a, const void *b) {
    const wk_tensor *const *x = a, *const *y = b;
    return (*x > *y) - (*x < *y);
}

/* Buffers that some exporters write and that are derived here. */
static bool ignorable(const binder *b, wk_str name) {
    static const char *const ends[] = { "rotary_emb.inv_freq", "rope_freqs.weight", "rope_factors_long.weight",
                                        "rope_factors_short.weight", "masked_bias", "attn.bias" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (name.len >= n && !memcmp(name.ptr + name.len - n, ends[i], n)) return true;
    }
    return b->m->hp.features & WK_TIED && (wk_str_eq(name, "lm_head.weight") || wk_str_eq(name, "output.weight"));
}

/* Of a wrapper's part that is not text: pictures' tower, and what fits its output to the text's embedding. */
static bool other_part(const binder *b, wk_str name) {
    static const char *const parts[] = { "vision_tower.", "multi_modal_projector." };
    size_t model = strlen(MODEL);
    if (!b->m->hp.wrapped) return false;
    if (name.len > model && !memcmp(name.ptr, MODEL, model)) name = (wk_str){ name.ptr + model, name.len - model };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (name.len > strlen(parts[i]) && !memcmp(name.ptr, parts[i], strlen(parts[i]))) return true;
    return false;
}

/* Where a wrapper keeps the text part: transformers has moved it. */
static const char *find_root(const binder *b) {
    static const char *const roots[] = { "language_model.model.", "model.language_model." };
    for (size_t i = 0; b->m->hp.wrapped && i < sizeof roots / sizeof *roots; i++) {
        char name[80];
        snprintf(name, sizeof name, "%sembed_tokens.weight", roots[i]);
        if (wk_checkpoint_find(b->c, name)) return roots[i];
    }
    return MODEL;
}

static wick_status refuse_unused(binder *b) {
    qsort(b->used, b->n_used, sizeof *b->used, by_address);
    for (size_t i = 0; i < wk_checkpoint_n_tensor(b->c); i++) {
        const wk_tensor *t = wk_checkpoint_tensor(b->c, i);
        if (!bsearch(&t, b->used, b->n_used, sizeof *b->used, by_address) && !ignorable(b, t->name) && !other_part(b, t->name))
            return wk_fail(WICK_E_UNSUPPORTED,
                           "%s: tensor \"%.*s\" has no place in architecture %s: the model has a part that wick does not know",
                           wk_checkpoint_path(b->c), (int)t->name.len, t->name.ptr, b->m->hp.arch->name);
    }
    return WICK_OK;
}

/* One rope's frequencies, as a weight: as many sets, one after the other, as there are lists of factors (at least one). */
static wick_status make_freqs(binder *b, const wk_rope_params *p, const float *const *factors, int n_set, wk_weight **out,
                              float *mscale) {
    int64_t half = b->m->hp.rot_dim / 2, n = half * n_set;
    float *f = wk_alloc_array((size_t)n, sizeof *f);
    if (!f) return wk_fail_memory((size_t)n * sizeof *f, "rope frequencies");
    for (int i = 0; i < n_set; i++) wk_rope_freqs(p, 2 * half, factors[i], f + i * half, mscale);
    wk_tensor t = { WK_STR("rope"), WK_F32, 1, { n, 1, 1, 1 }, (const uint8_t *)f, (uint64_t)n * sizeof *f, NULL };
    wk_weight_source s = { .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1, .vector = true };
    wick_status st = b->m->backend->ops->weight_new(b->m->backend, &s, out);
    wk_free(f);
    return st;
}

/* GGUF's divisors of LLaMA 3's frequencies: into factors [rot_dim / 2]. */
static wick_status read_freq_factors(const binder *b, const wk_tensor *t, float *factors) {
    int64_t half = b->m->hp.rot_dim / 2;
    if (!fits(t, 1, 1, half, true)) return misfit(b, t, 1, 1, half);
    wick_status st = check_type(b, t);
    if (!st) wk_tensor_row(t, 0, factors);
    for (int64_t i = 0; !st && i < half; i++)
        if (!(factors[i] > 0))
            st = wk_fail(WICK_E_FORMAT, "%s: tensor \"rope_freqs.weight\" [%lld] is %g, it must be above zero",
                         wk_checkpoint_path(b->c), (long long)i, (double)factors[i]);
    return st;
}

static wick_status bind_rope(binder *b) {
    wk_model *m = b->m;
    const wk_tensor *t = b->gguf ? wk_checkpoint_find(b->c, "rope_freqs.weight") : NULL;
    bool twice = m->hp.rope.kind == WK_ROPE_LONG;
    float *own = t ? wk_alloc_array((size_t)m->hp.rot_dim, sizeof *own) : NULL;
    if (t && !own) return wk_fail_memory((size_t)m->hp.rot_dim * sizeof *own, "rope factors");
    wick_status st = t ? read_freq_factors(b, t, own) : WICK_OK;
    const float *sets[2] = { twice ? m->hp.rope_short : own, m->hp.rope_long }, *none[1] = { NULL };
    if (!st) st = make_freqs(b, &m->hp.rope, sets, twice ? 2 : 1, &m->freqs, &m->mscale);
    if (!st && m->hp.rope_local.theta > 0) st = make_freqs(b, &m->hp.rope_local, none, 1, &m->freqs_local, &m->mscale_local);
    wk_free(own);
    return st;
}

/* The output projection: the file's own, else the embedding's where they may be tied. */
static wick_status bind_output(binder *b) {
    wk_model *m = b->m;
    if (m->hp.classify) return bind(b, WK_T_SCORE, -1, &m->top);
    if (b->gguf && !wk_checkpoint_find(b->c, "output.weight")) m->hp.features |= WK_TIED;
    return m->hp.features & WK_TIED ? WICK_OK : bind(b, WK_T_OUTPUT, -1, &m->top);
}

wick_status wk_model_bind(wk_model *m, wick_progress_fn progress, void *user) {
    binder b = { .m = m, .c = m->ckpt, .gguf = wk_checkpoint_gguf(m->ckpt) != NULL, .progress = progress, .user = user };
    for (size_t i = 0; i < wk_checkpoint_n_tensor(b.c); i++) b.total += wk_checkpoint_tensor(b.c, i)->n_bytes;
    m->n_bytes_file = b.total;
    b.root = find_root(&b);
    m->layer = wk_alloc_array((size_t)m->hp.n_layer, sizeof *m->layer);
    b.row_from = wk_alloc_array((size_t)(m->hp.n_head * m->hp.head_dim), sizeof *b.row_from);
    wick_status st = m->layer && b.row_from ? WICK_OK : wk_fail_memory((size_t)m->hp.n_layer * sizeof *m->layer, "the layers");
    if (!st) st = bind(&b, WK_T_EMBED, -1, &m->top);
    for (int64_t l = 0; !st && l < m->hp.n_layer; l++) st = bind_layer(&b, l);
    if (!st) st = bind(&b, WK_T_OUT_NORM, -1, &m->top);
    if (!st) st = bind_output(&b);
    if (!st) st = bind_rope(&b);
    if (!st) st = refuse_unused(&b);
    if (!st && m->backend->ops->weights_ready) st = m->backend->ops->weights_ready(m->backend);
    wk_free(b.used);
    wk_free(b.row_from);
    wk_arena_free(&b.own);
    return st;
}
