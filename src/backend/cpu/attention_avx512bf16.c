/* attention_avx512bf16.c: attention and its gradient by products of pairs of bfloat16, of which AMD's cores make twice as many as
 * of float32; empty elsewhere. Processors with AMX take these too: its tiles are not used for attention. */
#include "backend/cpu/pairs.h"
#if defined(__x86_64__)
#define WK_SIMD_AVX512
#define WK_SIMD_BF16
#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"
#include <math.h>
#include "backend/cpu/attention_body.h"
#include "backend/cpu/attention_grad_body.h"

void wk_attend_avx512bf16(const wk_attn_tile *t, const wk_attn_room *room) { attend(t, room); }
void wk_attend_grad_avx512bf16(const wk_attn_grad *t, const wk_attn_grad_room *room) { attend_grad(t, room); }
WK_SIMD_END
#endif
