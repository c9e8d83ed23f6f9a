/* grads.c: steps of the ops that are gradients of others. Sums over rows belong to one thread each and run in fixed
 * blocks added in order, so that the number of threads changes no bit. */
#include "backend/cpu/plan.h"
#include <string.h>

/* Inputs g, x, w, rstd. dx [R, n * group] by runs. */
static void norm_dx(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t group = s->weight->base.n_col, from, to;
    wk_my_runs(p, t, s->shape_out, group, &from, &to);
    for (int64_t r = from; r < to; r++)
        p->kernels->rms_norm_grad(wk_in(p, s, 0) + r * group, wk_in(p, s, 1) + r * group, s->weight->vec, wk_in(p, s, 3)[r], group,
                                  wk_out(p, s, 0) + r * group);
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

void wk_lower_rms_norm_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_vector(l, 2);
    wk_step *s = wk_lower_step(l, norm_dx);
    if (!s) return;
    s->weight = w;
    for (int i = 0; i < 2; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_RUNS, w->base.n_col);
    wk_lower_value(l, n->in[3], false, WK_SPLIT_RUNS, 1);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, w->base.n_col);
    s = wk_lower_step(l, norm_dw);
    if (!s) return;
    s->weight = w;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[3], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[1], true, WK_SPLIT_COLS, 0);
}

/* dx[R,i] = sum_o g[R,o] W[o,i] */
static void input_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_out), from, to;
    wk_team_share(t, s->shape_out.cols, 32, &from, &to);
    if (from < to && rows)
        wk_linear_input_grad(s->weight->mat[0], wk_in(p, s, 0), s->shape_in.cols, rows, from, to, wk_out(p, s, 0),
                             s->shape_out.cols);
}

void wk_lower_linear_input_grad(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_matrix(l, 1);
    wk_step *s = wk_lower_step(l, input_grad);
    if (!s) return;
    s->weight = w;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_NONE, 0);
}

/* dW[o,i] = sum_r g[r,o] x[r,i], by rows of dW. */
static void weight_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t rows = wk_rows_of(p, s->shape_in), n_in = s->shape_out.cols, from, to;
    wk_my_runs(p, t, s->shape_out, n_in, &from, &to);
    for (int64_t o = from; o < to; o++)
        p->kernels->outer(wk_in(p, s, 0) + o, s->shape_in.cols, wk_in(p, s, 1), n_in, rows, n_in, wk_out(p, s, 0) + o * n_in);
}

void wk_lower_linear_weight_grad(wk_lowering *l, const wk_node *n) {
    wk_step *s = wk_lower_step(l, weight_grad);
    if (!s) return;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->in[1], false, WK_SPLIT_NONE, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_RUNS, s->shape_out.cols);
}
