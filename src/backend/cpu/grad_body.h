/* grad_body.h: gradients with respect to inputs, compiled once per instruction set: linear_*.c includes it after simd.h.
 * Load: W^T g of every frozen weight a training step: weights are unpacked once for all rows, 64 outputs x 64 inputs at a time,
 * and stay in L1 while the rows' gradients go by. */

/* A panel's weights, n chunks of 16 outputs, as float32: out [16][WK_GRAD_COLS]. */
static void turn_codes(const wk_panel *p, const wk_layout *l, int n, float *out) {
    const bool halves = wk_has_halves(l), min = wk_has_min(l), min_low = wk_has_min_low(l);
    _Alignas(64) uint32_t turned[16][WK_CHUNK / 4];  /* a row's codes in order */
    for (int c = 0; c < n; c++) {
        for (int j = 0; j < WK_CHUNK / 4; j++)
            for (int r = 0; r < 16; r++) memcpy(&turned[r][j], p->code[c] + 64 * j + 4 * r, 4);
        for (int r = 0; r < 16; r++) {
            const uint8_t *code = (const uint8_t *)turned[r];
            float least = min ? p->min[c][r] : 0, least_low = min_low ? least + p->min_low[c][r] : least;
            WK_UNROLL
            for (int i = 0; i < WK_CHUNK; i += VW) {
                vi v = (((vi)vu_from_u8(code + i) - p->offset) << 24) >> 24;  /* a signed byte */
                vf_store(out + r * WK_GRAD_COLS + c * WK_CHUNK + i,
                         __builtin_convertvector(v, vf) * p->scale[c][halves && i >= 16][r] +
                             (i < 16 ? least_low : least));
            }
        }
    }
}

/* dx[mr][nv vectors] += the block's sum over o of g[mr][o] w[o]. */
INLINE void grad_tile(const int mr, const int nv, const float *g, int64_t ldg, const float *w, int n_o, float *dx, int64_t ldx) {
    vf s[TILE_M][TILE_N];
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) s[m][j] = vf_zero();
    }
    for (int o = 0; o < n_o; o++) {
        vf v[TILE_N];
        WK_UNROLL
        for (int j = 0; j < nv; j++) v[j] = vf_load(w + o * WK_GRAD_COLS + j * VW);
        WK_UNROLL
        for (int m = 0; m < mr; m++) {
            WK_UNROLL
            for (int j = 0; j < nv; j++) s[m][j] = vf_fma(v[j], vf_set(g[m * ldg + o]), s[m][j]);
        }
    }
    WK_UNROLL
    for (int m = 0; m < mr; m++) {
        WK_UNROLL
        for (int j = 0; j < nv; j++) vf_store(dx + m * ldx + j * VW, vf_load(dx + m * ldx + j * VW) + s[m][j]);
    }
}

static void grad_rows(const float *g, int64_t ldg, int64_t n_row, const float *w, int n_o, int n_col, float *dx, int64_t ldx) {
    int c = 0;
    for (; c + TILE_N * VW <= n_col; c += TILE_N * VW) {
        int64_t r = 0;
        for (; r + TILE_M <= n_row; r += TILE_M) grad_tile(TILE_M, TILE_N, g + r * ldg, ldg, w + c, n_o, dx + r * ldx + c, ldx);
        if (r + TILE_M / 2 <= n_row) {
            grad_tile(TILE_M / 2, TILE_N, g + r * ldg, ldg, w + c, n_o, dx + r * ldx + c, ldx);
            r += TILE_M / 2;
        }
        for (; r < n_row; r++) grad_tile(1, TILE_N, g + r * ldg, ldg, w + c, n_o, dx + r * ldx + c, ldx);
    }
    for (; c < n_col; c += VW) {
        int64_t r = 0;
        for (; r + TILE_M <= n_row; r += TILE_M) grad_tile(TILE_M, 1, g + r * ldg, ldg, w + c, n_o, dx + r * ldx + c, ldx);
        for (; r < n_row; r++) grad_tile(1, 1, g + r * ldg, ldg, w + c, n_o, dx + r * ldx + c, ldx);
    }
}
