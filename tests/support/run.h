/* run.h: what tests of generation share: models opened through the public interface, reference arrays, and what a run gave. */
#ifndef WK_TEST_RUN_H
#define WK_TEST_RUN_H
#include "wick.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

/* Fails the test with the library's message. */
#define ok(call) \
    do { \
        wick_status ok_status = (call); \
        if (ok_status) fail_msg("%s: %s", wick_status_name(ok_status), wick_last_error()); \
    } while (0)
/* The call fails so, and its message has these words. */
#define refused(call, status, words) run_refused((call), (status), (words), __FILE__, __LINE__)
void run_refused(wick_status got, wick_status want, const char *words, const char *file, int line);

wick_model *run_open(const char *path);  /* on two threads */
wick_session *run_session(wick_model *m, int n_ctx, int n_batch);

/* An array of a safetensors file; free with free(). */
float *run_floats(const char *path, const char *name, size_t *n, int64_t shape[4]);
int32_t *run_ids(const char *path, const char *name, size_t *n, int64_t shape[4]);

/* Every token of a generation, as a callback's user pointer. */
enum { RUN_MAX = 512 };
typedef struct run_log {
    int n;
    int32_t id[RUN_MAX];
    float logit[RUN_MAX], logprob[RUN_MAX];
    char text[16384]; size_t n_text;
    wick_finish finish;
    int stop_after;       /* the callback says stop after so many; 0: never */
} run_log;
void run_add(run_log *l, const wick_token *t);  /* checks that it follows what came before */
bool run_on_token(const wick_token *t, void *log);
/* Same tokens, bits of logits, and text. */
void run_same(const run_log *a, const run_log *b);

/* A callback that notes how many allocations there were by the ninth token and by the last. */
typedef struct run_counter { uint64_t at_8, at_end; } run_counter;
bool run_count(const wick_token *t, void *counter);

/* The model's defaults, but greedy, n tokens, and on past end-of-turn tokens. */
wick_generate_options run_greedy(const wick_model *m, int n);

/* fn in a process of its own, which ends with it; true: it was killed (SIGKILL) before. What the child finds wrong fails the
 * test. */
bool run_killed(void (*fn)(void *user), void *user);

/* Makes a folder of the test's own: in memory where the system has a place for it, as thousands of syncs of a disk take longer
 * than what is written, and who is killed loses nothing of either. False: it cannot be made. */
bool run_folder(char *path, size_t cap);

/* Removes a folder and all that is in it. */
int run_remove(const char *folder);

#endif
