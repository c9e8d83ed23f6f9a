/* peft.c: reads a LoRA adapter as PEFT saves it, and puts its matrices into a model's backend.
 * Layout: adapter_config.json (peft.LoraConfig), adapter_model.safetensors with, for each adapted linear layer,
 *   base_model.model.<module>.lora_A.weight [r, n_in]  and  base_model.model.<module>.lora_B.weight [n_out, r].
 * Which layers are adapted is what tensors there are; the config gives the scale: alpha / r, or alpha / sqrt(r) for rsLoRA
 * (Kalajdzievski 2023), with r and alpha by module where rank_pattern and alpha_pattern name it.
 * Load: 2 to 14 tensors a layer, ranks 4 to 256, 1 to 500 MB. The folder is a stranger's: all of it is held against the
 * model, and refused as a whole with every tensor that does not fit, before anything is uploaded. */
#include "adapter/adapter.h"
#include "base/file.h"
#include "format/names.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_PATTERNS = 1024, MATCH_LIMIT = 100000 };

/* ---- adapter_config.json ---- */

/* A key of rank_pattern or alpha_pattern: a regular expression that the end of a module's name must match. */
typedef struct pattern { pcre2_code *code; double value; } pattern;
typedef struct pattern_list { pattern *p; size_t n; } pattern_list;
typedef struct peft_config {
    double r, alpha;
    bool rslora;
    pattern_list ranks, alphas;
} peft_config;

static void free_patterns(pattern_list *l) {
    for (size_t i = 0; i < l->n; i++) pcre2_code_free(l->p[i].code);
    wk_free(l->p);
    *l = (pattern_list){ 0 };
}

