/* product.h: the plain matrix-vector product that linear, lora and expert_linear share. */
#ifndef WK_PRODUCT_H
#define WK_PRODUCT_H
#include "graph/op.h"

/* y[n_out] = W[n_out, n_in] x (+ bias, or NULL); x rounded first. */
void wk_ref_product(const double *w, const double *x, int64_t n_out, int64_t n_in, const double *bias, wk_rounding round,
                    double *y);

#endif
