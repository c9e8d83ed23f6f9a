/* test_cpu_ops.c: every op of the CPU backend against the reference, for each instruction set that this machine has, on
 * fresh random shapes: odd sizes, tails, tiny and large values. A failure names op, set, threads and seed. */
#include "backend/cpu/kernels.h"
#include "base/cpu.h"
#include "graph/op.h"
#include "support/lab.h"
#include "support/sets.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_T = 100, N_CASE = 12, N_LORA_CASE = 36 };  /* terms have ten kinds, linears a bias or none, and adapters stack */

/* ---- the ops: each makes a node, or a few, of random shape ---- */
typedef struct made {
    int vocab, n_pass, kv_heads, head_dim, n_rope;
    wk_dtype kv_type;
    int n_adapter, rank, lora_in, lora_out, lora_kind;  /* of rows, of tokens, of the rows wanted */
    wk_dtype lora_type;
    const wk_weight *bias[2];  /* of the slots' linears, or NULL */
    double tol;      /* where it is not 1e-5 */
    bool last_only;  /* only the last value is kept, so that others can lie in each other's places */
    bool drop;
} made;

static void make_embed(lab *l, made *m) {
    m->vocab = lab_pick(&l->rng, 1, 40);
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_F16, WK_Q4_0, WK_Q8_0);
    int d = type == WK_F32 || type == WK_F16 ? lab_pick(&l->rng, 1, 90) : 32 * lab_pick(&l->rng, 1, 4);
    wk_attr a = { .scale = (float)lab_pick(&l->rng, 1, 3) };
    LAB_OP(l, WK_OP_EMBED, &a, lab_matrix(l, type, 1, m->vocab, d));
}
static void make_rms_norm(lab *l, made *m) {
    int d = lab_pick(&l->rng, 1, 300), groups = lab_pick(&l->rng, 1, 3);
    wk_attr a = { .eps = 1e-5f, .group = groups > 1 ? d : 0 };
    (void)m;
    LAB_OP(l, WK_OP_RMS_NORM, &a, lab_input(l, 1, d * groups), lab_vector(l, d, 1));
}
static void make_linear(lab *l, made *m) {
    int quantised = lab_pick(&l->rng, 0, 1), n_in = quantised ? 32 * lab_pick(&l->rng, 1, 9) : lab_pick(&l->rng, 1, 200),
        n_out = lab_pick(&l->rng, 1, 90);
    wk_dtype type = (wk_dtype)(quantised ? lab_one_of(&l->rng, WK_Q4_0, WK_Q4_1, WK_Q8_0, WK_IQ4_NL)
                                         : lab_one_of(&l->rng, WK_F32, WK_F16, WK_BF16));
    wk_val x = lab_input(l, 1, n_in), w = lab_matrix(l, type, 1, n_out, n_in), v = lab_matrix(l, type, 1, n_out, n_in),
           u = lab_matrix(l, WK_F32, 1, n_out, n_in);
    (void)m;
    LAB_OP(l, WK_OP_LINEAR, NULL, x, w, lab_vector(l, n_out, 0));  /* two that share an operand, one that does not */
    LAB_OP(l, WK_OP_LINEAR, NULL, x, u);
    LAB_OP(l, WK_OP_LINEAR, NULL, x, v);
}
/* bfloat16 with so few inputs that all of a piece's columns are one tile. */
static void make_thin(lab *l, made *m) {
    int n_in = lab_pick(&l->rng, 1, 31), n_out = lab_pick(&l->rng, 65, 200);
    (void)m;
    LAB_OP(l, WK_OP_LINEAR, NULL, lab_input(l, 1, n_in), lab_matrix(l, WK_BF16, 1, n_out, n_in), lab_vector(l, n_out, 0));
}
static wk_val some_bias(lab *l, made *m, int slot) {
    if (lab_pick(&l->rng, 0, 1)) return WK_NO_VAL;
    wk_weight *w = lab_vector_weight(l, m->lora_out, 0);
    m->bias[slot] = w;
    return wk_graph_param(l->g, w, "bias");
}
static void make_lora(lab *l, made *m) {
    m->n_adapter = lab_pick(&l->rng, 0, 3);
    m->rank = lab_one_of(&l->rng, 1, 8, 16, 27, 40, 300);
    m->lora_type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_BF16);
    if (m->lora_type == WK_BF16) m->tol = 1e-3;  /* a last bit of A x can round to another number */
    m->last_only = lab_pick(&l->rng, 0, 2);
    m->lora_in = lab_pick(&l->rng, 1, 200);
    m->lora_out = lab_pick(&l->rng, 1, 200);
    m->lora_kind = lab_pick(&l->rng, 0, 2);
    if (lab_pick(&l->rng, 0, 5) == 0) m->lora_out = 2100;  /* more columns than are taken at a time */
    if (lab_pick(&l->rng, 0, 2) == 0) m->lora_in = 600;    /* in parts */
    if (m->lora_kind == 1) {
        m->vocab = m->lora_in;
        wk_attr a = { .scale = 1 };
        LAB_OP(l, WK_OP_LORA, NULL, LAB_OP(l, WK_OP_EMBED, &a, lab_matrix(l, WK_F32, 1, m->vocab, m->lora_out)), WK_NO_VAL);
        return;
    }
    wk_val x = lab_input(l, 1, m->lora_in);
    if (m->lora_kind == 2) x = LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x);
    wk_attr slot = { .slot = 1 };
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_BF16);
    wk_val y = LAB_OP(l, WK_OP_LINEAR, NULL, x, lab_matrix(l, type, 1, m->lora_out, m->lora_in), some_bias(l, m, 0));
    wk_val z = LAB_OP(l, WK_OP_LORA, NULL, y, x);
    if (lab_pick(&l->rng, 0, 1)) return;  /* or a second projection of x */
    y = LAB_OP(l, WK_OP_LINEAR, NULL, x, lab_matrix(l, WK_F32, 1, m->lora_out, m->lora_in), some_bias(l, m, 1));
    LAB_OP(l, WK_OP_ADD, NULL, LAB_OP(l, WK_OP_LORA, &slot, y, x), z);
}
/* A term with some of its parts. */
static wk_lora_term random_term(lab *l, const made *m, int slot) {
    bool tokens = m->lora_kind == 1;
    wk_lora_term t = { .scale = 0.5f };
    int parts = lab_pick(&l->rng, 0, 9);
    wk_dtype type = m->lora_type;
    if (parts) t.a = tokens ? lab_weight(l, type, 1, m->lora_in, m->rank) : lab_weight(l, type, 1, m->rank, m->lora_in);
    if (parts) t.b = lab_weight(l, type, 1, m->lora_out, m->rank);
    if (!tokens && parts >= 1 && parts <= 4) t.gain = lab_vector_weight(l, m->lora_out, 1), t.bias = m->bias[slot];
    if (parts >= 8) t.w = tokens ? lab_weight(l, WK_F32, 1, m->lora_in, m->lora_out)
                                 : lab_weight(l, WK_F32, 1, m->lora_out, m->lora_in);
    return t;
}
/* Rows as they are, or the wanted ones, which are all that the last layer has behind its keys and values. */
static wk_val all_or_wanted(lab *l, wk_val x, int wanted) { return wanted ? LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x) : x; }

