/* test_api.c: the public interface as a stranger uses it: wrong arguments, what a model says of itself, text and chats,
 * classifiers, and that a failed allocation anywhere leaves a clean status. */
#include "base/mem.h"
#include "support/run.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHAT "data/models/llama-chat"
#define LLAMA "data/models/llama"

/* ---- arguments ---- */

static void models_and_wrong_arguments(void **state) {
    (void)state;
    wick_model_options o;
    wick_model *m = (wick_model *)&o;
    wick_model_defaults(&o);
    wick_model_defaults(NULL);
    refused(wick_model_open("data/no-such.gguf", NULL, &m), WICK_E_IO, "data/no-such.gguf: No such file");
    assert_null(m);
    refused(wick_model_open(NULL, NULL, &m), WICK_E_ARG, "path is NULL");
    refused(wick_model_open("", NULL, &m), WICK_E_ARG, "path is empty");
    refused(wick_model_open(LLAMA, NULL, NULL), WICK_E_ARG, "out is NULL");
    o.size = 8;
    refused(wick_model_open(LLAMA, &o, &m), WICK_E_ARG, "wick_model_options.size is 8");
    wick_model_defaults(&o);
    o.backend = "tpu";
    refused(wick_model_open(LLAMA, &o, &m), WICK_E_ARG, "no backend \"tpu\": this build has cpu and reference");
    wick_model_defaults(&o);
    o.n_threads = -3;
    refused(wick_model_open(LLAMA, &o, &m), WICK_E_ARG, "-3 threads");
    o.n_threads = 1;
    o.chat_template = "{% if %}";
    refused(wick_model_open(LLAMA, &o, &m), WICK_E_TEMPLATE, "line 1");
    ok(wick_model_open(CHAT, NULL, &m));
    assert_string_equal(wick_last_error(), "");
    wick_model_free(m);
    wick_model_free(NULL);
}

static bool stop_at(const char *what, uint64_t done, uint64_t total, void *user) {
    int *n = user;
    assert_true(*what && done <= total);
    return --*n > 0;
}

static void progress_can_stop(void **state) {
    (void)state;
    wick_model_options o;
    wick_model *m;
    int n = 2;
    wick_model_defaults(&o);
    o.progress = stop_at;
    o.progress_user = &n;
    refused(wick_model_open(LLAMA, &o, &m), WICK_E_CANCELLED, "");
    n = 1 << 20;
    ok(wick_model_open(LLAMA, &o, &m));
    assert_true(n < 1 << 20);
    wick_model_free(m);
}

static void names_and_build(void **state) {
    (void)state;
    assert_string_equal(wick_version(), WICK_VERSION);
    assert_non_null(strstr(wick_build_info(), "version: " WICK_VERSION));
    assert_non_null(strstr(wick_build_info(), "\nbackends: cpu"));
    assert_string_equal(wick_status_name(WICK_E_TEMPLATE), "WICK_E_TEMPLATE");
    assert_string_equal(wick_status_name((wick_status)99), "unknown status");
    assert_null(wick_finish_name(WICK_FINISH_NONE));
    assert_string_equal(wick_finish_name(WICK_FINISH_STOP), "stop");
    assert_string_equal(wick_finish_name(WICK_FINISH_LENGTH), "length");
    assert_string_equal(wick_finish_name(WICK_FINISH_CANCELLED), "cancelled");
    assert_null(wick_finish_name((wick_finish)9));
}

static void sessions_and_wrong_arguments(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA), *words;
    wick_model_options mo;
    wick_session_options o;
    wick_session *s;
    wick_generate_options g = run_greedy(m, 3);
    int32_t ids[] = { 1, 2, 3, 320, -1 };
    float out[4 * 320];
