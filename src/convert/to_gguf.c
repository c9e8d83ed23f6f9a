/* to_gguf.c: a GGUF file's keys from a model's hyperparameters, and the file.
 * Keys: GGUF specification, "Standardized key-value pairs"; which of them llama.cpp needs, and the numbers of file types, as in its
 * converter (MIT, llama.cpp authors). Load: 30 keys and the vocabulary. */
#include "convert/conversion.h"
#include <stdio.h>
#include <string.h>

/* general.file_type: what most tensors are. */
static int file_type(wk_dtype t) {
    static const struct { wk_dtype type; int number; } numbers[] = {
        { WK_F32, 0 }, { WK_F16, 1 }, { WK_Q4_0, 2 }, { WK_Q8_0, 7 }, { WK_BF16, 32 },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) if (numbers[i].type == t) return numbers[i].number;
    return 1024;  /* "guessed" */
}

typedef struct keys { wk_conversion *c; wk_gguf_keys *k; const char *arch; char name[128]; } keys;

static const char *key(keys *x, const char *suffix) {
    snprintf(x->name, sizeof x->name, "%s.%s", x->arch, suffix);
    return x->name;
}

/* The numbers of the shared table, where the model has them. */
static void put_numbers(keys *x) {
    wk_hparam p;
    for (size_t i = 0; wk_hparams_key(&x->c->m->hp, i, true, &p); i++) {
        if (!p.name || (p.value == 0 && !p.zero_said)) continue;
        if (p.integer) wk_gguf_put_int(x->k, key(x, p.name), WK_GGUF_U32, (int64_t)p.value);
        else wk_gguf_put_f32(x->k, key(x, p.name), p.value);
    }
    wk_gguf_put_int(x->k, key(x, "attention.value_length"), WK_GGUF_U32, x->c->m->hp.head_dim);
}

static void put_rope(keys *x) {
    const wk_rope_params *p = &x->c->m->hp.rope;
    const char *kind = wk_rope_name(p->kind);
    if (p->kind == WK_ROPE_DEFAULT || p->kind == WK_ROPE_LLAMA3) return;  /* llama3's is a tensor */
    float mscale = 1, unused[1];
    wk_rope_freqs(p, 0, NULL, unused, &mscale);  /* no frequencies: only the factor on cos and sin */
    if (p->kind == WK_ROPE_LONG) {               /* its tensors say that it is */
        wk_gguf_put_f32(x->k, key(x, "rope.scaling.attn_factor"), (double)mscale);
        return;
    }
    wk_gguf_put_str(x->k, key(x, "rope.scaling.type"), kind, strlen(kind));
    wk_gguf_put_f32(x->k, key(x, "rope.scaling.factor"), p->factor);
    if (p->kind != WK_ROPE_YARN) return;
    if (p->unrounded)
        wk_buf_str(&x->c->notes, "\"truncate\" of the rope's scaling has no key in GGUF: llama.cpp rounds where the model does "
                                 "not, so positions turn a little otherwise there\n");
    else if (x->c->m->hp.features & WK_YARN_UNROUNDED)
        wk_buf_str(&x->c->notes, "\"truncate\" of the rope's scaling has no key in GGUF: this family goes without, this model "
                                 "does not\n");
    if (p->attention_factor > 0) wk_gguf_put_f32(x->k, key(x, "rope.scaling.attn_factor"), p->attention_factor);
    if (p->beta_fast != 32) wk_gguf_put_f32(x->k, key(x, "rope.scaling.yarn_beta_fast"), p->beta_fast);
    if (p->beta_slow != 1) wk_gguf_put_f32(x->k, key(x, "rope.scaling.yarn_beta_slow"), p->beta_slow);
}

/* Which layers see only the window, where that is not what the family does by itself. */
static void put_windows(keys *x) {
    const wk_hparams *hp = &x->c->m->hp;
    bool usual = true;
    for (int64_t i = 0; i < hp->n_layer; i++) usual = usual && hp->windowed[i] == wk_hparams_window_default(hp, i);
    if (usual) return;
    wk_gguf_put_array(x->k, key(x, "attention.sliding_window_pattern"), WK_GGUF_BOOL, (uint64_t)hp->n_layer);
    for (int64_t i = 0; i < hp->n_layer; i++) wk_gguf_add_bool(x->k, hp->windowed[i]);
}

/* What GGUF has no key for has to be what every reader assumes. */
static wick_status check_unsayable(const wk_conversion *c) {
    const wk_hparams *hp = &c->m->hp;
    const wk_rope_params *l = &hp->rope_local;
    if (!wk_hparams_gguf_scale(hp))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: \"query_pre_attn_scalar\" is %g: GGUF files of architecture %s cannot say that",
                       c->from,
                       1 / (hp->attn_scale * hp->attn_scale), hp->arch->name);
    if (hp->features & WK_MOE && !hp->norm_topk)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: \"norm_topk_prob\" is false: GGUF files of architecture %s cannot say that",
                       c->from,
                       hp->arch->name);
    if (l->theta > 0 && l->kind != WK_ROPE_DEFAULT)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: the windowed layers' rope is scaled: GGUF files cannot say that", c->from);
    return WICK_OK;
}

