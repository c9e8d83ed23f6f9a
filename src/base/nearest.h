/* nearest.h: which name was meant, for messages about flags, verbs and keys that are not there. */
#ifndef WK_NEAREST_H
#define WK_NEAREST_H
#include <stddef.h>

/* Of n names the one nearest to what was typed, or NULL if none is near. */
const char *wk_nearest(const char *typed, const char *const *names, size_t n);

#endif
