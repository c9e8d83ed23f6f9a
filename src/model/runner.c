/* runner.c: steps through a model: rows in, logits out, keys and values in pages. A sequence takes pages as it grows
 * and gives them back when it is cut; a step that would not fit is refused before anything changes.
 * Longrope turns short sequences by one set of frequencies and long ones by another. A sequence that passes the original
 * context, or is cut below it, is computed anew with the other set, once: so what a row gives follows from its sequence alone. */
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
    int32_t *token, *pos, *seq, *adapter, *out_row, *rope;  /* [n_batch] of the present step */
    int switch_len;              /* sequences longer than this turn by the rope's second set; 0: there is one */
    struct held { int32_t token, adapter; } *held;  /* [n_seq][n_ctx] what made the keys and values, where there are two */
    int32_t *set;                /* [n_seq] the set that a sequence's keys were turned by; NOT_ONE: some by either */
    int *expect, *grow;          /* [n_seq] see wk_runner_expect(); rows of the present step */
    const wk_lora_set *const *adapters; int n_adapter;
    float *row;                  /* [n_logits], where the backend cannot show its own */
};

enum { NOT_ONE = -1 };

static int pages_for(int n) { return (n + WK_PAGE_LEN - 1) / WK_PAGE_LEN; }

static wick_status alloc_tables(wk_runner *r) {
    size_t n = (size_t)r->n_batch, pages = (size_t)r->n_seq * (size_t)r->max_page;
    r->page = wk_alloc_array(pages, sizeof *r->page);
    r->free_page = wk_alloc_array(pages, sizeof *r->free_page);
    r->len = wk_alloc_array((size_t)r->n_seq, sizeof *r->len);
    r->token = wk_alloc_array(6 * n, sizeof *r->token);
    r->row = wk_alloc_array((size_t)wk_runner_n_logits(r), sizeof *r->row);
    if (!r->page || !r->free_page || !r->len || !r->token || !r->row) return wk_fail_memory(pages * sizeof *r->page, "a runner");
    r->pos = r->token + n;
    r->seq = r->pos + n;
    r->adapter = r->seq + n;
    r->out_row = r->adapter + n;
    r->rope = r->out_row + n;
    for (r->n_free = 0; r->n_free < (int)pages; r->n_free++) r->free_page[r->n_free] = (int32_t)pages - 1 - r->n_free;
    return WICK_OK;
}

/* What a rope with two sets needs to be turned over. */
static wick_status alloc_turning(wk_runner *r) {
    size_t n = (size_t)r->n_seq, n_held;
    if (r->m->hp.rope.kind != WK_ROPE_LONG) return WICK_OK;
    r->switch_len = (int)r->m->hp.rope.original_ctx;
    r->set = wk_alloc_array(n, sizeof *r->set);
    r->expect = wk_alloc_array(n, sizeof *r->expect);
    r->grow = wk_alloc_array(n, sizeof *r->grow);
    if (wk_mul_size(n, (size_t)r->n_ctx, &n_held)) r->held = wk_alloc_array(n_held, sizeof *r->held);
    return r->set && r->expect && r->grow && r->held ? WICK_OK : wk_fail_memory(n * (size_t)r->n_ctx * sizeof *r->held, "a runner");
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
    if (!st) st = alloc_turning(r);
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
    wk_free(r->held);
    wk_free(r->set);
    wk_free(r->expect);
    wk_free(r->grow);
    wk_free(r);
}

int wk_runner_n_ctx(const wk_runner *r) { return r->n_ctx; }
int wk_runner_n_batch(const wk_runner *r) { return r->n_batch; }
size_t wk_runner_bytes(const wk_runner *r) { return r->plan->n_bytes + r->kv->n_bytes; }
int wk_runner_n_logits(const wk_runner *r) { return (int)(r->m->hp.classify ? r->m->hp.n_label : r->m->hp.n_vocab); }
int wk_runner_switch_len(const wk_runner *r) { return r->switch_len; }
int wk_runner_len(const wk_runner *r, int seq) { return r->len[seq]; }

static void cut(wk_runner *r, int seq, int n) {
    if (n < 0 || n >= r->len[seq]) return;
    for (int p = pages_for(r->len[seq]); p > pages_for(n); p--) r->free_page[r->n_free++] = r->page[seq * r->max_page + p - 1];
    r->len[seq] = n;
}

void wk_runner_keep(wk_runner *r, int seq, int n) {
    if (seq < 0 || seq >= r->n_seq) return;
    cut(r, seq, n);
    if (r->switch_len) r->expect[seq] = 0;
}

