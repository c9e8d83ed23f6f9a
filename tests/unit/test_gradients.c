/* test_gradients.c: the op entry's gradient seam. Backward graphs of every op with a gradient against finite differences
 * on the reference backend with rounding off; and the CPU backend's gradients of norms and products against the reference's
 * (test_cpu_ops.c does so for all ops, at random shapes). */
#include "backend/backend.h"
#include "base/cpu.h"
#include "graph/op.h"
#include "support/lab.h"
#include "support/sets.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { T = 3, D = 64, O = 48 };

/* A small counter-based generator: the same numbers everywhere. */
static float noise(uint32_t i) {
    uint64_t z = ((uint64_t)i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (float)((double)((z ^ (z >> 31)) >> 11) / 4503599627370496.0 - 1.0);
}

/* loss = sum over the output of seed * linear(rms_norm(x, w), W). */
typedef struct net {
    wk_backend *be;
    wk_weight *norm, *matrix;
    wk_graph *g;
    wk_plan *plan;
    wk_val x, y, seed, grad[3];
    float in[T * D], out_seed[T * O];
} net;

static wk_weight *weight(wk_backend *be, wk_dtype type, int64_t rows, int64_t cols, bool vector, const float *values) {
    size_t row = 0;
    assert_true(wk_row_bytes(type, cols, &row));
    uint8_t *raw = calloc((size_t)rows, row);
    for (int64_t r = 0; r < rows; r++) wk_dtypes[type].encode(values + r * cols, raw + (size_t)r * row, cols);
    wk_tensor t = { WK_STR("w"),          type, vector ? 1 : 2, { vector ? cols : rows, vector ? 1 : cols, 1, 1 }, raw,
                    (uint64_t)rows * row, NULL };
    wk_weight_source s = { .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1, .vector = vector };
    wk_weight *w = NULL;
    assert_int_equal(be->ops->weight_new(be, &s, &w), WICK_OK);
    free(raw);
    return w;
}

static void net_new(net *n, wk_backend *be, wk_dtype type, const float *norm, const float *matrix) {
    memset(n, 0, sizeof *n);
    n->be = be;
    n->norm = weight(be, WK_F32, 1, D, true, norm);
    n->matrix = weight(be, type, O, D, false, matrix);
    assert_int_equal(wk_graph_new(true, &n->g), WICK_OK);
    n->x = wk_graph_input(n->g, (wk_shape){ WK_ROWS_T, 1, D, false }, "x");
    n->seed = wk_graph_input(n->g, (wk_shape){ WK_ROWS_T, 1, O, false }, "seed");
    wk_val w = wk_graph_param(n->g, n->norm, "norm"), m = wk_graph_param(n->g, n->matrix, "matrix");
    wk_attr a = { .eps = 1e-5f };
    wk_val h = wk_graph_op(n->g, WK_OP_RMS_NORM, (wk_val[]){ n->x, w }, 2, &a, "norm");
    h = wk_graph_op(n->g, WK_OP_ADD, (wk_val[]){ h, n->x }, 2, NULL, "add");  /* x is used twice: its gradients add up */
    n->y = wk_graph_op(n->g, WK_OP_LINEAR, (wk_val[]){ h, m }, 2, NULL, "linear");
    wk_graph_keep(n->g, n->y);
    assert_int_equal(wk_graph_backward(n->g, n->y, n->seed, (wk_val[]){ n->x, w, m }, type == WK_F32 ? 3 : 2, n->grad), WICK_OK);
    assert_int_equal(be->ops->plan_new(be, n->g, T, &n->plan), WICK_OK);
    for (int i = 0; i < T * D; i++) n->in[i] = noise((uint32_t)i);
    for (int i = 0; i < T * O; i++) n->out_seed[i] = noise(5000u + (uint32_t)i);
}

static void net_free(net *n) {
    n->be->ops->plan_free(n->plan);
    wk_graph_free(n->g);
    n->be->ops->weight_free(n->be, n->norm);
    n->be->ops->weight_free(n->be, n->matrix);
}

static double run(net *n) {
    float y[T * O];
    wk_batch b = { .n_row = T };
    double loss = 0;
    n->be->ops->write(n->plan, n->x, 0, T, n->in);
    n->be->ops->write(n->plan, n->seed, 0, T, n->out_seed);
    assert_int_equal(n->be->ops->run(n->plan, &b, NULL), WICK_OK);
    n->be->ops->read(n->plan, n->y, 0, T, y);
    for (int i = 0; i < T * O; i++) loss += (double)y[i] * (double)n->out_seed[i];
    return loss;
}

static void near(double want, double got, double scale, const char *what, int i) {
    if (fabs(want - got) > 2e-4 * scale) fail_msg("%s[%d]: %g by differences, %g by the gradient", what, i, want, got);
}

static void differences(wk_dtype type) {
    float norm[D], *matrix = calloc(O * D, sizeof *matrix), dx[T * D], dw[D], *dm = calloc(O * D, sizeof *dm);
    const float h = 1.0f / 256;
    wk_backend *be;
    net n;
    for (int i = 0; i < D; i++) norm[i] = 1 + 0.3f * noise(9000u + (uint32_t)i);
    for (int i = 0; i < O * D; i++) matrix[i] = 0.5f * noise(20000u + (uint32_t)i);
    assert_int_equal(wk_reference_new(false, &be), WICK_OK);
    net_new(&n, be, type, norm, matrix);
    run(&n);
    be->ops->read(n.plan, n.grad[0], 0, T, dx);
    be->ops->read(n.plan, n.grad[1], 0, 1, dw);
    if (type == WK_F32) be->ops->read(n.plan, n.grad[2], 0, O, dm);
    for (int i = 0; i < T * D; i += 5) {
        float was = n.in[i];
        n.in[i] = was + h;
        double up = run(&n);
        n.in[i] = was - h;
        double down = run(&n);
        n.in[i] = was;
        near((up - down) / (2 * (double)h), (double)dx[i], 4, "dx", i);
    }
    net_free(&n);
    for (int i = 0; i < D; i += 7) {  /* parameters: a net made anew with one element moved */
        double loss[2];
        for (int s = 0; s < 2; s++) {
            float was = norm[i];
            norm[i] += s ? -h : h;
            net_new(&n, be, type, norm, matrix);
            loss[s] = run(&n);
            net_free(&n);
            norm[i] = was;
        }
        near((loss[0] - loss[1]) / (2 * (double)h), (double)dw[i], 4, "dw", i);
    }
    for (int i = 0; type == WK_F32 && i < O * D; i += 211) {
        double loss[2];
        for (int s = 0; s < 2; s++) {
            float was = matrix[i];
            matrix[i] += s ? -h : h;
            net_new(&n, be, type, norm, matrix);
            loss[s] = run(&n);
            net_free(&n);
            matrix[i] = was;
        }
        near((loss[0] - loss[1]) / (2 * (double)h), (double)dm[i], 4, "dW", i);
    }
    be->ops->free(be);
    free(matrix);
    free(dm);
}

static void differences_f32(void **state) { (void)state; differences(WK_F32); }
static void differences_q4_0(void **state) { (void)state; differences(WK_Q4_0); }
static void differences_q8_0(void **state) { (void)state; differences(WK_Q8_0); }

/* The CPU backend gives the reference's gradients, from packed weights too. */
static void check_cpu_gradients(void) {
    const wk_dtype types[] = { WK_F32, WK_F16, WK_BF16, WK_Q4_0, WK_Q4_1, WK_Q8_0 };
    float norm[D], *matrix = calloc(O * D, sizeof *matrix);
    for (int i = 0; i < D; i++) norm[i] = 1 + 0.3f * noise(9000u + (uint32_t)i);
    for (int i = 0; i < O * D; i++) matrix[i] = 0.5f * noise(20000u + (uint32_t)i);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        float dx[2][T * D], dw[2][D], *dm[2] = { calloc(O * D, sizeof(float)), calloc(O * D, sizeof(float)) };
        for (int s = 0; s < 2; s++) {
            wk_backend *be;
            net n;
            assert_int_equal(s ? wk_cpu_new(2, &be) : wk_reference_new(true, &be), WICK_OK);
            net_new(&n, be, types[k], norm, matrix);
            run(&n);
            be->ops->read(n.plan, n.grad[0], 0, T, dx[s]);
            be->ops->read(n.plan, n.grad[1], 0, 1, dw[s]);
            if (types[k] == WK_F32) be->ops->read(n.plan, n.grad[2], 0, O, dm[s]);
            net_free(&n);
            be->ops->free(be);
        }
        bool rounds = wk_dtypes[types[k]].quantised || types[k] == WK_BF16;
        float tol = rounds ? 2e-2f : 2e-5f;  /* gradients are rounded for such weights */
        for (int i = 0; i < T * D; i++)
            if (!(fabsf(dx[0][i] - dx[1][i]) <= tol * 8))
                fail_msg("%s dx[%d]: %g, reference %g", wk_dtypes[types[k]].name, i, (double)dx[1][i], (double)dx[0][i]);
        for (int i = 0; i < D; i++)
            if (!(fabsf(dw[0][i] - dw[1][i]) <= tol * 8))
                fail_msg("%s dw[%d]: %g, reference %g", wk_dtypes[types[k]].name, i, (double)dw[1][i], (double)dw[0][i]);
        for (int i = 0; i < O * D; i++)
            if (fabsf(dm[0][i] - dm[1][i]) > 2e-5f * 8) fail_msg("dW[%d]: %g, reference %g", i, (double)dm[1][i], (double)dm[0][i]);
        free(dm[0]);
        free(dm[1]);
    }
    free(matrix);
}
static void cpu_gradients(void **state) {
    (void)state;
    for (int i = 0; sets_use(i); i++) check_cpu_gradients();
}

