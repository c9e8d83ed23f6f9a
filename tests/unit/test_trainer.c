/* test_trainer.c: training runs of PEFT followed step by step; gradients of every family against the loss that a small step
 * gains; the same bits whatever the threads, with checkpointing, packed or apart, and as serving computes them. */
#include "base/mem.h"
#include "support/training.h"
#include "train/trainer_parts.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LLAMA "data/models/llama"
enum { V = 320 };
static const uint32_t EMBED = 1u << WK_T_EMBED, HEAD = 1u << WK_T_OUTPUT;

static void close_to(const char *what, size_t step, double got, double want, double tol) {
    if (!(fabs(got - want) <= tol * fabs(want))) fail_msg("%s, step %zu: %.8g, PEFT has %.8g", what, step, got, want);
}

/* ---- PEFT's runs ---- */

typedef struct reference_run { const char *name, *model; int accum; double smoothing; int batch, length, first; } reference_run;
static const reference_run runs[] = {
    { "llama-train-adamw-cosine", "data/models/llama", 1, 0, 4, 32, 8 },
    { "mistral-window-train-linear", "data/models/mistral-window", 1, 0, 4, 32, 8 },
    { "qwen2-tied-train-accum2-smooth", "data/models/qwen2-tied", 2, 0.1, 4, 32, 8 },
    { "qwen2-tied-dora", "data/models/qwen2-tied", 1, 0, 2, 24, 1 },
    { "llama-embed-head", "data/models/llama", 1, 0, 2, 24, 1 },
    { "mixtral-attention", "data/models/mixtral", 1, 0, 2, 24, 1 },
    { "qwen3-moe-attention", "data/models/qwen3-moe", 1, 0, 2, 24, 1 },
};

/* The largest distance so far. Without fmax(): GCC 12 for aarch64 breaks down over a loop of it that it inlines. */
static void farther(double *most, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= *most)) *most = d;  /* also NaN */
    }
}

static void same_adapter(const char *name, const wk_lora_data *got, const wk_lora_data *want) {
    assert_int_equal(got->n_module, want->n_module);
    for (size_t i = 0; i < got->n_module; i++) {
        const wk_lora_module *a = &got->module[i], *b = NULL;
        for (size_t k = 0; k < want->n_module; k++)
            if (want->module[k].layer == a->layer && want->module[k].role == a->role) b = &want->module[k];
        assert_non_null(b);
        double off = 0;
        farther(&off, a->a, b->a, a->rank * a->n_in);
        assert_int_equal(a->magnitude != NULL, b->magnitude != NULL);
        if (a->magnitude) farther(&off, a->magnitude, b->magnitude, a->n_out);
        farther(&off, a->b, b->b, a->rank * a->n_out);
        if (!(off <= 1e-4)) fail_msg("%s: layer %d, role %d is off by %g in the end", name, a->layer, a->role, off);
    }
}

