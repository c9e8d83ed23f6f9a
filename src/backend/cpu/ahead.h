/* ahead.h: what a tile of a product asks for while it runs: the next rows' activations and sums so far. They lie in L2 or beyond,
 * in pieces too short for the processor to see where they lead. Past the last row it asks in vain, which is harmless. */
#ifndef WK_AHEAD_H
#define WK_AHEAD_H
#include "backend/cpu/linear.h"
#include "backend/cpu/unroll.h"

#define WK_AHEAD __attribute__((always_inline)) static inline

/* Chunk c's part, of a tile of n rows from r on: in the first turns n_line lines of one of the next n rows' sums, from column `col`
 * on; */
WK_AHEAD void wk_ahead_sums(const wk_tile *t, int64_t r, int c, const int n, int col, const int n_line) {
    if (c >= n) return;
    const char *y = (const char *)(t->y + (r + n + c) * t->ldy + col);
    UNROLL for (int i = 0; i < n_line; i++) __builtin_prefetch(y + 64 * i);
}
/* and the next n rows' chunk. */
WK_AHEAD void wk_ahead_codes(const wk_tile *t, int64_t r, int c, const int n, int col, const int n_line) {
    UNROLL for (int i = 0; i < n; i++) __builtin_prefetch(t->act + (r + n + i) * t->act_ld + c);
    wk_ahead_sums(t, r, c, n, col, n_line);
}

/* Turn k's part, each turn taking 4 bytes of a row: a line of one of the next n <= 16 rows of x, `stride` bytes apart; and in the
 * first turns a line of a row's 32 sums. x is at row r. */
WK_AHEAD void wk_ahead_numbers(const wk_tile *t, const void *x, int64_t stride, int64_t r, int k, const int n) {
    int i = k % 16;
    if (i < n) __builtin_prefetch((const char *)x + (n + i) * stride + k / 16 * 64);
    if (k < 2 * n) __builtin_prefetch((const char *)(t->y + (r + n + k / 2) * t->ldy) + k % 2 * 64);
}

#endif
