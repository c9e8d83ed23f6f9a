/* jinja_filter.c: the filters, as a table.
 * Names, arguments and results: jinja2's "List of Builtin Filters"; tojson is transformers' (json.dumps, nothing escaped for HTML).
 * Not here: random, urlize, wordwrap, pprint, xmlattr, filesizeformat, striptags: no chat template has a use for them. */
#include "base/number.h"
#include "text/jinja.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name) static wk_jval name(wk_jrun *r, wk_jval v, wk_jval *a, const wk_jcall *c)
#define UNUSED (void)r, (void)v, (void)a, (void)c

static bool given(wk_jval v) { return v.kind != WK_J_MISSING; }
static bool set(wk_jval v) { return v.kind != WK_J_MISSING && v.kind != WK_J_NONE; }
static int64_t int_or(wk_jrun *r, wk_jval v, int64_t otherwise, const char *what) {
    return given(v) ? wk_jneed_int(r, v, what) : otherwise;
}

/* A list of what v holds, to be changed. */
static wk_jval list_of(wk_jrun *r, wk_jval v) {
    wk_jlist l = wk_jiter(r, v);
    wk_jval out = wk_jlist_of(r, WK_J_SEQ_LIST, l.v, l.n);
    if (v.kind == WK_J_LIST || v.kind == WK_J_DICT) out.from = v.from;
    return out;
}

static wk_jval method(wk_jrun *r, wk_jval v, const char *name, const wk_jval *arg, size_t n) {
    wk_jval fn = wk_jmethod_of(r, wk_jto_str(r, v), (wk_str){ name, strlen(name) });
    return wk_jcall_value(r, fn, &(wk_jcall){ .arg = (wk_jval *)arg, .n = n });
}

/* ---- looking up attributes: "a.b.0", or an index ---- */

static wk_jval attribute(wk_jrun *r, wk_jval v, wk_jval path, wk_jval otherwise) {
    if (!set(path)) return v;
    if (path.kind != WK_J_STR) {
        v = wk_jgetitem(r, v, path);
        return set(otherwise) && v.kind == WK_J_UNDEF ? otherwise : v;
    }
    const wk_jstr *s = path.s;
    for (size_t i = 0, end; i <= s->n; i = end + 1) {
        const char *dot = i < s->n ? memchr(s->p + i, '.', s->n - i) : NULL;
        end = dot ? (size_t)(dot - s->p) : s->n;
        bool digits = end > i && end - i < 18;
        for (size_t k = i; k < end; k++) digits &= s->p[k] >= '0' && s->p[k] <= '9';
        int64_t index = 0;
        for (size_t k = i; digits && k < end; k++) index = index * 10 + (s->p[k] - '0');
        v = wk_jgetitem(r, v, digits ? wk_jint(index) : wk_jpart(r, s, i, end));
        if (set(otherwise) && v.kind == WK_J_UNDEF) v = otherwise;
    }
    return v;
}

static wk_jval fold(wk_jrun *r, wk_jval v, bool case_sensitive) {
    return v.kind == WK_J_STR && !case_sensitive ? method(r, v, "lower", NULL, 0) : v;
}

/* ---- sorting ---- */

/* Stable, as sorted(): merges runs that double. Both arrays move together. */
static void sort(wk_jrun *r, wk_jval *key, wk_jval *val, size_t n, bool reverse) {
    if (n < 2) return;
    wk_jval *k2 = wk_jalloc(&r->m, n * sizeof *k2), *v2 = wk_jalloc(&r->m, n * sizeof *v2);
    for (size_t w = 1; w < n; w *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * w) {
            size_t mid = lo + w < n ? lo + w : n, hi = lo + 2 * w < n ? lo + 2 * w : n, i = lo, j = mid;
            for (size_t at = lo; at < hi; at++) {
                bool right = i == mid;
                if (i < mid && j < hi) {
                    wk_jstep(r, 1);
                    int c = reverse ? wk_jorder(r, key[i], key[j], "<") : wk_jorder(r, key[j], key[i], "<");
                    right = c == -1;
                }
                size_t from = right ? j++ : i++;
                k2[at] = key[from];
                v2[at] = val[from];
            }
        }
        memcpy(key, k2, n * sizeof *key);
        memcpy(val, v2, n * sizeof *val);
    }
}

