/* test_models.c: whole models against what transformers computes from the same files (tests/data/models), on both backends,
 * in both spellings of config.json; and the promise that rows in a batch, threads and chunks change no bit. */
#include "base/cpu.h"
#include "base/file.h"
#include "format/safetensors.h"
#include "model/model.h"
#include "support/sets.h"
#include "support/tried.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* layout: of a checkpoint, for docs/supported.md; NULL: the model stands for its family */
typedef struct model_case { const char *name; double tol; bool greedy; const char *layout; } model_case;
static const model_case causal[] = {
    { "llama", 1e-4, true, NULL },
    { "llama-bias", 1e-4, true, NULL },
    { "llama-mha-linear-rope", 1e-4, true, NULL },
    { "llama3-rope", 1e-4, true, NULL },
    { "llama-yarn", 1e-4, true, NULL },
    { "mistral-window", 1e-4, true, NULL },
    { "qwen2-tied", 1e-4, true, NULL },
    { "qwen3", 1e-4, true, NULL },
    { "gemma3", 1e-4, true, NULL },
    { "qwen3-moe", 1e-4, true, NULL },
    { "gemma2", 1e-4, true, NULL },
    { "gemma3-linear", 1e-4, true, NULL },
    { "phi3", 1e-4, true, NULL },
    { "phi3-partial", 1e-4, true, NULL },
    { "phi3-crossing", 1e-4, true, NULL },
    { "mixtral", 1e-4, true, NULL },
    { "olmo2", 1e-4, true, NULL },
    { "gpt-oss", 1e-4, true, NULL },
    { "llama-256", 1e-4, true, NULL },
    { "llama-256-gptq-g64", 5e-2, false, "GPTQ, 4 bits, zeros v1" },
    { "llama-256-gptq-g32-actorder", 5e-2, false, "GPTQ, 4 bits, act-order" },
};
/* make_quantised_models.py; floats of 8 bits meet activations that stay float32, as float weights do. */
static const model_case quantised[] = {
    { "llama-fp8-block", 1e-4, true, "FP8, a scale for each block" },
    { "llama-fp8-tensor", 1e-4, true, "FP8, a scale for each tensor" },
    { "llama-fp8-row", 1e-4, true, "FP8, a scale for each row" },
    { "llama-gptq-v2", 5e-2, false, "GPTQ, 4 bits, zeros v2" },
    { "llama-gptq-8-bit", 5e-2, false, "GPTQ, 8 bits" },
    { "llama-awq", 5e-2, false, "AWQ, 4 bits" },
    { "phi3-awq", 5e-2, false, "AWQ, 4 bits, fused projections" },
    { "gpt-oss-mxfp4", 5e-2, false, "MXFP4, experts" },
};
static const model_case classifiers[] = { { "qwen2-classify", 1e-4, false, NULL }, { "llama-classify", 1e-4, false, NULL } };
#define COUNT(a) (sizeof(a) / sizeof *(a))

static wk_model *open_model(const char *path, bool reference, int n_threads) {
    wk_backend *be;
    wk_model *m;
    assert_int_equal(reference ? wk_reference_new(true, &be) : wk_cpu_new(n_threads, &be), WICK_OK);
    if (wk_model_load(path, be, false, NULL, NULL, NULL, &m)) fail_msg("%s", wick_last_error());
    return m;
}

static wk_runner *runner_with(wk_model *m, int n_batch, int n_seq, wk_dtype kv_type) {
    wk_runner *r;
    if (wk_runner_new(m, 256, n_batch, n_seq, kv_type, &r)) fail_msg("%s", wick_last_error());
    return r;
}
static wk_runner *runner(wk_model *m, int n_batch, int n_seq) { return runner_with(m, n_batch, n_seq, wk_model_kv_type(m)); }

