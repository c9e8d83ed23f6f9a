/* test_linear.c: products with packed weights: every type, with every instruction set that this machine has, against sums in
 * double of the decoded weights (closely, or as far as 8 bits allow where packing rounds) and the rounded activations; the same
 * bits alone, in any batch and any split; nothing written outside. On a failure: set, type, shape, seed. */
#include "backend/cpu/linear.h"
#include "base/cpu.h"
#include "support/sets.h"
#include "support/tried.h"
#include "tensor/quant.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { GUARD = 48 };

/* Types, and where the float16 scales of their blocks lie. ROUNDED: packing changes values; APART: their arrays lie apart. */
enum how { ROUNDED, EXACT, APART };
static const struct { wk_dtype type; int f16[2]; enum how how;
} kinds[] = {
    { WK_F32, { -1, -1 }, EXACT },     { WK_F16, { -1, -1 }, EXACT },    { WK_BF16, { -1, -1 }, EXACT },
    { WK_Q4_0, { 0, -1 }, EXACT },     { WK_Q4_1, { 0, 2 }, EXACT },     { WK_Q5_0, { 0, -1 }, EXACT },
    { WK_Q5_1, { 0, 2 }, EXACT },      { WK_Q8_0, { 0, -1 }, EXACT },    { WK_Q3_K, { 108, -1 }, EXACT },
    { WK_Q4_K, { 0, 2 }, EXACT },      { WK_Q5_K, { 0, 2 }, EXACT },     { WK_Q6_K, { 208, -1 }, EXACT },
    { WK_IQ4_NL, { 0, -1 }, EXACT },   { WK_IQ4_XS, { 0, -1 }, EXACT },  { WK_MXFP4, { -1, -1 }, EXACT },
    { WK_Q2_K, { 80, 82 }, EXACT },     { WK_TQ1_0, { 52, -1 }, ROUNDED }, { WK_TQ2_0, { 64, -1 }, ROUNDED },
    { WK_IQ2_XXS, { 0, -1 }, ROUNDED }, { WK_IQ2_XS, { 0, -1 }, ROUNDED }, { WK_IQ2_S, { 0, -1 }, ROUNDED },
    { WK_IQ3_XXS, { 0, -1 }, ROUNDED }, { WK_IQ3_S, { 0, -1 }, ROUNDED },  { WK_IQ1_S, { 0, -1 }, ROUNDED },
    { WK_IQ1_M, { -1, -1 }, ROUNDED },  { WK_F64, { -1, -1 }, EXACT },     { WK_F8_E8M0, { -1, -1 }, EXACT },
    { WK_GPTQ, { -1, -1 }, APART },   { WK_AWQ, { -1, -1 }, APART },   { WK_MXFP4, { -1, -1 }, APART },
    { WK_F8_E4M3, { -1, -1 }, APART }, { WK_F8_E5M2, { -1, -1 }, APART },
};
enum { N_KIND = sizeof kinds / sizeof kinds[0] };

static wk_pool *pool;
static uint64_t first_seed;  /* WICK_TEST_SEED: other cases than the usual */

/* ---- random cases ---- */

static uint64_t state;
static uint32_t rnd(void) {  /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}
static int pick(int lo, int hi) { return lo + (int)(rnd() % (uint32_t)(hi - lo + 1)); }
static float uniform(void) { return (float)(rnd() >> 8) * 0x1p-23f - 1; }

typedef enum scale_of_case { ORDINARY, TINY, LARGE, N_SCALE } scale_of_case;

typedef struct test_case {
    uint64_t seed;
    const char *set;
    int kind;
    int T, n_out, n_in;
    uint8_t *raw;
    wk_parts parts;
    wk_tensor t;
    wk_packed *w;
    bool rounded;           /* weights are as packing rounds them */
    float *weight;          /* [n_out][n_in] */
    float *decoded;         /* [n_out][n_in], as the file has them */
    float *x, *y, *bias;    /* x [T][n_in + 3], y [T][ldy] between guards */
    int64_t ldx, ldy;
    void *act;
    float *y_mem;
} test_case;

static void say(const test_case *c, const char *what) {
    print_error("%s: set %s, type %s, T %d, n_out %d, n_in %d, seed %llu, group %d\n", what, c->set,
                wk_dtypes[kinds[c->kind].type].name, c->T, c->n_out, c->n_in, (unsigned long long)c->seed, (int)c->parts.group);
}
#define CHECK(c, cond) do { if (!(cond)) { say(c, #cond); fail(); } } while (0)

static float scale_value(scale_of_case s) {
    float v = uniform() * 0.05f + (uniform() > 0 ? 0.01f : -0.01f);
    return s == TINY ? v * 1e-3f : s == LARGE ? v * 1e5f : v;
}

