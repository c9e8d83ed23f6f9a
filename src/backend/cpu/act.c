/* act.c: prepares activations: rounded to int8 per 32 inputs for quantised weights, to bfloat16 for bfloat16 ones, as they are
 * for other floats. What is rounded to bfloat16 is held so where the instruction set multiplies it, else as float32.
 * Load: before each product, n_row x n_in floats, a few per cent of the product's time. */
#include "backend/cpu/linear.h"
#include "tensor/quant.h"
#include <string.h>

enum { KIND_ROUNDED, KIND_FLOAT, KIND_BF16, KIND_OWN = -1 };

int wk_act_kind(const wk_packed *w) {
    if (w->perm) return KIND_OWN;
    return wk_holds_bf16(&w->l) ? KIND_BF16 : wk_holds_floats(&w->l) ? KIND_FLOAT : KIND_ROUNDED;
}

bool wk_packed_rounds(const wk_packed *w) { return wk_act_kind(w) != KIND_FLOAT; }

/* Bytes of what an operand's rows are made of. */
static size_t item_bytes(const wk_packed *w) {
    return !wk_holds_floats(&w->l) ? sizeof(wk_act) : wk_act_in_bf16(w) ? sizeof(uint16_t) : sizeof(float);
}

int64_t wk_act_ld(const wk_packed *w) {
    if (!wk_holds_floats(&w->l)) return w->n_chunk;  /* rows of chunks have odd lengths */
    return wk_act_in_bf16(w) ? wk_numbers_ld(w->n_held, sizeof(uint16_t)) : wk_numbers_ld(w->n_in, sizeof(float));
}

int64_t wk_act_items(const wk_packed *w, size_t n_bytes) { return (int64_t)(n_bytes / item_bytes(w)); }

size_t wk_act_bytes(const wk_packed *w, int64_t n_row) { return (size_t)(n_row * wk_act_ld(w)) * item_bytes(w); }

/* A row in the weight's input order, rounded piece by piece. */
static void round_permuted(const wk_linear_set *f, const wk_packed *w, const float *x, wk_act *a) {
    enum { N = 8 };
    float piece[N * WK_CHUNK];
    for (int64_t c = 0; c < w->n_chunk; c += N) {
        int64_t n = w->n_chunk - c < N ? w->n_chunk - c : N;
        for (int64_t i = 0; i < n * WK_CHUNK; i++) piece[i] = x[w->perm[c * WK_CHUNK + i]];
        f->round(piece, n, a + c);
    }
}

static void to_bf16(const wk_linear_set *f, const wk_packed *w, const float *x, void *to) {
    if (f->mul_bf16) {
        f->round_bf16(x, w->n_in, to);
        memset((uint16_t *)to + w->n_in, 0, (size_t)(w->n_held - w->n_in) * sizeof(uint16_t));
    } else {
        float *y = to;
        for (int64_t i = 0; i < w->n_in; i++) y[i] = wk_bf16_to_f32(wk_f32_to_bf16(x[i]));
    }
}

void wk_act_prepare(const wk_packed *w, const float *x, int64_t ldx, int64_t r0, int64_t r1, int64_t n_row, void *act) {
    const wk_linear_set *f = wk_linear_fns();
    size_t row_bytes = wk_act_bytes(w, 1);
    (void)n_row;
    for (int64_t r = r0; r < r1; r++) {
        uint8_t *row = (uint8_t *)act + (size_t)r * row_bytes;
        if (wk_holds_bf16(&w->l)) to_bf16(f, w, x + r * ldx, row);
        else if (wk_holds_floats(&w->l)) memcpy(row, x + r * ldx, (size_t)w->n_in * sizeof(float));
        else if (w->perm) round_permuted(f, w, x + r * ldx, (wk_act *)(void *)row);
        else f->round(x + r * ldx, w->n_chunk, (wk_act *)(void *)row);
    }
}
