/* test_guess.c: guessing ahead changes no token, no bit of a logit, no text and not what a session holds: greedy and sampled,
 * from the text and by another model, across a full context and a rope that turns; and it saves passes. */
#include "generate/generate.h"
#include "support/lab.h"
#include "support/run.h"
#include <pthread.h>
#include <string.h>

#define CHAT "data/models/llama-chat"
#define LLAMA "data/models/llama"

/* Ids that repeat every `period` places, but for a place now and then. */
static void repeating(int32_t *ids, int n, int period, uint64_t seed) {
    lab_rng rng = { seed, 0 };
    for (int i = 0; i < n; i++) {
        uint64_t x = lab_next(&rng);
        ids[i] = i >= period && x % 16 ? ids[i - period] : (int32_t)(3 + x / 16 % 200);
    }
}

static void lookup(void **state) {
    (void)state;
    int32_t out[8];
    const int32_t once[] = { 1, 2, 3, 4, 5, 2, 3 };
    assert_int_equal(wk_guess_lookup(once, 7, 2, out), 2);
    assert_true(out[0] == 4 && out[1] == 5);
    const int32_t longer[] = { 1, 2, 3, 9, 8, 2, 3, 7, 1, 2, 3 };  /* the longer run wins over the nearer one */
    assert_int_equal(wk_guess_lookup(longer, 11, 1, out), 1);
    assert_int_equal(out[0], 9);
    const int32_t nearer[] = { 2, 3, 9, 2, 3, 7, 2, 3 };
    assert_int_equal(wk_guess_lookup(nearer, 8, 1, out), 1);
    assert_int_equal(out[0], 7);
    const int32_t circle[] = { 5, 6, 5, 6, 5 };  /* goes on into what it guessed */
    assert_int_equal(wk_guess_lookup(circle, 5, 6, out), 6);
    for (int i = 0; i < 6; i++) assert_int_equal(out[i], i % 2 ? 5 : 6);
    const int32_t none[] = { 1, 2, 3, 4, 3 };  /* one token alone says too little */
    assert_int_equal(wk_guess_lookup(none, 5, 4, out), 0);
    assert_int_equal(wk_guess_lookup(none, 1, 4, out), 0);
    assert_int_equal(wk_guess_lookup(none, 0, 4, out), 0);
}

typedef struct setting { const char *path; int n_prompt, n_ctx, n_predict; float temperature, repeat_penalty; bool shift; } setting;

static wick_session *session_of(wick_model *m, const setting *c) {
    wick_session_options so;
    wick_session *s;
    wick_session_defaults(&so);
    so.n_ctx = c->n_ctx;
    so.n_batch = 32;
    so.shift = c->shift;
    ok(wick_session_new(m, &so, &s));
    return s;
}

/* Generates twice in one session: the second prompt is the first, what was generated, and one token more. */
static void twice(wick_session *s, const int32_t *ids, const setting *c, const wick_generate_options *o, run_log log[2],
                  wick_result r[2]) {
    int32_t again[RUN_MAX];
    memset(log, 0, 2 * sizeof *log);
    wick_session_reset(s);
    ok(wick_generate(s, &(wick_prompt){ .ids = ids, .n_ids = (size_t)c->n_prompt }, o, run_on_token, &log[0], &r[0]));
    if (c->shift) return;
    size_t n = (size_t)(c->n_prompt + log[0].n - 1);
    memcpy(again, ids, (size_t)c->n_prompt * sizeof *ids);
    memcpy(again + c->n_prompt, log[0].id, (size_t)(log[0].n - 1) * sizeof *ids);
    again[n++] = 7;
    if (n > (size_t)c->n_ctx) return;
    ok(wick_generate(s, &(wick_prompt){ .ids = again, .n_ids = n }, o, run_on_token, &log[1], &r[1]));
}

