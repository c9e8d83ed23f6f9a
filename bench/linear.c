/* linear.c: how fast products with packed weights are: operations and bytes a second by type, shape and rows.
 *   bench/linear [-t threads] [-r repeats] [-T rows,...] [-s n_out,n_in] [TYPE ... | peaks]
 * One row is bound by reading the weights (GB/s of packed bytes), many by arithmetic (GOP/s, a multiplication and an addition
 * being two). Weights larger than the caches are made for one row. The best of several runs is printed; peaks are measured
 * first, so that a share of them can be told on any machine; `peaks` prints nothing but them, as JSON. */
#include "backend/cpu/linear.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "peaks.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- products ---- */

typedef struct run {
    const wk_packed *w;
    const float *x;
    void *act;
    float *y;
    int64_t T;
    int times;
} run;

/* What a forward pass does: prepare rows in shares, meet, multiply in shares of outputs. */
static void multiply(const wk_team *t, void *arg) {
    const run *r = arg;
    int64_t from, to, n_in = wk_packed_n_in(r->w), n_out = wk_packed_n_out(r->w);
    for (int i = 0; i < r->times; i++) {
        wk_team_share(t, r->T, 1, &from, &to);
        wk_act_prepare(r->w, r->x, n_in, from, to, r->T, r->act);
        wk_team_barrier(t);
        wk_team_share(t, n_out, WK_PACK_ROWS, &from, &to);
        wk_linear(r->w, r->act, r->T, from, to, r->y, n_out, NULL);
        wk_team_barrier(t);
    }
}

static void die(void) {
    fprintf(stderr, "%s\n", wick_last_error());
    exit(1);
}

/* A matrix of random codes with ordinary scales. */
static wk_packed *random_weight(wk_pool *pool, wk_dtype type, int64_t n_out, int64_t n_in, double *pack_gbs) {
    size_t row;
    if (!wk_row_bytes(type, n_in, &row)) return NULL;
    size_t n = row * (size_t)n_out;
    uint8_t *raw = malloc(n);
    if (!raw) return NULL;
    uint64_t s = 1;
    for (size_t i = 0; i < n; i++) {
        s = s * 6364136223846793005u + 1442695040888963407u;
        raw[i] = (uint8_t)((s >> 56) & 0xbf);  /* no float16 infinity or NaN */
    }
    wk_tensor t = { .name = WK_STR("w"), .dtype = type, .n_dim = 2, .shape = { n_out, n_in, 1, 1 }, .data = raw, .n_bytes = n };
    wk_packed *w = NULL;
    double best = 1e9;
    for (int i = 0; i < 3; i++) {
        wk_packed_free(w);
        double at = wk_now();
        if (wk_pack(pool, &t, 0, NULL, false, &w)) die();
        double took = wk_now() - at;
        best = took < best ? took : best;
    }
    *pack_gbs = (double)n / best * 1e-9;
    free(raw);
    return w;
}

static double best_of(wk_pool *pool, run *r, int repeats) {
    double best = 1e9;
    r->times = 1;
    wk_pool_run(pool, multiply, r);
    double at = wk_now();
    wk_pool_run(pool, multiply, r);
    double one = wk_now() - at;
    r->times = one < 0.02 ? (int)(0.02 / one) + 1 : 1;
    for (int i = 0; i < repeats; i++) {
        at = wk_now();
        wk_pool_run(pool, multiply, r);
        double took = (wk_now() - at) / r->times;
        best = took < best ? took : best;
    }
    return best;
}

