/* jinja_format.c: "..." % values and "...".format(values).
 * Behaviour: Python's library reference, "printf-style String Formatting" and "Format String Syntax"; attributes in a field are
 * looked up as in a template. Integers have 64 bits. */
#include "base/number.h"
#include "text/jinja.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How one value is to be written. */
typedef struct spec {
    wk_str fill;        /* one character */
    char align;         /* < > ^ =, or 0: the type's own */
    char sign;          /* + - or blank */
    char group;         /* , _ or 0 */
    char type;          /* a letter, %, or 0 */
    bool alt;           /* # */
    int64_t width, precision;  /* -1: none */
} spec;

enum { MAX_PRECISION = 1000 };

static size_t chars(const char *p, size_t n) {
    size_t k = 0;
    for (size_t i = 0; i < n; i++) k += ((unsigned char)p[i] & 0xC0) != 0x80;
    return k;
}

static void put_fill(wk_jrun *r, wk_jbuf *b, const spec *s, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        wk_jput(r, b, s->fill.ptr, s->fill.len, 0);
        wk_jstep(r, i % 16 == 0);
    }
}

/* A text in its width; align "=" is only for numbers. */
static void put_text(wk_jrun *r, wk_jbuf *b, const spec *s, const wk_jstr *t, char align) {
    size_t end = s->precision >= 0 && s->precision < (int64_t)t->n_char ? wk_joffset(t, (size_t)s->precision) : t->n;
    int64_t n = (int64_t)chars(t->p, end), space = s->width > n ? s->width - n : 0;
    int64_t left = align == '>' ? space : align == '^' ? space / 2 : 0;
    put_fill(r, b, s, left);
    wk_jput_part(r, b, t, 0, end);
    put_fill(r, b, s, space - left);
}

/* digits, with what does not belong to the whole part from `whole` on, in groups. */
static size_t grouped(char *out, const char *digits, size_t whole, char group, size_t every) {
    size_t n = 0;
    for (size_t i = 0; digits[i]; i++) {
        if (group && i && i < whole && (whole - i) % every == 0) out[n++] = group;
        out[n++] = digits[i];
    }
    out[n] = 0;
    return n;
}

/* A number of which the sign, a prefix ("0x") and the digits are ready. */
static void put_number(wk_jrun *r, wk_jbuf *b, const spec *s, bool negative, const char *prefix, const char *digits, uint8_t from) {
    char head[8], align = s->align ? s->align : '>';
    snprintf(head, sizeof head, "%s%s", negative ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "", prefix);
    bool zeros = align == '=' && s->fill.len == 1 && *s->fill.ptr == '0' && s->group;
    size_t n_digits = strlen(digits), whole = strspn(digits, "0123456789abcdefABCDEF"),
           every = strchr("xXob", s->type) && s->type ? 4 : 3;
    if (s->type != 'x' && s->type != 'X') whole = strspn(digits, "0123456789");
    if (s->width > (int64_t)r->max_text) wk_jfail(&r->m, "a width of %lld characters", (long long)s->width);
    size_t width = s->width > 0 ? (size_t)s->width : 0, room = 2 * n_digits + 2;
    char *t = wk_jalloc(&r->m, room + (zeros ? 2 * width : 0)), *d = wk_jalloc(&r->m, n_digits + 1 + (zeros ? width : 0));
    memcpy(d, digits, n_digits + 1);
    size_t n = grouped(t, d, whole, s->group, every);
    if (zeros && n + strlen(head) < width) {  /* zeros are grouped too */
        size_t most = width - strlen(head), pad = most - most / (every + 1) > n_digits ? most - most / (every + 1) - n_digits : 0;
        if (whole < n_digits) pad = pad > 1 ? pad - 1 : 0;
        for (;; pad++) {
            memset(d, '0', pad);
            memcpy(d + pad, digits, n_digits + 1);
            n = grouped(t, d, whole + pad, s->group, every);
            if (n >= most) break;
        }
    }
    int64_t have = (int64_t)(n + strlen(head)), space = s->width > have ? s->width - have : 0;
    int64_t left = align == '>' ? space : align == '^' ? space / 2 : 0;
    put_fill(r, b, s, left);
    wk_jput(r, b, head, strlen(head), from);
    if (align == '=') put_fill(r, b, s, space);
    wk_jput(r, b, t, n, from);
    if (align != '=') put_fill(r, b, s, space - left);
}

