/* test_train_full.c: full fine-tuning leaves a model: a folder from a folder, a GGUF file from a GGUF file, which gives the bits of
 * the trainer's last state. What cannot be written is refused before training begins, and a write that fails leaves no half. */
#include "base/file.h"
#include "convert/trained.h"
#include "format/checkpoint.h"
#include "support/training.h"
#include "train/train.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEN = 24, MAX_WEIGHT = 256 };
static char folder[64];

static const char *in_folder(const char *name) {
    static char path[4][240];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", folder, name);
    return path[k];
}

static size_t list(const wk_trainer *t, wk_trained_weight *w) {
    size_t n;
    const wk_train_param *p = wk_trainer_params(t, &n);
    assert_true(n <= MAX_WEIGHT);
    for (size_t i = 0; i < n; i++) w[i] = (wk_trained_weight){ p[i].layer, p[i].role, p[i].kind == WK_PARAM_BIAS, p[i].w };
    return n;
}

static void some_steps(wk_trainer *t, train_rows *b, int n_vocab) {
    train_make(b, 7, LEN, n_vocab);
    for (int k = 0; k < 3; k++) {
        ok(wk_trainer_backward(t, &b->r, NULL, NULL));
        ok(wk_trainer_update(t, 3e-3, NULL));
    }
}

/* The written model's logits, keys and values being kept in kv. */
static float *served(const char *path, const train_rows *b, wk_dtype kv, size_t *n_logit) {
    wk_model *m = train_model(path, 2);
    wk_runner *r = NULL;
    wk_row row[LEN];
    ok(wk_runner_new(m, 64, 64, 1, kv, &r));
    for (int i = 0; i < LEN; i++) row[i] = (wk_row){ .token = b->token[i], .adapter = -1, .want = b->label[i] != WK_NO_LABEL };
    ok(wk_runner_step(r, row, LEN));
    *n_logit = (size_t)wk_runner_n_logits(r);
    float *out = calloc(LEN * *n_logit, sizeof *out);
    for (size_t i = 0; i + 1 < LEN; i++) memcpy(out + i * *n_logit, wk_runner_logits(r, (int)i), *n_logit * sizeof *out);
    wk_runner_free(r);
    wk_model_free(m);
    return out;
}

static void leaves_its_bits(const char *model, const char *to, unsigned whole) {
    wk_trained_weight w[MAX_WEIGHT];
    wk_trainer_options o = wk_trainer_defaults();
    train_rows b = { .r = { 0 } };
    size_t n_logit;
    o.fine_tune = WK_TUNE_FULL;
    o.whole = whole;
    wk_model *m = train_model(model, 2);
    wk_trainer *t = train_new(m, &o, NULL);
    some_steps(t, &b, (int)m->hp.n_vocab);
    ok(wk_write_trained(model, to, w, list(t, w), true));
    assert_false(wk_file_exists(to));
    for (int again = 0; again < 2; again++) ok(wk_write_trained(model, to, w, list(t, w), false));  /* also over an earlier one */
    float *got = served(to, &b, wk_model_kv_type(m), &n_logit);
    float *want = calloc(LEN * n_logit, sizeof *want);
    ok(wk_trainer_logits(t, &b.r, want));
    for (size_t i = 0; i + 1 < LEN; i++)
        if (memcmp(want + i * n_logit, got + i * n_logit, n_logit * sizeof *want))
            fail_msg("%s: row %zu has other logits once it is written", model, i);
    free(got);
    free(want);
    wk_trainer_free(t);
    wk_model_free(m);
    wk_folder_remove(to);
    unlink(to);
}

static void folders(void **state) {
    (void)state;
    static const char *const models[] = { "llama", "llama-bias", "gemma2", "gemma3", "mistral-window", "olmo2", "phi3-partial",
                                          "qwen2-tied", "qwen3", "mixtral", "qwen3-moe", "gpt-oss" };
    char path[100];
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        snprintf(path, sizeof path, "data/models/%s", models[i]);
        leaves_its_bits(path, in_folder("model"), 0);
    }
}

