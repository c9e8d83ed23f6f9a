/* dora.c: lengths of the rows of W + s B A, by which DoRA divides: Liu et al. 2024, "DoRA: weight-decomposed low-rank adaptation",
 * eq. 5; that the gradient takes them as constants: section 4.3. They change with A and B, so with each update.
 * Load: every adapted weight is decoded and B A multiplied out once an update: rank times as much work as there are weights. */
#include "train/trainer_parts.h"
#include <math.h>
#include <stdatomic.h>

typedef struct job {
    wk_trainer *t;
    const wk_train_param *a, *b;
    wk_trained *x;
    float scale;
    atomic_llong bad;     /* a row that has no length; -1: none */
} job;

static void rows(const wk_team *team, void *arg) {
    job *j = arg;
    int64_t rank = j->a->n_row, n_in = j->a->n_col, from, to;
    float *row = j->t->dora_row + (size_t)team->i * j->t->dora_col;
    wk_backend *be = j->t->m->backend;
    wk_team_share(team, j->b->n_row, 1, &from, &to);
    for (int64_t o = from; o < to; o++) {
        be->ops->weight_row(be, j->x->base, o, row);
        j->x->length[o] = wk_dora_length(row, j->a->w, j->b->w + o * rank, rank, n_in, j->scale);
        if (!(j->x->length[o] > 0) || !isfinite(j->x->length[o])) atomic_store(&j->bad, (long long)o);
    }
}

wick_status wk_dora_lengths(wk_trainer *t, size_t i) {
    const wk_train_param *p = &t->pub[i];
    job j = { t, &t->pub[i - 2], &t->pub[i - 1], &t->param[i], t->slot[wk_model_slot(t->m, p->layer, p->role)].scale, -1 };
    wk_pool_run(t->m->backend->pool, rows, &j);
    long long bad = atomic_load(&j.bad);
    if (bad < 0) return WICK_OK;
    return wk_fail(WICK_E_NUMERIC, "%s of layer %d: row %lld of the adapted weight has length %g, DoRA divides by it",
                   wk_roles[p->role].gguf, p->layer, bad, (double)t->param[i].length[bad]);
}