static void follow(const reference_run *x, int n_threads, bool checkpoint) {
    char path[200];
    int64_t shape[4];
    size_t n_ids, n_mask, n_step, n;
    wk_lora_data *initial = NULL, *final = NULL;
    const wk_lora_data *got;
    wk_trainer_options o = wk_trainer_defaults();
    wk_model *m = train_model(x->model, n_threads);
    snprintf(path, sizeof path, "data/training/%s/initial", x->name);
    ok(wk_lora_read(m, path, &initial));
    snprintf(path, sizeof path, "data/training/%s/final", x->name);
    ok(wk_lora_read(m, path, &final));
    snprintf(path, sizeof path, "data/training/%s/reference.safetensors", x->name);
    int32_t *ids = run_ids(path, "input_ids", &n_ids, shape), *mask = run_ids(path, "loss_mask", &n_mask, shape);
    float *loss = run_floats(path, "loss", &n_step, shape), *norm = run_floats(path, "grad_norm", &n, shape),
          *rate = run_floats(path, "learning_rate", &n, shape);
    o.max_grad_norm = 1;
    o.label_smoothing = x->smoothing;
    o.checkpoint = checkpoint;
    wk_trainer *t = train_new(m, &o, initial);
    for (size_t step = 0, at = 0; step < n_step; step++) {
        double total = 0, found = 0;
        for (int k = 0; k < x->accum; k++) {
            train_rows b = { .r = { 0 } };
            double sum;
            int64_t n_label;
            for (int s = 0; s < x->batch; s++, at += (size_t)x->length) train_add(&b, ids + at, mask + at, x->length);
            ok(wk_trainer_backward(t, &b.r, &sum, &n_label));
            assert_int_equal(n_label, x->batch * (x->length - x->first));
            total += sum / (double)n_label / x->accum;
        }
        ok(wk_trainer_update(t, (double)rate[step], &found));
        close_to(x->name, step, total, (double)loss[step], 1e-4);
        close_to(x->name, step, found, (double)norm[step], 1e-3);
    }
    ok(wk_trainer_lora(t, &got));
    same_adapter(x->name, got, final);
    wk_trainer_free(t);
    wk_lora_data_free(initial);
    wk_lora_data_free(final);
    wk_model_free(m);
    free(ids);
    free(mask);
    free(loss);
    free(norm);
    free(rate);
}

static void peft_runs(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        follow(&runs[i], 1, false);
        follow(&runs[i], 3, true);
    }
}

/* ---- full fine-tuning of models of experts, as transformers does it ---- */

static float *full_part(const char *name, const char *of, size_t *n) {
    char full[64];
    int64_t shape[4];
    snprintf(full, sizeof full, "%s.%s", name, of);
    return run_floats("data/train/full.safetensors", full, n, shape);
}

/* Half way a second trainer goes on from the first one's state, to the same bytes. */
static void follow_full(const char *name, int n_threads, bool checkpoint) {
    char path[100];
    size_t n, n_step, n_rate, n_w;
    float *token = full_part(name, "tokens", &n), *loss = full_part(name, "loss", &n_step),
          *norm = full_part(name, "norm", &n_step), *rate = full_part(name, "rate", &n_rate);
    wk_trainer_options o = wk_trainer_defaults();
    train_rows b = { .r = { 0 } };
    int32_t ids[TRAIN_ROWS];
    wk_buf state = { 0 };
    snprintf(path, sizeof path, "data/models/%s", name);
    o.fine_tune = WK_TUNE_FULL;
    o.checkpoint = checkpoint;
    o.optimizer = (wk_optimizer){ .kind = WK_SGD };
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)token[i];
    train_add(&b, ids, NULL, (int)n);
    wk_model *m = train_model(path, n_threads);
    wk_trainer *t = train_new(m, &o, NULL), *again = NULL;
    for (size_t k = 0; k < n_step; k++) {
        double sum, got, other;
        int64_t n_label;
        ok(wk_trainer_backward(t, &b.r, &sum, &n_label));
        ok(wk_trainer_update(t, (double)rate[0], &got));
        if (!(fabs(sum / (double)n_label - (double)loss[k]) <= 1e-4 * (double)loss[k]) ||
            !(fabs(got - (double)norm[k]) <= 1e-3 * (double)norm[k]))
            fail_msg("%s, step %zu: loss %.8g and norm %.8g, transformers has %.8g and %.8g", name, k, sum / (double)n_label, got,
                     (double)loss[k], (double)norm[k]);
        if (k == 1) {
            ok(wk_trainer_save(t, &state));
            again = train_new(m, &o, NULL);
            ok(wk_trainer_restore(again, state.ptr, state.len));
        }
        if (k < 2) continue;
        ok(wk_trainer_backward(again, &b.r, NULL, NULL));
        ok(wk_trainer_update(again, (double)rate[0], &other));
        assert_true(got == other);
    }
    assert_true(loss[n_step - 1] < loss[0]);
    float *w = train_copy(t, &n_w), *w_again = train_copy(again, &n_w);
    assert_memory_equal(w, w_again, n_w * sizeof *w);
    free(w);
    free(w_again);
    wk_buf_free(&state);
    wk_trainer_free(again);
    wk_trainer_free(t);
    wk_model_free(m);
    free(token);
    free(loss);
    free(norm);
    free(rate);
}

