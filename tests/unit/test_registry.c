/* test_registry.c: adapters by name, counted, stacked and swapped: what a session has stays as it is whatever the registry does,
 * and nothing is allocated, lost or left over by swapping. */
#include "adapter/lora_data.h"
#include "base/file.h"
#include "base/mem.h"
#include "generate/generate.h"
#include "support/run.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LLAMA "data/models/llama"
#define DIR "data/adapters/llama/"
enum { N_VOCAB = 320, N_IDS = 24 };

static const char *const paths[] = { DIR "r8-qv", DIR "r4-all", DIR "r2-dora-all", DIR "saved-head", DIR "r4-embed-head" };
enum { N_PATH = sizeof paths / sizeof *paths };

/* Logits of one short text; free them. */
static float *logits_of(wick_session *s) {
    int32_t ids[N_IDS];
    float *out = calloc(N_IDS * N_VOCAB, 4);
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + i * 37 % 300;
    ok(wick_logits(s, ids, N_IDS, out, N_IDS * N_VOCAB));
    return out;
}
static void same_logits(wick_session *s, const float *want) {
    float *got = logits_of(s);
    assert_memory_equal(got, want, N_IDS * N_VOCAB * 4);
    free(got);
}
/* What a session of its own gives with the adapter. */
static float *fresh(wick_model *m, const char *path, float scale) {
    wick_session *s = run_session(m, 32, 0);
    wick_adapter *a = NULL;
    if (path) {
        ok(wick_adapter_load(m, path, &a));
        ok(wick_session_apply_adapter(s, a, scale));
    }
    wick_adapter_free(a);  /* the session holds it on */
    float *out = logits_of(s);
    wick_session_free(s);
    return out;
}

static uint64_t version(const wick_adapter *a) {
    wick_adapter_info info = { .size = sizeof info };
    ok(wick_adapter_get_info(a, &info));
    return info.version;
}

