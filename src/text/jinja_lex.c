/* jinja_lex.c: template source to tokens, all at once.
 * Rules: jinja2's template designer documentation, "Whitespace Control", with trim_blocks and lstrip_blocks on and
 * keep_trailing_newline off; string literals as Python's; every kind of line end is read as \n.
 * Load: 1 to 20 KB, once per model. The source is a stranger's. */
#include "base/number.h"
#include "text/jinja.h"
#include <string.h>
#include <stdlib.h>
#include <errno.h>

typedef struct lexer {
    wk_jmem *m;
    const char *s;
    size_t n, at;
    uint32_t line;
    wk_jtok *tok;
    size_t n_tok, cap_tok;
    char open[256];  /* brackets not closed yet, in their closing form */
    size_t n_open;
} lexer;

static _Noreturn void fail_at(lexer *l, uint32_t line, const char *what) {
    l->m->line = line;
    wk_jfail(l->m, "%s", what);
}

static wk_jtok *push(lexer *l, wk_jtok_kind kind, const char *p, size_t n) {
    l->tok = wk_jgrow(l->m, l->tok, l->n_tok, &l->cap_tok, sizeof *l->tok);
    wk_jtok *t = &l->tok[l->n_tok++];
    *t = (wk_jtok){ .kind = (uint8_t)kind, .line = l->line, .text = { p, n } };
    return t;
}

/* Moves to byte `to`, counting lines. */
static void advance(lexer *l, size_t to) {
    for (; l->at < to; l->at++) l->line += l->s[l->at] == '\n';
}

static bool looking_at(const lexer *l, size_t i, const char *text) {
    size_t n = strlen(text);
    return l->n - i >= n && !memcmp(l->s + i, text, n);
}

/* First byte at or after i that is not white space. */
static size_t skip_space(const lexer *l, size_t i) {
    while (i < l->n) {
        size_t next = i;
        if (!wk_jis_space(wk_jnext_cp(l->s, l->n, &next))) break;
        i = next;
    }
    return i;
}

/* Start of the white space that ends [from, to). */
static size_t rstrip(const lexer *l, size_t from, size_t to) {
    while (to > from) {
        size_t start = to - 1, next;
        while (start > from && ((unsigned char)l->s[start] & 0xC0) == 0x80) start--;
        next = start;
        if (!wk_jis_space(wk_jnext_cp(l->s, l->n, &next))) break;
        to = start;
    }
    return to;
}

/* Where the end tag that starts at i ("-%}", "+%}", "%}") ends, with the white space that goes with it; 0: none there. */
static size_t end_tag(const lexer *l, size_t i, const char *close, bool plus, bool trim) {
    size_t n = l->n;
    if (i < n && l->s[i] == '-' && looking_at(l, i + 1, close)) return skip_space(l, i + 3);
    if (plus && i < n && l->s[i] == '+' && looking_at(l, i + 1, close)) return i + 3;
    if (!looking_at(l, i, close)) return 0;
    return i + 2 < n && trim && l->s[i + 2] == '\n' ? i + 3 : i + 2;
}

/* Text before a tag at `to`. sign: the tag's own; strip: whether it is one that lstrip_blocks looks at. */
static void put_data(lexer *l, size_t to, char sign, bool strip) {
    size_t end = to;
    if (sign == '-') {
        end = rstrip(l, l->at, to);
    } else if (sign != '+' && strip) {
        size_t start = to;
        while (start > l->at && l->s[start - 1] != '\n') start--;
        bool line_start = start > 0 ? l->s[start - 1] == '\n' : true;
        if (line_start && rstrip(l, start, to) == start) end = start;
    }
    if (end > l->at) push(l, WK_T_DATA, l->s + l->at, end - l->at);
    advance(l, to);
}

static bool is_name(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) || (!first && c >= '0' && c <= '9');
}

/* What a backslash and the characters after it stand for; *i is behind the backslash. */
static void put_escape(lexer *l, char *out, size_t *n_out, const char *s, size_t n, size_t *i) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char c = s[*i];
    const char *plain = c ? strchr(from, c) : NULL;
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t cp = 0;
    if (c == '\n') { ++*i; return; }
    if (plain) { out[(*n_out)++] = to[plain - from]; ++*i; return; }
    if (digits) {
        ++*i;
        for (int k = 0; k < digits; k++, ++*i) {
            const char *hex = "0123456789abcdef", *at = *i < n && s[*i] ? strchr(hex, s[*i] | 0x20) : NULL;
            if (!at || (s[*i] < '0')) fail_at(l, l->line, "a \\x, \\u or \\U escape has too few digits");
            cp = cp << 4 | (uint32_t)(at - hex);
        }
    } else if (c >= '0' && c <= '7') {
        for (int k = 0; k < 3 && *i < n && s[*i] >= '0' && s[*i] <= '7'; k++, ++*i) cp = cp << 3 | (uint32_t)(s[*i] - '0');
    } else if (c == 'N') {
        fail_at(l, l->line, "\\N{...} escapes are not supported; write the character itself");
    } else {
        out[(*n_out)++] = '\\';
        return;
    }
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) fail_at(l, l->line, "an escape names no character");
    if (cp < 0x80) out[(*n_out)++] = (char)cp;
    else if (cp < 0x800) { out[(*n_out)++] = (char)(0xC0 | cp >> 6); out[(*n_out)++] = (char)(0x80 | (cp & 63)); }
    else {
        if (cp >= 0x10000) out[(*n_out)++] = (char)(0xF0 | cp >> 18), out[(*n_out)++] = (char)(0x80 | (cp >> 12 & 63));
        else out[(*n_out)++] = (char)(0xE0 | cp >> 12);
        out[(*n_out)++] = (char)(0x80 | (cp >> 6 & 63));
        out[(*n_out)++] = (char)(0x80 | (cp & 63));
    }
}

