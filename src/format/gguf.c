/* gguf.c: reads a GGUF file's keys and tensor list; maps its data, never copies it.
 * Layout: GGUF specification, "File Structure", versions 2 and 3; split files as llama.cpp's gguf-split names and marks them.
 * Load: ~30 keys, some of them arrays of 50,000 to 300,000 strings; ~300 tensors; 1-40 GB. So strings stay in the map, and
 * opening reads each length once.
 * The file is a stranger's: each length is held against the bytes left before it is used. Refused:
 * - another magic, version 1, big-endian files; more than 2^20 keys or tensors, or more than the bytes left can hold
 * - keys longer than 65535 bytes or there twice; value types above 12, arrays in arrays, bools that are not 0 or 1
 * - general.alignment that is no power of two from 1 to 2^30
 * - tensors named twice; more than 4 dimensions, dimensions of 0, shapes above 2^63 bytes; types that wick does not know;
 *   rows that are no whole number of blocks
 * - tensor data that begins off the alignment, ends past the end of the file, or overlaps another tensor's
 * - split files that miss a part, or whose parts contradict their names or counts. */
#include "format/gguf.h"
#include "base/file.h"
#include "base/reader.h"
#include "format/names.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COUNT = 1 << 20, MAX_NAME = 65535, MAX_ALIGN = 1 << 30, MAX_PART = 1024, MAX_DIM = 4 };

/* A key and where its value lies. Scalars are arrays of one. */
typedef struct key {
    wk_str name;  /* first: wk_names looks here */
    wk_gguf_type type;
    wk_gguf_array value;
} key;

typedef struct keys { key *ptr; size_t n; wk_names names; const char *path; } keys;

struct wk_gguf {
    char *path;
    wk_file *file;      /* [n_file] parts, none when opened from memory */
    size_t n_file;
    keys keys;          /* the first part's */
    wk_tensor *tensor;  /* [n_tensor] of all parts */
    size_t n_tensor, cap_tensor;
    wk_names names;
};

/* What messages call a value and the elements of an array; bytes of one, 0 where that differs; is it a whole number? */
static const struct { const char *name, *many; int bytes; bool whole; } types[WK_GGUF_TYPE_COUNT] = {
    [WK_GGUF_U8] = { "u8", "u8", 1, true },      [WK_GGUF_I8] = { "i8", "i8", 1, true },
    [WK_GGUF_U16] = { "u16", "u16", 2, true },   [WK_GGUF_I16] = { "i16", "i16", 2, true },
    [WK_GGUF_U32] = { "u32", "u32", 4, true },   [WK_GGUF_I32] = { "i32", "i32", 4, true },
    [WK_GGUF_F32] = { "f32", "f32", 4, false },  [WK_GGUF_BOOL] = { "a bool", "bools", 1, false },
    [WK_GGUF_STR] = { "a string", "strings", 0, false }, [WK_GGUF_ARR] = { "an array", "arrays", 0, false },
    [WK_GGUF_U64] = { "u64", "u64", 8, true },   [WK_GGUF_I64] = { "i64", "i64", 8, true },
    [WK_GGUF_F64] = { "f64", "f64", 8, false },
};

static wick_status cut_off(const wk_reader *r, const char *what) {
    return wk_fail(WICK_E_FORMAT, "%s: %s at byte %" PRIu64 " ends past the end of the file, which has %" PRIu64
                   " bytes; it looks cut off: download it again", r->path, what, r->pos, r->size);
}

static wick_status read_str(wk_reader *r, const char *what, uint64_t max, wk_str *out) {
    uint64_t n, at = r->pos;
    if (!wk_read_u64(r, &n)) return cut_off(r, what);
    if (n > max)
        return wk_fail(WICK_E_FORMAT, "%s: %s at byte %" PRIu64 " says it has %" PRIu64 " bytes, at most %" PRIu64 " are allowed",
                       r->path, what, at, n, max);
    if (n > wk_left(r))
        return wk_fail(WICK_E_FORMAT, "%s: %s at byte %" PRIu64 " says it has %" PRIu64 " bytes, %" PRIu64
                       " are left; the file looks cut off: download it again", r->path, what, at, n, wk_left(r));
    *out = (wk_str){ (const char *)r->base + r->pos, n };
    r->pos += n;
    return WICK_OK;
}

