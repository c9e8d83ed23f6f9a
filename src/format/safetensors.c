/* safetensors.c: reads a file's header and maps its data; safetensors_write.c writes one.
 * Layout: safetensors README, "Format": u64 header length, JSON header, the tensors' bytes one after the other.
 * Load: a header of 10 KB to 15 MB with 100 to 100,000 tensors; 1 MB to 10 GB of data that stays in the map.
 * The file is a stranger's. Refused: a header above 100 MB or beyond the file, what is not UTF-8 JSON, names twice, offsets
 * that are not whole numbers, tensors that overlap, leave gaps or end elsewhere than the file does, shapes that do not
 * make the number of bytes, dtypes and ranks that wk_tensor does not have. */
#include "format/safetensors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/reader.h"
#include "format/names.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = WK_SAFETENSORS_HEADER_MAX, MAX_DIM = 4 };

struct wk_safetensors {
    wk_file file;        /* not mapped when opened from memory */
    const char *path;    /* for messages, while opening */
    wk_tensor *tensor;   /* [n], in the order of their bytes */
    size_t n;
    wk_names names;
    wk_arena text;       /* the names' bytes */
    json_t *notes;       /* __metadata__, or NULL */
};

static const char *kind(const json_t *v) {
    static const char *const names[] = { "an object",     "an array", "a string", "a whole number",
                                         "a real number", "true",     "false",    "null" };
    return v ? names[json_typeof(v)] : "nothing";
}

/* Element i of an array field as a whole number from 0 to 2^63 - 1. */
static wick_status read_size(const wk_safetensors *s, wk_str name, const char *field, const json_t *a, size_t i, int64_t *out) {
    const json_t *v = json_array_get(a, i);
    if (!json_is_integer(v))
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": %s[%zu] is %s, a whole number is needed", s->path, wk_show(name).text,
                       field, i, kind(v));
    *out = json_integer_value(v);
    if (*out < 0)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": %s[%zu] is %" PRId64 ", below 0", s->path, wk_show(name).text, field, i,
                       *out);
    return WICK_OK;
}

static wick_status read_shape(const wk_safetensors *s, const json_t *a, wk_tensor *t, uint64_t *n_bytes) {
    size_t n = (size_t)wk_dtypes[t->dtype].bytes;  /* a dimension of 0 counts as 1 here, so that no product of some wraps */
    bool empty = false;
    if (!json_is_array(a))
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": shape is %s, an array is needed", s->path, wk_show(t->name).text,
                       kind(a));
    if (json_array_size(a) > MAX_DIM)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: tensor \"%s\" has %zu dimensions, wick reads up to %d", s->path,
                       wk_show(t->name).text, json_array_size(a), MAX_DIM);
    t->n_dim = (int)json_array_size(a);
    for (int i = 0; i < MAX_DIM; i++) {
        t->shape[i] = 1;
        wick_status st = i < t->n_dim ? read_size(s, t->name, "shape", a, (size_t)i, &t->shape[i]) : WICK_OK;
        if (st) return st;
        empty = empty || !t->shape[i];
        if (!wk_mul_size(n, t->shape[i] ? (size_t)t->shape[i] : 1, &n) || n > INT64_MAX)
            return wk_fail(WICK_E_FORMAT,
                           "%s: tensor \"%s\": its shape has more than 2^63 bytes at dimension %d, which is %" PRId64, s->path,
                           wk_show(t->name).text, i, t->shape[i]);
    }
    *n_bytes = empty ? 0 : n;
    return WICK_OK;
}

