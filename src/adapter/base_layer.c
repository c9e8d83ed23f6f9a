/* base_layer.c: weights under adapted embeddings and heads, which PEFT saves beside their adapters: are they the model's own?
 * PEFT writes them for embed_tokens and lm_head among the targets (save_and_load.py, save_embedding_layers "auto") and on load puts
 * them in the place of the model's, so what it trained on, it runs on. A model's weights here are no adapter's to change: one that
 * was trained on others is refused. Load: an embedding of 0.1 to 2 GB, once, its rows shared by the threads. */
#include "adapter/reading.h"
#include <math.h>
#include <stdatomic.h>

typedef struct job {
    const wk_backend *be;
    const wk_tensor *t; int64_t first;  /* its rows from there on */
    const wk_weight *w;
    double tol;
    float *row;               /* [n_thread][2 n_col] */
    atomic_llong n_other, other;  /* rows that differ; the first of them, w->n_row: none */
} job;

/* Is row r the same in both? Half precision has steps of 6e-8 where numbers are smallest. worst: where it is not. */
static bool same_row(const job *j, int64_t r, float *there, float *here, int64_t *worst) {
    int64_t n = j->w->n_col;
    double diff = 0, norm = 0, most = -1;
    wk_tensor_row(j->t, j->first + r, there);
    j->be->ops->weight_row((wk_backend *)(uintptr_t)j->be, j->w, r, here);
    for (int64_t i = 0; i < n; i++) {
        double d = (double)there[i] - (double)here[i];
        diff += d * d;
        norm += (double)here[i] * (double)here[i];
        if (fabs(d) > most) most = fabs(d), *worst = i;
    }
    return diff <= j->tol * j->tol * norm + (double)n * 6e-8 * 6e-8;
}

static void rows(const wk_team *team, void *arg) {
    job *j = arg;
    float *row = j->row + (size_t)team->i * 2 * (size_t)j->w->n_col;
    int64_t from, to, worst = 0;
    wk_team_share(team, j->w->n_row, 1, &from, &to);
    for (int64_t r = from; r < to; r++) {
        if (same_row(j, r, row, row + j->w->n_col, &worst)) continue;
        atomic_fetch_add(&j->n_other, 1);
        long long was = atomic_load(&j->other);
        while (r < was && !atomic_compare_exchange_weak(&j->other, &was, r)) {}
    }
}

wick_status wk_reading_compare(wk_reading *r, const wk_tensor *t, const wk_lora_found *f, const wk_weight *w) {
    const wk_backend *be = r->m->backend;
    size_t n_thread = be->pool ? (size_t)wk_pool_n(be->pool) : 1, n;
    /* Rounding changes a row by a hundredth of its length at most, of two bits by a third or more; rows of different models lie
     * one and a half lengths apart. */
    job j = { .be = be, .t = t, .first = f->first, .w = w, .tol = wk_dtypes[w->dtype].quantised ? 0.75 : 0.02, .other = w->n_row };
    if (!wk_mul_size(2 * n_thread, (size_t)w->n_col, &n) || !(j.row = wk_alloc_array(n, sizeof *j.row)))
        return wk_fail_memory(n_thread * (size_t)w->n_col * sizeof *j.row, "rows of a weight");
    wk_share_out(be->pool, rows, &j);
    int64_t other = atomic_load(&j.other), worst = 0;
    if (other < w->n_row) {
        same_row(&j, other, j.row, j.row + w->n_col, &worst);
        wk_reading_problem(r, true, t->name, "is what it was trained on, and this model has another: [%lld, %lld] is %g, %g is "
                           "expected; %lld of %lld rows differ", (long long)(f->first + other), (long long)worst,
                           (double)j.row[worst], (double)j.row[w->n_col + worst], (long long)atomic_load(&j.n_other),
                           (long long)w->n_row);
    }
    wk_free(j.row);
    return WICK_OK;
}
