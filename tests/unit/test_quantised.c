/* test_quantised.c: quantised weights of Hugging Face folders: made here from random bytes, put together, decoded as their formats
 * define (written down here once more), packed; and folders whose arrays contradict each other, refused with one clear error. */
#include "backend/cpu/packed.h"
#include "format/checkpoint.h"
#include "support/lab.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- folders ---- */

typedef struct array { const char *name; wk_dtype type; int n_dim; int64_t shape[4]; const void *data; } array;
enum { MAX_ARRAY = 8 };

static char folder[64];
static uint64_t state = 1;
static uint8_t random_byte(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint8_t)(state >> 56);
}

static int new_folder(void **unused) {
    (void)unused;
    snprintf(folder, sizeof folder, "/tmp/wick-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}
static const char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}
static int remove_folder(void **unused) {
    (void)unused;
    unlink(in_folder("config.json"));
    unlink(in_folder("model.safetensors"));
    return rmdir(folder);
}

static int64_t count(const array *a) {
    int64_t n = 1;
    for (int i = 0; i < a->n_dim; i++) n *= a->shape[i];
    return n;
}

/* Arrays without data are random bytes; of floats, 0.5. Up to the first without a name. */
static void put_folder(const char *config, const array *a) {
    wk_tensor t[MAX_ARRAY];
    uint8_t *made[MAX_ARRAY] = { NULL };
    int n = 0;
    FILE *f = fopen(in_folder("config.json"), "wb");
    assert_non_null(f);
    fprintf(f, "{\"quantization_config\":{%s}}", config);
    fclose(f);
    for (; a[n].name; n++) {
        int bytes = wk_dtypes[a[n].type].bytes;
        const float half = 0.5f;
        made[n] = test_malloc((size_t)(count(&a[n]) * bytes + 1));
        for (int64_t i = 0; i < count(&a[n]) * bytes; i++) made[n][i] = random_byte() % 0x70;
        if (wk_dtypes[a[n].type].encode)
            for (int64_t i = 0; i < count(&a[n]); i++) wk_dtypes[a[n].type].encode(&half, made[n] + i * bytes, 1);
        t[n] = (wk_tensor){ .name = { a[n].name, strlen(a[n].name) },
                            .dtype = a[n].type,
                            .n_dim = a[n].n_dim,
                            .data = a[n].data ? a[n].data : made[n],
                            .n_bytes = (uint64_t)(count(&a[n]) * bytes) };
        memcpy(t[n].shape, a[n].shape, sizeof t[n].shape);
    }
    if (wk_safetensors_write(in_folder("model.safetensors"), t, (size_t)n)) fail_msg("%s", wick_last_error());
    for (int i = 0; i < n; i++) test_free(made[i]);
}

static wk_checkpoint *open_folder(const char *config, const array *a) {
    wk_checkpoint *c;
    put_folder(config, a);
    if (wk_checkpoint_open(folder, false, &c)) fail_msg("%s", wick_last_error());
    return c;
}

/* Rows, packed by the CPU backend, are what the tensor says they are. */
static void check_packed(const wk_tensor *t) {
    wk_pool *pool;
    int64_t n_in = wk_tensor_cols(t), n_mat = t->n_dim == 3 ? t->shape[0] : 1, n_out = wk_tensor_rows(t) / n_mat;
    float *want = test_malloc((size_t)n_in * sizeof *want), *got = test_malloc((size_t)n_in * sizeof *got);
    assert_int_equal(wk_pool_new(2, &pool), WICK_OK);
    for (int64_t m = 0; m < n_mat; m++) {
        wk_packed *w;
        if (wk_pack(pool, t, m, NULL, true, &w)) fail_msg("%s", wick_last_error());
        for (int64_t r = 0; r < n_out; r++) {
            wk_tensor_row(t, m * n_out + r, want);
            wk_packed_row(w, r, got);
            assert_memory_equal(want, got, (size_t)n_in * sizeof *want);
        }
        wk_packed_free(w);
    }
    wk_pool_free(pool);
    test_free(want), test_free(got);
}

/* ---- MXFP4 ---- */

enum { E = 3, ROWS = 40, INNER = 64 };
static uint8_t blocks[E][ROWS][INNER / 2], scales[E][ROWS][INNER / 32];
static const array mxfp4[] = {
    { "model.layers.0.mlp.experts.gate_up_proj_blocks", WK_U8, 4, { E, ROWS, INNER / 32, 16 }, blocks },
    { "model.layers.0.mlp.experts.gate_up_proj_scales", WK_U8, 3, { E, ROWS, INNER / 32 }, scales },
    { "model.layers.0.mlp.experts.gate_up_proj_bias", WK_F32, 2, { E, ROWS }, NULL },
    { NULL, WK_F32, 0, { 0 }, NULL },
};
static const char MXFP4[] = "\"quant_method\":\"mxfp4\",\"modules_to_not_convert\":[\"lm_head\"]";

static void fill_mxfp4(void) {
    for (size_t i = 0; i < sizeof blocks; i++) (&blocks[0][0][0])[i] = random_byte();
    for (size_t i = 0; i < sizeof scales; i++) (&scales[0][0][0])[i] = (uint8_t)(110 + random_byte() % 30);
    scales[0][1][0] = 0;    /* 2^-127 */
    scales[0][2][1] = 254;  /* 2^127 */
    memset(blocks[0][2] + 16, 0x12, 16);
}

static const float fp4[16] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6 };

