/* rows_grad_body.h: gradients of the kernels in rows_body.h, one row at a time, after it. */

/* dgate = g act'(gate) up, dup = g act(gate); act' as in graph/ops/glu.c. */
static void glu_grad(wk_act act, const float *g, const float *gate, const float *up, int64_t n, float *dgate, float *dup) {
    for (int64_t i = 0; i < n; i += VW) {
        vf x = get(gate + i, n - i), d = get(g + i, n - i), u = get(up + i, n - i), y, slope;
        if (act == WK_ACT_SILU) {
            vf s = 1.0f / (1.0f + vf_exp(-x));
            y = x * s;
            slope = vf_fma(y, 1.0f - s, s);
        } else if (act == WK_ACT_GELU_TANH) {  /* y = x s(2 u), s the logistic function */
            vf s = 1.0f / (1.0f + vf_exp(-(x * vf_fma(x * x, vf_set(2.0f * 0.79788456f * 0.044715f), vf_set(2.0f * 0.79788456f)))));
            vf inner = vf_fma(x * x, vf_set(6.0f * 0.79788456f * 0.044715f), vf_set(2.0f * 0.79788456f));
            y = x * s;
            slope = vf_fma(y * (1.0f - s), inner, s);
        } else if (act == WK_ACT_SWIGLU_CLIPPED) {
            vf top = vf_set(7.0f), c = vf_select(x > top, top, x), s = 1.0f / (1.0f + vf_exp(-1.702f * c));
            y = c * s;
            slope = vf_select(x < top, vf_fma(1.702f * y, 1.0f - s, s), vf_zero());
            y = vf_select(vf_abs(u) < top, y, vf_zero());
            u = vf_select(u > top, top, vf_select(u < -top, -top, u)) + 1.0f;
        } else {
            vf half = gelu(vf_abs(x)) / vf_max(vf_abs(x), vf_set(1e-30f));  /* the integral up to |x| */
            vf p = vf_select(vf_abs(x) < 1e-30f, vf_set(0.5f), half);
            p = vf_select(x < 0.0f, 1.0f - p, p);
            y = gelu(x);
            slope = vf_fma(x * 0.39894228f, vf_exp(-0.5f * (x * x)), p);
        }
        put(dgate + i, d * slope * u, n - i);
        put(dup + i, d * y, n - i);
    }
}

static void softcap_grad(float cap, const float *g, const float *y, int64_t n, float *dx) {
    for (int64_t i = 0; i < n; i += VW) {
        vf t = get(y + i, n - i) / cap;
        put(dx + i, get(g + i, n - i) * (1.0f - t * t), n - i);
    }
}

static float dot_product(const float *a, const float *b, int64_t n) { return dot(a, b, NULL, n); }

/* Logits capped in place, and what the loss needs of them: a running largest, sum of e^(z - largest), sum. */
static void add_logits(float cap, float *z, int64_t n, wk_logit_sum *s) {
    vf most = vf_set(-INFINITY), total = vf_zero(), all = vf_zero();
    for (int64_t i = 0; i < n; i += VW) {
        vf x = get(z + i, n - i);
        if (cap > 0) x = vf_tanh(x / cap) * cap, put(z + i, x, n - i);
        all += x;
        most = vf_max(most, n - i < VW ? vf_select(vi_count() < (int32_t)(n - i), x, vf_set(-INFINITY)) : x);
    }
    float top = vf_top(most), more = top > s->top ? top : s->top;
    for (int64_t i = 0; i < n; i += VW) {
        vf e = vf_exp_negative(get(z + i, n - i) - more);
        total += n - i < VW ? vf_select(vi_count() < (int32_t)(n - i), e, vf_zero()) : e;
    }
    s->sum = s->sum * expf(s->top - more) + vf_sum(total);
    s->top = more;
    s->all += vf_sum(all);
}

/* Logits that were kept as bfloat16: z = w e - even. */
static void weigh(const uint16_t *e, float w, float even, int64_t n, float *z) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)e[i] << 16;
        float f;
        memcpy(&f, &bits, sizeof f);
        z[i] = w * f - even;
    }
}

/* z becomes g (e^(z - lse) - even) (1 - (z / cap)^2), the capped z: the gradient but for the label's own share. */
static void logits_grad(float cap, float lse, float g, float even, float *z, int64_t n) {
    for (int64_t i = 0; i < n; i += VW) {
        vf x = get(z + i, n - i), slope = vf_set(1);
        if (cap > 0) {
            vf t = vf_tanh(x / cap);
            x = t * cap;
            slope = 1.0f - t * t;
        }
        put(z + i, (vf_exp(x - lse) - even) * slope * g, n - i);
    }
}