/* ---- keys ---- */

/* n strings: every length is checked here, so that wk_gguf_arr_str() need not. */
static wick_status skip_strings(wk_reader *r, const key *k, uint64_t n) {
    const uint8_t *p = r->base + r->pos, *end = r->base + r->size;
    for (uint64_t i = 0, len; i < n; i++, p += len) {
        uint64_t left = (uint64_t)(end - p);
        if (left >= 8) memcpy(&len, p, 8);
        if (left < 8 || len > left - 8)
            return wk_fail(WICK_E_FORMAT,
                           "%s: key \"%s\": string %" PRIu64 " of %" PRIu64 " at byte %" PRIu64
                           " ends past the end of the file; it looks cut off: download it again",
                           r->path, wk_show(k->name).text, i, n, (uint64_t)(p - r->base));
        p += 8;
    }
    r->pos = (uint64_t)(p - r->base);
    return WICK_OK;
}

static wick_status read_elements(wk_reader *r, key *k) {
    wk_gguf_array *a = &k->value;
    uint64_t size = a->type == WK_GGUF_STR ? 8 : (uint64_t)types[a->type].bytes;  /* of an element, at least */
    if (a->n > wk_left(r) / size && k->type != WK_GGUF_ARR)
        return wk_fail(WICK_E_FORMAT,
                       "%s: key \"%s\": its value, %s at byte %" PRIu64 ", ends past the end of the file, which has %" PRIu64
                       " bytes; it looks cut off: download it again",
                       r->path, wk_show(k->name).text, types[k->type].name, r->pos, r->size);
    if (a->n > wk_left(r) / size)
        return wk_fail(WICK_E_FORMAT,
                       "%s: key \"%s\" says it has %" PRIu64 " elements of %" PRIu64 " bytes or more, %" PRIu64
                       " bytes are left; the file looks cut off: download it again",
                       r->path, wk_show(k->name).text, a->n, size, wk_left(r));
    a->data = r->base + r->pos;
    wick_status st = WICK_OK;
    if (a->type == WK_GGUF_STR) st = skip_strings(r, k, a->n);
    else r->pos += a->n * size;
    a->end = r->base + r->pos;
    for (const uint8_t *p = a->data; !st && a->type == WK_GGUF_BOOL && p < a->end; p++)
        if (*p > 1)
            st = wk_fail(WICK_E_FORMAT, "%s: key \"%s\": a bool at byte %" PRIu64 " is %d, not 0 or 1", r->path,
                         wk_show(k->name).text, (uint64_t)(p - r->base), *p);
    return st;
}

static wick_status read_type(wk_reader *r, const key *k, const char *what, wk_gguf_type *out) {
    uint32_t t;
    if (!wk_read_u32(r, &t)) return cut_off(r, "a value's type");
    if (t >= WK_GGUF_TYPE_COUNT)
        return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" has %s type %" PRIu32 ", GGUF's go from 0 to %d", r->path,
                       wk_show(k->name).text, what, t, WK_GGUF_TYPE_COUNT - 1);
    *out = (wk_gguf_type)t;
    return WICK_OK;
}

static wick_status read_key(wk_reader *r, key *k) {
    wick_status st = read_str(r, "a key's name", MAX_NAME, &k->name);
    if (!st) st = read_type(r, k, "value", &k->type);
    if (st) return st;
    k->value = (wk_gguf_array){ .type = k->type, .n = 1 };
    if (k->type == WK_GGUF_ARR) {
        if ((st = read_type(r, k, "element", &k->value.type))) return st;
        if (k->value.type == WK_GGUF_ARR)
            return wk_fail(WICK_E_UNSUPPORTED,
                           "%s: key \"%s\" is an array of arrays; wick reads arrays of numbers, bools and strings", r->path,
                           wk_show(k->name).text);
        if (!wk_read_u64(r, &k->value.n)) return cut_off(r, "an array's length");
    }
    return read_elements(r, k);
}

