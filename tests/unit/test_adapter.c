/* test_adapter.c: PEFT adapters against PEFT's own logits; on, off and mixed by row; and every way in which one is refused. */
#include "adapter/lora_data.h"
#include "base/file.h"
#include "base/json.h"
#include "format/gguf_write.h"
#include "format/safetensors.h"
#include "generate/generate.h"
#include "support/run.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LLAMA "data/models/llama"
#define R8 "data/adapters/llama/r8-qv"
#define R4 "data/adapters/llama/r4-all"
enum { N_VOCAB = 320, S = 32 };

static void near(const char *what, const float *got, const float *want, size_t n, double tol) {
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        norm += (double)want[i] * (double)want[i];
    }
    if (!(sqrt(diff / norm) < tol)) fail_msg("%s: off by %g, allowed %g", what, sqrt(diff / norm), tol);
}

/* One adapter on one backend: off, on, at other scales, and off again to the byte. */
static void check_adapter(wick_model *m, wick_session *s, const char *path) {
    char reference[160];
    int64_t shape[4];
    size_t n;
    wick_adapter *a;
    snprintf(reference, sizeof reference, "%s/reference.safetensors", path);
    int32_t *ids = run_ids(reference, "input_ids", &n, shape);
    int64_t length = shape[1];
    float *with = run_floats(reference, "logits", &n, shape), *without = run_floats(reference, "logits_adapter_off", &n, shape);
    size_t len = (size_t)length, all = n / (size_t)shape[0];
    float *out = calloc(all, 4), *off = calloc(all, 4), *on = calloc(all, 4);
    ok(wick_adapter_load(m, path, &a));
    for (int64_t b = 0; b < shape[0]; b++) {
        const int32_t *row = ids + b * length;
        ok(wick_logits(s, row, len, off, all));
        near("off", off, without + (size_t)b * all, all, 1e-4);
        ok(wick_session_apply_adapter(s, a, 1));
        assert_int_equal(wick_session_n_used(s), 0);
        ok(wick_logits(s, row, len, on, all));
        near(path, on, with + (size_t)b * all, all, 1e-4);
        ok(wick_session_apply_adapter(s, a, 0)); /* there, and adding nothing */
        ok(wick_logits(s, row, len, out, all));
        near("scale 0", out, off, all, 1e-6);
        ok(wick_session_apply_adapter(s, a, 0.5f));
        ok(wick_logits(s, row, len, out, all));
        assert_true(memcmp(out, on, all * 4) != 0);
        wick_session_remove_adapter(s);
        assert_int_equal(wick_session_n_used(s), 0);
        ok(wick_logits(s, row, len, out, all));
        assert_memory_equal(out, off, all * 4);
    }
    wick_adapter_free(a);
    free(ids);
    free(with);
    free(without);
    free(out);
    free(off);
    free(on);
}

static void logits_with_and_without(void **state) {
    (void)state;
    static const char *const cases[][2] = { { "llama", "r8-qv" }, { "llama", "r4-all" }, { "llama", "layers-0-2" },
                                            { "mistral-window", "rank-pattern" }, { "qwen2-tied", "r16-all-rslora" },
                                            { "phi3-crossing", "r4-fused" }, { "phi3-crossing", "r2-fused-dora" },
                                            { "gemma3", "r4-all" }, { "gemma3", "r2-embed" }, { "qwen2-tied", "r8-dora" },
                                            { "qwen2-classify", "r8-all-cls" }, { "llama", "r4-embed-head" },
                                            { "llama", "saved-head" }, { "llama", "r2-dora-all" }, { "qwen2-tied", "r2-outer" },
                                            { "qwen3-moe", "r4-attention" }, { "mixtral", "r2-attention" } };
    for (int i = 0; i < 2 * (int)(sizeof cases / sizeof *cases); i++) {
        wick_model_options o;
        wick_model *m;
        char path[128];
        wick_model_defaults(&o);
        o.backend = i % 2 ? "reference" : "cpu";
        snprintf(path, sizeof path, "data/models/%s", cases[i / 2][0]);
        ok(wick_model_open(path, &o, &m));
        wick_session *s = run_session(m, 64, i % 2 ? 0 : 7);
        snprintf(path, sizeof path, "data/adapters/%s/%s", cases[i / 2][0], cases[i / 2][1]);
        check_adapter(m, s, path);
        wick_session_free(s);
        wick_model_free(m);
    }
}

