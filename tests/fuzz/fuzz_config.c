/* fuzz_config.c: any bytes as the JSON files of a model's folder: config.json, and behind NULs generation_config.json and
 * tokenizer_config.json. The weights beside them are those of a one-layer llama (8 wide, 2 heads, 1 of keys, 10 tokens), so a
 * config.json that says so binds; two tokens are generated then. An error has to have words. */
#include "fuzz/tiny_model.h"
#include "wick.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(wick_model *m) {
    wick_session_options so;
    wick_generate_options go;
    wick_session *s;
    wick_prompt ids = { .ids = (const int32_t[]){ 1, 2, 3 }, .n_ids = 3 };
    wick_session_defaults(&so);
    so.n_ctx = 16;
    so.n_batch = 4;
    if (wick_session_new(m, &so, &s)) return;
    wick_generate_defaults(m, &go);
    go.n_predict = 2;
    wick_generate(s, &ids, &go, NULL, NULL, NULL);
    wick_session_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *end = data + size;
    wick_model_options o;
    wick_model *m;
    if (!*folder) {
        folder_make();
        tiny_put_weights();
    }
    for (int i = 0; i < 3; i++) {
        const uint8_t *nul = data && data < end ? memchr(data, 0, (size_t)(end - data)) : NULL;
        folder_put(in_folder[i], data, (size_t)((nul ? nul : end) - data));
        data = nul ? nul + 1 : NULL;
    }
    wick_model_defaults(&o);
    o.n_threads = 1;
    wick_status st = wick_model_open(folder, &o, &m);
    if (st && !*wick_last_error()) abort();
    if (!st) run(m);
    if (!st) wick_model_free(m);
    return 0;
}