#define SESSION(field, v, st, words) \
    do { wick_session_defaults(&o); o.field = v; refused(wick_session_new(m, &o, &s), st, words); assert_null(s); } while (0)
    SESSION(size, 3, WICK_E_ARG, "wick_session_options.size is 3");
    SESSION(n_ctx, -1, WICK_E_ARG, "n_ctx is -1");
    SESSION(n_batch, -1, WICK_E_ARG, "n_batch is -1");
    SESSION(type_kv, "q9", WICK_E_ARG, "type_kv is \"q9\"");
    SESSION(type_kv, "q8_0", WICK_E_UNSUPPORTED, "multiple of 32");
    SESSION(n_ctx, (1 << 30) + 1, WICK_E_ARG, "2^30");
    refused(wick_session_new(NULL, NULL, &s), WICK_E_ARG, "model is NULL");
    refused(wick_session_new(m, NULL, NULL), WICK_E_ARG, "out is NULL");
    wick_session_defaults(NULL);

    s = run_session(m, 16, 0);
    refused(wick_logits(s, ids, 17, out, 4 * 320), WICK_E_LENGTH, "17 tokens do not fit the context of 16");
    refused(wick_logits(s, ids, 3, out, 900), WICK_E_LENGTH, "room for 900 floats, it needs 960");
    refused(wick_logits(s, ids, 4, out, 4 * 320), WICK_E_ARG, "ids[3] is 320, this model has 0 to 319");
    refused(wick_logits(s, ids + 4, 1, out, 4 * 320), WICK_E_ARG, "ids[0] is -1");
    refused(wick_logits(s, ids, 0, out, 4 * 320), WICK_E_ARG, "no ids");
    refused(wick_logits(s, NULL, 1, out, 4 * 320), WICK_E_ARG, "ids is NULL");
    refused(wick_logits(NULL, ids, 1, out, 4 * 320), WICK_E_ARG, "session is NULL");
    refused(wick_logits(s, ids, 1, NULL, 4 * 320), WICK_E_ARG, "out is NULL");
    refused(wick_classify(s, "x", 1, out, 320), WICK_E_UNSUPPORTED, "no classes");

    wick_prompt two = { .ids = ids, .n_ids = 2, .text = "x" }, none = { 0 }, empty = { .ids = ids },
                bad = { .ids = ids, .n_ids = 4 };
    refused(wick_generate(s, NULL, &g, NULL, NULL, NULL), WICK_E_ARG, "prompt is NULL");
    refused(wick_generate(s, &two, &g, NULL, NULL, NULL), WICK_E_ARG, "exactly one of");
    refused(wick_generate(s, &none, &g, NULL, NULL, NULL), WICK_E_ARG, "exactly one of");
    refused(wick_generate(s, &empty, &g, NULL, NULL, NULL), WICK_E_ARG, "empty");
    refused(wick_generate(s, &bad, &g, NULL, NULL, NULL), WICK_E_ARG, "the prompt's id 3 is 320");
    refused(wick_generate(NULL, &empty, &g, NULL, NULL, NULL), WICK_E_ARG, "session is NULL");
    refused(wick_generate(s, &(wick_prompt){ .text = "x" }, &g, NULL, NULL, NULL), WICK_E_UNSUPPORTED, "no tokenizer");
    refused(wick_generate(s, &(wick_prompt){ .messages = "{}" }, &g, NULL, NULL, NULL), WICK_E_UNSUPPORTED, "no tokenizer");
    g.stop = (const char *const[]){ "x" };
    g.n_stop = 1;
    bad.n_ids = 3;
    refused(wick_generate(s, &bad, &g, NULL, NULL, NULL), WICK_E_UNSUPPORTED, "no tokenizer");
    g = run_greedy(m, -2);
    refused(wick_generate(s, &bad, &g, NULL, NULL, NULL), WICK_E_ARG, "n_predict is -2");
    g.size--;
    refused(wick_generate(s, &bad, &g, NULL, NULL, NULL), WICK_E_ARG, "wick_generate_options.size");
    wick_session_cancel(NULL);
    wick_session_reset(NULL);
    wick_session_free(NULL);
    assert_int_equal(wick_session_n_ctx(NULL) + wick_session_n_used(NULL), 0);
    wick_session_free(s);

    s = run_session(m, 0, 0);
    assert_int_equal(wick_session_n_ctx(s), 256);  /* the model's */
    wick_session_free(s);
    wick_model_defaults(&mo);
    mo.vocab_only = true;
    ok(wick_model_open(CHAT, &mo, &words));
    refused(wick_session_new(words, NULL, &s), WICK_E_ARG, "vocab_only");
    wick_adapter *a;
    refused(wick_adapter_load(words, "x", &a), WICK_E_ARG, "vocab_only");
    assert_int_equal(wick_model_kv_bytes(words, 10, NULL), 0);
    wick_model_free(words);
    wick_model_free(m);
}

