/* generate.c: the loop: what the session does not hold of the prompt is fed, then choose, show, feed, until something
 * ends it. Where tokens are guessed ahead (guess.h), feeding is often done already. Load: thousands of rounds, each a forward
 * pass of 1 to 100 ms; nothing is allocated in a round. */
#include "base/clock.h"
#include "generate/generate.h"
#include <string.h>

/* ---- the request ---- */

static wick_status check_prompt(const wick_session *s, const wk_ids *p) {
    int64_t n_vocab = s->model->m->hp.n_vocab;
    if (p->len > (size_t)s->n_ctx)
        return wk_fail(WICK_E_LENGTH,
                       "the prompt has %zu tokens, the context %d: shorten it, or open the session with a larger n_ctx", p->len,
                       s->n_ctx);
    for (size_t i = 0; i < p->len; i++)
        if (p->ptr[i] < 0 || p->ptr[i] >= n_vocab)
            return wk_fail(WICK_E_ARG, "the prompt's id %zu is %d, this model has 0 to %lld", i, p->ptr[i], (long long)n_vocab - 1);
    return WICK_OK;
}

/* Guesses of another vocabulary would hardly ever be right. */
static wick_status check_draft(const wick_session *s, const wick_generate_options *o) {
    const wk_model *m = s->model->m, *d = o->draft ? o->draft->model->m : m;
    if (o->n_draft < 0 || o->n_draft > WK_MAX_GUESS)
        return wk_fail(WICK_E_ARG, "n_draft is %d, it can be 0 (off) to %d", o->n_draft, WK_MAX_GUESS);
    if (o->draft == s) return wk_fail(WICK_E_ARG, "the draft is the session itself: it has to be another");
    if (d->hp.classify) return wk_fail(WICK_E_ARG, "the draft's model is a classifier, it cannot guess tokens");
    if (d->hp.n_vocab != m->hp.n_vocab)
        return wk_fail(WICK_E_ARG, "the draft's model has %lld tokens, this one %lld: guesses need the same vocabulary",
                       (long long)d->hp.n_vocab, (long long)m->hp.n_vocab);
    for (int32_t id = 0; d != m && m->tokenizer && d->tokenizer && id < wk_tokenizer_n_vocab(m->tokenizer); id++) {
        wk_str a = wk_tokenizer_entry(m->tokenizer, id);
        wk_str b = id < wk_tokenizer_n_vocab(d->tokenizer) ? wk_tokenizer_entry(d->tokenizer, id) : (wk_str){ 0 };
        if (a.len != b.len || (a.len && memcmp(a.ptr, b.ptr, a.len)))
            return wk_fail(WICK_E_ARG, "the draft's token %d is \"%.*s\", this model's \"%.*s\": guesses need the same vocabulary",
                           (int)id, (int)(b.len < 40 ? b.len : 40), b.ptr ? b.ptr : "", (int)(a.len < 40 ? a.len : 40),
                           a.ptr ? a.ptr : "");
    }
    return WICK_OK;
}

static wick_status copy_bias(wk_job *j) {
    size_t n = j->o.n_logit_bias;
    if (!n) return WICK_OK;
    if (!(j->bias = wk_alloc_array(n, sizeof *j->bias))) return wk_fail_memory(n * sizeof *j->bias, "logit biases");
    memcpy(j->bias, j->o.logit_bias, n * sizeof *j->bias);
    j->o.logit_bias = j->bias;
    return WICK_OK;
}

wick_status wk_job_new(wk_job *j, wick_session *s, const wick_prompt *p, const wick_generate_options *o) {
    const wick_model *m = s->model;
    *j = (wk_job){ .s = s };
    if (!o) o = &m->defaults;
    wick_status st = wk_check_size(o->size, sizeof *o, "wick_generate_options", "fill it with wick_generate_defaults()");
    if (st) return st;
    j->o = *o;
    if (m->m->hp.classify)
        st = wk_fail(WICK_E_UNSUPPORTED, "this model is a classifier, it does not generate: use wick_classify()");
    if (!st && o->n_predict < -1)
        st = wk_fail(WICK_E_ARG, "n_predict is %d, it can be -1 (until the context is full) or more", o->n_predict);
    if (!st) st = wk_sampler_check(o, (int32_t)m->m->hp.n_vocab);
    if (!st) st = check_draft(s, o);
    if (!st && o->n_stop) st = wk_need_tokenizer(m);
    if (!st) st = wk_stops_new(&j->stops, o->stop, o->n_stop);
    if (!st) st = copy_bias(j);
    if (!st) st = wk_prompt_ids(m, p, &j->prompt);
    if (!st) st = check_prompt(s, &j->prompt);
    j->o.stop = NULL;  /* the caller's */
    j->continues = p && !p->messages;
    if (st) wk_job_free(j);
    return st;
}