static void gguf_files(void **state) {
    (void)state;
    static const char *const models[] = { "llama", "llama-bias", "gemma3", "phi3-partial", "qwen2-tied", "mixtral", "qwen3-moe",
                                          "gpt-oss" };
    char command[300], path[200];
    snprintf(command, sizeof command, "python3 make_gguf_models.py %s --type F32", folder);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        snprintf(path, sizeof path, "%s/%s.gguf", folder, models[i]);
        leaves_its_bits(path, in_folder("out.gguf"), 0);
    }
}

/* Weights of bfloat16 are trained, and written, as float32; keys and values stay those of the model that was trained. */
static void bfloat16(void **state) {
    (void)state;
    wick_convert_options o;
    wick_convert_defaults(&o);
    o.type = "bf16";
    ok(wick_convert("data/models/llama", in_folder("bf16.gguf"), &o, NULL));
    ok(wick_convert(in_folder("bf16.gguf"), in_folder("bf16"), &o, NULL));
    leaves_its_bits(in_folder("bf16.gguf"), in_folder("out.gguf"), 0);
    leaves_its_bits(in_folder("bf16"), in_folder("model"), 0);
    leaves_its_bits(in_folder("bf16"), in_folder("model"), WK_WHOLE_LINEAR);
}

/* A part of a quantised file: what was not trained keeps its type and bytes. */
static void quantised(void **state) {
    (void)state;
    wick_convert_options o;
    wk_checkpoint *from, *to;
    wick_convert_defaults(&o);
    o.type = "q8_0";
    o.force = true;
    ok(wick_convert("data/models/llama", in_folder("q8_0.gguf"), &o, NULL));
    leaves_its_bits(in_folder("q8_0.gguf"), in_folder("out.gguf"), WK_WHOLE_NORMS);
    wk_trained_weight w = { 0, WK_T_ATTN_NORM, false, calloc(4096, sizeof(float)) };
    ok(wk_write_trained(in_folder("q8_0.gguf"), in_folder("out.gguf"), &w, 1, false));
    ok(wk_checkpoint_open(in_folder("q8_0.gguf"), false, &from));
    ok(wk_checkpoint_open(in_folder("out.gguf"), false, &to));
    assert_int_equal(wk_checkpoint_n_tensor(from), wk_checkpoint_n_tensor(to));
    int n_other = 0;
    for (size_t i = 0; i < wk_checkpoint_n_tensor(from); i++) {
        const wk_tensor *a = wk_checkpoint_tensor(from, i), *b = wk_checkpoint_tensor(to, i);
        assert_memory_equal(a->name.ptr, b->name.ptr, a->name.len);
        n_other += a->dtype != b->dtype || memcmp(a->data, b->data, a->n_bytes);
    }
    assert_int_equal(n_other, 1);
    wk_checkpoint_free(from);
    wk_checkpoint_free(to);
    free((void *)(uintptr_t)w.w);
}

/* A copy of a small folder, with its types in config.json said otherwise. */
static void copy_folder(const char *from, const char *to, const char *config_from, const char *config_to) {
    char command[600];
    snprintf(command, sizeof command, "cp -r %s %s && sed -i 's/%s/%s/' %s/config.json && chmod -R u+w %s", from, to, config_from,
             config_to, to, to);
    assert_int_equal(system(command), 0);
}

