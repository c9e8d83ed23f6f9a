/* config.c: the options of a training and their keys. Names and meanings: mlx-lm's LORA.md and lora.py ("CONFIG_DEFAULTS").
 * Load: some thirty keys, once. */
#include "train/config.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/number.h"
#include "generate/generate.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(wick_train_options, field)
#define BIG 2147483647.0

const wk_train_key wk_train_keys[] = {
    { "model", WK_KEY_STR, 0, 0, AT(model), 0, NULL },
    { "data", WK_KEY_STR, 0, 0, AT(data), 0, NULL },
    { "adapter_path", WK_KEY_STR, 0, 0, AT(adapter_path), 0, NULL },
    { "base_model_name_or_path", WK_KEY_STR, 0, 0, AT(base_model_name_or_path), 0, NULL },
    { "resume_adapter_file", WK_KEY_STR, 0, 0, AT(resume_adapter_file), 0, NULL },
    { "fine_tune_type", WK_KEY_CHOICE, 0, 0, AT(fine_tune_type), 0, "lora|dora|full" },
    { "num_layers", WK_KEY_INT, -1, 10000, AT(num_layers), 0, NULL },
    { "lora_parameters.keys", WK_KEY_STRS, 0, 64, AT(keys), AT(n_keys), NULL },
    { "lora_parameters.rank", WK_KEY_INT, 1, 1024, AT(rank), 0, NULL },
    { "lora_parameters.scale", WK_KEY_REAL, 0, 1e6, AT(scale), 0, NULL },
    { "lora_parameters.dropout", WK_KEY_REAL, 0, 0.99, AT(dropout), 0, NULL },
    { "modules_to_save", WK_KEY_STRS, 0, 8, AT(modules_to_save), AT(n_modules_to_save), NULL },
    { "lora_alpha", WK_KEY_REAL, 0, 1e6, AT(lora_alpha), 0, NULL },
    { "optimizer", WK_KEY_CHOICE, 0, 0, AT(optimizer), 0, "adam|adamw|sgd|lion" },
    { "optimizer_config.betas", WK_KEY_REALS, 0, 2, AT(betas), 0, NULL },
    { "optimizer_config.eps", WK_KEY_REAL, 0, 1, AT(eps), 0, NULL },
    { "optimizer_config.momentum", WK_KEY_REAL, 0, 1, AT(momentum), 0, NULL },
    { "weight_decay", WK_KEY_REAL, 0, 1e3, AT(weight_decay), 0, NULL },
    { "max_grad_norm", WK_KEY_REAL, 0, 1e9, AT(max_grad_norm), 0, NULL },
    { "label_smoothing", WK_KEY_REAL, 0, 0.999, AT(label_smoothing), 0, NULL },
    { "learning_rate", WK_KEY_REAL, 0, 1e3, AT(learning_rate), 0, NULL },
    { "lr_schedule.name", WK_KEY_CHOICE, 0, 0, AT(lr_schedule), 0,
      "constant|linear_schedule|cosine_decay|exponential_decay|step_decay" },
    { "lr_schedule.arguments", WK_KEY_REALS, 0, 4, AT(lr_arguments), AT(n_lr_arguments), NULL },
    { "lr_schedule.warmup", WK_KEY_INT, 0, BIG, AT(warmup), 0, NULL },
    { "lr_schedule.warmup_init", WK_KEY_REAL, 0, 1e3, AT(warmup_init), 0, NULL },
    { "seed", WK_KEY_U64, 0, 0, AT(seed), 0, NULL },
    { "batch_size", WK_KEY_INT, 1, 1 << 16, AT(batch_size), 0, NULL },
    { "iters", WK_KEY_INT, 1, BIG, AT(iters), 0, NULL },
    { "grad_accumulation_steps", WK_KEY_INT, 1, 1 << 20, AT(grad_accumulation_steps), 0, NULL },
    { "max_seq_length", WK_KEY_INT, 2, 1 << 24, AT(max_seq_length), 0, NULL },
    { "long_samples", WK_KEY_CHOICE, 0, 0, AT(long_samples), 0, "cut|refuse" },
    { "mask_prompt", WK_KEY_BOOL, 0, 0, AT(mask_prompt), 0, NULL },
    { "packing", WK_KEY_BOOL, 0, 0, AT(packing), 0, NULL },
    { "shuffle", WK_KEY_BOOL, 0, 0, AT(shuffle), 0, NULL },
    { "grad_checkpoint", WK_KEY_BOOL, 0, 0, AT(grad_checkpoint), 0, NULL },
    { "steps_per_report", WK_KEY_INT, 1, BIG, AT(steps_per_report), 0, NULL },
    { "steps_per_eval", WK_KEY_INT, 1, BIG, AT(steps_per_eval), 0, NULL },
    { "val_batches", WK_KEY_INT, -1, BIG, AT(val_batches), 0, NULL },
    { "save_every", WK_KEY_INT, 0, BIG, AT(save_every), 0, NULL },
    { "early_stopping", WK_KEY_INT, 0, BIG, AT(early_stopping), 0, NULL },
    { "test", WK_KEY_BOOL, 0, 0, AT(test), 0, NULL },
    { "test_batches", WK_KEY_INT, -1, BIG, AT(test_batches), 0, NULL },
    { "report_to", WK_KEY_CHOICE, 0, 0, AT(report_to), 0, "tensorboard" },
    { "project_name", WK_KEY_STR, 0, 0, AT(project_name), 0, NULL },
    { "overwrite", WK_KEY_BOOL, 0, 0, AT(overwrite), 0, NULL },
    { "runs_db", WK_KEY_STR, 0, 0, AT(runs_db), 0, NULL },
    { "samples", WK_KEY_INT, 0, 64, AT(samples), 0, NULL },
};
const size_t wk_n_train_key = sizeof wk_train_keys / sizeof *wk_train_keys;

