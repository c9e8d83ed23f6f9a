/* to_folder.c: a Hugging Face folder: config.json, generation_config.json, the tokenizer's files, and the weights in one
 * safetensors file or in shards with an index. Names and meaning: transformers' configuration classes, spelled as its version 4 did
 * (rope_theta, rope_scaling), which version 5 and everything else read. All of it is written into a folder of another name,
 * which gets its own only once it is whole. Load: JSON of some kilobytes, tokenizer.json of some megabytes, the weights. */
#include "convert/conversion.h"
#include "base/file.h"
#include "generate/generate.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARD_BYTES 5000000000u  /* transformers' "5GB" */

/* ---- JSON, a member a line ---- */

static void put_name(wk_buf *b, const char *name) {
    wk_buf_str(b, b->len > 1 ? ",\n  " : "\n  ");
    wk_json_put_str(b, name, strlen(name));
    wk_buf_str(b, ": ");
}
static void put_text(wk_buf *b, const char *name, const char *s) {
    put_name(b, name);
    wk_json_put_str(b, s, strlen(s));
}
static void put_number(wk_buf *b, const char *name, double v) {
    put_name(b, name);
    wk_json_put_num(b, v);
}
static void put_real(wk_buf *b, const char *name, double v) {  /* 10000.0: a whole real is no integer to a strict reader */
    put_name(b, name);
    if (v == floor(v) && fabs(v) < 1e15) wk_buf_printf(b, "%.1f", v);
    else if ((double)(float)v == v) wk_json_put_float(b, (float)v);  /* GGUF's: 1e-05, not 9.99999974e-06 */
    else wk_json_put_num(b, v);
}
static void put_truth(wk_buf *b, const char *name, bool v) {
    put_name(b, name);
    wk_buf_str(b, v ? "true" : "false");
}
static void open_object(wk_buf *b) { wk_buf_char(b, '{'); }
static void close_object(wk_buf *b) { wk_buf_str(b, "\n}\n"); }

/* folder/name with these bytes. */
static wick_status write_text(const char *folder, const char *name, const wk_buf *b) {
    if (b->failed) return wk_fail_memory(b->len, name);
    char *path = wk_path_join(folder, name);
    if (!path) return wk_fail_memory(strlen(folder), "a file's name");
    wick_status st = wk_file_write(path, &(wk_str){ b->ptr, b->len }, 1);
    wk_free(path);
    return st;
}

/* ---- config.json ---- */

static const char *act_name(wk_act act) {
    static const char *const names[] = { [WK_ACT_SILU] = "silu", [WK_ACT_GELU_TANH] = "gelu_pytorch_tanh", [WK_ACT_GELU] = "gelu",
                                         [WK_ACT_SWIGLU_CLIPPED] = "silu" };
    return names[act];
}

static const char *torch_name(wk_dtype t) { return t == WK_F32 ? "float32" : t == WK_F16 ? "float16" : "bfloat16"; }

/* Do float32 factors say this scaling? Others' converters compute them in float32. */
static bool same_factors(const wk_rope_params *p, const float *want, int64_t n) {
    float *f = wk_alloc_array((size_t)n, sizeof *f);
    bool same = f != NULL;
    if (f) wk_rope_llama3_factors(p, 2 * n, f);
    for (int64_t i = 0; same && i < n; i++) same = fabsf(f[i] - want[i]) <= 1e-4f * want[i];
    wk_free(f);
    return same;
}

/* GGUF has only the factors of rope scaling "llama3": which parameters give them? Its models share low 1 and high 4 (or differ
 * in a way that scales out), so the largest factor and the original context are what is looked for. */
