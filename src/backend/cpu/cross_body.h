/* cross_body.h: gradients of weights, sums over rows, compiled once per instruction set: kernels_*.c includes it after
 * attention_grad_body.h, whose product it is made of. */

/* C[n_m][n_n] (+)= sum over n_k rows of A[k][m] B[k][n], rows in blocks of 64, each summed by itself: gradients of weights. */
static void cross(int64_t n_m, int64_t n_n, bool add, int64_t n_k, const float *a, int64_t lda, const float *b, int64_t ldb,
                  float *c, int64_t ldc) {
    enum { ROWS = 64, COLS = TILE_N * VW };
    float sum[4 * COLS], last[ROWS * VW];
    for (int64_t k = 0; k < n_k || k == 0; k += ROWS) {
        int64_t rows = n_k - k < ROWS ? n_k - k : ROWS, whole = n_n / VW * VW;
        if (whole < n_n)
            for (int64_t i = 0; i < rows; i++) vf_store(last + i * VW, vf_load_n(b + (k + i) * ldb + whole, n_n - whole));
        for (int64_t n = 0; n < n_n; n += COLS) {
            int64_t cols = n_n - n < COLS ? n_n - n : COLS, full = cols / VW * VW;
            for (int64_t m = 0; m < n_m; m += 4) {
                int64_t r = n_m - m < 4 ? n_m - m : 4;
                product_of(&(product){ r, full, rows, a + k * lda + m, 1, lda, b + k * ldb + n, ldb, sum, COLS, false });
                if (full < cols) product_of(&(product){ r, VW, rows, a + k * lda + m, 1, lda, last, VW, sum + full, COLS, false });
                for (int64_t i = 0; i < r; i++)
                    for (int64_t j = 0; j < cols; j += VW) {
                        float *to = c + (m + i) * ldc + n + j;
                        vf v = vf_load(sum + i * COLS + j);
                        put(to, k || add ? get(to, cols - j) + v : v, cols - j);
                    }
            }
        }
    }
}
