/* test_train_api.c: training through wick.h: what a step does when, that two halves give the bytes of a whole, errors. */
#include "base/file.h"
#include "base/mem.h"
#include "support/run.h"
#include "train/train.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], data[96], out[96];

static void write_file(const char *in, const char *name, const char *text) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", in, name);
    ok(wk_file_write(path, &(wk_str){ text, strlen(text) }, 1));
}

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/wick-train-XXXXXX");
    if (!mkdtemp(folder)) return 1;
    snprintf(data, sizeof data, "%s/data", folder);
    snprintf(out, sizeof out, "%s/out/deep", folder);
    ok(wk_folder_make(data));
    write_file(data, "train.jsonl", "{\"prompt\":\"a\",\"completion\":\"b c\"}\n{\"prompt\":\"d\",\"completion\":\"e\"}\n"
                                    "{\"text\":\"one two three\"}\n");
    write_file(data, "valid.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"text\":\"a longer one, of several tokens\"}\n"
                                    "{\"prompt\":\"x\",\"completion\":\"y\"}\n");
    return 0;
}

static void clear(void) {
    char sub[128];
    snprintf(sub, sizeof sub, "%s/best", out);
    wk_folder_remove(sub);
    wk_folder_remove(out);
}

static int remove_folder(void **state) {
    (void)state;
    clear();
    char sub[96];
    snprintf(sub, sizeof sub, "%s/out", folder);
    wk_folder_remove(sub);
    wk_folder_remove(data);
    wk_folder_remove(folder);
    return 0;
}

static wick_model *open_model(const char *path) {
    wick_model_options o;
    wick_model *m;
    wick_model_defaults(&o);
    o.n_threads = 1;
    o.backend = "reference";
    ok(wick_model_open(path, &o, &m));
    return m;
}

static wick_train_options options(void) {
    wick_train_options o;
    wick_train_defaults(&o);
    o.data = data;
    o.adapter_path = out;
    o.iters = 6;
    o.batch_size = 2;
    o.learning_rate = 1e-2;
    o.num_layers = -1;
    o.steps_per_report = 2;
    o.steps_per_eval = 3;
    o.save_every = 4;
    o.samples = 1;
    return o;
}

static void test_steps(void **state) {
    (void)state;
    wick_model *m = open_model("data/models/llama-chat");
    wick_train_options o = options();
    wick_train *t;
    wick_train_event e;
    wick_train_info info = { .size = sizeof info };
    clear();
    ok(wick_train_new(m, &o, false, &t));
    ok(wick_train_describe(t, &info));
    assert_int_equal(info.n_train, 3);
    assert_int_equal(info.n_valid, 3);
    assert_true(info.n_param > 1000 && info.n_bytes > 4 * info.n_param && !info.warning);
    ok(wick_train_step(t, &e));
    assert_true(e.reported && e.evaluated && !e.saved && e.point.iteration == 0 && isnan(e.point.train_loss));
    double first = e.point.val_loss, loss;
    for (int i = 1; i <= 6; i++) {
        ok(wick_train_step(t, &e));
        assert_int_equal(e.point.iteration, i);
        assert_int_equal(e.reported, i % 2 == 0 || i % 3 == 0);
        assert_int_equal(e.evaluated, i % 3 == 0);
        assert_int_equal(e.saved, i == 4 || i == 6);
        assert_int_equal(e.finished, i == 6);
        assert_int_equal(isfinite(e.point.train_loss), i % 2 == 0);
        assert_true(e.point.learning_rate == 1e-2 && e.point.grad_norm > 0);
    }
    assert_true(e.point.val_loss < first);
    ok(wick_train_eval(t, false, &loss));
    assert_true(loss == e.point.val_loss);
    assert_int_equal(wick_train_step(t, &e), WICK_E_END);
    refused(wick_train_eval(t, true, &loss), WICK_E_ARG, "there is no test.jsonl");
    wick_train_free(t);
    refused(wick_train_new(m, &o, false, &t), WICK_E_ARG, "holds a run already");
    o.resume = true;  /* of a run that is over */
    ok(wick_train_new(m, &o, false, &t));
    assert_int_equal(wick_train_step(t, &e), WICK_E_END);
    wick_train_free(t);
    o.iters = 8;      /* and for two more */
    ok(wick_train_new(m, &o, false, &t));
    ok(wick_train_step(t, &e));
    assert_int_equal(e.point.iteration, 7);
    ok(wick_train_save(t));
    wick_train_free(t);
    wick_model_free(m);
}

