/* naming.c: from layers and roles to the names in files. Where a family keeps several roles in one matrix (Phi-3's qkv_proj) their
 * changes become one: B's rows below each other if they share an A, else ranks side by side and B block by block. */
#include "adapter/naming.h"
#include <string.h>

bool wk_lora_name(const wk_model *m, int layer, wk_role role, bool gguf, char *out, size_t cap) {
    const char *root = m->hp.wrapped ? "model.language_model." : WK_ROOT;
    return wk_arch_tensor_name(m->hp.arch, gguf ? NULL : root, role, 0, layer, -1, "", out, cap);
}

/* The fused role that holds this one in the family's files; the role itself: none does. */
static wk_role whole_of(const wk_model *m, wk_role role) {
    for (const wk_fusion *u = wk_fusions; m->hp.arch->fused && u->whole; u++)
        for (int i = 0; u->part[i]; i++) if (u->part[i] == role) return u->whole;
    return role;
}

static const wk_lora_module *find(const wk_lora_data *d, int layer, wk_role role) {
    for (size_t i = 0; i < d->n_module; i++)
        if (d->module[i].layer == layer && d->module[i].role == role) return &d->module[i];
    return NULL;
}

/* The parts of a fused matrix, those that the adapter leaves alone as NULL. rank: of all, where they do not share an A side by
 * side; dora, all: some and all of them have a magnitude. */
typedef struct parts { const wk_lora_module *m[4]; int64_t n_out[4], rank; int n; bool shared, dora, all; } parts;

static parts find_parts(const wk_model *m, const wk_lora_data *d, int layer, wk_role whole) {
    parts p = { .shared = true, .all = true };
    const wk_lora_module *first = NULL;
    const wk_fusion *u = wk_fusions;
    while (u->whole != whole) u++;
    for (int64_t n_in; u->part[p.n]; p.n++) {
        const wk_lora_module *x = p.m[p.n] = find(d, layer, u->part[p.n]);
        p.n_out[p.n] = 0;
        wk_lora_sizes(m, layer, u->part[p.n], &n_in, &p.n_out[p.n]);
        if (x && !first) first = x;
        if (x && x != first)
            p.shared &= x->rank == first->rank && !memcmp(x->a, first->a, (size_t)(x->rank * x->n_in) * sizeof *x->a);
        p.rank += x ? x->rank : 0;
        p.dora |= x && x->magnitude;
        p.all &= x && x->magnitude;
    }
    return p;
}

/* trained: an A that parts share has become one for each of them. */
static wick_status check_parts(const parts *p, const char *name, bool trained) {
    if ((!p->shared || trained) && p->rank > WK_LORA_MAX_RANK)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: the format keeps it in one matrix, where the ranks of its parts add up to %lld, "
                       "and at most %d can be applied", name, (long long)p->rank, WK_LORA_MAX_RANK);
    if (!p->dora || p->all) return WICK_OK;
    return wk_fail(WICK_E_UNSUPPORTED, "%s: the format keeps it in one matrix, and DoRA changes only a part of it: it has to "
                   "change all of it, or none", name);
}

static wick_status fuse(const wk_model *m, const wk_lora_data *d, const wk_lora_module *x, wk_role whole, wk_lora_entries *l,
                        wk_lora_entry *e) {
    parts p = find_parts(m, d, x->layer, whole);
    wick_status st = check_parts(&p, e->name, false);
    if (st) return st;
    e->rank = p.shared ? x->rank : p.rank;
    e->n_out = 0;
    for (int i = 0; i < p.n; i++) e->n_out += p.n_out[i];
    size_t n_a = (size_t)(e->rank * e->n_in), n_b = (size_t)(e->n_out * e->rank);
    float *a = wk_arena_alloc(&l->own, n_a * sizeof *a), *b = wk_arena_alloc(&l->own, n_b * sizeof *b),
          *mag = wk_arena_alloc(&l->own, (size_t)e->n_out * sizeof *mag);
    if (!a || !b || !mag) return wk_fail_memory((n_a + n_b) * sizeof *a, "an adapter");
    for (int64_t i = 0, row = 0, at = 0; i < p.n; row += p.n_out[i++]) {
        const wk_lora_module *y = p.m[i];
        if (!y) continue;
        double by = wk_lora_scale(d, y) / e->scale;
        memcpy(a + at * e->n_in, y->a, (size_t)(y->rank * y->n_in) * sizeof *a);
        for (int64_t r = 0; r < y->n_out; r++)
            for (int64_t k = 0; k < y->rank; k++) b[(row + r) * e->rank + at + k] = (float)(by * (double)y->b[r * y->rank + k]);
        if (p.all) memcpy(mag + row, y->magnitude, (size_t)y->n_out * sizeof *mag);
        if (!p.shared) at += y->rank;
    }
    e->a = a;
    e->b = b;
    e->magnitude = p.all ? mag : NULL;
    return WICK_OK;
}

/* Is a module the first of its fused matrix that the adapter changes? */
static bool is_first(const wk_model *m, const wk_lora_data *d, const wk_lora_module *x, wk_role whole) {
    parts p = find_parts(m, d, x->layer, whole);
    int i = 0;
    while (!p.m[i]) i++;
    return p.m[i] == x;
}

static wick_status add(const wk_model *m, const wk_lora_data *d, const wk_lora_module *x, bool gguf, wk_lora_entries *l) {
    char name[160];
    wk_role whole = x->layer < 0 ? x->role : whole_of(m, x->role);
    if (whole != x->role && !is_first(m, d, x, whole)) return WICK_OK;
    if (!wk_lora_name(m, x->layer, whole, gguf, name, sizeof name))
        return wk_fail(WICK_E_UNSUPPORTED, "the format has no name for %s of layer %d", wk_roles[whole].hf, x->layer);
    wk_lora_entry *e = &l->e[l->n++];
    *e = (wk_lora_entry){ wk_arena_str(&l->own, name, strlen(name)), x->layer, x->role, x->rank, x->n_in, x->n_out,
                          wk_lora_scale(d, x), x->a, x->b, x->magnitude };
    if (!e->name) return wk_fail_memory(strlen(name), "an adapter");
    return whole == x->role ? WICK_OK : fuse(m, d, x, whole, l, e);
}

wick_status wk_lora_entries_new(const wk_model *m, const wk_lora_data *d, bool gguf, wk_lora_entries *out) {
    *out = (wk_lora_entries){ 0 };
    if (!d->n_module) return WICK_OK;
    out->e = wk_alloc_array(d->n_module, sizeof *out->e);
    wick_status st = out->e ? WICK_OK : wk_fail_memory(d->n_module * sizeof *out->e, "an adapter");
    for (size_t i = 0; !st && i < d->n_module; i++) st = add(m, d, &d->module[i], gguf, out);
    if (st) wk_lora_entries_free(out);
    return st;
}

wick_status wk_lora_check_trained(const wk_model *m, const wk_lora_data *d) {
    char name[160];
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i];
        wk_role whole = x->layer < 0 ? x->role : whole_of(m, x->role);
        if (whole == x->role || !wk_lora_name(m, x->layer, whole, false, name, sizeof name)) continue;
        parts p = find_parts(m, d, x->layer, whole);
        st = check_parts(&p, name, true);
    }
    return st;
}

void wk_lora_entries_free(wk_lora_entries *l) {
    wk_free(l->e);
    wk_arena_free(&l->own);
    *l = (wk_lora_entries){ 0 };
}
