/* writing.c: an adapter's tensors and configuration on their way to a folder. */
#include "adapter/writing.h"
#include "base/file.h"
#include "base/json.h"
#include <stdio.h>
#include <string.h>

void wk_writing_add(wk_writing *w, const char *name, const char *end, const float *data, int64_t rows, int64_t cols) {
    char whole[240];
    int n = snprintf(whole, sizeof whole, "%s%s", name, end);
    const char *own = n < (int)sizeof whole ? wk_arena_str(&w->own, whole, (size_t)n) : NULL;
    if (!own || !wk_grow((void **)&w->t, &w->cap, w->n + 1, sizeof *w->t)) {
        w->failed = true;
        return;
    }
    w->t[w->n++] = (wk_tensor){ { own, (size_t)n }, WK_F32, rows ? 2 : 1, { rows ? rows : cols, rows ? cols : 1, 1, 1 },
                                (const uint8_t *)data, (uint64_t)((rows ? rows : 1) * cols) * sizeof *data, NULL };
}

void wk_writing_add_turned(wk_writing *w, const char *name, const char *end, const float *data, int64_t rows, int64_t cols) {
    float *t = wk_arena_alloc(&w->own, (size_t)(rows * cols) * sizeof *t);
    for (int64_t r = 0; t && r < rows; r++)
        for (int64_t c = 0; c < cols; c++) t[c * rows + r] = data[r * cols + c];
    if (t) wk_writing_add(w, name, end, t, cols, rows);
    else w->failed = true;
}

void wk_writing_look(wk_writing *w, const char *name, const float *b, int64_t n) {
    if (!w->beyond && !wk_lora_finite(b, n)) w->beyond = name;
}

wick_status wk_writing_status(const wk_writing *w) {
    if (w->failed) return wk_fail_memory(w->n * sizeof *w->t, "an adapter's tensors");
    return w->beyond ? wk_fail(WICK_E_UNSUPPORTED, "%s: the format has one scale for all, and with this module's folded into it "
                               "its B has numbers beyond float32", w->beyond) : WICK_OK;
}

void wk_writing_free(wk_writing *w) {
    wk_free(w->t);
    wk_arena_free(&w->own);
}

/* An adapter's two files, and what they and the configuration before them are called on their way into their places. */
typedef struct pair { const char *tensors, *config, *new_tensors, *new_config, *old_config; } pair;

static const char *with_end(wk_arena *own, const char *path, const char *end) {
    size_t n = strlen(path), n_end = strlen(end) + 1;
    char *s = wk_arena_alloc(own, n + n_end);
    if (s) {
        memcpy(s, path, n);
        memcpy(s + n, end, n_end);
    }
    return s;
}

static wick_status write_tensors(const wk_writing *w, const char *path) {
    return wk_safetensors_write_noted(path, w->t, w->n, WK_LORA_BASE_WEIGHTS, w->base_weights);
}

/* A file of the folder that can be written; what a link leads to is what is replaced. */
static wick_status find(wk_arena *own, const char *folder, const char *name, const char **out) {
    char *path = wk_path_join(folder, name), *real = path ? wk_path_real(path) : NULL;
    wick_status st = real ? wk_file_check(path) : wk_fail_memory(strlen(folder), "a path");
    if (!st && !(*out = with_end(own, real, ""))) st = wk_fail_memory(strlen(real), "a path");
    wk_free(path);
    wk_free(real);
    return st;
}

static wick_status name_all(wk_arena *own, const char *folder, const char *tensors, pair *p) {
    wick_status st = find(own, folder, tensors, &p->tensors);
    if (!st) st = find(own, folder, WK_ADAPTER_CONFIG, &p->config);
    if (st) return st;
    p->new_tensors = with_end(own, p->tensors, WK_ADAPTER_NEW);
    p->new_config = with_end(own, p->config, WK_ADAPTER_NEW);
    p->old_config = with_end(own, p->config, ".old");
    return p->new_tensors && p->new_config && p->old_config ? WICK_OK : wk_fail_memory(strlen(folder), "a path");
}

static bool holds(const char *path, const wk_buf *text) {
    wk_buf there = { 0 };
    bool same = wk_file_size(path) == text->len && !wk_file_read(path, text->len, &there)
                && !memcmp(there.ptr, text->ptr, text->len);
    wk_buf_free(&there);
    return same;
}

/* Two files cannot change their names at once. So the old configuration goes before, and the new one comes last: killed between,
 * the folder has none, and is refused with the names of what lies in it (lora_data.c), where it would be a mixture. */
static wick_status replace(const wk_writing *w, const pair *p, const wk_str *config) {
    wick_status st = write_tensors(w, p->new_tensors);
    if (!st) st = wk_file_write(p->new_config, config, 1);
    if (!st) st = wk_file_rename(p->config, p->old_config);
    if (!st && (st = wk_file_rename(p->new_tensors, p->tensors))) (void)!wk_file_rename(p->old_config, p->config);
    return st ? st : wk_file_rename(p->new_config, p->config);
}

/* Takes away what is left of a replacement, where there is a configuration without it. */
static void clear(const pair *p) {
    if (!wk_file_exists(p->config)) return;
    remove(p->new_config);
    remove(p->new_tensors);
    remove(p->old_config);
}

wick_status wk_writing_folder(const wk_writing *w, const char *folder, const char *tensors, const wk_buf *config) {
    bool there = false;
    wk_arena own = { 0 };
    pair p = { 0 };
    wk_str text = { config->ptr, config->len };
    wick_status st = config->failed ? wk_fail_memory(config->len, "an adapter's configuration") : wk_file_look(folder, &there);
    if (!st && !there) st = wk_folder_make(folder);
    if (!st) st = name_all(&own, folder, tensors, &p);
    if (!st) {
        bool same = holds(p.config, config), other = !same && wk_file_size(p.config);
        remove(p.new_config);  /* of a writer that was killed; it is not these tensors' */
        st = other ? replace(w, &p, &text) : write_tensors(w, p.tensors);
        if (!st && !same && !other) st = wk_file_write(p.config, &text, 1);
        clear(&p);
    }
    wk_arena_free(&own);
    return st;
}

void wk_config_raw(wk_buf *b, const char *name, const char *json) {
    wk_buf_str(b, b->len ? ",\n  " : "{\n  ");
    wk_json_put_str(b, name, strlen(name));
    wk_buf_str(b, ": ");
    wk_buf_str(b, json);
}

void wk_config_text(wk_buf *b, const char *name, const char *text) {
    wk_config_raw(b, name, text ? "" : "null");
    if (text) wk_json_put_str(b, text, strlen(text));
}

void wk_config_number(wk_buf *b, const char *name, double v) {
    wk_config_raw(b, name, "");
    wk_json_put_num(b, v);
}

void wk_config_truth(wk_buf *b, const char *name, bool v) { wk_config_raw(b, name, v ? "true" : "false"); }
void wk_config_end(wk_buf *b) { wk_buf_str(b, "\n}\n"); }