/* What nothing asked for costs no node; what has no gradient is named. */
static void costs_nothing(void **state) {
    (void)state;
    wk_backend *be;
    float w[D];
    for (int i = 0; i < D; i++) w[i] = 1;
    assert_int_equal(wk_reference_new(false, &be), WICK_OK);
    wk_weight *norm = weight(be, WK_F32, 1, D, true, w);
    wk_graph *g;
    assert_int_equal(wk_graph_new(true, &g), WICK_OK);
    wk_val x = wk_graph_input(g, (wk_shape){ WK_ROWS_T, 1, D, false }, "x"),
           z = wk_graph_input(g, (wk_shape){ WK_ROWS_T, 1, D, false }, "z");
    wk_val seed = wk_graph_input(g, (wk_shape){ WK_ROWS_T, 1, D, false }, "seed"), grad;
    wk_val y = wk_graph_op(g, WK_OP_RMS_NORM, (wk_val[]){ x, wk_graph_param(g, norm, "w") }, 2, &(wk_attr){ .eps = 1e-5f }, "y");
    size_t before = g->n_node;
    assert_int_equal(wk_graph_backward(g, y, seed, &z, 1, &grad), WICK_OK);
    assert_int_equal(grad, WK_NO_VAL);
    assert_int_equal(g->n_node, before);
    wk_val lora = wk_graph_op(g, WK_OP_LORA, (wk_val[]){ y, x }, 2, NULL, "lora");
    assert_int_equal(wk_graph_backward(g, lora, seed, &x, 1, &grad), WICK_E_UNSUPPORTED);
    assert_non_null(strstr(wick_last_error(), "lora"));
    wk_graph_free(g);
    be->ops->weight_free(be, norm);
    be->ops->free(be);
}

