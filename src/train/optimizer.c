/* optimizer.c: AdamW, SGD with momentum, Lion; norms and clipping. */
#include "train/optimizer.h"
#include <math.h>

int wk_optimizer_n_moment(const wk_optimizer *o) {
    if (o->kind == WK_ADAMW) return 2;
    return o->kind == WK_LION || o->momentum > 0 ? 1 : 0;
}

static void adamw(const wk_optimizer *o, double rate, uint64_t step, float *w, const float *g, float *m1, float *m2, size_t n) {
    double b1 = o->beta1, b2 = o->beta2, keep = 1 - rate * o->weight_decay;
    double by1 = rate / (1 - pow(b1, (double)step)), by2 = 1 / sqrt(1 - pow(b2, (double)step));
    for (size_t i = 0; i < n; i++) {
        double x = (double)g[i], a = b1 * (double)m1[i] + (1 - b1) * x, b = b2 * (double)m2[i] + (1 - b2) * x * x;
        m1[i] = (float)a;
        m2[i] = (float)b;
        w[i] = (float)((double)w[i] * keep - by1 * a / (sqrt(b) * by2 + o->eps));
    }
}

static void sgd(const wk_optimizer *o, double rate, float *w, const float *g, float *m1, size_t n) {
    double keep = 1 - rate * o->weight_decay;
    for (size_t i = 0; i < n; i++) {
        double x = (double)g[i];
        if (m1) m1[i] = (float)(x += o->momentum * (double)m1[i]);
        w[i] = (float)((double)w[i] * keep - rate * x);
    }
}

static void lion(const wk_optimizer *o, double rate, float *w, const float *g, float *m1, size_t n) {
    double keep = 1 - rate * o->weight_decay;
    for (size_t i = 0; i < n; i++) {
        double x = (double)g[i], m = (double)m1[i], c = o->beta1 * m + (1 - o->beta1) * x;
        m1[i] = (float)(o->beta2 * m + (1 - o->beta2) * x);
        w[i] = (float)((double)w[i] * keep - rate * (double)((c > 0) - (c < 0)));
    }
}

void wk_optimizer_step(const wk_optimizer *o, double rate, uint64_t step, float *w, const float *g, float *m1, float *m2,
                       size_t n) {
    switch (o->kind) {
    case WK_ADAMW: adamw(o, rate, step, w, g, m1, m2, n); break;
    case WK_SGD: sgd(o, rate, w, g, o->momentum > 0 ? m1 : NULL, n); break;
    case WK_LION: lion(o, rate, w, g, m1, n); break;
    }
}

double wk_sum_squares(const float *g, size_t n) {
    enum { LANES = 8 };  /* sums side by side: one alone waits for each addition */
    double part[LANES] = { 0 }, sum = 0;
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t k = 0; k < LANES; k++) part[k] += (double)g[i + k] * (double)g[i + k];
    for (size_t i = whole; i < n; i++) part[i - whole] += (double)g[i] * (double)g[i];
    for (int k = 0; k < LANES; k++) sum += part[k];
    return sum;
}

double wk_clip_factor(double norm, double max_norm) {
    return max_norm > 0 && norm > max_norm ? max_norm / (norm + 1e-6) : 1;
}