static void by_name(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 32, 0);
    wick_adapters *r;
    wick_adapter *a, *b;
    char name[201];
    float *first = fresh(m, paths[0], 1), *half = fresh(m, paths[1], 0.5f), *none = fresh(m, NULL, 0);
    ok(wick_adapters_new(m, &r));
    refused(wick_adapters_get(r, "one", &a), WICK_E_ARG, "loaded are none");
    ok(wick_adapters_load(r, "one", paths[0]));
    ok(wick_adapters_load(r, "two", paths[1]));
    assert_int_equal(wick_adapters_count(r), 2);
    ok(wick_adapters_at(r, 1, name, sizeof name, &a));
    assert_string_equal(name, "two");
    wick_adapter_info info = { .size = sizeof info };
    ok(wick_adapter_get_info(a, &info));
    assert_string_equal(info.path, paths[1]);
    assert_string_equal(info.base_model, "fixtures/models/llama");
    assert_true(info.rank == 4 && info.n_modules == 21 && !info.dora && !info.rslora && !info.n_saved);
    assert_true(info.n_params > 10000 && info.n_bytes >= info.n_params * 4);
    wick_adapter_free(a);
    refused(wick_adapters_at(r, 2, name, sizeof name, &a), WICK_E_END, "there are 2");
    refused(wick_adapters_at(r, 0, name, 3, &a), WICK_E_LENGTH, "needs 4 bytes");

    ok(wick_session_activate_adapter(s, r, "one", 1));
    ok(wick_adapters_get(r, "one", &a));
    assert_true(wick_session_has_adapter(s, a) && wick_session_has_adapter(s, NULL));
    same_logits(s, first);
    ok(wick_session_activate_adapter(s, r, "two", 0.5f));
    assert_false(wick_session_has_adapter(s, a));
    same_logits(s, half);
    refused(wick_session_activate_adapter(s, r, "three", 1), WICK_E_ARG, "\"three\"; loaded are \"one\", \"two\"");
    same_logits(s, half);

    /* Unloaded in use: the session goes on with it. */
    ok(wick_adapters_unload(r, "two"));
    refused(wick_adapters_unload(r, "two"), WICK_E_ARG, "no adapter is called \"two\"");
    same_logits(s, half);
    /* Another content under the same name: another version, and the old one where it is applied. */
    ok(wick_session_activate_adapter(s, r, "one", 1));
    ok(wick_adapters_load(r, "one", paths[1]));
    ok(wick_adapters_get(r, "one", &b));
    assert_int_equal(wick_adapters_count(r), 1);
    assert_true(version(a) != version(b));
    same_logits(s, first);
    /* One that fits another model is refused, and changes nothing. */
    assert_int_equal(wick_adapters_load(r, "one", "data/adapters/gemma3/r4-all"), WICK_E_FORMAT);
    wick_adapter_free(b);
    ok(wick_adapters_get(r, "one", &b));
    wick_adapter_free(b);
    /* What a stream generates with stays until it is closed. */
    wick_stream *stream;
    ok(wick_stream_new(s, &(wick_prompt){ .ids = (int32_t[]){ 5, 7 }, .n_ids = 2 }, NULL, 1, &stream));
    refused(wick_session_remove_adapter(s), WICK_E_ARG, "in use by another call or by a stream");
    refused(wick_session_apply_adapter(s, a, 1), WICK_E_ARG, "in use by another call or by a stream");
    assert_true(wick_session_has_adapter(s, a));
    wick_stream_free(stream);
    ok(wick_session_remove_adapter(s));
    assert_false(wick_session_has_adapter(s, NULL));
    same_logits(s, none);
    refused(wick_session_remove_adapter(NULL), WICK_E_ARG, "the session is NULL");

    char long_name[300];
    memset(long_name, 'x', sizeof long_name);
    long_name[299] = 0;
    refused(wick_adapters_load(r, long_name, paths[0]), WICK_E_ARG, "1 to 200");
    refused(wick_adapters_load(r, "", paths[0]), WICK_E_ARG, "1 to 200");
    refused(wick_adapters_load(NULL, "x", paths[0]), WICK_E_ARG, "registry");
    refused(wick_adapters_load(r, NULL, paths[0]), WICK_E_ARG, "name");
    refused(wick_adapters_load(r, "x", NULL), WICK_E_ARG, "path");
    refused(wick_adapters_unload(r, NULL), WICK_E_ARG, "name");
    refused(wick_adapters_get(r, "one", NULL), WICK_E_ARG, "out");
    refused(wick_adapters_at(r, 0, NULL, 0, &b), WICK_E_ARG, "name");
    refused(wick_adapters_new(NULL, &(wick_adapters *){ NULL }), WICK_E_ARG, "model");
    refused(wick_adapters_new(m, NULL), WICK_E_ARG, "out");
    refused(wick_adapter_get_info(a, NULL), WICK_E_ARG, "info");
    refused(wick_adapter_get_info(a, &(wick_adapter_info){ .size = 1 }), WICK_E_ARG, "wick_adapter_info");
    assert_int_equal(wick_adapters_count(NULL), 0);
    assert_false(wick_session_has_adapter(NULL, a));
    wick_adapter_free(a);
    free(first);
    free(half);
    free(none);
    wick_session_free(s);
    wick_adapters_free(r);
    wick_model_free(m);
}

static void two_registries_of_two_models(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA), *other = run_open(LLAMA);
    wick_adapters *r;
    wick_adapter *a;
    ok(wick_adapters_new(other, &r));
    ok(wick_adapters_load(r, "one", paths[0]));
    wick_session *s = run_session(m, 32, 0);
    refused(wick_session_activate_adapter(s, r, "one", 1), WICK_E_ARG, "another model");
    ok(wick_adapters_get(r, "one", &a));
    wick_adapters_free(r);
    uint64_t v = version(a);  /* lives on with us */
    wick_adapter_free(a);
    ok(wick_adapter_load(m, paths[0], &a));
    assert_true(version(a) == v);
    wick_adapter_free(a);
    wick_session_free(s);
    wick_model_free(other);
    wick_model_free(m);
}

/* The same adapter has the same version whatever format it lies in; one changed number gives another. */
static void versions(void **state) {
    (void)state;
    char to[] = "/tmp/wick-version-XXXXXX", path[64];
    wick_model *m = run_open(LLAMA);
    wk_lora_data *d;
    wick_adapter *a;
    assert_non_null(mkdtemp(to));
    ok(wk_lora_read(m->m, paths[1], &d));
    ok(wick_adapter_load(m, paths[1], &a));
    uint64_t v = version(a);
    wick_adapter_free(a);
    for (wk_lora_format f = WK_LORA_PEFT; f <= WK_LORA_GGUF; f++) {
        snprintf(path, sizeof path, "%s/%d", to, f);
        ok(wk_lora_write(m->m, d, path, f));
        ok(wick_adapter_load(m, path, &a));
        assert_true(version(a) == v);
        wick_adapter_free(a);
        wk_folder_remove(path);
    }
    for (int k = 0; k < 3; k++) {
        float *x = k ? d->module[20].b : d->module[3].a;
        if (k < 2) x[1] = nextafterf(x[1], 9);
        else d->module[5].alpha += 1;
        ok(wk_adapter_from_data(m->m, d, &a));
        assert_true(version(a) != v);
        v = version(a);
        wick_adapter_free(a);
    }
    wk_lora_data_free(d);
    wk_folder_remove(to);
    wick_model_free(m);
}

