/* attention_body.h: attention over one tile of query rows, compiled once per instruction set.
 * Softmax is taken block by block with a running maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022, algorithm 1).
 * A block is a page: WK_PAGE_LEN positions, counted from the sequence's position 0. A row's result is a chain of
 * operations over (block, position) alone: score = fma over head_dim; sum over a block's lanes; y = fma over positions.
 * Rows share the unpacking of a block and nothing else; positions that a row does not see are left out, not added as zero. */

/* Where a product's right side comes from: float32 that was unpacked, or a block of the cache as it is stored. */
typedef enum source { PLAIN, F16, Q8_KEYS, Q8_VALUES } source;
typedef struct right { const void *at; const uint16_t *scale; int64_t ld, ld_scale; } right;

/* A vector of row k from column j on. Unpacking is the same arithmetic wherever it happens. */
INLINE vf fetch(const source from, const right *b, int64_t k, int64_t j) {
    int64_t i = k * b->ld + j;
    if (from == F16) return vf_from_f16((const uint16_t *)b->at + i);
    if (from == Q8_KEYS) return vf_from_i8((const int8_t *)b->at + i) * vf_from_f16(b->scale + k / 32 * b->ld_scale + j);
    if (from == Q8_VALUES) return vf_from_i8((const int8_t *)b->at + i) * vf_f16_all(b->scale[k * b->ld_scale + j / 32]);
    return vf_load((const float *)b->at + i);
}

/* C[mr][nv vectors] = (keep ? C : 0) + A[mr][n_k] * B[k0.. + n_k][n.. + nv vectors], each element one chain of fma in
 * order of k. */
INLINE void register_tile(const source from, const int mr, const int nv, bool keep, int64_t n_k, const float *a, int64_t lda,
                          const right *b, int64_t k0, int64_t n, float *c, int64_t ldc) {
    vf acc[TILE_M][TILE_N];
    right at = *b;
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) acc[m][j] = keep ? vf_load(c + m * ldc + j * VW) : vf_zero();
    }
    for (int64_t k = 0; k < n_k; k++) {
        vf w[TILE_N];
        WK_UNROLL
        for (int j = 0; j < nv; j++) w[j] = fetch(from, &at, k0 + k, n + j * VW);
        WK_UNROLL
        for (int m = 0; m < mr; m++) {
            vf x = vf_set(a[m * lda + k]);
            WK_UNROLL
            for (int j = 0; j < nv; j++) acc[m][j] = vf_fma(x, w[j], acc[m][j]);
        }
    }
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) vf_store(c + m * ldc + j * VW, acc[m][j]);
    }
}

/* The same with sizes that become constants: up to TILE_M rows. */
#define TILE_ARGS bool keep, int64_t n_k, const float *a, int64_t lda, const right *b, int64_t k0, int64_t n, float *c, int64_t ldc
#define TILE(from, mr, nv) register_tile(from, (mr) <= TILE_M ? (mr) : 1, nv, keep, n_k, a, lda, b, k0, n, c, ldc)
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

/* Columns [0, n_n) of n_m rows; n_n is a multiple of TILE_N vectors unless from is PLAIN. */
static void multiply(source from, int64_t n_m, int64_t n_n, bool keep, int64_t n_k, const float *a, int64_t lda, const right *b,
                     int64_t k0, float *c, int64_t ldc) {
    static void (*const whole[])(int, TILE_ARGS) = { tile_plain, tile_f16, tile_q8_keys, tile_q8_values };
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
        for (int64_t m = 0; m < n_m; m += TILE_M)
            tile((int)(n_m - m < TILE_M ? n_m - m : TILE_M), keep, n_k, a + m * lda, lda, b, k0, n, c + m * ldc + n, ldc);
    }
}

INLINE int64_t up(int64_t n) { return (n + VW - 1) / VW * VW; }

/* Where a page's keys and values of one head lie. */
INLINE right keys_of(const wk_kv_block *b, const uint8_t *block) {
    return (right){ block, (const uint16_t *)(const void *)(block + b->scale_at), WK_PAGE_LEN, WK_PAGE_LEN };
}
INLINE right values_of(const wk_kv_block *b, const uint8_t *block) {
    return (right){ block, (const uint16_t *)(const void *)(block + b->scale_at), b->head_dim, b->head_dim / 32 };
}