static void make_rope(lab *l, made *m) {
    int hd = lab_pick(&l->rng, 2, 130), half = lab_pick(&l->rng, 1, hd / 2), n_head = lab_pick(&l->rng, 1, 5);
    wk_attr a = { .n_head = n_head, .rot_dim = 2 * half, .mscale = 1.25f };
    m->n_rope = lab_one_of(&l->rng, 1, 1, 2, 3);
    wk_val x = all_or_wanted(l, lab_input(l, 1, n_head * hd), lab_pick(&l->rng, 0, 1));
    LAB_OP(l, WK_OP_ROPE, &a, x, lab_vector(l, m->n_rope * half, 0));
}
static void make_attention(lab *l, made *m) {
    m->kv_type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_F16, WK_Q8_0);
    m->head_dim = m->kv_type == WK_Q8_0 ? 32 * lab_pick(&l->rng, 1, 4) : lab_one_of(&l->rng, 1, 8, 12, 20, 64, 80, 96, 128, 37);
    m->kv_heads = lab_pick(&l->rng, 1, 3);
    m->n_pass = 3;
    wk_attr a = { .head_dim = m->head_dim, .n_head_kv = m->kv_heads, .n_head = m->kv_heads * lab_one_of(&l->rng, 1, 2, 3, 7, 50),
                  .scale = 0.4f, .causal = lab_pick(&l->rng, 0, 3) > 0, .window = lab_one_of(&l->rng, 0, 0, 1, 5, 64, 70),
                  .cap = (float)lab_one_of(&l->rng, 0, 0, 2), .layer = 1 };
    wk_val q = lab_input(l, 1, a.n_head * a.head_dim), k = lab_input(l, 1, a.n_head_kv * a.head_dim),
           v = lab_input(l, 1, a.n_head_kv * a.head_dim);
    q = all_or_wanted(l, q, lab_pick(&l->rng, 0, 1));
    LAB_OP(l, WK_OP_ATTENTION, &a, q, k, v, lab_pick(&l->rng, 0, 2) ? WK_NO_VAL : lab_vector(l, a.n_head, 0));
}
static void make_glu(lab *l, made *m) {
    int d = lab_pick(&l->rng, 1, 300);
    wk_attr a = { .act = (wk_act)lab_pick(&l->rng, 0, 3) };
    (void)m;
    LAB_OP(l, WK_OP_GLU, &a, lab_input(l, 1, d), lab_input(l, 1, d));
}
static void make_add(lab *l, made *m) {
    int d = lab_pick(&l->rng, 1, 300);
    (void)m;
    LAB_OP(l, WK_OP_ADD, NULL, lab_input(l, 1, d), lab_input(l, 1, d));
}
static void make_softcap(lab *l, made *m) {
    wk_attr a = { .cap = 0.7f };
    (void)m;
    LAB_OP(l, WK_OP_SOFTCAP, &a, lab_input(l, 1, lab_pick(&l->rng, 1, 300)));
}
static void make_select_rows(lab *l, made *m) {
    (void)m;
    LAB_OP(l, WK_OP_SELECT_ROWS, NULL, lab_input(l, 1, lab_pick(&l->rng, 1, 300)));
}
/* All of a layer of experts: gate and up on the row, down on k rows. */
static void make_experts(lab *l, made *m) {
    int n_expert = lab_pick(&l->rng, 2, 20), k = lab_pick(&l->rng, 1, n_expert < 6 ? n_expert : 6),
        d = 32 * lab_pick(&l->rng, 1, 3), f = 32 * lab_pick(&l->rng, 1, 3);
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_Q8_0);
    wk_attr a = { .n_used = k, .norm_topk = lab_pick(&l->rng, 0, 1) };
    (void)m;
    wk_val x = lab_input(l, 1, d), w[3] = { lab_matrix(l, type, n_expert, f, d), lab_matrix(l, WK_F16, n_expert, f, d),
                                            lab_matrix(l, type, n_expert, d, f) };
    wk_val ids = LAB_OP(l, WK_OP_ROUTE, &a, lab_input(l, 1, n_expert)), weights = wk_graph_out(l->g, ids, 1);
    wk_val bias = lab_pick(&l->rng, 0, 1) ? lab_vector(l, n_expert * f, 0) : WK_NO_VAL;
    wk_val gate = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, w[0], ids, bias), up = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, w[1], ids);
    LAB_OP(l, WK_OP_ADD, NULL, gate, up);
    wk_val h = lab_input(l, k, f);  /* not their sum: a last bit of it can round to another code */
    LAB_OP(l, WK_OP_COMBINE, NULL, LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, h, w[2], ids), weights, ids);
}
static void make_grads(lab *l, made *m) {
    int groups = lab_pick(&l->rng, 1, 3), d = 32 * lab_pick(&l->rng, 1, 3), o = lab_pick(&l->rng, 1, 70);
    wk_attr a = { .eps = 1e-5f, .group = groups > 1 ? d : 0 };
    (void)m;
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_Q4_0);
    wk_val x = lab_input(l, 1, d * groups), w = lab_vector(l, d, 1), W = lab_matrix(l, WK_F32, 1, o, d * groups),
           Q = lab_matrix(l, type, 1, o, d * groups);
    wk_val h = LAB_OP(l, WK_OP_RMS_NORM, &a, x, w), seed = lab_input(l, 1, o), grads[3];
    wk_val y = LAB_OP(l, WK_OP_ADD, NULL, LAB_OP(l, WK_OP_LINEAR, NULL, h, W), LAB_OP(l, WK_OP_LINEAR, NULL, h, Q));
    assert_int_equal(wk_graph_backward(l->g, y, seed, (wk_val[]){ x, w, W }, 3, grads), WICK_OK);
}

/* ---- gradients: a node, or a few, and its backward pass ---- */

static wk_val seed_for(lab *l, wk_val y) {
    assert_in_range(l->n_input, 0, LAB_INPUTS - 1);
    if (l->g->status) fail_msg("%s", wick_last_error());
    return l->input[l->n_input++] = wk_graph_input(l->g, l->g->value[y].shape, "seed");
}
static void back(lab *l, wk_val y, const wk_val *of, int n) {
    wk_val grads[8];
    if (wk_graph_backward(l->g, y, seed_for(l, y), of, n, grads)) fail_msg("%s", wick_last_error());
    for (int i = 0; i < n; i++) assert_true(grads[i] >= 0);
}
#define BACK(l, y, ...) back(l, y, (wk_val[]){ __VA_ARGS__ }, (int)(sizeof((wk_val[]){ __VA_ARGS__ }) / sizeof(wk_val)))