static wick_status read_keys(wk_reader *r, uint64_t n, keys *k) {
    enum { LEAST = 8 + 4 + 1 };  /* bytes of the shortest key: length, type, value */
    size_t dup;
    if (n > MAX_COUNT || n > wk_left(r) / LEAST)
        return wk_fail(WICK_E_FORMAT,
                       "%s: says it has %" PRIu64 " keys; %" PRIu64
                       " bytes are left and at most %d keys are allowed; the file looks damaged: download it again",
                       r->path, n, wk_left(r), MAX_COUNT);
    if (n && !(k->ptr = wk_alloc_array(n, sizeof *k->ptr))) return wk_fail_memory(n * sizeof *k->ptr, "GGUF keys");
    for (k->path = r->path; k->n < n; k->n++) {
        wick_status st = read_key(r, &k->ptr[k->n]);
        if (st) return st;
    }
    wick_status st = wk_names_build(&k->names, k->ptr, k->n, sizeof *k->ptr, &dup);
    if (!st && dup < k->n) st = wk_fail(WICK_E_FORMAT, "%s: key \"%s\" is there twice", r->path, wk_show(k->ptr[dup].name).text);
    return st;
}

static void keys_free(keys *k) {
    wk_names_free(&k->names);
    wk_free(k->ptr);
}

static const key *find_key(const keys *k, const char *name) {
    size_t i = wk_names_find(&k->names, name, strlen(name));
    return i == SIZE_MAX ? NULL : &k->ptr[i];
}

static wick_status wrong_type(const keys *k, const key *v, const char *wanted) {
    bool arr = v->type == WK_GGUF_ARR;
    return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" is %s%s, %s is needed", k->path, wk_show(v->name).text, arr ? "an array of " : "",
                   arr ? types[v->value.type].many : types[v->value.type].name, wanted);
}

/* Element i as bits: zero-extended, or sign-extended for signed types. */
static uint64_t bits_at(wk_gguf_type t, const uint8_t *p) {
    uint64_t v = 0;
    memcpy(&v, p, (size_t)types[t].bytes);
    if (t == WK_GGUF_I8) v = (uint64_t)(int8_t)v;
    if (t == WK_GGUF_I16) v = (uint64_t)(int16_t)v;
    if (t == WK_GGUF_I32) v = (uint64_t)(int32_t)v;
    return v;
}

static double real_at(wk_gguf_type t, const uint8_t *p) {
    union { uint64_t u; double d; } x = { bits_at(t, p) };
    union { uint32_t u; float f; } y = { (uint32_t)x.u };
    return t == WK_GGUF_F64 ? x.d : t == WK_GGUF_F32 ? (double)y.f : t == WK_GGUF_U64 ? (double)x.u : (double)(int64_t)x.u;
}

static wick_status get_int(const keys *k, const char *name, int64_t min, int64_t max, int64_t *out, bool *found) {
    const key *v = find_key(k, name);
    if (found) *found = v;
    if (!v) return WICK_OK;
    if (!types[v->type].whole) return wrong_type(k, v, "a whole number");
    uint64_t u = bits_at(v->type, v->value.data);
    if (v->type == WK_GGUF_U64 && u > INT64_MAX)
        return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" is %" PRIu64 ", it has to be in %" PRId64 "..%" PRId64, k->path, name, u, min,
                       max);
    if ((int64_t)u < min || (int64_t)u > max)
        return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" is %" PRId64 ", it has to be in %" PRId64 "..%" PRId64, k->path, name,
                       (int64_t)u, min, max);
    *out = (int64_t)u;
    return WICK_OK;
}

/* ---- tensors ---- */

/* Where a tensor's bytes lie in the data section, while they are checked. */
typedef struct place { uint64_t from, to; size_t i; } place;

