/* test_gguf.c: reading GGUF files, right ones and every kind of wrong one (tests/bad, made by make_bad.py). */
#include "base/file.h"
#include "format/gguf.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static wk_gguf *open_good(const char *path) {
    wk_gguf *g;
    wick_status st = wk_gguf_open(path, &g);
    if (st) fail_msg("%s", wick_last_error());
    return g;
}

static bool says(const char *text) { return strstr(wick_last_error(), text) != NULL; }

/* ---- right files ---- */

static void test_tensors(void **state) {
    (void)state;
    wk_gguf *g = open_good("data/gguf/tiny.gguf");
    assert_string_equal(wk_gguf_path(g), "data/gguf/tiny.gguf");
    assert_int_equal(wk_gguf_n_tensor(g), 12);
    assert_null(wk_gguf_tensor(g, 12));
    const wk_tensor *t = wk_gguf_find(g, "blk.0.ffn_up.weight");
    assert_non_null(t);
    assert_true(wk_str_eq(t->name, "blk.0.ffn_up.weight"));
    assert_int_equal(t->dtype, WK_Q4_0);
    assert_int_equal(t->n_dim, 2);
    assert_int_equal(t->shape[0], 64);  /* [n_out, n_in], though the file says 32 x 64 */
    assert_int_equal(t->shape[1], 32);
    assert_int_equal(t->shape[2], 1);
    assert_int_equal(t->n_bytes, 64 * 18);
    assert_int_equal(wk_tensor_rows(t), 64);
    assert_int_equal(wk_tensor_cols(t), 32);
    const wk_tensor *up = t, *down = wk_gguf_find(g, "blk.0.ffn_down.weight");
    assert_true(down->data == up->data + up->n_bytes);  /* 64 * 18 is a multiple of 32 */
    assert_null(wk_gguf_find(g, "blk.0.ffn_up"));
    assert_null(wk_gguf_find(g, ""));
    wk_gguf_free(g);
    wk_gguf_free(NULL);
}

static void test_layouts(void **state) {
    (void)state;
    static const char *const same[] = { "version-2", "alignment-64" };
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        snprintf(path, sizeof path, "data/gguf/%s.gguf", same[i]);
        wk_gguf *g = open_good(path);
        const wk_tensor *a = wk_gguf_find(g, "a"), *b = wk_gguf_find(g, "b");
        assert_int_equal(a->data[1], 7);  /* make_bad.py fills tensor n with (31 n + 7 i) % 32 */
        assert_int_equal(b->data[1], 6);
        assert_true(b->data == a->data + 256);
        wk_gguf_free(g);
    }
    wk_gguf *g = open_good("data/gguf/unordered.gguf");
    assert_true(wk_gguf_tensor(g, 0)->data == wk_gguf_tensor(g, 1)->data + 128);
    wk_gguf_free(g);
    g = open_good("data/gguf/gap.gguf");
    assert_true(wk_gguf_tensor(g, 1)->data == wk_gguf_tensor(g, 0)->data + 192);
    wk_gguf_free(g);
    g = open_good("data/gguf/vocab.gguf");
    assert_int_equal(wk_gguf_n_tensor(g), 0);
    wk_gguf_free(g);
}

static void test_split(void **state) {
    (void)state;
    wk_gguf *g = open_good("data/gguf/split-00001-of-00003.gguf");
    assert_int_equal(wk_gguf_n_tensor(g), 6);
    static const char *const names[] = { "a", "a2", "b", "b2", "c", "c2" };
    for (size_t i = 0; i < 6; i++) {
        assert_true(wk_str_eq(wk_gguf_tensor(g, i)->name, names[i]));
        assert_ptr_equal(wk_gguf_find(g, names[i]), wk_gguf_tensor(g, i));
        assert_int_equal(wk_gguf_tensor(g, i)->data[1], i % 2 ? 6 : 7);
    }
    wk_gguf_free(g);
    wk_buf b = { 0 };
    assert_int_equal(wk_file_read("data/gguf/split-00001-of-00003.gguf", 1 << 20, &b), WICK_OK);
    assert_int_equal(wk_gguf_open_memory((const uint8_t *)b.ptr, b.len, "memory", &g), WICK_E_UNSUPPORTED);
    assert_null(g);
    wk_buf_free(&b);
}

