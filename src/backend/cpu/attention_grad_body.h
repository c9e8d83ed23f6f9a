/* attention_grad_body.h: attention's gradient for one sequence and one query head, compiled once per instruction set, after
 * attention_body.h. Dao et al. 2022, algorithm 4: key blocks outside, query tiles inside; weights are made again from the
 * saved log-sum-exp. A block's dk and dv gather over query tiles in order, dq over blocks in order, whoever else runs.
 * Load: five products of a tile of 48 query rows, a block of 64 positions and head_dim, where the forward pass has two. */

/* C[n_m][n_n] (+)= A^T B: A [n_k][lda], B [n_k][ldb], n_n in vectors. */
INLINE void turned_tile(const int mr, const int nv, bool keep, int64_t n_k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, float *c, int64_t ldc) {
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
            WK_UNROLL
            for (int j = 0; j < nv; j++) acc[m][j] = vf_fma(vf_set(a[k * lda + m]), w[j], acc[m][j]);
        }
    }
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) vf_store(c + m * ldc + j * VW, acc[m][j]);
    }
}
static void multiply_turned(int64_t n_m, int64_t n_n, bool keep, int64_t n_k, const float *a, int64_t lda, const float *b,
                            int64_t ldb, float *c, int64_t ldc) {
    int64_t n = 0;
    for (; n + TILE_N * VW <= n_n; n += TILE_N * VW) {
        int64_t m = 0;
        for (; m + 4 <= n_m; m += 4) turned_tile(4, TILE_N, keep, n_k, a + m, lda, b + n, ldb, c + m * ldc + n, ldc);
        for (; m < n_m; m++) turned_tile(1, TILE_N, keep, n_k, a + m, lda, b + n, ldb, c + m * ldc + n, ldc);
    }
    for (; n < n_n; n += VW) {
        int64_t m = 0;
        for (; m + 4 <= n_m; m += 4) turned_tile(4, 1, keep, n_k, a + m, lda, b + n, ldb, c + m * ldc + n, ldc);
        for (; m < n_m; m++) turned_tile(1, 1, keep, n_k, a + m, lda, b + n, ldb, c + m * ldc + n, ldc);
    }
}

/* C[n_m][n_n] (+)= sum over n_k rows of A[k][m] B[k][n], rows in blocks of 64, each summed by itself: gradients of weights. */
static void cross(int64_t n_m, int64_t n_n, bool add, int64_t n_k, const float *a, int64_t lda, const float *b, int64_t ldb,
                  float *c, int64_t ldc) {
    enum { ROWS = 64, COLS = TILE_N * VW };
    float sum[4 * COLS], last[ROWS * VW];
    for (int64_t k = 0; k < n_k || k == 0; k += ROWS) {
        int64_t rows = n_k - k < ROWS ? n_k - k : ROWS, whole = n_n / VW * VW;
        if (whole < n_n)
            for (int64_t i = 0; i < rows; i++) vf_store(last + i * VW, vf_load_n(b + (k + i) * ldb + whole, n_n - whole));
        for (int64_t n = 0; n < n_n; n += COLS) {
            int64_t cols = n_n - n < COLS ? n_n - n : COLS, full = cols / VW * VW;
            for (int64_t m = 0; m < n_m; m += 4) {
                int64_t r = n_m - m < 4 ? n_m - m : 4;
                multiply_turned(r, full, false, rows, a + k * lda + m, lda, b + k * ldb + n, ldb, sum, COLS);
                if (full < cols) multiply_turned(r, VW, false, rows, a + k * lda + m, lda, last, VW, sum + full, COLS);
                for (int64_t i = 0; i < r; i++)
                    for (int64_t j = 0; j < cols; j += VW) {
                        float *to = c + (m + i) * ldc + n + j;
                        vf v = vf_load(sum + i * COLS + j);
                        put(to, k || add ? get(to, cols - j) + v : v, cols - j);
                    }
            }
        }
    }
}

