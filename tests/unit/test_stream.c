/* test_stream.c: the pull ring: the same tokens as by callback for any ring, waiting, polling, closing early, errors. */
#include "base/clock.h"
#include "base/mem.h"
#include "support/run.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAT "data/models/llama-chat"

static wick_prompt prompt(void) { return (wick_prompt){ .text = "The 12 caf\xC3\xA9s " }; }

static wick_generate_options sampled(const wick_model *m, int n) {
    wick_generate_options o = run_greedy(m, n);
    o.temperature = 1;
    o.seed = 5;
    o.n_top_logprobs = 3;
    return o;
}

static bool readable(const wick_stream *st) {
    struct pollfd p = { .fd = wick_stream_fd(st), .events = POLLIN };
    return poll(&p, 1, 0) == 1;
}

static bool wait_readable(const wick_stream *st) {
    struct pollfd p = { .fd = wick_stream_fd(st), .events = POLLIN };
    return poll(&p, 1, 10000) == 1;
}

/* Pulls until something else than a token comes. */
static wick_status pull_all(wick_stream *st, bool by_poll, run_log *log) {
    wick_token t;
    wick_status s;
    for (;;) {
        if (by_poll) assert_true(wait_readable(st));
        s = wick_stream_next(st, by_poll ? 0 : -1, &t);
        if (s) return s;
        for (size_t i = 1; i < t.n_top; i++) assert_true(t.top[i].logprob <= t.top[i - 1].logprob);
        assert_int_equal(t.n_top, 3);
        run_add(log, &t);
    }
}

static void a_stream_equals_a_callback(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = sampled(m, 60);
    wick_prompt p = prompt();
    wick_token t;
    run_log by_callback = { 0 };
    wick_result r;
    ok(wick_generate(s, &p, &o, run_on_token, &by_callback, NULL));
    for (int k = 0; k < 6; k++) {
        wick_stream *st;
        run_log log = { 0 };
        ok(wick_stream_new(s, &p, &o, (size_t[]){ 1, 2, 1024 }[k / 2], &st));
        assert_int_equal(pull_all(st, k % 2, &log), WICK_E_END);
        assert_int_equal(wick_stream_next(st, -1, &t), WICK_E_END);
        assert_true(readable(st));
        run_same(&by_callback, &log);
        wick_stream_result(st, &r);
        assert_int_equal(r.n_generated, 60);
        assert_int_equal(r.finish_reason, WICK_FINISH_LENGTH);
        assert_true(r.stream_s > 0 && r.stream_s < r.generate_s);
        wick_stream_free(st);
    }
    wick_session_free(s);
    wick_model_free(m);
}

static void a_full_ring_makes_the_producer_wait(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = sampled(m, 20);
    wick_prompt p = prompt();
    wick_stream *st;
    wick_token t;
    wick_result r;
    ok(wick_stream_new(s, &p, &o, 2, &st));
    assert_true(wait_readable(st));
    usleep(200000);  /* far longer than 20 tokens take; it stands at 2 in the ring and 1 in hand */
    wick_stream_result(st, &r);
    assert_int_equal(r.n_generated, 0);  /* not done */
    for (int i = 0; i < 20; i++) {
        ok(wick_stream_next(st, 10000, &t));
        assert_int_equal(t.index, i);
    }
    assert_int_equal(wick_stream_next(st, 10000, &t), WICK_E_END);
    wick_stream_result(st, &r);
    assert_int_equal(r.n_generated, 20);
    assert_true(r.generate_s > 0.1 && r.stream_s < 0.1);  /* waiting is not streaming's cost */
    wick_stream_free(st);
    wick_session_free(s);
    wick_model_free(m);
}

static void timeouts(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 0, 1);
    wick_generate_options o = sampled(m, 3);
    int32_t ids[200];
    for (int i = 0; i < 200; i++) ids[i] = i + 20;
    wick_prompt p = { .ids = ids, .n_ids = 200 };
    wick_stream *st;
    wick_token t;
    int n_timeout = 0, n = 0;
    ok(wick_stream_new(s, &p, &o, 4, &st));
    for (wick_status x = WICK_OK; x != WICK_E_END; n += !x) {
        if (!readable(st)) {
            double from = wk_now();
            x = wick_stream_next(st, 1, &t);
            if (x == WICK_E_TIMEOUT) {
                n_timeout++;
                assert_true(wk_now() - from > 0.0009);
                assert_non_null(strstr(wick_last_error(), "1 ms"));
                continue;
            }
        } else {
            x = wick_stream_next(st, 0, &t);  /* what polls readable does not time out */
        }
        if (x && x != WICK_E_END) fail_msg("%s", wick_last_error());
    }
    assert_int_equal(n, 3);
    assert_true(n_timeout > 0);
    wick_stream_free(st);
    wick_session_free(s);
    wick_model_free(m);
}

