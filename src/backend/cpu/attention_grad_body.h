/* attention_grad_body.h: attention's gradient for one sequence and one query head, compiled once per instruction set, after
 * attention_body.h. Dao et al. 2022, algorithm 4: key blocks outside, query tiles inside; weights are made again from the
 * saved log-sum-exp. A block's dk and dv gather over query tiles in order, dq over blocks in order, whoever else runs.
 * Where the processor multiplies pairs of bfloat16 (WK_SIMD_BF16), all that products take is rounded to them; sums stay float32.
 * Load: five products of a tile of 48 query rows, a block of 64 positions and head_dim, where the forward pass has two. What
 * belongs to rows alone is made ready once for all blocks. */

/* C[n_m][n_n] (+)= A B over n_k operands, each element one chain in order of k. A's [m][k] is at m * a_m + k * a_k; n_n in VW */
typedef struct product {
    int64_t n_m, n_n, n_k;
    const float *a; int64_t a_m, a_k;
    const float *b; int64_t ldb;
    float *c; int64_t ldc;
    bool add;
} product;

INLINE void product_tile(const product *p, int64_t m, int64_t n, const int mr, const int nv) {
    const int64_t a_m = p->a_m, a_k = p->a_k, n_k = p->n_k, ldb = p->ldb, ldc = p->ldc;
    const bool add = p->add;
    const float *a = p->a + m * a_m, *b = p->b + n;
    float *c = p->c + m * ldc + n;
    vf acc[TILE_M][TILE_N];
    WK_UNROLL
    for (int i = 0; i < mr; i++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) acc[i][j] = add ? vf_load(c + i * ldc + j * VW) : vf_zero();
    }
    for (int64_t k = 0; k < n_k; k++, a += a_k, b += ldb) {
        operand w[TILE_N];
        WK_UNROLL
        for (int j = 0; j < nv; j++) w[j] = operand_load(b + j * VW);
        WK_UNROLL
        for (int i = 0; i < mr; i++) {
            operand x = operand_all(a + i * a_m);
            WK_UNROLL
            for (int j = 0; j < nv; j++) acc[i][j] = multiply_add(x, w[j], acc[i][j]);
        }
    }
    WK_UNROLL
    for (int i = 0; i < mr; i++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) vf_store(c + i * ldc + j * VW, acc[i][j]);
    }
}
INLINE void product_columns(const product *p, int64_t n, const int nv) {
    int64_t m = 0;
    for (; m + TILE_M <= p->n_m; m += TILE_M) product_tile(p, m, n, TILE_M, nv);
    for (; m + 4 <= p->n_m; m += 4) product_tile(p, m, n, 4, nv);
    for (; m < p->n_m; m++) product_tile(p, m, n, 1, nv);
}
static void product_of(const product *p) {
    int64_t n = 0;
    for (; n + TILE_N * VW <= p->n_n; n += TILE_N * VW) product_columns(p, n, TILE_N);
    int64_t left = (p->n_n - n) / VW;
    if (left == 3) product_columns(p, n, TILE_N > 3 ? 3 : 1);
    if (left == 2) product_columns(p, n, TILE_N > 2 ? 2 : 1);
    if (left == 1) product_columns(p, n, 1);
}

/* out[j][i] = in[i][j] of four bytes each, rows and columns in sixteens. */
static void turn(int64_t rows, int64_t cols, const float *in, int64_t ldi, float *out, int64_t ldo) {
    for (int64_t r = 0; r < rows; r += VW)
        for (int64_t c = 0; c < cols; c += VW) {
            vf x[VW], y[VW];
            WK_UNROLL
            for (int i = 0; i < VW; i++) x[i] = vf_load(in + (r + i) * ldi + c);
            WK_UNROLL
            for (int far = 1; far < VW; far *= 2) {
                WK_UNROLL
                for (int i = 0; i < VW / 2; i++) {
                    y[2 * i] = vf_zip_low(x[i], x[i + VW / 2]);
                    y[2 * i + 1] = vf_zip_high(x[i], x[i + VW / 2]);
                }
                memcpy(x, y, sizeof x);
            }
            WK_UNROLL
            for (int i = 0; i < VW; i++) vf_store(out + (c + i) * ldo + r, x[i]);
        }
}