/* A block's keys and values as the two sides of the products need them. Positions that nobody holds are zeros. */
static void unpack_block(const wk_attn_grad *t, const wk_attn_grad_room *room, int64_t b) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16, n = t->n_key - b * WK_PAGE_LEN;
    const uint8_t *block = t->kv + (size_t)t->page[b] * t->page_bytes;
    right k = keys_of(&t->block, block), v = values_of(&t->block, block + t->v_at);
    source keys_from = t->block.dtype == WK_F16 ? F16 : t->block.dtype == WK_Q8_0 ? Q8_KEYS : PLAIN;
    if (n > WK_PAGE_LEN) n = WK_PAGE_LEN;
    memset(room->v_turned, 0, (size_t)hd * WK_PAGE_LEN * sizeof(float));
    memset(room->k, 0, (size_t)pad * WK_PAGE_LEN * sizeof(float));
    unpack_any(keys_from, &k, 0, hd, WK_PAGE_LEN, room->k_turned, WK_PAGE_LEN);
    unpack_any(keys_from == Q8_KEYS ? Q8_VALUES : keys_from, &v, 0, n, hd, room->v, pad);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < hd; i++) {
            room->k[j * pad + i] = room->k_turned[i * WK_PAGE_LEN + j];
            room->v_turned[i * WK_PAGE_LEN + j] = room->v[j * pad + i];
        }
    for (int64_t i = 0; n < WK_PAGE_LEN && i < hd; i++)
        memset(room->k_turned + i * WK_PAGE_LEN + n, 0, (size_t)(WK_PAGE_LEN - n) * sizeof(float));
    if (!room->pairs.mul) return;
    room->pairs.rows(room->k, pad, WK_PAGE_LEN, pad, room->k_rows);
    room->pairs.rows(room->v_turned, WK_PAGE_LEN, hd, WK_PAGE_LEN, room->vt_rows);
    room->pairs.rows(room->k_turned, WK_PAGE_LEN, hd, WK_PAGE_LEN, room->kt_rows);
}

/* Scores q k^T of n rows, or gradients of their weights g v^T: out [n][block]. */
static void times_turned(const wk_attn_grad_room *room, int64_t hd, int64_t pad, int64_t n, const float *rows, const float *turned,
                         const uint32_t *pairs, float *out) {
    const right plain = { .at = turned, .ld = WK_PAGE_LEN };
    if (!room->pairs.mul) {
        multiply(PLAIN, n, WK_PAGE_LEN, NULL, hd, rows, pad, &plain, out, WK_PAGE_LEN);
        return;
    }
    room->pairs.round(rows, n * pad, room->rows16);
    room->pairs.mul(n, WK_PAGE_LEN, false, (hd + 1) / 2, (const uint32_t *)(const void *)room->rows16, pad / 2, 1, pairs,
                    WK_PAGE_LEN, out, WK_PAGE_LEN);
}

/* dv (+)= p^T g, dk (+)= ds^T q; then q = ds k. */
static void grad_of_operands(const wk_attn_grad_room *room, int64_t hd, int64_t pad, int64_t n, bool first) {
    const wk_pair_fns *f = &room->pairs;
    const right keys = { .at = room->k, .ld = pad };
    if (!f->mul) {
        multiply_turned(WK_PAGE_LEN, pad, !first, n, room->p, WK_PAGE_LEN, room->g, pad, room->dv, pad);
        multiply_turned(WK_PAGE_LEN, pad, !first, n, room->ds, WK_PAGE_LEN, room->q, pad, room->dk, pad);
        multiply(PLAIN, n, up(hd), NULL, WK_PAGE_LEN, room->ds, WK_PAGE_LEN, &keys, room->q, pad);
        return;
    }
    f->rows(room->p, WK_PAGE_LEN, n, WK_PAGE_LEN, room->p_rows);
    f->rows(room->ds, WK_PAGE_LEN, n, WK_PAGE_LEN, room->ds_rows);
    f->rows(room->g, pad, n, pad, room->g_rows);
    f->rows(room->q, pad, n, pad, room->q_rows);
    f->round(room->ds, n * WK_PAGE_LEN, room->ds16);
    f->mul(WK_PAGE_LEN, pad, !first, (n + 1) / 2, room->p_rows, 1, WK_PAGE_LEN, room->g_rows, pad, room->dv, pad);
    f->mul(WK_PAGE_LEN, pad, !first, (n + 1) / 2, room->ds_rows, 1, WK_PAGE_LEN, room->q_rows, pad, room->dk, pad);
    f->mul(n, pad, false, WK_PAGE_LEN / 2, (const uint32_t *)(const void *)room->ds16, WK_PAGE_LEN / 2, 1, room->k_rows, pad,
           room->q, pad);
}

