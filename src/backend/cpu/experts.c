/* experts.c: steps of a mixture of experts: route, expert_linear, combine. Rows are counted and sorted by expert once per
 * list of ids; an expert's rows are one operand and one product. What a row gets does not depend on the others there. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

/* ids[T,k], weights[T,k]: the k largest, from the largest down; equal ones by lower index. */
static void route(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t n = s->shape_in.cols, k = s->shape_out.cols, from, to;
    wk_my_runs(p, t, s->shape_in, n, &from, &to);
    for (int64_t r = from; r < to; r++) {
        const float *x = wk_in(p, s, 0) + r * n;
        int32_t *id = (int32_t *)(void *)wk_out(p, s, 0) + r * k;
        float *weight = wk_out(p, s, 1) + r * k, sum = 0, chosen = 0;
        for (int64_t e = 0, held = 0; e < n; e++) {
            int64_t at = held;
            while (at > 0 && x[e] > x[id[at - 1]]) at--;
            if (at >= k) continue;
            if (held < k) held++;
            memmove(id + at + 1, id + at, (size_t)(held - 1 - at) * sizeof *id);
            id[at] = (int32_t)e;
        }
        for (int64_t e = 0; e < n; e++) sum += expf(x[e] - x[id[0]]);
        for (int64_t j = 0; j < k; j++) chosen += weight[j] = expf(x[id[j]] - x[id[0]]) / sum;
        for (int64_t j = 0; s->node->attr.norm_topk && j < k; j++) weight[j] /= chosen;
    }
}

void wk_lower_route(wk_lowering *l, const wk_node *n) {
    wk_step *s = wk_lower_step(l, route);
    if (!s) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, s->shape_in.cols);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, s->shape_out.cols);
    wk_lower_value(l, n->out[1], true, WK_SPLIT_RUNS, s->shape_out.cols);
}

/* Counting sort of the k * T items by expert; stable. */
static void sort_items(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_sort_table *table = &p->sort[s->table];
    const int32_t *id = (const int32_t *)(void *)wk_in(p, s, 2);
    int32_t *item = (int32_t *)(void *)(p->mem + table->item), *start = (int32_t *)(void *)(p->mem + table->start);
    int64_t n = wk_n_item(p, table);
    if (t->i) return;
    memset(start, 0, (size_t)(table->n_expert + 2) * sizeof *start);
    for (int64_t i = 0; i < n; i++) start[id[i] + 2]++;
    for (int64_t e = 2; e < table->n_expert + 2; e++) start[e] += start[e - 1];
    for (int64_t i = 0; i < n; i++) item[start[id[i] + 1]++] = (int32_t)i;  /* which moves start[e + 1] to where e + 1 begins */
}

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

/* Operands lie one after the other, an expert's rows together. Threads divide the sorted items. */
static void make_ready(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_sort_table *table = &p->sort[s->table];
    const int32_t *item = (const int32_t *)(void *)(p->mem + table->item),
                  *start = (const int32_t *)(void *)(p->mem + table->start);
    uint8_t *act = p->mem + p->slot[s->slot].at;
    int64_t from, to, share = s->shape_in.n == table->k ? 1 : table->k;  /* items that read one row of x */
    wk_team_share(t, wk_n_item(p, table), 1, &from, &to);
    for (int64_t e = 0; e < table->n_expert && start[e] < to; e++) {
        const wk_packed *w = s->weight->mat[e];
        int64_t n = start[e + 1] - start[e];
        if (!n) continue;
        for (int64_t i = start[e] > from ? start[e] : from; i < start[e + 1] && i < to; i++)  /* a row at a time: step 0 */
            wk_act_prepare(w, wk_in(p, s, 0) + item[i] / share * s->shape_in.cols, 0, i - start[e], i - start[e] + 1, n, act);
        act += round64(wk_act_bytes(w, n));
    }
}

static void product(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_sort_table *table = &p->sort[s->table];
    const int32_t *item = (const int32_t *)(void *)(p->mem + table->item),
                  *start = (const int32_t *)(void *)(p->mem + table->start);
    const uint8_t *act = p->mem + p->slot[s->slot].at;
    float *sorted = (float *)(void *)(p->mem + p->slot[s->slot2].at), *y = wk_out(p, s, 0);
    int64_t d = s->shape_out.cols, from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t e = 0; from < to && e < table->n_expert; e++) {
        const wk_packed *w = s->weight->mat[e];
        int64_t n = start[e + 1] - start[e];
        if (!n) continue;
        float *to_y = n == 1 ? y + item[start[e]] * d : sorted + start[e] * d;
        wk_linear(w, act, n, from, to, to_y, d, s->bias ? s->bias + e * d : NULL);
        for (int64_t i = start[e]; n > 1 && i < start[e + 1]; i++)
            memcpy(y + item[i] * d + from, sorted + i * d + from, (size_t)(to - from) * sizeof *y);
        act += round64(wk_act_bytes(w, n));
    }
}

