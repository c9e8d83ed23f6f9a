/* test_adapter_base.c: an adapter of another model with the same shapes is refused, where its files or names tell; copies in other
 * types and models tuned from the same base take it. */
#include "adapter/lora_data.h"
#include "base/file.h"
#include "format/gguf_write.h"
#include "format/safetensors.h"
#include "generate/generate.h"
#include "support/run.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LLAMA "data/models/llama"
#define R4 "data/adapters/llama/r4-all"

static char folder[64];

static void path_in(char *out, size_t cap, const char *name) {
    assert_true(snprintf(out, cap, "%s/%s", folder, name) < (int)cap);
}

/* LLAMA's, with a name of what it was tuned from. */
static void write_config(const char *path) {
    static const char begin[] = "{\"_name_or_path\": \"elders/Ancestor-2b\",";
    wk_buf b = { 0 };
    ok(wk_file_read(LLAMA "/config.json", 1 << 20, &b));
    assert_int_equal(b.ptr[0], '{');
    ok(wk_file_write(path, (wk_str[]){ { begin, sizeof begin - 1 }, { b.ptr + 1, b.len - 1 } }, 2));
    wk_buf_free(&b);
}

/* A model of LLAMA's shapes: what a name says has its numbers changed. */
static void write_model(const char *to, const char *changed, float (*change)(float x, size_t i)) {
    char path[200];
    wk_safetensors *s;
    ok(wk_folder_make(to));
    snprintf(path, sizeof path, "%s/config.json", to);
    write_config(path);
    ok(wk_safetensors_open(LLAMA "/model.safetensors", &s));
    size_t n = wk_safetensors_n_tensor(s);
    wk_tensor *t = calloc(n, sizeof *t);
    float **own = calloc(n, sizeof *own);
    for (size_t i = 0; i < n; i++) {
        t[i] = *wk_safetensors_tensor(s, i);
        assert_int_equal(t[i].dtype, WK_F32);
        if (!memmem(t[i].name.ptr, t[i].name.len, changed, strlen(changed))) continue;
        own[i] = malloc(t[i].n_bytes);
        memcpy(own[i], t[i].data, t[i].n_bytes);
        for (size_t k = 0; k < t[i].n_bytes / 4; k++) own[i][k] = change(own[i][k], k);
        t[i].data = (const uint8_t *)own[i];
    }
    snprintf(path, sizeof path, "%s/model.safetensors", to);
    ok(wk_safetensors_write(path, t, n));
    for (size_t i = 0; i < n; i++) free(own[i]);
    free(own);
    free(t);
    wk_safetensors_free(s);
}

static float shuffled(float x, size_t i) { return i * 2654435761u >> 9 & 1 ? x : -x; }
/* As llama.cpp makes weights of a deviation of 0.08 ternary: what is below half the largest is zero. Here all of some rows are. */
static float ternary(float x, size_t i) { return i / 64 % 3 == 0 || fabsf(x) < 0.11f ? 0 : copysignf(0.22f, x); }
static float zero(float x, size_t i) { return (void)x, (void)i, 0.0f; }
static float tuned(float x, size_t i) { return x * (1 + 0.2f * ((float)(i % 13) / 6 - 1)); }

/* PEFT, mlx and GGUF copies of R4 that carry samples of m's weights. */
static const char *const forms[] = { [WK_LORA_PEFT] = "peft", [WK_LORA_MLX] = "mlx", [WK_LORA_GGUF] = "a.gguf" };
static void write_adapters(const wk_model *m, const char *base_model) {
    char path[128];
    wk_lora_data *d, *again;
    ok(wk_lora_read(m, R4, &d));
    assert_null(d->base_weights);
    ok(wk_lora_sample_base(m, d));
    wk_free(d->base_model);
    d->base_model = wk_strdup(base_model);
    for (wk_lora_format f = WK_LORA_PEFT; f <= WK_LORA_GGUF; f++) {
        path_in(path, sizeof path, forms[f]);
        ok(wk_lora_write(m, d, path, f));
        ok(wk_lora_read(m, path, &again));
        assert_string_equal(again->base_weights, d->base_weights);
        assert_string_equal(again->base_model, base_model);
        wk_lora_data_free(again);
    }
    wk_lora_data_free(d);
}

static wick_status load(wick_model *m, const char *path) {
    wick_adapter *a;
    wick_status st = wick_adapter_load(m, path, &a);
    wick_adapter_free(a);
    return st;
}

static wick_model *open_any(const char *path) {
    wick_model *m;
    wick_model_options o;
    wick_model_defaults(&o);
    o.n_threads = 2;
    o.any_base = true;
    ok(wick_model_open(path, &o, &m));
    return m;
}

