/* checkpoint.c: finds out what a path holds and gives its tensors and its metadata files under one roof.
 * Layouts: a GGUF file; a Hugging Face folder as transformers' save_pretrained() writes it (config.json, model.safetensors or
 * model.safetensors.index.json with shards, tokenizer files); GPTQ layers as AutoGPTQ's checkpoints have them.
 * Load: one file of 0.1-40 GB, or 1-200 shards with up to 100,000 tensors; tokenizer.json up to 40 MB.
 * The files are a stranger's: shards are plain names in the folder, JSON files have size limits, layers' arrays are checked
 * against each other before anything reads them. */
#include "format/checkpoint.h"
#include "base/file.h"
#include "format/names.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SHARD = 1024, MAX_TENSOR = 1 << 20 };

struct wk_checkpoint {
    char *path;
    wk_gguf *gguf;
    wk_safetensors **shard;  /* [n_shard] */
    size_t n_shard;
    wk_tensor *tensor;       /* [n_tensor] copies; names and data stay the files' */
    size_t n_tensor;
    wk_names names;
    json_t *config, *generation_config, *tokenizer_json, *tokenizer_config;
    char *chat_template;
    wk_arena own;            /* GPTQ descriptions and the names of their tensors */
};

/* The files of a folder that wick reads. */
static const struct { const char *name; size_t limit; size_t field; } files[] = {
    { "config.json", 16 << 20, offsetof(wk_checkpoint, config) },
    { "generation_config.json", 16 << 20, offsetof(wk_checkpoint, generation_config) },
    { "tokenizer.json", 256 << 20, offsetof(wk_checkpoint, tokenizer_json) },
    { "tokenizer_config.json", 64 << 20, offsetof(wk_checkpoint, tokenizer_config) },
};
enum { TEMPLATE_LIMIT = 16 << 20, INDEX_LIMIT = 256 << 20 };

/* folder/name into *out (new) and whether it is there. */
static wick_status look(const char *folder, const char *name, char **out, bool *there) {
    *there = false;
    if (!(*out = wk_path_join(folder, name))) return wk_fail_memory(strlen(folder) + strlen(name), "a file's name");
    *there = wk_file_exists(*out);
    return WICK_OK;
}

static wick_status there_is(const char *folder, const char *name, bool *there) {
    char *path;
    wick_status st = look(folder, name, &path, there);
    wk_free(path);
    return st;
}

/* A JSON object from folder/name; NULL if there is no such file. */
static wick_status read_object(const char *folder, const char *name, size_t limit, json_t **out) {
    char *path;
    bool there;
    *out = NULL;
    wick_status st = look(folder, name, &path, &there);
    if (!st && there) st = wk_json_read(path, limit, out);
    if (!st && there && !json_is_object(*out)) st = wk_fail(WICK_E_FORMAT, "%s: holds JSON, but no object", path);
    wk_free(path);
    return st;
}

/* ---- chat template ---- */

static wick_status set_template(wk_checkpoint *c, const char *text, size_t n, const char *where) {
    if (memchr(text, 0, n)) return wk_fail(WICK_E_FORMAT, "%s: %s holds a NUL byte", c->path, where);
    return (c->chat_template = wk_strdup_n(text, n)) ? WICK_OK : wk_fail_memory(n, "a chat template");
}

/* tokenizer_config.json's: a string, or [{"name":"default","template":"..."},...]. */
static wick_status template_from_config(wk_checkpoint *c) {
    json_t *v = json_object_get(c->tokenizer_config, "chat_template"), *one;
    size_t i;
    if (json_is_array(v)) {
        json_t *list = v;
        v = NULL;
        json_array_foreach(list, i, one) {
            const char *name = json_string_value(json_object_get(one, "name"));
            if (name && !strcmp(name, "default")) v = json_object_get(one, "template");
        }
    }
    return json_is_string(v) ? set_template(c, json_string_value(v), json_string_length(v), "tokenizer_config.json: chat_template")
                             : WICK_OK;
}

static wick_status find_template(wk_checkpoint *c) {
    char *path;
    bool there;
    wk_buf text = { 0 };
    wick_status st = look(c->path, "chat_template.jinja", &path, &there);
    if (!st && there) st = wk_file_read(path, TEMPLATE_LIMIT, &text);
    if (!st && there) st = set_template(c, text.ptr, text.len, "chat_template.jinja");
    wk_buf_free(&text);
    wk_free(path);
    return st || there ? st : template_from_config(c);
}

