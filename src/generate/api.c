/* api.c: models and what they are, as include/wick.h promises it. Public calls that can fail clear the thread's message first. */
#include "base/cpu.h"
#include "generate/generate.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static char build_info[512];

static void write_build_info(void) {
    snprintf(build_info, sizeof build_info, "version: %s\ncompiler: %s\nbackends: cpu, reference\ncuda: no\ninstruction sets: %s",
             WICK_VERSION, __VERSION__, wk_cpu_name());
}

const char *wick_build_info(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, write_build_info);
    return build_info;
}

wick_status wk_check_size(size_t size, size_t ours, const char *type, const char *fill) {
    if (size == ours) return WICK_OK;
    return wk_fail(WICK_E_ARG, "%s.size is %zu, this library's (%s) is %zu: %s", type, size, WICK_VERSION, ours, fill);
}

/* ---- opening ---- */

void wick_model_defaults(wick_model_options *o) {
    if (o) *o = (wick_model_options){ .size = sizeof *o };
}

static wick_status open_backend(const wick_model_options *o, wk_backend **out) {
    *out = NULL;
    if (o->vocab_only) return WICK_OK;
    if (!o->backend || !strcmp(o->backend, "cpu")) return wk_cpu_new(o->n_threads, out);
    if (!strcmp(o->backend, "reference")) return wk_reference_new(true, out);
    return wk_fail(WICK_E_ARG, "there is no backend \"%s\": this build has cpu and reference", o->backend);
}

wick_status wick_model_open(const char *path, const wick_model_options *o, wick_model **out) {
    wick_model_options defaults;
    wk_backend *backend = NULL;
    wk_clear_error();
    if (!out) return wk_fail(WICK_E_ARG, "wick_model_open: out is NULL");
    *out = NULL;
    if (!path || !*path) return wk_fail(WICK_E_ARG, "wick_model_open: the path is %s", path ? "empty" : "NULL");
    if (!o) {
        wick_model_defaults(&defaults);
        o = &defaults;
    }
    wick_status st = wk_check_size(o->size, sizeof *o, "wick_model_options", "fill it with wick_model_defaults()");
    if (st) return st;
    wick_model *m = wk_alloc(sizeof *m);
    if (!m) return wk_fail_memory(sizeof *m, "a model");
    m->vocab_only = o->vocab_only;
    st = open_backend(o, &backend);
    if (!st) st = wk_model_load(path, backend, o->vocab_only, o->chat_template, o->progress, o->progress_user, &m->m);
    if (!st) m->m->any_base = o->any_base;
    if (!st) st = wk_defaults_read(m);
    if (st) wick_model_free(m);
    else *out = m;
    return st;
}

void wick_model_free(wick_model *m) {  /* frees leave the message: it is often read after them */
    if (!m) return;
    wk_model_free(m->m);
    wk_free(m->end);
    wk_free(m);
}

/* ---- what a model is ---- */

static const char *or_empty(const char *s) { return s ? s : ""; }

wick_status wick_model_describe(const wick_model *m, wick_model_info *info) {
    wk_clear_error();
    if (!m || !info) return wk_fail(WICK_E_ARG, "wick_model_describe: %s is NULL", m ? "info" : "the model");
    wick_status st = wk_check_size(info->size, sizeof *info, "wick_model_info", "set it to sizeof(wick_model_info)");
    if (st) return st;
    const wk_hparams *hp = &m->m->hp;  /* all zero for a vocabulary alone */
    *info = (wick_model_info){
        .size = sizeof *info,
        .architecture = hp->arch ? hp->arch->name : "", .name = or_empty(hp->name),
        .format = wk_checkpoint_gguf(m->m->ckpt) ? "gguf" : "safetensors",
        .types = or_empty(m->m->types), .chat_template = m->m->chat_text, .task = hp->classify ? "classify" : "generate",
        .n_params = m->m->n_params, .n_bytes_file = m->m->n_bytes_file, .n_bytes_weights = m->m->n_bytes_weights,
        .n_vocab = m->vocab_only && m->m->tokenizer ? wk_tokenizer_n_vocab(m->m->tokenizer) : (int)hp->n_vocab,
        .n_ctx_train = (int)hp->n_ctx, .n_embd = (int)hp->n_embd, .n_layer = (int)hp->n_layer, .n_head = (int)hp->n_head,
        .n_head_kv = (int)hp->n_head_kv, .head_dim = (int)hp->head_dim, .n_ff = (int)hp->n_ff, .n_expert = (int)hp->n_expert,
        .n_expert_used = (int)hp->n_expert_used, .n_label = hp->classify ? (int)hp->n_label : 0, .sliding_window = (int)hp->window,
    };
    return WICK_OK;
}

uint64_t wick_model_kv_bytes(const wick_model *m, int n_ctx, const char *kv_type) {
    if (!m || m->vocab_only || n_ctx < 0) return 0;
    wk_dtype type = kv_type ? wk_dtype_of_name(kv_type) : wk_model_kv_type(m->m);
    if (type != WK_F32 && type != WK_F16 && type != WK_BF16 && type != WK_Q8_0) return 0;
    return wk_model_kv_bytes(m->m, n_ctx, type);
}

const char *wick_model_label(const wick_model *m, int label) {
    return m && label >= 0 && label < m->m->hp.n_label_name ? m->m->hp.label[label] : NULL;
}
