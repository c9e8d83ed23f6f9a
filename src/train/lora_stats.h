/* lora_stats.h: how much an adapter changes a layer, without forming the change. */
#ifndef WK_LORA_STATS_H
#define WK_LORA_STATS_H
#include "adapter/lora_data.h"

/* The singular values of s B A, largest first, into out [rank]: they are the square roots of the eigenvalues of
 * G^(1/2) H G^(1/2) with G = B^T B and H = A A^T, both [rank, rank] (B A (B A)^T and that matrix have the same ones but zeros).
 * Errors  WICK_E_MEMORY. */
wick_status wk_lora_singular(const wk_lora_module *x, double s, double *out);
/* The Frobenius norm of s B A: the square root of the sum of their squares. */
double wk_lora_norm(const double *singular, int64_t rank);

#endif
