/* test_flags.c: the program's command line: the table itself, values and their limits, what is meant by a wrong word,
 * the environment, and that every example in the table is a line that the table reads. */
#include "base/nearest.h"
#include "../../cli/flag_table.c"
#include "../../cli/flags.c"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Cuts a line into words as a shell does; quotes keep blanks. Into buf, which words point into. */
static int split(const char *line, char *buf, char **argv, int cap) {
    int n = 0;
    char quote = 0;
    bool inside = false;
    for (; *line; line++) {
        if (!quote && (*line == '\'' || *line == '"')) { quote = *line;
        } else if (quote == *line && quote) {
            quote = 0;
            if (!inside) {
                assert_true(n < cap);
                argv[n++] = buf;
                inside = true;
            }
            continue;
        } else if (!quote && *line == ' ') {
            if (inside) *buf++ = 0;
            inside = false;
            continue;
        } else {
            if (!inside) { assert_true(n < cap); argv[n++] = buf; inside = true; }
            *buf++ = *line;
        }
    }
    *buf = 0;
    return n;
}

static bool parse(opts *o, const char *line) {
    static char buf[1024];
    char *argv[64];
    return flags_parse(o, split(line, buf, argv, 64), argv);
}

#define OK(o, line) do { if (!parse(o, line)) fail_msg("%s: %s", line, (o)->error); } while (0)
#define WRONG(line, words) do { \
    opts w; \
    if (parse(&w, line)) fail_msg("%s was taken", line); \
    if (!strstr(w.error, words)) fail_msg("%s: \"%s\" does not say \"%s\"", line, w.error, words); \
    flags_free(&w); } while (0)

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < n_flags; i++) {
        const flag *f = &flags[i];
        assert_true(!strncmp(f->name[0], "--", 2));
        assert_true(f->verbs && f->verbs < 1u << N_VERB && f->help && f->example);
        assert_true(f->kind == FLAG_BOOL ? !f->value : f->value != NULL);
        if (f->kind == FLAG_INT || f->kind == FLAG_REAL) assert_true(f->min < f->max);
        for (size_t k = 0; k < 4 && f->name[k]; k++)      /* no verb has two flags of one spelling */
            for (int v = 0; v < N_VERB; v++)
                if (f->verbs & 1u << v) assert_ptr_equal(flag_find((verb_id)v, f->name[k]), f);
    }
}

static void test_examples(void **state) {
    (void)state;
    for (size_t i = 0; i < n_flags; i++) {
        const flag *f = &flags[i];
        opts o;
        OK(&o, f->example);
        if (!o.given[i]) fail_msg("the example of %s does not use it: %s", f->name[0], f->example);
        flags_free(&o);
    }
    for (int v = 0; v < N_VERB; v++)
        for (size_t k = 0; k < 3 && verbs[v].example[k]; k++) {
            const char *line = strstr(verbs[v].example[k], "wick ");
            opts o;
            OK(&o, line);
            assert_int_equal(o.verb, v);
            flags_free(&o);
        }
}

static void test_values(void **state) {
    (void)state;
    opts o;
    OK(&o, "wick run m.gguf Hello there -n 5 --temp=0.5 --stop a --stop b --raw -- -x --top-k");
    assert_string_equal(o.model, "m.gguf");
    assert_int_equal(o.n_word, 4);
    assert_string_equal(o.word[1], "there");
    assert_string_equal(o.word[3], "--top-k");
    assert_int_equal(o.n_predict, 5);
    assert_true(o.temp == 0.5 && o.raw && o.stop.n == 2 && flag_given(&o, temp) && !flag_given(&o, top_k));
    assert_string_equal(o.stop.ptr[1], "b");
    flags_free(&o);
    OK(&o, "wick show -m m.gguf -c 100 -o json");
    assert_true(o.verb == VERB_INSPECT && o.ctx_size == 100);
    assert_string_equal(o.output, "json");
    flags_free(&o);
}

static void test_words(void **state) {
    (void)state;
    opts o;
    OK(&o, "wick run -m m.gguf one two");
    assert_string_equal(o.model, "m.gguf");
    assert_int_equal(o.n_word, 2);
    flags_free(&o);
    OK(&o, "wick tokenize m.gguf -f -");   /* a lone - is a value, or a word */
    assert_string_equal(o.file, "-");
    flags_free(&o);
    OK(&o, "wick run m.gguf -p '-n 3' --raw=no --seed 18446744073709551615");
    assert_string_equal(o.prompt, "-n 3");
    assert_true(!o.raw && o.seed == UINT64_MAX && flag_given(&o, seed));
    flags_free(&o);
    OK(&o, "wick run m.gguf --seed -1");
    assert_false(flag_given(&o, seed));
    flags_free(&o);
}

