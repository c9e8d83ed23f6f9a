/* number.c: the C locale for as long as one number takes. */
#include "base/number.h"
#include <locale.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static locale_t c_locale;  /* 0 if it could not be had: the program's own then serves */
static void make(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

static locale_t enter(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make);
    return c_locale ? uselocale(c_locale) : (locale_t)0;
}
static void leave(locale_t was) { if (was) uselocale(was); }

double wk_strtod(const char *s, char **end) {
    locale_t was = enter();
    double v = strtod(s, end);
    leave(was);
    return v;
}

int wk_format_number(char *out, size_t cap, const char *fmt, ...) {
    va_list ap;
    locale_t was = enter();
    va_start(ap, fmt);
    int n = vsnprintf(out, cap, fmt, ap);
    va_end(ap);
    leave(was);
    return n;
}