static void lex_string(lexer *l) {
    char quote = l->s[l->at];
    size_t start = l->at + 1, end = start;
    bool escaped = false;
    while (end < l->n && l->s[end] != quote) {
        if (l->s[end] == '\\') { escaped = true; end++; }
        end++;
    }
    if (end >= l->n) fail_at(l, l->line, "this string has no end");
    wk_jtok *t = push(l, WK_T_STRING, l->s + start, end - start);
    if (escaped) {  /* no escape is longer than what it stands for */
        char *out = wk_jalloc(l->m, end - start + 1);
        size_t n = 0;
        for (size_t i = start; i < end;) {
            if (l->s[i] != '\\') { out[n++] = l->s[i++]; continue; }
            i++;
            put_escape(l, out, &n, l->s, end, &i);
        }
        t->text = (wk_str){ out, n };
    }
    advance(l, end + 1);
}

/* Digits of a base from i on, each after at most one "_"; i itself if there is none. first_: whether a "_" may lead. */
static size_t digits(const lexer *l, size_t i, int base, bool first_) {
    size_t end = i;
    for (;;) {
        size_t at = end;
        if (at < l->n && l->s[at] == '_' && (at > i || first_)) at++;
        char c = at < l->n ? l->s[at] : 0;
        int v = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 99;
        if (v >= base) return end;
        end = at + 1;
    }
}

static void lex_number(lexer *l) {
    size_t i = l->at, end = digits(l, i, 10, false), tail = end;
    const char *s = l->s;
    int base = 10;
    bool real = false;
    if (s[i] == '0' && i + 1 < l->n) {
        char c = (char)(s[i + 1] | 0x20);
        int b = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        size_t e = b ? digits(l, i + 2, b, true) : 0;
        if (b && e > i + 2) { base = b; end = tail = e; }
    }
    if (base == 10 && !(i > 0 && s[i - 1] == '.')) {
        if (tail < l->n && s[tail] == '.') {
            size_t e = digits(l, tail + 1, 10, false);
            if (e > tail + 1) { tail = e; real = true; }
        }
        if (tail < l->n && (s[tail] | 0x20) == 'e') {
            size_t sign = tail + 1 + (tail + 1 < l->n && (s[tail + 1] == '+' || s[tail + 1] == '-'));
            size_t e = digits(l, sign, 10, false);
            if (e > sign) { tail = e; real = true; }
        }
    }
    if (real) end = tail;
    else if (base == 10 && s[i] == '0') { while (end > i + 1 && strspn(s + i, "0_") < end - i) end--; }  /* 007 is 00 and 7 */
    char *text = wk_jalloc(l->m, end - i + 1);
    size_t n = 0;
    for (size_t k = base == 10 ? i : i + 2; k < end; k++) if (s[k] != '_') text[n++] = s[k];
    wk_jtok *t = push(l, real ? WK_T_FLOAT : WK_T_INT, s + i, end - i);
    if (real) {
        t->f = wk_strtod(text, NULL);
    } else {
        errno = 0;
        t->i = strtoll(text, NULL, base);
        if (errno) fail_at(l, l->line, "an integer above 2^63-1 is not supported");
    }
    advance(l, end);
}

static void lex_operator(lexer *l) {
    static const struct { char text[3]; uint8_t op;
    } two[] = {
        { "==", WK_OP_EQ }, { "!=", WK_OP_NE },       { "<=", WK_OP_LE },
        { ">=", WK_OP_GE }, { "//", WK_OP_FLOORDIV }, { "**", WK_OP_POW },
    };
    const char *p = l->s + l->at;
    char c = *p, close = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : 0;
    wk_jtok *t = push(l, WK_T_OP, p, 1);
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (looking_at(l, l->at, two[i].text)) { t->op = two[i].op; t->text.len = 2; }
    if (!t->op) {
        if (!c || !strchr("+-/*%~[](){}<>=.:|,;", c)) {
            l->m->line = l->line;
            wk_jfail(l->m, "unexpected character '%.1s'", p);
        }
        t->op = (uint8_t)c;
    }
    if (close) {
        if (l->n_open == sizeof l->open) fail_at(l, l->line, "more than 256 brackets inside each other");
        l->open[l->n_open++] = close;
    } else if (c == ')' || c == ']' || c == '}') {
        if (!l->n_open || l->open[l->n_open - 1] != c) {
            l->m->line = l->line;
            wk_jfail(l->m, "unexpected '%c'", c);
        }
        l->n_open--;
    }
    advance(l, l->at + t->text.len);
}

