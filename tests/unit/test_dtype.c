/* test_dtype.c: every number type against what GGUF's Python reference makes of the same bytes. */
#include "format/checkpoint.h"
#include "format/safetensors.h"
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "support/tried.h"

enum { ROWS = 4, COLS = 512 };

static wk_safetensors *types;

static int setup(void **state) {
    (void)state;
    return wk_safetensors_open("data/quant/gguf_types.safetensors", &types) != WICK_OK;
}

static int teardown(void **state) {
    (void)state;
    wk_safetensors_free(types);
    return 0;
}

static const wk_tensor *part(const wk_dtype_info *d, const char *what) {
    char name[40];
    snprintf(name, sizeof name, "%s.%s", d->name, what);
    return wk_safetensors_find(types, name);
}

/* ||a - b|| / ||b|| */
static double relative(const float *a, const float *b, size_t n) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(diff / norm);
}

static void test_every_type_decodes_exactly(void **state) {
    (void)state;
    int n = 0;
    for (int t = 0; t < WK_DTYPE_COUNT; t++) {
        const wk_dtype_info *d = &wk_dtypes[t];
        const wk_tensor *raw = part(d, "raw"), *want = part(d, "float");
        if (!raw) continue;
        wk_tensor typed = {
            .dtype = (wk_dtype)t, .n_dim = 2, .shape = { ROWS, COLS, 1, 1 }, .data = raw->data, .n_bytes = raw->n_bytes
        };
        float out[COLS];
        for (int r = 0; r < ROWS; r++) {
            wk_tensor_row(&typed, r, out);
            if (memcmp(out, want->data + (size_t)r * sizeof out, sizeof out)) fail_msg("%s: row %d differs", d->name, r);
        }
        tried("type", d->name, "decoded", "");
        n++;
    }
    assert_int_equal(n, 24);  /* all that the file has */
}

/* Where the reference has an encoder ours gives its bytes; the others come near their input. */
static void test_encoders(void **state) {
    (void)state;
    static const struct { wk_dtype t; double within; } near[] = {
        { WK_F32, 0 },     { WK_F64, 0 },      { WK_F16, 3e-4 },   { WK_BF16, 2e-3 },  { WK_Q8_0, 6e-3 },
        { WK_Q4_0, 0.09 }, { WK_Q4_1, 0.085 }, { WK_Q5_0, 0.045 }, { WK_Q5_1, 0.04 },  { WK_IQ4_NL, 0.09 },
        { WK_Q4_K, 0.09 }, { WK_Q5_K, 0.042 }, { WK_Q6_K, 0.02 },  { WK_MXFP4, 0.14 },
    };
    const float *in = (const float *)(const void *)part(&wk_dtypes[WK_Q4_0], "source")->data;
    for (size_t k = 0; k < sizeof near / sizeof *near; k++) {
        const wk_dtype_info *d = &wk_dtypes[near[k].t];
        uint8_t raw[COLS * 8 + 1];
        float back[COLS];
        raw[sizeof raw - 1] = 0xA5;
        d->encode(in, raw, COLS);
        d->decode(raw, back, COLS);
        if (relative(back, in, COLS) > near[k].within) fail_msg("%s: off by %g", d->name, relative(back, in, COLS));
        assert_int_equal(raw[sizeof raw - 1], 0xA5);
        const wk_tensor *source = part(d, "source");
        if (!source || !part(d, "raw")) continue;
        d->encode((const float *)(const void *)source->data, raw, COLS);
        assert_memory_equal(raw, part(d, "raw")->data, part(d, "raw")->n_bytes / ROWS);
    }
}

/* Zeros, one huge element, tiny ones, infinities and NaN: encoders stay in their bytes and give finite codes. */
static void test_encoders_at_the_edges(void **state) {
    (void)state;
    static const float edge[] = { 0, 1e-38f, -1e-44f, 3e38f, -3e38f, INFINITY, -INFINITY, NAN, 1, -1 };
    for (int t = 0; t < WK_DTYPE_COUNT; t++) {
        const wk_dtype_info *d = &wk_dtypes[t];
        if (!d->encode) continue;
        for (size_t a = 0; a < sizeof edge / sizeof *edge; a++)
            for (size_t b = 0; b < sizeof edge / sizeof *edge; b++) {
                float in[256], out[256];
                uint8_t raw[256 * 8];
                for (int i = 0; i < 256; i++) in[i] = i % 3 ? edge[a] : edge[b];
                d->encode(in, raw, 256);
                d->decode(raw, out, 256);
                if (!a && !b) for (int i = 0; i < 256; i++) assert_true(out[i] == 0);
            }
    }
}

static void test_half_floats(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {  /* every f16 comes back; NaN stays one */
        float f = wk_f16_to_f32((uint16_t)h);
        uint16_t back = wk_f32_to_f16(f);
        if ((h & 0x7C00) == 0x7C00 && (h & 0x3FF)) assert_true(isnan(f) && (back & 0x7C00) == 0x7C00 && (back & 0x3FF));
        else if (back != h) fail_msg("%04x came back as %04x", h, back);
        if (!isnan(wk_bf16_to_f32((uint16_t)h))) assert_int_equal(wk_f32_to_bf16(wk_bf16_to_f32((uint16_t)h)), h);
    }
    static const struct { float f; uint16_t h; } f16[] = {
        { 1, 0x3C00 },
        { 65504, 0x7BFF },
        { 65519.996f, 0x7BFF },
        { 65520, 0x7C00 },
        { -1e30f, 0xFC00 },
        { INFINITY, 0x7C00 },
        { 0x1p-24f, 1 },
        { 0x1p-25f, 0 },
        { 0x1.8p-25f, 1 },
        { 0x1p-14f, 0x0400 },
        { -0.0f, 0x8000 },
        { 1 + 0x1p-11f, 0x3C00 },
        { 1 + 0x1.8p-10f, 0x3C02 },
    };
    for (size_t i = 0; i < sizeof f16 / sizeof *f16; i++) assert_int_equal(wk_f32_to_f16(f16[i].f), f16[i].h);
    assert_int_equal(wk_f32_to_bf16(1 + 0x1p-8f), 0x3F80);  /* a tie goes to even */
    assert_int_equal(wk_f32_to_bf16(1 + 0x1.8p-7f), 0x3F82);
    assert_int_equal(wk_f32_to_bf16(3.4e38f), 0x7F80);
    assert_true(isnan(wk_bf16_to_f32(wk_f32_to_bf16(NAN))));
}

