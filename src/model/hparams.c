/* hparams.c: a model's sizes and constants. One table names each number in GGUF and in config.json and says its limits;
 * what is left is derived, and checked against itself. The tensors are checked against it when they are bound.
 * config.json comes in two spellings: transformers 5's (rope_parameters, dtype) and 4's (rope_theta, rope_scaling), see
 * interfaces.md; both are read the same way, by looking for either. */
#include "model/hparams.h"
#include "format/names.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Where to look: GGUF keys begin with the architecture, config.json is one object. */
typedef struct source { const wk_gguf *gguf; json_t *config; const char *prefix; char path[512]; } source;

enum { REAL = 0, INT = 1, MUST = 2 };
typedef struct key_info {
    size_t at;                 /* offset in wk_hparams: int64_t for INT, else double */
    const char *gguf;          /* after "ARCH." */
    const char *hf[2];
    int flags;
    double min, max;
} key_info;
#define AT(field) offsetof(wk_hparams, field)
static const key_info keys[] = {
    { AT(n_layer), "block_count", { "num_hidden_layers" }, INT | MUST, 1, WK_MAX_LAYERS },
    { AT(n_embd),           "embedding_length",                 { "hidden_size" },                      INT | MUST, 1,    1 << 20 },
    { AT(n_head),           "attention.head_count",             { "num_attention_heads" },              INT | MUST, 1,    4096 },
    { AT(n_head_kv),        "attention.head_count_kv",          { "num_key_value_heads" },              INT,        1,    4096 },
    { AT(head_dim),         "attention.key_length",             { "head_dim" },                         INT,        1,    8192 },
    { AT(n_ff),             "feed_forward_length",              { "intermediate_size" },                INT | MUST, 1,    1 << 24 },
    { AT(n_ctx),            "context_length",                   { "max_position_embeddings" },          INT | MUST, 1,    1 << 30 },
    { AT(n_vocab),          "vocab_size",                       { "vocab_size" },                       INT,        1,    1 << 28 },
    { AT(rot_dim),          "rope.dimension_count",             { NULL },                               INT,        2,    8192 },
    { AT(norm_eps),         "attention.layer_norm_rms_epsilon", { "rms_norm_eps" },                     REAL | MUST, 0,    1 },
    { AT(window),           "attention.sliding_window",         { "sliding_window" },                   INT,        0,    1 << 30 },
    { AT(attn_softcap),     "attn_logit_softcapping",           { "attn_logit_softcapping" },           REAL,       0,    1e6 },
    { AT(final_softcap),    "final_logit_softcapping",          { "final_logit_softcapping" },          REAL,       0,    1e6 },
    { AT(n_expert),         "expert_count",                     { "num_experts", "num_local_experts" }, INT,        0,    65536 },
    { AT(n_expert_used),    "expert_used_count",                { "num_experts_per_tok" },              INT,        0,    1024 },
    { AT(n_ff_expert),      "expert_feed_forward_length",       { "moe_intermediate_size" },            INT,        1,    1 << 24 },
    { AT(query_scalar),     NULL,                               { "query_pre_attn_scalar" },            REAL,       1e-3, 1e9 },
    { AT(rope.theta),       "rope.freq_base",                   { "rope_theta" },                       REAL,       1e-3, 1e12 },
    { AT(rope.original_ctx), "rope.scaling.original_context_length", { "original_max_position_embeddings" }, INT, 1, 1 << 30 },
    { AT(rope_local.theta), "rope.freq_base_swa",               { "rope_local_base_freq" },             REAL,       1e-3, 1e12 },
    { AT(pad_token),        NULL,                               { "pad_token_id" },                     INT,        -1,   1 << 28 },
};

/* A member of config.json, NULL where it is absent or null. */
static json_t *member(json_t *object, const char *name) {
    json_t *v = name ? json_object_get(object, name) : NULL;
    return v && !json_is_null(v) ? v : NULL;
}

/* "config.json: "num_hidden_layers" is "4", it must be a whole number" */
static wick_status wrong_kind(const source *s, const char *name, const json_t *v, const char *want) {
    return wk_fail(WICK_E_FORMAT, "%s: \"%s\" is %s, it must be %s", s->path, name, wk_show_json(v).text, want);
}

/* A number from config.json. */
static wick_status config_number(const source *s, json_t *object, const char *name, bool integer, double *out, bool *found) {
    json_t *v = member(object, name);
    *found = v != NULL;
    if (!v) return WICK_OK;
    if (!json_is_number(v) || (integer && (!json_is_integer(v) && json_real_value(v) != floor(json_real_value(v)))))
        return wrong_kind(s, name, v, integer ? "a whole number" : "a number");
    *out = json_number_value(v);
    return WICK_OK;
}

/* true or false from config.json; *out stays where it is absent. */
static wick_status config_flag(const source *s, const char *name, bool *out, bool *found) {
    json_t *v = s->config ? member(s->config, name) : NULL;
    *found = v != NULL;
    if (v && !json_is_boolean(v)) return wrong_kind(s, name, v, "true or false");
    if (v) *out = json_is_true(v);
    return WICK_OK;
}