static void make_row_grads(lab *l, made *m) {
    int hd = 2 * lab_pick(&l->rng, 1, 40), n_head = lab_pick(&l->rng, 1, 4), d = n_head * hd;
    wk_attr r = { .n_head = n_head, .rot_dim = 2 * lab_pick(&l->rng, 1, hd / 2), .mscale = 1.25f };
    int first = lab_pick(&l->rng, 0, 1);  /* rows are selected before, or behind */
    wk_val x = lab_input(l, 1, d), up = lab_input(l, 1, d), freq = lab_vector(l, r.rot_dim / 2, 0);
    wk_val h = LAB_OP(l, WK_OP_ROPE, &r, all_or_wanted(l, x, first), freq);
    (void)m;
    h = LAB_OP(l, WK_OP_GLU, &(wk_attr){ .act = (wk_act)lab_pick(&l->rng, 0, 3) }, h, all_or_wanted(l, up, first));
    h = LAB_OP(l, WK_OP_SOFTCAP, &(wk_attr){ .cap = 3 }, h);
    BACK(l, all_or_wanted(l, h, !first), x, up);
}
static void make_weight_grads(lab *l, made *m) {
    int d = lab_pick(&l->rng, 1, 150), o = lab_pick(&l->rng, 1, 90);
    m->vocab = lab_pick(&l->rng, 1, 30);
    wk_val E = lab_matrix(l, WK_F32, 1, m->vocab, d), W = lab_matrix(l, WK_F32, 1, o, d), bias = lab_vector(l, o, 0);
    wk_val h = LAB_OP(l, WK_OP_EMBED, &(wk_attr){ .scale = 2 }, E);
    BACK(l, LAB_OP(l, WK_OP_LINEAR, NULL, h, W, bias), E, W, bias);
}
static void make_lora_grads(lab *l, made *m) {
    int rank = lab_pick(&l->rng, 1, 40), n_in = lab_pick(&l->rng, 1, 200), n_out = lab_pick(&l->rng, 1, 200);
    wk_attr a = { .scale = 0.7f, .slot = 2, .dropout = lab_pick(&l->rng, 0, 1) ? 0.4f : 0 };
    m->drop = true;
    wk_val x = lab_input(l, 1, n_in), A = lab_matrix(l, WK_F32, 1, rank, n_in), B = lab_matrix(l, WK_F32, 1, n_out, rank);
    wk_val base = LAB_OP(l, WK_OP_LINEAR, NULL, x, lab_matrix(l, WK_F32, 1, n_out, n_in));
    BACK(l, LAB_OP(l, WK_OP_LORA, &a, base, x, A, B), x, A, B);
}
/* Two of one x. What the second keeps of its A x may lie where the first's y was, which a linear alone reads. */
static void make_two_lora_grads(lab *l, made *m) {
    int rank = lab_pick(&l->rng, 1, 40), n_in = lab_pick(&l->rng, 1, 100), n_out = 48, n_last = lab_pick(&l->rng, 1, 100);
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_BF16);
    wk_attr a[2] = { { .scale = 0.7f, .slot = 1 }, { .scale = 0.9f, .slot = 2 } };
    m->last_only = true;
    if (type == WK_BF16) m->tol = 1e-3;
    wk_val x = lab_input(l, 1, n_in), A[2], B[2], y[2];
    for (int i = 0; i < 2; i++) {
        int n = i ? n_last : n_out;
        A[i] = lab_matrix(l, type, 1, rank, n_in), B[i] = lab_matrix(l, type, 1, n, rank);
        y[i] = LAB_OP(l, WK_OP_LINEAR, NULL, x, lab_matrix(l, WK_F32, 1, n, n_in));
        y[i] = LAB_OP(l, WK_OP_LORA, &a[i], y[i], x, A[i], B[i]);
        if (i == 0) y[i] = LAB_OP(l, WK_OP_LINEAR, NULL, y[i], lab_matrix(l, WK_F32, 1, n_last, n));
    }
    wk_val out = LAB_OP(l, WK_OP_ADD, NULL, y[0], y[1]), grads[5];
    assert_int_equal(wk_graph_backward(l->g, out, seed_for(l, out), (wk_val[]){ x, A[0], B[0], A[1], B[1] }, 5, grads), WICK_OK);
    for (int i = 0; i < 5; i++) wk_graph_keep(l->g, grads[i]);
}
static void make_token_lora_grads(lab *l, made *m) {
    int rank = lab_pick(&l->rng, 1, 40), d = lab_pick(&l->rng, 1, 200);
    wk_attr a = { .scale = 0.7f, .dropout = 0.4f };
    m->drop = true;
    m->vocab = lab_pick(&l->rng, 1, 30);
    wk_val A = lab_matrix(l, WK_F32, 1, m->vocab, rank), B = lab_matrix(l, WK_F32, 1, d, rank), x = lab_input(l, 1, d);
    BACK(l, LAB_OP(l, WK_OP_LORA, &a, x, WK_NO_VAL, A, B), x, A, B);
}
static void make_dropout_grads(lab *l, made *m) {
    wk_val x = lab_input(l, 1, lab_pick(&l->rng, 1, 200));
    m->drop = true;
    BACK(l, LAB_OP(l, WK_OP_DROPOUT, &((wk_attr){ .slot = 4, .dropout = 0.4f }), x), x);
}
static void make_attention_grads(lab *l, made *m) {
    m->kv_type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_F16, WK_Q8_0);
    m->head_dim = m->kv_type == WK_Q8_0 ? 32 * lab_pick(&l->rng, 1, 4) : lab_one_of(&l->rng, 1, 8, 12, 20, 64, 80, 96, 128, 37);
    m->kv_heads = lab_pick(&l->rng, 1, 3);
    m->n_pass = 2;
    wk_attr a = { .head_dim = m->head_dim, .n_head_kv = m->kv_heads, .n_head = m->kv_heads * lab_one_of(&l->rng, 1, 2, 3, 7),
                  .scale = 0.4f, .causal = lab_pick(&l->rng, 0, 3) > 0, .window = lab_one_of(&l->rng, 0, 0, 1, 5, 64, 70),
                  .cap = (float)lab_one_of(&l->rng, 0, 0, 2), .layer = 1 };
    wk_val q = lab_input(l, 1, a.n_head * a.head_dim), k = lab_input(l, 1, a.n_head_kv * a.head_dim),
           v = lab_input(l, 1, a.n_head_kv * a.head_dim);
    wk_val sinks = lab_pick(&l->rng, 0, 2) ? WK_NO_VAL : lab_vector(l, a.n_head, 0);
    q = all_or_wanted(l, q, lab_pick(&l->rng, 0, 1));
    wk_val y = LAB_OP(l, WK_OP_ATTENTION, &a, q, k, v, sinks);
    if (sinks >= 0) BACK(l, y, q, k, v, sinks);
    else BACK(l, y, q, k, v);
}
/* Gradients of one value, added up: a product or a norm may add in place, unless somebody else wants its own result. */
static void make_sums(lab *l, made *m) {
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_BF16, WK_Q8_0);
    int o = 32 * lab_pick(&l->rng, 1, 4), d = 32 * lab_pick(&l->rng, 1, 4), how = lab_pick(&l->rng, 0, 3);
    wk_val g = lab_input(l, 1, o), part[3], sum;
    m->last_only = true;
    sum = part[0] = LAB_OP(l, WK_OP_LINEAR_INPUT_GRAD, NULL, g, lab_matrix(l, type, 1, o, d));
    for (int i = 1; i < 3; i++) {
        bool norm = lab_pick(&l->rng, 0, 1);
        wk_val gy = norm ? lab_input(l, 1, d) : g, x = norm ? lab_input(l, 1, d) : WK_NO_VAL;
        part[i] = norm ? LAB_OP(l, WK_OP_RMS_NORM_GRAD, NULL, gy, x, lab_vector(l, d, 1), lab_input(l, 1, 1))
                       : LAB_OP(l, WK_OP_LINEAR_INPUT_GRAD, NULL, g, lab_matrix(l, type, 1, o, d));
        sum = LAB_OP(l, WK_OP_ADD, NULL, sum, part[i]);
    }
    if (how == 1) LAB_OP(l, WK_OP_ADD, NULL, sum, part[2]);      /* read once more */
    if (how == 2) LAB_OP(l, WK_OP_ADD, NULL, sum, part[0]);
    if (how == 3) LAB_OP(l, WK_OP_ADD, NULL, part[1], sum);      /* a sum is nobody's gradient */
}
static void make_gain_grads(lab *l, made *m) {
    int d = lab_pick(&l->rng, 1, 300);
    wk_val x = lab_input(l, 1, d), w = lab_vector(l, d, 1), bias = lab_vector(l, d, 0);
    (void)m;
    BACK(l, LAB_OP(l, WK_OP_GAIN, NULL, LAB_OP(l, WK_OP_GAIN, NULL, x, w, bias), w), x, w, bias);
}
static void make_losses(lab *l, made *m) {
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_F32, WK_F16, WK_Q4_1, WK_Q8_0);
    int d = wk_dtypes[type].quantised ? 32 * lab_pick(&l->rng, 1, 4) : lab_pick(&l->rng, 1, 130);
    m->vocab = lab_one_of(&l->rng, 2, 17, 512, 513, 1100, 1700);
    wk_attr a = { .smoothing = lab_pick(&l->rng, 0, 1) ? 0.1f : 0, .cap = lab_pick(&l->rng, 0, 2) ? 0 : 2.0f };
    wk_val x = lab_input(l, 1, d), W = lab_matrix(l, type, 1, m->vocab, d),
           h = lab_pick(&l->rng, 0, 3) ? LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x) : x;
    wk_val mid = WK_NO_VAL, B = WK_NO_VAL;
    if (lab_pick(&l->rng, 0, 1)) {  /* an adapter of the head */
        int rank = lab_pick(&l->rng, 1, 40);
        a.scale = 0.7f;
        mid = LAB_OP(l, WK_OP_LINEAR, NULL, h, lab_matrix(l, WK_F32, 1, rank, d));
        B = lab_matrix(l, WK_F32, 1, m->vocab, rank);
    }
    wk_val y = LAB_OP(l, WK_OP_CROSS_ENTROPY, &a, h, W, mid, B);
    if (type == WK_F32 && B >= 0) BACK(l, y, x, W, mid, B);
    else if (B >= 0) BACK(l, y, x, mid, B);
    else if (type == WK_F32) BACK(l, y, x, W);
    else BACK(l, y, x);
}
static void make_expert_grads(lab *l, made *m) {
    int n_expert = lab_pick(&l->rng, 2, 20), k = lab_pick(&l->rng, 1, n_expert < 6 ? n_expert : 6),
        d = 32 * lab_pick(&l->rng, 1, 5), f = 32 * lab_pick(&l->rng, 1, 3);
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_Q8_0);
    wk_attr a = { .n_used = k, .norm_topk = lab_pick(&l->rng, 0, 1) };
    int wanted = lab_pick(&l->rng, 0, 1);
    (void)m;
    wk_val x = all_or_wanted(l, lab_input(l, 1, d), wanted);
    wk_val up = lab_matrix(l, type, n_expert, f, d), down = lab_matrix(l, type, n_expert, d, f);
    wk_val logits = all_or_wanted(l, lab_input(l, 1, n_expert), wanted), ids = LAB_OP(l, WK_OP_ROUTE, &a, logits);
    wk_val h = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, up, ids), down, ids);
    BACK(l, LAB_OP(l, WK_OP_COMBINE, NULL, h, wk_graph_out(l->g, ids, 1), ids), x, logits);
}

