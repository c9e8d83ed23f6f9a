/* gain.c: steps of the op gain and its gradient, by columns. */
#include "backend/cpu/plan.h"

static void gain(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_out.cols, rows = wk_rows_of(p, s->shape_out), from, to;
    const float *w = s->weight->vec, *b = s->bias;
    wk_my_cols(t, d, &from, &to);
    for (int64_t r = 0; r < rows; r++) {
        const float *x = wk_in(p, s, 0) + r * d;
        float *y = wk_out(p, s, 0) + r * d;
        for (int64_t c = from; c < to; c++) y[c] = x[c] * w[c];
        for (int64_t c = from; b && c < to; c++) y[c] += b[c];
    }
}

void wk_lower_gain(wk_lowering *l, const wk_node *n) {
    const wk_cpu_weight *w = wk_lower_vector(l, 1), *b = n->in[2] >= 0 ? wk_lower_vector(l, 2) : NULL;
    wk_step *s = wk_lower_step(l, gain);
    if (!s) return;
    s->weight = w;
    s->bias = b ? b->vec : NULL;
    wk_lower_value(l, n->in[0], false, WK_SPLIT_COLS, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}

/* Rows are added in blocks of 64, so that many of them do not lose the small ones. */
static void gain_grad(const wk_step *s, const wk_cpu_plan *p, const wk_team *t) {
    int64_t d = s->shape_in.cols, rows = wk_rows_of(p, s->shape_in), from, to;
    const float *g = wk_in(p, s, 0), *x = wk_in(p, s, 1);
    wk_my_cols(t, d, &from, &to);
    for (int64_t c = from; c < to; c++) {
        float sum = 0;
        for (int64_t r0 = 0; r0 < rows; r0 += 64) {
            float part = 0;
            for (int64_t r = r0; r < rows && r < r0 + 64; r++) part += g[r * d + c] * x[r * d + c];
            sum += part;
        }
        wk_out(p, s, 0)[c] = sum;
    }
}

void wk_lower_gain_grad(wk_lowering *l, const wk_node *n) {
    wk_step *s = wk_lower_step(l, gain_grad);
    if (!s) return;
    for (int i = 0; i < 2; i++) wk_lower_value(l, n->in[i], false, WK_SPLIT_COLS, 0);
    wk_lower_value(l, n->out[0], true, WK_SPLIT_COLS, 0);
}