/* Every byte, as the OCP 8-bit specification says: sign, exponent, fraction. */
static void test_eight_bit_floats(void **state) {
    (void)state;
    for (int b = 0; b < 256; b++) {
        uint8_t raw = (uint8_t)b;
        float x, sign = b & 0x80 ? -1.0f : 1.0f;
        int e = b >> 3 & 15, m = b & 7;
        wk_dtypes[WK_F8_E4M3].decode(&raw, &x, 1);
        if ((b & 0x7F) == 0x7F) assert_true(isnan(x));
        else assert_true(x == sign * (e ? ldexpf(1 + (float)m / 8, e - 7) : ldexpf((float)m / 8, -6)) && !signbit(x) == (b < 128));
        wk_dtypes[WK_F8_E5M2].decode(&raw, &x, 1);
        e = b >> 2 & 31, m = b & 3;
        if (e == 31) assert_true(m ? isnan(x) : isinf(x) && !signbit(x) == (b < 128));
        else assert_true(x == sign * (e ? ldexpf(1 + (float)m / 4, e - 15) : ldexpf((float)m / 4, -14)));
        wk_dtypes[WK_F8_E8M0].decode(&raw, &x, 1);
        assert_true(b == 255 ? isnan(x) : x == ldexpf(1, b - 127));
    }
}

static void test_names_and_sizes(void **state) {
    (void)state;
    size_t n;
    for (int t = 0; t < WK_DTYPE_COUNT; t++) {
        assert_int_equal(wk_dtype_of_name(wk_dtypes[t].name), t);
        if (wk_dtypes[t].gguf_id >= 0) assert_int_equal(wk_dtype_of_gguf((uint32_t)wk_dtypes[t].gguf_id), t);
        if (wk_dtypes[t].st_name)
            assert_int_equal(wk_dtype_of_safetensors((wk_str){ wk_dtypes[t].st_name, strlen(wk_dtypes[t].st_name) }), t);
    }
    assert_int_equal(wk_dtype_of_name("q4_k"), WK_Q4_K);
    assert_int_equal(wk_dtype_of_name("Q4"), WK_DTYPE_COUNT);
    assert_int_equal(wk_dtype_of_gguf(31), WK_DTYPE_COUNT);
    assert_int_equal(wk_dtype_of_gguf(UINT32_MAX), WK_DTYPE_COUNT);
    assert_int_equal(wk_dtype_of_safetensors(WK_STR("F8_E3M4")), WK_DTYPE_COUNT);
    assert_true(wk_row_bytes(WK_Q4_K, 512, &n) && n == 288);
    assert_true(wk_row_bytes(WK_F32, 0, &n) && n == 0);
    assert_false(wk_row_bytes(WK_Q4_K, 128, &n));
    assert_false(wk_row_bytes(WK_F32, -4, &n));
    assert_false(wk_row_bytes(WK_F64, INT64_MAX, &n));
}

/* A GPTQ folder's weights against the float model that it was rounded from. */
static void check_gptq(const char *path, bool act_order, int group) {
    wk_checkpoint *c, *plain;
    assert_int_equal(wk_checkpoint_open(path, false, &c), WICK_OK);
    assert_int_equal(wk_checkpoint_open("data/models/llama-256", false, &plain), WICK_OK);
    int n = 0;
    for (size_t i = 0; i < wk_checkpoint_n_tensor(c); i++) {
        const wk_tensor *t = wk_checkpoint_tensor(c, i);
        if (t->dtype != WK_GPTQ) continue;
        char name[100];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.ptr);
        const wk_tensor *want = wk_checkpoint_find(plain, name);
        assert_non_null(want);
        assert_int_equal(t->shape[0], want->shape[0]);
        assert_int_equal(t->shape[1], want->shape[1]);
        assert_int_equal(t->parts->g_idx != NULL, act_order);
        assert_int_equal(t->parts->group, group);
        float a[512], b[512];
        for (int64_t r = 0; r < t->shape[0]; r++) {
            wk_tensor_row(t, r, a);
            wk_tensor_row(want, r, b);
            double off = relative(a, b, (size_t)t->shape[1]);  /* 0.08 is what 4 bits cost; a wrong order or zero gives 1 */
            if (off > 0.12) fail_msg("%s: row %" PRId64 " is off by %g", name, r, off);
        }
        n++;
    }
    assert_int_equal(n, 14);
    wk_checkpoint_free(c);
    wk_checkpoint_free(plain);
}

static void test_gptq_rows(void **state) {
    (void)state;
    check_gptq("data/models/llama-256-gptq-g64", false, 64);
    check_gptq("data/models/llama-256-gptq-g32-actorder", true, 32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_decodes_exactly),
        cmocka_unit_test(test_encoders),
        cmocka_unit_test(test_encoders_at_the_edges),
        cmocka_unit_test(test_half_floats),
        cmocka_unit_test(test_eight_bit_floats),
        cmocka_unit_test(test_names_and_sizes),
        cmocka_unit_test(test_gptq_rows),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
