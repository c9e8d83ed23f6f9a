/* test_checkpoint.c: what a path holds: GGUF files and folders, right ones and wrong ones (tests/bad, made by make_bad.py). */
#include "base/file.h"
#include "format/checkpoint.h"
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- a folder of our own ---- */

static char folder[64];
static char made[16][96];
static int n_made;

static int new_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/wick-test-XXXXXX");
    n_made = 0;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    for (int i = 0; i < n_made; i++) unlink(made[i]);
    return rmdir(folder);
}

static const char *path_of(const char *name) {
    snprintf(made[n_made], sizeof made[0], "%s/%s", folder, name);
    return made[n_made++];
}

static void put(const char *name, const char *text) {
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_weights(const char *name) {
    static const uint8_t data[16] = { 1 };
    wk_tensor t = { .name = WK_STR("w"), .dtype = WK_F32, .n_dim = 1, .shape = { 4, 1, 1, 1 }, .data = data, .n_bytes = 16 };
    assert_int_equal(wk_safetensors_write(path_of(name), &t, 1), WICK_OK);
}

static wk_checkpoint *open_good(const char *path, bool vocab_only) {
    wk_checkpoint *c;
    if (wk_checkpoint_open(path, vocab_only, &c)) fail_msg("%s", wick_last_error());
    return c;
}

static bool refused(const char *path, bool vocab_only, wick_status want, const char *says) {
    wk_checkpoint *c;
    wick_status st = wk_checkpoint_open(path, vocab_only, &c);
    if (st == want && !c && strstr(wick_last_error(), says)) return true;
    printf("%s: %s \"%s\", expected %s \"%s\"\n", path, wick_status_name(st), wick_last_error(), wick_status_name(want), says);
    wk_checkpoint_free(c);
    return false;
}

/* ---- right ones ---- */

static void test_folder(void **state) {
    (void)state;
    wk_checkpoint *c = open_good("data/models/llama", false);
    assert_string_equal(wk_checkpoint_path(c), "data/models/llama");
    assert_null(wk_checkpoint_gguf(c));
    assert_string_equal(json_string_value(json_object_get(wk_checkpoint_config(c), "model_type")), "llama");
    assert_non_null(wk_checkpoint_generation_config(c));
    assert_null(wk_checkpoint_tokenizer_json(c));
    assert_null(wk_checkpoint_tokenizer_config(c));
    assert_null(wk_checkpoint_chat_template(c));
    assert_int_equal(wk_checkpoint_n_tensor(c), 30);
    assert_null(wk_checkpoint_tensor(c, 30));
    const wk_tensor *t = wk_checkpoint_find(c, "model.layers.2.mlp.down_proj.weight");
    assert_true(t && t->dtype == WK_F32 && t->n_dim == 2);
    assert_null(wk_checkpoint_find(c, "model.layers.9.mlp.down_proj.weight"));
    wk_checkpoint_free(c);
    wk_checkpoint_free(NULL);
    wk_checkpoint_free(open_good("data/models/llama/", false));
}

static void test_shards(void **state) {
    (void)state;
    wk_checkpoint *c = open_good("data/models/llama-chat", false);
    assert_int_equal(wk_checkpoint_n_tensor(c), 29);
    for (size_t i = 0; i < 29; i++) assert_int_equal(wk_checkpoint_tensor(c, i)->dtype, WK_BF16);
    assert_non_null(wk_checkpoint_find(c, "model.embed_tokens.weight"));
    assert_non_null(wk_checkpoint_find(c, "model.norm.weight"));
    assert_non_null(wk_checkpoint_tokenizer_json(c));
    assert_non_null(wk_checkpoint_tokenizer_config(c));
    assert_non_null(strstr(wk_checkpoint_chat_template(c), "{%"));
    wk_checkpoint_free(c);
    c = open_good("data/models/llama-chat", true);
    assert_int_equal(wk_checkpoint_n_tensor(c), 0);
    assert_null(wk_checkpoint_find(c, "model.norm.weight"));
    assert_non_null(wk_checkpoint_tokenizer_json(c));
    wk_checkpoint_free(c);
}

static void test_gguf(void **state) {
    (void)state;
    wk_checkpoint *c = open_good("data/gguf/tiny.gguf", false);
    assert_non_null(wk_checkpoint_gguf(c));
    assert_null(wk_checkpoint_config(c));
    assert_int_equal(wk_checkpoint_n_tensor(c), 12);
    assert_non_null(wk_checkpoint_find(c, "token_embd.weight"));
    assert_null(wk_checkpoint_chat_template(c));
    wk_checkpoint_free(c);
    c = open_good("data/gguf/split-00001-of-00003.gguf", false);
    assert_non_null(wk_checkpoint_find(c, "c2"));
    wk_checkpoint_free(c);
    wk_checkpoint_free(open_good("data/gguf/vocab.gguf", true));
    c = open_good("bad/model/template-broken.gguf", false);
    assert_string_equal(wk_checkpoint_chat_template(c), "{% for m in messages %}{{ m.content }}");
    wk_checkpoint_free(c);
}

static void test_gptq(void **state) {
    (void)state;
    wk_checkpoint *c = open_good("data/models/llama-256-gptq-g32-actorder", false);
    const wk_tensor *t = wk_checkpoint_find(c, "model.layers.0.mlp.down_proj.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, WK_GPTQ);
    assert_true(t->shape[0] == 256 && t->shape[1] == 512);
    const wk_parts *p = t->parts;
    assert_true(p->bits == 4 && p->group == 32 && p->n_group == 16 && p->zero_more == 1 && p->g_idx);
    assert_int_equal(t->parts->scale_type, WK_F16);
    assert_int_equal(t->n_bytes, 256 * 512 / 2 + 16 * 256 / 2 + 16 * 256 * 2 + 512 * 4);
    assert_null(wk_checkpoint_find(c, "model.layers.0.mlp.down_proj.qweight"));
    assert_null(wk_checkpoint_find(c, "model.layers.0.mlp.down_proj.g_idx"));
    assert_int_equal(wk_checkpoint_find(c, "model.norm.weight")->dtype, WK_F32);
    wk_checkpoint_free(c);
}

/* One group for the whole row, 8 bits, zeros as they are, scales in float32. */
static void test_gptq_v2(void **state) {
    (void)state;
    static uint8_t qweight[16 * 4 * 4], qzeros[4], scales[4 * 4];
    for (int i = 0; i < 256; i++) qweight[i] = (uint8_t)i;
    for (int i = 0; i < 4; i++) qzeros[i] = (uint8_t)(10 * i);
    for (int i = 0; i < 4; i++) memcpy(scales + 4 * i, &(float){ (float)(i + 1) }, 4);
    wk_tensor t[] = {
        { WK_STR("m.qweight"), WK_I32, 2, { 16, 4, 1, 1 }, qweight, sizeof qweight, NULL },
        { WK_STR("m.qzeros"), WK_I32, 2, { 1, 1, 1, 1 }, qzeros, sizeof qzeros, NULL },
        { WK_STR("m.scales"), WK_F32, 2, { 1, 4, 1, 1 }, scales, sizeof scales, NULL },
    };
    put("config.json",
        "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":-1,\"checkpoint_format\":\"gptq_v2\"}}");
    assert_int_equal(wk_safetensors_write(path_of("model.safetensors"), t, 3), WICK_OK);
    wk_checkpoint *c = open_good(folder, false);
    const wk_tensor *w = wk_checkpoint_find(c, "m.weight");
    assert_true(w && w->shape[0] == 4 && w->shape[1] == 64);
    assert_true(w->parts->n_group == 1 && w->parts->zero_more == 0 && w->parts->bits == 8);
    float row[64];
    wk_tensor_row(w, 2, row);
    for (int i = 0; i < 64; i++) assert_true(row[i] == (float)(qweight[(i / 4 * 4 + 2) * 4 + i % 4] - 20) * 3);
    wk_checkpoint_free(c);
}

static void test_vocab_only_folder(void **state) {
    (void)state;
    assert_true(refused(folder, true, WICK_E_FORMAT, "is a folder without tokenizer.json"));
    put("tokenizer.json", "{\"model\":{}}");
    wk_checkpoint *c = open_good(folder, true);
    assert_non_null(wk_checkpoint_tokenizer_json(c));
    wk_checkpoint_free(c);
    assert_true(refused(folder, false, WICK_E_FORMAT, "without config.json"));
}

static void test_chat_templates(void **state) {
    (void)state;
    put("config.json", "{}");
    put_weights("model.safetensors");
    put("tokenizer_config.json",
        "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\"}]}");
    wk_checkpoint *c = open_good(folder, false);
    assert_string_equal(wk_checkpoint_chat_template(c), "D");
    wk_checkpoint_free(c);
    put("tokenizer_config.json", "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"T\"}]}");
    c = open_good(folder, false);
    assert_null(wk_checkpoint_chat_template(c));
    wk_checkpoint_free(c);
    put("tokenizer_config.json", "{\"chat_template\":\"S\"}");
    c = open_good(folder, false);
    assert_string_equal(wk_checkpoint_chat_template(c), "S");
    wk_checkpoint_free(c);
    put("chat_template.jinja", "J\n");  /* goes before the others */
    c = open_good(folder, false);
    assert_string_equal(wk_checkpoint_chat_template(c), "J\n");
    wk_checkpoint_free(c);
}

/* The one file goes before an index, as in transformers. */
static void test_single_before_index(void **state) {
    (void)state;
    put("config.json", "{}");
    put("model.safetensors.index.json", "{\"weight_map\":{\"x\":\"gone.safetensors\"}}");
    assert_true(refused(folder, false, WICK_E_IO, "gone.safetensors: No such file or directory, but the index names it"));
    put_weights("model.safetensors");
    wk_checkpoint *c = open_good(folder, false);
    assert_non_null(wk_checkpoint_find(c, "w"));
    wk_checkpoint_free(c);
}

/* ---- wrong ones ---- */

typedef struct bad { const char *name; wick_status st; const char *says; } bad;

static const bad bad_folders[] = {
    { "quant-method-unknown", WICK_E_UNSUPPORTED,
      "/config.json: quantization_config: quant_method is \"bitsandbytes\", wick reads gptq, awq, fp8" },
    { "config-cut", WICK_E_FORMAT, "/config.json: line 1, column 57: not JSON: premature end of input" },
    { "config-empty", WICK_E_FORMAT, "/config.json: line 1, column 0: not JSON: unexpected token near end of file" },
    { "config-key-twice", WICK_E_FORMAT, "/config.json: line 1, column 75: duplicate object key near '\"model_type\"'" },
    { "quant-config-text", WICK_E_FORMAT, "/config.json: quantization_config is \"fp8\", it must be an object" },
    { "config-nan", WICK_E_FORMAT, "/config.json: line 1, column 20: not JSON: invalid token near 'NaN'" },
    { "config-number-huge", WICK_E_FORMAT, "/config.json: line 1, column 22: not JSON: real number overflow near '1e999'" },
    { "generation-array", WICK_E_FORMAT, "/generation_config.json: holds JSON, but no object" },
    { "index-shards-swapped", WICK_E_FORMAT,
      "/model-00002-of-00002.safetensors: has no tensor \"a\", which the index says it has" },
    { "index-tensor-twice", WICK_E_FORMAT, "/model.safetensors.index.json: line 1, column 65: duplicate object key near '\"a\"'" },
    { "shard-twice", WICK_E_FORMAT, "/copy.safetensors: has no tensor \"b\", which the index says it has" },
    { "shards-share-tensor", WICK_E_FORMAT,
      "other.safetensors: tensor \"a\" is there twice: "
      "bad/folder/shards-share-tensor/model-00001-of-00001.safetensors has it too" },
    { "template-entry", WICK_E_FORMAT, "tokenizer_config.json: \"chat_template\" is neither text nor a list" },
    { "template-list", WICK_E_FORMAT, "tokenizer_config.json: \"chat_template\" is neither text nor a list" },
    { "template-number", WICK_E_FORMAT, "tokenizer_config.json: \"chat_template\" is neither text nor a list" },
    { "template-object", WICK_E_FORMAT, "tokenizer_config.json: \"chat_template\" is neither text nor a list" },
    { "tokenizer-config-string", WICK_E_FORMAT, "/tokenizer_config.json: holds JSON, but no object" },
    { "tokenizer-not-object", WICK_E_FORMAT, "/tokenizer.json: holds JSON, but no object" },
    { "config-array", WICK_E_FORMAT, "/config.json: holds JSON, but no object" },
    { "config-deep", WICK_E_FORMAT, "not JSON: maximum parsing depth" },
    { "config-invalid-utf8", WICK_E_FORMAT, "unable to decode byte 0xff" },
    { "config-not-json", WICK_E_FORMAT, "/config.json: line 1, column 20: not JSON" },
    { "gguf-inside", WICK_E_FORMAT, "is a folder with GGUF files: give one of the files" },
    { "gptq-3-bits", WICK_E_UNSUPPORTED, "bits is 3, wick reads GPTQ with 4 or 8" },
    { "gptq-and-weight", WICK_E_FORMAT, "has both \"m.weight\" and a quantised form of it" },
    { "gptq-bits-string", WICK_E_FORMAT, "\"bits\" has to be a whole number" },
    { "gptq-desc-act-no-g_idx", WICK_E_FORMAT, "GPTQ layer \"m\" has no g_idx" },
    { "gptq-g_idx-negative", WICK_E_FORMAT, "tensor \"m.g_idx\": element 63 is -1, it has to be in 0..1" },
    { "gptq-g_idx-range", WICK_E_FORMAT, "tensor \"m.g_idx\": element 63 is 2, it has to be in 0..1" },
    { "gptq-g_idx-shape", WICK_E_FORMAT, "GPTQ layer \"m\": g_idx is I32 [63], I32 [64] is needed" },
    { "gptq-group-0", WICK_E_FORMAT, "group_size is 0, it has to be -1 or in 1..1048576" },
    { "gptq-marlin", WICK_E_UNSUPPORTED, "checkpoint_format is \"marlin\"" },
    { "gptq-no-qzeros", WICK_E_FORMAT, "GPTQ layer \"m\" has no qzeros" },
    { "gptq-no-scales", WICK_E_FORMAT, "GPTQ layer \"m\" has no scales" },
    { "gptq-qweight-dimensions", WICK_E_FORMAT, "qweight is I32 [8, 16, 1], I32 [any, any] is needed" },
    { "gptq-qweight-odd", WICK_E_FORMAT, "has shape [8, 15]; its second dimension has to be a multiple of 8" },
    { "gptq-qweight-type", WICK_E_FORMAT, "qweight is F32" },
    { "gptq-qzeros-shape", WICK_E_FORMAT, "qzeros is I32 [2, 16], I32 [2, 2] is needed" },
    { "gptq-scales-shape", WICK_E_FORMAT, "scales is F16 [3, 16], F32, F16 or BF16 [2, 16] is needed" },
    { "gptq-scales-type", WICK_E_FORMAT, "scales is I32 [2, 16], F32, F16 or BF16 [2, 16] is needed" },
    { "index-absolute", WICK_E_FORMAT,
      "weight_map \"a\" names the file \"/etc/passwd\"; only files in the folder itself are read" },
    { "index-array", WICK_E_FORMAT, "model.safetensors.index.json: holds JSON, but no object" },
    { "index-dotdot", WICK_E_FORMAT, "names the file \"../no-config/model.safetensors\"" },
    { "index-empty-name", WICK_E_FORMAT, "names the file \"\"" },
    { "index-folder", WICK_E_FORMAT, "names the file \"..\"" },
    { "index-map-array", WICK_E_FORMAT, "has no object \"weight_map\"" },
    { "index-missing-shard", WICK_E_IO, "model-00002-of-00002.safetensors: No such file or directory, but the index names it" },
    { "index-missing-tensor", WICK_E_FORMAT,
      "/model-00001-of-00001.safetensors: has no tensor \"b\", which the index says it has" },
    { "index-no-map", WICK_E_FORMAT, "has no object \"weight_map\"" },
    { "index-nul", WICK_E_FORMAT, "names the file \"model-00001-of-00001.safetensors?x\"" },
    { "index-number", WICK_E_FORMAT, "weight_map \"a\": a file's name is needed" },
    { "no-config", WICK_E_FORMAT, "is a folder without config.json" },
    { "no-weights", WICK_E_FORMAT, "has neither model.safetensors nor model.safetensors.index.json" },
    { "pickle", WICK_E_UNSUPPORTED, "convert them: python3 -c \"from transformers import" },
    { "pointer-tokenizer", WICK_E_FORMAT, "/tokenizer.json: is a Git LFS pointer" },
    { "pointer-weights", WICK_E_FORMAT, "/model.safetensors: is a Git LFS pointer" },
    { "quant-method-missing", WICK_E_UNSUPPORTED, "quant_method is \"\"" },
    { "shard-cut", WICK_E_FORMAT,
      "/model-00001-of-00001.safetensors: tensor \"a\": data_offsets are [0, 16], the file has 13 bytes" },
    { "template-nul", WICK_E_FORMAT, "tokenizer_config.json: chat_template holds a NUL byte" },
    { "tokenizer-model", WICK_E_UNSUPPORTED, "has tokenizer.model but no tokenizer.json; make one: python3 -c" },
};

static void test_bad_folders(void **state) {
    (void)state;
    size_t n = 0;
    DIR *d = opendir("bad/folder");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    assert_int_equal(n, sizeof bad_folders / sizeof *bad_folders);  /* none is forgotten here */
    for (size_t i = 0; i < n; i++) {
        char path[128];
        snprintf(path, sizeof path, "bad/folder/%s", bad_folders[i].name);
        if (!refused(path, false, bad_folders[i].st, bad_folders[i].says)) fail();
    }
}

static void test_other_files(void **state) {
    (void)state;
    static const struct { const char *content; wick_status st; const char *says; } other[] = {
        { "", WICK_E_FORMAT, "is empty" },
        { "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", WICK_E_FORMAT, "is a Git LFS pointer" },
        { "PK\3\4archive", WICK_E_UNSUPPORTED, "is a pickle file" },
        { "\x80\2pickle", WICK_E_UNSUPPORTED, "is a pickle file" },
        { "{\"model_type\":\"llama\"}", WICK_E_FORMAT, "give the folder that it is in" },
        { "<!DOCTYPE html>", WICK_E_FORMAT, "looks like a web page" },
        { "x", WICK_E_FORMAT, "is neither a GGUF file nor a Hugging Face folder; it begins with bytes 78 00 00 00" },
        { "GGUF", WICK_E_FORMAT, "looks cut off" },
    };
    put("model.gguf", "");
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        FILE *f = fopen(made[0], "wb");
        fputs(other[i].content, f);
        fclose(f);
        if (!refused(made[0], false, other[i].st, other[i].says)) fail();
    }
    if (!refused("data/models/llama/model.safetensors", false, WICK_E_FORMAT, "give the folder")) fail();
    if (!refused("data/models/none", false, WICK_E_IO, "data/models/none: No such file")) fail();
    if (!refused("/dev/null", false, WICK_E_IO, "is not a regular file")) fail();
}

/* What stands where a file should, and is none or cannot be read: never waited for, never taken for absent. */
static void test_odd_files(void **state) {
    (void)state;
    char path[300], config[300];
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    snprintf(config, sizeof config, "%s/config.json", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(refused(path, false, WICK_E_IO, "model.gguf: is not a regular file"));
    unlink(path);
    assert_int_equal(symlink("model.gguf", path), 0);
    assert_true(refused(path, false, WICK_E_IO, "model.gguf: Too many levels of symbolic links"));
    unlink(path);
    assert_int_equal(symlink("gone", path), 0);
    assert_true(refused(path, false, WICK_E_IO, "model.gguf: No such file or directory"));
    unlink(path);
    assert_int_equal(symlink("gone", config), 0);
    assert_true(refused(folder, false, WICK_E_IO, "config.json: is a link to a file that is not there"));
    unlink(config);
    assert_int_equal(symlink("config.json", config), 0);
    assert_true(refused(folder, false, WICK_E_IO, "config.json: Too many levels of symbolic links"));
    unlink(config);
    assert_int_equal(symlink("/dev/zero", config), 0);
    assert_true(refused(folder, false, WICK_E_IO, "config.json: is not a regular file"));
    unlink(config);
    assert_int_equal(mkdir(config, 0700), 0);
    assert_true(refused(folder, false, WICK_E_IO, "config.json: is a folder, a file is needed"));
    rmdir(config);
    FILE *f = fopen(config, "w");
    for (int i = 0; i < 100000; i++) fputc('[', f);
    fclose(f);
    assert_true(refused(folder, false, WICK_E_FORMAT, "config.json: line 1, column 2049: not JSON: maximum parsing depth reached"));
    assert_int_equal(truncate(config, 100 << 20), 0);
    assert_true(refused(folder, false, WICK_E_LENGTH, "config.json: has 104857600 bytes, at most 4194304 are read"));
    f = fopen(config, "w");
    for (int i = 0; i < 4 << 20; i++) fputc(' ', f);  /* as much as is read, and nothing in it */
    fclose(f);
    assert_true(refused(folder, false, WICK_E_FORMAT, "config.json: line 1, column 4194304: not JSON: unexpected token near end"));
    unlink(config);
}

/* Files that the formats take and that the layers above have to refuse. */
static void test_bad_models_open_here(void **state) {
    (void)state;
    DIR *d = opendir("bad/model");
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[300];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "bad/model/%s", e->d_name);
        wk_checkpoint_free(open_good(path, false));
        n++;
    }
    closedir(d);
    assert_true(n > 40);
}

