/* guess.c: see guess.h. Load: once a pass; a scan of the context's tokens, or a few passes of a small model. */
#include "generate/guess.h"
#include "generate/generate.h"
#include <string.h>

enum { MIN_RUN = 2, MAX_RUN = 4, FIRST = 4 };

void wk_guess_begin(wk_guess *g, wick_session *draft, int max) {
    *g = (wk_guess){ .draft = draft, .max = max, .want = max < FIRST ? max : FIRST };
}

bool wk_guess_met(wk_guess *g, int32_t id) {
    if (g->right == g->n || g->id[g->right] != id) return false;
    g->right++;
    g->n_right++;
    return true;
}

/* How many of the tokens before a and before b are the same, at most MAX_RUN. */
static int run_before(const int32_t *ids, int a, int b) {
    int k = 0;
    while (k < MAX_RUN && k < a && ids[a - 1 - k] == ids[b - 1 - k]) k++;
    return k;
}

int wk_guess_lookup(const int32_t *ids, int n, int max, int32_t *out) {
    int best = MIN_RUN - 1, at = 0;
    for (int i = n - 1; i >= MIN_RUN && best < MAX_RUN; i--) {
        int k = run_before(ids, i, n);
        if (k > best) {
            best = k;
            at = i;
        }
    }
    if (!at) return 0;
    for (int i = 0; i < max; i++) out[i] = at + i < n ? ids[at + i] : out[at + i - n];  /* a repeat may run into its own guesses */
    return max;
}

static int32_t likeliest(const float *logits, int32_t n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

/* The draft reads what it has not read yet, then goes on greedily. Where its context has no room it guesses nothing. */
static wick_status ask(wick_session *d, const int32_t *ids, int n, int max, int32_t *out, int *n_out) {
    int common = 0, have = d->n_ids < n - 1 ? d->n_ids : n - 1;
    *n_out = 0;
    if (n + max > d->n_ctx) return WICK_OK;
    while (common < have && d->ids[common] == ids[common]) common++;
    wk_session_keep(d, common);
    wick_status st = wk_session_feed(d, ids + common, n - common);
    while (!st && *n_out < max) {
        out[(*n_out)++] = likeliest(wk_runner_logits(d->runner, 0), (int32_t)d->model->m->hp.n_vocab);
        if (*n_out < max) st = wk_session_feed(d, &out[*n_out - 1], 1);
    }
    return st;
}

/* All right: the next may be twice as many; else as many as were, and one more. */
static void adapt(wk_guess *g) {
    if (!g->n) return;
    g->want = g->right == g->n ? 2 * g->n : g->right + 1;
    if (g->want > g->max) g->want = g->max;
}

wick_status wk_guess_next(wk_guess *g, const int32_t *ids, int n, int room) {
    wick_status st = WICK_OK;
    adapt(g);
    int max = g->want < room ? g->want : room;
    g->n = g->right = 0;
    if (max < 1) return WICK_OK;
    if (g->draft) st = ask(g->draft, ids, n, max, g->id, &g->n);
    else g->n = wk_guess_lookup(ids, n, max, g->id);
    if (st) g->n = 0;  /* they are not fed */
    g->n_made += g->n;
    return st;
}