/* One entry: {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}. */
static wick_status read_tensor(const wk_safetensors *s, const json_t *v, const uint8_t *data, uint64_t size, wk_tensor *t) {
    wk_shown shown = wk_show(t->name);
    const char *name = shown.text;
    int64_t from = 0, to = 0;
    uint64_t n_bytes = 0;
    if (!json_is_object(v)) return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is %s, an object is needed", s->path, name, kind(v));
    const json_t *dtype = json_object_get(v, "dtype"), *at = json_object_get(v, "data_offsets");
    if (!json_is_string(dtype))
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": dtype is %s, a string is needed", s->path, name, kind(dtype));
    wk_str type = { json_string_value(dtype), json_string_length(dtype) };
    t->dtype = wk_dtype_of_safetensors(type);
    if (t->dtype == WK_DTYPE_COUNT)
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: tensor \"%s\" has dtype \"%s\", which wick does not read; convert the model to BF16, F16 or F32",
                       s->path, name, wk_show(type).text);
    wick_status st = read_shape(s, json_object_get(v, "shape"), t, &n_bytes);
    if (st) return st;
    if (!json_is_array(at) || json_array_size(at) != 2)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": data_offsets is %s, an array of two numbers is needed", s->path, name,
                       json_is_array(at) ? "an array of another length" : kind(at));
    if ((st = read_size(s, t->name, "data_offsets", at, 0, &from)) || (st = read_size(s, t->name, "data_offsets", at, 1, &to)))
        return st;
    if (to < from || (uint64_t)to > size)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": data_offsets are [%" PRId64 ", %" PRId64 "], the file has %" PRIu64
                       " bytes of data; it looks cut off or damaged: download it again", s->path, name, from, to, size);
    if ((uint64_t)(to - from) != n_bytes)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": data_offsets hold %" PRId64 " bytes, its shape and dtype need %" PRIu64,
                       s->path, name, to - from, n_bytes);
    t->data = data + from;
    t->n_bytes = n_bytes;
    return WICK_OK;
}

static int by_place(const void *a, const void *b) {
    const wk_tensor *x = a, *y = b;
    return x->data != y->data ? (x->data > y->data) - (x->data < y->data) : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

/* The tensors' bytes follow each other from the first byte of data to the last. */
static wick_status check_places(const wk_safetensors *s, const uint8_t *data, uint64_t size) {
    uint64_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        const wk_tensor *t = &s->tensor[i];
        uint64_t from = (uint64_t)(t->data - data);
        if (from != at)
            return wk_fail(WICK_E_FORMAT,
                           "%s: tensor \"%s\" begins at byte %" PRIu64 " of the data, %s byte %" PRIu64
                           " where the one before it ends",
                           s->path, wk_show(t->name).text, from, from < at ? "overlapping: before" : "leaving a gap: after", at);
        at += t->n_bytes;
    }
    if (at != size)
        return wk_fail(WICK_E_FORMAT,
                       "%s: the tensors end at byte %" PRIu64 " of the data, which has %" PRIu64 " bytes: the rest belongs to none",
                       s->path, at, size);
    return WICK_OK;
}

/* Free-form notes; but they have one form. */
static wick_status check_metadata(const wk_safetensors *s, json_t *m) {
    const char *key;
    json_t *v;
    if (!json_is_object(m)) return wk_fail(WICK_E_FORMAT, "%s: __metadata__ is %s, an object is needed", s->path, kind(m));
    json_object_foreach(m, key, v) {
        if (!json_is_string(v))
            return wk_fail(WICK_E_FORMAT, "%s: __metadata__ \"%s\" is %s, a string is needed", s->path,
                           wk_show((wk_str){ key, strlen(key) }).text, kind(v));
    }
    return WICK_OK;
}

static wick_status read_tensors(wk_safetensors *s, json_t *header, const uint8_t *data, uint64_t size) {
    const char *key;
    json_t *v;
    size_t n = json_object_size(header), dup;
    wick_status st;
    if (n && !(s->tensor = wk_alloc_array(n, sizeof *s->tensor))) return wk_fail_memory(n * sizeof *s->tensor, "a list of tensors");
    json_object_foreach(header, key, v) {
        if (!strcmp(key, "__metadata__")) {
            if ((st = check_metadata(s, v))) return st;
            s->notes = json_incref(v);
            continue;
        }
        wk_tensor *t = &s->tensor[s->n++];
        size_t len = strlen(key);
        if (!(t->name.ptr = wk_arena_str(&s->text, key, len))) return wk_fail_memory(len, "a tensor's name");
        t->name.len = len;
        if ((st = read_tensor(s, v, data, size, t))) return st;
    }
    if (s->n) qsort(s->tensor, s->n, sizeof *s->tensor, by_place);
    if ((st = check_places(s, data, size))) return st;
    return wk_names_build(&s->names, s->tensor, s->n, sizeof *s->tensor, &dup);  /* JSON keys: no two are equal */
}

