/* test_gradients.c: the op entry's gradient seam. Backward graphs of rms_norm and linear (float32 and packed weights) against
 * finite differences on the reference backend with rounding off; and the CPU backend's gradients against the reference's. */
#include "backend/backend.h"
#include "graph/op.h"
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
        for (int i = 0; i < T * D; i++)
            if (fabsf(dx[0][i] - dx[1][i]) > 2e-5f * 8)
                fail_msg("%s dx[%d]: %g, reference %g", wk_dtypes[types[k]].name, i, (double)dx[1][i], (double)dx[0][i]);
        for (int i = 0; i < D; i++)
            if (fabsf(dw[0][i] - dw[1][i]) > 2e-5f * 8)
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
    wk_val capped = wk_graph_op(g, WK_OP_SOFTCAP, &y, 1, &(wk_attr){ .cap = 30 }, "cap");
    assert_int_equal(wk_graph_backward(g, capped, seed, &x, 1, &grad), WICK_E_UNSUPPORTED);
    assert_non_null(strstr(wick_last_error(), "softcap"));
    wk_graph_free(g);
    be->ops->weight_free(be, norm);
    be->ops->free(be);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_f32), cmocka_unit_test(differences_q4_0), cmocka_unit_test(differences_q8_0),
        cmocka_unit_test(cpu_gradients), cmocka_unit_test(costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