static void experts_whole(void **state) {
    (void)state;
    static const char *const models[] = { "mixtral", "qwen3-moe", "gpt-oss" };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        follow_full(models[i], 0, false);
        follow_full(models[i], 1, false);
        follow_full(models[i], 3, true);
    }
}

/* ---- gradients: a small step of plain descent gains rate * |gradient|^2 ---- */

static void step_gains(const char *model, wk_fine_tune kind, unsigned whole, uint32_t roles, bool checkpoint) {
    char path[100], what[160];
    wk_trainer_options o = wk_trainer_defaults();
    train_rows b = { .r = { 0 } };
    double before, after, norm, rate = 1e-3;
    int64_t n;
    snprintf(path, sizeof path, "data/models/%s", model);
    snprintf(what, sizeof what, "%s, kind %d, checkpoint %d", model, kind, checkpoint);
    o.fine_tune = kind;
    o.whole = whole;
    o.roles = roles;
    o.checkpoint = checkpoint;
    o.optimizer = (wk_optimizer){ .kind = WK_SGD };
    o.seed = 5;
    wk_model *m = train_model(path, 0);
    wk_trainer *t = train_new(m, &o, NULL);
    train_make(&b, 1, 9, 64);
    train_make(&b, 2, 6, 64);
    for (int i = 0; i < b.r.n_row; i++) if (m->hp.classify && b.label[i] >= 0) b.label[i] %= (int32_t)m->hp.n_label;
    for (int k = 0; k < 3; k++) {  /* away from B = 0 */
        ok(wk_trainer_backward(t, &b.r, NULL, NULL));
        ok(wk_trainer_update(t, 0.5, &norm));
    }
    ok(wk_trainer_backward(t, &b.r, &before, &n));
    ok(wk_trainer_update(t, 0, &norm));
    assert_true(norm > 1e-3);
    rate = 5e-4 / norm;  /* so short that experts chosen stay the same */
    ok(wk_trainer_backward(t, &b.r, &before, &n));
    ok(wk_trainer_update(t, rate, &norm));
    ok(wk_trainer_eval(t, &b.r, &after, &n));
    double gain = (before - after) / (double)n, want = rate * norm * norm;
    if (!(fabs(gain - want) <= 0.02 * want)) fail_msg("%s: a step gains %g, its gradient promises %g", what, gain, want);
    wk_trainer_free(t);
    wk_model_free(m);
}

static void gradients_of_families(void **state) {
    (void)state;
    static const char *const models[] = { "llama", "mistral-window", "qwen2-tied", "qwen3", "gemma2", "gemma3", "phi3", "olmo2",
                                          "phi3-longrope", "mixtral", "qwen3-moe", "gpt-oss", "qwen2-classify", "llama-yarn" };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) step_gains(models[i], WK_TUNE_LORA, 0, 0, i % 2);
}

static void gradients_of_kinds(void **state) {
    (void)state;
    static const char *const models[] = { "llama", "qwen2-tied", "gemma2", "qwen3", "gpt-oss", "qwen2-classify" };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
            step_gains(models[i], WK_TUNE_FULL, WK_WHOLE_ALL, 0, checkpoint);
            step_gains(models[i], WK_TUNE_FULL, WK_WHOLE_NORMS, 0, checkpoint);
            step_gains(models[i], WK_TUNE_LORA, WK_WHOLE_EMBED | WK_WHOLE_HEAD, 0, checkpoint);
        }
}

