/* runner.c: steps through a model: rows in, logits out, keys and values in pages. A sequence takes pages as it grows
 * and gives them back when it is cut; a step that would not fit is refused before anything changes. */
#include "model/model.h"
#include <string.h>

struct wk_runner {
    wk_model *m;
    wk_graph *graph;
    wk_plan *plan;
    wk_kv *kv;
    wk_val logits;
    int n_ctx, n_batch, n_seq, max_page;
    int32_t *page;               /* block table [n_seq][max_page] */
    int *len;                    /* [n_seq] */
    int32_t *free_page; int n_free;
    int32_t *token, *pos, *seq, *adapter, *out_row;  /* [n_batch] of the present step */
    const wk_lora_set *const *adapters; int n_adapter;
    float *row;                  /* [n_logits], where the backend cannot show its own */
};

static int pages_for(int n) { return (n + WK_PAGE_LEN - 1) / WK_PAGE_LEN; }

static wick_status alloc_tables(wk_runner *r) {
    size_t n = (size_t)r->n_batch, pages = (size_t)r->n_seq * (size_t)r->max_page;
    r->page = wk_alloc_array(pages, sizeof *r->page);
    r->free_page = wk_alloc_array(pages, sizeof *r->free_page);
    r->len = wk_alloc_array((size_t)r->n_seq, sizeof *r->len);
    r->token = wk_alloc_array(5 * n, sizeof *r->token);
    r->row = wk_alloc_array((size_t)wk_runner_n_logits(r), sizeof *r->row);
    if (!r->page || !r->free_page || !r->len || !r->token || !r->row) return wk_fail_memory(pages * sizeof *r->page, "a runner");
    r->pos = r->token + n;
    r->seq = r->pos + n;
    r->adapter = r->seq + n;
    r->out_row = r->adapter + n;
    for (r->n_free = 0; r->n_free < (int)pages; r->n_free++) r->free_page[r->n_free] = (int32_t)pages - 1 - r->n_free;
    return WICK_OK;
}

wick_status wk_runner_new(wk_model *m, int n_ctx, int n_batch, int n_seq, wk_dtype kv_type, wk_runner **out) {
    const wk_hparams *hp = &m->hp;
    *out = NULL;
    if (!m->backend || !m->layer)
        return wk_fail(WICK_E_ARG, "the model was opened for its vocabulary only: it has no weights to run");
    if (n_ctx < 1 || n_ctx > 1 << 30) return wk_fail(WICK_E_ARG, "a context of %d tokens: it must be 1 to 2^30", n_ctx);
    if (n_batch < 1 || n_batch > 1 << 20) return wk_fail(WICK_E_ARG, "a batch of %d rows: it must be 1 to 2^20", n_batch);
    if (n_seq < 1 || n_seq > 65536) return wk_fail(WICK_E_ARG, "%d sequences: it must be 1 to 65536", n_seq);
    if ((int64_t)pages_for(n_ctx) * n_seq > INT32_MAX / WK_PAGE_LEN)
        return wk_fail(WICK_E_ARG, "%d sequences of %d tokens are too many", n_seq, n_ctx);
    wk_runner *r = wk_alloc(sizeof *r);
    if (!r) return wk_fail_memory(sizeof *r, "a runner");
    r->m = m;
    r->n_ctx = n_ctx;
    r->n_batch = n_batch;
    r->n_seq = n_seq;
    r->max_page = pages_for(n_ctx);
    wk_kv_shape s = { (int)hp->n_layer, (int)hp->n_head_kv, (int)hp->head_dim, r->max_page * n_seq, WK_PAGE_LEN, kv_type };
    wick_status st = alloc_tables(r);
    if (!st) st = wk_model_graph(m, false, false, &r->graph, &r->logits);
    if (!st) st = m->backend->ops->plan_new(m->backend, r->graph, n_batch, &r->plan);
    if (!st) st = m->backend->ops->kv_new(m->backend, &s, &r->kv);
    if (st) wk_runner_free(r);
    else *out = r;
    return st;
}

