/* test_pack.c: packing weights: rows come back exactly as the file's decoder gives them (or rounded to 8 bits), row orders,
 * stacked matrices, sizes, pages let go, every failed allocation, and tensors that are refused; all of it by each instruction set,
 * into the same bytes. */
#include "backend/cpu/linear.h"
#include "base/cpu.h"
#include "base/file.h"
#include "support/sets.h"
#include "tensor/quant.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static wk_pool *pool;
static uint64_t state = 1;
static uint8_t random_byte(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint8_t)(state >> 56);
}

static const wk_dtype exact[] = { WK_F32,  WK_F16,  WK_BF16, WK_Q4_0, WK_Q4_1,   WK_Q5_0,   WK_Q5_1, WK_Q8_0,
                                  WK_Q2_K, WK_Q3_K, WK_Q4_K, WK_Q5_K, WK_Q6_K, WK_IQ4_NL, WK_IQ4_XS, WK_MXFP4,
                                  WK_F8_E4M3, WK_F8_E5M2, WK_F8_E8M0, WK_F64 };
static const wk_dtype rounded[] = { WK_TQ1_0, WK_TQ2_0, WK_IQ1_S, WK_IQ1_M, WK_IQ2_XXS, WK_IQ2_XS, WK_IQ2_S, WK_IQ3_XXS, WK_IQ3_S };
#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
static const int64_t lengths[] = { 1, 4, 13, 20, 40, 121, 320, 364, 992 };  /* with and without zeros up to a chunk, short spans */

/* [n_mat, n_out, n_in] of random bytes & mask: 0xbf leaves no infinity or NaN in any float16. */
static wk_tensor random_tensor_of(uint8_t mask, wk_dtype type, int64_t n_mat, int64_t n_out, int64_t n_in) {
    size_t row;
    assert_true(wk_row_bytes(type, n_in, &row));
    size_t n = row * (size_t)(n_mat * n_out);
    uint8_t *raw = test_malloc(n + 1);
    for (size_t i = 0; i < n; i++) raw[1 + i] = random_byte() & mask;
    wk_tensor t = {
        .name = WK_STR("blk.0.w"), .dtype = type, .n_dim = 3, .shape = { n_mat, n_out, n_in, 1 }, .data = raw + 1, .n_bytes = n
    };
    if (n_mat == 0 || n_mat == 1) t = (wk_tensor){ t.name, type, 2, { n_out, n_in, 1, 1 }, t.data, n, NULL };
    return t;
}
static wk_tensor random_tensor(wk_dtype type, int64_t n_mat, int64_t n_out, int64_t n_in) {
    return random_tensor_of(0xff, type, n_mat, n_out, n_in);
}
static void tensor_free(wk_tensor *t) { test_free((uint8_t *)(uintptr_t)t->data - 1); }

static wk_packed *pack(const wk_tensor *t, int64_t m, const int32_t *row_from) {
    wk_packed *w;
    wick_status st = wk_pack(pool, t, m, row_from, false, &w);
    if (st) print_error("%s\n", wick_last_error());
    assert_int_equal(st, WICK_OK);
    return w;
}

static bool same_floats(const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) if (!(a[i] == b[i] || (isnan(a[i]) && isnan(b[i])))) return false;
    return true;
}

static void test_rows_exact(void **unused) {
    (void)unused;
    float want[1024], got[1024];
    static const int64_t shapes[][2] = { { 1, 256 }, { 16, 512 }, { 37, 1024 }, { 130, 768 } };
    for (int k = 0; k < COUNT(exact); k++)
        for (int s = 0; s < COUNT(shapes); s++) {
            wk_tensor t = random_tensor(exact[k], 1, shapes[s][0], shapes[s][1]);
            wk_packed *w = pack(&t, 0, NULL);
            assert_int_equal(wk_packed_n_out(w), shapes[s][0]);
            assert_int_equal(wk_packed_n_in(w), shapes[s][1]);
            for (int64_t r = 0; r < shapes[s][0]; r++) {
                wk_tensor_row(&t, r, want);
                wk_packed_row(w, r, got);
                if (!same_floats(want, got, shapes[s][1]))
                    fail_msg("%s row %d of %d", wk_dtypes[exact[k]].name, (int)r, (int)shapes[s][0]);
            }
            wk_packed_free(w);
            tensor_free(&t);
        }
}