/* generation_config.json's way of sampling. do_sample true stands on transformers' own defaults, false means greedy. */
static void put_sampling(keys *x) {
    static const struct { const char *hf, *gguf; bool integer; double normal; } names[] = {
        { "temperature", "general.sampling.temp", false, 1 },      { "top_k", "general.sampling.top_k", true, 50 },
        { "top_p", "general.sampling.top_p", false, 1 },           { "min_p", "general.sampling.min_p", false, 0 },
        { "repetition_penalty", "general.sampling.penalty_repeat", false, 1 },
    };
    const json_t *g = wk_checkpoint_generation_config(x->c->m->ckpt), *sample = json_object_get(g, "do_sample");
    if (json_is_false(sample)) wk_gguf_put_f32(x->k, "general.sampling.temp", 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *v = json_object_get(g, names[i].hf);
        bool said = json_is_number(v);
        if ((!said && !json_is_true(sample)) || (i == 0 && json_is_false(sample))) continue;
        double n = said ? json_number_value(v) : names[i].normal;
        if (names[i].integer) wk_gguf_put_int(x->k, names[i].gguf, WK_GGUF_I32, (int64_t)n);
        else wk_gguf_put_f32(x->k, names[i].gguf, n);
        if (said && i == 4) wk_gguf_put_int(x->k, "general.sampling.penalty_last_n", WK_GGUF_I32, -1);
    }
}

static void put_general(keys *x) {
    const char *name = x->c->m->hp.name;
    wk_gguf_put_str(x->k, "general.architecture", x->arch, strlen(x->arch));
    wk_gguf_put_str(x->k, "general.type", "model", 5);
    if (name) wk_gguf_put_str(x->k, "general.name", name, strlen(name));
    if (x->c->vocab_only) return;
    wk_gguf_put_int(x->k, "general.file_type", WK_GGUF_U32, file_type(x->c->type));
    wk_gguf_put_int(x->k, "general.quantization_version", WK_GGUF_U32, 2);
}

static wick_status put_keys(wk_conversion *c, wk_gguf_keys *k) {
    keys x = { .c = c, .k = k, .arch = c->vocab_only ? "llama" : wk_arch_gguf_name(c->m->hp.arch) };
    const char *chat = c->m->chat_text;
    wick_status st = c->vocab_only ? WICK_OK : check_unsayable(c);
    if (st) return st;
    put_general(&x);
    if (!c->vocab_only) {
        put_numbers(&x);
        put_rope(&x);
        put_windows(&x);
        put_sampling(&x);
    }
    st = wk_put_vocabulary(c, k);
    if (!st && chat) wk_gguf_put_str(k, "tokenizer.chat_template", chat, strlen(chat));
    return st;
}

/* Another file's keys, but those that say how its bytes lie. */
static void copy_keys(wk_conversion *c, const wk_gguf *g, wk_gguf_keys *k) {
    static const char *const own[] = { "general.alignment", "split.no", "split.count", "split.tensors.count" };
    for (size_t i = 0; i < wk_gguf_n_key(g); i++) {
        wk_gguf_type type, element;
        uint64_t n;
        wk_str name = wk_gguf_key(g, i, &type, &element, &n);
        bool skip = c->typed && wk_str_eq(name, "general.file_type");
        for (size_t j = 0; j < sizeof own / sizeof *own; j++) skip = skip || wk_str_eq(name, own[j]);
        if (!skip) wk_gguf_put_copy(k, g, i);
    }
    if (!c->typed) return;
    wk_gguf_put_int(k, "general.file_type", WK_GGUF_U32, file_type(c->type));
    if (!wk_gguf_has(g, "general.quantization_version")) wk_gguf_put_int(k, "general.quantization_version", WK_GGUF_U32, 2);
}

wick_status wk_write_gguf(wk_conversion *c, const wk_gguf *copy) {
    wk_gguf_keys k = { 0 };
    wick_status st = WICK_OK;
    if (copy) copy_keys(c, copy, &k);
    else st = put_keys(c, &k);
    if (!st && k.text.failed) st = wk_fail_memory(k.text.len, "GGUF keys");
    if (!st) st = wk_check_space(c, wk_gguf_size(&k, c->t, c->n));
    if (!st) st = wk_gguf_put(c->to, &k, c->t, c->n, wk_convert_fill, c);
    wk_gguf_keys_free(&k);
    return st;
}