static void test_wrong(void **state) {
    (void)state;
    wick_model *m = open_model("data/models/llama-chat");
    wick_train_options o = options();
    wick_train *t;
    wick_train_info info = { 0 };
    clear();
    refused(wick_train_new(NULL, &o, true, &t), WICK_E_ARG, "the model is NULL");
    refused(wick_train_new(m, NULL, true, &t), WICK_E_ARG, "the options is NULL");
    refused(wick_train_new(m, &o, true, NULL), WICK_E_ARG, "out is NULL");
    o.rank = 0;
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG, "lora_parameters.rank is 0");
    o = options();
    const char *keys[] = { "self_attn.q_proj", "mlp.dawn_proj" };
    o.keys = keys;
    o.n_keys = 2;
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG,
            "lora_parameters.keys: there is no \"mlp.dawn_proj\"; did you mean down_proj");
    keys[1] = "all-linear";
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG,
            "lora_parameters.keys: there is no \"all-linear\"; without keys every projection is trained");
    keys[1] = "model.embed_tokens";
    o.modules_to_save = keys;
    o.n_modules_to_save = 2;
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG, "modules_to_save: \"self_attn.q_proj\" cannot be saved whole");
    keys[0] = "lm_hed";
    o.n_keys = 0;
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG, "modules_to_save: there is no \"lm_hed\"; did you mean lm_head");
    keys[0] = "embed_tokens";
    o.n_keys = 1;
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG, "either adapted or trained whole");
    o = options();
    o.resume_adapter_file = "/nonexistent/adapter_model.safetensors";
    assert_int_not_equal(wick_train_new(m, &o, true, &t), WICK_OK);
    assert_null(t);
    o = options();
    o.test = true;
    refused(wick_train_new(m, &o, true, &t), WICK_E_IO, "test.jsonl");
    o = options();
    ok(wick_train_new(m, &o, true, &t));  /* dry */
    refused(wick_train_describe(t, &info), WICK_E_ARG, "wick_train_info.size is 0");
    refused(wick_train_describe(NULL, &info), WICK_E_ARG, "the training is NULL");
    refused(wick_train_step(t, NULL), WICK_E_ARG, "a dry one");
    refused(wick_train_save(t), WICK_E_ARG, "a dry one");
    refused(wick_train_eval(NULL, false, NULL), WICK_E_ARG, "NULL");
    assert_false(wk_file_exists(out));
    wick_train_free(t);
    wick_train_free(NULL);
    wick_model_free(m);
    m = open_model("data/models/qwen2-classify");
    m->m->hp.n_label = 1;
    refused(wick_train_new(m, &o, true, &t), WICK_E_UNSUPPORTED, "a single output, as for regression");
    wick_model_free(m);
    wick_model_options mo;
    wick_model_defaults(&mo);
    mo.vocab_only = true;
    ok(wick_model_open("data/models/llama-chat", &mo, &m));
    refused(wick_train_new(m, &o, true, &t), WICK_E_ARG, "vocab_only");
    wick_model_free(m);
}

/* What a family keeps in one matrix has to be one there again: before the first step, not at the first save. */
static void test_unwritable(void **state) {
    (void)state;
    wick_model *m = open_model("data/models/phi3");
    wick_train_options o = options();
    wick_train *t;
    const char *keys[] = { "q_proj", "v_proj" };
    char ids[96];
    snprintf(ids, sizeof ids, "%s/ids", folder);
    ok(wk_folder_make(ids));
    write_file(ids, "train.jsonl", "{\"input_ids\":[5,6,7,8],\"labels\":[-100,6,7,8]}\n");
    o.data = ids;
    o.keys = keys;
    o.n_keys = 2;
    o.fine_tune_type = "dora";
    refused(wick_train_new(m, &o, true, &t), WICK_E_UNSUPPORTED, "qkv_proj: the format keeps it in one matrix, and DoRA changes");
    o.fine_tune_type = "lora";
    o.rank = 513;
    refused(wick_train_new(m, &o, true, &t), WICK_E_UNSUPPORTED, "the ranks of its parts add up to 1026, and at most 1024");
    o.rank = 512;
    ok(wick_train_new(m, &o, true, &t));
    wick_train_free(t);
    wk_folder_remove(ids);
    wick_model_free(m);
}

