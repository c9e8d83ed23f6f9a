/* test_cpu.c: what is found on made-up processors, which kernels then serve, and the words of WICK_CPU. */
#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "base/cpu.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/wait.h>
#include <cmocka.h>

enum { OSXSAVE = 1 << 27, AVX = 1 << 28, FMA = 1 << 12, F16C = 1 << 29, AVX2 = 1 << 5, VNNI = 1 << 11, BF16 = 1 << 5 };
static const unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;

static unsigned x86(unsigned c1, unsigned b7, unsigned c7, unsigned a7_1, unsigned long long xcr0) {
    return wk_cpu_of_x86(&(wk_cpuid){ c1, b7, c7, a7_1, xcr0, 0 });
}

static void made_up_x86(void **state) {
    (void)state;
    const unsigned c1 = OSXSAVE | AVX | FMA | F16C, b7 = AVX2 | f | dq | bw | vl, avx512 = WK_CPU_AVX2 | WK_CPU_AVX512;
    assert_int_equal(x86(c1, b7, VNNI, BF16, 0xe7), avx512 | WK_CPU_AVX512_VNNI | WK_CPU_AVX512_BF16);
    assert_int_equal(x86(c1, b7, 0, 0, 0xe7), avx512);                                 /* the first with AVX-512 */
    assert_int_equal(x86(c1, b7, VNNI, 0, 0xe7), avx512 | WK_CPU_AVX512_VNNI);
    assert_int_equal(x86(c1, b7, 0, BF16, 0xe7), avx512 | WK_CPU_AVX512_BF16);
    assert_int_equal(x86(c1, AVX2, VNNI, BF16, 0x7), WK_CPU_AVX2);
    assert_int_equal(x86(c1, AVX2, VNNI, BF16, 0xe7), WK_CPU_AVX2);                    /* bits alone are not the set */
    /* the system saves no ZMM, no upper ZMM, no masks; no YMM; nothing */
    assert_int_equal(x86(c1, b7, VNNI, BF16, 0x7), WK_CPU_AVX2);
    assert_int_equal(x86(c1, b7, VNNI, BF16, 0x67), WK_CPU_AVX2);
    assert_int_equal(x86(c1, b7, VNNI, BF16, 0xc7), WK_CPU_AVX2);
    assert_int_equal(x86(c1, b7, VNNI, BF16, 0xa7), WK_CPU_AVX2);
    assert_int_equal(x86(c1, b7, VNNI, BF16, 0xe3), 0);
    assert_int_equal(x86(c1, b7, VNNI, BF16, 0), 0);
    assert_int_equal(x86(c1 & ~(unsigned)OSXSAVE, b7, VNNI, BF16, 0xe7), 0);
    /* AVX2 without FMA, F16C or AVX; AVX alone: plain C */
    assert_int_equal(x86(c1 & ~(unsigned)FMA, b7, VNNI, 0, 0xe7), 0);
    assert_int_equal(x86(c1 & ~(unsigned)F16C, b7, VNNI, 0, 0xe7), 0);
    assert_int_equal(x86(c1 & ~(unsigned)AVX, b7, VNNI, 0, 0xe7), 0);
    assert_int_equal(x86(c1, b7 & ~(unsigned)AVX2, VNNI, 0, 0xe7), 0);
    /* tiles: the unit, its bfloat16, both kinds of its registers saved, AVX-512 */
    const unsigned tile = 1 << 24, bf16 = 1 << 22, rest = avx512 | WK_CPU_AVX512_VNNI | WK_CPU_AVX512_BF16;
    const struct { unsigned d7; unsigned long long xcr0; unsigned found; } amx[] = {
        { tile | bf16, 0x600e7, rest | WK_CPU_AMX_BF16 }, { tile, 0x600e7, rest }, { bf16, 0x600e7, rest },
        { tile | bf16, 0x200e7, rest }, { tile | bf16, 0x400e7, rest }, { tile | bf16, 0x60007, WK_CPU_AVX2 },
    };
    for (size_t i = 0; i < sizeof amx / sizeof *amx; i++)
        assert_int_equal(wk_cpu_of_x86(&(wk_cpuid){ c1, b7, VNNI, BF16, amx[i].xcr0, amx[i].d7 }), amx[i].found);
    for (int i = 0; i < 4; i++)  /* AVX-512 in part */
        assert_int_equal(x86(c1, b7 & ~(const unsigned[]){ f, dq, bw, vl }[i], VNNI, BF16, 0xe7), WK_CPU_AVX2);
}

