/* test_cpu_plan.c: how often threads meet in the CPU backend's plans: each time costs microseconds, of each layer of each token.
 * That what is left is enough is for test_same_bits to say, and for the thread sanitizer (`make check PART=tsan`). */
#include "backend/cpu/plan.h"
#include "graph/op.h"
#include "support/lab.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { D = 128, FF = 192, HD = 64, VOCAB = 40, THREADS = 2, MAX_T = 20 };

static wk_val linear(lab *l, wk_val x, int rows, int cols) {
    return LAB_OP(l, WK_OP_LINEAR, NULL, x, lab_matrix(l, WK_Q8_0, 1, rows, cols));
}

/* The last one is of wanted rows, but for its keys and values. */
static wk_val layer(lab *l, wk_val x, int i, bool last, int n_head, int n_head_kv, wk_val freq) {
    wk_attr norm = { .eps = 1e-5f }, rope = { .rot_dim = HD, .mscale = 1, .n_head = n_head }, act = { .act = WK_ACT_SILU };
    wk_attr a = { .layer = i, .n_head = n_head, .n_head_kv = n_head_kv, .head_dim = HD, .scale = 0.2f, .causal = true };
    wk_val w = lab_vector(l, D, 1), on = last ? LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x) : x;
    wk_val all = LAB_OP(l, WK_OP_RMS_NORM, &norm, x, w), h = last ? LAB_OP(l, WK_OP_RMS_NORM, &norm, on, w) : all;
    wk_val q = linear(l, h, n_head * HD, D), k = linear(l, all, n_head_kv * HD, D), v = linear(l, all, n_head_kv * HD, D);
    q = LAB_OP(l, WK_OP_ROPE, &rope, q, freq);
    rope.n_head = n_head_kv;
    k = LAB_OP(l, WK_OP_ROPE, &rope, k, freq);
    x = LAB_OP(l, WK_OP_ADD, NULL, on, linear(l, LAB_OP(l, WK_OP_ATTENTION, &a, q, k, v), D, n_head * HD));
    h = LAB_OP(l, WK_OP_RMS_NORM, &norm, x, lab_vector(l, D, 1));
    wk_val gate = linear(l, h, FF, D), up = linear(l, h, FF, D);
    return LAB_OP(l, WK_OP_ADD, NULL, x, linear(l, LAB_OP(l, WK_OP_GLU, &act, gate, up), D, FF));
}

static int meetings(unsigned mode, int n_layer, bool last, int n_head, int n_head_kv) {
    wk_attr embed = { .scale = 1 };
    wk_backend *be = NULL;
    lab l;
    int n = 0;
    assert_int_equal(wk_cpu_new(THREADS, &be), WICK_OK);
    lab_new(&l, be, false, 1);
    wk_val freq = lab_vector(&l, HD / 2, 0.3f), x = LAB_OP(&l, WK_OP_EMBED, &embed, lab_matrix(&l, WK_Q8_0, 1, VOCAB, D));
    for (int i = 0; i < n_layer; i++) x = layer(&l, x, i, last && i + 1 == n_layer, n_head, n_head_kv, freq);
    wk_graph_keep(l.g, x);
    lab_plan(&l, MAX_T);
    const wk_cpu_plan *p = (const wk_cpu_plan *)l.plan;
    for (size_t i = 0; i < p->n_step; i++) n += (int)(p->step[i].wait >> mode & 1);
    lab_free(&l);
    return n;
}

/* The second layer's and the third's, the first having to do with what lies before it too. */
static int meetings_a_layer(unsigned mode, int n_head, int n_head_kv) {
    int two = meetings(mode, 3, false, n_head, n_head_kv) - meetings(mode, 1, false, n_head, n_head_kv);
    assert_int_equal(two % 2, 0);
    return two / 2;
}