static void check_int(const wk_gguf *g, const char *key, int64_t want) {
    int64_t v = 0;
    bool found = false;
    if (wk_gguf_int(g, key, INT64_MIN, INT64_MAX, &v, &found) || !found || v != want)
        fail_msg("%s: %lld; %s", key, (long long)v, wick_last_error());
}

static void test_scalars(void **state) {
    (void)state;
    wk_gguf *g = open_good("data/gguf/every-type.gguf");
    bool found, b = false;
    int64_t i = 77;
    double d;
    wk_str s;
    check_int(g, "t.u8", 200);
    check_int(g, "t.i8", -100);
    check_int(g, "t.u16", 60000);
    check_int(g, "t.i16", -30000);
    check_int(g, "t.u32", 4000000000);
    check_int(g, "t.i32", -2000000000);
    check_int(g, "t.i64", INT64_MIN);
    assert_int_equal(wk_gguf_int(g, "no.such", 0, 9, &i, &found), WICK_OK);
    assert_true(!found && i == 77 && !wk_gguf_has(g, "no.such") && wk_gguf_has(g, "t.u8"));
    assert_int_equal(wk_gguf_int(g, "t.u8", 0, 199, &i, NULL), WICK_E_FORMAT);
    assert_true(says("data/gguf/every-type.gguf: key \"t.u8\" is 200, it has to be in 0..199"));
    assert_int_equal(wk_gguf_int(g, "t.i8", 0, 199, &i, NULL), WICK_E_FORMAT);
    assert_int_equal(wk_gguf_int(g, "t.u64", 0, INT64_MAX, &i, NULL), WICK_E_FORMAT);
    assert_true(says("18446744073709551615"));
    assert_int_equal(wk_gguf_int(g, "t.f32", 0, 199, &i, NULL), WICK_E_FORMAT);
    assert_true(says("key \"t.f32\" is f32, a whole number is needed"));
    assert_int_equal(wk_gguf_int(g, "t.bool", 0, 199, &i, NULL), WICK_E_FORMAT);
    assert_int_equal(wk_gguf_int(g, "a.str", 0, 199, &i, NULL), WICK_E_FORMAT);
    assert_true(says("key \"a.str\" is an array of strings, a whole number is needed"));
    assert_int_equal(i, 77);

    assert_true(!wk_gguf_real(g, "t.f32", &d, &found) && found && d == 0.5);
    assert_true(!wk_gguf_real(g, "t.f64", &d, NULL) && d == 0.1);
    assert_true(!wk_gguf_real(g, "t.i16", &d, NULL) && d == -30000);
    assert_true(!wk_gguf_real(g, "t.u64", &d, NULL) && d == 0x1p64);
    assert_int_equal(wk_gguf_real(g, "t.str", &d, NULL), WICK_E_FORMAT);
    assert_int_equal(wk_gguf_real(g, "t.inf", &d, NULL), WICK_E_FORMAT);
    assert_true(says("key \"t.inf\" is inf, a finite number is needed"));
    assert_true(!wk_gguf_real(g, "no.such", &d, &found) && !found);

    assert_true(!wk_gguf_bool(g, "t.bool", &b, &found) && found && b);
    assert_int_equal(wk_gguf_bool(g, "t.u8", &b, NULL), WICK_E_FORMAT);
    assert_true(!wk_gguf_bool(g, "no.such", &b, &found) && !found);

    assert_true(!wk_gguf_str(g, "t.str", &s, &found) && found && s.len == 7 && !memcmp(s.ptr, "h\xC3\xA4l\0lo", 7));
    assert_true(!wk_gguf_str(g, "t.empty", &s, NULL) && s.len == 0);
    assert_int_equal(wk_gguf_str(g, "a.bool", &s, NULL), WICK_E_FORMAT);
    assert_true(says("an array of bools, a string is needed"));
    assert_true(!wk_gguf_str(g, "no.such", &s, &found) && !found);
    wk_gguf_free(g);
}