/* Rows of 32 k that no super block fits into, and float rows of any length. */
static void test_odd_rows(void **unused) {
    (void)unused;
    float want[1024], got[1024];
    for (int k = 0; k < COUNT(exact); k++)
        for (int64_t n_in = wk_dtypes[exact[k]].block; n_in < 1000 && wk_dtypes[exact[k]].block < 256;
             n_in += wk_dtypes[exact[k]].block * 7) {
            wk_tensor t = random_tensor(exact[k], 1, 19, n_in);
            wk_packed *w = pack(&t, 0, NULL);
            for (int64_t r = 0; r < 19; r++) {
                wk_tensor_row(&t, r, want);
                wk_packed_row(w, r, got);
                assert_true(same_floats(want, got, n_in));
            }
            wk_packed_free(w);
            tensor_free(&t);
        }
}

/* Float32 held as bfloat16: the nearest, whatever the number; written over too. */
static void test_rows_as_bf16(void **unused) {
    (void)unused;
    float got[1024], in[1024];
    for (int l = 0; l < COUNT(lengths); l++) {
        int64_t n_in = lengths[l];
        wk_tensor t = random_tensor(WK_F32, 1, 19, n_in);
        wk_packed *w = NULL;
        static float x[19 * 1000];  /* the tensor's numbers, which lie on no boundary there */
        static const float odd[] = { 0, -0.0f, INFINITY, -INFINITY, NAN, 3.4e38f, 1e-45f, -1e-40f, 1.00390625f, 1.01171875f };
        memcpy(x, t.data, t.n_bytes);
        for (int64_t i = 0; i < 19 * n_in; i += 3) x[i] = odd[i / 3 % COUNT(odd)];
        memcpy((uint8_t *)(uintptr_t)t.data, x, t.n_bytes);
        assert_int_equal(wk_pack_bf16(pool, &t, &w), WICK_OK);
        assert_true(wk_packed_rounds(w));
        for (int64_t r = 0; r < 19; r++) {
            wk_packed_row(w, r, got);
            for (int64_t i = 0; i < n_in; i++) in[i] = wk_bf16_to_f32(wk_f32_to_bf16(x[r * n_in + i]));
            assert_true(same_floats(in, got, n_in));
        }
        wk_packed_write(w, 17, x);
        wk_packed_row(w, 17, got);
        for (int64_t i = 0; i < n_in; i++) in[i] = wk_bf16_to_f32(wk_f32_to_bf16(x[i]));
        assert_true(same_floats(in, got, n_in));
        wk_packed_row(w, 16, got);
        for (int64_t i = 0; i < n_in; i++) in[i] = wk_bf16_to_f32(wk_f32_to_bf16(x[16 * n_in + i]));
        assert_true(same_floats(in, got, n_in));
        wk_packed_free(w);
        tensor_free(&t);
    }
}

/* Float16 whose values bfloat16 holds is held so, whatever the numbers; one value less, and it is not. */
static void test_rows_narrow(void **unused) {
    (void)unused;
    float want[1024], got[1024];
    for (int l = 0; l < COUNT(lengths); l++) {
        int64_t n_in = lengths[l];
        wk_tensor t = random_tensor(WK_F16, 1, 19, n_in);
        uint8_t *raw = (uint8_t *)(uintptr_t)t.data;
        for (uint64_t i = 0; i < t.n_bytes; i += 2) raw[i] &= 0xf8;  /* bfloat16 has three bits less */
        for (int k = 0; k < 2; k++) {
            wk_packed *w = pack(&t, 0, NULL);
            assert_int_equal(wk_packed_rounds(w), k == 0);
            for (int64_t r = 0; r < 19; r++) {
                wk_tensor_row(&t, r, want);
                wk_packed_row(w, r, got);
                assert_true(same_floats(want, got, n_in));
            }
            wk_packed_free(w);
            uint8_t *one = raw + random_byte() % 19 * n_in * 2 + n_in / 2 * 2;
            one[0] = 1, one[1] = random_byte() | 0x40;
        }
        tensor_free(&t);
    }
}

