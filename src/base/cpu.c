/* cpu.c: processor features.
 * x86-64: Intel's Software Developer's Manual, volume 1, 14.3 and 15.2: a vector extension may be used if CPUID has its bit and
 * XCR0 says that the system saves its registers. All cores are taken to be alike: processors with unlike cores leave out of CPUID
 * what some of them lack. aarch64: Linux's "ARM64 ELF hwcaps". */
#include "base/cpu.h"
#include "base/status.h"
#include "base/switches.h"
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static unsigned limit = ~0u;

/* What each word allows: the sets up to its own. */
static const struct { const char *word; unsigned mask; } words[] = {
    { "c", 0 },
    { "avx2", WK_CPU_AVX2 },
    { "avx512", WK_CPU_AVX2 | WK_CPU_AVX512 },
    { "avx512-vnni", WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI },
    { "avx512-bf16", WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI | WK_CPU_AVX512_BF16 },
    { "neon", WK_CPU_NEON },
    { "dotprod", WK_CPU_NEON | WK_CPU_DOTPROD },
    { "i8mm", WK_CPU_NEON | WK_CPU_DOTPROD | WK_CPU_I8MM },
};

static bool has(unsigned reg, int bit) { return reg >> bit & 1; }

unsigned wk_cpu_of_x86(const wk_cpuid *id) {
    const unsigned long long ymm = 0x6, zmm = 0xe6,  /* XMM and YMM; and masks, ZMM's upper halves, ZMM16 to 31 */
                             tiles = 0x60000;         /* their shapes and their data */
    unsigned f = 0;
    if (!has(id->c1, 27) || (id->xcr0 & ymm) != ymm) return 0;  /* OSXSAVE */
    bool avx = has(id->c1, 28), fma = has(id->c1, 12), f16c = has(id->c1, 29);
    if (!avx || !fma || !f16c || !has(id->b7, 5)) return 0;
    f |= WK_CPU_AVX2;
    bool bw = has(id->b7, 30), dq = has(id->b7, 17), vl = has(id->b7, 31);
    if ((id->xcr0 & zmm) != zmm || !has(id->b7, 16) || !bw || !dq || !vl) return f;
    f |= WK_CPU_AVX512;
    if (has(id->c7, 11)) f |= WK_CPU_AVX512_VNNI;
    if (has(id->a7_1, 5)) f |= WK_CPU_AVX512_BF16;
    if ((id->xcr0 & tiles) == tiles && has(id->d7, 24) && has(id->d7, 22)) f |= WK_CPU_AMX_BF16;
    return f;
}

unsigned wk_cpu_of_arm(unsigned long hwcap, unsigned long hwcap2) {
    unsigned f = 0;
    if (!(hwcap >> 1 & 1)) return 0;                /* HWCAP_ASIMD */
    f |= WK_CPU_NEON;
    if (!(hwcap >> 20 & 1)) return f;               /* HWCAP_ASIMDDP */
    f |= WK_CPU_DOTPROD;
    if (hwcap2 >> 13 & 1) f |= WK_CPU_I8MM;         /* HWCAP2_I8MM */
    return f;
}

#if defined(__x86_64__)
static wk_cpuid ask(void) {
    wk_cpuid id = { 0 };
    unsigned a, b, c, d = 0;
    if (!__get_cpuid(1, &a, &b, &id.c1, &d)) return id;
    if (has(id.c1, 27)) {  /* else the instruction is not there */
        unsigned low, high;
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        id.xcr0 = (unsigned long long)high << 32 | low;
    }
    bool more = __get_cpuid_count(7, 0, &a, &id.b7, &id.c7, &id.d7) && a >= 1;
    if (more && !__get_cpuid_count(7, 1, &id.a7_1, &b, &c, &d)) id.a7_1 = 0;
    return id;
}
/* Linux saves the 8 KB of tiles only of processes that ask ("Using XSTATE features in user space applications"). */
static bool tiles_granted(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
    return false;
#endif
}
static unsigned found_here(void) {
    wk_cpuid id = ask();
    unsigned f = wk_cpu_of_x86(&id);
    return f & WK_CPU_AMX_BF16 && !tiles_granted() ? f & ~(unsigned)WK_CPU_AMX_BF16 : f;
}
#elif defined(__aarch64__) && defined(__linux__)
static unsigned found_here(void) { return wk_cpu_of_arm(getauxval(AT_HWCAP), getauxval(AT_HWCAP2)); }
#elif defined(__aarch64__)
static unsigned found_here(void) { return WK_CPU_NEON; }  /* part of the architecture */
#else
static unsigned found_here(void) { return 0; }
#endif

_Bool wk_cpu_allowed(const char *word, unsigned *mask) {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(words[i].word, word)) {
            *mask = words[i].mask;
            return true;
        }
    return false;
}

static unsigned detect(void) {
    const char *want = wk_switch(WK_SWITCH_CPU);
    unsigned mask = ~0u;
    if (want) wk_cpu_allowed(want, &mask);
    return found_here() & mask;
}

wick_status wk_cpu_check(void) {
    const char *want = wk_switch(WK_SWITCH_CPU);
    unsigned mask;
    if (!want || !want[0] || wk_cpu_allowed(want, &mask)) return WICK_OK;
    return wk_fail(WICK_E_ARG, "WICK_CPU is \"%s\": c, avx2, avx512, avx512-vnni, avx512-bf16, neon, dotprod and i8mm are known; "
                   "or leave it out", want);
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
    if (f & WK_CPU_AVX512_BF16 && f & WK_CPU_AVX512_VNNI)
        return f & WK_CPU_AMX_BF16 ? "avx512-vnni-bf16-amx" : "avx512-vnni-bf16";
    if (f & WK_CPU_AVX512_VNNI) return "avx512-vnni";
    if (f & WK_CPU_AVX512) return "avx512";
    if (f & WK_CPU_AVX2) return "avx2";
    if (f & WK_CPU_I8MM) return "neon-i8mm";
    if (f & WK_CPU_DOTPROD) return "neon-dotprod";
    if (f & WK_CPU_NEON) return "neon";
    return "c";
}
