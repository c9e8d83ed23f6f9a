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

/* ---- AWQ ---- */

enum { A_IN = 96, A_OUT = 24, A_GROUP = 32 };
static const array awq[] = {
    { "m.qweight", WK_I32, 2, { A_IN, A_OUT / 8 }, NULL },
    { "m.qzeros", WK_I32, 2, { A_IN / A_GROUP, A_OUT / 8 }, NULL },
    { "m.scales", WK_F16, 2, { A_IN / A_GROUP, A_OUT }, NULL },
    { "m.bias", WK_F32, 1, { A_OUT }, NULL },
    { "n.weight", WK_F16, 2, { 4, 4 }, NULL },
    { NULL, WK_F32, 0, { 0 }, NULL },
};
static const char AWQ[] = "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemm\",\"zero_point\":true,"
                          "\"modules_to_not_convert\":[\"n\"]";

/* Nibble k of a word is element order[k] of its eight. */
static int awq_nibble(const uint8_t *words, int64_t word, int64_t element) {
    static const int order[8] = { 0, 2, 4, 6, 1, 3, 5, 7 };
    uint32_t w;
    int k = 0;
    memcpy(&w, words + 4 * word, 4);
    while (order[k] != element) k++;
    return (int)(w >> (4 * k) & 15);
}

static void test_awq(void **unused) {
    (void)unused;
    uint8_t codes[A_IN * A_OUT / 2], zeros[A_IN / A_GROUP * A_OUT / 2], scale[A_IN / A_GROUP * A_OUT * 2];
    array a[sizeof awq / sizeof *awq];
    float row[A_IN];
    memcpy(a, awq, sizeof a);
    for (size_t i = 0; i < sizeof codes; i++) codes[i] = random_byte();
    for (size_t i = 0; i < sizeof zeros; i++) zeros[i] = random_byte();
    for (int i = 0; i < A_IN / A_GROUP * A_OUT; i++) wk_put_f16(scale + 2 * i, 0.01f * (float)(1 + i));
    a[0].data = codes, a[1].data = zeros, a[2].data = scale;
    wk_checkpoint *c = open_folder(AWQ, a);
    const wk_tensor *t = wk_checkpoint_find(c, "m.weight");
    assert_true(t && t->dtype == WK_AWQ && t->n_dim == 2 && t->shape[0] == A_OUT && t->shape[1] == A_IN);
    assert_int_equal(wk_checkpoint_n_tensor(c), 3);
    assert_int_equal(t->n_bytes, sizeof codes + sizeof zeros + sizeof scale);
    assert_int_equal(wk_checkpoint_find(c, "n.weight")->dtype, WK_F16);
    for (int o = 0; o < A_OUT; o++) {
        wk_tensor_row(t, o, row);
        for (int i = 0; i < A_IN; i++) {
            int g = i / A_GROUP, q = awq_nibble(codes, i * (A_OUT / 8) + o / 8, o % 8),
                z = awq_nibble(zeros, g * (A_OUT / 8) + o / 8, o % 8);
            assert_true(row[i] == (float)(q - z) * wk_get_f16(scale + 2 * (g * A_OUT + o)));
        }
    }
    check_packed(t);
    wk_checkpoint_free(c);
}

/* ---- FP8 ---- */

enum { F_OUT = 200, F_IN = 150, F_N = F_OUT * F_IN };
static const char FP8[] = "\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[128,64]";
static const char FP8_PLAIN[] = "\"quant_method\":\"fp8\",\"activation_scheme\":\"static\",\"weight_block_size\":null";
static const char FBGEMM[] = "\"quant_method\":\"fbgemm_fp8\",\"modules_to_not_convert\":[\"n\"]";
#define COMPRESSED(weights) \
    "\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\",\"config_groups\":{\"group_0\":" \
    "{\"targets\":[\"Linear\"],\"weights\":{" weights "}}}"
#define FLOAT_8 "\"num_bits\":8,\"type\":\"float\""
static const array fp8[] = {
    { "m.weight", WK_F8_E4M3, 2, { F_OUT, F_IN }, NULL },
    { "m.weight_scale_inv", WK_F32, 2, { 2, 3 }, NULL },
    { "n.weight", WK_F16, 2, { 4, 4 }, NULL },
    { NULL, WK_F32, 0, { 0 }, NULL },
};
static const array fp8_row[] = {
    { "m.weight", WK_F8_E4M3, 2, { F_OUT, F_IN }, NULL },
    { "m.weight_scale", WK_F32, 2, { F_OUT, 1 }, NULL },
    { "n.weight", WK_F16, 2, { 4, 4 }, NULL },
    { NULL, WK_F32, 0, { 0 }, NULL },
};

