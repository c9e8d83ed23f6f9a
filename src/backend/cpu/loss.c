/* loss.c: the steps of cross_entropy and its gradients. Logits are made for a tile of rows and outputs, used, and forgotten;
 * gradients make them again. Load: three products with the output projection a training step, a fifth of a small model's work.
 *
 * The loss goes through the outputs in parts, always the same, and threads share out tiles of rows times parts: each meeting of the
 * two expands weights, so the fewer the better where few rows have labels. What parts leave is added up in order. Gradients that
 * make logits again go by rows (outputs, for the weight's), each row through the outputs in tiles of a fixed size.
 *
 * Where gradients are rounded anyway, and no adapter or cap comes between, two products do: the loss keeps e^(z - top) of some
 * rows' logits in bfloat16, and when it knows their sum makes those rows' dx for a gradient of 1, which the gradient scales. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

enum { TILE_ROWS = 256, TILE_OUTPUTS = 384 };  /* 384 kB of logits: they stay in L2 */

enum { KEPT_BYTES = 32 << 20, LEAST_KEPT = 96 };  /* a thread; with fewer rows weights are turned too often for it to pay */

enum { PARTS = 4 };

/* A thread's room: an operand of TILE_ROWS rows, then logits [TILE_ROWS][TILE_OUTPUTS], their gradients prepared, then
 * s A x [TILE_ROWS][rank]. */
typedef struct loss_room { void *act; float *z; void *g; float *mid; } loss_room;
enum { LOGIT_BYTES = TILE_ROWS * TILE_OUTPUTS * 4, TILE_BYTES = TILE_ROWS * TILE_OUTPUTS * 6 };

static size_t operand_bytes(const wk_packed *w) { return (wk_act_bytes(w, TILE_ROWS) + 63) / 64 * 64; }