static void test_mxfp4(void **unused) {
    (void)unused;
    fill_mxfp4();
    wk_checkpoint *c = open_folder(MXFP4, mxfp4);
    assert_int_equal(wk_checkpoint_n_tensor(c), 2);
    assert_non_null(wk_checkpoint_find(c, "model.layers.0.mlp.experts.gate_up_proj_bias"));
    const wk_tensor *t = wk_checkpoint_find(c, "model.layers.0.mlp.experts.gate_up_proj");
    assert_true(t && t->dtype == WK_MXFP4 && t->n_dim == 3);
    assert_true(t->shape[0] == E && t->shape[1] == ROWS && t->shape[2] == INNER && t->shape[3] == 1);
    assert_int_equal(t->n_bytes, sizeof blocks + sizeof scales);
    for (int e = 0; e < E; e++)
        for (int r = 0; r < ROWS; r++) {
            float row[INNER];
            wk_tensor_row(t, e * ROWS + r, row);
            for (int i = 0; i < INNER; i++) {  /* low nibbles come first */
                assert_true(row[i] == ldexpf(fp4[blocks[e][r][i / 2] >> (i % 2 * 4) & 15], scales[e][r][i / 32] - 127));
            }
        }
    check_packed(t);
    wk_checkpoint_free(c);
}

/* All experts' products with some rows; the weight's rows gathered by row_from. */
static void run_experts(bool reference, const wk_tensor *t, const int32_t *row_from, float *y) {
    enum { T = 5 };
    lab l;
    wk_backend *be;
    lab_rng r = { 3, 0 };
    lab_rows rows;
    wk_weight *w;
    assert_int_equal(reference ? wk_reference_new(true, &be) : wk_cpu_new(2, &be), WICK_OK);
    lab_new(&l, be, false, 1);
    wk_weight_source s = { .tensor = &t, .n_tensor = 1, .row_from = row_from };
    if (be->ops->weight_new(be, &s, &w)) fail_msg("%s", wick_last_error());
    l.weight[l.n_weight++] = w;
    assert_true(w->n_mat == E && w->n_row == ROWS && w->n_col == INNER);
    wk_attr a = { .n_used = E };
    wk_val x = lab_input(&l, 1, INNER), ids = LAB_OP(&l, WK_OP_ROUTE, &a, lab_input(&l, 1, E));
    wk_val out = LAB_OP(&l, WK_OP_EXPERT_LINEAR, NULL, x, wk_graph_param(l.g, w, "experts"), ids);
    lab_keep_all(&l);
    lab_plan(&l, T);
    lab_fill(&l, r, T);
    lab_rows_new(&rows, &r, 1);
    for (int i = 0; i < T; i++) lab_rows_add(&rows, 0, 0);
    assert_int_equal(be->ops->run(l.plan, &rows.batch, NULL), WICK_OK);
    be->ops->read(l.plan, out, 0, T * E, y);
    lab_free(&l);
}

/* row_from counts within each of the stacked matrices, on both backends: the same bytes as from a file whose rows lie so. */
static void test_stacked_row_order(void **unused) {
    (void)unused;
    enum { N = 5 * E * ROWS };
    static const char *const names[] = { "as-they-are", "other-order" };
    static uint8_t b[E][ROWS][INNER / 2], s[E][ROWS][INNER / 32];
    static float y[2][N];
    int32_t from[ROWS];
    array sorted[4];
    fill_mxfp4();
    for (int r = 0; r < ROWS; r++) from[r] = r < ROWS / 2 ? 2 * r : 2 * (r - ROWS / 2) + 1;  /* as gpt-oss' gate and up need it */
    for (int e = 0; e < E; e++)
        for (int r = 0; r < ROWS; r++) {
            memcpy(b[e][r], blocks[e][from[r]], sizeof b[e][r]);
            memcpy(s[e][r], scales[e][from[r]], sizeof s[e][r]);
        }
    memcpy(sorted, mxfp4, sizeof sorted);
    sorted[0].data = b;
    sorted[1].data = s;
    for (int reference = 0; reference < 2; reference++) {
        for (int k = 0; k < 2; k++) {
            wk_checkpoint *c = open_folder(MXFP4, k ? sorted : mxfp4);
            run_experts(reference, wk_checkpoint_tensor(c, 0)->n_dim == 3 ? wk_checkpoint_tensor(c, 0) : wk_checkpoint_tensor(c, 1),
                        k ? NULL : from, y[k]);
            wk_checkpoint_free(c);
        }
        if (memcmp(y[0], y[1], sizeof y[0])) fail_msg("%s and %s differ (%s)", names[0], names[1], reference ? "reference" : "cpu");
    }
}