/* A reference array, as float32. */
typedef struct array { int64_t shape[4]; float *f; int64_t n; } array;
static array get(const wk_safetensors *s, const char *name) {
    const wk_tensor *t = wk_safetensors_find(s, name);
    if (!t) fail_msg("no %s in the reference", name);
    array a = { { t->shape[0], t->shape[1], t->shape[2], t->shape[3] }, NULL, wk_tensor_rows(t) * wk_tensor_cols(t) };
    a.f = calloc((size_t)a.n, sizeof *a.f);
    for (int64_t i = 0; i < a.n; i++) {
        if (t->dtype == WK_I64) {
            int64_t v;
            memcpy(&v, t->data + i * 8, 8);
            a.f[i] = (float)v;
        } else {
            memcpy(&a.f[i], t->data + i * 4, 4);
        }
    }
    return a;
}

static void near(const char *what, const float *got, const float *want, int64_t n, double tol) {
    double diff = 0, norm = 0, worst = 0, max = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!isfinite(d)) fail_msg("%s: element %lld is %g", what, (long long)i, (double)got[i]);
        diff += d * d;
        norm += (double)want[i] * (double)want[i];
        worst = fmax(worst, d);
        max = fmax(max, fabs((double)want[i]));
    }
    if (sqrt(diff / norm) > tol || worst > 2 * tol * max)
        fail_msg("%s: relative error %.3g, worst element %.3g of %.3g, allowed %.3g", what, sqrt(diff / norm), worst, max, tol);
}

/* Logits of a whole sequence, in chunks of the runner's batch. */
static void logits_of(wk_runner *r, const float *ids, int n, float *out) {
    int n_vocab = wk_runner_n_logits(r);
    wk_runner_keep(r, 0, 0);
    wk_runner_expect(r, 0, n);
    for (int at = 0; at < n;) {
        wk_row rows[64];
        int k = 0;
        for (; k < 64 && k < wk_runner_n_batch(r) && at + k < n; k++) rows[k] = (wk_row){ (int32_t)ids[at + k], 0, -1, true };
        if (wk_runner_step(r, rows, k)) fail_msg("%s", wick_last_error());
        for (int i = 0; i < k; i++)
            memcpy(out + (size_t)(at + i) * (size_t)n_vocab, wk_runner_logits(r, i), (size_t)n_vocab * sizeof *out);
        at += k;
    }
}

static int argmax(const float *x, int n) {
    int best = 0;
    for (int i = 1; i < n; i++) if (x[i] > x[best]) best = i;
    return best;
}

static void check_greedy(wk_runner *r, const char *what, array g) {
    wk_runner_keep(r, 0, 0);
    for (int i = 0; i < g.shape[1] - 1; i++) {
        wk_row row = { (int32_t)g.f[i], 0, -1, true };
        assert_int_equal(wk_runner_step(r, &row, 1), WICK_OK);
        int id = argmax(wk_runner_logits(r, 0), wk_runner_n_logits(r));
        if (i >= 15 && id != (int)g.f[i + 1]) fail_msg("%s: greedy token %d is %d, not %d", what, i - 15, id, (int)g.f[i + 1]);
    }
}

static void check_causal(const char *folder, const char *reference, const model_case *c, bool on_reference) {
    wk_safetensors *s;
    if (wk_safetensors_open(reference, &s)) fail_msg("%s", wick_last_error());
    wk_model *m = open_model(folder, on_reference, 2);
    wk_runner *r = runner_with(m, 48, 1, c->tol > 1e-4 ? wk_model_kv_type(m) : WK_F32);
    array ids = get(s, "input_ids"), want = get(s, "logits");
    int64_t per = want.shape[1] * want.shape[2];
    float *out = calloc((size_t)per, sizeof *out);
    char what[128];
    snprintf(what, sizeof what, "%s (%s)", c->name, on_reference ? "reference" : wk_cpu_name());
    for (int64_t b = 0; b < ids.shape[0]; b++) {
        logits_of(r, ids.f + b * ids.shape[1], (int)ids.shape[1], out);
        near(what, out, want.f + b * per, per, c->tol);
    }
    if (c->greedy) {
        array g = get(s, "greedy_ids");
        check_greedy(r, what, g);
        free(g.f);
    }
    tried(c->layout ? "checkpoint" : "family", c->layout ? c->layout : m->hp.arch->name,
          strncmp(folder, "data/", 5) ? "folder, older config.json" : "folder", "random");
    free(out);
    free(ids.f);
    free(want.f);
    wk_runner_free(r);
    wk_model_free(m);
    wk_safetensors_free(s);
}

