/* test_same_bits.c: a result depends on the request alone. A small random decoder (two layers, one with a window, one with
 * experts, head norms, capped scores and logits, two ropes that sequences choose from, adapters) runs sequences mixed at
 * random: rows of several in one pass, in any chunks, on any pages, with 1, 2 or 3 threads, other adapters beside. Every row's
 * logits equal, byte for byte, those of the row run alone. Nothing is allocated while it runs. */
#include "base/cpu.h"
#include "graph/op.h"
#include "support/lab.h"
#include "support/sets.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { D = 64, FF = 96, HEADS = 6, KV_HEADS = 2, HD = 32, VOCAB = 50, EXPERTS = 5, RANK = 4, ADAPTERS = 2, MAX_T = 90, LEN = 140,
       N_ROPE = 2 };
enum { MIXTURES = 16, MIXTURES_C = 6 };  /* of each KV type, for each instruction set; plain C is slow */
static const wk_dtype kv_types[] = { WK_F32, WK_F16, WK_Q8_0 };

typedef struct net {
    lab l;
    wk_val logits;
    wk_lora_term term[ADAPTERS][8];
    wk_lora_set set[ADAPTERS];
    const wk_lora_set *sets[ADAPTERS];
    lab_rows rows;
} net;

static wk_val matrix(lab *l, int rows, int cols) {
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_F16, WK_BF16, WK_Q4_0, WK_Q4_1, WK_Q5_0, WK_Q5_1, WK_Q8_0,
                                         WK_IQ4_NL);
    return lab_matrix(l, type, 1, rows, cols);
}

/* W x, with an adapter's term when slot >= 0. */
static wk_val linear(net *n, wk_val x, int rows, int cols, int slot) {
    lab *l = &n->l;
    wk_attr lora = { .slot = slot };
    wk_val w = matrix(l, rows, cols), y = LAB_OP(l, WK_OP_LINEAR, NULL, x, w, lab_vector(l, rows, 0));
    for (int k = 0; slot >= 0 && k < ADAPTERS; k++)
        n->term[k][slot] = (wk_lora_term){ .a = lab_weight(l, WK_F32, 1, RANK, cols), .b = lab_weight(l, WK_F32, 1, rows, RANK),
                                           .scale = 0.7f, .gain = k == 1 ? lab_vector_weight(l, rows, 1) : NULL };
    return slot < 0 ? y : LAB_OP(l, WK_OP_LORA, &lora, y, x);
}

static wk_val attention(net *n, wk_val x, int layer, wk_val freq) {
    lab *l = &n->l;
    wk_attr norm = { .eps = 1e-5f, .group = HD }, rope = { .rot_dim = HD, .mscale = 1 };
    wk_attr a = { .layer = layer,
                  .n_head = HEADS,
                  .n_head_kv = KV_HEADS,
                  .head_dim = HD,
                  .scale = 0.3f,
                  .causal = true,
                  .cap = 2,
                  .window = layer ? 70 : 0 };
    wk_val q = linear(n, x, HEADS * HD, D, layer * 4), k = linear(n, x, KV_HEADS * HD, D, -1),
           v = linear(n, x, KV_HEADS * HD, D, layer * 4 + 1);
    q = LAB_OP(l, WK_OP_RMS_NORM, &norm, q, lab_vector(l, HD, 1));
    rope.n_head = HEADS;
    q = LAB_OP(l, WK_OP_ROPE, &rope, q, freq);
    rope.n_head = KV_HEADS;
    k = LAB_OP(l, WK_OP_ROPE, &rope, k, freq);
    return linear(n, LAB_OP(l, WK_OP_ATTENTION, &a, q, k, v), D, HEADS * HD, layer * 4 + 2);
}

static wk_val dense(net *n, wk_val x) {
    wk_val gate = linear(n, x, FF, D, 3), up = linear(n, x, FF, D, -1);
    wk_attr act = { .act = WK_ACT_SILU };
    return linear(n, LAB_OP(&n->l, WK_OP_GLU, &act, gate, up), D, FF, -1);
}

