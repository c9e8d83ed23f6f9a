/* kernels.h: the kernels between the products, one table per instruction set. Each works on one row, head or key block,
 * so that what a row gets does not depend on who runs beside it. */
#ifndef WK_KERNELS_H
#define WK_KERNELS_H
#include "backend/cpu/pairs.h"
#include "graph/graph.h"
#include "tensor/dtype.h"

/* How one head's keys and values of one page lie: keys as [head_dim][WK_PAGE_LEN], so that scores of neighbouring
 * positions come out of one vector, values as [WK_PAGE_LEN][head_dim]. Q8_0 adds float16 scales of 32 dimensions:
 * keys [head_dim / 32][WK_PAGE_LEN], values [WK_PAGE_LEN][head_dim / 32]. */
typedef struct wk_kv_block {
    wk_dtype dtype;
    int head_dim;
    size_t scale_at;    /* bytes from a block's start to its scales */
    size_t n_bytes;     /* of a block of keys, and of one of values */
} wk_kv_block;

/* One thread's room for a tile of attention; pad: head_dim rounded up to 16. */
typedef struct wk_attn_room {
    float *q;      /* [WK_TILE_ROWS][pad] */
    float *y;      /* [WK_TILE_ROWS][pad] */
    float *score;  /* [WK_TILE_ROWS][WK_PAGE_LEN] */
    float *sum;    /* [WK_TILE_ROWS][16], as many of the 16 as the instruction set has lanes */
    float *k;      /* [head_dim][WK_PAGE_LEN] */
    float *v;      /* [WK_PAGE_LEN][pad] */
} wk_attn_room;

enum { WK_TILE_ROWS = 192 };  /* query rows (positions times heads) that share a key block; with them it fits into L2 */

/* Some rows of one sequence times some query heads of one KV head. */
typedef struct wk_attn_tile {
    const wk_attr *attr;
    const float *q; float *y; float *lse;  /* first query head's column of row 0; lse NULL: not asked for */
    int64_t ldq, ldlse;
    const float *sink;                     /* [n_head] of the tile's heads; NULL: none */
    const int32_t *row, *pos;              /* [n_row] rows of q, and positions by these */
    int n_row, n_head, n_key;              /* n_key: positions that the sequence holds */
    const uint8_t *kv;                     /* this layer's keys of this KV head in page 0 */
    size_t page_bytes, v_at;               /* from page to page, from keys to values */
    const int32_t *page;                   /* the sequence's */
    wk_kv_block block;
} wk_attn_tile;

/* One sequence and one query head, for the gradient. Pointers are at row 0. */
typedef struct wk_attn_grad {
    const wk_attr *attr;
    const float *g, *q, *y, *lse; float *dq;   /* [rows of q][ldq]; lse [rows of q][ldlse] */
    float *dk, *dv;                            /* [T][ldk]: this query head's share */
    int64_t ldq, ldlse, ldk;
    const int32_t *row, *pos; int n_row;       /* the sequence's rows of q, in order of position, and positions by row */
    const int32_t *key_row; int n_key_row;     /* the batch's rows of it: of positions from first_key on, without gaps */
    int first_key, n_key;
    int halves;                                /* blocks of keys that are looked at: bit wk_grad_half(); of both dq is added */
    const uint8_t *kv; size_t page_bytes, v_at; const int32_t *page; wk_kv_block block;  /* as in wk_attn_tile */
} wk_attn_grad;

enum {
    WK_GRAD_ROWS = 48,    /* query rows of a tile */
    WK_GRAD_SPAN = 1024,  /* rows that are made ready at a time; few sequences are longer, and heads of 256 take 4 MB of room */
};
/* Which half a block of keys belongs to: under a causal mask either has as many pairs of rows and keys, 0 + 3 = 1 + 2. */
static inline int wk_grad_half(int64_t block) { return (int)((block + 1) / 2 % 2); }

/* One thread's room for it; a tile has WK_GRAD_ROWS rows, a block WK_PAGE_LEN positions. What products take is float32, or pairs of
 * bfloat16 in one float's place: of columns where a row is on their left side, of rows where it is on their right. per: 1, 2. */
