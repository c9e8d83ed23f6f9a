/* linear.c: products with packed weights: which kernels, in what order, for whom.
 * Load: a forward pass is 7 of these a layer and the output projection. One row reads all weights once, and is bound by
 * memory; hundreds of rows use each weight hundreds of times, and are bound by arithmetic. So: inputs are taken a panel's
 * width at a time; for it, each 32 output rows are expanded once, then multiplied with all activation rows while they lie near.
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

static wk_linear_set choose(unsigned have) {
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
        if (s->mul_thin) f.mul_thin = s->mul_thin;
        if (s->mul_bf16) f.mul_bf16 = s->mul_bf16, f.pair_inputs = s->pair_inputs;
        if (s->few) f.few = s->few;
        if (s->grad) f.grad = s->grad, f.grad_thin = s->grad_thin;
        if (s->turn_bytes) f.turn_bytes = s->turn_bytes, f.turn_floats = s->turn_floats;
        if (s->pairs.attend) f.pairs = s->pairs;
    }
    return f;
}

/* Of one row an adapter's products are so short that choosing anew took a twentieth of their time. */
const wk_linear_set *wk_linear_fns(void) {
    static _Thread_local wk_linear_set chosen;
    static _Thread_local unsigned chosen_for;
    unsigned have = wk_cpu_features();
    if (!chosen.name || have != chosen_for) chosen = choose(have), chosen_for = have;
    return &chosen;
}

wk_pair_fns wk_pairs_here(void) { return wk_linear_fns()->pairs; }

bool wk_act_in_bf16(const wk_packed *w) { return wk_holds_bf16(&w->l) && wk_linear_fns()->mul_bf16; }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Both loops below go through outputs 32 at a time and through inputs a panel at a time. With few rows, whose activations stay
 * in the cache, outputs come first, so that weights are read front to back; else inputs do. */
enum { CACHED_BYTES = 256 << 10 };

