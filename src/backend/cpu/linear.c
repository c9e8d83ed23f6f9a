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
    &wk_linear_avx2, &wk_linear_avx512,
#elif defined(__aarch64__)
    &wk_linear_neon,
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
        if (s->expand) f.expand = s->expand, f.mul = s->mul;
        if (s->widen) f.widen = s->widen;
        if (s->mul_float) f.mul_float = s->mul_float;
        if (s->row) f.row = s->row;
        if (s->grad) f.grad = s->grad;
    }
    return f;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Products with codes: panels of WK_PANEL_CHUNKS chunks. */
static void linear_codes(const wk_linear_set *f, const wk_packed *w, wk_tile *t, const wk_act *act, int64_t o0, int64_t o1,
                         float *y, const float *bias) {
    wk_panel panel[2];
    t->halves = w->l.group < WK_CHUNK;
    t->min = w->l.zero == WK_ZERO_MIN;
    t->act_ld = w->n_chunk;
    for (int64_t c = 0; c < w->n_chunk; c += WK_PANEL_CHUNKS) {
        t->n_k = (int)least(w->n_chunk - c, WK_PANEL_CHUNKS);
        t->act = act + c;
        t->first = c == 0;
        for (int64_t o = o0; o < o1; o += 32) {
            t->n_col = (int)least(o1 - o, 32);
            f->expand(w, o / 16, c, t->n_k, &panel[0]);
            if (t->n_col > 16) f->expand(w, o / 16 + 1, c, t->n_k, &panel[1]);
            t->panel[0] = &panel[0];
            t->panel[1] = t->n_col > 16 ? &panel[1] : NULL;
            t->y = y + o;
            t->bias = bias && c + t->n_k == w->n_chunk ? bias + o : NULL;
            f->mul(t);
        }
    }
}

/* A block's weights of inputs [k, k + n) as float32: where they lie, or widened into buf. */
static const float *float_block(const wk_linear_set *f, const wk_packed *w, int64_t block, int64_t k, int n, float *buf) {
    if (w->l.bits == 32) return (const float *)(const void *)w->code + (block * w->n_in + k) * 16;
    f->widen(w, block, k, n, buf);
    return buf;
}

/* Products with float weights: panels of WK_PANEL_INPUTS inputs. */
static void linear_floats(const wk_linear_set *f, const wk_packed *w, wk_tile *t, const float *x, int64_t o0, int64_t o1,
                          float *y, const float *bias) {
    _Alignas(64) float wide[2][WK_PANEL_INPUTS * 16];
    t->act_ld = w->n_in;
    for (int64_t k = 0; k < w->n_in; k += WK_PANEL_INPUTS) {
        t->n_k = (int)least(w->n_in - k, WK_PANEL_INPUTS);
        t->x = x + k;
        t->first = k == 0;
        for (int64_t o = o0; o < o1; o += 32) {
            t->n_col = (int)least(o1 - o, 32);
            t->weight[0] = float_block(f, w, o / 16, k, t->n_k, wide[0]);
            t->weight[1] = t->n_col > 16 ? float_block(f, w, o / 16 + 1, k, t->n_k, wide[1]) : NULL;
            t->y = y + o;
            t->bias = bias && k + t->n_k == w->n_in ? bias + o : NULL;
            f->mul_float(t);
        }
    }
}

void wk_linear(const wk_packed *w, const void *act, int64_t n_row, int64_t o0, int64_t o1, float *y, int64_t ldy, const float *bias) {
    wk_linear_set f = wk_linear_fns();
    if (n_row < 1 || o0 >= o1) return;
    assert(o0 % WK_PACK_ROWS == 0 && (o1 % WK_PACK_ROWS == 0 || o1 == w->n_out) && o1 <= w->n_out);
    if (n_row == 1 && f.row && f.row(w, act, o0 / 16, (o1 - o0 + 15) / 16, y + o0, (int)(o1 - o0), bias ? bias + o0 : NULL)) return;
    wk_tile t = { .n_row = n_row, .ldy = ldy };
    if (w->l.bits <= 8) linear_codes(&f, w, &t, act, o0, o1, y, bias);
    else linear_floats(&f, w, &t, act, o0, o1, y, bias);
}

/* ---- the gradient with respect to the input ---- */

enum { GRAD_COLS = 64, GRAD_OUT = 64, GRAD_ROWS = 64 };

/* Weights of output rows [o, o + n_o) and file inputs [i, i + n) as float32, out [n_o][GRAD_COLS], zero past n. */
static void grad_tile(const wk_packed *w, const int32_t *place, int64_t o, int n_o, int64_t i, int n, float *out) {
    for (int k = 0; k < n_o; k++)
        for (int c = 0; c < GRAD_COLS; c++)
            out[k * GRAD_COLS + c] = c < n ? wk_weight_at(w, (o + k) / 16, place ? place[c] : i + c, (int)((o + k) % 16)) : 0;
}

/* Where the file's inputs [i, i + n) lie among the packed ones. */
static void find_places(const wk_packed *w, int64_t i, int n, int32_t *place) {
    for (int64_t p = 0; p < w->n_in; p++)
        if (w->perm[p] >= i && w->perm[p] < i + n) place[w->perm[p] - i] = (int32_t)p;
}

void wk_linear_input_grad(const wk_packed *w, const float *g, int64_t ldg, int64_t n_row, int64_t i0, int64_t i1, float *dx, int64_t ldx) {
    wk_linear_set f = wk_linear_fns();
    _Alignas(64) float tile[GRAD_OUT * GRAD_COLS], acc[GRAD_ROWS * GRAD_COLS];
    int32_t place[GRAD_COLS];
    for (int64_t i = i0; i < i1; i += GRAD_COLS) {
        int n = (int)least(i1 - i, GRAD_COLS);
        if (w->perm) find_places(w, i, n, place);
        for (int64_t r = 0; r < n_row; r++) memset(dx + r * ldx + i, 0, (size_t)n * sizeof *dx);
        for (int64_t o = 0; o < w->n_out; o += GRAD_OUT) {
            int n_o = (int)least(w->n_out - o, GRAD_OUT);
            grad_tile(w, w->perm ? place : NULL, o, n_o, i, n, tile);
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