/* m.weight of F_OUT x F_IN with these scales, rows x cols of the weight each. */
static void check_fp8(const char *config, wk_dtype type, array scale, int rows, int cols) {
    static uint8_t codes[F_N], raw[4 * F_OUT * 4];
    float row[F_IN], s, v;
    int per_row = (F_IN + cols - 1) / cols, bytes = wk_dtypes[scale.type].bytes;
    for (int i = 0; i < F_N; i++) codes[i] = random_byte() & 0xbf;  /* all of them numbers */
    for (int64_t i = 0; i < count(&scale); i++) {
        v = 0.01f * (float)(3 + i * 7 % 50);
        if (wk_dtypes[scale.type].encode) wk_dtypes[scale.type].encode(&v, raw + i * bytes, 1);
        else raw[i] = (uint8_t)(120 + i % 9);
    }
    scale.data = raw;
    const array a[] = { { "m.weight", type, 2, { F_OUT, F_IN }, codes },
                        scale,
                        { "m.input_scale", WK_F32, 1, { 1 }, NULL },
                        { "m.input_scale_ub", WK_F32, 1, { 1 }, NULL },
                        { "m.k_scale", WK_F32, 0, { 0 }, NULL },
                        { "n.weight", WK_F16, 2, { 4, 4 }, NULL },
                        { NULL, WK_F32, 0, { 0 }, NULL } };
    wk_checkpoint *c = open_folder(config, a);
    const wk_tensor *t = wk_checkpoint_find(c, "m.weight");
    assert_int_equal(wk_checkpoint_n_tensor(c), 2);  /* what scales activations is not there */
    assert_true(t && t->dtype == type && t->n_dim == 2 && t->shape[0] == F_OUT && t->shape[1] == F_IN);
    for (int o = 0; o < F_OUT; o++) {
        wk_tensor_row(t, o, row);
        for (int i = 0; i < F_IN; i++) {
            wk_dtypes[type].decode(&codes[o * F_IN + i], &v, 1);
            wk_dtypes[scale.type].decode(raw + (o / rows * per_row + i / cols) * bytes, &s, 1);
            assert_true(row[i] == v * s);
        }
    }
    check_packed(t);
    wk_checkpoint_free(c);
}

static void test_fp8(void **unused) {
    (void)unused;
    const array blocks_of = { "m.weight_scale_inv", WK_F32, 2, { 2, 3 }, NULL };
    array a = blocks_of;
    check_fp8(FP8, WK_F8_E4M3, a, 128, 64);
    a.type = WK_BF16, check_fp8(FP8, WK_F8_E5M2, a, 128, 64);
    a.type = WK_F8_E8M0, check_fp8(FP8, WK_F8_E4M3, a, 128, 64);
    a = (array){ "m.weight_scale", WK_F32, 2, { 2, 3 }, NULL };
    check_fp8(COMPRESSED(FLOAT_8 ",\"strategy\":\"block\",\"block_structure\":[128,64]"), WK_F8_E4M3, a, 128, 64);
    static const char channel[] = COMPRESSED(FLOAT_8 ",\"strategy\":\"channel\"");
    a = (array){ "m.weight_scale", WK_BF16, 2, { F_OUT, 1 }, NULL }, check_fp8(channel, WK_F8_E4M3, a, 1, F_IN);
    a = (array){ "m.weight_scale", WK_F32, 1, { F_OUT }, NULL }, check_fp8(FBGEMM, WK_F8_E4M3, a, 1, F_IN);
    a = (array){ "m.weight_scale", WK_F16, 0, { 0 }, NULL }, check_fp8(FP8_PLAIN, WK_F8_E4M3, a, F_OUT, F_IN);
    a = (array){ "m.weight_scale", WK_F32, 1, { 1 }, NULL }, check_fp8(channel, WK_F8_E4M3, a, F_OUT, F_IN);
    a = (array){ "m.weight_scale", WK_F32, 2, { 1, 1 }, NULL }, check_fp8(FBGEMM, WK_F8_E5M2, a, F_OUT, F_IN);
}