/* ---- what a model says of itself ---- */

static void descriptions(void **state) {
    (void)state;
    wick_model *m = run_open(CHAT);
    wick_model_info i = { .size = sizeof i };
    ok(wick_model_describe(m, &i));
    assert_string_equal(i.architecture, "llama");
    assert_string_equal(i.format, "safetensors");
    assert_string_equal(i.task, "generate");
    assert_non_null(strstr(i.types, "BF16 "));
    assert_non_null(strstr(i.chat_template, "add_generation_prompt"));
    assert_true(i.n_vocab == 1024 && i.n_embd == 128 && i.n_layer == 3 && i.n_head == 4 && i.n_head_kv == 2 && i.head_dim == 32);
    assert_true(i.n_ff == 320 && i.n_ctx_train == 256 && !i.n_expert && !i.n_expert_used && !i.n_label && !i.sliding_window);
    assert_true(i.n_params > 500000 && i.n_bytes_file == 2 * i.n_params && i.n_bytes_weights > 0);
    i.size = 1;
    refused(wick_model_describe(m, &i), WICK_E_ARG, "wick_model_info.size is 1");
    refused(wick_model_describe(m, NULL), WICK_E_ARG, "info is NULL");
    refused(wick_model_describe(NULL, &i), WICK_E_ARG, "model is NULL");
    /* 2 (k, v) x 3 layers x 2 heads x 32 x 64 positions; float16 by default, whole pages. */
    assert_int_equal(wick_model_kv_bytes(m, 64, NULL), 2 * 3 * 2 * 32 * 64 * 2);
    assert_int_equal(wick_model_kv_bytes(m, 1, "f32"), 2 * 3 * 2 * 32 * 64 * 4);
    assert_int_equal(wick_model_kv_bytes(m, 65, "q8_0"), 2 * 3 * 2 * 34 * 128);
    assert_int_equal(wick_model_kv_bytes(m, 64, "i7"), 0);
    assert_int_equal(wick_model_kv_bytes(m, -1, NULL), 0);
    assert_int_equal(wick_model_kv_bytes(NULL, 64, NULL), 0);
    assert_null(wick_model_label(m, 0));
    wick_model_free(m);

    m = run_open("data/models/qwen3-moe");
    i.size = sizeof i;
    ok(wick_model_describe(m, &i));
    assert_true(i.n_expert > 1 && i.n_expert_used >= 1 && !i.chat_template);
    wick_model_free(m);

    wick_model_options o;
    wick_model_defaults(&o);
    o.vocab_only = true;
    ok(wick_model_open(CHAT, &o, &m));
    ok(wick_model_describe(m, &i));
    assert_int_equal(i.n_vocab, 1024);
    assert_string_equal(i.architecture, "");
    wick_model_free(m);

    wick_model_defaults(&o);
    ok(wick_model_open("data/gguf/tiny.gguf", &o, &m));
    ok(wick_model_describe(m, &i));
    assert_string_equal(i.format, "gguf");
    wick_model_free(m);
}

/* ---- text ---- */