/* Rows [r0, r0 + n) of the sequence against the block that is unpacked. */
static void grad_tile_of_rows(const wk_attn_grad *t, const wk_attn_grad_room *room, int64_t b, int64_t r0, int64_t n, bool first) {
    const wk_attr *a = t->attr;
    int64_t hd = a->head_dim, pad = (hd + 15) / 16 * 16;
    for (int64_t i = 0; i < n; i++) {
        int64_t row = t->row[r0 + i];
        memset(room->q + i * pad + hd, 0, (size_t)(pad - hd) * sizeof(float));
        memset(room->g + i * pad + hd, 0, (size_t)(pad - hd) * sizeof(float));
        scale(a->scale, t->q + row * t->ldq, hd, room->q + i * pad);
        memcpy(room->g + i * pad, t->g + row * t->ldq, (size_t)hd * sizeof(float));
    }
    times_turned(room, hd, pad, n, room->q, room->k_turned, room->kt_rows, room->p);
    times_turned(room, hd, pad, n, room->g, room->v_turned, room->vt_rows, room->ds);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = t->row[r0 + i], base = b * WK_PAGE_LEN, pos = t->pos[row], lo = 0, hi = t->n_key - base;
        float lse = t->lse[row * t->ldlse], d = dot(t->g + row * t->ldq, t->y + row * t->ldq, NULL, hd);
        if (a->causal && hi > pos + 1 - base) hi = pos + 1 - base;
        if (a->window && lo < pos - a->window + 1 - base) lo = pos - a->window + 1 - base;
        for (int64_t j = 0; j < WK_PAGE_LEN; j += VW) {
            float *p = room->p + i * WK_PAGE_LEN + j, *ds = room->ds + i * WK_PAGE_LEN + j;
            vi lane = vi_count() + (int32_t)j;
            vi seen = (lane >= (int32_t)lo) & (lane < (int32_t)hi);
            vf s = vf_load(p), slope = vf_set(1);
            if (a->cap > 0) {
                vf capped = vf_tanh(s / a->cap);
                s = capped * a->cap;
                slope = 1.0f - capped * capped;
            }
            vf weight = vf_select(seen, vf_exp(s - lse), vf_zero());
            vf_store(p, weight);
            vf_store(ds, weight * (vf_load(ds) - d) * slope);
        }
    }
    grad_of_operands(room, hd, pad, n, first);
    for (int64_t i = 0; i < n; i++) axpy(a->scale, room->q + i * pad, hd, t->dq + t->row[r0 + i] * t->ldq);
}

/* The rows [*from, *to) that may see keys of block b; positions ascend. */
static void rows_of_block(const wk_attn_grad *t, int64_t b, int64_t *from, int64_t *to) {
    int64_t begin = b * WK_PAGE_LEN, end = begin + WK_PAGE_LEN + t->attr->window - 1;
    *from = 0;
    *to = t->n_row;
    while (t->attr->causal && *from < *to && t->pos[t->row[*from]] < begin) ++*from;
    while (t->attr->window && *from < *to && t->pos[t->row[*to - 1]] >= end) --*to;
}

static void attend_grad(const wk_attn_grad *t, const wk_attn_grad_room *room) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16;
    for (int64_t r = 0; r < t->n_row; r++) memset(t->dq + t->row[r] * t->ldq, 0, (size_t)hd * sizeof(float));
    for (int64_t b = 0; b * WK_PAGE_LEN < t->n_key; b++) {
        int64_t from, to;
        if (wk_grad_half(b) != t->half) continue;
        rows_of_block(t, b, &from, &to);
        if (from < to) unpack_block(t, room, b);
        for (int64_t r = from; r < to; r += WK_GRAD_ROWS)
            grad_tile_of_rows(t, room, b, r, to - r < WK_GRAD_ROWS ? to - r : WK_GRAD_ROWS, r == from);
        for (int64_t j = 0; j < WK_PAGE_LEN; j++) {  /* keys of this pass; nobody may have seen them */
            int64_t r = b * WK_PAGE_LEN + j - t->first_key;
            if (r < 0 || r >= t->n_key_row) continue;
            float *dk = t->dk + t->key_row[r] * t->ldk, *dv = t->dv + t->key_row[r] * t->ldk;
            if (from < to) {
                memcpy(dk, room->dk + j * pad, (size_t)hd * sizeof *dk);
                memcpy(dv, room->dv + j * pad, (size_t)hd * sizeof *dv);
            } else {
                memset(dk, 0, (size_t)hd * sizeof *dk);
                memset(dv, 0, (size_t)hd * sizeof *dv);
            }
        }
    }
}
