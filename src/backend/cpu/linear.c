/* linear.c: products with packed weights: which kernels, in what order, for whom.
 * Load: a forward pass is 7 of these a layer and the output projection. One row reads all weights once, and is bound by
 * memory; hundreds of rows use each weight hundreds of times, and are bound by arithmetic. So: inputs are taken a panel's
 * width at a time; for it, each 32 output rows are expanded once, then multiplied with all activation rows while they lie in L1.
 * An output is the sum over chunks in order, whatever the tile: y carries it from one panel to the next. */
#include "backend/cpu/linear.h"
#include "base/cpu.h"
#include <assert.h>
#include <string.h>

static const wk_linear_set *const sets[] = {
    &wk_linear_c,
#if defined(__x86_64__)
    &wk_linear_avx2, &wk_linear_avx512, &wk_linear_avx512bf16, &wk_linear_amx,
#elif defined(__aarch64__)
    &wk_linear_neon, &wk_linear_dotprod, &wk_linear_i8mm,
#endif
};

wk_linear_set wk_linear_fns(void) {
    unsigned have = wk_cpu_features();
    wk_linear_set f = { 0 };
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        const wk_linear_set *s = sets[i];
        if (s->need & ~have) continue;
        f.name = s->name;
        if (s->round) f.round = s->round;
        if (s->expand) f.expand = s->expand;
        if (s->mul) f.mul = s->mul;
        if (s->widen) f.widen = s->widen;
        if (s->widen_f8) f.widen_f8 = s->widen_f8;
        if (s->mul_float) f.mul_float = s->mul_float;
        if (s->round_bf16) f.round_bf16 = s->round_bf16;
        if (s->mul_bf16) f.mul_bf16 = s->mul_bf16;
        if (s->few) f.few = s->few;
        if (s->grad) f.grad = s->grad;
    }
    return f;
}

bool wk_act_in_bf16(const wk_packed *w) { return wk_holds_bf16(&w->l) && wk_linear_fns().mul_bf16; }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Both loops below go through outputs 32 at a time and through inputs a panel at a time. With few rows, whose activations stay
 * in the cache, outputs come first, so that weights are read front to back; else inputs do. */
enum { CACHED_BYTES = 256 << 10 };

/* Products of outputs [o, o + n) with codes of n_k chunks from c on. */
static void codes_step(const wk_linear_set *f, const wk_packed *w, wk_tile *t, wk_panel panel[2], int64_t o, int64_t c) {
    t->n_k = (int)least(w->n_chunk - c, WK_PANEL_CHUNKS);
    t->first = c == 0;
    f->expand(w, o / 16, c, t->n_k, &panel[0]);
    if (t->n_col > 16) f->expand(w, o / 16 + 1, c, t->n_k, &panel[1]);
    t->panel[0] = &panel[0];
    t->panel[1] = t->n_col > 16 ? &panel[1] : NULL;
    if (c + t->n_k < w->n_chunk) t->bias = NULL;
    f->mul(t);
}

/* A block's weights of inputs [k, k + n) as float32: where they lie, or widened into buf. */
static const float *float_block(const wk_linear_set *f, const wk_packed *w, int64_t block, int64_t k, int n, float *buf) {
    if (w->l.bits == 32) return (const float *)(const void *)w->code + (block * w->n_held + k) * 16;
    (w->l.eight ? f->widen_f8 : f->widen)(w, block, k, n, buf);
    return buf;
}

/* The same with float weights, inputs from k on. */
static void floats_step(const wk_linear_set *f, const wk_packed *w, wk_tile *t, float *wide, int64_t o, int64_t k) {
    t->n_k = (int)least(w->n_in - k, WK_PANEL_INPUTS);
    t->first = k == 0;
    t->weight[0] = float_block(f, w, o / 16, k, t->n_k, wide);
    t->weight[1] = t->n_col > 16 ? float_block(f, w, o / 16 + 1, k, t->n_k, wide + WK_PANEL_INPUTS * 16) : NULL;
    if (k + t->n_k < w->n_in) t->bias = NULL;
    f->mul_float(t);
}

