/* test_merge.c: a merged model gives what the model gives with the adapter on, in folders and GGUF files; adapters change their
 * format through the public call; what cannot be merged or converted is refused, and leaves nothing. */
#include "base/file.h"
#include "format/checkpoint.h"
#include "support/run.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_IDS = 20 };
static char folder[] = "/tmp/wick-merge-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[2][200];
    static int k;
    k = !k;
    snprintf(path[k], sizeof path[k], "%s/%s", folder, name);
    return path[k];
}

/* Logits of a short text, with an adapter or without; free them. */
static float *logits(const char *model, const char *adapter, float scale, size_t *n) {
    int32_t ids[N_IDS];
    wick_model *m = run_open(model);
    wick_session_options o;
    wick_session *s = NULL;
    wick_adapter *a = NULL;
    wick_session_defaults(&o);
    o.n_ctx = 32;
    o.type_kv = "f32";  /* what is rounded less decides less often for another expert */
    ok(wick_session_new(m, &o, &s));
    wick_model_info info = { .size = sizeof info };
    ok(wick_model_describe(m, &info));
    *n = info.n_label ? (size_t)info.n_label : (size_t)info.n_vocab * N_IDS;
    for (int i = 0; i < N_IDS; i++) ids[i] = 3 + i * 37 % 300;
    if (adapter) {
        ok(wick_adapter_load(m, adapter, &a));
        ok(wick_session_apply_adapter(s, a, scale));
    }
    float *out = calloc(*n, 4);
    ok(wick_logits(s, ids, N_IDS, out, *n));
    wick_session_free(s);
    wick_adapter_free(a);
    wick_model_free(m);
    return out;
}

static void near(const char *what, const float *got, const float *want, size_t n, double tol) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    if (!(sqrt(diff / norm) < tol)) fail_msg("%s: off by %g, allowed %g", what, sqrt(diff / norm), tol);
}

static wick_convert_options with(const wick_adapter_file *file, size_t n, const char *type) {
    wick_convert_options o;
    wick_convert_defaults(&o);
    o.adapter = file;
    o.n_adapter = n;
    o.type = type;
    o.force = true;
    return o;
}

/* The model merged to `to` gives what it gives with the adapter. */
static void check_merge(const char *model, const char *adapter, float scale, const char *to, double tol) {
    size_t n, again;
    wick_adapter_file file = { adapter, scale };
    wick_convert_options o = with(&file, 1, NULL);
    ok(wick_convert(model, in_folder(to), &o, NULL));
    float *want = logits(model, adapter, scale, &n), *got = logits(in_folder(to), NULL, 0, &again);
    assert_int_equal(n, again);
    near(adapter, got, want, n, tol);
    free(want);
    free(got);
}

static void folders(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        { "llama", "r4-all" }, { "llama", "r2-dora-all" }, { "llama", "saved-head" }, { "llama", "r4-embed-head" },
        { "qwen2-tied", "r8-dora" }, { "qwen2-tied", "r16-all-rslora" }, { "gemma3", "r4-all" }, { "qwen2-classify", "r8-all-cls" },
        { "phi3-crossing", "r4-fused" }, { "phi3-crossing", "r2-fused-dora" }, { "mixtral", "r2-attention" },
        { "qwen2-tied", "r2-outer" }, { "gemma3", "r2-embed" },  /* embedding and head part */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char model[80], adapter[100];
        snprintf(model, sizeof model, "data/models/%s", cases[i][0]);
        snprintf(adapter, sizeof adapter, "data/adapters/%s/%s", cases[i][0], cases[i][1]);
        check_merge(model, adapter, i % 2 ? 0.5f : 1, "out", 1e-5);
        wk_folder_remove(in_folder("out"));
    }
}

