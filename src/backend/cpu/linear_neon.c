/* linear_neon.c: the kernels for NEON with dot products; empty elsewhere. */
#include "backend/cpu/linear.h"
#if defined(__aarch64__)
#include "base/cpu.h"
const wk_linear_set wk_linear_neon = { .need = WK_CPU_NEON, .name = "neon" };
#endif