void wick_train_defaults(wick_train_options *o) {
    if (!o) return;
    *o = (wick_train_options){
        .size = sizeof *o, .data = "data", .adapter_path = "adapters", .fine_tune_type = "lora", .num_layers = 16, .rank = 8,
        .scale = 20, .optimizer = "adam", .betas = { 0.9, 0.999 }, .eps = 1e-8, .weight_decay = -1, .learning_rate = -1,
        .batch_size = 4, .iters = 1000, .grad_accumulation_steps = 1, .max_seq_length = 2048, .long_samples = "cut",
        .mask_prompt = true, .shuffle = true, .steps_per_report = 10, .steps_per_eval = 200, .val_batches = 25,
        .save_every = 100, .test_batches = 500, .samples = 2,
    };
}

void wick_train_options_free(wick_train_options *o) {
    if (!o) return;
    if (o->memory) {
        wk_arena_free(o->memory);
        wk_free(o->memory);
    }
    *o = (wick_train_options){ 0 };
}

/* ---- values ---- */

static void *keep(wick_train_options *o, size_t n) {
    if (!o->memory) o->memory = wk_alloc(sizeof(wk_arena));
    return o->memory ? wk_arena_alloc(o->memory, n) : NULL;
}

static char *keep_str(wick_train_options *o, const char *s) {
    char *copy = keep(o, strlen(s) + 1);
    if (copy) memcpy(copy, s, strlen(s) + 1);
    return copy;
}

static const char *choice(const char *choices, const char *text) {
    size_t n = strlen(text);
    for (const char *p = choices; *p; p += strcspn(p, "|"), p += *p == '|')
        if (n && n == strcspn(p, "|") && !memcmp(p, text, n)) return p;
    return NULL;
}

static wick_status not_a_choice(const wk_train_key *k, const char *text) {
    return wk_fail(WICK_E_ARG, "%s is one of %s, not \"%s\"%s", k->name, k->choices, text,
                   strcmp(text, "qlora") ? "" : "; lora trains beside quantised weights as they are");
}

static bool read_number(const char *text, double *v) {
    char *end;
    *v = wk_strtod(text, &end);
    return end != text && !*end && isfinite(*v) && !strpbrk(text, "xX \t");
}

