/* test_bad_models.c: well-formed GGUF files that say impossible things (tests/bad/model, from make_bad.py). Each is refused with
 * one message that names the file, the key or tensor, the value and the limit. */
#include "model/model.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct { const char *name; wick_status status; const char *says;
} cases[] = {
    { "architecture-missing", WICK_E_FORMAT, "\"general.architecture\" is missing" },
    { "architecture-number", WICK_E_FORMAT, "key \"general.architecture\" is u32, a string is needed" },
    { "architecture-unknown", WICK_E_UNSUPPORTED, "architecture \"frobnicate\" is not one that wick runs" },
    { "block-count-0", WICK_E_FORMAT, "\"llama.block_count\" is 0, it must be 1 to 512" },
    { "block-count-above-tensors", WICK_E_FORMAT, "tensor \"blk.1.attn_norm.weight\" is missing" },
    { "block-count-huge", WICK_E_FORMAT, "\"llama.block_count\" is 4294967295, it must be 1 to 512" },
    { "block-count-missing", WICK_E_FORMAT, "\"llama.block_count\" is missing: this model cannot be run without it" },
    { "block-count-string", WICK_E_FORMAT, "key \"llama.block_count\" is a string, a whole number is needed" },
    { "bos-negative", WICK_E_FORMAT, "key \"tokenizer.ggml.bos_token_id\" is -7, it has to be in 0..15" },
    { "bos-string", WICK_E_FORMAT, "key \"tokenizer.ggml.bos_token_id\" is a string, a whole number is needed" },
    { "byte-token-beyond", WICK_E_FORMAT,
      "entry 5 is a byte token but spelled \"<0x161>\"; \"<0x00>\" to \"<0xFF>\" are possible" },
    { "byte-token-no-hex", WICK_E_FORMAT, "entry 5 is a byte token but spelled \"<0xZZ>\"; \"<0x00>\" to \"<0xFF>\" are possible" },
    { "context-0", WICK_E_FORMAT, "\"llama.context_length\" is 0, it must be 1 to 1073741824" },
    { "embedding-0", WICK_E_FORMAT, "\"llama.embedding_length\" is 0, it must be 1 to 1048576" },
    { "embedding-differs", WICK_E_FORMAT, "tensor \"token_embd.weight\" is [16, 32], the configuration needs [16, 64]" },
    { "embedding-rows-differ", WICK_E_FORMAT, "tensor \"token_embd.weight\" is [8, 32], the configuration needs [16, 32]" },
    { "eos-2-31", WICK_E_FORMAT, "key \"tokenizer.ggml.eos_token_id\" is 2147483648, it has to be in 0..15" },
    { "eos-beyond", WICK_E_FORMAT, "key \"tokenizer.ggml.eos_token_id\" is 16, it has to be in 0..15" },
    { "epsilon-nan", WICK_E_FORMAT, "key \"llama.attention.layer_norm_rms_epsilon\" is nan, a finite number is needed" },
    { "epsilon-string", WICK_E_FORMAT, "key \"llama.attention.layer_norm_rms_epsilon\" is a string, a number is needed" },
    { "experts-0", WICK_E_FORMAT, "2 of 0 experts are used, it must be 1 to all" },
    { "experts-fewer", WICK_E_FORMAT, "tensor \"blk.0.ffn_gate_inp.weight\" is [4, 32], the configuration needs [2, 32]" },
    { "experts-huge", WICK_E_FORMAT, "\"qwen3moe.expert_count\" is 2147483648, it must be 0 to 65536" },
    { "experts-more", WICK_E_FORMAT, "tensor \"blk.0.ffn_gate_inp.weight\" is [4, 32], the configuration needs [8, 32]" },
    { "experts-used-5", WICK_E_FORMAT, "5 of 4 experts are used, it must be 1 to all" },
    { "experts-used-missing", WICK_E_FORMAT, "0 of 4 experts are used, it must be 1 to all" },
    { "experts-width-differs", WICK_E_FORMAT,
      "tensor \"blk.0.ffn_gate_exps.weight\" is [4, 32, 32], the configuration needs [4, 64, 32]" },
    { "experts-used-above", WICK_E_FORMAT, "5 of 4 experts are used, it must be 1 to all" },
    { "experts-without-router", WICK_E_FORMAT, "tensor \"blk.0.ffn_gate_inp.weight\" is missing" },
    { "feed-forward-differs", WICK_E_FORMAT, "tensor \"blk.0.ffn_gate.weight\" is [64, 32], the configuration needs [96, 32]" },
    { "heads-0", WICK_E_FORMAT, "\"llama.attention.head_count\" is 0, it must be 1 to 4096" },
    { "heads-kv-0", WICK_E_FORMAT, "\"llama.attention.head_count_kv\" is 0, it must be 1 to 4096" },
    { "heads-kv-above", WICK_E_FORMAT, "2 heads cannot share 3 KV heads" },
    { "heads-not-dividing", WICK_E_FORMAT, "an embedding of 32 does not divide into 5 heads" },
    { "longrope-list-short", WICK_E_FORMAT,
      "tensor \"rope_factors_long.weight\" is not a list of 8 numbers, half of the rotating dimensions" },
    { "longrope-one-list", WICK_E_FORMAT, "tensor \"rope_factors_long.weight\" is missing: longrope needs it" },
    { "longrope-original-1", WICK_E_FORMAT, "rope scaling needs original_max_position_embeddings above 1" },
    { "merge-of-no-token", WICK_E_FORMAT, "tokenizer.ggml.merges: merge 0 (\"a\" + \"g\"): joined they are not in the vocabulary" },
    { "merge-without-space", WICK_E_FORMAT, "tokenizer.ggml.merges: merge 0 is \"ab\", not two entries with a space between them" },
    { "merges-missing", WICK_E_FORMAT, "key \"tokenizer.ggml.merges\" is missing; convert the model again" },
    { "merges-numbers", WICK_E_FORMAT, "key \"tokenizer.ggml.merges\" must be an array of strings" },
    { "qkv-shape", WICK_E_FORMAT, "tensor \"blk.0.attn_qkv.weight\" is [80, 32], the configuration needs [64, 32]" },
    { "rope-base-0", WICK_E_FORMAT, "\"llama.rope.freq_base\" is 0, it must be 0.001 to 1e+12" },
    { "scores-missing", WICK_E_FORMAT, "key \"tokenizer.ggml.scores\" is missing; convert the model again" },
    { "scores-nan", WICK_E_FORMAT, "key \"tokenizer.ggml.scores\": entry 0 is not a number" },
    { "scores-short", WICK_E_FORMAT, "key \"tokenizer.ggml.scores\" has 3 elements, the vocabulary has 16 entries" },
    { "tensor-dimensions", WICK_E_FORMAT, "tensor \"output_norm.weight\" is [1, 32], the configuration needs [32]" },
    { "tensor-missing", WICK_E_FORMAT, "tensor \"blk.0.attn_k.weight\" is missing" },
    { "tensor-shape", WICK_E_FORMAT, "tensor \"blk.0.attn_q.weight\" is [64, 32], the configuration needs [32, 32]" },
    { "token-type-9", WICK_E_FORMAT, "key \"tokenizer.ggml.token_type\": entry 15 has type 9, 0 to 6 are known" },
    { "token-types-short", WICK_E_FORMAT, "key \"tokenizer.ggml.token_type\" has 15 elements, the vocabulary has 16 entries" },
    { "token-types-strings", WICK_E_FORMAT, "key \"tokenizer.ggml.token_type\" must be an array of numbers" },
    { "tokenizer-model-unknown", WICK_E_UNSUPPORTED,
      "the tokenizer model \"frobnicate\" (tokenizer.ggml.model) is not known to wick; gpt2, llama, t5, bert, gemma4 and "
      "whitespace are" },
    { "tokenizer-pre-unknown", WICK_E_UNSUPPORTED, "the pre-tokenizer \"frobnicate\" (tokenizer.ggml.pre) is not known to wick" },
    { "tokens-empty", WICK_E_FORMAT, "key \"tokenizer.ggml.tokens\" has 0 entries; 1 to 1073741823 are possible" },
    { "tokens-numbers", WICK_E_FORMAT, "key \"tokenizer.ggml.tokens\" must be an array of strings" },
    { "tokens-twice", WICK_E_FORMAT, "ids 1 and 15 are both spelled \"a\"; each entry must be there once" },
};
/* These open: a model without a tokenizer runs on ids, and one whose template cannot be read runs without it. */
static const char *const fine[] = { "tokens-missing", "template-broken" };

