/* attention_body.h: attention over one tile of query rows, compiled once per instruction set.
 * Softmax is taken block by block with a running maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022, algorithm 1).
 * A block is a page: WK_PAGE_LEN positions, counted from the sequence's position 0. A row's result is a chain of
 * operations over (block, position) alone: score = fma over head_dim; sum over a block's lanes; y = fma over positions.
 * Rows share the unpacking of a block and nothing else; positions that a row does not see are left out, not added as zero.
 * Where the processor multiplies pairs of bfloat16 (WK_SIMD_BF16), queries, keys, weights and values are rounded to them on the
 * way into the products, whose sums stay float32. */
#if defined(WK_SIMD_BF16)
enum { PER = 2 };  /* numbers of one column that a lane of a product's right side holds: rows k and k + 1 */
typedef vu operand;
INLINE operand operand_load(const float *p) { return vu_load((const uint32_t *)(const void *)p); }
INLINE operand operand_all(const float *p) { return vu_all((const uint32_t *)(const void *)p); }
INLINE vf multiply_add(operand a, operand b, vf c) { return vf_dot_pairs(a, b, c); }
/* Numbers of a left side, from place i of a row on. */
INLINE void put_left(float *row, int64_t i, vf v) { vf_to_bf16((uint16_t *)(void *)row + i, v); }
/* Operands of a right side, from PER of its rows. */
INLINE void put_right(float *to, const vf *row) { vu_store((uint32_t *)(void *)to, vu_pairs(row[0], row[1])); }
#else
enum { PER = 1 };
typedef vf operand;
INLINE operand operand_load(const float *p) { return vf_load(p); }
INLINE operand operand_all(const float *p) { return vf_set(*p); }
INLINE vf multiply_add(operand a, operand b, vf c) { return vf_fma(a, b, c); }
INLINE void put_left(float *row, int64_t i, vf v) { vf_store(row + i, v); }
INLINE void put_right(float *to, const vf *row) { vf_store(to, row[0]); }
#endif

/* Where a product's right side comes from: operands that were unpacked (float32: as it is stored), or a block of the cache. */
typedef enum source { PLAIN, F16, Q8_KEYS, Q8_VALUES } source;
typedef struct right {
    const void *at; const uint16_t *scale;
    int64_t ld, ld_scale;
    int64_t next;  /* bytes to the same place of the block that comes next; 0: not known */
} right;

/* A vector of row k from column j on. Unpacking is the same arithmetic wherever it happens. */
INLINE vf fetch(const source from, const right *b, int64_t k, int64_t j) {
    int64_t i = k * b->ld + j;
    if (from == F16) return vf_from_f16((const uint16_t *)b->at + i);
    if (from == Q8_KEYS) return vf_from_i8((const int8_t *)b->at + i) * vf_from_f16(b->scale + k / 32 * b->ld_scale + j);
    if (from == Q8_VALUES) return vf_from_i8((const int8_t *)b->at + i) * vf_f16_all(b->scale[k * b->ld_scale + j / 32]);
    return vf_load((const float *)b->at + i);
}

/* Rows k and on for as many as an operand has; PLAIN: row k of what was unpacked. */
INLINE operand fetch_operand(const source from, const right *b, int64_t k, int64_t j) {
#if defined(WK_SIMD_BF16)
    if (from != PLAIN) return vu_pairs(fetch(from, b, PER * k, j), fetch(from, b, PER * k + 1, j));
#else
    if (from != PLAIN) return fetch(from, b, k, j);
#endif
    return operand_load((const float *)b->at + k * b->ld + j);
}

/* Asks for what the next block holds where nv vectors of row k are from column j on: its page is somewhere else, which the
 * processor cannot foresee. One row alone is faster without. */
INLINE void foretell(const source from, const right *b, int64_t k, int64_t j, const int nv) {
    const int64_t size = from == F16 ? 2 : 1;
    const char *at = (const char *)b->at + b->next + (k * b->ld + j) * size;
    WK_UNROLL
    for (int64_t i = 0; i < nv * VW * size; i += 64) __builtin_prefetch(at + i);
}

/* Positions [lo, hi) of a block that a row sees; lo >= hi: none. */
typedef struct span { int64_t lo, hi; } span;

/* The bits of operand k that a row sees. */
INLINE uint32_t seen_bits(span s, int64_t k) {
    uint32_t bits = 0;
    for (int64_t i = 0; i < PER; i++)
        if (s.lo <= k * PER + i && k * PER + i < s.hi) bits |= (PER == 1 ? ~0u : 0xffffu) << 16 * i;
    return bits;
}