static loss_room room_of(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    uint8_t *at = wk_room(p, t), *z = at + operand_bytes(s->weight->mat[0]);
    return (loss_room){ at, (float *)(void *)z, z + LOGIT_BYTES, (float *)(void *)(z + TILE_BYTES) };
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
    return b->label ? b->label[wk_batch_row(b, x.kind, r)] : WK_NO_LABEL;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t n_tile(int64_t n_out) { return (n_out + TILE_OUTPUTS - 1) / TILE_OUTPUTS; }
static int64_t n_part(int64_t n_out) { return least(n_tile(n_out), PARTS); }

/* Tiles of rows that n rows are cut into: as few as there can be, times parts even between threads. */
static int64_t n_row_tile(int64_t n, int64_t parts, int n_thread) {
    int64_t tiles = (n + TILE_ROWS - 1) / TILE_ROWS;
    while (tiles * parts % n_thread) tiles++;
    return tiles;
}

/* What a part of a row's logits leaves; own: the label's logit, 0 in other parts. */
typedef struct score { wk_logit_sum sum; float own; } score;

static score *scores(const wk_step *s, const wk_cpu_plan *p, int64_t part) {
    return (score *)(void *)wk_slot_at(p, s->slot2) + part * p->base.max_rows;
}
static size_t score_bytes(const wk_cpu_plan *p) { return wk_bytes3(PARTS, p->base.max_rows, sizeof(score)); }

/* dx of a part, [max_rows][d]. */
static float *kept_dx(const wk_step *s, const wk_cpu_plan *p, int64_t part, int64_t d) {
    return (float *)(void *)wk_slot_at(p, s->slot) + part * p->base.max_rows * d;
}

/* Rows [r, r + n), of those from `first` on that are worked on at a time, and tiles of outputs [from, to). */
typedef struct item { int64_t first, r, n, part, from, to; } item;

/* Kept logits of s->n rows at most: a tile of rows has, by tiles of outputs, e^(z - top) [rows][width up to 32] and top [rows].
 * They lie behind the scores. */
typedef struct kept { uint16_t *e; float *top; } kept;
static size_t kept_bytes(int64_t rows, int64_t n_out) {
    return wk_bytes3(rows, n_tile(n_out), TILE_OUTPUTS * sizeof(uint16_t) + sizeof(float));
}
static kept kept_of(const wk_step *s, const wk_cpu_plan *p, const item *x, int64_t tile) {
    int64_t tiles = n_tile(s->weight->base.n_row), at = (x->r - x->first) * tiles + tile * x->n;
    uint16_t *e = (uint16_t *)(void *)(wk_slot_at(p, s->slot2) + score_bytes(p));
    float *top = (float *)(void *)(e + (int64_t)s->n * tiles * TILE_OUTPUTS);
    return (kept){ e + at * TILE_OUTPUTS, top + at };
}

/* Logits' sums of the item's rows, and perhaps the logits. */
static void score_item(const wk_step *s, const wk_cpu_plan *p, const loss_room *room, const item *x) {
    int64_t n_out = s->weight->base.n_row;
    score *row = scores(s, p, x->part) + x->r;
    for (int64_t i = 0; i < x->n; i++) row[i] = (score){ { -INFINITY, 0, 0 }, 0 };
    prepare(s, p, room, 0, 2, x->r, x->n);
    for (int64_t k = x->from; k < x->to; k++) {
        int64_t o = k * TILE_OUTPUTS, end = least(n_out, o + TILE_OUTPUTS);
        kept to = s->slot < 0 ? (kept){ 0 } : kept_of(s, p, x, k);
        logits(s, p, room, 2, x->n, o, end);
        for (int64_t i = 0; i < x->n; i++) {
            float *z = room->z + i * TILE_OUTPUTS;
            int32_t label = label_of(p, s->shape_in, x->r + i);
            p->kernels->add_logits(s->node->attr.cap, z, end - o, &row[i].sum);
            if (label >= o && label < end) row[i].own = z[label - o];
            if (to.e) p->kernels->logits_grad(0, to.top[i] = row[i].sum.top, 1, 0, z, end - o);
        }
        if (to.e) wk_round_rows(room->z, TILE_OUTPUTS, x->n, end - o, to.e);
    }
}

/* dx of rows whose logits were kept, by the item's outputs, for a gradient of 1 of each loss. */
static void grad_item(const wk_step *s, const wk_cpu_plan *p, const loss_room *room, const item *x) {
    const wk_attr *a = &s->node->attr;
    const wk_packed *w = s->weight->mat[0];
    const float *lse = wk_out(p, s, 1) + x->r;
    int64_t d = s->shape_in.cols, n_out = s->weight->base.n_row;
    for (int64_t k = x->from; k < x->to; k++) {
        int64_t o = k * TILE_OUTPUTS, end = least(n_out, o + TILE_OUTPUTS), ld = (end - o + 31) / 32 * 32;
        kept from = kept_of(s, p, x, k);
        for (int64_t i = 0; i < x->n; i++) {
            float *z = room->z + i * TILE_OUTPUTS;
            int32_t label = label_of(p, s->shape_in, x->r + i);
            p->kernels->weigh(from.e + i * ld, expf(from.top[i] - lse[i]), a->smoothing / (float)n_out, end - o, z);
            if (label >= o && label < end) z[label - o] -= 1 - a->smoothing;
        }
        wk_grad_prepare(w, room->z, TILE_OUTPUTS, x->n, end - o, room->g);
        wk_linear_input_grad(w, room->g, wk_grad_stride(w, end - o), x->n, o, end, 0, d, k > x->from,
                             kept_dx(s, p, x->part, d) + x->r * d, d);
    }
}

/* A thread's items of rows [first, first + n): of one part as long as may be, whose weights it has in the cache. */
static void each_item(const wk_step *s, const wk_cpu_plan *p, const wk_team *t, int64_t first, int64_t n,
                      void (*run)(const wk_step *s, const wk_cpu_plan *p, const loss_room *room, const item *x)) {
    int64_t tiles = n_tile(s->weight->base.n_row), parts = n_part(s->weight->base.n_row), row_tiles = n_row_tile(n, parts, t->n),
            step = (n + row_tiles - 1) / row_tiles, from, to;
    loss_room room = room_of(s, p, t);
    wk_team_share(t, parts * row_tiles, 1, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t part = i / row_tiles, at = i % row_tiles * step;
        item x = { first, first + at, least(n - at, step), part, tiles * part / parts, tiles * (part + 1) / parts };
        if (x.n > 0) run(s, p, &room, &x);
    }
}

/* Losses of rows [r, end), of the sums of their parts. */
static void close_rows(const wk_step *s, const wk_cpu_plan *p, int64_t r, int64_t end) {
    const wk_attr *a = &s->node->attr;
    int64_t n_out = s->weight->base.n_row;
    for (; r < end; r++) {
        score all = scores(s, p, 0)[r];
        for (int64_t k = 1; k < n_part(n_out); k++) {
            score part = scores(s, p, k)[r];
            float top = part.sum.top > all.sum.top ? part.sum.top : all.sum.top;
            all.sum.sum = all.sum.sum * expf(all.sum.top - top) + part.sum.sum * expf(part.sum.top - top);
            all.sum.top = top;
            all.sum.all += part.sum.all;
            all.own += part.own;
        }
        float lse = all.sum.top + logf(all.sum.sum);
        bool masked = label_of(p, s->shape_in, r) < 0;
        wk_out(p, s, 0)[r] = masked ? 0 : lse - (1 - a->smoothing) * all.own - a->smoothing * all.sum.all / (float)n_out;
        if (s->node->n_out > 1) wk_out(p, s, 1)[r] = lse;
    }
}

/* Inputs x, W, and perhaps A x and B; outputs loss and perhaps log-sum-exp; dx of all parts into the slot, if there is one. */
static void losses(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), most = s->slot < 0 ? rows : (int64_t)s->n, from, to;
    for (int64_t r = 0; r < rows; r += most) {
        int64_t n = least(rows - r, most);
        if (r) wk_team_barrier(t);  /* others' kept logits make room */
        each_item(s, p, t, r, n, score_item);
        wk_team_barrier(t);
        wk_team_share(t, n, 1, &from, &to);
        close_rows(s, p, r + from, r + to);
        if (s->slot < 0) continue;
        wk_team_barrier(t);
        each_item(s, p, t, r, n, grad_item);
    }
}

