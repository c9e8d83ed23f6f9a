/* fuzz_config.c: any bytes as the JSON files of a model's folder: config.json, and behind NULs generation_config.json and
 * tokenizer_config.json. The weights beside them are those of a one-layer llama (8 wide, 2 heads, 1 of keys, 10 tokens), so a
 * config.json that says so binds; two tokens are generated then. An error has to have words. */
#include "fuzz/folder.h"
#include "wick.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define L "model.layers.0."
static const struct { const char *name; int rows, cols; } weights[] = {
    { "model.embed_tokens.weight", 10, 8 }, { "model.norm.weight", 0, 8 }, { "lm_head.weight", 10, 8 },
    { L "input_layernorm.weight", 0, 8 }, { L "self_attn.q_proj.weight", 8, 8 }, { L "self_attn.k_proj.weight", 4, 8 },
    { L "self_attn.v_proj.weight", 4, 8 }, { L "self_attn.o_proj.weight", 8, 8 }, { L "post_attention_layernorm.weight", 0, 8 },
    { L "mlp.gate_proj.weight", 16, 8 }, { L "mlp.up_proj.weight", 16, 8 }, { L "mlp.down_proj.weight", 8, 16 },
};

static void put_weights(void) {
    wk_buf head = { 0 }, file = { 0 };
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        int n = (weights[i].rows ? weights[i].rows : 1) * weights[i].cols * 4;
        wk_buf_printf(&head, "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[", i ? ',' : '{', weights[i].name);
        if (weights[i].rows) wk_buf_printf(&head, "%d,", weights[i].rows);
        wk_buf_printf(&head, "%d],\"data_offsets\":[%llu,%llu]}", weights[i].cols, (unsigned long long)at,
                      (unsigned long long)at + (unsigned long long)n);
        at += (uint64_t)n;
    }
    wk_buf_char(&head, '}');
    uint64_t n = head.len;
    wk_buf_add(&file, &n, 8);
    wk_buf_add(&file, head.ptr, head.len);
    for (uint64_t i = 0; i < at / 4; i++) {
        float x = 0.01f * (float)(i % 17) - 0.05f;
        wk_buf_add(&file, &x, 4);
    }
    if (file.failed || head.failed) abort();
    folder_put("model.safetensors", file.ptr, file.len);
    wk_buf_free(&head);
    wk_buf_free(&file);
}

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
        put_weights();
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