/* Columns of each way for arrays to lie apart, at random; c->n_out and n_in are set. */
static void choose_parts(test_case *c, wk_parts *p) {
    static const int groups[] = { 32, 64, 128, 1 << 20 };
    static const wk_dtype scales[] = { WK_F16, WK_F16, WK_F32, WK_BF16 };
    wk_dtype type = kinds[c->kind].type;
    *p = (wk_parts){ .bits = 4, .n_in = c->n_in, .group = 32, .rows = 1, .scale_row = 1, .scale_type = scales[pick(0, 3)] };
    if (type == WK_GPTQ || type == WK_AWQ) {
        p->order = type == WK_AWQ ? WK_CODES_AWQ : WK_CODES_GPTQ;
        if (type == WK_GPTQ) p->bits = pick(0, 3) ? 4 : 8, p->zero_more = pick(0, 1);
        p->group = groups[pick(0, 3)];
        c->n_out = (c->n_out + 7) / 8 * 8;
        p->scale_group = c->n_out;
    } else if (wk_dtypes[type].quantised == false) {  /* one scale for all, for a row, for a block */
        static const int64_t rows[] = { 1 << 20, 1, 128, 64, 20 }, cols[] = { 1 << 20, 1 << 20, 128, 64, 100 };
        int k = pick(0, 4);
        p->order = WK_CODES_BYTES;
        p->bits = 8;
        p->rows = rows[k];
        p->group = cols[k];
        p->scale_group = 1;
    } else {
        p->order = WK_CODES_FP4;
        p->scale_type = WK_F8_E8M0;
        p->scale_group = 1;
    }
    p->n_out = c->n_out;
    if (p->group > c->n_in) p->group = c->n_in;
    p->n_group = (c->n_in + p->group - 1) / p->group;
    if (p->scale_group == 1) p->scale_row = p->n_group;
}

static void make_scales(uint8_t *to, size_t n, wk_dtype type, scale_of_case s) {
    for (size_t i = 0; i < n; i++, to += wk_dtypes[type].bytes) {
        float v = scale_value(s == LARGE ? ORDINARY : s);
        if (type == WK_F8_E8M0) *to = (uint8_t)pick(s == TINY ? 0 : 110, s == TINY ? 60 : 140);
        else wk_dtypes[type].encode(&v, to, 1);
    }
}

static void make_g_idx(test_case *c, uint8_t *p, bool irregular) {
    for (int i = 0; i < c->n_in; i++) {
        uint32_t g = (uint32_t)(irregular ? pick(0, (int)c->parts.n_group - 1) : i / (int)c->parts.group);
        memcpy(p + 4 * i, &g, 4);
    }
    for (int i = c->n_in - 1; i > 0; i--) {
        uint8_t *a = p + 4 * i, *b = p + 4 * pick(0, i), k[4];
        memcpy(k, a, 4), memcpy(a, b, 4), memcpy(b, k, 4);
    }
}

static void make_parts(test_case *c, scale_of_case s) {
    wk_parts *p = &c->parts;
    choose_parts(c, p);
    bool symmetric = pick(0, 1), past_bytes = p->bits == 8 && p->zero_more && !pick(0, 3),
         act_order = kinds[c->kind].type == WK_GPTQ && pick(0, 1);
    size_t n_code = (size_t)(c->n_in * c->n_out * p->bits / 8), n_zero = (size_t)(p->n_group * c->n_out * p->bits / 8),
           n_scale = (size_t)(p->n_group * c->n_out);
    c->raw = test_malloc(n_code + n_zero + 4 * (n_scale + (size_t)c->n_in) + 1);
    uint8_t *at = c->raw + 1;  /* nothing is aligned */
    p->codes = c->t.data = at;
    for (size_t i = 0; i < n_code; i++) *at++ = (uint8_t)rnd();
    for (size_t i = 0; p->order == WK_CODES_BYTES && i < n_code; i++)  /* numbers only */
        if ((c->raw[1 + i] & 0x7f) >= (kinds[c->kind].type == WK_F8_E4M3 ? 0x7f : 0x7c)) c->raw[1 + i] ^= 0x40;
    if (p->order == WK_CODES_GPTQ || p->order == WK_CODES_AWQ) p->zeros = at;
    for (size_t i = 0; i < n_zero; i++)
        *at++ = symmetric ? (uint8_t)(p->bits == 4 ? 0x88 - 0x11 * p->zero_more : 0x80 - p->zero_more) : (uint8_t)(rnd() % 255);
    if (n_zero && past_bytes) at[-1] = 255, c->rounded = true;  /* a zero of 256 */
    p->scales = at;
    make_scales(at, n_scale, p->scale_type, s);
    at += n_scale * (size_t)wk_dtypes[p->scale_type].bytes;
    if (act_order) {
        bool irregular = pick(0, 4) == 0;
        make_g_idx(c, at, irregular);
        p->g_idx = at;
        c->rounded |= irregular;
    }
    c->t.parts = p;
}

static void make_raw(test_case *c, scale_of_case s) {
    wk_dtype type = kinds[c->kind].type;
    const wk_dtype_info *d = &wk_dtypes[type];
    size_t row;
    assert_true(wk_row_bytes(type, c->n_in, &row));
    c->t.n_bytes = row * (size_t)c->n_out;
    c->raw = test_malloc(c->t.n_bytes + 1);
    c->t.data = c->raw + 1;
    if (!d->encode && !d->quantised) {  /* exponents */
        for (size_t i = 0; i < c->t.n_bytes; i++) c->raw[1 + i] = (uint8_t)pick(110, 140);
        return;
    }
    if (!d->quantised) {
        for (int64_t i = 0; i < (int64_t)c->n_out * c->n_in; i++) {
            float v = scale_value(s == LARGE ? ORDINARY : s);
            d->encode(&v, c->raw + 1 + i * d->bytes, 1);
        }
        return;
    }
    for (size_t i = 0; i < c->t.n_bytes; i++) c->raw[1 + i] = (uint8_t)rnd();
    for (size_t i = 0; type == WK_IQ1_M && i < c->t.n_bytes; i++) c->raw[1 + i] &= 0xbf;  /* its float16 lies apart: no infinity */
    for (uint8_t *b = c->raw + 1; b < c->raw + 1 + c->t.n_bytes; b += d->bytes) {
        for (int k = 0; k < 2; k++)
            if (kinds[c->kind].f16[k] >= 0) wk_put_f16(b + kinds[c->kind].f16[k], pick(0, 30) ? scale_value(s) : 0);
        if (type == WK_MXFP4) b[0] = (uint8_t)pick(s == TINY ? 0 : 110, s == TINY ? 60 : 140);
        if (type == WK_Q8_0 && !pick(0, 3)) memset(b + 2, pick(0, 1) ? 0x80 : 0x7f, 32);
    }
}

