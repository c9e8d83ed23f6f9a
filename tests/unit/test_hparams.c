/* test_hparams.c: configurations that strangers wrote: each wrong one is refused with the file, the key, the value and the
 * limit; a model whose tensors and configuration disagree is refused by the tensor's name.
 * A case is the tiny llama's config.json with some members replaced (null in the patch takes one away). */
#include "base/json.h"
#include "base/mem.h"
#include "format/safetensors.h"
#include "model/model.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct bad_case { const char *model, *patch; wick_status status; const char *says; } bad_case;
static const bad_case cases[] = {
    { "llama", "{\"architectures\":[\"FooForCausalLM\"]}", WICK_E_UNSUPPORTED, "FooForCausalLM" },
    { "llama", "{\"architectures\":null}", WICK_E_FORMAT, "architectures" },
    { "llama", "{\"architectures\":\"LlamaForCausalLM\"}", WICK_E_FORMAT, "architectures" },
    { "llama", "{\"num_hidden_layers\":0}", WICK_E_FORMAT, "\"num_hidden_layers\" is 0, it must be 1 to 512" },
    { "llama", "{\"num_hidden_layers\":4}", WICK_E_FORMAT, "model.layers.3." },
    { "llama", "{\"num_hidden_layers\":2}", WICK_E_UNSUPPORTED, "model.layers.2." },
    { "llama", "{\"num_hidden_layers\":1e300}", WICK_E_FORMAT, "num_hidden_layers" },
    { "llama", "{\"attention_bias\":true}", WICK_E_FORMAT, "q_proj.bias\" is missing" },
    { "llama", "{\"mlp_bias\":true}", WICK_E_FORMAT, "gate_proj.bias\" is missing" },
    { "qwen2-tied", "{\"architectures\":[\"LlamaForCausalLM\"],\"attention_bias\":false}", WICK_E_FORMAT,
      "q_proj.bias\" is there, but \"attention_bias\" is false" },
    { "llama", "{\"attention_bias\":1}", WICK_E_FORMAT, "\"attention_bias\" is 1, it must be true or false" },
    { "llama", "{\"mlp_bias\":\"no\"}", WICK_E_FORMAT, "\"mlp_bias\" is \"no\", it must be true or false" },
    { "llama", "{\"tie_word_embeddings\":\"yes\"}", WICK_E_FORMAT, "\"tie_word_embeddings\" is \"yes\"" },
    { "gemma3", "{\"use_bidirectional_attention\":true}", WICK_E_UNSUPPORTED, "\"use_bidirectional_attention\" is true" },
    { "llama", "{\"num_hidden_layers\":\"3\"}", WICK_E_FORMAT, "\"num_hidden_layers\" is \"3\", it must be a whole number" },
    { "llama", "{\"num_hidden_layers\":2.5}", WICK_E_FORMAT, "is 2.5, it must be a whole number" },
    { "llama", "{\"num_hidden_layers\":null}", WICK_E_FORMAT, "\"num_hidden_layers\" is missing" },
    { "llama", "{\"num_attention_heads\":0}", WICK_E_FORMAT, "\"num_attention_heads\" is 0" },
    { "llama", "{\"num_attention_heads\":-4}", WICK_E_FORMAT, "\"num_attention_heads\" is -4" },
    { "llama", "{\"num_attention_heads\":3}", WICK_E_FORMAT, "3 heads cannot share 2" },
    { "llama", "{\"num_key_value_heads\":0}", WICK_E_FORMAT, "num_key_value_heads" },
    { "llama", "{\"num_key_value_heads\":4}", WICK_E_FORMAT, "self_attn.k_proj.weight" },
    { "llama", "{\"head_dim\":15}", WICK_E_FORMAT, "15 rotating dimensions" },
    { "llama", "{\"head_dim\":32}", WICK_E_FORMAT, "self_attn.q_proj.weight\" is [64, 64], the configuration needs [128, 64]" },
    { "llama", "{\"hidden_size\":63,\"head_dim\":null}", WICK_E_FORMAT, "does not divide" },
    { "llama", "{\"hidden_size\":128}", WICK_E_FORMAT, "model.embed_tokens.weight" },
    { "llama", "{\"intermediate_size\":161}", WICK_E_FORMAT, "mlp.gate_proj.weight" },
    { "llama", "{\"vocab_size\":9223372036854775807}", WICK_E_FORMAT, "vocab_size" },
    { "llama", "{\"vocab_size\":319}", WICK_E_FORMAT, "model.embed_tokens.weight" },
    { "llama", "{\"vocab_size\":null}", WICK_E_FORMAT, "vocabulary" },
    { "llama", "{\"rms_norm_eps\":null}", WICK_E_FORMAT, "rms_norm_eps" },
    { "llama", "{\"rms_norm_eps\":-1}", WICK_E_FORMAT, "rms_norm_eps" },
    { "llama", "{\"rms_norm_eps\":0}", WICK_E_FORMAT, "epsilon is 0: as a 32-bit number it must be above 0" },
    { "llama", "{\"rms_norm_eps\":1e-60}", WICK_E_FORMAT, "epsilon is 1e-60" },
    { "llama", "{\"max_position_embeddings\":0}", WICK_E_FORMAT, "max_position_embeddings" },
    { "llama", "{\"rope_parameters\":7}", WICK_E_FORMAT, "rope parameters" },
    { "llama", "{\"rope_parameters\":{\"rope_theta\":0}}", WICK_E_FORMAT, "rope base 0" },
    { "llama", "{\"rope_parameters\":{\"rope_type\":\"sideways\"}}", WICK_E_UNSUPPORTED, "\"sideways\" is not one" },
    { "llama", "{\"rope_parameters\":{\"rope_type\":3}}", WICK_E_FORMAT, "rope_type" },
    { "llama", "{\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":0}}", WICK_E_FORMAT, "factor 0" },
    { "llama", "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":-1}}", WICK_E_FORMAT,
      "original_max" },
    { "llama", "{\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":1}}",
      WICK_E_FORMAT, "not in order" },
    { "llama", "{\"partial_rotary_factor\":2}", WICK_E_FORMAT, "partial_rotary_factor" },
    { "llama", "{\"tie_word_embeddings\":true,\"vocab_size\":321}", WICK_E_FORMAT, "embed_tokens" },
    { "llama", "{\"architectures\":[\"Qwen2ForCausalLM\"]}", WICK_E_FORMAT, "q_proj.bias\" is missing" },
    { "llama", "{\"architectures\":[\"LlamaForSequenceClassification\"]}", WICK_E_FORMAT, "score.weight\" is missing" },
    { "qwen2-tied", "{\"architectures\":[\"LlamaForCausalLM\"],\"tie_word_embeddings\":false}", WICK_E_FORMAT,
      "lm_head.weight\" is missing" },
    { "qwen3", "{\"architectures\":[\"Qwen2ForCausalLM\"]}", WICK_E_FORMAT, "q_proj.bias\" is missing" },
    { "qwen3", "{\"architectures\":[\"LlamaForCausalLM\"]}", WICK_E_UNSUPPORTED, "_norm.weight" },
    { "qwen3-moe", "{\"num_experts_per_tok\":9}", WICK_E_FORMAT, "9 of 8 experts" },
    { "qwen3-moe", "{\"num_experts_per_tok\":0}", WICK_E_FORMAT, "0 of 8 experts" },
    { "qwen3-moe", "{\"num_local_experts\":9}", WICK_E_FORMAT, "mlp.gate.weight" },
    { "qwen3-moe", "{\"num_local_experts\":7}", WICK_E_FORMAT, "mlp.gate.weight" },
    { "qwen3-moe", "{\"mlp_only_layers\":[3]}", WICK_E_FORMAT, "names layer 3 of 3" },
    { "qwen3-moe", "{\"mlp_only_layers\":[-1]}", WICK_E_FORMAT, "names layer -1 of 3" },
    { "qwen3-moe", "{\"mlp_only_layers\":[1]}", WICK_E_FORMAT, "layers.1.mlp.gate_proj.weight\" is missing" },
    { "qwen3-moe", "{\"mlp_only_layers\":\"1\"}", WICK_E_FORMAT, "\"mlp_only_layers\" is not a list" },
    { "qwen3-moe", "{\"norm_topk_prob\":1}", WICK_E_FORMAT, "\"norm_topk_prob\" is 1, it must be true or false" },
    { "llama", "{\"tie_word_embeddings\":\"no\"}", WICK_E_FORMAT, "\"tie_word_embeddings\" is \"no\", it must be true or false" },
    { "llama", "{\"use_sliding_window\":[]}", WICK_E_FORMAT, "\"use_sliding_window\" is a list, it must be true or false" },
    { "qwen2-classify", "{\"id2label\":[\"a\",\"b\"]}", WICK_E_FORMAT, "\"id2label\" is not an object" },
    { "gemma3", "{\"layer_types\":[\"full_attention\"]}", WICK_E_FORMAT, "layer_types" },
    { "gemma3", "{\"layer_types\":[1,2,3,4,5,6,7]}", WICK_E_UNSUPPORTED, "layer_types" },
    { "gemma3", "{\"query_pre_attn_scalar\":0}", WICK_E_FORMAT, "query_pre_attn_scalar" },
    { "gemma3", "{\"sliding_window\":-5}", WICK_E_FORMAT, "sliding_window" },
    { "llama", "{\"hidden_act\":\"relu6\"}", WICK_E_UNSUPPORTED, "the activation \"relu6\" is not one" },
    { "llama", "{\"hidden_act\":7}", WICK_E_UNSUPPORTED, "the activation" },
    { "llama", "{\"num_experts\":4,\"num_experts_per_tok\":2}", WICK_E_FORMAT, "mlp.gate.weight\" is missing" },
    { "mixtral", "{\"num_local_experts\":0}", WICK_E_FORMAT, "2 of 0 experts" },
    { "mixtral", "{\"num_local_experts\":5}", WICK_E_FORMAT,
      "block_sparse_moe.gate.weight\" is [4, 64], the configuration needs [5, 64]" },
    { "mixtral", "{\"intermediate_size\":161}", WICK_E_FORMAT,
      "experts.0.w1.weight\" is [160, 64], the configuration needs [161, 64]" },
    { "mixtral", "{\"architectures\":[\"MistralForCausalLM\"]}", WICK_E_FORMAT, "mlp.gate.weight\" is missing" },
    { "gemma2", "{\"attn_logit_softcapping\":-1}", WICK_E_FORMAT, "\"attn_logit_softcapping\" is -1, it must be 0 to" },
    { "gemma2", "{\"final_logit_softcapping\":\"30\"}", WICK_E_FORMAT,
      "\"final_logit_softcapping\" is \"30\", it must be a number" },
    { "gemma2", "{\"sliding_window_pattern\":0,\"layer_types\":null}", WICK_E_FORMAT, "\"sliding_window_pattern\" is 0" },
    { "gemma2", "{\"architectures\":[\"Gemma3ForConditionalGeneration\"]}", WICK_E_FORMAT, "\"text_config\" is missing" },
    { "gemma2", "{\"architectures\":[\"Gemma3ForCausalLM\"]}", WICK_E_FORMAT, "q_norm.weight\" is missing" },
    { "phi3", "{\"num_key_value_heads\":4}", WICK_E_FORMAT, "qkv_proj.weight\" is [128, 64], the configuration needs [192, 64]" },
    { "phi3", "{\"intermediate_size\":80}", WICK_E_FORMAT,
      "gate_up_proj.weight\" is [320, 64], the configuration needs [160, 64]" },
    { "phi3", "{\"rope_parameters\":{\"partial_rotary_factor\":1.5}}", WICK_E_FORMAT, "\"partial_rotary_factor\" is 1.5" },
    { "phi3", "{\"rope_parameters\":{\"rope_type\":\"longrope\"}}", WICK_E_FORMAT,
      "longrope needs \"short_factor\", a list of 8 numbers" },
    { "phi3-longrope", "{\"rope_parameters\":{\"long_factor\":[1,1,1,1,1,1,1,1]}}", WICK_E_FORMAT,
      "longrope needs \"short_factor\"" },
    { "phi3-longrope", "{\"rope_parameters\":{\"short_factor\":[1,1,1,1,1,1,1,1],\"long_factor\":[1,1,1,1,1,1,1]}}", WICK_E_FORMAT,
      "longrope needs \"long_factor\", a list of 8 numbers" },
    { "phi3-longrope", "{\"rope_parameters\":{\"short_factor\":[1,1,1,0,1,1,1,1],\"long_factor\":[1,1,1,1,1,1,1,1]}}",
      WICK_E_FORMAT,
      "\"short_factor\"[3] is 0, it must be above zero" },
    { "phi3-longrope", "{\"rope_parameters\":{\"short_factor\":[1,1,1,1,1,1,1,1],\"long_factor\":[1,1,1,1,1,1,1,\"x\"]}}",
      WICK_E_FORMAT,
      "\"long_factor\"[7] is 0" },
    { "phi3-longrope", "{\"original_max_position_embeddings\":1}", WICK_E_FORMAT, "original_max_position_embeddings above 1" },
    { "phi3-longrope", "{\"original_max_position_embeddings\":0}", WICK_E_FORMAT, "\"original_max_position_embeddings\" is 0" },
    { "olmo2", "{\"architectures\":[\"LlamaForCausalLM\"]}", WICK_E_FORMAT, "input_layernorm.weight\" is missing" },
    { "gpt-oss", "{\"swiglu_limit\":5}", WICK_E_UNSUPPORTED, "\"swiglu_limit\" is 5, wick knows 7" },
    { "gpt-oss", "{\"swiglu_alpha\":\"1\"}", WICK_E_FORMAT, "\"swiglu_alpha\" is \"1\", it must be a number" },
    { "gpt-oss", "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":2,\"truncate\":0}}", WICK_E_FORMAT,
      "\"truncate\" is 0, it must be true or false" },
    { "gpt-oss", "{\"hidden_act\":\"gelu\"}", WICK_E_UNSUPPORTED, "the activation is \"gelu\", this family's experts have" },
    { "gpt-oss", "{\"hidden_act\":null,\"swiglu_limit\":5}", WICK_E_UNSUPPORTED, "\"swiglu_limit\" is 5, wick knows 7" },
    { "gpt-oss", "{\"attention_bias\":false}", WICK_E_FORMAT, "q_proj.bias\" is there, but \"attention_bias\" is false" },
    { "gpt-oss", "{\"num_local_experts\":5}", WICK_E_FORMAT, "mlp.router.weight\" is [4, 32], the configuration needs [5, 32]" },
    { "gpt-oss", "{\"intermediate_size\":48}", WICK_E_FORMAT,
      "mlp.experts.gate_up_proj\" is [4, 32, 64], the configuration needs [4, 32, 96]" },
    { "gpt-oss", "{\"num_attention_heads\":8,\"head_dim\":4,\"num_key_value_heads\":4}", WICK_E_FORMAT,
      "self_attn.sinks\" is [4], the configuration needs [8]" },
    { "gpt-oss", "{\"architectures\":[\"MixtralForCausalLM\"]}", WICK_E_FORMAT, "block_sparse_moe.gate.weight\" is missing" },
    { "qwen3-moe", "{\"architectures\":[\"GptOssForCausalLM\"]}", WICK_E_FORMAT, "sinks.weight\" is missing" },
    { "llama", "{\"architectures\":[\"Olmo2ForCausalLM\"]}", WICK_E_FORMAT, "q_norm.weight\" is missing" },
    { "qwen2-classify", "{\"id2label\":{\"0\":\"a\",\"2\":\"b\"}}", WICK_E_FORMAT, "does not name label 1" },
    { "qwen2-classify", "{\"id2label\":{\"0\":\"a\"}}", WICK_E_FORMAT, "score.weight" },
};

