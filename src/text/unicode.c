/* unicode.c: UTF-8, character classes and normal forms.
 * Source: the Unicode Standard 15.0, sections 3.9 (UTF-8) and 4.5 (categories); properties come from utf8proc.
 * Load: every byte that is tokenised passes wk_utf8_valid(); characters above ASCII pass wk_char_class(), so ASCII has
 * a table and the rest one of utf8proc's lookups. */
#include "text/unicode.h"
#include <string.h>
#include <utf8proc.h>

#define L (WK_CH_LETTER | WK_CH_WORD)
#define N (WK_CH_NUMBER | WK_CH_WORD)
#define S WK_CH_SPACE
#define R (WK_CH_SPACE | WK_CH_NEWLINE)
#define P (WK_CH_OTHER | WK_CH_PUNCT)
#define U (WK_CH_OTHER | WK_CH_PUNCT | WK_CH_WORD)  /* _ */
#define O WK_CH_OTHER
const uint8_t wk_ascii_class[128] = {
    O, O, O, O, O, O, O, O, O, S, R, S, S, R, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    S, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, N, N, N, N, N, N, N, N, N, N, P, P, P, P, P, P,
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, P, P, P, U,
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, P, P, P, P, O,
};

static const uint8_t class_of_category[30] = {
    [UTF8PROC_CATEGORY_CN] = O, [UTF8PROC_CATEGORY_CC] = O, [UTF8PROC_CATEGORY_CF] = O, [UTF8PROC_CATEGORY_CS] = O,
    [UTF8PROC_CATEGORY_CO] = O,
    [UTF8PROC_CATEGORY_LU] = L, [UTF8PROC_CATEGORY_LL] = L, [UTF8PROC_CATEGORY_LT] = L, [UTF8PROC_CATEGORY_LM] = L,
    [UTF8PROC_CATEGORY_LO] = L,
    [UTF8PROC_CATEGORY_MN] = O | WK_CH_MARK | WK_CH_WORD, [UTF8PROC_CATEGORY_MC] = O | WK_CH_MARK | WK_CH_WORD,
    [UTF8PROC_CATEGORY_ME] = O | WK_CH_MARK | WK_CH_WORD,
    [UTF8PROC_CATEGORY_ND] = N, [UTF8PROC_CATEGORY_NL] = N, [UTF8PROC_CATEGORY_NO] = WK_CH_NUMBER,
    [UTF8PROC_CATEGORY_PC] = U, [UTF8PROC_CATEGORY_PD] = P, [UTF8PROC_CATEGORY_PS] = P, [UTF8PROC_CATEGORY_PE] = P,
    [UTF8PROC_CATEGORY_PI] = P, [UTF8PROC_CATEGORY_PF] = P, [UTF8PROC_CATEGORY_PO] = P,
    [UTF8PROC_CATEGORY_SM] = O, [UTF8PROC_CATEGORY_SC] = O, [UTF8PROC_CATEGORY_SK] = O, [UTF8PROC_CATEGORY_SO] = O,
    [UTF8PROC_CATEGORY_ZS] = S, [UTF8PROC_CATEGORY_ZL] = S, [UTF8PROC_CATEGORY_ZP] = S,
};

/* Symbols that are alphabetic (circled and squared letters), and the two joiners that \w takes in (UTS 18, annex C). */
static bool word_by_name(uint32_t c) {
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C || c == 0x200D;
}

unsigned wk_char_class(uint32_t c) {
    if (c < 128) return wk_ascii_class[c];
    if (c == 0x85) return S;  /* NEXT LINE: a control, but White_Space */
    unsigned k = class_of_category[utf8proc_category((utf8proc_int32_t)c)];
    return k == O && word_by_name(c) ? O | WK_CH_WORD : k;
}
#undef L
#undef N
#undef S
#undef R
#undef P
#undef U
#undef O

bool wk_is_nonspacing(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_MN; }

size_t wk_utf8_put(char out[4], uint32_t c) {
    if (c < 0x80) { out[0] = (char)c; return 1; }
    if (c < 0x800) { out[0] = (char)(0xC0 | c >> 6); out[1] = (char)(0x80 | (c & 0x3F)); return 2; }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* Table 3-7 of the standard: the lead byte fixes the length and the range of the second byte. */
wk_utf8_state wk_utf8_at(const char *p, size_t n, size_t *len) {
    const uint8_t *s = (const uint8_t *)p;
    uint8_t b = s[0];
    *len = 1;
    if (b < 0x80) return WK_UTF8_WHOLE;
    size_t want = b < 0xC2 ? 0 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF5 ? 4 : 0;
    if (!want) return WK_UTF8_BAD;
    uint8_t from = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80, to = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
    for (; *len < want; ++*len, from = 0x80, to = 0xBF) {
        if (*len == n) return WK_UTF8_CUT;
        if (s[*len] < from || s[*len] > to) return WK_UTF8_BAD;
    }
    return WK_UTF8_WHOLE;
}

bool wk_utf8_valid(const char *p, size_t n, size_t *bad) {
    for (size_t i = 0; i < n;) {
        uint64_t w;
        size_t len;
        if (n - i >= sizeof w) {
            memcpy(&w, p + i, sizeof w);
            if (!(w & 0x8080808080808080u)) { i += sizeof w; continue; }
        }
        if (wk_utf8_at(p + i, n - i, &len) != WK_UTF8_WHOLE) { *bad = i; return false; }
        i += len;
    }
    return true;
}

static bool is_ascii(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++) if ((uint8_t)p[i] >= 0x80) return false;
    return true;
}

wick_status wk_normal_form_of(wk_normal_form form, const char *p, size_t n, wk_buf *out) {
    static const int options[] = {
        [WK_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [WK_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [WK_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE,
        [WK_NFKD] = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE,
    };
    if (is_ascii(p, n)) {
        wk_buf_add(out, p, n);
        return out->failed ? wk_fail_memory(n, "a text's normal form") : WICK_OK;
    }
    utf8proc_option_t o = (utf8proc_option_t)options[form];
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)p;
    utf8proc_ssize_t len = utf8proc_decompose(s, (utf8proc_ssize_t)n, NULL, 0, o);
    utf8proc_int32_t *w = len > 0 ? wk_alloc_array((size_t)len + 1, sizeof *w) : NULL;
    wick_status st = w ? WICK_OK : wk_fail_memory(4 * n, "a text's normal form");
    if (!st) len = utf8proc_decompose(s, (utf8proc_ssize_t)n, w, len, o);
    if (!st) len = utf8proc_reencode(w, len, o);  /* in place: UTF-8 is never longer than UTF-32 */
    if (!st && len < 0) st = wk_fail(WICK_E_FORMAT, "a text has no normal form: %s", utf8proc_errmsg(len));
    if (!st) {
        wk_buf_add(out, w, (size_t)len);
        if (out->failed) st = wk_fail_memory((size_t)len, "a text's normal form");
    }
    wk_free(w);
    return st;
}

void wk_lower_case(const char *p, size_t n, wk_buf *out) {
    for (size_t i = 0, len; i < n; i += len) {
        char t[4];
        uint32_t c = wk_utf8_get(p + i, &len);
        if (c == 0x130) wk_buf_add(out, "i\xCC\x87", 3);  /* the one character whose lower case is two (SpecialCasing.txt) */
        else if (c < 128) wk_buf_char(out, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
        else wk_buf_add(out, t, wk_utf8_put(t, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c)));
    }
}