static void made_up_arm(void **state) {
    (void)state;
    const unsigned long simd = 1 << 1, dp = 1 << 20, i8mm = 1 << 13;
    assert_int_equal(wk_cpu_of_arm(0, i8mm), 0);
    assert_int_equal(wk_cpu_of_arm(simd, 0), WK_CPU_NEON);
    assert_int_equal(wk_cpu_of_arm(simd | dp, 0), WK_CPU_NEON | WK_CPU_DOTPROD);
    assert_int_equal(wk_cpu_of_arm(simd | dp, i8mm), WK_CPU_NEON | WK_CPU_DOTPROD | WK_CPU_I8MM);
    assert_int_equal(wk_cpu_of_arm(simd, i8mm), WK_CPU_NEON);
}

/* Whatever part of what is here is said to be here, the kernels are ones that it has; test_linear.c asks the same of products. */
static void kernels_fit(void **state) {
    (void)state;
    unsigned have = wk_cpu_features();
    for (unsigned mask = 0; mask <= have; mask++) {
        if (mask & ~have) continue;
        wk_cpu_limit(mask);
        assert_int_equal(wk_cpu_features(), mask);
        assert_int_equal(wk_kernels_here()->need & ~mask, 0);
    }
    wk_cpu_limit(~0u);
}

static void words(void **state) {
    (void)state;
    unsigned m = 99;
    assert_true(wk_cpu_allowed("c", &m) && m == 0);
    assert_true(wk_cpu_allowed("avx2", &m) && m == WK_CPU_AVX2);
    assert_true(wk_cpu_allowed("avx512", &m) && m == (WK_CPU_AVX2 | WK_CPU_AVX512));
    assert_true(wk_cpu_allowed("avx512-bf16", &m) && m == (WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI | WK_CPU_AVX512_BF16));
    assert_true(wk_cpu_allowed("neon", &m) && m == WK_CPU_NEON);
    assert_true(wk_cpu_allowed("dotprod", &m) && m == (WK_CPU_NEON | WK_CPU_DOTPROD));
    assert_true(wk_cpu_allowed("i8mm", &m) && m == (WK_CPU_NEON | WK_CPU_DOTPROD | WK_CPU_I8MM));
    assert_false(wk_cpu_allowed("avx", &m));
    assert_false(wk_cpu_allowed("", &m));
}

/* In a process of its own, as the environment is read once: 0: as expected. */
static int in_child(const char *word, bool known, unsigned most) {
    pid_t child = fork();
    int code = 0;
    if (!child) {
        wk_backend *be = NULL;
        setenv("WICK_CPU", word, 1);
        wick_status st = wk_cpu_new(1, &be);
        bool right = known ? st == WICK_OK && !(wk_cpu_features() & ~most) : st == WICK_E_ARG && strstr(wick_last_error(), word);
        if (be) be->ops->free(be);
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    return code;
}
static void environment(void **state) {
    (void)state;
    assert_int_equal(in_child("c", true, 0), 0);
    assert_int_equal(in_child("avx2", true, WK_CPU_AVX2), 0);
    assert_int_equal(in_child("neon", true, WK_CPU_NEON), 0);
    assert_int_equal(in_child("axv2", false, 0), 0);
    assert_int_equal(in_child("", true, ~0u), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment),  /* first: nothing has read it yet */
        cmocka_unit_test(made_up_x86), cmocka_unit_test(made_up_arm), cmocka_unit_test(kernels_fit), cmocka_unit_test(words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
