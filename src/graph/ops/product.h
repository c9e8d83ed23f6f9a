/* product.h: the plain matrix-vector product that linear, lora and expert_linear share. */
#ifndef WK_PRODUCT_H
#define WK_PRODUCT_H
#include <stdbool.h>
#include <stdint.h>

/* y[n_out] = W[n_out, n_in] x (+ bias, or NULL); x rounded to int8 by groups of 32 if round. */
void wk_ref_product(const double *w, const double *x, int64_t n_out, int64_t n_in, const double *bias, bool round, double *y);

#endif