/* The embedding's and the head's adapters, alone and beside others; a head that is trained whole beside an adapted embedding. */
static void gradients_of_outer(void **state) {
    (void)state;
    static const char *const models[] = { "llama", "qwen2-tied", "gemma2" };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
            step_gains(models[i], WK_TUNE_LORA, 0, EMBED, checkpoint);
            step_gains(models[i], WK_TUNE_LORA, 0, HEAD, checkpoint);
            step_gains(models[i], WK_TUNE_LORA, 0, EMBED | HEAD | 1u << WK_T_V, checkpoint);
        }
    step_gains("llama", WK_TUNE_LORA, WK_WHOLE_HEAD, EMBED, true);
    step_gains("qwen2-classify", WK_TUNE_LORA, WK_WHOLE_HEAD, EMBED, false);
}

/* ---- the same bits ---- */

/* Some updates of a training with everything in it. *loss: the last one's. */
static float *train(int n_threads, bool checkpoint, double dropout, double *loss, size_t *n) {
    wk_trainer_options o = wk_trainer_defaults();
    o.roles = EMBED | HEAD | 1u << WK_T_Q | 1u << WK_T_DOWN;
    o.checkpoint = checkpoint;
    o.dropout = dropout;
    o.max_grad_norm = 1;
    wk_model *m = train_model(LLAMA, n_threads);
    wk_trainer *t = train_new(m, &o, NULL);
    for (uint32_t k = 0; k < 4; k++) {
        train_rows b = { .r = { 0 } };
        train_make(&b, k, 70, V);
        train_make(&b, k + 9, 31, V);
        ok(wk_trainer_backward(t, &b.r, loss, NULL));
        if (k % 2) ok(wk_trainer_update(t, 1e-2, NULL));
    }
    float *w = train_copy(t, n);
    wk_trainer_free(t);
    wk_model_free(m);
    return w;
}

static void same_training(int n_threads, bool checkpoint, double dropout, const float *want, size_t n, double loss) {
    double got;
    size_t k;
    float *w = train(n_threads, checkpoint, dropout, &got, &k);
    assert_int_equal(k, n);
    assert_memory_equal(w, want, n * sizeof *w);
    assert_memory_equal(&got, &loss, sizeof loss);
    free(w);
}

static void threads_and_checkpoints(void **state) {
    (void)state;
    for (int drops = 0; drops < 2; drops++) {
        double loss, dropout = drops * 0.25;
        size_t n;
        float *w = train(1, false, dropout, &loss, &n);
        same_training(1, true, dropout, w, n, loss);
        same_training(2, false, dropout, w, n, loss);
        same_training(3, true, dropout, w, n, loss);
        free(w);
    }
}

/* What a pass over its inputs makes is made again for the adapters' gradients, so it does not live until the way back; nor does
 * what nobody asks for; and an update of DoRA takes no memory. */
