/* fuzz_train_config.c: any bytes as a YAML file of training's options. What is taken is checked, copied, and said as JSON, which
 * can be read again. An error has to have words. */
#include "base/json.h"
#include "fuzz/folder.h"
#include "train/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const wick_train_options *o) {
    wick_train_options copy;
    wk_buf text = { 0 };
    json_t *j = NULL;
    if (wk_train_options_check(o) && !*wick_last_error()) abort();
    if (wk_train_options_copy(o, &copy)) abort();
    wk_train_options_json(&copy, &text);
    if (text.failed || wk_json_parse(text.ptr, text.len, "options", &j)) abort();
    json_decref(j);
    wk_buf_free(&text);
    wick_train_options_free(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[96];
    wick_train_options o;
    if (!*folder) {
        folder_make();
        snprintf(path, sizeof path, "%s/train.yaml", folder);
    }
    folder_put("train.yaml", size ? (const void *)data : "", size);
    wick_train_defaults(&o);
    wick_status st = wick_train_options_read(&o, path);
    if (st && !*wick_last_error()) abort();
    if (!st) use(&o);
    wick_train_options_free(&o);
    return 0;
}
