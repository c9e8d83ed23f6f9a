/* bpe.c: byte-pair encoding of one word.
 * Source: Sennrich et al. 2016, section 3.2 (merge the pair that was learned first, the leftmost of equals, until none is left);
 * for SentencePiece Kudo & Richardson 2018 (the pair whose joined text has the best score).
 * Load: words of 2 to 8 bytes that words.c has not met. A short word is merged in arrays by looking for the best pair again each
 * time; one above SHORT symbols by a heap, so that a megabyte without a space takes n log n steps. */
#include "text/tokenizer_parts.h"
#include <string.h>

enum { SHORT = 48, MAX_CHAIN = 2000 };

typedef struct symbol { int32_t id; uint32_t at, len; int32_t prev, next; } symbol;  /* id -1: text that is no entry */

/* ---- the merge list ---- */

wick_status wk_bpe_new(wk_bpe *m, size_t n) {
    int bits = 4;
    while (((size_t)1 << bits) * 5 / 8 < n) bits++;  /* pairs that do not merge are looked up most: keep their chains short */
    m->bits = bits;
    m->merge = wk_alloc_table((size_t)1 << bits, sizeof *m->merge);
    return m->merge ? WICK_OK : wk_fail_memory(sizeof *m->merge << bits, "the merges");
}

void wk_bpe_free(wk_bpe *m) {
    wk_free(m->merge);
    wk_free(m->rank);
    m->merge = NULL;
    m->rank = NULL;
}

static inline uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)((uint32_t)left + 1) << 32 | (uint32_t)right; }
static inline size_t pair_slot(const wk_bpe *m, uint64_t pair) {
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    return (size_t)((h ^ h >> 29) * 0xBF58476D1CE4E5B9u >> (64 - m->bits));
}

bool wk_bpe_add(wk_bpe *m, int32_t left, int32_t right, uint32_t rank, int32_t into) {
    uint64_t pair = pair_of(left, right);
    size_t mask = ((size_t)1 << m->bits) - 1, i = pair_slot(m, pair), chain = 0;
    for (; m->merge[i].pair && m->merge[i].pair != pair; i = (i + 1) & mask)
        if (++chain == MAX_CHAIN) return false;
    if (!m->merge[i].pair) m->merge[i] = (wk_merge){ pair, rank, into };
    return true;
}

static bool is_joined(const wk_vocabulary *v, int32_t id, const wk_merge_text *m) {
    if (id < 0 || id >= v->n || v->entry[id].len != m->left.len + m->right.len) return false;
    return !memcmp(v->entry[id].ptr, m->left.ptr, m->left.len) &&
           !memcmp(v->entry[id].ptr + m->left.len, m->right.ptr, m->right.len);
}

/* The id of left and right joined: the next one, the same again (Llama 3 lists every way to a token), or looked up. -1: there is
 * none; -2: no memory. */
static int32_t joined(const wk_vocabulary *v, const wk_merge_text *m, int32_t expected) {
    char few[256], *s = few;
    size_t n = m->left.len + m->right.len;
    if (is_joined(v, expected, m)) return expected;
    if (is_joined(v, expected - 1, m)) return expected - 1;
    if (n > v->longest) return -1;
    if (n > sizeof few && !(s = wk_alloc(n))) return -2;
    memcpy(s, m->left.ptr, m->left.len);
    memcpy(s + m->left.len, m->right.ptr, m->right.len);
    int32_t id = wk_vocabulary_find(v, s, n);
    if (s != few) wk_free(s);
    return id;
}

static wick_status bad_merge(const char *what, uint32_t at, const wk_merge_text *m, const char *why) {
    return wk_fail(WICK_E_FORMAT, "%s: merge %u (\"%s\" + \"%s\"): %s", what, at, wk_show(m->left).text, wk_show(m->right).text,
                   why);
}