/* A folder with the patched configuration and a link to the weights. */
static void make_folder(const bad_case *c, char *dir) {
    char path[300], to[300], cwd[200];
    json_t *config, *patch, *v;
    const char *key;
    assert_non_null(mkdtemp(dir));
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(path, sizeof path, "data/models/%s/config.json", c->model);
    assert_int_equal(wk_json_read(path, 1 << 20, &config), WICK_OK);
    assert_int_equal(wk_json_parse(c->patch, strlen(c->patch), "patch", &patch), WICK_OK);
    json_object_foreach(patch, key, v) json_object_set(config, key, v);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    json_decref(patch);
    snprintf(path, sizeof path, "%s/data/models/%s/model.safetensors", cwd, c->model);
    snprintf(to, sizeof to, "%s/model.safetensors", dir);
    assert_int_equal(symlink(path, to), 0);
}

static void remove_folder(const char *dir) {
    char path[300];
    const char *const names[] = { "config.json", "model.safetensors" };
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static wick_status load(const char *path, wk_model **m) {
    wk_backend *be;
    wick_status st = wk_cpu_new(1, &be);
    *m = NULL;
    return st ? st : wk_model_load(path, be, false, NULL, NULL, NULL, m);
}

static void refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char dir[] = "/tmp/wick-bad-XXXXXX";
        wk_model *m;
        make_folder(&cases[i], dir);
        wick_status st = load(dir, &m);
        if (st != cases[i].status || !strstr(wick_last_error(), cases[i].says))
            fail_msg("%s %s: %s \"%s\"; expected %s with \"%s\"", cases[i].model, cases[i].patch, wick_status_name(st),
                     wick_last_error(), wick_status_name(cases[i].status), cases[i].says);
        if (!strstr(wick_last_error(), dir))
            fail_msg("%s: the message does not name the file: %s", cases[i].patch, wick_last_error());
        remove_folder(dir);
    }
}

