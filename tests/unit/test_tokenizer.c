/* test_tokenizer.c: text to ids. Vocabularies that others wrote (from the test cache) against llama.cpp's ids, small ones against
 * the `tokenizers` package's (data/tokenizers/steps.json); where control tokens may come from; every kind of bad input. */
#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "text/tokenizer_parts.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "support/tried.h"

static bool says(const char *text) { return strstr(wick_last_error(), text) != NULL; }

/* ---- opening ---- */

/* A file of the test cache, or NULL (said why). */
static const char *cached(const char *name) {
    static char path[1024];
    const char *cache = getenv("WICK_TEST_CACHE");
    if (!cache) { print_message("WICK_TEST_CACHE is not set\n"); return NULL; }
    snprintf(path, sizeof path, "%s/%s", cache, name);
    if (wk_file_exists(path)) return path;
    print_message("%s is not there\n", path);
    return NULL;
}

typedef struct opened { wk_gguf *g; wk_tokenizer *t; } opened;

static void close_it(opened *o) {
    wk_tokenizer_free(o->t);
    wk_gguf_free(o->g);
}

static opened open_gguf(const char *path) {
    opened o;
    if (wk_gguf_open(path, &o.g) || wk_tokenizer_from_gguf(o.g, &o.t)) fail_msg("%s", wick_last_error());
    assert_non_null(o.t);
    return o;
}

static json_t *parse(const char *text, size_t n) {
    json_t *j;
    if (wk_json_parse(text, n, "test", &j)) fail_msg("%s", wick_last_error());
    return j;
}

static opened open_folder(const char *folder) {
    opened o = { 0 };
    char path[1100];
    json_t *j, *config = NULL;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    if (wk_json_read(path, 1 << 28, &j)) fail_msg("%s", wick_last_error());
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    if (wk_file_exists(path)) assert_int_equal(wk_json_read(path, 1 << 28, &config), WICK_OK);
    if (wk_tokenizer_from_json(j, config, path, &o.t)) fail_msg("%s", wick_last_error());
    json_decref(j);
    json_decref(config);
    return o;
}

/* ---- ids as expected ---- */

static void show_difference(const char *name, const char *text, size_t n, const wk_ids *got, const json_t *want) {
    print_error("%s: \"%.*s\"\n got", name, (int)n, text);
    for (size_t i = 0; i < got->len; i++) print_error(" %d", got->ptr[i]);
    print_error("\nwant");
    for (size_t i = 0; i < json_array_size(want); i++) print_error(" %d", (int)json_integer_value(json_array_get(want, i)));
    print_error("\n");
}

static bool same_ids(const wk_ids *got, const json_t *want) {
    if (got->len != json_array_size(want)) return false;
    for (size_t i = 0; i < got->len; i++) if (got->ptr[i] != json_integer_value(json_array_get(want, i))) return false;
    return true;
}

static bool tokenizes(const wk_tokenizer *t, const char *name, const char *text, size_t n, bool add, const json_t *want) {
    wk_ids ids = { 0 };
    wk_span span = { text, n, true };
    if (wk_tokenize(t, &span, 1, add, &ids)) fail_msg("%s: %s", name, wick_last_error());
    bool same = same_ids(&ids, want);
    if (!same) show_difference(name, text, n, &ids, want);
    wk_ids_free(&ids);
    return same;
}

/* Each line of a file {"text", "ids"}; except: a text that may differ. */
static void check_cases(const wk_tokenizer *t, const char *path, const char *except) {
    wk_buf b = { 0 };
    int n = 0, bad = 0;
    if (wk_file_read(path, 1 << 24, &b)) fail_msg("%s", wick_last_error());
    for (char *p = b.ptr, *end; (end = strchr(p, '\n')); p = end + 1) {
        json_t *j = parse(p, (size_t)(end - p)), *text = json_object_get(j, "text");
        const json_t *ids = json_object_get(j, "ids"), *special = json_object_get(j, "ids_with_special");
        if (special) bad += !tokenizes(t, path, json_string_value(text), json_string_length(text), true, special);
        if (!except || strcmp(json_string_value(text), except))
            bad += !tokenizes(t, path, json_string_value(text), json_string_length(text), false, ids);
        n++;
        json_decref(j);
    }
    wk_buf_free(&b);
    assert_int_equal(bad, 0);
    assert_true(n > 50);
}

static const char with_eos[] = "<s>hi</s> <pad> [CLS] [SEP] [MASK]";

static void test_gguf_cases(void **state) {
    (void)state;
    static const struct { const char *name, *gguf, *cases, *except; } all[] = {
        { "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "data/tokenizers/smollm2.cases.jsonl", NULL },
        { "llama-bpe", "models/ggml-vocab-llama-bpe.gguf", "data/tokenizers/llama-3.cases.jsonl", NULL },
        { "llama-spm", "models/ggml-vocab-llama-spm.gguf", "data/tokenizers/llama-2.cases.jsonl", NULL },
        /* llama.cpp makes </s> a control token wherever it occurs; this vocabulary does not */
        { "qwen2", "models/ggml-vocab-qwen2.gguf", "data/tokenizers/qwen2.cases.jsonl", with_eos },
    };
    int missing = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const char *path = cached(all[i].gguf);
        if (!path) { missing++; continue; }
        opened o = open_gguf(path);
        check_cases(o.t, all[i].cases, all[i].except);
        tried("tokenizer", all[i].name, "GGUF", "real");
        close_it(&o);
    }
    if (missing) skip();
}

/* SentencePiece's unigram as a GGUF file has it; what sentencepiece itself gives. */
static void test_unigram_gguf(void **state) {
    (void)state;
    opened o = open_gguf("data/tokenizers/unigram-nfkc.gguf");
    check_cases(o.t, "data/tokenizers/unigram-nfkc.cases.jsonl", NULL);
    tried("tokenizer", "unigram-nfkc", "GGUF", "random");
    close_it(&o);
}

static void test_json_cases(void **state) {
    (void)state;
    static const struct { const char *name, *folder, *cases; } all[] = {
        { "smollm2", "tokenizers/smollm2-json", "smollm2-json" },
        { "llama-spm", "tokenizers/llama-2-json", "llama-2-json" },
        { "unigram-nfkc", "tokenizers/unigram-nfkc-json", "unigram-nfkc-json" },
        { "minilm (WordPiece)", "minilm", "minilm-bert" },
    };
    int missing = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char cases[100];
        snprintf(cases, sizeof cases, "data/tokenizers/%s.cases.jsonl", all[i].cases);
        const char *path = cached(all[i].folder);
        if (!path) { missing++; continue; }
        opened o = open_folder(path);
        check_cases(o.t, cases, NULL);
        tried("tokenizer", all[i].name, "tokenizer.json", strstr(all[i].cases, "unigram") ? "random" : "real");
        if (i == 1) {
            assert_int_equal(wk_tokenizer_bos(o.t), 1);
            assert_true(wk_tokenizer_is_end(o.t, 2));
            assert_int_equal(wk_tokenizer_kind(o.t, wk_tokenizer_find(o.t, "<0x0A>", 6)), WK_TOKEN_BYTE);
        }
        close_it(&o);
    }
    if (missing) skip();
}

/* llama.cpp's own cases: blocks of text between marks, and a line of ids for each. */
static void check_blocks(const wk_tokenizer *t, const char *gguf) {
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char path[1100];
    wk_buf in = { 0 }, out = { 0 };
    int n = 0, bad = 0;
    snprintf(path, sizeof path, "%s.inp", gguf);
    if (wk_file_read(path, 1 << 24, &in)) fail_msg("%s", wick_last_error());
    snprintf(path, sizeof path, "%s.out", gguf);
    if (wk_file_read(path, 1 << 24, &out)) fail_msg("%s", wick_last_error());
    for (char *p = in.ptr, *q = out.ptr, *end; (end = strstr(p, mark)); p = end + sizeof mark - 1, n++) {
        json_t *want = json_array();
        char *line = strchr(q, '\n');
        assert_non_null(line);
        for (char *after; q < line; q = after) {
            long id = strtol(q, &after, 10);
            if (after == q || after > line) break;
            json_array_append_new(want, json_integer(id));
        }
        q = line + 1;
        bad += !tokenizes(t, gguf, p, (size_t)(end - p), false, want);
        json_decref(want);
    }
    wk_buf_free(&in);
    wk_buf_free(&out);
    assert_int_equal(bad, 0);
    assert_true(n > 40);
}

static void test_llama_cpp_blocks(void **state) {
    (void)state;
    static const char *const all[] = { "llama-bpe", "llama-spm", "qwen2", "gpt-2", "starcoder", "refact", "command-r", "falcon",
                                       "deepseek-coder", "deepseek-llm", "mpt", "phi-3", "qwen35", "bert-bge", "gemma-4" };
    int missing = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char name[100];
        snprintf(name, sizeof name, "models/ggml-vocab-%s.gguf", all[i]);
        const char *path = cached(name);
        if (!path) { missing++; continue; }
        opened o = open_gguf(path);
        check_blocks(o.t, path);
        tried("tokenizer", all[i], "GGUF", "real");
        close_it(&o);
    }
    if (missing) skip();
}

/* ---- each step against the `tokenizers` package ---- */

static json_t *whole_tokenizer(const json_t *models, const json_t *d) {
    static const char *const parts[] = { "normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens" };
    json_t *j = json_object(), *model = json_copy(json_object_get(models, json_string_value(json_object_get(d, "model"))));
    json_object_update(model, json_object_get(d, "flags"));
    json_object_set_new(j, "model", model);
    for (int i = 0; i < 5; i++) json_object_set(j, parts[i], json_object_get(d, parts[i]));
    return j;
}

static bool decodes(const wk_tokenizer *t, const char *name, const json_t *ids, const json_t *want) {
    wk_decoder d;
    wk_buf out = { 0 };
    wk_decoder_init(&d, t, true);
    for (size_t i = 0; i < json_array_size(ids); i++) wk_decode(&d, (int32_t)json_integer_value(json_array_get(ids, i)), &out);
    wk_decode_end(&d, &out);
    bool same = out.len == json_string_length(want) && (!out.len || !memcmp(out.ptr, json_string_value(want), out.len));
    if (!same)
        print_error("%s: decoded \"%.*s\", not \"%s\"\n", name, (int)out.len, out.len ? out.ptr : "", json_string_value(want));
    wk_buf_free(&out);
    return same;
}

static void test_steps(void **state) {
    (void)state;
    json_t *all, *d, *c;
    size_t i, k;
    int bad = 0;
    const char *other = getenv("WICK_TEST_STEPS");  /* random texts: make_tokenizer_steps.py FILE 100 */
    if (wk_json_read(other ? other : "data/tokenizers/steps.json", 1 << 28, &all)) fail_msg("%s", wick_last_error());
    json_array_foreach(json_object_get(all, "tokenizers"), i, d) {
        const char *name = json_string_value(json_object_get(d, "name"));
        json_t *j = whole_tokenizer(json_object_get(all, "models"), d);
        wk_tokenizer *t;
        if (wk_tokenizer_from_json(j, NULL, name, &t)) fail_msg("%s", wick_last_error());
        json_array_foreach(json_object_get(d, "cases"), k, c) {
            const json_t *text = json_object_get(c, "text");
            bool added = json_array_size(json_object_get(c, "ids")) != json_array_size(json_object_get(c, "ids_with_added"));
            bad += !tokenizes(t, name, json_string_value(text), json_string_length(text), false, json_object_get(c, "ids"));
            const json_t *with_added = json_object_get(c, "ids_with_added");
            bad += added && !tokenizes(t, name, json_string_value(text), json_string_length(text), true, with_added);
            const json_t *decoded = json_object_get(c, "decoded");
            bad += json_is_string(decoded) && !decodes(t, name, json_object_get(c, "ids"), decoded);
        }
        wk_tokenizer_free(t);
        json_decref(j);
    }
    assert_true(i > 70);
    json_decref(all);
    assert_int_equal(bad, 0);
}