/* Two plain adapters together are the adapter whose ranks lie side by side. */
static void a_stack_is_a_sum(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 32, 0);
    wk_lora_data *one, *two;
    wick_adapter *a, *b, *both;
    ok(wk_lora_read(m->m, paths[0], &one));
    ok(wk_lora_read(m->m, paths[1], &two));
    ok(wk_adapter_from_data(m->m, one, &a));
    ok(wk_adapter_from_data(m->m, two, &b));
    for (size_t i = 0; i < two->n_module; i++) {  /* one at scale 1 and two at 0.5, into two */
        wk_lora_module *y = &two->module[i], *x = NULL;
        for (size_t k = 0; k < one->n_module; k++)
            if (one->module[k].layer == y->layer && one->module[k].role == y->role) x = &one->module[k];
        int64_t rank = y->rank + (x ? x->rank : 0);
        float *A = calloc((size_t)(rank * y->n_in), 4), *B = calloc((size_t)(rank * y->n_out), 4);
        for (int64_t r = 0; r < rank; r++) {
            const wk_lora_module *from = r < y->rank ? y : x;
            int64_t k = r < y->rank ? r : r - y->rank;
            double scale = r < y->rank ? 0.5 * wk_lora_scale(two, y) : wk_lora_scale(one, x);
            memcpy(A + r * y->n_in, from->a + k * y->n_in, (size_t)y->n_in * 4);
            for (int64_t o = 0; o < y->n_out; o++) B[o * rank + r] = (float)(scale * (double)from->b[o * from->rank + k]);
        }
        wk_lora_module sum = { .layer = y->layer, .role = y->role, .rank = rank, .n_in = y->n_in, .n_out = y->n_out,
                               .alpha = (double)rank, .a = wk_alloc((size_t)(rank * y->n_in) * 4),
                               .b = wk_alloc((size_t)(rank * y->n_out) * 4) };
        memcpy(sum.a, A, (size_t)(rank * y->n_in) * 4);
        memcpy(sum.b, B, (size_t)(rank * y->n_out) * 4);
        wk_free(y->module);
        wk_free(y->a);
        wk_free(y->b);
        *y = sum;
        free(A);
        free(B);
    }
    ok(wk_adapter_from_data(m->m, two, &both));
    ok(wick_session_apply_adapter(s, both, 1));
    float *want = logits_of(s);
    ok(wick_session_apply_adapters(s, (wick_adapter_use[]){ { a, 1 }, { b, 0.5f } }, 2));
    assert_true(wick_session_has_adapter(s, a) && wick_session_has_adapter(s, b) && !wick_session_has_adapter(s, both));
    float *got = logits_of(s);
    double diff = 0, norm = 0;
    for (int i = 0; i < N_IDS * N_VOCAB; i++) {
        diff += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    assert_true(sqrt(diff / norm) < 1e-5);
    free(got);
    free(want);
    wk_lora_data_free(one);
    wk_lora_data_free(two);
    wick_adapter_free(a);
    wick_adapter_free(b);
    wick_adapter_free(both);
    wick_session_free(s);
    wick_model_free(m);
}

static void stacks_that_cannot_be(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 32, 0);
    wick_adapter *a, *b;
    ok(wick_adapter_load(m, paths[3], &a));
    ok(wick_adapter_load(m, paths[3], &b));
    wick_adapter_use use[17] = { { a, 1 }, { b, 1 } };
    refused(wick_session_apply_adapters(s, use, 2), WICK_E_ARG, "both bring an embedding whole");
    refused(wick_session_apply_adapters(s, use, 17), WICK_E_ARG, "at most 16");
    refused(wick_session_apply_adapters(s, use + 2, 1), WICK_E_ARG, "adapter 0 is NULL");
    refused(wick_session_apply_adapters(s, NULL, 1), WICK_E_ARG, "use is NULL");
    assert_false(wick_session_has_adapter(s, NULL));
    ok(wick_session_apply_adapters(s, NULL, 0));
    wick_adapter_free(a);
    wick_adapter_free(b);
    wick_session_free(s);
    wick_model_free(m);
}

