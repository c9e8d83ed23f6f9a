/* dropout.h: which elements dropout leaves out: a function of (seed, step, slot, row, column) and nothing else, so that a pass can
 * be run again (a checkpointed layer, a resumed run) and any thread finds the same. Srivastava et al. 2014; counters in place of a
 * stream: Salmon et al. 2011. Load: an element of every adapter's input, twice forward and back: so 32 bits and no branches. */
#ifndef WK_DROPOUT_H
#define WK_DROPOUT_H
#include <stdbool.h>
#include <stdint.h>

typedef struct wk_dropout {
    uint64_t key;
    uint32_t below;  /* an element whose hash is below this is left out */
    float keep;      /* what the others are multiplied with: 1 / (1 - chance) */
} wk_dropout;

static inline uint64_t wk_dropout_mix(uint64_t z) {  /* splitmix64's finaliser: Steele et al. 2014 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline wk_dropout wk_dropout_new(uint64_t seed, uint64_t step, int slot, float chance) {
    uint64_t key = wk_dropout_mix(wk_dropout_mix(seed + 0x9E3779B97F4A7C15u) ^ step);
    return (wk_dropout){ wk_dropout_mix(key + (uint64_t)(uint32_t)slot * 0x9E3779B97F4A7C15u),
                         (uint32_t)((double)chance * 4294967295.0), 1 / (1 - chance) };
}

/* The row's part of the key. */
static inline uint32_t wk_dropout_row(const wk_dropout *d, int64_t row) {
    return (uint32_t)wk_dropout_mix(d->key + (uint64_t)row * 0x9E3779B97F4A7C15u);
}

/* Factor of an element: 0 or keep. */
static inline float wk_dropout_at(const wk_dropout *d, uint32_t row_key, uint32_t column) {
    uint32_t h = row_key ^ (column * 0x9E3779B9u);
    h = (h ^ (h >> 16)) * 0x7FEB352Du;
    h = (h ^ (h >> 15)) * 0x846CA68Bu;
    h ^= h >> 16;
    return h < d->below ? 0.0f : d->keep;
}

#endif
