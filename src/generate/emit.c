/* emit.c: what of the decoded text may be shown now. Stop texts are looked for with Knuth, Morris & Pratt's automaton
 * (1977, SIAM J. Comput. 6(2)), one for each: its state, the longest ending of what came that begins the text, is also
 * exactly what has to be held back. So borders between tokens play no part. Load: a few bytes a token, a few stop texts. */
#include "generate/emit.h"
#include "text/unicode.h"
#include <string.h>

/* ---- stop texts ---- */

/* border[i]: length of the longest proper beginning of text that text[0..i] ends with. */
static void find_borders(wk_stop *s) {
    for (size_t i = 1, k = 0; i < s->len; i++) {
        while (k && s->text[i] != s->text[k]) k = s->border[k - 1];
        if (s->text[i] == s->text[k]) k++;
        s->border[i] = (uint32_t)k;
    }
}

wick_status wk_stops_new(wk_stops *s, const char *const *text, size_t n) {
    *s = (wk_stops){ 0 };
    if (!n) return WICK_OK;
    if (!text || n > WK_MAX_STOPS)
        return wk_fail(WICK_E_ARG, "%zu stop texts%s: at most %d", n, text ? "" : " at NULL", WK_MAX_STOPS);
    if (!(s->stop = wk_arena_alloc(&s->mem, n * sizeof *s->stop))) return wk_fail_memory(n * sizeof *s->stop, "stop texts");
    for (size_t i = 0, bad; i < n; i++) {
        size_t len = text[i] ? strlen(text[i]) : 0;
        wk_stop *p = &s->stop[i];
        wick_status st = WICK_OK;
        if (!len || len > WK_MAX_STOP_LEN)
            st = wk_fail(WICK_E_ARG, "stop text %zu has %zu bytes, it can have 1 to %d", i, len, WK_MAX_STOP_LEN);
        else if (!wk_utf8_valid(text[i], len, &bad))
            st = wk_fail(WICK_E_ARG, "stop text %zu is not UTF-8 at byte %zu", i, bad);
        else if (!(p->text = wk_arena_str(&s->mem, text[i], len)) ||
                 !(p->border = wk_arena_alloc(&s->mem, len * sizeof *p->border)))
            st = wk_fail_memory(len, "a stop text");
        if (st) {
            wk_stops_free(s);
            return st;
        }
        p->len = len;
        find_borders(p);
        s->n++;
    }
    return WICK_OK;
}

void wk_stops_free(wk_stops *s) {
    wk_arena_free(&s->mem);
    *s = (wk_stops){ 0 };
}

void wk_stops_reset(wk_stops *s) {
    for (size_t i = 0; i < s->n; i++) s->stop[i].matched = 0;
}

size_t wk_stops_feed(wk_stops *s, char byte) {
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        wk_stop *p = &s->stop[i];
        while (p->matched && p->text[p->matched] != byte) p->matched = p->border[p->matched - 1];
        if (p->text[p->matched] == byte) p->matched++;
        if (p->matched < p->len) continue;
        if (p->len > longest) longest = p->len;
        p->matched = p->border[p->len - 1];
    }
    return longest;
}

size_t wk_stops_held(const wk_stops *s) {
    size_t most = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->stop[i].matched > most) most = s->stop[i].matched;
    return most;
}

/* ---- text ---- */

wick_status wk_emit_begin(wk_emit *e, const wk_tokenizer *t, wk_stops *stops, bool continues) {
    enum { USUAL = 1024 };
    size_t room = USUAL;
    e->stops = stops;
    wk_stops_reset(stops);
    for (size_t i = 0; i < stops->n; i++)
        if (stops->stop[i].len + USUAL > room) room = stops->stop[i].len + USUAL;
    e->decoder = (wk_decoder){ 0 };
    if (t) wk_decoder_init(&e->decoder, t, false);
    e->decoder.started = continues;
    e->held.len = e->out.len = 0;
    e->held.failed = e->out.failed = false;
    if (!wk_grow((void **)&e->held.ptr, &e->held.cap, room, 1) || !wk_grow((void **)&e->out.ptr, &e->out.cap, room, 1))
        return wk_fail_memory(room, "generated text");
    return WICK_OK;
}

wick_status wk_emit_token(wk_emit *e, int32_t id, bool last, bool *stopped) {
    size_t from = e->held.len, show, ended = 0;
    *stopped = false;
    if (e->decoder.t && id >= 0) wk_decode(&e->decoder, id, &e->held);
    if (e->decoder.t && last) wk_decode_end(&e->decoder, &e->held);
    for (size_t i = from; i < e->held.len && !ended; i++)
        if ((ended = wk_stops_feed(e->stops, e->held.ptr[i]))) show = i + 1 - ended;
    if (!ended) show = e->held.len - (last ? 0 : wk_stops_held(e->stops));
    e->out.len = 0;
    wk_buf_add(&e->out, e->held.ptr, show);
    if (e->held.failed || e->out.failed) return wk_fail_memory(e->held.len, "generated text");
    *stopped = ended != 0;
    e->held.len = ended ? 0 : e->held.len - show;
    memmove(e->held.ptr, e->held.ptr + show, e->held.len);
    return WICK_OK;
}

void wk_emit_free(wk_emit *e) {
    wk_buf_free(&e->held);
    wk_buf_free(&e->out);
}
