/* normalizer.c: what happens to a text before it is cut: one function per step, from one buffer to the other.
 * Source: the `tokenizers` package's normalizers of the same names. */
#include "text/tokenizer_parts.h"
#include <string.h>

/* One byte by another text, as SentencePiece's spaces: every few bytes of the text, so without a call for each. */
static void replace_byte(const wk_norm *s, wk_str in, wk_buf *out) {
    size_t count = 0, need;
    for (size_t i = 0; i < in.len; i++) count += in.ptr[i] == s->from.ptr[0];
    if (!wk_mul_size(count, s->to.len, &need) || !wk_add_size(need, in.len, &need) || (out->limit && need > out->limit)) {
        out->failed = out->full = true;
        return;
    }
    if (!wk_grow((void **)&out->ptr, &out->cap, need, 1)) {
        out->failed = true;
        return;
    }
    char *o = out->ptr;
    for (size_t i = 0; i < in.len; i++) {
        if (in.ptr[i] != s->from.ptr[0]) *o++ = in.ptr[i];
        else for (size_t k = 0; k < s->to.len; k++) *o++ = s->to.ptr[k];
    }
    out->len = (size_t)(o - out->ptr);
}

static void replace(const wk_norm *s, wk_str in, wk_buf *out) {
    const char *p = in.ptr, *end = in.ptr + in.len;
    if (s->from.len == 1) {
        replace_byte(s, in, out);
        return;
    }
    for (const char *q; p < end; p = q + s->from.len) {
        q = s->from.len ? memmem(p, (size_t)(end - p), s->from.ptr, s->from.len) : NULL;
        wk_buf_add(out, p, (size_t)((q ? q : end) - p));
        if (!q) return;
        wk_buf_add(out, s->to.ptr, s->to.len);
    }
}

static wick_status replace_pattern(const wk_norm *s, wk_str in, wk_buf *out) {
    wk_search search = { 0 };
    size_t done = 0, from = 0, a, b, n = 1;
    bool found = true;
    wick_status st = wk_search_new(s->pattern, in.len, &search);
    while (!st && from <= in.len && !(st = wk_search_next(&search, in.ptr, in.len, from, &found, &a, &b)) && found) {
        wk_buf_add(out, in.ptr + done, a - done);
        wk_buf_add(out, s->to.ptr, s->to.len);
        done = from = b;
        if (a < b) continue;
        if (b < in.len) wk_utf8_get(in.ptr + b, &n);  /* an empty match: go on behind the next character */
        from += n;
    }
    if (!st) wk_buf_add(out, in.ptr + done, in.len - done);
    wk_search_free(&search);
    return st;
}

static wk_str strip(const wk_norm *s, wk_str in) {
    const char *p = in.ptr, *end = in.ptr + in.len;
    size_t n;
    while (s->left && p < end && wk_char_class(wk_utf8_get(p, &n)) & WK_CH_SPACE) p += n;
    while (s->right && p < end) {
        const char *q = wk_utf8_back(p, end);
        if (!(wk_char_class(wk_utf8_get(q, &n)) & WK_CH_SPACE)) break;
        end = q;
    }
    return (wk_str){ p, (size_t)(end - p) };
}

static void strip_accents(wk_str in, wk_buf *out) {
    for (size_t i = 0, n; i < in.len; i += n)
        if (!(wk_char_class(wk_utf8_get(in.ptr + i, &n)) & WK_CH_MARK)) wk_buf_add(out, in.ptr + i, n);
}

/* SentencePiece's Nmt: controls go, odd spaces (a joiner, marks of direction and the byte order mark among them) become spaces. */
static void nmt(wk_str in, wk_buf *out) {
    for (size_t i = 0, n; i < in.len; i += n) {
        uint32_t c = wk_utf8_get(in.ptr + i, &n);
        if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F) continue;
        bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 ||
                     c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
        if (space) wk_buf_char(out, ' '); else wk_buf_add(out, in.ptr + i, n);
    }
}

static void byte_chars(wk_str in, wk_buf *out) {
    char t[4];
    for (size_t i = 0; i < in.len; i++) wk_buf_add(out, t, wk_utf8_put(t, wk_char_of_byte((uint8_t)in.ptr[i])));
}

/* SentencePiece's white space: see WK_NORM_SPACES. */
static void spaces(const wk_norm *s, wk_str in, wk_buf *out) {
    bool skip = s->right;
    if (s->left) wk_buf_add(out, s->to.ptr, s->to.len);
    for (size_t i = 0; i < in.len;) {
        const char *q = memchr(in.ptr + i, ' ', in.len - i);
        size_t end = q ? (size_t)(q - in.ptr) : in.len;
        if (end > i) { wk_buf_add(out, in.ptr + i, end - i); skip = false; }
        if (q && !skip) wk_buf_add(out, s->to.ptr, s->to.len);
        if (s->right) skip = true;
        i = end + 1;
    }
    size_t n = s->to.len;
    while (s->right && out->len >= n && !memcmp(out->ptr + out->len - n, s->to.ptr, n)) out->len -= n;
}

wick_status wk_normalize(const wk_norm *step, size_t n, wk_str text, wk_buf *a, wk_buf *b, wk_str *out) {
    wick_status st = WICK_OK;
    size_t before = text.len;
    a->limit = b->limit = WK_MAX_GROWTH * before + WK_MAX_MORE;
    for (size_t i = 0; i < n && !st; i++) {
        const wk_norm *s = &step[i];
        wk_buf *to = a;
        if (s->kind == WK_NORM_STRIP) {
            text = strip(s, text);
            continue;
        }
        to->len = 0;
        switch (s->kind) {
        case WK_NORM_PREPEND:
            if (text.len) wk_buf_add(to, s->to.ptr, s->to.len);
            wk_buf_add(to, text.ptr, text.len);
            break;
        case WK_NORM_REPLACE: replace(s, text, to); break;
        case WK_NORM_REPLACE_PATTERN: st = replace_pattern(s, text, to); break;
        case WK_NORM_FORM: st = wk_normal_form_of(s->form, text.ptr, text.len, to); break;
        case WK_NORM_LOWERCASE: wk_lower_case(text.ptr, text.len, to); break;
        case WK_NORM_STRIP_ACCENTS: strip_accents(text, to); break;
        case WK_NORM_BERT: st = wk_bert_normalize(&s->bert, text, to); break;
        case WK_NORM_NMT: nmt(text, to); break;
        case WK_NORM_BYTE_CHARS: byte_chars(text, to); break;
        case WK_NORM_CHARSMAP: case WK_NORM_CHARSMAP_HF:
            wk_charsmap_apply(s->map, s->kind == WK_NORM_CHARSMAP_HF, text, to);
            break;
        case WK_NORM_SPACES: spaces(s, text, to); break;
        case WK_NORM_STRIP: break;
        }
        if (!st && to->full)
            st = wk_fail(WICK_E_UNSUPPORTED, "the tokenizer's normalizer makes more than %zu bytes of a text of %zu: its "
                                             "replacements are not those of a tokenizer", to->limit, before);
        if (!st && to->failed) st = wk_fail_memory(text.len, "normalised text");
        to->failed = to->full = false;
        text = (wk_str){ to->len ? to->ptr : "", to->len };
        a = b;  /* text lies in the one, the next step writes to the other */
        b = to;
    }
    *out = text;
    return st;
}