/* A block's keys and values as the two sides of the products need them. Of its positions n are held; the others are zeros. */
INLINE void unpack_for_grad(const source keys, const source values, const right *k, const right *v, int64_t n, int64_t hd,
                            const wk_attn_grad_room *room) {
    int64_t pad = (hd + 15) / 16 * 16, half = (pad / PER + 15) / 16 * 16;
    for (int64_t i = 0; i < pad; i += PER)
        for (int64_t j = 0; j < WK_PAGE_LEN; j += VW) {
            vf x[PER];
            for (int e = 0; e < PER; e++) {
                vi held = vi_count() + (int32_t)j < (int32_t)(i + e < hd ? n : 0);
                x[e] = vf_select(held, fetch(keys, k, i + e < hd ? i + e : 0, j), vf_zero());
                put_left(room->rows + (i + e) * (WK_PAGE_LEN / PER), j, x[e]);
            }
            put_right(room->k_turned + i / PER * WK_PAGE_LEN + j, x);
        }
    turn(pad, WK_PAGE_LEN / PER, room->rows, WK_PAGE_LEN / PER, room->k, pad);
    memset(room->rows, 0, (size_t)(WK_PAGE_LEN * half) * sizeof *room->rows);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < hd; i += VW) put_left(room->rows + j * half, i, fetch_n(values, v, j, i, hd - i));
    turn(WK_PAGE_LEN, half, room->rows, half, room->v_turned, WK_PAGE_LEN);
}
static void unpack_block(const wk_attn_grad *t, const wk_attn_grad_room *room, int64_t b) {
    int64_t hd = t->attr->head_dim, n = t->n_key - b * WK_PAGE_LEN;
    const uint8_t *block = t->kv + (size_t)t->page[b] * t->page_bytes;
    right k = keys_of(&t->block, block), v = values_of(&t->block, block + t->v_at);
    if (n > WK_PAGE_LEN) n = WK_PAGE_LEN;
    if (t->block.dtype == WK_F16) unpack_for_grad(F16, F16, &k, &v, n, hd, room);
    else if (t->block.dtype == WK_Q8_0) unpack_for_grad(Q8_KEYS, Q8_VALUES, &k, &v, n, hd, room);
    else unpack_for_grad(PLAIN, PLAIN, &k, &v, n, hd, room);
}

/* Rows of the sequence that are ready in the room, and what queries were multiplied with. Where tanh does not come between, scores
 * are in units of log2, as in the forward pass. */
typedef struct ready { int64_t first, n; float unit; } ready;

/* Sums of dq over a half of the blocks. */
INLINE float *dq_of(const wk_attn_grad_room *room, int half, int64_t pad) { return room->dq + half * room->n_row * pad; }

/* Asks for row r of `ld` numbers, of which n are wanted: rows are too short, and too far from each other, for the processor to see
 * which is next. */
INLINE void ask_for(const float *x, int64_t ld, int64_t r, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(x + r * ld + i);
}
enum { AHEAD = 8 };  /* rows */

static ready take_rows(const wk_attn_grad *t, const wk_attn_grad_room *room, int64_t first) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16, left = t->n_row - first;
    ready rows = { first, left < room->n_row ? left : room->n_row, t->attr->cap > 0 ? 1 : LOG2_E };
    float factor = t->attr->scale * rows.unit;
    for (int64_t r = 0; r < rows.n; r += PER) {
        const float *q[PER], *g[PER], *y[PER];
        vf sum[PER];
        for (int e = 0; e < PER; e++) {
            int64_t i = r + e < rows.n ? r + e : rows.n - 1, row = t->row[first + i];
            if (i + AHEAD < rows.n) {
                int64_t next = t->row[first + i + AHEAD];
                ask_for(t->q, t->ldq, next, hd);
                ask_for(t->g, t->ldq, next, hd);
                ask_for(t->y, t->ldq, next, hd);
            }
            q[e] = t->q + row * t->ldq;
            g[e] = t->g + row * t->ldq;
            y[e] = t->y + row * t->ldq;
            sum[e] = vf_zero();
            room->lse[r + e] = t->lse[row * t->ldlse] * LOG2_E;
        }
        for (int64_t i = 0; i < pad; i += VW) {
            vf qs[PER], gs[PER];
            for (int e = 0; e < PER; e++) {
                qs[e] = i < hd ? get(q[e] + i, hd - i) * factor : vf_zero();
                gs[e] = i < hd ? get(g[e] + i, hd - i) : vf_zero();
                if (i < hd) sum[e] = vf_fma(gs[e], get(y[e] + i, hd - i), sum[e]);
                put_left(room->q + (r + e) * (pad / PER), i, qs[e]);
                put_left(room->g + (r + e) * (pad / PER), i, gs[e]);
            }
            put_right(room->q_rows + r / PER * pad + i, qs);
            put_right(room->g_rows + r / PER * pad + i, gs);
        }
        for (int e = 0; e < PER; e++) room->gy[r + e] = vf_sum(sum[e]);
    }
    for (int half = 0; half < 2; half++)
        if (t->halves >> half & 1) memset(dq_of(room, half, pad), 0, (size_t)((rows.n + 1) / 2 * 2 * pad) * sizeof(float));
    return rows;
}

