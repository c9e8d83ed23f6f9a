/* layout.c: where each value lies in one block of memory. Values whose lives do not overlap share bytes.
 * First fit in order of creation, over the values alive at that moment; a graph has a few hundred values. */
#include "graph/graph.h"
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
            offset[v] = (int64_t)place(t, &n_taken, n, x->node, pass == 0 ? (int64_t)g->n_node : last[v]);
            if ((size_t)offset[v] + n > *total) *total = (size_t)offset[v] + n;
        }
    }
    wk_free(last);
    wk_free(t);
    return st;
}