static wick_status read_shape(wk_reader *r, wk_tensor *t) {
    uint32_t n;
    uint64_t dim[MAX_DIM];
    if (!wk_read_u32(r, &n)) return cut_off(r, "a tensor's number of dimensions");
    if (n > MAX_DIM)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" has %" PRIu32 " dimensions, at most %d are allowed", r->path,
                       wk_show(t->name).text, n, MAX_DIM);
    t->n_dim = (int)n;
    for (uint32_t i = 0; i < n; i++) {
        if (!wk_read_u64(r, &dim[i])) return cut_off(r, "a tensor's dimension");
        if (!dim[i] || dim[i] > INT64_MAX)
            return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": dimension %" PRIu32 " is %" PRIu64 ", it has to be in 1..2^63-1",
                           r->path, wk_show(t->name).text, i, dim[i]);
    }
    for (uint32_t i = 0; i < MAX_DIM; i++) t->shape[i] = i < n ? (int64_t)dim[n - 1 - i] : 1;  /* GGUF has the fastest first */
    return WICK_OK;
}

static wick_status read_dtype(wk_reader *r, wk_tensor *t) {
    uint32_t id;
    size_t row, n;
    wk_shown name = wk_show(t->name);
    if (!wk_read_u32(r, &id)) return cut_off(r, "a tensor's type");
    t->dtype = wk_dtype_of_gguf(id);
    if (t->dtype == WK_DTYPE_COUNT)
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: tensor \"%s\" has type %" PRIu32 ", which wick does not know; take another quantisation of the model",
                       r->path, name.text, id);
    const wk_dtype_info *d = &wk_dtypes[t->dtype];
    if (wk_tensor_cols(t) % d->block)
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" has rows of %" PRId64 " elements, %s needs a multiple of %d", r->path,
                       name.text, wk_tensor_cols(t), d->name, d->block);
    bool fits = wk_row_bytes(t->dtype, wk_tensor_cols(t), &row);
    for (int i = 0; i + 1 < t->n_dim; i++) fits = fits && wk_mul_size(row, (size_t)t->shape[i], &row);
    if (!fits || row > INT64_MAX || !wk_mul_size(row, 8, &n))  /* 8: elements may be more than bytes */
        return wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\": shape %" PRId64 " x %" PRId64 " x %" PRId64 " x %" PRId64 " is too large",
                       r->path, name.text, t->shape[0], t->shape[1], t->shape[2], t->shape[3]);
    t->n_bytes = row;
    return WICK_OK;
}

static wick_status read_tensor(wk_reader *r, wk_tensor *t, uint64_t align, place *p) {
    *t = (wk_tensor){ 0 };
    wick_status st = read_str(r, "a tensor's name", MAX_NAME, &t->name);
    if (!st) st = read_shape(r, t);
    if (!st) st = read_dtype(r, t);
    if (st) return st;
    if (!wk_read_u64(r, &p->from)) return cut_off(r, "a tensor's offset");
    if (p->from % align)
        return wk_fail(WICK_E_FORMAT,
                       "%s: tensor \"%s\" begins at byte %" PRIu64 " of the data, which is no multiple of the alignment %" PRIu64,
                       r->path, wk_show(t->name).text, p->from, align);
    return WICK_OK;
}

static int by_place(const void *a, const void *b) {
    const place *x = a, *y = b;
    return x->from != y->from ? x->from < y->from ? -1 : 1 : x->i < y->i ? -1 : 1;
}