static void test_arrays(void **state) {
    (void)state;
    wk_gguf *g = open_good("data/gguf/every-type.gguf");
    wk_gguf_array a;
    bool found;
    assert_true(!wk_gguf_arr(g, "a.i32", &a, &found) && found && a.type == WK_GGUF_I32 && a.n == 3);
    assert_true(wk_gguf_arr_int(&a, 0) == -5 && wk_gguf_arr_int(&a, 2) == 7 && wk_gguf_arr_real(&a, 0) == -5);
    assert_true(!wk_gguf_arr(g, "a.u8", &a, NULL) && wk_gguf_arr_int(&a, 1) == 255);
    assert_true(!wk_gguf_arr(g, "a.i16", &a, NULL) && wk_gguf_arr_int(&a, 0) == -1);
    assert_true(!wk_gguf_arr(g, "a.f32", &a, NULL) && wk_gguf_arr_real(&a, 1) == -2 && wk_gguf_arr_int(&a, 1) == -2);
    assert_true(!wk_gguf_arr(g, "a.f64", &a, NULL) && wk_gguf_arr_real(&a, 0) == 1e300 && wk_gguf_arr_int(&a, 0) == INT64_MIN);
    assert_true(!wk_gguf_arr(g, "a.bool", &a, NULL) && wk_gguf_arr_int(&a, 1) == 1);
    assert_true(!wk_gguf_arr(g, "a.u64", &a, NULL) && wk_gguf_arr_int(&a, 1) == 1LL << 62);

    assert_true(!wk_gguf_arr(g, "a.str", &a, NULL) && a.n == 3);
    const uint8_t *cursor = a.data;
    assert_true(wk_str_eq(wk_gguf_arr_str(&a, &cursor), ""));
    assert_true(wk_str_eq(wk_gguf_arr_str(&a, &cursor), "b"));
    assert_true(wk_str_eq(wk_gguf_arr_str(&a, &cursor), "ccc"));
    assert_true(cursor == a.end);
    assert_true(wk_str_eq(wk_gguf_arr_str(&a, &cursor), "") && cursor == a.end);  /* past the last: still safe */
    assert_true(wk_gguf_arr_int(&a, 0) == 0 && wk_gguf_arr_real(&a, 0) == 0);
    assert_true(!wk_gguf_arr(g, "a.none", &a, NULL) && a.n == 0 && a.data == a.end);
    assert_int_equal(wk_gguf_arr(g, "t.u8", &a, NULL), WICK_E_FORMAT);
    assert_true(says("key \"t.u8\" is u8, an array is needed"));
    assert_true(!wk_gguf_arr(g, "no.such", &a, &found) && !found);

    wk_gguf_type type, element;
    uint64_t n;
    size_t strings = 0;
    for (size_t i = 0; i < wk_gguf_n_key(g); i++) {
        wk_str name = wk_gguf_key(g, i, &type, &element, &n);
        if (wk_str_eq(name, "a.str")) assert_true(type == WK_GGUF_ARR && element == WK_GGUF_STR && n == 3);
        if (wk_str_eq(name, "t.f64")) assert_true(type == WK_GGUF_F64 && n == 1);
        strings += element == WK_GGUF_STR;
    }
    assert_int_equal(strings, 4);
    wk_gguf_free(g);
}

/* ---- wrong files ---- */

typedef struct bad { const char *file; wick_status st; const char *says; } bad;

