/* jinja_text.c: the interpreter's memory and its text: strings that know where each byte came from, and the writers of str(),
 * repr() and tojson. Forms: Python's str(), repr() and json.dumps(). A text has flags byte by byte only if they differ; most have
 * one for all. What repr() and tojson write around a request's text (quotes, brackets) counts as the request's with it. */
#include "base/number.h"
#include "text/jinja.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- memory and failure ---- */

_Noreturn void wk_jfail(wk_jmem *m, const char *fmt, ...) {
    char text[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    m->status = wk_fail(WICK_E_TEMPLATE, "chat template: line %u: %s", m->line, text);
    longjmp(m->out, 1);
}

void *wk_jalloc(wk_jmem *m, size_t n) {
    if (n > m->limit - m->used)
        wk_jfail(m, "more than %zu bytes of memory are needed; the template repeats or nests too much", m->limit);
    void *p = wk_arena_alloc(&m->arena, n ? n : 1);
    if (!p) {
        m->status = wk_fail_memory(n, "a chat template");
        longjmp(m->out, 1);
    }
    m->used += n;
    return p;
}

void *wk_jgrow(wk_jmem *m, void *p, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return p;
    size_t new_cap = *cap ? *cap * 2 : 8, bytes;
    if (!wk_mul_size(new_cap, size, &bytes)) bytes = SIZE_MAX;
    void *q = wk_jalloc(m, bytes);
    if (n) memcpy(q, p, n * size);
    *cap = new_cap;
    return q;
}

void wk_jstep(wk_jrun *r, uint64_t n) {
    if (n > r->max_steps - r->steps)
        wk_jfail(&r->m, "more than %llu steps; the template loops too much for this input", (unsigned long long)r->max_steps);
    r->steps += n;
}

void wk_jenter(wk_jrun *r) {
    if (++r->depth > r->max_depth) wk_jfail(&r->m, "more than %u expressions, blocks or values inside each other", r->max_depth);
}

/* ---- characters ---- */

uint32_t wk_jnext_cp(const char *p, size_t n, size_t *i) {
    utf8proc_int32_t cp;
    utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)p + *i, (utf8proc_ssize_t)(n - *i), &cp);
    *i += k > 0 ? (size_t)k : 1;
    return k > 0 ? (uint32_t)cp : UINT32_MAX;
}

/* str.isspace() */
bool wk_jis_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* str.isprintable(): all but control, format, surrogate, private, unassigned, and separators other than a blank. */
bool wk_jis_printable(uint32_t c) {
    if (c < 0x7F) return c >= 0x20;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k != UTF8PROC_CATEGORY_CN && k < UTF8PROC_CATEGORY_ZS;
}

/* ---- strings ---- */

static wk_jval new_str(wk_jmem *m, const char *p, const uint8_t *from, size_t n, uint8_t all) {
    wk_jstr *s = wk_jalloc(m, sizeof *s);
    size_t n_char = 0;
    for (size_t i = 0; i < n; i++) n_char += ((unsigned char)p[i] & 0xC0) != 0x80;
    *s = (wk_jstr){ .p = p, .from = from, .n = n, .n_char = n_char, .all = all };
    return (wk_jval){ .kind = WK_J_STR, .s = s };
}

wk_jval wk_jtext(wk_jmem *m, const char *p, size_t n, uint8_t from) { return new_str(m, p, NULL, n, from); }
wk_jval wk_jlit(wk_jrun *r, const char *s) { return wk_jtext(&r->m, s, strlen(s), 0); }

wk_jval wk_jpart(wk_jrun *r, const wk_jstr *s, size_t from, size_t to) {
    wk_jstep(r, (to - from) / 64);
    return new_str(&r->m, s->p + from, s->from ? s->from + from : NULL, to - from, s->all);
}

size_t wk_joffset(const wk_jstr *s, size_t i) {
    if (s->n_char == s->n) return i;
    size_t at = 0;
    for (; at < s->n; at++)
        if (((unsigned char)s->p[at] & 0xC0) != 0x80 && !i--) break;
    return at;
}

uint8_t wk_jfrom_at(const wk_jstr *s, size_t i) { return s->from ? s->from[i] : s->all; }

uint8_t wk_jfrom_any(const wk_jstr *s) {
    uint8_t any = s->from ? 0 : s->all;
    for (size_t i = 0; s->from && i < s->n; i++) any |= s->from[i];
    return any & WK_J_REQUEST;
}

