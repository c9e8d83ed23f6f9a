/* pack.c: the order of samples and their rows. Load: once a micro-batch, some thousand rows. */
#include "train/pack.h"
#include "generate/random.h"
#include <string.h>

/* ---- order ---- */

/* A whole number below n, the i-th of an epoch's stream. A product's high half in place of a remainder: Lemire 2019, "Fast random
 * integer generation in an interval", section 3; its bias is below n / 2^64. */
static uint64_t draw(uint64_t seed, uint64_t epoch, uint64_t i, uint64_t n) {
    uint32_t counter[4] = { (uint32_t)i, (uint32_t)(i >> 32), (uint32_t)epoch, (uint32_t)(epoch >> 32) }, r[4];
    wk_philox(counter, (uint32_t[2]){ (uint32_t)seed, (uint32_t)(seed >> 32) }, r);
    uint64_t x = (uint64_t)r[1] << 32 | r[0];
    return (uint64_t)(((unsigned __int128)x * n) >> 64);
}

/* Fisher and Yates's shuffle (Knuth, TAOCP volume 2, 3.4.2, algorithm P). */
static void shuffle(wk_order *o) {
    uint32_t n = (uint32_t)o->data->n;
    for (uint32_t i = 0; i < n; i++) o->perm[i] = i;
    for (uint32_t i = n; o->shuffle && i > 1; i--) {
        uint32_t j = (uint32_t)draw(o->seed, o->epoch, i, i), t = o->perm[i - 1];
        o->perm[i - 1] = o->perm[j];
        o->perm[j] = t;
    }
}

wick_status wk_order_sample(wk_order *o, uint64_t at, const wk_sample **out) {
    uint64_t n = o->data->n, epoch = at / n;
    if (!o->perm) {
        o->perm = wk_alloc_array(n, sizeof *o->perm);
        if (!o->perm) return wk_fail_memory(n * sizeof *o->perm, "the order of samples");
        o->epoch = UINT64_MAX;
    }
    if (o->epoch != epoch) {
        o->epoch = epoch;
        shuffle(o);
    }
    *out = &o->data->sample[o->perm[at % n]];
    return WICK_OK;
}

void wk_order_free(wk_order *o) {
    wk_free(o->perm);
    o->perm = NULL;
}

/* ---- rows ---- */

/* Rows that a sample takes: up to the one that predicts its last label. */
static int rows_of(const wk_sample *s) {
    int n = s->n;
    if (!s->label) return n;
    while (n > 1 && s->label[n - 1] == WK_NO_LABEL) n--;
    return n - 1;
}

static wick_status add_sample(wk_micro *b, const wk_sample *s) {
    int n = rows_of(s), at = b->n_row;
    size_t need = (size_t)at + (size_t)n;
    if (need > b->cap) {
        int32_t **column[] = { &b->token, &b->pos, &b->seq, &b->label };
        size_t cap = need > 2 * b->cap ? need : 2 * b->cap;
        for (int i = 0; i < 4; i++) {
            int32_t *p = wk_realloc_array(*column[i], cap, sizeof *p);
            if (!p) return wk_fail_memory(cap * sizeof *p, "the rows of a batch");
            *column[i] = p;
        }
        b->cap = cap;
    }
    for (int i = 0; i < n; i++) {
        int32_t label = s->label ? s->label[i + 1] : i == n - 1 ? s->cls : WK_NO_LABEL;
        b->token[at + i] = s->id[i];
        b->pos[at + i] = i;
        b->seq[at + i] = b->n_seq;
        b->label[at + i] = label;
        b->n_label += label != WK_NO_LABEL;
    }
    b->n_row += n;
    b->n_seq++;
    return WICK_OK;
}

int wk_order_max_rows(const wk_order *o) {
    int longest = 0;
    for (size_t i = 0; i < o->data->n; i++) {
        int n = rows_of(&o->data->sample[i]);
        if (n > longest) longest = n;
    }
    int64_t all = (int64_t)o->batch_size * (o->packing ? o->max_seq_length : longest);
    return all < INT32_MAX ? (int)all : INT32_MAX;
}

wick_status wk_order_next(wk_order *o, wk_micro *out) {
    int64_t room = (int64_t)o->batch_size * o->max_seq_length;
    wick_status st = WICK_OK;
    out->n_row = out->n_seq = out->n_label = 0;
    while (!st && (o->packing || out->n_seq < o->batch_size)) {
        const wk_sample *s;
        if (o->once && out->n_seq && o->next % o->data->n == 0) break;
        st = wk_order_sample(o, o->next, &s);
        /* A packed batch holds no sample twice, however small the data are. */
        if (!st && o->packing && out->n_seq && (out->n_row + rows_of(s) > room || (uint64_t)out->n_seq >= o->data->n)) break;
        if (!st) st = add_sample(out, s);
        if (!st) o->next++;
    }
    return st;
}

void wk_micro_free(wk_micro *b) {
    wk_free(b->token);
    wk_free(b->pos);
    wk_free(b->seq);
    wk_free(b->label);
    *b = (wk_micro){ 0 };
}
