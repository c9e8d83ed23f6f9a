/* attention_body.h: attention over one tile of query rows, compiled once per instruction set.
 * Softmax is taken block by block with a running maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022, algorithm 1).
 * A block is a page: WK_PAGE_LEN positions, counted from the sequence's position 0. A row's result is a chain of
 * operations over (block, position) alone: score = fma over head_dim; sum over a block's lanes; y = fma over positions.
 * Rows share the unpacking of a block and nothing else; positions that a row does not see are left out, not added as zero. */

/* C[mr][nv vectors] = (keep ? C : 0) + A[mr][n_k] * B[n_k][nv vectors], each element one chain of fma in order of k. */
INLINE void register_tile(const int mr, const int nv, bool keep, int64_t n_k, const float *a, int64_t lda, const float *b, int64_t ldb,
                          float *c, int64_t ldc) {
    vf acc[TILE_M][TILE_N];
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) acc[m][j] = keep ? vf_load(c + m * ldc + j * VW) : vf_zero();
    }
    for (int64_t k = 0; k < n_k; k++) {
        vf w[TILE_N];
        WK_UNROLL
        for (int j = 0; j < nv; j++) w[j] = vf_load(b + k * ldb + j * VW);
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

/* The same for up to TILE_M rows and TILE_N vectors: the sizes become constants. */
#define TILE_ROWS(nv)                                                                   \
    switch (mr) {                                                                       \
    case 1: register_tile(1, nv, keep, n_k, a, lda, b, ldb, c, ldc); break;             \
    case 2: register_tile(2, nv, keep, n_k, a, lda, b, ldb, c, ldc); break;             \
    case 3: register_tile(3, nv, keep, n_k, a, lda, b, ldb, c, ldc); break;             \
    case 4: register_tile(4, nv, keep, n_k, a, lda, b, ldb, c, ldc); break;             \
    case 5: register_tile(TILE_M > 4 ? 5 : 1, nv, keep, n_k, a, lda, b, ldb, c, ldc); break; \
    default: register_tile(TILE_M, nv, keep, n_k, a, lda, b, ldb, c, ldc);              \
    }
static void any_tile(int mr, int nv, bool keep, int64_t n_k, const float *a, int64_t lda, const float *b, int64_t ldb,
                     float *c, int64_t ldc) {
    if (nv == TILE_N) TILE_ROWS(TILE_N)
    else if (nv == 1) TILE_ROWS(1)
    else if (nv == 2) TILE_ROWS(TILE_N > 2 ? 2 : 1)
    else TILE_ROWS(TILE_N > 3 ? 3 : 1)
}

static void multiply(int64_t n_m, int64_t n_n, bool keep, int64_t n_k, const float *a, int64_t lda, const float *b, int64_t ldb,
                     float *c, int64_t ldc) {
    for (int64_t n = 0; n < n_n; n += TILE_N * VW) {
        int nv = (int)(n_n - n < TILE_N * VW ? (n_n - n) / VW : TILE_N);
        for (int64_t m = 0; m < n_m; m += TILE_M)
            any_tile((int)(n_m - m < TILE_M ? n_m - m : TILE_M), nv, keep, n_k, a + m * lda, lda, b + n, ldb, c + m * ldc + n, ldc);
    }
}

INLINE int64_t up(int64_t n) { return (n + VW - 1) / VW * VW; }

/* Keys of positions [0, n) of a block, n rounded up to a vector: out [head_dim][WK_PAGE_LEN]. */
static void load_keys(const wk_kv_block *b, const uint8_t *block, int64_t n, float *out) {
    for (int64_t d = 0; d < b->head_dim; d++)
        for (int64_t j = 0; j < n; j += VW) {
            int64_t at = d * WK_PAGE_LEN + j;
            vf x;
            if (b->dtype == WK_F16) x = vf_from_f16((const uint16_t *)(const void *)block + at);
            else if (b->dtype == WK_Q8_0)
                x = vf_from_i8((const int8_t *)block + at) *
                    vf_from_f16((const uint16_t *)(const void *)(block + b->scale_at) + d / 32 * WK_PAGE_LEN + j);
            else x = vf_load((const float *)(const void *)block + at);
            vf_store(out + at, x);
        }
}

/* Values of positions [lo, hi): out [WK_PAGE_LEN][pad], zeros from head_dim to the vector's end. */
static void load_values(const wk_kv_block *b, const uint8_t *block, int64_t lo, int64_t hi, float *out, int64_t pad) {
    int64_t hd = b->head_dim;
    for (int64_t j = lo; j < hi; j++)
        for (int64_t d = 0; d < hd; d += VW) {
            int64_t at = j * hd + d;
            vf x;
            if (b->dtype == WK_F16) {
                const uint16_t *h = (const uint16_t *)(const void *)block + at;
                uint16_t t[VW] = { 0 };
                if (hd - d < VW) h = memcpy(t, h, (size_t)(hd - d) * sizeof *t);
                x = vf_from_f16(h);
            } else if (b->dtype == WK_Q8_0) {
                uint16_t s[VW];
                for (int i = 0; i < VW; i++) s[i] = ((const uint16_t *)(const void *)(block + b->scale_at))[j * (hd / 32) + d / 32];
                x = vf_from_i8((const int8_t *)block + at) * vf_from_f16(s);
            } else {
                x = get((const float *)(const void *)block + at, hd - d);
            }
            vf_store(out + j * pad + d, x);
        }
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
    for (int64_t j = in.lo / VW * VW; j < in.hi; j += VW) {
        vi lane = vi_count() + (int32_t)j;
        vf x = vf_load(s + j);
        if (cap > 0) x = vf_tanh(x / cap) * cap;
        x = vf_select((lane >= (int32_t)in.lo) & (lane < (int32_t)in.hi), x, vf_set(-INFINITY));
        most = vf_max(most, x);
        vf_store(s + j, x);
    }
    float m = vf_top(most);
    if (m > *top) {
        float fade[VW];
        vf_store(fade, vf_exp(vf_set(*top - m)));
        for (int64_t i = 0; i < n_y; i += VW) vf_store(y + i, vf_load(y + i) * fade[0]);
        *sum *= fade[0];
        *top = m;
    }
    vf total = vf_zero();
    for (int64_t j = in.lo / VW * VW; j < in.hi; j += VW) {
        vf x = vf_load(s + j);
        x = vf_select(x > -INFINITY, vf_exp(x - *top), vf_zero());
        total += x;
        vf_store(s + j, x);
    }
    *sum += vf_sum(total);
}

static void attend(const wk_attn_tile *t, const wk_attn_room *room) {
    const wk_attr *a = t->attr;
    int64_t hd = a->head_dim, pad = (hd + 15) / 16 * 16, n = (int64_t)t->n_row * t->n_head;
    int64_t first = t->pos[t->row[0]], last = t->pos[t->row[t->n_row - 1]];
    int64_t from = a->window && first >= a->window ? (first - a->window + 1) / WK_PAGE_LEN : 0;
    int64_t to = ((a->causal ? last + 1 : t->n_key) + WK_PAGE_LEN - 1) / WK_PAGE_LEN;
    float top[WK_TILE_ROWS], sum[WK_TILE_ROWS] = { 0 };
    for (int64_t r = 0; r < n; r++) {
        scale(a->scale, t->q + t->row[r / t->n_head] * t->ldq + r % t->n_head * hd, hd, room->q + r * hd);
        memset(room->y + r * pad, 0, (size_t)pad * sizeof *room->y);
        top[r] = -INFINITY;
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
        const uint8_t *keys = t->kv + (size_t)t->page[b] * t->page_bytes;
        load_keys(&t->block, keys, all.hi, room->k);
        load_values(&t->block, keys + t->v_at, all.lo, all.hi, room->v, pad);
        multiply(n, up(all.hi), false, hd, room->q, hd, room->k, WK_PAGE_LEN, room->score, WK_PAGE_LEN);
        for (int64_t i = 0, next; i < t->n_row; i = next) {  /* rows that see the same positions go together */
            for (next = i + 1; next < t->n_row && seen[next].lo == seen[i].lo && seen[next].hi == seen[i].hi;) next++;
            if (seen[i].lo >= seen[i].hi) continue;
            int64_t r0 = i * t->n_head, r1 = next * t->n_head;
            for (int64_t r = r0; r < r1; r++)
                soften(room->score + r * WK_PAGE_LEN, seen[i], a->cap, up(hd), room->y + r * pad, &top[r], &sum[r]);
            multiply(r1 - r0, up(hd), true, seen[i].hi - seen[i].lo, room->score + r0 * WK_PAGE_LEN + seen[i].lo, WK_PAGE_LEN,
                     room->v + seen[i].lo * pad, pad, room->y + r0 * pad, pad);
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
