/* update.c: what becomes of a micro-batch's gradients: gathered, measured, given to the optimiser, written to the backend. Threads
 * share out numbers; sums run in blocks of a fixed size, added in order, so that the number of threads changes no bit.
 * Load: some passes over a few million numbers a step; one thread would take 3 % of a small model's. */
#include "train/trainer_parts.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

static void share(const wk_team *team, size_t n, size_t *from, size_t *to) {
    int64_t a, b;
    wk_team_share(team, (int64_t)n, 16, &a, &b);
    *from = (size_t)a;
    *to = (size_t)b;
}

/* ---- gradients ---- */

static void gather(const wk_team *team, void *arg) {
    wk_trainer *t = arg;
    const wk_train_pass *p = &t->train;
    const wk_backend_ops *ops = t->m->backend->ops;
    for (size_t i = 0; i < t->n_param; i++) {
        const wk_trained *x = &t->param[i];
        float *g = t->g + x->at;
        size_t from, to;
        if (p->t.grad[i] < 0) continue;
        share(team, x->n, &from, &to);
        const float *v = ops->view ? ops->view(p->plan, p->t.grad[i], 0) : t->row;
        if (!ops->view) ops->read(p->plan, p->t.grad[i], 0, p->t.g->value[p->t.grad[i]].shape.n, t->row);
        if (t->pub[i].kind == WK_PARAM_MAGNITUDE)  /* of the gain m / length: d m = d gain / length */
            for (size_t k = from; k < to; k++) g[k] += v[k] / x->length[k];
        else for (size_t k = from; k < to; k++) g[k] += v[k];
    }
}

void wk_train_gather(wk_trainer *t) {
    const wk_backend *be = t->m->backend;
    wk_share_out(be->ops->view ? be->pool : NULL, gather, t);  /* copies have one place */
}

void wk_train_clear(wk_trainer *t) {
    memset(t->g, 0, t->n * sizeof *t->g);
    t->n_gathered = 0;
}

static void square(const wk_team *team, void *arg) {
    wk_trainer *t = arg;
    int64_t from, to;
    wk_team_share(team, (int64_t)wk_train_n_square(t->n), 1, &from, &to);
    for (size_t i = (size_t)from; i < (size_t)to; i++) {
        size_t at = i * WK_TRAIN_SQUARE, left = t->n - at;
        t->square[i] = wk_sum_squares(t->g + at, left < WK_TRAIN_SQUARE ? left : WK_TRAIN_SQUARE);
    }
}

double wk_train_norm(wk_trainer *t) {
    double sum = 0, by = 1 / (double)t->n_gathered;
    wk_pool_run(t->m->backend->pool, square, t);
    for (size_t i = 0; i < wk_train_n_square(t->n); i++) sum += t->square[i];
    return sqrt(sum) * by;
}

/* ---- parameters ---- */

wick_status wk_trained_write(wk_trainer *t, size_t i) {
    const wk_train_param *p = &t->pub[i];
    const wk_trained *x = &t->param[i];
    const float *w = p->w;
    if (p->kind == WK_PARAM_MAGNITUDE) {
        for (size_t k = 0; k < x->n; k++) t->row[k] = p->w[k] / x->length[k];
        w = t->row;
    }
    return t->m->backend->ops->weight_write(t->m->backend, x->weight, 0, p->n_row, w);
}

typedef struct update {
    wk_trainer *t;
    double rate;
    float factor;           /* of the gathered gradients */
    atomic_size_t written;  /* parameters that threads took to write */
    atomic_bool failed;
} update;

/* A share of the numbers moves and is clear of its gradient; then whole parameters go to the backend. Not magnitudes, which take
 * the lengths of what the others have become. */
static void move(const wk_team *team, void *arg) {
    update *u = arg;
    wk_trainer *t = u->t;
    size_t from, to;
    share(team, t->n, &from, &to);
    for (size_t k = from; k < to; k++) t->g[k] *= u->factor;
    wk_optimizer_step(&t->o.optimizer, u->rate, t->n_update, t->w + from, t->g + from, t->m1 ? t->m1 + from : NULL,
                      t->m2 ? t->m2 + from : NULL, to - from);
    memset(t->g + from, 0, (to - from) * sizeof *t->g);
    wk_team_barrier(team);
    for (size_t i; (i = atomic_fetch_add(&u->written, 1)) < t->n_param;)
        if (t->pub[i].kind != WK_PARAM_MAGNITUDE && wk_trained_write(t, i)) atomic_store(&u->failed, true);
}

/* Magnitudes, and after a failure all of them, for its message. */
static wick_status write_rest(wk_trainer *t, bool all) {
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < t->n_param; i++) {
        bool magnitude = t->pub[i].kind == WK_PARAM_MAGNITUDE;
        if (magnitude) st = wk_dora_lengths(t, i);
        if (!st && (magnitude || all)) st = wk_trained_write(t, i);
    }
    return st;
}

wick_status wk_trainer_update(wk_trainer *t, double rate, double *grad_norm) {
    if (!t->n_gathered) return wk_fail(WICK_E_ARG, "an update without a micro-batch before it");
    if (!isfinite(rate)) return wk_fail(WICK_E_ARG, "a learning rate of %g", rate);
    double norm = wk_train_norm(t), by = 1 / (double)t->n_gathered;
    if (!isfinite(norm)) {
        wk_train_clear(t);
        return wk_fail(WICK_E_NUMERIC, "the gradient's norm is %g", norm);
    }
    update u = { .t = t, .rate = rate, .factor = (float)(by * wk_clip_factor(norm, t->o.max_grad_norm)) };
    t->n_update++;
    t->n_gathered = 0;
    if (grad_norm) *grad_norm = norm;
    wk_pool_run(t->m->backend->pool, move, &u);
    return write_rest(t, atomic_load(&u.failed));
}
