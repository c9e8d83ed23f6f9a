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
#include "base/clock.h"
#include "base/file.h"
#include "text/template.h"

static json_t *parse(const char *text) {
    json_t *j = NULL;
    if (wk_json_parse(text, strlen(text), "test", &j)) fail_msg("%s", wick_last_error());
    return j;
}

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
            if (want[i] != r.text.ptr[i]) {
                print_message("  first difference at byte %zu: wanted \"%.40s\", got \"%.40s\"\n", i, want + i, r.text.ptr + i);
                break;
            }
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
    const char *template = json_string_value(json_object_get(c, "template")),
               *conversation = json_string_value(json_object_get(c, "conversation"));
    bool tools = json_is_true(json_object_get(c, "tools"));
    snprintf(path, sizeof path, "%s/%s.jinja", t->folder, template);
    snprintf(name, sizeof name, "%s %s%s%s", template, conversation, tools ? " tools" : "",
             json_is_true(json_object_get(c, "add_generation_prompt")) ? " prompt" : "");
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
    if (!cache || !wk_file_exists(folder)) {
        print_message("the chat templates of llama-cpp-python are not in WICK_TEST_CACHE/models/templates: fetch them with "
                      "scripts/fetch.py\n");
        skip();
    }
    tally t = { .inputs = read_json("data/chat_templates/inputs.json"), .folder = folder };
    each_line("data/chat_templates/cases.jsonl", real_case, &t);
    json_decref(t.inputs);
    print_message("%d cases of real templates right, %d wrong\n", t.right, t.wrong);
    assert_int_equal(t.right, 868);  /* 62 templates; in 50 cases jinja2 raises */
    assert_int_equal(t.wrong, 0);
}

