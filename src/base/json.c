/* json.c: JSON parsing through jansson, and printing. */
#include "base/json.h"
#include "base/file.h"
#include "base/number.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

wick_status wk_json_parse(const char *text, size_t n, const char *what, json_t **out) {
    json_error_t e;
    *out = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    /* A number that only jansson's integers cannot hold is read again as a real; not always, since ids must stay integers. */
    if (!*out && json_error_code(&e) == json_error_numeric_overflow)
        *out = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
    if (*out) return WICK_OK;
    if (json_error_code(&e) == json_error_out_of_memory) return wk_fail_memory(n, what);
    return wk_fail(WICK_E_FORMAT, "%s: line %d, column %d: not JSON: %s", what, e.line, e.column, e.text);
}

wick_status wk_json_read(const char *path, size_t limit, json_t **out) {
    wk_buf b = { 0 };
    *out = NULL;
    wick_status st = wk_file_read(path, limit, &b);
    if (!st) st = wk_json_parse(b.ptr, b.len, path, out);
    wk_buf_free(&b);
    return st;
}

/* Bytes of the UTF-8 sequence at s, 0 if it is not one. */
static size_t utf8_len(const unsigned char *s, size_t left) {
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
               : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
               : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                             : 0;
    if (!n || n > left) return 0;
    for (size_t i = 1; i < n; i++) if ((s[i] & 0xC0) != 0x80) return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
        (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

void wk_json_put_str(wk_buf *b, const char *s, size_t n) {
    static const char short_of[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    wk_buf_char(b, '"');
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        const char *e = c ? strchr(short_of, c) : NULL;
        size_t len = utf8_len((const unsigned char *)s + i, n - i);
        if (e && (e - short_of) % 2 == 0) { wk_buf_char(b, '\\'); wk_buf_char(b, e[1]); }
        else if (c == '"' || c == '\\') { wk_buf_char(b, '\\'); wk_buf_char(b, (char)c); }
        else if (c < 0x20 || c == 0x7f) wk_buf_printf(b, "\\u%04x", c);
        else if (!len) wk_buf_str(b, "\xEF\xBF\xBD");
        else wk_buf_add(b, s + i, len);
        i += len ? len : 1;
    }
    wk_buf_char(b, '"');
}

/* The shortest of the precisions that reads back as the same number. */
static void put_shortest(wk_buf *b, double v, int from, int to, bool single) {
    char t[40];
    if (!isfinite(v)) { wk_buf_str(b, "null"); return; }
    for (int p = from; p <= to; p++) {
        wk_format_number(t, sizeof t, "%.*g", p, v);
        if (single ? (float)wk_strtod(t, NULL) == (float)v : wk_strtod(t, NULL) == v) break;
    }
    wk_buf_str(b, t);
}

void wk_json_put_num(wk_buf *b, double v) { put_shortest(b, v, 1, 17, false); }
void wk_json_put_float(wk_buf *b, float v) { put_shortest(b, (double)v, 1, 9, true); }