/* a: reverse, case_sensitive, attribute ("a,b": several) */
FILTER(f_sort) {
    wk_jval out = list_of(r, v);
    wk_jval *key = wk_jalloc(&r->m, out.l->n * sizeof *key);
    bool sensitive = wk_jtruth(r, a[1]);
    for (size_t i = 0; i < out.l->n; i++) {
        key[i] = wk_jlist_new(r, WK_J_SEQ_LIST, 1);
        size_t at = 0, end, n = a[2].kind == WK_J_STR ? a[2].s->n : 0;
        for (; at <= n; at = end + 1) {
            const char *comma = at < n ? memchr(a[2].s->p + at, ',', n - at) : NULL;
            end = comma ? (size_t)(comma - a[2].s->p) : n;
            wk_jval path = a[2].kind == WK_J_STR ? wk_jpart(r, a[2].s, at, end) : a[2];
            wk_jlist_add(r, key[i].l, fold(r, attribute(r, out.l->v[i], path, wk_jnone()), sensitive));
        }
    }
    sort(r, key, out.l->v, out.l->n, wk_jtruth(r, a[0]));
    (void)c;
    return out;
}

/* a: case_sensitive, by, reverse */
FILTER(f_dictsort) {
    bool by_value = given(a[1]) && a[1].kind == WK_J_STR && a[1].s->n == 5 && !memcmp(a[1].s->p, "value", 5);
    bool by_key = !given(a[1]) || (a[1].kind == WK_J_STR && a[1].s->n == 3 && !memcmp(a[1].s->p, "key", 3));
    if (!by_key && !by_value) wk_jfail(&r->m, "dictsort sorts by 'key' or 'value'");
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (v.kind != WK_J_DICT) wk_jfail(&r->m, "dictsort needs a dict, not %s", wk_jtype(v));
    wk_jval out = wk_jdict_view(r, v.d, WK_J_SEQ_ITEMS);
    wk_jval *key = wk_jalloc(&r->m, v.d->n * sizeof *key);
    out.l->type = WK_J_SEQ_LIST;
    for (size_t i = 0; i < v.d->n; i++) key[i] = fold(r, by_value ? v.d->p[i].v : v.d->p[i].k, wk_jtruth(r, a[0]));
    sort(r, key, out.l->v, out.l->n, wk_jtruth(r, a[2]));
    (void)c;
    return out;
}

/* a: attribute, default, case_sensitive */
FILTER(f_groupby) {
    wk_jval in = list_of(r, v), out = wk_jlist_new(r, WK_J_SEQ_LIST, 0);
    size_t n = in.l->n;
    wk_jval *key = wk_jalloc(&r->m, n * sizeof *key);
    for (size_t i = 0; i < n; i++) key[i] = fold(r, attribute(r, in.l->v[i], a[0], a[1]), wk_jtruth(r, a[2]));
    sort(r, key, in.l->v, n, false);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && wk_jequal(r, key[i], key[end]);) end++;
        wk_jval name = attribute(r, in.l->v[i], a[0], a[1]), items = wk_jlist_of(r, WK_J_SEQ_LIST, in.l->v + i, end - i);
        wk_jval group = wk_jlist_of(r, WK_J_SEQ_TUPLE, (wk_jval[]){ name, items }, 2);
        group.l->group = true;
        wk_jlist_add(r, out.l, group);
    }
    (void)c;
    return out;
}

/* a: case_sensitive, attribute */
static wk_jval extreme(wk_jrun *r, wk_jval v, wk_jval *a, int wanted, const char *op) {
    wk_jlist l = wk_jiter(r, v);
    wk_jval best = { 0 }, best_key = { 0 };
    for (size_t i = 0; i < l.n; i++) {
        wk_jval key = fold(r, attribute(r, l.v[i], a[1], wk_jnone()), wk_jtruth(r, a[0]));
        wk_jstep(r, 1);
        if (i && wk_jorder(r, key, best_key, op) != wanted) continue;
        best = l.v[i];
        best_key = key;
    }
    return l.n ? best : wk_jundefined_hint(r, "the smallest or largest item of nothing is undefined");
}
FILTER(f_min) { (void)c; return extreme(r, v, a, -1, "<"); }
FILTER(f_max) { (void)c; return extreme(r, v, a, 1, ">"); }

/* a: case_sensitive, attribute */
FILTER(f_unique) {
    wk_jlist l = wk_jiter(r, v);
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_GENERATOR, 0), seen = wk_jdict_new(r);
    for (size_t i = 0; i < l.n; i++) {
        wk_jval key = fold(r, attribute(r, l.v[i], a[1], wk_jnone()), wk_jtruth(r, a[0]));
        size_t before = seen.d->n;
        wk_jstep(r, 1);
        wk_jdict_set(r, seen.d, key, key);
        if (seen.d->n > before) wk_jlist_add(r, out.l, l.v[i]);
    }
    (void)c;
    return out;
}

