/* test_train_checkpoint.c: a training that is killed at any of the system's calls that write its checkpoints, and then goes on,
 * ends with the bytes of one that was never interrupted; and every way in which a checkpoint is refused. */
#include "base/file.h"
#include "support/training.h"
#include "train/checkpoint.h"
#include "train/train.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LLAMA "data/models/llama"
enum { UPDATES = 8, V = 320 };

static wk_trainer_options options(void) {
    wk_trainer_options o = wk_trainer_defaults();
    o.rank = 2;
    o.dropout = 0.1;
    o.max_row = 16;
    o.max_grad_norm = 1;
    return o;
}

/* Updates [from, to) of the run: two micro-batches each, at a rate that falls. */
static void some_updates(wk_trainer *t, uint64_t from, uint64_t to) {
    for (uint64_t k = from; k < to; k++) {
        for (uint32_t half = 0; half < 2; half++) {
            train_rows b = { .r = { 0 } };
            train_make(&b, (uint32_t)k * 2 + half, 12, V);
            ok(wk_trainer_backward(t, &b.r, NULL, NULL));
        }
        ok(wk_trainer_update(t, 1e-2 / (double)(k + 1), NULL));
    }
}

/* A training that dies at its k-th call (0: at none); how: WK_IO_DIE or WK_IO_DIE_SHORT. plain: without hard links. */
typedef struct death { uint64_t k; int how; bool plain; } death;

static char checkpoint[64], final[64];

/* The whole training, from its checkpoint if there is one, saving after each update; at last its weights are written to `final`. */
static void whole_run(void *user) {
    const death *d = user;
    wk_trainer_options o = options();
    wk_model *m = train_model(LLAMA, 1);
    wk_trainer *t = train_new(m, &o, NULL);
    uint64_t done = 0;
    wk_buf mine = { 0 };
    size_t n;
    wk_io_fail_at(d->k, d->how);
    if (wk_file_exists(checkpoint)) {
        ok(wk_checkpoint_read(checkpoint, t, NULL, NULL, &mine));
        assert_int_equal(mine.len, sizeof done);
        memcpy(&done, mine.ptr, sizeof done);
        assert_int_equal(done, wk_trainer_n_update(t));
    }
    for (; done < UPDATES; done++) {
        some_updates(t, done, done + 1);
        uint64_t next = done + 1;
        ok(wk_checkpoint_write(checkpoint, t, &next, sizeof next));
    }
    float *w = train_copy(t, &n);
    ok(wk_file_write(final, &(wk_str){ (const char *)w, n * sizeof *w }, 1));
    wk_io_fail_at(0, 0);
    free(w);
    wk_buf_free(&mine);
    wk_trainer_free(t);
    wk_model_free(m);
}

static void killed_anywhere(void **state) {
    (void)state;
    char own[48];
    death none = { 0 };
    assert_true(run_folder(own, sizeof own));
    snprintf(checkpoint, sizeof checkpoint, "%s/run", own);
    snprintf(final, sizeof final, "%s/final", own);
    assert_false(run_killed(whole_run, &none));
    wk_buf want = { 0 };
    ok(wk_file_read(final, 1 << 24, &want));
    int kills = 0;
    for (int how = WK_IO_DIE; how >= WK_IO_DIE_SHORT; how--)
        for (uint64_t k = 1, last = 0; !last; k++) {
            wk_buf got = { 0 };
            wk_folder_clear(own, NULL);
            bool died = run_killed(whole_run, &(death){ k, how, false });
            if (!died && how == WK_IO_DIE) last = k;  /* the run is over before its k-th call */
            if (how == WK_IO_DIE_SHORT && k > (uint64_t)kills) last = k;
            if (died) {
                kills += how == WK_IO_DIE;
                assert_false(run_killed(whole_run, &none));
            }
            ok(wk_file_read(final, 1 << 24, &got));
            if (got.len != want.len || memcmp(got.ptr, want.ptr, want.len))
                fail_msg("killed at call %d (%d): another end", (int)k, how);
            wk_buf_free(&got);
        }
    assert_true(kills >= 50);
    wk_buf_free(&want);
    wk_folder_remove(own);
}

