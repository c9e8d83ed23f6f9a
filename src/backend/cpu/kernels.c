/* kernels.c: which table of kernels this machine runs. */
#include "backend/cpu/kernels.h"
#include "base/cpu.h"

static const wk_kernels *const tables[] = {
#if defined(__x86_64__)
    &wk_kernels_avx512, &wk_kernels_avx2,
#elif defined(__aarch64__)
    &wk_kernels_neon,
#endif
    &wk_kernels_c,
};

const wk_kernels *wk_kernels_here(void) {
    unsigned have = wk_cpu_features();
    int i = 0;
    while (tables[i]->need & ~have) i++;  /* plain C needs nothing */
    return tables[i];
}