/* ---- map and select ---- */

/* The rest of a call's arguments, from i on. */
static wk_jcall rest(const wk_jcall *c, size_t i) {
    return (wk_jcall){ .arg = c->n > i ? c->arg + i : NULL, .n = c->n > i ? c->n - i : 0, .kw = c->kw };
}

static const wk_jbuiltin *find(wk_jrun *r, const wk_jbuiltin *table, wk_jval name, const char *what) {
    if (name.kind == WK_J_UNDEF) wk_jfail_undef(r, name);
    const wk_jstr *s = wk_jneed_str(r, name, what);
    const wk_jbuiltin *fn = wk_jfind(table, s->p, s->n);
    if (!fn) wk_jfail(&r->m, "there is no %s named '%.*s'", what, (int)(s->n < 100 ? s->n : 100), s->p);
    return fn;
}

FILTER(f_map) {
    const wk_jval *path = !c->n && c->kw ? wk_jdict_find_str(r, c->kw, "attribute", 9) : NULL;
    const wk_jval *otherwise = path ? wk_jdict_find_str(r, c->kw, "default", 7) : NULL;
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_GENERATOR, 0);
    (void)a;
    if (!wk_jtruth(r, v)) return out;
    if (path && c->kw->n > 1U + (otherwise != NULL)) wk_jfail(&r->m, "map() is given a keyword that it does not have");
    if (!path && !c->n) wk_jfail(&r->m, "map() needs the name of a filter, or attribute=...");
    wk_jlist l = wk_jiter(r, v);
    wk_jcall more = rest(c, 1);
    for (size_t i = 0; i < l.n; i++)
        wk_jlist_add(r, out.l, path ? attribute(r, l.v[i], *path, otherwise ? *otherwise : wk_jnone()) :
                     wk_jcall_builtin(r, find(r, wk_jfilters, c->arg[0], "filter"), "filter", l.v[i], &more));
    return out;
}

static wk_jval pick(wk_jrun *r, wk_jval v, const wk_jcall *c, bool wanted, bool by_attribute) {
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_GENERATOR, 0);
    size_t at = by_attribute;
    if (!wk_jtruth(r, v)) return out;
    if (by_attribute && !c->n) wk_jfail(&r->m, "selectattr() and rejectattr() need the name of an attribute");
    wk_jlist l = wk_jiter(r, v);
    wk_jcall more = rest(c, at + 1);
    for (size_t i = 0; i < l.n; i++) {
        wk_jval x = by_attribute ? attribute(r, l.v[i], c->arg[0], wk_jnone()) : l.v[i];
        wk_jstep(r, 1);
        if (c->n > at) x = wk_jcall_builtin(r, find(r, wk_jtests, c->arg[at], "test"), "test", x, &more);
        if (wk_jtruth(r, x) == wanted) wk_jlist_add(r, out.l, l.v[i]);
    }
    return out;
}
FILTER(f_select) { (void)a; return pick(r, v, c, true, false); }
FILTER(f_reject) { (void)a; return pick(r, v, c, false, false); }
FILTER(f_selectattr) { (void)a; return pick(r, v, c, true, true); }
FILTER(f_rejectattr) { (void)a; return pick(r, v, c, false, true); }

/* ---- sequences ---- */

FILTER(f_length) { UNUSED; return wk_jint(wk_jlength(r, v)); }
FILTER(f_list) { UNUSED; return list_of(r, v); }

FILTER(f_first) {
    UNUSED;
    if (v.kind == WK_J_STR && v.s->n) return wk_jgetitem(r, wk_jmark(v, 0), wk_jint(0));
    wk_jlist *l = v.kind == WK_J_LIST ? v.l : NULL;
    if (l) wk_jforce(r, l);
    if (l && l->type == WK_J_SEQ_GENERATOR && l->pos < l->n) return l->v[l->pos++];  /* the others stay to be read */
    wk_jlist all = wk_jiter(r, v);
    return all.n ? all.v[0] : wk_jundefined_hint(r, "the first item of nothing is undefined");
}

static void need_reversible(wk_jrun *r, wk_jval v) {
    if (!wk_jiterable(v) || !wk_jhas_length(v))
        wk_jfail(&r->m, "a value of type %s cannot be read backwards; use the filter 'list' first", wk_jtype(v));
}