static wick_status find_llama3(const wk_conversion *c, wk_rope_params *p) {
    char name[64];
    wk_arch_tensor_name(c->m->hp.arch, NULL, WK_T_ROPE_FACTORS, 0, -1, 0, "weight", name, sizeof name);
    const wk_tensor *t = wk_checkpoint_find(c->m->ckpt, name);
    if (!t) return WICK_OK;
    int64_t n = wk_tensor_cols(t);
    float *want = wk_alloc_array((size_t)n, sizeof *want);
    if (!want) return wk_fail_memory((size_t)n * sizeof *want, "rope factors");
    wk_tensor_row(t, 0, want);
    bool found = false;
    p->kind = WK_ROPE_LLAMA3;
    p->low_freq_factor = 1;
    p->high_freq_factor = 4;
    p->factor = (double)want[0];
    for (int64_t i = 0; i < n; i++)  /* fmax() here crashes GCC 12 for aarch64 */
        if ((double)want[i] > p->factor) p->factor = (double)want[i];
    for (p->original_ctx = 8192; !found && p->original_ctx; p->original_ctx = p->original_ctx == 8192 ? 16 : p->original_ctx * 2) {
        if ((found = same_factors(p, want, n))) break;
        if (p->original_ctx > 1 << 24) break;
    }
    wk_free(want);
    return found ? WICK_OK
                 : wk_fail(WICK_E_UNSUPPORTED, "%s: tensor \"%s\" is no \"llama3\" rope scaling, which is what config.json "
                                               "could say",
                           c->from, name);
}

static void put_factors(wk_buf *b, const char *name, const float *f, int64_t n) {
    put_name(b, name);
    for (int64_t i = 0; i < n; i++) {
        wk_buf_str(b, i ? ", " : "[");
        wk_json_put_float(b, f[i]);
    }
    wk_buf_char(b, ']');
}

static wick_status put_rope(const wk_conversion *c, wk_buf *b) {
    wk_rope_params p = c->m->hp.rope;
    wick_status st = find_llama3(c, &p);
    if (st) return st;
    if (p.kind == WK_ROPE_DEFAULT) return WICK_OK;
    put_name(b, "rope_scaling");
    wk_buf r = { 0 };
    open_object(&r);
    put_text(&r, "rope_type", wk_rope_name(p.kind));
    if (p.kind != WK_ROPE_LONG) put_real(&r, "factor", p.factor);
    if (p.kind == WK_ROPE_LONG) {
        put_factors(&r, "short_factor", c->m->hp.rope_short, c->m->hp.rot_dim / 2);
        put_factors(&r, "long_factor", c->m->hp.rope_long, c->m->hp.rot_dim / 2);
    }
    if (p.kind >= WK_ROPE_LLAMA3) put_number(&r, "original_max_position_embeddings", (double)p.original_ctx);
    if (p.kind == WK_ROPE_LLAMA3) {
        put_real(&r, "low_freq_factor", p.low_freq_factor);
        put_real(&r, "high_freq_factor", p.high_freq_factor);
    }
    if (p.kind == WK_ROPE_YARN) {
        put_real(&r, "beta_fast", p.beta_fast);
        put_real(&r, "beta_slow", p.beta_slow);
        if (p.unrounded) put_truth(&r, "truncate", false);
    }
    if (p.kind >= WK_ROPE_YARN && p.attention_factor > 0) put_real(&r, "attention_factor", p.attention_factor);
    wk_buf_str(&r, "\n  }");
    if (r.failed) b->failed = true;
    else wk_buf_add(b, r.ptr, r.len);
    wk_buf_free(&r);
    return st;
}

/* Layers that see only the window, dense layers among experts: where a model has such. */
static void put_layers(const wk_hparams *hp, wk_buf *b) {
    if (hp->window) {
        put_truth(b, "use_sliding_window", true);
        put_name(b, "layer_types");
        for (int64_t i = 0; i < hp->n_layer; i++)
            wk_buf_printf(b, "%s\"%s\"", i ? ", " : "[", hp->windowed[i] ? "sliding_attention" : "full_attention");
        wk_buf_char(b, ']');
    }
    if (!(hp->features & WK_MOE)) return;
    bool first = true;
    put_name(b, "mlp_only_layers");
    wk_buf_char(b, '[');
    for (int64_t i = 0; i < hp->n_layer; i++)
        if (hp->dense[i]) {
            wk_buf_printf(b, "%s%" PRId64, first ? "" : ", ", i);
            first = false;
        }
    wk_buf_char(b, ']');
    put_number(b, "num_local_experts", (double)hp->n_expert);
    put_truth(b, "norm_topk_prob", hp->norm_topk);
}

/* An id, or null: left out it would be one of transformers' defaults. */
static void put_id(wk_buf *b, const char *name, int64_t id) {
    if (id >= 0) put_number(b, name, (double)id);
    else {
        put_name(b, name);
        wk_buf_str(b, "null");
    }
}

