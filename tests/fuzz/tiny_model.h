/* tiny_model.h: the weights of a one-layer llama (8 wide, 2 heads, 1 of keys, 10 tokens) in a fuzz target's folder, and the
 * configuration that says so. */
#ifndef WK_FUZZ_TINY_MODEL_H
#define WK_FUZZ_TINY_MODEL_H
#include "fuzz/folder.h"

#define TINY_CONFIG \
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1," \
    "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"intermediate_size\":16,\"vocab_size\":10,\"rms_norm_eps\":1e-5," \
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":false}"

static void tiny_put_weights(void) {
#define L "model.layers.0."
    static const struct { const char *name; int rows, cols; } weights[] = {
        { "model.embed_tokens.weight", 10, 8 }, { "model.norm.weight", 0, 8 }, { "lm_head.weight", 10, 8 },
        { L "input_layernorm.weight", 0, 8 }, { L "self_attn.q_proj.weight", 8, 8 }, { L "self_attn.k_proj.weight", 4, 8 },
        { L "self_attn.v_proj.weight", 4, 8 }, { L "self_attn.o_proj.weight", 8, 8 }, { L "post_attention_layernorm.weight", 0, 8 },
        { L "mlp.gate_proj.weight", 16, 8 }, { L "mlp.up_proj.weight", 16, 8 }, { L "mlp.down_proj.weight", 8, 16 },
    };
#undef L
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

#endif
