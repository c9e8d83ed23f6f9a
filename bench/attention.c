/* attention.c: how near attention comes to what the processor can do: a prompt's rows to its float32 peak (GFLOP/s of the
 * two products; the peak is measured again beside each shape), one row at the end of a long context to its reads (GB/s of
 * keys and values). One row walks as many layers as it takes to leave the caches, as a model's does.
 *   bench/attention [threads [seconds per shape [prompt|row [F16|Q8_0|F32]]]] */
#include "backend/backend.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "peaks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape { int n_head, n_head_kv, head_dim, n_prompt, n_past; } shape;
enum { MANY_BYTES = 128 << 20, MAX_LAYERS = 64 };

/* Even in -1 .. 1, so that scores are what softmax meets: spread, the largest anywhere. */
static float some(uint32_t i) {
    i = (i ^ 61) * 2654435761u;
    i = (i ^ i >> 15) * 2246822519u;
    return (float)((i ^ i >> 13) >> 8) / (1 << 23) - 1;
}

static int layers_of(const shape *s, size_t kv_bytes) {
    size_t n = s->n_prompt > 1 ? 1 : MANY_BYTES / kv_bytes + 1;
    return n < MAX_LAYERS ? (int)n : MAX_LAYERS;
}

static void measure(wk_backend *be, const shape *s, wk_dtype type, double seconds, double read_peak) {
    wk_graph *g = NULL;
    wk_plan *plan = NULL;
    wk_kv *kv = NULL;
    int n_page = (s->n_past + s->n_prompt) / WK_PAGE_LEN + 1, T = s->n_prompt > 64 ? s->n_prompt : 64;
    double position = 2.0 * s->n_head_kv * s->head_dim * (type == WK_F32 ? 4 : type == WK_F16 ? 2 : 1.0625);
    int n_layer = layers_of(s, (size_t)(position * (s->n_past + s->n_prompt)));
    int32_t *pos = calloc((size_t)T, 4), *seq = calloc((size_t)T, 4), *page = calloc((size_t)n_page, 4);
    size_t n_x = (size_t)T * (size_t)(s->n_head * s->head_dim);
    float *x = calloc(n_x, 4);
    wk_kv_shape ks = { n_layer, s->n_head_kv, s->head_dim, n_page, WK_PAGE_LEN, type };
    if (!pos || !seq || !page || !x || wk_graph_new(false, &g)) exit(1);
    wk_val in[3];
    for (int i = 0; i < 3; i++)
        in[i] = wk_graph_input(g, (wk_shape){ WK_ROWS_T, 1, (int64_t)(i ? s->n_head_kv : s->n_head) * s->head_dim, false }, "in");
    for (int i = 0; i < n_layer; i++) {
        wk_attr a = { .layer = i, .n_head = s->n_head, .n_head_kv = s->n_head_kv, .head_dim = s->head_dim, .scale = 0.4f,
                      .causal = true };
        wk_graph_keep(g, wk_graph_op(g, WK_OP_ATTENTION, in, 3, &a, "attention"));
    }
    if (g->status || be->ops->plan_new(be, g, T, &plan) || be->ops->kv_new(be, &ks, &kv)) exit(1);
    for (int i = 0; i < n_page; i++) page[i] = i;
    for (uint32_t i = 0; i < n_x; i++) x[i] = some(i);
    for (int i = 0; i < 3; i++) be->ops->write(plan, in[i], 0, T, x + (i ? 1 : 0));
    wk_batch b = { .pos = pos, .seq = seq, .page = page, .max_page = n_page, .n_seq = 1 };
    for (int p = 0; p < s->n_past; p += T) {  /* the past is stored as it would have been */
        b.n_row = s->n_past - p < T ? s->n_past - p : T;
        for (int i = 0; i < b.n_row; i++) pos[i] = p + i;
        be->ops->run(plan, &b, kv);
    }
    double flops = 0, best = 1e9, peak = fp32_peak(be->pool), start = wk_now();
    b.n_row = s->n_prompt;
    for (int i = 0; i < b.n_row; i++) {
        pos[i] = s->n_past + i;
        flops += 4.0 * s->n_head * s->head_dim * (pos[i] + 1) * n_layer;
    }
    do {
        double t = wk_now();
        be->ops->run(plan, &b, kv);
        t = wk_now() - t;
        if (t < best) best = t;
    } while (wk_now() - start < seconds);
    double gflops = flops / best * 1e-9, gbs = position * (s->n_past + s->n_prompt) * n_layer / best * 1e-9;
    printf("| %2d/%-2d x %-3d | %-4s | %3d after %5d, %2d layers | %9.1f us | %6.1f GFLOP/s | %5.1f GB/s | %3.0f %% |\n", s->n_head,
           s->n_head_kv, s->head_dim, wk_dtypes[type].name, s->n_prompt, s->n_past, n_layer, best * 1e6, gflops, gbs,
           100 * (s->n_prompt > 1 ? gflops / peak : gbs / read_peak));
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
        { 9, 3, 64, 512, 0 }, { 9, 3, 64, 512, 7680 }, { 14, 2, 64, 512, 0 }, { 14, 2, 64, 512, 1536 }, { 14, 2, 64, 512, 7680 },
        { 32, 8, 64, 512, 0 }, { 32, 8, 128, 512, 0 }, { 32, 8, 128, 512, 1536 }, { 32, 8, 128, 512, 7680 },
        { 32, 32, 128, 512, 0 }, { 9, 3, 64, 1, 511 }, { 9, 3, 64, 1, 8191 }, { 14, 2, 64, 1, 8191 }, { 32, 8, 64, 1, 8191 },
        { 32, 8, 128, 1, 8191 }, { 32, 32, 128, 1, 1023 },
    };
    static const wk_dtype types[] = { WK_F16, WK_Q8_0, WK_F32 };
    wk_backend *be = NULL;
    if (wk_cpu_new(argc > 1 ? atoi(argv[1]) : 1, &be)) return 1;
    peaks peak = find_peaks(be->pool);
    printf("attention, %s, %d threads; peaks: float32 %.0f GFLOP/s, reads %.1f GB/s\n", wk_cpu_name(), wk_pool_n(be->pool),
           peak.fp32, peak.read);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (size_t k = 0; k < 3; k++) {
            if (argc > 3 && (shapes[i].n_prompt > 1) != !strcmp(argv[3], "prompt")) continue;
            if (argc > 4 && strcmp(argv[4], wk_dtypes[types[k]].name)) continue;
            measure(be, &shapes[i], types[k], argc > 2 ? atof(argv[2]) : 0.3, peak.read);
        }
    be->ops->free(be);
    return 0;
}