static void own_case(json_t *c, void *arg) {
    tally *t = arg;
    json_t *template = json_object_get(c, "template"), *vars = json_object_get(c, "vars"), *name = json_object_get(c, "name");
    if (!template) { t->inputs = json_incref(vars); return; }  /* the first line: for all that have none of their own */
    compare(t, json_string_value(name ? name : template), json_string_value(template), json_string_length(template),
            vars ? vars : t->inputs, json_object_get(c, "output"), json_string_value(json_object_get(c, "error")));
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

/* ---- where text came from ---- */

static const char request[] = "{\"u\":\"abc\",\"n\":5,\"flag\":true,\"nil\":null,\"num\":\"42\",\"obj\":{\"k\":\"v\",\"e\":[]},"
                              "\"list\":[\"a\",\"b\"],\"pad\":\" x \","
                              "\"messages\":[{\"role\":\"user\",\"content\":\"Hi "
                              "<|end|>\"}],\"bos_token\":\"<s>\",\"x_token\":\"<x>\",\"list_token\":[\"y\"],\"two\":\"ab\\ncd\"}";

/* Each rendering with [ ] around what the request wrote and { } around what stands inside {% generation %}. */
static void test_provenance(void **state) {
    static const struct { const char *src, *want;
    } cases[] = {
        { "{{ bos_token }}x{{ u }}{{ x_token }}{{ list_token }}", "<s>x[abc]<x>[['y']]" },
        { "{{ '<|' ~ u ~ '|>' }}{{ '<|' + u + '|>' }}", "<|[abc]|><|[abc]|>" },
        { "{{ ('  ' + pad + u) | trim }}{{ pad | trim }}", "[x abcx]" },
        { "{{ u | upper }}{{ u | title }}{{ ('x' ~ u) | capitalize }}{{ u.swapcase() }}", "[ABCAbc]X[abcABC]" },
        { "{{ ('x' ~ u)[0:2] }}{{ ('x' ~ u)[::-1] }}{{ u[1] }}", "x[acba]x[b]" },
        { "{{ [u, 't'] | join('-') }}{{ '+'.join([u, 't']) }}{{ list | join('/') }}", "[abc]-t[abc]+t[a]/[b]" },
        { "{{ 'a,b'.split(',') | join }}{{ u.split('b') | join('') }}{{ ('<' ~ u ~ '>').split('b')[1] }}", "ab[acc]>" },
        { "{{ u | tojson }}{{ {'k': u} | tojson }}{{ {'k': '<|x|>'} | tojson }}{{ obj.e | tojson }}",
          "[\"abc\"{\"k\": \"abc\"}]{\"k\": \"<|x|>\"}[[]]" },
        { "{{ n }}{{ n + 1 }}{{ n * 1.5 }}{{ 7 }}{{ -n }}{{ n | abs }}{{ n | float | round | int }}", "[567.5]7[-555]" },
        { "{{ num | int }}{{ num | float }}{{ 'x' | int(1) }}{{ [n, 1] | sum }}{{ [n, 1] | max }}", "[4242.0]1[65]" },
        { "{{ flag }}{{ nil }}{{ u == 'abc' }}{{ u | length }}{{ 'b' in u }}", "[TrueNone]True3True" },
        { "{{ '%s!' % u }}{{ '{}!'.format(u) }}{{ '%5s' % u }}{{ '{:>4}'.format(u) }}{{ '%d' % n }}{{ '%(a)s' % {'a': u} }}",
          "[abc]![abc]!  [abc] [abc5abc]" },
        { "{% set ns = namespace(a=u) %}{% set ns.b = ns.a ~ '!' %}{{ ns.b }}", "[abc]!" },
        { "{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(u) }}{{ f('t') | upper }}", "<[abc]><T>" },
        { "{% set b %}<{{ u }}>{% endset %}{{ b }}{{ b | upper }}", "<[abc]><[ABC]>" },
        { "{% for c in u %}{{ c }}.{% endfor %}{% for k, v in obj.items() %}{{ k }}={{ v }};{% endfor %}{{ loop }}",
          "[a].[b].[c].[k]=[v];[e]=[[]];" },
        { "{% for x in list %}{{ loop.index }}{{ x }}{{ loop.last }}{% endfor %}", "1[a]False2[b]True" },
        { "{{ u | replace('b', '<|x|>') }}{{ '<|b|>' | replace('b', u) }}{{ u.replace('', '-') }}",
          "[a]<|x|>[c]<|[abc]|>-[a]-[b]-[c]-" },
        { "{{ 'ab' * 2 }}{{ u * 2 }}{{ (u ~ '!') * 2 }}{{ list * 2 }}", "abab[abcabcabc]![abc]![['a', 'b', 'a', 'b']]" },
        { "{{ messages }}{{ [u] }}{{ ['t'] }}{{ (1, 't') }}", "[[{'role': 'user', 'content': 'Hi <|end|>'}]['abc']]['t'](1, 't')" },
        { "{{ u | default('x') }}{{ missing | default('x') }}{{ missing | default(u) }}{{ none or '<d>' }}", "[abc]x[abc]<d>" },
        { "{{ two | indent(2, true) }}{{ u | center(5) }}{{ u.zfill(4) }}{{ u.ljust(4, '.') }}",
          "  [ab]\n  [cd] [abc] 0[abcabc]." },
        { "{{ u | escape }}{{ '<' | escape }}{{ ('<' | safe) + u }}{{ u | safe }}", "[abc]&lt;<[abcabc]" },
        { "{{ u | list }}{{ u | first }}{{ (u ~ '!') | last }}{{ (u | list + ['t']) | join }}{{ u | reverse }}",
          "[['a', 'b', 'c']a]![abc]t[cba]" },
        { "{{ u.partition('b')[2] }}{{ u.removeprefix('a') }}{{ 'prefix'.removeprefix('pre') }}{{ u | truncate(2, true, '<', 0) }}",
          "[cbc]fix[a]<" },
        { "{{ list | map('upper') | join(',') }}{{ messages | map(attribute='content') | first }}{{ list | sort(reverse=true) | "
          "join }}",
          "[A],[BHi <|end|>ba]" },
        { "{{ obj | dictsort | list }}{{ dict(a=1) }}{{ dict(obj) }}{{ dict(a=u).a }}",
          "[[('e', []), ('k', 'v')]]{'a': 1}[{'k': 'v', 'e': []}abc]" },
        { "{{ strftime_now('%Y') }}{{ strftime_now(u) }}{{ range(n) | list }}{{ range(2) | list }}",
          "2026[abc][0, 1, 2, 3, 4][0, 1]" },
        { "{% filter upper %}x{{ u }}{% endfilter %}{% macro g() %}({{ caller() }}){% endmacro %}{% call g() %}{{ u }}{% endcall "
          "%}",
          "X[ABC]([abc])" },
        { "a{% generation %}b{{ u }}{% set x = 1 %}{% endgeneration %}{% generation %}{% for i in list %}{{ i }}{% endfor %}{% "
          "endgeneration %}c",
          "a{b[abcab]}c" },
        { "{% macro f() %}{% generation %}{{ u }}!{% endgeneration %}?{% endmacro %}{{ f() | upper }}", "{[ABC]!}?" },
    };
    json_t *vars = parse(request);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_rendered r;
        wk_buf b = { 0 };
        if (render(cases[i].src, strlen(cases[i].src), vars, NULL, &r)) fail_msg("%s: %s", cases[i].src, wick_last_error());
        for (size_t k = 0; k < r.n_piece; k++) {
            wk_piece p = r.piece[k], before = k ? r.piece[k - 1] : (wk_piece){ 0 },
                     after = k + 1 < r.n_piece ? r.piece[k + 1] : (wk_piece){ 0 };
            if (p.generation && !before.generation) wk_buf_char(&b, '{');
            if (p.request && !before.request) wk_buf_char(&b, '[');
            wk_buf_add(&b, r.text.ptr + p.from, p.to - p.from);
            if (p.request && !after.request) wk_buf_char(&b, ']');
            if (p.generation && !after.generation) wk_buf_char(&b, '}');
        }
        if (strcmp(b.ptr, cases[i].want)) fail_msg("%s\n  wanted %s\n  got    %s", cases[i].src, cases[i].want, b.ptr);
        wk_buf_free(&b);
        wk_rendered_free(&r);
    }
    json_decref(vars);
}

