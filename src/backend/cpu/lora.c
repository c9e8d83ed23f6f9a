/* lora.c: steps of lora: y = gain * base + offset + scale * B (A x), by each row's adapter and those stacked on it.
 * In a model base is a linear's product with the same x, and one step makes both: threads divide columns of y, and take so many
 * at a time that B's product meets them in the cache. What B is multiplied with, s A x, is made one step earlier by rows, for
 * all projections of one x, since these need no meeting of threads between them; of few rows each thread makes it for itself.
 * Load: for each projection of each row that has an adapter, a few per cent of the product beside it. Rows without one cost
 * nothing: base lies where y will. */
#include "backend/cpu/plan.h"

enum {
    COLS = 256,         /* columns of y at a time: with 512 rows they stay in L2 */
    GAIN_COLS = 1024,   /* columns that gains are gathered for */
    READY_BYTES = 1024  /* a row's operands at most for the B of all its adapters; those with more are not made ahead */
};

/* A thread's room. */
typedef struct lora_room {
    float *mid;          /* [WK_LORA_ROWS][rank]: A x */
    float *gain;         /* [2][GAIN_COLS] */
    uint8_t *ready, *x;  /* operands of B and of A */
} lora_room;

static size_t ready_size(void) { return wk_bytes3(WK_LORA_ROWS, WK_MAX_RANK + 64, sizeof(float)); }
static lora_room room_of(const wk_cpu_plan *p, const wk_team *t) {
    uint8_t *at = wk_room(p, t);
    size_t n = ready_size();
    return (lora_room){ (float *)(void *)at, (float *)(void *)(at + 2 * n), at + n, at + 2 * n + 2 * GAIN_COLS * sizeof(float) };
}
static void need_room(wk_lowering *l, int64_t n_in) {
    size_t need, x = wk_bytes3(WK_LORA_ROWS, n_in + 64, sizeof(float));
    if (!wk_add_size(2 * ready_size() + 2 * GAIN_COLS * sizeof(float), x, &need)) need = SIZE_MAX / 2;
    if (l->p->room_bytes < need) l->p->room_bytes = need;
}

/* Rows [r, r + n) of y, which have the same adapter, and columns [c0, c1) of them. ready: their operands of B, stride bytes from
 * row to row; NULL: to be made, for at most WK_LORA_ROWS. */
typedef struct part {
    const wk_step *s;
    const wk_cpu_plan *p;
    const wk_team *t;
    lora_room room;
    int64_t r, n, c0, c1;
    const uint8_t *ready;
    size_t stride;
} part;

static const wk_lora_term *term_at(int slot, const wk_lora_set *set) {
    return set->scale != 0 && slot < set->n_slot ? &set->slot[slot] : NULL;
}
static const wk_lora_term *term_of(const part *x, const wk_lora_set *set) { return term_at(x->s->node->attr.slot, set); }
static const wk_packed *matrix(const wk_weight *w) { return ((const wk_cpu_weight *)w)->mat[0]; }
static float *y_of(const part *x, int64_t i) { return wk_out(x->p, x->s, 0) + (x->r + i) * x->s->shape_out.cols; }
static const float *x_of(const part *x) { return wk_in_or_copy(x->p, x->s, x->t, 1) + x->r * x->s->lora_in; }
static bool by_token(const part *x) { return x->s->node->in[1] < 0; }
static int64_t row_of(const wk_cpu_plan *p, const wk_step *s, int64_t i) {
    return s->shape_out.kind == WK_ROWS_OUT ? p->batch->out_row[i] : i;
}
static int32_t token_of(const part *x, int64_t i) { return x->p->batch->token[row_of(x->p, x->s, x->r + i)]; }

/* How many rows from r on have r's adapter k; end at most. */
static int64_t run_of(const wk_cpu_plan *p, const wk_step *s, int64_t r, int64_t end, int32_t *k) {
    const int32_t *adapter = p->batch->adapter;
    int64_t next = r + 1;
    *k = adapter[row_of(p, s, r)];
    while (next < end && adapter[row_of(p, s, next)] == *k) next++;
    return next - r;
}

/* A head or an embedding in place of the model's own. */
static void replace(const part *x, const wk_packed *w) {
    int64_t n_out = x->s->shape_out.cols;
    if (!by_token(x)) wk_linear_plain(w, x_of(x), x->s->lora_in, x->n, x->c0, x->c1, y_of(x, 0), n_out);
    else for (int64_t i = 0; i < x->n; i++) wk_packed_row(w, token_of(x, i), y_of(x, i));
}

