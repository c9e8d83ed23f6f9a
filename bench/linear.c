/* linear.c: how fast products with packed weights are: operations and bytes a second by type, shape and rows.
 *   bench/linear [-t threads] [-r repeats] [-T rows,...] [TYPE ...]
 * One row is bound by reading the weights (GB/s of packed bytes), many by arithmetic (GOP/s, a multiplication and an addition
 * being two). Weights larger than the caches are made for one row. The best of several runs is printed; peaks are measured
 * first, so that a share of them can be told on any machine. */
#include "backend/cpu/linear.h"
#include "base/clock.h"
#include "base/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- what the machine can do: the same loops as a product's innermost, without memory ---- */

/* GB/s, GOP/s, GFLOP/s of all threads together; 0: not known. bf16: of what the kernels use, tiles before vectors. */
typedef struct peaks { double read, int8, fp32, bf16; } peaks;
enum { PEAK_STEPS = 3000000, READ_BYTES = 512 << 20 };
typedef struct peak_run { const uint8_t *mem; volatile float sink; } peak_run;
typedef uint64_t bytes64 __attribute__((vector_size(64), aligned(16)));

static void read_share(const wk_team *t, void *arg) {
    peak_run *p = arg;
    int64_t from, to;
    bytes64 s[4] = { { 0 } };
    wk_team_share(t, READ_BYTES, 256, &from, &to);
    for (const uint8_t *b = p->mem + from; b < p->mem + to; b += 256)
        for (int i = 0; i < 4; i++) s[i] += *(const bytes64 *)(const void *)(b + 64 * i);
    s[0] += s[1] + s[2] + s[3];
    p->sink = (float)s[0][0];
}

#if defined(__x86_64__)
#define CHAINS 12
__attribute__((target("avx512f,avx512vnni"))) static void int8_share(const wk_team *t, void *arg) {
    __m512i s[CHAINS], a = _mm512_set1_epi8(1);
    for (int i = 0; i < CHAINS; i++) s[i] = _mm512_set1_epi32(t->i + i);
    for (int k = 0; k < PEAK_STEPS; k++) {
        for (int i = 0; i < CHAINS; i++) s[i] = _mm512_dpbusd_epi32(s[i], a, a);
        __asm__ volatile("" : "+v"(a));
    }
    for (int i = 1; i < CHAINS; i++) s[0] = _mm512_add_epi32(s[0], s[i]);
    ((peak_run *)arg)->sink = (float)_mm512_reduce_add_epi32(s[0]);
}
__attribute__((target("avx512f"))) static void fp32_share(const wk_team *t, void *arg) {
    __m512 s[CHAINS], a = _mm512_set1_ps(0.5f);
    for (int i = 0; i < CHAINS; i++) s[i] = _mm512_set1_ps((float)(t->i + i));
    for (int k = 0; k < PEAK_STEPS; k++) {
        for (int i = 0; i < CHAINS; i++) s[i] = _mm512_fmadd_ps(s[i], a, a);
        __asm__ volatile("" : "+v"(a));
    }
    for (int i = 1; i < CHAINS; i++) s[0] = _mm512_add_ps(s[0], s[i]);
    ((peak_run *)arg)->sink = _mm512_reduce_add_ps(s[0]);
}
__attribute__((target("avx512f,avx512bf16"))) static void bf16_share(const wk_team *t, void *arg) {
    __m512 s[CHAINS];
    __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f00);
    for (int i = 0; i < CHAINS; i++) s[i] = _mm512_set1_ps((float)(t->i + i));
    for (int k = 0; k < PEAK_STEPS; k++) {
        for (int i = 0; i < CHAINS; i++) s[i] = _mm512_dpbf16_ps(s[i], a, a);
        __asm__ volatile("" : "+v"(a));
    }
    for (int i = 1; i < CHAINS; i++) s[0] = _mm512_add_ps(s[0], s[i]);
    ((peak_run *)arg)->sink = _mm512_reduce_add_ps(s[0]);
}
enum { TILE_STEPS = 500000, TILE_CHAINS = 4 };
__attribute__((target("amx-tile,amx-bf16"))) static void tile_share(const wk_team *t, void *arg) {
    struct { _Alignas(64) uint8_t palette; uint8_t more[15]; uint16_t row_bytes[16]; uint8_t n_row[16]; } shape = { .palette = 1 };
    (void)t, (void)arg;
    for (int i = 0; i < 8; i++) shape.row_bytes[i] = 64, shape.n_row[i] = 16;
    __asm__ volatile("" : : "m"(shape));  /* GCC's intrinsic does not say that it reads all of it */
    _tile_loadconfig(&shape);  /* which makes all tiles zero */
    for (int k = 0; k < TILE_STEPS; k++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}
#endif

/* Seconds of the best of five. */
static double best_time(wk_pool *pool, wk_team_fn fn, peak_run *p) {
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double at = wk_now();
        wk_pool_run(pool, fn, p);
        double took = wk_now() - at;
        best = took < best ? took : best;
    }
    return best;
}