/* ---- where control tokens may come from ---- */

static void test_llama_chat(void **state) {
    (void)state;
    opened o = open_folder("data/models/llama-chat");
    json_t *rows, *row, *m;
    size_t i, k;
    assert_int_equal(wk_json_read("data/models/llama-chat/reference.json", 1 << 24, &rows), WICK_OK);
    json_array_foreach(rows, i, row) {
        wk_span span[16];
        wk_ids ids = { 0 };
        wk_buf text[2] = { 0 };
        size_t n = 0;
        char opening[2][40];
        json_array_foreach(json_object_get(row, "messages"), k, m) {
            const char *said = json_string_value(json_object_get(m, "content"));
            while (*said == ' ') said++;
            wk_buf_str(&text[k], said);
            while (text[k].ptr[text[k].len - 1] == ' ') text[k].len--;
            snprintf(opening[k], sizeof opening[k], "<|%s|>", json_string_value(json_object_get(m, "role")));
            span[n++] = (wk_span){ opening[k], strlen(opening[k]), true };
            span[n++] = (wk_span){ text[k].ptr, text[k].len, false };
            span[n++] = (wk_span){ "<|e", 3, true };  /* neighbours of one kind are one text */
            span[n++] = (wk_span){ "nd|>", 4, true };
        }
        span[n++] = (wk_span){ "<|assistant|>", 13, true };
        assert_int_equal(wk_tokenize(o.t, span, n, false, &ids), WICK_OK);
        bool same = same_ids(&ids, json_object_get(row, "ids"));
        if (!same) show_difference("llama-chat", "", 0, &ids, json_object_get(row, "ids"));
        assert_true(same);
        wk_ids_free(&ids);
        wk_buf_free(&text[0]);
        wk_buf_free(&text[1]);
    }
    assert_int_equal(i, 2);
    assert_int_equal(wk_tokenizer_bos(o.t), 0);
    assert_int_equal(wk_tokenizer_eos(o.t), 1);
    assert_true(wk_tokenizer_is_end(o.t, 1));
    assert_false(wk_tokenizer_is_end(o.t, 2));
    assert_int_equal(wk_tokenizer_add_end(o.t, 2), WICK_OK);
    assert_true(wk_tokenizer_is_end(o.t, 2));
    assert_int_equal(wk_tokenizer_add_end(o.t, 1024), WICK_E_ARG);
    assert_true(says("1024"));
    json_decref(rows);
    close_it(&o);
}

/* A small tokenizer whose merges could put a control token together, and whose words may be taken whole. */
static const char small[] =
    "{\"model\":{\"type\":\"BPE\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"<\":1,\"c\":2,\">\":3,\"<c\":4,\"<c>\":5,\" \":6,"
    "\"u\":7,\"<u\":8,\"<u>\":9,\"a\":10,"
    "\"aa\":11,\"c>\":12},\"merges\":[\"< c\",\"<c >\",\"< u\",\"<u >\",[\"a\",\"a\"],\"c >\",\"< c>\"]},\"added_tokens\":["
    "{\"id\":5,\"content\":\"<c>\",\"special\":true,\"normalized\":false},{\"id\":9,\"content\":\"<u>\",\"special\":false,"
    "\"normalized\":false}]}";

static wk_tokenizer *make_json(const char *text, const char *patch) {
    json_t *j = parse(text, strlen(text));
    wk_tokenizer *t = NULL;
    if (patch) {
        json_t *p = parse(patch, strlen(patch));
        json_object_update_recursive(j, p);
        json_decref(p);
    }
    wick_status st = wk_tokenizer_from_json(j, NULL, "small/tokenizer.json", &t);
    assert_true(!st == (t != NULL));
    json_decref(j);
    return t;
}

/* ids of spans given as text, '|' between them, the first trusted, the second not, ... */
static void check_spans(const wk_tokenizer *t, const char *spans, const char *want) {
    wk_span span[8] = { { "", 0, true } };
    wk_ids ids = { 0 };
    char got[200] = "";
    size_t n = 0, used = 0;
    for (const char *p = spans;; p++) {
        if (!span[n].len) span[n] = (wk_span){ p, 0, n % 2 == 0 };
        if (!*p) break;
        if (*p == '|') n++; else span[n].len++;
    }
    assert_int_equal(wk_tokenize(t, span, n + 1, false, &ids), WICK_OK);
    for (size_t i = 0; i < ids.len; i++) used += (size_t)snprintf(got + used, sizeof got - used, i ? " %d" : "%d", ids.ptr[i]);
    if (strcmp(got, want)) fail_msg("\"%s\": got %s, want %s", spans, got, want);
    wk_ids_free(&ids);
}

static void test_provenance(void **state) {
    (void)state;
    static const struct { const char *spans, *want; } all[] = {
        { "<c>", "5" }, { "|<c>", "4 3" }, { "<|c>", "4 3" }, { "<c|>", "4 3" }, { "<|c|>", "4 3" }, { "a||a", "11" },
        { "a|<c>|<c>", "10 4 3 5" }, { "<c>|<c>", "5 4 3" }, { "|<u>", "9" }, { "<|u|>", "9" }, { "a|a", "11" }, { "|?", "0" },
        { "", "" }, { "||", "" },
        { "<||c>", "5" },  /* two trusted spans with nothing between them */
        { "<c><c>", "5 5" }, { "|<c><u><c>", "4 3 9 4 3" },
    };
    static const char *const patch[] = { NULL, "{\"model\":{\"ignore_merges\":true}}" };
    for (int k = 0; k < 2; k++) {
        wk_tokenizer *t = make_json(small, patch[k]);
        if (!t) fail_msg("%s", wick_last_error());
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) check_spans(t, all[i].spans, all[i].want);
        assert_int_equal(wk_tokenizer_kind(t, 5), WK_TOKEN_CONTROL);
        assert_int_equal(wk_tokenizer_kind(t, 9), WK_TOKEN_USER);
        assert_int_equal(wk_tokenizer_kind(t, 0), WK_TOKEN_UNKNOWN);
        assert_int_equal(wk_tokenizer_kind(t, 1), WK_TOKEN_NORMAL);
        assert_int_equal(wk_tokenizer_kind(t, -1), WK_TOKEN_UNUSED);
        assert_int_equal(wk_tokenizer_kind(t, 13), WK_TOKEN_UNUSED);
        assert_int_equal(wk_tokenizer_n_vocab(t), 13);
        assert_true(wk_str_eq(wk_tokenizer_entry(t, 9), "<u>"));
        assert_true(wk_str_eq(wk_tokenizer_entry(t, 13), ""));
        assert_true(wk_str_eq(wk_tokenizer_bytes(t, -7), ""));
        assert_int_equal(wk_tokenizer_find(t, "<c", 2), 4);
        assert_int_equal(wk_tokenizer_find(t, "<d", 2), -1);
        assert_int_equal(wk_tokenizer_find(t, "", 0), -1);
        assert_int_equal(wk_tokenizer_bos(t), -1);
        wk_tokenizer_free(t);
    }
}

/* A word that was met in trusted text and comes again in the request's is found in the call's table of words: same ids. */
static void test_words_again(void **state) {
    (void)state;
    wk_tokenizer *t = make_json(small, "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}}");
    wk_buf b = { 0 };
    wk_ids ids = { 0 };
    for (int i = 0; i < 300; i++) wk_buf_str(&b, "aaa <c> ");
    wk_span span[] = { { b.ptr, b.len, false }, { b.ptr, b.len, true } };
    assert_int_equal(wk_tokenize(t, span, 2, false, &ids), WICK_OK);
    assert_int_equal(ids.len, 300 * 4 + 300 * 3);
    assert_int_equal(ids.ptr[2], 4);
    assert_int_equal(ids.ptr[1200 + 2], 5);
    wk_ids_free(&ids);
    wk_buf_free(&b);
    wk_tokenizer_free(t);
}

/* ---- several threads ---- */

typedef struct shared { const wk_tokenizer *t; wk_buf text; wk_ids want; int wrong[8]; } shared;

static void on_thread(const wk_team *team, void *arg) {
    shared *s = arg;
    for (int round = 0; round < 50; round++) {
        wk_ids ids = { 0 };
        size_t from = 8 * (size_t)((team->i + round) % 3);  /* whole words in other orders */
        wk_span span = { s->text.ptr + from, s->text.len - from, true };
        wick_status st = wk_tokenize(s->t, &span, 1, false, &ids);
        if (st || ids.len > s->want.len || memcmp(ids.ptr, s->want.ptr + s->want.len - ids.len, ids.len * sizeof *ids.ptr))
            s->wrong[team->i]++;
        wk_ids_free(&ids);
    }
}

static void test_threads(void **state) {
    (void)state;
    enum { N = 6 };
    wk_tokenizer *t = make_json(small, "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}}");
    wk_pool *pool;
    shared s = { .t = t };
    for (int i = 0; i < 300; i++) wk_buf_str(&s.text, i % 3 ? "aaa <c> " : "<u>cua  ");
    wk_span span = { s.text.ptr, s.text.len, true };
    assert_int_equal(wk_tokenize(t, &span, 1, false, &s.want), WICK_OK);
    assert_int_equal(wk_pool_new(N, &pool), WICK_OK);
    wk_pool_run(pool, on_thread, &s);
    wk_pool_free(pool);
    for (int i = 0; i < N; i++) assert_int_equal(s.wrong[i], 0);
    wk_ids_free(&s.want);
    wk_buf_free(&s.text);
    wk_tokenizer_free(t);
}

/* ---- bad input ---- */

