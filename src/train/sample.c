/* sample.c: one line of training data for the public interface: what `wick tokenize --show-mask` shows. */
#include "train/data.h"
#include <string.h>

wick_status wick_train_sample_read(const wick_model *m, const char *json, bool mask_prompt, wick_train_sample *out) {
    wk_ids ids = { 0 }, labels = { 0 };
    json_t *line = NULL;
    int32_t cls = -1;
    wk_clear_error();
    if (out) *out = (wick_train_sample){ .label = -1 };
    if (!m || !json || !out)
        return wk_fail(WICK_E_ARG, "wick_train_sample_read: %s is NULL", !m ? "the model" : !json ? "json" : "out");
    wick_status st = wk_json_parse(json, strlen(json), "the sample", &line);
    if (!st) st = wk_sample_parse(m, line, mask_prompt, &ids, &labels, &cls);
    json_decref(line);
    if (st) {
        wk_ids_free(&ids);
        wk_ids_free(&labels);
        return st;
    }
    *out = (wick_train_sample){ ids.ptr, labels.ptr, ids.len, cls };
    return WICK_OK;
}

void wick_train_sample_free(wick_train_sample *s) {
    if (!s) return;
    wk_free(s->ids);
    wk_free(s->labels);
    *s = (wick_train_sample){ .label = -1 };
}