static wick_status gguf_number(const source *s, const char *suffix, bool integer, double *out, bool *found) {
    char key[128];
    snprintf(key, sizeof key, "%s.%s", s->prefix, suffix);
    *found = false;
    if (!integer) return wk_gguf_real(s->gguf, key, out, found);
    int64_t v = 0;
    wick_status st = wk_gguf_int(s->gguf, key, INT64_MIN / 2, INT64_MAX / 2, &v, found);
    if (*found) *out = (double)v;
    return st;
}

static wick_status read_key(const source *s, const key_info *k, wk_hparams *hp) {
    double v = 0;
    bool found = false;
    wick_status st = WICK_OK;
    const char *name = k->gguf;
    if (s->gguf) st = k->gguf ? gguf_number(s, k->gguf, k->flags & INT, &v, &found) : WICK_OK;
    else
        for (int i = 0; i < 2 && !st && !found && k->hf[i]; i++)
            st = config_number(s, s->config, name = k->hf[i], k->flags & INT, &v, &found);
    if (st) return st;
    const char *dot = s->gguf ? "." : "", *prefix = s->gguf ? s->prefix : "";
    bool has_default = k->flags & INT ? *(int64_t *)((char *)hp + k->at) > 0 : *(double *)((char *)hp + k->at) > 0;
    if (!found && k->flags & MUST && !has_default)
        return wk_fail(WICK_E_FORMAT, "%s: \"%s%s%s\" is missing: this model cannot be run without it", s->path, prefix, dot, name);
    if (!found) return WICK_OK;
    if (!(v >= k->min && v <= k->max))
        return wk_fail(WICK_E_FORMAT, "%s: \"%s%s%s\" is %.10g, it must be %.10g to %.10g", s->path, prefix, dot, name, v, k->min,
                       k->max);
    if (k->flags & INT) *(int64_t *)((char *)hp + k->at) = (int64_t)v;
    else *(double *)((char *)hp + k->at) = v;
    return WICK_OK;
}

/* A value that a file leaves out and the family has: over the base's. In config.json null is not left out: it means none. */
static void set_defaults(const source *s, const wk_arch *a, wk_hparams *hp) {
    if (!a) return;
    set_defaults(s, a->base, hp);
    for (const wk_arch_default *d = a->defaults; d && d->key; d++)
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            const key_info *k = &keys[i];
            if (!k->hf[0] || strcmp(k->hf[0], d->key)) continue;
            double v = s->gguf ? d->gguf : json_object_get(s->config, d->key) ? 0 : d->hf;
            if (k->flags & INT) *(int64_t *)((char *)hp + k->at) = (int64_t)v;
            else *(double *)((char *)hp + k->at) = v;
        }
}

/* ---- rope ---- */

static const struct { const char *name; wk_rope_kind kind;
} rope_kinds[] = {
    { "default", WK_ROPE_DEFAULT }, { "none", WK_ROPE_DEFAULT }, { "linear", WK_ROPE_LINEAR },
    { "llama3", WK_ROPE_LLAMA3 },   { "yarn", WK_ROPE_YARN },    { "longrope", WK_ROPE_LONG }, { "su", WK_ROPE_LONG },
};

static wick_status rope_kind(const source *s, const char *name, size_t n, wk_rope_kind *out) {
    for (size_t i = 0; i < sizeof rope_kinds / sizeof *rope_kinds; i++)
        if (strlen(rope_kinds[i].name) == n && !memcmp(name, rope_kinds[i].name, n)) {
            *out = rope_kinds[i].kind;
            return WICK_OK;
        }
    return wk_fail(WICK_E_UNSUPPORTED,
                   "%s: rope scaling \"%.*s\" is not one that wick knows (default, linear, llama3, yarn, longrope)", s->path,
                   (int)(n > 40 ? 40 : n), name);
}

static wick_status check_rope(const source *s, const wk_rope_params *p) {
    if (!(p->theta > 0) || !isfinite(p->theta))
        return wk_fail(WICK_E_FORMAT, "%s: rope base %g is not above zero", s->path, p->theta);
    if (p->kind != WK_ROPE_DEFAULT && !(p->factor > 0 && p->factor <= 1e6))
        return wk_fail(WICK_E_FORMAT, "%s: rope scaling factor %g is not in 0..1000000", s->path, p->factor);
    if (p->kind >= WK_ROPE_LLAMA3 && p->original_ctx < (p->kind == WK_ROPE_LONG ? 2 : 1))
        return wk_fail(WICK_E_FORMAT, "%s: rope scaling needs original_max_position_embeddings%s", s->path,
                       p->kind == WK_ROPE_LONG ? " above 1" : "");
    if (!(p->attention_factor >= 0 && p->attention_factor <= 1e6))
        return wk_fail(WICK_E_FORMAT, "%s: rope scaling's attention factor %g is not in 0..1000000", s->path, p->attention_factor);
    if (p->kind == WK_ROPE_LLAMA3 && !(p->low_freq_factor > 0 && p->high_freq_factor > p->low_freq_factor))
        return wk_fail(WICK_E_FORMAT, "%s: rope low_freq_factor %g and high_freq_factor %g are not in order", s->path,
                       p->low_freq_factor, p->high_freq_factor);
    return WICK_OK;
}