/* acc[m][j] += a[m][k] B[k][n + j], for rows that see k, and the numbers of operand k that they see. */
#define STEP(sees)                                                                                       \
    do {                                                                                                 \
        operand w[TILE_N];                                                                               \
        WK_UNROLL                                                                                        \
        for (int i = 0; i < PER; i++)                                                                    \
            if (from != PLAIN && mr > 1) foretell(from, &at, k * PER + i, n, nv);                        \
        WK_UNROLL                                                                                        \
        for (int j = 0; j < nv; j++) w[j] = fetch_operand(from, &at, k, n + j * VW);                     \
        WK_UNROLL                                                                                        \
        for (int m = 0; m < mr; m++) {                                                                   \
            uint32_t bits = (sees);                                                                      \
            if (!bits) continue;                                                                         \
            operand x = operand_all(a + m * lda + k);                                                    \
            WK_UNROLL                                                                                    \
            for (int j = 0; j < nv; j++)                                                                 \
                acc[m][j] = multiply_add(x, PER == 1 || bits == ~0u ? w[j] : (operand)((vu)w[j] & bits), acc[m][j]); \
        }                                                                                                \
    } while (0)

/* C[mr][nv vectors] = A[mr][n_k] * B[n_k][n.. + nv vectors], each element one chain of sums in order of k. With `seen`, row m
 * adds to C, and only what k of seen[m] give: most k are seen by all rows, some before and after by a few. */
INLINE void register_tile(const source from, const int mr, const int nv, const span *seen, int64_t n_k, const float *a,
                          int64_t lda, const right *b, int64_t n, float *c, int64_t ldc) {
    vf acc[TILE_M][TILE_N];
    right at = *b;
    span any = { 0, n_k }, all = { 0, n_k };
    if (seen) any = all = seen[0];
    for (int m = 1; seen && m < mr; m++) {
        if (any.lo > seen[m].lo) any.lo = seen[m].lo;
        if (any.hi < seen[m].hi) any.hi = seen[m].hi;
        if (all.lo < seen[m].lo) all.lo = seen[m].lo;
        if (all.hi > seen[m].hi) all.hi = seen[m].hi;
    }
    any = (span){ any.lo / PER, (any.hi + PER - 1) / PER };
    all = (span){ (all.lo + PER - 1) / PER, seen ? all.hi / PER : any.hi };
    if (all.lo > all.hi) all.lo = all.hi = any.hi;
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) acc[m][j] = seen ? vf_load(c + m * ldc + j * VW) : vf_zero();
    }
    for (int64_t k = any.lo; k < all.lo; k++) STEP(seen_bits(seen[m], k));
    for (int64_t k = all.lo; k < all.hi; k++) STEP(~0u);
    for (int64_t k = all.hi; k < any.hi; k++) STEP(seen_bits(seen[m], k));
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) vf_store(c + m * ldc + j * VW, acc[m][j]);
    }
}

/* The same with sizes that become constants: up to TILE_M rows. */
#define TILE_ARGS const span *seen, int64_t n_k, const float *a, int64_t lda, const right *b, int64_t n, float *c, int64_t ldc
#define TILE(from, mr, nv) register_tile(from, (mr) <= TILE_M ? (mr) : 1, nv, seen, n_k, a, lda, b, n, c, ldc)
#define TILE_ROWS(name, from, nv)                      \
    static void name(int mr, TILE_ARGS) {              \
        switch (mr) {                                  \
        case 1: TILE(from, 1, nv); break;              \
        case 2: TILE(from, 2, nv); break;              \
        case 3: TILE(from, 3, nv); break;              \
        case 4: TILE(from, 4, nv); break;              \
        case 5: TILE(from, 5, nv); break;              \
        default: TILE(from, TILE_M, nv);               \
        }                                              \
    }
TILE_ROWS(tile_plain, PLAIN, TILE_N)
TILE_ROWS(tile_plain_1, PLAIN, 1)
#if defined(WK_SIMD_AVX512)
TILE_ROWS(tile_plain_2, PLAIN, 2)
TILE_ROWS(tile_plain_3, PLAIN, 3)
#endif
TILE_ROWS(tile_f16, F16, TILE_N)
TILE_ROWS(tile_q8_keys, Q8_KEYS, TILE_N)
TILE_ROWS(tile_q8_values, Q8_VALUES, TILE_N)

