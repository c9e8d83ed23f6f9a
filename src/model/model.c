/* model.c: opening a model: checkpoint, hyperparameters, text, weights. */
#include "model/model.h"
#include "base/thread.h"
#include "format/names.h"
#include "model/bind.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* "Q4_1 210, F32 61, Q8_0 1", most first; and the type that holds most bytes. */
static wick_status count_types(wk_model *m) {
    uint64_t n[WK_DTYPE_COUNT] = { 0 }, bytes[WK_DTYPE_COUNT] = { 0 };
    wk_buf b = { 0 };
    for (size_t i = 0; i < wk_checkpoint_n_tensor(m->ckpt); i++) {
        const wk_tensor *t = wk_checkpoint_tensor(m->ckpt, i);
        n[t->dtype]++;
        bytes[t->dtype] += t->n_bytes;
        if (bytes[t->dtype] > bytes[m->main_type]) m->main_type = t->dtype;
    }
    for (int done = 0;; done++) {
        int best = 0;
        for (int i = 1; i < WK_DTYPE_COUNT; i++) if (n[i] > n[best]) best = i;
        if (!n[best]) break;
        wk_buf_printf(&b, "%s%s %llu", done ? ", " : "", wk_dtypes[best].name, (unsigned long long)n[best]);
        n[best] = 0;
    }
    wk_buf_add(&b, "", 0);
    m->types = b.ptr;
    return b.failed ? wk_fail_memory(64, "a list of types") : WICK_OK;
}

static wick_status add_end(wk_model *m, const json_t *id, const char *file) {
    json_int_t v = json_integer_value(id), limit = m->tokenizer ? wk_tokenizer_n_vocab(m->tokenizer) : INT32_MAX;
    const char *path = wk_checkpoint_path(m->ckpt);
    if (!json_is_integer(id))
        return wk_fail(WICK_E_FORMAT, "%s/%s: \"eos_token_id\" is %s, which is no id and no list of ids", path, file,
                       wk_show_json(id).text);
    if (v < 0 || v >= limit)
        return wk_fail(WICK_E_FORMAT, "%s/%s: \"eos_token_id\" is %lld, it has to be in 0..%lld", path, file, (long long)v,
                       (long long)limit - 1);
    return m->tokenizer ? wk_tokenizer_add_end(m->tokenizer, (int32_t)v) : WICK_OK;
}

/* Every id that ends a turn, as generation_config.json lists them: one or several. */
static wick_status add_ends(wk_model *m, json_t *config, const char *file) {
    json_t *ids = json_object_get(config, "eos_token_id"), *one;
    size_t i;
    wick_status st = WICK_OK;
    if (!ids || json_is_null(ids)) return WICK_OK;
    if (!json_is_array(ids)) return add_end(m, ids, file);
    json_array_foreach(ids, i, one) if ((st = add_end(m, one, file))) break;
    return st;
}

static wick_status open_text(wk_model *m, const char *chat_template) {
    const wk_gguf *g = wk_checkpoint_gguf(m->ckpt);
    json_t *tj = wk_checkpoint_tokenizer_json(m->ckpt);
    wick_status st = WICK_OK;
    if (g && wk_gguf_has(g, "tokenizer.ggml.tokens")) st = wk_tokenizer_from_gguf(g, &m->tokenizer);
    else if (tj)
        st = wk_tokenizer_from_json(tj, wk_checkpoint_tokenizer_config(m->ckpt), wk_checkpoint_path(m->ckpt), &m->tokenizer);
    if (!st) st = add_ends(m, wk_checkpoint_generation_config(m->ckpt), "generation_config.json");
    if (!st && !g) st = add_ends(m, wk_checkpoint_config(m->ckpt), "config.json");
    const char *text = chat_template ? chat_template : wk_checkpoint_chat_template(m->ckpt);
    if (!st && text && !(m->chat_text = wk_strdup(text))) st = wk_fail_memory(strlen(text), "the chat template");
    if (st || !text) return st;
    st = wk_template_parse(text, strlen(text), &m->chat);
    /* A template that cannot be read costs the chat, not the model; one that was asked for is an error. */
    if (st == WICK_E_TEMPLATE && !chat_template) st = WICK_OK;
    return st;
}

typedef struct text_source { wk_model *m; const char *chat_template; } text_source;
static wick_status read_text(void *arg) {
    text_source *t = arg;
    return open_text(t->m, t->chat_template);
}

/* Text is read while weights are packed, as of a small model's start it would be a fifth. Both only read the checkpoint. */
static wick_status open_text_and_weights(wk_model *m, const char *chat_template, wick_progress_fn progress, void *user) {
    text_source source = { m, chat_template };
    wk_aside text;
    wk_aside_start(&text, read_text, &source);
    wick_status st = wk_model_bind(m, progress, user), text_st = wk_aside_join(&text);
    return text_st ? text_st : st;
}

wick_status wk_model_load(const char *path, wk_backend *backend, bool vocab_only, const char *chat_template,
                          wick_progress_fn progress, void *user, wk_model **out) {
    wk_model *m = wk_alloc(sizeof *m);
    *out = NULL;
    if (!m) {
        if (backend) backend->ops->free(backend);
        return wk_fail_memory(sizeof *m, "a model");
    }
    m->backend = backend;
    wick_status st = wk_checkpoint_open(path, vocab_only, &m->ckpt);
    if (!st) st = count_types(m);
    if (!st && !vocab_only) st = wk_hparams_read(m->ckpt, &m->hp);
    if (!st) st = vocab_only ? open_text(m, chat_template) : open_text_and_weights(m, chat_template, progress, user);
    if (!st && !vocab_only && m->tokenizer && wk_tokenizer_n_vocab(m->tokenizer) > m->hp.n_vocab)
        st = wk_fail(WICK_E_FORMAT, "%s: the tokenizer has %d tokens, the embedding only %lld", path,
                     wk_tokenizer_n_vocab(m->tokenizer), (long long)m->hp.n_vocab);
    if (st) wk_model_free(m);
    else *out = m;
    return st;
}

static void free_layer(wk_backend *be, wk_layer *l) {
    for (int i = 0; i < WK_T_COUNT; i++) {
        be->ops->weight_free(be, l->w[i]);
        be->ops->weight_free(be, l->bias[i]);
    }
}

void wk_model_free(wk_model *m) {
    if (!m) return;
    if (m->backend) {
        free_layer(m->backend, &m->top);
        for (int64_t i = 0; m->layer && i < m->hp.n_layer; i++) free_layer(m->backend, &m->layer[i]);
        m->backend->ops->weight_free(m->backend, m->freqs);
        m->backend->ops->weight_free(m->backend, m->freqs_local);
        m->backend->ops->free(m->backend);
    }
    wk_free(m->layer);
    wk_hparams_free(&m->hp);
    wk_template_free(m->chat);
    wk_free(m->chat_text);
    wk_free(m->types);
    wk_tokenizer_free(m->tokenizer);
    wk_checkpoint_free(m->ckpt);
    wk_free(m);
}

wk_dtype wk_model_kv_type(const wk_model *m) { return m->main_type == WK_F32 ? WK_F32 : WK_F16; }

uint64_t wk_model_kv_bytes(const wk_model *m, int64_t n_ctx, wk_dtype type) {
    int64_t positions = (n_ctx + WK_PAGE_LEN - 1) / WK_PAGE_LEN * WK_PAGE_LEN;
    size_t row = 0;
    if (!wk_row_bytes(type, m->hp.head_dim, &row)) return 0;
    return (uint64_t)(2 * m->hp.n_layer * positions * m->hp.n_head_kv) * row;
}
