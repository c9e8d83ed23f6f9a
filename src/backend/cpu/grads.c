/* grads.c: steps of the ops that are gradients of others. Sums over rows belong to one thread each and run in fixed
 * blocks added in order, so that the number of threads changes no bit. */
#include "backend/cpu/plan.h"
#include "backend/dump.h"
#include <string.h>

/* Inputs g, x, w, rstd. dx [R, n * group] by runs. */
static void norm_dx(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t group = s->weight->base.n_col, from, to;
    wk_my_runs(p, t, s->shape_out, group, &from, &to);
    for (int64_t r = from; r < to; r++)
        p->kernels->rms_norm_grad(wk_in(p, s, 0) + r * group, wk_in(p, s, 1) + r * group, s->weight->vec, wk_in(p, s, 3)[r], group,
                                  s->adds, wk_out(p, s, 0) + r * group);
}

/* dw [1, group] = sum over runs of g * x * rstd, by columns; in blocks of 64 runs. */
static void norm_dw(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t group = s->weight->base.n_col, n = wk_rows_of(p, s->shape_out) * (s->shape_out.cols / group), from, to;
    const float *g = wk_in(p, s, 0), *x = wk_in(p, s, 1), *rstd = wk_in(p, s, 3);
    wk_my_cols(t, group, &from, &to);
    for (int64_t c = from; c < to; c++) {
        float sum = 0;
        for (int64_t r0 = 0; r0 < n; r0 += 64) {
            float part = 0;
            for (int64_t r = r0; r < n && r < r0 + 64; r++) part += g[r * group + c] * (x[r * group + c] * rstd[r]);
            sum += part;
        }
        wk_out(p, s, 1)[c] = sum;
    }
}

/* Does a node from k on, or whoever runs the plan, read v? A dump does. */
static bool is_read(const wk_graph *g, wk_val v, size_t k) {
    if (g->value[v].keep || wk_dump_wanted()) return true;
    for (; k < g->n_node; k++)
        for (int j = 0; j < g->node[k].n_in; j++) if (g->node[k].in[j] == v) return true;
    return false;
}

void wk_lower_rms_norm_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_vector(l, 2);
    wk_step *s = wk_lower_step(l, norm_dx);
    if (!s) return;
    s->weight = w;
    for (int i = 0; i < 2; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_RUNS, w->base.n_col);
    wk_lower_value(l, n->in[3], false, WK_SPLIT_RUNS, 1);
    wk_lower_sum(l, n, WK_SPLIT_RUNS, w->base.n_col);
    if (!is_read(l->g, n->out[1], (size_t)l->k + 1)) return;  /* a frozen weight's */
    s = wk_lower_step(l, norm_dw);
    if (!s) return;
    s->weight = w;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[3], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[1], true, WK_SPLIT_COLS, 0);
}

/* Not where dropout comes between, and not for a dump, which would not find the output. */
bool wk_add_follows(const wk_cpu_plan *p, const wk_graph *g, int64_t k) {
    const wk_node *n = &g->node[k], *next = n + 1;
    if (k + 1 >= (int64_t)g->n_node || next->op != WK_OP_ADD || next->in[1] != n->out[0] || wk_dump_wanted()) return false;
    for (int i = 0; i < n->n_in; i++) if (n->in[i] == next->in[0]) return false;
    if (n->op != WK_OP_LINEAR_INPUT_GRAD && n->op != WK_OP_RMS_NORM_GRAD && (n->op != WK_OP_LORA_GRAD || n->attr.dropout > 0))
        return false;
    return next->in[0] >= 0 && next->in[0] != n->out[0] && !is_read(g, n->out[0], (size_t)k + 2) && p->offset[next->in[0]] >= 0 &&
           p->offset[next->in[0]] == p->offset[next->out[0]];
}

void wk_lower_sum(wk_lowering *l, const wk_node *n, wk_split split, int64_t unit) {
    wk_val y = n->out[0];
    if (l->status) return;
    if (wk_add_follows(l->p, l->g, l->k)) {
        wk_step *s = &l->p->step[l->p->n_step - 1];
        y = n[1].out[0];
        s->adds = true;
        s->out[0] = (size_t)l->p->offset[y];
    }
    wk_lower_value(l, y, true, split, unit);
}

/* g's rows prepared, for all threads. */
static uint8_t *rounded(const wk_step *s, const wk_cpu_plan *p) { return p->mem + p->slot[s->slot].at; }

static void round_rows(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    const wk_packed *w = s->weight->mat[0];
    int64_t n_out = s->shape_in.cols, from, to;
    wk_my_runs(p, t, s->shape_in, n_out, &from, &to);
    wk_grad_prepare(w, wk_in(p, s, 0) + from * n_out, n_out, to - from, n_out,
                    rounded(s, p) + (size_t)from * wk_grad_stride(w, n_out));
}

