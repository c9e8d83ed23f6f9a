/* linear_dotprod.c: products for NEON with dot products (Armv8.2, a feature of its own); empty elsewhere.
 * sdot adds four products of signed bytes to each int32. The rest is linear_neon.c's. Load: see linear.c. */
#include "backend/cpu/linear.h"
#if defined(__aarch64__)
#include "backend/cpu/unroll.h"
#include "base/cpu.h"
#if defined(__clang__)
#define NEON __attribute__((target("dotprod")))
#if !defined(__ARM_FEATURE_DOTPROD)
#define __ARM_FEATURE_DOTPROD 1  /* else Clang before 16 declares no intrinsic, whatever a function's target says */
#endif
#else
#define NEON __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#include <arm_neon.h>
#include <string.h>
#define NEON_PART NEON __attribute__((always_inline)) static inline

NEON_PART void add_products(const int NT, const uint8_t *code, const int8_t *q0, const int8_t *q1, int32x4_t s[2][4]) {
    UNROLL for (int k = 0; k < 4; k++)
        UNROLL for (int i = 0; i < NT; i++) {
            int32_t four;
            memcpy(&four, (i ? q1 : q0) + 4 * k, 4);
            int8x16_t a = vreinterpretq_s8_s32(vdupq_n_s32(four));
            UNROLL for (int j = 0; j < 4; j++) s[i][j] = vdotq_s32(s[i][j], vld1q_s8((const int8_t *)code + 64 * k + 16 * j), a);
        }
}

#include "backend/cpu/linear_neon_body.h"

const wk_linear_set wk_linear_dotprod = {
    .need = WK_CPU_NEON | WK_CPU_DOTPROD, .name = "neon-dotprod", .mul = mul_codes,
};
#endif