static void case_make(test_case *c, uint64_t seed, const char *set, int kind, int T, int n_out, int n_in) {
    state = seed;
    *c = (test_case){ .seed = seed, .set = set, .kind = kind, .T = T, .n_out = n_out, .n_in = n_in };
    wk_dtype type = kinds[kind].type;
    scale_of_case s = (scale_of_case)pick(0, N_SCALE - 1);
    c->t = (wk_tensor){ .name = WK_STR("w"), .dtype = type, .n_dim = 2, .shape = { n_out, n_in, 1, 1 } };
    if (kinds[kind].how == APART) make_parts(c, s);
    else make_raw(c, s);
    c->t.shape[0] = c->n_out;
    assert_int_equal(wk_pack(pool, &c->t, 0, NULL, false, &c->w), WICK_OK);
    c->rounded |= kinds[kind].how == ROUNDED;
    c->weight = test_malloc(sizeof(float) * (size_t)(c->n_out * n_in));
    c->decoded = test_malloc(sizeof(float) * (size_t)(c->n_out * n_in));
    for (int o = 0; o < c->n_out; o++) {
        float *weight = c->weight + (int64_t)o * n_in, *decoded = c->decoded + (int64_t)o * n_in;
        wk_tensor_row(&c->t, o, decoded);
        if (c->rounded) wk_packed_row(c->w, o, weight);
        else memcpy(weight, decoded, (size_t)n_in * sizeof *weight);
    }
    c->ldx = n_in + pick(0, 3);
    c->ldy = c->n_out + pick(0, 5);
    c->x = test_malloc(sizeof(float) * (size_t)(T * c->ldx));
    float size = s == TINY ? 1e-20f : s == LARGE ? 1e8f : 1;
    for (int64_t i = 0; i < T * c->ldx; i++) c->x[i] = uniform() * size * (pick(0, 60) ? 1 : 20);
    for (int r = 0; r < T; r++)  /* some groups of zeros */
        for (int g = 0; g + 32 <= n_in; g += 32) if (!pick(0, 20)) memset(c->x + r * c->ldx + g, 0, 32 * sizeof(float));
    c->bias = test_malloc(sizeof(float) * (size_t)c->n_out);
    for (int o = 0; o < c->n_out; o++) c->bias[o] = uniform() * size;
    c->y_mem = test_malloc(sizeof(float) * (size_t)(T * c->ldy + 2 * GUARD));
    for (int64_t i = 0; i < T * c->ldy + 2 * GUARD; i++) c->y_mem[i] = 12345.5f;
    c->y = c->y_mem + GUARD;
    c->act = wk_alloc_aligned(wk_act_bytes(c->w, T));
    assert_non_null(c->act);
    wk_act_prepare(c->w, c->x, c->ldx, 0, T, T, c->act);
}

static void case_free(test_case *c) {
    wk_packed_free(c->w);
    wk_free_aligned(c->act);
    test_free(c->raw), test_free(c->weight), test_free(c->decoded), test_free(c->x), test_free(c->bias), test_free(c->y_mem);
}

/* ---- checks ---- */

/* Activation i (packed order) of row r as the kernels see it. */
static double act_at(const test_case *c, int r, int i) {
    if (wk_act_in_bf16(c->w)) return (double)wk_bf16_to_f32(((const uint16_t *)c->act)[r * wk_act_ld(c->w) + i]);
    if (wk_holds_floats(&c->w->l)) return ((const float *)c->act)[r * wk_act_ld(c->w) + i];
    const wk_act *a = (const wk_act *)c->act + (int64_t)r * c->w->n_chunk + i / 32;
    return (double)a->q[i % 32] * (double)a->d;
}

static void check_near(const test_case *c, const float *bias) {
    double err = 0, norm = 0;
    for (int r = 0; r < c->T; r++)
        for (int o = 0; o < c->n_out; o++) {
            double want = 0, size = 0;
            for (int i = 0; i < c->n_in; i++) {
                double v = act_at(c, r, i) * (double)c->weight[(int64_t)o * c->n_in + (c->w->perm ? c->w->perm[i] : i)];
                want += v;
                size += fabs(v);
            }
            if (bias) want += (double)bias[o], size += fabs((double)bias[o]);
            double e = fabs((double)c->y[r * c->ldy + o] - want);
            if (!(e <= 1e-5 * size + 1e-37))
                print_error("row %d output %d: %g, not %g\n", r, o, (double)c->y[r * c->ldy + o], want);
            CHECK(c, e <= 1e-5 * size + 1e-37);
            err += e * e;
            norm += want * want;
        }
    CHECK(c, c->n_in * c->n_out < 4096 || sqrt(err) <= 1e-5 * sqrt(norm) + 1e-36);
}

