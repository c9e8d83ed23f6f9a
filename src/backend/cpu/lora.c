/* lora.c: steps of lora: y = gain * base + offset + scale * B (A x), by each row's adapter and those stacked on it.
 * Load: for each projection of each row that has an adapter, a few per cent of the product beside it. Rows without one cost
 * nothing: base lies where y will. */
#include "backend/cpu/plan.h"

enum { LORA_COLS = 1024 };  /* columns of y at a time */

/* Where base does not lie in y's place. */
static void copy_base(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d) p->kernels->scale(1, wk_in(p, s, 0) + at, to - from, wk_out(p, s, 0) + at);
}

/* Rows [r, r + n) of y, which have the same adapter, and columns [c0, c1) of them; n <= WK_LORA_ROWS. */
typedef struct part { const wk_step *s; const wk_cpu_plan *p; float *mid, *gain; int64_t r, n, c0, c1; } part;

static const wk_lora_term *term_of(const part *x, const wk_lora_set *set) {
    int slot = x->s->node->attr.slot;
    return set->scale != 0 && slot < set->n_slot ? &set->slot[slot] : NULL;
}
static const wk_packed *matrix(const wk_weight *w) { return ((const wk_cpu_weight *)w)->mat[0]; }
static float *y_of(const part *x, int64_t i) { return wk_out(x->p, x->s, 0) + (x->r + i) * x->s->shape_out.cols; }
static const float *x_of(const part *x) { return wk_in(x->p, x->s, 1) + x->r * x->s->lora_in; }
static bool by_token(const part *x) { return x->s->node->in[1] < 0; }
static int64_t row_of(const wk_cpu_plan *p, const wk_step *s, int64_t i) {
    return s->shape_out.kind == WK_ROWS_OUT ? p->batch->out_row[i] : i;
}
static int32_t token_of(const part *x, int64_t i) { return x->p->batch->token[row_of(x->p, x->s, x->r + i)]; }

/* A head or an embedding in place of the model's own. */
static void replace(const part *x, const wk_packed *w) {
    int64_t n_out = x->s->shape_out.cols;
    if (!by_token(x)) wk_linear(w, x_of(x), x->n, x->c0, x->c1, y_of(x, 0), n_out, NULL);
    else for (int64_t i = 0; i < x->n; i++) wk_packed_row(w, token_of(x, i), y_of(x, i));
}

/* y = gain * y + offset in columns [c0, c1), of all adapters together; false: none has a gain. */
static bool rescale(const part *x, const wk_lora_set *first, int64_t c0, int64_t c1) {
    float *gain = x->gain, *offset = x->gain + LORA_COLS;
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

/* y += B (scale * A x). Both are float matrices, for which rows of x are ready as they lie. */
static void add_sum(const part *x, const wk_lora_term *t, float scale) {
    const wk_packed *a = matrix(t->a), *b = matrix(t->b);
    int64_t rank = wk_packed_n_in(b);
    if (by_token(x)) for (int64_t i = 0; i < x->n; i++) wk_packed_row(a, token_of(x, i), x->mid + i * rank);
    else wk_linear(a, x_of(x), x->n, 0, rank, x->mid, rank, NULL);
    x->p->kernels->scale(scale, x->mid, x->n * rank, x->mid);
    wk_linear_add(b, x->mid, x->n, x->c0, x->c1, y_of(x, 0), x->s->shape_out.cols);
}

static void adapt(const part *x, const wk_lora_set *first) {
    const wk_lora_term *t = NULL, *whole = NULL;
    for (const wk_lora_set *set = first; set && !whole; set = set->also) if ((t = term_of(x, set)) && t->w) whole = t;
    if (whole) replace(x, matrix(whole->w));
    for (int64_t c = x->c0; c < x->c1 && rescale(x, first, c, x->c1 - c < LORA_COLS ? x->c1 : c + LORA_COLS);) c += LORA_COLS;
    for (const wk_lora_set *set = first; set; set = set->also)
        if ((t = term_of(x, set)) && t->a) add_sum(x, t, t->scale * set->scale);
}

/* By columns every thread makes A x for itself and adds to its own columns: for few rows, and for heads. Else each takes its own
 * rows. */
static bool by_columns(const wk_step *s, unsigned few) { return s->node->in[1] >= 0 && (few || s->shape_out.kind == WK_ROWS_OUT); }

static void lora(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_batch *b = p->batch;
    float *room = wk_room(p, t);
    part x = { .s = s, .p = p, .mid = room, .gain = room + WK_LORA_ROWS * WK_MAX_RANK, .c1 = s->shape_out.cols };
    int64_t end = wk_rows_of(p, s->shape_out), next;
    if (by_columns(s, p->mode & WK_MODE_FEW)) wk_my_cols(t, s->shape_out.cols, &x.c0, &x.c1);
    else wk_my_runs(p, t, s->shape_out, s->shape_out.cols, &x.r, &end);
    for (; x.c0 < x.c1 && x.r < end; x.r = next) {
        int32_t k = b->adapter[row_of(p, s, x.r)];
        for (next = x.r + 1; next < end && b->adapter[row_of(p, s, next)] == k && next - x.r < WK_LORA_ROWS;) next++;
        x.n = next - x.r;
        if (k >= 0) adapt(&x, b->adapters[k]);
    }
}

void wk_lower_lora(wk_lowering *l, const wk_node *n) {
    wk_cpu_plan *p = l->p;
    if (n->in[2] >= 0) {
        wk_lower_lora_trained(l, n);
        return;
    }
    if (!l->status && p->offset[n->in[0]] != p->offset[n->out[0]]) {
        if (wk_lower_step(l, copy_base)) {
            wk_lower_value(l, n->in[0], false, WK_SPLIT_COLS, 0);
            wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
        }
    }
    for (unsigned few = 0; few < 2; few++) {
        wk_step *s = wk_lower_step(l, lora);
        if (!s) return;
        s->when = 1u << (few ? WK_MODE_FEW | WK_MODE_LORA : WK_MODE_LORA);
        bool cols = by_columns(s, few);
        wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
        wk_lower_value(l, n->out[0], true, cols ? WK_SPLIT_COLS : WK_SPLIT_RUNS, cols ? 0 : s->shape_out.cols);
        s->lora_in = n->in[1] >= 0 ? l->g->value[n->in[1]].shape.cols : 0;
        size_t need = wk_bytes3(WK_LORA_ROWS * WK_MAX_RANK + 2 * LORA_COLS, 1, sizeof(float));
        if (p->room_bytes < need) p->room_bytes = need;
    }
}