/* ---- every op: d loss / d of[i], loss = sum of seed * y, by differences of inputs' and weights' elements ---- */
enum { MAX_OF = 8, ROWS = 11 };
typedef struct made {
    wk_val y, of[MAX_OF];
    int n_of, kv_heads, head_dim, vocab;
    bool drop, sinks, wanted;
} made;
typedef struct trial {
    lab l;
    made m;
    wk_val grad[MAX_OF];
    lab_rows rows;
    wk_batch batch;
    int32_t label[LAB_ROWS];
    float *in[LAB_INPUTS], *seed;   /* values of the inputs, the seed being the last */
} trial;

static wk_val of(made *m, wk_val v) { return m->of[m->n_of++] = v; }

static void make_lora(lab *l, made *m) {
    wk_attr a = { .scale = 1.5f, .slot = 3, .dropout = m->drop ? 0.3f : 0 };
    wk_val base = lab_input(l, 1, 20), x = lab_input(l, 1, 24);
    wk_val A = lab_matrix(l, WK_F32, 1, 4, 24), B = lab_matrix(l, WK_F32, 1, 20, 4);
    m->y = LAB_OP(l, WK_OP_LORA, &a, of(m, base), of(m, x), of(m, A), of(m, B));
}
static void make_token_lora(lab *l, made *m) {
    wk_attr a = { .scale = 1.5f, .slot = 3, .dropout = 0.3f };
    m->drop = true;  /* which leaves tokens alone */
    m->vocab = 5;
    wk_val A = lab_matrix(l, WK_F32, 1, 5, 4), B = lab_matrix(l, WK_F32, 1, 20, 4);
    m->y = LAB_OP(l, WK_OP_LORA, &a, of(m, lab_input(l, 1, 20)), WK_NO_VAL, of(m, A), of(m, B));
}
static void make_dropout(lab *l, made *m) {
    m->drop = true;
    m->y = LAB_OP(l, WK_OP_DROPOUT, &((wk_attr){ .slot = 2, .dropout = 0.4f }), of(m, lab_input(l, 1, 20)));
}
static void make_dropped(lab *l, made *m) {
    m->drop = true;
    make_lora(l, m);
}
static void make_rope(lab *l, made *m) {
    wk_attr a = { .n_head = 2, .rot_dim = 8, .mscale = 1.25f };
    m->y = LAB_OP(l, WK_OP_ROPE, &a, of(m, lab_input(l, 1, 24)), lab_vector(l, 4, 0));
}
static void make_rope_of_wanted(lab *l, made *m) {
    wk_attr a = { .n_head = 2, .rot_dim = 8, .mscale = 1.25f };
    m->y = LAB_OP(l, WK_OP_ROPE, &a, LAB_OP(l, WK_OP_SELECT_ROWS, NULL, of(m, lab_input(l, 1, 24))), lab_vector(l, 4, 0));
}
static void glu(lab *l, made *m, wk_act act) {
    m->y = LAB_OP(l, WK_OP_GLU, &(wk_attr){ .act = act }, of(m, lab_input(l, 1, 20)), of(m, lab_input(l, 1, 20)));
}
static void make_silu(lab *l, made *m) { glu(l, m, WK_ACT_SILU); }
static void make_gelu(lab *l, made *m) { glu(l, m, WK_ACT_GELU); }
static void make_gelu_tanh(lab *l, made *m) { glu(l, m, WK_ACT_GELU_TANH); }
static void make_clipped(lab *l, made *m) { glu(l, m, WK_ACT_SWIGLU_CLIPPED); }
static void make_add(lab *l, made *m) {
    wk_val x = of(m, lab_input(l, 1, 9));
    m->y = LAB_OP(l, WK_OP_ADD, NULL, LAB_OP(l, WK_OP_ADD, NULL, x, of(m, lab_input(l, 1, 9))), x);
}
static void make_softcap(lab *l, made *m) {
    m->y = LAB_OP(l, WK_OP_SOFTCAP, &(wk_attr){ .cap = 0.7f }, of(m, lab_input(l, 1, 20)));
}
static void make_select(lab *l, made *m) { m->y = LAB_OP(l, WK_OP_SELECT_ROWS, NULL, of(m, lab_input(l, 1, 20))); }
static void make_embed(lab *l, made *m) {
    m->vocab = 5;
    m->y = LAB_OP(l, WK_OP_EMBED, &(wk_attr){ .scale = 3 }, of(m, lab_matrix(l, WK_F32, 1, 5, 12)));
}
static void make_norms(lab *l, made *m) {
    wk_val x = of(m, lab_input(l, 1, 24)), w = of(m, lab_vector(l, 8, 1)), v = of(m, lab_vector(l, 24, 1));
    wk_val h = LAB_OP(l, WK_OP_RMS_NORM, &((wk_attr){ .eps = 1e-5f, .group = 8 }), x, w);
    m->y = LAB_OP(l, WK_OP_RMS_NORM, &(wk_attr){ .eps = 1e-5f }, h, v);
}
static void make_bias(lab *l, made *m) {
    wk_val x = of(m, lab_input(l, 1, 12)), w = of(m, lab_matrix(l, WK_F32, 1, 9, 12));
    m->y = LAB_OP(l, WK_OP_LINEAR, NULL, x, w, of(m, lab_vector(l, 9, 0)));
}
static void make_gain(lab *l, made *m) {
    wk_val x = of(m, lab_input(l, 1, 12)), w = of(m, lab_vector(l, 12, 1));
    m->y = LAB_OP(l, WK_OP_GAIN, NULL, x, w, of(m, lab_vector(l, 12, 0)));
}
static void attention(lab *l, made *m, wk_attr a) {
    a.n_head = 4, a.n_head_kv = m->kv_heads = 2, a.head_dim = m->head_dim = 6, a.scale = 0.4f, a.layer = 1;
    wk_val q = of(m, lab_input(l, 1, 24)), k = of(m, lab_input(l, 1, 12)), v = of(m, lab_input(l, 1, 12));
    if (m->wanted) q = LAB_OP(l, WK_OP_SELECT_ROWS, NULL, q);
    m->y = LAB_OP(l, WK_OP_ATTENTION, &a, q, k, v, m->sinks ? of(m, lab_vector(l, 4, 0)) : WK_NO_VAL);
}
static void make_sinks(lab *l, made *m) {
    m->sinks = true;
    attention(l, m, (wk_attr){ .causal = true, .window = 3 });
}
static void make_wanted(lab *l, made *m) {
    m->wanted = m->sinks = true;
    attention(l, m, (wk_attr){ .causal = true, .window = 3 });
}
static void make_wanted_both_ways(lab *l, made *m) {
    m->wanted = true;
    attention(l, m, (wk_attr){ 0 });
}
static void make_causal(lab *l, made *m) { attention(l, m, (wk_attr){ .causal = true }); }
static void make_window(lab *l, made *m) { attention(l, m, (wk_attr){ .causal = true, .window = 3 }); }
static void make_capped(lab *l, made *m) { attention(l, m, (wk_attr){ .causal = true, .cap = 1.5f }); }
static void make_both_ways(lab *l, made *m) { attention(l, m, (wk_attr){ 0 }); }
/* Norm, a product, and the head on the wanted rows; some of which are masked. */
static void loss(lab *l, made *m, wk_dtype type, wk_attr a) {
    wk_val x = of(m, lab_input(l, 1, 32)), w = lab_matrix(l, type, 1, 40, 32);
    m->vocab = 40;
    if (type == WK_F32) of(m, w);
    m->y = LAB_OP(l, WK_OP_CROSS_ENTROPY, &a, LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x), w);
}
static void make_loss(lab *l, made *m) { loss(l, m, WK_F32, (wk_attr){ 0 }); }
static void make_smooth_loss(lab *l, made *m) { loss(l, m, WK_F32, (wk_attr){ .smoothing = 0.1f }); }
static void make_capped_loss(lab *l, made *m) { loss(l, m, WK_Q4_1, (wk_attr){ .smoothing = 0.1f, .cap = 2 }); }
/* The head's own adapter. */
static void adapted_loss(lab *l, made *m, wk_dtype type, wk_attr a) {
    a.scale = 1.5f;
    wk_val x = of(m, lab_input(l, 1, 32)), w = lab_matrix(l, type, 1, 40, 32), B = lab_matrix(l, WK_F32, 1, 40, 3);
    wk_val mid = LAB_OP(l, WK_OP_SELECT_ROWS, NULL, of(m, lab_input(l, 1, 3)));
    m->vocab = 40;
    m->y = LAB_OP(l, WK_OP_CROSS_ENTROPY, &a, LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x), w, mid, of(m, B));
    if (type == WK_F32) of(m, w);
}
static void make_adapted_loss(lab *l, made *m) { adapted_loss(l, m, WK_F32, (wk_attr){ .smoothing = 0.1f }); }
static void make_adapted_capped_loss(lab *l, made *m) { adapted_loss(l, m, WK_Q4_1, (wk_attr){ .cap = 2 }); }
static void experts(lab *l, made *m, bool norm) {
    wk_attr a = { .n_used = 2, .norm_topk = norm };
    wk_val x = of(m, lab_input(l, 1, 12)), w = of(m, lab_matrix(l, WK_F32, 4, 10, 12)),
           down = of(m, lab_matrix(l, WK_F32, 4, 12, 10));
    wk_val logits = of(m, lab_input(l, 1, 4)), ids = LAB_OP(l, WK_OP_ROUTE, &a, logits);
    wk_val mid = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, w, ids, of(m, lab_vector(l, 40, 0)));
    wk_val h = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, mid, down, ids);
    m->y = LAB_OP(l, WK_OP_COMBINE, NULL, h, wk_graph_out(l->g, ids, 1), ids);
}
static void make_experts(lab *l, made *m) { experts(l, m, false); }
static void make_normed_experts(lab *l, made *m) { experts(l, m, true); }

