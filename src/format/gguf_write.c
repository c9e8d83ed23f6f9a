/* gguf_write.c: writes a GGUF file, version 3, whole or not at all.
 * Layout: GGUF specification, "File Structure". Load: 30 keys, one or two of them with 150,000 strings; up to 2,000 tensors; 1 MB
 * to 100 GB of data that is never held at once. Keys are laid out as they are put, so that nothing is copied twice. */
#include "format/gguf_write.h"
#include "format/names.h"
#include <inttypes.h>
#include <string.h>

enum { ALIGNMENT = 32, MAX_NAME = 63 };  /* MAX_NAME: what llama.cpp's tensors can hold */

static void put_u32(wk_buf *b, uint32_t v) { wk_buf_add(b, &v, 4); }
static void put_u64(wk_buf *b, uint64_t v) { wk_buf_add(b, &v, 8); }
static void put_text(wk_buf *b, const char *s, size_t n) {
    put_u64(b, n);
    wk_buf_add(b, s, n);
}

static void put_head(wk_gguf_keys *k, const char *key, wk_gguf_type type) {
    put_text(&k->text, key, strlen(key));
    put_u32(&k->text, type);
    k->n++;
}

static const uint8_t width[WK_GGUF_TYPE_COUNT] = {
    [WK_GGUF_U8] = 1, [WK_GGUF_I8] = 1, [WK_GGUF_BOOL] = 1, [WK_GGUF_U16] = 2, [WK_GGUF_I16] = 2, [WK_GGUF_U32] = 4,
    [WK_GGUF_I32] = 4, [WK_GGUF_F32] = 4, [WK_GGUF_U64] = 8, [WK_GGUF_I64] = 8, [WK_GGUF_F64] = 8,
};

void wk_gguf_put_int(wk_gguf_keys *k, const char *key, wk_gguf_type type, int64_t v) {
    put_head(k, key, type);
    wk_buf_add(&k->text, &v, width[type]);  /* little-endian: the low bytes come first */
}

void wk_gguf_put_f32(wk_gguf_keys *k, const char *key, double v) {
    put_head(k, key, WK_GGUF_F32);
    wk_gguf_add_f32(k, (float)v);
}

void wk_gguf_put_bool(wk_gguf_keys *k, const char *key, bool v) {
    put_head(k, key, WK_GGUF_BOOL);
    wk_gguf_add_bool(k, v);
}

void wk_gguf_put_str(wk_gguf_keys *k, const char *key, const char *s, size_t n) {
    put_head(k, key, WK_GGUF_STR);
    put_text(&k->text, s, n);
}

void wk_gguf_put_array(wk_gguf_keys *k, const char *key, wk_gguf_type type, uint64_t n) {
    put_head(k, key, WK_GGUF_ARR);
    put_u32(&k->text, type);
    put_u64(&k->text, n);
}

void wk_gguf_add_str(wk_gguf_keys *k, const char *s, size_t n) { put_text(&k->text, s, n); }
void wk_gguf_add_i32(wk_gguf_keys *k, int32_t v) { wk_buf_add(&k->text, &v, 4); }
void wk_gguf_add_f32(wk_gguf_keys *k, float v) { wk_buf_add(&k->text, &v, 4); }
void wk_gguf_add_bool(wk_gguf_keys *k, bool v) { wk_buf_char(&k->text, v); }

void wk_gguf_put_copy(wk_gguf_keys *k, const wk_gguf *g, size_t i) {
    wk_gguf_type type, element;
    uint64_t n;
    wk_str key = wk_gguf_key(g, i, &type, &element, &n);
    wk_gguf_array v = wk_gguf_value(g, i);
    put_text(&k->text, key.ptr, key.len);
    put_u32(&k->text, type);
    if (type == WK_GGUF_ARR) {
        put_u32(&k->text, element);
        put_u64(&k->text, n);
    }
    wk_buf_add(&k->text, v.data, (size_t)(v.end - v.data));
    k->n++;
}

void wk_gguf_keys_free(wk_gguf_keys *k) {
    wk_buf_free(&k->text);
    k->n = 0;
}

