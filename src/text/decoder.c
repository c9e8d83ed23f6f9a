/* decoder.c: ids to text. What each token stands for is worked out once, at open; as ids come, only UTF-8 is put together.
 * Source: the `tokenizers` package's decoders ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece, BPEDecoder and
 * CTC; the places of U+FFFD follow Unicode 15, section 3.9 (one for each maximal part of a character).
 * Load: one call per generated token: no allocation beyond the caller's buffer. */
#include "text/tokenizer_parts.h"
#include <string.h>

/* ---- at open ---- */

/* Writes what an entry in GPT-2's byte alphabet stands for, at most s.len bytes; one that has other characters stands for itself.
 * The alphabet has one- and two-byte characters only. */
static size_t byte_level(wk_str s, char *out) {
    const uint8_t *p = (const uint8_t *)s.ptr;
    size_t k = 0;
    for (size_t i = 0; i < s.len; i++, k++) {
        int b = p[i];
        if (b >= 0x80) {
            b = b >= 0xC2 && b < 0xE0 && i + 1 < s.len && (p[i + 1] & 0xC0) == 0x80
                    ? wk_byte_of_char((p[i] & 0x1Fu) << 6 | (p[i + 1] & 0x3Fu))
                    : -1;
            i++;
        } else if (b <= 0x20 || b == 0x7F) {
            b = -1;
        }
        if (b < 0) {
            memcpy(out, s.ptr, s.len);
            return s.len;
        }
        out[k] = (char)b;
    }
    return k;
}

static bool hidden(wk_token_kind k) { return k == WK_TOKEN_CONTROL || k == WK_TOKEN_UNKNOWN; }

static void replace(wk_str s, wk_str from, wk_str to, wk_buf *out) {
    const char *p = s.ptr, *end = p + s.len;
    for (const char *q; p < end && (q = memmem(p, (size_t)(end - p), from.ptr, from.len)); p = q + from.len) {
        wk_buf_add(out, p, (size_t)(q - p));
        wk_buf_add(out, to.ptr, to.len);
    }
    if (p < end) wk_buf_add(out, p, (size_t)(end - p));
}

static wk_str strip(wk_str s, wk_str what, int left, int right) {
    for (; left > 0 && s.len >= what.len && !memcmp(s.ptr, what.ptr, what.len); left--) { s.ptr += what.len; s.len -= what.len; }
    for (; right > 0 && s.len >= what.len && !memcmp(s.ptr + s.len - what.len, what.ptr, what.len); right--) s.len -= what.len;
    return s;
}