static void samples_of_weights(void **state) {
    (void)state;
    static const char *const types[] = { "f16", "q8_0", "q4_0" };
    char path[128], model[128], out[128];
    wick_model *m = run_open(LLAMA);
    write_adapters(m->m, "ours/llama");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        wick_convert_options o;
        wick_convert_defaults(&o);
        o.type = types[i];
        o.force = true;
        path_in(model, sizeof model, "copy.gguf");
        ok(wick_convert(LLAMA, model, &o, NULL));
        wick_model *copy = run_open(model);
        for (int f = 0; f < 3; f++) {
            path_in(path, sizeof path, forms[f]);
            ok(load(m, path));
            ok(load(copy, path));
        }
        wick_model_free(copy);
    }

    /* One matrix alone can be another: somebody's repair, or zeros. */
    static const struct { const char *matrices; float (*change)(float x, size_t i); } akin[] = {
        { "_proj", tuned }, { "_proj", ternary }, { "layers.0.self_attn.q_proj", shuffled }, { "layers.0.self_attn.q_proj", zero },
    };
    wick_model *other;
    path_in(path, sizeof path, "peft");
    for (size_t i = 0; i < sizeof akin / sizeof *akin; i++) {
        char name[16];
        snprintf(name, sizeof name, "akin%zu", i);
        path_in(model, sizeof model, name);
        write_model(model, akin[i].matrices, akin[i].change);
        other = run_open(model);
        ok(load(other, path));
        wick_model_free(other);
    }

    path_in(model, sizeof model, "other");
    write_model(model, "_proj", shuffled);
    other = run_open(model);
    wick_convert_options merge;
    wick_convert_defaults(&merge);
    merge.n_adapter = 1;
    merge.force = true;
    path_in(out, sizeof out, "merged.gguf");
    for (int f = 0; f < 3; f++) {
        path_in(path, sizeof path, forms[f]);
        merge.adapter = &(wick_adapter_file){ path, 1 };
        refused(load(other, path), WICK_E_FORMAT, "was trained on another model (\"ours/llama\") than \"other\": layers.");
        refused(load(other, path), WICK_E_FORMAT, "--any-base");
        merge.any_base = false;
        refused(wick_convert(model, out, &merge, NULL), WICK_E_FORMAT, "was trained on another model");
        assert_false(wk_file_exists(out));
        merge.any_base = true;
        ok(wick_convert(model, out, &merge, NULL));
        remove(out);
        ok(load(m, path));
    }
    wick_model_free(other);
    other = open_any(model);
    ok(load(other, path));
    wick_model_free(other);
    wick_model_free(m);
}

/* One matrix alone can be like another model's: here it is the same, and what was not adapted tells. */
static void few_matrices(void **state) {
    (void)state;
    char path[128], model[128];
    wk_lora_data *d;
    wick_model *m = run_open(LLAMA);
    path_in(path, sizeof path, "few.gguf");
    path_in(model, sizeof model, "same-embedding");
    write_model(model, "_proj", shuffled);
    wick_model *other = run_open(model);
    ok(wk_lora_read(m->m, "data/adapters/llama/r4-embed-head", &d));
    size_t n = d->n_module, embed = 0;
    while (d->module[embed].role != WK_T_EMBED) embed++;
    wk_lora_module first = d->module[0];
    d->module[0] = d->module[embed];
    d->module[embed] = first;
    d->n_module = 1;
    ok(wk_lora_sample_base(m->m, d));
    ok(wk_lora_write(m->m, d, path, WK_LORA_GGUF));
    d->n_module = n;
    ok(load(m, path));
    refused(load(other, path), WICK_E_FORMAT, "was trained on another model");
    wk_lora_data_free(d);
    wick_model_free(other);
    wick_model_free(m);
}