/* Columns [0, n_n) of n_m rows; n_n is a multiple of TILE_N vectors unless from is PLAIN. seen: NULL or [n_m]. */
static void multiply(source from, int64_t n_m, int64_t n_n, const span *seen, int64_t n_k, const float *a, int64_t lda,
                     const right *b, float *c, int64_t ldc) {
    static void (*const whole[])(int, TILE_ARGS) = { tile_plain, tile_f16, tile_q8_keys, tile_q8_values };
    int64_t n_tile = (n_m + TILE_M - 1) / TILE_M, rows = (n_m + n_tile - 1) / n_tile;  /* 7 rows: 4 and 3, not 6 and a slow 1 */
    for (int64_t n = 0, nv; n < n_n; n += nv * VW) {
        void (*tile)(int, TILE_ARGS) = whole[from];
        nv = TILE_N;
        if (n_n - n < TILE_N * VW) {
            tile = tile_plain_1;
            nv = 1;
#if defined(WK_SIMD_AVX512)
            nv = (n_n - n) / VW;
            tile = nv == 3 ? tile_plain_3 : nv == 2 ? tile_plain_2 : tile_plain_1;
#endif
        }
        for (int64_t m = 0; m < n_m; m += rows)
            tile((int)(n_m - m < rows ? n_m - m : rows), seen ? seen + m : NULL, n_k, a + m * lda, lda, b, n, c + m * ldc + n,
                 ldc);
    }
}

INLINE int64_t up(int64_t n) { return (n + VW - 1) / VW * VW; }

/* Where a page's keys and values of one head lie. */
INLINE right keys_of(const wk_kv_block *b, const uint8_t *block) {
    return (right){ .at = block, .scale = (const uint16_t *)(const void *)(block + b->scale_at), .ld = WK_PAGE_LEN,
                    .ld_scale = WK_PAGE_LEN };
}
INLINE right values_of(const wk_kv_block *b, const uint8_t *block) {
    return (right){ .at = block, .scale = (const uint16_t *)(const void *)(block + b->scale_at), .ld = b->head_dim,
                    .ld_scale = b->head_dim / 32 };
}

/* n numbers of row k, zeros after them: a short end is float16 or float32, as Q8_0 comes in whole blocks. */
INLINE vf fetch_n(const source from, const right *b, int64_t k, int64_t j, int64_t n) {
    uint16_t h[VW] = { 0 };
    if (n >= VW) return fetch(from, b, k, j);
    if (from != F16) return vf_load_n((const float *)b->at + k * b->ld + j, n);
    memcpy(h, (const uint16_t *)b->at + k * b->ld + j, (size_t)n * sizeof *h);
    return vf_from_f16(h);
}

/* Rows [k0, k1) of a block's n columns as operands: out [][ldo]; zeros up to a vector's end, and where an operand's row is k1. */
INLINE void unpack(const source from, const right *b, int64_t k0, int64_t k1, int64_t n, float *out, int64_t ldo) {
    for (int64_t k = k0 / PER; k * PER < k1; k++)
        for (int64_t j = 0; j < n; j += VW) {
            float *to = out + k * ldo + j;
#if defined(WK_SIMD_BF16)
            vf odd = PER * k + 1 < k1 ? fetch_n(from, b, PER * k + 1, j, n - j) : vf_zero();
            vu_store((uint32_t *)(void *)to, vu_pairs(fetch_n(from, b, PER * k, j, n - j), odd));
#else
            vf_store(to, fetch_n(from, b, k, j, n - j));
#endif
        }
}
static void unpack_any(source from, const right *b, int64_t k0, int64_t k1, int64_t n, float *out, int64_t ldo) {
    if (from == F16) unpack(F16, b, k0, k1, n, out, ldo);
    else if (from == Q8_KEYS) unpack(Q8_KEYS, b, k0, k1, n, out, ldo);
    else if (from == Q8_VALUES) unpack(Q8_VALUES, b, k0, k1, n, out, ldo);
    else unpack(PLAIN, b, k0, k1, n, out, ldo);
}

/* What a row at pos sees of the block that starts at position base, of a sequence's n_key positions. */
INLINE span visible(const wk_attr *a, int64_t n_key, int64_t pos, int64_t base) {
    span s = { 0, n_key - base };
    if (a->causal && s.hi > pos + 1 - base) s.hi = pos + 1 - base;
    if (a->window) s.lo = pos - a->window + 1 - base;
    if (s.lo < 0) s.lo = 0;
    if (s.hi > WK_PAGE_LEN) s.hi = WK_PAGE_LEN;
    return s;
}