wick_status wk_bpe_read(wk_bpe *m, const wk_vocabulary *v, const wk_merge_text *text, size_t n, uint32_t first, int32_t *expected,
                        const char *what) {
    uint64_t hash[2 * WK_MERGE_BATCH];
    int32_t left[WK_MERGE_BATCH], right[WK_MERGE_BATCH];
    for (size_t i = 0; i < n; i++) {  /* in passes, so that a batch's cache misses overlap */
        hash[2 * i] = wk_text_hash(text[i].left.ptr, text[i].left.len);
        hash[2 * i + 1] = wk_text_hash(text[i].right.ptr, text[i].right.len);
        __builtin_prefetch(wk_entry_slot_of(v, hash[2 * i]));
        __builtin_prefetch(wk_entry_slot_of(v, hash[2 * i + 1]));
    }
    for (size_t i = 0; i < 2 * n; i++) __builtin_prefetch(&v->entry[wk_entry_slot_of(v, hash[i])->id1]);
    for (size_t i = 0; i < 2 * n; i++) {
        uint32_t id1 = wk_entry_slot_of(v, hash[i])->id1;
        if (id1) __builtin_prefetch(v->entry[id1 - 1].ptr);
    }
    for (size_t i = 0; i < n; i++) {
        left[i] = wk_vocabulary_find_hashed(v, text[i].left.ptr, text[i].left.len, hash[2 * i]);
        right[i] = wk_vocabulary_find_hashed(v, text[i].right.ptr, text[i].right.len, hash[2 * i + 1]);
        __builtin_prefetch(&m->merge[pair_slot(m, pair_of(left[i], right[i]))]);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t at = first + (uint32_t)i;
        if (left[i] < 0) return bad_merge(what, at, &text[i], "the first is not in the vocabulary");
        if (right[i] < 0) return bad_merge(what, at, &text[i], "the second is not in the vocabulary");
        wk_merge_text whole = text[i];
        if (m->inside.len) {  /* it is inside the second, and goes when the two become one */
            if (whole.right.len < m->inside.len || memcmp(whole.right.ptr, m->inside.ptr, m->inside.len))
                return bad_merge(what, at, &text[i], "the second does not begin with model.continuing_subword_prefix");
            whole.right.ptr += m->inside.len;
            whole.right.len -= m->inside.len;
        }
        int32_t into = joined(v, &whole, *expected);
        if (into == -2) return wk_fail_memory(text[i].left.len + text[i].right.len, "a merge");
        if (into < 0) return bad_merge(what, at, &text[i], "joined they are not in the vocabulary");
        *expected = into + 1;
        if (!wk_may_form(v, into)) continue;  /* a control token is never put together from text */
        if (!wk_bpe_add(m, left[i], right[i], at, into))
            return bad_merge(what, at, &text[i], "thousands of pairs have one hash value");
    }
    return WICK_OK;
}

void wk_bpe_ready(wk_bpe *m, const wk_vocabulary *v) {
    static const char digit[] = "0123456789ABCDEF";
    for (int b = 0; b < 256; b++) {
        char s[8] = { '<', '0', 'x', digit[b >> 4], digit[b & 15], '>' };
        size_t n = 6;
        if (m->from_bytes) n = wk_utf8_put(s, wk_char_of_byte((uint8_t)b));
        int32_t id = m->from_bytes || m->byte_fallback ? wk_vocabulary_find(v, s, n) : -1;
        m->of_byte[b] = id >= 0 && wk_may_form(v, id) ? id : -1;
    }
    for (int c = 0; c < 128; c++) {
        int32_t id = wk_vocabulary_find(v, &(char){ (char)c }, 1);
        m->of_ascii[c] = id >= 0 && wk_may_form(v, id) ? id : -1;
    }
}

/* ---- which two symbols merge into what, and how soon ---- */

static int32_t entry_of(const wk_tokenizer *t, const char *p, size_t n) {
    int32_t id = wk_vocabulary_find(&t->vocab, p, n);
    return id >= 0 && wk_may_form(&t->vocab, id) ? id : -1;
}

static inline uint32_t pair_rank(const wk_tokenizer *t, const char *text, const symbol *left, const symbol *right, int32_t *into) {
    const wk_bpe *m = &t->bpe;
    if (m->by_text) {
        int32_t id = entry_of(t, text + left->at, left->len + right->len);
        *into = id;
        return id < 0 ? WK_NO_RANK : m->rank[id];
    }
    uint64_t pair = pair_of(left->id, right->id);
    size_t mask = ((size_t)1 << m->bits) - 1;
    for (size_t i = pair_slot(m, pair);; i = (i + 1) & mask) {
        if (m->merge[i].pair == pair) {
            *into = m->merge[i].into;
            return m->merge[i].rank;
        }
        if (!m->merge[i].pair) return WK_NO_RANK;
    }
}

/* ---- symbols to begin with ---- */

/* The entry of the character text[at..end) of a word of n bytes, with what the model puts around it. */
static int32_t affixed_entry(const wk_tokenizer *t, const char *text, size_t at, size_t end, size_t n) {
    const wk_bpe *m = &t->bpe;
    char s[2 * WK_MAX_AFFIX + 4];
    size_t k = 0;
    if (at && m->inside.len) { memcpy(s, m->inside.ptr, m->inside.len); k = m->inside.len; }
    if (m->from_bytes) k += wk_utf8_put(s + k, wk_char_of_byte((uint8_t)text[at]));
    else { memcpy(s + k, text + at, end - at); k += end - at; }
    if (end == n && m->last.len) { memcpy(s + k, m->last.ptr, m->last.len); k += m->last.len; }
    return entry_of(t, s, k);
}