/* The experts' own: odd sizes, and more experts than a few rows reach, so that some have none and some have one. */
static void make_expert_weight_grads(lab *l, made *m) {
    int n_expert = lab_pick(&l->rng, 2, 30), k = lab_pick(&l->rng, 1, n_expert < 4 ? n_expert : 4), d = lab_pick(&l->rng, 1, 90),
        f = lab_pick(&l->rng, 1, 70);
    wk_attr a = { .n_used = k };
    int wanted = lab_pick(&l->rng, 0, 1);
    (void)m;
    wk_val x = all_or_wanted(l, lab_input(l, 1, d), wanted);
    wk_val up = lab_matrix(l, WK_F32, n_expert, f, d), down = lab_matrix(l, WK_F32, n_expert, d, f),
           bias = lab_vector(l, n_expert * f, 0), bias2 = lab_vector(l, n_expert * d, 0);
    wk_val logits = all_or_wanted(l, lab_input(l, 1, n_expert), wanted), ids = LAB_OP(l, WK_OP_ROUTE, &a, logits);
    wk_val h = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, up, ids, bias), down, ids, bias2);
    BACK(l, LAB_OP(l, WK_OP_COMBINE, NULL, h, wk_graph_out(l->g, ids, 1), ids), x, up, bias, down, bias2);
}

/* ---- the harness ---- */
static void random_rows(lab_rng *r, lab_rows *rows, const made *m, int max_t) {
    lab_rows_clear(rows);
    int n = lab_pick(r, 1, max_t), mixed = lab_pick(r, 0, 1);
    for (int i = 0, seq = lab_pick(r, 0, rows->n_seq - 1); i < n; i++) {
        if (mixed || lab_pick(r, 0, 20) == 0) seq = lab_pick(r, 0, rows->n_seq - 1);
        lab_rows_add(rows, seq, lab_pick(r, 0, m->vocab ? m->vocab - 1 : 0));
        rows->adapter[i] = m->n_adapter ? lab_pick(r, -1, m->n_adapter - 1) : -1;
    }
    if (m->n_adapter) rows->batch.adapter = rows->adapter;
    rows->batch.n_out = 0;
    for (int i = 0; i < n; i++) if (lab_pick(r, 0, 1)) rows->out[rows->batch.n_out++] = i;
}

/* Was v computed, so that a last bit of it may round to another code than the reference's? */
static bool computed(const lab *l, wk_val v) {
    const wk_graph *g = l->g;
    const wk_node *n = g->value[v].node >= 0 ? &g->node[g->value[v].node] : NULL;
    return n && (n->op != WK_OP_SELECT_ROWS || computed(l, n->in[0]));
}

/* How far a node's own rounding puts it off, as a part of its norm. Codes of 8 bits are off by 1 / (127 sqrt(12)) of their 32
 * numbers' largest, which is 1.7 to 8 times their mean: 0.4 to 1.8 %, and gradients round the weights as well. Products round their
 * input as the reference does, but for a code here and there, 1 / 127 of the largest: 1 % of the row, if that is short. */
static double rounds(const lab *l, const wk_node *n) {
    const wk_graph *g = l->g;
    wk_pair_fns pairs = wk_pairs_here();
    bool product = n->op == WK_OP_LINEAR || n->op == WK_OP_EXPERT_LINEAR;
    int w = n->op == WK_OP_CROSS_ENTROPY_GRAD ? 2
          : product || n->op == WK_OP_LINEAR_INPUT_GRAD || n->op == WK_OP_EXPERT_INPUT_GRAD ? 1 : -1;
    wk_dtype type = w >= 0 ? g->value[n->in[w]].weight->dtype : WK_F32;
    if (product) return wk_dtypes[type].quantised && computed(l, n->in[0]) ? 1e-2 : 0;
    if (wk_dtypes[type].quantised || type == WK_BF16) return 3e-2;
    bool by_pairs = (n->op == WK_OP_ATTENTION_GRAD && pairs.attend_grad) || (n->op == WK_OP_ATTENTION && pairs.attend);
    return by_pairs && l->kv->shape.dtype != WK_F32 ? 5e-3 : 0;
}

/* The same with what the values bring that v is made from: of a chain, the root of the squares' sum. 0: float32. */
static double rounded(const lab *l, wk_val v) {
    const wk_graph *g = l->g;
    const wk_node *n = v >= 0 && g->value[v].node >= 0 ? &g->node[g->value[v].node] : NULL;
    double before = 0;
    if (!n) return 0;
    for (int i = 0; i < n->n_in; i++) before = fmax(before, rounded(l, n->in[i]));
    return hypot(rounds(l, n), before);
}