static wick_status bad(const wk_train_key *k, const char *what, const char *text) {
    return wk_fail(WICK_E_ARG, "%s is %s, not \"%s\"", k->name, what, text);
}

static wick_status set_int(const wk_train_key *k, void *to, const char *text) {
    double v;
    if (read_number(text, &v) && v == floor(v) && v >= k->min && v <= k->max) {
        *(int *)to = (int)v;
        return WICK_OK;
    }
    return wk_fail(WICK_E_ARG, "%s is a whole number from %.0f to %.0f, not \"%s\"", k->name, k->min, k->max, text);
}

static wick_status set_real(const wk_train_key *k, double *to, const char *text) {
    double v;
    if (!read_number(text, &v) || v < k->min || v > k->max)
        return wk_fail(WICK_E_ARG, "%s is a number from %g to %g, not \"%s\"", k->name, k->min, k->max, text);
    if (v == 0 && k->at == AT(lora_alpha))  /* in the options it means: not set */
        return wk_fail(WICK_E_ARG, "%s is 0, with which an adapter adds nothing; left out, it is rank x scale", k->name);
    *to = v;
    return WICK_OK;
}

static wick_status set_u64(const wk_train_key *k, uint64_t *to, const char *text) {
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (end == text || *end || errno || *text == '-' || *text == '+' || *text == ' ')
        return bad(k, "a whole number from 0 to 2^64 - 1", text);
    *to = v;
    return WICK_OK;
}

static wick_status set_bool(const wk_train_key *k, bool *to, const char *text) {
    bool yes = choice("true|True|yes|on|1", text), no = choice("false|False|no|off|0", text);
    if (!yes && !no) return bad(k, "true or false", text);
    *to = yes;
    return WICK_OK;
}

static wick_status set_strs(wick_train_options *o, const wk_train_key *k, const char *const *item, size_t n) {
    if (n > (size_t)k->max) return wk_fail(WICK_E_ARG, "%s has %zu entries, at most %.0f are taken", k->name, n, k->max);
    const char **list = keep(o, (n + 1) * sizeof *list);
    if (!list) return wk_fail_memory(n * sizeof *list, k->name);
    for (size_t i = 0; i < n; i++)
        if (!(list[i] = keep_str(o, item[i]))) return wk_fail_memory(strlen(item[i]), k->name);
    *(const char *const **)((char *)o + k->at) = list;
    *(size_t *)((char *)o + k->count) = n;
    return WICK_OK;
}

static wick_status set_reals(wick_train_options *o, const wk_train_key *k, const char *const *item, size_t n) {
    double *to = (double *)((char *)o + k->at);
    if (n > (size_t)k->max || (!k->count && n != (size_t)k->max))
        return wk_fail(WICK_E_ARG, "%s has %zu entries, %s%.0f are needed", k->name, n, k->count ? "at most " : "", k->max);
    for (size_t i = 0; i < n; i++)
        if (!read_number(item[i], &to[i])) return bad(k, "a list of numbers", item[i]);
    if (k->count) *(int *)((char *)o + k->count) = (int)n;
    return WICK_OK;
}

/* Sets a key from n texts; only lists take other than one. */
static wick_status set_key(wick_train_options *o, const wk_train_key *k, const char *const *item, size_t n) {
    void *to = (char *)o + k->at;
    if (k->kind == WK_KEY_STRS) return set_strs(o, k, item, n);
    if (k->kind == WK_KEY_REALS) return set_reals(o, k, item, n);
    if (n != 1) return wk_fail(WICK_E_ARG, "%s takes one value, not a list", k->name);
    switch (k->kind) {
    case WK_KEY_BOOL: return set_bool(k, to, *item);
    case WK_KEY_INT: return set_int(k, to, *item);
    case WK_KEY_U64: return set_u64(k, to, *item);
    case WK_KEY_REAL: return set_real(k, to, *item);
    default: break;
    }
    if (k->kind == WK_KEY_CHOICE && !choice(k->choices, *item))
        return not_a_choice(k, *item);
    return (*(const char **)to = keep_str(o, *item)) ? WICK_OK : wk_fail_memory(strlen(*item), k->name);
}

