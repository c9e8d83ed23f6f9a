/* pack_weave_avx512.c: pack_weave_body.h for AVX-512. */
#if defined(__x86_64__)
#define WK_SIMD_AVX512
#define WK_WEAVERS wk_weavers_avx512
#define WK_NEED (WK_CPU_AVX2 | WK_CPU_AVX512)
#include "backend/cpu/pack.h"
#include "backend/cpu/simd.h"
#include "base/cpu.h"
#include "backend/cpu/pack_weave_body.h"
WK_SIMD_END
#else
extern const int wk_no_weavers_avx512;
const int wk_no_weavers_avx512 = 0;  /* a file must hold something */
#endif
