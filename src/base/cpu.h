/* cpu.h: what this processor can do. WICK_CPU in the environment lowers it ("c", "avx2", "avx512", "neon" and the other words of
 * the table in cpu.c), for tests and comparisons. */
#ifndef WK_CPU_H
#define WK_CPU_H
#include "wick.h"

enum {
    WK_CPU_AVX2 = 1,         /* with FMA and F16C */
    WK_CPU_AVX512 = 2,       /* F, BW, DQ, VL */
    WK_CPU_AVX512_VNNI = 4,
    WK_CPU_AVX512_BF16 = 8,
    WK_CPU_AMX_BF16 = 128,   /* tiles, whose use the system has granted */
    WK_CPU_NEON = 16,        /* Advanced SIMD as Armv8.0 has it: every aarch64 */
    WK_CPU_DOTPROD = 32,     /* sdot */
    WK_CPU_I8MM = 64,        /* smmla; with sdot */
};
/* Features found, less what WICK_CPU forbids. Found once. */
unsigned wk_cpu_features(void);
/* For tests: pretends that only these (of those found) are there; ~0u undoes it. */
void wk_cpu_limit(unsigned mask);
/* "avx512-vnni-bf16-amx", "avx2", "c", ... for the features in use. Static. */
const char *wk_cpu_name(void);
/* WICK_E_ARG if WICK_CPU holds a word that is no set's: what it says would silently not be done. */
wick_status wk_cpu_check(void);

/* ---- the parts, which tests call with made-up processors ---- */

/* What an x86-64 says of itself: CPUID's registers by leaf, and XCR0, the register state that the system saves (0: none said). */
typedef struct wk_cpuid { unsigned c1, b7, c7, a7_1; unsigned long long xcr0; unsigned d7; } wk_cpuid;
unsigned wk_cpu_of_x86(const wk_cpuid *id);
/* Linux's auxiliary vector on aarch64. */
unsigned wk_cpu_of_arm(unsigned long hwcap, unsigned long hwcap2);
/* The features that WICK_CPU=word allows; false: no such word. */
_Bool wk_cpu_allowed(const char *word, unsigned *mask);

#endif