static void path_of(char *out, size_t cap, const char *model, const char *file) {
    snprintf(out, cap, "data/models/%s/%s", model, file);
}

static void decoders(const model_case *c, size_t n, bool reference) {
    char folder[200], ref[200];
    for (; n > 0; n--, c++) {
        path_of(folder, sizeof folder, c->name, "");
        path_of(ref, sizeof ref, c->name, "reference.safetensors");
        check_causal(folder, ref, c, reference);
    }
}
static void decoders_on_reference(void **state) { (void)state; decoders(causal, COUNT(causal), true); }
static void decoders_on_cpu(void **state) {
    (void)state;
    for (int i = 0; sets_use(i); i++) decoders(causal, COUNT(causal), false);
}
static void quantised_on_reference(void **state) { (void)state; decoders(quantised, COUNT(quantised), true); }
static void quantised_on_cpu(void **state) {
    (void)state;
    for (int i = 0; sets_use(i); i++) decoders(quantised, COUNT(quantised), false);
}

/* Both backends round activations alike, so that only the precision of sums differs, until a value between two integers falls
 * the other way: so few rows. Where inputs are in an order of their own, the CPU backend rounds by 32 in that order. */
static void backends_agree(void **state) {
    (void)state;
    enum { N = 8 };
    float ids[N];
    for (int t = 0; t < N; t++) ids[t] = (float)(3 + t * 31 % 90);
    for (size_t i = 0; i < COUNT(quantised); i++) {
        char folder[200];
        float *out[2];
        int n = 0;
        path_of(folder, sizeof folder, quantised[i].name, "");
        for (int reference = 0; reference < 2; reference++) {
            wk_model *m = open_model(folder, reference, 2);
            wk_runner *r = runner_with(m, 32, 1, WK_F32);
            n = N * wk_runner_n_logits(r);
            out[reference] = calloc((size_t)n, sizeof(float));
            logits_of(r, ids, N, out[reference]);
            wk_runner_free(r);
            wk_model_free(m);
        }
        near(quantised[i].name, out[0], out[1], n, strcmp(quantised[i].name, "llama-gptq-8-bit") ? 1e-5 : 3e-2);
        free(out[0]);
        free(out[1]);
    }
}

static void classify(void **state) {
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(classifiers); i++) {
        const model_case *c = &classifiers[i / 2];
        char folder[200], ref[200];
        wk_safetensors *s;
        path_of(folder, sizeof folder, c->name, "");
        path_of(ref, sizeof ref, c->name, "reference.safetensors");
        assert_int_equal(wk_safetensors_open(ref, &s), WICK_OK);
        wk_model *m = open_model(folder, i % 2, 2);
        wk_runner *r = runner(m, 64, (int)3);
        array ids = get(s, "input_ids"), mask = get(s, "attention_mask"), want = get(s, "logits");
        wk_row rows[64];
        int n = 0;
        for (int b = 0; b < (int)ids.shape[0]; b++)  /* the batch's sequences one after the other, padding left out */
            for (int t = 0; t < (int)ids.shape[1]; t++) {
                int64_t at = b * ids.shape[1] + t;
                if (mask.f[at] == 0) continue;
                rows[n++] = (wk_row){ (int32_t)ids.f[at], b, -1, t + 1 == ids.shape[1] || mask.f[at + 1] == 0 };
            }
        assert_int_equal(wk_runner_step(r, rows, n), WICK_OK);
        assert_int_equal(wk_runner_n_logits(r), want.shape[1]);
        for (int b = 0; b < (int)want.shape[0]; b++)
            near(c->name, wk_runner_logits(r, b), want.f + b * want.shape[1], want.shape[1], c->tol);
        tried("family", m->hp.arch->name, "classifier", "random");
        free(ids.f);
        free(mask.f);
        free(want.f);
        wk_runner_free(r);
        wk_model_free(m);
        wk_safetensors_free(s);
    }
}

