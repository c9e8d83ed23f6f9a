/* session.c: a session is one sequence of a runner. It remembers the tokens behind its keys and values, so that a prompt
 * which begins with them is not computed again. */
#include "generate/generate.h"
#include <string.h>

enum { DEFAULT_CTX = 4096, DEFAULT_BATCH = 512 };

void wick_session_defaults(wick_session_options *o) {
    if (o) *o = (wick_session_options){ .size = sizeof *o };
}

static wick_status kv_type(const wk_model *m, const char *name, wk_dtype *out) {
    *out = name ? wk_dtype_of_name(name) : wk_model_kv_type(m);
    if (*out == WK_F32 || *out == WK_F16 || *out == WK_Q8_0) return WICK_OK;
    return wk_fail(WICK_E_ARG, "type_kv is \"%s\", it can be f32, f16 or q8_0", name);
}

wick_status wick_session_new(wick_model *m, const wick_session_options *o, wick_session **out) {
    wick_session_options defaults;
    wk_dtype type;
    wk_clear_error();
    if (!out) return wk_fail(WICK_E_ARG, "wick_session_new: out is NULL");
    *out = NULL;
    if (!m) return wk_fail(WICK_E_ARG, "wick_session_new: the model is NULL");
    if (!o) {
        wick_session_defaults(&defaults);
        o = &defaults;
    }
    wick_status st = wk_check_size(o->size, sizeof *o, "wick_session_options", "fill it with wick_session_defaults()");
    if (!st && m->vocab_only) st = wk_fail(WICK_E_ARG, "the model was opened with vocab_only: it has no weights to run");
    if (!st && o->n_ctx < 0)
        st = wk_fail(WICK_E_ARG, "n_ctx is %d, it can be 0 (the model's, at most %d) or more", o->n_ctx, DEFAULT_CTX);
    if (!st && o->n_batch < 0) st = wk_fail(WICK_E_ARG, "n_batch is %d, it can be 0 (%d) or more", o->n_batch, DEFAULT_BATCH);
    if (!st) st = kv_type(m->m, o->type_kv, &type);
    if (st) return st;

    wick_session *s = wk_alloc(sizeof *s);
    if (!s) return wk_fail_memory(sizeof *s, "a session");
    int64_t n_train = m->m->hp.n_ctx;
    s->model = m;
    s->n_ctx = o->n_ctx ? o->n_ctx : n_train < DEFAULT_CTX ? (int)n_train : DEFAULT_CTX;
    s->n_batch = o->n_batch ? o->n_batch : DEFAULT_BATCH;
    if (s->n_batch > s->n_ctx) s->n_batch = s->n_ctx;
    s->shift = o->shift;
    s->sampler = (wk_sampler){ .n_vocab = (int32_t)m->m->hp.n_vocab, .n_ctx = s->n_ctx };
    atomic_init(&s->cancel, false);
    atomic_flag_clear(&s->busy);
    st = wk_runner_new(m->m, s->n_ctx, s->n_batch, 1, type, &s->runner);
    if (!st) {
        s->ids = wk_alloc_array((size_t)s->n_ctx, sizeof *s->ids);
        s->rows = wk_alloc_array((size_t)s->n_batch, sizeof *s->rows);
        if (!s->ids || !s->rows) st = wk_fail_memory((size_t)s->n_ctx * sizeof *s->ids, "a session");
    }
    if (st) wick_session_free(s);
    else *out = s;
    return st;
}

void wick_session_free(wick_session *s) {
    if (!s) return;
    wk_runner_free(s->runner);
    for (size_t i = 0; i < s->n_adapter; i++) wk_adapter_drop(s->adapter[i]);
    wk_sampler_free(&s->sampler);
    wk_emit_free(&s->emit);
    wk_free(s->ids);
    wk_free(s->rows);
    wk_free(s);
}

/* ---- one call at a time ---- */

wick_status wk_session_enter(wick_session *s) {
    if (atomic_flag_test_and_set(&s->busy))
        return wk_fail(WICK_E_ARG, "the session is in use by another call or by a stream that is still open");
    atomic_store(&s->cancel, false);
    return WICK_OK;
}

void wk_session_leave(wick_session *s) { atomic_flag_clear(&s->busy); }

void wick_session_cancel(wick_session *s) {
    if (s) atomic_store(&s->cancel, true);  /* lock-free, so a signal handler may */
}

wick_status wk_session_check_cancel(wick_session *s) {
    return atomic_load_explicit(&s->cancel, memory_order_relaxed) ? wk_fail(WICK_E_CANCELLED, "cancelled") : WICK_OK;
}

int wick_session_n_ctx(const wick_session *s) { return s ? s->n_ctx : 0; }
int wick_session_n_used(const wick_session *s) { return s ? s->n_ids : 0; }

/* ---- what it holds ---- */

void wk_session_keep(wick_session *s, int n) {
    wk_runner_keep(s->runner, 0, n);
    s->n_ids = n;
}