static void put_ends(const wk_tokenizer *t, wk_buf *b) {
    int n = 0;
    for (int32_t id = 0; id < wk_tokenizer_n_vocab(t); id++) {
        if (!wk_tokenizer_is_end(t, id)) continue;
        if (!n) put_name(b, "eos_token_id");
        wk_buf_printf(b, "%s%d", n++ ? ", " : "[", id);
    }
    if (n) wk_buf_char(b, ']');
}

static void put_ids(const wk_conversion *c, wk_buf *b, bool all_ends) {
    const wk_tokenizer *t = c->m->tokenizer;
    const wk_gguf *g = wk_checkpoint_gguf(c->m->ckpt);
    int64_t pad = -1;
    bool found;
    put_id(b, "bos_token_id", t ? wk_tokenizer_bos(t) : -1);
    if (t && all_ends) put_ends(t, b);
    else put_id(b, "eos_token_id", t ? wk_tokenizer_eos(t) : -1);
    if (t && wk_gguf_int(g, "tokenizer.ggml.padding_token_id", 0, wk_tokenizer_n_vocab(t) - 1, &pad, &found)) pad = -1;
    put_id(b, "pad_token_id", pad);
}

static wick_status put_config(const wk_conversion *c, wk_buf *b) {
    const wk_model *m = c->m;
    const wk_hparams *hp = &m->hp;
    const wk_layer *l = &m->layer[0];
    wk_hparam p;
    open_object(b);
    put_name(b, "architectures");
    wk_buf_printf(b, "[\"%s\"]", hp->arch->hf);
    put_text(b, "model_type", wk_arch_hf_type(hp->arch));
    if (hp->name) put_text(b, "_name_or_path", hp->name);
    for (size_t i = 0; wk_hparams_key(hp, i, false, &p); i++) {
        if (!p.name || (p.value == 0 && !p.zero_said)) continue;
        if (p.value == 0) {
            put_name(b, p.name);
            wk_buf_str(b, "null");
        } else if (p.integer) put_number(b, p.name, p.value);
        else put_real(b, p.name, p.value);
    }
    wick_status st = put_rope(c, b);
    put_layers(hp, b);
    if (hp->rot_dim != hp->head_dim) put_real(b, "partial_rotary_factor", (double)hp->rot_dim / (double)hp->head_dim);
    put_text(b, "hidden_act", act_name(hp->act));
    put_text(b, "hidden_activation", act_name(hp->act));
    if (!(hp->features & WK_QKV_BIAS)) put_truth(b, "attention_bias", l->bias[WK_T_O] || l->bias[WK_T_Q]);
    put_truth(b, "mlp_bias", l->bias[WK_T_GATE]);
    put_truth(b, "tie_word_embeddings", hp->features & WK_TIED);
    put_text(b, "torch_dtype", torch_name(c->type));
    put_ids(c, b, false);
    close_object(b);
    return st;
}

/* What the file says of sampling, with wick's own defaults where it says some of it only. */
static wick_status put_generation(const wk_conversion *c, wk_buf *b) {
    const wk_gguf *g = wk_checkpoint_gguf(c->m->ckpt);
    wick_model m = { .m = c->m };
    bool said = false;
    for (size_t i = 0; i < wk_gguf_n_key(g); i++) {
        wk_gguf_type type, element;
        uint64_t n;
        wk_str key = wk_gguf_key(g, i, &type, &element, &n);
        said = said || (key.len > 17 && !memcmp(key.ptr, "general.sampling.", 17));
    }
    wick_status st = said ? wk_defaults_read(&m) : WICK_OK;
    open_object(b);
    put_ids(c, b, true);
    if (said && !st) {
        put_truth(b, "do_sample", m.defaults.temperature > 0);
        if (m.defaults.temperature > 0) put_real(b, "temperature", (double)m.defaults.temperature);
        put_number(b, "top_k", m.defaults.top_k);
        put_real(b, "top_p", (double)m.defaults.top_p);
        put_real(b, "min_p", (double)m.defaults.min_p);
        if (m.defaults.repeat_penalty != 1) put_real(b, "repetition_penalty", (double)m.defaults.repeat_penalty);
    }
    close_object(b);
    return st;
}

/* ---- the tokenizer's files ---- */

