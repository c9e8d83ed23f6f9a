/* test_generate.c: generation end to end on the small models of tests/data: greedy ids, chats, prefix reuse, stop texts,
 * lengths, shifting, log-probabilities, cancelling, and that a token costs no allocation. */
#include "base/json.h"
#include "support/lab.h"
#include "support/run.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAT "data/models/llama-chat"
#define LLAMA "data/models/llama"

static wick_prompt of_ids(const int32_t *ids, size_t n) { return (wick_prompt){ .ids = ids, .n_ids = n }; }
static wick_prompt of_text(const char *text) { return (wick_prompt){ .text = text }; }

/* ---- fixtures ---- */

static void greedy_ids_of_each_model(void **state) {
    (void)state;
    static const char *const names[] = { "llama",          "llama-mha-linear-rope",
                                         "llama3-rope",    "llama-yarn",
                                         "mistral-window", "qwen2-tied",
                                         "qwen3",          "gemma3",
                                         "qwen3-moe",      "llama-256",
                                         "gemma2",         "mixtral",
                                         "phi3",           "phi3-crossing",
                                         "olmo2",          "gpt-oss" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[128];
        size_t n;
        int64_t shape[4];
        snprintf(path, sizeof path, "data/models/%s/reference.safetensors", names[k]);
        int32_t *want = run_ids(path, "greedy_ids", &n, shape);
        snprintf(path, sizeof path, "data/models/%s", names[k]);
        wick_model *m = run_open(path);
        wick_session *s = run_session(m, 0, 0);
        wick_generate_options o = run_greedy(m, 24);
        wick_prompt p = of_ids(want, 16);
        wick_result r;
        run_log log = { 0 };
        assert_int_equal(n, 40);
        ok(wick_generate(s, &p, &o, run_on_token, &log, &r));
        assert_int_equal(log.n, 24);
        for (int i = 0; i < 24; i++)
            if (log.id[i] != want[16 + i]) fail_msg("%s: token %d is %d, not %d", names[k], i, log.id[i], want[16 + i]);
        assert_int_equal(log.n_text, 0);  /* no tokenizer */
        assert_int_equal(log.finish, WICK_FINISH_LENGTH);
        assert_int_equal(r.n_prompt, 16);
        assert_int_equal(r.n_generated, 24);
        assert_int_equal(r.finish_reason, WICK_FINISH_LENGTH);
        assert_int_equal(wick_session_n_used(s), 39);
        wick_session_free(s);
        wick_model_free(m);
        free(want);
    }
}

static void a_chat_end_to_end(void **state) {
    (void)state;
    json_t *cases, *c;
    size_t i, n, k;
    wick_model *m = run_open(CHAT);
    ok(wk_json_read(CHAT "/reference.json", 1 << 20, &cases));
    json_array_foreach(cases, i, c) {
        json_t *ask = json_pack("{s:O}", "messages", json_object_get(c, "messages")), *ids = json_object_get(c, "ids"),
               *want = json_object_get(c, "greedy_ids"), *id;
        char *json = json_dumps(ask, 0), text[4096];
        wick_session *s = run_session(m, 0, 0);
        wick_generate_options o;
        wick_chat chat;
        wick_result r;
        run_log log = { 0 };
        ok(wick_chat_render(m, json, &chat));
        assert_string_equal(chat.text, json_string_value(json_object_get(c, "text")));
        assert_int_equal(chat.n_ids, json_array_size(ids));
        json_array_foreach(ids, k, id) assert_int_equal(chat.ids[k], json_integer_value(id));
        wick_generate_defaults(m, &o);
        o.temperature = 0;
        o.n_predict = (int)json_array_size(want);
        ok(wick_generate(s, &(wick_prompt){ .messages = json }, &o, run_on_token, &log, &r));
        assert_int_equal(log.n, json_array_size(want));
        json_array_foreach(want, k, id) assert_int_equal(log.id[k], json_integer_value(id));
        bool stopped = json_is_true(json_object_get(c, "stopped"));
        assert_int_equal(log.finish, stopped ? WICK_FINISH_STOP : WICK_FINISH_LENGTH);
        assert_int_equal(r.n_prompt, chat.n_ids);
        assert_int_equal(wick_token_is_end(m, log.id[log.n - 1]), stopped);
        ok(wick_detokenize(m, log.id, (size_t)(stopped ? log.n - 1 : log.n), false, text, sizeof text, &n));
        assert_string_equal(log.text, text);
        wick_chat_free(&chat);
        wick_session_free(s);
        free(json);
        json_decref(ask);
    }
    json_decref(cases);
    wick_model_free(m);
}

