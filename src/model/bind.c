/* bind.c: finds a model's tensors by role, holds their shapes against the hyperparameters, and hands them to the backend.
 * A tensor that no role takes is an error: the model has a part that wick would silently leave out. */
#include "model/bind.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct binder {
    wk_model *m;
    const wk_checkpoint *c;
    bool gguf;
    const wk_tensor **used; size_t n_used, cap_used;
    wick_progress_fn progress; void *user;
    uint64_t done, total;
    int32_t *row_from;  /* scratch for permuted q and k rows */
} binder;

/* "blk.3.attn_q.weight" or "model.layers.3.self_attn.q_proj.weight"; expert < 0: no '*' in it. */
static bool tensor_name(const binder *b, wk_role role, int64_t layer, int64_t expert, const char *suffix, char *out, size_t cap) {
    const char *base = wk_arch_tensor(b->m->hp.arch, role, b->gguf);
    char prefix[48] = "", number[24];
    if (!base) return false;
    if (layer >= 0) snprintf(prefix, sizeof prefix, b->gguf ? "blk.%lld." : "model.layers.%lld.", (long long)layer);
    const char *star = strchr(base, '*');
    snprintf(number, sizeof number, "%lld", (long long)expert);
    if (star) snprintf(out, cap, "%s%.*s%s%s.%s", prefix, (int)(star - base), base, number, star + 1, suffix);
    else snprintf(out, cap, "%s%s.%s", prefix, base, suffix);
    return true;
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

static wick_status upload(binder *b, const wk_weight_source *s, wk_weight **out) {
    wk_model *m = b->m;
    wick_status st = WICK_OK;
    for (int i = 0; !st && i < s->n_tensor; i++) {
        st = check_type(b, s->tensor[i]);
        if (!st) st = take(b, s->tensor[i]);
        b->done += s->tensor[i]->n_bytes;
        m->n_params += (uint64_t)wk_tensor_rows(s->tensor[i]) * (uint64_t)wk_tensor_cols(s->tensor[i]);
    }
    if (!st) st = m->backend->ops->weight_new(m->backend, s, out);
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

/* Gathers the tensors of one role: one, or one per expert. */
static wick_status find(binder *b, wk_role role, int64_t layer, const char *suffix, const wk_tensor **t, int *n) {
    char name[160];
    int64_t n_mat = wk_hparams_dim(&b->m->hp, wk_roles[role].n_mat);
    *n = 0;
    if (!tensor_name(b, role, layer, 0, suffix, name, sizeof name)) return WICK_OK;
    if ((t[0] = wk_checkpoint_find(b->c, name))) *n = 1;
    bool each = *n && n_mat > 1 && strchr(wk_arch_tensor(b->m->hp.arch, role, b->gguf), '*');
    for (int64_t e = 1; each && e < n_mat; e++) {
        tensor_name(b, role, layer, e, suffix, name, sizeof name);
        if (!(t[e] = wk_checkpoint_find(b->c, name)))
            return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is missing, the configuration has %lld experts",
                           wk_checkpoint_path(b->c), name, (long long)n_mat);
        *n = (int)e + 1;
    }
    return WICK_OK;
}

/* Binds a role's weight (and its bias where there is one). */
static wick_status bind(binder *b, wk_role role, int64_t layer, bool required, wk_layer *into) {
    const wk_hparams *hp = &b->m->hp;
    const wk_role_info *info = &wk_roles[role];
    int64_t n_mat = wk_hparams_dim(hp, info->n_mat), rows = wk_hparams_dim(hp, info->rows), cols = wk_hparams_dim(hp, info->cols);
    bool vector = info->rows == WK_D_ONE,
         permuted = b->gguf && hp->features & WK_GGUF_PERMUTED && (role == WK_T_Q || role == WK_T_K);
    const wk_tensor **t = wk_alloc_array((size_t)n_mat, sizeof *t);
    char name[160];
    int n = 0;
    if (!t) return wk_fail_memory((size_t)n_mat * sizeof *t, "a list of experts");
    wick_status st = find(b, role, layer, "weight", t, &n);
    if (!st && !n && required) {
        tensor_name(b, role, layer, 0, "weight", name, sizeof name);
        st = wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is missing", wk_checkpoint_path(b->c), name);
    }
    for (int i = 0; !st && i < n; i++)
        if (!fits(t[i], n_mat / n, rows, cols, vector)) st = misfit(b, t[i], n_mat / n, rows, cols);
    if (permuted) unpermute(rows / hp->head_dim, hp->head_dim, b->row_from);
    wk_weight_source s = { .tensor = t, .n_tensor = n, .row_from = permuted ? b->row_from : NULL, .vector = vector, .release = true,
                           .add = vector && !b->gguf && hp->features & WK_NORM_PLUS_ONE ? 1 : 0 };
    if (!st && n) st = upload(b, &s, &into->w[role]);
    if (!st && n && !vector && n_mat == 1) st = find(b, role, layer, "bias", t, &n);
    else n = 0;
    bool need_bias = hp->features & WK_QKV_BIAS && (role == WK_T_Q || role == WK_T_K || role == WK_T_V);
    if (!st && need_bias && !n) {
        tensor_name(b, role, layer, 0, "bias", name, sizeof name);
        st = wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is missing", wk_checkpoint_path(b->c), name);
    }
    if (!st && n && permuted)
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: biases on permuted q and k are not known", wk_checkpoint_path(b->c));
    if (!st && n && !fits(t[0], 1, 1, rows, true)) st = misfit(b, t[0], 1, 1, rows);
    s = (wk_weight_source){ .tensor = t, .n_tensor = 1, .vector = true };
    if (!st && n) st = upload(b, &s, &into->bias[role]);
    wk_free(t);
    return st;
}

static wick_status bind_layer(binder *b, int64_t l) {
    const wk_hparams *hp = &b->m->hp;
    wk_layer *into = &b->m->layer[l];
    bool moe = hp->features & WK_MOE && !hp->dense[l], post = hp->features & WK_POST_NORMS;
    const struct { wk_role role; bool there; } all[] = {
        { WK_T_ATTN_NORM, true }, { WK_T_Q, true }, { WK_T_K, true }, { WK_T_V, true }, { WK_T_O, true },
        { WK_T_Q_NORM, hp->features & WK_QK_NORM }, { WK_T_K_NORM, hp->features & WK_QK_NORM },
        { WK_T_POST_ATTN_NORM, post }, { WK_T_FFN_NORM, true }, { WK_T_POST_FFN_NORM, post },
        { WK_T_GATE, !moe }, { WK_T_UP, !moe }, { WK_T_DOWN, !moe },
        { WK_T_ROUTER, moe }, { WK_T_GATE_EXPS, moe }, { WK_T_UP_EXPS, moe }, { WK_T_DOWN_EXPS, moe },
    };
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < sizeof all / sizeof *all; i++) if (all[i].there) st = bind(b, all[i].role, l, true, into);
    return st;
}

