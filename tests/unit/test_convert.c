/* test_convert.c: GGUF files from folders and back: every model of data/models that GGUF can hold, whose logits and tensors must
 * come back to the byte; tokenizers, templates, types; and everything that can go wrong, after which nothing may be left. What
 * llama.cpp and transformers make of the files: tests/peers/convert_peers.py. */
#include "base/file.h"
#include "base/json.h"
#include "format/checkpoint.h"
#include "format/gguf_write.h"
#include "format/safetensors.h"
#include "support/run.h"
#include "support/tried.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/wick-convert-XXXXXX";

static const char *in_dir(const char *name) {
    static char path[8][300];
    static int i;
    snprintf(path[i = (i + 1) % 8], sizeof *path, "%s/%s", dir, name);
    return path[i];
}

static const char *model(const char *name) {
    static char path[4][300];
    static int i;
    snprintf(path[i = (i + 1) % 4], sizeof *path, "data/models/%s", name);
    return path[i];
}

static void clear(void) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s/*", dir);
    assert_int_equal(system(command), 0);
}

static wick_status convert(const char *from, const char *to, const char *type, wick_convert_result *r) {
    wick_convert_options o;
    wick_convert_defaults(&o);
    o.type = type;
    return wick_convert(from, to, &o, r);
}

static wk_checkpoint *open_files(const char *path) {
    wk_checkpoint *c;
    ok(wk_checkpoint_open(path, false, &c));
    return c;
}

/* ---- models there and back ---- */

enum { N_IDS = 40 };
static float *logits_of(const char *path, size_t *n) {
    int32_t ids[N_IDS];
    for (int t = 0; t < N_IDS; t++) ids[t] = 3 + (t * 53 + t * t) % 190;
    wick_model *m = run_open(path);
    wick_session *s = run_session(m, 64, 16);
    wick_model_info info = { .size = sizeof info };
    ok(wick_model_describe(m, &info));
    *n = (size_t)info.n_vocab * N_IDS;
    float *out = calloc(*n, sizeof *out);
    ok(wick_logits(s, ids, N_IDS, out, *n));
    wick_session_free(s);
    wick_model_free(m);
    return out;
}

static void same_logits(const char *what, const char *a, const char *b) {
    size_t n, k;
    float *x = logits_of(a, &n), *y = logits_of(b, &k);
    assert_int_equal(n, k);
    if (memcmp(x, y, n * sizeof *x)) fail_msg("%s: %s and %s give other bits", what, a, b);
    free(x);
    free(y);
}

/* Norms that a folder keeps less one: the same once it is added. */
static bool same_plus_one(const wk_tensor *a, const wk_tensor *b) {
    float x, y;
    if (a->dtype != WK_F32 || b->dtype != WK_F32 || a->n_dim != 1 || a->n_bytes != b->n_bytes) return false;
    for (uint64_t i = 0; i < a->n_bytes; i += 4) {
        memcpy(&x, a->data + i, 4);
        memcpy(&y, b->data + i, 4);
        if (x + 1 != y + 1) return false;
    }
    return true;
}

static void same_tensors(const char *what, const char *a, const char *b, bool plus_one) {
    wk_checkpoint *x = open_files(a), *y = open_files(b);
    assert_int_equal(wk_checkpoint_n_tensor(x), wk_checkpoint_n_tensor(y));
    for (size_t i = 0; i < wk_checkpoint_n_tensor(x); i++) {
        const wk_tensor *t = wk_checkpoint_tensor(x, i);
        char name[200];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.ptr);
        const wk_tensor *u = wk_checkpoint_find(y, name);
        if (!u) fail_msg("%s: %s did not come back", what, name);
        bool same = t->dtype == u->dtype && !memcmp(t->shape, u->shape, sizeof t->shape) && !memcmp(t->data, u->data, t->n_bytes);
        if (!same && !(plus_one && same_plus_one(t, u))) fail_msg("%s: %s came back otherwise", what, name);
    }
    wk_checkpoint_free(x);
    wk_checkpoint_free(y);
}

static bool has(const char *folder, const char *file, const char *word) {
    wk_buf b = { 0 };
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    bool found = !wk_file_read(path, 1 << 20, &b) && strstr(b.ptr, word);
    wk_buf_free(&b);
    return found;
}