/* The same files with config.v4.json in config.json's place. */
static void old_spelling(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(causal) + COUNT(classifiers); i++) {
        const model_case *c = i < COUNT(causal) ? &causal[i] : &classifiers[i - COUNT(causal)];
        char dir[] = "/tmp/wick-v4-XXXXXX", from[300], to[300], cwd[200], ref[200];
        assert_non_null(mkdtemp(dir));
        assert_non_null(getcwd(cwd, sizeof cwd));
        const struct {
            const char *name, *as;
        } files[] = { { "config.v4.json", "config.json" }, { "model.safetensors", "model.safetensors" } };
        for (size_t k = 0; k < COUNT(files); k++) {
            snprintf(from, sizeof from, "%s/data/models/%s/%s", cwd, c->name, files[k].name);
            snprintf(to, sizeof to, "%s/%s", dir, files[k].as);
            assert_int_equal(symlink(from, to), 0);
        }
        path_of(ref, sizeof ref, c->name, "reference.safetensors");
        if (i < COUNT(causal)) check_causal(dir, ref, c, false);
        else wk_model_free(open_model(dir, false, 1));
        for (size_t k = 0; k < COUNT(files); k++) {
            snprintf(to, sizeof to, "%s/%s", dir, files[k].as);
            unlink(to);
        }
        rmdir(dir);
    }
}

/* One sequence alone, token by token on one thread, against chunks, threads and neighbours: the same bytes.
 * all: 1 to 3 threads and chunks of many sizes, not one of each. */
static void check_same_bits(bool all) {
    enum { N = 40 };
    for (size_t i = 0; i <= COUNT(causal) + COUNT(quantised); i++) {
        const char *model = i < COUNT(causal)                      ? causal[i].name
                            : i < COUNT(causal) + COUNT(quantised) ? quantised[i - COUNT(causal)].name
                                                                   : "phi3-longrope";
        char folder[200];
        float ids[N];
        path_of(folder, sizeof folder, model, "");
        for (int t = 0; t < N; t++) ids[t] = (float)(3 + (t * 37 + t * t) % 90);
        wk_model *m = open_model(folder, false, 1);
        wk_runner *r = runner(m, 1, 1);
        int n_vocab = wk_runner_n_logits(r);
        float *alone = calloc((size_t)(N * n_vocab), sizeof *alone), *other = calloc((size_t)(N * n_vocab), sizeof *other);
        size_t n_bytes = (size_t)(N * n_vocab) * sizeof *alone;
        logits_of(r, ids, N, alone);
        wk_runner_free(r);
        wk_model_free(m);
        for (int threads = all ? 1 : 2; threads <= (all ? 3 : 2); threads++) {
            m = open_model(folder, false, threads);
            const int chunks[] = { 1, 5, 32, 64 };
            for (size_t k = all ? 0 : 1; k < (all ? COUNT(chunks) : 2); k++) {
                r = runner(m, chunks[k], 1);
                logits_of(r, ids, N, other);
                if (memcmp(alone, other, n_bytes))
                    fail_msg("%s, %s: %d threads, chunks of %d: other bits", model, wk_cpu_name(), threads, chunks[k]);
                wk_runner_free(r);
            }
            r = runner(m, 64, 3);  /* two neighbours that come and go in the same steps */
            wk_runner_expect(r, 0, N);
            for (int t = 0; t < N; t++) {
                wk_row rows[6];
                int n = 0, at;
                for (int j = 0; j < t % 4; j++) rows[n++] = (wk_row){ 7 + (t + j) % 80, 1, -1, j % 2 };
                at = n;
                rows[n++] = (wk_row){ (int32_t)ids[t], 0, -1, true };
                if (t % 3) rows[n++] = (wk_row){ 11 + t, 2, -1, true };
                int before = 0;
                for (int j = 0; j < at; j++) before += rows[j].want;
                assert_int_equal(wk_runner_step(r, rows, n), WICK_OK);
                memcpy(other + t * n_vocab, wk_runner_logits(r, before), (size_t)n_vocab * sizeof *other);
            }
            if (memcmp(alone, other, n_bytes))
                fail_msg("%s, %s: %d threads, with neighbours: other bits", model, wk_cpu_name(), threads);
            wk_runner_free(r);
            wk_model_free(m);
        }
        free(alone);
        free(other);
    }
}