static void compare(lab *want, lab *got, wk_val v, const wk_batch *b, double tol, const char *what) {
    const wk_value *x = &want->g->value[v];
    int64_t rows = wk_shape_rows(x->shape, b->n_row, b->n_out), n = rows * x->shape.cols;
    float *a = calloc((size_t)n + 1, sizeof *a), *c = calloc((size_t)n + 1, sizeof *c);
    double err = 0, norm = 0, worst = 0, most = 0;
    want->be->ops->read(want->plan, v, 0, rows, a);
    got->be->ops->read(got->plan, v, 0, rows, c);
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)c[i]);
        err += d * d;
        norm += (double)a[i] * (double)a[i];
        worst = d > worst || d != d ? d : worst;
        most = fmax(most, fabs((double)a[i]));
    }
    wk_op op = x->node >= 0 ? want->g->node[x->node].op : WK_OP_COUNT;
    if (op == WK_OP_ATTENTION_GRAD || op == WK_OP_SINKS_GRAD) {  /* differences of numbers of about 1 */
        double n_sum = op == WK_OP_SINKS_GRAD ? b->n_row : 1;
        norm += n_sum * (double)n;
        most += sqrt(n_sum);
    }
    double off = rounded(want, v);
    if (off > 0) tol = got->kv ? 2 * off : off;  /* attention's are such differences */
    if (off > 0 && op == WK_OP_ATTENTION) norm += 0.01 * (double)n, most += 0.1;  /* averages of larger numbers */
    tol *= 1 + 4 / sqrt(fmax((double)n, 1));  /* few numbers stray from what is usual */
    if (!(sqrt(err) <= tol * sqrt(norm) + 1e-30) || !(worst <= 10 * tol * most + 1e-30))
        fail_msg("%s: output of %s [%lld, %lld]: relative error %.3g, worst element %.3g of %.3g", what,
                 x->node >= 0 ? wk_ops[want->g->node[x->node].op]->name : "input", (long long)rows, (long long)x->shape.cols,
                 sqrt(err / norm), worst, most);
    const float *at = got->be->ops->view(got->plan, v, 0);
    if (!x->shape.ids && n) assert_memory_equal(at, c, (size_t)n * sizeof *c);
    free(a);
    free(c);
}

/* Inputs must come out as they went in: nothing was written beside an output. */
static void inputs_intact(lab *l, lab_rng r, int T) {
    for (int i = 0; i < l->n_input; i++) {
        wk_shape s = l->g->value[l->input[i]].shape;
        int64_t n = wk_shape_rows(s, T, T) * s.cols;
        const float *x = l->be->ops->view(l->plan, l->input[i], 0);
        for (int64_t j = 0; j < n; j++) assert_true(x[j] == lab_noise(&r));
    }
}

static void one_case(void (*make)(lab *, made *), bool saving, int n_thread, uint64_t seed) {
    lab l[2];
    made m[2] = { { .n_pass = 1 }, { .n_pass = 1 } };
    lab_rows rows;
    lab_rng r = { seed ^ 0x5555, 0 };
    wk_lora_term terms[2][3][2] = { { { { 0 } } } };
    wk_lora_set set[2][3];
    const wk_lora_set *sets[2][3];
    char what[100];
    snprintf(what, sizeof what, "seed %llu, %s, %d threads", (unsigned long long)seed, wk_cpu_name(), n_thread);
    for (int k = 0; k < 2; k++) {
        wk_backend *be = NULL;
        assert_int_equal(k ? wk_cpu_new(n_thread, &be) : wk_reference_new(true, &be), WICK_OK);
        lab_new(&l[k], be, saving || lab_pick(&(lab_rng){ seed, 99 }, 0, 1), seed);
        make(&l[k], &m[k]);
        if (m[k].last_only) wk_graph_keep(l[k].g, l[k].g->node[l[k].g->n_node - 1].out[0]);
        else lab_keep_all(&l[k]);
        lab_plan(&l[k], MAX_T);
        if (m[k].kv_heads) lab_kv(&l[k], 2, m[k].kv_heads, m[k].head_dim, 3 * LAB_PAGES, m[k].kv_type);
        for (int i = 0; i < m[k].n_adapter; i++) {
            for (int s = 0; s < 2; s++) terms[k][i][s] = random_term(&l[k], &m[k], s);
            set[k][i] = (wk_lora_set){ terms[k][i], 2, i == 1 ? 1.5f : 1, i ? &set[k][i - 1] : NULL };
            sets[k][i] = &set[k][i];
        }
    }
    lab_rows_new(&rows, &r, 3);
    for (int pass = 0; pass < m[0].n_pass; pass++) {
        int32_t rope[LAB_ROWS];
        for (int i = 0; i < LAB_ROWS; i++) rope[i] = m[0].n_rope ? i * 7 % 5 % m[0].n_rope : 0;
        int32_t label[LAB_ROWS];
        random_rows(&r, &rows, &m[0], pass || lab_pick(&r, 0, 1) ? MAX_T : 5);
        for (int i = 0; i < LAB_ROWS; i++) label[i] = i % 5 == 3 || !m[0].vocab ? WK_NO_LABEL : i * 7919 % m[0].vocab;
        lab_rng fill = { seed + 1000u * (unsigned)pass, 0 };
        for (int k = 0; k < 2; k++) {
            wk_batch b = rows.batch;
            b.adapters = sets[k];
            b.n_adapter = m[k].n_adapter;
            if (m[k].n_rope > 1) b.rope = rope;
            b.label = label;
            b.drop = m[k].drop;
            b.drop_seed = seed;
            b.drop_step = 3;
            lab_fill(&l[k], fill, b.n_row);
            if (l[k].be->ops->run(l[k].plan, &b, l[k].kv)) fail_msg("%s: %s", what, wick_last_error());
        }
        for (size_t v = 0; v < l[0].g->n_value; v++)
            if (l[0].g->value[v].kind == WK_VALUE_RESULT && l[0].g->value[v].keep)
                compare(&l[0], &l[1], (wk_val)v, &rows.batch, m[0].tol > 0 ? m[0].tol : 1e-5, what);
        lab_rng again = fill;
        if (l[1].n_input == 1) inputs_intact(&l[1], again, rows.batch.n_row);
    }
    for (int k = 0; k < 2; k++) lab_free(&l[k]);
}

static void check_cases(int n, void (*make)(lab *, made *), bool saving) {
    const char *first = getenv("WICK_TEST_SEED");
    uint64_t seed = first ? strtoull(first, NULL, 10) * 1000 : 7000;
    for (int i = 0; i < sets_cases(n); i++)
        for (int k = 0; sets_use(k); k++) one_case(make, saving, 1 + i % 3, seed + (uint64_t)i);
}
static void check_op(void (*make)(lab *, made *), bool saving) { check_cases(N_CASE, make, saving); }
static void test_lora(void **state) { (void)state; check_cases(N_LORA_CASE, make_lora, false); }

#define TEST(name) static void test_##name(void **state) { (void)state; check_op(make_##name, false); }
#define GRADS(name) static void test_##name(void **state) { (void)state; check_op(make_##name, true); }
TEST(embed) TEST(rms_norm) TEST(linear) TEST(rope) TEST(attention) TEST(glu) TEST(add) TEST(softcap) TEST(select_rows)
TEST(experts) TEST(thin)
GRADS(grads) GRADS(row_grads) GRADS(weight_grads) GRADS(lora_grads) GRADS(two_lora_grads) GRADS(attention_grads) GRADS(losses)
TEST(sums) GRADS(expert_grads) GRADS(expert_weight_grads) GRADS(gain_grads) GRADS(token_lora_grads) GRADS(dropout_grads)

