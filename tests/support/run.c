/* run.c: see run.h. */
#include "support/run.h"
#include "base/mem.h"
#include "format/safetensors.h"
#include "text/unicode.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void run_refused(wick_status got, wick_status want, const char *words, const char *file, int line) {
    if (got != want)
        fail_msg("%s:%d: %s instead of %s: %s", file, line, wick_status_name(got), wick_status_name(want), wick_last_error());
    if (!strstr(wick_last_error(), words)) fail_msg("%s:%d: \"%s\" is not in: %s", file, line, words, wick_last_error());
}

wick_model *run_open(const char *path) {
    wick_model_options o;
    wick_model *m = NULL;
    wick_model_defaults(&o);
    o.n_threads = 2;
    ok(wick_model_open(path, &o, &m));
    return m;
}

wick_session *run_session(wick_model *m, int n_ctx, int n_batch) {
    wick_session_options o;
    wick_session *s = NULL;
    wick_session_defaults(&o);
    o.n_ctx = n_ctx;
    o.n_batch = n_batch;
    ok(wick_session_new(m, &o, &s));
    return s;
}

/* Reads an array as numbers; out of them either kind is made. */
static double *numbers(const char *path, const char *name, size_t *n, int64_t shape[4]) {
    wk_safetensors *s;
    ok(wk_safetensors_open(path, &s));
    const wk_tensor *t = wk_safetensors_find(s, name);
    if (!t) fail_msg("%s: no %s", path, name);
    *n = (size_t)(wk_tensor_rows(t) * wk_tensor_cols(t));
    for (int i = 0; i < 4; i++) shape[i] = t->shape[i];
    double *out = calloc(*n, sizeof *out);
    for (size_t i = 0; i < *n; i++) {
        int64_t v;
        float f;
        memcpy(&f, t->data + 4 * i, 4);
        if (t->dtype == WK_I64) memcpy(&v, t->data + 8 * i, 8);
        out[i] = t->dtype == WK_I64 ? (double)v : (double)f;
    }
    wk_safetensors_free(s);
    return out;
}

float *run_floats(const char *path, const char *name, size_t *n, int64_t shape[4]) {
    double *v = numbers(path, name, n, shape);
    float *out = calloc(*n, sizeof *out);
    for (size_t i = 0; i < *n; i++) out[i] = (float)v[i];
    free(v);
    return out;
}

int32_t *run_ids(const char *path, const char *name, size_t *n, int64_t shape[4]) {
    double *v = numbers(path, name, n, shape);
    int32_t *out = calloc(*n, sizeof *out);
    for (size_t i = 0; i < *n; i++) out[i] = (int32_t)v[i];
    free(v);
    return out;
}

void run_add(run_log *l, const wick_token *t) {
    size_t bad;
    assert_in_range(l->n, 0, RUN_MAX - 1);
    assert_int_equal(t->index, l->n);
    assert_int_equal(l->finish, WICK_FINISH_NONE);
    assert_int_equal(t->text[t->n_text], 0);
    assert_true(wk_utf8_valid(t->text, t->n_text, &bad));
    assert_true(l->n_text + t->n_text < sizeof l->text);
    memcpy(l->text + l->n_text, t->text, t->n_text + 1);
    l->n_text += t->n_text;
    l->id[l->n] = t->id;
    l->logit[l->n] = t->logit;
    l->logprob[l->n++] = t->logprob;
    l->finish = t->finish_reason;
}

bool run_on_token(const wick_token *t, void *log) {
    run_log *l = log;
    run_add(l, t);
    return l->n != l->stop_after;
}

void run_same(const run_log *a, const run_log *b) {
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->id, b->id, (size_t)a->n * sizeof *a->id);
    assert_memory_equal(a->logit, b->logit, (size_t)a->n * sizeof *a->logit);
    assert_int_equal(a->n_text, b->n_text);
    assert_memory_equal(a->text, b->text, a->n_text);
    assert_int_equal(a->finish, b->finish);
}

bool run_count(const wick_token *t, void *counter) {
    run_counter *c = counter;
    if (t->index == 8) c->at_8 = wk_alloc_count();
    c->at_end = wk_alloc_count();
    return true;
}

wick_generate_options run_greedy(const wick_model *m, int n) {
    wick_generate_options o;
    wick_generate_defaults(m, &o);
    o.temperature = 0;
    o.n_predict = n;
    o.ignore_end = true;
    return o;
}

bool run_killed(void (*fn)(void *user), void *user) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        fn(user);
        execl("/bin/true", "true", (char *)NULL);  /* at an exit Valgrind would take copies of what the parent holds for leaks */
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) assert_int_equal(WTERMSIG(status), SIGKILL);
    else assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

bool run_folder(char *path, size_t cap) {
    static const char *const places[] = { "/dev/shm", "/tmp" };
    bool made = false;
    for (size_t i = 0; i < sizeof places / sizeof *places && !made; i++) {
        snprintf(path, cap, "%s/wick-test-XXXXXX", places[i]);
        made = mkdtemp(path) != NULL;
    }
    return made;
}

int run_remove(const char *folder) {
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}
