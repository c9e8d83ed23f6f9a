/* schedule.c: the learning rate at each update. */
#include "train/schedule.h"
#include <math.h>

static double after_rise(const wk_schedule *s, uint64_t update) {
    double k = (double)update, n = s->steps > 0 ? (double)s->steps : 1, upto = fmin(k, n);
    switch (s->kind) {
    case WK_RATE_LINEAR: return upto * ((s->last - s->first) / n) + s->first;
    case WK_RATE_COSINE: return s->last + 0.5 * (1 + cos(3.14159265358979323846 / n * upto)) * (s->first - s->last);
    case WK_RATE_EXPONENTIAL: return s->first * pow(s->decay, k);
    case WK_RATE_STEP: return s->first * pow(s->decay, floor(k / n));
    case WK_RATE_CONSTANT: break;
    }
    return s->first;
}

double wk_schedule_rate(const wk_schedule *s, uint64_t update) {
    if (s->warmup <= 0) return after_rise(s, update);
    uint64_t rise = (uint64_t)s->warmup;
    if (update <= rise) return (double)update * ((s->first - s->warmup_init) / (double)rise) + s->warmup_init;
    return after_rise(s, update - rise - 1);
}