static wick_status template_from_gguf(wk_checkpoint *c) {
    wk_str s;
    bool found;
    wick_status st = wk_gguf_str(c->gguf, "tokenizer.chat_template", &s, &found);
    return st || !found ? st : set_template(c, s.ptr, s.len, "key \"tokenizer.chat_template\"");
}

/* ---- weights of a folder ---- */

static wick_status add_shard(wk_checkpoint *c, const char *name) {
    if (c->n_shard == MAX_SHARD) return wk_fail(WICK_E_FORMAT, "%s: its index names more than %d files", c->path, MAX_SHARD);
    char *path = wk_path_join(c->path, name);
    if (!path) return wk_fail_memory(strlen(name), "a file's name");
    wick_status st = WICK_OK;
    if (!wk_file_exists(path))
        st = wk_fail(WICK_E_IO, "%s: %s, but the index names it: download the missing file", path, strerror(errno));
    if (!st) st = wk_safetensors_open(path, &c->shard[c->n_shard]);
    if (!st) c->n_shard++;
    wk_free(path);
    return st;
}

/* Every tensor of the one file. */
static wick_status take_single(wk_checkpoint *c) {
    wick_status st = add_shard(c, "model.safetensors");
    if (st) return st;
    size_t n = wk_safetensors_n_tensor(c->shard[0]);
    if (n && !(c->tensor = wk_alloc_array(n, sizeof *c->tensor))) return wk_fail_memory(n * sizeof *c->tensor, "a list of tensors");
    for (size_t i = 0; i < n; i++) c->tensor[c->n_tensor++] = *wk_safetensors_tensor(c->shard[0], i);
    return WICK_OK;
}

/* One line of the index: tensor `name` is in file `v`. opened maps files' names to their place in c->shard. */
static wick_status take_indexed(wk_checkpoint *c, json_t *opened, const char *name, const json_t *v) {
    wk_shown shown = wk_show((wk_str){ name, strlen(name) });
    if (!json_is_string(v))
        return wk_fail(WICK_E_FORMAT, "%s/model.safetensors.index.json: weight_map \"%s\": a file's name is needed", c->path,
                       shown.text);
    const char *file = json_string_value(v);
    wk_shown shown_file = wk_show((wk_str){ file, json_string_length(v) });
    if (!*file || strlen(file) != json_string_length(v) || strchr(file, '/') || !strcmp(file, "..") || !strcmp(file, "."))
        return wk_fail(
            WICK_E_FORMAT,
            "%s/model.safetensors.index.json: weight_map \"%s\" names the file \"%s\"; only files in the folder itself are read",
            c->path, shown.text, shown_file.text);
    json_t *at = json_object_get(opened, file);
    if (!at) {
        wick_status st = add_shard(c, file);
        if (st) return st;
        if (json_object_set_new(opened, file, at = json_integer((json_int_t)c->n_shard - 1)))
            return wk_fail_memory(sizeof *at, "a list of files");
    }
    const wk_tensor *t = wk_safetensors_find(c->shard[json_integer_value(at)], name);
    if (!t)
        return wk_fail(WICK_E_FORMAT, "%s/%s: has no tensor \"%s\", which the index says it has", c->path, shown_file.text,
                       shown.text);
    c->tensor[c->n_tensor++] = *t;
    return WICK_OK;
}

static wick_status take_index(wk_checkpoint *c) {
    json_t *index, *map, *v, *opened = NULL;
    const char *name;
    wick_status st = read_object(c->path, "model.safetensors.index.json", INDEX_LIMIT, &index);
    map = json_object_get(index, "weight_map");
    size_t n = json_object_size(map);
    if (!st && !json_is_object(map))
        st = wk_fail(WICK_E_FORMAT, "%s/model.safetensors.index.json: has no object \"weight_map\"", c->path);
    if (!st && n > MAX_TENSOR)
        st = wk_fail(WICK_E_FORMAT, "%s/model.safetensors.index.json: weight_map has %zu tensors, at most %d are allowed", c->path,
                     n, MAX_TENSOR);
    if (!st && n && !(c->tensor = wk_alloc_array(n, sizeof *c->tensor)))
        st = wk_fail_memory(n * sizeof *c->tensor, "a list of tensors");
    if (!st && !(opened = json_object())) st = wk_fail_memory(64, "a list of files");
    if (!st) json_object_foreach(map, name, v) if ((st = take_indexed(c, opened, name, v))) break;
    json_decref(opened);
    json_decref(index);
    return st;
}

