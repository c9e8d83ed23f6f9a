/* pretokenizer.c: cuts text into words, one step inside the other: each piece that a step cuts goes straight to the next
 * step and at last to the model, so that no list of pieces is ever made.
 * Source: the `tokenizers` package's pre_tokenizers and their SplitDelimiterBehavior, as documented. */
#include "text/tokenizer_parts.h"
#include <string.h>

/* Delimiters and what lies between them come in order; what to do with them is decided here. */
typedef struct cutter {
    wk_run *r;
    size_t at;              /* the step */
    const char *text;
    wk_behavior behavior;
    bool invert;
    size_t from, to;        /* the piece that may still grow */
    bool pending, pending_match, last_match;
} cutter;

/* A piece to the next step, or to the model. */
static inline wick_status next(wk_run *r, size_t at, const char *p, size_t n) {
    return at + 1 == r->t->n_pre ? wk_word(r, p, n) : wk_pretokenize(r, at + 1, p, n);
}

static wick_status hand_on(cutter *c, size_t from, size_t to) {
    return from < to ? next(c->r, c->at, c->text + from, to - from) : WICK_OK;
}

static wick_status flush(cutter *c) {
    if (!c->pending) return WICK_OK;
    c->pending = false;
    return hand_on(c, c->from, c->to);
}

static void keep(cutter *c, size_t from, size_t to, bool match) {
    c->pending = true;
    c->pending_match = match;
    c->from = from;
    c->to = to;
}

static wick_status segment(cutter *c, size_t from, size_t to, bool match) {
    wick_status st = WICK_OK;
    bool joins = false;
    if (from == to && !match) return WICK_OK;
    match ^= c->invert;
    switch (c->behavior) {
    case WK_REMOVED: return match ? WICK_OK : hand_on(c, from, to);
    case WK_ISOLATED: return hand_on(c, from, to);
    case WK_CONTIGUOUS: joins = c->pending && c->pending_match == match; break;
    case WK_WITH_PREVIOUS: joins = c->pending && match && !c->last_match; break;
    case WK_WITH_NEXT: joins = c->pending && c->pending_match && !match; break;
    }
    c->last_match = match;
    if (joins) {
        c->to = to;
        c->pending_match = match;
        return WICK_OK;
    }
    st = flush(c);
    keep(c, from, to, match);
    return st;
}

/* The next delimiter at or after from. */
static wick_status next_delimiter(wk_run *r, size_t at, const char *p, size_t n, size_t from, bool *found, size_t *a, size_t *b) {
    const wk_pre *s = &r->t->pre[at];
    *found = false;
    if (s->kind == WK_PRE_PATTERN) return wk_search_next(&r->search[at], p, n, from, found, a, b);
    if (s->kind == WK_PRE_STRING) {
        const char *q = s->text.len && from < n ? memmem(p + from, n - from, s->text.ptr, s->text.len) : NULL;
        *found = q;
        *a = q ? (size_t)(q - p) : n;
        *b = *a + s->text.len;
        return WICK_OK;
    }
    for (size_t len; from < n && !*found; from += len) {
        uint8_t c = (uint8_t)p[from];
        len = 1;
        *found = (c < 0x80 ? wk_ascii_class[c] : wk_char_class(wk_utf8_get(p + from, &len))) & s->mask;
        *a = from;
        *b = from + len;
    }
    return WICK_OK;
}

static wick_status split(wk_run *r, size_t at, const char *p, size_t n) {
    const wk_pre *s = &r->t->pre[at];
    cutter c = { .r = r, .at = at, .text = p, .behavior = s->behavior, .invert = s->invert };
    size_t done = 0, from = 0, a = 0, b = 0, len = 1;
    bool found = true;
    wick_status st = WICK_OK;
    if (s->kind == WK_PRE_PATTERN && !r->search[at].p) st = wk_search_new(s->pattern, r->n_text, &r->search[at]);
    while (!st && from <= n && !(st = next_delimiter(r, at, p, n, from, &found, &a, &b)) && found) {
        bool empty = a == b;
        if (!empty || !done || a > done) {  /* no empty match right behind a match */
            st = segment(&c, done, a, false);
            if (!st) st = segment(&c, a, b, true);
            done = b;
        }
        from = b;
        if (empty && b < n) wk_utf8_get(p + b, &len);
        if (empty) from += len;
    }
    if (!st) st = segment(&c, done, n, false);
    return st ? st : flush(&c);
}

static wick_status scan(wk_run *r, size_t at, const char *p, size_t n) {
    const wk_pre *s = &r->t->pre[at];
    const char *end = p + n;
    wick_status st = WICK_OK;
    for (size_t len; p < end && !st; p += len) {
        len = s->scan(p, end);
        st = next(r, at, p, len);
    }
    return st;
}

/* Each character of a class by itself, and what lies between: the frequent case of split(). */
static wick_status isolate(wk_run *r, size_t at, const char *p, size_t n) {
    unsigned mask = r->t->pre[at].mask;
    wick_status st = WICK_OK;
    size_t done = 0, len;
    for (size_t i = 0; i < n && !st; i += len) {
        while (i < n && (uint8_t)p[i] < 0x80 && !(wk_ascii_class[(uint8_t)p[i]] & mask)) i++;
        if (i == n) break;
        if (!(wk_char_class(wk_utf8_get(p + i, &len)) & mask)) continue;
        if (done < i) st = next(r, at, p + done, i - done);
        if (!st) st = next(r, at, p + i, len);
        done = i + len;
    }
    return st || done == n ? st : next(r, at, p + done, n - done);
}

/* 0: white space; 1: \w; 2: the rest. */
static int word_group(const char *p, size_t *n) {
    unsigned k = wk_char_class(wk_utf8_get(p, n));
    return k & WK_CH_SPACE ? 0 : k & WK_CH_WORD ? 1 : 2;
}

