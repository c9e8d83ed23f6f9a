/* pack_weave.c: pack_weave_body.h for plain C, vectors of 16 bytes; and which set's functions this machine runs. */
#define WK_WEAVERS wk_weavers_c
#define WK_NEED 0
#include "backend/cpu/pack.h"
#include "backend/cpu/simd.h"
#include "base/cpu.h"
#include "backend/cpu/pack_weave_body.h"

const wk_weavers *wk_weavers_here(void) {
#if defined(__x86_64__)
    static const wk_weavers *const sets[] = { &wk_weavers_avx512, &wk_weavers_avx2 };
    for (int i = 0; i < 2; i++) if (!(sets[i]->need & ~wk_cpu_features())) return sets[i];
#endif
    return &wk_weavers_c;
}