/* transformers rounds to the type that config.json names: it names the one that is written. */
static void configuration(void **state) {
    (void)state;
    static const struct { const char *to, *want; } cases[] = {
        { "\"torch_dtype\": \"bfloat16\", \"x_dtype\": \"dtype\"", "\"torch_dtype\": \"float32\", \"x_dtype\": \"dtype\"" },
        { "\"dtype\" :\"float16\"", "\"dtype\" :\"float32\"" },
        { "\"torch_dtype\": null", "\"torch_dtype\": null" },
        /* what lies deeper, or is a value, is none of these keys */
        { "\"of\": { \"dtype\": \"x\" }, \"is\": [\"dtype\", \"y\"], \"dtype\": \"float16\"",
          "\"of\": { \"dtype\": \"x\" }, \"is\": [\"dtype\", \"y\"], \"dtype\": \"float32\"" },
    };
    float *norm = calloc(4096, sizeof *norm);
    wk_trained_weight w = { -1, WK_T_OUT_NORM, false, norm };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_buf text = { 0 };
        copy_folder("data/models/llama", in_folder("source"), "\"dtype\": \"float32\"", cases[i].to);
        ok(wk_write_trained(in_folder("source"), in_folder("model"), &w, 1, false));
        ok(wk_file_read(in_folder("model/config.json"), 1 << 20, &text));
        if (!strstr(text.ptr, cases[i].want)) fail_msg("%s is not in %s", cases[i].want, text.ptr);
        ok(wk_file_read(in_folder("source/config.json"), 1 << 20, &text));
        wk_buf_free(&text);
        wk_folder_remove(in_folder("source"));
        wk_folder_remove(in_folder("model"));
    }
    free(norm);
}

static void refusals(void **state) {
    (void)state;
    wk_trained_weight w = { -1, WK_T_OUT_NORM, false, (const float[4096]){ 0 } };
    refused(wk_write_trained("data/models/llama", "data/models/llama", &w, 1, true), WICK_E_ARG, "are the same");
    refused(wk_write_trained("data/models/llama-awq", in_folder("model"), &w, 1, true), WICK_E_UNSUPPORTED, "is quantised");
    ok(wk_folder_make(in_folder("folder.gguf")));
    refused(wk_write_trained("data/models/llama", in_folder("folder.gguf"), &w, 1, true), WICK_E_ARG, "is a folder");
    wk_folder_remove(in_folder("folder.gguf"));
    assert_false(wk_file_exists(in_folder("model")));
}

/* A model's files, one after the other; those that are not there as a word. */
static wk_buf files_of(const char *model) {
    static const char *const names[] = { "config.json", "model.safetensors.index.json", "model.safetensors" };
    wk_buf all = { 0 };
    for (int i = 0; i < 12; i++) {
        char path[300];
        if (i < 3) snprintf(path, sizeof path, "%s/%s", model, names[i]);
        else snprintf(path, sizeof path, "%s/model-%05d-of-00008.safetensors", model, i - 2);
        if (wk_file_exists(path)) ok(wk_file_read(path, 1 << 24, &all));
        else wk_buf_str(&all, "none");
    }
    return all;
}

static bool same_files(const char *model, const wk_buf *want) {
    wk_buf got = files_of(model);
    bool same = got.len == want->len && !memcmp(got.ptr, want->ptr, got.len);
    wk_buf_free(&got);
    return same;
}

static wick_status write_shards(const char *from, const char *to) {
    wick_convert_options o;
    wick_convert_defaults(&o);
    o.max_shard_bytes = 100000;
    o.force = true;
    return wick_convert(from, to, &o, NULL);
}

/* The same, to die at its k-th call. */
typedef struct death { const char *from, *to; uint64_t k; int how; } death;
static void write_dying(void *user) {
    const death *d = user;
    wk_io_fail_at(d->k, d->how);
    ok(write_shards(d->from, d->to));
}

/* A model in shards takes another's place: whoever is killed at any call, or has any fail, finds the whole of the one or of the
 * other, and what else lay there. */
