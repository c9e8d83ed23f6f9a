/* checkpoint.c: finds out what a path holds and gives its tensors and its metadata files under one roof.
 * Layouts: a GGUF file; a Hugging Face folder as transformers' save_pretrained() writes it (config.json, model.safetensors or
 * model.safetensors.index.json with shards, tokenizer files).
 * Load: one file of 0.1-40 GB, or 1-200 shards with up to 100,000 tensors; tokenizer.json up to 40 MB.
 * The files are a stranger's: shards are plain names in the folder, JSON files have size limits. */
#include "format/checkpoint.h"
#include "base/file.h"
#include "format/names.h"
#include "format/quantised.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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
    char *hub_name;          /* of a folder in the hub's cache, or NULL */
    wk_arena own;            /* quantised weights' descriptions and names */
};

/* The files of a folder that wick reads. */
static const struct { const char *name; size_t limit; size_t field; } files[] = {
    { "config.json", 4 << 20, offsetof(wk_checkpoint, config) },
    { "generation_config.json", 1 << 20, offsetof(wk_checkpoint, generation_config) },
    { "tokenizer.json", 256 << 20, offsetof(wk_checkpoint, tokenizer_json) },
    { "tokenizer_config.json", 16 << 20, offsetof(wk_checkpoint, tokenizer_config) },
};
enum { TEMPLATE_LIMIT = 16 << 20, INDEX_LIMIT = 256 << 20 };

/* folder/name into *out (new) and whether it is there. */
static wick_status look(const char *folder, const char *name, char **out, bool *there) {
    *there = false;
    if (!(*out = wk_path_join(folder, name))) return wk_fail_memory(strlen(folder) + strlen(name), "a file's name");
    return wk_file_look(*out, there);
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
    bool wrong = v && !json_is_null(v) && !json_is_string(v) && !json_is_array(v);
    if (json_is_array(v)) {
        json_t *list = v;
        v = NULL;
        json_array_foreach(list, i, one) {
            const char *name = json_string_value(json_object_get(one, "name"));
            json_t *text = json_object_get(one, "template");
            wrong = wrong || !name || !json_is_string(text);
            if (name && !strcmp(name, "default")) v = text;
        }
    }
    if (wrong)
        return wk_fail(WICK_E_FORMAT,
                       "%s: tokenizer_config.json: \"chat_template\" is neither text nor a list of {\"name\", \"template\"} texts",
                       c->path);
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
    bool there;
    wick_status st = wk_file_look(path, &there);
    if (!st && !there)
        st = wk_fail(WICK_E_IO, "%s: No such file or directory, but the index names it: download the missing file", path);
    if (!st) st = wk_safetensors_open(path, &c->shard[c->n_shard]);
    if (!st) c->n_shard++;
    wk_free(path);
    return st;
}

/* Every tensor of every file, those too that an index leaves out. */
static wick_status take_shards(wk_checkpoint *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_shard; i++) n += wk_safetensors_n_tensor(c->shard[i]);
    if (n > MAX_TENSOR)
        return wk_fail(WICK_E_FORMAT, "%s: its files have %zu tensors, at most %d are allowed", c->path, n, MAX_TENSOR);
    if (n && !(c->tensor = wk_alloc_array(n, sizeof *c->tensor))) return wk_fail_memory(n * sizeof *c->tensor, "a list of tensors");
    for (size_t i = 0; i < c->n_shard; i++)
        for (size_t k = 0; k < wk_safetensors_n_tensor(c->shard[i]); k++)
            c->tensor[c->n_tensor++] = *wk_safetensors_tensor(c->shard[i], k);
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
    if (!wk_safetensors_find(c->shard[json_integer_value(at)], name))
        return wk_fail(WICK_E_FORMAT, "%s/%s: has no tensor \"%s\", which the index says it has", c->path, shown_file.text,
                       shown.text);
    return WICK_OK;
}

static wick_status take_index(wk_checkpoint *c) {
    json_t *index, *map, *v, *opened = NULL;
    const char *name;
    wick_status st = read_object(c->path, "model.safetensors.index.json", INDEX_LIMIT, &index);
    map = json_object_get(index, "weight_map");
    if (!st && !json_is_object(map))
        st = wk_fail(WICK_E_FORMAT, "%s/model.safetensors.index.json: has no object \"weight_map\"", c->path);
    if (!st && !(opened = json_object())) st = wk_fail_memory(64, "a list of files");
    if (!st) json_object_foreach(map, name, v) if ((st = take_indexed(c, opened, name, v))) break;
    json_decref(opened);
    json_decref(index);
    return st;
}

/* A tensor that more than one file has: which two. */
static wick_status there_twice(const wk_checkpoint *c, const wk_tensor *t) {
    const char *in[2] = { c->path, c->path };
    char *name = wk_strdup_n(t->name.ptr, t->name.len);
    if (!name) return wk_fail_memory(t->name.len, "a tensor's name");
    for (size_t i = 0, n = 0; i < c->n_shard && n < 2; i++)
        if (wk_safetensors_find(c->shard[i], name)) in[n++] = wk_safetensors_path(c->shard[i]);
    wk_free(name);
    return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is there twice: %s has it too", in[1], wk_show(t->name).text, in[0]);
}

