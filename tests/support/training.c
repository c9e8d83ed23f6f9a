/* training.c: see training.h. */
#include "support/training.h"
#include <stdlib.h>
#include <string.h>

wk_model *train_model(const char *path, int n_threads) {
    wk_backend *be = NULL;
    wk_model *m = NULL;
    ok(n_threads ? wk_cpu_new(n_threads, &be) : wk_reference_new(true, &be));
    ok(wk_model_load(path, be, false, NULL, NULL, NULL, &m));
    return m;
}

wk_trainer *train_new(wk_model *m, const wk_trainer_options *o, const wk_lora_data *initial) {
    wk_trainer *t = NULL;
    ok(wk_trainer_new(m, o, initial, &t));
    return t;
}

void train_add(train_rows *b, const int32_t *ids, const int32_t *mask, int n) {
    assert_true(b->r.n_row + n <= TRAIN_ROWS);
    for (int i = 0; i < n; i++) {
        int at = b->r.n_row++;
        bool learnt = i + 1 < n && (!mask || mask[i + 1]);
        b->token[at] = ids[i];
        b->pos[at] = i;
        b->seq[at] = b->r.n_seq;
        b->label[at] = learnt ? ids[i + 1] : WK_NO_LABEL;
    }
    b->r = (wk_train_rows){ b->r.n_row, b->r.n_seq + 1, b->token, b->pos, b->seq, b->label };
}

void train_make(train_rows *b, uint32_t seed, int n, int n_vocab) {
    int32_t ids[TRAIN_ROWS];
    uint32_t x = seed * 2654435761u + 1;
    for (int i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        ids[i] = (int32_t)((x >> 8) % (uint32_t)n_vocab);
    }
    train_add(b, ids, NULL, n);
}

float *train_copy(const wk_trainer *t, size_t *n) {
    size_t n_param;
    const wk_train_param *p = wk_trainer_params(t, &n_param);
    *n = (size_t)wk_trainer_n_param(t);
    float *all = malloc(*n * sizeof *all), *at = all;
    for (size_t i = 0; i < n_param; at += p[i].n_row * p[i].n_col, i++)
        memcpy(at, p[i].w, (size_t)(p[i].n_row * p[i].n_col) * sizeof *at);
    return all;
}