/* Products of outputs [o, o + n) with codes of n chunks from c on. */
static void codes_step(const wk_linear_set *f, const wk_packed *w, wk_tile *t, wk_panel panel[2], int64_t o, int64_t c, int64_t n) {
    t->n_k = (int)n;
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

/* The same with n inputs of float weights, from k on. */
static void floats_step(const wk_linear_set *f, const wk_packed *w, wk_tile *t, float *wide, int64_t o, int64_t k, int64_t n) {
    t->n_k = (int)n;
    t->weight[0] = float_block(f, w, o / 16, k, t->n_k, wide);
    t->weight[1] = t->n_col > 16 ? float_block(f, w, o / 16 + 1, k, t->n_k, wide + WK_PANEL_INPUTS * 16) : NULL;
    if (k + t->n_k < w->n_in) t->bias = NULL;
    f->mul_float(t);
}

/* The same with pairs of bfloat16, from where they lie. */
static void pairs_step(const wk_linear_set *f, const wk_packed *w, wk_tile *t, int64_t o, int64_t k, int64_t n) {
    t->n_k = (int)n;
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

/* The width of n pieces of n_k, in multiples of unit: a short one at the end costs a tile's beginning and end all the same. */
static int64_t even_step(int64_t n_k, int64_t n, int64_t unit) { return ((n_k + n - 1) / n + unit - 1) / unit * unit; }

/* All outputs [o0, o1) of bfloat16 with few inputs. */
static void thin_rows(const wk_linear_set *f, const wk_packed *w, const void *act, int64_t act_ld, int64_t n_row, int64_t o0,
                      int64_t o1, float *y, int64_t ldy, const float *bias, bool add) {
    wk_tile t = { .first = !add, .act_ld = act_ld, .n_row = n_row, .x16 = act, .y = y, .ldy = ldy, .n_col = (int)(o1 - o0),
                  .bias = bias ? bias + o0 : NULL, .n_k = (int)w->n_held,
                  .pair = { (const uint16_t *)(const void *)w->code + o0 * w->n_held } };
    f->mul_thin(&t);
}

/* act_ld: from one row of act to the next, in chunks or numbers. */
static void linear_rows(const wk_linear_set *f, const wk_packed *w, const void *act, int64_t act_ld, int64_t n_row, int64_t o0,
                        int64_t o1, float *y, int64_t ldy, const float *bias, bool add) {
    union { wk_panel codes[2]; float wide[2 * WK_PANEL_INPUTS * 16]; } panel;
    bool codes = !wk_holds_floats(&w->l), pairs = wk_holds_bf16(&w->l) && f->mul_bf16;
    bool outputs_first = wk_act_bytes(w, n_row) <= CACHED_BYTES;
    if (pairs && f->mul_thin && w->n_held < WK_CHUNK) {
        thin_rows(f, w, act, act_ld, n_row, o0, o1, y, ldy, bias, add);
        return;
    }
    int64_t n_k = codes ? w->n_chunk : pairs ? w->n_held : w->n_in, step = codes ? WK_PANEL_CHUNKS : WK_PANEL_INPUTS;
    if (pairs) step = outputs_first ? n_k : f->pair_inputs;  /* few rows read weights front to back */
    int64_t n_o = (o1 - o0 + 31) / 32, n = (n_k + step - 1) / step;
    step = even_step(n_k, n, codes ? 1 : WK_CHUNK);
    for (int64_t i = 0; i < n_o * n; i++) {
        int64_t k = (outputs_first ? i % n : i / n_o) * step, o = o0 + (outputs_first ? i / n : i % n_o) * 32;
        int64_t next_k = (outputs_first ? (i + 1) % n : (i + 1) / n_o) * step,
                next_o = o0 + (outputs_first ? (i + 1) / n : (i + 1) % n_o) * 32;
        wk_tile t = { .first = k == 0 && !add,
                      .halves = wk_has_halves(&w->l),
                      .min = wk_has_min(&w->l),
                      .min_low = wk_has_min_low(&w->l),
                      .act_ld = act_ld,
                      .n_row = n_row,
                      .y = y + (o - o0),
                      .ldy = ldy,
                      .n_col = (int)least(o1 - o, 32),
                      .bias = bias ? bias + o : NULL };
        if (i + 1 < n_o * n) {
            int64_t n_high = wk_high_bytes(&w->l), next_width = least(n_k - next_k, step);
            for (int b = 0; b < 2; b++) {
                int64_t block = next_o / 16 + (next_o + 16 * b < o1 ? b : 0);
                t.next[b] = place_of(w, block, next_k);
                if (n_high) t.next_high[b] = w->high + (block * w->n_chunk + next_k) * n_high;
            }
            t.n_next = bytes_of(w, next_width);
            t.n_next_high = next_width * n_high;
        }
        int64_t width = least(n_k - k, step);
        if (codes) t.act = (const wk_act *)act + k, codes_step(f, w, &t, panel.codes, o, k, width);
        else if (pairs) t.x16 = (const uint16_t *)act + k, pairs_step(f, w, &t, o, k, width);
        else t.x = (const float *)act + k, floats_step(f, w, &t, panel.wide, o, k, width);
    }
}

void wk_linear_part(const wk_packed *w, const void *act, int64_t n_row, int64_t o0, int64_t o1, float *y, int64_t ldy,
                    const float *bias) {
    const wk_linear_set *f = wk_linear_fns();
    if (n_row < 1 || o0 >= o1) return;
    assert(o0 % WK_PACK_ROWS == 0 && (o1 % WK_PACK_ROWS == 0 || o1 == w->n_out) && o1 <= w->n_out);
    if (n_row <= WK_FEW_ROWS && f->few && !w->l.eight && !(wk_holds_bf16(&w->l) && f->mul_bf16))
        f->few(w, act, n_row, o0 / 16, (o1 - o0 + 15) / 16, y, ldy, (int)(o1 - o0), bias ? bias + o0 : NULL);
    else linear_rows(f, w, act, wk_act_ld(w), n_row, o0, o1, y, ldy, bias, false);
}

void wk_linear(const wk_packed *w, const void *act, int64_t n_row, int64_t o0, int64_t o1, float *y, int64_t ldy,
               const float *bias) {
    wk_linear_part(w, act, n_row, o0, o1, y + o0, ldy, bias);
}

void wk_linear_add_part(const wk_packed *w, const void *act, size_t stride, int64_t n_row, int64_t o0, int64_t o1, float *y,
                        int64_t ldy) {
    const wk_linear_set *f = wk_linear_fns();
    if (n_row > 0 && o0 < o1) linear_rows(f, w, act, wk_act_items(w, stride), n_row, o0, o1, y, ldy, NULL, true);
}

void wk_linear_plain(const wk_packed *w, const float *x, int64_t ldx, int64_t n_row, int64_t o0, int64_t o1, float *y,
                     int64_t ldy) {
    const wk_linear_set *f = wk_linear_fns();
    assert(!wk_packed_rounds(w));
    if (n_row == 1 || ldx == wk_act_ld(w)) wk_linear(w, x, n_row, o0, o1, y, ldy, NULL);
    else if (n_row > 0 && o0 < o1) linear_rows(f, w, x, ldx, n_row, o0, o1, y + o0, ldy, NULL, false);
}

void wk_linear_add(const wk_packed *w, const void *act, size_t stride, int64_t n_row, int64_t o0, int64_t o1, float *y,
                   int64_t ldy) {
    wk_linear_add_part(w, act, stride, n_row, o0, o1, y + o0, ldy);
}

/* ---- sums in parts ---- */

enum { PART_INPUTS = 256 };

int64_t wk_linear_n_part(int64_t n_in) { return (n_in + PART_INPUTS - 1) / PART_INPUTS; }

/* Up to 32 outputs of part i, from o on, of rows act_ld numbers apart. */
static void part_tile(const wk_linear_set *f, const wk_packed *w, int64_t i, int64_t o, const void *act, int64_t act_ld,
                      int64_t n_row, float *y, int64_t ldy) {
    _Alignas(64) float wide[2 * WK_PANEL_INPUTS * 16];
    bool pairs = wk_act_in_bf16(w);
    int64_t step = even_step(w->n_in, wk_linear_n_part(w->n_in), WK_CHUNK), k = i * step;
    int64_t n = least((pairs ? w->n_held : w->n_in) - k, step);
    wk_tile t = { .first = true, .act_ld = act_ld, .n_row = n_row, .y = y, .ldy = ldy, .n_col = (int)least(w->n_out - o, 32) };
    if (pairs) t.x16 = (const uint16_t *)act + k, pairs_step(f, w, &t, o, k, n);
    else t.x = (const float *)act + k, floats_step(f, w, &t, wide, o, k, n);
}

void wk_linear_parts(const wk_packed *w, const void *act, int64_t from, int64_t to, float *y, int64_t ldy) {
    const wk_linear_set *f = wk_linear_fns();
    for (int64_t i = from; i < to; i++)
        for (int64_t o = 0; o < w->n_out; o += 32) part_tile(f, w, i, o, act, 0, 1, y + (i - from) * ldy + o, ldy);
}

void wk_linear_in_parts(const wk_packed *w, const void *act, size_t stride, int64_t n_row, float *y) {
    enum { ROWS = 48 };
    const wk_linear_set *f = wk_linear_fns();
    int64_t act_ld = wk_act_items(w, stride);
    float part[ROWS][32];
    assert(wk_holds_floats(&w->l));
    for (int64_t r = 0; r < n_row; r += ROWS)
        for (int64_t o = 0; o < w->n_out; o += 32) {
            const uint8_t *x = (const uint8_t *)act + (size_t)r * stride;
            float *to = y + r * w->n_out + o;
            int64_t rows = least(n_row - r, ROWS), cols = least(w->n_out - o, 32);
            part_tile(f, w, 0, o, x, act_ld, rows, to, w->n_out);
            for (int64_t i = 1; i < wk_linear_n_part(w->n_in); i++) {
                part_tile(f, w, i, o, x, act_ld, rows, part[0], 32);
                for (int64_t k = 0; k < rows; k++)
                    for (int64_t c = 0; c < cols; c++) to[k * w->n_out + c] += part[k][c];
            }
        }
}

/* ---- the gradient with respect to the input ---- */

enum { GRAD_OUT = 64 };

/* Weights of a block's first n_o output rows, file inputs [i, i + n), as float32, out [n_o][WK_GRAD_COLS]. */
static void floats_tile(const wk_linear_set *f, const wk_packed *w, int64_t block, int n_o, int64_t i, int n, float *wide,
                        float *out) {
    const float *v = float_block(f, w, block, i, n, wide);
    for (int c = 0; c < n; c += 16)  /* sixteen rows' cache lines at a time */
        for (int r = 0; r < n_o; r++)
            for (int k = c; k < c + 16 && k < n; k++) out[r * WK_GRAD_COLS + k] = v[k * 16 + r];
}
static void permuted_tile(const wk_packed *w, int64_t block, const int32_t *place, int n, float *out) {
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < n; c++) out[r * WK_GRAD_COLS + c] = wk_weight_at(w, block, place[c], r);
}

/* Where the file's inputs [i, i + n) lie among the packed ones. */
static void find_places(const wk_packed *w, int64_t i, int n, int32_t *place) {
    for (int64_t p = 0; p < w->n_in; p++)
        if (w->perm[p] >= i && w->perm[p] < i + n) place[w->perm[p] - i] = (int32_t)p;
}

/* Outputs [o, o + n_o) times inputs [i, i + n), as float32: tile [n_o][WK_GRAD_COLS]. */
static void weight_tile(const wk_linear_set *f, const wk_packed *w, int64_t o, int n_o, int64_t i, int n, const int32_t *place,
                        float *tile) {
    _Alignas(64) float wide[WK_GRAD_COLS * 16];
    for (int k = 0; k < n_o; k += 16) {
        float *to = tile + k * WK_GRAD_COLS;
        if (w->perm) permuted_tile(w, (o + k) / 16, place, n, to);
        else floats_tile(f, w, (o + k) / 16, (int)least(n_o - k, 16), i, n, wide, to);
    }
}

/* Rows whose columns are no whole vectors: through a copy. */
static void grad_narrow(const wk_linear_set *f, const float *g, int64_t ldg, int64_t n_row, const float *tile, int n_o, int n,
                        bool add, float *dx, int64_t ldx) {
    enum { ROWS = 24 };
    _Alignas(64) float copy[ROWS * WK_GRAD_COLS];
    for (int64_t r = 0; r < n_row; r += ROWS) {
        int64_t rows = least(n_row - r, ROWS);
        memset(copy, 0, sizeof copy);
        for (int64_t k = 0; add && k < rows; k++) memcpy(copy + k * WK_GRAD_COLS, dx + (r + k) * ldx, (size_t)n * sizeof *copy);
        f->grad(g + r * ldg, ldg, rows, tile, n_o, (n + 15) / 16 * 16, add, copy, WK_GRAD_COLS);
        for (int64_t k = 0; k < rows; k++) memcpy(dx + (r + k) * ldx, copy + k * WK_GRAD_COLS, (size_t)n * sizeof *copy);
    }
}

/* Matrices of few inputs, whose planes hold their outputs side by side already. */
static void grad_of_few(const wk_linear_set *f, const wk_packed *w, const float *g, int64_t ldg, int64_t n_row, int64_t o0,
                        int64_t o1, bool add, float *dx, int64_t ldx) {
    enum { NUMBERS = GRAD_OUT * WK_GRAD_COLS };
    _Alignas(64) float plane[NUMBERS];
    int n = (int)w->n_in, step = NUMBERS / n / 16 * 16;
    for (int64_t o = o0; o < o1; o += step) {
        int n_o = (int)least(o1 - o, step);
        for (int k = 0; k < n_o; k += 16) {
            const float *v = float_block(f, w, (o + k) / 16, 0, n, plane + k * n);
            if (w->l.bits == 32) memcpy(plane + k * n, v, (size_t)n * 16 * sizeof *v);
        }
        f->grad_thin(g + o - o0, ldg, n_row, plane, n_o, n, add || o > o0, dx, ldx);
    }
}

static int64_t chunks_of(int64_t n) { return (n + WK_CHUNK - 1) / WK_CHUNK; }

bool wk_grad_rounds(const wk_packed *w) {
    if (wk_holds_bf16(&w->l)) return w->n_in >= WK_CHUNK;
    return !wk_holds_floats(&w->l) && !w->perm;
}

size_t wk_grad_stride(const wk_packed *w, int64_t n) {
    return wk_grad_rounds(w) ? (size_t)chunks_of(n) * sizeof(wk_act) : (size_t)n * sizeof(float);
}

void wk_round_rows(const float *x, int64_t ldx, int64_t n_row, int64_t n, uint16_t *out) {
    const wk_linear_set *f = wk_linear_fns();
    int64_t ld = chunks_of(n) * WK_CHUNK;
    for (int64_t r = 0; r < n_row; r++, out += ld) {
        if (f->round_bf16) f->round_bf16(x + r * ldx, n, out);
        else for (int64_t i = 0; i < n; i++) out[i] = wk_f32_to_bf16(x[r * ldx + i]);
        memset(out + n, 0, (size_t)(ld - n) * sizeof *out);
    }
}

/* A row as activations are rounded, zeros up to a whole chunk. */
static void round_bytes(const wk_linear_set *f, const float *g, int64_t n, wk_act *out) {
    float last[WK_CHUNK] = { 0 };
    f->round(g, n / WK_CHUNK, out);
    if (n % WK_CHUNK == 0) return;
    memcpy(last, g + n / WK_CHUNK * WK_CHUNK, (size_t)(n % WK_CHUNK) * sizeof *last);
    f->round(last, 1, out + n / WK_CHUNK);
}

void wk_grad_prepare(const wk_packed *w, const float *g, int64_t ldg, int64_t n_row, int64_t n, void *out) {
    const wk_linear_set *f = wk_linear_fns();
    size_t stride = wk_grad_stride(w, n);
    for (int64_t r = 0; r < n_row; r++) {
        void *row = (uint8_t *)out + (size_t)r * stride;
        if (wk_grad_rounds(w)) round_bytes(f, g + r * ldg, n, row);
        else memcpy(row, g + r * ldg, stride);
    }
}

/* A panel's first chunk becomes zeros. */
static void clear_panel(wk_panel *p, int offset) {
    p->offset = offset;
    memset(p->code[0], offset, sizeof p->code[0]);
    memset(p->scale[0], 0, sizeof p->scale[0]);
    memset(p->min[0], 0, sizeof p->min[0]);
    memset(p->min_low[0], 0, sizeof p->min_low[0]);
}

/* What 32 outputs x 32 inputs are turned from. */
typedef union tile_room { wk_panel codes[2]; float floats[2][WK_CHUNK * 16]; } tile_room;

/* Codes, by way of their panels; returns their scale. */
static float turn_codes(const wk_linear_set *f, const wk_packed *w, int64_t block, int64_t i, tile_room *room, uint8_t *out,
                        int64_t apart) {
    wk_panel *panel = room->codes;
    f->expand(w, block, i / WK_CHUNK, 1, &panel[0]);
    if (block + 1 < w->n_block) f->expand(w, block + 1, i / WK_CHUNK, 1, &panel[1]);
    else clear_panel(&panel[1], panel[0].offset);
    return f->turn_bytes(panel, &w->l, out, apart);
}
/* The same of floats. */
static float turn_floats(const wk_linear_set *f, const wk_packed *w, int64_t block, int64_t i, tile_room *room, uint8_t *out,
                         int64_t apart) {
    for (int b = 0; b < 2; b++) {
        int n = block + b < w->n_block ? (int)least(w->n_in - i, WK_CHUNK) : 0;
        if (n) f->widen(w, block + b, i, n, room->floats[b]);
        memset(room->floats[b] + 16 * n, 0, (size_t)(WK_CHUNK - n) * 16 * sizeof(float));
    }
    return f->turn_floats(room->floats[0], out, apart);
}

/* Asks for what 32 outputs x 32 inputs are turned from: pieces too short for the processor to see where they lead. */
static void fetch_tile(const wk_packed *w, int64_t block, int64_t i) {
    bool floats = wk_holds_floats(&w->l);
    int64_t n = bytes_of(w, floats ? WK_CHUNK : 1);
    for (int b = 0; b < 2; b++)
        for (int64_t at = 0; at < n; at += 64) __builtin_prefetch(place_of(w, block + b, floats ? i : i / WK_CHUNK) + at);
}

/* Chunks of outputs [c, c + n) of 32 inputs from i on, as a matrix of 8 bits that has outputs for inputs. */
static void bytes_tile(const wk_linear_set *f, const wk_packed *w, int64_t c, int64_t n, int64_t i, wk_packed *tile) {
    enum { AHEAD = 4 };
    static const wk_layout layout = { .bits = 8, .group = WK_CHUNK, .scale = WK_SCALE_F32, .zero = WK_ZERO_MID };
    float *scale = (float *)(void *)tile->scale;
    tile_room room;
    tile->l = layout;
    tile->n_in = tile->n_held = n * WK_CHUNK;
    tile->n_chunk = tile->n_group = n;
    for (int64_t k = 0; k < n; k++) {
        if (2 * (c + k + AHEAD) + 1 < w->n_block) fetch_tile(w, 2 * (c + k + AHEAD), i);
        float s = (wk_holds_floats(&w->l) ? turn_floats : turn_codes)(f, w, 2 * (c + k), i, &room, tile->code + k * 512, n * 512);
        for (int r = 0; r < 16; r++) scale[k * 16 + r] = scale[(n + k) * 16 + r] = s;
    }
}

/* The forward pass's product of codes, with a gradient's rows for activations and inputs for outputs. */
static void grad_by_bytes(const wk_linear_set *f, const wk_packed *w, const wk_act *g, int64_t ldg, int64_t n_row, int64_t o0,
                          int64_t o1, int64_t i0, int64_t i1, bool add, float *dx, int64_t ldx) {
    _Alignas(64) uint8_t code[WK_GRAD_CHUNKS * 2 * 512];
    _Alignas(64) float scale[WK_GRAD_CHUNKS * 2 * 16];
    int64_t end = chunks_of(o1);
    for (int64_t c = o0 / WK_CHUNK; c < end; c += WK_GRAD_CHUNKS)
        for (int64_t i = i0; i < i1; i += WK_CHUNK) {
            wk_packed tile = { .n_out = least(i1 - i, WK_CHUNK), .n_block = 2, .code = code, .scale = (uint8_t *)scale };
            bytes_tile(f, w, c, least(end - c, WK_GRAD_CHUNKS), i, &tile);
            linear_rows(f, &tile, g + (c - o0 / WK_CHUNK), ldg, n_row, 0, tile.n_out, dx + i, ldx, NULL, add || c > o0 / WK_CHUNK);
        }
}

void wk_linear_input_grad(const wk_packed *w, const void *g, size_t stride, int64_t n_row, int64_t o0, int64_t o1, int64_t i0,
                          int64_t i1, bool add, float *dx, int64_t ldx) {
    const wk_linear_set *f = wk_linear_fns();
    if (wk_grad_rounds(w)) grad_by_bytes(f, w, g, (int64_t)(stride / sizeof(wk_act)), n_row, o0, o1, i0, i1, add, dx, ldx);
    else wk_linear_input_grad_f32(w, g, (int64_t)(stride / sizeof(float)), n_row, o0, o1, i0, i1, add, dx, ldx);
}

void wk_linear_input_grad_f32(const wk_packed *w, const float *g, int64_t ldg, int64_t n_row, int64_t o0, int64_t o1, int64_t i0,
                              int64_t i1, bool add, float *dx, int64_t ldx) {
    const wk_linear_set *f = wk_linear_fns();
    assert(wk_holds_floats(&w->l) || w->perm);
    if (w->n_in < WK_CHUNK && !w->perm && i0 < i1) {
        assert(i0 == 0 && i1 == w->n_in);
        grad_of_few(f, w, g, ldg, n_row, o0, o1, add, dx, ldx);
        return;
    }
    _Alignas(64) float tile[GRAD_OUT * WK_GRAD_COLS] = { 0 };  /* whole vectors are read, also where columns end before */
    int32_t place[WK_GRAD_COLS];
    for (int64_t i = i0; i < i1; i += WK_GRAD_COLS) {
        int n = (int)least(i1 - i, WK_GRAD_COLS);
        if (w->perm) find_places(w, i, n, place);
        for (int64_t o = o0; o < o1; o += GRAD_OUT) {
            int n_o = (int)least(o1 - o, GRAD_OUT);
            weight_tile(f, w, o, n_o, i, n, place, tile);
            if (n % 16) grad_narrow(f, g + o - o0, ldg, n_row, tile, n_o, n, add || o > o0, dx + i, ldx);
            else f->grad(g + o - o0, ldg, n_row, tile, n_o, n, add || o > o0, dx + i, ldx);
        }
    }
}