static void same_bits(void **state) {
    (void)state;
    for (int i = 0; sets_use(i); i++) check_same_bits(false);
    if (sets_cases(4) == 4) check_same_bits(true);  /* with the best */
}

/* The same weights as GGUF (as llama.cpp's converter names and turns them) and as a folder: the same bytes, in float32 and in
 * float16; with experts one by one as old files have them, and with q, k and v in one tensor. And folders in other spellings. */
static void other_files_same_bits(void **state) {
    (void)state;
    enum { N = 40 };
    static const struct {
        const char *folder, *other;
    } names[] = {
        { "llama", "llama.gguf" }, { "llama-bias", "llama-bias.gguf" }, { "llama-bias", "llama-bias-fused.gguf" },
        { "llama-mha-linear-rope", "llama-mha-linear-rope.gguf" }, { "llama3-rope", "llama3-rope.gguf" },
        { "llama-yarn", "llama-yarn.gguf" }, { "qwen2-tied", "qwen2-tied.gguf" }, { "qwen3", "qwen3.gguf" },
        { "qwen3-moe", "qwen3-moe.gguf" }, { "mixtral", "mixtral.gguf" }, { "mixtral", "mixtral-old.gguf" },
        { "gemma2", "gemma2.gguf" }, { "gemma3", "gemma3.gguf" }, { "gemma3-linear", "gemma3-linear.gguf" },
        { "phi3", "phi3.gguf" }, { "phi3-partial", "phi3-partial.gguf" }, { "phi3-longrope", "phi3-longrope.gguf" },
        { "phi3-crossing", "phi3-crossing.gguf" },
        { "olmo2", "olmo2.gguf" }, { "gpt-oss", "gpt-oss.gguf" }, { "gpt-oss-mxfp4", "gpt-oss-mxfp4.gguf" },
        { "llama", "llama-fused.gguf" }, { "qwen2-tied", "qwen2-tied-fused.gguf" },
        { "llama", "llama-fused" }, { "qwen2-tied", "qwen2-tied-fused" }, { "phi3", "phi3-apart" },
        { "mixtral", "mixtral-stacked" }, { "qwen3-moe", "qwen3-moe-stacked" },
        { "gemma3", "gemma3-wrapped" }, { "gemma3", "gemma3-wrapped-new" },
    };
    static const char *const types[] = { "F32", "F16" };
    char dir[] = "/tmp/wick-gguf-XXXXXX", command[300], path[300];
    float ids[N];
    assert_non_null(mkdtemp(dir));
    for (int t = 0; t < N; t++) ids[t] = (float)(3 + (t * 53 + t * t) % 90);
    for (size_t k = 0; k < COUNT(types); k++) {
        snprintf(command, sizeof command, "python3 make_gguf_models.py %s --type %s", dir, types[k]);
        assert_int_equal(system(command), 0);
        for (size_t i = 0; i < COUNT(names); i++) {
            if (k && strstr(names[i].folder, "mxfp4")) continue;  /* its experts have one type only */
            float *out[2];
            size_t n = 0;
            const char *family = NULL;
            for (int folder = 0; folder < 2; folder++) {
                if (!folder) snprintf(path, sizeof path, "%s/%s", dir, names[i].other);
                else if (k) snprintf(path, sizeof path, "%s/%s", dir, names[i].folder);
                else path_of(path, sizeof path, names[i].folder, "");
                wk_model *m = open_model(path, false, 2);
                wk_runner *r = runner(m, 16, 1);
                n = (size_t)(N * wk_runner_n_logits(r));
                out[folder] = calloc(n, sizeof(float));
                logits_of(r, ids, N, out[folder]);
                family = m->hp.arch->name;  /* the folder's: GGUF files of Mixtral say llama */
                wk_runner_free(r);
                wk_model_free(m);
            }
            if (memcmp(out[0], out[1], n * sizeof(float)))
                fail_msg("%s %s: other bits than %s", names[i].other, types[k], names[i].folder);
            if (strstr(names[i].other, ".gguf")) tried("family", family, "GGUF", "random");
            free(out[0]);
            free(out[1]);
        }
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void file_in(char *out, size_t cap, const char *dir, const char *name) { snprintf(out, cap, "%s/%s", dir, name); }

/* A GPTQ folder whose zeros are stored less one, written again with zeros as they are. */
static void write_v2(const char *name, const char *dir) {
    char from[300], to[300];
    wk_safetensors *s;
    json_t *config;
    path_of(from, sizeof from, name, "config.json");
    file_in(to, sizeof to, dir, "config.json");
    assert_int_equal(wk_json_read(from, 1 << 20, &config), WICK_OK);
    assert_int_equal(json_object_set_new(json_object_get(config, "quantization_config"), "checkpoint_format",
                                         json_string("gptq_v2")), 0);
    assert_int_equal(json_dump_file(config, to, 0), 0);
    json_decref(config);
    path_of(from, sizeof from, name, "model.safetensors");
    assert_int_equal(wk_safetensors_open(from, &s), WICK_OK);
    size_t n = wk_safetensors_n_tensor(s);
    wk_tensor *t = calloc(n, sizeof *t);
    uint8_t **zeros = calloc(n, sizeof *zeros);
    for (size_t i = 0; i < n; i++) {
        t[i] = *wk_safetensors_tensor(s, i);
        if (t[i].name.len < 7 || memcmp(t[i].name.ptr + t[i].name.len - 7, ".qzeros", 7)) continue;
        zeros[i] = malloc(t[i].n_bytes);
        for (uint64_t b = 0; b < t[i].n_bytes; b++) zeros[i][b] = (uint8_t)(t[i].data[b] + 0x11);  /* none is 15: no carry */
        t[i].data = zeros[i];
    }
    file_in(to, sizeof to, dir, "model.safetensors");
    assert_int_equal(wk_safetensors_write(to, t, n), WICK_OK);
    for (size_t i = 0; i < n; i++) free(zeros[i]);
    free(zeros);
    free(t);
    wk_safetensors_free(s);
}

/* Both versions of zeros, with and without act-order: the same bytes. */
static void gptq_versions(void **state) {
    (void)state;
    enum { N = 20 };
    static const char *const names[] = { "llama-256-gptq-g64", "llama-256-gptq-g32-actorder" };
    char dir[] = "/tmp/wick-v2-XXXXXX", path[300];
    float ids[N];
    assert_non_null(mkdtemp(dir));
    for (int t = 0; t < N; t++) ids[t] = (float)(3 + t * 53 % 300);
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        float *out[2];
        size_t n = 0;
        write_v2(names[i / 2], dir);
        for (int v2 = 0; v2 < 2; v2++) {
            if (v2) snprintf(path, sizeof path, "%s", dir);
            else path_of(path, sizeof path, names[i / 2], "");
            wk_model *m = open_model(path, i % 2, 1);
            wk_runner *r = runner(m, 32, 1);
            n = (size_t)(N * wk_runner_n_logits(r));
            out[v2] = calloc(n, sizeof(float));
            logits_of(r, ids, N, out[v2]);
            wk_runner_free(r);
            wk_model_free(m);
        }
        if (memcmp(out[0], out[1], n * sizeof(float))) fail_msg("%s: zeros of version 2 give other bits", names[i / 2]);
        free(out[0]);
        free(out[1]);
    }
    file_in(path, sizeof path, dir, "config.json"), unlink(path);
    file_in(path, sizeof path, dir, "model.safetensors"), unlink(path);
    rmdir(dir);
}

/* Longrope: sequences within the original context of 32 by the short factors, longer ones by the long ones, whatever the chunks. */
static void longrope(void **state) {
    (void)state;
    static const char *const which[] = { "short", "long" };
    wk_safetensors *s;
    assert_int_equal(wk_safetensors_open("data/models/phi3-longrope/reference.safetensors", &s), WICK_OK);
    for (int i = 0; i < 4; i++) {
        char name[40];
        snprintf(name, sizeof name, "input_ids_%s", which[i % 2]);
        array ids = get(s, name);
        snprintf(name, sizeof name, "logits_%s", which[i % 2]);
        array want = get(s, name);
        int64_t n = ids.shape[1], per = n * want.shape[2];
        float *out = calloc((size_t)per, sizeof *out);
        wk_model *m = open_model("data/models/phi3-longrope", i / 2, 2);
        for (int chunk = 16; chunk <= 64; chunk *= 2) {
            wk_runner *r = runner(m, chunk, 1);
            for (int64_t b = 0; b < ids.shape[0]; b++) {
                logits_of(r, ids.f + b * n, (int)n, out);
                near(name, out, want.f + b * per, per, 1e-4);
            }
            wk_runner_free(r);
        }
        free(out);
        free(ids.f);
        free(want.f);
        wk_model_free(m);
    }
    wk_safetensors_free(s);
}

/* A sequence that grows past the original context token by token, is cut below it and grows again: at each length the last row
 * has the bits that it has where all of the sequence came at once, whoever is in the same steps. */
static void longrope_turns_over(void **state) {
    (void)state;
    enum { N = 40 };
    wk_model *m = open_model("data/models/phi3-longrope", false, 2);
    wk_runner *r = runner(m, 8, 3), *fresh = runner(m, 64, 1);
    int n_vocab = wk_runner_n_logits(r);
    float ids[N], *want = calloc((size_t)(N * n_vocab), sizeof *want), *all = calloc((size_t)(N * n_vocab), sizeof *all);
    for (int t = 0; t < N; t++) ids[t] = (float)(3 + (t * 37 + t * t) % 300);
    for (int n = 1; n <= N; n++) {
        logits_of(fresh, ids, n, all);
        memcpy(want + (n - 1) * n_vocab, all + (n - 1) * n_vocab, (size_t)n_vocab * sizeof *all);
    }
    for (int from = 0, round = 0; round < 4; from = round == 1 ? 20 : round == 2 ? 35 : 31, wk_runner_keep(r, 0, from), round++)
        for (int t = from; t < N; t++) {
            wk_row rows[] = { { 7 + t, 1, -1, true }, { (int32_t)ids[t], 0, -1, true }, { 9 + t, 2, -1, false } };
            assert_int_equal(wk_runner_step(r, rows, t % 2 ? 3 : 2), WICK_OK);
            if (memcmp(want + t * n_vocab, wk_runner_logits(r, 1), (size_t)n_vocab * sizeof *want))
                fail_msg("round %d: a sequence of %d tokens has other bits than at once", round, t + 1);
        }
    free(want);
    free(all);
    wk_runner_free(r);
    wk_runner_free(fresh);
    wk_model_free(m);
}

/* Behind the last layer's keys and values only wanted rows go on: queries, attention, and all that follows. */
static void wanted_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof causal / sizeof *causal; i++) {
        char path[100];
        wk_graph *g;
        wk_val logits;
        snprintf(path, sizeof path, "data/models/%s", causal[i].name);
        wk_model *m = open_model(path, false, 1);
        bool last = false;
        if (wk_model_graph(m, false, false, &g, &logits)) fail_msg("%s", wick_last_error());
        for (size_t k = 0; k < g->n_node; k++) {
            const wk_node *n = &g->node[k];
            if (n->op == WK_OP_ATTENTION) {
                last = n->attr.layer + 1 == m->hp.n_layer;
                assert_int_equal(g->value[n->in[0]].shape.kind, last ? WK_ROWS_OUT : WK_ROWS_T);
                assert_int_equal(g->value[n->in[1]].shape.kind, WK_ROWS_T);
            }
            if (last) assert_int_equal(g->value[n->out[0]].shape.kind, WK_ROWS_OUT);
        }
        assert_true(last);
        wk_graph_free(g);
        wk_model_free(m);
    }
}