static void test_refusals(void **state) {
    wk_backend *be = NULL;
    wk_kv *kv = NULL;
    wk_plan *plan = NULL;
    (void)state;
    assert_int_equal(wk_cpu_new(2000, &be), WICK_E_ARG);
    assert_int_equal(wk_cpu_new(1, &be), WICK_OK);
    assert_int_equal(be->ops->kv_new(be, &(wk_kv_shape){ 1, 1, 40, 4, WK_PAGE_LEN, WK_Q8_0 }, &kv), WICK_E_UNSUPPORTED);
    assert_non_null(strstr(wick_last_error(), "f16"));
    assert_int_equal(be->ops->kv_new(be, &(wk_kv_shape){ 1, 1, 32, 4, WK_PAGE_LEN, WK_Q4_0 }, &kv), WICK_E_UNSUPPORTED);
    assert_int_equal(be->ops->kv_new(be, &(wk_kv_shape){ 1, 1, 32, 4, 16, WK_F16 }, &kv), WICK_E_ARG);
    assert_int_equal(be->ops->kv_new(be, &(wk_kv_shape){ 1 << 20, 1 << 20, 1 << 20, 1 << 20, WK_PAGE_LEN, WK_F16 }, &kv),
                     WICK_E_MEMORY);

    lab l;
    lab_new(&l, be, false, 1);
    wk_attr a = { .head_dim = 8, .n_head = 2, .n_head_kv = 1, .scale = 1, .causal = true };
    LAB_OP(&l, WK_OP_ATTENTION, &a, lab_input(&l, 1, 16), lab_input(&l, 1, 8), lab_input(&l, 1, 8));
    wk_attr e = { .scale = 1 };
    LAB_OP(&l, WK_OP_EMBED, &e, lab_matrix(&l, WK_F32, 1, 10, 8));
    assert_int_equal(be->ops->plan_new(be, l.g, 0, &plan), WICK_E_ARG);
    lab_plan(&l, 2);
    lab_kv(&l, 1, 1, 8, 2, WK_F16);
    int32_t token[3] = { 1, 2, 3 }, pos[3] = { 0, 1, 2 }, seq[3] = { 0 }, page[1] = { 0 };
    wk_batch b = { .n_row = 3, .token = token, .pos = pos, .seq = seq, .page = page, .max_page = 1, .n_seq = 1 };
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_E_ARG);
    b.n_row = 2;
    assert_int_equal(be->ops->run(l.plan, &b, NULL), WICK_E_ARG);
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_OK);
    token[1] = 10;
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_E_ARG);
    token[1] = 2;
    pos[1] = 64;
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_E_ARG);
    pos[1] = 1;
    page[0] = 2;
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_E_ARG);
    lab_free(&l);
}

/* What a row does not see has no part in it, not even as nothing times something: keys and values after it are no numbers. */
static void unseen(wk_dtype type, int head_dim, int n_head) {
    enum { N = 70 };
    static const float strange[] = { NAN, INFINITY };
    wk_backend *be = NULL;
    lab l;
    lab_rows rows;
    lab_rng r = { 5, 0 };
    size_t cols = (size_t)(n_head * head_dim);
    float *y[2] = { calloc(N * cols, sizeof(float)), calloc(N * cols, sizeof(float)) }, wrong[2][128];
    wk_attr a = { .head_dim = head_dim, .n_head = n_head, .n_head_kv = 1, .scale = 0.4f, .causal = true };
    assert_int_equal(wk_cpu_new(1, &be), WICK_OK);
    lab_new(&l, be, false, 1);
    wk_val k = lab_input(&l, 1, head_dim), v = lab_input(&l, 1, head_dim),
           out = LAB_OP(&l, WK_OP_ATTENTION, &a, lab_input(&l, 1, n_head * head_dim), k, v);
    lab_keep_all(&l);
    lab_plan(&l, N);
    lab_kv(&l, 1, 1, head_dim, LAB_PAGES, type);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < head_dim; j++) wrong[i][j] = strange[i];
    static const int seen[] = { 1, 2, 17, 33, 63, 64, 65, 69 };
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
        lab_rows_new(&rows, &r, 1);
        for (int t = 0; t < N; t++) lab_rows_add(&rows, 0, 0);
        for (int bad = 0; bad < 2; bad++) {
            lab_fill(&l, (lab_rng){ 9, 0 }, N);
            for (int t = seen[i]; bad && t < N; t++) {
                be->ops->write(l.plan, k, t, 1, wrong[0]);
                be->ops->write(l.plan, v, t, 1, wrong[t % 2]);
            }
            assert_int_equal(be->ops->run(l.plan, &rows.batch, l.kv), WICK_OK);
            be->ops->read(l.plan, out, 0, seen[i], y[bad]);
        }
        if (memcmp(y[0], y[1], (size_t)seen[i] * cols * sizeof(float)))
            fail_msg("%s, %s, %d heads of %d: rows changed with what comes after row %d", wk_cpu_name(), wk_dtypes[type].name,
                     n_head, head_dim, seen[i] - 1);
    }
    free(y[0]);
    free(y[1]);
    lab_free(&l);
}
static void test_unseen(void **state) {
    (void)state;
    for (int k = 0; sets_use(k); k++)
        for (int n_head = 1; n_head < 8; n_head += 3) {
            unseen(WK_F32, 64, n_head);
            unseen(WK_F16, 64, n_head);
            unseen(WK_F16, 37, n_head);
        }
}

/* Attention's gradient of a sequence of more rows than are made ready at a time, after a short one. Of its four heads three threads
 * take the last by halves, which changes no bit. */
static void long_grads(wk_dtype type, int window) {
    enum { SHORT = 9, LONG = WK_GRAD_SPAN + 70, N = SHORT + LONG, PAGES = LONG / WK_PAGE_LEN + 1, HD = 11 };
    static const int threads[] = { 0, 1, 3 };
    lab l[3];
    int32_t pos[N], seq[N], page[2 * PAGES];
    wk_attr a = { .head_dim = HD, .n_head = 2, .n_head_kv = 1, .scale = 0.4f, .causal = true, .window = window };
    for (int i = 0; i < N; i++) seq[i] = i >= SHORT, pos[i] = i >= SHORT ? i - SHORT : i;
    for (int i = 0; i < 2 * PAGES; i++) page[i] = 2 * PAGES - 1 - i;
    const wk_batch b = { .n_row = N, .pos = pos, .seq = seq, .page = page, .max_page = PAGES, .n_seq = 2 };
    for (int k = 0; k < 3; k++) {
        wk_backend *be = NULL;
        assert_int_equal(k ? wk_cpu_new(threads[k], &be) : wk_reference_new(true, &be), WICK_OK);
        lab_new(&l[k], be, true, 3);
        wk_val q = lab_input(&l[k], 1, 2 * HD), key = lab_input(&l[k], 1, HD), v = lab_input(&l[k], 1, HD);
        BACK(&l[k], LAB_OP(&l[k], WK_OP_ATTENTION, &a, q, key, v), q, key, v);
        lab_keep_all(&l[k]);
        lab_plan(&l[k], N);
        lab_kv(&l[k], 1, 1, HD, 2 * PAGES, type);
        lab_fill(&l[k], (lab_rng){ 6, 0 }, N);
        assert_int_equal(be->ops->run(l[k].plan, &b, l[k].kv), WICK_OK);
    }
    for (size_t v = 0; v < l[0].g->n_value; v++) {
        const wk_value *x = &l[0].g->value[v];
        if (x->kind != WK_VALUE_RESULT) continue;
        const float *one = l[1].be->ops->view(l[1].plan, (wk_val)v, 0), *three = l[2].be->ops->view(l[2].plan, (wk_val)v, 0);
        compare(&l[0], &l[1], (wk_val)v, &b, 1e-5, wk_cpu_name());
        assert_memory_equal(one, three, (size_t)(N * x->shape.cols) * sizeof *one);
    }
    for (int k = 0; k < 3; k++) lab_free(&l[k]);
}
static void test_long_attention_grads(void **state) {
    (void)state;
    for (int k = 0; sets_use(k); k++) {
        long_grads(WK_F32, 0);
        long_grads(WK_F16, 1000);
    }
}

