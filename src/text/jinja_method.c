/* jinja_method.c: the methods of text, lists and dicts, and the global functions, as tables.
 * Behaviour: Python's str, list, tuple, dict, range; jinja2's "List of Global Functions"; transformers' raise_exception and
 * strftime_now. A method that would change its object is refused, as jinja2's immutable sandbox does. Upper and lower case:
 * Unicode's simple mappings by utf8proc, with the common ones of more than one character. */
#include "text/jinja.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#define METHOD(name) static wk_jval name(wk_jrun *r, wk_jval v, wk_jval *a, const wk_jcall *c)
#define UNUSED (void)r, (void)v, (void)a, (void)c

static bool given(wk_jval v) { return v.kind != WK_J_MISSING; }
static bool set(wk_jval v) { return v.kind != WK_J_MISSING && v.kind != WK_J_NONE; }

/* ---- classes of characters ---- */

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }
static bool is_upper(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LU; }
static bool is_lower(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LL || c == 0xAA || c == 0xBA; }
static bool is_title(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
static bool is_cased(uint32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }
static bool is_alpha(uint32_t c) { return category(c) >= UTF8PROC_CATEGORY_LU && category(c) <= UTF8PROC_CATEGORY_LO; }
static bool is_decimal(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
static bool is_digit(uint32_t c) {
    return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
           (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468);
}
static bool is_numeric(uint32_t c) { return category(c) >= UTF8PROC_CATEGORY_ND && category(c) <= UTF8PROC_CATEGORY_NO; }
static bool is_alnum(uint32_t c) { return is_alpha(c) || is_numeric(c); }
static bool is_ascii(uint32_t c) { return c < 0x80; }
bool wk_jis_word(uint32_t c) { return is_alnum(c) || c == '_'; }

/* Whether all characters are of the class; for nothing, `empty`. */
static wk_jval all_are(wk_jrun *r, wk_jval v, bool (*is)(uint32_t), bool empty) {
    wk_jchars(r, v.s->n);
    for (size_t i = 0; i < v.s->n;) if (!is(wk_jnext_cp(v.s->p, v.s->n, &i))) return wk_jbool(false);
    return wk_jbool(v.s->n || empty);
}
METHOD(s_isalpha) { UNUSED; return all_are(r, v, is_alpha, false); }
METHOD(s_isalnum) { UNUSED; return all_are(r, v, is_alnum, false); }
METHOD(s_isdecimal) { UNUSED; return all_are(r, v, is_decimal, false); }
METHOD(s_isdigit) { UNUSED; return all_are(r, v, is_digit, false); }
METHOD(s_isnumeric) { UNUSED; return all_are(r, v, is_numeric, false); }
METHOD(s_isspace) { UNUSED; return all_are(r, v, wk_jis_space, false); }
METHOD(s_isascii) { UNUSED; return all_are(r, v, is_ascii, true); }
METHOD(s_isprintable) { UNUSED; return all_are(r, v, wk_jis_printable, true); }
METHOD(s_isidentifier) { UNUSED; return wk_jbool(all_are(r, v, wk_jis_word, false).b && !(v.s->p[0] >= '0' && v.s->p[0] <= '9')); }

/* Some cased character, and none of the other case. */
static wk_jval one_case(wk_jrun *r, wk_jval v, bool (*is)(uint32_t)) {
    bool some = false;
    wk_jchars(r, v.s->n);
    for (size_t i = 0; i < v.s->n;) {
        uint32_t cp = wk_jnext_cp(v.s->p, v.s->n, &i);
        if (is(cp)) some = true;
        else if (is_cased(cp)) return wk_jbool(false);
    }
    return wk_jbool(some);
}
METHOD(s_islower) { UNUSED; return one_case(r, v, is_lower); }
METHOD(s_isupper) { UNUSED; return one_case(r, v, is_upper); }

METHOD(s_istitle) {
    UNUSED;
    bool some = false, before = false;
    wk_jchars(r, v.s->n);
    for (size_t i = 0; i < v.s->n;) {
        uint32_t cp = wk_jnext_cp(v.s->p, v.s->n, &i);
        if ((is_upper(cp) || is_title(cp)) ? before : is_lower(cp) && !before) return wk_jbool(false);
        before = is_cased(cp);
        some |= before;
    }
    return wk_jbool(some);
}

/* ---- case ---- */

typedef enum to_case { UPPER, LOWER, TITLE, FOLD } to_case;

/* Greek sigma at the end of a word. */
static bool final_sigma(const wk_jstr *s, size_t at, size_t end) {
    bool before = false, after = false;
    for (size_t i = at; i > 0 && !before;) {
        do i--; while (((unsigned char)s->p[i] & 0xC0) == 0x80);
        size_t next = i;
        uint32_t cp = wk_jnext_cp(s->p, s->n, &next);
        if (is_cased(cp)) before = true;
        else if (cp != '\'' && cp != 0xAD && category(cp) != UTF8PROC_CATEGORY_MN) break;
    }
    for (size_t i = end; i < s->n && !after;) {
        uint32_t cp = wk_jnext_cp(s->p, s->n, &i);
        if (is_cased(cp)) after = true;
        else if (cp != '\'' && cp != 0xAD && category(cp) != UTF8PROC_CATEGORY_MN) break;
    }
    return before && !after;
}

/* Appends the character of s at [at, end) in another case. */
static void put_case(wk_jrun *r, wk_jbuf *b, const wk_jstr *s, size_t at, size_t end, to_case to) {
    static const struct { uint16_t cp; char upper[8], title[8];
    } several[] = {
        /* SpecialCasing.txt */
        { 0xDF, "SS", "Ss" },     { 0x149, "ʼN", "ʼN" },  { 0x1F0, "J̌", "J̌" },    { 0x587, "ԵՒ", "Եւ" },
        { 0xFB00, "FF", "Ff" },   { 0xFB01, "FI", "Fi" }, { 0xFB02, "FL", "Fl" }, { 0xFB03, "FFI", "Ffi" },
        { 0xFB04, "FFL", "Ffl" }, { 0xFB05, "ST", "St" }, { 0xFB06, "ST", "St" },
    };
    size_t next = at;
    uint32_t cp = wk_jnext_cp(s->p, s->n, &next);
    uint8_t from = wk_jfrom_at(s, at);
    utf8proc_int32_t k = (utf8proc_int32_t)cp, folded[8];
    for (size_t i = 0; (to == UPPER || to == TITLE) && i < sizeof several / sizeof *several; i++)
        if (several[i].cp == cp) {
            const char *text = to == UPPER ? several[i].upper : several[i].title;
            wk_jput(r, b, text, strlen(text), from);
            return;
        }
    if (to == LOWER && cp == 0x130) {
        wk_jput(r, b, "i̇", 3, from);
    } else if (to == LOWER && cp == 0x3A3 && final_sigma(s, at, end)) {
        wk_jput(r, b, "ς", 2, from);
    } else if (to == FOLD) {
        int bound = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char(k, folded, 8, UTF8PROC_CASEFOLD, &bound);
        for (utf8proc_ssize_t i = 0; i < n && i < 8; i++) wk_jput_cp(r, b, (uint32_t)folded[i], from);
    } else {
        wk_jput_cp(r, b,
                   (uint32_t)(to == UPPER   ? utf8proc_toupper(k)
                              : to == LOWER ? utf8proc_tolower(k)
                                            : utf8proc_totitle(k)),
                   from);
    }
}

static wk_jval recase(wk_jrun *r, const wk_jstr *s, to_case first, to_case others) {
    wk_jbuf b = { 0 };
    wk_jchars(r, s->n);
    for (size_t i = 0; i < s->n;) {
        size_t at = i;
        while (at && i < s->n && !(s->p[i] & 0x80)) i++;  /* ASCII goes by the stretch */
        if (i > at) {
            char low = others == UPPER ? 'a' : 'A';
            wk_jput_part(r, &b, s, at, i);
            for (char *p = b.p + b.n - (i - at); p < b.p + b.n; p++) if (*p >= low && *p < low + 26) *p ^= 0x20;
        } else {
            wk_jnext_cp(s->p, s->n, &i);
            put_case(r, &b, s, at, i, at ? others : first);
        }
    }
    return wk_jput_end(r, &b);
}
METHOD(s_upper) { UNUSED; return recase(r, v.s, UPPER, UPPER); }
METHOD(s_lower) { UNUSED; return recase(r, v.s, LOWER, LOWER); }
METHOD(s_capitalize) { UNUSED; return recase(r, v.s, TITLE, LOWER); }
METHOD(s_casefold) { UNUSED; return recase(r, v.s, FOLD, FOLD); }

METHOD(s_title) {
    UNUSED;
    wk_jbuf b = { 0 };
    bool inside = false;
    wk_jchars(r, v.s->n);
    for (size_t i = 0; i < v.s->n;) {
        size_t at = i;
        bool cased = is_cased(wk_jnext_cp(v.s->p, v.s->n, &i));
        put_case(r, &b, v.s, at, i, inside ? LOWER : TITLE);
        inside = cased;
    }
    return wk_jput_end(r, &b);
}

METHOD(s_swapcase) {
    UNUSED;
    wk_jbuf b = { 0 };
    wk_jchars(r, v.s->n);
    for (size_t i = 0; i < v.s->n;) {
        size_t at = i;
        uint32_t cp = wk_jnext_cp(v.s->p, v.s->n, &i);
        if (is_cased(cp)) put_case(r, &b, v.s, at, i, is_upper(cp) ? LOWER : UPPER);
        else wk_jput_part(r, &b, v.s, at, i);
    }
    return wk_jput_end(r, &b);
}

/* ---- searching ---- */

/* The bytes between characters start and end, which count as a slice's; false: start is behind the text. */
static bool range_of(wk_jrun *r, const wk_jstr *s, wk_jval start, wk_jval end, size_t *from, size_t *to) {
    int64_t n = (int64_t)s->n_char, i = set(start) ? wk_jneed_int(r, start, "the start") : 0,
            j = set(end) ? wk_jneed_int(r, end, "the end") : n;
    if (i < 0) i = i < -n ? 0 : i + n;
    if (j < 0) j = j < -n ? 0 : j + n;
    if (j > n) j = n;
    if (i > n) return false;
    *from = wk_joffset(s, (size_t)i);
    *to = wk_joffset(s, (size_t)j);
    return i <= j;
}

static int64_t char_index(const wk_jstr *s, size_t at) {
    int64_t n = 0;
    if (s->n == s->n_char) return (int64_t)at;
    for (size_t i = 0; i < at; i++) n += ((unsigned char)s->p[i] & 0xC0) != 0x80;
    return n;
}

/* a: sub, start, end */
static wk_jval find(wk_jrun *r, wk_jval v, wk_jval *a, bool last, bool must) {
    const wk_jstr *sub = wk_jneed_str(r, a[0], "what is looked for");
    size_t from, to, at = SIZE_MAX;
    if (range_of(r, v.s, a[1], a[2], &from, &to))
        at = last ? wk_jsearch_last(r, v.s, sub, from, to) : wk_jsearch(r, v.s, sub, from, to);
    if (at == SIZE_MAX && must) wk_jfail(&r->m, "the text that is looked for is not there");
    return wk_jint(at == SIZE_MAX ? -1 : char_index(v.s, at));
}
METHOD(s_find) { (void)c; return find(r, v, a, false, false); }
METHOD(s_rfind) { (void)c; return find(r, v, a, true, false); }
METHOD(s_index) { (void)c; return find(r, v, a, false, true); }
METHOD(s_rindex) { (void)c; return find(r, v, a, true, true); }

METHOD(s_count) {
    (void)c;
    const wk_jstr *sub = wk_jneed_str(r, a[0], "what is counted");
    size_t from, to;
    int64_t n = 0;
    if (!range_of(r, v.s, a[1], a[2], &from, &to)) return wk_jint(0);
    if (!sub->n) return wk_jint(char_index(v.s, to) - char_index(v.s, from) + 1);
    for (size_t at; (at = wk_jsearch(r, v.s, sub, from, to)) != SIZE_MAX; from = at + sub->n) n++;
    wk_jstep(r, (uint64_t)n / 4);
    return wk_jint(n);
}

/* a: text or a tuple of texts, start, end */
static wk_jval at_edge(wk_jrun *r, wk_jval v, wk_jval *a, bool end) {
    bool tuple = a[0].kind == WK_J_LIST && a[0].l->type == WK_J_SEQ_TUPLE;
    size_t from, to;
    bool inside = range_of(r, v.s, a[1], a[2], &from, &to);
    for (size_t i = 0; i < (tuple ? a[0].l->n : 1); i++) {
        const wk_jstr *s = wk_jneed_str(r, tuple ? a[0].l->v[i] : a[0], "what a text starts or ends with");
        if (inside && s->n <= to - from && !memcmp(v.s->p + (end ? to - s->n : from), s->p, s->n)) return wk_jbool(true);
    }
    return wk_jbool(false);
}
METHOD(s_startswith) { (void)c; return at_edge(r, v, a, false); }
METHOD(s_endswith) { (void)c; return at_edge(r, v, a, true); }

/* ---- cutting ---- */

/* Characters to strip; text NULL: white space. */
typedef struct charset { const wk_jstr *text; uint64_t ascii[2]; } charset;
static const charset space_chars = { 0 };

static bool has(wk_jrun *r, const charset *set, uint32_t cp) {
    if (!set->text) return wk_jis_space(cp);
    if (cp < 128) return set->ascii[cp / 64] >> cp % 64 & 1;
    wk_jchars(r, set->text->n);
    for (size_t i = 0; i < set->text->n;) if (wk_jnext_cp(set->text->p, set->text->n, &i) == cp) return true;
    return false;
}

/* Start of the character that ends at `at`. */
static size_t char_before(const wk_jstr *s, size_t at) {
    do at--; while (((unsigned char)s->p[at] & 0xC0) == 0x80);
    return at;
}

/* First byte of [from, to) whose character is (`yes`) or is not (`!yes`) in the set; `to` if there is none. */
static size_t ahead(wk_jrun *r, const wk_jstr *s, size_t from, size_t to, const charset *set, bool yes) {
    for (size_t next = from; from < to; from = next)
        if (has(r, set, wk_jnext_cp(s->p, s->n, &next)) == yes) break;
    return from;
}

/* The same from the end: where the last such character of [from, to) ends; `from` if there is none. */
static size_t back(wk_jrun *r, const wk_jstr *s, size_t from, size_t to, const charset *set, bool yes) {
    for (size_t at = to; at > from; to = at) {
        size_t next = at = char_before(s, at);
        if (has(r, set, wk_jnext_cp(s->p, s->n, &next)) == yes) break;
    }
    return to;
}

/* a: chars */
static wk_jval strip(wk_jrun *r, wk_jval v, wk_jval chars, bool left, bool right) {
    const wk_jstr *s = v.s;
    charset of = { .text = set(chars) ? wk_jneed_str(r, chars, "what is stripped") : NULL };
    for (size_t i = 0; of.text && i < of.text->n; i++)
        if (!(of.text->p[i] & 0x80)) of.ascii[of.text->p[i] / 64] |= (uint64_t)1 << of.text->p[i] % 64;
    size_t from = left ? ahead(r, s, 0, s->n, &of, false) : 0, to = right ? back(r, s, from, s->n, &of, false) : s->n;
    wk_jchars(r, from + s->n - to);
    return wk_jpart(r, s, from, to);
}
METHOD(s_strip) { (void)c; return strip(r, v, a[0], true, true); }
METHOD(s_lstrip) { (void)c; return strip(r, v, a[0], true, false); }
METHOD(s_rstrip) { (void)c; return strip(r, v, a[0], false, true); }

METHOD(s_removeprefix) {
    (void)c;
    const wk_jstr *s = wk_jneed_str(r, a[0], "the prefix");
    return wk_jpart(r, v.s, at_edge(r, v, (wk_jval[3]){ a[0] }, false).b ? s->n : 0, v.s->n);
}

METHOD(s_removesuffix) {
    (void)c;
    const wk_jstr *s = wk_jneed_str(r, a[0], "the suffix");
    return wk_jpart(r, v.s, 0, v.s->n - (at_edge(r, v, (wk_jval[3]){ a[0] }, true).b ? s->n : 0));
}

static void add_part(wk_jrun *r, wk_jlist *l, const wk_jstr *s, size_t from, size_t to) {
    wk_jlist_add(r, l, wk_jpart(r, s, from, to));
    wk_jstep(r, 1);
}

static void flip(wk_jlist *l) {
    for (size_t i = 0; i < l->n / 2; i++) {
        wk_jval x = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = x;
    }
}

/* Words between white space, at most `max` cuts; what is left then keeps its white space on the far side. */
static wk_jval words(wk_jrun *r, const wk_jstr *s, int64_t max, bool from_end) {
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_LIST, 0);
    size_t from = 0, to = s->n, end;
    wk_jchars(r, s->n);
    while (true) {
        if (from_end) to = back(r, s, from, to, &space_chars, false);
        else from = ahead(r, s, from, to, &space_chars, false);
        if (from == to) break;
        if (max-- == 0) {
            add_part(r, out.l, s, from, to);
            break;
        }
        end = from_end ? back(r, s, from, to, &space_chars, true) : ahead(r, s, from, to, &space_chars, true);
        if (from_end) add_part(r, out.l, s, end, to), to = end;
        else add_part(r, out.l, s, from, end), from = end;
    }
    if (from_end) flip(out.l);
    return out;
}

/* a: sep, maxsplit */
static wk_jval split(wk_jrun *r, wk_jval v, wk_jval *a, bool from_end) {
    const wk_jstr *s = v.s, *sep = set(a[0]) ? wk_jneed_str(r, a[0], "the separator") : NULL;
    int64_t max = given(a[1]) ? wk_jneed_int(r, a[1], "maxsplit") : -1;
    if (!sep) return words(r, s, max, from_end);
    if (!sep->n) wk_jfail(&r->m, "the separator is empty");
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_LIST, 0);
    size_t from = 0, to = s->n, at;
    for (; max != 0; max--) {
        at = from_end ? wk_jsearch_last(r, s, sep, 0, to) : wk_jsearch(r, s, sep, from, to);
        if (at == SIZE_MAX) break;
        if (from_end) add_part(r, out.l, s, at + sep->n, to), to = at;
        else add_part(r, out.l, s, from, at), from = at + sep->n;
    }
    add_part(r, out.l, s, from, to);
    if (from_end) flip(out.l);
    return out;
}
METHOD(s_split) { (void)c; return split(r, v, a, false); }
METHOD(s_rsplit) { (void)c; return split(r, v, a, true); }

