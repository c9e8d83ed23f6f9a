/* lora_stats.h: how much an adapter changes a layer, without forming the change. */
#ifndef WK_LORA_STATS_H
#define WK_LORA_STATS_H
#include "adapter/lora_data.h"

/* The singular values of s B A, largest first, into out [rank]: they are the square roots of the eigenvalues of
 * L H L^T with L^T L = B^T B and H = A A^T (B A (B A)^T and that matrix have the same ones but zeros). Values below 1e-7 of the
 * largest are rounding.
 * Errors  WICK_E_MEMORY. */
wick_status wk_lora_singular(const wk_lora_module *x, double s, double *out);
/* The Frobenius norm of s B A: the square root of the sum of their squares. */
double wk_lora_norm(const double *singular, int64_t rank);

#endif