/* One rope's words in config.json, in either spelling. */
static wick_status rope_from_config(const source *s, json_t *o, wk_rope_params *p) {
    json_t *kind = member(o, "rope_type") ? member(o, "rope_type") : member(o, "type");
    const struct { const char *name; double *at; } real[] = {
        { "rope_theta", &p->theta }, { "factor", &p->factor }, { "low_freq_factor", &p->low_freq_factor },
        { "high_freq_factor", &p->high_freq_factor }, { "beta_fast", &p->beta_fast }, { "beta_slow", &p->beta_slow },
        { "attention_factor", &p->attention_factor },
    };
    bool found;
    double ctx = (double)p->original_ctx;
    wick_status st = WICK_OK;
    if (kind && !json_is_string(kind)) return wk_fail(WICK_E_FORMAT, "%s: \"rope_type\" is not a string", s->path);
    if (kind) st = rope_kind(s, json_string_value(kind), json_string_length(kind), &p->kind);
    if (member(o, "long_factor")) p->kind = WK_ROPE_LONG;  /* Phi-3 folders call it "su" or "yarn" too */
    if (p->kind == WK_ROPE_LONG) p->factor = 0;
    for (size_t i = 0; !st && i < sizeof real / sizeof *real; i++)
        st = config_number(s, o, real[i].name, false, real[i].at, &found);
    json_t *truncate = member(o, "truncate");
    if (!st && truncate && !json_is_boolean(truncate)) st = wrong_kind(s, "truncate", truncate, "true or false");
    p->unrounded = truncate && !json_is_true(truncate);  /* left out it means true, in every family */
    if (!st && !member(s->config, "original_max_position_embeddings"))  /* else that one counts, as in transformers */
        st = config_number(s, o, "original_max_position_embeddings", true, &ctx, &found);
    if (!st && !(ctx >= 1 && ctx <= 1 << 30))
        st = wk_fail(WICK_E_FORMAT, "%s: \"original_max_position_embeddings\" is %g, it must be 1 to 2^30", s->path, ctx);
    if (!st) p->original_ctx = (int64_t)ctx;
    return st;
}

/* The object with the rope's words, that of layers which see everything where there are two; local: of the others, or NULL. */
static json_t *rope_object(const source *s, json_t **local) {
    json_t *o = member(s->config, "rope_parameters");
    if (!o) o = member(s->config, "rope_scaling");
    *local = o && member(o, "full_attention") ? member(o, "sliding_attention") : NULL;
    return o && member(o, "full_attention") ? member(o, "full_attention") : o;
}

/* What longrope divides each frequency by: [rot_dim / 2] numbers above zero. */
static wick_status check_factors(const source *s, const char *name, const float *f, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!(f[i] > 0 && f[i] <= 1e6f))
            return wk_fail(WICK_E_FORMAT, "%s: \"%s\"[%lld] is %g, it must be above zero and at most 1000000", s->path, name,
                           (long long)i, (double)f[i]);
    return WICK_OK;
}

static wick_status factors_from_config(const source *s, json_t *o, const char *name, int64_t n, float **out) {
    json_t *list = member(o, name), *v;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) != (size_t)n)
        return wk_fail(WICK_E_FORMAT, "%s: longrope needs \"%s\", a list of %lld numbers (half of the rotating dimensions)",
                       s->path, name, (long long)n);
    if (!(*out = wk_alloc_array((size_t)n, sizeof **out))) return wk_fail_memory((size_t)n * sizeof **out, "rope factors");
    json_array_foreach(list, i, v) (*out)[i] = json_is_number(v) ? (float)json_number_value(v) : 0;
    return check_factors(s, name, *out, n);
}

static wick_status read_rope_hf(const source *s, wk_hparams *hp) {
    json_t *local, *o = rope_object(s, &local);
    wick_status st = WICK_OK;
    if (o && !json_is_object(o)) return wk_fail(WICK_E_FORMAT, "%s: the rope parameters are not an object", s->path);
    if (o) st = rope_from_config(s, o, &hp->rope);
    if (!st && hp->rope.kind == WK_ROPE_LONG) {
        st = factors_from_config(s, o, "short_factor", hp->rot_dim / 2, &hp->rope_short);
        if (!st) st = factors_from_config(s, o, "long_factor", hp->rot_dim / 2, &hp->rope_long);
    }
    if (!st && local) {
        hp->rope_local = (wk_rope_params){ .theta = 10000, .original_ctx = hp->n_ctx, .beta_fast = 32, .beta_slow = 1 };
        st = rope_from_config(s, local, &hp->rope_local);
        if (!st && hp->rope_local.kind == WK_ROPE_LONG)
            st = wk_fail(WICK_E_UNSUPPORTED, "%s: longrope on windowed layers alone is not known", s->path);
    }
    return st;
}

static wick_status factors_from_tensor(const source *s, const wk_tensor *t, int64_t n, float **out) {
    if (t->n_dim != 1 || t->shape[0] != n || !wk_dtypes[t->dtype].decode)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%.*s\" is not a list of %lld numbers, half of the rotating dimensions", s->path,
                       (int)t->name.len, t->name.ptr, (long long)n);
    if (!(*out = wk_alloc_array((size_t)n, sizeof **out))) return wk_fail_memory((size_t)n * sizeof **out, "rope factors");
    wk_tensor_row(t, 0, *out);
    return check_factors(s, wk_show(t->name).text, *out, n);
}