/* Scores of PER rows, from row i of the tile and row r of the room on, become weights, and gradients of weights those of scores, as
 * products take them, of the block's first `cols` positions. all: the rows see the whole block, and no score is capped. */
INLINE void weigh_rows(const wk_attn_grad_room *room, int64_t i, int64_t r, const span *seen, int64_t cols, float cap,
                       const bool all) {
    float *p = room->p + i * WK_PAGE_LEN, *ds = room->ds + i * WK_PAGE_LEN, *ds_left = room->ds_left + i * (WK_PAGE_LEN / PER);
    for (int64_t j = 0; j < cols; j += VW) {
        vf weight[PER], grad[PER];
        WK_UNROLL
        for (int e = 0; e < PER; e++) {
            vf s = vf_load(p + e * WK_PAGE_LEN + j), slope = vf_set(1);
            if (!all && cap > 0) {
                vf capped = vf_tanh(s / cap);
                s = capped * (cap * LOG2_E);
                slope = 1.0f - capped * capped;
            }
            weight[e] = vf_exp2(s - room->lse[r + e]);
            if (!all) {
                vi lane = vi_count() + (int32_t)j;
                weight[e] = vf_select((lane >= (int32_t)seen[e].lo) & (lane < (int32_t)seen[e].hi), weight[e], vf_zero());
            }
            grad[e] = weight[e] * (vf_load(ds + e * WK_PAGE_LEN + j) - room->gy[r + e]);
            if (!all) grad[e] *= slope;
            if (PER > 1) put_left(ds_left + e * (WK_PAGE_LEN / PER), j, grad[e]);
        }
        put_right(p + j, weight);  /* in their place: operand k of the tile is at row PER * k */
        put_right(ds + j, grad);
    }
}

/* What row r of the room sees of block b; the partner of a last row sees nothing. */
INLINE span seen_by(const wk_attn_grad *t, const ready *rows, int64_t r, int64_t b) {
    if (r >= rows->n) return (span){ 0, 0 };
    return visible(t->attr, t->n_key, t->pos[t->row[rows->first + r]], b * WK_PAGE_LEN);
}

/* Scores of n rows, from row i of the tile that begins at r, and their gradients, of the block's first `cols` positions. */
static void weigh_tile(const wk_attn_grad *t, const wk_attn_grad_room *room, const ready *rows, int64_t b, int64_t r, int64_t i,
                       int64_t n, int64_t cols) {
    for (int64_t end = i + n; i < end; i += PER) {
        span seen[PER];
        bool all = !(t->attr->cap > 0);
        for (int64_t e = 0; e < PER; e++) {
            seen[e] = seen_by(t, rows, r + i + e, b);
            all = all && seen[e].lo == 0 && seen[e].hi == WK_PAGE_LEN;
        }
        if (all) weigh_rows(room, i, r + i, seen, WK_PAGE_LEN, 0, true);
        else weigh_rows(room, i, r + i, seen, cols, t->attr->cap, false);
    }
}

/* Rows [r, r + n) of the room against the block that is unpacked. Where some do not see its end, sixteen rows at a time leave out
 * the sixteens of positions that none of them sees. */
static void grad_of_tile(const wk_attn_grad *t, const wk_attn_grad_room *room, const ready *rows, int64_t b, int64_t r, int64_t n,
                         bool first) {
    enum { BLOCK = WK_PAGE_LEN, PART = 16 };
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16, left = pad / PER, n_k = (hd + PER - 1) / PER, done = 0;
    bool whole = seen_by(t, rows, r, b).hi == BLOCK;
    const float *q = room->q_rows + r / PER * pad, *g = room->g_rows + r / PER * pad;
    float *dq = dq_of(room, wk_grad_half(b), pad) + r * pad;
    n = (n + PER - 1) / PER * PER;
    int64_t step = whole ? n : PART, seen_from[BLOCK / PART] = { n, n, n, n };  /* the first row that sees any of 16 positions */
    for (int64_t i = 0; i < n; i += step) {
        int64_t m = n - i < step ? n - i : step, last = r + i + m < rows->n ? r + i + m : rows->n;
        int64_t cols = (seen_by(t, rows, last - 1, b).hi + PART - 1) / PART * PART;
        const float *q_left = room->q + (r + i) * left, *g_left = room->g + (r + i) * left;
        float *p = room->p + i * BLOCK, *ds = room->ds + i * BLOCK, *ds_left = room->ds_left + i * (BLOCK / PER);
        for (; done < cols; done += PART) seen_from[done / PART] = i;
        product_of(&(product){ m, cols, n_k, q_left, left, 1, room->k_turned, BLOCK, p, BLOCK, false });
        product_of(&(product){ m, cols, n_k, g_left, left, 1, room->v_turned, BLOCK, ds, BLOCK, false });
        weigh_tile(t, room, rows, b, r, i, m, cols);
        product_of(&(product){ m, up(hd), cols / PER, ds_left, BLOCK / PER, 1, room->k, pad, dq + i * pad, pad, true });
    }
    step = whole ? BLOCK : PART;
    for (int64_t j = 0; j < BLOCK; j += step) {
        int64_t i = seen_from[j / PART], at = i * BLOCK + j, to = j * pad, rest = (n - i) / PER;
        product_of(&(product){ step, up(hd), rest, room->p + at, 1, PER * BLOCK, g + i * left, pad, room->dv + to, pad, !first });
        product_of(&(product){ step, up(hd), rest, room->ds + at, 1, PER * BLOCK, q + i * left, pad, room->dk + to, pad, !first });
    }
}