/* y = gain * y + offset in columns [c0, c1), of all adapters together; false: none has a gain. */
static bool rescale(const part *x, const wk_lora_set *first, int64_t c0, int64_t c1) {
    float *gain = x->room.gain, *offset = gain + GAIN_COLS;
    bool any = false;
    for (const wk_lora_set *set = first; set; set = set->also) {
        const wk_lora_term *t = term_of(x, set);
        if (!t || !t->gain) continue;
        for (int64_t c = 0; !any && c < c1 - c0; c++) gain[c] = 1, offset[c] = 0;
        any = true;
        const float *g = ((const wk_cpu_weight *)t->gain)->vec, *o = t->offset ? ((const wk_cpu_weight *)t->offset)->vec : NULL;
        for (int64_t c = c0; c < c1; c++) gain[c - c0] += set->scale * (g[c] - 1);
        for (int64_t c = c0; o && c < c1; c++) offset[c - c0] += set->scale * o[c];
    }
    for (int64_t i = 0; any && i < x->n; i++)
        for (int64_t c = c0; c < c1; c++) y_of(x, i)[c] = gain[c - c0] * y_of(x, i)[c] + offset[c - c0];
    return any;
}

/* A x of rows [r, r + n) of x, into mid: of x as the product beside it takes it, or made ready in `ready`. */
static void times_a(const wk_step *s, const wk_cpu_plan *p, const wk_team *t, const wk_packed *a, int64_t r, int64_t n,
                    uint8_t *ready, float *mid) {
    const float *x = wk_in_or_copy(p, s, t, 1) + r * s->lora_in;
    const void *act = ready;
    int64_t rank = wk_packed_n_out(a);
    if (!wk_packed_rounds(a)) {
        wk_linear_plain(a, x, s->lora_in, n, 0, rank, mid, rank);
        return;
    }
    if (s->weight && wk_act_kind(s->weight->mat[0]) == wk_act_kind(a)) act = wk_operand(p, s, t) + wk_act_bytes(a, r);
    else wk_act_prepare(a, x, s->lora_in, 0, n, n, ready);
    wk_linear(a, act, n, 0, rank, mid, rank, NULL);
}

/* What B of a term is multiplied with, from n rows of A x in mid; stride bytes from one to the next. */
static void operand_of_b(const wk_cpu_plan *p, const wk_packed *b, float scale, float *mid, int64_t n, uint8_t *to, size_t stride) {
    int64_t rank = wk_packed_n_in(b);
    p->kernels->scale(scale, mid, n * rank, mid);
    for (int64_t i = 0; i < n; i++) wk_act_prepare(b, mid + i * rank, rank, 0, 1, 1, to + (size_t)i * stride);
}

/* y += B (scale * A x); ready: the operands of B, or NULL. */
static void add_sum(const part *x, const wk_lora_term *t, float scale, const uint8_t *ready) {
    const wk_packed *a = matrix(t->a), *b = matrix(t->b);
    int64_t rank = wk_packed_n_in(b);
    size_t stride = ready ? x->stride : wk_act_bytes(b, 1);
    if (!ready && by_token(x))
        for (int64_t i = 0; i < x->n; i++) wk_packed_row(a, token_of(x, i), x->room.mid + i * rank);
    else if (!ready) times_a(x->s, x->p, x->t, a, x->r, x->n, x->room.x, x->room.mid);
    if (!ready) operand_of_b(x->p, b, scale, x->room.mid, x->n, x->room.ready, stride);
    wk_linear_add(b, ready ? ready : x->room.ready, stride, x->n, x->c0, x->c1, y_of(x, 0), x->s->shape_out.cols);
}

/* A row's operand of a term's B begins on a line of its own. */
static size_t operand_bytes(const wk_lora_term *t) { return (wk_act_bytes(matrix(t->b), 1) + 63) / 64 * 64; }

static void adapt(const part *x, const wk_lora_set *first) {
    const wk_lora_term *t = NULL, *whole = NULL;
    const uint8_t *ready = x->ready;
    for (const wk_lora_set *set = first; set && !whole; set = set->also) if ((t = term_of(x, set)) && t->w) whole = t;
    if (whole) replace(x, matrix(whole->w));
    for (int64_t c = x->c0; c < x->c1 && rescale(x, first, c, x->c1 - c < GAIN_COLS ? x->c1 : c + GAIN_COLS);) c += GAIN_COLS;
    for (const wk_lora_set *set = first; set; set = set->also) {
        if (!(t = term_of(x, set)) || !t->a) continue;
        add_sum(x, t, t->scale * set->scale, ready);
        if (ready) ready += operand_bytes(t);
    }
}

/* ---- operands made ahead ---- */