/* GGUF files of Phi-3 do not name longrope: they have its factors. */
static wick_status read_longrope_gguf(const source *s, wk_hparams *hp) {
    const wk_tensor *t[2] = { wk_gguf_find(s->gguf, "rope_factors_short.weight"),
                              wk_gguf_find(s->gguf, "rope_factors_long.weight") };
    if (!t[0] && !t[1] && hp->rope.kind != WK_ROPE_LONG) return WICK_OK;
    hp->rope.kind = WK_ROPE_LONG;
    hp->rope.factor = 0;
    for (int i = 0; i < 2; i++) {
        if (!t[i])
            return wk_fail(WICK_E_FORMAT, "%s: tensor \"rope_factors_%s.weight\" is missing: longrope needs it", s->path,
                           i ? "long" : "short");
        wick_status st = factors_from_tensor(s, t[i], hp->rot_dim / 2, i ? &hp->rope_long : &hp->rope_short);
        if (st) return st;
    }
    return WICK_OK;
}

static wick_status read_rope_gguf(const source *s, wk_hparams *hp) {
    char key[128];
    wk_str kind;
    bool found = false;
    snprintf(key, sizeof key, "%s.rope.scaling.type", s->prefix);
    wick_status st = wk_gguf_str(s->gguf, key, &kind, &found);
    if (!st && found) st = rope_kind(s, kind.ptr, kind.len, &hp->rope.kind);
    if (!st) st = gguf_number(s, "rope.scaling.factor", false, &hp->rope.factor, &found);
    if (!st) st = gguf_number(s, "rope.scaling.attn_factor", false, &hp->rope.attention_factor, &found);
    if (!st) st = gguf_number(s, "rope.scaling.yarn_beta_fast", false, &hp->rope.beta_fast, &found);
    if (!st) st = gguf_number(s, "rope.scaling.yarn_beta_slow", false, &hp->rope.beta_slow, &found);
    return st ? st : read_longrope_gguf(s, hp);
}

/* ---- which layers see a window, which are dense ---- */

/* GGUF's pattern: a number as the arch's, or for each layer whether it is windowed. */
static wick_status read_pattern_gguf(const source *s, double *every, bool *each, wk_hparams *hp) {
    char key[128];
    wk_gguf_array a;
    snprintf(key, sizeof key, "%s.attention.sliding_window_pattern", s->prefix);
    *each = false;
    for (size_t i = 0; i < wk_gguf_n_key(s->gguf); i++) {
        wk_gguf_type type, element;
        uint64_t n;
        if (wk_str_eq(wk_gguf_key(s->gguf, i, &type, &element, &n), key)) *each = type == WK_GGUF_ARR && element != WK_GGUF_STR;
    }
    bool found;
    if (!*each) return gguf_number(s, "attention.sliding_window_pattern", true, every, &found);
    wick_status st = wk_gguf_arr(s->gguf, key, &a, &found);
    if (!st && a.n != (uint64_t)hp->n_layer)
        st = wk_fail(WICK_E_FORMAT, "%s: \"%s\" is for %llu layers, the model has %lld", s->path, key, (unsigned long long)a.n,
                     (long long)hp->n_layer);
    for (int64_t i = 0; !st && i < hp->n_layer; i++) hp->windowed[i] = hp->window && wk_gguf_arr_int(&a, (uint64_t)i);
    return st;
}

static int window_pattern(const wk_arch *a) {
    int pattern = WK_WINDOW_NONE;
    for (; a && !pattern; a = a->base) pattern = a->window_pattern;
    return pattern;
}

bool wk_hparams_window_default(const wk_hparams *hp, int64_t layer) {
    int p = window_pattern(hp->arch);
    return hp->window && (p == WK_WINDOW_ALL || (p > 0 && (layer + 1) % p));
}

static wick_status read_layer_types(const source *s, wk_hparams *hp) {
    int pattern = window_pattern(hp->arch);
    json_t *types = s->config ? member(s->config, "layer_types") : NULL;
    double p = pattern, first = 0;
    bool found = false, each = false, use = false;
    wick_status st = config_flag(s, "use_sliding_window", &use, &found);
    if (st) return st;
    if (types && (!json_is_array(types) || json_array_size(types) != (size_t)hp->n_layer))
        return wk_fail(WICK_E_FORMAT, "%s: \"layer_types\" does not name %lld layers", s->path, (long long)hp->n_layer);
    if (s->config && pattern > 0) st = config_number(s, s->config, "sliding_window_pattern", true, &p, &found);
    if (!st && s->gguf) st = read_pattern_gguf(s, &p, &each, hp);
    if (!st && use) {  /* Qwen: from this layer on */
        st = config_number(s, s->config, "max_window_layers", true, &first, &found);
        pattern = WK_WINDOW_ALL;
    }
    if (st || each) return st;
    if (pattern > 0 && !(p >= 1 && p <= WK_MAX_LAYERS))
        return wk_fail(WICK_E_FORMAT, "%s: \"sliding_window_pattern\" is %g, it must be 1 to %d", s->path, p, WK_MAX_LAYERS);
    for (int64_t i = 0; hp->window && i < hp->n_layer; i++) {
        const char *type = types ? json_string_value(json_array_get(types, (size_t)i)) : NULL;
        if (types && (!type || (strcmp(type, "sliding_attention") && strcmp(type, "full_attention"))))
            return wk_fail(WICK_E_UNSUPPORTED, "%s: \"layer_types\"[%lld] is neither full_attention nor sliding_attention", s->path,
                           (long long)i);
        if (types) hp->windowed[i] = !strcmp(type, "sliding_attention");
        else hp->windowed[i] = pattern == WK_WINDOW_ALL ? (double)i >= first : pattern > 0 && (i + 1) % (int64_t)p != 0;
    }
    return WICK_OK;
}