void wick_session_reset(wick_session *s) {
    if (!s || wk_session_enter(s)) return;
    wk_session_keep(s, 0);
    wk_session_leave(s);
}

/* One forward pass over n <= n_batch ids; want: logits of all of them, else of the last where last is set. */
static wick_status step(wick_session *s, const int32_t *ids, int n, bool want_all, bool want_last) {
    wick_status st = wk_session_check_cancel(s);
    for (int i = 0; i < n; i++)
        s->rows[i] = (wk_row){ ids[i], 0, s->n_adapter ? 0 : -1, want_all || (want_last && i == n - 1) };
    if (!st) st = wk_runner_step(s->runner, s->rows, n);
    if (st) return st;
    memmove(s->ids + s->n_ids, ids, (size_t)n * sizeof *ids);  /* they may lie there already */
    s->n_ids += n;
    return WICK_OK;
}

wick_status wk_session_feed_all(wick_session *s, const int32_t *ids, int n) {
    wk_runner_expect(s->runner, 0, s->n_ids + n);
    return step(s, ids, n, true, false);
}

wick_status wk_session_feed(wick_session *s, const int32_t *ids, int n) {
    wick_status st = WICK_OK;
    wk_runner_expect(s->runner, 0, s->n_ids + n);
    for (int i = 0, part; !st && i < n; i += part) {
        part = n - i < s->n_batch ? n - i : s->n_batch;
        st = step(s, ids + i, part, false, i + part == n);
    }
    return st;
}

/* ---- logits ---- */

static wick_status check_ids(const wick_session *s, const int32_t *ids, size_t n) {
    int64_t n_vocab = s->model->m->hp.n_vocab;
    if (n > (size_t)s->n_ctx)
        return wk_fail(WICK_E_LENGTH, "%zu tokens do not fit the context of %d: open the session with a larger n_ctx", n, s->n_ctx);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return wk_fail(WICK_E_ARG, "ids[%zu] is %d, this model has 0 to %lld", i, ids[i], (long long)n_vocab - 1);
    return WICK_OK;
}

/* Every row's logits, n_batch rows at a time; a classifier's of the last row alone. */
static wick_status run_logits(wick_session *s, const int32_t *ids, int n, float *out) {
    bool classify = s->model->m->hp.classify;
    size_t width = (size_t)wk_runner_n_logits(s->runner);
    wick_status st = WICK_OK;
    wk_session_keep(s, 0);
    wk_runner_expect(s->runner, 0, n);
    for (int i = 0, part; !st && i < n; i += part) {
        part = n - i < s->n_batch ? n - i : s->n_batch;
        st = step(s, ids + i, part, !classify, i + part == n);
        for (int k = 0; !st && k < part && !classify; k++)
            memcpy(out + (size_t)(i + k) * width, wk_runner_logits(s->runner, k), width * sizeof *out);
    }
    if (!st && classify) memcpy(out, wk_runner_logits(s->runner, 0), width * sizeof *out);
    return st;
}

static wick_status logits(wick_session *s, const int32_t *ids, size_t n, float *out, size_t cap) {
    size_t width = (size_t)wk_runner_n_logits(s->runner), need;
    wick_status st = check_ids(s, ids, n);
    if (st) return st;
    if (!n) return wk_fail(WICK_E_ARG, "there are no ids to give logits for");
    if (!wk_mul_size(s->model->m->hp.classify ? 1 : n, width, &need) || need > cap)
        return wk_fail(WICK_E_LENGTH, "out has room for %zu floats, it needs %zu", cap, need);
    st = wk_session_enter(s);
    if (st) return st;
    st = run_logits(s, ids, (int)n, out);
    wk_session_leave(s);
    return st;
}

wick_status wick_logits(wick_session *s, const int32_t *ids, size_t n, float *out, size_t cap) {
    wk_clear_error();
    if (!s || (!ids && n) || !out) return wk_fail(WICK_E_ARG, "wick_logits: %s is NULL", !s ? "the session" : !out ? "out" : "ids");
    return logits(s, ids, n, out, cap);
}

wick_status wick_classify(wick_session *s, const char *text, size_t n_text, float *out, size_t cap) {
    wk_ids ids = { 0 };
    wk_clear_error();
    if (!s || (!text && n_text) || !out)
        return wk_fail(WICK_E_ARG, "wick_classify: %s is NULL", !s ? "the session" : !out ? "out" : "text");
    if (!s->model->m->hp.classify)
        return wk_fail(WICK_E_UNSUPPORTED, "this model generates text, it has no classes: use wick_generate() or wick_logits()");
    wick_status st = wk_need_tokenizer(s->model);
    wk_span span = { text ? text : "", n_text, false };
    if (!st) st = wk_tokenize(s->model->m->tokenizer, &span, 1, true, &ids);
    if (!st) st = logits(s, ids.ptr, ids.len, out, cap);
    wk_ids_free(&ids);
    return st;
}