static wick_status words(wk_run *r, size_t at, const char *p, size_t n) {
    wick_status st = WICK_OK;
    for (size_t i = 0, j, len; i < n && !st; i = j) {
        int g = word_group(p + i, &len);
        for (j = i + len; j < n && word_group(p + j, &len) == g;) j += len;
        if (g) st = next(r, at, p + i, j - i);
    }
    return st;
}

/* Between characters that no entry holds side by side: no merge reaches over such a place. */
static wick_status cut(wk_run *r, size_t at, const char *p, size_t n) {
    const uint64_t *glue = r->t->pre[at].glue;
    const uint8_t *s = (const uint8_t *)p;
    size_t start = 0;
    wick_status st = WICK_OK;
    for (size_t i = 1; i < n && !st; i++) {
        size_t pair = (size_t)s[i - 1] << 8 | s[i];
        if ((s[i] & 0xC0) == 0x80 || glue[pair >> 6] >> (pair & 63) & 1) continue;
        st = next(r, at, p + start, i - start);
        start = i;
    }
    return st ? st : next(r, at, p + start, n - start);
}

/* Pieces of so many characters. */
static wick_status pieces(wk_run *r, size_t at, const char *p, size_t n) {
    wick_status st = WICK_OK;
    for (size_t i = 0, j, len; i < n && !st; i = j) {
        j = i;
        for (unsigned k = 0; k < r->t->pre[at].mask && j < n; k++) { wk_utf8_get(p + j, &len); j += len; }
        st = next(r, at, p + i, j - i);
    }
    return st;
}

/* Runs of one script. */
static wick_status scripts(wk_run *r, size_t at, const char *p, size_t n) {
    wick_status st = WICK_OK;
    size_t from = n;
    uint8_t last = 0;
    for (size_t i = 0, len; i < n && !st; i += len) {
        uint8_t s = wk_script_of(wk_utf8_get(p + i, &len));
        if (!s || s == last) continue;
        if (from < i) st = next(r, at, p + from, i - from);
        from = i;
        last = s;
    }
    return st || from == n ? st : next(r, at, p + from, n - from);
}

/* Steps that change the text write it to the step's own buffer and go on from there. */
static wick_status edited(wk_run *r, size_t at, wk_buf *b) {
    const char *limit = r->limit;
    if (b->full)
        return wk_fail(WICK_E_UNSUPPORTED, "the tokenizer's pre_tokenizer makes more than %zu bytes of a text of %zu: its steps "
                                           "are not those of a tokenizer", b->limit, r->n_text);
    if (b->failed) return wk_fail_memory(b->len, "pre-tokenised text");
    r->limit = b->ptr + b->len;
    wick_status st = b->len ? next(r, at, b->ptr, b->len) : WICK_OK;
    r->limit = limit;
    return st;
}

static bool begins_with(const char *p, size_t n, wk_str s) { return n >= s.len && !memcmp(p, s.ptr, s.len); }

static wick_status prefix(wk_run *r, size_t at, const char *p, size_t n) {
    wk_str s = r->t->pre[at].text;
    if (begins_with(p, n, s)) return next(r, at, p, n);
    r->edit[at].len = 0;
    wk_buf_add(&r->edit[at], s.ptr, s.len);
    wk_buf_add(&r->edit[at], p, n);
    return edited(r, at, &r->edit[at]);
}

static wick_status byte_chars(wk_run *r, size_t at, const char *p, size_t n) {
    char t[4];
    r->edit[at].len = 0;
    for (size_t i = 0; i < n; i++) wk_buf_add(&r->edit[at], t, wk_utf8_put(t, wk_char_of_byte((uint8_t)p[i])));
    return edited(r, at, &r->edit[at]);
}

static wick_status metaspace(wk_run *r, size_t at, const char *p, size_t n) {
    const wk_pre *s = &r->t->pre[at];
    wk_buf *b = &r->edit[at];
    bool wanted = s->scheme == WK_PREPEND_ALWAYS || (s->scheme == WK_PREPEND_FIRST && r->at_start);
    r->at_start = false;
    b->len = 0;
    if (wanted && *p != ' ' && !begins_with(p, n, s->text)) wk_buf_add(b, s->text.ptr, s->text.len);
    for (const char *end = p + n, *q; p < end; p = q + 1) {
        q = memchr(p, ' ', (size_t)(end - p));
        wk_buf_add(b, p, (size_t)((q ? q : end) - p));
        if (!q) break;
        wk_buf_add(b, s->text.ptr, s->text.len);
    }
    return edited(r, at, b);
}

wick_status wk_pretokenize(wk_run *r, size_t at, const char *p, size_t n) {
    if (at == r->t->n_pre) return wk_word(r, p, n);
    switch (r->t->pre[at].kind) {
    case WK_PRE_SCAN: return scan(r, at, p, n);
    case WK_PRE_CLASS: return r->t->pre[at].behavior == WK_ISOLATED ? isolate(r, at, p, n) : split(r, at, p, n);
    case WK_PRE_PATTERN: case WK_PRE_STRING: return split(r, at, p, n);
    case WK_PRE_WORDS: return words(r, at, p, n);
    case WK_PRE_PREFIX: return prefix(r, at, p, n);
    case WK_PRE_BYTE_CHARS: return byte_chars(r, at, p, n);
    case WK_PRE_METASPACE: return metaspace(r, at, p, n);
    case WK_PRE_LENGTH: return pieces(r, at, p, n);
    case WK_PRE_SCRIPTS: return scripts(r, at, p, n);
    case WK_PRE_CUT: return cut(r, at, p, n);
    }
    return WICK_OK;
}