static void defaults_come_from_the_model(void **state) {
    (void)state;
    wick_generate_options o;
    wick_generate_defaults(NULL, &o);
    assert_true(o.temperature == 0.8f && o.top_k == 40 && o.top_p == 0.95f && o.min_p == 0.05f && o.repeat_penalty == 1 &&
                o.n_predict == -1);
    wick_model *m = run_open(CHAT);  /* do_sample, temperature 0.6, top_p 0.9; the rest is transformers' */
    wick_generate_defaults(m, &o);
    assert_true(o.temperature == 0.6f && o.top_k == 50 && o.top_p == 0.9f && o.min_p == 0);
    assert_true(wick_token_is_end(m, 1) && wick_token_is_end(m, 2) && wick_token_is_end(m, 25) && !wick_token_is_end(m, 3));
    assert_false(wick_token_is_end(m, -1) || wick_token_is_end(m, 1 << 20));
    wick_model_free(m);
    m = run_open(LLAMA);  /* says only its ids, and has no tokenizer */
    wick_generate_defaults(m, &o);
    assert_true(o.temperature == 0.8f && o.top_k == 40);
    assert_true(wick_token_is_end(m, 2) && !wick_token_is_end(m, 1));
    wick_model_free(m);
}

/* ---- the same whichever way ---- */

static void chunks_and_reuse_change_nothing(void **state) {
    (void)state;
    size_t n;
    int64_t shape[4];
    int32_t *ids = run_ids(LLAMA "/reference.safetensors", "input_ids", &n, shape);
    wick_model *m = run_open(LLAMA);
    wick_generate_options o = run_greedy(m, 20);
    wick_prompt whole = of_ids(ids, 48), half = of_ids(ids, 30);
    wick_result r;
    run_log alone = { 0 };
    wick_session *s = run_session(m, 128, 512);
    ok(wick_generate(s, &whole, &o, run_on_token, &alone, &r));
    assert_int_equal(r.n_cached, 0);
    for (int k = 0; k < 4; k++) {
        run_log log = { 0 };
        wick_session *other = run_session(m, 128, (int[]){ 1, 3, 16, 48 }[k]);
        ok(wick_generate(other, &whole, &o, run_on_token, &log, &r));
        run_same(&alone, &log);
        wick_session_free(other);
    }
    struct { wick_prompt p; int cached; } turns[] = { { whole, 47 }, { half, 29 }, { whole, 30 }, { whole, 47 } };
    for (int k = 0; k < 4; k++) {
        run_log log = { 0 };
        ok(wick_generate(s, &turns[k].p, &o, run_on_token, &log, &r));
        assert_int_equal(r.n_cached, turns[k].cached);
        if (turns[k].p.n_ids == 48) run_same(&alone, &log);
    }
    /* A prompt that goes on from what was generated, and one that leaves it in the middle. */
    int32_t longer[80];
    run_log reused = { 0 }, fresh = { 0 };
    memcpy(longer, ids, 48 * sizeof *longer);
    memcpy(longer + 48, alone.id, 20 * sizeof *longer);
    longer[68] = 7;
    wick_prompt next = of_ids(longer, 69);
    ok(wick_generate(s, &next, &o, run_on_token, &reused, &r));
    assert_int_equal(r.n_cached, 67);  /* all that was fed: the last token generated was not */
    wick_session_reset(s);
    assert_int_equal(wick_session_n_used(s), 0);
    ok(wick_generate(s, &next, &o, run_on_token, &fresh, &r));
    assert_int_equal(r.n_cached, 0);
    run_same(&fresh, &reused);
    wick_session_free(s);
    wick_model_free(m);
    free(ids);
}