/* ---- GPTQ ---- */

typedef struct gptq_config { int bits; int64_t group; bool v2, desc_act; } gptq_config;

static wick_status gptq_int(const wk_checkpoint *c, const json_t *q, const char *field, int64_t *out) {
    const json_t *v = json_object_get(q, field);
    if (!json_is_integer(v))
        return wk_fail(WICK_E_FORMAT, "%s/config.json: quantization_config: \"%s\" has to be a whole number", c->path, field);
    *out = json_integer_value(v);
    return WICK_OK;
}

static wick_status read_gptq_config(const wk_checkpoint *c, const json_t *q, gptq_config *g) {
    int64_t bits = 0;
    wick_status st = gptq_int(c, q, "bits", &bits);
    if (!st) st = gptq_int(c, q, "group_size", &g->group);
    if (st) return st;
    if (bits != 4 && bits != 8)
        return wk_fail(WICK_E_UNSUPPORTED, "%s/config.json: quantization_config: bits is %" PRId64 ", wick reads GPTQ with 4 or 8",
                       c->path, bits);
    if (g->group != -1 && (g->group < 1 || g->group > 1 << 20))
        return wk_fail(WICK_E_FORMAT, "%s/config.json: quantization_config: group_size is %" PRId64 ", it has to be -1 or in 1..%d",
                       c->path, g->group, 1 << 20);
    g->bits = (int)bits;
    const char *format = json_string_value(json_object_get(q, "checkpoint_format"));
    if (format && strcmp(format, "gptq") && strcmp(format, "gptq_v2"))
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s/config.json: quantization_config: checkpoint_format is \"%s\", wick reads gptq and gptq_v2", c->path,
                       wk_show((wk_str){ format, strlen(format) }).text);
    g->v2 = format && !strcmp(format, "gptq_v2");
    g->desc_act = json_is_true(json_object_get(q, "desc_act"));
    return WICK_OK;
}

/* "<module>.<what>", or NULL. */
static const wk_tensor *part_of(const wk_checkpoint *c, const wk_tensor *qweight, const char *what, wk_buf *name) {
    name->len = 0;
    wk_buf_add(name, qweight->name.ptr, qweight->name.len - strlen("qweight"));
    wk_buf_str(name, what);
    size_t i = name->failed ? SIZE_MAX : wk_names_find(&c->names, name->ptr, name->len);
    return i == SIZE_MAX ? NULL : &c->tensor[i];
}

/* The array is there, of this type and shape. */
static wick_status fits(const wk_checkpoint *c, const wk_tensor *q, const wk_tensor *t, const char *what, bool type_ok, int64_t d0,
                        int64_t d1) {
    wk_shown layer = wk_show((wk_str){ q->name.ptr, q->name.len - strlen(".qweight") });
    if (!t) return wk_fail(WICK_E_FORMAT, "%s: GPTQ layer \"%s\" has no %s", c->path, layer.text, what);
    if (type_ok && t->n_dim == (d1 < 0 ? 1 : 2) && t->shape[0] == d0 && (d1 < 0 || t->shape[1] == d1)) return WICK_OK;
    return wk_fail(WICK_E_FORMAT,
                   "%s: GPTQ layer \"%s\": %s is %s [%" PRId64 ", %" PRId64 "] with %d dimensions, %" PRId64 " x %" PRId64
                   " %s needed",
                   c->path, layer.text, what, wk_dtypes[t->dtype].name, t->shape[0], t->shape[1], t->n_dim, d0, d1 < 0 ? 1 : d1,
                   type_ok ? "is" : "of another type is");
}

/* Groups in range; an order that is i / group is dropped, so that only real act-order layers are permuted. */
static wick_status check_g_idx(const wk_checkpoint *c, const wk_tensor *t, int64_t n_in, wk_gptq *g) {
    bool plain = true;
    for (int64_t i = 0; i < n_in; i++) {
        int32_t v;
        memcpy(&v, t->data + 4 * i, 4);
        if (v < 0 || v >= g->n_group)
            return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": element %" PRId64 " is %" PRId32 ", it has to be in 0..%" PRId64,
                           c->path, wk_show(t->name).text, i, v, g->n_group - 1);
        plain = plain && v == i / g->group;
    }
    g->g_idx = plain ? NULL : t->data;
    return WICK_OK;
}

