/* step.c: micro-batches. Everything that is summed is summed in a fixed order: losses row by row, gradients micro-batch by
 * micro-batch. */
#include "train/trainer_parts.h"
#include <math.h>
#include <string.h>

wick_status wk_train_pass_need(wk_trainer *t, wk_train_pass *p) {
    if (p->plan) return WICK_OK;
    bool back = p == &t->train;
    wk_train_parts parts = { .slot = t->slot, .swap = t->swap, .n_swap = t->n_swap, .of = t->of, .n_of = back ? t->n_param : 0,
                             .first_layer = t->first_layer, .embed = t->embed, .checkpoint = t->o.checkpoint,
                             .smoothing = back ? (float)t->o.label_smoothing : 0, .logits = p == &t->logits };
    wick_status st = wk_model_train_graph(t->m, &parts, &p->t);
    if (!st) st = t->m->backend->ops->plan_new(t->m->backend, p->t.g, t->o.max_row, &p->plan);
    if (st) wk_train_graph_free(&p->t);
    return st;
}

/* ---- rows to a batch ---- */

static wick_status bad_row(int i, const char *what, int32_t found, int64_t limit) {
    return wk_fail(WICK_E_ARG, "row %d of a micro-batch: %s %d, there are %lld", i, what, found, (long long)limit);
}

/* Every row is in range and every sequence is whole; len[seq] becomes its length. */
static wick_status check_rows(wk_trainer *t, const wk_train_rows *r) {
    const wk_hparams *hp = &t->m->hp;
    int64_t n_class = hp->classify ? hp->n_label : hp->n_vocab;
    if (r->n_row < 1 || r->n_row > t->o.max_row || r->n_seq < 1 || r->n_seq > r->n_row)
        return wk_fail(WICK_E_ARG, "a micro-batch of %d rows in %d sequences: there is room for 1 to %d rows", r->n_row, r->n_seq,
                       t->o.max_row);
    memset(t->len, 0, (size_t)r->n_seq * sizeof *t->len);
    for (int i = 0; i < r->n_row; i++) {
        if (r->token[i] < 0 || r->token[i] >= hp->n_vocab) return bad_row(i, "token", r->token[i], hp->n_vocab);
        if (r->seq[i] < 0 || r->seq[i] >= r->n_seq) return bad_row(i, "sequence", r->seq[i], r->n_seq);
        if (r->label[i] != WK_NO_LABEL && (r->label[i] < 0 || r->label[i] >= n_class))
            return bad_row(i, "label", r->label[i], n_class);
        if (r->pos[i] != t->len[r->seq[i]]++)
            return wk_fail(WICK_E_ARG, "row %d of a micro-batch: position %d of sequence %d, which has %d rows so far", i,
                           r->pos[i], r->seq[i], t->len[r->seq[i]] - 1);
    }
    return WICK_OK;
}

/* Memory for keys and values of so many pages: it grows when a micro-batch needs more. */
static wick_status need_pages(wk_trainer *t, int n_page) {
    const wk_hparams *hp = &t->m->hp;
    const wk_backend_ops *ops = t->m->backend->ops;
    if (t->kv && t->kv->shape.n_page >= n_page) return WICK_OK;
    ops->kv_free(t->m->backend, t->kv);
    t->kv = NULL;
    wk_kv_shape s = { (int)hp->n_layer, (int)hp->n_head_kv, (int)hp->head_dim, n_page, WK_PAGE_LEN, wk_model_kv_type(t->m) };
    return ops->kv_new(t->m->backend, &s, &t->kv);
}

/* Each sequence has pages of its own, one after the other. */
static wick_status give_pages(wk_trainer *t, const wk_train_rows *r, wk_batch *b) {
    int n_page = 0;
    b->n_seq = r->n_seq;
    for (int s = 0; s < r->n_seq; s++) {
        int n = (t->len[s] + WK_PAGE_LEN - 1) / WK_PAGE_LEN;
        if (n > b->max_page) b->max_page = n;
        n_page += n;
    }
    if (!wk_grow((void **)&t->page, &t->cap_page, (size_t)b->n_seq * (size_t)b->max_page, sizeof *t->page))
        return wk_fail_memory((size_t)b->n_seq * (size_t)b->max_page * sizeof *t->page, "a block table");
    for (int s = 0, next = 0; s < r->n_seq; s++)
        for (int k = 0; k < b->max_page; k++) t->page[s * b->max_page + k] = k * WK_PAGE_LEN < t->len[s] ? next++ : 0;
    b->page = t->page;
    return need_pages(t, n_page);
}

