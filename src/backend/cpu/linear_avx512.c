/* linear_avx512.c: the kernels for this instruction set; empty elsewhere. */
#include "backend/cpu/linear.h"
#if defined(__x86_64__)
#include "base/cpu.h"
const wk_linear_set wk_linear_avx512 = { .need = WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI, .name = "avx512" };
#endif