/* Swapping allocates nothing, and each time gives what a session of its own gives. */
static void swaps(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 32, 0);
    wick_adapter *a[N_PATH];
    float *want[N_PATH + 1];
    for (int i = 0; i < N_PATH; i++) {
        ok(wick_adapter_load(m, paths[i], &a[i]));
        want[i] = fresh(m, paths[i], 1);
    }
    want[N_PATH] = fresh(m, NULL, 0);
    uint64_t count = wk_alloc_count(), live = wk_alloc_live();
    for (int i = 0; i < 20000; i++) {
        if (i % 7 == 6) wick_session_remove_adapter(s);
        else if (i % 7 == 5) ok(wick_session_apply_adapters(s, (wick_adapter_use[]){ { a[i % N_PATH], 1 }, { a[0], 0 } }, 2));
        else ok(wick_session_apply_adapter(s, a[i % N_PATH], 1));
        if (i % 1000 == 999) {  /* 20 of them */
            int k = i / 1000 % (N_PATH + 1);
            if (k == N_PATH) wick_session_remove_adapter(s);
            else ok(wick_session_apply_adapter(s, a[k], 1));
            same_logits(s, want[k]);
        }
    }
    assert_true(wk_alloc_count() == count && wk_alloc_live() == live);
    for (int i = 0; i < N_PATH; i++) wick_adapter_free(a[i]);
    for (int i = 0; i <= N_PATH; i++) free(want[i]);
    wick_session_free(s);
    wick_model_free(m);
}

typedef struct shared { wick_model *m; wick_adapters *r; float *want[N_PATH]; bool wrong; int i; } shared;

/* Loads, unloads and applies by name while the others do. */
static void *worker(void *arg) {
    shared *w = arg;
    wick_session *s = run_session(w->m, 32, 0);
    for (int i = 0; i < 12 && !w->wrong; i++) {
        char name[8];
        int k = (w->i + i) % N_PATH;
        snprintf(name, sizeof name, "%d", k);
        w->wrong |= wick_adapters_load(w->r, name, paths[k]) != WICK_OK;
        wick_status st = wick_session_activate_adapter(s, w->r, name, 1);
        w->wrong |= st && st != WICK_E_ARG;  /* somebody may have taken it out */
        if (i % 3 == 0) wick_adapters_unload(w->r, name);
        if (st) continue;
        float *got = logits_of(s);
        w->wrong |= memcmp(got, w->want[k], N_IDS * N_VOCAB * 4) != 0;
        free(got);
    }
    wick_session_free(s);
    return NULL;
}

static void many_threads(void **state) {
    (void)state;
    enum { N = 3 };
    pthread_t t[N];
    shared w[N] = { { 0 } };
    w[0].m = run_open(LLAMA);
    ok(wick_adapters_new(w[0].m, &w[0].r));
    for (int i = 0; i < N_PATH; i++) w[0].want[i] = fresh(w[0].m, paths[i], 1);
    for (int i = 0; i < N; i++) {
        w[i] = w[0];
        w[i].i = i;
    }
    for (int i = 0; i < N; i++) assert_int_equal(pthread_create(&t[i], NULL, worker, &w[i]), 0);
    for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < N; i++) assert_false(w[i].wrong);
    wick_adapters_free(w[0].r);
    for (int i = 0; i < N_PATH; i++) free(w[0].want[i]);
    wick_model_free(w[0].m);
}

/* Each allocation of a life with a registry failed once; nothing is left over. */
static void failed_allocations(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    for (int path = 2; path < N_PATH; path += 2)
        for (uint64_t k = 1, live = wk_alloc_live();; k++) {
            wick_adapters *r = NULL;
            wk_alloc_fail_at(k);
            wick_status st = wick_adapters_new(m, &r);
            if (!st) st = wick_adapters_load(r, "one", paths[path]);
            if (!st) st = wick_adapters_load(r, "two", paths[0]);
            if (!st) st = wick_adapters_load(r, "one", paths[0]);
            wk_alloc_fail_at(0);
            wick_adapters_free(r);
            assert_true(wk_alloc_live() == live);
            if (!st) break;
            assert_int_equal(st, WICK_E_MEMORY);
        }
    wick_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_name), cmocka_unit_test(two_registries_of_two_models), cmocka_unit_test(versions),
        cmocka_unit_test(a_stack_is_a_sum), cmocka_unit_test(stacks_that_cannot_be), cmocka_unit_test(swaps),
        cmocka_unit_test(many_threads), cmocka_unit_test(failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