/* How far rounding to 8 bits may move output o of row r: half of 1 / 127 of the largest of 32 weights for each of them. */
static double most_moved(const test_case *c, int r, int o) {
    const float *w = c->decoded + (int64_t)o * c->n_in;
    double moved = 0;
    for (int g = 0; g < c->n_in; g += 32) {
        double most = 0, acts = 0;
        for (int i = g; i < g + 32; i++) most = fmax(most, fabs((double)w[i])), acts += fabs(act_at(c, r, i));
        moved += most * acts / 254;
    }
    return moved;
}

/* Products of rounded weights against what the file has. */
static void check_moved(const test_case *c, const float *bias) {
    for (int r = 0; c->rounded && !c->w->perm && r < c->T; r++)
        for (int o = 0; o < c->n_out; o++) {
            double want = bias ? (double)bias[o] : 0, size = fabs(want);
            for (int i = 0; i < c->n_in; i++) {
                double v = act_at(c, r, i) * (double)c->decoded[(int64_t)o * c->n_in + i];
                want += v;
                size += fabs(v);
            }
            CHECK(c, fabs((double)c->y[r * c->ldy + o] - want) <= most_moved(c, r, o) + 2e-5 * size + 1e-36);
        }
}

static void check_guards(const test_case *c, int o0, int o1) {
    for (int64_t i = 0; i < c->T * c->ldy + 2 * GUARD; i++) {
        int64_t k = i - GUARD;
        bool inside = k >= 0 && k < c->T * c->ldy && k % c->ldy >= o0 && k % c->ldy < o1;
        CHECK(c, inside || c->y_mem[i] == 12345.5f);
    }
}

/* Row r, alone, and outputs in two parts: the bytes that it had in the batch. */
static void check_alone(const test_case *c, int r, const float *bias) {
    float *x = c->x + r * c->ldx, *y = test_malloc(sizeof(float) * (size_t)c->n_out);
    void *act = wk_alloc_aligned(wk_act_bytes(c->w, 1));
    wk_act_prepare(c->w, x, c->ldx, 0, 1, 1, act);
    int cut = pick(0, (c->n_out + 15) / 16) * 16;
    if (cut > c->n_out) cut = c->n_out;
    wk_linear(c->w, act, 1, 0, cut, y, c->n_out, bias);
    wk_linear(c->w, act, 1, cut, c->n_out, y, c->n_out, bias);
    CHECK(c, !memcmp(y, c->y + r * c->ldy, sizeof(float) * (size_t)c->n_out));
    wk_free_aligned(act);
    test_free(y);
}

/* All rows, outputs in two parts. */
static void check_split(const test_case *c, const float *bias) {
    int cut = pick(0, (c->n_out + 15) / 16) * 16;
    float *y = test_malloc(sizeof(float) * (size_t)(c->T * c->ldy));
    if (cut > c->n_out) cut = c->n_out;
    memcpy(y, c->y, sizeof(float) * (size_t)(c->T * c->ldy));
    wk_linear(c->w, c->act, c->T, 0, cut, c->y, c->ldy, bias);
    wk_linear(c->w, c->act, c->T, cut, c->n_out, c->y, c->ldy, bias);
    CHECK(c, !memcmp(y, c->y, sizeof(float) * (size_t)(c->T * c->ldy)));
    test_free(y);
}

/* Added to what is there: the sum begins with it, and rows may lie apart. */
static void check_added(const test_case *c, int r) {
    enum { N = 3, BESIDE = 192 };
    size_t row = wk_act_bytes(c->w, 1), stride = wk_holds_floats(&c->w->l) ? row + BESIDE : row + 2 * sizeof(wk_act);
    uint8_t *act = wk_alloc_aligned(N * stride);
    float *y = test_malloc(sizeof(float) * (size_t)(N * c->ldy)), *one = test_malloc(sizeof(float) * (size_t)c->n_out);
    for (int i = 0; i < N; i++) memcpy(act + (size_t)i * stride, (const uint8_t *)c->act + (size_t)r * row, row);
    for (int64_t i = 0; i < N * c->ldy; i++) y[i] = i / c->ldy == 1 ? 0 : uniform();
    wk_linear_add(c->w, act, stride, N, 0, c->n_out, y, c->ldy);
    wk_linear(c->w, (const uint8_t *)c->act + (size_t)r * row, 1, 0, c->n_out, one, c->n_out, NULL);
    for (int o = 0; o < c->n_out; o++) CHECK(c, y[c->ldy + o] == one[o] || one[o] != one[o]);
    wk_free_aligned(act);
    test_free(y);
    test_free(one);
}

/* Rows that were not prepared give the bits of those that were. */
static void check_plain(const test_case *c) {
    if (wk_packed_rounds(c->w)) return;
    size_t n = sizeof(float) * (size_t)(c->T * c->n_out);
    float *y = test_malloc(n), *want = test_malloc(n);
    wk_linear(c->w, c->act, c->T, 0, c->n_out, want, c->n_out, NULL);
    wk_linear_plain(c->w, c->x, c->ldx, c->T, 0, c->n_out, y, c->n_out);
    CHECK(c, !memcmp(y, want, n));
    test_free(y);
    test_free(want);
}