/* a: sep */
static wk_jval partition(wk_jrun *r, wk_jval v, wk_jval *a, bool last) {
    const wk_jstr *s = v.s, *sep = wk_jneed_str(r, a[0], "the separator");
    if (!sep->n) wk_jfail(&r->m, "the separator is empty");
    size_t at = last ? wk_jsearch_last(r, s, sep, 0, s->n) : wk_jsearch(r, s, sep, 0, s->n);
    bool found = at != SIZE_MAX;
    if (!found) at = last ? 0 : s->n;
    size_t after = found ? at + sep->n : at;
    return wk_jlist_of(r, WK_J_SEQ_TUPLE,
                       (wk_jval[]){ wk_jpart(r, s, 0, at), wk_jpart(r, s, at, after), wk_jpart(r, s, after, s->n) }, 3);
}
METHOD(s_partition) { (void)c; return partition(r, v, a, false); }
METHOD(s_rpartition) { (void)c; return partition(r, v, a, true); }

/* a: keepends */
METHOD(s_splitlines) {
    (void)c;
    const wk_jstr *s = v.s;
    bool keep = wk_jtruth(r, a[0]);
    wk_jval out = wk_jlist_new(r, WK_J_SEQ_LIST, 0);
    size_t from = 0;
    wk_jchars(r, s->n);
    for (size_t i = 0; i < s->n;) {
        size_t at = i;
        uint32_t cp = wk_jnext_cp(s->p, s->n, &i);
        if (!((cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029)) continue;
        if (cp == '\r' && i < s->n && s->p[i] == '\n') i++;
        add_part(r, out.l, s, from, keep ? i : at);
        from = i;
    }
    if (from < s->n) add_part(r, out.l, s, from, s->n);
    return out;
}

/* ---- making ---- */

/* a: iterable */
METHOD(s_join) {
    (void)c;
    wk_jlist l = wk_jiter(r, a[0]);
    wk_jbuf b = { 0 };
    for (size_t i = 0; i < l.n; i++) {
        wk_jval x = v.markup ? wk_jescape(r, l.v[i]) : l.v[i];
        if (i) wk_jput_str(r, &b, v.s);
        wk_jput_str(r, &b, wk_jneed_str(r, x, "what is joined"));
        wk_jstep(r, 1);
    }
    return wk_jput_end(r, &b);
}

/* a: old, new, count */
METHOD(s_replace) {
    (void)c;
    const wk_jstr *s = v.s, *old = wk_jneed_str(r, a[0], "what is replaced"),
                  *new = wk_jneed_str(r, v.markup ? wk_jescape(r, a[1]) : a[1], "the replacement");
    int64_t left = given(a[2]) ? wk_jneed_int(r, a[2], "the count") : -1;
    wk_jbuf b = { 0 };
    size_t from = 0;
    for (; left != 0; left--) {
        size_t at = wk_jsearch(r, s, old, from, s->n), next = at;
        if (at == SIZE_MAX) break;
        if (!old->n && at < s->n) wk_jnext_cp(s->p, s->n, &next);  /* nothing is found before each character and at the end */
        wk_jput_part(r, &b, s, from, at);
        wk_jput_str(r, &b, new);
        wk_jput_part(r, &b, s, at, next);
        wk_jstep(r, 1);
        from = next + old->n;
        if (!old->n && at == s->n) break;
    }
    wk_jput_part(r, &b, s, from, s->n);
    return wk_jput_end(r, &b);
}

/* Blanks, or the character in fill, left and right of the text. */
static wk_jval pad(wk_jrun *r, wk_jval v, wk_jval fill, int64_t left, int64_t right) {
    const wk_jstr *f = given(fill) ? wk_jneed_str(r, fill, "what fills up") : wk_jlit(r, " ").s;
    wk_jbuf b = { 0 };
    if (f->n_char != 1) wk_jfail(&r->m, "what fills up must be one character");
    for (int64_t i = 0; i < left; i++) wk_jput_str(r, &b, f), wk_jstep(r, i % 16 == 0);
    wk_jput_str(r, &b, v.s);
    for (int64_t i = 0; i < right; i++) wk_jput_str(r, &b, f), wk_jstep(r, i % 16 == 0);
    return wk_jput_end(r, &b);
}
static int64_t missing(wk_jrun *r, wk_jval v, wk_jval width) {
    int64_t n = wk_jneed_int(r, width, "the width"), have = (int64_t)v.s->n_char;
    return n > have ? n - have : 0;
}
/* a: width, fillchar */
METHOD(s_ljust) { (void)c; return pad(r, v, a[1], 0, missing(r, v, a[0])); }
METHOD(s_rjust) { (void)c; return pad(r, v, a[1], missing(r, v, a[0]), 0); }
METHOD(s_center) {
    (void)c;
    int64_t n = missing(r, v, a[0]), left = n / 2 + (n & wk_jas_int(a[0]) & 1);
    return pad(r, v, a[1], left, n - left);
}

METHOD(s_zfill) {
    (void)c;
    size_t sign = v.s->n && (v.s->p[0] == '+' || v.s->p[0] == '-');
    wk_jbuf b = { 0 };
    wk_jput_part(r, &b, v.s, 0, sign);
    wk_jput_char(r, &b, '0', (size_t)missing(r, v, a[0]), 0);
    wk_jput_part(r, &b, v.s, sign, v.s->n);
    return wk_jput_end(r, &b);
}

/* a: tabsize */
METHOD(s_expandtabs) {
    (void)c;
    int64_t tab = given(a[0]) ? wk_jneed_int(r, a[0], "the tab size") : 8, column = 0;
    wk_jbuf b = { 0 };
    wk_jchars(r, v.s->n);
    for (size_t i = 0; i < v.s->n;) {
        size_t at = i;
        uint32_t cp = wk_jnext_cp(v.s->p, v.s->n, &i);
        int64_t n = cp == '\t' && tab > 0 ? tab - column % tab : 1;
        if (cp != '\t') wk_jput_part(r, &b, v.s, at, i);
        else if (tab > 0) wk_jput_char(r, &b, ' ', (size_t)n, wk_jfrom_at(v.s, at));
        column = cp == '\n' || cp == '\r' ? 0 : cp == '\t' && tab <= 0 ? column : column + n;
    }
    return wk_jput_end(r, &b);
}

METHOD(s_format) { (void)a; return wk_jformat(r, v.s, c, v.markup); }
METHOD(s_format_map) {
    (void)c;
    if (a[0].kind != WK_J_DICT) wk_jfail(&r->m, "format_map needs a dict, not %s", wk_jtype(a[0]));
    return wk_jformat(r, v.s, &(wk_jcall){ .kw = a[0].d }, v.markup);
}

METHOD(s_unsupported) { UNUSED; wk_jfail(&r->m, "encode() and translate() are not supported"); }

static const wk_jbuiltin str_methods[] = {
    { "capitalize", s_capitalize, "", 0 },
    { "casefold", s_casefold, "", 0 },
    { "center", s_center, "-width fillchar", 1 },
    { "count", s_count, "-sub start end", 1 },
    { "endswith", s_endswith, "-suffix start end", 1 },
    { "encode", s_unsupported, "*", 0 },
    { "translate", s_unsupported, "*", 0 },
    { "expandtabs", s_expandtabs, "tabsize", 0 },
    { "find", s_find, "-sub start end", 1 },
    { "format", s_format, "*", 0 },
    { "format_map", s_format_map, "-mapping", 1 },
    { "index", s_index, "-sub start end", 1 },
    { "isalnum", s_isalnum, "", 0 },
    { "isalpha", s_isalpha, "", 0 },
    { "isascii", s_isascii, "", 0 },
    { "isdecimal", s_isdecimal, "", 0 },
    { "isdigit", s_isdigit, "", 0 },
    { "isidentifier", s_isidentifier, "", 0 },
    { "islower", s_islower, "", 0 },
    { "isnumeric", s_isnumeric, "", 0 },
    { "isprintable", s_isprintable, "", 0 },
    { "isspace", s_isspace, "", 0 },
    { "istitle", s_istitle, "", 0 },
    { "isupper", s_isupper, "", 0 },
    { "join", s_join, "-iterable", 1 },
    { "ljust", s_ljust, "-width fillchar", 1 },
    { "lower", s_lower, "", 0 },
    { "lstrip", s_lstrip, "-chars", 0 },
    { "partition", s_partition, "-sep", 1 },
    { "removeprefix", s_removeprefix, "-prefix", 1 },
    { "removesuffix", s_removesuffix, "-suffix", 1 },
    { "replace", s_replace, "-old new count", 2 },
    { "rfind", s_rfind, "-sub start end", 1 },
    { "rindex", s_rindex, "-sub start end", 1 },
    { "rjust", s_rjust, "-width fillchar", 1 },
    { "rpartition", s_rpartition, "-sep", 1 },
    { "rsplit", s_rsplit, "sep maxsplit", 0 },
    { "rstrip", s_rstrip, "-chars", 0 },
    { "split", s_split, "sep maxsplit", 0 },
    { "splitlines", s_splitlines, "keepends", 0 },
    { "startswith", s_startswith, "-prefix start end", 1 },
    { "strip", s_strip, "-chars", 0 },
    { "swapcase", s_swapcase, "", 0 },
    { "title", s_title, "", 0 },
    { "upper", s_upper, "", 0 },
    { "zfill", s_zfill, "-width", 1 },
    { NULL, NULL, NULL, 0 },
};

/* ---- lists and dicts ---- */

METHOD(l_count) {
    (void)c;
    int64_t n = 0;
    for (size_t i = 0; i < v.l->n; i++) n += wk_jequal(r, v.l->v[i], a[0]);
    wk_jstep(r, v.l->n);
    return wk_jint(n);
}

/* a: value, start, stop */
METHOD(l_index) {
    (void)c;
    int64_t n = (int64_t)v.l->n, i = given(a[1]) ? wk_jneed_int(r, a[1], "the start") : 0,
            end = given(a[2]) ? wk_jneed_int(r, a[2], "the end") : n;
    if (i < 0) i = i < -n ? 0 : i + n;
    if (end < 0) end = end < -n ? 0 : end + n;
    for (; i < end && i < n; i++) {
        wk_jstep(r, 1);
        if (wk_jequal(r, v.l->v[i], a[0])) return wk_jint(i);
    }
    wk_jfail(&r->m, "the value that is looked for is not in the list");
}

METHOD(l_copy) {
    UNUSED;
    wk_jval l = wk_jlist_of(r, WK_J_SEQ_LIST, v.l->v, v.l->n);
    l.from = v.from;
    return l;
}

static const wk_jbuiltin list_methods[] = {
    { "copy", l_copy, "", 0 },
    { "count", l_count, "-value", 1 },
    { "index", l_index, "-value start stop", 1 },
    { NULL, NULL, NULL, 0 },
};

METHOD(d_get) {
    (void)c;
    wk_jneed_key(r, a[0]);
    const wk_jval *found = wk_jdict_find(r, v.d, a[0]);
    return found ? *found : given(a[1]) ? a[1] : wk_jnone();
}
METHOD(d_items) { UNUSED; return wk_jdict_view(r, v.d, WK_J_SEQ_ITEMS); }
METHOD(d_keys) { UNUSED; return wk_jdict_view(r, v.d, WK_J_SEQ_KEYS); }
METHOD(d_values) { UNUSED; return wk_jdict_view(r, v.d, WK_J_SEQ_VALUES); }
METHOD(d_copy) {
    UNUSED;
    wk_jval d = wk_jdict_new(r);
    *d.d = *v.d;
    d.d->cap = d.d->n;
    d.from = v.from;
    return d;
}

static const wk_jbuiltin dict_methods[] = {
    { "copy", d_copy, "", 0 }, { "get", d_get, "-key default", 1 }, { "items", d_items, "", 0 }, { "keys", d_keys, "", 0 },
    { "values", d_values, "", 0 }, { NULL, NULL, NULL, 0 },
};

METHOD(c_next) {
    UNUSED;
    wk_jcycler *k = v.cycler;
    wk_jval now = k->items->v[k->pos];
    k->pos = (k->pos + 1) % k->items->n;
    return now;
}
METHOD(c_reset) { UNUSED; v.cycler->pos = 0; return wk_jnone(); }

static const wk_jbuiltin cycler_methods[] = { { "next", c_next, "", 0 }, { "reset", c_reset, "", 0 }, { NULL, NULL, NULL, 0 } };

static bool one_of(wk_str name, const char *const *list) {
    for (; *list; list++) if (wk_str_eq(name, *list)) return true;
    return false;
}

wk_jval wk_jmethod_of(wk_jrun *r, wk_jval v, wk_str name) {
    static const char *const list_changes[] = { "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove", NULL };
    static const char *const dict_changes[] = { "clear", "pop", "popitem", "setdefault", "update", NULL };
    const wk_jbuiltin *table = v.kind == WK_J_STR                                   ? str_methods
                               : v.kind == WK_J_DICT                                ? dict_methods
                               : v.kind == WK_J_CYCLER                              ? cycler_methods
                               : v.kind == WK_J_LIST && v.l->type <= WK_J_SEQ_RANGE ? list_methods
                                                                                    : NULL;
    bool list = v.kind == WK_J_LIST && v.l->type == WK_J_SEQ_LIST;
    if (!table) return (wk_jval){ 0 };
    if ((list && one_of(name, list_changes)) || (v.kind == WK_J_DICT && one_of(name, dict_changes))) return wk_jrefused(r, v, name);
    const wk_jbuiltin *fn = wk_jfind(table, name.ptr, name.len);
    if (!fn || (fn->fn == l_copy && !list)) return (wk_jval){ 0 };
    wk_jmethod *m = wk_jalloc(&r->m, sizeof *m);
    *m = (wk_jmethod){ v, fn };
    return (wk_jval){ .kind = WK_J_METHOD, .m = m };
}

/* ---- global functions ---- */

/* a: start, stop, step; or stop alone. At most 100000 items, as in jinja2's sandbox. */
METHOD(g_range) {
    UNUSED;
    int64_t start = 0, stop = wk_jneed_int(r, a[0], "range's argument"), step = 1;
    if (given(a[1])) start = stop, stop = wk_jneed_int(r, a[1], "range's argument");
    if (given(a[2])) step = wk_jneed_int(r, a[2], "range's step");
    if (!step) wk_jfail(&r->m, "range's step must not be 0");
    uint64_t span = step > 0       ? (stop > start ? (uint64_t)stop - (uint64_t)start : 0)
                    : start > stop ? (uint64_t)start - (uint64_t)stop
                                   : 0;
    uint64_t by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step, n = span ? (span - 1) / by + 1 : 0;
    if (n > 100000) wk_jfail(&r->m, "range() of %llu items; 100000 are allowed", (unsigned long long)n);
    wk_jval l = wk_jlist_new(r, WK_J_SEQ_RANGE, (size_t)n);
    for (uint64_t i = 0; i < n; i++) l.l->v[l.l->n++] = wk_jint((int64_t)((uint64_t)start + i * (uint64_t)step));
    l.l->start = start, l.l->stop = stop, l.l->step = step;
    return l;
}

/* dict(), dict(a=1), dict(other, a=1), dict([(k, v), ...]) */
METHOD(g_dict) {
    (void)v, (void)a;
    wk_jval d = wk_jdict_new(r);
    if (c->n > 1) wk_jfail(&r->m, "dict() and namespace() take one positional argument");
    if (c->n && c->arg[0].kind == WK_J_DICT) {
        for (size_t i = 0; i < c->arg[0].d->n; i++) wk_jdict_set(r, d.d, c->arg[0].d->p[i].k, c->arg[0].d->p[i].v);
        d.from = c->arg[0].from;
    } else if (c->n) {
        wk_jlist l = wk_jiter(r, c->arg[0]);
        for (size_t i = 0; i < l.n; i++) {
            wk_jlist pair = wk_jiter(r, l.v[i]);
            if (pair.n != 2) wk_jfail(&r->m, "dict() needs pairs of a key and a value");
            wk_jdict_set(r, d.d, pair.v[0], pair.v[1]);
        }
    }
    for (size_t i = 0; c->kw && i < c->kw->n; i++) wk_jdict_set(r, d.d, c->kw->p[i].k, c->kw->p[i].v);
    return d;
}

METHOD(g_namespace) {
    wk_jval d = g_dict(r, v, a, c);
    d.kind = WK_J_NAMESPACE;
    return d;
}

METHOD(g_cycler) {
    (void)v, (void)a;
    if (!c->n || c->kw) wk_jfail(&r->m, "cycler() needs values to go through");
    wk_jcycler *k = wk_jalloc(&r->m, sizeof *k);
    k->items = wk_jlist_of(r, WK_J_SEQ_TUPLE, c->arg, c->n).l;
    return (wk_jval){ .kind = WK_J_CYCLER, .cycler = k };
}

METHOD(g_joiner) {
    (void)v, (void)c;
    wk_jcycler *k = wk_jalloc(&r->m, sizeof *k);
    k->items = wk_jlist_of(r, WK_J_SEQ_TUPLE, (wk_jval[]){ given(a[0]) ? a[0] : wk_jlit(r, ", ") }, 1).l;
    return (wk_jval){ .kind = WK_J_JOINER, .cycler = k };
}

METHOD(g_raise) {
    (void)v, (void)c;
    const wk_jstr *s = wk_jstr_of(r, a[0]);
    wk_jfail(&r->m, "%.*s", (int)(s->n < 800 ? s->n : 800), s->p);
}

/* The present time, or the time that the caller of the rendering gave. */
METHOD(g_strftime) {
    (void)v, (void)c;
    const wk_jstr *f = wk_jneed_str(r, a[0], "the format of strftime_now");
    struct tm t = { 0 };
    if (r->now) {
        if (sscanf(r->now, "%4d-%2d-%2dT%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec) < 3)
            wk_jfail(&r->m, "'%.40s' is not a time: write it as 2026-01-02T03:04:05", r->now);
        t.tm_year -= 1900, t.tm_mon -= 1;
        timegm(&t);  /* fills in the day of the week and of the year */
    } else {
        time_t clock = time(NULL);
        localtime_r(&clock, &t);
    }
    char out[1024], *format = wk_jalloc(&r->m, f->n + 1);
    if (memchr(f->p, 0, f->n)) wk_jfail(&r->m, "the format of strftime_now has a zero byte");
    memcpy(format, f->p, f->n);
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);  /* English names, whatever the user's language */
    if (!plain) {
        r->m.status = wk_fail_memory(0, "the plain locale");
        longjmp(r->m.out, 1);
    }
    size_t n = strftime_l(out, sizeof out, format, &t, plain);
    freelocale(plain);
    if (!n && f->n) wk_jfail(&r->m, "strftime_now's text is empty or longer than %zu bytes", sizeof out);
    wk_jbuf b = { 0 };
    wk_jput(r, &b, out, n, wk_jfrom_any(f));
    return wk_jput_end(r, &b);
}

const wk_jbuiltin wk_jglobals[] = {
    { "range", g_range, "-start stop step", 1 }, { "dict", g_dict, "*", 0 }, { "namespace", g_namespace, "*", 0 },
    { "cycler", g_cycler, "*", 0 }, { "joiner", g_joiner, "sep", 0 }, { "raise_exception", g_raise, "message", 1 },
    { "strftime_now", g_strftime, "format", 1 }, { NULL, NULL, NULL, 0 },
};
