/* test_same_bits.c: a result depends on the request alone. A small random decoder (two layers: one sees all, in half of the
 * networks with scores far apart; one, of the wanted rows alone but for its keys and values, has a window, capped scores, sinks and
 * experts; head norms, capped logits, two ropes
 * that sequences choose from, adapters) runs sequences mixed at random: rows of several in one pass, in any chunks, on any
 * pages, with 1, 2 or 3 threads, other adapters beside, on keys and values that are kept from earlier mixtures or computed
 * again. Every row's logits equal, byte for byte, those of the row run alone. Nothing is allocated while it runs.
 * The usual, short form mixes all weight types in each network. WICK_MIXTURES=N is the long form: N mixtures of every weight type
 * by itself on every instruction set, shared out among KV types and thread counts. */
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

/* Rows of D take K types (256), and are two parts for an adapter's A; those of HEADS * HD and FF do not, as in many a real
 * model. */
enum { D = 512, FF = 32, HEADS = 4, KV_HEADS = 2, HD = 32, VOCAB = 56, EXPERTS = 3, MUCH = 530, ADAPTERS = 2, MAX_T = 90, LEN = 140,
       WINDOW = 15, N_ROPE = 2, MAX_THREADS = 3 };
enum { MIXTURES = 20, MIXTURES_C = 6 };  /* short form: of each KV type and thread count, on each set; plain C is slow */
static const wk_dtype kv_types[] = { WK_F32, WK_F16, WK_Q8_0 };
static const wk_dtype weight_types[] = { WK_F32, WK_F16, WK_BF16, WK_Q4_0, WK_Q4_1, WK_Q5_0, WK_Q5_1, WK_Q8_0, WK_Q2_K, WK_Q3_K,
                                         WK_Q4_K, WK_Q5_K, WK_Q6_K, WK_IQ4_NL, WK_IQ4_XS, WK_MXFP4, WK_GPTQ, WK_AWQ, WK_IQ3_S,
                                         WK_TQ2_0, WK_F8_E4M3 };
enum { N_KV = sizeof kv_types / sizeof *kv_types, N_TYPE = sizeof weight_types / sizeof *weight_types, ALL_TYPES = -1 };

typedef struct net {
    lab l;
    wk_val logits;
    bool apart;  /* layer 0's scores, so that softmax's maximum rises from block to block */
    int type;    /* of matrices, in weight_types; ALL_TYPES: each in its turn */
    int n_matrix;
    wk_lora_term term[ADAPTERS][8];
    wk_lora_set set[ADAPTERS];
    const wk_lora_set *sets[ADAPTERS];
    lab_rows rows;
} net;

/* A matrix of the network's type; where its shape allows none of that, of Q8_0. */
static wk_val matrix(net *n, int n_mat, int rows, int cols) {
    wk_dtype type = weight_types[n->type == ALL_TYPES ? n->n_matrix++ % N_TYPE : n->type];
    bool apart = type == WK_GPTQ || type == WK_AWQ, fits = apart ? n_mat == 1 && rows % 8 == 0 : cols % wk_dtypes[type].block == 0;
    return lab_matrix(&n->l, fits ? type : WK_Q8_0, n_mat, rows, cols);
}

/* W x, with an adapter's term when slot >= 0. */
static wk_val linear(net *n, wk_val x, int rows, int cols, int slot) {
    lab *l = &n->l;
    wk_attr lora = { .slot = slot };
    wk_val w = matrix(n, 1, rows, cols), y = LAB_OP(l, WK_OP_LINEAR, NULL, x, w, lab_vector(l, rows, 0));
    wk_dtype type = (wk_dtype)lab_one_of(&l->rng, WK_F32, WK_BF16);
    for (int k = 0; slot >= 0 && k < ADAPTERS; k++) {
        int rank = k == 1 && slot == 3 ? MUCH : lab_one_of(&l->rng, 4, 16, 30, 40);
        n->term[k][slot] = (wk_lora_term){ .a = lab_weight(l, type, 1, rank, cols), .b = lab_weight(l, type, 1, rows, rank),
                                           .scale = 0.7f, .gain = k == 1 ? lab_vector_weight(l, rows, 1) : NULL };
    }
    return slot < 0 ? y : LAB_OP(l, WK_OP_LORA, &lora, y, x);
}

