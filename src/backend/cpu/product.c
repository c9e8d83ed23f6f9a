/* product.c: steps of linear: an operand is made ready once for all products that take it in the same form,
 * and products divide output rows. */
#include "backend/cpu/plan.h"

/* ---- linear: y[R,o] = W[o,i] x[R,i] (+ bias) ---- */

static void make_ready(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), from, to;
    wk_my_runs(p, t, s->shape_in, s->shape_in.cols, &from, &to);
    if (from < to)
        wk_act_prepare(s->weight->mat[0], wk_in(p, s, 0), s->shape_in.cols, from, to, rows, p->mem + p->slot[s->slot].at);
}

static void product(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), n_out = s->shape_out.cols, from, to;
    wk_my_cols(t, n_out, &from, &to);
    if (from < to && rows)
        wk_linear(s->weight->mat[0], p->mem + p->slot[s->slot].at, rows, from, to, wk_out(p, s, 0), n_out, s->bias);
}

/* The last linear that takes x in the form that w does. */
static int64_t last_reader(const wk_lowering *l, wk_val x, const wk_packed *w) {
    int64_t last = l->k + wk_lora_follows(l->p, l->g, l->k);
    for (int64_t k = l->k + 1; wk_act_kind(w) >= 0 && k < (int64_t)l->g->n_node; k++) {
        const wk_node *n = &l->g->node[k];
        if (n->op != WK_OP_LINEAR || n->in[0] != x) continue;
        const wk_cpu_weight *v = (const wk_cpu_weight *)l->g->value[n->in[1]].weight;
        if (v && v->mat && wk_act_kind(v->mat[0]) == wk_act_kind(w)) last = k + wk_lora_follows(l->p, l->g, k);
    }
    return last;
}

/* The slot that has x ready for w, with a step that fills it unless an earlier one did. */
static int ready_slot(wk_lowering *l, wk_val x, const wk_cpu_weight *w) {
    wk_cpu_plan *p = l->p;
    int kind = wk_act_kind(w->mat[0]);
    for (size_t i = 0; kind >= 0 && i < p->n_ready; i++)
        if (p->ready[i].x == x && p->ready[i].ids < 0 && p->ready[i].kind == kind && p->ready[i].slot >= 0) return p->ready[i].slot;
    wk_shape shape = l->g->value[x].shape;
    int slot = wk_lower_slot(l, wk_act_bytes(w->mat[0], wk_shape_rows(shape, p->base.max_rows, p->base.max_rows)),
                             last_reader(l, x, w->mat[0]));
    wk_step *s = wk_lower_step(l, make_ready);
    if (!s) return -1;
    s->weight = w;
    s->slot = slot;
    wk_lower_value(l, x, false, WK_SPLIT_RUNS, shape.cols);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_RUNS, shape.cols);
    if (kind >= 0) {
        if (!wk_grow((void **)&p->ready, &p->cap_ready, p->n_ready + 1, sizeof *p->ready))
            l->status = wk_fail_memory(sizeof *p->ready, "a plan");
        else p->ready[p->n_ready++] = (wk_ready){ x, WK_NO_VAL, kind, slot };
    }
    return slot;
}

void wk_lower_linear(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1), *bias = n->in[2] >= 0 ? wk_lower_vector(l, 2) : NULL;
    int slot = l->status ? -1 : ready_slot(l, n->in[0], w);
    wk_step *s = wk_lower_step(l, product);
    if (!s) return;
    s->weight = w;
    s->bias = bias ? bias->vec : NULL;
    s->slot = slot;
    s->by_cols = true;
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}