static void put_int(wk_jrun *r, wk_jbuf *b, const spec *s, wk_jval v, bool percent) {
    char digits[72];
    int64_t i = wk_jas_int(v);
    uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    char type = s->type;
    const char *prefix = !s->alt ? "" : type == 'x' ? "0x" : type == 'X' ? "0X" : type == 'o' ? "0o" : type == 'b' ? "0b" : "";
    unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do digits[--at] = (type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % base]; while ((u /= base) != 0);
    if (!percent || s->precision < 0) { put_number(r, b, s, i < 0, prefix, digits + at, v.from); return; }
    size_t n = sizeof digits - 1 - at, zeros = s->precision > (int64_t)n ? (size_t)s->precision - n : 0;
    char *t = wk_jalloc(&r->m, zeros + n + 1);  /* %.5d: at least so many digits */
    memset(t, '0', zeros);
    memcpy(t + zeros, digits + at, n + 1);
    put_number(r, b, s, i < 0, prefix, t, v.from);
}

static void put_real(wk_jrun *r, wk_jbuf *b, const spec *s, wk_jval v) {
    double f = wk_jas_float(v) * (s->type == '%' ? 100 : 1);
    bool negative = signbit(f) && !isnan(f), upper = s->type == 'E' || s->type == 'F' || s->type == 'G';
    char type = (char)(s->type == '%' || s->type == 'F' ? 'f' : s->type == 'n' || !s->type ? 'g' : s->type | 0x20), pattern[8];
    int p = (int)(s->precision < 0 ? 6 : s->precision);
    wk_jbuf short_form = { 0 };
    char *t = wk_jalloc(&r->m, (size_t)p + 400);
    if (!s->type && s->precision < 0 && isfinite(f)) {
        wk_jput_float(r, &short_form, fabs(f), 0);
        const wk_jstr *k = wk_jput_end(r, &short_form).s;
        memcpy(t, k->p, k->n);
        char *e = s->alt && !strchr(t, '.') ? strchr(t, 'e') : NULL;
        if (e) memmove(e + 1, e, strlen(e) + 1), *e = '.';  /* # : always a point */
    } else if (!isfinite(f)) {
        memcpy(t, isnan(f) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf", 4);
    } else {
        snprintf(pattern, sizeof pattern, "%%%s.*%c", s->alt ? "#" : "", upper ? (char)(type - 0x20) : type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int n = wk_format_number(t, (size_t)p + 400, pattern, p, fabs(f));
#pragma GCC diagnostic pop
        if (!s->type) {  /* as g, but with a digit behind the point, and the last place is not given to the whole part */
            char *e = strchr(t, 'e'), *dot = strchr(t, '.');
            size_t whole = *t == '0' && f != 0 ? 0 : strspn(t, "0123456789");
            if (!e && whole >= (size_t)(p ? p : 1)) {
                wk_format_number(t, (size_t)p + 400, s->alt ? "%#.*e" : "%.*e", p > 0 ? p - 1 : 0, fabs(f));
                char *end = e = strchr(t, 'e');
                while (!s->alt && memchr(t, '.', (size_t)(e - t)) && (end[-1] == '0' || end[-1] == '.')) if (*--end == '.') break;
                memmove(end, e, strlen(e) + 1);
            } else if (!e && !dot) {
                memcpy(t + n, ".0", 3);
            }
        }
    }
    if (s->type == '%') memcpy(t + strlen(t), "%", 2);
    put_number(r, b, s, negative, "", t, v.from);
}

/* ---- % ---- */

/* repr(v), or ascii(v) */
static wk_jval repr(wk_jrun *r, wk_jval v, bool ascii) {
    wk_jbuf b = { 0 }, t = { 0 };
    wk_jput_repr(r, &b, v);
    wk_jval text = wk_jput_end(r, &b);
    const wk_jstr *s = text.s;
    if (!ascii || s->n == s->n_char) return text;
    for (size_t i = 0; i < s->n;) {
        char e[12];
        size_t at = i;
        uint32_t c = wk_jnext_cp(s->p, s->n, &i);
        if (c < 0x80) wk_jput_part(r, &t, s, at, i);
        else
            wk_jput(r, &t, e,
                    (size_t)snprintf(e, sizeof e,
                                     c < 0x100     ? "\\x%02x"
                                     : c < 0x10000 ? "\\u%04x"
                                                   : "\\U%08x",
                                     c),
                    wk_jfrom_at(s, at));
    }
    wk_jchars(r, s->n);
    return wk_jput_end(r, &t);
}

typedef struct values { const wk_jval *v; size_t n, used; wk_jval all; } values;

static wk_jval next_value(wk_jrun *r, values *a) {
    if (a->used == a->n) wk_jfail(&r->m, "'%%' has more places than values");
    return a->v[a->used++];
}

/* A number in a format, or * for the next value. */
static int64_t number(wk_jrun *r, const wk_jstr *f, size_t *i, values *a) {
    int64_t n = 0;
    if (*i < f->n && f->p[*i] == '*' && a) {
        ++*i;
        return wk_jneed_int(r, next_value(r, a), "what stands for * in a format");
    }
    for (; *i < f->n && f->p[*i] >= '0' && f->p[*i] <= '9'; ++*i) {
        n = n * 10 + (f->p[*i] - '0');
        if (n > INT32_MAX) wk_jfail(&r->m, "a width or precision above %d", INT32_MAX);
    }
    return n;
}

static void percent_value(wk_jrun *r, wk_jbuf *b, spec *s, wk_jval v, bool markup) {
    wk_jbuf t = { 0 };
    char c = s->type;
    if (s->precision > MAX_PRECISION && strchr("diuxXoeEfFgG", c)) wk_jfail(&r->m, "a precision above %d", MAX_PRECISION);
    if (c == 's' || c == 'r' || c == 'a') {
        v = c == 's' ? wk_jto_str(r, v) : repr(r, v, c == 'a');
        if (markup) v = wk_jescape(r, v);
        s->fill = WK_STR(" ");
        put_text(r, b, s, v.s, s->align == '<' ? '<' : '>');
        return;
    }
    if (c == 'c') {
        if (v.kind == WK_J_STR && v.s->n_char == 1) wk_jput_str(r, &t, v.s);
        else {
            int64_t cp = wk_jneed_int(r, v, "a character");
            if (cp < 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) wk_jfail(&r->m, "%lld is not a character", (long long)cp);
            wk_jput_cp(r, &t, (uint32_t)cp, v.from);
        }
        s->fill = WK_STR(" ");
        s->precision = -1;
        put_text(r, b, s, wk_jput_end(r, &t).s, s->align == '<' ? '<' : '>');
        return;
    }
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (!c || !strchr("diuxXoeEfFgG", c)) wk_jfail(&r->m, "'%%%c' is not a known format", c ? c : '?');
    if (!wk_jnumeric(v)) wk_jfail(&r->m, "'%%%c' needs a number, not %s", c, wk_jtype(v));
    if (strchr("eEfFgG", c)) { put_real(r, b, s, v); return; }
    if (v.kind == WK_J_FLOAT) {
        if (!strchr("diu", c)) wk_jfail(&r->m, "'%%%c' needs an integer", c);
        if (!(fabs(v.f) < 9223372036854775808.0)) wk_jfail(&r->m, "'%%%c' of a number that is no integer of 64 bits", c);
        v = (wk_jval){ .kind = WK_J_INT, .from = v.from, .i = (int64_t)v.f };
    }
    if (strchr("diu", c)) s->type = 'd';
    put_int(r, b, s, v, true);
}

wk_jval wk_jpercent(wk_jrun *r, const wk_jstr *f, wk_jval v, bool markup) {
    bool tuple = v.kind == WK_J_LIST && v.l->type == WK_J_SEQ_TUPLE;
    bool mapping = v.kind == WK_J_DICT || v.kind == WK_J_UNDEF || (v.kind == WK_J_LIST && !tuple && v.l->type <= WK_J_SEQ_RANGE);
    values a = { tuple ? v.l->v : &v, tuple ? v.l->n : 1, 0, v };
    wk_jbuf b = { 0 };
    for (size_t i = 0; i < f->n;) {
        const char *p = memchr(f->p + i, '%', f->n - i);
        size_t at = p ? (size_t)(p - f->p) : f->n;
        wk_jput_part(r, &b, f, i, at);
        if (!p) break;
        i = at + 1;
        wk_jstep(r, 1);
        spec s = { .fill = WK_STR(" "), .precision = -1 };
        bool zero = false, named = false;
        wk_jval value = { 0 };
        if (i < f->n && f->p[i] == '(') {
            size_t start = ++i, depth = 1;
            for (; i < f->n && depth; i++) depth += (size_t)(f->p[i] == '(') - (size_t)(f->p[i] == ')');
            if (depth) wk_jfail(&r->m, "a name in a format has no ')'");
            if (v.kind != WK_J_DICT) wk_jfail(&r->m, "a format with names needs a dict");
            const wk_jval *found = wk_jdict_find_str(r, v.d, f->p + start, i - 1 - start);
            if (!found)
                wk_jfail(&r->m, "the dict has no '%.*s', which the format needs", (int)(i - 1 - start < 100 ? i - 1 - start : 100),
                         f->p + start);
            value = *found;
            named = true;
        }
        for (; i < f->n && f->p[i] && strchr("-+ #0", f->p[i]); i++) {
            char c = f->p[i];
            if (c == '-') s.align = '<';
            else if (c == '+' || (c == ' ' && s.sign != '+')) s.sign = c;
            else if (c == '#') s.alt = true;
            else if (c == '0') zero = true;
        }
        s.width = number(r, f, &i, &a);
        if (s.width < 0) s.align = '<', s.width = s.width < -INT32_MAX ? INT32_MAX : -s.width;
        if (i < f->n && f->p[i] == '.') {
            i++;
            s.precision = number(r, f, &i, &a);
            if (s.precision < 0) s.precision = 0;
        }
        if (i < f->n && (f->p[i] == 'l' || f->p[i] == 'h' || f->p[i] == 'L')) i++;
        if (i == f->n) wk_jfail(&r->m, "a format ends after its '%%'");
        s.type = f->p[i++];
        if (s.type == '%' && i == at + 2) { wk_jput_part(r, &b, f, i - 1, i); continue; }
        if (zero && !s.align) s.align = '=', s.fill = WK_STR("0");
        percent_value(r, &b, &s, named ? value : next_value(r, &a), markup);
    }
    if (a.used < a.n && !mapping) wk_jfail(&r->m, "'%%' has more values than places");
    return wk_jput_end(r, &b);
}

/* ---- format() ---- */

/* [[fill]align][sign][#][0][width][group][.precision][type] */
static spec read_spec(wk_jrun *r, const wk_jstr *f) {
    spec s = { .fill = WK_STR(" "), .precision = -1 };
    size_t i = 0, next = 0;
    bool filled = false;
    if (f->n) wk_jnext_cp(f->p, f->n, &next);
    if (next < f->n && strchr("<>=^", f->p[next]) && f->p[next]) {
        s.fill = (wk_str){ f->p, next };
        filled = true;
        s.align = f->p[next];
        i = next + 1;
    } else if (f->n && f->p[0] && strchr("<>=^", f->p[0])) {
        s.align = f->p[i++];
    }
    if (i < f->n && f->p[i] && strchr("+- ", f->p[i])) s.sign = f->p[i++];
    if (i < f->n && f->p[i] == '#') s.alt = true, i++;
    if (i < f->n && f->p[i] == '0') {
        if (!filled) s.fill = WK_STR("0");
        if (!s.align) s.align = '=';
        i++;
    }
    s.width = number(r, f, &i, NULL);
    if (i < f->n && (f->p[i] == ',' || f->p[i] == '_')) s.group = f->p[i++];
    if (i < f->n && f->p[i] == '.') {
        size_t start = ++i;
        s.precision = number(r, f, &i, NULL);
        if (i == start) wk_jfail(&r->m, "a format has no precision after its '.'");
    }
    if (i < f->n) s.type = f->p[i++];
    if (i < f->n) wk_jfail(&r->m, "'%.*s' is not a known format", (int)(f->n < 40 ? f->n : 40), f->p);
    return s;
}

/* format(v, f) */
static void put_formatted(wk_jrun *r, wk_jbuf *b, wk_jval v, const wk_jstr *f) {
    if (!f->n) { wk_jput_val(r, b, v); return; }
    if (v.kind != WK_J_STR && !wk_jnumeric(v))
        wk_jfail(&r->m, "a value of type %s cannot be formatted as '%.*s'", wk_jtype(v), (int)(f->n < 40 ? f->n : 40), f->p);
    spec s = read_spec(r, f);
    if (v.kind == WK_J_STR) {
        if ((s.type && s.type != 's') || s.sign || s.alt || s.group || (s.align == '=' && *s.fill.ptr != '0'))
            wk_jfail(&r->m, "'%.*s' is a format for numbers", (int)(f->n < 40 ? f->n : 40), f->p);
        if (s.align == '=' && !memchr(f->p, '=', f->n)) s.align = '<';  /* "05": text is filled up on the right */
        if (s.align == '=') wk_jfail(&r->m, "'=' aligns numbers only");
        put_text(r, b, &s, v.s, s.align ? s.align : '<');
        return;
    }
    if (s.precision > MAX_PRECISION) wk_jfail(&r->m, "a precision above %d", MAX_PRECISION);
    if (s.type == 's' || (s.type && !strchr("bcdoxXneEfFgG%", s.type))) wk_jfail(&r->m, "'%c' does not format a number", s.type);
    if (s.group && s.type && strchr(s.group == ',' ? "boxXcn" : "cn", s.type))
        wk_jfail(&r->m, "'%c' does not go with '%c'", s.group, s.type);
    if (s.type && strchr("eEfFgG%", s.type)) { put_real(r, b, &s, v); return; }
    if (v.kind == WK_J_FLOAT) {
        if (s.type && s.type != 'n') wk_jfail(&r->m, "'%c' needs an integer", s.type);
        put_real(r, b, &s, v);
        return;
    }
    if (s.precision >= 0) wk_jfail(&r->m, "an integer has no precision");
    if (s.type == 'c') {
        wk_jbuf t = { 0 };
        int64_t cp = wk_jas_int(v);
        if (s.sign || s.alt) wk_jfail(&r->m, "a character has no sign and no other form");
        if (cp < 0 || cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) wk_jfail(&r->m, "%lld is not a character", (long long)cp);
        wk_jput_cp(r, &t, (uint32_t)cp, v.from);
        put_text(r, b, &s, wk_jput_end(r, &t).s, s.align == '<' || s.align == '^' ? s.align : '>');
        return;
    }
    put_int(r, b, &s, v, false);
}

typedef struct fields { const wk_jcall *c; int64_t next; bool manual, automatic, markup; } fields;
static wk_jval put_fields(wk_jrun *r, const wk_jstr *f, size_t from, size_t to, fields *a, int depth);

/* The value that "name.attr[0]" stands for. */
static wk_jval field_value(wk_jrun *r, const wk_jstr *f, size_t from, size_t to, fields *a) {
    size_t i = from;
    bool digits = true;
    int64_t index = 0;
    for (; i < to && f->p[i] != '.' && f->p[i] != '['; i++) {
        digits &= f->p[i] >= '0' && f->p[i] <= '9';
        if (digits && index < INT32_MAX) index = index * 10 + (f->p[i] - '0');
    }
    wk_jval v;
    if (digits) {
        if (i > from) a->manual = true;
        else a->automatic = true, index = a->next++;
        if (a->manual && a->automatic) wk_jfail(&r->m, "format() mixes {} and {0}");
        if (index >= (int64_t)a->c->n) wk_jfail(&r->m, "format() has no value number %lld", (long long)index);
        v = a->c->arg[index];
    } else {
        const wk_jval *found = a->c->kw ? wk_jdict_find_str(r, a->c->kw, f->p + from, i - from) : NULL;
        if (!found) wk_jfail(&r->m, "format() has no value named '%.*s'", (int)(i - from < 100 ? i - from : 100), f->p + from);
        v = *found;
    }
    while (i < to) {
        bool item = f->p[i++] == '[';
        size_t start = i;
        while (i < to && (item ? f->p[i] != ']' : f->p[i] != '.' && f->p[i] != '[')) i++;
        if (i == start || (item && i == to)) wk_jfail(&r->m, "format() has a field with an empty attribute or no ']'");
        wk_jval name = wk_jpart(r, f, start, i);
        digits = item && i - start < 18 && strspn(f->p + start, "0123456789") >= i - start;
        if (!item) v = wk_jgetattr(r, v, (wk_str){ name.s->p, name.s->n });
        else v = wk_jgetitem(r, v, digits ? wk_jint(strtoll(f->p + start, NULL, 10)) : name);
        if (item) i++;
        if (i < to && f->p[i] != '.' && f->p[i] != '[') wk_jfail(&r->m, "only '.' or '[' may follow ']' in a field of format()");
    }
    return v;
}

/* What stands between { and }. */
static void put_field(wk_jrun *r, wk_jbuf *b, const wk_jstr *f, size_t from, size_t to, fields *a, int depth) {
    size_t name = from, colon, bracket = 0;
    for (; name < to && (bracket || (f->p[name] != '!' && f->p[name] != ':')); name++) {
        if (f->p[name] == '[') bracket = 1;
        if (f->p[name] == ']') bracket = 0;
    }
    wk_jval v = field_value(r, f, from, name, a);
    colon = name;
    if (colon < to && f->p[colon] == '!') {
        char how = colon + 1 < to ? f->p[colon + 1] : 0;
        if (how == 'r' || how == 'a') v = repr(r, v, how == 'a');
        else if (how == 's') v = wk_jto_str(r, v);
        else wk_jfail(&r->m, "format() knows the conversions !s, !r and !a");
        colon += 2;
        if (colon < to && f->p[colon] != ':') wk_jfail(&r->m, "format() expects ':' after a conversion");
    }
    wk_jval how = colon < to ? put_fields(r, f, colon + 1, to, a, depth + 1) : wk_jlit(r, "");
    wk_jbuf t = { 0 };
    put_formatted(r, &t, v, how.s);
    wk_jval text = wk_jmark(wk_jput_end(r, &t), v.kind == WK_J_STR && v.markup);
    wk_jput_str(r, b, (a->markup && !depth ? wk_jescape(r, text) : text).s);
}

static wk_jval put_fields(wk_jrun *r, const wk_jstr *f, size_t from, size_t to, fields *a, int depth) {
    wk_jbuf b = { 0 };
    if (depth > 2) wk_jfail(&r->m, "format() has fields inside a field's format inside a field's format");
    for (size_t i = from; i < to;) {
        size_t at = i;
        while (at < to && f->p[at] != '{' && f->p[at] != '}') at++;
        wk_jput_part(r, &b, f, i, at);
        if (at == to) break;
        wk_jstep(r, 1);
        if (at + 1 < to && f->p[at + 1] == f->p[at] && !depth) {
            wk_jput_part(r, &b, f, at, at + 1);
            i = at + 2;
            continue;
        }
        if (f->p[at] == '}') wk_jfail(&r->m, "format() has a single '}'");
        size_t open = 1, end = at + 1;
        for (; end < to && open; end++) {
            if (f->p[end] == '[' && open == 1) {  /* braces inside [ ] belong to a key */
                const char *close = memchr(f->p + end, ']', to - end), *brace = memchr(f->p + end, '}', to - end);
                if (close && brace && close < brace && !memchr(f->p + at, ':', end - at)) end = (size_t)(close - f->p);
            }
            open += (size_t)(f->p[end] == '{') - (size_t)(f->p[end] == '}');
        }
        if (open) wk_jfail(&r->m, "format() has a '{' without its '}'");
        put_field(r, &b, f, at + 1, end - 1, a, depth);
        i = end;
    }
    return wk_jput_end(r, &b);
}

wk_jval wk_jformat(wk_jrun *r, const wk_jstr *f, const wk_jcall *c, bool markup) {
    fields a = { .c = c, .markup = markup };
    return put_fields(r, f, 0, f->n, &a, 0);
}