size_t wk_jsearch(wk_jrun *r, const wk_jstr *s, const wk_jstr *needle, size_t from, size_t to) {
    if (from > to || needle->n > to - from) return SIZE_MAX;
    if (!needle->n) return from;
    wk_jchars(r, needle->n);
    const char *at = needle->n == 1 ? memchr(s->p + from, *needle->p, to - from)
                                    : memmem(s->p + from, to - from, needle->p, needle->n);
    wk_jstep(r, ((at ? (size_t)(at - s->p) : to) - from) / 64);
    return at ? (size_t)(at - s->p) : SIZE_MAX;
}

size_t wk_jsearch_last(wk_jrun *r, const wk_jstr *s, const wk_jstr *needle, size_t from, size_t to) {
    if (from > to || needle->n > to - from) return SIZE_MAX;
    if (!needle->n) return to;
    size_t found = SIZE_MAX, i = to - needle->n + 1;
    while (found == SIZE_MAX && i-- > from) {
        if (s->p[i] != needle->p[0]) continue;
        wk_jstep(r, needle->n / 64);
        if (!memcmp(s->p + i, needle->p, needle->n)) found = i;
    }
    wk_jstep(r, (to - (found == SIZE_MAX ? from : i)) / 64);
    return found;
}

wk_jval wk_jmark(wk_jval v, uint8_t markup) {
    v.markup = markup;
    return v;
}

/* ---- writing ---- */

/* Room for n more bytes that come from `from`; the caller fills them. */
static char *room(wk_jrun *r, wk_jbuf *b, size_t n, uint8_t from) {
    if (n > r->max_text - b->n) wk_jfail(&r->m, "more than %zu bytes of text", r->max_text);
    wk_jstep(r, n / 64);
    if (b->n + n > b->cap) {
        size_t cap = b->cap * 2 > b->n + n ? b->cap * 2 : b->n + n + 32;
        char *p = wk_jalloc(&r->m, cap);
        if (b->n) memcpy(p, b->p, b->n);
        b->p = p;
        if (b->from) {
            uint8_t *f = wk_jalloc(&r->m, cap);
            memcpy(f, b->from, b->n);
            b->from = f;
        }
        b->cap = cap;
    }
    if (!b->n && !b->from) b->all = from;
    if (!b->from && from != b->all) {
        b->from = wk_jalloc(&r->m, b->cap);
        memset(b->from, b->all, b->n);
    }
    if (b->from) memset(b->from + b->n, from, n);
    b->n += n;
    return b->p + b->n - n;
}

void wk_jput(wk_jrun *r, wk_jbuf *b, const char *p, size_t n, uint8_t from) { if (n) memcpy(room(r, b, n, from), p, n); }
void wk_jput_lit(wk_jrun *r, wk_jbuf *b, const char *s) { wk_jput(r, b, s, strlen(s), 0); }
void wk_jput_char(wk_jrun *r, wk_jbuf *b, char c, size_t times, uint8_t from) {
    if (times) memset(room(r, b, times, from), c, times);
}

void wk_jput_cp(wk_jrun *r, wk_jbuf *b, uint32_t cp, uint8_t from) {
    utf8proc_uint8_t text[4];
    utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)cp, text);
    wk_jput(r, b, (const char *)text, (size_t)n, from);
}

void wk_jput_part(wk_jrun *r, wk_jbuf *b, const wk_jstr *s, size_t from, size_t to) {
    if (s->from) wk_jchars(r, to - from);
    for (size_t i = from, end; i < to; i = end) {  /* stretches of one origin */
        uint8_t f = wk_jfrom_at(s, i);
        for (end = s->from ? i + 1 : to; end < to && s->from[end] == f;) end++;
        wk_jput(r, b, s->p + i, end - i, f);
    }
}

void wk_jput_str(wk_jrun *r, wk_jbuf *b, const wk_jstr *s) { wk_jput_part(r, b, s, 0, s->n); }

wk_jval wk_jput_end(wk_jrun *r, wk_jbuf *b) {
    wk_jval v = new_str(&r->m, b->p ? b->p : "", b->from, b->n, b->all);
    *b = (wk_jbuf){ 0 };
    return v;
}

