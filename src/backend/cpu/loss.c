/* loss.c: the steps of cross_entropy and its gradients. Logits are made for a tile of rows and outputs, used, and forgotten;
 * gradients make them again. Threads divide rows (outputs, for the weight's gradient), and each row goes through the outputs in
 * tiles of a fixed size. Load: three products with the output projection a training step, a fifth of a small model's work. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

enum { TILE_ROWS = 256, TILE_OUTPUTS = 384 };  /* 384 kB of logits: they stay in L2 */

/* A thread's room: an operand of TILE_ROWS rows, then logits [TILE_ROWS][TILE_OUTPUTS], their gradients as bfloat16, then
 * s A x [TILE_ROWS][rank]. */
typedef struct loss_room { void *act; float *z; uint16_t *z16; float *mid; } loss_room;
enum { LOGIT_BYTES = TILE_ROWS * TILE_OUTPUTS * 4, TILE_BYTES = TILE_ROWS * TILE_OUTPUTS * 6 };

static size_t operand_bytes(const wk_packed *w) { return (wk_act_bytes(w, TILE_ROWS) + 63) / 64 * 64; }

static loss_room room_of(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    uint8_t *at = wk_room(p, t), *z = at + operand_bytes(s->weight->mat[0]);
    return (loss_room){ at, (float *)(void *)z, (uint16_t *)(void *)(z + LOGIT_BYTES), (float *)(void *)(z + TILE_BYTES) };
}

/* An adapter of the head: its A x and B are inputs i and i + 1. */
static const wk_packed *b_of(const wk_step *s, const wk_cpu_plan *p, int i) {
    wk_val v = s->node->in[i + 1];
    return v < 0 ? NULL : ((const wk_cpu_weight *)p->base.graph->value[v].weight)->mat[0];
}

/* Rows [r, r + n) of x and, with an adapter, of A x made ready for products. */
static void prepare(const wk_step *s, const wk_cpu_plan *p, const loss_room *room, int x, int mid, int64_t r, int64_t n) {
    const wk_packed *w = s->weight->mat[0], *b = b_of(s, p, mid);
    int64_t d = s->weight->base.n_col, rank = b ? wk_packed_n_in(b) : 0;
    wk_act_prepare(w, wk_in(p, s, x) + r * d, d, 0, n, n, room->act);
    if (b) p->kernels->scale(s->node->attr.scale, wk_in(p, s, mid) + r * rank, n * rank, room->mid);
}

/* Logits of n rows that are ready, outputs [o, end). */
static void logits(const wk_step *s, const wk_cpu_plan *p, const loss_room *room, int mid, int64_t n, int64_t o, int64_t end) {
    const wk_packed *b = b_of(s, p, mid);
    wk_linear_part(s->weight->mat[0], room->act, n, o, end, room->z, TILE_OUTPUTS, NULL);
    if (b) wk_linear_add_part(b, room->mid, (size_t)wk_packed_n_in(b) * sizeof(float), n, o, end, room->z, TILE_OUTPUTS);
}