static void memory(void **state) {
    (void)state;
    wk_trainer_options o = wk_trainer_defaults();
    o.fine_tune = WK_TUNE_DORA;
    wk_model *m = train_model(LLAMA, 2);
    wk_trainer *t = train_new(m, &o, NULL);
    const wk_graph *g = t->train.t.g;
    int n_again = 0;
    for (size_t k = 0; k < g->n_node; k++) {
        if (g->node[k].op != WK_OP_LORA_GRAD) continue;
        const wk_value *x = &g->value[g->node[k].in[1]];
        wk_op from = g->node[x->node].op;
        if (from != WK_OP_GLU && from != WK_OP_RMS_NORM) continue;
        assert_string_equal(x->name, "again");
        n_again++;
    }
    assert_int_equal(n_again, 6 * m->hp.n_layer);  /* q, k, v, gate, up and down */
    for (size_t k = 0; k < g->n_node; k++) {  /* rows without a label have no queries in the last layer, and no gradients of them */
        const wk_node *n = &g->node[k];
        if (n->op == WK_OP_ATTENTION_GRAD)
            assert_int_equal(g->value[n->out[0]].shape.kind, n->attr.layer + 1 == m->hp.n_layer ? WK_ROWS_OUT : WK_ROWS_T);
    }
    train_rows b = { .r = { 0 } };
    train_make(&b, 1, 40, V);
    uint64_t n_alloc = 0;
    for (int k = 0; k < 3; k++) {  /* the first micro-batch takes memory for keys and values */
        ok(wk_trainer_backward(t, &b.r, NULL, NULL));
        if (k) assert_int_equal(wk_alloc_count(), n_alloc);
        ok(wk_trainer_update(t, 1e-2, NULL));
        n_alloc = wk_alloc_count();
    }
    wk_trainer_free(t);
    t = train_new(m, &o, NULL);  /* what a dry run counts is what a run comes to have */
    size_t before = wk_trainer_bytes(t);
    ok(wk_trainer_reserve(t, 1, true));
    size_t reserved = wk_trainer_bytes(t);
    ok(wk_trainer_backward(t, &b.r, NULL, NULL));
    ok(wk_trainer_eval(t, &b.r, &(double){ 0 }, &(int64_t){ 0 }));
    assert_true(reserved > before && wk_trainer_bytes(t) == reserved);
    wk_trainer_free(t);
    wk_model_free(m);
}

static void packed_and_apart(void **state) {
    (void)state;
    wk_trainer_options o = wk_trainer_defaults();
    wk_model *m = train_model(LLAMA, 2);
    wk_trainer *t = train_new(m, &o, NULL);
    train_rows all = { .r = { 0 } };
    double apart = 0, together, sum;
    int64_t n, n_apart = 0;
    for (uint32_t k = 0; k < 4; k++) {
        train_rows b = { .r = { 0 } };
        train_make(&b, k, 20 + 15 * (int)k, V);
        train_make(&all, k, 20 + 15 * (int)k, V);
        ok(wk_trainer_eval(t, &b.r, &sum, &n));
        apart += sum;
        n_apart += n;
    }
    ok(wk_trainer_eval(t, &all.r, &together, &n));
    assert_int_equal(n, n_apart);
    assert_true(fabs(together - apart) <= 1e-12 * apart);  /* the rows' bits are the same; the sum has another order */
    wk_trainer_free(t);
    wk_model_free(m);
}

/* Training's forward pass against the runner that serves, with the same adapter. */
static void serves_the_same(const char *model, int n_threads, wk_fine_tune kind, uint32_t roles, unsigned whole) {
    wk_trainer_options o = wk_trainer_defaults();
    o.fine_tune = kind;
    o.roles = roles;
    o.whole = whole;
    wk_model *m = train_model(model, n_threads);
    wk_trainer *t = train_new(m, &o, NULL);
    train_rows b = { .r = { 0 } };
    const wk_lora_data *d;
    wick_adapter *a = NULL;
    wk_runner *r = NULL;
    wk_row row[80];
    double loss, sum = 0;
    int64_t n_label;
    train_make(&b, 3, 80, V);
    for (int k = 0; k < 3; k++) {
        ok(wk_trainer_backward(t, &b.r, NULL, NULL));
        ok(wk_trainer_update(t, 1e-2, NULL));
    }
    ok(wk_trainer_backward(t, &b.r, &loss, &n_label));
    ok(wk_trainer_lora(t, &d));
    ok(wk_adapter_from_data(m, d, &a));
    ok(wk_runner_new(m, 128, 128, 1, wk_model_kv_type(m), &r));
    const wk_lora_set *set = &a->set;
    wk_runner_adapters(r, &set, 1);
    for (int i = 0; i < 80; i++) row[i] = (wk_row){ .token = b.token[i], .seq = 0, .adapter = 0, .want = i < 79 };
    ok(wk_runner_step(r, row, 80));
    float *logits = calloc(79 * V, sizeof *logits);
    ok(wk_trainer_logits(t, &b.r, logits));
    for (int i = 0; i < 79; i++) {
        const float *z = wk_runner_logits(r, i);
        if (memcmp(z, logits + i * V, V * sizeof *z)) fail_msg("%s: row %d has other logits when it is served", model, i);
        double all = 0;
        for (int v = 0; v < V; v++) all += exp((double)z[v]);
        sum += log(all) - (double)z[b.label[i]];
    }
    assert_true(fabs(loss - sum) <= 1e-5 * sum);  /* and they are those that the loss is of */
    free(logits);
    wk_runner_free(r);
    wk_adapter_drop(a);
    wk_trainer_free(t);
    wk_model_free(m);
}