static wick_status read_moe(const source *s, wk_hparams *hp) {
    json_t *only = s->config ? member(s->config, "mlp_only_layers") : NULL, *v;
    double step = 1;
    size_t i;
    bool found;
    hp->norm_topk = s->gguf || hp->features & WK_NORM_TOPK;  /* GGUF has no key: llama.cpp divides for these families */
    bool norm = hp->norm_topk;
    wick_status st = config_flag(s, "norm_topk_prob", &norm, &found);
    hp->norm_topk = hp->norm_topk || norm;
    if (st) return st;
    if (only && !json_is_array(only)) return wk_fail(WICK_E_FORMAT, "%s: \"mlp_only_layers\" is not a list", s->path);
    if (hp->n_expert < 1 || hp->n_expert_used < 1 || hp->n_expert_used > hp->n_expert)
        return wk_fail(WICK_E_FORMAT, "%s: %lld of %lld experts are used, it must be 1 to all", s->path,
                       (long long)hp->n_expert_used, (long long)hp->n_expert);
    if (!hp->n_ff_expert) hp->n_ff_expert = hp->n_ff;
    if (s->config) st = config_number(s, s->config, "decoder_sparse_step", true, &step, &found);
    if (!st && !(step >= 1 && step <= WK_MAX_LAYERS))
        st = wk_fail(WICK_E_FORMAT, "%s: \"decoder_sparse_step\" is %g", s->path, step);
    for (int64_t l = 0; !st && l < hp->n_layer; l++) hp->dense[l] = (l + 1) % (int64_t)step != 0;
    json_array_foreach(only, i, v) {
        int64_t l = json_is_integer(v) ? json_integer_value(v) : -1;
        if (l < 0 || l >= hp->n_layer)
            return wk_fail(WICK_E_FORMAT, "%s: \"mlp_only_layers\" names layer %lld of %lld", s->path, (long long)l,
                           (long long)hp->n_layer);
        hp->dense[l] = true;
    }
    return st;
}

/* ---- the architecture ---- */

/* Several families may have one name in GGUF; keys tell which it is: how many of the parts that differ are as in this one. */
static int likeness(const source *s, const wk_arch *a) {
    char key[128];
    int pattern = window_pattern(a);
    snprintf(key, sizeof key, "%s.attention.sliding_window", s->prefix);
    bool window = wk_gguf_has(s->gguf, key);
    snprintf(key, sizeof key, "%s.expert_count", s->prefix);
    bool moe = wk_gguf_has(s->gguf, key);
    return (window == (pattern != WK_WINDOW_NONE)) + 2 * (moe == !!(wk_arch_features(a) & WK_MOE));
}

static wick_status find_arch_gguf(const source *s, wk_hparams *hp, char *prefix, size_t cap) {
    wk_str name = { 0 };
    bool found = false;
    wick_status st = wk_gguf_str(s->gguf, "general.type", &name, &found);
    if (!st && found && wk_str_eq(name, "adapter"))
        st = wk_fail(WICK_E_FORMAT, "%s: holds an adapter, no model: it is given beside the model that it was made for (--lora %s)",
                     s->path, s->path);
    if (!st) st = wk_gguf_str(s->gguf, "general.architecture", &name, &found);
    if (st) return st;
    if (!found) return wk_fail(WICK_E_FORMAT, "%s: \"general.architecture\" is missing", s->path);
    snprintf(prefix, cap, "%.*s", (int)(name.len < cap ? name.len : cap - 1), name.ptr);
    int best = -1;
    for (const wk_arch *const *a = wk_archs; *a; a++) {
        if (!wk_str_eq(name, wk_arch_gguf_name(*a))) continue;
        int fit = likeness(s, *a);
        if (fit > best) { best = fit; hp->arch = *a; }
    }
    return hp->arch ? WICK_OK : wk_fail(WICK_E_UNSUPPORTED, "%s: architecture \"%s\" is not one that wick runs", s->path,
                                             wk_show(name).text);
}

/* The text part's configuration takes the whole's place. */
static wick_status unwrap(source *s, wk_hparams *hp) {
    json_t *text = member(s->config, "text_config");
    if (!json_is_object(text)) return wk_fail(WICK_E_FORMAT, "%s: \"text_config\" is missing or not an object", s->path);
    s->config = text;
    hp->wrapped = true;
    return WICK_OK;
}

