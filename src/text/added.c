/* added.c: finds added tokens in text: leftmost, then longest, each with its flags.
 * Source: the `tokenizers` package's AddedVocabulary (leftmost-longest, single_word, lstrip, rstrip), as documented.
 * Load: 2 to 2,400 tokens, a text in which hardly any byte begins one. So a byte set skips, and a match is found by
 * narrowing a sorted list character by character. */
#include "text/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>

wick_status wk_matcher_add(wk_matcher *m, const wk_added *a) {
    if (!wk_grow((void **)&m->token, &m->cap, m->n + 1, sizeof *m->token))
        return wk_fail_memory(m->n * sizeof *m->token, "added tokens");
    m->token[m->n++] = *a;
    return WICK_OK;
}

static int by_text(const void *x, const void *y) {
    const wk_str *a = &((const wk_added *)x)->text, *b = &((const wk_added *)y)->text;
    int c = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);
    return c ? c : a->len < b->len ? -1 : a->len > b->len;
}

void wk_matcher_ready(wk_matcher *m) {
    int n_first = 0;
    if (m->n) qsort(m->token, m->n, sizeof *m->token, by_text);
    memset(m->first, 0, sizeof m->first);
    for (size_t i = 0; i < m->n; i++) {
        uint8_t b = (uint8_t)m->token[i].text.ptr[0];
        if (!(m->first[b >> 6] >> (b & 63) & 1)) n_first++;
        m->first[b >> 6] |= (uint64_t)1 << (b & 63);
        m->only_first = b;
    }
    if (n_first != 1) m->only_first = -1;
}

void wk_matcher_free(wk_matcher *m) {
    wk_free(m->token);
    *m = (wk_matcher){ 0 };
}

/* The next place at or after p where a token may begin, or end. */
static const char *next_start(const wk_matcher *m, const char *p, const char *end) {
    if (m->only_first >= 0) {
        p = p < end ? memchr(p, m->only_first, (size_t)(end - p)) : NULL;
        return p ? p : end;
    }
    while (p < end && !(m->first[(uint8_t)*p >> 6] >> ((uint8_t)*p & 63) & 1)) p++;
    return p;
}

/* First of [lo, hi) whose byte d is at least c (they share the d bytes before, and are longer than d). */
static size_t lower(const wk_matcher *m, size_t lo, size_t hi, size_t d, unsigned c) {
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((uint8_t)m->token[mid].text.ptr[d] < c) lo = mid + 1; else hi = mid;
    }
    return lo;
}

/* The longest token at p with at most n bytes, control ones with at most n_trusted. */
static const wk_added *longest(const wk_matcher *m, const char *p, size_t n, size_t n_trusted) {
    const wk_added *best = NULL;
    size_t lo = 0, hi = m->n;
    for (size_t d = 0; lo < hi; d++) {
        for (; lo < hi && m->token[lo].text.len == d; lo++)
            if (!m->token[lo].control || d <= n_trusted) best = &m->token[lo];
        if (d == n || lo == hi) break;
        unsigned c = (uint8_t)p[d];
        lo = lower(m, lo, hi, d, c);
        hi = lower(m, lo, hi, d, c + 1);
    }
    return best;
}

static bool is_word_before(const char *text, size_t at) {
    size_t len;
    return at && wk_char_class(wk_utf8_get(wk_utf8_back(text, text + at), &len)) & WK_CH_WORD;
}

static bool is_word_at(const char *text, size_t n, size_t at) {
    size_t len;
    return at < n && wk_char_class(wk_utf8_get(text + at, &len)) & WK_CH_WORD;
}

const wk_added *wk_matcher_find(const wk_matcher *m, const char *text, size_t n, size_t from, const wk_trust *trust, size_t *a,
                                size_t *b) {
    const char *end = text + n;
    for (const char *p = text + from; m->n && (p = next_start(m, p, end)) < end;) {
        size_t at = (size_t)(p - text), len;
        while (trust && trust->end <= at) trust++;
        const wk_added *t = longest(m, p, n - at, trust && trust->trusted ? trust->end - at : 0);
        if (!t) { p++; continue; }
        *a = at;
        *b = at + t->text.len;
        if (t->single_word && (is_word_before(text, *a) || is_word_at(text, n, *b))) {
            p = text + *b;  /* what it would have taken is not looked at again */
            continue;
        }
        while (t->lstrip && *a > from) {
            const char *c = wk_utf8_back(text, text + *a);
            if (!(wk_char_class(wk_utf8_get(c, &len)) & WK_CH_SPACE)) break;
            *a = (size_t)(c - text);
        }
        while (t->rstrip && *b < n && wk_char_class(wk_utf8_get(text + *b, &len)) & WK_CH_SPACE) *b += len;
        return t;
    }
    return NULL;
}
