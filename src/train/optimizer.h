/* optimizer.h: what a step of training does to numbers: pure functions over arrays, in a fixed order on one thread.
 * Load: a LoRA of a small model has some millions of parameters, an update every few hundred tokens. */
#ifndef WK_TRAIN_OPTIMIZER_H
#define WK_TRAIN_OPTIMIZER_H
#include <stddef.h>
#include <stdint.h>

typedef enum wk_optimizer_kind { WK_ADAMW, WK_SGD, WK_LION } wk_optimizer_kind;

/* wd acts on the weights themselves, apart from the gradient: Loshchilov & Hutter 2019, "Decoupled weight decay regularization".
 * Adam is AdamW with weight_decay 0. */
typedef struct wk_optimizer {
    wk_optimizer_kind kind;
    double beta1, beta2;      /* adamw (0.9, 0.999), lion (0.9, 0.99) */
    double eps;               /* adamw (1e-8) */
    double momentum;          /* sgd (0: none) */
    double weight_decay;
} wk_optimizer;

/* How many arrays as large as the parameters an optimiser keeps between steps: 0 to 2. */
int wk_optimizer_n_moment(const wk_optimizer *o);

/* One update of w [n] by gradient g [n]. m1, m2 [n]: its moments, zero before the first step, NULL where it keeps fewer.
 * step counts from 1. Each sum is in double and is rounded to float32 once.
 *   adamw  m1 = b1 m1 + (1 - b1) g, m2 = b2 m2 + (1 - b2) g^2,
 *          w = w (1 - rate wd) - rate (m1 / (1 - b1^step)) / (sqrt(m2 / (1 - b2^step)) + eps)   (as torch.optim.AdamW)
 *   sgd    m1 = momentum m1 + g, w = w (1 - rate wd) - rate m1                                   (torch's has wd in g instead)
 *   lion   w = w (1 - rate wd) - rate sign(b1 m1 + (1 - b1) g), m1 = b2 m1 + (1 - b2) g   (Chen et al. 2023, algorithm 2) */
void wk_optimizer_step(const wk_optimizer *o, double rate, uint64_t step, float *w, const float *g, float *m1, float *m2, size_t n);

/* Sum of squares, for the norm over several arrays: sqrt of their sum. */
double wk_sum_squares(const float *g, size_t n);
/* The factor that brings gradients of this norm down to max_norm: 1 where they are below it, or max_norm is 0; else
 * max_norm / (norm + 1e-6), as torch.nn.utils.clip_grad_norm_ has it. Pascanu et al. 2013. */
double wk_clip_factor(double norm, double max_norm);

#endif
