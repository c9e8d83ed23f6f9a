/* tokenizer.c: the way of a text through the stages, and the questions that one may ask a tokenizer.
 * A text is cut at its added tokens; what lies between is normalised, cut into words and given to the model. Text of a
 * request is tokenised together with the template's, so that merges cross from one to the other, but no control
 * token is found in it (added.c) and none can come out of merges (wk_may_form()). */
#include "text/tokenizer_parts.h"
#include <inttypes.h>
#include <string.h>

enum { MAX_TEXT = 1 << 30, MAX_END = 1024 };

/* ---- making and freeing ---- */

wick_status wk_tokenizer_new(wk_tokenizer **out) {
    wk_tokenizer *t = *out = wk_alloc(sizeof *t);
    if (!t) return wk_fail_memory(sizeof *t, "a tokenizer");
    t->bos = t->eos = t->unk = -1;
    t->encode = wk_bpe_word;
    t->norm = wk_alloc_array(WK_MAX_STEPS, sizeof *t->norm);
    t->pre = wk_alloc_array(WK_MAX_STEPS, sizeof *t->pre);
    t->shelf = wk_alloc(sizeof *t->shelf);
    if (t->norm && t->pre && t->shelf) return WICK_OK;
    wk_tokenizer_free(t);
    *out = NULL;
    return wk_fail_memory(WK_MAX_STEPS * (sizeof *t->norm + sizeof *t->pre), "a tokenizer");
}

void wk_tokenizer_free(wk_tokenizer *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n_norm; i++) {
        wk_pattern_free(t->norm[i].pattern);
        wk_charsmap_free(t->norm[i].map);
    }
    for (size_t i = 0; i < t->n_pre; i++) wk_pattern_free(t->pre[i].pattern);
    wk_vocabulary_free(&t->vocab);
    wk_matcher_free(&t->raw);
    wk_matcher_free(&t->normalized);
    wk_free(t->norm);
    wk_free(t->pre);
    wk_bpe_free(&t->bpe);
    wk_unigram_free(&t->unigram);
    wk_wordpiece_free(&t->wordpiece);
    wk_free(t->prefix);
    wk_free(t->suffix);
    wk_free(t->end);
    wk_shelf_free(t->shelf);
    wk_arena_free(&t->strings);
    wk_free(t);
}

wk_norm *wk_add_norm(wk_tokenizer *t) {
    if (t->n_norm < WK_MAX_STEPS) return &t->norm[t->n_norm++];
    wk_fail(WICK_E_UNSUPPORTED, "normalizer: more than %d steps", WK_MAX_STEPS);
    return NULL;
}

wk_pre *wk_add_pre(wk_tokenizer *t) {
    if (t->n_pre < WK_MAX_STEPS) return &t->pre[t->n_pre++];
    wk_fail(WICK_E_UNSUPPORTED, "pre_tokenizer: more than %d steps", WK_MAX_STEPS);
    return NULL;
}

wick_status wk_add_split(wk_tokenizer *t, const char *regex, size_t n, wk_behavior behavior, bool invert, const char *where) {
    wk_pre *s = wk_add_pre(t);
    if (!s) return WICK_E_UNSUPPORTED;
    if (behavior == WK_ISOLATED && (wk_str_eq((wk_str){ regex, n }, "\\p{N}") || wk_str_eq((wk_str){ regex, n }, "\\p{N}+"))) {
        *s = (wk_pre){
            .kind = WK_PRE_CLASS, .mask = WK_CH_NUMBER, .behavior = n == 5 ? WK_ISOLATED : WK_CONTIGUOUS, .invert = invert
        };
        return WICK_OK;
    }
    /* scanners match everywhere, so between matches there is nothing to keep or drop */
    wk_scanner scan = (behavior == WK_ISOLATED && !invert) || (behavior == WK_REMOVED && invert) ? wk_scanner_of(regex, n) : NULL;
    *s = (wk_pre){ .kind = scan ? WK_PRE_SCAN : WK_PRE_PATTERN, .scan = scan, .behavior = behavior, .invert = invert };
    return scan ? WICK_OK : wk_pattern_new(regex, n, where, &s->pattern);
}

/* A model without a pre-tokeniser reads a whole text as one word. Where two characters meet that no entry holds side by side, no
 * merge can cross: cutting there changes nothing and makes words short again. */
