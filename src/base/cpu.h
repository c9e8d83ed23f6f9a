/* cpu.h: what this processor can do. WICK_CPU in the environment lowers it ("c", "avx2", "avx512"), for tests and comparisons. */
#ifndef WK_CPU_H
#define WK_CPU_H

enum {
    WK_CPU_AVX2 = 1,         /* with FMA and F16C */
    WK_CPU_AVX512 = 2,       /* F, BW, DQ, VL */
    WK_CPU_AVX512_VNNI = 4,
    WK_CPU_AVX512_BF16 = 8,
    WK_CPU_NEON = 16,        /* with dotprod */
};
/* Features found, less what WICK_CPU forbids. Found once. */
unsigned wk_cpu_features(void);
/* For tests: pretends that only these (of those found) are there; ~0u undoes it. */
void wk_cpu_limit(unsigned mask);
/* "avx512-vnni-bf16", "avx2", "c", ... for the features in use. Static. */
const char *wk_cpu_name(void);

#endif