/* Makes *q, a qweight, the whole layer. used [n_tensor] marks the arrays that it took. */
static wick_status group_layer(wk_checkpoint *c, const gptq_config *cfg, wk_tensor *q, bool *used, wk_buf *name) {
    const wk_tensor *z = part_of(c, q, "qzeros", name), *s = part_of(c, q, "scales", name), *x = part_of(c, q, "g_idx", name);
    const wk_tensor *w = part_of(c, q, "weight", name);  /* last: name stays "<module>.weight" */
    wk_gptq *g = wk_arena_alloc(&c->own, sizeof *g);
    char *own_name = name->failed ? NULL : wk_arena_str(&c->own, name->ptr, name->len);
    if (!g || !own_name) return wk_fail_memory(sizeof *g + name->len, "a GPTQ layer");
    if (w) return wk_fail(WICK_E_FORMAT, "%s: has both \"%s\" and a quantised form of it", c->path, wk_show(w->name).text);
    int64_t per = 32 / cfg->bits, n_in, n_out = q->shape[1];
    wick_status st = fits(c, q, q, "qweight", q->dtype == WK_I32, q->shape[0], n_out);
    if (st) return st;
    if (!q->shape[0] || !n_out || n_out % per || q->shape[0] > INT32_MAX || n_out > INT32_MAX)
        return wk_fail(WICK_E_FORMAT,
                       "%s: tensor \"%s\" has shape [%" PRId64 ", %" PRId64
                       "]; its second dimension has to be a multiple of %" PRId64,
                       c->path, wk_show(q->name).text, q->shape[0], n_out, per);
    n_in = q->shape[0] * per;
    if (cfg->group == -1 && n_in > INT32_MAX)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is too large", c->path, wk_show(q->name).text);
    *g = (wk_gptq){ .bits = cfg->bits, .group = (int)(cfg->group == -1 ? n_in : cfg->group), .v2 = cfg->v2, .qweight = q->data };
    g->n_group = (n_in + g->group - 1) / g->group;
    if ((st = fits(c, q, z, "qzeros", z && z->dtype == WK_I32, g->n_group, n_out / per))) return st;
    if ((st = fits(c, q, s, "scales", s && (s->dtype == WK_F16 || s->dtype == WK_BF16 || s->dtype == WK_F32), g->n_group, n_out)))
        return st;
    if (cfg->desc_act && !x) return fits(c, q, NULL, "g_idx, which desc_act needs", false, 0, 0);
    if (x && ((st = fits(c, q, x, "g_idx", x->dtype == WK_I32, n_in, -1)) || (st = check_g_idx(c, x, n_in, g)))) return st;
    g->qzeros = z->data;
    g->scales = s->data;
    g->scale_type = s->dtype;
    used[z - c->tensor] = used[s - c->tensor] = true;
    if (x) used[x - c->tensor] = true;
    uint64_t n_bytes = q->n_bytes + z->n_bytes + s->n_bytes + (x ? x->n_bytes : 0);
    *q = (wk_tensor){ .name = { own_name, name->len }, .dtype = WK_GPTQ, .n_dim = 2, .shape = { n_out, n_in, 1, 1 },
                      .data = g->qweight, .n_bytes = n_bytes, .gptq = g };
    return WICK_OK;
}

static bool is_qweight(wk_str s) { return s.len > 8 && !memcmp(s.ptr + s.len - 8, ".qweight", 8); }

/* Replaces each layer's arrays by one tensor, made in the qweight's place of a copy, so that the index holds meanwhile. */
static wick_status group_layers(wk_checkpoint *c, const gptq_config *cfg) {
    bool *used = c->n_tensor ? wk_alloc_array(c->n_tensor, sizeof *used) : NULL;
    wk_tensor *grouped = c->n_tensor ? wk_alloc_array(c->n_tensor, sizeof *grouped) : NULL;
    wk_buf name = { 0 };
    size_t n = 0;
    wick_status st =
        c->n_tensor && (!used || !grouped) ? wk_fail_memory(c->n_tensor * sizeof *grouped, "a list of tensors") : WICK_OK;
    for (size_t i = 0; !st && i < c->n_tensor; i++) {
        grouped[i] = c->tensor[i];
        if (is_qweight(grouped[i].name)) st = group_layer(c, cfg, &grouped[i], used, &name);
    }
    for (size_t i = 0; !st && i < c->n_tensor; i++) if (!used[i]) c->tensor[n++] = grouped[i];
    if (!st) c->n_tensor = n;
    wk_buf_free(&name);
    wk_free(grouped);
    wk_free(used);
    return st;
}

