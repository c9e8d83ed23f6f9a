/* number.h: numbers read and written with a point, whatever locale the program around us has chosen. */
#ifndef WK_NUMBER_H
#define WK_NUMBER_H
#include <stddef.h>

/* strtod() and snprintf() in the C locale. */
double wk_strtod(const char *s, char **end);
int wk_format_number(char *out, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
