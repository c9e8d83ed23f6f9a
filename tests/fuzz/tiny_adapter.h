/* tiny_adapter.h: the tiny model, opened, and what is done with an adapter for it: read, written in each format, and applied to a
 * session that then runs two tokens. An error has to have words. */
#ifndef WK_FUZZ_TINY_ADAPTER_H
#define WK_FUZZ_TINY_ADAPTER_H
#include "adapter/lora_data.h"
#include "fuzz/tiny_model.h"
#include "generate/generate.h"

static wick_model *tiny_open(void) {
    wick_model_options o;
    wick_model *m;
    folder_make();
    tiny_put_weights();
    folder_put("config.json", TINY_CONFIG, sizeof TINY_CONFIG - 1);
    wick_model_defaults(&o);
    o.n_threads = 1;
    if (wick_model_open(folder, &o, &m)) abort();
    return m;
}

static void tiny_apply(wick_model *m, const char *path) {
    const int32_t ids[] = { 1, 2, 3 };
    float logits[30];
    wick_session_options so;
    wick_adapter *a = NULL;
    wick_session *s = NULL;
    wick_session_defaults(&so);
    so.n_ctx = 16;
    so.n_batch = 4;
    wick_status st = wick_adapter_load(m, path, &a);
    if (st) {
        if (!*wick_last_error()) abort();
        return;
    }
    if (wick_session_new(m, &so, &s) || wick_session_apply_adapter(s, a, 1) || wick_logits(s, ids, 3, logits, 30)) abort();
    wick_session_free(s);
    wick_adapter_free(a);
}

/* out: a folder's name or a file's, by the format. */
static void tiny_rewrite(wick_model *m, const char *path, const char *out, wk_lora_format format) {
    wk_lora_data *d = NULL, *again = NULL;
    if (wk_lora_read(m->m, path, &d)) return;
    wick_status st = wk_lora_write(m->m, d, out, format);
    if (st && !*wick_last_error()) abort();
    if (!st && (wk_lora_read(m->m, out, &again) || again->n_module != d->n_module || again->n_saved != d->n_saved)) abort();
    wk_lora_data_free(d);
    wk_lora_data_free(again);
}

#endif