static wick_status index_tensors(wk_checkpoint *c) {
    size_t dup;
    wk_names_free(&c->names);
    wick_status st = wk_names_build(&c->names, c->tensor, c->n_tensor, sizeof *c->tensor, &dup);
    if (!st && dup < c->n_tensor)
        st = wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is there twice", c->path, wk_show(c->tensor[dup].name).text);
    return st;
}

static wick_status unquantise(wk_checkpoint *c) {
    const json_t *q = json_object_get(c->config, "quantization_config");
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    gptq_config g = { 0 };
    if (!json_is_object(q)) return WICK_OK;
    if (!method || strcmp(method, "gptq"))
        return wk_fail(
            WICK_E_UNSUPPORTED,
            "%s/config.json: quantization_config: quant_method is \"%s\", wick reads gptq; take the model unquantised, or as GGUF",
            c->path, method ? wk_show((wk_str){ method, strlen(method) }).text : "");
    wick_status st = read_gptq_config(c, q, &g);
    if (!st) st = group_layers(c, &g);
    return st ? st : index_tensors(c);
}

/* ---- opening ---- */

static wick_status no_weights(const wk_checkpoint *c) {
    const char *p = c->path;
    if (wk_folder_has(p, ".gguf")) return wk_fail(WICK_E_FORMAT, "%s: is a folder with GGUF files: give one of the files", p);
    if (wk_folder_has(p, ".bin") || wk_folder_has(p, ".pt") || wk_folder_has(p, ".pth"))
        return wk_fail(
            WICK_E_UNSUPPORTED,
            "%s: its weights are pickle files, which can run code and are not read; convert them: python3 -c \"from transformers "
            "import AutoModelForCausalLM as M; M.from_pretrained('%s').save_pretrained('NEW-FOLDER', safe_serialization=True)\"",
            p, p);
    return wk_fail(WICK_E_FORMAT, "%s: has neither model.safetensors nor model.safetensors.index.json", p);
}

static wick_status read_weights(wk_checkpoint *c) {
    bool single, index = false;
    wick_status st = there_is(c->path, "model.safetensors", &single);
    if (!st && !single) st = there_is(c->path, "model.safetensors.index.json", &index);
    if (st) return st;
    if (!single && !index) return no_weights(c);
    if (!(c->shard = wk_alloc_array(MAX_SHARD, sizeof(wk_safetensors *))))
        return wk_fail_memory(MAX_SHARD * sizeof(wk_safetensors *), "a list of files");
    st = single ? take_single(c) : take_index(c);
    if (!st) st = index_tensors(c);
    return st ? st : unquantise(c);
}

/* A vocabulary that only SentencePiece's own library reads. */
static wick_status check_tokenizer(const wk_checkpoint *c, bool needed) {
    bool model;
    if (c->tokenizer_json) return WICK_OK;
    wick_status st = there_is(c->path, "tokenizer.model", &model);
    if (st) return st;
    if (model)
        return wk_fail(
            WICK_E_UNSUPPORTED,
            "%s: has tokenizer.model but no tokenizer.json; make one: python3 -c \"from transformers import AutoTokenizer as T; "
            "T.from_pretrained('%s').save_pretrained('%s')\"",
            c->path, c->path, c->path);
    return needed ? wk_fail(WICK_E_FORMAT, "%s: is a folder without tokenizer.json", c->path) : WICK_OK;
}

static wick_status open_folder(wk_checkpoint *c, bool vocab_only) {
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < sizeof files / sizeof *files; i++)
        st = read_object(c->path, files[i].name, files[i].limit, (json_t **)((char *)c + files[i].field));
    if (!st && !vocab_only && !c->config) {
        if (wk_folder_has(c->path, ".gguf")) return no_weights(c);
        st = wk_fail(WICK_E_FORMAT, "%s: is a folder without config.json, so it is no Hugging Face model", c->path);
    }
    if (!st && !vocab_only) st = read_weights(c);  /* before the tokenizer: a folder of pickles is named as that */
    if (!st) st = check_tokenizer(c, vocab_only);
    return st ? st : find_template(c);
}