static void there_and_back(void **state) {
    (void)state;
    DIR *d = opendir("data/models");
    int done = 0;
    for (struct dirent *e; (e = readdir(d));) {
        const char *from = model(e->d_name), *gguf = in_dir("m.gguf"), *back = in_dir("back");
        if (e->d_name[0] == '.' || has(from, "config.json", "Classification") || has(from, "config.json", "quantization_config") ||
            !has(from, "config.json", "CausalLM"))
            continue;
        ok(convert(from, gguf, NULL, NULL));
        ok(convert(gguf, back, NULL, NULL));
        same_logits(e->d_name, from, gguf);
        same_logits(e->d_name, from, back);
        same_tensors(e->d_name, from, back, has(from, "config.json", "Gemma"));
        ok(convert(back, in_dir("again.gguf"), NULL, NULL));
        same_tensors(e->d_name, gguf, in_dir("again.gguf"), false);
        wick_model *m = run_open(from);
        wick_model_info info = { .size = sizeof info };
        ok(wick_model_describe(m, &info));
        tried("family", info.architecture, "converted both ways", "random");
        wick_model_free(m);
        clear();
        done++;
    }
    closedir(d);
    assert_true(done >= 10);
}

/* gpt-oss with one expert: stacks of one matrix are stacks too. */
static void one_expert(void **state) {
    (void)state;
    enum { MAX_TENSOR = 64 };
    wk_safetensors *file;
    wk_tensor t[MAX_TENSOR];
    json_t *config;
    size_t n = 0;
    char one[200], gguf[200], back[200];
    snprintf(one, sizeof one, "%s", in_dir("one"));
    snprintf(gguf, sizeof gguf, "%s", in_dir("one.gguf"));
    snprintf(back, sizeof back, "%s", in_dir("back"));
    assert_int_equal(mkdir(one, 0700), 0);
    ok(wk_json_read("data/models/gpt-oss/config.json", 1 << 20, &config));
    json_object_set_new(config, "num_local_experts", json_integer(1));
    json_object_set_new(config, "num_experts_per_tok", json_integer(1));
    assert_int_equal(json_dump_file(config, in_dir("one/config.json"), 0), 0);
    json_decref(config);
    ok(wk_safetensors_open("data/models/gpt-oss/model.safetensors", &file));
    for (; n < wk_safetensors_n_tensor(file); n++) {
        char name[100];
        assert_in_range(n, 0, MAX_TENSOR - 1);
        t[n] = *wk_safetensors_tensor(file, n);
        snprintf(name, sizeof name, "%.*s", (int)t[n].name.len, t[n].name.ptr);
        if (!strstr(name, "mlp.experts") && !strstr(name, "mlp.router")) continue;
        t[n].n_bytes /= (uint64_t)t[n].shape[0];
        t[n].shape[0] = 1;
    }
    ok(wk_safetensors_write(in_dir("one/model.safetensors"), t, n));
    wk_safetensors_free(file);
    ok(convert(one, gguf, NULL, NULL));
    ok(convert(gguf, back, NULL, NULL));
    same_logits("one expert", one, gguf);
    same_logits("one expert", one, back);
    same_tensors("one expert", one, back, false);
    clear();
}

/* Shards, an index, and float16: what is exact in it stays as it was. */
static void shards_and_types(void **state) {
    (void)state;
    static const char *const types[] = { "f32", "f16", "bf16" };
    wick_convert_options o;
    wick_convert_result r;
    wick_convert_defaults(&o);
    o.max_shard_bytes = 100000;
    ok(wick_convert(model("llama"), in_dir("a.gguf"), &o, &r));
    assert_string_equal(r.type, "F32");
    assert_string_equal(r.from, "folder");
    assert_int_equal(r.n_tensors, 30);
    assert_false(r.dequantised);
    ok(wick_convert(in_dir("a.gguf"), in_dir("shards"), &o, &r));
    assert_true(wk_file_exists(in_dir("shards/model.safetensors.index.json")));
    assert_true(wk_file_exists(in_dir("shards/model-00001-of-00008.safetensors")));
    same_logits("shards", model("llama"), in_dir("shards"));
    for (int i = 0; i < 3; i++) {  /* through every float type, GGUF and folder agree */
        ok(convert(model("qwen3-moe"), in_dir("t.gguf"), types[i], &r));
        ok(convert(in_dir("t.gguf"), in_dir("t"), NULL, NULL));
        same_logits(types[i], in_dir("t.gguf"), in_dir("t"));
        ok(convert(in_dir("t"), in_dir("u.gguf"), NULL, NULL));
        same_tensors(types[i], in_dir("t.gguf"), in_dir("u.gguf"), false);
        clear();
    }
}

