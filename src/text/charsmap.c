/* charsmap.c: SentencePiece's table of replacements, made from a normalisation rule and carried by models as
 * "precompiled_charsmap": a double array of what is replaced, then what replaces it.
 * Layout: sentencepiece's normalizer.cc (u32 size, the array, strings that end with NUL) and Darts-clone's unit: bits 0-7 the byte
 * that leads here (bit 31: not a byte but a value), bit 8 "a value hangs here", bits 10-30 the offset, bit 9 "times 256".
 * Load: 45,000 units; every character of a text that is tokenised, nearly all of them ASCII, which has a table.
 * The table is a stranger's: all of it that can be reached is walked once, so that applying it needs no checks. */
#include "text/tokenizer_parts.h"
#include <string.h>
#include <utf8proc.h>

struct wk_charsmap {
    uint32_t *unit;
    uint32_t n;
    char *text;
    uint32_t n_text;
    bool alone[128];   /* an ASCII character that stays as it is before another ASCII character */
};

static uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }
static bool leads_here(uint32_t unit, uint8_t byte) { return (unit & 0x800000FFu) == byte; }
static bool has_value(uint32_t unit) { return unit >> 8 & 1; }

static wick_status bad(const char *what, const char *why, uint64_t value, uint64_t limit) {
    return wk_fail(WICK_E_FORMAT, "%s: the table of replacements is damaged: %s (%llu, limit %llu); get the file again", what, why,
                   (unsigned long long)value, (unsigned long long)limit);
}

/* ---- checking: from the root to everything that a text can reach ---- */

typedef struct todo { uint32_t base; uint8_t left; uint8_t depth; } todo;  /* left: bytes that a character lacks */
enum { MAX_KEY = 64 };

/* Continuation bytes behind a first byte; -1: no character begins or goes on so. */
static int lacks(uint8_t left, uint8_t byte) {
    if (left) return (byte & 0xC0) == 0x80 ? left - 1 : -1;
    return byte < 0x80 ? 0 : byte < 0xC2 ? -1 : byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : byte < 0xF5 ? 3 : -1;
}

static wick_status check_value(const wk_charsmap *m, const char *what, uint32_t at) {
    uint32_t v = m->unit[at] & 0x7FFFFFFF;
    if (!(m->unit[at] >> 31)) return bad(what, "a unit that should be a value is none", at, m->n);
    if (v >= m->n_text) return bad(what, "a replacement's offset", v, m->n_text);
    if (((uint8_t)m->text[v] & 0xC0) == 0x80)
        return bad(what, "a replacement that begins inside a character, offset", v, m->n_text);
    return WICK_OK;
}

/* What is known of the walk: how deep each unit was reached, for each number of continuation bytes that are lacking then; ends of
 * keys share units, so several ways may lead to one. What was reached deeper than before is walked again: a circle gets too
 * deep. */
typedef struct walk { const wk_charsmap *m; const char *what; uint8_t *depth; todo *list; size_t n, cap; } walk;

/* One unit that byte led to: its value is checked, its children are to be walked. */
static wick_status check_unit(walk *w, uint32_t at, todo from, uint8_t byte) {
    const wk_charsmap *m = w->m;
    uint32_t base = at ^ offset_of(m->unit[at]);
    int left = lacks(from.left, byte);
    if (left < 0) return bad(w->what, "what is replaced is not UTF-8, byte", byte, 0xFF);
    if (from.depth == MAX_KEY)
        return bad(w->what, "what is replaced is too long, or goes in a circle, bytes", MAX_KEY + 1, MAX_KEY);
    uint8_t *depth = &w->depth[4 * (size_t)at + (size_t)left];
    if (*depth > from.depth) return WICK_OK;
    *depth = (uint8_t)(from.depth + 1);
    if ((base | 0xFF) >= m->n) return bad(w->what, "an offset leads out of the array, to unit", base, m->n);
    if (has_value(m->unit[at])) {
        if (left) return bad(w->what, "what is replaced ends inside a character, unit", at, m->n);
        wick_status st = check_value(m, w->what, base);
        if (st) return st;
    }
    if (!wk_grow((void **)&w->list, &w->cap, w->n + 1, sizeof *w->list)) return wk_fail_memory(w->n * sizeof *w->list, w->what);
    w->list[w->n++] = (todo){ base, (uint8_t)left, *depth };
    return WICK_OK;
}

static wick_status check(const wk_charsmap *m, const char *what) {
    size_t at;
    wick_status st = WICK_OK;
    walk w = { .m = m, .what = what, .depth = wk_alloc_array(m->n, 4) };
    if (!w.depth || !wk_grow((void **)&w.list, &w.cap, 1, sizeof *w.list)) st = wk_fail_memory(4 * (size_t)m->n, what);
    if (!st && !wk_utf8_valid(m->text, m->n_text, &at)) st = bad(what, "replacements that are not UTF-8, at byte", at, m->n_text);
    if (!st && (offset_of(m->unit[0]) | 0xFF) >= m->n)
        st = bad(what, "an offset leads out of the array, to unit", offset_of(m->unit[0]), m->n);
    if (!st) w.list[w.n++] = (todo){ .base = offset_of(m->unit[0]) };
    while (!st && w.n) {
        todo t = w.list[--w.n];
        for (unsigned c = 1; c < 256 && !st; c++)
            if (leads_here(m->unit[t.base ^ c], (uint8_t)c)) st = check_unit(&w, t.base ^ c, t, (uint8_t)c);
    }
    wk_free(w.depth);
    wk_free(w.list);
    return st;
}

