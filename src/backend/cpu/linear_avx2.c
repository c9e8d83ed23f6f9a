/* linear_avx2.c: the kernels for this instruction set; empty elsewhere. */
#include "backend/cpu/linear.h"
#if defined(__x86_64__)
#include "base/cpu.h"
const wk_linear_set wk_linear_avx2 = { .need = WK_CPU_AVX2, .name = "avx2" };
#endif
