/* status.c: error codes and the per-thread message behind wick_last_error(). */
#include "base/status.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[WK_MESSAGE];

wick_status wk_fail(wick_status code, const char *fmt, ...) {
    char text[sizeof message];  /* an argument may be the old message */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)  /* a file's words may be in it: nothing there commands a terminal */
        if (((unsigned char)*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f) *p = '?';
    memcpy(message, text, sizeof text);
    return code;
}

wick_status wk_fail_in(wick_status code, const char *prefix) {
    return wk_fail(code, "%s: %s", prefix, message);
}

wick_status wk_fail_memory(size_t n, const char *what) {
    return wk_fail(WICK_E_MEMORY, "out of memory: %zu bytes for %s", n, what);
}

void wk_clear_error(void) { message[0] = 0; }

const char *wick_last_error(void) { return message; }

const char *wick_status_name(wick_status status) {
    static const char *const names[] = {
        "WICK_OK", "WICK_E_ARG", "WICK_E_IO", "WICK_E_FORMAT", "WICK_E_UNSUPPORTED", "WICK_E_MEMORY", "WICK_E_LENGTH",
        "WICK_E_FULL", "WICK_E_CANCELLED", "WICK_E_TIMEOUT", "WICK_E_TEMPLATE", "WICK_E_END",
        "WICK_E_NUMERIC",
    };
    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown status";
}

const char *wick_version(void) { return WICK_VERSION; }
