/* pairs.h: products of float32 numbers that are rounded to bfloat16 on the spot, where the processor multiplies pairs of them:
 * twice as fast as float32's. For attention and its gradient. */
#ifndef WK_PAIRS_H
#define WK_PAIRS_H
#include <stdbool.h>
#include <stdint.h>

struct wk_attn_tile;
struct wk_attn_room;

typedef struct wk_pair_fns {
    void (*round)(const float *x, int64_t n, uint16_t *out);
    /* Rows a [n_k][lda] side by side: out [(n_k + 1) / 2][n] of two numbers each, the even row's first; n in sixteens. */
    void (*rows)(const float *a, int64_t lda, int64_t n_k, int64_t n, uint32_t *out);
    /* c[n_m][n_n] (+)= sum over n_k pairs, in order, of a[m * a_m + k * a_k] times b[k][n]; n_n in sixteens. */
    void (*mul)(int64_t n_m, int64_t n_n, bool add, int64_t n_k, const uint32_t *a, int64_t a_m, int64_t a_k, const uint32_t *b,
                int64_t ldb, float *c, int64_t ldc);
    /* As wk_kernels' attend; NULL: pairs are no faster than float32 here. */
    void (*attend)(const struct wk_attn_tile *t, const struct wk_attn_room *room);
} wk_pair_fns;

void wk_attend_avx512bf16(const struct wk_attn_tile *t, const struct wk_attn_room *room);

/* This machine's; NULLs: it has none. */
wk_pair_fns wk_pairs_here(void);

#endif
