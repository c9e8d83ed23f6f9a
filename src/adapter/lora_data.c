/* lora_data.c: which format a path holds, and what all of them share. */
#include "adapter/reading.h"
#include "base/file.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 1 << 20 };

static void close_files(wk_lora_data *d) {
    wk_safetensors_free(d->tensors);
    wk_gguf_free(d->gguf);
    d->tensors = NULL;
    d->gguf = NULL;
}

void wk_lora_data_free(wk_lora_data *d) {
    if (!d) return;
    for (size_t i = 0; i < d->n_module; i++) {
        wk_free(d->module[i].module);
        if (!d->module[i].lent_a) wk_free(d->module[i].a);
        if (!d->module[i].lent_b) wk_free(d->module[i].b);
        wk_free(d->module[i].magnitude);
    }
    for (size_t i = 0; i < d->n_saved; i++) {
        wk_free(d->saved[i].module);
        wk_free(d->saved[i].w);
    }
    wk_free(d->module);
    wk_free(d->saved);
    wk_free(d->base_model);
    wk_free(d->task_type);
    wk_free(d->base_weights);
    close_files(d);
    wk_free(d);
}

wick_status wk_config_read_number(const wk_lora_folder *f, json_t *object, const char *key, double min, double max, double *out) {
    json_t *v = json_object_get(object, key);
    *out = json_number_value(v);
    if (json_is_number(v) && *out >= min && *out <= max) return WICK_OK;
    char found[32] = "of another type";
    if (!v) snprintf(found, sizeof found, "missing");
    else if (json_is_number(v)) snprintf(found, sizeof found, "%g", *out);
    else if (json_is_null(v)) snprintf(found, sizeof found, "null");
    return wk_fail(WICK_E_FORMAT, "%s: \"%s\" is %s; it must be a number from %g to %g", f->config_path, key, found, min, max);
}

wick_status wk_copy_text(wk_str s, char **out) {
    *out = s.ptr ? wk_strdup_n(s.ptr, s.len) : NULL;
    return !s.ptr || *out ? WICK_OK : wk_fail_memory(s.len, "an adapter");
}

wick_status wk_config_read_text(const wk_lora_folder *f, const char *key, char **out) {
    const char *s = json_string_value(json_object_get(f->config, key));
    return wk_copy_text((wk_str){ s, s ? strlen(s) : 0 }, out);
}

wick_status wk_read_base_weights(wk_lora_data *d) {
    const char *s = wk_safetensors_note(d->tensors, WK_LORA_BASE_WEIGHTS);
    return wk_copy_text((wk_str){ s, s ? strlen(s) : 0 }, &d->base_weights);
}

double wk_lora_scale(const wk_lora_data *d, const wk_lora_module *x) {
    return x->alpha / (d->rslora ? sqrt((double)x->rank) : (double)x->rank);
}

/* PEFT's configuration has "peft_type", mlx's "fine_tune_type"; older ones of mlx have neither, and the tensors lie in its file. */
static wick_status is_mlx(const wk_lora_folder *f, bool *mlx) {
    *mlx = json_object_get(f->config, "fine_tune_type") != NULL;
    if (*mlx || json_object_get(f->config, "peft_type")) return WICK_OK;
    char *tensors = wk_path_join(f->folder, "adapters.safetensors");
    wick_status st = tensors ? wk_file_look(tensors, mlx) : wk_fail_memory(strlen(f->folder), "a path");
    wk_free(tensors);
    return st;
}

static wick_status read_folder(const wk_model *m, const char *folder, const char *file, wk_lora_data *d) {
    json_t *config = NULL;
    bool mlx = false, is_folder, there;
    wick_status st = wk_folder_look(folder, &is_folder);  /* a name that is nowhere is told as it was given */
    if (st) return st;
    char *path = wk_path_join(folder, WK_ADAPTER_CONFIG), *new = wk_path_join(folder, WK_ADAPTER_CONFIG WK_ADAPTER_NEW);
    st = path && new ? wk_file_look(path, &there) : wk_fail_memory(strlen(folder), "a path");
    if (!st && !there && wk_file_exists(new))
        st = wk_fail(WICK_E_IO, "%s: is not there, and %s is: an adapter was taking another one's place, and did not get there. "
                     "Write it again, or take \"" WK_ADAPTER_NEW "\" off the names that end so", path, new);
    else if (!st && !there)
        st = wk_fail(WICK_E_FORMAT, "%s: is a folder without adapter_config.json, so it is no adapter of PEFT or mlx%s", folder,
                     wk_folder_has(folder, ".gguf") ? "; of a GGUF adapter give the file itself" : "");
    if (!st) st = wk_json_read(path, MAX_CONFIG_BYTES, &config);
    wk_lora_folder f = { folder, file, path, config };
    if (!st && !json_is_object(config)) st = wk_fail(WICK_E_FORMAT, "%s: it is not a JSON object", path);
    if (!st) st = is_mlx(&f, &mlx);
    if (!st) st = (mlx ? wk_mlx_read : wk_peft_read)(m, &f, d);
    json_decref(config);
    wk_free(path);
    wk_free(new);
    return st;
}

/* A GGUF file, or one of a folder's safetensors, whose configuration lies beside it. */
static wick_status read_file(const wk_model *m, const char *path, wk_lora_data *d) {
    const char *slash = strrchr(path, '/');
    wk_str name = { path, strlen(path) };
    if (!wk_cut_end(&name, ".safetensors")) return wk_gguf_adapter_read(m, path, d);
    char *folder = slash ? wk_strdup_n(path, (size_t)(slash - path) + (slash == path)) : wk_strdup(".");
    wick_status st = folder ? read_folder(m, folder, path, d) : wk_fail_memory(strlen(path), "a path");
    wk_free(folder);
    return st;
}

uint64_t wk_lora_file_size(const char *path) {
    static const char *const name[] = { "adapter_model.safetensors", "adapters.safetensors" };
    uint64_t n = wk_file_size(path);
    char file[4096];
    for (size_t i = 0; !n && i < sizeof name / sizeof *name; i++)
        if (snprintf(file, sizeof file, "%s/%s", path, name[i]) < (int)sizeof file) n = wk_file_size(file);
    return n;
}

static wick_status read_either(const wk_model *m, const char *path, bool lend, wk_lora_data **out) {
    *out = NULL;
    wk_lora_data *d = wk_alloc(sizeof *d);
    if (!d) return wk_fail_memory(sizeof *d, "an adapter");
    d->lends = lend;
    bool file = wk_file_exists(path) && !wk_is_folder(path);
    wick_status st = file ? read_file(m, path, d) : read_folder(m, path, NULL, d);
    if (!lend) close_files(d);
    if (!st) *out = d;
    else wk_lora_data_free(d);
    return st;
}

wick_status wk_lora_view(const wk_model *m, const char *path, wk_lora_data **out) {
    return read_either(m, path, true, out);
}

wick_status wk_lora_read(const wk_model *m, const char *path, wk_lora_data **out) {
    return read_either(m, path, false, out);
}

wick_status wk_lora_write(const wk_model *m, const wk_lora_data *d, const char *path, wk_lora_format f) {
    static wick_status (*const write[])(const wk_model *, const wk_lora_data *, const char *) = {
        [WK_LORA_PEFT] = wk_peft_write, [WK_LORA_MLX] = wk_mlx_write, [WK_LORA_GGUF] = wk_gguf_adapter_write,
    };
    return write[f](m, d, path);
}
