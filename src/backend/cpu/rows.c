/* rows.c: steps of the ops that work on rows by themselves: embed, rms_norm, rope, glu, add, softcap, select_rows; and of
 * those of their gradients that do.
 * Elementwise ones divide columns as products do, so that a thread goes on with what it has just made. */
#include "backend/cpu/plan.h"
#include <math.h>
#include <string.h>

/* y[T,d] = E[token] * scale */
static void embed(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, from, to;
    float scale = s->node->attr.scale;
    wk_my_runs(p, t, s->shape_out, d, &from, &to);
    for (int64_t r = from; r < to; r++) {
        float *y = wk_out(p, s, 0) + r * d;
        wk_packed_row(s->weight->mat[0], p->batch->token[r], y);
        if (scale != 1) p->kernels->scale(scale, y, d, y);
    }
}

void wk_lower_embed(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 0);
    wk_step *s = wk_lower_step(l, embed);
    if (!s) return;
    s->weight = w;
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, s->shape_out.cols);
}

/* x and y [R, n * group], w [group]; saved: rstd [R, n] */
static void rms_norm(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t group = s->weight->base.n_col, from = 0, to = wk_rows_of(p, s->shape_in);
    float *y = wk_each(p, s) ? (float *)(void *)wk_own_slot(p, t, s->copy) : wk_out(p, s, 0);
    if (!wk_each(p, s)) wk_my_runs(p, t, s->shape_in, group, &from, &to);
    for (int64_t r = from; r < to; r++) {
        float rstd = p->kernels->rms_norm(wk_in(p, s, 0) + r * group, s->weight->vec, s->node->attr.eps, group, y + r * group);
        if (s->node->n_out > 1) wk_out(p, s, 1)[r] = rstd;
    }
}

/* A slot for each thread's copy of what the norm makes, if it is a row of which products alone are made; else -1. */
static int copy_slot(wk_lowering *l, const wk_node *n) {
    wk_shape y = l->g->value[n->out[0]].shape;
    int64_t last = l->status || n->n_out > 1 || n->attr.group ? -1 : wk_last_product(l, n->out[0]);
    if (last < 0 || wk_shape_rows(y, 1, 1) != 1) return -1;
    int slot = wk_lower_slot(l, 0, last);
    wk_lower_own(l, slot, wk_bytes3(y.cols, sizeof(float), 1));
    if (slot >= 0) wk_lower_ready(l, (wk_ready){ n->out[0], WK_NO_VAL, WK_READY_COPY, slot });
    return slot;
}

void wk_lower_rms_norm(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_vector(l, 1);
    int copy = copy_slot(l, n);
    wk_step *s = wk_lower_step(l, rms_norm);
    if (!s) return;
    s->weight = w;
    s->copy = copy;
    s->each = copy >= 0;
    if (s->each) {
        l->when = WK_WITH_ONE;
        wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
        wk_lower_scratch(l, WK_SPACE_SLOT, copy, true, WK_SPLIT_EACH, 0);
        l->when = WK_ALL_MODES & ~WK_WITH_ONE;
    }
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, w->base.n_col);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, w->base.n_col);
    if (n->n_out > 1) wk_lower_value(l, n->out[1], true, WK_SPLIT_RUNS, 1);
}

/* cos and sin of this run's positions, in double: angles reach 10^6 and more. */
static void angles(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_rope_table *table = &p->rope[s->table];
    float *cs = (float *)(void *)(p->mem + table->at), *sn = (float *)(void *)(p->mem + table->sin_at);
    int64_t from, to;
    wk_team_share(t, p->batch->n_row, 1, &from, &to);
    const int32_t *set = s->weight->base.n_col > table->half ? p->batch->rope : NULL;
    for (int64_t r = from; r < to; r++)
        for (int64_t j = 0; j < table->half; j++) {
            double c, d;
            sincos((double)p->batch->pos[r] * (double)s->weight->vec[(set ? set[r] * table->half : 0) + j], &d, &c);
            cs[r * table->half + j] = (float)(c * (double)table->mscale);
            sn[r * table->half + j] = (float)(d * (double)table->mscale);
        }
}

static void rope(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_rope_table *table = &p->rope[s->table];
    const float *cs = (const float *)(void *)(p->mem + table->at), *sn = (const float *)(void *)(p->mem + table->sin_at);
    int64_t n_head = s->node->attr.n_head, hd = s->shape_in.cols / n_head, from, to;
    wk_my_runs(p, t, s->shape_in, hd, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t at = wk_batch_row(p->batch, s->shape_in.kind, i / n_head) * table->half;
        p->kernels->rope(wk_in(p, s, 0) + i * hd, cs + at, sn + at, s->node->attr.inverse, table->half, hd,
                         wk_out(p, s, 0) + i * hd);
    }
}

