/* test_sampler.c: the sampler against a brute-force one that sorts everything in double, by sets and by frequencies. */
#include "base/mem.h"
#include "generate/random.h"
#include "generate/sampler.h"
#include "support/lab.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ok(call) do { if (call) fail_msg("%s", wick_last_error()); } while (0)

static wick_generate_options greedy(void) {
    wick_generate_options o;
    wick_generate_defaults(NULL, &o);
    o.temperature = 0;
    return o;
}

/* All of the distribution: no filter. */
static wick_generate_options plain(float temperature) {
    wick_generate_options o = greedy();
    o.temperature = temperature;
    o.top_k = 0;
    o.top_p = 1;
    o.min_p = 0;
    return o;
}

static float *random_logits(lab_rng *r, int n, float spread) {
    float *l = calloc((size_t)n, sizeof *l);
    for (int i = 0; i < n; i++) l[i] = spread * lab_noise(r) * (lab_pick(r, 0, 9) ? 1 : 2);
    return l;
}

/* ---- random numbers ---- */

static void philox_known_answers(void **state) {  /* Random123's kat_vectors, philox4x32 10 */
    (void)state;
    static const struct { uint32_t c[4], k[2], want[4];
    } t[] = {
        { { 0 }, { 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        wk_philox(t[i].c, t[i].k, out);
        assert_memory_equal(out, t[i].want, sizeof out);
    }
}

static void uniform_is_uniform(void **state) {
    (void)state;
    enum { N = 200000, BINS = 64 };
    int n[BINS] = { 0 };
    double sum = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = wk_uniform(7, i);
        assert_true(u >= 0 && u < 1);
        n[(int)(u * BINS)]++;
        sum += u;
    }
    double chi = 0, expect = (double)N / BINS;
    for (int i = 0; i < BINS; i++) chi += (n[i] - expect) * (n[i] - expect) / expect;
    assert_true(fabs(sum / N - 0.5) < 0.003);
    assert_true(chi < 110);  /* 63 degrees of freedom: 110 is 1 in 4000, and the seed is fixed */
    assert_true(wk_uniform(1, 5) != wk_uniform(1, 6) && wk_uniform(1, 5) != wk_uniform(2, 5));
    assert_true(wk_uniform(1, 5) != wk_uniform(1, 5 + (1ull << 32)) && wk_uniform(1, 5) != wk_uniform(1 + (1ull << 32), 5));
}

/* ---- the reference ---- */

typedef struct ref { double l, p; int id; } ref;
static int by_logit(const void *a, const void *b) {
    const ref *x = a, *y = b;
    return x->l != y->l ? (x->l < y->l ? 1 : -1) : x->id - y->id;
}

/* Probability of each id after all filters, [n]; history in order. */
static double *reference(const float *logits, int n, const wick_generate_options *o, const int32_t *history, int n_history) {
    ref *r = calloc((size_t)n, sizeof *r);
    double *p = calloc((size_t)n, sizeof *p), sum = 0, all = 0;
    int last = o->penalty_last_n < 0 || o->penalty_last_n > n_history ? n_history : o->penalty_last_n, m = 0;
    for (int i = 0; i < n; i++) {
        int count = 0;
        float x = logits[i];
        for (size_t k = 0; k < o->n_logit_bias; k++) if (o->logit_bias[k].id == i) x += o->logit_bias[k].bias;
        for (int k = n_history - last; k < n_history; k++) count += history[k] == i;
        if (count) {
            x = x > 0 ? x / o->repeat_penalty : x * o->repeat_penalty;
            x -= (float)count * o->frequency_penalty + o->presence_penalty;
        }
        if (x > -INFINITY) r[m++] = (ref){ (double)x, 0, i };
    }
    qsort(r, (size_t)m, sizeof *r, by_logit);
    if (o->top_k > 0 && o->top_k < m) m = o->top_k;
    for (int i = 0; i < m; i++) all += r[i].p = exp(r[i].l - r[0].l);
    if (o->top_p < 1)
        for (int i = 0; i < m; i++)
            if ((sum += r[i].p) >= (double)o->top_p * all) m = i + 1;
    while (m > 1 && r[m - 1].l < (double)((float)r[0].l + (float)log((double)o->min_p))) m--;
    sum = 0;
    if (o->temperature > 0) {
        for (int i = 0; i < m; i++) sum += exp((r[i].l - r[0].l) / (double)o->temperature);
        for (int i = 0; i < m; i++) p[r[i].id] = exp((r[i].l - r[0].l) / (double)o->temperature) / sum;
    } else {
        p[r[0].id] = 1;
    }
    free(r);
    return p;
}

/* Draws n_draw times: nothing outside the reference's set, and each token as often as it says (5 sigma). */
static void check_draws(wk_sampler *s, const float *logits, const wick_generate_options *o, const int32_t *history, int n_history,
                        int n_draw) {
    int n = s->n_vocab, *seen = calloc((size_t)n, sizeof *seen);
    double *p = reference(logits, n, o, history, n_history);
    ok(wk_sampler_begin(s, o));
    for (int i = 0; i < n_history; i++) wk_sampler_accept(s, history[i]);
    for (int i = 0; i < n_draw; i++) {
        wk_choice c;
        ok(wk_sampler_choose(s, logits, (uint64_t)i, &c));
        if (!(p[c.id] > 0))
            fail_msg("token %d of %d was drawn, it is filtered out (k %d p %g min %g)", c.id, n, o->top_k, (double)o->top_p,
                     (double)o->min_p);
        assert_true(c.logit == logits[c.id]);
        seen[c.id]++;
    }
    for (int i = 0; i < n; i++) {
        double expect = p[i] * n_draw, sigma = sqrt(n_draw * p[i] * (1 - p[i]));
        if (fabs(seen[i] - expect) > 5 * sigma + 1)
            fail_msg("token %d came %d times of %d, expected %g +- %g (k %d p %g min %g T %g)", i, seen[i], n_draw, expect, sigma,
                     o->top_k, (double)o->top_p, (double)o->min_p, (double)o->temperature);
    }
    free(p);
    free(seen);
}

static void filters_against_brute_force(void **state) {
    (void)state;
    lab_rng rng = { 11, 0 };
    for (int round = 0; round < 300; round++) {
        int n = lab_pick(&rng, 1, 200), n_history = lab_pick(&rng, 0, 60);
        float *logits = random_logits(&rng, n, (float[]){ 0.5f, 3, 8 }[lab_pick(&rng, 0, 2)]);
        int32_t history[60];
        wick_logit_bias bias[4];
        wk_sampler s = { .n_vocab = n, .n_ctx = 64 };
        wick_generate_options o = plain((float[]){ 0, 0.3f, 0.8f, 1, 2 }[lab_pick(&rng, 0, 4)]);
        for (int i = 0; i < n_history; i++) history[i] = lab_pick(&rng, 0, n - 1);
        for (int i = 0; i < 4; i++) bias[i] = (wick_logit_bias){ lab_pick(&rng, 0, n - 1), 2 * lab_noise(&rng) };
        o.seed = (uint64_t)round;
        o.top_k = (int[]){ 0, 0, 1, 5, 40, 1000 }[lab_pick(&rng, 0, 5)];
        o.top_p = (float[]){ 1, 1, 0.95f, 0.5f, 0.1f, 0 }[lab_pick(&rng, 0, 5)];
        o.min_p = (float[]){ 0, 0, 0.05f, 0.5f, 1 }[lab_pick(&rng, 0, 4)];
        o.logit_bias = bias;
        o.n_logit_bias = (size_t)lab_pick(&rng, 0, 4);
        o.penalty_last_n = (int[]){ -1, 0, 8, 64, 1000 }[lab_pick(&rng, 0, 4)];
        if (lab_pick(&rng, 0, 1)) o.repeat_penalty = 1.3f;
        if (lab_pick(&rng, 0, 1)) o.frequency_penalty = 0.2f;
        if (lab_pick(&rng, 0, 1)) o.presence_penalty = -0.3f;
        ok(wk_sampler_check(&o, n));
        check_draws(&s, logits, &o, history, n_history, 1500);
        wk_sampler_free(&s);
        free(logits);
    }
}

static void big_vocabulary(void **state) {
    (void)state;
    lab_rng rng = { 3, 0 };
    int n = 151936;
    float *logits = random_logits(&rng, n, 12);
    wk_sampler s = { .n_vocab = n, .n_ctx = 64 };
    static const struct {
        int k;
        float p, min;
    } filters[] = { { 40, 0.95f, 0.05f }, { 0, 0.9f, 0 }, { 0, 1, 0.01f }, { 5000, 1, 0 }, { 0, 0.999f, 0.001f } };
    for (size_t i = 0; i < 5; i++) {
        wick_generate_options o = plain(0.8f);
        o.top_k = filters[i].k;
        o.top_p = filters[i].p;
        o.min_p = filters[i].min;
        check_draws(&s, logits, &o, NULL, 0, 300);
    }
    wk_sampler_free(&s);
    free(logits);
}

/* ---- single decisions ---- */

static int32_t choose(wk_sampler *s, const float *l, const wick_generate_options *o, uint64_t position) {
    wk_choice c;
    ok(wk_sampler_begin(s, o));
    ok(wk_sampler_choose(s, l, position, &c));
    return c.id;
}

static void ties_go_to_the_lower_id(void **state) {
    (void)state;
    float l[50] = { 0 };
    wk_sampler s = { .n_vocab = 50, .n_ctx = 8 };
    wick_generate_options o = greedy();
    l[0] = -1;
    assert_int_equal(choose(&s, l, &o, 0), 1);
    l[49] = 1;
    assert_int_equal(choose(&s, l, &o, 0), 49);
    l[33] = 1;
    assert_int_equal(choose(&s, l, &o, 0), 33);
    o = plain(1);
    for (int i = 0; i < 50; i++) l[i] = 2;
    for (uint64_t i = 0; i < 300; i++) {
        o.top_k = 3;
        o.top_p = 1;
        assert_in_range(choose(&s, l, &o, i), 0, 2);
        o.top_k = 0;
        o.top_p = 0.1f;  /* of 50 equal ones: 5 reach it, in order of id (0.1f is a hair above 0.1: 6) */
        assert_in_range(choose(&s, l, &o, i), 0, 5);
    }
    wk_sampler_free(&s);
}

static void a_seed_repeats_and_positions_differ(void **state) {
    (void)state;
    lab_rng rng = { 5, 0 };
    float *l = random_logits(&rng, 1000, 1);
    wk_sampler a = { .n_vocab = 1000, .n_ctx = 8 }, b = a;
    wick_generate_options o = plain(1);
    int same = 0;
    o.seed = 42;
    for (uint64_t i = 0; i < 100; i++) {
        int32_t id = choose(&a, l, &o, i);
        assert_int_equal(id, choose(&b, l, &o, i));
        same += id == choose(&b, l, &o, i + 1);
    }
    assert_true(same < 10);
    wk_sampler_free(&a);
    wk_sampler_free(&b);
    free(l);
}

static void impossible_logits(void **state) {
    (void)state;
    wk_sampler s = { .n_vocab = 4, .n_ctx = 8 };
    wk_choice c;
    wick_generate_options o[] = { greedy(), plain(1), plain(1), plain(1) };
    o[2].top_k = 3;
    o[3].top_p = 0.5f;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(choose(&s, (float[]){ NAN, -INFINITY, 3, NAN }, &o[i], 0), 2);
        assert_int_equal(choose(&s, (float[]){ NAN, INFINITY, 3, 4 }, &o[i], 0), 1);
        ok(wk_sampler_begin(&s, &o[i]));
        assert_int_equal(wk_sampler_choose(&s, (float[]){ NAN, -INFINITY, NAN, NAN }, 9, &c), WICK_E_FORMAT);
        assert_non_null(strstr(wick_last_error(), "position 9"));
    }
    wick_logit_bias never[] = { { 2, -INFINITY }, { 3, -INFINITY } };
    o[1].logit_bias = never;
    o[1].n_logit_bias = 2;
    for (uint64_t i = 0; i < 50; i++) assert_in_range(choose(&s, (float[]){ 0, 0, 9, 9 }, &o[1], i), 0, 1);
    wk_sampler_free(&s);
}