/* ---- wrong ones ---- */

static const struct bad { const char *what, *config; array change; wick_status status; const char *says; } bad_mxfp4[] = {
    { "no scales", MXFP4, { "-model.layers.0.mlp.experts.gate_up_proj_scales", WK_U8, 0, { 0 }, NULL }, WICK_E_FORMAT,
      "MXFP4 layer \"model.layers.0.mlp.experts.gate_up_proj\" has no scales" },
    { "blocks of 8", MXFP4, { "model.layers.0.mlp.experts.gate_up_proj_blocks", WK_U8, 4, { E, ROWS, 2, 8 }, NULL }, WICK_E_FORMAT,
      "blocks is U8 [3, 40, 2, 8], U8 [any, any, any, 16] is needed" },
    { "signed blocks", MXFP4, { "model.layers.0.mlp.experts.gate_up_proj_blocks", WK_I8, 4, { E, ROWS, 2, 16 }, NULL },
      WICK_E_FORMAT, "blocks is I8 [3, 40, 2, 16], U8 [any" },
    { "other scales", MXFP4, { "model.layers.0.mlp.experts.gate_up_proj_scales", WK_U8, 3, { E, ROWS, 3 }, NULL }, WICK_E_FORMAT,
      "scales is U8 [3, 40, 3], U8 or F8_E8M0 [3, 40, 2] is needed" },
    { "scales of two dimensions", MXFP4, { "model.layers.0.mlp.experts.gate_up_proj_scales", WK_U8, 2, { E * ROWS, 2 }, NULL },
      WICK_E_FORMAT, "scales is U8 [120, 2], U8 or F8_E8M0 [3, 40, 2] is needed" },
    { "scale not a number", MXFP4,
      { "model.layers.0.mlp.experts.gate_up_proj_scales", WK_U8, 3, { E, ROWS, 2 }, (const uint8_t[E * ROWS * 2]){ [7] = 255 } },
      WICK_E_FORMAT, "tensor \"model.layers.0.mlp.experts.gate_up_proj_scales\": element 7 is nan, a scale has to be finite" },
    { "both", MXFP4, { "model.layers.0.mlp.experts.gate_up_proj", WK_F32, 3, { E, ROWS, INNER }, NULL }, WICK_E_FORMAT,
      "has both \"model.layers.0.mlp.experts.gate_up_proj\" and a quantised form of it" },
};

/* The good folder with one array changed, added, or ("-name") left out. */
static void refused(const array *good, const struct bad *b) {
    array a[MAX_ARRAY] = { { 0 } };
    bool minus = b->change.name && b->change.name[0] == '-', found = false;
    int n = 0;
    for (const array *g = good; g->name; g++) {
        bool same = b->change.name && !strcmp(g->name, b->change.name + minus);
        found = found || same;
        if (!same) a[n++] = *g;
        else if (!minus) a[n++] = b->change;
    }
    if (b->change.name && !found) a[n++] = b->change;
    wk_checkpoint *c;
    put_folder(b->config, a);
    wick_status st = wk_checkpoint_open(folder, false, &c);
    if (st != b->status || c || strncmp(wick_last_error(), folder, strlen(folder)) || !strstr(wick_last_error(), b->says))
        fail_msg("%s: %s \"%s\"\nexpected %s \"%s\"", b->what, wick_status_name(st), wick_last_error(), wick_status_name(b->status),
                 b->says);
}
#define REFUSED(good, list) for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++) refused(good, &(list)[i])

static void test_bad(void **unused) {
    (void)unused;
    fill_mxfp4();
    REFUSED(mxfp4, bad_mxfp4);
}

/* Each allocation fails once. */
static void test_failing_allocations(void **unused) {
    (void)unused;
    fill_mxfp4();
    put_folder(MXFP4, mxfp4);
    for (uint64_t k = 1, done = 0; !done; k++) {
        wk_checkpoint *c;
        uint64_t before = wk_alloc_count();
        wk_alloc_fail_at(k);
        wick_status st = wk_checkpoint_open(folder, false, &c);
        done = wk_alloc_count() - before < k;
        wk_alloc_fail_at(0);
        if (st != (done ? WICK_OK : WICK_E_MEMORY)) fail_msg("allocation %d: %s", (int)k, wick_last_error());
        wk_checkpoint_free(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mxfp4, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_stacked_row_order, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_failing_allocations, new_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