static void test_wrong(void **state) {
    (void)state;
    WRONG("wick run m --tmep 1", "did you mean --temp?");
    WRONG("wick run m --repeat 1", "did you mean --repeat-penalty?");
    WRONG("wick run m --tensors", "inspect has");
    WRONG("wick run m --xyzzy", "wick run --help");
    WRONG("wick run m -ngl 99", "CPU only");
    WRONG("wick train t.yaml --no-shuffle", "train has no flag --no-shuffle; --shuffle=no says that");
    WRONG("wick run m -n", "-n needs a value: -n N");
    WRONG("wick run m -n many", "whole number from -1 to 1073741824, not \"many\"");
    WRONG("wick run m -n 1.5", "not \"1.5\"");
    WRONG("wick run m -n ''", "not \"\"");
    WRONG("wick run m -n 99999999999999999999", "not \"9999");
    WRONG("wick run m --temp nan", "number from 0 to 1000");
    WRONG("wick run m --temp -1", "number from 0 to 1000");
    WRONG("wick run m --top-p 1.01", "from 0 to 1");
    WRONG("wick run m --seed -2", "2^64");
    WRONG("wick run m -ctk q4_0", "one of f32|f16|q8_0");
    WRONG("wick convert m -o x --type Q8_1", "one of f32|f16|bf16|q8_0|q4_0, not \"Q8_1\"");
    WRONG("wick convert m -o x --type Q8_0Q8_0Q8_0Q8_0", "not \"Q8_0Q8_0Q8_0Q8_0\"");
    WRONG("wick run m -o JSON", "one of text|json|jsonl");
    opts o;
    OK(&o, "wick convert m -o x --type Q8_0");
    assert_string_equal(o.type, "Q8_0");
    flags_free(&o);
    WRONG("wick run m -o text|json", "one of text|json|jsonl");
    WRONG("wick run m --raw=maybe", "yes or no");
    WRONG("wick frobnicate m", "which verb?");
}

static void test_environment(void **state) {
    (void)state;
    opts o;
    char name[64];
    flag_variable(flag_find(VERB_RUN, "-n"), name);
    assert_string_equal(name, "WICK_N_PREDICT");
    setenv("WICK_N_PREDICT", "7", 1);
    setenv("WICK_RAW", "1", 1);
    setenv("WICK_MODEL", "env.gguf", 1);
    OK(&o, "wick run m.gguf");
    assert_true(o.n_predict == 7 && o.raw && flag_given(&o, n_predict));
    assert_string_equal(o.model, "m.gguf");  /* a word beats a variable */
    flags_free(&o);
    OK(&o, "wick run -n 3 --raw=false");
    assert_true(o.n_predict == 3 && !o.raw);
    assert_string_equal(o.model, "env.gguf");
    flags_free(&o);
    setenv("WICK_N_PREDICT", "x", 1);
    WRONG("wick run m.gguf", "WICK_N_PREDICT takes a whole number");
    OK(&o, "wick run --help");               /* help comes whatever the environment says */
    flags_free(&o);
    unsetenv("WICK_N_PREDICT");
    unsetenv("WICK_RAW");
    unsetenv("WICK_MODEL");
}

static void test_nearest(void **state) {
    (void)state;
    const char *const names[] = { "run", "chat", "inspect", "tokenize" };
    assert_string_equal(wk_nearest("rnu", names, 4), "run");
    assert_string_equal(wk_nearest("tokenise", names, 4), "tokenize");
    assert_string_equal(wk_nearest("Chat", names, 4), "chat");
    assert_string_equal(wk_nearest("toke", names, 4), "tokenize");
    assert_null(wk_nearest("train", names, 4));
    assert_null(wk_nearest("a word that is much longer than any flag could be at all", names, 4));
}

static void test_memory(void **state) {
    (void)state;
    for (uint64_t k = 1; k < 4; k++) {
        opts o;
        wk_alloc_fail_at(k);
        bool fine = parse(&o, "wick run m --stop a --stop b");
        wk_alloc_fail_at(0);
        assert_false(fine);
        assert_string_equal(o.error, "out of memory");
        flags_free(&o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),   cmocka_unit_test(test_examples), cmocka_unit_test(test_values),
        cmocka_unit_test(test_words),   cmocka_unit_test(test_wrong),    cmocka_unit_test(test_environment),
        cmocka_unit_test(test_nearest), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