/* Plain C and the set in use weave the same bytes. */
static void test_same_bytes(void **unused) {
    (void)unused;
    for (int k = 0; k < COUNT(exact); k++)
        for (int64_t n_in = 256; n_in <= 768; n_in += 512) {
            wk_tensor t = random_tensor(exact[k], 1, 55, n_in);  /* four blocks: nothing lies between planes */
            wk_packed *w = pack(&t, 0, NULL);
            unsigned in_use = wk_cpu_features();
            wk_cpu_limit(0);
            wk_packed *plain = pack(&t, 0, NULL);
            wk_cpu_limit(in_use);
            assert_int_equal(wk_packed_bytes(plain), wk_packed_bytes(w));
            assert_memory_equal(plain->mem, w->mem, w->n_bytes);
            wk_packed_free(plain);
            wk_packed_free(w);
            tensor_free(&t);
        }
}

static void test_rows_rounded(void **unused) {
    (void)unused;
    float want[512], got[512];
    for (int k = 0; k < COUNT(rounded); k++) {
        wk_tensor t = random_tensor_of(0xbf, rounded[k], 1, 21, 512);
        wk_packed *w = pack(&t, 0, NULL);
        for (int64_t r = 0; r < 21; r++) {
            wk_tensor_row(&t, r, want);
            wk_packed_row(w, r, got);
            for (int g = 0; g < 512; g += 32) {
                float most = 0;
                for (int i = g; i < g + 32; i++) most = fmaxf(most, fabsf(want[i]));
                for (int i = g; i < g + 32; i++) assert_true(fabsf(want[i] - got[i]) <= most / 253);
            }
        }
        wk_packed_free(w);
        tensor_free(&t);
    }
}

static void test_row_order_and_stacks(void **unused) {
    (void)unused;
    enum { N_OUT = 50, N_IN = 256, N_MAT = 3 };
    int32_t from[N_OUT];
    float want[N_IN], got[N_IN];
    for (int i = 0; i < N_OUT; i++) from[i] = (i * 7 + 3) % N_OUT;
    for (int k = 0; k < COUNT(exact); k++) {
        wk_tensor t = random_tensor(exact[k], N_MAT, N_OUT, N_IN);
        for (int64_t m = 0; m < N_MAT; m++) {
            wk_packed *w = pack(&t, m, m == 1 ? NULL : from);
            for (int64_t r = 0; r < N_OUT; r++) {
                wk_tensor_row(&t, m * N_OUT + (m == 1 ? r : from[r]), want);
                wk_packed_row(w, r, got);
                assert_true(same_floats(want, got, N_IN));
            }
            wk_packed_free(w);
        }
        tensor_free(&t);
    }
}

/* GPTQ: rows equal wk_tensor_row()'s, with groups in order and not, and a row order on top; or rounded, where groups are no whole
 * chunks or a zero does not fit a byte. */
