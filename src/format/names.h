/* names.h: finding an element of an array by its name, and names of strangers in messages. Shared by the formats. */
#ifndef WK_NAMES_H
#define WK_NAMES_H
#include "base/json.h"
#include "base/mem.h"
#include "base/status.h"

/* A hash index over n elements of stride bytes, each of which begins with its wk_str name. Borrows the array. */
typedef struct wk_names { const char *items; size_t n, stride; uint32_t *slot; size_t n_slot; uint64_t seed; } wk_names;

/* Indexes the array; *dup is the first element whose name was there before, n if there is none.
 * Errors  WICK_E_MEMORY, WICK_E_UNSUPPORTED (2^31 elements or more). */
wick_status wk_names_build(wk_names *t, const void *items, size_t n, size_t stride, size_t *dup);
void wk_names_free(wk_names *t);
/* Index of the element with this name, SIZE_MAX if there is none. */
size_t wk_names_find(const wk_names *t, const char *name, size_t len);

/* A name fit for a message: at most 72 bytes, anything but printable ASCII as '?', cut ones ending in "...". */
typedef struct wk_shown { char text[80]; } wk_shown;
wk_shown wk_show(wk_str s);
/* A value of a JSON file, likewise: text in quotes; a list and an object by those words, NULL as "absent". */
wk_shown wk_show_json(const json_t *v);

#endif
