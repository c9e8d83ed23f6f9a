/* gradients.c: how fast the backward pass's heavy steps are: GFLOP a second of a product with a float32 multiplication and
 * addition counted as two, on two threads unless told.
 *   bench/gradients [-t threads] [-T rows] [-r repeats]
 * W^T g of packed weights, attention's gradient, and the output projection with its loss, at SmolLM2-135M's shapes. The best of
 * several runs is printed; a line that says "and gradient" includes its forward pass. */
#include "backend/backend.h"
#include "base/clock.h"
#include "graph/op.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench { wk_backend *be; wk_graph *g; wk_plan *plan; wk_kv *kv; wk_weight *weight; int T; wk_batch batch; } bench;

static void must(wick_status st) {
    if (!st) return;
    fprintf(stderr, "%s\n", wick_last_error());
    exit(1);
}

static wk_weight *weight_new(wk_backend *be, wk_dtype type, int64_t rows, int64_t cols) {
    size_t n = 0;
    wk_weight *w = NULL;
    wk_row_bytes(type, cols, &n);
    uint8_t *raw = malloc((size_t)rows * n);
    float *row = malloc((size_t)cols * sizeof *row);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < cols; i++) row[i] = (float)((r * 31 + i * 17) % 41 - 20) / 400;
        wk_dtypes[type].encode(row, raw + (size_t)r * n, cols);
    }
    wk_tensor t = { WK_STR("w"), type, 2, { rows, cols, 1, 1 }, raw, (uint64_t)rows * n, NULL };
    wk_weight_source s = { .tensor = (const wk_tensor *[]){ &t }, .n_tensor = 1 };
    must(be->ops->weight_new(be, &s, &w));
    free(raw);
    free(row);
    return w;
}

static wk_val input(bench *b, int64_t cols, const char *name) {
    return wk_graph_input(b->g, (wk_shape){ WK_ROWS_T, 1, cols, false }, name);
}

/* The best of several runs, in seconds. */
static double best_run(bench *b, int repeats) {
    double best = 1e9;
    must(b->g->status);
    must(b->be->ops->plan_new(b->be, b->g, b->T, &b->plan));
    for (size_t v = 0; v < b->g->n_value; v++) {
        if (b->g->value[v].kind != WK_VALUE_INPUT) continue;
        int64_t n = b->T * b->g->value[v].shape.cols;
        float *x = malloc((size_t)n * sizeof *x);
        for (int64_t i = 0; i < n; i++) x[i] = (float)(i % 37 - 18) / 50;
        b->be->ops->write(b->plan, (wk_val)v, 0, b->T, x);
        free(x);
    }
    for (int i = 0; i <= repeats; i++) {
        double start = wk_now();
        must(b->be->ops->run(b->plan, &b->batch, b->kv));
        double s = wk_now() - start;
        if (i && s < best) best = s;
    }
    b->be->ops->plan_free(b->plan);
    wk_graph_free(b->g);
    return best;
}

static void line(const char *what, double s, double flop) {
    printf("%-44s %9.3f ms %8.1f GFLOP/s\n", what, s * 1e3, flop / s / 1e9);
}

static void input_grad(bench *b, wk_dtype type, int64_t n_out, int64_t n_in, int repeats) {
    char what[64];
    wk_weight *w = weight_new(b->be, type, n_out, n_in);
    must(wk_graph_new(true, &b->g));
    wk_val g = input(b, n_out, "g");
    wk_graph_keep(b->g, wk_graph_op(b->g, WK_OP_LINEAR_INPUT_GRAD, (wk_val[]){ g, wk_graph_param(b->g, w, "w") }, 2, NULL, "dx"));
    snprintf(what, sizeof what, "W^T g, %s %lld x %lld", wk_dtypes[type].name, (long long)n_out, (long long)n_in);
    line(what, best_run(b, repeats), 2.0 * b->T * (double)(n_out * n_in));
    b->be->ops->weight_free(b->be, w);
}

static void attention(bench *b, bool back, int repeats) {
    wk_attr a = { .head_dim = 64, .n_head = 9, .n_head_kv = 3, .scale = 0.125f, .causal = true };
    wk_val in[6], grads[3];
    must(wk_graph_new(true, &b->g));
    wk_val q = input(b, 576, "q"), k = input(b, 192, "k"), v = input(b, 192, "v"), g = input(b, 576, "g");
    memcpy(in, (wk_val[]){ q, k, v }, 3 * sizeof *in);
    wk_val y = wk_graph_op(b->g, WK_OP_ATTENTION, in, 3, &a, "attention");
    if (back) must(wk_graph_backward(b->g, y, g, in, 3, grads));
    double pairs = (double)b->T * (b->T + 1) / 2;
    line(back ? "attention, forward and gradient" : "attention, forward", best_run(b, repeats),
         (back ? 7 : 2) * 2 * pairs * 9 * 64);
}

static void loss(bench *b, bool back, int repeats) {
    enum { V = 49152, D = 576 };
    wk_val grad;
    wk_weight *w = weight_new(b->be, WK_Q8_0, V, D);
    must(wk_graph_new(true, &b->g));
    wk_val x = input(b, D, "x"), g = input(b, 1, "g");
    wk_val y = wk_graph_op(b->g, WK_OP_CROSS_ENTROPY, (wk_val[]){ x, wk_graph_param(b->g, w, "head") }, 2, NULL, "loss");
    if (back) must(wk_graph_backward(b->g, y, g, &x, 1, &grad));
    line(back ? "cross_entropy 49152 x 576, and gradient" : "cross_entropy 49152 x 576", best_run(b, repeats),
         (back ? 3 : 1) * 2.0 * b->T * V * D);
    b->be->ops->weight_free(b->be, w);
}

int main(int argc, char **argv) {
    int threads = 2, T = 512, repeats = 5;
    for (int i = 1; i + 1 < argc; i += 2) {
        int n = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "-t")) threads = n;
        else if (!strcmp(argv[i], "-T")) T = n;
        else if (!strcmp(argv[i], "-r")) repeats = n;
    }
    bench b = { .T = T };
    must(wk_cpu_new(threads, &b.be));
    int n_page = (T + WK_PAGE_LEN - 1) / WK_PAGE_LEN;
    int32_t *pos = malloc((size_t)T * sizeof *pos), *seq = calloc((size_t)T, sizeof *seq),
            *label = malloc((size_t)T * sizeof *label), *page = malloc((size_t)n_page * sizeof *page);
    for (int i = 0; i < T; i++) pos[i] = i, label[i] = i * 7919 % 49152;
    for (int i = 0; i < n_page; i++) page[i] = i;
    b.batch = (wk_batch){ .n_row = T, .n_out = T, .out_row = pos, .pos = pos, .seq = seq, .label = label, .page = page,
                          .max_page = n_page, .n_seq = 1 };
    must(b.be->ops->kv_new(b.be, &(wk_kv_shape){ 1, 3, 64, n_page, WK_PAGE_LEN, WK_F16 }, &b.kv));
    const wk_dtype types[] = { WK_Q4_1, WK_Q8_0, WK_BF16, WK_F32 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        input_grad(&b, types[i], 576, 576, repeats);
        input_grad(&b, types[i], 1536, 576, repeats);
        input_grad(&b, types[i], 576, 1536, repeats);
    }
    for (int back = 0; back < 2; back++) attention(&b, back, repeats);
    for (int back = 0; back < 2; back++) loss(&b, back, repeats);
    b.be->ops->kv_free(b.be, b.kv);
    b.be->ops->free(b.be);
    free(pos), free(seq), free(label), free(page);
    return 0;
}