/* Every evaluation is cancelled once, and the run saved and resumed before it comes again: the same numbers and bytes. */
static void test_cancel(void **state) {
    (void)state;
    wick_model *m = open_model("data/models/llama-chat");
    wick_train_options o = options();
    wick_train *t;
    wick_train_event e = { 0 };
    char path[160];
    wk_buf want = { 0 }, got = { 0 };
    double val[7], train[7];
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", out);
    wick_train_cancel(NULL);
    clear();
    o.early_stopping = 5;
    ok(wick_train_new(m, &o, false, &t));
    for (int i = 0; i <= 6; i++) {
        ok(wick_train_step(t, &e));
        val[i] = e.point.val_loss;
        train[i] = e.point.train_loss;
    }
    wick_train_free(t);
    ok(wk_file_read(path, 1 << 24, &want));
    o.overwrite = true;
    ok(wick_train_new(m, &o, false, &t));
    o.overwrite = false;
    o.resume = true;
    for (int i = 0; i <= 6; i++) {
        if (i % 3 == 0) wick_train_cancel(t);
        wick_status st = wick_train_step(t, &e);
        assert_int_equal(st, i % 3 ? WICK_OK : WICK_E_CANCELLED);
        assert_int_equal(e.point.iteration, i);
        if (st) {
            assert_false(e.reported || e.saved || e.finished);
            ok(wick_train_save(t));
            wick_train_free(t);
            ok(wick_train_new(m, &o, false, &t));
            ok(wick_train_step(t, &e));
        }
        assert_int_equal(e.point.iteration, i);
        assert_int_equal(e.evaluated, i % 3 == 0);
        assert_true(i % 3 ? isnan(e.point.val_loss) : e.point.val_loss == val[i]);
        assert_true(train[i] == e.point.train_loss || isnan(train[i]));
    }
    wick_train_free(t);
    assert_true(e.finished);
    ok(wk_file_read(path, 1 << 24, &got));
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
    wk_buf_free(&want);
    wk_buf_free(&got);
    wick_model_free(m);
}

/* Memory that ends anywhere on the way to a trainer: nothing is left, and what the rows take says what would take less. */
static void test_memory(void **state) {
    (void)state;
    wick_model *m = open_model("data/models/llama-chat");
    wick_train_options o = options();
    wick_train *t = NULL;
    int n_hint = 0;
    uint64_t live = wk_alloc_live();
    clear();
    wick_status st = WICK_E_MEMORY;
    for (uint64_t i = 1; st; i += 1 + i / 8) {
        wk_alloc_fail_at(i);
        st = wick_train_new(m, &o, true, &t);
        wk_alloc_fail_at(0);
        if (!st) break;
        assert_int_equal(st, WICK_E_MEMORY);
        n_hint += strstr(wick_last_error(), "a smaller batch_size or max_seq_length, or grad_checkpoint, takes less") != NULL;
        assert_int_equal(wk_alloc_live(), live);
    }
    assert_true(n_hint > 3);
    wick_train_free(t);
    wick_model_free(m);
}

/* Every fine-tune type, optimiser and schedule runs a few steps. */
static void test_kinds(void **state) {
    (void)state;
    static const struct { const char *key, *value; } kinds[] = {
        { "fine_tune_type", "dora" }, { "fine_tune_type", "full" }, { "optimizer", "adamw" }, { "optimizer", "sgd" },
        { "optimizer", "lion" }, { "lr_schedule.name", "linear_schedule" }, { "lr_schedule.name", "cosine_decay" },
        { "lr_schedule.name", "exponential_decay" }, { "lr_schedule.name", "step_decay" }, { "packing", "true" },
        { "grad_checkpoint", "true" }, { "mask_prompt", "false" }, { "early_stopping", "5" }, { "keys", "q_proj,mlp.up_proj" },
        { "keys", "embed_tokens" }, { "keys", "q_proj,lm_head" }, { "modules_to_save", "embed_tokens,lm_head" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        wick_model *m = open_model("data/models/llama");
        wick_train_options o = options();
        wick_train *t;
        wick_train_event e = { 0 };
        write_file(data, "train.jsonl", "{\"input_ids\":[1,2,3,4]}\n{\"input_ids\":[5,6,7],\"labels\":[-100,6,7]}\n");
        write_file(data, "valid.jsonl", "{\"input_ids\":[1,2,3,4]}\n");
        clear();
        o.iters = 3;
        o.warmup = 1;
        o.n_lr_arguments = 3;
        o.learning_rate = o.lr_arguments[0] = 1e-3;
        o.lr_arguments[1] = strcmp(kinds[i].value, "cosine_decay") ? 0.5 : 3;
        o.lr_arguments[2] = 2;
        ok(wick_train_options_set(&o, kinds[i].key, kinds[i].value));
        ok(wick_train_new(m, &o, false, &t));
        while (!e.finished) ok(wick_train_step(t, &e));
        assert_true(isfinite(e.point.val_loss) && e.point.iteration == 3);
        wick_train_free(t);
        wick_train_options_free(&o);
        wick_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_steps), cmocka_unit_test(test_wrong),
                                        cmocka_unit_test(test_unwritable), cmocka_unit_test(test_kinds),
                                        cmocka_unit_test(test_memory), cmocka_unit_test(test_cancel) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