/* ---- names ---- */

/* Keys of mlx-lm that say what the program is to do, or which service to report to; the verb says that here. */
static bool is_idle(const char *name) { return choice("train|config|clear_cache_threshold", name); }

/* Keys of mlx-lm with one value that is done here: it may be said. NULL: none of them. */
static const char *only_value(const char *name) {
    if (!strcmp(name, "training_mode")) return "normal";
    return choice("optimizer_config.adam.bias_correction|optimizer_config.adamw.bias_correction|optimizer_config.bias_correction",
                  name) ? "true" : NULL;
}

/* Constants may also stand under the optimizer's name: optimizer_config.adamw.betas. */
static bool same_name(const char *key, const char *name) {
    static const char under[] = "optimizer_config.";
    if (!strcmp(key, name)) return true;
    if (!strcmp(key, "weight_decay")) key = "optimizer_config.weight_decay";  /* its other name */
    if (!strcmp(key, name)) return true;
    if (strncmp(name, under, sizeof under - 1) || strncmp(key, under, sizeof under - 1)) return false;
    const char *dot = strchr(name + sizeof under - 1, '.');
    if (!dot) return false;
    size_t n = (size_t)(dot - name) - (sizeof under - 1);
    return ((n == 4 && !strncmp(name + sizeof under - 1, "adam", 4)) || (n == 5 && !strncmp(name + sizeof under - 1, "adamw", 5))
            || (n == 3 && !strncmp(name + sizeof under - 1, "sgd", 3)) || (n == 4 && !strncmp(name + sizeof under - 1, "lion", 4)))
           && !strcmp(key + sizeof under - 1, dot + 1);
}

/* Does a name mean a constant of another optimizer than the one that is used? mlx-lm has constants of all of them in one file. */
static bool is_of_another(const wick_train_options *o, const char *name) {
    static const char under[] = "optimizer_config.";
    if (strncmp(name, under, sizeof under - 1)) return false;
    const char *of = name + sizeof under - 1, *dot = strchr(of, '.');
    char word[16] = "";
    if (!dot || dot - of >= (ptrdiff_t)sizeof word) return false;
    memcpy(word, of, (size_t)(dot - of));
    return choice("adam|adamw|sgd|lion|muon|adafactor", word) && strcmp(word, o->optimizer);
}

static const char *last_part(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* What other programs call it. */
static const char *other_name(const char *name) {
    static const struct { const char *theirs, *ours; } names[] = {
        { "epochs", "iters, which counts micro-batches" }, { "num_train_epochs", "iters, which counts micro-batches" },
        { "max_steps", "iters, which counts micro-batches" }, { "lr", "learning_rate" }, { "alpha", "lora_alpha" },
        { "r", "lora_parameters.rank" }, { "target_modules", "lora_parameters.keys" }, { "output_dir", "adapter_path" },
        { "wandb", "report_to" }, { "hf_dataset", "data" }, { "gradient_accumulation_steps", "grad_accumulation_steps" },
        { "gradient_checkpointing", "grad_checkpoint" }, { "warmup_steps", "lr_schedule.warmup" },
        { "lora_layers", "num_layers" }, { "base_model", "model" }, { "model_name_or_path", "model" },
    };
    size_t n = strcspn(name, ".");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].theirs, last_part(name)) || (n == strlen(names[i].theirs) && !memcmp(names[i].theirs, name, n)))
            return names[i].ours;
    return NULL;
}

