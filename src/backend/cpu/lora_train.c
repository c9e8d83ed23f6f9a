/* lora_train.c: steps of lora where A and B are inputs, for training, of its gradient, and of dropout. Forward, threads divide rows
 * for A, made ahead of the linear that the lora follows, and columns for B, which then meets what the linear made in the cache; the
 * sums are those of an adapter that is served. Sums over rows belong to one thread each and run in order. */
#include "backend/cpu/plan.h"
#include "graph/dropout.h"
#include <string.h>

enum { ROWS = 64 };  /* rows that go through a thread's room together */

static wk_dropout dropout_of(const wk_node *n, const wk_cpu_plan *p) {
    const wk_batch *b = p->batch;
    return wk_dropout_new(b->drop_seed, b->drop_step, n->attr.slot, n->attr.dropout);
}
static bool drops(const wk_node *n, const wk_cpu_plan *p) { return p->batch->drop && n->attr.dropout > 0; }

/* y[n][c1 - c0] = columns [c0, c1) of rows [r, r + n) of x [.][d], less what is dropped. */
static void drop(const wk_dropout *key, const float *x, int64_t d, int64_t r, int64_t n, int64_t c0, int64_t c1, float *y) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t row = wk_dropout_row(key, r + i);
        for (int64_t c = c0; c < c1; c++) *y++ = x[(r + i) * d + c] * wk_dropout_at(key, row, (uint32_t)c);
    }
}

/* A thread's room: an operand, then rows of x or of B A x. */
typedef struct lora_room { void *act; float *row; } lora_room;

static size_t part_bytes(int64_t n_in, int64_t n_out) {
    int64_t wide = n_in > n_out ? n_in : n_out;
    return wk_bytes3(ROWS, (wide > WK_MAX_RANK ? wide : WK_MAX_RANK) + 64, sizeof(float));
}
static lora_room room_of(const wk_cpu_plan *p, const wk_team *t, int64_t n_in, int64_t n_out) {
    uint8_t *at = wk_room(p, t);
    return (lora_room){ at, (float *)(void *)(at + part_bytes(n_in, n_out)) };
}
static void need_room(wk_lowering *l, int64_t n_in, int64_t n_out) {
    size_t both, part = part_bytes(n_in, n_out);
    if (!wk_add_size(part, part, &both)) both = SIZE_MAX / 2;
    if (l->p->room_bytes < both) l->p->room_bytes = both;
}

static const wk_packed *matrix(const wk_cpu_plan *p, wk_val v) {
    return ((const wk_cpu_weight *)p->base.graph->value[v].weight)->mat[0];
}

/* ---- y = base + scale * B mid, mid = A x; inputs base, x, A, B ---- */

static float *value_of(const wk_cpu_plan *p, wk_val v) { return (float *)(void *)(p->mem + p->offset[v]); }

/* The same where x is the row's token: mid[r] = scale * A's row of it, as the gradient wants it. */
static void forward_by_token(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *a = matrix(p, s->node->in[2]), *b = matrix(p, s->node->in[3]);
    int64_t rank = wk_packed_n_in(a), n_out = s->shape_out.cols, from, to;
    wk_my_runs(p, t, s->shape_out, n_out, &from, &to);
    if (from >= to) return;
    float *mid = (s->slot < 0 ? wk_out(p, s, 1) : (float *)(void *)wk_slot_at(p, s->slot)) + from * rank;
    for (int64_t r = from; r < to; r++) wk_packed_row(a, p->batch->token[r], mid + (r - from) * rank);
    p->kernels->scale(s->node->attr.scale, mid, (to - from) * rank, mid);
    wk_linear_add(b, mid, (size_t)rank * sizeof *mid, to - from, 0, n_out, wk_out(p, s, 0) + from * n_out, n_out);
}

static void lower_by_token(wk_lowering *l, const wk_node *n, int64_t rank) {
    int slot = n->n_out > 1 ? -1 : wk_lower_slot(l, wk_bytes3(l->p->base.max_rows, rank, sizeof(float)), l->k);
    wk_step *s = wk_lower_step(l, forward_by_token);
    if (!s) return;
    s->slot = slot;
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, s->shape_out.cols);
    if (slot < 0) wk_lower_value(l, n->out[1], true, WK_SPLIT_RUNS, rank);
    else wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
}