static void text_and_ids(void **state) {
    (void)state;
    static const char text[] = "r\xC3\xA9sum\xC3\xA9 12<|end|>";
    wick_model *m = run_open(CHAT), *wordless = run_open(LLAMA);
    int32_t ids[64];
    char back[128];
    size_t n, len;
    ok(wick_tokenize(m, text, sizeof text - 1, WICK_TOK_SPECIAL, ids, 64, &n));
    assert_int_equal(ids[n - 1], 1);
    ok(wick_detokenize(m, ids, n, true, back, sizeof back, &len));
    assert_string_equal(back, text);
    ok(wick_detokenize(m, ids, n, false, back, sizeof back, NULL));
    assert_string_equal(back, "r\xC3\xA9sum\xC3\xA9 12");
    refused(wick_detokenize(m, ids, n, false, back, 11, &len), WICK_E_LENGTH, "11 bytes and a NUL");
    assert_int_equal(len, 11);
    refused(wick_detokenize(m, (int32_t[]){ 5, 1024 }, 2, false, back, 64, &len), WICK_E_ARG, "ids[1] is 1024");
    refused(wick_detokenize(m, NULL, 2, false, back, 64, &len), WICK_E_ARG, "ids is NULL");
    ok(wick_detokenize(m, NULL, 0, false, back, 64, &len));
    assert_int_equal(len, 0);
    size_t plain;
    refused(wick_tokenize(m, text, sizeof text - 1, 0, ids, 2, &plain), WICK_E_LENGTH, "the buffer has room for 2");
    assert_true(plain > n);
    assert_int_equal(wick_tokenize(m, text, sizeof text - 1, 0, NULL, 0, &plain), WICK_E_LENGTH);  /* the way to ask for the size */
    ok(wick_tokenize(m, NULL, 0, WICK_TOK_ADD, ids, 64, &n));
    refused(wick_tokenize(m, "\xFF", 1, 0, ids, 64, &n), WICK_E_FORMAT, "UTF-8");
    refused(wick_tokenize(m, text, 3, 8, ids, 64, &n), WICK_E_ARG, "flags");
    refused(wick_tokenize(m, NULL, 3, 0, ids, 64, &n), WICK_E_ARG, "text is NULL");
    refused(wick_tokenize(m, text, 3, 0, ids, 64, NULL), WICK_E_ARG, "n is NULL");
    refused(wick_tokenize(wordless, "x", 1, 0, ids, 64, &n), WICK_E_UNSUPPORTED, "data/models/llama: there is no tokenizer");
    refused(wick_detokenize(wordless, ids, 1, false, back, 64, &n), WICK_E_UNSUPPORTED, "no tokenizer");

    const char *piece = wick_token_piece(m, 1, &n);
    assert_int_equal(n, 7);
    assert_memory_equal(piece, "<|end|>", 7);
    assert_null(wick_token_piece(m, 1024, &n));
    assert_null(wick_token_piece(m, -1, NULL));
    assert_null(wick_token_piece(wordless, 1, &n));
    assert_true(wick_token_is_control(m, 1) && !wick_token_is_control(m, 30) && !wick_token_is_control(m, 5000));
    assert_false(wick_token_is_control(wordless, 1) || wick_token_is_control(NULL, 1) || wick_token_is_end(NULL, 1));
    wick_model_free(m);
    wick_model_free(wordless);
}

/* ---- chats ---- */

