/* lora_stats.c: singular values of s B A by two small symmetric eigenproblems.
 * Eigenvalues: Jacobi's method in cyclic order (Golub & Van Loan, Matrix Computations, 4th edition, section 8.5).
 * Load: rank 8 to 64, some hundred modules, once a report. */
#include "train/lora_stats.h"
#include <math.h>
#include <string.h>

/* One rotation that makes s[p,q] zero; v, if there, takes it along. */
static void rotate(double *s, double *v, int n, int p, int q) {
    double apq = s[p * n + q];
    if (apq == 0) return;
    double tau = (s[q * n + q] - s[p * n + p]) / (2 * apq);
    double t = (tau >= 0 ? 1 : -1) / (fabs(tau) + sqrt(1 + tau * tau)), c = 1 / sqrt(1 + t * t), d = t * c;
    for (int k = 0; k < n; k++) {
        double x = s[k * n + p], y = s[k * n + q];
        s[k * n + p] = c * x - d * y;
        s[k * n + q] = d * x + c * y;
    }
    for (int k = 0; k < n; k++) {
        double x = s[p * n + k], y = s[q * n + k];
        s[p * n + k] = c * x - d * y;
        s[q * n + k] = d * x + c * y;
    }
    for (int k = 0; v && k < n; k++) {
        double x = v[k * n + p], y = v[k * n + q];
        v[k * n + p] = c * x - d * y;
        v[k * n + q] = d * x + c * y;
    }
}

/* Makes the symmetric s [n,n] diagonal; v [n,n] or NULL gets the eigenvectors as columns. */
static void jacobi(double *s, double *v, int n) {
    for (int i = 0; v && i < n; i++) for (int j = 0; j < n; j++) v[i * n + j] = i == j;
    for (int sweep = 0; sweep < 40; sweep++) {
        double off = 0, on = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) *(i == j ? &on : &off) += s[i * n + j] * s[i * n + j];
        if (off <= 1e-30 * on) return;
        for (int p = 0; p < n; p++) for (int q = p + 1; q < n; q++) rotate(s, v, n, p, q);
    }
}

/* out = x^(1/2) of a positive semi-definite x, which is destroyed; v [n,n] is room. */
static void square_root(double *x, double *v, double *out, int n) {
    jacobi(x, v, n);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k < n; k++) if (x[k * n + k] > 0) sum += v[i * n + k] * sqrt(x[k * n + k]) * v[j * n + k];
            out[i * n + j] = sum;
        }
}

static void multiply(const double *a, const double *b, double *out, int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
            out[i * n + j] = sum;
        }
}

wick_status wk_lora_singular(const wk_lora_module *x, double s, double *out) {
    int n = (int)x->rank;
    size_t nn = (size_t)n * (size_t)n;
    double *m = wk_alloc_array(4 * nn, sizeof *m);
    if (!m) return wk_fail_memory(4 * nn * sizeof *m, "singular values");
    double *g = m, *h = m + nn, *root = m + 2 * nn, *room = m + 3 * nn;
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double a = 0, b = 0;
            for (int64_t k = 0; k < x->n_in; k++) a += (double)x->a[i * x->n_in + k] * (double)x->a[j * x->n_in + k];
            for (int64_t k = 0; k < x->n_out; k++) b += (double)x->b[k * n + i] * (double)x->b[k * n + j];
            h[i * n + j] = h[j * n + i] = a;
            g[i * n + j] = g[j * n + i] = b;
        }
    square_root(g, room, root, n);
    multiply(h, root, room, n);
    multiply(root, room, g, n);
    jacobi(g, NULL, n);
    for (int i = 0; i < n; i++) {
        double v = g[i * n + i] > 0 ? fabs(s) * sqrt(g[i * n + i]) : 0;
        int at = i;
        for (; at > 0 && out[at - 1] < v; at--) out[at] = out[at - 1];
        out[at] = v;
    }
    wk_free(m);
    return WICK_OK;
}

double wk_lora_norm(const double *singular, int64_t rank) {
    double sum = 0;
    for (int64_t i = 0; i < rank; i++) sum += singular[i] * singular[i];
    return sqrt(sum);
}