void wk_job_free(wk_job *j) {
    wk_ids_free(&j->prompt);
    wk_stops_free(&j->stops);
    wk_free(j->bias);
    j->bias = NULL;
}

/* ---- the loop ---- */

/* Feeds what of the prompt the session does not hold. The last token is always computed: its logits are wanted. */
static wick_status prefill(wick_session *s, const wk_ids *p, wick_result *r) {
    int n = (int)p->len, common = 0;
    while (common < n - 1 && common < s->n_ids && s->ids[common] == p->ptr[common]) common++;
    r->n_prompt = n;
    r->n_cached = common;
    wk_session_keep(s, common);
    return wk_session_feed(s, p->ptr + common, n - common);
}

/* Makes room in a full context: the first token (usually BOS, on which attention leans: Xiao et al. 2023, "Efficient
 * streaming language models with attention sinks") stays, the older half of the others goes, the rest is computed anew,
 * since keys carry their positions. */
static wick_status shift(wick_session *s, wick_result *r) {
    int keep = s->n_ids > 1, drop = (s->n_ids - keep + 1) / 2, n = s->n_ids - keep - drop;
    memmove(s->ids + keep, s->ids + keep + drop, (size_t)n * sizeof *s->ids);
    wk_session_keep(s, keep);
    r->n_shifted += drop;
    return wk_session_feed(s, s->ids + keep, n);
}

/* Tokens that the session holds, those not counted that were guessed and are not chosen yet. */
static int said(const wk_job *j) { return j->s->n_ids - (j->guess.n - j->guess.right); }

/* Why generation ends with this token, if it does. */
static wick_finish finish_of(const wk_job *j, int32_t id, int index) {
    const wick_session *s = j->s;
    if (!j->o.ignore_end && wk_is_end(s->model, id)) return WICK_FINISH_STOP;
    if (j->o.n_predict >= 0 && index + 1 >= j->o.n_predict) return WICK_FINISH_LENGTH;
    if (said(j) == s->n_ctx && !s->shift) return WICK_FINISH_LENGTH;
    return WICK_FINISH_NONE;
}

/* Turns a choice into a token with the text that may be shown, and delivers it. */
static wick_status deliver(wk_job *j, const wk_choice *c, int index, wk_token_sink sink, void *user, wick_result *r) {
    wk_emit *e = &j->s->emit;
    double from = wk_now(), waited = 0;
    bool is_end = wk_is_end(j->s->model, c->id), ends_turn = is_end && !j->o.ignore_end, stopped;
    wick_finish finish = finish_of(j, c->id, index);
    wick_status st = wk_emit_token(e, ends_turn ? -1 : c->id, finish != WICK_FINISH_NONE, &stopped);
    if (st) return st;
    if (stopped) finish = WICK_FINISH_STOP;
    wick_token t = {
        .id = c->id, .text = e->out.ptr, .n_text = e->out.len, .logit = c->logit, .prob = c->prob, .logprob = c->logprob,
        .index = index, .is_eos = is_end, .finish_reason = finish, .top = c->n_top ? c->top : NULL, .n_top = (size_t)c->n_top,
    };
    r->n_generated = index + 1;
    r->finish_reason = finish;
    if (sink && !sink(&t, user, &waited) && !finish) st = wk_fail(WICK_E_CANCELLED, "the callback stopped the generation");
    r->stream_s += wk_now() - from - waited;
    return st;
}

/* How many guesses fit behind the next token: into the pass, the context, what is still wanted; and none where the sequence
 * would be long enough to turn otherwise. */
static int room_to_guess(const wk_job *j, int index) {
    const wick_session *s = j->s;
    int len = s->n_ids + 1, room = s->n_batch - 1, turns = wk_runner_switch_len(s->runner);
    if (room > s->n_ctx - len) room = s->n_ctx - len;
    if (j->o.n_predict >= 0 && room > j->o.n_predict - index - 2) room = j->o.n_predict - index - 2;  /* the last is not fed */
    if (turns && len <= turns && room > turns - len) room = turns - len;
    return room;
}

/* Takes back what was guessed ahead and not chosen. */
static void forget_guesses(wk_job *j) {
    wk_guess *g = &j->guess;
    if (g->right < g->n) wk_session_keep(j->s, said(j));
    g->n = g->right;
}