static void put_token(const wk_conversion *c, wk_buf *b, const char *name, const char *key, int32_t id) {
    const wk_tokenizer *t = c->m->tokenizer;
    int64_t v = id;
    bool found = id >= 0;
    if (key && wk_gguf_int(wk_checkpoint_gguf(c->m->ckpt), key, 0, wk_tokenizer_n_vocab(t) - 1, &v, &found)) found = false;
    if (!found) return;
    wk_str s = wk_tokenizer_entry(t, (int32_t)v);
    put_name(b, name);
    wk_json_put_str(b, s.ptr, s.len);
}

static wick_status put_tokenizer_config(const wk_conversion *c, wk_buf *b) {
    const wk_tokenizer *t = c->m->tokenizer;
    bool bos, eos;
    wick_status st = wk_tokenizer_adds(c, wk_tokenizer_bos(t), wk_tokenizer_eos(t), &bos, &eos);
    open_object(b);
    put_text(b, "tokenizer_class", "PreTrainedTokenizerFast");
    put_token(c, b, "bos_token", NULL, wk_tokenizer_bos(t));
    put_token(c, b, "eos_token", NULL, wk_tokenizer_eos(t));
    put_token(c, b, "unk_token", "tokenizer.ggml.unknown_token_id", -1);
    put_token(c, b, "pad_token", "tokenizer.ggml.padding_token_id", -1);
    put_truth(b, "add_bos_token", bos);
    put_truth(b, "add_eos_token", eos);
    put_truth(b, "clean_up_tokenization_spaces", false);
    if (c->m->hp.n_ctx) put_number(b, "model_max_length", (double)c->m->hp.n_ctx);
    if (c->m->chat_text) put_text(b, "chat_template", c->m->chat_text);
    close_object(b);
    return st;
}

static wick_status write_text_files(const wk_conversion *c, const char *folder) {
    static const struct { const char *name; wick_status (*put)(const wk_conversion *c, wk_buf *b); bool text; } files[] = {
        { "config.json", put_config, false },       { "generation_config.json", put_generation, false },
        { "tokenizer.json", wk_put_tokenizer_json, true }, { "tokenizer_config.json", put_tokenizer_config, true },
    };
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < sizeof files / sizeof *files; i++) {
        wk_buf b = { 0 };
        if (files[i].text ? !c->m->tokenizer : c->vocab_only) continue;
        st = files[i].put(c, &b);
        if (!st) st = write_text(folder, files[i].name, &b);
        wk_buf_free(&b);
    }
    wk_buf chat = { .ptr = c->m->chat_text, .len = c->m->chat_text ? strlen(c->m->chat_text) : 0 };
    return st || !chat.ptr ? st : write_text(folder, "chat_template.jinja", &chat);
}

/* ---- weights ---- */

/* Where shards are cut: *n of them, the k-th beginning at tensor from[k] (from[*n] = c->n). */
static wick_status cut_shards(const wk_conversion *c, size_t **from, size_t *n) {
    uint64_t limit = c->o->max_shard_bytes ? c->o->max_shard_bytes : SHARD_BYTES, bytes = 0;
    *n = 0;
    *from = wk_alloc_array(c->n + 2, sizeof **from);
    if (!*from) return wk_fail_memory(c->n * sizeof **from, "a list of shards");
    for (size_t i = 0; i < c->n; i++) {
        if (!i || bytes + c->t[i].n_bytes > limit) {
            (*from)[(*n)++] = i;
            bytes = 0;
        }
        bytes += c->t[i].n_bytes;
    }
    (*from)[*n] = c->n;
    return WICK_OK;
}

static void shard_name(size_t k, size_t n, char out[64]) {
    if (n == 1) snprintf(out, 64, "model.safetensors");
    else snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", k + 1, n);
}

static wick_status write_index(const wk_conversion *c, const char *folder, const size_t *from, size_t n) {
    wk_buf b = { 0 };
    wk_buf_printf(&b, "{\n  \"metadata\": {\"total_size\": %" PRIu64 "},\n  \"weight_map\": {", c->total);
    for (size_t k = 0, i = 0; k < n; k++)
        for (char name[64]; i < from[k + 1]; i++) {
            shard_name(k, n, name);
            wk_buf_str(&b, i ? ",\n    " : "\n    ");
            wk_json_put_str(&b, c->t[i].name.ptr, c->t[i].name.len);
            wk_buf_printf(&b, ": \"%s\"", name);
        }
    wk_buf_str(&b, "\n  }\n}\n");
    wick_status st = write_text(folder, "model.safetensors.index.json", &b);
    wk_buf_free(&b);
    return st;
}