/* The k-th allocation fails, for every k: a clean status each time, nothing lost (the sanitizer sees leaks). */
static void test_failing_allocations(void **state) {
    lab l;
    wk_backend *be = NULL;
    made m = { 0 };
    (void)state;
    assert_int_equal(wk_cpu_new(2, &be), WICK_OK);
    lab_new(&l, be, true, 3);
    make_experts(&l, &m);
    make_attention(&l, &m);
    make_lora(&l, &m);
    make_rope(&l, &m);
    assert_int_equal(l.g->status, WICK_OK);
    const wk_tensor t = { WK_STR("w"), WK_F32, 3, { 2, 3, 4, 1 }, (const uint8_t *)(float[24]){ 0 }, 96, NULL };
    for (int what = 0; what < 4; what++)
        for (uint64_t k = 1, done = 0; !done; k++) {
            wk_plan *plan = NULL;
            wk_kv *kv = NULL;
            wk_weight *w = NULL;
            wk_weight_source s = { .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1, .vector = what == 3 };
            wk_alloc_fail_at(k);
            wick_status st = what == 0   ? be->ops->plan_new(be, l.g, 20, &plan)
                             : what == 1 ? be->ops->kv_new(be, &(wk_kv_shape){ 1, 1, 32, 4, WK_PAGE_LEN, WK_F16 }, &kv)
                                         : be->ops->weight_new(be, &s, &w);
            wk_alloc_fail_at(0);
            done = st == WICK_OK;
            if (st) {
                assert_int_equal(st, WICK_E_MEMORY);
                assert_true(!plan && !kv && !w);
            }
            be->ops->plan_free(plan);
            be->ops->kv_free(be, kv);
            be->ops->weight_free(be, w);
        }
    lab_free(&l);
}

/* Everything that a run makes, one value after the other. */
static uint8_t *run_all(void (*make)(lab *, made *), int n_thread, uint64_t seed, size_t *n_bytes) {
    lab l;
    made m = { .n_pass = 1 };
    lab_rows rows;
    lab_rng r = { seed, 0 };
    int32_t label[LAB_ROWS];
    uint8_t *all = NULL;
    wk_backend *be = NULL;
    assert_int_equal(wk_cpu_new(n_thread, &be), WICK_OK);
    lab_new(&l, be, true, seed);
    make(&l, &m);
    lab_keep_all(&l);
    lab_plan(&l, MAX_T);
    if (m.kv_heads) lab_kv(&l, 2, m.kv_heads, m.head_dim, 3 * LAB_PAGES, m.kv_type);
    lab_rows_new(&rows, &r, 3);
    random_rows(&r, &rows, &m, MAX_T);
    for (int i = 0; i < LAB_ROWS; i++) label[i] = m.vocab ? i % m.vocab : WK_NO_LABEL;
    rows.batch.label = label;
    rows.batch.drop = m.drop;
    lab_fill(&l, r, rows.batch.n_row);
    if (be->ops->run(l.plan, &rows.batch, l.kv)) fail_msg("%s", wick_last_error());
    *n_bytes = 0;
    for (size_t v = 0; v < l.g->n_value; v++) {
        const wk_value *x = &l.g->value[v];
        if (x->kind != WK_VALUE_RESULT) continue;
        int64_t n_row = wk_shape_rows(x->shape, rows.batch.n_row, rows.batch.n_out);
        size_t n = (size_t)(n_row * x->shape.cols) * sizeof(float);
        all = realloc(all, *n_bytes + n + 1);
        be->ops->read(l.plan, (wk_val)v, 0, n_row, (float *)(void *)(all + *n_bytes));
        *n_bytes += n;
    }
    lab_free(&l);
    return all;
}

/* However many threads there are, gradients have the same bits: sums over rows too. */
static void test_threads_change_no_bit(void **state) {
    static void (*const makes[])(lab *, made *) = { make_grads, make_row_grads, make_weight_grads, make_lora_grads,
                                                    make_attention_grads, make_losses, make_expert_grads, make_expert_weight_grads,
                                                    make_gain_grads, make_token_lora_grads, make_two_lora_grads,
                                                    make_dropout_grads };
    (void)state;
    for (size_t i = 0; i < sizeof makes / sizeof *makes; i++)
        for (uint64_t seed = 50; seed < 54; seed++) {
            size_t n, n_again;
            uint8_t *one = run_all(makes[i], 1, seed, &n);
            for (int threads = 2; threads <= 4; threads++) {
                uint8_t *again = run_all(makes[i], threads, seed, &n_again);
                assert_int_equal(n, n_again);
                if (memcmp(one, again, n))
                    fail_msg("gradients %zu, seed %llu: other bits with %d threads", i, (unsigned long long)seed, threads);
                free(again);
            }
            free(one);
        }
}

/* Losses and dx of more rows than one thread keeps logits of. */
enum { WIDE_ROWS = 230, WIDE_D = 32, WIDE_VOCAB = 150000 };
static void wide_losses(int n_thread, float *loss, float *dx) {
    lab l;
    lab_rows rows;
    lab_rng r = { 8, 0 };
    int32_t label[LAB_ROWS];
    wk_backend *be = NULL;
    wk_attr a = { 0 };
    wk_val grad;
    assert_int_equal(wk_cpu_new(n_thread, &be), WICK_OK);
    lab_new(&l, be, true, 8);
    wk_val x = lab_input(&l, 1, WIDE_D), W = lab_matrix(&l, WK_Q8_0, 1, WIDE_VOCAB, WIDE_D),
           y = LAB_OP(&l, WK_OP_CROSS_ENTROPY, &a, x, W);
    assert_int_equal(wk_graph_backward(l.g, y, seed_for(&l, y), &x, 1, &grad), WICK_OK);
    wk_graph_keep(l.g, y);
    wk_graph_keep(l.g, grad);
    lab_plan(&l, WIDE_ROWS);
    lab_rows_new(&rows, &r, 1);
    for (int i = 0; i < WIDE_ROWS; i++) {
        lab_rows_add(&rows, 0, 0);
        label[i] = i % 7 ? i * 7919 % WIDE_VOCAB : WK_NO_LABEL;
    }
    rows.batch.label = label;
    lab_fill(&l, r, WIDE_ROWS);
    if (be->ops->run(l.plan, &rows.batch, NULL)) fail_msg("%s", wick_last_error());
    be->ops->read(l.plan, y, 0, WIDE_ROWS, loss);
    be->ops->read(l.plan, grad, 0, WIDE_ROWS, dx);
    lab_free(&l);
}