static wick_status find_key(const char *name, bool short_names, const wk_train_key **out) {
    const char *names[128];
    size_t n = 0;
    for (size_t i = 0; i < wk_n_train_key; i++) {
        if (same_name(wk_train_keys[i].name, name)) { *out = &wk_train_keys[i]; return WICK_OK; }
        names[n++] = wk_train_keys[i].name;
    }
    for (size_t i = 0; i < wk_n_train_key; i++) {
        const char *last = last_part(wk_train_keys[i].name);
        if (short_names && strcmp(last, "name") && !strcmp(last, name)) { *out = &wk_train_keys[i]; return WICK_OK; }
    }
    for (size_t i = 0, len = strlen(name); i < wk_n_train_key; i++)
        if (!strncmp(wk_train_keys[i].name, name, len) && wk_train_keys[i].name[len] == '.')
            return wk_fail(WICK_E_ARG, "%s has no value of its own: keys stand below it, as %s", name, wk_train_keys[i].name);
    const char *near = other_name(name);
    if (!near) near = wk_nearest(name, names, n);
    for (size_t i = 0; !near && i < wk_n_train_key; i++)  /* rank, outside lora_parameters */
        if (!strcmp(last_part(wk_train_keys[i].name), last_part(name))) near = wk_train_keys[i].name;
    return near ? wk_fail(WICK_E_ARG, "there is no key \"%s\"; did you mean %s?", name, near)
                : wk_fail(WICK_E_ARG, "there is no key \"%s\"; wick train --help lists them", name);
}

wick_status wk_train_set_list(wick_train_options *o, const char *name, const char *const *item, size_t n) {
    const wk_train_key *k = NULL;
    const char *only = only_value(name);
    if (is_idle(name) || is_of_another(o, name)) return WICK_OK;
    if (only && n == 1 && (!strcmp(only, *item) || (!strcmp(only, "true") && choice("True|yes|on", *item)))) return WICK_OK;
    if (only) return wk_fail(WICK_E_ARG, "%s can only be %s", name, only);
    wick_status st = find_key(name, false, &k);
    return st ? st : set_key(o, k, item, n);
}

wick_status wick_train_options_set(wick_train_options *o, const char *key, const char *value) {
    const wk_train_key *k = NULL;
    const char *item[65];
    size_t n = 0;
    wk_clear_error();
    if (!o || !key || !value)
        return wk_fail(WICK_E_ARG, "wick_train_options_set: %s is NULL", !o ? "o" : !key ? "the key" : "the value");
    wick_status st = wk_check_size(o->size, sizeof *o, "wick_train_options", "fill it with wick_train_defaults()");
    if (!st) st = find_key(key, true, &k);
    if (st || (k->kind != WK_KEY_STRS && k->kind != WK_KEY_REALS)) return st ? st : set_key(o, k, &value, 1);
    char *copy = wk_strdup(value);
    if (!copy) return wk_fail_memory(strlen(value), k->name);
    for (char *p = copy; *p && n < 65;) {
        item[n++] = p;
        p += strcspn(p, ",");
        if (*p) *p++ = 0;
    }
    st = set_key(o, k, item, n);
    wk_free(copy);
    return st;
}

static const char *const *const *strs_at(const wick_train_options *o, const wk_train_key *k) {
    return (const char *const *const *)(const void *)((const char *)o + k->at);
}

wick_status wk_train_options_copy(const wick_train_options *from, wick_train_options *to) {
    *to = *from;
    to->memory = NULL;
    for (size_t i = 0; i < wk_n_train_key; i++) {
        const wk_train_key *k = &wk_train_keys[i];
        const char **s = (const char **)((char *)to + k->at);
        wick_status st = WICK_OK;
        if (k->kind == WK_KEY_STRS) st = set_strs(to, k, *strs_at(from, k), *(const size_t *)((const char *)from + k->count));
        else if ((k->kind == WK_KEY_STR || k->kind == WK_KEY_CHOICE) && *s && !(*s = keep_str(to, *s)))
            st = wk_fail_memory(64, k->name);
        if (st) {
            wick_train_options_free(to);
            return st;
        }
    }
    return WICK_OK;
}

/* ---- what was set ---- */

double wk_train_learning_rate(const wick_train_options *o) { return o->learning_rate == -1 ? 1e-5 : o->learning_rate; }
double wk_train_alpha(const wick_train_options *o) { return o->lora_alpha > 0 ? o->lora_alpha : o->rank * o->scale; }