static void test_gptq(void **unused) {
    (void)unused;
    enum { N_OUT = 40, N_IN = 256 };
    static uint8_t codes[N_IN * N_OUT], zeros[N_OUT * N_IN], scales[4 * N_OUT * N_IN], g_idx[4 * N_IN];
    static const int groups[] = { 32, 64, 128, 256, 96, 48, 16, 40 };
    enum { N_GROUP = sizeof groups / sizeof groups[0] };
    enum { MIDDLE, BYTES, PAST_BYTES, N_ZERO };
    float want[N_IN], got[N_IN];
    int32_t from[N_OUT];
    for (int i = 0; i < N_OUT; i++) from[i] = N_OUT - 1 - i;
    for (int variant = 0; variant < N_GROUP * 2 * 2 * N_ZERO; variant++) {
        int group = groups[variant % N_GROUP], n_group = (N_IN + group - 1) / group, kind = variant / N_GROUP / 4;
        bool act_order = variant / N_GROUP % 2, eight = variant / N_GROUP / 2 % 2;
        for (size_t i = 0; i < sizeof codes; i++) codes[i] = random_byte();
        for (size_t i = 0; i < sizeof zeros; i++) zeros[i] = kind == MIDDLE ? eight ? 0x7f : 0x77 : random_byte() % 255;
        if (kind == PAST_BYTES) zeros[N_OUT / 2] = 255;  /* one more: 256; of 4 bits, 16 */
        for (int i = 0; i < n_group * N_OUT; i++) wk_put_f16(scales + 2 * i, 0.01f + (float)random_byte() / 5000);
        for (uint32_t i = 0; i < N_IN; i++) {
            uint32_t g = i * 37 % N_IN / (uint32_t)group;  /* 37 is odd: a permutation */
            memcpy(g_idx + 4 * i, &g, 4);
        }
        wk_parts p = { .order = WK_CODES_GPTQ,
                       .bits = eight ? 8 : 4,
                       .n_out = N_OUT,
                       .n_in = N_IN,
                       .group = group,
                       .rows = 1,
                       .n_group = n_group,
                       .codes = codes,
                       .zeros = zeros,
                       .zero_more = 1,
                       .scales = scales,
                       .scale_type = WK_F16,
                       .scale_row = 1,
                       .scale_group = N_OUT,
                       .g_idx = act_order ? g_idx : NULL };
        wk_tensor t = { .name = WK_STR("q_proj"), .dtype = WK_GPTQ, .n_dim = 2, .shape = { N_OUT, N_IN, 1, 1 }, .parts = &p };
        wk_packed *w = pack(&t, 0, from);
        bool regular = group % 32 == 0 && !(eight && kind == PAST_BYTES);
        assert_int_equal(wk_act_kind(w) == -1, regular && act_order && group < N_IN);
        for (int r = 0; r < N_OUT; r++) {
            float most = 0;
            wk_tensor_row(&t, from[r], want);
            wk_packed_row(w, r, got);
            for (int i = 0; i < N_IN; i++) most = fmaxf(most, fabsf(want[i]));
            for (int i = 0; i < N_IN; i++) assert_true(regular ? want[i] == got[i] : fabsf(want[i] - got[i]) <= most / 253);
        }
        wk_packed_free(w);
    }
}

static void test_sizes(void **unused) {
    (void)unused;
    for (int k = 0; k < COUNT(exact); k++) {
        if (exact[k] == WK_F8_E8M0) continue;  /* a type of scales, no file's weights: held as float32 */
        wk_tensor t = random_tensor(exact[k], 1, 64, 1024);
        wk_packed *w = pack(&t, 0, NULL);
        if ((double)wk_packed_bytes(w) > 1.03 * (double)t.n_bytes)
            fail_msg("%s: %zu bytes, %zu in the file", wk_dtypes[exact[k]].name, wk_packed_bytes(w), (size_t)t.n_bytes);
        wk_packed_free(w);
        tensor_free(&t);
    }
}

/* Weights of many sizes, more than a thread takes at a time, on one list come out as the decoder gives them, and as each does by
 * itself; a float16 one, whose last value alone bfloat16 does not hold, as float16; what is cut from the list stays as it was laid
 * out. */