/* mid, and what B is multiplied with, by rows. */
static void mids(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_node *node = s->node;
    const wk_packed *a = matrix(p, node->in[2]), *b = matrix(p, node->in[3]);
    int64_t rank = wk_packed_n_out(a), n_in = wk_packed_n_in(a), from, to;
    lora_room room = room_of(p, t, n_in, wk_packed_n_out(b));
    wk_dropout key = dropout_of(node, p);
    wk_my_runs(p, t, p->base.graph->value[node->in[1]].shape, n_in, &from, &to);
    for (int64_t r = from; r < to; r += ROWS) {
        int64_t n = to - r < ROWS ? to - r : ROWS;
        const float *x = value_of(p, node->in[1]) + r * n_in;
        float *mid = node->n_out > 1 ? value_of(p, node->out[1]) + r * rank : room.row;
        if (drops(node, p)) {
            drop(&key, value_of(p, node->in[1]), n_in, r, n, 0, n_in, room.row);
            x = room.row;
        }
        const void *act = s->slot < 0 || drops(node, p) ? room.act : wk_operand(p, s, t) + wk_act_bytes(a, r);
        if (act == room.act) wk_act_prepare(a, x, n_in, 0, n, n, room.act);
        wk_linear_in_parts(a, act, wk_act_bytes(a, 1), n, mid);
        p->kernels->scale(node->attr.scale, mid, n * rank, room.row);
        wk_act_prepare(b, room.row, rank, 0, n, n, wk_slot_at(p, s->slot2) + wk_act_bytes(b, r));
    }
}

/* y += B times what was made for it, by columns: in a group with the product that made base. */
static void add_b(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *b = matrix(p, s->node->in[3]);
    int64_t rows = wk_rows_of(p, s->shape_out), n_out = s->shape_out.cols, from, to;
    wk_my_cols(t, n_out, &from, &to);
    if (from < to) wk_linear_add(b, wk_slot_at(p, s->slot), wk_act_bytes(b, 1), rows, from, to, wk_out(p, s, 0), n_out);
}

/* The slot with what the B of node k, a lora, is multiplied with, which a step makes; -1: no memory. x: the slot where x is ready
 * for A; -1: nowhere. */
static int lower_mids(wk_lowering *l, int64_t k, int x) {
    const wk_node *lora = &l->g->node[k];
    const wk_cpu_weight *a = (const wk_cpu_weight *)l->g->value[lora->in[2]].weight;
    const wk_cpu_weight *b = (const wk_cpu_weight *)l->g->value[lora->in[3]].weight;
    int slot = wk_lower_slot(l, wk_act_bytes(b->mat[0], l->p->base.max_rows), k);
    wk_step *s = wk_lower_step_ahead(l, k, mids);
    if (!s) return -1;
    s->slot = x;
    s->slot2 = slot;
    s->each = true;
    if (x >= 0) wk_lower_operand(l, s, WK_SPLIT_RUNS, a->base.n_col);
    wk_lower_value(l, lora->in[1], false, WK_SPLIT_RUNS, a->base.n_col);
    if (lora->n_out > 1) wk_lower_value(l, lora->out[1], true, WK_SPLIT_RUNS, b->base.n_col);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
    need_room(l, a->base.n_col, b->base.n_row);
    wk_lower_ready(l, (wk_ready){ lora->out[0], WK_NO_VAL, WK_READY_MIDS, slot });
    return slot;
}

static bool has_matrices(const wk_lowering *l, const wk_node *lora) {
    for (int i = 2; i < 4; i++) {
        const wk_value *v = lora->in[i] < 0 ? NULL : &l->g->value[lora->in[i]];
        if (!v || v->kind != WK_VALUE_PARAM || !((const wk_cpu_weight *)v->weight)->mat) return false;
    }
    return true;
}

/* Is node k the lora of a linear of x, and can what it makes of A be made at once? */
static bool can_be_ahead(const wk_lowering *l, int64_t k, wk_val x) {
    const wk_node *n = &l->g->node[k], *linear = n - 1;
    return n->op == WK_OP_LORA && linear->op == WK_OP_LINEAR && n->in[0] == linear->out[0] && n->in[1] == x && linear->in[0] == x &&
           has_matrices(l, n) && (n->n_out < 2 || wk_lower_is_free(l, n->out[1], k));
}

void wk_lower_lora_ahead(wk_lowering *l, const wk_node *linear) {
    for (int64_t k = l->k + 1; !l->status && k < (int64_t)l->g->n_node; k++) {
        const wk_node *n = &l->g->node[k];
        if (!can_be_ahead(l, k, linear->in[0]) || wk_lower_find(l, n->out[0], WK_READY_MIDS) >= 0) continue;
        lower_mids(l, k, wk_lower_made_ready(l, (const wk_cpu_weight *)l->g->value[n->in[2]].weight));
    }
}

void wk_lower_lora_trained(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *a = wk_lower_matrix(l, 2), *b = wk_lower_matrix(l, 3);
    if (!a || !b) return;
    if (n->in[1] < 0) {
        lower_by_token(l, n, b->base.n_col);
        return;
    }
    int slot = wk_lower_find(l, n->out[0], WK_READY_MIDS);
    if (slot < 0) slot = lower_mids(l, l->k, -1);
    wk_step *s = wk_lower_step(l, add_b);
    if (!s) return;
    s->slot = slot;
    s->by_cols = true;
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}

/* ---- dropout by itself, of a head's input ---- */

static void dropout(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, from, to;
    wk_dropout key = dropout_of(s->node, p);
    wk_my_runs(p, t, s->shape_out, d, &from, &to);
    if (from >= to) return;
    if (drops(s->node, p)) drop(&key, wk_in(p, s, 0), d, from, to - from, 0, d, wk_out(p, s, 0) + from * d);
    else memcpy(wk_out(p, s, 0) + from * d, wk_in(p, s, 0) + from * d, (size_t)((to - from) * d) * sizeof(float));
}