void wk_runner_expect(wk_runner *r, int seq, int n) {
    if (r->switch_len && seq >= 0 && seq < r->n_seq) r->expect[seq] = n;
}

void wk_runner_adapters(wk_runner *r, const wk_lora_set *const *sets, int n) {
    r->adapters = sets;
    r->n_adapter = n;
}

/* Row i of the present step: the sequence's position `pos`. */
static void put(wk_runner *r, wk_batch *b, int i, int32_t seq, int pos, int32_t token, int32_t adapter) {
    r->token[i] = token;
    r->pos[i] = pos;
    r->seq[i] = seq;
    r->adapter[i] = adapter;
    if (adapter >= 0) b->adapter = r->adapter;
    if (!r->switch_len) return;
    r->rope[i] = r->set[seq];
    r->held[(size_t)seq * (size_t)r->n_ctx + (size_t)pos] = (struct held){ token, adapter };
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
        put(r, b, i, x->seq, (*len)++, x->token, x->adapter);
        if (x->want) r->out_row[b->n_out++] = i;
        b->n_row = i + 1;
    }
    return WICK_OK;
}

static wk_batch new_batch(const wk_runner *r) {
    return (wk_batch){ .token = r->token, .pos = r->pos, .seq = r->seq, .adapters = r->adapters, .n_adapter = r->n_adapter,
                       .out_row = r->out_row, .rope = r->switch_len ? r->rope : NULL, .page = r->page, .max_page = r->max_page,
                       .n_seq = r->n_seq };
}

/* Computes what a sequence holds anew, turned by the other set. */
static wick_status turn(wk_runner *r, int32_t seq, int32_t set) {
    wick_status st = WICK_OK;
    r->set[seq] = set;
    for (int at = 0, n; !st && at < r->len[seq]; at += n) {
        wk_batch b = new_batch(r);
        n = r->len[seq] - at < r->n_batch ? r->len[seq] - at : r->n_batch;
        for (int i = 0; i < n; i++) {
            struct held h = r->held[(size_t)seq * (size_t)r->n_ctx + (size_t)(at + i)];
            if (h.adapter >= r->n_adapter) {  /* what made the sequence stays on record */
                r->set[seq] = NOT_ONE;
                return wk_fail(WICK_E_ARG, "adapter %d: there are %d", h.adapter, r->n_adapter);
            }
            put(r, &b, i, seq, at + i, h.token, h.adapter);
        }
        b.n_row = n;
        st = r->m->backend->ops->run(r->plan, &b, r->kv);
    }
    if (st) r->set[seq] = NOT_ONE;
    return st;
}

/* Turns over the sequences that these rows bring across the original context, or that were cut below it. */
static wick_status turn_over(wk_runner *r, const wk_row *rows, int n) {
    wick_status st = WICK_OK;
    memset(r->grow, 0, (size_t)r->n_seq * sizeof *r->grow);
    for (int i = 0; i < n; i++) if (rows[i].seq >= 0 && rows[i].seq < r->n_seq) r->grow[rows[i].seq]++;
    for (int i = 0; !st && i < n; i++) {
        int32_t seq = rows[i].seq;
        if (seq < 0 || seq >= r->n_seq || !r->grow[seq]) continue;
        int len = r->len[seq] + r->grow[seq];
        int32_t set = (len > r->expect[seq] ? len : r->expect[seq]) > r->switch_len;
        if (set != r->set[seq] && len <= r->n_ctx) st = turn(r, seq, set);
        r->grow[seq] = 0;
    }
    return st;
}

wick_status wk_runner_step(wk_runner *r, const wk_row *rows, int n) {
    if (n < 1 || n > r->n_batch) return wk_fail(WICK_E_ARG, "a step of %d rows: the batch has room for 1 to %d", n, r->n_batch);
    wick_status st = r->switch_len ? turn_over(r, rows, n) : WICK_OK;
    if (st) return st;
    wk_batch b = new_batch(r);
    st = place(r, rows, n, &b);
    if (!st) st = r->m->backend->ops->run(r->plan, &b, r->kv);
    for (int i = b.n_row; st && i-- > 0;) cut(r, rows[i].seq, r->len[rows[i].seq] - 1);  /* nothing was appended */
    return st;
}

const float *wk_runner_logits(wk_runner *r, int i) {
    const wk_backend_ops *ops = r->m->backend->ops;
    if (ops->view) return ops->view(r->plan, r->logits, i);
    ops->read(r->plan, r->logits, i, 1, r->row);
    return r->row;
}