static void closed_early(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = sampled(m, 200);
    wick_prompt p = prompt();
    wick_token t;
    run_log before = { 0 }, after = { 0 };
    ok(wick_generate(s, &p, &o, run_on_token, &before, NULL));
    for (int k = 0; k < 12; k++) {
        wick_stream *st;
        ok(wick_stream_new(s, &p, &o, 1 + (size_t)k % 3, &st));
        for (int i = 0; i < k; i++) ok(wick_stream_next(st, -1, &t));
        wick_stream_free(st);
    }
    wick_stream_free(NULL);
    ok(wick_generate(s, &p, &o, run_on_token, &after, NULL));
    run_same(&before, &after);
    wick_session_free(s);
    wick_model_free(m);
}

static void cancelled_and_wrong(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 64, 0);
    wick_generate_options o = sampled(m, 40), wrong = o;
    wick_prompt p = prompt();
    wick_stream *st = NULL;
    wick_token t;
    wick_result r;
    refused(wick_stream_new(s, &p, &o, 0, &st), WICK_E_ARG, "n_ring is 0");
    refused(wick_stream_new(s, &p, &o, 65537, &st), WICK_E_ARG, "65536");
    refused(wick_stream_new(NULL, &p, &o, 1, &st), WICK_E_ARG, "session");
    refused(wick_stream_new(s, &p, &o, 1, NULL), WICK_E_ARG, "out");
    wrong.top_p = 2;
    refused(wick_stream_new(s, &p, &wrong, 1, &st), WICK_E_ARG, "top_p");
    int32_t ids[65] = { 0 };
    refused(wick_stream_new(s, &(wick_prompt){ .ids = ids, .n_ids = 65 }, &o, 1, &st), WICK_E_LENGTH, "65 tokens, the context 64");
    assert_null(st);
    refused(wick_stream_next(NULL, 0, &t), WICK_E_ARG, "stream");
    assert_int_equal(wick_stream_fd(NULL), -1);

    ok(wick_stream_new(s, &p, &o, 2, &st));
    refused(wick_stream_next(st, 0, NULL), WICK_E_ARG, "out");
    refused(wick_generate(s, &p, &o, NULL, NULL, NULL), WICK_E_ARG, "in use");  /* the session is the stream's */
    ok(wick_stream_next(st, -1, &t));
    wick_session_cancel(s);
    wick_status x;
    int n = 0;
    while (!(x = wick_stream_next(st, -1, &t))) n++;
    assert_int_equal(x, WICK_E_CANCELLED);  /* after what was in the ring already */
    assert_in_range(n, 0, 3);
    assert_int_equal(wick_stream_next(st, 0, &t), WICK_E_CANCELLED);
    wick_stream_result(st, &r);
    assert_int_equal(r.finish_reason, WICK_FINISH_CANCELLED);
    wick_stream_free(st);
    ok(wick_generate(s, &p, &o, NULL, NULL, NULL));
    wick_session_free(s);
    wick_model_free(m);
}

/* Closing a stream while the prompt is still read stops it at the next pass: most of it was never computed. */
static void closing_stops_a_long_prompt(void **state) {
    (void)state;
    enum { N = 4000 };
    wick_model *m = run_open(CHAT);
    wick_session_options so;
    wick_session *s;
    wick_session_defaults(&so);
    so.n_ctx = N + 8;
    so.n_batch = 8;
    ok(wick_session_new(m, &so, &s));
    static int32_t ids[N];
    wick_generate_options o = sampled(m, 4);
    wick_stream *st;
    ok(wick_stream_new(s, &(wick_prompt){ .ids = ids, .n_ids = N }, &o, 4, &st));
    wick_stream_free(st);
    assert_in_range(wick_session_n_used(s), 0, N - 1);
    wick_session_free(s);
    wick_model_free(m);
}

