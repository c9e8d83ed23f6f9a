/* status.h: how every call fails: one code, one message per thread. */
#ifndef WK_STATUS_H
#define WK_STATUS_H
#include "wick.h"

#define WK_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Sets this thread's message and returns code, so that `return wk_fail(...)` reads as one step.
 * The message says what, where, and what to do about it. It is cut to WK_MESSAGE bytes with its NUL, room for a long list of
 * tensors. */
enum { WK_MESSAGE = 8192 };
wick_status wk_fail(wick_status code, const char *fmt, ...) WK_PRINTF(2, 3);
/* Puts "prefix: " in front of the present message; returns code. For callers that know the file's name. */
wick_status wk_fail_in(wick_status code, const char *prefix);
/* Clears the message; public entries call it first. */
void wk_clear_error(void);
/* "out of memory: N bytes for WHAT". */
wick_status wk_fail_memory(size_t n, const char *what);

#endif
