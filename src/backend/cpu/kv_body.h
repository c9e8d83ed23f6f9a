/* kv_body.h: a position's keys and values into the cache, as attention_body.h reads them, compiled once per instruction set. */

/* 32 numbers as int8 under one float16 scale, as GGUF's Q8_0 rounds them. */
INLINE uint16_t round_q8(const float *x, int8_t *q) {
    vf most = vf_zero();
    for (int i = 0; i < 32; i += VW) most = vf_max(most, vf_abs(vf_load(x + i)));
    float d = vf_top(most) / 127.0f, inverse = d > 0 ? 1.0f / d : 0;
    for (int i = 0; i < 32; i++) {  /* to nearest, halves away from zero; the remainder is exact */
        float v = x[i] * inverse;
        int whole = (int)v;
        float rest = v - (float)whole;
        q[i] = (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
    }
    return wk_f32_to_f16(d);
}

static void store_q8(const wk_kv_block *b, const float *k, const float *v, int64_t at, uint8_t *kb, uint8_t *vb) {
    int64_t hd = b->head_dim, n = hd / 32;
    uint16_t *ks = (uint16_t *)(void *)(kb + b->scale_at), *vs = (uint16_t *)(void *)(vb + b->scale_at);
    for (int64_t g = 0; g < n; g++) {
        int8_t q[32];
        ks[g * WK_PAGE_LEN + at] = round_q8(k + g * 32, q);
        for (int64_t i = 0; i < 32; i++) ((int8_t *)kb)[(g * 32 + i) * WK_PAGE_LEN + at] = q[i];
        vs[at * n + g] = round_q8(v + g * 32, (int8_t *)vb + at * hd + g * 32);
    }
}

static void store_kv(const wk_kv_block *b, const float *k, const float *v, int at, uint8_t *kb, uint8_t *vb) {
    int64_t hd = b->head_dim;
    if (b->dtype == WK_Q8_0) {
        store_q8(b, k, v, at, kb, vb);
    } else if (b->dtype == WK_F16) {
        uint16_t *kh = (uint16_t *)(void *)kb, *vh = (uint16_t *)(void *)vb + at * hd, t[VW];
        for (int64_t d = 0; d < hd; d += VW) {
            int64_t n = hd - d < VW ? hd - d : VW;
            vf_to_f16(t, get(v + d, n));
            memcpy(vh + d, t, (size_t)n * sizeof *t);
            vf_to_f16(t, get(k + d, n));
            for (int64_t i = 0; i < n; i++) kh[(d + i) * WK_PAGE_LEN + at] = t[i];
        }
    } else {
        for (int64_t d = 0; d < hd; d++) ((float *)(void *)kb)[d * WK_PAGE_LEN + at] = k[d];
        memcpy((float *)(void *)vb + at * hd, v, (size_t)hd * sizeof *v);
    }
}