void wk_train_option_json(const wick_train_options *o, const wk_train_key *k, wk_buf *b) {
    const void *at = (const char *)o + k->at;
    const char *s;
    switch (k->kind) {
    case WK_KEY_STR: case WK_KEY_CHOICE:
        s = *(const char *const *)at;
        if (s) wk_json_put_str(b, s, strlen(s));
        else wk_buf_str(b, "null");
        break;
    case WK_KEY_BOOL: wk_buf_str(b, *(const bool *)at ? "true" : "false"); break;
    case WK_KEY_INT: wk_buf_printf(b, "%d", *(const int *)at); break;
    case WK_KEY_U64: wk_buf_printf(b, "%llu", (unsigned long long)*(const uint64_t *)at); break;
    case WK_KEY_REAL: {
        double v = k->at == AT(learning_rate) ? wk_train_learning_rate(o) : *(const double *)at;
        bool set = k->at == AT(weight_decay) ? v >= 0 : k->at != AT(lora_alpha) || v != 0;  /* not set: rank x scale, or none */
        if (set) wk_json_put_num(b, v);
        else wk_buf_str(b, "null");
        break;
    }
    case WK_KEY_STRS:
        wk_buf_char(b, '[');
        for (size_t i = 0; i < *(const size_t *)((const char *)o + k->count); i++) {
            if (i) wk_buf_char(b, ',');
            wk_json_put_str(b, (*strs_at(o, k))[i], strlen((*strs_at(o, k))[i]));
        }
        wk_buf_char(b, ']');
        break;
    case WK_KEY_REALS: {
        int n = k->count ? *(const int *)((const char *)o + k->count) : (int)k->max;
        wk_buf_char(b, '[');
        for (int i = 0; i < n; i++) {
            if (i) wk_buf_char(b, ',');
            wk_json_put_num(b, ((const double *)at)[i]);
        }
        wk_buf_char(b, ']');
    }
    }
}

void wk_train_options_json(const wick_train_options *o, wk_buf *out) {
    for (size_t i = 0; i < wk_n_train_key; i++) {
        wk_buf_char(out, i ? ',' : '{');
        wk_json_put_str(out, wk_train_keys[i].name, strlen(wk_train_keys[i].name));
        wk_buf_char(out, ':');
        wk_train_option_json(o, &wk_train_keys[i], out);
    }
    wk_buf_char(out, '}');
}

/* Constants with which an update divides by zero, never forgets or never ends: the run would end in numbers that are none, and the
 * message there would blame the rate. torch takes an eps of 0, and has NaN after the first step: A's gradient is zero in it. */
static wick_status check_optimizer(const wick_train_options *o) {
    static const double least_eps = 1e-20;  /* below it, squares that float32 has as 0 are divided by nothing */
    bool adam = !strncmp(o->optimizer, "adam", 4);
    double rate = o->n_lr_arguments ? o->lr_arguments[0] : wk_train_learning_rate(o), decay = rate * o->weight_decay;
    if (adam && !(o->eps >= least_eps))
        return wk_fail(WICK_E_ARG, "optimizer_config.eps is %g, and %s divides by it where a gradient is zero, as half of them are "
                       "in the first step: %g is the least, 1e-8 is usual", o->eps, o->optimizer, least_eps);
    for (int i = 0; i < 2; i++)
        if (!(o->betas[i] >= 0 && o->betas[i] < 1))
            return wk_fail(WICK_E_ARG, "optimizer_config.betas: %g is not from 0 to below 1; with 1 no gradient would ever "
                           "count", o->betas[i]);
    if (!(o->momentum >= 0 && o->momentum < 1))
        return wk_fail(WICK_E_ARG, "optimizer_config.momentum is %g; it has to be from 0 to below 1, with which gradients are "
                       "forgotten in time", o->momentum);
    if (decay > 1)
        return wk_fail(WICK_E_ARG, "weight_decay is %g at a rate of %g: each update would take %g times a weight away from it; "
                       "their product has to be 1 at most", o->weight_decay, rate, decay);
    return WICK_OK;
}

