/* gguf_write.h: writing a GGUF file: keys first, then tensors, whose bytes may be made as they are written. */
#ifndef WK_GGUF_WRITE_H
#define WK_GGUF_WRITE_H
#include "format/gguf.h"
#include "format/safetensors.h"

/* Keys as they will lie in the file. Zero-initialise. After a failed put, text.failed stays true: check once at the end. */
typedef struct wk_gguf_keys { wk_buf text; uint64_t n; } wk_gguf_keys;
void wk_gguf_put_int(wk_gguf_keys *k, const char *key, wk_gguf_type type, int64_t v);
void wk_gguf_put_f32(wk_gguf_keys *k, const char *key, double v);
void wk_gguf_put_bool(wk_gguf_keys *k, const char *key, bool v);
void wk_gguf_put_str(wk_gguf_keys *k, const char *key, const char *s, size_t n);
/* An array's head; exactly n elements follow by the calls below. */
void wk_gguf_put_array(wk_gguf_keys *k, const char *key, wk_gguf_type type, uint64_t n);
void wk_gguf_add_str(wk_gguf_keys *k, const char *s, size_t n);
void wk_gguf_add_i32(wk_gguf_keys *k, int32_t v);
void wk_gguf_add_f32(wk_gguf_keys *k, float v);
void wk_gguf_add_bool(wk_gguf_keys *k, bool v);
/* Key i of another file, as it is there. */
void wk_gguf_put_copy(wk_gguf_keys *k, const wk_gguf *g, size_t i);
void wk_gguf_keys_free(wk_gguf_keys *k);

/* Bytes that the file will have. */
uint64_t wk_gguf_size(const wk_gguf_keys *k, const wk_tensor *t, size_t n);
/* Writes version 3 with the usual alignment of 32, by way of a temporary name: whole or not at all.
 * Errors  WICK_E_IO, WICK_E_ARG (a type or name that GGUF does not have), WICK_E_MEMORY, and what fill gives. */
wick_status wk_gguf_put(const char *path, const wk_gguf_keys *k, const wk_tensor *t, size_t n, wk_fill_fn fill, void *user);

#endif
