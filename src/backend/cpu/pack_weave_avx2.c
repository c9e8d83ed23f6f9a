/* pack_weave_avx2.c: pack_weave_body.h for AVX2. */
#if defined(__x86_64__)
#define WK_SIMD_AVX2
#define WK_WEAVERS wk_weavers_avx2
#define WK_NEED (WK_CPU_AVX2)
#include "backend/cpu/pack.h"
#include "backend/cpu/simd.h"
#include "base/cpu.h"
#include "backend/cpu/pack_weave_body.h"
WK_SIMD_END
#else
extern const int wk_no_weavers_avx2;
const int wk_no_weavers_avx2 = 0;  /* a file must hold something */
#endif
