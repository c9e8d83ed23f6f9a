/* layout.c: where each value lies in one block of memory. Values whose lives do not overlap share bytes; what an op makes in
 * place lies where its input did. First fit in order of creation, over the values alive at that moment; a graph has a few hundred
 * values. */
#include "graph/op.h"
#include <string.h>

/* The last node that reads each value, or n_node where it is kept. */
static void last_uses(const wk_graph *g, int64_t *last) {
    for (size_t v = 0; v < g->n_value; v++) last[v] = g->value[v].keep ? (int64_t)g->n_node : g->value[v].node;
    for (size_t k = 0; k < g->n_node; k++)
        for (int i = 0; i < g->node[k].n_in; i++) {
            wk_val v = g->node[k].in[i];
            if (v >= 0 && last[v] < (int64_t)k) last[v] = (int64_t)k;
        }
}

/* A taken stretch of the block. */
typedef struct taken { size_t from, to; int64_t until; } taken;

/* Puts n bytes into the first gap between the sorted stretches still alive at node k. */
static size_t place(taken *t, size_t *n_taken, size_t n, int64_t k, int64_t until) {
    size_t kept = 0, at = 0, where = 0;
    for (size_t i = 0; i < *n_taken; i++) if (t[i].until >= k) t[kept++] = t[i];
    for (; where < kept && t[where].from - at < n; where++) at = t[where].to;
    memmove(t + where + 1, t + where, (kept - where) * sizeof *t);
    t[where] = (taken){ at, at + n, until };
    *n_taken = kept + 1;
    return at;
}

/* Where v's node may put it in place of its first input: that one, if nobody reads it later; else WK_NO_VAL. */
static wk_val replaced(const wk_graph *g, wk_val v, const int64_t *last) {
    const wk_node *n = g->value[v].node >= 0 ? &g->node[g->value[v].node] : NULL;
    wk_val x = n && n->out[0] == v && wk_ops[n->op]->in_place ? n->in[0] : WK_NO_VAL;
    return x >= 0 && g->value[x].kind == WK_VALUE_RESULT && last[x] == g->value[v].node ? x : WK_NO_VAL;
}

/* The stretch that begins at `at` goes on living. */
static void prolong(taken *t, size_t n_taken, size_t at, int64_t until) {
    for (size_t i = 0; i < n_taken; i++) if (t[i].from == at && t[i].until < until) t[i].until = until;
}

/* A value's bytes at most, rounded up to align. */
static wick_status bytes_of(const wk_value *x, int64_t max_rows, size_t elem, size_t align, size_t *n) {
    int64_t rows = wk_shape_rows(x->shape, max_rows, max_rows);
    if (!wk_mul_size((size_t)rows, (size_t)x->shape.cols, n) || !wk_mul_size(*n, elem, n) || *n > SIZE_MAX / 4)
        return wk_fail(WICK_E_MEMORY, "value %s of %lld x %lld is too large", x->name, (long long)rows, (long long)x->shape.cols);
    *n = *n ? (*n + align - 1) / align * align : align;
    return WICK_OK;
}

wick_status wk_graph_layout(const wk_graph *g, int64_t max_rows, size_t elem, size_t align, int64_t *offset, size_t *total) {
    int64_t *last = wk_alloc_array(g->n_value, sizeof *last);
    taken *t = wk_alloc_array(g->n_value + 1, sizeof *t);
    size_t n_taken = 0;
    wick_status st = last && t ? WICK_OK : wk_fail_memory(g->n_value * sizeof *t, "a memory plan");
    *total = 0;
    if (!st) last_uses(g, last);
    for (int pass = 0; pass < 2; pass++) {  /* inputs first: they are written before the first node runs */
        for (size_t v = 0; !st && v < g->n_value; v++) {
            const wk_value *x = &g->value[v];
            size_t n;
            if (pass == 0) offset[v] = -1;
            if (x->kind == WK_VALUE_PARAM || (x->kind == WK_VALUE_INPUT) != (pass == 0)) continue;
            st = bytes_of(x, max_rows, elem, align, &n);
            if (st) break;
            wk_val old = replaced(g, (wk_val)v, last);
            if (old >= 0) {
                offset[v] = offset[old];
                prolong(t, n_taken, (size_t)offset[old], last[v]);
                continue;
            }
            offset[v] = (int64_t)place(t, &n_taken, n, x->node, pass == 0 ? (int64_t)g->n_node : last[v]);
            if ((size_t)offset[v] + n > *total) *total = (size_t)offset[v] + n;
        }
    }
    wk_free(last);
    wk_free(t);
    return st;
}