typedef struct wk_attn_grad_room {
    int64_t n_row;                   /* rows that are made ready at a time: even */
    float *q, *g;                    /* [n_row][pad / per] */
    float *q_rows, *g_rows;          /* [n_row / per][pad]; of float32 q and g once more */
    float *dq;                       /* [2][n_row][pad]: of either half of the blocks */
    float *lse, *gy;                 /* [n_row]: log-sum-exp in units of log2, g . y */
    float *k, *k_turned, *v_turned;  /* [block / per][pad], [pad / per][block] twice, rows in sixteens */
    float *rows;                     /* a block before it is turned */
    float *dk, *dv;                  /* [block][pad] */
    float *p, *ds;                   /* [tile][block]: weights, gradients of scores; in their place then, as right sides */
    float *ds_left;                  /* [tile][block / per]; of float32 ds once more */
} wk_attn_grad_room;

/* What a row's loss needs of its logits, taken in tile by tile: largest, sum of e^(z - largest), sum of z. */
typedef struct wk_logit_sum { float top, sum, all; } wk_logit_sum;

typedef struct wk_kernels {
    unsigned need;     /* processor features */
    const char *name;
    /* y = x * rstd * w over n columns; returns rstd = 1 / sqrt(mean(x^2) + eps). */
    float (*rms_norm)(const float *x, const float *w, float eps, int64_t n, float *y);
    /* dx, added to or not, for one run of n columns. */
    void (*rms_norm_grad)(const float *g, const float *x, const float *w, float rstd, int64_t n, bool add, float *dx);
    void (*add)(const float *a, const float *b, int64_t n, float *y);
    /* y += s * x */
    void (*axpy)(float s, const float *x, int64_t n, float *y);
    void (*scale)(float s, const float *x, int64_t n, float *y);
    void (*glu)(wk_act act, const float *gate, const float *up, int64_t n, float *y);
    void (*softcap)(float cap, const float *x, int64_t n, float *y);
    /* One head: pairs (j, j + half); back: turned the other way. */
    void (*rope)(const float *x, const float *cs, const float *sn, bool back, int64_t half, int64_t head_dim, float *y);
    /* One head's key and value at position `at` of a page. */
    void (*store_kv)(const wk_kv_block *b, const float *k, const float *v, int at, uint8_t *k_block, uint8_t *v_block);
    void (*attend)(const wk_attn_tile *t, const wk_attn_room *room);
    /* gradients */
    void (*glu_grad)(wk_act act, const float *g, const float *gate, const float *up, int64_t n, float *dgate, float *dup);
    void (*softcap_grad)(float cap, const float *g, const float *y, int64_t n, float *dx);
    float (*dot)(const float *a, const float *b, int64_t n);
    void (*attend_grad)(const wk_attn_grad *t, const wk_attn_grad_room *room);
    /* Caps n logits in place (cap > 0) and takes them in. */
    void (*add_logits)(float cap, float *z, int64_t n, wk_logit_sum *s);
    /* Logits become g * (softmax - even), times the cap's slope. */
    void (*logits_grad)(float cap, float lse, float g, float even, float *z, int64_t n);
    /* z = w * e - even, of n numbers in bfloat16. */
    void (*weigh)(const uint16_t *e, float w, float even, int64_t n, float *z);
    /* c[n_m][n_n] (+)= sum over k of a[k][m] * b[k][n], k in blocks of 64, each summed by itself and added in order. */
    void (*cross)(int64_t n_m, int64_t n_n, bool add, int64_t n_k, const float *a, int64_t lda, const float *b, int64_t ldb,
                  float *c, int64_t ldc);
} wk_kernels;

extern const wk_kernels wk_kernels_c, wk_kernels_avx2, wk_kernels_avx512, wk_kernels_neon;
/* The table for this machine, as wk_cpu_features() has it now. */
const wk_kernels *wk_kernels_here(void);

#endif