static void one_or_the_other(void **state) {
    (void)state;
    char command[900], m[240], b[240], again[600];
    float *norm = calloc(4096, sizeof *norm);
    wk_trained_weight w = { -1, WK_T_OUT_NORM, false, norm };
    int n_kill = 0, n_new = 0, n_back = 0;
    snprintf(m, sizeof m, "%s/m", folder);
    snprintf(b, sizeof b, "%s/b.gguf", folder);
    snprintf(again, sizeof again, "cp -r %s/saved %s", folder, m);
    ok(wick_convert("data/models/llama", in_folder("a.gguf"), NULL, NULL));
    ok(wk_write_trained(in_folder("a.gguf"), b, &w, 1, false));
    ok(write_shards(b, m));
    wk_buf new = files_of(m);
    ok(write_shards(in_folder("a.gguf"), m));
    snprintf(command, sizeof command, "cd %s && mkdir m/more && echo mine > m/notes.txt && cp m/notes.txt m/more && cp -r m saved",
             folder);
    assert_int_equal(system(command), 0);
    wk_buf old = files_of(m);
    assert_true(new.len == old.len && memcmp(new.ptr, old.ptr, new.len));
    snprintf(command, sizeof command, "rm -rf %s %s.tmp-*", m, m);
    for (int how = WK_IO_DIE; how >= WK_IO_DIE_SHORT; how--) {
        bool died = true;
        for (int k = 1; how == WK_IO_DIE ? died : k <= n_kill; k++) {
            assert_int_equal(system(command) | system(again), 0);
            died = run_killed(write_dying, &(death){ b, m, (uint64_t)k, how });
            n_kill += died && how == WK_IO_DIE;
            n_new += died && same_files(m, &new);
            if (!same_files(m, &old) && !same_files(m, &new)) fail_msg("killed at call %d: neither the old nor the new", k);
            assert_true(wk_file_exists(in_folder("m/notes.txt")));
            if (!died) assert_true(same_files(m, &new) && wk_file_exists(in_folder("m/more/notes.txt")));
        }
    }
    assert_true(n_kill >= 50 && n_new >= 1);
    for (uint64_t k = 1; k <= (uint64_t)n_kill; k++) {  /* among them is a file system that cannot exchange names */
        assert_int_equal(system(command) | system(again), 0);
        wk_io_fail_at(k, EINVAL);
        wick_status st = write_shards(b, m);
        wk_io_fail_at(0, 0);
        n_back += !st;
        ok(wk_model_folder_recover(m));  /* what could not be moved */
        assert_true(wk_file_exists(in_folder("m/more/notes.txt")));
        assert_true(same_files(m, st ? &old : &new) && wk_file_exists(in_folder("m/notes.txt")));
        assert_false(wk_file_exists(in_folder("m.tmp-old")));
    }
    assert_true(n_back >= 1);
    /* Without hard links: who looks after a kill, before the next one writes, finds what lay beside the model. */
    bool died = true;
    wk_io_plain(true);
    for (int k = 1; died; k++) {
        assert_int_equal(system(command) | system(again), 0);
        died = run_killed(write_dying, &(death){ b, m, (uint64_t)k, WK_IO_DIE });
        ok(wk_model_folder_recover(m));
        if (!same_files(m, &old) && !same_files(m, &new)) fail_msg("killed at call %d: neither the old nor the new", k);
        assert_true(wk_file_exists(in_folder("m/notes.txt")) && wk_file_exists(in_folder("m/more/notes.txt")));
        assert_false(wk_folder_has(folder, ".tmp-old"));
    }
    wk_io_plain(false);
    int fd;
    ok(wk_folder_lock(m, &fd));  /* another process writes it: two at once would each move what the other one brings */
    refused(write_shards(b, m), WICK_E_IO, "another process writes there at this moment");
    wk_folder_unlock(fd);
    assert_int_equal(system(command), 0);
    wk_buf_free(&new);
    wk_buf_free(&old);
    free(norm);
}

