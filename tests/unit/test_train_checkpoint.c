/* test_train_checkpoint.c: a training that is killed at any of the system's calls that write its checkpoints, and then goes on,
 * ends with the bytes of one that was never interrupted; and every way in which a checkpoint is refused. */
#include "base/file.h"
#include "support/training.h"
#include "train/checkpoint.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
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

/* The whole training, from its checkpoint if there is one, saving after every update; at last its weights are written to `final`.
 * die_at: the call at which the process dies; how: WK_IO_DIE or WK_IO_DIE_SHORT. */
static void whole_run(const char *checkpoint, const char *final, uint64_t die_at, int how) {
    wk_trainer_options o = options();
    wk_model *m = train_model(LLAMA, 1);
    wk_trainer *t = train_new(m, &o, NULL);
    uint64_t done = 0;
    wk_buf mine = { 0 };
    size_t n;
    wk_io_fail_at(die_at, how);
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

/* The same in a process of its own; true: it was killed. */
static bool run_apart(const char *checkpoint, const char *final, uint64_t die_at, int how) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        whole_run(checkpoint, final, die_at, how);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) assert_int_equal(WTERMSIG(status), SIGKILL);
    else assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static void killed_anywhere(void **state) {
    (void)state;
    char folder[] = "/tmp/wick-test-checkpoint-XXXXXX", checkpoint[64], final[64];
    assert_non_null(mkdtemp(folder));
    snprintf(checkpoint, sizeof checkpoint, "%s/run", folder);
    snprintf(final, sizeof final, "%s/final", folder);
    assert_false(run_apart(checkpoint, final, 0, 0));
    wk_buf want = { 0 };
    ok(wk_file_read(final, 1 << 24, &want));
    int kills = 0;
    for (int how = WK_IO_DIE; how >= WK_IO_DIE_SHORT; how--)
        for (uint64_t k = 1, last = 0; !last; k++) {
            wk_buf got = { 0 };
            wk_folder_clear(folder, "", "");
            bool died = run_apart(checkpoint, final, k, how);
            if (!died && how == WK_IO_DIE) last = k;  /* the run is over before its k-th call */
            if (how == WK_IO_DIE_SHORT && k > (uint64_t)kills) last = k;
            if (died) {
                kills += how == WK_IO_DIE;
                assert_false(run_apart(checkpoint, final, 0, 0));
            }
            ok(wk_file_read(final, 1 << 24, &got));
            if (got.len != want.len || memcmp(got.ptr, want.ptr, want.len))
                fail_msg("killed at call %d (%d): another end", (int)k, how);
            wk_buf_free(&got);
        }
    assert_true(kills >= 50);
    wk_buf_free(&want);
    wk_folder_remove(folder);
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
    char folder[] = "/tmp/wick-test-checkpoint-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/run", folder);
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
    wk_folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_anywhere),
        cmocka_unit_test(mid_accumulation),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