/* Tensors that the adapter leaves alone have the bytes that they had, and nothing is missing. */
static void rest_is_kept(const char *from, const char *to, int n_changed) {
    wk_checkpoint *a, *b;
    int changed = 0;
    ok(wk_checkpoint_open(from, false, &a));
    ok(wk_checkpoint_open(to, false, &b));
    assert_int_equal(wk_checkpoint_n_tensor(a), wk_checkpoint_n_tensor(b));
    for (size_t i = 0; i < wk_checkpoint_n_tensor(a); i++) {
        const wk_tensor *x = wk_checkpoint_tensor(a, i);
        char name[100];
        snprintf(name, sizeof name, "%.*s", (int)x->name.len, x->name.ptr);
        const wk_tensor *y = wk_checkpoint_find(b, name);
        assert_non_null(y);
        changed += x->dtype != y->dtype || memcmp(x->data, y->data, x->n_bytes) != 0;
    }
    assert_int_equal(changed, n_changed);
    assert_true(wk_gguf_n_key(wk_checkpoint_gguf(a)) <= wk_gguf_n_key(wk_checkpoint_gguf(b)));
    wk_checkpoint_free(a);
    wk_checkpoint_free(b);
}

static void gguf_files(void **state) {
    (void)state;
    static const struct { const char *model, *adapter; int changed; } cases[] = {
        { "llama", "r8-qv", 6 }, { "llama", "r2-dora-all", 22 }, { "llama", "saved-head", 5 },
        { "qwen2-tied", "r8-dora", 6 }, { "gemma3", "r4-all", 49 }, { "phi3-crossing", "r4-fused", 8 },
        { "mixtral", "r2-attention", 12 },
    };
    char command[300];
    snprintf(command, sizeof command, "python3 make_gguf_models.py %s --type F32", folder);
    assert_int_equal(system(command), 0);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            char model[200], adapter[100];
            snprintf(model, sizeof model, "%s/%s.gguf", folder, cases[i].model);
            snprintf(adapter, sizeof adapter, "data/adapters/%s/%s", cases[i].model, cases[i].adapter);
            if (k) {
                wick_convert_options o = with(NULL, 0, "q8_0");
                ok(wick_convert(model, in_folder("q8_0.gguf"), &o, NULL));
                snprintf(model, sizeof model, "%s/q8_0.gguf", folder);
            }
            /* what was Q8_0 and changed is F16 there, and takes activations that are not rounded */
            check_merge(model, adapter, 1, "out.gguf", k ? 3e-2 : 1e-5);
            rest_is_kept(model, in_folder("out.gguf"), cases[i].changed);
            unlink(in_folder("out.gguf"));
        }
    }
    /* The head that was the embedding is written beside it, from GGUF, from a folder, and into one. */
    char tied[200];
    snprintf(tied, sizeof tied, "%s/qwen2-tied.gguf", folder);
    check_merge(tied, "data/adapters/qwen2-tied/r2-outer", 1, "out.gguf", 1e-5);
    check_merge("data/models/qwen2-tied", "data/adapters/qwen2-tied/r2-outer", 1, "out.gguf", 1e-5);
    check_merge(tied, "data/adapters/qwen2-tied/r2-outer", 1, "out", 1e-5);
    wk_folder_remove(in_folder("out"));
    wick_adapter_file two[] = { { "data/adapters/llama/r8-qv", 1 }, { "data/adapters/llama/r4-all", 0.5f } };
    wick_convert_options o = with(two, 2, "q8_0");
    wick_convert_result r;
    char model[200];
    snprintf(model, sizeof model, "%s/llama.gguf", folder);
    ok(wick_convert(model, in_folder("out.gguf"), &o, &r));
    assert_string_equal(r.type, "Q8_0");
    rest_is_kept(model, in_folder("out.gguf"), 23);  /* the embedding and the head have the type too */
    /* Weights that stay quantised do not count as decoded: of a Q8_0 file whose q and v are F16 by now none is. */
    char once[200];
    snprintf(once, sizeof once, "%s/once.gguf", folder);
    o = with(two, 1, NULL);
    ok(wick_convert(in_folder("out.gguf"), once, &o, &r));
    assert_true(r.dequantised);
    ok(wick_convert(once, in_folder("out.gguf"), &o, &r));
    assert_false(r.dequantised);
}