/* q8_0 and q4_0: which tensor has which type; from a GGUF of floats the same file's bytes. */
static void quantised(void **state) {
    (void)state;
    ok(convert(model("qwen3-moe"), in_dir("f.gguf"), NULL, NULL));
    static const char *const types[] = { "q8_0", "q4_0" };
    for (int i = 0; i < 2; i++) {
        ok(convert(model("qwen3-moe"), in_dir("q.gguf"), types[i], NULL));
        ok(convert(in_dir("f.gguf"), in_dir("g.gguf"), types[i], NULL));
        same_tensors(types[i], in_dir("q.gguf"), in_dir("g.gguf"), false);
        wk_checkpoint *c = open_files(in_dir("q.gguf"));
        wk_dtype want = i ? WK_Q4_0 : WK_Q8_0;
        assert_int_equal(wk_checkpoint_find(c, "token_embd.weight")->dtype, WK_Q8_0);
        assert_int_equal(wk_checkpoint_find(c, "output.weight")->dtype, WK_Q8_0);
        assert_int_equal(wk_checkpoint_find(c, "blk.0.attn_q.weight")->dtype, want);
        assert_int_equal(wk_checkpoint_find(c, "blk.0.ffn_up_exps.weight")->dtype, want);
        assert_int_equal(wk_checkpoint_find(c, "blk.0.ffn_down_exps.weight")->dtype, WK_F16);  /* rows of 48 */
        assert_int_equal(wk_checkpoint_find(c, "blk.0.ffn_gate_inp.weight")->dtype, WK_F32);
        assert_int_equal(wk_checkpoint_find(c, "blk.0.attn_norm.weight")->dtype, WK_F32);
        wk_checkpoint_free(c);
        size_t n;
        free(logits_of(in_dir("q.gguf"), &n));
        wick_convert_result r;
        ok(convert(in_dir("q.gguf"), in_dir("floats"), "f32", &r));
        assert_true(r.dequantised);
        refused(convert(in_dir("q.gguf"), in_dir("h.gguf"), i ? "q8_0" : "q4_0", NULL), WICK_E_UNSUPPORTED, "already");
        /* From a quantised file to one of floats: what the folder of floats has. */
        ok(convert(in_dir("q.gguf"), in_dir("d.gguf"), "f32", &r));
        assert_true(r.dequantised);
        ok(convert(in_dir("floats"), in_dir("e.gguf"), "f32", &r));
        same_tensors(types[i], in_dir("d.gguf"), in_dir("e.gguf"), false);
        char command[300];
        snprintf(command, sizeof command, "cd %s && rm -r q.gguf g.gguf floats d.gguf e.gguf", dir);
        assert_int_equal(system(command), 0);
    }
    clear();
}

/* GPTQ, AWQ, FP8 folders: what their rows decode to. */
static void quantised_folders(void **state) {
    (void)state;
    DIR *d = opendir("data/models");
    int done = 0;
    for (struct dirent *e; (e = readdir(d));) {
        wick_convert_result r;
        if (e->d_name[0] == '.' || !has(model(e->d_name), "config.json", "quantization_config")) continue;
        ok(convert(model(e->d_name), in_dir("q.gguf"), "f32", &r));
        assert_true(r.dequantised);
        wk_checkpoint *a = open_files(model(e->d_name)), *b = open_files(in_dir("q.gguf"));
        const wk_tensor *x = wk_checkpoint_find(a, "model.layers.0.mlp.down_proj.weight"),
                        *y = wk_checkpoint_find(b, "blk.0.ffn_down.weight");
        if (x && y) {
            int64_t cols = wk_tensor_cols(x);
            float *row = calloc((size_t)cols, sizeof *row);
            for (int64_t i = 0; i < wk_tensor_rows(x); i++) {
                wk_tensor_row(x, i, row);
                assert_memory_equal(row, y->data + (size_t)(i * cols) * sizeof *row, (size_t)cols * sizeof *row);
            }
            free(row);
            done++;
        }
        wk_checkpoint_free(a);
        wk_checkpoint_free(b);
        ok(convert(in_dir("q.gguf"), in_dir("back"), NULL, NULL));
        clear();
    }
    closedir(d);
    assert_true(done >= 2);
}