/* Of the rows x to keys and values of all. */
static wk_val attention(net *n, wk_val x, wk_val all, int layer, wk_val freq) {
    lab *l = &n->l;
    wk_attr norm = { .eps = 1e-5f, .group = HD }, rope = { .rot_dim = HD, .mscale = 1 };
    wk_attr a = { .layer = layer,
                  .n_head = HEADS,
                  .n_head_kv = KV_HEADS,
                  .head_dim = HD,
                  .scale = n->apart && !layer ? 2.5f : 0.3f,
                  .causal = true,
                  .cap = layer ? 2 : 0,
                  .window = layer ? WINDOW : 0 };
    wk_val q = linear(n, x, HEADS * HD, D, layer * 4), k = linear(n, all, KV_HEADS * HD, D, -1),
           v = linear(n, all, KV_HEADS * HD, D, layer * 4 + 1);
    q = LAB_OP(l, WK_OP_RMS_NORM, &norm, q, lab_vector(l, HD, 1));
    rope.n_head = HEADS;
    q = LAB_OP(l, WK_OP_ROPE, &rope, q, freq);
    rope.n_head = KV_HEADS;
    k = LAB_OP(l, WK_OP_ROPE, &rope, k, freq);
    wk_val y = layer ? LAB_OP(l, WK_OP_ATTENTION, &a, q, k, v, lab_vector(l, HEADS, 0)) : LAB_OP(l, WK_OP_ATTENTION, &a, q, k, v);
    return linear(n, y, D, HEADS * HD, layer * 4 + 2);
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
    wk_val gate = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, matrix(n, EXPERTS, FF, D), ids);
    wk_val up = LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, x, matrix(n, EXPERTS, FF, D), ids);
    wk_val h = LAB_OP(l, WK_OP_GLU, &act, gate, up);
    return LAB_OP(l, WK_OP_COMBINE, NULL, LAB_OP(l, WK_OP_EXPERT_LINEAR, NULL, h, matrix(n, EXPERTS, D, FF), ids),
                  weights, ids);
}

