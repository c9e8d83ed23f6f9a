/* rope.c: the frequencies of rotary embedding, plain and stretched. Plain and linear: Su et al. 2021; Chen et al. 2023;
 * yarn: Peng et al. 2023, sections 3.2 to 3.4; llama3: the Llama 3.1 release's rope scaling, as transformers defines it;
 * longrope: Ding et al. 2024, section 3, with the factor on cos and sin that Phi-3 has. */
#include "model/hparams.h"
#include <math.h>

static const double PI = 3.14159265358979323846;

/* The dimension that turns n times over the original context (yarn, section A.2). */
static double correction_dim(const wk_rope_params *p, double n, int64_t dim) {
    return (double)dim * log((double)p->original_ctx / (n * 2 * PI)) / (2 * log(p->theta));
}

/* The share of a frequency that stays as it was. */
static double yarn_kept(const wk_rope_params *p, int64_t j, int64_t dim) {
    double low = correction_dim(p, p->beta_fast, dim), high = correction_dim(p, p->beta_slow, dim);
    low = fmax(p->unrounded ? low : floor(low), 0);
    high = fmin(p->unrounded ? high : ceil(high), (double)dim - 1);
    if (high == low) high += 0.001;
    return 1 - fmin(fmax(((double)j - low) / (high - low), 0), 1);
}

/* What a frequency is divided by. GGUF files hold these as float32 (rope_freqs), so they are rounded here too: the same bits from
 * either. */
static float llama3_factor(const wk_rope_params *p, double f) {
    double turns = (double)p->original_ctx * f / (2 * PI);  /* over the original context */
    if (turns > p->high_freq_factor) return 1;
    if (turns < p->low_freq_factor) return (float)p->factor;
    double smooth = (turns - p->low_freq_factor) / (p->high_freq_factor - p->low_freq_factor);
    return (float)(1 / ((1 - smooth) / p->factor + smooth));
}

void wk_rope_freqs(const wk_rope_params *p, int64_t rot_dim, const float *factors, float *out, float *mscale) {
    *mscale = 1;
    if (p->kind == WK_ROPE_YARN)
        *mscale = (float)(p->attention_factor > 0 ? p->attention_factor : p->factor > 1 ? 0.1 * log(p->factor) + 1 : 1);
    if (p->kind == WK_ROPE_LONG)
        *mscale = (float)(p->attention_factor > 0 ? p->attention_factor
                          : p->factor > 1         ? sqrt(1 + log(p->factor) / log((double)p->original_ctx))
                                                  : 1);
    for (int64_t j = 0; j < rot_dim / 2; j++) {
        double f = pow(p->theta, -2.0 * (double)j / (double)rot_dim);
        if (p->kind == WK_ROPE_LINEAR) f /= p->factor;
        if (p->kind == WK_ROPE_LLAMA3) f /= (double)llama3_factor(p, f);
        if (p->kind == WK_ROPE_YARN) {
            double kept = yarn_kept(p, j, rot_dim);
            f = f * kept + f / p->factor * (1 - kept);
        }
        out[j] = (float)(factors ? f / (double)factors[j] : f);
    }
}

void wk_rope_llama3_factors(const wk_rope_params *p, int64_t rot_dim, float *out) {
    for (int64_t j = 0; j < rot_dim / 2; j++) out[j] = llama3_factor(p, pow(p->theta, -2.0 * (double)j / (double)rot_dim));
}