wick_status wk_trainer_reserve(wk_trainer *t, int n_seq, bool evaluates) {
    if (n_seq > t->o.max_row) n_seq = t->o.max_row;  /* each has a row at least */
    wick_status st = need_pages(t, t->o.max_row / WK_PAGE_LEN + n_seq);
    return st || !evaluates ? st : wk_train_pass_need(t, &t->eval);
}

/* Rows with a label are those that are wanted. */
static wick_status to_batch(wk_trainer *t, const wk_train_rows *r, wk_batch *b) {
    const wk_hparams *hp = &t->m->hp;
    bool two = hp->rope.kind == WK_ROPE_LONG;  /* sequences past the original context turn by the second set */
    *b = (wk_batch){ .n_row = r->n_row, .token = r->token, .pos = r->pos, .seq = r->seq, .out_row = t->out_row, .label = r->label,
                     .rope = two ? t->rope : NULL };
    wick_status st = check_rows(t, r);
    for (int i = 0; !st && i < r->n_row; i++) {
        if (r->label[i] != WK_NO_LABEL) t->out_row[b->n_out++] = i;
        t->rope[i] = two && t->len[r->seq[i]] > hp->rope.original_ctx;
    }
    return st ? st : give_pages(t, r, b);
}

/* Runs a pass and sums its rows' losses. */
static wick_status run(wk_trainer *t, const wk_train_pass *p, const wk_batch *b, double *loss) {
    const wk_backend_ops *ops = t->m->backend->ops;
    wick_status st = ops->run(p->plan, b, t->kv);
    *loss = 0;
    if (st) return st;
    ops->read(p->plan, p->t.loss, 0, b->n_out, t->row);
    for (int i = 0; i < b->n_out; i++) *loss += (double)t->row[i];
    return isfinite(*loss) ? WICK_OK : wk_fail(WICK_E_NUMERIC, "the loss is %g", *loss);
}

wick_status wk_trainer_backward(wk_trainer *t, const wk_train_rows *r, double *loss_sum, int64_t *n_label) {
    wk_batch b;
    double loss = 0;
    wick_status st = to_batch(t, r, &b);
    if (st) return st;
    if (b.n_out) {
        for (int i = 0; i < b.n_out; i++) t->row[i] = (float)(1.0 / b.n_out);
        t->m->backend->ops->write(t->train.plan, t->train.t.seed, 0, b.n_out, t->row);
        b.drop = t->o.dropout > 0;
        b.drop_seed = t->o.seed;
        b.drop_step = t->n_micro;
        st = run(t, &t->train, &b, &loss);
        if (st) return st;
        wk_train_gather(t);
    }
    t->n_micro++;
    t->n_gathered++;
    if (loss_sum) *loss_sum = loss;
    if (n_label) *n_label = b.n_out;
    return WICK_OK;
}

wick_status wk_trainer_try(wk_trainer *t, const wk_train_rows *r) {
    bool fresh = !t->n_gathered;  /* else the parameters as they are have been through micro-batches already */
    wick_status st = fresh ? wk_trainer_backward(t, r, NULL, NULL) : WICK_OK;
    if (st) return st;
    double norm = wk_train_norm(t);
    if (fresh) {
        wk_train_clear(t);
        t->n_micro--;
    }
    return isfinite(norm) ? WICK_OK : wk_fail(WICK_E_NUMERIC, "the gradient's norm is %g", norm);
}

wick_status wk_trainer_eval(wk_trainer *t, const wk_train_rows *r, double *loss_sum, int64_t *n_label) {
    wk_batch b;
    double loss = 0;
    wick_status st = to_batch(t, r, &b);
    if (!st && b.n_out) st = wk_train_pass_need(t, &t->eval);
    if (!st && b.n_out) st = run(t, &t->eval, &b, &loss);
    if (st) return st;
    if (loss_sum) *loss_sum = loss;
    if (n_label) *n_label = b.n_out;
    return WICK_OK;
}

wick_status wk_trainer_logits(wk_trainer *t, const wk_train_rows *r, float *out) {
    wk_batch b;
    wick_status st = to_batch(t, r, &b);
    if (!st && b.n_out) st = wk_train_pass_need(t, &t->logits);
    if (!st && b.n_out) st = t->m->backend->ops->run(t->logits.plan, &b, t->kv);
    if (!st && b.n_out) t->m->backend->ops->read(t->logits.plan, t->logits.t.logits, 0, b.n_out, out);
    return st;
}
