/* trie.c: finds all entries that begin at a place of a text, in one walk.
 * Method: a double array (Aoe 1989) whose transitions are XORs as in Darts-clone (Yata 2007): a child's unit is base ^ byte, so a
 * node's children lie in one block of 256 units.
 * Load: 30,000 to 260,000 entries at open, then a few steps for each byte of every new word: a step is one look at one unit. */
#include "text/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256, OPEN = 16 };  /* children go into one of the last OPEN blocks: those before are as good as full */

typedef struct builder {
    wk_trie *t;
    const wk_vocabulary *v;
    const int32_t *id;   /* in order of spelling */
    size_t cap;
    uint32_t *n_free;    /* [n / BLOCK] units of a block that are not taken */
    size_t cap_free;
    uint64_t *taken;     /* [n / 64] */
    size_t cap_taken;
} builder;

typedef struct ordered { wk_str s; int32_t id; } ordered;

static int by_spelling(const void *x, const void *y) {
    const wk_str *a = &((const ordered *)x)->s, *b = &((const ordered *)y)->s;
    int c = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);
    return c ? c : a->len < b->len ? -1 : a->len > b->len;
}

static bool add_block(builder *b) {
    wk_trie *t = b->t;
    uint32_t n = t->n + BLOCK;
    if (n < t->n || !wk_grow((void **)&t->unit, &b->cap, n, sizeof *t->unit) ||
        !wk_grow((void **)&b->n_free, &b->cap_free, n / BLOCK, sizeof *b->n_free) ||
        !wk_grow((void **)&b->taken, &b->cap_taken, n / 64, sizeof *b->taken))
        return false;
    for (uint32_t i = t->n; i < n; i++) t->unit[i] = (wk_trie_unit){ .parent = WK_TRIE_NONE, .id = -1 };
    b->n_free[t->n / BLOCK] = BLOCK;
    memset(b->taken + t->n / 64, 0, BLOCK / 8);
    t->n = n;
    return true;
}

static bool is_taken(const builder *b, uint32_t u) { return b->taken[u >> 6] >> (u & 63) & 1; }

static void take(builder *b, uint32_t u) {
    b->taken[u >> 6] |= (uint64_t)1 << (u & 63);
    b->n_free[u / BLOCK]--;
}

/* A base under which all n bytes lead to free units. False: no memory. */
static bool find_base(builder *b, const uint8_t *byte, int n, uint32_t *base) {
    uint32_t last = b->t->n / BLOCK, from = last > OPEN ? last - OPEN : 0;
    for (uint32_t block = from;; block++) {
        if (block == b->t->n / BLOCK && !add_block(b)) return false;
        if (b->n_free[block] < (uint32_t)n) continue;
        for (uint32_t w = block * BLOCK / 64; w < (block + 1) * BLOCK / 64; w++)
            for (uint64_t free = ~b->taken[w]; free; free &= free - 1) {  /* a free unit for the first child */
                uint32_t at = (w * 64 | (uint32_t)__builtin_ctzll(free)) ^ byte[0];
                int k = 1;
                while (k < n && !is_taken(b, at ^ byte[k])) k++;
                if (k == n) { *base = at; return true; }
            }
    }
}

/* The entries id[from..to) share the depth bytes that lead to unit u. */
static bool insert(builder *b, uint32_t u, size_t from, size_t to, size_t depth) {
    uint8_t byte[BLOCK];
    uint32_t base = 0;
    int n = 0;
    if (from < to && b->v->entry[b->id[from]].len == depth) b->t->unit[u].id = b->id[from++];
    for (size_t i = from; i < to; i++) {
        uint8_t c = (uint8_t)b->v->entry[b->id[i]].ptr[depth];
        if (!n || byte[n - 1] != c) byte[n++] = c;
    }
    if (!n) return true;
    if (!find_base(b, byte, n, &base)) return false;
    b->t->unit[u].base = base;
    for (int k = 0; k < n; k++) {
        take(b, base ^ byte[k]);
        b->t->unit[base ^ byte[k]].parent = u;
    }
    for (int k = 0; k < n; k++) {
        size_t end = from;
        while (end < to && (uint8_t)b->v->entry[b->id[end]].ptr[depth] == byte[k]) end++;
        if (!insert(b, base ^ byte[k], from, end, depth + 1)) return false;
        from = end;
    }
    return true;
}

/* Leaves those that a text can give, in order; how many, or SIZE_MAX: no memory. */
static size_t put_in_order(const wk_vocabulary *v, int32_t *id, size_t n) {
    ordered *o = wk_alloc_array(n + 1, sizeof *o);
    size_t k = 0, bad;
    if (!o) return SIZE_MAX;
    for (size_t i = 0; i < n; i++)
        if (v->entry[id[i]].len && wk_utf8_valid(v->entry[id[i]].ptr, v->entry[id[i]].len, &bad))
            o[k++] = (ordered){ v->entry[id[i]], id[i] };
    qsort(o, k, sizeof *o, by_spelling);
    for (size_t i = 0; i < k; i++) id[i] = o[i].id;
    wk_free(o);
    return k;
}

wick_status wk_trie_new(wk_trie *t, const wk_vocabulary *v, int32_t *id, size_t n, const char *what) {
    builder b = { .t = t, .v = v, .id = id };
    *t = (wk_trie){ 0 };
    for (size_t i = 0; i < n; i++)
        if (v->entry[id[i]].len > WK_MAX_PIECE)
            return wk_fail(WICK_E_UNSUPPORTED, "%s: entry %d has %zu bytes; wick can find entries of up to %d in a text", what,
                           id[i], v->entry[id[i]].len, WK_MAX_PIECE);
    size_t k = put_in_order(v, id, n);
    bool ok = k != SIZE_MAX && add_block(&b);
    if (ok) take(&b, 0);
    ok = ok && insert(&b, 0, 0, k, 0);
    wk_free(b.n_free);
    wk_free(b.taken);
    if (ok) return WICK_OK;
    wk_trie_free(t);
    return wk_fail_memory(n * sizeof *t->unit, "a vocabulary's trie");
}

void wk_trie_free(wk_trie *t) {
    wk_free(t->unit);
    *t = (wk_trie){ 0 };
}

uint32_t wk_trie_walk(const wk_trie *t, const char *p, size_t n) {
    uint32_t u = 0;
    for (size_t i = 0; i < n && u != WK_TRIE_NONE; i++) u = wk_trie_next(t, u, (uint8_t)p[i]);
    return u;
}