static void net_new(net *n, int type, wk_dtype kv_type, int n_thread, int max_rows, uint64_t seed) {
    wk_backend *be = NULL;
    wk_attr norm = { .eps = 1e-5f }, embed = { .scale = 1.5f }, cap = { .cap = 3 };
    memset(n, 0, sizeof *n);
    n->type = type;
    n->apart = seed % 2;
    n->n_matrix = (int)(seed * 7 % N_TYPE);  /* which types meet differs from network to network */
    assert_int_equal(wk_cpu_new(n_thread, &be), WICK_OK);
    lab *l = &n->l;
    lab_new(l, be, false, seed);
    wk_val freq = lab_vector(l, N_ROPE * HD / 2, 0.3f), e = matrix(n, 1, VOCAB, D);
    wk_val x = LAB_OP(l, WK_OP_EMBED, &embed, e);
    for (int layer = 0; layer < 2; layer++) {
        wk_val w = lab_vector(l, D, 1), all = LAB_OP(l, WK_OP_RMS_NORM, &norm, x, w), h = all;
        if (layer) x = LAB_OP(l, WK_OP_SELECT_ROWS, NULL, x), h = LAB_OP(l, WK_OP_RMS_NORM, &norm, x, w);
        x = LAB_OP(l, WK_OP_ADD, NULL, x, attention(n, h, all, layer, freq));
        h = LAB_OP(l, WK_OP_RMS_NORM, &norm, x, lab_vector(l, D, 1));
        x = LAB_OP(l, WK_OP_ADD, NULL, x, layer ? experts(n, h) : dense(n, h));
    }
    x = LAB_OP(l, WK_OP_LINEAR, NULL, LAB_OP(l, WK_OP_RMS_NORM, &norm, x, lab_vector(l, D, 1)), e);  /* tied */
    n->logits = LAB_OP(l, WK_OP_SOFTCAP, &cap, x);
    wk_graph_keep(l->g, n->logits);
    lab_plan(l, max_rows);
    lab_kv(l, 2, KV_HEADS, HD, LAB_SEQS * LAB_PAGES, kv_type);
    lab_rows_new(&n->rows, &(lab_rng){ seed + 1, 0 }, LAB_SEQS);
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
static void run_alone(int type, wk_dtype kv_type, uint64_t seed, float *out) {
    static net n;
    net_new(&n, type, kv_type, 1, 1, seed);
    for (int s = 0; s < LAB_SEQS; s++)
        for (int i = 0; i < LEN; i++) {
            lab_rows_clear(&n.rows);
            add_row(&n, s);
            run(&n, adapter(s) >= 0);
            n.l.be->ops->read(n.l.plan, n.logits, 0, 1, out + (s * LEN + i) * VOCAB);
        }
    lab_free(&n.l);
}

/* Adds up to n next rows of the sequences, some of each at a time or in turn. */
static void choose_rows(net *n, lab_rng *r, int rows) {
    int stay = lab_pick(r, 0, 3), s = lab_pick(r, 0, LAB_SEQS - 1), left = 0;
    lab_rows_clear(&n->rows);
    for (int i = 0; i < LAB_SEQS; i++) left += LEN - n->rows.len[i];
    for (int i = 0; i < rows && i < left; i++) {
        bool stays = lab_pick(r, 0, 4 * stay * stay * stay) != 0;
        while (!stays || n->rows.len[s] == LEN) {
            s = lab_pick(r, 0, LAB_SEQS - 1);
            stays = true;
        }
        add_row(n, s);
    }
}

/* One pass of some rows; the logits of those wanted are what want [LAB_SEQS][LEN][VOCAB] has. */
static void check_pass(net *n, lab_rng *r, int rows, const float *want, const char *what) {
    wk_batch *b = &n->rows.batch;
    bool any = false;
    choose_rows(n, r, rows);
    b->n_out = 0;
    for (int i = 0; i < b->n_row; i++) {
        any |= n->rows.adapter[i] >= 0;
        if (lab_pick(r, 0, 4)) n->rows.out[b->n_out++] = i;
    }
    run(n, any || lab_pick(r, 0, 1));
    for (int i = 0; i < b->n_out; i++) {
        int row = n->rows.out[i], s = n->rows.seq[row], pos = n->rows.pos[row];
        if (memcmp(want + (s * LEN + pos) * VOCAB, n->l.be->ops->view(n->l.plan, n->logits, i), VOCAB * sizeof(float)))
            fail_msg("%s: in a pass of %d rows sequence %d, position %d differs from the row alone", what, b->n_row, s, pos);
    }
}

/* A mixture: each sequence goes on from where the last one left it, or from any position before that, or anew; all on other
 * pages, now and then. */
static void run_mixture(net *n, lab_rng *r, const float *want, const char *what) {
    int *len = n->rows.len, passes = lab_pick(r, 1, 2);
    if (lab_pick(r, 0, 7) == 0) lab_rows_new(&n->rows, r, LAB_SEQS);
    for (int s = 0; s < LAB_SEQS; s++) {
        int how = lab_pick(r, 0, 7);
        if (how == 0) len[s] = 0;
        else if (how < 3 || len[s] == LEN) len[s] = lab_pick(r, 0, len[s]);
    }
    for (int i = 0; i < passes; i++) check_pass(n, r, lab_one_of(r, 1, 1, 2, 2, 3, 5, 9, 17, 33, MAX_T), want, what);
}

/* n mixtures of networks of a weight type, or of all, on the instruction set in use, shared out among KV types [kv, end). */
static void check_type(int type, int n_mixture, int kv, int end, uint64_t seed) {
    static float want[LAB_SEQS * LEN * VOCAB];
    static net n;
    int done = 0, part = 0, n_part = (end - kv) * MAX_THREADS;
    for (; kv < end; kv++, seed++) {
        run_alone(type, kv_types[kv], seed, want);
        for (int threads = 1; threads <= MAX_THREADS; threads++) {
            lab_rng r = { seed * MAX_THREADS + (uint64_t)threads, 0 };
            net_new(&n, type, kv_types[kv], threads, MAX_T, seed);
            for (int until = n_mixture * ++part / n_part; done < until; done++) {
                char what[120];
                snprintf(what, sizeof what, "%s, weights %s, kv %s, %d threads, seed %llu, mixture %d", wk_cpu_name(),
                         type == ALL_TYPES ? "of all types" : wk_dtypes[weight_types[type]].name, wk_dtypes[kv_types[kv]].name,
                         threads, (unsigned long long)seed, done);
                run_mixture(&n, &r, want, what);
            }
            lab_free(&n.l);
        }
    }
}

static uint64_t number(const char *variable) {
    const char *given = getenv(variable);
    return given ? strtoull(given, NULL, 10) : 0;
}

static void test_short(uint64_t seed) {
    for (int k = 0; sets_use(k); k++)
        check_type(ALL_TYPES, sets_cases(N_KV * MAX_THREADS * (k ? MIXTURES : MIXTURES_C)), 0, N_KV, seed + 100 * (uint64_t)k);
}

/* On plain C, which is slow, KV types take turns from weight type to weight type. */
static void test_long(int n_each, uint64_t seed) {
    for (int k = 0; sets_use(k); k++)
        for (int type = 0; type < N_TYPE; type++) {
            int turn = (int)((seed + (uint64_t)type) % N_KV), kv = k ? 0 : turn, end = k ? N_KV : turn + 1;
            check_type(type, n_each, kv, end, seed + 100 * (uint64_t)k + N_KV * (uint64_t)type);
        }
}

static void test_same_bits(void **state) {
    int n_each = (int)number("WICK_MIXTURES");
    uint64_t seed = number("WICK_TEST_SEED") * 1000;
    (void)state;
    if (n_each) test_long(n_each, seed);
    else test_short(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_bits) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
