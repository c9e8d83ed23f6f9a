/* lora_data.c: which format a path holds, and what all of them share. */
#include "adapter/reading.h"
#include "base/file.h"
#include <math.h>

void wk_lora_data_free(wk_lora_data *d) {
    if (!d) return;
    for (size_t i = 0; i < d->n_module; i++) {
        wk_free(d->module[i].module);
        wk_free(d->module[i].a);
        wk_free(d->module[i].b);
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
    wk_free(d);
}

double wk_lora_scale(const wk_lora_data *d, const wk_lora_module *x) {
    return x->alpha / (d->rslora ? sqrt((double)x->rank) : (double)x->rank);
}

wick_status wk_lora_read(const wk_model *m, const char *path, wk_lora_data **out) {
    *out = NULL;
    wk_lora_data *d = wk_alloc(sizeof *d);
    if (!d) return wk_fail_memory(sizeof *d, "an adapter");
    wick_status st = wk_peft_read(m, path, d);
    if (!st) *out = d;
    else wk_lora_data_free(d);
    return st;
}

wick_status wk_lora_write(const wk_model *m, const wk_lora_data *d, const char *path, wk_lora_format f) {
    if (f != WK_LORA_PEFT) return wk_fail(WICK_E_UNSUPPORTED, "%s: only PEFT folders can be written", path);
    return wk_peft_write(m, d, path);
}
