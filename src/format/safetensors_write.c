/* safetensors_write.c: writes a safetensors file, whole or not at all; the tensors' bytes may be made as they are written.
 * Layout: safetensors README, "Format". Load: a header of 10 KB to 15 MB, 1 MB to 10 GB of data that is never held at once. */
#include "format/safetensors.h"
#include "base/json.h"
#include "format/names.h"
#include <inttypes.h>
#include <string.h>

enum { HEADER_MAX = WK_SAFETENSORS_HEADER_MAX };

static wick_status check_writable(const char *path, const wk_tensor *t, size_t n) {
    wk_names names;
    size_t dup;
    for (size_t i = 0; i < n; i++) {
        const wk_dtype_info *d = &wk_dtypes[t[i].dtype];
        size_t row, bytes;
        wk_shown name = wk_show(t[i].name);
        if (!d->st_name)
            return wk_fail(WICK_E_ARG, "%s: tensor \"%s\" has type %s, which safetensors does not know", path, name.text, d->name);
        if (wk_str_eq(t[i].name, "__metadata__")) return wk_fail(WICK_E_ARG, "%s: a tensor cannot be named \"__metadata__\"", path);
        if (!wk_row_bytes(t[i].dtype, wk_tensor_cols(&t[i]), &row) || !wk_mul_size(row, (size_t)wk_tensor_rows(&t[i]), &bytes) ||
            bytes != t[i].n_bytes)
            return wk_fail(WICK_E_ARG, "%s: tensor \"%s\" has %" PRIu64 " bytes, which is not what its shape and type need", path,
                           name.text, t[i].n_bytes);
    }
    wick_status st = wk_names_build(&names, t, n, sizeof *t, &dup);
    if (!st && dup < n) st = wk_fail(WICK_E_ARG, "%s: tensor \"%s\" is there twice", path, wk_show(t[dup].name).text);
    wk_names_free(&names);
    return st;
}

/* Wide types first, so that every tensor begins on a multiple of its element's size: order[k] is the k-th to write. */
static void order_by_width(const wk_tensor *t, size_t n, size_t *order) {
    for (int width = 8; width; width /= 2)
        for (size_t i = 0; i < n; i++)
            if (wk_dtypes[t[i].dtype].bytes == width) *order++ = i;
}

/* A text for __metadata__ beside the format; text NULL: none. */
typedef struct note { const char *key, *text; } note;

/* Length and JSON, padded with spaces to a multiple of 8. */
static void put_header(wk_buf *b, const wk_tensor *t, size_t n, const size_t *order, const note *more) {
    uint64_t at = 0;
    wk_buf_add(b, "\0\0\0\0\0\0\0", 8);
    wk_buf_str(b, "{\"__metadata__\":{\"format\":\"pt\"");
    if (more->text) {
        wk_buf_char(b, ',');
        wk_json_put_str(b, more->key, strlen(more->key));
        wk_buf_char(b, ':');
        wk_json_put_str(b, more->text, strlen(more->text));
    }
    wk_buf_char(b, '}');
    for (size_t k = 0; k < n; k++) {
        const wk_tensor *x = &t[order[k]];
        wk_buf_char(b, ',');
        wk_json_put_str(b, x->name.ptr, x->name.len);
        wk_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", wk_dtypes[x->dtype].st_name);
        for (int i = 0; i < x->n_dim; i++) wk_buf_printf(b, "%s%" PRId64, i ? "," : "", x->shape[i]);
        wk_buf_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at, at + x->n_bytes);
        at += x->n_bytes;
    }
    wk_buf_char(b, '}');
    while (b->len % 8 && !b->failed) wk_buf_char(b, ' ');
    if (b->failed) return;
    uint64_t len = b->len - 8;
    memcpy(b->ptr, &len, 8);
}

/* Header and data in the order that the header says. */
static wick_status put_all(wk_out *out, const wk_tensor *t, size_t n, const size_t *order, const wk_buf *header, wk_fill_fn fill,
                           void *user) {
    wick_status st = wk_out_write(out, header->ptr, header->len);
    for (size_t k = 0; !st && k < n; k++) {
        uint64_t before = out->n;
        st = fill(&t[order[k]], out, user);
        if (!st && out->n - before != t[order[k]].n_bytes)
            st = wk_fail(WICK_E_ARG, "%s: tensor \"%s\" was given %" PRIu64 " bytes, it has %" PRIu64, out->path,
                         wk_show(t[order[k]].name).text, out->n - before, t[order[k]].n_bytes);
    }
    return st;
}

static wick_status put(const char *path, const wk_tensor *t, size_t n, const note *more, wk_fill_fn fill, void *user) {
    wk_buf header = { 0 };
    wk_out out;
    size_t *order = NULL;
    wick_status st = check_writable(path, t, n);
    if (st) return st;
    if (n && !(order = wk_alloc_array(n, sizeof *order))) return wk_fail_memory(n * sizeof *order, path);
    order_by_width(t, n, order);
    put_header(&header, t, n, order, more);
    if (header.failed) st = wk_fail_memory(header.len, "a safetensors header");
    else if (header.len - 8 > HEADER_MAX)
        st = wk_fail(WICK_E_ARG, "%s: its header would have %zu bytes, at most %d are allowed", path, header.len - 8, HEADER_MAX);
    if (!st) {
        st = wk_out_open(&out, path);
        if (!st) st = put_all(&out, t, n, order, &header, fill, user);
        st = wk_out_close(&out, st);
    }
    wk_buf_free(&header);
    wk_free(order);
    return st;
}

wick_status wk_safetensors_put(const char *path, const wk_tensor *t, size_t n, wk_fill_fn fill, void *user) {
    return put(path, t, n, &(note){ NULL, NULL }, fill, user);
}

static wick_status fill_from_memory(const wk_tensor *t, wk_out *out, void *user) {
    (void)user;
    return wk_out_write(out, t->data, t->n_bytes);
}

wick_status wk_safetensors_write(const char *path, const wk_tensor *t, size_t n) {
    return wk_safetensors_put(path, t, n, fill_from_memory, NULL);
}

wick_status wk_safetensors_write_noted(const char *path, const wk_tensor *t, size_t n, const char *key, const char *text) {
    return put(path, t, n, &(note){ key, text }, fill_from_memory, NULL);
}