/* ---- through the public interface ---- */

static char folder[64], out[80], saved[100], before[120];

static int make_data(void **state) {
    (void)state;
    static const char lines[] = "{\"input_ids\":[1,2,3,4,5,6]}\n{\"input_ids\":[5,6,7,8,9,1]}\n{\"input_ids\":[7,3,1]}\n";
    char path[96];
    if (!run_folder(folder, sizeof folder)) return -1;
    snprintf(path, sizeof path, "%s/train.jsonl", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(saved, sizeof saved, "%s/checkpoint.wick", out);
    snprintf(before, sizeof before, "%s.before", saved);
    return wk_file_write(path, &WK_STR(lines), 1) != WICK_OK;
}

static int remove_data(void **state) {
    (void)state;
    return run_remove(folder);
}

static wick_model *open_model(void) {
    wick_model_options mo;
    wick_model *m;
    wick_model_defaults(&mo);
    mo.n_threads = 1;
    ok(wick_model_open(LLAMA, &mo, &m));
    return m;
}

/* Saves after every micro-batch. */
static wick_train_options training(void) {
    wick_train_options o;
    wick_train_defaults(&o);
    o.data = folder;
    o.adapter_path = out;
    o.iters = 4;
    o.batch_size = 1;
    o.learning_rate = 1e-2;
    o.dropout = 0.1;
    o.rank = 2;
    o.save_every = 1;
    o.samples = 0;
    o.overwrite = true;
    return o;
}

/* A training from its checkpoint, if there is one. */
static void whole_training(void *user) {
    const death *d = user;
    wick_train_options o = training();
    wick_train_event e = { 0 };
    wick_model *m = open_model();
    wick_train *t;
    o.grad_accumulation_steps = 2;
    wk_io_plain(d->plain);
    wk_io_fail_at(d->k, d->how);
    o.resume = wk_file_exists(saved) || wk_file_exists(before);
    ok(wick_train_new(m, &o, false, &t));
    wick_status st = WICK_OK;
    while (!st && !e.finished) st = wick_train_step(t, &e);
    if (st != WICK_E_END) ok(st);  /* killed after its last save */
    wk_io_fail_at(0, 0);
    wk_io_plain(false);
    wick_train_free(t);
    wick_model_free(m);
}

static wk_buf adapter(void) {
    static const char *const names[] = { "adapter_model.safetensors", "adapter_config.json" };
    wk_buf b = { 0 };
    for (int i = 0; i < 2; i++) {
        char path[120];
        snprintf(path, sizeof path, "%s/%s", out, names[i]);
        ok(wk_file_read(path, 1 << 24, &b));
    }
    return b;
}

static bool same(const wk_buf *a, const wk_buf *b) { return a->len == b->len && !memcmp(a->ptr, b->ptr, a->len); }

static bool adapter_is(const wk_buf *want) {
    wk_buf got = adapter();
    bool is = same(&got, want);
    wk_buf_free(&got);
    return is;
}

/* The whole of a training with adapter, checkpoints (and those before them), report: the same; without hard links too. */
static void training_killed_anywhere(void **state) {
    (void)state;
    static const struct { int how, step; bool plain; } ways[] = { { WK_IO_DIE, 1, false }, { WK_IO_DIE_SHORT, 7, false },
                                                                  { WK_IO_DIE, 3, true } };
    assert_false(run_killed(whole_training, &(death){ 0 }));
    wk_buf want = adapter();
    int kills[3] = { 0 }, n_before = 0, n_renamed = 0;
    for (int i = 0; i < 3; i++) {
        death d = { 1, ways[i].how, ways[i].plain };
        for (bool died = true; d.how == WK_IO_DIE ? died : d.k <= (uint64_t)kills[0]; d.k += (uint64_t)ways[i].step) {
            assert_int_equal(run_remove(out), 0);
            died = run_killed(whole_training, &d);
            kills[i] += died;
            n_before += wk_file_exists(before);
            n_renamed += wk_file_exists(before) && !wk_file_exists(saved);
            if (died) assert_false(run_killed(whole_training, &(death){ .plain = d.plain }));
            if (!adapter_is(&want)) fail_msg("killed at call %d (%d): another end", (int)d.k, i);
            assert_false(wk_file_exists(before));  /* nothing beside a checkpoint that has proved good */
            assert_false(wk_folder_has(out, ".new"));
        }
    }
    assert_true(kills[0] >= 50 && kills[2] >= 20 && n_before >= 10 && n_renamed >= 1);
    wk_buf_free(&want);
}

/* Runs a training to its end, or to what fails. */
static wick_status train(const wick_train_options *o, wick_train **t, wick_model *m) {
    wick_train_event e = { 0 };
    wick_status st = wick_train_new(m, o, false, t);
    while (!st && !e.finished) st = wick_train_step(*t, &e);
    return st;
}

/* A training over another one's, at any call of which the disk is full: no adapter has the other's configuration, and what goes on
 * ends as it should. */
static void disk_full_anywhere(void **state) {
    (void)state;
    char config[120];
    wick_model *m = open_model();
    int n_failed = 0, n_mixed = 0;
    uint64_t n_call = 1;
    snprintf(config, sizeof config, "%s/adapter_config.json", out);
    whole_training(&(death){ 0 });
    wk_buf want = adapter();
    for (uint64_t k = 1; k <= n_call; k += 3) {
        wick_train_options o = training(), other = o;
        wick_train *t = NULL;
        wk_buf was = { 0 }, now = { 0 };
        other.scale = 3;
        other.iters = 1;
        ok(train(&other, &t, m));
        wick_train_free(t);
        t = NULL;
        wk_buf first = adapter();
        ok(wk_file_read(config, 1 << 16, &was));
        o.grad_accumulation_steps = 2;
        n_call = wk_io_count();
        wk_io_fail_at(k, ENOSPC);
        wick_status st = train(&o, &t, m);
        wk_io_fail_at(0, 0);
        n_call = wk_io_count() - n_call + (st ? 3 : 0);  /* it may have had some more */
        n_failed += st != WICK_OK;
        if (st) assert_int_equal(st, WICK_E_IO);
        if (wk_file_exists(config)) {
            ok(wk_file_read(config, 1 << 16, &now));
            n_mixed += same(&was, &now) && !adapter_is(&first);
        }
        bool began = t != NULL;
        wick_train_free(t);
        if (began) whole_training(&(death){ 0 });
        if (!adapter_is(began ? &want : &first)) fail_msg("full at call %d: another end", (int)k);
        wk_buf_free(&was);
        wk_buf_free(&now);
        wk_buf_free(&first);
    }
    assert_true(n_failed >= 20 && !n_mixed);
    wk_buf_free(&want);
    wick_model_free(m);
}

/* The second update blows the weights up, the third finds out. */
static wick_train_options blowing_up(void) {
    wick_train_options o = training();
    o.optimizer = "sgd";
    o.learning_rate = o.lr_arguments[0] = 1e-3;
    o.lr_arguments[1] = 1e20;
    o.n_lr_arguments = 2;
    o.lr_schedule = "exponential_decay";
    return o;
}

/* An update that blows the weights up is saved, and the process ends right then: the run that goes on finds out, and goes back to
 * the save before; so does its adapter. */
static void blown_up(void **state) {
    (void)state;
    wick_train_options o = blowing_up();
    wick_train_event e;
    wick_model *m = open_model();
    wick_train *t;
    wk_buf good = { 0 };
    ok(wick_train_new(m, &o, false, &t));
    do ok(wick_train_step(t, &e));
    while (e.point.iteration < 1);
    good = adapter();
    assert_false(wk_file_exists(before));
    ok(wick_train_step(t, &e));
    wick_train_free(t);
    assert_true(e.saved && wk_file_exists(before));
    wk_buf bad = adapter();
    assert_memory_not_equal(good.ptr, bad.ptr, good.len);
    o.resume = true;
    ok(wick_train_new(m, &o, false, &t));
    assert_int_equal(t->at.iteration, 2);
    ok(wick_train_save(t));  /* what is not proved takes no place of what is */
    refused(wick_train_step(t, &e), WICK_E_NUMERIC, "what was saved at iteration 2 leads there, so ");
    assert_non_null(strstr(wick_last_error(), "are those of iteration 1 again"));
    wick_train_free(t);
    wk_buf_free(&bad);
    bad = adapter();
    assert_true(bad.len == good.len && !memcmp(bad.ptr, good.ptr, good.len) && !wk_file_exists(before));
    o.lr_arguments[1] = 1;
    ok(wick_train_new(m, &o, false, &t));
    assert_int_equal(t->at.iteration, 1);
    do ok(wick_train_step(t, &e));
    while (!e.finished);
    wick_train_free(t);
    wick_model_free(m);
    wk_buf_free(&good);
    wk_buf_free(&bad);
}

/* A run that goes on from such a checkpoint, to die at its k-th call. */
static void go_back(void *user) {
    const death *d = user;
    wick_train_options o = blowing_up();
    wick_model *m = open_model();
    wick_train *t;
    o.resume = true;
    wk_io_fail_at(d->k, d->how);
    refused(train(&o, &t, m), WICK_E_NUMERIC, "are those of iteration 1 again");
    wk_io_fail_at(0, 0);
    wick_train_free(t);
    wick_model_free(m);
}

/* Killed on the way back it finds the way again; a checkpoint that is damaged on the disk names the one before it. */
static void going_back_killed(void **state) {
    (void)state;
    char command[300], again[300];
    wick_train_options o = blowing_up();
    wick_train_event e = { 0 };
    wick_model *m = open_model();
    wick_train *t;
    bool died = true;
    int kills = 0;
    ok(wick_train_new(m, &o, false, &t));
    while (e.point.iteration < 1) ok(wick_train_step(t, &e));
    wk_buf good = adapter();
    ok(wick_train_step(t, &e));
    wick_train_free(t);
    snprintf(command, sizeof command, "cp -r %s %s/bad", out, folder);
    snprintf(again, sizeof again, "rm -r %s && cp -r %s/bad %s", out, folder, out);
    assert_int_equal(system(command), 0);
    for (uint64_t k = 1; died; k++) {
        assert_int_equal(system(again), 0);
        died = run_killed(go_back, &(death){ k, WK_IO_DIE, false });
        kills += died;
        if (died && wk_file_exists(before)) assert_false(run_killed(go_back, &(death){ 0 }));
        assert_true(adapter_is(&good) && !wk_file_exists(before));
    }
    assert_true(kills >= 15);
    assert_int_equal(system(again), 0);
    wk_buf file = { 0 };
    ok(wk_file_read(saved, 1 << 24, &file));
    file.ptr[file.len / 2] ^= 1;
    ok(wk_file_write(saved, &(wk_str){ file.ptr, file.len }, 1));
    o.resume = true;
    refused(wick_train_new(m, &o, false, &t), WICK_E_FORMAT, "checkpoint.wick.before that name and go on from it");
    ok(wk_file_rename(before, saved));
    ok(wick_train_new(m, &o, false, &t));
    assert_int_equal(t->at.iteration, 1);
    wick_train_free(t);
    ok(wk_file_write(saved, &(wk_str){ file.ptr, 40 }, 1));
    refused(wick_train_new(m, &o, false, &t), WICK_E_FORMAT, "begin a new run from what was learnt");
    wk_buf_free(&file);
    wk_buf_free(&good);
    wick_model_free(m);
}

/* In the middle of an update's micro-batches. */
static void mid_accumulation(void **state) {
    (void)state;
    wk_trainer_options o = options();
    wk_model *m = train_model(LLAMA, 2);
    wk_trainer *a = train_new(m, &o, NULL), *b = train_new(m, &o, NULL);
    train_rows x = { .r = { 0 } }, y = { .r = { 0 } };
    wk_buf state_of = { 0 };
    double norm[2];
    size_t n;
    train_make(&x, 1, 9, V);
    train_make(&y, 2, 12, V);
    some_updates(a, 0, 2);
    ok(wk_trainer_backward(a, &x.r, NULL, NULL));
    ok(wk_trainer_save(a, &state_of));
    ok(wk_trainer_restore(b, state_of.ptr, state_of.len));
    assert_int_equal(wk_trainer_n_update(b), 2);
    wk_trainer *both[] = { a, b };
    for (int i = 0; i < 2; i++) {
        ok(wk_trainer_backward(both[i], &y.r, NULL, NULL));
        ok(wk_trainer_update(both[i], 1e-2, &norm[i]));
    }
    float *wa = train_copy(a, &n), *wb = train_copy(b, &n);
    assert_memory_equal(wa, wb, n * sizeof *wa);
    assert_memory_equal(&norm[0], &norm[1], sizeof *norm);
    free(wa);
    free(wb);
    wk_buf_free(&state_of);
    wk_trainer_free(a);
    wk_trainer_free(b);
    wk_model_free(m);
}

static void damaged(void **state) {
    (void)state;
    char own[48], path[64];
    assert_true(run_folder(own, sizeof own));
    snprintf(path, sizeof path, "%s/run", own);
    wk_trainer_options o = options();
    wk_model *m = train_model(LLAMA, 1);
    wk_trainer *t = train_new(m, &o, NULL), *other;
    wk_buf file = { 0 }, extra = { 0 };
    size_t n;
    some_updates(t, 0, 1);
    refused(wk_checkpoint_read(path, t, NULL, NULL, &extra), WICK_E_IO, "No such file");
    ok(wk_checkpoint_write(path, t, "mine", 4));
    ok(wk_file_read(path, 1 << 24, &file));
    float *w = train_copy(t, &n);
    for (size_t k = 0; k < file.len; k += k < 200 || k + 200 > file.len ? 1 : 997) {
        wk_str part = { file.ptr, k };
        ok(wk_file_write(path, &part, 1));  /* cut off there */
        refused(wk_checkpoint_read(path, t, NULL, NULL, &extra), WICK_E_FORMAT, path);
        file.ptr[k] ^= 0x40;
        part.len = file.len;
        ok(wk_file_write(path, &part, 1));  /* a bit turned there */
        refused(wk_checkpoint_read(path, t, NULL, NULL, &extra), WICK_E_FORMAT, path);
        file.ptr[k] ^= 0x40;
    }
    float *after = train_copy(t, &n);
    assert_memory_equal(w, after, n * sizeof *w);
    assert_int_equal(extra.len, 0);
    o.optimizer.beta1 = 0.8;
    other = train_new(m, &o, NULL);
    ok(wk_checkpoint_write(path, t, "mine", 4));
    refused(wk_checkpoint_read(path, other, NULL, NULL, &extra), WICK_E_ARG, "the state is of another training");
    ok(wk_checkpoint_read(path, t, NULL, NULL, &extra));
    assert_int_equal(extra.len, 4);
    assert_memory_equal(extra.ptr, "mine", 4);
    wk_trainer_free(other);
    wk_trainer_free(t);
    wk_model_free(m);
    wk_buf_free(&file);
    wk_buf_free(&extra);
    free(w);
    free(after);
    wk_folder_remove(own);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_anywhere),
        cmocka_unit_test_setup_teardown(training_killed_anywhere, make_data, remove_data),
        cmocka_unit_test_setup_teardown(disk_full_anywhere, make_data, remove_data),
        cmocka_unit_test_setup_teardown(blown_up, make_data, remove_data),
        cmocka_unit_test_setup_teardown(going_back_killed, make_data, remove_data),
        cmocka_unit_test(mid_accumulation),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