static wick_status find_arch_hf(source *s, wk_hparams *hp) {
    const char *name = json_string_value(json_array_get(json_object_get(s->config, "architectures"), 0));
    if (!name)
        return wk_fail(WICK_E_FORMAT, "%s: \"architectures\" %s, it must be a list that begins with a name", s->path,
                       member(s->config, "architectures") ? "does not name one" : "is missing");
    for (const wk_arch *const *a = wk_archs; *a; a++) {
        if (!strcmp(name, (*a)->hf)) hp->arch = *a;
        if ((*a)->hf_classify && !strcmp(name, (*a)->hf_classify)) {
            hp->arch = *a;
            hp->classify = true;
        }
        if ((*a)->hf_wrapper && !strcmp(name, (*a)->hf_wrapper)) {
            hp->arch = *a;
            return unwrap(s, hp);
        }
    }
    return hp->arch ? WICK_OK : wk_fail(WICK_E_UNSUPPORTED, "%s: architecture \"%s\" is not one that wick runs", s->path,
                                             wk_show((wk_str){ name, strlen(name) }).text);
}

/* The clipped activation's constants, where a folder says them, are those that all files mean. */
static wick_status check_clip(const source *s) {
    static const struct { const char *name; double value; } all[] = { { "swiglu_limit", 7 }, { "swiglu_alpha", 1.702 } };
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < sizeof all / sizeof *all; i++) {
        double v = all[i].value;
        bool found;
        st = config_number(s, s->config, all[i].name, false, &v, &found);
        if (!st && v != all[i].value)
            st = wk_fail(WICK_E_UNSUPPORTED, "%s: \"%s\" is %g, wick knows %g", s->path, all[i].name, v, all[i].value);
    }
    return st;
}

/* The activation is the family's unless a folder names another. */
static wick_status check_act(const source *s, wk_hparams *hp) {
    static const struct { const char *name; wk_act act; } acts[] = {
        { "silu", WK_ACT_SILU }, { "swish", WK_ACT_SILU }, { "gelu_pytorch_tanh", WK_ACT_GELU_TANH }, { "gelu", WK_ACT_GELU },
    };
    json_t *v = member(s->config, "hidden_activation") ? member(s->config, "hidden_activation") : member(s->config, "hidden_act");
    const char *name = json_string_value(v);
    bool clipped = hp->act == WK_ACT_SWIGLU_CLIPPED;  /* gpt-oss folders call it silu; transformers computes no other there */
    if (!v) return clipped ? check_clip(s) : WICK_OK;
    for (size_t i = 0; name && i < sizeof acts / sizeof *acts; i++)
        if (!strcmp(acts[i].name, name)) {
            if (clipped && acts[i].act == WK_ACT_SILU) return check_clip(s);
            if (clipped)
                return wk_fail(WICK_E_UNSUPPORTED, "%s: the activation is \"%s\", this family's experts have \"silu\", clipped",
                               s->path, name);
            hp->act = acts[i].act;
            return WICK_OK;
        }
    return wk_fail(WICK_E_UNSUPPORTED, "%s: the activation \"%.40s\" is not one that wick knows (silu, gelu, gelu_pytorch_tanh)",
                   s->path, name ? name : "");
}

/* What config.json says with true or false. */
static wick_status read_flags(const source *s, wk_hparams *hp) {
    bool window = true, tie = false, both_ways = false, bias = false, found = false;
    wick_status st = config_flag(s, "use_sliding_window", &window, &found);
    if (!window) hp->window = 0;  /* Qwen has a window that it does not use */
    if (!st) st = config_flag(s, "tie_word_embeddings", &tie, &found);
    if (!st && found) hp->features = tie ? hp->features | WK_TIED : hp->features & ~(unsigned)WK_TIED;
    if (hp->features & WK_EXPERT_BIAS) hp->attn_bias = WK_BIAS_ALL;
    if (!st) st = config_flag(s, "attention_bias", &bias, &found);
    if (!st && found && !(hp->features & WK_QKV_BIAS)) hp->attn_bias = bias ? WK_BIAS_ALL : WK_BIAS_NONE;
    if (!st) st = config_flag(s, "mlp_bias", &bias, &found);
    if (!st && found) hp->mlp_bias = bias ? WK_BIAS_ALL : WK_BIAS_NONE;
    if (!st) st = config_flag(s, "use_bidirectional_attention", &both_ways, &found);
    if (!st && both_ways)
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: \"use_bidirectional_attention\" is true: decoders run here look back only", s->path);
    return st;
}

/* Class names in order of their numbers. */
static wick_status read_labels(const source *s, wk_hparams *hp) {
    json_t *names = member(s->config, "id2label");
    double n = 2;  /* transformers' default */
    bool found;
    wick_status st = config_number(s, s->config, "num_labels", true, &n, &found);
    if (st) return st;
    if (names && !json_is_object(names)) return wk_fail(WICK_E_FORMAT, "%s: \"id2label\" is not an object", s->path);
    if (names) n = (double)json_object_size(names);
    if (!(n >= 1 && n <= 1 << 20)) return wk_fail(WICK_E_FORMAT, "%s: %g labels, it must be 1 to 2^20", s->path, n);
    hp->n_label = (int64_t)n;
    hp->label = wk_alloc_array((size_t)n, sizeof *hp->label);
    if (!hp->label) return wk_fail_memory((size_t)n, "labels");
    hp->n_label_name = hp->n_label;
    for (int64_t i = 0; i < hp->n_label; i++) {
        char key[24], plain[32];
        snprintf(key, sizeof key, "%lld", (long long)i);
        snprintf(plain, sizeof plain, "LABEL_%lld", (long long)i);
        const char *name = json_string_value(json_object_get(names, key));
        if (names && !name) return wk_fail(WICK_E_FORMAT, "%s: \"id2label\" does not name label %lld", s->path, (long long)i);
        if (!(hp->label[i] = wk_strdup(name ? name : plain))) return wk_fail_memory(32, "a label");
    }
    return WICK_OK;
}

