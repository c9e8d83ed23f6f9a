/* pattern.c: regular expressions of a tokenizer.json, by pcre2 (UTF, Unicode properties, JIT).
 * The `tokenizers` package reads them with Oniguruma's Ruby syntax: ^ and $ are line ends, and what the two engines read
 * differently (nested classes, && inside a class, \h, {n,m}+) is refused rather than guessed.
 * Pattern and text are both strangers', so a search is limited three ways: MATCH_LIMIT steps for one attempt, windows of
 * start positions that keep one call short, and a deadline for the whole text. */
#include "text/tokenizer_parts.h"
#include "base/clock.h"
#include "base/regex.h"
#include <string.h>

enum { MATCH_LIMIT = 4000000, HEAP_LIMIT_KIB = 64 << 10, FIRST_WINDOW = 256 };
struct wk_pattern { pcre2_general_context *memory; pcre2_match_context *limits; pcre2_code *code; char *where; };

/* What Oniguruma would read otherwise, or NULL. */
static const char *foreign(const char *s, size_t n) {
    bool inside = false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\') {
            if (++i < n && strchr("hHGKRXN", s[i])) return "an escape that the two engines read differently";
            if (i + 1 < n && s[i + 1] == '{') while (i < n && s[i] != '}') i++;  /* \p{L}, \x{4E00} */
        } else if (inside) {
            if (s[i] == ']') inside = false;
            else if (s[i] == '[') return s[i + 1 < n ? i + 1 : i] == ':' ? "a POSIX class" : "a class inside a class";
            else if (s[i] == '&' && i + 1 < n && s[i + 1] == '&') return "an intersection of classes";
        } else if (s[i] == '[') {
            inside = true;
            if (i + 1 < n && s[i + 1] == '^') i++;
            if (i + 1 < n && s[i + 1] == ']') return "a class that begins with ]";
        } else if (s[i] == '}' && i + 1 < n && s[i + 1] == '+') {
            return "a possessive {n,m}+";
        } else if (s[i] == '(' && i + 1 < n && s[i + 1] == '?') {
            /* (?m means that . takes newlines; (?i) that is not at the beginning ends elsewhere */
            size_t j = i + 2;
            for (; j < n && (s[j] == '-' || (s[j] >= 'a' && s[j] <= 'z')); j++) if (s[j] == 'm') return "the option m";
            if (j < n && j > i + 2 && s[j] == ')' && i) return "an option in the middle";
        }
    }
    return NULL;
}

wick_status wk_pattern_new(const char *regex, size_t n, const char *where, wk_pattern **out) {
    enum { SHOWN = 300 };
    int code = 0, shown = n < SHOWN ? (int)n : SHOWN;
    size_t at = 0;
    *out = NULL;
    const char *odd = foreign(regex, n);
    if (odd)
        return wk_fail(WICK_E_UNSUPPORTED, "%s: the pattern \"%.*s\" has %s, which wick does not know", where, shown, regex, odd);
    wk_pattern *p = wk_alloc(sizeof *p);
    if (!p) return wk_fail_memory(sizeof *p, where);
    p->where = wk_strdup(where);
    p->memory = wk_regex_memory();
    p->limits = p->memory ? pcre2_match_context_create(p->memory) : NULL;
    pcre2_compile_context *how = p->memory ? pcre2_compile_context_create(p->memory) : NULL;
    if (p->limits && how)
        p->code = pcre2_compile((PCRE2_SPTR)regex, n,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT, &code,
                                &at, how);
    pcre2_compile_context_free(how);
    if (p->code && p->where) {
        pcre2_set_match_limit(p->limits, MATCH_LIMIT);
        pcre2_set_heap_limit(p->limits, HEAP_LIMIT_KIB);
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE);  /* without JIT it is slower, not wrong */
        *out = p;
        return WICK_OK;
    }
    wick_status st;
    if (p->limits && how && p->where && code != PCRE2_ERROR_HEAP_FAILED) {
        char why[200] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        st = wk_fail(WICK_E_UNSUPPORTED, "%s: the pattern \"%.*s\" cannot be compiled: %s (at byte %zu)", where, shown, regex, why,
                     at);
    } else {
        st = wk_fail_memory(n, where);
    }
    wk_pattern_free(p);
    return st;
}

void wk_pattern_free(wk_pattern *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
    wk_free(p->where);
    wk_free(p);
}

typedef struct search_state { pcre2_match_data *match; pcre2_match_context *limits; unsigned n_call; } search_state;

wick_status wk_search_new(const wk_pattern *p, size_t n_text, wk_search *s) {
    search_state *m = wk_alloc(sizeof *m);
    *s = (wk_search){ .p = p, .match = m };
    if (m) m->match = pcre2_match_data_create(1, p->memory);
    if (m) m->limits = pcre2_match_context_copy(p->limits);
    if (m && m->match && m->limits) {
        s->deadline = wk_now() + 1 + 2e-6 * (double)n_text;  /* a hundred times what a sound pattern takes */
        return WICK_OK;
    }
    wk_search_free(s);
    return wk_fail_memory(sizeof *m, "a pattern's search");
}

void wk_search_free(wk_search *s) {
    search_state *m = s->match;
    if (m) pcre2_match_data_free(m->match);
    if (m) pcre2_match_context_free(m->limits);
    wk_free(m);
    *s = (wk_search){ 0 };
}

static wick_status too_slow(const wk_pattern *p, const char *what) {
    return wk_fail(WICK_E_UNSUPPORTED,
                   "%s: the pattern needs too many steps on this text (%s): it backtracks without end; shorten the text or "
                   "correct the pattern",
                   p->where, what);
}

wick_status wk_search_next(wk_search *s, const char *text, size_t n, size_t from, bool *found, size_t *a, size_t *b) {
    search_state *m = s->match;
    *found = false;
    for (size_t window = FIRST_WINDOW; from <= n;) {
        size_t last = n - from > window ? from + window : n;
        while (last < n && ((uint8_t)text[last] & 0xC0) == 0x80) last++;
        double before = window > FIRST_WINDOW || m->n_call++ % 16 == 0 ? wk_now() : 0;
        if (before > s->deadline) return too_slow(s->p, "time limit");
        pcre2_set_offset_limit(m->limits, last);
        int rc = pcre2_match(s->p->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, m->match, m->limits);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(s->p->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->match, m->limits);
        if (rc >= 0) {
            const size_t *v = pcre2_get_ovector_pointer(m->match);
            if (v[0] > v[1] || v[0] < from) return too_slow(s->p, "a match that ends before it begins");  /* \K in a lookahead */
            *found = true;
            *a = v[0];
            *b = v[1];
            return WICK_OK;
        }
        if (rc == PCRE2_ERROR_MATCHLIMIT) return too_slow(s->p, "match limit");
        if (rc == PCRE2_ERROR_HEAPLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT) return too_slow(s->p, "memory limit");
        if (rc == PCRE2_ERROR_NOMEMORY) return wk_fail_memory(0, "a pattern's search");
        if (rc != PCRE2_ERROR_NOMATCH)
            return wk_fail(WICK_E_UNSUPPORTED, "%s: the pattern fails on this text (pcre2 error %d)", s->p->where, rc);
        if (last == n) break;
        from = last;
        if (before == 0 || wk_now() - before < 0.01) window *= 2;  /* windows grow while they are cheap */
    }
    return WICK_OK;
}
