/* train_samples.c: a few prompts of the data, answered before and after, for the report.
 * Load: some answers of up to 96 tokens, twice a run. */
#include "train/train.h"
#include <string.h>

enum { MAX_ANSWER = 96, MAX_PROMPT = 2048 };

static const wk_dataset *source(const wick_train *t) { return t->valid ? t->valid : t->train; }

/* Tokens before the first that is learnt; of a text that is learnt whole its first 8. */
static int prompt_len(const wk_sample *s) {
    int n = 0;
    while (n < s->n && s->label[n] == WK_NO_LABEL) n++;
    return n > 0 ? n : s->n < 16 ? s->n / 2 : 8;
}

/* Tokens of the answer that begins there: what is learnt in one piece, up to the other side's next turn. */
static int answer_len(const wk_sample *s, int from) {
    int n = 0;
    while (from + n < s->n && n < MAX_ANSWER && s->label[from + n] != WK_NO_LABEL) n++;
    return n;
}

static wick_status to_text(const wick_model *m, const int32_t *ids, int n, bool special, char **out) {
    wk_decoder d;
    wk_buf b = { 0 };
    *out = NULL;
    if (!m->m->tokenizer) {  /* ready tokens for a model without one */
        for (int i = 0; i < n; i++) wk_buf_printf(&b, "%s%d", i ? " " : "", ids[i]);
    } else {
        wk_decoder_init(&d, m->m->tokenizer, special);
        for (int i = 0; i < n; i++) wk_decode(&d, ids[i], &b);
        wk_decode_end(&d, &b);
    }
    wk_buf_add(&b, "", 0);
    if (b.failed) {
        wk_buf_free(&b);
        return wk_fail_memory((size_t)n, "a sample");
    }
    *out = b.ptr;
    return WICK_OK;
}

wick_status wk_train_pick_samples(wick_train *t) {
    const wk_dataset *d = source(t);
    size_t want = (size_t)t->o.samples < d->n ? (size_t)t->o.samples : d->n;
    wick_status st = WICK_OK;
    if (!want || d->classify || t->dry) return WICK_OK;
    if (!(t->sample = wk_alloc_array(want, sizeof *t->sample))) return wk_fail_memory(want * sizeof *t->sample, "samples");
    t->n_sample = want;
    for (size_t i = 0; !st && i < want; i++) {
        const wk_sample *s = &d->sample[i];
        int n = prompt_len(s);
        st = to_text(t->model, s->id, n, true, &t->sample[i].prompt);
        if (!st) st = to_text(t->model, s->id + n, answer_len(s, n), false, &t->sample[i].wanted);
    }
    return st;
}

typedef struct answer { int32_t id[MAX_ANSWER]; int n; } answer;

static bool on_token(const wick_token *x, void *user) {
    answer *a = user;
    if (!x->is_eos && a->n < MAX_ANSWER) a->id[a->n++] = x->id;
    return true;
}

/* The model as full fine-tuning has last written it. */
static wick_status open_trained(const wick_train *t, wick_model **out) {
    const wk_backend *be = t->model->m->backend;
    char *path = wk_train_model_path(t, t->o.adapter_path);
    wick_model_options o;
    wick_model_defaults(&o);
    o.backend = be->ops->name;
    o.n_threads = be->pool ? wk_pool_n(be->pool) : 0;
    wick_status st = path ? wick_model_open(path, &o, out) : wk_fail_memory(64, "a file's name");
    wk_free(path);
    return st;
}

wick_status wk_train_answer_samples(wick_train *t, bool after) {
    wick_model *trained = NULL;
    wick_session *s = NULL;
    wick_adapter *adapter = NULL;
    const wk_lora_data *lora = NULL;
    wick_session_options so;
    wick_generate_options go;
    if (!t->n_sample) return WICK_OK;
    bool full = wk_train_is_full(t), adapted = !full && (after || t->o.resume_adapter_file);
    wick_session_defaults(&so);
    so.n_ctx = MAX_PROMPT + MAX_ANSWER;
    so.n_batch = 256;
    wick_status st = full && after ? open_trained(t, &trained) : WICK_OK;
    if (!st) st = wick_session_new(trained ? trained : t->model, &so, &s);
    if (!st && adapted) st = wk_trainer_lora(t->trainer, &lora);
    if (!st && adapted) st = wk_adapter_from_data(t->model->m, lora, &adapter);
    if (!st && adapted) st = wick_session_apply_adapter(s, adapter, 1);
    wick_generate_defaults(t->model, &go);
    go.temperature = 0;
    go.n_predict = MAX_ANSWER;
    for (size_t i = 0; !st && i < t->n_sample; i++) {
        const wk_sample *x = &source(t)->sample[i];
        char **to = after ? &t->sample[i].after : &t->sample[i].before;
        answer a = { .n = 0 };
        int n = prompt_len(x);
        if (n < 1 || n > MAX_PROMPT) continue;
        st = wick_generate(s, &(wick_prompt){ .ids = x->id, .n_ids = (size_t)n }, &go, on_token, &a, NULL);
        wk_free(*to);
        *to = NULL;
        if (!st) st = to_text(t->model, a.id, a.n, false, to);
    }
    wick_session_free(s);
    wick_adapter_free(adapter);
    wick_model_free(trained);
    return st;
}