FILTER(f_last) {
    UNUSED;
    if (v.kind == WK_J_STR && v.s->n) return wk_jgetitem(r, v, wk_jint(-1));
    need_reversible(r, v);
    wk_jlist l = wk_jiter(r, v);
    return l.n ? l.v[l.n - 1] : wk_jundefined_hint(r, "the last item of nothing is undefined");
}

FILTER(f_reverse) {
    UNUSED;
    wk_jval none = wk_jnone();
    if (v.kind == WK_J_STR) return wk_jslice(r, v, none, none, wk_jint(-1));
    wk_jval out = list_of(r, v);
    bool list = v.kind == WK_J_LIST && v.l->type == WK_J_SEQ_GENERATOR;
    out.l->type = list ? WK_J_SEQ_LIST : WK_J_SEQ_GENERATOR;
    for (size_t i = 0, n = out.l->n; i < n / 2; i++) {
        wk_jval x = out.l->v[i];
        out.l->v[i] = out.l->v[n - 1 - i];
        out.l->v[n - 1 - i] = x;
    }
    return out;
}

/* a: d, attribute */
FILTER(f_join) {
    (void)c;
    wk_jlist l = wk_jiter(r, v);
    const wk_jstr *by = given(a[0]) ? wk_jstr_of(r, a[0]) : NULL;
    wk_jbuf b = { 0 };
    for (size_t i = 0; i < l.n; i++) {
        if (i && by) wk_jput_str(r, &b, by);
        wk_jput_val(r, &b, attribute(r, l.v[i], a[1], wk_jnone()));
        wk_jstep(r, 1);
    }
    return wk_jput_end(r, &b);
}

FILTER(f_items) {
    UNUSED;
    if (v.kind != WK_J_DICT && v.kind != WK_J_UNDEF) wk_jfail(&r->m, "items needs a dict, not %s", wk_jtype(v));
    if (v.kind == WK_J_UNDEF) return wk_jlist_new(r, WK_J_SEQ_GENERATOR, 0);
    return wk_jdict_view(r, v.d, WK_J_SEQ_GENERATOR);
}

/* a: attribute, start */
FILTER(f_sum) {
    (void)c;
    wk_jlist l = wk_jiter(r, v);
    wk_jval sum = given(a[1]) ? a[1] : wk_jint(0);
    if (sum.kind == WK_J_STR) wk_jfail(&r->m, "sum cannot add texts; use the filter 'join'");
    for (size_t i = 0; i < l.n; i++) {
        wk_jstep(r, 1);
        sum = wk_jbinary(r, '+', sum, attribute(r, l.v[i], a[0], wk_jnone()));
    }
    return sum;
}

/* a: linecount, fill_with */
FILTER(f_batch) {
    (void)c;
    wk_jlist l = wk_jiter(r, v);
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_GENERATOR, 0), row = wk_jlist_new(r, WK_J_SEQ_LIST, 0);
    int64_t n = wk_jneed_int(r, a[0], "the size of a batch");
    for (size_t i = 0; i < l.n; i++) {
        if ((int64_t)row.l->n == n) {
            wk_jlist_add(r, out.l, row);
            row = wk_jlist_new(r, WK_J_SEQ_LIST, 0);
        }
        wk_jlist_add(r, row.l, l.v[i]);
    }
    for (; row.l->n && set(a[1]) && (int64_t)row.l->n < n; wk_jstep(r, 1)) wk_jlist_add(r, row.l, a[1]);
    if (row.l->n) wk_jlist_add(r, out.l, row);
    return out;
}

/* a: slices, fill_with */
FILTER(f_slice) {
    (void)c;
    wk_jlist l = wk_jiter(r, v);
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_GENERATOR, 0);
    int64_t n = wk_jneed_int(r, a[0], "the number of slices");
    if (!n) wk_jfail(&r->m, "division by zero");
    for (int64_t i = 0, at = 0; i < n; i++) {
        bool extra = i < (int64_t)l.n % n;
        int64_t count = (int64_t)l.n / n + extra;
        wk_jval row = wk_jlist_of(r, WK_J_SEQ_LIST, count ? l.v + at : NULL, (size_t)count);
        wk_jstep(r, 1);
        if (set(a[1]) && !extra) wk_jlist_add(r, row.l, a[1]);
        wk_jlist_add(r, out.l, row);
        at += count;
    }
    return out;
}

/* ---- values ---- */

/* a: default_value, boolean */
FILTER(f_default) {
    (void)c;
    if (v.kind == WK_J_UNDEF || (wk_jtruth(r, a[1]) && !wk_jtruth(r, v))) return given(a[0]) ? a[0] : wk_jlit(r, "");
    return v;
}