static void test_every_allocation_fails(void **state) {
    (void)state;
    static const char *const paths[] = { "data/gguf/tiny.gguf", "data/models/llama-chat",
                                         "data/models/llama-256-gptq-g32-actorder" };
    for (size_t i = 0; i < 3; i++)
        for (uint64_t k = 1;; k += k < 300 ? 1 : 61) {  /* thousands are a vocabulary's, all alike */
            wk_checkpoint *c;
            uint64_t before = wk_alloc_count();
            wk_alloc_fail_at(k);
            wick_status st = wk_checkpoint_open(paths[i], false, &c);
            bool reached = wk_alloc_count() - before >= k;
            wk_alloc_fail_at(0);
            if (st != (reached ? WICK_E_MEMORY : WICK_OK)) fail_msg("%s, allocation %d: %s", paths[i], (int)k, wick_last_error());
            assert_true((c == NULL) == reached);
            wk_checkpoint_free(c);
            if (!reached) break;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_gguf),
        cmocka_unit_test(test_gptq),
        cmocka_unit_test_setup_teardown(test_gptq_v2, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_vocab_only_folder, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_chat_templates, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_single_before_index, new_folder, remove_folder),
        cmocka_unit_test(test_bad_folders),
        cmocka_unit_test_setup_teardown(test_other_files, new_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_odd_files, new_folder, remove_folder),
        cmocka_unit_test(test_bad_models_open_here),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
