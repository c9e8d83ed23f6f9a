/* lora.c: steps of lora: y = gain * (base + scale * B (A x)) + bias, by each row's adapter and those stacked on it.
 * In a model base is a linear's product with the same x, and one step makes both: threads divide columns of y, by pieces of a
 * group where there are many rows. What B is multiplied with, s A x, is made one step earlier for all projections of one x, since
 * these need no meeting of threads between them: by rows, or of a single row by parts of A's inputs, which whoever goes on to B
 * adds up. Of a few rows each thread makes it for itself.
 * Load: for each projection of each row that has an adapter, a few per cent of the product beside it. Rows without one cost
 * nothing: base lies where y will. */
#include "backend/cpu/plan.h"
#include <string.h>

enum {
    GAIN_COLS = 512,    /* columns that gains are gathered for */
    GAIN_ROWS = 8,      /* rows that one of several adapters with gains is taken in */
    READY_BYTES = 1024  /* a row's operands at most for the B of all its adapters; those with more are not made ahead */
};

/* A thread's room. */
typedef struct lora_room {
    float *mid;          /* [WK_LORA_ROWS][rank]: A x */
    uint8_t *ready, *x;  /* operands of B and of A */
} lora_room;

static size_t ready_size(void) { return wk_bytes3(WK_LORA_ROWS, WK_MAX_RANK + 64, sizeof(float)); }
static lora_room room_of(const wk_cpu_plan *p, const wk_team *t) {
    uint8_t *at = wk_room(p, t);
    size_t n = ready_size();
    return (lora_room){ (float *)(void *)at, at + n, at + 2 * n };
}
static void need_room(wk_lowering *l, int64_t n_in) {
    size_t need, x = wk_bytes3(WK_LORA_ROWS, n_in + 64, sizeof(float));
    if (!wk_add_size(2 * ready_size(), x, &need)) need = SIZE_MAX / 2;
    if (l->p->room_bytes < need) l->p->room_bytes = need;
}

/* Rows [r, r + n) of y, which have the same adapter, and columns [c0, c1) of them. ready: their operands of B, stride bytes from
 * row to row, or (in_parts) a single row's parts of A x; NULL: to be made from x. Operands are made for at most WK_LORA_ROWS.
 * bare: y lacks the layer's bias. */
