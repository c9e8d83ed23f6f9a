/* unicode.h: UTF-8, what kind of character something is, and normal forms (utf8proc, Unicode 15). */
#ifndef WK_UNICODE_H
#define WK_UNICODE_H
#include "base/mem.h"
#include "base/status.h"

/* What a character is to a pre-tokeniser's pattern. Exactly one of the first four is set. */
enum {
    WK_CH_LETTER = 1,    /* \p{L} */
    WK_CH_NUMBER = 2,    /* \p{N} */
    WK_CH_SPACE = 4,     /* \s: the property White_Space */
    WK_CH_OTHER = 8,     /* [^\s\p{L}\p{N}] */
    WK_CH_NEWLINE = 16,  /* \r and \n */
    WK_CH_MARK = 32,     /* \p{M} */
    WK_CH_PUNCT = 64,    /* \p{P}, and ASCII's $+<=>^`|~ */
    WK_CH_WORD = 128     /* \w: letters, marks, decimal and letter numbers, connectors, other alphabetics */
};
extern const uint8_t wk_ascii_class[128];
unsigned wk_char_class(uint32_t c);

/* The character at p, of valid UTF-8; *n is its bytes. */
static inline uint32_t wk_utf8_get(const char *p, size_t *n) {
    const uint8_t *s = (const uint8_t *)p;
    if (s[0] < 0x80) { *n = 1; return s[0]; }
    if (s[0] < 0xE0) { *n = 2; return (s[0] & 0x1Fu) << 6 | (s[1] & 0x3Fu); }
    if (s[0] < 0xF0) { *n = 3; return (s[0] & 0x0Fu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu); }
    *n = 4;
    return (s[0] & 0x07u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 | (s[3] & 0x3Fu);
}
/* Where the character before p begins, in valid UTF-8 that starts at or before from < p. */
static inline const char *wk_utf8_back(const char *from, const char *p) {
    do p--; while (p > from && ((uint8_t)*p & 0xC0) == 0x80);
    return p;
}
/* Writes c as 1..4 bytes and returns how many. */
size_t wk_utf8_put(char out[4], uint32_t c);

/* What stands at p (n > 0 bytes): a whole character, the beginning of one that the end cuts off, or bytes that no
 * following byte can mend. *len: the character's bytes, or those that one U+FFFD replaces (Unicode 15, section 3.9,
 * "maximal subpart"). */
typedef enum wk_utf8_state { WK_UTF8_WHOLE, WK_UTF8_CUT, WK_UTF8_BAD } wk_utf8_state;
wk_utf8_state wk_utf8_at(const char *p, size_t n, size_t *len);
/* Is all of it UTF-8? If not, *bad is the offset of the first byte that is not. */
bool wk_utf8_valid(const char *p, size_t n, size_t *bad);

/* Normal forms and lower case of valid UTF-8, appended to out. Errors  WICK_E_MEMORY. */
typedef enum wk_normal_form { WK_NFC, WK_NFD, WK_NFKC, WK_NFKD } wk_normal_form;
wick_status wk_normal_form_of(wk_normal_form form, const char *p, size_t n, wk_buf *out);
void wk_lower_case(const char *p, size_t n, wk_buf *out);
/* Is c of category Mn (what BertNormalizer's strip_accents removes; StripAccents removes all marks)? */
bool wk_is_nonspacing(uint32_t c);

#endif