static void serving_bits(void **state) {
    (void)state;
    serves_the_same(LLAMA, 2, WK_TUNE_LORA, 0, 0);
    serves_the_same("data/models/qwen3", 1, WK_TUNE_LORA, 0, 0);
    serves_the_same("data/models/gemma2", 2, WK_TUNE_LORA, 0, 0);
    serves_the_same("data/models/llama-256-gptq-g64", 2, WK_TUNE_LORA, 0, 0);
    serves_the_same(LLAMA, 2, WK_TUNE_LORA, EMBED | HEAD | 1u << WK_T_UP, 0);
    serves_the_same("data/models/qwen2-tied", 1, WK_TUNE_LORA, EMBED | HEAD, 0);
    serves_the_same("data/models/gemma2", 2, WK_TUNE_LORA, EMBED | HEAD, 0);
    serves_the_same("data/models/mixtral", 2, WK_TUNE_LORA, 0, 0);
    serves_the_same("data/models/qwen3-moe", 1, WK_TUNE_LORA, 0, 0);
    serves_the_same("data/models/gpt-oss", 2, WK_TUNE_LORA, 0, 0);
    serves_the_same(LLAMA, 2, WK_TUNE_LORA, 0, WK_WHOLE_EMBED);
    serves_the_same(LLAMA, 1, WK_TUNE_LORA, 0, WK_WHOLE_HEAD);
    serves_the_same("data/models/qwen2-tied", 2, WK_TUNE_LORA, 0, WK_WHOLE_EMBED);
    serves_the_same("data/models/gemma2", 1, WK_TUNE_LORA, 0, WK_WHOLE_HEAD);
    serves_the_same(LLAMA, 2, WK_TUNE_DORA, 0, 0);
    serves_the_same("data/models/qwen2-tied", 1, WK_TUNE_DORA, 0, 0);  /* with biases */
    serves_the_same("data/models/gemma2", 2, WK_TUNE_DORA, 1u << WK_T_DOWN | 1u << WK_T_K, 0);
    serves_the_same("data/models/llama-256-gptq-g64", 2, WK_TUNE_DORA, 0, 0);
    serves_the_same("data/models/gpt-oss", 2, WK_TUNE_DORA, 0, 0);
    serves_the_same(LLAMA, 1, WK_TUNE_DORA, 0, WK_WHOLE_HEAD);
}

/* A matrix that is embedding and head is trained as one, saved as both, and gone on from as one. */
static void tied_and_whole(void **state) {
    (void)state;
    wk_trainer_options o = wk_trainer_defaults();
    o.whole = WK_WHOLE_HEAD;
    wk_model *m = train_model("data/models/qwen2-tied", 2);
    wk_trainer *t = train_new(m, &o, NULL), *on = NULL;
    train_rows b = { .r = { 0 } };
    const wk_lora_data *d;
    size_t n, n_on;
    train_make(&b, 1, 30, V);
    ok(wk_trainer_backward(t, &b.r, NULL, NULL));
    ok(wk_trainer_update(t, 1e-2, NULL));
    ok(wk_trainer_lora(t, &d));
    assert_int_equal(d->n_saved, 2);
    on = train_new(m, &o, d);
    float *w = train_copy(t, &n), *w_on = train_copy(on, &n_on);
    assert_int_equal(n, n_on);
    assert_memory_equal(w, w_on, n * sizeof *w);
    wk_trainer_free(on);
    wk_lora_data one = *d;
    one.n_saved = 1;
    refused(wk_trainer_new(m, &o, &one, &on), WICK_E_ARG, "embedding and head are one matrix");
    free(w);
    free(w_on);
    wk_trainer_free(t);
    wk_model_free(m);
}

