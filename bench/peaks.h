/* peaks.h: what the machine can do: the same loops as a kernel's innermost, without memory. Shares are told of these. */
#ifndef WK_BENCH_PEAKS_H
#define WK_BENCH_PEAKS_H
#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/thread.h"
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

/* Also for measuring again beside each shape, as clocks move. 0: not known. */
static double fp32_peak(wk_pool *pool) {
#if defined(__x86_64__)
    peak_run p = { 0 };
    if (wk_cpu_features() & WK_CPU_AVX512)
        return (double)PEAK_STEPS * CHAINS * wk_pool_n(pool) * 1e-9 * 32 / best_time(pool, fp32_share, &p);
#endif
    (void)pool;
    return 0;
}

static peaks find_peaks(wk_pool *pool) {
    peaks k = { 0 };
    uint8_t *mem = wk_alloc_aligned(READ_BYTES);
    peak_run p = { .mem = mem };
    if (!mem) return k;
    memset(mem, 1, READ_BYTES);
    k.fp32 = fp32_peak(pool);
    k.read = READ_BYTES / best_time(pool, read_share, &p) * 1e-9;
    wk_free_aligned(mem);
#if defined(__x86_64__)
    double steps = (double)PEAK_STEPS * CHAINS * wk_pool_n(pool) * 1e-9;
    if (wk_cpu_features() & WK_CPU_AVX512_VNNI) k.int8 = steps * 128 / best_time(pool, int8_share, &p);
    if (wk_cpu_features() & WK_CPU_AVX512_BF16) k.bf16 = steps * 64 / best_time(pool, bf16_share, &p);
    double tiles = (double)TILE_STEPS * TILE_CHAINS * wk_pool_n(pool) * 1e-9;
    if (wk_cpu_features() & WK_CPU_AMX_BF16) k.bf16 = tiles * 2 * 16 * 16 * 32 / best_time(pool, tile_share, &p);
#endif
    return k;
}

#endif
