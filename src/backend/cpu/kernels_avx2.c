/* kernels_avx2.c: the rows' kernels and attention's for AVX2 with FMA and F16C. */
#if defined(__x86_64__)
#define WK_SIMD_AVX2
#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"
#include "base/cpu.h"
#include <math.h>
#include "backend/cpu/rows_body.h"
#include "backend/cpu/attention_body.h"
#include "backend/cpu/kv_body.h"
#include "backend/cpu/rows_grad_body.h"
#include "backend/cpu/attention_grad_body.h"
#include "backend/cpu/cross_body.h"

const wk_kernels wk_kernels_avx2 = {
    .need = WK_CPU_AVX2,
    .name = "avx2",
    .rms_norm = rms_norm,
    .rms_norm_grad = rms_norm_grad,
    .add = add,
    .axpy = axpy,
    .scale = scale,
    .glu = glu,
    .softcap = softcap,
    .rope = rope,
    .store_kv = store_kv,
    .attend = attend,
    .glu_grad = glu_grad,
    .softcap_grad = softcap_grad,
    .dot = dot_product,
    .attend_grad = attend_grad,
    .add_logits = add_logits,
    .logits_grad = logits_grad,
    .weigh = weigh,
    .cross = cross,
};
WK_SIMD_END
#else
extern const int wk_no_kernels_avx2;
const int wk_no_kernels_avx2 = 0;  /* a file must hold something */
#endif
