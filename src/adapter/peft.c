/* peft.c: reads a LoRA adapter as PEFT saves it.
 * Layout: adapter_config.json (peft.LoraConfig), adapter_model.safetensors with, for each adapted linear layer,
 *   base_model.model.<module>.lora_A.weight [r, n_in]  and  base_model.model.<module>.lora_B.weight [n_out, r],
 * with DoRA also .lora_magnitude_vector [n_out]; of an embedding .lora_embedding_A [r, n_vocab] and .lora_embedding_B [d, r];
 * of adapted embeddings and heads .base_layer.weight, the model's own (base_layer.c); and base_model.model.<module>.weight of
 * saved modules.
 * Which layers are adapted is what tensors there are; the config gives the scale: alpha / r, or alpha / sqrt(r) for rsLoRA,
 * with r and alpha by module where rank_pattern and alpha_pattern name it. The folder is a stranger's. */
#include "adapter/reading.h"
#include "base/file.h"
#include "base/regex.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_PATTERNS = 1024, MATCH_LIMIT = 100000 };

/* ---- adapter_config.json ---- */

/* A key of rank_pattern or alpha_pattern: a regular expression that the end of a module's name must match. */
typedef struct pattern { pcre2_code *code; double value; } pattern;
typedef struct pattern_list { pattern *p; size_t n; pcre2_general_context *memory; } pattern_list;
typedef struct peft_config {
    double r, alpha;
    bool dora;
    pattern_list ranks, alphas;
} peft_config;

static void free_patterns(pattern_list *l) {
    for (size_t i = 0; i < l->n; i++) pcre2_code_free(l->p[i].code);
    pcre2_general_context_free(l->memory);
    wk_free(l->p);
    *l = (pattern_list){ 0 };
}

/* One key of a pattern list, compiled. */
static wick_status compile_pattern(const pattern_list *l, const char *path, const char *key, const char *name, pcre2_code **out) {
    int code = PCRE2_ERROR_HEAP_FAILED;
    size_t at;
    wk_buf regex = { 0 };
    wk_buf_printf(&regex, "(?:.*\\.)?(?:%s)$", name);
    pcre2_compile_context *how = regex.failed ? NULL : pcre2_compile_context_create(l->memory);
    *out = how ? pcre2_compile((PCRE2_SPTR)regex.ptr, regex.len, PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &code, &at, how) : NULL;
    pcre2_compile_context_free(how);
    wk_buf_free(&regex);
    if (*out) return WICK_OK;
    if (code == PCRE2_ERROR_HEAP_FAILED) return wk_fail_memory(strlen(name), key);
    return wk_fail(WICK_E_FORMAT, "%s: \"%s\" has \"%.64s\", which is not a regular expression", path, key, name);
}

/* PEFT's get_pattern_key(): re.match("(.*\.)?(KEY)$", module); the first key that matches wins. */
static wick_status read_patterns(json_t *config, const char *path, const char *key, double min, double max, pattern_list *out) {
    json_t *object = json_object_get(config, key), *v;
    const char *name;
    size_t n = json_object_size(object);
    if (object && !json_is_object(object) && !json_is_null(object))
        return wk_fail(WICK_E_FORMAT, "%s: \"%s\" must be an object", path, key);
    if (n > MAX_PATTERNS)
        return wk_fail(WICK_E_FORMAT, "%s: \"%s\" has %zu members, at most %d are read", path, key, n, MAX_PATTERNS);
    if (!n) return WICK_OK;
    if (!(out->p = wk_alloc_array(n, sizeof *out->p)) || !(out->memory = wk_regex_memory()))
        return wk_fail_memory(n * sizeof *out->p, key);
    json_object_foreach(object, name, v) {
        pcre2_code *p;
        if (!json_is_number(v) || !(json_number_value(v) >= min && json_number_value(v) <= max))
            return wk_fail(WICK_E_FORMAT, "%s: \"%.64s\" of \"%s\" must be a number from %g to %g", path, name, key, min, max);
        wick_status st = compile_pattern(out, path, key, name, &p);
        if (st) return st;
        out->p[out->n++] = (pattern){ p, json_number_value(v) };
    }
    return WICK_OK;
}

/* The value for a module: the first matching pattern's, else the usual one. */
static wick_status value_for(const pattern_list *l, wk_str module, double usual, double *out) {
    *out = usual;
    pcre2_match_context *limits = l->n ? pcre2_match_context_create(l->memory) : NULL;
    pcre2_match_data *found = l->n ? pcre2_match_data_create(1, l->memory) : NULL;
    bool ok = true, room = !l->n || (limits && found);
    if (limits) pcre2_set_match_limit(limits, MATCH_LIMIT);
    for (size_t i = 0; ok && room && i < l->n; i++) {
        int n = pcre2_match(l->p[i].code, (PCRE2_SPTR)module.ptr, module.len, 0, 0, found, limits);
        if (n >= 0) {
            *out = l->p[i].value;
            break;
        }
        ok = n == PCRE2_ERROR_NOMATCH;
        room = n != PCRE2_ERROR_NOMEMORY;
    }
    pcre2_match_data_free(found);
    pcre2_match_context_free(limits);
    if (!room) return wk_fail_memory(module.len, "a pattern of the adapter");
    return ok ? WICK_OK
              : wk_fail(WICK_E_UNSUPPORTED, "a pattern of the adapter needs too many steps on \"%s\"", wk_show(module).text);
}

