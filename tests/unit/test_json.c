/* test_json.c: numbers as they are written: the shortest that reads back the same, whole ones without an exponent. */
#include "base/json.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_numbers(void **state) {
    (void)state;
    static const struct { double v; const char *text; } cases[] = {
        { 0, "0" }, { 10, "10" }, { 160, "160" }, { -30, "-30" }, { 1e6, "1000000" }, { 999999999999999.0, "999999999999999" },
        { 1e15, "1e+15" }, { 0.1, "0.1" }, { 1e-5, "1e-05" }, { 2.5, "2.5" }, { 1.0 / 3, "0.3333333333333333" },
        { NAN, "null" }, { INFINITY, "null" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_buf b = { 0 };
        wk_json_put_num(&b, cases[i].v);
        assert_string_equal(b.ptr, cases[i].text);
        wk_buf_free(&b);
    }
}

static void test_floats(void **state) {
    (void)state;
    static const struct { float v; const char *text; } cases[] = {
        { 10000, "10000" }, { 16777215, "16777215" }, { 1e9f, "1e+09" }, { 0.1f, "0.1" }, { 1e-5f, "1e-05" }, { NAN, "null" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_buf b = { 0 };
        wk_json_put_float(&b, cases[i].v);
        assert_string_equal(b.ptr, cases[i].text);
        wk_buf_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_numbers), cmocka_unit_test(test_floats) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