/* If any byte from `at` on is the request's, all are. */
static void request_if_any(wk_jbuf *b, size_t at) {
    uint8_t any = 0;
    if (!b->from) return;
    for (size_t i = at; i < b->n; i++) any |= b->from[i];
    for (size_t i = at; i < b->n; i++) b->from[i] |= any & WK_J_REQUEST;
}

/* The shortest decimal that reads back as f, as Python's repr() writes it: fixed from 1e-4 up to 1e16. */
void wk_jput_float(wk_jrun *r, wk_jbuf *b, double f, uint8_t from) {
    char t[40], digits[24];
    int n = 0, e;
    if (!isfinite(f)) {
        const char *s = isnan(f) ? "nan" : f < 0 ? "-inf" : "inf";
        wk_jput(r, b, s, strlen(s), from);
        return;
    }
    for (int p = 0; p <= 16; p++) {
        wk_format_number(t, sizeof t, "%.*e", p, f);
        if (wk_strtod(t, NULL) == f) break;
    }
    for (const char *c = t; *c != 'e'; c++) if (*c >= '0' && *c <= '9') digits[n++] = *c;
    e = (int)strtol(strchr(t, 'e') + 1, NULL, 10);
    if (*t == '-') wk_jput(r, b, "-", 1, from);
    if (e < -4 || e >= 16) {
        wk_jput(r, b, digits, 1, from);
        if (n > 1) wk_jput(r, b, ".", 1, from), wk_jput(r, b, digits + 1, (size_t)n - 1, from);
        int k = snprintf(t, sizeof t, "e%c%02d", e < 0 ? '-' : '+', abs(e));
        wk_jput(r, b, t, (size_t)k, from);
    } else if (e < 0) {
        wk_jput(r, b, "0.", 2, from);
        wk_jput_char(r, b, '0', (size_t)(-e - 1), from);
        wk_jput(r, b, digits, (size_t)n, from);
    } else {
        int whole = n < e + 1 ? n : e + 1;
        wk_jput(r, b, digits, (size_t)whole, from);
        wk_jput_char(r, b, '0', (size_t)(e + 1 - whole), from);
        wk_jput(r, b, ".", 1, from);
        if (n > whole) wk_jput(r, b, digits + whole, (size_t)(n - whole), from);
        else wk_jput(r, b, "0", 1, from);
    }
}

static void put_repr_str(wk_jrun *r, wk_jbuf *b, const wk_jstr *s) {
    char quote = memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n) ? '"' : '\'', t[12];
    wk_jchars(r, s->n);
    wk_jput_char(r, b, quote, 1, 0);
    for (size_t i = 0; i < s->n;) {
        size_t at = i;
        uint32_t c = wk_jnext_cp(s->p, s->n, &i);
        uint8_t from = wk_jfrom_at(s, at);
        const char *e = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\\' ? "\\\\" : NULL;
        if (e) wk_jput(r, b, e, 2, from);
        else if (c == (unsigned char)quote) wk_jput(r, b, "\\", 1, from), wk_jput(r, b, &quote, 1, from);
        else if (wk_jis_printable(c)) wk_jput_part(r, b, s, at, i);
        else wk_jput(r, b, t, (size_t)snprintf(t, sizeof t, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c), from);
    }
    wk_jput_char(r, b, quote, 1, 0);
}

static void put_repr(wk_jrun *r, wk_jbuf *b, wk_jval v);

/* A container that is being printed: inside itself (by way of a namespace) it is "...". */
typedef struct wk_jopen { struct wk_jopen *up; const void *p; } wk_jopen;
static bool is_open(const wk_jrun *r, const void *p) {
    for (const wk_jopen *o = r->open; o; o = o->up) if (o->p == p) return true;
    return false;
}