/* Bytes of a row's operands for all of an adapter's B at a slot. */
static size_t row_bytes(const wk_lora_set *first, int slot) {
    size_t n = 0;
    for (const wk_lora_set *set = first; set; set = set->also) {
        const wk_lora_term *t = term_at(slot, set);
        if (t && t->a) n += operand_bytes(t);
    }
    return n;
}

/* From row to row in a slot of operands: what the batch's adapters need, less those that are beyond it, of which *all tells. */
static size_t stride_of(const wk_batch *b, int slot, bool *all) {
    size_t most = 0;
    *all = true;
    for (int k = 0; k < b->n_adapter; k++) {
        size_t n = row_bytes(b->adapters[k], slot);
        if (n > READY_BYTES) *all = false;
        else if (n > most) most = n;
    }
    return most;
}

/* Operands of rows [r, r + n) with one adapter at a lora, from as many rows of the operand of A. */
static void ready_rows(const wk_step *s, const wk_cpu_plan *p, const wk_team *team, const lora_room *room, const wk_lora_ahead *l,
                       int64_t r, int64_t n, const wk_lora_set *first, size_t stride) {
    uint8_t *to = p->mem + p->slot[l->slot].at + (size_t)r * stride;
    for (const wk_lora_set *set = first; set; set = set->also) {
        const wk_lora_term *t = term_at(l->term, set);
        if (!t || !t->a) continue;
        times_a(s, p, team, matrix(t->a), r, n, room->x, room->mid);
        operand_of_b(p, matrix(t->b), t->scale * set->scale, room->mid, n, to, stride);
        to += operand_bytes(t);
    }
}

/* Of all loras of one x, by rows. */
static void make_ahead(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_batch *b = p->batch;
    lora_room room = room_of(p, t);
    int64_t from, to, n;
    int32_t k;
    bool all;
    wk_my_runs(p, t, s->shape_x, s->lora_in, &from, &to);
    for (const wk_lora_ahead *l = p->ahead + s->first, *end = l + s->n; l < end; l++) {
        size_t stride = stride_of(b, l->term, &all);
        for (int64_t r = from; r < to; r += n) {
            n = run_of(p, s, r, to, &k);
            if (n > WK_LORA_ROWS) n = WK_LORA_ROWS;
            if (k >= 0 && row_bytes(b->adapters[k], l->term) <= READY_BYTES)
                ready_rows(s, p, t, &room, l, r, n, b->adapters[k], stride);
        }
    }
}

/* ---- steps ---- */

/* Rows [from, to) of x's columns. */
static void adapt_rows(part *x, int64_t from, int64_t to, const uint8_t *ahead) {
    const wk_batch *b = x->p->batch;
    int32_t k;
    for (x->r = from; x->r < to; x->r += x->n) {
        x->n = run_of(x->p, x->s, x->r, to, &k);
        bool made = ahead && k >= 0 && row_bytes(b->adapters[k], x->s->node->attr.slot) <= READY_BYTES;
        x->ready = made ? ahead + (size_t)x->r * x->stride : NULL;
        if (!made && x->n > WK_LORA_ROWS) x->n = WK_LORA_ROWS;
        if (k >= 0) adapt(x, b->adapters[k]);
    }
}

/* The linear before it and the lora, by columns. Where an adapter's operands are not made ahead, each thread makes them, and once:
 * for all of its columns. */
static void adapted_product(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *w = s->weight->mat[0];
    int64_t rows = wk_rows_of(p, s->shape_out), n_out = s->shape_out.cols, from, to, width = COLS;
    const uint8_t *ahead = p->mode & WK_MODE_FEW ? NULL : p->mem + p->slot[s->slot2].at;
    part x = { .s = s, .p = p, .t = t, .room = room_of(p, t) };
    bool all = false;
    wk_my_cols(t, n_out, &from, &to);
    if (ahead) x.stride = stride_of(p->batch, s->node->attr.slot, &all);
    if (!all) width = to - from;
    for (x.c0 = from; rows && x.c0 < to; x.c0 = x.c1) {
        x.c1 = to - x.c0 < width ? to : x.c0 + width;
        wk_linear(w, wk_operand(p, s, t), rows, x.c0, x.c1, wk_out(p, s, 0), n_out, s->bias);
        adapt_rows(&x, 0, rows, ahead);
    }
}

/* A lora by itself, by rows: the embedding's. */
static void lora(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    part x = { .s = s, .p = p, .t = t, .room = room_of(p, t), .c1 = s->shape_out.cols };
    int64_t from, to;
    wk_my_runs(p, t, s->shape_out, s->shape_out.cols, &from, &to);
    adapt_rows(&x, from, to, NULL);
}

/* ---- lowering ---- */