/* Takes the next symbol (or several: the bytes of a character that is no entry) at text + at, of n_text bytes, into s; *n is how
 * many. Returns the bytes that they cover. unk stands for what is neither. */
static size_t first_symbols(const wk_tokenizer *t, const char *text, size_t n_text, size_t at, symbol *s, size_t *n) {
    const wk_bpe *m = &t->bpe;
    uint8_t c = (uint8_t)text[at];
    size_t len = 1;
    int32_t id;
    if (m->inside.len || m->last.len) {
        if (!m->from_bytes) wk_utf8_get(text + at, &len);
        id = affixed_entry(t, text, at, at + len, n_text);
    } else if (m->from_bytes) {
        id = m->of_byte[c];
    } else if (c < 0x80) {
        id = m->of_ascii[c];
    } else {
        wk_utf8_get(text + at, &len);
        id = m->by_text ? -1 : entry_of(t, text + at, len);
    }
    *n = 1;
    if (id < 0 && !m->by_text) {
        bool fall_back = m->byte_fallback && !m->from_bytes;
        for (size_t i = 0; i < len && fall_back; i++) {
            s[i] = (symbol){ .id = m->of_byte[(uint8_t)text[at + i]], .at = (uint32_t)(at + i), .len = 1 };
            if (s[i].id < 0) fall_back = false;
        }
        if (fall_back) { *n = len; return len; }
        id = t->unk;
        if (id < 0) *n = 0;  /* neither an entry nor an unknown token to stand for it: it leaves no trace */
    }
    s[0] = (symbol){ .id = id, .at = (uint32_t)at, .len = (uint32_t)len };
    return len;
}

/* All symbols of a word into s, which has room for n + 4; returns how many. */
static size_t symbols_of(const wk_tokenizer *t, const char *text, size_t n, symbol *s) {
    const wk_bpe *m = &t->bpe;
    size_t k = 0, add;
    for (size_t at = 0; at < n; k += add) {
        at += first_symbols(t, text, n, at, s + k, &add);
        if (add == 1 && m->fuse_unk && k && t->unk >= 0 && !m->by_text && s[k].id == t->unk && s[k - 1].id == t->unk) {
            s[k - 1].len += s[k].len;
            add = 0;
        }
    }
    return k;
}

/* A symbol's id; for a text that is no entry its bytes' tokens, or unk. */
static void put(wk_run *r, const char *text, const symbol *s) {
    const wk_bpe *m = &r->t->bpe;
    int32_t *out = r->out->ptr + r->out->len;
    if (s->id >= 0 || !m->by_text) { *out = s->id; r->out->len++; return; }
    int32_t id = entry_of(r->t, text + s->at, s->len);
    if (id >= 0) { *out = id; r->out->len++; return; }
    for (uint32_t i = 0; i < s->len; i++) {
        id = m->of_byte[(uint8_t)text[s->at + i]];
        if (id < 0) { r->out->ptr[r->out->len++] = r->t->unk; return; }
        out[i] = id;
    }
    r->out->len += s->len;
}

/* ---- short words ---- */

static void merge_short(const wk_tokenizer *t, const char *text, symbol *s, size_t *n_symbol) {
    uint32_t rank[SHORT];
    int32_t into[SHORT];
    size_t n = *n_symbol;
    for (size_t i = 0; i + 1 < n; i++) rank[i] = pair_rank(t, text, &s[i], &s[i + 1], &into[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) if (rank[i] < rank[best]) best = i;
        if (rank[best] == WK_NO_RANK) break;
        s[best].id = into[best];
        s[best].len += s[best + 1].len;
        n--;
        for (size_t i = best + 1; i < n; i++) {
            s[i] = s[i + 1];
            rank[i - 1] = rank[i];
            into[i - 1] = into[i];
        }
        if (best + 1 < n) rank[best] = pair_rank(t, text, &s[best], &s[best + 1], &into[best]);
        if (best) rank[best - 1] = pair_rank(t, text, &s[best - 1], &s[best], &into[best - 1]);
    }
    *n_symbol = n;
}

/* ---- long words: a heap of candidates, the best first; one whose symbols have changed since is dropped when it comes up ---- */

