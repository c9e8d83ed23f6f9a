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

wick_status wk_writing_status(const wk_writing *w) {
    return w->failed ? wk_fail_memory(w->n * sizeof *w->t, "an adapter's tensors") : WICK_OK;
}

void wk_writing_free(wk_writing *w) {
    wk_free(w->t);
    wk_arena_free(&w->own);
}

wick_status wk_writing_folder(const wk_writing *w, const char *folder, const char *tensors, const wk_buf *config) {
    char *at = wk_path_join(folder, tensors), *config_at = wk_path_join(folder, "adapter_config.json");
    bool there = false;
    wk_out out;
    wick_status st = at && config_at ? WICK_OK : wk_fail_memory(strlen(folder), "a path");
    if (!st && config->failed) st = wk_fail_memory(config->len, "an adapter's configuration");
    if (!st) st = wk_file_look(folder, &there);
    if (!st && !there) st = wk_folder_make(folder);
    if (!st) {  /* written before the tensors have their name, so that a full disk leaves no new ones beside an old configuration */
        st = wk_out_open(&out, config_at);
        if (!st) st = wk_out_write(&out, config->ptr, config->len);
        if (!st) st = wk_safetensors_write(at, w->t, w->n);
        st = wk_out_close(&out, st);
    }
    wk_free(at);
    wk_free(config_at);
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