/* Inputs in parts: one row's, made by two threads, add up to the bytes that it has among all, and to the product. */
static void check_parts(const test_case *c, int r) {
    if (!wk_holds_floats(&c->w->l) || c->w->l.eight) return;
    int64_t n_part = wk_linear_n_part(c->n_in), cut = pick(0, (int)n_part), ld = c->n_out + 5;
    size_t n = (size_t)(c->T * c->n_out), stride = wk_act_bytes(c->w, 1);
    float *all = test_malloc(sizeof(float) * n), *part = test_malloc(sizeof(float) * (size_t)(n_part * ld));
    const uint8_t *row = (const uint8_t *)c->act + (size_t)r * stride;
    double off = 0, size = 0;
    wk_linear_in_parts(c->w, c->act, stride, c->T, all);
    wk_linear_parts(c->w, row, 0, cut, part, ld);
    wk_linear_parts(c->w, row, cut, n_part, part + cut * ld, ld);
    wk_linear(c->w, c->act, c->T, 0, c->n_out, c->y, c->ldy, NULL);
    for (int o = 0; o < c->n_out; o++) {
        float sum = part[o], want = all[r * c->n_out + o], whole = c->y[r * c->ldy + o];
        for (int64_t i = 1; i < n_part; i++) sum += part[i * ld + o];
        CHECK(c, !memcmp(&sum, &want, sizeof sum));
        off += (double)(want - whole) * (double)(want - whole);
        size += (double)whole * (double)whole;
    }
    CHECK(c, off <= 1e-10 * size + 1e-300);
    test_free(part);
    test_free(all);
}

/* dx against sums in double. */
static void check_grad(const test_case *c) {
    int rows = c->T < 13 ? c->T : 13, from = pick(0, c->n_in / 32) * 32;
    int64_t ldg = c->n_out + 2, ld = c->n_in + 1;
    double err = 0, norm = 0;
    float *g = test_malloc(sizeof(float) * (size_t)(rows * ldg)), *dx = test_malloc(sizeof(float) * (size_t)(rows * ld));
    float *again = test_malloc(sizeof(float) * (size_t)(rows * ld));
    for (int64_t i = 0; i < rows * ldg; i++) g[i] = uniform();
    for (int64_t i = 0; i < rows * ld; i++) dx[i] = again[i] = 777;
    bool bytes = wk_grad_rounds(c->w);
    size_t stride = wk_grad_stride(c->w, c->n_out);
    uint8_t *met = wk_alloc_aligned(stride * (size_t)rows);
    double tol = 1e-5;
    double most = 0, step = 1.1 / 254;  /* bytes are off by half of 1/127 of the largest, 1 and `most` */
    for (int64_t i = 0; i < (int64_t)c->n_out * c->n_in; i++) {  /* not fmax(): GCC 12 fails on such a loop for Arm */
        double v = fabs((double)c->weight[i]);
        if (v > most) most = v;
    }
    wk_grad_prepare(c->w, g, ldg, rows, c->n_out, met);
    wk_linear_input_grad(c->w, met, stride, rows, 0, c->n_out, 0, c->n_in, false, dx, ld);
    for (int r = 0; r < rows; r++) {
        for (int i = 0; i < c->n_in; i++) {
            double want = 0, size = 0, rounding = 0;
            for (int o = 0; o < c->n_out; o++) {
                double v = (double)g[r * ldg + o] * (double)c->weight[(int64_t)o * c->n_in + i];
                want += v;
                size += fabs(v);
                rounding += step * (fabs((double)c->weight[(int64_t)o * c->n_in + i]) +
                                    most * (fabs((double)g[r * ldg + o]) + step));
            }
            double e = fabs((double)dx[r * ld + i] - want);
            CHECK(c, e <= (bytes ? rounding : tol * size) + 1e-37);
            err += e * e;
            norm += want * want;
        }
        CHECK(c, dx[r * ld + c->n_in] == 777.0f);
    }
    CHECK(c, c->n_in * c->n_out < 4096 || sqrt(err) <= (bytes ? 3e-2 : 1e-5) * sqrt(norm) + 1e-36);
    wk_linear_input_grad(c->w, met, stride, rows, 0, c->n_out, from, c->n_in, false, again, ld);
    wk_linear_input_grad(c->w, met, stride, rows, 0, c->n_out, 0, from, false, again, ld);
    CHECK(c, !memcmp(dx, again, sizeof(float) * (size_t)(rows * ld)));
    for (int r = 0; r < rows; r++)  /* a row alone */
        wk_linear_input_grad(c->w, met + (size_t)r * stride, stride, 1, 0, c->n_out, 0, c->n_in, false, again + r * ld, ld);
    CHECK(c, !memcmp(dx, again, sizeof(float) * (size_t)(rows * ld)));
    wk_free_aligned(met);
    test_free(g), test_free(dx), test_free(again);
}

static int unit_of(int kind) {
    wk_dtype type = kinds[kind].type;
    return wk_dtypes[type].quantised ? wk_dtypes[type].block > 32 ? wk_dtypes[type].block : 32 : 1;
}

static void check_kind(const char *set, int kind, uint64_t seed) {
    state = seed ^ 0xabcdef;
    int unit = unit_of(kind), most = unit == 256 ? 3 : unit == 32 ? 20 : 600;
    test_case c;
    case_make(&c, seed, set, kind, pick(1, 40), pick(1, 130), unit * pick(1, most));
    const float *bias = pick(0, 1) ? c.bias : NULL;
    wk_linear(c.w, c.act, c.T, 0, c.n_out, c.y, c.ldy, bias);
    check_near(&c, bias);
    check_moved(&c, bias);
    check_guards(&c, 0, c.n_out);
    for (int r = 0; r < c.T; r += pick(1, 8)) check_alone(&c, r, bias);
    check_split(&c, bias);
    check_guards(&c, 0, c.n_out);
    check_added(&c, pick(0, c.T - 1));
    check_plain(&c);
    check_parts(&c, pick(0, c.T - 1));
    check_grad(&c);
    case_free(&c);
}

