/* gguf.h: GGUF files, versions 2 and 3, split ones too. Keys and tensors stay in the map. */
#ifndef WK_GGUF_H
#define WK_GGUF_H
#include "tensor/tensor.h"

typedef enum wk_gguf_type {
    WK_GGUF_U8, WK_GGUF_I8, WK_GGUF_U16, WK_GGUF_I16, WK_GGUF_U32, WK_GGUF_I32, WK_GGUF_F32, WK_GGUF_BOOL,
    WK_GGUF_STR, WK_GGUF_ARR, WK_GGUF_U64, WK_GGUF_I64, WK_GGUF_F64, WK_GGUF_TYPE_COUNT
} wk_gguf_type;

typedef struct wk_gguf wk_gguf;

/* Opens a file; a path to the first of split files (-00001-of-000NN.gguf) opens all of them.
 * Everything is checked: see the list of refusals in gguf.c.
 * Errors  WICK_E_IO, WICK_E_FORMAT, WICK_E_UNSUPPORTED, WICK_E_MEMORY. */
wick_status wk_gguf_open(const char *path, wk_gguf **out);
/* The same from memory that outlives it; path is only for messages. For fuzzing and tests. */
wick_status wk_gguf_open_memory(const uint8_t *data, size_t n, const char *path, wk_gguf **out);
void wk_gguf_free(wk_gguf *g);
const char *wk_gguf_path(const wk_gguf *g);
/* Is this the beginning of a GGUF file? */
bool wk_gguf_magic(const uint8_t *data, size_t n);

size_t wk_gguf_n_tensor(const wk_gguf *g);
const wk_tensor *wk_gguf_tensor(const wk_gguf *g, size_t i);
const wk_tensor *wk_gguf_find(const wk_gguf *g, const char *name);  /* hashed; NULL: not there */

/* Keys, for listing. */
size_t wk_gguf_n_key(const wk_gguf *g);
wk_str wk_gguf_key(const wk_gguf *g, size_t i, wk_gguf_type *type, wk_gguf_type *element, uint64_t *n);

bool wk_gguf_has(const wk_gguf *g, const char *key);
/* Typed reads. A missing key leaves *out alone and gives WICK_OK with *found = false (found may be NULL);
 * a key of another kind is WICK_E_FORMAT, whose message names file, key, the type found and the type wanted.
 * Integers of any width are taken where the value fits min..max; that too is checked and named. */
wick_status wk_gguf_int(const wk_gguf *g, const char *key, int64_t min, int64_t max, int64_t *out, bool *found);
wick_status wk_gguf_real(const wk_gguf *g, const char *key, double *out, bool *found);
wick_status wk_gguf_bool(const wk_gguf *g, const char *key, bool *out, bool *found);
wick_status wk_gguf_str(const wk_gguf *g, const char *key, wk_str *out, bool *found);
/* The "ORG/NAME" of the Hugging Face hub that a key's address names; { NULL, 0 } where it names none. Borrowed. */
wk_str wk_gguf_hub_name(const wk_gguf *g, const char *key);
/* Arrays. *n elements; strings are handed out one after the other without a copy. */
typedef struct wk_gguf_array { wk_gguf_type type; uint64_t n; const uint8_t *data; const uint8_t *end; } wk_gguf_array;
/* Key i's value as it lies in the file, one that is no array being one element. */
wk_gguf_array wk_gguf_value(const wk_gguf *g, size_t i);
wick_status wk_gguf_arr(const wk_gguf *g, const char *key, wk_gguf_array *out, bool *found);
/* Element i of a numeric or bool array (0 for strings), as a double (exact to 2^53) or an integer (reals are cut off;
 * a u64 above 2^63 wraps). */
double wk_gguf_arr_real(const wk_gguf_array *a, uint64_t i);
int64_t wk_gguf_arr_int(const wk_gguf_array *a, uint64_t i);
/* The string at *cursor (start with a->data), which moves to the next. Lengths were checked at open. */
wk_str wk_gguf_arr_str(const wk_gguf_array *a, const uint8_t **cursor);

#endif