/* Packed bytes exceed the file's by at most 3 %, whatever order the rows come in. */
static void test_sizes(void **unused) {
    (void)unused;
    enum { N = 1024 };
    wk_pool *pool;
    int32_t *from = test_malloc(N * sizeof *from);
    for (int i = 0; i < N; i++) from[i] = i ^ 32;  /* in 16s: a block's rows keep a scale in common */
    assert_int_equal(wk_pool_new(1, &pool), WICK_OK);
    const struct { const char *config; array a[4]; } folders[] = {
        { FP8, { { "m.weight", WK_F8_E4M3, 2, { N, N }, NULL }, { "m.weight_scale_inv", WK_F32, 2, { 8, 16 }, NULL }, { 0 } } },
        { FBGEMM, { { "m.weight", WK_F8_E5M2, 2, { N, N }, NULL }, { "m.weight_scale", WK_F32, 2, { N, 1 }, NULL }, { 0 } } },
        { AWQ, { { "m.qweight", WK_I32, 2, { N, N / 8 }, NULL }, { "m.qzeros", WK_I32, 2, { N / 32, N / 8 }, NULL },
                 { "m.scales", WK_F16, 2, { N / 32, N }, NULL }, { 0 } } },
        { MXFP4,
          { { "m_blocks", WK_U8, 4, { 1, N, N / 32, 16 }, NULL }, { "m_scales", WK_U8, 3, { 1, N, N / 32 }, NULL }, { 0 } } },
    };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        for (int order = 0; order < 2; order++) {
            wk_checkpoint *c = open_folder(folders[i].config, folders[i].a);
            const wk_tensor *t = wk_checkpoint_tensor(c, 0);
            wk_packed *w;
            assert_int_equal(wk_pack(pool, t, 0, order ? from : NULL, false, &w), WICK_OK);
            if ((double)wk_packed_bytes(w) > 1.03 * (double)t->n_bytes)
                fail_msg("%s: %zu bytes, %zu in the file", wk_dtypes[t->dtype].name, wk_packed_bytes(w), (size_t)t->n_bytes);
            wk_packed_free(w);
            wk_checkpoint_free(c);
        }
    wk_pool_free(pool);
    test_free(from);
}

/* ---- some rows of a fused layer ---- */

static void check_slice(const char *config, const array *a, int64_t first, int64_t n) {
    wk_checkpoint *c = open_folder(config, a);
    const wk_tensor *t = NULL;
    for (size_t i = 0; i < wk_checkpoint_n_tensor(c) && !(t && t->parts); i++) t = wk_checkpoint_tensor(c, i);
    wk_parts p = *t->parts;
    wk_tensor some = *t;
    float *want = test_malloc(2 * (size_t)wk_tensor_cols(t) * sizeof *want), *got = want + wk_tensor_cols(t);
    p.first += first;
    some.parts = &p;
    some.n_dim = 2;
    some.shape[0] = n;
    some.shape[1] = wk_tensor_cols(t);
    for (int64_t r = 0; r < n; r++) {
        wk_tensor_row(t, first + r, want);
        wk_tensor_row(&some, r, got);
        assert_memory_equal(want, got, (size_t)wk_tensor_cols(t) * sizeof *want);
    }
    check_packed(&some);
    test_free(want);
    wk_checkpoint_free(c);
}