/* The gradient of what losses() made dx for. Inputs g, x, W, lse. */
static void scale_dx(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, parts = n_part(s->weight->base.n_row), from, to;
    wk_my_runs(p, t, s->shape_out, d, &from, &to);
    for (int64_t r = from; r < to; r++) {
        float g = label_of(p, s->shape_x, r) < 0 ? 0 : wk_in(p, s, 0)[r], *dx = kept_dx(s, p, 0, d) + r * d;
        for (int64_t k = 1; k < parts; k++) p->kernels->add(dx, kept_dx(s, p, k, d) + r * d, d, dx);
        p->kernels->scale(g, dx, d, wk_out(p, s, 0) + r * d);
        wk_out(p, s, 1)[r] = 0;
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
    bool rounds = wk_grad_rounds(w);
    loss_room room = room_of(s, p, t);
    wk_my_runs(p, t, s->shape_out, d, &from, &to);
    for (int64_t r = from; r < to; r += TILE_ROWS) {
        int64_t n = least(to - r, TILE_ROWS);
        float *dmid = wk_out(p, s, 1) + r * (b ? rank : 1);
        prepare(s, p, &room, 1, 4, r, n);
        for (int64_t o = 0; o < n_out; o += TILE_OUTPUTS) {
            int64_t end = least(n_out, o + TILE_OUTPUTS);
            logit_grads(s, p, &room, r, n, o, end);
            if (rounds) wk_grad_prepare(w, room.z, TILE_OUTPUTS, n, end - o, room.g);
            wk_linear_input_grad(w, rounds ? room.g : room.z, rounds ? wk_grad_stride(w, end - o) : TILE_OUTPUTS * sizeof(float), n,
                                 o, end, 0, d, o > 0, wk_out(p, s, 0) + r * d, d);
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

/* The node that is the gradient of cross_entropy node n with respect to its x; NULL: there is none. */
static const wk_node *grad_of(const wk_graph *g, const wk_node *n) {
    for (const wk_node *k = n + 1; n->n_out > 1 && k < g->node + g->n_node; k++)
        if (k->op == WK_OP_CROSS_ENTROPY_GRAD && k->in[3] == n->out[1]) return k;
    return NULL;
}

/* Lets the last step, of node n, keep logits and make dx as well, where that is possible and pays. Returns the bytes to keep. */
static size_t make_dx_too(wk_lowering *l, const wk_node *n, const wk_cpu_weight *w) {
    wk_cpu_plan *p = l->p;
    const wk_node *grad = grad_of(l->g, n);
    int64_t n_out = w->base.n_row, rows = KEPT_BYTES / (int64_t)kept_bytes(1, n_out);
    if (!grad || n->in[3] >= 0 || n->attr.cap > 0 || !wk_grad_rounds(w->mat[0]) || rows < LEAST_KEPT) return 0;
    rows = least(rows * p->n_thread, p->base.max_rows);
    wk_step *s = &p->step[p->n_step - 1];
    s->n = (size_t)rows;
    s->slot = wk_lower_slot(l, wk_bytes3(n_part(n_out) * p->base.max_rows, w->base.n_col, sizeof(float)), grad - l->g->node);
    if (s->slot >= 0) wk_lower_scratch(l, WK_SPACE_SLOT, s->slot, true, WK_SPLIT_NONE, 0);
    return kept_bytes(rows, n_out);
}

void wk_lower_cross_entropy(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1), *b = n->in[3] >= 0 ? wk_lower_matrix(l, 3) : NULL;
    if (!step_with_room(l, w, b, losses)) return;
    size_t keeps = make_dx_too(l, n, w);
    int slot = wk_lower_slot(l, score_bytes(l->p) + keeps, l->k);
    if (slot < 0) return;
    l->p->step[l->p->n_step - 1].slot2 = slot;
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    if (b) wk_lower_value(l, n->in[2], false, WK_SPLIT_NONE, 0);
    for (int i = 0; i < n->n_out; i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_NONE, 0);
}

static void lower_grad(wk_lowering *l, const wk_node *n, wk_step_fn run) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 2), *b = n->in[5] >= 0 ? wk_lower_matrix(l, 5) : NULL;
    wk_step *s = step_with_room(l, w, b, run);
    if (!s) return;
    s->shape_x = l->g->value[n->in[1]].shape;
    for (int i = 0; i < n->n_in; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_NONE, 0);
    for (int i = 0; i < n->n_out; i++) wk_lower_value(l, n->out[i], true, WK_SPLIT_NONE, 0);
}
void wk_lower_cross_entropy_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_plan *p = l->p;
    const wk_node *loss = &l->g->node[l->g->value[n->in[3]].node];
    const wk_cpu_weight *w = wk_lower_matrix(l, 2);
    int slot = -1;
    for (size_t i = 0; i < p->n_step; i++) if (p->step[i].node == loss) slot = p->step[i].slot;
    if (slot < 0) {
        lower_grad(l, n, input_grads);
        return;
    }
    wk_step *s = wk_lower_step(l, scale_dx);
    if (!s) return;
    int64_t d = s->shape_out.cols;
    s->weight = w;
    s->slot = slot;
    s->shape_x = l->g->value[n->in[1]].shape;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, 1);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_RUNS, d);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, d);
    wk_lower_value(l, n->out[1], true, WK_SPLIT_RUNS, 1);
}
void wk_lower_cross_entropy_weight_grad(wk_lowering *l, const wk_node *n) { lower_grad(l, n, weight_grads); }