/* Half a note, other digits: nothing of it is believed. A matrix that this model has not is one of another. */
static void damaged_notes(void **state) {
    (void)state;
    static const char *const notes[] = {
        "", " ", "0", "0 self_attn.q_proj", "0 self_attn.q_proj 3f80", "0 self_attn.z_proj %s", "-2 self_attn.q_proj %s",
        "x self_attn.q_proj %s", "0 self_attn.q_proj %sf", "0 self_attn.q_proj %s ", "0 self_attn.q_proj %.127sG",
        "99 self_attn.q_proj %s", "0 self_attn.q_norm %s", "0 mlp.experts.*.up_proj %s",
    };
    const size_t n_note = sizeof notes / sizeof *notes;
    char path[128], digits[129], note[200];
    wk_lora_data *d;
    wick_model *m = run_open(LLAMA);
    for (int i = 0; i < 128; i++) digits[i] = "3f80"[i % 4];
    digits[128] = 0;
    path_in(path, sizeof path, "damaged.gguf");
    ok(wk_lora_read(m->m, R4, &d));
    for (size_t i = 0; i < n_note; i++) {
        const char *end = strchr(notes[i], '%');
        size_t n = end ? (size_t)(end - notes[i]) : strlen(notes[i]);
        int most = end && end[1] == '.' ? 127 : 128;
        snprintf(note, sizeof note, "%.*s%.*s%s", (int)n, notes[i], end ? most : 0, digits,
                 end ? strchr(end, 's') + 1 : "");
        wk_free(d->base_weights);
        d->base_weights = wk_strdup(note);
        ok(wk_lora_write(m->m, d, path, WK_LORA_GGUF));
        if (!*note) ok(load(m, path));
        else if (note[strlen(note) - 1] == ' ') load(m, path);  /* it ends too early to tell */
        else if (i < n_note - 3) refused(load(m, path), WICK_E_FORMAT, "damaged");
        else refused(load(m, path), WICK_E_FORMAT, " is not there. Give the model it was trained on");
    }
    /* No more of it is read than there can be, and nothing of it is printed as it is. */
    wk_buf many = { 0 };
    for (int i = 0; i < 9; i++) wk_buf_printf(&many, "%s%d mlp.up_proj %s", i ? " " : "", i % 2, digits);
    wk_free(d->base_weights);
    d->base_weights = many.ptr;
    ok(wk_lora_write(m->m, d, path, WK_LORA_GGUF));
    refused(load(m, path), WICK_E_FORMAT, "damaged at \"0 mlp.up_proj 3f80");
    wk_free(d->base_weights);
    d->base_weights = wk_strdup("\x1b[31m");
    ok(wk_lora_write(m->m, d, path, WK_LORA_GGUF));
    refused(load(m, path), WICK_E_FORMAT, "damaged");
    assert_null(strchr(wick_last_error(), 0x1b));
    wk_lora_data_free(d);
    wick_model_free(m);
}

/* With no samples the hub's names tell, where both are known. */
static void names_on_the_hub(void **state) {
    (void)state;
    static const struct { const char *adapter; bool fits; } cases[] = {
        { "meta-llama/Llama-3.2-1B", true }, { "unsloth/llama-3.2-1b-bnb-4bit", true },
        { "TheBloke/Llama-3.2-1B-Chat-GPTQ", true }, { "someone/Finer-Llama-3.2-1B", true },
        { "meta-llama/Llama-3.1-8B", false }, { "Qwen/Qwen2.5-0.5B", false }, { "./Qwen2.5-0.5B", true }, { "/models/qwen", true },
        { "qwen", true }, { "a/b/c", true }, { "fixtures/models/llama", true }, { "data/models", true }, { "owner/", true },
        { "owner/-instruct", true }, { "models/qwen-7b", true }, { "Output/qwen-7b", true }, { "qwen/checkpoint-500", true },
        { "RedHatAI/Llama-3.2-1B-quantized.w4a16", true }, { "ggml-org/models", true }, { "someone/Ancestor-2b", true },
    };
    char path[160], model[160];
    wk_lora_data *d;
    path_in(model, sizeof model, "models--meta-llama--Llama-3.2-1B-Instruct");
    ok(wk_folder_make(model));
    path_in(model, sizeof model, "models--meta-llama--Llama-3.2-1B-Instruct/snapshots");
    ok(wk_folder_make(model));
    path_in(model, sizeof model, "models--meta-llama--Llama-3.2-1B-Instruct/snapshots/abc");
    write_model(model, "_proj", tuned);
    wick_model *m = run_open(model), *any = open_any(model), *unknown = run_open(LLAMA);
    path_in(path, sizeof path, "named.gguf");
    ok(wk_lora_read(m->m, R4, &d));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_free(d->base_model);
        d->base_model = wk_strdup(cases[i].adapter);
        ok(wk_lora_write(m->m, d, path, WK_LORA_GGUF));
        wick_status st = load(m, path);
        if (cases[i].fits && st) fail_msg("%s: %s", cases[i].adapter, wick_last_error());
        if (!cases[i].fits) {
            char words[160];
            snprintf(words, sizeof words, "was trained on \"%s\", and this model is \"meta-llama/Llama-3.2-1B-Instruct\"",
                     cases[i].adapter);
            refused(st, WICK_E_FORMAT, words);
        }
        ok(load(any, path));
        ok(load(unknown, path));
    }
    wk_lora_data_free(d);
    wick_model_free(m);
    wick_model_free(any);
    wick_model_free(unknown);
}

static int make_folder(void **state) {
    (void)state;
    return run_folder(folder, sizeof folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return run_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_of_weights), cmocka_unit_test(few_matrices), cmocka_unit_test(damaged_notes),
        cmocka_unit_test(names_on_the_hub),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
