/* test_failures.c: each allocation and each call of the system in the life of a model (open, adapter, session, generation) failed
 * once, for each kind of checkpoint: a clean status with words, nothing kept, and the next try works. jansson's and pcre2's
 * allocations are among them. A life makes hundreds to thousands of allocations, many of them alike (a vocabulary's), so the middle
 * is taken in strides; WICK_TEST_EVERY in the environment takes all of them. */
#include "base/file.h"
#include "support/run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct kind { const char *path, *adapter; bool chat, classify, reference; } kind;
static const kind kinds[] = {
    { .path = "data/gguf/tiny-chat.gguf", .chat = true },
    { .path = "data/gguf/tiny-spm.gguf" },
    { .path = "data/gguf/tiny-moe.gguf" },
    { .path = "data/models/llama", .adapter = "data/adapters/llama/r4-all" },
    { .path = "data/models/llama", .reference = true },
    { .path = "data/models/llama-chat", .chat = true },
    { .path = "data/models/llama-256-gptq-g32-actorder" },
    { .path = "data/models/qwen3-moe" },
    { .path = "data/models/llama-classify", .classify = true },
    { .path = "data/models/mistral-window", .adapter = "data/adapters/mistral-window/rank-pattern" },
    { .path = "data/models/gemma3" },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static wick_status use(const kind *k, const wick_model *m, wick_session *s) {
    static const int32_t ids[] = { 3, 4 };
    wick_generate_options g;
    float logits[8];
    wick_logit_bias bias[] = { { 4, 1 } };
    const char *stop[] = { "\x01\x02" };
    wick_prompt p = { .ids = ids, .n_ids = 2 };
    if (k->chat) p = (wick_prompt){ .messages = "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\",\"n\":[1,2.5,null]}]}" };
    if (k->classify) return wick_logits(s, ids, 2, logits, 8);
    wick_generate_defaults(m, &g);
    g.n_predict = 2;
    g.repeat_penalty = 1.1f;
    g.logit_bias = bias;
    g.n_logit_bias = 1;
    g.stop = stop;
    g.n_stop = k->chat;
    return wick_generate(s, &p, &g, NULL, NULL, NULL);
}

/* Everything from open to a token. */
static wick_status life(const kind *k) {
    wick_model_options mo;
    wick_session_options so;
    wick_model *m = NULL;
    wick_session *s = NULL;
    wick_adapter *a = NULL;
    wick_model_defaults(&mo);
    wick_session_defaults(&so);
    mo.n_threads = 1;
    mo.backend = k->reference ? "reference" : NULL;
    so.n_ctx = 32;
    so.n_batch = 8;
    wick_status st = wick_model_open(k->path, &mo, &m);
    if (!st && k->adapter) st = wick_adapter_load(m, k->adapter, &a);
    if (!st) st = wick_session_new(m, &so, &s);
    if (!st && a) st = wick_session_apply_adapter(s, a, 1);
    if (!st) st = use(k, m, s);
    wick_session_free(s);
    wick_adapter_free(a);
    wick_model_free(m);
    return st;
}

/* The next of 1..total to fail: all at both ends, some of the middle. */
static uint64_t after(uint64_t i, uint64_t total) {
    enum { FIRST = 40, LAST = 60, MIDDLE = 60 };
    if (getenv("WICK_TEST_EVERY") || i < FIRST || i + LAST >= total) return i + 1;
    return i + 1 + (total - FIRST - LAST) / MIDDLE;
}

static void allocations(void **state) {
    (void)state;
    for (const kind *k = kinds; k < kinds + KINDS; k++) {
        ok(life(k));  /* what is made once in a process is made */
        uint64_t before = wk_alloc_count(), live = wk_alloc_live();
        ok(life(k));
        uint64_t total = wk_alloc_count() - before;
        if (wk_alloc_live() != live) fail_msg("%s: %d blocks are kept", k->path, (int)(wk_alloc_live() - live));
        for (uint64_t i = 1; i <= total; i = after(i, total)) {
            wk_alloc_fail_at(i);
            wick_status st = life(k);
            wk_alloc_fail_at(0);
            if (st != WICK_E_MEMORY || !strstr(wick_last_error(), "out of memory"))
                fail_msg("%s: allocation %d of %d: %s: %s", k->path, (int)i, (int)total, wick_status_name(st), wick_last_error());
            if (wk_alloc_live() != live)
                fail_msg("%s: allocation %d of %d failed: %d blocks are kept", k->path, (int)i, (int)total,
                         (int)(wk_alloc_live() - live));
        }
        ok(life(k));
    }
}

static void system_calls(void **state) {
    (void)state;
    static const struct { int how; bool fatal; } faults[] = { { EIO, true }, { ENOMEM, true }, { EACCES, true }, { EINTR, false },
                                                              { WK_IO_SHORT, false } };
    for (const kind *k = kinds; k < kinds + KINDS; k++) {
        uint64_t before = wk_io_count();
        ok(life(k));
        uint64_t total = wk_io_count() - before, live = wk_alloc_live();
        assert_true(total >= 4);
        for (size_t f = 0; f < sizeof faults / sizeof *faults; f++)
            for (uint64_t i = 1; i <= total; i++) {
                wk_io_fail_at(i, faults[f].how);
                wick_status st = life(k);
                wk_io_fail_at(0, 0);
                bool named = strstr(wick_last_error(), k->path) || (k->adapter && strstr(wick_last_error(), k->adapter));
                bool clean = faults[f].fatal ? st == WICK_E_IO && named && strstr(wick_last_error(), strerror(faults[f].how)) : !st;
                if (!clean)
                    fail_msg("%s: call %d of %d, fault %d: %s: %s", k->path, (int)i, (int)total, faults[f].how,
                             wick_status_name(st), wick_last_error());
                if (wk_alloc_live() != live) fail_msg("%s: call %d, fault %d: blocks are kept", k->path, (int)i, faults[f].how);
            }
        ok(life(k));
    }
}

/* Writing: whole or not at all, whatever call fails. */
static void writing(void **state) {
    (void)state;
    const char *path = "/tmp/wick-test-failures.txt";
    const wk_str parts[] = { WK_STR("one "), WK_STR("two") };
    wk_buf b = { 0 };
    uint64_t before = wk_io_count();
    ok(wk_file_write(path, parts, 2));
    uint64_t total = wk_io_count() - before;
    for (uint64_t i = 1; i <= total; i++)
        for (int how = 0; how < 3; how++) {
            remove(path);
            wk_io_fail_at(i, how == 0 ? EIO : how == 1 ? EINTR : WK_IO_SHORT);
            wick_status st = wk_file_write(path, parts, 2);
            wk_io_fail_at(0, 0);
            if (how == 0) refused(st, WICK_E_IO, "/tmp/wick-test-failures.txt: could not be written: Input/output error");
            else ok(st);
            assert_int_equal(wk_file_exists(path), how != 0);
        }
    ok(wk_file_read(path, 100, &b));
    assert_string_equal(b.ptr, "one two");
    wk_buf_free(&b);
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(allocations), cmocka_unit_test(system_calls), cmocka_unit_test(writing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