/* What a runner holds grows with the context by the bytes of its keys and values, whatever the batch: nothing is quadratic, and
 * a plan does not know how long a context is. */
static void long_contexts(void **state) {
    (void)state;
    wk_model *m = open_model("data/models/llama", false, 1);
    size_t page = (size_t)(m->hp.n_layer * m->hp.n_head_kv * m->hp.head_dim * 2 * 2) * WK_PAGE_LEN, first = 0;
    for (int n_page = 1; n_page <= 1024; n_page *= 4) {
        wk_runner *r;
        assert_int_equal(wk_runner_new(m, n_page * WK_PAGE_LEN, 64, 1, WK_F16, &r), WICK_OK);
        if (!first) first = wk_runner_bytes(r);
        assert_int_equal(wk_runner_bytes(r), first + (size_t)(n_page - 1) * page);
        wk_runner_free(r);
    }
    wk_model_free(m);
}

/* Pages are refused when they run out, given back when a sequence is cut, and reused. */
static void pages(void **state) {
    (void)state;
    wk_model *m = open_model("data/models/llama", false, 1);
    wk_runner *r;
    assert_int_equal(wk_runner_new(m, 70, 70, 2, WK_F32, &r), WICK_OK);
    wk_row rows[71];
    for (int i = 0; i < 71; i++) rows[i] = (wk_row){ 5, 0, -1, i == 69 };
    assert_int_equal(wk_runner_step(r, rows, 71), WICK_E_ARG);
    assert_int_equal(wk_runner_step(r, rows, 70), WICK_OK);
    float first = wk_runner_logits(r, 0)[0];
    assert_int_equal(wk_runner_step(r, rows, 1), WICK_E_FULL);
    assert_int_equal(wk_runner_len(r, 0), 70);
    for (int round = 0; round < 50; round++) {
        wk_runner_keep(r, 0, round % 3 ? 0 : 65);
        int n = 70 - wk_runner_len(r, 0);
        assert_int_equal(wk_runner_step(r, rows + 70 - n, n), WICK_OK);
        assert_true(first == wk_runner_logits(r, 0)[0]);
    }
    rows[0].token = 320;
    rows[1] = (wk_row){ 5, 1, -1, true };
    assert_int_equal(wk_runner_step(r, (wk_row[]){ rows[1], { 320, 1, -1, true } }, 2), WICK_E_ARG);
    assert_int_equal(wk_runner_len(r, 1), 0);
    wk_runner_free(r);
    wk_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoders_on_reference), cmocka_unit_test(decoders_on_cpu), cmocka_unit_test(classify),
        cmocka_unit_test(quantised_on_reference), cmocka_unit_test(quantised_on_cpu), cmocka_unit_test(backends_agree),
        cmocka_unit_test(old_spelling), cmocka_unit_test(same_bits), cmocka_unit_test(other_files_same_bits),
        cmocka_unit_test(pages), cmocka_unit_test(long_contexts), cmocka_unit_test(gptq_versions), cmocka_unit_test(longrope),
        cmocka_unit_test(longrope_turns_over), cmocka_unit_test(wanted_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