static wick_status load(const char *name, wk_model **m) {
    char path[200];
    wk_backend *be;
    *m = NULL;
    snprintf(path, sizeof path, "bad/model/%s.gguf", name);
    assert_int_equal(wk_reference_new(true, &be), WICK_OK);
    return wk_model_load(path, be, false, NULL, NULL, NULL, m);
}

static void refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wk_model *m;
        char want[400];
        wick_status st = load(cases[i].name, &m);
        snprintf(want, sizeof want, "bad/model/%s.gguf: %s", cases[i].name, cases[i].says);
        if (st != cases[i].status || strcmp(wick_last_error(), want))
            fail_msg("%s: %s \"%s\"\nexpected %s \"%s\"", cases[i].name, wick_status_name(st), wick_last_error(),
                     wick_status_name(cases[i].status), want);
    }
}

static void opened(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        wk_model *m;
        if (load(fine[i], &m)) fail_msg("%s: %s", fine[i], wick_last_error());
        assert_null(i == 0 ? (void *)m->tokenizer : (void *)m->chat);
        wk_model_free(m);
    }
}

/* No file is forgotten. */
static void all_listed(void **state) {
    (void)state;
    size_t n = 0;
    DIR *d = opendir("bad/model");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += strstr(e->d_name, ".gguf") != NULL;
    closedir(d);
    assert_int_equal(n, sizeof cases / sizeof *cases + sizeof fine / sizeof *fine);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(refused), cmocka_unit_test(opened), cmocka_unit_test(all_listed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