static void test_list(void **unused) {
    (void)unused;
    enum { N = 9 };
    static const wk_dtype types[N] = { WK_Q4_0, WK_F16, WK_Q8_0, WK_F16, WK_Q6_K, WK_F32, WK_BF16, WK_Q4_1, WK_IQ4_NL };
    static const int32_t from[3] = { 2, 0, 1 };
    float want[768], got[768];
    wk_packing p = { .pool = pool };
    wk_tensor t[N];
    wk_packed *w[N], *cut, *by_itself;
    for (int i = 0; i < N; i++) {
        t[i] = random_tensor(types[i], 1, i == 2 ? 9000 : i == 6 ? 6000 : 1 + 2 * i, 256 * (1 + i % 3));
        uint8_t *raw = (uint8_t *)(uintptr_t)t[i].data;
        for (uint64_t k = 0; types[i] == WK_F16 && k < t[i].n_bytes; k += 2) raw[k] = 0, raw[k + 1] = 0x3c;
        if (i == 3) raw[t[i].n_bytes - 2] = 1;
        assert_int_equal(wk_packing_add(&p, &t[i], 0, i == 1 ? from : NULL, false, &w[i]), WICK_OK);
    }
    assert_int_equal(wk_packing_add(&p, &t[0], 0, NULL, false, &cut), WICK_OK);
    wk_packing_cut(&p, N);
    wk_packed_free(cut);
    assert_int_equal(wk_packing_run(&p), WICK_OK);
    assert_int_equal(p.n_job, 0);
    assert_int_equal(p.n_bytes, 0);
    assert_true(w[1]->l.bf16);
    assert_false(w[3]->l.bf16);
    for (int i = 0; i < N; i++) {
        by_itself = pack(&t[i], 0, i == 1 ? from : NULL);
        assert_int_equal(wk_packed_bytes(w[i]), wk_packed_bytes(by_itself));
        for (int64_t n = wk_packed_n_out(by_itself), r = 0; r < n; r += n > 1000 ? 13 : 1) {
            wk_packed_row(by_itself, r, want);
            wk_packed_row(w[i], r, got);
            assert_memory_equal(want, got, (size_t)wk_packed_n_in(by_itself) * sizeof *want);
            wk_tensor_row(&t[i], i == 1 ? from[r] : r, want);
            assert_true(same_floats(want, got, wk_packed_n_in(by_itself)));
        }
        wk_packed_free(by_itself);
        wk_packed_free(w[i]);
        tensor_free(&t[i]);
    }
    wk_packing_free(&p);
}

/* Pages of a mapped file may be let go meanwhile; the file's bytes, and the result, stay. */
static void test_release(void **unused) {
    (void)unused;
    enum { N_OUT = 3000, N_IN = 4096 };
    char path[] = "/tmp/wick-test-pack-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    wk_tensor t = random_tensor(WK_Q8_0, 1, N_OUT, N_IN);
    assert_int_equal(write(fd, t.data, t.n_bytes), (ssize_t)t.n_bytes);
    close(fd);
    wk_file f;
    assert_int_equal(wk_file_map(&f, path), WICK_OK);
    unlink(path);
    int32_t *from = test_malloc(N_OUT * sizeof *from);
    float *want = test_malloc(2 * N_IN * sizeof *want), *got = want + N_IN;
    for (int i = 0; i < N_OUT; i++) from[i] = i ^ 1;
    for (int order = 0; order < 2; order++) {
        wk_tensor mapped = t;
        mapped.data = f.data;
        wk_packed *w;
        assert_int_equal(wk_pack(pool, &mapped, 0, order ? from : NULL, true, &w), WICK_OK);
        for (int r = 0; r < N_OUT; r += 97) {
            wk_tensor_row(&t, order ? from[r] : r, want);
            wk_packed_row(w, r, got);
            assert_true(same_floats(want, got, N_IN));
        }
        wk_packed_free(w);
    }
    wk_file_unmap(&f);
    test_free(from), test_free(want);
    tensor_free(&t);
}

