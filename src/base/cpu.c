/* cpu.c: processor features. */
#include "base/cpu.h"
#include "base/switches.h"
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>

/* CPUID leaf 1, ECX bit 29; Clang 14 cannot be asked by name. */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

static unsigned limit = ~0u;

static unsigned detect(void) {
    unsigned f = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) f |= WK_CPU_AVX2;
    if (f && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) f |= WK_CPU_AVX512;
    if (f & WK_CPU_AVX512) {
        if (__builtin_cpu_supports("avx512vnni")) f |= WK_CPU_AVX512_VNNI;
        if (__builtin_cpu_supports("avx512bf16")) f |= WK_CPU_AVX512_BF16;
    }
#elif defined(__aarch64__)
    if (getauxval(AT_HWCAP) & 1ul << 20) f |= WK_CPU_NEON;  /* HWCAP_ASIMDDP; NEON itself is always there */
#endif
    const char *want = wk_switch(WK_SWITCH_CPU);
    if (want && !strcmp(want, "c")) f = 0;
    if (want && !strcmp(want, "avx2")) f &= WK_CPU_AVX2;
    if (want && !strcmp(want, "avx512")) f &= WK_CPU_AVX2 | WK_CPU_AVX512;
    return f;
}

unsigned wk_cpu_features(void) {
    static unsigned found;  /* written with the same value by whoever is first */
    static int known;
    if (!__atomic_load_n(&known, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&found, detect(), __ATOMIC_RELAXED);
        __atomic_store_n(&known, 1, __ATOMIC_RELEASE);
    }
    return found & limit;
}

void wk_cpu_limit(unsigned mask) { limit = mask; }

const char *wk_cpu_name(void) {
    unsigned f = wk_cpu_features();
    if (f & WK_CPU_AVX512_BF16 && f & WK_CPU_AVX512_VNNI) return "avx512-vnni-bf16";
    if (f & WK_CPU_AVX512_VNNI) return "avx512-vnni";
    if (f & WK_CPU_AVX512) return "avx512";
    if (f & WK_CPU_AVX2) return "avx2";
    if (f & WK_CPU_NEON) return "neon";
    return "c";
}