/* Every number of config.json as each thing that it is not: refused by its name. */
static void wrong_kinds(void **state) {
    (void)state;
    static const char *const names[] = {
        "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
        "max_position_embeddings", "vocab_size", "rms_norm_eps", "sliding_window", "attn_logit_softcapping",
        "final_logit_softcapping", "num_local_experts", "num_experts_per_tok", "moe_intermediate_size", "rope_local_base_freq",
        "pad_token_id",
    };
    static const char *const values[] = { "\"7\"", "[7]", "{\"a\":7}", "true", "-9", "1e300", "-9223372036854775808", "[[[[]]]]" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            char dir[] = "/tmp/wick-bad-XXXXXX", patch[100], quoted[60];
            wk_model *m;
            snprintf(patch, sizeof patch, "{\"%s\":%s}", names[i], values[k]);
            snprintf(quoted, sizeof quoted, "config.json: \"%s\" is ", names[i]);
            make_folder(&(bad_case){ "llama", patch, WICK_E_FORMAT, "" }, dir);
            wick_status st = load(dir, &m);
            if (st != WICK_E_FORMAT || !strstr(wick_last_error(), quoted))
                fail_msg("%s: %s \"%s\"", patch, wick_status_name(st), wick_last_error());
            remove_folder(dir);
        }
}