/* The header's bytes as JSON. */
static wick_status parse_header(const wk_safetensors *s, const char *text, size_t n, json_t **out) {
    json_error_t e;
    if (wk_json_load(text, n, 0, &e, out)) {
        if (json_is_object(*out)) return WICK_OK;
        return wk_fail(WICK_E_FORMAT, "%s: its header is %s, an object is needed", s->path, kind(*out));
    }
    if (wk_json_no_memory()) return wk_fail_memory(n, "a safetensors header");
    wk_str text_of_e = { e.text, strlen(e.text) };
    if (json_error_code(&e) == json_error_duplicate_key)
        return wk_fail(WICK_E_FORMAT, "%s: header, byte %d: a name is there twice: %s", s->path, e.position,
                       wk_show(text_of_e).text);
    return wk_fail(WICK_E_FORMAT, "%s: header, byte %d: not JSON: %s", s->path, e.position, wk_show(text_of_e).text);
}

static wick_status read_file(wk_safetensors *s, const uint8_t *data, size_t size) {
    wk_reader r = { data, 0, size, s->path };
    json_t *header = NULL;
    uint64_t n;
    wick_status st = wk_check_pointer(s->path, data, size);
    if (st) return st;
    if (!wk_read_u64(&r, &n))
        return wk_fail(WICK_E_FORMAT, "%s: has %zu bytes, a safetensors file has at least 8; it looks cut off: download it again",
                       s->path, size);
    if (n > HEADER_MAX)
        return wk_fail(WICK_E_FORMAT,
                       "%s: says its header has %" PRIu64 " bytes, at most %d are allowed; is it a safetensors file?", s->path, n,
                       HEADER_MAX);
    if (n > wk_left(&r))
        return wk_fail(WICK_E_FORMAT,
                       "%s: says its header has %" PRIu64 " bytes, %" PRIu64 " are left; the file looks cut off: download it again",
                       s->path, n, wk_left(&r));
    st = parse_header(s, (const char *)data + 8, n, &header);
    if (!st) st = read_tensors(s, header, data + 8 + n, size - 8 - n);
    json_decref(header);
    return st;
}

wick_status wk_safetensors_open_memory(const uint8_t *data, size_t n, const char *path, wk_safetensors **out) {
    *out = NULL;
    wk_safetensors *s = wk_alloc(sizeof *s);
    if (!s) return wk_fail_memory(sizeof *s, path);
    s->path = path;
    wick_status st = read_file(s, data, n);
    if (st) wk_safetensors_free(s);
    else *out = s;
    return st;
}

wick_status wk_safetensors_open(const char *path, wk_safetensors **out) {
    wk_file f;
    *out = NULL;
    wick_status st = wk_file_map(&f, path);
    if (!st) st = wk_safetensors_open_memory(f.data, f.size, path, out);
    if (st) wk_file_unmap(&f);
    else (*out)->file = f;
    return st;
}

void wk_safetensors_free(wk_safetensors *s) {
    if (!s) return;
    wk_names_free(&s->names);
    wk_arena_free(&s->text);
    json_decref(s->notes);
    wk_free(s->tensor);
    wk_file_unmap(&s->file);
    wk_free(s);
}

const char *wk_safetensors_path(const wk_safetensors *s) { return s->file.path; }
size_t wk_safetensors_n_tensor(const wk_safetensors *s) { return s->n; }
const wk_tensor *wk_safetensors_tensor(const wk_safetensors *s, size_t i) { return i < s->n ? &s->tensor[i] : NULL; }

const wk_tensor *wk_safetensors_find(const wk_safetensors *s, const char *name) {
    size_t i = wk_names_find(&s->names, name, strlen(name));
    return i == SIZE_MAX ? NULL : &s->tensor[i];
}

const char *wk_safetensors_note(const wk_safetensors *s, const char *key) {
    return json_string_value(json_object_get(s->notes, key));
}
