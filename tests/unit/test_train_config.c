/* test_train_config.c: keys of a training from YAML and from text, and what is wrong with one. */
#include "base/mem.h"
#include "support/run.h"
#include "train/config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static wick_status read_yaml(wick_train_options *o, const char *text) {
    char path[] = "/tmp/wick-yaml-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    wick_status st = wick_train_options_read(o, path);
    unlink(path);
    return st;
}

/* mlx-lm's example file, with its comments and its forms, and wick's own keys. */
static const char whole[] =
    "# The path to the local model directory or Hugging Face repo.\n"
    "model: \"mlx_model\"\n"
    "train: true\n"
    "fine_tune_type: lora\n"
    "optimizer: adamw\n"
    "optimizer_config:\n"
    "  adamw:\n"
    "    betas: [0.9, 0.98]\n"
    "    eps: 1e-6\n"
    "    weight_decay: 0.05\n"
    "    bias_correction: true\n"
    "  sgd: { momentum: 0.9, weight_decay: 0.5, nesterov: true }\n"
    "training_mode: normal\n"
    "data: /path/to/training/data\n"
    "seed: 18446744073709551615\n"
    "num_layers: -1\n"
    "batch_size: 2\n"
    "iters: 1_000\n"
    "val_batches: -1\n"
    "learning_rate: 1e-5\n"
    "steps_per_report: 5\n"
    "steps_per_eval: 100\n"
    "grad_accumulation_steps: 4\n"
    "resume_adapter_file: null\n"
    "adapter_path: 'adapters'\n"
    "save_every: 50\n"
    "test: false\n"
    "max_seq_length: 512\n"
    "grad_checkpoint: True\n"
    "lora_parameters:\n"
    "  keys: [\"self_attn.q_proj\", self_attn.v_proj]\n"
    "  rank: 16\n"
    "  scale: 20.0\n"
    "  dropout: 0.1\n"
    "modules_to_save: [lm_head]\n"
    "lr_schedule:\n"
    "  name: cosine_decay\n"
    "  warmup: 100\n"
    "  warmup_init: 1e-7\n"
    "  arguments:\n"
    "    - 1e-5\n"
    "    - 1000\n"
    "    - 1e-7\n"
    "max_grad_norm: 1\n"
    "label_smoothing: .1\n"
    "early_stopping: 3\n"
    "packing: yes\n"
    "shuffle: false\n"
    "report_to: tensorboard\n";

static void test_yaml(void **state) {
    (void)state;
    wick_train_options o;
    char text[sizeof whole];
    wick_train_defaults(&o);
    refused(read_yaml(&o, whole), WICK_E_FORMAT, "line 18: iters is a whole number");
    memcpy(text, whole, sizeof whole);
    memcpy(strstr(text, "1_000"), "1000 ", 5);
    ok(read_yaml(&o, text));
    assert_string_equal(o.model, "mlx_model");
    assert_string_equal(o.optimizer, "adamw");
    assert_float_equal(o.betas[1], 0.98, 0);
    assert_float_equal(o.eps, 1e-6, 0);
    assert_float_equal(o.weight_decay, 0.05, 0);
    assert_float_equal(o.momentum, 0, 0);  /* another optimizer's */
    assert_true(o.seed == UINT64_MAX);
    assert_int_equal(o.num_layers, -1);
    assert_int_equal(o.iters, 1000);
    assert_float_equal(o.learning_rate, 1e-5, 0);
    assert_null(o.resume_adapter_file);
    assert_string_equal(o.adapter_path, "adapters");
    assert_int_equal(o.n_keys, 2);
    assert_string_equal(o.keys[1], "self_attn.v_proj");
    assert_int_equal(o.n_modules_to_save, 1);
    assert_string_equal(o.modules_to_save[0], "lm_head");
    assert_int_equal(o.rank, 16);
    assert_float_equal(wk_train_alpha(&o), 320, 0);
    assert_string_equal(o.lr_schedule, "cosine_decay");
    assert_int_equal(o.n_lr_arguments, 3);
    assert_float_equal(o.lr_arguments[1], 1000, 0);
    assert_float_equal(o.lr_arguments[2], 1e-7, 0);
    assert_int_equal(o.warmup, 100);
    assert_true(o.grad_checkpoint && o.packing && !o.shuffle && !o.test);
    assert_int_equal(o.early_stopping, 3);
    ok(wk_train_options_check(&o));
    wk_buf b = { 0 };
    wk_train_options_json(&o, &b);
    assert_non_null(strstr(b.ptr, "\"lora_parameters.keys\":[\"self_attn.q_proj\",\"self_attn.v_proj\"]"));
    assert_non_null(strstr(b.ptr, "\"modules_to_save\":[\"lm_head\"]"));
    assert_non_null(strstr(b.ptr, "\"learning_rate\":1e-05"));
    assert_non_null(strstr(b.ptr, "\"optimizer_config.betas\":[0.9,0.98]"));
    wk_buf_free(&b);
    wick_train_options_free(&o);
}