bool wk_lora_follows(const wk_cpu_plan *p, const wk_graph *g, int64_t k) {
    const wk_node *n = &g->node[k], *next = n + 1;
    return k + 1 < (int64_t)g->n_node && n->op == WK_OP_LINEAR && next->op == WK_OP_LORA && next->in[2] < 0 &&
           next->in[0] == n->out[0] && next->in[1] == n->in[0] && p->offset[n->out[0]] == p->offset[next->out[0]];
}

static wk_step *lora_step(wk_lowering *l, wk_step_fn run, const wk_node *n) {
    wk_step *s = wk_lower_step(l, run);
    if (!s) return NULL;
    s->when = WK_WITH_LORA;
    s->lora_in = n->in[1] >= 0 ? l->g->value[n->in[1]].shape.cols : 0;
    need_room(l, s->lora_in);
    return s;
}

/* The slot of a lora's operands. The first of those that share x gives each of them one, with a step that makes all. */
static int ahead_slot(wk_lowering *l, const wk_node *n, const wk_step *product) {
    wk_cpu_plan *p = l->p;
    const wk_graph *g = l->g;
    size_t first = p->n_ahead;
    for (size_t i = 0; i < p->n_ahead; i++)
        if (p->ahead[i].x == n->in[1] && p->ahead[i].term == n->attr.slot) return p->ahead[i].slot;
    for (int64_t k = l->k; k < (int64_t)g->n_node && p->n_ahead < first + WK_MAX_ACCESS - 2; k++) {
        if (g->node[k].op != WK_OP_LORA || g->node[k].in[1] != n->in[1] || !wk_lora_follows(p, g, k - 1)) continue;
        if (!wk_grow((void **)&p->ahead, &p->cap_ahead, p->n_ahead + 1, sizeof *p->ahead)) {
            l->status = wk_fail_memory(sizeof *p->ahead, "a plan");
            return -1;
        }
        int slot = wk_lower_slot(l, wk_bytes3(p->base.max_rows, READY_BYTES, 1), k);
        p->ahead[p->n_ahead++] = (wk_lora_ahead){ n->in[1], g->node[k].attr.slot, slot };
    }
    wk_step *s = lora_step(l, make_ahead, n);
    if (!s) return -1;
    s->when = 1u << WK_MODE_LORA;
    s->weight = product->weight;
    s->slot = product->slot;
    s->shape_x = g->value[n->in[1]].shape;
    s->first = first;
    s->n = p->n_ahead - first;
    wk_lower_value(l, n->in[1], false, WK_SPLIT_RUNS, s->lora_in);
    wk_lower_scratch(l, WK_SPACE_SLOT, s->slot, false, WK_SPLIT_RUNS, s->lora_in);
    for (size_t i = first; i < p->n_ahead; i++) wk_lower_scratch(l, WK_SPACE_SLOT, p->ahead[i].slot, true, WK_SPLIT_NONE, 0);
    return p->ahead[first].slot;
}

/* In place of the linear's product, which was lowered last. */
static void lower_adapted_product(wk_lowering *l, const wk_node *n) {
    wk_cpu_plan *p = l->p;
    wk_step product = p->step[p->n_step - 1];
    p->step[p->n_step - 1].when &= ~(unsigned)WK_WITH_LORA;
    int slot = ahead_slot(l, n, &product);
    wk_step *s = lora_step(l, adapted_product, n);
    if (!s) return;
    s->weight = product.weight;
    s->bias = product.bias;
    s->slot = product.slot;
    s->slot2 = slot;
    s->each = product.each;
    s->copy = wk_lower_value_or_copy(l, n->in[1], WK_SPLIT_NONE, 0);
    wk_lower_operand(l, s, WK_SPLIT_NONE, 0);
    wk_lower_scratch(l, WK_SPACE_SLOT, s->slot2, false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}

/* Where base does not lie in y's place. */
static void copy_base(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d) p->kernels->scale(1, wk_in(p, s, 0) + at, to - from, wk_out(p, s, 0) + at);
}

void wk_lower_lora(wk_lowering *l, const wk_node *n) {
    wk_cpu_plan *p = l->p;
    if (l->status) return;
    if (l->k > 0 && wk_lora_follows(p, l->g, l->k - 1)) {
        lower_adapted_product(l, n);
        return;
    }
    if (p->offset[n->in[0]] != p->offset[n->out[0]] && wk_lower_step(l, copy_base)) {
        wk_lower_value(l, n->in[0], false, WK_SPLIT_COLS, 0);
        wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
    }
    if (n->in[2] >= 0) {
        wk_lower_lora_trained(l, n);
        return;
    }
    if (!lora_step(l, lora, n)) return;
    wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, l->g->value[n->out[0]].shape.cols);
}