/* Encoders against bytes that gguf-py made (data/quant). */
static void encoders(void **state) {
    (void)state;
    wk_safetensors *s;
    ok(wk_safetensors_open("data/quant/gguf_types.safetensors", &s));
    static const wk_dtype types[] = { WK_Q8_0, WK_Q4_0 };
    for (int i = 0; i < 2; i++) {
        char raw[32], source[32];
        snprintf(raw, sizeof raw, "%s.raw", wk_dtypes[types[i]].name);
        snprintf(source, sizeof source, "%s.source", wk_dtypes[types[i]].name);
        const wk_tensor *r = wk_safetensors_find(s, raw), *x = wk_safetensors_find(s, source);
        assert_non_null(r);
        assert_non_null(x);
        float *in = malloc(x->n_bytes);
        uint8_t *out = malloc(r->n_bytes);
        memcpy(in, x->data, x->n_bytes);
        wk_dtypes[types[i]].encode(in, out, (int64_t)(x->n_bytes / 4));
        assert_memory_equal(out, r->data, r->n_bytes);
        free(in);
        free(out);
    }
    wk_safetensors_free(s);
}

/* ---- text ---- */

static const char *const texts[] = {
    "Hello, world! It's 12345 o'clock.", "  leading  spaces\n\n\ttabs ", "na\u00efve caf\u00e9 \u2014 \u65e5\u672c",
    "def f(x):\n    return x**2", "<s>[INST] hi</s><|end|><|im_start|>", "", " ", "\n", "a      b       c",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
};

static wick_model *open_vocabulary(const char *path) {
    wick_model_options o;
    wick_model *m;
    wick_model_defaults(&o);
    o.vocab_only = true;
    ok(wick_model_open(path, &o, &m));
    return m;
}

static void same_ids(const char *a, const char *b) {
    wick_model *x = open_vocabulary(a), *y = open_vocabulary(b);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (unsigned flags = 0; flags < 4; flags++) {
            int32_t p[256], q[256];
            size_t n, k;
            ok(wick_tokenize(x, texts[i], strlen(texts[i]), flags, p, 256, &n));
            ok(wick_tokenize(y, texts[i], strlen(texts[i]), flags, q, 256, &k));
            if (n != k || memcmp(p, q, n * sizeof *p)) fail_msg("%s and %s: other ids for \"%s\"", a, b, texts[i]);
        }
    wick_model_free(x);
    wick_model_free(y);
}

/* A vocabulary alone, from a folder or a GGUF, through both formats. */
static void tokenizer_there_and_back(const char *from, bool gguf) {
    wick_convert_result r;
    if (!gguf) {
        ok(convert(from, in_dir("v.gguf"), NULL, &r));
        assert_true(r.vocab_only);
        same_ids(from, in_dir("v.gguf"));
    }
    const char *file = gguf ? from : in_dir("v.gguf");
    ok(convert(file, in_dir("v"), NULL, &r));
    same_ids(file, in_dir("v"));
    ok(convert(in_dir("v"), in_dir("w.gguf"), NULL, NULL));
    same_ids(file, in_dir("w.gguf"));
    clear();
}

static void tokenizers(void **state) {
    (void)state;
    const char *cache = getenv("WICK_TEST_CACHE");
    static const char *const files[] = {
        "tokenizers/llama-2-json", "tokenizers/smollm2-json", "models/ggml-vocab-llama-bpe.gguf",
        "models/ggml-vocab-llama-spm.gguf",
        "models/ggml-vocab-qwen2.gguf", "models/ggml-vocab-phi-3.gguf", "models/ggml-vocab-deepseek-coder.gguf",
    };
    tokenizer_there_and_back("data/gguf/tiny-spm.gguf", true);
    int n = 0;
    for (size_t i = 0; cache && i < sizeof files / sizeof *files; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", cache, files[i]);
        if (!wk_file_exists(path)) continue;
        tokenizer_there_and_back(path, strstr(path, ".gguf"));
        n++;
    }
    if (!n) {
        print_message("vocabularies are not fetched (scripts/fetch.py): only the tiny one was converted\n");
        skip();
    }
}