/* Logits of each row of a sequence, some of its steps shared with others. */
static void rows_of_different_adapters_in_one_batch(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    static const char *const paths[] = { R8, R4, "data/adapters/llama/r2-dora-all", "data/adapters/llama/saved-head",
                                         "data/adapters/llama/r4-embed-head" };
    enum { N_ADAPTER = sizeof paths / sizeof *paths, N_SEQ = 9 };
    wick_adapter *a[N_ADAPTER];
    wk_runner *alone, *mixed;
    int64_t shape[4];
    size_t n;
    int32_t *ids = run_ids(R8 "/reference.safetensors", "input_ids", &n, shape);
    for (int i = 0; i < N_ADAPTER; i++) ok(wick_adapter_load(m, paths[i], &a[i]));
    wk_lora_set half = a[1]->set, stack[3], dora[2];
    half.scale = 0.5f;
    ok(wk_adapter_stack(m->m, (wick_adapter_use[]){ { a[0], 1 }, { a[3], 0.5f }, { a[1], -1 } }, 3, stack));
    ok(wk_adapter_stack(m->m, (wick_adapter_use[]){ { a[2], 0.75f }, { a[4], 1 } }, 2, dora));
    const wk_lora_set *sets[] = { &a[0]->set, &half, &a[2]->set, &a[3]->set, &a[4]->set, stack, dora };
    const int32_t adapter_of[] = { 0, 1, -1, 2, 0, 3, 4, 5, 6 };  /* by sequence */
    float *want = calloc(N_SEQ * S * N_VOCAB, 4);
    ok(wk_runner_new(m->m, 64, 256, 1, WK_F32, &alone));
    ok(wk_runner_new(m->m, 64, N_SEQ * S, N_SEQ, WK_F32, &mixed));
    wk_runner_adapters(alone, sets, 7);
    wk_runner_adapters(mixed, sets, 7);
    for (int q = 0; q < N_SEQ; q++) {  /* each alone, a row at a time */
        wk_runner_keep(alone, 0, 0);
        for (int i = 0; i < S; i++) {
            ok(wk_runner_step(alone, &(wk_row){ ids[(q * 7 + i) % 64], 0, adapter_of[q], true }, 1));
            memcpy(want + (q * S + i) * N_VOCAB, wk_runner_logits(alone, 0), N_VOCAB * 4);
        }
    }
    for (int at = 0, part; at < S; at += part) {  /* all together: one row each, then 3, then the rest */
        wk_row rows[N_SEQ * S];
        int n_row = 0;
        part = at == 0 ? 1 : at == 1 ? 3 : S - at;
        for (int q = 0; q < N_SEQ; q++)
            for (int i = at; i < at + part; i++) rows[n_row++] = (wk_row){ ids[(q * 7 + i) % 64], q, adapter_of[q], true };
        ok(wk_runner_step(mixed, rows, n_row));
        for (int k = 0; k < n_row; k++)
            assert_memory_equal(wk_runner_logits(mixed, k), want + (rows[k].seq * S + at + k % part) * N_VOCAB, N_VOCAB * 4);
    }
    free(want);
    free(ids);
    wk_runner_free(alone);
    wk_runner_free(mixed);
    for (int i = 0; i < N_ADAPTER; i++) wick_adapter_free(a[i]);
    wick_model_free(m);
}

static void generation_with_an_adapter(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_session *s = run_session(m, 64, 0);
    wick_generate_options o = run_greedy(m, 20);
    wick_prompt p = { .ids = (int32_t[]){ 1, 50, 60, 70 }, .n_ids = 4 };
    wick_adapter *a;
    run_log off = { 0 }, on = { 0 }, again = { 0 };
    wick_result r;
    ok(wick_adapter_load(m, R8, &a));
    ok(wick_generate(s, &p, &o, run_on_token, &off, NULL));
    ok(wick_session_apply_adapter(s, a, 4));
    ok(wick_generate(s, &p, &o, run_on_token, &on, &r));
    assert_int_equal(r.n_cached, 0);  /* keys and values of before do not count */
    assert_true(memcmp(off.logit, on.logit, sizeof off.logit) != 0);
    wick_session_remove_adapter(s);
    ok(wick_generate(s, &p, &o, run_on_token, &again, NULL));
    run_same(&off, &again);
    wick_session_free(s);
    wick_adapter_free(a);
    wick_model_free(m);
}

/* ---- refusals ---- */

static char folder[] = "/tmp/wick-adapter-XXXXXX";