/* Does a member say something other than nothing: null, false, "", [], {} or (bias) "none"? */
static bool says_something(json_t *v) {
    if (!v || json_is_null(v) || json_is_false(v)) return false;
    if (json_is_string(v)) return json_string_length(v) && strcmp(json_string_value(v), "none");
    return json_is_array(v) || json_is_object(v) ? json_array_size(v) || json_object_size(v) : true;
}

/* What changes the computation in ways that a plain sum B(A x) does not cover. */
static wick_status refuse_unsupported(json_t *config, const char *path) {
    static const struct { const char *key, *what; } others[] = {
        { "bias", "trained biases" },
        { "lora_bias", "biases of lora_B" }, { "fan_in_fan_out", "transposed weights" }, { "use_qalora", "QALoRA" },
        { "layer_replication", "replicated layers" }, { "target_parameters", "adapted parameters" },
        { "trainable_token_indices", "trained tokens" }, { "alora_invocation_tokens", "activated LoRA" },
        { "use_bdlora", "block-diagonal LoRA" }, { "kasa_config", "KaSA" }, { "monteclora_config", "MonteCLoRA" },
        { "arrow_config", "routing among adapters" },
    };
    static const char *const inits[] = { "pissa", "olora", "corda", "loftq", "lora_ga" };  /* these change the base weights too */
    wk_buf list = { 0 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (says_something(json_object_get(config, others[i].key)))
            wk_buf_printf(&list, "%s\"%s\": %s", list.len ? "; " : "", others[i].key, others[i].what);
    const char *init = json_string_value(json_object_get(config, "init_lora_weights"));
    for (size_t i = 0; init && i < sizeof inits / sizeof *inits; i++)
        if (!strncasecmp(init, inits[i], strlen(inits[i])))  /* PEFT takes "OLoRA" too */
            wk_buf_printf(&list, "%s\"init_lora_weights\": \"%s\" (save it converted to plain LoRA)", list.len ? "; " : "",
                          inits[i]);
    wick_status st = list.failed ? wk_fail_memory(list.len, "an adapter's configuration")
                   : list.len ? wk_fail(WICK_E_UNSUPPORTED, "%s: wick cannot apply %s", path, list.ptr) : WICK_OK;
    wk_buf_free(&list);
    return st;
}

/* A flag that says something else than true or false would be read as another scale or no DoRA. */
static wick_status read_flag(const wk_lora_folder *f, const char *key, bool *out) {
    json_t *v = json_object_get(f->config, key);
    *out = json_is_true(v);
    return !v || json_is_null(v) || json_is_boolean(v) ? WICK_OK
           : wk_fail(WICK_E_FORMAT, "%s: \"%s\" must be true or false", f->config_path, key);
}

static wick_status read_config(const wk_lora_folder *f, peft_config *c, wk_lora_data *d) {
    json_t *config = f->config;
    const char *path = f->config_path, *type = json_string_value(json_object_get(config, "peft_type"));
    wick_status st = WICK_OK;
    if (!type) st = wk_fail(WICK_E_FORMAT, "%s: \"peft_type\" is missing: is this a PEFT adapter?", path);
    else if (strcmp(type, "LORA"))
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: \"peft_type\" is \"%.40s\", only \"LORA\" can be loaded", path, type);
    if (!st) st = refuse_unsupported(config, path);
    if (!st) st = wk_config_read_number(f, config, "r", 1, WK_LORA_MAX_RANK, &c->r);
    if (!st) st = wk_config_read_number(f, config, "lora_alpha", -1e6, 1e6, &c->alpha);
    if (!st) st = read_patterns(config, path, "rank_pattern", 1, WK_LORA_MAX_RANK, &c->ranks);
    if (!st) st = read_patterns(config, path, "alpha_pattern", -1e6, 1e6, &c->alphas);
    if (!st && c->r != floor(c->r)) st = wk_fail(WICK_E_FORMAT, "%s: \"r\" must be a whole number, not %g", path, c->r);
    if (!st) st = read_flag(f, "use_dora", &c->dora);
    if (!st) st = read_flag(f, "use_rslora", &d->rslora);
    d->dropout = json_number_value(json_object_get(config, "lora_dropout"));
    if (!st) st = wk_config_read_text(f, "base_model_name_or_path", &d->base_model);
    if (!st) st = wk_config_read_text(f, "task_type", &d->task_type);
    return st;
}