/* Rows [k0, k1) of a block's n columns as float32: out [][ldo]; zeros up to a vector's end. */
INLINE void unpack(const source from, const right *b, int64_t k0, int64_t k1, int64_t n, float *out, int64_t ldo) {
    for (int64_t k = k0; k < k1; k++) {
        int64_t j = 0;
        for (; j + VW <= n; j += VW) vf_store(out + k * ldo + j, fetch(from, b, k, j));
        if (j == n) continue;
        uint16_t h[VW] = { 0 };  /* a short end: float16 or float32, as Q8_0 comes in whole blocks */
        if (from == F16) memcpy(h, (const uint16_t *)b->at + k * b->ld + j, (size_t)(n - j) * sizeof *h);
        vf_store(out + k * ldo + j, from == F16 ? vf_from_f16(h) : vf_load_n((const float *)b->at + k * b->ld + j, n - j));
    }
}
static void unpack_any(source from, const right *b, int64_t k0, int64_t k1, int64_t n, float *out, int64_t ldo) {
    if (from == F16) unpack(F16, b, k0, k1, n, out, ldo);
    else if (from == Q8_KEYS) unpack(Q8_KEYS, b, k0, k1, n, out, ldo);
    else if (from == Q8_VALUES) unpack(Q8_VALUES, b, k0, k1, n, out, ldo);
    else unpack(PLAIN, b, k0, k1, n, out, ldo);
}

/* Positions [lo, hi) of a block that a row at pos sees. */
typedef struct span { int64_t lo, hi; } span;
INLINE span visible(const wk_attn_tile *t, int64_t pos, int64_t base) {
    span s = { 0, t->n_key - base };
    if (t->attr->causal && s.hi > pos + 1 - base) s.hi = pos + 1 - base;
    if (t->attr->window) s.lo = pos - t->attr->window + 1 - base;
    if (s.lo < 0) s.lo = 0;
    if (s.hi > WK_PAGE_LEN) s.hi = WK_PAGE_LEN;
    return s;
}

/* Scores of one row in one block become weights relative to the running maximum, and y follows it. */
INLINE void soften(float *s, span in, float cap, int64_t n_y, float *y, float *top, float *sum) {
    vf most = vf_set(-INFINITY);
    bool whole = in.lo == 0 && in.hi == WK_PAGE_LEN;
    for (int64_t j = in.lo / VW * VW; j < in.hi; j += VW) {
        vf x = vf_load(s + j);
        if (cap > 0) x = vf_tanh(x / cap) * cap;
        if (!whole) {
            vi lane = vi_count() + (int32_t)j;
            x = vf_select((lane >= (int32_t)in.lo) & (lane < (int32_t)in.hi), x, vf_set(-INFINITY));
        }
        most = vf_max(most, x);
        if (!whole || cap > 0) vf_store(s + j, x);
    }
    float m = vf_top(most);
    if (m > *top) {
        float fade[VW];
        vf_store(fade, vf_exp_negative(vf_set(*top - m)));
        for (int64_t i = 0; i < n_y; i += VW) vf_store(y + i, vf_load(y + i) * fade[0]);
        *sum *= fade[0];
        *top = m;
    }
    vf total = vf_zero();
    for (int64_t j = in.lo / VW * VW; j < in.hi; j += VW) {
        vf x = vf_load(s + j);
        vf weight = vf_exp_negative(x - *top);
        x = whole ? weight : vf_select(x == -INFINITY, vf_zero(), weight);
        total += x;
        vf_store(s + j, x);
    }
    *sum += vf_sum(total);
}

/* y of rows [r0, r1) of the room += weights times values, positions [lo, hi). */
INLINE void add_values(const wk_attn_room *room, int64_t hd, int64_t r0, int64_t r1, int64_t lo, int64_t hi, source from,
                       const right *v) {
    int64_t pad = (hd + 15) / 16 * 16;
    const float *weight = room->score + r0 * WK_PAGE_LEN + lo;
    if (lo < hi) multiply(from, r1 - r0, up(hd), true, hi - lo, weight, WK_PAGE_LEN, v, lo, room->y + r0 * pad, pad);
}