/* a: name. Attributes only, never items. */
FILTER(f_attr) {
    (void)c;
    const wk_jstr *s = wk_jneed_str(r, a[0], "the name of an attribute");
    wk_str name = { s->p, s->n };
    if (v.kind == WK_J_DICT) {
        wk_jval m = wk_jmethod_of(r, v, name);
        return m.kind == WK_J_MISSING ? wk_jundefined_in(r, v, name) : m;
    }
    return wk_jgetattr(r, v, name);
}

FILTER(f_string) { UNUSED; return wk_jto_str(r, v); }
FILTER(f_tojson) { (void)c; return wk_jtojson(r, v, a); }
FILTER(f_escape) { UNUSED; return wk_jescape(r, v); }
FILTER(f_forceescape) { UNUSED; return wk_jescape(r, wk_jmark(wk_jto_str(r, v), 0)); }
FILTER(f_safe) { UNUSED; return wk_jmark(wk_jto_str(r, v), 1); }

FILTER(f_abs) {
    UNUSED;
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (!wk_jnumeric(v)) wk_jfail(&r->m, "abs needs a number, not %s", wk_jtype(v));
    if (v.kind == WK_J_FLOAT) { v.f = fabs(v.f); return v; }
    wk_jval zero = wk_jint(0);
    return wk_jas_int(v) < 0 ? wk_jbinary(r, '-', zero, v) : wk_jbinary(r, '+', zero, v);
}

/* The text as a number, without white space around it and "_" between digits, NUL-ended; NULL: it cannot be one. */
static const char *number_text(wk_jrun *r, const wk_jstr *s) {
    size_t from = 0, to = s->n, n = 0;
    while (from < to && wk_jis_space((unsigned char)s->p[from])) from++;
    while (to > from && wk_jis_space((unsigned char)s->p[to - 1])) to--;
    char *t = wk_jalloc(&r->m, to - from + 1);
    for (size_t i = from; i < to; i++) {
        bool between = i > from && i + 1 < to && s->p[i - 1] != '_' && s->p[i + 1] != '_';
        if (s->p[i] == '_' && !between) return NULL;
        if (s->p[i] == '_') continue;
        if (!s->p[i] || (unsigned char)s->p[i] >= 0x80) return NULL;
        t[n++] = s->p[i];
    }
    return n ? t : NULL;
}

/* float(text) */
static bool read_float(wk_jrun *r, const wk_jstr *s, double *f) {
    const char *t = number_text(r, s);
    char *end;
    if (!t || strpbrk(t, "xX(")) return false;  /* what strtod knows and Python does not */
    *f = wk_strtod(t, &end);
    return !*end && end != t;
}

