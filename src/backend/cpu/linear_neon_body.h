/* linear_neon_body.h: products with codes as NEON's sets share them: a tile of 16 outputs x 2 rows. Before it includes this, a file
 * defines NEON, its target, and add_products(), which adds to s[row][4] the products of NT rows' 16 inputs with 16 outputs. */

/* y[r][16 b ..] of a tile, by way of an array: there is no masked load. */
NEON_PART void load_y(const wk_tile *t, int b, int64_t r, float32x4_t y[4]) {
    float v[16] = { 0 };
    int n = t->n_col - 16 * b < 16 ? t->n_col - 16 * b : 16;
    if (!t->first) memcpy(v, t->y + r * t->ldy + 16 * b, (size_t)n * sizeof *v);
    UNROLL for (int j = 0; j < 4; j++) y[j] = vld1q_f32(v + 4 * j);
}
NEON_PART void store_y(const wk_tile *t, int b, int64_t r, const float32x4_t y[4]) {
    float v[16];
    int n = t->n_col - 16 * b < 16 ? t->n_col - 16 * b : 16;
    UNROLL for (int j = 0; j < 4; j++) vst1q_f32(v + 4 * j, y[j]);
    if (t->bias) for (int o = 0; o < n; o++) v[o] += t->bias[16 * b + o];
    memcpy(t->y + r * t->ldy + 16 * b, v, (size_t)n * sizeof *v);
}

/* Block b, NT rows from r on. */
NEON_PART void tile_codes(const wk_tile *t, int b, int64_t r, const int NT, const bool halves, const bool min,
                          const bool min_low) {
    const wk_panel *p = t->panel[b];
    float32x4_t y[2][4], v[2][4];
    UNROLL for (int i = 0; i < NT; i++) load_y(t, b, r + i, y[i]);
    for (int c = 0; c < t->n_k; c++) {
        const wk_act *a[2] = { &t->act[r * t->act_ld + c], &t->act[(r + NT - 1) * t->act_ld + c] };
        int32x4_t s[2][4];
        UNROLL for (int i = 0; i < NT; i++) UNROLL for (int j = 0; j < 4; j++) s[i][j] = vdupq_n_s32(0);
        add_products(NT, p->code[c], a[0]->q, a[1]->q, s);
        if (halves) {
            UNROLL for (int i = 0; i < NT; i++) UNROLL for (int j = 0; j < 4; j++) {
                v[i][j] = vmulq_f32(vcvtq_f32_s32(s[i][j]), vld1q_f32(p->scale[c][0] + 4 * j));
                s[i][j] = vdupq_n_s32(0);
            }
        }
        add_products(NT, p->code[c] + 256, a[0]->q + 16, a[1]->q + 16, s);
        UNROLL for (int i = 0; i < NT; i++) UNROLL for (int j = 0; j < 4; j++) {
            float32x4_t f = vcvtq_f32_s32(s[i][j]);
            if (halves) v[i][j] = vfmaq_f32(v[i][j], f, vld1q_f32(p->scale[c][1] + 4 * j));
            else v[i][j] = vmulq_f32(f, vld1q_f32(p->scale[c][0] + 4 * j));
            y[i][j] = vfmaq_n_f32(y[i][j], v[i][j], a[i]->d);
            if (min) y[i][j] = vfmaq_n_f32(y[i][j], vld1q_f32(p->min[c] + 4 * j), a[i]->sum);
            if (min_low) y[i][j] = vfmaq_n_f32(y[i][j], vld1q_f32(p->min_low[c] + 4 * j), a[i]->sum_low);
        }
    }
    UNROLL for (int i = 0; i < NT; i++) store_y(t, b, r + i, y[i]);
}

NEON_PART void rows_codes(const wk_tile *t, const bool halves, const bool min, const bool min_low) {
    for (int b = 0; b < (t->panel[1] ? 2 : 1); b++) {
        int64_t r = 0;
        for (; t->n_row - r >= 2; r += 2) tile_codes(t, b, r, 2, halves, min, min_low);
        for (; r < t->n_row; r++) tile_codes(t, b, r, 1, halves, min, min_low);
    }
}
NEON static void mul_codes(const wk_tile *t) {
    if (t->halves) rows_codes(t, true, false, false);
    else if (t->min_low) rows_codes(t, false, true, true);
    else if (t->min) rows_codes(t, false, true, false);
    else rows_codes(t, false, false, false);
}