static void put_list(wk_jrun *r, wk_jbuf *b, wk_jval v) {
    static const char *const around[][2] = {
        [WK_J_SEQ_LIST] = { "[", "]" }, [WK_J_SEQ_TUPLE] = { "(", ")" }, [WK_J_SEQ_KEYS] = { "dict_keys([", "])" },
        [WK_J_SEQ_VALUES] = { "dict_values([", "])" }, [WK_J_SEQ_ITEMS] = { "dict_items([", "])" },
    };
    const wk_jlist *l = v.l;
    char t[80];
    if (l->type == WK_J_SEQ_GENERATOR) { wk_jput_lit(r, b, "<generator object>"); return; }
    if (l->type == WK_J_SEQ_RANGE) {
        int n = snprintf(t, sizeof t, l->step == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)", (long long)l->start,
                         (long long)l->stop, (long long)l->step);
        wk_jput(r, b, t, (size_t)n, v.from);
        return;
    }
    wk_jput(r, b, around[l->type][0], strlen(around[l->type][0]), v.from);
    if (is_open(r, l)) { wk_jput_lit(r, b, "..."), wk_jput_lit(r, b, around[l->type][1]); return; }
    wk_jopen open = { r->open, l };
    r->open = &open;
    for (size_t i = 0; i < l->n; i++) {
        if (i) wk_jput_lit(r, b, ", ");
        put_repr(r, b, l->v[i]);
    }
    r->open = open.up;
    if (l->type == WK_J_SEQ_TUPLE && l->n == 1) wk_jput_lit(r, b, ",");
    wk_jput_lit(r, b, around[l->type][1]);
}

static void put_dict(wk_jrun *r, wk_jbuf *b, const wk_jdict *d, uint8_t from) {
    wk_jput(r, b, "{", 1, from);
    if (is_open(r, d)) { wk_jput_lit(r, b, "...}"); return; }
    wk_jopen open = { r->open, d };
    r->open = &open;
    for (size_t i = 0; i < d->n; i++) {
        if (i) wk_jput_lit(r, b, ", ");
        put_repr(r, b, d->p[i].k);
        wk_jput_lit(r, b, ": ");
        put_repr(r, b, d->p[i].v);
    }
    r->open = open.up;
    wk_jput_lit(r, b, "}");
}

static void put_repr(wk_jrun *r, wk_jbuf *b, wk_jval v) {
    char t[32];
    wk_jenter(r);
    wk_jstep(r, 1);
    switch ((wk_jkind)v.kind) {
    case WK_J_MISSING: break;
    case WK_J_UNDEF: wk_jput_lit(r, b, "Undefined"); break;
    case WK_J_NONE: wk_jput(r, b, "None", 4, v.from); break;
    case WK_J_BOOL: wk_jput(r, b, v.b ? "True" : "False", v.b ? 4 : 5, v.from); break;
    case WK_J_INT: wk_jput(r, b, t, (size_t)snprintf(t, sizeof t, "%lld", (long long)v.i), v.from); break;
    case WK_J_FLOAT: wk_jput_float(r, b, v.f, v.from); break;
    case WK_J_STR:
        if (v.markup) wk_jput_lit(r, b, "Markup(");
        put_repr_str(r, b, v.s);
        if (v.markup) wk_jput_lit(r, b, ")");
        break;
    case WK_J_LIST: put_list(r, b, v); break;
    case WK_J_DICT: put_dict(r, b, v.d, v.from); break;
    case WK_J_NAMESPACE:
        wk_jput_lit(r, b, "<Namespace ");
        put_dict(r, b, v.d, 0);
        wk_jput_lit(r, b, ">");
        break;
    case WK_J_FUNC: wk_jput_lit(r, b, "<function "), wk_jput_lit(r, b, v.fn->name), wk_jput_lit(r, b, ">"); break;
    case WK_J_METHOD: wk_jput_lit(r, b, "<method "), wk_jput_lit(r, b, v.m->fn->name), wk_jput_lit(r, b, ">"); break;
    case WK_J_MACRO:
        wk_jput_lit(r, b, "<Macro '");
        wk_jput(r, b, r->t->sym[v.macro->def->sym].ptr, r->t->sym[v.macro->def->sym].len, 0);
        wk_jput_lit(r, b, "'>");
        break;
    case WK_J_LOOP:
        snprintf(t, sizeof t, "%lld/", (long long)v.loop->index0 + 1);
        wk_jput_lit(r, b, "<LoopContext "), wk_jput_lit(r, b, t);
        snprintf(t, sizeof t, "%lld>", (long long)wk_jloop_length(r, v.loop));
        wk_jput_lit(r, b, t);
        break;
    case WK_J_CYCLER: wk_jput_lit(r, b, "<Cycler>"); break;
    case WK_J_JOINER: wk_jput_lit(r, b, "<Joiner>"); break;
    }
    wk_jleave(r);
}

void wk_jput_repr(wk_jrun *r, wk_jbuf *b, wk_jval v) {
    size_t at = b->n;
    put_repr(r, b, v);
    request_if_any(b, at);
}