static void logprobs_are_the_models_own(void **state) {
    (void)state;
    lab_rng rng = { 8, 0 };
    for (int round = 0; round < 50; round++) {
        int n = lab_pick(&rng, 1, 500);
        float *l = random_logits(&rng, n, 4);
        wk_sampler s = { .n_vocab = n, .n_ctx = 8 };
        wick_generate_options o = plain(0.5f);
        wick_logit_bias bias = { 0, 5 };
        wk_choice c;
        o.top_k = 3;
        o.logit_bias = &bias;
        o.n_logit_bias = 1;
        o.n_top_logprobs = lab_pick(&rng, 0, 20);
        o.logprobs = true;
        ref *r = calloc((size_t)n, sizeof *r);
        double sum = 0;
        for (int i = 0; i < n; i++) {
            r[i] = (ref){ (double)l[i], 0, i };
            sum += exp((double)l[i]);
        }
        qsort(r, (size_t)n, sizeof *r, by_logit);
        ok(wk_sampler_begin(&s, &o));
        ok(wk_sampler_choose(&s, l, 1, &c));
        assert_true(fabs((double)c.logprob - ((double)l[c.id] - log(sum))) < 1e-5);
        assert_true(fabs((double)c.prob - exp((double)l[c.id]) / sum) < 1e-6);
        assert_int_equal(c.n_top, o.n_top_logprobs < n ? o.n_top_logprobs : n);
        for (int i = 0; i < c.n_top; i++) {
            assert_int_equal(c.top[i].id, r[i].id);
            assert_true(fabs((double)c.top[i].logprob - (r[i].l - log(sum))) < 1e-5);
        }
        free(r);
        free(l);
        wk_sampler_free(&s);
    }
}