/* An ASCII character that nothing replaces, alone or with another ASCII character behind it. */
static void find_plain(wk_charsmap *m) {
    uint32_t root = offset_of(m->unit[0]);
    for (uint32_t c = 0; c < 128; c++) {
        uint32_t u = m->unit[root ^ c], base = root ^ c ^ offset_of(u);
        m->alone[c] = true;
        if (!c || !leads_here(u, (uint8_t)c)) continue;
        if (has_value(u)) m->alone[c] = false;
        for (uint32_t d = 1; d < 128; d++) if (leads_here(m->unit[base ^ d], (uint8_t)d)) m->alone[c] = false;
    }
    m->alone['\r'] = false;  /* one grapheme with a newline */
}

wick_status wk_charsmap_new(const uint8_t *p, size_t n, const char *what, wk_charsmap **out) {
    *out = NULL;
    if (n < 5) return bad(what, "it is too short, bytes", n, 5);
    uint32_t size = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    if (size > n - 5) return bad(what, "its array is cut off, bytes", size, n - 5);
    if (size < 1024 || size % 1024) return bad(what, "its array is not whole blocks of 1024 bytes", size, n - 5);
    if (n - 4 - size > UINT32_MAX / 2) return bad(what, "its replacements are too long, bytes", n - 4 - size, UINT32_MAX / 2);
    if (p[n - 1]) return bad(what, "the last replacement has no end, at byte", n - 1, n);
    wk_charsmap *m = wk_alloc(sizeof *m);
    if (!m) return wk_fail_memory(sizeof *m, what);
    m->n = size / 4;
    m->n_text = (uint32_t)(n - 4 - size);
    m->unit = wk_alloc_array(m->n, sizeof *m->unit);
    m->text = wk_alloc(m->n_text);
    wick_status st = m->unit && m->text ? WICK_OK : wk_fail_memory(n, what);
    for (uint32_t i = 0; i < m->n && !st; i++) {
        const uint8_t *u = p + 4 + 4 * (size_t)i;
        m->unit[i] = (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    if (!st) memcpy(m->text, p + 4 + size, m->n_text);
    if (!st) st = check(m, what);
    if (st) { wk_charsmap_free(m); return st; }
    find_plain(m);
    *out = m;
    return WICK_OK;
}

void wk_charsmap_free(wk_charsmap *m) {
    if (!m) return;
    wk_free(m->unit);
    wk_free(m->text);
    wk_free(m);
}

/* ---- applying ---- */

/* What replaces the longest beginning (or the shortest) of p[0..n), and how many bytes that is; NULL: nothing begins here. */
static const char *match(const wk_charsmap *m, const char *p, size_t n, bool shortest, size_t *len) {
    const char *to = NULL;
    uint32_t at = offset_of(m->unit[0]);
    for (size_t i = 0; i < n && p[i]; i++) {
        at ^= (uint8_t)p[i];
        uint32_t u = m->unit[at];
        if (!leads_here(u, (uint8_t)p[i])) break;
        at ^= offset_of(u);
        if (!has_value(u)) continue;
        to = m->text + (m->unit[at] & 0x7FFFFFFF);
        *len = i + 1;
        if (shortest) break;
    }
    return to;
}

/* Bytes of a run of ASCII characters that stay; the last one before something else is not among them. */
static size_t plain(const wk_charsmap *m, const char *p, size_t n) {
    size_t i = 0;
    while (i < n && (uint8_t)p[i] < 0x80 && m->alone[(uint8_t)p[i]]) i++;
    return i && i < n && (uint8_t)p[i] >= 0x80 ? i - 1 : i;
}

/* Bytes of the extended grapheme cluster at p. */
static size_t grapheme(const char *p, size_t n) {
    size_t len, next;
    utf8proc_int32_t state = 0;
    uint32_t c = wk_utf8_get(p, &len);
    for (size_t at = len; at < n; at += next) {
        uint32_t d = wk_utf8_get(p + at, &next);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)c, (utf8proc_int32_t)d, &state)) return at;
        c = d;
    }
    return n;
}

/* `tokenizers`: a short grapheme as a whole, by the shortest beginning that is replaced; else its characters. */
static size_t one_grapheme(const wk_charsmap *m, const char *p, size_t n, wk_buf *out) {
    enum { SHORT = 6 };
    size_t g = grapheme(p, n), len, used;
    const char *to = g < SHORT ? match(m, p, g, true, &used) : NULL;
    if (to) {
        wk_buf_str(out, to);
        return g;
    }
    for (size_t i = 0; i < g; i += len) {
        wk_utf8_get(p + i, &len);
        to = match(m, p + i, len, true, &used);
        if (to) wk_buf_str(out, to); else wk_buf_add(out, p + i, len);
    }
    return g;
}

void wk_charsmap_apply(const wk_charsmap *m, bool hf, wk_str text, wk_buf *out) {
    for (size_t i = 0, len = 0; i < text.len; i += len) {
        len = plain(m, text.ptr + i, text.len - i);
        if (len) {
            wk_buf_add(out, text.ptr + i, len);
            continue;
        }
        if (hf) {
            len = one_grapheme(m, text.ptr + i, text.len - i, out);
            continue;
        }
        const char *to = match(m, text.ptr + i, text.len - i, false, &len);
        if (to) { wk_buf_str(out, to); continue; }
        wk_utf8_get(text.ptr + i, &len);
        wk_buf_add(out, text.ptr + i, len);
    }
}
