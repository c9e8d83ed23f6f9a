/* rows_body.h: kernels over one row, compiled once per instruction set: kernels_*.c includes it after simd.h.
 * A sum runs over four vectors of lanes, which are added in pairs at the end: an order that n alone fixes. */

/* n floats or a vector, whichever is less. */
/* sum of a * b; with w, of a * b * w. */
INLINE float dot(const float *a, const float *b, const float *w, int64_t n) {
    vf s[4] = { vf_zero(), vf_zero(), vf_zero(), vf_zero() };
    int64_t i = 0;
    for (; i + 4 * VW <= n; i += 4 * VW) {
        WK_UNROLL
        for (int j = 0; j < 4; j++) {
            vf x = vf_load(a + i + j * VW);
            if (w) x *= vf_load(w + i + j * VW);
            s[j] = vf_fma(x, vf_load(b + i + j * VW), s[j]);
        }
    }
    for (; i < n; i += VW) {
        vf x = get(a + i, n - i);
        if (w) x *= get(w + i, n - i);
        s[0] = vf_fma(x, get(b + i, n - i), s[0]);
    }
    return vf_sum((s[0] + s[1]) + (s[2] + s[3]));
}

static float rms_norm(const float *x, const float *w, float eps, int64_t n, float *y) {
    float rstd = 1.0f / sqrtf(dot(x, x, NULL, n) / (float)n + eps);
    for (int64_t i = 0; i < n; i += VW) put(y + i, get(x + i, n - i) * rstd * get(w + i, n - i), n - i);
    return rstd;
}

/* With h = g * w: dx = rstd * (h - x * rstd^2 * mean(h * x)). */
static void rms_norm_grad(const float *g, const float *x, const float *w, float rstd, int64_t n, bool add, float *dx) {
    float mean = dot(g, x, w, n) / (float)n * rstd * rstd;
    for (int64_t i = 0; i < n; i += VW) {
        vf v = (get(g + i, n - i) * get(w + i, n - i) - get(x + i, n - i) * mean) * rstd;
        put(dx + i, add ? get(dx + i, n - i) + v : v, n - i);
    }
}

static void add(const float *a, const float *b, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i += VW) put(y + i, get(a + i, n - i) + get(b + i, n - i), n - i);
}

static void axpy(float s, const float *x, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i += VW) put(y + i, vf_fma(vf_set(s), get(x + i, n - i), get(y + i, n - i)), n - i);
}

static void scale(float s, const float *x, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i += VW) put(y + i, get(x + i, n - i) * s, n - i);
}

/* x times the normal distribution's integral up to x. Abramowitz & Stegun 1964, formula 7.1.26: error below 1.5e-7. */
INLINE vf gelu(vf x) {
    vf z = vf_abs(x) * 0.70710678f, t = 1.0f / vf_fma(z, vf_set(0.3275911f), vf_set(1.0f));
    vf p = vf_fma(t, vf_set(1.061405429f), vf_set(-1.453152027f));
    p = vf_fma(p, t, vf_set(1.421413741f));
    p = vf_fma(p, t, vf_set(-0.284496736f));
    p = vf_fma(p, t, vf_set(0.254829592f));
    vf tail = 0.5f * p * t * vf_exp(-(z * z));
    return x * vf_select(x < 0.0f, tail, 1.0f - tail);
}
/* 0.5 (1 + tanh u) = 1 / (1 + e^-2u); u = sqrt(2 / pi) (x + 0.044715 x^3) */
INLINE vf gelu_tanh(vf x) {
    vf u = x * vf_fma(x * x, vf_set(2.0f * 0.79788456f * 0.044715f), vf_set(2.0f * 0.79788456f));
    return x / (1.0f + vf_exp(-u));
}
INLINE vf silu(vf x) { return x / (1.0f + vf_exp(-x)); }

/* g / (1 + e^(-1.702 g)) with g at most 7, times u in -7..7 and one */
INLINE vf swiglu_clipped(vf g, vf u) {
    vf top = vf_set(7.0f);
    g = vf_select(g > top, top, g);
    u = vf_select(u > top, top, vf_select(u < -top, -top, u));
    return g / (1.0f + vf_exp(-1.702f * g)) * (u + 1.0f);
}

static void glu(wk_act act, const float *gate, const float *up, int64_t n, float *y) {
    for (int64_t i = 0; act == WK_ACT_SWIGLU_CLIPPED && i < n; i += VW)
        put(y + i, swiglu_clipped(get(gate + i, n - i), get(up + i, n - i)), n - i);
    for (int64_t i = 0; act != WK_ACT_SWIGLU_CLIPPED && i < n; i += VW) {
        vf g = get(gate + i, n - i);
        g = act == WK_ACT_SILU ? silu(g) : act == WK_ACT_GELU_TANH ? gelu_tanh(g) : gelu(g);
        put(y + i, g * get(up + i, n - i), n - i);
    }
}

static void softcap(float cap, const float *x, int64_t n, float *y) {
    for (int64_t i = 0; i < n; i += VW) put(y + i, vf_tanh(get(x + i, n - i) / cap) * cap, n - i);
}

static void rope(const float *x, const float *cs, const float *sn, bool back, int64_t half, int64_t head_dim, float *y) {
    for (int64_t j = 0; j < half; j += VW) {
        vf a = get(x + j, half - j), b = get(x + half + j, half - j), c = get(cs + j, half - j), s = get(sn + j, half - j);
        if (back) s = -s;
        put(y + j, a * c - b * s, half - j);
        put(y + half + j, b * c + a * s, half - j);
    }
    if (y != x) memcpy(y + 2 * half, x + 2 * half, (size_t)(head_dim - 2 * half) * sizeof *y);
}