/* Longrope: what a session holds of a long sequence is not taken for a short prompt that begins alike, nor the other way round. */
static void longrope_reuse_changes_nothing(void **state) {
    (void)state;
    enum { N = 12 };
    size_t n;
    int64_t shape[4];
    int32_t *ids = run_ids("data/models/phi3-crossing/reference.safetensors", "input_ids", &n, shape);
    wick_model *m = run_open("data/models/phi3-crossing");
    wick_generate_options o = run_greedy(m, N);
    wick_session *s = run_session(m, 0, 8);
    wick_result r;
    static const struct { int n_prompt, cached; } turns[] = { { 24, 0 },  { 20, 19 }, { 48, 20 },
                                                            { 24, 23 }, { 30, 24 }, { 40, 30 } };
    for (size_t k = 0; k < sizeof turns / sizeof *turns; k++) {  /* the original context is 32 */
        wick_session *fresh = run_session(m, 0, 64);
        wick_prompt p = of_ids(ids, (size_t)turns[k].n_prompt);
        run_log reused = { 0 }, alone = { 0 };
        ok(wick_generate(s, &p, &o, run_on_token, &reused, &r));
        assert_int_equal(r.n_cached, turns[k].cached);
        ok(wick_generate(fresh, &p, &o, run_on_token, &alone, &r));
        run_same(&alone, &reused);
        wick_session_free(fresh);
    }
    wick_session_free(s);
    wick_model_free(m);
    free(ids);
}

/* Two sessions of one model, each on its own thread. */
typedef struct side { wick_model *m; uint64_t seed; run_log log; } side;
static void *run_side(void *arg) {
    side *x = arg;
    wick_session *s = run_session(x->m, 0, 8);
    wick_generate_options o = run_greedy(x->m, 60);
    wick_prompt p = of_text("12345 the ");
    o.temperature = 1;
    o.seed = x->seed;
    ok(wick_generate(s, &p, &o, run_on_token, &x->log, NULL));
    wick_session_free(s);
    return NULL;
}

static void sessions_side_by_side(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    side *x = calloc(4, sizeof *x);
    pthread_t t[2];
    for (int i = 0; i < 4; i++) x[i] = (side){ .m = m, .seed = (uint64_t)(i % 2) };
    run_side(&x[0]);
    run_side(&x[1]);
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&t[i], NULL, run_side, &x[2 + i]), 0);
    for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
    run_same(&x[0].log, &x[2].log);
    run_same(&x[1].log, &x[3].log);
    assert_true(memcmp(x[0].log.id, x[1].log.id, sizeof x[0].log.id) != 0);
    free(x);
    wick_model_free(m);
}

/* ---- where it ends ---- */

static void stop_texts(void **state) {
    (void)state;
    lab_rng rng = { 21, 0 };
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 0, 0);
    wick_prompt p = of_text("It is ");
    for (int round = 0; round < 40; round++) {
        wick_generate_options o = run_greedy(m, 40);
        run_log whole = { 0 }, cut = { 0 };
        wick_result r;
        char stop[2][64] = { { 0 } };
        const char *stops[2] = { stop[0], stop[1] };
        o.temperature = 1.2f;
        o.seed = (uint64_t)round;
        ok(wick_generate(s, &p, &o, run_on_token, &whole, NULL));
        if (whole.n_text < 20 || strlen(whole.text) < whole.n_text) continue;  /* a NUL may come up, a stop text has none */
        for (int i = 0; i < 2; i++) {  /* two pieces of the text, cut between characters */
            size_t from = (size_t)lab_pick(&rng, 0, (int)whole.n_text - 12), to = from + (size_t)lab_pick(&rng, 1, 10);
            while ((whole.text[from] & 0xC0) == 0x80) from++;
            if (to <= from) to = from + 1;
            while ((whole.text[to] & 0xC0) == 0x80) to++;
            snprintf(stop[i], sizeof stop[i], "%.*s", (int)(to - from), whole.text + from);
        }
        o.stop = stops;
        o.n_stop = 2;
        ok(wick_generate(s, &p, &o, run_on_token, &cut, &r));
        /* The stop text that ends first; of two that end together the longer. */
        size_t end = SIZE_MAX, at = 0;
        for (int i = 0; i < 2; i++) {
            const char *found = strstr(whole.text, stop[i]);
            size_t e = (size_t)(found - whole.text) + strlen(stop[i]), b = (size_t)(found - whole.text);
            if (e < end || (e == end && b < at)) { end = e; at = b; }
        }
        assert_int_equal(r.finish_reason, WICK_FINISH_STOP);
        assert_int_equal(cut.n_text, at);
        assert_memory_equal(cut.text, whole.text, at);
        assert_memory_equal(cut.id, whole.id, (size_t)cut.n * sizeof *cut.id);
    }
    /* One that never comes whole is shown after all. */
    wick_generate_options o = run_greedy(m, 12);
    run_log plain = { 0 }, held = { 0 };
    ok(wick_generate(s, &p, &o, run_on_token, &plain, NULL));
    char never[64];
    assert_true(plain.n_text > 3);
    snprintf(never, sizeof never, "%.20s\x01\x02", plain.text + plain.n_text - 3);
    o.stop = (const char *const[]){ never };
    o.n_stop = 1;
    ok(wick_generate(s, &p, &o, run_on_token, &held, NULL));
    run_same(&plain, &held);
    wick_session_free(s);
    wick_model_free(m);
}