/* Makes the logits after a chosen token, the index-th: *row of the runner's. */
static wick_status advance(wk_job *j, int32_t id, int index, wick_result *r, int *row) {
    wick_session *s = j->s;
    wk_guess *g = &j->guess;
    wick_status st = WICK_OK;
    if (wk_guess_met(g, id)) {
        ++*row;
        return wk_session_check_cancel(s);
    }
    forget_guesses(j);
    *row = 0;
    if (s->n_ids == s->n_ctx) st = shift(s, r);
    if (st) return st;
    s->ids[s->n_ids] = id;
    if (g->max) st = wk_guess_next(g, s->ids, s->n_ids + 1, room_to_guess(j, index));
    if (st || !g->n) return st ? st : wk_session_feed(s, &id, 1);
    int32_t ids[1 + WK_MAX_GUESS] = { id };
    memcpy(ids + 1, g->id, (size_t)g->n * sizeof *ids);
    st = wk_session_feed_all(s, ids, 1 + g->n);
    if (st) g->n = 0;  /* nothing was appended */
    return st;
}

/* Ends the guessing: the session holds what was said, the draft is free again. */
static void end_guessing(wk_job *j, wick_result *r) {
    forget_guesses(j);
    r->n_drafted = j->guess.n_made;
    r->n_accepted = j->guess.n_right;
    if (j->guess.draft) wk_session_leave(j->guess.draft);
}

static wick_status loop(wk_job *j, wk_token_sink sink, void *user, wick_result *r) {
    wick_session *s = j->s;
    wk_choice c;
    wick_status st = WICK_OK;
    uint64_t position = j->prompt.len;
    int row = 0;
    for (int i = 0; !st; i++, position++) {
        if (j->o.n_predict == i) {  /* 0: the prompt alone was wanted */
            r->finish_reason = WICK_FINISH_LENGTH;
            break;
        }
        st = wk_sampler_choose(&s->sampler, wk_runner_logits(s->runner, row), position, &c);
        if (!st) st = deliver(j, &c, i, sink, user, r);
        if (st || r->finish_reason) break;
        wk_sampler_accept(&s->sampler, c.id);
        st = advance(j, c.id, i, r, &row);
    }
    return st;
}

wick_status wk_job_run(wk_job *j, wk_token_sink sink, void *user, wick_result *r) {
    wick_session *s = j->s;
    double from = wk_now();
    *r = (wick_result){ 0 };
    wick_session *draft = j->o.n_draft ? j->o.draft : NULL;
    if (draft && wk_session_enter(draft)) return wk_fail(WICK_E_ARG, "the draft session is in another call");
    wk_guess_begin(&j->guess, draft, j->o.n_draft);
    wick_status st = wk_sampler_begin(&s->sampler, &j->o);
    if (!st) st = wk_emit_begin(&s->emit, s->model->m->tokenizer, &j->stops, j->continues);
    for (size_t i = 0; !st && i < j->prompt.len; i++) wk_sampler_accept(&s->sampler, j->prompt.ptr[i]);
    if (!st) st = prefill(s, &j->prompt, r);
    r->prompt_s = wk_now() - from;
    if (!st) st = loop(j, sink, user, r);
    end_guessing(j, r);
    r->generate_s = wk_now() - from - r->prompt_s;
    if (st == WICK_E_CANCELLED) r->finish_reason = WICK_FINISH_CANCELLED;
    return st;
}

/* ---- the public call ---- */

typedef struct callback { wick_token_fn fn; void *user; } callback;

static bool call_back(const wick_token *t, void *user, double *waited_s) {
    const callback *c = user;
    (void)waited_s;
    return c->fn(t, c->user);
}

wick_status wick_generate(wick_session *s, const wick_prompt *p, const wick_generate_options *o, wick_token_fn on_token,
                          void *user, wick_result *result) {
    wk_job j;
    wick_result r = { 0 };
    wk_clear_error();
    if (result) *result = r;
    if (!s) return wk_fail(WICK_E_ARG, "wick_generate: the session is NULL");
    wick_status st = wk_job_new(&j, s, p, o);
    if (st) return st;
    st = wk_session_enter(s);
    if (!st) {
        st = wk_job_run(&j, on_token ? call_back : NULL, &(callback){ on_token, user }, &r);
        wk_session_leave(s);
    }
    wk_job_free(&j);
    if (result) *result = r;
    return st;
}

const char *wick_finish_name(wick_finish f) {
    static const char *const names[] = { NULL, "stop", "length", "cancelled" };
    return (unsigned)f < sizeof names / sizeof *names ? names[f] : NULL;
}
