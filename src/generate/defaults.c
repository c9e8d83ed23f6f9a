/* defaults.c: how a model wants to be sampled: wick's own defaults (llama.cpp's), then what its files say.
 *
 * generation_config.json (transformers' GenerationConfig): do_sample true starts from transformers' own defaults
 * (temperature 1, top_k 50, top_p 1, no min_p), do_sample false means greedy; absent, as many hub files have it, leaves
 * wick's. Keys in the file win either way. A repetition_penalty looks back on the whole context, as there.
 * GGUF: general.sampling.*, as llama.cpp reads them. */
#include "generate/generate.h"
#include "format/names.h"
#include <math.h>
#include <string.h>

static const wick_generate_options own = {
    .size = sizeof own, .n_predict = -1, .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f,
    .repeat_penalty = 1, .penalty_last_n = 64,
};

void wick_generate_defaults(const wick_model *m, wick_generate_options *o) {
    if (o) *o = m ? m->defaults : own;
}

/* Each file's words for an option, and its limits. */
static const struct { const char *hf, *gguf; size_t at; bool integer; double min, max; } keys[] = {
    { "temperature",        "general.sampling.temp",           offsetof(wick_generate_options, temperature),    false, 0, 1e6 },
    { "top_k",              "general.sampling.top_k",          offsetof(wick_generate_options, top_k),          true, -1, 1 << 30 },
    { "top_p",              "general.sampling.top_p",          offsetof(wick_generate_options, top_p),          false, 0, 1 },
    { "min_p",              "general.sampling.min_p",          offsetof(wick_generate_options, min_p),          false, 0, 1 },
    { "repetition_penalty", "general.sampling.penalty_repeat", offsetof(wick_generate_options, repeat_penalty), false, 1e-3, 1e3 },
    { NULL,                 "general.sampling.penalty_last_n", offsetof(wick_generate_options, penalty_last_n), true, -1, 1 << 30 },
};

static void set(wick_generate_options *o, size_t at, bool integer, double v) {
    int i = (int)v;
    float f = (float)v;
    memcpy((char *)o + at, integer ? (void *)&i : (void *)&f, 4);
}

static wick_status from_gguf(const wk_gguf *g, wick_generate_options *o) {
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
        bool found = false;
        int64_t n = 0;
        double v = 0;
        if (keys[i].integer) st = wk_gguf_int(g, keys[i].gguf, (int64_t)keys[i].min, (int64_t)keys[i].max, &n, &found);
        else st = wk_gguf_real(g, keys[i].gguf, &v, &found);
        if (!st && found && !keys[i].integer && !(v >= keys[i].min && v <= keys[i].max))
            return wk_fail(WICK_E_FORMAT, "%s: \"%s\" is %g, it can be %g to %g", wk_gguf_path(g), keys[i].gguf, v, keys[i].min,
                           keys[i].max);
        if (!st && found) set(o, keys[i].at, keys[i].integer, keys[i].integer ? (double)n : v);
    }
    return st;
}

static wick_status from_config(json_t *config, const char *path, wick_generate_options *o) {
    json_t *sample = json_object_get(config, "do_sample");
    bool greedy = json_is_false(sample);
    if (sample && !json_is_boolean(sample) && !json_is_null(sample))
        return wk_fail(WICK_E_FORMAT, "%s/generation_config.json: \"do_sample\" is %s, it must be true or false", path,
                       wk_show_json(sample).text);
    if (json_is_true(sample)) {
        o->temperature = 1;
        o->top_k = 50;
        o->top_p = 1;
        o->min_p = 0;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        json_t *v = keys[i].hf ? json_object_get(config, keys[i].hf) : NULL;
        if (!v || json_is_null(v)) continue;
        double x = json_number_value(v);
        if (!json_is_number(v) || !(x >= keys[i].min && x <= keys[i].max) || (keys[i].integer && x != floor(x)))
            return wk_fail(WICK_E_FORMAT, "%s/generation_config.json: \"%s\" is %s, it must be a %snumber from %g to %g", path,
                           keys[i].hf, wk_show_json(v).text, keys[i].integer ? "whole " : "", keys[i].min, keys[i].max);
        set(o, keys[i].at, keys[i].integer, x);
        if (!strcmp(keys[i].hf, "repetition_penalty")) o->penalty_last_n = -1;
    }
    if (greedy) o->temperature = 0;
    return WICK_OK;
}

/* "eos_token_id": an id or a list of them. The tokenizer, where there is one, was told as the model was read. */
static wick_status read_ends(wick_model *m, json_t *config) {
    json_t *ids = json_object_get(config, "eos_token_id");
    size_t n = json_is_array(ids) ? json_array_size(ids) : json_is_integer(ids) ? 1 : 0;
    if (!n || m->m->tokenizer) return WICK_OK;
    if (!(m->end = wk_alloc_array(n, sizeof *m->end))) return wk_fail_memory(n * sizeof *m->end, "end-of-turn ids");
    for (size_t i = 0; i < n; i++) {
        json_int_t id = json_integer_value(json_is_array(ids) ? json_array_get(ids, i) : ids);
        if (id >= 0 && id < m->m->hp.n_vocab) m->end[m->n_end++] = (int32_t)id;  /* others never come up */
    }
    return WICK_OK;
}

wick_status wk_defaults_read(wick_model *m) {
    const wk_checkpoint *c = m->m->ckpt;
    json_t *config = wk_checkpoint_generation_config(c);
    m->defaults = own;
    if (wk_checkpoint_gguf(c)) return from_gguf(wk_checkpoint_gguf(c), &m->defaults);
    wick_status st = config ? from_config(config, wk_checkpoint_path(c), &m->defaults) : WICK_OK;
    return st ? st : read_ends(m, config ? config : wk_checkpoint_config(c));
}

bool wk_is_end(const wick_model *m, int32_t id) {
    for (size_t i = 0; i < m->n_end; i++)
        if (m->end[i] == id) return true;
    return m->m->tokenizer && id >= 0 && id < wk_tokenizer_n_vocab(m->m->tokenizer) && wk_tokenizer_is_end(m->m->tokenizer, id);
}