static void chats(void **state) {
    (void)state;
    wick_model_options o;
    wick_model *m = run_open(CHAT);
    wick_chat c;
    static const struct { const char *json; wick_status st; const char *words; } wrong[] = {
        { "{\"messages\":[", WICK_E_FORMAT, "the chat: line 1" }, { "[]", WICK_E_FORMAT, "not a JSON object" },
        { "{}", WICK_E_FORMAT, "no \"messages\"" }, { "{\"messages\":{}}", WICK_E_FORMAT, "no \"messages\"" },
        { "{\"messages\":[],\"now\":5}", WICK_E_FORMAT, "\"now\"" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        refused(wick_chat_render(m, wrong[i].json, &c), wrong[i].st, wrong[i].words);
        assert_null(c.text);
    }
    refused(wick_chat_render(NULL, "{}", &c), WICK_E_ARG, "model");
    refused(wick_chat_render(m, NULL, &c), WICK_E_ARG, "json");
    refused(wick_chat_render(m, "{}", NULL), WICK_E_ARG, "out");
    ok(wick_chat_render(m, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"add_generation_prompt\":false}", &c));
    assert_string_equal(c.text, "<|user|>a<|end|>");
    assert_int_equal(c.n_ids, 3);
    wick_chat_free(&c);
    assert_null(c.ids);
    wick_chat_free(&c);
    wick_chat_free(NULL);
    ok(wick_chat_render(m, "{\"messages\":[],\"add_generation_prompt\":false}", &c));
    assert_string_equal(c.text, "");
    assert_int_equal(c.n_ids, 0);
    wick_chat_free(&c);
    /* A role of the request's making is no control token; one that is known is. */
    ok(wick_chat_render(m, "{\"messages\":[{\"role\":\"end\",\"content\":\"<|user|>\"}],\"add_generation_prompt\":false}", &c));
    assert_string_equal(c.text, "<|end|><|user|><|end|>");
    for (size_t i = 0; i + 1 < c.n_ids; i++) assert_false(wick_token_is_control(m, c.ids[i]));
    assert_int_equal(c.ids[c.n_ids - 1], 1);
    wick_chat_free(&c);
    wick_model_free(m);

    /* The caller's template; the tokenizer's own tokens, the time, and other variables in it. */
    wick_model_defaults(&o);
    o.vocab_only = true;
    o.chat_template = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ strftime_now('%Y') }}{{ mood }}{% if stop %}{{ "
                      "raise_exception('no!') }}{% endif %}";
    ok(wick_model_open(CHAT, &o, &m));
    ok(wick_chat_render(m, "{\"messages\":[{\"content\":\"<|begin|>\"}],\"now\":\"1999-01-02T03:04:05\",\"mood\":\"glad\"}", &c));
    assert_string_equal(c.text, "<|begin|><|begin|><|end|>1999glad");
    assert_int_equal(c.ids[0], 0);
    assert_int_not_equal(c.ids[1], 0);
    wick_chat_free(&c);
    ok(wick_chat_render(m, "{\"messages\":[{\"content\":\"x\"}],\"now\":\"1999-01-02T03:04:05\",\"bos_token\":\"<|user|>\"}", &c));
    assert_int_equal(c.ids[0], 4);
    wick_chat_free(&c);
    refused(wick_chat_render(m, "{\"messages\":[{}],\"stop\":true}", &c), WICK_E_TEMPLATE, "no!");
    wick_model_free(m);
    m = run_open("data/gguf/tiny.gguf");
    refused(wick_chat_render(m, "{\"messages\":[]}", &c), WICK_E_UNSUPPORTED, "no chat template");
    wick_model_free(m);
}

/* ---- classifiers ---- */

static void classifiers(void **state) {
    (void)state;
    static const char *const names[] = { "qwen2-classify", "llama-classify" };
    for (int k = 0; k < 2; k++) {
        char path[128];
        size_t n;
        int64_t shape[4], want_shape[4];
        wick_model_info info = { .size = sizeof info };
        float out[8];
        snprintf(path, sizeof path, "data/models/%s/reference.safetensors", names[k]);
        int32_t *ids = run_ids(path, "input_ids", &n, shape), *mask = run_ids(path, "attention_mask", &n, shape);
        float *want = run_floats(path, "logits", &n, want_shape);
        snprintf(path, sizeof path, "data/models/%s", names[k]);
        wick_model *m = run_open(path);
        wick_session *s = run_session(m, 0, 6);
        ok(wick_model_describe(m, &info));
        assert_string_equal(info.task, "classify");
        assert_int_equal(info.n_label, want_shape[1]);
        assert_string_equal(wick_model_label(m, 1), "LABEL_1");
        assert_null(wick_model_label(m, info.n_label));
        assert_null(wick_model_label(m, -1));
        for (int b = 0; b < shape[0]; b++) {
            int32_t row[64];
            size_t len = 0;
            for (int i = 0; i < shape[1]; i++) if (mask[b * shape[1] + i]) row[len++] = ids[b * shape[1] + i];
            ok(wick_logits(s, row, len, out, 8));
            for (int i = 0; i < info.n_label; i++) assert_true(fabsf(out[i] - want[b * info.n_label + i]) < 1e-4f);
        }
        refused(wick_logits(s, ids, 4, out, 2), WICK_E_LENGTH, "room for 2 floats");
        refused(wick_generate(s, &(wick_prompt){ .ids = ids, .n_ids = 4 }, NULL, NULL, NULL, NULL), WICK_E_UNSUPPORTED,
                "classifier");
        refused(wick_classify(s, "x", 1, out, 8), WICK_E_UNSUPPORTED, "no tokenizer");
        wick_session_free(s);
        wick_model_free(m);
        free(ids);
        free(mask);
        free(want);
    }
}

static char folder[] = "/tmp/wick-api-XXXXXX";

/* A folder with files of tests/data under other names, by links; pairs of name and source. */
static void link_files(const char *const *pairs, int n) {
    char cwd[512], from[1024], to[256];
    assert_non_null(mkdtemp(folder));
    assert_non_null(getcwd(cwd, sizeof cwd));
    for (int i = 0; i < n; i++) {
        snprintf(from, sizeof from, "%s/%s", cwd, pairs[2 * i + 1]);
        snprintf(to, sizeof to, "%s/%s", folder, pairs[2 * i]);
        assert_int_equal(symlink(from, to), 0);
    }
}

static void unlink_files(const char *const *pairs, int n) {
    char to[256];
    for (int i = 0; i < n; i++) {
        snprintf(to, sizeof to, "%s/%s", folder, pairs[2 * i]);
        unlink(to);
    }
    rmdir(folder);
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
}

static void classifying_text(void **state) {
    (void)state;
    static const char *const files[] = { "config.json",       "data/models/llama-classify/config.json",
                                         "model.safetensors", "data/models/llama-classify/model.safetensors",
                                         "tokenizer.json",    "data/tokenizers/bytes-320.json" };
    link_files(files, 3);
    wick_model *m = run_open(folder);
    wick_session *s = run_session(m, 16, 0);
    float text[5], ids[5], none[5];
    int32_t id[16];
    size_t n;
    ok(wick_tokenize(m, "well done", 9, WICK_TOK_ADD, id, 16, &n));
    assert_int_equal(n, 10);
    assert_int_equal(id[0], 1);
    ok(wick_logits(s, id, n, ids, 5));
    ok(wick_classify(s, "well done", 9, text, 5));
    assert_memory_equal(text, ids, sizeof text);
    ok(wick_classify(s, "", 0, none, 5));  /* <s> alone */
    refused(wick_classify(s, "longer than sixteen", 19, text, 5), WICK_E_LENGTH, "20 tokens do not fit the context of 16");
    refused(wick_classify(s, "x", 1, text, 4), WICK_E_LENGTH, "needs 5");
    refused(wick_classify(NULL, "x", 1, text, 5), WICK_E_ARG, "session");
    refused(wick_classify(s, NULL, 1, text, 5), WICK_E_ARG, "text");
    refused(wick_classify(s, "x", 1, NULL, 5), WICK_E_ARG, "out");
    wick_session_free(s);
    wick_model_free(m);
    unlink_files(files, 3);
}

/* ---- generation_config.json ---- */

static void generation_configs(void **state) {
    (void)state;
    static const char *const files[] = { "config.json", LLAMA "/config.json", "model.safetensors", LLAMA "/model.safetensors" };
    static const struct { const char *text; float temperature; int top_k; float top_p, min_p, repeat; int last_n; } good[] = {
        { "{}", 0.8f, 40, 0.95f, 0.05f, 1, 64 },
        { "{\"do_sample\":true}", 1, 50, 1, 0, 1, 64 },
        { "{\"do_sample\":false,\"temperature\":0.7,\"top_k\":3}", 0, 3, 0.95f, 0.05f, 1, 64 },
        { "{\"temperature\":0.5,\"repetition_penalty\":1.25,\"min_p\":0,\"top_k\":null}", 0.5f, 40, 0.95f, 0, 1.25f, -1 },
        { "{\"do_sample\":true,\"temperature\":0.25,\"top_p\":0.5,\"top_k\":0}", 0.25f, 0, 0.5f, 0, 1, 64 },
    };
    static const struct { const char *text, *words; } bad[] = {
        { "{\"temperature\":\"hot\"}", "\"temperature\" is \"hot\", it must be a number from 0 to 1e+06" },
        { "{\"top_p\":1.5}", "\"top_p\" is 1.5, it must be" }, { "{\"min_p\":[]}", "\"min_p\" is a list" },
        { "{\"temperature\":{}}", "\"temperature\" is an object" }, { "{\"temperature\":true}", "\"temperature\" is true" },
        { "{\"repetition_penalty\":0}", "\"repetition_penalty\" is 0" },
        { "{\"do_sample\":\"yes\"}", "/generation_config.json: \"do_sample\" is \"yes\", it must be true or false" },
        { "{\"top_k\":2.5}", "\"top_k\" is 2.5, it must be a whole number from -1 to" },
        { "{\"top_k\":1e300}", "\"top_k\" is 1e+300" },
        { "{\"eos_token_id\":\"</s>\"}",
          "/generation_config.json: \"eos_token_id\" is \"</s>\", which is no id and no list of ids" },
        { "{\"eos_token_id\":[2,{}]}", "\"eos_token_id\" is an object, which is no id" },
        { "{\"eos_token_id\":4294967298}", "\"eos_token_id\" is 4294967298, it has to be in 0..2147483646" },
        { "{\"eos_token_id\":[1,-2]}", "\"eos_token_id\" is -2" },
        { "{\"eos_token_id\":1,\"eos_token_id\":2}", "duplicate object key" },
    };
    char path[64];
    wick_model *m;
    link_files(files, 2);
    snprintf(path, sizeof path, "%s/generation_config.json", folder);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        FILE *f = fopen(path, "w");
        fputs(good[i].text, f);
        fclose(f);
        wick_generate_options o;
        m = run_open(folder);
        wick_generate_defaults(m, &o);
        assert_true(o.temperature == good[i].temperature && o.top_k == good[i].top_k && o.top_p == good[i].top_p);
        assert_true(o.min_p == good[i].min_p && o.repeat_penalty == good[i].repeat && o.penalty_last_n == good[i].last_n);
        wick_model_free(m);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FILE *f = fopen(path, "w");
        fputs(bad[i].text, f);
        fclose(f);
        refused(wick_model_open(folder, NULL, &m), WICK_E_FORMAT, bad[i].words);
    }
    unlink(path);
    m = run_open(folder);  /* without the file, config.json's eos_token_id counts */
    assert_true(wick_token_is_end(m, 2));
    wick_model_free(m);
    unlink_files(files, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_and_wrong_arguments),
        cmocka_unit_test(progress_can_stop),
        cmocka_unit_test(names_and_build),
        cmocka_unit_test(sessions_and_wrong_arguments),
        cmocka_unit_test(descriptions),
        cmocka_unit_test(text_and_ids),
        cmocka_unit_test(chats),
        cmocka_unit_test(classifiers),
        cmocka_unit_test(classifying_text),
        cmocka_unit_test(generation_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