/* ---- classification ---- */

/* A sequence of noise whose first token is one of three: which one is its class. */
static int32_t add_case(train_rows *b, uint32_t seed) {
    enum { LEN = 6 };
    int first = b->r.n_row;
    int32_t class = (int32_t)(seed % 3);
    train_make(b, seed, LEN, V);
    b->token[first] = 40 + 70 * class;
    for (int i = 0; i < LEN; i++) b->label[first + i] = WK_NO_LABEL;
    b->label[first + LEN - 1] = class;
    return class;
}

static void learns_a_rule(void **state) {
    (void)state;
    wk_trainer_options o = wk_trainer_defaults();
    o.whole = WK_WHOLE_HEAD;
    wk_model *m = train_model("data/models/qwen2-classify", 2);
    wk_trainer *t = train_new(m, &o, NULL);
    const wk_lora_data *d;
    for (uint32_t k = 0; k < 60; k++) {
        train_rows b = { .r = { 0 } };
        for (uint32_t s = 0; s < 8; s++) add_case(&b, k * 8 + s);
        ok(wk_trainer_backward(t, &b.r, NULL, NULL));
        ok(wk_trainer_update(t, 3e-3, NULL));
    }
    int right = 0;
    for (uint32_t s = 0; s < 60; s++) {  /* others than it saw */
        train_rows b = { .r = { 0 } };
        float z[3];
        int32_t class = add_case(&b, 100000 + s), best = 0;
        ok(wk_trainer_logits(t, &b.r, z));
        for (int32_t c = 1; c < 3; c++) if (z[c] > z[best]) best = c;
        right += best == class;
    }
    assert_int_equal(right, 60);
    ok(wk_trainer_lora(t, &d));
    assert_int_equal(d->n_saved, 1);
    assert_int_equal(d->saved[0].role, WK_T_SCORE);
    assert_string_equal(d->task_type, "SEQ_CLS");
    wk_trainer_free(t);
    wk_model_free(m);
}

/* ---- what is refused ---- */