/* The prompt and the options are the stream's own once it is there. */
static void what_was_given_is_copied(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 0, 0);
    run_log want = { 0 }, got = { 0 };
    char text[32] = "It was ", stop_text[8] = "zq";
    const char *stop[] = { stop_text };
    wick_logit_bias bias[] = { { 30, 1 } };
    wick_generate_options o = sampled(m, 30);
    wick_prompt p = { .text = text };
    wick_stream *st;
    o.stop = stop;
    o.n_stop = 1;
    o.logit_bias = bias;
    o.n_logit_bias = 1;
    ok(wick_generate(s, &p, &o, run_on_token, &want, NULL));
    ok(wick_stream_new(s, &p, &o, 1, &st));
    memset(text, 0, sizeof text);
    memset(stop_text, 0, sizeof stop_text);
    memset(stop, 0xff, sizeof stop);
    memset(bias, 0xff, sizeof bias);
    memset(&o, 0xff, sizeof o);
    assert_int_equal(pull_all(st, false, &got), WICK_E_END);
    run_same(&want, &got);
    wick_stream_free(st);
    wick_session_free(s);
    wick_model_free(m);
}

static volatile sig_atomic_t heard;
static void hear(int sig) { heard = sig; }

/* None of the library's threads takes a signal: a program that waits for it in ppoll() would not wake. */
static void signals_are_left_to_the_program(void **state) {
    (void)state;
    wick_model_options mo;
    wick_model *m;
    wick_stream *st;
    wick_token t;
    sigset_t one, before;
    wick_model_defaults(&mo);
    mo.n_threads = 4;
    struct sigaction a = { .sa_handler = hear }, was;
    sigaction(SIGUSR1, &a, &was);
    ok(wick_model_open(CHAT, &mo, &m));
    wick_session *s = run_session(m, 0, 0);
    wick_generate_options o = sampled(m, 60);
    wick_prompt p = prompt();
    ok(wick_stream_new(s, &p, &o, 4, &st));
    ok(wick_stream_next(st, -1, &t));  /* every thread runs */
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, &before);
    kill(getpid(), SIGUSR1);
    while (!wick_stream_next(st, -1, &t)) {}
    assert_int_equal(heard, 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(heard, SIGUSR1);
    sigaction(SIGUSR1, &was, NULL);
    wick_stream_free(st);
    wick_session_free(s);
    wick_model_free(m);
}

static void no_allocation_for_a_token(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 256, 0);
    wick_generate_options o = sampled(m, 220);
    wick_prompt p = prompt();
    for (int k = 0; k < 3; k++) {
        wick_stream *st;
        wick_token t;
        uint64_t before = 0;
        ok(wick_stream_new(s, &p, &o, (size_t[]){ 1, 8, 512 }[k], &st));
        for (int i = 0; i < 220; i++) {
            ok(wick_stream_next(st, -1, &t));
            if (i == 8) before = wk_alloc_count();
        }
        assert_int_equal(wk_alloc_count(), before);
        wick_stream_free(st);
    }
    wick_session_free(s);
    wick_model_free(m);
}

static void failed_allocations(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_session *s = run_session(m, 64, 0);
    wick_generate_options o = sampled(m, 8);
    const char *stop[] = { "\x01\x02" };
    wick_prompt p = { .messages = "{\"messages\":[{\"role\":\"user\",\"content\":\"12345\"}]}" };
    o.stop = stop;
    o.n_stop = 1;
    for (uint64_t k = 1, done = 0; !done; k++) {
        wick_stream *st = NULL;
        wick_token t;
        assert_true(k < 5000);
        wk_alloc_fail_at(k);
        wick_status x = wick_stream_new(s, &p, &o, 4, &st);
        if (!x) {
            while (!(x = wick_stream_next(st, -1, &t))) {}
            done = x == WICK_E_END;
        }
        wk_alloc_fail_at(0);
        if (!done && x != WICK_E_MEMORY) fail_msg("allocation %d: %s: %s", (int)k, wick_status_name(x), wick_last_error());
        wick_stream_free(st);
    }
    wick_session_free(s);
    wick_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_equals_a_callback),
        cmocka_unit_test(a_full_ring_makes_the_producer_wait),
        cmocka_unit_test(timeouts),
        cmocka_unit_test(closed_early),
        cmocka_unit_test(cancelled_and_wrong), cmocka_unit_test(closing_stops_a_long_prompt),
        cmocka_unit_test(what_was_given_is_copied),
        cmocka_unit_test(signals_are_left_to_the_program),
        cmocka_unit_test(no_allocation_for_a_token),
        cmocka_unit_test(failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
