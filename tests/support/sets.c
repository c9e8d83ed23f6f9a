/* sets.c: see sets.h. */
#include "support/sets.h"
#include "base/cpu.h"
#include <stdlib.h>

int sets_cases(int n) { return getenv("WICK_TEST_FEW") ? (n + 3) / 4 : n; }

bool sets_use(int i) {
    static const unsigned each[] = {
        WK_CPU_AVX2,
        WK_CPU_AVX2 | WK_CPU_AVX512,  /* without VNNI, as the first that had AVX-512 */
        WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI,
        WK_CPU_AVX2 | WK_CPU_AVX512 | WK_CPU_AVX512_VNNI | WK_CPU_AVX512_BF16,
        WK_CPU_NEON,
        WK_CPU_NEON | WK_CPU_DOTPROD,
        ~0u,
    };
    wk_cpu_limit(~0u);
    unsigned have = wk_cpu_features(), last = 0;
    for (unsigned k = 0; k < sizeof each / sizeof *each && i > 0; k++) {
        unsigned now = each[k] & have;
        if (now == 0 || now == last || (now & last) != last) continue;
        last = now;
        i--;
    }
    if (i > 0) return false;
    wk_cpu_limit(last);
    return true;
}