static wick_status read_number(json_t *config, const char *path, const char *key, double min, double max, double *out) {
    json_t *v = json_object_get(config, key);
    *out = json_number_value(v);
    if (json_is_number(v) && *out >= min && *out <= max) return WICK_OK;
    return wk_fail(WICK_E_FORMAT, "%s: \"%s\" must be a number from %g to %g", path, key, min, max);
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
    if (!(out->p = wk_alloc_array(n, sizeof *out->p))) return wk_fail_memory(n * sizeof *out->p, key);
    json_object_foreach(object, name, v) {
        int code;
        size_t at;
        wk_buf regex = { 0 };
        if (!json_is_number(v) || !(json_number_value(v) >= min && json_number_value(v) <= max))
            return wk_fail(WICK_E_FORMAT, "%s: \"%.64s\" of \"%s\" must be a number from %g to %g", path, name, key, min, max);
        wk_buf_printf(&regex, "(?:.*\\.)?(?:%s)$", name);
        if (regex.failed) {
            wk_buf_free(&regex);
            return wk_fail_memory(strlen(name), key);
        }
        pcre2_code *p = pcre2_compile((PCRE2_SPTR)regex.ptr, regex.len, PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
        wk_buf_free(&regex);
        if (!p) return wk_fail(WICK_E_FORMAT, "%s: \"%s\" has \"%.64s\", which is not a regular expression", path, key, name);
        out->p[out->n++] = (pattern){ p, json_number_value(v) };
    }
    return WICK_OK;
}

/* The value for a module: the first matching pattern's, else the usual one. */
static wick_status value_for(const pattern_list *l, wk_str module, double usual, double *out) {
    *out = usual;
    pcre2_match_context *limits = l->n ? pcre2_match_context_create(NULL) : NULL;
    pcre2_match_data *found = l->n ? pcre2_match_data_create(1, NULL) : NULL;
    bool ok = !l->n || (limits && found);
    if (limits) pcre2_set_match_limit(limits, MATCH_LIMIT);
    for (size_t i = 0; ok && i < l->n; i++) {
        int n = pcre2_match(l->p[i].code, (PCRE2_SPTR)module.ptr, module.len, 0, 0, found, limits);
        if (n >= 0) {
            *out = l->p[i].value;
            break;
        }
        ok = n == PCRE2_ERROR_NOMATCH;
    }
    pcre2_match_data_free(found);
    pcre2_match_context_free(limits);
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
        { "use_dora", "DoRA" }, { "modules_to_save", "saved modules (a trained head or embedding)" }, { "bias", "trained biases" },
        { "lora_bias", "biases of lora_B" }, { "fan_in_fan_out", "transposed weights" }, { "use_qalora", "QALoRA" },
        { "layer_replication", "replicated layers" }, { "target_parameters", "adapted parameters" },
        { "trainable_token_indices", "trained tokens" }, { "alora_invocation_tokens", "activated LoRA" },
        { "use_bdlora", "block-diagonal LoRA" },
    };
    static const char *const inits[] = { "pissa", "olora", "corda", "loftq", "lora_ga" };  /* these change the base weights too */
    wk_buf list = { 0 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (says_something(json_object_get(config, others[i].key)))
            wk_buf_printf(&list, "%s\"%s\": %s", list.len ? "; " : "", others[i].key, others[i].what);
    const char *init = json_string_value(json_object_get(config, "init_lora_weights"));
    for (size_t i = 0; init && i < sizeof inits / sizeof *inits; i++)
        if (!strncmp(init, inits[i], strlen(inits[i])))
            wk_buf_printf(&list, "%s\"init_lora_weights\": \"%s\" (save it converted to plain LoRA)", list.len ? "; " : "",
                          inits[i]);
    wick_status st = list.failed ? wk_fail_memory(list.len, "an adapter's configuration")
                   : list.len ? wk_fail(WICK_E_UNSUPPORTED, "%s: wick cannot apply %s", path, list.ptr) : WICK_OK;
    wk_buf_free(&list);
    return st;
}

static wick_status read_config(const char *folder, peft_config *c) {
    json_t *config = NULL;
    char *path = wk_path_join(folder, "adapter_config.json");
    if (!path) return wk_fail_memory(strlen(folder), "a path");
    wick_status st = wk_json_read(path, MAX_CONFIG_BYTES, &config);
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    if (!st && !json_is_object(config)) st = wk_fail(WICK_E_FORMAT, "%s: it is not a JSON object", path);
    if (!st && json_object_get(config, "fine_tune_type"))
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: this is an mlx adapter; only PEFT's can be loaded", path);
    if (!st && !type) st = wk_fail(WICK_E_FORMAT, "%s: \"peft_type\" is missing: is this a PEFT adapter?", path);
    if (!st && strcmp(type, "LORA"))
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: \"peft_type\" is \"%.40s\", only \"LORA\" can be loaded", path, type);
    if (!st) st = refuse_unsupported(config, path);
    if (!st) st = read_number(config, path, "r", 1, WK_LORA_MAX_RANK, &c->r);
    if (!st) st = read_number(config, path, "lora_alpha", -1e6, 1e6, &c->alpha);
    if (!st) st = read_patterns(config, path, "rank_pattern", 1, WK_LORA_MAX_RANK, &c->ranks);
    if (!st) st = read_patterns(config, path, "alpha_pattern", -1e6, 1e6, &c->alphas);
    c->rslora = json_is_true(json_object_get(config, "use_rslora"));
    json_decref(config);
    wk_free(path);
    return st;
}

/* ---- tensors ---- */

/* The two halves of one slot. An adapter of fused projections (Phi-3's qkv_proj) is one for each of them: the same A, and rows
 * [first, first + n_out) of a B with n_b rows. */
typedef struct pair { const wk_tensor *a, *b; wk_str module; int64_t n_in, n_out, first, n_b; float scale; } pair;

/* A whole list of what does not fit. wrong: at least one is malformed, not just beyond what wick applies. */
typedef struct problems { wk_buf text; size_t n; bool wrong; } problems;

