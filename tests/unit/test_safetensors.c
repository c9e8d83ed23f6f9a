/* test_safetensors.c: reading and writing safetensors, right files and every kind of wrong one (tests/bad, made by make_bad.py). */
#include "base/file.h"
#include "format/safetensors.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/wick-test-XXXXXX";

static int setup(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(folder);
}

static bool says(const char *text) { return strstr(wick_last_error(), text) != NULL; }

static char *temp_path(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void test_read(void **state) {
    (void)state;
    wk_safetensors *s;
    assert_int_equal(wk_safetensors_open("data/models/llama-chat/model-00001-of-00004.safetensors", &s), WICK_OK);
    assert_true(wk_safetensors_n_tensor(s) > 0);
    assert_null(wk_safetensors_tensor(s, wk_safetensors_n_tensor(s)));
    const wk_tensor *t = wk_safetensors_find(s, "model.embed_tokens.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, WK_BF16);
    assert_int_equal(t->n_dim, 2);
    assert_int_equal(t->shape[1], 128);
    assert_int_equal(t->n_bytes, (uint64_t)(t->shape[0] * t->shape[1] * 2));
    assert_null(wk_safetensors_find(s, "model.embed_tokens"));
    for (size_t i = 1; i < wk_safetensors_n_tensor(s); i++)  /* in the order of their bytes */
        assert_ptr_equal(wk_safetensors_tensor(s, i)->data,
                         wk_safetensors_tensor(s, i - 1)->data + wk_safetensors_tensor(s, i - 1)->n_bytes);
    wk_safetensors_free(s);
    wk_safetensors_free(NULL);
    assert_int_equal(wk_safetensors_open("data/none.safetensors", &s), WICK_E_IO);
    assert_null(s);
}

/* Scalars, empty tensors, several types, odd names: written, read, the same. */
static void test_write_and_read(void **state) {
    (void)state;
    static const uint8_t data[64] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
    wk_tensor t[] = {
        { WK_STR("bytes"), WK_U8, 1, { 3, 1, 1, 1 }, data, 3, NULL },
        { WK_STR("scalar"), WK_I64, 0, { 1, 1, 1, 1 }, data, 8, NULL },
        { WK_STR("four"), WK_F32, 4, { 1, 2, 1, 4 }, data + 8, 32, NULL },
        { WK_STR("nothing"), WK_F16, 2, { 0, 4, 1, 1 }, data, 0, NULL },
        { WK_STR("quote \" slash \\ tab \t \xC3\xA9"), WK_BF16, 1, { 2, 1, 1, 1 }, data, 4, NULL },
    };
    size_t n = sizeof t / sizeof *t;
    wk_safetensors *s;
    char *path = temp_path("a.safetensors");
    assert_int_equal(wk_safetensors_write(path, t, n), WICK_OK);
    assert_int_equal(wk_safetensors_open(path, &s), WICK_OK);
    assert_int_equal(wk_safetensors_n_tensor(s), n);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t[i].name.len, t[i].name.ptr);
        const wk_tensor *r = wk_safetensors_find(s, name);
        assert_non_null(r);
        assert_int_equal(r->dtype, t[i].dtype);
        assert_int_equal(r->n_dim, t[i].n_dim);
        assert_memory_equal(r->shape, t[i].shape, sizeof r->shape);
        assert_int_equal(r->n_bytes, t[i].n_bytes);
        assert_memory_equal(r->data, t[i].data, r->n_bytes);
        assert_int_equal((uintptr_t)r->data % (uintptr_t)wk_dtypes[r->dtype].bytes, 0);  /* widest first */
    }
    wk_safetensors_free(s);
    assert_int_equal(wk_safetensors_write(path, NULL, 0), WICK_OK);  /* over the old one */
    assert_int_equal(wk_safetensors_open(path, &s), WICK_OK);
    assert_int_equal(wk_safetensors_n_tensor(s), 0);
    wk_safetensors_free(s);
    unlink(path);
}

