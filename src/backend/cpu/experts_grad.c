/* experts_grad.c: steps of the gradients of a mixture of experts: of route's logits, of the inputs of expert_linear, of combine. An
 * expert's rows are brought together, as forward; what a row gets does not depend on the others there. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

/* Inputs g [T, k], logits [T, E], ids: see graph/ops/route.c. */
static void route_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t E = s->shape_out.cols, k = s->shape_in.cols, from, to;
    bool chosen = s->node->attr.norm_topk;
    wk_my_runs(p, t, s->shape_out, E, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const float *g = wk_in(p, s, 0) + r * k, *x = wk_in(p, s, 1) + r * E;
        const int32_t *id = (const int32_t *)(void *)wk_in(p, s, 2) + r * k;
        float *dx = wk_out(p, s, 0) + r * E, top = x[id[0]], sum = 0, mean = 0;
        for (int64_t j = 0; chosen && j < k; j++) sum += expf(x[id[j]] - top);
        for (int64_t e = 0; !chosen && e < E; e++) sum += expf(x[e] - top);
        for (int64_t j = 0; j < k; j++) mean += g[j] * (expf(x[id[j]] - top) / sum);
        for (int64_t e = 0; e < E; e++) dx[e] = chosen ? 0 : -(expf(x[e] - top) / sum) * mean;
        for (int64_t j = 0; j < k; j++) dx[id[j]] = expf(x[id[j]] - top) / sum * (g[j] - mean);
    }
}

void wk_lower_route_grad(wk_lowering *l, const wk_node *n) {
    wk_step *s = wk_lower_step(l, route_grad);
    if (!s) return;
    for (int i = 0; i < 3; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, s->shape_out.cols);
}

/* Inputs g [T, d], x [k*T, d], weights [T, k]. */
static void combine_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_in.cols, k = s->shape_out.n, from, to;
    wk_my_runs(p, t, s->shape_out, d, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const float *g = wk_in(p, s, 0) + i / k * d;
        p->kernels->scale(wk_in(p, s, 2)[i], g, d, wk_out(p, s, 0) + i * d);
        wk_out(p, s, 1)[i] = p->kernels->dot(g, wk_in(p, s, 1) + i * d, d);
    }
}

void wk_lower_combine_grad(wk_lowering *l, const wk_node *n) {
    if (!wk_lower_step(l, combine_grad)) return;
    for (int i = 0; i < 3; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
    for (int i = 0; i < 2; i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_NONE, 0);
}

/* ---- expert_linear: inputs g [k*T, n_out], W, ids, x ---- */

static float *sorted_of(const wk_cpu_plan *p, int slot) { return (float *)(void *)(p->mem + p->slot[slot].at); }

/* Rows of g sorted, each expert's prepared as its weights take them, side by side from where its first would be if all were whole
 * chunks of float32, which is the most. */
static int64_t sorted_cols(int64_t n_out) { return (n_out + 31) / 32 * 32; }

static void *expert_rows(const wk_step *s, const wk_cpu_plan *p, int64_t n_out, int64_t first) {
    return sorted_of(p, s->slot) + first * sorted_cols(n_out);
}

/* g's rows by expert. */
static void gather(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_sort_table *table = &p->sort[s->table];
    const int32_t *item = (const int32_t *)(void *)(p->mem + table->item),
                  *start = (const int32_t *)(void *)(p->mem + table->start);
    int64_t d = s->shape_in.cols, from, to, e = 0;
    wk_team_share(t, wk_n_item(p, table), 1, &from, &to);
    for (int64_t i = from; i < to; i++) {
        while (i >= start[e + 1]) e++;
        const wk_packed *w = s->weight->mat[e];
        wk_grad_prepare(w, wk_in(p, s, 0) + item[i] * d, d, 1, d,
                        (uint8_t *)expert_rows(s, p, d, start[e]) + (size_t)(i - start[e]) * wk_grad_stride(w, d));
    }
}

/* dx by columns: each expert's rows, then back to where they came from; a row's experts are added in the order of ids. */
static void scatter(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_sort_table *table = &p->sort[s->table];
    const int32_t *item = (const int32_t *)(void *)(p->mem + table->item),
                  *start = (const int32_t *)(void *)(p->mem + table->start);
    int64_t d = s->shape_out.cols, n_out = s->shape_in.cols, k = table->k, share = s->shape_out.n == k ? 1 : k, from, to;
    float *back = sorted_of(p, s->slot2), *place = back + (int64_t)p->base.max_rows * k * d;
    wk_team_share(t, d, 64, &from, &to);
    if (from >= to) return;
    size_t n_bytes = (size_t)(to - from) * sizeof(float);
    for (int64_t e = 0; e < table->n_expert; e++) {
        const wk_packed *w = s->weight->mat[e];
        wk_linear_input_grad(w, expert_rows(s, p, n_out, start[e]), wk_grad_stride(w, n_out), start[e + 1] - start[e], 0, n_out,
                             from, to, false, back + start[e] * d, d);
    }
    if (share == 1) place = wk_out(p, s, 0);
    for (int64_t i = 0; i < wk_n_item(p, table); i++) memcpy(place + item[i] * d + from, back + i * d + from, n_bytes);
    for (int64_t r = 0; share > 1 && r < wk_n_item(p, table) / k; r++) {
        float *dx = wk_out(p, s, 0) + r * d + from;
        memcpy(dx, place + r * k * d + from, n_bytes);
        for (int64_t j = 1; j < k; j++) p->kernels->add(dx, place + (r * k + j) * d + from, to - from, dx);
    }
}

void wk_lower_expert_input_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1);
    int table = w ? wk_lower_sort(l, n, w) : -1;
    if (l->status) return;
    int64_t items = l->p->base.max_rows * l->p->sort[table].k;
    int slot = wk_lower_slot(l, wk_bytes3(items, sorted_cols(w->base.n_row), sizeof(float)), l->k),
        slot2 = wk_lower_slot(l, wk_bytes3(items, w->base.n_col, 2 * sizeof(float)), l->k);
    for (int step = 0; step < 2; step++) {
        wk_step *s = wk_lower_step(l, step ? scatter : gather);
        if (!s) return;
        s->weight = w;
        s->slot = slot;
        s->slot2 = slot2;
        s->table = table;
        wk_lower_scratch(l, WK_SPACE_SORT, table, false, WK_SPLIT_NONE, 0);
        wk_lower_scratch(l, WK_SPACE_SLOT, slot, !step, WK_SPLIT_NONE, 0);
        if (!step) wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
        if (step) wk_lower_scratch(l, WK_SPACE_SLOT, slot2, true, WK_SPLIT_NONE, 0);
        if (step) wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
    }
}

