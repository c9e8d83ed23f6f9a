/* vocabulary.c: ids and their spelling, with a hash from spelling to id.
 * Load: 30,000 to 260,000 entries of about 7 bytes, entered once at open and looked up half a million times while the
 * merges are read; so slots are 8 bytes with a 32-bit tag, and strings stay where they are.
 * The entries are a stranger's: a chain of more than MAX_CHAIN slots is refused, so that colliding spellings cannot
 * make loading quadratic. */
#include "text/tokenizer_parts.h"
#include <string.h>

enum { MAX_CHAIN = 2000 };

static uint64_t mix(uint64_t h) {
    h *= 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

uint64_t wk_text_hash(const char *p, size_t n) {
    uint64_t h = mix(n + 0x51ED270B), v;
    uint32_t lo, hi;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&v, p, 8);
        h = mix(h ^ v);
    }
    if (n >= 4) {
        memcpy(&lo, p, 4);
        memcpy(&hi, p + n - 4, 4);
        h = mix(h ^ ((uint64_t)hi << 32 | lo));
    } else if (n) {
        h = mix(h ^ ((uint64_t)(uint8_t)p[0] | (uint64_t)(uint8_t)p[n / 2] << 8 | (uint64_t)(uint8_t)p[n - 1] << 16));
    }
    return h * 0xD6E8FEB86659FD93u;
}

wick_status wk_vocabulary_new(wk_vocabulary *v, int32_t n) {
    int bits = 4;
    while (((uint64_t)1 << bits) < (uint64_t)n + (uint64_t)n / 2) bits++;
    *v = (wk_vocabulary){ .n = n, .bits = bits };
    v->entry = wk_alloc_array((size_t)n + 1, sizeof *v->entry);
    v->kind = wk_alloc_array((size_t)n + 1, sizeof *v->kind);
    v->byte_at = wk_alloc_array((size_t)n + 1, sizeof *v->byte_at);
    v->slot = wk_alloc_table((size_t)1 << bits, sizeof *v->slot);
    if (!v->entry || !v->kind || !v->byte_at || !v->slot) {
        wk_vocabulary_free(v);
        return wk_fail_memory((size_t)n * 21 + ((size_t)8 << bits), "the vocabulary");
    }
    memset(v->kind, WK_TOKEN_UNUSED, (size_t)n);
    return WICK_OK;
}

void wk_vocabulary_free(wk_vocabulary *v) {
    wk_free(v->entry);
    wk_free(v->kind);
    wk_free(v->byte_at);
    wk_free(v->bytes);
    wk_free(v->slot);
    wk_free(v->own);
    *v = (wk_vocabulary){ 0 };
}

/* memcmp() for strings of a few bytes. */
static inline bool same(const char *a, const char *b, size_t n) {
    uint64_t x, y;
    uint32_t s, t;
    for (; n >= 8; a += 8, b += 8, n -= 8) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        if (x != y) return false;
    }
    if (n >= 4) {
        memcpy(&s, a, 4);
        memcpy(&t, b, 4);
        if (s != t) return false;
        memcpy(&s, a + n - 4, 4);
        memcpy(&t, b + n - 4, 4);
        return s == t;
    }
    return !n || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

int32_t wk_vocabulary_find_hashed(const wk_vocabulary *v, const char *p, size_t n, uint64_t h) {
    size_t mask = ((size_t)1 << v->bits) - 1;
    for (size_t i = h >> (64 - v->bits);; i = (i + 1) & mask) {
        const wk_entry_slot *s = &v->slot[i];
        if (!s->id1) return -1;
        if (s->tag != (uint32_t)h) continue;
        const wk_str *e = &v->entry[s->id1 - 1];
        if (e->len == n && same(e->ptr, p, n)) return (int32_t)(s->id1 - 1);
    }
}

int32_t wk_vocabulary_find(const wk_vocabulary *v, const char *p, size_t n) {
    return n && v->slot ? wk_vocabulary_find_hashed(v, p, n, wk_text_hash(p, n)) : -1;
}

/* Enters an id under the hash of its spelling. */
static wick_status enter(wk_vocabulary *v, int32_t id, uint64_t h, const char *what) {
    wk_str s = v->entry[id];
    size_t mask = ((size_t)1 << v->bits) - 1, i = h >> (64 - v->bits);
    for (size_t chain = 0; v->slot[i].id1; i = (i + 1) & mask, chain++) {
        uint32_t other = v->slot[i].id1 - 1;
        if (v->slot[i].tag == (uint32_t)h && v->entry[other].len == s.len && same(v->entry[other].ptr, s.ptr, s.len))
            return wk_fail(WICK_E_FORMAT, "%s: ids %u and %d are both spelled \"%s\"; each entry must be there once",
                           what, other, id, wk_show(s).text);
        if (chain == MAX_CHAIN)
            return wk_fail(WICK_E_FORMAT, "%s: entry %d is the %d-th of one hash value; no trained vocabulary looks like that",
                           what, id, MAX_CHAIN);
    }
    v->slot[i] = (wk_entry_slot){ (uint32_t)h, (uint32_t)id + 1 };
    if (s.len > v->longest) v->longest = s.len;
    return WICK_OK;
}

wick_status wk_vocabulary_set(wk_vocabulary *v, int32_t id, wk_str s, const char *what) {
    v->entry[id] = s;
    return s.len ? enter(v, id, wk_text_hash(s.ptr, s.len), what) : WICK_OK;
}

wick_status wk_vocabulary_index(wk_vocabulary *v, const char *what) {
    enum { BATCH = 64 };
    uint64_t hash[BATCH];
    wick_status st = WICK_OK;
    for (int32_t base = 0; base < v->n && !st; base += BATCH) {
        int32_t n = v->n - base < BATCH ? v->n - base : BATCH;
        for (int32_t i = 0; i < n; i++) {  /* first, so that a batch's cache misses overlap */
            hash[i] = wk_text_hash(v->entry[base + i].ptr, v->entry[base + i].len);
            __builtin_prefetch(wk_entry_slot_of(v, hash[i]), 1);
        }
        for (int32_t i = 0; i < n && !st; i++) if (v->entry[base + i].len) st = enter(v, base + i, hash[i], what);
    }
    return st;
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int wk_byte_token(wk_str s) {
    if (s.len != 6 || memcmp(s.ptr, "<0x", 3) || s.ptr[5] != '>') return -1;
    int hi = hex(s.ptr[3]), lo = hex(s.ptr[4]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}