/* Two sequences packed into one pass, one row in three not wanted. */
static void batch_new(trial *t) {
    lab_rng r = { 11, 0 };
    lab_rows_new(&t->rows, &r, 2);
    for (int i = 0; i < ROWS; i++) lab_rows_add(&t->rows, i >= 6, lab_pick(&r, 0, t->m.vocab ? t->m.vocab - 1 : 0));
    t->batch = t->rows.batch;
    t->batch.n_out = 0;
    for (int i = 0; i < ROWS; i++) {
        if (i % 3 != 1) t->rows.out[t->batch.n_out++] = i;
        t->label[i] = i % 5 == 2 || !t->m.vocab ? WK_NO_LABEL : lab_pick(&r, 0, t->m.vocab - 1);
    }
    t->batch.label = t->label;
    t->batch.drop = t->m.drop;
    t->batch.drop_seed = 5;
    t->batch.drop_step = 6;
}

static void trial_new(trial *t, void (*make)(lab *, made *)) {
    wk_backend *be;
    memset(t, 0, sizeof *t);
    assert_int_equal(wk_reference_new(false, &be), WICK_OK);
    lab_new(&t->l, be, true, 77);
    make(&t->l, &t->m);
    if (t->l.g->status) fail_msg("%s", wick_last_error());
    wk_val seed = wk_graph_input(t->l.g, t->l.g->value[t->m.y].shape, "seed");
    t->l.input[t->l.n_input++] = seed;
    wk_graph_keep(t->l.g, t->m.y);
    if (wk_graph_backward(t->l.g, t->m.y, seed, t->m.of, t->m.n_of, t->grad)) fail_msg("%s", wick_last_error());
    batch_new(t);
    lab_plan(&t->l, ROWS);
    if (t->m.kv_heads) lab_kv(&t->l, 2, t->m.kv_heads, t->m.head_dim, 2 * LAB_PAGES, WK_F32);
    lab_rng r = { 3, 0 };
    for (int i = 0; i < t->l.n_input; i++) {
        int64_t n = ROWS * t->l.g->value[t->l.input[i]].shape.cols;
        t->in[i] = calloc((size_t)n, sizeof(float));
        for (int64_t j = 0; j < n; j++) t->in[i][j] = lab_noise(&r);
    }
    t->seed = t->in[t->l.n_input - 1];
}

