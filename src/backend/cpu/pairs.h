/* pairs.h: attention and its gradient by numbers that are rounded to bfloat16 on the spot, where the processor multiplies pairs of
 * them: twice as fast as float32's. */
#ifndef WK_PAIRS_H
#define WK_PAIRS_H

struct wk_attn_tile;
struct wk_attn_room;
struct wk_attn_grad;
struct wk_attn_grad_room;

/* As wk_kernels' attend and attend_grad. */
typedef struct wk_pair_fns {
    void (*attend)(const struct wk_attn_tile *t, const struct wk_attn_room *room);
    void (*attend_grad)(const struct wk_attn_grad *t, const struct wk_attn_grad_room *room);
} wk_pair_fns;

void wk_attend_avx512bf16(const struct wk_attn_tile *t, const struct wk_attn_room *room);
void wk_attend_grad_avx512bf16(const struct wk_attn_grad *t, const struct wk_attn_grad_room *room);

/* This machine's; NULLs: pairs are no faster than float32 here. */
wk_pair_fns wk_pairs_here(void);

#endif