static void nothing_is_allocated_for_a_token(void **state) {
    (void)state;
    lab_rng rng = { 9, 0 };
    float *l = random_logits(&rng, 5000, 4);
    wk_sampler s = { .n_vocab = 5000, .n_ctx = 100 };
    wick_generate_options o = plain(1);
    wick_logit_bias bias = { 7, 1 };
    o.repeat_penalty = 1.1f;
    o.logit_bias = &bias;
    o.n_logit_bias = 1;
    o.n_top_logprobs = 20;
    for (int k = 0; k < 3; k++) {
        uint64_t before = 0;
        o.top_k = (int[]){ 0, 40, 0 }[k];
        o.top_p = (float[]){ 1, 0.9f, 0.9f }[k];
        ok(wk_sampler_begin(&s, &o));
        for (uint64_t i = 0; i < 200; i++) {
            wk_choice c;
            ok(wk_sampler_choose(&s, l, i, &c));
            wk_sampler_accept(&s, c.id);
            if (!i) before = wk_alloc_count();
        }
        assert_int_equal(wk_alloc_count(), before);
    }
    wk_sampler_free(&s);
    free(l);
}

static void failed_allocations(void **state) {
    (void)state;
    wick_generate_options o = plain(1);
    wick_logit_bias bias = { 1, 1 };
    o.presence_penalty = 1;
    o.logit_bias = &bias;
    o.n_logit_bias = 1;
    for (uint64_t k = 1;; k++) {
        wk_sampler s = { .n_vocab = 10, .n_ctx = 8 };
        wk_alloc_fail_at(k);
        wick_status st = wk_sampler_begin(&s, &o);
        wk_alloc_fail_at(0);
        if (st) assert_int_equal(st, WICK_E_MEMORY);
        wk_sampler_accept(&s, 3);  /* must not touch what is not there */
        wk_sampler_free(&s);
        if (!st) {
            assert_true(k > 4);
            break;
        }
    }
}