/* Through the public interface: a run that is resumed goes on, its model is the last one, its best one is kept. */
static void runs(void **state) {
    (void)state;
    static const char lines[] = "{\"input_ids\":[1,2,3,4,5,6]}\n{\"input_ids\":[5,6,7,8,9,1]}\n";
    char data[100], out[100];
    wick_model_options mo;
    wick_train_options o;
    wick_train_event e = { 0 };
    wick_model *m;
    wick_train *t;
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    ok(wk_folder_make(data));
    ok(wk_file_write(in_folder("data/train.jsonl"), &WK_STR(lines), 1));
    ok(wk_file_write(in_folder("data/valid.jsonl"), &WK_STR(lines), 1));
    wick_model_defaults(&mo);
    mo.n_threads = 1;
    ok(wick_model_open("data/models/llama", &mo, &m));
    wick_train_defaults(&o);
    o.data = data;
    o.adapter_path = out;
    o.fine_tune_type = "full";
    o.iters = 6;
    o.batch_size = 2;
    o.learning_rate = 1e-2;
    o.num_layers = -1;
    o.steps_per_eval = 2;
    o.early_stopping = 10;
    for (int k = 0; k < 2; k++) {  /* three steps, and three more */
        o.iters = 3 + 3 * k;
        o.resume = k;
        ok(wick_train_new(m, &o, false, &t));
        for (e.finished = false; !e.finished;) ok(wick_train_step(t, &e));
        if (k == 0) {
            assert_true(wk_file_exists(in_folder("out/model/model.safetensors")));
            wick_train_free(t);
        }
    }
    assert_true(wk_file_exists(in_folder("out/best/model/config.json")));
    assert_int_equal(t->n_sample, 2);
    assert_string_not_equal(t->sample[0].before, t->sample[0].after);  /* the trained model's answer */
    wick_train_free(t);
    wick_model_free(m);
    ok(wick_model_open("data/models/llama", &mo, &m));  /* what the keys name, and nothing else */
    wick_train_options some = o;
    some.keys = NULL;
    some.n_keys = 0;
    some.resume = false;
    some.overwrite = true;
    ok(wick_train_options_set(&some, "keys", "q_proj,mlp.down_proj,norm"));
    ok(wick_train_new(m, &some, true, &t));
    size_t n_param;
    const wk_train_param *p = wk_trainer_params(t->trainer, &n_param);
    for (size_t i = 0; i < n_param; i++)
        assert_true(p[i].role == WK_T_Q || p[i].role == WK_T_DOWN || wk_roles[p[i].role].rows == WK_D_ONE);
    assert_int_equal(n_param, 4 * m->m->hp.n_layer + 1);
    wick_train_free(t);
    wick_model_free(m);
    ok(wick_model_open("data/models/mixtral", &mo, &m));  /* experts' projections by the same names */
    ok(wick_train_new(m, &some, true, &t));
    p = wk_trainer_params(t->trainer, &n_param);
    for (size_t i = 0; i < n_param; i++)
        assert_true(p[i].role == WK_T_Q || p[i].role == WK_T_DOWN_EXPS || wk_roles[p[i].role].rows == WK_D_ONE);
    assert_int_equal(n_param, 4 * m->m->hp.n_layer + 1);
    wick_train_free(t);
    wick_model_free(m);
    wick_train_options_free(&some);
    o.adapter_path = in_folder("out/model");  /* over itself */
    ok(wick_model_open(in_folder("out/model"), &mo, &m));
    o.resume = false;
    o.overwrite = true;
    o.adapter_path = out;
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG, "are the same");
    wick_model_free(m);
}

static int make_folder(void **state) {
    (void)state;
    return !run_folder(folder, sizeof folder);
}

static int remove_folder(void **state) {
    (void)state;
    return run_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(folders),       cmocka_unit_test(gguf_files), cmocka_unit_test(bfloat16),
                                        cmocka_unit_test(quantised),     cmocka_unit_test(configuration),
                                        cmocka_unit_test(refusals),      cmocka_unit_test(runs),
                                        cmocka_unit_test(one_or_the_other) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