static const bad bad_files[] = {
    { "alignment-0", WICK_E_FORMAT, "\"general.alignment\" is 0, it has to be in 1..1073741824" },
    { "alignment-2147483648", WICK_E_FORMAT, "\"general.alignment\" is 2147483648, it has to be in" },
    { "alignment-24", WICK_E_FORMAT, "\"general.alignment\" is 24, it has to be a power of two" },
    { "alignment-negative", WICK_E_FORMAT, "\"general.alignment\" is -32, it has to be in" },
    { "alignment-string", WICK_E_FORMAT, "\"general.alignment\" is a string, a whole number is needed" },
    { "array-length-beyond", WICK_E_FORMAT, "key \"k\" says it has 17 elements of 4 bytes or more, 64 bytes are left" },
    { "array-length-cut", WICK_E_FORMAT, "an array's length at byte 41 ends past the end of the file, which has 44 bytes" },
    { "array-length-huge", WICK_E_FORMAT, "key \"k\" says it has 9223372036854775809 elements" },
    { "array-length-wraps", WICK_E_FORMAT, "key \"k\" says it has 4611686018427387905 elements" },
    { "array-of-arrays", WICK_E_UNSUPPORTED, "key \"k\" is an array of arrays" },
    { "array-string-cut", WICK_E_FORMAT, "key \"k\": string 1 of 2 at byte 67 ends past the end" },
    { "array-string-length-huge", WICK_E_FORMAT, "key \"k\": string 1 of 2 at byte 58 ends past the end" },
    { "array-strings-beyond", WICK_E_FORMAT, "key \"k\" says it has 9 elements of 8 bytes or more, 64 bytes are left" },
    { "big-endian", WICK_E_UNSUPPORTED, "is a big-endian GGUF file" },
    { "bool-7", WICK_E_FORMAT, "key \"k\": a bool at byte 37 is 7" },
    { "bool-array-2", WICK_E_FORMAT, "key \"k\": a bool at byte 51 is 2" },
    { "cut-header", WICK_E_FORMAT, "the header at byte 16 ends past the end of the file, which has 20 bytes" },
    { "data-cut", WICK_E_FORMAT,
      "tensor \"b\" at byte 256 of the data ends 4 bytes past the end of the file; it looks cut off: download it again" },
    { "data-missing", WICK_E_FORMAT, "tensor \"a\" at byte 0 of the data ends 256 bytes past the end" },
    { "dimension-0", WICK_E_FORMAT, "tensor \"a\": dimension 1 is 0, it has to be in" },
    { "dimension-huge", WICK_E_FORMAT, "tensor \"a\": dimension 1 is 9223372036854775808, it has to be in" },
    { "dimensions-5", WICK_E_FORMAT, "tensor \"a\" has 5 dimensions, at most 4" },
    { "dimensions-huge", WICK_E_FORMAT, "tensor \"a\" has 4294967295 dimensions, at most 4" },
    { "dimensions-many", WICK_E_FORMAT, "tensor \"a\": shape 1048576 x 1099511627776 x 1 x 1 is too large" },
    { "dimensions-wrap", WICK_E_FORMAT, "is too large" },
    { "dimensions-wrap-bytes", WICK_E_FORMAT, "is too large" },
    { "dimensions-wrap-to-small", WICK_E_FORMAT, "is too large" },
    { "element-type-99", WICK_E_FORMAT, "key \"k\" has element type 99" },
    { "empty", WICK_E_FORMAT, "does not begin with \"GGUF\"" },
    { "key-control-characters", WICK_E_FORMAT, "key \"k?[31m???\" has value type 13" },
    { "key-count-beyond", WICK_E_FORMAT, "says it has 6 keys; 45 bytes are left" },
    { "key-count-huge", WICK_E_FORMAT, "says it has 9223372036854775807 keys" },
    { "key-count-one-more", WICK_E_FORMAT, "a key's name at byte 69 ends past the end" },
    { "key-cut-before-type", WICK_E_FORMAT, "a value's type at byte 52 ends past the end" },
    { "key-length-beyond", WICK_E_FORMAT, "a key's name at byte 24 says it has 1000 bytes, 25 are left" },
    { "key-length-huge", WICK_E_FORMAT,
      "a key's name at byte 24 says it has 9223372036854775808 bytes, at most 65535 are allowed" },
    { "key-length-limit", WICK_E_FORMAT, "a key's name at byte 24 says it has 65536 bytes, at most 65535 are allowed" },
    { "key-twice", WICK_E_FORMAT, "key \"general.architecture\" is there twice" },
    { "key-type-13", WICK_E_FORMAT, "key \"k\" has value type 13, GGUF's go from 0 to 12" },
    { "key-type-huge", WICK_E_FORMAT, "key \"k\" has value type 4294967295" },
    { "key-value-cut", WICK_E_FORMAT, "key \"k\": its value, u64 at byte 37, ends past the end of the file, which has 39 bytes" },
    { "offset-beyond", WICK_E_FORMAT, "tensor \"b\" at byte 1048576 of the data ends 1048448 bytes past the end" },
    { "offset-huge", WICK_E_FORMAT, "tensor \"b\" at byte 18446744073709551584 of the data ends" },
    { "offset-unaligned", WICK_E_FORMAT, "tensor \"b\" begins at byte 132 of the data, which is no multiple of the alignment 32" },
    { "only-magic", WICK_E_FORMAT, "the version at byte 4 ends past the end" },
    { "other-magic", WICK_E_FORMAT, "does not begin with \"GGUF\"" },
    { "padding-missing", WICK_E_FORMAT, "the tensor list at byte 183 ends past the end of the file" },
    { "row-not-whole-blocks", WICK_E_FORMAT, "tensor \"a\" has rows of 33 elements, Q4_0 needs a multiple of 32" },
    { "string-length-beyond", WICK_E_FORMAT, "key \"k\": string 0 of 1 at byte 37 ends past the end" },
    { "string-length-huge", WICK_E_FORMAT, "key \"k\": string 0 of 1 at byte 37 ends past the end" },
    { "tensor-count-beyond", WICK_E_FORMAT, "says it has 1 tensors; 0 bytes are left" },
    { "tensor-count-huge", WICK_E_FORMAT, "says it has 9223372036854775808 tensors" },
    { "tensor-cut-in-dimensions", WICK_E_FORMAT, "a tensor's dimension at byte 90 ends past the end" },
    { "tensor-name-beyond", WICK_E_FORMAT, "a tensor's name at byte 69 says it has 41 bytes, 40 are left" },
    { "tensor-name-huge", WICK_E_FORMAT, "a tensor's name at byte 69 says it has 4611686018427387904 bytes" },
    { "tensor-twice", WICK_E_FORMAT, "tensor \"a\" is there twice" },
    { "tensor-type-31", WICK_E_UNSUPPORTED, "tensor \"a\" has type 31, which wick does not know" },
    { "tensor-type-huge", WICK_E_UNSUPPORTED, "tensor \"a\" has type 4294967295" },
    { "tensors-overlap", WICK_E_FORMAT, "tensor \"b\" begins at byte 32 of the data, inside tensor \"a\", which ends at byte 256" },
    { "tensors-overlap-unordered", WICK_E_FORMAT,
      "tensor \"a\" begins at byte 128 of the data, inside tensor \"b\", which ends at byte 288" },
    { "tensors-same-place", WICK_E_FORMAT, "tensor \"b\" begins at byte 0 of the data, inside tensor \"a\"" },
    { "version-1", WICK_E_UNSUPPORTED, "is GGUF version 1, wick reads 2 and 3" },
    { "version-9", WICK_E_FORMAT, "says it is GGUF version 9" },
};