static void end_ids_and_lengths(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 32, 0);
    wick_generate_options o = run_greedy(m, -1);
    wick_result r;
    run_log log = { 0 };
    int32_t ids[40];
    for (int i = 0; i < 40; i++) ids[i] = 30 + i;
    wick_prompt p = of_ids(ids, 20);
    ok(wick_generate(s, &p, &o, run_on_token, &log, &r));  /* until the context is full: the last one needs no place */
    assert_int_equal(log.n, 13);
    assert_int_equal(log.finish, WICK_FINISH_LENGTH);
    assert_int_equal(wick_session_n_used(s), 32);
    assert_int_equal(wick_session_n_ctx(s), 32);
    p.n_ids = 32;
    log.n = log.finish = 0;
    ok(wick_generate(s, &p, &o, run_on_token, &log, &r));
    assert_int_equal(log.n, 1);
    p.n_ids = 33;
    refused(wick_generate(s, &p, &o, NULL, NULL, &r), WICK_E_LENGTH, "the prompt has 33 tokens, the context 32");
    assert_int_equal(r.n_generated, 0);
    o.n_predict = 0;
    p.n_ids = 10;
    log.n = log.finish = 0;
    ok(wick_generate(s, &p, &o, run_on_token, &log, &r));  /* the prompt alone */
    assert_int_equal(log.n, 0);
    assert_int_equal(r.finish_reason, WICK_FINISH_LENGTH);
    assert_int_equal(wick_session_n_used(s), 10);
    /* An end-of-turn token ends, unless that is to be ignored; either way it is marked. */
    o.n_predict = 5;
    wick_logit_bias want[] = { { 25, 1000 } };
    o.logit_bias = want;
    o.n_logit_bias = 1;
    log.n = log.finish = 0;
    log.n_text = 0;
    ok(wick_generate(s, &p, &o, run_on_token, &log, &r));
    assert_int_equal(log.n, 5);
    assert_string_equal(log.text, "44444");
    o.ignore_end = false;
    log.n = log.finish = 0;
    log.n_text = 0;
    log.text[0] = 0;
    ok(wick_generate(s, &p, &o, run_on_token, &log, &r));
    assert_int_equal(log.n, 1);
    assert_int_equal(log.finish, WICK_FINISH_STOP);
    assert_string_equal(log.text, "");
    wick_session_free(s);
    wick_model_free(m);
}

static int32_t arg_max(const float *l, int n) {
    int best = 0;
    for (int i = 1; i < n; i++) if (l[i] > l[best]) best = i;
    return best;
}