/* dx[R,i] = sum_o g[R,o] W[o,i], by columns. */
static void input_grad_rounded(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_out), n_in = s->shape_out.cols, n_out = s->shape_in.cols, from, to;
    wk_my_cols(t, n_in, &from, &to);
    if (from < to && rows)
        wk_linear_input_grad(s->weight->mat[0], rounded(s, p), wk_grad_stride(s->weight->mat[0], n_out), rows, 0, n_out, from, to,
                             s->adds, wk_out(p, s, 0), n_in);
}

/* The same in float32: by rows where there are many, as columns come in whole tiles of weights; each thread then unpacks
 * all of them, a few per cent of its work. */
static void input_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_out), n_in = s->shape_out.cols, n_out = s->shape_in.cols, r0 = 0, r1 = rows, i0 = 0,
            i1 = n_in;
    if (rows >= 64 * t->n) wk_team_share(t, rows, 1, &r0, &r1);
    else wk_team_share(t, n_in, 64, &i0, &i1);
    if (i0 < i1 && r0 < r1)
        wk_linear_input_grad(s->weight->mat[0], wk_in(p, s, 0) + r0 * n_out, (size_t)n_out * sizeof(float), r1 - r0, 0, n_out,
                             i0, i1, s->adds,
                             wk_out(p, s, 0) + r0 * n_in, n_in);
}

static void lower_rounded(wk_lowering *l, const wk_node *n, const wk_cpu_weight *w) {
    wk_shape g = l->g->value[n->in[0]].shape;
    int64_t rows = wk_shape_rows(g, l->p->base.max_rows, l->p->base.max_rows);
    int slot = wk_lower_slot(l, wk_bytes3(rows, (int64_t)wk_grad_stride(w->mat[0], g.cols), 1), l->k);
    wk_step *s = wk_lower_step(l, round_rows);
    if (!s) return;
    s->weight = w;
    s->slot = slot;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_RUNS, g.cols);
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, true, WK_SPLIT_NONE, 0);
    s = wk_lower_step(l, input_grad_rounded);
    if (!s) return;
    s->weight = w;
    s->slot = slot;
    wk_lower_scratch(l, WK_SPACE_SLOT, slot, false, WK_SPLIT_NONE, 0);
    s->by_cols = true;
    wk_lower_sum(l, n, WK_SPLIT_COLS, 0);
}

void wk_lower_linear_input_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1);
    if (w && wk_grad_rounds(w->mat[0])) {
        lower_rounded(l, n, w);
        return;
    }
    wk_step *s = wk_lower_step(l, input_grad);
    if (!s) return;
    s->weight = w;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_sum(l, n, WK_SPLIT_NONE, 0);
}

/* dW[o,i] = sum_r g[r,o] x[r,i], by rows of dW. */
static void weight_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), n_out = s->shape_in.cols, n_in = s->shape_out.cols, from, to;
    wk_team_share(t, n_out, 4, &from, &to);
    if (from < to)
        p->kernels->cross(to - from, n_in, false, rows, wk_in(p, s, 0) + from, n_out, wk_in(p, s, 1), n_in,
                          wk_out(p, s, 0) + from * n_in, n_in);
}

void wk_lower_linear_weight_grad(wk_lowering *l, const wk_node *n) {
    if (!wk_lower_step(l, weight_grad)) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
}

/* dbias[o] = sum_r g[r,o], by columns, in order of rows. */
static void bias_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), d = s->shape_in.cols, from, to;
    wk_my_cols(t, d, &from, &to);
    if (from >= to) return;
    float *sum = wk_out(p, s, 0) + from;
    memset(sum, 0, (size_t)(to - from) * sizeof *sum);
    for (int64_t r = 0; r < rows; r++) p->kernels->add(sum, wk_in(p, s, 0) + r * d + from, to - from, sum);
}

void wk_lower_linear_bias_grad(wk_lowering *l, const wk_node *n) {
    if (!wk_lower_step(l, bias_grad)) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}

/* dE[token] += scale * g, by columns, in order of rows. */
static void embed_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, from, to;
    wk_my_cols(t, d, &from, &to);
    for (int64_t v = 0; from < to && v < s->shape_out.n; v++)
        memset(wk_out(p, s, 0) + v * d + from, 0, (size_t)(to - from) * sizeof(float));
    for (int64_t r = 0; from < to && r < p->batch->n_row; r++)
        p->kernels->axpy(s->node->attr.scale, wk_in(p, s, 0) + r * d + from, to - from,
                         wk_out(p, s, 0) + p->batch->token[r] * d + from);
}

void wk_lower_embed_grad(wk_lowering *l, const wk_node *n) {
    if (!wk_lower_step(l, embed_grad)) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_COLS, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}