static int by_address(const void *a, const void *b) {
    const wk_tensor *const *x = a, *const *y = b;
    return (*x > *y) - (*x < *y);
}

/* Buffers that some exporters write and that are derived here. */
static bool ignorable(const binder *b, wk_str name) {
    static const char *const ends[] = { "rotary_emb.inv_freq", "rope_freqs.weight", "masked_bias", "attn.bias" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t n = strlen(ends[i]);
        if (name.len >= n && !memcmp(name.ptr + name.len - n, ends[i], n)) return true;
    }
    return b->m->hp.features & WK_TIED && (wk_str_eq(name, "lm_head.weight") || wk_str_eq(name, "output.weight"));
}

static wick_status refuse_unused(binder *b) {
    qsort(b->used, b->n_used, sizeof *b->used, by_address);
    for (size_t i = 0; i < wk_checkpoint_n_tensor(b->c); i++) {
        const wk_tensor *t = wk_checkpoint_tensor(b->c, i);
        if (!bsearch(&t, b->used, b->n_used, sizeof *b->used, by_address) && !ignorable(b, t->name))
            return wk_fail(WICK_E_UNSUPPORTED,
                           "%s: tensor \"%.*s\" has no place in architecture %s: the model has a part that wick does not know",
                           wk_checkpoint_path(b->c), (int)t->name.len, t->name.ptr, b->m->hp.arch->name);
    }
    return WICK_OK;
}