static void options_out_of_range(void **state) {
    (void)state;
    wick_generate_options o = greedy();
    ok(wk_sampler_check(&o, 10));
#define WRONG(field, v) do { o = greedy(); o.field = v; assert_int_equal(wk_sampler_check(&o, 10), WICK_E_ARG); \
                             assert_non_null(strstr(wick_last_error(), #field)); } while (0)
    WRONG(temperature, -0.1f);
    WRONG(temperature, NAN);
    WRONG(temperature, INFINITY);
    WRONG(top_p, 1.1f);
    WRONG(top_p, -1);
    WRONG(min_p, 2);
    WRONG(repeat_penalty, 0);
    WRONG(frequency_penalty, NAN);
    WRONG(presence_penalty, INFINITY);
    WRONG(penalty_last_n, -2);
    WRONG(n_top_logprobs, 21);
    WRONG(n_top_logprobs, -1);
    wick_logit_bias bias[] = { { 3, 0 }, { 10, 0 } };
    o = greedy();
    o.n_logit_bias = 2;
    assert_int_equal(wk_sampler_check(&o, 10), WICK_E_ARG);
    o.logit_bias = bias;
    assert_int_equal(wk_sampler_check(&o, 10), WICK_E_ARG);
    assert_string_equal(wick_last_error(), "logit_bias[1] names token 10, this model has 0 to 9");
    bias[1] = (wick_logit_bias){ 9, NAN };
    assert_int_equal(wk_sampler_check(&o, 10), WICK_E_ARG);
    bias[1].bias = -INFINITY;
    ok(wk_sampler_check(&o, 10));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(uniform_is_uniform),
        cmocka_unit_test(filters_against_brute_force),
        cmocka_unit_test(big_vocabulary),
        cmocka_unit_test(ties_go_to_the_lower_id),
        cmocka_unit_test(a_seed_repeats_and_positions_differ),
        cmocka_unit_test(impossible_logits),
        cmocka_unit_test(logprobs_are_the_models_own),
        cmocka_unit_test(nothing_is_allocated_for_a_token),
        cmocka_unit_test(failed_allocations),
        cmocka_unit_test(options_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