void wk_jput_val(wk_jrun *r, wk_jbuf *b, wk_jval v) {
    if (v.kind == WK_J_STR) wk_jput_str(r, b, v.s);
    else if (v.kind != WK_J_UNDEF) wk_jput_repr(r, b, v);
}

wk_jval wk_jto_str(wk_jrun *r, wk_jval v) {
    wk_jbuf b = { 0 };
    if (v.kind == WK_J_STR) return v;
    wk_jput_val(r, &b, v);
    return wk_jput_end(r, &b);
}

const wk_jstr *wk_jstr_of(wk_jrun *r, wk_jval v) { return wk_jto_str(r, v).s; }

/* markupsafe's escape(): text that is marked already stays as it is. */
wk_jval wk_jescape(wk_jrun *r, wk_jval v) {
    const wk_jstr *s = wk_jstr_of(r, v);
    wk_jbuf b = { 0 };
    if (v.kind == WK_J_STR && v.markup) return v;
    wk_jchars(r, s->n);
    for (size_t i = 0, end; i < s->n; i = end) {
        char c = s->p[i];
        const char *e = c == '&'    ? "&amp;"
                        : c == '<'  ? "&lt;"
                        : c == '>'  ? "&gt;"
                        : c == '\'' ? "&#39;"
                        : c == '"'  ? "&#34;"
                                    : NULL;
        end = i + 1;
        if (e) { wk_jput(r, &b, e, strlen(e), wk_jfrom_at(s, i)); continue; }
        while (end < s->n && !(s->p[end] && strchr("&<>'\"", s->p[end]))) end++;
        wk_jput_part(r, &b, s, i, end);
    }
    return wk_jmark(wk_jput_end(r, &b), 1);
}

/* ---- tojson ---- */

typedef struct json_out { wk_jbuf b; const wk_jstr *indent, *item, *key; bool ascii, sorted; } json_out;

static void json_str(wk_jrun *r, json_out *o, const wk_jstr *s) {
    static const char control[] = "\bb\ff\nn\rr\tt";
    char t[16];
    wk_jchars(r, s->n);
    wk_jput_lit(r, &o->b, "\"");
    for (size_t i = 0, at = 0; i < s->n; at = i) {
        for (; i < s->n; i++) {  /* what stays as it is */
            unsigned char c = (unsigned char)s->p[i];
            if (c < 0x20 || c == '"' || c == '\\' || (o->ascii && c >= 0x7F)) break;
        }
        wk_jput_part(r, &o->b, s, at, i);
        if (i == s->n) break;
        uint8_t from = wk_jfrom_at(s, i);
        uint32_t c = wk_jnext_cp(s->p, s->n, &i);
        const char *e = c && c < 0x20 ? strchr(control, (int)c) : NULL;
        if (c == '"' || c == '\\') snprintf(t, sizeof t, "\\%c", (char)c);
        else if (e) snprintf(t, sizeof t, "\\%c", e[1]);
        else if (c < 0x10000) snprintf(t, sizeof t, "\\u%04x", c);
        else snprintf(t, sizeof t, "\\u%04x\\u%04x", 0xD7C0 + (c >> 10), 0xDC00 + (c & 0x3FF));
        wk_jput(r, &o->b, t, strlen(t), from);
    }
    wk_jput_lit(r, &o->b, "\"");
}

static void json_newline(wk_jrun *r, json_out *o, int level) {
    if (!o->indent) return;
    wk_jput_lit(r, &o->b, "\n");
    for (int i = 0; i < level; i++) wk_jput_str(r, &o->b, o->indent);
}

static void json_scalar(wk_jrun *r, json_out *o, wk_jval v) {
    if (v.kind == WK_J_NONE) wk_jput(r, &o->b, "null", 4, v.from);
    else if (v.kind == WK_J_BOOL) wk_jput(r, &o->b, v.b ? "true" : "false", v.b ? 4 : 5, v.from);
    else if (v.kind == WK_J_FLOAT && isnan(v.f)) wk_jput(r, &o->b, "NaN", 3, v.from);
    else if (v.kind == WK_J_FLOAT && isinf(v.f)) wk_jput(r, &o->b, v.f < 0 ? "-Infinity" : "Infinity", v.f < 0 ? 9 : 8, v.from);
    else put_repr(r, &o->b, v);
}

static void json_put(wk_jrun *r, json_out *o, wk_jval v, int level);

