/* widen_body.h: weights of 8-bit floats as float32, times their scales: compiled once per instruction set, by linear_*.c after
 * simd.h. A value and its scale are multiplied as float32, as everywhere else. Load: a panel of 128 inputs of 16 outputs at a time,
 * each of which is then used by all activation rows. */

static void widen_f8(const wk_packed *w, int64_t block, int64_t k, int n, float *out) {
    const uint8_t *code = w->code + (block * w->n_in + k) * 16;
    const bool e4m3 = w->l.eight == WK_EIGHT_E4M3;
    for (int i = 0; i < n;) {
        int64_t g = (k + i) / w->l.group, left = (g + 1) * w->l.group - k;
        int end = left < n ? (int)left : n;
        const float *s = (const float *)(const void *)w->scale + (block * w->n_group + g) * (w->l.one_scale ? 1 : 16);
        vf scale[16 / VW];
        WK_UNROLL
        for (int j = 0; j < 16 / VW; j++) scale[j] = w->l.one_scale ? vf_set(*s) : vf_load(s + VW * j);
        for (; i < end; i++) {
            WK_UNROLL
            for (int j = 0; j < 16 / VW; j++) {
                const uint8_t *c = code + 16 * i + VW * j;
                vf_store(out + 16 * i + VW * j, (e4m3 ? vf_from_e4m3(c) : vf_from_e5m2(c)) * scale[j]);
            }
        }
    }
}