static wk_val experts(net *n, wk_val x) {
    lab *l = &n->l;
    wk_attr route = { .n_used = 2, .norm_topk = true }, act = { .act = WK_ACT_GELU_TANH };
    wk_val ids = LAB_OP(l, WK_OP_ROUTE, &route, linear(n, x, EXPERTS, D, -1)), weights = wk_graph_out(l->g, ids, 1);
    wk_val gate = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, lab_matrix(l, WK_Q8_0, EXPERTS, FF, D), ids);
    wk_val up = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, lab_matrix(l, WK_Q4_0, EXPERTS, FF, D), ids);
    wk_val h = LAB_OP(l, WK_OP_GLU, &act, gate, up);
    return LAB_OP(l, WK_OP_COMBINE, NULL, LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, h, lab_matrix(l, WK_F16, EXPERTS, D, FF), ids),
                  weights, ids);
}

static void net_new(net *n, int n_thread, int max_rows, wk_dtype kv_type, uint64_t seed, lab_rng *r) {
    wk_backend *be = NULL;
    wk_attr norm = { .eps = 1e-5f }, embed = { .scale = 1.5f }, cap = { .cap = 3 };
    memset(n, 0, sizeof *n);
    assert_int_equal(wk_cpu_new(n_thread, &be), WICK_OK);
    lab *l = &n->l;
    lab_new(l, be, false, seed);
    wk_val freq = lab_vector(l, N_ROPE * HD / 2, 0.3f), e = matrix(l, VOCAB, D);
    wk_val x = LAB_OP(l, WK_OP_EMBED, &embed, e);
    for (int layer = 0; layer < 2; layer++) {
        x = LAB_OP(l, WK_OP_ADD, NULL, x, attention(n, LAB_OP(l, WK_OP_RMS_NORM, &norm, x, lab_vector(l, D, 1)), layer, freq));
        wk_val h = LAB_OP(l, WK_OP_RMS_NORM, &norm, x, lab_vector(l, D, 1));
        x = LAB_OP(l, WK_OP_ADD, NULL, x, layer ? experts(n, h) : dense(n, h));
    }
    x = LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x);
    x = LAB_OP(l, WK_OP_LINEAR, NULL, LAB_OP(l, WK_OP_RMS_NORM, &norm, x, lab_vector(l, D, 1)), e);  /* tied */
    n->logits = LAB_OP(l, WK_OP_SOFTCAP, &cap, x);
    wk_graph_keep(l->g, n->logits);
    lab_plan(l, max_rows);
    lab_kv(l, 2, KV_HEADS, HD, LAB_SEQS * LAB_PAGES, kv_type);
    lab_rows_new(&n->rows, r, LAB_SEQS);
    for (int k = 0; k < ADAPTERS; k++) {
        n->set[k] = (wk_lora_set){ n->term[k], 8, 1.25f, k ? &n->set[k - 1] : NULL };
        n->sets[k] = &n->set[k];
    }
}

/* What sequence s says at position i, and its adapter. */
static int32_t token(int s, int i) { return (int32_t)((uint64_t)(s * 31 + i * 17 + i * i * 3) % VOCAB); }
static int32_t adapter(int s) { return s % 3 - 1; }

static void run(net *n, bool with_adapters) {
    wk_batch b = n->rows.batch;
    if (with_adapters) b.adapter = n->rows.adapter;
    int32_t rope[MAX_T];
    for (int i = 0; i < b.n_row; i++) rope[i] = b.seq[i] % N_ROPE;
    b.rope = rope;
    b.adapters = n->sets;
    b.n_adapter = ADAPTERS;
    uint64_t before = wk_alloc_count();
    if (n->l.be->ops->run(n->l.plan, &b, n->l.kv)) fail_msg("%s", wick_last_error());
    assert_int_equal(wk_alloc_count(), before);
}

static void add_row(net *n, int s) {
    lab_rows_add(&n->rows, s, token(s, n->rows.len[s]));
    n->rows.adapter[n->rows.batch.n_row - 1] = adapter(s);
}