static void test_products(void **unused) {
    (void)unused;
    for (int s = 0; sets_use(s); s++)
        for (int kind = 0; kind < N_KIND; kind++)
            for (uint64_t i = 0; i < (uint64_t)sets_cases(kinds[kind].type == WK_GPTQ ? 24 : 8); i++)
                check_kind(wk_cpu_name(), kind, (first_seed + i) * 1000 + (uint64_t)kind);
    for (int kind = 0; kind < N_KIND; kind++)
        tried("type", wk_dtypes[kinds[kind].type].name, kinds[kind].how == ROUNDED ? "product, rounded to 8 bits" : "product", "");
}

/* Whatever can be a weight is among the kinds. */
static void test_every_type(void **unused) {
    (void)unused;
    for (int type = 0; type < WK_DTYPE_COUNT; type++) {
        bool here = !wk_dtypes[type].decode && !wk_dtypes[type].quantised;
        for (int k = 0; k < N_KIND; k++) here = here || kinds[k].type == (wk_dtype)type;
        if (!here) fail_msg("%s is not tried", wk_dtypes[type].name);
    }
}

/* Rows as long as a model's (llama-3.2-1b has 2048 and 8192 inputs), of K types above all, which the small models that other tests
 * run have hardly any of: panel after panel, and so many activations that inputs go before outputs (linear.c). */
static void test_long_rows(void **unused) {
    (void)unused;
    enum { T = 24, N_OUT = 35, FEW = 5 };
    for (int s = 0; sets_use(s); s++)
        for (int kind = 0; kind < N_KIND; kind++)
            for (int n_in = unit_of(kind) == 256 && kinds[kind].how == EXACT ? 2048 : 8192; n_in <= 8192; n_in *= 4) {
                test_case c;
                case_make(&c, first_seed * 1000 + (uint64_t)(kind + n_in), wk_cpu_name(), kind, T, N_OUT, n_in);
                wk_linear(c.w, c.act, T, 0, c.n_out, c.y, c.ldy, c.bias);
                assert_true(!wk_holds_floats(&c.w->l) || wk_act_bytes(c.w, 1) % 1024);  /* rows want places of L1 of their own */
                check_near(&c, c.bias);
                check_alone(&c, T - 1, c.bias);
                float *y = test_malloc(sizeof(float) * (size_t)(FEW * c.ldy));
                wk_linear(c.w, c.act, FEW, 0, c.n_out, y, c.ldy, c.bias);
                for (int r = 0; r < FEW; r++)
                    CHECK(&c, !memcmp(y + r * c.ldy, c.y + r * c.ldy, sizeof(float) * (size_t)c.n_out));
                check_guards(&c, 0, c.n_out);
                test_free(y);
                case_free(&c);
            }
}

/* dx of gradients x. */
static void grad_of_case(const test_case *c, float *dx) {
    float *g = test_malloc(sizeof(float) * (size_t)(c->T * c->n_out));
    for (int i = 0; i < c->T * c->n_out; i++) g[i] = c->x[i % (c->T * c->ldx)];
    uint8_t *met = wk_alloc_aligned(wk_grad_stride(c->w, c->n_out) * (size_t)c->T);
    wk_grad_prepare(c->w, g, c->n_out, c->T, c->n_out, met);
    wk_linear_input_grad(c->w, met, wk_grad_stride(c->w, c->n_out), c->T, 0, c->n_out, 0, c->n_in, false, dx, c->n_in);
    wk_free_aligned(met);
    test_free(g);
}

/* The sets round activations, and multiply codes, to the same bits; gradients, too, where they meet codes as bytes. */
static void test_sets_agree(void **unused) {
    (void)unused;
    for (int kind = 0; kind < N_KIND; kind++) {
        int unit = unit_of(kind);
        if (unit == 1) continue;
        for (uint64_t seed = 0; seed < 4; seed++) {
            test_case c, v;
            sets_use(0);
            case_make(&c, seed, "c", kind, 9, 50, unit * (unit == 256 ? 1 : 5));
            wk_linear(c.w, c.act, c.T, 0, c.n_out, c.y, c.ldy, NULL);
            size_t n_dx = sizeof(float) * (size_t)(c.T * c.n_in);
            float *want = test_malloc(n_dx), *dx = test_malloc(n_dx);
            grad_of_case(&c, want);
            for (int s = 1; sets_use(s); s++) {
                case_make(&v, seed, wk_cpu_name(), kind, 9, 50, unit * (unit == 256 ? 1 : 5));
                CHECK(&v, !memcmp(v.act, c.act, wk_act_bytes(c.w, 9)));
                wk_linear(v.w, v.act, v.T, 0, v.n_out, v.y, v.ldy, NULL);
                CHECK(&v, !memcmp(v.y, c.y, sizeof(float) * (size_t)(c.T * c.ldy)));
                grad_of_case(&v, dx);
                CHECK(&v, v.w->perm || !memcmp(dx, want, n_dx));
                case_free(&v);
            }
            test_free(want), test_free(dx);
            case_free(&c);
        }
    }
}

/* Float16 becomes bfloat16 where that holds all values, numbers too small for a float16's exponent among them, and stays as it is
 * where one value is lost; rows, too, that are no multiple of a pair or a chunk. */
