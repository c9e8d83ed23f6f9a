/* test_bad_templates.c: chat templates that ask for too much, look where they may not, or break off (tests/bad/template, from
 * make_bad.py). Each is refused with one message that has the line and, where there is one, the limit. The limits here are small,
 * so that a slow machine under a sanitizer is quick about it; WICK_TEST_EVERY in the environment takes the real ones too. */
#include "base/file.h"
#include "text/template.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define STEPS "more than 100000 steps; the template loops too much for this input"
#define TEXT "more than 1048576 bytes of text"
#define MEMORY "more than 16777216 bytes of memory are needed; the template repeats or nests too much"
#define DEPTH "more than 800 expressions, blocks or values inside each other"
#define CALLS "more than 100 calls inside each other"
#define BLOCKS "more than 200 expressions or blocks inside each other"
#define BRACKETS "more than 256 brackets inside each other"
#define INTEGER "an integer above 2^63-1 (or below -2^63)"
static const wk_template_limits small = { .max_steps = 100000, .max_depth = 100, .max_output = 1 << 20 };
static const char request[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}";

static const struct { const char *name; int line; const char *says; } cases[] = {
    { "batch", 1, STEPS },
    { "center", 1, TEXT },
    { "class-filter", 1, "this str has no '__class__'" },
    { "class-format-map", 1, "this function has no '__init__'" },
    { "class-format", 1, "this list has no '__class__'" },
    { "class-item", 1, "this str has no '__class__'" },
    { "class-map", 1, "this dict has no '__class__'" },
    { "class", 1, "this str has no '__class__'" },
    { "deep-attributes", 1, DEPTH },
    { "deep-blocks", 1, BLOCKS },
    { "deep-conditions", 1, BLOCKS },
    { "deep-dicts", 1, BRACKETS },
    { "deep-equal", 1, DEPTH },
    { "deep-filters", 1, DEPTH },
    { "deep-lists", 1, BRACKETS },
    { "deep-minus", 1, BLOCKS },
    { "deep-not", 1, BLOCKS },
    { "deep-parentheses", 1, BRACKETS },
    { "deep-power", 1, DEPTH },
    { "deep-sum", 1, DEPTH },
    { "deep-tojson", 1, DEPTH },
    { "deep-values", 1, DEPTH },
    { "dict-many", 1, STEPS },
    { "double-list", 1, MEMORY },
    { "double", 1, TEXT },
    { "else-alone", 1, "unknown tag 'else', or one that closes nothing" },
    { "end-alone", 1, "unknown tag 'endfor', or one that closes nothing" },
    { "end-of-other", 1, "unknown tag 'endfor', or one that closes nothing" },
    { "expandtabs", 1, TEXT },
    { "extends", 1, "{% extends %} is not supported: a chat template has no other templates beside it" },
    { "format-filter", 1, "a width of 999999999 characters" },
    { "format-precision", 1, "a precision above 1000" },
    { "format-width-huge", 1, "a width or precision above 2147483647" },
    { "format-width", 1, "a width of 999999999 characters" },
    { "globals", 1, "this function has no '__init__'" },
    { "import", 1, "{% import %} is not supported: a chat template has no other templates beside it" },
    { "include", 1, "{% include %} is not supported: a chat template has no other templates beside it" },
    { "indent", 1, TEXT },
    { "integer-abs", 1, INTEGER },
    { "integer-divided", 1, INTEGER },
    { "integer-literal", 1, "an integer above 2^63-1 is not supported" },
    { "integer-negated", 1, INTEGER },
    { "integer-of-infinity", 1, "infinity is not an integer" },
    { "integer-power", 1, INTEGER },
    { "integer-product", 1, INTEGER },
    { "integer-sum", 1, INTEGER },
    { "join", 1, TEXT },
    { "lipsum", 1, "'lipsum' is undefined" },
    { "ljust", 1, TEXT },
    { "loop-over-text", 1, MEMORY },
    { "loop-recursive", 1, CALLS },
    { "loops-empty", 1, MEMORY },
    { "loops-nested", 1, STEPS },
    { "macro-caller", 1, CALLS },
    { "macro-itself", 1, CALLS },
    { "macro-twice", 1, CALLS },
    { "macros-each-other", 1, CALLS },
    { "multiply-list", 1, STEPS },
    { "multiply-max", 1, TEXT },
    { "multiply-text", 1, TEXT },
    { "mutation", 1, "'append' of a list is refused: a template cannot change values, only namespaces" },
    { "namespace-cycle-list", 1, "tojson: a value of type Namespace cannot be written as JSON" },
    { "namespace-cycle", 1, "tojson: a value of type Namespace cannot be written as JSON" },
    { "output-many", 1, TEXT },
    { "percent-precision", 1, "a precision above 1000" },
    { "percent-star", 1, "a width of 1000000000 characters" },
    { "percent-width", 1, "a width of 999999999 characters" },
    { "percent-zeros", 1, "a precision above 1000" },
    { "power-float", 1, "the power is too large" },
    { "private", 1, "this dict has no '_private'" },
    { "quadratic-find", 1, STEPS },
    { "range-huge", 1, "range() of 1000000000 items; 100000 are allowed" },
    { "range-list", 1, "range() of 999999999 items; 100000 are allowed" },
    { "range-step-0", 1, "range's step must not be 0" },
    { "replace-empty", 1, TEXT },
    { "replace", 1, TEXT },
    { "slice", 1, STEPS },
    { "time-format", 1, TEXT },
    { "tojson-indent", 1, TEXT },
    { "unclosed-bracket", 1, "unexpected ']'" },
    { "unclosed-comment", 2, "{# has no #}" },
    { "unclosed-for", 1, "the template ends where {% endfor %} should be" },
    { "unclosed-if", 2, "the template ends where {% endif %} should be" },
    { "unclosed-macro", 1, "the template ends where {% endmacro %} should be" },
    { "unclosed-output", 3, "expected '}}', found the end of the template" },
    { "unclosed-raw", 1, "{% raw %} has no {% endraw %}" },
    { "unclosed-tag", 1, "expected '%}', found the end of the template" },
    { "unclosed-text", 1, "this string has no end" },
    { "unique", 1, STEPS },
    { "zfill", 1, TEXT },
};
/* These look bad and are not: jinja2 renders them too. */
static const char *const fine[] = { "deep-elif" };

