/* schedule.h: the learning rate at each update, as mlx-lm's build_schedule and mlx.optimizers' schedules define it. */
#ifndef WK_TRAIN_SCHEDULE_H
#define WK_TRAIN_SCHEDULE_H
#include <stdint.h>

typedef enum wk_schedule_kind {
    WK_RATE_CONSTANT,
    WK_RATE_LINEAR,       /* linear_schedule(first, last, steps): straight from first to last, then last */
    WK_RATE_COSINE,       /* cosine_decay(first, decay_steps, last): half a cosine from first to last, then last */
    WK_RATE_EXPONENTIAL,  /* exponential_decay(first, decay): first * decay^update */
    WK_RATE_STEP          /* step_decay(first, decay, steps): first * decay^floor(update / steps) */
} wk_schedule_kind;

typedef struct wk_schedule {
    wk_schedule_kind kind;
    double first, last, decay;
    int64_t steps;            /* linear, cosine, step: at least 1 */
    int64_t warmup;           /* updates of the rise that comes before; 0: none */
    double warmup_init;       /* where the rise begins; update `warmup` has `first`, and the schedule begins one after it */
} wk_schedule;

/* The rate of an update, counted from 0. */
double wk_schedule_rate(const wk_schedule *s, uint64_t update);

#endif