static void json_list(wk_jrun *r, json_out *o, wk_jval v, int level) {
    const wk_jlist *l = v.l;
    wk_jput(r, &o->b, "[", 1, v.from);
    for (size_t i = 0; i < l->n; i++) {
        if (i) wk_jput_str(r, &o->b, o->item);
        json_newline(r, o, level + 1);
        json_put(r, o, l->v[i], level + 1);
    }
    if (l->n) json_newline(r, o, level);
    wk_jput_lit(r, &o->b, "]");
}

static void json_dict(wk_jrun *r, json_out *o, wk_jval v, int level) {
    const wk_jdict *d = v.d;
    wk_jpair *p = d->p;
    if (o->sorted && d->n > 1) {  /* by insertion, as few keys as there are */
        p = wk_jalloc(&r->m, d->n * sizeof *p);
        for (size_t i = 0; i < d->n; i++) {
            size_t at = i;
            for (; at && wk_jorder(r, d->p[i].k, p[at - 1].k, "<") < 0; at--) p[at] = p[at - 1];
            p[at] = d->p[i];
            wk_jstep(r, 1 + (i - at) / 4);
        }
    }
    wk_jput(r, &o->b, "{", 1, v.from);
    for (size_t i = 0; i < d->n; i++) {
        if (i) wk_jput_str(r, &o->b, o->item);
        json_newline(r, o, level + 1);
        if (p[i].k.kind == WK_J_STR) {
            json_str(r, o, p[i].k.s);
        } else if (p[i].k.kind == WK_J_NONE || wk_jnumeric(p[i].k)) {
            wk_jput_lit(r, &o->b, "\"");
            json_scalar(r, o, p[i].k);
            wk_jput_lit(r, &o->b, "\"");
        } else {
            wk_jfail(&r->m, "tojson: keys must be str, int, float, bool or None, not %s", wk_jtype(p[i].k));
        }
        wk_jput_str(r, &o->b, o->key);
        json_put(r, o, p[i].v, level + 1);
    }
    if (d->n) json_newline(r, o, level);
    wk_jput_lit(r, &o->b, "}");
}

static void json_put(wk_jrun *r, json_out *o, wk_jval v, int level) {
    wk_jenter(r);
    wk_jstep(r, 1);
    if (v.kind == WK_J_STR) json_str(r, o, v.s);
    else if (v.kind == WK_J_NONE || wk_jnumeric(v)) json_scalar(r, o, v);
    else if (v.kind == WK_J_LIST && v.l->type <= WK_J_SEQ_TUPLE) json_list(r, o, v, level);
    else if (v.kind == WK_J_DICT) json_dict(r, o, v, level);
    else wk_jfail(&r->m, "tojson: a value of type %s cannot be written as JSON", wk_jtype(v));
    wk_jleave(r);
}

/* a: ensure_ascii, indent, separators, sort_keys. */
wk_jval wk_jtojson(wk_jrun *r, wk_jval v, wk_jval *a) {
    wk_jval blank = wk_jlit(r, " "), item = wk_jlit(r, ", "), key = wk_jlit(r, ": ");
    json_out o = { .item = item.s, .key = key.s, .ascii = wk_jtruth(r, a[0]), .sorted = wk_jtruth(r, a[3]) };
    if (a[1].kind == WK_J_STR) {
        o.indent = a[1].s;
    } else if (a[1].kind != WK_J_NONE && a[1].kind != WK_J_MISSING) {
        int64_t n = wk_jneed_int(r, a[1], "indent");
        wk_jbuf b = { 0 };
        wk_jput_char(r, &b, *blank.s->p, n > 0 ? (size_t)n : 0, 0);
        o.indent = wk_jput_end(r, &b).s;
    }
    if (o.indent) o.item = wk_jlit(r, ",").s;
    if (a[2].kind != WK_J_NONE && a[2].kind != WK_J_MISSING) {
        wk_jlist l = wk_jiter(r, a[2]);
        if (l.n != 2) wk_jfail(&r->m, "tojson: separators must be two texts");
        o.item = wk_jneed_str(r, l.v[0], "tojson's separator");
        o.key = wk_jneed_str(r, l.v[1], "tojson's separator");
    }
    json_put(r, &o, v, 0);
    request_if_any(&o.b, 0);
    return wk_jput_end(r, &o.b);
}