/* One thread takes them in turns, three do so at once. */
static void test_losses_in_turns(void **state) {
    static float loss[2][WIDE_ROWS], dx[2][WIDE_ROWS * WIDE_D];
    (void)state;
    for (int k = 0; k < 2; k++) wide_losses(k ? 3 : 1, loss[k], dx[k]);
    assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
    assert_memory_equal(dx[0], dx[1], sizeof dx[0]);
    assert_true(loss[0][0] == 0 && loss[0][1] > 5 && dx[0][WIDE_D] != 0);
}

/* An adapter that is trained gives the bits that it will give when served. */
static void trained_as_served(wk_dtype type) {
    enum { T = 40, N_IN = 160, N_OUT = 200, RANK = 12 };
    lab l;
    wk_backend *be = NULL;
    int32_t adapter[T] = { 0 };
    float y[2][T * N_OUT];
    wk_attr train = { .scale = 1.5f, .dropout = 0.5f };
    assert_int_equal(wk_cpu_new(2, &be), WICK_OK);
    lab_new(&l, be, true, 9);
    wk_val x = lab_input(&l, 1, N_IN), W = lab_matrix(&l, WK_Q4_0, 1, N_OUT, N_IN);
    wk_weight *a = lab_weight(&l, type, 1, RANK, N_IN), *b = lab_weight(&l, type, 1, N_OUT, RANK);
    wk_val base[2] = { LAB_OP(&l, WK_OP_LINEAR, NULL, x, W), LAB_OP(&l, WK_OP_LINEAR, NULL, x, W) };
    wk_val of[2] = { LAB_OP(&l, WK_OP_LORA, NULL, base[0], x),
                     LAB_OP(&l, WK_OP_LORA, &train, base[1], x, wk_graph_param(l.g, a, "A"), wk_graph_param(l.g, b, "B")) };
    for (int i = 0; i < 2; i++) wk_graph_keep(l.g, of[i]);
    lab_plan(&l, T);
    lab_fill(&l, (lab_rng){ 4, 0 }, T);
    wk_lora_term term = { .a = a, .b = b, .scale = 1.5f };
    wk_lora_set set = { .slot = &term, .n_slot = 1, .scale = 1 };
    wk_batch batch = { .n_row = T, .adapter = adapter, .adapters = (const wk_lora_set *[]){ &set }, .n_adapter = 1 };
    assert_int_equal(be->ops->run(l.plan, &batch, NULL), WICK_OK);
    for (int i = 0; i < 2; i++) be->ops->read(l.plan, of[i], 0, T, y[i]);
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    batch.drop = true;  /* and dropping does drop */
    assert_int_equal(be->ops->run(l.plan, &batch, NULL), WICK_OK);
    be->ops->read(l.plan, of[1], 0, T, y[1]);
    assert_memory_not_equal(y[0], y[1], sizeof y[0]);
    lab_free(&l);
}
static void test_trained_as_served(void **state) {
    (void)state;
    for (int k = 0; sets_use(k); k++) {
        trained_as_served(WK_F32);
        trained_as_served(WK_BF16);
    }
}

/* What the gradients need of a batch is held against what there is; only weights of float32 and bfloat16 are written over. */
static void test_training_refusals(void **state) {
    lab l;
    wk_backend *be = NULL;
    int32_t pos[2] = { 0, 2 }, seq[2] = { 0, 0 }, page[1] = { 0 }, label[2] = { 1, 4 };
    wk_batch b = { .n_row = 2, .pos = pos, .seq = seq, .page = page, .max_page = 1, .n_seq = 1, .label = label };
    (void)state;
    assert_int_equal(wk_cpu_new(1, &be), WICK_OK);
    lab_new(&l, be, true, 1);
    wk_attr a = { .head_dim = 8, .n_head = 2, .n_head_kv = 1, .scale = 1, .causal = true };
    wk_val q = lab_input(&l, 1, 16), W = lab_matrix(&l, WK_F32, 1, 5, 16);
    wk_val y = LAB_OP(&l, WK_OP_ATTENTION, &a, q, lab_input(&l, 1, 8), lab_input(&l, 1, 8));
    BACK(&l, LAB_OP(&l, WK_OP_CROSS_ENTROPY, NULL, y, W), q);
    lab_plan(&l, 2);
    lab_kv(&l, 1, 1, 8, 1, WK_F32);
    lab_fill(&l, (lab_rng){ 4, 0 }, 2);
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_E_ARG);
    assert_non_null(strstr(wick_last_error(), "gaps"));
    pos[1] = 1;
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_OK);
    label[1] = 5;
    assert_int_equal(be->ops->run(l.plan, &b, l.kv), WICK_E_ARG);
    assert_non_null(strstr(wick_last_error(), "label 5"));
    float row[32] = { 7 };
    wk_weight *q8 = lab_weight(&l, WK_Q8_0, 1, 3, 32), *f32 = lab_weight(&l, WK_F32, 2, 3, 32);
    assert_int_equal(be->ops->weight_write(be, q8, 0, 1, row), WICK_E_UNSUPPORTED);
    assert_int_equal(be->ops->weight_write(be, f32, 2, 1, row), WICK_OK);
    be->ops->weight_row(be, f32, 2, row + 0);
    assert_true(row[0] == 7.0f && row[1] == 0.0f);
    wk_weight *bf16 = lab_weight(&l, WK_BF16, 1, 3, 31);
    row[30] = 1 + 3.0f / 512;  /* half way between two: to the even one */
    assert_int_equal(be->ops->weight_write(be, bf16, 2, 1, row), WICK_OK);
    be->ops->weight_row(be, bf16, 2, row);
    assert_true(row[0] == 7.0f && row[1] == 0.0f && row[30] == 1 + 2.0f / 256);
    lab_free(&l);
}

/* Numbers so small that their codes' scale has no inverse are rounded to zeros, not to what is no number. */
static void test_tiny_numbers(void **state) {
    static const double sizes[] = { 0, 1e-45, 1e-40, 3e-37, 9e-37 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int kv = 0; kv < 2; kv++) {
            double x[32];
            for (int j = 0; j < 32; j++) x[j] = sizes[i] * (j - 16) / 16;
            if (kv) wk_round_kv(x, 32, WK_Q8_0);
            else wk_round_act(x, 32);
            for (int j = 0; j < 32; j++) assert_true(x[j] == 0);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),    cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_linear),   cmocka_unit_test(test_lora),
        cmocka_unit_test(test_thin),
        cmocka_unit_test(test_rope),     cmocka_unit_test(test_attention), cmocka_unit_test(test_unseen),
        cmocka_unit_test(test_glu),      cmocka_unit_test(test_add),
        cmocka_unit_test(test_softcap),  cmocka_unit_test(test_select_rows),
        cmocka_unit_test(test_experts),  cmocka_unit_test(test_grads),
        cmocka_unit_test(test_row_grads), cmocka_unit_test(test_weight_grads), cmocka_unit_test(test_lora_grads),
        cmocka_unit_test(test_attention_grads), cmocka_unit_test(test_long_attention_grads), cmocka_unit_test(test_sums),
        cmocka_unit_test(test_losses), cmocka_unit_test(test_expert_grads),
        cmocka_unit_test(test_gain_grads), cmocka_unit_test(test_token_lora_grads), cmocka_unit_test(test_two_lora_grads),
        cmocka_unit_test(test_dropout_grads),
        cmocka_unit_test(test_expert_weight_grads),
        cmocka_unit_test(test_threads_change_no_bit), cmocka_unit_test(test_losses_in_turns),
        cmocka_unit_test(test_trained_as_served),
        cmocka_unit_test(test_training_refusals),
        cmocka_unit_test(test_tiny_numbers), cmocka_unit_test(test_refusals), cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