static void test_slices(void **unused) {
    (void)unused;
    fill_mxfp4();
    check_slice(AWQ, awq, 3, 19);
    check_slice(FP8, fp8, 120, 80);      /* a block's rows have two scales */
    check_slice(FP8, fp8, 128, 72);
    check_slice(FBGEMM, fp8_row, 77, 40);
    check_slice(MXFP4, mxfp4, ROWS + 7, 21);  /* of the second expert */
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

static const struct bad bad_awq[] = {
    { "3 bits", "\"quant_method\":\"awq\",\"bits\":3,\"group_size\":32", { 0 }, WICK_E_UNSUPPORTED,
      "/config.json: quantization_config: bits is 3, wick reads AWQ with 4" },
    { "8 bits", "\"quant_method\":\"awq\",\"bits\":8,\"group_size\":32", { 0 }, WICK_E_UNSUPPORTED, "wick reads AWQ with 4" },
    { "no bits", "\"quant_method\":\"awq\",\"group_size\":32", { 0 }, WICK_E_FORMAT, "\"bits\" has to be a whole number" },
    { "no group", "\"quant_method\":\"awq\",\"bits\":4", { 0 }, WICK_E_FORMAT, "\"group_size\" has to be a whole number" },
    { "gemv", "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"gemv\"", { 0 }, WICK_E_UNSUPPORTED,
      "/config.json: quantization_config: version is \"gemv\", wick reads gemm" },
    { "group", "\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64", { 0 }, WICK_E_FORMAT,
      "AWQ layer \"m\": qzeros is I32 [3, 3], I32 [2, 3] is needed" },
    { "no zeros", AWQ, { "-m.qzeros", WK_I32, 0, { 0 }, NULL }, WICK_E_FORMAT, "AWQ layer \"m\" has no qzeros" },
    { "no scales", AWQ, { "-m.scales", WK_I32, 0, { 0 }, NULL }, WICK_E_FORMAT, "AWQ layer \"m\" has no scales" },
    { "float codes", AWQ, { "m.qweight", WK_F32, 2, { A_IN, A_OUT / 8 }, NULL }, WICK_E_FORMAT,
      "qweight is F32 [96, 3], I32 [any, any]" },
    { "flat codes", AWQ, { "m.qweight", WK_I32, 1, { A_IN * A_OUT / 8 }, NULL }, WICK_E_FORMAT,
      "qweight is I32 [288], I32 [any, any]" },
    { "no codes", AWQ, { "m.qweight", WK_I32, 2, { A_IN, 0 }, NULL }, WICK_E_FORMAT, "qweight is I32 [96, 0], I32 [any, any]" },
    { "more codes", AWQ, { "m.qweight", WK_I32, 2, { A_IN, 4 }, NULL }, WICK_E_FORMAT,
      "qzeros is I32 [3, 3], I32 [3, 4] is needed" },
    { "scales", AWQ, { "m.scales", WK_F16, 2, { 3, 23 }, NULL }, WICK_E_FORMAT, "scales is F16 [3, 23], F32, F16 or BF16 [3, 24]" },
    { "zeros", AWQ, { "m.qzeros", WK_U8, 2, { 3, 3 }, NULL }, WICK_E_FORMAT, "qzeros is U8 [3, 3], I32 [3, 3] is needed" },
    { "infinite scale", AWQ, { "m.scales", WK_F16, 2, { 3, 24 }, (const uint16_t[72]){ [70] = 0x7c00 } }, WICK_E_FORMAT,
      "tensor \"m.scales\": element 70 is inf, a scale has to be finite" },
    { "both", AWQ, { "m.weight", WK_F16, 2, { A_OUT, A_IN }, NULL }, WICK_E_FORMAT, "has both \"m.weight\" and a quantised form" },
};

static const struct bad bad_fp8[] = {
    { "no scales", FP8, { "-m.weight_scale_inv", WK_F32, 0, { 0 }, NULL }, WICK_E_FORMAT,
      "FP8 layer \"m\" has no weight_scale_inv" },
    { "scales", FP8, { "m.weight_scale_inv", WK_F32, 2, { 2, 2 }, NULL }, WICK_E_FORMAT,
      "FP8 layer \"m\": weight_scale_inv is F32 [2, 2], F32, F16, BF16 or F8_E8M0 [2, 3] is needed" },
    { "flat scales", FP8, { "m.weight_scale_inv", WK_F32, 1, { 6 }, NULL }, WICK_E_FORMAT, "weight_scale_inv is F32 [6]" },
    { "scale type", FP8, { "m.weight_scale_inv", WK_U8, 2, { 2, 3 }, NULL }, WICK_E_FORMAT, "weight_scale_inv is U8 [2, 3]" },
    { "NaN", FP8, { "m.weight_scale_inv", WK_F32, 2, { 2, 3 }, (const float[6]){ 1, 1, 1, 1, NAN, 1 } }, WICK_E_FORMAT,
      "tensor \"m.weight_scale_inv\": element 4 is nan, a scale has to be finite and not zero" },
    { "zero", FP8, { "m.weight_scale_inv", WK_F32, 2, { 2, 3 }, (const float[6]){ 1, 1, 1, 1, 1, 0 } }, WICK_E_FORMAT,
      "tensor \"m.weight_scale_inv\": element 5 is 0, a scale has to be finite and not zero" },
    { "infinite", FP8, { "m.weight_scale_inv", WK_F32, 2, { 2, 3 }, (const float[6]){ -INFINITY, 1, 1, 1, 1, 1 } }, WICK_E_FORMAT,
      "element 0 is -inf, a scale has to be finite" },
    { "dimensions", FP8, { "m.weight", WK_F8_E4M3, 3, { F_OUT, F_IN, 1 }, NULL }, WICK_E_FORMAT,
      "FP8 layer \"m\": weight is F8_E4M3 [200, 150, 1], F8_E4M3 or F8_E5M2 [any, any] is needed" },
    { "vector", FP8, { "m.weight", WK_F8_E4M3, 1, { F_OUT }, NULL }, WICK_E_FORMAT,
      "weight is F8_E4M3 [200], F8_E4M3 or F8_E5M2 [any" },
    { "blocks of 0", "\"quant_method\":\"fp8\",\"weight_block_size\":[128,0]", { 0 }, WICK_E_FORMAT,
      "/config.json: quantization_config: weight_block_size has to be two numbers in 1..1048576" },
    { "three", "\"quant_method\":\"fp8\",\"weight_block_size\":[128,128,128]", { 0 }, WICK_E_FORMAT,
      "weight_block_size has to be" },
    { "a number", "\"quant_method\":\"fp8\",\"weight_block_size\":128", { 0 }, WICK_E_FORMAT, "weight_block_size has to be" },
    { "packed", "\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\"", { 0 }, WICK_E_UNSUPPORTED,
      "/config.json: quantization_config: format is \"pack-quantized\", wick reads float-quantized" },
    { "integers", COMPRESSED("\"num_bits\":8,\"type\":\"int\""), { 0 }, WICK_E_UNSUPPORTED,
      "group_0: weights of type \"int\" with 8 bits, wick reads floats of 8" },
    { "4 bits", COMPRESSED("\"num_bits\":4,\"type\":\"float\""), { 0 }, WICK_E_UNSUPPORTED, "type \"float\" with 4 bits" },
    { "no type", COMPRESSED("\"num_bits\":8"), { 0 }, WICK_E_UNSUPPORTED, "weights of type \"\" with 8 bits" },
    { "structure", COMPRESSED(FLOAT_8 ",\"block_structure\":[0,1]"), { 0 }, WICK_E_FORMAT,
      "block_structure has to be two numbers" },
};
static const struct bad bad_fp8_row[] = {
    { "no scales", FBGEMM, { "-m.weight_scale", WK_F32, 0, { 0 }, NULL }, WICK_E_FORMAT, "FP8 layer \"m\" has no weight_scale" },
    { "fewer", FBGEMM, { "m.weight_scale", WK_F32, 2, { 199, 1 }, NULL }, WICK_E_FORMAT,
      "weight_scale is F32 [199, 1], F32, F16, BF16 or" },
    { "across", FBGEMM, { "m.weight_scale", WK_F32, 2, { 1, 200 }, NULL }, WICK_E_FORMAT, "or F8_E8M0 [200, 1] is needed" },
    { "of inputs", FBGEMM, { "m.weight_scale", WK_F32, 1, { F_IN }, NULL }, WICK_E_FORMAT, "or F8_E8M0 [200] is needed" },
    { "none at all", FBGEMM, { "m.weight_scale", WK_F32, 2, { 0, 1 }, NULL }, WICK_E_FORMAT, "weight_scale is F32 [0, 1]" },
    { "blocks", FP8, { 0 }, WICK_E_FORMAT, "weight_scale is F32 [200, 1], F32, F16, BF16 or F8_E8M0 [2, 3] is needed" },
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
    REFUSED(awq, bad_awq);
    REFUSED(fp8, bad_fp8);
    REFUSED(fp8_row, bad_fp8_row);
}

/* Each allocation fails once: in a good folder, and in one that is refused. */
static void fail_each(const char *config, const array *a, wick_status want) {
    put_folder(config, a);
    for (uint64_t k = 1, done = 0; !done; k++) {
        wk_checkpoint *c;
        uint64_t before = wk_alloc_count();
        wk_alloc_fail_at(k);
        wick_status st = wk_checkpoint_open(folder, false, &c);
        done = wk_alloc_count() - before < k;
        wk_alloc_fail_at(0);
        if (st != (done ? want : WICK_E_MEMORY)) fail_msg("allocation %d: %s", (int)k, wick_last_error());
        wk_checkpoint_free(c);
    }
}
static void test_failing_allocations(void **unused) {
    (void)unused;
    fill_mxfp4();
    fail_each(MXFP4, mxfp4, WICK_OK);
    fail_each(AWQ, awq, WICK_OK);
    fail_each(FP8, fp8, WICK_OK);
    fail_each(FP8, fp8_row, WICK_E_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_mxfp4, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_stacked_row_order, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_awq, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_fp8, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_sizes, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_slices, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_failing_allocations, new_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