/* ---- everything ---- */

/* GGUF files need not say the size of their vocabulary: it is the embedding's rows. */
static void vocab_from_tensors(const wk_checkpoint *c, wk_hparams *hp) {
    const wk_tensor *t = wk_checkpoint_find(c, "token_embd.weight");
    if (t && t->n_dim == 2) hp->n_vocab = t->shape[0];
}

static wick_status derive(const source *s, wk_hparams *hp) {
    double v = 0;
    bool found = false;
    wick_status st = WICK_OK;
    if ((float)hp->norm_eps <= 0)
        return wk_fail(WICK_E_FORMAT,
                       "%s: the RMS norm's epsilon is %g: as a 32-bit number it must be above 0, else a row of zeros, as unused "
                       "tokens have, becomes 0 / 0; 1e-6 is usual", s->path, hp->norm_eps);
    if (!hp->n_head_kv) hp->n_head_kv = hp->n_head;
    if (hp->n_head % hp->n_head_kv)
        return wk_fail(WICK_E_FORMAT, "%s: %lld heads cannot share %lld KV heads", s->path, (long long)hp->n_head,
                       (long long)hp->n_head_kv);
    if (!hp->head_dim) {
        if (hp->n_embd % hp->n_head)
            return wk_fail(WICK_E_FORMAT, "%s: an embedding of %lld does not divide into %lld heads", s->path,
                           (long long)hp->n_embd, (long long)hp->n_head);
        hp->head_dim = hp->n_embd / hp->n_head;
    }
    if (s->gguf) {
        st = gguf_number(s, "attention.value_length", true, &v, &found);
        if (!st && found && (int64_t)v != hp->head_dim)
            return wk_fail(WICK_E_UNSUPPORTED, "%s: keys of %lld and values of %g dimensions differ", s->path,
                           (long long)hp->head_dim, v);
    } else {
        json_t *local, *rope = rope_object(s, &local);
        st = config_number(s, rope, "partial_rotary_factor", false, &v, &found);
        if (!st && !found) st = config_number(s, s->config, "partial_rotary_factor", false, &v, &found);
        if (!st && found && !(v > 0 && v <= 1))
            return wk_fail(WICK_E_FORMAT, "%s: \"partial_rotary_factor\" is %g, it must be in 0..1", s->path, v);
        if (found) hp->rot_dim = (int64_t)((double)hp->head_dim * v);
    }
    if (st) return st;
    if (!hp->rot_dim) hp->rot_dim = hp->head_dim;
    if (hp->rot_dim % 2 || hp->rot_dim > hp->head_dim)
        return wk_fail(WICK_E_FORMAT, "%s: %lld rotating dimensions in heads of %lld", s->path, (long long)hp->rot_dim,
                       (long long)hp->head_dim);
    if (s->gguf && hp->n_layer == hp->arch->layers_scaled_by_embd) hp->query_scalar = (double)(hp->n_embd / hp->n_head);
    hp->attn_scale = 1 / sqrt(hp->query_scalar > 0 ? hp->query_scalar : (double)hp->head_dim);
    if (hp->n_vocab < 1) return wk_fail(WICK_E_FORMAT, "%s: the size of the vocabulary is not given", s->path);
    return st;
}

static wick_status read_name(const wk_checkpoint *c, const source *s, wk_hparams *hp) {
    wk_str name = { 0 };
    bool found = false;
    wick_status st = s->gguf ? wk_gguf_str(s->gguf, "general.name", &name, &found) : WICK_OK;
    if (st) return st;
    if (!found) {
        const char *path = wk_checkpoint_path(c);
        size_t n = strlen(path);
        while (n && path[n - 1] == '/') n--;
        size_t from = n;
        while (from && path[from - 1] != '/') from--;
        name = (wk_str){ path + from, n - from };
    }
    hp->name = wk_strdup_n(name.ptr, name.len);
    return hp->name ? WICK_OK : wk_fail_memory(name.len, "a name");
}