/* Gives n tensors their bytes of the data section: inside the file, none of them twice. */
static wick_status place_tensors(const wk_reader *r, uint64_t align, wk_tensor *t, place *p, size_t n) {
    uint64_t start = (r->pos + align - 1) & ~(align - 1);
    if (n && start > r->size) return cut_off(r, "the tensor list");
    bool in_order = true;
    for (size_t i = 0; i < n; i++) {
        uint64_t size = r->size - start, room = p[i].from <= size ? size - p[i].from : 0;
        if (t[i].n_bytes > room)
            return wk_fail(WICK_E_FORMAT,
                           "%s: tensor \"%s\" at byte %" PRIu64 " of the data ends %" PRIu64
                           " bytes past the end of the file; it looks cut off: download it again",
                           r->path, wk_show(t[i].name).text, p[i].from,
                           p[i].from <= size ? t[i].n_bytes - room : p[i].from - size + t[i].n_bytes);
        p[i].to = p[i].from + t[i].n_bytes;
        p[i].i = i;
        t[i].data = r->base + start + p[i].from;
        in_order = in_order && (!i || p[i - 1].from < p[i].from);
    }
    if (!in_order) qsort(p, n, sizeof *p, by_place);
    for (size_t i = 1; i < n; i++)
        if (p[i].from < p[i - 1].to) {
            wk_shown a = wk_show(t[p[i].i].name), b = wk_show(t[p[i - 1].i].name);
            return wk_fail(WICK_E_FORMAT,
                           "%s: tensor \"%s\" begins at byte %" PRIu64
                           " of the data, inside tensor \"%s\", which ends at byte %" PRIu64,
                           r->path, a.text, p[i].from, b.text, p[i - 1].to);
        }
    return WICK_OK;
}

static wick_status read_tensors(wk_gguf *g, wk_reader *r, uint64_t n, uint64_t align) {
    enum { LEAST = 8 + 4 + 4 + 8 };  /* bytes of the shortest entry: name length, dimensions, type, offset */
    place *p = NULL;
    if (n > MAX_COUNT || n > wk_left(r) / LEAST)
        return wk_fail(WICK_E_FORMAT,
                       "%s: says it has %" PRIu64 " tensors; %" PRIu64
                       " bytes are left and at most %d tensors are allowed; the file looks damaged: download it again",
                       r->path, n, wk_left(r), MAX_COUNT);
    if (!n) return WICK_OK;
    if (!wk_grow((void **)&g->tensor, &g->cap_tensor, g->n_tensor + n, sizeof *g->tensor) || !(p = wk_alloc_array(n, sizeof *p)))
        return wk_fail_memory(n * sizeof *g->tensor, "a list of tensors");
    wk_tensor *t = g->tensor + g->n_tensor;
    wick_status st = WICK_OK;
    for (size_t i = 0; !st && i < n; i++) st = read_tensor(r, &t[i], align, &p[i]);
    if (!st) st = place_tensors(r, align, t, p, n);
    if (!st) g->n_tensor += n;
    wk_free(p);
    return st;
}

/* ---- files ---- */

static wick_status check_version(const wk_reader *r, uint32_t v) {
    if (v == 2 || v == 3) return WICK_OK;
    if (v == 1)
        return wk_fail(WICK_E_UNSUPPORTED,
                       "%s: is GGUF version 1, wick reads 2 and 3: convert the model again with a current converter", r->path);
    if (v && !(v & 0xFFFFFF))
        return wk_fail(WICK_E_UNSUPPORTED, "%s: is a big-endian GGUF file: wick reads little-endian ones", r->path);
    return wk_fail(WICK_E_FORMAT, "%s: says it is GGUF version %" PRIu32 ", wick reads 2 and 3", r->path, v);
}

/* One file: its keys into *k, its tensors behind those that g has. */
static wick_status read_part(wk_gguf *g, const uint8_t *data, size_t size, const char *path, keys *k) {
    wk_reader r = { data, 4, size, path };
    uint32_t version;
    uint64_t n_tensor, n_key;
    int64_t align = 32;
    wick_status st = wk_check_pointer(path, data, size);
    if (st) return st;
    if (!wk_gguf_magic(data, size)) return wk_fail(WICK_E_FORMAT, "%s: is no GGUF file: it does not begin with \"GGUF\"", path);
    if (!wk_read_u32(&r, &version)) return cut_off(&r, "the version");
    if ((st = check_version(&r, version))) return st;
    if (!wk_read_u64(&r, &n_tensor) || !wk_read_u64(&r, &n_key)) return cut_off(&r, "the header");
    if ((st = read_keys(&r, n_key, k)) || (st = get_int(k, "general.alignment", 1, MAX_ALIGN, &align, NULL))) return st;
    if (align & (align - 1))
        return wk_fail(WICK_E_FORMAT, "%s: key \"general.alignment\" is %" PRId64 ", it has to be a power of two", path, align);
    return read_tensors(g, &r, n_tensor, (uint64_t)align);
}