/* The same with pairs of bfloat16, from where they lie. */
static void pairs_step(const wk_linear_set *f, const wk_packed *w, wk_tile *t, int64_t o, int64_t k, int64_t n) {
    t->n_k = (int)n;
    t->first = k == 0;
    for (int b = 0; b < (t->n_col > 16 ? 2 : 1); b++)
        t->pair[b] = (const uint16_t *)(const void *)w->code + ((o / 16 + b) * w->n_held + k) * 16;
    if (k + n < w->n_held) t->bias = NULL;
    f->mul_bf16(t);
}

/* The bytes of n chunks (inputs, for floats) of a block, from k on. */
static int64_t bytes_of(const wk_packed *w, int64_t n) {
    return wk_holds_floats(&w->l) ? n * 2 * w->l.bits : n * wk_code_bytes(&w->l);
}
static const uint8_t *place_of(const wk_packed *w, int64_t block, int64_t k) {
    return w->code + bytes_of(w, block * (wk_holds_floats(&w->l) ? w->n_held : w->n_chunk) + k);
}

static void linear_rows(const wk_linear_set *f, const wk_packed *w, const void *act, int64_t n_row, int64_t o0, int64_t o1,
                        float *y, int64_t ldy, const float *bias) {
    union { wk_panel codes[2]; float wide[2 * WK_PANEL_INPUTS * 16]; } panel;
    bool codes = !wk_holds_floats(&w->l), pairs = wk_holds_bf16(&w->l) && f->mul_bf16;
    bool outputs_first = wk_act_bytes(w, n_row) <= CACHED_BYTES;
    int64_t n_k = codes ? w->n_chunk : pairs ? w->n_held : w->n_in, step = codes ? WK_PANEL_CHUNKS : WK_PANEL_INPUTS;
    if (pairs) step = outputs_first ? n_k : WK_PAIR_INPUTS;  /* few rows read weights front to back */
    int64_t n_o = (o1 - o0 + 31) / 32, n = (n_k + step - 1) / step;
    for (int64_t i = 0; i < n_o * n; i++) {
        int64_t k = (outputs_first ? i % n : i / n_o) * step, o = o0 + (outputs_first ? i / n : i % n_o) * 32;
        int64_t next_k = (outputs_first ? (i + 1) % n : (i + 1) / n_o) * step,
                next_o = o0 + (outputs_first ? (i + 1) / n : (i + 1) % n_o) * 32;
        wk_tile t = { .halves = w->l.group < WK_CHUNK,
                      .min = w->l.zero == WK_ZERO_MIN,
                      .act_ld = n_k,
                      .n_row = n_row,
                      .y = y + o,
                      .ldy = ldy,
                      .n_col = (int)least(o1 - o, 32),
                      .bias = bias ? bias + o : NULL };
        if (i + 1 < n_o * n) {
            for (int b = 0; b < 2; b++) t.next[b] = place_of(w, next_o / 16 + (next_o + 16 * b < o1 ? b : 0), next_k);
            t.n_next = bytes_of(w, least(n_k - next_k, step));
        }
        if (codes) t.act = (const wk_act *)act + k, codes_step(f, w, &t, panel.codes, o, k);
        else if (pairs) t.x16 = (const uint16_t *)act + k, pairs_step(f, w, &t, o, k, least(n_k - k, step));
        else t.x = (const float *)act + k, floats_step(f, w, &t, panel.wide, o, k);
    }
}

void wk_linear(const wk_packed *w, const void *act, int64_t n_row, int64_t o0, int64_t o1, float *y, int64_t ldy,
               const float *bias) {
    wk_linear_set f = wk_linear_fns();
    if (n_row < 1 || o0 >= o1) return;
    assert(o0 % WK_PACK_ROWS == 0 && (o1 % WK_PACK_ROWS == 0 || o1 == w->n_out) && o1 <= w->n_out);
    if (n_row <= WK_FEW_ROWS && f.few && !w->l.eight && !(wk_holds_bf16(&w->l) && f.mul_bf16))
        f.few(w, act, n_row, o0 / 16, (o1 - o0 + 15) / 16, y + o0, ldy, (int)(o1 - o0), bias ? bias + o0 : NULL);
    else linear_rows(&f, w, act, n_row, o0, o1, y, ldy, bias);
}