static wick_status cut_where_nothing_merges(wk_tokenizer *t) {
    const wk_vocabulary *v = &t->vocab;
    const wk_bpe *m = &t->bpe;
    bool all_bytes = m->byte_fallback;
    for (int b = 0; b < 256; b++) if (m->of_byte[b] < 0) all_bytes = false;
    if (t->encode != wk_bpe_word || t->n_pre || m->from_bytes || m->ignore_merges) return WICK_OK;
    if (m->inside.len || m->last.len) return WICK_OK;  /* a character's entry depends on where in the word it stands */
    /* an unknown character leaves no trace, or joins its neighbour */
    if (!all_bytes && (t->unk < 0 || m->fuse_unk)) return WICK_OK;
    uint64_t *glue = wk_arena_alloc(&t->strings, 65536 / 8);
    wk_pre *s = wk_add_pre(t);
    if (!s || !glue) return wk_fail_memory(65536 / 8, "a tokenizer");
    *s = (wk_pre){ .kind = WK_PRE_CUT, .glue = glue };
    for (int32_t id = 0; id < v->n; id++) {
        const uint8_t *e = (const uint8_t *)v->entry[id].ptr;
        for (size_t i = 1; i < v->entry[id].len && wk_may_form(v, id); i++) {
            size_t pair = (size_t)e[i - 1] << 8 | e[i];
            if ((e[i] & 0xC0) != 0x80) glue[pair >> 6] |= (uint64_t)1 << (pair & 63);
        }
    }
    return WICK_OK;
}

wick_status wk_tokenizer_finish(wk_tokenizer *t) {
    wk_matcher_ready(&t->raw);
    wk_matcher_ready(&t->normalized);
    wk_bpe_ready(&t->bpe, &t->vocab);
    return cut_where_nothing_merges(t);
}

/* ---- text to ids ---- */

void wk_ids_free(wk_ids *v) {
    wk_free(v->ptr);
    *v = (wk_ids){ 0 };
}

static wick_status add_ids(wk_ids *out, const int32_t *id, size_t n) {
    if (!n) return WICK_OK;
    if (!wk_ids_room(out, n)) return wk_fail_memory(n * sizeof *id, "ids");
    memcpy(out->ptr + out->len, id, n * sizeof *id);
    out->len += n;
    return WICK_OK;
}

static wick_status plain(wk_run *r, const char *p, size_t n) {
    if (!n) return WICK_OK;
    r->limit = p + n;
    return wk_pretokenize(r, 0, p, n);
}

/* What lies between the added tokens that stand in the raw text. */
static wick_status fragment(wk_run *r, const char *p, size_t n) {
    const wk_tokenizer *t = r->t;
    wk_str s = { p, n };
    size_t from = 0, a, b;
    const wk_added *found;
    if (!n) return WICK_OK;
    wick_status st = t->n_norm ? wk_normalize(t->norm, t->n_norm, s, &r->norm[0], &r->norm[1], &s) : WICK_OK;
    while (!st && (found = wk_matcher_find(&t->normalized, s.ptr, s.len, from, NULL, &a, &b))) {
        st = plain(r, s.ptr + from, a - from);
        if (!st) st = add_ids(r->out, &found->id, 1);
        r->at_start = false;
        from = b;
    }
    return st ? st : plain(r, s.ptr + from, s.len - from);
}

static wick_status run_text(wk_run *r, const char *text, size_t n, const wk_trust *trust) {
    const wk_tokenizer *t = r->t;
    const wk_added *found;
    size_t from = 0, a, b;
    wick_status st = WICK_OK;
    r->n_text = n;
    if (t->n_pre) {
        r->edit = wk_alloc_array(t->n_pre, sizeof *r->edit);
        r->search = wk_alloc_array(t->n_pre, sizeof *r->search);
        if (!r->edit || !r->search) return wk_fail_memory(t->n_pre * (sizeof *r->edit + sizeof *r->search), "tokenizing");
        for (size_t i = 0; i < t->n_pre; i++) r->edit[i].limit = WK_MAX_GROWTH * n + WK_MAX_MORE;
    }
    wk_words_take(r, n);
    if (!wk_ids_room(r->out, n / 4 + 16)) return wk_fail_memory(n, "ids");
    while (!st && (found = wk_matcher_find(&t->raw, text, n, from, trust, &a, &b))) {
        while (trust->end <= from) trust++;
        r->at_start = !from;
        st = fragment(r, text + from, a - from);
        if (!st) st = add_ids(r->out, &found->id, 1);
        from = b;
    }
    r->at_start = !from;
    return st ? st : fragment(r, text + from, n - from);
}

static void run_free(wk_run *r) {
    for (size_t i = 0; i < r->t->n_pre; i++) {
        if (r->edit) wk_buf_free(&r->edit[i]);
        if (r->search) wk_search_free(&r->search[i]);
    }
    wk_free(r->edit);
    wk_free(r->search);
    wk_words_give(r);
    wk_free(r->heap);
    wk_free(r->symbols);
    wk_buf_free(&r->norm[0]);
    wk_buf_free(&r->norm[1]);
    wk_buf_free(&r->spelled);
}