static peaks find_peaks(wk_pool *pool) {
    peaks k = { 0 };
    uint8_t *mem = wk_alloc_aligned(READ_BYTES);
    peak_run p = { .mem = mem };
    if (!mem) return k;
    memset(mem, 1, READ_BYTES);
    k.read = READ_BYTES / best_time(pool, read_share, &p) * 1e-9;
    wk_free_aligned(mem);
#if defined(__x86_64__)
    double steps = (double)PEAK_STEPS * CHAINS * wk_pool_n(pool) * 1e-9;
    if (wk_cpu_features() & WK_CPU_AVX512) k.fp32 = steps * 32 / best_time(pool, fp32_share, &p);
    if (wk_cpu_features() & WK_CPU_AVX512_VNNI) k.int8 = steps * 128 / best_time(pool, int8_share, &p);
    if (wk_cpu_features() & WK_CPU_AVX512_BF16) k.bf16 = steps * 64 / best_time(pool, bf16_share, &p);
    double tiles = (double)TILE_STEPS * TILE_CHAINS * wk_pool_n(pool) * 1e-9;
    if (wk_cpu_features() & WK_CPU_AMX_BF16) k.bf16 = tiles * 2 * 16 * 16 * 32 / best_time(pool, tile_share, &p);
#endif
    return k;
}

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
    static const wk_dtype all[] = { WK_Q4_0, WK_Q4_1, WK_Q5_0, WK_Q5_1, WK_Q8_0, WK_Q3_K, WK_Q4_K, WK_Q5_K, WK_Q6_K, WK_IQ4_NL,
                                    WK_F16,  WK_BF16, WK_F32 };
    static const int64_t shape[][2] = {
        { 1536, 576 }, { 576, 1536 }, { 4864, 896 }, { 896, 4864 }, { 8192, 2048 }, { 2048, 8192 }
    };
    int threads = 0, repeats = 5, i = 1, n_type = sizeof all / sizeof all[0], n_T = 3, T[16] = { 1, 8, 512 };
    wk_dtype type[WK_DTYPE_COUNT];
    memcpy(type, all, sizeof all);
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (argv[i][1] == 't') threads = atoi(argv[i + 1]);
        else if (argv[i][1] == 'r') repeats = atoi(argv[i + 1]);
        else if (argv[i][1] == 'T') {
            n_T = 0;
            for (char *p = argv[i + 1]; *p && n_T < 16; p += *p == ',') T[n_T++] = (int)strtol(p, &p, 10);
        }
    }
    if (i < argc) n_type = 0;
    for (; i < argc && n_type < WK_DTYPE_COUNT; i++) type[n_type++] = wk_dtype_of_name(argv[i]);
    wk_pool *pool;
    if (wk_pool_new(threads, &pool)) die();
    peaks peak = find_peaks(pool);
    printf("%s, %d threads; peaks: reads %.1f GB/s, int8 %.0f GOP/s, float32 %.0f GFLOP/s, bfloat16 %.0f GFLOP/s\n", wk_cpu_name(),
           wk_pool_n(pool), peak.read, peak.int8, peak.fp32, peak.bf16);
    printf("%-7s %7s %6s %5s %9s %8s %8s %6s %9s\n", "type", "n_out", "n_in", "T", "us", "GOP/s", "GB/s", "share", "pack GB/s");
    for (int k = 0; k < n_type; k++)
        for (size_t s = 0; s < sizeof shape / sizeof shape[0]; s++)
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