static const bad bad_splits[] = {
    { "count-huge-00001-of-60000", WICK_E_FORMAT, "\"split.count\" is 60000, it has to be in 0..1024" },
    { "count-negative-00001-of-00002", WICK_E_FORMAT, "\"split.count\" is -2, it has to be in 0..1024" },
    { "count-string-00001-of-00002", WICK_E_FORMAT, "\"split.count\" is a string, a whole number is needed" },
    { "no-split-keys-00001-of-00002", WICK_E_FORMAT, "no-split-keys-00002-of-00002.gguf: tensor \"b\" at byte 0" },
    { "no-split-keys-00002-of-00002", WICK_E_FORMAT, "ends 4 bytes past" },
    { "other-architecture-00001-of-00002", WICK_E_FORMAT,
      "other-architecture-00002-of-00002.gguf: is a part of another model than "
      "bad/split/other-architecture-00001-of-00002.gguf: key \"general.architecture\" differs" },
    { "other-architecture-00002-of-00002", WICK_E_FORMAT, "open the first" },
    { "other-model-00001-of-00002", WICK_E_FORMAT,
      "other-model-00002-of-00002.gguf: is a part of another model than bad/split/other-model-00001-of-00002.gguf" },
    { "other-model-00002-of-00002", WICK_E_FORMAT, "open the first" },
    { "missing-00001-of-00002", WICK_E_IO, "bad/split/missing-00002-of-00002.gguf: No such file" },
    { "other-count-00001-of-00002", WICK_E_FORMAT,
      "is part 1 of 3 of a split file, so its name has to end in \"-00001-of-00003.gguf\"" },
    { "part-cut-00001-of-00002", WICK_E_FORMAT,
      "bad/split/part-cut-00002-of-00002.gguf: tensor \"b\" at byte 0 of the data ends 100 bytes past" },
    { "part-cut-00002-of-00002", WICK_E_FORMAT, "ends 100 bytes past" },
    { "part-number-00001-of-00002", WICK_E_FORMAT,
      "part-number-00002-of-00002.gguf: says it is part 1 of 2, its name says 2 of 2" },
    { "part-number-00002-of-00002", WICK_E_FORMAT, "so its name has to end in \"-00001-of-00002.gguf\"" },
    { "second-00002-of-00002", WICK_E_FORMAT, "is part 2 of 2: open the first, \"bad/split/second-00001-of-00002.gguf\"" },
    { "total-00001-of-00002", WICK_E_FORMAT, "its parts have 2 tensors, key \"split.tensors.count\" says 5" },
    { "total-00002-of-00002", WICK_E_FORMAT, "open the first" },
    { "twice-00001-of-00002", WICK_E_FORMAT, "tensor \"a\" is there twice" },
    { "twice-00002-of-00002", WICK_E_FORMAT, "open the first" },
    { "unnamed", WICK_E_FORMAT, "so its name has to end in \"-00001-of-00002.gguf\"" },
};