/* ---- the file ---- */

static uint64_t aligned(uint64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static void put_tensor_list(wk_buf *b, const wk_tensor *t, size_t n) {
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        put_text(b, t[i].name.ptr, t[i].name.len);
        put_u32(b, (uint32_t)t[i].n_dim);
        for (int d = t[i].n_dim; d--;) put_u64(b, (uint64_t)t[i].shape[d]);  /* fastest first */
        put_u32(b, (uint32_t)wk_dtypes[t[i].dtype].gguf_id);
        put_u64(b, at);
        at = aligned(at + t[i].n_bytes);
    }
}

uint64_t wk_gguf_size(const wk_gguf_keys *k, const wk_tensor *t, size_t n) {
    uint64_t head = 24 + k->text.len, data = 0;
    for (size_t i = 0; i < n; i++) {
        head += 8 + t[i].name.len + 4 + 8 * (uint64_t)t[i].n_dim + 4 + 8;
        data = aligned(data + t[i].n_bytes);
    }
    return aligned(head) + data;
}

static wick_status check(const char *path, const wk_tensor *t, size_t n) {
    wk_names names;
    size_t dup;
    for (size_t i = 0; i < n; i++) {
        if (wk_dtypes[t[i].dtype].gguf_id < 0)
            return wk_fail(WICK_E_ARG, "%s: tensor \"%s\" has type %s, which GGUF does not have", path, wk_show(t[i].name).text,
                           wk_dtypes[t[i].dtype].name);
        if (t[i].name.len > MAX_NAME)
            return wk_fail(WICK_E_ARG, "%s: tensor \"%s\" has a name of %zu bytes, at most %d are possible", path,
                           wk_show(t[i].name).text, t[i].name.len, MAX_NAME);
    }
    wick_status st = wk_names_build(&names, t, n, sizeof *t, &dup);
    if (!st && dup < n) st = wk_fail(WICK_E_ARG, "%s: tensor \"%s\" is there twice", path, wk_show(t[dup].name).text);
    wk_names_free(&names);
    return st;
}

static wick_status put_padding(wk_out *out) {
    static const uint8_t zero[ALIGNMENT];
    return wk_out_write(out, zero, aligned(out->n) - out->n);
}

static wick_status put_data(wk_out *out, const wk_tensor *t, size_t n, wk_fill_fn fill, void *user) {
    wick_status st = put_padding(out);
    for (size_t i = 0; !st && i < n; i++) {
        uint64_t before = out->n;
        st = fill(&t[i], out, user);
        if (!st && out->n - before != t[i].n_bytes)
            st = wk_fail(WICK_E_ARG, "%s: tensor \"%s\" was given %" PRIu64 " bytes, it has %" PRIu64, out->path,
                         wk_show(t[i].name).text, out->n - before, t[i].n_bytes);
        if (!st) st = put_padding(out);
    }
    return st;
}

wick_status wk_gguf_put(const char *path, const wk_gguf_keys *k, const wk_tensor *t, size_t n, wk_fill_fn fill, void *user) {
    wk_buf head = { 0 };
    wk_out out;
    wick_status st = check(path, t, n);
    if (st) return st;
    wk_buf_add(&head, "GGUF", 4);
    put_u32(&head, 3);
    put_u64(&head, n);
    put_u64(&head, k->n);
    wk_buf list = { 0 };
    put_tensor_list(&list, t, n);
    if (head.failed || list.failed || k->text.failed) st = wk_fail_memory(head.len + list.len + k->text.len, "a GGUF header");
    if (!st) {
        st = wk_out_open(&out, path);
        if (!st) st = wk_out_write(&out, head.ptr, head.len);
        if (!st) st = wk_out_write(&out, k->text.ptr, k->text.len);
        if (!st) st = wk_out_write(&out, list.ptr, list.len);
        if (!st) st = put_data(&out, t, n, fill, user);
        st = wk_out_close(&out, st);
    }
    wk_buf_free(&list);
    wk_buf_free(&head);
    return st;
}