/* One rope's frequencies, as a weight. */
static wick_status make_freqs(binder *b, const wk_rope_params *p, const float *factors, wk_weight **out, float *mscale) {
    int64_t n = b->m->hp.rot_dim / 2;
    float *f = wk_alloc_array((size_t)n, sizeof *f);
    if (!f) return wk_fail_memory((size_t)n * sizeof *f, "rope frequencies");
    wk_rope_freqs(p, 2 * n, factors, f, mscale);
    wk_tensor t = { WK_STR("rope"), WK_F32, 1, { n, 1, 1, 1 }, (const uint8_t *)f, (uint64_t)n * sizeof *f, NULL };
    wk_weight_source s = { .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1, .vector = true };
    wick_status st = b->m->backend->ops->weight_new(b->m->backend, &s, out);
    wk_free(f);
    return st;
}

static wick_status bind_rope(binder *b) {
    wk_model *m = b->m;
    const wk_tensor *t = b->gguf ? wk_checkpoint_find(b->c, "rope_freqs.weight") : NULL;
    float *factors = NULL;
    wick_status st = WICK_OK;
    if (t) {
        if (!fits(t, 1, 1, m->hp.rot_dim / 2, true)) return misfit(b, t, 1, 1, m->hp.rot_dim / 2);
        if ((st = check_type(b, t))) return st;
        factors = wk_alloc_array((size_t)m->hp.rot_dim, sizeof *factors);
        if (!factors) return wk_fail_memory((size_t)m->hp.rot_dim * sizeof *factors, "rope factors");
        wk_tensor_row(t, 0, factors);
        for (int64_t i = 0; !st && i < m->hp.rot_dim / 2; i++)
            if (!(factors[i] > 0))
                st = wk_fail(WICK_E_FORMAT, "%s: tensor \"rope_freqs.weight\" [%lld] is %g, it must be above zero",
                             wk_checkpoint_path(b->c), (long long)i, (double)factors[i]);
    }
    if (!st) st = make_freqs(b, &m->hp.rope, factors, &m->freqs, &m->mscale);
    if (!st && m->hp.rope_local.theta > 0) st = make_freqs(b, &m->hp.rope_local, NULL, &m->freqs_local, &m->mscale_local);
    wk_free(factors);
    return st;
}

/* The output projection: the file's own, else the embedding's where they may be tied. */
static wick_status bind_output(binder *b) {
    wk_model *m = b->m;
    if (m->hp.classify) return bind(b, WK_T_SCORE, -1, true, &m->top);
    if (b->gguf && !wk_checkpoint_find(b->c, "output.weight")) m->hp.features |= WK_TIED;
    return m->hp.features & WK_TIED ? WICK_OK : bind(b, WK_T_OUTPUT, -1, true, &m->top);
}

wick_status wk_model_bind(wk_model *m, wick_progress_fn progress, void *user) {
    binder b = { .m = m, .c = m->ckpt, .gguf = wk_checkpoint_gguf(m->ckpt) != NULL, .progress = progress, .user = user };
    for (size_t i = 0; i < wk_checkpoint_n_tensor(b.c); i++) b.total += wk_checkpoint_tensor(b.c, i)->n_bytes;
    m->n_bytes_file = b.total;
    m->layer = wk_alloc_array((size_t)m->hp.n_layer, sizeof *m->layer);
    b.row_from = wk_alloc_array((size_t)(m->hp.n_head * m->hp.head_dim), sizeof *b.row_from);
    wick_status st = m->layer && b.row_from ? WICK_OK : wk_fail_memory((size_t)m->hp.n_layer * sizeof *m->layer, "the layers");
    if (!st) st = bind(&b, WK_T_EMBED, -1, true, &m->top);
    for (int64_t l = 0; !st && l < m->hp.n_layer; l++) st = bind_layer(&b, l);
    if (!st) st = bind(&b, WK_T_OUT_NORM, -1, true, &m->top);
    if (!st) st = bind_output(&b);
    if (!st) st = bind_rope(&b);
    if (!st) st = refuse_unused(&b);
    wk_free(b.used);
    wk_free(b.row_from);
    return st;
}
