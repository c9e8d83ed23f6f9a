/* lora_stats.c: singular values of s B A by a small symmetric eigenproblem.
 * Factor: Cholesky's with pivots, which stops at the rank that is there (Golub & Van Loan, Matrix Computations, 4th edition,
 * section 4.2.8); Householder's tridiagonal form (8.3.1); eigenvalues by bisection with Sturm counts (8.4.1).
 * Load: some hundred modules of rank 8 to 256 at each save, for the report; no eigenvectors, all inner loops go along rows. */
#include "train/lora_stats.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* l [k, n] such that l^T l = g [n, n], positive semi-definite; returns k. left [n] is room. */
static int factor(const double *g, int n, double *l, double *left) {
    double least = 0;
    int k = 0;
    for (int i = 0; i < n; i++) {
        left[i] = g[i * n + i];
        if (left[i] > least) least = left[i];
    }
    least *= n * DBL_EPSILON;
    for (; k < n; k++) {
        int p = 0;
        for (int i = 1; i < n; i++) if (left[i] > left[p]) p = i;
        if (!(left[p] > least)) break;
        double *row = l + k * n, root = sqrt(left[p]);
        memcpy(row, g + p * n, (size_t)n * sizeof *row);
        for (int m = 0; m < k; m++) {
            const double *before = l + m * n, f = before[p];
            for (int i = 0; i < n; i++) row[i] -= f * before[i];
        }
        for (int i = 0; i < n; i++) {
            row[i] = left[i] > 0 ? row[i] / root : 0;
            left[i] = fmax(left[i] - row[i] * row[i], 0);
        }
        row[p] = root;
        left[p] = 0;  /* a pivot is taken once */
    }
    return k;
}

/* out [k, k] = l h l^T; room [n] */
static void between(const double *l, const double *h, double *out, double *room, int k, int n) {
    for (int i = 0; i < k; i++) {
        memset(room, 0, (size_t)n * sizeof *room);
        for (int m = 0; m < n; m++)
            for (int j = 0; j < n; j++) room[j] += l[i * n + m] * h[m * n + j];
        for (int j = 0; j < k; j++) {
            double sum = 0;
            for (int m = 0; m < n; m++) sum += room[m] * l[j * n + m];
            out[i * k + j] = sum;
        }
    }
}

/* The symmetric s [n, n], which is destroyed, to d [n] on the diagonal and e [n] beside it; w [n] is room. */
static void tridiagonal(double *s, int n, double *d, double *e, double *w) {
    for (int k = 0; k < n; k++) {
        double *v = s + k * n + k + 1, length = 0, vv = 0, vw = 0;
        int m = n - k - 1;
        d[k] = s[k * n + k];
        e[k] = m ? v[0] : 0;
        for (int i = 1; i < m; i++) vv += v[i] * v[i];
        if (vv == 0) continue;
        length = sqrt(vv + v[0] * v[0]);
        e[k] = v[0] > 0 ? -length : length;
        v[0] -= e[k];
        vv += v[0] * v[0];
        for (int i = 0; i < m; i++) {
            const double *row = s + (k + 1 + i) * n + k + 1;
            double sum = 0;
            for (int j = 0; j < m; j++) sum += row[j] * v[j];
            w[i] = 2 * sum / vv;
            vw += v[i] * w[i];
        }
        for (int i = 0; i < m; i++) w[i] -= vw / vv * v[i];
        for (int i = 0; i < m; i++) {
            double *row = s + (k + 1 + i) * n + k + 1;
            for (int j = 0; j < m; j++) row[j] -= v[i] * w[j] + w[i] * v[j];
        }
    }
}

/* How many eigenvalues of the tridiagonal matrix are x or more. */
static int count_from(const double *d, const double *e, int n, double x, double tiny) {
    int count = 0;
    double q = 1;
    for (int i = 0; i < n; i++) {
        q = d[i] - x - (i ? e[i - 1] * e[i - 1] / q : 0);
        if (fabs(q) < tiny) q = tiny;
        count += q > 0;
    }
    return count;
}

/* Its eigenvalues that are above 0, largest first; the others as 0. */
static void eigenvalues(const double *d, const double *e, int n, double *out) {
    double top = 0;
    for (int i = 0; i < n; i++) {
        double reach = d[i] + fabs(e[i]) + (i ? fabs(e[i - 1]) : 0);
        if (reach > top) top = reach;
    }
    double tiny = top * DBL_EPSILON * DBL_EPSILON, high = top;
    for (int i = 0; i < n; i++) {
        double low = 0;
        while (high - low > 2 * DBL_EPSILON * top) {
            double x = low + (high - low) / 2;
            if (count_from(d, e, n, x, tiny) > i) low = x;
            else high = x;
        }
        out[i] = low;  /* high bounds the next */
    }
}

wick_status wk_lora_singular(const wk_lora_module *x, double s, double *out) {
    int n = (int)x->rank;
    size_t nn = (size_t)n * (size_t)n;
    double *m = wk_alloc_array(3 * nn + 3 * (size_t)n, sizeof *m);
    if (!m) return wk_fail_memory(3 * nn * sizeof *m, "singular values");
    double *g = m, *h = m + nn, *l = m + 2 * nn, *d = m + 3 * nn, *e = d + n, *room = e + n;
    for (int64_t k = 0; k < x->n_out; k++)
        for (int i = 0; i < n; i++) {
            double f = (double)x->b[k * n + i];
            for (int j = 0; j < n; j++) g[i * n + j] += f * (double)x->b[k * n + j];
        }
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t k = 0; k < x->n_in; k++) sum += (double)x->a[i * x->n_in + k] * (double)x->a[j * x->n_in + k];
            h[i * n + j] = h[j * n + i] = sum;
        }
    int k = factor(g, n, l, d);
    between(l, h, g, room, k, n);
    tridiagonal(g, k, d, e, room);
    memset(out, 0, (size_t)n * sizeof *out);
    eigenvalues(d, e, k, out);
    for (int i = 0; i < k; i++) out[i] = fabs(s) * sqrt(out[i]);
    wk_free(m);
    return WICK_OK;
}

double wk_lora_norm(const double *singular, int64_t rank) {
    double sum = 0;
    for (int64_t i = 0; i < rank; i++) sum += singular[i] * singular[i];
    return sqrt(sum);
}