static void trial_free(trial *t) {
    for (int i = 0; i < t->l.n_input; i++) free(t->in[i]);
    lab_free(&t->l);
}

static double trial_loss(trial *t) {
    const wk_backend_ops *ops = t->l.be->ops;
    wk_shape s = t->l.g->value[t->m.y].shape;
    int64_t rows = wk_shape_rows(s, ROWS, t->batch.n_out);
    float *y = calloc((size_t)(rows * s.cols), sizeof *y);
    double sum = 0;
    for (int i = 0; i < t->l.n_input; i++)
        ops->write(t->l.plan, t->l.input[i], 0, wk_shape_rows(t->l.g->value[t->l.input[i]].shape, ROWS, t->batch.n_out), t->in[i]);
    if (ops->run(t->l.plan, &t->batch, t->l.kv)) fail_msg("%s", wick_last_error());
    ops->read(t->l.plan, t->m.y, 0, rows, y);
    for (int64_t i = 0; i < rows * s.cols; i++) sum += (double)y[i] * (double)t->seed[i];
    free(y);
    return sum;
}

/* Without fmax(): GCC 12 for aarch64 breaks down over a loop of it that it inlines. */
static double largest(const float *x, int64_t n) {
    double most = 0;
    for (int64_t j = 0; j < n; j++)
        if (fabs((double)x[j]) > most) most = fabs((double)x[j]);
    return most;
}