static wick_status index_tensors(wk_checkpoint *c) {
    size_t dup;
    wk_names_free(&c->names);
    wick_status st = wk_names_build(&c->names, c->tensor, c->n_tensor, sizeof *c->tensor, &dup);
    return !st && dup < c->n_tensor ? there_twice(c, &c->tensor[dup]) : st;
}

static wick_status group_quantised(wk_checkpoint *c) {
    const json_t *q = json_object_get(c->config, "quantization_config");
    if (!q || json_is_null(q)) return WICK_OK;
    if (!json_is_object(q))
        return wk_fail(WICK_E_FORMAT, "%s/config.json: quantization_config is %s, it must be an object", c->path,
                       wk_show_json(q).text);
    wk_tensor_list list = { c->path, c->tensor, c->n_tensor, &c->names, &c->own };
    wick_status st = wk_quantised_group(&list, q);
    c->n_tensor = list.n_tensor;
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
    st = single ? add_shard(c, "model.safetensors") : take_index(c);
    if (!st) st = take_shards(c);
    if (!st) st = index_tensors(c);
    return st ? st : group_quantised(c);
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

/* The hub's cache has a repository's folder as "models--OWNER--NAME/snapshots/COMMIT". */
static wick_status name_from_cache(wk_checkpoint *c) {
    static const char before[] = "/models--", after[] = "/snapshots/";
    wick_status st = WICK_OK;
    char *real = wk_path_real(c->path);
    if (!real) return wk_fail_memory(strlen(c->path), "a path");
    char *owner = strstr(real, before), *end = owner ? strstr(owner, after) : NULL;
    char *name = end ? strstr(owner += sizeof before - 1, "--") : NULL;
    if (name && name > owner && name + 2 < end && !memchr(owner, '/', (size_t)(end - owner))) {
        *name++ = '/';
        memmove(name, name + 1, (size_t)(end - name - 1));
        c->hub_name = wk_strdup_n(owner, (size_t)(end - owner - 1));
        if (!c->hub_name) st = wk_fail_memory(strlen(owner), "a model's name");
    }
    wk_free(real);
    return st;
}

static wick_status open_folder(wk_checkpoint *c, bool vocab_only) {
    wick_status st = name_from_cache(c);
    for (size_t i = 0; !st && i < sizeof files / sizeof *files; i++)
        st = read_object(c->path, files[i].name, files[i].limit, (json_t **)((char *)c + files[i].field));
    if (!st && !vocab_only && !c->config) {
        if (wk_folder_has(c->path, ".gguf")) return no_weights(c);
        char *adapter = wk_path_join(c->path, "adapter_config.json");
        st = adapter && wk_file_exists(adapter)
                 ? wk_fail(WICK_E_FORMAT, "%s: holds an adapter, no model: it is given beside the model that it was made for "
                           "(--lora %s)", c->path, c->path)
                 : wk_fail(WICK_E_FORMAT, "%s: is a folder without config.json, so it is no Hugging Face model", c->path);
        wk_free(adapter);
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
    if (n == 0) return wk_fail(WICK_E_FORMAT, "%s: is empty: download it again", path);
    wick_status st = wk_check_pointer(path, p, n);
    if (st) return st;
    if ((n >= 4 && !memcmp(p, "PK\3\4", 4)) || (n >= 2 && p[0] == 0x80 && p[1] < 6))
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: is a pickle file, which can run code and is not read; convert the model to safetensors with "
                       "transformers' save_pretrained()",
                       path);
    if (*p == '{' || (n >= 9 && p[8] == '{'))
        return wk_fail(WICK_E_FORMAT, "%s: is one file of a Hugging Face model: give the folder that it is in", path);
    if (*p == '<')
        return wk_fail(WICK_E_FORMAT, "%s: looks like a web page, not the model: download the file itself, not the page about it",
                       path);
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
    bool folder;
    wick_status st = wk_folder_look(path, &folder);
    if (!st) st = folder ? open_folder(c, vocab_only) : open_file(c);
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
    wk_free(c->hub_name);
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

/* Not general.base_model, from which that model was tuned. */
wk_str wk_checkpoint_hub_name(const wk_checkpoint *c) {
    static const char *const keys[] = { "general.source.repo_url", "general.source.url", "general.repo_url" };
    if (c->hub_name) return (wk_str){ c->hub_name, strlen(c->hub_name) };
    for (size_t i = 0; c->gguf && i < sizeof keys / sizeof *keys; i++) {
        wk_str s = wk_gguf_hub_name(c->gguf, keys[i]);
        bool quantised = s.len > 4 && !strncasecmp(s.ptr + s.len - 4, "GGUF", 4);  /* a repository of files like this one */
        if (s.ptr && !quantised) return s;
    }
    return (wk_str){ NULL, 0 };
}

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