static void test_narrowed(void **unused) {
    (void)unused;
    for (uint64_t seed = 0; seed < 40; seed++) {
        state = seed;
        int n_out = pick(1, 50), n_in = seed % 2 ? pick(1, 600) : 32 * pick(1, 20), n = n_out * n_in;
        uint16_t *half = test_malloc((size_t)n * sizeof *half);
        static const uint16_t special[] = { 0, 0x8000, 0x0001, 0x8080, 0x03fc, 0x0400, 0x7bf8, 0xfbf8, 0x7c00, 0xfc00, 0x7e08 };
        for (int i = 0; i < n; i++) half[i] = pick(0, 9) ? (uint16_t)(rnd() & 0xbff8) : special[pick(0, 10)];
        for (int i = 0; i < n; i++) if (!(half[i] & 0x7c00)) half[i] &= (half[i] & 0x0200) ? 0x83fc : 0x81ff;
        wk_tensor t = { .name = WK_STR("w"), .dtype = WK_F16, .n_dim = 2, .shape = { n_out, n_in, 1, 1 },
                        .data = (const uint8_t *)half, .n_bytes = (size_t)n * sizeof *half };
        float *want = test_malloc((size_t)n_in * sizeof *want), *got = test_malloc((size_t)n_in * sizeof *got);
        for (int lost = 0; lost < 2; lost++) {
            wk_packed *w;
            if (lost) half[pick(0, n - 1)] = pick(0, 1) ? 0x3c01 : 0x0301;  /* 11 bits, and 10 of a small one */
            assert_int_equal(wk_pack(pool, &t, 0, NULL, false, &w), WICK_OK);
            assert_int_equal(wk_holds_bf16(&w->l), !lost);
            for (int o = 0; o < n_out; o++) {
                wk_tensor_row(&t, o, want);
                wk_packed_row(w, o, got);
                assert_memory_equal(got, want, (size_t)n_in * sizeof *want);
            }
            wk_packed_free(w);
        }
        test_free(half), test_free(want), test_free(got);
    }
}

/* Memory that was got before there was a weight is the next one's, which keeps it, and nobody's in the end. */
static void test_spare(void **unused) {
    (void)unused;
    static const float x[3][32] = { { 1, 2 }, { 3 }, { [31] = 4 } };
    wk_tensor t = { .name = WK_STR("w"), .dtype = WK_F32, .n_dim = 2, .shape = { 3, 32, 1, 1 }, .data = (const uint8_t *)x,
                    .n_bytes = sizeof x };
    uint64_t live = wk_alloc_live();
    float row[32];
    wk_spare *s;
    wk_packed *w;
    assert_int_equal(wk_spare_new(5000000, &s), WICK_OK);
    assert_int_equal(wk_pack(NULL, &t, 0, NULL, false, &w), WICK_OK);
    wk_spare_free(s);
    for (int o = 0; o < 3; o++) {
        wk_packed_row(w, o, row);
        assert_memory_equal(row, x[o], sizeof row);
    }
    wk_packed_free(w);
    assert_int_equal(wk_spare_new(1, &s), WICK_OK);
    wk_spare_free(s);
    wk_spare_free(NULL);
    assert_int_equal(wk_alloc_live(), live);
}

/* Every set rounds activations of bfloat16 weights to nearest even, as the reference does. */
static void test_bf16_rounding(void **unused) {
    (void)unused;
    for (int s = 0; sets_use(s); s++) {
        test_case c;
        case_make(&c, 11, wk_cpu_name(), 2, 7, 33, 77);
        assert_int_equal(kinds[c.kind].type, WK_BF16);
        for (int r = 0; r < c.T; r++)
            for (int i = 0; i < c.n_in; i++)
                CHECK(&c, act_at(&c, r, i) == (double)wk_bf16_to_f32(wk_f32_to_bf16(c.x[r * c.ldx + i])));
        case_free(&c);
    }
}

/* NaN and infinity pass through; nothing crashes. */
static void test_not_numbers(void **unused) {
    (void)unused;
    for (int s = 0; sets_use(s); s++) {
        for (int kind = 0; kind < N_KIND; kind++) {
            test_case c;
            case_make(&c, 7, wk_cpu_name(), kind, 3, 16, 256);
            c.x[5] = NAN;
            c.x[c.ldx + 9] = INFINITY;
            wk_act_prepare(c.w, c.x, c.ldx, 0, 3, 3, c.act);
            wk_linear(c.w, c.act, 3, 0, 16, c.y, c.ldy, NULL);
            for (int o = 0; o < 16; o++) {
                CHECK(&c, isnan(c.y[o]));
                CHECK(&c, !isfinite(c.y[c.ldy + o]) || c.weight[o * 256 + 9] == 0);
                CHECK(&c, isfinite(c.y[2 * c.ldy + o]));
            }
            case_free(&c);
        }
    }
}

enum { TILE = 32 };

/* dx [TILE][TILE] of gradients of one output each: what a gradient meets for each weight. */
static void read_tile(const wk_tensor *t, float dx[TILE][TILE]) {
    float g[TILE][TILE] = { { 0 } };
    wk_packed *w;
    for (int o = 0; o < TILE; o++) g[o][o] = 1;
    assert_int_equal(wk_pack(pool, t, 0, NULL, false, &w), WICK_OK);
    assert_true(wk_grad_rounds(w));
    uint8_t *met = wk_alloc_aligned(wk_grad_stride(w, TILE) * TILE);
    wk_grad_prepare(w, g[0], TILE, TILE, TILE, met);
    wk_linear_input_grad(w, met, wk_grad_stride(w, TILE), TILE, 0, TILE, 0, TILE, false, dx[0], TILE);
    wk_free_aligned(met);
    wk_packed_free(w);
}