/* Holds grad[i] against differences: of an input's values, or of a weight's, which are written over. */
static void check_one(trial *t, int i) {
    const wk_backend_ops *ops = t->l.be->ops;
    const wk_value *v = &t->l.g->value[t->m.of[i]];
    int64_t rows = wk_shape_rows(v->shape, ROWS, t->batch.n_out), cols = v->shape.cols, n = rows * cols;
    float *got = calloc((size_t)n, sizeof *got), *x = NULL, *own = NULL;
    const float h = 1.0f / 512;
    double most;
    trial_loss(t);
    if (t->grad[i] < 0) fail_msg("gradient %d is missing", i);
    ops->read(t->l.plan, t->grad[i], 0, rows, got);
    for (int k = 0; k < t->l.n_input && !x; k++) if (t->l.input[k] == t->m.of[i]) x = t->in[k];
    if (!x) {  /* a weight gets values of our own */
        lab_rng r = { 900u + (unsigned)i, 0 };
        x = own = calloc((size_t)n, sizeof *own);
        for (int64_t j = 0; j < n; j++) own[j] = 0.4f * lab_noise(&r) + (v->weight->n_row == 1 ? 1.0f : 0.0f);
        assert_int_equal(ops->weight_write(t->l.be, (wk_weight *)(uintptr_t)v->weight, 0, rows, own), WICK_OK);
        trial_loss(t);
        ops->read(t->l.plan, t->grad[i], 0, rows, got);
    }
    most = largest(got, n);
    assert_true(most > 0);
    for (int64_t j = 0; j < n; j += n > 150 ? 3 : 1) {
        float was = x[j];
        double side[2];
        for (int s = 0; s < 2; s++) {
            x[j] = was + (s ? -h : h);
            if (own) ops->weight_write(t->l.be, (wk_weight *)(uintptr_t)v->weight, 0, rows, own);
            side[s] = trial_loss(t);
        }
        x[j] = was;
        double want = (side[0] - side[1]) / (2 * (double)h);
        if (fabs(want - (double)got[j]) > 5e-4 * fmax(most, 1))
            fail_msg("gradient %d, element %lld: %g by differences, %g by the op (largest %g)", i, (long long)j, want,
                     (double)got[j], most);
    }
    free(got);
    free(own);
}