int main(int argc, char **argv) {
    static const wk_dtype all[] = { WK_Q4_0, WK_Q4_1, WK_Q5_0, WK_Q5_1, WK_Q8_0, WK_Q2_K, WK_Q3_K, WK_Q4_K, WK_Q5_K, WK_Q6_K,
                                    WK_IQ4_NL, WK_F16, WK_BF16, WK_F32 };
    int64_t shape[][2] = { { 1536, 576 }, { 576, 1536 }, { 4864, 896 }, { 896, 4864 }, { 8192, 2048 }, { 2048, 8192 } };
    size_t n_shape = sizeof shape / sizeof shape[0];
    int threads = 0, repeats = 5, i = 1, n_type = sizeof all / sizeof all[0], n_T = 3, T[16] = { 1, 8, 512 };
    wk_dtype type[WK_DTYPE_COUNT];
    memcpy(type, all, sizeof all);
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (argv[i][1] == 't') threads = atoi(argv[i + 1]);
        else if (argv[i][1] == 'r') repeats = atoi(argv[i + 1]);
        else if (argv[i][1] == 's') n_shape = 1, sscanf(argv[i + 1], "%" SCNd64 ",%" SCNd64, &shape[0][0], &shape[0][1]);
        else if (argv[i][1] == 'T') {
            n_T = 0;
            for (char *p = argv[i + 1]; *p && n_T < 16; p += *p == ',') T[n_T++] = (int)strtol(p, &p, 10);
        }
    }
    bool peaks_only = i < argc && !strcmp(argv[i], "peaks");
    if (i < argc) n_type = 0;
    for (; i < argc && n_type < WK_DTYPE_COUNT; i++) type[n_type++] = wk_dtype_of_name(argv[i]);
    wk_pool *pool;
    if (wk_pool_new(threads, &pool)) die();
    peaks peak = find_peaks(pool);
    if (peaks_only) {
        printf("{\"read\": %.2f, \"int8\": %.1f, \"fp32\": %.1f, \"bf16\": %.1f}\n", peak.read, peak.int8, peak.fp32, peak.bf16);
        wk_pool_free(pool);
        return 0;
    }
    printf("%s, %d threads; peaks: reads %.1f GB/s, int8 %.0f GOP/s, float32 %.0f GFLOP/s, bfloat16 %.0f GFLOP/s\n", wk_cpu_name(),
           wk_pool_n(pool), peak.read, peak.int8, peak.fp32, peak.bf16);
    printf("%-7s %7s %6s %5s %9s %8s %8s %6s %9s\n", "type", "n_out", "n_in", "T", "us", "GOP/s", "GB/s", "share", "pack GB/s");
    for (int k = 0; k < n_type; k++)
        for (size_t s = 0; s < n_shape; s++)
            for (int m = 0; m < n_T; m++) {
                int64_t n_out = shape[s][0], n_in = shape[s][1];
                if (type[k] >= WK_DTYPE_COUNT || T[m] < 1 || n_in % wk_dtypes[type[k]].block) continue;
                if (T[m] < 8)
                    n_out = ((int64_t)400 << 20) / n_in * 8 / (wk_dtypes[type[k]].bytes * 8 / wk_dtypes[type[k]].block) / 16 * 16;
                double pack = 0;
                run r = { .w = random_weight(pool, type[k], n_out, n_in, &pack), .T = T[m] };
                if (!r.w) continue;
                float *x = wk_alloc_array((size_t)(r.T * n_in), sizeof *x);
                r.x = x;
                r.y = wk_alloc_aligned((size_t)(r.T * n_out) * sizeof *r.y);  /* as plans get theirs: in huge pages */
                r.act = wk_alloc_aligned(wk_act_bytes(r.w, r.T));
                if (!x || !r.y || !r.act) return 1;
                for (int64_t j = 0; j < r.T * n_in; j++) x[j] = (float)(j % 257) / 128 - 1;
                double t = best_of(pool, &r, repeats), ops = 2.0 * (double)(n_out * n_in) * T[m];
                double gops = ops / t * 1e-9, gbs = (double)wk_packed_bytes(r.w) / t * 1e-9,
                       number = type[k] == WK_BF16 && peak.bf16 > 0 ? peak.bf16 : peak.fp32,
                       most = wk_dtypes[type[k]].quantised ? peak.int8 : number;
                double share = T[m] < 8 ? gbs / peak.read : most > 0 ? gops / most : 0;  /* of what binds it */
                printf("%-7s %7d %6d %5d %9.1f %8.1f %8.2f %5.0f%% %9.2f\n", wk_dtypes[type[k]].name, (int)n_out, (int)n_in, T[m],
                       t * 1e6, gops, gbs, 100 * share, pack);
                wk_packed_free((wk_packed *)(uintptr_t)r.w);
                wk_free(x);
                wk_free_aligned(r.y);
                wk_free_aligned(r.act);
            }
    wk_pool_free(pool);
    return 0;
}