/* The rows [*from, *to) that may see keys of block b; positions ascend. */
static void rows_of_block(const wk_attn_grad *t, int64_t b, int64_t *from, int64_t *to) {
    int64_t begin = b * WK_PAGE_LEN, end = begin + WK_PAGE_LEN + t->attr->window - 1;
    *from = 0;
    *to = t->n_row;
    while (t->attr->causal && *from < *to && t->pos[t->row[*from]] < begin) ++*from;
    while (t->attr->window && *from < *to && t->pos[t->row[*to - 1]] >= end) --*to;
}

/* n numbers of a row times s. */
INLINE void copy_scaled(float s, const float *x, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i += VW) put(y + i, get(x + i, n - i) * s, n - i);
}

/* dk and dv of block b's keys that belong to this pass, from the room or back to it. */
static void keep_block(const wk_attn_grad *t, const wk_attn_grad_room *room, int64_t b, float unit, bool back) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16;
    for (int64_t j = 0; j < WK_PAGE_LEN; j++) {
        int64_t r = b * WK_PAGE_LEN + j - t->first_key;
        if (r < 0 || r >= t->n_key_row) continue;
        float *dk = t->dk + t->key_row[r] * t->ldk, *dv = t->dv + t->key_row[r] * t->ldk;
        if (r + AHEAD < t->n_key_row) {
            ask_for(t->dk, t->ldk, t->key_row[r + AHEAD], hd);
            ask_for(t->dv, t->ldk, t->key_row[r + AHEAD], hd);
        }
        if (back) {
            copy_scaled(unit, dk, hd, room->dk + j * pad);
            copy_scaled(1, dv, hd, room->dv + j * pad);
        } else {
            copy_scaled(1 / unit, room->dk + j * pad, hd, dk);
            copy_scaled(1, room->dv + j * pad, hd, dv);
        }
    }
}

static void attend_grad(const wk_attn_grad *t, const wk_attn_grad_room *room) {
    int64_t hd = t->attr->head_dim, pad = (hd + 15) / 16 * 16;
    for (int64_t at = 0; at == 0 || at < t->n_row; at += room->n_row) {
        const ready rows = take_rows(t, room, at);
        for (int64_t b = 0; b * WK_PAGE_LEN < t->n_key; b++) {
            int64_t from, to;
            if (!(t->halves >> wk_grad_half(b) & 1)) continue;
            rows_of_block(t, b, &from, &to);
            bool begun = from < at;
            if (from >= to && at == 0) {  /* keys that nobody sees */
                memset(room->dk, 0, (size_t)(WK_PAGE_LEN * pad) * sizeof *room->dk);
                memset(room->dv, 0, (size_t)(WK_PAGE_LEN * pad) * sizeof *room->dv);
                keep_block(t, room, b, rows.unit, false);
            }
            from = begun ? 0 : (from - at) / PER * PER;
            to = to - at < rows.n ? to - at : rows.n;
            if (from >= to) continue;
            unpack_block(t, room, b);
            if (begun) keep_block(t, room, b, rows.unit, true);
            for (int64_t r = from; r < to; r += WK_GRAD_ROWS)
                grad_of_tile(t, room, &rows, b, r, to - r < WK_GRAD_ROWS ? to - r : WK_GRAD_ROWS, r == from && !begun);
            keep_block(t, room, b, rows.unit, false);
        }
        for (int64_t r = 0; r < rows.n; r++) {
            const float *dq[2] = { dq_of(room, 0, pad) + r * pad, dq_of(room, 1, pad) + r * pad };
            float *to = t->dq + t->row[at + r] * t->ldq, s = t->attr->scale;
            if (r + AHEAD < rows.n) ask_for(t->dq, t->ldq, t->row[at + r + AHEAD], hd);
            if (t->halves < 3) copy_scaled(s, dq[t->halves - 1], hd, to);
            else for (int64_t i = 0; i < hd; i += VW) put(to + i, get(dq[0] + i, hd - i) * s + get(dq[1] + i, hd - i) * s, hd - i);
        }
    }
}