static void check_op(void (*make)(lab *, made *)) {
    trial t;
    trial_new(&t, make);
    for (int i = 0; i < t.m.n_of; i++) check_one(&t, i);
    trial_free(&t);
}

#define OP_TEST(name) static void op_##name(void **state) { (void)state; check_op(make_##name); }
OP_TEST(lora) OP_TEST(dropped) OP_TEST(rope) OP_TEST(silu) OP_TEST(gelu) OP_TEST(gelu_tanh) OP_TEST(add) OP_TEST(softcap)
OP_TEST(select) OP_TEST(embed) OP_TEST(norms) OP_TEST(bias) OP_TEST(causal) OP_TEST(window) OP_TEST(capped) OP_TEST(both_ways)
OP_TEST(loss) OP_TEST(smooth_loss) OP_TEST(capped_loss) OP_TEST(experts) OP_TEST(normed_experts)
OP_TEST(clipped) OP_TEST(sinks) OP_TEST(gain) OP_TEST(token_lora) OP_TEST(dropout) OP_TEST(adapted_loss)
OP_TEST(adapted_capped_loss) OP_TEST(rope_of_wanted) OP_TEST(wanted) OP_TEST(wanted_both_ways)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_f32), cmocka_unit_test(differences_q4_0), cmocka_unit_test(differences_q8_0),
        cmocka_unit_test(cpu_gradients), cmocka_unit_test(costs_nothing),
        cmocka_unit_test(op_lora), cmocka_unit_test(op_dropped), cmocka_unit_test(op_rope), cmocka_unit_test(op_silu),
        cmocka_unit_test(op_gelu), cmocka_unit_test(op_gelu_tanh), cmocka_unit_test(op_add), cmocka_unit_test(op_softcap),
        cmocka_unit_test(op_select), cmocka_unit_test(op_embed), cmocka_unit_test(op_norms), cmocka_unit_test(op_bias),
        cmocka_unit_test(op_causal), cmocka_unit_test(op_window), cmocka_unit_test(op_capped), cmocka_unit_test(op_both_ways),
        cmocka_unit_test(op_loss), cmocka_unit_test(op_smooth_loss), cmocka_unit_test(op_capped_loss), cmocka_unit_test(op_experts),
        cmocka_unit_test(op_normed_experts), cmocka_unit_test(op_clipped), cmocka_unit_test(op_sinks), cmocka_unit_test(op_gain),
        cmocka_unit_test(op_token_lora), cmocka_unit_test(op_dropout), cmocka_unit_test(op_adapted_loss),
        cmocka_unit_test(op_adapted_capped_loss), cmocka_unit_test(op_rope_of_wanted), cmocka_unit_test(op_wanted),
        cmocka_unit_test(op_wanted_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
