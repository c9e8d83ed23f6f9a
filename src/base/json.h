/* json.h: JSON in by jansson, with limits and whole errors; JSON out by our own printer,
 * because jansson prints 0.1 as 0.10000000000000001. */
#ifndef WK_JSON_H
#define WK_JSON_H
#include "base/mem.h"
#include "base/status.h"
#include <jansson.h>

/* Parses n bytes. what names the source in errors ("model/config.json": "line 3, column 7: ...").
 * Integers above 2^63-1 become reals; "\u0000" is allowed; a key that is there twice is an error; depth is limited (2048,
 * jansson's). *out is freed with json_decref().
 * Errors  WICK_E_FORMAT, WICK_E_MEMORY. */
wick_status wk_json_parse(const char *text, size_t n, const char *what, json_t **out);
/* Reads and parses a file of at most limit bytes. */
wick_status wk_json_read(const char *path, size_t limit, json_t **out);

/* jansson's json_loadb() with its memory through base/mem.h, for callers that word their own errors; and whether
 * this thread's last one failed for want of memory. */
bool wk_json_load(const char *text, size_t n, size_t flags, json_error_t *e, json_t **out);
bool wk_json_no_memory(void);

/* Writers: append to a wk_buf. */
void wk_json_put_str(wk_buf *b, const char *s, size_t n);  /* quoted; invalid UTF-8 becomes U+FFFD */
void wk_json_put_num(wk_buf *b, double v);                 /* shortest that reads back the same, whole ones as
                                                            * integers; NaN and infinities as null */
void wk_json_put_float(wk_buf *b, float v);                /* shortest for a float32 */

#endif