static void shifting(void **state) {
    (void)state;
    enum { N_VOCAB = 320 };
    wick_model *m = run_open(LLAMA);
    for (int n_ctx = 1; n_ctx <= 17; n_ctx += 4) {
        wick_session_options so;
        wick_session *s;
        wick_session_defaults(&so);
        so.n_ctx = n_ctx;
        so.n_batch = 3;
        so.shift = true;
        ok(wick_session_new(m, &so, &s));
        wick_generate_options o = run_greedy(m, 50);
        int32_t ids[64] = { 5, 9, 200, 31, 77, 8, 150, 3, 4 };
        int n = n_ctx < 9 ? n_ctx : 9, shifted = 0;
        wick_prompt p = of_ids(ids, (size_t)n);
        wick_result r;
        run_log log = { 0 };
        ok(wick_generate(s, &p, &o, run_on_token, &log, &r));
        assert_int_equal(log.n, 50);
        assert_int_equal(log.finish, WICK_FINISH_LENGTH);
        /* By hand: the first token stays, the older half of the rest goes. */
        wick_session *plain = run_session(m, n_ctx, 0);
        float logits[17 * N_VOCAB];
        for (int i = 0; i < 50; i++) {
            ok(wick_logits(plain, ids, (size_t)n, logits, sizeof logits / 4));
            int32_t id = arg_max(logits + (n - 1) * N_VOCAB, N_VOCAB);
            assert_int_equal(log.id[i], id);
            assert_true(log.logit[i] == logits[(n - 1) * N_VOCAB + id]);
            if (i == 49) break;
            if (n == n_ctx) {
                int keep = n > 1, drop = (n - keep + 1) / 2;
                memmove(ids + keep, ids + keep + drop, (size_t)(n - keep - drop) * sizeof *ids);
                n -= drop;
                shifted += drop;
            }
            ids[n++] = id;
        }
        assert_int_equal(r.n_shifted, shifted);
        assert_true(shifted > 0);
        wick_session_free(plain);
        wick_session_free(s);
    }
    wick_model_free(m);
}

/* ---- what is reported ---- */

static void logprobs_against_logits(void **state) {
    (void)state;
    enum { N_VOCAB = 320, N = 10 };
    size_t n;
    int64_t shape[4];
    int32_t all[64], *ids = run_ids(LLAMA "/reference.safetensors", "input_ids", &n, shape);
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = run_greedy(m, N);
    wick_prompt p = of_ids(ids, 20);
    run_log got = { 0 };
    o.temperature = 0.7f;
    o.repeat_penalty = 1.5f;
    o.logprobs = true;
    ok(wick_generate(s, &p, &o, run_on_token, &got, NULL));
    memcpy(all, ids, 20 * sizeof *all);
    memcpy(all + 20, got.id, N * sizeof *all);
    float *logits = calloc(30 * N_VOCAB, sizeof *logits);
    ok(wick_logits(s, all, 30, logits, 30 * N_VOCAB));
    for (int i = 0; i < N; i++) {
        const float *row = logits + (19 + i) * N_VOCAB;
        double sum = 0;
        for (int k = 0; k < N_VOCAB; k++) sum += exp((double)row[k]);
        assert_true(got.logit[i] == row[got.id[i]]);
        assert_true(fabs((double)got.logprob[i] - ((double)row[got.id[i]] - log(sum))) < 1e-4);
    }
    free(logits);
    free(ids);
    wick_session_free(s);
    wick_model_free(m);
}

static bool check_top(const wick_token *t, void *user) {
    (void)user;
    assert_int_equal(t->n_top, 5);
    assert_int_equal(t->top[0].id, t->id);  /* greedy */
    assert_true(t->top[0].logprob == t->logprob && fabs(exp((double)t->logprob) - (double)t->prob) < 1e-6);
    for (int i = 1; i < 5; i++) assert_true(t->top[i].logprob <= t->top[i - 1].logprob);
    return true;
}

static void top_logprobs(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = run_greedy(m, 5);
    wick_prompt p = of_ids((int32_t[]){ 1, 2, 3 }, 3);
    o.n_top_logprobs = 5;
    ok(wick_generate(s, &p, &o, check_top, NULL, NULL));
    wick_session_free(s);
    wick_model_free(m);
}

static void times_add_up(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = run_greedy(m, 40);
    wick_prompt p = of_text("It was a dark");
    wick_result r;
    ok(wick_generate(s, &p, &o, NULL, NULL, &r));
    assert_true(r.prompt_s > 0 && r.generate_s > 0 && r.stream_s > 0 && r.stream_s < r.generate_s);
    wick_session_free(s);
    wick_model_free(m);
}

/* ---- stopping ---- */

static bool cancel_at_three(const wick_token *t, void *s) {
    if (t->index == 3) wick_session_cancel(s);
    return true;
}

typedef struct canceller { wick_session *s; atomic_bool over; } canceller;
static void *keep_cancelling(void *arg) {
    canceller *c = arg;
    while (!atomic_load(&c->over)) wick_session_cancel(c->s);
    return NULL;
}