static void same_with_guesses(void **state) {
    (void)state;
    static const setting settings[] = {
        { LLAMA, 40, 200, 100, 0, 1, false },
        { LLAMA, 40, 200, 100, 0.7f, 1.1f, false },
        { LLAMA, 20, 48, 200, 0, 1, true },                           /* the context is full again and again */
        { LLAMA, 20, 48, -1, 0, 1, false },                           /* up to its last place */
        { "data/models/phi3-crossing", 20, 128, 60, 0, 1, false },   /* turns at 32 */
        { "data/models/mixtral", 30, 128, 40, 0, 1, false },
        { "data/models/mistral-window", 30, 128, 40, 0.5f, 1, false },
    };
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        const setting *c = &settings[k];
        static run_log plain[2], with[2];
        wick_result rp[2] = { { 0 } }, rw[2] = { { 0 } };
        int32_t ids[64];
        int right = 0, wrong = 0;
        wick_model *m = run_open(c->path);
        wick_session *s = session_of(m, c), *t = session_of(m, c), *d = session_of(m, c);
        wick_generate_options o = run_greedy(m, c->n_predict);
        repeating(ids, c->n_prompt, 5, k + 1);
        o.temperature = c->temperature;
        o.repeat_penalty = c->repeat_penalty;
        o.seed = 11;
        twice(s, ids, c, &o, plain, rp);
        for (int n_draft = 1; n_draft <= 64; n_draft *= 4)
            for (int by_model = 0; by_model < 2; by_model++) {
                o.n_draft = n_draft;
                o.draft = by_model ? d : NULL;
                twice(t, ids, c, &o, with, rw);
                run_same(&plain[0], &with[0]);
                run_same(&plain[1], &with[1]);
                assert_int_equal(wick_session_n_used(t), wick_session_n_used(s));
                assert_memory_equal(t->ids, s->ids, (size_t)s->n_ids * sizeof *s->ids);
                assert_int_equal(rw[0].finish_reason, rp[0].finish_reason);
                assert_int_equal(rw[0].n_shifted, rp[0].n_shifted);
                assert_int_equal(rw[1].n_cached, rp[1].n_cached);
                assert_true(rw[0].n_accepted <= rw[0].n_drafted && rw[0].n_accepted < rw[0].n_generated);
                right += rw[0].n_accepted;
                wrong += rw[0].n_drafted - rw[0].n_accepted;
            }
        if (!right || !wrong) fail_msg("%s: %d guesses right, %d wrong: nothing was tried", c->path, right, wrong);
        assert_int_equal(rp[0].n_drafted, 0);
        wick_session_free(s);
        wick_session_free(t);
        wick_session_free(d);
        wick_model_free(m);
    }
}

/* A model that guesses for itself is right each time: a pass for every n_draft + 1 tokens. */
static void guesses_save_passes(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    setting c = { LLAMA, 16, 128, 65, 0, 1, false };
    wick_session *s = session_of(m, &c), *d = session_of(m, &c);
    wick_generate_options o = run_greedy(m, 65);
    run_log log = { 0 };
    wick_result r;
    int32_t ids[16];
    repeating(ids, 16, 5, 3);
    o.n_draft = 4;
    o.draft = d;
    ok(wick_generate(s, &(wick_prompt){ .ids = ids, .n_ids = 16 }, &o, run_on_token, &log, &r));
    assert_int_equal(r.n_drafted, r.n_accepted);
    assert_true(r.n_accepted >= 65 * 4 / 5 - 4);
    wick_session_free(s);
    wick_session_free(d);
    wick_model_free(m);
}

static void stop_texts_and_streams(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    setting c = { .n_ctx = 128 };
    wick_session *s = session_of(m, &c), *d = session_of(m, &c);
    wick_generate_options o = run_greedy(m, 60);
    wick_prompt p = { .text = "one two three one two three one two" };
    static run_log plain, with;
    wick_result r;
    wick_stream *st;
    wick_token t;
    wick_status status;
    memset(&plain, 0, sizeof plain);
    memset(&with, 0, sizeof with);
    ok(wick_generate(s, &p, &o, run_on_token, &plain, &r));
    char stop[4] = { 0 };
    const char *const stops[] = { stop };
    memcpy(stop, plain.text + plain.n_text / 2, 1);
    for (int n = 0; n < 2; n++) {  /* by stop text: plain, then guessing */
        run_log *log = n ? &with : &plain;
        memset(log, 0, sizeof *log);
        wick_session_reset(s);
        o.stop = stops;
        o.n_stop = (unsigned char)stop[0] < 0x80;
        o.n_draft = n ? 8 : 0;
        o.draft = n ? d : NULL;
        ok(wick_generate(s, &p, &o, run_on_token, log, &r));
    }
    run_same(&plain, &with);
    memset(&with, 0, sizeof with);
    wick_session_reset(s);
    ok(wick_stream_new(s, &p, &o, 3, &st));
    while (!(status = wick_stream_next(st, -1, &t))) run_add(&with, &t);
    assert_int_equal(status, WICK_E_END);
    wick_stream_free(st);
    run_same(&plain, &with);
    ok(wick_generate(d, &p, NULL, NULL, NULL, NULL));  /* the draft is free again */
    wick_session_free(s);
    wick_session_free(d);
    wick_model_free(m);
}