static wick_status write_weights(wk_conversion *c, const char *folder) {
    size_t *from = NULL, n = 0;
    wick_status st = cut_shards(c, &from, &n);
    for (size_t k = 0; !st && k < n; k++) {
        char name[64];
        shard_name(k, n, name);
        char *path = wk_path_join(folder, name);
        st = path ? wk_safetensors_put(path, c->t + from[k], from[k + 1] - from[k], wk_convert_fill, c)
                  : wk_fail_memory(strlen(folder), "a file's name");
        wk_free(path);
    }
    if (!st && n > 1) st = write_index(c, folder, from, n);
    wk_free(from);
    return st;
}

wick_status wk_check_folder_copy(const wk_conversion *c) {
    const char *instead = c->n_trained ? "train an adapter, or a GGUF file made from it" : "merge into a GGUF file";
    if (json_object_get(wk_checkpoint_config(c->m->ckpt), "quantization_config"))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: is quantised, its config.json would not fit a folder of floats: %s", c->from,
                       instead);
    if (c->m->hp.wrapped)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: holds parts for pictures, which would be lost: %s", c->from, instead);
    return WICK_OK;
}

/* Behind a key, in its quotes, of the text's outermost object; NULL: it has none. */
static char *behind_key(char *text, const char *key) {
    size_t n = strlen(key);
    int depth = 0;
    for (char *p = text; *p; p++) {
        if (*p == '{' || *p == '[') depth++;
        if (*p == '}' || *p == ']') depth--;
        if (*p != '"') continue;
        if (depth == 1 && !strncmp(p, key, n) && p[n + strspn(p + n, " \t\r\n")] == ':') return p + n;
        for (p++; *p && *p != '"'; p++) if (*p == '\\' && p[1]) p++;
        if (!*p) break;
    }
    return NULL;
}

/* config.json of float32 weights: transformers would round them to the type that it names. All else stays byte for byte. */
static void say_float32(wk_buf *b) {
    static const char *const keys[] = { "\"torch_dtype\"", "\"dtype\"" };
    for (size_t i = 0; !b->failed && i < sizeof keys / sizeof *keys; i++) {
        char *at = behind_key(b->ptr, keys[i]);
        wk_buf out = { 0 };
        if (at) at += strspn(at, " \t\r\n:");
        if (!at || *at != '"') continue;  /* not said, or null */
        wk_buf_add(&out, b->ptr, (size_t)(at - b->ptr));
        wk_buf_str(&out, "\"float32\"");
        at += 1 + strcspn(at + 1, "\"");
        wk_buf_str(&out, at + (*at == '"'));
        wk_buf_free(b);
        *b = out;
    }
}

/* config.json of a head that is the embedding no longer: some families have them tied unless it says otherwise. */
static void say_untied(wk_buf *b) {
    static const char key[] = "\"tie_word_embeddings\"";
    wk_buf out = { 0 };
    char *at = b->ptr, *said = behind_key(at, key), *brace = strchr(at, '{');
    if (!brace) return;
    char *from = said ? said : brace + 1, *rest = from;
    wk_buf_add(&out, at, (size_t)(from - at));
    if (said) {
        rest += strspn(rest, " \t\r\n:");
        rest += strcspn(rest, " \t\r\n,}");
        wk_buf_str(&out, ": false");
    } else wk_buf_printf(&out, "\n  %s: false%s", key, strchr(brace + 1, '"') ? "," : "");
    wk_buf_str(&out, rest);
    wk_buf_free(b);
    *b = out;
}

static const char *const text_files[] = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
};
enum { N_TEXT_FILE = sizeof text_files / sizeof *text_files };