/* The constants that count are those of the optimizer in use, wherever its name stands; a flag may name another than the file. */
static void test_constants(void **state) {
    (void)state;
    static const char text[] = "optimizer_config:\n  sgd: { momentum: 0.5 }\n  adamw: { weight_decay: 0.25, eps: 1e-4 }\n"
                               "  adafactor: { eps: [1, 2] }\noptimizer: sgd\n";
    wick_train_options o;
    wick_train_defaults(&o);
    ok(read_yaml(&o, text));
    assert_string_equal(o.optimizer, "sgd");
    assert_true(o.momentum == 0.5 && o.weight_decay == -1 && o.eps == 1e-8);
    wick_train_options_free(&o);
    char path[] = "/tmp/wick-yaml-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    close(fd);
    wick_train_defaults(&o);
    ok(wk_train_options_read(&o, path, "adamw"));
    unlink(path);
    assert_string_equal(o.optimizer, "adam");  /* the flag is taken afterwards */
    assert_true(o.momentum == 0 && o.weight_decay == 0.25 && o.eps == 1e-4);
    wick_train_options_free(&o);
}

static void test_wrong_yaml(void **state) {
    (void)state;
    static const struct { const char *text, *words; } wrong[] = {
        { "learning_rat: 1e-5\n", "line 1: there is no key \"learning_rat\"; did you mean learning_rate?" },
        { "a: 1\nqqqqqqqqq: 2\n", "there is no key \"a\"" },
        { "qqqqqqqqq: 2\n", "there is no key \"qqqqqqqqq\"; wick train --help lists them" },
        { "epochs: 2\n", "did you mean iters, which counts micro-batches?" },
        { "lora_parameters: { alpha: 8 }\n", "did you mean lora_alpha?" },
        { "hf_dataset: { path: x }\n", "did you mean data?" },
        { "lr_schedule: cosine_decay\n", "lr_schedule has no value of its own: keys stand below it, as lr_schedule.name" },
        { "iters: 1\n---\nseed: 2\n", "line 2: a second document begins" },
        { "iters: 1\nrank: 8\n", "line 2: there is no key \"rank\"; did you mean lora_parameters.rank?" },
        { "lora_parameters: { rnk: 8 }\n", "did you mean lora_parameters.rank?" },
        { "iters: 1\niters: 2\n", "line 2: iters is there twice" },
        { "iters: many\n", "iters is a whole number from 1 to" },
        { "iters: 0\n", "iters is a whole number from 1 to" },
        { "iters: 2.5\n", "iters is a whole number" },
        { "iters: [1]\n", "" },  /* a list of one is one */
        { "iters: [1, 2]\n", "iters takes one value, not a list" },
        { "learning_rate: -1\n", "learning_rate is a number from 0" },
        { "learning_rate: nan\n", "learning_rate is a number" },
        { "learning_rate: 0x10\n", "learning_rate is a number" },
        { "seed: -1\n", "seed is a whole number" },
        { "shuffle: maybe\n", "shuffle is true or false" },
        { "optimizer: adagrad\n", "optimizer is one of adam|adamw|sgd|lion" },
        { "optimizer_config: { betas: [1] }\n", "has 1 entries, 2 are needed" },
        { "optimizer_config: { adam: { bias_correction: false } }\n", "bias_correction can only be true" },
        { "training_mode: dpo\n", "training_mode can only be normal" },
        { "iters: 1\nproject_name: caf\xe9\n", "line 2: not YAML: " },
        { "optimizer_config: { adagrad: { eps: 1 } }\n", "there is no key" },
        { "lr_schedule: { arguments: [1, 2, 3, 4, 5] }\n", "at most 4" },
        { "lr_schedule: { arguments: [x] }\n", "a list of numbers, not \"x\"" },
        { "lora_parameters: { keys: [[a]] }\n", "holds more than plain values" },
        { "- 1\n- 2\n", "line 1: has no keys" },
        { "just words\n", "has no keys" },
        { "a: &x 1\nb: *x\n", "there is no key \"a\"" },
        { "iters: &x 1\nseed: *x\n", "line 2: an alias" },
        { "? [1, 2]\n: 3\n", "a key is a plain name" },
        { "iters: 'x\n", "not YAML" },
        { "\titers: 1\n", "line 1: not YAML" },
        { "model: {a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}}\n", "nest deeper" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wick_train_options o;
        wick_train_defaults(&o);
        if (*wrong[i].words) refused(read_yaml(&o, wrong[i].text), WICK_E_FORMAT, wrong[i].words);
        else ok(read_yaml(&o, wrong[i].text));
        wick_train_options_free(&o);
    }
    wick_train_options o;
    wick_train_defaults(&o);
    ok(read_yaml(&o, ""));
    ok(read_yaml(&o, "# nothing\n"));
    ok(read_yaml(&o, "~\n"));
    refused(wick_train_options_read(&o, "/nonexistent.yaml"), WICK_E_IO, "No such file");
    refused(wick_train_options_read(NULL, "x"), WICK_E_ARG, "o is NULL");
    o.size = 3;
    refused(wick_train_options_read(&o, "x"), WICK_E_ARG, "size is 3");
    refused(wick_train_options_set(&o, "iters", "1"), WICK_E_ARG, "size is 3");
    wick_train_options_free(&o);
    wick_train_options_free(NULL);
    wick_train_defaults(NULL);
}

static void test_set(void **state) {
    (void)state;
    wick_train_options o;
    wick_train_defaults(&o);
    ok(wick_train_options_set(&o, "rank", "4"));
    ok(wick_train_options_set(&o, "lora_parameters.scale", "2"));
    ok(wick_train_options_set(&o, "keys", "q_proj,v_proj"));
    ok(wick_train_options_set(&o, "arguments", "1e-4,10,0"));
    ok(wick_train_options_set(&o, "lora_alpha", "32"));
    assert_int_equal(o.rank, 4);
    assert_float_equal(wk_train_alpha(&o), 32, 0);
    assert_int_equal(o.n_keys, 2);
    assert_int_equal(o.n_lr_arguments, 3);
    refused(wick_train_options_set(&o, "name", "constant"), WICK_E_ARG, "lr_schedule.name?");
    refused(wick_train_options_set(&o, "rank", "0"), WICK_E_ARG, "lora_parameters.rank is a whole number from 1 to 1024");
    refused(wick_train_options_set(&o, NULL, "0"), WICK_E_ARG, "the key is NULL");
    wick_train_options_free(&o);
}

static void test_check(void **state) {
    (void)state;
    wick_train_options o;
    wick_train_defaults(&o);
    ok(wk_train_options_check(&o));
    o.batch_size = 0;
    refused(wk_train_options_check(&o), WICK_E_ARG, "batch_size is 0");
    o.batch_size = 1;
    static const double no_rates[] = { NAN, -0.5 };  /* -1: not said */
    for (int i = 0; i < 2; i++) {
        o.learning_rate = no_rates[i];
        refused(wk_train_options_check(&o), WICK_E_ARG, "learning_rate is");
    }
    o.learning_rate = 1;
    o.fine_tune_type = "some";
    refused(wk_train_options_check(&o), WICK_E_ARG, "fine_tune_type is one of");
    o.fine_tune_type = "qlora";
    refused(wk_train_options_check(&o), WICK_E_ARG, "lora trains beside quantised weights");
    o.fine_tune_type = "lora";
    o.n_lr_arguments = 2;
    refused(wk_train_options_check(&o), WICK_E_ARG, "a constant schedule has one rate");
    o.lr_schedule = "linear_schedule";
    refused(wk_train_options_check(&o), WICK_E_ARG, "[first rate, last rate, updates]");
    o.lr_schedule = "cosine_decay";
    o.lr_arguments[1] = 1e300;
    refused(wk_train_options_check(&o), WICK_E_ARG, "the updates are 1e+300");
    o.lr_arguments[1] = -5;
    refused(wk_train_options_check(&o), WICK_E_ARG, "the updates are -5");
    o.lr_arguments[1] = 10;
    ok(wk_train_options_check(&o));
    o.lr_arguments[0] = -1e-4;
    refused(wk_train_options_check(&o), WICK_E_ARG, "is less than 0");
    o.lr_arguments[0] = 1e-4;
    o.data = NULL;
    refused(wk_train_options_check(&o), WICK_E_ARG, "data is not set");
    o.data = "data";
    o.scale = 0;
    refused(wk_train_options_check(&o), WICK_E_ARG, "lora_parameters.scale is 0, with which an adapter adds nothing and learns");
    o.lora_alpha = 1e-300;
    refused(wk_train_options_check(&o), WICK_E_ARG, "lora_alpha is 1e-300, with which an adapter adds nothing");
}

/* What would end in NaN is said before it begins, by the name of what does it. */
static void test_constants_checked(void **state) {
    (void)state;
    static const struct { const char *key, *value, *words; } wrong[] = {
        { "optimizer_config.eps", "0", "optimizer_config.eps is 0, and adam divides by it where a gradient is zero" },
        { "optimizer_config.eps", "1e-300", "optimizer_config.eps is 1e-300" },
        { "optimizer_config.betas", "1,0.9", "optimizer_config.betas: 1 is not from 0 to below 1" },
        { "optimizer_config.betas", "0.9,-0.5", "optimizer_config.betas: -0.5 is not" },
        { "optimizer_config.momentum", "1", "optimizer_config.momentum is 1; it has to be from 0 to below 1" },
        { "weight_decay", "1000", "weight_decay is 1000 at a rate of 0.01: each update would take 10 times a weight away" },
        { "test", "true", "test_batches is 0: -1 takes all of it" },
    };
    wick_train_options o;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        wick_train_defaults(&o);
        o.learning_rate = 0.01;
        o.test_batches = 0;
        ok(wk_train_options_check(&o));
        ok(wick_train_options_set(&o, wrong[i].key, wrong[i].value));
        refused(wk_train_options_check(&o), WICK_E_ARG, wrong[i].words);
        wick_train_options_free(&o);
    }
    wick_train_defaults(&o);
    ok(wick_train_options_set(&o, "optimizer_config.eps", "0"));  /* which these do not use */
    for (int i = 0; i < 2; i++) {
        ok(wick_train_options_set(&o, "optimizer", i ? "sgd" : "lion"));
        ok(wk_train_options_check(&o));
    }
    refused(wick_train_options_set(&o, "lora_alpha", "0"), WICK_E_ARG, "lora_alpha is 0, with which an adapter adds nothing; left");
    wick_train_options_free(&o);
}

static void test_memory(void **state) {
    (void)state;
    char text[sizeof whole];
    memcpy(text, whole, sizeof whole);
    memcpy(strstr(text, "1_000"), "1000 ", 5);
    uint64_t live = wk_alloc_live();
    wick_status st = WICK_E_MEMORY;
    for (uint64_t k = 1; st; k++) {
        wick_train_options o;
        wick_train_defaults(&o);
        wk_alloc_fail_at(k);
        st = read_yaml(&o, text);
        wk_alloc_fail_at(0);
        if (st) assert_int_equal(st, WICK_E_MEMORY);
        wick_train_options_free(&o);
        assert_int_equal(wk_alloc_live(), live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml), cmocka_unit_test(test_constants), cmocka_unit_test(test_wrong_yaml),
        cmocka_unit_test(test_set), cmocka_unit_test(test_check),
        cmocka_unit_test(test_constants_checked),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