/* Some neighbouring query positions, from row r0 of the room on, against a block, whose scores are there. Positions that
 * all of them see go into one product; before and after it each adds those that it sees alone, so that every y is still
 * one chain in order of position. */
static void attend_block(const wk_attn_tile *t, const wk_attn_room *room, const span *seen, int64_t n_pos, int64_t r0, source from,
                         const right *v, float *top, float *sum) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16, n_head = t->n_head;
    span all = { 0, WK_PAGE_LEN };
    for (int64_t i = 0, r = r0; i < n_pos; i++) {
        if (all.lo < seen[i].lo) all.lo = seen[i].lo;
        if (all.hi > seen[i].hi) all.hi = seen[i].hi;
        for (int64_t end = r + n_head; r < end; r++)
            if (seen[i].lo < seen[i].hi)
                soften(room->score + r * WK_PAGE_LEN, seen[i], t->attr->cap, up(hd), room->y + r * pad, &top[r], &sum[r]);
    }
    if (all.lo >= all.hi) all.lo = all.hi = WK_PAGE_LEN;  /* nothing in common */
    for (int64_t i = 0, r = r0; i < n_pos; i++, r += n_head)
        add_values(room, hd, r, r + n_head, seen[i].lo, seen[i].hi < all.lo ? seen[i].hi : all.lo, from, v);
    add_values(room, hd, r0, r0 + n_pos * n_head, all.lo, all.hi, from, v);
    for (int64_t i = 0, r = r0; i < n_pos; i++, r += n_head)
        add_values(room, hd, r, r + n_head, all.hi > seen[i].lo ? all.hi : seen[i].lo, seen[i].hi, from, v);
}

static void attend(const wk_attn_tile *t, const wk_attn_room *room) {
    const wk_attr *a = t->attr;
    int64_t hd = a->head_dim, pad = (hd + 15) / 16 * 16, n = (int64_t)t->n_row * t->n_head;
    int64_t first = t->pos[t->row[0]], last = t->pos[t->row[t->n_row - 1]];
    int64_t from = a->window && first >= a->window ? (first - a->window + 1) / WK_PAGE_LEN : 0;
    int64_t to = ((a->causal ? last + 1 : t->n_key) + WK_PAGE_LEN - 1) / WK_PAGE_LEN;
    source keys_from = t->block.dtype == WK_F16 ? F16 : t->block.dtype == WK_Q8_0 ? Q8_KEYS : PLAIN;
    source values_from = keys_from == Q8_KEYS ? Q8_VALUES : keys_from;
    float top[WK_TILE_ROWS], sum[WK_TILE_ROWS];
    for (int64_t r = 0; r < n; r++) {
        scale(a->scale, t->q + t->row[r / t->n_head] * t->ldq + r % t->n_head * hd, hd, room->q + r * hd);
        memset(room->y + r * pad, 0, (size_t)pad * sizeof *room->y);
        top[r] = t->sink ? t->sink[r % t->n_head] : -INFINITY;
        sum[r] = t->sink ? 1 : 0;
    }
    for (int64_t b = from; b < to; b++) {
        int64_t base = b * WK_PAGE_LEN;
        span seen[WK_TILE_ROWS], all = { WK_PAGE_LEN, 0 };
        for (int64_t i = 0; i < t->n_row; i++) {
            seen[i] = visible(t, t->pos[t->row[i]], base);
            if (seen[i].lo >= seen[i].hi) continue;
            if (all.lo > seen[i].lo) all.lo = seen[i].lo;
            if (all.hi < seen[i].hi) all.hi = seen[i].hi;
        }
        if (all.lo >= all.hi) continue;
        const uint8_t *block = t->kv + (size_t)t->page[b] * t->page_bytes;
        right k = keys_of(&t->block, block), v = values_of(&t->block, block + t->v_at);
        source k_from = keys_from, v_from = values_from;
        if (n > TILE_M || hd % (TILE_N * VW)) {  /* enough rows that unpacking once pays, or an odd size */
            unpack_any(k_from, &k, 0, hd, up(all.hi), room->k, WK_PAGE_LEN);
            unpack_any(v_from, &v, all.lo, all.hi, hd, room->v, pad);
            k = (right){ room->k, NULL, WK_PAGE_LEN, 0 };
            v = (right){ room->v, NULL, pad, 0 };
            k_from = v_from = PLAIN;
        }
        multiply(k_from, n, k_from == PLAIN ? up(all.hi) : WK_PAGE_LEN, false, hd, room->q, hd, &k, 0, room->score, WK_PAGE_LEN);
        for (int64_t i = 0, next; i < t->n_row; i = next) {
            for (next = i + 1; next < t->n_row && seen[next].lo == seen[i].lo && seen[next].hi == seen[i].hi;) next++;
            if (next < i + TILE_M) next = i + TILE_M < t->n_row ? i + TILE_M : t->n_row;
            attend_block(t, room, seen + i, next - i, i * t->n_head, v_from, &v, top, sum);
        }
    }
    for (int64_t r = 0; r < n; r++) {
        int64_t row = t->row[r / t->n_head], h = r % t->n_head;
        scale(1.0f / sum[r], room->y + r * pad, hd, t->y + row * t->ldq + h * hd);
        if (t->lse) t->lse[row * t->ldlse + h] = top[r] + logf(sum[r]);
    }
}