/* The spans as one text, and where it may be trusted; neighbours of one kind become one run. */
static wick_status join_spans(const wk_span *span, size_t n, wk_buf *joined, wk_str *text, wk_trust **trust) {
    size_t total = 0, k = 0;
    for (size_t i = 0; i < n; i++)
        if (!wk_add_size(total, span[i].len, &total) || total > MAX_TEXT)
            return wk_fail(WICK_E_LENGTH, "the text is longer than %d bytes; tokenize it in parts", MAX_TEXT);
    *trust = wk_alloc_array(n + 1, sizeof **trust);
    if (!*trust) return wk_fail_memory((n + 1) * sizeof **trust, "a text's spans");
    *text = n == 1 && span[0].len ? (wk_str){ span[0].ptr, span[0].len } : (wk_str){ "", 0 };
    for (size_t i = 0, end = 0; i < n; i++) {
        if (n > 1) wk_buf_add(joined, span[i].ptr, span[i].len);
        end += span[i].len;
        if (!span[i].len) continue;
        if (!k || (*trust)[k - 1].trusted != span[i].trusted) (*trust)[k++].trusted = span[i].trusted;
        (*trust)[k - 1].end = end;
    }
    (*trust)[k] = (wk_trust){ .end = SIZE_MAX };
    if (joined->failed) return wk_fail_memory(total, "a text");
    if (n > 1 && total) *text = (wk_str){ joined->ptr, total };
    return WICK_OK;
}

wick_status wk_tokenize(const wk_tokenizer *t, const wk_span *spans, size_t n, bool add, wk_ids *out) {
    wk_run r = { .t = t, .out = out };
    wk_buf joined = { 0 };
    wk_trust *trust = NULL;
    wk_str text = { "", 0 };
    size_t before = out->len, bad;
    wick_status st = join_spans(spans, n, &joined, &text, &trust);
    if (!st && !wk_utf8_valid(text.ptr, text.len, &bad))
        st = wk_fail(WICK_E_FORMAT, "the text is not UTF-8: byte %zu is 0x%02X", bad, (uint8_t)text.ptr[bad]);
    if (!st && add) st = add_ids(out, t->prefix, t->n_prefix);
    if (!st && text.len) st = run_text(&r, text.ptr, text.len, trust);
    if (!st && add) st = add_ids(out, t->suffix, t->n_suffix);
    if (st) out->len = before;
    run_free(&r);
    wk_free(trust);
    wk_buf_free(&joined);
    return st;
}

/* ---- questions ---- */

static bool is_id(const wk_tokenizer *t, int32_t id) { return id >= 0 && id < t->vocab.n; }

int32_t wk_tokenizer_n_vocab(const wk_tokenizer *t) { return t->vocab.n; }
int32_t wk_tokenizer_bos(const wk_tokenizer *t) { return t->bos; }
int32_t wk_tokenizer_eos(const wk_tokenizer *t) { return t->eos; }
wk_token_kind wk_tokenizer_kind(const wk_tokenizer *t, int32_t id) { return is_id(t, id) ? t->vocab.kind[id] : WK_TOKEN_UNUSED; }
wk_str wk_tokenizer_entry(const wk_tokenizer *t, int32_t id) {
    return is_id(t, id) && t->vocab.entry[id].len ? t->vocab.entry[id] : WK_STR("");
}
int32_t wk_tokenizer_find(const wk_tokenizer *t, const char *entry, size_t n) { return wk_vocabulary_find(&t->vocab, entry, n); }

wk_str wk_tokenizer_bytes(const wk_tokenizer *t, int32_t id) {
    const wk_vocabulary *v = &t->vocab;
    return is_id(t, id) ? (wk_str){ v->bytes + v->byte_at[id], v->byte_at[id + 1] - v->byte_at[id] } : WK_STR("");
}

bool wk_tokenizer_is_end(const wk_tokenizer *t, int32_t id) {
    for (size_t i = 0; i < t->n_end; i++) if (t->end[i] == id) return true;
    return false;
}

wick_status wk_tokenizer_add_end(wk_tokenizer *t, int32_t id) {
    if (!is_id(t, id))
        return wk_fail(WICK_E_ARG, "end-of-turn id %" PRId32 " is outside the vocabulary of %" PRId32, id, t->vocab.n);
    if (wk_tokenizer_is_end(t, id)) return WICK_OK;
    if (t->n_end == MAX_END)  /* they are looked through for every token */
        return wk_fail(WICK_E_UNSUPPORTED, "more than %d ids end a turn", MAX_END);
    if (!wk_grow((void **)&t->end, &t->cap_end, t->n_end + 1, sizeof *t->end))
        return wk_fail_memory(sizeof *t->end, "end-of-turn ids");
    t->end[t->n_end++] = id;
    return WICK_OK;
}
