/* product.c: steps of linear: an operand is made ready once for all products that take it in the same form,
 * and products divide output rows. */
#include "backend/cpu/plan.h"

/* ---- linear: y[R,o] = W[o,i] x[R,i] (+ bias) ---- */

static void make_ready(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), d = s->shape_in.cols, from = 0, to = rows;
    if (!wk_each(p, s)) wk_my_runs(p, t, s->shape_in, d, &from, &to);
    if (from < to) wk_act_prepare(s->weight->mat[0], wk_in_or_copy(p, s, t, 0), d, from, to, rows, wk_operand(p, s, t));
}

static void product(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), n_out = s->shape_out.cols, from, to;
    wk_my_cols(t, n_out, &from, &to);
    if (from < to && rows)
        wk_linear(s->weight->mat[0], wk_operand(p, s, t), rows, from, to, wk_out(p, s, 0), n_out, s->bias);
}

/* One row in mode ONE: every thread makes the operand for itself. */
static bool is_row(wk_shape s) { return wk_shape_rows(s, 1, 1) == 1; }

void wk_lower_operand(wk_lowering *l, const wk_step *s, wk_split split, int64_t unit) {
    unsigned when = l->when;
    if (s->each) {
        l->when = when & WK_WITH_ONE;
        wk_lower_scratch(l, WK_SPACE_SLOT, s->slot, false, WK_SPLIT_EACH, 0);
        l->when = when & ~(unsigned)WK_WITH_ONE;
    }
    wk_lower_scratch(l, WK_SPACE_SLOT, s->slot, false, split, unit);
    l->when = when;
}

/* Does node k take x in the form that w does: a linear, or a trained lora's A? */
static bool takes(const wk_lowering *l, int64_t k, wk_val x, const wk_packed *w) {
    const wk_node *n = &l->g->node[k];
    int i = n->op == WK_OP_LINEAR ? 0 : n->op == WK_OP_LORA && n->in[2] >= 0 ? 1 : -1;
    if (i < 0 || n->in[i] != x) return false;
    const wk_cpu_weight *v = (const wk_cpu_weight *)l->g->value[n->in[i + 1]].weight;
    return v && v->mat && wk_act_kind(v->mat[0]) == wk_act_kind(w);
}

/* The last node that does. */
static int64_t last_reader(const wk_lowering *l, wk_val x, const wk_packed *w) {
    int64_t last = l->k + wk_lora_follows(l->p, l->g, l->k);
    for (int64_t k = l->k + 1; wk_act_kind(w) >= 0 && k < (int64_t)l->g->n_node; k++)
        if (takes(l, k, x, w)) last = k + wk_lora_follows(l->p, l->g, k);
    return last;
}

int64_t wk_last_product(const wk_lowering *l, wk_val v) {
    int64_t last = -1;
    for (int64_t k = 0; !l->g->value[v].keep && k < (int64_t)l->g->n_node; k++) {
        const wk_node *n = &l->g->node[k];
        int x = n->op == WK_OP_LINEAR ? 0 : n->op == WK_OP_LORA && k > 0 && wk_lora_follows(l->p, l->g, k - 1) ? 1 : -1;
        for (int i = 0; i < n->n_in; i++) {
            if (n->in[i] != v) continue;
            if (i != x) return -1;
            last = k;
        }
    }
    return last;
}

int wk_lower_made_ready(wk_lowering *l, const wk_cpu_weight *w) {
    wk_val x = l->g->node[l->k].in[0];
    wk_cpu_plan *p = l->p;
    int kind = wk_act_kind(w->mat[0]);
    int slot = kind < 0 ? -1 : wk_lower_find(l, x, kind);
    if (slot >= 0) return slot;
    wk_shape shape = l->g->value[x].shape;
    slot = wk_lower_slot(l, wk_act_bytes(w->mat[0], wk_shape_rows(shape, p->base.max_rows, p->base.max_rows)),
                         last_reader(l, x, w->mat[0]));
    wk_step *s = wk_lower_step(l, make_ready);
    if (!s) return -1;
    s->weight = w;
    s->slot = slot;
    s->each = is_row(shape);
    if (s->each) {
        wk_lower_own(l, slot, wk_act_bytes(w->mat[0], 1));
        l->when = WK_WITH_ONE;
        s->copy = wk_lower_value_or_copy(l, x, WK_SPLIT_NONE, 0);
        wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_EACH, 0);
        l->when = WK_ALL_MODES & ~WK_WITH_ONE;
    }
    wk_lower_value(l, x, false, WK_SPLIT_RUNS, shape.cols);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_RUNS, shape.cols);
    if (kind >= 0) wk_lower_ready(l, (wk_ready){ x, WK_NO_VAL, kind, slot });
    return slot;
}

void wk_lower_linear(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1), *bias = n->in[2] >= 0 ? wk_lower_vector(l, 2) : NULL;
    int slot = l->status ? -1 : wk_lower_made_ready(l, w);
    if (!l->status) wk_lower_lora_ahead(l, n);
    wk_step *s = wk_lower_step(l, product);
    if (!s) return;
    s->weight = w;
    s->bias = bias ? bias->vec : NULL;
    s->slot = slot;
    s->by_cols = true;
    s->each = is_row(s->shape_in);
    wk_lower_operand(l, s, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}