/* From a folder, with adapters or trained weights: what lies around the weights is as it was. */
static wick_status copy_text_files(const wk_conversion *c, const char *folder) {
    wick_status st = wk_check_folder_copy(c);
    for (size_t i = 0; !st && i < N_TEXT_FILE; i++) {
        char *path = wk_path_join(c->from, text_files[i]);
        wk_buf b = { 0 };
        bool there = false;
        st = path ? wk_file_look(path, &there) : wk_fail_memory(strlen(c->from), "a file's name");
        if (!st && there) st = wk_file_read(path, 1u << 30, &b);
        if (!st && there && i == 0 && c->n_trained) say_float32(&b);
        if (!st && there && i == 0 && c->untied && !b.failed) say_untied(&b);
        if (!st && there) st = write_text(folder, text_files[i], &b);
        wk_buf_free(&b);
        wk_free(path);
    }
    return st;
}

/* No weights of another model may stay beside the new ones. */
static bool is_weights(const char *name) {
    static const char end[] = ".safetensors";
    size_t n = strlen(name), m = sizeof end - 1;
    return !strcmp(name, "model.safetensors.index.json") || (!strncmp(name, "model", 5) && n >= m && !strcmp(name + n - m, end));
}

static bool is_ours(const char *name) {
    bool text = false;
    for (size_t i = 0; i < N_TEXT_FILE && !text; i++) text = !strcmp(name, text_files[i]);
    return text || is_weights(name);
}

void wk_model_folder_remove(const char *path) {
    wk_folder_clear(path, is_ours);
    rmdir(path);
}

wick_status wk_model_folder_recover(const char *path) {
    return wk_folder_recover(path, wk_folder_has(path, ".safetensors") ? is_weights : NULL);
}

/* Of a link the folder behind it, without a slash at the end. */
static char *real_name(const char *to) {
    char *real = wk_path_real(to);
    size_t n = real ? strlen(real) : 0;
    while (n > 1 && real[n - 1] == '/') real[--n] = 0;
    return real;
}

/* A folder is replaced as a whole, by its name: what cannot be renamed is refused before gigabytes are written. */
wick_status wk_check_folder_name(const char *to) {
    char *real = real_name(to);
    if (!real) return wk_fail_memory(strlen(to), "a folder's name");
    const char *slash = strrchr(real, '/');
    wk_buf parent = { 0 };
    struct stat at, above;
    wk_buf_printf(&parent, "%.*s", slash ? (int)(slash - real) + 1 : 1, slash ? real : ".");
    bool there = !stat(real, &at);  /* else it is made new */
    bool failed = parent.failed, mounted = there && !failed && !stat(parent.ptr, &above) && above.st_dev != at.st_dev;
    bool here = there && wk_same_file(real, ".");
    wk_buf_free(&parent);
    wk_free(real);
    if (failed) return wk_fail_memory(strlen(to), "a folder's name");
    if (!mounted && !here) return WICK_OK;
    return wk_fail(WICK_E_IO, "%s: is %s, which cannot be replaced as a whole; name a folder in it", to,
                   mounted ? "where a file system is mounted" : "the working directory");
}

wick_status wk_write_folder(wk_conversion *c) {
    wk_buf tmp = { 0 };
    char *real = real_name(c->to);
    int lock = -1;
    wk_buf_printf(&tmp, "%s.tmp-%ld", real ? real : "", (long)getpid());
    wick_status st = !real || tmp.failed ? wk_fail_memory(strlen(c->to), "a folder's name")
                                         : wk_check_space(c, c->total + (1 << 20));
    wk_hparams *hp = &c->m->hp;
    if (hp->query_scalar == 0) hp->query_scalar = (double)hp->head_dim;  /* said, because families have other defaults */
    if (!st) st = wk_model_folder_recover(real);
    if (!st) {
        wk_folder_remove(tmp.ptr);  /* an earlier process of this number may have died where there are no locks */
        st = wk_folder_make(tmp.ptr);
        if (!st) st = wk_folder_lock(tmp.ptr, &lock);  /* others let it be */
        if (!st) st = (wk_checkpoint_gguf(c->m->ckpt) ? write_text_files : copy_text_files)(c, tmp.ptr);
        if (!st && !c->vocab_only) st = write_weights(c, tmp.ptr);
        if (!st) st = wk_folder_replace(tmp.ptr, real, c->vocab_only ? NULL : is_weights);
        if (st) wk_folder_remove(tmp.ptr);
    }
    wk_folder_unlock(lock);
    wk_free(real);
    wk_buf_free(&tmp);
    return st;
}