static void refusals(void **state) {
    (void)state;
    wk_model *m = train_model(LLAMA, 1);
    wk_trainer *t = NULL;
    wk_trainer_options o = wk_trainer_defaults();
#define REFUSED(field, value, words) \
    do { \
        wk_trainer_options bad = o; \
        bad.field = value; \
        refused(wk_trainer_new(m, &bad, NULL, &t), WICK_E_ARG, words); \
        assert_null(t); \
    } while (0)
    REFUSED(rank, 0, "rank 0: it must be 1 to 1024");
    REFUSED(dropout, 1, "dropout 1: it must be from 0 to below 1");
    REFUSED(label_smoothing, -0.1, "label smoothing -0.1");
    REFUSED(max_grad_norm, (double)NAN, "a gradient norm of at most nan");
    REFUSED(max_row, 0, "0 rows");
    REFUSED(n_layer, 99, "99 layers: the model has");
    REFUSED(alpha, (double)INFINITY, "alpha inf");
    REFUSED(optimizer.beta2, 1, "optimiser: betas 0.9 and 1");
    REFUSED(whole, WK_WHOLE_NORMS, "full fine-tuning trains them");
    REFUSED(roles, 1u << WK_T_ROUTER, "there is nothing to train");
    REFUSED(roles, 1u << WK_T_SCORE, "the model has no lm_head that could be adapted");
    o.whole = WK_WHOLE_EMBED;
    REFUSED(roles, EMBED, "either adapted or trained whole");
    o.whole = 0;
    o.fine_tune = WK_TUNE_DORA;
    o.roles = HEAD;
    refused(wk_trainer_new(m, &o, NULL, &t), WICK_E_UNSUPPORTED, "DoRA of the head cannot be trained");
    o = wk_trainer_defaults();
#undef REFUSED
    o.max_row = 8;
    t = train_new(m, &o, NULL);
    train_rows good = { .r = { 0 } };
    double loss;
    int64_t n;
    refused(wk_trainer_update(t, 1, NULL), WICK_E_ARG, "an update without a micro-batch");
    train_make(&good, 1, 6, V);
    train_rows b = good;
    b.r = (wk_train_rows){ 6, 1, b.token, b.pos, b.seq, b.label };
    b.token[2] = V;
    refused(wk_trainer_backward(t, &b.r, &loss, &n), WICK_E_ARG, "row 2 of a micro-batch: token 320, there are 320");
    b.token[2] = 1;
    b.label[3] = -1;
    refused(wk_trainer_backward(t, &b.r, &loss, &n), WICK_E_ARG, "row 3 of a micro-batch: label -1");
    b.label[3] = 5;
    b.pos[4] = 5;
    refused(wk_trainer_backward(t, &b.r, &loss, &n), WICK_E_ARG, "row 4 of a micro-batch: position 5 of sequence 0");
    b.pos[4] = 4;
    b.seq[5] = 1;
    refused(wk_trainer_backward(t, &b.r, &loss, &n), WICK_E_ARG, "row 5 of a micro-batch: sequence 1, there are 1");
    b.seq[5] = 0;
    b.r.n_row = 9;
    refused(wk_trainer_backward(t, &b.r, &loss, &n), WICK_E_ARG, "9 rows in 1 sequences: there is room for 1 to 8");
    b.r.n_row = 6;
    for (int i = 0; i < 6; i++) b.label[i] = WK_NO_LABEL;
    ok(wk_trainer_backward(t, &b.r, &loss, &n));  /* nothing to learn is no error */
    assert_int_equal(n, 0);
    refused(wk_trainer_update(t, (double)NAN, NULL), WICK_E_ARG, "a learning rate of nan");
    ok(wk_trainer_update(t, 1e-3, &loss));
    assert_float_equal(loss, 0, 0);
    ok(wk_trainer_backward(t, &good.r, NULL, NULL));
    ok(wk_trainer_update(t, 1e30, NULL));  /* now the weights are nonsense */
    refused(wk_trainer_backward(t, &good.r, NULL, NULL), WICK_E_NUMERIC, "the loss is ");
    wk_trainer_free(t);
    o.fine_tune = WK_TUNE_FULL;
    wk_model *q = train_model("data/models/llama-256-gptq-g64", 1);
    refused(wk_trainer_new(q, &o, NULL, &t), WICK_E_UNSUPPORTED, "(wick convert MODEL -o FOLDER --type f32)");
    t = train_new(m, &o, NULL);
    const wk_lora_data *d;
    refused(wk_trainer_lora(t, &d), WICK_E_ARG, "full fine-tuning makes no adapter");
    wk_trainer_free(t);
    wk_model_free(q);
    wk_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peft_runs),
        cmocka_unit_test(experts_whole),
        cmocka_unit_test(gradients_of_families),
        cmocka_unit_test(gradients_of_kinds),
        cmocka_unit_test(gradients_of_outer),
        cmocka_unit_test(threads_and_checkpoints),
        cmocka_unit_test(memory),
        cmocka_unit_test(packed_and_apart),
        cmocka_unit_test(serving_bits),
        cmocka_unit_test(tied_and_whole),
        cmocka_unit_test(learns_a_rule),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