/* Experts sort what they made of the wanted rows, which may be all there are: there is room for so many. */
static void test_wanted_of_experts(void **state) {
    enum { N_EXPERT = 4, USED = 2 };
    wk_attr a = { .n_used = USED };
    wk_backend *be = NULL;
    lab l;
    (void)state;
    assert_int_equal(wk_cpu_new(THREADS, &be), WICK_OK);
    lab_new(&l, be, false, 1);
    wk_val x = LAB_OP(&l, WK_OP_SELECT_ROWS, NULL, lab_input(&l, 1, D));
    wk_val ids = LAB_OP(&l, WK_OP_ROUTE, &a, linear(&l, x, N_EXPERT, D));
    wk_graph_keep(l.g, LAB_OP(&l, WK_OP_EXPERT_LINEAR, NULL, x, lab_matrix(&l, WK_F32, N_EXPERT, FF, D), ids));
    lab_plan(&l, MAX_T);
    const wk_cpu_plan *p = (const wk_cpu_plan *)l.plan;
    assert_true(p->slot[p->step[p->n_step - 1].slot2].n_bytes >= USED * MAX_T * FF * sizeof(float));
    lab_free(&l);
}

/* Before norms, which read all of the residual, and before what attention and glu made is rounded. */
static void test_one_row(void **state) {
    (void)state;
    assert_int_equal(meetings_a_layer(WK_MODE_FEW | WK_MODE_ONE, 4, 2), 4);
    assert_int_equal(meetings_a_layer(WK_MODE_FEW | WK_MODE_ONE, 8, 8), 4);
}

/* Threads select their columns and norm for themselves what was selected. They meet once more, as nobody reads all of x behind the
 * norm of keys and values, and something else lies there then. */
static void test_last_layer(void **state) {
    const unsigned one = WK_MODE_FEW | WK_MODE_ONE;
    (void)state;
    assert_int_equal(meetings(one, 2, true, 4, 2), meetings(one, 2, false, 4, 2) + 1);
}

/* Three KV heads are no two halves: threads also meet before rope, whose heads are not their columns, and before attention. */
static void test_uneven_heads(void **state) {
    (void)state;
    assert_int_equal(meetings_a_layer(WK_MODE_FEW | WK_MODE_ONE, 9, 3), 6);
}

/* Rows are divided for norms and rounding, columns for products. */
static void test_rows(void **state) {
    (void)state;
    assert_int_equal(meetings_a_layer(WK_MODE_FEW, 4, 2), 10);
    assert_int_equal(meetings_a_layer(0, 4, 2), 10);
}

/* Gate, up and glu of one x, perhaps with adapters that are trained. */
static int meetings_of_glu(bool trained) {
    enum { RANK = 8 };
    wk_attr act = { .act = WK_ACT_SILU }, a = { .scale = 1 };
    wk_backend *be = NULL;
    wk_val y[2];
    lab l;
    int n = 0;
    assert_int_equal(wk_cpu_new(THREADS, &be), WICK_OK);
    lab_new(&l, be, trained, 1);
    wk_val x = lab_input(&l, 1, D);
    for (int i = 0; i < 2; i++) {
        y[i] = linear(&l, x, FF, D);
        if (trained)
            y[i] = LAB_OP(&l, WK_OP_LORA, &a, y[i], x, lab_matrix(&l, WK_F32, 1, RANK, D), lab_matrix(&l, WK_F32, 1, FF, RANK));
    }
    wk_graph_keep(l.g, LAB_OP(&l, WK_OP_GLU, &act, y[0], y[1]));
    lab_plan(&l, MAX_T);
    const wk_cpu_plan *p = (const wk_cpu_plan *)l.plan;
    for (size_t i = 0; i < p->n_step; i++) n += (int)(p->step[i].wait & 1);
    lab_free(&l);
    return n;
}

/* What their B take is made with x, so that products, adapters and glu stay one group. */
static void test_trained(void **state) {
    (void)state;
    assert_int_equal(meetings_of_glu(true), meetings_of_glu(false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted_of_experts), cmocka_unit_test(test_one_row),
        cmocka_unit_test(test_last_layer), cmocka_unit_test(test_uneven_heads),
        cmocka_unit_test(test_rows), cmocka_unit_test(test_trained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