static size_t n_files(const char *folder) {
    DIR *d = opendir(folder);
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void check_bad(const char *folder, const bad *b, size_t n) {
    assert_int_equal(n_files(folder), n);  /* none is forgotten here */
    for (size_t i = 0; i < n; i++) {
        char path[128];
        wk_gguf *g;
        snprintf(path, sizeof path, "%s/%s.gguf", folder, b[i].file);
        wick_status st = wk_gguf_open(path, &g);
        if (st != b[i].st || g || !says(b[i].says) || strncmp(wick_last_error(), folder, strlen(folder)))
            fail_msg("%s: %s \"%s\", expected %s \"%s\"", path, wick_status_name(st), wick_last_error(), wick_status_name(b[i].st),
                     b[i].says);
    }
}

static void test_bad_files(void **state) {
    (void)state;
    check_bad("bad/gguf", bad_files, sizeof bad_files / sizeof *bad_files);
}

static void test_bad_splits(void **state) {
    (void)state;
    check_bad("bad/split", bad_splits, sizeof bad_splits / sizeof *bad_splits);
}

/* Cut at every byte: never opened, and never read past the end (the copy is exactly as long, for the sanitizer to see). */
static void test_every_cut(void **state) {
    (void)state;
    wk_buf b = { 0 };
    assert_int_equal(wk_file_read("data/gguf/tiny.gguf", 1 << 20, &b), WICK_OK);
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        wk_gguf *g;
        memcpy(copy, b.ptr, n);
        wick_status st = wk_gguf_open_memory(copy, n, "cut", &g);
        if (st != WICK_E_FORMAT && n < b.len - 32) fail_msg("cut at %zu: %s", n, wick_status_name(st));  /* the last bytes pad */
        wk_gguf_free(g);
        free(copy);
    }
    wk_buf_free(&b);
}