void wk_runner_free(wk_runner *r) {
    if (!r) return;
    const wk_backend_ops *ops = r->m->backend->ops;
    ops->plan_free(r->plan);
    ops->kv_free(r->m->backend, r->kv);
    wk_graph_free(r->graph);
    wk_free(r->page);
    wk_free(r->free_page);
    wk_free(r->len);
    wk_free(r->token);
    wk_free(r->row);
    wk_free(r);
}

int wk_runner_n_ctx(const wk_runner *r) { return r->n_ctx; }
int wk_runner_n_batch(const wk_runner *r) { return r->n_batch; }
size_t wk_runner_bytes(const wk_runner *r) { return r->plan->n_bytes + r->kv->n_bytes; }
int wk_runner_n_logits(const wk_runner *r) { return (int)(r->m->hp.classify ? r->m->hp.n_label : r->m->hp.n_vocab); }
int wk_runner_len(const wk_runner *r, int seq) { return r->len[seq]; }

void wk_runner_keep(wk_runner *r, int seq, int n) {
    if (seq < 0 || seq >= r->n_seq || n < 0 || n >= r->len[seq]) return;
    for (int p = pages_for(r->len[seq]); p > pages_for(n); p--) r->free_page[r->n_free++] = r->page[seq * r->max_page + p - 1];
    r->len[seq] = n;
}

void wk_runner_adapters(wk_runner *r, const wk_lora_set *const *sets, int n) {
    r->adapters = sets;
    r->n_adapter = n;
}

/* Gives each row its position, growing its sequence; checks as it goes. */
static wick_status place(wk_runner *r, const wk_row *rows, int n, wk_batch *b) {
    for (int i = 0; i < n; i++) {
        const wk_row *x = &rows[i];
        if (x->token < 0 || x->token >= r->m->hp.n_vocab)
            return wk_fail(WICK_E_ARG, "token %d: ids are 0 to %lld", x->token, (long long)r->m->hp.n_vocab - 1);
        if (x->seq < 0 || x->seq >= r->n_seq) return wk_fail(WICK_E_ARG, "sequence %d: there are %d", x->seq, r->n_seq);
        if (x->adapter >= r->n_adapter) return wk_fail(WICK_E_ARG, "adapter %d: there are %d", x->adapter, r->n_adapter);
        int *len = &r->len[x->seq];
        if (*len >= r->n_ctx) return wk_fail(WICK_E_FULL, "the context of %d tokens is full", r->n_ctx);
        if (*len % WK_PAGE_LEN == 0) r->page[x->seq * r->max_page + *len / WK_PAGE_LEN] = r->free_page[--r->n_free];
        r->token[i] = x->token;
        r->pos[i] = (*len)++;
        r->seq[i] = x->seq;
        r->adapter[i] = x->adapter;
        if (x->adapter >= 0) b->adapter = r->adapter;
        if (x->want) r->out_row[b->n_out++] = i;
        b->n_row = i + 1;
    }
    return WICK_OK;
}

wick_status wk_runner_step(wk_runner *r, const wk_row *rows, int n) {
    wk_batch b = { .token = r->token, .pos = r->pos, .seq = r->seq, .adapters = r->adapters, .n_adapter = r->n_adapter,
                   .out_row = r->out_row, .page = r->page, .max_page = r->max_page, .n_seq = r->n_seq };
    if (n < 1 || n > r->n_batch) return wk_fail(WICK_E_ARG, "a step of %d rows: the batch has room for 1 to %d", n, r->n_batch);
    wick_status st = place(r, rows, n, &b);
    if (!st) st = r->m->backend->ops->run(r->plan, &b, r->kv);
    for (int i = b.n_row; st && i-- > 0;) wk_runner_keep(r, rows[i].seq, r->len[rows[i].seq] - 1);  /* nothing was appended */
    return st;
}

const float *wk_runner_logits(wk_runner *r, int i) {
    const wk_backend_ops *ops = r->m->backend->ops;
    if (ops->view) return ops->view(r->plan, r->logits, i);
    ops->read(r->plan, r->logits, i, 1, r->row);
    return r->row;
}
