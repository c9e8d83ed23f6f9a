/* linear_i8mm.c: products for NEON with matrix products of bytes (Armv8.6's i8mm); empty elsewhere.
 * smmla multiplies 2 rows of 8 codes with 2 rows of 8 activations: the codes of 8 inputs are zipped from two vectors of the panel.
 * A row without a partner is its own: sums of integers are exact, so it gets the bits that it has beside another.
 * The rest is linear_neon.c's. Load: see linear.c. */
#include "backend/cpu/linear.h"
#if defined(__aarch64__)
#include "backend/cpu/unroll.h"
#include "base/cpu.h"
#if defined(__clang__)
#define NEON __attribute__((target("i8mm")))
#if !defined(__ARM_FEATURE_MATMUL_INT8)
#define __ARM_FEATURE_MATMUL_INT8 1  /* as in linear_dotprod.c */
#endif
#else
#define NEON __attribute__((target("arch=armv8.2-a+i8mm")))
#endif
#include <arm_neon.h>
#include <string.h>
#define NEON_PART NEON __attribute__((always_inline)) static inline

NEON_PART void add_products(const int NT, const uint8_t *code, const int8_t *q0, const int8_t *q1, int32x4_t s[2][4]) {
    UNROLL for (int k = 0; k < 2; k++) {
        int8x16_t a = vcombine_s8(vld1_s8(q0 + 8 * k), vld1_s8(q1 + 8 * k));
        UNROLL for (int j = 0; j < 4; j++) {
            const int8_t *w = (const int8_t *)code + 128 * k + 16 * j;
            int32x4_t u = vreinterpretq_s32_s8(vld1q_s8(w)), v = vreinterpretq_s32_s8(vld1q_s8(w + 64)), zero = vdupq_n_s32(0);
            int32x4_t low = vmmlaq_s32(zero, vreinterpretq_s8_s32(vzip1q_s32(u, v)), a);   /* outputs 0 and 1, each by both rows */
            int32x4_t high = vmmlaq_s32(zero, vreinterpretq_s8_s32(vzip2q_s32(u, v)), a);  /* 2 and 3 */
            s[0][j] = vaddq_s32(s[0][j], vuzp1q_s32(low, high));
            if (NT > 1) s[1][j] = vaddq_s32(s[1][j], vuzp2q_s32(low, high));
        }
    }
}

#include "backend/cpu/linear_neon_body.h"

const wk_linear_set wk_linear_i8mm = {
    .need = WK_CPU_NEON | WK_CPU_DOTPROD | WK_CPU_I8MM, .name = "neon-i8mm", .mul = mul_codes,
};
#endif