static json_t *parse(const char *text, size_t n) {
    json_t *j;
    if (wk_json_parse(text, n, "test", &j)) fail_msg("%s", wick_last_error());
    return j;
}

static wick_status render(const char *src, size_t n, json_t *vars, const wk_template_limits *limits) {
    wk_template *t;
    wk_rendered r = { 0 };
    wick_status st = wk_template_parse(src, n, &t);
    if (!st) st = wk_template_render(t, vars, NULL, limits, &r);
    wk_rendered_free(&r);
    wk_template_free(t);
    return st;
}

static wick_status render_file(const char *name, json_t *vars, const wk_template_limits *limits) {
    char path[200];
    wk_buf src = { 0 };
    snprintf(path, sizeof path, "bad/template/%s.jinja", name);
    if (wk_file_read(path, 1 << 20, &src)) fail_msg("%s", wick_last_error());
    wick_status st = render(src.ptr, src.len, vars, limits);
    wk_buf_free(&src);
    return st;
}

static void refused(void **state) {
    (void)state;
    json_t *vars = parse(request, sizeof request - 1);
    uint64_t live = wk_alloc_live();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[300];
        snprintf(want, sizeof want, "chat template: line %d: %s", cases[i].line, cases[i].says);
        wick_status st = render_file(cases[i].name, vars, &small);
        if (st != WICK_E_TEMPLATE || strcmp(wick_last_error(), want))
            fail_msg("%s: %s \"%s\"\nexpected \"%s\"", cases[i].name, wick_status_name(st), wick_last_error(), want);
        if (getenv("WICK_TEST_EVERY") && !render_file(cases[i].name, vars, NULL)) fail_msg("%s renders", cases[i].name);
        assert_int_equal(wk_alloc_live(), live);
    }
    json_decref(vars);
}

static void rendered(void **state) {
    (void)state;
    json_t *vars = parse(request, sizeof request - 1);
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (render_file(fine[i], vars, &small)) fail_msg("%s: %s", fine[i], wick_last_error());
    json_decref(vars);
}

/* No file is forgotten. */
static void all_listed(void **state) {
    (void)state;
    size_t n = 0;
    DIR *d = opendir("bad/template");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += strstr(e->d_name, ".jinja") != NULL;
    closedir(d);
    assert_int_equal(n, sizeof cases / sizeof *cases + sizeof fine / sizeof *fine);
}

/* open n times, middle, close n times; free with wk_buf_free(). */
static wk_buf nested(const char *open, const char *middle, const char *close, int n) {
    wk_buf b = { 0 };
    for (int i = 0; i < n; i++) wk_buf_str(&b, open);
    wk_buf_str(&b, middle);
    for (int i = 0; i < n; i++) wk_buf_str(&b, close);
    assert_false(b.failed);
    return b;
}

static void long_sources(void **state) {
    (void)state;
    json_t *vars = parse("{}", 2);
    wk_buf text = { 0 }, body = nested("0123456789", "", "", 60000);
    wk_buf_printf(&text, "{{ '%s' }}", body.ptr);
    assert_int_equal(render(text.ptr, text.len, vars, &small), WICK_OK);  /* a literal of 600 kB is one */
    text.len = 0;
    wk_buf_printf(&text, "{{ '%s' }}{{ '%s' }}", body.ptr, body.ptr);
    assert_int_equal(render(text.ptr, text.len, vars, &small), WICK_E_TEMPLATE);
    assert_string_equal(wick_last_error(), "chat template: it has 1200016 bytes; at most 1048576 are read");
    text.len = 0;
    wk_buf_printf(&text, "{{ %s }}", body.ptr);
    assert_int_equal(render(text.ptr, text.len, vars, &small), WICK_E_TEMPLATE);
    assert_string_equal(wick_last_error(), "chat template: line 1: an integer above 2^63-1 is not supported");
    wk_buf_free(&text);
    wk_buf_free(&body);
    json_decref(vars);
}

/* A request that nests, which the template prints, compares and writes as JSON. */
static void deep_requests(void **state) {
    (void)state;
    static const char *const templates[] = { "{{ x }}", "{{ x | tojson }}", "{{ x == y }}", "{{ x | string | length }}" };
    wk_buf text = { 0 }, lists = nested("[", "", "]", 2000), dicts = nested("{\"a\":", "1", "}", 2000);
    wk_buf_printf(&text, "{\"x\":%s,\"y\":%s,\"z\":%s}", lists.ptr, lists.ptr, dicts.ptr);
    json_t *vars = parse(text.ptr, text.len);
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        assert_int_equal(render(templates[i], strlen(templates[i]), vars, &small), WICK_E_TEMPLATE);
        assert_string_equal(wick_last_error(), "chat template: line 1: " DEPTH);
        assert_int_equal(render(templates[i], strlen(templates[i]), vars, NULL), WICK_E_TEMPLATE);
    }
    json_decref(vars);
    wk_buf_free(&text);
    wk_buf_free(&lists);
    wk_buf_free(&dicts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused), cmocka_unit_test(rendered), cmocka_unit_test(all_listed), cmocka_unit_test(long_sources),
        cmocka_unit_test(deep_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