/* WordPiece's cleanup of one token, in the order in which the package tries them. */
static void clean_up(wk_str s, wk_buf *a, wk_buf *out) {
    static const struct { const char *from, *to; } all[] = {
        { " .", "." }, { " ?", "?" }, { " !", "!" }, { " ,", "," }, { " ' ", "'" }, { " n't", "n't" }, { " 'm", "'m" },
        { " do not", " don't" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" },
    };
    wk_buf_add(out, s.ptr, s.len);
    for (size_t i = 0; i < sizeof all / sizeof *all && !out->failed; i++) {
        a->len = 0;
        wk_buf_add(a, out->ptr, out->len);
        if (a->failed || !a->len) break;
        out->len = 0;
        wk_str from = { all[i].from, strlen(all[i].from) }, to = { all[i].to, strlen(all[i].to) };
        replace((wk_str){ a->ptr, a->len }, from, to, out);
    }
    if (a->failed) out->failed = true;
}

/* One token through the steps, by way of a and b, into out. */
static void token_bytes(wk_token_kind kind, wk_str s, const wk_decode_step *step, size_t n, wk_buf *a, wk_buf *b, wk_buf *out) {
    wk_buf extra = { .limit = a->limit };
    for (size_t i = 0; i < n; i++) {
        const wk_decode_step *d = &step[i];
        wk_buf *to = a;
        if (hidden(kind) && !d->control) continue;
        to->len = 0;
        switch (d->kind) {
        case WK_DECODE_STRIP: s = strip(s, d->from, d->left, d->right); continue;
        case WK_DECODE_REPLACE: replace(s, d->from, d->to, to); break;
        case WK_DECODE_BYTE_FALLBACK:
            if (kind != WK_TOKEN_BYTE || wk_byte_token(s) < 0) continue;
            wk_buf_char(to, (char)wk_byte_token(s));
            break;
        case WK_DECODE_INSIDE:
            if (d->from.len && s.len >= d->from.len && !memcmp(s.ptr, d->from.ptr, d->from.len)) {
                s.ptr += d->from.len;
                s.len -= d->from.len;
                continue;
            }
            wk_buf_char(to, ' ');
            wk_buf_add(to, s.ptr, s.len);
            break;
        case WK_DECODE_CLEAN_UP: clean_up(s, &extra, to); break;
        case WK_DECODE_BYTE_LEVEL:
            if (kind == WK_TOKEN_USER || !s.len) continue;
            if (wk_grow((void **)&to->ptr, &to->cap, s.len, 1)) to->len = byte_level(s, to->ptr); else to->failed = true;
            break;
        }
        s = (wk_str){ to->len ? to->ptr : "", to->len };
        a = b;
        b = to;
    }
    wk_buf_add(out, s.ptr, s.len);
    if (extra.failed) out->failed = true;
    if (extra.full) out->full = true;
    wk_buf_free(&extra);
}

wick_status wk_decoder_table(wk_vocabulary *v, const wk_decode_step *step, size_t n) {
    enum { MAX_TOKEN = 1 << 20, MAX_GROWTH = 16, MAX_MORE = 1 << 24 };  /* as in normalizer.c: no vocabulary grows by much */
    wk_buf a = { .limit = MAX_TOKEN }, b = { .limit = MAX_TOKEN }, all = { 0 };
    bool simple = n == 1 && step[0].kind == WK_DECODE_BYTE_LEVEL;
    size_t total = 1;
    for (int32_t id = 0; id < v->n; id++) total += v->entry[id].len;
    if (total > MAX_TOKEN) a.limit = b.limit = total;
    all.limit = MAX_GROWTH * total + MAX_MORE;
    if (!wk_grow((void **)&all.ptr, &all.cap, total, 1)) return wk_fail_memory(total, "the tokens' bytes");
    for (int32_t id = 0; id < v->n && all.len <= UINT32_MAX; id++) {
        v->byte_at[id] = (uint32_t)all.len;
        if (simple && v->kind[id] == WK_TOKEN_NORMAL) all.len += byte_level(v->entry[id], all.ptr + all.len);
        else if (v->entry[id].len) token_bytes(v->kind[id], v->entry[id], step, n, &a, &b, &all);
    }
    v->byte_at[v->n] = (uint32_t)all.len;
    bool failed = all.failed || a.failed || b.failed, full = all.full || a.full || b.full;
    wk_buf_free(&a);
    wk_buf_free(&b);
    v->bytes = all.ptr;
    if (full)
        return wk_fail(WICK_E_UNSUPPORTED, "decoder: its replacements make far more of the vocabulary than its %zu bytes", total);
    if (failed) return wk_fail_memory(total, "the tokens' bytes");
    if (all.len > UINT32_MAX) return wk_fail(WICK_E_LENGTH, "the vocabulary's entries have %zu bytes, more than 2^32", all.len);
    return WICK_OK;
}

/* ---- as ids come ---- */

void wk_decoder_init(wk_decoder *d, const wk_tokenizer *t, bool with_special) {
    *d = (wk_decoder){ .t = t, .with_special = with_special, .before = -1 };
}

/* Whole characters go out; of the very first one a space may be dropped. */
static void emit(wk_decoder *d, const char *p, size_t n, wk_buf *out) {
    bool drop = n && !d->started && d->t->strip_first && *p == ' ';
    if (n) d->started = true;
    if (n > drop) wk_buf_add(out, p + drop, n - drop);
}

static void feed(wk_decoder *d, const char *p, size_t n, wk_buf *out) {
    static const char bad[] = "\xEF\xBF\xBD";
    size_t len, done = 0, i = 0;
    while (d->n_held && i < n) {  /* a character that began with an earlier token: byte by byte until it is decided */
        d->held[d->n_held++] = p[i++];
        wk_utf8_state s = wk_utf8_at(d->held, (size_t)d->n_held, &len);
        if (s == WK_UTF8_CUT) continue;
        if (s == WK_UTF8_WHOLE) {
            emit(d, d->held, len, out);
        } else {
            emit(d, bad, 3, out);
            i--;  /* the byte that did not fit begins anew */
        }
        d->n_held = 0;
    }
    for (done = i; i < n; i += len) {
        wk_utf8_state s = wk_utf8_at(p + i, n - i, &len);
        if (s == WK_UTF8_WHOLE) continue;
        emit(d, p + done, i - done, out);
        done = i + len;
        if (s == WK_UTF8_BAD) { emit(d, bad, 3, out); continue; }
        memcpy(d->held, p + i, len);
        d->n_held = (int)len;
    }
    if (done < n) emit(d, p + done, n - done, out);
}

/* Bytes of a token before what ends a word; all of them if nothing does. */
static size_t word_end(const wk_tokenizer *t, int32_t id) {
    wk_str e = wk_tokenizer_entry(t, id), end = t->word_end;
    const char *p = end.len && !hidden(wk_tokenizer_kind(t, id)) ? memmem(e.ptr, e.len, end.ptr, end.len) : NULL;
    return p ? (size_t)(p - e.ptr) : wk_tokenizer_bytes(t, id).len;
}

/* The rest of the token before, as one that is followed: its word ends are spaces. */
static void close_word(wk_decoder *d, wk_buf *out) {
    wk_str s = wk_tokenizer_bytes(d->t, d->before);
    size_t done = word_end(d->t, d->before);
    d->open = false;
    feed(d, s.ptr + done, s.len - done, out);
}

void wk_decode(wk_decoder *d, int32_t id, wk_buf *out) {
    wk_token_kind kind = wk_tokenizer_kind(d->t, id);
    wk_str s = wk_tokenizer_bytes(d->t, id);
    if ((!d->with_special && hidden(kind)) || (d->t->once && id == d->before)) return;
    if (d->open) close_word(d, out);
    d->before = id;
    if (d->t->word_end.len) {
        size_t n = word_end(d->t, id);
        d->open = n < s.len;
        s.len = n;
    }
    if ((d->t->join || (d->t->spaced && hidden(kind))) && d->started) feed(d, " ", 1, out);
    if (!d->started && d->t->inside.len) {
        wk_str e = wk_tokenizer_entry(d->t, id);
        if (e.len >= d->t->inside.len && !memcmp(e.ptr, d->t->inside.ptr, d->t->inside.len)) s = e;
    }
    if (!d->started && s.len && d->t->strip_marks) {
        const char *p = s.ptr, *end = s.ptr + s.len, *q;
        for (; p < end && (q = memchr(p, ' ', (size_t)(end - p))); p = q + 1) feed(d, p, (size_t)(q - p), out);
        if (p < end) feed(d, p, (size_t)(end - p), out);
        d->started = true;
        return;
    }
    feed(d, s.ptr, s.len, out);
}

void wk_decode_end(wk_decoder *d, wk_buf *out) {
    wk_str end = d->t->word_end, e = wk_tokenizer_entry(d->t, d->before);
    /* the last token's word ends are nothing */
    for (size_t i = d->open ? word_end(d->t, d->before) : e.len, j; i < e.len; i = j) {
        const char *q = memmem(e.ptr + i, e.len - i, end.ptr, end.len);
        j = q ? (size_t)(q - e.ptr) : e.len;
        feed(d, e.ptr + i, j - i, out);
        if (q) j += end.len;
    }
    d->open = false;
    if (d->n_held) emit(d, "\xEF\xBF\xBD", 3, out);
    d->n_held = 0;
}