static wick_status index_tensors(wk_gguf *g) {
    size_t dup;
    wick_status st = wk_names_build(&g->names, g->tensor, g->n_tensor, sizeof *g->tensor, &dup);
    if (!st && dup < g->n_tensor)
        st = wk_fail(WICK_E_FORMAT, "%s: tensor \"%s\" is there twice", g->path, wk_show(g->tensor[dup].name).text);
    return st;
}

/* Length of the path without "-00001-of-000NN.gguf", 0 if it does not end so. */
static size_t split_stem(const char *path) {
    static const char like[] = "-00000-of-00000.gguf";
    size_t n = strlen(path), m = sizeof like - 1;
    if (n <= m) return 0;
    for (size_t i = 0; i < m; i++) {
        char c = path[n - m + i];
        if (like[i] == '0' ? c < '0' || c > '9' : c != like[i]) return 0;
    }
    return n - m;
}

/* A part need not say whose it is; where it does, it has to be the first's. */
static wick_status same_model(const wk_gguf *g, const keys *k, const char *path) {
    static const char *const names[] = { "general.architecture", "general.name" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const key *a = find_key(&g->keys, names[i]), *b = find_key(k, names[i]);
        size_t n = a && b ? (size_t)(a->value.end - a->value.data) : 0;
        if (n && (n != (size_t)(b->value.end - b->value.data) || memcmp(a->value.data, b->value.data, n)))
            return wk_fail(WICK_E_FORMAT, "%s: is a part of another model than %s: key \"%s\" differs", path, g->path, names[i]);
    }
    return WICK_OK;
}

/* Maps part i (from 0) of n and reads it; its keys only say that it is that part. */
static wick_status open_part(wk_gguf *g, int64_t i, int64_t n) {
    wk_buf path = { 0 };
    keys k = { 0 };
    int64_t no = 0, count = 0;
    wk_file *f = &g->file[i];
    wk_buf_printf(&path, "%.*s-%05" PRId64 "-of-%05" PRId64 ".gguf", (int)split_stem(g->path), g->path, i + 1, n);
    wick_status st = path.failed ? wk_fail_memory(strlen(g->path), "a file's name") : wk_file_map(f, path.ptr);
    if (!st) {
        g->n_file++;
        st = read_part(g, f->data, f->size, f->path, &k);
    }
    if (!st) st = get_int(&k, "split.no", 0, MAX_PART, &no, NULL);
    if (!st) st = get_int(&k, "split.count", 0, MAX_PART, &count, NULL);
    if (!st && (no != i || count != n))
        st = wk_fail(WICK_E_FORMAT, "%s: says it is part %" PRId64 " of %" PRId64 ", its name says %" PRId64 " of %" PRId64,
                     f->path, no + 1, count, i + 1, n);
    if (!st) st = same_model(g, &k, f->path);
    keys_free(&k);
    wk_buf_free(&path);
    return st;
}

/* The other parts of a split file. */
static wick_status open_parts(wk_gguf *g, int64_t n) {
    int64_t no = 0, total = -1;
    wick_status st = get_int(&g->keys, "split.no", 0, MAX_PART - 1, &no, NULL);
    if (!st) st = get_int(&g->keys, "split.tensors.count", 0, MAX_COUNT, &total, NULL);
    if (st) return st;
    size_t stem = split_stem(g->path);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "-%05" PRId64 "-of-%05" PRId64 ".gguf", no + 1, n);
    if (!stem || strcmp(g->path + stem, wanted))
        return wk_fail(WICK_E_FORMAT, "%s: is part %" PRId64 " of %" PRId64 " of a split file, so its name has to end in \"%s\"",
                       g->path, no + 1, n, wanted);
    if (no)
        return wk_fail(WICK_E_FORMAT,
                       "%s: is part %" PRId64 " of %" PRId64 ": open the first, \"%.*s-00001-of-%05" PRId64 ".gguf\"", g->path,
                       no + 1, n, (int)stem, g->path, n);
    wk_file *f = wk_alloc_array((size_t)n, sizeof *f);
    if (!f) return wk_fail_memory((size_t)n * sizeof *f, g->path);
    f[0] = g->file[0];
    wk_free(g->file);
    g->file = f;
    for (int64_t i = 1; !st && i < n; i++) st = open_part(g, i, n);
    if (!st && total >= 0 && (size_t)total != g->n_tensor)
        st = wk_fail(WICK_E_FORMAT, "%s: its parts have %zu tensors, key \"split.tensors.count\" says %" PRId64, g->path,
                     g->n_tensor, total);
    return st;
}