/* One thread's tile on its way through the blocks. Scores are in units of log2: weights are powers of two. They are taken
 * relative to `top`, which follows the largest score only when that is more than SLACK above it: 2^SLACK more in a weight
 * costs no precision, moving y and sum does cost time. Sums stay in lanes until the end. */
#define SLACK 10.0f
#define LOG2_E 1.44269504f
#define LN_2 0.69314718f
typedef struct progress { float top[WK_TILE_ROWS], *sum; } progress;

/* Row r's y and sum become relative to a larger top. */
static void raise_top(progress *at, int64_t r, float top, int64_t n_y, float *y) {
    vf fade = vf_exp2(vf_set(at->top[r] - top));
    for (int64_t i = 0; i < n_y; i += VW) vf_store(y + i, vf_load(y + i) * fade);
    vf_store(at->sum + r * VW, vf_load(at->sum + r * VW) * fade);
    at->top[r] = top;
}

/* A row's scores of a block that it sees all of become weights. */
INLINE void soften(float *s, int64_t n_y, float *y, progress *at, int64_t r) {
    enum { N = WK_PAGE_LEN / VW };
    vf x[N], most = vf_load(s);
    WK_UNROLL
    for (int j = 0; j < N; j++) most = vf_max(most, x[j] = vf_load(s + j * VW));
    if (vf_any_above(most, at->top[r] + SLACK)) raise_top(at, r, vf_top(most), n_y, y);
    vf total = vf_load(at->sum + r * VW), top = vf_set(at->top[r]);
    WK_UNROLL
    for (int j = 0; j < N; j++) {
        x[j] = vf_exp2(x[j] - top);
        total += x[j];
        put_left(s, j * VW, x[j]);
    }
    vf_store(at->sum + r * VW, total);
}

/* The same where the row sees some positions, or scores are capped. */
static void soften_some(float *s, span in, float cap, int64_t n_y, float *y, progress *at, int64_t r) {
    vf most = vf_set(-INFINITY);
    for (int64_t j = in.lo / VW * VW; j < in.hi; j += VW) {
        vf x = vf_load(s + j);
        vi lane = vi_count() + (int32_t)j;
        if (cap > 0) x = vf_tanh(x / cap) * (cap * LOG2_E);
        x = vf_select((lane >= (int32_t)in.lo) & (lane < (int32_t)in.hi), x, vf_set(-INFINITY));
        most = vf_max(most, x);
        vf_store(s + j, x);
    }
    if (vf_any_above(most, at->top[r] + SLACK)) raise_top(at, r, vf_top(most), n_y, y);
    vf total = vf_load(at->sum + r * VW);
    for (int64_t j = in.lo / VW * VW; j < in.hi; j += VW) {
        vf x = vf_load(s + j);
        x = vf_select(x == -INFINITY, vf_zero(), vf_exp2(x - at->top[r]));
        total += x;
        put_left(s, j, x);  /* never before what is still to be read */
    }
    vf_store(at->sum + r * VW, total);
}

/* A block as products take it. */
typedef struct opened { source k_from, v_from; right k, v; } opened;

/* What each row of the tile sees of block b, and what any row does. */
static span look(const wk_attn_tile *t, int64_t b, span *seen) {
    span any = { WK_PAGE_LEN, 0 };
    for (int64_t i = 0; i < t->n_row; i++) {
        span s = visible(t->attr, t->n_key, t->pos[t->row[i]], b * WK_PAGE_LEN);
        for (int64_t h = 0; h < t->n_head; h++) *seen++ = s;
        if (s.lo >= s.hi) continue;
        if (any.lo > s.lo) any.lo = s.lo;
        if (any.hi < s.hi) any.hi = s.hi;
    }
    return any;
}

/* Rows of the tile against a block: all of them at a time, so that keys and then values stay in the nearest cache. Keys that
 * come after those that the rows of a register tile see are not multiplied. */