/* Each allocation fails once: a clean status, nothing left behind. */
static void test_failed_allocations(void **unused) {
    (void)unused;
    static const uint8_t zeros[64 * 64 * 4];
    uint8_t g_idx[4 * 64];
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t g = i % 2;
        memcpy(g_idx + 4 * i, &g, 4);
    }
    for (int kind = 0; kind < 3; kind++) {
        wk_parts p = { .order = WK_CODES_GPTQ,
                       .bits = 4,
                       .n_out = 64,
                       .n_in = 64,
                       .group = kind == 1 ? 32 : 24,
                       .rows = 1,
                       .n_group = kind == 1 ? 2 : 3,
                       .codes = zeros,
                       .zeros = zeros,
                       .scales = zeros,
                       .scale_type = WK_F16,
                       .scale_row = 1,
                       .scale_group = 64,
                       .g_idx = g_idx };
        wk_tensor t = { .name = WK_STR("w"), .dtype = kind ? WK_GPTQ : WK_F32, .n_dim = 2, .shape = { 64, 64, 1, 1 }, .data = zeros,
                        .n_bytes = sizeof zeros, .parts = kind ? &p : NULL };
        bool failed = true;
        for (uint64_t k = 1; failed && k < 20; k++) {
            wk_packed *w = (void *)1;
            wk_alloc_fail_at(k);
            wick_status st = wk_pack(pool, &t, 0, NULL, false, &w);
            failed = st != WICK_OK;
            wk_alloc_fail_at(0);
            assert_true(st == WICK_OK ? w != NULL : st == WICK_E_MEMORY && w == NULL);
            wk_packed_free(w);
        }
        assert_false(failed);
    }
}

static void refused(wk_tensor t, int64_t m, wick_status want, const char *says) {
    wk_packed *w = (void *)1;
    assert_int_equal(wk_pack(pool, &t, m, NULL, false, &w), want);
    assert_null(w);
    assert_non_null(strstr(wick_last_error(), says));
}

static void test_refused(void **unused) {
    (void)unused;
    static const uint8_t data[4096];
    wk_tensor t = { .name = WK_STR("w"),
                    .dtype = WK_F32,
                    .n_dim = 2,
                    .shape = { 16, 64, 1, 1 },
                    .data = data,
                    .n_bytes = sizeof data },
              bad;
    bad = t, bad.n_bytes = 4095;                          refused(bad, 0, WICK_E_FORMAT, "fewer than its shape");
    bad = t, bad.n_dim = 1;                               refused(bad, 0, WICK_E_FORMAT, "1 dimensions");
    bad = t, bad.n_dim = 4;                               refused(bad, 0, WICK_E_FORMAT, "4 dimensions");
    bad = t, bad.shape[0] = 0;                            refused(bad, 0, WICK_E_FORMAT, "dimension 0 is 0");
    bad = t, bad.shape[1] = (int64_t)1 << 40;             refused(bad, 0, WICK_E_FORMAT, "dimension 1");
    bad = t, bad.dtype = WK_Q4_K;                         refused(bad, 0, WICK_E_FORMAT, "a multiple of 256");
    bad = t, bad.dtype = WK_Q4_0, bad.shape[1] = 48;      refused(bad, 0, WICK_E_FORMAT, "a multiple of 32");
    bad = t, bad.dtype = WK_BOOL;                         refused(bad, 0, WICK_E_UNSUPPORTED, "BOOL");
    refused(t, 1, WICK_E_ARG, "no matrix 1");
    bad = t, bad.n_dim = 3, bad.shape[2] = 1;             refused(bad, 16, WICK_E_ARG, "no matrix 16");
    bad = t, bad.dtype = WK_AWQ;                          refused(bad, 0, WICK_E_UNSUPPORTED, "is of type AWQ");
}

static int setup(void **unused) {
    (void)unused;
    return wk_pool_new(2, &pool) != WICK_OK;
}
static int teardown(void **unused) {
    (void)unused;
    wk_pool_free(pool);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_exact),
        cmocka_unit_test(test_odd_rows),
        cmocka_unit_test(test_rows_as_bf16),
        cmocka_unit_test(test_rows_narrow),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_rows_rounded),
        cmocka_unit_test(test_row_order_and_stacks),
        cmocka_unit_test(test_gptq),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_failed_allocations),
        cmocka_unit_test(test_refused),
    };
    int n_failed = 0;
    for (int i = 0; sets_use(i); i++) n_failed += cmocka_run_group_tests_name(wk_cpu_name(), tests, setup, teardown);
    return n_failed;
}