void wk_lower_dropout(wk_lowering *l, const wk_node *n) {
    wk_step *s = wk_lower_step(l, dropout);
    if (!s) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, s->shape_out.cols);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, s->shape_out.cols);
}

/* ---- the gradient: inputs g, x, A, B, mid; d [T, r] = scale * B^T g lies in a slot ---- */

static float *d_of(const wk_step *s, const wk_cpu_plan *p) { return (float *)(void *)(p->mem + p->slot[s->slot].at); }

/* d and dx, by rows. */
static void rows_back(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *a = matrix(p, s->node->in[2]), *b = matrix(p, s->node->in[3]);
    int64_t rank = wk_packed_n_out(a), n_in = wk_packed_n_in(a), n_out = wk_packed_n_out(b), from, to;
    wk_dropout key = dropout_of(s->node, p);
    wk_my_runs(p, t, s->shape_out, n_in, &from, &to);
    if (from >= to) return;
    float *d = d_of(s, p) + from * rank, *dx = wk_out(p, s, 0) + from * n_in;
    wk_linear_input_grad_f32(b, wk_in(p, s, 0) + from * n_out, n_out, to - from, 0, n_out, 0, rank, false, d, rank);
    p->kernels->scale(s->node->attr.scale, d, (to - from) * rank, d);
    wk_linear_input_grad_f32(a, d, rank, to - from, 0, rank, 0, n_in, s->adds, dx, n_in);
    for (int64_t r = from; drops(s->node, p) && r < to; r++) {
        uint32_t row = wk_dropout_row(&key, r);
        for (int64_t c = 0; c < n_in; c++) wk_out(p, s, 0)[r * n_in + c] *= wk_dropout_at(&key, row, (uint32_t)c);
    }
}

/* dA [r, n_in] = sum over rows of d x~^T, by columns. */
static void sum_a(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rank = wk_packed_n_out(matrix(p, s->node->in[2])), n_in = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out);
    int64_t from, to;
    lora_room room = room_of(p, t, n_in, s->shape_in.cols);
    wk_dropout key = dropout_of(s->node, p);
    wk_my_cols(t, n_in, &from, &to);
    if (from >= to) return;
    const float *x = wk_in(p, s, 1) + from;
    float *da = wk_out(p, s, 1) + from;
    if (!drops(s->node, p)) {
        p->kernels->cross(rank, to - from, false, rows, d_of(s, p), rank, x, n_in, da, n_in);
        return;
    }
    for (int64_t r = 0; r < rows; r += ROWS) {
        int64_t n = rows - r < ROWS ? rows - r : ROWS;
        drop(&key, wk_in(p, s, 1), n_in, r, n, from, to, room.row);
        p->kernels->cross(rank, to - from, r > 0, n, d_of(s, p) + r * rank, rank, room.row, to - from, da, n_in);
    }
}

/* dB [n_out, r] = scale * sum over rows of g mid^T, by rows of dB: summed with outputs side by side, then turned. */
static void sum_b(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *b = matrix(p, s->node->in[3]);
    int64_t rank = wk_packed_n_in(b), n_out = wk_packed_n_out(b), rows = wk_rows_of(p, s->shape_out), from, to;
    float *turned = room_of(p, t, s->shape_out.cols, n_out).row;
    wk_my_cols(t, n_out, &from, &to);
    for (int64_t o = from; o < to; o += ROWS) {
        int64_t n = to - o < ROWS ? to - o : ROWS;
        p->kernels->cross(rank, n, false, rows, wk_in(p, s, 4), rank, wk_in(p, s, 0) + o, n_out, turned, ROWS);
        for (int64_t j = 0; j < rank; j++)
            for (int64_t i = 0; i < n; i++) wk_out(p, s, 2)[(o + i) * rank + j] = turned[j * ROWS + i] * s->node->attr.scale;
    }
}

void wk_lower_lora_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *a = wk_lower_matrix(l, 2), *b = wk_lower_matrix(l, 3);
    if (!a || !b) return;
    int64_t rank = a->base.n_row, n_in = a->base.n_col, n_out = b->base.n_row;
    int slot = wk_lower_slot(l, wk_bytes3(l->p->base.max_rows, rank, sizeof(float)), l->k);
    wk_step *s = wk_lower_step(l, rows_back);
    if (!s) return;
    s->slot = slot;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, n_out);
    wk_lower_sum(l, n, WK_SPLIT_RUNS, n_in);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
    s = wk_lower_step(l, sum_b);
    if (!s) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[4], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[2], true, WK_SPLIT_NONE, 0);
    s = wk_lower_step(l, sum_a);
    if (!s) return;
    s->slot = slot;
    wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[1], true, WK_SPLIT_COLS, 0);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, false, WK_SPLIT_NONE, 0);
    need_room(l, n_in, n_out);
}
