/* loss.c: the steps of cross_entropy and its gradients. Logits are made for a tile of rows and outputs, used, and forgotten;
 * gradients make them again. Threads divide rows (outputs, for the weight's gradient), and each row goes through the outputs in
 * tiles of a fixed size. Load: three products with the output projection a training step, a fifth of a small model's work. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

enum { TILE_ROWS = 256, TILE_OUTPUTS = 384 };  /* 384 kB of logits: they stay in L2 */

/* A thread's room: an operand of TILE_ROWS rows, then logits [TILE_ROWS][TILE_OUTPUTS], and their gradients as bfloat16. */
typedef struct loss_room { void *act; float *z; uint16_t *z16; } loss_room;
enum { LOGIT_BYTES = TILE_ROWS * TILE_OUTPUTS * 4, ROOM_BYTES = TILE_ROWS * TILE_OUTPUTS * 6 };

static size_t operand_bytes(const wk_packed *w) { return (wk_act_bytes(w, TILE_ROWS) + 63) / 64 * 64; }

static loss_room room_of(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    uint8_t *at = wk_room(p, t);
    uint8_t *z = at + operand_bytes(s->weight->mat[0]);
    return (loss_room){ at, (float *)(void *)z, (uint16_t *)(void *)(z + LOGIT_BYTES) };
}

/* The label of row r of x, which has the wanted rows or all; WK_NO_LABEL: none. */
static int32_t label_of(const wk_cpu_plan *p, wk_shape x, int64_t r) {
    const wk_batch *b = p->batch;
    return b->label ? b->label[x.kind == WK_ROWS_OUT ? b->out_row[r] : r] : WK_NO_LABEL;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Inputs x, W; outputs loss and perhaps log-sum-exp. */
static void losses(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *w = s->weight->mat[0];
    const wk_attr *a = &s->node->attr;
    int64_t d = s->shape_in.cols, n_out = s->weight->base.n_row, from, to;
    loss_room room = room_of(s, p, t);
    wk_my_runs(p, t, s->shape_in, d, &from, &to);
    for (int64_t r = from; r < to; r += TILE_ROWS) {
        wk_logit_sum sum[TILE_ROWS];
        float own[TILE_ROWS] = { 0 };
        int64_t n = least(to - r, TILE_ROWS);
        for (int64_t i = 0; i < n; i++) sum[i] = (wk_logit_sum){ -INFINITY, 0, 0 };
        wk_act_prepare(w, wk_in(p, s, 0) + r * d, d, 0, n, n, room.act);
        for (int64_t o = 0; o < n_out; o += TILE_OUTPUTS) {
            int64_t end = least(n_out, o + TILE_OUTPUTS);
            wk_linear_part(w, room.act, n, o, end, room.z, TILE_OUTPUTS, NULL);
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

/* Makes d loss / d logits of rows [r, r + n) and outputs [o, end) in the room. Inputs g, x, W, lse. */
static void logit_grads(const wk_step *s, const wk_cpu_plan *p, const loss_room *room, int64_t r, int64_t n, int64_t o,
                        int64_t end) {
    const wk_attr *a = &s->node->attr;
    float even = a->smoothing / (float)s->weight->base.n_row;
    wk_linear_part(s->weight->mat[0], room->act, n, o, end, room->z, TILE_OUTPUTS, NULL);
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
    const wk_packed *w = s->weight->mat[0];
    int64_t d = s->shape_out.cols, n_out = s->weight->base.n_row, from, to;
    bool bf16 = wk_grad_in_bf16(w);
    loss_room room = room_of(s, p, t);
    wk_my_runs(p, t, s->shape_out, d, &from, &to);
    for (int64_t r = from; r < to; r += TILE_ROWS) {
        int64_t n = least(to - r, TILE_ROWS);
        wk_act_prepare(w, wk_in(p, s, 1) + r * d, d, 0, n, n, room.act);
        for (int64_t o = 0; o < n_out; o += TILE_OUTPUTS) {
            int64_t end = least(n_out, o + TILE_OUTPUTS);
            logit_grads(s, p, &room, r, n, o, end);
            if (bf16) wk_grad_round(room.z, TILE_OUTPUTS, n, end - o, room.z16);
            wk_linear_input_grad(w, bf16 ? (void *)room.z16 : room.z, bf16 ? (end - o + 31) / 32 * 32 : TILE_OUTPUTS, n, o, end, 0,
                                 d, o > 0, wk_out(p, s, 0) + r * d, d);
        }
    }
}

/* dW [V, d]: tiles of outputs go to threads in turn; each adds tiles of rows in order. */
static void weight_grads(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *w = s->weight->mat[0];
    int64_t d = s->shape_out.cols, n_out = s->weight->base.n_row, rows = wk_rows_of(p, s->shape_x);
    loss_room room = room_of(s, p, t);
    for (int64_t o = (int64_t)t->i * TILE_OUTPUTS; o < n_out; o += (int64_t)t->n * TILE_OUTPUTS) {
        int64_t end = least(n_out, o + TILE_OUTPUTS);
        float *dw = wk_out(p, s, 0) + o * d;
        if (!rows) memset(dw, 0, (size_t)((end - o) * d) * sizeof *dw);
        for (int64_t r = 0; r < rows; r += TILE_ROWS) {
            int64_t n = least(rows - r, TILE_ROWS);
            wk_act_prepare(w, wk_in(p, s, 1) + r * d, d, 0, n, n, room.act);
            logit_grads(s, p, &room, r, n, o, end);
            p->kernels->cross(end - o, d, r > 0, n, room.z, TILE_OUTPUTS, wk_in(p, s, 1) + r * d, d, dw, d);
        }
    }
}

static wk_step *step_with_room(wk_lowering *l, const wk_cpu_weight *w, wk_step_fn run) {
    wk_step *s = wk_lower_step(l, run);
    if (!s) return NULL;
    size_t need = operand_bytes(w->mat[0]) + ROOM_BYTES;
    s->weight = w;
    if (l->p->room_bytes < need) l->p->room_bytes = need;
    return s;
}

void wk_lower_cross_entropy(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1);
    wk_step *s = step_with_room(l, w, losses);
    if (!s) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, s->shape_in.cols);
    for (int i = 0; i < n->n_out; i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_RUNS, 1);
}

static void lower_grad(wk_lowering *l, const wk_node *n, wk_step_fn run) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 2);
    wk_step *s = step_with_room(l, w, run);
    if (!s) return;
    s->shape_x = l->g->value[n->in[1]].shape;
    for (int i = 0; i < 4; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
}
void wk_lower_cross_entropy_grad(wk_lowering *l, const wk_node *n) { lower_grad(l, n, input_grads); }
void wk_lower_cross_entropy_weight_grad(wk_lowering *l, const wk_node *n) { lower_grad(l, n, weight_grads); }