/* The folder as people download it: the rendered text, and that the request's "<|end|>" is the request's. */
static void test_llama_chat(void **state) {
    json_t *config = read_json("data/models/llama-chat/tokenizer_config.json"),
           *reference = read_json("data/models/llama-chat/reference.json"), *c;
    const char *src = json_string_value(json_object_get(config, "chat_template"));
    size_t i;
    (void)state;
    json_array_foreach(reference, i, c) {
        wk_rendered r;
        json_t *vars = json_object();
        json_object_set(vars, "messages", json_object_get(c, "messages"));
        json_object_set(vars, "bos_token", json_object_get(config, "bos_token"));
        json_object_set(vars, "eos_token", json_object_get(config, "eos_token"));
        json_object_set_new(vars, "add_generation_prompt", json_true());
        if (render(src, strlen(src), vars, NULL, &r)) fail_msg("%s", wick_last_error());
        assert_string_equal(r.text.ptr, json_string_value(json_object_get(c, "text")));
        for (size_t k = 0; k < r.n_piece; k++) {
            const char *end = memmem(r.text.ptr + r.piece[k].from, r.piece[k].to - r.piece[k].from, "<|end|> token?", 14);
            if (end) assert_true(r.piece[k].request);
        }
        wk_rendered_free(&r);
        json_decref(vars);
    }
    json_decref(config);
    json_decref(reference);
}

/* ---- limits and errors ---- */

