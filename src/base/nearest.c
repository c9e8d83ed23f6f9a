/* nearest.c: distances between words. Load: a word that is wrong against some dozens of names. */
#include "base/nearest.h"
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Edits (insert, delete, replace, swap neighbours) between two words: optimal string alignment, Damerau 1964. */
static size_t distance(const char *a, const char *b) {
    enum { MAX = 40 };
    size_t n = strlen(a), m = strlen(b), d[MAX + 1][MAX + 1];
    if (n > MAX || m > MAX) return MAX;
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (!i || !j) { d[i][j] = i + j; continue; }
            size_t cost = tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]);
            size_t best = d[i - 1][j - 1] + cost;
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *wk_nearest(const char *typed, const char *const *names, size_t n) {
    const char *best = NULL;
    size_t least = strlen(typed) < 4 ? 1 : strlen(typed) < 9 ? 2 : 3;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(typed), d = distance(typed, names[i]);
        /* A beginning counts as near: --repeat for --repeat-penalty. */
        if (len >= 4 && !strncmp(typed, names[i], len) && d > 1) d = 1;
        if (d <= least && (!best || d < least)) { best = names[i]; least = d; }
    }
    return best;
}