static void test_bad_json(void **state) {
    (void)state;
    static const struct { const char *patch; wick_status status; const char *words; } all[] = {
        { "{\"model\":null}", WICK_E_FORMAT, "no model" },
        { "{\"model\":{\"type\":\"Odd\"}}", WICK_E_UNSUPPORTED, "the model \"Odd\"" },
        { "{\"model\":{\"type\":\"Unigram\"}}", WICK_E_FORMAT, "model.vocab must be an array" },
        { "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"zz\"}}", WICK_E_FORMAT, "model.unk_token \"zz\"" },
        { "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"\"}}", WICK_E_FORMAT, "no unknown token" },
        { "{\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":-1}}", WICK_E_FORMAT, "max_input_chars_per_word" },
        { "{\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":2}}", WICK_E_FORMAT, "continuing_subword_prefix" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"\"}}", WICK_E_FORMAT, "model.unk_token" },
        { "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"zz\"}}", WICK_E_FORMAT, "\"zz\" is not in the vocabulary" },
        { "{\"model\":{\"type\":3}}", WICK_E_FORMAT, "model.type" },
        { "{\"model\":{\"vocab\":[]}}", WICK_E_FORMAT, "model.vocab" },
        { "{\"model\":{\"vocab\":{\"z\":\"1\"}}}", WICK_E_FORMAT, "model.vocab.z must be an id" },
        { "{\"model\":{\"vocab\":{\"z\":-1}}}", WICK_E_FORMAT, "id -1" },
        { "{\"model\":{\"vocab\":{\"z\":2147483648}}}", WICK_E_FORMAT, "2147483648" },
        { "{\"model\":{\"vocab\":{\"z\":9223372036854775807}}}", WICK_E_FORMAT, "9223372036854775807" },
        { "{\"model\":{\"vocab\":{\"z\":2147483646}}}", WICK_E_FORMAT, "far beyond" },
        { "{\"model\":{\"vocab\":{\"z\":1.5}}}", WICK_E_FORMAT, "model.vocab.z" },
        { "{\"model\":{\"vocab\":{\"z\":3}}}", WICK_E_FORMAT, "id 3 is both \">\" and \"z\"" },
        { "{\"model\":{\"merges\":null}}", WICK_E_FORMAT, "model.merges must be an array" },
        { "{\"model\":{\"merges\":[\"a\"]}}", WICK_E_FORMAT, "merge 0 is neither" },
        { "{\"model\":{\"merges\":[\"a b c\"]}}", WICK_E_FORMAT, "merge 0 is neither" },
        { "{\"model\":{\"merges\":[[\"a\"]]}}", WICK_E_FORMAT, "merge 0 is neither" },
        { "{\"model\":{\"merges\":[[\"a\",7]]}}", WICK_E_FORMAT, "merge 0 is neither" },
        { "{\"model\":{\"merges\":[\"a \"]}}", WICK_E_FORMAT, "merge 0 is neither" },
        { "{\"model\":{\"merges\":[\"a a\",\"q a\"]}}", WICK_E_FORMAT, "merge 1 (\"q\" + \"a\"): the first" },
        { "{\"model\":{\"merges\":[\"a q\"]}}", WICK_E_FORMAT, "the second" },
        { "{\"model\":{\"merges\":[\"a u\"]}}", WICK_E_FORMAT, "joined" },
        { "{\"model\":{\"unk_token\":\"zz\"}}", WICK_E_FORMAT, "model.unk_token \"zz\"" },
        { "{\"model\":{\"unk_token\":1}}", WICK_E_FORMAT, "model.unk_token must be a string" },
        { "{\"model\":{\"fuse_unk\":1}}", WICK_E_FORMAT, "model.fuse_unk must be true or false" },
        { "{\"model\":{\"dropout\":0.1}}", WICK_E_UNSUPPORTED, "dropout" },
        { "{\"model\":{\"continuing_subword_prefix\":\"##\"}}", WICK_E_FORMAT, "continuing_subword_prefix" },
        { "{\"model\":{\"continuing_subword_prefix\":7}}", WICK_E_FORMAT, "continuing_subword_prefix must be a string" },
        { "{\"model\":{\"end_of_word_suffix\":[]}}", WICK_E_FORMAT, "end_of_word_suffix must be a string" },
        { "{\"model\":{\"end_of_word_suffix\":\"0123456789012345678901234567890123456789012345678901234567890123<\"}}",
          WICK_E_UNSUPPORTED, "end_of_word_suffix has 65 bytes" },
        { "{\"model\":{\"end_of_word_suffix\":\"</w>\",\"byte_fallback\":true}}", WICK_E_UNSUPPORTED,
          "byte_fallback beside end_of_word_suffix" },
        { "{\"added_tokens\":{}}", WICK_E_FORMAT, "added_tokens must be an array" },
        { "{\"added_tokens\":[7]}", WICK_E_FORMAT, "added_tokens[0]" },
        { "{\"added_tokens\":[{\"content\":\"x\"}]}", WICK_E_FORMAT, "added_tokens.id" },
        { "{\"added_tokens\":[{\"id\":-2,\"content\":\"x\"}]}", WICK_E_FORMAT, "id -2" },
        { "{\"added_tokens\":[{\"id\":2000000,\"content\":\"x\"}]}", WICK_E_FORMAT, "id 2000000 is far beyond" },
        { "{\"added_tokens\":[{\"id\":20,\"content\":\"a\"}]}", WICK_E_FORMAT, "ids 10 and 20 are both spelled \"a\"" },
        { "{\"added_tokens\":[{\"id\":10,\"content\":\"b\"}]}", WICK_E_FORMAT, "id 10 is both \"a\" and \"b\"" },
        { "{\"added_tokens\":[{\"id\":20,\"content\":\"x\"},{\"id\":20,\"content\":\"x\",\"special\":true}]}", WICK_E_FORMAT,
          "has \"x\" twice" },
        { "{\"added_tokens\":[{\"id\":20,\"content\":\"x\",\"lstrip\":0}]}", WICK_E_FORMAT, "added_tokens.lstrip" },
        { "{\"normalizer\":[]}", WICK_E_FORMAT, "normalizer must be an object" },
        { "{\"normalizer\":{\"type\":\"Odd\"}}", WICK_E_UNSUPPORTED, "normalizer: the step \"Odd\"" },
        { "{\"normalizer\":{\"type\":\"Precompiled\"}}", WICK_E_FORMAT, "normalizer.precompiled_charsmap must be a string" },
        { "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AA=*\"}}", WICK_E_FORMAT, "must be base64" },
        { "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAAA\"}}", WICK_E_FORMAT, "must be base64" },
        { "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}}", WICK_E_FORMAT, "too short" },
        { "{\"normalizer\":{\"type\":\"BertNormalizer\",\"lowercase\":1}}", WICK_E_FORMAT, "normalizer.lowercase" },
        { "{\"normalizer\":{\"type\":\"BertNormalizer\",\"strip_accents\":\"no\"}}", WICK_E_FORMAT, "normalizer.strip_accents" },
        { "{\"normalizer\":{\"type\":\"Replace\",\"content\":\"\"}}", WICK_E_FORMAT, "normalizer.pattern" },
        { "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":{}}}", WICK_E_FORMAT, "normalizer.normalizers" },
        { "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[null]}}", WICK_E_FORMAT, "normalizer.normalizers" },
        { "{\"pre_tokenizer\":{\"type\":\"Odd\"}}", WICK_E_UNSUPPORTED, "pre_tokenizer: the step \"Odd\"" },
        { "{\"pre_tokenizer\":{\"type\":\"FixedLength\",\"length\":0}}", WICK_E_FORMAT, "pre_tokenizer.length" },
        { "{\"pre_tokenizer\":{\"type\":\"FixedLength\"}}", WICK_E_FORMAT, "pre_tokenizer.length" },
        { "{\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":7}}", WICK_E_FORMAT, "decoder.suffix must be a string" },
        { "{\"decoder\":{\"type\":\"BPEDecoder\",\"suffix\":\"\"}}", WICK_E_FORMAT, "decoder.suffix must be one character" },
        { "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"BPEDecoder\"},{\"type\":\"ByteLevel\"}]}}",
          WICK_E_UNSUPPORTED, "BPEDecoder beside other steps" },
        { "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"BPEDecoder\"}]}}",
          WICK_E_UNSUPPORTED, "BPEDecoder beside other steps" },
        { "{\"decoder\":{\"type\":\"WordPiece\",\"prefix\":7}}", WICK_E_FORMAT, "decoder.prefix" },
        { "{\"decoder\":{\"type\":\"WordPiece\",\"cleanup\":7}}", WICK_E_FORMAT, "decoder.cleanup" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"}}}", WICK_E_UNSUPPORTED, "cannot be compiled" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"}}}", WICK_E_UNSUPPORTED, "intersection" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a[b]]\"}}}", WICK_E_UNSUPPORTED,
          "class inside a class" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\h\"}}}", WICK_E_UNSUPPORTED, "escape" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a{1,2}+\"}}}", WICK_E_UNSUPPORTED, "possessive" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a(?i)b\"}}}", WICK_E_UNSUPPORTED, "in the middle" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?m:a)\"}}}", WICK_E_UNSUPPORTED, "option m" },
        { "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Odd\"}}", WICK_E_UNSUPPORTED,
          "\"Odd\"" },
        { "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}}", WICK_E_FORMAT, "one character" },
        { "{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"now\"}}", WICK_E_FORMAT,
          "prepend_scheme" },
        { "{\"decoder\":{\"type\":\"CTC\",\"pad_token\":\"\"}}", WICK_E_FORMAT, "decoder.pad_token must be" },
        { "{\"decoder\":{\"type\":\"CTC\",\"word_delimiter_token\":\"\"}}", WICK_E_FORMAT, "decoder.word_delimiter_token must be" },
        { "{\"decoder\":{\"type\":\"CTC\",\"cleanup\":\"yes\"}}", WICK_E_FORMAT, "decoder.cleanup must be true or false" },
        { "{\"decoder\":{\"type\":\"Odd\"}}", WICK_E_UNSUPPORTED, "decoder: the step \"Odd\"" },
        { "{\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"\"}}", WICK_E_UNSUPPORTED, "decoder" },
        { "{\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}}", WICK_E_FORMAT, "decoder.start" },
        { "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},"
          "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":1}]}}",
          WICK_E_UNSUPPORTED, "Strip after Fuse" },
        { "{\"post_processor\":{\"type\":\"Odd\"}}", WICK_E_UNSUPPORTED, "post_processor: the step \"Odd\"" },
        { "{\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\",99],\"sep\":[\"a\",1]}}", WICK_E_FORMAT,
          "id 99 is outside" },
        { "{\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"a\",1]}}", WICK_E_FORMAT, "post_processor.cls" },
        { "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"q\"}}],"
          "\"special_tokens\":{}}}", WICK_E_FORMAT, "no ids for \"q\"" },
        { "{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":\"$A\"}}", WICK_E_FORMAT, "post_processor.single" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *j = parse(small, strlen(small)), *p = parse(all[i].patch, strlen(all[i].patch));
        wk_tokenizer *t = NULL;
        if (json_is_null(json_object_get(p, "model"))) json_object_update(j, p); else json_object_update_recursive(j, p);
        wick_status st = wk_tokenizer_from_json(j, NULL, "dir/tokenizer.json", &t);
        if (st != all[i].status || !says(all[i].words) || !says("dir/tokenizer.json") || t)
            fail_msg("%s: status %d, \"%s\"", all[i].patch, (int)st, wick_last_error());
        json_decref(j);
        json_decref(p);
    }
    wk_tokenizer *t;
    json_t *j = json_array();
    assert_int_equal(wk_tokenizer_from_json(j, NULL, "x", &t), WICK_E_FORMAT);
    json_decref(j);
    assert_int_equal(wk_tokenizer_from_json(NULL, NULL, "x", &t), WICK_E_FORMAT);
}

