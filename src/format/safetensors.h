/* safetensors.h: one safetensors file, mapped; and writing one. */
#ifndef WK_SAFETENSORS_H
#define WK_SAFETENSORS_H
#include "base/file.h"
#include "tensor/tensor.h"

enum { WK_SAFETENSORS_HEADER_MAX = 100000000 };  /* the reference implementation's */

typedef struct wk_safetensors wk_safetensors;
/* Errors  WICK_E_IO, WICK_E_FORMAT (header too large, gaps, overlaps, shape and offsets that differ, invalid UTF-8, ...),
 * WICK_E_UNSUPPORTED (dtype), WICK_E_MEMORY. */
wick_status wk_safetensors_open(const char *path, wk_safetensors **out);
wick_status wk_safetensors_open_memory(const uint8_t *data, size_t n, const char *path, wk_safetensors **out);
void wk_safetensors_free(wk_safetensors *s);
const char *wk_safetensors_path(const wk_safetensors *s);  /* NULL for one in memory */
size_t wk_safetensors_n_tensor(const wk_safetensors *s);
const wk_tensor *wk_safetensors_tensor(const wk_safetensors *s, size_t i);
const wk_tensor *wk_safetensors_find(const wk_safetensors *s, const char *name);  /* NULL: not there */
const char *wk_safetensors_note(const wk_safetensors *s, const char *key);  /* of __metadata__; NULL: not there */

/* Writes tensors (dtypes that safetensors knows) to path by way of a temporary name beside it. Errors  WICK_E_IO, WICK_E_ARG,
 * WICK_E_MEMORY. */
wick_status wk_safetensors_write(const char *path, const wk_tensor *t, size_t n);
/* The same with a text in __metadata__, which readers that do not know the key pass over; text NULL: none. */
wick_status wk_safetensors_write_noted(const char *path, const wk_tensor *t, size_t n, const char *key, const char *text);
/* The same with tensors whose data need not be there (or not yet): each is asked for once, to write exactly its n_bytes. The
 * writers of both formats take such a function. Errors  also what fill gives. */
typedef wick_status (*wk_fill_fn)(const wk_tensor *t, wk_out *out, void *user);
wick_status wk_safetensors_put(const char *path, const wk_tensor *t, size_t n, wk_fill_fn fill, void *user);

#endif