static void cancelling(void **state) {
    (void)state;
    size_t n;
    int64_t shape[4];
    int32_t *ids = run_ids(LLAMA "/reference.safetensors", "input_ids", &n, shape);
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 0, 1);
    wick_generate_options o = run_greedy(m, 20);
    wick_prompt p = of_ids(ids, 48);
    wick_result r;
    run_log log = { .stop_after = 4 }, first = { 0 }, again = { 0 };
    ok(wick_generate(s, &p, &o, run_on_token, &first, NULL));
    refused(wick_generate(s, &p, &o, run_on_token, &log, &r), WICK_E_CANCELLED, "callback");
    assert_int_equal(r.finish_reason, WICK_FINISH_CANCELLED);
    assert_int_equal(r.n_generated, 4);
    refused(wick_generate(s, &p, &o, cancel_at_three, s, &r), WICK_E_CANCELLED, "cancelled");
    assert_int_equal(r.n_generated, 4);
    /* In the middle of a prompt, from another thread; wick_logits() too. */
    float *logits = calloc(48 * 320, sizeof *logits);
    canceller c = { .s = s };
    pthread_t t;
    wick_session_reset(s);
    assert_int_equal(pthread_create(&t, NULL, keep_cancelling, &c), 0);
    wick_status a = WICK_OK, b = WICK_OK;  /* a cancel that comes as a call begins is lost; another follows */
    for (int i = 0; i < 1000 && a != WICK_E_CANCELLED; i++) a = wick_generate(s, &p, &o, NULL, NULL, &r);
    for (int i = 0; i < 1000 && b != WICK_E_CANCELLED; i++) b = wick_logits(s, ids, 48, logits, 48 * 320);
    atomic_store(&c.over, true);
    pthread_join(t, NULL);
    assert_int_equal(a, WICK_E_CANCELLED);
    assert_int_equal(b, WICK_E_CANCELLED);
    ok(wick_generate(s, &p, &o, run_on_token, &again, NULL));  /* as good as new */
    run_same(&first, &again);
    free(logits);
    free(ids);
    wick_session_free(s);
    wick_model_free(m);
}

static bool use_again(const wick_token *t, void *s) {
    (void)t;
    wick_prompt p = of_ids((int32_t[]){ 1 }, 1);
    assert_int_equal(wick_generate(s, &p, NULL, NULL, NULL, NULL), WICK_E_ARG);
    wick_session_reset(s);  /* ignored */
    return true;
}

static void one_call_at_a_time(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = run_greedy(m, 3);
    wick_prompt p = of_ids((int32_t[]){ 1, 2, 3 }, 3);
    wick_result r;
    ok(wick_generate(s, &p, &o, use_again, s, &r));
    assert_int_equal(r.n_generated, 3);
    wick_session_free(s);
    wick_model_free(m);
}

/* ---- allocation ---- */

static void no_allocation_for_a_token(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    for (int k = 0; k < 3; k++) {
        wick_session *s = run_session(m, 256, 0);
        wick_generate_options o = run_greedy(m, 200);
        wick_prompt p = of_text("This is ");
        run_counter c = { 0 };
        o.temperature = (float[]){ 0, 1, 1 }[k];
        o.repeat_penalty = 1.2f;
        o.n_top_logprobs = k == 2 ? 20 : 0;
        o.stop = (const char *const[]){ "\x01never\x02" };
        o.n_stop = 1;
        ok(wick_generate(s, &p, &o, run_count, &c, NULL));
        assert_int_equal(c.at_8, c.at_end);
        wick_session_free(s);
    }
    wick_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_ids_of_each_model),
        cmocka_unit_test(a_chat_end_to_end),
        cmocka_unit_test(defaults_come_from_the_model),
        cmocka_unit_test(chunks_and_reuse_change_nothing), cmocka_unit_test(longrope_reuse_changes_nothing),
        cmocka_unit_test(sessions_side_by_side),
        cmocka_unit_test(stop_texts),
        cmocka_unit_test(end_ids_and_lengths),
        cmocka_unit_test(shifting),
        cmocka_unit_test(logprobs_against_logits),
        cmocka_unit_test(top_logprobs),
        cmocka_unit_test(times_add_up),
        cmocka_unit_test(cancelling),
        cmocka_unit_test(one_call_at_a_time),
        cmocka_unit_test(no_allocation_for_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
