/* random.h: random numbers without state: a number is a function of (seed, position), so that the same request draws the
 * same numbers whatever else runs beside it, and a resumed run goes on where it stopped. */
#ifndef WK_RANDOM_H
#define WK_RANDOM_H
#include <stdint.h>

/* Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3). */
void wk_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* Uniform in [0, 1), with 53 bits. */
double wk_uniform(uint64_t seed, uint64_t position);

#endif
