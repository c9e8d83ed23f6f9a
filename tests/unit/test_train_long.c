/* test_train_long.c: a training of thousands of steps, with evaluations, checkpoints and reports, grows by nothing: no block more
 * is held at its end than when it was warm, a step between two reports allocates nothing, resident memory stays. */
#include "base/file.h"
#include "base/mem.h"
#include "support/run.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/wick-long-XXXXXX";

/* An instrumented program's steps are slow, and its memory is not its own. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
static bool slow(void) { return SANITIZED || getenv("WICK_LAUNCH") || getenv("WICK_TEST_FEW"); }
static int period(void) { return slow() ? 50 : 100; }  /* steps that it takes to be warm, and more */

static size_t resident_bytes(void) {
    long pages = 0, own = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fscanf(f, "%ld %ld", &pages, &own) != 2) own = 0;
    fclose(f);
    return (size_t)own * (size_t)sysconf(_SC_PAGESIZE);
}

static void write_data(const char *name) {
    static const char lines[] = "{\"input_ids\":[1,2,3,4]}\n{\"input_ids\":[5,6,7,8,9],\"labels\":[-100,-100,7,8,9]}\n"
                                "{\"input_ids\":[9,8,7]}\n";
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ok(wk_file_write(path, &WK_STR(lines), 1));
}

static wick_train *start(wick_model *m, const char *kind, int iters) {
    static char out[100];
    wick_train_options o;
    wick_train *t;
    snprintf(out, sizeof out, "%s/%s", folder, kind);
    wick_train_defaults(&o);
    o.data = folder;
    o.adapter_path = out;
    o.overwrite = true;
    o.fine_tune_type = kind;
    o.iters = iters;
    o.batch_size = 2;
    o.rank = 2;
    o.dropout = 0.1;
    o.num_layers = -1;
    o.grad_accumulation_steps = 2;
    o.learning_rate = 1e-4;
    o.steps_per_report = period() / 2;
    o.steps_per_eval = 4 * period();  /* seldom: a save waits for the disk */
    o.save_every = 10 * period();
    o.samples = 0;
    o.early_stopping = 1 << 20;  /* keeps the best adapter all the same */
    ok(wick_train_new(m, &o, false, &t));
    return t;
}

static void grows_by_nothing(const char *kind, int iters) {
    wick_model_options mo;
    wick_model *m;
    wick_train_event e = { 0 };
    uint64_t live = 0, before;
    size_t resident = 0;
    bool own_room = !strcmp(kind, "dora");  /* an update finds the rows' lengths in memory that it gives back */
    wick_model_defaults(&mo);
    mo.n_threads = 1;
    ok(wick_model_open("data/models/llama", &mo, &m));
    wick_train *t = start(m, kind, iters);
    while (!e.finished) {
        before = wk_alloc_count();
        ok(wick_train_step(t, &e));
        int i = e.point.iteration;
        if (i > period() && !e.reported && !e.saved && !own_room && wk_alloc_count() != before)
            fail_msg("%s, step %d: %llu allocations", kind, i, (unsigned long long)(wk_alloc_count() - before));
        if (i == iters / 2 / period() * period()) {
            live = wk_alloc_live();
            resident = resident_bytes();
        }
    }
    assert_int_equal(wk_alloc_live(), live);
    if (!slow() && resident_bytes() > resident + (1 << 20))
        fail_msg("%s: %zu bytes are resident, %zu were when it was warm", kind, resident_bytes(), resident);
    wick_train_free(t);
    wick_model_free(m);
}

static void thousands_of_steps(void **state) {
    (void)state;
    grows_by_nothing("lora", slow() ? 4 * period() : 40 * period());
    grows_by_nothing("dora", slow() ? 2 * period() : 10 * period());
    grows_by_nothing("full", slow() ? 2 * period() : 10 * period());
}

/* All of it is given back. */
static void leaves_nothing(void **state) {
    (void)state;
    uint64_t live = wk_alloc_live();
    grows_by_nothing("lora", 2 * period());
    assert_int_equal(wk_alloc_live(), live);
}

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return 1;
    write_data("train.jsonl");
    write_data("valid.jsonl");
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    return run_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(thousands_of_steps), cmocka_unit_test(leaves_nothing) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