/* The label of row r of x, which has the wanted rows or all; WK_NO_LABEL: none. */
static int32_t label_of(const wk_cpu_plan *p, wk_shape x, int64_t r) {
    const wk_batch *b = p->batch;
    return b->label ? b->label[x.kind == WK_ROWS_OUT ? b->out_row[r] : r] : WK_NO_LABEL;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Inputs x, W, and perhaps A x and B; outputs loss and perhaps log-sum-exp. */
static void losses(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_attr *a = &s->node->attr;
    int64_t d = s->shape_in.cols, n_out = s->weight->base.n_row, from, to;
    loss_room room = room_of(s, p, t);
    wk_my_runs(p, t, s->shape_in, d, &from, &to);
    for (int64_t r = from; r < to; r += TILE_ROWS) {
        wk_logit_sum sum[TILE_ROWS];
        float own[TILE_ROWS] = { 0 };
        int64_t n = least(to - r, TILE_ROWS);
        for (int64_t i = 0; i < n; i++) sum[i] = (wk_logit_sum){ -INFINITY, 0, 0 };
        prepare(s, p, &room, 0, 2, r, n);
        for (int64_t o = 0; o < n_out; o += TILE_OUTPUTS) {
            int64_t end = least(n_out, o + TILE_OUTPUTS);
            logits(s, p, &room, 2, n, o, end);
            for (int64_t i = 0; i < n; i++) {
                int32_t label = label_of(p, s->shape_in, r + i);
                p->kernels->add_logits(a->cap, room.z + i * TILE_OUTPUTS, end - o, &sum[i]);
                if (label >= o && label < end) own[i] = room.z[i * TILE_OUTPUTS + label - o];
            }
        }
        for (int64_t i = 0; i < n; i++) {
            float lse = sum[i].top + logf(sum[i].sum);
            bool masked = label_of(p, s->shape_in, r + i) < 0;
            wk_out(p, s, 0)[r + i] = masked ? 0 : lse - (1 - a->smoothing) * own[i] - a->smoothing * sum[i].all / (float)n_out;
            if (s->node->n_out > 1) wk_out(p, s, 1)[r + i] = lse;
        }
    }
}

/* Makes d loss / d logits of rows [r, r + n) and outputs [o, end) in the room. Inputs g, x, W, lse, and perhaps A x and B. */
static void logit_grads(const wk_step *s, const wk_cpu_plan *p, const loss_room *room, int64_t r, int64_t n, int64_t o,
                        int64_t end) {
    const wk_attr *a = &s->node->attr;
    float even = a->smoothing / (float)s->weight->base.n_row;
    logits(s, p, room, 4, n, o, end);
    for (int64_t i = 0; i < n; i++) {
        float *z = room->z + i * TILE_OUTPUTS, g = wk_in(p, s, 0)[r + i], slope = 1;
        int32_t label = label_of(p, s->shape_x, r + i);
        bool here = label >= o && label < end;
        if (label < 0) g = 0;
        if (here && a->cap > 0) {
            float capped = tanhf(z[label - o] / a->cap);
            slope = 1 - capped * capped;
        }
        p->kernels->logits_grad(a->cap, wk_in(p, s, 3)[r + i], g, even, z, end - o);
        if (here) z[label - o] -= g * (1 - a->smoothing) * slope;
    }
}

static void input_grads(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *w = s->weight->mat[0], *b = b_of(s, p, 4);
    int64_t d = s->shape_out.cols, n_out = s->weight->base.n_row, rank = b ? wk_packed_n_in(b) : 0, from, to;
    bool bf16 = wk_grad_in_bf16(w);
    loss_room room = room_of(s, p, t);
    wk_my_runs(p, t, s->shape_out, d, &from, &to);
    for (int64_t r = from; r < to; r += TILE_ROWS) {
        int64_t n = least(to - r, TILE_ROWS);
        float *dmid = wk_out(p, s, 1) + r * (b ? rank : 1);
        prepare(s, p, &room, 1, 4, r, n);
        for (int64_t o = 0; o < n_out; o += TILE_OUTPUTS) {
            int64_t end = least(n_out, o + TILE_OUTPUTS);
            logit_grads(s, p, &room, r, n, o, end);
            if (bf16) wk_grad_round(room.z, TILE_OUTPUTS, n, end - o, room.z16);
            wk_linear_input_grad(w, bf16 ? (const void *)room.z16 : room.z, bf16 ? (end - o + 31) / 32 * 32 : TILE_OUTPUTS, n, o,
                                 end, 0, d, o > 0, wk_out(p, s, 0) + r * d, d);
            if (b) wk_linear_input_grad_f32(b, room.z, TILE_OUTPUTS, n, o, end, 0, rank, o > 0, dmid, rank);
        }
        if (b) p->kernels->scale(s->node->attr.scale, dmid, n * rank, dmid);
        else memset(dmid, 0, (size_t)n * sizeof *dmid);
    }
}

/* dW [V, d], or dB [V, rank]: tiles of outputs go to threads in turn; each adds tiles of rows in order. */
static void weight_grads(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    bool of_b = s->node->attr.of_b;
    const float *x = wk_in(p, s, of_b ? 4 : 1);
    int64_t d = s->shape_out.cols, n_out = s->weight->base.n_row, rows = wk_rows_of(p, s->shape_x);
    loss_room room = room_of(s, p, t);
    for (int64_t o = (int64_t)t->i * TILE_OUTPUTS; o < n_out; o += (int64_t)t->n * TILE_OUTPUTS) {
        int64_t end = least(n_out, o + TILE_OUTPUTS);
        float *dw = wk_out(p, s, 0) + o * d;
        if (!rows) memset(dw, 0, (size_t)((end - o) * d) * sizeof *dw);
        for (int64_t r = 0; r < rows; r += TILE_ROWS) {
            int64_t n = least(rows - r, TILE_ROWS);
            prepare(s, p, &room, 1, 4, r, n);
            logit_grads(s, p, &room, r, n, o, end);
            p->kernels->cross(end - o, d, r > 0, n, room.z, TILE_OUTPUTS, x + r * d, d, dw, d);
        }
        if (of_b) p->kernels->scale(s->node->attr.scale, dw, (end - o) * d, dw);
    }
}

static wk_step *step_with_room(wk_lowering *l, const wk_cpu_weight *w, const wk_cpu_weight *b, wk_step_fn run) {
    wk_step *s = wk_lower_step(l, run);
    if (!s) return NULL;
    size_t need = operand_bytes(w->mat[0]) + TILE_BYTES + wk_bytes3(TILE_ROWS, b ? b->base.n_col : 0, sizeof(float));
    s->weight = w;
    if (l->p->room_bytes < need) l->p->room_bytes = need;
    return s;
}

void wk_lower_cross_entropy(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1), *b = n->in[3] >= 0 ? wk_lower_matrix(l, 3) : NULL;
    wk_step *s = step_with_room(l, w, b, losses);
    if (!s) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, s->shape_in.cols);
    if (b) wk_lower_value(l, n->in[2], false, WK_SPLIT_RUNS, b->base.n_col);
    for (int i = 0; i < n->n_out; i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_RUNS, 1);
}

static void lower_grad(wk_lowering *l, const wk_node *n, wk_step_fn run) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 2), *b = n->in[5] >= 0 ? wk_lower_matrix(l, 5) : NULL;
    wk_step *s = step_with_room(l, w, b, run);
    if (!s) return;
    s->shape_x = l->g->value[n->in[1]].shape;
    for (int i = 0; i < n->n_in; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
    for (int i = 0; i < n->n_out; i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_NONE, 0);
}
void wk_lower_cross_entropy_grad(wk_lowering *l, const wk_node *n) { lower_grad(l, n, input_grads); }
void wk_lower_cross_entropy_weight_grad(wk_lowering *l, const wk_node *n) { lower_grad(l, n, weight_grads); }