/* ---- the gradient with respect to the input ---- */

enum { GRAD_COLS = 64, GRAD_OUT = 64, GRAD_ROWS = 64 };

/* Weights of a block's 16 output rows, file inputs [i, i + n), as float32, out [16][GRAD_COLS], zero past n. */
static void codes_tile(const wk_linear_set *f, const wk_packed *w, int64_t block, int64_t i, int n, wk_panel *p, float *out) {
    f->expand(w, block, i / WK_CHUNK, n / WK_CHUNK, p);
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < n; c++) {
            int k = c % WK_CHUNK, chunk = c / WK_CHUNK;
            float v = (float)(int8_t)(p->code[chunk][k / 4 * 64 + r * 4 + k % 4] - p->offset) *
                      p->scale[chunk][w->l.group < WK_CHUNK && k >= 16][r];
            out[r * GRAD_COLS + c] = w->l.zero == WK_ZERO_MIN ? v + p->min[chunk][r] : v;
        }
}
static void floats_tile(const wk_linear_set *f, const wk_packed *w, int64_t block, int64_t i, int n, float *wide, float *out) {
    const float *v = float_block(f, w, block, i, n, wide);
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < n; c++) out[r * GRAD_COLS + c] = v[c * 16 + r];
}
static void permuted_tile(const wk_packed *w, int64_t block, const int32_t *place, int n, float *out) {
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < n; c++) out[r * GRAD_COLS + c] = wk_weight_at(w, block, place[c], r);
}

/* Where the file's inputs [i, i + n) lie among the packed ones. */
static void find_places(const wk_packed *w, int64_t i, int n, int32_t *place) {
    for (int64_t p = 0; p < w->n_in; p++)
        if (w->perm[p] >= i && w->perm[p] < i + n) place[w->perm[p] - i] = (int32_t)p;
}

void wk_linear_input_grad(const wk_packed *w, const float *g, int64_t ldg, int64_t n_row, int64_t i0, int64_t i1, float *dx,
                          int64_t ldx) {
    wk_linear_set f = wk_linear_fns();
    _Alignas(64) float tile[GRAD_OUT * GRAD_COLS] = { 0 }, acc[GRAD_ROWS * GRAD_COLS], wide[GRAD_COLS * 16];
    wk_panel panel;
    int32_t place[GRAD_COLS];
    for (int64_t i = i0; i < i1; i += GRAD_COLS) {
        int n = (int)least(i1 - i, GRAD_COLS);
        if (w->perm) find_places(w, i, n, place);
        for (int64_t r = 0; r < n_row; r++) memset(dx + r * ldx + i, 0, (size_t)n * sizeof *dx);
        for (int64_t o = 0; o < w->n_out; o += GRAD_OUT) {
            int n_o = (int)least(w->n_out - o, GRAD_OUT);
            for (int k = 0; k < n_o; k += 16) {
                float *to = tile + k * GRAD_COLS;
                if (w->perm) permuted_tile(w, (o + k) / 16, place, n, to);
                else if (wk_holds_floats(&w->l)) floats_tile(&f, w, (o + k) / 16, i, n, wide, to);
                else codes_tile(&f, w, (o + k) / 16, i, n, &panel, to);
            }
            for (int64_t r = 0; r < n_row; r += GRAD_ROWS) {
                int64_t rows = least(n_row - r, GRAD_ROWS);
                memset(acc, 0, (size_t)rows * GRAD_COLS * sizeof *acc);
                f.grad(g + r * ldg + o, ldg, rows, tile, n_o, acc);
                for (int64_t k = 0; k < rows; k++)
                    for (int c = 0; c < n; c++) dx[(r + k) * ldx + i + c] += acc[k * GRAD_COLS + c];
            }
        }
    }
}