wick_status wk_train_options_check(const wick_train_options *o) {
    wick_status st = wk_check_size(o->size, sizeof *o, "wick_train_options", "fill it with wick_train_defaults()");
    if (st) return st;
    for (size_t i = 0; i < wk_n_train_key; i++) {  /* a program may have set what a file could not */
        const wk_train_key *k = &wk_train_keys[i];
        const void *at = (const char *)o + k->at;
        double v = k->kind == WK_KEY_INT ? (double)*(const int *)at : k->kind == WK_KEY_REAL ? *(const double *)at : 0;
        if (k->at == AT(learning_rate)) v = wk_train_learning_rate(o);
        bool number = (k->kind == WK_KEY_INT || k->kind == WK_KEY_REAL) && k->at != AT(weight_decay);
        if (number && !(v >= k->min && v <= k->max))
            return wk_fail(WICK_E_ARG, "%s is %g; it has to be from %g to %g", k->name, v, k->min, k->max);
        const char *s = k->kind == WK_KEY_CHOICE ? *(const char *const *)at : NULL;
        if (s && !choice(k->choices, s)) return not_a_choice(k, s);
    }
    const char *lr = o->lr_schedule ? o->lr_schedule : "constant";
    if (!strcmp(lr, "constant") && o->n_lr_arguments && o->lr_arguments[0] != wk_train_learning_rate(o))
        return wk_fail(WICK_E_ARG, "lr_schedule.arguments begin with a rate of %g and learning_rate is %g, and a constant schedule "
                       "has one rate: leave the arguments out, or name their schedule (lr_schedule.name)", o->lr_arguments[0],
                       wk_train_learning_rate(o));
    int least = !strcmp(lr, "constant") ? 0 : !strcmp(lr, "linear_schedule") || !strcmp(lr, "step_decay") ? 3 : 2;
    if (o->n_lr_arguments < least)
        return wk_fail(WICK_E_ARG, "lr_schedule.arguments of %s has %d numbers; it needs %s", lr, o->n_lr_arguments,
                       !strcmp(lr, "linear_schedule") ? "[first rate, last rate, updates]"
                       : !strcmp(lr, "step_decay")    ? "[first rate, factor, updates of a step]"
                       : !strcmp(lr, "cosine_decay")  ? "[first rate, updates] or [first rate, updates, last rate]"
                                                      : "[first rate, factor]");
    const double *steps = !strcmp(lr, "cosine_decay") ? &o->lr_arguments[1] : least == 3 ? &o->lr_arguments[2] : NULL;
    if (steps && !(*steps >= 1 && *steps <= 1e15 && *steps == floor(*steps)))
        return wk_fail(WICK_E_ARG, "lr_schedule.arguments of %s: the updates are %g; a whole number from 1 is needed", lr, *steps);
    for (int i = 0; i < o->n_lr_arguments; i++)
        if (!(o->lr_arguments[i] >= 0))
            return wk_fail(WICK_E_ARG, "lr_schedule.arguments of %s: %g is less than 0", lr, o->lr_arguments[i]);
    if (!o->data || !o->adapter_path || !o->fine_tune_type || !o->optimizer || !o->long_samples)
        return wk_fail(WICK_E_ARG, "%s is not set", !o->data ? "data" : !o->adapter_path ? "adapter_path" : !o->fine_tune_type
                       ? "fine_tune_type" : !o->optimizer ? "optimizer" : "long_samples");
    if (!*o->data || !*o->adapter_path || (o->resume_adapter_file && !*o->resume_adapter_file))
        return wk_fail(WICK_E_ARG, "%s is empty: give %s, or leave it out",
                       !*o->data ? "data" : !*o->adapter_path ? "adapter_path" : "resume_adapter_file",
                       *o->data && *o->adapter_path ? "an adapter" : "a folder");
    if (strcmp(o->fine_tune_type, "full") && !((float)(wk_train_alpha(o) / o->rank) > 0))
        return wk_fail(WICK_E_ARG, "%s is %g, with which an adapter adds nothing and learns nothing",
                       o->lora_alpha > 0 ? "lora_alpha" : "lora_parameters.scale", o->lora_alpha > 0 ? o->lora_alpha : o->scale);
    if (o->test && !o->test_batches)
        return wk_fail(WICK_E_ARG, "test asks for the loss on test.jsonl, and test_batches is 0: -1 takes all of it");
    return check_optimizer(o);
}