/* What 32 x 32 weights become when a gradient meets them as bytes: off by half of 1/127 of the largest, and a little more where a
 * row of codes has two values only; scales of any sign and size, none, and not a number. The same in every set. */
static void test_grad_tiles(void **unused) {
    (void)unused;
    enum { SEEDS = 60 };
    static const uint16_t scales[] = { 0x3c00, 0xbc00, 0, 0x0001, 0x2e66, 0xae66, 0x5640, 0x7e00 };  /* the last: NaN */
    static float of_first[SEEDS][2][TILE][TILE];
    for (int s = 0; sets_use(s); s++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            uint8_t codes[TILE][34];
            uint16_t halves[TILE][TILE];
            int few = seed % 3 == 1, not_a_number = seed % 10 == 9;
            state = seed;
            for (int o = 0; o < TILE; o++) {
                uint16_t d = scales[pick(0, 6 - (seed % 3 == 2))];
                int one = pick(-128, 127), other = pick(-128, 127);
                memcpy(codes[o], &d, 2);
                for (int i = 0; i < TILE; i++) {
                    codes[o][2 + i] = (uint8_t)(few ? pick(0, 1) ? one : other : pick(-128, 127));
                    halves[o][i] = wk_f32_to_bf16(seed ? uniform() * wk_f16_to_f32(d) : 0);
                }
            }
            if (not_a_number) memcpy(codes[7], &scales[7], 2), halves[7][3] = scales[7] | 0x7f80;
            for (int k = 0; k < 2; k++) {
                float dx[TILE][TILE], weight[TILE][TILE], most = 0;
                wk_tensor t = { .name = WK_STR("w"), .dtype = k ? WK_BF16 : WK_Q8_0, .n_dim = 2,
                                .shape = { TILE, TILE, 1, 1 }, .data = k ? (void *)halves : codes,
                                .n_bytes = k ? sizeof halves : sizeof codes };
                for (int o = 0; o < TILE; o++) {
                    wk_tensor_row(&t, o, weight[o]);
                    for (int i = 0; i < TILE; i++) most = fmaxf(most, fabsf(weight[o][i]));
                }
                read_tile(&t, dx);
                if (s == 0) memcpy(of_first[seed][k], dx, sizeof dx);
                if (!not_a_number) assert_memory_equal(of_first[seed][k], dx, sizeof dx);
                for (int o = 0; o < TILE; o++)
                    for (int i = 0; i < TILE; i++) {
                        if (not_a_number) assert_true(!isfinite(dx[o][i]));
                        else if (!(fabsf(dx[o][i] - weight[o][i]) <= most / 127 * (few && !k ? 1.5f : 0.52f)))
                            fail_msg("%s, %s, seed %d: weight %d,%d is %g, became %g, of %g", wk_cpu_name(),
                                     wk_dtypes[t.dtype].name, (int)seed, o, i, (double)weight[o][i], (double)dx[o][i],
                                     (double)most);
                    }
            }
        }
}

/* Whatever part of what is here is said to be here, the best set that needs no more serves. */
static void test_dispatch(void **unused) {
    (void)unused;
    unsigned have = wk_cpu_features();
    for (unsigned mask = 0; mask <= have; mask++) {
        if (mask & ~have) continue;
        wk_cpu_limit(mask);
        wk_linear_set s = *wk_linear_fns();
        assert_true(s.round && s.expand && s.mul && s.widen && s.mul_float);
        assert_true(s.grad && s.grad_thin && s.turn_bytes && s.turn_floats);
        const wk_linear_set *best = &wk_linear_c, *pairs = NULL;
#if defined(__x86_64__)
        if (!(wk_linear_avx2.need & ~mask)) best = &wk_linear_avx2;
        if (!(wk_linear_avx512.need & ~mask)) best = &wk_linear_avx512;
        if (!(wk_linear_avx512bf16.need & ~mask)) pairs = &wk_linear_avx512bf16;
        if (!(wk_linear_amx.need & ~mask)) pairs = &wk_linear_amx;
#elif defined(__aarch64__)
        if (!(wk_linear_neon.need & ~mask)) best = &wk_linear_neon;
        if (!(wk_linear_dotprod.need & ~mask)) best = &wk_linear_dotprod;
        if (!(wk_linear_i8mm.need & ~mask)) best = &wk_linear_i8mm;
#endif
        assert_string_equal(s.name, (pairs ? pairs : best)->name);
        assert_ptr_equal(s.mul, best->mul);
        assert_ptr_equal(s.mul_bf16, pairs ? pairs->mul_bf16 : NULL);
        assert_true(!s.mul_bf16 == !s.round_bf16);
        assert_true(!s.mul_thin == !s.mul_bf16);
    }
    wk_cpu_limit(~0u);
}

static int setup(void **unused) {
    (void)unused;
    const char *seed = getenv("WICK_TEST_SEED");
    if (seed) first_seed = strtoull(seed, NULL, 10);
    print_message("seed %llu\n", (unsigned long long)first_seed);
    return wk_pool_new(2, &pool) != WICK_OK;
}
static int teardown(void **unused) {
    (void)unused;
    wk_pool_free(pool);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_sets_agree),
        cmocka_unit_test(test_grad_tiles),
        cmocka_unit_test(test_narrowed),
        cmocka_unit_test(test_spare),
        cmocka_unit_test(test_bf16_rounding),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_dispatch),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