static void write_file(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* R8's config with some members changed: `with` is a JSON object. */
static void write_config(const char *with) {
    json_t *config, *change;
    ok(wk_json_read(R8 "/adapter_config.json", 1 << 20, &config));
    ok(wk_json_parse(with, strlen(with), "test", &change));
    json_object_update(config, change);
    char *text = json_dumps(config, 0);
    write_file("adapter_config.json", text);
    free(text);
    json_decref(config);
    json_decref(change);
}

typedef struct edit { const char *drop, *rename, *to; int64_t rows; float *first; const char *as; bool flat; } edit;

/* R8's tensors, with one left out, renamed, cut to some rows, as a vector, or with another first number; as f16 or bf16. */
static void write_tensors(const edit *e) {
    wk_safetensors *file;
    char path[128];
    ok(wk_safetensors_open(R8 "/adapter_model.safetensors", &file));
    size_t n = wk_safetensors_n_tensor(file), k = 0;
    wk_tensor *t = calloc(n, sizeof *t);
    uint8_t **data = calloc(n, sizeof *data);
    for (size_t i = 0; i < n; i++) {
        t[k] = *wk_safetensors_tensor(file, i);
        if (e->drop && wk_str_eq(t[k].name, e->drop)) continue;
        data[k] = malloc(t[k].n_bytes);
        memcpy(data[k], t[k].data, t[k].n_bytes);
        if (e->as) {
            t[k].dtype = wk_dtype_of_name(e->as);
            for (uint64_t x = 0; x < t[k].n_bytes / 4; x++) {
                float f;
                memcpy(&f, t[k].data + 4 * x, 4);
                uint16_t h = t[k].dtype == WK_F16 ? wk_f32_to_f16(f) : wk_f32_to_bf16(f);
                memcpy(data[k] + 2 * x, &h, 2);
            }
            t[k].n_bytes /= 2;
        }
        t[k].data = data[k];
        if (e->rename && wk_str_eq(t[k].name, e->rename)) {
            if (e->rows) {
                t[k].n_bytes = t[k].n_bytes / (uint64_t)t[k].shape[0] * (uint64_t)e->rows;
                t[k].shape[0] = e->rows;
            }
            if (e->flat) t[k].shape[0] *= t[k].shape[1], t[k].shape[1] = 1, t[k].n_dim = 1;
            if (e->first) memcpy(data[k], e->first, 4);
            if (e->to) t[k].name = (wk_str){ e->to, strlen(e->to) };
        }
        k++;
    }
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    unlink(path);
    ok(wk_safetensors_write(path, t, k));
    for (size_t i = 0; i < n; i++) free(data[i]);
    free(data);
    free(t);
    wk_safetensors_free(file);
}

#define Q0A "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
#define Q0B "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"

static void refusals(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_adapter *a = NULL;
    char path[160];
    assert_non_null(mkdtemp(folder));
    refused(wick_adapter_load(m, "data/no-such", &a), WICK_E_IO, "data/no-such: No such file");
    refused(wick_adapter_load(m, "data/gguf", &a), WICK_E_FORMAT, "data/gguf: is a folder without adapter_config.json, so it is no "
            "adapter of PEFT or mlx; of a GGUF adapter give the file itself");
    refused(wick_adapter_load(NULL, R8, &a), WICK_E_ARG, "model");
    refused(wick_adapter_load(m, NULL, &a), WICK_E_ARG, "path");
    refused(wick_adapter_load(m, R8, NULL), WICK_E_ARG, "out");

    static const struct { const char *with; wick_status st; const char *words;
    } configs[] = {
        { "{\"use_dora\":true}", WICK_E_FORMAT, "has no lora_magnitude_vector beside it" },
        { "{\"bias\":\"all\",\"fan_in_fan_out\":true}", WICK_E_UNSUPPORTED, "\"bias\": trained biases; \"fan_in_" },
        { "{\"init_lora_weights\":\"pissa_niter_4\"}", WICK_E_UNSUPPORTED, "pissa" },
        { "{\"init_lora_weights\":\"OLoRA\"}", WICK_E_UNSUPPORTED, "olora" },
        { "{\"peft_type\":\"IA3\"}", WICK_E_UNSUPPORTED, "\"IA3\"" },
        { "{\"peft_type\":null}", WICK_E_FORMAT, "\"peft_type\" is missing" },
        { "{\"fine_tune_type\":\"lora\"}", WICK_E_FORMAT, "\"scale\" is missing; it must be a number" },
        { "{\"fine_tune_type\":\"full\"}", WICK_E_UNSUPPORTED, "\"fine_tune_type\" is \"full\"" },
        { "{\"r\":0}", WICK_E_FORMAT, "\"r\" is 0; it must be a number from 1 to 1024" },
        { "{\"r\":\"8\"}", WICK_E_FORMAT, "\"r\" is of another type; it must be" },
        { "{\"lora_alpha\":null}", WICK_E_FORMAT, "\"lora_alpha\" is null; it" },
        { "{\"use_rslora\":\"true\"}", WICK_E_FORMAT, "\"use_rslora\" must be true or false" },
        { "{\"use_dora\":1}", WICK_E_FORMAT, "\"use_dora\" must be true or false" },
        { "{\"modules_to_save\":[\"lm_head\"]}", WICK_E_FORMAT, "\"lm_head\" is in \"modules_to_save\"" },
        { "{\"r\":4.5}", WICK_E_FORMAT, "\"r\" must be a whole number, not 4.5" },
        { "{\"rank_pattern\":[1]}", WICK_E_FORMAT, "\"rank_pattern\" must be an object" },
        { "{\"rank_pattern\":{\"q_proj\":\"x\"}}", WICK_E_FORMAT, "\"q_proj\" of \"rank_pattern\"" },
        { "{\"alpha_pattern\":{\"(q\":1}}", WICK_E_FORMAT, "not a regular expression" },
        { "{\"rank_pattern\":{\"layers.0.self_attn.q_proj\":4}}", WICK_E_FORMAT,
          "has shape [8, 64], the model and r need [4, 64]" },
    };
    write_tensors(&(edit){ 0 });
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        write_config(configs[i].with);
        refused(wick_adapter_load(m, folder, &a), configs[i].st, configs[i].words);
        assert_null(a);
    }
    write_file("adapter_config.json", "[]");
    refused(wick_adapter_load(m, folder, &a), WICK_E_FORMAT, "not a JSON object");

    write_config("{}");
    ok(wick_adapter_load(m, folder, &a));
    wick_adapter_free(a);
    float nan_value = NAN;
    const struct { edit e; wick_status st; const char *words[3];
    } files[] = {
        { { .drop = Q0B }, WICK_E_FORMAT, { Q0A, "has no lora_B beside it", "1 tensor does" } },
        { { .drop = Q0A }, WICK_E_FORMAT, { Q0B, "has no lora_A beside it", "" } },
        { { .rename = Q0A, .rows = 5 }, WICK_E_FORMAT, { Q0A, "[5, 64]", "[8, 64]" } },
        { { .rename = Q0B, .rows = 63 }, WICK_E_FORMAT, { Q0B, "[63, 8]", "[64, 8]" } },
        { { .rename = Q0B, .flat = true }, WICK_E_FORMAT, { Q0B "\" has shape [512], a matrix", "of rank 1 or more", "" } },
        { { .rename = Q0A, .first = &nan_value }, WICK_E_FORMAT, { Q0A, "nan at [0, 0]", "" } },
        { { .rename = Q0A, .to = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight" },
          WICK_E_FORMAT,
          { "layers.7.self_attn.q_proj.lora_A.weight", "belongs to no attention or MLP projection", "2 tensors do" } },
        { { .rename = Q0A, .to = "base_model.model.model.layers.0.self_attn.z_proj.lora_A.weight" },
          WICK_E_FORMAT,
          { "z_proj", "belongs to no", Q0B } },
        { { .rename = Q0A, .to = "base_model.model.model.layers.99999999999.mlp.up_proj.lora_A.weight" },
          WICK_E_FORMAT,
          { "belongs to no", "", "" } },
        { { .rename = Q0A, .to = "model.layers.0.self_attn.q_proj.lora_A.weight" },
          WICK_E_FORMAT,
          { "neither a lora_A nor a lora_B", "", "" } },
        { { .rename = Q0A, .to = "base_model.model.lm_head.lora_A.weight" }, WICK_E_FORMAT, { "has no lora_B", "", "" } },
        { { .rename = Q0A, .to = "base_model.model.model.layers.0.input_layernorm.lora_A.weight" },
          WICK_E_FORMAT,
          { "input_layernorm", "", "" } },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_tensors(&files[i].e);
        for (int k = 0; k < 3; k++) refused(wick_adapter_load(m, folder, &a), files[i].st, files[i].words[k]);
    }
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    unlink(path);
    refused(wick_adapter_load(m, folder, &a), WICK_E_IO, "adapter_model.safetensors");
    write_file("adapter_model.bin", "x");
    refused(wick_adapter_load(m, folder, &a), WICK_E_UNSUPPORTED, "safe_serialization");

    /* For a model that it was not made for, every tensor is named. */
    wick_model *other = run_open("data/models/llama-256");
    assert_int_equal(wick_adapter_load(other, R4, &a), WICK_E_FORMAT);
    int named = 0;
    for (const char *at = wick_last_error(); (at = strstr(at, "base_model.model.model.layers.")); at++) named++;
    assert_true(named >= 28);
    wick_adapter *good;
    wick_session *s = run_session(other, 32, 0);
    ok(wick_adapter_load(m, R8, &good));
    refused(wick_session_apply_adapter(s, good, 1), WICK_E_ARG, "another model");
    refused(wick_session_apply_adapter(NULL, good, 1), WICK_E_ARG, "session");
    refused(wick_session_apply_adapter(s, NULL, 1), WICK_E_ARG, "adapter");
    wick_session_remove_adapter(s);
    wick_session_free(s);
    s = run_session(m, 32, 0);
    refused(wick_session_apply_adapter(s, good, NAN), WICK_E_ARG, "scale is nan");
    wick_session_free(s);
    wick_adapter_free(good);
    wick_model_free(other);
    wick_model_free(m);
}

/* What PEFT saved of the weights under adapted embeddings and heads must be the model's own, as far as its type keeps them. */
static void base_layers(void **state) {
    (void)state;
    static const char tensor[] = "base_model.model.lm_head.base_layer.weight", from[] = "data/adapters/llama/r4-embed-head";
    static const char *const types[] = { "f16", "q8_0", "q4_0" };
    char path[160], gguf[160];
    wk_safetensors *file;
    wick_adapter *a;
    wick_model *m = run_open(LLAMA);
    wk_buf config = { 0 };
    snprintf(path, sizeof path, "%s/adapter_config.json", from);
    ok(wk_file_read(path, 1 << 20, &config));
    write_file("adapter_config.json", config.ptr);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", from);
    ok(wk_safetensors_open(path, &file));
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    unlink(path);
    size_t n = wk_safetensors_n_tensor(file), at = n;
    wk_tensor *t = calloc(n, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        t[i] = *wk_safetensors_tensor(file, i);
        if (wk_str_eq(t[i].name, tensor)) at = i;
    }
    assert_true(at < n);
    float *w = malloc(t[at].n_bytes), was;
    memcpy(w, t[at].data, t[at].n_bytes);
    t[at].data = (const uint8_t *)w;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {  /* rounded weights are the same ones */
        wick_convert_options o;
        wick_convert_defaults(&o);
        o.type = types[i];
        o.force = true;
        snprintf(gguf, sizeof gguf, "%s/model.gguf", folder);
        ok(wick_convert(LLAMA, gguf, &o, NULL));
        wick_model *rounded = run_open(gguf);
        ok(wick_adapter_load(rounded, from, &a));
        wick_adapter_free(a);
        wick_model_free(rounded);
    }
    was = w[64 * 300 + 5];
    w[64 * 300 + 5] = 7.5f;
    char words[200];
    snprintf(words, sizeof words, "\"%s\" is what it was trained on, and this model has another: [300, 5] is 7.5, %g is expected; "
             "1 of 320 rows differ", tensor, (double)was);
    ok(wk_safetensors_write(path, t, n));
    refused(wick_adapter_load(m, folder, &a), WICK_E_FORMAT, words);
    wick_convert_options merge;
    wick_convert_defaults(&merge);
    merge.adapter = &(wick_adapter_file){ folder, 1 };
    merge.n_adapter = 1;
    snprintf(gguf, sizeof gguf, "%s/merged.gguf", folder);
    refused(wick_convert(LLAMA, gguf, &merge, NULL), WICK_E_FORMAT, words);
    w[64 * 300 + 5] = was * 1.001f;
    unlink(path);
    ok(wk_safetensors_write(path, t, n));
    ok(wick_adapter_load(m, folder, &a));
    wick_adapter_free(a);
    t[at].shape[0] = 319;
    t[at].n_bytes = 319 * 64 * 4;
    unlink(path);
    ok(wk_safetensors_write(path, t, n));
    refused(wick_adapter_load(m, folder, &a), WICK_E_FORMAT, "has shape [319, 64], the model needs [320, 64]");
    wk_safetensors_free(file);
    wk_buf_free(&config);
    free(w);
    free(t);
    wick_model_free(m);
}

/* Scales of rsLoRA and of patterns, and files in half precision. */
static void scales_and_types(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wick_adapter *a;
    int q0 = wk_model_slot(m->m, 0, WK_T_Q), v0 = wk_model_slot(m->m, 0, WK_T_V), q1 = wk_model_slot(m->m, 1, WK_T_Q);
    write_tensors(&(edit){ 0 });
    write_config("{}");
    ok(wick_adapter_load(m, folder, &a));
    assert_true(a->term[q0].scale == 2 && a->term[v0].scale == 2 && a->term[q0].a->n_row == 8 && a->term[q0].b->n_row == 64);
    assert_null(a->term[wk_model_slot(m->m, 0, WK_T_K)].a);
    wick_adapter_free(a);
    write_config("{\"use_rslora\":true}");
    ok(wick_adapter_load(m, folder, &a));
    assert_true(fabsf(a->term[q0].scale - 16 / sqrtf(8)) < 1e-6f);
    wick_adapter_free(a);
    write_config("{\"alpha_pattern\":{\"layers.0.self_attn.q_proj\":4,\"v_pro.\":8,\"proj\":1000},\"rank_pattern\":{\"^model."
                 "layers.*\":8}}");
    ok(wick_adapter_load(m, folder, &a));
    assert_true(a->term[q0].scale == 0.5f && a->term[v0].scale == 1 && a->term[q1].scale == 2);
    wick_adapter_free(a);
    for (int k = 0; k < 2; k++) {
        write_config("{}");
        write_tensors(&(edit){ .as = k ? "BF16" : "F16" });
        ok(wick_adapter_load(m, folder, &a));
        assert_int_equal(a->term[q0].a->dtype, WK_F32);
        wick_adapter_free(a);
    }
    wick_model_free(m);
}

static void same_data(const wk_lora_data *a, const wk_lora_data *b) {
    assert_int_equal(a->n_module, b->n_module);
    assert_int_equal(a->n_saved, b->n_saved);
    for (size_t i = 0; i < a->n_module; i++) {
        const wk_lora_module *x = &a->module[i], *y = &b->module[i];
        assert_true(x->layer == y->layer && x->role == y->role && x->rank == y->rank && x->n_in == y->n_in && x->n_out == y->n_out);
        assert_true(fabs(wk_lora_scale(a, x) - wk_lora_scale(b, y)) < 1e-6);
        assert_memory_equal(x->a, y->a, (size_t)(x->rank * x->n_in) * 4);
        assert_memory_equal(x->b, y->b, (size_t)(x->rank * x->n_out) * 4);
        assert_true(!x->magnitude == !y->magnitude);
        if (x->magnitude) assert_memory_equal(x->magnitude, y->magnitude, (size_t)x->n_out * 4);
    }
    for (size_t i = 0; i < a->n_saved; i++) {
        const wk_lora_saved *x = &a->saved[i], *y = &b->saved[i];
        assert_true(x->role == y->role && x->n_row == y->n_row && x->n_col == y->n_col);
        assert_memory_equal(x->w, y->w, (size_t)(x->n_row * x->n_col) * 4);
    }
}

/* The same s B A, whatever its parts. */
static void same_change(const wk_lora_data *a, const wk_lora_data *b) {
    assert_int_equal(a->n_module, b->n_module);
    for (size_t i = 0; i < a->n_module; i++) {
        const wk_lora_module *x = &a->module[i], *y = &b->module[i];
        double s = wk_lora_scale(a, x), t = wk_lora_scale(b, y);
        assert_true(x->layer == y->layer && x->role == y->role && x->n_in == y->n_in && x->n_out == y->n_out);
        for (int64_t o = 0; o < x->n_out; o += 7)
            for (int64_t k = 0; k < x->n_in; k += 5) {
                double p = 0, q = 0;
                for (int64_t r = 0; r < x->rank; r++) p += (double)x->b[o * x->rank + r] * (double)x->a[r * x->n_in + k];
                for (int64_t r = 0; r < y->rank; r++) q += (double)y->b[o * y->rank + r] * (double)y->a[r * y->n_in + k];
                if (fabs(s * p - t * q) > 1e-6) fail_msg("%s: %g, was %g", x->module, t * q, s * p);
            }
    }
}

/* Written and read again, in each format that can say it, an adapter is what it was. */
static void written_and_read_again(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        { "llama", "r8-qv" }, { "llama", "r4-all" }, { "llama", "layers-0-2" }, { "mistral-window", "rank-pattern" },
        { "qwen2-tied", "r16-all-rslora" }, { "phi3-crossing", "r4-fused" }, { "phi3-crossing", "r2-fused-dora" },
        { "gemma3", "r4-all" }, { "gemma3", "r2-embed" }, { "qwen2-tied", "r8-dora" }, { "qwen2-classify", "r8-all-cls" },
        { "llama", "r4-embed-head" }, { "llama", "saved-head" }, { "llama", "r2-dora-all" }, { "mixtral", "r2-attention" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[128];
        wk_lora_data *d, *again;
        snprintf(path, sizeof path, "data/models/%s", cases[i][0]);
        wick_model *m = run_open(path);
        snprintf(path, sizeof path, "data/adapters/%s/%s", cases[i][0], cases[i][1]);
        ok(wk_lora_read(m->m, path, &d));
        bool dora = strstr(path, "dora"), saved = d->n_saved, other = strstr(path, "pattern");
        for (wk_lora_format f = WK_LORA_PEFT; f <= WK_LORA_GGUF; f++) {
            char to[64];
            const char *what = saved ? "saved module" : "DoRA's magnitudes";
            snprintf(to, sizeof to, "%s/%s", folder, f == WK_LORA_PEFT ? "peft" : f == WK_LORA_MLX ? "mlx" : "a.gguf");
            wick_status st = wk_lora_write(m->m, d, to, f);
            if ((saved && f != WK_LORA_PEFT) || (dora && f == WK_LORA_GGUF)) {
                refused(st, WICK_E_UNSUPPORTED, what);
                continue;
            }
            ok(st);
            ok(wk_lora_read(m->m, to, &again));
            if (other && f != WK_LORA_PEFT) same_change(d, again);  /* one scale there: B is another, and padded */
            else same_data(d, again);
            wk_lora_data_free(again);
        }
        wk_lora_data_free(d);
        wick_model_free(m);
    }
}

/* A writer of one adapter over another, which dies at its k-th call. */
typedef struct replacing { const wk_model *m; const wk_lora_data *d; const char *to; wk_lora_format f; uint64_t k; } replacing;
static void replace(void *user) {
    const replacing *r = user;
    wk_io_fail_at(r->k, WK_IO_DIE);
    ok(wk_lora_write(r->m, r->d, r->to, r->f));
}

/* What lies there: 0: the old adapter, 1: the new one, 2: none, and it is told why. Nothing of both. */
static int which(const wk_model *m, const char *path, wk_lora_data *const d[2]) {
    wk_lora_data *now;
    wick_status st = wk_lora_read(m, path, &now);
    if (st) {
        refused(st, WICK_E_IO, "an adapter was taking another one's place, and did not get there. Write it again, or take");
        return 2;
    }
    int is = fabs(wk_lora_scale(d[0], d[0]->module) - wk_lora_scale(now, now->module)) > 1e-6;
    same_data(d[is], now);
    wk_lora_data_free(now);
    return is;
}

/* Killed at any call, or with a disk that is full at any, a writer leaves one adapter or the other. */
static void replaced_by_another(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    wk_lora_data *d[2];
    char to[64];
    assert_true(run_folder(to, sizeof to));
    for (int i = 0; i < 2; i++) ok(wk_lora_read(m->m, R8, &d[i]));
    for (size_t i = 0; i < d[1]->n_module; i++) d[1]->module[i].alpha *= 2;
    d[1]->module[0].a[0] += 1;
    for (wk_lora_format f = WK_LORA_PEFT; f <= WK_LORA_MLX; f++)
        for (int full = 0; full < 2; full++) {
            int seen[3] = { 0 };
            bool whole = false;
            for (uint64_t k = 1; !whole; k++) {
                ok(wk_lora_write(m->m, d[0], to, f));
                assert_int_equal(which(m->m, to, d), 0);
                if (full) {
                    uint64_t before = wk_io_count();
                    wk_io_fail_at(k, ENOSPC);
                    whole = wk_lora_write(m->m, d[1], to, f) == WICK_OK && wk_io_count() - before < k;
                    wk_io_fail_at(0, 0);
                } else whole = !run_killed(replace, &(replacing){ m->m, d[1], to, f, k });
                int now = which(m->m, to, d);
                assert_true(!whole || now == 1);
                seen[now]++;
                ok(wk_lora_write(m->m, d[1], to, f));
                assert_int_equal(which(m->m, to, d), 1);
                assert_false(wk_folder_has(to, ".new") || wk_folder_has(to, ".old"));
            }
            assert_true(seen[0] >= 10 && seen[1] >= 1 && seen[2] == (full ? 1 : 2));
            wk_folder_clear(to, NULL);
        }
    for (int i = 0; i < 2; i++) wk_lora_data_free(d[i]);
    wk_folder_remove(to);
    wick_model_free(m);
}

/* Parts of a fused matrix that have an A each, as training makes them, lie side by side in one in the file; read again they have
 * their own ranks, and what was not adapted is not. Even numbers of them would hide a sum in another order. */
static void parts_of_a_fused_matrix(void **state) {
    (void)state;
    static const struct part { wk_role role; int64_t rank; } parts[] = {
        { WK_T_Q, 3 }, { WK_T_V, 5 }, { WK_T_GATE, 2 }, { WK_T_UP, 3 },
    };
    enum { N = sizeof parts / sizeof *parts, MOST = 40000 };
    static const char *const to[] = { [WK_LORA_PEFT] = "peft", [WK_LORA_MLX] = "mlx", [WK_LORA_GGUF] = "parts.gguf" };
    wk_lora_module module[N];
    wk_lora_data d = { .module = module, .n_module = N }, *again, *seen;
    wick_model *m = run_open("data/models/phi3-crossing");
    float *all = malloc(MOST * sizeof *all), *at = all;
    char path[160];
    for (int i = 0; i < MOST; i++) all[i] = (float)(i % 97 + 1) / 16;
    for (size_t i = 0; i < N; i++) {
        wk_lora_module *x = &module[i];
        *x = (wk_lora_module){ .layer = 1, .role = parts[i].role, .rank = parts[i].rank };
        assert_true(wk_lora_sizes(m->m, 1, x->role, &x->n_in, &x->n_out));
        x->a = at;
        at += x->rank * x->n_in;
        x->b = at;
        at += x->rank * x->n_out;
        assert_true(at <= all + MOST);
    }
    for (wk_lora_format f = WK_LORA_PEFT; f <= WK_LORA_GGUF; f++) {
        for (int rslora = 0; rslora < (f == WK_LORA_PEFT ? 2 : 1); rslora++) {
            d.rslora = rslora;
            for (size_t i = 0; i < N; i++) module[i].alpha = 0.5 * (rslora ? sqrt((double)parts[i].rank) : (double)parts[i].rank);
            snprintf(path, sizeof path, "%s/%s", folder, to[f]);
            ok(wk_lora_write(m->m, &d, path, f));
            ok(wk_lora_read(m->m, path, &again));
            ok(wk_lora_view(m->m, path, &seen));
            if (f == WK_LORA_GGUF) same_change(&d, again);
            else same_data(&d, again);
            same_data(again, seen);
            wk_lora_data_free(again);
            wk_lora_data_free(seen);
        }
    }
    remove(path);
    d.rslora = false;
    module[3].alpha *= 100;  /* where there is one scale, its B is that many times larger */
    module[3].b[0] = 1e38f;
    for (wk_lora_format f = WK_LORA_MLX; f <= WK_LORA_GGUF; f++) {
        snprintf(path, sizeof path, "%s/%s", folder, to[f]);
        refused(wk_lora_write(m->m, &d, path, f), WICK_E_UNSUPPORTED, "has numbers beyond float32");
    }
    free(all);
    wick_model_free(m);
}

static wick_status fill_as_it_is(const wk_tensor *t, wk_out *out, void *user) {
    (void)user;
    return wk_out_write(out, t->data, t->n_bytes);
}

/* llama.cpp's converter writes Q8_0 where rows have whole blocks. wrong: the first block of one has a scale that is none. */
static void write_8_bits(const char *from, const char *to, bool wrong) {
    static uint8_t raw[32][1024];
    wk_gguf *g;
    wk_gguf_keys keys = { 0 };
    wk_tensor t[32];
    size_t n = 0;
    ok(wk_gguf_open(from, &g));
    for (size_t i = 0; i < wk_gguf_n_key(g); i++) wk_gguf_put_copy(&keys, g, i);
    for (; n < wk_gguf_n_tensor(g); n++) {
        t[n] = *wk_gguf_tensor(g, n);
        if (wk_tensor_cols(&t[n]) % 32) continue;
        wk_dtypes[WK_Q8_0].encode((const float *)(const void *)t[n].data, raw[n], wk_tensor_rows(&t[n]) * wk_tensor_cols(&t[n]));
        if (wrong) memcpy(raw[n], "\0\x7c", 2);
        t[n].dtype = WK_Q8_0;
        t[n].n_bytes = t[n].n_bytes / 128 * 34;
        t[n].data = raw[n];
    }
    ok(wk_gguf_put(to, &keys, t, n, fill_as_it_is, NULL));
    wk_gguf_keys_free(&keys);
    wk_gguf_free(g);
}

static void gguf_of_8_bits(void **state) {
    (void)state;
    char from[64], to[64];
    wk_lora_data *d, *again = NULL;
    wick_model *m = run_open(LLAMA);
    snprintf(from, sizeof from, "%s/a.gguf", folder);
    snprintf(to, sizeof to, "%s/8.gguf", folder);
    ok(wk_lora_read(m->m, R8, &d));
    ok(wk_lora_write(m->m, d, from, WK_LORA_GGUF));
    write_8_bits(from, to, false);
    ok(wk_lora_read(m->m, to, &again));
    assert_int_equal(again->n_module, d->n_module);
    for (size_t i = 0; i < d->n_module; i++) {
        const wk_lora_module *x = &d->module[i], *y = &again->module[i];
        double sum = 0, off = 0;
        for (int64_t k = 0; k < x->rank * x->n_in; k++) {
            sum += (double)x->a[k] * (double)x->a[k];
            off += ((double)x->a[k] - (double)y->a[k]) * ((double)x->a[k] - (double)y->a[k]);
        }
        assert_true(sum > 0 && off > 0 && off < 1e-4 * sum);
        assert_memory_equal(x->b, y->b, (size_t)(x->n_out * x->rank) * sizeof *x->b);
    }
    wk_lora_data_free(again);
    write_8_bits(from, to, true);
    refused(wk_lora_read(m->m, to, &again), WICK_E_FORMAT, "no number");
    wk_lora_data_free(d);
    wick_model_free(m);
}

/* The version of an adapter of q in layer 0 with these numbers; 0: refused. */
static uint64_t version_with(wick_model *m, int64_t rank, int64_t n_in, int64_t n_out, float *a, float *b) {
    wk_lora_module x = { .role = WK_T_Q, .rank = rank, .n_in = n_in, .n_out = n_out, .alpha = 1, .a = a, .b = b };
    wk_lora_data d = { .module = &x, .n_module = 1, .unseen = true };
    wick_adapter *got;
    wick_status st = wk_adapter_from_data(m->m, &d, &got);
    if (st) {
        assert_int_equal(st, WICK_E_FORMAT);
        assert_non_null(strstr(wick_last_error(), "no number to compute with"));
        return 0;
    }
    uint64_t v = got->info.version;
    wick_adapter_free(got);
    return v;
}

/* Each number counts for the version, wherever it lies, and where it is; and each is looked at. */
static void every_number_is_met(void **state) {
    wick_model *m = run_open(LLAMA);
    int64_t n_in, n_out, rank = 3;
    (void)state;
    assert_true(wk_lora_sizes(m->m, 0, WK_T_Q, &n_in, &n_out));
    float *all = calloc((size_t)(rank * (n_in + n_out)), sizeof *all), *a = all, *b = all + rank * n_in;
    for (int64_t i = 0; i < rank * (n_in + n_out); i++) all[i] = (float)(i % 37) - 18;
    uint64_t before = version_with(m, rank, n_in, n_out, a, b), last = before;
    for (int64_t i = 0; i < rank * (n_in + n_out); i++) {
        float was = all[i];
        all[i] = was + 0.25f;
        uint64_t v = version_with(m, rank, n_in, n_out, a, b);
        assert_true(v && v != before && v != last);
        last = v;
        all[i] = i % 2 ? INFINITY : NAN;
        assert_true(version_with(m, rank, n_in, n_out, a, b) == 0);
        all[i] = was;
    }
    assert_true(version_with(m, rank, n_in, n_out, a, b) == before);
    free(all);
    wick_model_free(m);
}

static void failed_allocations(void **state) {
    (void)state;
    wick_model *m = run_open(LLAMA);
    for (uint64_t k = 1;; k++) {
        wick_adapter *a;
        wk_alloc_fail_at(k);
        wick_status st = wick_adapter_load(m, R4, &a);
        wk_alloc_fail_at(0);
        if (!st) {
            wick_adapter_free(a);
            break;
        }
        assert_null(a);
        assert_int_equal(st, WICK_E_MEMORY);
    }
    wick_model_free(m);
}

static int clean(void **state) {
    (void)state;
    char path[160];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i ? "peft" : "mlx");
        wk_folder_remove(path);
    }
    wk_folder_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_with_and_without), cmocka_unit_test(rows_of_different_adapters_in_one_batch),
        cmocka_unit_test(generation_with_an_adapter), cmocka_unit_test(refusals), cmocka_unit_test(base_layers),
        cmocka_unit_test(scales_and_types),
        cmocka_unit_test(written_and_read_again), cmocka_unit_test(parts_of_a_fused_matrix),
        cmocka_unit_test(replaced_by_another), cmocka_unit_test(gguf_of_8_bits),
        cmocka_unit_test(every_number_is_met), cmocka_unit_test(failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