wick_status wk_hparams_read(const wk_checkpoint *c, wk_hparams *hp) {
    char prefix[64] = "";
    source s = { .gguf = wk_checkpoint_gguf(c), .config = wk_checkpoint_config(c), .prefix = prefix };
    *hp = (wk_hparams){ .pad_token = -1, .rope = { .beta_fast = 32, .beta_slow = 1, .factor = 1 } };
    snprintf(s.path, sizeof s.path, "%s%s", wk_checkpoint_path(c), s.gguf ? "" : "/config.json");
    if (s.gguf) s.config = NULL;
    if (!s.gguf && !json_is_object(s.config)) return wk_fail(WICK_E_FORMAT, "%s: is missing or not an object", s.path);
    wick_status st = s.gguf ? find_arch_gguf(&s, hp, prefix, sizeof prefix) : find_arch_hf(&s, hp);
    if (!st) {
        hp->features = wk_arch_features(hp->arch);
        for (const wk_arch *a = hp->arch; a && !hp->act; a = a->base) hp->act = a->act;
        set_defaults(&s, hp->arch, hp);
        if (s.gguf) vocab_from_tensors(c, hp);
    }
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) st = read_key(&s, &keys[i], hp);
    if (!st && s.config) st = check_act(&s, hp);
    if (!st) st = read_flags(&s, hp);
    if (!hp->rope.original_ctx) hp->rope.original_ctx = hp->n_ctx;
    if (!(hp->rope.theta > 0)) hp->rope.theta = 10000;
    hp->rope.unrounded = hp->features & WK_YARN_UNROUNDED;
    if (hp->n_expert > 0) hp->features |= WK_MOE;  /* GGUF files of Mixtral say "llama" */
    if (!st) st = derive(&s, hp);
    if (!st) st = s.gguf ? read_rope_gguf(&s, hp) : read_rope_hf(&s, hp);
    if (!st && hp->rope.kind == WK_ROPE_LONG && !(hp->rope.factor > 0))
        hp->rope.factor = (double)hp->n_ctx / (double)hp->rope.original_ctx;
    if (!st) st = check_rope(&s, &hp->rope);
    if (!st && hp->rope_local.theta > 0) st = check_rope(&s, &hp->rope_local);
    if (!st) st = read_layer_types(&s, hp);
    if (!st && hp->features & WK_MOE) st = read_moe(&s, hp);
    if (!st && hp->classify) st = read_labels(&s, hp);
    if (!st) st = read_name(c, &s, hp);
    if (st) wk_hparams_free(hp);
    return st;
}

void wk_hparams_free(wk_hparams *hp) {
    for (int64_t i = 0; hp->label && i < hp->n_label_name; i++) wk_free(hp->label[i]);
    wk_free(hp->label);
    wk_free(hp->name);
    wk_free(hp->rope_short);
    wk_free(hp->rope_long);
    hp->rope_short = hp->rope_long = NULL;
    hp->label = NULL;
    hp->name = NULL;
}

int64_t wk_hparams_dim(const wk_hparams *hp, wk_dim d) {
    switch (d) {
    case WK_D_ONE: return 1;
    case WK_D_VOCAB: return hp->n_vocab;
    case WK_D_EMBD: return hp->n_embd;
    case WK_D_Q: return hp->n_head * hp->head_dim;
    case WK_D_HEAD: return hp->n_head;
    case WK_D_KV: return hp->n_head_kv * hp->head_dim;
    case WK_D_FF: return hp->n_ff;
    case WK_D_Q_NORM: return hp->features & WK_QK_NORM_ROW ? hp->n_head * hp->head_dim : hp->head_dim;
    case WK_D_K_NORM: return hp->features & WK_QK_NORM_ROW ? hp->n_head_kv * hp->head_dim : hp->head_dim;
    case WK_D_EXPERT: return hp->n_expert;
    case WK_D_FF_EXPERT: return hp->n_ff_expert;
    case WK_D_LABEL: return hp->n_label;
    case WK_D_ROT: return hp->rot_dim / 2;
    }
    return 0;
}

/* Is there a value that a file which leaves the key out would mean? */
static bool has_default(const wk_arch *a, const char *key, bool gguf) {
    for (; a && key; a = a->base)
        for (const wk_arch_default *d = a->defaults; d && d->key; d++)
            if (!strcmp(d->key, key)) return (gguf ? d->gguf : d->hf) != 0;
    return false;
}

bool wk_hparams_key(const wk_hparams *hp, size_t i, bool gguf, wk_hparam *out) {
    if (i >= sizeof keys / sizeof *keys) return false;
    const key_info *k = &keys[i];
    const char *at = (const char *)hp + k->at;
    bool integer = k->flags & INT;
    double v = integer ? (double)*(const int64_t *)at : *(const double *)at;
    if (k->at == AT(query_scalar)) integer = v == floor(v);  /* transformers insists */
    *out = (wk_hparam){ gguf ? k->gguf : k->hf[0], integer, v, v == 0 && has_default(hp->arch, k->hf[0], gguf) };
    if (k->at == AT(pad_token) && v < 0) out->name = NULL;
    if (k->at == AT(rope.original_ctx) && hp->rope.kind != (gguf && hp->rope.kind == WK_ROPE_YARN ? WK_ROPE_YARN : WK_ROPE_LONG))
        out->name = NULL;
    return true;
}

bool wk_hparams_gguf_scale(const wk_hparams *hp) {
    double n = hp->n_layer == hp->arch->layers_scaled_by_embd ? (double)(hp->n_embd / hp->n_head) : (double)hp->head_dim;
    return fabs(hp->attn_scale * sqrt(n) - 1) < 1e-9;
}

const char *wk_rope_name(wk_rope_kind kind) {
    size_t i = 0;
    while (rope_kinds[i].kind != kind) i++;
    return rope_kinds[i].name;
}