/* The tensors' file, or why there is none to read. */
static wick_status open_tensors(const char *folder, const char *file, char **path, wk_safetensors **out) {
    char *pickle = wk_path_join(folder, "adapter_model.bin");
    *path = file ? wk_strdup(file) : wk_path_join(folder, "adapter_model.safetensors");
    bool there = false, pickled = false;
    wick_status st = !pickle || !*path ? wk_fail_memory(strlen(folder), "a path") : wk_file_look(*path, &there);
    if (!st && !there) st = wk_file_look(pickle, &pickled);
    if (!st && pickled)
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: pickle files can run code when they are read: save the adapter as safetensors "
                     "(save_pretrained with safe_serialization=True)", pickle);
    if (!st) st = wk_safetensors_open(*path, out);
    wk_free(pickle);
    return st;
}

/* ---- tensors ---- */

static wick_status rank_of(const wk_reading *r, wk_str module, int64_t found, int64_t *rank, double *alpha) {
    const peft_config *c = r->user;
    double x;
    (void)found;
    wick_status st = value_for(&c->ranks, module, c->r, &x);
    if (!st) st = value_for(&c->alphas, module, c->alpha, alpha);
    *rank = st ? 0 : (int64_t)x;
    return st;
}

/* What a tensor is, by the end of its name, which is cut off. */
static bool cut_half(wk_str *s, wk_half *half) {
    static const struct { const char *end; wk_half half; } ends[] = {
        { ".lora_A.weight", WK_HALF_A }, { ".lora_B.weight", WK_HALF_B }, { ".lora_embedding_A", WK_HALF_A },
        { ".lora_embedding_B", WK_HALF_B }, { ".lora_magnitude_vector", WK_HALF_MAGNITUDE },
        { ".lora_magnitude_vector.weight", WK_HALF_MAGNITUDE }, { ".modules_to_save.weight", WK_HALF_SAVED },
        { ".base_layer.weight", WK_HALF_BASE },
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (wk_cut_end(s, ends[i].end)) {
            *half = ends[i].half;
            return true;
        }
    *half = WK_HALF_SAVED;
    return wk_cut_end(s, ".weight");
}

/* Is a module that was saved whole among the tensors? */
static bool has_saved(const wk_safetensors *file, const char *name) {
    for (size_t i = 0; i < wk_safetensors_n_tensor(file); i++) {
        wk_str module = wk_safetensors_tensor(file, i)->name;
        wk_half half;
        if (wk_cut_start(&module, "base_model.model.") && cut_half(&module, &half) && half == WK_HALF_SAVED &&
            (wk_str_eq(module, name) || (wk_cut_end(&module, name) && wk_cut_end(&module, ".")))) return true;
    }
    return false;
}

/* PEFT lists "classifier" and "score" for any classifier: only what this model has must be there. */
static void need_saved(wk_reading *r, const wk_safetensors *file, json_t *config) {
    bool classifies = r->m->hp.classify;
    json_t *list = json_object_get(config, "modules_to_save"), *v;
    size_t i;
    json_array_foreach(list, i, v) {
        const char *name = json_is_string(v) ? json_string_value(v) : "", *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
        bool has = !strcmp(last, "embed_tokens") || !strcmp(last, classifies ? "score" : "lm_head");
        if (has && !has_saved(file, name))
            wk_reading_problem(r, true, (wk_str){ name, strlen(name) },
                               "is in \"modules_to_save\", and the file has no tensor of it");
    }
}

static void place_all(wk_reading *r, const wk_safetensors *file, bool dora) {
    for (size_t i = 0; i < wk_safetensors_n_tensor(file); i++) {
        const wk_tensor *t = wk_safetensors_tensor(file, i);
        wk_str module = t->name;
        wk_half half;
        if (!wk_cut_start(&module, "base_model.model.") || !cut_half(&module, &half))
            wk_reading_problem(r, false, t->name, "is neither a lora_A nor a lora_B of a linear layer, nor a saved module");
        else if (half == WK_HALF_MAGNITUDE && !dora)
            wk_reading_problem(r, true, t->name, "is DoRA's, and the configuration has no \"use_dora\"");
        else wk_reading_place(r, t, module, half, false);
    }
    wk_reading_need_magnitudes(r, dora, ".lora_magnitude_vector");
}

wick_status wk_peft_read(const wk_model *m, const wk_lora_folder *f, wk_lora_data *d) {
    peft_config c = { 0 };
    wk_reading r = { 0 };
    char *name = NULL;
    wick_status st = read_config(f, &c, d);
    if (!st) st = open_tensors(f->folder, f->file, &name, &d->tensors);
    if (!st) st = wk_read_base_weights(d);
    if (!st) st = wk_reading_new(&r, m, name);
    if (!st) {
        r.rank = rank_of;
        r.user = &c;
        place_all(&r, d->tensors, c.dora);
        need_saved(&r, d->tensors, f->config);
        st = wk_reading_finish(&r, d);
    }
    wk_reading_free(&r);
    free_patterns(&c.ranks);
    free_patterns(&c.alphas);
    wk_free(name);
    return st;
}