typedef struct part {
    const wk_step *s;
    const wk_cpu_plan *p;
    const wk_team *t;
    lora_room room;
    int64_t r, n, c0, c1;
    const uint8_t *ready;
    size_t stride;
    bool in_parts, bare;
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
    return wk_batch_row(p->batch, s->shape_out.kind, i);
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

/* Rows of x as an adapter's A takes them, stride bytes apart. */
typedef struct a_operand {
    const void *at;
    size_t stride;
    const wk_packed *a;  /* for this and all others that take them in the same form; NULL: for none yet */
} a_operand;

/* Makes it rows [r, r + n) of x for a, unless it is: where they lie, or as the product beside takes them, or made ready in room. */
static void take_x(const wk_step *s, const wk_cpu_plan *p, const wk_team *t, const wk_packed *a, int64_t r, int64_t n,
                   uint8_t *room, a_operand *to) {
    const float *x = wk_in_or_copy(p, s, t, 1) + r * s->lora_in;
    int kind = wk_act_kind(a);
    if (to->a && wk_act_kind(to->a) == kind) return;
    *to = (a_operand){ x, (size_t)s->lora_in * sizeof *x, a };
    if (!wk_packed_rounds(a)) return;
    to->stride = wk_act_bytes(a, 1);
    to->at = room;
    if (s->weight && wk_act_kind(s->weight->mat[0]) == kind) to->at = wk_operand(p, s, t) + (size_t)r * to->stride;
    else wk_act_prepare(a, x, s->lora_in, 0, n, n, room);
}

/* What B of a term is multiplied with, from n rows of A x in mid; stride bytes from one to the next. */
static void operand_of_b(const wk_cpu_plan *p, const wk_packed *b, float scale, float *mid, int64_t n, uint8_t *to, size_t stride) {
    int64_t rank = wk_packed_n_in(b);
    p->kernels->scale(scale, mid, n * rank, mid);
    for (int64_t i = 0; i < n; i++) wk_act_prepare(b, mid + i * rank, rank, 0, 1, 1, to + (size_t)i * stride);
}

/* A row's operand of a term's B begins on a line of its own. */
static size_t operand_bytes(const wk_lora_term *t) { return (wk_act_bytes(matrix(t->b), 1) + 63) / 64 * 64; }

/* So does each part of its A x. Those are float32, operands 16 bits at least: parts take at most twice the bytes. */
static int64_t part_numbers(const wk_lora_term *t) { return (wk_packed_n_out(matrix(t->a)) + 15) / 16 * 16; }
static size_t parts_bytes(const wk_lora_term *t) {
    return (size_t)(wk_linear_n_part(wk_packed_n_in(matrix(t->a))) * part_numbers(t)) * sizeof(float);
}

static void add_parts(const wk_lora_term *t, const uint8_t *parts, float *mid) {
    const wk_packed *a = matrix(t->a);
    const float *from = (const float *)(const void *)parts;
    int64_t rank = wk_packed_n_out(a), n_part = wk_linear_n_part(wk_packed_n_in(a)), ld = part_numbers(t);
    for (int64_t k = 0; k < rank; k++) mid[k] = from[k];
    for (int64_t i = 1; i < n_part; i++)
        for (int64_t k = 0; k < rank; k++) mid[k] += from[i * ld + k];
}

/* A x of the rows, from their tokens, from parts that are there, or from x. */
static void make_mid(const part *x, const wk_lora_term *t) {
    const wk_packed *a = matrix(t->a);
    float *mid = x->room.mid;
    a_operand act = { 0 };
    if (x->ready) add_parts(t, x->ready, mid);
    else if (by_token(x)) for (int64_t i = 0; i < x->n; i++) wk_packed_row(a, token_of(x, i), mid + i * wk_packed_n_in(a));
    else {
        take_x(x->s, x->p, x->t, a, x->r, x->n, x->room.x, &act);
        wk_linear_in_parts(a, act.at, act.stride, x->n, mid);
    }
}

/* What B of a term is multiplied with for all rows, *stride bytes from one to the next. */
static const uint8_t *operand_of(const part *x, const wk_lora_term *t, float scale, size_t *stride) {
    const wk_packed *b = matrix(t->b);
    *stride = x->stride;
    if (x->ready && !x->in_parts) return x->ready;
    *stride = wk_act_bytes(b, 1);
    make_mid(x, t);
    operand_of_b(x->p, b, scale, x->room.mid, x->n, x->room.ready, *stride);
    return x->room.ready;
}

/* y += B (scale * A x). */
static void add_sum(const part *x, const wk_lora_term *t, float scale) {
    size_t stride;
    const uint8_t *operand = operand_of(x, t, scale, &stride);
    wk_linear_add(matrix(t->b), operand, stride, x->n, x->c0, x->c1, y_of(x, 0), x->s->shape_out.cols);
}

/* ---- DoRA ---- */

static const float *vector(const wk_weight *w) { return w ? ((const wk_cpu_weight *)w)->vec : NULL; }

/* A term of a stack that has a gain, or NULL; *alone: no other acts, and it counts whole. */
static const wk_lora_term *with_gain(int slot, const wk_lora_set *first, bool *alone) {
    const wk_lora_term *t, *found = NULL;
    int n = 0;
    for (const wk_lora_set *set = first; set; set = set->also) {
        if (!(t = term_at(slot, set)) || !(t->a || t->w || t->gain)) continue;
        *alone = ++n == 1 && set->scale == 1;
        if (t->gain) found = t;
    }
    return found;
}

/* y += bias, or with scale -1 less it. */
static void add_bias(const part *x, const float *bias, float scale) {
    for (int64_t i = 0; bias && i < x->n; i++) {
        float *y = y_of(x, i);
        for (int64_t c = x->c0; c < x->c1; c++) y[c] += scale * bias[c];
    }
}

/* y = gain * y + bias, rounded between them as the op gain rounds while such an adapter is trained. */
static void rescale(const part *x, const float *gain, const float *bias) {
    for (int64_t i = 0; i < x->n; i++) {
        float *y = y_of(x, i);
        for (int64_t c = x->c0; c < x->c1; c++) y[c] *= gain[c];
    }
    add_bias(x, bias, 1);
}

/* y times what all gains of a stack do to W x. */
static void rescale_by_all(const part *x, const wk_lora_set *first) {
    float gain[GAIN_COLS];
    for (int64_t c0 = x->c0, n; c0 < x->c1; c0 += n) {
        n = x->c1 - c0 < GAIN_COLS ? x->c1 - c0 : GAIN_COLS;
        for (int64_t c = 0; c < n; c++) gain[c] = 1;
        for (const wk_lora_set *set = first; set; set = set->also) {
            const wk_lora_term *t = term_of(x, set);
            for (int64_t c = 0; t && t->gain && c < n; c++) gain[c] += set->scale * (vector(t->gain)[c0 + c] - 1);
        }
        for (int64_t i = 0; i < x->n; i++) {
            float *y = y_of(x, i) + c0;
            for (int64_t c = 0; c < n; c++) y[c] *= gain[c];
        }
    }
}

/* y += gain * B (scale * A x), a piece at a time. */
static void add_gained_sum(const part *x, const wk_lora_term *t, float scale) {
    float sum[GAIN_ROWS * GAIN_COLS];
    const float *gain = vector(t->gain);
    size_t stride;
    const uint8_t *operand = operand_of(x, t, scale, &stride);
    for (int64_t r = 0, n_row; r < x->n; r += n_row) {
        n_row = x->n - r < GAIN_ROWS ? x->n - r : GAIN_ROWS;
        for (int64_t c0 = x->c0, n; c0 < x->c1; c0 += n) {
            n = x->c1 - c0 < GAIN_COLS ? x->c1 - c0 : GAIN_COLS;
            memset(sum, 0, sizeof sum);
            wk_linear_add_part(matrix(t->b), operand + (size_t)r * stride, stride, n_row, c0, c0 + n, sum, GAIN_COLS);
            for (int64_t i = 0; i < n_row; i++) {
                float *y = y_of(x, r + i) + c0;
                for (int64_t c = 0; c < n; c++) y[c] += gain[c0 + c] * sum[i * GAIN_COLS + c];
            }
        }
    }
}

static void add_all(part *x, const wk_lora_set *first) {
    const wk_lora_term *t;
    for (const wk_lora_set *set = first; set; set = set->also) {
        if (!(t = term_of(x, set)) || !t->a) continue;
        if (t->gain) add_gained_sum(x, t, t->scale * set->scale);
        else add_sum(x, t, t->scale * set->scale);
        if (x->ready) x->ready += x->in_parts ? parts_bytes(t) : operand_bytes(t);
    }
}

/* y = W x, bare of the bias, or where a lora stands alone with it. */
static void adapt(part *x, const wk_lora_set *first) {
    const wk_lora_term *t = NULL, *replaced = NULL, *gained;
    bool alone = false;
    for (const wk_lora_set *set = first; set && !replaced; set = set->also) if ((t = term_of(x, set)) && t->w) replaced = t;
    if (replaced) replace(x, matrix(replaced->w));
    gained = with_gain(x->s->node->attr.slot, first, &alone);
    const float *bias = replaced ? NULL : gained ? vector(gained->bias) : x->bare ? x->s->bias : NULL;
    if (gained && !x->bare) add_bias(x, bias, -1);
    if (gained && alone) {
        if (gained->a) add_sum(x, gained, gained->scale);
        rescale(x, vector(gained->gain), bias);
        return;
    }
    if (gained) rescale_by_all(x, first);
    add_bias(x, bias, 1);
    add_all(x, first);
}

/* ---- made ahead ---- */

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

/* Operands of rows [r, r + n) with one adapter at a lora. */
static void ready_rows(const wk_step *s, const wk_cpu_plan *p, const wk_team *team, const lora_room *room, const wk_lora_ahead *l,
                       int64_t r, int64_t n, const wk_lora_set *first, a_operand *x) {
    bool all;
    size_t stride = stride_of(p->batch, l->term, &all);
    uint8_t *to = wk_slot_at(p, l->slot) + (size_t)r * stride;
    for (const wk_lora_set *set = first; set; set = set->also) {
        const wk_lora_term *t = term_at(l->term, set);
        if (!t || !t->a) continue;
        take_x(s, p, team, matrix(t->a), r, n, room->x, x);
        wk_linear_in_parts(matrix(t->a), x->at, x->stride, n, room->mid);
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
    wk_my_runs(p, t, s->shape_x, s->lora_in, &from, &to);
    for (int64_t r = from; r < to; r += n) {
        a_operand x = { 0 };
        n = run_of(p, s, r, to, &k);
        if (n > WK_LORA_ROWS) n = WK_LORA_ROWS;
        for (const wk_lora_ahead *l = p->ahead + s->first, *end = l + s->n; k >= 0 && l < end; l++)
            if (row_bytes(b->adapters[k], l->term) <= READY_BYTES) ready_rows(s, p, t, &room, l, r, n, b->adapters[k], &x);
    }
}

/* Of a single row: threads share out the parts of all. */
static void make_parts(const wk_step *s, const wk_cpu_plan *p, const wk_team *team) {
    lora_room room = room_of(p, team);
    int64_t n_part = wk_linear_n_part(s->lora_in), from, to;
    int32_t k = wk_rows_of(p, s->shape_x) ? p->batch->adapter[row_of(p, s, 0)] : -1;
    a_operand x = { 0 };
    wk_team_share(team, (int64_t)s->n * n_part, 1, &from, &to);
    for (size_t i = 0; k >= 0 && i < s->n; i++, from -= n_part, to -= n_part) {
        const wk_lora_ahead *l = &p->ahead[s->first + i];
        int64_t first = from > 0 ? from : 0, end = to < n_part ? to : n_part;
        uint8_t *y = wk_slot_at(p, l->slot);
        if (first >= end || row_bytes(p->batch->adapters[k], l->term) > READY_BYTES) continue;
        for (const wk_lora_set *set = p->batch->adapters[k]; set; set = set->also) {
            const wk_lora_term *t = term_at(l->term, set);
            if (!t || !t->a) continue;
            take_x(s, p, team, matrix(t->a), 0, 1, room.x, &x);
            wk_linear_parts(matrix(t->a), x.at, first, end, (float *)(void *)y + first * part_numbers(t), part_numbers(t));
            y += parts_bytes(t);
        }
    }
}

bool wk_lora_all_ahead(const wk_cpu_plan *p, const wk_batch *b) {
    bool all = true;
    for (size_t i = 0; all && i < p->n_ahead; i++) stride_of(b, p->ahead[i].term, &all);
    return all;
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
        else if (x->bare) add_bias(x, x->s->bias, 1);
    }
}

/* A gain is of what the product is without its bias, which a batch with one adds row by row then. */
static bool leaves_bias(const wk_step *s, const wk_batch *b) {
    bool alone, any = false;
    for (int k = 0; s->bias && !any && k < b->n_adapter; k++)
        any = with_gain(s->node->attr.slot, b->adapters[k], &alone);
    return any;
}

/* The linear before it and the lora, by columns. Where operands are not made ahead, or in parts alone, each thread makes them, and
 * once: then columns are the thread's own, not a group's piece. */
static void adapted_product(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_out), n_out = s->shape_out.cols;
    part x = { .s = s, .p = p, .t = t, .in_parts = p->mode & WK_MODE_ONE, .bare = leaves_bias(s, p->batch) };
    bool all = false;
    wk_my_cols(t, n_out, &x.c0, &x.c1);
    if (!rows || x.c0 >= x.c1) return;
    if (!(p->mode & WK_MODE_FEW)) x.stride = stride_of(p->batch, s->node->attr.slot, &all);
    if (!all) x.room = room_of(p, t);
    wk_linear(s->weight->mat[0], wk_operand(p, s, t), rows, x.c0, x.c1, wk_out(p, s, 0), n_out,
              x.bare ? NULL : s->bias);
    adapt_rows(&x, 0, rows, p->mode & WK_MODE_FEW && !x.in_parts ? NULL : wk_slot_at(p, s->slot2));
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

/* Room for the operands of rows, or the parts of one. */
static size_t ahead_bytes(const wk_cpu_plan *p, int64_t n_in) {
    size_t rows = wk_bytes3(p->base.max_rows, READY_BYTES, 1), parts = wk_bytes3(wk_linear_n_part(n_in), READY_BYTES, 2);
    return rows > parts ? rows : parts;
}

/* A step that fills slots from `first` on: by rows in one mode, by parts in another. */
static void lower_ahead(wk_lowering *l, const wk_node *n, const wk_step *product, size_t first, bool one) {
    wk_cpu_plan *p = l->p;
    wk_step *s = lora_step(l, one ? make_parts : make_ahead, n);
    if (!s) return;
    s->when = 1u << (one ? WK_MODE_LORA | WK_MODE_FEW | WK_MODE_ONE : WK_MODE_LORA);
    s->weight = product->weight;
    s->slot = product->slot;
    s->each = product->each;
    s->shape_x = l->g->value[n->in[1]].shape;
    s->first = first;
    s->n = p->n_ahead - first;
    s->copy = wk_lower_value_or_copy(l, n->in[1], one ? WK_SPLIT_NONE : WK_SPLIT_RUNS, s->lora_in);
    wk_lower_operand(l, s, one ? WK_SPLIT_NONE : WK_SPLIT_RUNS, s->lora_in);
    for (size_t i = first; i < p->n_ahead; i++) wk_lower_scratch(l, WK_SPACE_SLOT, p->ahead[i].slot, true, WK_SPLIT_NONE, 0);
}

/* The slot of a lora's operands. The first of those that share x gives each of them one, with steps that make all. */
static int ahead_slot(wk_lowering *l, const wk_node *n, const wk_step *product) {
    wk_cpu_plan *p = l->p;
    const wk_graph *g = l->g;
    size_t first = p->n_ahead;
    for (size_t i = 0; i < p->n_ahead; i++)
        if (p->ahead[i].x == n->in[1] && p->ahead[i].term == n->attr.slot) return p->ahead[i].slot;
    for (int64_t k = l->k; k < (int64_t)g->n_node && p->n_ahead < first + WK_MAX_ACCESS - 4; k++) {
        if (g->node[k].op != WK_OP_LORA || g->node[k].in[1] != n->in[1] || !wk_lora_follows(p, g, k - 1)) continue;
        if (!wk_grow((void **)&p->ahead, &p->cap_ahead, p->n_ahead + 1, sizeof *p->ahead)) {
            l->status = wk_fail_memory(sizeof *p->ahead, "a plan");
            return -1;
        }
        int slot = wk_lower_slot(l, ahead_bytes(p, g->value[n->in[1]].shape.cols), k);
        p->ahead[p->n_ahead++] = (wk_lora_ahead){ n->in[1], g->node[k].attr.slot, slot };
    }
    lower_ahead(l, n, product, first, false);
    lower_ahead(l, n, product, first, true);
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
    s->by_cols = true;
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