/* n times `open`, then `inside`, then n times `close`. */
static char *nested(const char *open, const char *inside, const char *close, int n) {
    wk_buf b = { 0 };
    for (int i = 0; i < n; i++) wk_buf_str(&b, open);
    wk_buf_str(&b, inside);
    for (int i = 0; i < n; i++) wk_buf_str(&b, close);
    return b.ptr;
}

static void expect_error(const char *src, json_t *vars, const wk_template_limits *l, const char *words) {
    wk_rendered r;
    double start = wk_now();
    wick_status st = render(src, strlen(src), vars, l, &r);
    if (wk_now() - start > 1) print_message("slow: %.1f s: %.200s\n", wk_now() - start, src);
    if (st != WICK_E_TEMPLATE) fail_msg("%.200s\n  wanted an error with \"%s\", got status %d", src, words, st);
    if (!strstr(wick_last_error(), words))
        fail_msg("%.200s\n  wanted an error with \"%s\", got \"%s\"", src, words, wick_last_error());
}

static void test_limits(void **state) {
    static const char big[] =
        "{% set ns = namespace(s='x') %}{% for i in range(23) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{% set s = ns.s %}";
    static const struct { const char *src, *words;
    } cases[] = {
        { "{{ 'x' * 1000000000 }}", "bytes of text" },
        { "{{ 'x' * 9223372036854775807 }}", "bytes of text" },
        { "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "bytes of text" },
        { "{% for i in range(100000) %}{% for i in range(1000) "
          "%}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
          "bytes of text" },
        { "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}", "memory" },
        { "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = ns.l + [i] %}{% endfor %}", "memory" },
        { "{{ [0] * 1000000000 }}", "memory" },
        { "{{ range(1000000000) }}", "100000 are allowed" },
        { "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "" },
        { "{% for i in range(1000) %}{% for j in range(1000) %}{{ '' if i == j and i != j or i > j and i < j and i == 5 }}{% "
          "endfor %}{% endfor %}",
          "steps" },
        { "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "inside each other" },
        { "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "inside each other" },
        { "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "inside each other" },
        { "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{{ caller }}{% endmacro %}{% call f() %}{% endcall %}",
          "inside each other" },
        { "{% set ns = namespace(x=[]) %}{% for i in range(10000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
          "inside each other" },
        { "{% set ns = namespace(x=[]) %}{% for i in range(10000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}",
          "inside each other" },
        { "{% set ns = namespace(x=[], y=[]) %}{% for i in range(10000) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor "
          "%}{{ ns.x == ns.y }}",
          "inside each other" },
        { "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", "" },
        { "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] "
          "%}{% endfor %}{{ ns.x == ns.y }}",
          "steps" },
        { "{% set ns = namespace(g=[1]) %}{% for i in range(9999) %}{% set ns.g = ns.g | map('string') %}{% endfor %}{{ ns.g | "
          "list }}",
          "inside each other" },
        { "{{ '%1000000000d' % 1 }}", "" },
        { "{{ '%.1000000000f' % 1 }}", "precision" },
        { "{{ '%*d' % (1000000000, 1) }}", "" },
        { "{{ '{:1000000000}'.format(1) }}", "" },
        { "{{ '{:01000000000,}'.format(1) }}", "" },
        { "{{ '{:99999999999}'.format(1) }}", "" },
        { "{{ 'a'.center(1000000000) }}", "bytes of text" },
        { "{{ 'a'.zfill(1000000000) }}", "bytes of text" },
        { "{{ 'a'.rjust(9223372036854775807) }}", "bytes of text" },
        { "{{ 'a' | indent(1000000000, true) }}", "bytes of text" },
        { "{{ '\\t'.expandtabs(1000000000) }}", "bytes of text" },
        { "{{ [1] | tojson(indent=1000000000) }}", "bytes of text" },
        { "{{ [1] | batch(1000000000, 0) | list }}", "" },
        { "{{ [1] | slice(1000000000) | list }}", "" },
        { "{{ 2 ** 64 }}", "2^63" },
        { "{{ 3 ** 1000000000000 }}", "2^63" },
        { "{{ 9223372036854775807 * 2 }}", "2^63" },
        { "{{ (-9223372036854775807 - 1) // -1 }}", "2^63" },
        { "{{ -(-9223372036854775807 - 1) }}", "2^63" },
        { "{{ 1e300 | int }}", "2^63" },
        { "{{ '99999999999999999999' | int }}", "2^63" },
        { "{{ 99999999999999999999 }}", "2^63" },
        { "{% for i in range(100000) %}{{ s in s }}{% endfor %}", "steps" },
        { "{% for i in range(1000) %}{% set x = s.upper() %}{% endfor %}", "" },
        { "{% for i in range(1000) %}{% set x = s.replace('x', 'y') %}{% endfor %}", "steps" },
        { "{% for i in range(1000) %}{% set x = s | tojson %}{% endfor %}", "" },
        { "{{ s | list | length }}", "" },
        { "{{ s.rfind('y' ~ s[1:4000000]) }}{{ s.rfind('x' * 4000000 ~ 'y') }}", "steps" },
        { "{{ s.split('') }}", "empty" },
        { "{{ s.split('x') | length }}", "" },
        { "{% for i in range(1000) %}{% set x = s | wordcount %}{% endfor %}", "steps" },
        { "{% for i in range(1000) %}{% set x = s | trim(' x') %}{% endfor %}", "steps" },
    };
    json_t *vars = parse("{\"t\":true}");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_buf b = { 0 };
        bool s = strstr(cases[i].src, " s.") || strstr(cases[i].src, " s ");  /* 8 MB of text; the limit is lower, to be quick */
        if (s) wk_buf_str(&b, big);
        wk_buf_str(&b, cases[i].src);
        expect_error(b.ptr, vars, s ? &(wk_template_limits){ .max_steps = 1500000 } : NULL, cases[i].words);
        wk_buf_free(&b);
    }
    static const char *const deep[][3] = {
        { "(", "{{ %s }}", ")" },
        { "[", "{{ %s }}", "]" },
        { "{1:", "{{ %s }}", "}" },
        { "not ", "{{ %s }}", "" },
        { "- ", "{{ %s }}", "" },
        { "{% if t %}", "%s", "{% endif %}" },
        { "{% for x in [1] %}", "%s", "{% endfor %}" },
        { "1 if t else ", "{{ %s }}", "" },
        { "f(", "{{ %s }}", ")" },
        { "x[", "{{ %s }}", "]" },
        { "{% macro f() %}", "%s", "{% endmacro %}" },
        { "1 | d(", "{{ %s }}", ")" },
    };
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++) {
        char *inside = nested(deep[i][0], "1", deep[i][2], 100000), *end = strstr(deep[i][1], "%s") + 2;
        wk_buf b = { 0 };
        wk_buf_add(&b, deep[i][1], (size_t)(end - 2 - deep[i][1]));
        wk_buf_str(&b, inside);
        wk_buf_str(&b, end);
        expect_error(b.ptr, vars, NULL, "");
        wk_buf_free(&b);
        wk_free(inside);
    }
    static const char *const chain[] = { " + 1", ".x", "[0]", " | d", " and 1", "()" };
    for (size_t i = 0; i < sizeof chain / sizeof *chain; i++) {
        char *middle = nested(chain[i], "", "", 20000);
        wk_buf b = { 0 };
        wk_buf_printf(&b, "{{ t%s }}", middle);
        expect_error(b.ptr, vars, NULL, "inside each other");
        wk_buf_free(&b);
        wk_free(middle);
    }
    expect_error("{{ 1 }}{{ 2 }}", vars, &(wk_template_limits){ .max_steps = 2 }, "steps");
    expect_error("{{ 'abcdef' }}", vars, &(wk_template_limits){ .max_output = 5 }, "5 bytes");
    expect_error("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", vars,
                 &(wk_template_limits){ .max_depth = 3 }, "inside each other");
    char *long_one = nested("xxxxxxxxxxxxxxxx", "", "", 70000);
    expect_error(long_one, vars, NULL, "at most");
    wk_free(long_one);
    json_decref(vars);
}

static void test_messages(void **state) {
    static const struct { const char *src, *words;
    } cases[] = {
        { "a\n\n{{ 1 / 0 }}", "line 3: division by zero" },
        { "{% if x %}\n\n", "{% endif %}" },
        { "{{ a.b.c }}", "line 1: 'a' is undefined" },
        { "\n{% set x = {} %}\n{{ x.y.z }}", "line 3: this dict has no 'y'" },
        { "{{ raise_exception('Roles must alternate') }}", "Roles must alternate" },
        { "\r\n\r{{ 'x' | nope }}", "line 3: there is no filter named 'nope'" },
        { "{{ 'x' is nope }}", "there is no test named 'nope'" },
        { "{% macro f(a) %}\n{{ a + 1 }}\n{% endmacro %}\n{{ f('x') }}", "line 2: '+' does not work on str and int" },
        { "{{ [].append(1) }}", "cannot change" },
        { "{% include 'x' %}", "not supported" },
        { "{% nope %}", "unknown tag 'nope'" },
        { "{{ 'abc }}", "no end" },
        { "{{ 1 + }}", "expected an expression, found }}" },
        { "\xff", "not UTF-8" },
        { "{{ '\\ud800' }}", "no character" },
        { "{% for a, b in [1] %}{% endfor %}", "cannot be iterated" },
        { "{% set a, b = [1] %}", "1 values for 2 names" },
        { "{{ 'x'.split(1) }}", "must be text, not int" },
        { "{{ 'x'.split(foo=1) }}", "keyword that it does not have" },
        { "{{ 1 < 'a' }}", "'<' cannot compare int with str" },
        { "x\n{# never", "line 2: {# has no #}" },
    };
    json_t *vars = parse("{}");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_error(cases[i].src, vars, NULL, cases[i].words);
    json_decref(vars);
}

/* Every allocation fails once: a clean status each time, and ASan finds no leak. */
static void test_failed_allocations(void **state) {
    static const char *const templates[] = {
        "{{ bos_token }}{% for m in messages %}{{ '<|' ~ m.role ~ '|>' ~ m.content | trim }}{% endfor %}",
        "{% macro f(x) %}{{ x | tojson(indent=2) }}{% endmacro %}{% set ns = namespace(a=[]) %}{% for k, v in obj | dictsort %}{% "
        "set ns.a = ns.a + [k ~ v] %}{% endfor %}{{ f(ns.a) }}{{ f(obj) }}",
        "{{ 'x' * 100000 }}{{ list | map('upper') | sort | join(',') }}{% generation %}{{ u }}{% endgeneration %}{{ "
        "strftime_now('%Y') }}",
    };
    json_t *vars = parse(request);
    (void)state;
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        wick_status st = WICK_E_MEMORY;
        int n = 0;
        for (uint64_t k = 1; st; k++, n++) {
            wk_rendered r;
            wk_alloc_fail_at(k);
            st = render(templates[i], strlen(templates[i]), vars, NULL, &r);
            wk_alloc_fail_at(0);
            if (st) assert_int_equal(st, WICK_E_MEMORY);
            wk_rendered_free(&r);
        }
        assert_true(n > 3);
    }
    json_decref(vars);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_provenance),     cmocka_unit_test(test_llama_chat),         cmocka_unit_test(test_limits),
        cmocka_unit_test(test_messages),       cmocka_unit_test(test_failed_allocations), cmocka_unit_test(test_own_templates),
        cmocka_unit_test(test_real_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