/* Each byte of the header changed in turn: a clean answer, whatever it is. */
static void test_every_byte_changed(void **state) {
    (void)state;
    wk_buf b = { 0 };
    assert_int_equal(wk_file_read("data/gguf/tiny-spm.gguf", 1 << 20, &b), WICK_OK);
    for (size_t i = 0; i < b.len; i++)
        for (int k = 0; k < 3; k++) {
            char old = b.ptr[i];
            wk_gguf *g;
            b.ptr[i] = (char)(k == 0 ? old ^ (1 << i % 8) : k == 1 ? 0xFF : 0);
            wick_status st = wk_gguf_open_memory((const uint8_t *)b.ptr, b.len, "changed", &g);
            if (st != WICK_OK && st != WICK_E_FORMAT && st != WICK_E_UNSUPPORTED) fail_msg("byte %zu: %s", i, wick_last_error());
            wk_gguf_free(g);
            b.ptr[i] = old;
        }
    wk_buf_free(&b);
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    static const char *const paths[] = { "data/gguf/tiny.gguf", "data/gguf/unordered.gguf", "data/gguf/split-00001-of-00003.gguf" };
    for (size_t i = 0; i < 3; i++)
        for (uint64_t k = 1;; k++) {
            wk_gguf *g;
            uint64_t before = wk_alloc_count();
            wk_alloc_fail_at(k);
            wick_status st = wk_gguf_open(paths[i], &g);
            bool reached = wk_alloc_count() - before >= k;
            wk_alloc_fail_at(0);
            assert_int_equal(st, reached ? WICK_E_MEMORY : WICK_OK);
            assert_true((g == NULL) == reached);
            wk_gguf_free(g);
            if (!reached) break;
            assert_true(k < 100);
        }
}

/* Files that llama.cpp made: SmolLM2 and a vocabulary. */
static void test_real_files(void **state) {
    (void)state;
    const char *cache = getenv("WICK_TEST_CACHE");
    char path[512];
    wk_gguf *g;
    wk_gguf_array a;
    snprintf(path, sizeof path, "%s/SmolLM2-135M-Instruct.Q4_1.gguf", cache ? cache : "");
    if (!cache || !wk_file_exists(path)) {
        printf("needs %s\n", cache ? path : "WICK_TEST_CACHE");
        skip();
    }
    g = open_good(path);
    uint64_t allocations = wk_alloc_count();
    assert_int_equal(wk_gguf_n_tensor(g), 272);
    assert_true(!wk_gguf_arr(g, "tokenizer.ggml.tokens", &a, NULL) && a.n == 49152);
    const uint8_t *cursor = a.data;
    for (uint64_t i = 0; i < a.n; i++) assert_true(wk_gguf_arr_str(&a, &cursor).len > 0);
    assert_true(cursor == a.end);
    assert_int_equal(wk_alloc_count(), allocations);  /* nothing is copied */
    wk_gguf_free(g);
    wk_alloc_fail_at(0);
    allocations = wk_alloc_count();
    g = open_good(path);
    assert_true(wk_alloc_count() - allocations < 16);
    wk_gguf_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors),    cmocka_unit_test(test_layouts),            cmocka_unit_test(test_split),
        cmocka_unit_test(test_scalars),    cmocka_unit_test(test_arrays),             cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_splits), cmocka_unit_test(test_every_cut),          cmocka_unit_test(test_every_byte_changed),
        cmocka_unit_test(test_real_files), cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