/* A config.json with the key in another object first: the head that is merged is said to be untied all the same. */
static void nested_keys(void **state) {
    (void)state;
    char from[PATH_MAX], model[200];
    wk_buf config = { 0 }, nested = { 0 };
    snprintf(model, sizeof model, "%s/nested", folder);
    ok(wk_folder_make(model));
    assert_non_null(realpath("data/models/qwen2-tied/model.safetensors", from));
    assert_int_equal(symlink(from, in_folder("nested/model.safetensors")), 0);
    ok(wk_file_read("data/models/qwen2-tied/config.json", 1 << 20, &config));
    wk_buf_printf(&nested, "{ \"note\": \"\\\"tie_word_embeddings\\\": true\", \"vision\": { \"tie_word_embeddings\": true },%s",
                  strchr(config.ptr, '{') + 1);
    FILE *f = fopen(in_folder("nested/config.json"), "w");
    assert_true(f && fputs(nested.ptr, f) >= 0 && !fclose(f));
    check_merge(model, "data/adapters/qwen2-tied/r2-outer", 1, "out", 1e-5);
    wk_folder_remove(in_folder("out"));
    wk_folder_remove(in_folder("nested"));
    wk_buf_free(&config);
    wk_buf_free(&nested);
}

static void refusals(void **state) {
    (void)state;
    wick_adapter_file embed = { "data/adapters/gemma3/r2-embed", 1 }, other = { "data/adapters/llama/r4-all", 1 },
                      none = { NULL, 1 }, wild = { "data/adapters/llama/r4-all", INFINITY };
    wick_convert_options o = with(&embed, 1, NULL);
    refused(wick_convert("data/models/gemma3", in_folder("no.gguf"), &o, NULL), WICK_E_UNSUPPORTED, "have no head of their own");
    o.adapter = &other;
    refused(wick_convert("data/models/llama-256", in_folder("no"), &o, NULL), WICK_E_FORMAT, "tensors do not fit this model");
    o.adapter = &none;
    refused(wick_convert("data/models/llama", in_folder("no"), &o, NULL), WICK_E_ARG, "adapter 0 has no path");
    o.adapter = &wild;
    refused(wick_convert("data/models/llama", in_folder("no"), &o, NULL), WICK_E_ARG, "scale is inf");
    o.adapter = &other;
    assert_false(wk_file_exists(in_folder("no")));
}

static void adapter_formats(void **state) {
    (void)state;
    static const char llama[] = "data/models/llama", all[] = "data/adapters/llama/r4-all";
    size_t n;
    float *want = logits(llama, all, 1, &n), *got;
    ok(wick_adapter_convert(llama, all, in_folder("a.gguf"), NULL, false));
    ok(wick_adapter_convert(llama, in_folder("a.gguf"), in_folder("mlx"), "mlx", false));
    ok(wick_adapter_convert(llama, in_folder("mlx"), in_folder("peft"), NULL, false));
    ok(wick_adapter_convert(llama, in_folder("mlx/adapters.safetensors"), in_folder("peft"), "peft", true));
    static const char *const names[] = { "a.gguf", "mlx", "peft" };
    for (int i = 0; i < 3; i++) {
        got = logits(llama, in_folder(names[i]), 1, &n);
        assert_memory_equal(got, want, n * 4);
        free(got);
    }
    free(want);
    refused(wick_adapter_convert(llama, all, in_folder("mlx"), "mlx", false), WICK_E_ARG, "exists already");
    refused(wick_adapter_convert(llama, all, in_folder("mlx"), "gguf", true), WICK_E_ARG, "is a folder, a GGUF file is");
    refused(wick_adapter_convert(llama, all, in_folder("a.gguf"), "peft", true), WICK_E_ARG, "is a file, a folder is");
    refused(wick_adapter_convert(llama, in_folder("mlx"), in_folder("mlx"), "mlx", true), WICK_E_ARG, "are the same");
    refused(wick_adapter_convert(llama, all, in_folder("b"), "onnx", true), WICK_E_ARG, "no adapter format \"onnx\"");
    refused(wick_adapter_convert(NULL, all, in_folder("b"), NULL, true), WICK_E_ARG, "missing");
    refused(wick_adapter_convert("data/models/gemma3", in_folder("a.gguf"), in_folder("b"), NULL, true), WICK_E_FORMAT,
            "expected \"gemma3\": it was made for another kind of model");
    assert_false(wk_file_exists(in_folder("b")));
    wk_folder_remove(in_folder("mlx"));
    wk_folder_remove(in_folder("peft"));
}

static int start(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}
static int clean(void **state) {
    (void)state;
    wk_folder_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders), cmocka_unit_test(gguf_files), cmocka_unit_test(nested_keys),
        cmocka_unit_test(refusals), cmocka_unit_test(adapter_formats),
    };
    return cmocka_run_group_tests(tests, start, clean);
}