/* Chat template, every end of a turn, and the way of sampling. */
static void chat(void **state) {
    (void)state;
    ok(convert(model("llama-chat"), in_dir("c.gguf"), NULL, NULL));
    ok(convert(in_dir("c.gguf"), in_dir("c"), NULL, NULL));
    same_ids(model("llama-chat"), in_dir("c.gguf"));
    same_ids(model("llama-chat"), in_dir("c"));
    wick_model *a = run_open(model("llama-chat")), *b = run_open(in_dir("c.gguf")), *c = run_open(in_dir("c"));
    wick_model_info x = { .size = sizeof x }, y = x;
    wick_generate_options o, p;
    ok(wick_model_describe(a, &x));
    wick_generate_defaults(a, &o);
    for (int k = 0; k < 2; k++) {
        wick_model *m = k ? c : b;
        ok(wick_model_describe(m, &y));
        assert_string_equal(x.chat_template, y.chat_template);
        for (int32_t id = 0; id < x.n_vocab; id++) {
            assert_int_equal(wick_token_is_end(a, id), wick_token_is_end(m, id));
            assert_int_equal(wick_token_is_control(a, id), wick_token_is_control(m, id));
        }
        wick_generate_defaults(m, &p);
        assert_true(o.temperature == p.temperature && o.top_k == p.top_k && o.top_p == p.top_p && o.min_p == p.min_p &&
                    o.repeat_penalty == p.repeat_penalty);
    }
    wick_model_free(a);
    wick_model_free(b);
    wick_model_free(c);
    clear();
}

/* ---- what is refused ---- */

static void put(const char *name, const char *text) {
    ok(wk_file_write(in_dir(name), &(wk_str){ text, strlen(text) }, 1));
}

/* Nothing but what was there before. */
static int count(void) {
    DIR *d = opendir(dir);
    int n = -2;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void refusals(void **state) {
    (void)state;
    const char *llama = model("llama");
    ok(convert(llama, in_dir("a.gguf"), NULL, NULL));
    put("plain", "x");
    assert_int_equal(mkdir(in_dir("full"), 0777), 0);
    put("full/x", "x");
    refused(convert(llama, in_dir("a.gguf"), NULL, NULL), WICK_E_ARG, "exists already");
    refused(convert(in_dir("a.gguf"), in_dir("a.gguf"), NULL, NULL), WICK_E_ARG, "are the same");
    refused(convert(in_dir("a.gguf"), in_dir("plain"), NULL, NULL), WICK_E_ARG, "is a file, a folder is to be written");
    refused(convert(in_dir("a.gguf"), in_dir("full"), NULL, NULL), WICK_E_ARG, "exists already");
    refused(convert(llama, in_dir("b"), NULL, NULL), WICK_E_ARG, "is a folder already");
    refused(convert(llama, in_dir("b.gguf"), "q5_0", NULL), WICK_E_ARG, "there is no type \"q5_0\" to convert to");
    refused(convert(in_dir("a.gguf"), in_dir("b"), "q8_0", NULL), WICK_E_ARG, "f32, f16 or bf16");
    refused(convert(llama, "/proc/wick.gguf", NULL, NULL), WICK_E_IO, "/proc/wick.gguf");
    refused(convert(llama, in_dir("no/such/b.gguf"), NULL, NULL), WICK_E_IO, "could not be written");
    refused(convert(in_dir("a.gguf"), in_dir("no/such/b"), NULL, NULL), WICK_E_IO, "No such file");
    refused(convert(in_dir("nothing"), in_dir("b.gguf"), NULL, NULL), WICK_E_IO, "nothing");
    refused(convert(model("llama-classify"), in_dir("b.gguf"), NULL, NULL), WICK_E_UNSUPPORTED, "has no place for the head");
    refused(convert("", in_dir("b.gguf"), NULL, NULL), WICK_E_ARG, "a path is missing");
    wick_convert_options o = { .size = 3 };
    refused(wick_convert(llama, in_dir("b.gguf"), &o, NULL), WICK_E_ARG, "wick_convert_options");
    assert_int_equal(count(), 3);
    wick_convert_defaults(&o);
    o.force = true;
    ok(wick_convert(llama, in_dir("a.gguf"), &o, NULL));
    put("full/model-00001-of-00002.safetensors", "old");
    ok(wick_convert(in_dir("a.gguf"), in_dir("full"), &o, NULL));
    assert_true(wk_file_exists(in_dir("full/x")));  /* what is not a model's stays */
    assert_false(wk_file_exists(in_dir("full/model-00001-of-00002.safetensors")));
    same_logits("over another", llama, in_dir("full"));
    assert_int_equal(count(), 3);
    clear();
}

#define JSON(pre, norm, model) "{\"version\":\"1.0\",\"added_tokens\":[],\"normalizer\":" norm ",\"pre_tokenizer\":" pre \
    ",\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":" model "}"