/* Logits of every position of every sequence, each row alone: out [LAB_SEQS][LEN][VOCAB]. */
static void run_alone(wk_dtype kv_type, uint64_t seed, float *out) {
    static net n;
    net_new(&n, 1, 1, kv_type, seed, &(lab_rng){ seed + 1, 0 });
    for (int s = 0; s < LAB_SEQS; s++)
        for (int i = 0; i < LEN; i++) {
            lab_rows_clear(&n.rows);
            add_row(&n, s);
            run(&n, adapter(s) >= 0);
            n.l.be->ops->read(n.l.plan, n.logits, 0, 1, out + (s * LEN + i) * VOCAB);
        }
    lab_free(&n.l);
}

/* Some of the sequences, to some length, in random company. */
static void run_mixed(net *n, lab_rng *r, const float *want, const char *what) {
    int until[LAB_SEQS] = { 0 }, left = 0, turn = 0;
    lab_rows_new(&n->rows, r, LAB_SEQS);
    for (int i = 0; i < 3; i++) until[lab_pick(r, 0, LAB_SEQS - 1)] = lab_one_of(r, 3, 40, 66, 100, LEN);
    for (int s = 0; s < LAB_SEQS; s++) left += until[s];
    while (left > 0) {
        int rows = lab_one_of(r, 1, 2, 5, 17, 64, MAX_T), stay = lab_pick(r, 0, 3), s = lab_pick(r, 0, LAB_SEQS - 1);
        bool any = false;
        lab_rows_clear(&n->rows);
        for (int i = 0; i < rows && left > 0; i++, left--) {
            while (n->rows.len[s] == until[s] || lab_pick(r, 0, 4 * stay * stay * stay) == 0) {
                s = lab_pick(r, 0, LAB_SEQS - 1);
                if (n->rows.len[s] < until[s]) break;
            }
            add_row(n, s);
            any |= adapter(s) >= 0;
        }
        n->rows.batch.n_out = 0;
        for (int i = 0; i < n->rows.batch.n_row; i++) if (lab_pick(r, 0, 4)) n->rows.out[n->rows.batch.n_out++] = i;
        run(n, any || lab_pick(r, 0, 1));
        for (int i = 0; i < n->rows.batch.n_out; i++) {
            int row = n->rows.out[i], at = n->rows.seq[row] * LEN + n->rows.pos[row];
            if (memcmp(want + at * VOCAB, n->l.be->ops->view(n->l.plan, n->logits, i), VOCAB * sizeof(float)))
                fail_msg("%s: pass %d of %d rows: sequence %d, position %d differs from the row alone", what, turn,
                         n->rows.batch.n_row, n->rows.seq[row], n->rows.pos[row]);
        }
        turn++;
    }
}

static void test_same_bits(void **state) {
    static net n;
    float *want = calloc((size_t)LAB_SEQS * LEN * VOCAB, sizeof *want);
    (void)state;
    const char *given = getenv("WICK_TEST_SEED");
    uint64_t first_seed = given ? strtoull(given, NULL, 10) * 1000 : 0;
    for (int k = 0; sets_use(k); k++)
        for (size_t type = 0; type < 3; type++) {
            uint64_t seed = first_seed + 100 * (uint64_t)k + type;
            int n_mixture = sets_cases(k ? MIXTURES : MIXTURES_C);
            lab_rng r = { seed + 7, 0 };
            run_alone(kv_types[type], seed, want);
            for (int i = 0; i < n_mixture; i++) {
                char what[100];
                snprintf(what, sizeof what, "%s, kv %s, mixture %d, %d threads", wk_cpu_name(), wk_dtypes[kv_types[type]].name, i,
                         1 + i % 3);
                if (i < 3) net_new(&n, 1 + i % 3, MAX_T, kv_types[type], seed, &r);
                run_mixed(&n, &r, want, what);
                if (i < 2 || i == n_mixture - 1) lab_free(&n.l);
            }
        }
    free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_bits) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
