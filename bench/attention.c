/* attention.c: how near attention comes to the processor's float32 limit, by shape: a prompt in one pass, and one row at
 * the end of a long context. Usage: attention [threads [seconds per shape]]. Prints GFLOP/s of the two products. */
#include "backend/backend.h"
#include "base/clock.h"
#include "base/cpu.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct shape { int n_head, n_head_kv, head_dim, n_prompt, n_past; } shape;

static void measure(wk_backend *be, const shape *s, wk_dtype type, double seconds) {
    wk_graph *g = NULL;
    wk_plan *plan = NULL;
    wk_kv *kv = NULL;
    int n_page = (s->n_past + s->n_prompt) / WK_PAGE_LEN + 1, T = s->n_prompt;
    int32_t *pos = calloc((size_t)T, 4), *seq = calloc((size_t)T, 4), *page = calloc((size_t)n_page, 4);
    float *x = calloc((size_t)T * (size_t)(s->n_head * s->head_dim), 4);
    wk_attr a = { .n_head = s->n_head, .n_head_kv = s->n_head_kv, .head_dim = s->head_dim, .scale = 0.1f, .causal = true };
    wk_kv_shape ks = { 1, s->n_head_kv, s->head_dim, n_page, WK_PAGE_LEN, type };
    if (!pos || !seq || !page || !x || wk_graph_new(false, &g)) exit(1);
    wk_val in[3];
    for (int i = 0; i < 3; i++)
        in[i] = wk_graph_input(g, (wk_shape){ WK_ROWS_T, 1, (int64_t)(i ? s->n_head_kv : s->n_head) * s->head_dim, false }, "in");
    wk_graph_keep(g, wk_graph_op(g, WK_OP_ATTENTION, in, 3, &a, "attention"));
    if (g->status || be->ops->plan_new(be, g, T, &plan) || be->ops->kv_new(be, &ks, &kv)) exit(1);
    for (int i = 0; i < n_page; i++) page[i] = i;
    for (int i = 0; i < T * s->n_head * s->head_dim; i++) x[i] = (float)(i * 7919 % 1000) / 500 - 1;
    for (int i = 0; i < 3; i++) be->ops->write(plan, in[i], 0, T, x);
    wk_batch b = { .n_row = T, .pos = pos, .seq = seq, .page = page, .max_page = n_page, .n_seq = 1 };
    for (int p = 0; p <= s->n_past; p += T)  /* the past is stored as it would have been */
        if (p + T > s->n_past || s->n_past == 0) break;
        else {
            for (int i = 0; i < T; i++) pos[i] = p + i;
            be->ops->run(plan, &b, kv);
        }
    double flops = 0, best = 1e9, start = wk_now();
    for (int i = 0; i < T; i++) {
        pos[i] = s->n_past + i;
        flops += 4.0 * s->n_head * s->head_dim * (pos[i] + 1);
    }
    do {
        double t = wk_now();
        be->ops->run(plan, &b, kv);
        t = wk_now() - t;
        if (t < best) best = t;
    } while (wk_now() - start < seconds);
    printf("| %2d/%-2d x %-3d | %-4s | %4d rows after %5d | %9.1f us | %6.1f GFLOP/s |\n", s->n_head, s->n_head_kv, s->head_dim,
           wk_dtypes[type].name, T, s->n_past, best * 1e6, flops / best / 1e9);
    be->ops->plan_free(plan);
    be->ops->kv_free(be, kv);
    wk_graph_free(g);
    free(pos);
    free(seq);
    free(page);
    free(x);
}

int main(int argc, char **argv) {
    static const shape shapes[] = {
        { 9, 3, 64, 512, 0 }, { 14, 2, 64, 512, 0 }, { 32, 8, 64, 512, 0 }, { 32, 8, 128, 512, 2048 }, { 32, 32, 128, 512, 0 },
        { 9, 3, 64, 1, 64 }, { 9, 3, 64, 1, 512 }, { 9, 3, 64, 1, 8192 }, { 32, 8, 128, 1, 4096 }, { 32, 32, 128, 1, 1024 },
    };
    static const wk_dtype types[] = { WK_F16, WK_Q8_0, WK_F32 };
    wk_backend *be = NULL;
    if (wk_cpu_new(argc > 1 ? atoi(argv[1]) : 1, &be)) return 1;
    printf("attention, %s, %d threads\n", wk_cpu_name(), wk_pool_n(be->pool));
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (size_t k = 0; k < 3; k++) measure(be, &shapes[i], types[k], argc > 2 ? atof(argv[2]) : 0.3);
    be->ops->free(be);
    return 0;
}