/* 32 numbers as int8 under one float16 scale, as GGUF's Q8_0 rounds them. */
INLINE uint16_t round_q8(const float *x, int8_t *q) {
    vf most = vf_zero();
    for (int i = 0; i < 32; i += VW) most = vf_max(most, vf_abs(vf_load(x + i)));
    float d = vf_top(most) / 127.0f, inverse = d > 0 ? 1.0f / d : 0;
    for (int i = 0; i < 32; i++) {  /* to nearest, halves away from zero; the remainder is exact */
        float v = x[i] * inverse;
        int whole = (int)v;
        float rest = v - (float)whole;
        q[i] = (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
    }
    return wk_f32_to_f16(d);
}

static void store_q8(const wk_kv_block *b, const float *k, const float *v, int64_t at, uint8_t *kb, uint8_t *vb) {
    int64_t hd = b->head_dim, n = hd / 32;
    uint16_t *ks = (uint16_t *)(void *)(kb + b->scale_at), *vs = (uint16_t *)(void *)(vb + b->scale_at);
    for (int64_t g = 0; g < n; g++) {
        int8_t q[32];
        ks[g * WK_PAGE_LEN + at] = round_q8(k + g * 32, q);
        for (int64_t i = 0; i < 32; i++) ((int8_t *)kb)[(g * 32 + i) * WK_PAGE_LEN + at] = q[i];
        vs[at * n + g] = round_q8(v + g * 32, (int8_t *)vb + at * hd + g * 32);
    }
}

static void store_kv(const wk_kv_block *b, const float *k, const float *v, int at, uint8_t *kb, uint8_t *vb) {
    int64_t hd = b->head_dim;
    if (b->dtype == WK_Q8_0) {
        store_q8(b, k, v, at, kb, vb);
    } else if (b->dtype == WK_F16) {
        uint16_t *kh = (uint16_t *)(void *)kb, *vh = (uint16_t *)(void *)vb + at * hd, t[VW];
        for (int64_t d = 0; d < hd; d += VW) {
            int64_t n = hd - d < VW ? hd - d : VW;
            vf_to_f16(t, get(v + d, n));
            memcpy(vh + d, t, (size_t)n * sizeof *t);
            vf_to_f16(t, get(k + d, n));
            for (int64_t i = 0; i < n; i++) kh[(d + i) * WK_PAGE_LEN + at] = t[i];
        }
    } else {
        for (int64_t d = 0; d < hd; d++) ((float *)(void *)kb)[d * WK_PAGE_LEN + at] = k[d];
        memcpy((float *)(void *)vb + at * hd, v, (size_t)hd * sizeof *v);
    }
}