static bool take_draft(const wick_token *t, void *user) {
    wick_session **d = user;
    refused(wick_generate(*d, &(wick_prompt){ .ids = (int32_t[]){ 5 }, .n_ids = 1 }, NULL, NULL, NULL, NULL), WICK_E_ARG, "in use");
    return t->index < 2;
}

static void refusals(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA), *other = run_open(CHAT), *classes = run_open("data/models/qwen2-classify");
    wick_session *s = run_session(m, 64, 0), *d = run_session(m, 64, 0), *o2 = run_session(other, 64, 0),
                 *o3 = run_session(classes, 64, 0);
    wick_generate_options o = run_greedy(m, 4);
    wick_prompt p = { .ids = (int32_t[]){ 5, 6 }, .n_ids = 2 };
    o.n_draft = 65;
    refused(wick_generate(s, &p, &o, NULL, NULL, NULL), WICK_E_ARG, "n_draft is 65, it can be 0 (off) to 64");
    o.n_draft = -1;
    refused(wick_generate(s, &p, &o, NULL, NULL, NULL), WICK_E_ARG, "n_draft is -1");
    o.n_draft = 4;
    o.draft = s;
    refused(wick_generate(s, &p, &o, NULL, NULL, NULL), WICK_E_ARG, "the session itself");
    o.draft = o2;
    refused(wick_generate(s, &p, &o, NULL, NULL, NULL), WICK_E_ARG, "1024 tokens, this one 320");
    o.draft = o3;
    refused(wick_generate(s, &p, &o, NULL, NULL, NULL), WICK_E_ARG, "classifier");
    o.draft = d;
    refused(wick_generate(s, &p, &o, take_draft, &d, NULL), WICK_E_CANCELLED, "callback");
    ok(wk_session_enter(d));
    refused(wick_generate(s, &p, &o, NULL, NULL, NULL), WICK_E_ARG, "draft session is in another call");
    wk_session_leave(d);
    ok(wick_generate(s, &p, &o, NULL, NULL, NULL));
    wick_session_free(s);
    wick_session_free(d);
    wick_session_free(o2);
    wick_session_free(o3);
    wick_model_free(m);
    wick_model_free(other);
    wick_model_free(classes);
}

typedef struct canceller { wick_session *draft; pthread_t thread; int turns; bool started; } canceller;

static void *cancel_soon(void *arg) {
    const canceller *c = arg;
    for (volatile int i = 0; i < c->turns; i++) {}
    wick_session_cancel(c->draft);
    return NULL;
}

static bool start_cancelling(const wick_token *t, void *arg) {
    canceller *c = arg;
    if (t->index == 0) c->started = !pthread_create(&c->thread, NULL, cancel_soon, c);
    return true;
}

/* A draft that another thread cancels while it guesses: what it had guessed was not fed, so nothing is taken back. */
static void cancelled_draft(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 256, 0), *d = run_session(m, 256, 0);
    wick_generate_options o = run_greedy(m, 100);
    wick_prompt p = { .ids = (int32_t[]){ 5, 6 }, .n_ids = 2 };
    int n_cancelled = 0;
    o.n_draft = 64;
    o.draft = d;
    for (int k = 0; k < 20; k++) {
        canceller c = { .draft = d, .turns = k * 50000 };
        wick_result r;
        wick_session_reset(s);
        wick_session_reset(d);
        wick_status st = wick_generate(s, &p, &o, start_cancelling, &c, &r);
        assert_true(c.started);
        pthread_join(c.thread, NULL);
        if (!st) continue;
        assert_int_equal(st, WICK_E_CANCELLED);
        assert_int_equal(wick_session_n_used(s), 2 + r.n_generated - 1);
        n_cancelled++;
    }
    assert_true(n_cancelled > 0);
    wick_session_free(s);
    wick_session_free(d);
    wick_model_free(m);
}

static void no_allocation(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 256, 0), *d = run_session(m, 256, 0);
    wick_generate_options o = run_greedy(m, 100);
    run_counter c = { 0 };
    o.n_draft = 8;
    for (int k = 0; k < 2; k++) {
        o.draft = k ? d : NULL;
        ok(wick_generate(s, &(wick_prompt){ .text = "again and again and again" }, &o, run_count, &c, NULL));
        assert_int_equal(c.at_8, c.at_end);
    }
    wick_session_free(s);
    wick_session_free(d);
    wick_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookup),
        cmocka_unit_test(same_with_guesses),
        cmocka_unit_test(guesses_save_passes),
        cmocka_unit_test(stop_texts_and_streams),
        cmocka_unit_test(refusals),
        cmocka_unit_test(cancelled_draft),
        cmocka_unit_test(no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