static wick_status open_first(wk_gguf *g, const uint8_t *data, size_t size) {
    int64_t n = 1;
    wick_status st = read_part(g, data, size, g->path, &g->keys);
    if (!st) st = get_int(&g->keys, "split.count", 0, MAX_PART, &n, NULL);
    if (!st && n > 1 && !g->n_file)
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: is a part of a split file, which cannot be read from memory", g->path);
    if (!st && n > 1) st = open_parts(g, n);
    return st ? st : index_tensors(g);
}

static wick_status new_gguf(const char *path, wk_gguf **out) {
    wk_gguf *g = wk_alloc(sizeof *g);
    if (!g || !(g->path = wk_strdup(path))) {
        wk_free(g);
        return wk_fail_memory(sizeof *g, path);
    }
    *out = g;
    return WICK_OK;
}

wick_status wk_gguf_open(const char *path, wk_gguf **out) {
    wk_gguf *g = NULL;
    *out = NULL;
    wick_status st = new_gguf(path, &g);
    if (!st && !(g->file = wk_alloc(sizeof *g->file))) st = wk_fail_memory(sizeof *g->file, path);
    if (!st && !(st = wk_file_map(g->file, path))) {
        g->n_file = 1;
        st = open_first(g, g->file->data, g->file->size);
    }
    if (st) wk_gguf_free(g);
    else *out = g;
    return st;
}

wick_status wk_gguf_open_memory(const uint8_t *data, size_t n, const char *path, wk_gguf **out) {
    wk_gguf *g = NULL;
    *out = NULL;
    wick_status st = new_gguf(path, &g);
    if (!st) st = open_first(g, data, n);
    if (st) wk_gguf_free(g);
    else *out = g;
    return st;
}

void wk_gguf_free(wk_gguf *g) {
    if (!g) return;
    keys_free(&g->keys);
    wk_names_free(&g->names);
    wk_free(g->tensor);
    for (size_t i = 0; i < g->n_file; i++) wk_file_unmap(&g->file[i]);
    wk_free(g->file);
    wk_free(g->path);
    wk_free(g);
}

const char *wk_gguf_path(const wk_gguf *g) { return g->path; }
bool wk_gguf_magic(const uint8_t *data, size_t n) { return n >= 4 && !memcmp(data, "GGUF", 4); }

size_t wk_gguf_n_tensor(const wk_gguf *g) { return g->n_tensor; }
const wk_tensor *wk_gguf_tensor(const wk_gguf *g, size_t i) { return i < g->n_tensor ? &g->tensor[i] : NULL; }

const wk_tensor *wk_gguf_find(const wk_gguf *g, const char *name) {
    size_t i = wk_names_find(&g->names, name, strlen(name));
    return i == SIZE_MAX ? NULL : &g->tensor[i];
}

size_t wk_gguf_n_key(const wk_gguf *g) { return g->keys.n; }

wk_str wk_gguf_key(const wk_gguf *g, size_t i, wk_gguf_type *type, wk_gguf_type *element, uint64_t *n) {
    const key *k = &g->keys.ptr[i];
    *type = k->type;
    *element = k->value.type;
    *n = k->value.n;
    return k->name;
}

wk_gguf_array wk_gguf_value(const wk_gguf *g, size_t i) { return g->keys.ptr[i].value; }

/* ---- values ---- */

bool wk_gguf_has(const wk_gguf *g, const char *name) { return find_key(&g->keys, name); }