/* What stands between {{ or {% and its end. */
static void lex_tag(lexer *l, const char *close, bool block) {
    l->n_open = 0;
    for (;;) {
        size_t end = l->n_open ? 0 : end_tag(l, l->at, close, block, block);
        if (end) {
            push(l, block ? WK_T_BLOCK_END : WK_T_VAR_END, l->s + l->at, 2);
            advance(l, end);
            return;
        }
        advance(l, skip_space(l, l->at));
        if (l->at >= l->n) return;  /* the parser says what is missing */
        end = l->n_open ? 0 : end_tag(l, l->at, close, block, block);
        if (end) continue;
        char c = l->s[l->at];
        if (c >= '0' && c <= '9') lex_number(l);
        else if (c == '"' || c == '\'') lex_string(l);
        else if (is_name(c, true)) {
            size_t e = l->at + 1;
            while (e < l->n && is_name(l->s[e], false)) e++;
            push(l, WK_T_NAME, l->s + l->at, e - l->at);
            advance(l, e);
        } else lex_operator(l);
    }
}

/* Whether a {% at i opens a raw block; *body is where its text begins. */
static bool raw_begin(const lexer *l, size_t i, size_t *body) {
    size_t at = i + 2;
    if (at < l->n && (l->s[at] == '-' || l->s[at] == '+')) at++;
    at = skip_space(l, at);
    if (!looking_at(l, at, "raw")) return false;
    at = skip_space(l, at + 3);
    *body = end_tag(l, at, "%}", false, false);
    return *body != 0;
}

/* The text of a raw block, up to and with its {% endraw %}. */
static void lex_raw(lexer *l) {
    for (size_t i = l->at; i + 1 < l->n; i++) {
        if (!looking_at(l, i, "{%")) continue;
        char sign = i + 2 < l->n ? l->s[i + 2] : 0;
        size_t at = skip_space(l, i + 2 + (sign == '-' || sign == '+'));
        if (!looking_at(l, at, "endraw")) continue;
        size_t end = end_tag(l, skip_space(l, at + 6), "%}", true, true);
        if (!end) continue;
        put_data(l, i, sign, true);
        advance(l, end);
        return;
    }
    fail_at(l, l->line, "{% raw %} has no {% endraw %}");
}

static void lex_comment(lexer *l) {
    const char *end = l->n - l->at >= 2 ? memmem(l->s + l->at, l->n - l->at, "#}", 2) : NULL;
    if (!end) fail_at(l, l->line, "{# has no #}");
    size_t at = (size_t)(end - l->s);
    if (at > l->at && (l->s[at - 1] == '-' || l->s[at - 1] == '+')) at--;
    advance(l, end_tag(l, at, "#}", true, true));
}

/* A copy with every line end as \n and the last one dropped. Fails on what is not UTF-8. */
static void normalise(lexer *l, const char *src, size_t n) {
    char *s = wk_jalloc(l->m, n + 1);
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (src[i] == '\r') { s[k++] = '\n'; i += i + 1 < n && src[i + 1] == '\n'; }
        else s[k++] = src[i];
    }
    if (k && s[k - 1] == '\n') k--;
    l->s = s;
    l->n = k;
    for (size_t i = 0, line = 1; i < k;) {
        line += s[i] == '\n';
        if (wk_jnext_cp(s, k, &i) == UINT32_MAX) fail_at(l, (uint32_t)line, "the template is not UTF-8");
    }
}

const wk_jtok *wk_jlex(wk_jmem *m, const char *src, size_t n) {
    lexer l = { .m = m, .line = 1 };
    normalise(&l, src, n);
    while (l.at < l.n) {
        size_t i = l.at, body = 0;
        while (i < l.n && !(l.s[i] == '{' && i + 1 < l.n && (l.s[i + 1] == '{' || l.s[i + 1] == '%' || l.s[i + 1] == '#'))) i++;
        if (i == l.n) {
            push(&l, WK_T_DATA, l.s + l.at, l.n - l.at);
            advance(&l, l.n);
            break;
        }
        char kind = l.s[i + 1], sign = i + 2 < l.n ? l.s[i + 2] : 0;
        bool raw = kind == '%' && raw_begin(&l, i, &body);
        put_data(&l, i, sign, kind != '{');
        if (raw) {
            advance(&l, body);
            lex_raw(&l);
            continue;
        }
        if (kind != '#') push(&l, kind == '{' ? WK_T_VAR_BEGIN : WK_T_BLOCK_BEGIN, l.s + i, 2);
        advance(&l, i + 2 + (sign == '-' || sign == '+'));
        if (kind == '#') lex_comment(&l);
        else lex_tag(&l, kind == '{' ? "}}" : "%}", kind == '%');
    }
    push(&l, WK_T_END, l.s + l.n, 0);
    return l.tok;
}
