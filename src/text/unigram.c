/* unigram.c: SentencePiece's unigram model: of all ways to cut a word into entries, the one with the greatest sum of scores.
 * Source: Kudo 2018, section 3.2 (Viterbi 1967); a character that is no entry costs the worst score less 10, and neighbours that
 * are unknown become one (sentencepiece's unigram_model.cc, whose sums `tokenizers` and llama.cpp take in double precision, as wick
 * does).
 * Load: words of 2 to 8 bytes that words.c has not met; without a place to cut, a whole text. From each character one walk
 * through the trie. */
#include "text/tokenizer_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { SHORT = 64, UNKNOWN_COST = 10 };

/* How the text up to a place is cut best: its last piece, and where that begins (or, on the way back, where the next one ends). */
typedef struct place { double score; uint32_t at; int32_t id; } place;
#define NOWHERE UINT32_MAX

/* *min: the worst score of all, or with normal of normal entries alone. */
static wick_status check_scores(const wk_tokenizer *t, const double *score, bool normal, const char *what, double *min) {
    *min = INFINITY;
    for (int32_t id = 0; id < t->vocab.n; id++) {
        if (isnan(score[id])) continue;
        if (!isfinite(score[id]) || fabs(score[id]) > 1e30)
            return wk_fail(WICK_E_FORMAT, "%s: the score of entry %" PRId32 " (\"%s\") is %g; scores are finite, of at most 1e30",
                           what, id, wk_show(t->vocab.entry[id]).text, score[id]);
        if ((!normal || t->vocab.kind[id] == WK_TOKEN_NORMAL) && score[id] < *min) *min = score[id];
    }
    if (isinf(*min)) *min = 0;
    return WICK_OK;
}

/* The tokens of all 256 bytes, or none at all. */
static bool find_bytes(wk_tokenizer *t) {
    for (int b = 0; b < 256; b++) {
        char s[8];
        snprintf(s, sizeof s, "<0x%02X>", (unsigned)b);
        t->unigram.of_byte[b] = wk_vocabulary_find(&t->vocab, s, 6);
        if (t->unigram.of_byte[b] < 0 || t->vocab.kind[t->unigram.of_byte[b]] != WK_TOKEN_BYTE) return false;
    }
    return true;
}

wick_status wk_unigram_ready(wk_tokenizer *t, double *score, bool bytes_too, const char *what) {
    wk_unigram *m = &t->unigram;
    double min = 0;
    m->score = score;
    wick_status st = check_scores(t, score, !bytes_too, what, &min);
    if (st) return st;
    m->unk_score = min - UNKNOWN_COST;
    m->byte_fallback = m->byte_fallback && find_bytes(t);
    if (t->unk < 0 && !m->byte_fallback)
        return wk_fail(WICK_E_FORMAT,
                       "%s: there is neither an unknown token nor one for every byte, so some texts would have no ids", what);
    int32_t *id = wk_alloc_array((size_t)t->vocab.n, sizeof *id);
    size_t n = 0;
    if (!id) return wk_fail_memory((size_t)t->vocab.n * sizeof *id, "the vocabulary");
    for (int32_t i = 0; i < t->vocab.n; i++) {
        bool byte = t->vocab.kind[i] == WK_TOKEN_BYTE, unused = t->vocab.kind[i] == WK_TOKEN_UNUSED;
        if (!isnan(score[i]) && wk_may_form(&t->vocab, i) && !unused && (!byte || bytes_too)) id[n++] = i;
    }
    st = wk_trie_new(&m->trie, &t->vocab, id, n, what);
    wk_free(id);
    t->encode = wk_unigram_word;
    return st;
}

void wk_unigram_free(wk_unigram *m) {
    wk_trie_free(&m->trie);
    wk_free(m->score);
    *m = (wk_unigram){ 0 };
}

/* The best cut up to every place; best[0..n]. */
static void forward(const wk_unigram *m, int32_t unk, const char *p, size_t n, place *best) {
    const wk_trie_unit *unit = m->trie.unit;
    for (size_t i = 1; i <= n; i++) best[i].at = NOWHERE;
    best[0] = (place){ 0 };
    for (size_t at = 0, len; at < n; at += len) {
        double here = best[at].score;
        bool whole = false;
        wk_utf8_get(p + at, &len);
        for (size_t k = at, u = 0; k < n; k++) {
            uint32_t next = unit[u].base ^ (uint8_t)p[k];
            if (unit[next].parent != u) break;
            u = next;
            int32_t id = unit[u].id;
            if (id < 0) continue;
            place *to = &best[k + 1];
            double score = here + m->score[id];
            if (to->at == NOWHERE || score > to->score) *to = (place){ score, (uint32_t)at, id };
            if (k + 1 - at == len) whole = true;
        }
        place *to = &best[at + len];
        double score = here + m->unk_score;
        if (!whole && (to->at == NOWHERE || score > to->score)) *to = (place){ score, (uint32_t)at, unk };
    }
}

static void unknown(wk_run *r, const char *p, size_t n) {
    const wk_unigram *m = &r->t->unigram;
    int32_t *out = r->out->ptr + r->out->len;
    if (!m->byte_fallback) {
        *out = r->t->unk;
        r->out->len++;
        return;
    }
    for (size_t i = 0; i < n; i++) out[i] = m->of_byte[(uint8_t)p[i]];
    r->out->len += n;
}

wick_status wk_unigram_word(wk_run *r, const char *p, size_t n) {
    enum { NO_TOKEN = -2 };
    place few[SHORT + 1], *best = few;
    int32_t unk = r->t->unk < 0 ? NO_TOKEN : r->t->unk;
    size_t next = 0;
    if (n > SHORT) {
        if (!wk_grow(&r->symbols, &r->cap_symbols, n + 1, sizeof *best))
            return wk_fail_memory((n + 1) * sizeof *best, "a long word");
        best = r->symbols;
    }
    if (!wk_ids_room(r->out, n)) return wk_fail_memory(4 * n, "ids");
    forward(&r->t->unigram, unk, p, n, best);
    for (size_t to = n; to;) {  /* turns the way back into a way forward */
        size_t from = best[to].at;
        best[to].at = (uint32_t)next;
        next = to;
        to = from;
    }
    for (size_t from = 0, to = next; to; from = to, to = best[to].at) {
        if (best[to].id != unk) { r->out->ptr[r->out->len++] = best[to].id; continue; }
        while (best[to].at && best[best[to].at].id == unk) to = best[to].at;
        unknown(r, p + from, to - from);
    }
    return WICK_OK;
}