/* int(text, base) */
static bool read_int(wk_jrun *r, const wk_jstr *s, int64_t base, int64_t *i) {
    const char *t = number_text(r, s), *d = t;
    char *end;
    if (!t || base < 0 || base > 36 || base == 1) return false;
    if (*d == '+' || *d == '-') d++;
    int prefix = *d != '0' ? 0 : (d[1] | 0x20) == 'x' ? 16 : (d[1] | 0x20) == 'o' ? 8 : (d[1] | 0x20) == 'b' ? 2 : 0;
    if (base == 0 && !prefix && *d == '0' && strspn(d, "0") != strlen(d)) return false;
    if (prefix && (base == 0 || base == prefix)) {
        base = prefix;
        d += 2;
    } else if (base == 0) {
        base = 10;
    }
    bool digit = (*d >= '0' && *d <= '9') || ((*d | 0x20) >= 'a' && (*d | 0x20) <= 'z');
    if (!digit || (base == 16 && *d == '0' && (d[1] | 0x20) == 'x')) return false;
    errno = 0;
    bool negative = *t == '-';
    uint64_t u = strtoull(d, &end, (int)base);
    if (*end || end == d) return false;
    if (errno || u > (uint64_t)INT64_MAX + negative) wk_jfail(&r->m, "an integer above 2^63-1 (or below -2^63)");
    *i = negative ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

/* a: default, base */
FILTER(f_int) {
    (void)c;
    wk_jval out = wk_jint(0);
    double f = NAN;
    int64_t base = int_or(r, a[1], 10, "the base of int");
    out.from = v.kind == WK_J_STR ? wk_jfrom_any(v.s) : v.from;
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (wk_jintegral(v)) { out.i = wk_jas_int(v); return out; }
    if (v.kind == WK_J_STR && read_int(r, v.s, base, &out.i)) return out;
    if (v.kind == WK_J_FLOAT && isinf(v.f)) wk_jfail(&r->m, "infinity is not an integer");
    if (v.kind == WK_J_FLOAT) f = v.f;
    else if (v.kind == WK_J_STR && !read_float(r, v.s, &f)) f = NAN;
    if (!isfinite(f)) return given(a[0]) ? a[0] : wk_jint(0);
    if (!(fabs(f) < 9223372036854775808.0)) wk_jfail(&r->m, "an integer above 2^63-1 (or below -2^63)");
    out.i = (int64_t)f;
    return out;
}

/* a: default */
FILTER(f_float) {
    (void)c;
    wk_jval out = wk_jfloat(0);
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    out.from = v.kind == WK_J_STR ? wk_jfrom_any(v.s) : v.from;
    if (wk_jnumeric(v)) { out.f = wk_jas_float(v); return out; }
    if (v.kind == WK_J_STR && read_float(r, v.s, &out.f)) return out;
    return given(a[0]) ? a[0] : wk_jfloat(0);
}

/* round(f, n): to the nearest decimal, ties of the exact binary value to even, as printf does it. */
static double round_to(double f, int64_t n) {
    char t[400];
    if (!isfinite(f) || n > 320) return f;
    if (n < -308) return copysign(0, f);
    if (n >= 0) {
        wk_format_number(t, sizeof t, "%.*f", (int)(n < 60 ? n : 60), f);
        return n < 60 ? wk_strtod(t, NULL) : f;
    }
    double p = pow(10, (double)-n);
    return nearbyint(f / p) * p;
}

/* a: precision, method */
FILTER(f_round) {
    (void)c;
    int64_t n = int_or(r, a[0], 0, "the precision of round");
    const wk_jstr *how = given(a[1]) ? wk_jneed_str(r, a[1], "the method of round") : NULL;
    bool up = how && how->n == 4 && !memcmp(how->p, "ceil", 4), down = how && how->n == 5 && !memcmp(how->p, "floor", 5);
    if (how && !up && !down && !(how->n == 6 && !memcmp(how->p, "common", 6)))
        wk_jfail(&r->m, "round's method is 'common', 'ceil' or 'floor'");
    if (v.kind == WK_J_UNDEF) wk_jfail_undef(r, v);
    if (!wk_jnumeric(v)) wk_jfail(&r->m, "round needs a number, not %s", wk_jtype(v));
    wk_jval out = wk_jfloat(wk_jas_float(v));
    if (up || down) {
        double p = pow(10, (double)n), x = out.f * p;
        if (!isfinite(x)) wk_jfail(&r->m, "round of a number that is too large");
        out.f = (up ? ceil(x) : floor(x)) / p;
    } else if (wk_jintegral(v)) {
        out = wk_jint(wk_jas_int(v));
        int64_t p = 1;
        for (; n < 0 && p <= INT64_MAX / 10; n++) p *= 10;
        int64_t low = out.i % p, away = (low < 0 ? -low : low), even = out.i / p % 2 != 0;
        if (n < 0) low = out.i, away = 0;
        out.i -= low;
        if (p > 1 && (away > p / 2 || (away == p / 2 && even)) && __builtin_add_overflow(out.i, low < 0 ? -p : p, &out.i))
            wk_jfail(&r->m, "an integer above 2^63-1");
    } else {
        out.f = round_to(v.f, n);
    }
    out.from = v.from;
    return out;
}

/* ---- text ---- */

FILTER(f_upper) { UNUSED; return method(r, v, "upper", NULL, 0); }
FILTER(f_lower) { UNUSED; return method(r, v, "lower", NULL, 0); }
FILTER(f_capitalize) { UNUSED; return method(r, v, "capitalize", NULL, 0); }
FILTER(f_trim) { (void)c; return method(r, v, "strip", a, given(a[0])); }
FILTER(f_center) { (void)c; return method(r, v, "center", given(a[0]) ? a : (wk_jval[]){ wk_jint(80) }, 1); }

/* a: old, new, count. Marked text loses its mark. */
FILTER(f_replace) {
    (void)c;
    wk_jval arg[3] = { wk_jmark(wk_jto_str(r, a[0]), 0), wk_jmark(wk_jto_str(r, a[1]), 0), set(a[2]) ? a[2] : wk_jint(-1) };
    return method(r, wk_jmark(wk_jto_str(r, v), 0), "replace", arg, 3);
}

static bool between_words(uint32_t cp) { return wk_jis_space(cp) || (cp && cp < 0x80 && strchr("-({[<", (int)cp)); }

/* Words begin in upper case, the rest is lower case. */
FILTER(f_title) {
    UNUSED;
    wk_jval text = wk_jto_str(r, v);
    const wk_jstr *s = text.s;
    wk_jbuf b = { 0 };
    for (size_t i = 0, end; i < s->n; i = end) {
        size_t first = i;
        bool gap = between_words(wk_jnext_cp(s->p, s->n, &first));
        end = first;
        for (size_t next = end; next < s->n && between_words(wk_jnext_cp(s->p, s->n, &next)) == gap;) end = next;
        wk_jstep(r, 1);
        if (gap) {
            wk_jput_part(r, &b, s, i, end);
        } else {
            wk_jput_str(r, &b, method(r, wk_jpart(r, s, i, first), "upper", NULL, 0).s);
            wk_jput_str(r, &b, method(r, wk_jpart(r, s, first, end), "lower", NULL, 0).s);
        }
    }
    return wk_jmark(wk_jput_end(r, &b), text.markup);
}

FILTER(f_format) {
    (void)a;
    if (c->n && c->kw) wk_jfail(&r->m, "format takes positions or keywords, not both");
    wk_jval text = wk_jto_str(r, v),
            of = c->kw && c->kw->n ? (wk_jval){ .kind = WK_J_DICT, .d = c->kw } : wk_jlist_of(r, WK_J_SEQ_TUPLE, c->arg, c->n);
    return wk_jmark(wk_jpercent(r, text.s, of, text.markup), text.markup);
}

/* a: width, first, blank */
FILTER(f_indent) {
    (void)c;
    wk_jbuf b = { 0 }, ws = { 0 };
    wk_jval lines = wk_jbinary(r, '+', v, wk_jlit(r, "\n"));  /* as jinja2 has it; fails if v is not text */
    bool first = wk_jtruth(r, a[1]), blank = wk_jtruth(r, a[2]);
    const wk_jstr *by;
    if (a[0].kind == WK_J_STR) {
        by = a[0].s;
    } else {
        int64_t n = int_or(r, a[0], 4, "the width of indent");
        wk_jput_char(r, &ws, ' ', n > 0 ? (size_t)n : 0, 0);
        by = wk_jput_end(r, &ws).s;
    }
    wk_jlist l = *method(r, lines, "splitlines", NULL, 0).l;
    for (size_t i = 0; i < l.n; i++) {
        if (i) wk_jput_lit(r, &b, "\n");
        if (i ? blank || l.v[i].s->n : first) wk_jput_str(r, &b, by);
        wk_jput_str(r, &b, l.v[i].s);
    }
    return wk_jmark(wk_jput_end(r, &b), v.markup);
}

/* a: length, killwords, end, leeway */
FILTER(f_truncate) {
    (void)c;
    const wk_jstr *s, *end = given(a[2]) ? wk_jneed_str(r, a[2], "the end of truncate") : wk_jlit(r, "...").s;
    int64_t n = int_or(r, a[0], 255, "the length of truncate"),
            leeway = set(a[3]) ? wk_jneed_int(r, a[3], "the leeway of truncate") : 5;
    if (n < (int64_t)end->n_char || leeway < 0) wk_jfail(&r->m, "truncate to less than its ending, or with a negative leeway");
    if (leeway > INT64_MAX - n || wk_jlength(r, v) <= n + leeway) return v;
    s = wk_jneed_str(r, v, "what truncate shortens");
    size_t to = wk_joffset(s, (size_t)(n - (int64_t)end->n_char)), blank = wk_jsearch_last(r, s, wk_jlit(r, " ").s, 0, to);
    wk_jbuf b = { 0 };
    wk_jput_part(r, &b, s, 0, wk_jtruth(r, a[1]) || blank == SIZE_MAX ? to : blank);
    wk_jput_str(r, &b, end);
    return wk_jmark(wk_jput_end(r, &b), v.markup);
}

FILTER(f_wordcount) {
    UNUSED;
    const wk_jstr *s = wk_jstr_of(r, v);
    int64_t n = 0;
    bool in = false;
    wk_jchars(r, s->n);
    for (size_t i = 0; i < s->n;) {
        bool word = wk_jis_word(wk_jnext_cp(s->p, s->n, &i));
        n += word && !in;
        in = word;
    }
    return wk_jint(n);
}

static void url_quote(wk_jrun *r, wk_jbuf *b, wk_jval v, bool query) {
    const wk_jstr *s = wk_jstr_of(r, v);
    for (size_t i = 0; i < s->n; i++) {
        unsigned char ch = (unsigned char)s->p[i];
        char t[4];
        bool plain = (ch >= '0' && ch <= '9') || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') || (ch && strchr("_.-~", ch)) ||
                     (ch == '/' && !query);
        if (plain) wk_jput(r, b, s->p + i, 1, wk_jfrom_at(s, i));
        else if (ch == ' ' && query) wk_jput(r, b, "+", 1, wk_jfrom_at(s, i));
        else wk_jput(r, b, t, (size_t)snprintf(t, sizeof t, "%%%02X", ch), wk_jfrom_at(s, i));
    }
    wk_jchars(r, s->n);
}

FILTER(f_urlencode) {
    UNUSED;
    wk_jbuf b = { 0 };
    if (v.kind == WK_J_STR || !wk_jiterable(v)) {
        url_quote(r, &b, v, false);
        return wk_jput_end(r, &b);
    }
    wk_jlist l = wk_jiter(r, v.kind == WK_J_DICT ? wk_jdict_view(r, v.d, WK_J_SEQ_ITEMS) : v);
    for (size_t i = 0; i < l.n; i++) {
        wk_jlist pair = wk_jiter(r, l.v[i]);
        if (pair.n != 2) wk_jfail(&r->m, "urlencode needs pairs of a key and a value");
        if (i) wk_jput_lit(r, &b, "&");
        url_quote(r, &b, pair.v[0], true);
        wk_jput_lit(r, &b, "=");
        url_quote(r, &b, pair.v[1], true);
    }
    return wk_jput_end(r, &b);
}

const wk_jbuiltin wk_jfilters[] = {
    { "abs", f_abs, "", 0 },
    { "attr", f_attr, "name", 1 },
    { "batch", f_batch, "~linecount fill_with", 1 },
    { "capitalize", f_capitalize, "", 0 },
    { "center", f_center, "width", 0 },
    { "count", f_length, "", 0 },
    { "d", f_default, "default_value boolean", 0 },
    { "default", f_default, "default_value boolean", 0 },
    { "dictsort", f_dictsort, "case_sensitive by reverse", 0 },
    { "e", f_escape, "", 0 },
    { "escape", f_escape, "", 0 },
    { "first", f_first, "", 0 },
    { "float", f_float, "default", 0 },
    { "forceescape", f_forceescape, "", 0 },
    { "format", f_format, "*", 0 },
    { "groupby", f_groupby, "attribute default case_sensitive", 1 },
    { "indent", f_indent, "width first blank", 0 },
    { "int", f_int, "default base", 0 },
    { "items", f_items, "~", 0 },
    { "join", f_join, "d attribute", 0 },
    { "last", f_last, "", 0 },
    { "length", f_length, "", 0 },
    { "list", f_list, "", 0 },
    { "lower", f_lower, "", 0 },
    { "map", f_map, "~*", 0 },
    { "max", f_max, "case_sensitive attribute", 0 },
    { "min", f_min, "case_sensitive attribute", 0 },
    { "reject", f_reject, "~*", 0 },
    { "rejectattr", f_rejectattr, "~*", 0 },
    { "replace", f_replace, "old new count", 2 },
    { "reverse", f_reverse, "", 0 },
    { "round", f_round, "precision method", 0 },
    { "safe", f_safe, "", 0 },
    { "select", f_select, "~*", 0 },
    { "selectattr", f_selectattr, "~*", 0 },
    { "slice", f_slice, "~slices fill_with", 1 },
    { "sort", f_sort, "reverse case_sensitive attribute", 0 },
    { "string", f_string, "", 0 },
    { "sum", f_sum, "attribute start", 0 },
    { "title", f_title, "", 0 },
    { "tojson", f_tojson, "ensure_ascii indent separators sort_keys", 0 },
    { "trim", f_trim, "chars", 0 },
    { "truncate", f_truncate, "length killwords end leeway", 0 },
    { "unique", f_unique, "~case_sensitive attribute", 0 },
    { "upper", f_upper, "", 0 },
    { "urlencode", f_urlencode, "", 0 },
    { "wordcount", f_wordcount, "", 0 },
    { NULL, NULL, NULL, 0 },
};

const wk_jbuiltin *wk_jfind(const wk_jbuiltin *table, const char *name, size_t n) {
    for (; table->name; table++) if (strlen(table->name) == n && !memcmp(table->name, name, n)) return table;
    return NULL;
}