static void attend_block(const wk_attn_tile *t, const wk_attn_room *room, const span *seen, const opened *b, progress *at) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16, n = (int64_t)t->n_row * t->n_head;
    float cap = t->attr->cap;
    int64_t step = seen[0].hi == seen[n - 1].hi ? n : TILE_M;
    for (int64_t r = 0; r < n; r += step) {
        int64_t rows = n - r < step ? n - r : step, most = b->k_from == PLAIN ? up(seen[r + rows - 1].hi) : WK_PAGE_LEN;
        multiply(b->k_from, rows, most, NULL, hd, room->q + r * pad, pad, &b->k, room->score + r * WK_PAGE_LEN, WK_PAGE_LEN);
    }
    for (int64_t r = 0; r < n; r++) {
        float *s = room->score + r * WK_PAGE_LEN, *y = room->y + r * pad;
        if (seen[r].lo == 0 && seen[r].hi == WK_PAGE_LEN && !(cap > 0)) soften(s, up(hd), y, at, r);
        else if (seen[r].lo < seen[r].hi) soften_some(s, seen[r], cap, up(hd), y, at, r);
    }
    multiply(b->v_from, n, up(hd), seen, WK_PAGE_LEN, room->score, WK_PAGE_LEN, &b->v, room->y, pad);
}

/* Page b's keys and values: as they are stored where few rows use them, which would not repay unpacking, else as float32. */
static opened open_block(const wk_attn_tile *t, const wk_attn_room *room, int64_t b, int64_t to, span any) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16;
    const uint8_t *at = t->kv + (size_t)t->page[b] * t->page_bytes;
    source from = t->block.dtype == WK_F16 ? F16 : t->block.dtype == WK_Q8_0 ? Q8_KEYS : PLAIN;
    opened x = { from, from == Q8_KEYS ? Q8_VALUES : from, keys_of(&t->block, at), values_of(&t->block, at + t->v_at) };
    if ((int64_t)t->n_row * t->n_head <= 2 * TILE_M && hd % (TILE_N * VW) == 0) {
        if (b + 1 < to) x.k.next = x.v.next = ((int64_t)t->page[b + 1] - t->page[b]) * (int64_t)t->page_bytes;
        return x;
    }
    unpack_any(x.k_from, &x.k, 0, hd, up(any.hi), room->k, WK_PAGE_LEN);
    unpack_any(x.v_from, &x.v, any.lo, any.hi, hd, room->v, pad);
    return (opened){ PLAIN, PLAIN, { .at = room->k, .ld = WK_PAGE_LEN }, { .at = room->v, .ld = pad } };
}

/* Queries into the room; nothing seen so far. */
static void start_tile(const wk_attn_tile *t, const wk_attn_room *room, progress *at) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16, n = (int64_t)t->n_row * t->n_head;
    float factor = t->attr->cap > 0 ? t->attr->scale : t->attr->scale * LOG2_E;  /* tanh comes between */
    memset(room->y, 0, (size_t)(n * pad) * sizeof *room->y);
    memset(room->sum, 0, (size_t)(n * VW) * sizeof *room->sum);
    at->sum = room->sum;
    for (int64_t r = 0; r < n; r++) {
        const float *q = t->q + t->row[r / t->n_head] * t->ldq + r % t->n_head * hd;
        for (int64_t i = 0; i < hd; i += VW) put_left(room->q + r * pad, i, get(q + i, hd - i) * factor);
        at->top[r] = t->sink ? t->sink[r % t->n_head] * LOG2_E : -INFINITY;
        if (t->sink) at->sum[r * VW] = 1;
    }
}

static void attend(const wk_attn_tile *t, const wk_attn_room *room) {
    const wk_attr *a = t->attr;
    int64_t hd = a->head_dim, pad = (hd + 15) / 16 * 16, n = (int64_t)t->n_row * t->n_head;
    int64_t first = t->pos[t->row[0]], last = t->pos[t->row[t->n_row - 1]];
    int64_t from = a->window && first >= a->window ? (first - a->window + 1) / WK_PAGE_LEN : 0;
    int64_t to = ((a->causal ? last + 1 : t->n_key) + WK_PAGE_LEN - 1) / WK_PAGE_LEN;
    progress at;
    start_tile(t, room, &at);
    for (int64_t b = from; b < to; b++) {
        span seen[WK_TILE_ROWS], any = look(t, b, seen);
        if (any.lo >= any.hi) continue;
        const opened x = open_block(t, room, b, to, any);
        attend_block(t, room, seen, &x, &at);
    }
    for (int64_t r = 0; r < n; r++) {
        int64_t row = t->row[r / t->n_head], h = r % t->n_head;
        float sum = vf_sum(vf_load(at.sum + r * VW));
        for (int64_t i = 0; i < hd; i += VW)
            put(t->y + row * t->ldq + h * hd + i, vf_load(room->y + r * pad + i) * (1.0f / sum), hd - i);
        if (t->lse) t->lse[row * t->ldlse + h] = at.top[r] * LN_2 + logf(sum);
    }
}