/* gpt-oss without one of the tensors that it cannot be computed without. */
static void missing_tensors(void **state) {
    (void)state;
    static const char *const names[] = {
        "model.layers.1.self_attn.o_proj.bias", "model.layers.1.self_attn.q_proj.bias", "model.layers.1.mlp.router.bias",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char dir[] = "/tmp/wick-bad-XXXXXX", path[300];
        wk_safetensors *s;
        wk_model *m;
        make_folder(&(bad_case){ "gpt-oss", "{}", WICK_E_FORMAT, "" }, dir);
        assert_int_equal(wk_safetensors_open("data/models/gpt-oss/model.safetensors", &s), WICK_OK);
        size_t n = wk_safetensors_n_tensor(s), k = 0;
        wk_tensor *t = calloc(n, sizeof *t);
        for (size_t j = 0; j < n; j++)
            if (!wk_str_eq(wk_safetensors_tensor(s, j)->name, names[i])) t[k++] = *wk_safetensors_tensor(s, j);
        assert_int_equal(k, n - 1);
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        unlink(path);
        assert_int_equal(wk_safetensors_write(path, t, k), WICK_OK);
        if (load(dir, &m) != WICK_E_FORMAT || !strstr(wick_last_error(), names[i]))
            fail_msg("without %s: \"%s\"", names[i], wick_last_error());
        free(t);
        wk_safetensors_free(s);
        remove_folder(dir);
    }
}

/* A folder's yarn is rounded unless "truncate" is false, whatever the family. */
static void truncate_left_out(void **state) {
    (void)state;
    char dir[] = "/tmp/wick-bad-XXXXXX";
    wk_model *m;
    make_folder(&(bad_case){ "gpt-oss", "{\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":8,\"rope_theta\":150000,"
                                        "\"original_max_position_embeddings\":32}}", WICK_OK, "" }, dir);
    assert_int_equal(load(dir, &m), WICK_OK);
    assert_false(m->hp.rope.unrounded);
    wk_model_free(m);
    remove_folder(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(refused), cmocka_unit_test(wrong_kinds),
                                        cmocka_unit_test(missing_tensors), cmocka_unit_test(truncate_left_out) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