static void test_write_refuses(void **state) {
    (void)state;
    static const uint8_t data[64];
    char *path = temp_path("b.safetensors");
    wk_tensor good = { .name = WK_STR("a"), .dtype = WK_F32, .n_dim = 1, .shape = { 4, 1, 1, 1 }, .data = data, .n_bytes = 16 };
    wk_tensor t[2] = { good, good };
    assert_int_equal(wk_safetensors_write(path, t, 2), WICK_E_ARG);
    assert_true(says("tensor \"a\" is there twice"));
    t[0].dtype = WK_Q4_0;
    assert_int_equal(wk_safetensors_write(path, t, 1), WICK_E_ARG);
    assert_true(says("type Q4_0, which safetensors does not know"));
    t[0] = good;
    t[0].n_bytes = 12;
    assert_int_equal(wk_safetensors_write(path, t, 1), WICK_E_ARG);
    t[0] = good;
    t[0].name = (wk_str)WK_STR("__metadata__");
    assert_int_equal(wk_safetensors_write(path, t, 1), WICK_E_ARG);
    assert_false(wk_file_exists(path));
    assert_int_equal(wk_safetensors_write("/nowhere/at/all.safetensors", &good, 1), WICK_E_IO);
    assert_true(says("/nowhere/at/all.safetensors"));
    mkdir(path, 0700);  /* cannot be replaced by a file: the temporary one goes again */
    assert_int_equal(wk_safetensors_write(path, &good, 1), WICK_E_IO);
    assert_int_equal(rmdir(path), 0);
}

typedef struct bad { const char *file; wick_status st; const char *says; } bad;

static const bad bad_files[] = {
    { "data-cut", WICK_E_FORMAT, "tensor \"a\": data_offsets are [0, 16], the file has 9 bytes of data" },
    { "dtype-missing", WICK_E_FORMAT, "tensor \"a\": dtype is nothing, a string is needed" },
    { "dtype-number", WICK_E_FORMAT, "tensor \"a\": dtype is a whole number, a string is needed" },
    { "dtype-unknown", WICK_E_UNSUPPORTED, "tensor \"a\" has dtype \"C64\", which wick does not read" },
    { "empty", WICK_E_FORMAT, "has 0 bytes, a safetensors file has at least 8" },
    { "four-bytes", WICK_E_FORMAT, "has 4 bytes, a safetensors file has at least 8" },
    { "gap-between", WICK_E_FORMAT, "tensor \"b\" begins at byte 8 of the data, leaving a gap: after byte 4" },
    { "gap-first", WICK_E_FORMAT, "tensor \"a\" begins at byte 4 of the data, leaving a gap: after byte 0" },
    { "gap-last", WICK_E_FORMAT, "the tensors end at byte 12 of the data, which has 16 bytes" },
    { "header-array", WICK_E_FORMAT, "its header is an array, an object is needed" },
    { "header-deep", WICK_E_FORMAT, "not JSON: maximum parsing depth" },
    { "header-deep-metadata", WICK_E_FORMAT, "not JSON: maximum parsing depth" },
    { "header-empty", WICK_E_FORMAT, "header, byte 0: not JSON" },
    { "header-length-beyond", WICK_E_FORMAT, "says its header has 1000 bytes, 2 are left" },
    { "header-length-huge", WICK_E_FORMAT, "says its header has 9223372036854775807 bytes, at most 100000000 are allowed" },
    { "header-length-limit", WICK_E_FORMAT, "says its header has 100000001 bytes, at most 100000000 are allowed" },
    { "header-not-json", WICK_E_FORMAT, "header, byte 5: not JSON" },
    { "header-nul-padding", WICK_E_FORMAT, "not JSON: end of file expected" },
    { "header-trailing", WICK_E_FORMAT, "not JSON: end of file expected" },
    { "invalid-utf8-name", WICK_E_FORMAT, "unable to decode byte 0xff" },
    { "invalid-utf8-surrogate", WICK_E_FORMAT, "unable to decode byte 0xed" },
    { "metadata-not-object", WICK_E_FORMAT, "__metadata__ is a string, an object is needed" },
    { "metadata-number", WICK_E_FORMAT, "__metadata__ \"format\" is a whole number, a string is needed" },
    { "name-twice", WICK_E_FORMAT, "header, byte 58: a name is there twice: duplicate object key near '\"a\"'" },
    { "name-with-nul", WICK_E_FORMAT, "NUL byte in object key" },
    { "no-tensors-but-data", WICK_E_FORMAT, "the tensors end at byte 0 of the data, which has 16 bytes" },
    { "offsets-backwards", WICK_E_FORMAT, "data_offsets are [16, 0]" },
    { "offsets-beyond", WICK_E_FORMAT, "data_offsets are [0, 32], the file has 16 bytes of data" },
    { "offsets-huge", WICK_E_FORMAT, "data_offsets are [9223372036854775791, 9223372036854775807]" },
    { "offsets-missing", WICK_E_FORMAT, "data_offsets is nothing, an array of two numbers is needed" },
    { "offsets-negative", WICK_E_FORMAT, "data_offsets[0] is -16, below 0" },
    { "offsets-string", WICK_E_FORMAT, "data_offsets[0] is a string, a whole number is needed" },
    { "offsets-three", WICK_E_FORMAT, "data_offsets is an array of another length" },
    { "overlap", WICK_E_FORMAT, "tensor \"b\" begins at byte 8 of the data, overlapping: before byte 12" },
    { "same-place", WICK_E_FORMAT, "begins at byte 0 of the data, overlapping: before byte 16" },
    { "shape-and-offsets-differ", WICK_E_FORMAT, "data_offsets hold 16 bytes, its shape and dtype need 12" },
    { "shape-five", WICK_E_UNSUPPORTED, "tensor \"a\" has 5 dimensions, wick reads up to 4" },
    { "shape-huge", WICK_E_FORMAT, "too big integer near '18446744073709551616'" },
    { "shape-missing", WICK_E_FORMAT, "shape is nothing, an array is needed" },
    { "shape-negative", WICK_E_FORMAT, "shape[0] is -4, below 0" },
    { "shape-real", WICK_E_FORMAT, "shape[0] is a real number, a whole number is needed" },
    { "shape-string", WICK_E_FORMAT, "shape is a string, an array is needed" },
    { "shape-wraps", WICK_E_FORMAT, "has more than 2^63 bytes at dimension 1, which is 4294967296" },
    { "shape-wraps-with-zero", WICK_E_FORMAT, "has more than 2^63 bytes at dimension 1" },
    { "tensor-not-object", WICK_E_FORMAT, "tensor \"a\" is an array, an object is needed" },
};

