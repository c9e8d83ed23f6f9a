/* test_train_numbers.c: optimisers and clipping against torch's and Lion's listing (tests/make_train_numbers.py made the numbers);
 * schedules at points that can be worked out by hand. */
#include "support/run.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char STEPS[] = "data/train/steps.safetensors";

static float *part(const char *name, const char *of, size_t *n) {
    char full[64];
    int64_t shape[4];
    snprintf(full, sizeof full, "%s.%s", name, of);
    return run_floats(STEPS, full, n, shape);
}

static void follow(const char *name, wk_optimizer_kind kind, int n_moment) {
    size_t n, n_all, n_constant;
    float *w = part(name, "w", &n), *g = part(name, "g", &n_all), *after = part(name, "after", &n_all),
          *c = part(name, "constants", &n_constant);
    float *m1 = calloc(n, sizeof *m1), *m2 = calloc(n, sizeof *m2);
    wk_optimizer o = { kind, (double)c[0], (double)c[1], (double)c[2], (double)c[3], (double)c[4] };
    assert_int_equal(wk_optimizer_n_moment(&o), n_moment);
    assert_int_equal(n_constant, 7);
    for (size_t k = 0; k < n_all / n; k++) {
        float *step = g + k * n;
        float by = (float)wk_clip_factor(sqrt(wk_sum_squares(step, n)), (double)c[6]);
        if (c[6] > 0) assert_true(by < 1);
        for (size_t i = 0; i < n; i++) step[i] *= by;
        wk_optimizer_step(&o, (double)c[5], k + 1, w, step, n_moment > 0 ? m1 : NULL, n_moment > 1 ? m2 : NULL, n);
        for (size_t i = 0; i < n; i++)
            if (!(fabsf(w[i] - after[k * n + i]) <= 2e-6f))
                fail_msg("%s: step %zu, element %zu is %.8g, torch has %.8g", name, k, i, (double)w[i], (double)after[k * n + i]);
    }
    free(w);
    free(g);
    free(after);
    free(c);
    free(m1);
    free(m2);
}

static void optimisers(void **state) {
    (void)state;
    follow("adamw", WK_ADAMW, 2);
    follow("adamw-clipped", WK_ADAMW, 2);
    follow("sgd", WK_SGD, 0);
    follow("sgd-momentum-decay", WK_SGD, 1);
    follow("lion", WK_LION, 1);
}

static void clipping(void **state) {
    (void)state;
    const float g[] = { 3, -4 };
    assert_float_equal(wk_sum_squares(g, 2), 25, 0);
    assert_float_equal(wk_clip_factor(5, 0), 1, 0);  /* not asked for */
    assert_float_equal(wk_clip_factor(5, 5), 1, 0);  /* not above */
    assert_true(fabs(wk_clip_factor(5, 1) - 1 / 5.000001) < 1e-15);
}

static void rate_is(const wk_schedule *s, uint64_t update, double want) {
    double got = wk_schedule_rate(s, update);
    if (!(fabs(got - want) <= 1e-12)) fail_msg("kind %d, update %d: %.15g, not %.15g", s->kind, (int)update, got, want);
}

static void schedules(void **state) {
    (void)state;
    wk_schedule s = { .kind = WK_RATE_CONSTANT, .first = 0.01 };
    rate_is(&s, 0, 0.01);
    rate_is(&s, 1000, 0.01);
    s = (wk_schedule){ .kind = WK_RATE_LINEAR, .first = 0.01, .last = 0.002, .steps = 8 };
    rate_is(&s, 0, 0.01);
    rate_is(&s, 4, 0.006);
    rate_is(&s, 8, 0.002);
    rate_is(&s, 9, 0.002);
    s = (wk_schedule){ .kind = WK_RATE_COSINE, .first = 0.01, .last = 0.002, .steps = 6 };
    rate_is(&s, 0, 0.01);
    rate_is(&s, 2, 0.002 + 0.75 * 0.008);  /* cos 60 degrees */
    rate_is(&s, 3, 0.006);
    rate_is(&s, 100, 0.002);
    s = (wk_schedule){ .kind = WK_RATE_EXPONENTIAL, .first = 0.01, .decay = 0.5 };
    rate_is(&s, 0, 0.01);
    rate_is(&s, 3, 0.00125);
    s = (wk_schedule){ .kind = WK_RATE_STEP, .first = 0.01, .decay = 0.5, .steps = 3 };
    rate_is(&s, 2, 0.01);
    rate_is(&s, 3, 0.005);
    rate_is(&s, 6, 0.0025);
}

/* The rise is mlx's linear_schedule(warmup_init, first, warmup), joined at warmup + 1. */
static void warming_up(void **state) {
    (void)state;
    wk_schedule s = { .kind = WK_RATE_LINEAR, .first = 0.01, .last = 0, .steps = 10, .warmup = 4 };
    rate_is(&s, 0, 0);
    rate_is(&s, 1, 0.0025);
    rate_is(&s, 4, 0.01);
    rate_is(&s, 5, 0.01);
    rate_is(&s, 6, 0.009);
    rate_is(&s, 15, 0);
    s.warmup_init = 0.002;
    rate_is(&s, 0, 0.002);
    rate_is(&s, 2, 0.006);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(optimisers),
        cmocka_unit_test(clipping),
        cmocka_unit_test(schedules),
        cmocka_unit_test(warming_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