#define BPE "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define SPLIT(r) "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" r \
    "\"},\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}"

static void tokenizers_refused(void **state) {
    (void)state;
    static const struct { const char *json, *says; } cases[] = {
        { JSON(SPLIT("[a-z]+|."), "null", BPE), "--pre NAME" },
        { JSON("null", "null", BPE), "--pre NAME" },
        { JSON(SPLIT("\\\\p{N}"), "{\"type\":\"Lowercase\"}", BPE), "its normalizer changes the text" },
        { JSON("{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "null", BPE), "add_prefix_space is true" },
        { JSON("null", "null", "{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":0},\"merges\":[]}"),
         "spaces stay as they are" },
    };
    wick_convert_options o;
    assert_int_equal(mkdir(in_dir("t"), 0777), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("t/tokenizer.json", cases[i].json);
        refused(convert(in_dir("t"), in_dir("t.gguf"), NULL, NULL), WICK_E_UNSUPPORTED, cases[i].says);
    }
    wick_convert_defaults(&o);
    put("t/tokenizer.json", cases[0].json);
    o.pre = "no-such";
    refused(wick_convert(in_dir("t"), in_dir("t.gguf"), &o, NULL), WICK_E_ARG, "no-such");
    o.pre = "llama-bpe";
    ok(wick_convert(in_dir("t"), in_dir("t.gguf"), &o, NULL));
    clear();
}

/* A tensor that nobody knows, and a number that float16 cannot hold. */
static void tensors_refused(void **state) {
    (void)state;
    wk_checkpoint *c = open_files(model("llama"));
    enum { N = 31 };
    wk_tensor t[N];
    float big[4] = { 1, 1e6f, 1, 1 };
    assert_int_equal(wk_checkpoint_n_tensor(c), N - 1);
    for (size_t i = 0; i + 1 < N; i++) t[i] = *wk_checkpoint_tensor(c, i);
    t[N - 1] = (wk_tensor){ WK_STR("model.layers.0.extra.weight"), WK_F32, 1, { 4, 1, 1, 1 }, (const uint8_t *)big, sizeof big,
                           NULL };
    assert_int_equal(mkdir(in_dir("m"), 0777), 0);
    char command[400];
    snprintf(command, sizeof command, "cp data/models/llama/config.json %s/m/", dir);
    assert_int_equal(system(command), 0);
    ok(wk_safetensors_write(in_dir("m/model.safetensors"), t, N));
    refused(convert(in_dir("m"), in_dir("m.gguf"), NULL, NULL), WICK_E_UNSUPPORTED, "\"model.layers.0.extra.weight\" has no place");
    uint8_t *copy = NULL;
    for (size_t i = 0; i + 1 < N; i++)
        if (wk_str_eq(t[i].name, "model.layers.1.mlp.up_proj.weight")) {
            copy = malloc(t[i].n_bytes);
            memcpy(copy, t[i].data, t[i].n_bytes);
            memcpy(copy, big, sizeof big);
            t[i].data = copy;
        }
    assert_non_null(copy);
    ok(wk_safetensors_write(in_dir("m/model.safetensors"), t, N - 1));
    refused(convert(in_dir("m"), in_dir("m.gguf"), "f16", NULL), WICK_E_UNSUPPORTED, "too large for F16");
    ok(convert(in_dir("m"), in_dir("m.gguf"), "bf16", NULL));
    assert_int_equal(count(), 2);
    free(copy);
    wk_checkpoint_free(c);
    clear();
}

/* ---- interrupted ---- */

static bool stop(const char *what, uint64_t done, uint64_t total, void *user) {
    assert_string_equal(what, "converting");
    assert_true(done <= total);
    if (user) raise(SIGKILL);
    return done < total / 2;
}

static void stopped(void **state) {
    (void)state;
    wick_convert_options o;
    wick_convert_defaults(&o);
    ok(convert(model("llama"), in_dir("a.gguf"), NULL, NULL));
    o.progress = stop;
    refused(wick_convert(model("llama"), in_dir("b.gguf"), &o, NULL), WICK_E_CANCELLED, "stopped");
    refused(wick_convert(in_dir("a.gguf"), in_dir("b"), &o, NULL), WICK_E_CANCELLED, "stopped");
    assert_int_equal(count(), 1);
    o.progress_user = &o;
    for (int folder = 0; folder < 2; folder++) {  /* killed: nothing of that name */
        pid_t child = fork();
        if (!child) _exit((int)wick_convert(folder ? in_dir("a.gguf") : model("llama"), in_dir(folder ? "b" : "b.gguf"), &o, NULL));
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_false(wk_file_exists(in_dir(folder ? "b" : "b.gguf")));
    }
    clear();
}

/* No room for more than some bytes of a file. */
static void disk_full(void **state) {
    (void)state;
    struct rlimit old, low = { 300000, RLIM_INFINITY };
    ok(convert(model("llama"), in_dir("a.gguf"), NULL, NULL));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    wick_status a = convert(model("llama"), in_dir("b.gguf"), NULL, NULL);
    wick_status b = convert(in_dir("a.gguf"), in_dir("b"), NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(a, WICK_E_IO);
    assert_int_equal(b, WICK_E_IO);
    assert_non_null(strstr(wick_last_error(), "could not be written"));
    assert_int_equal(count(), 1);
    clear();
}

/* Each step-th allocation failed once, in either direction: a clean error, nothing left; and without failure it works. */
static void fail_allocations(const char *name, uint64_t step) {
    ok(convert(model(name), in_dir("a.gguf"), NULL, NULL));
    for (int folder = 0; folder < 2; folder++) {
        const char *from = folder ? in_dir("a.gguf") : model(name), *to = in_dir(folder ? "b" : "b.gguf");
        uint64_t before = wk_alloc_count(), total;
        wick_convert_options o;
        wick_convert_defaults(&o);
        o.force = true;
        ok(wick_convert(from, to, &o, NULL));
        total = wk_alloc_count() - before;
        char command[300];
        snprintf(command, sizeof command, "rm -r %s", to);
        assert_int_equal(system(command), 0);
        for (uint64_t i = total; i >= 1; i = i > step ? i - step : 0) {  /* the last of all among them */
            wk_alloc_fail_at(i);
            wick_status st = wick_convert(from, to, &o, NULL);
            wk_alloc_fail_at(0);
            if (st != WICK_E_MEMORY)
                fail_msg("to %s: allocation %d of %d: %s: %s", to, (int)i, (int)total, wick_status_name(st), wick_last_error());
            if (count() != 1) fail_msg("to %s: allocation %d of %d: something is left", to, (int)i, (int)total);
        }
    }
    clear();
}

/* All of a model's; and some of one with a vocabulary, whose entries are all alike. */
static void every_failed_allocation(void **state) {
    (void)state;
    fail_allocations("llama", 1);
    fail_allocations("llama-chat", 31);
}

static int begin(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}
static int end(void **state) {
    (void)state;
    clear();
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(one_expert),
        cmocka_unit_test(shards_and_types), cmocka_unit_test(quantised),
        cmocka_unit_test(quantised_folders),
        cmocka_unit_test(encoders),
        cmocka_unit_test(tokenizers), cmocka_unit_test(chat), cmocka_unit_test(refusals), cmocka_unit_test(tokenizers_refused),
        cmocka_unit_test(tensors_refused), cmocka_unit_test(stopped), cmocka_unit_test(disk_full),
        cmocka_unit_test(every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
