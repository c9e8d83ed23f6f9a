/* product.c: steps of linear and lora: an operand is made ready once for all products that take it in the same form,
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
    int64_t last = l->k;
    for (int64_t k = l->k + 1; wk_act_kind(w) >= 0 && k < (int64_t)l->g->n_node; k++) {
        const wk_node *n = &l->g->node[k];
        if (n->op != WK_OP_LINEAR || n->in[0] != x) continue;
        const wk_cpu_weight *v = (const wk_cpu_weight *)l->g->value[n->in[1]].weight;
        if (v && v->mat && wk_act_kind(v->mat[0]) == wk_act_kind(w)) last = k;
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
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
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
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}

/* ---- lora: y = base + scale * B (A x), by each row's adapter ---- */

/* Where base did not move to y's place. */
static void copy_base(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d) p->kernels->scale(1, wk_in(p, s, 0) + at, to - from, wk_out(p, s, 0) + at);
}

/* Columns [c0, c1) of rows [r, r + n), which have the same adapter. */
static void lora_rows(const wk_step *s, const wk_cpu_plan *p, const wk_team *t, const wk_lora_term *term, float scale,
                      int64_t r, int64_t n, int64_t c0, int64_t c1) {
    const wk_packed *a = ((const wk_cpu_weight *)term->a)->mat[0], *b = ((const wk_cpu_weight *)term->b)->mat[0];
    int64_t rank = wk_packed_n_out(a), n_in = wk_packed_n_in(a), n_out = s->shape_out.cols;
    uint8_t *room = wk_room(p, t);
    float *mid = (float *)(void *)(room + p->room_lora), *y = mid + WK_LORA_ROWS * WK_MAX_RANK;
    wk_act_prepare(a, wk_in(p, s, 1) + r * n_in, n_in, 0, n, n, room);
    wk_linear(a, room, n, 0, rank, mid, rank, NULL);
    wk_act_prepare(b, mid, rank, 0, n, n, room);
    wk_linear(b, room, n, c0, c1, y, n_out, NULL);
    for (int64_t i = 0; i < n; i++) p->kernels->axpy(scale, y + i * n_out + c0, c1 - c0, wk_out(p, s, 0) + (r + i) * n_out + c0);
}

/* Few rows: every thread makes A x for itself and adds to its own columns. Many: each takes its own rows. */
static void lora(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_batch *b = p->batch;
    int64_t r0 = 0, r1 = b->n_row, c0 = 0, c1 = s->shape_out.cols;
    if (p->mode & WK_MODE_FEW) wk_my_cols(t, s->shape_out.cols, &c0, &c1);
    else wk_my_runs(p, t, s->shape_out, s->shape_out.cols, &r0, &r1);
    for (int64_t r = r0, next; c0 < c1 && r < r1; r = next) {
        int32_t k = b->adapter[r];
        for (next = r + 1; next < r1 && b->adapter[next] == k && next - r < WK_LORA_ROWS;) next++;
        if (k < 0 || s->node->attr.slot >= b->adapters[k]->n_slot) continue;
        const wk_lora_term *term = &b->adapters[k]->slot[s->node->attr.slot];
        if (term->a) lora_rows(s, p, t, term, term->scale * b->adapters[k]->scale, r, next - r, c0, c1);
    }
}

void wk_lower_lora(wk_lowering *l, const wk_node *n) {
    wk_cpu_plan *p = l->p;
    if (!l->status && p->offset[n->in[0]] != p->offset[n->out[0]]) {
        if (wk_lower_step(l, copy_base)) {
            wk_lower_value(l, n->in[0], false, WK_SPLIT_COLS, 0);
            wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
        }
    }
    for (int few = 0; few < 2; few++) {
        wk_step *s = wk_lower_step(l, lora);
        if (!s) return;
        s->when = 1u << (few ? WK_MODE_FEW | WK_MODE_LORA : WK_MODE_LORA);
        wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
        wk_lower_value(l, n->out[0], true, few ? WK_SPLIT_COLS : WK_SPLIT_RUNS, few ? 0 : s->shape_out.cols);
        int64_t n_in = l->g->value[n->in[1]].shape.cols, wide = n_in > WK_MAX_RANK ? n_in : WK_MAX_RANK;
        size_t operand = wk_bytes3(WK_LORA_ROWS, wide + 64, sizeof(float));
        if (p->room_lora < operand) p->room_lora = operand;
        if (p->max_lora_out < s->shape_out.cols) p->max_lora_out = s->shape_out.cols;
        size_t need = wk_bytes3(WK_LORA_ROWS, WK_MAX_RANK + p->max_lora_out, sizeof(float));
        if (!wk_add_size(need, p->room_lora, &need)) need = SIZE_MAX / 2;
        if (p->room_bytes < need) p->room_bytes = need;
    }
}