static wick_status open_gguf(wk_checkpoint *c) {
    wick_status st = wk_gguf_open(c->path, &c->gguf);
    if (st) return st;
    size_t n = wk_gguf_n_tensor(c->gguf);
    if (n && !(c->tensor = wk_alloc_array(n, sizeof *c->tensor))) return wk_fail_memory(n * sizeof *c->tensor, "a list of tensors");
    for (size_t i = 0; i < n; i++) c->tensor[c->n_tensor++] = *wk_gguf_tensor(c->gguf, i);
    st = index_tensors(c);
    return st ? st : template_from_gguf(c);
}

/* What a file that is not GGUF seems to be, and what to do about it. */
static wick_status not_gguf(const char *path, const uint8_t *p, size_t n) {
    static const char lfs[] = "version https://git-lfs";
    if (n == 0) return wk_fail(WICK_E_FORMAT, "%s: is empty: download it again", path);
    if (n >= sizeof lfs - 1 && !memcmp(p, lfs, sizeof lfs - 1))
        return wk_fail(WICK_E_FORMAT, "%s: is a Git LFS pointer, not the file itself: run `git lfs pull`, or download it again",
                       path);
    if ((n >= 4 && !memcmp(p, "PK\3\4", 4)) || (n >= 2 && p[0] == 0x80 && p[1] < 6))
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: is a pickle file, which can run code and is not read; convert the model to safetensors with "
                       "transformers' save_pretrained()",
                       path);
    if (*p == '{' || (n >= 9 && p[8] == '{'))
        return wk_fail(WICK_E_FORMAT, "%s: is one file of a Hugging Face model: give the folder that it is in", path);
    return wk_fail(WICK_E_FORMAT, "%s: is neither a GGUF file nor a Hugging Face folder; it begins with bytes %02x %02x %02x %02x",
                   path, p[0], n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0);
}

static wick_status open_file(wk_checkpoint *c) {
    wk_file f;
    wick_status st = wk_file_map(&f, c->path);
    if (st) return st;
    if (!wk_gguf_magic(f.data, f.size)) st = not_gguf(c->path, f.data, f.size);
    wk_file_unmap(&f);
    return st ? st : open_gguf(c);
}

wick_status wk_checkpoint_open(const char *path, bool vocab_only, wk_checkpoint **out) {
    *out = NULL;
    wk_checkpoint *c = wk_alloc(sizeof *c);
    if (!c || !(c->path = wk_strdup(path))) {
        wk_free(c);
        return wk_fail_memory(sizeof *c, path);
    }
    wick_status st = wk_is_folder(path) ? open_folder(c, vocab_only) : open_file(c);
    if (st) wk_checkpoint_free(c);
    else *out = c;
    return st;
}

void wk_checkpoint_free(wk_checkpoint *c) {
    if (!c) return;
    json_decref(c->config);
    json_decref(c->generation_config);
    json_decref(c->tokenizer_json);
    json_decref(c->tokenizer_config);
    wk_free(c->chat_template);
    wk_names_free(&c->names);
    wk_free(c->tensor);
    for (size_t i = 0; i < c->n_shard; i++) wk_safetensors_free(c->shard[i]);
    wk_free(c->shard);
    wk_gguf_free(c->gguf);
    wk_arena_free(&c->own);
    wk_free(c->path);
    wk_free(c);
}

const char *wk_checkpoint_path(const wk_checkpoint *c) { return c->path; }
size_t wk_checkpoint_n_tensor(const wk_checkpoint *c) { return c->n_tensor; }
const wk_tensor *wk_checkpoint_tensor(const wk_checkpoint *c, size_t i) { return i < c->n_tensor ? &c->tensor[i] : NULL; }

const wk_tensor *wk_checkpoint_find(const wk_checkpoint *c, const char *name) {
    size_t i = wk_names_find(&c->names, name, strlen(name));
    return i == SIZE_MAX ? NULL : &c->tensor[i];
}

const wk_gguf *wk_checkpoint_gguf(const wk_checkpoint *c) { return c->gguf; }
json_t *wk_checkpoint_config(const wk_checkpoint *c) { return c->config; }
json_t *wk_checkpoint_generation_config(const wk_checkpoint *c) { return c->generation_config; }
json_t *wk_checkpoint_tokenizer_json(const wk_checkpoint *c) { return c->tokenizer_json; }
json_t *wk_checkpoint_tokenizer_config(const wk_checkpoint *c) { return c->tokenizer_config; }
const char *wk_checkpoint_chat_template(const wk_checkpoint *c) { return c->chat_template; }