/* A few bytes of a file that ask for as much memory as there is: replacements of replacements, many ids around every text. */
static void test_greedy_json(void **state) {
    (void)state;
    static const char *const list[] = { "normalizers", "decoders" }, *const stage[] = { "normalizer", "decoder" };
    wk_buf many = { 0 };
    wk_tokenizer *t;
    wk_span span = { "bab", 3, false };
    wk_ids ids = { 0 };
    for (int i = 0; i < 100000; i++) wk_buf_char(&many, 'a');
    for (int k = 0; k < 2; k++)
        for (int two = 0; two < 2; two++) {  /* a string of one byte has a way of its own */
            json_t *j = parse(small, strlen(small)), *steps = json_array();
            for (int i = 0; i < 6; i++)
                json_array_append_new(steps, json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern", "String",
                                                       two && i ? "aa" : "a", "content", many.ptr));
            json_object_set_new(j, stage[k], json_pack("{s:s,s:o}", "type", "Sequence", list[k], steps));
            wick_status st = wk_tokenizer_from_json(j, NULL, "x", &t);
            if (k) {
                assert_int_equal(st, WICK_E_UNSUPPORTED);
                assert_true(says("decoder: its replacements make far more"));
            } else {
                assert_int_equal(st, WICK_OK);
                assert_int_equal(wk_tokenize(t, &span, 1, false, &ids), WICK_E_UNSUPPORTED);
                assert_true(says("normalizer makes more than 1048768 bytes of a text of 3"));
                span.len = 1;  /* a text without the letter is not at fault */
                assert_int_equal(wk_tokenize(t, &span, 1, false, &ids), WICK_OK);
                span.len = 3;
                wk_ids_free(&ids);
                wk_tokenizer_free(t);
            }
            json_decref(j);
        }
    /* 30 times over, each byte as a character of two: 2^30 */
    json_t *j = parse(small, strlen(small)), *cuts = json_array(), *around = json_array(), *one = json_array();
    for (int i = 0; i < 30; i++)
        json_array_append_new(cuts, json_pack("{s:s,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 0));
    json_object_set_new(j, "pre_tokenizer", json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", cuts));
    if (wk_tokenizer_from_json(j, NULL, "x", &t)) fail_msg("%s", wick_last_error());
    assert_int_equal(wk_tokenize(t, &(wk_span){ "\xC3\xA9", 2, false }, 1, false, &ids), WICK_E_UNSUPPORTED);
    assert_true(says("pre_tokenizer makes more than 1048704 bytes of a text of 2"));
    wk_ids_free(&ids);
    wk_tokenizer_free(t);
    json_object_del(j, "pre_tokenizer");
    for (int i = 0; i < 100; i++) {
        json_array_append_new(around, json_pack("{s:{s:s}}", "SpecialToken", "id", "q"));
        json_array_append_new(one, json_integer(1));
    }
    json_object_set_new(j, "post_processor", json_pack("{s:s,s:o,s:{s:{s:o}}}", "type", "TemplateProcessing", "single", around,
                                                       "special_tokens", "q", "ids", one));
    assert_int_equal(wk_tokenizer_from_json(j, NULL, "x", &t), WICK_E_UNSUPPORTED);
    assert_true(says("post_processor puts more than 1024 tokens"));
    json_decref(j);
    wk_buf_free(&many);
}

/* Every id that ends a turn is looked through for each token: there may not be thousands. */
static void test_many_ends(void **state) {
    (void)state;
    json_t *j = parse(small, strlen(small)), *vocab = json_object_get(json_object_get(j, "model"), "vocab");
    wk_tokenizer *t;
    char key[16];
    for (int i = 0; i < 1100; i++) {
        snprintf(key, sizeof key, "x%d", i);
        json_object_set_new(vocab, key, json_integer(100 + i));
    }
    if (wk_tokenizer_from_json(j, NULL, "x", &t)) fail_msg("%s", wick_last_error());
    for (int i = 0; i < 1024; i++) assert_int_equal(wk_tokenizer_add_end(t, 100 + i), WICK_OK);
    assert_int_equal(wk_tokenizer_add_end(t, 100), WICK_OK);
    assert_int_equal(wk_tokenizer_add_end(t, 1150), WICK_E_UNSUPPORTED);
    assert_true(says("more than 1024 ids end a turn"));
    wk_tokenizer_free(t);
    json_decref(j);
}

static void test_deep_json(void **state) {
    (void)state;
    wk_buf b = { 0 };
    for (int i = 0; i < 600; i++) wk_buf_str(&b, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (int i = 0; i < 600; i++) wk_buf_str(&b, "]}");
    json_t *j = parse(small, strlen(small));
    wk_tokenizer *t;
    json_object_set_new(j, "pre_tokenizer", parse(b.ptr, b.len));
    assert_int_equal(wk_tokenizer_from_json(j, NULL, "x", &t), WICK_E_FORMAT);
    assert_true(says("nested"));
    json_t *many = json_array();
    for (int i = 0; i < 70; i++) json_array_append_new(many, parse("{\"type\":\"WhitespaceSplit\"}", 26));
    json_object_set_new(j, "pre_tokenizer", json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", many));
    assert_int_equal(wk_tokenizer_from_json(j, NULL, "x", &t), WICK_E_UNSUPPORTED);
    assert_true(says("more than 64 steps"));
    json_decref(j);
    wk_buf_free(&b);
}

static void test_config(void **state) {
    (void)state;
    static const struct { const char *config; int bos, eos, n; const char *error; } all[] = {
        { "{\"bos_token\":\"<c>\",\"eos_token\":{\"content\":\"<u>\"},\"add_bos_token\":true,\"add_eos_token\":true}", 5, 9, 3,
          NULL },
        { "{\"bos_token\":null,\"eos_token\":\"<c>\",\"add_bos_token\":true}", -1, 5, 1, NULL },
        { "{\"bos_token\":\"<c>\"}", 5, -1, 1, NULL },
        { "{\"bos_token\":\"<zz>\"}", 0, 0, 0, "bos_token \"<zz>\"" },
        { "{\"eos_token\":7}", 0, 0, 0, "tokenizer_config.eos_token" },
        { "{\"add_bos_token\":\"yes\"}", 0, 0, 0, "tokenizer_config.add_bos_token" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        json_t *j = parse(small, strlen(small)), *config = parse(all[i].config, strlen(all[i].config));
        wk_tokenizer *t = NULL;
        wk_ids ids = { 0 };
        wick_status st = wk_tokenizer_from_json(j, config, "x", &t);
        json_decref(j);
        json_decref(config);
        if (all[i].error) {
            assert_int_equal(st, WICK_E_FORMAT);
            assert_true(says(all[i].error));
            continue;
        }
        if (st) fail_msg("%s", wick_last_error());
        assert_int_equal(wk_tokenizer_bos(t), all[i].bos);
        assert_int_equal(wk_tokenizer_eos(t), all[i].eos);
        wk_span span = { "a", 1, true };
        assert_int_equal(wk_tokenize(t, &span, 1, true, &ids), WICK_OK);
        assert_int_equal(ids.len, all[i].n);
        wk_ids_free(&ids);
        wk_tokenizer_free(t);
    }
}

/* ---- GGUF files made here ---- */

static void put_u32(wk_buf *b, uint32_t v) { wk_buf_add(b, &v, 4); }
static void put_u64(wk_buf *b, uint64_t v) { wk_buf_add(b, &v, 8); }
static void put_text(wk_buf *b, const char *s) { put_u64(b, strlen(s)); wk_buf_str(b, s); }
static void put_key(wk_buf *b, const char *key, wk_gguf_type type) { put_text(b, key); put_u32(b, type); }
static void put_array(wk_buf *b, const char *key, wk_gguf_type type, uint64_t n) {
    put_key(b, key, WK_GGUF_ARR);
    put_u32(b, type);
    put_u64(b, n);
}

static void put_int_key(wk_buf *b, const char *key, uint32_t v) { put_key(b, key, WK_GGUF_U32); put_u32(b, v); }
static void put_bool_key(wk_buf *b, const char *key, bool v) { put_key(b, key, WK_GGUF_BOOL); wk_buf_char(b, v); }
static void put_str_key(wk_buf *b, const char *key, const char *v) { put_key(b, key, WK_GGUF_STR); put_text(b, v); }
/* words: entries with '|' between them */
static void put_strings(wk_buf *b, const char *key, const char *words) {
    uint64_t n = 1;
    for (const char *p = words; *p; p++) n += *p == '|';
    put_array(b, key, WK_GGUF_STR, n);
    for (const char *p = words, *end; n--; p = end + 1) {
        end = strchrnul(p, '|');
        put_u64(b, (uint64_t)(end - p));
        wk_buf_add(b, p, (size_t)(end - p));
    }
}
static void put_ints(wk_buf *b, const char *key, const char *digits) {
    put_array(b, key, WK_GGUF_I32, strlen(digits));
    for (; *digits; digits++) put_u32(b, (uint32_t)(*digits - '0'));
}
static void put_floats(wk_buf *b, const char *key, size_t n, float first, float step) {
    put_array(b, key, WK_GGUF_F32, n);
    for (size_t i = 0; i < n; i++) { float v = first + step * (float)i; wk_buf_add(b, &v, 4); }
}

/* A key of a file: as it should be, or as a row of a table wants it. kind: s string, S strings, I ints by digit, i int, b bool,
 * F scores from -v down, N and X scores that are NaN and infinite, U bytes, - left out. */
typedef struct gguf_key { const char *name; char kind; const char *text; long v; } gguf_key;

static const char bytes_tokens[] = "a|b|c|ab|abc|\xC4\xA0|<c>|<u>|\xC4\xA0" "a|d|<|>|<s>";
static const gguf_key bpe_keys[] = {
    { "tokenizer.ggml.model", 's', "gpt2", 0 }, { "tokenizer.ggml.pre", 's', "gpt-2", 0 },
    { "tokenizer.ggml.tokens", 'S', bytes_tokens, 0 },
    { "tokenizer.ggml.token_type", 'I', "1111113411113", 0 }, { "tokenizer.ggml.merges", 'S', "a b|ab c|\xC4\xA0 a", 0 },
    { "tokenizer.ggml.bos_token_id", 'i', NULL, 12 }, { "tokenizer.ggml.eos_token_id", 'i', NULL, 6 },
    { "tokenizer.ggml.add_bos_token", 'b', NULL, 1 },
};
static const gguf_key spm_keys[] = {
    { "tokenizer.ggml.model", 's', "llama", 0 },
    { "tokenizer.ggml.tokens", 'S', "<unk>|<s>|</s>|<0x41>|\xE2\x96\x81|a|b|ab|\xE2\x96\x81" "a|<c>", 0 },
    { "tokenizer.ggml.token_type", 'I', "2336111113", 0 }, { "tokenizer.ggml.scores", 'F', NULL, 10 },
    { "tokenizer.ggml.bos_token_id", 'i', NULL, 1 }, { "tokenizer.ggml.eos_token_id", 'i', NULL, 2 },
    { "tokenizer.ggml.unknown_token_id", 'i', NULL, 0 },
};

static void put_any(wk_buf *b, const gguf_key *k) {
    switch (k->kind) {
    case 's': put_str_key(b, k->name, k->text); break;
    case 'S': put_strings(b, k->name, k->text); break;
    case 'I': put_ints(b, k->name, k->text); break;
    case 'i': put_int_key(b, k->name, (uint32_t)k->v); break;
    case 'b': put_bool_key(b, k->name, k->v); break;
    case 'F': put_floats(b, k->name, (size_t)k->v, -1, -1); break;
    case 'X': put_floats(b, k->name, (size_t)k->v, 1.0f / 0.0f, 0); break;
    case 'U':
        put_array(b, k->name, WK_GGUF_U8, strlen(k->text));
        wk_buf_str(b, k->text);
        break;
    case 'N': put_floats(b, k->name, (size_t)k->v, 0.0f / 0.0f, 0); break;
    }
}

/* A file with these keys, except that change stands in for the one of its name (or is added). */
static void build(wk_buf *b, const gguf_key *keys, size_t n, const gguf_key *change) {
    bool done = !change;
    uint64_t count = 0;
    wk_buf body = { 0 };
    for (size_t i = 0; i <= n; i++) {
        const gguf_key *k = i < n ? &keys[i] : done ? NULL : change;
        if (k && change && i < n && !strcmp(k->name, change->name)) { k = change; done = true; }
        if (!k || k->kind == '-') continue;
        put_any(&body, k);
        count++;
    }
    b->len = 0;
    wk_buf_str(b, "GGUF");
    put_u32(b, 3);
    put_u64(b, 0);
    put_u64(b, count);
    wk_buf_add(b, body.ptr, body.len);
    wk_buf_free(&body);
}

static wick_status load(const wk_buf *b, opened *o) {
    *o = (opened){ 0 };
    wick_status st = wk_gguf_open_memory((const uint8_t *)b->ptr, b->len, "made.gguf", &o->g);
    return st ? st : wk_tokenizer_from_gguf(o->g, &o->t);
}

#define COUNT(a) (sizeof (a) / sizeof *(a))

static void test_gguf_small(void **state) {
    (void)state;
    wk_buf b = { 0 };
    opened o;
    build(&b, bpe_keys, COUNT(bpe_keys), NULL);
    if (load(&b, &o)) fail_msg("%s", wick_last_error());
    check_spans(o.t, "abc a", "4 8");
    check_spans(o.t, "<c>|<c>|abd", "6 10 2 11 3 9");
    check_spans(o.t, "a|<u>c", "0 7 2");
    assert_true(wk_str_eq(wk_tokenizer_bytes(o.t, 8), " a"));
    assert_true(wk_str_eq(wk_tokenizer_bytes(o.t, 6), "<c>"));
    assert_true(wk_tokenizer_is_end(o.t, 6));
    wk_ids ids = { 0 };
    assert_int_equal(wk_tokenize(o.t, NULL, 0, true, &ids), WICK_OK);
    assert_int_equal(ids.len, 1);
    assert_int_equal(ids.ptr[0], 12);
    wk_ids_free(&ids);
    close_it(&o);
    build(&b, spm_keys, COUNT(spm_keys), NULL);
    if (load(&b, &o)) fail_msg("%s", wick_last_error());
    check_spans(o.t, "ab a", "4 7 8");        /* "ab" has a better score than the mark with a */
    check_spans(o.t, "a|<s>A", "8 0 0 0 3");  /* the byte token for A; for the rest there is only the unknown token */
    check_spans(o.t, "<s>a", "1 8");
    assert_true(wk_str_eq(wk_tokenizer_bytes(o.t, 3), "A"));
    assert_true(wk_str_eq(wk_tokenizer_bytes(o.t, 8), " a"));
    close_it(&o);
    static const gguf_key none[] = { { "tokenizer.ggml.model", 's', "no_vocab", 0 } };
    build(&b, none, 1, NULL);
    assert_int_equal(load(&b, &o), WICK_OK);
    assert_null(o.t);
    close_it(&o);
    build(&b, NULL, 0, NULL);
    assert_int_equal(load(&b, &o), WICK_OK);
    assert_null(o.t);
    close_it(&o);
    wk_buf_free(&b);
}

static void test_bad_gguf(void **state) {
    (void)state;
#define T "tokenizer.ggml."
    static const struct { bool spm; gguf_key change; wick_status status; const char *words; } all[] = {
        { false, { T "model", 's', "rwkv", 0 }, WICK_E_UNSUPPORTED, "\"rwkv\"" },
        { false, { T "model", 's', "bert", 0 }, WICK_E_FORMAT, "no unknown token" },
        { false, { T "model", 's', "t5", 0 }, WICK_E_FORMAT, T "scores" },
        { false, { T "model", 's', "gemma4", 0 }, WICK_E_FORMAT, "<0x00>" },
        { false, { T "model", 'i', NULL, 7 }, WICK_E_FORMAT, T "model" },
        { false, { T "pre", 's', "never-heard-of", 0 }, WICK_E_UNSUPPORTED, "\"never-heard-of\"" },
        { false, { T "pre", 's', "sarvam-moe", 0 }, WICK_E_FORMAT, "<0x00>" },
        { false, { T "pre", 's', "", 0 }, WICK_E_UNSUPPORTED, T "pre" },
        { false, { T "pre", 's', " ", 0 }, WICK_E_UNSUPPORTED, T "pre" },
        { false, { T "pre", '-', NULL, 0 }, WICK_E_UNSUPPORTED, T "pre" },
        { false, { T "tokens", '-', NULL, 0 }, WICK_E_FORMAT, T "tokens" },
        { false, { T "tokens", 'I', "123", 0 }, WICK_E_FORMAT, "array of strings" },
        { false, { T "tokens", 'i', NULL, 5 }, WICK_E_FORMAT, T "tokens" },
        { false, { T "tokens", 'S', "a|b|c|ab|abc|x|<c>|<u>|a|d|<|>|<s>", 0 }, WICK_E_FORMAT,
          "ids 0 and 8 are both spelled \"a\"" },
        { false, { T "token_type", 'I', "11", 0 }, WICK_E_FORMAT, "has 2 elements, the vocabulary has 13" },
        { false, { T "token_type", 'I', "1111113411119", 0 }, WICK_E_FORMAT, "entry 12 has type 9" },
        { false, { T "token_type", 'S', "a|b", 0 }, WICK_E_FORMAT, "array of numbers" },
        { false, { T "merges", '-', NULL, 0 }, WICK_E_FORMAT, T "merges" },
        { false, { T "merges", 'I', "12", 0 }, WICK_E_FORMAT, T "merges" },
        { false, { T "merges", 'S', "a b|ab", 0 }, WICK_E_FORMAT, "merge 1 is \"ab\"" },
        { false, { T "merges", 'S', "a b|ab ", 0 }, WICK_E_FORMAT, "merge 1 is" },
        { false, { T "merges", 'S', "a b|x y", 0 }, WICK_E_FORMAT, "merge 1 (\"x\" + \"y\")" },
        { false, { T "bos_token_id", 'i', NULL, 13 }, WICK_E_FORMAT, T "bos_token_id" },
        { false, { T "bos_token_id", 'i', NULL, 2147483648L }, WICK_E_FORMAT, "2147483648" },
        { false, { T "bos_token_id", 's', "1", 0 }, WICK_E_FORMAT, T "bos_token_id" },
        { false, { T "bos_token_id", '-', NULL, 0 }, WICK_E_FORMAT, T "add_bos_token" },
        { false, { T "add_eos_token", 'i', NULL, 1 }, WICK_E_FORMAT, T "add_eos_token" },
        { true, { T "scores", '-', NULL, 0 }, WICK_E_FORMAT, T "scores" },
        { true, { T "scores", 'F', NULL, 9 }, WICK_E_FORMAT, "has 9 elements, the vocabulary has 10" },
        { true, { T "scores", 'N', NULL, 10 }, WICK_E_FORMAT, "not a number" },
        { true, { T "scores", 'S', "a|b", 0 }, WICK_E_FORMAT, "array of numbers" },
        { true, { T "tokens", 'S', "<unk>|<s>|</s>|<0xZZ>|m|a|b|ab|ma|<c>", 0 }, WICK_E_FORMAT, "\"<0xZZ>\"" },
        { true, { T "tokens", 'S', "<unk>|<s>|</s>|<0x100>|m|a|b|ab|ma|<c>", 0 }, WICK_E_FORMAT, "\"<0x100>\"" },
        { true, { T "token_type", 'I', "3336111113", 0 }, WICK_OK, "" },  /* unknown_token_id says which it is */
    };
    wk_buf b = { 0 };
    opened o;
    for (size_t i = 0; i < COUNT(all); i++) {
        if (all[i].spm)
            build(&b, spm_keys, COUNT(spm_keys), &all[i].change);
        else
            build(&b, bpe_keys, COUNT(bpe_keys), &all[i].change);
        wick_status st = load(&b, &o);
        if (st != all[i].status || (st && !says(all[i].words)) || (st && o.t))
            fail_msg("row %zu: status %d, \"%s\"", i, (int)st, wick_last_error());
        if (st) assert_true(says("made.gguf"));
        close_it(&o);
    }
    /* neither byte tokens nor an unknown token */
    static const gguf_key bare[] = {
        { T "model", 's', "llama", 0 }, { T "tokens", 'S', "a|b", 0 }, { T "token_type", 'I', "11", 0 },
        { T "scores", 'F', NULL, 2 },
    };
    build(&b, bare, COUNT(bare), NULL);
    assert_int_equal(load(&b, &o), WICK_E_FORMAT);
    assert_true(says("<0x00>"));
    close_it(&o);
    /* entries that are not UTF-8 are kept: nothing can give them, and they decode to what they are */
    static const gguf_key odd = { T "tokens", 'S', "a|b|c|ab|abc|\xC4\xA0|<c>|<u>|\xC4\xA0" "a|\xFF\xFE|<|>|<s>", 0 };
    build(&b, bpe_keys, COUNT(bpe_keys), &odd);
    assert_int_equal(load(&b, &o), WICK_OK);
    assert_true(wk_str_eq(wk_tokenizer_bytes(o.t, 9), "\xFF\xFE"));
    close_it(&o);
    wk_buf_free(&b);
}

/* ---- unigram and WordPiece: what their files may say wrongly ---- */

static const gguf_key t5_keys[] = {
    { "tokenizer.ggml.model", 's', "t5", 0 },
    { "tokenizer.ggml.tokens", 'S', "<unk>|</s>|\xE2\x96\x81|a|b|ab|\xE2\x96\x81" "a|<u>|\xFF\xFE|n", 0 },
    { "tokenizer.ggml.token_type", 'I', "2311111415", 0 }, { "tokenizer.ggml.scores", 'F', NULL, 10 },
    { "tokenizer.ggml.eos_token_id", 'i', NULL, 1 }, { "tokenizer.ggml.add_space_prefix", 'b', NULL, 1 },
    { "tokenizer.ggml.remove_extra_whitespaces", 'b', NULL, 1 },
};
static const gguf_key bert_keys[] = {
    { "tokenizer.ggml.model", 's', "bert", 0 },
    { "tokenizer.ggml.tokens", 'S', "[UNK]|[CLS]|[SEP]|\xE2\x96\x81" "ab|c|\xE2\x96\x81|\xE2\x96\x81" "a|b|\xE2\x96\x81.|\xFF", 0 },
    { "tokenizer.ggml.token_type", 'I', "3331111111", 0 }, { "tokenizer.ggml.unknown_token_id", 'i', NULL, 0 },
    { "tokenizer.ggml.cls_token_id", 'i', NULL, 1 }, { "tokenizer.ggml.seperator_token_id", 'i', NULL, 2 },
};

static void check_added(const wk_tokenizer *t, const char *text, const char *want) {
    char got[200] = "";
    size_t used = 0;
    wk_ids ids = { 0 };
    wk_span span = { text, strlen(text), false };
    assert_int_equal(wk_tokenize(t, &span, 1, true, &ids), WICK_OK);
    for (size_t i = 0; i < ids.len; i++) used += (size_t)snprintf(got + used, sizeof got - used, i ? " %d" : "%d", ids.ptr[i]);
    if (strcmp(got, want)) fail_msg("\"%s\": got %s, want %s", text, got, want);
    wk_ids_free(&ids);
}

static void test_gguf_models(void **state) {
    (void)state;
    wk_buf b = { 0 };
    opened o;
    build(&b, t5_keys, COUNT(t5_keys), NULL);
    if (load(&b, &o)) fail_msg("%s", wick_last_error());
    check_added(o.t, " ab  a ", "2 5 6 1");       /* scores fall with the ids: the mark and "ab" cost 9, "_a" and "b" 12 */
    check_added(o.t, "xyz", "2 0 1");             /* unknown characters become one token, behind the mark */
    check_added(o.t, "n", "2 0 1");               /* an unused entry is none */
    check_added(o.t, "a<u>a", "6 7 6 1");
    check_added(o.t, "", "1");
    check_added(o.t, "  ", "1");
    check_added(o.t, "</s>", "2 0 1");            /* a request's text forms no control token */
    close_it(&o);
    build(&b, t5_keys, COUNT(t5_keys), &(gguf_key){ "tokenizer.ggml.add_eos_token", 'b', NULL, 0 });
    if (load(&b, &o)) fail_msg("%s", wick_last_error());
    check_added(o.t, "ab", "2 5");
    close_it(&o);
    build(&b, bert_keys, COUNT(bert_keys), NULL);
    if (load(&b, &o)) fail_msg("%s", wick_last_error());
    check_added(o.t, "ABC abb \xC3\xA1.", "1 3 4 3 7 6 8 2");
    check_added(o.t, "cb", "1 5 4 7 2");          /* the mark by itself, then pieces */
    check_added(o.t, "abx [SEP]", "1 0 0 0 0 2"); /* no pieces to the end: unknown; brackets stand alone */
    wk_buf out = { 0 };
    wk_decoder d;
    wk_decoder_init(&d, o.t, false);
    static const int32_t ids[] = { 1, 3, 4, 6, 8, 2 };
    for (size_t i = 0; i < COUNT(ids); i++) wk_decode(&d, ids[i], &out);
    wk_decode_end(&d, &out);
    assert_string_equal(out.ptr, "abc a.");
    wk_buf_free(&out);
    close_it(&o);
    wk_buf_free(&b);
}

/* Names under which merges run over characters: spaces as marks and lines by themselves (as in Gemma 4), or words between white
 * space. All 256 byte tokens, so that every text has ids. */
static void test_pre_of_characters(void **state) {
    (void)state;
    static const struct { const char *model, *pre; bool lower; const char *text, *want, *decoded; } all[] = {
        /* entries after the bytes: 256 a, 257 b, 258 mark, 259 ab, 260 mark a, 261 \n, 262 \n\n, 263 u-umlaut, 264 <c> */
        { "gpt2", "sarvam-moe", false, "ab  a\n\n\nb\xC3\xBC<c>A", "259 258 260 262 261 257 263 264 65",
          "ab  a\n\n\nb\xC3\xBC" "A" },
        { "gpt2", "granite-embed-multi-311m", false, "ab  a\n\n\nb\xC3\xBC", "264 259 258 260 262 261 257 263",
          "ab  a\n\n\nb\xC3\xBC" },
        { "gemma4", "gemma4", false, "ab  a\n", "264 259 258 260 261", "ab  a\n" },
        { "whitespace", "whitespace", false, " ab a\t\nb\xE3\x80\x80" "ab\xC3\xBC", "259 256 257 259 263", NULL },
        { "gpt2", "whitespace", false, "a b", "256 257", NULL },
        { "whitespace", "whitespace", true, "AB \xC3\x9C", "259 263", NULL },
        { "whitespace", "whitespace", false, "aA", "256 65", NULL },
    };
    wk_buf b = { 0 }, entries = { 0 }, types = { 0 }, out = { 0 };
    for (int k = 0; k < 256; k++) wk_buf_printf(&entries, "<0x%02X>|", (unsigned)k);
    wk_buf_str(&entries, "a|b|\xE2\x96\x81|ab|\xE2\x96\x81" "a|\n|\n\n|\xC3\xBC|<c>");
    for (int k = 0; k < 264; k++) wk_buf_char(&types, k < 256 ? '6' : '1');
    wk_buf_char(&types, '3');
    for (size_t i = 0; i < COUNT(all); i++) {
        const gguf_key keys[] = {
            { "tokenizer.ggml.model", 's', all[i].model, 0 }, { "tokenizer.ggml.pre", 's', all[i].pre, 0 },
            { "tokenizer.ggml.tokens", 'S', entries.ptr, 0 }, { "tokenizer.ggml.token_type", 'I', types.ptr, 0 },
            { "tokenizer.ggml.merges", 'S', "a b|\xE2\x96\x81 a|\n \n", 0 }, { "tokenizer.ggml.bos_token_id", 'i', NULL, 264 },
            { all[i].lower ? "tokenizer.ggml.normalizer.lowercase" : "unused", 'b', NULL, 1 },
        };
        char got[200] = "";
        size_t used = 0;
        opened o;
        wk_ids ids = { 0 };
        wk_decoder d;
        wk_span span = { all[i].text, strlen(all[i].text), true };
        build(&b, keys, COUNT(keys), NULL);
        if (load(&b, &o)) fail_msg("%s", wick_last_error());
        assert_int_equal(wk_tokenize(o.t, &span, 1, true, &ids), WICK_OK);
        for (size_t k = 0; k < ids.len; k++) used += (size_t)snprintf(got + used, sizeof got - used, k ? " %d" : "%d", ids.ptr[k]);
        if (strcmp(got, all[i].want)) fail_msg("%s, row %zu: got %s, want %s", all[i].pre, i, got, all[i].want);
        wk_decoder_init(&d, o.t, false);
        out.len = 0;
        for (size_t k = 0; k < ids.len; k++) wk_decode(&d, ids.ptr[k], &out);
        wk_decode_end(&d, &out);
        wk_buf_char(&out, 0);
        if (all[i].decoded && strcmp(out.ptr, all[i].decoded)) fail_msg("%s: decoded \"%s\"", all[i].pre, out.ptr);
        wk_ids_free(&ids);
        close_it(&o);
    }
    wk_buf_free(&b);
    wk_buf_free(&entries);
    wk_buf_free(&types);
    wk_buf_free(&out);
}

/* Every name that llama.cpp's converter writes for byte-level BPE: known, and its patterns compile and cover the text. */
static void test_pre_names(void **state) {
    (void)state;
    static const char *const all[] = {
        "a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe", "codeshell", "cohere2moe",
        "command-r", "dbrx", "deepseek-coder", "deepseek-llm", "deepseek-r1-qwen", "deepseek-v3", "default", "exaone",
        "exaone-moe", "exaone4", "f2llmv2", "falcon", "falcon-h1", "falcon3", "gigachat", "glm4", "glm5", "gpt-2", "gpt-4o",
        "gpt3-finnish", "granite-docling", "granite-embed-multi-97m", "grok-2", "hunyuan", "hunyuan-dense", "hy_v4", "jais",
        "jais-2", "jina-de", "jina-es", "jina-v1-en", "jina-v2-code", "jina-v2-de", "jina-v2-es", "jina-v5-nano", "joyai-llm",
        "kanana2", "kimi-k2", "kormo", "laguna", "lfm2", "llada-moe", "llama-bpe", "llama-v3", "llama3", "llama4", "megrez",
        "mellum", "mellum2", "midm-2.0", "minerva-7b", "minicpm5", "minimax-m2", "modern-bert", "mpt", "olmo", "phi-2",
        "pixtral", "poro-chat", "qwen2", "qwen35", "refact", "roberta-bpe", "seed-coder", "smaug-bpe", "smollm", "solar-open",
        "spark2_5", "stablelm2", "starcoder", "superbpe", "talkie", "tekken", "tiny_aya", "trillion", "ufakzeka", "viking",
        "youtu"
    };
    wk_buf b = { 0 }, out = { 0 };
    opened o;
    for (size_t i = 0; i < COUNT(all); i++) {
        build(&b, bpe_keys, COUNT(bpe_keys), &(gguf_key){ "tokenizer.ggml.pre", 's', all[i], 0 });
        if (load(&b, &o)) fail_msg("%s", wick_last_error());
        wk_ids ids = { 0 };
        wk_decoder d;
        wk_span span = { "abc a abcd ab  a<abc>d a", 24, false };
        assert_int_equal(wk_tokenize(o.t, &span, 1, false, &ids), WICK_OK);
        wk_decoder_init(&d, o.t, false);
        out.len = 0;
        for (size_t k = 0; k < ids.len; k++) wk_decode(&d, ids.ptr[k], &out);
        if (strcmp(out.ptr, "abc a abcd ab  a<abc>d a")) fail_msg("%s: %s", all[i], out.ptr);
        wk_ids_free(&ids);
        close_it(&o);
    }
    wk_buf_free(&b);
    wk_buf_free(&out);
}

/* What the less usual patterns cut, by tokens that a cut inside would break up. */
static void test_pre_cuts(void **state) {
    (void)state;
    static const struct { const char *pre, *text, *want; } all[] = {
        { "tiny_aya", "12345", "12|345" }, { "afmoe", "1234567", "1|234|567" }, { "superbpe", "1234567", "1|234|567" },
        { "minicpm5", "12345", "123|45" }, { "qwen2", "123", "1|2|3" }, { "deepseek-v3", "12345", "123|45" },
        { "gpt-2", "12345", "12345" }, { "deepseek-llm", "123456", "123456" }, { "falcon", "12345", "123|45" },
        { "seed-coder", "a1", "a|1" }, { "kimi-k2", "12345", "123|45" }, { "gpt-4o", "1234", "123|4" }, { "tekken", "12", "1|2" },
        { "chameleon", "12", "1|2" }, { "viking", "12", "1|2" }, { "bloom", "12", "12" }, { "youtu", "12", "1|2" },
        { "bailingmoe", "12", "1|2" }, { "exaone-moe", "12", "1|2" }, { "jais-2", "1234", "123|4" }, { "laguna", "12", "1|2" },
    };
    wk_buf b = { 0 }, entries = { 0 }, merges = { 0 };
    wk_buf_str(&entries, "1|2|3|4|5|6|7|a");
    for (int n = 2; n <= 7; n++)       /* every run of neighbouring digits is an entry, whichever it begins with */
        for (int from = 1; from + n <= 8; from++) {
            wk_buf_char(&entries, '|');
            for (int k = 0; k < n; k++) wk_buf_char(&entries, (char)('0' + from + k));
            for (int cut = 1; cut < n; cut++) {
                if (merges.len) wk_buf_char(&merges, '|');
                for (int k = 0; k < n; k++) wk_buf_printf(&merges, k == cut ? " %d" : "%d", from + k);
            }
        }
    for (size_t i = 0; i < COUNT(all); i++) {
        const gguf_key keys[] = {
            { "tokenizer.ggml.model", 's', "gpt2", 0 }, { "tokenizer.ggml.pre", 's', all[i].pre, 0 },
            { "tokenizer.ggml.tokens", 'S', entries.ptr, 0 }, { "tokenizer.ggml.merges", 'S', merges.ptr, 0 },
        };
        opened o;
        wk_ids ids = { 0 };
        wk_buf got = { 0 };
        wk_span span = { all[i].text, strlen(all[i].text), true };
        build(&b, keys, COUNT(keys), NULL);
        if (load(&b, &o)) fail_msg("%s", wick_last_error());
        assert_int_equal(wk_tokenize(o.t, &span, 1, false, &ids), WICK_OK);
        for (size_t k = 0; k < ids.len; k++) {
            wk_str e = wk_tokenizer_entry(o.t, ids.ptr[k]);
            if (k) wk_buf_char(&got, '|');
            wk_buf_add(&got, e.ptr, e.len);
        }
        if (strcmp(got.ptr, all[i].want))
            fail_msg("%s: \"%s\" became %s, not %s", all[i].pre, all[i].text, got.ptr, all[i].want);
        wk_buf_free(&got);
        wk_ids_free(&ids);
        close_it(&o);
    }
    wk_buf_free(&b);
    wk_buf_free(&entries);
    wk_buf_free(&merges);
}

static void test_bad_gguf_models(void **state) {
    (void)state;
#define T "tokenizer.ggml."
    static const struct { bool bert; gguf_key change; const char *words; } all[] = {
        { false, { T "scores", 'N', NULL, 10 }, "entry 0 is not a number" },
        { false, { T "scores", 'X', NULL, 10 }, "the score of entry 0" },
        { false, { T "scores", 'F', NULL, 9 }, "has 9 elements" },
        { false, { T "scores", '-', NULL, 0 }, T "scores" },
        { false, { T "token_type", 'I', "1311111411", 0 }, "neither an unknown token nor one for every byte" },
        { false, { T "precompiled_charsmap", 'I', "1234567", 0 }, "must be an array of bytes" },
        { false, { T "precompiled_charsmap", 'i', NULL, 5 }, T "precompiled_charsmap" },
        { false, { T "precompiled_charsmap", 'U', "1234567", 0 },
          T "precompiled_charsmap\": the table of replacements is damaged" },
        { false, { T "unknown_token_id", 'i', NULL, 10 }, T "unknown_token_id" },
        { false, { T "remove_extra_whitespaces", 'i', NULL, 1 }, T "remove_extra_whitespaces" },
        { true, { T "cls_token_id", 'i', NULL, 10 }, T "cls_token_id" },
        { true, { T "normalizer.lowercase", 'i', NULL, 10 }, T "normalizer.lowercase" },
        { true, { T "unknown_token_id", 'i', NULL, 2147483648L }, "2147483648" },
    };
#undef T
    wk_buf b = { 0 };
    opened o;
    for (size_t i = 0; i < COUNT(all); i++) {
        if (all[i].bert) build(&b, bert_keys, COUNT(bert_keys), &all[i].change);
        else build(&b, t5_keys, COUNT(t5_keys), &all[i].change);
        wick_status st = load(&b, &o);
        if (st != WICK_E_FORMAT || !says(all[i].words) || !says("made.gguf") || o.t)
            fail_msg("row %zu: status %d, \"%s\"", i, (int)st, wick_last_error());
        close_it(&o);
    }
    wk_buf long_one = { 0 };  /* a piece so long that a text of its like would take the square of its length */
    wk_buf_str(&long_one, "<unk>|</s>|\xE2\x96\x81|a|b|ab|c|<u>|d|");
    for (int i = 0; i < WK_MAX_PIECE + 1; i++) wk_buf_char(&long_one, 'a');
    static const char types[] = "2311111411";
    build(&b, t5_keys, COUNT(t5_keys), &(gguf_key){ "tokenizer.ggml.tokens", 'S', long_one.ptr, 0 });
    assert_int_equal(load(&b, &o), WICK_OK);  /* there it is an unused one */
    close_it(&o);
    gguf_key keys[COUNT(t5_keys)];
    memcpy(keys, t5_keys, sizeof keys);
    keys[1].text = long_one.ptr;
    keys[2].text = types;
    build(&b, keys, COUNT(keys), NULL);
    assert_int_equal(load(&b, &o), WICK_E_UNSUPPORTED);
    assert_true(says("entry 9 has 513 bytes"));
    close_it(&o);
    wk_buf_free(&long_one);
    wk_buf_free(&b);
}

static void test_bad_unigram_json(void **state) {
    (void)state;
    static const struct { const char *model; wick_status status; const char *words; } all[] = {
        { "[[\"a\",-1],[\"b\"]]", WICK_E_FORMAT, "model.vocab[1] must be [spelling, score]" },
        { "[[\"a\",-1],[\"b\",\"-2\"]]", WICK_E_FORMAT, "model.vocab[1]" },
        { "[[\"a\",-1],[7,-2]]", WICK_E_FORMAT, "model.vocab[1]" },
        { "[[\"a\",-1],{\"b\":1}]", WICK_E_FORMAT, "model.vocab[1]" },
        { "[[\"a\",-1],[\"a\",-2]]", WICK_E_FORMAT, "ids 0 and 1 are both spelled \"a\"" },
        { "[[\"a\",-1],[\"b\",-1e300]]", WICK_E_FORMAT, "the score of entry 1 (\"b\") is -1e+300" },
        { "[]", WICK_E_FORMAT, "model.vocab is empty" },
        { "[[\"a\",-1]],\"unk_id\":1", WICK_E_FORMAT, "model.unk_id 1 is outside the vocabulary of 1" },
        { "[[\"a\",-1]],\"unk_id\":-1", WICK_E_FORMAT, "model.unk_id: id -1" },
        { "[[\"a\",-1]],\"unk_id\":\"a\"", WICK_E_FORMAT, "model.unk_id" },
        { "[[\"a\",-1]]", WICK_E_FORMAT, "neither an unknown token nor one for every byte" },
        { "[[\"a\",-1]],\"byte_fallback\":true", WICK_E_FORMAT, "neither an unknown token nor one for every byte" },
        { "[[\"a\",-1]],\"unk_id\":0,\"alpha\":0.1", WICK_E_UNSUPPORTED, "model.alpha" },
    };
    for (size_t i = 0; i < COUNT(all); i++) {
        char text[400];
        wk_tokenizer *t = NULL;
        snprintf(text, sizeof text, "{\"model\":{\"type\":\"Unigram\",\"vocab\":%s}}", all[i].model);
        json_t *j = parse(text, strlen(text));
        wick_status st = wk_tokenizer_from_json(j, NULL, "dir/tokenizer.json", &t);
        if (st != all[i].status || !says(all[i].words) || !says("dir/tokenizer.json") || t)
            fail_msg("%s: status %d, \"%s\"", text, (int)st, wick_last_error());
        json_decref(j);
    }
}

/* A table of replacements of one block: "a" becomes text + 0, with one unit or byte of it spoilt. */
static void put_unit(uint8_t *p, uint32_t at, uint32_t unit) { memcpy(p + 4 + 4 * at, &unit, 4); }

static void test_bad_charsmap(void **state) {
    (void)state;
    enum { UNITS = 256, N = 4 + 4 * UNITS + 4, BASE = 0, VALUE = 0x100 };
    static const struct { const char *name; uint32_t at, unit; const char *words; } all[] = {
        { "right", UINT32_MAX, 0, NULL },
        { "the root's offset leads out", 0, 1u << 10 | 0x200, "an offset leads out of the array" },
        { "a node's offset leads out", 'a', 'a' | VALUE | 5u << 10 | 0x200, "an offset leads out of the array" },
        { "a value's offset leads out", 'a' ^ 1, 1u << 31 | 77, "a replacement's offset (77, limit 4)" },
        { "no value", 'a' ^ 1, 0, "a unit that should be a value is none" },
        { "a circle", 'b', 'b' | ('b' ^ BASE) << 10, "goes in a circle" },
        { "half a character", 0xC3, 0xC3 | VALUE | (0xC3 ^ ('a' ^ 1)) << 10, "ends inside a character" },
        { "no character", 0x80, 0x80 | 3 << 10, "not UTF-8" },
        { "a value inside a character", 'a' ^ 1, 1u << 31 | 1, "begins inside a character" },
    };
    wk_charsmap *m;
    uint8_t p[N] = { 0, 4, 0, 0 };
    for (size_t i = 0; i < COUNT(all); i++) {
        memset(p + 4, 0, sizeof p - 4);
        put_unit(p, 'a', 'a' | VALUE | 1u << 10);
        put_unit(p, 'a' ^ 1, 1u << 31);
        memcpy(p + 4 + 4 * UNITS, "\xC3\xA9\0", 4);
        if (all[i].at != UINT32_MAX) put_unit(p, all[i].at, all[i].unit);
        wick_status st = wk_charsmap_new(p, N, "dir/x: key", &m);
        if (all[i].words) {
            if (st != WICK_E_FORMAT || !says(all[i].words) || !says("dir/x: key") || m)
                fail_msg("%s: status %d, %s", all[i].name, (int)st, wick_last_error());
            continue;
        }
        wk_buf out = { 0 };
        if (st) fail_msg("%s: %s", all[i].name, wick_last_error());
        wk_charsmap_apply(m, false, (wk_str){ "bab", 3 }, &out);
        assert_string_equal(out.ptr, "b\xC3\xA9" "b");
        wk_buf_free(&out);
        wk_charsmap_free(m);
    }
    memset(p + 4, 0, sizeof p - 4);
    for (size_t n = 0; n < 5; n++) assert_int_equal(wk_charsmap_new(p, n, "x", &m), WICK_E_FORMAT);
    assert_int_equal(wk_charsmap_new(p, N - 4, "x", &m), WICK_E_FORMAT);
    assert_true(says("cut off"));
    p[1] = 3;
    assert_int_equal(wk_charsmap_new(p, N, "x", &m), WICK_E_FORMAT);
    assert_true(says("whole blocks"));
    p[1] = 4;
    p[N - 1] = 'x';
    assert_int_equal(wk_charsmap_new(p, N, "x", &m), WICK_E_FORMAT);
    assert_true(says("has no end"));
    p[N - 1] = 0;
    p[N - 2] = 0xFF;
    assert_int_equal(wk_charsmap_new(p, N, "x", &m), WICK_E_FORMAT);
    assert_true(says("not UTF-8"));
}

/* As ids come one by one, what has gone out is whole characters: the new kinds, over all texts of the steps. */
static void test_whole_characters(void **state) {
    (void)state;
    json_t *all, *d, *c;
    size_t i, k, n_kinds = 0, bad;
    if (wk_json_read("data/tokenizers/steps.json", 1 << 28, &all)) fail_msg("%s", wick_last_error());
    json_array_foreach(json_object_get(all, "tokenizers"), i, d) {
        const char *model = json_string_value(json_object_get(d, "model"));
        if (strncmp(model, "unigram", 7) && strncmp(model, "word", 4)) continue;
        json_t *j = whole_tokenizer(json_object_get(all, "models"), d);
        wk_tokenizer *t;
        if (wk_tokenizer_from_json(j, NULL, model, &t)) fail_msg("%s", wick_last_error());
        json_array_foreach(json_object_get(d, "cases"), k, c) {
            const json_t *ids = json_object_get(c, "ids");
            wk_buf out = { 0 };
            wk_decoder s;
            wk_decoder_init(&s, t, true);
            for (size_t m = 0; m < json_array_size(ids); m++) {
                wk_decode(&s, (int32_t)json_integer_value(json_array_get(ids, m)), &out);
                assert_true(!out.len || wk_utf8_valid(out.ptr, out.len, &bad));
            }
            wk_buf_free(&out);
        }
        n_kinds++;
        wk_tokenizer_free(t);
        json_decref(j);
    }
    assert_true(n_kinds > 15);
    json_decref(all);
}

/* ---- texts that are hard ---- */

static void test_bad_text(void **state) {
    (void)state;
    wk_tokenizer *t = make_json(small, NULL);
    wk_ids ids = { 0 };
    wk_span split[] = { { "a\xE2", 2, true }, { "\x82\xAC", 2, false } }, bad = { "aaa\xC3(", 5, true };
    wk_span huge = { "a", ((size_t)1 << 30) + 1, true };
    assert_int_equal(wk_tokenize(t, split, 2, false, &ids), WICK_OK);  /* a character over the border of two spans */
    assert_int_equal(ids.len, 2);
    assert_int_equal(wk_tokenize(t, &bad, 1, false, &ids), WICK_E_FORMAT);
    assert_true(says("byte 3 is 0xC3"));
    assert_int_equal(wk_tokenize(t, &huge, 1, false, &ids), WICK_E_LENGTH);
    wk_span wrap[] = { { "a", 1, true }, { "a", SIZE_MAX, true } };
    assert_int_equal(wk_tokenize(t, wrap, 2, false, &ids), WICK_E_LENGTH);
    assert_int_equal(ids.len, 2);  /* what was there stays */
    wk_ids_free(&ids);
    wk_tokenizer_free(t);
}

/* A megabyte without a place to cut, and patterns that backtrack: bounded time, or a clear error. */
static void test_hard_text(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    static const struct { const char *regex; bool refused; } patterns[] = {
        { "(a+)+[bc]", true }, { "(a|aa)+$", true }, { "(?:a*)*[bc]", true }, { "\\s+", false },
        { "a{3}", false },
        { "(?=(a*))\\1[bc]", true },  /* each attempt is cheap, all together are not */
    };
    char *text = wk_alloc(N + 1);
    memset(text, 'a', N);
    wk_span span = { text, N, false };
    wk_ids ids = { 0 };
    double start = wk_now();
    wk_tokenizer *t = make_json(small, NULL);
    assert_int_equal(wk_tokenize(t, &span, 1, false, &ids), WICK_OK);
    assert_int_equal(ids.len, N / 2);
    assert_int_equal(ids.ptr[N / 4], 11);
    wk_tokenizer_free(t);
    assert_true(wk_now() - start < 20);
    for (size_t i = 0; i < COUNT(patterns); i++) {
        char patch[200];
        snprintf(patch, sizeof patch, "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"}}}", patterns[i].regex);
        for (char *p = patch; (p = strchr(p, '\\')); p += 2) memmove(p + 1, p, strlen(p) + 1);
        t = make_json(small, patch);
        if (!t) fail_msg("%s", wick_last_error());
        start = wk_now();
        ids.len = 0;
        span.len = N / 4;
        wick_status st = wk_tokenize(t, &span, 1, false, &ids);
        if (st && (st != WICK_E_UNSUPPORTED || !says("too many steps") || !says("small/tokenizer.json: pre_tokenizer")))
            fail_msg("%s: %s", patch, wick_last_error());

        assert_int_equal(st, patterns[i].refused ? WICK_E_UNSUPPORTED : WICK_OK);
        if (st) assert_int_equal(ids.len, 0);
        assert_true(wk_now() - start < 60);
        wk_tokenizer_free(t);
    }
    wk_ids_free(&ids);
    wk_free(text);
}

/* Long words by the heap and short ones in arrays: the same ids, whatever the length. */
static void test_long_and_short(void **state) {
    (void)state;
    json_t *all;
    assert_int_equal(wk_json_read("data/tokenizers/steps.json", 1 << 24, &all), WICK_OK);
    json_t *d = json_array_get(json_object_get(all, "tokenizers"), 0), *j = whole_tokenizer(json_object_get(all, "models"), d);
    wk_tokenizer *t;
    json_object_set_new(j, "pre_tokenizer", parse("{\"type\":\"WhitespaceSplit\"}", 26));
    assert_int_equal(wk_tokenizer_from_json(j, NULL, "x", &t), WICK_OK);
    uint32_t seed = 1;
    for (int round = 0; round < 300; round++) {
        char text[200];
        size_t n = 30 + (size_t)round % 60;
        wk_ids one = { 0 }, again = { 0 };
        for (size_t i = 0; i < n; i++) { seed = seed * 1664525 + 1013904223; text[i] = "athelobd.-"[seed >> 16 & 7]; }
        wk_span span = { text, n, true };
        assert_int_equal(wk_tokenize(t, &span, 1, false, &one), WICK_OK);
        /* by hand: the lowest rank, the leftmost of equals */
        int32_t id[200], into = 0;
        size_t k = n;
        for (size_t i = 0; i < n; i++) id[i] = t->bpe.of_ascii[(uint8_t)text[i]];
        for (;;) {
            uint32_t best = UINT32_MAX;
            size_t at = 0;
            for (size_t i = 0; i + 1 < k; i++)
                for (size_t s = 0; s < (size_t)1 << t->bpe.bits; s++) {
                    const wk_merge *m = &t->bpe.merge[s];
                    if (m->pair != ((uint64_t)((uint32_t)id[i] + 1) << 32 | (uint32_t)id[i + 1]) || m->rank >= best) continue;
                    best = m->rank;
                    into = m->into;
                    at = i;
                }
            if (best == UINT32_MAX) break;
            id[at] = into;
            memmove(id + at + 1, id + at + 2, (--k - at - 1) * sizeof *id);
        }
        assert_int_equal(one.len, k);
        assert_memory_equal(one.ptr, id, k * sizeof *id);
        wk_ids_free(&one);
        wk_ids_free(&again);
    }
    wk_tokenizer_free(t);
    json_decref(j);
    json_decref(all);
}

/* ---- every allocation may fail ---- */

static const char rich[] =
    "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Prepend\",\"prepend\":\"u\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"q+\"},\"content\":\"c\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[ ]\"},\"behavior\":\"Isolated\"},"
    "{\"type\":\"Metaspace\",\"replacement\":\"_\"}]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"},{\"type\":\"ByteLevel\"}]},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"<c>\",5],\"sep\":[\"<c>\",5]},"
    "\"added_tokens\":[{\"id\":5,\"content\":\"<c>\",\"special\":true},{\"id\":20,\"content\":\"au\",\"normalized\":true}]}";

/* Loads and tokenizes with the k-th allocation failing, for every k until all goes well. */
static void sweep(wick_status (*run)(const void *), const void *arg) {
    wick_status st = WICK_E_MEMORY;
    for (uint64_t k = 1; k < 2000; k++) {
        wk_alloc_fail_at(k);
        uint64_t before = wk_alloc_count();
        st = run(arg);
        uint64_t made = wk_alloc_count() - before;
        wk_alloc_fail_at(0);
        if (!st && made < k) return;  /* none failed */
        if (st != WICK_OK && st != WICK_E_MEMORY) fail_msg("allocation %d: status %d, %s", (int)k, (int)st, wick_last_error());
    }
    fail_msg("it never went well");
}

static wick_status use(const wk_tokenizer *t) {
    wk_buf b = { 0 }, text = { 0 };
    wk_ids ids = { 0 };
    wk_decoder d;
    for (int i = 0; i < 60; i++) wk_buf_str(&text, "<c>aa qq \xC3\xA9u ");
    static const char many[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    wk_span span[] = { { text.ptr, text.len, true }, { many, sizeof many - 1, false } };
    wick_status st = text.failed ? WICK_E_MEMORY : wk_tokenize(t, span, 2, true, &ids);
    wk_decoder_init(&d, t, true);
    for (size_t i = 0; i < ids.len; i++) wk_decode(&d, ids.ptr[i], &b);
    if (!st && b.failed) st = WICK_E_MEMORY;
    wk_buf_free(&b);
    wk_buf_free(&text);
    wk_ids_free(&ids);
    return st;
}

static wick_status run_json(const void *j) {
    wk_tokenizer *t;
    union { const void *c; json_t *j; } u = { .c = j };
    wick_status st = wk_tokenizer_from_json(u.j, NULL, "x", &t);
    if (!st) st = use(t);
    wk_tokenizer_free(t);
    return st;
}

static wick_status run_gguf(const void *g) {
    wk_tokenizer *t;
    wick_status st = wk_tokenizer_from_gguf(g, &t);
    if (!st) st = use(t);
    wk_tokenizer_free(t);
    return st;
}

static void test_failed_allocations(void **state) {
    (void)state;
    json_t *j = parse(small, strlen(small)), *p = parse(rich, strlen(rich));
    wk_buf b = { 0 };
    opened o;
    json_object_update(j, p);
    sweep(run_json, j);
    build(&b, bpe_keys, COUNT(bpe_keys), &(gguf_key){ "tokenizer.ggml.pre", 's', "default", 0 });
    assert_int_equal(load(&b, &o), WICK_OK);
    sweep(run_gguf, o.g);
    close_it(&o);
    build(&b, spm_keys, COUNT(spm_keys), NULL);
    assert_int_equal(load(&b, &o), WICK_OK);
    sweep(run_gguf, o.g);
    close_it(&o);
    const struct { const gguf_key *keys; size_t n; } kinds[] = { { t5_keys, COUNT(t5_keys) }, { bert_keys, COUNT(bert_keys) } };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        build(&b, kinds[i].keys, kinds[i].n, NULL);
        if (load(&b, &o)) fail_msg("%s", wick_last_error());
        sweep(run_gguf, o.g);
        close_it(&o);
    }
    wk_buf_free(&b);
    json_decref(j);
    json_decref(p);
}

/* The same for unigram with a table of replacements, and WordPiece, from JSON. */
static void test_failed_allocations_of_models(void **state) {
    (void)state;
    static const char *const names[] = { "Unigram, bytes", "WordPiece, BERT, cleanup True", "WordLevel" };
    json_t *all, *d;
    size_t i, n = 0;
    if (wk_json_read("data/tokenizers/steps.json", 1 << 28, &all)) fail_msg("%s", wick_last_error());
    json_array_foreach(json_object_get(all, "tokenizers"), i, d)
        for (size_t k = 0; k < COUNT(names); k++) {
            if (strcmp(names[k], json_string_value(json_object_get(d, "name")))) continue;
            json_t *j = whole_tokenizer(json_object_get(all, "models"), d);
            sweep(run_json, j);
            json_decref(j);
            n++;
        }
    assert_int_equal(n, COUNT(names));
    json_decref(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf_cases),
        cmocka_unit_test(test_unigram_gguf),
        cmocka_unit_test(test_json_cases),
        cmocka_unit_test(test_llama_cpp_blocks),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_llama_chat),
        cmocka_unit_test(test_provenance),
        cmocka_unit_test(test_words_again),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_deep_json), cmocka_unit_test(test_greedy_json), cmocka_unit_test(test_many_ends),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_gguf_small),
        cmocka_unit_test(test_bad_gguf),
        cmocka_unit_test(test_gguf_models),
        cmocka_unit_test(test_pre_of_characters),
        cmocka_unit_test(test_pre_names),
        cmocka_unit_test(test_pre_cuts),
        cmocka_unit_test(test_bad_gguf_models),
        cmocka_unit_test(test_bad_unigram_json),
        cmocka_unit_test(test_bad_charsmap),
        cmocka_unit_test(test_whole_characters),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_hard_text),
        cmocka_unit_test(test_long_and_short),
        cmocka_unit_test(test_failed_allocations),
        cmocka_unit_test(test_failed_allocations_of_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