/* Rows of g and of x by expert, in order of rows: a weight's gradient is then a product of what lies together. */
static void gather_both(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_sort_table *table = &p->sort[s->table];
    const int32_t *item = (const int32_t *)(void *)(p->mem + table->item);
    int64_t n_out = s->shape_in.cols, n_in = s->shape_out.cols, share = s->shape_x.n == table->k ? 1 : table->k, from, to;
    wk_team_share(t, wk_n_item(p, table), 1, &from, &to);
    for (int64_t i = from; i < to; i++) {
        memcpy(sorted_of(p, s->slot) + i * n_out, wk_in(p, s, 0) + item[i] * n_out, (size_t)n_out * sizeof(float));
        memcpy(sorted_of(p, s->slot2) + i * n_in, wk_in(p, s, 3) + item[i] / share * n_in, (size_t)n_in * sizeof(float));
    }
}

/* dW of each expert, by its rows. */
static void weight_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_sort_table *table = &p->sort[s->table];
    const int32_t *start = (const int32_t *)(void *)(p->mem + table->start);
    int64_t n_out = s->shape_in.cols, n_in = s->shape_out.cols, from, to;
    wk_team_share(t, n_out, 4, &from, &to);
    for (int64_t e = 0; from < to && e < table->n_expert; e++) {
        int64_t n = start[e + 1] - start[e];
        float *dw = wk_out(p, s, 0) + (e * n_out + from) * n_in;
        if (n) p->kernels->cross(to - from, n_in, false, n, sorted_of(p, s->slot) + start[e] * n_out + from, n_out,
                                 sorted_of(p, s->slot2) + start[e] * n_in, n_in, dw, n_in);
        else memset(dw, 0, (size_t)((to - from) * n_in) * sizeof *dw);
    }
}

void wk_lower_expert_weight_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1);
    int table = w ? wk_lower_sort(l, n, w) : -1;
    if (l->status) return;
    int64_t items = l->p->base.max_rows * l->p->sort[table].k;
    int slot = wk_lower_slot(l, wk_bytes3(items, w->base.n_row, sizeof(float)), l->k),
        slot2 = wk_lower_slot(l, wk_bytes3(items, w->base.n_col, sizeof(float)), l->k);
    for (int step = 0; step < 2; step++) {
        wk_step *s = wk_lower_step(l, step ? weight_grad : gather_both);
        if (!s) return;
        s->slot = slot;
        s->slot2 = slot2;
        s->table = table;
        s->shape_x = l->g->value[n->in[3]].shape;
        wk_lower_scratch(l, WK_SPACE_SORT, table, false, WK_SPLIT_NONE, 0);
        wk_lower_scratch(l, WK_SPACE_SLOT, slot, !step, WK_SPLIT_NONE, 0);
        wk_lower_scratch(l, WK_SPACE_SLOT, slot2, !step, WK_SPLIT_NONE, 0);
        if (!step) wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
        if (!step) wk_lower_value(l, n->in[3], false, WK_SPLIT_NONE, 0);
        if (step) wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
    }
}

/* dbias[e] by columns, in order of rows. Inputs g, bias, ids. */
static void bias_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const int32_t *id = (const int32_t *)(void *)wk_in(p, s, 2);
    int64_t d = s->shape_in.cols, n_expert = s->shape_out.n * s->shape_out.cols / d, rows = wk_rows_of(p, s->shape_in), from, to;
    float *sum = wk_out(p, s, 0);
    wk_my_cols(t, d, &from, &to);
    if (from >= to) return;
    for (int64_t e = 0; e < n_expert; e++) memset(sum + e * d + from, 0, (size_t)(to - from) * sizeof *sum);
    for (int64_t r = 0; r < rows; r++)
        p->kernels->add(sum + id[r] * d + from, wk_in(p, s, 0) + r * d + from, to - from, sum + id[r] * d + from);
}

void wk_lower_expert_bias_grad(wk_lowering *l, const wk_node *n) {
    if (!wk_lower_step(l, bias_grad)) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[2], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
}
