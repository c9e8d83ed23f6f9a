/* test_template.c: chat templates against jinja2: the cases of real templates, several hundred small ones, where each piece of a
 * rendering came from, limits, failed allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "text/template.h"

static json_t *read_json(const char *path) {
    json_t *j = NULL;
    if (wk_json_read(path, 8 << 20, &j)) fail_msg("%s", wick_last_error());
    return j;
}

/* Each line of a file to fn. */
static void each_line(const char *path, void (*fn)(json_t *line, void *arg), void *arg) {
    wk_buf b = { 0 };
    if (wk_file_read(path, 256 << 20, &b)) fail_msg("%s", wick_last_error());
    for (char *at = b.ptr, *end; *at; at = end + 1) {
        json_t *j = NULL;
        end = at + strcspn(at, "\n");
        if (wk_json_parse(at, (size_t)(end - at), path, &j)) fail_msg("%s", wick_last_error());
        fn(j, arg);
        json_decref(j);
        if (!*end) break;
    }
    wk_buf_free(&b);
}

/* Renders; the result, or the error, is in *text. */
static wick_status render(const char *src, size_t n, json_t *vars, const wk_template_limits *l, wk_rendered *out) {
    wk_template *t;
    *out = (wk_rendered){ 0 };
    wick_status st = wk_template_parse(src, n, &t);
    if (!st) st = wk_template_render(t, vars, "2026-01-02T03:04:05", l, out);
    wk_template_free(t);
    return st;
}

typedef struct tally { json_t *inputs; const char *folder; int right, wrong; } tally;

/* Holds what a template gives against what jinja2 gave: the same text, or an error on both sides. */
static void compare(tally *t, const char *name, const char *src, size_t n, json_t *vars, json_t *expected, const char *error) {
    wk_rendered r;
    wick_status st = render(src, n, vars, NULL, &r);
    const char *want = json_string_value(expected);
    size_t n_want = json_string_length(expected), n_got = r.text.len;
    bool ok = want ? !st && n_got == n_want && !memcmp(r.text.ptr, want, n_want) : st == WICK_E_TEMPLATE;
    if (!ok && t->wrong < 40) {
        print_message("%s\n", name);
        if (want) print_message("  wanted: %.*s\n", (int)(n_want < 1500 ? n_want : 1500), want);
        else print_message("  wanted error: %s\n", error);
        if (st) print_message("  got error: %s\n", wick_last_error());
        else print_message("  got:    %.*s\n", (int)(n_got < 1500 ? n_got : 1500), r.text.ptr);
        for (size_t i = 0; want && !st && i < n_want && i < n_got; i++)
            if (want[i] != r.text.ptr[i]) { print_message("  first difference at byte %zu: wanted \"%.40s\", got \"%.40s\"\n", i, want + i, r.text.ptr + i); break; }
    }
    if (ok) t->right++;
    else t->wrong++;
    wk_rendered_free(&r);
}

static void real_case(json_t *c, void *arg) {
    tally *t = arg;
    char path[4096], name[256];
    wk_buf src = { 0 };
    json_t *vars = json_object();
    const char *template = json_string_value(json_object_get(c, "template")), *conversation = json_string_value(json_object_get(c, "conversation"));
    bool tools = json_is_true(json_object_get(c, "tools"));
    snprintf(path, sizeof path, "%s/%s.jinja", t->folder, template);
    snprintf(name, sizeof name, "%s %s%s%s", template, conversation, tools ? " tools" : "", json_is_true(json_object_get(c, "add_generation_prompt")) ? " prompt" : "");
    if (wk_file_read(path, 1 << 20, &src)) fail_msg("%s", wick_last_error());
    json_object_set(vars, "messages", json_object_get(json_object_get(t->inputs, "conversations"), conversation));
    if (tools) json_object_set(vars, "tools", json_object_get(t->inputs, "tools"));
    else json_object_set_new(vars, "tools", json_null());
    json_object_set(vars, "add_generation_prompt", json_object_get(c, "add_generation_prompt"));
    json_object_set(vars, "bos_token", json_object_get(t->inputs, "bos_token"));
    json_object_set(vars, "eos_token", json_object_get(t->inputs, "eos_token"));
    compare(t, name, src.ptr, src.len, vars, json_object_get(c, "output"), json_string_value(json_object_get(c, "error")));
    json_decref(vars);
    wk_buf_free(&src);
}

static void test_real_templates(void **state) {
    (void)state;
    const char *cache = getenv("WICK_TEST_CACHE");
    char folder[4000];
    snprintf(folder, sizeof folder, "%s/models/templates", cache ? cache : "");
    if (!cache || !wk_is_folder(folder)) {
        print_message("the chat templates of llama-cpp-python are not in WICK_TEST_CACHE/models/templates: fetch them with scripts/fetch.py\n");
        skip();
    }
    tally t = { .inputs = read_json("data/chat_templates/inputs.json"), .folder = folder };
    each_line("data/chat_templates/cases.jsonl", real_case, &t);
    json_decref(t.inputs);
    print_message("%d cases of real templates right, %d wrong\n", t.right, t.wrong);
    assert_int_equal(t.wrong, 0);
}

static void own_case(json_t *c, void *arg) {
    tally *t = arg;
    json_t *template = json_object_get(c, "template");
    if (!t->inputs) { t->inputs = json_incref(json_object_get(c, "vars")); return; }
    compare(t, json_string_value(template), json_string_value(template), json_string_length(template), t->inputs, json_object_get(c, "output"),
            json_string_value(json_object_get(c, "error")));
}

/* WICK_TEMPLATE_CASES: another file of the kind that make_template_cases.py writes. */
static void test_own_templates(void **state) {
    (void)state;
    const char *more = getenv("WICK_TEMPLATE_CASES");
    tally t = { 0 };
    each_line(more ? more : "data/chat_templates/own.jsonl", own_case, &t);
    json_decref(t.inputs);
    print_message("%d small templates right, %d wrong\n", t.right, t.wrong);
    assert_int_equal(t.wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_templates),
        cmocka_unit_test(test_real_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