int wk_lower_sort(wk_lowering *l, const wk_node *n, const wk_cpu_weight *w) {
    wk_cpu_plan *p = l->p;
    wk_shape ids = l->g->value[n->in[2]].shape;
    for (size_t i = 0; i < p->n_sort; i++) if (p->sort[i].ids == n->in[2] && p->sort[i].n_expert == w->base.n_mat) return (int)i;
    if (!wk_grow((void **)&p->sort, &p->cap_sort, p->n_sort + 1, sizeof *p->sort)) {
        l->status = wk_fail_memory(sizeof *p->sort, "a plan");
        return -1;
    }
    int i = (int)p->n_sort++;
    p->sort[i] = (wk_sort_table){ n->in[2], ids, ids.cols, w->base.n_mat,
                                  wk_lower_place(l, wk_bytes3(p->base.max_rows, ids.cols, sizeof(int32_t))),
                                  wk_lower_place(l, wk_bytes3(w->base.n_mat + 2, sizeof(int32_t), 1)) };
    wk_step *s = wk_lower_step(l, sort_items);
    if (!s) return -1;
    s->table = i;
    wk_lower_value(l, n->in[2], false, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_SORT, i, true, WK_SPLIT_NONE, 0);
    return i;
}

/* All experts take the same form? Then other expert products of this x share the operand. */
static int kind_of(const wk_cpu_weight *w) {
    int kind = wk_act_kind(w->mat[0]);
    for (int64_t e = 1; e < w->base.n_mat; e++) if (wk_act_kind(w->mat[e]) != kind) return -1;
    return kind;
}

/* Bytes of the experts' operands, however n rows fall: each may be rounded up to what one row takes. */
static size_t operand_bytes(const wk_cpu_weight *w, int64_t n) {
    size_t most = 0;
    for (int64_t e = 0; e < w->base.n_mat; e++) {
        size_t each = wk_bytes3((int64_t)round64(wk_act_bytes(w->mat[e], 1)) + 64, n < w->base.n_mat ? n : w->base.n_mat, 1), all;
        if (!wk_add_size(each, wk_act_bytes(w->mat[e], n), &all)) return SIZE_MAX / 2;
        if (most < all) most = all;
    }
    return most;
}

static int ready_slot(wk_lowering *l, const wk_node *n, const wk_cpu_weight *w, int table) {
    wk_cpu_plan *p = l->p;
    int kind = kind_of(w);
    int64_t until = l->k;
    for (size_t i = 0; kind >= 0 && i < p->n_ready; i++)
        if (p->ready[i].x == n->in[0] && p->ready[i].ids == n->in[2] && p->ready[i].kind == kind && p->ready[i].slot >= 0)
            return p->ready[i].slot;
    for (int64_t k = l->k + 1; kind >= 0 && k < (int64_t)l->g->n_node; k++) {
        const wk_node *m = &l->g->node[k];
        if (m->op == WK_OP_EXPERT_LINEAR && m->in[0] == n->in[0] && m->in[2] == n->in[2]) until = k;
    }
    int slot = wk_lower_slot(l, operand_bytes(w, (int64_t)p->base.max_rows * p->sort[table].k), until);
    wk_step *s = wk_lower_step(l, make_ready);
    if (!s) return -1;
    s->weight = w;
    s->slot = slot;
    s->table = table;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_SORT, table, false, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
    if (kind >= 0) wk_lower_ready(l, (wk_ready){ n->in[0], n->in[2], kind, slot });
    return slot;
}

void wk_lower_expert_linear(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1);
    int table = w ? wk_lower_sort(l, n, w) : -1;
    int slot = l->status ? -1 : ready_slot(l, n, w, table);
    wk_shape y = l->g->value[n->out[0]].shape;
    const wk_cpu_weight *bias = n->in[3] >= 0 ? wk_lower_vector(l, 3) : NULL;
    int64_t most = l->p->base.max_rows;
    int sorted = wk_lower_slot(l, wk_bytes3(wk_shape_rows(y, most, most), y.cols, sizeof(float)), l->k);
    wk_step *s = wk_lower_step(l, product);
    if (!s) return;
    s->weight = w;
    s->bias = bias ? bias->vec : NULL;
    s->slot = slot;
    s->slot2 = sorted;
    s->table = table;
    wk_lower_scratch(l, WK_SPACE_SORT, table, false, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, false, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_SLOT, sorted, true, WK_SPLIT_COLS, y.cols);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}

/* y[T,d] = sum over a row's experts, by expert index, of weight * x. */
static void combine(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const int32_t *id = (const int32_t *)(void *)wk_in(p, s, 2);
    int64_t d = s->shape_out.cols, k = s->shape_in.n, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t r = 0; from < to && r < rows; r++, id += k) {
        float *y = wk_out(p, s, 0) + r * d + from;
        int32_t last = -1;
        for (int64_t n = 0; n < k; n++) {
            int64_t at = -1;  /* the expert that follows last */
            for (int64_t j = 0; j < k; j++) if (id[j] > last && (at < 0 || id[j] < id[at])) at = j;
            if (at < 0) break;
            last = id[at];
            const float *x = wk_in(p, s, 0) + (r * k + at) * d + from;
            (n ? p->kernels->axpy : p->kernels->scale)(wk_in(p, s, 1)[r * k + at], x, to - from, y);
        }
    }
}

void wk_lower_combine(wk_lowering *l, const wk_node *n) {
    if (!wk_lower_step(l, combine)) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_COLS, 0);
    wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[2], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}