/* The table for these frequencies; the first rope that needs it adds a step that fills it. */
static int rope_table(wk_lowering *l, wk_val freq, const wk_cpu_weight *w, const wk_attr *a) {
    wk_cpu_plan *p = l->p;
    for (size_t i = 0; i < p->n_rope; i++)
        if (p->rope[i].freq == freq && p->rope[i].half == a->rot_dim / 2 && p->rope[i].mscale == a->mscale) return (int)i;
    if (!wk_grow((void **)&p->rope, &p->cap_rope, p->n_rope + 1, sizeof *p->rope)) {
        l->status = wk_fail_memory(sizeof *p->rope, "a plan");
        return -1;
    }
    int i = (int)p->n_rope++;
    size_t n_bytes = wk_bytes3(p->base.max_rows, a->rot_dim / 2, sizeof(float));
    p->rope[i] = (wk_rope_table){ freq, a->rot_dim / 2, a->mscale, wk_lower_place(l, n_bytes), wk_lower_place(l, n_bytes) };
    wk_step *s = wk_lower_step(l, angles);
    if (!s) return -1;
    s->weight = w;
    s->table = i;
    wk_lower_scratch(l, WK_SPACE_ROPE, i, true, WK_SPLIT_NONE, 0);
    return i;
}

void wk_lower_rope(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_vector(l, 1);
    int table = w ? rope_table(l, n->in[1], w, &n->attr) : -1;
    wk_step *s = wk_lower_step(l, rope);
    if (!s) return;
    s->weight = w;
    s->table = table;
    wk_lower_scratch(l, WK_SPACE_ROPE, table, false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, s->shape_in.cols / n->attr.n_head);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, s->shape_in.cols / n->attr.n_head);
}

/* Steps over a thread's columns of every row. */

/* Asks for the next row's: a piece is too short for the processor to see where the one after it lies. */
static void ask_for(const float *x, int64_t n) {
    enum { MOST = 1024 };  /* of more it sees enough, and the row at hand is to stay in L1 */
    for (int64_t i = 0; i < n && i < MOST; i += 16) __builtin_prefetch(x + i);
}

static void glu(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d) {
        const float *gate = wk_in(p, s, 0) + at, *up = wk_in(p, s, 1) + at;
        if (at + d < rows * d) ask_for(gate + d, to - from), ask_for(up + d, to - from);
        p->kernels->glu(s->node->attr.act, gate, up, to - from, wk_out(p, s, 0) + at);
    }
}

static void add(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d)
        p->kernels->add(wk_in(p, s, 0) + at, wk_in(p, s, 1) + at, to - from, wk_out(p, s, 0) + at);
}

static void softcap(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d)
        p->kernels->softcap(s->node->attr.cap, wk_in(p, s, 0) + at, to - from, wk_out(p, s, 0) + at);
}

static void select_rows(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t i = 0; from < to && i < p->batch->n_out; i++)
        memcpy(wk_out(p, s, 0) + i * d + from, wk_in(p, s, 0) + p->batch->out_row[i] * d + from,
               (size_t)(to - from) * sizeof(float));
}

static void by_columns(wk_lowering *l, const wk_node *n, wk_step_fn run) {
    wk_step *s = wk_lower_step(l, run);
    if (!s) return;
    s->by_cols = true;
    for (int i = 0; i < n->n_in; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_COLS, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}

void wk_lower_glu(wk_lowering *l, const wk_node *n) { by_columns(l, n, glu); }
void wk_lower_add(wk_lowering *l, const wk_node *n) {
    if (l->k == 0 || !wk_add_follows(l->p, l->g, l->k - 1)) by_columns(l, n, add);
}
void wk_lower_softcap(wk_lowering *l, const wk_node *n) { by_columns(l, n, softcap); }
void wk_lower_select_rows(wk_lowering *l, const wk_node *n) { by_columns(l, n, select_rows); }

/* ---- gradients: inputs g, and what each needs ---- */

/* Inputs g, gate, up. */
static void glu_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d)
        p->kernels->glu_grad(s->node->attr.act, wk_in(p, s, 0) + at, wk_in(p, s, 1) + at, wk_in(p, s, 2) + at, to - from,
                             wk_out(p, s, 0) + at, wk_out(p, s, 1) + at);
}

/* Inputs g, y. */
static void softcap_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t at = from; at < rows * d; at += d)
        p->kernels->softcap_grad(s->node->attr.cap, wk_in(p, s, 0) + at, wk_in(p, s, 1) + at, to - from, wk_out(p, s, 0) + at);
}

static void select_rows_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_batch *b = p->batch;
    int64_t d = s->shape_out.cols, from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t r = 0, i = 0; from < to && r < b->n_row; r++) {
        float *y = wk_out(p, s, 0) + r * d + from;
        bool wanted = i < b->n_out && b->out_row[i] == r;
        if (wanted) memcpy(y, wk_in(p, s, 0) + i++ * d + from, (size_t)(to - from) * sizeof *y);
        else memset(y, 0, (size_t)(to - from) * sizeof *y);
    }
}

void wk_lower_glu_grad(wk_lowering *l, const wk_node *n) {
    by_columns(l, n, glu_grad);
    wk_lower_value(l, n->out[1], true, WK_SPLIT_COLS, 0);
}
void wk_lower_softcap_grad(wk_lowering *l, const wk_node *n) { by_columns(l, n, softcap_grad); }
void wk_lower_select_rows_grad(wk_lowering *l, const wk_node *n) { by_columns(l, n, select_rows_grad); }