typedef struct candidate { uint64_t key; uint32_t len; int32_t into; } candidate;  /* key = rank << 32 | left */
typedef struct heap { candidate *c; size_t n; } heap;

static void heap_push(heap *h, candidate x) {
    size_t i = h->n++;
    for (; i && h->c[(i - 1) / 2].key > x.key; i = (i - 1) / 2) h->c[i] = h->c[(i - 1) / 2];
    h->c[i] = x;
}

static candidate heap_pop(heap *h) {
    candidate top = h->c[0], x = h->c[--h->n];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < h->n; i = k) {
        if (k + 1 < h->n && h->c[k + 1].key < h->c[k].key) k++;
        if (h->c[k].key >= x.key) break;
        h->c[i] = h->c[k];
    }
    if (h->n) h->c[i] = x;
    return top;
}

static void propose(const wk_tokenizer *t, const char *text, const symbol *s, int32_t left, heap *h) {
    int32_t right = left < 0 ? -1 : s[left].next, into = -1;
    if (right < 0) return;
    uint32_t rank = pair_rank(t, text, &s[left], &s[right], &into);
    if (rank != WK_NO_RANK) heap_push(h, (candidate){ (uint64_t)rank << 32 | (uint32_t)left, s[left].len + s[right].len, into });
}

static wick_status long_word(wk_run *r, const char *p, size_t n) {
    const wk_tokenizer *t = r->t;
    if (!wk_grow(&r->symbols, &r->cap_symbols, n + 4, sizeof(symbol))) return wk_fail_memory(n * sizeof(symbol), "a long word");
    symbol *s = r->symbols;
    size_t k = symbols_of(t, p, n, s);
    /* each merge takes one symbol away and adds two candidates at most */
    if (!wk_grow(&r->heap, &r->cap_heap, 3 * k + 1, sizeof(candidate)))
        return wk_fail_memory(3 * k * sizeof(candidate), "a long word");
    if (!wk_ids_room(r->out, n + 1)) return wk_fail_memory(n * 4, "ids");
    heap h = { .c = r->heap };
    for (size_t i = 0; i < k; i++) {
        s[i].prev = (int32_t)i - 1;
        s[i].next = i + 1 < k ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < k; i++) propose(t, p, s, (int32_t)i, &h);
    while (h.n) {
        candidate c = heap_pop(&h);
        int32_t left = (int32_t)(uint32_t)c.key, right = s[left].next;
        if (!s[left].len || right < 0 || s[left].len + s[right].len != c.len) continue;
        s[left].id = c.into;
        s[left].len = c.len;
        s[right].len = 0;
        s[left].next = s[right].next;
        if (s[right].next >= 0) s[s[right].next].prev = left;
        propose(t, p, s, s[left].prev, &h);
        propose(t, p, s, left, &h);
    }
    for (int32_t i = k ? 0 : -1; i >= 0; i = s[i].next) put(r, p, &s[i]);
    return WICK_OK;
}

/* A word's bytes as characters of GPT-2's alphabet, which is how entries are spelled. */
static bool spell(wk_run *r, wk_str *word) {
    wk_buf *b = &r->spelled;
    if (!wk_grow((void **)&b->ptr, &b->cap, 2 * word->len, 1)) return false;
    b->len = 0;
    for (size_t i = 0; i < word->len; i++) b->len += wk_utf8_put(b->ptr + b->len, wk_char_of_byte((uint8_t)word->ptr[i]));
    *word = (wk_str){ b->ptr, b->len };
    return true;
}

wick_status wk_bpe_word(wk_run *r, const char *p, size_t n) {
    const wk_tokenizer *t = r->t;
    symbol s[3 * SHORT + 4];
    if (t->bpe.ignore_merges && n <= t->vocab.longest) {
        wk_str whole = { p, n };
        if (t->bpe.from_bytes && !spell(r, &whole)) return wk_fail_memory(2 * n, "a word");
        int32_t id = entry_of(t, whole.ptr, whole.len);
        if (id >= 0) {
            if (!wk_ids_room(r->out, 1)) return wk_fail_memory(4, "ids");
            r->out->ptr[r->out->len++] = id;
            return WICK_OK;
        }
    }
    size_t k = n <= 3 * SHORT ? symbols_of(t, p, n, s) : n;
    if (k > SHORT) return long_word(r, p, n);
    if (!wk_ids_room(r->out, n + 1)) return wk_fail_memory(n * 4, "ids");
    merge_short(t, p, s, &k);
    for (size_t i = 0; i < k; i++) put(r, p, &s[i]);
    return WICK_OK;
}
