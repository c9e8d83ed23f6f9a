/* words.c: words met before, whatever the model: nine in ten words of a text come from a small table that belongs to the call
 * while it runs (bounded, no lock); only the others go to the model.
 * Load: every word of a text; a word is two to eight bytes. */
#include "text/tokenizer_parts.h"
#include <string.h>

enum { WORD_MAX = 32, WORD_IDS = 7, WORD_BITS = 12 };

/* A word padded with zeros, and its ids: one cache line. */
struct wk_word_slot {
    uint64_t word[WORD_MAX / 8];
    uint8_t len, n;         /* len 0: empty */
    int32_t id[WORD_IDS];
};

void wk_words_take(wk_run *r, size_t n) {
    enum { WORTH = 256 };  /* bytes of text from which a new table pays */
    wk_shelf *s = r->t->shelf;
    for (size_t i = 0; i < sizeof s->table / sizeof *s->table && !r->words; i++) r->words = atomic_exchange(&s->table[i], NULL);
    if (!r->words && n >= WORTH) r->words = wk_alloc_array((size_t)1 << WORD_BITS, sizeof *r->words);
}

void wk_words_give(wk_run *r) {
    wk_shelf *s = r->t->shelf;
    for (size_t i = 0; i < sizeof s->table / sizeof *s->table && r->words; i++) r->words = atomic_exchange(&s->table[i], r->words);
    wk_free(r->words);
    r->words = NULL;
}

void wk_shelf_free(wk_shelf *s) {
    for (size_t i = 0; s && i < sizeof s->table / sizeof *s->table; i++) wk_free(atomic_load(&s->table[i]));
    wk_free(s);
}

/* The word's bytes, the rest zero. */
static inline void load_word(const char *p, size_t n, const char *limit, uint64_t w[4]) {
    static const uint8_t keep[2 * WORD_MAX] = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    };
    uint64_t mask[4];
    if (limit - p < WORD_MAX) {
        memset(w, 0, WORD_MAX);
        memcpy(w, p, n);
        return;
    }
    memcpy(w, p, WORD_MAX);
    memcpy(mask, keep + WORD_MAX - n, WORD_MAX);
    for (int i = 0; i < 4; i++) w[i] &= mask[i];
}

wick_status wk_word(wk_run *r, const char *p, size_t n) {
    if (n > WORD_MAX || !r->words) return r->t->encode(r, p, n);
    uint64_t w[4];
    load_word(p, n, r->limit, w);
    uint64_t h = (w[0] + w[2] * 0xC4CEB9FE1A85EC53u) * 0x9E3779B97F4A7C15u ^
                 (w[1] + w[3] * 0xFF51AFD7ED558CCDu) * 0xD6E8FEB86659FD93u;
    wk_word_slot *slot = &r->words[h >> (64 - WORD_BITS)];
    if (!wk_ids_room(r->out, WORD_IDS)) return wk_fail_memory(4 * WORD_IDS, "ids");
    if (slot->len == n && !((slot->word[0] ^ w[0]) | (slot->word[1] ^ w[1]) | (slot->word[2] ^ w[2]) | (slot->word[3] ^ w[3]))) {
        memcpy(r->out->ptr + r->out->len, slot->id, sizeof slot->id);
        r->out->len += slot->n;
        return WICK_OK;
    }
    size_t before = r->out->len;
    wick_status st = r->t->encode(r, p, n);
    size_t k = r->out->len - before;
    if (!st && k <= WORD_IDS) {
        memcpy(slot->word, w, sizeof slot->word);
        memcpy(slot->id, r->out->ptr + before, k * sizeof *slot->id);
        slot->len = (uint8_t)n;
        slot->n = (uint8_t)k;
    }
    return st;
}