wick_status wk_gguf_int(const wk_gguf *g, const char *name, int64_t min, int64_t max, int64_t *out, bool *found) {
    return get_int(&g->keys, name, min, max, out, found);
}

wick_status wk_gguf_real(const wk_gguf *g, const char *name, double *out, bool *found) {
    const key *v = find_key(&g->keys, name);
    if (found) *found = v;
    if (!v) return WICK_OK;
    if (!types[v->type].whole && v->type != WK_GGUF_F32 && v->type != WK_GGUF_F64) return wrong_type(&g->keys, v, "a number");
    double d = real_at(v->type, v->value.data);
    if (!isfinite(d)) return wk_fail(WICK_E_FORMAT, "%s: key \"%s\" is %f, a finite number is needed", g->path, name, d);
    *out = d;
    return WICK_OK;
}

wick_status wk_gguf_bool(const wk_gguf *g, const char *name, bool *out, bool *found) {
    const key *v = find_key(&g->keys, name);
    if (found) *found = v;
    if (!v) return WICK_OK;
    if (v->type != WK_GGUF_BOOL) return wrong_type(&g->keys, v, "a bool");
    *out = *v->value.data;
    return WICK_OK;
}

wick_status wk_gguf_str(const wk_gguf *g, const char *name, wk_str *out, bool *found) {
    const key *v = find_key(&g->keys, name);
    if (found) *found = v;
    if (!v) return WICK_OK;
    if (v->type != WK_GGUF_STR) return wrong_type(&g->keys, v, "a string");
    const uint8_t *cursor = v->value.data;
    *out = wk_gguf_arr_str(&v->value, &cursor);
    return WICK_OK;
}

wk_str wk_gguf_hub_name(const wk_gguf *g, const char *name) {
    static const char hub[] = "https://huggingface.co/";
    const key *v = find_key(&g->keys, name);
    if (!v || v->type != WK_GGUF_STR) return (wk_str){ NULL, 0 };
    const uint8_t *cursor = v->value.data;
    wk_str s = wk_gguf_arr_str(&v->value, &cursor);
    size_t n = 0;
    if (s.len < sizeof hub || memcmp(s.ptr, hub, sizeof hub - 1)) return (wk_str){ NULL, 0 };
    s = (wk_str){ s.ptr + sizeof hub - 1, s.len - (sizeof hub - 1) };
    while (n < s.len && s.ptr[n] != '/') n++;
    bool named = n > 0 && n + 1 < s.len && !memchr(s.ptr + n + 1, '/', s.len - n - 1);
    return named ? s : (wk_str){ NULL, 0 };
}

wick_status wk_gguf_arr(const wk_gguf *g, const char *name, wk_gguf_array *out, bool *found) {
    const key *v = find_key(&g->keys, name);
    if (found) *found = v;
    if (!v) return WICK_OK;
    if (v->type != WK_GGUF_ARR) return wrong_type(&g->keys, v, "an array");
    *out = v->value;
    return WICK_OK;
}

double wk_gguf_arr_real(const wk_gguf_array *a, uint64_t i) {
    return real_at(a->type, a->data + i * (uint64_t)types[a->type].bytes);
}
int64_t wk_gguf_arr_int(const wk_gguf_array *a, uint64_t i) {
    const uint8_t *p = a->data + i * (uint64_t)types[a->type].bytes;
    if (a->type != WK_GGUF_F32 && a->type != WK_GGUF_F64) return (int64_t)bits_at(a->type, p);
    double d = real_at(a->type, p);
    return d > -0x1p63 && d < 0x1p63 ? (int64_t)d : INT64_MIN;
}

wk_str wk_gguf_arr_str(const wk_gguf_array *a, const uint8_t **cursor) {
    uint64_t n;
    if (a->type != WK_GGUF_STR || *cursor >= a->end) return (wk_str){ "", 0 };
    memcpy(&n, *cursor, 8);
    const char *p = (const char *)*cursor + 8;
    *cursor += 8 + n;
    return (wk_str){ p, n };
}