static void add_problem(problems *p, bool wrong, wk_str tensor, const char *fmt, ...) WK_PRINTF(4, 5);
static void add_problem(problems *p, bool wrong, wk_str tensor, const char *fmt, ...) {
    char why[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    wk_buf_printf(&p->text, "%s\"%s\" %s", p->n++ ? "; " : "", wk_show(tensor).text, why);
    p->wrong |= wrong;
}

/* Cuts a beginning or an end off s. */
static bool cut_start(wk_str *s, const char *start) {
    size_t n = strlen(start);
    if (s->len < n || memcmp(s->ptr, start, n)) return false;
    *s = (wk_str){ s->ptr + n, s->len - n };
    return true;
}
static bool cut_end(wk_str *s, const char *end) {
    size_t n = strlen(end);
    if (s->len < n || memcmp(s->ptr + s->len - n, end, n)) return false;
    s->len -= n;
    return true;
}

static bool is_role(const wk_model *m, int layer, wk_role role, wk_str module) {
    const char *name = wk_arch_tensor(m->hp.arch, role, false);
    const wk_weight *w = m->layer[layer].w[role];
    return name && w && w->n_mat == 1 && w->n_row > 1 && wk_str_eq(module, name);
}

/* "model.layers.3.self_attn.q_proj" to layer and role, or several roles where the module is fused (role 0 after the last);
 * false: the model has no such linear layer. */
static bool find_layer(const wk_model *m, wk_str module, int *layer, wk_role *role) {
    int64_t n = 0;
    cut_start(&module, "model.");  /* absent where the adapter was trained on the bare model */
    if (!cut_start(&module, "layers.") || !module.len || *module.ptr < '0' || *module.ptr > '9') return false;
    for (; module.len && *module.ptr >= '0' && *module.ptr <= '9' && n < WK_MAX_LAYERS; module.ptr++, module.len--)
        n = 10 * n + *module.ptr - '0';
    if (n >= m->hp.n_layer || !cut_start(&module, ".")) return false;
    *layer = (int)n;
    for (int i = WK_T_Q; i <= WK_T_DOWN; i++) {
        role[0] = (wk_role)i;
        role[1] = 0;
        if (is_role(m, *layer, role[0], module)) return true;
    }
    for (const wk_fusion *u = wk_fusions; u->whole; u++) {
        const char *name = wk_arch_tensor(m->hp.arch, u->whole, false);
        const wk_weight *w = m->layer[n].w[u->part[0]];
        memcpy(role, u->part, sizeof u->part);
        if (name && w && w->n_mat == 1 && wk_str_eq(module, name)) return true;
    }
    return false;
}

/* Puts a tensor into its slot's pair. */
static void place(const wk_model *m, const wk_tensor *t, pair *pairs, problems *bad) {
    wk_str module = t->name;
    int layer;
    wk_role role[4];
    int64_t rows = 0;
    bool known = cut_start(&module, "base_model.model."), a = cut_end(&module, ".lora_A.weight"),
         b = !a && cut_end(&module, ".lora_B.weight");
    if (!known || (!a && !b)) {
        add_problem(bad, false, t->name, "is neither a lora_A nor a lora_B of a linear layer");
        return;
    }
    if (!find_layer(m, module, &layer, role)) {
        add_problem(bad, true, t->name, "belongs to no attention or MLP projection of this model");
        return;
    }
    for (int i = 0; role[i]; i++) {
        pair *p = &pairs[wk_model_slot(m, layer, role[i])];
        const wk_weight *w = m->layer[layer].w[role[i]];
        *(a ? &p->a : &p->b) = t;
        p->module = module;
        p->n_in = w->n_col;
        p->n_out = w->n_row;
        p->first = rows;
        rows += w->n_row;
    }
    for (int i = 0; role[i]; i++) pairs[wk_model_slot(m, layer, role[i])].n_b = rows;
}

/* A half's shape and numbers. */
static wick_status check_half(const wk_tensor *t, int64_t rows, int64_t cols, problems *bad) {
    if (t->dtype != WK_F32 && t->dtype != WK_F16 && t->dtype != WK_BF16) {
        add_problem(bad, false, t->name, "is of type %s, not F32, F16 or BF16", wk_dtypes[t->dtype].name);
        return WICK_OK;
    }
    if (t->n_dim != 2 || t->shape[0] != rows || t->shape[1] != cols) {
        add_problem(bad, true, t->name, "has shape [%lld, %lld]%s, the model and r need [%lld, %lld]", (long long)t->shape[0],
                    (long long)t->shape[1], t->n_dim == 2 ? "" : " and another number of dimensions", (long long)rows,
                    (long long)cols);
        return WICK_OK;
    }
    float *row = wk_alloc_array((size_t)cols, sizeof *row);
    if (!row) return wk_fail_memory((size_t)cols * sizeof *row, "an adapter");
    for (int64_t r = 0, left = 1; r < rows && left; r++) {
        wk_tensor_row(t, r, row);
        for (int64_t i = 0; i < cols && left; i++)
            if (!isfinite(row[i])) {
                add_problem(bad, true, t->name, "has %g at [%lld, %lld]", (double)row[i], (long long)r, (long long)i);
                left = 0;
            }
    }
    wk_free(row);
    return WICK_OK;
}

static wick_status check_pair(const peft_config *c, pair *p, problems *bad) {
    double r, alpha;
    if (!p->a || !p->b) {
        add_problem(bad, true, (p->a ? p->a : p->b)->name, "has no lora_%s beside it", p->a ? "B" : "A");
        return WICK_OK;
    }
    wick_status st = value_for(&c->ranks, p->module, c->r, &r);
    if (!st) st = value_for(&c->alphas, p->module, c->alpha, &alpha);
    if (!st) st = check_half(p->a, (int64_t)r, p->n_in, bad);
    if (!st) st = check_half(p->b, p->n_b, (int64_t)r, bad);
    if (!st) p->scale = (float)(alpha / (c->rslora ? sqrt(r) : r));
    return st;
}

/* All tensors into pairs, and all of them checked. */
static wick_status fit(const wk_model *m, const wk_safetensors *file, const peft_config *c, const char *path, pair *pairs) {
    problems bad = { 0 };
    wick_status st = WICK_OK;
    int n_slot = wk_model_n_slot(m), n = 0;
    for (size_t i = 0; i < wk_safetensors_n_tensor(file); i++) place(m, wk_safetensors_tensor(file, i), pairs, &bad);
    for (int i = 0; !st && i < n_slot; i++)
        if (pairs[i].a || pairs[i].b) {
            st = check_pair(c, &pairs[i], &bad);
            n++;
        }
    if (!st && bad.text.failed) st = wk_fail_memory(bad.text.len, "an adapter's problems");
    if (!st && bad.n)
        st = wk_fail(bad.wrong ? WICK_E_FORMAT : WICK_E_UNSUPPORTED, "%s: %zu %s not fit this model: %s", path, bad.n,
                     bad.n == 1 ? "tensor does" : "tensors do", bad.text.ptr);
    if (!st && !n) st = wk_fail(WICK_E_FORMAT, "%s: there are no lora_A and lora_B tensors in it", path);
    wk_buf_free(&bad.text);
    return st;
}

/* ---- into the backend ---- */

/* Rows [first, first + rows), always as a float32 matrix, whatever the file has: adapters are small, and training will want
 * them so. */
static wick_status upload(wk_backend *be, const wk_tensor *t, int64_t first, int64_t rows, const wk_weight **out) {
    size_t cols = (size_t)wk_tensor_cols(t), n;
    wk_weight *w = NULL;
    float *data = wk_mul_size((size_t)rows, cols, &n) ? wk_alloc_array(n, sizeof *data) : NULL;
    if (!data) return wk_fail_memory(n * sizeof *data, "an adapter");
    for (int64_t r = 0; r < rows; r++) wk_tensor_row(t, first + r, data + (size_t)r * cols);
    wk_tensor f = *t;
    f.shape[0] = rows;
    f.dtype = WK_F32;
    f.data = (const uint8_t *)data;
    f.n_bytes = n * sizeof *data;
    wick_status st = be->ops->weight_new(be, &(wk_weight_source){ .tensor = (const wk_tensor *[]){ &f }, .n_tensor = 1 }, &w);
    *out = w;
    wk_free(data);
    return st;
}

static wick_status upload_all(wick_adapter *a, const pair *pairs) {
    wick_status st = WICK_OK;
    for (int i = 0; !st && i < a->set.n_slot; i++) {
        if (!pairs[i].a) continue;
        a->term[i].scale = pairs[i].scale;
        st = upload(a->model->backend, pairs[i].a, 0, wk_tensor_rows(pairs[i].a), &a->term[i].a);
        if (!st) st = upload(a->model->backend, pairs[i].b, pairs[i].first, pairs[i].n_out, &a->term[i].b);
    }
    return st;
}

static wick_status adapter_new(wk_model *m, wick_adapter **out) {
    int n = wk_model_n_slot(m);
    wick_adapter *a = *out = wk_alloc(sizeof *a);
    if (a) a->term = wk_alloc_array((size_t)n, sizeof *a->term);
    if (!a || !a->term) return wk_fail_memory((size_t)n * sizeof *a->term, "an adapter");
    a->model = m;
    a->set = (wk_lora_set){ a->term, n, 1 };
    return WICK_OK;
}

void wk_adapter_free(wick_adapter *a) {
    if (!a) return;
    for (int i = 0; i < a->set.n_slot; i++) {
        const wk_backend_ops *ops = a->model->backend->ops;
        ops->weight_free(a->model->backend, (wk_weight *)a->term[i].a);
        ops->weight_free(a->model->backend, (wk_weight *)a->term[i].b);
    }
    wk_free(a->term);
    wk_free(a);
}

/* The tensors' file, or why there is none to read. */
static wick_status open_tensors(const char *folder, char **path, wk_safetensors **out) {
    char *pickle = wk_path_join(folder, "adapter_model.bin");
    *path = wk_path_join(folder, "adapter_model.safetensors");
    wick_status st = !pickle || !*path ? wk_fail_memory(strlen(folder), "a path") : WICK_OK;
    if (!st && !wk_file_exists(*path) && wk_file_exists(pickle))
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: pickle files can run code when they are read: save the adapter as safetensors "
                     "(save_pretrained with safe_serialization=True)", pickle);
    if (!st) st = wk_safetensors_open(*path, out);
    wk_free(pickle);
    return st;
}

wick_status wk_adapter_load(wk_model *m, const char *path, wick_adapter **out) {
    peft_config c = { 0 };
    wk_safetensors *file = NULL;
    wick_adapter *a = NULL;
    char *name = NULL;
    pair *pairs = wk_alloc_array((size_t)wk_model_n_slot(m), sizeof *pairs);
    *out = NULL;
    wick_status st = pairs ? WICK_OK : wk_fail_memory((size_t)wk_model_n_slot(m) * sizeof *pairs, "an adapter");
    if (!st) st = read_config(path, &c);
    if (!st) st = open_tensors(path, &name, &file);
    if (!st) st = fit(m, file, &c, name, pairs);
    if (!st) st = adapter_new(m, &a);
    if (!st) st = upload_all(a, pairs);
    if (!st) {
        *out = a;
        a = NULL;
    }
    wk_adapter_free(a);
    wk_safetensors_free(file);
    free_patterns(&c.ranks);
    free_patterns(&c.alphas);
    wk_free(pairs);
    wk_free(name);
    return st;
}
