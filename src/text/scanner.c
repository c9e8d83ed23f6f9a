/* scanner.c: the pre-tokenisers' well-known patterns by hand.
 * Source: the patterns themselves (GPT-2's encoder.py; tokenizer.json of Llama 3 and Qwen2), read as a backtracking matcher
 * would: alternatives in order, each as long as it gets. tests/unit/test_unicode.c holds each against pcre2 on random text.
 * Load: every byte that is tokenised; nearly all ASCII, words of 4 to 6 bytes. */
#include "text/tokenizer_parts.h"
#include <string.h>

enum { LETTER = WK_CH_LETTER, NUMBER = WK_CH_NUMBER, SPACE = WK_CH_SPACE, OTHER = WK_CH_OTHER, NEWLINE = WK_CH_NEWLINE };

/* The class of the character at p and its bytes; 0 and 0 at the end. */
static inline unsigned look(const char *p, const char *end, size_t *n) {
    if (p >= end) { *n = 0; return 0; }
    if ((uint8_t)*p < 0x80) { *n = 1; return wk_ascii_class[(uint8_t)*p]; }
    return wk_char_class(wk_utf8_get(p, n));
}

/* Past the run of characters of a class. */
static inline const char *skip(const char *p, const char *end, unsigned mask) {
    for (;;) {
        while (p < end && (uint8_t)*p < 0x80) {
            if (!(wk_ascii_class[(uint8_t)*p] & mask)) return p;
            p++;
        }
        size_t n;
        if (!(look(p, end, &n) & mask)) return p;
        p += n;
    }
}

/* White space at p: all of it at the end of the text, else all but its last character, which the next word may want;
 * a single one is taken as it is. \s+(?!\S)|\s+ */
static const char *spaces(const char *p, const char *end) {
    const char *q = skip(p, end, SPACE);
    if (q == end) return q;
    const char *last = wk_utf8_back(p, q);
    return last > p ? last : q;
}

/* 's 't 're 've 'm 'll 'd: bytes after the apostrophe, or 0. fold: in either case, and the long s counts as s. */
static size_t contraction(const char *p, const char *end, bool fold) {
    size_t left = (size_t)(end - p);
    if (!left) return 0;
    char a = fold ? (char)(p[0] | 0x20) : p[0], b = left < 2 ? 0 : fold ? (char)(p[1] | 0x20) : p[1];
    if (fold && left >= 2 && !memcmp(p, "\xC5\xBF", 2)) return 2;  /* U+017F folds to s */
    if ((uint8_t)p[0] >= 0x80) return 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 1;
    return (uint8_t)b < 0x80 && ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) ? 2 : 0;
}

size_t wk_scan_gpt2(const char *p, const char *end) {
    const char *q = p;
    size_t n;
    if (*p == '\'' && (n = contraction(p + 1, end, false))) return 1 + n;
    if (*p == ' ' && look(p + 1, end, &n) & (LETTER | NUMBER | OTHER)) q++;
    unsigned k = look(q, end, &n) & (LETTER | NUMBER | OTHER);
    return (size_t)((k ? skip(q + n, end, k) : spaces(p, end)) - p);
}

static inline size_t scan_cased(const char *p, const char *end, int max_digits) {
    size_t n, n2;
    if (*p == '\'' && (n = contraction(p + 1, end, true))) return 1 + n;
    unsigned k = look(p, end, &n);
    if (k & LETTER) return (size_t)(skip(p + n, end, LETTER) - p);
    if (k & NUMBER) {
        const char *q = p + n;
        for (int i = 1; i < max_digits && look(q, end, &n) & NUMBER; i++) q += n;
        return (size_t)(q - p);
    }
    unsigned next = look(p + n, end, &n2);
    if (!(k & NEWLINE) && next & LETTER) return (size_t)(skip(p + n + n2, end, LETTER) - p);
    if (k & OTHER || (*p == ' ' && next & OTHER)) {
        const char *q = skip(p + n, end, OTHER);
        while (q < end && (*q == '\r' || *q == '\n')) q++;
        return (size_t)(q - p);
    }
    const char *q = skip(p, end, SPACE);
    for (const char *r = q; r > p; r--)
        if (r[-1] == '\n' || r[-1] == '\r') return (size_t)(r - p);  /* \s*[\r\n]+ ends after the run's last newline */
    return (size_t)(spaces(p, end) - p);
}

size_t wk_scan_llama3(const char *p, const char *end) { return scan_cased(p, end, 3); }
size_t wk_scan_qwen2(const char *p, const char *end) { return scan_cased(p, end, 1); }

wk_scanner wk_scanner_of(const char *regex, size_t n) {
#define CASED(digits) \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
    static const struct { const char *regex; wk_scanner scan; } known[] = {
        { "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", wk_scan_gpt2 },
        { "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", wk_scan_gpt2 },
        { CASED("\\p{N}{1,3}"), wk_scan_llama3 },
        { CASED("\\p{N}"), wk_scan_qwen2 },
    };
#undef CASED
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (wk_str_eq((wk_str){ regex, n }, known[i].regex)) return known[i].scan;
    return NULL;
}