static void test_bad_files(void **state) {
    (void)state;
    size_t n = 0;
    DIR *d = opendir("bad/safetensors");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    assert_int_equal(n, sizeof bad_files / sizeof *bad_files);  /* none is forgotten here */
    for (size_t i = 0; i < n; i++) {
        char path[128];
        wk_safetensors *s;
        snprintf(path, sizeof path, "bad/safetensors/%s.safetensors", bad_files[i].file);
        wick_status st = wk_safetensors_open(path, &s);
        if (st != bad_files[i].st || s || !says(bad_files[i].says) || strncmp(wick_last_error(), path, strlen(path)))
            fail_msg("%s: %s \"%s\", expected %s \"%s\"", path, wick_status_name(st), wick_last_error(),
                     wick_status_name(bad_files[i].st), bad_files[i].says);
    }
}

static void test_every_cut_and_change(void **state) {
    (void)state;
    wk_buf b = { 0 };
    assert_int_equal(wk_file_read("fuzz/corpus/safetensors/mixed.safetensors", 1 << 20, &b), WICK_OK);
    for (size_t i = 0; i < b.len; i++) {
        uint8_t *copy = malloc(i ? i : 1);  /* exactly as long: the sanitizer sees a read past the end */
        wk_safetensors *s;
        memcpy(copy, b.ptr, i);
        assert_int_equal(wk_safetensors_open_memory(copy, i, "cut", &s), WICK_E_FORMAT);
        free(copy);
        for (int k = 0; k < 3; k++) {
            char old = b.ptr[i];
            b.ptr[i] = (char)(k == 0 ? old ^ (1 << i % 8) : k == 1 ? '9' : '[');
            wick_status st = wk_safetensors_open_memory((const uint8_t *)b.ptr, b.len, "changed", &s);
            if (st != WICK_OK && st != WICK_E_FORMAT && st != WICK_E_UNSUPPORTED) fail_msg("byte %zu: %s", i, wick_last_error());
            wk_safetensors_free(s);
            b.ptr[i] = old;
        }
    }
    wk_buf_free(&b);
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    static const uint8_t data[16];
    wk_tensor t = { .name = WK_STR("a"), .dtype = WK_F32, .n_dim = 1, .shape = { 4, 1, 1, 1 }, .data = data, .n_bytes = 16 };
    char *path = temp_path("c.safetensors");
    for (int what = 0; what < 2; what++)
        for (uint64_t k = 1;; k++) {
            wk_safetensors *s = NULL;
            uint64_t before = wk_alloc_count();
            wk_alloc_fail_at(k);
            wick_status st =
                what ? wk_safetensors_write(path, &t, 1) : wk_safetensors_open("data/models/llama/model.safetensors", &s);
            bool reached = wk_alloc_count() - before >= k;
            wk_alloc_fail_at(0);
            assert_int_equal(st, reached ? WICK_E_MEMORY : WICK_OK);
            wk_safetensors_free(s);
            if (!reached) break;
            assert_true(k < 1000 && !wk_file_exists(path));
        }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_write_refuses),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_every_cut_and_change),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
